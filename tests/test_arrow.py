"""Arrow data, Arrow and Parquet files: all comes back equal, memory is shared, others read it, nothing hurts."""

from __future__ import annotations

import datetime
import decimal
import importlib.util
import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sparse
from everything import alike_array, difference, everything_array, tables
from hypothesis import HealthCheck, given, settings

from docarray import Document, DocumentArray
from docarray.columns import JsonColumn, NumberColumn, TextColumn, UniformTensors, column_of
from docarray.errors import (
    BadValue,
    CorruptData,
    FieldTypeError,
    FormatError,
    ShapeError,
    UnknownName,
    Unsupported,
    UnsupportedFormat,
)
from docarray.serialization.arrow import (
    ARROW,
    NOTE,
    PARQUET,
    c_schema,
    c_stream,
    from_arrow,
    huggingface_tables,
    to_arrow,
)
from docarray.table import DocsColumn, Table

ROUNDS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
WRITTEN = {
    "file": (ARROW, {}),
    "file lz4": (ARROW, {"compress": "lz4"}),
    "stream zstd": (ARROW, {"compress": "zstd", "as_stream": True}),
    "parquet": (PARQUET, {}),
    "parquet plain": (PARQUET, {"codec": "none"}),
}
written = pytest.mark.parametrize(("format", "options"), WRITTEN.values(), ids=WRITTEN.keys())

INSTALL_TORCH = "pip install torch==2.13.0"
TORCH = pytest.param(
    "torch", marks=pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason=INSTALL_TORCH)
)


def torch():
    return pytest.importorskip("torch", reason=INSTALL_TORCH)


def table_of(docs) -> Table:
    return docs._slots.table()


def loads(format, data) -> Table:
    return format.loads(memoryview(data))


def small() -> Table:
    """A table of every kind of column, small enough to be cut at every byte."""
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    child = Table({"text": TextColumn(["x", "y"])}, ids=["c", "d"])
    return Table(
        {
            "text": TextColumn(["a", None, "ü"]),
            "blob": column_of("bytes", [b"1", b"", None]),
            "weight": column_of("number", [1.5, None, float("nan")]),
            "tags": column_of("json", [{"p": 1, "c": "a"}, {"p": 2, "c": "b"}, {"p": 3, "c": "a"}]),
            "embedding": UniformTensors(matrix),
            "tensor": column_of("tensor", [np.zeros((2, 2)), [1, [2]], sparse.csr_array(np.eye(2))]),
            "chunks": DocsColumn(np.array([0, 1, 1, 2]), child),
        },
        ids=["1", "2", "3"],
    )


class Capsule:
    """What a maker of Arrow data shows of itself."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return c_stream(self._table, requested_schema)

    def __arrow_c_schema__(self):
        return c_schema(self._table)


# --- all comes back equal


@pytest.mark.parametrize("docs", [everything_array, alike_array, DocumentArray])
def test_arrow_holds_everything(docs):
    table = table_of(docs())

    assert difference(table, from_arrow(to_arrow(table))) is None


@written
@pytest.mark.parametrize("docs", [everything_array, alike_array, DocumentArray])
def test_files_hold_everything(format, options, docs):
    table = table_of(docs())

    assert difference(table, loads(format, format.dumps(table, **options))) is None


@given(tables())
@ROUNDS
def test_arrow_is_exact(table):
    assert difference(table, from_arrow(to_arrow(table))) is None


@given(tables())
@ROUNDS
def test_arrow_files_are_exact(table):
    assert difference(table, loads(ARROW, ARROW.dumps(table))) is None


@given(tables())
@ROUNDS
def test_parquet_is_exact(table):
    assert difference(table, loads(PARQUET, PARQUET.dumps(table))) is None


@given(tables())
@ROUNDS
def test_slices_are_exact(table):
    """Arrow slices by an offset that each array below keeps for itself."""
    n = len(table)
    start, stop = n // 3, n - n // 4
    held = to_arrow(table)

    assert difference(table.slice(start, stop), from_arrow(held.slice(start, stop - start))) is None


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i8", "u1", "u8", "?", ">f4", "c8"])
@pytest.mark.parametrize("shape", [(3,), (2, 2), (1, 2, 3), (0,), ()])
@pytest.mark.parametrize("gaps", [False, True])
def test_matrices_of_each_dtype_and_shape(dtype, shape, gaps):
    data = np.arange(5 * int(np.prod(shape))).reshape((5, *shape)).astype(dtype)
    present = np.array([True, True, False, True, True]) if gaps else None
    table = Table({"embedding": UniformTensors(data, present)}, ids=list("abcde"))

    for back in (
        from_arrow(to_arrow(table)),
        loads(ARROW, ARROW.dumps(table)),
        loads(PARQUET, PARQUET.dumps(table)),
        from_arrow(to_arrow(table).slice(1, 3)),
    ):
        wanted = table if len(back) == 5 else table.slice(1, 4)
        assert difference(wanted, back) is None


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
@pytest.mark.parametrize("framework", ["numpy", TORCH])
def test_matrices_of_which_most_rows_are_missing(shape, framework):
    data = np.arange(9 * int(np.prod(shape)), dtype=np.float32).reshape((9, *shape))
    column = UniformTensors(data, np.arange(9) == 4, framework)
    table = Table({"embedding": column}, ids=list("abcdefghi"))

    for back in (from_arrow(to_arrow(table)), loads(PARQUET, PARQUET.dumps(table))):
        assert difference(table, back) is None


def test_one_long_row_among_missing_ones_takes_its_own_memory():
    lists = pa.array([[0.0] * 100_000, *[None] * 100_000], pa.list_(pa.float32()))

    column = from_arrow(pa.table({"embedding": lists})).columns["embedding"]

    assert not isinstance(column, UniformTensors)
    assert len(column.value(0)) == 100_000


@pytest.mark.parametrize("framework", ["numpy", TORCH, "list"])
def test_frameworks_are_kept(framework):
    rows = {
        "numpy": lambda: list(np.eye(3, dtype=np.float32)),
        "torch": lambda: list(torch().eye(3)),
        "list": lambda: [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
    }[framework]()
    table = Table({"embedding": column_of("tensor", [*rows, None])}, ids=list("abcd"))

    back = loads(PARQUET, PARQUET.dumps(table))

    assert difference(table, back) is None
    assert isinstance(back.columns["embedding"], UniformTensors)


def test_vectors_of_several_lengths_are_lists():
    rows = [np.arange(n, dtype=np.float32) for n in (2, 0, 3)]
    table = Table({"tensor": column_of("tensor", [*rows, None])}, ids=list("abcd"))

    held = to_arrow(table)

    assert pa.large_list(pa.float32()) == held.schema.field("tensor").type
    assert difference(table, from_arrow(held)) is None


def test_nested_documents_come_back_at_every_depth():
    doc = Document(id="0")
    docs = DocumentArray([doc])
    for level in range(1, 25):
        doc.chunks.append(Document(id=str(level), text=str(level)))
        doc = doc.chunks[0]

    table = table_of(docs)

    for format in (ARROW, PARQUET):
        assert difference(table, loads(format, format.dumps(table))) is None


def test_documents_nested_too_deep_are_refused():
    doc = Document(id="0")
    docs = DocumentArray([doc])
    for level in range(1, 40):
        doc.chunks.append(Document(id=str(level)))
        doc = doc.chunks[0]

    with pytest.raises(Unsupported, match="28 levels"):
        to_arrow(table_of(docs))


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_column_names_that_arrow_cannot_say_are_refused(name):
    with pytest.raises(Unsupported, match="name"):
        to_arrow(Table({name: TextColumn(["a"])}, ids=["1"]))


def test_what_cannot_be_stored_is_named():
    table = Table({"tags": column_of("json", [{"a": 1}, {"a": object()}])}, ids=["1", "2"])

    with pytest.raises(FieldTypeError, match="'tags"):
        to_arrow(table)


# --- the types


def test_types_are_the_plain_ones():
    table = Table(
        {
            "text": TextColumn(["a", "b"]),
            "blob": column_of("bytes", [b"1", None]),
            "granularity": column_of("number", [1, None]),
            "weight": column_of("number", [1.5, 2.0]),
            "tags": column_of(
                "json", [{"n": 1, "l": ["x"], "d": {"e": True}}, {"n": 2, "l": [], "d": {"e": False}}]
            ),
            "scores": column_of("scores", [{"cos": {"value": 0.5, "op_name": "c"}}, None]),
            "embedding": UniformTensors(np.zeros((2, 3), np.float16)),
            "tensor": UniformTensors(np.zeros((2, 4, 5))),
            "chunks": DocsColumn(np.array([0, 1, 1]), Table({"text": TextColumn(["x"])}, ids=["c"])),
        },
        ids=["1", "2"],
    )

    kinds = {field.name: str(field.type) for field in to_arrow(table).schema}

    assert kinds == {
        "id": "large_string",
        "text": "large_string",
        "blob": "large_binary",
        "granularity": "int64",
        "weight": "double",
        "tags": "struct<n: int64, l: large_list<item: large_string>, d: struct<e: bool>>",
        "scores": "struct<cos: struct<value: double, op_name: large_string>>",
        "embedding": "fixed_size_list<item: halffloat>[3]",
        "tensor": "extension<arrow.fixed_shape_tensor[value_type=double, shape=[4,5]]>",
        "chunks": "large_list<item: struct<id: large_string, text: large_string> not null>",
    }
    assert difference(table, from_arrow(to_arrow(table))) is None


def test_notes_say_what_the_types_do_not():
    table = Table({"embedding": column_of("tensor", list(torch().zeros(2, 3)))}, ids=["1", "2"])

    note = json.loads(to_arrow(table).schema.field("embedding").metadata[NOTE])

    assert note == {"kind": "tensor", "dtype": "<f4", "shape": [3], "framework": "torch"}


@pytest.mark.parametrize(
    ("rows", "typed"),
    [
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], True),
        ([{"a": 1, "b": "x"}, {"a": 2}], True),
        ([{"a": 1}, None, {}], True),
        ([{"a": None}, {"a": 1}], True),
        ([{"a": None}, {"b": 1}], False),  # a null would say both None and absent
        ([{"a": 1, "b": 1}, {"b": 1, "a": 1}], False),  # two orders of keys
        ([{}, {}], False),
        ([{1: 2}], False),
    ],
)
def test_tags_are_a_struct_where_that_says_all(rows, typed):
    table = Table({"tags": JsonColumn(rows)}, ids=[str(i) for i in range(len(rows))])

    held = to_arrow(table)

    assert pa.types.is_struct(held.schema.field("tags").type) == typed
    assert difference(table, from_arrow(held)) is None


def test_parts_of_tags_that_arrow_cannot_say_are_text():
    moment = datetime.datetime(2024, 1, 1)
    table = Table({"tags": column_of("json", [{"p": 1, "t": moment}, {"p": 2, "t": (1, 2)}])}, ids=["1", "2"])

    held = to_arrow(table)

    assert [1, 2] == [row["tags"]["p"] for row in held.to_pylist()]
    assert difference(table, from_arrow(held)) is None


def test_tags_survive_tools_that_drop_notes():
    rows = [{"p": 1, "x": None}, {"y": (1, 2)}, None]
    table = Table({"tags": column_of("json", rows)}, ids=["1", "2", "3"])

    back = from_arrow(
        to_arrow(table)
        .replace_schema_metadata()
        .cast(pa.schema([("id", pa.string()), ("tags", pa.string())]))
    )

    assert back.columns["tags"].values() == rows


# --- memory is shared


@pytest.mark.parametrize("shape", [(8,), (2, 4)])
@pytest.mark.parametrize("gaps", [False, True])
def test_matrices_share_memory_both_ways(shape, gaps):
    data = np.arange(32, dtype=np.float32).reshape((4, *shape))
    present = np.array([True, False, True, True]) if gaps else None

    held = to_arrow(Table({"embedding": UniformTensors(data, present)}, ids=list("abcd")))
    back = from_arrow(held).columns["embedding"]
    cut = from_arrow(held.slice(1, 2)).columns["embedding"]

    assert np.shares_memory(data, back.data)
    assert np.shares_memory(data, cut.data)
    assert (back.present is None) != gaps
    assert not back.data.flags.writeable, "others hold the same memory"


def test_texts_and_numbers_share_memory():
    text, number = TextColumn(["some text", "more"]), NumberColumn(np.arange(2.0))
    flat = {}
    from_file = TextColumn.from_buffers(text.to_buffers("", flat), "", flat)

    held = to_arrow(Table({"text": from_file, "weight": number}, ids=["1", "2"]))
    back, again = from_arrow(held), {}
    back.columns["text"].to_buffers("", again)

    assert np.shares_memory(flat[".data"], again[".data"])
    assert np.shares_memory(number.data, back.columns["weight"].data)


def test_a_file_is_mapped(tmp_path):
    table = table_of(alike_array())
    path = tmp_path / "a.arrow"
    path.write_bytes(ARROW.dumps(table))

    back = ARROW.load(str(path))

    assert difference(table, back) is None
    assert not back.columns["embedding"].data.flags.owndata
    with pytest.raises(FileNotFoundError):
        ARROW.load(str(tmp_path / "none.arrow"))


# --- what others make of it, and what we make of theirs


def test_polars_takes_it_and_gives_it_back():
    table = table_of(alike_array())

    frame = pl.DataFrame(Capsule(table))

    assert frame.schema["embedding"] == pl.Array(pl.Float32, 4)
    assert frame.schema["tags"] == pl.Struct({"price": pl.Int64, "category": pl.String})
    assert frame.filter(pl.col("tags").struct.field("price") > 47)["id"].to_list() == ["48", "49"]
    assert difference(table, from_arrow(frame)) is None


def test_polars_holds_everything_that_types_say():
    """Without notes the framework of an array is gone, and what had to be JSON text is text again, or a dict."""
    table = small()

    frame = pl.DataFrame(Capsule(table))

    assert difference(table, from_arrow(frame)) is None


def test_polars_selection_of_nested_documents():
    docs = DocumentArray(
        [Document(id="a", chunks=[Document(id="b", text="x", embedding=np.zeros(3))]), Document(id="c")]
    )

    back = from_arrow(pl.DataFrame(Capsule(table_of(docs))).reverse())

    assert back.ids == ["c", "a"]
    below = back.columns["chunks"].value(1)
    assert below.ids == ["b"]
    assert difference(below.columns["embedding"].values(), [np.zeros(3)]) is None


def test_duckdb_queries_it():
    held = to_arrow(table_of(alike_array()))  # noqa: F841  DuckDB finds it by its name

    found = duckdb.sql(
        "select text, tags.price, list_sum(embedding) from held where tags.price > 48"
    ).fetchall()

    assert found == [("text 49", 49, float(sum(range(196, 200))))]


def test_duckdb_relation_is_read():
    relation = duckdb.sql(
        "select i::varchar as id, 'text ' || i as text, i * 2 as price,"
        " [i, 1.5]::float[] as embedding from range(3) t(i)"
    )

    table = from_arrow(relation)

    assert table.ids == ["0", "1", "2"]
    assert table.columns["tags"].values() == [{"price": 0}, {"price": 2}, {"price": 4}]
    assert difference(table.columns["embedding"].values()[2], np.array([2, 1.5], np.float32)) is None


@pytest.mark.skipif(not hasattr(pd.DataFrame, "from_arrow"), reason="pandas 3 has from_arrow")
def test_pandas_takes_it():
    frame = pd.DataFrame.from_arrow(Capsule(table_of(alike_array())))

    assert frame["text"].tolist()[:2] == ["text 0", "text 1"]
    assert frame["embedding"][1].tolist() == [4, 5, 6, 7]


def test_the_schema_is_given_by_itself():
    table = table_of(alike_array())

    assert pa.schema(Capsule(table)).equals(to_arrow(table).schema)


def test_a_consumer_may_ask_for_other_types():
    wanted = pa.schema([("id", pa.string()), ("text", pa.string())])
    table = Table({"text": TextColumn(["a"])}, ids=["1"])

    reader = pa.RecordBatchReader.from_stream(Capsule(table), wanted)

    assert reader.read_all().schema.field("text").type == pa.string()


def test_every_way_in_gives_the_same():
    table = table_of(alike_array())
    held = to_arrow(table)
    several = pa.concat_tables([held.slice(0, 7), held.slice(7)])

    for source in (
        held,
        held.to_batches()[0],
        held.to_reader(),
        Capsule(table),
        several,
        several.to_reader(),
    ):
        assert difference(table, from_arrow(source)) is None


@pytest.mark.parametrize("source", [[1, 2], "text", None, {"a": [1]}])
def test_what_is_no_arrow_data_is_refused(source):
    with pytest.raises(FieldTypeError, match="Arrow data is wanted"):
        from_arrow(source)


def test_foreign_columns_become_fields_and_tags():
    moment = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    table = from_arrow(
        pa.table(
            {
                "id": pa.array([1, 2]),
                "text": pa.array(["a", "b"]).dictionary_encode(),
                "uri": pa.array(["x", None], pa.string_view()),
                "blob": pa.array([b"1", b"2"], pa.binary()),
                "weight": pa.array([1, None], pa.int8()),
                "granularity": pa.array([1.0, None]),
                "embedding": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32())),
                "location": pa.array([[1.5, 2.5], None]),
                "_metadata": ['{"a": [1]}', None],
                "scores": pa.array([[("cos", 0.5)], None], pa.map_(pa.string(), pa.float64())),
                "matches": [[{"id": "m", "text": "x", "extra": 1}], None],
                "empty": pa.nulls(2),
                "label": pa.array([3, None], pa.uint8()),
                "ok": [True, False],
                "when": pa.array([moment, None], pa.timestamp("ms", "UTC")),
                "nano": pa.array([1, None], pa.timestamp("ns")),
                "price": pa.array([decimal.Decimal("1.10"), None]),
                "list": [["a", "b"], []],
                "struct": [{"a": 1, "b": None}, None],
                "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
                "raw": [b"\xff", None],
            }
        )
    )

    rows = {name: column.values() for name, column in table.columns.items()}
    below = rows.pop("matches")
    tags = rows.pop("tags")

    assert table.ids == ["1", "2"]
    assert (
        difference(
            rows,
            {
                "text": ["a", "b"],
                "uri": ["x", None],
                "blob": [b"1", b"2"],
                "weight": [1, None],
                "granularity": [1, None],
                "embedding": list(np.array([[1, 2], [3, 4]], np.float32)),
                "location": [[1.5, 2.5], None],
                "_metadata": [{"a": [1]}, None],
                "scores": [{"cos": {"value": 0.5}}, None],
            },
        )
        is None
    )
    assert (
        difference(
            tags,
            [
                {
                    "label": 3,
                    "ok": True,
                    "when": moment,
                    "nano": np.datetime64(1, "ns"),
                    "price": decimal.Decimal("1.10"),
                    "list": ["a", "b"],
                    "struct": {"a": 1},
                    "map": {"k": 1},
                    "raw": b"\xff",
                },
                {"ok": False, "list": []},
            ],
        )
        is None
        or tags[0]["when"] == moment
    )
    assert below[0].ids == ["m"]
    assert below[0].columns["tags"].values() == [{"extra": 1}]
    assert len(below[1]) == 0


def test_tags_keep_their_own_keys():
    table = from_arrow(pa.table({"tags": [{"a": 1}, None, None], "a": [5, 6, None], "b": [7, None, None]}))

    assert table.columns["tags"].values() == [{"b": 7, "a": 1}, {"a": 6}, None]


def test_missing_ids_are_drawn():
    assert len(set(from_arrow(pa.table({"text": ["a", "b"]})).ids)) == 2
    some = from_arrow(pa.table({"id": ["x", None]})).ids
    assert some[0] == "x"
    assert len(some[1]) == 32


def test_columns_that_are_missing_everywhere_are_none():
    table = from_arrow(
        pa.table({"id": ["a"], "text": pa.nulls(1, pa.string()), "chunks": [[]], "x": pa.nulls(1)})
    )

    assert set(table.columns) <= {"chunks"}


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([[1.0], [1.0, 2.0], None], [np.array([1.0]), np.array([1.0, 2.0]), None]),
        ([[1.0, 2.0], None, [3.0, 4.0]], [np.array([1.0, 2.0]), None, np.array([3.0, 4.0])]),
        ([[[1.0], [2.0]], [[3.0], [4.0]]], [np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])]),
        ([[[1.0, 2.0]], [[3.0], [4.0]]], [np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])]),
        ([[], [1.0]], [np.array([]), np.array([1.0])]),
    ],
)
def test_lists_become_arrays(lists, expected):
    for source in (pa.table({"embedding": lists}), pl.DataFrame({"embedding": lists})):
        assert difference(from_arrow(source).columns["embedding"].values(), expected) is None


@pytest.mark.parametrize(
    ("column", "values", "error"),
    [
        ("embedding", [[1.0, None]], FieldTypeError),
        ("embedding", pa.array([[1.0, None]], pa.list_(pa.float64(), 2)), FieldTypeError),
        ("embedding", [[[1.0, 2.0], [3.0]], [[1.0]]], ShapeError),
        ("embedding", ["a"], FieldTypeError),
        ("embedding", [1.0], FieldTypeError),
        ("text", [[1]], FieldTypeError),
        ("blob", ["text"], FieldTypeError),
        ("weight", ["1"], FieldTypeError),
        ("granularity", [1.5], FieldTypeError),
        ("granularity", [float("nan")], FieldTypeError),
        ("tags", ["[1]"], FieldTypeError),
        ("tags", ["no json"], FormatError),
        ("tags", [1], FieldTypeError),
        ("chunks", [1], FieldTypeError),
        ("chunks", [[1]], FieldTypeError),
        ("chunks", [[None, {"id": "a"}]], FieldTypeError),
        ("x", pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]), UnsupportedFormat),
    ],
)
def test_foreign_columns_that_do_not_fit_are_named(column, values, error):
    with pytest.raises(error, match=column if error is FieldTypeError else None):
        from_arrow(pa.table({column: values}))


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(UnsupportedFormat, match="twice"):
        from_arrow(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))


def test_the_index_of_pandas_is_no_tag():
    frame = pd.DataFrame({"text": ["a"], "price": [1]}, index=["row"])

    assert from_arrow(pa.Table.from_pandas(frame)).columns["tags"].values() == [{"price": 1}]


def test_a_later_version_is_refused():
    held = to_arrow(Table({}, 1)).replace_schema_metadata({NOTE: '{"version": 2}'})

    with pytest.raises(UnsupportedFormat, match="newer"):
        from_arrow(held)


@pytest.mark.parametrize(
    "note",
    [
        b"no json",
        b"[]",
        b'{"kind": "none"}',
        b'{"kind": "tensor", "framework": "os"}',
        b'{"kind": "tensor", "shape": [5]}',
        b'{"kind": "tensor", "shape": [-1, -2]}',
        b'{"kind": "tensor", "shape": 2}',
        b'{"kind": "tensor", "dtype": ">i8"}',
        b'{"kind": "tensor", "dtype": "O"}',
    ],
)
def test_notes_are_not_believed(note):
    field = pa.field("embedding", pa.list_(pa.float64(), 2), metadata={NOTE: note})
    held = pa.table([pa.array([[1.0, 2.0]], field.type)], schema=pa.schema([field]))

    with pytest.raises(FormatError):
        from_arrow(held)


# --- the files


@written
def test_formats_know_their_bytes(format, options):
    data = format.dumps(small(), **options)
    other = PARQUET if format is ARROW else ARROW

    assert format.recognises(data[:64])
    assert not other.recognises(data[:64])
    assert not format.recognises(b"")
    assert not format.recognises(b"\xff" * 64)
    with pytest.raises(UnsupportedFormat):
        loads(other, data)


def test_other_programs_read_our_files(tmp_path):
    table = table_of(alike_array())
    for format, suffix in ((ARROW, "arrow"), (PARQUET, "parquet")):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(format.dumps(table))
        read = pl.read_ipc(path) if format is ARROW else pl.read_parquet(path)
        assert read["text"].to_list() == table.columns["text"].values()
        assert read["embedding"].to_list() == table.columns["embedding"].data.tolist()
    found = duckdb.sql(f"select count(*), sum(tags.price) from '{tmp_path / 'a.parquet'}'").fetchall()
    assert found == [(50, sum(range(50)))]


def test_files_of_other_programs_are_read(tmp_path):
    frame = pl.DataFrame(
        {"id": ["a", "b"], "text": ["x", None], "label": pl.Series(["c", "c"], dtype=pl.Categorical)}
    )
    frame.write_ipc(tmp_path / "p.arrow", compression="zstd")
    frame.write_parquet(tmp_path / "p.parquet")
    duckdb.sql(f"copy (select * from frame) to '{tmp_path / 'd.parquet'}'")
    pd.DataFrame({"id": ["a", "b"], "text": ["x", None], "label": ["c", "c"]}).to_parquet(
        tmp_path / "q.parquet"
    )
    stream = io.BytesIO()
    frame.write_ipc_stream(stream)

    tables = [
        ARROW.load(str(tmp_path / "p.arrow")),
        loads(ARROW, stream.getvalue()),
        *(PARQUET.load(str(tmp_path / name)) for name in ("p.parquet", "d.parquet", "q.parquet")),
    ]

    for table in tables:
        assert table.ids == ["a", "b"]
        assert table.columns["text"].values() == ["x", None]
        assert table.columns["tags"].values() == [{"label": "c"}, {"label": "c"}]


class Trickle(io.RawIOBase):
    """A pipe: no seek, few bytes at a time, and a count of how many were held."""

    def __init__(self, data):
        self._data, self.at = data, 0

    def readable(self):
        return True

    def seekable(self):
        return False

    def read(self, size=-1):
        size = len(self._data) if size < 0 else min(size, 1000)
        part = self._data[self.at : self.at + size]
        self.at += len(part)
        return part


@written
def test_tables_are_written_and_read_one_after_the_other(format, options):
    whole = table_of(alike_array(60))
    parts = [whole.slice(0, 20), whole.slice(20, 21), whole.slice(21, 60)]
    stream = io.BytesIO()

    format.write(iter(parts), stream, **options)

    assert not stream.closed
    data = stream.getvalue()
    assert difference(whole, loads(format, data)) is None
    for source in (io.BytesIO(data), Trickle(data)):
        assert difference(whole, Table.concat(list(format.read(source)))) is None
    if format is ARROW:
        assert [20, 1, 39] == [len(part) for part in format.read(io.BytesIO(data))]


def test_reading_a_stream_takes_no_more_than_it_gives():
    whole = table_of(alike_array(60))
    stream = io.BytesIO()
    ARROW.write([whole.slice(i, i + 10) for i in range(0, 60, 10)], stream, as_stream=True)
    source = Trickle(stream.getvalue())

    tables = ARROW.read(source)
    next(tables)

    assert source.at < len(stream.getvalue()) / 2


@written
def test_nothing_is_an_empty_table(format, options):
    stream = io.BytesIO()
    format.write([], stream, **options)

    assert len(loads(format, stream.getvalue())) == 0
    assert [0] == [len(table) for table in format.read(io.BytesIO(stream.getvalue()))]


@pytest.mark.parametrize("format", [ARROW, PARQUET])
def test_later_tables_may_lack_columns_and_keys(format):
    first = DocumentArray(
        [
            Document(
                id="a", text="x", tags={"p": 1, "q": "y"}, chunks=[Document(id="b", text="z", tags={"r": 1})]
            )
        ]
    )
    second = DocumentArray(
        [Document(id="c", tags={"p": 2}, chunks=[Document(id="d", text="w")]), Document(id="e")]
    )
    stream = io.BytesIO()

    format.write([table_of(first), table_of(second)], stream)

    back = loads(format, stream.getvalue())
    assert back.ids == ["a", "c", "e"]
    assert back.columns["text"].values() == ["x", None, None]
    assert back.columns["tags"].values() == [{"p": 1, "q": "y"}, {"p": 2}, None]
    assert back.columns["chunks"].value(1).columns["text"].values() == ["w"]


@pytest.mark.parametrize("format", [ARROW, PARQUET])
def test_later_tables_may_be_plainer(format):
    whole = table_of(everything_array()[:-1])
    parts = [whole.slice(0, 5), whole.slice(5, 9), whole.slice(9, len(whole))]
    stream = io.BytesIO()

    format.write(parts, stream)

    assert difference(whole, loads(format, stream.getvalue())) is None


@pytest.mark.parametrize(
    ("second", "column"),
    [
        (Table({"uri": TextColumn(["u"])}, ids=["2"]), "uri"),
        (Table({"tags": column_of("json", [{"b": 1}])}, ids=["2"]), "b"),
        (Table({"tags": column_of("json", [{"a": "text"}])}, ids=["2"]), "a"),
        (Table({"embedding": UniformTensors(np.zeros((1, 5)))}, ids=["2"]), "embedding"),
    ],
)
def test_later_tables_that_do_not_fit_are_refused(second, column):
    with pytest.raises(Unsupported, match=f"'{column}'"):
        ARROW.write([first_of_several(), second], io.BytesIO())


def first_of_several() -> Table:
    vector = UniformTensors(np.zeros((1, 3)))
    return Table({"tags": column_of("json", [{"a": 1}]), "embedding": vector}, ids=["1"])


def test_later_tables_of_another_framework_are_refused():
    zeros = torch().zeros(3, dtype=torch().float64)
    second = Table({"embedding": column_of("tensor", [zeros])}, ids=["2"])

    with pytest.raises(Unsupported, match="'embedding'"):
        ARROW.write([first_of_several(), second], io.BytesIO())


def test_options_that_there_are_not():
    for format in (ARROW, PARQUET):
        with pytest.raises(UnknownName, match="Did you mean 'zstd'"):
            format.dumps(small(), compress="zst")
        with pytest.raises(TypeError):
            format.dumps(small(), level=3)
        with pytest.raises(TypeError):
            format.loads(memoryview(format.dumps(small())), level=3)
        with pytest.raises(TypeError):
            next(format.read(io.BytesIO(format.dumps(small())), level=3))


def test_one_document_as_bytes():
    record = {"id": "a", "text": "x", "tags": {"p": 1}}

    assert ARROW.loads_record(memoryview(ARROW.dumps_record(record))) == record


# --- nothing that is loaded hurts


@written
def test_every_cut_is_an_error(format, options):
    data = format.dumps(small(), **options)

    for end in range(len(data)):
        with pytest.raises((CorruptData, UnsupportedFormat)):
            loads(format, data[:end])
    for end in range(0, len(data), 97):
        with pytest.raises((CorruptData, UnsupportedFormat)):
            list(format.read(io.BytesIO(data[:end])))


FLIPS = """
import random, resource, sys
sys.path.insert(0, {tests!r})
from test_arrow import WRITTEN, FormatError, loads, small
from docarray.records import records_of
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
rng = random.Random(7)
for name, (format, options) in WRITTEN.items():
    data = format.dumps(small(), **options)
    for _ in range(400):
        bad = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 5])):
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            at = rng.randrange(len(bad) - 8) // 4 * 4
            bad[at : at + 4] = rng.choice([b"\\xff" * 4, b"\\xff\\xff\\xff\\x7f", bytes(4)])
        try:
            records_of(loads(format, bad))
        except FormatError:
            pass
print("survived")
"""


def test_flipped_bits_are_errors_or_other_values():
    """In a process of its own: what Arrow took on trust would end it."""
    code = FLIPS.format(tests=str(Path(__file__).parent))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout == "survived\n", done.stderr[-2000:]


def test_a_stream_that_announces_more_than_there_is():
    data = bytearray(ARROW.dumps(small(), as_stream=True))
    size = struct.unpack_from("<I", data, 4)[0]
    batch = 8 + size
    assert data[batch : batch + 4] == b"\xff" * 4
    for announced in (1 << 30, -5, 1 << 20):
        bad = bytearray(data)
        struct.pack_into("<i", bad, batch + 4, announced)
        with pytest.raises(CorruptData):
            loads(ARROW, bad)
        with pytest.raises(CorruptData):
            list(ARROW.read(io.BytesIO(bad)))


def test_compressed_buffers_that_announce_too_much_are_not_unpacked():
    table = Table({"text": TextColumn(["a" * 100_000])}, ids=["1"])
    data = ARROW.dumps(table, compress="zstd")
    announced = struct.pack("<q", 100_000)
    assert data.count(announced) >= 1

    for size in (1 << 40, 1 << 62):
        with pytest.raises(CorruptData, match="unpack"):
            loads(ARROW, data.replace(announced, struct.pack("<q", size)))


def test_a_bomb_of_zeros_is_refused():
    table = Table({"blob": column_of("bytes", [bytes(300 << 20)])}, ids=["1"])
    data = ARROW.dumps(table, compress="zstd")
    del table

    assert len(data) < 1 << 20
    with pytest.raises(CorruptData, match="250 times"):
        loads(ARROW, data)


def test_rows_without_bytes_are_refused():
    schema = pa.schema([("x", pa.null())])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        nulls = pa.Array.from_buffers(pa.null(), 1 << 30, [None])
        writer.write_batch(pa.record_batch([nulls], schema=schema))

    with pytest.raises(CorruptData, match="announced"):
        loads(ARROW, sink.getvalue())


def test_a_dictionary_that_unpacks_to_too_much_is_refused():
    words = pa.array(["x" * (1 << 20)])
    held = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int8)), words)})

    with pytest.raises(CorruptData, match="dictionary"):
        from_arrow(held)


def test_invalid_arrow_data_is_refused():
    offsets, words = pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")
    no_text = pa.Array.from_buffers(pa.string(), 1, [None, offsets, words])
    codes = pa.DictionaryArray.from_arrays(pa.array([5]), pa.array(["a"]), safe=False)

    for array in (no_text, codes):
        with pytest.raises(CorruptData):
            from_arrow(pa.table({"text": array}))


# --- Hugging Face

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    """Data sets keep their files in the folder of the test, and show no progress."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def test_data_sets_both_ways():
    table = table_of(alike_array())

    dataset = datasets.Dataset(to_arrow(table))

    assert dataset[3]["text"] == "text 3"
    assert difference(table.select(["text", "tags"]), from_arrow(dataset).select(["text", "tags"])) is None
    assert difference(table.columns["embedding"].data, from_arrow(dataset).columns["embedding"].data) is None
    assert from_arrow(dataset.select([5, 2]).shuffle(seed=1)).columns["text"].values() in (
        ["text 5", "text 2"],
        ["text 2", "text 5"],
    )


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_data_sets_of_local_files(kind, tmp_path):
    path = tmp_path / f"data.{kind}"
    frame = pd.DataFrame({"sentence": [f"s{i}" for i in range(10)], "label": range(10)})
    if kind == "json":
        frame.to_json(path, orient="records", lines=True)
    else:
        getattr(frame, f"to_{kind}")(path, index=False)

    tables = list(
        huggingface_tables(
            kind,
            {"sentence": "text"},
            size=7,
            batch_size=4,
            data_files=str(path),
            split="train",
            cache_dir=str(tmp_path),
        )
    )

    assert [4, 3] == [len(table) for table in tables]
    table = Table.concat(tables)
    assert table.columns["text"].values() == [f"s{i}" for i in range(7)]
    assert table.columns["tags"].values() == [{"label": i} for i in range(7)]


def test_a_split_is_to_be_chosen(tmp_path):
    path = tmp_path / "data.json"
    path.write_text('{"a": 1}\n')

    with pytest.raises(BadValue, match=r"split.*there are train"):
        huggingface_tables("json", data_files=str(path), cache_dir=str(tmp_path))


def test_fields_of_data_sets_are_chosen_and_sampled():
    dataset = datasets.Dataset.from_dict({"a": list("xyz") * 100, "b": range(300)})

    chosen = Table.concat(list(huggingface_tables(dataset, {"a": "text"}, filter_fields=True)))
    half = sum(map(len, huggingface_tables(dataset, sampling_rate=0.5)))

    assert list(chosen.columns) == ["text"]
    assert 90 < half < 210
    assert not list(huggingface_tables(dataset, sampling_rate=0.0))
    assert not list(huggingface_tables(dataset, size=0))
    with pytest.raises(BadValue, match="filter_fields"):
        huggingface_tables(dataset, filter_fields=True)
    with pytest.raises(BadValue, match="sampling rate"):
        huggingface_tables(dataset, sampling_rate=2)
    with pytest.raises(TypeError):
        huggingface_tables(dataset, split="train")


def test_streamed_data_sets_are_read():
    dataset = datasets.Dataset.from_dict({"text": list("abcdef")}).to_iterable_dataset()

    table = Table.concat(list(huggingface_tables(dataset, size=5, batch_size=2)))

    assert table.columns["text"].values() == list("abcde")


def test_images_of_data_sets_are_their_bytes_and_paths():
    images = pa.array([{"bytes": b"png", "path": None}, {"bytes": None, "path": "a.png"}, None])
    dataset = datasets.Dataset(pa.table({"image": images}))

    (blobs,) = huggingface_tables(dataset, {"image": "blob"})
    (uris,) = huggingface_tables(dataset, {"image": "uri"})

    assert blobs.columns["blob"].values() == [b"png", None, None]
    assert uris.columns["uri"].values() == [None, "a.png", None]


def test_arrays_of_data_sets_become_tensors():
    features = datasets.Features({"tensor": datasets.Array2D((2, 3), "float32")})
    rows = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    dataset = datasets.Dataset.from_dict({"tensor": rows.tolist()}, features=features)

    assert difference(from_arrow(dataset).columns["tensor"].data, rows) is None
