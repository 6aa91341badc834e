from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from docarray.pairs import NATIVE, Sparse, dots, in_range, paired, paired_each, paired_one

FLOATS = st.floats(-1e6, 1e6, width=32)


@st.composite
def two_matrices(draw, elements=FLOATS):
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 9)))
    return draw(arrays.arrays(np.float64, shape, elements=elements)), draw(
        arrays.arrays(np.float64, shape, elements=elements)
    )


@pytest.mark.parametrize("metric", NATIVE)
@settings(deadline=None)
@given(pair=two_matrices())
def test_paired_is_the_textbook_formula(metric, pair):
    x, y = pair
    expected = []
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        product = math.fsum(i * j for i, j in zip(a, b, strict=True))
        if metric == "inner_product":
            expected.append(1 - product)
        elif metric == "cosine":
            sizes = math.hypot(*a) * math.hypot(*b)
            expected.append(1 - product / sizes if sizes else 1.0)
        else:
            distance = math.dist(a, b)
            expected.append(distance if metric == "euclidean" else distance**2)

    actual = paired(x, y, metric)

    # What a sum of products loses is relative to the products, not to the sum.
    loose = 1e-14 * (1 + np.abs(x * y).sum(axis=1)) if metric == "inner_product" else 1e-14
    assert (np.abs(actual - expected) <= loose + 1e-14 * np.abs(expected)).all()


@pytest.mark.parametrize("metric", NATIVE)
@pytest.mark.parametrize("width", [1, 2, 3, 8, 129, 1000, 4096, 4097, 9000])
def test_bits_do_not_depend_on_the_other_pairs(metric, width):
    """Neither on how many there are, nor on whether the second row is shared."""
    rng = np.random.default_rng(width)
    x, y = rng.standard_normal((2, 23, width))

    whole = paired(x, y, metric)

    assert whole.tolist() == [paired(x[i : i + 1], y[i : i + 1], metric)[0] for i in range(23)]
    assert whole[:7].tolist() == paired(x[:7].copy(), y[:7].copy(), metric).tolist()
    assert paired(x, y[:1], metric).tolist() == paired(x, np.repeat(y[:1], 23, axis=0), metric).tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean"])
def test_a_row_is_at_exactly_0_from_itself(metric):
    x = np.random.default_rng(0).standard_normal((50, 33))

    assert [0.0] * 50 == paired(x, x, metric).tolist()


def test_zeros_are_at_cosine_distance_1_from_everything():
    x = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    y = np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])

    assert [1.0, 1.0, 1.0] == paired(x, y, "cosine").tolist()


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-80, 1e80, 1e160, 1e300])
def test_cosine_of_enormous_and_of_tiny_numbers(scale):
    """Squares of them leave float64; the angle does not."""
    x = np.array([[3.0, 4.0], [1.0, 0.0]])
    y = np.array([[4.0, 3.0], [0.0, 1.0]])

    assert paired(x * scale, y, "cosine") == pytest.approx([0.04, 1.0])
    assert paired(x * scale, y * scale, "cosine") == pytest.approx([0.04, 1.0])


@pytest.mark.parametrize("metric", NATIVE)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_gives_nan(metric, bad):
    x, y = np.array([[bad, 1.0], [1.0, 2.0], [bad, bad]]), np.array([[1.0, 1.0], [2.0, bad], [bad, bad]])

    assert np.isnan(paired(x, y, metric)).all()


def test_no_columns():
    x = np.zeros((2, 0))

    assert [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]] == [
        paired(x, x, metric).tolist() for metric in ("cosine", "euclidean", "inner_product")
    ]


def test_in_range_leaves_the_caller_s_array_alone():
    x = np.array([[1e-200, 0.0], [3.0, 4.0]])
    before = x.copy()

    scaled, squares = in_range(x)

    assert before.tolist() == x.tolist()
    assert scaled[1].tolist() == [3.0, 4.0]
    assert squares[1] == 25.0


class TestSparse:
    @pytest.fixture(autouse=True)
    def sparse(self):
        self.csr = pytest.importorskip("scipy.sparse", reason="pip install scipy").csr_array

    @pytest.mark.parametrize("metric", NATIVE)
    def test_the_same_as_dense(self, metric):
        rng = np.random.default_rng(1)
        x, y = rng.integers(-3, 4, (2, 40, 12)) * (rng.random((2, 40, 12)) < 0.3).astype(float)
        x[:4] = 0
        x[7, 3] = np.nan

        actual = paired(self.csr(x), self.csr(y), metric)

        assert actual == pytest.approx(paired(x, y, metric), abs=1e-14, nan_ok=True)
        assert np.isnan(actual[7])

    def test_nan_beside_a_zero_that_is_not_stored(self):
        """0 * NaN is not computed by scipy, and is no reason to trust the row."""
        x, y = self.csr([[np.nan, 1.0]]), self.csr([[0.0, 1.0]])

        assert np.isnan(dots(x, y)).all()

    def test_tiny_numbers(self):
        x = self.csr([[3e-200, 4e-200], [0.0, 0.0]])

        assert paired(x, x, "cosine").tolist() == [0.0, 1.0]

    def test_cells_given_twice_are_added_and_the_caller_s_matrix_stays(self):
        matrix = self.csr((np.array([1.0, 2.0]), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))

        source = Sparse(matrix, np.zeros((1, 3)))

        assert source.take(slice(None)).toarray().tolist() == [[0.0, 3.0, 0.0]]
        assert matrix.nnz == 2


@pytest.mark.parametrize("metric", NATIVE)
@settings(deadline=None)
@given(
    shape=st.tuples(
        st.integers(1, 9), st.integers(1, 70), st.sampled_from([1, 2, 3, 7, 8, 16, 31, 128, 4096, 4097])
    ),
    seed=st.integers(0, 999),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
    dtype=st.sampled_from([np.float32, np.float64, np.int8]),
)
def test_the_lean_ways_give_the_same_bits(metric, shape, seed, scale, dtype):
    count, width, d = shape
    if d > 1000:
        count, width = min(count, 2), min(width, 12)
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, width, d)) * (100 if dtype is np.int8 else scale)
    rows[rows == 0] = 1
    rows = rows.astype(dtype).astype(np.float64)
    rows[..., 0] += rows[..., 0] == 0
    queries = (
        rows[:, 0].copy() if seed % 3 == 0 else random.normal(size=(count, d)) * scale
    )  # some at no distance
    xx = dots(rows.reshape(-1, d), rows.reshape(-1, d)).reshape(count, width)

    expected = [paired(rows[i], queries[i : i + 1], metric).tolist() for i in range(count)]

    assert paired_each(rows, xx, queries, dots(queries, queries), metric).tolist() == expected
    for i in range(count):
        query = queries[i : i + 1]
        assert paired_one(rows[i], xx[i].tolist(), query, float(dots(query, query)[0]), metric) == expected[i]
