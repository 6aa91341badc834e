from __future__ import annotations

import datetime
import enum
import math
import operator
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray.errors import BadFilter, BadPath, BadValue, UnknownField
from docarray.query import (
    MAX_DEPTH,
    OPERATORS,
    Always,
    And,
    Codes,
    Compare,
    FieldRef,
    Not,
    Numbers,
    Or,
    mask,
    parse,
    parse_sort,
    paths_in,
    sort_rows,
)

NAN, INF = math.nan, math.inf


def compare(path, op, value):
    return Compare(tuple(path.split("__")), op, value)


def columns_of(columns):
    """The `column` of a table of columns by dunder path."""

    def column(path, rows):
        values = columns["__".join(map(str, path))]
        if rows is None:
            return values
        assert rows.dtype == np.intp
        return [values[row] for row in rows.tolist()] if isinstance(values, list) else values.take(rows)

    return column


def chosen(filter, **columns):
    """The rows that a filter holds for."""
    (n,) = set(map(len, columns.values()))
    answers = mask(parse(filter), n, columns_of(columns))
    assert answers.shape == (n,)
    assert answers.dtype == np.bool_
    return np.flatnonzero(answers).tolist()


def coded(values):
    """A list of texts as `Codes`, with a word that no row uses."""
    words = ["unused", *dict.fromkeys(value for value in values if value is not None)]
    return Codes(np.array([-1 if v is None else words.index(v) for v in values], np.int32), words)


def numbered(values, dtype):
    """A list of numbers as `Numbers`; what is missing holds a value that must not show."""
    present = np.array([value is not None for value in values], np.bool_)
    array = np.array([1 if value is None else value for value in values], dtype)
    array.flags.writeable = present.flags.writeable = False
    return Numbers(array, None if present.all() else present)


# --- the language -----------------------------------------------------------------------------------------


def test_an_empty_filter_is_true_of_all_rows():
    assert parse({}) == Always()
    assert chosen({}, x=[1, None]) == [0, 1]


def test_fields_and_operators_are_joined_by_and():
    assert parse({"price": {"$gt": 1, "$lte": 5}, "text": {"$ne": "a"}}) == And(
        (compare("price", "gt", 1), compare("price", "lte", 5), compare("text", "ne", "a"))
    )


@pytest.mark.parametrize(("written", "op"), OPERATORS.items())
def test_every_operator_has_its_name_in_the_tree(written, op):
    value = {"in": [1], "nin": [1], "size": 1, "exists": True}.get(op, "a")

    node = parse({"x": {written: value}})

    assert isinstance(node, Compare)
    assert node.op == op


def test_ne_and_neq_are_one_operator():
    assert parse({"x": {"$ne": 1}}) == parse({"x": {"$neq": 1}}) == compare("x", "ne", 1)


@pytest.mark.parametrize("value", ["a", 3, None, True, [1, 2], ("a",), 1.5])
def test_a_bare_value_means_equal(value):
    assert parse({"x": value}) == compare("x", "eq", value)


def test_logic_takes_a_dict_or_a_list():
    a, b = compare("a", "eq", 1), compare("b", "eq", 2)

    assert parse({"$or": {"a": 1, "b": 2}}) == parse({"$or": [{"a": 1}, {"b": 2}]}) == Or((a, b))
    assert parse({"$and": {"a": 1, "b": 2}}) == parse({"$and": [{"a": 1}, {"b": 2}]}) == And((a, b))
    assert parse({"$not": {"a": 1}}) == Not(a)
    assert parse({"$not": {"a": 1, "b": 2}}) == parse({"$not": [{"a": 1}, {"b": 2}]}) == Not(And((a, b)))
    assert parse({"$or": [{"a": 1, "b": 2}, {"b": 2}]}) == Or((And((a, b)), b))


def test_logic_inside_a_field():
    gt, lt = compare("f", "gt", 3), compare("f", "lt", 1)

    assert parse({"f": {"$not": {"$gt": 3}}}) == Not(gt)
    assert parse({"f": {"$not": [{"$gt": 3}, {"$lt": 1}]}}) == Not(And((gt, lt)))
    assert (
        parse({"f": {"$or": {"$gt": 3, "$lt": 1}}})
        == parse({"f": {"$or": [{"$gt": 3}, {"$lt": 1}]}})
        == Or((gt, lt))
    )
    assert parse({"f": {"$not": {"$not": {"$gt": 3}}, "$lt": 1}}) == And((Not(Not(gt)), lt))
    pattern = parse({"f": {"$not": {"$regex": "a+"}}}).part.value
    assert pattern.pattern == "a+"


def test_logic_of_nothing():
    assert parse({"$and": []}) == Always()
    assert parse({"$or": []}) == Not(Always())
    assert chosen({"$or": []}, x=[1]) == []


def test_equal_joints_are_merged_and_a_joint_of_one_is_its_part():
    a, b, c = (compare(name, "eq", 1) for name in "abc")

    assert parse({"$and": [{"a": 1}, {"$and": [{"b": 1}, {"c": 1}]}]}) == And((a, b, c))
    assert parse({"$or": [{"a": 1}, {"$or": [{"b": 1}, {"c": 1}]}]}) == Or((a, b, c))
    assert parse({"$or": [{"a": 1}]}) == parse({"$and": [{}, {"a": 1}]}) == a


def test_a_path_may_be_a_tuple():
    assert parse({("tags", "a__b", 0): {"$gt": 1}}) == Compare(("tags", "a__b", 0), "gt", 1)


def test_a_tree_is_a_filter_and_a_part_of_one():
    node = parse({"a": 1})

    assert parse(node) is node
    assert parse({"$not": node, "b": 2}) == And((Not(node), compare("b", "eq", 2)))
    with pytest.raises(UnknownField):
        parse(node, fields=["b"])
    with pytest.raises(UnknownField):
        parse({"$or": [node]}, fields=["b"])


def test_a_tree_is_hashable_when_its_values_are():
    tree = parse({"a": {"$in": [1, 2], "$regex": "x"}, "$not": {"b": {"$field": "c"}}})

    assert hash(tree) == hash(parse({"a": {"$in": [1, 2], "$regex": "x"}, "$not": {"b": {"$field": "c"}}}))


def test_paths_in_names_all_columns_that_are_read():
    tree = parse({"$or": [{"a__b": 1}, {"c": {"$not": {"$gt": {"$field": "d"}}}}], "e": "{f}"})

    assert paths_in(tree) == {("a", "b"), ("c",), ("d",), ("e",), ("f",)}
    assert paths_in(parse({})) == frozenset()


@pytest.mark.parametrize("value", [[1, 2], (1, 2), {1, 2}, frozenset({1, 2}), np.array([1, 2])], ids=repr)
def test_a_list_of_values_becomes_a_tuple(value):
    assert parse({"x": {"$in": value}}) == compare("x", "in", (1, 2))


def test_numpy_scalars_become_plain_values():
    assert type(parse({"x": np.int64(3)}).value) is int
    assert type(parse({"x": {"$in": [np.float32(0.5)]}}).value[0]) is float
    assert parse({"x": {"$size": np.int8(3)}}) == compare("x", "size", 3)
    assert parse({"x": {"$exists": np.True_}}).value is True


# --- field references -------------------------------------------------------------------------------------


def test_a_reference_names_another_field():
    expected = compare("x", "lt", FieldRef(("tags", "y")))

    assert parse({"x": {"$lt": {"$field": "tags__y"}}}) == expected
    assert parse({"x": {"$lt": {"$field": ("tags", "y")}}}) == expected
    assert parse({"x": {"$lt": {"$field": ["tags", "y"]}}}) == expected
    assert parse({"x": {"$lt": FieldRef(("tags", "y"))}}) == expected
    assert parse({"x": {"$lt": "{tags__y}"}}) == expected
    assert parse({"x": {"$lt": "{tags__y}"}}, fields=["x", "tags"]) == expected
    assert parse({"x": {"$field": "y"}}) == parse({"x": "{y}"}) == compare("x", "eq", FieldRef(("y",)))


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"a": 1}', "{tags__y", "{tags__y} ", "{tags}{uri}", "{other}", "{a b}", "{__}"]
)
def test_other_text_that_begins_with_a_brace_is_text(text):
    """The old library raised on JSON-like text."""
    assert parse({"text": text}, fields=["text", "tags", "uri"]) == compare("text", "eq", text)


def test_the_tests_of_text_and_lists_take_braces_as_they_are():
    for op in ("$contains", "$startswith", "$endswith", "$icontains"):
        assert parse({"text": {op: "{text}"}}).value == "{text}"
    assert parse({"text": {"$in": ["{text}"]}}).value == ("{text}",)


def test_a_reference_is_compared_row_by_row():
    columns = {"a": [1, 2, None, None, "x"], "b": [1, 3, None, 4, 5]}

    assert chosen({"a": {"$field": "b"}}, **columns) == [0, 2]
    assert chosen({"a": {"$ne": {"$field": "b"}}}, **columns) == [1, 3, 4]
    assert chosen({"a": {"$lt": {"$field": "b"}}}, **columns) == [1]
    numbers = {"a": numbered([1, None, None, 4], np.int8), "b": numbered([1.0, 2.0, None, 5.0], np.float32)}
    assert chosen({"a": {"$field": "b"}}, **numbers) == [0, 2]
    assert chosen({"a": {"$lte": {"$field": "b"}}}, **numbers) == [0, 3]
    assert chosen({"a": {"$in": {"$field": "b"}}}, a=["x", "y", "x"], b=[["x"], ["x"], "xyz"]) == [0]
    assert chosen({"a": {"$startswith": {"$field": "b"}}}, a=["xy", "xy", "1"], b=["x", "y", 1]) == [0]


# --- what is wrong with a filter --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ([], "a filter is a dict"),
        ("text", "a filter is a dict such as"),
        (None, "a filter is a dict"),
        ({3: 4}, "3 names no field"),
        ({"": 4}, "'' names no field"),
        ({(): 4}, r"\(\) names no field"),
        ({(0, "a"): 4}, "begins with the name of a field"),
        ({"$nor": []}, r"'\$nor'.*Did you mean '\$or'"),
        ({"$gt": 3}, r"'\$gt' stands inside a field"),
        ({"$field": "x"}, r"'\$field' stands inside a field"),
        ({"$or": 3}, r"'\$or' takes a dict or a list of filters, not 3"),
        ({"$or": [3]}, "a filter is a dict.*not 3"),
        ({"$not": "x"}, r"'\$not' takes a dict or a list"),
        ({"x": {"$gtt": 3}}, r"no operator is called '\$gtt' \(at 'x'\). Did you mean '\$gte?'"),
        ({"x": {"$between": [1, 2]}}, r"'\$between'.*There are: .*\$lte"),
        ({"x": {}}, r"\{\} of 'x' has no operator.*\$eq"),
        ({"x": {"a": 1}}, r"\{'a': 1\} of 'x' has no operator.*\{'\$eq': \{'a': 1\}\}"),
        ({"x": {"gt": 1}}, r"Did you mean '\$gt'"),
        ({"x": {"a": 1, "$gt": 1}}, "mixes operators and plain keys"),
        ({"x": {1: 1, "$gt": 1}}, "mixes operators and plain keys"),
        ({"x": {"$field": "y", "$gt": 1}}, r"'\$field' stands alone"),
        ({"x": {"$field": 3}}, "3 names no field"),
        ({"x": {"$field": None}}, "None names no field"),
        ({"x": {"$not": 3}}, r"'\$not' takes a dict"),
        ({"x": {"$not": [3]}}, "inside the field 'x' stands a dict of operators.*not 3"),
        ({"x": {"$in": 3}}, r"'\$in' of 'x' takes a list, a tuple or a set, not 3"),
        ({"x": {"$in": "abc"}}, "takes a list"),
        ({"x": {"$nin": {"a": 1}}}, r"'\$nin'.*takes a list"),
        ({"x": {"$in": np.zeros((2, 2))}}, "takes a list"),
        ({"x": {"$regex": "("}}, "takes a regular expression"),
        ({"x": {"$regex": "a{99999999999999999999}"}}, "takes a regular expression"),
        ({"x": {"$regex": 3}}, "takes a pattern, not 3"),
        ({"x": {"$regex": re.compile(b"a")}}, "takes a pattern of text"),
        ({"x": {"$regex": {"$field": "y"}}}, "takes a constant"),
        ({"x": {"$size": 1.0}}, "takes a whole number, not 1.0"),
        ({"x": {"$size": True}}, "takes a whole number, not True"),
        ({"x": {"$size": {"$gt": 1}}}, "takes a value"),
        ({"x": {"$size": {"$field": "y"}}}, "takes a constant"),
        ({"x": {"$exists": 1}}, "takes True or False, not 1"),
        ({"x": {"$exists": "yes"}}, "takes True or False"),
        ({"x": {"$exists": {"$field": "y"}}}, "takes a constant"),
        ({"x": {"$startswith": 3}}, "takes text, not 3"),
        ({"x": {"$icontains": None}}, "takes text, not None"),
        ({"x": {"$eq": {"$gt": 3}}}, r"'\$eq' of 'x' takes a value, not \{'\$gt': 3\}"),
    ],
)
def test_what_is_malformed_is_refused_and_quoted(filter, message):
    with pytest.raises(BadFilter, match=message) as caught:
        parse(filter)

    assert isinstance(caught.value, ValueError)


def test_an_unknown_root_is_an_unknown_field():
    fields = ["text", "tags", "price"]

    with pytest.raises(AttributeError, match=r"no field 'prise'.*Did you mean 'price'") as caught:
        parse({"prise": 3}, fields)
    assert isinstance(caught.value, UnknownField)
    with pytest.raises(UnknownField, match=r"no field 'tag'.*'tag__x'"):
        parse({"$or": [{"tag__x": {"$gt": 3}}]}, fields)
    with pytest.raises(UnknownField, match="'other'"):
        parse({"text": {"$field": "other"}}, fields)
    assert parse({"tags__whatever__x": 3}, fields) == compare("tags__whatever__x", "eq", 3)


def nested(levels, innermost):
    for _ in range(levels):
        innermost = {"$not": innermost}
    return innermost


@pytest.mark.parametrize("wrap", [lambda inner: inner, lambda inner: {"x": inner}], ids=["outside", "inside"])
def test_a_filter_nests_so_deep_and_no_deeper(wrap):
    innermost = {"$gt": 3} if "x" in wrap({}) else {"x": 3}
    parse(wrap(nested(MAX_DEPTH, innermost)))

    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(BadFilter, match="deeper than"):
            parse(wrap(nested(levels, innermost)))


def test_messages_stay_short_whatever_is_quoted():
    for monster in (nested(100_000, 3), 10**5000, "a" * 100_000, list(range(100_000))):
        with pytest.raises(BadFilter) as caught:
            parse(
                {"x": {"$size": monster, "$unknown": 1} if monster != 10**5000 else {"$startswith": monster}}
            )
        assert len(str(caught.value)) < 500


# --- what each operator means -----------------------------------------------------------------------------


def test_eq():
    values = [1, 1.0, True, "1", None, [1], NAN, {"a": 1}]

    assert chosen({"x": 1}, x=values) == [0, 1, 2]
    assert chosen({"x": "1"}, x=values) == [3]
    assert chosen({"x": [1]}, x=values) == [5]
    assert chosen({"x": {"$eq": {"a": 1}}}, x=values) == [7]
    assert chosen({"x": NAN}, x=values) == []
    assert chosen({"x": None}, x=values) == [4]
    assert chosen({"x": ""}, x=["", None, "a"]) == [0]


def test_ne_is_not_eq():
    assert chosen({"x": {"$ne": 1}}, x=[1, 2, None, "1", NAN]) == [1, 2, 3, 4]
    assert chosen({"x": {"$neq": None}}, x=[1, None]) == [0]


def test_order():
    values = [1, 2, 3, 2.5, True, None, "2", [2], NAN, INF]

    assert chosen({"x": {"$lt": 2}}, x=values) == [0, 4]
    assert chosen({"x": {"$lte": 2}}, x=values) == [0, 1, 4]
    assert chosen({"x": {"$gt": 2}}, x=values) == [2, 3, 9]
    assert chosen({"x": {"$gte": 2}}, x=values) == [1, 2, 3, 9]
    assert chosen({"x": {"$gte": "1"}}, x=values) == [6]
    assert chosen({"x": {"$lt": [3]}}, x=values) == [7]
    assert chosen({"x": {"$gt": b"a"}}, x=[b"b", None, "b", 3]) == [0]
    assert chosen({"x": {"$lte": "b"}}, x=["a", None, "c", "b"]) == [0, 3]


@pytest.mark.parametrize("op", ["$lt", "$lte", "$gt", "$gte"])
@pytest.mark.parametrize(
    "wanted",
    [None, NAN, {"a": 1}, [1, "a"], 1j, np.array([1, 2]), object(), Decimal("sNaN")],
    ids=lambda v: type(v).__name__,
)
def test_what_has_no_order_is_neither_before_nor_after(op, wanted):
    values = [None, 1, "a", {"a": 1}, ["a", 1], np.array([1, 2]), np.array([1]), 1j]

    assert chosen({"x": {op: wanted}}, x=values) == []
    assert chosen({"x": {op: wanted}}, x=numbered([1, None, 3], np.int64)) == []
    assert chosen({"x": {op: wanted}}, x=coded(["a", None, "b"])) == []


def test_in_and_nin():
    values = [1, "a", None, 2.0, [1], NAN, {"k": 1}]

    assert chosen({"x": {"$in": [1, "a"]}}, x=values) == [0, 1]
    assert chosen({"x": {"$in": [2, None]}}, x=values) == [2, 3]
    assert chosen({"x": {"$in": [[1], {"k": 1}]}}, x=values) == [4, 6]
    assert chosen({"x": {"$in": [NAN]}}, x=values) == []
    assert chosen({"x": {"$in": []}}, x=values) == []
    assert chosen({"x": {"$nin": [1, "a"]}}, x=values) == [2, 3, 4, 5, 6]
    assert chosen({"x": {"$nin": []}}, x=values) == list(range(7))


def test_regex_searches_in_text():
    values = ["abc", "xbx", None, 3, ["b"], "ABC"]

    assert chosen({"x": {"$regex": "b"}}, x=values) == [0, 1]
    assert chosen({"x": {"$regex": "^a"}}, x=values) == [0]
    assert chosen({"x": {"$regex": re.compile("b", re.I)}}, x=values) == [0, 1, 5]
    assert chosen({"x": {"$not": {"$regex": "b"}}}, x=values) == [2, 3, 4, 5]


def test_size():
    values = ["abc", [1, 2, 3], {"a": 1, "b": 2, "c": 3}, None, 3, "", np.zeros((3, 2)), np.array(3)]

    assert chosen({"x": {"$size": 3}}, x=values) == [0, 1, 2, 6]
    assert chosen({"x": {"$size": 0}}, x=values) == [5]
    assert chosen({"x": {"$size": -1}}, x=values) == []
    assert chosen({"x": {"$size": 2}}, x=[[1, 2], "ab", {}, b"ab"]) == [0, 1, 3]
    assert chosen({"x": {"$size": 2}}, x=coded(["ab", None, "b"])) == [0]


def test_exists_of_a_field_means_not_the_default():
    class Nested(list):
        """Stands for an array of documents."""

    values = [None, "", b"", 0, 0.0, {}, [], Nested(), np.float64(0), (), False]
    filled = ["a", b"a", 1, -0.5, {"a": None}, [0], Nested([0]), NAN, np.zeros(3), np.zeros(0), np.float32(1)]

    assert chosen({"x": {"$exists": True}}, x=values + filled) == list(
        range(len(values), len(values + filled))
    )
    assert chosen({"x": {"$exists": False}}, x=values + filled) == list(range(len(values)))
    for value in values:
        assert chosen({"x": {"$exists": True}}, x=[value]) == []
    for value in filled:
        assert chosen({"x": {"$exists": True}}, x=[value]) == [0]


def test_exists_of_a_deeper_path_means_not_missing():
    values = [None, "", 0, [], {}, 1]

    assert chosen({"tags__x": {"$exists": True}}, tags__x=values) == [1, 2, 3, 4, 5]
    assert chosen({"tags__x": {"$exists": False}}, tags__x=values) == [0]


def test_contains():
    values = ["red car", ["red", "blue"], {"red": 1}, ("red",), None, 3, "RED", [np.array([1, 2]), "red"]]

    assert chosen({"x": {"$contains": "red"}}, x=values) == [0, 1, 2, 3, 7]
    assert chosen({"x": {"$contains": "red"}}, x=["red", None, 3, "a red car"]) == [0, 3]
    assert chosen({"x": {"$contains": 3}}, x=[[1, 3.0], {3: 1}, "3", 3, [NAN]]) == [0, 1]
    assert chosen({"x": {"$contains": NAN}}, x=[[NAN], {NAN: 1}]) == []
    assert chosen({"x": {"$contains": ""}}, x=["", "a", [], [""]]) == [0, 1, 3]


def test_the_tests_of_text():
    values = ["Straße Nord", "strasse nord", "nord Straße", None, ["strasse"], {"strasse": 1}, 3]

    assert chosen({"x": {"$startswith": "Straße"}}, x=values) == [0]
    assert chosen({"x": {"$endswith": "Straße"}}, x=values) == [2]
    assert chosen({"x": {"$icontains": "STRASSE"}}, x=values) == [0, 1, 2]
    assert chosen({"x": {"$istartswith": "STRASSE"}}, x=values) == [0, 1]
    assert chosen({"x": {"$iendswith": "STRASSE"}}, x=values) == [2]


def test_arrays_are_equal_when_shape_and_values_are():
    values = [
        np.array([1, 2]),
        np.array([[1, 2]]),
        np.array([1, 3]),
        [1, 2],
        None,
        "12",
        np.array(["1", "2"]),
    ]

    assert chosen({"x": np.array([1, 2])}, x=values) == [0, 3]
    assert chosen({"x": [1.0, 2.0]}, x=values) == [0, 3]
    assert chosen({"x": {"$ne": np.array([1, 2])}}, x=values) == [1, 2, 4, 5, 6]
    assert chosen({"x": {"$in": [np.array([1, 3]), "12"]}}, x=values) == [2, 5]
    assert chosen({"x": [[1], [1, 2]]}, x=values) == []
    assert chosen({"x": np.array([NAN])}, x=[np.array([NAN])]) == []
    assert chosen({"x": 3}, x=[np.array(3), np.array([3])]) == [0]
    assert chosen({"x": np.array(3)}, x=numbered([3, 4], np.int8)) == [0]


def test_arrays_inside_of_containers_are_compared():
    def value(last):
        return {"a": [np.array([1, 2]), {"b": np.array([3, last])}]}

    assert chosen({"x": {"$eq": value(4)}}, x=[value(4), value(5), {"a": []}, [], {"b": 1}]) == [0]
    assert chosen(
        {"x": [np.array([1, 2]), 1]}, x=[[np.array([1, 2]), 1], [np.array([1, 2])], (np.array([1, 2]), 1)]
    ) == [0]


def test_numpy_scalars_in_a_list_are_compared_as_python_numbers():
    """numpy compares a float32 with a Python float in float32."""
    values = [np.float32(0.1), 0.1, np.float64(0.1), np.int8(3), np.bool_(True), np.str_("a")]

    assert chosen({"x": 0.1}, x=values) == [1, 2]
    assert chosen({"x": {"$gt": 0.1}}, x=values) == [0, 3, 4]
    assert chosen({"x": {"$in": [3, True, "a"]}}, x=values) == [3, 4, 5]
    assert chosen({"x": 0.1}, x=Numbers(np.array([0.1], np.float32))) == []


def test_values_of_other_types_are_compared_as_python_does():
    class Level(enum.IntEnum):
        HIGH = 3

    days = [datetime.date(2022, 5, day) for day in (1, 2, 3)]

    assert chosen({"x": {"$gt": days[1]}}, x=days) == [2]
    assert chosen({"x": Decimal("0.5")}, x=numbered([0.5, 1.5], np.float64)) == [0]
    assert chosen({"x": {"$lt": Fraction(1, 2)}}, x=numbered([0, 1], np.int64)) == [0]
    assert chosen({"x": {"$in": [Fraction(1, 2), 7]}}, x=numbered([0.5, 1, 7], np.float64)) == [0, 2]
    assert chosen({"x": Level.HIGH}, x=numbered([3, 4], np.int16)) == [0]
    assert chosen({"x": {"$lt": Level.HIGH}}, x=[2, 3, Level.HIGH]) == [0]
    assert chosen({"x": 2 + 0j}, x=numbered([2.0, 3.0], np.float64)) == [0]
    assert chosen({"x": {"$gt": 1}}, x=numbered([1j, 2], np.complex128)) == []
    assert chosen({"x": 1j}, x=numbered([1j, None], np.complex128)) == [0]


def test_a_value_that_compares_itself_with_an_error_is_not_equal():
    class Touchy:
        def __eq__(self, other):
            raise TypeError("not with me")

        __hash__ = None

    assert chosen({"x": 3}, x=[Touchy(), 3]) == [1]


def test_values_too_deep_to_compare_are_not_equal():
    def deep():
        value = []
        for _ in range(100_000):
            value = [value]
        return value

    assert chosen({"x": {"$eq": deep()}}, x=[deep(), 3]) == []
    assert chosen({"x": {"$gt": deep()}}, x=[deep(), 3]) == []


# --- numbers beyond the reach of a float ------------------------------------------------------------------

EDGES = [
    *(sign * (base + step) for base in (2**53, 2**63, 2**64) for step in (-1, 0, 1) for sign in (1, -1)),
    *(float(sign * base) for base in (2**53, 2**63, 2**64) for sign in (1, -1)),
    *(
        0,
        1,
        -1,
        0.5,
        -0.5,
        1e308,
        -1e308,
        INF,
        -INF,
        NAN,
        10**400,
        -(10**400),
        True,
        False,
        127,
        128,
        255,
        256,
        2.5,
    ),
]
TESTS = {"$eq": operator.eq, "$ne": operator.ne, "$lt": operator.lt, "$lte": operator.le} | {
    "$gt": operator.gt,
    "$gte": operator.ge,
}
DTYPES = [np.bool_, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float32, np.float64]


def edges_in(dtype):
    """The edges that a dtype holds exactly."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return [True, False]
    if kind == "f":
        limit = float(np.finfo(dtype).max)
        fits = [e for e in EDGES if type(e) is float and (math.isnan(e) or math.isinf(e) or abs(e) <= limit)]
        return [e for e in fits if math.isnan(e) or float(np.dtype(dtype).type(e)) == e]
    limits = np.iinfo(dtype)
    return [int(e) for e in EDGES if type(e) is int and limits.min <= e <= limits.max]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("op", TESTS)
def test_numbers_are_compared_exactly(dtype, op):
    """numpy says that 2**53 + 1 == 2.0**53."""
    values = edges_in(dtype)
    column = numbered(values, dtype)

    for wanted in EDGES:
        expected = [row for row, value in enumerate(values) if TESTS[op](value, wanted)]
        assert chosen({"x": {op: wanted}}, x=column) == expected, wanted


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("count", [3, len(EDGES)])
def test_membership_is_exact(dtype, count):
    values = edges_in(dtype)
    wanted = EDGES[:count]

    expected = [row for row, value in enumerate(values) if any(value == each for each in wanted)]
    assert chosen({"x": {"$in": wanted}}, x=numbered(values, dtype)) == expected
    assert chosen({"x": {"$in": [*wanted, "a", None, [1]]}}, x=numbered(values, dtype)) == expected


@pytest.mark.parametrize("left", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("right", DTYPES, ids=lambda dtype: dtype.__name__)
def test_two_columns_of_numbers_are_compared_exactly(left, right):
    pairs = [(v, w) for v in edges_in(left) for w in edges_in(right)]
    columns = {"a": numbered([v for v, _ in pairs], left), "b": numbered([w for _, w in pairs], right)}

    for op, test in TESTS.items():
        expected = [row for row, (value, wanted) in enumerate(pairs) if test(value, wanted)]
        assert chosen({"a": {op: {"$field": "b"}}}, **columns) == expected


# --- one answer, whatever the form ------------------------------------------------------------------------

FIELDS = ("price", "text", "tags")
PATHS = ("price", "text", "tags__n", "tags__s", "tags__any")

texts = st.text("aAbß{}.", max_size=3)
whole = st.sampled_from([e for e in EDGES if type(e) is int and -(2**63) <= e < 2**63]) | st.integers(-3, 3)
floats = st.sampled_from([e for e in EDGES if type(e) is float]) | st.sampled_from([-0.0, 0.0, 1.0, 2.0])
bools = st.booleans()
leaves = st.none() | texts | whole | floats | bools | st.binary(max_size=1) | st.just(10**400)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2) | st.tuples(inner),
    max_leaves=3,
)


def forms(values):
    """All forms that a column of these values can have."""
    here = [value for value in values if value is not None]
    kinds = set(map(type, here))
    possible = [values]
    if kinds <= {str}:
        column = coded(values)
        possible.append(column)
        # A dictionary may hold a word twice: after two were joined.
        last = len(column.words)
        twice = np.where(
            (column.codes >= 0) & (np.arange(len(values)) % 2 == 0), column.codes + last, column.codes
        )
        possible.append(Codes(twice.astype(np.int32), [*column.words, *column.words]))
    if kinds <= {bool}:
        possible.append(numbered(values, np.bool_))
    if kinds <= {int}:
        fitting = [
            d
            for d in (np.int8, np.uint8, np.int64, np.uint64)
            if all(np.iinfo(d).min <= v <= np.iinfo(d).max for v in here)
        ]
        possible += [numbered(values, dtype) for dtype in fitting]
    if kinds <= {float}:
        possible.append(numbered(values, np.float64))
    return possible


@st.composite
def tables(draw):
    """Columns as lists, and the same columns in one of the forms that they can have."""
    n = draw(st.integers(0, 12))
    kinds = {
        "price": st.sampled_from([whole, floats, bools]),
        "text": st.just(texts),
        "tags__n": st.sampled_from([whole, floats, bools]).map(lambda kind: kind | st.none()),
        "tags__s": st.just(texts | st.none()),
        "tags__any": st.sampled_from([anything, leaves, st.none() | whole | floats, texts | whole]),
    }
    lists = {}
    for path in PATHS:
        values = draw(kinds[path])
        lists[path] = draw(st.lists(values, min_size=n, max_size=n))
    return lists, {path: draw(st.sampled_from(forms(values))) for path, values in lists.items()}


references = st.sampled_from(PATHS).map(lambda path: {"$field": path})
literals = anything.filter(
    lambda value: not isinstance(value, dict) or not any(k.startswith("$") for k in value)
)
operations = st.one_of(
    st.tuples(
        st.sampled_from(["$eq", "$ne", "$lt", "$lte", "$gt", "$gte", "$contains"]), literals | references
    ),
    st.tuples(
        st.sampled_from(["$in", "$nin"]),
        st.lists(leaves, max_size=12) | st.lists(literals, max_size=3) | references,
    ),
    st.tuples(
        st.sampled_from(["$icontains", "$startswith", "$istartswith", "$endswith", "$iendswith"]),
        texts | references,
    ),
    st.tuples(st.just("$regex"), st.sampled_from(["a", "^$", "[aß]{2}", "b$", "."])),
    st.tuples(st.just("$size"), st.integers(0, 3)),
    st.tuples(st.just("$exists"), bools),
)
conditions = st.recursive(
    st.dictionaries(st.sampled_from(sorted(OPERATORS)), st.nothing(), max_size=0)
    | st.lists(operations, min_size=1, max_size=2).map(dict),
    lambda inner: st.builds(lambda part: {"$not": part}, inner.filter(bool)),
    max_leaves=2,
).filter(bool)
filters = st.recursive(
    st.dictionaries(st.sampled_from(PATHS), conditions, max_size=3),
    lambda inner: st.builds(
        lambda key, parts: {key: parts},
        st.sampled_from(["$and", "$or", "$not"]),
        inner | st.lists(inner, max_size=3),
    ),
    max_leaves=5,
)


def naive(filter, row):
    """The language as its table says it, for one row of a dict."""
    return all(naive_entry(key, value, row) for key, value in filter.items())


def naive_entry(key, value, row):
    if key in ("$and", "$or", "$not"):
        if isinstance(value, dict):
            answers = [naive_entry(inner, data, row) for inner, data in value.items()]
        else:
            answers = [naive(part, row) for part in value]
        return any(answers) if key == "$or" else all(answers) != (key == "$not")
    return naive_field(key, value, row)


def naive_field(path, ops, row):
    return all(naive_operation(path, op, value, row) for op, value in ops.items())


def naive_operation(path, op, wanted, row):
    value = row[path]
    if op == "$not":
        return not naive_field(path, wanted, row)
    if isinstance(wanted, dict) and "$field" in wanted:
        wanted = row[wanted["$field"]]
    match op:
        case "$eq":
            return value == wanted
        case "$ne":
            return value != wanted
        case "$in":
            return isinstance(wanted, (list, tuple)) and any(value == each for each in wanted)
        case "$nin":
            return not naive_operation(path, "$in", wanted, row)
        case "$lt" | "$lte" | "$gt" | "$gte":
            try:
                return TESTS[op](value, wanted)
            except TypeError:
                return False
        case "$exists":
            return (
                value is not None if "__" in path else value not in (None, "", b"", 0, {}, [], ())
            ) == wanted
        case "$size":
            return hasattr(value, "__len__") and len(value) == wanted
        case "$contains":
            if isinstance(value, str):
                return isinstance(wanted, str) and wanted in value
            return isinstance(value, (list, tuple, dict)) and any(wanted == each for each in value)
    if not isinstance(value, str) or not isinstance(wanted, str):
        return False
    if op == "$regex":
        return re.search(wanted, value) is not None
    if op.startswith("$i"):
        value, wanted = value.casefold(), wanted.casefold()
    return {
        "contains": operator.contains,
        "startswith": str.startswith,
        "endswith": str.endswith,
    }[op.removeprefix("$").removeprefix("i")](value, wanted)


@settings(max_examples=600, deadline=None)
@given(tables(), filters)
def test_the_mask_says_what_the_table_of_operators_says(table, filter):
    lists, columns = table
    n = len(lists["price"])

    answers = mask(parse(filter, FIELDS), n, columns_of(columns))

    expected = [naive(filter, {path: values[row] for path, values in lists.items()}) for row in range(n)]
    assert answers.tolist() == expected


@settings(max_examples=200, deadline=None)
@given(tables(), filters, st.integers(1, 9))
def test_the_mask_does_not_depend_on_the_number_of_rows(table, filter, times):
    """More rows take other ways: a look-up table instead of a pass for each word, rows instead of a column."""
    lists, _ = table
    n = len(lists["price"])
    many = {path: values * times for path, values in lists.items()}
    longer = {path: forms(values)[-1] for path, values in many.items()}

    once = mask(parse(filter), n, columns_of(lists))

    assert mask(parse(filter), n * times, columns_of(longer)).tolist() == once.tolist() * times


# --- how columns are asked for ----------------------------------------------------------------------------


class Recorder:
    """A `column` that remembers how many rows it was asked for."""

    def __init__(self, **columns):
        self.columns = columns_of(columns)
        self.asked = []

    def __call__(self, path, rows):
        if rows is None or len(rows):
            self.asked.append(("__".join(map(str, path)), None if rows is None else rows.tolist()))
        return self.columns(path, rows)


def test_a_later_part_of_an_and_is_asked_of_the_rows_that_are_left():
    column = Recorder(a=[0, 1, 0, 1], b=["x", "y", "z", "y"])

    assert mask(parse({"a": 1, "b": {"$regex": "y"}}), 4, column).tolist() == [False, True, False, True]
    assert column.asked == [("a", None), ("b", [1, 3])]


def test_a_later_part_of_an_or_is_asked_of_the_rows_that_are_not_in_yet():
    column = Recorder(a=[0, 1, 0, 1], b=["x", "y", "y", "y"])

    assert mask(parse({"$or": [{"a": 1}, {"b": {"$regex": "y"}}]}), 4, column).tolist() == [
        False,
        True,
        True,
        True,
    ]
    assert column.asked == [("a", None), ("b", [0, 2])]


def test_few_rows_are_asked_for_in_all_forms():
    a = [1] + [0] * 99
    column = Recorder(a=numbered(a, np.int8), b=numbered([7] * 100, np.int8))

    assert mask(parse({"a": 1, "b": 7}), 100, column).tolist() == [True] + [False] * 99
    assert column.asked == [("a", None), ("b", [0])]


def test_nothing_is_asked_when_all_is_decided():
    column = Recorder(a=[0, 0], b=["x", "y"])

    assert mask(parse({"a": 1, "b": "x"}), 2, column).tolist() == [False, False]
    assert column.asked == [("a", None)]


def test_a_column_is_fetched_once():
    column = Recorder(a=[1, 2, 3, 4])

    assert mask(parse({"a": {"$gt": 1, "$lt": 4, "$ne": 3}}), 4, column).tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert column.asked == [("a", None)]


def test_cheap_parts_go_first_and_numbers_are_read_as_a_whole():
    numbers = numbered([1, 2, 3, 4], np.int64)
    column = Recorder(a=["x", "x", "y", "x"], b=numbers, c=numbers)

    answers = mask(parse({"a": {"$regex": "x"}, "b": {"$gt": 1}, "c": {"$lt": 4}}), 4, column)

    assert answers.tolist() == [False, True, False, False]
    assert column.asked == [("b", None), ("c", None), ("a", [1, 2])]


def test_a_hard_part_inside_of_a_part_is_asked_of_the_rows_in_question():
    column = Recorder(a=[1, 0, 1, 1], b=[1, 2, 3, 4], c=["x", "y", "x", "y"])
    tree = parse({"a": 1, "$not": {"b": {"$gt": 1}, "c": {"$regex": "x"}}})

    assert mask(tree, 4, column).tolist() == [True, False, False, True]
    assert column.asked == [("a", None), ("b", [0, 2, 3]), ("c", [2, 3])]


def test_the_mask_is_new_and_the_column_stays_as_it_was():
    present = np.array([True, False])
    column = columns_of({"tags__x": Numbers(np.array([1, 2]), present)})

    answers = mask(parse({"tags__x": {"$exists": True}}), 2, column)
    answers[:] = False
    assert mask(parse({"$not": {"tags__x": {"$exists": True}}}), 2, column).tolist() == [False, True]

    assert present.tolist() == [True, False]
    for filter in ({}, {"tags__x": 1}, {"tags__x": {"$gt": 0}}, {"tags__x": {"$in": [None]}}):
        assert mask(parse(filter), 2, column).flags.writeable


def test_a_mask_of_no_rows():
    for column in ([], numbered([], np.float64), coded([])):
        for op in ({"$gt": 1}, {"$in": ["a"]}, {"$exists": True}, {"$regex": "a"}, {"$field": "x"}):
            assert chosen({"x": op}, x=column) == []


def test_a_few_rows_of_a_large_dictionary():
    words = [f"word {i}" for i in range(100)]

    assert chosen({"x": {"$endswith": "7"}}, x=Codes(np.array([7, -1, 8, 17], np.int32), words)) == [0, 3]
    assert chosen({"x": {"$in": ["word 8", None]}}, x=Codes(np.array([7, -1, 8], np.int32), words)) == [1, 2]


# --- order ------------------------------------------------------------------------------------------------


def ordered(keys, n, **columns):
    return sort_rows(keys, n, columns_of(columns)).tolist()


def test_sort_keys_are_paths_with_a_sign():
    assert parse_sort("price") == ((("price",), False),)
    assert parse_sort("-tags__price") == ((("tags", "price"), True),)
    assert parse_sort(("tags", "a__b")) == ((("tags", "a__b"), False),)
    assert parse_sort(("-tags", "a__b")) == ((("tags", "a__b"), True),)
    assert parse_sort(["-a", ("b", 0), "c__d"]) == ((("a",), True), (("b", 0), False), (("c", "d"), False))
    assert parse_sort([]) == ()


@pytest.mark.parametrize("keys", ["", "-", [""], [()], [(0, "a")], ["a", "-"]])
def test_a_sort_key_that_names_nothing_is_a_bad_path(keys):
    with pytest.raises(BadPath):
        parse_sort(keys)


def test_what_is_no_sort_key_is_refused():
    for keys in (3, None, {"a": 1}):
        with pytest.raises(BadValue, match="sort takes a path"):
            parse_sort(keys)
    with pytest.raises(UnknownField, match="Did you mean 'price'"):
        parse_sort("-prise", fields=["price", "id"])


def test_missing_values_and_nan_are_last_in_both_directions():
    values = [2.0, None, 1.0, NAN, 3.0, None]

    for column in (values, numbered(values, np.float64)):
        assert ordered("x", 6, x=column) == [2, 0, 4, 1, 3, 5]
        assert ordered("-x", 6, x=column) == [4, 0, 2, 1, 3, 5]


def test_equal_rows_keep_their_order_in_both_directions():
    values = ["b", "a", "b", "a", None]

    for column in (values, coded(values)):
        assert ordered("x", 5, x=column) == [1, 3, 0, 2, 4]
        assert ordered("-x", 5, x=column) == [0, 2, 1, 3, 4]


def test_the_first_key_counts_most():
    columns = {"a": [1, 2, 1, 2, 1], "b": coded(["x", "y", "z", "x", None])}

    assert ordered(["a", "-b"], 5, **columns) == [2, 0, 4, 1, 3]
    assert ordered(["-a", "b"], 5, **columns) == [3, 1, 0, 2, 4]
    assert ordered([], 5, **columns) == [0, 1, 2, 3, 4]


def test_only_the_given_rows_are_sorted():
    rows = np.array([4, 0, 2])

    found = sort_rows("x", 5, columns_of({"x": [9, 1, 3, 1, 5]}), rows)

    assert found.tolist() == [2, 4, 0]
    assert found.dtype == np.intp
    assert rows.tolist() == [4, 0, 2]


def test_values_of_any_types_can_be_sorted():
    mixed = [
        {"b": 1},
        "b",
        2,
        None,
        [2, "x"],
        1.5,
        [2, 1],
        "a",
        b"x",
        {"a": 1},
        True,
        np.float32(1.25),
        NAN,
        3j,
    ]
    mixed += [np.array([1, 2]), np.array([0, 5])]

    up, down = ordered("x", 16, x=mixed), ordered("-x", 16, x=mixed)

    assert sorted(up) == sorted(down) == list(range(16))
    numbers = [
        row for row in up if isinstance(mixed[row], (int, float, np.float32)) and mixed[row] == mixed[row]
    ]
    assert numbers == [10, 11, 5, 2]
    assert up[-2:] == down[-2:] == [3, 12]
    assert down[:-2] == up[:-2][::-1]


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float64])
def test_the_ends_of_a_dtype_are_sorted_right(dtype):
    values = edges_in(dtype)
    here = [row for row, value in enumerate(values) if value == value]
    gone = [row for row, value in enumerate(values) if value != value]

    assert ordered("x", len(values), x=numbered(values, dtype)) == sorted(here, key=values.__getitem__) + gone
    assert (
        ordered("-x", len(values), x=numbered(values, dtype))
        == sorted(here, key=values.__getitem__, reverse=True) + gone
    )


@settings(max_examples=300, deadline=None)
@given(tables(), st.lists(st.sampled_from(["price", "text", "tags__n", "tags__s"]), unique=True), st.data())
def test_the_order_is_that_of_python_whatever_the_form(table, paths, data):
    lists, columns = table
    expected = list(range(len(lists["price"])))
    signs = [data.draw(st.booleans()) for _ in paths]
    for path, descending in reversed(list(zip(paths, signs, strict=True))):
        values = lists[path]
        here = [row for row in expected if values[row] is not None and values[row] == values[row]]
        gone = [row for row in expected if row not in here]
        expected = sorted(here, key=values.__getitem__, reverse=descending) + gone

    keys = ["-" * descending + path for path, descending in zip(paths, signs, strict=True)]

    assert sort_rows(keys, len(expected), columns_of(columns)).tolist() == expected
    assert sort_rows(keys, len(expected), columns_of(lists)).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(anything, max_size=12))
def test_any_values_have_an_order_and_the_other_direction_is_its_mirror(values):
    up, down = ordered("x", len(values), x=values), ordered("-x", len(values), x=values)

    assert sorted(up) == sorted(down) == list(range(len(values)))
    gone = [row for row, value in enumerate(values) if value is None or value is NAN]
    assert up[len(values) - len(gone) :] == down[len(values) - len(gone) :] == gone
