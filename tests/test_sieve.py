from __future__ import annotations

import numpy as np
import pytest

from docarray.pairs import NATIVE, Dense, Sought
from docarray.sieve import DOUBLE, SINGLE, Sieve


def sieve(matrix, queries, metric, k, norms=None):
    source = Dense(matrix, queries)
    return Sieve(
        source, np.arange(len(queries)), Sought(source.queries, metric), k, {} if norms is None else norms
    )


@pytest.fixture
def measured(monkeypatch):
    """How many pairs were measured by the formula."""
    counts = []
    against = Dense.against

    def counted(self, rows, at, metric):
        counts.append(len(rows))
        return against(self, rows, at, metric)

    monkeypatch.setattr(Dense, "against", counted)
    return counts


@pytest.mark.parametrize("metric", NATIVE)
def test_few_pass(metric, measured):
    """Otherwise the sieve would be right and useless."""
    rng = np.random.default_rng(0)
    matrix, queries = rng.standard_normal((20_000, 16)).astype(np.float32), rng.standard_normal((8, 16))

    sieve(matrix, queries, metric, 10).run(None)

    assert 8 * 10 <= sum(measured) < 0.03 * 20_000 * 8


def test_one_row_far_out_lets_no_more_pass(measured):
    """The bound of the error is that of each row, not that of the largest."""
    rng = np.random.default_rng(0)
    matrix, queries = rng.standard_normal((20_000, 16)).astype(np.float32), rng.standard_normal((8, 16))
    matrix[77] *= 1e9

    sieve(matrix, queries, "euclidean", 10).run(None)

    assert sum(measured) < 0.03 * 20_000 * 8


def test_equal_rows_are_thinned(measured):
    matrix = np.repeat(np.float32([[1, 2, 3]]), 30_000, axis=0)

    rows, _ = sieve(matrix, np.random.default_rng(0).standard_normal((64, 3)), "euclidean", 5).run(None)

    assert [[0, 1, 2, 3, 4]] * 64 == rows.tolist()
    assert sum(measured) < 0.01 * 30_000 * 64


def test_rows_too_close_for_float32_make_it_finer(measured):
    rng = np.random.default_rng(0)
    places = (np.array([50.0, 8.0]) + rng.standard_normal((30_000, 2)) * 1e-3).astype(np.float32)
    scan = sieve(places, places[:64].astype(np.float64), "euclidean", 5)
    assert scan.dtype == SINGLE

    rows, distances = scan.run(None)

    assert scan.dtype == DOUBLE
    assert list(range(64)) == rows[:, 0].tolist()
    assert not distances[:, 0].any()
    assert sum(measured) < 0.1 * 30_000 * 64


@pytest.mark.parametrize("metric", NATIVE)
def test_each_row_s_score_is_below_the_bar_only_if_it_is_out(metric):
    """The bound itself: no true neighbour scores less than the limit, at any width."""
    rng = np.random.default_rng(3)
    for width in (1, 5, 64, 700):
        matrix = (rng.standard_normal((600, width)) * rng.lognormal(0, 2, (600, 1))).astype(np.float32)
        queries = rng.standard_normal((9, width)) * rng.lognormal(0, 2, (9, 1))
        scan = sieve(matrix, queries, metric, 600)
        scan.run(None)
        scores, slack, _ = scan._scores(matrix, 0, 600)
        for place in (0, 3, 80, 599):
            part = sieve(matrix, queries, metric, 600)
            part.distances[:, -1] = scan.distances[:, place]
            # Not where nothing can be nearer: there the bar is above all scores on purpose.
            part.bars = part._bars_at(np.arange(9))
            limits = part._limits(slack)
            nearer = scan.rows[:, : place + 1]
            lowest = scores[nearer, np.arange(9)[:, None]].min(axis=1)
            assert ((lowest >= limits) | (part.bars == np.inf)).all()


def test_norms_are_kept_for_the_next_group():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((3000, 4)).astype(np.float32)
    norms = {}

    sieve(matrix, matrix[:1].astype(np.float64), "cosine", 1, norms).run(100)

    assert norms[SINGLE] == pytest.approx(np.linalg.norm(matrix, axis=1), rel=1e-6)


def test_wide_rows_and_large_queries_begin_in_double():
    few = np.zeros((2, 200_000), np.float32)

    assert sieve(few, np.ones((1, 200_000)), "cosine", 1).dtype == DOUBLE
    assert sieve(np.ones((2, 2), np.float32), np.full((1, 2), 1e30), "euclidean", 1).dtype == DOUBLE
    assert sieve(np.ones((2, 2), np.float32), np.full((1, 2), 1e30), "cosine", 1).dtype == SINGLE
