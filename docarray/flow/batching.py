"""Dynamic batching: documents of several requests, worked on at once.

Rule 1: requests with equal parameters are put together; a batch begins with its first request, and is closed when it is
        full or its time is over. The next one fills while this one is worked on.
Rule 2: a request is never split: one that would make a batch too large is in the next.
Rule 3: an error belongs to those whose batch it was. Who left before the batch began is not in it.
Rule 4: what is kept of a set of parameters goes with its batch.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from docarray.array import DocumentArray
from docarray.flow.call import Call
from docarray.flow.handlers import Handler

__all__ = ["Batcher"]

Member = tuple[Call, "asyncio.Future[DocumentArray[Any]]"]


class _Batch:
    """Requests that wait for each other."""

    __slots__ = ("members", "size", "timer")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.members: list[Member] = []
        self.size = 0
        self.timer = timer


class Batcher:
    """The batches of one endpoint of one Executor.

    Args:
        handler: that works on them; its `batching` says how.
        work: has it work on one.
    """

    def __init__(self, handler: Handler, work: Callable[[Handler, Call], Awaitable[None]]) -> None:
        assert handler.batching is not None
        self._handler = handler
        self._work = work
        self._most = handler.batching.preferred_batch_size
        self._patience = handler.batching.timeout / 1000
        self._open: dict[str, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, call: Call) -> DocumentArray[Any]:
        """What becomes of the documents of a request.

        Raises:
            What the handler raised for the batch.
        """
        loop = asyncio.get_running_loop()
        key = json.dumps(call.parameters, sort_keys=True, default=repr) if call.parameters else ""
        count = len(call.docs)
        batch = self._open.get(key)
        if batch is not None and batch.size + count > self._most:
            self._begin(key)
            batch = None
        if batch is None:
            batch = self._open[key] = _Batch(loop.call_later(self._patience, self._begin, key))
        waiting: asyncio.Future[DocumentArray[Any]] = loop.create_future()
        batch.members.append((call, waiting))
        batch.size += count
        if batch.size >= self._most:
            self._begin(key)
        return await waiting

    def _begin(self, key: str) -> None:
        batch = self._open.pop(key)
        batch.timer.cancel()
        task = asyncio.get_running_loop().create_task(self._run(batch.members))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, members: list[Member]) -> None:
        members = [one for one in members if not one[1].done()]
        if not members:
            return
        first = members[0][0]
        docs = first.docs if len(members) == 1 else DocumentArray[Any]()
        if len(members) > 1:
            for call, _ in members:
                docs.extend(call.docs)
        bounds = [len(call.docs) for call, _ in members]
        marks = ",".join(call.request_id for call, _ in members)
        trace = first.tracing_context
        whole = Call(first.endpoint, docs, first.parameters, tracing_context=trace, request_id=marks)
        try:
            await self._work(self._handler, whole)
        except BaseException as error:
            for _, waiting in members:
                if not waiting.done():
                    waiting.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            if not isinstance(error, Exception):
                raise
            return
        start = 0
        for (_, waiting), count in zip(members, bounds, strict=True):
            if not waiting.done():
                alone = len(members) == 1
                waiting.set_result(whole.docs if alone else whole.docs[start : start + count])
            start += count

    async def close(self) -> None:
        """Works on what waits, and waits for that."""
        for key in list(self._open):
            self._begin(key)
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
