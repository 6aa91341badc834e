"""What stands between `[` and `]`: every key becomes positions first, for get, set and delete alike.

Rule 1: `read_key` alone knows the forms of keys. Its answer is a Selection: which documents, and which attributes.
Rule 2: positions are from 0 to len - 1, in the order and with the repeats of the key.
Rule 3: `da['a', 'b']` is two documents when 'b' is an id that the array has, else attribute 'b' of document 'a'.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from docarray.errors import BadSelector, OutOfRange, UnknownField, near_miss
from docarray.paths import parse_dunder
from docarray.schema import FIELDS

if TYPE_CHECKING:
    from docarray.rows import Slots

__all__ = ["Selection", "known_attribute", "position_of", "positions_of", "read_key"]

Path = str | tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a key selects.

    `form`: 'one' document at `positions[0]`; 'many' at `positions`, of which ids are some on a store; 'path', the
    traversal path `path`;
    'all', every document at every depth. `attributes` is None for documents; `boxed` says whether they came in a list.
    `whole` says that all are meant, however many there are by the time that they are read.
    """

    form: Literal["one", "many", "path", "all"]
    positions: Sequence[Any] = ()
    path: str = ""
    attributes: tuple[Path, ...] | None = None
    boxed: bool = False
    whole: bool = False


def read_key(key: Any, slots: Slots) -> Selection:
    """The selection that a key means for this array.

    Raises:
        BadSelector: it is of no form that selects; the message shows it.
        OutOfRange: a position beyond the end. MissingDocument: an id that no document has.
        UnknownField: an attribute that begins with no field of a Document.
    """
    if not isinstance(key, tuple):
        return _documents(key, slots)
    parts = cast("tuple[Any, ...]", key)
    if len(parts) == 2 and not _is_flag(parts[0]):
        first, second = parts
        named = _attributes(first, second, slots)
        if named is not None:
            chosen = _documents(first, slots)
            attributes, boxed = named
            return Selection(chosen.form, chosen.positions, chosen.path, attributes, boxed, chosen.whole)
    return Selection("many", _listed(parts, slots))


def _attributes(first: Any, second: Any, slots: Slots) -> tuple[tuple[Path, ...], bool] | None:
    """The attributes that the second part of a pair names; None when the pair is two documents."""
    if isinstance(second, str):
        if _is_single(first) and slots.has(second) and not _names_field(second):
            return None
        if isinstance(first, str) and not first.startswith("@") and slots.has(second):
            return None
        return (known_attribute(second),), False
    if isinstance(second, (list, tuple)) and second and all(isinstance(s, (str, tuple)) for s in second):  # pyright: ignore
        names = cast("Sequence[Path]", second)
        return tuple(known_attribute(name) for name in names), True
    if _is_single(first) and _is_single(second):
        return None
    raise BadSelector(
        f"[{first!r:.60}, {second!r:.60}]: after documents come attribute names, as 'text' or ['text', 'tags__x']"
    )


def known_attribute(path: Path) -> Path:
    """The attribute path, if it begins with a field of a Document or with `content`.

    Raises:
        UnknownField: it does not; the message names the closest.
    """
    root = parse_dunder(path)[0]
    if root not in FIELDS and root not in (
        "content",
        "embeddings",
        "content_type",
        "content_hash",
        "non_empty_fields",
        "nbytes",
    ):
        raise UnknownField(f"a Document has no field {root!r}. {near_miss(root, (*FIELDS, 'content'))}")
    return path


def _names_field(name: str) -> bool:
    return name in FIELDS or "__" in name


def _documents(key: Any, slots: Slots) -> Selection:
    if isinstance(key, str):
        if key.startswith("@"):
            return Selection("path", path=key[1:])
        return Selection("one", (slots.position(key),))
    if key is Ellipsis:
        return Selection("all")
    said = key
    if isinstance(key, slice):
        whole = said.start in (None, 0) and said.stop is None and said.step in (None, 1)
        return Selection("many", range(len(slots))[key], whole=whole)
    if isinstance(key, (list, range, tuple)):
        return Selection("many", _listed(cast("Sequence[Any]", key), slots))
    if _is_flag(key) or isinstance(key, (float, set, dict, bytes)) or key is None:
        raise BadSelector(f"a {type(cast('object', key)).__name__} selects no documents: {key!r:.60}")
    if hasattr(key, "__index__") and not hasattr(key, "ndim"):
        return Selection("one", (position_of(key, len(slots)),))
    if hasattr(key, "__array__"):
        return _from_array(np.asarray(key), slots)
    raise BadSelector(f"a {type(key).__name__} selects no documents: {key!r:.60}")


def _from_array(array: np.ndarray[Any, Any], slots: Slots) -> Selection:
    if array.ndim == 0 and array.dtype.kind in "iu":
        return Selection("one", (position_of(array.item(), len(slots)),))
    if array.ndim != 1:
        raise BadSelector(f"an array that selects documents has one dimension, not ndim={array.ndim}")
    if array.dtype.kind not in "biuU" and len(array):
        raise BadSelector(f"an array that selects documents holds ints, bools or ids, not {array.dtype}")
    return Selection("many", _listed(array.tolist(), slots))


def _listed(keys: Sequence[Any], slots: Slots) -> list[int]:
    """The positions of a list of ints and ids, or of a mask."""
    if not keys:
        return []
    kinds = set(map(type, keys))
    if kinds <= {bool, np.bool_}:
        return _masked(keys, len(slots))
    count = len(slots)
    if kinds == {int}:
        if min(keys) >= 0 and max(keys) < count:
            return list(keys)
        return [position_of(key, count) for key in keys]
    found: list[int] = []
    for key in keys:
        if isinstance(key, str):
            found.append(slots.position(key))
        elif _is_flag(key) or not hasattr(key, "__index__"):
            raise BadSelector(
                f"a list that selects documents holds ints and ids, or only bools; got {key!r:.60}"
            )
        else:
            found.append(position_of(key, count))
    return found


def _masked(mask: Sequence[bool], count: int) -> list[int]:
    if len(mask) > count:
        raise BadSelector(f"a mask of {len(mask)} for {count} documents: it may be shorter, but not longer")
    return [i for i, chosen in enumerate(mask) if chosen]


def position_of(key: Any, count: int) -> int:
    """A position from 0 to count - 1; negative ones count from the end.

    Raises:
        OutOfRange: there is no such position.
    """
    at = operator.index(key)
    if not -count <= at < count:
        raise OutOfRange(f"position {at} is out of range for an array of {count}")
    return at + count if at < 0 else at


def positions_of(selection: Selection) -> list[Any]:
    """The distinct places, for deleting: positions in rising order; with ids among them, of a store, as they came."""
    places = set[Any](selection.positions)
    return sorted(places) if not any(type(place) is str for place in places) else list(places)


def _is_flag(key: Any) -> bool:
    return isinstance(key, (bool, np.bool_))


def _is_single(key: Any) -> bool:
    """Whether the key is one position or one id."""
    if isinstance(key, str):
        return not key.startswith("@")
    return not _is_flag(key) and hasattr(key, "__index__") and getattr(key, "ndim", 0) == 0
