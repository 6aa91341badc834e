"""The codec of documents: the bytes are those of the protobuf library, rows are records, and nothing is believed."""

from __future__ import annotations

import math
import struct
import sys
import tracemalloc
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
from everything import atoms, data, difference, everything_in_tags, keys, tensors, texts
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from docarray.columns import JsonColumn, column_of
from docarray.errors import BadValue, CorruptData, FieldTypeError, MissingExtra, UnknownField, Unsupported
from docarray.proto.docarray_pb2 import DocumentProto, NamedScoreProto
from docarray.records import records_of, table_of
from docarray.schema import FIELDS
from docarray.serialization import ndarrays, structs, varints
from docarray.serialization.structs import EXACT, MESSAGE, OLD, StructColumn
from docarray.serialization.wire import decode_record, decode_rows, encode_record, encode_rows
from docarray.table import DocsColumn, Table

CASES = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

# --- what is written and read --------------------------------------------------------------------------------------

floats = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 0.5, 0.1, 1e300, 1e-300, math.nan, math.inf]))
numbers = floats | st.integers(-(2**70), 2**70)
score = st.fixed_dictionaries(
    {}, optional={"value": floats, "op_name": texts, "description": texts, "ref_id": texts}
)
plain_json = st.recursive(
    st.none() | st.booleans() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
tags = st.dictionaries(texts, plain_json, max_size=3) | st.dictionaries(keys, data, max_size=3)
contents = st.one_of(
    st.fixed_dictionaries({}),
    st.fixed_dictionaries({"text": texts}),
    st.fixed_dictionaries({"blob": st.binary(max_size=300)}),
    st.fixed_dictionaries({"tensor": tensors}),
)
rest = {
    "parent_id": texts,
    "granularity": st.integers(0, 2**33),
    "adjacency": st.integers(0, 300),
    "mime_type": texts,
    "weight": numbers,
    "uri": texts,
    "tags": tags,
    "_metadata": tags,
    "offset": numbers,
    "location": st.lists(numbers, max_size=3),
    "embedding": tensors,
    "modality": texts,
    "evaluations": st.dictionaries(texts, score, max_size=2),
    "scores": st.dictionaries(texts, score, max_size=2),
}


def unset(record: dict[str, Any]) -> dict[str, Any]:
    """A record in canonical order, without empty containers: what the wire knows as unset."""
    out: dict[str, Any] = {}
    for name in FIELDS:
        value = record.get(name)
        if name in ("chunks", "matches") and value:
            value = [unset(below) for below in value]
        empty = name in ("tags", "_metadata", "scores", "evaluations", "location", "chunks", "matches")
        if value is None or (empty and len(value) == 0):
            continue
        if name in ("scores", "evaluations"):
            names = ("value", "op_name", "description", "ref_id")
            value = {key: {n: score[n] for n in names if n in score} for key, score in value.items()}
        out[name] = value
    return out


@st.composite
def records(draw: Any, levels: int = 3) -> dict[str, Any]:
    record = {"id": draw(texts), **draw(contents), **draw(st.fixed_dictionaries({}, optional=rest))}
    if levels > 1:
        for name in draw(st.sets(st.sampled_from(["chunks", "matches"]))):
            record[name] = draw(st.lists(records(levels - 1), max_size=2))
    return unset(record)


def rows_of(bodies: list[bytes]) -> Table:
    """What `decode_rows` makes of documents that lie apart in some bytes."""
    starts, whole = [], b"\xff"
    for body in bodies:
        starts.append(len(whole))
        whole += body + b"\xff"
    begins = np.array(starts, np.int64)
    return decode_rows(memoryview(whole), begins, begins + np.array(list(map(len, bodies)), np.int64))


@CASES
@given(records())
def test_a_record_comes_back_as_it_was(record):
    assert difference(record, decode_record(encode_record(record))) is None


@CASES
@given(st.lists(records(2), max_size=4), st.sampled_from([EXACT, MESSAGE]))
def test_rows_are_the_same_as_records_one_by_one(documents, way):
    table = table_of(documents)
    known = records_of(table)
    bodies = [encode_record(record, way) for record in known]
    assert bodies == encode_rows(table, way)
    assert difference([unset(record) for record in known], records_of(rows_of(bodies))) is None


def named_in_whole(value: Any) -> bool:
    """Whether no name in a mapping has half a character: written as question marks, names may be alike."""
    if isinstance(value, dict):
        halves = any("\ud800" <= one <= "\udfff" for key in value if isinstance(key, str) for one in key)
        return not halves and all(map(named_in_whole, value.values()))
    return not isinstance(value, list | tuple) or all(map(named_in_whole, value))


@CASES
@given(records(2).filter(named_in_whole))
def test_the_bytes_are_those_of_the_library(record):
    body = encode_record(record, MESSAGE)
    assert body == DocumentProto.FromString(body).SerializeToString(deterministic=True)
    assert difference(decode_record(body), decode_record(encode_record(record))) is None


def old_message(record: dict[str, Any]) -> DocumentProto:
    """The message of a record as the old library made it, from plain values."""
    message = DocumentProto()
    for name, value in record.items():
        if name in ("chunks", "matches"):
            getattr(message, name).extend(map(old_message, value))
        elif name in ("tags", "_metadata"):
            getattr(message, name).update(value)
        elif name in ("scores", "evaluations"):
            for key, score in value.items():
                getattr(message, name)[key].MergeFrom(NamedScoreProto(**score))
        elif name == "location":
            message.location.extend(value)
        elif name in ("tensor", "embedding"):
            array = getattr(message, name)
            dense = np.asarray(value)
            array.dense.buffer, array.dense.dtype = dense.tobytes(), dense.dtype.str
            array.dense.shape.extend(dense.shape)
            array.cls_name = "list" if isinstance(value, list) else "numpy"
        else:
            setattr(message, name, value)
    return message


said = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
single = st.floats(width=32, allow_nan=False).filter(bool)
old_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-9, 9) | said,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(said, inner, max_size=3),
    max_leaves=6,
)
old_tags = st.dictionaries(said | st.just(""), old_json, min_size=1, max_size=4)
old_scores = st.dictionaries(
    said,
    st.fixed_dictionaries(
        {}, optional={"value": single, "op_name": said, "description": said, "ref_id": said}
    ),
    min_size=1,
    max_size=3,
)
old_arrays = st.sampled_from(
    [
        np.arange(3, dtype=np.float32),
        np.zeros((2, 0), np.int8),
        np.array(2.5),
        [1, 2],
        [[1.5], [2.5]],
        np.ones(3) > 0,
    ]
)
old_records = st.fixed_dictionaries(
    {"id": said},
    optional={
        "text": said,
        "granularity": st.integers(1, 2**32 - 1),
        "adjacency": st.integers(1, 200),
        "parent_id": said,
        "weight": single,
        "uri": said,
        "modality": said,
        "mime_type": said,
        "offset": single,
        "location": st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
        "embedding": old_arrays,
        "tags": old_tags,
        "_metadata": old_tags,
        "scores": old_scores,
        "evaluations": old_scores,
    },
)


@CASES
@given(st.lists(old_records, min_size=1, max_size=4), st.lists(old_records, max_size=2))
def test_without_exact_the_bytes_are_those_of_the_old_library(documents, below):
    documents[0] = {**documents[0], **({"chunks": below, "matches": below} if below else {})}
    expected = [old_message(record).SerializeToString(deterministic=True) for record in documents]
    assert expected == [encode_record(record, OLD) for record in documents]
    assert expected == encode_rows(table_of(documents), OLD)


def test_everything_that_tags_can_hold_comes_back_and_old_readers_see_what_they_can():
    held = everything_in_tags()
    body = encode_record({"id": "a", "tags": held, "_metadata": {"x": 1}})
    assert difference(held, decode_record(body)["tags"]) is None
    assert difference(held, rows_of([body]).columns["tags"].value(0)) is None
    message = DocumentProto.FromString(body)
    assert 3.0 == message.tags["int"]
    assert [1.0, 2.0] == list(DocumentProto.FromString(encode_record({"tags": {"t": (1, 2)}})).tags["t"])
    assert sorted(["tags", "_metadata"]) == sorted(message.exact)


def test_only_what_is_lost_otherwise_is_said_twice():
    plain = {
        "id": "a",
        "text": "",
        "weight": 0.5,
        "tags": {"b": "x", "a": 1.0},
        "scores": {"b": {"value": 0.25}, "a": {}},
        "embedding": np.zeros((0, 3), np.int8),
        "location": [1.0, -0.0, math.nan],
        "offset": math.nan,
    }
    body = encode_record(plain)
    assert not DocumentProto.FromString(body).exact
    assert difference(unset(plain), decode_record(body)) is None
    lossy = {
        "id": "\ud800",
        "parent_id": "",
        "granularity": 0,
        "adjacency": 2**32,
        "mime_type": "",
        "weight": 0.1,
        "tags": {"x": 1},
        "offset": 0,
        "location": [0.1],
        "embedding": (1, 2),
        "tensor": sparse.lil_matrix((2, 2)),
        "scores": {"a": {"value": 0.0}},
        "evaluations": {"a": {"op_name": ""}},
    }
    assert sorted(lossy) == sorted(DocumentProto.FromString(encode_record(lossy)).exact)


def test_old_readers_can_read_tags_that_json_has_not():
    """They turn tags into JSON, and refuse the whole array for one NaN."""
    record = {"id": "a", "tags": {"x": math.nan, "y": [math.inf]}}
    body = encode_record(record)
    assert "NaN" == DocumentProto.FromString(body).tags["x"]
    assert body == encode_rows(table_of([record]))[0]
    assert difference(record, decode_record(body)) is None
    old = decode_record(encode_record(record, OLD))
    assert difference(record, old) is None


def test_tags_of_each_way_of_being_alike():
    """Fast and general path, kind of cell by kind of cell."""
    cells: dict[str, list[Any]] = {
        "float": [1.5, math.nan, -0.0],
        "int": [1, -2, 3],
        "long": [2**70, 1, 2],
        "longer": [10**400, 1, 2],
        "str": ["a", "é" * 40, "x" * 200],
        "empty": ["", "", ""],
        "surrogate": ["a", "\ud800", "b"],
        "bool": [True, False, True],
        "none": [None, None, None],
        "mixed": [1, "a", 2.5],
        "list": [[1.0], [], ["x"]],
    }
    for (a, left), (b, right), way in product(cells.items(), cells.items(), [EXACT, MESSAGE]):
        rows = [
            {"id": str(i), "tags": {a: x, b + "2": y}}
            for i, (x, y) in enumerate(zip(left, right, strict=True))
        ]
        bodies = [encode_record(row, way) for row in rows]
        assert bodies == encode_rows(table_of(rows), way), (a, b)
        assert difference(rows, records_of(rows_of(bodies))) is None, (a, b)


# --- what others write ---------------------------------------------------------------------------------------------


def fields_of(body: bytes) -> list[bytes]:
    """The fields of a message, each with its tag and length."""
    out, begun = [], 0
    for _, kind, start, stop in varints.scan(body, 0, len(body), range(1, 2048)):
        if kind == 0:  # the value is given and not its place: two varints further
            stop = begun
            for _ in range(2):
                while body[stop] > 127:
                    stop += 1
                stop += 1
        out.append(body[begun:stop])
        begun = stop
        assert start >= 0
    return out


UNKNOWN = [
    b"\xa8\x01\x05",
    b"\xfa\x01\x03abc",
    b"\xa5\x01abcd",
    b"\xa1\x01abcdefgh",
    b"\xab\x01\x08\x01\xac\x01",
    b"\xaa\xff\x07\x01x",
    b"\x08\x01",  # an id that is a number
]


@CASES
@given(st.lists(records(2), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_fields_in_any_order_and_unknown_ones_and_such_that_come_twice(documents, random):
    bodies = []
    for record in documents:
        parts = fields_of(encode_record(record, MESSAGE))
        parts += random.choices(parts, k=random.randrange(3)) + random.choices(UNKNOWN, k=random.randrange(3))
        random.shuffle(parts)
        bodies.append(b"".join(parts))
    known = []
    for body in bodies:
        message = DocumentProto.FromString(body)
        message.DiscardUnknownFields()
        try:
            known.append(decode_record(message.SerializeToString(deterministic=True)))
        except CorruptData:  # what comes twice may be merged to what makes no sense, such as a shape
            for read in (decode_record, lambda data: rows_of([data])):
                with pytest.raises(CorruptData):
                    read(body)
            return
    assert difference(in_key_order(known), in_key_order([decode_record(body) for body in bodies])) is None
    for record in known:
        record.setdefault("id", None)
    read = records_of(rows_of(bodies))
    for record, row in zip(known, read, strict=True):
        drop_drawn_ids(record, row)
    assert difference(in_key_order(known), in_key_order(read)) is None


def in_key_order(value: Any) -> Any:
    """Dicts with sorted keys: the maps of messages have no order."""
    if type(value) is dict:
        return {key: in_key_order(value[key]) for key in sorted(value, key=repr)}
    return [in_key_order(item) for item in value] if type(value) is list else value


def drop_drawn_ids(record: dict[str, Any], row: dict[str, Any]) -> None:
    if record.get("id") is None:
        record.pop("id", None)
        row.pop("id", None)
    for name in ("chunks", "matches"):
        for a, b in zip(record.get(name, []), row.get(name, []), strict=True):
            drop_drawn_ids(a, b)


def test_messages_that_are_split_are_merged():
    whole = {"id": "a", "tags": {"a": 1.0, "b": "x"}, "embedding": np.arange(3, dtype=np.float32)}
    parts = [
        encode_record({"tags": {"a": 1.0}}),
        encode_record({"id": "a"}),
        encode_record({"tags": {"b": "x"}}),
        encode_record({"embedding": np.arange(3, dtype=np.float32)}),
    ]
    assert difference({**whole, "tags": {"a": 1.0, "b": "x"}}, unset(decode_record(b"".join(parts)))) is None
    body = (
        encode_record({"text": "old"})
        + encode_record({"blob": b"new"})
        + b"\x6d\0\0\x80\x3f\x6a\x04\0\0\0\x40"
    )
    expected = {"blob": b"new", "location": [1.0, 2.0]}
    assert expected == decode_record(body)
    assert expected == {k: v for k, v in records_of(rows_of([body, body]))[1].items() if k != "id"}


def test_ids_that_are_missing_are_drawn():
    table = rows_of([b"", encode_record({"id": "a"}), b"\x0a\x00"])
    assert "a" == table.ids[1]
    assert 3 == len(set(table.ids))
    assert 2 == len(set(rows_of([b"", b""]).ids))


# --- arrays --------------------------------------------------------------------------------------------------------


def check_array(value: Any, expected: Any) -> None:
    record = {"id": "a", "embedding": value}
    body = encode_record(record)
    assert difference({"id": "a", "embedding": expected}, decode_record(body)) is None
    assert difference([{"id": "a", "embedding": expected}], records_of(rows_of([body]))) is None
    assert body == encode_rows(table_of([record]))[0]
    assert difference(expected, decode_record(encode_record(record, MESSAGE))["embedding"]) is None


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
def test_arrays_of_torch_come_back():
    torch = pytest.importorskip("torch")
    square = torch.tensor([[0, 1.5], [2.5, 0]])
    for value in (
        torch.arange(3.0),
        torch.ones((2, 0), dtype=torch.int8),
        torch.tensor(2.5),
        torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
        torch.tensor([True, False]),
        square.to_sparse(),
        square.to_sparse_csr(),
        torch.arange(4.0)[::2].requires_grad_(),
    ):
        check_array(value, value.detach())


@pytest.mark.parametrize(
    "value",
    [
        sparse.csr_matrix([[0, 1.5]]),
        sparse.csr_array([[0, 1.5]]),
        sparse.coo_matrix(([1.0, 2.0], ([0, 0], [1, 1])), shape=(1, 2)),
        sparse.bsr_matrix(np.kron(np.eye(2), np.ones((2, 2)))),
        sparse.bsr_matrix(np.ones((4, 4)), blocksize=(1, 2)),
        sparse.lil_matrix([[0, 1.5]]),
        sparse.dok_matrix([[0, 1.5]]),
        sparse.dia_matrix([[0, 1.5]]),
        sparse.coo_array(([1.0], ([2],)), shape=(3,)),
        sparse.csr_matrix((0, 0)),
        [1, 2.5, True],
        [[], []],
        [[1], [2, 3]],
        [2**70],
        (1, 2),
        ["a"],
        np.array(["a", "\U0001f600"]),
        np.array(["2024"], "M8[Y]"),
        np.zeros((0, 2**33)),
    ],
    ids=repr,
)
def test_arrays_of_each_kind_come_back(value):
    check_array(value, value)


def test_arrays_that_are_read_can_be_written_to():
    record = {"id": "a", "tensor": np.arange(3), "embedding": np.arange(4, dtype=np.float32)}
    body = encode_record(record)
    columns = rows_of([body, body]).columns
    for array in (
        decode_record(body)["tensor"],
        columns["tensor"].value(0),
        columns["embedding"].value(1),
        rows_of([body, encode_record({"embedding": np.ones(1)})]).columns["embedding"].value(0),
    ):
        array[0] = 7
        assert 7 == array[0]
    assert 0 == columns["embedding"].value(0)[0]


@pytest.mark.parametrize("missing", [[], [1], [0, 2], [0, 1, 2, 3]])
def test_vectors_that_are_missing(missing):
    rows = [{"id": str(i), "embedding": np.full(3, i, np.float32)} for i in range(5)]
    for row in missing:
        del rows[row]["embedding"]
    assert difference(rows, records_of(rows_of(encode_rows(table_of(rows))))) is None


@pytest.mark.parametrize(
    "value",
    [np.array([object()]), np.ma.masked_array([1], [True]), np.zeros(2, [("a", "i4")])],
    ids=["objects", "masked", "fields"],
)
def test_arrays_that_cannot_be_stored_are_named(value):
    for write in (encode_record, lambda record: encode_rows(table_of([record]))):
        with pytest.raises(FieldTypeError, match="'embedding' of document 'doc-1'"):
            write({"id": "doc-1", "embedding": value})


def test_what_a_plain_field_cannot_say_is_refused_without_exact():
    for name, value, error in [
        ("embedding", sparse.lil_matrix((2, 2)), Unsupported),
        ("embedding", [[1], [2, 3]], Unsupported),
        ("text", "\ud800", FieldTypeError),
        ("tags", {"a": b"x"}, FieldTypeError),
        ("tags", {1: 2}, FieldTypeError),
        ("tags", {"a": 10**400}, FieldTypeError),
        ("weight", 1e300, FieldTypeError),
        ("granularity", -1, FieldTypeError),
        ("scores", {"\ud800": {}}, FieldTypeError),
    ]:
        for write in (encode_record, lambda record, way: encode_rows(table_of([record]), way)):
            with pytest.raises(error, match=f"'{name}' of document 'doc-1'"):
                write({"id": "doc-1", name: value}, OLD)


@pytest.mark.parametrize(
    ("name", "value"),
    [("text", 5), ("tags", 5), ("scores", {"a": 5}), ("location", 5), ("embedding", "x"), ("weight", "x"),
     ("granularity", "x"), ("blob", "x"), ("chunks", 5), ("scores", {"a": {"colour": 1}})],
)  # fmt: skip
def test_values_of_the_wrong_type_are_refused(name, value):
    with pytest.raises(FieldTypeError, match="doc-1"):
        encode_record({"id": "doc-1", name: value})


def test_fields_that_there_are_not():
    with pytest.raises(UnknownField, match="colour"):
        encode_record({"id": "a", "colour": "red"})
    with pytest.raises(UnknownField, match="colour"):
        encode_rows(Table({"colour": column_of("text", ["red"])}))
    with pytest.raises(FieldTypeError, match="tags"):
        encode_rows(Table({"tags": column_of("text", ["red"])}))


def test_ndarray_type_reaches_nested_documents():
    below = {"id": "c", "tensor": [1, 2], "embedding": np.float32([1, 2])}
    record = {"id": "a", "chunks": [below], "embedding": sparse.csr_matrix([[0, 1.0]])}
    for way, kinds in [("list", (list, list, list)), ("numpy", (np.ndarray,) * 3)]:
        for body in (encode_record(record, EXACT, way), encode_rows(table_of([record]), EXACT, way)[0]):
            read = decode_record(body)
            child = read["chunks"][0]
            assert kinds == (type(read["embedding"]), type(child["embedding"]), type(child["tensor"]))
            assert difference([1.0, 2.0], np.asarray(child["embedding"]).tolist()) is None
    with pytest.raises(FieldTypeError, match="ndarray_type"):
        encode_record(record, EXACT, "tuple")


# --- tags, read when they are touched ------------------------------------------------------------------------------


@CASES
@given(st.lists(st.none() | tags, min_size=1, max_size=6), st.data())
def test_a_column_of_structs_is_the_same_as_one_of_dicts(values, draw):
    values = [value or None for value in values]
    rows = [
        {"id": str(i)} if value is None else {"id": str(i), "tags": value} for i, value in enumerate(values)
    ]
    column = rows_of([encode_record(row) for row in rows]).columns.get("tags")
    if column is None:
        assert not any(values)
        return
    assert isinstance(column, StructColumn)
    n = len(values)
    chosen = draw.draw(st.lists(st.integers(0, n - 1), max_size=6))
    start = draw.draw(st.integers(0, n))
    expected = JsonColumn(values)
    assert difference(values, column.values()) is None
    assert difference(values, [column.value(i) for i in range(n)]) is None
    take = np.array(chosen, np.intp)
    assert difference([values[i] for i in chosen], column.take(take).values()) is None
    assert difference(values[start:], column.slice(start, n).values()) is None
    gaps = column.missing(2)
    for joined in (
        column.joined([gaps]),
        column.joined([JsonColumn([None] * 2)]),
        JsonColumn(values).joined([gaps]),
    ):
        assert difference([*values, None, None], joined.values()) is None
    mask = column.present
    assert [value is not None for value in values] == ([True] * n if mask is None else mask.tolist())
    by_key, known = column.by_key(), expected.by_key()
    assert (by_key is None) == (known is None)
    if by_key is not None and known is not None:
        assert (
            difference({k: c.values() for k, c in known.items()}, {k: c.values() for k, c in by_key.items()})
            is None
        )
    buffers: dict[str, Any] = {}
    form = column.to_buffers("x", buffers)
    assert difference(values, JsonColumn.from_buffers(form, "x", buffers).values()) is None


def test_two_readings_of_tags_share_nothing():
    column = rows_of([encode_record({"tags": {"a": ["x"]}})]).columns["tags"]
    column.value(0)["a"].append("y")
    assert {"a": ["x"]} == column.value(0) == column.values()[0]


def test_structs_that_others_write_otherwise():
    """Value before key, keys that come twice, values that say nothing."""
    text = b"\x0a\x06\x12\x04\x1a\x02hi"  # no key
    assert {"": "hi"} == structs.decode(text)
    swapped = b"\x0a\x09\x12\x04\x1a\x02hi\x0a\x01k"
    assert {"k": "hi"} == structs.decode(swapped)
    assert {"k": None} == structs.decode(b"\x0a\x03\x0a\x01k") == structs.decode(b"\x0a\x05\x0a\x01k\x12\x00")
    assert {"k": True} == structs.decode(b"\x0a\x09\x0a\x01k\x12\x04\x20\x00\x20\x01" + b"\x10\x05")
    twice = structs.encode({"a": 1.0})[0] + structs.encode({"a": 2.0})[0]
    assert {"a": 2.0} == structs.decode(twice)


def test_tags_nested_too_deep_for_a_reader_stand_as_text_and_come_back():
    value: Any = "bottom"
    for i in range(60):
        value = {"d": value} if i % 2 else [value]
    record = {"id": "a", "tags": {"x": value}}
    body = encode_record(record)
    assert difference(record, decode_record(body)) is None
    assert "a" == DocumentProto.FromString(body).id
    itself: dict[str, Any] = {}
    itself["x"] = itself
    with pytest.raises(FieldTypeError, match="'tags' of document 'a'"):
        encode_record({"id": "a", "tags": itself})


# --- hostile bytes -------------------------------------------------------------------------------------------------


def sample() -> dict[str, Any]:
    return {
        "id": "é",
        "text": "some text",
        "granularity": 300,
        "weight": 0.1,
        "tags": {"b": 1.5, "a": [None, {"x": "y"}]},
        "location": [1.0, 2.0],
        "embedding": np.arange(3, dtype=np.float32),
        "scores": {"cosine": {"value": 0.5, "op_name": "x"}},
        "chunks": [{"id": "c", "tensor": sparse.csr_matrix([[0, 1.5]])}, {"id": "d", "tensor": [1, 2]}],
        "_metadata": {"z": True},
    }


def touched(body: bytes) -> Any:
    """Both readings of a document, or CorruptData for each that refuses it."""
    out = []
    for read in (decode_record, lambda data: records_of(rows_of([data] * 30))[7]):
        try:
            out.append(read(body))
        except CorruptData as error:
            out.append(error)
    return out


def agree(body: bytes) -> None:
    one, many = touched(body)
    assert isinstance(one, CorruptData) == isinstance(many, CorruptData), (one, many)
    if isinstance(one, CorruptData):
        return
    drop_drawn_ids(one, many)
    assert difference(unset(one), unset(many)) is None
    DocumentProto.FromString(body)  # what is read here is a message for the library too


def test_documents_cut_off_at_every_byte():
    body = encode_record(sample())
    for size in range(len(body)):
        agree(body[:size])


def test_documents_with_a_byte_changed():
    body = bytearray(encode_record(sample()))
    for at, flip in product(range(len(body)), (0x08, 0xFF)):
        changed = bytearray(body)
        changed[at] ^= flip
        agree(bytes(changed))


@settings(CASES, max_examples=120)
@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from([10, 18, 1, 2, 5, 130, 0, 122, 114, 26, 255, 34]), max_size=30).map(bytes)
)
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x0a\xff\xff\xff\xff\x0f")
@example(b"\x28" + b"\xff" * 10 + b"\x01")
@example(b"\x00\x00")
@example(b"\x0b\x0c" * 20)
@example(b"\x0b" * 300)
def test_any_bytes(body):
    agree(body)


def nested(depth: int, tag: bytes = b"\x72") -> bytes:
    body = b""
    for _ in range(depth):
        body = tag + varints.varint(len(body)) + body
    return body


@pytest.mark.parametrize("depth", [129, 10_000])
def test_documents_nested_too_deep(depth):
    for body in (nested(depth), nested(depth, b"\x0a\x01x\x72")):
        for refused in touched(body):
            assert "nested" in str(refused)
            assert isinstance(refused, CorruptData)


def test_documents_may_be_nested_as_deep_as_tables():
    record: dict[str, Any] = {"id": "0"}
    for i in range(128):
        record = {"id": str(i), ("chunks", "matches")[i % 2]: [record]}
    for read in (
        decode_record(encode_record(record)),
        records_of(rows_of(encode_rows(table_of([record]))))[0],
    ):
        for i in reversed(range(128)):
            assert str(i) == read["id"]
            (read,) = read[("chunks", "matches")[i % 2]]
        assert {"id": "0"} == read
    for write in (
        encode_record,
        lambda deep: encode_rows(Table({"chunks": DocsColumn(np.array([0, 1]), deep)})),
    ):
        with pytest.raises(BadValue, match="128 levels"):
            write({"chunks": [record]} if write is encode_record else table_of([record]))


def test_documents_nested_in_too_many_ways():
    """A table for each way: a small file could ask for as many as it has documents."""
    body = b""
    for _ in range(14):
        size = varints.varint(len(body))
        body = b"\x72" + size + body + b"\x7a" + size + body
    with pytest.raises(CorruptData, match="ways"):
        rows_of([body])


@pytest.mark.parametrize("depth", [101, 10_000])
def test_tags_nested_too_deep(depth):
    body = b""
    for _ in range(depth):
        body = (
            b"\x32"
            + varints.varint(len(body) + 1 + len(varints.varint(len(body))))
            + b"\x0a"
            + varints.varint(len(body))
            + body
        )
    body = b"\x0a\x01k\x12" + varints.varint(len(body)) + body
    body = b"\x0a" + varints.varint(len(body)) + body
    body = b"\x8a\x01" + varints.varint(len(body)) + body
    for refused in touched(body):
        assert isinstance(refused, CorruptData)


def array_field(dtype: str, shape: list[int], buffer: bytes, name: str = "numpy") -> bytes:
    message = DocumentProto(id="a")
    message.embedding.dense.buffer, message.embedding.dense.dtype = buffer, dtype
    message.embedding.dense.shape.extend(shape)
    message.embedding.cls_name = name
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("dtype", "shape", "buffer", "name"),
    [
        ("<f4", [3], b"\0" * 8, "numpy"),
        ("<f4", [2**31, 2**31, 4], b"\0" * 8, "numpy"),
        ("<f4", [2**32 - 1] * 40, b"", "numpy"),
        ("<f4", [0] + [1] * 80, b"", "numpy"),
        ("<f4", [0, 2**32 - 1, 2**32 - 1, 2**32 - 1], b"", "numpy"),
        ("|O", [1], b"\0" * 8, "numpy"),
        ("i4,i4", [1], b"\0" * 8, "numpy"),
        ("(9999999999,)f4", [1], b"\0" * 8, "numpy"),
        ("", [1], b"\0", "numpy"),
        ("|b1", [2], b"\x01\x02", "numpy"),
        ("<f4", [1], b"\0" * 4, "cupy"),
        ("<f4", [1], b"\0" * 4, ""),
    ],
)
def test_arrays_that_lie(dtype, shape, buffer, name):
    for refused in touched(array_field(dtype, shape, buffer, name)):
        assert isinstance(refused, CorruptData), refused


def test_tensors_that_lie():
    pytest.importorskip("torch")
    for body in (
        array_field("<U1", [1], b"\0" * 4, "torch"),
        array_field("|V4", [1], b"\0" * 4, "torch"),
        sparse_field("", [2, 2], [[0], [5]], [1.0], "torch"),
        sparse_field("", [2, 2], [[0], [1]], ["a"], "torch"),
    ):
        for refused in touched(body):
            assert isinstance(refused, CorruptData), refused


@pytest.mark.parametrize("name", ["tensorflow", "paddle"])
def test_frameworks_that_are_not_installed_are_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    bodies = [array_field("<f4", [1], b"\0" * 4, name)]
    if name == "tensorflow":
        bodies.append(sparse_field("", [2, 2], [[0, 1]], [1.5], name))
    for body in bodies:
        with pytest.raises(MissingExtra, match=name):
            decode_record(body)
        with pytest.raises(MissingExtra, match=name):
            records_of(rows_of([body]))


class Eager:
    """As much of a tensor of tensorflow, or of paddle, as is looked at."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def numpy(self) -> Any:
        return self.array


class EagerSparse:
    def __init__(self, indices: Any, values: Any, dense_shape: Any) -> None:
        self.indices, self.values, self.dense_shape = Eager(indices), Eager(values), tuple(dense_shape)
        self.shape, self.dtype = self.dense_shape, self.values.dtype


@pytest.mark.parametrize("name", ["tensorflow", "paddle"])
def test_tensors_of_frameworks_that_lend_their_arrays(name, monkeypatch):
    kind = type("Tensor", (Eager,), {"__module__": f"{name}.python"})
    sparse_kind = type("SparseTensor", (EagerSparse,), {"__module__": f"{name}.python"})
    fake = SimpleNamespace(convert_to_tensor=kind, to_tensor=kind, SparseTensor=sparse_kind)
    monkeypatch.setitem(sys.modules, name, fake)
    body = encode_record({"embedding": kind(np.float32([1, 2]))})
    column = column_of("tensor", [kind(np.float32([1, 2]))])
    assert encode_record({"id": "a"}) + body == encode_rows(Table({"embedding": column}, ids=["a"]))[0]
    read = decode_record(body)["embedding"]
    assert type(read) is kind
    assert difference(np.float32([1, 2]), read.numpy()) is None
    assert name == DocumentProto.FromString(body).embedding.cls_name
    assert not DocumentProto.FromString(body).exact
    if name == "tensorflow":
        body = encode_record({"embedding": sparse_kind([[0, 1]], [1.5], (2, 2))})
        again = decode_record(body)["embedding"]
        assert [[0, 1]] == again.indices.array.tolist()
        assert ([1.5], (2, 2)) == (again.values.array.tolist(), again.dense_shape)


def test_dtypes_by_their_names_are_read():
    read = decode_record(array_field("float32", [1], struct.pack("<f", 1.5)))
    assert difference(np.array([1.5], np.float32), read["embedding"]) is None


def sparse_field(fmt: str, shape: list[int], where: Any, values: Any, name: str = "scipy") -> bytes:
    message = DocumentProto(id="a")
    held = message.embedding.sparse
    for part, array in ((held.indices, np.asarray(where)), (held.values, np.asarray(values))):
        part.buffer, part.dtype = array.tobytes(), array.dtype.str
        part.shape.extend(array.shape)
    held.shape.extend(shape)
    message.embedding.cls_name = name
    message.embedding.parameters["sparse_format"] = fmt
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("fmt", "shape", "where", "values", "name"),
    [
        ("csr", [2, 2], [[0, 2]], [1.0], "scipy"),
        ("csr", [2, 2], [[-1, 0]], [1.0], "scipy"),
        ("csr", [2, 2], [[0, 0]], [1.0, 2.0], "scipy"),
        ("csr", [2], [[0]], [1.0], "scipy"),
        ("csr", [2, 2], [[0.0, 0.0]], [1.0], "scipy"),
        ("csr", [2**32 - 1, 1], [[0, 0]], [1.0], "scipy"),
        ("csc", [1, 2**32 - 1], [[0, 0]], [1.0], "scipy"),
        ("dia", [1, 2**32 - 1], [[0, 0]], [1.0], "scipy"),
        ("xyz", [2, 2], [[0, 0]], [1.0], "scipy"),
        ("csr", [2, 2], [[0, 0]], ["a"], "scipy"),
        ("", [2, 2], [[0], [0]], [1.0], "jax"),
    ],
)
def test_sparse_arrays_that_lie(fmt, shape, where, values, name):
    for refused in touched(sparse_field(fmt, shape, where, values, name)):
        assert isinstance(refused, CorruptData), refused


def test_formats_that_the_old_library_lost_are_read():
    for fmt in ("lil", "dok", "dia"):
        read = decode_record(sparse_field(fmt, [2, 2], [[0, 1]], [1.5]))["embedding"]
        assert (fmt, [[0, 1.5], [0, 0]]) == (read.format, read.toarray().tolist())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chunks", "[]"),
        ("colour", '"red"'),
        ("text", "5"),
        ("weight", '"x"'),
        ("weight", "true"),
        ("tags", "[]"),
        ("tags", "{"),
        ("tags", "[" * 100_000),
        ("tags", '{"$docarray":"code","is":1}'),
        ("embedding", "{}"),
        ("embedding", '{"form":{"kind":"text","layout":"flat","length":1},"buffers":{}}'),
        ("embedding", '{"form":5,"buffers":7}'),
        ("embedding", '{"form":{"kind":"tensor","layout":"uniform","length":1,"shape":[99],"dtype":"<f8",'
                      '"framework":"numpy"},"buffers":{"x.data":"abc"}}'),
        ("location", "[null]"),
        ("scores", '{"a":5}'),
        ("scores", '{"a":{"value":"x"}}'),
        ("blob", '"x"'),
    ],
)  # fmt: skip
def test_exact_is_not_believed(name, text):
    body = DocumentProto(id="a", exact={name: text}).SerializeToString()
    for refused in touched(body):
        assert isinstance(refused, CorruptData), refused


def test_many_fields_take_no_memory_and_no_age():
    unknown = encode_record({"id": "a"}) + b"\xa8\x01\x05" * 300_000
    tracemalloc.start()
    table = decode_rows(memoryview(unknown), np.array([0]), np.array([len(unknown)]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ["a"] == table.ids
    assert peak < 2 * len(unknown)


def test_damage_is_found_where_it_is():
    body = encode_record({"id": "abc", "text": "some text"})
    with pytest.raises(CorruptData, match="document 2, byte 5: field 4"):
        decode_rows(memoryview(body), np.array([0, 0, 0]), np.array([len(body), len(body), len(body) - 1]))
    bodies = [body] * 200
    whole = b"".join(bodies)
    starts = np.arange(200) * len(body)
    broken = bytearray(whole)
    broken[150 * len(body)] = 0x0F
    with pytest.raises(CorruptData, match=f"document 150, byte {150 * len(body)}"):
        decode_rows(memoryview(bytes(broken)), starts, starts + len(body))


# --- varints -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1))
def test_varints_come_back(number):
    assert (number, len(varints.varint(number))) == varints.read_varint(varints.varint(number), 0, 10)


@settings(CASES, max_examples=100)
@given(
    st.lists(
        st.lists(st.sampled_from([*UNKNOWN, b"\x0a\x02ab", b"\x28\x96\x01", b"\x45abcd", b"\x8a\x01\x00"])),
        min_size=1,
        max_size=70,
    )
)
def test_messages_in_step_are_the_same_as_one_by_one(messages):
    bodies = [b"".join(fields) for fields in messages]
    stops = np.cumsum([len(body) for body in bodies])
    starts = stops - np.array([len(body) for body in bodies])
    whole = b"".join(bodies)
    wanted = frozenset({1, 5, 8, 17})
    found = varints.scan_many(memoryview(whole), starts, stops, wanted)
    for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        here = found.rows == row
        got = zip(
            found.numbers[here].tolist(),
            found.kinds[here].tolist(),
            found.starts[here].tolist(),
            found.stops[here].tolist(),
            strict=True,
        )
        assert list(varints.scan(whole, start, stop, wanted)) == list(got)


@given(st.lists(st.integers(0, 20), max_size=60), st.booleans())
def test_stretches_are_gathered(sizes, same):
    if same and sizes:
        sizes = [sizes[0]] * len(sizes)
    data = bytes(range(256))
    starts = np.arange(len(sizes), dtype=np.int64) * 3
    expected = b"".join(data[s : s + n] for s, n in zip(starts.tolist(), sizes, strict=True))
    assert expected == varints.gathered(memoryview(data), starts, np.array(sizes, np.int64)).tobytes()


def test_frames_have_no_axis_beyond_32_bits():
    with pytest.raises(BadValue, match="32 bits"):
        ndarrays.frame((2**32, 0), np.dtype("f4"), "numpy", 0)


def test_the_struct_of_the_library_is_ours():
    value = {"b": [1.5, None, {"x": []}], "a": True, "": {}}
    message = Struct()
    message.update(value)
    assert (message.SerializeToString(deterministic=True), False) == structs.encode(value, OLD)
    with pytest.raises(DecodeError):
        Struct.FromString(b"\x0a\x05")
    with pytest.raises(CorruptData, match="no Struct"):
        structs.decode(b"\x0a\x05")


def test_atoms_alone():
    """Each atom that tags can hold, as the only value: none hides behind another."""

    @settings(CASES, max_examples=150)
    @given(atoms)
    def check(value):
        record = {"id": "a", "tags": {"k": value}}
        assert difference(record, decode_record(encode_record(record))) is None

    check()
