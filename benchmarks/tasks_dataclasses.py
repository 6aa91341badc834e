"""The work of bench_dataclasses.py: objects of a dataclass to documents and back; see tasks.py.

A page is a title, an image of 4 x 4 pixels, three texts in a list, a nested dataclass and a number.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from tasks import clock, task, texts


def pages(n: int) -> tuple[type, list[Any]]:
    """The class and n objects of it. Annotations are objects, as the old library wants them."""
    from typing import List  # noqa: UP035

    from docarray import dataclass
    from docarray.typing import Image, Text

    part = dataclass(type("Part", (), {"__annotations__": {"head": Text, "price": float}}))
    fields = {"title": Text, "image": Image, "words": List[Text], "part": part, "price": float}  # noqa: UP006
    page = dataclass(type("Page", (), {"__annotations__": fields}))
    images = np.random.default_rng(5).integers(0, 256, (n, 4, 4, 3), np.uint8)
    made = [
        page(word, image, [word, "b", "c"], part(word, 2.0), float(i))
        for i, (word, image) in enumerate(zip(texts(n), images))  # noqa: B905
    ]
    return page, made


def seen(doc: Any) -> list[Any]:
    """Enough of a document to know it by."""
    words = [chunk.text for chunk in doc.chunks[2].chunks]
    return [
        doc.tags["price"],
        doc.chunks[0].text,
        words,
        int(np.asarray(doc.chunks[1].tensor).sum()),
        len(doc.chunks),
    ]


def _documents(n: int) -> tuple[type, list[Any], list[Any]]:
    from docarray import Document

    page, objects = pages(n)
    return page, objects, [Document(one) for one in objects]


@task
def dataclass_to_document(n: int):
    from docarray import Document

    _, objects = pages(n)
    while True:
        with clock:
            docs = [Document(one) for one in objects]
        yield clock.seconds / n, seen(docs[-1])
        del docs


@task
def dataclass_from_document(n: int):
    page, _, docs = _documents(n)
    while True:
        with clock:
            read = [page(doc) for doc in docs]
        last = read[-1]
        yield clock.seconds / n, [last.title, last.words, last.part.head, last.price, int(last.image.sum())]
        del read


@task
def dataclass_from_wire(n: int):
    """From bytes to objects."""
    from docarray import DocumentArray

    page, _, docs = _documents(n)
    data = DocumentArray(docs).to_bytes("protobuf")
    del docs
    while True:
        with clock:
            objects = [page(doc) for doc in DocumentArray.from_bytes(data, "protobuf")]
        yield clock.seconds / n, [objects[-1].title, objects[-1].words, objects[-1].price]
        del objects


@task
def dataclass_attribute(n: int):
    _, _, docs = _documents(n)
    while True:
        with clock:
            found = [doc.title.text for doc in docs]
        yield clock.seconds / n, found[-1]


@task
def dataclass_path(n: int):
    from docarray import DocumentArray

    da = DocumentArray(_documents(n)[2])
    while True:
        with clock:
            found = da["@.[title]"]
        yield clock.seconds / n, [len(found), found[-1].text]


@task
def dataclass_define(n: int):
    """The class itself: what a program pays for when it starts."""
    for _ in itertools.count():
        with clock:
            for _ in range(20):
                pages(0)
        yield clock.seconds / 20, 0
