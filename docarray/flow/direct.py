"""Direct: a request of a caller that waits for it in its own thread, which then needs no loop and no other thread.

Rule 1: a line is one connection, and has one request at a time. It is kept for the next one, of any thread.
Rule 2: a line whose request was broken off, by an error, the deadline or a key, is closed: the server hears of it.
Rule 3: closing the client closes the lines that are asked, too: who waits on one gets Unavailable.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Collection, Generator
from typing import Final, Generic, Protocol, TypeVar

from docarray.errors import DocArrayError
from docarray.flow.faults import Unavailable
from docarray.flow.transport import Address, NotReached, waits

__all__ = ["CUT", "Lines", "Wire"]

CUT: Final = "the connection was lost before the answer came; it may have been worked on"
_IDLE: Final = 55.0  # seconds after which a line is not trusted to be open still
_KEPT: Final = 32
_STEP: Final = (
    1 << 15
)  # bytes that are read at once; where there are more, sixteen times as many: it is not for nothing


def _left(until: float | None) -> float | None:
    """Seconds until a `time.monotonic()`.

    Raises:
        TimeoutError: it is over.
    """
    if until is None:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class Wire:
    """A socket that is connected.

    Raises:
        TimeoutError: it is not by `until`. OSError: it cannot be.
    """

    def __init__(self, where: Address, tls: ssl.SSLContext | None, until: float | None) -> None:
        self._step = _STEP
        plain = socket.create_connection((where.host, where.port), _left(until))
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(_left(until))
            self._socket = plain if tls is None else tls.wrap_socket(plain, server_hostname=where.host)
        except BaseException:
            plain.close()
            raise

    def send(self, data: bytes, until: float | None) -> None:
        """Sends all of it. Where the other side takes no more, it may have said why: that is to be read."""
        self._socket.settimeout(_left(until))
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            return

    def receive(self, until: float | None) -> bytes:
        """What comes next; b'' where nothing will.

        Raises:
            TimeoutError: nothing came by `until`. Unavailable: the connection was lost.
        """
        if until is not None:
            self._socket.settimeout(_left(until))
        try:
            data = self._socket.recv(self._step)
        except TimeoutError:
            raise
        except OSError as error:
            raise Unavailable(CUT) from error
        self._step = 16 * _STEP if len(data) == self._step else _STEP
        return data

    def unasked(self) -> bytes | None:
        """What came while nobody asked; b'' where the other side has gone, None for nothing."""
        self._socket.setblocking(False)
        try:
            return self._socket.recv(_STEP)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return b""
        finally:
            self._socket.setblocking(True)

    def end(self) -> None:
        """Closes it; who waits for it in another thread waits no longer."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Line(Protocol):
    """One connection, and what is spoken on it."""

    wire: Wire

    def is_open(self) -> bool:
        """Whether another request can be sent."""
        ...


L = TypeVar("L", bound=Line)


class Lines(Generic[L]):
    """The lines to an address.

    Args:
        where: the address.
        retries: how often it is tried again to connect.
        make: makes a line; it is told by when.
    """

    def __init__(self, where: Address, retries: int, make: Callable[[float | None], L]) -> None:
        self._where = where
        self._retries = retries
        self._make = make
        self._idle: list[tuple[L, float]] = []
        self._wires: set[Wire] = set()
        self._turn = threading.Lock()
        self._end = weakref.finalize(self, _end, self._wires)

    @contextlib.contextmanager
    def line(self, until: float | None) -> Generator[L]:
        """A line for one request.

        Raises:
            NotReached: there is none to be had. TimeoutError: not by `until`.
        """
        line = self._kept() or self._made(until)
        try:
            yield line
        except BaseException:
            self._drop(line)
            raise
        with self._turn:
            keeps = len(self._idle) < _KEPT and line.wire in self._wires
            if keeps:
                self._idle.append((line, time.monotonic()))
        if not keeps:
            self._drop(line)

    def _kept(self) -> L | None:
        while True:
            with self._turn:
                if not self._idle:
                    return None
                line, since = self._idle.pop()
            if time.monotonic() - since < _IDLE and line.is_open():
                return line
            self._drop(line)

    def _made(self, until: float | None) -> L:
        for wait in waits(self._retries):
            try:
                line = self._make(until)
            except DocArrayError:
                raise
            except (OSError, EOFError) as error:
                if isinstance(error, TimeoutError) and error.errno is None:  # our own
                    raise
                if wait is None or isinstance(error, ssl.SSLError):
                    raise NotReached(
                        f"{self._where.url} cannot be reached: {error or type(error).__name__}"
                    ) from error
                left = _left(until)
                time.sleep(wait if left is None else min(wait, left))
            else:
                self._wires.add(line.wire)
                return line
        raise AssertionError

    def _drop(self, line: L) -> None:
        self._wires.discard(line.wire)
        line.wire.end()

    def close(self) -> None:
        """Closes all of them."""
        with self._turn:
            self._idle.clear()
            wires = list(self._wires)
            self._wires.clear()
        _end(wires)


def _end(wires: Collection[Wire]) -> None:
    for wire in list(wires):
        wire.end()
