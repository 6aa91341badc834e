"""Pairs: two sockets that are connected to each other, one here and one in a process that is started.

Rule 1: nobody else comes in. A Unix pair has no name. Where there is none, as on Windows, it is a connection of this
        machine to itself, on which the process first says a word that it was told alone, on its standard input.
Rule 2: what was opened is closed where no process comes of it.

The environment variable DOCARRAY_FLOW_SOCKET says which: 'unix' or 'tcp'.
"""

from __future__ import annotations

import contextlib
import functools
import hmac
import os
import secrets
import select
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import IO, Final, cast

from docarray.errors import BadValue

__all__ = ["begun", "joined"]

_NAME: Final = "DOCARRAY_FLOW_SOCKET"
_BUFFER: Final = 1 << 20  # bytes that the kernel keeps of what is under way
_WORD: Final = 32  # bytes
_TURN: Final = 0.1  # seconds between two looks whether the process still lives

Command = Callable[[str], list[str]]
Born = Callable[["subprocess.Popen[bytes]"], None]


def _is_tcp() -> bool:
    """Whether pairs are connections of this machine to itself.

    Raises:
        BadValue: the environment variable says neither.
    """
    said = os.environ.get(_NAME) or ("unix" if hasattr(socket, "AF_UNIX") and os.name == "posix" else "tcp")
    if said not in ("unix", "tcp"):
        raise BadValue(f"{_NAME} is 'unix' or 'tcp'; got {said!r:.60}")
    return said == "tcp"


def begun(command: Command, env: Mapping[str, str], born: Born, seconds: float) -> socket.socket:
    """Starts a process that has the other end.

    Args:
        command: makes the command line, of the call of `docarray.flow.child` that takes its end.
        env: its environment.
        born: is told the process as soon as there is one.
        seconds: until it has to have come.

    Returns:
        This end.

    Raises:
        ConnectionError: it ended, or did not come. OSError: it cannot be started.
    """
    return (_over_tcp if _is_tcp() else _over_unix)(command, env, born, seconds)


def _over_unix(command: Command, env: Mapping[str, str], born: Born, seconds: float) -> socket.socket:
    del seconds
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            for one in (ours, theirs):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            number = theirs.fileno()
            born(subprocess.Popen(command(str(number)), env=env, pass_fds=[number], stdin=subprocess.DEVNULL))
    except BaseException:
        ours.close()
        raise
    return ours


def _over_tcp(command: Command, env: Mapping[str, str], born: Born, seconds: float) -> socket.socket:
    word = secrets.token_bytes(_WORD)
    until = time.monotonic() + seconds
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = subprocess.Popen(command("None"), env=env, stdin=subprocess.PIPE, bufsize=0)
        born(process)
        told = cast("IO[bytes]", process.stdin)
        # It stays open: that it ends tells the process that this one is gone.
        with contextlib.suppress(BrokenPipeError):  # it ended already, which is seen below
            told.write(server.getsockname()[1].to_bytes(2, "big") + word)
        server.settimeout(_TURN)
        while time.monotonic() < until and process.poll() is None:
            try:
                ours, _ = server.accept()
            except TimeoutError:
                continue
            if _says(ours, word):
                ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return ours
            ours.close()
    raise ConnectionError("it ended, or did not come, before it was told what it is")


def _says(sock: socket.socket, word: bytes) -> bool:
    """Whether who has come is who was started."""
    sock.settimeout(1.0)
    try:
        said = b""
        while len(said) < _WORD and (part := sock.recv(_WORD - len(said))):
            said += part
    except OSError:
        return False
    return hmac.compare_digest(said, word)


def joined(number: int | None) -> tuple[socket.socket, Callable[[], object]]:
    """The end of the process that was started, and what waits until the other process is gone.

    Args:
        number: of the file descriptor; None: it is told on standard input where to connect.
    """
    if number is not None:
        return socket.socket(fileno=number), functools.partial(_hung_up, number)
    # What the process and its own ones read is nothing, as where there is a Unix pair.
    told = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    said = b""
    while len(said) < 2 + _WORD:
        part = os.read(told, 2 + _WORD - len(said))
        if not part:
            raise SystemExit(0)  # who started this is gone
        said += part
    sock = socket.create_connection(("127.0.0.1", int.from_bytes(said[:2], "big")))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(said[2:])
    return sock, functools.partial(os.read, told, 1)


def _hung_up(number: int) -> None:
    watch = select.poll()
    watch.register(number, 0)  # tells of nothing but the end
    watch.poll()
