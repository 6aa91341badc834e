"""Metrics of a ranking: numbers that say how good the order of the results of one query is.

Rule 1: a ranking is the relevance of each result, best result first; what is not 0 is relevant. Only dcg and
        ndcg weigh how relevant.
Rule 2: larger is better, and where nothing was to be found the value is 0, never NaN.
Rule 3: `k` counts results from the top, None for all; a ranking shorter than k is taken whole.
Rule 4: arguments that a metric has no use for are ignored, so that several metrics can be asked in one call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from docarray.errors import BadValue, FieldTypeError, ShapeError, UnknownMetric, near_miss

__all__ = [
    "average_precision",
    "dcg_at_k",
    "f1_score_at_k",
    "hit_at_k",
    "metric_by_name",
    "ndcg_at_k",
    "precision_at_k",
    "r_precision",
    "recall_at_k",
    "reciprocal_rank",
]

Ranking: TypeAlias = npt.ArrayLike


def r_precision(binary_relevance: Ranking, **kwargs: Any) -> float:
    """The share of relevant results among the first R, where R is how many relevant ones there are.

    Args:
        binary_relevance: (n,) relevance, best result first.
        kwargs: ignored.

    Returns:
        0 to 1; 0 where nothing is relevant.

    >>> r_precision([1, 0, 1, 0])
    0.5
    """
    hits = _first(binary_relevance) != 0
    relevant = int(np.count_nonzero(hits))
    return int(np.count_nonzero(hits[:relevant])) / relevant if relevant else 0.0


def precision_at_k(binary_relevance: Ranking, k: int | None = None, **kwargs: Any) -> float:
    """The share of relevant results among the first `k`.

    Args:
        binary_relevance: (n,) relevance, best result first.
        k: how many results count; None for all.
        kwargs: ignored.

    Returns:
        0 to 1; 0 for an empty ranking.

    Raises:
        BadValue: k < 1.

    >>> precision_at_k([1, 0, 1, 0], k=3)
    0.6666666666666666
    """
    hits = _first(binary_relevance, k) != 0
    return int(np.count_nonzero(hits)) / hits.size if hits.size else 0.0


def hit_at_k(binary_relevance: Ranking, k: int | None = None, **kwargs: Any) -> int:
    """Whether there is a relevant result among the first `k`: 1 or 0.

    Args:
        binary_relevance: (n,) relevance, best result first.
        k: how many results count; None for all.
        kwargs: ignored.

    Raises:
        BadValue: k < 1.

    >>> hit_at_k([0, 1, 0], k=1), hit_at_k([0, 1, 0], k=2)
    (0, 1)
    """
    return int(np.any(_first(binary_relevance, k) != 0))


def average_precision(binary_relevance: Ranking, **kwargs: Any) -> float:
    """The mean, over the relevant results, of the precision down to each of them.

    Args:
        binary_relevance: (n,) relevance, best result first.
        kwargs: ignored.

    Returns:
        0 to 1; 0 where nothing is relevant.

    >>> round(average_precision([1, 0, 1, 0]), 4)
    0.8333
    """
    places = np.flatnonzero(_first(binary_relevance) != 0) + 1
    return float(np.mean(np.arange(1, places.size + 1) / places)) if places.size else 0.0


def reciprocal_rank(binary_relevance: Ranking, **kwargs: Any) -> float:
    """One over the place of the first relevant result, counted from 1.

    Args:
        binary_relevance: (n,) relevance, best result first.
        kwargs: ignored.

    Returns:
        0 to 1; 0 where nothing is relevant.

    >>> reciprocal_rank([0, 1, 1])
    0.5
    """
    places = np.flatnonzero(_first(binary_relevance) != 0)
    return float(1.0 / (places[0] + 1)) if places.size else 0.0


def recall_at_k(binary_relevance: Ranking, max_rel: int | None, k: int | None = None, **kwargs: Any) -> float:
    """The share of all that is relevant that is among the first `k` results.

    Args:
        binary_relevance: (n,) relevance, best result first.
        max_rel: how many relevant ones there are to find, in the results or not.
        k: how many results count; None for all.
        kwargs: ignored.

    Returns:
        0 to 1; 0 where there is nothing to find.

    Raises:
        BadValue: k < 1; or `max_rel` is None, or less than what was found.

    >>> recall_at_k([1, 0, 1], max_rel=4)
    0.5
    """
    if max_rel is None:
        raise BadValue("max_rel is None: say how many relevant results there are to find")
    hits = int(np.count_nonzero(_first(binary_relevance, k)))
    if hits > max_rel:
        raise BadValue(f"max_rel is {max_rel}, but {hits} relevant results were found")
    return float(hits / max_rel) if hits else 0.0


def f1_score_at_k(
    binary_relevance: Ranking, max_rel: int | None, k: int | None = None, **kwargs: Any
) -> float:
    """The harmonic mean of `precision_at_k` and `recall_at_k`.

    Args:
        binary_relevance: (n,) relevance, best result first.
        max_rel: how many relevant ones there are to find, in the results or not.
        k: how many results count; None for all.
        kwargs: ignored.

    Returns:
        0 to 1; 0 where nothing relevant was found.

    Raises:
        BadValue: as `recall_at_k`.

    >>> f1_score_at_k([1, 0, 0, 1], max_rel=2)
    0.6666666666666666
    """
    precision = precision_at_k(binary_relevance, k)
    recall = recall_at_k(binary_relevance, max_rel, k)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def dcg_at_k(relevance: Ranking, method: int = 0, k: int | None = None, **kwargs: Any) -> float:
    """Discounted cumulative gain: the sum of the relevances, each divided by the logarithm of its place.

    Args:
        relevance: (n,) relevance, best result first.
        method: 0 divides from the third place on, by log2 of the place; 1 from the second on, by log2 of the
            place + 1.
        k: how many results count; None for all.
        kwargs: ignored.

    Returns:
        In the unit of the relevance; 0 for an empty ranking.

    Raises:
        BadValue: k < 1, or another method.

    >>> [round(dcg_at_k([3, 2, 3, 0, 1, 2], method=m), 4) for m in (0, 1)]
    [8.0972, 6.8611]
    """
    gains = _first(relevance, k)
    places = np.arange(1, gains.size + 1)
    if method == 0:
        return float(np.sum(gains / np.log2(np.maximum(places, 2))))
    if method == 1:
        return float(np.sum(gains / np.log2(places + 1)))
    raise BadValue(f"method must be 0 or 1, and is {method!r}")


def ndcg_at_k(relevance: Ranking, method: int = 0, k: int | None = None, **kwargs: Any) -> float:
    """`dcg_at_k`, divided by what the best order of the same results would give.

    Args:
        relevance: (n,) relevance, best result first.
        method: as for `dcg_at_k`.
        k: how many results count; None for all.
        kwargs: ignored.

    Returns:
        0 to 1 where no relevance is negative; 0 where nothing is relevant. What is not among the results is
        not reckoned with.

    Raises:
        BadValue: k < 1, or another method.

    >>> [round(ndcg_at_k([3, 2, 3, 0, 1, 2], method=m), 5) for m in (0, 1)]
    [0.93151, 0.96081]
    """
    ideal = dcg_at_k(np.sort(_first(relevance))[::-1], method, k)
    return dcg_at_k(relevance, method, k) / ideal if ideal else 0.0


def metric_by_name(name: str) -> Callable[..., float]:
    """The metric of that name.

    Raises:
        UnknownMetric: there is none.

    >>> metric_by_name("hit_at_k")([0, 1], k=1)
    0
    """
    try:
        return _BY_NAME[name]
    except (KeyError, TypeError):
        raise UnknownMetric(f"no evaluation metric is called {name!r}. {near_miss(name, _BY_NAME)}") from None


def _first(relevance: Ranking, k: int | None = None) -> npt.NDArray[np.float64]:
    values = np.asarray(relevance, dtype=np.float64)
    if values.ndim != 1:
        raise ShapeError(f"a ranking is one relevance after the other, (n,); this is {values.shape}")
    if k is None:
        return values
    try:
        count = operator.index(k)
    except TypeError:
        raise FieldTypeError(f"k is a whole number, not {type(k).__name__}") from None
    if count < 1:
        raise BadValue(f"k must be 1 or more, and is {count}")
    return values[:count]


_METRICS: tuple[Callable[..., float], ...] = (
    average_precision,
    dcg_at_k,
    f1_score_at_k,
    hit_at_k,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
)
_BY_NAME = {metric.__name__: metric for metric in _METRICS}
