"""Plan: a Flow compiled. It sends a request from deployment to deployment, and says what comes back.

Rule 1: a plan is made once for each endpoint and target; a request allocates little, and nothing is copied but where
        two branches get the same documents.
Rule 2: what a branch does to its documents no other branch sees, and what comes of a join does not depend on who was
        first.
Rule 3: who does not answer the endpoint is passed by. If nobody answers it, that is an error.
Rule 4: a request that has begun goes on through the deployments that there were then, whatever takes their place.
Rule 5: stages of plain methods in this process, one after the other, are one piece of work of one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from concurrent.futures import Executor as Pool
from typing import TYPE_CHECKING, Any, Final, cast

from docarray.array import DocumentArray
from docarray.errors import near_miss
from docarray.flow.call import Call
from docarray.flow.envelope import Envelope, Visit, parameters_for
from docarray.flow.faults import BadRequest, DeadlineExceeded, NoEndpoint
from docarray.flow.groups import Group
from docarray.flow.joins import apart, filtered, joined, ordered
from docarray.flow.spec import GATEWAY, DeploymentSpec, FlowSpec
from docarray.flow.worker import Seat

if TYPE_CHECKING:
    from docarray.flow.tracing import Tracing

__all__ = ["DRY_RUN", "Plan"]

DRY_RUN: Final = "_jina_dry_run_"
"""An endpoint that all deployments pass on; who serves it asks `Group.is_ready` of each beside."""
LOG: Final = logging.getLogger("docarray.flow")
_COSTLY: Final = re.compile(r"[+*{].*[)+*{]")  # repetitions of repetitions: a pattern can take for ever
_NOTHING: Final = contextlib.nullcontext()
_ROUTES: Final = 256  # endpoints whose plan is kept


class _Step:
    """One deployment on the way of requests to one endpoint."""

    __slots__ = ("floating", "group", "name", "plain", "skipped", "sources", "spec")

    def __init__(self, spec: DeploymentSpec, group: Group, sources: tuple[int, ...]) -> None:
        self.spec: DeploymentSpec = spec
        self.group: Group = group
        self.name: str = spec.name
        # Places of those whose documents it gets; -1: those of the request.
        self.sources: tuple[int, ...] = sources
        self.skipped: bool = False  # it passes documents on
        self.plain: bool = False  # it can work in the calling thread
        self.floating: bool = False  # nobody waits for it

    def gathered(self, docs: Sequence[DocumentArray[Any]], envelope: Envelope) -> Call:
        """The call of this step; `docs` are its own."""
        spec = self.spec
        matrix: list[DocumentArray[Any]] | None = None
        table: dict[str, DocumentArray[Any]] | None = None
        if spec.when is not None:
            docs = [filtered(part, spec.when) for part in docs]
        if len(docs) == 1:
            whole = docs[0]
        else:
            if spec.reduce == "none":
                matrix = list(docs)
                table = dict(zip(spec.needs, docs, strict=True))
            whole = joined(spec.reduce, docs)
        return Call(
            envelope.endpoint,
            whole,
            parameters_for(self.group.names, envelope.parameters),
            matrix,
            table,
            request_id=envelope.request_id,
        )


class Age:
    """What there is of deployments until one of them is exchanged."""

    __slots__ = ("groups", "over", "spec", "users")

    def __init__(self, spec: FlowSpec, groups: Mapping[str, Group]) -> None:
        self.spec: FlowSpec = spec
        self.groups: Mapping[str, Group] = groups
        self.over: bool = False
        """Whether there is a newer one."""
        self.users: list[None] = []
        """An item for each request that is on its way in it: to append and to pop are whole in any thread."""


class _Route:
    """The plan of one endpoint and target."""

    __slots__ = ("age", "chain", "plain", "reorders", "stages", "steps", "takers")

    def __init__(self, age: Age, steps: list[_Step], last: int) -> None:
        self.age: Age = age
        self.steps: list[_Step] = steps
        # Who gets the documents of each: steps and which of their sources that is; after all of them the answer.
        self.takers: dict[int, list[tuple[int, int]]] = {}
        for at, step in enumerate(steps):
            for place, source in enumerate(step.sources):
                self.takers.setdefault(source, []).append((at, place))
        self.takers.setdefault(last, []).append((len(steps), 0))
        self.reorders: bool = any(step.spec.when is not None for step in steps)
        # A chain: each step has the documents of the one before it.
        self.chain: bool = (
            all(
                step.sources == (at - 1,) and not step.floating and step.spec.when is None
                for at, step in enumerate(steps)
            )
            and last == len(steps) - 1
        )
        self.stages: list[list[_Step]] = []
        for step in steps:
            if step.skipped:
                continue
            if self.stages and step.plain and self.stages[-1][-1].plain:
                self.stages[-1].append(step)
            else:
                self.stages.append([step])
        # All of it can be done in the calling thread.
        self.plain: bool = (
            self.chain
            and len(self.stages) <= 1
            and all(step.plain for stage in self.stages for step in stage)
        )


class Plan:
    """A Flow whose deployments run.

    Args:
        spec: the Flow.
        groups: what runs of each deployment, by name.
        pool: the threads of plain methods.
        tracing: what makes spans; None: nothing is traced.
    """

    def __init__(
        self, spec: FlowSpec, groups: Mapping[str, Group], pool: Pool, tracing: Tracing | None = None
    ) -> None:
        self.age: Age = Age(spec, groups)
        self._pool = pool
        self._tracing = tracing
        self._routes: dict[tuple[str, str | None], _Route] = {}
        self._floating: set[asyncio.Task[Any]] = set()

    # ------------------------------------------------------------------------------------------ compiling

    def endpoints(self) -> list[str]:
        """All that some deployment answers by name."""
        return sorted({point for group in self.age.groups.values() for point in group.offers})

    def exchange(self, spec: FlowSpec, groups: Mapping[str, Group]) -> Age:
        """Sends requests that come from now on through these deployments.

        Returns:
            The age that is over: when nobody uses it any more, what is not in the new one can be closed.
        """
        before, self.age = self.age, Age(spec, groups)
        self._routes.clear()
        before.over = True
        return before

    def _entered(self, endpoint: str, target: str | None) -> _Route:
        """The way of a request that begins: it is among the users of its age until it ends."""
        while True:
            route = self.route(endpoint, target)
            route.age.users.append(None)
            if not route.age.over:
                return route
            route.age.users.pop()  # another thread has put an end to it just now
            self._routes.pop((endpoint, target), None)

    def route(self, endpoint: str, target: str | None) -> _Route:
        """The way of requests to an endpoint.

        Raises:
            NoEndpoint: nobody answers it. BadRequest: the target is no pattern, or no deployment's name begins so.
        """
        found = self._routes.get((endpoint, target))
        if found is None:
            found = self._compiled(endpoint, target)
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            self._routes[endpoint, target] = found
        return found

    def _compiled(self, endpoint: str, target: str | None) -> _Route:
        age = self.age
        deployments = age.spec.deployments
        chosen = _chosen(age.spec, target)
        places = {one.name: at for at, one in enumerate(deployments)} | {GATEWAY: -1}
        last = places[age.spec.last]
        waited = _upstream(age.spec, last, places)
        steps: list[_Step] = []
        known: set[bool | None] = set()
        for at, one in enumerate(deployments):
            group = age.groups[one.name]
            step = _Step(one, group, tuple(places[name] for name in one.needs))
            answers = group.answers(endpoint)
            step.skipped = one.name not in chosen or answers is False or endpoint == DRY_RUN
            if one.name in chosen and endpoint != DRY_RUN:
                known.add(answers)
            step.plain = not step.skipped and one.timeout_send is None and group.is_plain(endpoint)
            step.floating = at not in waited
            steps.append(step)
        if True not in known and False in known:
            # It names what comes near it, or else all that there are.
            said = near_miss(endpoint[:100], self.endpoints())
            raise NoEndpoint(f"nobody answers {endpoint!r:.100}. {said}")
        return _Route(age, steps, last)

    # ------------------------------------------------------------------------------------------ running

    def enter_here(self, envelope: Envelope) -> _Route | None:
        """The way of a request that `run_here` can answer: a chain of plain methods, in this process. Else None."""
        route = self._entered(envelope.endpoint, envelope.target)
        if not route.plain:
            route.age.users.pop()
            return None
        return route

    def run_here(self, route: _Route, envelope: Envelope) -> None:
        """Answers a request in this thread. The documents of the envelope become the answer.

        Args:
            route: of `enter_here`. Who got it says when it is over: `route.age.users.pop()`.
        """
        for stage in route.stages:
            self._work(stage, envelope)
        envelope.finish()

    async def run(self, envelope: Envelope) -> None:
        """Answers a request. The documents of the envelope become the answer.

        Raises:
            ExecutorError: a handler raised. NoEndpoint, BadRequest, Overloaded, Unavailable, DeadlineExceeded: see
                docarray.flow.faults.
        """
        route = self._entered(envelope.endpoint, envelope.target)
        try:
            await self._timed(route, envelope)
        finally:
            route.age.users.pop()
        envelope.finish()

    async def _timed(self, route: _Route, envelope: Envelope) -> None:
        if envelope.deadline is None:
            await self._run(route, envelope)
            return
        try:
            async with asyncio.timeout(envelope.left()):
                await self._run(route, envelope)
        except TimeoutError as error:
            if isinstance(error, DeadlineExceeded):
                raise
            raise _too_late(envelope) from None

    async def _run(self, route: _Route, envelope: Envelope) -> None:
        if not route.chain:
            envelope.docs = await self._spread(route, envelope)
            return
        for stage in route.stages:
            seats = _seats(stage, envelope) if stage[0].plain else None
            if seats is not None:
                future = self._pool.submit(self._work, stage, envelope, seats)
                future.add_done_callback(lambda _, seats=seats: _left(seats))  # also where it never began
                await asyncio.wrap_future(future)
                continue
            # Where one has to wait, each waits alone: a thread is not for waiting.
            for step in stage:
                call = step.gathered([envelope.docs], envelope)
                envelope.docs = await self._visit(step, call, envelope)

    async def stream(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part, where a handler yields; each part goes on through those after it.

        Where there are branches, or no handler yields, the whole answer is the one part.

        Raises:
            See `run`. What was yielded before stays said.
        """
        route = self._entered(envelope.endpoint, envelope.target)
        try:
            async with contextlib.aclosing(self._streamed(route, envelope)) as parts:
                async for part in parts:
                    yield part
        finally:
            route.age.users.pop()

    async def _streamed(self, route: _Route, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        steps = [step for step in route.steps if not step.skipped]
        if not route.chain or not any(step.group.streams(envelope.endpoint) for step in steps):
            await self._timed(route, envelope)
            envelope.finish()
            yield envelope.docs
            return
        async with contextlib.aclosing(self._through(steps, envelope.docs, envelope)) as parts:
            while True:
                try:
                    async with asyncio.timeout(envelope.left()):
                        part = await anext(parts, None)
                except TimeoutError as error:
                    if isinstance(error, DeadlineExceeded):
                        raise
                    raise _too_late(envelope) from None
                if part is None:
                    break
                yield part
        envelope.finish()

    async def _through(
        self, steps: list[_Step], docs: DocumentArray[Any], envelope: Envelope
    ) -> AsyncGenerator[DocumentArray[Any]]:
        for at, step in enumerate(steps):
            call = step.gathered([docs], envelope)
            if not step.group.streams(envelope.endpoint):
                docs = await self._visit(step, call, envelope)
                continue
            with self._visited(step, call, envelope):
                async with contextlib.aclosing(step.group.stream(call, envelope)) as parts:
                    async for part in parts:
                        async with contextlib.aclosing(
                            self._through(steps[at + 1 :], part, envelope)
                        ) as after:
                            async for one in after:
                                yield one
            return
        yield docs

    @contextlib.contextmanager
    def _visited(self, step: _Step, call: Call, envelope: Envelope) -> Generator[None]:
        """Writes a line of the route: when it begins, and again when it ends."""
        started = time.time()
        at = len(envelope.routes)
        envelope.routes.append(Visit(step.name, started, started))
        traced = None if self._tracing is None else self._tracing.node(step.spec, call, envelope)
        try:
            with traced or _NOTHING:
                yield
        except BaseException as error:
            envelope.routes[at] = Visit(step.name, started, time.time(), str(error))
            raise
        envelope.routes[at] = Visit(step.name, started, time.time())

    def _work(self, stage: list[_Step], envelope: Envelope, seats: list[Seat] | None = None) -> None:
        """Plain methods, one after the other, in this thread; with a seat for each, or waiting for it here."""
        for at, step in enumerate(stage):
            envelope.left()
            call = step.gathered([envelope.docs], envelope)
            with self._visited(step, call, envelope):
                results = step.group.call_here(call) if seats is None else seats[at].call(call)
            envelope.docs = call.docs
            if results is not None:
                envelope.results[step.name] = results

    async def _visit(self, step: _Step, call: Call, envelope: Envelope) -> DocumentArray[Any]:
        with self._visited(step, call, envelope):
            if step.spec.timeout_send is None:
                results = await step.group.call(call, envelope)
            else:
                results = await self._in_time(step, call, envelope)
        if results is not None:
            envelope.results[step.name] = results
        return call.docs

    @staticmethod
    async def _in_time(step: _Step, call: Call, envelope: Envelope) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(step.spec.timeout_send):
                return await step.group.call(call, envelope)
        except TimeoutError as error:
            if isinstance(error, DeadlineExceeded):
                raise
            raise DeadlineExceeded(
                f"{step.name} gave no answer within {step.spec.timeout_send:g} s"
            ) from None

    async def _spread(self, route: _Route, envelope: Envelope) -> DocumentArray[Any]:
        """A request through branches and joins."""
        loop = asyncio.get_running_loop()
        ids = [doc.id for doc in envelope.docs] if route.reorders else None
        # Of each step a box for each of its sources, and one for the answer.
        boxes = [[loop.create_future() for _ in step.sources] for step in route.steps]
        boxes.append([loop.create_future()])

        def give(source: int, docs: DocumentArray[Any]) -> None:
            # All copies are made before anybody has the documents, which the last one gets.
            *others, (last, place) = route.takers.get(source) or [(-1, -1)]
            for at, where in others:
                boxes[at][where].set_result(apart(docs))
            if last >= 0:
                boxes[last][place].set_result(docs)

        async def go(at: int, step: _Step) -> None:
            call = step.gathered([await box for box in boxes[at]], envelope)
            give(at, call.docs if step.skipped else await self._visit(step, call, envelope))

        give(-1, envelope.docs)
        tasks: list[asyncio.Task[None]] = []
        for at, step in enumerate(route.steps):
            task = loop.create_task(go(at, step))
            if step.floating:
                self._keep(task, route.age)
            else:
                tasks.append(task)
        try:
            done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if left:
                raise next(cast("BaseException", one.exception()) for one in done if one.exception())
            for one in done:
                one.result()
        except BaseException:
            for task in tasks:
                task.cancel()
            for box in (box for some in boxes for box in some):
                box.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        answer: DocumentArray[Any] = boxes[-1][0].result()
        return answer if ids is None else ordered(answer, ids)

    def _keep(self, task: asyncio.Task[Any], age: Age) -> None:
        """Keeps a task that nobody waits for, and logs what it raises."""
        self._floating.add(task)
        age.users.append(None)
        task.add_done_callback(lambda _: age.users.pop())
        task.add_done_callback(self._dropped)

    def _dropped(self, task: asyncio.Task[Any]) -> None:
        self._floating.discard(task)
        if not task.cancelled() and task.exception() is not None:
            LOG.error("a floating deployment failed", exc_info=task.exception())

    async def settle(self) -> None:
        """Waits for what floats."""
        while self._floating:
            await asyncio.wait(self._floating)


def _too_late(envelope: Envelope) -> DeadlineExceeded:
    return DeadlineExceeded(f"request {envelope.request_id}: there was no answer in time")


def _seats(stage: list[_Step], envelope: Envelope) -> list[Seat] | None:
    """A turn with each of them, if all are to be had at once."""
    seats: list[Seat] = []
    for step in stage:
        seat = step.group.seat(envelope.endpoint)
        if seat is None:
            _left(seats)
            return None
        seats.append(seat)
    return seats


def _left(seats: list[Seat]) -> None:
    for seat in seats:
        seat.leave()


def _chosen(spec: FlowSpec, target: str | None) -> set[str]:
    """The names of the deployments that a target means."""
    names = {one.name for one in spec.deployments}
    if not target:
        return names
    if len(target) > 256 or _COSTLY.search(target):
        raise BadRequest(f"target {target!r:.60} is a name of a deployment, or a simple pattern of one")
    try:
        chosen = {name for name in names if re.match(target, name)}
    except re.error as error:
        raise BadRequest(f"target {target!r:.60} is no pattern: {error}") from None
    if not chosen:
        raise BadRequest(f"no deployment is called {target!r:.60}. {near_miss(target, names)}")
    return chosen


def _upstream(spec: FlowSpec, last: int, places: Mapping[str, int]) -> set[int]:
    """The places of those whose work the answer waits for."""
    found: set[int] = set()
    left = [last]
    while left:
        at = left.pop()
        if at >= 0 and at not in found:
            found.add(at)
            left.extend(places[name] for name in spec.deployments[at].needs)
    return found
