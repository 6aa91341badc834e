"""Limits: what one request may ask for, and how that is checked before anything is done with it."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from docarray.errors import BadFilter, BadValue, FieldTypeError
from docarray.tensors import Array

__all__ = ["Limits", "TooMuch", "shown"]


class TooMuch(BadValue):
    """A request asks for more than this server gives to one; the message says how much that is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may ask for. Every number that a client chooses is held against one of these.

    >>> Limits(page=50).first(None), Limits(page=50).first(7)
    (20, 7)
    >>> Limits(page=50).first(1000)
    Traceback (most recent call last):
    docarray.web.limits.TooMuch: at most 50 documents are given at once; more were asked for
    """

    body: int = 16 << 20
    """Bytes of a request's body, also after it was unpacked."""
    documents: int = 10_000
    """Documents in the body of a request."""
    page: int = 1_000
    """Documents in an answer that is not a stream."""
    usual_page: int = 20
    """Documents in an answer to a request that does not say how many."""
    longest_id: int = 1_024
    """Characters of an id, or of a cursor."""
    vector: int = 65_536
    """Numbers of a vector."""
    text: int = 10_000
    """Characters of a text that is looked for."""
    filter_terms: int = 256
    """Keys and elements of a filter, in all."""
    filter_depth: int = 16
    """Levels of a filter."""
    sort_keys: int = 8
    """Paths to sort by."""
    regex: bool = False
    """Whether filters may have $regex. Python's patterns cannot be stopped: one of ten characters can run for days."""
    timeout: float = 30.0
    """Seconds that a request may take; a stream, from one part to the next."""
    threads: int = 2
    """Requests that are worked on at the same time. More of them wait for each other where the documents are in this
    process or a file; they pay where a server of a database is waited for."""
    waiting: int = 128
    """Requests that wait for their turn; another is told to come back later."""
    depth: int = 12
    """Levels of a GraphQL query."""
    tokens: int = 2_000
    """Words and signs of a GraphQL query."""
    aliases: int = 32
    """Fields of a GraphQL query under another name."""
    complexity: int = 20_000
    """Documents that a GraphQL query may give in all, by its own page sizes."""
    subscriptions: int = 100
    """Subscriptions that are open at the same time."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise BadValue(f"limit {field.name!r} is a number from 0; got {value!r}")

    # ------------------------------------------------------------------------------------------ checks

    def first(self, asked: Any, name: str = "documents") -> int:
        """How many documents an answer holds.

        Raises:
            TooMuch: more than `page`. BadValue: less than 0. FieldTypeError: no whole number.
        """
        if asked is None:
            return min(self.usual_page, self.page)
        if not isinstance(asked, int) or isinstance(asked, bool):
            raise FieldTypeError(f"how many {name} to give is a whole number; got {shown(asked)}")
        if asked < 0:
            raise BadValue(f"how many {name} to give is a number from 0; got a negative one")
        if asked > self.page:
            raise TooMuch(f"at most {self.page} {name} are given at once; more were asked for")
        return asked

    def identity(self, value: Any, what: str = "id") -> str:
        """An id or a cursor.

        Raises:
            TooMuch: a longer one. FieldTypeError: no text.
        """
        if not isinstance(value, str):
            raise FieldTypeError(f"{what} is text; got a {type(value).__name__}")
        if len(value) > self.longest_id:
            raise TooMuch(f"{what} has {len(value)} characters; at most {self.longest_id} are taken")
        return value

    def question(self, value: Any) -> str:
        """Words to look for.

        Raises:
            TooMuch: a longer text. FieldTypeError: no text.
        """
        if not isinstance(value, str):
            raise FieldTypeError(f"text to look for is text; got a {type(value).__name__}")
        if len(value) > self.text:
            raise TooMuch(f"text to look for has {len(value)} characters; at most {self.text} are taken")
        return value

    def numbers(self, value: Any) -> Array:
        """A vector (d,) of finite numbers.

        Raises:
            TooMuch: a longer one. BadValue: another shape, or NaN. FieldTypeError: something that is no number.
        """
        if not isinstance(value, (list, tuple, np.ndarray)):
            raise FieldTypeError(f"a vector is a list of numbers; got a {type(value).__name__}")
        count = len(cast("Sequence[Any]", value))
        if count > self.vector:
            raise TooMuch(f"a vector has {count} numbers; at most {self.vector} are taken")
        if isinstance(value, (list, tuple)) and bool in set(map(type, cast("Sequence[Any]", value))):
            raise FieldTypeError("a vector is a list of numbers; this one has true or false in it")
        try:
            array: Array = np.asarray(cast("Any", value))
        except (ValueError, OverflowError):  # rows of different lengths
            array = np.empty(0, object)
        if array.ndim == 1 and array.dtype.kind == "O" and all(type(v) in (int, float) for v in array):
            # Whole numbers beyond 64 bits.
            try:
                array = array.astype(np.float64)
            except OverflowError:
                raise BadValue("a vector is of finite numbers; one of these is too great") from None
        if array.ndim != 1 or array.dtype.kind not in "iuf":
            raise FieldTypeError(
                f"a vector is a list of numbers; got one of shape {array.shape} and type {array.dtype}"
            )
        if not array.size:
            raise BadValue("a vector has at least one number")
        if not np.isfinite(array).all():
            raise BadValue("a vector is of finite numbers; this one has NaN or infinity in it")
        return array

    def condition(self, value: Any) -> dict[str, Any] | None:
        """A filter.

        Raises:
            TooMuch: more terms or levels. BadFilter: no object, or it has a pattern and `regex` is off.
        """
        if value is None:
            return None
        if not isinstance(value, dict):
            raise BadFilter(
                f"a filter is an object such as {{'tags__price': {{'$lt': 3}}}}; got {shown(value)}"
            )
        terms, level = 0, [cast("Any", value)]
        for _ in range(self.filter_depth):
            below: list[Any] = []
            for part in level:
                if isinstance(part, dict):
                    entries = cast("dict[Any, Any]", part)
                    if not self.regex and "$regex" in entries:
                        raise BadFilter(
                            "$regex is switched off on this server; $contains, $startswith, $endswith are not"
                        )
                    below += entries.values()
                elif isinstance(part, list):
                    below += cast("list[Any]", part)
                    if len(below) > self.filter_terms:
                        break
            terms += len(below)
            if terms > self.filter_terms:
                raise TooMuch(f"a filter has more than {self.filter_terms} parts")
            if not below:
                return cast("dict[str, Any]", value)
            level = below
        raise TooMuch(f"a filter has more than {self.filter_depth} levels")

    def order(self, value: Any) -> list[str] | None:
        """Paths to sort by.

        Raises:
            TooMuch: more of them. FieldTypeError: no text.
        """
        if value is None:
            return None
        paths = [value] if isinstance(value, str) else value
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in cast("list[Any]", paths)):
            raise FieldTypeError(
                f"sort takes a path such as '-tags__price', or a list of them; got {shown(value)}"
            )
        listed = cast("list[str]", paths)
        if len(listed) > self.sort_keys or any(len(path) > self.longest_id for path in listed):
            raise TooMuch(f"sort takes at most {self.sort_keys} paths of {self.longest_id} characters")
        return listed or None


def shown(value: object) -> str:
    """The beginning of what a client sent, for a message to it."""
    return f"{reprlib.repr(value):.60}"
