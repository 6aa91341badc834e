"""What documents look like before any of them is made: what a terminal and a notebook both show.

Rule 1: looking makes and changes no document. A row that nobody touched is read in its columns, cell by cell.
Rule 2: an array is known from one pass over at most `SAMPLE` of its documents; what was sampled says so.
Rule 3: whatever is shown has passed `plain`, so no control character reaches a terminal or a page.
Rule 4: nothing is spelled out at full length in order to be cut.
Rule 5: what a document would have to load, or a uri lead to, is not there: `Look.pending` says that it waits.
"""

# The body of an array and the slots of a document are read here, and nowhere else in this room.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final, cast

from docarray import tensors
from docarray.array import DocumentArray
from docarray.document import CopyOf, Document, Pending, class_of
from docarray.errors import FieldTypeError, ShapeError
from docarray.multimodal import is_list, place_in
from docarray.rows import RowsSpan, Slots
from docarray.schema import FIELDS
from docarray.score import NamedScore
from docarray.table import DocsColumn, Table
from docarray.tensors import Array
from docarray.watched import plain as unwatched

__all__ = [
    "SAMPLE",
    "ArrayFacts",
    "AttributeFacts",
    "FieldLook",
    "Look",
    "array_type",
    "brief",
    "completions",
    "count_of",
    "cut",
    "document_or_array",
    "facts_of",
    "looks",
    "noun",
    "numbers_of",
    "plain",
    "score_text",
    "show_blob",
    "tag_paths",
]

SAMPLE: Final = 1_000
"""Documents that are looked at in order to know an array."""

_LONGEST_STRIP: Final = 1_000
_IDS_COMPLETED: Final = 50
_MOST_FIELDS: Final = 100
_CONTENT: Final = frozenset({"text", "blob", "tensor"})
_DEEPEST_TAGS: Final = 3


# ---------------------------------------------------------------------------------------------- words


_PICTURES: Final[dict[int, str]] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)},
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),  # what a terminal may obey as it obeys ESC [
    **dict.fromkeys(range(0x202A, 0x202F), "\ufffd"),  # these turn the text after them around
}
_LONE: Final = re.compile("[\ud800-\udfff]")
_SPACES: Final = re.compile(r"\s+")


def plain(text: str) -> str:
    """The text on one line, without anything that a terminal or a browser would obey or could not write.

    >>> plain('a\\x1b[2Jb\\n c')
    'a\\u241b[2Jb c'
    """
    return _SPACES.sub(" ", _LONE.sub("\ufffd", text.translate(_PICTURES)))


def cut(text: str, most: int) -> str:
    """`plain` text of at most `most` characters; longer text ends in its length.

    >>> cut('x' * 1200, 4)
    'xxxx\\u2026 (1 200 characters)'
    """
    if len(text) <= most:
        return plain(text)
    head = plain(text[: 4 * most])  # white space may shrink; it need not be looked for in all of a book
    return f"{head[:most]}\u2026 ({count_of(len(text))} characters)"


def count_of(number: int) -> str:
    """A number with its thousands apart: '1 797'."""
    return f"{number:,}".replace(",", " ")


def noun(number: int, one: str, many: str | None = None) -> str:
    """'1 chunk', '1 797 chunks'."""
    return f"{count_of(number)} {one if number == 1 else many or one + 's'}"


def brief(value: Any, most: int = 60) -> str:
    """A short text of any value, like its repr; long containers are cut without being spelled out.

    >>> brief({'a': [1, 2.5, None], 'b': 'x'})
    "{'a': [1, 2.5, None], 'b': 'x'}"
    """
    out: list[str] = []
    _spell(value, out, most, 0)
    text = plain("".join(out))
    return text if len(text) <= most else text[: most - 1] + "\u2026"


_BRACKETS: Final[Mapping[type, str]] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


def _spell(value: Any, out: list[str], most: int, depth: int) -> None:
    kind = cast("type[Any]", type(value))
    if kind is str or kind is bytes:
        out.append(repr(value[: most + 1]))
    elif kind is float:
        out.append(f"{value:.6g}")
    elif kind is int and value.bit_length() > 256:
        out.append(f"an int of {value.bit_length()} bits")  # Python refuses to spell the longest of them
    elif kind is dict or kind in _BRACKETS:
        opening, closing = _BRACKETS.get(kind, "{}")
        out.append(opening)
        if depth > 4:
            out.append("\u2026")
        else:
            _spell_items(value, out, most, depth + 1)
        out.append(closing)
    elif tensors.framework(value) not in (None, "list"):
        out.append(array_type(value))
    else:
        out.append(_repr(value)[: most + 1])


def _spell_items(values: Any, out: list[str], most: int, depth: int) -> None:
    start = len(out)
    for value in values:
        if len(out) > start:
            out.append(", ")
        if sum(map(len, out)) > most:
            return  # the caller cuts here
        _spell(value, out, most, depth)
        if isinstance(values, dict):
            out.append(": ")
            _spell(values[value], out, most, depth)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # tags hold objects of anybody; a faulty one must not hide the document
        return f"<{type(value).__name__}: its repr raises {type(error).__name__}>"


def show_blob(data: bytes, most: int = 100) -> str:
    """The first bytes, and how many there are where that is not all."""
    text = repr(data[:most])
    if len(text) <= most and len(data) <= most:
        return plain(text)
    return f"{plain(text[: most - 1])}\u2026 ({noun(len(data), 'byte')})"


def score_text(score: Any) -> str:
    """The value of a score, of an object or of a cell of a column, in few digits."""
    value = (
        score.value if isinstance(score, NamedScore) else cast("Mapping[str, Any]", score).get("value") or 0.0
    )
    return f"{value:.4g}"


# ---------------------------------------------------------------------------------------------- arrays


def array_type(value: Any) -> str:
    """Kind, dtype and shape: 'ndarray float32 (128,)', 'list (3, 2)', 'csr_matrix float64 (1, 256), 3 stored'."""
    name = tensors.framework(value)
    if name == "list":
        return f"{type(value).__name__} {_shape_text(_list_shape(value))}"
    dtype = getattr(value, "dtype", None)
    dtype = str(getattr(dtype, "name", dtype) or "").removeprefix("torch.")
    shape = tuple(int(size) for size in getattr(value, "shape", ()))
    words = [type(value).__name__, dtype, _shape_text(shape)]
    text = " ".join(word for word in words if word)
    stored = getattr(value, "nnz", None) if name == "scipy" else None
    return text if stored is None else f"{text}, {count_of(int(stored))} stored"


def _shape_text(shape: tuple[int, ...]) -> str:
    return str(shape)


def _list_shape(value: Any) -> tuple[int, ...]:
    """The shape of a nested list by the first element of each level."""
    shape: list[int] = []
    inner: Any = value
    while isinstance(inner, (list, tuple)) and len(shape) < 8:
        items = cast("Sequence[Any]", inner)
        shape.append(len(items))
        if not items:
            break
        inner = items[0]
    return tuple(shape)


def numbers_of(value: Any, most: int = _LONGEST_STRIP) -> Array | None:
    """A vector of fewer than `most` real numbers as float64 (d,), for drawing; None for all else."""
    name = tensors.framework(value)
    if name is None or tensors.is_sparse(value):
        return None
    shape = _list_shape(value) if name == "list" else tuple(getattr(value, "shape", ()))
    if len(shape) != 1 or not 0 < shape[0] < most:
        return None
    try:
        numbers = tensors.to_numpy(value)
    except ShapeError:  # a list of lists and numbers
        return None
    return numbers.astype("float64") if numbers.ndim == 1 and numbers.dtype.kind in "biuf" else None


# ---------------------------------------------------------------------------------------------- one document


class Look:
    """One document as it stands, read and not made: a Document, or a row of a table that nobody touched.

    >>> look = Look(Document(id='a', text='hello', tags={'x': 1}))
    >>> look.id, dict(look.filled())
    ('a', {'text': 'hello', 'tags': {'x': 1}})
    """

    __slots__ = ("_doc", "_row", "_table")

    def __init__(self, doc: Document | None, table: Table | None = None, row: int = 0) -> None:
        self._doc = doc
        self._table = table
        self._row = row

    @property
    def kind(self) -> str:
        """The name of the class."""
        if self._doc is None:
            return "Document"
        return class_of(self._doc).__name__

    @property
    def id(self) -> str:
        """The id; '' where it was taken away."""
        if self._doc is not None:
            return cast("str | None", self._doc.id) or ""
        return cast("str", cast("Table", self._table).id_column.value(self._row))

    @property
    def pending(self) -> bool:
        """Whether the content waits to be loaded until somebody asks for it, which looking does not."""
        return self._doc is not None and isinstance(self._doc._target(), Pending)

    def value(self, name: str) -> Any:
        """The value of a field other than the id, chunks and matches; None where it is unset or its default."""
        if self._doc is not None:
            if name in _CONTENT and self.pending:
                return None
            return unwatched(self._doc._filled(name))
        column = cast("Table", self._table).columns.get(name)
        value = None if column is None else column.value(self._row)
        return None if value is None or _is_empty(value) else value

    def filled(self) -> Iterator[tuple[str, Any]]:
        """(name, value) of each field that differs from its default, in canonical order; not id, chunks, matches."""
        names = FIELDS if self._doc is not None else cast("Table", self._table).columns
        for name, field in FIELDS.items():
            if name != "id" and field.kind != "docs" and name in names:
                value = self.value(name)
                if value is not None:
                    yield name, value

    def below(self, name: str, most: int) -> tuple[int, list[Look]]:
        """How many chunks, or matches, there are, and the first `most` of them."""
        if self._doc is not None:
            body = _body(getattr(self._doc, "_" + name))
            return len(body), [_look(body, at) for at in range(min(most, len(body)))]
        column = cast("Table", self._table).columns.get(name)
        if not isinstance(column, DocsColumn):
            return 0, []
        start, stop = column.bounds(self._row)
        return stop - start, [Look(None, column.child, row) for row in range(start, min(stop, start + most))]

    @property
    def modality(self) -> str:
        """'audio', 'video', ...: what the document says, or the field of a dataclass that it was made for; or ''."""
        said = self.value("modality")
        if said:
            return str(said).lower()
        private: Mapping[Any, Any] = self.value("_metadata") or {}
        return next((name for name in ("audio", "video", "mesh", "image") if f"{name}_type" in private), "")

    def fields(self) -> list[FieldLook]:
        """The fields of the dataclass that made the document, by its schema; none of any other document.

        A schema is what a file says: an entry that is none, or names a chunk that is not there, is a field of nothing.
        """
        private: Mapping[Any, Any] = self.value("_metadata") or {}
        schema = private.get("multi_modal_schema")
        if not schema or not isinstance(schema, Mapping):
            return []
        entries = list(zip(cast("Mapping[Any, Any]", schema).items(), range(_MOST_FIELDS), strict=False))
        places = {name: place_in(entry) for (name, entry), _ in entries}
        last = max((place for place in places.values() if place is not None), default=-1)
        chunks = self.below("chunks", last + 1)[1]
        tags: Mapping[Any, Any] = self.value("tags") or {}
        found: list[FieldLook] = []
        for (name, entry), _ in entries:
            said = cast("Mapping[str, Any]", entry if isinstance(entry, Mapping) else {})
            at = places[name]
            chunk = None if at is None or not 0 <= at < len(chunks) else chunks[at]
            kind = str(said.get("type") or "")
            value = tags.get(name) if at is None else None
            found.append(FieldLook(str(name), kind, value, chunk, at, is_list(said) and at is not None))
        return found

    def shown(self) -> list[tuple[str, Any]]:
        """`filled`, without private data that says only what media and dataclass the document is of."""
        return [
            (name, value)
            for name, value in self.filled()
            if name != "_metadata" or not all(_is_of_medium(key) for key in value)
        ]

    def names(self) -> tuple[str, ...]:
        """Names of the fields that differ from their defaults, in canonical order, id first."""
        names = ["id"] if self.id else []
        names += [name for name, _ in self.filled()]
        names += [name for name in ("chunks", "matches") if self.below(name, 0)[0]]
        return tuple(names)


def _is_of_medium(key: object) -> bool:
    return key == "multi_modal_schema" or (isinstance(key, str) and key.endswith("_type"))


@dataclass(frozen=True, slots=True)
class FieldLook:
    """A field of the dataclass that made a document: a plain `value`, or a document, or the list in `below`."""

    name: str
    kind: str
    """What the schema calls its type: 'Image', 'float', ...; '' where it does not."""
    value: Any
    look: Look | None
    """The document of the field; of a list the one whose chunks are its elements."""
    at: int | None
    """The number of its chunk; None of a plain value."""
    is_list: bool


def _is_empty(value: Any) -> bool:
    if isinstance(value, Real):
        return not value
    return tensors.framework(value) in (None, "list") and len(value) == 0


def _body(nested: Any) -> Slots:
    """What stands in the slot of chunks or matches, as the body of an array; no nested array is made."""
    if nested is None:
        return Slots()
    if isinstance(nested, RowsSpan):
        return nested.slots()
    if isinstance(nested, CopyOf):
        return cast("Slots", nested.source)
    return cast("Slots", nested._slots)


def _look(slots: Slots, position: int) -> Look:
    item = slots.items[position]
    rows = slots.rows
    if type(item) is int and rows is not None:
        made = rows.made.get(item)
        return Look(None, rows.table, item) if made is None else Look(made)
    return Look(cast("Document", item))


def looks(array: DocumentArray[Any], most: int) -> list[Look]:
    """The first `most` documents of an array."""
    slots = array._slots
    return _looks(slots, range(min(most, len(slots))))


def _looks(slots: Slots, positions: Sequence[int]) -> list[Look]:
    """A look at each of these positions; of a store they are read together."""
    if slots.store is not None:
        slots = slots.select(cast("Any", slots.store.at(positions)))
        positions = range(len(slots))
    return [_look(slots, at) for at in positions]


# ---------------------------------------------------------------------------------------------- an array


@dataclass(frozen=True, slots=True)
class AttributeFacts:
    """One field over the documents that were looked at.

    `filled` is how many of them have it. `unique` is the number of distinct values; None where they are not hashable
    (dicts, arrays, nested documents).
    `total` is how many nested documents there are; None for fields of another kind.
    """

    name: str
    types: tuple[str, ...]
    unique: int | None
    filled: int
    has_empty: bool
    total: int | None = None

    @property
    def type_text(self) -> str:
        """The types that occur, at most two of them by name."""
        named = " | ".join(self.types[:2])
        rest = len(self.types) - 2
        return f"{named} | {rest} more" if rest > 0 else named


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """What an array holds, as far as `looked` of its `length` documents tell.

    `state` says how much of it exists as documents. `nested_in` is ('chunks' or 'matches', id of the parent).
    `sets` are the sets of fields that documents fill, the most frequent first, with their numbers.
    """

    kind: str
    length: int
    looked: int
    storage: str
    state: str
    nested_in: tuple[str, str] | None
    sets: tuple[tuple[tuple[str, ...], int], ...]
    attributes: tuple[AttributeFacts, ...]
    multimodal: bool
    fields: tuple[tuple[str, str], ...] = ()
    """(name, type) of the fields of the dataclass that made the first document that one made."""

    @property
    def sampled(self) -> str:
        """'sampled 1 000 of 50 000'; '' where all were looked at."""
        return (
            ""
            if self.looked == self.length
            else f"sampled {count_of(self.looked)} of {count_of(self.length)}"
        )

    @property
    def homogenous(self) -> bool:
        """Whether all that were looked at fill the same fields."""
        return len(self.sets) <= 1

    @property
    def common(self) -> tuple[str, ...]:
        """The fields that all of them fill, in canonical order."""
        shared = (
            set(self.sets[0][0]).intersection(*(names for names, _ in self.sets)) if self.sets else set[str]()
        )
        return tuple(name for name in FIELDS if name in shared)


def facts_of(array: DocumentArray[Any]) -> ArrayFacts:
    """What an array holds; no document is made. Costs a look at `SAMPLE` documents at most, whatever the length."""
    slots = array._slots
    length = len(slots)
    seen = _looks(slots, _positions(length))
    counts = Counter(look.names() for look in seen)
    made = next((look for look in seen if "multi_modal_schema" in (look.value("_metadata") or {})), None)
    return ArrayFacts(
        kind=type(array).__name__,
        length=length,
        looked=len(seen),
        storage=array.storage,
        state=_state(slots),
        nested_in=_parent_of(array),
        sets=tuple(counts.most_common()),
        attributes=tuple(_attribute(name, seen) for name in FIELDS if any(name in names for names in counts)),
        multimodal=made is not None,
        fields=() if made is None else tuple((field.name, field.kind) for field in made.fields()),
    )


def _positions(length: int) -> Sequence[int]:
    """At most `SAMPLE` positions, evenly spread: the same ones each time, so that a summary does not flicker."""
    return range(length) if length <= SAMPLE else [at * length // SAMPLE for at in range(SAMPLE)]


def _state(slots: Slots) -> str:
    if slots.store is not None:
        return ""
    items, rows = slots.items, slots.rows
    if rows is None or not len(items):
        return "as documents" if len(items) else ""
    if isinstance(items, range):
        few, many = (rows.made, items) if len(rows.made) < len(items) else (items, rows.made)
        touched = sum(row in many for row in few)
    else:
        touched = sum(type(item) is not int or item in rows.made for item in cast("list[Any]", items))
    return "as columns, none touched" if not touched else f"as columns, {count_of(touched)} touched"


def _parent_of(array: DocumentArray[Any]) -> tuple[str, str] | None:
    parent = getattr(array, "reference_doc", None)
    if not isinstance(parent, Document):
        return None
    return ("chunks" if hasattr(array, "granularity") else "matches"), Look(parent).id


def _attribute(name: str, seen: list[Look]) -> AttributeFacts:
    if FIELDS[name].kind == "docs":
        totals = [look.below(name, 0)[0] for look in seen]
        kind = "ChunkArray" if name == "chunks" else "MatchArray"
        return AttributeFacts(name, (kind,), None, len(totals) - totals.count(0), 0 in totals, sum(totals))
    values = [look.id or None if name == "id" else look.value(name) for look in seen]
    held = [value for value in values if value is not None]
    types = tuple(dict.fromkeys(_type_of(FIELDS[name].kind, value) for value in held))
    try:
        unique = len(set(held))
    except TypeError:
        unique = None
    if FIELDS[name].kind == "tensor":
        unique = None  # a tensor of torch is hashable, but by its place in memory
    return AttributeFacts(name, types, unique, len(held), len(held) < len(values))


def _type_of(kind: str, value: Any) -> str:
    if kind == "tensor":
        return array_type(value)
    return "Scores" if kind == "scores" else type(value).__name__  # a column holds scores as dicts


# ---------------------------------------------------------------------------------------------- completion


def tag_paths(array: DocumentArray[Any], most: int = 50) -> list[str]:
    """Paths of the tags that a sample of the documents has, as they are written between `[` and `]`.

    >>> tag_paths(DocumentArray([Document(tags={'price': 3, 'shape': {'sides': 4}})]))
    ['tags__price', 'tags__shape', 'tags__shape__sides']
    """
    found: dict[str, None] = {}
    slots = array._slots
    for look in _looks(slots, _positions(len(slots))):
        _tag_paths("tags", look.value("tags") or {}, found, 0)
        if len(found) >= most:
            break
    return list(found)[:most]


def _tag_paths(stem: str, tags: Mapping[Any, Any], found: dict[str, None], depth: int) -> None:
    for key, value in tags.items():
        if isinstance(key, str) and key and "__" not in key:  # else a path cannot say it
            found[path := f"{stem}__{key}"] = None
            if isinstance(value, Mapping) and depth < _DEEPEST_TAGS:
                _tag_paths(path, cast("Mapping[Any, Any]", value), found, depth + 1)


def completions(array: DocumentArray[Any]) -> list[str]:
    """What may stand between `[` and `]`: the first 50 ids, paths of tags, and '@r', '@c', '@m' where they lead on."""
    if not len(array):
        return []
    ids = [look.id for look in looks(array, _IDS_COMPLETED)]
    slots = array._slots
    seen = _looks(slots, _positions(len(slots)))
    nested = [
        sign for sign, name in (("@c", "chunks"), ("@m", "matches")) if any(s.below(name, 0)[0] for s in seen)
    ]
    return [*filter(None, ids), *tag_paths(array), "@r", *nested]


def document_or_array(obj: object, what: str) -> Document | DocumentArray[Any]:
    """The object, if it is something that this room shows.

    Raises:
        FieldTypeError: it is not.
    """
    if isinstance(obj, Document):
        return obj
    if isinstance(obj, DocumentArray):
        return cast("DocumentArray[Any]", obj)
    raise FieldTypeError(
        f"{what} shows a Document or a DocumentArray; got a {type(obj).__name__}: {obj!r:.60}"
    )
