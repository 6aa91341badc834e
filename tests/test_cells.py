"""Rows of tables as cells of SQL: what comes back is the same to the last bit."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from everything import difference, everything_array, rows_of, tables, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray.columns import BytesColumn, JsonColumn, NumberColumn, TextColumn, UniformTensors, column_of
from docarray.errors import CorruptData, DocArrayError, FieldTypeError, UnknownField
from docarray.rows import Slots, tabulate
from docarray.schema import FIELDS
from docarray.storage.cells import (
    TensorForm,
    cells_of,
    decode,
    encode,
    pack,
    read_id,
    read_ids,
    stored_id,
    stored_ids,
    unpack,
)
from docarray.storage.layout import layout_of
from docarray.table import Table

KINDS = {
    name: field.kind for name, field in FIELDS.items() if field.kind not in ("text", "docs") or name == "text"
}
NAMES = tuple(name for name in FIELDS if name != "id")


class Forms:
    def __init__(self, room=100):
        self.room, self.known = room, []

    def intern(self, form):
        if form not in self.known:
            if len(self.known) == self.room:
                return None
            self.known.append(form)
        return self.known.index(form)

    def form(self, number):
        return TensorForm.from_json(self.known[number].to_json())


def through(table, declared=(), room=100):
    """A table as cells and back, and the cells."""
    forms = Forms(room)
    encoded = encode(table, table.ids, list(declared), forms.intern)
    count = len(table)
    cells = dict(encoded.cells)
    cells["exact"] = [encoded.exact(row) if row in encoded.odd else None for row in range(count)]
    names = ["exact", *cells_of(NAMES)]
    rows = list(zip(*(cells.get(name, [None] * count) for name in names), strict=True))
    return decode(table.ids, NAMES, rows, 0, forms.form) if count else Table({}, 0, []), cells


def same(before, after):
    return difference(_filled(before), _filled(after))


def _filled(table):
    """Rows without what is missing, their fields by name."""
    empty = {"chunks": [], "matches": []}
    return [
        {k: row[k] for k in sorted(row) if row[k] is not None and not (k in empty and row[k] == empty[k])}
        for row in rows_of(table)
    ]


class TestRoundTrip:
    def test_everything_comes_back(self):
        table = _table_of_everything()
        after, _ = through(table)
        assert same(table, after) is None

    @settings(max_examples=60, deadline=None)
    @given(tables(levels=2, kinds=KINDS))
    def test_any_table_comes_back(self, table):
        table = Table({n: c for n, c in table.columns.items() if n in FIELDS}, len(table), table.id_column)
        if len(set(table.ids)) < len(table):
            return
        after, cells = through(table)
        assert same(table, after) is None
        for name, column in cells.items():
            for cell in column:
                assert cell is None or type(cell) in (str, bytes, int, float)
                if isinstance(cell, str):
                    assert "\0" not in cell
                    cell.encode()
                if isinstance(cell, float):
                    assert math.isfinite(cell)
                if isinstance(cell, int):
                    assert -(1 << 63) <= cell < 1 << 63
                if name in ("tags", "_metadata", "scores", "evaluations") and cell is not None:
                    json.loads(cell, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))

    def test_what_is_plain_needs_no_packing(self):
        table = Table(
            {
                "text": TextColumn(["a", "naïve 漢字 \U0001f600", None]),
                "tags": JsonColumn([{"a": 1, "b": [1.5, None, {"c": "d"}]}, {}, None]),
                "weight": NumberColumn(np.array([1.5, 0.0, -3.0])),
                "granularity": NumberColumn(np.array([1, 2, 3])),
                "embedding": UniformTensors(np.eye(3, dtype=np.float32)),
                "blob": BytesColumn([b"", b"\0\xff", None]),
            },
            ids=["1", "2", "3"],
        )
        after, cells = through(table)
        assert cells["exact"] == [None] * 3
        assert cells["embedding"][1] == np.eye(3, dtype=np.float32)[1].tobytes()
        assert same(table, after) is None

    def test_tags_with_the_same_keys_are_written_as_json_writes_them(self):
        rows = [
            {"price": i * 0.1, "näme%": f'"{i}" \n \\', "n": i, "ok": i % 2 == 0, "no": None}
            for i in range(20)
        ]
        _, cells = through(Table({"tags": JsonColumn(rows)}))
        assert cells["tags"] == [json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in rows]

    def test_arrays_of_one_form_are_one_matrix_again(self):
        matrix = np.arange(12, dtype=">f4").reshape(4, 3)
        after, _ = through(Table({"embedding": UniformTensors(matrix)}))
        column = after.columns["embedding"]
        assert isinstance(column, UniformTensors)
        assert column.data.dtype == np.dtype(">f4")
        assert column.data.tobytes() == matrix.tobytes()
        assert column.data.flags.writeable

    def test_more_forms_than_there_is_room_for_are_said_by_each_row(self):
        arrays = [np.zeros(n) for n in range(10)]
        table = Table({"tensor": column_of("tensor", arrays)})
        after, cells = through(table, room=3)
        assert sum(cell is not None for cell in cells["exact"]) == 7
        assert same(table, after) is None


def _table_of_everything():
    return tabulate(Slots(list(everything_array())))


class TestIds:
    @given(texts)
    def test_ids_come_back(self, key):
        stored = stored_id(key)
        assert "\0" not in stored
        stored.encode()
        assert read_id(stored) == key

    @given(st.lists(texts, unique=True, max_size=6))
    def test_two_ids_are_never_one(self, keys):
        stored = stored_ids(keys)
        assert len(set(stored)) == len(keys)
        assert stored == [stored_id(key) for key in keys]
        assert read_ids(stored) == keys

    def test_plain_ids_stand_as_they_are(self):
        assert stored_ids(["a", "Größe", "漢字", ""]) == ["a", "Größe", "漢字", ""]


class TestDeclared:
    def test_values_of_the_kind_stand_in_the_column(self):
        layout = layout_of("t", {"price": "float", "n": int, "name": "str", "ok": "bool", "a__b": "int"})
        tags = [
            {"price": 1.5, "n": 3, "name": "x", "ok": True, "a": {"b": 1}},
            {"price": 2, "n": 3.0, "name": "", "ok": False},
            {},
        ]
        _, cells = through(Table({"tags": JsonColumn(tags)}), layout.declared.values())
        assert cells["col_0"] == [1.5, 2.0, None]
        assert cells["col_1"] == [3, 3, None]
        assert cells["col_2"] == ["x", "", None]
        assert cells["col_3"] == [1, 0, None]
        assert cells["col_4"] == [1, None, None]
        assert cells["exact"] == [None] * 3

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("float", "1"),
            ("float", True),
            ("float", math.inf),
            ("float", 2**53 + 1),
            ("int", 1.5),
            ("int", 2**64),
            ("int", True),
            ("str", 1),
            ("str", "a\0"),
            ("str", "x" * 5000),
            ("bool", 1),
            ("int", [1]),
        ],
    )
    def test_another_value_marks_its_row(self, kind, value):
        layout = layout_of("t", {"v": kind})
        table = Table({"tags": JsonColumn([{"v": value}, {"v": None}])})
        after, cells = through(table, layout.declared.values())
        assert cells["col_0"] == [None, None]
        assert [cell is not None for cell in cells["exact"]] == [True, False]
        assert same(table, after) is None

    def test_two_names_of_one_path_are_an_error(self):
        with pytest.raises(ValueError, match="one path"):
            layout_of("t", {"price": "int", "tags__price": "int"})
        with pytest.raises(ValueError, match="Did you mean 'float'"):
            layout_of("t", {"price": "flaot"})


class TestRefused:
    def test_a_column_that_is_no_field(self):
        with pytest.raises(UnknownField, match="txt"):
            through(Table({"txt": TextColumn(["a"])}))

    def test_a_column_of_another_kind(self):
        with pytest.raises(FieldTypeError, match="'text' holds text"):
            through(Table({"text": NumberColumn(np.array([1]))}))

    def test_what_cannot_be_stored_names_the_document(self):
        table = Table({"tags": JsonColumn([{}, {"a": object()}])}, ids=["x", "y"])
        with pytest.raises(FieldTypeError, match="'y'"):
            through(table)


class TestDamage:
    def test_a_packed_table_that_is_damaged_is_an_error_and_no_crash(self):
        blob = pack(_table_of_everything())
        for cut in [0, 1, 5, 6, 7, 40, len(blob) // 2, len(blob) - 9]:
            with pytest.raises(DocArrayError):
                _read_all(unpack(blob[:cut]))
        rng = np.random.default_rng(0)
        for _ in range(80):
            damaged = bytearray(blob)
            at = int(rng.integers(len(blob)))
            damaged[at] ^= 1 << int(rng.integers(8))
            try:
                _read_all(unpack(bytes(damaged)))
            except DocArrayError:
                continue

    @pytest.mark.parametrize(
        "said",
        [
            "",
            "[]",
            "{}",
            '{"dtype":"O","shape":[1],"framework":"numpy"}',
            '{"dtype":"<f4","shape":[-1],"framework":"numpy"}',
        ],
    )
    def test_a_form_that_is_none(self, said):
        with pytest.raises(CorruptData):
            TensorForm.from_json(said)

    def test_bytes_of_another_size(self):
        form = TensorForm(np.dtype("<f4"), (2,), "numpy")
        with pytest.raises(CorruptData, match="not 8"):
            form.rows([b"1234567"])
        with pytest.raises(CorruptData, match="truth"):
            TensorForm(np.dtype("?"), (1,), "numpy").rows([b"\2"])


def _read_all(table):
    rows_of(table)
