"""Frames of pandas: all comes back equal, dtypes are plain, frames of old and of others are read."""

from __future__ import annotations

import datetime
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from everything import alike_array, difference, everything_array, tables
from hypothesis import HealthCheck, given, settings

from docarray import Document, DocumentArray
from docarray.columns import NumberColumn, TextColumn, UniformTensors, column_of
from docarray.errors import FieldTypeError, UnknownField
from docarray.schema import FIELDS
from docarray.serialization.dataframe import from_dataframe, to_dataframe
from docarray.table import Table

KINDS = {name: field.kind for name, field in FIELDS.items() if field.kind not in ("docs",) and name != "id"}


def table_of(docs) -> Table:
    return docs._slots.table()


def tags_of(frame) -> list:
    return from_dataframe(frame).columns["tags"].values()


# --- all comes back equal


@pytest.mark.parametrize("docs", [everything_array, alike_array, DocumentArray])
@pytest.mark.parametrize("all_fields", [False, True])
def test_frames_hold_everything(docs, all_fields):
    table = table_of(docs())

    assert difference(table, from_dataframe(to_dataframe(table, all_fields=all_fields))) is None


@pytest.mark.skipif(int(pd.__version__.split(".")[0]) < 3, reason="an option of pandas 3 that is its default")
@given(tables(levels=1, kinds={"blob": "bytes", "text": "text", "weight": "number", "embedding": "tensor"}))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_frames_are_exact(table):
    """Columns without any value are none; numbers that mix ints and floats are cells."""
    used = {n: c for n, c in table.columns.items() if any(v is not None for v in c.values())}
    table = Table(used, len(table), table.ids)

    back = from_dataframe(to_dataframe(table))

    if table.columns.get("weight") is not None and table.columns["weight"].kind == "json":
        table, back = table.with_columns({"weight": None}), back.with_columns({"weight": None})
    assert difference(table, back) is None


def test_nothing_is_an_empty_frame():
    frame = to_dataframe(Table({}, 0, []))

    assert list(frame) == ["id"]
    assert len(from_dataframe(frame)) == 0


# --- what a frame looks like


def test_columns_stand_in_canonical_order():
    table = table_of(everything_array())

    names = list(to_dataframe(table))

    assert names == [name for name in FIELDS if name == "id" or name in table.columns]


def test_columns_that_no_document_uses_are_left_out_unless_asked_for():
    table = Table({"text": TextColumn(["a"])}, ids=["1"])

    assert list(to_dataframe(table)) == ["id", "text"]
    frame = to_dataframe(table, all_fields=True)
    assert list(frame) == list(FIELDS)
    assert frame["weight"].tolist() == [None]


def test_dtypes_are_plain():
    table = Table(
        {
            "granularity": column_of("number", [1, None]),
            "adjacency": column_of("number", [1, 2]),
            "weight": column_of("number", [1.5, 2.5]),
            "offset": column_of("number", [1.5, None]),
            "text": TextColumn(["a", None]),
        },
        ids=["1", "2"],
    )

    frame = to_dataframe(table)

    assert frame.dtypes.astype(str).to_dict() == {
        "id": frame["text"].dtype.name,
        "granularity": "Int64",
        "adjacency": "int64",
        "weight": "float64",
        "offset": "Float64",
        "text": "str" if int(pd.__version__.split(".")[0]) > 2 else "object",
    }
    assert pd.isna(frame["text"][1])
    assert frame["granularity"][1] is pd.NA


def test_nan_is_no_gap():
    table = Table({"weight": column_of("number", [float("nan"), None, -0.0])}, ids=["1", "2", "3"])

    assert difference(table, from_dataframe(to_dataframe(table))) is None


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u8", ">i4"])
def test_numbers_of_any_dtype(dtype):
    data = np.array([1, 2, 3], dtype)
    frame = to_dataframe(
        Table({"weight": NumberColumn(data, np.array([True, False, True]))}, ids=list("abc"))
    )

    back = from_dataframe(frame)

    assert back.columns["weight"].values() == [data[0].item(), None, data[2].item()]


def test_embeddings_are_views_and_come_back_as_one_matrix():
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)

    frame = to_dataframe(Table({"embedding": UniformTensors(matrix)}, ids=list("abc")))
    back = from_dataframe(frame).columns["embedding"]

    assert all(np.shares_memory(matrix, cell) for cell in frame["embedding"])
    assert isinstance(back, UniformTensors)
    assert difference(matrix, back.data) is None


def test_numbers_are_not_shared_with_the_frame():
    data = np.array([1.0, 2.0])
    frame = to_dataframe(Table({"weight": NumberColumn(data)}, ids=["1", "2"]))
    back = from_dataframe(frame)

    frame.loc[0, "weight"] = 5.0

    assert data.tolist() == [1.0, 2.0]
    assert back.columns["weight"].values() == [1.0, 2.0]


def test_nested_documents_are_lists_of_dicts():
    docs = DocumentArray(
        [Document(id="a", chunks=[Document(id="b", text="x", chunks=[Document(id="c")])]), Document(id="d")]
    )

    frame = to_dataframe(table_of(docs))

    first, second = frame["chunks"]
    assert first[0]["text"] == "x"
    assert first[0]["chunks"][0]["id"] == "c"
    assert second is None
    assert difference(table_of(docs), from_dataframe(frame)) is None


def test_options_go_to_pandas():
    table = Table({"text": TextColumn(["a", "b"])}, ids=["1", "2"])

    assert list(to_dataframe(table, columns=["text"])) == ["text"]
    with pytest.raises(TypeError):
        to_dataframe(table, nonsense=1)


# --- what is read


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
@pytest.mark.parametrize("name", KINDS)
def test_whatever_pandas_calls_missing_is_unset(name, missing):
    some = {
        "text": "x", "bytes": b"x", "number": 1, "tensor": np.zeros(2), "json": {"a": 1},
        "scores": {"a": {"value": 1.0}},
    }[KINDS[name]]  # fmt: skip
    frame = pd.DataFrame({"id": ["1", "2", "3"], name: pd.Series([missing, some, missing], dtype=object)})

    values = from_dataframe(frame).columns[name].values()

    assert values[0] is None
    assert values[1] is not None
    assert values[2] is None
    assert not from_dataframe(frame[::2]).columns


@pytest.mark.parametrize("dtype", ["object", "string", "string[python]", "category", None])
def test_text_of_any_dtype(dtype):
    frame = pd.DataFrame({"text": pd.Series(["a", None, "b"], dtype=dtype)})

    assert from_dataframe(frame).columns["text"].values() == ["a", None, "b"]


@pytest.mark.parametrize(
    "dtype", ["int64", "float64", "Int64", "Float64", "int8", "int64[pyarrow]", "object", "bool"]
)
def test_whole_numbers_of_any_dtype(dtype):
    frame = pd.DataFrame(
        {"granularity": pd.Series([1, 0], dtype=dtype), "weight": pd.Series([1, 0], dtype=dtype)}
    )

    table = from_dataframe(frame)

    assert difference(table.columns["granularity"].values(), [1, 0]) is None
    assert table.columns["weight"].values() == [1, 0]


def test_whole_numbers_with_gaps():
    frame = pd.DataFrame({"granularity": [1, None], "adjacency": pd.Series([None, 2], dtype="Int64")})

    table = from_dataframe(frame)

    assert difference(table.columns["granularity"].values(), [1, None]) is None
    assert difference(table.columns["adjacency"].values(), [None, 2]) is None


def test_other_columns_become_tags_of_their_type():
    moment = datetime.datetime(2024, 1, 2, 3)
    frame = pd.DataFrame(
        {
            "text": ["a", "b"],
            "n": np.array([1, 2], np.int8),
            "x": [0.5, None],
            "ok": [True, False],
            "word": ["w", None],
            "kind": pd.Categorical(["k", "l"]),
            "when": [moment, None],
            "zoned": pd.Series([moment, None], dtype="datetime64[us, UTC]"),
            "nano": pd.Series([1, None], dtype="datetime64[ns]"),
            "span": [datetime.timedelta(days=1), None],
            "maybe": pd.Series([1, None], dtype="Int64"),
            "list": [[1], [2]],
            "any": pd.Series([np.float32(0.5), np.int64(3)], dtype=object),
            "none": [None, None],
            7: [1, 2],
        }
    )

    first, second = tags_of(frame)

    zoned = first.pop("zoned")
    assert zoned == moment.replace(tzinfo=datetime.UTC)
    assert type(zoned) is datetime.datetime
    assert difference(
        first,
        {
            "n": 1, "x": 0.5, "ok": True, "word": "w", "kind": "k", "when": moment, "nano": np.datetime64(1, "ns"),
            "span": datetime.timedelta(days=1), "maybe": 1, "list": [1], "any": 0.5, "7": 1,
        },
    ) is None  # fmt: skip
    assert difference(second, {"n": 2, "ok": False, "kind": "l", "list": [2], "any": 3, "7": 2}) is None


def test_tags_keep_their_own_keys():
    frame = pd.DataFrame({"tags": [{"a": 1}, None, '{"c": [1]}'], "a": [5, 6, None], "b": [7, None, None]})

    assert tags_of(frame) == [{"a": 1, "b": 7.0}, {"a": 6.0}, {"c": [1]}]


def test_a_frame_is_not_changed_by_reading_it():
    tags = {"a": 1}
    frame = pd.DataFrame({"tags": [tags], "b": [2]})

    assert tags_of(frame) == [{"a": 1, "b": 2}]

    assert tags == {"a": 1}


def test_the_index_means_nothing():
    frame = (
        to_dataframe(table_of(alike_array())).set_index("text", drop=False).sort_values("id", ascending=False)
    )

    table = from_dataframe(frame)

    assert table.ids == sorted(map(str, range(50)), reverse=True)
    assert table.columns["text"].values() == [f"text {i}" for i in table.ids]


def test_ids_are_drawn_where_missing():
    ids = from_dataframe(pd.DataFrame({"id": ["x", None], "text": ["a", "b"]})).ids

    assert ids[0] == "x"
    assert len(ids[1]) == 32
    assert from_dataframe(pd.DataFrame({"id": [1, 2]})).ids == ["1", "2"]
    assert len(set(from_dataframe(pd.DataFrame({"text": ["a", "b"]})).ids)) == 2


def test_frames_of_the_old_library():
    """Lists for arrays, base64 for bytes, all fields in each dict."""
    old = {
        "id": ["a", "b"],
        "parent_id": [None, None],
        "granularity": [None, 0.0],
        "blob": ["AP8=", None],
        "text": [None, "x"],
        "embedding": [[1.0, 2.0], [3.0, 4.0]],
        "tags": [{"x": 1.0}, {}],
        "scores": [{"cos": {"value": 0.5, "op_name": None, "description": None, "ref_id": None}}, None],
        "location": [None, [1.0, 2.0]],
        "chunks": [[{"id": "c", "blob": "AA==", "text": None, "tags": {}, "chunks": None}], None],
        "matches": [None, None],
    }

    table = from_dataframe(pd.DataFrame(old))

    values = {name: column.values() for name, column in table.columns.items()}
    chunk = values.pop("chunks")[0]
    assert values == {
        "granularity": [None, 0],
        "blob": [b"\x00\xff", None],
        "text": [None, "x"],
        "tags": [{"x": 1.0}, {}],
        "location": [None, [1.0, 2.0]],
        "embedding": [[1.0, 2.0], [3.0, 4.0]],
        "scores": [{"cos": {"value": 0.5}}, None],
    }
    assert chunk.ids == ["c"]
    assert chunk.columns["blob"].values() == [b"\x00"]


def test_frames_of_polars_are_read():
    frame = pl.DataFrame({"text": ["a", None], "embedding": [[1.0, 2.0], [3.0, 4.0]], "price": [1, 2]})

    table = from_dataframe(frame)

    assert table.columns["text"].values() == ["a", None]
    assert table.columns["tags"].values() == [{"price": 1}, {"price": 2}]
    assert isinstance(table.columns["embedding"], UniformTensors)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("text", 3, "row 1"),
        ("text", b"x", "text is wanted"),
        ("blob", "no base64!", "base64"),
        ("blob", 3, "bytes"),
        ("weight", "heavy", "a number"),
        ("granularity", 1.5, "whole number"),
        ("embedding", "x", "array"),
        ("tags", "x", "dict"),
        ("tags", "[1]", "dict"),
        ("tags", 3, "dict"),
        ("scores", {"a": "x"}, "scores"),
        ("chunks", ["x"], "list of dicts"),
        ("chunks", "x", "list of dicts"),
        ("chunks", [{"text": 3}], "text"),
        ("id", 1.5, "text"),
    ],
)
def test_cells_that_do_not_fit_are_named(name, value, word):
    frame = pd.DataFrame({name: pd.Series([None, value], dtype=object)})

    with pytest.raises(FieldTypeError, match=word):
        from_dataframe(frame)


def test_unknown_keys_of_nested_documents_are_refused():
    with pytest.raises(UnknownField, match="txt"):
        from_dataframe(pd.DataFrame({"chunks": [[{"txt": "x"}]]}))


def test_a_column_that_is_there_twice_is_refused():
    frame = pd.DataFrame([["a", "b"]], columns=["text", "text"])

    with pytest.raises(FieldTypeError, match="twice"):
        from_dataframe(frame)


@pytest.mark.parametrize("frame", [None, [1], {"text": ["a"]}, "text", np.zeros(3)])
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(FieldTypeError, match="DataFrame is wanted"):
        from_dataframe(frame)


def test_frames_of_polars_do_not_import_pandas():
    code = """
import sys, polars
from docarray.serialization.dataframe import from_dataframe
from_dataframe(polars.DataFrame({'text': ['a']}))
print('pandas' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
