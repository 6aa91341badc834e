"""Guards: small ASGI apps around another, that keep from it what no handler should have to think of.

Rule 1: a guard answers by itself, or passes on; it never changes what a handler says, but for headers.
Rule 2: a request that is quick costs no task and no thread: who waits for a client that goes away waits only once
        a request has been worked on for `_PATIENCE`.
Rule 3: what is refused is a problem (RFC 9457) with the id of the request, never a traceback.

From the outermost inwards: `Envelope` (id, headers, errors, log), CORS, `Origins`, `Keys`, `Deadline`, `BodyLimit`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
import json
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping, Sequence
from typing import Any, Final, cast
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection

from docarray.errors import BadValue, DocArrayError, FieldTypeError
from docarray.web.limits import Limits
from docarray.web.problems import MEDIA_TYPE, TITLES, Problem, Unauthorised, problem_of

__all__ = [
    "ACCESS",
    "BodyLimit",
    "Deadline",
    "Envelope",
    "Keys",
    "Origins",
    "cors",
    "path_of",
    "request_id",
    "send_problem",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Hook = Callable[[HTTPConnection], "bool | Awaitable[bool | None] | None"]

ACCESS: Final = logging.getLogger("docarray.web.access")
"""A line for each request, where `Envelope(access_log=True)`; a JSON object."""

_PATIENCE: Final = 0.02  # seconds after which it is worth to look whether the client is still there
_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_SAFE: Final = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_UNSAFE_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def path_of(scope: Scope) -> str:
    """The path that routes are matched with: without what the app is mounted below."""
    path, root = cast("str", scope["path"]), cast("str", scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root + "/") else path


def request_id(scope: Scope) -> str | None:
    """The id of the request of a scope; None outside of an `Envelope`."""
    return cast("dict[str, Any]", scope.get("state") or {}).get("request_id")


def _header(scope: Scope, name: bytes) -> bytes | None:
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


async def send_problem(
    scope: Scope, send: Send, problem: Problem, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Answers a request that nothing was answered to, with a problem; a socket that is not open yet is refused."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1011 if problem.status >= 500 else 1008})
        return
    body = json.dumps(problem.body(request_id(scope))).encode()
    said = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    kind = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": problem.status, "headers": [*kind, *said, *headers]})
    await send({"type": "http.response.body", "body": body})


def _problem(status: int, detail: str) -> Problem:
    return Problem(status, TITLES.get(status, "Error"), detail)


def _told(error: Exception, mark: str) -> Problem:
    """What a client is told of what nobody below has answered."""
    if isinstance(error, HTTPException):
        found = _problem(error.status_code, str(error.detail))
        return found._replace(headers=dict(error.headers or {}))
    return problem_of(error, mark)


# ---------------------------------------------------------------------------------------------- envelope


class Envelope:
    """Gives each request an id and each answer the headers that a browser is kept safe by; catches what was not.

    Args:
        app: what is inside.
        access_log: whether each request is a line of the logger 'docarray.web.access'.

    The id is that of the header X-Request-ID, where it is a plain word of at most 128 characters; else it is new. It
    stands in `scope['state']['request_id']` and in the answer. An answer of HTML may not be framed by other sites.

    Costs some microseconds.
    """

    def __init__(self, app: ASGIApp, access_log: bool = False) -> None:
        self.app = app
        self.access_log = access_log
        self.stopping: bool = False
        """Whether the server is about to stop: answers then ask the client to come back on another connection."""
        self._streams: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """Says that the server is about to stop, and ends the streams of events, which would never end by themselves.

        To be called in the event loop.
        """
        self.stopping = True
        for task in list(self._streams):
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id")
        mark = given if given is not None and _ID.fullmatch(given) else os.urandom(8).hex().encode()
        scope.setdefault("state", {})["request_id"] = mark.decode()
        added = [(b"x-request-id", mark), *_SAFE]
        status, begun = 0, time.perf_counter() if self.access_log else 0.0
        task = cast("asyncio.Task[Any]", asyncio.current_task())

        async def enveloped(message: Message) -> None:
            nonlocal status
            said = message["type"]
            if said == "http.response.start":
                status = message["status"]
                message["headers"] = headers = [*message.get("headers", ()), *added]
                for name, value in headers:
                    if name == b"content-type":
                        if value.startswith(b"text/html"):
                            _unframed(headers)
                        elif value.startswith(b"text/event-stream"):
                            self._streams.add(task)
                        break
                if self.stopping:
                    headers.append((b"connection", b"close"))
                    if task in self._streams:
                        task.cancel()
            elif said == "websocket.accept":
                status = 101
                message["headers"] = [*message.get("headers", ()), added[0]]
            elif said == "websocket.close" and not status:
                status = 403
            await send(message)

        try:
            await self.app(scope, receive, enveloped)
        except asyncio.CancelledError:
            if self.stopping and task in self._streams:
                await send({"type": "http.response.body", "body": b""})  # the end, as far as it got
                return
            if status or not self.stopping:
                raise
            problem = _problem(503, "the server is about to stop; come back later")
            await send_problem(scope, enveloped, problem, [(b"retry-after", b"1")])
        except Exception as error:
            problem = _told(error, mark.decode())
            if not status:
                await send_problem(scope, enveloped, problem)
            elif kind == "websocket" and status == 101:
                await send({"type": "websocket.close", "code": 1011})
            # An answer that was begun cannot be taken back: the server cuts the connection, which says so.
        finally:
            self._streams.discard(task)
            if self.access_log:
                _log(scope, status, time.perf_counter() - begun)


def _unframed(headers: list[tuple[bytes, bytes]]) -> None:
    """No other site frames this page. A policy of the page's own stays: browsers hold to all of them."""
    if not any(name == b"content-security-policy" and b"frame-ancestors" in value for name, value in headers):
        headers.append((b"content-security-policy", b"frame-ancestors 'none'"))


def _log(scope: Scope, status: int, seconds: float) -> None:
    client = scope.get("client")
    ACCESS.info(
        json.dumps(
            {
                "id": request_id(scope),
                "client": client[0] if client else None,
                "method": scope.get("method", "WEBSOCKET"),
                "path": scope["path"][:200],  # without the query, in which there may be secrets
                "status": status,
                "ms": round(seconds * 1000, 2),
            }
        )
    )


# ---------------------------------------------------------------------------------------------- time


class Deadline:
    """Answers 504 where no answer has begun in time, and stops the work for a client that has gone.

    Args:
        app: what is inside.
        timeout: seconds until an answer must have begun. Where the client itself had not sent all of its body by
            then, it is told 408. What has begun, a stream for instance, may go on.

    The work is stopped by cancelling its task. Sockets are left alone: their protocol has pings of its own.
    """

    def __init__(self, app: ASGIApp, timeout: float = Limits.timeout) -> None:
        self.app = app
        self.timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Watched(scope, receive, send, self.timeout).run(self.app)


class _Watched:
    """One request: who waits for what, and until when."""

    __slots__ = (
        "arrived",
        "cancelled",
        "cause",
        "done",
        "held",
        "late",
        "loop",
        "receive",
        "scope",
        "send",
        "started",
        "taken",
        "task",
        "timeout",
        "timer",
        "waiting",
        "watcher",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, timeout: float) -> None:
        self.scope, self.receive, self.send, self.timeout = scope, receive, send, timeout
        self.loop = asyncio.get_running_loop()
        self.task = cast("asyncio.Task[Any]", asyncio.current_task())
        self.started = False  # the answer has begun
        self.done = False  # it is complete, or nobody works on it any more
        self.waiting = False  # the handler waits for what the client sends
        self.taken = False  # all of the body came
        self.late = False  # the request is no quick one
        self.cause: str | None = None
        self.cancelled = False  # by us
        self.held: list[Message] = []
        self.arrived: asyncio.Event | None = None
        self.watcher: asyncio.Task[None] | None = None
        self.timer = self.loop.call_later(min(_PATIENCE, timeout), self._look)

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self.scope, self._receive, self._send)
        except asyncio.CancelledError:
            if not self.cancelled or self.task.uncancel():  # the server's own, or that too
                raise
        except Exception:
            if self.cause is None:
                raise
            # What comes of being cancelled, or of a client that has gone, may be dressed up on its way here.
            if self.cancelled:
                self.task.uncancel()
        finally:
            self.done = True
            self.timer.cancel()
            if self.watcher is not None:
                self.watcher.cancel()
        if self.started or self.cause in (None, "gone"):
            return
        detail = f"there was no answer within {self.timeout:g} s"
        if self.cause == "slow":
            detail = f"the request did not arrive within {self.timeout:g} s"
        await send_problem(self.scope, self.send, _problem(408 if self.cause == "slow" else 504, detail))

    async def _send(self, message: Message) -> None:
        if self.cause is not None and not self.started:
            return  # too late: the answer to this is ours
        self.started = True
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.done = True  # what follows is no longer the client's
            self.timer.cancel()
        await self.send(message)

    async def _receive(self) -> Message:
        while self.watcher is not None or self.held:
            if self.held:
                return self.held.pop(0)
            if self.cause == "gone" or self.done:
                return {"type": "http.disconnect"}
            assert self.arrived is not None
            self.arrived.clear()
            await self.arrived.wait()
        self.waiting = True
        try:
            message = await self.receive()
        finally:
            self.waiting = False
        if message["type"] == "http.disconnect":
            if not self.done:
                self._stop("gone")
        elif not message.get("more_body", False):
            self.taken = True
            if self.late:
                self._watch()
        return message

    def _look(self) -> None:
        """The request is no quick one: is anybody there who waits for the answer?"""
        if self.done:
            return
        self.late = True
        if self.watcher is None and not self.waiting and (self.taken or not _has_body(self.scope)):
            self._watch()
        if not self.started:
            self.timer = self.loop.call_later(max(0.0, self.timeout - _PATIENCE), self._expire)

    def _watch(self) -> None:
        self.arrived = asyncio.Event()
        self.watcher = self.loop.create_task(self._watching(self.arrived))

    async def _watching(self, arrived: asyncio.Event) -> None:
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                if not self.done:
                    self._stop("gone")
                arrived.set()
                return
            # The body of a request without one, which no handler has asked for yet.
            self.taken = True
            self.held.append(message)
            arrived.set()

    def _expire(self) -> None:
        if not self.started and not self.done:
            self._stop("slow" if self.waiting and not self.taken else "late")

    def _stop(self, cause: str) -> None:
        if self.cause is None:
            self.cause = cause
            # Who asks for the body, and is told that the client has gone, needs no telling twice.
            if cause != "gone" or asyncio.current_task() is not self.task:
                self.cancelled = True
                self.task.cancel()


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


# ---------------------------------------------------------------------------------------------- body


class BodyLimit:
    """Answers 413 to a body that is too large, as soon as that is known; no more of it than `most` is held.

    Args:
        app: what is inside.
        most: bytes.
    """

    def __init__(self, app: ASGIApp, most: int = Limits.body) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self.app(scope, receive, send)
            return
        said = _header(scope, b"content-length")
        if said is not None and said.isdigit() and int(said[:20]) > self.most:
            await self._refuse(scope, send)
            return
        count, started, over = 0, False, False

        async def counted() -> Message:
            nonlocal count, over
            if over:
                return {"type": "http.disconnect"}
            message = await receive()
            count += len(message.get("body", b""))
            if count > self.most:
                over = True
                raise _TooLarge
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if over and not started:
                return  # what a handler makes of the break is not what the client is told
            started = True
            await send(message)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            if not over or started:
                raise
        if over and not started:
            await self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        problem = _problem(
            413, f"the body of a request has at most {self.most} bytes here; this one has more"
        )
        await send_problem(scope, send, problem)


class _TooLarge(DocArrayError):
    """What a handler sees of a body that is too large."""

    status: int = 413


# ---------------------------------------------------------------------------------------------- who may


class Keys:
    """Lets nobody in without a key, or whom the hook refuses.

    Args:
        app: what is inside.
        api_key: one or several. A request has one of them in `Authorization: Bearer ...` or `X-API-Key: ...`. Keys are
            compared by their digests, in a time that does not tell how much of one was right.
        auth: called with the connection (starlette's HTTPConnection: headers, query, client); it may be a coroutine
            function, else it runs in a thread. True, or None, lets the request in, False is answered 401, and what it
            raises is answered as other errors are (docarray.web.problems.NotAllowed: 403).
        open_paths: paths that need no key, with `/*` at the end: all below. Preflights of CORS need none either, as
            browsers send none.

    Where there are keys and a hook, both must say yes. Sockets are asked before they are opened.

    Raises:
        BadValue: a key is empty, or there is none in the list.
    """

    def __init__(
        self,
        app: ASGIApp,
        api_key: str | Iterable[str] | None = None,
        auth: Hook | None = None,
        open_paths: Collection[str] = ("/healthz",),
    ) -> None:
        self.app = app
        self.auth = auth
        self._open = frozenset(path for path in open_paths if not path.endswith("/*"))
        self._open_below = tuple(path[:-1] for path in open_paths if path.endswith("/*"))
        keys = [api_key] if isinstance(api_key, str) else None if api_key is None else list(api_key)
        self._digests = None if keys is None else [_digest(_key(key)) for key in keys]
        if keys is not None and not keys:
            raise BadValue("a list of keys has at least one; leave api_key out to serve without")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path = path_of(scope)
            is_open = path in self._open or path.startswith(self._open_below)
            problem = None if is_open else await self._refused(scope)
            if problem is not None:
                await send_problem(scope, send, problem)
                return
        await self.app(scope, receive, send)

    async def _refused(self, scope: Scope) -> Problem | None:
        if self._digests is not None and not self._has_key(scope, self._digests):
            wanted = Unauthorised("a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")
            return problem_of(wanted)
        if self.auth is None:
            return None
        connection = HTTPConnection(cast("Any", scope))
        try:
            if inspect.iscoroutinefunction(self.auth):
                said = await self.auth(connection)
            else:
                said = await asyncio.to_thread(cast("Any", self.auth), connection)
                if inspect.isawaitable(said):
                    said = await said
        except HTTPException as error:
            return _problem(error.status_code, str(error.detail))
        except Exception as error:
            return problem_of(error, request_id(scope))
        if said is None or said is True:
            return None
        if said is False:
            return problem_of(Unauthorised("this request is not let in"))
        # The server's own mistake, which is no client's to read.
        raise TypeError(f"the hook for rights says True, False or None; it said a {type(said).__name__}")

    @staticmethod
    def _has_key(scope: Scope, digests: Sequence[bytes]) -> bool:
        given: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
                break
            if name == b"x-api-key":
                given = value
        if given is None:
            return False
        mine = _digest(given)
        found = False
        for one in digests:  # all of them: the time does not tell which
            found |= hmac.compare_digest(mine, one)
        return found


def _key(key: object) -> bytes:
    if not isinstance(key, str):
        raise FieldTypeError(f"a key is text; got a {type(key).__name__}")
    if not key.strip() or key != key.strip():
        raise BadValue("a key has at least one letter, and no space around it")
    return key.encode()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class Origins:
    """Keeps pages of other sites, which the browser of a user may have open, from using this server as the user.

    Args:
        app: what is inside.
        origins: of sites whose pages may, as for CORS; '*' allows all.
        hosts: names under which the server is asked, without ports; None allows all. With it no site can have its name
            lead to this machine (DNS rebinding) and so read what is served to it alone.

    A request that writes and one that opens a socket is answered 403 where its header Origin tells of another site; a
    request to another name 421. Programs, which send no Origin, are let through.
    """

    def __init__(
        self, app: ASGIApp, origins: Sequence[str] = (), hosts: Collection[str] | None = None
    ) -> None:
        self.app = app
        self.origins: frozenset[str] = frozenset(origin.lower() for origin in origins)
        self.hosts: frozenset[str] | None = (
            None if hosts is None else frozenset(host.lower() for host in hosts)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind in ("http", "websocket"):
            host = origin = ""
            for name, value in scope["headers"]:
                if name == b"host":
                    host = value.decode("latin-1").lower()
                elif name == b"origin":
                    origin = value.decode("latin-1").lower()
            if self.hosts is not None and _bare(host) not in self.hosts:
                await send_problem(
                    scope,
                    send,
                    Problem(
                        421, "Misdirected Request", "this server is asked under another name; see its hosts"
                    ),
                )
                return
            if (
                origin
                and (kind == "websocket" or scope["method"] in _UNSAFE_METHODS)
                and origin not in self.origins
                and "*" not in self.origins
                and _place(origin) != host
            ):
                await send_problem(
                    scope, send, _problem(403, "pages of other sites may not use this server; see cors")
                )
                return
        await self.app(scope, receive, send)


def _bare(host: str) -> str:
    """A host without its port."""
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # brackets that are no address
        return ""


def checked_origins(origins: Sequence[str]) -> list[str]:
    """Origins such as 'https://shelf.example', or '*' for all, in small letters.

    Raises:
        BadValue: one is none.
    """
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and (
            not parts.scheme or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}"
        ):
            raise BadValue(
                f"{origin!r:.100} is no origin; one is such as 'https://shelf.example', without a path"
            )
    return [origin.lower() for origin in origins]


def cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The app for pages of these origins too. No cookies are sent along.

    Raises:
        BadValue: see `checked_origins`.
    """
    return CORSMiddleware(
        cast("Any", app),
        allow_origins=checked_origins(origins),
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
        expose_headers=["X-Request-ID", "Link", "Retry-After"],
    )
