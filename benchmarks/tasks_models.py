"""The work of bench_models.py: documents as models of pydantic, as dicts, and as fields; see tasks.py for the rules.

The tasks `raw_...` are what one writes with pydantic alone, in the same interpreter: a model with a list of floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tasks import TASKS, array, clock, ids, matrix, tags, task, texts

FIELDS = {"plain": ("text", "tags"), "full": ("text", "tags", "embedding")}
DIMENSIONS = 768


def each(name: str, call: Callable[[Any], Any], given: Callable[[Any], Any] | None = None) -> None:
    """Tasks NAME_plain and NAME_full of what is done to one document after the other."""

    def make(fields: tuple[str, ...]):
        def work(n: int):
            work_on = [given(doc) if given else doc for doc in array(n, *fields)]
            while True:
                with clock:
                    for item in work_on:
                        call(item)  # and forgotten, as what answers a request is
                yield clock.seconds / n, n

        return work

    for kind, fields in FIELDS.items():
        TASKS[f"{name}_{kind}"] = make(fields)


def back(model: Any) -> Any:
    from docarray import Document

    return Document.from_pydantic_model(model)


each("model_to", lambda doc: doc.to_pydantic_model())
each("model_from", back, lambda doc: doc.to_pydantic_model())
each("document_to_dict", lambda doc: doc.to_dict())


def of_arrays(kind: str) -> None:
    fields = FIELDS[kind]

    def to(n: int):
        da = array(n, *fields)
        while True:
            with clock:
                made = da.to_pydantic_model()
            yield clock.seconds / n, [made[-1].id, made[-1].text]
            del made

    def from_(n: int):
        from docarray import DocumentArray

        made = array(n, *fields).to_pydantic_model()
        while True:
            with clock:
                da = DocumentArray.from_pydantic_model(made)
            yield clock.seconds / n, [len(da), da[-1].text]
            del da

    TASKS[f"models_to_{kind}"], TASKS[f"models_from_{kind}"] = to, from_


for kind in FIELDS:
    of_arrays(kind)


# --- fields, beside pydantic alone ----------------------------------------------------------------------------------


def documents(n: int) -> Any:
    from docarray import DocumentArray

    return DocumentArray.from_columns(id=ids(n), text=texts(n), tags=tags(n), embedding=matrix(n, DIMENSIONS))


def raw() -> Any:
    from pydantic import BaseModel, TypeAdapter

    class Item(BaseModel):
        id: str
        text: str
        tags: dict[str, float | str]
        embedding: list[float]

    return TypeAdapter(list[Item]), Item


def ours() -> Any:
    from pydantic import TypeAdapter

    from docarray import Document, DocumentArray

    return TypeAdapter(DocumentArray[Document])


def read(n: int, adapter: Any, vectors: Callable[[Any], Any]):
    text = raw()[0].dump_json(items(n))
    while True:
        with clock:
            found = vectors(adapter.validate_json(text))
        yield clock.seconds / n, [list(found.shape), found[-1, :4].tolist()]
        del found


def items(n: int) -> list[Any]:
    rows = zip(ids(n), texts(n), tags(n), matrix(n, DIMENSIONS).tolist(), strict=True)
    _, item = raw()
    return [item(id=key, text=text, tags=said, embedding=vector) for key, text, said, vector in rows]


@task
def field_read(n: int):
    yield from read(n, ours(), lambda da: da.embeddings)


@task
def raw_read(n: int):
    yield from read(n, raw()[0], lambda found: np.array([item.embedding for item in found]))


@task
def field_write(n: int):
    adapter, da = ours(), documents(n)
    while True:
        with clock:
            text = adapter.dump_json(da)
        yield clock.seconds / n, len(text) > n * DIMENSIONS
        del text


@task
def raw_write(n: int):
    (adapter, item), docs = raw(), documents(n)
    keys, words, said, vectors = docs[:, "id"], docs.texts, docs[:, "tags"], docs.embeddings
    while True:
        with clock:
            rows = zip(keys, words, said, vectors.tolist(), strict=True)
            made = [item(id=key, text=text, tags=one, embedding=vector) for key, text, one, vector in rows]
            text = adapter.dump_json(made)
        yield clock.seconds / n, len(text) > n * DIMENSIONS
        del made, text


def short(n: int) -> list[dict[str, Any]]:
    return [
        {"id": key, "text": text, "tags": said}
        for key, text, said in zip(ids(n), texts(n), tags(n), strict=True)
    ]


@task
def field_read_short(n: int):
    adapter, given = ours(), short(n)
    while True:
        with clock:
            da = adapter.validate_python(given)
        yield clock.seconds / n, [len(da), da[-1].text]
        del da


@task
def raw_read_short(n: int):
    from pydantic import BaseModel, TypeAdapter

    class Item(BaseModel):
        id: str
        text: str
        tags: dict[str, float | str]

    adapter, given = TypeAdapter(list[Item]), short(n)
    while True:
        with clock:
            found = adapter.validate_python(given)
        yield clock.seconds / n, [len(found), found[-1].text]
        del found
