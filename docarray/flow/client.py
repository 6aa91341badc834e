"""Client: asks a Flow over HTTP, WebSocket or gRPC, or a Flow of this process, all in the same way.

Rule 1: a client keeps what it has opened: requests one after the other go over one connection. What is closed by the
        other side while nobody asks is opened again.
Rule 2: one request is asked in the thread of its caller. For several at the same time, streams and callers that await
        it has a loop of its own, in a thread: it works in scripts, in notebooks and where an event loop runs.
Rule 3: only what was not sent is sent again: `retries` are those of connecting. Who was cut off in the middle of a
        request gets Unavailable, and knows best whether to ask again.
Rule 4: what went wrong on the other side is the same error here: `docarray.flow.faults`.
Rule 5: the time that a request has goes along with it: when it is over the server stops, and so does the wait here.
"""

# pyright: reportPrivateUsage=false
# A Flow of this process is asked by what it has in common with a client.

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from asyncio import timeout as within
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Self, cast

from docarray.array import DocumentArray
from docarray.errors import BadValue, FieldTypeError
from docarray.flow.envelope import Envelope
from docarray.flow.faults import DeadlineExceeded, NotRunning
from docarray.flow.loops import LoopThread
from docarray.flow.posting import Posting, checked
from docarray.flow.seeing import tracing_of

if TYPE_CHECKING:
    from docarray.flow.transport import Address, Transport

__all__ = ["Client", "transport"]

_MARGIN = 0.25  # seconds in which the server may say itself that there was no time left


def transport(where: Address, api_key: str | None, retries: int) -> Transport:
    """How requests travel to an address.

    Raises:
        MissingExtra: the package of the protocol is not installed.
    """
    if where.protocol == "http":
        from docarray.flow.lines import Lines

        return Lines(where, api_key, retries)
    if where.protocol == "grpc":
        from docarray.flow.calls import Calls

        return Calls(where, api_key, retries)
    from docarray.flow.talks import Talks

    return Talks(where, api_key, retries)


class Client(Posting):
    """Asks a Flow, wherever it runs; `post`, `stream`, `index`, `search`, `update` and `delete` are those of a Flow.

    Args:
        host: 'http://10.0.0.1:8080', 'https://', 'ws://', 'wss://', 'grpc://', 'grpcs://', or 'name:port'; or a Flow or
            Deployment of this process.
        port: where the host has none.
        protocol: 'http', 'websocket' or 'grpc', where the host says none.
        asyncio: whether `post` and `stream` are iterated with `async for`, and `is_flow_ready` is awaited.
        tls: whether TLS is spoken; or the file of certificates to trust in place of those of this machine.
        api_key: for a server that wants one.
        metadata: sent with each request: lower case names to text.
        prefetch: requests on their way at the same time.
        timeout: seconds that each request has which says no time of its own.
        retries: how often it is tried again to connect.
        profile: whether times are kept for `profiling`.
        tracing: as of a Flow: whether requests are traced by OpenTelemetry; None: where a TracerProvider was set.

    Raises:
        BadValue: the address is none. MissingExtra: the protocol needs a package that is not installed.

    >>> from docarray import Document
    >>> from docarray.flow import Executor, Flow, requests
    >>> class Shout(Executor):
    ...     @requests
    ...     def shout(self, docs, **kwargs):
    ...         docs.texts = [text.upper() for text in docs.texts]
    >>> with Flow(protocol='http').add(uses=Shout) as flow, Client('localhost', flow.port, 'http') as client:
    ...     client.post('/', Document(text='hi')).texts
    ['HI']
    """

    def __init__(
        self,
        host: Any = "127.0.0.1",
        port: int | None = None,
        protocol: str = "grpc",
        asyncio: bool = False,
        tls: bool | str = False,
        *,
        api_key: str | None = None,
        metadata: Mapping[str, str] | None = None,
        prefetch: int = 32,
        timeout: float | None = None,
        retries: int = 2,
        profile: bool = False,
        tracing: Any = None,
    ) -> None:
        for name, value, least in (("prefetch", prefetch, 1), ("retries", retries, 0)):
            if not isinstance(cast("Any", value), int) or value < least:
                raise BadValue(f"{name} is a whole number from {least}; got {value!r:.60}")
        self.asyncio = asyncio
        self._prefetch = prefetch
        self._timeout = timeout
        self._metadata = dict(metadata or {})
        self._profile = _Profile() if profile else None
        self._tracing = tracing_of(tracing)
        self._flow = host if isinstance(host, Posting) else None
        self._transport: Transport | None = None
        self.address: Address | None = None
        """Where the server is; None for a Flow of this process."""
        self._own_loop: LoopThread | None = None
        self._is_closed = False
        self._turn = threading.Lock()
        self._end: Any = None
        if self._flow is None:
            from docarray.flow.transport import address

            self.address = address(host, port, protocol, tls)
            self._transport = transport(self.address, api_key, retries)

    # ------------------------------------------------------------------------------------------ Posting

    def _loop(self) -> LoopThread | None:
        if self._is_closed:
            raise NotRunning("this client is closed")
        if self._flow is not None:
            return self._flow._loop()
        with self._turn:
            if self._own_loop is None:
                self._own_loop = LoopThread("docarray-client")
                self._end = weakref.finalize(
                    self, _let_go, self._own_loop, cast("Transport", self._transport)
                )
                self._end.atexit = False  # the thread is no reason to wait
            return self._own_loop

    async def _send(self, envelope: Envelope) -> None:
        if self._tracing is None:
            await self._sent(envelope)
            return
        with self._tracing.asking(envelope, self.address):
            await self._sent(envelope)

    async def _sent(self, envelope: Envelope) -> None:
        begun = time.perf_counter()
        envelope.metadata = {**self._metadata, **envelope.metadata}
        if self._transport is None:
            await cast("Posting", self._flow)._send(envelope)
        else:
            with _deadline(envelope):
                left = envelope.left()
                async with within(None if left is None else left + _MARGIN):
                    await self._transport.send(envelope, left)
        if self._profile is not None:
            self._profile.add(envelope, time.perf_counter() - begun)

    def _send_here(self, envelope: Envelope) -> bool:
        watched = self._profile is not None or self._tracing is not None
        if self._is_closed or (self._flow is not None and watched):
            return False
        envelope.metadata = {**self._metadata, **envelope.metadata}
        if self._transport is None:
            return cast("Posting", self._flow)._send_here(envelope)
        if self._tracing is None:
            self._ask(self._transport, envelope)
        else:
            with self._tracing.asking(envelope, self.address):
                self._ask(self._transport, envelope)
        return True

    def _ask(self, transport: Transport, envelope: Envelope) -> None:
        begun = time.perf_counter()
        with _deadline(envelope):
            left = envelope.left()
            until = None if left is None else time.monotonic() + left + _MARGIN
            transport.ask(envelope, left, until)
        if self._profile is not None:
            self._profile.add(envelope, time.perf_counter() - begun)

    async def _stream(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        span = (
            contextlib.nullcontext()
            if self._tracing is None
            else self._tracing.asking(envelope, self.address)
        )
        with span:
            async with contextlib.aclosing(self._followed(envelope)) as parts:
                async for part in parts:
                    yield part

    async def _followed(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        envelope.metadata = {**self._metadata, **envelope.metadata}
        if self._transport is None:
            source = cast("Posting", self._flow)._stream(envelope)
        else:
            source = self._transport.stream(envelope, envelope.left())
        async with contextlib.aclosing(source):
            while True:
                with _deadline(envelope):
                    left = envelope.left()
                    async with within(None if left is None else left + _MARGIN):
                        part = await anext(source, None)
                if part is None:
                    return
                yield part

    def post(self, on: str, inputs: Any = None, *callbacks: Any, **options: Any) -> Any:
        """Sends documents to an endpoint; the options are those of `docarray.flow.posting.Posting.post`."""
        if options.get("prefetch") is None:
            options["prefetch"] = self._prefetch
        if options.get("timeout") is None:
            options["timeout"] = self._timeout
        return super().post(on, inputs, *callbacks, **options)

    def stream(self, on: str, inputs: Any = None, *more: Any, **options: Any) -> Any:
        """The answer part by part; the options are those of `docarray.flow.posting.Posting.stream`."""
        if options.get("timeout") is None and len(more) < 3:
            options["timeout"] = self._timeout
        return super().stream(on, inputs, *more, **options)

    # ------------------------------------------------------------------------------------------ looking at it

    async def _is_ready(self) -> bool:
        if self._transport is None:
            running = cast("Any", self._flow)._running
            return running is not None and await running.is_ready()
        return await self._transport.is_ready()

    def is_flow_ready(self) -> Any:
        """Whether a request would come through all deployments; False too where no server is. Awaited with `asyncio`.

        Raises:
            NotAllowed: the server wants a key.
        """
        if self._flow is not None and cast("Any", self._flow)._running is None:
            return _said(False) if self.asyncio else False
        if self.asyncio:
            return self._here(self._is_ready())
        return self._running_loop().run(self._is_ready())

    dry_run = is_flow_ready

    @staticmethod
    def check_input(inputs: Any = None) -> bool:
        """Looks whether something can be sent; of a generator, which can be read once, nothing is taken.

        Raises:
            FieldTypeError: it cannot; the message says what of it.

        >>> Client.check_input(['tea', b'coffee'])
        True
        """
        return checked(inputs)

    def profiling(self, on: str | None = None, inputs: Any = None, **options: Any) -> str:
        """A table of where the time went: on the way, in the gateway, in each deployment.

        Args:
            on, inputs, options: a request that is sent first, as by `post`. None: what was asked until now, of a client
                with `profile=True`.

        Raises:
            BadValue: no request was asked, and no times were kept.
        """
        if on is None:
            if self._profile is None:
                raise BadValue("a client keeps times with profile=True; or name an endpoint to ask now")
            return self._profile.table()
        if self.asyncio:
            raise FieldTypeError("profiling(on) is of a plain client; this one has asyncio=True")
        kept, self._profile = self._profile, _Profile()
        try:
            self.post(on, inputs, **options)
            return self._profile.table()
        finally:
            self._profile = kept

    # ------------------------------------------------------------------------------------------ life

    def close(self) -> None:
        """Closes what is open. A second time does nothing; a Flow of this process runs on."""
        with self._turn:
            self._is_closed = True
            loop, self._own_loop = self._own_loop, None
        if self._transport is not None:
            self._transport.end()
        if loop is None:
            return
        self._end.detach()
        loop.run(cast("Transport", self._transport).close())
        loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._flow if self.address is None else self.address.url}>"


async def _said(value: bool) -> bool:
    return value


def _let_go(loop: LoopThread, transport: Transport) -> None:
    """Closes, without a wait, what nobody has a hand on any more."""

    def end() -> None:
        transport.end()
        task = loop.loop.create_task(transport.close())
        task.add_done_callback(lambda _: loop.loop.stop())

    loop.loop.call_soon_threadsafe(end)


class _deadline(contextlib.ContextDecorator):
    """Says of a wait that was ended here which request it was."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, TimeoutError) and type(error) is TimeoutError:
            raise DeadlineExceeded(
                f"request {self._envelope.request_id}: there was no answer in time"
            ) from None


class _Profile:
    """Times of requests, added up."""

    def __init__(self) -> None:
        self._count = 0
        self._whole = 0.0
        self._visits: dict[str, float] = {}

    def add(self, answer: Envelope, seconds: float) -> None:
        """One request more."""
        self._count += 1
        self._whole += seconds
        for visit in answer.routes:
            self._visits[visit.executor] = self._visits.get(visit.executor, 0.0) + visit.end - visit.start

    def table(self) -> str:
        """Milliseconds of one request, and its part of the whole."""
        gateway = self._visits.get("gateway", 0.0)
        lines = [
            ("roundtrip", self._whole),
            ("  network", max(0.0, self._whole - gateway)),
            ("  gateway", gateway),
        ]
        lines += [(f"    {name}", took) for name, took in self._visits.items() if name != "gateway"]
        count, whole = max(1, self._count), self._whole or 1.0
        width = max(len(name) for name, _ in lines)
        head = f"{'':{width}}  {'ms':>10}  {'share':>6}"
        rows = [f"{name:{width}}  {1e3 * took / count:10.3f}  {took / whole:6.1%}" for name, took in lines]
        return "\n".join([head, *rows, f"mean of {self._count} requests"])
