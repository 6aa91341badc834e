"""Calls: the transport over gRPC, to the service `docarray.flow.v1.Flow` of grpcserver.py.

The channel is the one for threads, and what it says is brought into the loop: that of asyncio shares one poller among
all loops of a process, and here a client has a loop beside that of a Flow.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import json
import threading
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any, Final

from docarray.array import DocumentArray
from docarray.errors import BadValue, MissingExtra
from docarray.flow.envelope import Envelope
from docarray.flow.faults import BadRequest, DeadlineExceeded, NoEndpoint, NotAllowed, Overloaded, Unavailable
from docarray.flow.transport import (
    Address,
    NotReached,
    error_of,
    frame,
    headers_of,
    request,
    take,
    taken,
    waits,
)

__all__ = ["Calls"]

_CALL: Final = "/docarray.flow.v1.Flow/Call"
_STREAM: Final = "/docarray.flow.v1.Flow/Stream"
_CHECK: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"
_PROBLEM: Final = "docarray-problem-bin"
_UNSENT: Final = "failed to connect to all addresses"  # what is said where no connection was to be had
_PATIENCE: Final = 5.0  # seconds that the server has to say whether all is well


class Calls:
    """Requests over gRPC."""

    def __init__(self, where: Address, api_key: str | None, retries: int) -> None:
        try:
            self._grpc: Any = importlib.import_module("grpc")
        except ModuleNotFoundError as error:
            raise MissingExtra('gRPC needs the package grpcio: pip install "docarray[grpc]"') from error
        self._where = where
        self._key = api_key
        self._retries = retries
        self._roots: bytes | None = None
        if where.certificates is not None:
            try:
                self._roots = Path(where.certificates).read_bytes()
            except OSError as error:
                raise BadValue(
                    f"the certificates of {where.certificates!r} cannot be read: {error}"
                ) from error
        self._channel: Any = None
        self._busy = 0
        self._turn = threading.Lock()
        headers_of(api_key, {})

    def _opened(self) -> Any:
        if self._channel is None:
            options = [
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),  # or two clients share a connection, and its end
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 1000),
                ("grpc.max_reconnect_backoff_ms", 2000),
                ("grpc.enable_http_proxy", 0),
            ]
            target = self._where.authority
            if self._where.tls:
                credentials = self._grpc.ssl_channel_credentials(self._roots)
                self._channel = self._grpc.secure_channel(target, credentials, options=options)
            else:
                self._channel = self._grpc.insecure_channel(target, options=options)
        return self._channel

    @contextlib.contextmanager
    def _method(self, kind: str, path: str) -> Generator[Any]:
        """A method, for one call."""
        with self._turn:
            self._busy += 1
            method = getattr(self._opened(), kind)(path)
        try:
            yield method
        finally:
            with self._turn:
                self._busy -= 1

    def _unsent(self, error: Any, wait: float | None) -> float:
        """How long to wait until the next try.

        Raises:
            The error that it is, if there is to be none.
        """
        is_unsent = self._is_unsent(error)
        if is_unsent:
            with self._turn:
                if not self._busy:
                    self._close()  # a new channel tries at once; this one would wait first
        if not is_unsent or wait is None:
            fault = self._error(error, "")
            raise fault from fault.__cause__
        return wait

    def ask(self, envelope: Envelope, timeout: float | None, until: float | None) -> None:
        """See Transport."""
        body = request(envelope, timeout)
        metadata = headers_of(self._key, envelope.metadata)
        for wait in waits(self._retries):
            try:
                with self._method("unary_unary", _CALL) as method:
                    raw = method(body, timeout=timeout, metadata=metadata)
            except self._grpc.RpcError as error:
                seconds = self._unsent(error, wait)
                if until is not None and time.monotonic() + seconds > until:
                    raise TimeoutError from None
                time.sleep(seconds)
            else:
                take(envelope, raw)
                return

    def end(self) -> None:
        """See Transport."""
        with self._turn:
            self._close()

    def _close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    async def _asked(self, method: str, body: bytes, metadata: Any, timeout: float | None) -> bytes:
        """What is answered to one message."""
        loop = asyncio.get_running_loop()
        for wait in waits(self._retries):
            ended = asyncio.Event()
            with self._method("unary_unary", method) as asked:
                call = asked.future(body, timeout=timeout, metadata=metadata)
                call.add_done_callback(functools.partial(_told, loop, ended))
                try:
                    await ended.wait()
                finally:
                    call.cancel()
            error = call.exception()
            if error is None:
                return call.result()
            await asyncio.sleep(self._unsent(error, wait))
        raise AssertionError

    def _is_unsent(self, error: Any) -> bool:
        return error.code() is self._grpc.StatusCode.UNAVAILABLE and str(error.details()).startswith(_UNSENT)

    async def send(self, envelope: Envelope, timeout: float | None) -> None:
        """See Transport."""
        body = await frame(envelope, timeout)
        metadata = headers_of(self._key, envelope.metadata)
        await taken(envelope, await self._asked(_CALL, body, metadata, timeout))

    async def stream(self, envelope: Envelope, timeout: float | None) -> AsyncGenerator[DocumentArray[Any]]:
        """See Transport."""
        body = await frame(envelope, timeout, stream=True)
        metadata = headers_of(self._key, envelope.metadata)
        for wait in waits(self._retries):
            is_first = True
            try:
                with self._method("unary_stream", _STREAM) as asked:
                    call = asked(body, timeout=timeout, metadata=metadata)
                    try:
                        while (raw := await asyncio.to_thread(next, call, None)) is not None:
                            is_first = False
                            if not await taken(envelope, raw):
                                return
                            yield envelope.docs
                    finally:
                        call.cancel()
                raise Unavailable("the server ended the answer before it was whole")
            except self._grpc.RpcError as error:
                seconds = self._unsent(error, wait if is_first else None)
            await asyncio.sleep(seconds)

    async def is_ready(self) -> bool:
        """See Transport."""
        try:
            return await self._asked(_CHECK, b"", (), _PATIENCE) == _SERVING
        except (Unavailable, DeadlineExceeded, NoEndpoint):
            return False

    async def close(self) -> None:
        """See Transport."""
        self.end()

    def _error(self, error: Any, request_id: str) -> Exception:
        """The error that a status tells."""
        said = {name: value for name, value in error.trailing_metadata() or ()}
        wait = said.get("retry-after")
        if _PROBLEM in said:
            return error_of(json.loads(said[_PROBLEM]), request_id, wait)
        codes, code = self._grpc.StatusCode, error.code()
        detail = str(error.details() or code.name)
        if self._is_unsent(error):
            return NotReached(f"{self._where.url} cannot be reached: {detail}")
        if code is codes.UNAVAILABLE or code is codes.CANCELLED:
            return Unavailable(f"{self._where.url}: {detail}")
        if code is codes.RESOURCE_EXHAUSTED and wait is not None:
            return Overloaded(detail, float(wait))
        kinds: dict[Any, type[Exception]] = {
            codes.DEADLINE_EXCEEDED: DeadlineExceeded,
            codes.UNAUTHENTICATED: NotAllowed,
            codes.PERMISSION_DENIED: NotAllowed,
            codes.NOT_FOUND: NoEndpoint,
            codes.RESOURCE_EXHAUSTED: BadRequest,
            codes.INVALID_ARGUMENT: BadRequest,
        }
        if code in kinds:
            return kinds[code](detail)
        if code is codes.UNIMPLEMENTED:
            return Unavailable(f"{self._where.url} is no server of a Flow: {detail}")
        return error_of({"status": 500, "detail": detail}, request_id)


def _told(loop: asyncio.AbstractEventLoop, ended: asyncio.Event, call: Any) -> None:
    """Sets an event of a loop from a thread; a loop that has ended needs it no more."""
    del call
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(ended.set)
