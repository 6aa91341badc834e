"""Ids to positions under change, against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from docarray.idmap import IdMap


@given(
    st.integers(0, 8),
    st.lists(st.tuples(st.sampled_from("iadrc"), st.integers(0, 30), st.integers(1, 3)), max_size=40),
)
def test_positions_follow_every_change(n, changes):
    ids = [f"start{i}" for i in range(n)]
    known = IdMap(ids)
    for number, (kind, at, count) in enumerate(changes):
        fresh = [f"{number}.{k}" for k in range(count)]
        at %= len(ids) + 1
        if kind == "i":
            ids[at:at] = fresh
            known.inserted(at, fresh)
        elif kind == "a":
            ids += fresh
            known.cover(fresh)
        elif kind == "d":
            gone = ids[at : at + count]
            del ids[at : at + count]
            known.removed(at, gone)
        elif kind == "r" and at < len(ids):
            known.replaced(at, ids[at], fresh[0])
            ids[at] = fresh[0]

    assert ids == sorted(ids, key=known.position)
    assert list(range(len(ids))) == [known.position(key) for key in ids]
    assert known.position("nobody") is None
    assert known.covered == len(ids)


def test_the_last_of_equal_ids_counts():
    known = IdMap(["a", "b", "a"])

    assert 2 == known.position("a")
    assert known.repeats


def test_the_log_is_called_long_before_it_hurts():
    known = IdMap([str(i) for i in range(1000)])
    for i in range(100):
        known.removed(0, [str(i)])

    assert known.is_long
    assert 0 == known.position("100")
