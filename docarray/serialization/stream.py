"""The old stream of documents: a version, how many there are, and then each by itself with its length before it.

    byte 0          the version, 1
    bytes 1 to 8    the number of documents, big-endian
    then, for each  4 bytes with its length, big-endian, and the document, compressed by itself where that was asked for

Rule 1: what a document is, is the business of the record format; the stream only packs.
Rule 2: numbers and lengths that are read are announcements: memory grows with what has come, never with what is said.
Rule 3: nothing in the bytes names the compression. Without `compress` it is known by how the first document begins.
"""

from __future__ import annotations

import io
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO, Final, Protocol, cast

import numpy as np

from docarray import compression
from docarray.errors import BadValue, CorruptData, Unsupported, UnsupportedFormat
from docarray.format import Format
from docarray.records import Record, records_of, table_of
from docarray.table import Table
from docarray.tensors import Array

__all__ = ["EachRecord", "RecordFormat", "Stream"]

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BQ")
_SIZE: Final = struct.Struct(">I")
_LONGEST: Final = (1 << 32) - 1
_AT_ONCE: Final = 1024  # documents of a table
_BYTES_AT_ONCE: Final = 1 << 25
_STEP: Final = 1 << 20
_ZLIB: Final = 0x78


class RecordFormat(Protocol):
    """What says one document as bytes; many at a time, as it may be faster so."""

    def dumps_each(self, table: Table, **options: Any) -> Sequence[bytes]:
        """Each row as bytes."""
        ...

    def loads_each(self, data: memoryview, starts: Array, stops: Array, **options: Any) -> Table:
        """The rows of what `dumps_each` gave: (n,) int64, where each begins in `data`, and the byte behind it."""
        ...

    def dumps_record(self, record: Record, **options: Any) -> bytes:
        """One document as bytes."""
        ...

    def loads_record(self, data: memoryview, **options: Any) -> Record:
        """The document that `dumps_record` wrote."""
        ...

    def guesses(self, head: bytes) -> bool:
        """Whether bytes that begin so may be a document."""
        ...


class EachRecord:
    """A `Format` that knows single documents, as a record format: it goes through the rows one by one."""

    def __init__(self, form: Format) -> None:
        self._form = form

    def dumps_each(self, table: Table, **options: Any) -> list[bytes]:
        """Each row as bytes."""
        return [self._form.dumps_record(record, **options) for record in records_of(table)]

    def loads_each(self, data: memoryview, starts: Array, stops: Array, **options: Any) -> Table:
        """The rows of what `dumps_each` gave."""
        spans = zip(starts.tolist(), stops.tolist(), strict=True)
        return table_of([self._form.loads_record(data[a:b], **options) for a, b in spans])

    def dumps_record(self, record: Record, **options: Any) -> bytes:
        """One document as bytes."""
        return self._form.dumps_record(record, **options)

    def loads_record(self, data: memoryview, **options: Any) -> Record:
        """The document that `dumps_record` wrote."""
        return self._form.loads_record(data, **options)

    def guesses(self, head: bytes) -> bool:
        """Whether bytes that begin so may be a document."""
        return self._form.recognises(head) or self._form.guesses(head)


class Stream(Format):
    """Documents one after the other, each with its length before it and, with `compress`, packed by itself.

    Options of all methods: `compress`, one of `compressions` or None, and those of the record format. Reading takes
    `max_size` also: how many bytes one document may unpack to, or all together where they are read at once. What a
    document cannot say here says its record format; one of 4 GiB and more it cannot.

    A record by itself (`dumps_record`) is the document alone, without a head.
    """

    compressions: tuple[str, ...] = ("lz4", "gzip", "bz2", "lzma", "zlib")
    is_limited = True

    def __init__(
        self,
        name: str,
        record_format: RecordFormat | Format,
        suffixes: tuple[str, ...] = (),
        is_chosen: bool = True,
    ) -> None:
        """
        Args:
            name: what it is called in `to_bytes(protocol=...)`.
            record_format: what says one document as bytes.
            suffixes: of file names that mean it.
            is_chosen: whether content alone may choose it.
        """
        each = EachRecord(record_format) if isinstance(record_format, Format) else record_format
        self._each: RecordFormat = each
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]
        self.suffixes = suffixes  # pyright: ignore[reportAttributeAccessIssue]
        self.is_chosen = is_chosen  # pyright: ignore[reportAttributeAccessIssue]

    # ------------------------------------------------------------------------------------------ writing

    def dumps(self, table: Table, *, compress: str | None = None, **options: Any) -> bytes:
        """The table as bytes.

        Raises:
            FieldTypeError, Unsupported: a document has a value that cannot be said; the message names it.
        """
        out = io.BytesIO()
        self.write([table], out, compress=compress, **options)
        return out.getvalue()

    def dumps_record(self, record: Record, *, compress: str | None = None, **options: Any) -> bytes:
        """One document as bytes, without head and length."""
        return compression.compress(self._each.dumps_record(record, **options), compress)

    def write(
        self,
        tables: Iterable[Table],
        stream: BinaryIO,
        *,
        compress: str | None = None,
        total: int | None = None,
        **options: Any,
    ) -> None:
        """Writes the rows of tables one after the other; memory is that of a thousand documents.

        Args:
            tables: a sequence, or anything to go through once.
            stream: a binary file at its position.
            compress: a compression for each document.
            total: how many documents will come. It stands before them: a file that can be sought in gets it at the
                end, where it is not given.
            options: of the record format.

        Raises:
            BadValue: `total` is not the number that came; or it is not given, and the file is a pipe or a socket.
            FieldTypeError, Unsupported: a document has a value that cannot be said; the message names it.
        """
        name = compression.named(compress)
        start = None
        if total is None and isinstance(tables, Sequence):
            total = sum(map(len, tables))
        if total is None:
            if not stream.seekable():
                raise BadValue(
                    "the number of documents stands before them, and this file cannot be sought in: give it as `total=`"
                )
            start = stream.tell()
        stream.write(_HEAD.pack(_VERSION, total or 0))
        count = 0
        for table in tables:
            for first in range(0, len(table), _AT_ONCE):
                cut = table.slice(first, min(first + _AT_ONCE, len(table)))
                parts = self._each.dumps_each(cut, **options)
                if name is not None:
                    parts = [compression.compress(part, name) for part in parts]
                try:
                    sizes = list(map(_SIZE.pack, map(len, parts)))
                except struct.error:
                    row = next(row for row, part in enumerate(parts) if len(part) > _LONGEST)
                    raise Unsupported(
                        f"document {cut.ids[row]!r} takes {len(parts[row])} bytes, and this stream has 4 GiB for one: "
                        "use the format 'binary'"
                    ) from None
                stream.write(b"".join(chain.from_iterable(zip(sizes, parts, strict=True))))
                count += len(parts)
        if start is not None:
            end = stream.tell()
            stream.seek(start)
            stream.write(_HEAD.pack(_VERSION, count))
            stream.seek(end)
        elif count != total:
            raise BadValue(
                f"{count} documents came where total={total} was said; the file says {total}, and is wrong"
            )

    # ------------------------------------------------------------------------------------------ reading

    def recognises(self, head: bytes) -> bool:
        """False: it has no mark of its own."""
        return False

    def guesses(self, head: bytes) -> bool:
        """Whether bytes that begin so may be such a stream: by version, number, and the first document."""
        if len(head) < _HEAD.size or head[0] != _VERSION:
            return False
        count = _HEAD.unpack_from(head)[1]
        if count == 0 or len(head) < _HEAD.size + _SIZE.size + 2:
            return count == 0 and len(head) == _HEAD.size
        first = head[_HEAD.size + _SIZE.size :]
        return count < 1 << 48 and (_packed_with(first) is not None or self._each.guesses(first))

    def loads(
        self, data: memoryview, *, compress: str | None = None, max_size: int | None = None, **options: Any
    ) -> Table:
        """The table that `dumps` wrote.

        Raises:
            CorruptData: the bytes are damaged; the message says at which. UnsupportedFormat: they are others.
        """
        if compress is None:
            count, starts, stops = _spans(data)
            if not count:
                return Table({}, 0, [])
            first = bytes(data[int(starts[0]) : int(starts[0]) + 64])
            if self._each.guesses(first) or _packed_with(first) is None:
                return self._each.loads_each(data, starts, stops, **options)
        budget = compression.limit_of(len(data), max_size)
        tables = self._read(cast("BinaryIO", _View(data)), compress, max_size, budget, options)
        return Table.concat(list(tables))

    def loads_record(
        self, data: memoryview, *, compress: str | None = None, max_size: int | None = None, **options: Any
    ) -> Record:
        """The document that `dumps_record` wrote."""
        name = compression.named(compress)
        if name is not None:
            data = memoryview(compression.decompress(data, name, max_size))
        return self._each.loads_record(data, **options)

    def read(
        self,
        stream: BinaryIO,
        *,
        compress: str | None = None,
        max_size: int | None = None,
        **options: Any,
    ) -> Iterator[Table]:
        """Tables of up to a thousand documents, as they are asked for; memory is that of one.

        Raises:
            CorruptData: the bytes are damaged; the message says at which. UnsupportedFormat: they are others.
        """
        yield from self._read(stream, compress, max_size, None, options)

    def _read(
        self,
        stream: BinaryIO,
        compress: str | None,
        max_size: int | None,
        budget: int | None,
        options: dict[str, Any],
    ) -> Iterator[Table]:
        """As `read`; no more than `budget` bytes come out of all documents together."""
        name = compression.named(compress)
        head = _exactly(stream, _HEAD.size, 0, "the head")
        version, count = _HEAD.unpack(head)
        if version != _VERSION:
            raise UnsupportedFormat(
                f"a stream of documents begins with the byte 1; these bytes with {head!r}"
            )
        at, seen = _HEAD.size, 0
        parts: list[bytes] = []
        size = 0
        while seen < count:
            where = f"document {seen} of {count}"
            (length,) = _SIZE.unpack(_exactly(stream, _SIZE.size, at, where))
            part = _exactly(stream, length, at + _SIZE.size, where)
            if name is None and not seen and not self._each.guesses(part):
                name = _packed_with(part)
            if name is not None:
                limit = compression.limit_of(length, max_size)
                try:
                    part = compression.decompress(part, name, limit if budget is None else min(limit, budget))
                except CorruptData as error:
                    raise CorruptData(f"byte {at}: {where}: {error}") from None
                budget = None if budget is None else budget - len(part)
            parts.append(part)
            seen += 1
            size += len(part)
            at += _SIZE.size + length
            if len(parts) == _AT_ONCE or size >= _BYTES_AT_ONCE:
                yield self._table(parts, seen, options)
                parts, size = [], 0
        if stream.read(1):
            raise CorruptData(f"byte {at}: {count} documents were announced, and there is more behind them")
        if parts or not count:
            yield self._table(parts, seen, options)

    def _table(self, parts: list[bytes], seen: int, options: dict[str, Any]) -> Table:
        if not parts:
            return Table({}, 0, [])
        stops = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        starts = np.concatenate([np.zeros(1, np.int64), stops[:-1]])
        try:
            return self._each.loads_each(memoryview(b"".join(parts)), starts, stops, **options)
        except CorruptData as error:
            raise CorruptData(f"of the documents from number {seen - len(parts)} on: {error}") from None


def _spans(data: memoryview) -> tuple[int, Array, Array]:
    """How many documents there are, where each begins and the byte behind it."""
    if len(data) < _HEAD.size:
        raise CorruptData(f"byte 0: the head should take {_HEAD.size} bytes and {len(data)} are there")
    version, count = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise UnsupportedFormat(
            f"a stream of documents begins with the byte 1; these with {bytes(data[:9])!r}"
        )
    at, end = _HEAD.size, len(data)
    starts, stops = array("q"), array("q")
    length = _SIZE.unpack_from
    while at < end:
        if end - at < _SIZE.size or (size := length(data, at)[0]) > end - at - _SIZE.size:
            raise CorruptData(f"byte {at}: document {len(starts)} of {count} was cut off")
        starts.append(at + 4)
        at += 4 + size
        stops.append(at)
        if len(stops) == count:
            break
    if len(stops) < count:
        raise CorruptData(f"byte {at}: {count} documents were announced and {len(stops)} are there")
    if at < end:
        raise CorruptData(f"byte {at}: {count} documents were announced, and there is more behind them")
    return count, np.frombuffer(starts, np.int64), np.frombuffer(stops, np.int64)


def _packed_with(head: bytes) -> str | None:
    """The compression of a document that begins so."""
    if len(head) > 1 and head[0] == _ZLIB and (head[0] << 8 | head[1]) % 31 == 0:
        return "zlib"
    return compression.recognised(head)


def _exactly(stream: Any, size: int, at: int, what: str) -> bytes:
    """So many bytes of a stream, read step by step: what is announced may not be there."""
    data = stream.read(min(size, _STEP))
    if len(data) == size:
        return data
    parts = [data]
    have = len(data)
    while have < size:
        data = stream.read(min(size - have, _STEP))
        if not data:
            raise CorruptData(
                f"byte {at}: {what} should take {size} bytes and {have} are there: it was cut off"
            )
        parts.append(data)
        have += len(data)
    return b"".join(parts)


class _View:
    """Bytes in memory as a file to read from, without a copy of them all."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def read(self, size: int) -> bytes:
        data = bytes(self._data[self._at : self._at + size])
        self._at += len(data)
        return data
