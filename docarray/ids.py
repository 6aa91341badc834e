"""Ids from a pool: 16 random bytes as 32 hex digits, drawn from the system many at a time.

Rule 1: ids come from the system's entropy; seeding `random` or numpy changes nothing.
Rule 2: a forked child never gives an id that its parent gives: the pool is dropped in the child.
"""

from __future__ import annotations

import os

__all__ = ["new_id", "new_ids"]

_AT_ONCE = 256

_pool: list[str] = []
_guarded = False


def new_ids(n: int) -> list[str]:
    """`n` fresh ids.

    >>> [len(i) for i in new_ids(2)]
    [32, 32]
    """
    digits = os.urandom(16 * n).hex()
    return [digits[i : i + 32] for i in range(0, 32 * n, 32)]


def new_id() -> str:
    """One fresh id of 32 hex digits (0.1 us: the system is asked once for 256 of them)."""
    try:
        return _pool.pop()  # list.pop is atomic: two threads never get the same id
    except IndexError:
        _guard()
        fresh = new_ids(_AT_ONCE)
        mine = fresh.pop()
        _pool.extend(fresh)
        return mine


def _guard() -> None:
    global _guarded
    if not _guarded:
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_pool.clear)
        _guarded = True
