"""Tags as JSON text: what goes in comes out, and nothing else can come out."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import math
import zoneinfo
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from everything import data, difference, everything_in_tags, json_values
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray.errors import FieldTypeError, FormatError
from docarray.tagged import MARK, dumps, flat_dtype, loads

# --- round trips --------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(data)
def test_what_goes_in_comes_out(value):
    assert difference(value, loads(dumps(value))) is None


@given(json_values)
def test_plain_values_stand_as_plain_json(value):
    """What JSON can say needs no library of ours to read."""
    text = dumps(value)

    if MARK not in text:
        assert difference(value, json.loads(text)) is None


@pytest.mark.parametrize("key", everything_in_tags())
def test_each_kind_of_value_comes_out(key):
    value = everything_in_tags()[key]

    assert difference(value, loads(dumps(value))) is None


@pytest.mark.parametrize(
    "text",
    [
        "\ud83d\ude00",
        "\ud800",
        "a\udfff\ud800",
        "\U0001f600 \ud83d\ude00",
        "\\ud83d\\ude00",
        "\\\ud83d\ude00",
    ],
)
def test_surrogates_do_not_become_letters(text):
    """Two lone surrogates, escaped side by side, would be read as one letter."""
    assert text == loads(dumps(text))
    assert {text: [text]} == loads(dumps({text: [text]}))


def test_text_is_ascii_unless_it_cannot_be():
    assert dumps("Größe \U0001f600").isascii()


def test_a_text_that_looks_like_ours_is_a_text():
    value = [MARK, f'{{"{MARK}":"set","is":[]}}', {"k": MARK}]

    assert value == loads(dumps(value))


@pytest.mark.parametrize("zeros", ["x\0", "\0", ""])
def test_numpy_strings_keep_zeros_at_their_end(zeros):
    assert len(loads(dumps(np.str_(zeros)))) == len(zeros)
    assert loads(dumps(np.bytes_(zeros.encode()))) == zeros.encode()


def test_a_fold_of_the_clock_stays():
    twice = datetime.datetime(2024, 10, 27, 2, 30, fold=1)

    assert loads(dumps(twice)).fold == 1
    assert loads(dumps(twice.timetz())).fold == 1


def test_subclasses_become_what_they_are_subclasses_of():
    class Level(enum.IntEnum):
        HIGH = 3

    pair = collections.namedtuple("pair", "a b")
    zone = datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))

    assert difference(3, loads(dumps(Level.HIGH))) is None
    assert difference((1, 2), loads(dumps(pair(1, 2)))) is None
    assert difference({"a": 1}, loads(dumps(collections.OrderedDict(a=1)))) is None
    assert difference(b"x", loads(dumps(bytearray(b"x")))) is None
    assert difference(b"x", loads(dumps(memoryview(b"x")))) is None
    assert zone == loads(dumps(zone))
    assert datetime.timedelta(hours=2) == loads(dumps(zone)).utcoffset()
    assert difference(datetime.datetime(2024, 1, 1), loads(dumps(pd.Timestamp("2024-01-01")))) is None


# --- refusals -----------------------------------------------------------------------------------------------------

own = [1]
own.append(own)
deep: list = []
for _ in range(3000):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: {2: [object()]}},
        len,
        range(3),
        np.array([None]),
        np.zeros(2, [("a", "i4"), ("b", "f8")]),
        np.zeros(2, [("a", "i4"), ("b", "f8")])[0],
        np.ma.masked_array([1, 2], mask=[True, False]),
        pd.Timestamp("2024-01-01 00:00:00.000000001"),
        pd.NaT,
        pd.Timedelta(nanoseconds=1),
        own,
        {"a": own},
        (own,),
        deep,
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_cannot_be_read_back_equal_is_refused(value):
    with pytest.raises(FieldTypeError):
        dumps(value)


def test_the_error_names_the_type():
    with pytest.raises(FieldTypeError, match=r"a builtins\.object cannot"):
        dumps({"a": [object()]})


def marked(kind: object, content: object, **more: object) -> str:
    return json.dumps({MARK: kind, "is": content, **more})


HOSTILE = [
    "",
    "{",
    "nul",
    "[1,",
    "1" * 5000,
    "[" * 100_000,
    '{"a":' * 100_000,
    marked("code", "import os"),
    marked("__import__", "os"),
    marked(["set"], []),
    marked({}, []),
    marked(None, [])[:-1] + ',"x":' + marked("bytes", "a") + "}",
    json.dumps({MARK: "set"}),
    marked("set", [[1]]),
    marked("set", 5),
    marked("dict", [[1]]),
    marked("dict", [[[], 1]]),
    marked("dict", 3),
    marked("bytes", "a"),
    marked("bytes", "****"),
    marked("bytes", 5),
    marked("bytes", "ü"),
    marked("int", "zz"),
    marked("int", 5),
    marked("uuid", 5),
    marked("uuid", ["a"]),
    marked("uuid", "zz"),
    marked("decimal", "1e99999999999999999999"),
    marked("decimal", {"a": 1}),
    marked("decimal", "one"),
    marked("datetime", "yesterday"),
    marked("datetime", 5),
    marked("datetime", ["2024-01-01", 7]),
    marked("datetime", ["2024-01-01"]),
    marked("date", "2024-13-01"),
    marked("time", ["12:00", "x"]),
    marked("timedelta", [1e300]),
    marked("timedelta", [10**400]),
    marked("timedelta", {"days": 1}),
    marked("complex", ["a"]),
    marked("complex", [1, 2, 3]),
    marked("scalar", "AA==", dtype="<f4"),
    marked("scalar", "AAAAAA==", dtype="|O"),
    marked("scalar", "AAAAAA=="),
    marked("array", "AAAAAA==", dtype="<f4", shape=[2]),
    marked("array", "AAAAAA==", dtype="<f4", shape=[10**30, 0]),
    marked("array", "", dtype="<f4", shape=[0, 10**30]),
    marked("array", "", dtype="<f4", shape=[0, 1 << 62, 1 << 62]),
    marked("array", "AAAAAA==", dtype="<f4", shape=["a"]),
    marked("array", "AAAAAA==", dtype="i4,i4", shape=[1]),
    marked("array", "AAAAAA==", dtype="(" * 5000 + "1" + ")" * 5000 + "f8", shape=[1]),
    marked("array", "AAAAAA==", dtype="<f3", shape=[1]),
    marked("array", "AAAAAA==", dtype="<M8[parsecs]", shape=[1]),
    marked("array", "AAAAAA==", dtype=["<f4"], shape=[1]),
    marked("array", "Ag==", dtype="|b1", shape=[1]),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:60])
def test_hostile_text_is_a_format_error(text):
    with pytest.raises(FormatError):
        loads(text)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["int", "array", "scalar", *dir(datetime), "dict", "set", "uuid", "decimal"]),
    json_values,
    json_values,
)
def test_any_content_of_any_kind_is_a_value_or_a_format_error(kind, content, more):
    with suppress(FormatError):
        loads(marked(kind, content, dtype=more, shape=content))


@settings(max_examples=200, deadline=None)
@given(data, st.data())
def test_damaged_text_is_a_value_or_a_format_error(value, draw):
    text = dumps(value)
    cut = draw.draw(st.integers(0, len(text)))
    end = draw.draw(st.integers(cut, len(text)))
    with suppress(FormatError):
        loads(text[:cut] + draw.draw(st.text(max_size=2)) + text[end:])


def test_keys_of_one_hash_are_refused():
    """Each would be compared with all before it: a small text would keep the reader busy for hours."""
    prime = (1 << 61) - 1
    clash = [{MARK: "int", "is": hex(prime * i)} for i in range(20_000)]

    for kind, content in (("set", clash), ("frozenset", clash), ("dict", [[k, 0] for k in clash])):
        with pytest.raises(FormatError, match="one hash"):
            loads(marked(kind, content))


def test_many_keys_are_no_clash():
    value = {"set": set(range(5000)), "dict": {(i, "x"): math.inf for i in range(5000)}}

    assert value == loads(dumps(value))


def test_decimals_are_exact():
    values = [decimal.Decimal(text) for text in ("1.10", "-0", "sNaN", "Infinity", "1E+30", "0.1" + "0" * 50)]

    assert list(map(str, values)) == list(map(str, loads(dumps(values))))


# --- dtypes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["|b1", "|i1", "<u2", ">f8", "<c16", "|S3", "<U5", "|V4", "<M8[ns]", "<m8[25s]", "<M8"]
)
def test_dtypes_of_flat_data_are_known_by_name(name):
    assert flat_dtype(name).str == name


@pytest.mark.parametrize(
    "name",
    ["", "O", "|O8", "f3", "i4,i4", "(2,)f8", "{'a': 'i4'}", "float64", "S0", "U", "<f8\n", "<M8[ns]x", None, 4, ["f4"],
     "S999999999999"],
)  # fmt: skip
def test_other_dtypes_are_refused(name):
    with pytest.raises(FormatError):
        flat_dtype(name)
