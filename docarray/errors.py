"""Every error of the library: what is wrong, where, and what to do about it.

Rule 1: each class is a `DocArrayError` and also the builtin that one would catch.
Rule 2: the message names the document id, the field or the name that was given.
Rule 3: raising leaves the document or array as it was before the call.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BadFilter",
    "BadPath",
    "BadSelector",
    "BadUri",
    "BadValue",
    "ClosedStore",
    "CorruptData",
    "DocArrayError",
    "DuplicateDocument",
    "FetchError",
    "FieldMismatch",
    "FieldTypeError",
    "FormatError",
    "LengthError",
    "MissingDocument",
    "MissingEmbedding",
    "MissingExtra",
    "MissingGroundTruth",
    "NotOnInstance",
    "OutOfRange",
    "ShapeError",
    "StaleDocument",
    "StoreError",
    "StoreLocked",
    "UnknownField",
    "UnknownMetric",
    "UnknownName",
    "UnknownOption",
    "Unsupported",
    "UnsupportedFormat",
    "WorkerError",
    "near_miss",
]


class DocArrayError(Exception):
    """The root of all errors of the library."""


class BadValue(DocArrayError, ValueError):
    """A value that the call cannot work with."""


class BadFilter(BadValue):
    """A filter that is not of the filter language; the message quotes the part."""


class BadPath(BadValue):
    """A traversal path (`'@...'`) or a dunder path that cannot be read."""


class BadSelector(DocArrayError, IndexError):
    """Something between `[` and `]` that selects nothing by its form."""


class OutOfRange(DocArrayError, IndexError):
    """A position beyond the end of an array."""


class MissingDocument(DocArrayError, KeyError):
    """No document has the id that was asked for."""

    def __str__(self) -> str:  # KeyError shows the repr of its argument, quotes and all
        return Exception.__str__(self)


class DuplicateDocument(BadValue):
    """A store has a document of that id already: ids are unique there. Nothing was written."""


class MissingEmbedding(BadValue):
    """A search or a matrix over documents of which some have no embedding."""


class ShapeError(BadValue):
    """An array of a shape or dtype that does not fit; nothing was written."""


class LengthError(ShapeError):
    """As many values were wanted as there are documents, and another number came."""


class FieldTypeError(DocArrayError, TypeError):
    """A value of a type that the field, array or argument does not take."""


class UnknownField(DocArrayError, AttributeError):
    """A field name that a Document does not have."""


class FieldMismatch(BadValue, KeyError):
    """A document is read as a dataclass that it was not made of; the message names the field."""

    def __str__(self) -> str:  # as of MissingDocument
        return Exception.__str__(self)


class UnknownName(BadValue):
    """A storage, operator, format or option that does not exist."""


class UnknownOption(UnknownName, KeyError):
    """A setting of a storage that it does not have; the message names the closest."""

    def __str__(self) -> str:  # as of MissingDocument
        return Exception.__str__(self)


class UnknownMetric(UnknownName, NotImplementedError):
    """A distance or evaluation metric that does not exist."""


class MissingExtra(DocArrayError, ImportError):
    """An optional package is not installed; the message holds the pip line."""


class MissingGroundTruth(DocArrayError, RuntimeError):
    """An evaluation has nothing to compare with: neither documents with the right matches nor labels."""


class WorkerError(DocArrayError, RuntimeError):
    """A worker process ended in the middle of its work, or raised what could not be sent back as it is."""


class StoreError(DocArrayError, OSError):
    """A store cannot be reached, read or written: no room, no such server. What was committed is there."""


class StoreLocked(StoreError, TimeoutError):
    """Others kept a store locked for longer than one was willing to wait; the message says for how long, and who."""


class ClosedStore(BadValue):
    """The store of this array, or of this document, was closed."""


class StaleDocument(BadValue):
    """A container that was taken from a document of a store before somebody else changed that document."""


class FormatError(BadValue):
    """Bytes or a file that cannot be read; which of the two below says why."""


class CorruptData(FormatError):
    """Bytes that are damaged, were cut off, or say of themselves what is not so."""


class UnsupportedFormat(FormatError):
    """Bytes of another format, of a later version, or with something in them that is not read here, on purpose."""


class BadUri(BadValue):
    """A uri that is not followed: empty, malformed, of a scheme that is not allowed, or to more than was allowed."""


class FetchError(DocArrayError, OSError):
    """What a uri leads to could not be had: no such host, a refusal of the server, silence for too long."""

    url: str = ""
    """Which one, after all redirects; no passwords."""
    status: int | None = None
    """What an HTTP server answered, such as 404; None where there was no answer."""


class NotOnInstance(DocArrayError, AttributeError):
    """A constructor such as `from_json` was called on an array instead of on its class."""


class Unsupported(DocArrayError, NotImplementedError):
    """The operation has no meaning here, by design; the message says what to use instead."""


def near_miss(name: object, known: Iterable[str]) -> str:
    """The tail of a message about an unknown name: the closest known one, then all of them.

    >>> near_miss("sqllite", ["memory", "sqlite"])
    "Did you mean 'sqlite'? There are: memory, sqlite."
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}There are: {', '.join(names)}."
