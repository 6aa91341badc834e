"""Talks: the transport over WebSocket, in the subprotocols `docarray.v1.any` and `docarray.v1`.

Rule 1: one socket has many requests on it; which an answer is of is told by the id. A stream has a socket of its own,
        so that it can be ended early.
Rule 2: a request whose wait is over is not taken back: its answer comes, and nobody looks at it.
Rule 3: who waits in a thread of its own has a socket of its own, with one request at a time.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

from docarray.array import DocumentArray
from docarray.errors import BadValue, MissingExtra
from docarray.flow import direct, wire
from docarray.flow.direct import Wire
from docarray.flow.envelope import Envelope
from docarray.flow.faults import BadRequest, NotAllowed, Unavailable
from docarray.flow.transport import Address, connected, frame, headers_of, request, take, taken

__all__ = ["Talks"]

_SPEECHES: Final = ("docarray.v1.any", "docarray.v1")
_CLOSE: Final = 2.0  # seconds that the other side has to say goodbye
_OPEN: Final = 10.0  # seconds that it has to say hello
_TOO_LARGE: Final = 1009
_LOOK: Final = 0.005  # seconds between two looks whether an id can be used again
_DATA: Final = (0, 1, 2)  # kinds of a frame of a message: more of it, text, bytes


class _Direct:
    """One socket that is asked by threads: the protocol without its input and output, and these.

    Raises:
        TimeoutError: it is not open by `until`. OSError: the socket cannot be had. InvalidHandshake: this one is none.
    """

    def __init__(self, protocol: Any, asked: Any, wire: Wire, until: float | None) -> None:
        self.wire = wire
        self._protocol = protocol
        self._parts: list[bytes] = []
        try:
            protocol.send_request(asked)
            self._flush(until)
            while protocol.state.name == "CONNECTING" and protocol.handshake_exc is None:
                self._take(wire.receive(until), until)
        except BaseException:
            wire.end()
            raise
        if protocol.handshake_exc is not None:
            wire.end()
            raise protocol.handshake_exc

    def is_open(self) -> bool:
        """See Line."""
        while (data := self.wire.unasked()) is not None:  # they may have asked whether anybody is here
            self._take(data, None)
            if self._parts or self.closed is not None or not data:
                return False
        return True

    @property
    def closed(self) -> Any:
        """What the other side said when it closed, or None."""
        return self._protocol.close_rcvd

    def ask(self, asked: bytes, until: float | None) -> bytes | None:
        """The answer to a message; None where the socket was closed before it came.

        Raises:
            TimeoutError: it did not come by then.
        """
        self._protocol.send_binary(asked)
        self._flush(until)
        while True:
            data = self.wire.receive(until)
            answer = self._take(data, until)
            if answer is not None or not data or self.closed is not None:
                return answer

    def _flush(self, until: float | None) -> None:
        data = self._protocol.data_to_send()
        if any(data):
            self.wire.send(b"".join(data), until)

    def _take(self, data: bytes, until: float | None) -> bytes | None:
        """A message, if this is the end of one."""
        protocol = self._protocol
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        self._flush(until)
        for event in protocol.events_received():
            if getattr(event, "opcode", None) in _DATA:
                self._parts.append(event.data)
                if event.fin:
                    whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                    self._parts = []
                    return bytes(whole)
        return None


class Talks:
    """Requests over sockets."""

    def __init__(self, where: Address, api_key: str | None, retries: int) -> None:
        try:
            self._client: Any = importlib.import_module("websockets.asyncio.client")
            self._errors: Any = importlib.import_module("websockets.exceptions")
        except ModuleNotFoundError as error:
            raise MissingExtra(
                'sockets need the package websockets: pip install "docarray[serve]"'
            ) from error
        self._where = where
        self._retries = retries
        self._tls = where.context()
        self._headers = headers_of(api_key, {})
        self._socket: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._turn = asyncio.Lock()
        self._lines = direct.Lines(where, retries, self._direct)

    def _direct(self, until: float | None) -> _Direct:
        parts: Any = importlib.import_module("websockets.client")
        url = importlib.import_module("websockets.uri").parse_uri(f"{self._where.url}/ws")
        soon = time.monotonic() + _OPEN
        until = soon if until is None else min(soon, until)
        wire = Wire(self._where, self._tls, until)
        protocol = parts.ClientProtocol(url, subprotocols=list(_SPEECHES), max_size=None)
        asked = protocol.connect()
        asked.headers.update(self._headers)
        try:
            return _Direct(protocol, asked, wire, until)
        except self._errors.InvalidHandshake as error:
            raise self._refused(error) from error

    def ask(self, envelope: Envelope, timeout: float | None, until: float | None) -> None:
        """See Transport."""
        self._check(envelope)
        body = request(envelope, timeout)
        with self._lines.line(until) as line:
            raw = line.ask(body, until)
            if raw is None:
                raise self._lost(line.closed)
        take(envelope, raw)

    def end(self) -> None:
        """See Transport."""
        self._lines.close()

    async def _open(self, path: str) -> Any:
        """A new socket.

        Raises:
            Unavailable: it cannot be reached. NotAllowed: it wants a key.
        """
        where = self._where
        options: dict[str, Any] = {"ssl": self._tls} if self._tls is not None else {}
        if "proxy" in inspect.signature(self._client.connect.__init__).parameters:
            options["proxy"] = None  # the environment has no say in it

        async def connect() -> Any:
            try:
                return await self._client.connect(
                    f"{where.url}{path}",
                    subprotocols=list(_SPEECHES),
                    additional_headers=self._headers,
                    compression=None,
                    max_size=None,
                    open_timeout=_OPEN,
                    close_timeout=_CLOSE,
                    **options,
                )
            except self._errors.InvalidHandshake as error:
                raise self._refused(error) from error

        return await connected(where, connect, self._retries)

    def _refused(self, error: Any) -> Exception:
        """Why there is no socket."""
        status = error.response.status_code if isinstance(error, self._errors.InvalidStatus) else None
        if status in (401, 403):
            return NotAllowed(f"{self._where.url} wants a key, or another one")
        if status is not None:
            return Unavailable(f"{self._where.url} answered {status}")
        return OSError(str(error))

    async def _opened(self) -> Any:
        socket = self._socket
        if socket is None or socket.close_code is not None or self._reader is None or self._reader.done():
            await self._drop()
            self._socket = socket = await self._open("/ws")
            self._reader = asyncio.get_running_loop().create_task(self._read(socket))
        return socket

    async def _read(self, socket: Any) -> None:
        """Hands out the answers."""
        waiting = self._waiting
        try:
            while True:
                raw = await socket.recv(decode=False)
                future = waiting.pop(wire.identity(raw), None)
                if future is None:  # it is said of the socket, or of no request of ours
                    return
                if not future.done():
                    future.set_result(raw)
        except self._errors.ConnectionClosed as error:
            self._fail(self._lost(error.rcvd))
        finally:
            self._fail(self._lost(None))

    def _fail(self, error: Exception) -> None:
        """Tells all who wait."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    def _lost(self, closed: Any) -> Exception:
        if closed is not None and closed.code == _TOO_LARGE:
            return BadRequest(closed.reason or "the message is too large")
        why = f": {closed.reason}" if closed is not None and closed.reason else ""
        return Unavailable(f"the socket to {self._where.url} was closed before the answer came{why}")

    def _check(self, envelope: Envelope) -> None:
        if envelope.metadata:
            raise BadValue("a request on a socket has no metadata: say it over HTTP or gRPC")

    async def send(self, envelope: Envelope, timeout: float | None) -> None:
        """See Transport."""
        self._check(envelope)
        body = await frame(envelope, timeout)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        mark = envelope.request_id
        while not await self._sent(mark, body, future):
            await asyncio.sleep(_LOOK)
        await taken(envelope, await future)

    async def _sent(self, mark: str, body: bytes, future: asyncio.Future[bytes]) -> bool:
        """Sends a request, unless another one of its id is on its way, such as that of a branch."""
        async with self._turn:
            socket = await self._opened()
            if mark in self._waiting:
                return False
            self._waiting[mark] = future
            try:
                await socket.send(body)
            except self._errors.ConnectionClosed as error:
                if not future.done():
                    self._waiting.pop(mark, None)
                    raise self._lost(error.rcvd) from error
        return True

    async def stream(self, envelope: Envelope, timeout: float | None) -> AsyncGenerator[DocumentArray[Any]]:
        """See Transport."""
        self._check(envelope)
        body = await frame(envelope, timeout, stream=True)
        socket = await self._open("/ws")
        try:
            await socket.send(body)
            while await taken(envelope, await socket.recv(decode=False)):
                yield envelope.docs
        except self._errors.ConnectionClosed as error:
            raise self._lost(error.rcvd) from error
        finally:
            await socket.close()

    async def is_ready(self) -> bool:
        """See Transport."""
        try:
            socket = await self._open("/dry_run")
        except Unavailable:
            return False
        try:
            head, _ = wire.framed(await socket.recv(decode=False))
        except self._errors.ConnectionClosed:
            return False
        finally:
            await socket.close()
        return head.get("code") == 0

    async def close(self) -> None:
        """See Transport."""
        await self._drop()

    async def _drop(self) -> None:
        socket, self._socket = self._socket, None
        reader, self._reader = self._reader, None
        if socket is not None:
            await socket.close()
        if reader is not None:
            await reader
