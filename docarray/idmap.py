"""IdMap: from id to position in a list that changes, without an O(n) rebuild for each change.

Rule 1: the dict holds the position that an id had when it was entered, and which changes had been logged by then.
        The position now follows by replaying the later ones: each insert or delete moves what stands behind it.
Rule 2: the log is folded (the dict rebuilt) when it is as long as the root of the list: O(sqrt n) a change on average.
Rule 3: ids that stand twice give the last position. A map that has any is dropped at the next change.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

__all__ = ["IdMap"]


class IdMap:
    """Positions of ids. The owner tells it of every change, and adds what was appended by `cover`.

    >>> ids = IdMap(['a', 'b', 'c'])
    >>> ids.removed(0, ['a']); ids.inserted(1, ['x'])
    >>> [ids.position(i) for i in ('b', 'x', 'c', 'a')]
    [0, 1, 2, None]
    """

    __slots__ = ("_most", "covered", "log", "places", "repeats")
    places: dict[str, int | tuple[int, int]]
    log: list[tuple[int, int]]
    covered: int
    repeats: bool

    def __init__(self, ids: Sequence[str]) -> None:
        self.places: dict[str, int | tuple[int, int]] = dict(zip(ids, range(len(ids)), strict=True))
        self.log: list[tuple[int, int]] = []
        self._most = max(64, isqrt(4 * len(ids)))
        self.covered = len(ids)
        self.repeats = len(self.places) < len(ids)

    @property
    def is_long(self) -> bool:
        """Whether the log has grown so long that a rebuild is cheaper."""
        return len(self.log) > self._most

    def position(self, key: str) -> int | None:
        """Where the id stands now; None when it does not."""
        found = self.places.get(key)
        if found is None:
            return None
        log = self.log
        if not log and type(found) is int:
            return found
        place, since = (found, 0) if isinstance(found, int) else found
        for at, moved in log[since:] if since else log:
            if place >= at:
                place += moved
        return place

    def cover(self, ids: Sequence[str]) -> None:
        """Enters the ids that were appended since."""
        self._enter(self.covered, ids)
        self.covered += len(ids)

    def _enter(self, start: int, ids: Sequence[str]) -> None:
        places, since = self.places, len(self.log)
        before = len(places)
        if since:
            places.update((key, (start + i, since)) for i, key in enumerate(ids))
        else:
            places.update(zip(ids, range(start, start + len(ids)), strict=True))
        if len(places) < before + len(ids):
            self.repeats = True

    def inserted(self, at: int, ids: Sequence[str]) -> None:
        """These ids now stand at `at`, before what stood there."""
        self.log.append((at, len(ids)))
        self._enter(at, ids)
        self.covered += len(ids)

    def removed(self, at: int, ids: Sequence[str]) -> None:
        """These ids, which stood at `at` and behind, are gone."""
        for key in ids:
            self.places.pop(key, None)
        self.log.append((at, -len(ids)))
        self.covered -= len(ids)

    def replaced(self, at: int, old: str, new: str) -> None:
        """`new` stands where `old` stood."""
        if old != new:
            self.places.pop(old, None)
            self._enter(at, [new])
