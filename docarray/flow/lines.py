"""Lines: the transport over HTTP/1.1.

It stands on sockets, or the transports of asyncio, and the parser httptools, which a server has too: a few lines of
code, connections that are kept, and no thread for each request.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, cast

from docarray.array import DocumentArray
from docarray.errors import MissingExtra
from docarray.flow import direct, wire
from docarray.flow.direct import CUT, Wire
from docarray.flow.envelope import Envelope
from docarray.flow.faults import Unavailable
from docarray.flow.transport import (
    Address,
    answered,
    connected,
    error_of,
    frame,
    headers_of,
    request,
    take,
    taken,
)

__all__ = ["Lines"]

_IDLE: Final = 55.0  # seconds after which a connection is not trusted to be open still
_KEPT: Final = 32
_PARTS: Final = 16  # of a stream that wait to be read


class _Answer:
    """What comes back on a connection, as the parser says it."""

    def __init__(self, parser: Any) -> None:
        self._make = parser
        self.clear()

    def clear(self) -> None:
        """For another one."""
        self.parser = self._make(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self.parts: list[bytes] = []
        self.is_done = False
        self.keeps = True

    @property
    def body(self) -> bytes:
        """All of it that has come."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    def on_message_begin(self) -> None:
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.keeps = self.parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_chunk_complete(self) -> None:
        self._cut()

    def on_message_complete(self) -> None:
        if 100 <= self.status < 200:
            self.status = 0
            return
        self._cut()
        self.is_done = True

    def _cut(self) -> None:
        if self._body:
            self.parts.append(b"".join(self._body))
            self._body = []


class _Direct(_Answer):
    """One connection that is asked by threads."""

    def __init__(self, parser: Any, wire: Wire) -> None:
        super().__init__(parser)
        self.wire = wire

    def is_open(self) -> bool:
        """See Line."""
        return self.keeps and self.wire.unasked() is None

    def ask(self, asked: bytes, until: float | None) -> None:
        """Sends a request, and waits for the answer.

        Raises:
            TimeoutError: it did not come by then. Unavailable: it will not.
        """
        self.clear()
        self.wire.send(asked, until)
        while not self.is_done:
            data = self.wire.receive(until)
            try:
                if not data:
                    raise EOFError
                self.parser.feed_data(data)
            except Exception as error:  # it speaks something else; the parser has an error of its own
                raise Unavailable(CUT) from error


class _Line(_Answer, asyncio.Protocol):
    """One connection that a loop asks, with one request at a time."""

    def __init__(self, parser: Any) -> None:
        super().__init__(parser)
        self._changed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self.is_open = False
        self.since = 0.0

    # What asyncio says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_open = False
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except Exception:  # it speaks something else; the parser has an error of its own
            self.drop()
        if len(self.parts) > _PARTS and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._changed.set()

    # What is asked.

    def ask(self, head: bytes, body: bytes) -> None:
        """Sends a request."""
        self.clear()
        self._paused = False
        transport = cast("asyncio.Transport", self._transport)
        if len(body) < 1 << 16:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits for something of the answer.

        Raises:
            Unavailable: the connection was lost.
        """
        while not is_so():
            if not self.is_open:
                raise Unavailable(CUT)
            self._changed.clear()
            await self._changed.wait()

    async def whole(self) -> bytes:
        """The body."""
        await self.until(lambda: self.is_done)
        return self.body

    async def following(self) -> bytes | None:
        """A part of the body as it was sent; None where it is over."""
        await self.until(lambda: bool(self.parts) or self.is_done)
        if not self.parts:
            return None
        part = self.parts.pop(0)
        if self._paused and len(self.parts) < _PARTS // 2:
            self._paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        return part

    @property
    def is_kept(self) -> bool:
        """Whether another request may follow."""
        return self.is_open and self.is_done and self.keeps

    def drop(self) -> None:
        """Closes it at once."""
        if self._transport is not None:
            self._transport.abort()


class Lines:
    """Requests over HTTP/1.1."""

    def __init__(self, where: Address, api_key: str | None, retries: int) -> None:
        try:
            self._parser = importlib.import_module("httptools").HttpResponseParser
        except ModuleNotFoundError as error:
            raise MissingExtra('HTTP needs the package httptools: pip install "docarray[serve]"') from error
        self._where = where
        self._key = api_key
        self._retries = retries
        self._tls = where.context()
        self._idle: list[_Line] = []
        self._lines = direct.Lines(where, retries, self._direct)
        headers_of(api_key, {})

    def _direct(self, until: float | None) -> _Direct:
        return _Direct(self._parser, Wire(self._where, self._tls, until))

    async def _line(self) -> _Line:
        """A connection: the one that was used last, or a new one."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            line = self._idle.pop()
            if line.is_open and now - line.since < _IDLE:
                return line
            line.drop()
        where = self._where

        async def connect() -> _Line:
            loop = asyncio.get_running_loop()
            _, made = await loop.create_connection(
                lambda: _Line(self._parser), where.host, where.port, ssl=self._tls
            )
            return made

        return await connected(where, connect, self._retries)

    def _give_back(self, line: _Line) -> None:
        if line.is_kept and len(self._idle) < _KEPT:
            line.since = asyncio.get_running_loop().time()
            self._idle.append(line)
        else:
            line.drop()

    def _head(self, method: str, path: str, accept: str, length: int, metadata: Mapping[str, str]) -> bytes:
        lines = [
            f"{method} {self._where.path}{path} HTTP/1.1",
            f"host: {self._where.authority}",
            f"accept: {accept}",
            f"content-type: {wire.FRAME}",
            f"content-length: {length}",
            *(f"{name}: {value}" for name, value in headers_of(self._key, metadata)),
            "\r\n",
        ]
        return "\r\n".join(lines).encode("latin-1")

    def ask(self, envelope: Envelope, timeout: float | None, until: float | None) -> None:
        """See Transport."""
        body = request(envelope, timeout)
        head = self._head("POST", "/post", wire.FRAME, len(body), envelope.metadata)
        with self._lines.line(until) as line:
            line.ask(head + body, until)
        take(envelope, self._right(line.status, line.headers, line.body, envelope.request_id))

    def end(self) -> None:
        """See Transport."""
        self._lines.close()

    def _right(self, status: int, headers: Mapping[str, str], raw: bytes, request_id: str) -> bytes:
        """The body, if it is the answer."""
        if status != 200:
            raise self._error(status, headers, raw, request_id)
        self._check(headers, wire.FRAME)
        return raw

    async def send(self, envelope: Envelope, timeout: float | None) -> None:
        """See Transport."""
        body = await frame(envelope, timeout)
        head = self._head("POST", "/post", wire.FRAME, len(body), envelope.metadata)
        line = await self._line()
        try:
            line.ask(head, body)
            raw = await line.whole()
            status, headers = line.status, line.headers
        finally:
            self._give_back(line)
        await taken(envelope, self._right(status, headers, raw, envelope.request_id))

    async def stream(self, envelope: Envelope, timeout: float | None) -> AsyncGenerator[DocumentArray[Any]]:
        """See Transport. A part is what the server wrote at once."""
        body = await frame(envelope, timeout)
        head = self._head("POST", "/post", "text/event-stream", len(body), envelope.metadata)
        line = await self._line()
        try:
            line.ask(head, body)
            await line.until(lambda: line.status > 0)
            if line.status != 200:
                raise self._error(line.status, line.headers, await line.whole(), envelope.request_id)
            self._check(line.headers, "text/event-stream")
            rest = b""
            while (chunk := await line.following()) is not None:
                whole, mark, rest = (rest + chunk).rpartition(b"\n\n")
                if not mark:
                    continue
                docs: list[bytes] = []
                for event in whole.split(b"\n\n"):
                    kind, _, data = event.partition(b"\ndata: ")
                    if kind == b"event: update":
                        docs.append(data)
                    elif kind == b"event: end":
                        answered(envelope, json.loads(data))
                        await line.until(lambda: line.is_done)
                        if docs:
                            yield _documents(docs)
                        return
                    elif kind == b"event: error":
                        await line.until(lambda: line.is_done)
                        raise error_of(json.loads(data), envelope.request_id)
                if docs:
                    yield _documents(docs)
            raise Unavailable("the server ended the answer before it was whole")
        finally:
            self._give_back(line)

    async def is_ready(self) -> bool:
        """See Transport."""
        try:
            line = await self._line()
            try:
                line.ask(self._head("GET", "/dry_run", "application/json", 0, {}), b"")
                raw = await line.whole()
                status, headers = line.status, line.headers
            finally:
                self._give_back(line)
        except Unavailable:
            return False
        if status in (401, 403):
            raise self._error(status, headers, raw, "")
        return status == 200

    async def close(self) -> None:
        """See Transport."""
        idle, self._idle = self._idle, []
        for line in idle:
            line.drop()
        await asyncio.sleep(0)

    def _error(self, status: int, headers: Mapping[str, str], raw: bytes, request_id: str) -> Exception:
        try:
            said = json.loads(raw)
        except ValueError:
            said = None
        problem = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        problem = {"title": f"{self._where.url} answered {status}", **problem, "status": status}
        return error_of(problem, request_id, headers.get("retry-after"))

    def _check(self, headers: Mapping[str, str], media: str) -> None:
        said = headers.get("content-type", "").partition(";")[0]
        if said != media:
            raise Unavailable(f"{self._where.url} is no server of a Flow: it answered with {said[:60]!r}")


def _documents(lines: list[bytes]) -> DocumentArray[Any]:
    return wire.read_json(b"[%b]" % b",".join(lines)).docs
