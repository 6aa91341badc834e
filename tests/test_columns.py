"""Columns: values in, the same values out, by every way that there is; and what bytes may not do to them."""

from __future__ import annotations

import copy
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
from everything import CELLS, VECTORS, cells, difference, ndarrays, sparse_arrays, sparse_row, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray.columns import (
    BoolColumn,
    BytesColumn,
    Column,
    JsonColumn,
    NumberColumn,
    RaggedTensors,
    ScoresColumn,
    TextColumn,
    UniformTensors,
    column_from_buffers,
    column_of,
    join_columns,
    read_array,
    tensor_column,
)
from docarray.errors import BadValue, FieldTypeError, FormatError, MissingExtra

kinds = st.sampled_from(sorted(CELLS))


def stored(column: Column) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A column as its form, gone through JSON, and its buffers as bytes."""
    buffers: dict[str, Any] = {}
    form = column.to_buffers("x", buffers)
    for buffer in buffers.values():
        assert isinstance(buffer, np.ndarray)
        assert buffer.ndim == 1
    return json.loads(json.dumps(form)), {name: buffer.tobytes() for name, buffer in buffers.items()}


def opened(form: Any, buffers: Any) -> Column:
    return column_from_buffers(form, "x", buffers)


def through(column: Column) -> Column:
    return opened(*stored(column))


def ways(column: Column) -> dict[str, Any]:
    """The values of a column by each way to ask for them."""
    n = len(column)
    return {
        "values": through(column).values(),
        "value": [through(column).value(row) for row in range(n)],
        "value, one after the other": (lambda c: [c.value(row) for row in range(n)])(through(column)),
        "values again": (lambda c: (c.values(), c.values())[1])(through(column)),
        "take": through(column).take(np.arange(n)).values(),
        "take one by one": [through(column).take(np.array([row])).values()[0] for row in range(n)],
        "slice": through(column).slice(0, n).values(),
        "stored again": through(through(column)).values(),
        "untouched": column.values(),
    }


# --- the same values out ------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data(), kinds, st.integers(0, 12))
def test_every_way_gives_the_same_values(data, kind, n):
    values = data.draw(cells(kind, n))
    kept = copy.deepcopy(values)

    for way, found in ways(column_of(kind, values)).items():
        assert difference(kept, found, way) is None


@settings(max_examples=100, deadline=None)
@given(st.data(), kinds, st.integers(0, 12))
def test_storing_again_gives_the_same_bytes(data, kind, n):
    form, buffers = stored(column_of(kind, data.draw(cells(kind, n))))
    again = opened(form, buffers)
    looked_at = opened(form, buffers)
    looked_at.values()

    assert stored(again) == (form, buffers)
    assert stored(looked_at) == (form, buffers)


@settings(max_examples=100, deadline=None)
@given(st.data(), kinds, st.integers(0, 9))
def test_present_is_where_there_is_a_value(data, kind, n):
    values = data.draw(cells(kind, n))
    expected = [value is not None for value in values]
    column = column_of(kind, values)

    for found in (column, through(column), through(column).slice(0, n), through(column).take(np.arange(n))):
        mask = found.present
        assert expected == ([True] * n if mask is None else mask.tolist())
        assert mask is None or mask.dtype == bool


@settings(max_examples=100, deadline=None)
@given(st.data(), kinds, st.integers(0, 9))
def test_take_and_slice_are_those_of_a_list(data, kind, n):
    values = data.draw(cells(kind, n))
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=12)) if n else []
    start, stop = sorted([data.draw(st.integers(0, n)), data.draw(st.integers(0, n))])
    column = column_of(kind, values)

    for found in (column, through(column)):
        if data.draw(st.booleans()):
            found.values()
        taken = found.take(np.array(rows, np.intp))
        cut = found.slice(start, stop)
        assert difference([values[i] for i in rows], taken.values()) is None
        assert difference([values[i] for i in rows], through(taken).values()) is None
        assert difference(values[start:stop], cut.values()) is None
        assert difference(values[start:stop], through(cut).values()) is None
        assert difference(values[start:stop], through(through(cut).slice(0, stop - start)).values()) is None


@settings(max_examples=150, deadline=None)
@given(st.data(), kinds, st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_joining_is_adding_lists(data, kind, lengths):
    """Parts that came from buffers, parts that did not, parts without rows, parts that lack the column."""
    lists, parts = [], []
    for n in lengths:
        values = data.draw(cells(kind, n))
        column = column_of(kind, values)
        way = data.draw(st.sampled_from(["list", "bytes", "slice", "take", "missing"]))
        if way == "missing":
            values = [None] * n
        lists.append(values)
        parts.append(
            {
                "list": lambda c=column, n=n: c,
                "bytes": lambda c=column, n=n: through(c),
                "slice": lambda c=column, n=n: through(c).slice(0, n),
                "take": lambda c=column, n=n: through(c).take(np.arange(n)),
                "missing": lambda c=column, n=n: data.draw(st.sampled_from([c, through(c)])).missing(n),
            }[way]()
        )
    expected = [value for values in lists for value in values]

    joined = join_columns("x", parts)
    assert difference(expected, joined.values()) is None
    assert difference(expected, through(joined).values()) is None
    assert len(joined) == len(expected)


def test_columns_of_other_kinds_do_not_join():
    with pytest.raises(FieldTypeError, match="'x' is of several kinds: number, text"):
        join_columns("x", [column_of("text", ["a"]), column_of("number", [1])])


def test_a_column_without_rows_joins_with_any():
    assert join_columns("x", [column_of("number", []), column_of("text", ["a"])]).values() == ["a"]


@given(st.data(), st.integers(0, 9))
def test_missing_rows_are_of_the_kind(data, n):
    for kind in sorted(CELLS):
        column = column_of(kind, data.draw(cells(kind, 2)))
        for found in (column, through(column)):
            assert found.missing(n).values() == [None] * n
            assert found.missing(n).kind == found.kind


# --- text and bytes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["\ud83d\ude00", "\ud800", "\U0001f600", "a\0", "", "ﬀ", "\u2028\r\n"])
def test_texts_are_exact(text):
    assert [text, "a", None] == through(TextColumn([text, "a", None])).values()


def test_a_few_rows_of_many_decode_no_others():
    """`take` of ten rows of a mapped file must not read the whole file."""
    form, buffers = stored(TextColumn([f"text {i}" for i in range(1000)]))
    buffers["x.data"] = buffers["x.data"].replace(b"text 500", b"text 50\xff")
    column = opened(form, buffers)

    assert column.take(np.array([3, 999, 3])).values() == ["text 3", "text 999", "text 3"]
    with pytest.raises(FormatError, match="no UTF-8"):
        column.values()


def test_codes_are_a_dictionary():
    codes, words = through(TextColumn(["b", None, "a", "b"])).codes()

    assert [0, -1, 1, 0] == codes.tolist()
    assert ["b", "a"] == words


def test_negative_rows_count_from_the_end():
    column = through(TextColumn([str(i) for i in range(20)]))

    assert column.value(-1) == "19"
    assert column.take(np.array([-1, 0])).values() == ["19", "0"]
    with pytest.raises(IndexError):
        column.value(20)


# --- numbers ------------------------------------------------------------------------------------------------------


def test_numbers_keep_their_dtype_when_joined():
    small = NumberColumn(np.array([1, 2], ">i2"))
    joined = small.joined([NumberColumn(np.array([3], ">i2")), small.missing(1)])

    assert isinstance(joined, NumberColumn)
    assert joined.data.dtype == np.dtype(">i2")
    assert joined.values() == [1, 2, 3, None]


def test_ints_and_floats_stay_what_they_are():
    for values in ([1, 2.0], [1, None, 2.5], [2**63], [-(2**63), 2**63 - 1], [True, 1], [None, None]):
        column = column_of("number", values)
        assert difference(values, through(column).values()) is None
    assert type(column_of("number", [1, None])) is NumberColumn


def test_bools_are_bools():
    assert difference([True, None, False], through(BoolColumn.of([True, None, False])).values()) is None


# --- tensors ------------------------------------------------------------------------------------------------------


def test_arrays_alike_are_one_matrix():
    for value in (
        np.zeros(3, np.float32),
        np.zeros((2, 2), ">f8"),
        np.array(True),
        [1, 2],
        np.zeros((0, 2), "i1"),
    ):
        column = tensor_column([value, value])
        assert isinstance(column, UniformTensors)
        assert difference([value, value], column.values()) is None


def test_the_byte_order_of_arrays_stays():
    """numpy's stack and concatenate give big-endian arrays back in the order of the machine."""
    values = [np.array([1.5, 2.5], ">f4"), np.array([3.5, 4.5], ">f4")]
    column = tensor_column(values)

    assert isinstance(column, UniformTensors)
    assert difference(values * 2, through(column.joined([through(column)])).values()) is None


def test_few_arrays_among_many_rows_take_little_room():
    """A uniform column holds zeros where rows are missing."""
    values: list[Any] = [None] * 1000
    values[7] = np.ones(1000)
    form, buffers = stored(tensor_column(values))

    assert form["layout"] == "ragged"
    assert sum(map(len, buffers.values())) < 32_000
    assert difference(values, opened(form, buffers).values()) is None


@pytest.mark.parametrize("value", VECTORS, ids=lambda v: f"{type(v).__name__} {getattr(v, 'dtype', '')}")
def test_each_kind_of_vector_comes_out(value):
    for values in ([value], [value, None, value], [value, np.zeros(2)], [np.zeros(1), value]):
        assert difference(values, through(tensor_column(values)).values()) is None


@pytest.mark.parametrize(
    "value", [[[1], [2, 3]], [], [[]], [[], []], [[1], 2], ["a"], [None], [[[1, 2], [3.0, 4]]]]
)
def test_lists_that_are_no_array_come_out(value):
    assert difference([value, value], through(tensor_column([value, value])).values()) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(sparse_arrays(), max_size=4))
def test_sparse_rows_keep_class_and_format(values):
    assert difference(values, through(tensor_column(values)).values()) is None


@pytest.mark.parametrize("fmt", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
def test_sparse_rows_keep_explicit_zeros_and_blocks(fmt):
    value = sparse_row(fmt)
    (found,) = through(tensor_column([value])).values()

    assert difference(value, found) is None
    assert value.nnz == found.nnz


def test_sparse_blocks_keep_their_size():
    blocks = sparse.bsr_array(np.kron(np.eye(2), np.ones((2, 3))), blocksize=(2, 3))
    spare = sparse.csr_array((np.ones(9), np.zeros(9, int), [0, 2]), shape=(1, 4))
    (one, two) = through(tensor_column([blocks, spare])).values()

    assert one.blocksize == (2, 3)
    assert two.indptr[-1] == len(two.data) == 2


def test_sparse_arrays_of_one_axis():
    value = sparse.coo_array(np.array([0, 1.5, 0]))

    for fmt in ("coo", "csr", "dok"):
        assert (
            difference([value.asformat(fmt)], through(tensor_column([value.asformat(fmt)])).values()) is None
        )


@given(st.lists(ndarrays(), min_size=1, max_size=5))
def test_arrays_on_writeable_memory_are_views_of_it(values):
    """A mapped file: an image in it is not copied until somebody writes to its page."""
    form, held = stored(RaggedTensors(values))
    buffers = {name: bytearray(buffer) for name, buffer in held.items()}
    column = opened(form, buffers)

    for row, value in enumerate(values):
        if value.size:
            found = column.value(row)
            found[...] = np.ones((), value.dtype)
            assert difference(found, column.value(row)) is None
            assert found.flags.aligned


def test_arrays_on_other_memory_are_copies():
    for column in (UniformTensors(np.eye(2)), RaggedTensors([np.eye(1), np.eye(2)])):
        found = through(column).value(1)
        found[...] = 7
        assert found.flags.writeable
        assert through(column).value(1).max() == 1


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1.0, 2.0], mask=[True, False]),
        np.zeros(2, [("a", "i4")]),
        np.array([object()]),
    ],
    ids=["masked", "fields", "objects"],
)
def test_arrays_that_cannot_be_said_are_refused(value):
    with pytest.raises(FieldTypeError, match="column 'x', row 1"):
        stored(tensor_column([np.zeros(2), value]))


def test_frameworks_that_are_not_there_are_named_when_touched():
    form, buffers = stored(tensor_column([np.zeros(2), np.zeros(2)]))
    column = opened({**form, "framework": "paddle"}, buffers)

    assert len(column) == 2
    with pytest.raises(MissingExtra, match="pip install paddle"):
        column.value(0)


class TestTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def test_dense_tensors(self, torch):
        for dtype in (
            "float32",
            "float16",
            "float64",
            "int8",
            "int64",
            "bool",
            "complex64",
            "bfloat16",
            "uint8",
        ):
            for shape in ((3,), (), (0, 2), (2, 1)):
                values = [torch.ones(shape).to(getattr(torch, dtype))] * 2
                assert difference(values, through(tensor_column(values)).values()) is None
                assert difference([*values, None], through(tensor_column([*values, None])).values()) is None

    @pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
    def test_sparse_tensors(self, torch):
        dense = torch.tensor([[0, 1.5, 0, 0], [0, 0, 0, 2]])
        values = [
            dense.to_sparse(),
            dense.to_sparse(1),
            dense.to_sparse_csr(),
            dense.to_sparse_csc(),
            dense.to_sparse_bsr((1, 2)),
            dense.to_sparse_bsc((2, 1)),
        ]
        assert difference(values, through(tensor_column(values)).values()) is None

    def test_gradients_do_not_matter(self, torch):
        value = torch.ones(2, requires_grad=True)

        assert difference([value.detach()], through(tensor_column([value])).values()) is None

    def test_mixtures(self, torch):
        values = [torch.ones(2), np.ones(2, np.float32), [1.0], None]

        assert difference(values, through(tensor_column(values)).values()) is None

    def test_dtypes_that_numpy_does_not_have_are_refused(self, torch):
        with pytest.raises(FieldTypeError, match="column 'x', row 0"):
            stored(tensor_column([torch.ones(2).to(torch.float8_e5m2)]))

    def test_damaged_sparse_tensors_are_format_errors(self, torch):
        form, buffers = stored(tensor_column([torch.eye(3).to_sparse()]))
        damaged = np.frombuffer(buffers["x.data"], np.int64).copy()
        damaged[0] = 9
        with pytest.raises(FormatError):
            opened(form, {**buffers, "x.data": damaged.tobytes()}).value(0)


# --- tags and scores ----------------------------------------------------------------------------------------------


def test_dicts_alike_become_a_column_a_key():
    form, _ = stored(JsonColumn([{"price": float(i), "name": str(i)} for i in range(8)]))

    assert form["layout"] == "struct"
    assert [[key, inner["kind"]] for key, inner in form["columns"]] == [["price", "number"], ["name", "text"]]


@pytest.mark.parametrize(
    "values",
    [
        [{"price": 1, "name": "x"}],
        [{str(i): i} for i in range(60)],
        [{str(i): 1, str(-i): 2} for i in range(40)],
        [{}] * 20,
        [None] * 20,
        [{"\ud800": 1}] * 20,
        [{1: 2}] * 20,
        [[1, 2]] * 20,
    ],
    ids=["one row", "a key each", "two keys each", "no keys", "none", "surrogates", "int keys", "lists"],
)
def test_dicts_that_columns_would_not_serve_stand_as_text(values):
    """Few rows, sparse keys: a column a key would take more room than the text."""
    form, buffers = stored(JsonColumn(values))

    assert form["layout"] == "text"
    assert difference(values, opened(form, buffers).values()) is None


def test_a_document_with_many_keys_stays_small():
    tags = {f"key {i}": {f"key {j}": j for j in range(30)} for i in range(30)}
    form, buffers = stored(JsonColumn([tags]))

    assert len(json.dumps(form)) + sum(map(len, buffers.values())) < 2 * len(json.dumps(tags))


def test_sparse_nested_keys_do_not_multiply():
    """Each level of nesting spreads the rows thinner; the cells that are written stay in proportion to the values."""
    values = [{f"a{i % 40}": {f"b{i // 40 % 40}": {"c": i}}} for i in range(3200)]
    form, buffers = stored(JsonColumn(values))

    assert sum(map(len, buffers.values())) < 10 * len(json.dumps(values))
    assert difference(values, opened(form, buffers).values()) is None


def test_deep_nesting_is_text_at_last():
    value: Any = 1
    for _ in range(200):
        value = {"a": value}
    form, buffers = stored(JsonColumn([value] * 8))

    assert json.dumps(form).count("struct") == 8
    assert difference([value] * 8, opened(form, buffers).values()) is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.none() | st.dictionaries(st.sampled_from("abc"), st.integers() | texts | st.none()), max_size=20
    )
)
def test_by_key_is_the_cells(values):
    """A column a key, None where the row lacks it, whatever the column came from."""
    for column in (JsonColumn(values), through(JsonColumn(values))):
        keyed = column.by_key()
        if keyed is None:
            assert not any(values)
            continue
        for key in {key for value in values if value for key in value}:
            expected = [None if value is None else value.get(key) for value in values]
            assert difference(expected, keyed[key].values()) is None


def test_the_order_of_keys_is_kept():
    values = [{"a": 1, "b": 2}, {"b": 2, "a": 1}] * 10

    assert [list(v) for v in values] == [list(v) for v in through(JsonColumn(values)).values()]


def test_a_struct_joins_with_another_as_a_struct():
    """Batches of a file are joined on opening: that must not make a dict a row."""
    one = through(JsonColumn([{"a": 1, "b": "x"}] * 10))
    two = through(JsonColumn([{"b": "y"}, None] * 10 + [{"b": "z"}] * 10))
    joined = one.joined([two, one.missing(10)])

    assert stored(joined)[0]["layout"] == "struct"
    assert difference([*one.values(), *two.values(), *[None] * 10], joined.values()) is None


def test_the_error_names_the_column_and_the_row():
    with pytest.raises(FieldTypeError, match=r"column 'x', row 2: tags hold data only; a builtins\.object"):
        stored(JsonColumn([{}, None, {"a": object()}]))


def test_scores_stay_scores():
    column = through(ScoresColumn([{"cosine": {"value": 0.5}}] * 8))

    assert type(column) is type(column.slice(0, 2)) is type(column.take(np.array([1]))) is ScoresColumn
    assert column.kind == column.joined([column]).kind == "scores"


# --- what comes from buffers is not trusted -----------------------------------------------------------------------


def touch(column: Column) -> None:
    """Everything that can be asked of a column; each alone, so that nothing hides behind what fails before it."""
    n = len(column)
    rows = np.arange(min(n, 3))
    for ask in (
        lambda: column.values(),
        lambda: column.present,
        lambda: [column.value(row) for row in range(min(n, 3))],
        lambda: column.take(rows).values(),
        lambda: column.slice(0, min(n, 2)).values(),
        lambda: column.joined([column]).values(),
        lambda: column.to_buffers("y", {}),
        lambda: column.missing(2).values(),
        lambda: column.data if isinstance(column, NumberColumn | UniformTensors) else None,
        lambda: column.codes() if isinstance(column, TextColumn) else None,
        lambda: (
            [c.values() for c in (column.by_key() or {}).values()] if isinstance(column, JsonColumn) else None
        ),
    ):
        with suppress(FormatError, MissingExtra, FieldTypeError):
            ask()


SAMPLES: dict[str, Column] = {
    "text": TextColumn(["a", None, "äöü"] * 3),
    "bytes": BytesColumn([b"a", None, b"bc"] * 3),
    "ints": NumberColumn.of([1, None, 3] * 3),
    "bools": BoolColumn.of([True, None, False] * 3),
    "uniform": tensor_column([np.ones(2), None, np.zeros(2)] * 3),
    "bool tensors": tensor_column([np.array([True, False])] * 9),
    "ragged": tensor_column([*VECTORS, None]),
    "sparse": tensor_column([sparse_row(f) for f in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")]),
    "tags": JsonColumn([{"a": 1, "b": "x", "c": {"d": True}}, {"b": "y", "a": 2}, None] * 12),
    "diverse tags": JsonColumn([{"a": [1, (2, b"3")]}]),
    "scores": ScoresColumn([{"cosine": {"value": 0.5, "op_name": "x"}}] * 9),
}


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_in_the_buffers_are_values_or_a_format_error(name, data):
    form, buffers = stored(SAMPLES[name])
    victim = data.draw(st.sampled_from(sorted(buffers)))
    damaged = bytearray(buffers[victim])
    for _ in range(data.draw(st.integers(1, 4))):
        if damaged:
            at = data.draw(st.integers(0, len(damaged) - 1))
            damaged[at] = data.draw(st.sampled_from([0, 1, 2, 3, 127, 128, 255]) | st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    with suppress(FormatError):
        touch(opened(form, {**buffers, victim: bytes(damaged)}))


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all nodes of a JSON value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    fresh = copy.copy(node)
    fresh[path[0]] = replaced(node[path[0]], path[1:], value)
    return fresh


WORDS = st.sampled_from(
    "text number bool tensor json scores docs struct flat uniform ragged numpy list torch jax <f8 |b1 <U4 |V8 |O <f3 "
    "scipy.csr.matrix scipy.bsr.array scipy.x.array a".split()
)
junk = st.one_of(
    WORDS,
    st.sampled_from([0, 1, -1, 2**31, 2**63, 10**30, True, None, [], {}, [[]], [0], [10**30, 0], 1.5]),
    st.recursive(st.none() | st.integers() | texts, lambda v: st.lists(v, max_size=3), max_leaves=5),
)


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_form_is_a_column_or_a_format_error(name, data):
    form, buffers = stored(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        form = replaced(form, data.draw(st.sampled_from(places(form))), data.draw(junk))
    with suppress(FormatError):
        touch(opened(form, buffers))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_buffer_that_is_missing_or_short_is_named(name):
    form, buffers = stored(SAMPLES[name])
    for victim in buffers:
        with pytest.raises(FormatError, match=victim):
            opened(form, {n: b for n, b in buffers.items() if n != victim})
    for victim in (n for n in buffers if n.endswith(("offsets", "present", "kinds", "codes"))):
        with pytest.raises(FormatError, match=victim):
            opened(form, {**buffers, victim: buffers[victim][:-1]})


def damaged(buffers: dict[str, bytes], name: str, dtype: str, at: int, value: int) -> dict[str, bytes]:
    """The buffers with one item of one of them changed."""
    items = np.frombuffer(buffers[name], dtype).copy()
    items[at] = value
    return {**buffers, name: items.tobytes()}


@pytest.mark.parametrize(
    ("at", "value", "rows"),
    [
        (0, -1, [0]),
        (3, 7, [2]),
        (3, 1 << 62, [2]),
        (1, 5, [1]),
        (2, 1, [1]),
        (0, -(1 << 63), [0]),
        (1, -2, [0, 1]),
    ],
)
def test_offsets_rise_and_stay_within_the_data(at, value, rows):
    form, buffers = stored(TextColumn(["ab", "cd", "ef"]))
    for row in rows:
        column = opened(form, damaged(buffers, "x.offsets", "<i8", at, value))
        with pytest.raises(FormatError, match="offsets"):
            column.value(row)
        for ask in (column.values, lambda c=column: c.to_buffers("y", {}), lambda c=column: c.joined([c])):
            with pytest.raises(FormatError, match="offsets"):
                ask()


@pytest.mark.parametrize(
    ("name", "dtype", "value"),
    [
        ("kinds", "<i4", 1),
        ("kinds", "<i4", -2),
        ("starts", "<i8", -16),
        ("starts", "<i8", 16),
        ("starts", "<i8", 1 << 62),
        ("dims", "<i8", 1),
        ("dims", "<i8", -1),
        ("dims", "<i8", 1 << 62),
        ("shapes", "<i8", 5),
        ("shapes", "<i8", -1),
        ("shapes", "<i8", 1 << 62),
    ],
)
def test_ragged_arrays_lie_within_their_column(name, dtype, value):
    form, buffers = stored(RaggedTensors([np.ones(4)]))
    column = opened(form, damaged(buffers, f"x.{name}", dtype, 0, value))

    for found in (column, column.take(np.array([0])), through(column)):
        with pytest.raises(FormatError):
            found.value(0)
    with suppress(FormatError):  # may reach into what stands before or behind, and no further
        column.joined([through(RaggedTensors([np.ones(2)]))]).values()


def test_specs_do_not_count_from_the_end():
    form, buffers = stored(RaggedTensors([np.ones(4), np.ones(4, "<f4"), [1.0]]))
    column = opened(form, damaged(buffers, "x.kinds", "<i4", 0, -3))

    with pytest.raises(FormatError):
        column.value(0)


def pile(how: str, shape: tuple[int, ...], *parts: Any) -> Column:
    """A column of one array, put together from these parts whatever they say."""
    arrays = [np.asarray(part) for part in parts]
    form = {
        "kind": "tensor",
        "layout": "ragged",
        "length": 1,
        "specs": [[how, len(shape), [[array.dtype.str, array.ndim] for array in arrays]]],
    }
    shapes = [*shape, *(side for array in arrays for side in array.shape)]
    data = b"".join(array.tobytes() + bytes(-array.nbytes % 16) for array in arrays)
    numbers = {"kinds": np.zeros(1, "<i4"), "starts": np.zeros(1, "<i8"), "dims": np.zeros(1, "<i8")}
    buffers = {**numbers, "shapes": np.array(shapes, "<i8"), "data": np.frombuffer(data, np.uint8)}
    return opened(form, {f"x.{name}": array.tobytes() for name, array in buffers.items()})


ONES, BLOCKS = np.ones(2), np.ones((2, 1, 2))


@pytest.mark.parametrize(
    ("how", "shape", "parts"),
    [
        ("scipy.csr.array", (1, 6), (ONES, [1, 6], [0, 2])),
        ("scipy.csr.array", (1, 6), (ONES, [1, -1], [0, 2])),
        ("scipy.csr.array", (1, 6), (ONES, [1, 3], [0, 3])),
        ("scipy.csr.array", (1, 6), (ONES, [1, 3], [0, 1])),
        ("scipy.csr.array", (1, 6), (ONES, [1, 3], [1, 2])),
        ("scipy.csr.array", (1, 6), (ONES, [1, 3], [0, 2, 2])),
        ("scipy.csr.array", (2, 6), (ONES, [1, 3], [0, 2])),
        ("scipy.csr.array", (3, 6), (ONES, [1, 3], [0, 2, 1, 2])),
        ("scipy.csr.array", (3, 6), (ONES, [1, 3], [0, 1 << 40, 0, 2])),
        ("scipy.csr.array", (1, 6), (ONES, [1, 3, 3], [0, 2])),
        ("scipy.csr.array", (1, 6), (ONES, [1.0, 3.0], [0, 2])),
        ("scipy.csr.array", (1, 6), (ONES, [[1], [3]], [0, 2])),
        ("scipy.csr.array", (1, 6), (np.ones((2, 1)), [1, 3], [0, 2])),
        ("scipy.csr.array", (1, 6), (["a", "b"], [1, 3], [0, 2])),
        ("scipy.csr.array", (6,), (ONES, [1, 6], [0, 2])),
        ("scipy.csr.array", (), (ONES, [1, 3], [0, 2])),
        ("scipy.csr.array", (1 << 40, 6), (ONES, [1, 3], [0, 2])),
        ("scipy.csc.matrix", (6, 1), (ONES, [1, 6], [0, 2])),
        ("scipy.csc.matrix", (6, 2), (ONES, [1, 3], [0, 2])),
        ("scipy.lil.matrix", (1, 6), (ONES, [1, 6], [0, 2])),
        ("scipy.bsr.array", (1, 6), (BLOCKS, [0, 3], [0, 2])),
        ("scipy.bsr.array", (1, 5), (BLOCKS, [0, 1], [0, 2])),
        ("scipy.bsr.array", (1, 6), (np.ones((2, 0, 2)), [0, 1], [0, 2])),
        ("scipy.bsr.array", (1, 6), (ONES, [0, 1], [0, 2])),
        ("scipy.coo.array", (1, 6), (ONES, [[0, 0], [1, 6]])),
        ("scipy.coo.array", (1, 6), (ONES, [[0, -1], [1, 3]])),
        ("scipy.coo.array", (1, 6), (ONES, [[0, 0]])),
        ("scipy.coo.array", (1, 6), (ONES, [0, 1])),
        ("scipy.coo.array", (), (ONES, np.zeros((0, 2), int))),
        ("scipy.dok.array", (1, 6), (ONES, [[0, 0], [1, 1 << 40]])),
        ("scipy.dia.array", (2, 6), (ONES, [0, 1])),
        ("scipy.dia.array", (2, 6), (np.ones((2, 6)), [0, 0])),
        ("scipy.dia.array", (2, 6), (np.ones((2, 6)), [0])),
        ("scipy.csr.array", (1, 6), (ONES, [1, 3])),
        ("scipy.csr.tensor", (1, 6), (ONES, [1, 3], [0, 2])),
        ("scipy.xyz.array", (1, 6), (ONES, [1, 3], [0, 2])),
        ("scipy.csr", (1, 6), (ONES, [1, 3], [0, 2])),
        ("os", (), (ONES,)),
        ("numpy", (), (ONES, ONES)),
        ("numpy", (), ()),
        ("json", (), (np.frombuffer(b"[1,", np.uint8),)),
        ("json", (), (np.frombuffer(b'"\xff"', np.uint8),)),
        ("torch", (), (np.array(["a"]),)),
        ("torch.sparse_coo", (3,), (np.array([[0, 9]]), ONES)),
        ("torch.sparse_coo", (1 << 62, 1 << 62), (np.array([[0], [0]]), np.ones(1))),
        ("torch.sparse_csr", (1, 6), ([0, 3], [1, 3], ONES)),
        ("torch.sparse_any", (1, 6), ([0, 2], [1, 3], ONES)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
def test_arrays_that_their_parts_do_not_make_are_format_errors(how, shape, parts):
    """scipy's compiled code takes its indices on trust: it would write beyond its arrays."""
    if how.startswith("torch"):
        pytest.importorskip("torch")
    with pytest.raises(FormatError):
        pile(how, shape, *parts).value(0)


def test_arrays_that_their_parts_make():
    for fmt in ("csr", "coo", "bsr"):
        row = sparse_row(fmt)
        parts = {"csr": (row.data, [1, 3], [0, 2]), "coo": (row.data, [[0, 0], [1, 3]])}.get(fmt)
        if parts is not None:
            assert difference(row, pile(f"scipy.{fmt}.array", (1, 6), *parts).value(0)) is None


def test_ragged_parts_that_came_from_buffers_join_without_being_made():
    one = RaggedTensors([np.ones(3), None, [[1], [2, 3]]])
    two = RaggedTensors([[[4], [5, 6]], np.zeros((2, 2), "i1"), sparse_row()])
    joined = through(one).joined([through(two), through(one).slice(1, 3), through(two).missing(1)])
    expected = [*one.values(), *two.values(), *one.values()[1:], None]

    assert difference(expected, joined.values()) is None
    assert difference(expected, through(joined).values()) is None
    assert not joined._list  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["bools", "text", "ints", "uniform", "bool tensors"])
def test_truth_values_are_0_or_1(name):
    form, buffers = stored(SAMPLES[name])
    victim = "x.present" if "x.present" in buffers else "x.data"
    damaged = bytearray(buffers[victim])
    damaged[-1] = 2
    column = opened(form, {**buffers, victim: bytes(damaged)})

    with pytest.raises(FormatError, match="other than 0 and 1"):
        _ = column.data if victim == "x.data" else column.present
    with pytest.raises(FormatError, match="other than 0 and 1"):
        column.to_buffers("y", {})


def test_opening_looks_at_no_row():
    """Damage shows when a row is touched, not before: opening costs the same for any number of rows."""
    for column in SAMPLES.values():
        form, buffers = stored(column)
        opened(form, {name: b"\x7f" * len(buffer) for name, buffer in buffers.items()})


def test_a_small_form_announces_no_big_column():
    """Whatever a form says, what is made of it is in proportion to the bytes that are there."""
    n = 1 << 40
    struct = {"kind": "json", "layout": "struct", "length": n}
    uniform = {"kind": "tensor", "layout": "uniform", "length": n, "dtype": "<f8", "framework": "numpy"}
    number = {"kind": "number", "layout": "flat", "length": n}
    text = {"kind": "text", "layout": "flat"}
    nothing = {**struct, "shapes": [[]], "columns": []}
    forms: list[Any] = [
        nothing,
        {**struct, "shapes": [["a"]], "columns": [["a", nothing]]},
        {**struct, "shapes": [["a"]], "columns": [["a", {**uniform, "shape": [0]}]]},
        {**uniform, "shape": [1 << 40]},
        {**uniform, "length": 1, "shape": [0, 10**30]},
        {**uniform, "length": 0, "shape": [1] * 99},
        {**number, "dtype": "(99999999,)f8"},
        {**number, "length": 0, "dtype": "<U9"},
        {**text, "length": n},
        {**text, "length": -1},
        {**text, "length": True},
        {**text, "layout": "packed", "length": 0},
        {"kind": "docs", "layout": "flat", "length": 0},
        {"kind": "tensor", "layout": "ragged", "length": 0, "specs": [["numpy", 0, [["<f8", 10**9]]]]},
    ]
    ends = ("data", "offsets", "kinds", "starts", "dims", "shapes", "codes")
    buffers = {f"x{cell}.{end}": b"" for cell in ("", ".0") for end in ends}
    for form in forms:
        with pytest.raises(FormatError):
            opened(form, buffers)


def test_a_small_sparse_row_announces_no_big_one():
    """Its pointers are bytes that are there: a shape alone makes nothing."""
    for fmt in ("csr", "csc", "bsr", "lil"):
        form, buffers = stored(tensor_column([sparse_row(fmt)]))
        shapes = np.frombuffer(buffers["x.shapes"], np.int64).copy()
        shapes[:2] = 1 << 40
        column = opened(form, {**buffers, "x.shapes": shapes.tobytes()})
        tracemalloc.start()
        with pytest.raises(FormatError):
            column.values()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


def test_read_array_shares_memory():
    memory = bytearray(16)
    array = read_array({"x": memory}, "x", "<i8", 2)
    array[0] = 1

    assert memory[0] == 1


def test_column_of_takes_no_documents():
    with pytest.raises(BadValue):
        column_of("docs", [])


def test_a_sparse_tensor_of_tensorflow_is_refused_in_words():
    """It has no `numpy()`; an AttributeError of its own reached the user."""
    kind = type("SparseTensor", (), {"__module__": "tensorflow.python", "shape": (1, 4), "dtype": "float32"})

    with pytest.raises(FieldTypeError, match="a SparseTensor of tensorflow is no dense array"):
        column_of("tensor", [kind()]).to_buffers("embedding", {})
