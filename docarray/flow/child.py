"""Child: the process of one worker. It is started by `docarray.flow.process`, and is told over a socket what it is.

Rule 1: it ends when it is told to, when it gets SIGTERM, and when the other end of its socket is gone; in the first two
        cases what is under way is answered first. In the last it does even where a constructor or a method hangs.
Rule 2: Ctrl-C in a terminal is for the Flow, not for this.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import pickle
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from docarray.flow.faults import TOLD, DeadlineExceeded, ExecutorError, FlowStartError
from docarray.flow.inline import hired
from docarray.flow.link import HEAD, Kind, Link, call_of, packed, packed_error
from docarray.flow.logs import Relay, set_levels
from docarray.flow.pairs import joined
from docarray.flow.spec import DeploymentSpec
from docarray.flow.worker import Worker

__all__ = ["Start", "main"]

LOG = logging.getLogger("docarray.flow")
_GOODBYE = 5.0  # seconds that the other end has to say that it sends no more
_LAST = 5.0  # seconds that an Executor has to close when the other end is gone
_THREADS = 32
_TIMED = frozenset({Kind.ANSWER, Kind.END, Kind.ERROR, Kind.HEALTH})  # before them it is told what was timed


class Start(NamedTuple):
    """What a worker process is."""

    spec: DeploymentSpec
    shard: int
    replica: int
    role: str
    uses: Any


def main(number: int | None) -> None:
    """Runs a worker until it is told to end.

    Args:
        number: of the file descriptor of its end of the socket; None: see `docarray.flow.pairs.joined`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock, gone = joined(number)
    made = threading.Event()
    threading.Thread(target=_ends_with, args=(gone, made), name="watch", daemon=True).start()
    levels, body = pickle.loads(_first(sock))
    set_levels(levels)
    relay = Relay(lambda body: _sent(sock, Kind.LOG, body))
    logging.getLogger().addHandler(relay)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="plain") as pool:
        try:
            start: Start = pickle.loads(body)
            worker = hired(start.spec, pool, start.shard, start.replica, start.role, start.uses)
        except BaseException as error:
            _fail(sock, error)
            raise SystemExit(1) from None
        made.set()
        asyncio.run(_Child(worker, start.spec, relay).serve(sock))


def _ends_with(gone: Callable[[], object], made: threading.Event) -> None:
    """Ends this process when the other one is gone, also where something in it hangs.

    Args:
        gone: waits for that.
        made: whether there is an Executor, which has some time to close.
    """
    gone()
    if made.is_set():
        time.sleep(_LAST)
    os._exit(1)


def _first(sock: socket.socket) -> bytes:
    """The body of the first frame."""
    head = _exactly(sock, HEAD.size)
    return _exactly(sock, HEAD.unpack(head)[2])


def _exactly(sock: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = sock.recv(min(count, 1 << 20))
        if not part:
            raise SystemExit(0)  # who started this is gone
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _fail(sock: socket.socket, error: BaseException) -> None:
    """Says why there is no worker."""
    cause = error.__cause__ or error
    text = "".join(traceback.format_exception(cause))
    said = str(error) if isinstance(error, FlowStartError) else ""
    _sent(sock, Kind.FAILED, pickle.dumps((said, f"{type(cause).__name__}: {cause}", text), 5))


def _sent(sock: socket.socket, kind: Kind, body: bytes) -> bool:
    """Sends a frame before there is a link; says whether that was possible."""
    try:
        sock.sendall(HEAD.pack(kind, 0, len(body)) + body)
    except OSError:  # who started this is gone
        return False
    return True


def _shapes_of(worker: Worker) -> bytes:
    from docarray.flow.shapes import shapes  # which is read only where somebody asks

    return pickle.dumps({point: shapes(handler) for point, handler in worker.endpoints.items()}, 5)


class _Child:
    """A worker and its end of the socket."""

    def __init__(self, worker: Worker, spec: DeploymentSpec, relay: Relay) -> None:
        self._worker = worker
        self._relay = relay
        self._fatal = frozenset(name.rpartition(".")[2] for name in spec.exit_on_exceptions)
        self._reload = spec.reload
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._credits: dict[int, asyncio.Semaphore] = {}
        self._link = Link(self._frame, self._lost)
        self._over = asyncio.Event()
        self._told = asyncio.Event()  # that nothing more comes
        self._keeps = True  # what it remembers, at its end

    async def serve(self, sock: socket.socket) -> None:
        """Works on requests until the end."""
        loop = asyncio.get_running_loop()
        for name in ("SIGTERM", "SIGHUP"):
            with contextlib.suppress(
                NotImplementedError, AttributeError
            ):  # where signals are not of that kind
                loop.add_signal_handler(getattr(signal, name), self._over.set)
        try:
            await self._worker.warmup()
        except Exception as error:
            _fail(sock, error)
            raise SystemExit(1) from None
        await self._connect(sock)
        # None of them can be called in the process of the Flow.
        offers = {
            point: dataclasses.replace(handler.offer, plain=False)
            for point, handler in self._worker.endpoints.items()
        }
        files: set[str] = set()
        if self._reload:
            from docarray.flow.modules import modules_of

            files = {file for file, _ in modules_of(type(self._worker.executor)).values()}
        self._link.send(Kind.READY, 0, pickle.dumps((self._worker.names, offers, files), 5))
        await self._over.wait()
        if self._link.is_open:
            self._link.send(Kind.STOP)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _GOODBYE)
        while self._tasks:
            await asyncio.wait(self._tasks.values())
        if self._keeps:
            try:
                await self._worker.snapshot()
            except ExecutorError:
                LOG.exception("what %s remembers is not kept", self._worker.executor.runtime_args.name)
        try:
            await self._worker.close()
        except Exception:
            LOG.exception("%s: close() raised", self._worker.executor.runtime_args.name)
        self._link.close()

    async def _connect(self, sock: socket.socket) -> None:
        """Makes the link, over which from then on goes what is logged too."""
        loop, thread = asyncio.get_running_loop(), threading.get_ident()
        waiting: list[bytes] = []

        def log(body: bytes) -> bool:
            if not self._link.is_writable:
                return False
            if threading.get_ident() == thread:
                self._link.send(Kind.LOG, 0, body)
            else:
                loop.call_soon_threadsafe(self._say, Kind.LOG, 0, body)
            return True

        self._relay.to(lambda body: waiting.append(body) is None)
        sock.setblocking(False)
        await loop.create_connection(lambda: self._link, sock=sock)
        self._relay.to(log)
        for body in waiting:
            self._say(Kind.LOG, 0, body)

    def _lost(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        self._over.set()
        self._told.set()

    def _frame(self, kind: Kind, number: int, body: bytes) -> None:
        if kind is Kind.CALL:
            self._begin(number, self._call(number, body))
        elif kind is Kind.STREAM:
            self._credits[number] = asyncio.Semaphore(0)
            self._begin(number, self._stream(number, body))
        elif kind is Kind.MORE:
            self._credit(number, int.from_bytes(body, "little"))
        elif kind is Kind.CANCEL:
            task = self._tasks.get(number)
            if task is not None:
                task.cancel()
        elif kind is Kind.HEALTH:
            self._begin(number, self._health(number))
        elif kind is Kind.SHAPES:
            self._begin(number, self._shapes(number))
        elif kind is Kind.SNAPSHOT:
            self._begin(number, self._snapshot(number))
        elif kind is Kind.STOP:
            self._keeps = (
                self._keeps and self._over.is_set()
            )  # who tells it to end has asked for that, or wants none
            self._over.set()
            self._told.set()

    def _credit(self, number: int, count: int) -> None:
        credit = self._credits.get(number)
        for _ in range(count if credit is not None else 0):
            credit.release()  # pyright: ignore[reportOptionalMemberAccess]

    def _begin(self, number: int, work: Any) -> None:
        task = self._tasks[number] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    # ------------------------------------------------------------------------------------------ requests

    async def _call(self, number: int, body: bytes) -> None:
        try:
            call, request_id, left = call_of(body)
            try:
                async with asyncio.timeout(left):
                    results = await self._worker.call(call)
            except ExecutorError as error:
                error.request_id = request_id
                raise
            except TimeoutError as error:
                if isinstance(error, DeadlineExceeded):
                    raise
                raise DeadlineExceeded(f"request {request_id}: there was no answer in time") from None
            said = pickle.dumps((packed(call.docs), results), 5)
        except Exception as error:
            self._say_error(number, error)
            return
        self._say(Kind.ANSWER, number, said)
        await self._link.drained()

    async def _stream(self, number: int, body: bytes) -> None:
        credit = self._credits[number]
        try:
            call, request_id, _ = call_of(body)
            try:
                async with contextlib.aclosing(self._worker.stream(call)) as parts:
                    async for part in parts:
                        await credit.acquire()
                        self._say(Kind.PART, number, pickle.dumps(packed(part), 5))
                        await self._link.drained()
            except ExecutorError as error:
                error.request_id = request_id
                raise
        except Exception as error:
            self._say_error(number, error)
            return
        finally:
            del self._credits[number]
        self._say(Kind.END, number)

    async def _shapes(self, number: int) -> None:
        try:
            said = await asyncio.to_thread(_shapes_of, self._worker)
        except Exception:  # such as a class that has no schema
            LOG.exception("%s cannot say what its handlers take", self._worker.executor.runtime_args.name)
            said = pickle.dumps({}, 5)
        self._say(Kind.SHAPES, number, said)

    async def _snapshot(self, number: int) -> None:
        try:
            folder = await self._worker.snapshot()
        except Exception as error:
            self._say_error(number, error)
            return
        self._say(Kind.ANSWER, number, pickle.dumps(folder, 5))

    async def _health(self, number: int) -> None:
        well = await self._worker.health()
        self._say(Kind.HEALTH, number, b"\1" if well else b"\0")

    def _say(self, kind: Kind, number: int, body: bytes = b"") -> None:
        if not self._link.is_open:
            return
        if kind in _TIMED and (times := self._worker.executor.monitors.taken()):
            self._link.send(Kind.TIMES, 0, pickle.dumps(times, 5))
        self._link.send(kind, number, body)

    def _say_error(self, number: int, error: Exception) -> None:
        self._say(Kind.ERROR, number, packed_error(self._known(error)))
        if isinstance(error, ExecutorError) and error.name in self._fatal:
            LOG.error("%s ends after %s", self._worker.executor.runtime_args.name, error.name)
            self._keeps = False
            self._over.set()

    def _known(self, error: Exception) -> Exception:
        """An error that the other end knows: of docarray.flow.faults."""
        if isinstance(error, (ExecutorError, *TOLD)):
            return error
        return ExecutorError.of(self._worker.name, error)
