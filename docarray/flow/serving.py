"""Serving: what of a Flow is reached over the network, for as long as it runs.

Rule 1: all of it lives in the loop of the Flow: a request costs no thread.
Rule 2: 'http' and 'websocket' are one application, and share a port unless they are given two; each of their ports
        answers both.
Rule 3: what was accepted is answered: when the Flow ends, this ends first. It takes no more, waits `drain` seconds for
        what is under way, and cancels the rest.
Rule 4: nothing is left open where one of several ports is taken.
"""

# pyright: reportPrivateUsage=false
# The server of the room below is run here in a loop that is there already.

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING, Any, Final

from docarray.errors import BadValue, MissingExtra
from docarray.flow.faults import FlowStartError
from docarray.flow.running import Running
from docarray.flow.spec import GatewaySpec

if TYPE_CHECKING:
    import socket

__all__ = ["Served", "shared"]

_HEAD: Final = 1 << 16  # bytes of the head of a request
_HEAD_TIME: Final = 10.0
_STALL: Final = 30.0  # seconds in which a client reads nothing of its answer
_CONNECTIONS: Final = 1024
_KEEP_ALIVE: Final = 65
_GOODBYE: Final = 0.5  # seconds that a client has to close a socket that was answered, once the Flow ends
_JOINED: Final = 1 << 19  # bytes of a body that is copied behind its head


def shared(spec: GatewaySpec) -> dict[str, tuple[str, int]]:
    """Of each protocol the listener that it has, and the port that was asked for.

    Raises:
        BadValue: there are other than so many ports.

    >>> shared(GatewaySpec(protocol=('http', 'websocket', 'grpc')))
    {'http': ('http', 0), 'websocket': ('http', 0), 'grpc': ('grpc', 0)}
    >>> shared(GatewaySpec(protocol=('http', 'websocket'), port=(8080, 8081)))
    {'http': ('http', 8080), 'websocket': ('websocket', 8081)}
    """
    web = [one for one in spec.protocol if one != "grpc"]
    apart = list(spec.protocol)
    together = [one for one in spec.protocol if one == "grpc" or one == web[0]]
    ports = list(spec.port) or [0] * len(together)
    names = apart if len(ports) == len(apart) else together
    if len(ports) != len(names):
        raise BadValue(
            f"{len(ports)} ports for {', '.join(apart)}: give one for each, or one for 'http' and 'websocket' together"
        )
    said = dict(zip(names, ports, strict=True))
    if len(web) == 2 and (names is together or said[web[0]] == said[web[1]] != 0):
        said[web[1]] = said[web[0]]
        return {one: (web[0] if one in web else one, said[one]) for one in apart}
    return {one: (one, said[one]) for one in apart}


class Served:
    """The servers of a Flow. They are made in any thread, and live in the loop of what runs.

    Args:
        running: what runs.
        flow: the Flow itself, for an application of one's own.

    Attributes:
        ports: on which it listens, by protocol.

    Raises:
        BadValue: other machines would get in without a key.
        FlowStartError: a port is taken, a certificate cannot be read, or the application could not be made.
        MissingExtra: a package is not installed.
    """

    def __init__(self, running: Running, flow: Any) -> None:
        self._running = running
        self._spec = spec = running.spec.gateway
        self._drain = spec.drain
        self.ports: dict[str, int] = {}
        self._servers: list[tuple[Any, asyncio.Task[None]]] = []
        self._grpc: Any = None
        self._application: Any = None
        wanted = shared(spec)
        if spec.uses is None or "grpc" in wanted:  # an application of one's own looks after itself
            _check_open(spec)
        with contextlib.ExitStack() as ends:
            ends.callback(lambda: running.loop.run(self._stop(0.05)))
            listeners: dict[str, socket.socket] = {}
            for _, (name, port) in wanted.items():
                if name != "grpc" and name not in listeners:
                    listeners[name] = _listener(spec.host, port)
                    ends.callback(listeners[name].close)
            application = self._made(flow) if listeners else None
            running.loop.run(self._start(application, listeners, wanted))
            for protocol, (name, _) in wanted.items():
                self.ports[protocol] = self._grpc.port if name == "grpc" else listeners[name].getsockname()[1]
            ends.pop_all()

    def _made(self, flow: Any) -> Any:
        """The application of ASGI: the usual one, or what `uses` gives."""
        spec = self._spec
        uses = spec.uses
        try:
            if uses is None:
                from docarray.flow.gateway import asgi
                from docarray.web.server import _is_local, _names

                alone = _is_local(spec.host) and spec.auth is None
                self._application = asgi(self._running, spec, hosts=_names(spec.host) if alone else None)
                return self._application
            if isinstance(uses, str):
                module, _, name = uses.replace(":", ".").rpartition(".")
                uses = getattr(importlib.import_module(module), name)
            return uses(flow, **spec.uses_with)
        except MissingExtra:
            raise
        except Exception as error:
            raise FlowStartError(
                f"the gateway of {self._running.spec.name!r} could not be made: {error}"
            ) from error

    async def _start(
        self, application: Any, listeners: dict[str, socket.socket], wanted: dict[str, tuple[str, int]]
    ) -> None:
        if "grpc" in wanted:
            from docarray.flow.grpcserver import GrpcServer

            server = GrpcServer(self._running, self._spec, wanted["grpc"][1])
            await server.start()
            self._grpc = server
        for listener in listeners.values():
            await self._serve(application, listener)

    async def _serve(self, application: Any, listener: socket.socket) -> None:
        from docarray.web.server import _Bounds, _Config, _Socket, _Uvicorn

        spec = self._spec
        given: dict[str, Any] = {
            "http": _joining(),
            "ws": _patient() if self._application is application else _Socket,
            "ws_max_size": spec.max_body,
            "ws_per_message_deflate": False,
            # What the usual application starts and ends runs already.
            "lifespan": "off" if self._application is application else "auto",
            "log_config": None,
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,
            "timeout_keep_alive": _KEEP_ALIVE,
            "timeout_graceful_shutdown": self._drain,
            "ssl_certfile": spec.ssl_certfile,
            "ssl_keyfile": spec.ssl_keyfile,
            **spec.uvicorn_kwargs,
        }
        ready = asyncio.Event()
        try:
            config = _Config(application, **given)
            config.bounds = _Bounds(_HEAD, _HEAD_TIME, _STALL, _CONNECTIONS)
            config.load()
        except (OSError, TypeError, ValueError) as error:
            raise FlowStartError(f"HTTP cannot be served: {error}") from error
        server = _Uvicorn(config, ready.set, self._say_stopping)
        task = asyncio.get_running_loop().create_task(_run(server, listener))
        waiting = asyncio.ensure_future(ready.wait())
        try:
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        self._servers.append((server, task))
        if not ready.is_set():
            raise FlowStartError("the application of the gateway did not start; the log has why")

    def _say_stopping(self) -> None:
        if self._application is not None:
            self._application.stop()

    def close(self) -> None:
        """Answers what was accepted, and ends. A second time does nothing."""
        self._running.loop.run(self._stop(self._drain))

    async def _stop(self, grace: float) -> None:
        servers, self._servers = self._servers, []
        grpc, self._grpc = self._grpc, None
        for server, _ in servers:
            server.config.timeout_graceful_shutdown = grace
            server.should_exit = True
        tasks: list[Any] = [task for _, task in servers]
        if grpc is not None:
            tasks.append(grpc.stop(grace))
        done = await asyncio.gather(*tasks, return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one


class _Joined:
    """A transport that writes the head of an answer along with what follows at once: a client is woken once, not twice.

    Half of what a short answer costs a server is to wake the client.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        held = self._held
        if held and len(data) <= _JOINED:
            self._held = b""
            self._transport.write(held + data)
        elif held or not data.startswith(b"HTTP/1.1 "):
            self._flush()
            self._transport.write(data)
        else:
            self._held = data
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held:
            self._transport.write(held)

    def close(self) -> None:
        self._flush()
        self._transport.close()


def _joining() -> Any:
    """HTTP whose answers are written at once."""
    from docarray.web.server import _Protocol

    class Joining(_Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(_Joined(transport, self.loop))

    return Joining


def _patient() -> Any:
    """Sockets that answer what was asked before they are closed, as the gateway understands it."""
    from docarray.web.server import _Socket

    class Patient(_Socket):
        def shutdown(self) -> None:
            if not self.handshake_complete or self.close_sent:
                super().shutdown()
                return
            self.stop_keepalive()
            # Who asks in a thread of its own reads nothing while it asks nothing.
            self.close_timeout = _GOODBYE
            # It is what a client says that sends no more: all is answered, then the socket closed.
            self.queue.put_nowait({"type": "websocket.receive", "bytes": b"\0"})

    return Patient


async def _run(server: Any, listener: socket.socket) -> None:
    try:
        await server.serve([listener])
    except SystemExit:  # what uvicorn says of an application that does not start
        return
    finally:
        listener.close()


def _check_open(spec: GatewaySpec) -> None:
    """Looks whether other machines would get in without a key.

    Raises:
        BadValue: they would, and nobody said that they may.
    """
    try:
        from docarray.web import server
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    server._check_open(
        spec.auth is not None, server._is_local(spec.host), spec.host, spec.insecure, "a key as auth"
    )


def _missing(error: ModuleNotFoundError) -> Exception:
    """What is said of a package that is not there."""
    name = (error.name or "").partition(".")[0]
    if name not in ("uvicorn", "httptools", "websockets", "starlette"):
        return error
    return MissingExtra(f'HTTP and sockets need the package {name}: pip install "docarray[serve]"')


def _listener(host: str, port: int) -> socket.socket:
    try:
        from docarray.web.server import CannotServe, _listening
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    try:
        return _listening(host, port)
    except CannotServe as error:
        raise FlowStartError(str(error)) from error
