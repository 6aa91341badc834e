"""Dicts and lists that tell somebody when they were changed: the tags, scores and places of a document on a store.

Rule 1: all that is nested in one tells the same owner. What is put in is copied, so that the owner hears of all.
Rule 2: a change that the owner refuses is taken back.
Rule 3: a copy of one, shallow or deep, is a plain dict or list; so is what a pickle of it gives.
"""

from __future__ import annotations

import copy as copying
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, Self, cast

from docarray.score import NamedScore, Scores

__all__ = ["Owner", "WatchedDict", "WatchedList", "WatchedScores", "plain", "watched"]


class Owner(Protocol):
    """Who hears of changes; may raise, and then the change is taken back."""

    def __call__(self) -> None: ...


def watched(value: Any, owner: Owner) -> Any:
    """The value, with each dict and list in it replaced by a watched copy."""
    if isinstance(value, dict):
        return WatchedDict(cast("dict[Any, Any]", value), owner)
    if isinstance(value, list):
        return WatchedList(cast("list[Any]", value), owner)
    return value


def plain(value: Any) -> Any:
    """The value, with each watched dict and list in it replaced by a plain copy; others are shared."""
    if isinstance(value, WatchedDict):
        return {key: plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, WatchedList):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, WatchedScores):
        return Scores({name: NamedScore(score) for name, score in value.items()})
    return value


class WatchedDict(dict[Any, Any]):
    """A dict that calls its owner after each change.

    >>> changes = []
    >>> tags = WatchedDict({'a': {'b': 1}}, lambda: changes.append(dict(tags)))
    >>> tags['a']['b'] = 2
    >>> changes, type(tags.copy()) is dict
    ([{'a': {'b': 2}}], True)
    """

    __slots__ = ("_owner",)
    _owner: Owner

    def __init__(self, items: Mapping[Any, Any], owner: Owner) -> None:
        super().__init__({key: watched(item, owner) for key, item in items.items()})
        self._owner = owner

    def _change(self, change: Callable[[], Any]) -> Any:
        before = dict(self)
        try:
            result = change()
            self._owner()
        except BaseException:
            super().clear()
            super().update(before)
            raise
        return result

    def __setitem__(self, key: Any, value: Any) -> None:
        self._change(lambda: super(WatchedDict, self).__setitem__(key, watched(value, self._owner)))

    def __delitem__(self, key: Any) -> None:
        self._change(lambda: super(WatchedDict, self).__delitem__(key))

    def clear(self) -> None:
        self._change(super().clear)

    def pop(self, *args: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return plain(self._change(lambda: super(WatchedDict, self).pop(*args)))

    def popitem(self) -> tuple[Any, Any]:
        key, value = self._change(super().popitem)
        return key, plain(value)

    def setdefault(self, key: Any, default: Any = None, /) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **named: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        fresh = {key: watched(value, self._owner) for key, value in dict(*args, **named).items()}
        self._change(lambda: super(WatchedDict, self).update(fresh))

    def __ior__(self, other: Any) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.update(other)
        return self

    def copy(self) -> dict[Any, Any]:
        """A plain dict; what is nested in it is shared."""
        return dict(self)

    def __copy__(self) -> dict[Any, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        return {copying.deepcopy(key, memo): copying.deepcopy(item, memo) for key, item in self.items()}

    def __reduce__(self) -> Any:
        return dict, (plain(self),)


class WatchedList(list[Any]):
    """A list that calls its owner after each change."""

    __slots__ = ("_owner",)
    _owner: Owner

    def __init__(self, items: Iterable[Any], owner: Owner) -> None:
        super().__init__(watched(item, owner) for item in items)
        self._owner = owner

    def _change(self, change: Callable[[], Any]) -> Any:
        before = list(self)
        try:
            result = change()
            self._owner()
        except BaseException:
            super().__setitem__(slice(None), before)
            raise
        return result

    def __setitem__(self, index: Any, value: Any) -> None:
        several = isinstance(index, slice)
        fresh = [watched(item, self._owner) for item in value] if several else watched(value, self._owner)
        self._change(lambda: super(WatchedList, self).__setitem__(index, fresh))

    def __delitem__(self, index: Any) -> None:
        self._change(lambda: super(WatchedList, self).__delitem__(index))

    def append(self, value: Any, /) -> None:
        self._change(lambda: super(WatchedList, self).append(watched(value, self._owner)))

    def extend(self, values: Iterable[Any], /) -> None:
        fresh = [watched(item, self._owner) for item in values]
        self._change(lambda: super(WatchedList, self).extend(fresh))

    def insert(self, index: Any, value: Any, /) -> None:
        self._change(lambda: super(WatchedList, self).insert(index, watched(value, self._owner)))

    def pop(self, index: Any = -1, /) -> Any:
        return plain(self._change(lambda: super(WatchedList, self).pop(index)))

    def remove(self, value: Any, /) -> None:
        self._change(lambda: super(WatchedList, self).remove(value))

    def clear(self) -> None:
        self._change(super().clear)

    def reverse(self) -> None:
        self._change(super().reverse)

    def sort(self, **how: Any) -> None:
        self._change(lambda: super(WatchedList, self).sort(**how))

    def __iadd__(self, values: Iterable[Any]) -> Self:
        self.extend(values)
        return self

    def __imul__(self, times: Any) -> Self:
        fresh = list(self) * times
        self[:] = fresh
        return self

    def copy(self) -> list[Any]:
        """A plain list; what is nested in it is shared."""
        return list(self)

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copying.deepcopy(item, memo) for item in self]

    def __reduce__(self) -> Any:
        return list, (plain(self),)


class _WatchedScore(NamedScore):
    """A score that calls its owner after each change."""

    __slots__ = ("_owner",)
    _owner: Owner | None

    def __init__(self, score: Any, owner: Owner) -> None:
        self._owner = None
        super().__init__(score)
        self._owner = owner

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or self._owner is None:
            object.__setattr__(self, name, value)
            return
        before = NamedScore(self)
        try:
            object.__setattr__(self, name, value)
            self._owner()
        except BaseException:
            self._take(before)
            raise


class WatchedScores(Scores):
    """Scores that call their owner after each change; one that is read first is made, and kept once it is changed."""

    __slots__ = ("_owner",)
    _owner: Owner

    def __init__(self, scores: Mapping[str, Any], owner: Owner) -> None:
        dict[str, NamedScore].__init__(
            self, {name: _WatchedScore(score, owner) for name, score in scores.items()}
        )
        self._owner = owner

    def _change(self, change: Callable[[], Any]) -> Any:
        before = dict(self)
        try:
            result = change()
            self._owner()
        except BaseException:
            dict[str, NamedScore].clear(self)
            dict[str, NamedScore].update(self, before)
            raise
        return result

    def __missing__(self, name: str) -> NamedScore:
        score = _WatchedScore(None, self._owner)
        dict[str, NamedScore].__setitem__(self, name, score)
        return score

    def __setitem__(self, name: str, value: Any) -> None:
        fresh = _WatchedScore(value, self._owner)
        self._change(lambda: dict[str, NamedScore].__setitem__(self, name, fresh))

    def __delitem__(self, name: str) -> None:
        self._change(lambda: dict[str, NamedScore].__delitem__(self, name))

    def update(self, other: Any = (), /, **named: Any) -> None:
        """Sets many; all are converted before any is set."""
        fresh = {name: _WatchedScore(value, self._owner) for name, value in dict(other, **named).items()}
        self._change(lambda: dict[str, NamedScore].update(self, fresh))

    def clear(self) -> None:
        self._change(lambda: dict[str, NamedScore].clear(self))

    def pop(self, *args: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        found = self._change(lambda: dict[str, NamedScore].pop(self, *args))
        return NamedScore(found) if isinstance(found, NamedScore) else found

    def popitem(self) -> tuple[str, NamedScore]:
        name, score = self._change(lambda: dict[str, NamedScore].popitem(self))
        return name, NamedScore(score)

    def copy(self) -> dict[str, NamedScore]:
        """A plain dict of plain scores."""
        return dict(plain(self))

    def __copy__(self) -> Scores:
        return plain(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Scores:
        return plain(self)

    def __reduce__(self) -> Any:
        return Scores, (dict(plain(self)),)
