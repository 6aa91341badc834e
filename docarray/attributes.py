"""Attributes of documents by path, set and unset: each change is found to be possible before the first is made.

Rule 1: `setter` and `unsetter` check, and give a function that does it and cannot fail.
Rule 2: a path ends in a field, a key of a dict, a position of a list or array, or a part of a score.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from docarray import tensors
from docarray.document import Document, Links, copied
from docarray.errors import BadValue, FieldTypeError, OutOfRange, UnknownField
from docarray.intake import admitted, listed
from docarray.live import deferred, is_live
from docarray.paths import dunder, parse_dunder
from docarray.schema import FIELDS
from docarray.score import NamedScore, Scores

_EXACT = {
    "text": str,
    "id": str,
    "uri": str,
    "blob": bytes,
    "tags": dict,
    "weight": float,
    "embedding": np.ndarray,
}


def all_or_none(writes: list[Callable[[], Any]]) -> None:
    """Makes changes that were all found to be possible before the first is made."""
    with deferred():
        for write in writes:
            write()


def _nothing() -> None:
    pass


def setter(doc: Document, path: str | tuple[str | int, ...], value: Any) -> Callable[[], Any]:
    """What sets an attribute of a document, and cannot fail.

    Raises:
        UnknownField, FieldTypeError, BadValue, OutOfRange: it cannot be set; nothing was.
    """
    parts = parse_dunder(path)
    name = parts[-1]
    if len(parts) == 1:
        return functools.partial(setattr, doc, str(name), _fitting(doc, str(name), value))
    holder: Any = _holder(doc, parts)
    if isinstance(holder, Document):
        return setter(holder, (name,), value)
    if holder is None and parts[0] in ("scores", "evaluations") and len(parts) == 3:
        score = NamedScore(**{str(name): value})  # which is what makes a score that is asked for first
        return lambda: setattr(getattr(doc, str(parts[0]))[parts[1]], str(name), getattr(score, str(name)))
    if isinstance(holder, NamedScore):
        NamedScore(**{str(name): value})
        return functools.partial(setattr, holder, str(name), value)
    if isinstance(holder, Scores):
        return functools.partial(operator.setitem, holder, str(name), NamedScore(value))
    if isinstance(holder, dict):
        return functools.partial(
            operator.setitem, cast("dict[Any, Any]", holder), _key_in(holder, name), value
        )
    if isinstance(holder, cast("Any", Links.array)):
        admitted([value])
    at, array = _place_in(doc, path, holder), cast("Any", holder)
    if tensors.framework(array) not in (None, "list"):
        trial = copied(array)
        try:
            trial[at] = value
            if not is_live(doc):
                array[at] = array[at]
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadValue(
                f"{path!r} of document {doc.id!r} cannot be set to {value!r:.60}: {error}"
            ) from None
        if is_live(doc) and len(parts) == 2:
            return functools.partial(_set_in_array, doc, str(parts[0]), at, value)
    return functools.partial(operator.setitem, array, at, value)


def _set_in_array(doc: Document, name: str, at: int, value: Any) -> None:
    """Sets a number of an array that a document of a store hands out read-only: by another array."""
    fresh = copied(getattr(doc, name))
    fresh[at] = value
    setattr(doc, name, fresh)


def column_setter(
    docs: list[Document], path: str | tuple[str | int, ...], values: list[Any]
) -> Callable[[], Any]:
    """`setter` for many documents: one field is checked for all of them without a call to set each."""
    parts: tuple[str | int, ...] = parse_dunder(path)
    if len(parts) != 1:
        writes = [setter(doc, path, value) for doc, value in zip(docs, values, strict=True)]
        return functools.partial(all_or_none, writes)
    name = str(parts[0])
    exact = _EXACT.get(name)
    if exact is None or not set(map(type, values)) <= {exact}:
        values = [_fitting(doc, name, value) for doc, value in zip(docs, values, strict=True)]

    def write() -> None:
        for doc, value in zip(docs, values, strict=True):
            setattr(doc, name, value)

    return write


def unsetter(doc: Document, path: str | tuple[str | int, ...]) -> Callable[[], Any]:
    """What unsets an attribute of a document, and cannot fail; what is not there needs no unsetting.

    Raises:
        BadValue: it is the id. UnknownField, OutOfRange: there can be no such attribute.
    """
    parts = parse_dunder(path)
    name = parts[-1]
    if len(parts) == 1:
        return functools.partial(setattr, doc, str(name), _fitting(doc, str(name), None))
    if doc._filled(str(parts[0])) is None:
        return _nothing
    holder: Any = _holder(doc, parts)
    if holder is None:
        return _nothing
    if isinstance(holder, Document):
        return unsetter(holder, (name,))
    if isinstance(holder, NamedScore):
        NamedScore(**{str(name): None})
        return functools.partial(setattr, holder, str(name), None)
    if isinstance(holder, dict):
        return functools.partial(cast("dict[Any, Any]", holder).pop, _key_in(holder, name), None)
    at = _place_in(doc, path, holder)
    if tensors.framework(holder) not in (None, "list"):
        raise BadValue(f"{path!r} of document {doc.id!r} is one number of an array: it cannot be taken out")
    return functools.partial(operator.delitem, holder, at)


def _fitting(doc: Document, name: str, value: Any) -> Any:
    """The value of a field, if it takes it."""
    if name not in FIELDS and name != "content":
        raise UnknownField(f"{name!r} of a Document follows from its fields: it cannot be set or unset")
    if value is None:
        if name == "id":
            raise BadValue(f"an id cannot be taken away from a document in an array: {doc.id!r}")
    elif type(value) is not _EXACT.get(name):
        if name in ("chunks", "matches"):
            return admitted(listed(value))
        try:
            setattr(Document(), name, value)
        except FieldTypeError as error:
            raise FieldTypeError(f"document {doc.id!r}: {error}") from None
    return value


def _holder(doc: Document, parts: tuple[str | int, ...]) -> Any:
    """What holds the last part of a path."""
    return getattr(doc, str(parts[0])) if len(parts) == 2 else doc._at(parts[:-1])


def _key_in(holder: Any, name: str | int) -> Any:
    """The key that a part of a path means in a dict: its text, or the number that it spells where that is a key."""
    if (
        name not in holder
        and isinstance(name, str)
        and name.removeprefix("-").isdecimal()
        and int(name) in holder
    ):
        return int(name)
    return name


def _place_in(doc: Document, path: Any, holder: Any) -> int:
    """The position that the last part of a path means in what holds it."""
    where = f"{dunder(parse_dunder(path))!r} of document {doc.id!r}"
    name = str(parse_dunder(path)[-1])
    if (
        holder is None
        or isinstance(holder, (str, bytes, tuple, int, float))
        or not hasattr(holder, "__setitem__")
    ):
        raise UnknownField(f"{where}: there is nothing that {name!r} could be set in, but {holder!r:.60}")
    if not name.removeprefix("-").isdecimal():
        raise UnknownField(f"{where}: a {type(holder).__name__} has positions, and none called {name!r}")
    count = holder.shape[0] if hasattr(holder, "shape") and holder.shape else len(holder)
    if not -count <= int(name) < count:
        raise OutOfRange(f"{where}: there are {count} values")
    return int(name)
