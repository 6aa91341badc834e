"""The package of contracts: what it needs, what it costs, and its comparison, which forgives nothing."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sparse

from docarray import Document, DocumentArray, NamedScore
from docarray.columns import column_of
from docarray.table import Table
from docarray.testing import difference


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("package", ["pytest", "hypothesis"])
def test_what_is_missing_is_named_with_the_line_that_installs_it(package):
    done = python(f"import sys; sys.modules[{package!r}] = None; import docarray.testing")

    assert 'MissingExtra: docarray.testing needs the package "docarray[testing]": pip install' in done.stderr


def test_nothing_else_loads_it():
    code = "import sys, docarray; print([m for m in sys.modules if 'testing' in m or m in ('pytest', 'hypothesis')])"
    done = python(code.replace("'testing' in m", "m == 'docarray.testing'"))

    assert done.stdout == "[]\n", done.stderr


def test_failing_assertions_of_the_contract_show_what_they_compared():
    """They are rewritten by pytest, as those of a test file are."""
    from docarray.testing import stores

    assert "@pytest_ar" in vars(stores)


SAME = [
    1,
    1.0,
    math.nan,
    -0.0,
    complex(0.0, math.nan),
    "a",
    None,
    True,
    [1, (2, {3})],
    {"a": {"b": [1]}},
    b"",
    np.array([1.0, math.nan]),
    np.float32(1),
    sparse.csr_matrix([[1, 0]]),
    datetime.datetime(2024, 1, 1, fold=1),
    Document(id="a", tags={"x": 1}, chunks=[Document(id="c")]),
    NamedScore(value=1.0),
    DocumentArray([Document(id="a")])[:, "id"],
]


@pytest.mark.parametrize("at", range(len(SAME)))
def test_what_is_the_same_has_no_difference(at):
    assert difference(SAME[at], SAME[at]) is None


@pytest.mark.parametrize(
    ("a", "b", "where"),
    [
        (1, 1.0, "int 1 became float 1.0"),
        (True, 1, "bool True became int 1"),
        (0.0, -0.0, "0.0 became -0.0"),
        (math.nan, 1.0, "nan became 1.0"),
        ([1, [2]], [1, [3]], r"\[1\]\[0\]: 2 became 3"),
        ([1], [1, 2], "1 items became 2"),
        ((1,), [1], "tuple"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, r"keys\(\)\[0\]: 'a' became 'b'"),
        ({1}, {2}, r"\[0\]: 1 became 2"),
        ({1}, frozenset({1}), "set"),
        (np.zeros(2), np.zeros(2, np.float32), "float64.*float32"),
        (np.zeros(2), np.zeros((1, 2)), r"\(2,\).*\(1, 2\)"),
        (np.zeros(1), np.array([-0.0]), "became"),
        (sparse.csr_matrix([[1, 0]]), sparse.csr_matrix([[0, 1]]), "became"),
        (sparse.csr_matrix([[1, 0]]), sparse.coo_matrix([[1, 0]]), "csr_matrix"),
        (datetime.time(1, fold=1), datetime.time(1), "fold=1"),
        (Document(id="a", text="x"), Document(id="a", text="y"), r"\.text: 'x' became 'y'"),
        (Document(id="a", text=""), Document(id="a"), r"\.text"),
        (Document(id="a", tags={"x": 1}), Document(id="a", tags={"x": True}), r"\.tags\['x'\]: int 1"),
        (
            Document(id="a", chunks=[Document(id="c", text="x")]),
            Document(id="a", chunks=[Document(id="c", text="y")]),
            r"\.chunks\[0\]\.text",
        ),
        (NamedScore(value=1.0), NamedScore(value=2.0), r"\['value'\]: 1.0 became 2.0"),
    ],
)
def test_a_difference_says_where(a, b, where):
    with pytest.raises(AssertionError, match=where):
        assert not (found := difference(a, b)), found


def test_tables_are_compared_by_what_their_rows_hold():
    """Not by their layout: a column that no row uses is the same as none."""
    a = Table(
        {"text": column_of("text", ["x", None]), "uri": column_of("text", [None, None])}, ids=["1", "2"]
    )
    b = Table({"text": column_of("text", ["x", None])}, ids=["1", "2"])

    assert difference(a, b) is None
    assert difference(a, b.take(np.array([0, 0]))) == "[1].keys(): 1 items became 2"
