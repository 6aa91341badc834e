"""What is kept of a store in memory, to search it: its embeddings as one matrix, its words. Kept true by its marks.

Rule 1: before each search the store is asked what happened since the last one, and only that is read again.
Rule 2: rows stand in array order, so that of equals the first comes first, as in memory.
Rule 3: a row without an embedding, or without words, is not here.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from docarray import tensors
from docarray.bm25 import TextIndex
from docarray.columns import Column, UniformTensors, column_of
from docarray.distance import Metric
from docarray.errors import FieldTypeError, MissingEmbedding, OutOfRange, ShapeError
from docarray.nearest import nearest, row_norms
from docarray.paths import parse_dunder
from docarray.tensors import Array
from docarray.values import TableValues

if TYPE_CHECKING:
    from docarray.store import Changes, Store
    from docarray.table import Table

__all__ = ["KeptVectors", "KeptWords", "named_vector"]

Found = tuple[list[str], list[float]]

_BATCH = 4096  # rows that are read together


class _Kept:
    """What follows the marks of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark: int | None = None

    @property
    def _lock(self) -> threading.RLock:
        return self._store.turn

    def _catch_up(self) -> None:
        store, mark = self._store, self._mark
        now = store.mark()
        if now is not None and now == mark:
            return
        changes = None if mark is None or now is None else store.changes(mark)
        if changes is None or not self._follow(changes):
            self._mark = now  # from before the reading: what comes in between is seen the next time again
            self._read_all()
        else:
            self._mark = changes.mark

    def _follow(self, changes: Changes) -> bool:
        raise NotImplementedError

    def _read_all(self) -> None:
        raise NotImplementedError

    def _in_order(self, changes: Changes, added: Sequence[str], here: Callable[[str], bool]) -> bool:
        """Whether these ids, put behind the ones that are here, are in array order.

        `moved` tells of rows. One that was there and only now has an embedding, or words, is new here alone: it may
        stand anywhere.
        """
        if changes.moved:
            return False
        if not added:
            return True
        store, count = self._store, len(self._store)
        try:
            tail = store.at(range(max(0, count - len(changes.written)), count))
        except OutOfRange:  # somebody deleted between the two questions
            return False
        new = set(added)
        first = next((at for at, key in enumerate(tail) if key in new), len(tail))
        behind = tail[first:]
        return [key for key in behind if key in new] == list(added) and not any(
            key not in new and here(key) for key in behind
        )


class KeptVectors(_Kept):
    """The embeddings of a store: those that documents have as `embedding`, or those of a name.

    Costs one reading of them all at the first search, and their memory.
    """

    def __init__(self, store: Store, name: str | None = None) -> None:
        super().__init__(store)
        self._name = name
        self._field = "embedding" if name is None else "_metadata"
        self._ids: list[str] = []
        self._rows: dict[str, int] | None = None
        self._matrix: Any = None
        self._norms: Array | None = None
        self._odd: str | None = None  # why there is no matrix, where there are embeddings
        self._own = False  # whether the matrix is nobody else's, and may be written
        self._readers = 0  # searches in other threads that are on it now
        self._mixed = False  # whether rows were of several dtypes, and became the one that holds all

    def _read_all(self) -> None:
        ids: list[str] = []
        parts: list[Any] = []
        kinds: set[str] = set()
        for table in self._store.scan([self._field]):
            column = self._column(table)
            if column is None:
                continue
            own, present = table.ids, column.present
            if present is not None:
                rows = np.flatnonzero(present)
                own, column = [own[row] for row in rows.tolist()], column.take(rows)
            if own:
                ids += own
                parts.append(column)
        matrix, odd = None, None
        try:
            matrix = _joined([_matrix_of(column, kinds) for column in parts])
        except (ShapeError, FieldTypeError) as error:
            odd = str(error)
        self._ids, self._rows, self._norms, self._odd, self._mixed = ids, None, None, odd, len(kinds) > 1
        self._matrix, self._own = matrix, len(parts) > 1

    def _column(self, table: Table) -> Column | None:
        column = table.columns.get(self._field)
        if column is None or self._name is None:
            return column
        cells = [named_vector(private, self._name) for private in column.values()]
        return column_of("tensor", cells) if any(cell is not None for cell in cells) else None

    def _follow(self, changes: Changes) -> bool:
        if self._matrix is None or self._mixed or tensors.is_sparse(self._matrix):
            return not (changes.written or changes.deleted or changes.moved)
        if len(changes.written) * 4 > len(self._ids) + 64:
            return False
        rows = self._places()
        gone = {rows[key] for key in changes.deleted if key in rows}
        table = self._store.read(sorted(self._store.known(changes.written)), [self._field])
        column = self._column(table)
        values = [None] * len(table) if column is None else column.values()
        fresh: dict[str, Any] = dict(zip(table.ids, values, strict=True))
        matrix: Any = self._matrix
        norms = self._norms
        added: list[str] = []
        changed: list[tuple[int, Any]] = []
        for key in changes.written:
            value, row = fresh.get(key), rows.get(key)
            if value is None:
                gone |= set() if row is None else {row}
            elif (
                type(value) is not np.ndarray  # a subclass, a framework's: all are read again, as at first
                or value.shape != matrix.shape[1:]
                or value.dtype != matrix.dtype
            ):
                return False
            elif row is None or row in gone:
                added.append(key)
            else:
                changed.append((row, value))
        if changed:
            at = np.array([row for row, _ in changed], np.intp)
            if not self._own or self._readers:
                self._matrix = matrix = matrix.copy()
                self._norms = norms = None if norms is None else norms.copy()
                self._own = True
            matrix[at] = np.stack([value for _, value in changed])
            if norms is not None:
                norms[at] = row_norms(matrix[at].reshape(len(at), -1))
        ordered = self._in_order(changes, added, lambda key: key in rows and rows[key] not in gone)
        ids = self._ids
        if gone:
            stay = np.ones(len(ids), np.bool_)
            stay[list(gone)] = False
            matrix, norms = matrix[stay], None if norms is None else norms[stay]
            ids = [key for key, here in zip(ids, stay.tolist(), strict=True) if here]
        if added:
            block = np.stack([fresh[key] for key in added]).astype(matrix.dtype, copy=False)
            if norms is not None:
                norms = np.concatenate([norms, row_norms(block.reshape(len(block), -1))])
            matrix, ids = np.concatenate([matrix, block]), ids + added
        if not ids:
            return False  # what comes next may be of another shape
        if not ordered:
            place = {key: at for at, key in enumerate(self._store.ids())}
            order = sorted((key in place and place[key], row) for row, key in enumerate(ids))
            rows_now = [row for _, row in order]
            at = np.array(rows_now, np.intp)
            matrix, norms = matrix[at], None if norms is None else norms[at]
            ids = [ids[row] for row in rows_now]
        if gone or added or not ordered:
            self._rows = None
            self._own = True
        self._ids, self._matrix, self._norms = ids, matrix, norms
        return True

    def _places(self) -> dict[str, int]:
        if self._rows is None:
            self._rows = {key: row for row, key in enumerate(self._ids)}
        return self._rows

    def _flat(self) -> Any:
        matrix = self._matrix
        if matrix is None:
            if self._odd is not None:
                raise ShapeError(f"the embeddings of this store cannot be compared: {self._odd}")
            which = "" if self._name is None else f" named {self._name!r}"
            raise MissingEmbedding(f"no document of this store has an embedding{which}")
        if tensors.is_sparse(matrix) or matrix.ndim == 2:
            return matrix
        return matrix.reshape(matrix.shape[0], -1)

    def whole(self, count: int) -> tuple[list[str], Any, Any] | None:
        """Ids, matrix and norms, where each of so many rows has an embedding like the others."""
        with self._lock:
            self._catch_up()
            if self._matrix is None or self._mixed or len(self._ids) != count:
                return None
            self._own = False  # who got it keeps what he saw
            return self._ids, self._matrix, self._kept_norms()

    def _kept_norms(self) -> Array | None:
        if self._norms is None and type(self._matrix) is np.ndarray and self._matrix.dtype.kind == "f":
            self._norms = row_norms(self._flat())
        return self._norms

    def nearest(
        self,
        vectors: Any,
        k: int | None,
        metric: Metric,
        kept: Sequence[str] | None,
        skip: Sequence[str | None] | None,
        batch_size: int | None,
    ) -> list[Found]:
        """See `Store.nearest`; `kept` are the ids to search, None for all."""
        with self._lock:
            self._catch_up()
            matrix, norms, ids, rows = self._flat(), self._kept_norms(), self._ids, self._places()
            self._readers += 1
        try:
            return _nearest(matrix, norms, ids, rows, vectors, k, metric, kept, skip, batch_size)
        finally:
            with self._lock:
                self._readers -= 1


def named_vector(private: Any, name: str) -> Any:
    """The embedding of a name, out of the private data of a document; None where it has none."""
    vectors = private.get("embeddings") if private else None
    return cast("dict[str, Any]", vectors).get(name) if isinstance(vectors, dict) else None


def _nearest(
    matrix: Any,
    norms: Array | None,
    ids: list[str],
    rows: dict[str, int],
    asked: Any,
    k: int | None,
    metric: Metric,
    kept: Sequence[str] | None,
    skip: Sequence[str | None] | None,
    batch_size: int | None,
) -> list[Found]:
    if matrix.shape[1] != asked.shape[1]:
        raise ShapeError(f"the query has {asked.shape[1]} dimensions; the documents have {matrix.shape[1]}")
    if tensors.is_sparse(matrix) != tensors.is_sparse(asked):
        asked = type(matrix.tocsr())(asked) if tensors.is_sparse(matrix) else asked.toarray()
    if kept is not None:
        picked = sorted(rows[key] for key in kept if key in rows)
        if not picked:
            return [([], []) for _ in range(asked.shape[0])]
        at = np.array(picked, np.intp)
        matrix = matrix.tocsr()[at] if tensors.is_sparse(matrix) else matrix[at]
        norms, ids = None if norms is None else norms[at], [ids[row] for row in picked]
        rows = {key: row for row, key in enumerate(ids)}
    left_out = None
    if skip is not None:
        left_out = np.array([-1 if key is None else rows.get(key, -1) for key in skip], np.intp)
    if tensors.is_sparse(matrix):
        matrix = matrix.tocsr()
    numbers, distances = nearest(matrix, asked, k, metric, norms=norms, batch_size=batch_size, skip=left_out)
    found: list[Found] = []
    for near, measured in zip(numbers, distances, strict=True):
        there = near >= 0
        mine: list[int] = near[there].tolist()
        found.append(([ids[row] for row in mine], measured[there].tolist()))
    return found


def _matrix_of(column: Column, kinds: set[str]) -> Any:
    if isinstance(column, UniformTensors):  # on the memory of what was read, without a row of Python
        kinds.add(str(column.data.dtype))
        return column.data
    values = column.values()
    kinds.update(str(getattr(value, "dtype", "list")) for value in values)
    stacked = tensors.stack(values)
    return stacked if tensors.framework(stacked) == "scipy" else tensors.to_numpy(stacked)


def _joined(parts: list[Any]) -> Any:
    if len(parts) < 2:
        return parts[0] if parts else None
    if any(tensors.is_sparse(part) for part in parts):
        sparse: Any = importlib.import_module("scipy.sparse")
        return sparse.vstack([part.tocsr() for part in parts])
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = sorted({str(part.shape[1:]) for part in parts})
        raise ShapeError(f"they are of several shapes: {', '.join(shapes)}")
    return np.concatenate(parts)


class KeptWords(_Kept):
    """The words of one field of a store, in an inverted index.

    Costs one reading of the field at the first search, about 100 000 short texts a second, and 8 bytes a word.
    """

    def __init__(self, store: Store, field: str, index: TextIndex) -> None:
        super().__init__(store)
        self._path = parse_dunder(field)
        self._index = index

    def _texts(self, table: Table) -> list[str]:
        """The texts of these rows; '' where there is none."""
        values = TableValues(table)(self._path, None)
        found = cast("list[object]", values if isinstance(values, list) else values.to_list())
        return [value if isinstance(value, str) else "" for value in found]

    def _read_all(self) -> None:
        index = type(self._index)()
        for table in self._store.scan([str(self._path[0])]):
            index.add_many(table.ids, self._texts(table))
        self._index = index

    def _follow(self, changes: Changes) -> bool:
        store, index = self._store, self._index
        known = store.known(changes.written)
        here = [key for key in changes.written if key in known]
        fresh = dict.fromkeys(changes.written, "")
        for start in range(0, len(here), _BATCH):
            table = store.read(here[start : start + _BATCH], [str(self._path[0])])
            fresh.update(zip(table.ids, self._texts(table), strict=True))
        gone = set(changes.deleted)
        added = [key for key in here if fresh[key] and (key not in index or key in gone)]
        ordered = self._in_order(changes, added, lambda key: key in index and key not in gone)
        order = None if ordered else store.ids()
        # From here on nothing asks the store, so that an error of its leaves the index and the mark as they were.
        for key in changes.deleted:
            index.discard(key)
        index.add_many(fresh, fresh.values())
        if order is not None:
            index.arrange(order)
        return True

    def search(self, texts: Sequence[str], k: int | None, kept: Sequence[str] | None) -> list[Found]:
        """See `Store.search`; `kept` are the ids to search, None for all."""
        with self._lock:
            self._catch_up()
            return [self._index.search(text, k, kept) for text in texts]
