import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray.errors import BadFilter, BadValue, DocArrayError, FieldTypeError
from docarray.web.limits import Limits, TooMuch

LIMITS = Limits(page=50, vector=4, filter_terms=8, filter_depth=4, longest_id=12, text=10, sort_keys=2)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=6), inner, max_size=6),
    max_leaves=20,
)


def test_a_page_is_of_the_usual_size_unless_asked_for():
    assert 20 == LIMITS.first(None)
    assert 0 == LIMITS.first(0)
    assert 50 == LIMITS.first(50)
    assert 5 == Limits(page=5).first(None)


@pytest.mark.parametrize(
    ("value", "error"),
    [(51, TooMuch), (10**5000, TooMuch), (-1, BadValue), (-(10**5000), BadValue), (True, FieldTypeError),
     (1.0, FieldTypeError), ("7", FieldTypeError)],
    ids=["more", "a-huge-one", "less", "a-hugely-negative-one", "bool", "float", "text"],
)  # fmt: skip
def test_a_page_of_another_size_is_refused(value, error):
    with pytest.raises(error):
        LIMITS.first(value)


def test_a_vector_is_of_finite_numbers():
    assert [1, 2, 3] == LIMITS.numbers([1, 2, 3]).tolist()
    assert np.float32 == LIMITS.numbers(np.ones(4, "f4")).dtype
    assert [1e30] == LIMITS.numbers([10**30]).tolist()


@pytest.mark.parametrize(
    "value",
    [[1, 2, 3, 4, 5], [], [[1, 2], [3, 4]], [[1], [2, 3]], [1, "a"], [1, None], ["1", "2"], [True], "1234", 5, None,
     {"a": 1}, [float("nan")], [float("inf")], [10**400], [1j], [{}, {}]],
    ids=repr,
)  # fmt: skip
def test_another_vector_is_refused(value):
    with pytest.raises((BadValue, FieldTypeError)):
        LIMITS.numbers(value)


def test_a_filter_within_the_limits_is_given_back():
    condition = {"tags__price": {"$lt": 3}, "$or": [{"text": "a"}, {"text": "b"}]}

    assert condition is LIMITS.condition(condition)
    assert LIMITS.condition(None) is None
    assert {} == LIMITS.condition({})


def test_a_filter_of_too_many_parts_or_levels_is_refused():
    with pytest.raises(TooMuch, match="more than 8 parts"):
        LIMITS.condition({"id": {"$in": list("abcdefghi")}})
    with pytest.raises(TooMuch, match="more than 4 levels"):
        LIMITS.condition({"$not": {"$not": {"$not": {"$not": {"a": 1}}}}})
    with pytest.raises(TooMuch):
        LIMITS.condition(json.loads('{"$not":' * 900 + "{}" + "}" * 900))


def test_patterns_are_off_unless_switched_on():
    pattern = {"$and": [{"text": {"$regex": "(a+)+$"}}]}
    with pytest.raises(BadFilter, match=r"\$regex is switched off"):
        LIMITS.condition(pattern)

    assert pattern == Limits(regex=True).condition(pattern)


def test_sort_takes_a_path_or_some():
    assert ["-tags__price"] == LIMITS.order("-tags__price")
    assert ["id", "text"] == LIMITS.order(["id", "text"])
    assert LIMITS.order(None) is None
    assert LIMITS.order([]) is None
    for value in (["a", "b", "c"], [1], {"a": 1}, "a" * 13):
        with pytest.raises((TooMuch, FieldTypeError)):
            LIMITS.order(value)


def test_ids_and_texts_have_a_length():
    assert "123456789012" == LIMITS.identity("123456789012")
    assert "1234567890" == LIMITS.question("1234567890")
    for check in (LIMITS.identity, LIMITS.question):
        with pytest.raises(TooMuch):
            check("1234567890123")
        with pytest.raises(FieldTypeError):
            check(5)


@pytest.mark.parametrize("check", ["first", "numbers", "condition", "order", "identity", "question"])
def test_whatever_comes_is_taken_or_refused_by_an_error_of_ours(check):
    told = []

    @given(ANYTHING)
    def whatever(value):
        try:
            getattr(LIMITS, check)(value)
        except DocArrayError as error:
            told.append(str(error))

    whatever()

    assert told
    assert max(map(len, told)) < 200  # what was sent is not sent back


def test_a_limit_is_a_number():
    for value in (-1, float("nan"), "many"):
        with pytest.raises(BadValue, match="page"):
            Limits(page=value)
