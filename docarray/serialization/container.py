"""The native container: a table as bytes, a file or a message. docs/format.md says it byte by byte.

Rule 1: a batch is a whole number of blocks of 64 bytes and says nothing of where it stands. Batches can be appended,
        streamed and copied from one container into another as they are.
Rule 2: nothing that is read is believed before it was checked: headers by their checksums, then each name, size and
        offset by what is there. What lies in the buffers is checked by the columns, where it is used.
Rule 3: opening a path reads headers only. The file is mapped copy-on-write: arrays can be written to, and the file
        stays as it is.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import secrets
import stat
import struct
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from docarray.columns import Buffers
from docarray.errors import BadValue, FieldTypeError, FormatError
from docarray.table import Table

__all__ = ["MAGIC", "VERSION", "dumps", "load", "loads", "save"]

# A byte that is no text, the name, and line ends that a transfer as text would have changed.
MAGIC: Final = b"\x89DOC\r\n\x1a\n"
VERSION: Final = (1, 0)
_LIBRARY: Final = "docarray 1.0.0.dev0"

_PROLOGUE: Final = struct.Struct("<8sHHI")  # magic, major, minor, flags
_MARKER: Final = b"\x89BAT"
# Marker, length of the JSON, of the body, of the body unpacked, rows, compression, flags, and three checksums: of the
# JSON, of the body, of what stands before the last of them.
_BATCH: Final = struct.Struct("<4sIQQQHHIII")
_BLOCK: Final = 64
_LONGEST_HEADER: Final = 1 << 26
_COMPRESSIONS: Final = {1: "zstd", 2: "lz4"}  # names for the message; this version reads and writes neither

_UNCHECKED: Final = "the bytes are damaged, or were cut off"


def dumps(table: Table) -> bytes:
    """The table as the bytes of a container.

    Raises:
        FieldTypeError: a column holds what cannot be stored; the message names the column and the row.
        BadValue: documents are nested too deep.

    Costs one pass over the buffers for the checksum and one for the copy.

    >>> from docarray.columns import column_of
    >>> loads(dumps(Table({'text': column_of('text', ['a', None])}, ids=['1', '2']))).columns['text'].values()
    ['a', None]
    """
    return b"".join(_container(table))


def loads(data: bytes | bytearray | memoryview) -> Table:
    """The table that `dumps` wrote, its batches joined; the body's checksums are verified.

    The columns lie on `data` itself where that is read-only, and on a copy where it could change.

    Raises:
        FormatError: these are other bytes, of a later version, or damaged.
        FieldTypeError: `data` is not bytes.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise FieldTypeError(f"a container is read from bytes; got a {type(data).__name__}")
    view = memoryview(data)
    if not view.readonly or not view.contiguous:
        view = memoryview(bytes(view))
    view = view.cast("B")
    if np.frombuffer(view, np.uint8).ctypes.data % 16:  # part of something: arrays would lie askew
        view = memoryview(bytes(view))
    return _read(view, verify=True)


def save(table: Table, file: str | Path | BinaryIO) -> None:
    """Writes the table as a container to a path, or to a binary file at its position.

    A path is replaced when all is written and on disk, never before: who reads it sees the old file or the new one,
    and who has mapped the old one keeps it. An error leaves the old file, and nothing else, behind.

    Raises:
        FieldTypeError: a column holds what cannot be stored; or `file` is neither a path nor a binary file.
        OSError: the file cannot be written.
    """
    pieces = _container(table)
    if isinstance(file, (str, os.PathLike)):
        _replace(os.path.realpath(file), pieces)
        return
    if isinstance(cast("object", file), io.TextIOBase) or not hasattr(file, "write"):
        raise FieldTypeError(f"a path or a file opened in binary mode is wanted; got {file!r:.80}")
    for piece in pieces:
        rest = memoryview(piece).cast("B")
        while (written := file.write(rest)) is not None and written < len(rest):
            rest = rest[written:]  # a stream without a buffer may take less than it is given


def load(file: str | Path | BinaryIO, *, verify: bool = False) -> Table:
    """The table of a file that `save` wrote, its batches joined.

    A path is mapped: nothing but headers is read before somebody touches it. Arrays of it can be written to, which
    the file never sees. A file object is read from its position to its end and always verified.

    Args:
        file: a path, or a file opened in binary mode.
        verify: whether the body of a mapped file is compared with its checksums, which reads all of it.

    Raises:
        FormatError: the file is another, of a later version, or damaged. FileNotFoundError: there is none.
        FieldTypeError: `file` is neither a path nor a binary file.
    """
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as stream:
            view = _mapped(stream)
            if view is not None:
                return _read(view, verify=verify)
            return loads(_all_of(stream))
    if isinstance(cast("object", file), io.TextIOBase) or not hasattr(file, "read"):
        raise FieldTypeError(f"a path or a file opened in binary mode is wanted; got {file!r:.80}")
    return loads(_all_of(file))


# ---------------------------------------------------------------------------------------------- writing


def _container(table: Table) -> list[Any]:
    return [_PROLOGUE.pack(MAGIC, *VERSION, 0), *_batch(table)]


def _batch(table: Table) -> list[Any]:
    """A batch as pieces to write one after the other; those of the body share memory with the table."""
    buffers: Buffers = {}
    form = table.to_buffers(buffers)
    index: list[tuple[str, int, int]] = []
    pieces: list[Any] = []
    end = checksum = 0
    for name, array in buffers.items():
        view = np.asarray(array).reshape(-1).view(np.uint8).data
        index.append((name, end, view.nbytes))
        for piece in (view, bytes(-view.nbytes % _BLOCK)):
            pieces.append(piece)
            checksum = zlib.crc32(piece, checksum)
            end += len(piece)
    header = json.dumps({"library": _LIBRARY, "form": form, "buffers": index}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _BLOCK)
    if len(header) > _LONGEST_HEADER:
        raise BadValue(f"a table of {len(buffers)} buffers has too many columns for one batch")
    sizes = len(header), end, end, len(table), 0, 0
    head = _BATCH.pack(_MARKER, *sizes, zlib.crc32(header), checksum, 0)[:-4]
    return [head, zlib.crc32(head).to_bytes(4, "little"), header, *pieces]


def _replace(path: str, pieces: Iterable[Any]) -> None:
    """Writes beside the path and renames, so that there is no moment with half a file."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):  # a pipe or a device is written to, not replaced
        with open(path, "wb") as stream:
            stream.writelines(pieces)
        return
    folder = os.path.dirname(path)
    beside = os.path.join(folder, f".docarray-{secrets.token_hex(8)}.tmp")
    # Not `tempfile`: its files are for their owner only, this one is to have the rights of any new file.
    number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(number, "wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            if old is not None and sys.platform != "win32":
                os.fchmod(number, stat.S_IMODE(old.st_mode))
            os.fsync(number)
        os.replace(beside, path)
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


# ---------------------------------------------------------------------------------------------- reading


def _mapped(stream: BinaryIO) -> memoryview | None:
    """The file in memory, page by page as it is touched; None for what has no length, such as a pipe."""
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return None
    try:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY))
    except OSError:
        # The system keeps account of pages that may be written to, and this file is larger than it grants.
        # Arrays are read-only then, and documents make copies of what is asked of them.
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _all_of(stream: BinaryIO) -> bytes:
    head = b""
    while len(head) < _PROLOGUE.size:  # a stream without a buffer may give less than it is asked for
        more = stream.read(_PROLOGUE.size - len(head))
        if not isinstance(cast("object", more), bytes):
            raise FieldTypeError(f"a file opened in binary mode is wanted; {stream!r:.80} gave {more!r:.20}")
        if not more:
            break
        head += more
    _check_prologue(head)  # before the rest is read: it may be of any length
    parts = [head]
    while more := stream.read():
        parts.append(more)
    return b"".join(parts)


def _check_prologue(head: bytes | memoryview) -> None:
    start = bytes(head[: _PROLOGUE.size])
    if not start.startswith(MAGIC):
        what = "nothing at all" if not start else f"beginning with {start[:8]!r}"
        if MAGIC.startswith(start) and start:
            raise FormatError(f"a container that was cut off after {len(start)} bytes")
        if start[:1] + start[3:4] == MAGIC[:1] + MAGIC[3:4] or start[1:4] == MAGIC[1:4]:
            raise FormatError(f"a container that was changed on its way, as text perhaps: {what}")
        raise FormatError(f"no container of docarray, but {what}")
    if len(start) < _PROLOGUE.size:
        raise FormatError(f"a container that was cut off after {len(start)} bytes")
    _, major, minor, flags = cast("tuple[bytes, int, int, int]", _PROLOGUE.unpack(start))
    if major != VERSION[0] or flags:
        raise FormatError(
            f"a container of format {major}.{minor} (flags {flags:#x}); this is {_LIBRARY}, which reads format "
            f"{VERSION[0]}: a newer version is needed"
        )


def _read(view: memoryview, *, verify: bool) -> Table:
    _check_prologue(view)
    tables: list[Table] = []
    at = _PROLOGUE.size
    while at < len(view):
        try:
            table, at = _read_batch(view, at, verify=verify)
        except FormatError as error:
            raise FormatError(f"batch {len(tables)} of a container, at byte {at}: {error}") from None
        tables.append(table)
    if not tables:
        raise FormatError("a container that was cut off before its first batch")
    return Table.concat(tables)


def _read_batch(view: memoryview, at: int, *, verify: bool) -> tuple[Table, int]:
    """The table of the batch at a byte, and the byte behind it."""
    left = len(view) - at - _BATCH.size
    if left < 0:
        raise FormatError("the file ends within the head of a batch: it was cut off")
    head = view[at : at + _BATCH.size]
    marker, header_size, size, unpacked, rows, compression, flags, header_sum, body_sum, head_sum = cast(
        "tuple[bytes, int, int, int, int, int, int, int, int, int]", _BATCH.unpack(head)
    )
    if marker != _MARKER or zlib.crc32(head[:-4]) != head_sum:
        raise FormatError(f"this is no head of a batch: {_UNCHECKED}")
    if compression:
        name = _COMPRESSIONS.get(compression, "something unknown")
        raise FormatError(
            f"it is compressed with {name} (code {compression}), which {_LIBRARY} does not read: "
            "a newer version is needed"
        )
    if flags:
        raise FormatError(
            f"it has the flags {flags:#x}, which {_LIBRARY} does not know: a newer version is needed"
        )
    if header_size > _LONGEST_HEADER or header_size % _BLOCK or size % _BLOCK or unpacked != size:
        raise FormatError(f"it announces {header_size} bytes of header and {size} of body, which cannot be")
    if header_size + size > left:
        raise FormatError(
            f"it announces {header_size + size} bytes and {left} are there: the file was cut off"
        )
    start = at + _BATCH.size
    body = view[start + header_size : start + header_size + size]
    header = bytes(view[start : start + header_size])
    if zlib.crc32(header) != header_sum:
        raise FormatError(f"the header is not what its checksum says: {_UNCHECKED}")
    if verify and zlib.crc32(body) != body_sum:
        raise FormatError(f"the body is not what its checksum says: {_UNCHECKED}")
    try:
        known = json.loads(header.decode())
        table = Table.from_buffers(known["form"], _cut(known["buffers"], body))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the header is malformed: {error!r:.200}") from None
    if len(table) != rows:
        raise FormatError(f"it holds {len(table)} rows where {rows} were announced")
    return table, start + header_size + size


def _cut(index: Iterable[tuple[object, object, object]], body: memoryview) -> dict[str, memoryview]:
    """The buffers by name: aligned, in the order in which they lie, and none on top of another."""
    buffers: dict[str, memoryview] = {}
    end = 0
    for name, offset, length in index:
        if not isinstance(name, str) or type(offset) is not int or type(length) is not int:
            raise FormatError(f"a buffer is announced as {name!r:.60}, {offset!r:.60}, {length!r:.60}")
        if (
            name in buffers
            or offset % _BLOCK
            or length < 0
            or not end <= offset <= offset + length <= len(body)
        ):
            raise FormatError(
                f"buffer {name!r:.200} does not lie where it could: byte {offset}, {length} long"
            )
        end = offset + length
        buffers[name] = body[offset:end]
    return buffers
