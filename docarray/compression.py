"""Compression by name: whole blobs, and streams on the fly; unpacking never gives more than it is allowed to.

Rule 1: a name that is not known is an error; nothing is ever written as it is where compression was asked for.
Rule 2: what unpacks is untrusted. Memory grows with what has really come out, and stops at a limit.
"""

from __future__ import annotations

import importlib
import io
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, BinaryIO, Final, cast

from docarray.errors import CorruptData, MissingExtra, UnknownName, near_miss

__all__ = [
    "NAMES",
    "SUFFIXES",
    "compress",
    "decompress",
    "limit_of",
    "named",
    "reader",
    "recognised",
    "writer",
]

NAMES: Final = ("lz4", "gzip", "bz2", "lzma", "zlib", "zstd")
_ALIASES: Final = {"gz": "gzip", "xz": "lzma", "zst": "zstd"}
SUFFIXES: Final = MappingProxyType(
    {f".{name}": name for name in NAMES} | {f".{a}": n for a, n in _ALIASES.items()}
)
"""Suffixes of file names, and the compression that each means."""

_STEP: Final = 1 << 20
_FREE: Final = 1 << 28
_RATIO: Final = 250

# The first bytes of each; zlib has two without much to say, so it is known by name or suffix only.
_MAGIC: Final = (
    ("gzip", b"\x1f\x8b\x08"),
    ("bz2", b"BZh"),
    ("lzma", b"\xfd7zXZ\x00"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
)

_FIRST_BYTES: Final = frozenset(magic[:1] for _, magic in _MAGIC)


def named(name: str | None) -> str | None:
    """The compression that is meant; None stays None.

    Raises:
        UnknownName: there is none of that name; the message shows the closest.

    >>> named('gz'), named('zstd'), named(None)
    ('gzip', 'zstd', None)
    """
    if name is None or name in NAMES:
        return name
    if name in _ALIASES:
        return _ALIASES[name]
    raise UnknownName(f"no compression is called {name!r}. {near_miss(name, (*NAMES, *_ALIASES))}")


def recognised(head: bytes) -> str | None:
    """The compression that bytes begin with, by their first six; None for anything else, and for zlib."""
    if head[:1] not in _FIRST_BYTES:
        return None
    return next((name for name, magic in _MAGIC if head.startswith(magic)), None)


def limit_of(packed: int, max_size: int | None = None) -> int:
    """How many bytes so many packed ones may unpack to: what was asked for, or 256 MiB, or 250 times as many."""
    return max(_FREE, _RATIO * packed) if max_size is None else max_size


def compress(data: Any, name: str | None, level: int | None = None) -> bytes:
    """The bytes as one compressed frame; with None as they are.

    Args:
        data: bytes-like.
        name: one of NAMES or None.
        level: what the algorithm calls so; None is its default.

    Raises:
        UnknownName: no such compression. MissingExtra: its package is not installed.
    """
    name = named(name)
    if name is None:
        return bytes(data)
    if name == "gzip":
        return _module("gzip").compress(data, 6 if level is None else level, mtime=0)
    if name == "zlib":
        return zlib.compress(data, -1 if level is None else level)
    if name == "bz2":
        return _module("bz2").compress(data, 9 if level is None else level)
    if name == "lzma":
        return _module("lzma").compress(data, preset=level)
    if name == "lz4":
        return _lz4().compress(data, compression_level=0 if level is None else level, content_checksum=True)
    return _zstd().compress(data, options=_zstd_options(level))


def decompress(data: Any, name: str | None, max_size: int | None = None) -> bytes:
    """What `compress` packed.

    Args:
        data: bytes-like, whole frames and nothing behind them.
        name: one of NAMES or None.
        max_size: how many bytes may come out; None is 256 MiB, or 250 times what goes in where that is more.

    Raises:
        CorruptData: the bytes are damaged, cut off, or hold more than `max_size`.
        UnknownName: no such compression. MissingExtra: its package is not installed.

    Memory: what comes out, twice at the very end; never more than `max_size` of it.

    >>> decompress(compress(b'words ' * 9, 'gzip'), 'gz')[:11]
    b'words words'
    """
    name = named(name)
    view = memoryview(data).cast("B")
    if name is None:
        return bytes(view)
    limit = limit_of(len(view), max_size)
    parts: list[bytes] = []
    size = 0
    with reader(io.BytesIO(view), name, max_size=limit) as stream:
        while part := stream.read(_STEP):
            parts.append(part)
            size += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def reader(stream: BinaryIO, name: str | None, *, max_size: int | None = None) -> BinaryIO:
    """A file that reads what was packed in another, piece by piece; closing it leaves the other one open.

    Args:
        stream: a binary file at the first byte of a frame; several frames in a row read as one.
        name: one of NAMES or None, which gives the stream itself.
        max_size: how many bytes may come out in all; None is without limit, as memory stays bounded here.

    Raises:
        CorruptData: while reading, where the bytes are damaged, cut off, or hold too much.
        UnknownName: no such compression. MissingExtra: its package is not installed.
    """
    name = named(name)
    if name is None:
        return stream
    return cast("BinaryIO", io.BufferedReader(_Unpacking(stream, name, max_size), _STEP))


@contextmanager
def writer(stream: BinaryIO, name: str | None, *, checked: bool = True) -> Generator[BinaryIO]:
    """A file that packs what is written to it into another one; the end of the block ends the frame.

    Args:
        stream: a binary file.
        name: one of NAMES or None, which gives the stream itself.
        checked: whether the frame has a checksum, where it need not: not for who has one of his own.

    Raises:
        UnknownName: no such compression. MissingExtra: its package is not installed.
    """
    packer = _packer(named(name), checked)
    if packer is None:
        yield stream
        return
    packing = _Packing(stream, packer)
    yield cast("BinaryIO", packing)
    packing.close()


class _Packing(io.RawIOBase):
    def __init__(self, stream: BinaryIO, packer: Any) -> None:
        self._stream = stream
        self._packer: Any = packer

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        self._stream.write(self._packer.compress(view))
        return len(view)

    def close(self) -> None:
        """Ends the frame; the stream below stays open."""
        if self._packer is not None:
            self._stream.write(self._packer.flush())
            self._packer = None


class _Lz4Packer:
    def __init__(self, package: Any, checked: bool) -> None:
        # Blocks of 4 MiB: of the usual 64 KiB each costs a start.
        self._inner: Any = package.LZ4FrameCompressor(
            block_size=package.BLOCKSIZE_MAX4MB, content_checksum=checked
        )
        self._begun = False

    def compress(self, data: Any) -> bytes:
        head = b"" if self._begun else self._inner.begin()
        self._begun = True
        return head + self._inner.compress(data)

    def flush(self) -> bytes:
        return self.compress(b"") + self._inner.flush()


def _packer(name: str | None, checked: bool) -> Any:
    if name is None:
        return None
    if name == "gzip":
        return zlib.compressobj(wbits=31)
    if name == "zlib":
        return zlib.compressobj()
    if name == "bz2":
        return _module("bz2").BZ2Compressor()
    if name == "lzma":
        return _module("lzma").LZMACompressor()
    if name == "lz4":
        return _Lz4Packer(_lz4(), checked)
    return _zstd().ZstdCompressor(options=_zstd_options(None, checked))


def _zstd_options(level: int | None, checked: bool = True) -> dict[Any, int]:
    parameter: Any = _zstd().CompressionParameter
    options = {parameter.checksum_flag: int(checked)}
    return options if level is None else {**options, parameter.compression_level: level}


class _ZlibUnpacker:
    """zlib under the manners of the other modules: `eof`, `needs_input`, `unused_data`, a bound on what comes out."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, most)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _unpacker(name: str) -> Callable[[], Any]:
    if name == "gzip":
        return lambda: _ZlibUnpacker(31)
    if name == "zlib":
        return lambda: _ZlibUnpacker(15)
    if name == "bz2":
        return _module("bz2").BZ2Decompressor
    if name == "lzma":
        return _module("lzma").LZMADecompressor
    if name == "lz4":
        return _lz4().LZ4FrameDecompressor
    return _zstd().ZstdDecompressor


class _Unpacking(io.RawIOBase):
    """Frames read one after the other, never more than the asked for number of bytes at once."""

    def __init__(self, stream: BinaryIO, name: str, max_size: int | None) -> None:
        self._stream = stream
        self._name = name
        self._make = _unpacker(name)
        self._frame: Any = self._make()
        self._pending = b""
        self._max_size = max_size
        self._size = 0
        self._fed = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        part = b"" if not len(view) or self._ended else self._next(len(view))
        view[: len(part)] = part
        self._size += len(part)
        if self._max_size is not None and self._size > self._max_size:
            raise CorruptData(
                f"{self._name} data that unpack to more than {self._max_size} bytes: give max_size= if that is meant"
            )
        return len(part)

    def _next(self, most: int) -> bytes:
        while True:
            if self._frame.eof:
                self._pending = self._frame.unused_data or self._pending
                if not self._pending:
                    self._pending = self._more()
                if not self._pending:
                    self._ended = True
                    return b""
                self._frame = self._make()
            if self._frame.needs_input and not self._pending:
                self._pending = self._more()
                if not self._pending:
                    raise CorruptData(
                        f"{self._name} data that end after {self._fed} bytes: they were cut off"
                    )
            data, self._pending = self._pending, b""
            try:
                part = self._frame.decompress(data, most)
            except Exception as error:
                kind = type(error)
                if kind not in _RAISED and kind.__module__.partition(".")[0] not in _RAISERS:
                    raise
                raise self._corrupt(error) from None
            if part:
                return part

    def _corrupt(self, error: Exception) -> CorruptData:
        return CorruptData(
            f"these are no {self._name} data, or damaged ones, up to byte {self._fed}: {error}"
        )

    def _more(self) -> bytes:
        data = self._stream.read(_STEP)
        self._fed += len(data)
        return data


# Whose errors say that data are damaged: those of the modules, and the builtin ones that they raise. A MemoryError or
# a KeyboardInterrupt on the way is none.
_RAISED: Final = (OSError, EOFError, RuntimeError, ValueError)
_RAISERS: Final = frozenset({"zlib", "_lzma", "lzma", "_bz2", "_zstd", "backports", "compression", "lz4"})


def _module(name: str) -> Any:
    """A module of the standard library that not everybody needs, imported now."""
    return importlib.import_module(name)


def _lz4() -> Any:
    try:
        import lz4.frame as package  # pyright: ignore
    except ImportError as error:
        raise _missing("lz4", "lz4") from error
    return package


def _zstd() -> Any:
    try:
        from compression import zstd as package  # pyright: ignore
    except ImportError:
        try:
            from backports import zstd as package  # pyright: ignore
        except ImportError as error:
            raise _missing("zstd", "backports.zstd") from error
    return package  # pyright: ignore


def _missing(name: str, package: str) -> MissingExtra:
    return MissingExtra(f"compression {name!r} needs the package {package}: pip install {package}")
