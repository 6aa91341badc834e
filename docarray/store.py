"""What a store is: five methods on Tables. The rest is derived here, once, and may be overridden to be faster.

To add a storage write a subclass with `ids`, `read`, `write`, `delete` and `meta`, and register it under the entry
point group `docarray.stores`:

    [project.entry-points."docarray.stores"]
    shelf = "shelf:ShelfStore"

Then `DocumentArray(storage='shelf', config={...})` is an array on it. `docarray.testing` holds it against the rest.

Rule 1: a store is rows by id, in an order, in columns (docarray.schema.FIELDS). It never sees a Document.
Rule 2: ids are unique. What is written is all written or not at all, and is there for every later call.
Rule 3: a fast path gives what the derived method gives; a store that answers nearly says `exact = False`.
Rule 4: a store may be called from several threads. After `close` each call raises ClosedStore.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self, cast

import numpy as np

from docarray import query
from docarray.bm25 import TextIndex
from docarray.columns import Column, TextColumn
from docarray.distance import Metric
from docarray.errors import (
    BadValue,
    DuplicateDocument,
    FieldTypeError,
    LengthError,
    MissingDocument,
    OutOfRange,
    UnknownOption,
    Unsupported,
    near_miss,
)
from docarray.kept import KeptVectors, KeptWords
from docarray.schema import FIELDS
from docarray.table import Table
from docarray.values import TableValues

__all__ = ["BATCH", "About", "Changes", "Found", "Store", "configured", "missing_ids"]

BATCH = 4096
"""Rows that are read or written together, where somebody asks for very many."""

Found = tuple[list[str], list[float]]
"""Ids and what was measured of each, the best first."""


class Changes(NamedTuple):
    """What happened to the rows of a store since a mark.

    An id that was deleted and written again stands in both: the deletion goes first.
    """

    mark: int
    """The mark to ask from the next time."""
    deleted: list[str]
    """Ids that were there and were deleted."""
    written: list[str]
    """Ids whose rows were added or changed, in array order."""
    moved: bool
    """Whether rows stand in another order than before, or new ones before old ones."""


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What a storage can do, in the words of the manual's table; '' is no."""

    place: str
    """Where the rows are: 'memory', 'a file', 'a server'."""
    install: str = ""
    """What to install for it, as `pip install` takes it."""
    survives: str = ""
    """What outlives the process: '' or 'kill -9', ..."""
    shared: str = ""
    """Who may open it at the same time."""
    filters: str = "in Python"
    vectors: str = "exact"
    text: str = "inverted index in memory"
    transactions: str = "yes"


def configured(kind: type[Any], config: Any, storage: str) -> Any:
    """A config of this dataclass, from one, a mapping or None.

    Raises:
        UnknownOption: a key that it does not have (a KeyError). FieldTypeError: no mapping.
        BadValue: a key without a default is missing.
    """
    if isinstance(config, kind):
        return config
    if config is not None and not isinstance(config, Mapping):
        raise FieldTypeError(
            f"the config of storage {storage!r} is a {kind.__name__} or a dict; got a {type(config).__name__}"
        )
    given = dict(cast("Mapping[str, Any]", config or {}))
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in given:
        if key not in fields:
            raise UnknownOption(f"storage {storage!r} has no setting {key!r}. {near_miss(key, fields)}")
    wanted = [
        name
        for name, field in fields.items()
        if name not in given
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if wanted:
        raise BadValue(f"storage {storage!r} needs the setting {wanted[0]!r}: config={{{wanted[0]!r}: ...}}")
    return kind(**given)


class Store(ABC):
    """Rows by id, in an order, in columns: five methods, and what follows from them."""

    about: ClassVar[About]
    exact: ClassVar[bool] = True
    """Whether `nearest` gives exactly the nearest."""
    has_columns: ClassVar[bool] = False
    """Whether its config has `columns`: keys of tags that filters find by an index."""
    config: Any = None
    """How it was opened, where it can be opened again so: what `open` takes. None where it cannot."""
    _kept_vectors: dict[str | None, KeptVectors] | None = None
    _kept_words: dict[str, KeptWords] | None = None
    _inside: bool = False
    _lock: threading.RLock

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._lock = threading.RLock()
        return self

    @property
    def turn(self) -> threading.RLock:
        """The one lock of a store, and of what is kept of it: two locks would be taken in two orders.

        Held where a look and a write belong together, and by derived transactions. Take it in `write`, `delete` and
        `meta` of a store that has nothing else to keep threads apart; give your own where there is one.
        """
        return self._lock

    @classmethod
    def open(cls, config: Any = None) -> Self:
        """The store that a config of `DocumentArray(storage=..., config=...)` means."""
        if config:
            configured(_NoConfig, config, cls.__name__)
        return cls()

    # ------------------------------------------------------------------------------------------ the five

    @abstractmethod
    def ids(self) -> list[str]:
        """All ids, in array order, in a new list."""

    @abstractmethod
    def read(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> Table:
        """The rows of these ids, as asked, with repeats. Columns that none of them uses may be left out.

        What the table holds is the caller's: no other call gives the same dicts, lists or memory that can be written.

        Args:
            ids: which rows.
            columns: names of fields; None for all.

        Raises:
            MissingDocument: some are not there; the message names the first.
        """

    @abstractmethod
    def write(self, table: Table, before: str | None = None) -> None:
        """Puts rows: of known ids the columns given are changed in place, and no others; new ones go before the row
        `before`, or to the end, in their order. All or nothing.

        A cell that is missing (None) in a column that is given unsets that field.

        Raises:
            MissingDocument: there is no row `before`. DuplicateDocument: an id stands twice in the table.
        """

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> None:
        """Takes rows out; an id that stands twice is taken out once.

        Raises:
            MissingDocument: some are not there; then nothing was deleted.
        """

    @abstractmethod
    def meta(self, update: Mapping[str, bytes | None] | None = None) -> dict[str, bytes]:
        """Small durable facts by name, after this update of them; None takes one away."""

    # ------------------------------------------------------------------------------------------ rows

    def __len__(self) -> int:
        return len(self.ids())

    def __contains__(self, key: object) -> bool:
        return bool(self.known([key])) if isinstance(key, str) else False

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that are there."""
        return set(ids) & set(self.ids())

    def at(self, positions: Sequence[int]) -> list[str]:
        """The ids at these positions, each from 0 to len - 1.

        Raises:
            OutOfRange: there is no such position.
        """
        ids = self.ids()
        for position in positions:
            if not 0 <= position < len(ids):
                raise OutOfRange(f"position {position} is out of range for a store of {len(ids)}")
        return [ids[position] for position in positions]

    def position(self, key: str) -> int:
        """The position of an id.

        Raises:
            MissingDocument: no row has it.
        """
        try:
            return self.ids().index(key)
        except ValueError:
            raise MissingDocument(f"no document has the id {key!r} in this array of {len(self)}") from None

    def scan(self, columns: Sequence[str] | None = None, batch: int = BATCH) -> Iterator[Table]:
        """All rows in array order, so many at a time. Rows may come and go meanwhile: each that stays is given once."""
        ids = self.ids()
        for start in range(0, len(ids), batch):
            part = ids[start : start + batch]
            with self.turn:
                known = self.known(part)
                table = self.read([key for key in part if key in known], columns)
            if len(table):
                yield table

    def column(self, name: str) -> Column | None:
        """One field of all rows, in array order; None where no row uses it."""
        tables = list(self.scan([name]))
        if name == "id":
            return TextColumn([key for table in tables for key in table.ids])
        return Table.concat(tables).columns.get(name) if tables else None

    def add(self, table: Table, before: str | None = None) -> None:
        """`write` of rows that are all new.

        Raises:
            DuplicateDocument: one is there already; nothing was written.
        """
        with self._together():
            known = self.known(table.ids)
            if known:
                first = next(key for key in table.ids if key in known)
                raise DuplicateDocument(
                    f"this store has a document {first!r} already ({len(known)} of {len(table)} are known); "
                    "da[id] = doc replaces one, da.upsert(docs) many. Nothing was written"
                )
            self.write(table, before)

    def update(self, table: Table) -> None:
        """`write` of columns of rows that are all there.

        Raises:
            MissingDocument: one is not there; nothing was written.
        """
        with self._together():
            missing_ids(table.ids, self.known(table.ids))
            self.write(table)

    def reorder(self, ids: Sequence[str]) -> None:
        """The same rows in this order; all ids are given, each once."""
        with self.transaction():
            if sorted(ids) != sorted(self.ids()):
                raise LengthError("reorder takes every id of the store, each once. Nothing was written")
            table = self.read(ids)
            self.delete(ids)
            self.write(table)

    def clear(self) -> None:
        """No rows."""
        self.delete(self.ids())

    # ------------------------------------------------------------------------------------------ finding

    def where(self, node: query.Node, limit: int | None = None) -> list[str]:
        """The ids of the rows that a filter keeps, in array order, at most so many."""
        columns = sorted({str(path[0]) for path in query.paths_in(node)} & FIELDS.keys())
        found: list[str] = []
        for table in self.scan(columns):
            kept = query.mask(node, len(table), TableValues(table))
            ids = table.ids
            found += [ids[row] for row in np.flatnonzero(kept).tolist()]
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    def ordered(self, keys: str | Sequence[str], ids: Sequence[str] | None = None) -> list[str]:
        """These ids (given in array order), or all, in the order of one or several paths; '-tags__price' goes down."""
        roots = [str(path[0]) for path, _ in query.parse_sort(cast("Any", keys), FIELDS)]
        columns = [name for name in dict.fromkeys(roots) if name != "id"]
        tables = list(self.scan(columns)) if ids is None else [self.read(ids, columns)]
        table = Table.concat(tables) if tables else Table({}, 0, [])
        order = query.sort_rows(cast("Any", keys), len(table), TableValues(table)).tolist()
        own = table.ids
        return [own[row] for row in order]

    def nearest(
        self,
        vectors: Any,
        k: int | None,
        metric: Metric = "cosine",
        *,
        where: query.Node | None = None,
        skip: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[Found]:
        """For each vector the nearest rows that have an embedding: ids and distances, nearest first, ties by position.

        Args:
            vectors: (q, d), dense or scipy.sparse.
            k: how many at most; None for all.
            metric: as of `docarray.nearest.nearest`.
            where: only rows that this filter keeps.
            skip: an id for each vector that must not be found, or None.
            batch_size: rows that are compared at once; no result depends on it.

        Raises:
            MissingEmbedding: no row has an embedding. ShapeError: another d, or embeddings of several shapes.
        """
        return self.nearest_by(None, vectors, k, metric, where=where, skip=skip, batch_size=batch_size)

    def nearest_by(
        self,
        name: str | None,
        vectors: Any,
        k: int | None,
        metric: Metric = "cosine",
        *,
        where: query.Node | None = None,
        skip: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[Found]:
        """`nearest`, exactly, among the embeddings of a name: those in `_metadata['embeddings']`; None: `embedding`."""
        kept = None if where is None else self.where(where)
        if kept is not None and not kept:
            return [([], []) for _ in range(vectors.shape[0])]
        return self._vectors(name).nearest(vectors, k, metric, kept, skip, batch_size)

    def search(
        self, texts: Sequence[str], k: int | None, field: str = "text", *, where: query.Node | None = None
    ) -> list[Found]:
        """For each text the rows whose words fit best: ids and scores by BM25, best first, ties by position.

        Args:
            texts: words to look for; any one of them is enough.
            k: how many at most; None for all that have one of the words.
            field: a path to text: 'text', 'tags__title'.
            where: only rows that this filter keeps.
        """
        kept = None if where is None else self.where(where)
        return self._words(field).search(texts, k, kept)

    def embeddings(self) -> tuple[list[str], Any, Any] | None:
        """The ids of all rows, their embeddings as one matrix (n, *shape) in array order, and the norms of its rows;
        None where some row has none, or where they differ in shape or dtype. All are the store's: read only.
        """
        return self._vectors().whole(len(self))

    def _vectors(self, name: str | None = None) -> KeptVectors:
        if self._kept_vectors is None:
            self._kept_vectors = {}
        if name not in self._kept_vectors:
            self._kept_vectors[name] = KeptVectors(self, name)
        return self._kept_vectors[name]

    def _words(self, field: str) -> KeptWords:
        if self._kept_words is None:
            self._kept_words = {}
        if field not in self._kept_words:
            self._kept_words[field] = KeptWords(self, field, TextIndex())
        return self._kept_words[field]

    # ------------------------------------------------------------------------------------------ changes

    def mark(self) -> int | None:
        """A number that grows with each change of rows, by whomever; None where the store cannot tell."""
        return None

    def changes(self, since: int) -> Changes | None:
        """What happened since a mark; None where it cannot be told any more, and all must be read again."""
        return None

    def version(self) -> int:
        """A number that differs from before when somebody else may have changed rows: another process, another
        connection. Cheap; own changes do not count.
        """
        self.meta()  # raises where the store was closed
        return 0

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """All that is written inside is kept, or on an exception none of it. One inside another is part of it.

        This one reads all rows first: a store that has transactions of its own overrides it.
        """
        with self.turn:
            if self._inside:
                yield
                return
            table, facts = self.read(self.ids()), self.meta()
            self._inside = True
            try:
                yield
            except BaseException:
                self.delete(self.ids())
                self.write(table)
                self.meta({**dict.fromkeys(self.meta()), **facts})
                raise
            finally:
                self._inside = False

    def _together(self) -> contextlib.AbstractContextManager[Any]:
        """Around a look and the one write that follows from it, so that nobody comes in between."""
        # The derived transaction copies all rows, for nothing: a write is all or nothing by itself.
        return self.turn if type(self).transaction is Store.transaction else self.transaction()

    # ------------------------------------------------------------------------------------------ as a whole

    def beside(self, name: str, config: Any = None) -> Store:
        """Another store in the same place, of this name, that takes part in the transactions of this one.

        Used for sub-indices. `config` are settings that differ from those of this store.

        Raises:
            Unsupported: this storage has no room for one.
        """
        raise Unsupported(f"storage {type(self).__name__} has no sub-indices")

    def sync(self) -> None:
        """Writes what is held back, if anything is."""
        self.version()  # most hold nothing back; a closed one says so

    def drop(self) -> None:
        """Deletes the store with all that is in it, and closes it."""
        self.clear()
        self.close()

    def close(self) -> None:  # noqa: B027
        """Gives back what the store holds: files, connections. Twice is once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclasses.dataclass(frozen=True)
class _NoConfig:
    pass


def missing_ids(ids: Sequence[str], known: Any) -> None:
    """Does nothing if all of these ids are known.

    Raises:
        MissingDocument: some are not; the message names the first.
    """
    missing = [key for key in dict.fromkeys(ids) if key not in known]
    if missing:
        more = f", nor {len(missing) - 1} others" if len(missing) > 1 else ""
        raise MissingDocument(f"there is no document {missing[0]!r}{more} in this store")


Opener = Callable[[Any], Store]
