"""The old stream of documents: what is counted, measured and packed, with any record format, and what lies about it."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from everything import difference
from hypothesis import given
from hypothesis import strategies as st
from test_wire import CASES, records, unset

from docarray import compression
from docarray.errors import BadValue, CorruptData, FieldTypeError, UnknownName, Unsupported, UnsupportedFormat
from docarray.format import Format
from docarray.records import Record, records_of, table_of
from docarray.serialization import stream as module
from docarray.serialization.protobuf import STREAM, EachProtobuf
from docarray.serialization.stream import Stream
from docarray.table import Table

NAMES = [None, *Stream.compressions]
TWO = table_of([{"id": "a", "text": "hi"}, {"id": "b", "tags": {"x": 1}}])


class JsonDocument(Format):
    """A record format that knows nothing but records."""

    name = "json-document"

    def dumps(self, table: Table, **options: Any) -> bytes:
        raise NotImplementedError

    def loads(self, data: memoryview, **options: Any) -> Table:
        raise NotImplementedError

    def dumps_record(self, record: Record, *, upper: bool = False, **options: Any) -> bytes:
        text = json.dumps(record)
        return (text.upper() if upper else text).encode()

    def loads_record(self, data: memoryview, **options: Any) -> Record:
        try:
            return json.loads(bytes(data))
        except ValueError as error:
            raise CorruptData(str(error)) from None

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"{")


JSON = Stream("json-stream", JsonDocument(), (".jsons",), is_chosen=False)


class Pipe(io.RawIOBase):
    """What can neither be sought in nor gives all that it is asked for."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = 3 if size < 0 else min(size, 3)
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


@CASES
@given(st.lists(records(2), max_size=4), st.sampled_from(NAMES), st.booleans())
def test_documents_come_back(documents, name, told):
    table = table_of(documents)
    known = [unset(record) for record in records_of(table)]
    data = STREAM.dumps(table, compress=name)
    compress = name if told else None
    assert difference(known, records_of(STREAM.loads(memoryview(data), compress=compress))) is None
    read = [row for part in STREAM.read(io.BytesIO(data), compress=compress) for row in records_of(part)]
    assert difference(known, read) is None


@pytest.mark.parametrize("name", NAMES)
def test_any_record_format(name):
    data = JSON.dumps(TWO, compress=name)
    assert struct.pack(">BQ", 1, 2) == data[:9]
    assert difference(TWO, JSON.loads(memoryview(data), compress=name)) is None
    assert difference(TWO, JSON.loads(memoryview(data))) is None
    assert (JSON.name, JSON.suffixes, JSON.is_chosen) == ("json-stream", (".jsons",), False)
    assert b'{"ID": "A"}' == JSON.dumps_record({"id": "a"}, upper=True)
    with pytest.raises(TypeError):
        STREAM.dumps(TWO, upper=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_record_by_itself_has_no_head(name):
    record = {"id": "a", "text": "hi"}
    data = STREAM.dumps_record(record, compress=name)
    assert EachProtobuf().dumps_record(record) == compression.decompress(data, name)
    assert record == STREAM.loads_record(memoryview(data), compress=name)


def test_nothing_at_all():
    for data in (STREAM.dumps(Table({}, 0, [])), STREAM.dumps(Table({}, 0, []), compress="lz4")):
        assert "010000000000000000" == data.hex()
        assert 0 == len(STREAM.loads(memoryview(data)))
        assert [0] == [len(table) for table in STREAM.read(io.BytesIO(data))]
        assert STREAM.guesses(data)


# --- how many there are --------------------------------------------------------------------------------------------


def tables() -> Iterator[Table]:
    yield TWO
    yield Table({}, 0, [])
    yield TWO


FOUR = STREAM.dumps(Table.concat([TWO, TWO]))


def test_the_number_is_written_when_it_is_known():
    for given_ in (list(tables()), tuple(tables())):
        out = Pipe()
        STREAM.write(given_, out)
        assert FOUR == out.data


def test_the_number_is_put_in_at_the_end():
    out = io.BytesIO(b"before")
    out.seek(6)
    STREAM.write(tables(), out)
    assert b"before" + FOUR == out.getvalue()
    assert len(out.getvalue()) == out.tell()


def test_a_pipe_has_to_be_told():
    with pytest.raises(BadValue, match="total="):
        STREAM.write(tables(), Pipe())
    out = Pipe()
    STREAM.write(tables(), out, total=4)
    assert FOUR == out.data
    with pytest.raises(BadValue, match="4 documents came where total=5"):
        STREAM.write(tables(), Pipe(), total=5)


def test_pieces_are_read_as_they_come(monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    table = table_of([{"id": str(i)} for i in range(30)])
    data = STREAM.dumps(table)
    read = list(STREAM.read(Pipe(data)))
    assert [7, 7, 7, 7, 2] == list(map(len, read))
    assert table.ids == [key for part in read for key in part.ids]
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", 10)
    assert max(map(len, STREAM.read(Pipe(data)))) < 7


def test_writing_and_reading_take_the_memory_of_a_piece(tmp_path):
    piece = table_of([{"id": str(i), "embedding": np.zeros(1000, np.float32)} for i in range(500)])
    path = tmp_path / "many"
    tracemalloc.start()
    with open(path, "wb") as out:
        STREAM.write((piece for _ in range(40)), out)
    with open(path, "rb") as opened:
        count = sum(map(len, STREAM.read(opened)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 20_000 == count
    assert peak < path.stat().st_size / 4


# --- what lies -----------------------------------------------------------------------------------------------------


def refuse(
    data: bytes, error: type[Exception] = CorruptData, match: str | None = None, **options: Any
) -> None:
    with pytest.raises(error, match=match):
        STREAM.loads(memoryview(data), **options)
    with pytest.raises(error, match=match):
        list(STREAM.read(io.BytesIO(data), **options))


@pytest.mark.parametrize("name", NAMES)
def test_streams_cut_off_at_every_byte(name):
    data = STREAM.dumps(TWO, compress=name)
    for size in range(len(data)):
        refuse(data[:size], match="byte")
        refuse(data[:size], match="byte", compress=name)


def test_other_versions_are_refused():
    data = STREAM.dumps(TWO)
    for first in (b"\x00", b"\x02", b"\xff"):
        refuse(first + data[1:], UnsupportedFormat, "byte 1")


def test_documents_behind_the_last():
    refuse(STREAM.dumps(TWO) + b"\0", match="more behind")
    refuse(struct.pack(">BQ", 1, 1) + STREAM.dumps(TWO)[9:], match="more behind")


@pytest.mark.parametrize("count", [3, 2**60, 2**64 - 1])
def test_documents_that_are_only_announced(count):
    refuse(struct.pack(">BQ", 1, count) + STREAM.dumps(TWO)[9:])


def test_lengths_that_are_only_announced():
    data = struct.pack(">BQI", 1, 1, 2**32 - 1) + b"\x0a\x01a"
    tracemalloc.start()
    refuse(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_documents_of_no_length():
    assert 3 == len(STREAM.loads(memoryview(struct.pack(">BQIII", 1, 3, 0, 0, 0))))
    refuse(struct.pack(">BQI", 1, 1, 0), compress="gzip")


@pytest.mark.parametrize("name", Stream.compressions)
def test_documents_that_are_packed_otherwise(name):
    data = bytearray(STREAM.dumps(TWO, compress=name))
    other = "gzip" if name != "gzip" else "bz2"
    refuse(bytes(data), compress=other)
    data[-1] ^= 0xFF
    data[-3] ^= 0xFF
    refuse(bytes(data), compress=name)
    refuse(STREAM.dumps(TWO), compress=name)


@pytest.mark.parametrize("name", Stream.compressions)
def test_bombs(name):
    bomb = STREAM.dumps(table_of([{"id": "a", "blob": bytes(1 << 24)}]), compress=name)
    tracemalloc.start()
    refuse(bomb, match="document 0 of 1", compress=name, max_size=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24  # lzma has a dictionary of 8 MiB


@pytest.mark.parametrize("name", ["gzip", "lzma"])
def test_many_small_bombs(name):
    """Each is within what one document may be, and all together are not."""
    table = table_of([{"id": str(i), "blob": bytes(1 << 16)} for i in range(40)])
    data = STREAM.dumps(table, compress=name)
    with pytest.raises(CorruptData, match="document 15 of 40"):
        STREAM.loads(memoryview(data), compress=name, max_size=1 << 20)
    assert 40 == sum(map(len, STREAM.read(io.BytesIO(data), compress=name, max_size=1 << 20)))


def test_damaged_documents_are_named():
    data = (
        struct.pack(">BQ", 1, 2) + struct.pack(">I", 3) + b"\x0a\x01a" + struct.pack(">I", 3) + b"\x0a\x05a"
    )
    refuse(data, match="document 1")


def test_options_that_there_are_not():
    with pytest.raises(UnknownName, match="lz4"):
        STREAM.dumps(TWO, compress="lz5")
    with pytest.raises(UnknownName, match="lz4"):
        STREAM.loads(memoryview(FOUR), compress="lz5")


def test_values_that_cannot_be_said_are_named():
    with pytest.raises(FieldTypeError, match="document 'a'"):
        STREAM.dumps(
            Table({"tags": TWO.columns["tags"]}, ids=["x", "a"]).take(np.array([1])), exact=False
        ) and (STREAM.dumps(table_of([{"id": "a", "tags": {"x": b""}}]), exact=False))


def test_a_document_beyond_four_gigabytes(monkeypatch):
    class Huge(bytes):
        def __len__(self) -> int:
            return 1 << 32

    monkeypatch.setattr(EachProtobuf, "dumps_each", lambda *_, **__: [b"", Huge()])
    with pytest.raises(Unsupported, match="document 'b' takes 4294967296 bytes"):
        STREAM.dumps(TWO)


def test_a_guess_says_no_to_other_bytes():
    for head in (
        b"",
        b"\x01",
        bytes(64),
        b"\x01" * 64,
        b"\x01" + bytes(7) + b"\x01" + bytes(3) + b"\x05{abcd",
        FOUR[:10],
    ):
        assert not STREAM.guesses(head)
        assert not STREAM.recognises(head)
