"""What an array on a store holds: nothing but the store, and the documents of it that somebody has in hand.

Rule 1: the store is the truth. What is asked is read there, what is changed is written there, each call whole.
Rule 2: a document that somebody has is one object, kept by a weak reference; it is read anew when somebody else
        changed the store since, the next time that it is taken from the array.
Rule 3: a place is a position, or an id: what is asked by id is never turned into a position.
Rule 4: sub-indices are stores beside this one. They are written in the same transaction as the rows they follow.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, cast
from weakref import WeakValueDictionary

import numpy as np

from docarray import registry, tensors, traverse
from docarray.columns import Column, TextColumn, UniformTensors, column_of
from docarray.document import Document
from docarray.errors import (
    BadValue,
    DuplicateDocument,
    MissingDocument,
    OutOfRange,
    StaleDocument,
    UnknownOption,
)
from docarray.live import EVERY, Home, Inside, Live, Unfinished
from docarray.rows import Rows, RowsSpan, Slots, bare, rows_of_matrix, tabulate_fields
from docarray.schema import FIELDS
from docarray.store import BATCH, Store
from docarray.subindex import SubIndex, beside
from docarray.table import DocsColumn, Table
from docarray.vectors import Gathered, Vectors

__all__ = ["LiveSlots", "Place", "Stored"]

Place = int | str
"""Where a document is: its position, or its id."""

_AGAIN: Final = 10


class Stored(Slots):
    """The body of an array on a store.

    Args:
        store: the rows.
        name: what the storage is called.
        subs: paths, and what is searched for each.
    """

    __slots__ = (
        "__weakref__",
        "_bulk",
        "_held",
        "_open",
        "_own",
        "_serial",
        "_stale",
        "_store",
        "_version",
        "name",
        "subs",
    )

    name: str
    subs: dict[str, SubIndex]

    def __init__(self, store: Store, name: str, subs: Mapping[str, SubIndex] | None = None) -> None:
        self._store = store
        self.name = name
        self.subs = dict(subs or {})
        self._ids = self._gathered = self._words = None
        self._ids_seen = 0
        self._held: WeakValueDictionary[str, Live] = WeakValueDictionary()
        self._stale: set[str] = set()
        self._version = store.version()
        self._serial = self._bulk = 0  # of writes through this array: of any, and of the last of many rows
        self._own: dict[str, int] = {}  # the last write of single rows
        self._open: list[contextlib.AbstractContextManager[None]] = []

    @property
    def store(self) -> Store:
        """The store."""
        return self._store

    @property
    def items(self) -> range:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The positions."""
        return range(len(self.store))

    @property
    def rows(self) -> Rows:  # pyright: ignore[reportIncompatibleVariableOverride]
        """No rows of memory; not None, since these are no documents in a list."""
        return _NO_ROWS

    def __len__(self) -> int:
        return len(self.store)

    # ------------------------------------------------------------------------------------------ who holds what

    def _look(self) -> None:
        """Sees whether somebody else changed the store."""
        version = self.store.version()
        if version != self._version:
            self._version = version
            self._stale = set(self._held.keys())

    def stamp(self) -> tuple[int, int]:
        """What is noted before rows are read, to know later which of them were changed since; see `is_old`."""
        return self._version, self._serial

    def is_old(self, stamp: tuple[int, int]) -> Callable[[str], bool] | None:
        """Which rows may say something else by now than when this stamp was taken; None: none of them."""
        version, serial = stamp
        if serial == self._serial and version == self._version:
            return None
        if version != self._version or serial < self._bulk:
            return lambda key: True
        own = self._own
        return lambda key: own.get(key, 0) > serial

    def _wrote(self, keys: Sequence[str] | None = None, by: Sequence[Live] = ()) -> None:
        """Notes that rows were written: these, or any; called after they were.

        Another thread may have read a row before, and hold its document by now: that is to be read anew. Whoever
        takes a document looks once more after that (`take`), so that one of the two sees the other.
        """
        self._serial += 1
        if keys is None or len(keys) + len(self._own) > BATCH:
            self._bulk = self._serial
            self._own.clear()
        else:
            self._own.update(dict.fromkeys(keys, self._serial))
        mine = {id(doc) for doc in by}
        for key in list(self._held.keys()) if keys is None else keys:
            doc = self._held.get(key)
            if doc is not None and id(doc) not in mine:
                self._stale.add(key)

    def take(self, docs: Iterable[Live], stamp: tuple[int, int]) -> None:
        """Notes that somebody has these documents, of rows that were read after this stamp was taken."""
        keys: list[str] = []
        for doc in docs:
            key = doc._id
            self._held[key] = doc
            keys.append(key)
        self._current(keys, stamp)

    def _current(self, keys: Sequence[str], stamp: tuple[int, int]) -> None:
        """Notes that documents say what their rows said when this stamp was taken."""
        if self._stale:
            self._stale.difference_update(keys)
        is_old = self.is_old(stamp)
        if is_old is not None:
            self._stale.update(filter(is_old, keys))

    def _let_go(self, keys: Iterable[str], keep: Iterable[Any] = ()) -> None:
        """Documents of these ids are no longer those of the store, but for some that were put back."""
        kept = {id(doc._target()) for doc in keep if isinstance(doc, Document)}
        for key in keys:
            doc = self._held.get(key)
            if doc is not None and id(doc) not in kept:
                del self._held[key]
                doc._home = None

    def _renew(self, keys: Iterable[str] | None, fields: Sequence[str] | None = None) -> None:
        """Reads documents that somebody has again, after they were changed otherwise than through themselves."""
        if not self._held:
            return
        wanted = [key for key in (list(self._held) if keys is None else keys) if key in self._held]
        if not wanted:
            return
        stamp = self.stamp()
        table = self.read_known(wanted)
        known = set(table.ids)
        self._let_go([key for key in wanted if key not in known])
        if known:
            self._refresh(table, stamp, fields)

    def read_known(self, keys: Sequence[str]) -> Table:
        """The rows of those of these ids that are there."""
        for _ in range(_AGAIN):
            known = self.store.known(keys)
            try:
                return self.store.read([key for key in dict.fromkeys(keys) if key in known])
            except MissingDocument:  # somebody deleted one between the two
                continue
        return Table({}, 0, [])

    def _refresh(self, table: Table, stamp: tuple[int, int], fields: Sequence[str] | None = None) -> None:
        fresh = LiveRows(table, self, stamp, look=False)
        for row, key in enumerate(table.ids):
            doc = self._held.get(key)
            if doc is not None:
                _transplant(doc, fresh.unheld(row), fields)
        self._current(table.ids, stamp)

    # ------------------------------------------------------------------------------------------ places

    def _key(self, place: Place) -> str:
        return place if type(place) is str else self._keys([place])[0]

    def _keys(self, places: Sequence[Place]) -> list[str]:
        if isinstance(places, range):
            self.check_list_like()
            return self.store.at(places)
        numbers = [place for place in places if type(place) is not str]
        if not numbers:
            return cast("list[str]", list(places))
        self.check_list_like()
        found = iter(self.store.at(cast("list[int]", numbers)))
        return [place if type(place) is str else next(found) for place in places]

    def check_list_like(self) -> None:
        """Does nothing where documents have positions.

        Raises:
            BadValue: the storage was opened with list_like=False.
        """
        if getattr(self.store.config, "list_like", True) is False:  # None is not said
            raise BadValue("this array was opened with list_like=False: it has no positions; ask by id")

    def position(self, key: str) -> Any:
        """The id itself, which is a place. Whether it is there shows when something is done with it."""
        return key

    def find_id(self, key: str) -> int | None:
        """The position of an id; None when no document has it."""
        try:
            return self.store.position(key)
        except MissingDocument:
            return None

    def has(self, key: str) -> bool:
        """Whether a document has the id."""
        return key in self.store

    @property
    def has_repeats(self) -> bool:
        """Ids are unique in a store."""
        return False

    def _id_at(self, position: Place) -> str:
        return self._key(position)

    # ------------------------------------------------------------------------------------------ reading

    def get(self, position: Place) -> Document:
        """The document at a place."""
        self._look()
        stamp = self.stamp()
        for attempt in range(_AGAIN):
            key = self._key(position)
            doc = self._held.get(key)
            if doc is not None and key not in self._stale:
                return doc
            try:
                return LiveRows(self.store.read([key]), self, stamp).doc(0)
            except MissingDocument:  # somebody deleted what was at this position, between two looks
                if type(position) is str or attempt == _AGAIN - 1:
                    raise
        raise AssertionError

    def select(self, positions: Sequence[Place] | slice) -> Slots:
        """The documents at these places as an array in memory; they are live."""
        self._look()
        stamp = self.stamp()
        for attempt in range(_AGAIN):
            try:
                return Slots.of_rows(LiveRows(self._read(positions), self, stamp))
            except (MissingDocument, OutOfRange) as error:  # somebody deleted one between two looks
                if attempt == _AGAIN - 1 or (type(error) is OutOfRange and not isinstance(positions, slice)):
                    raise
        raise AssertionError

    def _read(self, positions: Sequence[Place] | slice) -> Table:
        if isinstance(positions, slice):
            if positions == slice(None):
                return self.table()
            positions = range(len(self))[positions]
        return self.store.read(self._keys(positions))

    def loaded(self) -> Slots:
        """All documents as an array in memory, to walk in."""
        return self.select(slice(None))

    def docs(self) -> list[Document]:
        """All documents, in a new list."""
        return self.loaded().docs()

    def __iter__(self) -> Iterator[Document]:
        self._look()
        batch, stamp = 64, self.stamp()
        for table in self.store.scan(None, BATCH):
            for start in range(0, len(table), batch):
                part = table.slice(start, min(start + batch, len(table)))
                rows = LiveRows(part, self, stamp, look=bool(self._stale))
                yield from rows.docs(range(len(rows)))
            batch, stamp = 1024, self.stamp()

    def hits(self, positions: Sequence[Place]) -> list[Document]:
        """Copies of the documents at these places, which are no documents of the store."""
        if not len(positions):
            return []
        return _fresh(self._store.read(self._keys(positions)))

    def ids(self) -> list[str]:
        """All ids in order."""
        return self.store.ids()

    def raw(self, name: str) -> list[Any]:
        """The values of one field as they are set, None where unset."""
        if name == "id":
            return self.ids()
        column = self.store.column(name)
        return [None] * len(self) if column is None else column.values()

    def texts(self) -> list[str]:
        """The text of each document, '' where it has none."""
        column = self.store.column("text")
        if column is None:
            return [""] * len(self)
        if isinstance(column, TextColumn):
            return column.texts()
        return ["" if value is None else value for value in column.values()]

    @property
    def untouched(self) -> None:
        """None: these are no rows of memory."""
        return None

    def table(self, depth: int = 0) -> Table:
        """The array as columns."""
        tables = list(self.store.scan())
        return Table.concat(tables) if tables else Table({}, 0, [])

    def gathered(self) -> Gathered | None:
        """The embeddings as one matrix; None where they are not all there, or not of one kind."""
        found = self.store.embeddings()
        if found is None or not found[0]:
            return None
        first = self.store.read(found[0][:1], ["embedding"]).columns["embedding"].value(0)
        if type(first) is not np.ndarray:  # of another framework, which the first document decides
            return None
        return Gathered(Vectors(found[1], owned=False), None, len(found[0]))

    # ------------------------------------------------------------------------------------------ changing

    @contextlib.contextmanager
    def writing(self) -> Generator[None]:
        """Several writes that are made all, or none."""
        try:
            with self.store.transaction():
                yield
        except BaseException:
            self._wrote()
            self._renew(None)
            raise

    def put(self, position: Place, doc: Document) -> None:
        """Another document in place of one."""
        key = self._key(position)
        table = whole(_tabled([doc]))
        if doc.id == key and not self.subs:
            self.store.update(table)
        else:
            with self.writing():
                if doc.id == key:
                    self.store.update(table)
                else:
                    self.store.add(table, key)
                    self.store.delete([key])
                self._follow([key], table)
        self._wrote([key, doc.id])
        if self._held.get(key) is not doc._target():
            self._let_go([key])

    def insert(self, position: int, doc: Document) -> None:
        """One more document, before the one at that position."""
        self.check_list_like()
        count = len(self)
        at = max(0, position + count) if position < 0 else min(position, count)
        before = self._keys([at])[0] if at < count else None
        self._add([doc], before)

    def extend(self, docs: Iterable[Document]) -> None:
        """More documents at the end, from any iterable; so many at a time are in memory."""
        rest = iter(docs)
        first = list(islice(rest, BATCH))
        if len(first) < BATCH:
            self._add(first)
            return
        with self.writing():
            while first:
                self._add(first)
                first = list(islice(rest, BATCH))

    def _add(self, docs: list[Document], before: str | None = None) -> None:
        if docs:
            self._add_table(_tabled(docs), before)

    def _add_table(self, table: Table, before: str | None = None) -> None:
        if not self.subs:
            self.store.add(table, before)
        else:
            with self.writing():
                self.store.add(table, before)
                self._follow([], table)
        self._wrote(table.ids)  # of which some may have been there, and deleted

    def adopt(self, other: Slots) -> bool:
        """Takes over the rows of another body, as columns."""
        source = other.store
        if source is None:
            table = other.table()
            if len(table) <= BATCH:
                if len(table):
                    self._add_table(table)
                return True
            parts: Iterable[Table] = (
                table.slice(start, min(start + BATCH, len(table))) for start in range(0, len(table), BATCH)
            )
        elif source is self.store and len(source):
            raise DuplicateDocument("an array on a store cannot hold its own documents twice: ids are unique")
        else:
            parts = source.scan()
        with self.writing():
            for part in parts:
                self._add_table(part)
        return True

    def upsert(self, docs: Iterable[Document]) -> None:
        """Documents in place of those of their ids, and at the end where there are none."""
        rest = iter(docs)
        with self.writing():
            while batch := list(islice(rest, BATCH)):
                table = whole(_tabled(batch))
                self.store.write(table)
                self._follow(table.ids, table)
                self._wrote(table.ids)
                self._let_go(table.ids, keep=batch)

    def splice(self, window: slice, docs: list[Document]) -> None:
        """What list slice assignment does."""
        self.check_list_like()
        start, stop, step = window.indices(len(self))
        if step != 1:
            with self.writing():
                for key, doc in zip(self._keys(range(len(self))[window]), docs, strict=True):
                    self.put(key, doc)
            return
        stop = max(start, stop)
        gone = self._keys(range(start, stop))
        before = self._keys([stop])[0] if stop < len(self) else None
        table = _tabled(docs) if docs else None
        with self.writing():
            if gone:
                self.store.delete(gone)
            if table is not None:
                self.store.add(table, before)
            self._follow(gone, table)
        self._wrote()
        self._let_go(gone, keep=docs)

    def remove(self, positions: Sequence[Place]) -> None:
        """Takes the documents at these places out."""
        keys = list(dict.fromkeys(self._keys(positions)))
        if not keys:
            return
        if self.subs:
            with self.writing():
                self.store.delete(keys)
                self._follow(keys, None)
        else:
            self.store.delete(keys)
        self._wrote(keys)
        self._let_go(keys)

    def reorder(self, positions: Sequence[int]) -> None:
        """The same documents in the order of these positions."""
        self.check_list_like()
        ids = self.store.ids()
        self.store.reorder([ids[at] for at in positions])

    def reorder_ids(self, ids: list[str]) -> None:
        """The same documents in the order of these ids."""
        self.store.reorder(ids)

    def clear(self) -> None:
        """No documents."""
        with self.writing():
            self.store.clear()
            for sub in self.subs.values():
                sub.clear()
        self._wrote()
        self._let_go(list(self._held))

    def set_embeddings(self, matrix: Any) -> None:
        """Row i of the matrix becomes the embedding of document i."""
        name = tensors.framework(matrix)
        if name in ("numpy", "torch") and matrix.ndim > 1:
            column: Column = UniformTensors(tensors.to_numpy(matrix), None, name)
        else:
            column = column_of("tensor", rows_of_matrix(matrix))
        self._set_columns({"embedding": column})

    def set_texts(self, values: list[str]) -> None:
        """Text i becomes the content of document i."""
        count = len(values)
        nothing = {name: column_of(FIELDS[name].kind, [None] * count) for name in ("blob", "tensor")}
        self._set_columns({"text": column_of("text", list(values)), **nothing})

    def _set_columns(self, columns: dict[str, Column]) -> None:
        ids = self.store.ids()
        self.store.update(Table(columns, len(ids), ids))
        self._wrote()
        self._renew(None, tuple(columns))

    # ------------------------------------------------------------------------------------------ live documents

    def changed(self, doc: Live, fields: Sequence[str]) -> None:
        """Writes fields of a document."""
        self._write([doc], fields)

    def changed_many(self, changes: Sequence[tuple[Live, Sequence[str]]]) -> None:
        """Writes fields of many documents, in one transaction."""
        alike: dict[tuple[str, ...], list[Live]] = {}
        for doc, fields in changes:
            if doc._home is self:
                alike.setdefault(tuple(sorted(fields)), []).append(doc)
        try:
            if len(alike) == 1:
                for fields, docs in alike.items():
                    self._write(docs, fields)
            elif alike:
                with self.store.transaction():
                    for fields, docs in alike.items():
                        self._write(docs, fields)
        except BaseException:
            self._renew([doc._id for docs in alike.values() for doc in docs])
            raise

    def _write(self, docs: list[Live], fields: Sequence[str]) -> None:
        table = tabulate_fields(Slots(cast("list[Any]", docs)), fields)
        if self.subs and not _NESTING.isdisjoint(fields):
            with self.store.transaction():
                self.store.update(table)
                self._follow(table.ids, tabulate_fields(Slots(cast("list[Any]", docs)), sorted(_NESTING)))
        else:
            self.store.update(table)
        self._wrote(table.ids, docs)

    def may_rename(self, doc: Live, new: Any) -> None:
        """Does nothing if the document may have this id.

        Raises:
            BadValue: none is wanted, which no row can have. DuplicateDocument: another document has it.
        """
        if new is None:
            raise BadValue(f"an id cannot be taken away from a document of a store: {doc._id!r}")
        if isinstance(new, str) and new != doc._id and new in self.store:
            raise DuplicateDocument(
                f"document {doc._id!r} cannot be called {new!r}: another one is. Nothing was changed"
            )

    def renamed(self, doc: Live, old: str) -> None:
        """Gives the row of a document the id that the document has by now."""
        with self.store.transaction():
            row = self.store.read([old])
            table = Table(row.columns, 1, [doc._id])
            self.store.add(table, old)
            self.store.delete([old])
            self._follow([old], table)
        self._held.pop(old, None)
        self._held[doc._id] = doc
        self._wrote([old, doc._id], [doc])

    # ------------------------------------------------------------------------------------------ sub-indices

    def _follow(self, gone: Sequence[str], fresh: Table | None) -> None:
        """Brings the sub-indices to where the rows are: without those of some ids, with those of a table."""
        for sub in self.subs.values():
            sub.follow(gone, fresh)

    def below(self, path: str) -> Slots:
        """The documents of a sub-index as the body of an array, to be searched."""
        return _Below(self.subs[path], self)

    def roots_of(self, path: str) -> Any:
        """For each place of `below(path)` the document that it is in."""
        return _Roots(self.subs[path], self)

    # ------------------------------------------------------------------------------------------ transactions

    def enter(self) -> None:
        """Begins a transaction that ends with `leave`."""
        context = self.store.transaction()
        context.__enter__()
        self._open.append(context)

    def leave(self, *exception: Any) -> None:
        """Ends the transaction; takes everything back on an exception."""
        if not self._open:
            return
        context = self._open.pop()
        try:
            context.__exit__(*exception)
        finally:
            if exception and exception[0] is not None:
                self._wrote()
                self._renew(None)

    def close(self) -> None:
        """Closes the store; documents that somebody has can be read on."""
        for sub in self.subs.values():
            sub.close()
        self.store.close()


def opened(storage: str, config: Any, subs: Mapping[str, Any]) -> Stored:
    """The body of an array on the storage of a name.

    Sub-indices that the store was opened with before are there again; one that is new is filled from the rows.

    Raises:
        UnknownName: no storage of that name. UnknownOption: a setting that it does not have.
    """
    store: Store = registry.resolve("storage", storage).open(config)
    try:
        return Stored(store, storage, _sub_indices(store, subs))
    except BaseException:
        store.close()
        raise


def refuse_settings(config: Any) -> None:
    """Memory has no settings.

    Raises:
        UnknownOption: there are some.
    """
    if config:
        raise UnknownOption(f"storage 'memory' has no settings; got {config!r:.60}. Is storage= missing?")


_SUBS: Final = "subindices"
_FILLED: Final = "filled"


def _sub_indices(store: Store, given: Mapping[str, Any]) -> dict[str, SubIndex]:
    known: dict[str, Any] = json.loads(store.meta().get(_SUBS, b"{}"))
    wanted = {**known, **given}
    out: dict[str, SubIndex] = {}
    for path, config in wanted.items():
        if not path.startswith("@"):
            raise BadValue(f"a sub-index is of a path such as '@c'; got {path!r}")
        inner = beside(store, path, config)
        out[path] = sub = SubIndex(path, inner, getattr(store.config, "root_id", True) is not False)
        if _FILLED not in inner.meta():
            with store.transaction():
                for table in store.scan():
                    sub.follow([], table)
                inner.meta({_FILLED: b"1"})
    if wanted.keys() != known.keys():
        store.meta({_SUBS: json.dumps({path: _plain_config(c) for path, c in wanted.items()}).encode()})
    return out


_JSON: Final = frozenset({str, int, float, bool, dict, type(None)})


def _plain_config(config: Any) -> Any:
    """A config as JSON can say it: settings that it cannot say are those of the root the next time."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    if not isinstance(config, Mapping):
        return None
    items = cast("Mapping[Any, Any]", config).items()
    return {str(key): value for key, value in items if type(value) in _JSON}


_NESTING: Final = frozenset({"chunks", "matches", "_metadata"})


def _tabled(docs: list[Document]) -> Table:
    table = Slots(cast("list[Any]", docs)).table()
    if len(set(table.ids)) < len(table):
        seen: set[str] = set()
        for key in table.ids:
            if key in seen:
                raise DuplicateDocument(
                    f"document {key!r} is given twice: ids are unique in a store. Nothing was written"
                )
            seen.add(key)
    return table


def whole(table: Table) -> Table:
    """The table with every field of a document: what it does not say is unset where it is written."""
    missing: dict[str, Column | None] = {}
    count = len(table)
    for name, field in FIELDS.items():
        if name != "id" and name not in table.columns:
            missing[name] = _unset(field.kind, count)
    return table.with_columns(missing)


@functools.lru_cache(maxsize=256)
def _unset(kind: Any, count: int) -> Column:
    if kind == "docs":
        return DocsColumn(np.zeros(count + 1, np.int64), Table({}, 0, []))
    return column_of(kind, [None] * count)


def _fresh(table: Table) -> list[Document]:
    """Documents of rows that were read for them, and are nobody else's; without matches, as hits are."""
    if "matches" in table.columns:
        table = table.with_columns({"matches": None})
    return Rows(table).fresh()


def _transplant(doc: Live, new: Document, fields: Sequence[str] | None) -> None:
    """Makes a document that somebody has say what another of its row says; containers that say the same stay."""
    names = EVERY if fields is None else fields
    state: dict[str, Any] = dict(zip(Document.__slots__, doc._state(), strict=True))
    fresh: dict[str, Any] = dict(zip(Document.__slots__, cast("Live", new)._state(), strict=True))
    taken: set[str] = {slot for name in names for slot in _SLOTS_OF.get(name, ("_more",))}
    if "_embedding" in taken and doc._vectors is not None:
        doc._vectors.changed[doc._row] = doc
    for slot in taken:
        value = fresh[slot]
        if slot in ("_tags", "_scores", "_more") and value is not None and state[slot] == value:
            continue
        object.__setattr__(doc, slot, value)
    for name in ("_chunks", "_matches"):
        if name in taken and isinstance(fresh[name], RowsSpan):
            span = fresh[name]
            object.__setattr__(
                doc, name, RowsSpan(cast("NestedRows", span.rows).under(doc, span), span.start, span.stop)
            )


_SLOTS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("text", "blob", "tensor"), ("_content",)),
    **dict.fromkeys(("parent_id", "granularity", "adjacency"), ("_place",)),
    "embedding": ("_embedding", "_vectors", "_row"),
    **{name: (f"_{name}",) for name in ("tags", "uri", "mime_type", "scores", "chunks", "matches")},
}


class LiveRows(Rows):
    """Rows that were read from a store; the documents made of them are live."""

    __slots__ = ("_body", "_stamp")
    is_live: ClassVar[bool] = True

    def __init__(
        self, table: Table, body: Stored | None, stamp: tuple[int, int] = (0, 0), look: bool = True
    ) -> None:
        # `stamp`: that of the body, from before the table was read.
        super().__init__(table)
        self._body = body
        self._stamp = stamp
        if look and body is not None and len(body._held):
            self._meet(body)

    def _meet(self, body: Stored) -> None:
        """Puts documents that somebody has in their rows; brings them up to date where others wrote."""
        again: list[int] = []
        for row, key in enumerate(self.table.ids):
            doc = body._held.get(key)
            if doc is not None:
                self.made[row] = doc
                if key in body._stale:
                    again.append(row)
        if again:
            body._refresh(self.table.take(np.array(again, np.intp)), self._stamp)

    def unheld(self, row: int) -> Document:
        """A fresh document of a row, of which nobody knows."""
        super()._make([row], self.table.slice(row, row + 1))
        return self.made.pop(row)

    def _make(self, numbers: Sequence[int], cut: Table) -> None:
        body = self._body
        if body is None:
            super()._make(numbers, cut)
            return
        is_old = body.is_old(self._stamp)
        if is_old is not None:
            numbers, cut = self._made_anew(body, numbers, cut, is_old)
        held, first = body._held, dict[str, int]()
        if not len(held) and len(set(cut.ids)) == len(numbers):  # as when somebody walks over all
            super()._make(numbers, cut)
            body.take([cast("Live", self.made[number]) for number in numbers], self._stamp)
            return
        fresh: list[int] = []
        repeats: list[tuple[int, str]] = []
        for at, (number, key) in enumerate(zip(numbers, cut.ids, strict=True)):
            doc = held.get(key)
            if doc is not None:
                self.made[number] = doc
            elif key in first:
                repeats.append((number, key))
            else:
                first[key] = number
                fresh.append(at)
        if len(fresh) == len(numbers):
            super()._make(numbers, cut)
        elif fresh:
            super()._make([numbers[at] for at in fresh], cut.take(np.array(fresh, np.intp)))
        body.take([cast("Live", self.made[number]) for number in first.values()], self._stamp)
        for number, key in repeats:
            self.made[number] = self.made[first[key]]

    def _made_anew(
        self, body: Stored, numbers: Sequence[int], cut: Table, is_old: Callable[[str], bool]
    ) -> tuple[Sequence[int], Table]:
        """Makes documents of rows that were changed since this table was read, as they are by now; gives the rest."""
        ids = cut.ids
        old = [at for at, key in enumerate(ids) if key not in body._held and is_old(key)]
        if not old:
            return numbers, cut
        stamp = body.stamp()
        now = LiveRows(body.read_known([ids[at] for at in old]), body, stamp)
        docs = dict(zip(now.table.ids, now.docs(range(len(now))), strict=True))
        for at in old:  # one that is gone by now is a document like any other
            key = ids[at]
            self.made[numbers[at]] = docs[key] if key in docs else Rows(cut.slice(at, at + 1)).doc(0)
        rest = sorted(set(range(len(ids))).difference(old))
        return [numbers[at] for at in rest], cut.take(np.array(rest, np.intp))

    def _begun(self, numbers: Sequence[int], ids: list[str]) -> list[Document]:
        return [bare(key, Unfinished) for key in ids]

    def _finish(self, docs: list[Document]) -> None:
        for doc in cast("list[Unfinished]", docs):
            doc._home = cast("Home", self._body)
            doc.__class__ = Live

    def _rows_below(self, name: str, column: DocsColumn) -> Rows:
        return NestedRows(column, self, name)


_NO_ROWS: Final = LiveRows(Table({}, 0, []), None)


class NestedRows(Rows):
    """The rows below those of a store; a document made of one makes that which it is in, too."""

    __slots__ = ("_above", "_column", "_field")
    is_live: ClassVar[bool] = True

    def __init__(self, column: DocsColumn, above: Rows, field: str) -> None:
        super().__init__(column.child)
        self._column = column
        self._above = above
        self._field = field

    def under(self, root: Live, span: RowsSpan) -> NestedRows:
        """The same rows, below a document that somebody has instead of that which they were read for."""
        above = LiveRows(Table({}, 1, [root._id]), None)
        above.made[0] = root
        offsets = np.array([span.start, span.stop], np.int64)
        return NestedRows(DocsColumn(offsets, self._column.child), above, self._field)

    def _above_of(self, numbers: Sequence[int]) -> list[int]:
        offsets = self._column.checked()
        return (np.searchsorted(offsets, np.array(numbers, np.int64), "right") - 1).tolist()

    def _make(self, numbers: Sequence[int], cut: Table) -> None:
        rows = self._above_of(numbers)
        parents = self._above.docs(rows)
        own: list[int] = []
        for at, (number, row, parent) in enumerate(zip(numbers, rows, parents, strict=True)):
            if self._is_of(parent):
                own.append(at)
                continue
            # The document above was in somebody's hand before these rows were read: so are those below it.
            local = number - int(self._column.offsets[row])
            nested: Any = getattr(parent, self._field)
            if local >= len(nested) or nested[local].id != cut.ids[at]:
                raise StaleDocument(
                    f"the {self._field} of document {parent.id!r} changed since they were read: take them again"
                )
            self.made[number] = nested[local]
        if len(own) == len(numbers):
            super()._make(numbers, cut)
        elif own:
            super()._make([numbers[at] for at in own], cut.take(np.array(own, np.intp)))

    def _is_of(self, parent: Document) -> bool:
        held = parent._chunks if self._field == "chunks" else parent._matches
        if isinstance(held, RowsSpan):
            return held.rows is self
        return held is not None and getattr(getattr(held, "_slots", None), "rows", None) is self

    def _begun(self, numbers: Sequence[int], ids: list[str]) -> list[Document]:
        parents = self._above.docs(self._above_of(numbers))
        docs: list[Document] = []
        for key, parent in zip(ids, parents, strict=True):
            doc = cast("Unfinished", bare(key, Unfinished))
            doc._home = home_below(parent, self._field)
            docs.append(doc)
        return docs

    def _finish(self, docs: list[Document]) -> None:
        for doc in docs:
            doc.__class__ = Live

    def _rows_below(self, name: str, column: DocsColumn) -> Rows:
        return NestedRows(column, self, name)


def home_below(parent: Document, field: str) -> Inside | None:
    """The home of what is nested in a live document; None where it is live no longer."""
    home = cast("Unfinished", parent)._home
    if home is None:
        return None
    return home if isinstance(home, Inside) else Inside(cast("Live", parent), field)


class _Below(Stored):
    """The documents of a sub-index: searched in its store; given as what they are copies of."""

    __slots__ = ("_main", "_sub")

    def __init__(self, sub: SubIndex, main: Stored) -> None:
        super().__init__(sub.store, main.name)
        self._sub = sub
        self._main = main

    def _id_at(self, position: Place) -> str:
        return self._sub.read([self._key(position)])[0].ids[0]

    def hits(self, positions: Sequence[Place]) -> list[Document]:
        """Copies of the nested documents, under their own ids."""
        if not len(positions):
            return []
        return _fresh(self._sub.read(self._keys(positions))[0])

    def select(self, positions: Sequence[Place] | slice) -> Slots:
        """The nested documents themselves, of the documents that they are in."""
        if isinstance(positions, slice):
            positions = range(len(self))[positions]
        keys = self._keys(positions)
        roots = _Roots(self._sub, self._main)
        path = self._sub.path.removeprefix("@")
        docs: list[Any] = []
        for key in keys:
            docs.append(traverse.walk(Slots([roots[key]]), path).get(int(key.rpartition("\x1f")[2])))
        return Slots(docs)


class _Roots:
    """The document that each nested one of a sub-index is in, by its place there."""

    def __init__(self, sub: SubIndex, main: Stored) -> None:
        self._sub = sub
        self._main = main

    def __getitem__(self, place: str) -> Document:
        return self._main.get(self._sub.read([place])[1][0])


class LiveSlots(Slots):
    """The body of the chunks or matches of a live document."""

    __slots__ = ("_field", "_parent")
    items: Any
    rows: Rows | None

    def __init__(self, source: Slots, parent: Live, field: str) -> None:
        super().__init__(source.items, source.rows)
        self._parent = parent
        self._field = field

    def _told(self, change: Callable[..., Any], *args: Any) -> Any:
        items, rows = self.items, self.rows
        kept: Any = items[:]
        try:
            result = change(*args)
            self._parent.tell(self._field)
        except BaseException:
            self.items, self.rows = kept, rows
            self._ids = self._gathered = None
            raise
        return result

    def put(self, position: int, doc: Document) -> None:
        """As of Slots, and written."""
        self._told(super().put, position, doc)

    def insert(self, position: int, doc: Document) -> None:
        """As of Slots, and written."""
        self._told(super().insert, position, doc)

    def extend(self, docs: Iterable[Document]) -> None:
        """As of Slots, and written."""
        self._told(super().extend, docs)

    def adopt(self, other: Slots) -> bool:
        """False: what comes in is copied."""
        return False

    def splice(self, window: slice, docs: list[Document]) -> None:
        """As of Slots, and written."""
        self._told(super().splice, window, docs)

    def remove(self, positions: Sequence[int]) -> None:
        """As of Slots, and written."""
        self._told(super().remove, positions)

    def reorder(self, positions: Sequence[int]) -> None:
        """As of Slots, and written."""
        self._told(super().reorder, positions)

    def clear(self) -> None:
        """As of Slots, and written."""
        self._told(super().clear)
