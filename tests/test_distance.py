from __future__ import annotations

import functools
import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from docarray.distance import (
    canonical,
    cdist,
    check_count,
    metric_name,
    minmax_normalize,
    pdist,
    top_k,
    update_rows_x_mat_best,
)
from docarray.errors import BadValue, DocArrayError, FieldTypeError, MissingExtra, ShapeError, UnknownMetric
from docarray.pairs import NATIVE, paired

FLOATS = st.floats(-1e4, 1e4, width=32)
WHOLE = st.integers(-5, 5)


def scipy(module="scipy.spatial.distance"):
    return pytest.importorskip(module, reason="pip install scipy")


@st.composite
def two_matrices(draw, elements=FLOATS, dtype=np.float64):
    width = draw(st.integers(1, 6))
    return tuple(
        draw(arrays.arrays(dtype, (draw(st.integers(0, 6)), width), elements=elements)) for _ in "xy"
    )


class TestCdist:
    @pytest.mark.parametrize("metric", NATIVE)
    @settings(deadline=None)
    @given(pair=two_matrices())
    def test_is_the_formula_for_every_pair(self, metric, pair):
        x, y = pair
        expected = np.array([paired(y, row[None], metric) for row in x]).reshape(len(x), len(y))
        size = 1 + np.abs(x).max(initial=0) * np.abs(y).max(initial=0) * x.shape[1]

        actual = cdist(x, y, metric)

        assert actual.shape == (len(x), len(y))
        assert actual.dtype == np.float64
        tolerance = {"cosine": 1e-14, "inner_product": 1e-14 * size}.get(metric, 1e-10 * np.abs(expected))
        assert (np.abs(actual - expected) <= tolerance).all()

    @pytest.mark.parametrize(
        "metric", ["cosine", "euclidean", "sqeuclidean", "cityblock", "chebyshev", "hamming"]
    )
    @settings(deadline=None)
    @given(pair=two_matrices())
    def test_is_what_scipy_says(self, metric, pair):
        x, y = pair
        if (
            metric == "cosine"
        ):  # of vectors of zeros, and of squares that underflow, scipy says something else
            x, y = (part[np.linalg.norm(part, axis=1) > 1e-30] for part in pair)

        assert cdist(x, y, metric) == pytest.approx(scipy().cdist(x, y, metric), rel=1e-9, abs=1e-13)

    def test_zeros_are_at_cosine_distance_1(self):
        """Also from zeros; to say 0 would make an empty document match everything."""
        assert [[1, 1], [1, 0]] == cdist([[0, 0], [1, 2]], [[0, 0], [1, 2]]).round(12).tolist()

    @pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean"])
    def test_never_negative_never_nan_near_zero(self, metric):
        """|x|^2 + |y|^2 - 2xy comes out below 0 for such rows, and its root as NaN."""
        x = np.repeat(np.random.default_rng(0).standard_normal((40, 30)) + 1e3, 3, axis=0).astype(np.float32)
        x[1::3] *= np.float32(1 + 1e-7)

        table = pdist(x, metric)

        assert (table >= 0).all()
        assert (table <= 2).all() or metric != "cosine"
        if metric != "cosine":
            assert not np.diag(table).any()
            expected = paired(x[::3].astype(float), x[1::3].astype(float), metric)
            assert expected == pytest.approx(table[np.arange(0, 120, 3), np.arange(1, 120, 3)], rel=1e-12)

    @pytest.mark.parametrize("metric", NATIVE)
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint8, np.int64, np.bool_])
    def test_loses_nothing_of_narrow_dtypes(self, metric, dtype):
        """200 * 200 does not fit int8, uint8 or float16."""
        x = np.random.default_rng(0).integers(0, 120, (9, 40)).astype(dtype)

        assert cdist(x.astype(np.float64), x.astype(np.float64), metric).tolist() == pdist(x, metric).tolist()

    @pytest.mark.parametrize("scale", [1e-200, 1e200])
    def test_cosine_beyond_the_squares_of_float64(self, scale):
        x = np.array([[3.0, 4.0], [0.0, 0.0]])

        assert [[0.04], [1.0]] == pytest.approx(cdist(x * scale, [[4.0, 3.0]]))

    @pytest.mark.parametrize("metric", NATIVE)
    def test_what_is_not_finite_gives_nan_in_its_row(self, metric):
        x = np.array([[np.nan, 1.0], [np.inf, 1.0], [1.0, 2.0]])

        table = cdist(x, [[1.0, 1.0]], metric)

        assert [True, True, False] == np.isnan(table[:, 0]).tolist()

    def test_dot_is_1_minus_the_product(self):
        assert (
            [[-10.0]]
            == cdist([[1, 2]], [[3, 4]], "dot").tolist()
            == cdist([[1, 2]], [[3, 4]], "inner_product").tolist()
        )

    def test_a_function(self):
        assert [[5.0], [7.0]] == cdist([[2], [3]], [[1]], lambda x, y: 2 * x + y.T).tolist()

    def test_nothing(self):
        for metric in (*NATIVE, "cityblock"):
            assert (0, 2) == cdist(np.zeros((0, 3)), np.zeros((2, 3)), metric).shape
        assert [[1.0]] == cdist(np.zeros((1, 0)), np.zeros((1, 0))).tolist()

    @pytest.mark.parametrize("metric", [*NATIVE, "cityblock"])
    def test_sparse_is_as_dense(self, metric):
        sparse = scipy("scipy.sparse")
        rng = np.random.default_rng(0)
        x = rng.integers(-3, 4, (20, 9)) * (rng.random((20, 9)) < 0.3)
        x[3] = x[4] = 0
        expected = pdist(x, metric)

        for form in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
            table = cdist(form(x), form(x), metric)
            assert isinstance(table, np.ndarray)
            assert expected == pytest.approx(table, abs=1e-14)


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.torch = pytest.importorskip(
            "torch", reason="make test installs a CPU build of torch where there is one"
        )

    @pytest.mark.parametrize("device", ["cpu", "cpu:0"])
    @pytest.mark.parametrize("metric", [*NATIVE, "cityblock"])
    def test_is_as_numpy(self, metric, device):
        """'cpu:0' is computed by torch itself, as on a graphics card."""
        x = np.random.default_rng(0).standard_normal((7, 5))
        x[2], x[3, 1] = 0, np.nan
        tensor = self.torch.tensor(x, requires_grad=True)

        table = cdist(tensor, tensor, metric, device=device)

        assert isinstance(table, np.ndarray)
        assert pdist(x, metric) == pytest.approx(table, abs=1e-7, nan_ok=True)

    def test_dtypes_that_numpy_does_not_have(self):
        x = self.torch.tensor([[1.0, 2.0]], dtype=self.torch.bfloat16)

        assert [[0.0]] == cdist(x, x, "euclidean").tolist()

    def test_a_function_gets_tensors(self):
        x = self.torch.ones(2, 3)

        assert [[3.0, 3.0], [3.0, 3.0]] == cdist(x, x, lambda a, b: a.mm(b.T)).tolist()

    def test_not_with_numpy(self):
        with pytest.raises(ShapeError, match=r"torch.*numpy"):
            cdist(self.torch.ones(1, 3), np.ones((1, 3)))


class TestErrors:
    @pytest.mark.parametrize(
        ("x", "y", "words"),
        [
            (np.ones(3), np.ones((1, 3)), "x must be 2-D"),
            (np.ones((1, 3)), np.ones((1, 1, 3)), "y must be 2-D"),
            (np.ones((1, 3)), np.ones((1, 4)), "3 wide.*4 wide"),
            (np.ones((1, 3)), [["a", "b", "c"]], "real numbers"),
            (np.ones((1, 3), complex), np.ones((1, 3)), "real numbers"),
        ],
    )
    def test_shapes(self, x, y, words):
        with pytest.raises(ShapeError, match=words):
            cdist(x, y)

    def test_libraries_must_be_one(self):
        with pytest.raises(ValueError, match=r"numpy.*scipy"):
            cdist(np.eye(2), scipy("scipy.sparse").csr_array(np.eye(2)))

    def test_unknown_names(self):
        with pytest.raises(UnknownMetric, match=r"'eucliden'. Did you mean 'euclidean'"):
            cdist(np.eye(2), np.eye(2), "eucliden")
        with pytest.raises(NotImplementedError):
            pdist(np.eye(2), "")
        with pytest.raises(FieldTypeError, match="int"):
            cdist(np.eye(2), np.eye(2), 3)

    def test_a_function_must_give_a_matrix(self):
        with pytest.raises(ShapeError, match=r"sum.*\(2, 3\)"):
            cdist(np.ones((2, 4)), np.ones((3, 4)), lambda_named_sum())

    def test_scipy_is_asked_for_by_name(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "scipy.spatial.distance", None)

        with pytest.raises(MissingExtra, match=r"'cityblock'.*pip install scipy"):
            cdist(np.eye(2), np.eye(2), "cityblock")
        with pytest.raises(UnknownMetric):
            cdist(np.eye(2), np.eye(2), "cityblok")


def lambda_named_sum():
    def sum(x, y):
        return x.sum()

    return sum


def test_all_names_of_scipy_are_names_of_scipy():
    """A name in the list that scipy does not know would be an error of scipy's, not of ours."""
    scipy()
    x = np.random.default_rng(0).integers(0, 2, (9, 4)).astype(float)
    module = sys.modules["docarray.distance"]
    for name in module._SCIPY:
        assert cdist(x, x, name).shape == (9, 9), name


def test_names():
    class Callable:
        def __call__(self, x, y): ...

    assert ["cosine", "dot", "cdist", "partial", "Callable"] == [
        metric_name(metric) for metric in ("cosine", "dot", cdist, functools.partial(cdist), Callable())
    ]
    assert ["cosine", "inner_product", "cityblock"] == [
        canonical(name) for name in ("cosine", "dot", "cityblock")
    ]


class TestTopK:
    @settings(deadline=None)
    @given(
        table=st.one_of(
            arrays.arrays(
                np.float64,
                arrays.array_shapes(min_dims=2, max_dims=2),
                elements=st.sampled_from([0, 1, 2, np.nan, np.inf, -np.inf]),
            ),
            arrays.arrays(np.int8, arrays.array_shapes(min_dims=2, max_dims=2)),
            arrays.arrays(np.uint64, arrays.array_shapes(min_dims=2, max_dims=2)),
            arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2)),
        ),
        k=st.integers(1, 12),
        descending=st.booleans(),
    )
    def test_is_the_head_of_a_sort(self, table, k, descending):
        def key(line):
            return lambda at: (line[at] != line[at], -line[at] if descending else line[at], at)

        expected = [sorted(range(len(line)), key=key(line))[:k] for line in table.tolist()]
        # NaN compares with nothing: among them the order is that of the column.
        expected = [
            [at for at in row if line[at] == line[at]] + sorted(at for at in row if line[at] != line[at])
            for row, line in zip(expected, table.tolist(), strict=True)
        ]

        values, indices = top_k(table, k, descending=descending)

        assert expected == indices.tolist()
        assert np.array_equal(
            np.take_along_axis(table, indices, axis=1), values, equal_nan=table.dtype.kind == "f"
        )
        assert values.dtype == table.dtype

    def test_the_lowest_integer_has_no_negative(self):
        table = np.array([[-128, 127, -128]], np.int8)

        assert [[1, 0, 2]] == top_k(table, 3, descending=True)[1].tolist()

    def test_empty(self):
        assert top_k(np.zeros((2, 0)), 3)[0].shape == (2, 0)
        assert top_k(np.zeros((0, 4)), 3)[1].shape == (0, 3)

    def test_errors(self):
        with pytest.raises(ShapeError, match="2-D"):
            top_k([1, 2], 1)
        with pytest.raises(BadValue, match="k must be 1"):
            top_k([[1, 2]], 0)


class TestMerge:
    @settings(deadline=None)
    @given(
        table=arrays.arrays(np.int8, (3, 12), elements=WHOLE),
        cuts=st.lists(st.integers(0, 12), max_size=4),
        k=st.integers(1, 14),
    )
    def test_part_by_part_is_as_all_at_once(self, table, cuts, k):
        edges = [0, *sorted(cuts), 12]
        best, of = np.zeros((3, 0), np.int8), np.zeros((3, 0), int)

        for a, b in itertools.pairwise(edges):
            best, of = update_rows_x_mat_best(best, of, table[:, a:b], np.tile(np.arange(a, b), (3, 1)), k)

        values, indices = top_k(table, k)
        assert values.tolist() == best.tolist()
        assert indices.tolist() == of.tolist()

    def test_errors(self):
        with pytest.raises(ShapeError, match="pairs"):
            update_rows_x_mat_best([[1]], [[1, 2]], [[1]], [[1]], 1)
        with pytest.raises(ShapeError, match="pairs"):
            update_rows_x_mat_best([[1]], [[1]], [[1], [1]], [[1], [1]], 1)


class TestMinmax:
    @settings(deadline=None)
    @given(
        table=arrays.arrays(np.float64, arrays.array_shapes(min_dims=1, max_dims=2), elements=FLOATS),
        ends=st.tuples(WHOLE, WHOLE),
    )
    def test_stays_within_and_keeps_the_order(self, table, ends):
        out = minmax_normalize(table, ends)

        assert out.shape == table.shape
        assert (out >= min(ends)).all()
        assert (out <= max(ends)).all()
        order = np.argsort(table, axis=-1)
        steps = np.diff(np.take_along_axis(out, order, axis=-1), axis=-1) * (ends[1] - ends[0])
        assert (steps >= -1e-9).all()

    def test_each_row_by_itself(self):
        assert [[0, 0.5, 1], [1, 0, 0]] == minmax_normalize([[1, 2, 3], [30, 10, 10]]).round(6).tolist()

    def test_distances_to_similarities(self):
        assert [1, 0.5, 0] == minmax_normalize([0, 1, 2], (1, 0)).round(6).tolist()

    @pytest.mark.parametrize("x_range", [(0, 4), ([0, 0], [4, 4]), ([[0], [0]], [[4], [4]])])
    def test_a_range_clips(self, x_range):
        assert [[0, 0.5], [0.25, 1]] == minmax_normalize([[-3, 2], [1, 9]], x_range=x_range).round(6).tolist()

    def test_a_row_of_equals_and_an_empty_one(self):
        assert [0.0, 0.0] == minmax_normalize([7, 7]).tolist()
        assert (2, 0) == minmax_normalize(np.zeros((2, 0))).shape


def test_check_count():
    assert 3 == check_count(np.uint8(3), "limit")
    with pytest.raises(ValueError, match="limit must be 1 or more, and is -2"):
        check_count(-2, "limit")
    with pytest.raises(DocArrayError, match="limit is a whole number, not str"):
        check_count("3", "limit")
