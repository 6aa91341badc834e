"""Distances between vectors, and the small arithmetic of ranking by them.

Rule 1: smaller is nearer, for every metric; an inner product is turned into `1 - x.y`.
Rule 2: everything is computed in float64, whatever came in; what goes out is a dense float64 ndarray.
Rule 3: what a distance means is said once, in pairs.py. `cdist` goes through a matrix product and may differ
        from it in the last bits.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from docarray.errors import BadValue, FieldTypeError, MissingExtra, ShapeError, UnknownMetric, near_miss
from docarray.pairs import CHUNK_BYTES, NATIVE, Floats, Positions, dots, float64, in_range, is_dense, paired

__all__ = [
    "Metric",
    "canonical",
    "cdist",
    "check_count",
    "metric_name",
    "minmax_normalize",
    "pdist",
    "top_k",
    "update_rows_x_mat_best",
]

Metric: TypeAlias = str | Callable[..., Any]
"""The name of a metric, or a function of two matrices (n, d) and (m, d) that gives the (n, m) distances."""
_ALIASES = {"dot": "inner_product"}
_SCIPY = (
    "braycurtis canberra chebyshev cityblock correlation dice hamming jaccard jensenshannon mahalanobis "
    "minkowski rogerstanimoto russellrao seuclidean sokalsneath yule"
).split()
# Below this share of |x|^2 + |y|^2 the expansion |x|^2 + |y|^2 - 2xy has lost four digits to cancellation.
_CANCELS = 1e-4


def metric_name(metric: Metric) -> str:
    """The key that scores of `metric` are kept under: the name itself, or the name of the function.

    >>> from functools import partial
    >>> metric_name("cosine"), metric_name(np.dot), metric_name(partial(np.dot))
    ('cosine', 'dot', 'partial')
    """
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "__name__", type(metric).__name__))


def canonical(metric: Metric) -> Metric:
    """`metric` as the kernels know it: one of `NATIVE`, a name that scipy computes, or a function.

    Raises:
        UnknownMetric: no metric has that name.
        FieldTypeError: it is neither a name nor a function.

    >>> canonical("dot")
    'inner_product'
    """
    if isinstance(metric, str):
        name = _ALIASES.get(metric, metric)
        if name in NATIVE or name in _SCIPY:
            return name
        known = [*NATIVE, *_ALIASES, *_SCIPY]
        raise UnknownMetric(f"no metric is called {metric!r}. {near_miss(metric, known)}")
    if callable(metric):
        return metric
    raise FieldTypeError(f"a metric is a name or a function of two matrices, not {type(metric).__name__}")


def _library(array: Any) -> str:
    """The library that `array` comes from: 'numpy' (lists too), 'scipy', 'torch', ..."""
    if isinstance(array, np.ndarray):  # a subclass may live anywhere
        return "numpy"
    root = type(array).__module__.partition(".")[0]
    return "numpy" if root == "builtins" else root


def cdist(x: Any, y: Any, metric: Metric = "cosine", device: str = "cpu") -> Floats:
    """The distance of each row of `x` to each row of `y`.

    Args:
        x: (n, d) ndarray, scipy.sparse or torch tensor.
        y: (m, d), of the same library.
        metric: 'cosine' (0 to 2), 'euclidean', 'sqeuclidean', 'inner_product' alias 'dot' (`1 - x.y`),
            a name of `scipy.spatial.distance` such as 'cityblock', or a function of (x, y) that gives the
            (n, m) matrix.
        device: where torch tensors are multiplied, such as 'cuda'; other arrays are computed where they are.

    Returns:
        (n, m) float64. NaN stands for what is not a finite number.

    Raises:
        ShapeError: the arrays are not 2-D, not of one library, or not of one width.
        UnknownMetric: no metric has that name.
        MissingExtra: the metric is computed by scipy, which is not installed.

    Costs one matrix product, and float64 copies of `x` and `y`; names that scipy computes make sparse arrays
    dense.

    >>> cdist(np.eye(2), np.array([[1.0, 1.0], [0.0, 0.0]])).round(3).tolist()
    [[0.293, 1.0], [0.293, 1.0]]
    """
    kind = canonical(metric)
    if _library(x) != _library(y):
        raise ShapeError(f"x comes from {_library(x)} and y from {_library(y)}: convert one to the other")
    if _library(x) not in ("scipy", "torch"):
        x, y = np.asarray(x), np.asarray(y)
    _check_pair(x, y)
    if not isinstance(kind, str):
        return _from_function(kind, x, y)
    with np.errstate(all="ignore"):  # NaN, infinity and overflow are answers here, not surprises
        if _library(x) == "torch":
            if kind in NATIVE and str(device) != "cpu":
                return _on_device(x, y, kind, device)
            x, y = _from_torch(x), _from_torch(y)
        if kind not in NATIVE:
            return np.asarray(_scipy(kind).cdist(float64(x), float64(y), kind))
        if _library(x) == "scipy":
            return _expanded(x.tocsr().astype(np.float64), y.tocsr().astype(np.float64), kind)
        return _expanded(float64(x), float64(y), kind)


def pdist(x: Any, metric: Metric = "cosine") -> Floats:
    """The distance of each row of `x` to each row of `x`: `cdist(x, x, metric)`, (n, n) float64.

    >>> pdist(np.array([[0.0], [3.0]]), "euclidean").tolist()
    [[0.0, 3.0], [3.0, 0.0]]
    """
    return cdist(x, x, metric)


def top_k(values: npt.ArrayLike, k: int, descending: bool = False) -> tuple[npt.NDArray[Any], Positions]:
    """The `k` smallest values of each row, or the largest, in order.

    Args:
        values: (n, m) numbers.
        k: how many of each row; all m when k > m.
        descending: give the largest instead, largest first.

    Returns:
        values: (n, min(k, m)), of the dtype that came in; NaN comes last, either way.
        indices: the same shape, intp: the columns of these; of equals the lower column first.

    Raises:
        ShapeError: `values` is not 2-D.
        BadValue: k < 1.

    Costs a partition of each row, then a sort of the k.

    >>> values, indices = top_k([[3, 1, 2, 1]], k=3)
    >>> values.tolist(), indices.tolist()
    ([[1, 1, 2]], [[1, 3, 2]])
    """
    table = np.asarray(values)
    if table.ndim != 2:
        raise ShapeError(f"values must be 2-D, (rows, columns); they are {table.shape}")
    k = min(check_count(k, "k"), table.shape[1])
    if not k or not table.shape[0]:
        return table[:, :k].copy(), np.zeros((table.shape[0], k), np.intp)
    keys = table
    if descending:  # of integers -v would overflow at the lowest, and wrap for the unsigned: ~v is -v - 1
        keys = np.invert(table) if table.dtype.kind in "biu" else np.negative(table)
    # Not argpartition: of values equal to the k-th it takes any. All of them are taken here, in order of
    # column, and the stable sort keeps that order.
    bounds = np.partition(keys, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(~(keys > bounds))
    order = np.lexsort((keys[row, column], row))
    starts: Positions = np.searchsorted(row, np.arange(len(table), dtype=np.intp))
    indices = column[order[starts[:, None] + np.arange(k)]]
    return np.take_along_axis(table, indices, axis=1), indices


def update_rows_x_mat_best(
    x_mat_best: npt.ArrayLike, x_inds_best: npt.ArrayLike, x_mat: npt.ArrayLike, x_inds: npt.ArrayLike, k: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Merge new values into the smallest `k` of each row found so far.

    Args:
        x_mat_best: (n, a) the smallest values so far.
        x_inds_best: (n, a) what each of them belongs to.
        x_mat: (n, b) new values.
        x_inds: (n, b) what each of these belongs to.
        k: how many of each row to keep.

    Returns:
        The two (n, min(k, a + b)) arrays that take the place of the first two, smallest first;
        of equals the older.

    Raises:
        ShapeError: values and indices differ in shape, or the rows in number.
        BadValue: k < 1.

    >>> best, indices = update_rows_x_mat_best([[1.0, 4.0]], [[7, 8]], [[2.0, 0.5]], [[9, 10]], k=2)
    >>> best.tolist(), indices.tolist()
    ([[0.5, 1.0]], [[10, 7]])
    """
    old, old_of, new, new_of = (np.asarray(part) for part in (x_mat_best, x_inds_best, x_mat, x_inds))
    if old.shape != old_of.shape or new.shape != new_of.shape or len(old) != len(new):
        raise ShapeError(
            f"values and indices must come in pairs, of as many rows: best are {old.shape} and "
            f"{old_of.shape}, new are {new.shape} and {new_of.shape}"
        )
    values, columns = top_k(np.concatenate([old, new], axis=1), k)
    return values, np.take_along_axis(np.concatenate([old_of, new_of], axis=1), columns, axis=1)


def minmax_normalize(
    x: npt.ArrayLike,
    t_range: tuple[float, float] = (0, 1),
    x_range: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    eps: float = 1e-7,
) -> Floats:
    """Stretch each row to `t_range`, its smallest value to the first number and its largest to the second.

    Args:
        x: (m,) or (n, m) numbers.
        t_range: where they go; (1, 0) turns distances into similarities.
        x_range: the smallest and largest to reckon with instead of the row's own: two numbers, or two
            arrays (n,); what lies outside is clipped.
        eps: added to the width of a row, so that a row of equals does not divide by 0.

    Returns:
        float64, of the shape of `x`.

    >>> minmax_normalize([2.0, 3.0, 4.0]).round(3).tolist()
    [0.0, 0.5, 1.0]
    >>> minmax_normalize([[0.0, 5.0]], t_range=(1, 0), x_range=(0, 4)).round(3).tolist()
    [[1.0, 0.0]]
    """
    table = np.asarray(x, dtype=np.float64)
    if not table.size:
        return table.copy()
    start, end = t_range
    if x_range is None:
        low, high = table.min(axis=-1, keepdims=True), table.max(axis=-1, keepdims=True)
    else:
        bounds = (np.asarray(part, dtype=np.float64) for part in x_range)
        low, high = (part if part.ndim in (0, table.ndim) else part[..., None] for part in bounds)
    with np.errstate(invalid="ignore", over="ignore"):
        stretched = (end - start) * ((table - low) / (high - low + eps)) + start
    return np.clip(stretched, min(start, end), max(start, end))


def _expanded(x: Any, y: Any, kind: str) -> Floats:
    """The (n, m) distances of two float64 matrices, both dense or both csr, by way of one matrix product."""
    if kind == "cosine":
        x, xx = in_range(x)
        y, yy = in_range(y)
    else:
        xx, yy = dots(x, x), dots(y, y)
    products = x @ y.T
    table: Floats = products if is_dense(products) else products.toarray()
    if kind == "cosine":
        table /= np.sqrt(np.where(xx == 0, 1.0, xx))[:, None]
        table /= np.sqrt(np.where(yy == 0, 1.0, yy))
    if kind in ("cosine", "inner_product"):
        np.subtract(1.0, table, out=table)
        if kind == "cosine":
            np.clip(table, 0.0, 2.0, out=table)
    else:
        both = np.add.outer(xx, yy)
        table *= -2.0
        table += both
        both *= _CANCELS
        # Also where the squares overflowed: NaN is greater than nothing.
        at, by = np.nonzero(~(table > both))
        step = max(1, CHUNK_BYTES // (8 * max(1, x.shape[1])))
        for start in range(0, len(at), step):
            i, j = at[start : start + step], by[start : start + step]
            table[i, j] = paired(x[i], y[j], "sqeuclidean")
        if kind == "euclidean":
            np.sqrt(table, out=table)
    return _finite(table)


def _from_function(function: Callable[..., Any], x: Any, y: Any) -> Floats:
    table = np.asarray(function(x, y))
    if table.shape != (x.shape[0], y.shape[0]):
        raise ShapeError(
            f"metric {metric_name(function)!r} gave {table.shape} for x {tuple(x.shape)} and "
            f"y {tuple(y.shape)}: a metric gives the matrix of distances, {(x.shape[0], y.shape[0])}"
        )
    return table.astype(np.float64, copy=False)


def _on_device(x: Any, y: Any, kind: str, device: str) -> Floats:
    """The native metrics in torch, in float64, on `device`."""
    torch = importlib.import_module("torch")
    x, y = (part.detach().to(device=device, dtype=torch.float64) for part in (x, y))
    if kind in ("euclidean", "sqeuclidean"):
        table = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        table = table if kind == "euclidean" else table * table
    else:
        if kind == "cosine":
            sizes = (part.norm(dim=1, keepdim=True) for part in (x, y))
            x, y = (part / size.where(size != 0, 1.0) for part, size in zip((x, y), sizes, strict=True))
        table = 1.0 - x @ y.T
        table = table.clamp(0.0, 2.0) if kind == "cosine" else table
    return _finite(table.cpu().numpy())


def _finite(table: Floats) -> Floats:
    table[~np.isfinite(table)] = np.nan
    return table


def _check_pair(x: Any, y: Any) -> None:
    for name, part in (("x", x), ("y", y)):
        if part.ndim != 2:
            raise ShapeError(f"{name} must be 2-D, (rows, width); it is {tuple(part.shape)}")
        if is_dense(part) and part.dtype.kind not in "biuf":
            raise ShapeError(f"{name} must hold real numbers; it holds {part.dtype}")
    if x.shape[1] != y.shape[1]:
        raise ShapeError(
            f"x is {x.shape[1]} wide, {tuple(x.shape)}, y is {y.shape[1]} wide, {tuple(y.shape)}"
        )


def _from_torch(x: Any) -> Floats:
    x = x.detach()
    return (x.to_dense() if x.is_sparse else x).cpu().double().numpy()


def check_count(k: Any, name: str) -> int:
    """`k` as an int of 1 or more; whole numbers of numpy count.

    Raises:
        BadValue: it is less.
        FieldTypeError: it is not a whole number.

    >>> check_count(np.int64(3), "k")
    3
    """
    try:
        number = operator.index(k)
    except TypeError:
        raise FieldTypeError(f"{name} is a whole number, not {type(k).__name__}") from None
    if number < 1:
        raise BadValue(f"{name} must be 1 or more, and is {number}")
    return number


def _scipy(metric: str) -> Any:
    try:
        return importlib.import_module("scipy.spatial.distance")
    except ImportError as error:
        raise MissingExtra(f"metric {metric!r} needs the package scipy: pip install scipy") from error
