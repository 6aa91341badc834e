"""Ping: whether a server of Flows answers, asked by the standard library alone.

Rule 1: nothing of docarray is imported here, and nothing at all that one kind of server does not need: whoever starts a
        program to ask, as orchestrators do every few seconds, waits for the interpreter and for the answer.
"""

# ruff: noqa: T201
# What a command has to say, it prints.

from __future__ import annotations

import socket
import struct
import time
from typing import Final

__all__ = ["Url", "ask", "main", "ping"]

_PORTS: Final = {"http": 80, "ws": 80, "grpc": 80, "https": 443, "wss": 443, "grpcs": 443}
_HEAD: Final = 1 << 16  # bytes that are read of an answer
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _AWAY = 0, 1, 3, 4, 6, 7
_FRAMES: Final = 64
_SERVING: Final = b"\x00\x00\x00\x00\x02\x08\x01"  # a message of grpc.health.v1 whose status is SERVING


class Url:
    """Where a server is.

    Args:
        text: `http://127.0.0.1:8000`; https, ws, wss, grpc and grpcs likewise.

    Raises:
        ValueError: it is no such thing.

    >>> url = Url('grpc://127.0.0.1:50051')
    >>> url.scheme, url.host, url.port
    ('grpc', '127.0.0.1', 50051)
    """

    def __init__(self, text: str) -> None:
        scheme, mark, rest = text.partition("://")
        self.scheme: str = scheme
        if not mark or self.scheme not in _PORTS:
            raise ValueError(f"{text!r:.100} is no URL of {', '.join(_PORTS)}: write http://127.0.0.1:8000")
        place, _, path = rest.partition("/")
        self.path: str = f"/{path}".rstrip("/")
        host, port = place, ""
        if place.startswith("["):
            host, _, port = place[1:].partition("]")
            port = port.removeprefix(":")
        elif ":" in place:
            host, _, port = place.rpartition(":")
        self.place: str = place
        self.host: str = host
        given = not port or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)
        if not host or not given or any(one.isspace() or ord(one) < 32 for one in text):
            raise ValueError(f"{text!r:.100} has no host, or no port from 1 to 65535")
        self.port: int = int(port) if port else _PORTS[self.scheme]


def ask(url: Url, timeout: float, ready: bool = False) -> str | None:
    """Asks once.

    Args:
        timeout: seconds for all of it.
        ready: whether the whole Flow is asked after, in place of the server alone.

    Returns:
        None where it answers, else what is wrong.
    """
    until = time.monotonic() + timeout
    try:
        if url.scheme in ("grpc", "grpcs"):
            return _grpc(url, until)
        wrong = _socket(url, until) if url.scheme in ("ws", "wss") else None
        if wrong is None and (ready or url.scheme in ("http", "https")):
            wrong = _http(url, until, ready)
        return wrong
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except OSError as error:
        return str(error.strerror or error)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connected(url: Url, until: float) -> socket.socket:
    connection = socket.create_connection((url.host, url.port), _left(until))
    if url.scheme not in ("https", "wss", "grpcs"):
        return connection
    import ssl

    context = ssl.create_default_context()
    if url.scheme == "grpcs":
        context.set_alpn_protocols(["h2"])
    try:
        return context.wrap_socket(connection, server_hostname=url.host)
    except BaseException:
        connection.close()
        raise


def _http(url: Url, until: float, ready: bool) -> str | None:
    path = f"{url.path}/healthz{'?ready' if ready else ''}"
    said = f"GET {path} HTTP/1.1\r\nHost: {url.place}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    status = _status(url, until, said)
    if status == 200:
        return None
    if ready and status == 503:
        return "it answers, and is not ready"
    return f"{path} gives {f'status {status}' if status else 'no answer of HTTP'}"


def _socket(url: Url, until: float) -> str | None:
    said = (
        f"GET {url.path or '/'} HTTP/1.1\r\nHost: {url.place}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    status = _status(url, until, said)
    return None if status == 101 else f"no WebSocket is opened: status {status or 'of no HTTP'}"


def _status(url: Url, until: float, said: str) -> int | None:
    """The status of an answer, of which no more is read than that."""
    with _connected(url, until) as connection:
        connection.sendall(said.encode("latin-1"))
        head = b""
        while b"\r\n" not in head and len(head) < _HEAD:
            connection.settimeout(_left(until))
            part = connection.recv(4096)
            if not part:
                break
            head += part
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return None
    return int(words[1])


# ---------------------------------------------------------------------------------------------- gRPC


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def _field(name: str, value: str) -> bytes:
    """A header that no table is asked for."""
    said = bytearray(b"\0")
    for text in (name.encode(), value.encode()):
        if len(text) < 127:
            said.append(len(text))
        else:  # a number in seven bits, and the rest of it after
            said.append(127)
            rest = len(text) - 127
            while rest >= 128:
                said.append(rest % 128 + 128)
                rest //= 128
            said.append(rest)
        said += text
    return bytes(said)


def _grpc(url: Url, until: float) -> str | None:
    """Asks the service of health, `grpc.health.v1`, which says whether the Flow is ready."""
    headers = b"".join(
        _field(*pair)
        for pair in (
            (":method", "POST"),
            (":scheme", "https" if url.scheme == "grpcs" else "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", url.place),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        )
    )
    with _connected(url, until) as connection:
        connection.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, b"")
            + _frame(_HEADERS, 4, 1, headers)
            + _frame(_DATA, 1, 1, b"\0\0\0\0\0")
        )
        said = b""
        for _ in range(_FRAMES):
            head = _read(connection, 9, until)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
            if size > _HEAD:
                return "the answer is none of gRPC"
            body = _read(connection, size, until)
            if kind == _SETTINGS and not flags & 1:
                connection.sendall(_frame(_SETTINGS, 1, 0, b""))
            elif kind == _PING and not flags & 1:
                connection.sendall(_frame(_PING, 1, 0, body))
            elif kind == _DATA and stream == 1:
                said += body
            if kind in (_AWAY, _RESET) or (stream == 1 and flags & 1 and kind in (_DATA, _HEADERS)):
                break
    if said == _SERVING:
        return None
    return "it answers, and is not ready" if said else "it answers, and has no service of health"


def _read(connection: socket.socket, count: int, until: float) -> bytes:
    found = b""
    while len(found) < count:
        connection.settimeout(_left(until))
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionError("the connection ended before an answer")
        found += part
    return found


# ---------------------------------------------------------------------------------------------- the command


def ping(text: str, timeout: float = 3.0, attempts: int = 1, ready: bool = False) -> str | None:
    """Asks a server, so often until it answers.

    Args:
        text: its URL.
        timeout: seconds of each attempt.
        attempts: how many, a second apart.
        ready: whether the whole Flow is asked after. A gRPC server always says that.

    Returns:
        None where it answers, else what was wrong with the last attempt.

    Raises:
        ValueError: `text` is no URL.

    >>> ping('http://127.0.0.1:9', timeout=1)
    'Connection refused'
    """
    url, wrong = Url(text), None
    for attempt in range(attempts):
        if attempt:
            time.sleep(1.0)
        wrong = ask(url, timeout, ready)
        if wrong is None:
            break
    return wrong


def main(url: str, timeout: float, attempts: int, ready: bool) -> int:
    """The command `docarray ping`: prints how it went, and gives the exit code."""
    import sys

    began = time.perf_counter()
    try:
        wrong = ping(url, timeout, attempts, ready)
    except ValueError as error:
        print(f"docarray ping: {error}", file=sys.stderr)
        return 2
    if wrong is not None:
        print(f"docarray ping: {url}: {wrong}", file=sys.stderr)
        return 1
    print(f"{url} {'is ready' if ready else 'answers'} ({(time.perf_counter() - began) * 1000:.0f} ms)")
    return 0
