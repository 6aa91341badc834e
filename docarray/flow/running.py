"""Running: a Flow at work."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from docarray.array import DocumentArray
from docarray.flow import states
from docarray.flow.envelope import Envelope, Visit
from docarray.flow.faults import FlowStartError, Overloaded
from docarray.flow.groups import Group, Make
from docarray.flow.inline import InlineCrew
from docarray.flow.joins import apart
from docarray.flow.loops import LoopThread, together
from docarray.flow.plan import Plan
from docarray.flow.seeing import Numbers, node_status, tracing_of
from docarray.flow.spec import DeploymentSpec, FlowSpec

if TYPE_CHECKING:
    from docarray.flow.tracing import Tracing

__all__ = ["Running"]

_THREADS: Final = 32
_NOTHING: Final = contextlib.nullcontext()


class Running:
    """A Flow at work: what runs of its deployments, and its loop.

    Args:
        spec: the Flow.

    Raises:
        FlowStartError: an Executor could not be made; those that were are closed.
    """

    def __init__(self, spec: FlowSpec) -> None:
        self.spec = spec
        self._ends = contextlib.ExitStack()
        self._in_flight = 0
        self._most = spec.gateway.max_in_flight
        self.tracing: Tracing | None = tracing_of(spec.gateway.tracing)
        """What makes spans; None: nothing is traced."""
        self.numbers: Numbers = Numbers(lambda: self.plan.endpoints())
        with contextlib.ExitStack() as ends:
            self.pool: ThreadPoolExecutor = ThreadPoolExecutor(
                _THREADS, thread_name_prefix=f"{spec.name}-plain"
            )
            ends.callback(self.pool.shutdown)
            self.loop: LoopThread = LoopThread(f"{spec.name}-loop")
            ends.callback(self.loop.close)
            self.groups: dict[str, Group] = {}
            self.leaving: dict[asyncio.Task[None], list[Group]] = {}
            ends.callback(lambda: self.loop.run(self._end()))
            for one in spec.deployments:
                self.groups[one.name] = Group(one, self.maker(one))
            self.loop.run(together(group.start() for group in self.groups.values()))
            self.plan: Plan = Plan(spec, self.groups, self.pool, self.tracing)
            ends.callback(lambda: self.loop.run(self.plan.settle()))
            self._ends = ends.pop_all()

    def maker(self, spec: DeploymentSpec) -> Make:
        """How the crews of a deployment are made."""
        if spec.external:
            from docarray.flow.external import ExternalCrew

            return lambda shard, role, uses: ExternalCrew(spec)
        engine = spec.engine or self.spec.engine
        apart = spec.replicas > 1 or spec.install_requirements or "CUDA_VISIBLE_DEVICES" in spec.env
        if spec.install_requirements and engine == "inline":
            raise FlowStartError(
                f"deployment {spec.name!r}: install_requirements goes with engine='process': packages that are "
                "installed into this process would be those of all its deployments"
            )
        if engine == "process" or (engine is None and apart):
            from docarray.flow.process import ProcessCrew

            return lambda shard, role, uses: ProcessCrew(spec, shard, role, uses)
        provider = None if self.tracing is None else self.tracing.provider
        return lambda shard, role, uses: InlineCrew(spec, self.pool, shard, role, uses, provider)

    async def _end(self) -> None:
        """Closes what runs, the last first, whatever the others raise."""
        leaving = [group for groups in self.leaving.values() for group in groups]
        for task in self.leaving:
            task.cancel()
        await states.ended(self.groups.values())
        async with contextlib.AsyncExitStack() as ends:
            for group in (*leaving, *self.groups.values()):
                ends.push_async_callback(group.close)

    def close(self) -> None:
        """Ends all of it, in the reverse order of its beginning."""
        self._ends.close()

    # ------------------------------------------------------------------------------------------ requests

    @property
    def in_flight(self) -> int:
        """Requests that are worked on, or wait, in its loop."""
        return self._in_flight

    @contextlib.contextmanager
    def _noted(self, envelope: Envelope) -> Generator[None]:
        began, count = time.perf_counter(), len(envelope.docs)
        wrong: BaseException | None = None
        traced = (
            None if self.tracing is None else self.tracing.gateway(envelope, self.spec.name, self.numbers)
        )
        try:
            with traced or _NOTHING:
                yield
        except GeneratorExit:  # who took the parts has had enough
            raise
        except BaseException as error:
            wrong = error
            raise
        finally:
            self.numbers.note(envelope, count, time.perf_counter() - began, wrong)

    @contextlib.contextmanager
    def _counted(self) -> Generator[None]:
        if self._in_flight >= self._most:
            raise Overloaded(
                f"{self.spec.name!r} works on {self._in_flight} requests, and takes no more; try again later"
            )
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def answer(self, envelope: Envelope) -> None:
        """Has a request answered. The documents that came stay as they are."""
        try:
            with self._noted(envelope), self._counted():
                if not envelope.own:
                    envelope.docs = apart(envelope.docs)
                await self.plan.run(envelope)
        finally:
            self._routed(envelope)

    def answer_here(self, envelope: Envelope) -> bool:
        """The same in this thread, where all that it takes are plain methods one after the other. Else False."""
        route = self.plan.enter_here(envelope)
        if route is None:
            return False
        try:
            if not envelope.own:
                envelope.docs = apart(envelope.docs)
            with self._noted(envelope):
                self.plan.run_here(route, envelope)
        finally:
            route.age.users.pop()
            self._routed(envelope)
        return True

    @staticmethod
    def _routed(envelope: Envelope) -> None:
        envelope.routes.insert(0, Visit("gateway", envelope.started, time.time()))

    async def stream(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part."""
        with self._noted(envelope), self._counted():
            if not envelope.own:
                envelope.docs = apart(envelope.docs)
            async with contextlib.aclosing(self.plan.stream(envelope)) as parts:
                async for part in parts:
                    yield part

    async def is_ready(self) -> bool:
        """Whether all deployments would work on a request."""
        return all(await asyncio.gather(*(group.is_ready() for group in self.groups.values())))

    def status(self) -> dict[str, Any]:
        """What is to be seen of each deployment; see `Flow.status`."""
        return {name: node_status(group, self.numbers) for name, group in self.groups.items()}
