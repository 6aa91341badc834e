"""Turns: so many at the same time, first come first served, whether a thread waits or a coroutine."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future

__all__ = ["Turns"]


class Turns:
    """A semaphore for threads and coroutines alike. A coroutine that waits costs no thread.

    Args:
        count: how many have a turn at the same time.

    >>> turns = Turns(1)
    >>> turns.take(), turns.take()
    (True, False)
    >>> turns.give()
    >>> turns.take()
    True
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether there was a turn to be had at once; nobody is overtaken."""
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return True
            return False

    def wait(self) -> None:
        """Waits, in a thread, for a turn."""
        mine = self._queued()
        if mine is None:
            return
        try:
            mine.result()
        except BaseException:
            self._leave(mine)
            raise

    async def turn(self) -> None:
        """Waits, in a coroutine, for a turn. Where the wait is cancelled the turn is somebody else's."""
        mine = self._queued()
        if mine is None:
            return
        try:
            await asyncio.wrap_future(mine)
        except BaseException:
            self._leave(mine)
            raise

    def _queued(self) -> Future[None] | None:
        """A place in the queue; None: it is one's turn."""
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return None
            mine: Future[None] = Future()
            self._waiting.append(mine)
            return mine

    def _leave(self, mine: Future[None]) -> None:
        if not mine.cancel():  # it was given a turn meanwhile
            self.give()

    def give(self) -> None:
        """Gives a turn back: to who waits longest, or to whoever comes."""
        with self._lock:
            while self._waiting:
                mine = self._waiting.popleft()
                if mine.set_running_or_notify_cancel():
                    break
            else:
                self._free += 1
                return
        mine.set_result(None)
