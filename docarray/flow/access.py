"""Access: one line for each request over the network, where it is asked for.

Rule 1: a line is an object of JSON, in the message of the record and as `record.access`; `logs.JsonFormatter` puts its
        members beside time and level.
Rule 2: of what a client sent there is who, where and how much: no documents, no parameters, no query, no key.
Rule 3: the status is that of HTTP, on sockets and over gRPC too; 0 where the client went before it was answered.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from typing import Any, Final, Self, cast

from docarray.errors import DocArrayError
from docarray.flow.envelope import Envelope
from docarray.flow.faults import ExecutorError, NotRunning
from docarray.flow.spec import GATEWAY
from docarray.web import guards
from docarray.web.guards import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ACCESS", "SILENT", "Access", "Logged", "access_of", "message_of"]

ACCESS: Final = logging.getLogger("docarray.flow.access")
"""The logger of these lines, at the level INFO."""
_PATH: Final = 200  # characters of a path


class Access:
    """The line of one request, while that is worked on.

    Args:
        protocol: 'http', 'websocket' or 'grpc'.
        request_id: until an envelope says another one.
        client: the address of who asks.
        path: of HTTP, or the method of gRPC.
        method: of HTTP.
    """

    __slots__ = ("_begun", "_envelopes", "_error", "_given", "_said", "_taken")

    def __init__(
        self,
        protocol: str,
        request_id: str | None,
        client: str | None,
        path: str | None = None,
        method: str | None = None,
    ) -> None:
        self._begun = time.perf_counter()
        self._said: dict[str, Any] = {"request_id": request_id, "protocol": protocol, "client": client}
        if method is not None:
            self._said["method"] = method
        if path is not None:
            self._said["path"] = path[:_PATH]
        self._envelopes: list[Envelope] = []
        self._taken = 0
        self._given: int | None = None
        self._error: BaseException | None = None

    def asked(self, envelope: Envelope) -> None:
        """It asks this of the Flow; by GraphQL it may be several."""
        self._envelopes.append(envelope)
        self._taken += len(envelope.docs)

    def gave(self, count: int) -> None:
        """So many documents more were given, of an answer that goes out part by part."""
        self._given = (self._given or 0) + count

    def failed(self, error: BaseException) -> None:
        """It came to this; what came of that in turn is not asked for."""
        self._error = self._error or error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            self.failed(error)
        self.ended()

    def ended(self, status: int | None = None) -> None:
        """Writes the line; without a status it is that of the error, or 200."""
        if not ACCESS.isEnabledFor(logging.INFO):
            return
        said, envelopes, error = self._said, self._envelopes, self._error
        if envelopes:
            said["request_id"] = ",".join(dict.fromkeys(one.request_id for one in envelopes))
        said["endpoint"] = ",".join(dict.fromkeys(one.endpoint for one in envelopes)) or None
        said["status"] = _status(error) if status is None else status
        said["ms"] = round((time.perf_counter() - self._begun) * 1000, 3)
        said["docs_in"] = self._taken
        if self._given is None:
            self._given = 0 if error is not None else sum(len(one.docs) for one in envelopes)
        said["docs_out"] = self._given
        said["nodes"] = nodes = dict[str, float]()
        for visit in (visit for one in envelopes for visit in one.routes):
            if visit.executor != GATEWAY:
                took = (visit.end - visit.start) * 1000
                nodes[visit.executor] = round(nodes.get(visit.executor, 0.0) + took, 3)
        if error is not None:
            said["error"] = type(error).__name__
            if isinstance(error, ExecutorError):
                said["error"], said["executor"] = error.name, error.executor
        trace = _trace(envelopes)
        if trace is not None:
            said["trace_id"] = trace
        ACCESS.info(json.dumps(said), extra={"access": said, "request_id": said["request_id"] or ""})


class _Silent(Access):
    """What there is in the place of a line where none is asked for."""

    __slots__ = ()

    def __init__(self) -> None: ...

    def asked(self, envelope: Envelope) -> None:
        """Nothing."""

    def gave(self, count: int) -> None:
        """Nothing."""

    def failed(self, error: BaseException) -> None:
        """Nothing."""

    def ended(self, status: int | None = None) -> None:
        """Nothing."""


SILENT: Final = _Silent()
"""The line of a request where none is asked for: it takes all, and is not written."""


def _status(error: BaseException | None) -> int:
    if error is None:
        return 200
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return 0
    if isinstance(error, NotRunning):
        return 503
    said = getattr(type(error), "status", None)
    return said if isinstance(said, int) else 422 if isinstance(error, DocArrayError) else 500


def _trace(envelopes: list[Envelope]) -> str | None:
    """The id of the trace that a request is in."""
    tracing = sys.modules.get("docarray.flow.tracing")  # not there: nobody traces
    return tracing.trace_id_of(envelopes[0].trace) if tracing is not None and envelopes else None


class Logged:
    """An application whose requests are lines of the log. Those on a socket are its own: see sockets.py.

    Args:
        app: what is inside, which gives requests their id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind: str = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        access = Access("http" if kind == "http" else kind, None, _client(scope), path, scope.get("method"))
        scope.setdefault("state", {})["access"] = access
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            said = message["type"]
            if said == "http.response.start":
                status = message["status"]
            elif said == "websocket.accept":
                status = 101
            elif said == "websocket.close" and not status:
                status = 403
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            access._said["request_id"] = guards.request_id(scope)  # pyright: ignore[reportPrivateUsage]
            if status != 101:  # a socket that is opened has a line for each message
                access.ended(status)


def _client(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def access_of(scope: Scope) -> Access:
    """The line of the request of a scope."""
    return cast("dict[str, Any]", scope.get("state") or {}).get("access", SILENT)


def message_of(scope: Scope, request_id: str) -> Access:
    """The line of one message on the socket of a scope."""
    if access_of(scope) is SILENT:
        return SILENT
    return Access("websocket", request_id, _client(scope), scope["path"])
