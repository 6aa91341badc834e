"""Numbers for Prometheus: what was asked, how long it took, what waits, how many documents there are.

Rule 1: an application has a registry of its own: two of them in a process, or in a test, do not add up.
Rule 2: a client cannot make a series: labels are paths as routes are written, methods that there are, and statuses.
Rule 3: what is told when it is asked for (documents, waiting requests) costs nothing until then.
"""

from __future__ import annotations

import time
from typing import Any, Final, cast

from docarray.errors import DocArrayError, MissingExtra
from docarray.web.guards import ASGIApp, Message, Receive, Scope, Send
from docarray.web.problems import LOG, Busy, TimedOut
from docarray.web.service import Service

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        ProcessCollector,
        generate_latest,
    )
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "prometheus_client":
        raise
    raise MissingExtra(
        'numbers for Prometheus need the package prometheus-client: pip install "docarray[serve]"; or metrics=False'
    ) from _error

__all__ = ["MEDIA", "Measured", "Meters"]

MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of what `Meters.told` gives."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
_OTHER: Final = "(other)"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """The numbers of one application.

    >>> meters = Meters()
    >>> meters.count('/search', 'GET', 200, 0.003)
    >>> meters.registry.get_sample_value('docarray_http_request_seconds_sum', {'route': '/search', 'method': 'GET'})
    0.003
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry: CollectorRegistry = registry
        self._requests = Counter(
            "docarray_http_requests",
            "Requests that were answered; the status of one whose client went first is 0.",
            ["route", "method", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "docarray_http_request_seconds",
            "Seconds until an answer was complete.",
            ["route", "method"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.open: Gauge = Gauge(
            "docarray_http_requests_open", "Requests that are answered now.", registry=registry
        )
        self._documents = Gauge("docarray_documents", "Documents of the array.", registry=registry)
        self._busy = Gauge(
            "docarray_work_open", "Pieces of work that are done, or wait for a thread.", registry=registry
        )
        self._reached = Gauge(
            "docarray_storage_up", "Whether the documents could be counted: 1 or 0.", registry=registry
        )
        ProcessCollector(registry=registry)
        # A child is found by its labels in a microsecond; here it is found in a tenth of one.
        self._known: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Notes a request that was answered.

        Args:
            route: the path as its route is written; a client's own path is not to be given here.
            method: any; those that are unknown are one.
            status: of HTTP; 101 of a socket that was opened.
            seconds: that it took.
        """
        if method not in _METHODS:
            method = _OTHER
        pair = self._known.get((route, method, status))
        if pair is None:
            pair = self._requests.labels(route, method, str(status)), self._seconds.labels(route, method)
            self._known[route, method, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    async def told(self, service: Service) -> bytes:
        """All numbers, in the text format of Prometheus; see `MEDIA`.

        Where the documents cannot be counted, `docarray_storage_up` is 0, and their number the last that was known; so
        it is where so many requests wait that there is no time to count.
        """
        self._busy.set(service.lane.busy)
        try:
            self._documents.set(await service.lane.run(len, service))
            self._reached.set(1)
        except (Busy, TimedOut) as error:
            LOG.warning("the documents were not counted this time: %s", error)
        except DocArrayError as error:
            LOG.warning("the documents could not be counted: %s", error)
            self._reached.set(0)
        return generate_latest(self.registry)


class Measured:
    """Counts what goes through.

    Args:
        app: what is inside; a router that leaves the route it has chosen in the scope, as Starlette's does.
        meters: where.

    Costs a few microseconds.
    """

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self.app = app
        self.meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and not status:
                status = 403
            await send(message)

        self.meters.open.inc()
        try:
            await self.app(scope, receive, noted)
        except Exception:
            status = status or 500
            raise
        finally:
            self.meters.open.dec()
            method = scope.get("method", "WEBSOCKET")
            self.meters.count(_route(scope), method, status, time.perf_counter() - begun)


def _route(scope: Scope) -> str:
    """The path of the route that was chosen, as it is written."""
    path = getattr(cast("object", scope.get("route")), "path", None)
    return path if isinstance(path, str) and path else _OTHER
