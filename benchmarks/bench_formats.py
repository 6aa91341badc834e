"""What do the other formats cost, beside the same calls of the old library? Times are a document."""

from pair import Row, main
from tasks_formats import COMPRESSIONS

N = 20_000
FEW = 5_000  # where the old library takes a tenth of a millisecond and more

ROWS = [
    Row(name="protobuf-array, written", task="protobuf_array_write", n=N, faster=5),
    Row(name="protobuf-array, read", task="protobuf_array_read", n=N, faster=12),
    Row(name="protobuf-array, read and touched", task="protobuf_array_read_touched", n=N),
    Row(name="protobuf stream, written", task="protobuf_write", n=N, faster=5),
    Row(name="protobuf stream, read", task="protobuf_read", n=N, faster=8),
    *(
        Row(name=f"protobuf stream, {name}, {done}", task=f"protobuf_{name}_{verb}", n=FEW, faster=1)
        for name in COMPRESSIONS
        for done, verb in (("written", "write"), ("read", "read"))
    ),
    Row(name="one Document to protobuf", task="document_protobuf_write", n=FEW, faster=3),
    Row(name="one Document from protobuf", task="document_protobuf_read", n=FEW, faster=3),
    Row(name="pickle-array, written", task="pickle_array_write", n=N, faster=1),
    Row(name="pickle-array, read", task="pickle_array_read", n=N, faster=1),
    Row(name="pickle stream, written", task="pickle_write", n=FEW, faster=1),
    Row(name="pickle stream, read", task="pickle_read", n=FEW, faster=1),
    Row(name="to_json", task="json_write", n=FEW, faster=25),
    Row(name="from_json", task="json_read", n=FEW, faster=8),
    Row(name="to_list", task="list_write", n=FEW, faster=50),
    Row(name="to_list, without embeddings", task="list_plain_write", n=FEW, faster=50),
    Row(name="to_dataframe", task="dataframe_write", n=FEW, faster=50),
    Row(name="from_dataframe", task="dataframe_read", n=FEW, faster=20),
    Row(name="save_csv, text and tags", task="csv_write", n=FEW, faster=8),
    Row(name="load_csv, text and tags", task="csv_read", n=FEW, faster=6),
    Row(name="to_base64", task="base64_write", n=N, faster=10),
    Row(name="to_base64, from columns", task="base64_write_columns", peer="base64_write", n=N, faster=10),
    Row(name="from_base64", task="base64_read", n=N, faster=15),
]

if __name__ == "__main__":
    main(__doc__, ROWS)
