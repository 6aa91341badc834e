"""The old protobuf formats: golden bytes, files of the old library, messages, protobuf's JSON, hostile bytes."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
from everything import difference, everything_array, rows_of
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st
from test_wire import CASES, in_key_order, old_records, records, unset

from docarray import compression
from docarray.columns import column_of
from docarray.errors import BadValue, CorruptData, FieldTypeError, FormatError
from docarray.proto.docarray_pb2 import DocumentArrayProto, DocumentProto
from docarray.records import records_of, table_of
from docarray.serialization.protobuf import (
    ARRAY,
    STREAM,
    array_from_message,
    array_to_message,
    from_dict,
    from_message,
    to_dict,
    to_message,
)
from docarray.table import Table

OLD = Path(__file__).parent / "data" / "old"

# --- golden bytes --------------------------------------------------------------------------------------------------

GOLDEN: dict[str, tuple[dict[str, Any], str]] = {
    "P1": (
        {"id": "a", "text": "hi", "weight": 0.5, "tags": {"x": 1, "y": "z"}, "embedding": np.float32([1, 2])},
        "0a016122026869450000003f82011b0a120a080000803f000000401201021a033c66341a056e756d70798a011a0a0e0a0178120911"
        "000000000000f03f0a080a017912031a017a",
    ),
    "P2": (
        {
            "id": "b",
            "tensor": np.array([[1, 2], [3, 4]], np.int64),
            "scores": {"cosine": {"value": 0.25}},
            "chunks": [{"id": "c", "parent_id": "b", "granularity": 1, "blob": b"\x00\x01"}],
        },
        "0a01621a340a2b0a200100000000000000020000000000000003000000000000000400000000000000120202021a033c69381a05"
        "6e756d7079720c0a01631202000128013a016292010f0a06636f73696e6512050d0000803e",
    ),
    "P3": (
        {"id": "s", "embedding": sparse.csr_matrix(np.array([[0, 3.0]]))},
        "0a0173820150122d0a130a080000000001000000120201021a033c693412120a0800000000000008401201011a033c66381a0201"
        "021a05736369707922180a160a0d7370617273655f666f726d617412051a03637372",
    ),
    "P4": (
        {"id": "l", "embedding": [1, 2]},
        "0a016c8201220a1a0a10010000000000000002000000000000001201021a033c69381a046c697374",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes_are_written(name):
    record, expected = GOLDEN[name]
    assert expected == STREAM.dumps_record(record, exact=False).hex()
    assert expected == ARRAY.dumps(table_of([record]), exact=False)[2:].hex()
    if name != "P1":  # which holds an int in its tags
        assert expected == STREAM.dumps_record(record).hex()
        assert expected == to_message(record).SerializeToString(deterministic=True).hex()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes_are_read(name):
    record, data = GOLDEN[name]
    if name == "P1":
        record = {**record, "tags": {"x": 1.0, "y": "z"}}
    assert difference(record, STREAM.loads_record(memoryview(bytes.fromhex(data)))) is None
    assert difference(record, from_message(DocumentProto.FromString(bytes.fromhex(data)))) is None


def test_golden_arrays():
    table = table_of([{"id": "a", "text": "hi"}, {"id": "b"}])
    for form, options, expected in [
        (ARRAY, {}, "0a070a0161220268690a030a0162"),
        (STREAM, {}, "010000000000000002000000070a016122026869000000030a0162"),
        (
            STREAM,
            {"compress": "zlib"},
            "0100000000000000020000000f789ce3624c5462cac8040003ff01620000000b789ce3624c02000085006e",
        ),
    ]:
        assert expected == form.dumps(table, **options).hex()
        assert difference(table, form.loads(memoryview(bytes.fromhex(expected)), **options)) is None


# --- files of the old library --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def old_documents() -> list[dict[str, Any]]:
    pytest.importorskip("torch")
    held = json.loads((OLD / "protobuf.json").read_text())
    assert "0.21.0" == held["written_by"]
    return [from_dict(value) for value in held["documents"]]


def test_old_arrays_are_read(old_documents):
    for name in ("protobuf-array.bin", "protobuf-array.deterministic.bin"):
        data = (OLD / name).read_bytes()
        read = records_of(ARRAY.loads(memoryview(data)))
        assert len(old_documents) == len(read)
        for old, new in zip(old_documents, read, strict=True):
            assert difference(in_key_order(old), in_key_order(new)) is None


def test_old_documents_hold_what_was_put_in(old_documents):
    """By hand, so that reading is not only compared with itself."""
    by_id = {record["id"]: record for record in old_documents}
    assert {
        "id": "all",
        "parent_id": "above",
        "granularity": 2,
        "adjacency": 300,
        "blob": bytes(range(256)),
        "mime_type": "image/png",
        "weight": 0.5,
        "uri": "https://example.com/a.png",
        "tags": {"a": False, "b": 1.5},
        "_metadata": {"schema": {"field": [1.0, {"deep": None}]}},
        "offset": 7.25,
        "location": [1.0, 2.5, -3.0],
        "modality": "image",
        "evaluations": {"a": {"op_name": "x"}, "recall": {"value": 1.0}},
        "scores": {"cosine": {"value": 0.25, "op_name": "cosine", "description": "distance", "ref_id": "q"}},
    } == {key: value for key, value in by_id["all"].items() if key != "embedding"}
    assert float(np.float32(0.1)) == by_id["rounded"]["weight"]
    nested = by_id["nested"]
    assert ["c", "cc"] == [nested["chunks"][0]["id"], nested["chunks"][0]["chunks"][0]["id"]]
    below = nested["chunks"][0]["chunks"][0]
    assert (1, "c") == (below["granularity"], below["parent_id"])
    assert {"value": 0.75} == nested["matches"][0]["scores"]["cosine"]
    for dtype in ("?", "i1", "<i8", ">i4", "<u8", "<f2", "<f4", ">f8", "<c8", "<U3", "S2", "<M8[D]"):
        expected = np.ones((2, 3)).astype(dtype)
        assert difference(expected, by_id[f"numpy {dtype}"]["tensor"]) is None
    assert difference(np.array(5.0), by_id["numpy 0-d"]["tensor"]) is None
    assert difference(np.zeros((0, 3), np.int8), by_id["numpy empty"]["embedding"]) is None
    assert difference([1, 2], by_id["list of ints"]["embedding"]) is None
    assert difference([[1.5, 2.5], [3.5, -0.0]], by_id["list of lists"]["tensor"]) is None
    assert difference([True, False], by_id["list of bools"]["tensor"]) is None
    dense = [[0, 3.0, 0, 4.0], [0, 0, 0, 0], [5.0, 0, 0, 0], [0, 0, 6.0, 0]]
    for fmt in ("csr", "csc", "coo", "bsr"):
        read = by_id[f"scipy {fmt}"]["embedding"]
        assert (fmt, np.float32, dense) == (read.format, read.dtype, read.toarray().tolist())
    torch = pytest.importorskip("torch")
    assert difference(torch.ones((2, 2), dtype=torch.int8), by_id["torch"]["tensor"]) is None
    assert [[0, 1.5], [2.5, 0]] == by_id["torch sparse"]["embedding"].to_dense().tolist()


def test_our_bytes_are_those_of_the_old_library(old_documents):
    """Reading what it wrote, and writing it again."""
    data = (OLD / "protobuf-array.deterministic.bin").read_bytes()
    assert data == ARRAY.dumps(ARRAY.loads(memoryview(data)), exact=False)
    again = b"".join(
        DocumentArrayProto(docs=[to_message(record)]).SerializeToString(deterministic=True)
        for record in records_of(ARRAY.loads(memoryview(data)))
    )
    assert data == again


@pytest.mark.parametrize("name", [None, "lz4", "gzip", "bz2", "lzma", "zlib"])
def test_old_streams_are_read(name, old_documents):
    data = (OLD / ("few.protobuf" if name is None else f"few.protobuf.{name}")).read_bytes()
    for compress in (name, None):  # told, and found
        read = records_of(STREAM.loads(memoryview(data), compress=compress))
        assert difference(in_key_order(old_documents[:5]), in_key_order(read)) is None
    assert STREAM.guesses(data[:64])
    if name is None:
        assert sorted(data) == sorted(STREAM.dumps(STREAM.loads(memoryview(data)), exact=False))


@pytest.mark.parametrize("name", ["lz4", "gzip", "bz2", "lzma"])
def test_old_arrays_that_are_compressed_as_a_whole_are_read(name, old_documents):
    data = compression.decompress((OLD / f"few.protobuf-array.{name}").read_bytes(), name)
    assert ARRAY.guesses(data[:64])
    read = records_of(ARRAY.loads(memoryview(data)))
    assert difference(in_key_order(old_documents[:5]), in_key_order(read)) is None


# --- an array ------------------------------------------------------------------------------------------------------


@CASES
@given(st.lists(records(2), max_size=5))
def test_arrays_come_back(documents):
    table = table_of(documents)
    data = ARRAY.dumps(table)
    known = [unset(record) for record in records_of(table)]
    assert difference(known, records_of(ARRAY.loads(memoryview(data)))) is None
    assert difference(known, [row for t in ARRAY.read(io.BytesIO(data)) for row in records_of(t)]) is None
    out = io.BytesIO()
    ARRAY.write([table.slice(i, i + 1) for i in range(len(table))], out)
    assert data == out.getvalue()


def test_everything_comes_back():
    docs = everything_array()
    table = docs._slots.table()
    expected = [unset(record) for record in records_of(table)]
    for form in (ARRAY, STREAM):
        assert difference(expected, records_of(form.loads(memoryview(form.dumps(table))))) is None


def test_an_array_of_nothing():
    for data in (b"", b"\x10\x05"):  # nothing, and a field that nobody knows
        assert 0 == len(ARRAY.loads(memoryview(data)))
        assert [0] == [len(table) for table in ARRAY.read(io.BytesIO(data))]
    assert b"" == ARRAY.dumps(Table({}, 0, []))


def test_unknown_fields_of_an_array_are_stepped_over():
    body = b"\x0a\x03\x0a\x01a"
    for unknown in (b"\x10\x05", b"\x12\x02xy", b"\x1d1234", b"\x1912345678", b"\x92\x03\x01x"):
        assert ["a", "a"] == ARRAY.loads(memoryview(unknown + body + unknown + body + unknown)).ids
    assert ["a"] == ARRAY.loads(memoryview(b"\x8a\x00\x03\x0a\x01a")).ids  # a tag of more bytes than it needs


def test_arrays_are_read_piece_by_piece(monkeypatch):
    rows = [{"id": str(i), "blob": bytes(i * 7 % 300)} for i in range(200)]
    data = ARRAY.dumps(table_of(rows))
    monkeypatch.setattr("docarray.serialization.protobuf._BYTES_AT_ONCE", 97)
    tables = list(ARRAY.read(io.BytesIO(data)))
    assert len(tables) > 50
    assert rows == [row for table in tables for row in records_of(table)]


def test_arrays_on_memory_of_another():
    data = ARRAY.dumps(table_of([{"id": "a", "embedding": np.arange(3)}, {"id": "b"}]))
    for view in (memoryview(bytearray(b"xx" + data))[2:].toreadonly(), memoryview(b"xx" + data)[2:]):
        assert ["a", "b"] == ARRAY.loads(view).ids


def test_records_by_themselves():
    record = {"id": "a", "tags": {"x": 1}}
    assert record == ARRAY.loads_record(memoryview(ARRAY.dumps_record(record)))
    assert b"\x0a" + bytes([len(STREAM.dumps_record(record))]) + STREAM.dumps_record(
        record
    ) == ARRAY.dumps_record(record)
    with pytest.raises(CorruptData, match="2 documents"):
        ARRAY.loads_record(memoryview(ARRAY.dumps(table_of([{}, {}]))))


def test_a_guess_says_no_to_other_bytes():
    for head in (
        b"",
        b"\x0a",
        b"\x89DOC",
        b'{"id": "a"}',
        b"[1]",
        b"id,text\n",
        b"\n\n\n",
        b"\x80\x05",
        b"PAR1",
        b"\n{}",
    ):
        assert not ARRAY.guesses(head)
        assert not ARRAY.recognises(head)
    assert ARRAY.guesses(ARRAY.dumps(table_of([{"id": "a"}])))


# --- hostile bytes -------------------------------------------------------------------------------------------------


def test_arrays_cut_off_at_every_byte():
    rows = [{"id": "a", "text": "some"}, {"id": "b", "tags": {"x": 1}}, {"id": "c" * 200}]
    data = ARRAY.dumps(table_of(rows))
    ends = {0, 11, 11 + 2 + data[12]}
    for size in range(len(data)):
        if size in ends:
            assert len(ARRAY.loads(memoryview(data[:size]))) == sorted(ends).index(size)
            continue
        with pytest.raises(CorruptData, match="byte"):
            ARRAY.loads(memoryview(data[:size]))
        with pytest.raises(CorruptData, match="byte"):
            list(ARRAY.read(io.BytesIO(data[:size])))


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",
        b"\x0a\xff",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a" + b"\xff" * 9 + b"\x01",
        b"\x0a" + b"\xff" * 20,
        b"\x00\x00",
        b"\x0b\x0c",
        b"\x0f",
        b"\x80",
        b"\x12\x05abc",
        b"\x19123",
        b"\x10",
        b"\x0a\x02\x0a\x01",
    ],
)
def test_arrays_that_lie(data):
    for read in (ARRAY.loads, lambda view: list(ARRAY.read(io.BytesIO(view)))):
        with pytest.raises(CorruptData):
            read(memoryview(data))


@CASES
@given(st.binary(max_size=60), st.lists(old_records, max_size=2))
def test_any_bytes_give_documents_or_an_error_of_ours(tail, documents):
    data = ARRAY.dumps(table_of(documents)) + tail
    for form in (ARRAY, STREAM):
        for held in (data, b"\x01" + bytes(7) + data):
            with suppress(FormatError):
                rows_of(form.loads(memoryview(held)))


def test_reading_takes_no_more_memory_than_what_is_read():
    """Twice the bytes: the columns, and what was gathered for them."""
    n = 2000
    matrix = np.zeros((n, 128), np.float32)
    table = Table(
        {"text": column_of("text", [f"text {i} of some length" * 3 for i in range(n)]),
         "embedding": column_of("tensor", list(matrix))},
        ids=[f"{i:032}" for i in range(n)],
    )  # fmt: skip
    data = ARRAY.dumps(table)
    tracemalloc.start()
    ARRAY.loads(memoryview(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(data)


def test_small_documents_take_no_more_memory_than_they_announce():
    """Two bytes each: there is nothing to be said of them, and nothing is kept."""
    data = b"\x0a\x00" * 200_000
    tracemalloc.start()
    table = ARRAY.loads(memoryview(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 200_000 == len(table)
    assert peak < 50 * len(data)  # a few numbers for each


# --- message objects -----------------------------------------------------------------------------------------------


@CASES
@given(st.lists(records(2), max_size=3))
def test_messages_come_back(documents):
    table = table_of(documents)
    known = [unset(record) for record in records_of(table)]
    message = array_to_message(table)
    assert difference(known, records_of(array_from_message(message))) is None
    assert difference(known, [from_message(doc) for doc in message.docs]) is None
    assert message.SerializeToString(deterministic=True) == DocumentArrayProto(
        docs=map(to_message, known)
    ).SerializeToString(deterministic=True)


def test_messages_that_users_change():
    message = to_message({"id": "a", "text": "hi", "embedding": np.float32([1, 2])})
    assert "hi" == message.text
    message.tags["new"] = 1
    message.text = "ho"
    message.chunks.add(id="c")
    read = from_message(message)
    assert ("ho", {"new": 1.0}, [{"id": "c"}]) == (read["text"], read["tags"], read["chunks"])


def test_messages_of_other_kinds_are_refused():
    for wrong in (Struct(), DocumentArrayProto(), b"bytes", None):
        with pytest.raises(FieldTypeError, match=r"docarray\.DocumentProto"):
            from_message(wrong)
    with pytest.raises(FieldTypeError, match=r"docarray\.DocumentArrayProto"):
        array_from_message(DocumentProto())


def test_messages_nested_too_deep():
    record: dict[str, Any] = {"id": "0"}
    for i in range(120):
        record = {"id": str(i), "chunks": [record]}
    for make in (to_message, to_dict, lambda deep: array_to_message(table_of([deep]))):
        with pytest.raises(BadValue, match="nested"):
            make(record)


def test_messages_with_arrays_of_one_type():
    record = {"id": "a", "tensor": [1, 2], "matches": [{"id": "b", "embedding": [1.5]}]}
    assert "numpy" == to_message(record, ndarray_type="numpy").matches[0].embedding.cls_name
    record = {"id": "a", "matches": [{"id": "b", "embedding": np.ones(2)}]}
    assert (
        "list"
        == array_to_message(table_of([record]), ndarray_type="list").docs[0].matches[0].embedding.cls_name
    )


# --- protobuf's JSON -----------------------------------------------------------------------------------------------


@CASES
@given(records(2))
def test_dicts_come_back_through_json(record):
    text = json.dumps(to_dict(record), allow_nan=False)
    assert difference(record, from_dict(json.loads(text))) is None
    kept = to_dict(record, preserving_proto_field_name=True)
    assert difference(record, from_dict(json.loads(json.dumps(kept, allow_nan=False)))) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_float_comes_back_through_json(sign):
    """protobuf writes it as 3.4028235e+38, which is more than it is, and refuses to read that."""
    largest = sign * float(np.finfo(np.float32).max)
    record = {"id": "a", "weight": largest, "tags": {"weight": sign * 3.4028235e38}, "chunks": [{"id": "b"}]}
    record["chunks"][0] |= {"weight": largest, "location": [largest, 1.0]}
    text = json.dumps(to_dict(record), allow_nan=False)

    assert "3.4028235e+38" in text
    assert difference(record, from_dict(json.loads(text))) is None
    with pytest.raises(CorruptData, match=r"too (large|small)"):
        from_dict({"weight": sign * 3.41e38})


def test_the_names_of_keys():
    record = {"id": "a", "parent_id": "p", "mime_type": "text/plain", "_metadata": {"x": "y"}}
    assert {"id": "a", "parentId": "p", "mimeType": "text/plain", "Metadata": {"x": "y"}} == to_dict(record)
    kept = to_dict(record, preserving_proto_field_name=True)
    assert record == kept
    assert record == from_dict(kept) == from_dict(to_dict(record))
    assert 0 == to_dict({"id": "a"}, including_default_value_fields=True)["granularity"]


def test_numbers_that_json_has_not():
    record = {"id": "a", "weight": math.nan, "tags": {"x": [math.inf, 1.5]}, "location": [-math.inf]}
    held = to_dict(record)
    assert ["Infinity", 1.5] == held["tags"]["x"]
    assert difference(record, from_dict(json.loads(json.dumps(held, allow_nan=False)))) is None
    with pytest.raises(FieldTypeError, match="document 'a'"):
        to_dict(record, exact=False)


def test_without_exact_the_dict_is_that_of_the_old_library():
    record = {"id": "a", "tags": {"x": 1}, "weight": 0.1}
    assert "exact" in to_dict(record)
    old = to_dict(record, exact=False)
    assert {"id": "a", "weight": 0.1, "tags": {"x": 1.0}} == old
    assert {"id": "a", "weight": float(np.float32(0.1)), "tags": {"x": 1.0}} == from_dict(old)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "text",
        {"colour": "red"},
        {"id": 5},
        {"weight": "heavy"},
        {"granularity": 2**40},
        {"granularity": -1},
        {"tags": 5},
        {"chunks": {"id": "a"}},
        {"chunks": [5]},
        {"scores": {"a": {"value": 1e300}}},
        {"text": "\ud800"},
        {"text": "a", "blob": ""},
        {"exact": {"tags": "["}},
        {"embedding": {"dense": {"buffer": "AA==", "shape": [9], "dtype": "<f4"}, "clsName": "numpy"}},
        {5: "x"},
    ],
)
def test_dicts_that_are_no_documents(value):
    with pytest.raises(CorruptData):
        from_dict(value)


def test_dicts_nested_too_deep():
    value: Any = {"id": "a"}
    tags: Any = {}
    for _ in range(10_000):
        value, tags = {"chunks": [value]}, {"x": tags}
    for deep in (value, {"tags": tags}):
        with pytest.raises(CorruptData):
            from_dict(deep)


def test_unknown_keys_may_be_ignored():
    assert {"id": "a"} == from_dict({"id": "a", "colour": "red"}, ignore_unknown_fields=True)


# --- the generated code --------------------------------------------------------------------------------------------


def test_numbers_and_names_of_fields_are_the_old_ones():
    numbers = {field.name: field.number for field in DocumentProto.DESCRIPTOR.fields}
    assert {
        "id": 1, "blob": 2, "tensor": 3, "text": 4, "granularity": 5, "adjacency": 6, "parent_id": 7, "weight": 8,
        "uri": 9, "modality": 10, "mime_type": 11, "offset": 12, "location": 13, "chunks": 14, "matches": 15,
        "embedding": 16, "tags": 17, "scores": 18, "evaluations": 19, "_metadata": 20, "exact": 1001,
    } == numbers  # fmt: skip
    assert "docarray.DocumentProto" == DocumentProto.DESCRIPTOR.full_name
    assert (
        "docarray.proto" == DocumentProto.DESCRIPTOR.file.name
    )  # the messages of Jina 3 import it under this name


def test_the_generated_code_is_loaded_by_the_formats_alone():
    code = "import sys, docarray; print('google.protobuf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()
