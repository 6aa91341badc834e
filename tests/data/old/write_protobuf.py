"""Writes the protobuf files of this folder with DocArray 0.21: run it with an interpreter that has it.

    python tests/data/old/write_protobuf.py FOLDER [FOLDER WITH MORE PACKAGES]

The second folder is where scipy, lz4 and torch are looked for when that interpreter has none of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

if len(sys.argv) > 2:
    sys.path.append(sys.argv[2])

import scipy.sparse as sparse
import torch

from docarray import Document, DocumentArray, __version__
from docarray.score import NamedScore

FOLDER = Path(sys.argv[1])


def documents() -> DocumentArray:
    """Documents with every field, and with every kind of array."""
    dense = np.array([[0, 3.0, 0, 4.0], [0, 0, 0, 0], [5.0, 0, 0, 0], [0, 0, 6.0, 0]], np.float32)
    docs = [
        Document(
            id="text",
            text="naïve 漢字 \U0001f600",
            tags={"x": 1, "y": "z", "deep": {"list": [1, "a", None, True]}},
        ),
        Document(
            id="all",
            blob=bytes(range(256)),
            granularity=2,
            adjacency=300,
            parent_id="above",
            weight=0.5,
            uri="https://example.com/a.png",
            modality="image",
            mime_type="image/png",
            offset=7.25,
            location=[1.0, 2.5, -3.0],
            embedding=np.arange(4, dtype=np.float32),
            tags={"b": 1.5, "a": False},
            scores={"cosine": NamedScore(value=0.25, op_name="cosine", description="distance", ref_id="q")},
            evaluations={"recall": NamedScore(value=1.0), "a": NamedScore(op_name="x")},
            _metadata={"schema": {"field": [1, {"deep": None}]}},
        ),
        Document(id="rounded", weight=0.1, location=[0.1]),
        Document(
            id="nested",
            chunks=[Document(id="c", text="c", chunks=[Document(id="cc", blob=b"\0")])],
            matches=[Document(id="m", scores={"cosine": NamedScore(value=0.75)}, embedding=np.ones(2))],
        ),
        Document(id="bare"),
    ]
    for dtype in ("?", "i1", "<i8", ">i4", "<u8", "<f2", "<f4", ">f8", "<c8", "<U3", "S2", "<M8[D]"):
        docs.append(Document(id=f"numpy {dtype}", tensor=np.ones((2, 3)).astype(dtype)))
    docs += [
        Document(id="numpy 0-d", tensor=np.array(5.0)),
        Document(id="numpy empty", embedding=np.zeros((0, 3), np.int8)),
        Document(id="list of ints", embedding=[1, 2]),
        Document(id="list of lists", tensor=[[1.5, 2.5], [3.5, -0.0]]),
        Document(id="list of bools", tensor=[True, False]),
        Document(id="empty list", embedding=[]),
        Document(
            id="torch",
            embedding=torch.arange(3, dtype=torch.float32),
            tensor=torch.ones((2, 2), dtype=torch.int8),
        ),
        Document(id="torch sparse", embedding=torch.tensor([[0, 1.5], [2.5, 0]]).to_sparse()),
    ]
    for style in ("csr", "csc", "coo", "bsr"):
        docs.append(Document(id=f"scipy {style}", embedding=sparse.csr_matrix(dense).asformat(style)))
    return DocumentArray(docs)


def main() -> None:
    docs = documents()
    (FOLDER / "protobuf-array.bin").write_bytes(docs.to_bytes("protobuf-array"))
    exact = docs.to_protobuf().SerializeToString(deterministic=True)
    (FOLDER / "protobuf-array.deterministic.bin").write_bytes(exact)
    few = docs[:5]
    for name in ("lz4", "gzip", "bz2", "lzma"):
        few.save_binary(str(FOLDER / f"few.protobuf-array.{name}"), protocol="protobuf-array", compress=name)
    few.save_binary(str(FOLDER / "few.protobuf"), protocol="protobuf")
    for name in ("lz4", "gzip", "bz2", "lzma", "zlib"):
        few.save_binary(str(FOLDER / f"few.protobuf.{name}"), protocol="protobuf", compress=name)
    (FOLDER / "protobuf.json").write_text(
        json.dumps(
            {"written_by": __version__, "documents": [doc.to_dict("protobuf") for doc in docs]}, indent=1
        )
    )


if __name__ == "__main__":
    main()
