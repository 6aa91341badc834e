"""The server: uvicorn with bounds, in a thread (`Server`) or in the foreground (`serve`).

Rule 1: what was accepted is answered. To stop is to take what waits in the backlog, to refuse new connections, to
        answer what is under way with `Connection: close`, and only after the grace to cancel what is left.
Rule 2: a client holds little: bytes of a head, seconds for it, seconds without reading its answer, and connections are
        all bounded. The bounds of bodies and of work are those of the application; see `docarray.web.guards`.
Rule 3: nothing of the process is touched that was not asked for: signals are handled by `run` and `serve` alone, and
        no logging is set up.
Rule 4: other machines get in with a key, or where `insecure=True` says that they may without.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from types import FrameType
from typing import Any, Final, NamedTuple, Self, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from docarray.array import DocumentArray
from docarray.errors import BadValue, DocArrayError, FieldTypeError
from docarray.web import asgi
from docarray.web.guards import ASGIApp, Receive, Scope, Send
from docarray.web.problems import LOG, MEDIA_TYPE, TITLES, Problem
from docarray.web.service import Service

__all__ = ["CannotServe", "Server", "serve"]

_LINGER: Final = 5.0  # seconds in which the rest of a body that was refused is still taken, and thrown away
_SPARE: Final = 64  # connections beyond the bound that are told so; others are cut
_SOCKET_MESSAGE: Final = 1 << 20  # bytes of a message of a socket
_LULL: Final = 0.3  # seconds in which connections that are idle may still ask, when the server stops
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class CannotServe(DocArrayError, OSError):
    """The port is taken, or the address is none of this machine's, or the application did not start."""


class _Bounds(NamedTuple):
    """What one client holds, and all of them."""

    head: int
    head_timeout: float
    stall: float
    connections: int


# ---------------------------------------------------------------------------------------------- the protocol


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """A logger that does not warn of what clients send: anybody could fill the log with it."""

    @property
    def level(self) -> int:
        return self.logger.level

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.logger.debug(msg, *args, **kwargs)


class _QuietOfSockets(_Quiet):
    """And one that tells of a socket what `Envelope` does not: that it was opened is in the log of requests."""

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.logger.debug(msg, *args, **kwargs)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        if not isinstance(sys.exception(), UnicodeError):  # what a client sent
            self.logger.exception(msg, *args, **kwargs)


class _Config(uvicorn.Config):
    """The settings of uvicorn, and our bounds."""

    bounds: _Bounds


class _Reader:
    """Cuts a client off that does not read what waits for it, when nothing more is written meanwhile."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    bounds: _Bounds
    _stall_timer: asyncio.TimerHandle | None = None
    _unread = 0  # bytes that the client had not taken when last looked at

    def watch_reader(self) -> None:
        self.forget_reader()
        self._unread = self.transport.get_write_buffer_size()
        if self._unread:
            self._stall_timer = self.loop.call_later(self.bounds.stall, self._look_at_reader)

    def forget_reader(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _look_at_reader(self) -> None:
        self._stall_timer = None
        if self.transport.get_write_buffer_size() >= self._unread:
            self.transport.abort()  # nothing was read all the time
        else:
            self.watch_reader()


class _Socket(_Reader, WebSocketsSansIOProtocol):
    """WebSocket of uvicorn, for clients that do not read, or send what is no text."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.bounds = config.bounds
        self.logger = cast("Any", _QuietOfSockets(logging.getLogger("uvicorn.error"), {}))

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # So that writing is paused while bytes wait. With 0 asyncio pauses it over TLS where none do.
        transport.set_write_buffer_limits(1, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self.forget_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.forget_reader()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # who asks, and does not read the answers, gets no more of them


class _Protocol(_Reader, HttpToolsProtocol):
    """HTTP of uvicorn, for clients that are slow, greedy or gone."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.bounds = config.bounds
        self.logger = cast("Any", _Quiet(logging.getLogger("uvicorn.error"), {}))
        self._in_head = self._in_body = False  # of a message that has begun
        self._upgraded = False  # to a socket, whose time is its own
        self._is_first = False  # its head began with the bytes that are read now
        self._head = 0  # bytes of it that were read before
        self._refusal = 400
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------ connections

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        beyond = len(self.connections) - self.bounds.connections
        if beyond > _SPARE:
            transport.abort()
            return
        if beyond > 0:
            self.app = cast("Any", _busy)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        if self.app is _busy:
            self._refuse(503)
            return
        self._forget()
        self._upgraded = True
        super().handle_websocket_upgrade()

    def _forget(self) -> None:
        self.forget_reader()
        for timer in (self._head_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._linger_timer = None

    # ------------------------------------------------------------------------------------------ heads

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.bounds.head_timeout, self._too_slow)

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(408)
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int) -> None:
        self._refusal = status
        if not self.transport.is_closing():
            self.send_400_response(TITLES[status])

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._is_first = False
        super().data_received(data)
        if self._in_body or self._upgraded or self.transport.is_closing():
            return
        if self._in_head and not self._is_first:
            self._head += len(data)
            if self._head > self.bounds.head:
                self._refuse(431)
                return
        # Bytes have stopped the clock of uvicorn, and may be no head at all.
        if self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._in_body, self._is_first, self._head = True, False, True, 0

    def on_headers_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._in_head, self._in_body = False, True
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.bounds.head:
            self._refusal = 431
            raise BadValue(
                "the head of the request is too large"
            )  # the parser stops, and `data_received` answers
        if sum(name == b"host" for name, _ in self.headers) > 1:
            raise BadValue("a request to two hosts")  # a proxy may have read the other one
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        del msg
        problem = Problem(self._refusal, TITLES[self._refusal], "this is no request that is read here")
        body = json.dumps(problem.body()).encode()
        lines = [
            f"HTTP/1.1 {self._refusal} {problem.title}",
            *(["retry-after: 1"] if self._refusal == 503 else []),
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
            "",
            "",
        ]
        self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()

    # ------------------------------------------------------------------------------------------ bodies

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.watch_reader()
        # The answer came before the end of the body: it was refused. To close at once would take the answer away from
        # a client that still sends; to read for ever is what it may be after.
        if self._in_body and self._linger_timer is None and not self.transport.is_closing():
            self._linger_timer = self.loop.call_later(_LINGER, self.transport.close)

    # ------------------------------------------------------------------------------------------ answers

    def pause_writing(self) -> None:
        super().pause_writing()
        self.watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.forget_reader()
        if self.cycle is None or self.cycle.response_complete:
            self.watch_reader()  # what is left of it


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    """What is said on connections beyond the bound."""
    del receive
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013})
        return
    body = json.dumps(Problem(503, TITLES[503], "as many connections as may be are open").body()).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# ---------------------------------------------------------------------------------------------- uvicorn


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers, and with a stop that loses nothing."""

    def __init__(self, config: _Config, ready: Callable[[], object], stopping: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop, begun = asyncio.get_running_loop(), time.monotonic()
        self._stopping()
        # Connections that the kernel has accepted for us: between the last look and the end nobody else gets in.
        waiting = [found for listener in sockets or () for found in _accepted(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        # A client that keeps its connection open may have asked already: bytes on the way are seen by nobody yet.
        while self.server_state.connections and time.monotonic() - begun < _LULL:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        if self.force_exit:  # which uvicorn takes as a reason not to tell the application
            await self.lifespan.shutdown()

    def _protocol(self) -> asyncio.Protocol:
        make = cast("Any", self.config.http_protocol_class)
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _accepted(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait in the backlog of a listener."""
    found: list[socket.socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # none is left, or no more can be opened
            return found
        connection.setblocking(False)
        found.append(connection)


# ---------------------------------------------------------------------------------------------- the server


class Server:
    """A server in a thread, for as long as its block lasts.

    Args:
        app: an array or a Service, which is served by `docarray.web.app`, what that has made, or any ASGI application.
        host: an address, or a name, of this machine; '0.0.0.0' is all of them.
        port: 0 takes a free one.
        insecure: lets other machines in without a key.
        grace: seconds in which requests that were accepted are finished when the server stops.
        connections: that are open at the same time; another one is answered 503.
        head: bytes of the first line and the headers of a request; more is answered 431.
        head_timeout: seconds until they must have come.
        keep_alive: seconds that a connection is kept without a request.
        proxies: addresses whose X-Forwarded-For and X-Forwarded-Proto are believed.
        root_path: what a proxy cuts off the front of paths, such as '/shelf'.
        options: of `docarray.web.app`.

    Where it listens to this machine alone and wants no key, requests must name it by a name of this machine (`hosts`):
    else the page of any site could have its own name lead here and read along.

    Raises:
        CannotServe: the port is taken. BadValue: other machines would get in without a key.

    >>> from urllib.request import urlopen
    >>> from docarray import Document, DocumentArray
    >>> with Server(DocumentArray([Document(id='a', text='green tea')])) as server:
    ...     with urlopen(server.url + '/documents/count') as answer:
    ...         answer.read()
    b'{"count": 1}'
    """

    def __init__(
        self,
        app: DocumentArray[Any] | Service | asgi.Application | ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        insecure: bool = False,
        grace: float = 10.0,
        connections: int = 512,
        head: int = 1 << 16,
        head_timeout: float = 10.0,
        keep_alive: float = 65.0,
        proxies: Sequence[str] = (),
        root_path: str = "",
        **options: Any,
    ) -> None:
        for name, value in {"grace": grace, "head_timeout": head_timeout, "keep_alive": keep_alive}.items():
            if not isinstance(cast("object", value), (int, float)) or not 0 < value < 1e9:
                raise BadValue(f"{name} is a number of seconds above 0; got {value!r}")
        for name, value in {"connections": connections, "head": head}.items():
            if not isinstance(cast("object", value), int) or value < 1:
                raise BadValue(f"{name} is a whole number from 1; got {value!r}")
        if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
            raise BadValue(f"root_path is such as '/shelf', without a slash at the end; got {root_path!r}")
        self.grace = grace
        self._app, self._made = _application(app, host, insecure, options)
        stall = self._app.service.limits.timeout if isinstance(self._app, asgi.Application) else 30.0
        try:
            self._listener = _listening(host, port)
        except BaseException:
            self._end()
            raise
        bound, port = self._listener.getsockname()[:2]
        self.port: int = port
        self.url: str = f"http://{_reached(bound)}:{self.port}"
        """Where it is asked from this machine: 'http://127.0.0.1:8000', without a slash at the end."""
        config = _Config(
            cast("Any", self._app),
            http=_Protocol,
            ws=_Socket,
            ws_max_size=_SOCKET_MESSAGE,
            ws_per_message_deflate=False,
            lifespan="auto",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            root_path=root_path,
            timeout_keep_alive=cast("int", keep_alive),
            timeout_graceful_shutdown=cast("int", grace),
        )
        config.bounds = _Bounds(head, head_timeout, max(1.0, stall), connections)
        self._started, self._done = threading.Event(), threading.Event()
        self._uvicorn = _Uvicorn(config, self._started.set, self._say_stopping)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Serves from a thread; comes back when requests are answered.

        Raises:
            CannotServe: the application did not start; or this server was started before.
        """
        if self._thread is not None or self._uvicorn.should_exit:
            raise CannotServe("a server is started once; make another one")
        self._thread = threading.Thread(target=self._run_quietly, name="docarray-server", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None or not self._uvicorn.started:
            self.stop()
            raise CannotServe("the application did not start; the log has why") from self._error
        LOG.info("serving at %s", self.url)
        return self

    def stop(self) -> None:
        """Refuses new requests and comes back when those that were accepted are answered, or the grace is over."""
        self._uvicorn.should_exit = True
        if self._thread is None:
            self._listener.close()
            self._end()
        elif self._thread is not threading.current_thread():
            self._done.wait()

    def run(self, ready: Callable[[str], object] | None = None) -> None:
        """Serves in this thread until SIGTERM or SIGINT; the second one does not wait for what was accepted.

        Args:
            ready: called with the url when requests are answered.

        Where this is not the main thread, which alone is told of signals, `stop` ends it.

        Raises:
            CannotServe: the application did not start; or this server was started before.
        """
        if self._thread is not None or self._uvicorn.should_exit:
            raise CannotServe("a server is started once; make another one")
        self._thread = threading.current_thread()
        if ready is not None:
            self._uvicorn._ready = lambda: ready(self.url)  # pyright: ignore[reportPrivateUsage]
        with _signals(self._signalled):
            self._run()

    def _run(self) -> None:
        try:
            self._uvicorn.run([self._listener])
        except SystemExit:  # what uvicorn says of an application that does not start
            raise CannotServe("the application did not start; the log has why") from None
        finally:
            self._listener.close()
            self._end()
            self._done.set()

    def _run_quietly(self) -> None:
        """In the thread: what goes wrong is told to who has started it."""
        try:
            self._run()
        except BaseException as error:
            self._error = error
            if self._started.is_set():
                LOG.error("the server at %s ended", self.url, exc_info=error)
        finally:
            self._started.set()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._uvicorn.should_exit:
            self._uvicorn.force_exit = True
        self._uvicorn.should_exit = True

    def _say_stopping(self) -> None:
        if isinstance(self._app, asgi.Application):
            self._app.stop()

    def _end(self) -> None:
        """Gives back what was made for this server: an application whose loop never ran has threads, too."""
        if self._made is not None:
            self._made.lane.close(wait=False)


def serve(
    docs: DocumentArray[Any] | Service | asgi.Application | ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    ready: Callable[[str], object] | None = None,
    **options: Any,
) -> None:
    """Serves an array until SIGTERM or SIGINT (Ctrl-C); requests that were accepted by then are answered.

    Args:
        docs: an array or a Service, what `docarray.web.app` has made, or any ASGI application.
        host, port: where; this machine alone gets in unless told otherwise.
        ready: called with the url when requests are answered.
        options: of `Server` and of `docarray.web.app`: `name`, `schema`, `encode`, `writable`, `api_key`, ...

    It comes back when the server has stopped: what stands after it, and `finally`, is run.

    Raises:
        CannotServe: the port is taken. BadValue: other machines would get in without a key.
    """
    Server(docs, host=host, port=port, **options).run(ready)


# ---------------------------------------------------------------------------------------------- where


def _application(
    app: Any, host: str, insecure: bool, options: dict[str, Any]
) -> tuple[asgi.Application | ASGIApp, Service | None]:
    """What is served, and the service that was made for it."""
    local = _is_local(host)
    if isinstance(app, (DocumentArray, Service)):
        secured = options.get("api_key") is not None or options.get("auth") is not None
        _check_open(secured, local, host, insecure)
        if local and not secured:
            options.setdefault("hosts", _names(host))
        application = asgi.app(cast("Any", app), **options)
        return application, None if isinstance(app, Service) else application.service
    if options:
        raise FieldTypeError(f"{', '.join(options)}: options of an application are given where it is made")
    if isinstance(app, asgi.Application):
        _check_open(app.secured, local, host, insecure)
        return app, None
    if not callable(app):
        raise FieldTypeError(
            f"a server serves a DocumentArray, a Service or an application; got a {type(app).__name__}"
        )
    return cast("ASGIApp", app), None


def _check_open(
    secured: bool, local: bool, host: str, insecure: bool, keys: str = "an api_key or auth"
) -> None:
    if not (secured or local or insecure):
        raise BadValue(
            f"at {host!r} other machines would get in without a key: give {keys} (to the command line "
            f"DOCARRAY_API_KEY), or say insecure=True (--insecure) where all of them may"
        )


def _is_local(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _names(host: str) -> Collection[str]:
    """The names under which this machine asks itself."""
    plain = host.strip("[]")
    return {"127.0.0.1", "localhost", "[::1]", f"[{plain}]" if ":" in plain else plain}


def _reached(bound: str) -> str:
    """The address under which this machine reaches a listener."""
    if bound in ("0.0.0.0", "::"):
        bound = {"0.0.0.0": "127.0.0.1", "::": "::1"}[bound]
    return f"[{bound}]" if ":" in bound else bound


def _listening(host: str, port: int) -> socket.socket:
    """A listener.

    Raises:
        CannotServe: the port is taken, or the address is not of this machine.
    """
    if not isinstance(cast("object", port), int) or not 0 <= port < 1 << 16:
        raise BadValue(f"a port is a whole number from 0 to 65535; got {port!r}")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CannotServe(f"{host!r} is no address of this machine ({error})") from error
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    # Its protocol is said, or asyncio leaves Nagle's algorithm on: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        where = f"port {port} of {host}"
        raise CannotServe(
            f"{where} cannot be listened to ({error.strerror}): is another server running? Name another port"
        ) from error
    return listener


@contextlib.contextmanager
def _signals(handle: Callable[[int, FrameType | None], object]) -> Generator[None]:
    """What signals do meanwhile, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
