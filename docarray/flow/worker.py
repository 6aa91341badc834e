"""Worker: one Executor at work. It is the same in every engine.

Rule 1: a plain method works on one request at a time, in a thread; a coroutine on as many as come. `max_concurrency`
        says another number for both.
Rule 2: what is abandoned is cancelled: a coroutine where it waits, a plain method that has not begun.
Rule 3: what a handler raises leaves here as ExecutorError; what it says of itself (faults.TOLD) stays what it is.
Rule 4: who waits costs no thread: a thread is asked for when it is one's turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor as Pool
from typing import Any

from docarray.array import DocumentArray
from docarray.errors import BadValue
from docarray.flow.batching import Batcher
from docarray.flow.call import Call, answer, answered, pulled, yielded
from docarray.flow.executor import Executor
from docarray.flow.faults import TOLD, ExecutorError, FlowStartError, Overloaded
from docarray.flow.handlers import DEFAULT, Handler
from docarray.flow.states import State
from docarray.flow.turns import Turns

__all__ = ["Seat", "Worker"]


class Worker:
    """One Executor at work.

    Args:
        executor: that works.
        name: of its deployment.
        pool: the threads in which plain methods run.
        max_concurrency: requests that it works on at the same time; None: see rule 1.
        max_queue: requests that may wait beyond; one more is refused.
        state: where it keeps what it remembers; None: nowhere.
    """

    def __init__(
        self,
        executor: Executor,
        name: str,
        pool: Pool,
        max_concurrency: int | None = None,
        max_queue: int | None = None,
        state: State | None = None,
    ) -> None:
        self.executor = executor
        self.name = name
        self.busy: int = 0
        """Requests that it works on, or that wait for it."""
        self.served: int = 0
        """Requests that it has answered."""
        self._state = state
        self._pool = pool
        self._handlers: Mapping[str, Handler] = executor._handlers  # pyright: ignore[reportPrivateUsage]
        self._most = None if max_queue is None else max_queue + (max_concurrency or 1)
        self._turns = Turns(max_concurrency or 1)
        self._slots = None if max_concurrency is None else asyncio.Semaphore(max_concurrency)
        self._counting = threading.Lock()
        self._batchers: dict[str, Batcher] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What parameters call it."""
        own = str(self.executor.metas.name)
        return (self.name,) if own == self.name else (self.name, own)

    def handler(self, endpoint: str) -> Handler | None:
        """Who answers an endpoint; None where documents are passed on."""
        return self._handlers.get(endpoint) or self._handlers.get(DEFAULT)

    @property
    def endpoints(self) -> Mapping[str, Handler]:
        """Its handlers by endpoint."""
        return self._handlers

    # ------------------------------------------------------------------------------------------ one request

    def _enter(self) -> None:
        with self._counting:
            if self._most is not None and self.busy >= self._most:
                raise Overloaded(f"{self.name} has {self.busy} requests, and takes no more; try again later")
            self.busy += 1

    def _leave(self) -> None:
        with self._counting:
            self.busy -= 1
            self.served += 1

    def call_here(self, call: Call) -> dict[str, Any] | None:
        """Has a plain method work on a request in this thread.

        Raises:
            ExecutorError: it raised. Overloaded: too many wait.
        """
        handler = self.handler(call.endpoint)
        if handler is None:
            return None
        self._enter()
        try:
            self._turns.wait()
            try:
                return self._answer(handler, call)
            finally:
                self._turns.give()
        finally:
            self._leave()

    def _answer(self, handler: Handler, call: Call) -> dict[str, Any] | None:
        try:
            return answer(self.executor, handler, call)
        except TOLD:
            raise
        except Exception as error:
            raise ExecutorError.of(self.name, error) from error

    def seat(self, endpoint: str) -> Seat | None:
        """A turn of a plain method, if there is one at once."""
        handler = self.handler(endpoint)
        if handler is None:
            return Seat(self, None)
        with self._counting:
            if (self._most is not None and self.busy >= self._most) or not self._turns.take():
                return None
            self.busy += 1
        return Seat(self, handler)

    async def call(self, call: Call) -> dict[str, Any] | None:
        """Has a handler work on a request.

        Raises:
            ExecutorError: it raised. Overloaded: too many wait.
        """
        handler = self.handler(call.endpoint)
        if handler is None:
            return None
        if handler.streams:
            whole = DocumentArray[Any]()
            async with contextlib.aclosing(self.stream(call)) as parts:
                async for part in parts:
                    whole.extend(part)
            call.docs = whole
            return None
        if handler.batching is not None:
            return await self._batched(call.endpoint, handler, call)
        if not handler.is_async:
            self._enter()
            return await self._in_turn(self._leave, self._answer, handler, call)
        self._enter()
        try:
            async with self._slots or contextlib.nullcontext():
                return await answered(self.executor, handler, call)
        except TOLD:
            raise
        except Exception as error:
            raise ExecutorError.of(self.name, error) from error
        finally:
            self._leave()

    async def _in_turn(self, leave: Callable[[], None], work: Callable[..., Any], *args: Any) -> Any:
        """What `work` gives in a thread, when it is its turn; `leave` is called where it is over, or never begins.

        A turn lasts as long as the work does, also where nobody waits for it any more.
        """
        try:
            await self._turns.turn()
        except BaseException:
            leave()
            raise

        def over(_: object) -> None:
            self._turns.give()
            leave()

        try:
            future = self._pool.submit(work, *args)
        except BaseException:
            over(None)
            raise
        future.add_done_callback(over)
        return await asyncio.wrap_future(future)

    async def _batched(self, endpoint: str, handler: Handler, call: Call) -> dict[str, Any] | None:
        batcher = self._batchers.get(endpoint)
        if batcher is None:
            assert handler.batching is not None
            batcher = self._batchers[endpoint] = Batcher(handler, self._batch)
        with self._counted():
            call.docs = await batcher.add(call)
        return None

    async def _batch(self, handler: Handler, call: Call) -> None:
        """Has a handler work on the documents of several requests."""
        count = len(call.docs)
        try:
            if handler.is_async:
                async with self._slots or contextlib.nullcontext():
                    results = await answered(self.executor, handler, call)
            else:
                results = await self._in_turn(_nothing, answer, self.executor, handler, call)
            if results is not None or len(call.docs) != count:
                what = "a dict" if results is not None else f"{len(call.docs)} documents"
                raise BadValue(
                    f"{handler.method}() got {count} documents of several requests and gave {what}; "
                    "it gives as many as it got, or None"
                )
        except TOLD:
            raise
        except Exception as error:
            raise ExecutorError.of(self.name, error) from error

    @contextlib.contextmanager
    def _counted(self) -> Any:
        self._enter()
        try:
            yield
        finally:
            self._leave()

    async def stream(self, call: Call) -> AsyncGenerator[DocumentArray[Any]]:
        """What a generator yields, as it does; of a handler that is none its whole answer.

        Where nobody asks for the next part the generator is closed.
        """
        handler = self.handler(call.endpoint)
        if handler is None or not handler.streams:
            await self.call(call)
            yield call.docs
            return
        with self._counted():
            try:
                if handler.is_async:
                    async with self._slots or contextlib.nullcontext():
                        source = yielded(self.executor, handler, call)
                        async with contextlib.aclosing(source):
                            async for part in source:
                                yield part
                else:
                    async for part in self._pulled(handler, call):
                        yield part
            except TOLD:
                raise
            except Exception as error:
                raise ExecutorError.of(self.name, error) from error

    async def _pulled(self, handler: Handler, call: Call) -> AsyncGenerator[DocumentArray[Any]]:
        source = pulled(self.executor, handler, call)
        try:
            while (part := await self._in_turn(_nothing, next, source, None)) is not None:
                yield part
        finally:
            with contextlib.suppress(ValueError):  # it runs: it was abandoned in the middle of a part
                source.close()

    # ------------------------------------------------------------------------------------------ beginning and end

    async def warmup(self) -> None:
        """Has the Executor remember what it is to, and warm up."""
        if self._state is not None:
            await self._state.recall(self._alone)
        try:
            await self._hook(self.executor.warmup)
        except Exception as error:
            raise FlowStartError(f"{self.name}: warmup() raised {type(error).__name__}: {error}") from error

    async def snapshot(self) -> str | None:
        """Has the Executor keep what it remembers; gives the folder. None: it keeps nothing.

        Raises:
            ExecutorError: its `snapshot` raised. Unavailable: it has not begun.
        """
        return None if self._state is None else await self._state.keep(self._alone)

    async def _alone(self, hook: Callable[[str], Any], path: str) -> Any:
        """Has a hook work while no plain method does."""
        if not inspect.iscoroutinefunction(hook):
            return await self._in_turn(_nothing, hook, path)
        await self._turns.turn()
        try:
            return await hook(path)
        finally:
            self._turns.give()

    async def health(self) -> bool:
        """Whether the Executor says that it can work."""
        try:
            return await self._hook(self.executor.health) is not False
        except Exception:
            self.executor.logger.exception("%s: health() raised", self.name)
            return False

    async def close(self) -> None:
        """Ends what waits, and closes the Executor."""
        for batcher in self._batchers.values():
            await batcher.close()
        await self._hook(self.executor.close)

    async def _hook(self, hook: Callable[[], Any]) -> Any:
        if inspect.iscoroutinefunction(hook):
            return await hook()
        done = await asyncio.get_running_loop().run_in_executor(self._pool, hook)
        return await done if inspect.isawaitable(done) else done


def _nothing() -> None: ...


class Seat:
    """A turn of one plain method. Whoever has it works, or leaves.

    Args:
        worker: whose turn it is.
        handler: that works; None passes documents on.
    """

    __slots__ = ("_handler", "_worker")

    def __init__(self, worker: Worker, handler: Handler | None) -> None:
        self._worker = worker
        self._handler = handler

    def call(self, call: Call) -> dict[str, Any] | None:
        """Works on a request in this thread, and leaves.

        Raises:
            ExecutorError: the handler raised.
        """
        if self._handler is None:
            return None
        try:
            return self._worker._answer(self._handler, call)  # pyright: ignore[reportPrivateUsage]
        finally:
            self.leave()

    def leave(self) -> None:
        """Gives the turn back. A second time does nothing."""
        if self._handler is not None:
            self._handler = None
            self._worker._turns.give()  # pyright: ignore[reportPrivateUsage]
            self._worker._leave()  # pyright: ignore[reportPrivateUsage]
