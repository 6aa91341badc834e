"""Event loops for callers that have none: one in a thread of its own, which can be asked from anywhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, Self, TypeVar

__all__ = ["LoopThread", "each", "together", "wait"]

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a thread until it is closed.

    Code that is itself called by an event loop, as a cell of a notebook is, can wait for what runs here.
    """

    def __init__(self, name: str = "docarray-flow") -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name=name, daemon=True)
        try:
            self._thread.start()
            started.wait()
        except BaseException:  # Ctrl-C
            self.close()
            if not self._thread.is_alive():
                self.loop.close()  # where the thread never began
            raise

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(started.set)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begins a coroutine in the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """What a coroutine gives, waited for. Where the wait is broken off, so is the coroutine."""
        future: Future[T] | None = None
        try:
            future = self.submit(work)
            return future.result(timeout)
        except BaseException:
            if future is not None:
                future.cancel()
            raise

    @property
    def is_here(self) -> bool:
        """Whether it is this thread that runs the loop: to wait here would be to wait for ever."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Ends the loop; what runs in it is cancelled first. A second time does nothing."""
        if not self._thread.is_alive():
            return
        self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    async def _cancel_all(self) -> None:
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def wait(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives, also where an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)  # type: ignore[arg-type]
    with LoopThread() as loop:
        return loop.run(work)


async def each(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Awaits several at the same time, all of them, also where one fails.

    Raises:
        What the first of them raised.
    """
    for one in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(one, BaseException):
            raise one


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Awaits several at the same time. Where one fails the others are cancelled, and waited for.

    Raises:
        What the first of them raised.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
