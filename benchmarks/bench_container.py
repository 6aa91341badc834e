"""What does the native format cost, beside the old protobuf-array and a copy of the bytes? Times are a document."""

from pair import Row, main

N = 30_000  # where the old library takes part: it needs a while to make ready

ROWS = [
    Row(name="to_bytes, from columns", task="native_to_bytes_columns", peer="protobuf_to_bytes", faster=30, n=N,
        rounds=5),
    Row(name="to_bytes, from Documents", task="native_to_bytes_rows", peer="protobuf_to_bytes", n=N, rounds=5),
    Row(name="to_bytes, of what came from bytes", task="native_to_bytes_again", peer="copied_bytes", side="memcpy",
        within=3),
    Row(name="from_bytes", task="native_from_bytes", peer="protobuf_from_bytes", faster=150, n=N, rounds=5),
    Row(name="from_bytes, each document touched", task="native_from_bytes_touched", peer="protobuf_from_bytes",
        faster=12, n=N, rounds=5),
    Row(name="from_bytes", task="native_from_bytes", peer="copied_bytes", side="memcpy", within=3,
        same_answer=False),
    Row(name="to_bytes, lz4", task="native_to_bytes_lz4_columns", peer="protobuf_to_bytes_lz4", faster=25, n=N,
        rounds=5),
    Row(name="from_bytes, lz4", task="native_from_bytes_lz4", peer="protobuf_from_bytes_lz4", faster=25, n=N, rounds=5),
    Row(name="to_bytes, zstd", task="native_to_bytes_zstd_columns", peer="protobuf_to_bytes_lz4", n=N, rounds=5),
    Row(name="from_bytes, zstd", task="native_from_bytes_zstd", peer="protobuf_from_bytes_lz4", n=N, rounds=5),
    Row(name="size, lz4", task="native_size_lz4", peer="protobuf_size_lz4", within=0.9, n=N, rounds=3, unit="B"),
    Row(name="size, zstd", task="native_size_zstd", peer="protobuf_size_lz4", within=0.9, n=N, rounds=3, unit="B"),
    Row(name="open a million, len, da[-1], embeddings", task="native_open", peer="native_open_few", side="10k",
        n=1_000_000, below=0.02),
    Row(name="peak of save", task="native_peak_save", peer="native_size", side="size", within=1.2, fresh=True,
        rounds=3, unit="B"),
    Row(name="peak of load, embeddings read", task="native_peak_load", peer="native_size", side="size", within=1.2,
        fresh=True, rounds=3, unit="B"),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
