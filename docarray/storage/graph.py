"""An HNSW graph of hnswlib or of usearch, behind one face: vectors by number in, the numbers of the nearest out.

Rule 1: a number is used once. What was removed stays a hole until the graph is made anew: to put another vector in
        its place leaves parts of a graph that no search reaches any more.
Rule 2: a graph knows float32 (or less) and one metric. Its distances are never shown: they choose what is measured.
Rule 3: a vector that float32 cannot hold, or that has no direction where only the direction counts, is not taken.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np

from docarray.errors import BadValue, CorruptData, MissingExtra, StoreError, near_miss
from docarray.nearest import row_norms
from docarray.registry import require
from docarray.tensors import Array

__all__ = ["ENGINES", "LEAST", "METRICS", "MOST", "Graph", "Shape", "engine_named", "prepared"]

METRICS: Final = ("cosine", "euclidean", "inner_product")
"""What a graph can be made for."""

# Norms outside are not for float32: their squares would leave its range.
LEAST: Final = 1e-18
"""Vectors of norms below have no direction that a graph could tell."""
MOST: Final = 1e18
"""Vectors of norms from here on are in no graph."""
_STEP: Final = 8192  # vectors that are prepared together


class Shape:
    """What a graph is made with: width, metric and the three settings of HNSW."""

    __slots__ = ("construction", "dim", "dtype", "links", "metric")
    construction: int
    dim: int
    dtype: str
    links: int
    metric: str

    def __init__(self, dim: int, metric: str, links: int, construction: int, dtype: str) -> None:
        self.dim = dim
        self.metric = metric
        self.links = links
        self.construction = construction
        self.dtype = dtype

    def to_json(self) -> dict[str, Any]:
        """The same as a plain dict."""
        return {name: getattr(self, name) for name in sorted(self.__slots__)}


class Graph(ABC):
    """A graph in memory. It is not thread safe: whoever holds it has a lock."""

    name: ClassVar[str]
    parallel: ClassVar[bool] = False
    """Whether several threads may search at once with the same `ef`, while nobody does anything else with it."""
    ef: int = 0
    """As the last search had it; one with another changes it for all."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    @abstractmethod
    def __len__(self) -> int:
        """Vectors that can be found."""

    @abstractmethod
    def reserve(self, count: int) -> None:
        """Makes room for so many vectors in all, removed ones included."""

    @abstractmethod
    def add(self, vectors: Array, numbers: Array) -> None:
        """Puts (m, dim) float32 vectors, as of `prepared`, under (m,) numbers never used before; on all cores."""

    @abstractmethod
    def remove(self, numbers: Array) -> None:
        """Takes out these numbers; all are in."""

    @abstractmethod
    def search(self, vectors: Array, k: int, ef: int) -> Array | None:
        """The numbers of about the nearest k: (q, k) int64, -1 where fewer were found.

        None where the graph cannot say so many. The order is the order of its own rough distances.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Writes the graph to a new file.

        Raises:
            StoreError: there is no room.
        """

    @abstractmethod
    def load(self, path: Path, live: int) -> None:
        """Reads what `save` wrote: the very bytes, or the process may end. So many of its vectors can be found.

        Raises:
            CorruptData: it cannot be read.
        """


class Hnswlib(Graph):
    """A graph of hnswlib."""

    name = "hnswlib"
    parallel = True

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._index = self._empty()
        self._holes = 0

    def _empty(self) -> Any:
        module: Any = importlib.import_module("hnswlib")
        space = "l2" if self.shape.metric == "euclidean" else "ip"
        return module.Index(space, self.shape.dim)

    def __len__(self) -> int:
        return int(self._index.element_count) - self._holes

    def reserve(self, count: int) -> None:
        room = int(self._index.max_elements)
        if not room:
            shape = self.shape
            self._index.init_index(max(1024, count), M=shape.links, ef_construction=shape.construction)
        elif count > room:
            self._index.resize_index(max(2 * room, count))

    def add(self, vectors: Array, numbers: Array) -> None:
        self.reserve(int(self._index.element_count) + len(numbers))
        self._index.add_items(vectors, numbers)

    def remove(self, numbers: Array) -> None:
        for number in numbers.tolist():
            self._index.mark_deleted(number)
        self._holes += len(numbers)

    def search(self, vectors: Array, k: int, ef: int) -> Array | None:
        if ef != self.ef:
            self._index.set_ef(ef)
            self.ef = ef
        try:
            numbers, _ = self._index.knn_query(vectors, k)
        except RuntimeError:  # fewer than k were reached from where the search began
            return None
        return numbers.view(np.int64)

    def save(self, path: Path) -> None:
        self._index.save_index(os.fspath(path))
        # It does not look whether its writing succeeded.
        if path.stat().st_size != self._index.index_file_size():
            raise StoreError(f"the graph could not be written to {path}: no room left on the disk?")

    def load(self, path: Path, live: int) -> None:
        index = self._empty()
        try:
            index.load_index(os.fspath(path))
        except RuntimeError as error:
            raise CorruptData(f"the graph in {path} cannot be read: {error}") from None
        self._index, self.ef, self._holes = index, 0, int(index.element_count) - live


class Usearch(Graph):
    """A graph of usearch."""

    name = "usearch"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._index = self._empty()

    def _empty(self) -> Any:
        module: Any = importlib.import_module("usearch.index")
        shape = self.shape
        return module.Index(
            ndim=shape.dim,
            metric="l2sq" if shape.metric == "euclidean" else "ip",
            dtype="f16" if shape.dtype == "float16" else "f32",
            connectivity=shape.links,
            expansion_add=shape.construction,
        )

    def __len__(self) -> int:
        return len(self._index)

    def reserve(self, count: int) -> None:
        """It grows by itself."""

    def add(self, vectors: Array, numbers: Array) -> None:
        self._index.add(numbers.astype(np.uint64), vectors)

    def remove(self, numbers: Array) -> None:
        self._index.remove(numbers.astype(np.uint64))

    def search(self, vectors: Array, k: int, ef: int) -> Array | None:
        self._index.expansion_search = max(ef, k)
        found = self._index.search(vectors, k)
        if len(vectors) == 1 and found.keys.ndim == 1:
            keys, counts = found.keys[None, :], np.array([len(found.keys)])
        else:
            keys, counts = found.keys, found.counts
        numbers = np.full((len(vectors), k), -1, np.int64)
        numbers[:, : keys.shape[1]] = keys.astype(np.int64)
        numbers[np.arange(k) >= np.asarray(counts)[:, None]] = -1
        return numbers

    def save(self, path: Path) -> None:
        try:
            self._index.save(os.fspath(path))
        except RuntimeError as error:
            raise StoreError(f"the graph could not be written to {path}: {error}") from None

    def load(self, path: Path, live: int) -> None:
        index = self._empty()
        try:
            index.load(os.fspath(path))
        except (RuntimeError, ValueError) as error:
            raise CorruptData(f"the graph in {path} cannot be read: {error}") from None
        if len(index) != live:
            raise CorruptData(f"the graph in {path} has {len(index)} vectors where {live} were announced")
        self._index = index


ENGINES: Final[dict[str, type[Graph]]] = {"hnswlib": Hnswlib, "usearch": Usearch}
"""Who can make a graph, the first choice first."""

Engine = Literal["hnswlib", "usearch"]


def engine_named(name: str | None) -> type[Graph]:
    """The maker of graphs of that name; of None the first that is installed.

    Raises:
        BadValue: there is none of that name. MissingExtra: it is not installed, or none is.
    """
    if name is not None:
        if name not in ENGINES:
            raise BadValue(f"no engine is called {name!r}. {near_miss(name, ENGINES)}")
        require(name, f"storage 'hnswlib' with engine={name!r}", None)
        return ENGINES[name]
    for kind in ENGINES.values():
        try:
            importlib.import_module(kind.name)
        except ImportError:
            continue
        return kind
    raise MissingExtra(
        "storage 'hnswlib' needs the package hnswlib: pip install hnswlib. It is compiled, which takes a C++ "
        "compiler (apt-get install g++). Without one: pip install usearch, which serves the same store"
    )


def prepared(vectors: Array, metric: str) -> tuple[Array, Array]:
    """Vectors as a graph takes them, and which it takes.

    Args:
        vectors: (m, d) real.
        metric: one of `METRICS`.

    Returns:
        vectors: (m, d) float32, C-contiguous; for cosine of length 1.
        fits: (m,) bool. False for NaN, infinity and magnitudes that float32 cannot hold the squares of, and, for
            cosine, for zeros.

    Costs two passes.

    >>> vectors, fits = prepared(np.array([[3.0, 4.0], [0.0, 0.0]]), "cosine")
    >>> vectors.round(1).tolist(), fits.tolist()
    ([[0.6000000238418579, 0.800000011920929], [0.0, 0.0]], [True, False])
    """
    out = np.empty(vectors.shape, np.float32)
    fits = np.empty(len(vectors), np.bool_)
    with np.errstate(all="ignore"):
        for start in range(0, len(vectors), _STEP):
            part = slice(start, start + _STEP)
            block = vectors[part]
            norms = row_norms(block)
            if metric == "cosine":
                fits[part] = (norms > LEAST) & (norms < MOST)
                out[part] = block / np.where(fits[part], norms, 1.0)[:, None]
            else:
                fits[part] = norms < MOST
                out[part] = block
        out[~fits] = 0
    return out, fits
