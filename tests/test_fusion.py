"""Reciprocal rank fusion."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray.errors import BadValue, LengthError
from docarray.fusion import rrf

RANKINGS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8), max_size=4)


@settings(deadline=None)
@given(RANKINGS, st.floats(0, 100))
def test_rrf_is_the_sum_of_reciprocal_places(rankings, c):
    found = rrf(rankings, c=c)

    assert {key for ranking in rankings for key in ranking} == {key for key, _ in found}
    for key, score in found:
        assert score == pytest.approx(
            sum(1 / (c + 1 + ranking.index(key)) for ranking in rankings if key in ranking), rel=1e-12
        )
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)


def test_one_ranking_stays_as_it_is():
    assert ["c", "a", "b"] == [key for key, _ in rrf([["c", "a", "b"]])]


def test_ties_go_by_the_first_ranking():
    assert ["b", "a"] == [key for key, _ in rrf([["b", "a"], ["a", "b"]])]
    assert ["x", "y"] == [key for key, _ in rrf([["x"], ["y"]])]


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_the_order_of_rankings_changes_no_score(order):
    rankings = [["a", "b", "c"], ["b", "c", "a"], ["c", "x", "a"], ["y", "a", "b"]]

    assert dict(rrf(rankings)) == dict(rrf([rankings[i] for i in order]))


def test_weights_count():
    assert ["b", "a"] == [key for key, _ in rrf([["a", "b"], ["b", "a"]], weights=[1, 2])]
    assert [("a", 1 / 61), ("b", 1 / 62)] == rrf([["a", "b"], ["z"]], weights=[1, 0])


def test_a_key_that_stands_twice_counts_once():
    assert [("a", 1 / 61), ("b", 1 / 62)] == rrf([["a", "a", "b"]])


def test_nothing_gives_nothing():
    assert [] == rrf([])
    assert [] == rrf([[], []])


@pytest.mark.parametrize("c", [-1, float("nan"), float("inf")])
def test_a_constant_below_zero_is_refused(c):
    with pytest.raises(BadValue, match="c="):
        rrf([["a"]], c=c)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_a_weight_below_zero_is_refused(weight):
    with pytest.raises(BadValue, match="weight"):
        rrf([["a"]], weights=[weight])


def test_a_weight_for_each_ranking():
    with pytest.raises(LengthError, match="2 for 1"):
        rrf([["a"]], weights=[1, 2])
