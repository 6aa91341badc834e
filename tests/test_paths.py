from __future__ import annotations

import datetime
from collections import defaultdict, deque
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray.errors import BadPath, FieldTypeError, OutOfRange, UnknownField
from docarray.paths import Step, dunder, lookup, parse_dunder, parse_traversal


class Thing:
    """Stands for a document: declared fields, a property, a method, something private."""

    FIELDS = ("text", "tags", "chunks", "scores")
    __slots__ = ("_metadata", "chunks", "scores", "tags", "text")

    def __init__(self, **values):
        for name in self.FIELDS:
            setattr(self, name, values.get(name))
        self._metadata = {"x": 1}

    @property
    def content(self):
        return self.text

    def summary(self):
        return "a method"


@dataclass
class Score:
    value: float = 0.0


# --- dunder paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("text", ("text",)),
        ("tags__price", ("tags", "price")),
        ("tags__a__b", ("tags", "a", "b")),
        ("tags__list__0", ("tags", "list", "0")),
        ("chunks__-1__text", ("chunks", "-1", "text")),
        ("scores__cosine__value", ("scores", "cosine", "value")),
        ("tags___root_id_", ("tags", "_root_id_")),
        ("_metadata__x", ("_metadata", "x")),
        ("tags____x", ("tags", "__x")),
        ("__class__", ("__class__",)),
        ("tags__", ("tags__",)),
        ("tags__a__", ("tags", "a__")),
    ],
)
def test_a_text_is_cut_at_the_first_dunder_with_something_on_both_sides(text, parts):
    assert parse_dunder(text) == parts


@given(st.lists(st.text("ab_", min_size=1), min_size=1, max_size=4))
def test_no_part_is_empty_and_the_parts_joined_are_the_text(pieces):
    text = "__".join(pieces)

    parts = parse_dunder(text)

    assert all(parts)
    assert dunder(parts) == text


@given(st.lists(st.text("ab", min_size=1), min_size=1, max_size=4))
def test_names_without_underscores_come_back_as_they_were(names):
    assert parse_dunder("__".join(names)) == tuple(names)


def test_a_tuple_is_taken_as_it_stands():
    assert parse_dunder(("tags", "a__b", 0)) == ("tags", "a__b", 0)
    assert parse_dunder(("tags", np.int64(3))) == ("tags", 3)
    assert type(parse_dunder(("tags", np.int64(3)))[1]) is int


@pytest.mark.parametrize("path", ["", (), ("tags", "")])
def test_an_empty_path_is_a_bad_path(path):
    with pytest.raises(BadPath):
        parse_dunder(path)


@pytest.mark.parametrize("path", [3, None, ["tags"], ("tags", 1.5), ("tags", True), ("tags", None)])
def test_a_path_of_another_type_is_a_type_error(path):
    with pytest.raises(FieldTypeError, match="path"):
        parse_dunder(path)


# --- lookup -----------------------------------------------------------------------------------------------


def found(obj, path, **options):
    return lookup(obj, parse_dunder(path), **options)


def test_each_part_is_read_by_what_it_meets():
    thing = Thing(
        text="abc",
        tags={"price": 3, "list": [5, 6], "a": {"b": 7}, "_root_id_": "r"},
        chunks=[Thing(text="c0"), Thing(text="c1")],
        scores={"cosine": Score(0.5)},
    )

    assert found(thing, "tags__price") == 3
    assert found(thing, "tags__list__0") == 5
    assert found(thing, "tags__list__-1") == 6
    assert found(thing, "tags__a__b") == 7
    assert found(thing, "tags___root_id_") == "r"
    assert found(thing, "_metadata__x") == 1
    assert found(thing, "chunks__1__text") == "c1"
    assert found(thing, "scores__cosine__value") == 0.5
    assert found(thing, "content") == "abc"
    assert found(thing, "text__0") == "a"


@pytest.mark.parametrize(
    "values",
    [[1, 2, 3], (1, 2, 3), deque([1, 2, 3]), range(1, 4), np.array([1, 2, 3])],
    ids=lambda values: type(values).__name__,
)
def test_whatever_has_positions_takes_one(values):
    assert lookup({"x": values}, ("x", "1")) == 2
    assert lookup({"x": values}, ("x", 1)) == 2
    assert lookup({"x": values}, ("x", "-1")) == 3
    with pytest.raises(OutOfRange):
        lookup({"x": values}, ("x", "3"))
    assert lookup({"x": values}, ("x", "3"), missing="none") is None


@pytest.mark.parametrize("mapping", [dict, MappingProxyType], ids=["dict", "mapping"])
def test_a_mapping_takes_the_text_first_and_then_the_number(mapping):
    both = mapping({"1": "text", 1: "number", 2: "two", "a__b": 3})

    assert lookup(both, ("1",)) == "text"
    assert lookup(both, (1,)) == "number"
    assert lookup(both, ("2",)) == "two"
    assert lookup(both, ("a__b",)) == 3
    assert lookup(both, ("3",)) is None
    assert lookup(both, (3,)) is None


def test_a_number_of_many_digits_is_a_key_and_not_a_position():
    digits = "9" * 5000

    assert lookup({digits: 1}, (digits,)) == 1
    assert lookup({"x": [1]}, ("x", digits), missing="none") is None


@pytest.mark.parametrize("nothing", [None, {}, [], (), "", np.zeros(0)], ids=repr)
def test_nothing_is_in_nothing(nothing):
    assert lookup({"x": nothing}, ("x", "0", "y")) is None
    assert lookup({"x": nothing}, ("x", "name")) is None


def test_a_missing_key_gives_none_and_does_not_make_one():
    scores = defaultdict(Score)

    assert lookup({"scores": scores}, ("scores", "cosine", "value")) is None
    assert not scores


def test_a_position_beyond_the_end_names_the_path():
    with pytest.raises(IndexError, match=r"'tags__list__7'.* 2 values at 'tags__list'") as caught:
        found(Thing(tags={"list": [1, 2]}), "tags__list__7__deeper")

    assert isinstance(caught.value, OutOfRange)


def test_an_attribute_of_an_array_can_be_read():
    assert lookup({"x": np.zeros((2, 3))}, ("x", "shape", "0")) == 2


def test_a_0d_array_has_no_positions():
    with pytest.raises(OutOfRange):
        lookup({"x": np.array(3.0)}, ("x", "0"))
    assert lookup({"x": np.array(3.0)}, ("x", "0"), missing="none") is None


@pytest.mark.parametrize("missing", ["raise", "none"])
def test_a_field_that_is_not_declared_is_an_error_in_both_ways(missing):
    with pytest.raises(AttributeError, match=r"Thing has no field 'txt'.*Did you mean 'text'") as caught:
        found(Thing(), "txt", missing=missing)
    assert isinstance(caught.value, UnknownField)
    with pytest.raises(UnknownField, match=r"Score has no field 'valu'.*'scores__cosine__valu'.*'value'"):
        found(Thing(scores={"cosine": Score()}), "scores__cosine__valu", missing=missing)


def test_known_names_are_used_for_the_hint():
    with pytest.raises(UnknownField, match="Did you mean 'years'"):
        lookup(datetime.date(2022, 5, 1), ("yeers",), known=["years", "months"])


def test_an_attribute_that_plain_data_lacks_is_missing_for_a_filter_only():
    date = {"date": datetime.date(2022, 5, 1), "text": "abc", "list": [1], "number": 3}

    assert found(date, "date__year") == 2022
    for path in ("date__yeer", "text__name", "list__name", "number__name", "number__0"):
        assert found(date, path, missing="none") is None
        with pytest.raises(UnknownField):
            found(date, path)


@pytest.mark.parametrize(
    "path", [("summary",), ("__class__",), ("summary", "__globals__"), ("__dict__", "text")]
)
def test_methods_and_the_insides_of_python_are_out_of_reach(path):
    for missing in ("raise", "none"):
        with pytest.raises(UnknownField):
            lookup(Thing(text="x"), path, missing=missing)


def test_a_bare_string_of_slots_is_one_name():
    class Single:
        __slots__ = "value"

    with pytest.raises(UnknownField, match=r"There are: value\."):
        lookup(Single(), ("other",))


# --- traversal paths --------------------------------------------------------------------------------------

R, C, M = Step("r"), Step("c"), Step("m")


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("r", [[R]]),
        ("c", [[C]]),
        ("cc", [[C, C]]),
        ("m,c", [[M], [C]]),
        ("m,cm,r", [[M], [C, M], [R]]),
        ("r[:2]c[1:3]", [[Step("r", (), slice(None, 2)), Step("c", (), slice(1, 3))]]),
        (".[image]", [[Step(".", ("image",))]]),
        (".[image,text]", [[Step(".", ("image", "text"))]]),
        (".[panels].[img]", [[Step(".", ("panels",)), Step(".", ("img",))]]),
        (".[a,b],c", [[Step(".", ("a", "b"))], [C]]),
        ("r[1:].[img]c", [[Step("r", (), slice(1, None)), Step(".", ("img",)), C]]),
        (".[img][-1]", [[Step(".", ("img",), slice(-1, None))]]),
        ("r-2:", [[Step("r", (), slice(-2, None))]]),
        ("r1:3", [[Step("r", (), slice(1, 3))]]),
        ("c::2", [[Step("c", (), slice(None, None, 2))]]),
        ("c[::-1]", [[Step("c", (), slice(None, None, -1))]]),
        ("c:", [[Step("c", (), slice(None, None))]]),
        ("c1c2", [[Step("c", (), slice(1, 2)), Step("c", (), slice(2, 3))]]),
        (" r [ 1 : 3 ] c , . [ a , b ] ", [[Step("r", (), slice(1, 3)), C], [Step(".", ("a", "b"))]]),
        ("r\n-\t1", [[Step("r", (), slice(-1, None))]]),
    ],
)
def test_the_grammar(text, paths):
    assert parse_traversal(text) == tuple(map(tuple, paths))


@given(st.integers(-6, 5), st.sampled_from(["c{}", "c[{}]"]))
def test_a_position_is_the_slice_that_holds_that_element(index, form):
    """`@c[-1]` was empty once."""
    values = list(range(6))

    ((step,),) = parse_traversal(form.format(index))

    assert values[step.slice] == [values[index]]


@given(st.integers(-9, 8))
def test_a_position_beyond_the_end_holds_nothing(index):
    ((step,),) = parse_traversal(f"c[{index}]")

    assert len(list(range(4))[step.slice]) == (-4 <= index < 4)


@given(*[st.none() | st.integers(-9, 9)] * 2, st.none() | st.integers(-3, 3).filter(bool), st.booleans())
def test_a_slice_is_the_slice_of_python(start, stop, stride, brackets):
    span = f"{'' if start is None else start}:{'' if stop is None else stop}"
    span += "" if stride is None else f":{stride}"

    ((step,),) = parse_traversal(f"c[{span}]" if brackets else f"c{span}")

    assert step.slice == slice(start, stop, stride)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("  ", 2),
        ("x", 0),
        ("@c", 0),
        ("chunks", 1),
        ("r,", 2),
        (",r", 0),
        ("r,,c", 2),
        ("r[", 1),
        ("r[]", 1),
        ("r[1", 1),
        ("r]", 1),
        ("r[1.5]", 1),
        ("r[::0]", 2),
        ("r ::0", 2),
        ("c1:2:3:4", 6),
        ("c[1:2:3:4]", 1),
        (".image", 0),
        (".[]", 0),
        (".[a,]", 0),
        (".[1a]", 2),
        ("c, .[1a]", 5),
        ("r 1 x", 4),
        ("c" + "9" * 30, 19),
    ],
)
def test_what_cannot_be_read_is_quoted_with_its_position(text, position):
    with pytest.raises(BadPath, match=f"at position {position}: ") as caught:
        parse_traversal(text)

    assert repr(text) in str(caught.value)
    assert "'@r[:2]c'" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@given(st.text("rcm.[],:-01 a@", max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        paths = parse_traversal(text)
    except BadPath:
        return
    assert paths
    assert all(paths)


@pytest.mark.parametrize("text", [None, 3, ["c"], b"c"])
def test_a_traversal_path_is_text(text):
    with pytest.raises(FieldTypeError, match="traversal path"):
        parse_traversal(text)


def test_a_step_can_be_a_key():
    assert len({Step("c", (), slice(1, 2)), Step("c", (), slice(1, 2)), C}) == 2
