"""Rows as plain dicts and back."""

import numpy as np
import pytest
from everything import alike_array, difference, everything_array, record_lists
from hypothesis import given, settings

from docarray import NamedScore
from docarray.columns import column_of
from docarray.errors import BadValue, FieldTypeError, UnknownField
from docarray.records import cell_of, records_of, table_of
from docarray.table import Table


@pytest.mark.parametrize("make", [everything_array, alike_array])
def test_records_hold_what_the_table_holds(make):
    table = make()._slots.table()

    assert difference(table, table_of(records_of(table))) is None


@given(record_lists())
@settings(deadline=None, max_examples=100)
def test_any_records_come_back(records):
    assert difference(records, records_of(table_of(records))) is None


def test_a_record_has_what_is_set_in_canonical_order():
    table = Table(
        {"text": column_of("text", ["a", None]), "parent_id": column_of("text", ["p", None])}, ids=["1", "2"]
    )

    first, second = records_of(table)

    assert ["id", "parent_id", "text"] == list(first)
    assert {"id": "2"} == second


def test_ids_are_drawn_where_they_are_missing():
    ids = table_of([{"text": "a"}, {"id": "b"}, {"id": None}]).ids

    assert "b" == ids[1]
    assert 3 == len(set(ids))


def test_no_record_and_no_field():
    assert 0 == len(table_of([]))
    assert {} == table_of([{}, {"text": None, "chunks": []}]).columns
    assert [] == records_of(Table({}, 0))


@pytest.mark.parametrize(
    ("record", "error", "words"),
    [
        ({"text": 1}, FieldTypeError, "field 'text' of document 'd' takes a str; got int: 1"),
        ({"blob": "x"}, FieldTypeError, "field 'blob' of document 'd' takes bytes; got str"),
        ({"weight": "1"}, FieldTypeError, "field 'weight' of document 'd' takes a number"),
        ({"granularity": 1.5}, FieldTypeError, "field 'granularity' of document 'd' takes an int"),
        ({"tags": [1]}, FieldTypeError, "field 'tags' of document 'd' takes a dict"),
        ({"location": 3}, FieldTypeError, "field 'location' of document 'd' takes a list of numbers"),
        ({"location": ["a"]}, FieldTypeError, "field 'location' of document 'd' takes a list of numbers"),
        ({"embedding": "abc"}, FieldTypeError, "field 'embedding' of document 'd' takes an array"),
        ({"scores": {"a": {"worth": 1}}}, UnknownField, "field 'scores' of document 'd': .*'worth'"),
        ({"scores": {1: {}}}, FieldTypeError, "whose names are str"),
        ({"scores": []}, FieldTypeError, "field 'scores' of document 'd' takes a dict of scores"),
        ({"chunks": {"id": "c"}}, FieldTypeError, "field 'chunks' of document 'd' takes a list of documents"),
        ({"matches": [1]}, FieldTypeError, "field 'matches' of document 'd' takes a list of documents"),
        ({"txet": "x"}, UnknownField, "document 'd': a Document has no field 'txet'. Did you mean 'text'"),
        ({3: "x"}, UnknownField, "document 'd': a Document has no field '3'"),
        ({"chunks": [{"id": "c", "text": 1}]}, FieldTypeError, "field 'text' of document 'c'"),
    ],
)
def test_a_wrong_value_names_document_and_field(record, error, words):
    with pytest.raises(error, match=words):
        table_of([{"id": "first"}, {"id": "d", **record}])


def test_an_id_that_is_no_text_names_the_position():
    with pytest.raises(FieldTypeError, match="document 1: an id is a str; got int: 7"):
        table_of([{"id": "a"}, {"id": 7}])


def test_nesting_has_an_end():
    record = {"id": "bottom"}
    for _ in range(200):
        record = {"chunks": [record]}

    with pytest.raises(BadValue, match="nested more than 128 levels"):
        table_of([record])


def test_what_counts_as_the_type_of_a_field_becomes_it():
    record = {
        "id": "d",
        "blob": bytearray(b"x"),
        "weight": np.float32(0.5),
        "granularity": 2.0,
        "offset": True,
        "location": np.array([1, 2]),
        "scores": {"a": NamedScore(value=1), "b": 0.5},
        "text": np.str_("t"),
    }

    (back,) = records_of(table_of([record]))

    wanted = {
        "id": "d",
        "granularity": 2,
        "blob": b"x",
        "text": "t",
        "weight": 0.5,
        "offset": 1,
        "location": [1, 2],
        "scores": {"a": {"value": 1.0}, "b": {"value": 0.5}},
    }
    assert difference(wanted, back) is None


def test_one_cell():
    assert "x" == cell_of("text", "x", "d")
    assert 2 == cell_of("granularity", 2.0, "d")
    with pytest.raises(FieldTypeError, match="field 'text' of document 'd'"):
        cell_of("text", 1, "d")
    with pytest.raises(UnknownField):
        cell_of("worth", 1, "d")
