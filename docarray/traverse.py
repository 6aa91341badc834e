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
from typing import Any, NamedTuple, cast

import numpy as np

from docarray.document import Document
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
    if step.kind == ".":
        return Slots([body.get(at) for doc in slots for _, _, body, at in _multimodal(doc, step)])
    numbers = slots.untouched
    if numbers is not None and slots.rows is not None and not isinstance(slots.rows, Several):
        return _below(slots.rows, numbers, step)
    return _below_docs(slots.docs(), step)


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
    private: dict[str, Any] = doc._raw("_metadata") or {}
    schema: dict[str, Any] = private.get("multi_modal_schema") or {}
    found: list[_Spot] = []
    for name in step.names:
        entry = schema.get(name)
        if entry is None or entry.get("position") is None:
            continue
        at = int(entry["position"])
        chunk: Document = doc.chunks[at]
        if str(entry["attribute_type"]).startswith("iterable"):
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
