"""Lane: work that would hold up the event loop, done by a few threads; bounded, timed, dropped when nobody waits.

Rule 1: a request whose client has gone does not begin to be worked on.
Rule 2: who comes when as many wait as may is told so at once (`Busy`); nothing is queued without bound.
Rule 3: a thread cannot be stopped in the middle: what takes too long is answered `TimedOut`, and its thread is given
        back when it is done. Until then it counts as working, so that no more than so many ever work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from docarray.web.problems import Busy, TimedOut

__all__ = ["Lane"]

T = TypeVar("T")
P = ParamSpec("P")


class Lane:
    """A few threads, and the requests that wait for one of them.

    Args:
        threads: how many work at the same time.
        waiting: how many wait.
        timeout: seconds from being asked until the answer.

    >>> lane = Lane(threads=1)
    >>> asyncio.run(lane.run(sum, [1, 2, 3]))
    6
    >>> lane.close()
    """

    def __init__(self, threads: int = 4, waiting: int = 128, timeout: float = 30.0) -> None:
        self.timeout = timeout
        self._most = threads + waiting
        self._count = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="docarray-web")

    @property
    def busy(self) -> int:
        """How many are worked on or wait now."""
        return self._count

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` gives, called in a thread.

        Raises:
            Busy: as many wait as may. TimedOut: there was no answer in time. What `work` raises.
        """
        with self._lock:
            if self._count >= self._most:
                raise Busy(f"{self._count} requests are worked on or wait already; come back later")
            self._count += 1
        try:
            future = self._pool.submit(work, *args, **kwargs)
        except BaseException:
            self._done(None)
            raise
        future.add_done_callback(self._done)
        try:
            # Cancelling the wrapper cancels what has not begun.
            async with asyncio.timeout(self.timeout):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            own = future.exception() if future.done() and not future.cancelled() else None
            if own is not None:
                raise own from None  # the work's own, and not ours
            raise TimedOut(f"there was no answer within {self.timeout:g} s") from None

    def _done(self, future: Any) -> None:
        del future
        with self._lock:
            self._count -= 1

    def close(self, wait: bool = True) -> None:
        """Gives the threads back; what waits is dropped."""
        self._pool.shutdown(wait=wait, cancel_futures=True)
