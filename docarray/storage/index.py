"""The embeddings of a store in memory and a graph over them: kept true by the store's marks, saved beside it.

Rule 1: the store is the truth, this is a cache. It knows the mark it is true for, asks before each search what
        happened since, and is made anew when that cannot be told, or when its files are damaged.
Rule 2: vectors stand under numbers that are used once; a changed vector gets a new one. What was removed is a hole.
        The graph has the numbers below `_built`, apart from holes and from those that do not fit it (`_loose`).
Rule 3: the graph only proposes. What is said of a hit is measured as everywhere (pairs.py): the same hit has the same
        distance to the last bit. Vectors that do not fit the graph are measured one by one.
Rule 4: who only searches does so beside others, without the lock of the store, as a reader. What others see of the
        graph and of `_ids` changes when no reader is left. A reader never asks for the lock of the store.
Rule 5: files are written under new names, forced to the disk, and then named by one rename. Nobody reads a half.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import uuid
import warnings
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from docarray import tensors
from docarray.columns import Column, UniformTensors
from docarray.distance import Metric, canonical, check_count
from docarray.errors import (
    CorruptData,
    DocArrayError,
    MissingDocument,
    MissingEmbedding,
    ShapeError,
    StoreError,
)
from docarray.nearest import nearest, row_norms
from docarray.pairs import CHUNK_BYTES, Floats, dots, float64, paired, paired_each, paired_one
from docarray.progress import Bar, Show
from docarray.storage.graph import LEAST, MOST, Graph, Shape, prepared
from docarray.store import BATCH, Changes, Found, Store
from docarray.table import Table
from docarray.tensors import Array

try:
    import fcntl
except ImportError:  # no such system call: then two processes that save at once may do it in vain, no more
    fcntl = None

__all__ = ["PREFIX", "Settings", "VectorIndex"]

PREFIX: Final = "hnsw:"
"""What the names of the facts begin with that an index keeps in its store."""

_FORMAT: Final = 1
_STORE, _SAVED, _BEFORE = PREFIX + "store", PREFIX + "saved", PREFIX + "before"
_SMALL: Final = 1000  # so few rows are compared faster than a graph is walked
_MORE: Final = 2  # beyond k, for what rounding has put in the wrong order
_FEW: Final = 64  # hits of one query that are ranked in Python
_CHUNK: Final = 8192  # vectors that go into the graph together
_SAVE_AFTER: Final = 20_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What a graph is made and searched with."""

    kind: type[Graph]
    metric: str
    links: int
    construction: int
    ef: int
    dtype: str
    progress: Show


class VectorIndex:
    """An index of the embeddings of a store.

    Args:
        store: the rows. Its `mark` must say when they changed.
        folder: where the index is saved; None for nowhere.
        settings: how.

    Costs the memory of the embeddings twice: once as they are, once in the graph.
    """

    def __init__(self, store: Store, folder: Path | None, settings: Settings) -> None:
        self._store = store
        self._folder = folder
        self._settings = settings
        self._start()

    @property
    def _lock(self) -> threading.RLock:
        return self._store.turn

    def _start(self) -> None:
        self._pid = os.getpid()
        self._gate = threading.Lock()
        self._readers = 0  # searches that are on the graph now, and hold no other lock; behind the gate
        self._no_readers = threading.Condition(self._gate)
        self._waits = False  # whether somebody waits for that
        self._before: int | None = None
        self._touched: set[str] | None = None  # what was followed inside a transaction that is still open
        self._restarted = False
        self._doubtful: set[str] = set()
        self._looked = self._folder is None
        self._saved_at: int | None = None
        self._changed = 0
        self._forget()

    def _forget(self) -> None:
        self._mark: int | None = None
        self._restarted = True
        self._drop_rows()

    def _drop_rows(self) -> None:
        self._ids: list[str | None] = []
        self._rows: dict[str, int] = {}
        self._matrix: Array | None = None  # (room, *shape)
        self._alive: Array = np.zeros(0, np.bool_)
        self._loose: Array = np.zeros(0, np.bool_)
        self._loose_count = 0
        self._dead = 0
        self._ordered = True  # numbers rise in array order
        self._drop_graph()
        self._seen()

    def _drop_graph(self) -> None:
        self._graph: Graph | None = None
        self._built = 0
        self._squares: Floats = np.zeros(0)  # of the norms of the first `_squared` rows, holes included
        self._squared = 0

    def _seen(self) -> None:
        """Forgets what was derived from the rows."""
        self._order: Array | None = None
        self._loose_order: Array | None = None
        self._whole: tuple[list[str], Array, Floats] | None = None

    # ------------------------------------------------------------------------------------------ readers

    def _wait_for_readers(self) -> None:
        """With the lock of the store, so that no reader comes: until there are none."""
        with self._gate:
            self._waits = True
            while self._readers:
                self._no_readers.wait()
            self._waits = False

    def _leave(self) -> None:
        """A reader goes."""
        with self._gate:
            self._readers -= 1
            if self._waits and not self._readers:
                self._no_readers.notify_all()

    # ------------------------------------------------------------------------------------------ following

    def _enter(self) -> None:
        if os.getpid() != self._pid:
            # A child of fork: who held the lock, or was changing the graph, is not here to finish.
            self._start()

    def begin(self) -> None:
        """A transaction of the store has begun: what is followed from here on may be taken back."""
        self._enter()
        with self._lock:
            self._before, self._touched, self._restarted = self._mark, set(), False

    def end(self, failed: bool) -> None:
        """It is over. Marks of a transaction that failed say nothing: they are given again."""
        with self._lock:
            touched, self._touched = self._touched, None
            if not failed or touched is None:
                return
            if self._restarted or self._before is None:
                self._forget()
            elif self._mark != self._before:
                self._mark = self._before
                self._doubtful |= touched
                self._ordered = False
                self._seen()

    def catch_up(self) -> None:
        """Makes the rows here those of the store. The graph follows when it is searched."""
        store = self._store
        now = store.mark()
        if now == self._mark and not self._doubtful:
            return
        if not self._looked:
            self._looked = True
            self._load(now)
        mark = self._mark
        changes = None
        if mark is not None and now is not None and mark <= now:
            changes = Changes(mark, [], [], False) if mark == now else store.changes(mark)
        if changes is None:
            self._forget()
            self._doubtful.clear()
            self._read_all()
            self._mark = now  # from before the reading: what came in between is seen the next time again
        else:
            self._follow(changes)
            self._doubtful.clear()
            self._mark = changes.mark
        live = len(self._rows)
        if not live and self._ids:
            self._drop_rows()
        elif self._dead > max(live, _SMALL):
            self._compact()

    def _read_all(self) -> None:
        for table in self._store.scan(["embedding"]):
            own, block = _vectors_of(table)
            if block is not None:
                self._append(own, block)

    def _follow(self, changes: Changes) -> None:
        written = changes.written
        if self._doubtful:
            written = list(dict.fromkeys([*written, *self._doubtful]))
        if self._touched is not None:
            self._touched.update(changes.deleted, written)
        self._remove([self._rows[key] for key in dict.fromkeys(changes.deleted) if key in self._rows])
        for start in range(0, len(written), BATCH):
            self._take_up(written[start : start + BATCH])
        if changes.moved:
            self._ordered = False
            self._seen()

    def _take_up(self, ids: Sequence[str]) -> None:
        rows = self._rows
        own, block = _vectors_of(self._read(ids))
        have = set(own)
        self._remove([rows[key] for key in ids if key in rows and key not in have])
        if block is None:
            return
        if self._matrix is not None and rows:
            self._check(block)
            numbers = np.array([rows.get(key, -1) for key in own], np.intp)
            known = np.flatnonzero(numbers >= 0)
            if len(known):
                old = self._matrix[numbers[known]].reshape(len(known), -1)
                same = (old == block[known].reshape(len(known), -1)).all(axis=1)
                self._remove(numbers[known[~same]].tolist())
                if not same.all():
                    self._ordered = False
                fresh = np.ones(len(own), np.bool_)
                fresh[known[same]] = False
                at = np.flatnonzero(fresh)
                own, block = [own[row] for row in at.tolist()], block[at]
        if own:
            self._append(own, block)

    def _read(self, ids: Sequence[str]) -> Table:
        while True:
            known = self._store.known(ids)
            try:
                return self._store.read([key for key in ids if key in known], ["embedding"])
            except MissingDocument:  # somebody deleted one between the two calls
                continue

    def _check(self, block: Array) -> None:
        matrix = cast("Array", self._matrix)
        if block.shape[1:] != matrix.shape[1:] or block.dtype != matrix.dtype:
            kinds = sorted({f"{part.dtype} {part.shape[1:]}" for part in (block, matrix)})
            raise ShapeError(
                "the embeddings of this store cannot be compared: they are of several shapes or dtypes: "
                + ", ".join(kinds)
            )

    def _append(self, ids: list[str], block: Array) -> None:
        start, stop = len(self._ids), len(self._ids) + len(ids)
        if not self._rows:  # whatever was here, the next may be of another shape
            self._drop_rows()
            start, stop = 0, len(ids)
        if self._matrix is None:
            self._matrix = np.empty((max(64, stop), *block.shape[1:]), block.dtype)
            self._alive = np.zeros(len(self._matrix), np.bool_)
            self._loose = np.zeros(len(self._matrix), np.bool_)
        self._check(block)
        if stop > len(self._matrix):
            room = max(2 * len(self._matrix), stop)
            self._matrix = _wider(self._matrix, start, room)
            self._alive = _wider(self._alive, start, room)
            self._loose = _wider(self._loose, start, room)
        self._matrix[start:stop] = block
        self._alive[start:stop] = True
        self._loose[start:stop] = False
        self._ids += ids
        self._rows.update(zip(ids, range(start, stop), strict=True))
        self._changed += len(ids)
        self._seen()

    def _remove(self, numbers: list[int]) -> None:
        if not numbers:
            return
        self._wait_for_readers()
        at = np.array(numbers, np.intp)
        self._alive[at] = False
        for number in numbers:
            del self._rows[cast("str", self._ids[number])]
            self._ids[number] = None
        in_graph = at[(at < self._built) & ~self._loose[at]]
        if self._graph is not None and len(in_graph):
            self._graph.remove(in_graph)
        self._loose_count -= int(self._loose[at].sum())
        self._loose[at] = False
        self._dead += len(numbers)
        self._changed += len(numbers)
        self._seen()

    def _compact(self) -> None:
        """The rows without holes, in array order; the graph will be made anew."""
        order = self._in_order()
        ids, matrix = (
            [cast("str", self._ids[row]) for row in order.tolist()],
            cast("Array", self._matrix)[order],
        )
        self._drop_rows()
        self._append(ids, matrix)

    # ------------------------------------------------------------------------------------------ the graph

    def build(self) -> None:
        """Puts into the graph what it lacks."""
        start, stop = self._built, len(self._ids)
        if start == stop:
            return
        settings, matrix = self._settings, self._flat()
        self._wait_for_readers()
        if self._graph is None:
            shape = Shape(
                matrix.shape[1], settings.metric, settings.links, settings.construction, settings.dtype
            )
            self._graph = settings.kind(shape)
        self._graph.reserve(stop)
        with Bar("indexing vectors", stop - start, show=settings.progress) as bar:
            while start < stop:
                end = min(stop, start + _CHUNK)
                numbers = np.arange(start, end)[self._alive[start:end]]
                vectors, fits = prepared(matrix[numbers], settings.metric)
                if fits.all():
                    self._graph.add(vectors, numbers)
                else:
                    self._loose[numbers[~fits]] = True
                    self._loose_count += int((~fits).sum())
                    self._loose_order = None
                    if fits.any():
                        self._graph.add(vectors[fits], numbers[fits])
                bar.step(end - start)
                self._built = start = end

    def _square(self, flat: Array) -> None:
        """Squares the norms of all that the graph has."""
        start, stop = self._squared, self._built
        if len(self._squares) < stop:
            self._squares = _wider(self._squares, start, len(flat))
        step = max(1, CHUNK_BYTES // (8 * flat.shape[1]))
        with np.errstate(all="ignore"):  # holes may be of any size
            for at in range(start, stop, step):
                rows = float64(flat[at : min(stop, at + step)])
                self._squares[at : at + len(rows)] = dots(rows, rows)
        self._squared = stop

    def _flat(self) -> Array:
        matrix = self._matrix
        if matrix is None or not self._rows:
            raise MissingEmbedding("no document of this store has an embedding")
        return matrix if matrix.ndim == 2 else matrix.reshape(len(matrix), -1)

    def _in_order(self) -> Array:
        """The numbers of all rows, in array order."""
        if self._order is None:
            if self._ordered:
                self._order = np.flatnonzero(self._alive[: len(self._ids)])
            else:
                rows = self._rows
                self._order = np.array([rows[key] for key in self._store.ids() if key in rows], np.intp)
                self._ordered = bool((self._order[1:] > self._order[:-1]).all())
        return self._order

    def _all(self) -> tuple[list[str], Array, Floats]:
        """Ids, matrix (n, *shape) and norms in array order."""
        if self._whole is None:
            flat, order = self._flat(), self._in_order()
            if self._ordered and not self._dead:
                ids = cast("list[str]", self._ids.copy())
                matrix = cast("Array", self._matrix)[: len(ids)]
            else:
                ids = [cast("str", self._ids[row]) for row in order.tolist()]
                matrix = cast("Array", self._matrix)[order]
            norms = row_norms(matrix.reshape(len(matrix), flat.shape[1]))
            self._whole = ids, matrix, norms
        return self._whole

    def count(self) -> int:
        """How many rows have an embedding."""
        self._enter()
        with self._lock:
            self.catch_up()
            return len(self._rows)

    def whole(self, count: int) -> tuple[list[str], Any, Any] | None:
        """Ids, matrix and norms, where each of so many rows has an embedding."""
        self._enter()
        with self._lock:
            self.catch_up()
            if not self._rows or len(self._rows) != count:
                return None
            ids, matrix, norms = self._all()
            return ids, matrix, norms

    # ------------------------------------------------------------------------------------------ searching

    def nearest(
        self,
        now: int,
        vectors: Any,
        k: int | None,
        metric: Metric,
        kept: Sequence[str] | None,
        skip: Sequence[str | None] | None,
        batch_size: int | None,
    ) -> list[Found]:
        """See `Store.nearest`; `now` is the mark of the store, `kept` are the ids to search, in array order."""
        kind = canonical(metric)
        asked: Array = np.asarray(vectors.toarray() if tensors.is_sparse(vectors) else vectors)
        wanted = None if k is None else check_count(k, "k")
        self._enter()
        if kept is skip is None and wanted is not None and len(asked):
            found = self._beside(now, asked, wanted, kind)
            if found is not None:
                return found
        with self._lock:
            self._see(now, asked)
            allowed = None
            if kept is not None:
                rows = self._rows
                allowed = np.array([rows[key] for key in kept if key in rows], np.intp)
                if not len(allowed):
                    return [([], []) for _ in range(len(asked))]
            left_out = None
            if skip is not None:
                left_out = np.array([-1 if key is None else self._rows.get(key, -1) for key in skip], np.intp)
            if wanted is not None and self._serves(kind, wanted, allowed, len(asked) > 4):
                self.build()
                found = self._by_graph(asked, wanted, kind, allowed, left_out)
                self._save_if_due()
                return found
            return self._exactly(asked, k, metric, allowed, left_out, batch_size)

    def _see(self, now: int, asked: Array) -> Array:
        """Catches up, and gives the matrix that these vectors are compared with."""
        if now != self._mark or self._doubtful:
            self.catch_up()
        flat = self._flat()
        if asked.shape[1] != flat.shape[1]:
            raise ShapeError(f"the query has {asked.shape[1]} dimensions; the documents have {flat.shape[1]}")
        return flat

    def _beside(self, now: int, asked: Array, k: int, kind: Metric) -> list[Found] | None:
        """What `_by_graph` says, beside other searches; None where there is more to it."""
        with self._lock:
            flat = self._see(now, asked)
            if not self._serves(kind, k, None, False):
                return None
            if self._built != len(self._ids):
                self.build()
                self._save_if_due()
            graph, ef = cast("Graph", self._graph), self._settings.ef
            if self._loose_count or not graph.parallel:
                return None
            if self._squared < self._built:
                self._square(flat)
            if graph.ef != ef:
                self._wait_for_readers()
            with self._gate:
                self._readers += 1
            ids, ordered, known = cast("list[str]", self._ids), self._ordered, self._squares
        try:
            return self._plainly(graph, flat, known, ids, asked, k, str(kind), ordered)
        finally:
            self._leave()

    def _serves(self, kind: Metric, k: int, allowed: Array | None, many: bool) -> bool:
        """Whether the graph is the faster way."""
        mine = self._settings.metric
        if kind != mine and not (kind == "sqeuclidean" and mine == "euclidean"):
            return False
        n = len(self._rows)
        if allowed is None:
            return n > _SMALL and 4 * k < n
        # The graph is asked for as many more as the filter takes away. To look at one of them takes as long as to
        # compare some 4 rows with one query, or some 30 with each of many, which is a product of matrices.
        count = len(allowed)
        return 4 * k < count and count > (30 if many else 4) * max(k, self._settings.ef) * (n / count)

    def _exactly(
        self,
        asked: Array,
        k: int | None,
        metric: Metric,
        allowed: Array | None,
        left_out: Array | None,
        batch_size: int | None,
    ) -> list[Found]:
        norms = None
        if allowed is None:
            _, matrix, norms = self._all()
            numbers = self._in_order()
            matrix = matrix.reshape(len(matrix), -1)
        else:
            numbers, matrix = allowed, self._flat()[allowed]
        skip = None
        if left_out is not None:
            wanted = {number for number in left_out.tolist() if number >= 0}
            at = np.flatnonzero(np.isin(numbers, list(wanted))) if wanted else np.zeros(0, np.intp)
            place = dict(zip(numbers[at].tolist(), at.tolist(), strict=True))
            skip = np.array([place.get(number, -1) for number in left_out.tolist()], np.intp)
        rows, distances = nearest(matrix, asked, k, metric, norms=norms, batch_size=batch_size, skip=skip)
        ids = self._ids
        found: list[Found] = []
        for near, values in zip(rows, distances.tolist(), strict=True):
            if len(near) and near[-1] < 0:
                near, values = near[:-1], values[:-1]
            found.append(([cast("str", ids[number]) for number in numbers[near].tolist()], values))
        return found

    def _plainly(
        self,
        graph: Graph,
        flat: Array,
        known: Floats,
        ids: list[str],
        asked: Array,
        k: int,
        kind: str,
        ordered: bool,
    ) -> list[Found] | None:
        """Where nothing is filtered, left out or loose."""
        settings = self._settings
        queries = asked.astype(np.float64, order="C")
        squares = dots(queries, queries)
        if len(asked) == 1:
            size = math.sqrt(squares[0])
            if not LEAST < size < MOST:
                return None
            vectors = (queries / size if settings.metric == "cosine" else queries).astype(np.float32)
        else:
            vectors, fits = prepared(asked, settings.metric)
            if not fits.all():
                return None
        numbers = graph.search(vectors, k + _MORE, settings.ef)
        if numbers is None:
            return None
        if len(asked) == 1 and k <= _FEW:
            (row,) = numbers
            rows = flat.take(row, 0).astype(np.float64)
            far = paired_one(rows, cast("list[float]", known[row].tolist()), queries, float(squares[0]), kind)
            pairs = sorted(zip(far, row.tolist(), strict=True))  # of equals the lower number first
            if not ordered and len(set(far)) < len(far):
                return None
            del pairs[k:]
            return [([ids[number] for _, number in pairs], [value for value, _ in pairs])]
        # The same by a stable sort of what stands in order.
        numbers.sort(axis=1)
        count, width = numbers.shape
        measured = np.empty((count, width))
        step = max(1, CHUNK_BYTES // (8 * width * flat.shape[1]))
        for start in range(0, count, step):
            part = slice(start, start + step)
            near = numbers[part]
            rows = flat[near].astype(np.float64)
            measured[part] = paired_each(rows, known[near], queries[part], squares[part], kind)
        order = measured.argsort(axis=1, kind="stable")[:, : k + 1]
        measured = np.take_along_axis(measured, order, 1)
        if not ordered and bool((measured[:, 1:] == measured[:, :-1]).any()):
            return None
        every = map(ids.__getitem__, np.take_along_axis(numbers, order[:, :k], 1).ravel().tolist())
        return [(list(islice(every, k)), values) for values in measured[:, :k].tolist()]

    def _by_graph(
        self, asked: Array, k: int, kind: Metric, allowed: Array | None, left_out: Array | None
    ) -> list[Found]:
        graph, settings, count = cast("Graph", self._graph), self._settings, len(asked)
        vectors, fits = prepared(asked, settings.metric)
        share = 1.0 if allowed is None else len(allowed) / len(self._rows)
        more = (1.0 if share == 1.0 else 1.5) / share
        ask = min(math.ceil((k + (left_out is not None)) * more) + _MORE, len(graph))
        numbers, ef = None, max(ask, math.ceil(settings.ef * more))
        if graph.ef != ef:
            self._wait_for_readers()
        if ask and fits.all():
            numbers = graph.search(vectors, ask, ef)
        elif ask and fits.any():
            part = graph.search(vectors[fits], ask, ef)
            if part is not None:
                numbers = np.full((count, ask), -1, np.int64)
                numbers[fits] = part
        if numbers is None:
            return self._exactly(asked, k, kind, allowed, left_out, None)
        mask = None
        if allowed is not None:
            mask = np.zeros(len(self._ids) + 1, np.bool_)  # the last is for -1
            mask[allowed] = True
        if self._loose_count:
            numbers = self._with_loose(numbers, asked, k, kind, mask)
        # Of equals the lower number first: a stable sort of what stands in order.
        numbers.sort(axis=1)
        distances = self._measured(numbers, float64(asked), str(kind))
        good = numbers >= 0
        if mask is not None:
            good &= mask[numbers]
        if left_out is not None:
            good &= numbers != left_out[:, None]
        plain = bool(good.all())
        if not plain:
            distances[~good] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")
        if not plain:  # NaN sorts behind infinity, and is an answer
            order = np.take_along_axis(
                order, np.argsort(~np.take_along_axis(good, order, 1), axis=1, kind="stable"), 1
            )
        numbers, distances = np.take_along_axis(numbers, order, 1), np.take_along_axis(distances, order, 1)
        hits = good.sum(axis=1).tolist()
        candidates = len(self._rows) if allowed is None else len(allowed)
        found: list[Found] = []
        again: list[int] = []
        for row, (near, values) in enumerate(zip(numbers.tolist(), distances.tolist(), strict=True)):
            least = min(k, candidates - (left_out is not None and left_out[row] >= 0))
            if hits[row] < least or not fits[row]:
                again.append(row)
                found.append(([], []))
                continue
            near, values = near[: hits[row]], values[: hits[row]]
            if not self._ordered:
                near = self._ties(near, values, k)
            found.append(([cast("str", self._ids[number]) for number in near[:k]], values[:k]))
        if again:
            # Fewer than there are: the graph did not reach them. Or zeros, which are as far from all.
            skip = None if left_out is None else left_out[again]
            exact = self._exactly(asked[again], k, kind, allowed, skip, None)
            for row, pair in zip(again, exact, strict=True):
                found[row] = pair
        return found

    def _with_loose(self, numbers: Array, asked: Array, k: int, kind: Metric, mask: Array | None) -> Array:
        """With the nearest of those that the graph does not have."""
        if self._loose_order is None:
            order = self._in_order()
            self._loose_order = order[self._loose[order]]
        at = self._loose_order
        if mask is not None:
            at = at[mask[at]]
        if not len(at):
            return numbers
        near, _ = nearest(self._flat()[at], asked, k + 1, kind)
        return np.concatenate([numbers, at[near]], axis=1)

    def _measured(self, numbers: Array, queries: Floats, kind: str) -> Floats:
        """The distances of these rows to their queries, by the formula of pairs.py."""
        flat = self._flat()
        count, width = numbers.shape
        if count == 1:
            return paired(float64(flat[numbers[0]]), queries, kind)[None]
        out = np.empty((count, width))
        step = max(1, CHUNK_BYTES // (8 * width * max(1, flat.shape[1])))
        for start in range(0, count, step):
            part = slice(start, start + step)
            block = numbers[part]
            rows = float64(flat[block.ravel()])
            out[part] = paired(rows, np.repeat(queries[part], width, axis=0), kind).reshape(block.shape)
        return out

    def _ties(self, near: list[int], values: list[float], k: int) -> list[int]:
        """Of equals the first in the array first."""
        if len(set(values[: k + 1])) == len(values[: k + 1]):
            return near
        place = {number: self._store.position(cast("str", self._ids[number])) for number in near}
        pairs = sorted(range(len(near)), key=lambda i: (values[i] != values[i], values[i], place[near[i]]))
        return [near[i] for i in pairs]

    # ------------------------------------------------------------------------------------------ saving

    def sync(self) -> None:
        """Builds and saves what is not.

        Raises:
            StoreError: it could not be written.
        """
        self._enter()
        with self._lock:
            self.catch_up()
            if len(self._rows) > _SMALL:
                self.build()
            self._save()

    def close(self) -> None:
        """Saves what is here; a failure is a warning, for nothing is lost by it."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._changed:
                self._try_to_save()
            self._forget()

    def abandon(self) -> None:
        """Forgets what is here, and where it was saved."""
        with self._lock:
            self._folder = None
            self._forget()

    def _save_if_due(self) -> None:
        if self._changed > _SAVE_AFTER and 4 * self._changed > len(self._rows):
            self._try_to_save()

    def _try_to_save(self) -> None:
        try:
            self._save()
        except (OSError, DocArrayError) as error:
            self._changed = 0  # the next try comes after as many changes again
            warnings.warn(
                f"the vector index was not saved to {self._folder}: {error}. It is made anew the next time",
                RuntimeWarning,
                stacklevel=3,
            )

    def _save(self) -> None:
        folder, mark = self._folder, self._mark
        if folder is None or mark is None or self._touched is not None or not self._changed:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder, write=True):
                try:
                    self._write(folder, mark)
                except BaseException:
                    _tidy(folder)  # what was written of it would take the last room on a full disk
                    raise
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"the vector index could not be written to {folder}: {error}") from error
        self._changed = 0

    def _write(self, folder: Path, mark: int) -> None:
        facts = self._store.meta()
        store = facts.get(_STORE, b"").decode() or uuid.uuid4().hex
        there = _current(folder)
        tokens = {facts.get(name, b"").decode() for name in (_SAVED, _BEFORE)}
        if (
            there is not None
            and there["store"] == store
            and there["token"] in tokens
            and there["mark"] > mark
        ):
            return  # another process was further
        token = uuid.uuid4().hex
        files: dict[str, list[int]] = {}
        count = len(self._ids)
        if self._graph is not None:
            path = folder / f"graph-{token}"
            self._graph.save(path)
            files[path.name] = _forced(path)
        matrix = None if self._matrix is None else np.ascontiguousarray(self._matrix[:count])
        if matrix is not None:
            path = folder / f"vectors-{token}"
            matrix.tofile(path)
            files[path.name] = _forced(path)
        path = folder / f"ids-{token}"
        path.write_bytes(self._packed_ids())
        files[path.name] = _forced(path)
        settings = self._settings
        body = {
            "format": _FORMAT,
            "store": store,
            "token": token,
            "mark": mark,
            "engine": settings.kind.name,
            "graph": None if self._graph is None else self._graph.shape.to_json(),
            "shape": None if matrix is None else list(matrix.shape),
            "dtype": None if matrix is None else matrix.dtype.str,
            "built": self._built,
            "ordered": self._ordered,
            "files": files,
        }
        text = json.dumps(body)
        # The store knows which files are its own. Named before they are current, together with those that are: a
        # copy of the store put back from yesterday does not take today's files for true, nor does a kill cost them.
        self._store.meta(
            {
                _STORE: store.encode(),
                _SAVED: token.encode(),
                _BEFORE: b"" if there is None else there["token"].encode(),
            }
        )
        path = folder / f"current-{token}"
        path.write_text(f"{zlib.crc32(text.encode())}\n{text}", encoding="utf-8")
        _forced(path)
        os.replace(path, folder / "current")
        _force_folder(folder)
        _tidy(folder)

    def _packed_ids(self) -> bytes:
        encoded = [b"" if key is None else key.encode("utf-8", "surrogatepass") for key in self._ids]
        count = len(encoded)
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, count), dtype=np.int64)
        return b"".join(
            [ends.tobytes(), self._alive[:count].tobytes(), self._loose[:count].tobytes(), *encoded]
        )

    def _load(self, now: int | None) -> None:
        """Takes up what was saved, if it is this store's, whole, and not from its future."""
        folder = self._folder
        if folder is None or now is None or not (folder / "current").exists():
            return
        facts = self._store.meta()
        tokens = {facts[name].decode() for name in (_SAVED, _BEFORE) if facts.get(name)}
        try:
            with _locked(folder, write=False):
                body = _current(folder)
                if (
                    body is None
                    or body["format"] != _FORMAT
                    or body["store"].encode() != facts.get(_STORE)
                    or body["token"] not in tokens
                    or body["mark"] > now
                ):
                    return
                self._read_files(folder, body)
        except (CorruptData, OSError, KeyError, ValueError):  # damaged: the store has all that is needed
            self._forget()

    def _read_files(self, folder: Path, body: dict[str, Any]) -> None:
        token, files = body["token"], body["files"]
        for name, (size, crc) in files.items():
            if _measure(folder / name) != [size, crc]:
                raise CorruptData(f"{name} is damaged")
        if body["shape"] is not None:
            raw = (folder / f"ids-{token}").read_bytes()
            count = body["shape"][0]
            ends = np.frombuffer(raw, np.int64, count)
            alive = np.frombuffer(raw, np.bool_, count, 8 * count).copy()
            loose = np.frombuffer(raw, np.bool_, count, 9 * count).copy()
            text = raw[10 * count :]
            edges = [0, *ends.tolist()]
            if text.isascii():
                whole = text.decode("ascii")
                ids = [whole[a:b] for a, b in pairwise(edges)]
            else:
                ids = [text[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(edges)]
            matrix = np.memmap(folder / f"vectors-{token}", body["dtype"], "c", shape=tuple(body["shape"]))
            self._matrix, self._alive, self._loose = np.asarray(matrix), alive, loose
            self._ids = [key if here else None for key, here in zip(ids, alive.tolist(), strict=True)]
            self._rows = {key: row for row, key in enumerate(self._ids) if key is not None}
            self._dead = count - len(self._rows)
            self._ordered = body["ordered"]
            settings = self._settings
            dim = math.prod(body["shape"][1:])
            shape = Shape(dim, settings.metric, settings.links, settings.construction, settings.dtype)
            if body["engine"] == settings.kind.name and body["graph"] == shape.to_json():
                graph = settings.kind(shape)
                built: int = body["built"]
                graph.load(folder / f"graph-{token}", int((alive & ~loose)[:built].sum()))
                self._graph, self._built = graph, built
                self._loose_count = int(loose.sum())
            else:
                self._loose[:] = False
        self._mark, self._changed = body["mark"], 0
        self._seen()


def _vectors_of(table: Table) -> tuple[list[str], Array | None]:
    """The ids of the rows that have an embedding, and the matrix of these."""
    column = table.columns.get("embedding")
    if column is None:
        return [], None
    own, present = table.ids, column.present
    if present is not None and not present.all():
        rows = np.flatnonzero(present)
        own, column = [own[row] for row in rows.tolist()], column.take(rows)
    return (own, _matrix_of(column)) if own else ([], None)


def _matrix_of(column: Column) -> Array:
    if isinstance(column, UniformTensors):
        return column.data
    try:
        return tensors.to_numpy(tensors.stack(column.values()))
    except ShapeError as error:
        raise ShapeError(f"the embeddings of this store cannot be compared: {error}") from None


def _wider(array: Array, used: int, room: int) -> Array:
    wide = np.empty((room, *array.shape[1:]), array.dtype)
    wide[:used] = array[:used]
    return wide


@contextlib.contextmanager
def _locked(folder: Path, *, write: bool) -> Generator[None]:
    """Alone with the files of a folder, or among readers; others wait."""
    with (folder / "lock").open("ab") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
        yield


def _current(folder: Path) -> dict[str, Any] | None:
    """What the folder says of its files; None where it says nothing that can be trusted."""
    try:
        check, _, text = (folder / "current").read_text(encoding="utf-8").partition("\n")
        if not check.isascii() or check != str(zlib.crc32(text.encode())):
            return None
        return json.loads(text)
    except (OSError, ValueError):
        return None


def _tidy(folder: Path) -> None:
    """Removes files that are not those of what is current."""
    there = _current(folder)
    kept = () if there is None else there["files"]
    for kind in ("graph", "vectors", "ids", "current"):
        for old in folder.glob(f"{kind}-*"):
            if old.name not in kept:
                old.unlink(missing_ok=True)


def _measure(path: Path) -> list[int]:
    """Size and checksum of a file."""
    size = crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
            size += len(block)
    return [size, crc]


def _forced(path: Path) -> list[int]:
    """Forces a file to the disk; its size and checksum."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return _measure(path)


def _force_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
