"""GrpcServer: a Flow over gRPC, for our own client, for programs written for Jina 3, and for tools.

Rule 1: handlers are generic: messages are bytes until a codec of ours has read them, and no generated code is loaded.
Rule 2: the server lives in the loop of the Flow, so that a call costs no thread; what takes its time to be read or
        written (from 256 KB on) is done in one. A call that nobody waits for any more is cancelled.
Rule 3: a call has the time that the client gives it; the deadline of gRPC, or what the message says where that is
        less. Who says nothing has that of `GatewaySpec.timeout`.
Rule 4: what went wrong is a status of gRPC. Clients of Jina read the header of a message instead; so on their services
        only what no message can say is a status: no time, no room, nobody there, no key, no message at all.
Rule 5: health and reflection need no key.

The service `docarray.flow.v1.Flow` has two methods, whose messages are frames (wire.py: 4 bytes of length,
little-endian; so much JSON; then documents in the native format):

| | asks | is answered |
|---|---|---|
| `Call` | one frame: `request_frame` | one frame: `written_frame` |
| `Stream` | one frame | a frame for each part, its `header` with `"more": true`; then one without documents |

An error there is a status, whose details are its message, and the trailing metadata `docarray-problem-bin`: the JSON of
`wire.failed`, with status, header and, for what a handler raised, `executor`, `exception` and (debug) `stack`. Where
that is beyond 6 KB, the stack is left out. RESOURCE_EXHAUSTED for want of room has `grpc-retry-pushback-ms`, and
`retry-after` in seconds, beside it. The metadata `x-request-id` names a request that does not name itself.

| status of HTTP | of gRPC |
|---|---|
| 400, 422 | INVALID_ARGUMENT |
| 401, 403 | UNAUTHENTICATED, PERMISSION_DENIED |
| 404, 409 | NOT_FOUND, ABORTED |
| 413, 429 | RESOURCE_EXHAUSTED |
| 501, 503, 504 | UNIMPLEMENTED, UNAVAILABLE, DEADLINE_EXCEEDED |
| other | INTERNAL |

`jina.JinaRPC/Call` works on `__prefetch__` requests of a call at the same time (64 where it says nothing), and gives
answers as they come, or in the order of the requests with `__results_in_order__: true`. Where one of them is an error,
the trailing metadata has `is-error: true`.

>>> import asyncio
>>> from docarray.flow import Executor, Flow, requests
>>> class Shout(Executor):
...     @requests
...     def shout(self, docs, **kwargs): ...
>>> with Flow().add(uses=Shout) as flow:  # doctest: +SKIP
...     server = GrpcServer(flow._running, flow.spec.gateway, 0)
...     port = flow._running.loop.run(server.start())
...     flow._running.loop.run(server.stop(1.0))
"""

# pyright: reportPrivateUsage=false
# It asks the guards of HTTP whether a key is right.

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.metadata
import json
import math
import platform
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from docarray.errors import DocArrayError, MissingExtra
from docarray.flow import jina, wire
from docarray.flow.access import SILENT, Access
from docarray.flow.envelope import Envelope
from docarray.flow.faults import (
    DeadlineExceeded,
    ExecutorError,
    FlowStartError,
    Overloaded,
    Unavailable,
)
from docarray.flow.rates import Rates, client_of
from docarray.flow.running import Running
from docarray.flow.spec import GatewaySpec
from docarray.flow.wire import Request
from docarray.registry import resolve
from docarray.web import guards
from docarray.web.bodies import Malformed
from docarray.web.problems import LOG, Problem

__all__ = ["CALL", "PROBLEM", "STREAM", "GrpcServer"]

CALL: Final = "/docarray.flow.v1.Flow/Call"
"""A frame for a frame."""
STREAM: Final = "/docarray.flow.v1.Flow/Stream"
"""Frames for a frame."""
PROBLEM: Final = "docarray-problem-bin"
"""The trailing metadata that says what went wrong."""

_varints: Final = resolve("room", "varints")
_SHORT: Final = 1 << 18  # bytes of a frame that is read where it is
_OLD_SHORT: Final = 1 << 16  # the same of a message of protobuf
_FEW: Final = 256  # documents that are written where they are
_OLD_FEW: Final = 64
_PREFETCH: Final = 64
_TRAILER: Final = 6 << 10
_LOOK: Final = 0.5  # seconds between two looks at the health that somebody watches
_SERVICES: Final = (
    "docarray.flow.v1.Flow",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "jina.JinaControlRequestRPC",
    "jina.JinaDataRequestRPC",
    "jina.JinaDiscoverEndpointsRPC",
    "jina.JinaGatewayDryRunRPC",
    "jina.JinaInfoRPC",
    "jina.JinaRPC",
    "jina.JinaSingleDataRequestRPC",
)
_HEALTHY: Final = frozenset({"", *_SERVICES})
_CODES: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_NOT_PASSED: Final = frozenset(
    {"authorization", "x-api-key", "user-agent", "x-request-id", "te", "content-type"}
)
_SERVING, _NOT_SERVING, _UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
# What no message of Jina says: its clients take a status of gRPC for a connection that is lost.
_STATUSES: Final = (Malformed, Unavailable, DeadlineExceeded, Overloaded)

Context = Any
"""A grpc.aio.ServicerContext: the package has no types."""


@functools.cache
def _grpc() -> Any:
    """The package grpc.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        importlib.import_module("grpc.aio")
        return importlib.import_module("grpc")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "grpc":
            raise
        raise MissingExtra('gRPC needs the package grpcio: pip install "docarray[grpc]"') from error


class GrpcServer:
    """A server of gRPC for what runs of a Flow. All of it is called in the loop of `running`.

    Args:
        running: what runs of the Flow.
        spec: what is offered: `host`, `max_body`, `timeout`, `auth`, `ssl_certfile`, `ssl_keyfile`, `compression`,
            `debug`, `max_in_flight`, and `grpc_server_options`, which go to the server of grpc as they are.
        port: on which; 0 for a free one.

    Raises:
        MissingExtra: grpcio is not installed. BadValue: a key is empty.
    """

    def __init__(self, running: Running, spec: GatewaySpec, port: int) -> None:
        self._grpc = _grpc()
        self.running: Running = running
        self.spec: GatewaySpec = spec
        self.port: int = port
        """On which it listens, once it has started."""
        self._server: Any = None
        self._stopping = asyncio.Event()
        self._rates = None if spec.rate_limit is None else Rates(spec.rate_limit)
        self._keys = None if spec.auth is None else _keys(spec.auth)
        self._methods = self._table()

    # ------------------------------------------------------------------------------------------ life

    async def start(self) -> int:
        """Listens, and says the port.

        Raises:
            FlowStartError: the port is taken, or key and certificate cannot be used.
        """
        grpc, spec = self._grpc, self.spec
        options = {
            "grpc.max_receive_message_length": spec.max_body,
            "grpc.max_send_message_length": -1,
            "grpc.so_reuseport": 0,  # or two servers share a port, and nobody is told
            # Clients of old ask every five seconds whether anybody is there.
            "grpc.http2.min_ping_interval_without_data_ms": 1_000,
            "grpc.http2.max_ping_strikes": 0,
            "grpc.keepalive_permit_without_calls": 1,
            **spec.grpc_server_options,
        }
        packing = {None: None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
        server = grpc.aio.server(options=list(options.items()), compression=packing.get(spec.compression))
        server.add_generic_rpc_handlers((_handlers(grpc, self._methods),))
        host = f"[{spec.host}]" if ":" in spec.host else spec.host
        address = f"{host}:{self.port}"
        try:
            if spec.ssl_certfile and spec.ssl_keyfile:
                pair = (Path(spec.ssl_keyfile).read_bytes(), Path(spec.ssl_certfile).read_bytes())
                self.port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                self.port = server.add_insecure_port(address)
            if not self.port:
                raise RuntimeError("it is taken")
            await server.start()
        except (OSError, RuntimeError, ValueError) as error:
            await server.stop(0)
            # What grpc says of a port that is taken is that it has to be made to talk.
            why = "the port is taken, or the address is no one of this machine; choose another port, or 0 for any free"
            said = why if isinstance(error, RuntimeError) else error
            raise FlowStartError(f"gRPC cannot listen at {address}: {said}") from error
        self._server = server
        return self.port

    async def stop(self, grace: float) -> None:
        """Takes no more calls, and ends those that are under way after `grace` seconds. A second time does nothing."""
        server, self._server = self._server, None
        if server is None:
            return
        self._stopping.set()
        await server.stop(grace)

    # ------------------------------------------------------------------------------------------ methods

    def _table(self) -> dict[str, tuple[str, Any]]:
        """Kind and handler of each method."""
        unary, watching, both = "unary_unary", "unary_stream", "stream_stream"
        reflect = (both, self._reflect)
        guard = self._guarded
        return {
            CALL: (unary, guard(CALL, self._call)),
            STREAM: (watching, guard(STREAM, self._stream)),
            **{
                f"/jina.{path}": (kind, guard(f"/jina.{path}", handler))
                for path, kind, handler in (
                    ("JinaRPC/Call", both, self._old_calls),
                    ("JinaSingleDataRequestRPC/process_single_data", unary, self._old_call),
                    ("JinaDataRequestRPC/process_data", unary, self._old_call_many),
                    ("JinaDiscoverEndpointsRPC/endpoint_discovery", unary, self._endpoints),
                    ("JinaGatewayDryRunRPC/dry_run", unary, self._dry_run),
                    ("JinaInfoRPC/_status", unary, self._info),
                    ("JinaControlRequestRPC/process_control", unary, self._control),
                )
            },
            "/grpc.health.v1.Health/Check": (unary, self._check),
            "/grpc.health.v1.Health/Watch": (watching, self._watch),
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": reflect,
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": reflect,
        }

    def _guarded(self, path: str, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """The handler for those who have a key."""
        if self._keys is None:
            return handler
        keys = self._keys

        async def guarded(asked: Any, context: Context) -> Any:
            said = context.invocation_metadata() or ()
            headers = [(str(name).encode(), _raw(value)) for name, value in said]
            problem = await keys._refused(
                {
                    "type": "http",
                    "method": "POST",
                    "path": path,
                    "query_string": b"",
                    "headers": headers,
                    "state": {},
                }
            )
            if problem is not None:
                self._logged(path, context).ended(problem.status)
                await self._abort(context, problem)
            return await handler(asked, context)

        return guarded

    def _logged(self, path: str, context: Context) -> Access:
        """The line of a request in the log."""
        if not self.spec.access_log:
            return SILENT
        return Access("grpc", None, _host(context), path)

    def _take(self, context: Context) -> None:
        """Counts a request of a client.

        Raises:
            Overloaded: it sends more than it may.
        """
        if self._rates is not None:
            said = context.invocation_metadata() or ()
            headers = [(str(name).encode(), _raw(value)) for name, value in said]
            self._rates.take(client_of(headers, _host(context)))

    # ------------------------------------------------------------------------------------------ our own service

    async def _call(self, raw: bytes, context: Context) -> bytes:
        envelope: Envelope | None = None
        try:
            with self._logged(CALL, context) as access:
                request = await self._read(raw)
                envelope = self._envelope(request, *_beside(context), context)
                access.asked(envelope)
                await self.running.answer(envelope)
            if len(envelope.docs) <= _FEW:
                return wire.written_frame(envelope, request.rows)
            return await asyncio.to_thread(wire.written_frame, envelope)
        except Exception as error:
            await self._failed(error, envelope, context)
            raise

    async def _stream(self, raw: bytes, context: Context) -> None:
        envelope: Envelope | None = None
        try:
            with self._logged(STREAM, context) as access:
                request = await self._read(raw)
                envelope = self._envelope(request, *_beside(context), context)
                access.asked(envelope)
                access.gave(0)
                async with contextlib.aclosing(self.running.stream(envelope)) as parts:
                    async for part in parts:
                        access.gave(len(part))
                        head = wire.head_of(envelope, more=True)
                        if len(part) <= _FEW:
                            frame = wire.framed_of(head, part, request.rows)
                        else:
                            frame = await asyncio.to_thread(wire.framed_of, head, part)
                        await context.write(frame)
                        await asyncio.sleep(0)  # a handler that never waits would keep the loop to itself
            await context.write(wire.framed_of(wire.head_of(envelope), None))
        except self._grpc.aio.InternalError:  # nobody is there to be written to
            raise asyncio.CancelledError from None
        except Exception as error:
            await self._failed(error, envelope, context)
            raise

    async def _read(self, raw: bytes) -> Request:
        if len(raw) <= _SHORT:
            return wire.read_frame(raw)
        return await asyncio.to_thread(wire.read_frame, raw)

    def _envelope(
        self, request: Request, metadata: Mapping[str, str], mark: str | None, context: Context
    ) -> Envelope:
        self._take(context)
        left = context.time_remaining()
        if left is not None and not 0 <= left < math.inf:  # a deadline that is over, or none
            left = None if left > 0 else 0.0
        said = [one for one in (left, request.timeout) if one is not None]
        timeout = min(said) if said else self.spec.timeout
        return request._replace(timeout=None).envelope("/", mark, timeout, metadata)

    async def _failed(self, error: Exception, envelope: Envelope | None, context: Context) -> None:
        """Ends a call with the status of an error."""
        if isinstance(error, self._grpc.aio.AbortError | self._grpc.aio.UsageError):
            raise error
        if isinstance(error, ExecutorError):
            mark = "-" if envelope is None else envelope.request_id
            LOG.error("request %s: %s", mark, error, exc_info=error.__cause__ or error)
        told = wire.failed(error, envelope, debug=self.spec.debug)
        body = told.body
        if len(body) > _TRAILER:
            # A header is not the place for what the request held, nor for long tracebacks.
            said = json.loads(body)
            said.pop("stack", None)
            said.pop("routes", None)
            said["parameters"] = {}
            said["detail"] = said["detail"][:1000]
            for one in (said["header"]["status"],):
                one["description"] = one["description"][:1000]
                one["exception"]["stacks"] = []
                one["exception"]["args"] = [text[:1000] for text in one["exception"]["args"]]
            body = json.dumps(said).encode()
        extra: list[tuple[str, str | bytes]] = [(PROBLEM, body)] if len(body) <= _TRAILER else []
        if isinstance(error, Overloaded):
            extra.append(("grpc-retry-pushback-ms", str(max(1, math.ceil(error.retry_after * 1000)))))
        await self._abort(context, told.problem, extra)

    async def _abort(
        self, context: Context, problem: Problem, extra: list[tuple[str, str | bytes]] | None = None
    ) -> None:
        trailing = list(extra or ())
        wait = problem.headers.get("Retry-After")
        if wait is not None:
            trailing.append(("retry-after", wait))
        code = getattr(self._grpc.StatusCode, _CODES.get(problem.status, "INTERNAL"))
        await context.abort(code, problem.detail[:2000], tuple(trailing))

    # ------------------------------------------------------------------------------------------ Jina's services

    async def _old_call(self, raw: bytes, context: Context) -> bytes:
        return await self._old_unary(raw, jina.read, context)

    async def _old_call_many(self, raw: bytes, context: Context) -> bytes:
        return await self._old_unary(raw, jina.read_many, context)

    async def _old_unary(self, raw: bytes, read: Callable[[bytes], Request], context: Context) -> bytes:
        metadata, _ = _beside(context)
        try:
            body, is_error = await self._old_answer(raw, read, metadata, context)
        except _STATUSES as error:
            await self._failed(error, None, context)
            raise
        if is_error:
            context.set_trailing_metadata((("is-error", "true"),))
        return body

    async def _old_answer(
        self, raw: bytes, read: Callable[[bytes], Request], metadata: Mapping[str, str], context: Context
    ) -> tuple[bytes, bool]:
        """The message that answers one, and whether it says an error.

        Raises:
            Malformed, Unavailable, DeadlineExceeded, Overloaded: what no message says.
        """
        envelope: Envelope | None = None
        try:
            with self._logged("/jina", context) as access:
                request = read(raw) if len(raw) <= _OLD_SHORT else await asyncio.to_thread(read, raw)
                if request.endpoint is None and "endpoint" in metadata:
                    request = request._replace(endpoint=metadata["endpoint"])
                passed = {key: value for key, value in metadata.items() if key not in _JINAS}
                envelope = self._envelope(request, passed, None, context)
                access.asked(envelope)
                await self.running.answer(envelope)
            if len(envelope.docs) <= _OLD_FEW:
                return jina.written(envelope), False
            return await asyncio.to_thread(jina.written, envelope), False
        except _STATUSES:
            raise
        except Exception as error:
            if isinstance(error, ExecutorError):
                mark = "-" if envelope is None else envelope.request_id
                LOG.error("request %s: %s", mark, error, exc_info=error.__cause__ or error)
            code = jina.ERROR_NEW if jina.is_new(metadata) else jina.ERROR_OLD
            return jina.failed(error, envelope, code=code, debug=self.spec.debug), True

    async def _old_calls(self, asked: Any, context: Context) -> None:
        """The stream of Jina: a few requests at the same time, and their answers in one order or the other."""
        del asked
        metadata, _ = _beside(context)
        in_order = metadata.get("__results_in_order__", "").lower() == "true"
        calls = _Calls(
            context, min(self._prefetch(metadata), self.spec.max_in_flight), in_order, self._stopping
        )
        is_error = False
        try:
            async for body, wrong in calls.run(
                lambda raw: self._old_answer(raw, jina.read, metadata, context), self._grpc.aio.EOF
            ):
                is_error = is_error or wrong
                await context.write(body)
        except _STATUSES as error:
            await self._failed(error, None, context)
            raise
        if is_error:
            context.set_trailing_metadata((("is-error", "true"),))
        if calls.was_stopped:
            await context.abort(self._grpc.StatusCode.UNAVAILABLE, "the server stops; come back later")

    def _prefetch(self, metadata: Mapping[str, str]) -> int:
        said = metadata.get("__prefetch__", "")
        number = int(said) if said.isascii() and said.isdigit() and len(said) < 9 else _PREFETCH
        return number or self.spec.max_in_flight  # 0 is no limit of its own

    async def _endpoints(self, raw: bytes, context: Context) -> bytes:
        del raw, context
        return jina.endpoints(self.running.plan.endpoints())

    async def _is_ready(self) -> bool:
        return not self._stopping.is_set() and await self.running.is_ready()

    async def _dry_run(self, raw: bytes, context: Context) -> bytes:
        del raw
        if await self._is_ready():
            return jina.status(jina.Status())
        context.set_trailing_metadata((("is-error", "true"),))
        detail = "not all deployments would answer now"
        return jina.status(jina.Status(jina.ERROR_NEW, detail, "Unavailable", (detail,)))

    async def _info(self, raw: bytes, context: Context) -> bytes:
        del raw, context
        version = importlib.metadata.version("docarray")
        return jina.info(
            {"docarray": version, "python": platform.python_version(), "platform": platform.system()}
        )

    async def _control(self, raw: bytes, context: Context) -> bytes:
        """Says the status, which is that it answers."""
        try:
            is_command = jina.is_command(raw)
        except Malformed as error:
            await self._failed(error, None, context)
            raise
        if is_command:
            detail = "deployments are part of the Flow, and are not taken in or out by calls"
            await context.abort(self._grpc.StatusCode.UNIMPLEMENTED, detail)
        return raw

    # ------------------------------------------------------------------------------------------ health

    async def _check(self, raw: bytes, context: Context) -> bytes:
        if _named(raw) not in _HEALTHY:
            await context.abort(self._grpc.StatusCode.NOT_FOUND, "there is no such service")
        return _SERVING if await self._is_ready() else _NOT_SERVING

    async def _watch(self, raw: bytes, context: Context) -> None:
        known = _named(raw) in _HEALTHY
        said = b""
        while True:
            now = _UNKNOWN if not known else _SERVING if await self._is_ready() else _NOT_SERVING
            if now != said:
                await context.write(now)
                said = now
            if self._stopping.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _LOOK if known else None)

    # ------------------------------------------------------------------------------------------ reflection

    async def _reflect(self, asked: Any, context: Context) -> None:
        """Says which services there are. Their messages are described in jina.py and above, not here."""
        del asked
        ended = self._grpc.aio.EOF
        while not self._stopping.is_set() and (raw := await context.read()) is not ended:
            await context.write(_reflected(raw))


# What Jina's client and gateway say to each other beside a request.
_JINAS: Final = frozenset({"__prefetch__", "__results_in_order__", "endpoint"})


class _Calls:
    """The requests of one stream, some at the same time."""

    def __init__(self, context: Context, most: int, in_order: bool, stopping: asyncio.Event) -> None:
        self._context = context
        self._in_order = in_order
        self._room = asyncio.Semaphore(most)
        self._stopping = stopping
        self._answers: asyncio.Queue[asyncio.Task[tuple[bytes, bool]] | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False
        self.was_stopped = False
        """Whether the server stopped before the client had sent all."""

    async def run(self, answer: Callable[[bytes], Any], end: object) -> AsyncGenerator[tuple[bytes, bool]]:
        """Bodies, and whether each is an error.

        Room for another request is made when somebody asks for the next body: who reads slowly holds back who sends.
        """
        loop = asyncio.get_running_loop()
        reader = loop.create_task(self._read(answer, end))
        reader.add_done_callback(lambda _: self._close())
        halt = loop.create_task(self._halt(reader))
        try:
            while (task := await self._answers.get()) is not None:
                yield await task
                self._room.release()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
        finally:
            left = [reader, halt, *self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _halt(self, reader: asyncio.Task[None]) -> None:
        await self._stopping.wait()
        self.was_stopped = not reader.done()
        reader.cancel()

    async def _read(self, answer: Callable[[bytes], Any], end: object) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            raw = await self._context.read()
            if raw is end:
                return
            task = loop.create_task(answer(raw))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            if self._in_order:
                self._answers.put_nowait(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not self._in_order:
            self._answers.put_nowait(task)
            if self._ended and not self._tasks:
                self._answers.put_nowait(None)

    def _close(self) -> None:
        self._ended = True
        if self._in_order or not self._tasks:
            self._answers.put_nowait(None)


# ---------------------------------------------------------------------------------------------- helpers


def _handlers(grpc: Any, methods: Mapping[str, tuple[str, Any]]) -> Any:
    """A grpc.GenericRpcHandler for these methods."""
    known = {
        path: getattr(grpc, f"{kind}_rpc_method_handler")(handler)
        for path, (kind, handler) in methods.items()
    }

    class Handlers(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            return known.get(handler_call_details.method)

    return Handlers()


def _keys(auth: Any) -> guards.Keys:
    async def nothing(scope: Any, receive: Any, send: Any) -> None: ...

    return guards.Keys(nothing, None, cast("Any", auth)) if callable(auth) else guards.Keys(nothing, auth)


def _host(context: Context) -> str:
    """From where a client asks."""
    peer = str(context.peer())  # 'ipv4:10.0.0.1:5000'
    return peer.partition(":")[2].rpartition(":")[0] or peer


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _beside(context: Context) -> tuple[dict[str, str], str | None]:
    """What the client says beside a request, and the id that it gives it."""
    metadata = dict[str, str]()
    mark: str | None = None
    for name, value in context.invocation_metadata() or ():
        if name == "x-request-id":
            mark = value if jina.WORD.fullmatch(value) else None
        elif isinstance(value, str) and name not in _NOT_PASSED and not name.startswith("grpc-"):
            metadata[name] = value
    return metadata, mark


def _texts(raw: bytes, *numbers: int) -> dict[int, str]:
    """The texts of a message; none where it is damaged."""
    with contextlib.suppress(DocArrayError):
        return {
            number: raw[at:end].decode("utf-8", "replace")
            for number, kind, at, end in _varints.scan(raw, 0, len(raw), numbers)
            if kind == 2
        }
    return {}


def _named(raw: bytes) -> str:
    """The service of a HealthCheckRequest."""
    return _texts(raw, 1).get(1, "")


def _reflected(raw: bytes) -> bytes:
    """The answer to a ServerReflectionRequest."""
    out = b"" if not (host := _texts(raw, 1).get(1)) else _framed(1, host.encode())
    out += _framed(2, raw)
    if 7 in _texts(raw, 7):
        return out + _framed(6, b"".join(_framed(1, _framed(1, name.encode())) for name in _SERVICES))
    said = b"this server says which services it has, and describes no messages"
    return out + _framed(7, b"\x08\x05" + _framed(2, said))


def _framed(number: int, body: bytes) -> bytes:
    return _varints.varint(number << 3 | 2) + _varints.varint(len(body)) + body
