"""Gateway: a Flow as an ASGI application: HTTP in JSON and binary, streams of events, sockets, GraphQL, OpenAPI.

Rule 1: one ASGI callable, for any server, or mounted in another application. It asks a Running, in whose loop it costs
        least; in another loop it works as well, at a tenth of a millisecond more.
Rule 2: what went wrong has the status of what it is, and is told as wire.py says.
Rule 3: what nobody waits for any more is cancelled: a client that goes away takes its request with it.
Rule 4: what is short is read and written where it is; what takes its time is done in a thread.

To run it: `asgi(flow)` or `asgi(running)` under any server. In a server of one's own, `application.stop()` is to be
called in its event loop before it stops, so that streams of events end; uvicorn wants `ws_max_size=spec.max_body`.
Where a Flow that does not run is given, the application's lifespan starts and ends it; an application that this one is
mounted in has to pass that on: `FastAPI(lifespan=application.lifespan)`.

| path | |
|---|---|
| `POST /post` | what `execEndpoint` says, `/` where it says nothing |
| `POST /<endpoint>` | each endpoint of the Flow; also `PUT /update` and `DELETE /delete` |
| `GET /`, `/healthz` | `{}`, `{"status": "ok"}`; with `/healthz?ready` 503 unless all deployments would answer |
| `GET /dry_run`, `/status` | the same as Jina says it; versions, and the replicas of each deployment |
| `GET /openapi.json`, `/docs`, `/metrics` | the description, and as a page (Swagger); numbers for Prometheus |
| `/graphql` | with `graphql=True`: `docs(data, targetExecutor, parameters, execEndpoint)`, a query and a mutation |
| sockets at `/`, `/ws`, `/dry_run` | see sockets.py |

A body is JSON, NDJSON, a frame (wire.py), or documents alone in a format such as `application/vnd.docarray`; then
`parameters` (JSON), `targetExecutor`, `execEndpoint` and `timeout` stand in the query. `Accept` chooses the answer:
JSON, `application/x-ndjson`, `application/vnd.docarray` (both: the documents alone), a frame, or `text/event-stream`:
an event `update` for each document, then `end` with header, parameters and routes, or `error` with a problem. A handler
that is a generator is followed as it yields where NDJSON or events are asked for.
The header `Request-Timeout`, or the member `timeout`, has seconds; `X-Request-ID` the id by which the logs know it.
"""

# pyright: reportPrivateUsage=false
# It looks at what a Flow runs, as the modules of this room do.

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import platform
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qsl, quote

from starlette.exceptions import HTTPException
from starlette.routing import Router

from docarray.array import DocumentArray
from docarray.errors import DocArrayError, FieldTypeError, near_miss
from docarray.flow import wire
from docarray.flow.access import Logged, access_of
from docarray.flow.envelope import Envelope
from docarray.flow.faults import BadRequest, ExecutorError, NoEndpoint, NotRunning, Overloaded, Unavailable
from docarray.flow.rates import Rates, client_of
from docarray.flow.running import Running
from docarray.flow.seeing import Collector
from docarray.flow.sockets import serve_socket
from docarray.flow.spec import GatewaySpec
from docarray.flow.wire import FRAME, Request
from docarray.web import bodies, guards, ide
from docarray.web.guards import ASGIApp, Receive, Scope, Send
from docarray.web.limits import Limits
from docarray.web.problems import LOG, MEDIA_TYPE

__all__ = ["Application", "asgi"]

_SHORT: Final = 1 << 18  # bytes of a body that is read where it is: a millisecond
_PLAIN: Final = 1 << 22  # the same of documents whose columns lie on the body
_FEW: Final = 128  # documents that are written where they are, if their request was short
_LONG: Final = 1e7  # seconds of a request that may take for ever
_MANY: Final = 1024  # the same, in the native format
_KEEP: Final = 15.0  # seconds without an event, after which proxies are told that there is somebody
_AHEAD: Final = 4  # parts of a stream that wait for the client
_PACKED: Final = 1 << 10  # bytes from which an answer is packed
_EVENTS: Final = "text/event-stream"
_PARTS: Final = ("events", "ndjson")
_CRUD: Final = ("/", "/index", "/search", "/update", "/delete")
_MORE: Final[Mapping[str, str]] = {"/update": "PUT", "/delete": "DELETE"}
_QUERY: Final = (
    "parameters",
    "targetExecutor",
    "target_executor",
    "execEndpoint",
    "exec_endpoint",
    "timeout",
)
# What is the connection's business, or a secret, and no handler's.
_NO_METADATA: Final = frozenset(
    b"accept accept-encoding accept-language authorization cache-control connection content-encoding content-length "
    b"content-type cookie expect host keep-alive origin pragma proxy-authorization referer request-timeout te "
    b"transfer-encoding upgrade user-agent x-api-key x-request-id".split()
)

Give = Callable[[Scope], Awaitable["_Answer"]]


class _Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    media: str = "application/json"
    headers: Mapping[str, str] = {}


class _Asked(NamedTuple):
    """A request and how its answer is wanted."""

    request: Request
    envelope: Envelope
    form: str
    is_short: bool


def asgi(
    source: Any,
    spec: GatewaySpec | None = None,
    *,
    hosts: Collection[str] | None = None,
    access_log: bool | None = None,
) -> Application:
    """An ASGI application that answers for a Flow: `uvicorn module:app`, or `fastapi_app.mount('/flow', asgi(flow))`.

    Args:
        source: a Flow or Deployment, or a Running. One that does not run is started with the lifespan of the
            application, and ended with it.
        spec: what is offered: `cors`, `auth`, `max_body`, `timeout`, `debug`, `metrics`, `graphql`, `compression`,
            `title`, `description`. None is that of the Flow.
        hosts: names under which it is asked, without ports; None for any. Whoever serves without a key to this machine
            alone gives the names of it, lest pages of other sites read along.
        access_log: whether each request is a line of the logger 'docarray.flow.access'; None: as the spec says.

    Raises:
        FieldTypeError: `source` is no Flow. BadValue: a key is empty, an origin is none. MissingExtra: a package is not
            installed.

    >>> from docarray.flow import Executor, Flow, requests
    >>> from starlette.testclient import TestClient
    >>> class Shout(Executor):
    ...     @requests(on='/shout')
    ...     def shout(self, docs, **kwargs):
    ...         docs.texts = [text.upper() for text in docs.texts]
    >>> with TestClient(asgi(Flow().add(uses=Shout))) as client:
    ...     answer = client.post('/shout', json={'data': [{'text': 'tea'}]})
    >>> answer.json()['data'][0]['text']
    'TEA'
    """
    return Application(source, spec, hosts, access_log)


class Application:
    """What `asgi` gives: an ASGI callable."""

    def __init__(
        self,
        source: Any,
        spec: GatewaySpec | None = None,
        hosts: Collection[str] | None = None,
        access_log: bool | None = None,
    ) -> None:
        if not isinstance(source, Running) and not hasattr(source, "_running"):
            raise FieldTypeError(f"a Flow or Deployment is served; got a {type(source).__name__}")
        self.source: Any = source
        """The Flow, or what runs of it."""
        self.spec: GatewaySpec = source.spec.gateway if spec is None else spec
        """What is offered."""
        self.secured: bool = self.spec.auth is not None
        """Whether requests are asked who they are of."""
        self._owns = False
        self._rates = None if self.spec.rate_limit is None else Rates(self.spec.rate_limit)
        self._limits = Limits(body=self.spec.max_body, documents=1 << 40, timeout=_LONG)
        self._described: dict[str, bytes] = {}
        self._age: object = None
        self._known: dict[str, str] = {}
        self._given: dict[str, Give] = {
            "/": self._empty,
            "/healthz": self._health,
            "/dry_run": self._dry_run,
            "/status": self._status,
            "/openapi.json": self._openapi,
        }
        self._pages = Router(ide.routes())
        meters = _meters() if self.spec.metrics else None
        if meters is not None:
            meters.registry.register(Collector(self._found))
            self._given["/metrics"] = lambda scope: _told(meters)
        self._graphql = _graphql(self) if self.spec.graphql else None
        inner: ASGIApp = guards.BodyLimit(self._route, self.spec.max_body)
        inner = guards.Deadline(inner, _LONG)
        if self.secured:
            inner = _guarded(inner, self.spec.auth)
        inner = guards.Origins(inner, self.spec.cors, hosts)
        if self.spec.cors:
            inner = guards.cors(inner, self.spec.cors)
        if meters is not None:
            inner = _measured(inner, meters)
        self._envelope = guards.Envelope(inner)
        logged = self.spec.access_log if access_log is None else access_log
        self._outer: ASGIApp = Logged(self._envelope) if logged else self._envelope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._outer(scope, receive, send)

    def stop(self) -> None:
        """Says that the server is about to stop; to be called in its event loop. See `guards.Envelope.stop`."""
        self._envelope.stop()

    # ------------------------------------------------------------------------------------------ life

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncGenerator[None]:
        """Starts the Flow unless it runs, and ends it then: for an application that this one is mounted in."""
        del app
        idle: Any = None
        if not isinstance(self.source, Running) and self.source._running is None:
            idle = self.source
        if idle is not None:
            await asyncio.to_thread(idle.start)
        try:
            yield
        finally:
            if idle is not None:
                await asyncio.to_thread(idle.close)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except DocArrayError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    def running(self) -> Running:
        """What runs.

        Raises:
            NotRunning: nothing does.
        """
        running = self._found()
        if running is None:
            raise NotRunning("the Flow does not run: start it, or pass on the lifespan of its application")
        return running

    def _found(self) -> Running | None:
        """What runs, or None."""
        return self.source if isinstance(self.source, Running) else self.source._running

    # ------------------------------------------------------------------------------------------ asking

    def take(self, scope: Scope) -> None:
        """Counts a request of a client.

        Raises:
            Overloaded: it sends more than it may.
        """
        if self._rates is not None:
            self._rates.take(client_of(scope["headers"], scope.get("client")))

    async def ask(self, envelope: Envelope) -> None:
        """Has a request answered, whatever loop this is; see `Running.answer`."""
        running = self.running()
        if running.loop.is_here:
            await running.answer(envelope)
            return
        try:
            await asyncio.wrap_future(running.loop.submit(running.answer(envelope)))
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            raise Unavailable("the Flow ended before it answered") from None

    async def follow(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part, whatever loop this is; see `Running.stream`."""
        running = self.running()
        source = running.stream(envelope) if running.loop.is_here else _bridged(running, envelope)
        async with contextlib.aclosing(source) as parts:
            async for part in parts:
                yield part

    def endpoint_of(self, path: str) -> str:
        """The endpoint that a path names.

        Raises:
            NoEndpoint: none is called so.
        """
        known = self._known.get(path)
        if known is not None:
            return known
        points = self.running().plan.endpoints()
        for name in (path, path[1:]):
            if name in points or name in _CRUD:
                if len(self._known) < 1024:
                    self._known[path] = name
                return name
        if any(
            one.external for one in self.running().spec.deployments
        ):  # which know themselves what they answer
            return path
        paths = [point if point.startswith("/") else f"/{point}" for point in points]
        raise NoEndpoint(
            f"there is no endpoint {path[:100]!r}. {near_miss(path[:100], paths)} See /openapi.json"
        )

    # ------------------------------------------------------------------------------------------ routing

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = guards.path_of(scope) or "/"
        if scope["type"] == "websocket":
            if path in ("/", "/ws", "/dry_run"):
                scope["route"] = SimpleNamespace(path=path)
                await serve_socket(self, path, scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1000})
            return
        if path == "/graphql" and self._graphql is not None:
            scope["route"] = SimpleNamespace(path=path)
            try:
                self.take(scope)
            except Overloaded as error:
                await _send(self._failed(error, scope), scope, send)
                return
            await self._graphql(scope, receive, send)
            return
        method: str = scope["method"]
        if (path == "/docs" or path.startswith("/assets/")) and method in ("GET", "HEAD"):
            scope["route"] = SimpleNamespace(path="/docs" if path == "/docs" else "/assets/{name}")
            try:
                await self._pages(scope, receive, send)
            except DocArrayError as error:
                await _send(self._failed(error, scope), scope, send)
            return
        give = self._given.get(path)
        if give is not None and method in ("GET", "HEAD"):
            scope["route"] = SimpleNamespace(path=path)
            try:
                answer = await give(scope)
            except Exception as error:
                answer = self._failed(error, scope)
            await _send(answer, scope, send)
            return
        allowed = ["GET", "HEAD"] if give is not None else []
        endpoint: str | None = None
        try:
            if path != "/post":
                endpoint = self.endpoint_of(path)
            allowed += ["POST", *((_MORE[path],) if path in _MORE else ())]
        except Exception as error:
            if give is None:
                await _send(self._failed(error, scope), scope, send)
                return
        if method not in allowed:
            raise HTTPException(405, f"this path takes {', '.join(allowed)}", {"Allow": ", ".join(allowed)})
        # A path that only others know is no name of a series, of which clients could make any number.
        is_known = path in self._known or path == "/post"
        scope["route"] = SimpleNamespace(path=path if is_known else "/{endpoint}")
        await self._posted(endpoint, scope, receive, send)

    def _failed(self, error: BaseException, scope: Scope, asked: _Asked | None = None) -> _Answer:
        """What a client is told of an error."""
        if isinstance(error, HTTPException):
            raise error
        access_of(scope).failed(error)
        request_id = guards.request_id(scope)
        if isinstance(error, ExecutorError):
            LOG.error("request %s: %s", request_id or "-", error, exc_info=error.__cause__ or error)
        is_old = asked is not None and asked.request.is_old
        told = wire.failed(
            error,
            None if asked is None else asked.envelope,
            request_id,
            is_old=is_old,
            debug=self.spec.debug,
        )
        return _Answer(told.status, told.body, "application/json" if is_old else MEDIA_TYPE, told.headers)

    # ------------------------------------------------------------------------------------------ requests

    async def _posted(self, endpoint: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        asked: _Asked | None = None
        try:
            self.take(scope)
            asked = await self._asked(endpoint, scope, receive)
            if asked.form in _PARTS:
                answer = None
            else:
                await self.ask(asked.envelope)
                answer = await self._written(asked, scope)
        except bodies.Gone:
            return
        except Exception as error:
            answer = self._failed(error, scope, asked)
        if answer is not None:
            await _send(answer, scope, send)
        elif asked is not None:
            await self._streamed(asked, scope, send)

    async def _asked(self, endpoint: str | None, scope: Scope, receive: Receive) -> _Asked:
        accept: str | None = None
        media, timeout, packed, metadata = "", None, False, dict[str, str]()
        for name, value in scope["headers"]:
            if name == b"accept":
                accept = value.decode("latin-1")
            elif name == b"content-type":
                media = value.decode("latin-1").partition(";")[0].strip().lower()
            elif name == b"request-timeout":
                timeout = wire.seconds(value.decode("latin-1"))
            else:
                if name == b"content-encoding":
                    packed = True
                if name not in _NO_METADATA:
                    metadata[name.decode("latin-1")] = value.decode("latin-1")
        form = _form(accept)
        if packed:
            raw = await bodies.body(scope, receive, self._limits)
        else:
            raw = await bodies._received(receive, self._limits.body)
        is_short = len(raw) <= (_PLAIN if media in (wire.BINARY, FRAME) else _SHORT)
        if is_short:
            request = wire.read(media, raw, self._limits)
        else:
            request = await asyncio.to_thread(wire.read, media, raw, self._limits)
        if scope["query_string"]:
            request = _with_query(request, scope["query_string"])
        if endpoint is not None and request.endpoint is not None:
            # The path has said it; clients of old say it again, in the body.
            request = request._replace(endpoint=None)
        envelope = request.envelope(
            endpoint or "/", guards.request_id(scope), timeout or self.spec.timeout, metadata
        )
        access_of(scope).asked(envelope)
        return _Asked(request, envelope, form, is_short)

    async def _written(self, asked: _Asked, scope: Scope) -> _Answer:
        envelope, form = asked.envelope, asked.form
        most = _FEW if form == "json" else _MANY
        if asked.is_short and len(envelope.docs) <= most:
            answer = _said(asked)
        else:
            answer = await asyncio.to_thread(_said, asked)
        coding = self.spec.compression
        if coding is not None and len(answer.body) >= _PACKED and _takes(scope, coding):
            body = await asyncio.to_thread(_packed, answer.body, coding)
            headers = {**answer.headers, "Content-Encoding": coding, "Vary": "Accept, Accept-Encoding"}
            return answer._replace(body=body, headers=headers)
        return answer._replace(headers={**answer.headers, "Vary": "Accept"}) if form != "json" else answer

    async def _streamed(self, asked: _Asked, scope: Scope, send: Send) -> None:
        """Parts as they come. What goes wrong before the first is told by the status."""
        events = asked.form == "events"
        async with contextlib.aclosing(self.follow(asked.envelope)) as parts:
            try:
                part = await anext(parts, None)
            except Exception as error:
                await _send(self._failed(error, scope, asked), scope, send)
                return
            media = _EVENTS if events else bodies.MEDIA["ndjson"]
            headers = [
                (b"content-type", media.encode()),
                (b"cache-control", b"no-store"),
                (b"vary", b"accept"),
                (b"x-accel-buffering", b"no"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            write = _events if events else _lines
            try:
                while part is not None:
                    access_of(scope).gave(len(part))
                    body = write(part) if len(part) <= _FEW else await asyncio.to_thread(write, part)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    # A handler that never waits would keep the loop from hearing that the client has gone.
                    await asyncio.sleep(0)
                    part = await (self._next_event(parts, send) if events else anext(parts, None))
            except Exception as error:
                if not events:
                    LOG.error("request %s ended in the middle of its answer", asked.envelope.request_id)
                    raise
                said = self._failed(error, scope, asked).body
                await send({"type": "http.response.body", "body": b"event: error\ndata: %b\n\n" % said})
                return
            end = b"event: end\ndata: %b\n\n" % wire.head_of(asked.envelope) if events else b""
            await send({"type": "http.response.body", "body": end})

    async def _next_event(
        self, parts: AsyncGenerator[DocumentArray[Any]], send: Send
    ) -> DocumentArray[Any] | None:
        waiting = asyncio.ensure_future(anext(parts, None))
        try:
            while True:
                done, _ = await asyncio.wait((waiting,), timeout=_KEEP)
                if done:
                    return waiting.result()
                await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait((waiting,))

    # ------------------------------------------------------------------------------------------ what is read

    async def _empty(self, scope: Scope) -> _Answer:
        del scope
        return _Answer(200, b"{}")

    async def is_ready(self) -> bool:
        """Whether a request would come through all deployments."""
        if self._envelope.stopping:
            return False
        try:
            running = self.running()
        except NotRunning:
            return False
        if running.loop.is_here:
            return await running.is_ready()
        return await asyncio.wrap_future(running.loop.submit(running.is_ready()))

    async def _health(self, scope: Scope) -> _Answer:
        if scope["query_string"].partition(b"=")[0] == b"ready" and not await self.is_ready():
            raise Unavailable("not all deployments would answer now, or the server is about to stop")
        return _Answer(200, b'{"status":"ok"}', headers={"Cache-Control": "no-store"})

    async def _dry_run(self, scope: Scope) -> _Answer:
        del scope
        if await self.is_ready():
            return _Answer(200, b'{"code":0,"description":"","exception":null}')
        detail = "not all deployments would answer now"
        body = {
            "code": 1,
            "description": detail,
            "exception": None,
            "header": {"status": {"code": 1, "description": detail}},
        }
        return _Answer(503, json.dumps(body).encode(), headers={"Retry-After": "1"})

    async def _status(self, scope: Scope) -> _Answer:
        del scope
        said = {
            "jina": {
                "docarray": _version(),
                "python": platform.python_version(),
                "platform": platform.system(),
            },
            "envs": {},
            "deployments": self.running().status(),
        }
        return _Answer(200, wire.dumps(said), headers={"Cache-Control": "no-store"})

    async def _openapi(self, scope: Scope) -> _Answer:
        from docarray.flow.endpoints import openapi

        root = scope.get("root_path", "")
        age = self.running().plan.age
        if age is not self._age:  # deployments were exchanged: see watching.py
            self._described, self._age = {}, age
        kept = self._described
        if root not in kept:
            if len(kept) > 16:  # where clients can choose it
                kept.clear()
            described = await asyncio.to_thread(
                openapi, self.running(), self.spec, secured=self.secured, root_path=quote(root, safe="/")
            )
            kept[root] = json.dumps(described).encode()
        return _Answer(200, kept[root])


# ---------------------------------------------------------------------------------------------- helpers


def _is_cancelled() -> bool:
    """Whether somebody wants this task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _bridged(running: Running, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
    """The parts of a stream of another loop, a few ahead."""
    here, there = asyncio.get_running_loop(), running.loop.loop
    parts: deque[DocumentArray[Any]] = deque()
    changed, room, ended = asyncio.Event(), asyncio.Semaphore(_AHEAD), False

    def put(part: DocumentArray[Any]) -> None:
        parts.append(part)
        changed.set()

    def end() -> None:
        nonlocal ended
        ended = True
        changed.set()

    def told(_: object) -> None:
        if not here.is_closed():
            here.call_soon_threadsafe(end)

    async def pump() -> None:
        async with contextlib.aclosing(running.stream(envelope)) as source:
            async for part in source:
                here.call_soon_threadsafe(put, part)
                await room.acquire()

    future = running.loop.submit(pump())
    future.add_done_callback(told)
    try:
        while True:
            while parts:
                part = parts.popleft()
                there.call_soon_threadsafe(room.release)
                yield part
            if ended:
                break
            changed.clear()
            await changed.wait()
        if future.cancelled():
            raise Unavailable("the Flow ended before it answered")
        future.result()
    finally:
        future.cancel()


def _form(accept: str | None) -> str:
    """How the answer is wanted: 'json', 'ndjson', 'binary', 'frame' or 'events'.

    Raises:
        NotAcceptable: in no way that there is.
    """
    if accept is None or accept in ("*/*", "application/json"):
        return "json"
    if accept == FRAME:
        return "frame"
    if _EVENTS in accept:
        return "events"
    ranges = accept.lower()
    if FRAME in ranges:
        return "frame"
    if "problem+json" in ranges:  # who wants problems takes JSON
        return "json"
    return bodies.negotiated(accept, ("json", "ndjson", "binary")).form


def _with_query(request: Request, query: bytes) -> Request:
    """A request with what stands in the query."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        raise BadRequest("a query has at most 64 parameters") from None
    for name, value in pairs:
        if name == "parameters":
            said = bodies.parsed(value.encode("utf-8", "surrogatepass"), "parameter 'parameters'")
            if not isinstance(said, dict):
                raise BadRequest("parameters is an object of JSON")
            request = request._replace(parameters={**request.parameters, **cast("dict[str, Any]", said)})
        elif name in ("targetExecutor", "target_executor"):
            request = request._replace(target=value or None)
        elif name in ("execEndpoint", "exec_endpoint"):
            request = request._replace(endpoint=value or None)
        elif name == "timeout":
            request = request._replace(timeout=wire.seconds(value))
        else:
            raise BadRequest(f"the query has no parameter {name[:60]!r}. {near_miss(name[:60], _QUERY)}")
    return request


def _said(asked: _Asked) -> _Answer:
    """The answer to a request that went well."""
    envelope = asked.envelope
    if asked.form == "json":
        return _Answer(200, wire.written(envelope, asked.request.is_old))
    if asked.form == "frame":
        return _Answer(200, wire.written_frame(envelope, asked.request.rows), FRAME)
    return _Answer(200, bodies.written(asked.form, envelope.docs._slots.table()), bodies.MEDIA[asked.form])


def _lines(docs: DocumentArray[Any]) -> bytes:
    return bodies.written("ndjson", docs._slots.table())


def _events(docs: DocumentArray[Any]) -> bytes:
    lines = bodies.written("ndjson", docs._slots.table()).splitlines() if docs else []
    return b"".join([b"event: update\ndata: %b\n\n" % line for line in lines])


async def _send(answer: _Answer, scope: Scope, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers.append((b"content-type", answer.media.encode()))
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


def _takes(scope: Scope, coding: str) -> bool:
    """Whether the client takes an answer that is packed so."""
    accepted = bodies.header(scope, b"accept-encoding") or ""
    for part in accepted[:1000].lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in (coding, "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _packed(body: bytes, coding: str) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    return packer.compress(body) + packer.flush()


def _version() -> str:
    return importlib.metadata.version("docarray")


def _guarded(inner: ASGIApp, auth: Any) -> ASGIApp:
    """The application for those who have a key, or whom the hook lets in."""
    free = ["/healthz", *(path for path in ide.FREE if path != "/graphiql")]
    if callable(auth):
        return guards.Keys(inner, None, cast("Any", auth), free)
    return guards.Keys(inner, cast("str | Iterable[str]", auth), None, free)


def _meters() -> Any:
    from docarray.web.prometheus import Meters

    return Meters()


def _measured(inner: ASGIApp, meters: Any) -> ASGIApp:
    from docarray.web.prometheus import Measured

    return Measured(inner, meters)


async def _told(meters: Any) -> _Answer:
    from prometheus_client import generate_latest

    from docarray.web.prometheus import MEDIA

    return _Answer(200, generate_latest(meters.registry), MEDIA)


def _graphql(application: Application) -> ASGIApp:
    from docarray.flow.graphql import endpoint

    return endpoint(application)
