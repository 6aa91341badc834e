"""Paths: where in a document (`tags__price__0`) and where in a tree of documents (`@r[:2]c`).

Rule 1: a dunder path is read without knowing the data. Its parts stay text, and the container that is met
        decides whether '0' is a position or a key; so one path serves documents of different shapes.
Rule 2: a tuple is a path that has been read already. Whatever text cannot say (keys that hold `__`, keys
        that are numbers) a tuple says.
Rule 3: paths come from strangers, in filters over a wire. A path reads data: never a method, and never an
        attribute whose name begins with two underscores.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from docarray.errors import BadPath, FieldTypeError, OutOfRange, UnknownField, near_miss

__all__ = ["FieldPath", "Span", "Step", "dunder", "lookup", "parse_dunder", "parse_traversal"]

FieldPath: TypeAlias = tuple[str | int, ...]
"""A dunder path that has been read: the name of a field, then keys, positions and attributes."""

Span: TypeAlias = "slice[int | None, int | None, int | None]"
"""A slice of whole numbers. (Its own name, because `Step` has a field that is called `slice`.)"""


# --- dunder paths -----------------------------------------------------------------------------------------


def parse_dunder(path: str | FieldPath) -> FieldPath:
    """The parts of a dunder path; a tuple is checked and given back as it stands.

    A text is cut at the first `__` that leaves something on both sides, and then the rest likewise. Hence a
    part may begin with an underscore, and no part is empty.

    Args:
        path: such as 'tags__a__0', or ('tags', 'a__b', 0) for a key that holds `__` or is a number.

    Returns:
        The parts, at least one. The parts of a text are all text; `lookup` finds out what is a position.

    Raises:
        BadPath: an empty path, or a tuple with an empty part.
        FieldTypeError: neither text nor a tuple of text and whole numbers.

    Costs a lookup in a cache when the text was seen before.

    >>> parse_dunder("tags__a__0"), parse_dunder("tags___root_id_"), parse_dunder("_metadata__x")
    (('tags', 'a', '0'), ('tags', '_root_id_'), ('_metadata', 'x'))
    >>> parse_dunder(("tags", "a__b", 0))
    ('tags', 'a__b', 0)
    """
    # Asked as an object: the callers of a library do not all run a type checker.
    given = cast(object, path)
    if isinstance(given, str):
        return _dunder_parts(given)
    if not isinstance(given, tuple):
        raise FieldTypeError(
            f"a path is text such as 'tags__price' or a tuple such as ('tags', 'price'), not {given!r}."
        )
    return _checked_parts(cast("tuple[object, ...]", given))


def dunder(path: FieldPath) -> str:
    """The path as text for a message: 'tags__a__0'. Two paths may read alike.

    >>> dunder(("tags", "a", 0))
    'tags__a__0'
    """
    return "__".join(map(str, path))


@functools.lru_cache(maxsize=4096)
def _dunder_parts(text: str) -> FieldPath:
    if not text:
        raise BadPath("a path has no name in it: ''. A path is text such as 'tags__price'.")
    parts: list[str] = []
    start = 0
    # From start + 1, so that the left side has a character. A match that ends the text would leave
    # nothing on the right: then those underscores belong to the last name.
    while 0 < (cut := text.find("__", start + 1)) < len(text) - 2:
        parts.append(text[start:cut])
        start = cut + 2
    parts.append(text[start:])
    return tuple(parts)


def _checked_parts(given: tuple[object, ...]) -> FieldPath:
    # Not cached: ('tags', 1) and ('tags', True) are one key of a dict, and only one of them is a path.
    parts: list[str | int] = []
    for part in given:
        if isinstance(part, str):
            parts.append(part)
            continue
        try:
            if isinstance(part, bool):
                raise TypeError
            parts.append(operator.index(cast(int, part)))  # numpy's whole numbers become plain ones
        except TypeError:
            message = f"a path holds text and whole numbers; {given!r} holds {part!r}."
            raise FieldTypeError(message) from None
    if "" in parts or not parts:
        raise BadPath(f"a path has a name at each place: {given!r} has not.")
    return tuple(parts)


# --- lookup -----------------------------------------------------------------------------------------------

_ABSENT = object()
_POSITION = re.compile(r"-?[0-9]{1,18}")  # 18 digits always fit; Python refuses to read thousands of them


def lookup(
    obj: object,
    parts: FieldPath,
    *,
    missing: Literal["raise", "none"] = "raise",
    known: Collection[str] | None = None,
) -> Any:
    """The value at the end of a path, or None where the path leads to nothing.

    Each part is read by what it meets: a mapping takes the key '0', then the key 0, and gives None without
    either; a whole number picks from anything that has positions; all else is an attribute. Nothing is in
    None and nothing in an empty container, so the rest of the path gives None there.

    Args:
        obj: where to begin: a Document, a dict, a list.
        parts: what `parse_dunder` gave.
        missing: 'none' makes a position beyond the end give None, and also an attribute of plain data (text,
            a number, a list): rows of tags differ in shape and a filter has to walk over all of them.
            A name that an object with declared fields does not have is an error in both ways.
        known: the names that `obj` has, for the error message; else taken from its `FIELDS` or slots.

    Returns:
        The value itself, no copy.

    Raises:
        OutOfRange: a position beyond the end (an IndexError). Only with missing='raise'.
        UnknownField: no attribute has that name, or it is a method or private to Python (an AttributeError).

    Costs one step a part.

    >>> lookup({"a": [{"b": 1}]}, parse_dunder("a__0__b"))
    1
    >>> lookup({"1": "text", 2: "number"}, ("1",)), lookup({"1": "text", 2: "number"}, ("2",))
    ('text', 'number')
    >>> print(lookup({"a": []}, parse_dunder("a__0__b")))
    None
    """
    value: Any = obj
    for depth, part in enumerate(parts):
        if value is None:
            return None
        if isinstance(value, Mapping):
            value = _from_mapping(cast("Mapping[object, object]", value), part)
            continue
        position = part if isinstance(part, int) else _position(part)
        if position is not None and hasattr(cast(object, value), "__getitem__"):
            found = _from_positions(value, position)
            if found is _ABSENT and missing == "raise":
                raise OutOfRange(_beyond(value, parts, depth))
        else:
            found = _from_attribute(value, str(part))
            if found is _ABSENT:
                kind = type(cast(object, value))
                names = known if known is not None and depth == 0 else _declared_names(kind)
                if missing == "raise" or names:
                    raise UnknownField(_no_attribute(value, str(part), parts, names))
        if found is _ABSENT:
            return None
        value = found
    return value


def _from_mapping(mapping: Mapping[object, object], part: str | int) -> object:
    # Asked with `in` first: a defaultdict must not grow by being read.
    if part in mapping:
        return mapping[part]
    position = None if isinstance(part, int) else _position(part)
    return mapping[position] if position is not None and position in mapping else None


def _from_positions(value: Any, position: int) -> object:
    if _is_empty(value):
        return None
    try:
        return value[position]
    except (IndexError, TypeError):  # TypeError: a 0-d array of some libraries has no positions
        return _ABSENT


def _from_attribute(value: object, name: str) -> object:
    # An empty list or tag has nothing in it, whatever the next part is called.
    if _is_empty(value):
        return None
    if name.startswith("__"):
        return _ABSENT
    found = getattr(value, name, _ABSENT)
    return _ABSENT if callable(found) else found


def _is_empty(value: Any) -> bool:
    try:
        return len(value) == 0
    except TypeError:  # no length at all, or a 0-d array, or a sparse matrix
        return False


@functools.lru_cache(maxsize=4096)
def _position(part: str) -> int | None:
    """The whole number that a part spells, or None.

    >>> _position("-1"), _position("x"), _position("1_0")
    (-1, None, None)
    """
    return int(part) if _POSITION.fullmatch(part) else None


@functools.lru_cache(maxsize=256)
def _declared_names(kind: type) -> tuple[str, ...]:
    """The public names that a class says its objects have; none for plain data such as str or list."""
    names: set[str] = set()
    for cls in kind.__mro__:
        for declared in ("FIELDS", "__slots__", "__dataclass_fields__"):
            listed = cast("Iterable[object] | None", cls.__dict__.get(declared))
            # A single slot may be written as a bare string.
            names.update(map(str, [listed] if isinstance(listed, str) else listed or ()))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def _beyond(value: Any, parts: FieldPath, depth: int) -> str:
    place = repr(dunder(parts[:depth])) if depth else "the start"
    try:
        count = f"{len(value)} values"
    except TypeError:
        count = "no positions"
    return f"{dunder(parts[: depth + 1])!r} is beyond the end: there are {count} at {place}."


def _no_attribute(value: object, name: str, parts: FieldPath, names: Collection[str]) -> str:
    place = f" (in the path {dunder(parts)!r})" if len(parts) > 1 else ""
    hint = f" {near_miss(name, names)}" if names else ""
    return f"{type(value).__name__} has no field {name!r}{place}.{hint}"


# --- traversal paths --------------------------------------------------------------------------------------

_INT = r"-?[0-9]{1,18}"
_RANGE = rf"(?:(?:{_INT})?:(?:{_INT})?(?::(?:{_INT})?)?|{_INT})"
_STEP = re.compile(
    rf"""
    (?: (?P<kind>[rcm]) | \.\[ (?P<names>[^\[\],.]+ (?:,[^\[\],.]+)*) \] )
    (?: (?P<bare>{_RANGE}) | \[ (?P<boxed>{_RANGE}) \] )?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step down a tree of documents.

    Attributes:
        kind: 'r' the array itself, 'c' chunks, 'm' matches, '.' the fields `names` of a multimodal document.
        names: the fields, for '.' only.
        slice: which elements of each array are kept; None keeps all.
    """

    kind: Literal["r", "c", "m", "."]
    names: tuple[str, ...] = ()
    # Left out of the hash, not of equality: before Python 3.12 a slice has no hash.
    slice: Span | None = field(default=None, hash=False)


def parse_traversal(text: str) -> tuple[tuple[Step, ...], ...]:
    """The steps of the traversal paths in `text`, which is what follows the '@'.

    Paths are separated by commas; a step is `r`, `c`, `m` or `.[name, ...]`, and then a position or a slice,
    in brackets or without. White space means nothing. A position i is the slice that holds exactly that
    element, so `[-1]` is `[-1:]`, the last one.

    Returns:
        A tuple of steps for each path, in the order of the text.

    Raises:
        BadPath: the text cannot be read; the message says from where on.
        FieldTypeError: not text.

    Costs a lookup in a cache when the text was seen before.

    >>> parse_traversal("r[:2] c-1")  # doctest: +NORMALIZE_WHITESPACE
    ((Step(kind='r', names=(), slice=slice(None, 2, None)),
      Step(kind='c', names=(), slice=slice(-1, None, None))),)
    >>> [[step.names for step in path] for path in parse_traversal(".[image, text], c")]
    [[('image', 'text')], [()]]
    """
    given = cast(object, text)
    if not isinstance(given, str):
        raise FieldTypeError(f"a traversal path is text such as 'r[:2]c', not {given!r}.")
    return _traversal(given)


@functools.lru_cache(maxsize=1024)
def _traversal(text: str) -> tuple[tuple[Step, ...], ...]:
    squeezed = "".join(text.split())
    paths: list[tuple[Step, ...]] = []
    steps: list[Step] = []
    at = 0
    while True:
        found = _STEP.match(squeezed, at)
        if found is None:
            raise _unreadable(text, at)
        steps.append(_step(found, text))
        at = found.end()
        if at == len(squeezed):
            return (*paths, tuple(steps))
        if squeezed[at] == ",":
            paths.append(tuple(steps))
            steps = []
            at += 1


def _step(found: re.Match[str], text: str) -> Step:
    names = tuple((found["names"] or "").split(",")) if found["names"] else ()
    if not all(map(str.isidentifier, names)):
        raise _unreadable(text, found.start("names"))
    boxed = found["boxed"] is not None
    span = found["boxed"] if boxed else found["bare"]
    if span is None:
        cut = None
    else:
        try:
            cut = _span(span)
        except ValueError:
            raise _unreadable(text, found.start("boxed" if boxed else "bare")) from None
    # A match without a letter is one with names: the pattern has no third form.
    return Step(cast(Literal["r", "c", "m", "."], found["kind"] or "."), names, cut)


def _span(text: str) -> Span:
    """The slice that '2', '-1', '1:3' or '::2' stands for; ValueError for a stride of 0."""
    bounds = [int(bound) if bound else None for bound in text.split(":")]
    if len(bounds) == 1:
        index = int(text)
        # slice(-1, 0) would be empty: the end of the last element has no number, only None.
        return slice(index, None if index == -1 else index + 1)
    if bounds[2:] == [0]:
        raise ValueError(text)
    return slice(*bounds)


def _unreadable(text: str, at: int) -> BadPath:
    # `at` counts without white space; people count with it.
    visible = [position for position, char in enumerate(text) if not char.isspace()]
    position = visible[at] if at < len(visible) else len(text)
    rest = f"from {text[position:]!r} on" if position < len(text) else "its end comes too early"
    return BadPath(
        f"cannot read the traversal path {text!r} at position {position}: {rest}. "
        "Steps are r, c, m and .[name], each with a position or a slice: '@r[:2]c', '@m,c', '@.[image][-1]'."
    )
