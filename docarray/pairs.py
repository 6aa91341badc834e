"""The one formula of each native metric: row i of one matrix against row i of another, in float64.

Rule 1: smaller is nearer, for every metric; an inner product is turned into `1 - x.y`.
Rule 2: the bits of a distance depend on its two rows alone, not on which other pairs are computed with it.
        All that ranks by distance ends here, so a ranking does not depend on how the work was cut up.
Rule 3: a vector of zeros has no direction: its cosine distance is exactly 1, to everything, itself included.
Rule 4: NaN stands for every distance that is not a finite number; it ranks last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "NATIVE",
    "Dense",
    "Floats",
    "Positions",
    "Sought",
    "Sparse",
    "dots",
    "in_range",
    "is_dense",
    "paired",
    "paired_each",
    "paired_one",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Positions: TypeAlias = npt.NDArray[np.intp]
Mask: TypeAlias = npt.NDArray[np.bool_]

NATIVE = ("cosine", "euclidean", "inner_product", "sqeuclidean")
# Squared norms outside this range may have lost digits to underflow, or all of them to overflow, and the
# product of two of them surely would. It is far wider than what the squares of any float32 can reach.
_SQUARES = (1e-150, 1e150)
# Of the rows that are measured together: they, and what is made of them on the way, stay in the cache.
CHUNK_BYTES = 1 << 19
# Longer sums are made of parts, so that a row always fits the buffer of numpy's iterator and is never cut at
# a place that depends on its neighbours.
_PART = 4096


def paired(x: Any, y: Any, metric: str) -> Floats:
    """The distance of row i of `x` to row i of `y`.

    Args:
        x: (n, d) float64, C-contiguous, or csr.
        y: (n, d) of the same kind; as an ndarray it may be (1, d).
        metric: one of `NATIVE`.

    Returns:
        (n,) float64; NaN where float64 cannot hold it, or where a row has NaN or infinity in it.

    Costs one or two temporaries of the size of `x`.

    >>> paired(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[0.0, 0.0]]), "euclidean").tolist()
    [5.0, 0.0]
    """
    with np.errstate(all="ignore"):
        if metric in ("euclidean", "sqeuclidean"):
            # The difference itself: |x|^2 + |y|^2 - 2xy would lose every digit of two vectors close together.
            difference = x - y
            distances = dots(difference, difference)
            if metric == "euclidean":
                np.sqrt(distances, out=distances)
        elif metric == "inner_product":
            distances = 1.0 - dots(x, y)
        else:
            x, xx = in_range(x)
            y, yy = in_range(y)
            # One root of the product, not two roots: a row compared with itself is then at exactly 0.
            roots = np.sqrt(xx * yy)
            distances = 1.0 - dots(x, y) / np.where(roots == 0, 1.0, roots)
            np.clip(distances, 0.0, 2.0, out=distances)
    distances[~np.isfinite(distances)] = np.nan
    return distances


def paired_each(rows: Floats, xx: Floats, queries: Floats, yy: Floats, metric: str) -> Floats:
    """The distance of each query to its own few rows: the bits of `paired`, without its looks at each number.

    Args:
        rows: (q, k, d) float64, C-contiguous; all norms below 1e18, for cosine above 1e-18 too.
        xx: (q, k) what `dots` of each row with itself is; only for cosine is it looked at.
        queries: (q, d) float64, C-contiguous; of such norms.
        yy: (q,) the same of the queries.
        metric: one of `NATIVE`.

    Returns:
        (q, k) float64.

    Costs one temporary of the size of `rows` for the euclidean metrics, else none.

    >>> rows, queries = np.array([[[3.0, 4.0], [0.0, 1.0]]]), np.array([[0.0, 1.0]])
    >>> paired_each(rows, np.array([[25.0, 1.0]]), queries, np.array([1.0]), "cosine").round(3).tolist()
    [[0.2, 0.0]]
    """
    count, width, d = rows.shape
    if d > _PART:
        return paired(rows.reshape(-1, d), np.repeat(queries, width, axis=0), metric).reshape(count, width)
    if metric in ("euclidean", "sqeuclidean"):
        difference = rows - queries[:, None]
        distances: Floats = np.einsum("ijk,ijk->ij", difference, difference)
        return np.sqrt(distances, out=distances) if metric == "euclidean" else distances
    distances = np.einsum("ijk,ik->ij", rows, queries)
    if metric == "inner_product":
        return np.subtract(1.0, distances, out=distances)
    distances /= np.sqrt(xx * yy[:, None])
    np.subtract(1.0, distances, out=distances)
    np.maximum(distances, 0.0, out=distances)
    return np.minimum(distances, 2.0, out=distances)


def paired_one(rows: Floats, xx: Sequence[float], query: Floats, yy: float, metric: str) -> list[float]:
    """As `paired_each` for one query, (1, d), and rows (k, d): for few of them numbers of Python are faster."""
    if rows.shape[1] > _PART or metric in ("euclidean", "sqeuclidean"):
        return paired_each(rows[None], np.array([xx]), query, np.array([yy]), metric)[0].tolist()
    products: list[float] = np.einsum("ij,ij->i", rows, query).tolist()
    if metric == "inner_product":
        return [1.0 - product for product in products]
    return [
        0.0 if (far := 1.0 - product / math.sqrt(square * yy)) < 0.0 else 2.0 if far > 2.0 else far
        for product, square in zip(products, xx, strict=True)
    ]


def is_dense(x: Any) -> bool:
    """Whether `x` is an ndarray; otherwise it is taken for a sparse one.

    >>> is_dense(np.eye(2))
    True
    """
    return isinstance(x, np.ndarray)


def float64(array: Any) -> Floats:
    """A dense C-contiguous float64 copy of an ndarray or sparse array, or the array itself if it is that."""
    dense: Any = array if is_dense(array) else array.toarray()
    return np.ascontiguousarray(dense, dtype=np.float64)


def dots(x: Any, y: Any) -> Floats:
    """The inner product of row i of `x` and row i of `y`; shapes as for `paired`.

    >>> dots(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])).tolist()
    [11.0]
    """
    if not is_dense(x):
        return _sparse_dots(x, y)
    width: int = x.shape[1]
    total: Floats = np.einsum("ij,ij->i", x[:, :_PART], y[:, :_PART])
    for start in range(_PART, width, _PART):
        total += np.einsum("ij,ij->i", x[:, start : start + _PART], y[:, start : start + _PART])
    return total


def in_range(x: Any) -> tuple[Any, Floats]:
    """`x` and its squared norms; rows whose squares would leave float64 are scaled by a power of 2 first.

    The direction of a row is all that cosine needs, and such a scaling keeps it. Only rows of zeros are left
    with a norm of 0.

    >>> x, squares = in_range(np.array([[3e-200, 4e-200], [3.0, 4.0]]))
    >>> bool(squares[0] > 0.1), squares[1].tolist()
    (True, 25.0)
    """
    squares = dots(x, x)
    low, high = _SQUARES
    if ((squares > low) & (squares < high)).all():
        return x, squares
    # Of the whole matrix: the usual row of zeros has the exponent 0, and others keep theirs where they can.
    peaks = _peaks(x)
    odd = ~((squares > low) & (squares < high))
    exponents = np.where(odd, -np.frexp(peaks)[1], 0)
    if is_dense(x):
        x = np.ldexp(x, exponents[:, None])
    else:
        x = x.copy()
        x.data = np.ldexp(x.data, np.repeat(exponents, np.diff(x.indptr)))
    return x, dots(x, x)


class Sought:
    """The queries as a search multiplies with them.

    Attributes:
        queries: (q, d) float64, or csr; for cosine of length 1, or of zeros.
        sizes: (q,) their norms; NaN or infinity for a query that has no such number.
    """

    queries: Any
    sizes: Floats

    def __init__(self, queries: Any, metric: str) -> None:
        self.metric = metric
        self.queries = queries
        self.sizes = np.sqrt(dots(queries, queries))
        if metric == "cosine":
            queries, squares = in_range(queries)
            factors = 1.0 / np.sqrt(np.where(squares == 0, 1.0, squares))
            self.queries = _times(queries, factors)
            self.sizes = np.where(squares == 0, 0.0, squares / squares)


class Dense:
    """An ndarray to search in and the queries, in the forms that a search wants them."""

    def __init__(self, matrix: npt.NDArray[Any], queries: Any) -> None:
        self.matrix = matrix
        self.queries: Floats = float64(queries)
        # float32 only where it holds every value: a search reckons with rounded sums, not with rounded rows.
        exact = np.can_cast(matrix.dtype, np.float32)
        self.dtype: np.dtype[Any] = np.dtype(np.float32 if exact else np.float64)
        self.group_limit: int = len(self.queries)

    def block(self, start: int, stop: int, dtype: np.dtype[Any]) -> Any:
        """Rows one after the other, for a matrix product."""
        return self.matrix[start:stop].astype(dtype, copy=False)

    def columns(self, queries: Floats, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Queries as the right side of that product."""
        return queries.astype(dtype).T

    def squares(self, block: Any) -> npt.NDArray[Any]:
        """Squared norms in the precision of the block."""
        return np.einsum("ij,ij->i", block, block)

    def take(self, rows: slice | Positions) -> Floats:
        """Rows in float64, for `against`."""
        return float64(self.matrix[rows])

    def against(self, rows: Floats, at: Positions, metric: str) -> Floats:
        """The distance of taken row i to query at[i], or to the one query there is in `at`."""
        return paired(rows, self.queries[at], metric)

    def flaws(self, block: Any) -> tuple[Mask, Mask]:
        """Which rows have NaN or infinity, and which have nothing but zeros."""
        return ~np.isfinite(block).all(axis=1), ~block.any(axis=1)

    def keys(self, block: Any) -> Iterator[bytes]:
        """Of each row; the same for equal rows only, as far as a cryptographic digest can tell."""
        return (blake2b(row.tobytes()).digest() for row in block)


class Sparse:
    """A scipy.sparse matrix to search in and the queries: the same face as `Dense`."""

    matrix: Any
    queries: Any

    def __init__(self, matrix: Any, queries: Any) -> None:
        self.matrix = _csr(matrix)
        self.queries = _csr(type(self.matrix)(queries)).astype(np.float64)
        self.dtype: np.dtype[Any] = np.dtype(np.float64)
        # A matrix product wants dense queries; they may be a million wide.
        self.group_limit: int = max(1, (1 << 23) // max(1, matrix.shape[1]))

    def block(self, start: int, stop: int, dtype: np.dtype[Any]) -> Any:
        return self.matrix[start:stop].astype(dtype)

    def columns(self, queries: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        return queries.toarray().T

    def squares(self, block: Any) -> npt.NDArray[Any]:
        return dots(block, block)

    def take(self, rows: slice | Positions) -> Any:
        return self.matrix[rows].astype(np.float64)

    def against(self, rows: Any, at: Positions, metric: str) -> Floats:
        count: int = rows.shape[0]
        return paired(rows, self.queries[at if len(at) == count else np.repeat(at, count)], metric)

    def flaws(self, block: Any) -> tuple[Mask, Mask]:
        peaks = _peaks(block)
        return ~np.isfinite(peaks), peaks == 0

    def keys(self, block: Any) -> Iterator[bytes]:
        edges = block.indptr
        cells = (slice(edges[i], edges[i + 1]) for i in range(block.shape[0]))
        return (blake2b(block.indices[c].tobytes() + block.data[c].tobytes()).digest() for c in cells)


def _times(x: Any, factors: Floats) -> Any:
    """Each row times its factor."""
    if is_dense(x):
        return x * factors[:, None]
    x = x.copy()
    x.data = x.data * np.repeat(factors, np.diff(x.indptr))
    return x


def _csr(matrix: Any) -> Any:
    """Rows whose cells lie in order and once each: sums over a row are then always made in the same way."""
    rows = matrix.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()  # it may be the caller's own
        rows.sum_duplicates()
    return rows


def _sparse_dots(x: Any, y: Any) -> Floats:
    total = _row_sums(x.multiply(y).tocsr())
    # NaN times a zero that is not stored is not computed above, and would leave the row a number.
    total[~(np.isfinite(_peaks(x)) & np.isfinite(_peaks(y)))] = np.nan
    return total


def _row_sums(x: Any) -> Floats:
    """Of a csr, from left to right: the bits are those of the row alone."""
    counts: Positions = np.diff(x.indptr)
    sums: Any = np.bincount(np.repeat(np.arange(len(counts)), counts), weights=x.data, minlength=len(counts))
    return sums.astype(np.float64, copy=False)  # with no cells at all bincount gives integers


def _peaks(x: Any) -> Floats:
    """The largest magnitude in each row; NaN where there is one."""
    if is_dense(x):
        return np.abs(x).max(axis=1, initial=0.0)
    peaks = np.zeros(x.shape[0])
    filled = np.flatnonzero(np.diff(x.indptr))
    if filled.size:  # reduceat knows no empty part; between the starts of filled rows there is none
        peaks[filled] = np.maximum.reduceat(np.abs(x.data), x.indptr[filled])
    return peaks
