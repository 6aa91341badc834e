"""Sockets: requests and answers as messages of a WebSocket, at `/` and `/ws`; at `/dry_run` whether all is well.

Rule 1: answers come in the order of the requests; in `docarray.v1.any` as soon as they are there. So many requests are
        worked on at the same time, and no further message is read: who reads the answers slowly holds back who sends.
Rule 2: the subprotocol says what messages are. `json`, or none: the JSON of wire.py, as text. `docarray.v1`: its
        frames, and so does `docarray.v1.any`: the id of a request is that of its answer. `bytes`: the messages of Jina
        3 (jina.py).
Rule 3: what goes wrong with one request is its answer: a problem, which is an envelope too. On `bytes` a message that
        cannot be read, and a deployment that cannot be reached, end the socket with 1011, as clients of old expect.
        The reason of an end has at most 123 bytes.
Rule 4: the client says that it sends no more by `{}`, or a message of one zero byte; then all is answered, and the
        socket closed with 1000. To close it at once cancels what is under way.

With `"stream": true` a request is answered part by part: messages whose `header` has `"more": true`, then one without
documents that has not.
"""

# pyright: reportPrivateUsage=false
# Frames and heads are put together from the parts that wire.py has.

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Protocol

from docarray.array import DocumentArray
from docarray.errors import DocArrayError
from docarray.flow import wire
from docarray.flow.access import Access, message_of
from docarray.flow.envelope import Envelope
from docarray.flow.faults import ExecutorError, Unavailable
from docarray.flow.spec import GatewaySpec
from docarray.flow.wire import Request
from docarray.web import guards
from docarray.web.bodies import Malformed
from docarray.web.guards import Message, Receive, Scope, Send
from docarray.web.problems import LOG

__all__ = ["SUBPROTOCOLS", "serve_socket"]

_AHEAD: Final = 64  # requests of one socket that are worked on at the same time
_REASON: Final = 123  # bytes that fit into a closing message
_SHORT: Final = 1 << 18  # bytes that are read where they are
_FEW: Final = 128
_TRACE: Final = frozenset({b"traceparent", b"tracestate", b"baggage"})
NOT_READY: Final = "not all deployments would answer now"
_PATIENCE: Final = 1.0  # seconds that a client which asked for a dry run has to close


class Asking(Protocol):
    """What a socket needs of the application."""

    spec: GatewaySpec

    async def ask(self, envelope: Envelope) -> None:
        """Has a request answered."""
        ...

    def follow(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part."""
        ...

    def take(self, scope: Scope) -> None:
        """Counts a request of a client, and raises Overloaded where it sends more than it may."""
        ...

    async def is_ready(self) -> bool:
        """Whether a request would come through all deployments."""
        ...


async def serve_socket(asking: Asking, path: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers on a socket until it is closed."""
    await receive()
    offered = scope.get("subprotocols") or ()
    chosen = next((name for name in offered if name in _SPEECHES), None)
    await send({"type": "websocket.accept", "subprotocol": chosen})
    if offered and chosen is None:
        await send(_closing(1011, f"this speaks {', '.join(_SPEECHES)}"))
        return
    speech = _SPEECHES[chosen or "json"]()
    if path == "/dry_run":
        await _dry_run(asking, speech, receive, send)
        return
    await _Socket(asking, speech, scope, receive, send).run()


def _closing(code: int, reason: str) -> Message:
    """The message that ends a socket; of the reason what fits into it."""
    fitting = reason.encode()[:_REASON].decode("utf-8", "ignore")
    return {"type": "websocket.close", "code": code, "reason": fitting}


async def _dry_run(asking: Asking, speech: _Speech, receive: Receive, send: Send) -> None:
    await send(speech.message(speech.status(await asking.is_ready())))
    with contextlib.suppress(TimeoutError):  # clients of old send a message first, to a socket that is open
        await asyncio.wait_for(receive(), _PATIENCE)
    with contextlib.suppress(OSError):  # it went first
        await send({"type": "websocket.close", "code": 1000})


# ---------------------------------------------------------------------------------------------- what is spoken


class _Close(Exception):
    """The socket is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Left(Exception):
    """The client has gone."""


class _Speech:
    """JSON as text."""

    fatal: tuple[type[Exception], ...] = ()
    """Errors that end the socket with 1011, as clients expect that know no other way."""
    in_order = True
    """Whether answers have the order of the requests."""

    def is_end(self, raw: bytes) -> bool:
        """Whether a message says that no other comes."""
        return raw == b"\0" or (len(raw) < 16 and raw.strip() == b"{}")

    def read(self, raw: bytes) -> Request:
        """What a message asks."""
        return wire.read_json(raw)

    def write(self, answer: Envelope, request: Request, more: bool) -> bytes:
        """An answer, or a part of it."""
        return wire.written(answer, request.is_old, more)

    def fail(self, error: BaseException, answer: Envelope | None, **more: Any) -> bytes:
        """What is said of an error."""
        return wire.failed(error, answer, **more).body

    def mark(self, raw: bytes) -> str:
        """The id of a message that cannot be read, where it is known."""
        del raw
        return ""

    def message(self, body: bytes) -> Message:
        """The message of ASGI."""
        return {"type": "websocket.send", "text": body.decode("utf-8", "replace")}

    def status(self, is_ready: bool) -> bytes:
        """Whether all is well."""
        said = "" if is_ready else NOT_READY
        return json.dumps({"code": 0 if is_ready else 1, "description": said, "exception": None}).encode()


class _Frames(_Speech):
    """Frames."""

    def read(self, raw: bytes) -> Request:
        return wire.read_frame(raw)

    def write(self, answer: Envelope, request: Request, more: bool) -> bytes:
        return wire.written_frame(answer, request.rows, more)

    def fail(self, error: BaseException, answer: Envelope | None, **more: Any) -> bytes:
        return wire.framed_of(wire.failed(error, answer, **more).body, None)

    def mark(self, raw: bytes) -> str:
        return wire.identity(raw)

    def message(self, body: bytes) -> Message:
        return {"type": "websocket.send", "bytes": body}

    def status(self, is_ready: bool) -> bytes:
        return wire.framed_of(super().status(is_ready), None)


class _Any(_Frames):
    """Frames, answered as it comes."""

    in_order = False


class _Jina(_Speech):
    """The messages of Jina 3."""

    fatal = (Malformed, Unavailable)

    def __init__(self) -> None:
        from docarray.flow import jina  # read only where somebody speaks it

        self._jina = jina

    def is_end(self, raw: bytes) -> bool:
        return raw == b"\0"

    def read(self, raw: bytes) -> Request:
        return self._jina.read(raw)

    def write(self, answer: Envelope, request: Request, more: bool) -> bytes:
        return self._jina.written(answer)

    def fail(self, error: BaseException, answer: Envelope | None, **more: Any) -> bytes:
        return self._jina.failed(error, answer, request_id=more["request_id"], debug=more["debug"])

    def message(self, body: bytes) -> Message:
        return {"type": "websocket.send", "bytes": body}

    def status(self, is_ready: bool) -> bytes:
        # Only clients of the newer line ask it.
        said = self._jina.Status() if is_ready else self._jina.Status(self._jina.ERROR_NEW, NOT_READY)
        return self._jina.status(said)


_SPEECHES: Final[Mapping[str, type[_Speech]]] = {
    "json": _Speech,
    "bytes": _Jina,
    "docarray.v1": _Frames,
    "docarray.v1.any": _Any,
}
SUBPROTOCOLS: Final = tuple(_SPEECHES)
"""What sockets speak; the first is spoken where the client says nothing."""


# ---------------------------------------------------------------------------------------------- one socket

Body = bytes | AsyncGenerator[bytes]


class _Socket:
    """One socket."""

    def __init__(self, asking: Asking, speech: _Speech, scope: Scope, receive: Receive, send: Send) -> None:
        self._asking = asking
        self._speech = speech
        self._scope = scope
        self._request_id = guards.request_id(scope) or "-"
        # Of requests that do not say it themselves.
        self._trace = {
            name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _TRACE
        }
        self._receive = receive
        self._send = send
        self._count = 0
        self._room = asyncio.Semaphore(min(_AHEAD, asking.spec.max_in_flight))
        self._waiting: asyncio.Queue[asyncio.Task[Body] | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._answers: set[asyncio.Task[Body]] = set()

    async def run(self) -> None:
        """Reads, answers, closes."""
        writer = self._begin(self._write())
        reader = self._begin(self._read())
        close = _Close(1000, "")
        try:
            done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_EXCEPTION)
            for task in (reader, writer):
                if task in done:
                    task.result()
        except _Close as error:
            close = error
        except (_Left, OSError):  # or it went while it was written to
            return
        except DocArrayError as error:
            close = _Close(1011, str(error))
        finally:
            await self._end()
        with contextlib.suppress(OSError):
            await self._send(_closing(close.code, close.reason))

    def _begin(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Nobody may ask what it came to, where the other of the two ended first.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _end(self) -> None:
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # ------------------------------------------------------------------------------------------ reading

    async def _read(self) -> None:
        """Begins a request for each message, to the end.

        Raises:
            _Left: the client has gone.
        """
        most = self._asking.spec.max_body
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                raise _Left
            raw = message.get("bytes")
            if raw is None:
                raw = message["text"].encode("utf-8", "surrogatepass")
            if self._speech.is_end(raw):
                while self._answers:  # of those that come as they are there
                    await asyncio.wait(self._answers)
                self._waiting.put_nowait(None)
                return
            if len(raw) > most:
                raise _Close(1009, f"a message has at most {most} bytes here")
            await self._room.acquire()
            task = self._begin(self._answer(raw))
            if self._speech.in_order:
                self._waiting.put_nowait(task)
            else:
                self._answers.add(task)
                task.add_done_callback(self._is_there)

    def _is_there(self, task: asyncio.Task[Body]) -> None:
        self._answers.discard(task)
        self._waiting.put_nowait(task)

    async def _answer(self, raw: bytes) -> Body:
        """What is said to one message."""
        self._count += 1
        number, speech, asking = self._count, self._speech, self._asking
        request: Request | None = None
        envelope: Envelope | None = None
        access = message_of(self._scope, f"{self._request_id}.{number}")
        try:
            asking.take(self._scope)
            request = speech.read(raw) if len(raw) <= _SHORT else await asyncio.to_thread(speech.read, raw)
            if self._trace and not request.trace:
                request = request._replace(trace=self._trace)
            envelope = request.envelope("/", f"{self._request_id}.{number}", asking.spec.timeout)
            access.asked(envelope)
            if request.stream:
                return self._parts(request, envelope, access)
            with access:
                await asking.ask(envelope)
            if len(raw) <= _SHORT and len(envelope.docs) <= _FEW:
                return speech.write(envelope, request, False)
            return await asyncio.to_thread(speech.write, envelope, request, False)
        except Exception as error:
            if envelope is None:  # else it has been said
                access.__exit__(type(error), error, None)
            return self._failed(error, request, envelope, "" if request else speech.mark(raw))

    def _failed(
        self, error: Exception, request: Request | None, envelope: Envelope | None, mark: str = ""
    ) -> bytes:
        if isinstance(error, self._speech.fatal):
            raise _Close(1011, str(error)) from error
        if isinstance(error, ExecutorError):
            LOG.error("socket %s: %s", self._request_id, error, exc_info=error.__cause__ or error)
        return self._speech.fail(
            error,
            envelope,
            request_id=mark or self._request_id,
            is_old=request is not None and request.is_old,
            debug=self._asking.spec.debug,
        )

    async def _parts(self, request: Request, envelope: Envelope, access: Access) -> AsyncGenerator[bytes]:
        speech = self._speech
        access.gave(0)
        try:
            with access:
                async with contextlib.aclosing(self._asking.follow(envelope)) as parts:
                    async for part in parts:
                        envelope.docs = part
                        access.gave(len(part))
                        yield await asyncio.to_thread(speech.write, envelope, request, True)
            envelope.docs = DocumentArray()
            yield speech.write(envelope, request, False)
        except Exception as error:
            yield self._failed(error, request, envelope)

    # ------------------------------------------------------------------------------------------ writing

    async def _write(self) -> None:
        """Sends the answers in the order of the requests."""
        while (task := await self._waiting.get()) is not None:
            body = await task
            if isinstance(body, bytes):
                await self._send(self._speech.message(body))
            else:
                async with contextlib.aclosing(body):
                    async for part in body:
                        await self._send(self._speech.message(part))
                        await asyncio.sleep(0)  # a handler that never waits would keep the loop to itself
            self._room.release()
