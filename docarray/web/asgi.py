"""The whole application: REST, GraphQL, the pages, health and numbers over one array, behind the guards.

Rule 1: one ASGI callable, for any server. Who wants a server too takes `docarray.web.Server` or `serve`.
Rule 2: what has documents in it wants the key; pages and their scripts, which have none, do not.
Rule 3: a path that there is not is told as any other problem, and so is what nobody foresaw.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute

from docarray.array import DocumentArray
from docarray.errors import FieldTypeError
from docarray.web import explorer, graphql, guards, ide, rest
from docarray.web.guards import ASGIApp, Hook, Receive, Scope, Send
from docarray.web.problems import Busy
from docarray.web.service import Service

if TYPE_CHECKING:
    from docarray.web.prometheus import Meters

__all__ = ["Application", "app"]

_PROBE: Final = "docarray"  # an id to look for, which need not be there
_PLAIN: Final = b"text/plain; charset=utf-8"

Give = Callable[[Scope], Awaitable[tuple[bytes, bytes]]]


def app(
    docs: Service | DocumentArray[Any],
    *,
    api_key: str | Iterable[str] | None = None,
    auth: Hook | None = None,
    cors: Sequence[str] = (),
    hosts: Collection[str] | None = None,
    pages: bool = True,
    metrics: bool = True,
    access_log: bool = False,
    **options: Any,
) -> Application:
    """An ASGI application that serves one array: `uvicorn module:app`, or `fastapi_app.mount('/shelf', app(da))`.

    Args:
        docs: an array, in memory or on a storage, or a Service of one.
        api_key: one or several; a request shows one as `Authorization: Bearer KEY` or `X-API-Key: KEY`. /healthz and
            the pages, in which there are no documents, want none.
        auth: asked about each request; see `docarray.web.guards.Keys`.
        cors: origins such as 'https://shelf.example' whose pages may use this server; '*' for all.
        hosts: names under which it is asked, without ports; None for any.
        pages: whether there is a page to look through the documents at /, GraphiQL at /graphiql and Swagger at /docs.
        metrics: whether there is /metrics for Prometheus.
        access_log: whether each request is a line of the logger 'docarray.web.access'.
        options: of the `Service` that is made of an array: `limits`, `writable`, `schema`, `encode`, `name`.

    It has /documents, /search, /info and /openapi.json, /graphql and /schema.graphql, and /healthz, which with
    `?ready` is 503 where the documents cannot be reached, or the server is about to stop.

    Raises:
        FieldTypeError: `docs` is no array, or options came with a Service. BadValue: a key is empty, an origin is none.
        MissingExtra: prometheus-client is not installed.

    >>> from docarray import Document, DocumentArray
    >>> from starlette.testclient import TestClient
    >>> shelf = app(DocumentArray([Document(id='a', text='green tea')]), api_key='a secret')
    >>> with TestClient(shelf) as client:
    ...     refused = client.get('/search?text=tea')
    ...     found = client.get('/search?text=tea', headers={'X-API-Key': 'a secret'})
    >>> refused.status_code, found.json()[0]['id']
    (401, 'a')
    """
    if isinstance(docs, Service):
        if options:
            raise FieldTypeError(f"{', '.join(options)}: options of a Service are given where it is made")
        service, own = docs, False
    else:
        service, own = Service(docs, **options), True
    try:
        made = Application(service, api_key, auth, cors, hosts, pages, metrics, access_log)
    except BaseException:
        if own:
            service.close()
        raise
    made.owns = own
    return made


class Application:
    """What `app` gives: an ASGI callable."""

    def __init__(
        self,
        service: Service,
        api_key: str | Iterable[str] | None = None,
        auth: Hook | None = None,
        cors: Sequence[str] = (),
        hosts: Collection[str] | None = None,
        pages: bool = True,
        metrics: bool = True,
        access_log: bool = False,
    ) -> None:
        self.service = service
        """The operations over the array that it serves."""
        self.secured: bool = api_key is not None or auth is not None
        """Whether requests are asked who they are of."""
        self.owns = False
        """Whether the service ends with the application."""
        shown = [*explorer.routes(service.limits, ide.installed()), *ide.routes()] if pages else []
        meters = _meters() if metrics else None
        routes: list[BaseRoute] = [
            *rest.routes(service, secured=self.secured),
            *_graphql(service, cors),
            Route("/healthz", _Small(self._health)),
            *shown,
        ]
        if meters is not None:
            routes.append(Route("/metrics", _Small(lambda scope: _told(meters, service))))
        router = Router(
            routes, redirect_slashes=False, default=cast("Any", _nothing), lifespan=self._lifespan
        )
        limits = service.limits
        inner: ASGIApp = guards.Deadline(
            guards.BodyLimit(cast("ASGIApp", router), limits.body), limits.timeout
        )
        if self.secured:
            # There are no documents in the pages.
            inner = guards.Keys(inner, api_key, auth, ["/healthz", *(("/", *ide.FREE) if pages else ())])
        self.origins: guards.Origins = guards.Origins(inner, cors, hosts)
        inner = self.origins
        if cors:
            inner = guards.cors(inner, cors)
        if meters is not None:
            inner = _measured(inner, meters)
        self._envelope = guards.Envelope(inner, access_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._envelope(scope, receive, send)

    def stop(self) -> None:
        """Says that the server is about to stop; to be called in the event loop. See `Envelope.stop`."""
        self._envelope.stop()

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncGenerator[None]:
        del app
        try:
            yield
        finally:
            if self.owns:
                # Threads that work on what nobody waits for any more end when they are done with it.
                self.service.lane.close(wait=False)

    async def _health(self, scope: Scope) -> tuple[bytes, bytes]:
        """Whether the process answers; with `?ready` whether it can say something of the documents."""
        if scope["query_string"].partition(b"=")[0] == b"ready":
            if self._envelope.stopping:
                raise Busy("the server is about to stop; ask another one")
            await self.service.call("read", ids=[_PROBE], fields=[])
        return json.dumps({"status": "ok"}).encode(), b"application/json"


class _Small:
    """An ASGI application of one answer, which is read."""

    def __init__(self, give: Give) -> None:
        self._give = give

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            raise HTTPException(405, "this path takes GET, HEAD", {"Allow": "GET, HEAD"})
        body, media = await self._give(scope)
        headers = [
            (b"content-type", media),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _graphql(service: Service, origins: Sequence[str]) -> list[BaseRoute]:
    schema = graphql.schema_of(service)
    endpoint = graphql.Endpoint(schema, origins)
    said = schema.as_str().encode()
    return [
        Route("/graphql", endpoint),
        WebSocketRoute("/graphql", endpoint),
        Route("/schema.graphql", _Small(lambda scope: _ready(said, _PLAIN))),
    ]


async def _ready(body: bytes, media: bytes) -> tuple[bytes, bytes]:
    return body, media


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """What there is at a path that there is not."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    raise HTTPException(
        404, "there is nothing at this path; /openapi.json and /schema.graphql name what there is"
    )


def _meters() -> Meters:
    from docarray.web.prometheus import Meters

    return Meters()


def _measured(inner: ASGIApp, meters: Meters) -> ASGIApp:
    from docarray.web.prometheus import Measured

    return Measured(inner, meters)


async def _told(meters: Meters, service: Service) -> tuple[bytes, bytes]:
    from docarray.web.prometheus import MEDIA

    return await meters.told(service), MEDIA.encode()
