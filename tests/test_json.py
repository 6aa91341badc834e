"""JSON and NDJSON: the layout of the old library, nothing lost, nothing believed."""

from __future__ import annotations

import io
import json
import math
import re
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
from everything import (
    CELLS,
    alike_array,
    difference,
    everything,
    everything_array,
    json_values,
    ndarrays,
    tables,
    tensors,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray
from docarray.columns import UniformTensors, column_of
from docarray.errors import CorruptData, FieldTypeError, FormatError, UnknownField, UnknownName
from docarray.records import records_of, table_of
from docarray.schema import FIELDS
from docarray.serialization import json as module
from docarray.serialization.json import JSON, NDJSON, from_dicts, parsed, to_dict, to_dicts
from docarray.table import Table

OLD = Path(__file__).parent / "data" / "old"


@pytest.fixture(params=["orjson", "standard library"])
def writer(request, monkeypatch):
    """Both ways to write and read."""
    if request.param == "orjson":
        pytest.importorskip("orjson")
    else:
        monkeypatch.setattr(module, "_orjson", lambda: None)


def table_from(da: Any) -> Table:
    return da._slots.table()


def read(data: bytes, form: Any = JSON, **options: Any) -> Table:
    return form.loads(memoryview(data), **options)


_simple = st.fixed_dictionaries(
    {"id": st.text(max_size=3)},
    optional={
        "granularity": st.integers(-1, 9) | st.just(1 << 63),
        "mime_type": st.text(max_size=3),
        "text": st.text(max_size=3) | st.just("\ud800"),
        "tags": st.dictionaries(st.text(max_size=2), json_values, max_size=3),
        "embedding": st.tuples(
            st.lists(st.floats(width=32) | st.just(1e300), max_size=3),
            st.sampled_from(["<f4", "<f8", ">f4", "<i4", "<i8", "|b1", "<f2"]),
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(_simple, st.booleans())
def test_one_document_is_said_and_read_as_in_a_table(record, exclude_none):
    """What is done without a table is what is done with one."""
    record = {name: record[name] for name in FIELDS if name in record}
    if "embedding" in record:
        numbers, dtype = record["embedding"]
        whole = dtype[1] in "bi"
        with np.errstate(over="ignore"):
            record["embedding"] = np.array([3] * len(numbers) if whole else numbers).astype(dtype)
    said = to_dicts(table_of([record]), exclude_none=exclude_none)[0]

    assert difference(to_dict(record, exclude_none=exclude_none), said) is None
    assert difference(module.from_dict(said), records_of(from_dicts([said]))[0]) is None


@pytest.mark.parametrize(
    "value",
    [
        {"embedding": [1.0, 2]},
        {"embedding": [1.0, True]},
        {"embedding": [1.0, math.nan], "_arrays": {"embedding": {"dtype": "<f4"}}},
        {"embedding": [1.0], "_arrays": {"embedding": {"framework": "list"}}},
        {"embedding": [1.0], "_arrays": {"embedding": {"dtype": "<f4", "framework": "numpy"}}},
        {"embedding": [1.0], "_arrays": {"tensor": {"dtype": "<f4"}}},
        {"tensor": [[1.0], [2.0]], "_arrays": None},
        {"tensor": 1.0},
        {"id": 5, "text": None, "tags": {"a": {"b": (1,)}}},
        {"content": "x", "granularity": True},
        {"granularity": 1 << 80},
        {"tags": {1: 2}},
    ],
    ids=repr,
)
def test_odd_dicts_are_read_as_in_a_table(value):
    value = {"id": "a", **value}

    try:
        expected = records_of(from_dicts([value]))[0]
    except CorruptData as error:
        with pytest.raises(CorruptData, match=re.escape(str(error))):
            module.from_dict(value)
    else:
        assert difference(module.from_dict(value), expected) is None


def there_and_back(table: Table, form: Any = JSON, **options: Any) -> Table:
    return read(form.dumps(table, **options), form)


# --- everything ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [JSON, NDJSON])
@pytest.mark.parametrize(
    "options", [{}, {"arrays": "base64"}, {"exclude_none": True}, {"exclude_none": False}]
)
@pytest.mark.parametrize("make", [everything_array, alike_array, DocumentArray], ids=lambda m: m.__name__)
def test_everything_goes_and_comes_back(writer, make, options, form):
    da = make()

    assert difference(da, DocumentArray(there_and_back(table_from(da), form, **options))) is None


@pytest.mark.parametrize("number", range(14))
def test_one_document_with_every_field(writer, number):
    (record,) = records_of(table_from(DocumentArray([everything(3, number)])))

    for form in (JSON, NDJSON):
        found = form.loads_record(memoryview(form.dumps_record(record)))
        assert difference(table_of([record]), table_of([found])) is None
    assert difference(table_of([record]), from_dicts([to_dict(record)])) is None


@pytest.mark.parametrize(
    "options", [{"indent": 2}, {"indent": "\t"}, {"encoding": "utf-16"}, {"ensure_ascii": True}]
)
def test_options_of_the_text(writer, options):
    table = table_from(alike_array(5)).with_columns(
        {"text": column_of("text", ["ä\U0001f600", "", "漢", "\ud800", "x"])}
    )

    data = JSON.dumps(table, **options)

    assert difference(table, read(data)) is None
    assert ("indent" in options) == (b"\n" in data)
    if "ensure_ascii" in options:
        assert data.isascii()


def test_an_encoding_that_lacks_letters_has_them_escaped():
    table = table_of([{"id": "漢", "text": "é"}])

    data = JSON.dumps(table, encoding="latin-1")

    assert b"\\u6f22" in data
    assert difference(table, read(data, encoding="latin-1")) is None


def test_two_lone_surrogates_that_ascii_would_join_are_refused():
    table = table_of([{"id": "\ud83d\ude00"}])

    assert difference(table, there_and_back(table)) is None
    for options in ({"ensure_ascii": True}, {"encoding": "utf-16"}):
        with pytest.raises(FieldTypeError, match="side by side"):
            JSON.dumps(table, **options)


def test_unknown_options_are_refused_by_name():
    for call in (
        lambda: JSON.dumps(table_of([]), idnent=2),
        lambda: NDJSON.dumps(table_of([]), indent=2),
        lambda: read(b"[]", unkown="tags"),
        lambda: to_dicts(table_of([]), exclude_unset=True),
    ):
        with pytest.raises(TypeError, match=r"indent|unkown|exclude_unset|idnent"):
            call()
    for call in (
        lambda: JSON.dumps(table_of([]), arrays="lists"),
        lambda: to_dicts(table_of([]), arrays="lists"),
        lambda: read(b"[]", unknown="tag"),
        lambda: from_dicts([], unknown="tag"),
    ):
        with pytest.raises(UnknownName, match="Did you mean"):
            call()
    with pytest.raises(UnknownName, match="utf-9"):
        JSON.dumps(table_of([]), encoding="utf-9")
    with pytest.raises(UnknownName, match="utf-9"):
        read(b"[]", encoding="utf-9")


# --- the layout ---------------------------------------------------------------------------------------------------


def test_the_golden_vector_of_the_old_library(writer):
    table = table_of(
        [
            {
                "id": "b",
                "tensor": np.array([[1, 2], [3, 4]]),
                "scores": {"cosine": {"value": 0.25}},
                "chunks": [{"id": "c", "blob": b"\0\1", "parent_id": "b", "granularity": 1}],
            }
        ]
    )

    assert (
        '[{"id":"b","tensor":[[1,2],[3,4]],"scores":{"cosine":{"value":0.25}},"chunks":[{"id":"c","parent_id":"b",'
        '"granularity":1,"blob":"AAE="}]}]'
    ) == JSON.dumps(table, exclude_none=True).decode()


def test_keys_stand_in_the_old_order_and_are_null_where_unset(writer):
    table = table_of([{"id": "a"}, {"id": "b", "_metadata": {"m": 1}, "scores": {"s": {"value": 1}}}])

    a, b = json.loads(JSON.dumps(table))

    assert [name for name in FIELDS if name != "_metadata"] == list(a)
    assert {"id": "a", **dict.fromkeys(list(a)[1:])} == a
    assert ["matches", "_metadata"] == list(b)[-2:]
    assert {"value": 1, "op_name": None, "description": None, "ref_id": None} == b["scores"]["s"]
    assert [{"id": "a"}, {"id": "b", "scores": {"s": {"value": 1}}, "_metadata": {"m": 1}}] == to_dicts(
        table, exclude_none=True
    )


def test_ndjson_leaves_out_what_is_unset_by_default():
    table = table_of([{"id": "a"}, {"id": "b", "text": "two\nlines"}])

    assert b'{"id":"a"}\n{"id":"b","text":"two\\nlines"}\n' == NDJSON.dumps(table)
    assert b'"text":null' in NDJSON.dumps(table, exclude_none=False)


def test_ints_stay_ints_and_bools_bools(writer):
    """0 became False, 1 True, and 2 was 2.0 (docarray issue 287)."""
    tags = {
        "zero": 0,
        "one": 1,
        "two": 2,
        "yes": True,
        "no": False,
        "float": 1.0,
        "long": 2**64,
        "none": None,
    }
    table = table_of([{"id": "a", "tags": tags, "_metadata": tags}])

    found = there_and_back(table).columns

    assert difference(tags, found["tags"].value(0)) is None
    assert difference(tags, found["_metadata"].value(0)) is None


def test_floats_that_are_no_numbers_are_the_tokens_of_python(writer):
    table = table_of(
        [{"id": "a", "weight": math.nan, "embedding": np.array([math.inf, 1], "f4")}, {"id": "b"}]
    )

    data = JSON.dumps(table, exclude_none=True)

    assert b'"weight":NaN' in data
    assert b'"embedding":[Infinity,1.0]' in data
    assert difference(table, read(data)) is None


# --- arrays -------------------------------------------------------------------------------------------------------


def said(value: Any, **options: Any) -> dict[str, Any]:
    return to_dicts(table_of([{"id": "a", "embedding": value}]), exclude_none=True, **options)[0]


def test_what_a_list_does_not_say_stands_beside_it():
    assert {"id": "a", "embedding": [1.0, 2.0]} == said(np.array([1.0, 2.0]))
    assert {"id": "a", "embedding": [1, 2]} == said(np.array([1, 2]))
    assert {"id": "a", "embedding": 5.0} == said(np.array(5.0))
    assert {"embedding": {"dtype": "<f4"}} == said(np.ones(2, "f4"))["_arrays"]
    assert {"embedding": {"framework": "list"}} == said([1, 2.5])["_arrays"]
    assert {"embedding": {"shape": [0, 3]}} == said(np.zeros((0, 3)))["_arrays"]


def test_what_no_list_can_say_is_an_object():
    for value in (
        sparse.csr_array(np.eye(3)),
        np.array([1j]),
        np.array(["2024"], "M8[D]"),
        np.array([struct.unpack("<d", b"\1\0\0\0\0\0\xf8\xff")[0]]),
    ):
        assert isinstance(said(value)["embedding"], dict)
        assert (
            difference(value, read(json.dumps([said(value)]).encode()).columns["embedding"].value(0)) is None
        )


def test_base64():
    assert {"dtype": "<f4", "shape": [2], "base64": "AACAPwAAgD8="} == said(
        np.ones(2, "f4"), arrays="base64"
    )["embedding"]
    assert "_arrays" not in said(np.ones(2, "f4"), arrays="base64")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | tensors, max_size=4), st.sampled_from(["list", "base64"]))
def test_any_arrays_come_back(values, arrays):
    for field in ("embedding", "tensor"):
        table = Table(
            {field: column_of("tensor", list(values))}, len(values), [str(i) for i in range(len(values))]
        )
        if any(v is not None for v in values):
            assert difference(table, there_and_back(table, arrays=arrays)) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5).flatmap(lambda n: ndarrays(shapes=st.tuples(st.just(n), st.integers(0, 4)))))
def test_any_matrix_comes_back_at_once(matrix):
    table = Table({"embedding": UniformTensors(matrix)}, None, [str(i) for i in range(len(matrix))])

    assert difference(table, there_and_back(table)) is None


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_of_any_bits_read_back_equal(writer, dtype):
    bits = np.random.default_rng(0).integers(0, 1 << 63, 5000, np.int64)
    matrix = bits.view(np.uint8).view(dtype).reshape(-1, 50).copy()
    matrix[~np.isfinite(matrix)] = 0
    table = Table({"embedding": UniformTensors(matrix)}, None, [str(i) for i in range(len(matrix))])

    assert difference(table, there_and_back(table)) is None


def test_the_one_float_whose_shortest_decimal_is_read_as_its_neighbour(writer):
    bits = np.array([[0x15AE43FD, 0x95AE43FD, 0x15AE43FE]], np.uint32)
    table = Table({"embedding": UniformTensors(bits.view("f4"))}, None, ["a"])

    assert difference(table, there_and_back(table)) is None
    assert bits.view("f4")[0, 0] != np.float32(float("7.038531e-26"))


def test_floats_of_32_bits_are_short():
    pytest.importorskip("orjson")

    assert b'"embedding":[0.1,0.2]' in JSON.dumps(
        table_of([{"id": "a", "embedding": np.array([0.1, 0.2], "f4")}])
    )


def test_a_list_of_anyone_is_what_numpy_infers():
    found = [
        from_dicts([{"id": "a", "tensor": value}]).columns["tensor"].value(0)
        for value in ([1.0, 2], [1, 2], [[1], [2]], [True], [], [2**63], [True, 2])
    ]

    assert ["float64", "int64", "int64", "bool", "float64", "uint64", "int64"] == [
        str(v.dtype) for v in found
    ]
    assert ["a", "b"] == from_dicts([{"tensor": ["a", "b"]}]).columns["tensor"].value(0)
    assert [[1], [2, 3]] == from_dicts([{"tensor": [[1], [2, 3]]}]).columns["tensor"].value(0)


def test_text_in_an_array_makes_no_table_as_wide_as_the_longest():
    data = json.dumps([{"tensor": ["x" * 1_000_000, *["y"] * 2000]}]).encode()

    tracemalloc.start()
    read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20_000_000


# --- both writers, and any table ----------------------------------------------------------------------------------

KINDS = {
    name: field.kind
    for name, field in FIELDS.items()
    if field.kind != "docs" and name not in ("id", "location")
}


@st.composite
def documents(draw: Any) -> Table:
    """Tables of fields of Document, nested."""
    names = draw(st.sets(st.sampled_from(sorted(KINDS)), max_size=5))
    table = draw(tables(levels=2, kinds={name: KINDS[name] for name in names}))
    return without(table, "x/y")


def without(table: Table, name: str) -> Table:
    """The table without a column that is no field; columns in the order of fields, those that hold nothing left out."""
    columns: dict[str, Any] = {}
    for field in FIELDS:
        column = table.columns.get(field)
        if column is None or (column.present is not None and not column.present.any()):
            continue
        if field in ("chunks", "matches"):
            column = type(column)(column.offsets, without(column.child, name))
        columns[field] = column
    return Table(columns, len(table), table.id_column)


def shown(table: Table) -> list[dict[str, Any]]:
    """Records, whole numbers being ints."""
    return records_of(table)


@settings(max_examples=120, deadline=None)
@given(documents(), st.booleans(), st.sampled_from([JSON, NDJSON]))
def test_any_documents_come_back(table, exclude_none, form):
    try:
        expected = shown(table_of(records_of(table)))
    except FieldTypeError:  # a granularity that is no int, say
        return

    assert difference(expected, shown(there_and_back(table, form, exclude_none=exclude_none))) is None


@settings(max_examples=60, deadline=None)
@given(documents())
def test_both_writers_mean_the_same(table):
    pytest.importorskip("orjson")
    fast = JSON.dumps(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_orjson", lambda: None)
        slow = JSON.dumps(table)
        assert difference(shown_or_none(slow), shown_or_none(fast)) is None
    assert difference(shown_or_none(slow), shown_or_none(fast)) is None


def shown_or_none(data: bytes) -> Any:
    try:
        return shown(read(data))
    except CorruptData as error:  # a granularity that is no int, say
        return str(error)


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_both_readers_mean_the_same(value):
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")

    assert difference(json.loads(data), parsed(data)) is None


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400])
@pytest.mark.parametrize("at", [0, 5, 190, 199, 200, 262_130, 262_143, 262_144, 262_150, 524_280])
def test_ints_of_any_size_are_found_anywhere(number, at):
    data = b"[" + b" " * at + str(number).encode() + b"]"

    assert [number] == parsed(data)
    assert type(parsed(data)[0]) is int


def test_a_dict_shares_nothing_with_its_table():
    tags = {"a": [1], "b": {"c": 1}}
    table = table_of([{"id": "a", "tags": tags, "embedding": np.ones(2)}])

    (found,) = to_dicts(table)
    found["tags"]["a"].append(2)
    found["tags"]["b"]["c"] = 3

    assert {"a": [1], "b": {"c": 1}} == table.columns["tags"].value(0)
    given = {"id": "a", "tags": {"a": [1]}}
    from_dicts([given]).columns["tags"].value(0)["a"].append(2)
    assert {"id": "a", "tags": {"a": [1]}} == given


@pytest.mark.parametrize("space", ["", " "])
@pytest.mark.parametrize("nested", [False, True])
def test_long_lists_are_read_in_pieces(monkeypatch, space, nested):
    """Whatever the pieces are, the answer is that of the whole."""
    records = records_of(table_from(alike_array(40)))
    records[7]["text"] = '}, {"id": "x"}, },{"id"'
    records[8]["weight"] = math.nan
    records[9]["tags"] = {"long": 2**64, "tuple": (1,)}
    if nested:
        records[20]["chunks"] = [{"id": "c"}, {"id": "d"}, {"id": "e", "text": "x" * 300}, {"id": "f"}]
    table = table_of(records)
    data = json.dumps(json.loads(JSON.dumps(table)), separators=("," + space, ":")).encode()
    for size in (1, 10, 300, 1000):
        monkeypatch.setattr(module, "_LONG", size)
        assert difference(table, read(data)) is None
        wrong = data.replace(b'"embedding":', b'"embedding"x:')
        for damaged in (data[:-1], data[:-2], wrong, data + b"x", data[:-1] + b",]"):
            with pytest.raises(FormatError):
                read(damaged)


# --- what others wrote --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["documents.json", "documents.ndjson"])
def test_files_of_the_old_library(writer, name):
    form = JSON if name.endswith(".json") else NDJSON

    a, b, bare = records_of(read((OLD / name).read_bytes(), form))

    assert difference(np.array([1, 2.5]), a["embedding"]) is None
    assert {"x": 2.5, "y": "z", "nested": {"a": 1, "l": [1, "b", None]}, "yes": True} == a["tags"]
    assert {"cosine": {"value": 0.25, "op_name": "cosine"}} == a["scores"]
    assert [1.0, 2.0] == a["location"]
    assert ('hi, "you"', 0.5, "a.png", "image/png") == (a["text"], a["weight"], a["uri"], a["mime_type"])
    assert difference(np.array([[1, 2], [3, 4]]), b["tensor"]) is None
    assert {"id": "c", "parent_id": "b", "granularity": 1, "blob": b"\0\1\xff", "modality": "image"} == b[
        "chunks"
    ][0]
    assert "äöü 漢字 \U0001f600" == b["matches"][0]["text"]
    assert {"multi_modal_schema": {"f": {"position": 0}}} == b["_metadata"]
    assert {"recall": {"value": 1.0}} == b["evaluations"]
    assert math.isnan(b["tags"]["x"])
    assert {"id": "bare"} == bare


def test_one_document_of_the_old_library():
    assert "a" == JSON.loads_record(memoryview((OLD / "document.json").read_bytes()))["id"]
    assert "a" == NDJSON.loads_record(memoryview((OLD / "document.json").read_bytes()))["id"]


def test_the_old_library_would_read_ours():
    """Its reader takes keys that are fields, and numpy makes an array of the lists."""
    (found,) = json.loads(
        JSON.dumps(table_of([{"id": "a", "embedding": np.array([0.1, 2], "f4"), "blob": b"\xff"}]))
    )

    assert "_arrays" in found
    assert difference(np.array([0.1, 2.0]), np.array(found["embedding"])) is None
    assert "/w==" == found["blob"]


def test_unknown_keys():
    data = json.dumps([{"id": "a", "price": 3, "tags": {"x": 1}}, {"id": "b"}]).encode()

    with pytest.raises(UnknownField, match=r"document 'a'.*'price'.*unknown='tags'"):
        read(data)
    assert [{"id": "a", "tags": {"x": 1, "price": 3}}, {"id": "b"}] == records_of(read(data, unknown="tags"))
    assert [{"id": "a", "tags": {"x": 1}}, {"id": "b"}] == records_of(read(data, unknown="ignore"))
    nested = b'[{"chunks": [{"id": "c", "typo": 1}]}]'
    with pytest.raises(UnknownField, match="document 'c'"):
        read(nested)
    with pytest.raises(UnknownField, match=r"from line 1"):
        read(b'{"id": "a", "typo": 1}\n', NDJSON)


def test_content_is_put_where_it_belongs():
    found = records_of(
        from_dicts([{"id": "a", "content": "x"}, {"id": "b", "content": [1.0]}, {"id": "c", "content": b"x"}])
    )

    assert "x" == found[0]["text"]
    assert difference(np.array([1.0]), found[1]["tensor"]) is None
    assert b"x" == found[2]["blob"]
    with pytest.raises(CorruptData, match="document 'a' has both 'text' and 'content'"):
        from_dicts([{"id": "a", "content": "x", "text": "y"}])


def test_dicts_may_hold_what_python_has():
    value = {"id": 5, "blob": b"x", "embedding": np.ones(2, "f4"), "tensor": None, "tags": {"b": b"x"}}

    (found,) = records_of(from_dicts([value]))

    assert "5" == found["id"]
    assert b"x" == found["blob"]
    assert difference(np.ones(2, "f4"), found["embedding"]) is None
    assert {"b": b"x"} == found["tags"]


def test_ids_are_drawn_where_they_are_missing_and_repeats_are_kept():
    assert 2 == len(set(read(b'[{}, {"text": "x"}]').ids))
    assert ["a", "a"] == read(b'[{"id": "a"}, {"id": "a"}]').ids


# --- NDJSON -------------------------------------------------------------------------------------------------------


def test_lines_are_read_and_written_in_bounded_memory():
    table = table_from(alike_array(1000))

    class Sink(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return len(data)

    peaks: list[int] = []
    for count in (2, 20):
        tracemalloc.start()
        NDJSON.write((table for _ in range(count)), Sink())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    line = NDJSON.dumps(table)
    tracemalloc.start()
    total = sum(map(len, NDJSON.read(Endless(line, 30))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 30_000 == total
    assert peak < 12 * len(line)


class Endless(io.RawIOBase):
    """The same bytes again and again."""

    def __init__(self, data, times):
        self.data, self.left, self.times = data, b"", times

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.left and self.times:
            self.left, self.times = self.data, self.times - 1
        part = self.left[: min(len(buffer), 1000)]
        buffer[: len(part)] = part
        self.left = self.left[len(part) :]
        return len(part)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\n\n \n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_end_in_any_way(line_end, mark):
    data = mark + line_end.join([b'{"id": "a"}', b'{"id": "b"}', b'{"id": "c"}'])

    assert ["a", "b", "c"] == read(data, NDJSON).ids
    assert ["a", "b", "c"] == [key for table in NDJSON.read(io.BytesIO(data)) for key in table.ids]


def test_lines_in_utf_16():
    data = '{"id": "ä"}\n{"id": "漢"}\n'.encode("utf-16")

    assert ["ä", "漢"] == read(data, NDJSON).ids
    assert ["ä", "漢"] == read(
        '{"id": "ä"}\n{"id": "漢"}\n'.encode("utf-16-be"), NDJSON, encoding="utf-16-be"
    ).ids


def test_no_lines_are_no_documents():
    assert [] == read(b"", NDJSON).ids
    assert [] == read(b"\n\n", NDJSON).ids
    assert [0] == list(map(len, NDJSON.read(io.BytesIO(b""))))


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"5", b'{"id": 1.5}', b'{"id": "a"} {"id": "b"}', b'{"id": "a"},', b"\xff"]
)
def test_a_bad_line_is_named(line):
    data = b'{"id": "a"}\n' * 1500 + line + b"\n"

    with pytest.raises(CorruptData, match=r"line 1501|lines 1025 to|from line 1025"):
        read(data, NDJSON)


def test_lists_are_written_piece_by_piece():
    tables_ = [table_from(alike_array(3)), table_of([]), table_from(alike_array(2))]
    stream = io.BytesIO()

    JSON.write(iter(tables_), stream)

    assert difference(Table.concat(tables_), read(stream.getvalue())) is None
    empty = io.BytesIO()
    JSON.write(iter([]), empty)
    assert b"[]" == empty.getvalue()
    pretty = io.BytesIO()
    JSON.write(iter(tables_), pretty, indent=1)
    assert difference(Table.concat(tables_), read(pretty.getvalue())) is None


# --- hostile ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"nul",
        b"5",
        b'"x"',
        b"[5]",
        b"[[]]",
        b"[null]",
        b'[{"id": "a"}] x',
        b'{"id": "a"}\n{"id": "b"}',
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'[{"tags": {"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}]",
        b'[{"embedding": ' + b"[" * 10_000 + b"]" * 10_000 + b"}]",
        b'[{"chunks": ' * 200 + b"[]" + b"}]" * 200,
        b'[{"weight": ' + b"9" * 10_000 + b"}]",
        b'[{"tags": {"x": ' + b"9" * 10_000 + b"}}]",
        b'[{"id": "\xff"}]',
        b'[{"id": "a", "blob": "?"}]',
        b'[{"id": "a", "blob": 5}]',
        b'[{"id": "a", "text": 5}]',
        b'[{"id": "a", "tags": []}]',
        b'[{"id": "a", "tags": {"x": {"$docarray": "os.system", "is": "true"}}}]',
        b'[{"id": "a", "tags": {"$docarray": "tuple", "is": []}}]',
        b'[{"id": "a", "tags": {"x": {"$docarray": "array", "is": "", "dtype": "O", "shape": [0]}}}]',
        b'[{"id": "a", "scores": {"x": []}}]',
        b'[{"id": "a", "scores": {"x": {"vlaue": 1}}}]',
        b'[{"id": "a", "chunks": {}}]',
        b'[{"id": "a", "chunks": [1]}]',
        b'[{"id": "a", "embedding": "text"}]',
        b'[{"id": "a", "embedding": {"x": 1}}]',
        b'[{"id": "a", "embedding": [1, "a"], "_arrays": {"embedding": {"dtype": "<f4"}}}]',
        b'[{"id": "a", "embedding": [1.0, 1e300], "_arrays": {"embedding": {"dtype": "<f4"}}}]',
        b'[{"id": "a", "embedding": [300], "_arrays": {"embedding": {"dtype": "|i1"}}}]',
        b'[{"id": "a", "embedding": [1], "_arrays": {"embedding": {"dtype": "<U900000000"}}}]',
        b'[{"id": "a", "embedding": [1], "_arrays": {"embedding": {"dtype": "O"}}}]',
        b'[{"id": "a", "embedding": [1], "_arrays": {"embedding": {"shape": [2]}}}]',
        b'[{"id": "a", "embedding": [], "_arrays": {"embedding": {"shape": [0, 4611686018427387904, 64]}}}]',
        b'[{"id": "a", "embedding": [1], "_arrays": {"embedding": {"framework": "os"}}}]',
        b'[{"id": "a", "embedding": [1], "_arrays": {"embedding": {"framework": []}}}]',
        b'[{"id": "a", "embedding": [1], "_arrays": {"embedding": 5}}]',
        b'[{"id": "a", "embedding": [1], "_arrays": 5}]',
        b'[{"id": "a", "embedding": {"dtype": "<f4", "shape": [1099511627776], "base64": ""}}]',
        b'[{"id": "a", "embedding": {"dtype": "<f4", "shape": [-1], "base64": ""}}]',
        b'[{"id": "a", "embedding": {"dtype": "<f4", "shape": [1], "base64": "AA"}}]',
        b'[{"id": "a", "embedding": {"dtype": "|b1", "shape": [1], "base64": "Bw=="}}]',
        b'[{"id": "a", "embedding": {"layout": "scipy.csr.array", "shape": [1, 3], "parts": []}}]',
        b'[{"id": "a", "embedding": {"layout": 5, "shape": [1, 3], "parts": [{}]}}]',
        b'[{"id": "a", "embedding": {"layout": "x", "shape": [1, 3], "parts": 5}}]',
        b'[{"id": "a", "granularity": 1.5}]',
        b'[{"id": "a", "granularity": Infinity}]',
        b'[{"id": "a", "granularity": NaN}]',
        b'[{"id": true}]',
    ],
    ids=lambda data: data[:60].decode("latin-1"),
)
def test_what_is_no_document_is_corrupt(writer, data):
    for form in (JSON, NDJSON):
        with pytest.raises(FormatError) if form is JSON else suppress(FormatError):
            read(data, form)
    with pytest.raises(FormatError) if data else suppress(FormatError):
        NDJSON.loads_record(memoryview(data))


def test_an_error_names_document_and_field():
    for data in (b'[{"id": "x"}, {"id": "y", "blob": "?"}]', b'[{"id": "x"}, {"id": "y", "blob": 5}]'):
        with pytest.raises(CorruptData, match=r"'blob' of document 'y'"):
            read(data)
    with pytest.raises(CorruptData, match="line 1 column 2"):
        read(b"[x]")
    with pytest.raises(CorruptData, match="'ndjson'"):
        read(b'{"id": "a"}\n{"id": "b"}')


def test_cut_off_at_each_byte(writer):
    data = JSON.dumps(
        table_from(DocumentArray([everything(1), Document(id="b", text="äö")])), exclude_none=True
    )

    for end in range(len(data) - 1):
        with pytest.raises(FormatError):
            read(data[:end])
    lines = NDJSON.dumps(table_from(alike_array(3)))
    for end in range(len(lines)):
        with suppress(FormatError):
            assert len(read(lines[:end], NDJSON)) <= 3


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_flipped_bytes_are_a_table_or_our_error(data):
    for form in (JSON, NDJSON):
        damaged = bytearray(form.dumps(SMALL))
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        with suppress(FormatError, UnknownField):
            records_of(read(bytes(damaged), form))


SMALL = table_of(
    [
        {
            "id": "a",
            "text": "t",
            "weight": 0.5,
            "embedding": sparse.csr_array(np.eye(2)),
            "scores": {"s": {"value": 1}},
        },
        {
            "id": "b",
            "tags": {"t": (1, b"x")},
            "tensor": np.zeros((2, 2), "f4"),
            "chunks": [{"id": "c", "blob": b"b"}],
        },
    ]
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FIELDS, "_arrays", "content", "dtype", "shape", "base64", "$docarray", "is"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from([*FIELDS, "_arrays", "content", "x"]), values, max_size=4), max_size=3
    )
)
def test_any_json_is_a_table_or_our_error(dicts):
    for unknown in ("error", "tags", "ignore"):
        with suppress(FormatError, UnknownField):
            records_of(read(json.dumps(dicts).encode("utf-8", "surrogatepass"), unknown=unknown))


def test_marks_right_data():
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"", "utf-16"), (b"", "utf-32"), (b"", "utf-16-le")):
        assert ["ä"] == read(mark + '[{"id": "ä"}]'.encode(name)).ids


def test_numbers_beyond_all_floats_are_infinite(writer):
    assert math.inf == read(b'[{"weight": 1e400}]').columns["weight"].value(0)


def test_the_last_of_two_keys_counts(writer):
    assert ["b"] == read(b'[{"id": "a", "id": "b"}]').ids


def test_a_table_of_other_columns_is_refused():
    with pytest.raises(UnknownField, match="'colour'"):
        JSON.dumps(Table({"colour": column_of("text", ["red"])}))


def test_a_value_that_is_no_data_is_named():
    table = Table({"tags": column_of("json", [None, {"x": object()}])}, None, ["a", "b"])

    with pytest.raises(FieldTypeError, match=r"'tags' of document 'b'.*object"):
        JSON.dumps(table)
    table = Table({"embedding": column_of("tensor", [np.array([object()])])}, None, ["a"])
    with pytest.raises(FieldTypeError, match="'embedding' of document 'a'"):
        JSON.dumps(table)


def test_tags_that_are_deep(writer):
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    table = table_of([{"id": "a", "tags": {"deep": deep}}])

    assert {"deep": deep} == there_and_back(table).columns["tags"].value(0)


def test_guesses():
    assert JSON.guesses(b' \n[{"id"')
    assert NDJSON.guesses(b'\xef\xbb\xbf{"id"')
    assert not JSON.guesses(b"id,text")
    assert not JSON.recognises(b"[")


def test_kinds_of_cells_are_known():
    assert set(CELLS) >= set(KINDS.values())
