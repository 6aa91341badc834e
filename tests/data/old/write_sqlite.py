"""Writes sqlite.db of this folder, with the old library: `.venv-old/bin/python tests/data/old/write_sqlite.py`."""

import gc
import sqlite3
from pathlib import Path

import numpy as np

from docarray import Document, DocumentArray

FILE = Path(__file__).parent / "sqlite.db"

DOCS = [
    Document(
        id="a",
        text="hello",
        tags={"n": 1.5, "x": [1, "y"]},
        embedding=np.array([1, 2], "f4"),
        chunks=[Document(id="c", text="chunk")],
    ),
    Document(id="b", blob=b"\0\1", uri="x.png", weight=0.5),
    Document(id="é", tensor=np.eye(2)),
]

FILE.unlink(missing_ok=True)
for name, how in {"films": {}, "packed": {"protocol": "protobuf", "compress": "gzip"}}.items():
    config = {"connection": str(FILE), "table_name": name, "serialize_config": how}
    with DocumentArray(storage="sqlite", config=config) as da:
        da.extend(DOCS)
        da.insert(1, Document(id="between"))
del da
gc.collect()
connection = sqlite3.connect(FILE)
connection.execute("PRAGMA journal_mode=DELETE")
connection.execute("VACUUM")
