"""Joins: what is made of the documents of several branches, or of several shards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast

from docarray import tensors
from docarray.array import DocumentArray
from docarray.errors import FieldTypeError

__all__ = ["apart", "arrayed", "filtered", "joined", "ordered"]


def apart(docs: DocumentArray[Any]) -> DocumentArray[Any]:
    """The documents for somebody who may change them, unseen by who has these."""
    return copy.deepcopy(docs)


def joined(how: Any, parts: Sequence[DocumentArray[Any]]) -> DocumentArray[Any]:
    """The documents of several branches as those of one.

    Args:
        how: one of REDUCERS, or a function of the list of parts.
        parts: in the order that the deployment says it needs them, whenever they came. They belong to this.
    """
    if not callable(how):
        return _HOW[how](parts)
    made: Any = how(list(parts))
    if not isinstance(made, DocumentArray):
        raise FieldTypeError(f"reduce gave a {type(made).__name__}; it gives a DocumentArray")
    return cast("DocumentArray[Any]", made)


def _merge(parts: Sequence[DocumentArray[Any]]) -> DocumentArray[Any]:
    """One document of each id: of each field what the first part has that has it, of tags, chunks and matches all."""
    whole, *others = parts
    return whole.reduce_all(others)


def _concat(parts: Sequence[DocumentArray[Any]]) -> DocumentArray[Any]:
    whole = DocumentArray[Any]()
    for part in parts:
        whole.extend(part)
    return whole


def _first(parts: Sequence[DocumentArray[Any]]) -> DocumentArray[Any]:
    return parts[0]


_HOW: Final[Mapping[str, Callable[[Sequence[DocumentArray[Any]]], DocumentArray[Any]]]] = MappingProxyType(
    {"merge": _merge, "concat": _concat, "none": _concat, "first": _first}
)


def filtered(docs: DocumentArray[Any], when: Mapping[str, Any]) -> DocumentArray[Any]:
    """The documents that a filter keeps."""
    return docs.find(when)


def arrayed(docs: DocumentArray[Any], name: str) -> None:
    """Makes tensors and embeddings, those of chunks and matches too, arrays of one framework.

    Args:
        name: one of ARRAYS.

    Raises:
        MissingExtra: the framework is not installed.

    >>> from docarray import Document
    >>> docs = DocumentArray([Document(embedding=[1.0, 2.0])])
    >>> arrayed(docs, 'numpy')
    >>> docs[0].embedding
    array([1., 2.])
    """
    for doc in docs:
        for field in ("tensor", "embedding"):
            value = getattr(doc, field)
            if value is not None and (tensors.framework(value) != name or tensors.is_sparse(value)):
                setattr(doc, field, tensors.from_numpy(tensors.to_numpy(value), name))
        for below in (doc.chunks, doc.matches):
            if below:
                arrayed(below, name)


def ordered(docs: DocumentArray[Any], ids: Sequence[str]) -> DocumentArray[Any]:
    """The documents in the order of these ids, others after them."""
    places = {key: at for at, key in enumerate(ids)}
    last = len(places)
    order = sorted(range(len(docs)), key=lambda at: places.get(docs[at].id, last))
    return docs if order == list(range(len(docs))) else docs[order]
