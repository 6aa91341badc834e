"""Where bytes come from and go to: paths, fsspec URLs, open files and bytes, under one manner.

Rule 1: what the caller opened the caller closes; what is opened here is closed here.
Rule 2: a local file is replaced when all is written and on disk, never before. An error leaves the old file.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import secrets
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import Any, BinaryIO, Final, TypeAlias, cast

from docarray.errors import FieldTypeError, MissingExtra

__all__ = ["Source", "is_url", "mapped", "path_of", "read_all", "reading", "replacing", "suffixes", "writing"]

Source: TypeAlias = "str | os.PathLike[str] | BinaryIO | bytes | bytearray | memoryview"

_PIECE: Final = 1 << 20

# Two letters at least: `C:\\data` is a path.
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::[A-Za-z][A-Za-z0-9+.-]+)*://")


def is_url(value: object) -> bool:
    """Whether a value is text that begins with a scheme, as `s3://bucket/key` does.

    >>> is_url('memory://a.docarray'), is_url('C:/a.docarray')
    (True, False)
    """
    return isinstance(value, str) and _URL.match(value) is not None


def path_of(source: object) -> str | None:
    """The local path that a source names, `file://` included; None for URLs, files and bytes."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(cast("str | os.PathLike[str]", source))
        if path.startswith("file://"):
            return _local_of(path)
        return None if is_url(path) else path
    return None


def _local_of(url: str) -> str:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(url).path)  # which decodes it, once


def suffixes(source: object) -> list[str]:
    """The suffixes of the name of a source, in lower case; none for what has no name.

    >>> suffixes('s3://bucket/da.protobuf.LZ4'), suffixes(b'bytes')
    (['.protobuf', '.lz4'], [])
    """
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(cast("str | os.PathLike[str]", source))
        if is_url(name):
            name = re.split(r"[?#]", name, maxsplit=1)[0]
    else:
        name = getattr(source, "name", None)
        if not isinstance(name, str):
            return []
    return [suffix.lower() for suffix in PurePath(name.replace("\\", "/")).suffixes]


@contextmanager
def reading(source: Source) -> Generator[BinaryIO]:
    """A source as a binary file, open for the time of a `with` block.

    Args:
        source: a path, a URL of fsspec, a file opened in binary mode (read from where it stands, and left open),
            or bytes.

    Raises:
        FieldTypeError: it is none of these. FileNotFoundError: nothing is there. MissingExtra: a URL needs fsspec.

    >>> with reading(b'abc') as stream:
    ...     stream.read(2)
    b'ab'
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
        return
    if isinstance(source, (str, os.PathLike)):
        path = path_of(source)
        if path is not None:
            with open(path, "rb") as stream:
                yield stream
            return
        store, key = _store_of(cast("str", source))
        with store.open(key, "rb") as stream:
            yield stream
        return
    if isinstance(cast("object", source), io.TextIOBase) or not hasattr(source, "read"):
        raise _no_file(source)
    yield source


@contextmanager
def writing(target: str | os.PathLike[str] | BinaryIO) -> Generator[BinaryIO]:
    """A target as a binary file to write to, for the time of a `with` block.

    A local path is replaced when the block ends, when all is on disk: who reads it sees the old file or the new one.
    An error within the block leaves the old file, and nothing else, behind. What goes to a URL is gathered in a
    temporary file, and written through fsspec when the block ends; a file that is given is written to where it
    stands, and left open.

    Raises:
        FieldTypeError: it is neither path nor binary file. MissingExtra: a URL needs fsspec. OSError: as `open`.
    """
    if isinstance(target, (str, os.PathLike)):
        path = path_of(target)
        if path is not None:
            with replacing(path) as stream:
                yield stream
            return
        import shutil  # these two bring modules along that only URLs need
        import tempfile

        store, key = _store_of(cast("str", target))
        # Gathered here first: many stores drop what they had when a file is opened for writing.
        with tempfile.TemporaryFile() as gathered:
            yield cast("BinaryIO", gathered)
            gathered.seek(0)
            with store.open(key, "wb") as stream:
                shutil.copyfileobj(gathered, stream, _PIECE)
        return
    if isinstance(cast("object", target), io.TextIOBase) or not hasattr(target, "write"):
        raise _no_file(target)
    yield cast("BinaryIO", _Whole(target))


class _Whole(io.RawIOBase):
    """Another file, whose `write` takes all that it is given: a stream without a buffer may take less."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        seekable = getattr(self._stream, "seekable", None)
        return bool(seekable is not None and seekable())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def flush(self) -> None:
        if hasattr(self, "_stream") and hasattr(self._stream, "flush"):
            self._stream.flush()

    def write(self, data: Any, /) -> int:
        whole = rest = memoryview(data).cast("B")
        while (written := self._stream.write(rest)) is not None and written < len(rest):
            rest = rest[written:]
        return len(whole)

    def writelines(self, lines: Any, /) -> None:
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Nothing: the stream is the caller's."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """A file that takes the place of a local path when the block ends without an error, and only then."""
    target = os.path.realpath(path)
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):  # a pipe or a device is written to, not replaced
        with open(target, "wb") as stream:
            yield stream
        return
    folder = os.path.dirname(target)
    beside = os.path.join(folder, f".docarray-{secrets.token_hex(8)}.tmp")
    # Not `tempfile`: its files are for their owner only, this one is to have the rights of any new file.
    try:
        number = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise type(error)(
            error.errno, error.strerror, os.fspath(path)
        ) from None  # nobody asked for the other name
    try:
        with open(number, "w+b") as stream:
            yield stream
            stream.flush()
            if old is not None and sys.platform != "win32":
                os.fchmod(stream.fileno(), stat.S_IMODE(old.st_mode))
            os.fsync(stream.fileno())
        os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    if sys.platform != "win32":  # the new name is on disk when the folder is
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def read_all(source: Source) -> bytes | memoryview:
    """All bytes of a source; bytes as they are, without a copy.

    Raises:
        FieldTypeError: it is neither path, URL, binary file nor bytes. OSError: as `open`.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return memoryview(source).cast("B") if memoryview(source).contiguous else bytes(source)
    with reading(source) as stream:
        parts: list[bytes] = []
        while part := stream.read():
            if not isinstance(cast("object", part), bytes):
                raise _no_file(source)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def mapped(path: str | os.PathLike[str]) -> memoryview | None:
    """A local file in memory, page by page as it is touched; None for what has no length, such as a pipe.

    What is written to the memory is seen by nobody else: the file stays as it is.

    Raises:
        FileNotFoundError: there is none. OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return None
        try:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY))
        except OSError:
            # The system keeps account of pages that may be written to, and this file is larger than it grants.
            # Arrays are read-only then, and documents make copies of what is asked of them.
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _store_of(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path within it."""
    try:
        from fsspec.core import url_to_fs  # pyright: ignore
    except ImportError as error:
        raise MissingExtra(
            f'the URL {url!r} needs the package fsspec: pip install "docarray[remote]"'
        ) from error
    try:
        return cast("tuple[Any, str]", url_to_fs(url))
    except ImportError as error:  # fsspec names the package of the scheme
        raise MissingExtra(f"the URL {url!r} cannot be opened: {error}") from error


def _no_file(value: object) -> FieldTypeError:
    return FieldTypeError(
        f"a path, a URL, bytes or a file opened in binary mode is wanted; got {value!r:.80}"
    )
