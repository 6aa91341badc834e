"""Walking along chunks and matches: what the steps of a traversal path reach.

Rule 1: over rows that nobody touched, a step is a look-up in offsets; no document is made.
Rule 2: slices apply within each parent: '@c[0]' is the first chunk of each document.
Rule 3: documents come in the order of their parents; several paths come one after the other.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np

from docarray.columns import Column, JsonColumn
from docarray.document import Document
from docarray.multimodal import is_list, misplaced, place_in, schema_of
from docarray.paths import Step, parse_traversal
from docarray.rows import Rows, RowsSpan, Several, Slots
from docarray.table import DocsColumn
from docarray.tensors import Array

__all__ = ["Reached", "flattened", "joined", "owners", "reach", "walk"]

_SLOT = {"c": "_chunks", "m": "_matches"}
_NAME = {"c": "chunks", "m": "matches"}


def walk(slots: Slots, text: str) -> Slots:
    """The documents that the paths reach, in one body.

    Raises:
        BadPath: the text is no path.
    """
    return joined([reach(slots, path) for path in parse_traversal(text)])


def reach(slots: Slots, path: tuple[Step, ...]) -> Slots:
    """The documents that one path reaches."""
    for step in path:
        slots = _follow(slots, step)
    return slots


class Reached(NamedTuple):
    """A container that a path reaches into: an array, and the positions in it that are reached."""

    parent: Document | None
    """The document that the array belongs to; None for the root array."""
    name: str
    """'chunks' or 'matches' of the parent, '' for the root array."""
    body: Slots
    positions: Sequence[int] | None
    """None where all are reached."""

    def part(self) -> Slots:
        """What is reached; the body itself where that is all of it."""
        return self.body if self.positions is None else self.body.select(self.positions)


def owners(slots: Slots, path: tuple[Step, ...]) -> Iterator[Reached]:
    """The containers that a path reaches into, in order."""
    *before, last = path
    if last.kind == "r":
        if not before:
            yield Reached(None, "", slots, None if last.slice is None else range(len(slots))[last.slice])
        elif last.slice is None:
            yield from owners(slots, tuple(before))
        else:
            spots = [spot for found in owners(slots, tuple(before)) for spot in _spots(found)]
            yield from _regrouped(spots[last.slice])
        return
    for doc in reach(slots, tuple(before)):
        name = _NAME.get(last.kind)
        if name is None:
            yield from _regrouped(_multimodal(doc, last))
        elif getattr(doc, "_" + name) is not None:
            body: Slots = getattr(doc, name)._slots
            yield Reached(doc, name, body, None if last.slice is None else range(len(body))[last.slice])


_Spot = tuple["Document | None", str, Slots, int]
"""One place in a container: its parent, 'chunks' or 'matches', its body, and the position in it."""


def _spots(found: Reached) -> list[_Spot]:
    positions = range(len(found.body)) if found.positions is None else found.positions
    return [(found.parent, found.name, found.body, at) for at in positions]


def _regrouped(spots: list[_Spot]) -> Iterator[Reached]:
    """Places one after the other in one container as one."""
    for _, group in itertools.groupby(spots, key=lambda spot: id(spot[2])):
        same = list(group)
        parent, name, body, _ = same[0]
        yield Reached(parent, name, body, [spot[3] for spot in same])


def _follow(slots: Slots, step: Step) -> Slots:
    if step.kind == "r":
        return slots if step.slice is None else slots.select(step.slice)
    slots = slots.loaded()
    numbers = slots.untouched
    if numbers is not None and slots.rows is not None and not isinstance(slots.rows, Several):
        found = (
            _fields_below(slots.rows, numbers, step)
            if step.kind == "."
            else _below(slots.rows, numbers, step)
        )
        if found is not None:
            return found
    return Slots(_fields_of(slots.docs(), step)) if step.kind == "." else _below_docs(slots.docs(), step)


def _fields_of(docs: list[Document], step: Step) -> list[Document]:
    """The documents of these fields of multimodal documents."""
    if len(step.names) > 1 or step.slice is not None:
        return [body.get(at) for doc in docs for _, _, body, at in _multimodal(doc, step)]
    name, out = str(next(iter(step.names))), list[Document]()
    at: int | None = None
    many, known = False, None
    for doc in docs:  # the same as above for the commonest step, in a fifth of the time
        entry = schema_of(doc).get(name) if doc._more is not None else None
        if entry is not known:  # documents of one class may share it
            known = entry
            at = place_in(entry)
            many = at is not None and is_list(entry)
        if at is None:
            continue
        body: Slots = doc.chunks._slots
        items = body.items
        if not 0 <= at < len(items):
            raise misplaced(doc, name, at)
        chunk: Document = items[at] if body.rows is None else body.get(at)
        if many:
            out += chunk.chunks._slots.docs()
        else:
            out.append(chunk)
    return out


def _fields_below(rows: Rows, numbers: range | list[int], step: Step) -> Slots | None:
    """The same over rows that nobody touched, as rows; None where these cannot say it in one step.

    They cannot where schemas are too diverse, and where some fields are lists and others are not.
    """
    private, column = rows.table.columns.get("_metadata"), rows.table.columns.get("chunks")
    if private is None or not isinstance(column, DocsColumn):
        return Slots()
    fields: list[tuple[list[int | None], list[Any]]] = []
    for name in step.names:
        entries = _at_key(_at_key(private, "multi_modal_schema"), name)
        places, kinds = _at_key(entries, "position"), _at_key(entries, "attribute_type")
        if places is _DIVERSE or kinds is _DIVERSE:
            return None
        if isinstance(places, Column):
            values = places.values()
            try:
                number_of = {value: place_in({"position": value}) for value in values}
            except TypeError:  # lists and the like, which are none
                return None
            words = kinds.values() if isinstance(kinds, Column) else [None] * len(values)
            fields.append(([number_of[value] for value in values], words))
    lists = {
        str(kinds[number]).startswith("iterable")
        for places, kinds in fields
        for number in numbers
        if places[number] is not None
    }
    if len(lists) > 1:
        return None
    below = rows.below("chunks", column)
    starts = cast("list[int]", column.checked().tolist())
    inner = below.table.columns.get("chunks")
    ends: list[int] = [0] * (len(below) + 1)
    if isinstance(inner, DocsColumn):
        ends = cast("list[int]", inner.checked().tolist())
    found = list[int]()
    for number in numbers:
        mine = list[int]()
        for (places, _), name in zip(fields, step.names, strict=False):
            place = places[number]
            if place is None:
                continue
            at = starts[number] + place
            if not starts[number] <= at < starts[number + 1]:
                raise misplaced(rows.doc(number), name, place)
            mine += range(ends[at], ends[at + 1]) if True in lists else (at,)
        found += mine if step.slice is None else mine[step.slice]
    if True not in lists:
        return Slots(found, below)
    return Slots(found, below.below("chunks", inner)) if isinstance(inner, DocsColumn) else Slots()


_DIVERSE: Final = object()


def _at_key(column: object, key: str) -> object:
    """The column of a key of objects; None where no row has it, `_DIVERSE` where there are no such columns."""
    if column is None or column is _DIVERSE:
        return column
    keyed = column.by_key() if isinstance(column, JsonColumn) else None
    return _DIVERSE if keyed is None else keyed.get(key)


def _below(rows: Rows, numbers: range | list[int], step: Step) -> Slots:
    name = _NAME[step.kind]
    column = rows.table.columns.get(name)
    if not isinstance(column, DocsColumn):
        return Slots()
    below = rows.below(name, column)
    if step.slice is None and isinstance(numbers, range) and numbers.step == 1:
        if not numbers:
            return Slots()
        start, stop = column.bounds(numbers.start)[0], column.bounds(numbers.stop - 1)[1]
        return Slots(range(start, stop), below)
    if step.slice is None:
        return Slots(column.child_rows(np.array(numbers, np.intp)).tolist(), below)
    offsets = column.checked().tolist()
    found: list[int] = []
    for number in numbers:
        found += range(offsets[number], offsets[number + 1])[step.slice]
    return Slots(found, below)


def _below_docs(docs: list[Document], step: Step) -> Slots:
    slot, window = _SLOT[step.kind], step.slice
    nested = [part for doc in docs if (part := getattr(doc, slot)) is not None]
    spans = [part for part in nested if type(part) is RowsSpan]
    if spans and len(spans) == len(nested) and len({id(span.rows) for span in spans}) == 1:
        found: list[int] = []
        for span in spans:
            stretch = range(span.start, span.stop)
            found += stretch if window is None else stretch[window]
        return Slots(found, spans[0].rows)
    name = _NAME[step.kind]
    out: list[Document] = []
    if spans or any(not hasattr(part, "_slots") for part in nested):
        nested = [getattr(doc, name) for doc in docs if getattr(doc, slot) is not None]
    for part in nested:
        body: Slots = part._slots
        inner = body.items if body.rows is None else body.docs()
        out += inner if window is None else inner[window]
    return Slots(out)


def _multimodal(doc: Document, step: Step) -> list[_Spot]:
    """Where the documents of these fields of a multimodal document are, by the schema in its private data."""
    schema, found = schema_of(doc), list[_Spot]()
    for name in step.names:
        entry = schema.get(name)
        at = place_in(entry)
        if at is None:
            continue
        if not 0 <= at < len(doc.chunks):
            raise misplaced(doc, name, at)
        chunk: Document = doc.chunks[at]
        if is_list(entry):
            body = chunk.chunks._slots
            found += [(chunk, "chunks", body, i) for i in range(len(body))]
        else:
            found.append((doc, "chunks", doc.chunks._slots, at))
    return found if step.slice is None else found[step.slice]


def joined(parts: list[Slots]) -> Slots:
    """Several bodies as one; what is untouched stays so."""
    if len(parts) == 1:
        return parts[0]
    parts = [part.loaded() for part in parts]
    filled = [part for part in parts if len(part)]
    held = {id(part.rows): part.rows for part in filled if part.rows is not None}
    items: list[Any] = []
    if len(held) < 2:
        for part in filled:
            items += part.items
        return Slots(items, next(iter(held.values()), None))
    union = Several(list(held.values()))
    bases = dict(zip(held, map(union.base, range(len(held))), strict=True))
    for part in filled:
        base = bases.get(id(part.rows), 0)
        items += [item + base if type(item) is int else item for item in part.items]
    return Slots(items, union)


def flattened(slots: Slots) -> Slots:
    """Every document at every depth: of each its chunks, its matches, and then itself.

    A document behind all that is nested in it is given alone: flattening twice is flattening once.
    """
    slots = slots.loaded()
    numbers = slots.untouched
    if numbers is not None and slots.rows is not None and not isinstance(slots.rows, Several):
        root = _Level(slots.rows, np.array(numbers, np.intp))
        if not root.touched() and len(set(numbers)) == len(numbers):
            return root.in_order()
    out: list[Document] = []
    seen: set[int] = set()
    for doc in slots.docs():
        if out and _last_nested(doc) is out[-1] and _stands_behind(doc, out):
            out.append(doc)
        else:
            _flatten_into([doc], out, seen)
    return Slots(out)


def _last_nested(doc: Document) -> Document | None:
    for name in ("matches", "chunks"):
        nested = doc._nested(name)
        if nested is not None:
            return cast("Document", nested[-1])
    return None


def _stands_behind(doc: Document, out: list[Document]) -> bool:
    """Whether the last of these documents are those nested in this one, in the order of a flat walk."""
    whole: list[Document] = []
    _flatten_into([doc], whole, set())
    count = len(whole) - 1
    return count <= len(out) and all(a is b for a, b in zip(whole, out[len(out) - count :], strict=False))


def _flatten_into(docs: list[Document], out: list[Document], seen: set[int]) -> None:
    for doc in docs:
        if doc._chunks is not None or doc._matches is not None:
            key = id(doc)
            if key not in seen:  # a document that is reached again is given again, but not entered again
                seen.add(key)
                if doc._chunks is not None:
                    _flatten_into(doc.chunks._slots.docs(), out, seen)
                if doc._matches is not None:
                    _flatten_into(doc.matches._slots.docs(), out, seen)
        out.append(doc)


class _Level:
    """Rows that nobody touched with all that is nested in them: the order of a flat walk, without a document.

    What stands before a row in that order is counted, not walked: the sizes of all that comes before it.
    """

    def __init__(self, rows: Rows, numbers: Array) -> None:
        self.rows = rows
        self.numbers = numbers
        self.sizes = np.ones(len(numbers), np.intp)
        self.below: list[tuple[_Level, Array, Array, Array]] = []
        for name in ("chunks", "matches"):
            column = rows.table.columns.get(name)
            if not isinstance(column, DocsColumn):
                continue
            inner = _Level(rows.below(name, column), column.child_rows(numbers))
            counts = np.diff(column.offsets)[numbers]
            ends = np.concatenate([[0], np.cumsum(counts)])
            before = np.concatenate([[0], np.cumsum(inner.sizes)])
            spans = before[ends[1:]] - before[ends[:-1]]
            self.sizes += spans
            self.below.append((inner, counts, before[:-1] - np.repeat(before[ends[:-1]], counts), spans))

    def touched(self) -> bool:
        """Whether somebody has a document of a level below."""
        return any(inner.rows.made or inner.touched() for inner, *_ in self.below)

    def in_order(self) -> Slots:
        """All rows of all levels, in the order of the walk."""
        out = np.empty(int(self.sizes.sum()), np.intp)
        levels: list[tuple[_Level, Array]] = []
        self._place(np.cumsum(self.sizes) - self.sizes, levels)
        union = Several([level.rows for level, _ in levels])
        for part, (level, places) in enumerate(levels):
            out[places] = level.numbers + union.base(part)
        return Slots(out.tolist(), union)

    def _place(self, starts: Array, levels: list[tuple[_Level, Array]]) -> None:
        levels.append((self, starts + self.sizes - 1))
        at = starts
        for inner, counts, within, spans in self.below:
            inner._place(np.repeat(at, counts) + within, levels)
            at = at + spans
