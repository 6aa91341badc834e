"""What callers hand in, checked before anything is done with it: documents, values one for each, columns.

Rule 1: what is refused is named: the element, the field, the two numbers that differ.
Rule 2: nothing here changes an array; what is given back can be used as it is.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

import numpy as np

from docarray import tensors
from docarray.columns import Column, UniformTensors, column_of
from docarray.document import Document, Links, media_type
from docarray.errors import FieldTypeError, LengthError
from docarray.rows import Slots, rows_of_matrix
from docarray.schema import field_named
from docarray.table import DocsColumn

T = TypeVar("T")

CONTENT = ("text", "blob", "tensor")


def admitted(docs: list[Any]) -> list[Any]:
    """The documents, if they are all Documents.

    Raises:
        FieldTypeError: one is not; the message names its position.
    """
    if not set(map(type, docs)) <= {Document}:
        for at, doc in enumerate(docs):
            if not isinstance(doc, Document):
                raise FieldTypeError(f"an array holds Documents; element {at} is a {shown(doc)}")
    return docs


def listed(values: Any) -> list[Any]:
    """The elements of what should be documents, in a list."""
    if isinstance(values, Document):
        return [values]
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise FieldTypeError(f"an iterable of Documents is wanted; got a {shown(cast('Any', values))}")
    return list(cast("Iterable[Any]", values))


def counted(values: list[T], count: int) -> list[T]:
    if len(values) != count:
        raise LengthError(f"{count} values are wanted, one for each; got {len(values)}. Nothing was written")
    return values


def counted_rows(value: Any, count: int) -> None:
    if not value.shape or value.shape[0] != count:
        raise LengthError(
            f"an array of shape {tuple(value.shape)} does not match {count} documents: one row for each is wanted"
        )


def shown(value: object) -> str:
    return f"{type(value).__name__}: {value!r:.60}"


def several(value: Any) -> list[Any]:
    """The values in a list; one str or document is no several values, though it could be iterated."""
    if isinstance(value, (str, bytes, Mapping, Document)) or not isinstance(value, Iterable):
        raise FieldTypeError(f"several values are wanted, one for each; got a {shown(cast('Any', value))}")
    return list(cast("Iterable[Any]", value))


def checked_cells(name: str, values: list[Any]) -> list[Any]:
    if not set(map(type, values)) <= {str, type(None)}:
        for at, value in enumerate(values):
            if value is not None and not isinstance(value, str):
                raise FieldTypeError(
                    f"field {name!r} takes a str; element {at} is a {type(value).__name__}: {value!r:.60}"
                )
    return values


def column_from(name: str, values: Any) -> Column:
    field = field_named(name)
    if isinstance(values, Column):
        return values
    if (
        field.kind == "tensor"
        and tensors.framework(values) in ("numpy", "torch")
        and not tensors.is_sparse(values)
    ):
        array = tensors.to_numpy(values)
        if array.ndim == 0 or array.dtype.kind not in "biufc":
            raise FieldTypeError(
                f"column {name!r} is an array of numbers (n, ...); got {array.dtype} {array.shape}"
            )
        return UniformTensors(array, None, cast("str", tensors.framework(values)))
    cells: list[Any] = cells_of(name, values)
    if name == "mime_type":
        cells = [None if cell is None else media_type(cell) for cell in checked_cells(name, cells)]
    if field.kind == "text":
        return column_of("text", checked_cells(name, cells))
    if field.kind == "json" and set(map(type, cells)) <= {dict, type(None)}:
        return column_of("json", cells)
    probe = Document()
    for at, cell in enumerate(cells):
        try:
            setattr(probe, name, cell)
        except FieldTypeError as error:
            raise FieldTypeError(f"element {at}: {error}") from None
        cells[at] = probe._raw(name)
    if field.kind == "scores":
        cells = [None if c is None else {key: score.to_dict() for key, score in c.items()} for c in cells]
    return column_of(field.kind, cells)


NESTED = ("chunks", "matches")


def cells_of(name: str, values: Any) -> list[Any]:
    """The values of a column in a list."""
    if tensors.framework(values) == "scipy":
        return rows_of_matrix(values)
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return cast("list[Any]", values.tolist())
    if isinstance(values, (str, bytes, Mapping, Document)) or not isinstance(values, Iterable):
        raise FieldTypeError(
            f"column {name!r} holds a value for each document; got a {shown(cast('Any', values))}"
        )
    return list(cast("Iterable[Any]", values))


def settle_media_types(held: dict[str, Column]) -> None:
    """A uri says what the media type is, where that is not given."""
    if "uri" not in held:
        return
    uris = held["uri"].values()
    given = held["mime_type"].values() if "mime_type" in held else [None] * len(uris)
    types = [
        mimetypes.guess_type(uri)[0] if uri and kind is None else kind
        for uri, kind in zip(uris, given, strict=True)
    ]
    if any(kind is not None for kind in types):
        held["mime_type"] = column_of("text", types)


def nested_column(
    name: str, below: list[list[Any]], ids: list[str], held: Mapping[str, Column]
) -> DocsColumn:
    """Nested documents as a column, told where they are by stand-ins for the documents that this is a column of."""
    if len(ids) != len(below):
        raise LengthError(f"column {name!r} has {len(below)} rows where {len(ids)} were expected")
    depth = "granularity" if name == "chunks" else "adjacency"
    depths = held[depth].values() if depth in held else [0] * len(below)
    everyone = admitted([doc for docs in below for doc in docs])
    for key, deep, docs in zip(ids, depths, below, strict=True):
        if docs:
            Links.nest(name, Document({"id": key, depth: deep}), docs)
    offsets = np.zeros(len(below) + 1, np.int64)
    np.cumsum([len(docs) for docs in below], out=offsets[1:])
    return DocsColumn(offsets, Slots(everyone).table())
