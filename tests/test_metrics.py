from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import metrics
from docarray.errors import BadValue, FieldTypeError, ShapeError, UnknownMetric
from docarray.metrics import (
    average_precision,
    dcg_at_k,
    f1_score_at_k,
    hit_at_k,
    metric_by_name,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
)

NAMES = sorted(set(metrics.__all__) - {"metric_by_name"})
RANKINGS = st.lists(st.integers(0, 3), max_size=12)
DEPTHS = st.one_of(st.none(), st.integers(1, 14))


def ask(name, ranking, k=None):
    """Any of them by name: what a metric has no use for it ignores."""
    return metric_by_name(name)(ranking, max_rel=len(ranking), k=k)


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (8.0972, dcg_at_k([3, 2, 3, 0, 1, 2], method=0)),
        (6.8611, dcg_at_k([3, 2, 3, 0, 1, 2], method=1)),
        (0.93151, ndcg_at_k([3, 2, 3, 0, 1, 2], method=0)),
        (0.96081, ndcg_at_k([3, 2, 3, 0, 1, 2], method=1)),
        (0.83333, average_precision([1, 0, 1, 0])),
        (0.5, r_precision([1, 0, 1, 0])),
        (1.0, r_precision([1, 1, 0, 0])),
        (0.5, precision_at_k([1, 0, 1, 0])),
        (1.0, precision_at_k([1, 0, 1, 0], k=1)),
        (0.5, precision_at_k([1, 0], k=5)),
        (0, hit_at_k([0, 0, 1], k=2)),
        (1, hit_at_k([0, 0, 1], k=3)),
        (1 / 3, reciprocal_rank([0, 0, 2, 1])),
        (0.25, recall_at_k([1, 0, 1], max_rel=4, k=2)),
        (0.5, recall_at_k([1, 0, 1], max_rel=4)),
        (0.4, f1_score_at_k([1, 0, 1], max_rel=3, k=2)),
        (2.0, dcg_at_k([1, 1], method=0)),
        (1.0, ndcg_at_k([1, 1, 0], k=1)),
    ],
)
def test_numbers(expected, value):
    assert expected == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ranking", [[], [0, 0, 0]])
def test_where_nothing_is_found_it_is_0(name, ranking):
    assert 0 == ask(name, ranking)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(ranking=RANKINGS, k=DEPTHS)
def test_the_form_of_the_input_does_not_matter(name, ranking, k):
    value = ask(name, ranking, k)

    assert type(value) in (int, float)
    assert value == ask(name, tuple(ranking), k)
    for dtype in (np.int8, np.float32, np.uint64):
        assert value == ask(name, np.array(ranking, dtype), k)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(ranking=RANKINGS, k=DEPTHS)
def test_it_lies_between_0_and_1(name, ranking, k):
    if name != "dcg_at_k":
        assert 0 <= ask(name, ranking, k) <= 1 + 1e-12


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(ranking=RANKINGS)
def test_the_best_order_is_not_worse(name, ranking):
    assert ask(name, ranking) <= ask(name, sorted(ranking, reverse=True)) + 1e-12


@settings(deadline=None)
@given(ranking=RANKINGS, k=DEPTHS, more=st.integers(0, 3))
def test_the_definitions_in_plain_python(ranking, k, more):
    top = ranking[:k]
    hits = sum(r != 0 for r in top)
    places = [i for i, r in enumerate(ranking, 1) if r]
    total = sum(r != 0 for r in ranking)

    assert precision_at_k(ranking, k) == pytest.approx(hits / len(top) if top else 0)
    assert hit_at_k(ranking, k) == int(hits > 0)
    assert recall_at_k(ranking, total + more, k) == pytest.approx(hits / (total + more) if hits else 0)
    assert reciprocal_rank(ranking) == pytest.approx(1 / places[0] if places else 0)
    assert r_precision(ranking) == pytest.approx(sum(r != 0 for r in ranking[:total]) / total if total else 0)
    precisions = [n / place for n, place in enumerate(places, 1)]
    assert average_precision(ranking) == pytest.approx(sum(precisions) / total if total else 0)
    p, r = precision_at_k(ranking, k), recall_at_k(ranking, total + more, k)
    assert f1_score_at_k(ranking, total + more, k) == pytest.approx(2 / (1 / p + 1 / r) if p and r else 0)
    for method in (0, 1):
        gains = [r if i == 0 and not method else r / math.log2(i + 1 + method) for i, r in enumerate(top)]
        assert dcg_at_k(ranking, method, k) == pytest.approx(sum(gains))
        ideal = dcg_at_k(sorted(ranking, reverse=True), method, k)
        assert ndcg_at_k(ranking, method, k) == pytest.approx(sum(gains) / ideal if ideal else 0)


@settings(deadline=None)
@given(ranking=st.lists(st.integers(0, 3), min_size=2, max_size=12), k=DEPTHS)
def test_scikit_learn_agrees(ranking, k):
    """Method 1 is theirs."""
    oracle = pytest.importorskip("sklearn.metrics", reason="pip install scikit-learn")
    order = [list(range(len(ranking), 0, -1))]

    assert ndcg_at_k(ranking, 1, k) == pytest.approx(oracle.ndcg_score([ranking], order, k=k))
    assert dcg_at_k(ranking, 1, k) == pytest.approx(oracle.dcg_score([ranking], order, k=k))
    if any(ranking):
        binary = [int(r > 0) for r in ranking]
        assert average_precision(ranking) == pytest.approx(oracle.average_precision_score(binary, order[0]))


class TestErrors:
    @pytest.mark.parametrize(
        "name", ["precision_at_k", "hit_at_k", "recall_at_k", "f1_score_at_k", "dcg_at_k", "ndcg_at_k"]
    )
    def test_k(self, name):
        for k in (0, -1):
            with pytest.raises(BadValue, match=f"k must be 1 or more, and is {k}"):
                ask(name, [1, 0], k)
        with pytest.raises(FieldTypeError, match="float"):
            ask(name, [1, 0], 1.5)

    @pytest.mark.parametrize("metric", [recall_at_k, f1_score_at_k])
    def test_max_rel(self, metric):
        with pytest.raises(ValueError, match="max_rel is None"):
            metric([1, 0], None)
        with pytest.raises(ValueError, match="max_rel is 1, but 2"):
            metric([1, 1], 1)

    @pytest.mark.parametrize("metric", [dcg_at_k, ndcg_at_k])
    def test_method(self, metric):
        with pytest.raises(ValueError, match="method must be 0 or 1, and is 2"):
            metric([1, 0], method=2)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_ranking_is_one_list(self, name):
        with pytest.raises(ShapeError, match=r"\(1, 2\)"):
            ask(name, [[1, 0]])

    def test_names(self):
        with pytest.raises(
            UnknownMetric, match=r"'ndcg'. Did you mean 'ndcg_at_k'\? There are: average_precision"
        ):
            metric_by_name("ndcg")
        with pytest.raises(NotImplementedError):
            metric_by_name([])
