"""The engine 'inline': Executors in this process. Nothing is started, no port is opened, errors are what was raised."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Executor as Pool
from typing import Any, TypeVar

from docarray.array import DocumentArray
from docarray.flow.call import Call
from docarray.flow.config import executor_class
from docarray.flow.envelope import Envelope
from docarray.flow.executor import construct
from docarray.flow.faults import FlowStartError
from docarray.flow.handlers import Offer
from docarray.flow.loops import each
from docarray.flow.spec import DeploymentSpec
from docarray.flow.states import State
from docarray.flow.worker import Seat, Worker

__all__ = ["InlineCrew", "hired", "least_busy", "replica_name"]


def replica_name(spec: DeploymentSpec, shard: int, replica: int, role: str) -> str:
    """What a replica is called in logs and errors: `encode/rep-0`, `index/shard-1/rep-0`, `index/before`."""
    if role:
        return f"{spec.name}/{role}"
    return f"{spec.name}/{f'shard-{shard}/' if spec.shards > 1 else ''}rep-{replica}"


def hired(
    spec: DeploymentSpec, pool: Pool, shard: int, replica: int, role: str, uses: Any, provider: Any = None
) -> Worker:
    """A worker with its Executor, as the spec says.

    Args:
        spec: the deployment.
        pool: the threads of plain methods.
        shard, replica: which of its shards, and which replica of that.
        role: '' or, of what is asked besides the shards, 'before' or 'after'.
        uses: the Executor of this role.
        provider: who makes its tracer; None: who does so for the whole process, if anybody.

    Raises:
        FlowStartError: there is no such class, or its constructor raised; `__cause__` is what.
    """
    name = replica_name(spec, shard, replica, role)
    said = dict[str, Any]() if role else {one: getattr(spec, f"uses_{one}") for one in _SAID}
    try:
        made = executor_class(uses, spec)
        executor = construct(
            made.cls,
            {**made.arguments, **said.get("with", {})},
            metas={"name": made.cls.__name__, **made.metas, **said.get("metas", {})},
            requests={**made.requests, **said.get("requests", {})},
            dynamic_batching={**made.dynamic_batching, **said.get("dynamic_batching", {})},
            runtime_args={
                "name": name,
                "shard_id": shard if spec.shards > 1 else -1,
                "shards": spec.shards,
                "replicas": spec.replicas,
                "replica_id": replica,
                "workspace": spec.workspace or made.workspace,
                **({} if provider is None else {"tracer_provider": provider}),
            },
        )
        state = None if spec.snapshots is None else State.of(executor, spec.snapshots, name, role)
    except Exception as error:
        raise FlowStartError(f"{name} did not start: {type(error).__name__}: {error}") from error
    return Worker(executor, spec.name, pool, spec.max_concurrency, spec.max_queue, state)


_SAID = ("with", "metas", "requests", "dynamic_batching")


W = TypeVar("W")


def least_busy(some: Sequence[W], turn: int) -> W:
    """The one with the fewest requests; of several the next in turn."""
    if len(some) == 1:
        return some[0]
    start = turn % len(some)
    return min((*some[start:], *some[:start]), key=_busy)


def _busy(one: Any) -> int:
    return one.busy


class InlineCrew:
    """The replicas of one shard, in this process; see `docarray.flow.groups.Crew`."""

    def __init__(
        self, spec: DeploymentSpec, pool: Pool, shard: int, role: str, uses: Any, provider: Any = None
    ) -> None:
        count = 1 if role else spec.replicas
        self.workers: list[Worker] = [
            hired(spec, pool, shard, replica, role, uses, provider) for replica in range(count)
        ]
        self.names: tuple[str, ...] = self.workers[0].names
        self.offers: dict[str, Offer] = {
            point: handler.offer for point, handler in self.workers[0].endpoints.items()
        }
        self._turn = itertools.count()

    def _free(self) -> Worker:
        return least_busy(self.workers, next(self._turn))

    def call_here(self, call: Call) -> dict[str, Any] | None:
        """See Crew."""
        return self._free().call_here(call)

    def seat(self, endpoint: str) -> Seat | None:
        """See Crew."""
        return self._free().seat(endpoint)

    async def call(self, call: Call, envelope: Envelope) -> dict[str, Any] | None:
        """See Crew."""
        del envelope
        return await self._free().call(call)

    async def stream(self, call: Call, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """See Crew."""
        del envelope
        async with contextlib.aclosing(self._free().stream(call)) as parts:
            async for part in parts:
                yield part

    async def start(self) -> None:
        """See Crew."""
        await asyncio.gather(*(worker.warmup() for worker in self.workers))

    async def snapshot(self) -> list[str | BaseException | None]:
        """See Crew."""
        return await asyncio.gather(*(worker.snapshot() for worker in self.workers), return_exceptions=True)

    async def is_ready(self) -> bool:
        """See Crew."""
        return all(await asyncio.gather(*(worker.health() for worker in self.workers)))

    async def close(self) -> None:
        """See Crew."""
        await each(worker.close() for worker in self.workers)

    def status(self) -> list[dict[str, Any]]:
        """See Crew."""
        return [
            {
                "name": worker.executor.runtime_args.name,
                "state": "ready",
                "busy": worker.busy,
                "served": worker.served,
            }
            for worker in self.workers
        ]
