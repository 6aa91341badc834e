"""Writes the text files of this folder, with the old library: `.venv-old/bin/python tests/data/old/write_texts.py`."""

from pathlib import Path

import numpy as np

from docarray import Document, DocumentArray
from docarray.score import NamedScore

FOLDER = Path(__file__).parent


def documents():
    a = Document(
        id="a",
        text='hi, "you"',
        tags={"x": 2.5, "y": "z", "nested": {"a": 1, "l": [1, "b", None]}, "yes": True},
        weight=0.5,
        embedding=np.array([1, 2.5], "f4"),
        scores={"cosine": NamedScore(value=0.25, op_name="cosine")},
        location=[1.0, 2.0],
        uri="a.png",
        mime_type="image/png",
    )
    b = Document(
        id="b",
        tensor=np.array([[1, 2], [3, 4]], "i8"),
        evaluations={"recall": NamedScore(value=1.0)},
        tags={"x": float("nan")},
        chunks=[Document(id="c", blob=b"\0\1\xff", modality="image")],
        matches=[Document(id="m", text="äöü 漢字 \U0001f600", embedding=np.zeros(2))],
    )
    b._metadata = {"multi_modal_schema": {"f": {"position": 0}}}
    return DocumentArray([a, b, Document(id="bare")])


def rows():
    return DocumentArray(
        Document(
            id=str(i),
            text=f'line one\nline {i}, "quoted"',
            weight=i / 2 + 0.5,
            tags={"price": i + 0.5, "name": f"n{i}", "sold": bool(i % 2), "list": [1.0, "a"]},
            embedding=np.array([i + 1, 0.1], "f4"),
            scores={"cosine": NamedScore(value=0.5)},
            chunks=[Document(id=f"c{i}", text="chunk")],
        )
        for i in range(3)
    )


da = documents()
(FOLDER / "documents.json").write_text(da.to_json() + "\n")
(FOLDER / "document.json").write_text(da[0].to_json(exclude_none=True) + "\n")
(FOLDER / "documents.ndjson").write_text("".join(doc.to_json() + "\n" for doc in da))
with open(FOLDER / "documents.csv", "w", newline="") as file:
    rows().save_csv(file)
with open(FOLDER / "tags.csv", "w", newline="") as file:
    DocumentArray(Document(id=str(i), text="t", tags={"k": float(i)}) for i in range(2)).save_csv(
        file, flatten_tags=False
    )
