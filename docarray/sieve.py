"""A sieve: of the rows of a matrix, those that may be among the k nearest to some queries.

Rule 1: a sieve goes over all rows with one matrix product in the precision of the matrix, and compares scores
        with the bar: what a row must score to come among the k.
Rule 2: the error of the product has a proven bound, and the bar is lowered by it, so a row that is dropped is
        certainly not among the k. What passes is measured by the formula of pairs.py, and raises the bar.
Rule 3: a sieve that lets too much pass costs time, never truth. It is then made finer.
Rule 4: rows are scanned in order: a row that is only as near as the k-th one found cannot come among the k.
Rule 5: what is not a finite number, or too large or small for the precision, is not scored but measured.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from docarray.pairs import CHUNK_BYTES, Dense, Floats, Positions, Sought, Sparse

__all__ = ["DOUBLE", "SINGLE", "Found", "Norms", "Sieve", "can_hold"]

Found: TypeAlias = tuple[Positions, Floats]
"""Rows and distances, (q, k) each."""
Norms: TypeAlias = dict[np.dtype[Any], Floats]
"""The norms of all rows by the precision they are good for; those not known yet are -1."""

SINGLE: np.dtype[Any] = np.dtype(np.float32)
DOUBLE: np.dtype[Any] = np.dtype(np.float64)
# Numbers with norms in this range have squares and products that the precision holds.
_RANGE = {SINGLE: (1e-15, 1e18), DOUBLE: (1e-140, 1e140)}
_UNIT = {SINGLE: 2.0**-24, DOUBLE: 2.0**-53}
_EPS = 2.0**-52
_SCORES = 1 << 21  # scores of a group of queries against a block of rows
_BLOCK_BYTES = 1 << 24  # of a block of rows that is converted, or read twice


def can_hold(dtype: np.dtype[Any], sizes: Floats) -> npt.NDArray[np.bool_]:
    """Which queries of these norms a sieve of that precision can work with; NaN never.

    >>> can_hold(SINGLE, np.array([1.0, 1e30, np.nan])).tolist()
    [True, False, False]
    """
    return sizes < _RANGE[dtype][1]


class Sieve:
    """One group of queries on its way over the matrix.

    With x a row and q a query, the score of the pair is cos(x, q) for cosine, x.q - |x|^2 / 2 for the
    euclidean metrics, x.q for the inner product: larger is nearer. `error` bounds how far a score in the
    precision of the sieve and a distance by the formula are from the truth, both together, as a part of 1,
    of |x|^2 + |q|^2, or of |x||q|. With u the unit of rounding there are (d + 2)u for a product of width d,
    whatever the order of its sums, (d / 2 + 2)u for a norm computed in that precision, and a few u for the
    steps after.

    Args:
        source: what is searched.
        at: (q,) which queries.
        sought: all queries.
        k: how many rows to find; at most the rows there are.
        norms: those known; others are added.
    """

    source: Dense | Sparse
    at: Positions
    k: int
    norms: Norms
    metric: str
    queries: Any
    sizes: npt.NDArray[Any]
    rows: npt.NDArray[Any]
    distances: npt.NDArray[Any]
    bars: npt.NDArray[Any]
    range: tuple[float, float]
    error: float
    columns: Any

    def __init__(self, source: Dense | Sparse, at: Positions, sought: Sought, k: int, norms: Norms) -> None:
        self.source, self.at, self.k, self.norms = source, at, k, norms
        self.metric, self.queries, self.sizes = sought.metric, sought.queries[at], sought.sizes[at]
        self.total: int = source.matrix.shape[0]
        self.width: int = source.matrix.shape[1]
        self.rows = np.full((len(at), k), self.total, np.intp)
        self.distances = np.full((len(at), k), np.nan)
        self.bars = np.full(len(at), -np.inf)
        self.waiting: list[tuple[Positions, Positions]] = []
        self._set_precision(source.dtype)
        # In float32 too large a query overflows, and over so many columns rounding says nothing any more.
        if self.error > 0.01 or not can_hold(SINGLE, self.sizes).all():
            self._set_precision(DOUBLE)

    def run(self, batch_size: int | None) -> Found:
        """Goes over the matrix, `batch_size` rows at a time, and gives the answer."""
        start = 0
        while start < self.total:
            step = self._step() if batch_size is None else batch_size
            stop = min(self.total, start + step)
            if self._scan(start, stop):
                start = stop
        if self.waiting:
            self._measure()
        return self.rows, self.distances

    def _set_precision(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.range = _RANGE[dtype]
        self.error = 1.01 * (1.5 * self.width + 16) * (_UNIT[dtype] + _UNIT[DOUBLE])
        self.columns = self.source.columns(self.queries, dtype)

    def _step(self) -> int:
        row_bytes = self.dtype.itemsize * max(1, self.width)
        twice = self.dtype not in self.norms or self.source.matrix.dtype != self.dtype
        # Few calls: each is a meeting of threads, and on a busy machine they wait for each other.
        step = _SCORES // len(self.at)
        return max(min(step, _BLOCK_BYTES // row_bytes) if twice else step, 256, 2 * self.k)

    def _scan(self, start: int, stop: int) -> bool:
        """Lets a block of rows through the sieve; False when it has to be done again, more finely."""
        block = self.source.block(start, stop, self.dtype)
        scores, slack, doubt = self._scores(block, start, stop)
        if start == 0:
            # Until there is a bar everything passes. The best k of s rows let k * (n / s) of n pass:
            # this s weighs the time for finding them against the time for measuring what they let pass.
            self._raise_bars(scores, slack, doubt, max(4 * self.k, 8 * math.isqrt(self.k * stop)))
        passed = scores >= self._limits(slack)
        many = max(8 * self.k * len(self.at), passed.size // 64)
        too_many = max(many, 4 * (stop - start))
        if np.count_nonzero(passed) > many:
            self._raise_bars(scores, slack, doubt, stop - start)
            passed = scores >= self._limits(slack)
            if np.count_nonzero(passed) > too_many:
                passed &= self._first_copies(block)[:, None]
                if np.count_nonzero(passed) > too_many and self.dtype != DOUBLE:
                    self._set_precision(DOUBLE)
                    return False
        row, query = np.divmod(np.flatnonzero(passed), len(self.at))
        self.waiting.append((row + start, query))
        if sum(len(rows) for rows, _ in self.waiting) > max(64, self.k * len(self.at) // 2):
            self._measure()
        return True

    def _scores(self, block: Any, start: int, stop: int) -> tuple[npt.NDArray[Any], Floats, Floats | None]:
        """Scores of (rows, queries), and how much lower a true one may be: by query, and by row."""
        norms = self._norms_of(block, start, stop)
        low, high = self.range
        # Squares below the range only blur what is added to them; a direction is lost with them.
        safe = (norms < high) & ((norms > low) | (self.metric != "cosine"))
        scores: npt.NDArray[Any] = block @ self.columns
        doubt = None
        if self.metric == "cosine":
            scores *= (1.0 / norms).astype(self.dtype)[:, None]
            slack = np.full(len(self.at), self.error)
        elif self.metric == "inner_product":
            # 1 - x.q makes equals of products that differ by less than an ulp of 1.
            slack = (self.error + 4 * _EPS) * self.sizes * norms.max(where=safe, initial=0.0) + 4 * _EPS
        else:
            # The part of the error that grows with |x|^2 goes into the score of x: one row that is far out
            # would otherwise lower the bar for all.
            squares = norms * norms
            doubt = 2 * self.error * squares
            scores -= ((0.5 - self.error) * squares).astype(self.dtype)[:, None]
            slack = self.error * self.sizes**2
        if not safe.all():
            odd = np.flatnonzero(~safe)
            broken, zero = self.source.flaws(block[odd])
            # A row of zeros scores 0, one with NaN comes last; what is left is for the formula alone.
            scores[odd] = np.where(broken, -np.inf, np.where(zero, 0.0, np.inf))[:, None]
        return scores, slack + (self.width + 4) * float(np.finfo(self.dtype).tiny), doubt

    def _norms_of(self, block: Any, start: int, stop: int) -> Floats:
        if self.dtype not in self.norms:
            self.norms[self.dtype] = np.full(self.total, -1.0)
        norms = self.norms[self.dtype][start:stop]
        if (norms < 0).any():
            norms[:] = np.sqrt(self.source.squares(block))
        return norms

    def _limits(self, slack: Floats) -> npt.NDArray[Any]:
        """The bars as scores are compared with them; rounded down."""
        return np.nextafter((self.bars - slack).astype(self.dtype), self.dtype.type(-np.inf))

    def _raise_bars(self, scores: npt.NDArray[Any], slack: Floats, doubt: Floats | None, count: int) -> None:
        """At least as high as the k-th best of the first `count` rows of a block is for certain."""
        sure = np.array(scores[:count].T, order="C")
        if doubt is not None:
            sure -= doubt[:count].astype(self.dtype)
        if sure.shape[1] >= self.k:
            sure[~(sure < np.inf)] = -np.inf  # these were not scored
            best = np.partition(sure, -self.k, axis=1)[:, -self.k]
            np.maximum(self.bars, best - slack, out=self.bars)

    def _first_copies(self, block: Any) -> npt.NDArray[np.bool_]:
        """Without the rows of which the block has k equal ones before: they would lose the tie."""
        seen: Counter[bytes] = Counter()
        kept = np.empty(block.shape[0], np.bool_)
        for row, key in enumerate(self.source.keys(block)):
            kept[row] = seen[key] < self.k
            seen[key] += 1
        return kept

    def _measure(self) -> None:
        """Gives what passed its distance, keeps the first k of each query, and raises the bars."""
        rows = np.concatenate([rows for rows, _ in self.waiting])
        query = np.concatenate([query for _, query in self.waiting])
        self.waiting = []
        distances = np.empty(len(rows))
        step = max(1, CHUNK_BYTES // (8 * max(1, self.width)))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            taken = self.source.take(rows[part])
            distances[part] = self.source.against(taken, self.at[query[part]], self.metric)
        # Beside what was found before, in the order (query, distance, row); NaN is last in each, also by row.
        met: Positions = np.unique(query)
        query = np.concatenate([np.repeat(met, self.k), query])
        rows = np.concatenate([self.rows[met].ravel(), rows])
        distances = np.concatenate([self.distances[met].ravel(), distances])
        order = np.lexsort((rows, distances, query))
        first = np.searchsorted(query[order], met)
        order = order[first[:, None] + np.arange(self.k)]
        self.rows[met], self.distances[met] = rows[order], distances[order]
        self.bars[met] = np.maximum(self.bars[met], self._bars_at(met))

    def _bars_at(self, met: Positions) -> Floats:
        """What a row must score to come before the k-th one found, less what float64 rounds away."""
        last, sizes = self.distances[met, -1], self.sizes[met]
        if self.metric == "inner_product":
            bars = (1.0 - last) - 4 * _EPS * (1.0 + np.abs(last))
        elif self.metric == "cosine":
            bars = (1.0 - last) - 4 * _EPS
            bars[(last == 0) | ((sizes == 0) & (last == 1))] = np.inf  # nothing is nearer, and ties are lost
        else:
            squares = last if self.metric == "sqeuclidean" else last * last
            bars = (sizes**2 - squares) / 2 - 4 * _EPS * (sizes**2 + squares)
            bars[last == 0] = np.inf
        bars[np.isnan(bars)] = -np.inf
        return bars
