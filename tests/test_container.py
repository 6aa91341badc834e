"""The native container: what goes in comes out, the bytes stay what docs/format.md says, and nothing else is believed.

`python tests/test_container.py` writes the golden file anew: only when a new format is added beside the old one.
"""

from __future__ import annotations

import copy
import io
import json
import math
import os
import pickle
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
from everything import alike_array, difference, everything, everything_array, rows_of, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from test_columns import junk, places, replaced
from test_table import touch_all

import docarray
from docarray import Document, DocumentArray, compression, files
from docarray.columns import column_of, tensor_column
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    FormatError,
    OutOfRange,
    UnknownName,
    UnsupportedFormat,
)
from docarray.serialization import container
from docarray.serialization.container import FORMAT, MAGIC, append
from docarray.table import DocsColumn, Table

GOLDEN = Path(__file__).parent / "data" / "v1.docarray"
GOLDEN_1_1 = GOLDEN.with_name("v1_1.docarray")
PROLOGUE = struct.Struct("<8sHHI")
BATCH = struct.Struct("<4sIQQQHHIII")


dumps, loads = FORMAT.dumps, FORMAT.loads


def save(table, file, compress=None):
    with files.writing(file) as stream:
        FORMAT.write([table], stream, compress=compress)


def load(file, **options):
    if isinstance(file, str | os.PathLike):
        return FORMAT.load(file, **options)
    options.pop("verify", None)
    return Table.concat(list(FORMAT.read(file, **options)))


def sample() -> Table:
    child = Table({"text": column_of("text", ["x", "y", "z"])}, ids=["c1", "c2", "c3"])
    return Table(
        {
            "text": column_of("text", ["a", None, "ö"]),
            "tags": column_of("json", [{"a": 1}, None, {"b": [b"x"]}]),
            "embedding": tensor_column([np.ones(4, np.float32)] * 3),
            "tensor": tensor_column([np.ones(2), None, [[1], [2, 3]]]),
            "chunks": DocsColumn(np.array([0, 2, 2, 3]), child),
        },
        ids=["1", "2", "3"],
    )


def packed(header: Any, body: bytes, rows: int, text: bytes | None = None, **changes: Any) -> bytes:
    """A container of one batch with right checksums, made without the code under test."""
    raw = json.dumps(header).encode() if text is None else text
    raw += b" " * (-len(raw) % 64)
    known = {
        "header_size": len(raw),
        "size": len(body),
        "unpacked": len(body),
        "rows": rows,
        "compression": 0,
        "flags": 0,
    }
    numbers = {**known, **{k: v for k, v in changes.items() if k in known}}
    sums = zlib.crc32(raw), zlib.crc32(body)
    head = BATCH.pack(changes.get("marker", b"\x89BAT"), *numbers.values(), *sums, 0)[:-4]
    prologue = PROLOGUE.pack(
        MAGIC, changes.get("major", 1), changes.get("minor", 0), changes.get("prologue_flags", 0)
    )
    end = ending({"batches": 1, "rows": rows}) if changes.get("minor") else b""
    return prologue + head + zlib.crc32(head).to_bytes(4, "little") + raw + body + end


def ending(counted: Any, blocks: int = 1) -> bytes:
    """The block that ends a container, made without the code under test."""
    return packed({**EMPTY, "end": counted}, bytes(64 * blocks), 0)[16:]


def batches_of(data: bytes) -> list[bytes]:
    """The batches of a container as they stand, ends left out."""
    found, at = [], 16
    while at < len(data):
        _, size, length, _, rows, *_ = BATCH.unpack_from(data, at)
        stop = at + BATCH.size + size + length
        if rows or "end" not in unpacked(data, at)[0]:
            found.append(data[at:stop])
        at = stop
    return found


ID = {"kind": "text", "layout": "flat", "length": 0}
EMPTY = {
    "form": {"length": 0, "columns": [["id", ID]]},
    "buffers": [["id.offsets", 0, 8], ["id.data", 64, 0]],
}


def unpacked(data: bytes, at: int = 16) -> tuple[Any, bytes, int]:
    """The header, the body and the number of rows of the batch at a byte."""
    _, size, length, _, rows, *_ = BATCH.unpack_from(data, at)
    start = at + BATCH.size + size
    return json.loads(data[at + BATCH.size : start]), data[start : start + length], rows


# --- round trips --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(tables())
def test_what_goes_in_comes_out(table):
    data = dumps(table)

    assert difference(rows_of(table), rows_of(loads(data))) is None
    assert dumps(loads(data)) == data


@settings(max_examples=30, deadline=None)
@given(
    st.lists(tables(levels=2, kinds={"text": "text", "tags": "json", "x": "number"}), min_size=1, max_size=4)
)
def test_batches_one_behind_the_other_are_joined(parts):
    """A batch says nothing of where it stands; version 1.0 had no end."""
    batches = [batch for part in parts for batch in batches_of(dumps(part))]
    counted = {"batches": len(parts), "rows": sum(map(len, parts))}

    for minor, end in ((0, b""), (1, ending(counted)), (0, ending(counted)), (7, ending(counted))):
        data = PROLOGUE.pack(MAGIC, 1, minor, 0) + b"".join(batches) + end
        assert difference(rows_of(Table.concat(parts)), rows_of(loads(data))) is None


def test_paths_and_file_objects_hold_the_same(tmp_path):
    path, stream = tmp_path / "a.docarray", io.BytesIO()
    save(sample(), path)
    save(sample(), str(tmp_path / "b.docarray"))
    save(sample(), stream)
    with open(tmp_path / "c.docarray", "wb") as file:
        save(sample(), file)

    expected = dumps(sample())
    assert expected == path.read_bytes() == (tmp_path / "b.docarray").read_bytes() == stream.getvalue()
    assert expected == (tmp_path / "c.docarray").read_bytes()
    stream.seek(0)
    for source in (path, str(path), stream):
        assert difference(sample(), load(source)) is None
    with path.open("rb") as file:
        assert difference(sample(), load(file)) is None


def test_a_file_object_is_read_from_where_it_stands(tmp_path):
    stream = io.BytesIO(b"before")
    stream.read()
    save(sample(), stream)
    stream.seek(6)

    assert difference(sample(), load(stream)) is None


def test_a_stream_that_takes_and_gives_little_at_a_time():
    class Trickle(io.RawIOBase):
        held = b""

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            count = min(5, len(buffer))
            part, self.held = self.held[:count], self.held[count:]
            buffer[: len(part)] = part
            return len(part)

        def write(self, data: Any) -> int:
            self.held += bytes(data[:7])
            return min(len(data), 7)

    stream = Trickle()
    save(sample(), stream)
    assert stream.held == dumps(sample())
    assert difference(sample(), load(stream)) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="never: no pipes with names here")
def test_a_pipe_is_read_and_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=save, args=(sample(), tmp_path / "pipe"))
    writer.start()
    found = load(tmp_path / "pipe")
    writer.join()

    assert difference(sample(), found) is None
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@pytest.mark.parametrize("table", [Table({}, 0), Table({}, 0, []), Table({}, 3, ["a", "b", "c"])], ids=len)
def test_tables_without_rows_or_columns(table):
    found = loads(dumps(table))

    assert (len(found), found.ids, list(found.columns)) == (len(table), table.ids, [])


# --- the bytes ----------------------------------------------------------------------------------------------------


def test_the_layout_is_that_of_the_page():
    """Read with nothing but struct and json."""
    data = dumps(sample())
    magic, major, minor, flags = PROLOGUE.unpack_from(data)
    marker, size, length, plain, rows, compression, more, header_sum, body_sum, head_sum = BATCH.unpack_from(
        data, 16
    )
    header, body, _ = unpacked(data)

    assert (magic, major, minor, flags) == (b"\x89DOC\r\n\x1a\n", 1, 1, 0)
    assert (marker, rows, compression, more) == (b"\x89BAT", 3, 0, 0)
    assert unpacked(data, 64 + size + length) == ({**EMPTY, "end": {"batches": 1, "rows": 3}}, bytes(64), 0)
    assert size % 64 == length % 64 == 0
    assert plain == length
    assert zlib.crc32(data[64 : 64 + size]) == header_sum
    assert zlib.crc32(body) == body_sum
    assert zlib.crc32(data[16:60]) == head_sum
    assert list(header) == ["library", "form", "buffers"]
    assert header["library"].startswith("docarray ")
    end = 0
    for _, offset, count in header["buffers"]:
        assert offset % 64 == 0
        assert body[end:offset].strip(b"\0") == b""
        assert offset - end < 64
        end = offset + count
    buffers = {name: body[offset : offset + count] for name, offset, count in header["buffers"]}
    assert difference(sample(), Table.from_buffers(header["form"], buffers)) is None


def test_arrays_are_aligned():
    column = loads(dumps(sample())).columns["embedding"]

    assert column.data.flags.aligned
    assert column.data.ctypes.data % 16 == 0


def golden() -> list[Table]:
    """What tests/data/v1.docarray holds, a batch each: every kind of column in every layout."""
    n = 12
    rare: list[Any] = [None] * n
    leaf = Table({"blob": column_of("bytes", [b"", b"\x00\xff", None])}, ids=["l1", "l2", "l3"])
    inner = Table(
        {"matches": DocsColumn(np.array([0, 1, 3]), leaf), "weight": column_of("number", [0.5, -0.0])},
        ids=["a", "b"],
    )
    columns = {
        "text": column_of("text", ["", "plain", None, "äöü 漢字 \U0001f600", "\ud800", *"abcdefg"]),
        "granularity": column_of("number", [*range(n - 1), -(2**63)]),
        "adjacency": column_of("number", [*range(n - 1), 2**64]),
        "weight": column_of("number", [math.nan, math.inf, -0.0, None, *map(float, range(n - 4))]),
        "flag": column_of("bool", [True, False, None] * 4),
        "tags": column_of("json", [{"price": float(i), "name": "x", "of": {"n": i}} for i in range(n)]),
        "_metadata": column_of("json", [{1: (2, b"3", {"$docarray": 4})}, *rare[1:]]),
        "scores": column_of("scores", [{"cosine": {"value": 0.5, "op_name": "cosine"}}] * n),
        "embedding": tensor_column([np.full((2, 3), i, "<f4") for i in range(n)]),
        "location": tensor_column([[1.0, 2.0]] * (n - 1) + [None]),
        "tensor": tensor_column(
            [
                np.array([1.5, math.nan], ">f8"),
                np.array(True),
                np.zeros((0, 2), "<i2"),
                np.array([1j], "<c8"),
                np.array(["2024-01-01"], "<M8[D]"),
                [[1], [2.5, True]],
                sparse.csr_array(np.array([[0, 1.5, 0]])),
                sparse.coo_matrix(np.array([[0, 1], [2, 0]], "<i4")),
                *rare[8:],
            ]
        ),
        "chunks": DocsColumn(np.array([0, *([1] * 10), 2, 2]), inner),
    }
    more = {"text": column_of("text", ["second batch"]), "uri": column_of("text", ["file.txt"])}
    return [Table(columns, ids=[f"{i:032x}" for i in range(n)]), Table(more, ids=["ü"])]


def golden_bytes() -> bytes:
    """One batch of each compression, then one that was appended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        save(golden()[0], path)
        append(path, golden(), compress="lz4")
        append(path, golden()[1:], compress="zstd")
        return path.read_bytes()


@pytest.mark.parametrize("path", [GOLDEN, GOLDEN_1_1], ids=lambda path: path.stem)
def test_the_golden_files_are_read_for_ever(path):
    first, second = golden()
    expected = [first, second] if path == GOLDEN else [first, first, second, second]
    for table in (
        load(path),
        load(path, verify=True),
        loads(path.read_bytes()),
        Table.concat(list(FORMAT.read(io.BytesIO(path.read_bytes())))),
        Table.concat(list(container.open(path))),
    ):
        assert difference(rows_of(Table.concat(expected)), rows_of(table)) is None


def test_the_golden_file_is_written_as_ever():
    """Other bytes are another format: give it a number, and keep this file beside the new one."""
    data, at = GOLDEN.read_bytes(), 16
    assert data[:10] == dumps(golden()[0])[:10]
    for table in golden():
        old, body, rows = unpacked(data, at)
        header, *rest = unpacked(dumps(table))
        assert rest == [body, rows]
        assert {**old, "library": ""} == {**header, "library": ""}
        at += sum(BATCH.unpack_from(data, at)[1:3]) + BATCH.size
    assert at == len(data)


def test_the_golden_file_opens_as_documents():
    da = DocumentArray.load(GOLDEN)

    assert len(da) == 13
    assert da[9].text == "e"
    assert da[3].tensor.dtype == np.complex64
    assert da[10].chunks[0].matches[:, "blob"] == [b"\x00\xff", b""]
    assert da[-1].uri == "file.txt"


# --- mapping ------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    alike_array().save(tmp_path / "da.docarray")
    return tmp_path / "da.docarray"


def test_reading_columns_makes_no_document(path):
    da = DocumentArray.load(path)

    assert len(da) == 50
    assert da[:, "text"][7] == "text 7"
    assert da[:, "tags__price"] == list(range(50))
    assert da.embeddings.shape == (50, 4)
    assert len(da.find({"tags__price": {"$lt": 5}})) == 5
    assert da._slots.rows is not None
    assert da._slots.rows.made == {}


def test_opening_reads_headers_only(path):
    """The body is nothing but damage, and opening does not see it."""
    data = bytearray(path.read_bytes())
    _, header, body, *_ = BATCH.unpack_from(data, 16)
    data[64 + header : 64 + header + body] = b"\xff" * body
    path.write_bytes(data)

    assert len(load(path)) == 50
    with pytest.raises(FormatError, match="body is not what its checksum says"):
        load(path, verify=True)
    with pytest.raises(FormatError, match="body is not what its checksum says"), path.open("rb") as file:
        load(file)


def test_arrays_of_a_mapped_file_can_be_written_to_and_the_file_stays(path):
    before = path.read_bytes()
    da = DocumentArray.load(path)
    da[0].embedding[0] = 5
    da[1].embedding += 1
    da[2].text = "another"

    assert da[0].embedding[0] == 5
    assert da.embeddings[:2].tolist() == [[5, 1, 2, 3], [5, 6, 7, 8]]
    assert path.read_bytes() == before
    assert DocumentArray.load(path)[0].embedding[0] == 0


def test_arrays_of_a_mapped_file_are_its_pages(path):
    """No copy, neither of the matrix nor of a row."""
    table = load(path)
    da = DocumentArray(table)
    matrix = table.columns["embedding"].data

    assert matrix.flags.writeable
    assert np.shares_memory(da.embeddings, matrix)
    assert np.shares_memory(da[3].embedding, matrix)


def test_a_file_can_be_saved_over_while_it_is_mapped(path):
    da = DocumentArray.load(path)
    da[0].text = "changed"
    da.save(path)

    assert da[1].text == "text 1"
    assert DocumentArray.load(path)[:2, "text"] == ["changed", "text 1"]


def test_arrays_outlive_the_file(path):
    matrix = DocumentArray.load(path).embeddings
    path.unlink()

    assert matrix.sum() == 199 * 100


def test_bytes_are_shared_and_what_could_change_is_copied():
    data = dumps(Table({"x": tensor_column([np.ones(1000)] * 9)}))
    buffer = bytearray(data)
    shared, copied = loads(data).columns["x"].data, loads(buffer).columns["x"].data
    view = loads(memoryview(b"odd" + data)[3:]).columns["x"].data
    buffer[:] = bytes(len(buffer))

    assert np.shares_memory(shared, np.frombuffer(data, np.uint8))
    assert copied.sum() == view.sum() == 9000
    assert view.flags.aligned
    assert loads(memoryview(data[::-1])[::-1]).columns["x"].data.sum() == 9000


# --- saving -------------------------------------------------------------------------------------------------------


def test_a_new_file_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    save(sample(), tmp_path / "a")
    old = os.stat(tmp_path / "a").st_mode

    assert old == os.stat(tmp_path / "plain").st_mode
    os.chmod(tmp_path / "a", 0o640)
    save(sample(), tmp_path / "a")
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    save(sample(), tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert difference(sample(), load(tmp_path / "a")) is None


def test_what_cannot_be_stored_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    save(sample(), path)
    with pytest.raises(FieldTypeError, match="column 'tags', row 0"):
        save(Table({"tags": column_of("json", [{"a": object()}])}), path)

    assert difference(sample(), load(path)) is None
    assert os.listdir(tmp_path) == ["a"]


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="never: limits of Linux")
def test_a_disk_that_is_full_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    save(sample(), path)
    code = """
import resource, sys
from docarray import DocumentArray
da = DocumentArray.empty(10_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    da.save(sys.argv[1])
except OSError as error:
    print(type(error).__name__)
"""
    with python(code, path) as process:
        assert process.communicate()[0].strip() == "OSError"

    assert difference(sample(), load(path)) is None
    assert os.listdir(tmp_path) == ["a"]


def test_a_process_that_is_killed_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a"
    code = """
import sys
from docarray import DocumentArray
sizes = [DocumentArray.empty(n) for n in (10, 20_000)]
print("ready", flush=True)
while True:
    for da in sizes:
        da.save(sys.argv[1])
"""
    for wait in (0.05, 0.2):
        with python(code, path) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not path.exists():
                time.sleep(0.01)
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        assert len(load(path, verify=True)) in (10, 20_000)
        path.unlink()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="never: limits of Linux")
def test_a_file_too_large_to_be_private_is_mapped_read_only(tmp_path):
    """Pages that may be written to count against a limit, those that may not do not."""
    path = tmp_path / "a"
    DocumentArray.from_columns(embedding=np.ones((1000, 8192), np.float32)).save(path)
    code = """
import resource, sys
from docarray import Document, DocumentArray, compression, files
Document.from_bytes(Document(embedding=[1.0]).to_bytes())  # loads what is loaded on first use
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, ((used << 10) + (16 << 20),) * 2)
da = DocumentArray.load(sys.argv[1])
da[0].embedding[0] = 5
print(da[0].embedding[0] + da[1].embedding[1])
"""
    with python(code, path) as process:
        assert process.communicate()[0].strip() == "6.0"


@pytest.mark.parametrize("file", [io.StringIO(), 5, None, sys.stderr], ids=lambda f: type(f).__name__)
def test_other_things_than_binary_files_are_refused(file):
    with pytest.raises(FieldTypeError, match="opened in binary mode"):
        save(sample(), file)
    with pytest.raises(FieldTypeError, match="opened in binary mode"):
        load(file)
    with pytest.raises(FieldTypeError, match="from bytes"):
        loads(file)  # type: ignore[arg-type]


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        load("no/such/file.docarray")


# --- what is read is not trusted ----------------------------------------------------------------------------------


def test_every_truncation_is_a_format_error(tmp_path):
    data = dumps(sample())
    for end in range(len(data)):
        with pytest.raises(FormatError):
            loads(data[:end])
    for end in (0, 1, 7, 8, 15, 16, 17, 63, 64, 100, len(data) - 1):
        (tmp_path / "a").write_bytes(data[:end])
        with pytest.raises(FormatError):
            load(tmp_path / "a")


def test_every_flipped_bit_is_a_format_error():
    """Of all but the minor version, which says only what a reader may leave unread."""
    data = dumps(sample())
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        if at in (10, 11):
            assert difference(sample(), loads(damaged)) is None
        else:
            with pytest.raises(FormatError):
                loads(damaged)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no container of docarray, but nothing at all"),
        (b"abc", "no container of docarray, but beginning with b'abc'"),
        (b"\x80\x04\x95" + bytes(100), "no container of docarray"),
        (b"\x89DOC", "cut off after 4 bytes"),
        (MAGIC + b"\1", "cut off after 9 bytes"),
        (PROLOGUE.pack(MAGIC, 1, 0, 0), "cut off before its first batch"),
        (dumps(sample()).replace(b"\r\n", b"\n"), "changed on its way, as text perhaps"),
        (packed({}, b"", 0, major=2, minor=3), "format 2.3 .* a newer version is needed"),
        (packed({}, b"", 0, prologue_flags=1), "flags 0x1"),
        (packed({"packed": 9}, b"", 0, compression=1), "batch 0 .* has 9 packed bytes in a body of 0"),
        (packed({"packed": True}, b"", 0, compression=2), "has True packed bytes"),
        (packed({}, b"", 0, compression=2), "malformed: KeyError"),
        (packed({}, b"", 0, compression=9), r"compressed with something unknown \(code 9\)"),
        (packed({}, b"", 0, flags=2), "has the flags 0x2"),
        (packed({}, b"", 0, marker=b"DOCX"), "no head of a batch"),
        (packed({}, b"", 0, header_size=1 << 31), "announces 2147483648 bytes of header"),
        (packed({}, b"", 0, header_size=63), "which cannot be"),
        (packed({}, b"", 0, size=1 << 62, unpacked=1 << 62), "were cut off"),
        (packed({}, b"", 0, size=1 << 63, unpacked=1 << 63), "were cut off"),
        (packed({}, b"", 0, unpacked=64), "which cannot be"),
        (dumps(sample()) * 2, "batch 1 .*: 2800 bytes stand behind the end of the container, at byte 2800"),
        (dumps(sample()) + b"\1", "1 bytes stand behind the end"),
        (dumps(sample())[:-304], "cut off behind 1 batches: its end is missing"),
        (packed(EMPTY, bytes(64), 0) + bytes(64), "batch 1 of a container, at byte 320: this is no head of a batch"),
        (packed(EMPTY, bytes(64), 0) + b"\0", "within the head of a batch"),
        (packed(EMPTY, bytes(64), 0) + ending({"batches": 2, "rows": 0}), "where 1 batches of 0 rows are: some are"),
        (packed(EMPTY, bytes(64), 0) + ending({"batches": 1, "rows": 1}), "some are missing"),
        (packed(EMPTY, bytes(64), 0) + ending([1, 0]), "some are missing"),
        (packed(EMPTY, bytes(64), 0) + ending({"batches": 1, "rows": 0}, 3), "some are missing"),
        (packed(EMPTY, bytes(64), 0, minor=1)[:-304] + ending({"batches": 1, "rows": 0}, 2), "its end is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_error_says_what_is_wrong(data, words):
    with pytest.raises(FormatError, match=words):
        loads(data)


def test_later_minor_versions_are_read():
    header, body, rows = unpacked(dumps(sample()))

    assert difference(sample(), loads(packed({**header, "more": {}}, body, rows, minor=9))) is None


def test_the_smallest_header_is_enough():
    assert loads(packed(EMPTY, bytes(64), 0)).ids == []


@pytest.mark.parametrize(
    "header",
    [
        [],
        5,
        None,
        {},
        {"form": EMPTY["form"]},
        {"buffers": []},
        {**EMPTY, "form": None},
        {**EMPTY, "buffers": 5},
        {**EMPTY, "buffers": {}},
        {**EMPTY, "buffers": [5]},
        {**EMPTY, "buffers": [["id.offsets", 0]]},
        {**EMPTY, "buffers": [["id.offsets", 0, 8, 1]]},
        {**EMPTY, "buffers": [["id.offsets", "0", 8]]},
        {**EMPTY, "buffers": [["id.offsets", False, 8]]},
        {**EMPTY, "buffers": [["id.offsets", 0.0, 8]]},
        {**EMPTY, "buffers": [[["id.offsets"], 0, 8]]},
        {**EMPTY, "buffers": [["id.offsets", 8, 8], ["id.data", 64, 0]]},
        {**EMPTY, "buffers": [["id.offsets", -64, 8], ["id.data", 64, 0]]},
        {**EMPTY, "buffers": [["id.offsets", 0, -8], ["id.data", 64, 0]]},
        {**EMPTY, "buffers": [["id.offsets", 0, 65], ["id.data", 64, 0]]},
        {**EMPTY, "buffers": [["id.offsets", 0, 10**30], ["id.data", 64, 0]]},
        {**EMPTY, "buffers": [["id.offsets", 10**30 * 64, 8], ["id.data", 64, 0]]},
        {**EMPTY, "buffers": [["id.offsets", 0, 8], ["id.data", 0, 0]]},
        {**EMPTY, "buffers": [["id.data", 64, 0], ["id.offsets", 0, 8]]},
        {**EMPTY, "buffers": [["id.offsets", 0, 8], ["id.offsets", 64, 0], ["id.data", 64, 0]]},
        {**EMPTY, "buffers": [["id.offsets", 0, 8], ["id.data", 64, 0], ["id.data", 64, 0]]},
        {**EMPTY, "buffers": [["id.offsets", 0, 8]]},
    ],
    ids=lambda header: json.dumps(header)[-70:],
)
def test_malformed_headers_are_format_errors(header):
    with pytest.raises(FormatError):
        loads(packed(header, bytes(64), 0))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 1_000_000,
        b'{"form":' + b'{"a":' * 500_000,
        b'{"form":{"length":0,"columns":' + b"[" * 5_000 + b"]" * 5_000 + b'},"buffers":[]}',
        b'{"form":{"length":' + b"[" * 900 + b"]" * 900 + b',"columns":[]},"buffers":[]}',
        b'{"form":{"length":' + b"9" * 100_000 + b',"columns":[]},"buffers":[]}',
        b'{"form":{"length":1e999,"columns":[]},"buffers":[]}',
    ],
    ids=lambda text: repr(text[:40]),
)
def test_headers_that_are_no_json_or_without_end(text):
    with pytest.raises(FormatError):
        loads(packed(None, bytes(64), 0, text=text))


def test_the_number_of_rows_is_checked():
    with pytest.raises(FormatError, match="holds 0 rows where 7 were announced"):
        loads(packed(EMPTY, bytes(64), 7))


def test_small_bytes_do_not_make_a_big_allocation():
    """Whatever sizes are announced: what is made is in proportion to what is there."""
    header, body, rows = unpacked(dumps(sample()))
    for number in (1 << 31, 1 << 40, 1 << 62, 10**30):
        hostile = [replaced(header, path, number) for path in places(header) if type(at(header, path)) is int]
        tracemalloc.start()
        for changed in hostile:
            with suppress(FormatError):
                touch_all(loads(packed(changed, body, rows)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 22


def at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_header_of_right_checksum_is_a_table_or_a_format_error(data):
    header, body, rows = unpacked(dumps(sample()))
    for _ in range(data.draw(st.integers(1, 3))):
        header = replaced(header, data.draw(st.sampled_from(places(header))), data.draw(junk))
    with suppress(FormatError):
        touch_all(loads(packed(header, body, rows)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_body_of_right_checksum_is_a_table_or_a_format_error(data):
    header, body, rows = unpacked(dumps(sample()))
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FormatError):
        touch_all(loads(packed(header, bytes(damaged), rows)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_format_error(data, ours):
    with pytest.raises(FormatError):
        loads(MAGIC + data if ours else data)


def test_documents_that_are_touched_in_damaged_bytes_raise_our_errors():
    header, body, rows = unpacked(everything().to_bytes())
    for seed in range(60):
        damaged = np.frombuffer(body, np.uint8).copy()
        places_ = np.random.default_rng(seed).integers(0, len(damaged), 20)
        damaged[places_] ^= 0x55
        with suppress(DocArrayError):
            da = DocumentArray.from_bytes(packed(header, damaged.tobytes(), rows))
            for doc in da.flatten():
                repr(doc)
                doc.to_bytes()


# --- compression, streams, appending ------------------------------------------------------------------------------

COMPRESSIONS = [None, "lz4", "zstd"]


def several(compress: str | None) -> bytes:
    """Three small batches, the last of which was appended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        with path.open("wb") as stream:
            FORMAT.write([small(0), small(1)], stream, compress=compress)
        append(path, [small(2)], compress=compress)
        return path.read_bytes()


def small(number: int) -> Table:
    texts = [f"a text {number} " * 9, None, "ö"]
    return Table({"text": column_of("text", texts)}, ids=[f"{number}{i}" for i in range(3)])


def whole() -> Table:
    return Table.concat([small(0), small(1), small(2)])


@pytest.mark.parametrize("compress", ["lz4", "zstd"])
@settings(max_examples=30, deadline=None)
@given(table=tables())
def test_what_is_compressed_comes_out(compress, table):
    data = dumps(table, compress=compress)

    assert difference(rows_of(table), rows_of(loads(data))) is None
    assert difference(rows_of(table), rows_of(next(FORMAT.read(io.BytesIO(data))))) is None


def test_what_is_compressed_is_smaller_and_can_be_written_to():
    table = Table({"x": tensor_column([np.ones(1000)] * 100)})
    for compress in ("lz4", "zstd"):
        data = dumps(table, compress=compress)
        found = loads(data).columns["x"].data
        assert len(data) < table.nbytes / 50
        assert found.flags.writeable
        assert found.flags.aligned
        assert (found == 1).all()


def test_compressions_that_there_are_not():
    with pytest.raises(UnknownName, match="not compressed with 'gzip'"):
        dumps(small(0), compress="gzip")
    with pytest.raises(UnknownName, match=r"no compression is called 'zstt'\. Did you mean 'zst'"):
        dumps(small(0), compress="zstt")


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_every_truncation_of_several_batches_is_corrupt(compress):
    """Between batches too."""
    data = several(compress)
    assert difference(rows_of(whole()), rows_of(loads(data))) is None
    for stop in range(1, len(data)):
        with pytest.raises(CorruptData):
            loads(data[:stop])
        with pytest.raises(CorruptData):
            list(FORMAT.read(io.BytesIO(data[:stop])))


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_every_flipped_bit_of_several_batches_is_seen(compress):
    data = several(compress)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        if at in (10, 11):
            assert difference(rows_of(whole()), rows_of(loads(damaged))) is None
            continue
        with pytest.raises((CorruptData, UnsupportedFormat)):
            loads(damaged)
        with pytest.raises((CorruptData, UnsupportedFormat)):
            list(FORMAT.read(io.BytesIO(damaged)))


def squeezed(payload: bytes, compress: str, **changes: Any) -> bytes:
    """A container whose one batch is compressed and may lie."""
    frame = compression.compress(payload, compress)
    header = {**EMPTY, "packed": changes.pop("packed", len(frame))}
    known = {"compression": {"zstd": 1, "lz4": 2}[compress], "unpacked": len(payload)}
    return packed(header, frame + bytes(-len(frame) % 64), 0, **{**known, **changes})


@pytest.mark.parametrize("compress", ["lz4", "zstd"])
def test_lengths_of_compressed_batches_that_lie(compress):
    assert loads(squeezed(bytes(64), compress)).ids == []
    n = 1 << 26  # of zeros
    for data, words in [
        (squeezed(bytes(64), compress, unpacked=1 << 40), "where 268435456 are allowed: give max_size"),
        (
            squeezed(bytes(64), compress, unpacked=1 << 27),
            "unpacks to 64 bytes where 134217728 were announced",
        ),
        (squeezed(bytes(n), compress, unpacked=64), "unpacks to more than the 64 bytes"),
        (squeezed(bytes(n), compress, unpacked=n - 64), "unpacks to more than"),
        (squeezed(bytes(64), compress, packed=0), "has 0 packed bytes"),
        (squeezed(bytes(64), compress, packed=1 << 40), "packed bytes in a body of"),
        (squeezed(bytes(64), compress, packed="9"), "has '9' packed bytes"),
        (squeezed(bytes(64), compress, unpacked=63), "which cannot be"),
    ]:
        for read in (loads, lambda data: list(FORMAT.read(io.BytesIO(data)))):
            tracemalloc.start()
            with pytest.raises(CorruptData, match=words):
                read(data)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < (n + n // 2 if words == "unpacks to more than" else 16 << 20)


@pytest.mark.parametrize("compress", ["lz4", "zstd"])
def test_a_bomb_is_refused_before_it_goes_off(compress):
    table = Table({"x": tensor_column([np.zeros(1 << 20)] * 4)}, ids=list("abcd"))
    data = dumps(table, compress=compress)
    tracemalloc.start()
    with pytest.raises(CorruptData, match="where 1000000 are allowed: give max_size="):
        loads(data, max_size=1_000_000)
    two = PROLOGUE.pack(MAGIC, 1, 0, 0) + 2 * batches_of(data)[0]
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    with pytest.raises(CorruptData, match="batch 1 "):  # what is joined is counted together
        loads(two, max_size=48 << 20)
    tracemalloc.stop()

    assert len(loads(two, max_size=80 << 20)) == 8
    assert len(list(FORMAT.read(io.BytesIO(two), max_size=48 << 20))) == 2


def test_a_form_without_end_is_corrupt():
    form: Any = {"length": 0, "columns": []}
    text = '{"form":' + '{"length":0,"columns":[["chunks",{"kind":"docs","child":' * 10_000
    text += json.dumps(form) + "}]]}" * 10_000 + ',"buffers":[]}'
    for data in (
        packed(None, bytes(64), 0, text=text.encode()),
        packed(None, bytes(64), 0, text=b"[" * 10_000),
    ):
        with pytest.raises(CorruptData, match="malformed"):
            loads(data)


def test_a_stream_is_read_no_further_than_needed():
    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert size >= 0
            return super().read(size)

    data = several("lz4")
    stream = Watched(data + several(None) + b"what comes after")
    first = FORMAT.read(stream)
    assert difference(rows_of(small(0)), rows_of(next(first))) is None
    assert stream.tell() < len(data) / 2
    assert len(list(first)) == 2
    assert stream.tell() == len(data)
    assert len(load(stream)) == 9
    assert stream.read(100) == b"what comes after"


def test_a_pipe_carries_batch_after_batch():
    ours, theirs = os.pipe()
    gone_on = threading.Event()

    def tables() -> Any:
        yield small(0)
        assert gone_on.wait(20)
        yield small(1)

    def write() -> None:
        with os.fdopen(theirs, "wb", buffering=0) as stream:
            FORMAT.write(tables(), stream)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(ours, "rb") as stream:
        found = FORMAT.read(stream)
        assert next(found).ids == small(0).ids
        gone_on.set()
        assert [table.ids for table in found] == [small(1).ids]
    writer.join()


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_streams_take_the_memory_of_a_batch(compress, tmp_path):
    def tables() -> Any:
        for number in range(20):
            yield Table({"x": tensor_column(list(np.random.default_rng(number).random((256, 512))))})

    tracemalloc.start()
    with (tmp_path / "a").open("wb") as stream:
        FORMAT.write(tables(), stream, compress=compress)
    with (tmp_path / "a").open("rb") as stream:
        rows = sum(len(table) for table in FORMAT.read(stream))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert rows == 20 * 256
    assert peak < 10 << 20  # of 20 MiB; a batch is one


def test_no_batches_at_all():
    stream = io.BytesIO()
    FORMAT.write([], stream)

    assert len(loads(stream.getvalue())) == 0
    stream.seek(0)
    assert list(FORMAT.read(stream)) == []


def test_appending_makes_the_file_and_adds_to_it(tmp_path):
    path = tmp_path / "a"
    append(path, [small(0)])
    append(path, [], compress="zstd")
    append(str(path), [small(1), small(2)], compress="lz4")

    assert difference(rows_of(whole()), rows_of(load(path))) is None
    assert difference(rows_of(whole()), rows_of(loads(path.read_bytes()))) is None
    with container.open(path) as batches:
        assert batches.compression == (None, "lz4", "lz4")


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_an_append_that_was_broken_off_is_as_if_it_had_never_begun(compress, tmp_path):
    """At each byte; and the next one takes away what it left."""
    path = tmp_path / "a"
    append(path, [small(0), small(1)])
    before = path.read_bytes()
    append(path, [small(2)], compress=compress)
    after = path.read_bytes()
    expected = rows_of(Table.concat([small(0), small(1)]))
    for stop in range(len(before), len(after) + 1):
        broken = before + after[len(before) : stop]
        assert difference(expected, rows_of(loads(broken))) is None
        if stop % 16 == 0:
            path.write_bytes(broken)
            assert difference(expected, rows_of(load(path))) is None
            append(path, [small(2)], compress=compress)
            assert path.read_bytes() == after


def test_what_cannot_be_appended_leaves_the_file(tmp_path):
    path = tmp_path / "a"
    append(path, [small(0)])
    before = path.read_bytes()
    with pytest.raises(FieldTypeError, match="column 'tags'"):
        append(path, [small(1), Table({"tags": column_of("json", [{"a": object()}])})])
    assert path.read_bytes() == before

    with pytest.raises(
        UnsupportedFormat, match=r"v1.*format 1.0 cannot be appended to: load it and save it anew"
    ):
        append(shutil.copy(GOLDEN, tmp_path / "v1"), [small(0)])
    assert (tmp_path / "v1").read_bytes() == GOLDEN.read_bytes()
    (tmp_path / "b").write_bytes(b"something else")
    with pytest.raises(UnsupportedFormat, match="b': no container"):
        append(tmp_path / "b", [small(0)])
    path.write_bytes(before[:-1])
    with pytest.raises(CorruptData, match="cut off"):
        append(path, [small(0)])
    assert path.read_bytes() == before[:-1]


APPENDING = """
import sys
import numpy as np
from docarray.columns import column_of
from docarray.serialization.container import append
from docarray.table import Table
path, name, count, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
print("ready", flush=True)
for i in range(count):
    ids = [f"{name}-{i}-{row}" for row in range(rows)]
    append(path, [Table({"text": column_of("text", ["words " * 20] * rows)}, ids=ids)])
"""


def test_several_append_at_once_and_somebody_reads(tmp_path):
    path = tmp_path / "a"
    append(path, [small(0)])
    processes = [python(APPENDING, path, name, 25, 3) for name in "ab"]
    seen = [3]
    while any(process.poll() is None for process in processes):
        seen.append(len(load(path, verify=True)))
    for process in processes:
        assert process.communicate()[0].strip() == "ready"
        assert process.returncode == 0

    assert seen == sorted(seen)
    assert all(count % 3 == 0 for count in seen)
    ids = load(path, verify=True).ids
    assert len(ids) == len(set(ids)) == 3 + 2 * 25 * 3


def test_who_is_killed_while_appending_leaves_the_batches_before(tmp_path):
    path = tmp_path / "a"
    append(path, [small(0)])
    for wait in (0.02, 0.1, 0.15):
        with python(APPENDING, path, "a", 10_000, 5_000) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        found = load(path, verify=True)
        assert (len(found) - 3) % 5_000 == 0
        assert found.ids[:3] == small(0).ids


def test_batches_are_a_sequence(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(several("zstd"))
    with container.open(path) as batches:
        assert (len(batches), batches.rows, batches.compression) == (3, (3, 3, 3), ("zstd",) * 3)
        assert (batches.version, batches.library) == ("1.1", f"docarray {docarray.__version__}")
        assert difference(small(1), batches[1]) is None
        assert difference(small(2), batches[-1]) is None
        assert [table.ids for table in batches] == [small(i).ids for i in range(3)]
        assert [table.ids for table in batches[1:]] == [small(i).ids for i in (1, 2)]
        with pytest.raises(OutOfRange, match=r"batch 3 of '.*a', which has 3"):
            batches[3]
        with container.open(path) as others:
            kept = others[0]
    assert difference(small(0), kept) is None
    with pytest.raises(BadValue, match="are closed"):
        batches[0]


def test_opening_batches_reads_heads_only(tmp_path):
    path = tmp_path / "a"
    data = bytearray(several(None))
    _, header, body, *_ = BATCH.unpack_from(data, 16)
    data[64 : 64 + header + body] = b"\xff" * (header + body)
    path.write_bytes(data)
    with container.open(path) as batches:
        assert len(batches) == 3
        assert difference(small(1), batches[1]) is None
        with pytest.raises(CorruptData, match=r"a': batch 0 of a container, at byte 16: the header"):
            batches[0]
    with pytest.raises(UnsupportedFormat, match="no container of docarray"):
        container.open(__file__)
    with pytest.raises(FileNotFoundError):
        container.open(tmp_path / "b")


def test_what_stands_before_damage_can_be_had(tmp_path):
    data = several("lz4")
    (tmp_path / "a").write_bytes(data[:-400])
    for found in (loads(data[:-400], recover=True), FORMAT.load(tmp_path / "a", recover=True)):
        assert difference(rows_of(Table.concat([small(0), small(1)])), rows_of(found)) is None
    with pytest.raises(CorruptData):
        loads(data[:200], recover=True)


def test_a_file_says_what_is_in_it(tmp_path):
    save(sample(), tmp_path / "a", compress="lz4")
    append(tmp_path / "a", [sample(), small(0)])
    facts = container.describe(tmp_path / "a")
    columns = {column.pop("name"): column for column in facts.pop("columns")}

    assert facts == {
        "format": "binary",
        "version": "1.1",
        "library": f"docarray {docarray.__version__}",
        "bytes": (tmp_path / "a").stat().st_size,
        "batches": 3,
        "rows": 9,
        "compression": ["lz4"],
    }
    assert list(columns) == [
        "id",
        "text",
        "tags",
        "embedding",
        "tensor",
        "chunks",
        "chunks/id",
        "chunks/text",
    ]
    assert columns["embedding"] == {
        "kind": "tensor",
        "layouts": ["uniform"],
        "bytes": 96,
        "dtypes": ["<f4"],
        "shapes": [[4]],
        "frameworks": ["numpy"],
    }
    assert columns["chunks/text"] == {"kind": "text", "layouts": ["flat"], "bytes": 2 * (4 * 8 + 3)}


# --- documents ----------------------------------------------------------------------------------------------------

WAYS: dict[str, Any] = {
    "bytes": lambda da, tmp: DocumentArray.from_bytes(da.to_bytes()),
    "bytes of bytes": lambda da, tmp: DocumentArray.from_bytes(
        DocumentArray.from_bytes(da.to_bytes()).to_bytes()
    ),
    "bytes()": lambda da, tmp: DocumentArray.from_bytes(bytearray(bytes(da))),
    "file": lambda da, tmp: (da.save(tmp / "a"), DocumentArray.load(tmp / "a"))[1],
    "file object": lambda da, tmp: (s := io.BytesIO(), da.save(s), s.seek(0), DocumentArray.load(s))[-1],
    "pickle": lambda da, tmp: pickle.loads(pickle.dumps(da)),
    "old pickle": lambda da, tmp: pickle.loads(pickle.dumps(da, protocol=2)),
    "deepcopy": lambda da, tmp: copy.deepcopy(da),
    "touched": lambda da, tmp: touched(DocumentArray.from_bytes(da.to_bytes())),
    "part": lambda da, tmp: DocumentArray([*parts(DocumentArray.from_bytes(da.to_bytes()))]),
    "rows": lambda da, tmp: DocumentArray([Document.from_bytes(doc.to_bytes()) for doc in da]),
    "pickled rows": lambda da, tmp: DocumentArray([pickle.loads(pickle.dumps(doc)) for doc in da]),
    "copied rows": lambda da, tmp: DocumentArray([copy.deepcopy(doc) for doc in da]),
}


def touched(da: Any) -> Any:
    """Written again after every second document was made."""
    for doc in da[::2]:
        _ = doc.text, doc.chunks
    return DocumentArray.from_bytes(da.to_bytes())


def parts(da: Any) -> Any:
    for i in range(len(da)):
        yield from DocumentArray.from_bytes(da[i : i + 1].to_bytes())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "make", [everything_array, alike_array, DocumentArray], ids=lambda make: make.__name__
)
def test_everything_goes_every_way(make, way, tmp_path):
    found = WAYS[way](make(), tmp_path)

    assert difference(make(), found) is None


@pytest.mark.parametrize("number", range(14))
def test_a_document_with_every_field_set(number):
    doc = everything(3, number)

    assert set(doc.non_empty_fields) >= {
        "chunks",
        "matches",
        "tags",
        "_metadata",
        "evaluations",
        "scores",
        "location",
    }
    assert difference(doc, Document.from_bytes(doc.to_bytes())) is None
    assert difference(doc, Document.from_bytes(bytes(doc))) is None


def test_torch_tensors_stay_torch_tensors():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16):
        da = DocumentArray([Document(id=str(i), embedding=torch.ones(3).to(dtype) * i) for i in range(3)])
        found = DocumentArray.from_bytes(da.to_bytes())
        assert difference(da, found) is None


def test_nested_arrays_know_their_parents_again():
    found = Document.from_bytes(everything().to_bytes())

    assert found.chunks.reference_doc is found
    assert found.chunks[0].parent_id == found.id
    assert found.chunks[0].chunks[0].granularity == found.granularity + 2
    assert found.matches[0].adjacency == found.adjacency + 1


@pytest.mark.parametrize(
    "make",
    [
        alike_array,
        everything_array,
        everything,
    ],
)
def test_a_pickle_names_nothing_but_us(make):
    """Reading it runs our reader of bytes and nothing else."""
    named: set[str] = set()

    class Watched(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            named.add(module.partition(".")[0])
            return super().find_class(module, name)

    assert difference(make(), Watched(io.BytesIO(pickle.dumps(make()))).load()) is None
    assert named == {"docarray"}


def test_one_document_is_wanted():
    with pytest.raises(BadValue, match="50 documents where one was expected"):
        Document.from_bytes(alike_array().to_bytes())


def test_the_library_names_itself():
    assert container.LIBRARY == f"docarray {docarray.__version__}"


if __name__ == "__main__":
    GOLDEN_1_1.write_bytes(golden_bytes())
