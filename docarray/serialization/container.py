"""The native container: tables as bytes, a file or a message. docs/format.md says it byte by byte.

Rule 1: a batch is a whole number of blocks of 64 bytes and says nothing of where it stands. Batches can be streamed,
        and copied from one container into another, as they are.
Rule 2: nothing that is read is believed before it was checked: headers by their checksums, then each name, size and
        offset by what is there. What lies in the buffers is checked by the columns, where it is used.
Rule 3: opening a path reads headers only. The file is mapped copy-on-write: arrays can be written to, and the file
        stays as it is.
Rule 4: a container ends in a block that counts what is before it, so that nothing can be cut off unseen. It is a
        batch of no rows, which version 1.0 reads as one. Appending writes behind it, and then, by one write of 48
        bytes, makes it a block that the container goes on behind: before that write the file is the old one.
"""

# pyright: reportIncompatibleMethodOverride=false
# Options are keywords of a format's own, where the contract says **options.

from __future__ import annotations

import builtins
import io
import json
import os
import sys
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from struct import Struct
from types import TracebackType
from typing import Any, BinaryIO, Final, NamedTuple, Self, cast, overload

import numpy as np

from docarray import compression, files
from docarray.columns import Buffers
from docarray.errors import (
    BadValue,
    CorruptData,
    FieldTypeError,
    FormatError,
    OutOfRange,
    UnknownName,
    UnsupportedFormat,
    near_miss,
)
from docarray.format import LIBRARY, Format
from docarray.table import Table

__all__ = ["FORMAT", "MAGIC", "VERSION", "Batches", "Container", "append", "describe", "open"]

# A byte that is no text, the name, and line ends that a transfer as text would have changed.
MAGIC: Final = b"\x89DOC\r\n\x1a\n"
VERSION: Final = (1, 1)

_PROLOGUE: Final = Struct("<8sHHI")  # magic, major, minor, flags
_MARKER: Final = b"\x89BAT"
# Marker, length of the JSON, of the body, of the body unpacked, rows, compression, flags, and three checksums: of the
# JSON, of the body, of what stands before the last of them.
_BATCH: Final = Struct("<4sIQQQHHIII")
_BLOCK: Final = 64
_LONGEST_HEADER: Final = 1 << 24
_CODES: Final = {None: 0, "zstd": 1, "lz4": 2}
_NAMES: Final = {code: name for name, code in _CODES.items()}
_STEP: Final = 1 << 22

_ZEROS: Final = bytes(_BLOCK)
_EMPTY: Final = (
    '{"form":{"length":0,"columns":[["id",{"kind":"text","layout":"flat","length":0}]]},'
    '"buffers":[["id.offsets",0,8],["id.data",64,0]],"end":{"batches":%d,"rows":%d}}'
)

_UNCHECKED: Final = "the bytes are damaged, or were cut off"


class Container(Format):
    """The native format: all that documents can hold, as it is; read without running anything that was written.

    Cannot say: objects that are no data, arrays of objects or of fields, masked arrays, documents nested more than
    128 levels deep; these are refused. A subclass becomes what it is a subclass of, a time zone its offset.

    >>> from docarray.columns import column_of
    >>> table = Table({'text': column_of('text', ['a', None])}, ids=['1', '2'])
    >>> FORMAT.loads(memoryview(FORMAT.dumps(table, compress='zstd'))).columns['text'].values()
    ['a', None]
    """

    name = "binary"
    suffixes: tuple[str, ...] = (".docarray",)
    mime_type = "application/vnd.docarray"
    compressions: tuple[str, ...] = ("zstd", "lz4")
    is_limited = True

    def recognises(self, head: bytes) -> bool:
        """Whether bytes begin with the magic ones of a container."""
        return head.startswith(MAGIC)

    def dumps(self, table: Table, *, compress: str | None = None) -> bytes:
        """The table as the bytes of a container.

        Args:
            table: the documents.
            compress: 'zstd', 'lz4' or None.

        Raises:
            FieldTypeError: a column holds what cannot be stored; the message names the column and the row.
            BadValue: documents are nested too deep. UnknownName: no such compression.
            MissingExtra: the package of the compression is not installed.

        Costs one pass over the buffers for the checksum and one for the copy.
        """
        pieces = [_PROLOGUE.pack(MAGIC, *VERSION, 0), *_batch(table, _named(compress)), *_end(1, len(table))]
        return b"".join(pieces)

    def loads(
        self,
        data: bytes | bytearray | memoryview,
        *,
        verify: bool = True,
        max_size: int | None = None,
        recover: bool = False,
        compress: str | None = None,
    ) -> Table:
        """The table of a container, its batches joined.

        Args:
            data: bytes-like. Columns lie on it where it is read-only, and on a copy where it could change.
            verify: whether bodies are compared with their checksums; compressed ones always are.
            max_size: how many bytes compressed batches may unpack to; None is 256 MiB, or 250 times their own size.
            recover: whether damage is no error and what stands before it is given, if that is one batch at least.
            compress: nothing; the batches say themselves how they are compressed.

        Raises:
            CorruptData: the bytes are damaged, or were cut off; the message says where.
            UnsupportedFormat: they are others, or of a later version. FieldTypeError: `data` is not bytes.
        """
        del compress
        if not isinstance(cast("object", data), (bytes, bytearray, memoryview)):
            raise FieldTypeError(f"a container is read from bytes; got a {type(data).__name__}")
        view = memoryview(data)
        if not view.readonly or not view.contiguous:
            view = memoryview(bytes(view))
        view = view.cast("B")
        if np.frombuffer(view, np.uint8).ctypes.data % 16:  # part of something: arrays would lie askew
            view = memoryview(bytes(view))
        return _joined(view, verify=verify, max_size=max_size, recover=recover)

    def load(
        self,
        path: str | os.PathLike[str],
        *,
        verify: bool = False,
        max_size: int | None = None,
        recover: bool = False,
        compress: str | None = None,
    ) -> Table:
        """The table of a local file, its batches joined.

        The file is mapped: nothing but headers is read before somebody touches it. Arrays of it can be written to,
        which the file never sees. Several batches are joined, and compressed ones unpacked, in memory: `open` gives
        them one by one.

        Args:
            path: of a file, or of a pipe, which is read and always verified.
            verify: whether bodies are compared with their checksums, which reads all of them.
            max_size: as in `loads`.
            recover: as in `loads`; bodies are verified then.
            compress: nothing; the batches say themselves how they are compressed.

        Raises:
            CorruptData, UnsupportedFormat: as in `loads`. FileNotFoundError: there is no file.
        """
        del compress
        while True:
            # A pipe is opened once: who writes to it sees it closed after that.
            view = files.mapped(path) if os.path.isfile(path) else None
            if view is None:
                with builtins.open(path, "rb") as stream:
                    return Table.concat(list(self.read(stream, max_size=max_size)))
            try:
                return _joined(view, verify=verify or recover, max_size=max_size, recover=recover)
            except CorruptData:
                if os.stat(path).st_size <= len(view):
                    raise
                # Else it was being appended to, between the look at its length and the look at its end.

    def write(self, tables: Iterable[Table], stream: BinaryIO, *, compress: str | None = None) -> None:
        """Writes a container of a batch for each table; memory is that of one table.

        Args:
            tables: made as they are asked for, where they are many.
            stream: a binary file, whose `write` takes all that it is given.
            compress: 'zstd', 'lz4' or None.

        Raises:
            as `dumps`. Before an error some batches may have been written, but no end.
        """
        name = _named(compress)
        stream.write(_PROLOGUE.pack(MAGIC, *VERSION, 0))
        batches, rows = _write_batches(tables, stream.write, name)
        for piece in _end(batches, rows):
            stream.write(piece)

    def pieces(self, tables: Iterable[Table], *, compress: str | None = None) -> Iterator[bytes]:
        """What `write` writes, given part by part: the parts of a batch when its table is there, and then the end.

        Raises:
            as `dumps`. Before an error some batches may have been given, but no end.
        """
        name = _named(compress)
        head = _PROLOGUE.pack(MAGIC, *VERSION, 0)
        batches = rows = 0
        for table in tables:
            yield b"".join([head, *_batch(table, name)])
            head = b""
            batches += 1
            rows += len(table)
        yield b"".join([head, *_end(batches, rows)])

    def read(
        self, stream: BinaryIO, *, max_size: int | None = None, compress: str | None = None
    ) -> Iterator[Table]:
        """The tables of a container, a batch each, as they are asked for; memory is that of one batch.

        What stands behind the end of the container is not read. Checksums are verified.

        Args:
            stream: a binary file at the first byte of a container; a pipe will do.
            max_size: how many bytes one compressed batch may unpack to; None is 256 MiB, or 250 times its own size.
            compress: nothing; the batches say themselves how they are compressed.

        Raises:
            CorruptData, UnsupportedFormat: as in `loads`, when the damage is reached.
        """
        del compress
        source = _Stream(stream)
        minor = _check_prologue(source.some(_PROLOGUE.size))
        batches = rows = 0
        while True:
            at = source.at
            with _placed(batches, at):
                raw = source.some(_BATCH.size)
                if not raw:
                    _check_may_end(minor, batches)
                    return
                head = _head(raw, at)
                header = source.exactly(head.header_size, "header")
                body = source.exactly(head.size, "body")
                known = _header(head, memoryview(header))
                end = _end_of(known, head, batches, rows)
                _check_body(head, memoryview(body))
                if end is not None:
                    if not end.goes_on:
                        return
                    continue
                packed = memoryview(body)
                del body
                table = _table(head, known, packed, compression.limit_of(head.size, max_size))
                del packed
            batches += 1
            rows += len(table)
            yield table


class Batches(Sequence[Table]):
    """The batches of a file, a table each, read when asked for. Opening reads the heads of batches only.

    Any number of these may have one file open. Tables stay what they are when this is closed.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, verify: bool = False, max_size: int | None = None
    ) -> None:
        self._path = os.fspath(path)
        self._verify = verify
        self._max_size = max_size
        with _naming(self._path):
            while True:
                view = files.mapped(self._path)
                if view is None:
                    raise UnsupportedFormat("a container that is opened is a regular file, and not empty")
                try:
                    layout = _layout(view)
                    break
                except CorruptData:
                    if os.stat(self._path).st_size <= len(view):
                        raise
        self._view: memoryview | None = view
        self._heads = layout.batches
        self.version: str = f"1.{layout.minor}"
        """Of the format."""
        self.rows: tuple[int, ...] = tuple(head.rows for head in self._heads)
        """Of each batch."""
        self.compression: tuple[str | None, ...] = tuple(_NAMES[head.compression] for head in self._heads)
        """Of each batch: 'zstd', 'lz4' or None."""

    @property
    def library(self) -> str:
        """What wrote the first batch; '' where it does not say, or there is none."""
        if not self._heads:
            return ""
        with _naming(self._path), _placed(0, self._heads[0].at):
            found = _header(self._heads[0], self._open_view()).get("library")
        return found if isinstance(found, str) else ""

    def __len__(self) -> int:
        return len(self._heads)

    @overload
    def __getitem__(self, index: int) -> Table: ...
    @overload
    def __getitem__(self, index: slice) -> list[Table]: ...
    def __getitem__(self, index: int | slice) -> Table | list[Table]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        try:
            number = range(len(self))[index]
        except IndexError:
            raise OutOfRange(f"batch {index} of {self._path!r}, which has {len(self)}") from None
        head, view = self._heads[number], self._open_view()
        with _naming(self._path), _placed(number, head.at):
            return _read_batch(head, view, self._verify, compression.limit_of(head.size, self._max_size))

    def _open_view(self) -> memoryview:
        if self._view is None:
            raise BadValue(f"the batches of {self._path!r} are closed: open them again")
        return self._view

    def describe(self) -> dict[str, Any]:
        """What the file says of itself, by its headers alone: nothing in it is unpacked or verified.

        Gives `format`, `version`, `library`, `bytes`, `batches`, `rows`, `compression` (the names that are used), and
        `columns`: for each its `name` ('chunks/text' is one of the table below), `kind`, `layouts`, `bytes`
        (unpacked), and for arrays `dtypes`, `shapes` and `frameworks`.
        """
        columns: dict[str, dict[str, Any]] = {}
        view = self._open_view()
        for number, head in enumerate(self._heads):
            with _naming(self._path), _placed(number, head.at):
                known = _header(head, view)
                with _malformed():
                    sizes = {name: length for name, _, length in known["buffers"]}
                    _gather(known["form"], "", "", sizes, columns)
        return {
            "format": FORMAT.name,
            "version": self.version,
            "library": self.library,
            "bytes": len(view),
            "batches": len(self),
            "rows": sum(self.rows),
            "compression": sorted({name for name in self.compression if name is not None}),
            "columns": [{"name": name, **facts} for name, facts in columns.items()],
        }

    def close(self) -> None:
        """Lets go of the file. Tables that were read keep what they lie on."""
        self._view = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{len(self)} batches of {sum(self.rows)} rows in {self._path!r}>"


def open(path: str | os.PathLike[str], *, verify: bool = False, max_size: int | None = None) -> Batches:
    """The batches of a local file, a table each, read when asked for.

    Args:
        path: of a regular file.
        verify: whether a batch is compared with its checksum when it is read; a compressed one always is.
        max_size: how many bytes a compressed batch may unpack to; None is 256 MiB, or 250 times its own size.

    Raises:
        CorruptData, UnsupportedFormat: the file is damaged, or another. FileNotFoundError: there is none.

    Costs a look at the head of each batch.
    """
    return Batches(path, verify=verify, max_size=max_size)


def append(path: str | os.PathLike[str], tables: Iterable[Table], *, compress: str | None = None) -> None:
    """Adds a batch for each table to a local file, all of them or none; makes the file where there is none.

    Who reads the file meanwhile sees what was there before, and so does everybody if this is broken off at whatever
    moment: what was written by then is taken away by the next append. Of several that append at once each waits for
    the one before.

    Args:
        path: a container of format 1.1 or later.
        tables: made as they are asked for; memory is that of one.
        compress: 'zstd', 'lz4' or None; batches of one file may differ.

    Raises:
        CorruptData: the file is damaged, and was so before. UnsupportedFormat: it is another, or of format 1.0.
        FieldTypeError and others: as `Container.dumps`; the file is then as it was. OSError: it cannot be written.

    Costs a look at the head of each batch, and the writing of the new ones.
    """
    name = _named(compress)
    with _naming(path), _locked(path) as file:
        if not os.fstat(file.fileno()).st_size:
            _write_all(file, b"".join([_PROLOGUE.pack(MAGIC, *VERSION, 0), *_end(0, 0)]))
            os.fsync(file.fileno())
        layout = _layout_of(file)
        if layout.end is None:
            raise UnsupportedFormat(
                "a container of format 1.0 cannot be appended to: load it and save it anew, which makes it 1.1"
            )
        stop = layout.end.stop
        file.truncate(stop)  # what an append that was broken off has left
        try:
            file.seek(stop)
            _write_all(file, _ZEROS)
            batches, rows = _write_batches(tables, partial(_write_all, file), name)
            batches += len(layout.batches)
            rows += sum(head.rows for head in layout.batches)
            _write_all(file, b"".join(_end(batches, rows)))
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(stop)
            raise
        file.seek(layout.end.at)
        _write_all(file, _gone_on(layout.end))
        os.fsync(file.fileno())


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a local file says of itself: see `Batches.describe`.

    Raises:
        CorruptData, UnsupportedFormat: the file is damaged, or another. FileNotFoundError: there is none.
    """
    with Batches(path) as batches:
        return batches.describe()


def _escaped(name: str) -> str:
    """The name of a column in the names of its buffers."""
    return name.replace("%", "%25").replace(".", "%2E").replace("/", "%2F")


def _gather(
    form: Any, above: str, prefix: str, sizes: Mapping[str, int], into: dict[str, dict[str, Any]]
) -> None:
    """Adds what a form says of its columns; `above` and `prefix` lead to them, by name and in names of buffers."""
    for name, inner in form["columns"]:
        key = prefix + _escaped(name)
        facts = into.setdefault(above + name, {"kind": inner["kind"], "layouts": [], "bytes": 0})
        facts["bytes"] += sum(size for buffer, size in sizes.items() if buffer.startswith(key + "."))
        for several in ("layout", "dtype", "shape", "framework"):
            value = inner.get(several)
            if value is not None and value not in facts.setdefault(several + "s", []):
                facts[several + "s"].append(value)
        if inner["kind"] == "docs":
            _gather(inner["child"], above + name + "/", key + "/", sizes, into)


# ---------------------------------------------------------------------------------------------- writing


def _named(compress: str | None) -> str | None:
    name = compression.named(compress)
    if name not in _CODES:
        raise UnknownName(
            f"batches are not compressed with {name!r}. {near_miss(name, Container.compressions)}"
        )
    return name


def _write_batches(tables: Iterable[Table], write: Any, name: str | None) -> tuple[int, int]:
    batches = rows = 0
    for table in tables:
        for piece in _batch(table, name):
            write(piece)
        batches += 1
        rows += len(table)
    return batches, rows


def _batch(table: Table, name: str | None = None) -> list[Any]:
    """A batch as pieces to write one after the other; those of the body share memory with the table."""
    buffers: Buffers = {}
    form = table.to_buffers(buffers)
    index: list[tuple[str, int, int]] = []
    pieces: list[Any] = []
    end = 0
    for key, array in buffers.items():
        view = np.asarray(array).reshape(-1).view(np.uint8).data
        index.append((key, end, view.nbytes))
        end += view.nbytes
        pieces.append(view)
        if end % _BLOCK:
            pieces.append(_ZEROS[end % _BLOCK :])
            end += -end % _BLOCK
    header: dict[str, Any] = {"library": LIBRARY, "form": form, "buffers": index}
    size = end
    if name is not None:
        pieces, header["packed"] = _packed(pieces, name)
        size = header["packed"] + -header["packed"] % _BLOCK
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _BLOCK)
    if len(text) > _LONGEST_HEADER:
        raise BadValue(f"a table of {len(buffers)} buffers has too many columns for one batch")
    return [_head_bytes(text, size, end, len(table), _CODES[name], checksum), text, *pieces]


def _head_bytes(text: bytes, size: int, unpacked: int, rows: int, code: int, checksum: int) -> bytes:
    head = _BATCH.pack(_MARKER, len(text), size, unpacked, rows, code, 0, zlib.crc32(text), checksum, 0)[:-4]
    return head + zlib.crc32(head).to_bytes(4, "little")


class _Pieces(list[Any]):
    """A list that a packer writes to."""

    def write(self, data: Any) -> int:
        self.append(bytes(data))
        return len(data)


def _packed(pieces: Iterable[Any], name: str) -> tuple[list[Any], int]:
    """The body as one compressed frame, and its length before the zeros that fill the last block."""
    packed = _Pieces()
    with compression.writer(cast("BinaryIO", packed), name, checked=False) as stream:
        for piece in pieces:
            stream.write(piece)
    size = sum(map(len, packed))
    return [*packed, bytes(-size % _BLOCK)], size


def _end(batches: int, rows: int) -> list[bytes]:
    """The block that ends a container: a batch of no rows, whose header counts what is before it."""
    text = (_EMPTY % (batches, rows)).encode()
    text += b" " * (-len(text) % _BLOCK)
    return [_head_bytes(text, _BLOCK, _BLOCK, 0, 0, zlib.crc32(_ZEROS)), text, _ZEROS]


def _gone_on(head: _Head) -> bytes:
    """The head of a block that was the end: its body is one block longer, and the container goes on behind."""
    longer = _BATCH.pack(
        _MARKER,
        head.header_size,
        2 * _BLOCK,
        2 * _BLOCK,
        0,
        0,
        0,
        head.header_sum,
        zlib.crc32(_ZEROS + _ZEROS),
        0,
    )[:-4]
    return longer + zlib.crc32(longer).to_bytes(4, "little")


def _write_all(file: io.FileIO, data: Any) -> None:
    rest = memoryview(data).cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]


@contextmanager
def _locked(path: str | os.PathLike[str]) -> Generator[io.FileIO]:
    """A file open for this writer alone; others that append wait here."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        with io.FileIO(number, "r+b") as file:
            _lock(number)
            # Somebody may have put another file in its place while this one was waited for.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(number), os.stat(path)):
                    yield file
                    return


def _lock(number: int) -> None:
    """Until the file is closed, or the process ends."""
    if sys.platform == "win32":
        import msvcrt
        import time

        os.lseek(number, (1 << 62) - 1, os.SEEK_SET)  # where no data are: a lock of Windows keeps readers out
        while True:
            try:
                msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
                break
            except OSError:
                time.sleep(0.05)
        os.lseek(number, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX)


# ---------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class _Head:
    """The head of a batch, its own checksum and all that it can say by itself checked."""

    at: int
    header_size: int
    size: int
    unpacked: int
    rows: int
    compression: int
    header_sum: int
    body_sum: int

    @property
    def body(self) -> int:
        return self.at + _BATCH.size + self.header_size

    @property
    def stop(self) -> int:
        return self.body + self.size


class _End(NamedTuple):
    goes_on: bool


class _Layout(NamedTuple):
    minor: int
    batches: list[_Head]
    end: _Head | None


def _check_prologue(raw: bytes | bytearray | memoryview) -> int:
    """The minor version."""
    start = bytes(raw[: _PROLOGUE.size])
    if not start.startswith(MAGIC):
        what = "nothing at all" if not start else f"beginning with {start[:8]!r}"
        if MAGIC.startswith(start) and start:
            raise CorruptData(f"a container that was cut off after {len(start)} bytes")
        if start[:1] + start[3:4] == MAGIC[:1] + MAGIC[3:4] or start[1:4] == MAGIC[1:4]:
            raise CorruptData(f"a container that was changed on its way, as text perhaps: {what}")
        raise UnsupportedFormat(f"no container of docarray, but {what}")
    if len(start) < _PROLOGUE.size:
        raise CorruptData(f"a container that was cut off after {len(start)} bytes")
    _, major, minor, flags = cast("tuple[bytes, int, int, int]", _PROLOGUE.unpack(start))
    if major != VERSION[0] or flags:
        raise UnsupportedFormat(
            f"a container of format {major}.{minor} (flags {flags:#x}); this is {LIBRARY}, which reads format "
            f"{VERSION[0]}: a newer version is needed"
        )
    return minor


def _check_may_end(minor: int, batches: int) -> None:
    """Whether the bytes may stop behind so many batches without a block that says so."""
    if not batches:
        raise CorruptData("the container was cut off before its first batch")
    if minor:
        raise CorruptData(f"the container was cut off behind {batches} batches: its end is missing")


def _head(raw: bytearray | memoryview, at: int) -> _Head:
    if len(raw) < _BATCH.size:
        raise CorruptData("the bytes end within the head of a batch: they were cut off")
    marker, header_size, size, unpacked, rows, code, flags, header_sum, body_sum, head_sum = cast(
        "tuple[bytes, int, int, int, int, int, int, int, int, int]", _BATCH.unpack(raw)
    )
    if marker != _MARKER or zlib.crc32(raw[:-4]) != head_sum:
        raise CorruptData(f"this is no head of a batch: {_UNCHECKED}")
    if code not in _NAMES:
        raise UnsupportedFormat(
            f"it is compressed with something unknown (code {code}), which {LIBRARY} does not read: "
            "a newer version is needed"
        )
    if flags:
        raise UnsupportedFormat(
            f"it has the flags {flags:#x}, which {LIBRARY} does not know: a newer version is needed"
        )
    if (
        header_size > _LONGEST_HEADER
        or header_size % _BLOCK
        or size % _BLOCK
        or unpacked % _BLOCK
        or (not code and unpacked != size)
    ):
        raise CorruptData(
            f"it announces {header_size} bytes of header and {size} of body ({unpacked} unpacked), which cannot be"
        )
    return _Head(at, header_size, size, unpacked, rows, code, header_sum, body_sum)


def _head_at(view: memoryview, at: int) -> _Head:
    head = _head(view[at : at + _BATCH.size], at)
    left = len(view) - at - _BATCH.size
    if head.header_size + head.size > left:
        raise CorruptData(
            f"it announces {head.header_size + head.size} bytes and {left} are there: they were cut off"
        )
    return head


def _header(head: _Head, view: memoryview) -> dict[str, Any]:
    """The header, of a view of all bytes or of the header alone."""
    start = 0 if len(view) == head.header_size else head.at + _BATCH.size
    raw = bytes(view[start : start + head.header_size])
    if zlib.crc32(raw) != head.header_sum:
        raise CorruptData(f"the header is not what its checksum says: {_UNCHECKED}")
    with _malformed():
        known = json.loads(raw.decode())
        if not isinstance(known, dict):
            raise TypeError(f"a {type(known).__name__}")
        return cast("dict[str, Any]", known)


@contextmanager
def _malformed() -> Generator[None]:
    """What goes wrong in a header that is not what it should be."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        if isinstance(error, FormatError):
            if type(error) is not FormatError:
                raise
            raise CorruptData(str(error)) from None
        raise CorruptData(f"the header is malformed: {error!r:.200}") from None


def _check_body(head: _Head, body: memoryview) -> None:
    if zlib.crc32(body) != head.body_sum:
        raise CorruptData(f"the body is not what its checksum says: {_UNCHECKED}")


def _end_of(known: dict[str, Any], head: _Head, batches: int, rows: int) -> _End | None:
    """What the block says, if it is one that ends a container, or once did; what it counts is compared."""
    if head.rows or head.compression or "end" not in known:
        return None
    counted = known["end"]
    if counted != {"batches": batches, "rows": rows} or head.size not in (_BLOCK, 2 * _BLOCK):
        raise CorruptData(
            f"the end says {counted!r:.80} where {batches} batches of {rows} rows are: some are missing"
        )
    return _End(head.size == 2 * _BLOCK)


def _layout(view: memoryview) -> _Layout:
    """Where the batches are. Their heads are read, and the headers of those that have no rows."""
    minor = _check_prologue(view)
    found = _Layout(minor, [], None)
    for head, end in _walk(view, minor):
        if end is None:
            found.batches.append(head)
        elif not end.goes_on:
            return _Layout(minor, found.batches, head)
    return found


def _walk(view: memoryview, minor: int) -> Iterator[tuple[_Head, _End | None]]:
    """The batches and the ends of a container one after the other, up to the last end."""
    batches = rows = 0
    at = _PROLOGUE.size
    while True:
        with _placed(batches, at):
            if at == len(view):
                _check_may_end(minor, batches)
                return
            head = _head_at(view, at)
            end = None
            if not head.rows and not head.compression:
                end = _end_of(_header(head, view), head, batches, rows)
            if end is not None:
                _check_body(head, view[head.body : head.stop])
                behind = view[head.stop : head.stop + _BLOCK]
                if not end.goes_on and behind != _ZEROS[: len(behind)]:
                    raise CorruptData(
                        f"{len(view) - head.stop} bytes stand behind the end of the container, at byte {head.stop}"
                    )
        yield head, end
        if end is None:
            batches += 1
            rows += head.rows
        elif not end.goes_on:
            return
        at = head.stop


def _joined(view: memoryview, *, verify: bool, max_size: int | None, recover: bool) -> Table:
    minor = _check_prologue(view)
    tables: list[Table] = []
    left = compression.limit_of(len(view), max_size)  # for all together: they are held together
    try:
        for head, end in _walk(view, minor):
            if end is None:
                with _placed(len(tables), head.at):
                    tables.append(_read_batch(head, view, verify, left))
                left -= head.unpacked if head.compression else 0
    except CorruptData:
        if not recover or not tables:
            raise
    return Table.concat(tables)


def _layout_of(file: io.FileIO) -> _Layout:
    """The layout of a file that is going to be written to: nothing of it stays mapped."""
    import mmap

    return _layout(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def _read_batch(head: _Head, view: memoryview, verify: bool, limit: int) -> Table:
    body = view[head.body : head.stop]
    known = _header(head, view)
    if verify or head.compression:
        _check_body(head, body)
    return _table(head, known, body, limit)


def _table(head: _Head, known: dict[str, Any], body: memoryview, limit: int) -> Table:
    """The table of a batch whose checksums were verified, as far as they are going to be."""
    with _malformed():
        if head.compression:
            body = memoryview(_unpacked(head, known, body, limit))
        table = Table.from_buffers(known["form"], _cut(known["buffers"], body))
    if len(table) != head.rows:
        raise CorruptData(f"it holds {len(table)} rows where {head.rows} were announced")
    return table


class _Window:
    """The packed bytes as a file, without a copy of all of them."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def read(self, count: int) -> bytes:
        part, self._view = bytes(self._view[:count]), self._view[count:]
        return part


def _unpacked(head: _Head, known: Mapping[str, Any], body: memoryview, limit: int) -> bytearray:
    """The body as it was; memory grows with what comes out, and stops at what was announced."""
    size = known["packed"]
    if type(size) is not int or not 0 < size <= head.size < size + _BLOCK:
        raise CorruptData(f"it has {size!r:.60} packed bytes in a body of {head.size}, which cannot be")
    if head.unpacked > limit:
        raise CorruptData(
            f"{head.size} bytes that unpack to {head.unpacked}, where {limit} are allowed: give max_size= if that "
            "is meant"
        )
    out = bytearray()
    with compression.reader(cast("BinaryIO", _Window(body[:size])), _NAMES[head.compression]) as stream:
        while part := stream.read(min(_STEP, head.unpacked - len(out) + 1)):
            out += part
            if len(out) > head.unpacked:
                raise CorruptData(f"it unpacks to more than the {head.unpacked} bytes that were announced")
    if len(out) != head.unpacked:
        raise CorruptData(f"it unpacks to {len(out)} bytes where {head.unpacked} were announced")
    return out


class _Stream:
    """A binary file read front to back, and how far that is; what is announced is not allocated before it comes."""

    def __init__(self, stream: BinaryIO) -> None:
        if isinstance(cast("object", stream), io.TextIOBase) or not hasattr(stream, "read"):
            raise FieldTypeError(f"a file opened in binary mode is wanted; got {stream!r:.80}")
        self._stream = stream
        self.at = 0

    def some(self, count: int) -> bytearray:
        """So many bytes, or all there are."""
        out = bytearray()
        while len(out) < count:  # a stream without a buffer may give less than it is asked for
            part = self._stream.read(min(count - len(out), _STEP))
            if not isinstance(cast("object", part), bytes):
                raise FieldTypeError(
                    f"a file opened in binary mode is wanted; {self._stream!r:.80} gave {part!r:.20}"
                )
            if not part:
                break
            out += part
        self.at += len(out)
        return out

    def exactly(self, count: int, what: str) -> bytearray:
        found = self.some(count)
        if len(found) != count:
            raise CorruptData(
                f"it announces {count} bytes of {what} and {len(found)} are there: they were cut off"
            )
        return found


def _cut(index: Iterable[tuple[object, object, object]], body: memoryview) -> dict[str, memoryview]:
    """The buffers by name: aligned, in the order in which they lie, and none on top of another."""
    buffers: dict[str, memoryview] = {}
    end = 0
    for name, offset, length in index:
        if not isinstance(name, str) or type(offset) is not int or type(length) is not int:
            raise CorruptData(f"a buffer is announced as {name!r:.60}, {offset!r:.60}, {length!r:.60}")
        if (
            name in buffers
            or offset % _BLOCK
            or length < 0
            or not end <= offset <= offset + length <= len(body)
        ):
            raise CorruptData(
                f"buffer {name!r:.200} does not lie where it could: byte {offset}, {length} long"
            )
        end = offset + length
        buffers[name] = body[offset:end]
    return buffers


@contextmanager
def _placed(number: int, at: int) -> Generator[None]:
    """Errors say in which batch they are, and where that begins."""
    try:
        yield
    except FormatError as error:
        kind = CorruptData if type(error) is FormatError else type(error)
        raise kind(f"batch {number} of a container, at byte {at}: {error}") from error.__cause__


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Generator[None]:
    try:
        yield
    except FormatError as error:
        raise type(error)(f"{os.fspath(path)!r}: {error}") from error.__cause__


FORMAT: Final = Container()
