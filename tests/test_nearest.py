from __future__ import annotations

import importlib
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from docarray.distance import cdist
from docarray.errors import BadValue, FieldTypeError, MissingExtra, ShapeError, UnknownMetric
from docarray.nearest import nearest, row_norms
from docarray.pairs import NATIVE, paired

module = importlib.import_module("docarray.nearest")  # the package may have a function of that name

# Few values, so that there are ties; some that float32 cannot square, and some that are no numbers.
VALUES = [0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1.0000001, 100.0]
ODD = [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-30]
HUGE = [1e200, -1e200, 1e-200]
DTYPES = [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64, np.bool_]


def in_order(table, k):
    """(row, distance) in the order (distance, row), NaN last."""
    order = [np.lexsort((np.arange(line.size), line)) for line in table]
    rows = np.array(order, dtype=np.intp).reshape(table.shape)[:, :k]
    return rows.tolist(), np.take_along_axis(table, rows, axis=1)


def oracle(matrix, queries, k, metric):
    """One pair after the other, by the formula, then sorted."""
    x, y = (np.asarray(part).astype(np.float64) for part in (matrix, queries))
    table = [[paired(x[j : j + 1], y[i : i + 1], metric)[0] for j in range(len(x))] for i in range(len(y))]
    return in_order(np.array(table, dtype=float).reshape(len(y), len(x)), k)


def agree(expected, actual):
    """Rows and distances, bit for bit."""
    assert expected[0] == actual[0].tolist()
    assert np.array_equal(expected[1], actual[1], equal_nan=True)


@st.composite
def searches(draw, max_rows=60):
    """(matrix, queries, k)"""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    width = draw(st.integers(0, 5))
    if dtype.kind == "f":
        odd = (
            draw(st.sampled_from([[], ODD, ODD + HUGE]))
            if dtype == np.float64
            else draw(st.sampled_from([[], ODD]))
        )
        usable = VALUES + ([v for v in odd if not np.isfinite(v)] if dtype == np.float16 else odd)
        elements = st.sampled_from([float(v) for v in np.array(usable, dtype)])
    else:
        elements = arrays.from_dtype(dtype)
    matrix = draw(arrays.arrays(dtype, (draw(st.integers(0, max_rows)), width), elements=elements))
    asked = arrays.arrays(
        np.float64, (draw(st.integers(0, 5)), width), elements=st.sampled_from(VALUES + ODD + HUGE)
    )
    return matrix, draw(asked), draw(st.one_of(st.none(), st.integers(1, 8)))


@pytest.mark.parametrize("metric", NATIVE)
class TestLaws:
    @settings(deadline=None)
    @given(search=searches())
    def test_it_is_what_measuring_every_pair_gives(self, metric, search):
        matrix, queries, k = search

        agree(oracle(matrix, queries, k, metric), nearest(matrix, queries, k, metric))

    @settings(deadline=None)
    @given(search=searches(), batch_size=st.integers(1, 70))
    def test_it_does_not_depend_on_the_batch_size(self, metric, search, batch_size):
        rows, distances = nearest(*search, metric)

        agree((rows.tolist(), distances), nearest(*search, metric, batch_size=batch_size))

    @settings(deadline=None)
    @given(search=searches())
    def test_it_does_not_depend_on_the_queries_asked_along(self, metric, search):
        matrix, queries, k = search
        rows, distances = nearest(matrix, queries, k, metric)

        for i in range(len(queries)):
            agree(
                (rows[i : i + 1].tolist(), distances[i : i + 1]),
                nearest(matrix, queries[i : i + 1], k, metric),
            )

    @settings(deadline=None)
    @given(search=searches())
    def test_it_does_not_depend_on_who_computes_the_norms(self, metric, search):
        matrix, queries, k = search
        norms = row_norms(matrix)
        rows, distances = nearest(matrix, queries, k, metric)

        agree((rows.tolist(), distances), nearest(matrix, queries, k, metric, norms=norms))
        with np.errstate(over="ignore"):
            single = norms.astype(np.float32)
        agree((rows.tolist(), distances), nearest(matrix, queries, k, metric, norms=single))

    @settings(deadline=None)
    @given(search=searches(), data=st.data())
    def test_to_skip_a_row_is_to_search_without_it(self, metric, search, data):
        matrix, queries, k = search
        skip = data.draw(arrays.arrays(np.int64, len(queries), elements=st.integers(-1, len(matrix))))

        rows, distances = nearest(matrix, queries, k, metric, skip=skip)

        width = len(matrix) if k is None else min(k, len(matrix))
        assert rows.shape == distances.shape == (len(queries), width)
        for i, row in enumerate(skip.tolist()):
            expected_rows, expected = oracle(matrix, queries[i : i + 1], None, metric)
            kept = [j for j, found in enumerate(expected_rows[0]) if found != row][:width]
            padding = width - len(kept)
            assert [expected_rows[0][j] for j in kept] + [-1] * padding == rows[i].tolist()
            assert np.array_equal(expected[0, kept], distances[i, : len(kept)], equal_nan=True)
            assert np.isnan(distances[i, len(kept) :]).all()

    @settings(deadline=None, max_examples=30)
    @given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 30), few=st.booleans())
    def test_on_many_rows(self, metric, seed, k, few):
        """Enough of them for several blocks, groups and bars; whole numbers, so there are ties."""
        rng = np.random.default_rng(seed)
        matrix = rng.integers(-3, 4, (3000, 3 if few else 12)).astype(
            rng.choice([np.int8, np.float32, np.float64])
        )
        queries = rng.integers(-3, 4, (7, matrix.shape[1]))
        table = np.array([paired(matrix.astype(float), q[None].astype(float), metric) for q in queries])
        expected = in_order(table, k)

        agree(expected, nearest(matrix, queries, k, metric))
        agree(expected, nearest(matrix, queries, k, metric, batch_size=257))

    def test_more_queries_than_a_group(self, metric, monkeypatch):
        rng = np.random.default_rng(0)
        matrix, queries = rng.standard_normal((400, 6)), rng.standard_normal((23, 6))
        rows, distances = nearest(matrix, queries, 5, metric)

        monkeypatch.setattr(module, "_GROUP", 4)

        agree((rows.tolist(), distances), nearest(matrix, queries, 5, metric))


@pytest.mark.parametrize("metric", ["sqeuclidean", "inner_product"])
@settings(deadline=None)
@given(data=st.data())
def test_whole_numbers_are_ranked_as_integers_are(metric, data):
    """An oracle that shares no code: no rounding happens here, so ties are ties."""
    small = st.integers(-1000, 1000)
    matrix = data.draw(arrays.arrays(np.int32, (50, 3), elements=small))
    queries = data.draw(arrays.arrays(np.int32, (3, 3), elements=small))
    x, y = matrix.astype(int), queries.astype(int)
    table = 1 - y @ x.T if metric == "inner_product" else ((y[:, None] - x) ** 2).sum(axis=2)

    agree(in_order(table.astype(float), 9), nearest(matrix, queries, 9, metric))


def test_an_example():
    matrix = [[1, 0], [0, 1], [1, 1], [0, 0], [-1, 0]]

    rows, distances = nearest(matrix, [[2, 0]], 5)

    assert [[0, 2, 1, 3, 4]] == rows.tolist()
    assert distances[0] == pytest.approx([0, 1 - 0.5**0.5, 1, 1, 2])
    assert rows.dtype == np.intp
    assert distances.dtype == np.float64


def test_dot_is_the_inner_product():
    matrix = np.eye(3)

    assert (
        nearest(matrix, matrix, 2, "dot")[1].tolist()
        == nearest(matrix, matrix, 2, "inner_product")[1].tolist()
    )
    assert [[0.0, 1.0, 1.0]] == nearest(matrix, matrix[:1], 3, "dot")[1].tolist()


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.longdouble, np.int16, np.uint64])
def test_any_real_dtype_and_layout(dtype):
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 50, (300, 12)).astype(dtype)
    for matrix in (np.asfortranarray(wide), wide[::2, ::3], wide[::-1]):
        expected = oracle(matrix, matrix[:4], 5, "euclidean")
        agree(expected, nearest(matrix, matrix[:4], 5, "euclidean"))


def test_float32_neighbours_that_only_float64_can_tell_apart():
    """The query lies between two rows one ulp apart: no rounding of the sieve may decide."""
    low, high = np.float32(1000), np.nextafter(np.float32(1000), np.float32(2000))
    matrix = np.repeat(np.array([[low], [high]]), 500, axis=0)
    between = (float(low) + float(high)) / 2

    for shift, nearer in ((1e-9, 500), (-1e-9, 0), (0.0, 0)):
        rows, distances = nearest(matrix, [[between + shift]], 3, "euclidean")
        assert [[nearer, nearer + 1, nearer + 2]] == rows.tolist()
        assert (distances > 0).all()


@pytest.mark.parametrize("metric", NATIVE)
def test_identical_rows_are_right_and_bounded_in_memory(metric):
    """All 60 000 tie for each of 300 queries: the table of them would take 144 MB."""
    matrix = np.repeat(np.float32([[3, 1, 2, 5]]), 60_000, axis=0)
    queries = np.random.default_rng(0).standard_normal((300, 4))
    tracemalloc.start()
    try:
        rows, _ = nearest(matrix, queries, 4, metric)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert [[0, 1, 2, 3]] * 300 == rows.tolist()
    assert peak < 72e6


def test_queries_of_zeros_have_the_first_rows():
    matrix = np.random.default_rng(0).standard_normal((500, 3))
    matrix[1] = np.nan

    rows, distances = nearest(matrix, np.zeros((4, 3)), 3)

    assert [[0, 2, 3]] * 4 == rows.tolist()
    assert (distances == 1).all()


@pytest.mark.parametrize("metric", NATIVE)
def test_rows_that_are_no_numbers_come_last(metric):
    matrix = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
    matrix[[0, 50, 199]] = [[np.nan] * 4, [np.inf, 1, 1, 1], [1, -np.inf, 1, 1]]

    for k in (150, None):
        rows, distances = nearest(matrix, matrix[1:4], k, metric)
        assert not set(rows[:, :150].ravel().tolist()) & {0, 50, 199}
        assert not np.isnan(distances[:, :150]).any()
    assert [[0, 50, 199]] * 3 == rows[:, -3:].tolist()
    assert np.isnan(distances[:, -3:]).all()


def test_nothing_to_search():
    for k in (None, 3):
        rows, distances = nearest(np.zeros((0, 4)), np.zeros((2, 4)), k)
        assert rows.shape == distances.shape == (2, 0)
        rows, distances = nearest(np.zeros((0, 4)), np.zeros((2, 4)), k, skip=[-1, 0])
        assert rows.shape == distances.shape == (2, 0)
        assert nearest(np.zeros((5, 4)), np.zeros((0, 4)), k)[0].shape == (0, 5 if k is None else 3)


def test_the_caller_s_arrays_stay_as_they_are():
    rng = np.random.default_rng(0)
    matrix, queries = rng.standard_normal((100, 4)).astype(np.float32), rng.standard_normal((3, 4))
    for array in (matrix, queries):
        array.flags.writeable = False

    for metric in (*NATIVE, lambda x, y: x @ y.T):
        nearest(matrix, queries, 3, metric)


class TestSparse:
    @pytest.fixture(autouse=True)
    def sparse(self):
        self.library = pytest.importorskip("scipy.sparse", reason="pip install scipy")

    @pytest.mark.parametrize("metric", NATIVE)
    @pytest.mark.parametrize("form", ["csr", "csc", "coo"])
    def test_the_same_as_dense(self, metric, form):
        rng = np.random.default_rng(0)
        dense = rng.integers(-3, 4, (700, 9)) * (rng.random((700, 9)) < 0.2)
        matrix = self.library.coo_array(dense).asformat(form)
        queries = np.concatenate([dense[:5], np.zeros((1, 9), int)])
        rows, distances = nearest(dense, queries, 12, metric)

        for asked in (queries, self.library.csr_array(queries)):
            for batch_size in (None, 100):
                found = nearest(matrix, asked, 12, metric, batch_size=batch_size)
                # Sums of whole numbers have no rounding, so ties and bits are those of the dense one.
                agree((rows.tolist(), distances), found)

    @pytest.mark.parametrize("metric", NATIVE)
    def test_one_query_or_many(self, metric):
        matrix = self.library.random(900, 40, density=0.1, format="csr", random_state=0)
        queries = np.random.default_rng(1).standard_normal((11, 40))
        rows, distances = nearest(matrix, queries, 5, metric)

        for i in range(11):
            agree(
                (rows[i : i + 1].tolist(), distances[i : i + 1]),
                nearest(matrix, queries[i : i + 1], 5, metric),
            )
        agree((rows.tolist(), distances), nearest(matrix, queries, 5, metric, norms=row_norms(matrix)))

    def test_the_old_matrix_class_and_odd_rows(self):
        dense = np.array([[np.nan, 0], [0, 0], [1, 0], [0, 2]])

        rows, distances = nearest(self.library.csr_matrix(dense), [[0.0, 1.0]], None)

        assert [[3, 1, 2, 0]] == rows.tolist()
        assert np.array_equal([[0, 1, 1, np.nan]], distances, equal_nan=True)

    def test_a_dense_matrix_takes_sparse_queries(self):
        rows, _ = nearest(np.eye(3), self.library.csr_array([[0.0, 0.0, 2.0]]), 1)

        assert [[2]] == rows.tolist()

    def test_other_metrics(self):
        dense = np.random.default_rng(0).integers(0, 3, (50, 4)).astype(float)
        rows, distances = nearest(dense, dense[:3], 5, "cityblock")

        agree((rows.tolist(), distances), nearest(self.library.csr_array(dense), dense[:3], 5, "cityblock"))


class TestOtherMetrics:
    @settings(deadline=None)
    @given(search=searches(max_rows=30), batch_size=st.one_of(st.none(), st.integers(1, 40)))
    def test_a_function_is_asked_block_by_block(self, search, batch_size):
        matrix, queries, k = search

        def metric(x, y):
            first, other = (np.nan_to_num(part[:, :1].astype(float)).clip(-9, 9) for part in (x, y))
            return np.abs(first - other.T) if x.shape[1] else np.zeros((len(x), len(y)))

        table = cdist(queries, matrix, metric) if len(queries) else np.zeros((0, len(matrix)))

        agree(in_order(table, k), nearest(matrix, queries, k, metric, batch_size=batch_size))

    def test_names_of_scipy(self):
        distance = pytest.importorskip("scipy.spatial.distance", reason="pip install scipy")
        matrix = np.random.default_rng(0).integers(-3, 3, (300, 4)).astype(np.float32)
        for metric in ("cityblock", "chebyshev", "canberra"):
            table = distance.cdist(matrix[:5], matrix, metric)
            agree(in_order(table, 7), nearest(matrix, matrix[:5], 7, metric, batch_size=33))

    def test_skip(self):
        pytest.importorskip("scipy", reason="pip install scipy")
        matrix = np.array([[0.0], [1.0], [5.0]])

        rows, distances = nearest(matrix, matrix, 3, "cityblock", skip=[0, 1, -1])

        assert [[1, 2, -1], [0, 2, -1], [2, 1, 0]] == rows.tolist()
        assert np.array_equal([[1, 5, np.nan], [1, 4, np.nan], [0, 4, 5]], distances, equal_nan=True)

    @pytest.mark.parametrize("metric", ["seuclidean", "mahalanobis"])
    def test_a_metric_of_all_data_has_no_answer_here(self, metric):
        with pytest.raises(BadValue, match=metric):
            nearest(np.eye(3), np.eye(3), 1, metric)

    def test_without_scipy_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "scipy.spatial.distance", None)

        with pytest.raises(MissingExtra, match="pip install scipy"):
            nearest(np.eye(3), np.eye(3), 1, "cityblock")

    def test_a_function_that_gives_no_matrix(self):
        def half(x, y):
            return np.zeros(len(x))

        with pytest.raises(ShapeError, match="half"):
            nearest(np.eye(3), np.eye(3), 1, half)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "options", "error", "words"),
        [
            ((np.eye(3), np.ones((1, 4)), 1), {}, ShapeError, "3 wide.*4 wide"),
            ((np.eye(3), np.ones(3), 1), {}, ShapeError, "queries must be 2-D"),
            ((np.ones(3), np.ones((1, 3)), 1), {}, ShapeError, "matrix must be 2-D"),
            ((np.eye(3, dtype=complex), np.eye(3), 1), {}, ShapeError, "real numbers"),
            ((np.eye(3), np.array([["a"] * 3]), 1), {}, ShapeError, "real numbers"),
            ((np.eye(3), np.eye(3), 0), {}, BadValue, "k must be 1 or more"),
            ((np.eye(3), np.eye(3), 1.5), {}, FieldTypeError, "k is a whole number"),
            ((np.eye(3), np.eye(3), 1), {"batch_size": 0}, BadValue, "batch_size"),
            ((np.eye(3), np.eye(3), 1), {"norms": np.ones(2)}, ShapeError, "norms"),
            ((np.eye(3), np.eye(3), 1), {"norms": np.ones(3, np.float16)}, ShapeError, "norms"),
            ((np.eye(3), np.eye(3), 1), {"skip": [0]}, ShapeError, "skip"),
            ((np.eye(3), np.eye(3), 1), {"skip": [0.0, 1.0, 2.0]}, ShapeError, "skip"),
            ((np.eye(3), np.eye(3), 1, "cosin"), {}, UnknownMetric, "Did you mean 'cosine'"),
            ((np.eye(3), np.eye(3), 1, 7), {}, FieldTypeError, "metric"),
        ],
    )
    def test_says_what_is_wrong(self, arguments, options, error, words):
        with pytest.raises(error, match=words):
            nearest(*arguments, **options)


def test_row_norms():
    matrix = np.random.default_rng(0).integers(-5, 5, (100, 7)).astype(np.int8)

    assert row_norms(matrix) == pytest.approx(np.linalg.norm(matrix, axis=1))
    assert row_norms(np.zeros((0, 3))).shape == (0,)


def test_row_norms_of_a_sparse_matrix():
    sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")

    assert [5.0, 0.0] == row_norms(sparse.coo_array(np.array([[3, 4], [0, 0]]))).tolist()
