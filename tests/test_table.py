"""Tables: held against plain lists of rows, through every operation, in memory and through buffers."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from everything import cells, difference, rows_of, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from test_columns import junk, places, replaced, touch

from docarray.columns import JsonColumn, NumberColumn, TextColumn, UniformTensors, column_of, tensor_column
from docarray.errors import BadValue, FieldTypeError, FormatError, LengthError, MissingExtra, OutOfRange
from docarray.table import DocsColumn, Table


def stored(table: Table) -> tuple[Any, dict[str, bytes]]:
    """A table as its form, gone through JSON, and its buffers as bytes."""
    buffers: dict[str, Any] = {}
    form = table.to_buffers(buffers)
    return json.loads(json.dumps(form)), {name: buffer.tobytes() for name, buffer in buffers.items()}


def through(table: Table) -> Table:
    return Table.from_buffers(*stored(table))


def nested(*counts: int) -> Table:
    """Rows with so many chunks each."""
    total = sum(counts)
    child = Table(
        {"text": column_of("text", [str(i) for i in range(total)])}, total, [f"c{i}" for i in range(total)]
    )
    ids = [str(i) for i in range(len(counts))]
    return Table({"chunks": DocsColumn(np.cumsum([0, *counts]), child)}, len(counts), ids)


# --- buffers ------------------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(tables())
def test_buffers_are_exact_inverses(table):
    rows = rows_of(table)
    form, buffers = stored(table)
    again = Table.from_buffers(form, buffers)

    assert difference(rows, rows_of(again)) is None
    assert list(again.schema) == list(table.schema)
    assert stored(Table.from_buffers(form, buffers)) == (form, buffers)


@settings(max_examples=100, deadline=None)
@given(tables(rows=st.just(0)))
def test_tables_without_rows_pass_too(table):
    assert rows_of(through(table)) == []
    assert list(through(table).columns) == list(table.columns)


def test_names_of_columns_do_not_meet_in_the_buffers():
    """'tags.text' is both a column and a part of the column 'tags'."""
    table = Table(
        {
            "tags": column_of("json", [{"a": [1]}]),
            "tags.text": column_of("text", ["b"]),
            "chunks": DocsColumn(np.array([0, 1]), Table({"text": column_of("text", ["c"])}, ids=["x"])),
            "chunks/text": column_of("text", ["d"]),
            "chunks%2Ftext": column_of("text", ["e"]),
        },
        ids=["1"],
    )

    assert difference(rows_of(table), rows_of(through(table))) is None


def test_ids_that_nobody_gave_are_written_and_stay():
    table = Table({"text": column_of("text", ["a", "b"])})

    assert table.ids == table.ids == through(table).ids
    assert len(set(table.ids)) == 2


def test_nbytes_counts_the_buffers():
    table = Table({"x": NumberColumn(np.zeros(3))}, ids=["a", "b", "c"])

    assert table.nbytes == 3 * 8 + 4 * 8 + 3


def test_as_deep_as_can_be_read_can_be_written_and_no_deeper():
    table = Table({}, 1, ["leaf"])
    for level in range(128):
        table = Table({"chunks": DocsColumn(np.array([0, 1]), table)}, 1, [str(level)])

    inner = through(table)
    for _ in range(128):
        inner = inner.columns["chunks"].value(0)
    assert inner.ids == ["leaf"]
    with pytest.raises(BadValue, match="more than 128 levels"):
        stored(Table({"chunks": DocsColumn(np.array([0, 1]), table)}, 1, ["root"]))


def test_rows_without_an_id_are_refused():
    with pytest.raises(BadValue, match="row 1 of a table has no id"):
        stored(Table({}, ids=["a", None]))  # type: ignore[list-item]


def test_an_error_names_the_column_and_the_row():
    with pytest.raises(FieldTypeError, match="column 'tags', row 1"):
        stored(Table({"tags": JsonColumn([{}, {"a": object()}])}))


# --- operations, held against lists of rows -----------------------------------------------------------------------


def bare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what is missing: None, and nested rows of which there are none."""
    return [
        {
            name: bare(value) if name in NESTED else value
            for name, value in sorted(row.items())
            if not (value is None or (name in NESTED and not value))
        }
        for row in rows
    ]


NESTED = {"chunks", "matches", "x/y"}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_operations_in_a_row_are_those_of_lists(data):
    """take, slice, select, with_columns, concat and a way through buffers, in any order, on the same rows."""
    kinds = data.draw(
        st.dictionaries(
            st.sampled_from("abc"), st.sampled_from(["text", "number", "json", "tensor", "bytes"])
        )
    )
    table = data.draw(tables(levels=2, kinds=kinds))
    rows = rows_of(table)
    for step in data.draw(st.lists(st.sampled_from(sorted(STEPS)), max_size=5)):
        table, rows = STEPS[step](data, table, rows, kinds)
        assert len(table) == len(rows)
        found = rows_of(through(table) if data.draw(st.booleans()) else table)
        assert difference(bare(rows), bare(found), step) is None


def taken(data: Any, table: Table, rows: list[Any], kinds: Any) -> tuple[Table, list[Any]]:
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    return table.take(np.array(picked, np.intp)), [rows[i] for i in picked]


def sliced(data: Any, table: Table, rows: list[Any], kinds: Any) -> tuple[Table, list[Any]]:
    start, stop = sorted([data.draw(st.integers(0, len(rows))), data.draw(st.integers(0, len(rows)))])
    return table.slice(start, stop), rows[start:stop]


def selected(data: Any, table: Table, rows: list[Any], kinds: Any) -> tuple[Table, list[Any]]:
    names = data.draw(st.lists(st.sampled_from([*table.columns, "none such"]), max_size=3, unique=True))
    known = [name for name in names if name in table.columns]
    found = table.select(names)
    assert list(found.columns) == known
    return found, [{name: row[name] for name in ("id", *known) if name in row} for row in rows]


def replaced_columns(data: Any, table: Table, rows: list[Any], kinds: Any) -> tuple[Table, list[Any]]:
    if not kinds:
        return table, rows
    name = data.draw(st.sampled_from(sorted(kinds)))
    if data.draw(st.booleans()):
        return table.with_columns({name: None}), [{k: v for k, v in row.items() if k != name} for row in rows]
    values = data.draw(cells(kinds[name], len(rows)))
    fresh = [{**row, name: value} for row, value in zip(rows, values, strict=True)]
    return table.with_columns({name: column_of(kinds[name], values)}), fresh


def joined(data: Any, table: Table, rows: list[Any], kinds: Any) -> tuple[Table, list[Any]]:
    others = data.draw(st.lists(tables(levels=2, kinds=kinds, rows=st.integers(0, 4)), max_size=2))
    others = [through(other) if data.draw(st.booleans()) else other for other in others]
    if kinds and data.draw(st.booleans()):
        others.append(Table({}, 2))
    parts = [*others, table] if data.draw(st.booleans()) else [table, *others]
    found = Table.concat(parts)
    assert set(found.columns) == {name for part in parts for name in part.columns}
    return found, [row for part in parts for row in (rows if part is table else rows_of(part))]


def cut_up(data: Any, table: Table, rows: list[Any], kinds: Any) -> tuple[Table, list[Any]]:
    """In pieces, and together again."""
    at = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    return Table.concat([table.slice(a, b) for a, b in zip([0, *at], [*at, len(rows)], strict=True)]), rows


STEPS: dict[str, Any] = {
    "take": taken,
    "slice": sliced,
    "select": selected,
    "with_columns": replaced_columns,
    "concat": joined,
    "cut": cut_up,
    "buffers": lambda data, table, rows, kinds: (through(table), rows),
}


def test_a_table_that_lacks_a_column_joins_with_one_that_has_it():
    """A matrix here and nothing there."""
    with_vectors = Table({"embedding": tensor_column([np.ones(3)] * 4)}, ids=list("abcd"))
    without = Table({"text": column_of("text", ["x"])}, ids=["e"])
    for parts in ([with_vectors, without], [without, with_vectors]):
        found = Table.concat(parts).columns["embedding"]
        assert isinstance(found, UniformTensors)
        assert sum(value is None for value in found.values()) == 1


def test_columns_of_two_kinds_do_not_join():
    with pytest.raises(FieldTypeError, match="column 'x' is of several kinds: number, text"):
        Table.concat([Table({"x": column_of("text", ["a"])}), Table({"x": column_of("number", [1])})])


def test_numbers_that_needed_json_join_with_others():
    found = Table.concat(
        [Table({"x": column_of("number", [1])}), Table({"x": column_of("number", [2**64, 0.5])})]
    )

    assert difference([1, 2**64, 0.5], through(found).columns["x"].values()) is None


def test_many_tables_join_in_a_time_that_does_not_square():
    """5 000 batches of which only the last has a column."""
    tables = [Table({}, 1, [str(i)]) for i in range(5000)]
    tables.append(Table({"x": column_of("number", [1])}, ids=["last"]))

    assert Table.concat(tables).columns["x"].values() == [None] * 5000 + [1]


def test_no_tables_make_an_empty_one():
    assert len(Table.concat([])) == 0


def test_a_slice_of_what_came_from_buffers_shares_memory():
    table = through(Table({"x": NumberColumn(np.arange(9)), "y": tensor_column([np.ones(2)] * 9)}))
    cut = table.slice(3, 5)

    for name in ("x", "y"):
        assert np.shares_memory(table.columns[name].data, cut.columns[name].data)  # type: ignore[attr-defined]


# --- nested rows --------------------------------------------------------------------------------------------------


def test_nested_rows_are_slices_of_the_child():
    column = through(nested(2, 0, 1)).columns["chunks"]

    assert isinstance(column, DocsColumn)
    assert [["c0", "c1"], [], ["c2"]] == [table.ids for table in column.values()]
    assert column.value(-1).ids == ["c2"]
    assert column.present is not None
    assert [True, False, True] == column.present.tolist()
    with pytest.raises(IndexError):
        column.value(3)


def test_a_slice_writes_only_its_own_children():
    """The child table of a slice is that of the whole; what is written is what belongs to the rows."""
    table = nested(2, 0, 3, 1)
    cut = table.slice(2, 3)

    assert len(through(cut).child("chunks") or ()) == 3
    assert difference(rows_of(cut), rows_of(through(cut))) is None
    assert table.child("matches") is None


@pytest.mark.parametrize("offsets", [[0, 3, 2, 3], [-1, 0, 1, 3], [0, 1, 2, 9], [0, 2**62, -(2**62), 3]])
def test_offsets_of_nested_rows_are_checked_where_they_are_used(offsets):
    form, buffers = stored(nested(1, 1, 1))
    table = Table.from_buffers(form, {**buffers, "chunks.offsets": np.array(offsets, np.int64).tobytes()})
    column = table.columns["chunks"]

    assert len(table) == 3
    for ask in (
        column.values,
        lambda: table.take(np.array([0, 1, 2])),
        lambda: Table.concat([table, table]),
        lambda: table.to_buffers({}),
    ):
        with pytest.raises(FormatError, match="nested documents"):
            ask()


# --- arguments ----------------------------------------------------------------------------------------------------


def test_columns_of_other_lengths_are_named():
    with pytest.raises(LengthError, match="column 'b' has 1 rows where 2"):
        Table({"a": column_of("text", ["x", "y"]), "b": column_of("text", ["x"])})
    with pytest.raises(LengthError, match="column 'id' has 1 rows where 2"):
        Table({}, 2, ["x"])


def test_ids_are_no_column():
    """They would be written over the ids of the table."""
    with pytest.raises(BadValue, match="ids of a table"):
        Table({"id": TextColumn(["a"])})


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 1), (0, 4)])
def test_slices_stay_within_the_table(start, stop):
    with pytest.raises(OutOfRange):
        Table({}, 3).slice(start, stop)


# --- what comes from buffers is not trusted -----------------------------------------------------------------------

SAMPLE = Table(
    {
        "text": column_of("text", ["a", None, "c", "d"]),
        "tags": column_of("json", [{"a": 1, "b": {"c": "x"}}] * 4),
        "embedding": tensor_column([np.ones(2)] * 4),
        "tensor": tensor_column([np.ones(2), np.zeros(3), [[1], [2, 3]], None]),
        "chunks": DocsColumn(np.array([0, 2, 2, 3, 3]), nested(1, 0, 2)),
    },
    ids=["1", "2", "3", "4"],
)


def touch_all(table: Table) -> None:
    for ask in (
        lambda: table.ids,
        lambda: rows_of(table),
        lambda: rows_of(table.take(np.arange(min(len(table), 2)))),
        lambda: rows_of(table.slice(0, min(len(table), 2))),
        lambda: rows_of(Table.concat([table, table])),
        lambda: table.to_buffers({}),
    ):
        with suppress(FormatError, BadValue, MissingExtra):
            ask()
    for column in table.columns.values():
        touch(column)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_form_is_a_table_or_a_format_error(data):
    form, buffers = stored(SAMPLE)
    for _ in range(data.draw(st.integers(1, 3))):
        form = replaced(form, data.draw(st.sampled_from(places(form))), data.draw(junk))
    with suppress(FormatError):
        touch_all(Table.from_buffers(form, buffers))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_bytes_are_a_table_or_a_format_error(data):
    form, buffers = stored(SAMPLE)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(buffers)))
        damaged = bytearray(buffers[name])
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        buffers[name] = bytes(damaged[: data.draw(st.sampled_from([len(damaged), len(damaged), 0, 8]))])
    with suppress(FormatError):
        touch_all(Table.from_buffers(form, buffers))


ID = ["id", {"kind": "text", "layout": "flat", "length": 0}]


@pytest.mark.parametrize(
    "form",
    [
        None,
        [],
        {},
        "text",
        {"length": 0},
        {"length": 0, "columns": 5},
        {"length": 0, "columns": []},
        {"length": 0, "columns": [["id"]]},
        {"length": 0, "columns": [[5, {}]]},
        {"length": 0, "columns": [ID, ID]},
        {"length": 0, "columns": [["id", None]]},
        {"length": 0, "columns": [["id", {**ID[1], "gaps": True}]]},
        {"length": 0, "columns": [["id", {"kind": "bytes", "layout": "flat", "length": 0}]]},
        {"length": -1, "columns": [ID]},
        {"length": 1, "columns": [ID]},
        {"length": True, "columns": [ID]},
        {"length": 10**30, "columns": [ID]},
        {"length": 0, "columns": [ID, ["chunks", {"kind": "docs", "layout": "flat", "length": 0}]]},
        {"length": 0, "columns": [ID, ["chunks", {"kind": "docs", "layout": "other", "length": 0, "child": {}}]]},
        {"length": 0, "columns": [ID, ["chunks", {"kind": ["docs"]}]]},
    ],
    ids=lambda form: json.dumps(form)[:70],
)  # fmt: skip
def test_malformed_forms_are_format_errors(form):
    empty = {"id.offsets": bytes(8), "id.data": b"", "id.present": b"", "chunks.offsets": bytes(8)}
    with pytest.raises(FormatError):
        Table.from_buffers(form, empty)


def test_a_form_that_nests_without_end_is_a_format_error():
    form: Any = {"length": 0, "columns": [ID]}
    for _ in range(5000):
        form = {
            "length": 0,
            "columns": [["chunks", {"kind": "docs", "layout": "flat", "length": 0, "child": form}], ID],
        }
    buffers = {"chunks/" * level + "chunks.offsets": bytes(8) for level in range(300)}
    with pytest.raises(FormatError, match="128 levels"):
        Table.from_buffers(form, buffers)
