"""What comes in as columns is what documents can hold, or `CorruptData`; what is in order costs nothing."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from everything import alike_array, difference, everything_array, rows_of, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from test_columns import junk, places, replaced
from test_container import packed, unpacked

from docarray import Document, DocumentArray
from docarray.columns import (
    BoolColumn,
    BytesColumn,
    Column,
    JsonColumn,
    NumberColumn,
    RaggedTensors,
    ScoresColumn,
    TextColumn,
    UniformTensors,
    column_of,
    tensor_column,
)
from docarray.errors import CorruptData, FormatError, MissingExtra
from docarray.schema import FIELDS
from docarray.serialization.container import FORMAT
from docarray.settle import settled
from docarray.table import DocsColumn, Table

CELLS: dict[str, Any] = {
    "text": lambda: TextColumn(["a"]),
    "bytes": lambda: BytesColumn([b"a"]),
    "number": lambda: NumberColumn(np.array([1])),
    "bool": lambda: BoolColumn(np.array([True])),
    "tensor": lambda: UniformTensors(np.ones((1, 2))),
    "json": lambda: JsonColumn([{"a": 1}]),
    "scores": lambda: ScoresColumn([{"a": {"value": 1.0}}]),
    "docs": lambda: DocsColumn(np.array([0, 1]), Table({}, ids=["c"])),
}


def one(name: str, column: Column) -> Table:
    return Table({name: column}, ids=["x"])


def read(table: Table) -> Table:
    """As it comes from bytes."""
    return settled(FORMAT.loads(FORMAT.dumps(table)))


def cells(name: str, values: list[Any]) -> list[Any]:
    return settled(Table({name: column_of(FIELDS[name].kind, values)})).columns[name].values()


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "id"])
@pytest.mark.parametrize("kind", CELLS)
def test_a_column_of_another_kind_is_damage(name, kind):
    table = one(name, CELLS[kind]())
    if kind == FIELDS[name].kind:
        assert settled(table).columns[name].kind == kind
        return
    if (kind, FIELDS[name].kind) == ("json", "number"):
        table = one(name, JsonColumn(["a"]))
    for data in (table, one("chunks", DocsColumn(np.array([0, 1]), table))):
        with pytest.raises(CorruptData, match=f"column '(chunks/)?{name}'"):
            read(data)


def test_columns_of_other_names_are_left_out():
    table = Table({"flag": CELLS["bool"](), "text": CELLS["text"]()}, ids=["x"])

    assert list(settled(table).columns) == ["text"]
    assert list(settled(one("matches", DocsColumn(np.array([0, 1]), table))).child("matches").columns) == [
        "text",
        "adjacency",
    ]


@pytest.mark.parametrize("value", [5, "a", [1], None, True, 1.5, [[]]], ids=repr)
@pytest.mark.parametrize("count", [1, 9])
def test_tags_that_are_no_dicts_are_damage_when_they_are_read(value, count):
    values = [{"a": 1}] * (count - 1) + [value]
    table = Table({"tags": JsonColumn(values), "_metadata": JsonColumn(values)}, count)
    if value is None:
        assert read(table).columns["tags"].values() == values
        return
    with pytest.raises(CorruptData, match="a dict is wanted"):
        settled(table)
    da = DocumentArray(read(table))
    for read_it in (
        lambda: da[-1].tags,
        lambda: da[-1]._metadata,
        lambda: da[:, "tags"],
        lambda: da[:, "tags__a"],
        lambda: da.find({"tags__a": {"$gt": 0}}),
        lambda: list(da),
        lambda: da.to_list(),
    ):
        with pytest.raises(CorruptData, match="a dict is wanted"):
            read_it()


@pytest.mark.parametrize(
    "value",
    [
        5,
        {"a": 5},
        {"a": "b"},
        {"a": {"value": "x"}},
        {"a": {"op_name": 5}},
        {"a": {"other": 1}},
        {1: {"value": 1.0}},
    ],
    ids=repr,
)
@pytest.mark.parametrize("count", [1, 9])
def test_scores_that_are_none_are_damage_when_they_are_read(value, count):
    table = Table({"scores": ScoresColumn([value] * count)}, count)
    with pytest.raises(CorruptData, match="is wanted; got"):
        settled(table)
    da = DocumentArray(read(table))
    with pytest.raises(CorruptData, match="is wanted; got"):
        da[0].scores  # noqa: B018
    with pytest.raises(CorruptData, match="is wanted; got"):
        da[:, "scores"]


def test_scores_that_are_some():
    value = {"a": {"value": 1, "op_name": "b", "description": None}, "c": {}}
    for count in (1, 9):
        found = DocumentArray(read(Table({"scores": ScoresColumn([value] * count)}, count)))
        assert found[-1].scores["a"].value == 1.0


def test_of_several_contents_the_last_stays():
    texts, blobs = column_of("text", ["a", "b", None, None]), column_of("bytes", [None, b"x", b"y", None])
    tensors = tensor_column([None, None, np.ones(2), np.zeros(2)])
    found = settled(Table({"text": texts, "blob": blobs, "tensor": tensors}))

    assert found.columns["text"].values() == ["a", None, None, None]
    assert found.columns["blob"].values() == [None, b"x", None, None]
    assert found.columns["tensor"] is tensors
    assert "text" not in settled(Table({"text": texts, "blob": column_of("bytes", [b"x"] * 4)})).columns


def test_the_nested_are_told_where_they_are():
    leaf = Table({"text": column_of("text", ["x", "y", "z"])}, ids=["l1", "l2", "l3"])
    middle = Table(
        {"chunks": DocsColumn(np.array([0, 1, 3]), leaf), "parent_id": column_of("text", ["given", None])},
        ids=["m1", "m2"],
    )
    top = Table({"chunks": DocsColumn(np.array([0, 0, 2]), middle), "granularity": column_of("number", [5, 3])},
                ids=["a", "b"])  # fmt: skip
    da = DocumentArray(settled(top))

    assert [(c.parent_id, c.granularity) for c in da[1].chunks] == [("given", 4), ("b", 4)]
    assert [(c.id, c.parent_id, c.granularity) for c in da["@cc"]] == [
        ("l1", "m1", 5),
        ("l2", "m2", 5),
        ("l3", "m2", 5),
    ]
    assert da[1].chunks[0].adjacency == 0
    found = DocumentArray(
        settled(Table({"matches": DocsColumn(np.array([0, 0, 2]), middle)}, ids=["a", "b"]))
    )
    assert [(m.parent_id, m.adjacency, m.granularity) for m in found[1].matches] == [
        ("given", 1, 0),
        ("", 1, 0),
    ]


def test_rows_below_that_belong_to_nobody_stay_as_they_are():
    child = Table({"parent_id": column_of("text", [None] * 4)}, ids=list("wxyz"))
    found = settled(Table({"chunks": DocsColumn(np.array([1, 2, 3]), child)}, ids=["a", "b"])).child("chunks")

    assert found.columns["parent_id"].values() == [None, "a", "b", None]


def test_numbers():
    assert cells("granularity", [1.0, None, 2.0]) == [1, None, 2]
    assert cells("adjacency", [2**70, 3, 1.0]) == [2**70, 3, 1]
    assert cells("weight", [2**70, 1.5, None]) == [2**70, 1.5, None]
    with pytest.raises(CorruptData, match=r"column 'granularity', row 1: a whole number is wanted; got 1\.5"):
        cells("granularity", [1.0, 1.5])
    with pytest.raises(CorruptData, match="column 'weight', row 1: a number is wanted; got True"):
        settled(Table({"weight": JsonColumn([1, True])}))
    long = settled(Table({"weight": NumberColumn(np.array([1.5], np.longdouble))})).columns["weight"]
    assert type(long.value(0)) is float


def test_locations():
    assert cells("location", [[1.0, 2.0], None]) == [[1.0, 2.0], None]
    assert cells("location", [[1, 2.0], [1]]) == [[1, 2.0], [1]]
    found = settled(Table({"location": UniformTensors(np.ones((2, 2)))}))
    assert found.columns["location"].values() == [[1.0, 1.0]] * 2
    found = settled(Table({"location": RaggedTensors([np.ones(2), None, np.ones(1)])}))
    assert found.columns["location"].values() == [[1.0, 1.0], None, [1.0]]
    for column in (
        UniformTensors(np.ones((2, 2, 2))),
        UniformTensors(np.array([[True]])),
        RaggedTensors([[["a"]], None]),
        RaggedTensors([np.ones((1, 2)), None]),
    ):
        with pytest.raises(CorruptData, match=r"column 'location'.* list of numbers"):
            settled(Table({"location": column}))


def test_arrays_that_torch_has_not():
    for dtype in (">f4", np.longdouble):
        with pytest.raises(CorruptData, match="column 'embedding' holds arrays of torch"):
            settled(Table({"embedding": UniformTensors(np.ones((2, 2), dtype), None, "torch")}))


def test_what_is_in_order_is_handed_on_without_a_look(tmp_path):
    """The body is nothing but damage, and settling does not see it."""
    docs = alike_array()
    for doc in docs:
        doc.chunks.append(Document(text="below", matches=[Document(text="beside")]))
        doc.scores["cosine"].value = 0.5
    header, body, rows = unpacked(docs.to_bytes())
    table = FORMAT.loads(memoryview(packed(header, b"\xff" * len(body), rows)))

    assert settled(table) is table
    with pytest.raises(FormatError):
        DocumentArray(table)[0]


def test_a_large_file_opens_as_fast_as_a_small_one(tmp_path):
    """Within an order of magnitude, for a clock on a busy machine: a look at each row would cost a thousand times."""
    took = []
    for n in (1_000, 1_000_000):
        path = tmp_path / str(n)
        DocumentArray.from_columns(text=["words"] * n, tags=[{"a": 1}] * n).save(path)
        best = 1.0
        for _ in range(5):
            start = time.perf_counter()
            settled(FORMAT.load(path))
            best = min(best, time.perf_counter() - start)
        took.append(best)
    assert took[1] < 10 * took[0]


@settings(max_examples=40, deadline=None)
@given(tables())
def test_settling_twice_is_settling_once(table):
    try:
        once = settled(table)
    except CorruptData:
        return
    assert difference(rows_of(once), rows_of(settled(once))) is None


def test_everything_is_in_order():
    table = everything_array()._slots.table()

    assert settled(table) is table
    assert difference(rows_of(table), rows_of(read(table))) is None


def touch(da: DocumentArray) -> None:
    for name in FIELDS:
        da._slots.raw(name)
    for doc in da.flatten():
        repr(doc)
        doc.non_empty_fields  # noqa: B018
    da.to_bytes()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_header_gives_documents_or_format_errors(data):
    """Never a TypeError, an AttributeError, an UnknownField."""
    header, body, rows = unpacked(everything_array().to_bytes())
    for _ in range(data.draw(st.integers(1, 2))):
        header = replaced(header, data.draw(st.sampled_from(places(header))), data.draw(junk))
    with suppress(FormatError, MissingExtra):
        touch(DocumentArray.from_bytes(packed(header, body, rows)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_two_columns_changed_about_give_documents_or_format_errors(data):
    header, body, rows = unpacked(alike_array().to_bytes())
    columns = header["form"]["columns"]
    i, j = data.draw(st.integers(1, len(columns) - 1)), data.draw(st.integers(1, len(columns) - 1))
    taken = data.draw(st.sampled_from([name for name in FIELDS if name != "id"]))
    text = json.dumps(header)
    old, other = columns[i][0], columns[j][0]
    swapped = text.replace(f'"{old}', '"\0').replace(f'"{other}', f'"{old}').replace('"\0', f'"{taken}')
    with suppress(FormatError, MissingExtra):
        touch(DocumentArray.from_bytes(packed(json.loads(swapped), body, rows)))
