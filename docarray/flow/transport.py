"""Transport: how the requests of a client travel, as the frames of wire.py; what HTTP, gRPC and sockets share."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast
from urllib.parse import quote, urlsplit

from docarray.array import DocumentArray
from docarray.errors import BadValue, DocArrayError, near_miss
from docarray.flow import wire
from docarray.flow.envelope import RESULTS, Envelope, Visit
from docarray.flow.faults import (
    BadRequest,
    DeadlineExceeded,
    ExecutorError,
    NoEndpoint,
    NotAllowed,
    Overloaded,
    RemoteTraceback,
    Unavailable,
)
from docarray.web.bodies import Malformed

__all__ = [
    "Address",
    "NotReached",
    "Transport",
    "address",
    "answered",
    "connected",
    "error_of",
    "frame",
    "headers_of",
    "is_sent",
    "request",
    "take",
    "taken",
    "waits",
]

T = TypeVar("T")
_SHORT: Final = 1 << 18  # bytes of an answer that is read where it is
_FEW: Final = 256  # documents of a request that is written where it is
_FIRST: Final = 0.1  # seconds until the second try to connect
_SCHEMES: Final[Mapping[str, tuple[str, bool]]] = {
    "http": ("http", False),
    "https": ("http", True),
    "ws": ("websocket", False),
    "wss": ("websocket", True),
    "websocket": ("websocket", False),
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
}
_NAME: Final = re.compile(r"(?!grpc-)[a-z0-9_.-]+(?<!-bin)")
_TAKEN: Final = frozenset(
    {"accept", "connection", "content-length", "content-type", "host", "transfer-encoding", "te", "upgrade"}
)


class Address(NamedTuple):
    """Where a server is."""

    protocol: str
    host: str
    port: int
    path: str
    tls: bool
    certificates: str | None
    """The file of those that are trusted; None: those of this machine."""

    @property
    def authority(self) -> str:
        """'host:port'."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """As it may be given."""
        names = {"http": "http", "websocket": "ws", "grpc": "grpc"}
        return f"{names[self.protocol]}{'s' if self.tls else ''}://{self.authority}{self.path}"

    def context(self) -> ssl.SSLContext | None:
        """What TLS is spoken with; None: it is not.

        Raises:
            BadValue: there is no such file of certificates.
        """
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.certificates)
        except (OSError, ValueError) as error:
            raise BadValue(f"the certificates of {self.certificates!r} cannot be read: {error}") from error


def address(host: Any, port: int | None = None, protocol: str = "grpc", tls: bool | str = False) -> Address:
    """Where a server is.

    Args:
        host: an address with or without scheme and port.
        port, protocol: where the address has none.
        tls: whether TLS is spoken where the scheme does not say it; or the file of certificates that are trusted.

    Raises:
        BadValue: it is no address.

    >>> address('https://shop.example/flow').url, address('10.0.0.1:5000').url
    ('https://shop.example:443/flow', 'grpc://10.0.0.1:5000')
    """
    if not isinstance(host, str) or not host:
        raise BadValue(f"a server is at an address such as 'grpc://10.0.0.1:54321'; got {host!r:.60}")
    secure = bool(tls)
    protocol = str(getattr(protocol, "value", protocol)).lower()
    if "://" in host:
        scheme = host.partition("://")[0].lower()
        if scheme not in _SCHEMES:
            raise BadValue(f"there is no scheme {scheme!r:.60}. {near_miss(scheme, _SCHEMES)}")
        protocol, said = _SCHEMES[scheme]
        secure = secure or said
    else:
        if protocol not in ("http", "websocket", "grpc"):
            raise BadValue(
                f"there is no protocol {protocol!r:.60}. {near_miss(protocol, ('http', 'websocket', 'grpc'))}"
            )
        host = f"//{f'[{host}]' if host.count(':') > 1 and not host.startswith('[') else host}"
    try:
        parts = urlsplit(host)
        name, found = parts.hostname, parts.port
    except ValueError as error:
        raise BadValue(f"{host!r:.100} is no address: {error}") from None
    if not name or re.search(r"[\s\0]", host):
        raise BadValue(f"{host!r:.100} is no address: it names no host")
    number = found if found is not None else port
    if number is None and protocol != "grpc":
        number = 443 if secure else 80
    if not isinstance(number, int) or not 0 < number < 65536:
        raise BadValue(f"{host!r:.100} has no port: 'name:54321', or port=54321")
    name = "127.0.0.1" if name == "0.0.0.0" else name
    path = "" if protocol == "grpc" else quote(parts.path.rstrip("/"), safe="/%")
    return Address(protocol, name, number, path, secure, tls if isinstance(tls, str) else None)


class NotReached(Unavailable):
    """A server was not reached at all: nothing of the request was sent."""


class Transport(Protocol):
    """How requests travel. All of it is called in one loop, but for `ask` and `end`, which are called in any thread."""

    def ask(self, envelope: Envelope, timeout: float | None, until: float | None) -> None:
        """The same as `send` for a caller that waits in this thread, up to a `time.monotonic()`.

        Raises:
            TimeoutError: there was no answer by then.
        """
        ...

    def end(self) -> None:
        """Closes what `ask` has opened."""
        ...

    async def send(self, envelope: Envelope, timeout: float | None) -> None:
        """Has a request answered; the envelope becomes the answer."""
        ...

    def stream(self, envelope: Envelope, timeout: float | None) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part."""
        ...

    async def is_ready(self) -> bool:
        """Whether a request would come through."""
        ...

    async def close(self) -> None:
        """Closes what is open."""
        ...


# ---------------------------------------------------------------------------------------------- frames


def request(envelope: Envelope, timeout: float | None, stream: bool = False) -> bytes:
    """A request as a frame."""
    return wire.request_frame(
        envelope.docs or None,
        envelope.endpoint,
        envelope.parameters,
        envelope.target,
        envelope.request_id,
        timeout,
        stream,
        trace=envelope.trace,
    )


async def frame(envelope: Envelope, timeout: float | None, stream: bool = False) -> bytes:
    """The same, in a thread where it takes its time."""
    if len(envelope.docs) <= _FEW:
        return request(envelope, timeout, stream)
    return await asyncio.to_thread(request, envelope, timeout, stream)


def take(envelope: Envelope, raw: bytes) -> bool:
    """Puts an answer into the envelope; says whether other parts follow.

    Raises:
        What it says that went wrong. Unavailable: it is no answer.
    """
    try:
        head, docs = wire.framed(raw)
    except Malformed as error:
        raise Unavailable(f"the answer to request {envelope.request_id} cannot be read: {error}") from error
    header = head.get("header")
    if not isinstance(header, dict):
        raise Unavailable(f"the answer to request {envelope.request_id} has no header")
    header = cast("dict[str, Any]", header)
    if header.get("status") is not None:
        raise error_of(head, envelope.request_id)
    answered(envelope, head)
    envelope.docs = DocumentArray() if docs is None else docs
    return header.get("more") is True


async def taken(envelope: Envelope, raw: bytes) -> bool:
    """The same, in a thread where it takes its time."""
    return take(envelope, raw) if len(raw) <= _SHORT else await asyncio.to_thread(take, envelope, raw)


def answered(envelope: Envelope, head: Mapping[str, Any]) -> None:
    """Puts what an answer says besides documents into the envelope."""
    header = _object(head.get("header"))
    envelope.request_id = header.get("requestId") or envelope.request_id
    envelope.parameters = head.get("parameters") or {}
    results = envelope.parameters.get(RESULTS)
    if isinstance(results, dict):
        envelope.results = cast("dict[str, Any]", results)
    envelope.routes = [_visit(line) for line in _list(head.get("routes"))]


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _visit(line: Mapping[str, Any]) -> Visit:
    status = line.get("status")
    return Visit(
        str(line.get("executor", "")),
        datetime.fromisoformat(line["startTime"]).timestamp(),
        datetime.fromisoformat(line["endTime"]).timestamp(),
        None if status is None else str(status.get("description", "")),
    )


_BY_STATUS: Final[Mapping[int, type[Exception]]] = {
    401: NotAllowed,
    403: NotAllowed,
    404: NoEndpoint,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}


def error_of(problem: Mapping[str, Any], request_id: str, retry_after: str | None = None) -> Exception:
    """The error that a problem tells.

    >>> error_of({'status': 404, 'detail': "there is no endpoint '/x'"}, 'r')
    NoEndpoint("there is no endpoint '/x'")
    """
    status = problem.get("status")
    status = status if isinstance(status, int) else 500
    detail = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
    said = _object(_object(_object(problem.get("header")).get("status")).get("exception"))
    mark = str(problem.get("request_id") or request_id)
    if "executor" in problem:
        return _raised(
            str(problem["executor"]),
            str(problem.get("exception") or said.get("name") or "Error"),
            next(iter(_list(said.get("args"))), ""),
            "".join(map(str, _list(problem.get("stack")) or _list(said.get("stacks")))),
            mark,
        )
    kind = _BY_STATUS.get(status)
    if kind is Overloaded:
        try:
            return Overloaded(detail, float(problem.get("retry_after") or retry_after or 1))
        except (TypeError, ValueError):
            return Overloaded(detail)
    if kind is not None:
        return kind(detail)
    if 400 <= status < 500:
        return BadRequest(detail)
    return _raised("gateway", str(said.get("name") or "InternalError"), detail, "", mark)


def _raised(executor: str, name: str, detail: Any, trace: str, request_id: str) -> ExecutorError:
    error = ExecutorError(executor, name, str(detail), trace, request_id)
    if trace:
        error.__cause__ = RemoteTraceback(trace)
    return error


async def connected(where: Address, connect: Callable[[], Awaitable[T]], retries: int) -> T:
    """What `connect` gives, tried some times; waits get longer, and differ.

    Raises:
        NotReached: it cannot be reached.
    """
    for wait in waits(retries):
        try:
            return await connect()
        except DocArrayError:
            raise
        except (OSError, EOFError) as error:
            if wait is None or isinstance(error, ssl.SSLError):
                raise NotReached(f"{where.url} cannot be reached: {error or type(error).__name__}") from error
            await asyncio.sleep(wait)
    raise AssertionError


def waits(retries: int) -> Iterator[float | None]:
    """The seconds to wait after each try; None after the last one."""
    for turn in range(retries):
        yield _FIRST * 2**turn * random.uniform(0.5, 1.0)
    yield None


def headers_of(api_key: str | None, metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is sent beside a request.

    Raises:
        BadValue: it is no header.
    """
    said = [("x-api-key", api_key)] if api_key else []
    said += [(name.lower(), value) for name, value in metadata.items()]
    for name, value in said:
        if is_sent(name, value):
            continue
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise BadValue(f"metadata has names such as 'x-tenant'; {name!r:.60} is none that can be sent")
        raise BadValue(f"metadata {name!r:.60} is a line of ASCII text; got {value!r:.60}")
    return said


def is_sent(name: str, value: Any) -> bool:
    """Whether something can be sent beside a request."""
    named = _NAME.fullmatch(name) is not None and name not in _TAKEN
    return named and isinstance(value, str) and value.isascii() and value.isprintable()
