"""Are the fields of an array columns, or a loop over documents? Times are a document."""

from pair import Row, main

ROWS = [
    Row(name="da.embeddings, kept", task="embeddings_get", faster=1000),
    Row(name="da.embeddings, after a row of the matrix changed", task="embeddings_get_after_change", faster=3),
    Row(name="da.embeddings, after a Document changed", task="embeddings_get_rows", faster=3),
    Row(name="da.embeddings = M, 10k", task="embeddings_set", n=10_000, faster=40),
    Row(name="da.texts = [...], 10k", task="texts_set", n=10_000, faster=40),
    Row(name="da[:, ['text', 'embedding']]", task="two_columns", faster=8),
    Row(name="da[:, ['text', 'embedding']], untouched columns", task="two_columns_columns", peer="two_columns",
        faster=8),
    Row(name="da.texts", task="texts_get", faster=1.5),
    Row(name="da.texts, untouched columns", task="texts_get_columns", peer="texts_get", faster=20),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
