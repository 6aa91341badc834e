"""Groups: what runs of one deployment. It has a crew for each shard, and a crew is replicas, wherever they run.

Rule 1: which shard is asked, and what is made of what several say, is the same in every engine.
Rule 2: shards get copies; what comes of them is put together in their order, whoever was first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Protocol

from docarray.array import DocumentArray
from docarray.flow.call import Call
from docarray.flow.envelope import Envelope
from docarray.flow.handlers import DEFAULT, Offer
from docarray.flow.joins import apart, arrayed, joined
from docarray.flow.loops import each, together
from docarray.flow.spec import DeploymentSpec
from docarray.flow.worker import Seat

__all__ = ["Crew", "Group"]


class Crew(Protocol):
    """The replicas of one shard."""

    @property
    def names(self) -> tuple[str, ...]:
        """What parameters call it."""
        ...

    @property
    def offers(self) -> Mapping[str, Offer]:
        """What it answers, by endpoint."""
        ...

    def call_here(self, call: Call) -> dict[str, Any] | None:
        """Works on a request in this thread; only asked where the offer is plain."""
        ...

    def seat(self, endpoint: str) -> Seat | None:
        """A turn, if there is one at once; only asked where the offer is plain."""
        ...

    async def call(self, call: Call, envelope: Envelope) -> dict[str, Any] | None:
        """Works on a request; `call.docs` becomes the answer."""
        ...

    def stream(self, call: Call, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part."""
        ...

    async def start(self) -> None:
        """Ready for requests when it is over."""
        ...

    async def snapshot(self) -> list[str | BaseException | None]:
        """Has each replica keep what it remembers; gives its folder, or what it raised. None: it keeps nothing."""
        ...

    async def is_ready(self) -> bool:
        """Whether a request would be worked on."""
        ...

    async def close(self) -> None:
        """Ends it; what is under way is answered first."""
        ...

    def status(self) -> list[dict[str, Any]]:
        """Of each replica its name, what it does, and how many requests it works on and has answered."""
        ...


Make = Callable[[int, str, Any], Crew]
"""A crew of a shard, or of what is asked `before` or `after` shards: (shard, role, uses)."""


class Group:
    """What runs of one deployment.

    Args:
        spec: the deployment.
        make: makes its crews.
    """

    def __init__(self, spec: DeploymentSpec, make: Make) -> None:
        self.spec = spec
        self.shards: list[Crew] = [make(shard, "", spec.uses) for shard in range(spec.shards)]
        self._before = make(-1, "before", spec.uses_before) if spec.uses_before else None
        self._after = make(-1, "after", spec.uses_after) if spec.uses_after else None
        self._first = self.shards[0]
        self._alone = spec.shards == 1
        self._rounds = itertools.count()

    @property
    def crews(self) -> list[Crew]:
        """All of them."""
        return [*self.shards, *(one for one in (self._before, self._after) if one is not None)]

    # ------------------------------------------------------------------------------------------ what it answers

    @property
    def names(self) -> tuple[str, ...]:
        """What parameters call it."""
        return self._first.names

    @property
    def offers(self) -> Mapping[str, Offer]:
        """What it answers, by endpoint."""
        return self._first.offers

    def offer(self, endpoint: str) -> Offer | None:
        """What answers an endpoint; None: nothing does."""
        return self.offers.get(endpoint) or self.offers.get(DEFAULT)

    def answers(self, endpoint: str) -> bool | None:
        """Whether it answers an endpoint; None: it answers none at all, and passes everything on."""
        return self.offer(endpoint) is not None if self.offers else None

    def streams(self, endpoint: str) -> bool:
        """Whether it answers part by part."""
        found = self.offer(endpoint)
        return found is not None and found.streams

    def is_plain(self, endpoint: str) -> bool:
        """Whether `call_here` is possible."""
        found = self.offer(endpoint)
        return self._alone and self.spec.output_array_type is None and (found is None or found.plain)

    # ------------------------------------------------------------------------------------------ one request

    def call_here(self, call: Call) -> dict[str, Any] | None:
        """Works on a request in this thread."""
        return self._first.call_here(call)

    def seat(self, endpoint: str) -> Seat | None:
        """A turn in a thread, if there is one at once; see `is_plain`."""
        return self._first.seat(endpoint)

    async def call(self, call: Call, envelope: Envelope) -> dict[str, Any] | None:
        """Works on a request; `call.docs` becomes the answer.

        Raises:
            ExecutorError: a handler raised. See docarray.flow.faults.
        """
        results = await self._asked(call, envelope)
        if self.spec.output_array_type is not None:
            await asyncio.to_thread(arrayed, call.docs, self.spec.output_array_type)
        return results

    async def _asked(self, call: Call, envelope: Envelope) -> dict[str, Any] | None:
        if self._alone:
            return await self._first.call(call, envelope)
        results: dict[str, Any] = {}
        if self._before is not None:
            results.update(await self._before.call(call, envelope) or {})
        if self.spec.poll(call.endpoint) == "ANY":
            chosen = self.shards[next(self._rounds) % len(self.shards)]
            results.update(await chosen.call(call, envelope) or {})
        else:
            results.update(await self._all(call, envelope))
        if self._after is not None:
            results.update(await self._after.call(call, envelope) or {})
        return results or None

    async def _all(self, call: Call, envelope: Envelope) -> dict[str, Any]:
        """What all shards answer, put together."""
        *others, last = self.shards
        calls = [call.copied(apart(call.docs)) for _ in others] + [call.copied(call.docs)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(shard.call(one, envelope))
                    for shard, one in zip([*others, last], calls, strict=True)
                ]
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
            raise first from first.__cause__
        parts = [one.docs for one in calls]
        if self.spec.reduce == "none":
            call.docs_matrix = parts
        call.docs = joined(self.spec.reduce, parts)
        return {name: value for task in tasks for name, value in (task.result() or {}).items()}

    async def stream(self, call: Call, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part; with shards the whole is one part."""
        if not self._alone:
            await self.call(call, envelope)
            yield call.docs
            return
        async with contextlib.aclosing(self._first.stream(call, envelope)) as parts:
            async for part in parts:
                if self.spec.output_array_type is not None:
                    await asyncio.to_thread(arrayed, part, self.spec.output_array_type)
                yield part

    # ------------------------------------------------------------------------------------------ beginning and end

    async def start(self) -> None:
        """Ready for requests when it is over. Where one crew does not start none does.

        Raises:
            FlowStartError: why.
        """
        await together(crew.start() for crew in self.crews)

    async def is_ready(self) -> bool:
        """Whether a request would be worked on."""
        return all(await asyncio.gather(*(crew.is_ready() for crew in self.crews)))

    async def close(self) -> None:
        """Ends all of it, each crew, whatever the others raise."""
        await each(crew.close() for crew in self.crews)

    def status(self) -> list[dict[str, Any]]:
        """Of each replica its name, what it does, and how many requests it works on and has answered."""
        return [line for crew in self.crews for line in crew.status()]
