"""The rows of a matrix nearest to each query, exactly.

Rule 1: the answer is the first k rows in the order (distance, row), by the formula of pairs.py. Nothing else
        shows through: not the block size, not the queries asked along, not the precision of the sieve.
Rule 2: what can be told of two rows alone goes through a sieve (sieve.py). It skips what is certainly not
        among the k, and is no other way of computing the rest.
Rule 3: memory is that of a block and of the answer, not of n x q.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from docarray.distance import Metric, canonical, cdist, check_count, update_rows_x_mat_best
from docarray.errors import BadValue, ShapeError
from docarray.pairs import CHUNK_BYTES, NATIVE, Dense, Floats, Positions, Sought, Sparse, dots, is_dense
from docarray.sieve import DOUBLE, SINGLE, Found, Norms, Sieve, can_hold

__all__ = ["nearest", "row_norms"]

_GROUP = 1024  # queries that go over the matrix together
_TABLE = 1 << 22  # distances held at once where all of them are wanted, or very many for each query


def nearest(
    matrix: Any,
    queries: Any,
    k: int | None,
    metric: Metric = "cosine",
    *,
    norms: npt.ArrayLike | None = None,
    batch_size: int | None = None,
    skip: npt.ArrayLike | None = None,
) -> Found:
    """The `k` rows of `matrix` nearest to each of the `queries`, exactly.

    Args:
        matrix: (n, d) real ndarray of any dtype, or scipy.sparse (of which csr needs no conversion).
        queries: (q, d) real, dense or sparse.
        k: how many rows to give; None for all n.
        metric: 'cosine', 'euclidean', 'sqeuclidean', 'inner_product' alias 'dot', a name that scipy computes,
            or a function of (queries, some rows) that gives the (q, number of rows) distances.
        norms: (n,) what `row_norms(matrix)` gave, where that is kept; saves a second look at each row.
        batch_size: rows to look at together; None for as many as the cache likes. Never changes the answer.
        skip: (q,) int, for each query a row to leave out, or -1.

    Returns:
        rows: (q, min(k, n)) intp, nearest first; of equals the lower row first.
        distances: the same shape, float64. NaN, for a row with NaN or infinity in it, comes last.
        A query that leaves out a row and wants n of them has -1 and NaN in the last place.

    Raises:
        ShapeError: the widths of `matrix` and `queries` differ, or something is not a matrix of real numbers.
        BadValue: k or batch_size < 1, or the metric depends on the spread of all data, not on two rows.
        UnknownMetric: no metric has that name.
        MissingExtra: the metric is computed by scipy, which is not installed.

    Costs one pass over `matrix` for each 1024 queries, and some 20 MB. Metrics other than the native four
    compute and rank every distance, block by block.

    >>> rows, distances = nearest(np.eye(3), np.array([[1.0, 1.0, 0.0]]), k=2)
    >>> rows.tolist(), distances.round(3).tolist()
    ([[0, 1]], [[0.293, 0.293]])
    """
    kind = canonical(metric)
    matrix, queries = _checked(matrix, "matrix"), _checked(queries, "queries")
    (n, d), (count, width) = matrix.shape, queries.shape
    if d != width:
        raise ShapeError(f"the matrix is {d} wide, {(n, d)}, the queries are {width} wide, {(count, width)}")
    if kind in ("mahalanobis", "seuclidean"):
        raise BadValue(
            f"{kind!r} measures by the spread of all data it is given: it says nothing of two rows alone. "
            f"Fix the spread: lambda x, y: scipy.spatial.distance.cdist(x, y, {kind!r}, ...)"
        )
    wanted: int = n if k is None else min(check_count(k, "k"), n)
    batch_size = None if batch_size is None else check_count(batch_size, "batch_size")
    kept = None if norms is None else _column(norms, "norms", n, "fd")
    skipped = None if skip is None else _column(skip, "skip", count, "bhilqBHILQ").astype(np.intp)
    # One more, for the one that may have to go.
    asked: int = wanted if skipped is None else min(wanted + 1, n)
    if not n or not count:
        found: Found = np.zeros((count, asked), np.intp), np.zeros((count, asked))
    elif isinstance(kind, str) and kind in NATIVE:
        source = Dense(matrix, queries) if is_dense(matrix) else Sparse(matrix, queries)
        with np.errstate(all="ignore"):  # NaN, infinity and overflow are answers here, not surprises
            found = _in_groups(source, asked, kind, kept, batch_size)
    else:
        found = _by_blocks(matrix, queries, asked, kind, batch_size)
    return found if skipped is None else _leave_out(*found, skipped, wanted)


def row_norms(matrix: Any) -> Floats:
    """The Euclidean norm of each row of `matrix`, for `nearest(..., norms=)`.

    Args:
        matrix: (n, d) real ndarray, or scipy.sparse.

    Returns:
        (n,) float64.

    Costs one pass over `matrix`.

    >>> row_norms(np.array([[3, 4], [0, 0]])).tolist()
    [5.0, 0.0]
    """
    matrix = _checked(matrix, "matrix")
    n, d = matrix.shape
    source = Dense(matrix, matrix[:0]) if is_dense(matrix) else Sparse(matrix, np.zeros((1, d)))
    norms = np.empty(n)
    step = max(1, CHUNK_BYTES // (8 * max(1, d)))
    with np.errstate(all="ignore"):
        for start in range(0, n, step):
            rows = source.take(slice(start, start + step))
            norms[start : start + step] = np.sqrt(dots(rows, rows))
    return norms


def _in_groups(
    source: Dense | Sparse, k: int, metric: str, kept: npt.NDArray[Any] | None, batch_size: int | None
) -> Found:
    n, count = source.matrix.shape[0], source.queries.shape[0]
    rows, distances = np.empty((count, k), np.intp), np.empty((count, k))
    sought = Sought(source.queries, metric)
    # Where most rows are wanted there is nothing to sieve; a query of NaN, or of enormous numbers, spoils it.
    whole = ~can_hold(DOUBLE, sought.sizes) | (4 * k >= n)
    for at in _parts(np.flatnonzero(whole), _TABLE // n):
        rows[at], distances[at] = _all_measured(source, at, metric, k)
    norms: Norms = {}
    if kept is not None:  # such as are rounded to float32 would be the largest error of a sieve in float64
        dtypes = [SINGLE, DOUBLE] if kept.dtype == DOUBLE else [SINGLE]
        norms = dict.fromkeys(dtypes, kept.astype(np.float64, copy=False))
    # No row is nearer to a query of zeros than another, so it would let all of them pass; but one answer does
    # for all such queries.
    rest = np.flatnonzero(~whole)
    zeros = rest[sought.sizes[rest] == 0] if metric == "cosine" else rest[:0]
    for at in _parts(np.setdiff1d(rest, zeros[1:]), min(_GROUP, source.group_limit, _TABLE // (2 * k))):
        rows[at], distances[at] = Sieve(source, at, sought, k, norms).run(batch_size)
    rows[zeros], distances[zeros] = rows[zeros[:1]], distances[zeros[:1]]
    return rows, distances


def _parts(at: Positions, size: int) -> Iterator[Positions]:
    size = max(1, size)
    return (at[start : start + size] for start in range(0, len(at), size))


def _all_measured(source: Dense | Sparse, at: Positions, metric: str, k: int) -> Found:
    """The answer by the formula alone."""
    n, d = source.matrix.shape
    distances = np.empty((len(at), n))
    step = max(1, CHUNK_BYTES // (8 * max(1, d)))
    for start in range(0, n, step):
        part = slice(start, min(n, start + step))
        taken = source.take(part)
        for i in range(len(at)):
            distances[i, part] = source.against(taken, at[i : i + 1], metric)
    rows = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(distances, rows, axis=1)


def _by_blocks(matrix: Any, queries: Any, k: int, kind: Metric, batch_size: int | None) -> Found:
    """The answer for a metric of which nothing is known but that it can be computed."""
    if is_dense(matrix) != is_dense(queries):
        queries = queries.toarray() if is_dense(matrix) else type(matrix)(queries)
    matrix = matrix if is_dense(matrix) else matrix.tocsr()
    n, count = matrix.shape[0], queries.shape[0]
    step = max(256, k, _TABLE // count) if batch_size is None else batch_size
    rows, distances = np.zeros((count, 0), np.intp), np.zeros((count, 0))
    for start in range(0, n, step):
        table = cdist(queries, matrix[start : start + step], kind)
        here = np.arange(start, min(n, start + step), dtype=np.intp)
        distances, rows = update_rows_x_mat_best(distances, rows, table, np.tile(here, (count, 1)), k)
    return rows, distances


def _leave_out(rows: Positions, distances: Floats, skipped: npt.NDArray[Any], k: int) -> Found:
    """Without the row that each query skips, or else without the last: (q, k)."""
    count = len(rows)
    if rows.shape[1] == k:  # there was no row more to ask for
        rows = np.concatenate([rows, np.full((count, 1), -1)], axis=1)
        distances = np.concatenate([distances, np.full((count, 1), np.nan)], axis=1)
    at = rows == skipped[:, None]
    at[:, -1] |= ~at.any(axis=1)
    return rows[~at].reshape(count, k), distances[~at].reshape(count, k)


def _checked(matrix: Any, name: str) -> Any:
    matrix = matrix if hasattr(matrix, "tocsr") else np.asarray(matrix)
    if matrix.ndim != 2:
        raise ShapeError(f"{name} must be 2-D, (rows, width), and is {tuple(matrix.shape)}")
    if matrix.dtype.kind not in "biuf":
        raise ShapeError(f"{name} must hold real numbers, and holds {matrix.dtype}")
    return matrix


def _column(values: npt.ArrayLike, name: str, count: int, types: str) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = np.asarray(values)
    what = "float32 or float64" if types == "fd" else "integers"
    if column.shape != (count,) or column.dtype.char not in types:
        raise ShapeError(f"{name} must be {what}, ({count},), and is {column.dtype}, {column.shape}")
    return column
