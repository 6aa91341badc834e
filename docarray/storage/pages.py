"""The order of rows: a key for each, and how many rows there are in each range of keys.

Rule 1: keys are whole numbers, compared and never shown. A row goes between two others by a key between theirs; where
        none is left, the rows around get other keys.
Rule 2: a page is the range of keys from its start to the next one; the first reaches down, and the last up, without
        end. It says how many rows have keys in it: a position is found by adding up, and then within one page.
Rule 3: what changed is told by `flush` and by nothing else, so that one row of a page is written for one row put in.
Rule 4: the last page is stored as OPEN, and counted when the pages are read: appending writes no page.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final

__all__ = ["FULL", "HALF", "OPEN", "STEP", "Pages", "keys_between"]

STEP: Final = 1 << 28
"""Between the keys of rows that were appended one after the other: room for some 1 700 at one and the same place."""
FULL: Final = 1024
"""Rows of a page at most."""
HALF: Final = FULL // 2
"""Rows of a page that was just made."""

OPEN: Final = -1
"""What is stored as the count of the last page."""

_LEAN: Final = 64


def keys_between(
    below: int | None, above: int | None, count: int, *, near_below: bool = False, near_above: bool = False
) -> list[int] | None:
    """So many rising keys between two, or None where there is no room.

    Args:
        below, above: both may be None: there is no end to that side.
        count: how many.
        near_below, near_above: rows come one by one at this place, the next one beside that of the last: the room
            is left on the side where it will come.

    >>> keys_between(0, 8, 3), keys_between(0, 3, 3)
    ([2, 4, 6], None)
    """
    if below is None or above is None:
        if above is not None:
            return [above - STEP * (count - i) for i in range(count)]
        first = 0 if below is None else below + STEP
        return [first + STEP * i for i in range(count)]
    room = above - below
    if room <= count:
        return None
    step = room // (count + 1)
    if near_below or near_above:
        step = max(1, min(step, room // (_LEAN * count)))
    if near_above:
        return [above - step * (count - i) for i in range(count)]
    return [below + step * (i + 1) for i in range(count)]


class Pages:
    """Ranges of keys and the numbers of rows in them.

    Costs O(log pages) for a row put in, taken out or looked for; O(pages) where a page is cut in two.

    >>> pages = Pages([(0, 3), (100, 2)])
    >>> len(pages), pages.find(4), pages.find(0)
    (5, (1, 1), (0, 0))
    """

    __slots__ = ("_changed", "_gone", "_open", "_tree", "counts", "starts", "total")
    counts: list[int]
    starts: list[int]
    total: int

    def __init__(self, rows: Iterable[Sequence[int]] = ()) -> None:
        """`rows` are starts and counts, in rising order."""
        pairs = list(rows)
        self.starts = [pair[0] for pair in pairs]
        self.counts = [pair[1] for pair in pairs]
        self.total = sum(self.counts)
        self._tree: list[int] | None = None
        self._changed: set[int] = set()
        self._gone: set[int] = set()
        self._open = self.starts[-1] if pairs else None

    def __len__(self) -> int:
        return self.total

    def page_of(self, key: int) -> int:
        """The number of the page that a key is in; 0 also where there is none yet."""
        return max(bisect_right(self.starts, key) - 1, 0)

    def bounds(self, page: int) -> tuple[int | None, int | None]:
        """The first key of a page, and the first behind it; None where there is no end."""
        starts = self.starts
        return (starts[page] if page else None), (starts[page + 1] if page + 1 < len(starts) else None)

    def find(self, position: int) -> tuple[int, int]:
        """The page of a position from 0 to len - 1, and how many rows of the page are before it."""
        counts = self.counts
        last = len(counts) - 1
        tail = self.total - counts[last]
        if position >= tail:  # the end is asked for most, and needs no sums
            return last, position - tail
        if position < counts[0]:
            return 0, position
        tree, page, size = self._sums(), 0, len(counts)
        step = 1 << (size.bit_length() - 1)
        while step:
            ahead = page + step
            if ahead <= size and tree[ahead] <= position:
                page, position = ahead, position - tree[ahead]
            step >>= 1
        return page, position

    def before(self, page: int) -> int:
        """How many rows are before a page."""
        tree, total = self._sums(), 0
        while page:
            total += tree[page]
            page &= page - 1
        return total

    def _sums(self) -> list[int]:
        """A Fenwick tree over the counts."""
        tree = self._tree
        if tree is None:
            tree = [0, *self.counts]
            for page in range(1, len(tree)):
                above = page + (page & -page)
                if above < len(tree):
                    tree[above] += tree[page]
            self._tree = tree
        return tree

    def _count(self, page: int, more: int) -> None:
        self.counts[page] += more
        self.total += more
        self._changed.add(self.starts[page])
        tree = self._tree
        if tree is not None:
            page += 1
            while page < len(tree):
                tree[page] += more
                page += page & -page

    # ------------------------------------------------------------------------------------------ changes

    def append(self, keys: Sequence[int]) -> None:
        """Rows with rising keys, all above those that there are."""
        done = 0
        if self.starts and self.counts[-1] < HALF:
            done = min(HALF - self.counts[-1], len(keys))
            self._count(len(self.counts) - 1, done)
        if done < len(keys):
            self._insert(len(self.starts), _cut(keys[done:]))

    def put(self, keys: Sequence[int], keys_within: Callable[[int | None, int | None], list[int]]) -> None:
        """Rows with rising keys, anywhere.

        Args:
            keys: of the rows, which are there by now.
            keys_within: gives all keys of rows from one to below another, in order; asked where a page is too full.
        """
        if not self.starts:
            self._insert(0, _cut(keys))
            return
        at = 0
        while at < len(keys):
            page = self.page_of(keys[at])
            end = self.bounds(page)[1]
            stop = len(keys) if end is None else bisect_left(keys, end, at)
            self._count(page, stop - at)
            at = stop
            if self.counts[page] > FULL:
                self.rebuild(page, page + 1, keys_within(*self.bounds(page)))

    def take(self, keys: Iterable[int]) -> None:
        """Rows with these keys are gone."""
        less: dict[int, int] = {}
        for key in keys:
            page = self.page_of(key)
            less[page] = less.get(page, 0) + 1
        for page, count in less.items():
            self._count(page, -count)
        for page in sorted(less, reverse=True):
            if self.counts[page] == 0:
                self._remove(page, page + 1)
            elif page + 1 < len(self.counts) and self.counts[page] + self.counts[page + 1] <= HALF // 2:
                self._count(page, self.counts[page + 1])
                self._remove(page + 1, page + 2)

    def rebuild(self, first: int, last: int, keys: Sequence[int]) -> None:
        """Pages from first to before last hold the rows with these keys, whatever they held."""
        start = self.starts[first] if first < last else None
        self._remove(first, last)
        pages = _cut(keys)
        if pages and start is not None and first and start <= pages[0][0]:
            pages[0] = start, pages[0][1]
        self._insert(first, pages)

    def clear(self) -> None:
        """There are no rows."""
        self._remove(0, len(self.starts))

    def _insert(self, at: int, pages: list[tuple[int, int]]) -> None:
        self.starts[at:at] = [start for start, _ in pages]
        self.counts[at:at] = [count for _, count in pages]
        for start, count in pages:
            self.total += count
            self._changed.add(start)
            self._gone.discard(start)
        self._tree = None

    def _remove(self, first: int, last: int) -> None:
        for start in self.starts[first:last]:
            self._changed.discard(start)
            self._gone.add(start)
        self.total -= sum(self.counts[first:last])
        del self.starts[first:last], self.counts[first:last]
        self._tree = None

    def flush(self) -> tuple[list[int], list[tuple[int, int]]]:
        """The starts of pages that are gone, and those that changed with what to store of them; then forgets them."""
        last = self.starts[-1] if self.starts else None
        changed, gone, was = self._changed, self._gone, self._open
        if not gone and last == was and (not changed or changed == {last}):
            changed.clear()
            return [], []
        if was is not None and was != last and was not in gone:
            changed.add(was)
        if last is not None:
            changed.discard(last)
        told = [(start, self.counts[bisect_left(self.starts, start)]) for start in sorted(changed)]
        if last is not None and (last != was or last in gone):
            told.append((last, OPEN))
        removed = sorted(gone.difference(self.starts[-1:], changed))
        self._changed, self._gone, self._open = set(), set(), last
        return removed, told


def _cut(keys: Sequence[int]) -> list[tuple[int, int]]:
    """Pages for these keys."""
    return [(keys[at], min(HALF, len(keys) - at)) for at in range(0, len(keys), HALF)]
