"""What an array in memory holds: a list whose slots are Documents, or numbers of rows that nobody touched yet.

Rule 1: a Rows is a Table and the Documents that were made of it; a row gives the same Document for ever, to every
        array that has the row.
Rule 2: a slot of `Slots.items` is a Document or an int, the number of a row of `Slots.rows`; an array that is a
        plain stretch of rows has a `range` for a list, so that opening, slicing and len cost nothing.
Rule 3: `da.items[i]` is read through `Slots.get`, which makes the Document and keeps it.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import numpy as np

from docarray import tensors
from docarray.columns import Column, TextColumn, UniformTensors, column_of
from docarray.document import CopyOf, Document, IdChanges, copied, copy_tags, shape
from docarray.errors import BadValue, FieldTypeError, MissingDocument
from docarray.garbage import gc_paused
from docarray.idmap import IdMap
from docarray.live import deferred
from docarray.schema import FIELDS
from docarray.score import Scores
from docarray.table import DEEPEST, DocsColumn, Table
from docarray.tensors import Array
from docarray.vectors import Gathered, Vectors
from docarray.watched import WatchedDict, WatchedList, plain

if TYPE_CHECKING:
    from docarray.store import Store

__all__ = [
    "Rows",
    "RowsSpan",
    "Several",
    "Slots",
    "bare",
    "rows_of_matrix",
    "tabulate",
    "tabulate_fields",
]

_AHEAD: Final = 4096
_DEEP: Final = 12


class Rows:
    """A table, and the documents that were made of its rows."""

    __slots__ = ("_below", "_vectors", "made", "table")
    is_live: ClassVar[bool] = False
    """Whether its documents are those of a store."""
    table: Table
    made: dict[int, Document]

    def __init__(self, table: Table) -> None:
        self.table = table
        self.made: dict[int, Document] = {}
        self._below: dict[str, Rows] = {}
        self._vectors: Vectors | None = None

    @property
    def vectors(self) -> Vectors | None:
        """The embedding column as Vectors; None where it is not one matrix of numpy or torch without gaps."""
        if self._vectors is None:
            column = self.table.columns.get("embedding")
            if isinstance(column, UniformTensors) and column.is_matrix:
                matrix = tensors.from_numpy(column.data, column.framework)
                self._vectors = Vectors(matrix, owned=False)
        return self._vectors

    def below(self, name: str, column: DocsColumn) -> Rows:
        """The rows of the chunks, or matches, of all rows."""
        found = self._below.get(name)
        if found is None:
            found = self._below[name] = self._rows_below(name, column)
        return found

    def _rows_below(self, name: str, column: DocsColumn) -> Rows:
        return Rows(column.child)

    def is_whole(self) -> bool:
        """Whether the nested documents are still those of the table: nobody touched any, at any depth."""
        for name, rows in self._below.items():
            column = self.table.columns.get(name)
            if rows.made or not isinstance(column, DocsColumn) or rows.table is not column.child:
                return False
            if not rows.is_whole():
                return False
        return True

    def __len__(self) -> int:
        return len(self.table)

    def doc(self, row: int) -> Document:
        """The document of one row."""
        found = self.made.get(row)
        if found is None:
            self._make([row], self.table if len(self.table) == 1 else self.table.slice(row, row + 1))
            found = self.made[row]
        return found

    def docs(self, wanted: Sequence[int]) -> list[Document]:
        """The documents of many rows; those that are not there yet are made together."""
        made = self.made
        missing = [row for row in dict.fromkeys(wanted) if row not in made] if made else wanted
        if missing:
            with gc_paused():
                self._make(missing, self._cut(missing))
        return [made[row] for row in wanted]

    def fresh(self) -> list[Document]:
        """The documents of all rows, of which none was made; nothing but them is left of these rows."""
        return self._made(range(len(self.table)), self.table)

    def _cut(self, wanted: Sequence[int]) -> Table:
        if not isinstance(wanted, range) and len(wanted) > 1:
            stretch = range(wanted[0], wanted[0] + len(wanted))
            if wanted[-1] == stretch[-1] and wanted == list(stretch):  # as loops ask: a slice copies nothing
                wanted = stretch
        if isinstance(wanted, range) and wanted.step == 1:
            whole = wanted.start == 0 and wanted.stop == len(self.table)
            return self.table if whole else self.table.slice(wanted.start, wanted.stop)
        return self.table.take(np.array(wanted, np.intp))

    def _make(self, numbers: Sequence[int], cut: Table) -> None:
        self.made.update(zip(numbers, self._made(numbers, cut), strict=True))

    def _made(self, numbers: Sequence[int], cut: Table) -> list[Document]:
        docs = self._begun(numbers, cut.ids)
        vectors = self.vectors
        for name, column in cut.columns.items():
            if name == "embedding" and vectors is not None:
                for doc, row in zip(docs, numbers, strict=True):
                    doc._vectors, doc._row = vectors, row
            elif isinstance(column, DocsColumn):
                self._nest(name, docs, numbers)
            elif name in FIELDS:
                _fill(name, docs, column.values())
        self._finish(docs)
        return docs

    def _begun(self, numbers: Sequence[int], ids: list[str]) -> list[Document]:
        """Documents of which nothing but the id is set."""
        return [bare(key) for key in ids]

    def _finish(self, docs: list[Document]) -> None:
        """Called with documents that are all set."""

    def _nest(self, name: str, docs: list[Document], numbers: Sequence[int]) -> None:
        column = cast("DocsColumn", self.table.columns[name])
        rows, slot = self.below(name, column), "_" + name
        for doc, number in zip(docs, numbers, strict=True):
            start, stop = column.bounds(number)
            if stop > start:
                setattr(doc, slot, RowsSpan(rows, start, stop))

    def hits(self, numbers: Sequence[int]) -> list[Document]:
        """Light copies of the documents of these rows, for search results; rows that nobody touched stay so."""
        if not self.is_whole():
            return [doc._hit() for doc in self.docs(numbers)]
        made = self.made
        loose = [i for i, row in enumerate(numbers) if row not in made]
        out: list[Any] = [None] * len(numbers)
        if loose:
            scratch = Rows(self.table.select([name for name in self.table.columns if name != "matches"]))
            rows = [numbers[i] for i in loose]
            repeats = len(set(rows)) < len(rows)
            for i, doc in zip(loose, scratch.docs(rows), strict=True):
                out[i] = doc._hit() if repeats else _unshared(doc)
        for i, row in enumerate(numbers):
            if out[i] is None:
                out[i] = made[row]._hit()
        return out


class Several(Rows):
    """The rows of several Rows under one numbering: those of the first, then those of the second, and so on."""

    __slots__ = ("_bases", "_joined", "_joined_of", "parts")
    parts: list[Rows]

    def __init__(self, parts: list[Rows]) -> None:
        self.parts = parts
        self._bases = np.cumsum([0, *(len(part) for part in parts)]).tolist()
        self._joined: Table | None = None
        self._joined_of: list[Table] = []
        self._below = {}
        self._vectors = None

    def base(self, part: int) -> int:
        """The number of the first row of a part."""
        return self._bases[part]

    def _local(self, row: int) -> tuple[Rows, int]:
        part = bisect_right(self._bases, row) - 1
        return self.parts[part], row - self._bases[part]

    @property
    def table(self) -> Table:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All rows as one table; made when asked for, and kept until a part gets another table."""
        tables = [part.table for part in self.parts]
        joined = self._joined
        if joined is None or any(a is not b for a, b in zip(tables, self._joined_of, strict=True)):
            joined, self._joined_of = Table.concat(tables), tables
            self._joined = joined
        return joined

    @property
    def is_live(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether documents of some part are those of a store."""
        return any(part.is_live for part in self.parts)

    def is_whole(self) -> bool:
        """Whether nobody touched a nested document of any part."""
        return all(part.is_whole() for part in self.parts)

    def __len__(self) -> int:
        return self._bases[-1]

    @property
    def vectors(self) -> Vectors | None:
        """None: the parts have each their own."""
        return None

    @property
    def made(self) -> dict[int, Document]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The documents that were made, by number, in a new dict."""
        return {
            base + row: doc
            for base, part in zip(self._bases, self.parts, strict=False)
            for row, doc in part.made.items()
        }

    def doc(self, row: int) -> Document:
        """The document of one row."""
        part, local = self._local(row)
        return part.doc(local)

    def docs(self, wanted: Sequence[int]) -> list[Document]:
        """The documents of many rows."""
        return self._each(wanted, lambda part, rows: part.docs(rows))

    def hits(self, numbers: Sequence[int]) -> list[Document]:
        """Light copies of the documents of these rows."""
        return self._each(numbers, lambda part, rows: part.hits(rows))

    def _each(
        self, wanted: Sequence[int], give: Callable[[Rows, list[int]], list[Document]]
    ) -> list[Document]:
        local: list[list[int]] = [[] for _ in self.parts]
        where = [bisect_right(self._bases, row) - 1 for row in wanted]
        for part, row in zip(where, wanted, strict=True):
            local[part].append(row - self._bases[part])
        given = [iter(give(part, rows) if rows else []) for part, rows in zip(self.parts, local, strict=True)]
        return [next(given[part]) for part in where]


def _unshared(doc: Document) -> Document:
    """A fresh document of a row, made to share no container with the column it came from."""
    content = doc._content
    if type(content) is np.ndarray:
        doc._content = content = content.view()
        content.flags.writeable = False
    elif content is not None and not isinstance(content, (str, bytes)):
        doc._content = copied(content)  # no other framework can lend what nobody may write to
    if doc._vectors is not None:
        doc._embedding, doc._vectors = copied(doc._vectors.peek(doc._row)), None
    elif doc._embedding is not None:
        doc._embedding = copied(doc._embedding)
    if doc._tags:
        doc._tags = copy_tags(doc._tags)
    if doc._chunks is not None:
        doc._chunks = CopyOf(doc._chunks)
    return doc


def bare(key: str, kind: type[Document] = Document) -> Document:
    """A document of which nothing but the id is set."""
    doc = kind.__new__(kind)
    doc._id = key
    doc._content = doc._tags = doc._embedding = doc._chunks = doc._matches = doc._scores = None
    doc._uri = doc._mime_type = doc._place = doc._more = doc._vectors = None
    return doc


_SLOTS: Final = {
    "text": "_content",
    "blob": "_content",
    "tensor": "_content",
    "tags": "_tags",
    "embedding": "_embedding",
    "uri": "_uri",
    "mime_type": "_mime_type",
}
_PLACES: Final = ("parent_id", "granularity", "adjacency")


def _fill(name: str, docs: list[Document], values: list[Any]) -> None:
    """Sets one field of fresh documents; the values come from a column, so they need no check."""
    if name in ("text", "blob", "tensor"):
        for doc, value in zip(docs, values, strict=True):
            if value is not None:
                doc._content = value
    elif name == "tags":
        for doc, value in zip(docs, values, strict=True):
            doc._tags = value
    elif name in _SLOTS:
        slot = _SLOTS[name]
        for doc, value in zip(docs, values, strict=True):
            if value is not None:
                setattr(doc, slot, value)
    elif name in _PLACES:
        part, shared = _PLACES.index(name), dict[Any, Any]()
        for doc, value in zip(docs, values, strict=True):
            if value:
                place = list(doc._place or ("", 0, 0))
                place[part] = value
                key = tuple(place)
                doc._place = shared.setdefault(key, key)
    elif name in ("scores", "evaluations"):
        for doc, value in zip(docs, values, strict=True):
            if value is not None:
                setattr(doc, name, Scores(value))
    else:
        for doc, value in zip(docs, values, strict=True):
            if value is not None:
                doc._rare(name, value)
                if name == "_metadata":
                    shape(doc)


class RowsSpan:
    """Stands in the slot of chunks or matches until they are read: a stretch of the rows below."""

    __slots__ = ("rows", "start", "stop")
    rows: Rows
    start: int
    stop: int

    def __init__(self, rows: Rows, start: int, stop: int) -> None:
        self.rows = rows
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def slots(self) -> Slots:
        """The stretch as the body of an array."""
        return Slots(range(self.start, self.stop), self.rows)


class Slots:
    """The body of an array in memory: positions to documents, ids to positions, fields to columns."""

    __slots__ = ("_gathered", "_ids", "_ids_seen", "_words", "items", "rows")
    items: Any  # list[Document | int] | range
    rows: Rows | None

    def __init__(self, items: list[Any] | range | None = None, rows: Rows | None = None) -> None:
        self.items: Any = [] if items is None else items
        self.rows = rows
        self._ids: IdMap | None = None
        self._ids_seen = 0
        self._gathered: Gathered | None = None
        self._words: Any = None

    @classmethod
    def of_table(cls, table: Table) -> Slots:
        """All rows of a table; none is touched."""
        return cls.of_rows(Rows(table))

    @classmethod
    def of_rows(cls, rows: Rows) -> Slots:
        """All of these rows."""
        return cls(range(len(rows)), rows)

    def loaded(self) -> Slots:
        """The body in memory: this one."""
        return self

    def __len__(self) -> int:
        return len(self.items)

    @property
    def store(self) -> Store | None:
        """The store that the array is on; None in memory."""
        return None

    # -------------------------------------------------------------------------------------- reading

    def get(self, position: int) -> Document:
        """The document at a position from 0 to len - 1; made now where nobody touched it."""
        item = self.items[position]
        if type(item) is int:
            item = cast("Rows", self.rows).doc(item)
            if type(self.items) is not range:
                self.items[position] = item
        return item

    def docs(self) -> list[Document]:
        """All documents, as the list that the body itself keeps from now on: read it, do not change it."""
        if self.rows is not None:
            items: list[Any] | range = self.items
            if isinstance(items, range):
                self.items = self.rows.docs(items)
            else:
                made = iter(self.rows.docs([item for item in items if type(item) is int]))
                self.items = [next(made) if type(item) is int else item for item in items]
            self.rows = None
        return cast("list[Document]", self.items)

    def select(self, positions: Sequence[int] | slice) -> Slots:
        """The same documents at these positions, as another body; what is untouched stays so."""
        items = self.items
        if isinstance(positions, slice):
            return Slots(items[positions], self.rows)
        if type(items) is range and items.start == 0 and items.step == 1:
            return Slots(list(positions), self.rows)
        return Slots([items[i] for i in positions], self.rows)

    def __iter__(self) -> Iterator[Document]:
        position, ahead, step = 0, 0, 1
        while position < len(self.items):  # asked each time: the loop may change the array, as of a list
            if position >= ahead and self.rows is not None:
                window = self.items[position : position + step]
                self.rows.docs(window if type(window) is range else [i for i in window if type(i) is int])
                ahead = position + step
                step = min(2 * step, _AHEAD)  # the loop is going to touch these
            item = self.items[position]
            if type(item) is int:
                item = cast("Rows", self.rows).made.get(item)
            yield self.get(position) if item is None else item
            position += 1

    def hits(self, positions: Sequence[int]) -> list[Document]:
        """Light copies of the documents at these positions."""
        items = self.items
        found = [items[i] for i in positions]
        loose = [i for i in found if type(i) is int]
        if not loose:
            return [doc._hit() for doc in found]
        with gc_paused():
            made = iter(cast("Rows", self.rows).hits(loose))
            return [next(made) if type(i) is int else i._hit() for i in found]

    def ids(self) -> list[str]:
        """All ids in order."""
        return self._cells(lambda table: table.id_column.values(), lambda doc: doc.id)

    def raw(self, name: str) -> list[Any]:
        """The values of one field as they are set, None where unset; no document is made."""
        if name == "id":
            return self.ids()

        def by_name(doc: Document) -> Any:
            return plain(doc._raw(name)) if doc._is_live else doc._raw(name)

        reader = _READERS.get(name, by_name)

        def cells(table: Table) -> list[Any]:
            column = table.columns.get(name)
            return [None] * len(table) if column is None else column.values()

        return self._cells(cells, reader, name)

    def texts(self) -> list[str]:
        """The text of each document, '' where it has none, in a new list."""
        numbers, rows = self.untouched, self.rows
        if isinstance(numbers, range) and numbers.step == 1 and rows is not None:
            column = rows.table.columns.get("text")
            if column is None:
                return [""] * len(numbers)
            if isinstance(column, TextColumn):
                return column.texts()[numbers.start : numbers.stop]
        return ["" if value is None else value for value in self.raw("text")]

    def _cells(
        self,
        of_table: Callable[[Table], list[Any]],
        of_doc: Callable[[Document], Any],
        name: str | None = None,
    ) -> list[Any]:
        items, rows = self.items, self.rows
        if rows is None:
            return _comprehend(name, items, of_doc)
        made = rows.made
        if type(items) is range:
            start, stop = items.start, items.stop
            if items.step != 1 or not items:
                cells = of_table(rows.table)
                return [of_doc(made[i]) if i in made else cells[i] for i in items]
            if len(made) >= stop - start and all(map(made.__contains__, items)):
                return _comprehend(name, [made[i] for i in items], of_doc)
            whole = start == 0 and stop == len(rows.table)
            cells = of_table(rows.table if whole else rows.table.slice(start, stop))
            if 4 * len(made) < len(items):
                for row, doc in made.items():
                    if start <= row < stop:
                        cells[row - start] = of_doc(doc)
                return cells
            return [of_doc(made[i]) if i in made else cell for i, cell in zip(items, cells, strict=True)]
        loose = [i for i in items if type(i) is int and i not in made]
        if len(loose) * 8 > len(rows.table):
            cells = of_table(rows.table)
            fresh = {i: cells[i] for i in loose} if len(loose) < len(cells) else cells
        else:
            fresh = dict(zip(loose, of_table(rows.table.take(np.array(loose, np.intp))), strict=True))
        return [(of_doc(made[i]) if i in made else fresh[i]) if type(i) is int else of_doc(i) for i in items]

    @property
    def untouched(self) -> range | list[int] | None:
        """The row numbers, where the array is nothing but rows of which no document was made; else None."""
        if self.rows is None:
            return None
        items, made = self.items, self.rows.made
        if type(items) is range:
            if not made or not (
                any(i in made for i in items)
                if len(items) < len(made)
                else any(map(items.__contains__, made))
            ):
                return items
            return None
        return items if all(type(i) is int and i not in made for i in items) else None

    def table(self, depth: int = 0) -> Table:
        """The array as columns; values are shared with the documents, not copied.

        `depth` is how many levels of documents are above these.
        """
        numbers = self.untouched
        if numbers is not None and self.rows is not None and self.rows.is_whole():
            table = self.rows.table
            if numbers == range(len(table)):
                return table
            return self.rows._cut(numbers)
        return tabulate(self, depth)

    # -------------------------------------------------------------------------------------- ids

    def _idmap(self) -> IdMap:
        ids = self._ids
        if ids is None or self._ids_seen != IdChanges.count or ids.is_long:
            self._ids_seen = IdChanges.count
            ids = self._ids = IdMap(self.ids())
        elif ids.covered < len(self.items):
            ids.cover(self._ids_from(ids.covered))
        return ids

    def _ids_from(self, start: int) -> list[str]:
        return [
            self.get(i).id if type(self.items[i]) is int else self.items[i].id
            for i in range(start, len(self))
        ]

    def find_id(self, key: str) -> int | None:
        """The position of an id; None when no document has it. The last one, where several do."""
        return self._idmap().position(key)

    def position(self, key: str) -> int:
        """The position of an id.

        Raises:
            MissingDocument: no document has it.
        """
        ids = self._ids
        if ids is None or ids.log or self._ids_seen != IdChanges.count or ids.covered < len(self.items):
            found = self._idmap().position(key)
        else:
            found = ids.places.get(key)  # nothing changed since the map was made
            if isinstance(found, tuple):
                found = ids.position(key)
        if found is None:
            raise MissingDocument(f"no document has the id {key!r} in this array of {len(self)}")
        return found

    @property
    def has_repeats(self) -> bool:
        """Whether two documents have one id."""
        return self._idmap().repeats

    def has(self, key: str) -> bool:
        """Whether a document has the id."""
        ids = self._ids
        if ids is None or self._ids_seen != IdChanges.count or ids.covered < len(self.items):
            ids = self._idmap()
        return key in ids.places

    # -------------------------------------------------------------------------------------- changing

    def _changing(self) -> tuple[list[Any], IdMap | None]:
        """The list to change, and the map to tell; a map that could not follow is dropped."""
        if type(self.items) is range:
            self.items = list(self.items)
        self._gathered = None
        ids = self._ids
        if ids is not None:
            if self._ids_seen != IdChanges.count or ids.repeats or ids.is_long:
                ids = self._ids = None
            elif ids.covered < len(self.items):
                ids.cover(self._ids_from(ids.covered))
                if ids.repeats:
                    ids = self._ids = None
        return self.items, ids

    def _id_at(self, position: int) -> str:
        item = self.items[position]
        if type(item) is int:
            rows = cast("Rows", self.rows)
            return rows.made[item].id if item in rows.made else cast("str", rows.table.id_column.value(item))
        return item.id

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Several writes that are made all, or none; in memory each is checked before the first."""
        return contextlib.nullcontext()

    def put(self, position: int, doc: Document) -> None:
        """Another document in place of one."""
        old = self._id_at(position) if self._ids is not None else ""
        items, ids = self._changing()
        items[position] = doc
        if ids is not None:
            ids.replaced(position, old, doc.id)
            self._ids = None if ids.repeats else ids

    def insert(self, position: int, doc: Document) -> None:
        """One more document, before the one at that position."""
        items, ids = self._changing()
        at = max(0, position + len(items)) if position < 0 else min(position, len(items))
        items.insert(at, doc)
        if ids is not None:
            ids.inserted(at, [doc.id])
            self._ids = None if ids.repeats else ids

    def extend(self, docs: Iterable[Document]) -> None:
        """More documents at the end."""
        if type(self.items) is range:
            self.items = list(self.items)
        self.items.extend(docs)

    def adopt(self, other: Slots) -> bool:
        """Takes over the rows of another body, untouched, where this one is empty; False where it is not."""
        if len(self.items) or other.rows is None:
            return False
        self.items, self.rows = other.items[:], other.rows
        self._ids = self._gathered = None
        return True

    def splice(self, window: slice, docs: list[Document]) -> None:
        """What list slice assignment does."""
        items, _ = self._changing()
        items[window] = docs
        self._ids = None

    def remove(self, positions: Sequence[int]) -> None:
        """Takes the documents at these positions (distinct, sorted) out."""
        count = len(positions)
        if not count:
            return
        first, last = positions[0], positions[-1]
        contiguous = last - first + 1 == count
        gone = [self._id_at(i) for i in positions] if self._ids is not None and contiguous else []
        items, ids = self._changing()
        if contiguous:
            del items[first : last + 1]
            if ids is not None:
                ids.removed(first, gone)
            return
        out = set(positions)
        self.items = [item for i, item in enumerate(items) if i not in out]
        self._ids = None

    def reorder(self, positions: Sequence[int]) -> None:
        """The same documents in the order of these positions."""
        items, _ = self._changing()
        self.items = [items[i] for i in positions]
        self._ids = None

    def clear(self) -> None:
        """No documents."""
        self.items, self.rows, self._ids, self._gathered = [], None, None, None

    # -------------------------------------------------------------------------------------- embeddings

    def gathered(self) -> Gathered | None:
        """The embeddings as one matrix, kept true; None where they are not all there, or not of one kind."""
        known = self._gathered
        if known is None or not known.is_true(len(self.items)):
            known = self._gathered = self._gather()
        return known

    def _gather(self) -> Gathered | None:
        items, rows, count = self.items, self.rows, len(self.items)
        if not count:
            return None
        if type(items) is range and items.step == 1 and rows is not None:
            vectors = rows.vectors
            if vectors is not None and vectors.settle():
                whole = items == range(vectors.matrix.shape[0])
                return Gathered(vectors, None if whole else slice(items.start, items.stop), count)
        own = rows.vectors if rows is not None else None
        known = self._made_items()
        lying = {own if type(item) is int else item._vectors for item in known}
        if len(lying) == 1:
            vectors = lying.pop()
            if vectors is not None and vectors.settle():
                numbers = [item if type(item) is int else item._row for item in known]
                return Gathered(vectors, _as_rows(numbers, vectors), count)
        return self._gather_anew()

    def _made_items(self) -> list[Any]:
        """The slots, with documents in place of the rows that were touched."""
        if self.rows is None:
            return self.items
        made = self.rows.made
        return [made.get(i, i) if type(i) is int else i for i in self.items]

    def _gather_anew(self) -> Gathered | None:
        items = self._made_items()
        rows = self.rows
        column = None if rows is None else rows.table.columns.get("embedding")
        values: list[Any] = []
        for item in items:
            vector = (None if column is None else column.value(item)) if type(item) is int else item._vector()
            if vector is None:
                return None
            values.append(vector)
        matrix = _one_matrix(values)
        if matrix is None:
            return None
        vectors = Vectors(matrix, owned=True)
        count = len(items)
        if any(type(item) is int for item in items):
            vectors.gone = True  # rows that nobody touched lie elsewhere: this matrix is for now only
            return Gathered(vectors, None, count)
        self._move(items, vectors)
        return Gathered(vectors, _as_rows([doc._row for doc in items], vectors), count)

    @staticmethod
    def _move(docs: list[Document], vectors: Vectors) -> None:
        """Lays documents on the rows of a matrix, in order."""
        before = {doc._vectors for doc in docs}
        for old in before - {None}:
            if old is not None:
                old.release(docs if len(before) == 1 else [doc for doc in docs if doc._vectors is old])
        for row, doc in enumerate(docs):
            doc._embedding = None
            doc._vectors = vectors
            doc._row = row

    def set_embeddings(self, matrix: Any) -> None:
        """Row i of the matrix becomes the embedding of document i, without copy."""
        if self._has_live():
            self._set_each("embedding", rows_of_matrix(matrix))
            return
        items, rows = self.items, self.rows
        vectors = Vectors(matrix, owned=False)
        name = tensors.framework(matrix)
        self._gathered = None
        if (
            type(items) is range
            and rows is not None
            and items == range(len(rows.table))
            and name in ("numpy", "torch")
            and matrix.ndim > 1
        ):
            held = UniformTensors(tensors.to_numpy(matrix), None, name)
            rows.table = rows.table.with_columns({"embedding": held})
            if rows._vectors is not None:
                rows._vectors.gone = True
            rows._vectors = vectors
            for row, doc in rows.made.items():
                if doc._vectors is not None:
                    doc._vectors.release([doc])
                doc._embedding, doc._vectors, doc._row = None, vectors, row
            return
        docs = self.docs()
        self._move(docs, vectors)
        if len({*map(id, docs)}) == len(docs) and {*map(type, docs)} <= {Document}:  # nor any under two names
            self._gathered = Gathered(vectors, None, len(docs))

    def set_texts(self, values: list[str]) -> None:
        """Text i becomes the content of document i; all are known to be str."""
        if self._has_live():
            self._set_each("text", values)
            return
        items, rows = self.items, self.rows
        if type(items) is range and rows is not None and items == range(len(rows.table)):
            fresh = column_of("text", list(values))
            rows.table = rows.table.with_columns({"text": fresh, "blob": None, "tensor": None})
            for row, doc in rows.made.items():
                doc._content = values[row]
            return
        for doc, value in zip(self.docs(), values, strict=True):
            doc._content = value

    def _has_live(self) -> bool:
        """Whether some of the documents are those of a store, which have to be told."""
        if self.rows is not None and self.rows.is_live:
            return True
        kinds: set[Any] = {int} if type(self.items) is range else {*map(type, self.items)}
        return any(kind._is_live for kind in kinds - {int})

    def _set_each(self, name: str, values: Sequence[Any]) -> None:
        with deferred():
            for doc, value in zip(self.docs(), values, strict=True):
                setattr(doc, name, value)


def rows_of_matrix(matrix: Any) -> list[Any]:
    """The rows of a matrix of any framework; those of a sparse one in its format, (1, d)."""
    if tensors.framework(matrix) == "scipy":
        rows = matrix.tocsr()
        return [rows[i : i + 1].asformat(matrix.format) for i in range(matrix.shape[0])]
    if matrix.ndim > 1:
        return list(matrix)
    return [matrix[i : i + 1].reshape(()) for i in range(matrix.shape[0])]


def _as_rows(numbers: list[int], vectors: Vectors) -> slice | Array | None:
    rows = np.array(numbers, np.intp)
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and bool((np.diff(rows) == 1).all()):
        whole = rows[0] == 0 and len(rows) == vectors.matrix.shape[0]
        return None if whole else slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _one_matrix(values: list[Any]) -> Any:
    """Arrays of one shape and dtype as one new matrix; None where they differ, or are of another framework."""
    first = values[0]
    if not all(type(value) is np.ndarray for value in values):
        return None
    shape, dtype = first.shape, first.dtype
    if dtype.kind not in "biufc" or not dtype.isnative or first.ndim == 0:
        return None
    if len({value.dtype for value in values}) > 1 or len({value.shape for value in values}) > 1:
        return None
    if len(shape) == 1:
        return np.concatenate(values).reshape(len(values), shape[0])
    return np.stack(values)


_READERS: Final[dict[str, Callable[[Document], Any]]] = {
    "text": lambda doc: doc._content if isinstance(doc._content, str) else None,
    "tags": lambda doc: plain(doc._tags),
    "embedding": Document._vector,
}


_WATCHED: Final = {WatchedDict, WatchedList}


def plain_all(values: list[Any]) -> list[Any]:
    """The values, plain where some are those of live documents."""
    return list(map(plain, values)) if set(map(type, values)) & _WATCHED else values


def _comprehend(name: str | None, docs: Sequence[Document], of_doc: Callable[[Document], Any]) -> list[Any]:
    """One value of each document; the commonest fields without a call for each."""
    if name == "text":
        return [c if type(c := doc._content) is str else of_doc(doc) for doc in docs]
    if name == "tags":
        return plain_all([doc._tags for doc in docs])
    if name is None:
        return [key if type(key := doc._id) is str else doc.id for doc in docs]
    return [of_doc(doc) for doc in docs]


def tabulate(slots: Slots, depth: int = 0) -> Table:
    """Documents as columns. Fields that none of them uses get no column; nested documents become a child table.

    Raises:
        FieldTypeError: an element is no Document; or a document holds what no column can (the message names it).
        BadValue: documents are nested more than 128 levels deep, or in themselves.
    """
    if depth > DEEPEST:
        raise BadValue(f"documents are nested more than {DEEPEST} levels deep")
    if depth == _DEEP:
        _refuse_cycles(slots)
    if slots.rows is None and all(issubclass(kind, Document) for kind in set(map(type, slots.items))):
        columns = _columns_of(slots.items)
    else:
        columns = _columns_by_field(slots)
    for name in _NESTED:
        nested = _tabulate_nested(slots, name, depth + 1)
        if nested is not None:
            columns[name] = nested
    return Table(columns, len(slots), _checked_ids(slots))


def _refuse_cycles(slots: Slots) -> None:
    """Looks for a document that is nested in itself, where the depth makes one wonder: each level may double."""
    done: set[int] = set()
    for root in slots.docs():
        path: dict[int, Any] = {}  # who is above, with those below that are still to come
        stack = [root._target()]
        while stack:
            doc = stack[-1]
            if id(doc) not in path:
                path[id(doc)] = iter(
                    [below._target() for name in _NESTED for below in doc._nested(name) or ()]
                )
            below = next((one for one in path[id(doc)] if id(one) not in done), None)
            if below is None:
                del path[id(doc)]
                done.add(id(doc))
                stack.pop()
            elif id(below) in path:
                raise BadValue(f"document {below.id!r} is nested in itself")
            else:
                stack.append(below)


_NESTED: Final = ("chunks", "matches")


def _columns_by_field(slots: Slots) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name, field in FIELDS.items():
        if name == "id" or field.kind == "docs":
            continue
        values = slots.raw(name)
        if all(value is None for value in values):
            continue
        if field.kind == "scores":
            values = [None if v is None else {key: _plain(score) for key, score in v.items()} for v in values]
        columns[name] = column_of(field.kind, values)
    return columns


def _columns_of(docs: list[Document]) -> dict[str, Column]:
    """The same of documents alone: a pass over each slot, not one over each field."""
    cells: dict[str, list[Any]] = {}

    def keep(name: str, values: list[Any]) -> None:
        kinds = set(map(type, values))
        if kinds != {type(None)}:
            cells[name] = list(map(plain, values)) if kinds & _WATCHED else values

    if not docs:
        return {}
    contents: list[Any] = [doc._content for doc in docs]
    kinds = set(map(type, contents)) - {type(None)}
    if kinds == {str}:
        cells["text"] = contents
    elif kinds:
        keep("text", [c if isinstance(c, str) else None for c in contents])
        keep("blob", [c if isinstance(c, bytes) else None for c in contents])
        keep("tensor", [None if isinstance(c, (str, bytes)) else c for c in contents])
    keep("tags", [doc._tags for doc in docs])
    keep("uri", [doc._uri for doc in docs])
    keep("mime_type", [doc._mime_type for doc in docs])
    places = [doc._place for doc in docs]
    if any(places):
        for part, name in enumerate(_PLACES):
            keep(name, [None if place is None else place[part] or None for place in places])
    rare = [doc._more for doc in docs]
    for name in {name: None for more in rare if more is not None for name in more}:
        keep(name, [None if more is None else more.get(name) for more in rare])
    keep("scores", [doc._scores for doc in docs])
    for name in ("evaluations", "scores"):
        if name in cells:
            cells[name] = [
                None if value is None else {key: _plain(score) for key, score in value.items()}
                for value in cells[name]
            ]
    columns = {name: column_of(FIELDS[name].kind, values) for name, values in cells.items()}
    vectors = _embeddings_of(docs)
    if vectors is not None:
        columns["embedding"] = vectors
    return {name: columns[name] for name in FIELDS if name in columns}


def _embeddings_of(docs: list[Document]) -> Column | None:
    lying = {doc._vectors for doc in docs}
    if lying == {None}:
        values = [doc._embedding for doc in docs]
        return None if set(map(type, values)) == {type(None)} else column_of("tensor", values)
    matrix = next(iter(lying)).matrix if len(lying) == 1 else None  # pyright: ignore[reportOptionalMemberAccess]
    if type(matrix) is not np.ndarray or matrix.ndim < 2 or matrix.dtype.kind not in "biufc":
        return column_of("tensor", [doc._vector() for doc in docs])
    rows = _as_rows([doc._row for doc in docs], cast("Vectors", next(iter(lying))))
    if rows is not None:
        matrix = matrix[rows]
    # The memory may be that of the documents: nobody writes to it through the table.
    matrix = matrix.view()
    matrix.flags.writeable = False
    return UniformTensors(matrix)


def tabulate_fields(slots: Slots, names: Sequence[str]) -> Table:
    """Some fields of documents as columns; one that none of them uses is a column of gaps, not left out."""
    columns: dict[str, Column] = {}
    count = len(slots)
    for name in names:
        kind = FIELDS[name].kind
        if kind == "docs":
            nested = _tabulate_nested(slots, name, 1)
            none = DocsColumn(np.zeros(count + 1, np.int64), Table({}, 0, []))
            columns[name] = none if nested is None else nested
            continue
        values = slots.raw(name)
        if kind == "scores":
            values = [None if v is None else {key: _plain(score) for key, score in v.items()} for v in values]
        columns[name] = column_of(kind, values)
    return Table(columns, count, _checked_ids(slots))


def _plain(score: Any) -> Any:
    return cast("Any", score if type(score) is dict else score.to_dict())


def _checked_ids(slots: Slots) -> list[str]:
    ids: list[Any] = slots.ids()
    if None in ids:
        raise FieldTypeError(f"the document at position {ids.index(None)} has no id: set one first")
    return ids


def _tabulate_nested(slots: Slots, name: str, depth: int) -> DocsColumn | None:
    numbers = slots.untouched
    if numbers is not None and slots.rows is not None and slots.rows.is_whole():
        column = slots.rows.table.columns.get(name)
        return cast(
            "DocsColumn | None", column.take(np.array(numbers, np.intp)) if column is not None else None
        )
    docs = slots.docs()
    raw: list[Any] = [doc._chunks for doc in docs] if name == "chunks" else [doc._matches for doc in docs]
    if set(map(type, raw)) <= {type(None)}:
        return None
    counts = [0 if nested is None else len(nested) for nested in raw]
    if not any(counts):
        return None
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    filled = [_slots_of(nested) for nested, count in zip(raw, counts, strict=True) if count]
    if len(filled) == 1:
        return DocsColumn(offsets, filled[0].table(depth))
    return DocsColumn(offsets, tabulate(Slots([doc for below in filled for doc in below.docs()]), depth))


def _slots_of(nested: Any) -> Slots:
    if isinstance(nested, RowsSpan):
        return nested.slots()
    return nested._slots if hasattr(nested, "_slots") else Slots(nested.docs())
