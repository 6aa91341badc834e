"""The order of rows: keys between keys, and positions by counting pages."""

from __future__ import annotations

from bisect import bisect_left, insort

from hypothesis import given, settings
from hypothesis import strategies as st

from docarray.storage.pages import FULL, HALF, OPEN, STEP, Pages, keys_between


def within(keys):
    """What a database would answer: the keys from one to below another."""

    def ask(low, high):
        first = 0 if low is None else bisect_left(keys, low)
        return keys[first : len(keys) if high is None else bisect_left(keys, high)]

    return ask


def check(pages, keys):
    assert len(pages) == len(keys)
    assert pages.starts == sorted(set(pages.starts))
    assert all(0 < count <= FULL for count in pages.counts)
    for page, count in enumerate(pages.counts):
        assert count == len(within(keys)(*pages.bounds(page)))
        assert pages.before(page) == sum(pages.counts[:page])
    for position in {0, len(keys) // 3, len(keys) // 2, len(keys) - 1} if keys else ():
        page, offset = pages.find(position)
        assert pages.before(page) + offset == position
        assert offset < pages.counts[page]
        assert pages.page_of(keys[position]) == page


class TestKeys:
    def test_keys_rise_between_their_neighbours(self):
        for below, above, count in [(0, 100, 3), (-5, 0, 4), (0, 11, 10), (-STEP, STEP, 1000)]:
            for near in ({}, {"near_below": True}, {"near_above": True}):
                keys = keys_between(below, above, count, **near)
                assert len(keys) == count
                assert keys == sorted(set(keys))
                assert below < keys[0]
                assert keys[-1] < above

    def test_there_is_no_room_between_neighbours_that_touch(self):
        assert keys_between(0, 1, 1) is None
        assert keys_between(0, 10, 10) is None

    def test_there_is_room_without_end_outside(self):
        assert keys_between(None, None, 2) == [0, STEP]
        assert keys_between(7, None, 2) == [7 + STEP, 7 + 2 * STEP]
        assert keys_between(None, 7, 2) == [7 - 2 * STEP, 7 - STEP]

    def test_one_place_takes_many_rows_one_by_one(self):
        """Rows that come one after the other do not halve the room each time."""
        for side in ("near_below", "near_above"):
            below, above, put = 0, STEP, 0
            while (keys := keys_between(below, above, 1, **{side: put > 0})) is not None:
                below, above = (keys[0], above) if side == "near_below" else (below, keys[0])
                put += 1
            assert put > 1000


class TestPages:
    def test_appended_rows_fill_pages(self):
        pages, keys = Pages(), [STEP * i for i in range(3 * HALF + 7)]
        pages.append(keys)
        check(pages, keys)
        assert pages.counts == [HALF, HALF, HALF, 7]
        pages.append([STEP * 10_000])
        assert pages.counts[-1] == 8

    def test_appending_one_row_writes_no_page(self):
        pages = Pages()
        pages.append([0])
        assert pages.flush() == ([], [(0, OPEN)])
        pages.append([STEP])
        assert pages.flush() == ([], [])

    def test_a_row_put_in_writes_one_page(self):
        pages, keys = Pages(), [STEP * i for i in range(5 * HALF)]
        pages.append(keys)
        pages.flush()
        pages.put([STEP // 2], within(sorted([*keys, STEP // 2])))
        assert pages.flush() == ([], [(0, HALF + 1)])

    def test_a_page_that_is_too_full_is_cut(self):
        keys = [STEP * i for i in range(HALF)]
        pages = Pages()
        pages.append(keys)
        fresh = [1 + i for i in range(2 * FULL)]
        keys = sorted(keys + fresh)
        pages.put(fresh, within(keys))
        check(pages, keys)
        assert max(pages.counts) <= FULL

    def test_pages_that_are_nearly_empty_are_joined(self):
        keys = [STEP * i for i in range(20 * HALF)]
        pages = Pages()
        pages.append(keys)
        left = keys[::100]
        pages.take([key for key in keys if key not in set(left)])
        check(pages, left)
        assert len(pages.starts) <= 3

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from("append put take spread".split()), st.integers(0, 700), st.integers(0, 10**6)
            ),
            max_size=25,
        )
    )
    def test_pages_count_the_keys_that_there_are(self, steps):
        keys, pages, stored = [], Pages(), {}
        for kind, count, seed in steps:
            if kind == "append":
                last = keys[-1] if keys else 0
                fresh = [last + STEP * (i + 1) for i in range(count)]
                keys += fresh
                pages.append(fresh)
            elif kind == "put" and keys:
                at = seed % len(keys)
                fresh = keys_between(keys[at - 1] if at else None, keys[at], count % 40 + 1)
                if fresh is not None:
                    for key in fresh:
                        insort(keys, key)
                    pages.put(fresh, within(keys))
            elif kind == "take" and keys:
                gone = set(keys[seed % len(keys) :: 1 + seed % 3][:count])
                keys = [key for key in keys if key not in gone]
                pages.take(sorted(gone))
            elif kind == "spread" and keys:
                page = seed % len(pages.starts)
                held = within(keys)(*pages.bounds(page))
                pages.rebuild(page, page + 1, held)
            check(pages, keys)
            removed, changed = pages.flush()
            for start in removed:
                stored.pop(start, None)
            stored.update(changed)
            # What was stored makes the same pages.
            held = sorted(stored.items())
            assert [count for _, count in held[-1:]] == [OPEN] * len(held[-1:])
            assert held[:-1] == list(zip(pages.starts, pages.counts, strict=True))[:-1]
            assert [start for start, _ in held] == pages.starts
            again = Pages(zip(pages.starts, pages.counts, strict=True))
            again.flush()
            if seed % 2:
                pages = again
