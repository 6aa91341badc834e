"""The engine 'process': Executors in processes of their own, started anew where they end.

Rule 1: a process is started by exec, never by fork, and gets what it is over a socket of its own. What is defined
        in a notebook or a script goes there by value.
Rule 2: a request that was sent to a process which is lost is sent to another one only if its handler says that this
        does no harm. One that was not yet sent waits for a process that is there.
Rule 3: no process outlives the Flow, nor the process of the Flow.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import logging
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from docarray.array import DocumentArray
from docarray.errors import BadValue
from docarray.flow import config
from docarray.flow.call import Call
from docarray.flow.child import Start
from docarray.flow.envelope import Envelope
from docarray.flow.faults import BadRequest, DeadlineExceeded, FlowStartError, RemoteTraceback, Unavailable
from docarray.flow.handlers import DEFAULT, Offer
from docarray.flow.inline import least_busy, replica_name
from docarray.flow.link import Kind, Link, docs_of, error_of, packed_call
from docarray.flow.logs import levels, relayed
from docarray.flow.loops import together
from docarray.flow.monitors import Monitors
from docarray.flow.pairs import begun
from docarray.flow.spec import DeploymentSpec
from docarray.flow.worker import Seat
from docarray.registry import require

if TYPE_CHECKING:
    from docarray.flow.environments import Environment

__all__ = ["ProcessCrew", "devices"]

LOG: Final = logging.getLogger("docarray.flow")
_AHEAD: Final = 4  # parts of a stream that are sent before one is taken
_PATIENCE: Final = 10.0  # seconds that a request waits for a process that is started anew
_FAILURES: Final = 8  # starts in vain, one after the other, after which it is left alone
_STEADY: Final = 5.0  # seconds after which the next process of one that ended is started at once
_HEALTH: Final = 10.0  # seconds between two questions after its health
_REQUIREMENTS: Final = "requirements.txt"


class _Lost(Unavailable):
    """The process ended while it worked on a request."""


class _Unsent(Unavailable):
    """The process was gone before the request was sent."""


class Replica:
    """One process, and the ones that take its place.

    Args:
        spec: the deployment.
        shard, replica, role, uses: see `docarray.flow.inline.hired`.
        changed: is called when it becomes ready, or is no more.
    """

    def __init__(self, start: Start, changed: Any) -> None:
        self.name: str = replica_name(start.spec, start.shard, start.replica, start.role)
        self.state: str = "starting"
        """'starting', 'ready', 'lost' until it is started anew, 'degraded' where that failed too often, 'ended'."""
        self.busy: int = 0
        self.served: int = 0
        self.restarts: int = 0
        self.names: tuple[str, ...] = (start.spec.name,)
        self.offers: Mapping[str, Offer] = MappingProxyType({})
        self.files: set[str] = set()
        """Its code, where somebody looks after that."""
        self.monitors: Monitors = Monitors()
        """What its processes have timed."""
        self._start = start
        self._changed = changed
        self._process: subprocess.Popen[bytes] | None = None
        self._spawning: asyncio.Future[socket.socket] | None = None
        self._link: Link | None = None
        self._ready: asyncio.Future[None] | None = None
        self._is_made = False  # its process was ready, whatever it is now
        self._gone = asyncio.Event()
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._streams: dict[int, asyncio.Queue[bytes | BaseException | None]] = {}
        self._numbers = itertools.count(1)
        self._keeper: asyncio.Task[None] | None = None
        self._asker: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Of its process."""
        return None if self._process is None else self._process.pid

    # ------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Ready for requests when it is over.

        Raises:
            FlowStartError: why not.
        """
        await self._launch()
        loop = asyncio.get_running_loop()
        self._keeper = loop.create_task(self._keep())
        self._asker = loop.create_task(self._ask())

    async def _launch(self) -> None:
        if self._stopping:
            raise FlowStartError(f"{self.name} does not start: it is closed")
        loop = asyncio.get_running_loop()
        self._gone.clear()
        self._is_made = False
        self._ready = loop.create_future()
        body = pickle.dumps((levels(), by_value(self._start)), 5)
        private = None
        if self._start.spec.install_requirements:
            from docarray.flow.environments import environment

            private = await loop.run_in_executor(None, environment, requirements_of(self._start.spec))
        link = self._link = Link(self._frame, self._lost)
        seconds = self._start.spec.timeout_ready
        spawning = self._spawning = loop.run_in_executor(None, self._spawn, private, seconds)
        try:
            # Shielded: a process that begins is known, whatever ends the wait.
            ours = await asyncio.shield(spawning)
            ours.setblocking(False)
            await loop.create_connection(lambda: link, sock=ours)
            link.send(Kind.START, 0, body)
            async with asyncio.timeout(seconds):
                await self._ready
        except TimeoutError:
            await self._end(0)
            raise FlowStartError(
                f"{self.name} was not ready within {seconds:g} s: its constructor, or warmup(), still runs"
            ) from None
        except ConnectionError:
            code = await self._end(2.0)
            raise FlowStartError(f"{self.name} ended before it was ready: {_how(code)}") from None
        except BaseException:
            await self._end(0)
            if not link.was_open and spawning.exception() is None:
                spawning.result().close()
            raise
        self._is_made = True
        self._put("ready")

    def _spawn(self, private: Environment | None, seconds: float) -> socket.socket:
        path = sys.path if private is None else private.path(sys.path)
        python = sys.executable if private is None else private.python
        spec = self._start.spec
        number = self._start.replica + max(0, self._start.shard) * spec.replicas

        def command(end: str) -> list[str]:
            code = f"import sys; sys.path[:] = {path!r}; from docarray.flow.child import main; main({end})"
            return [python, "-c", code]

        return begun(command, {**os.environ, **devices(spec.env, number)}, self._born, seconds)

    def _born(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def _put(self, state: str) -> None:
        self.state = state
        self._changed()

    def _lost(self) -> None:
        """The other end of the socket is gone, and so is the process, or soon will be."""
        self._gone.set()
        if self.state == "ready":
            self._put("ended" if self._stopping else "lost")
        error = _Lost(f"{self.name}: its process ended while it worked on the request")
        for future in (self._ready, *self._calls.values()):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # who waited for it may have been cancelled just now
        for queue in self._streams.values():
            queue.put_nowait(error)

    async def _keep(self) -> None:
        """Starts it anew where it ends."""
        ends = 0  # of processes that did not last, one after the other
        while True:
            began = time.monotonic()
            await self._gone.wait()
            code = await self._end(2.0)
            if self._stopping:
                return
            # Exit code 0 is of one that somebody told to end, such as the end of a whole group of processes.
            LOG.log(
                logging.WARNING if code == 0 else logging.ERROR,
                "%s ended (%s); it is started anew",
                self.name,
                _how(code),
            )
            if time.monotonic() - began > _STEADY:
                ends = 0
            for _ in range(_FAILURES):
                ends += 1
                if ends > 1:
                    await asyncio.sleep(min(5.0, 0.05 * 2 ** min(ends, 7)))
                self.restarts += 1
                try:
                    await self._launch()
                    break
                except (FlowStartError, OSError):
                    LOG.exception("%s did not start anew", self.name)
            else:
                LOG.error("%s was started %d times in vain, and is left alone", self.name, _FAILURES)
                self._put("degraded")
                return

    async def _ask(self) -> None:
        """Has a process replaced that says, twice, that it cannot work, or says nothing."""
        bad = 0
        while True:
            await asyncio.sleep(_HEALTH)
            if self.state != "ready":
                bad = 0
                continue
            bad = 0 if await self.is_well() else bad + 1
            if bad >= 2:
                LOG.error("%s says that it cannot work; its process is replaced", self.name)
                self._kill()

    async def is_well(self) -> bool:
        """Whether it says that it can work."""
        if self.state != "ready":
            return False
        try:
            async with asyncio.timeout(_HEALTH):
                return await self._asked(Kind.HEALTH, b"") == b"\1"
        except (TimeoutError, Unavailable):
            return False

    async def snapshot(self) -> str | None:
        """Has its Executor keep what it remembers; gives the folder. None: it keeps nothing.

        Raises:
            Unavailable: it does not run just now. DeadlineExceeded: it takes too long. ExecutorError: it raised.
        """
        if self.state != "ready":
            raise _Unsent(f"{self.name} does not run just now, and keeps nothing")
        try:
            async with asyncio.timeout(self._start.spec.timeout_ready):
                return pickle.loads(await self._asked(Kind.SNAPSHOT, b""))
        except TimeoutError:
            raise DeadlineExceeded(f"{self.name}: its snapshot() still runs, and is given up") from None

    async def shapes(self) -> Mapping[str, Any]:
        """What its handlers take and give, by endpoint; see docarray.flow.shapes.

        Raises:
            Unavailable: it is gone.
        """
        return pickle.loads(await self._asked(Kind.SHAPES, b""))

    async def close(self) -> None:
        """Lets it answer what is under way, and end."""
        self._stopping = True
        # First, so that none is started meanwhile; one that is being started ends with it.
        tasks = [one for one in (self._asker, self._keeper) if one is not None]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._link is not None and self._link.is_open:
            with contextlib.suppress(Unavailable):
                self._link.send(Kind.STOP)
        # One that is not ready works on nothing that anybody waits for.
        await self._end(self._start.spec.timeout_close if self._is_made else 0)
        self._put("ended")

    async def _end(self, patience: float) -> int | None:
        """Waits for the process to end, so long, and then has it ended."""
        if self._spawning is not None:
            await asyncio.wait((self._spawning,))
        process = self._process
        if process is None:
            if self._link is not None:
                self._link.close()
            return None
        wait = asyncio.get_running_loop().run_in_executor
        try:
            if patience:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return await wait(None, process.wait, patience)
                LOG.warning("%s did not end within %g s, and is killed", self.name, patience)
            self._kill()
            return await wait(None, process.wait)
        finally:
            if self._link is not None:
                self._link.close()
            if process.stdin is not None:
                process.stdin.close()

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    # ------------------------------------------------------------------------------------------ frames

    def _frame(self, kind: Kind, number: int, body: bytes) -> None:
        if kind in (Kind.ANSWER, Kind.HEALTH, Kind.SHAPES):
            future = self._calls.get(number)
            if future is not None and not future.done():
                future.set_result(body)
        elif kind is Kind.ERROR:
            self._failed(number, error_of(body))
        elif kind is Kind.LOG:
            relayed(body)
        elif kind is Kind.TIMES:
            self.monitors.join(pickle.loads(body))
        elif kind in (Kind.PART, Kind.END):
            queue = self._streams.get(number)
            if queue is not None:
                queue.put_nowait(body if kind is Kind.PART else None)
        elif kind is Kind.READY and self._ready is not None and not self._ready.done():
            self.names, self.offers, self.files = pickle.loads(body)
            self._ready.set_result(None)
        elif kind is Kind.FAILED and self._ready is not None and not self._ready.done():
            said, raised, text = pickle.loads(body)
            error = FlowStartError(said or f"{self.name} did not start: {raised}")
            error.__cause__ = RemoteTraceback(text)
            self._ready.set_exception(error)
        elif kind is Kind.STOP:
            if self.state == "ready":
                self._put("lost")  # it ends of its own accord: it gets no more requests
            if self._link is not None and self._link.is_open:
                self._link.send(Kind.STOP)  # and what it was sent until now it has before this

    def _failed(self, number: int, error: BaseException) -> None:
        self.served += 1  # that it went wrong is an answer too
        future, queue = self._calls.get(number), self._streams.get(number)
        if future is not None and not future.done():
            future.set_exception(error)
        elif queue is not None:
            queue.put_nowait(error)

    async def _asked(self, kind: Kind, body: bytes) -> bytes:
        link = self._link
        if link is None or not link.is_open:
            raise _Unsent(f"{self.name} is gone")
        number = next(self._numbers)
        future = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            link.send(kind, number, body)
            await link.drained()
            return await future
        except asyncio.CancelledError:
            if link.is_open:
                link.send(Kind.CANCEL, number)
            raise
        finally:
            del self._calls[number]

    async def call(self, body: bytes) -> bytes:
        """What it answers to a request."""
        self.busy += 1
        try:
            answer = await self._asked(Kind.CALL, body)
        finally:
            self.busy -= 1
        self.served += 1
        return answer

    async def stream(self, body: bytes) -> AsyncGenerator[bytes]:
        """The parts of what it answers; it makes no more than are taken, and a few."""
        link = self._link
        if link is None or not link.is_open:
            raise _Unsent(f"{self.name} is gone")
        number = next(self._numbers)
        queue = self._streams[number] = asyncio.Queue()
        self.busy += 1
        ended = False
        try:
            link.send(Kind.STREAM, number, body)
            link.send(Kind.MORE, number, _AHEAD.to_bytes(4, "little"))
            while True:
                part = await queue.get()
                if part is None or isinstance(part, BaseException):
                    ended = True
                    if part is not None:
                        raise part
                    break
                if link.is_open:
                    link.send(Kind.MORE, number, (1).to_bytes(4, "little"))
                yield part
            self.served += 1
        finally:
            self.busy -= 1
            del self._streams[number]
            if not ended and link.is_open:
                link.send(Kind.CANCEL, number)

    def status(self) -> dict[str, Any]:
        """Its name, what it does, and how many requests it works on and has answered."""
        return {
            "name": self.name, "state": self.state, "busy": self.busy, "served": self.served, "pid": self.pid,
            "restarts": self.restarts,
        }  # fmt: skip


def _how(code: int | None) -> str:
    if code is None:
        return "nobody knows how"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def by_value(start: Start) -> bytes:
    """A pickle of what a worker is, with what only this process knows by value.

    Raises:
        MissingExtra: that takes cloudpickle, which is not installed. BadValue: something in it cannot be sent.
    """
    here = getattr(start.uses, "__module__", None) == "__main__"
    pickled: Any = pickle
    if here or importlib.util.find_spec("cloudpickle"):
        pickled = require("cloudpickle", "flow")
    try:
        return pickled.dumps(start, 5)
    except Exception as error:  # whatever the objects in it raise
        raise BadValue(
            f"deployment {start.spec.name!r} cannot be sent to a process of its own: {type(error).__name__}: {error}. "
            "engine='inline' keeps it in this one"
        ) from error


def requirements_of(spec: DeploymentSpec) -> Path:
    """The requirements.txt of an Executor: beside its YAML, or beside the first of its `py_modules`.

    Raises:
        FlowStartError: the class is said in a way that says no folder.
    """
    if config.is_file(spec.uses):
        return config.found(str(spec.uses), spec).parent / _REQUIREMENTS
    if spec.py_modules:
        return Path(spec.py_modules[0]).expanduser().resolve().parent / _REQUIREMENTS
    raise FlowStartError(
        f"deployment {spec.name!r}: install_requirements wants a {_REQUIREMENTS} beside the YAML of the Executor, or "
        "beside its py_modules; neither is said"
    )


class ProcessCrew:
    """The replicas of one shard, each in a process of its own; see `docarray.flow.groups.Crew`."""

    def __init__(self, spec: DeploymentSpec, shard: int, role: str, uses: Any) -> None:
        count = 1 if role else spec.replicas
        self._spec = spec
        self._changed = asyncio.Event()
        self.replicas: list[Replica] = [
            Replica(Start(spec, shard, at, role, uses), self._change) for at in range(count)
        ]
        self._turn = itertools.count()
        self._retries = max(1, count - 1) if spec.retries < 0 else spec.retries

    @property
    def names(self) -> tuple[str, ...]:
        """See Crew."""
        return self.replicas[0].names

    @property
    def offers(self) -> Mapping[str, Offer]:
        """See Crew."""
        return self.replicas[0].offers

    async def shapes(self) -> Mapping[str, Any]:
        """What its handlers take and give, by endpoint.

        Raises:
            Unavailable: there is no process that could say it.
        """
        return await (await self._free(set())).shapes()

    @property
    def files(self) -> set[str]:
        """Its code, where somebody looks after that."""
        return self.replicas[0].files

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _free(self, skip: set[Replica]) -> Replica:
        """The one with the least to do, waited for if all are being started anew.

        Raises:
            Unavailable: there is none, and will be none soon.
        """
        until = time.monotonic() + _PATIENCE
        while True:
            ready = [one for one in self.replicas if one.state == "ready"]
            fresh = [one for one in ready if one not in skip] or ready
            if fresh:
                return least_busy(fresh, next(self._turn))
            left = until - time.monotonic()
            if left <= 0 or all(one.state in ("degraded", "ended") for one in self.replicas):
                states = ", ".join(sorted({one.state for one in self.replicas}))
                raise Unavailable(f"{self._spec.name} has no process that could answer: {states}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    def call_here(self, call: Call) -> dict[str, Any] | None:
        """See Crew."""
        raise NotImplementedError("a process is not called in this thread")

    def seat(self, endpoint: str) -> Seat | None:
        """See Crew."""
        raise NotImplementedError("a process is not called in this thread")

    async def call(self, call: Call, envelope: Envelope) -> dict[str, Any] | None:
        """See Crew."""
        body = self._packed(call, envelope)
        skip: set[Replica] = set()
        tries = 0
        while True:
            replica = await self._free(skip)
            try:
                docs, results = pickle.loads(await replica.call(body))
                break
            except _Unsent:
                skip.add(replica)
            except _Lost:
                tries += 1
                if not self._may_repeat(call.endpoint) or tries > self._retries:
                    raise
                skip.add(replica)
        call.docs = docs_of(docs)
        return results

    def _may_repeat(self, endpoint: str) -> bool:
        offer = self.offers.get(endpoint) or self.offers.get(DEFAULT)
        return offer is not None and offer.idempotent

    def _packed(self, call: Call, envelope: Envelope) -> bytes:
        try:
            return packed_call(call, envelope.request_id, envelope.left())
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise BadRequest(f"parameters cannot be sent to another process: {error}") from error

    async def stream(self, call: Call, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """See Crew."""
        body = self._packed(call, envelope)
        replica = await self._free(set())
        async with contextlib.aclosing(replica.stream(body)) as parts:
            async for part in parts:
                yield docs_of(pickle.loads(part))

    async def start(self) -> None:
        """See Crew."""
        await together(one.start() for one in self.replicas)

    async def snapshot(self) -> list[str | BaseException | None]:
        """See Crew."""
        return await asyncio.gather(*(one.snapshot() for one in self.replicas), return_exceptions=True)

    async def is_ready(self) -> bool:
        """See Crew."""
        return any(await asyncio.gather(*(one.is_well() for one in self.replicas)))

    async def close(self) -> None:
        """See Crew."""
        await asyncio.gather(*(one.close() for one in self.replicas))

    def status(self) -> list[dict[str, Any]]:
        """See Crew."""
        return [one.status() for one in self.replicas]


# ---------------------------------------------------------------------------------------------- devices

_CUDA: Final = "CUDA_VISIBLE_DEVICES"


def devices(env: Mapping[str, str], number: int) -> dict[str, str]:
    """The environment of one replica, with the devices of CUDA dealt in turn.

    Args:
        env: as said; `CUDA_VISIBLE_DEVICES` 'RR' deals all, 'RR1:3' those from 1 to below 3, 'RR0,2' these.
        number: of the replica, those of all shards counted.

    >>> devices({'CUDA_VISIBLE_DEVICES': 'RR0,2'}, 3)
    {'CUDA_VISIBLE_DEVICES': '2'}
    """
    said = {key: str(value) for key, value in env.items()}
    asked = said.get(_CUDA, os.environ.get(_CUDA, ""))
    if not asked.startswith("RR"):
        return said
    rest = asked[2:].strip()
    if "," in rest:
        chosen = [one.strip() for one in rest.split(",") if one.strip()]
    else:
        count = _devices()
        try:
            start, _, stop = rest.partition(":")
            chosen = [str(at) for at in range(count)]
            if ":" in rest:
                chosen = chosen[int(start or 0) : int(stop) if stop else None]
            elif rest:
                chosen = chosen[int(rest) : int(rest) + 1]
        except ValueError:
            raise BadValue(f"{_CUDA}={asked!r} is none of RR, RR<from>:<to>, RR<number>,<number>") from None
    said[_CUDA] = chosen[number % len(chosen)] if chosen else ""
    return said


def _devices() -> int:
    """How many devices there are."""
    said = os.environ.get("CUDA_TOTAL_DEVICES")
    if said is not None:
        return int(said)
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
