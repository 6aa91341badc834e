"""Every form of what stands between `[` and `]`, for get, set and delete, over three kinds of array alike."""

from __future__ import annotations

import re

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import (
    BadPath,
    BadSelector,
    BadValue,
    DocArrayError,
    FieldTypeError,
    LengthError,
    MissingDocument,
    OutOfRange,
    ShapeError,
    UnknownField,
)

IDS = list("abcde")
TEXTS = ["ta", "tb", "tc", "", "te"]
PRICES = [1, 2, 3, 4, 5]
VECTORS = np.arange(10.0).reshape(5, 2)
IMAGES = np.arange(20).reshape(5, 2, 2)
KINDS = ["objects", "columns", "touched"]


def tags():
    return [{"price": price, "deep": {"list": [price, -price]}} for price in PRICES]


def below():
    """Chunks c0, c1 of 'a', and c2 of 'c', which has a match too."""
    return [
        [Document(id="c0", text="x0"), Document(id="c1", text="x1")],
        [],
        [Document(id="c2", text="x2")],
        [],
        [],
    ]


def matches():
    return [[], [], [Document(id="m0", text="y0")], [], []]


def make(kind):
    if kind == "objects":
        return DocumentArray(
            Document(
                id=i, text=text or None, tags=tag, embedding=vector, tensor=None, chunks=chunks, matches=found
            )
            for i, text, tag, vector, chunks, found in zip(
                IDS, TEXTS, tags(), VECTORS.copy(), below(), matches(), strict=True
            )
        )
    da = DocumentArray.from_columns(
        id=IDS, text=[text or None for text in TEXTS], tags=tags(), embedding=VECTORS.copy(), chunks=below(),
        matches=matches(),
    )  # fmt: skip
    if kind == "touched":
        da[1].weight = 2.0
        da[1].weight = None
        da["d"].tags["new"] = 1
        del da["d"].tags["new"]
        assert da[2].text == "tc"
    return da


@pytest.fixture(params=KINDS)
def da(request):
    return make(request.param)


def shown(value):
    """The value in the name of a test, which must be the same in every process."""
    return re.sub(r"\bat (0x)?[0-9a-f]{8,}", "", repr(value))[:60]


def ids(found):
    """The ids of an array, read one by one, so that no column is asked."""
    assert isinstance(found, DocumentArray)
    return [doc.id for doc in found]


def unchanged(da):
    assert make("objects") == da
    assert ids(da) == da[:, "id"] == IDS
    np.testing.assert_array_equal(VECTORS, da.embeddings)
    assert all(da[key] is da[at] for at, key in enumerate(IDS))


# --- reading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 2, 4, -1, -5])
@pytest.mark.parametrize("kind", [int, np.int64, np.int16, np.array])
def test_an_int_of_any_type_gives_a_document(da, at, kind):
    assert IDS[at] == da[kind(at)].id == da[np.uint8(at % 5)].id
    assert da[at] is da[kind(at)]


def test_the_same_position_gives_the_same_document(da):
    assert da[0] is da[0] is da["a"] is da[-5] is da[:1][0] is da[[0]][0]


@pytest.mark.parametrize("at", [5, -6, 10**30, np.int64(5)])
def test_a_position_out_of_range(da, at):
    with pytest.raises(OutOfRange, match=r"of an array of 5|for an array of 5"):
        da[at]
    with pytest.raises(IndexError):
        del da[at]
    with pytest.raises(IndexError):
        da[at] = Document()
    unchanged(da)


def test_an_id_gives_a_document(da):
    assert IDS == [da[key].id for key in IDS]


@pytest.mark.parametrize("key", ["z", "", "A", "text"])
def test_an_id_that_nobody_has(da, key):
    with pytest.raises(MissingDocument, match=repr(key)) as caught:
        da[key]
    assert isinstance(caught.value, KeyError)
    with pytest.raises(KeyError):
        da[key] = Document()
    with pytest.raises(KeyError):
        del da[key]
    with pytest.raises(KeyError):
        da[key, "text"]
    unchanged(da)


SLICES = [
    slice(None), slice(2), slice(1, 3), slice(-2, None), slice(None, None, 2), slice(None, None, -1), slice(4, 1, -2),
    slice(3, 1), slice(10, 20), slice(-100, 100), slice(None, -1),
]  # fmt: skip


@pytest.mark.parametrize("window", SLICES, ids=str)
def test_a_slice_is_as_of_a_list(da, window):
    assert IDS[window] == ids(da[window]) == da[window][:, "id"]
    assert type(da[window]) is DocumentArray


def test_a_slice_is_a_new_array_of_the_same_documents(da):
    part = da[1:3]

    part[0].text = "new"
    part.append(Document())

    assert ("new", 5) == (da[1].text, len(da))


LISTS = [
    ([2, 0], "ca"),
    ([0, 0, -1], "aae"),
    (["d", "a"], "da"),
    (["b", "b"], "bb"),
    ([0, "b", -1], "abe"),
    (["b", 0], "ba"),
    ([np.int64(1), 2], "bc"),
    ([True, False, True, False, False], "ac"),
    ([np.True_, False], "a"),
    ([True, False, True], "ac"),
    ([False] * 5, ""),
    ([], ""),
    (range(1, 3), "bc"),
    (np.array([2, 0]), "ca"),
    (np.array([1], dtype=np.uint8), "b"),
    (np.array([-1, -1]), "ee"),
    (np.array(["d", "a"]), "da"),
    (np.array([True, False, True, False, False]), "ac"),
    (np.array([True, False]), "a"),
    (np.array([]), ""),
    (np.array([], dtype=int), ""),
]
TUPLES = [
    ((), ""),
    ((0,), "a"),
    ((0, 1), "ab"),
    ((1, 0, 1), "bab"),
    (("a", "b"), "ab"),
    (("a", "b", "c"), "abc"),
    (("c",), "c"),
    (("a", 3), "ad"),
    ((3, "a"), "da"),
    ((np.int64(3), 0), "da"),
    ((True, False), "a"),
    ((True, False, True), "ac"),
]


@pytest.mark.parametrize(("key", "wanted"), LISTS + TUPLES, ids=shown)
def test_lists_masks_and_arrays_give_arrays(da, key, wanted):
    assert list(wanted) == ids(da[key]) == da[key][:, "id"]
    assert all(one is da[one.id] for one in da[key])


BAD = [
    True, False, np.True_, None, 1.0, np.float32(1), np.float64(1), {0}, {"a": 1}, b"a", object(), 1j,
    [True] * 6, np.array([True] * 6), (False,) * 6, [0, True], [True, 0], [1.0], [None], [[0]], [0, slice(1)],
    np.zeros((1, 2), int), np.zeros((2, 2), bool), np.array(1.5), np.array([1.5]), np.array(True), Document(),
    (0, [1]), ([0, 1], [2, 3]), (slice(None), 3), (slice(None), slice(None)), (0, True), (True, "text"),
    (slice(None), "text", "id"), (0, None), (slice(None), []), (slice(None), [3]), (slice(None), {"text"}),
]  # fmt: skip


@pytest.mark.parametrize("key", BAD, ids=shown)
def test_what_selects_nothing_is_an_error_for_all_three(da, key):
    with pytest.raises(BadSelector) as caught:
        da[key]
    assert isinstance(caught.value, IndexError)
    with pytest.raises(IndexError):
        da[key] = Document()
    with pytest.raises(IndexError):
        del da[key]
    unchanged(da)


def test_a_two_dimensional_array_is_told_its_dimensions(da):
    with pytest.raises(IndexError, match="ndim=2"):
        da[np.zeros((2, 2), int)]


def test_a_mask_that_is_too_long_is_told_the_lengths(da):
    with pytest.raises(IndexError, match=r"6 for 5"):
        da[[True] * 6]


@pytest.mark.parametrize("key", [[0, 5], [-6], ["a", "z"], (0, 7), ("a", "b", "z"), np.array([9])], ids=shown)
def test_a_list_with_one_that_is_not_there(da, key):
    with pytest.raises((OutOfRange, MissingDocument)):
        da[key]
    with pytest.raises((OutOfRange, MissingDocument)):
        da[key] = [Document()] * len(key)
    with pytest.raises((OutOfRange, MissingDocument)):
        del da[key]
    unchanged(da)


def test_paths_and_ellipsis(da):
    assert ["c0", "c1", "c2"] == ids(da["@c"])
    assert ["c0", "c2"] == ids(da["@c[0]"])
    assert ["c0", "c1", "a", "b", "c2", "m0", "c", "d", "e"] == ids(da[...])
    assert da["@r"] is da
    with pytest.raises(BadPath):
        da["@x"]


# --- reading attributes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1, "b", np.int64(1), -4])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "b"),
        ("text", "tb"),
        ("content", "tb"),
        ("content_type", "text"),
        ("weight", 0.0),
        ("blob", b""),
        ("tags", {"price": 2, "deep": {"list": [2, -2]}}),
        ("tags__price", 2),
        ("tags__deep__list__1", -2),
        ("tags__nothing", None),
        ("embedding__1", 3.0),
        ("chunks__0__text", None),
        ("scores__cosine__value", None),
    ],
)
def test_one_attribute_of_one_document(da, first, name, value):
    assert value == da[first, name]


def test_attributes_of_one_document_come_as_a_list(da):
    for first in (1, "b", np.int64(-4)):
        assert ["tb", "b"] == da[first, ["text", "id"]]
        assert ["tb", 2] == da[first, ("text", "tags__price")]
        assert ["tb"] == da[first, ["text"]]


SELECTORS = [
    (slice(None), "abcde"),
    (slice(1, 3), "bc"),
    (slice(None, None, -1), "edcba"),
    ([2, 0], "ca"),
    ((2, 0), "ca"),
    (["d", "a", "a"], "daa"),
    ([True, False, True], "ac"),
    (np.array([4, 0]), "ea"),
    (np.array([True, False, True, False, False]), "ac"),
    ([], ""),
    (range(2), "ab"),
]
READ = {
    "id": dict(zip(IDS, IDS, strict=True)),
    "text": dict(zip(IDS, TEXTS, strict=True)),
    "content": dict(zip(IDS, ["ta", "tb", "tc", None, "te"], strict=True)),
    "blob": dict.fromkeys(IDS, b""),
    "weight": dict.fromkeys(IDS, 0.0),
    "uri": dict.fromkeys(IDS, ""),
    "tags__price": dict(zip(IDS, PRICES, strict=True)),
    "tags__deep__list__0": dict(zip(IDS, PRICES, strict=True)),
    "tags__nothing": dict.fromkeys(IDS),
    "tags__nothing__deeper": dict.fromkeys(IDS),
    "scores__cosine__value": dict.fromkeys(IDS),
    "embedding__0": dict(zip(IDS, VECTORS[:, 0], strict=True)),
    "chunks__0__id": {"a": "c0", "b": None, "c": "c2", "d": None, "e": None},
    ("tags", "deep", "list", 1): dict(zip(IDS, [-1, -2, -3, -4, -5], strict=True)),
}


@pytest.mark.parametrize(("key", "wanted"), SELECTORS, ids=shown)
@pytest.mark.parametrize("name", READ, ids=str)
def test_one_attribute_of_many_documents(da, key, wanted, name):
    found = da[key, [name]]

    assert [READ[name][one] for one in wanted] == found
    if isinstance(name, str):
        assert found == da[key, name]


def test_tuple_paths_stand_in_a_list(da):
    da[0].tags["a__b"] = 7

    assert [7, None, None, None, None] == da[:, [("tags", "a__b")]]
    assert [[7], ["a"]] == da[[0], [("tags", "a__b"), "id"]]


@pytest.mark.parametrize(("key", "wanted"), SELECTORS, ids=shown)
def test_embeddings_come_stacked(da, key, wanted):
    found = da[key, "embedding"]

    if not wanted:
        assert found is None
        return
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(VECTORS[["abcde".index(one) for one in wanted]], found)


def test_tensors_come_stacked(da):
    da.tensors = IMAGES

    np.testing.assert_array_equal(IMAGES, da[:, "tensor"])
    np.testing.assert_array_equal(IMAGES[[3, 0]], da[[3, 0], "tensor"])


def test_columns_come_in_the_order_asked_for(da):
    da.tensors = IMAGES
    for names in (
        ["embedding", "tensor", "id"],
        ["id", "embedding", "tensor"],
        ("tensor", "id", "embedding"),
    ):
        columns = dict(zip(names, da[:, names], strict=True))

        np.testing.assert_array_equal(VECTORS, columns["embedding"])
        np.testing.assert_array_equal(IMAGES, columns["tensor"])
        assert IDS == columns["id"]


def test_several_attributes_come_as_columns(da):
    assert [IDS, TEXTS] == da[:, ["id", "text"]]
    assert [["a", "b"], [1, 2]] == da[:2, ["id", "tags__price"]]
    assert IDS == da[:, ["id"]]
    assert [[], []] == da[[], ["id", "text"]]


def test_attributes_along_paths(da):
    assert ["x0", "x1", "x2"] == da["@c", "text"]
    assert [["c0", "c2"], ["x0", "x2"]] == da["@c[0]", ["id", "text"]]
    assert ["x0", "x1", "ta", "tb", "x2", "y0", "tc", "", "te"] == da[..., "text"]


def test_lists_in_tags_are_those_of_the_documents(da):
    da[:, "tags__deep__list"][0].append(9)
    da[1:3, "tags__deep"][0]["new"] = 1
    da[:, "tags"][4]["more"] = 2

    assert [1, -1, 9] == da[0].tags["deep"]["list"]
    assert 1 == da[1].tags["deep"]["new"]
    assert 2 == da[4].tags["more"]


@pytest.mark.parametrize("key", [0, "a", slice(None), [0, 1], [True], "@c", ..., []], ids=shown)
@pytest.mark.parametrize(
    "names", ["txt", "no__such", ["text", "txt"], "clear", "_id", "_content", "__class__"], ids=shown
)
def test_an_unknown_attribute_is_an_error_for_all_three(da, key, names):
    with pytest.raises(UnknownField) as caught:
        da[key, names]
    assert isinstance(caught.value, AttributeError)
    with pytest.raises(AttributeError):
        da[key, names] = "x"
    with pytest.raises(AttributeError):
        del da[key, names]
    unchanged(da)


def test_an_unknown_attribute_names_the_closest(da):
    with pytest.raises(AttributeError, match=r"'txt'.*'text'"):
        da[:, "txt"]


# --- two strings --------------------------------------------------------------------------------------------


def test_a_pair_is_two_documents_when_the_second_is_an_id(da):
    assert ["a", "b"] == ids(da["a", "b"])
    assert "ta" == da["a", "text"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_that_is_a_field_too(kind):
    """After an id it is a document; after a position, or after anything else, it is the field."""
    da = make(kind)
    da.append(Document(id="text", weight=3))

    assert ["a", "text"] == ids(da["a", "text"])
    assert "ta" == da[0, "text"] == da[np.int64(0), "text"]
    assert [*TEXTS, ""] == da[:, "text"]
    assert ["ta"] == da[[0], "text"]
    assert ["ta"] == da["a", ["text"]]
    assert "text" == da["text"].id


@pytest.mark.parametrize("kind", KINDS)
def test_a_position_and_an_id_that_is_no_field(kind):
    da = make(kind)

    assert ["a", "b"] == ids(da[0, "b"])


# --- writing documents --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [1, -4, "b", np.int64(1)])
def test_a_document_is_replaced(da, key):
    doc = Document(id="new", text="x")

    da[key] = doc

    assert ["a", "new", "c", "d", "e"] == ids(da)
    assert da["new"] is da[1] is doc
    assert "b" not in da
    assert all(da[one.id] is one for one in da)


def test_a_document_is_replaced_by_one_of_the_same_id(da):
    assert "tb" == da["b"].text  # the positions of ids are known now
    doc = Document(id="b", text="new")

    da[1] = doc

    assert da["b"] is doc
    assert IDS == ids(da)


@pytest.mark.parametrize(
    "value", [3, "x", None, [Document()], {"id": "x"}, DocumentArray.empty(1)], ids=shown
)
@pytest.mark.parametrize("key", [1, "b"])
def test_only_a_document_can_stand_in_for_one(da, key, value):
    with pytest.raises(FieldTypeError) as caught:
        da[key] = value
    assert isinstance(caught.value, TypeError)
    unchanged(da)


@pytest.mark.parametrize("window", SLICES, ids=str)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 7])
def test_slice_assignment_is_as_of_a_list(da, window, count):
    model, docs = IDS.copy(), [Document(id=f"n{i}") for i in range(count)]
    assert "ta" == da["a"].text
    try:
        model[window] = [doc.id for doc in docs]
    except ValueError:
        with pytest.raises(LengthError):
            da[window] = docs
        unchanged(da)
        return

    da[window] = docs

    assert model == ids(da)
    assert all(da[key].id == key for key in model)


def test_slice_assignment_takes_what_can_be_iterated(da):
    da[1:] = (Document(id=f"n{i}") for i in range(2))
    assert ["a", "n0", "n1"] == ids(da)

    da[:2] = DocumentArray([Document(id="x")])
    assert ["x", "n1"] == ids(da)

    da[:1] = Document(id="y")
    assert ["y", "n1"] == ids(da)

    da[1:1] = da
    assert ["y", "y", "n1", "n1"] == ids(da)


@pytest.mark.parametrize("value", [3, None, "ab", [3], [Document(), 3], {"a": Document()}], ids=shown)
def test_slice_assignment_of_no_documents(da, value):
    with pytest.raises(TypeError, match=r"iterable|Documents"):
        da[1:3] = value
    unchanged(da)


MANY = [
    ([1, 3], [1, 3]),
    ((1, 3), [1, 3]),
    ([-1, 0], [4, 0]),
    (["d", "a"], [3, 0]),
    (("d", "a"), [3, 0]),
    (["d", 0], [3, 0]),
    ([False, True, False, True], [1, 3]),
    ((True, False, True), [0, 2]),
    (np.array([1, 3]), [1, 3]),
    (np.array([True, False, True, False, False]), [0, 2]),
    ([], []),
    ([True, False, True, True, True], [0, 2, 3, 4]),
]


@pytest.mark.parametrize(("key", "places"), MANY, ids=shown)
def test_documents_are_replaced_one_by_one(da, key, places):
    assert "ta" == da["a"].text
    docs = [Document(id=f"n{i}") for i in range(len(places))]
    model = IDS.copy()
    for at, doc in zip(places, docs, strict=True):
        model[at] = doc.id

    da[key] = docs

    assert model == ids(da)
    assert all(da[one] is doc for one, doc in zip(places, docs, strict=True))
    assert all(da[key].id == key for key in model)


@pytest.mark.parametrize(("key", "places"), MANY, ids=shown)
@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_documents_is_an_error(da, key, places, more):
    count = max(len(places) + more, 0) if places else 2
    with pytest.raises(LengthError, match=str(count)) as caught:
        da[key] = [Document() for _ in range(count)]
    assert isinstance(caught.value, ValueError)
    unchanged(da)


@pytest.mark.parametrize("value", [3, "ab", [Document(), 3], [None, None]], ids=shown)
def test_lists_take_documents_only(da, value):
    with pytest.raises(FieldTypeError):
        da[[0, 1]] = value
    unchanged(da)


def test_everything_is_overwritten_in_flat_order(da):
    da[...] = [Document(id=f"n{i}", text=f"t{i}") for i in range(9)]

    assert ["n2", "n3", "n6", "n7", "n8"] == ids(da)
    assert ["t2", "t3", "t6", "t7", "t8"] == da.texts
    assert da["n6"] is da[2]


def test_everything_is_overwritten_with_itself_reversed():
    da = DocumentArray([Document(id=i, text=f"t{i}", tags={"k": i}) for i in "abc"])

    da[...] = list(reversed(da[...]))

    assert ["c", "b", "a"] == ids(da)
    assert (["tc", "tb", "ta"], ["c", "b", "a"]) == (da.texts, da[:, "tags__k"])


@pytest.mark.parametrize("count", [0, 8, 10])
def test_everything_wants_as_many_as_there_are(da, count):
    with pytest.raises(LengthError):
        da[...] = [Document() for _ in range(count)]
    unchanged(da)


def test_documents_are_set_along_a_path(da):
    fresh = [Document(id=f"c{i}", text=f"new{i}", embedding=np.ones(2), tags={"x": i}) for i in range(3)]

    da["@c"] = fresh

    assert ["new0", "new1", "new2"] == da["@c", "text"]
    assert "new1" == da[0].chunks[1].text == da[0].chunks["c1"].text
    assert [0, 1, 2] == da["@c", "tags__x"]
    assert ["a", "a", "c"] == [chunk.parent_id for chunk in da["@c"]]
    assert [1, 1, 1] == [chunk.granularity for chunk in da["@c"]]


def test_documents_set_along_a_path_bring_what_is_nested_in_them(da):
    da["@c[1]"] = [Document(id="c1", chunks=[Document(id="deep")])]

    assert ["deep"] == ids(da["@cc"])
    assert ("c1", 2) == (da["@cc"][0].parent_id, da["@cc"][0].granularity)


@pytest.mark.parametrize(
    "docs",
    [
        [Document(id="c0"), Document(id="c1"), Document(id="zzz")],
        [Document(id="c1"), Document(id="c0"), Document(id="c2")],
        [Document(id="c0"), Document(id="c1")],
        [],
    ],
    ids=["other id", "other order", "too few", "none"],
)
def test_along_a_path_the_ids_stay(da, docs):
    with pytest.raises(BadValue) as caught:
        da["@c"] = docs
    assert isinstance(caught.value, ValueError)
    unchanged(da)


def test_along_a_path_come_documents(da):
    with pytest.raises(FieldTypeError):
        da["@c"] = ["x", "y", "z"]
    with pytest.raises(BadPath):
        da["@zz"] = []
    unchanged(da)


# --- writing attributes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [1, "b", -4, np.int64(1)])
def test_one_attribute_of_one_document_is_set(da, key):
    da[key, "text"] = "new"
    da[key, "tags__price"] = 9
    da[key, "tags__deep__list__1"] = 8
    da[key, "scores__cosine__value"] = 7
    da[key, "embedding"] = np.array([5.0, 6.0])

    doc = da[1]
    assert ("new", 9, [2, 8]) == (doc.text, doc.tags["price"], doc.tags["deep"]["list"])
    assert (7.0, [5, 6]) == (doc.scores["cosine"].value, doc.embedding.tolist())
    assert [5, 6] == da.embeddings[1].tolist()


@pytest.mark.parametrize("key", [1, "b"])
def test_several_attributes_of_one_document_are_set(da, key):
    da[key, ["text", "tags__price", "weight"]] = ["new", 9, 1.5]

    assert ["new", 9, 1.5] == da[1, ["text", "tags__price", "weight"]]
    da[key, ["text"]] = ["newer"]
    assert "newer" == da[1].text


@pytest.mark.parametrize(("key", "wanted"), SELECTORS, ids=shown)
@pytest.mark.parametrize(
    "name", ["text", "uri", "weight", "tags__price", "tags__new", "tags__deep__list__0", "content"]
)
def test_a_list_is_dealt_out(da, key, wanted, name):
    values = [f"v{i}" if name in ("text", "uri", "content") else i for i, _ in enumerate(wanted)]

    da[key, name] = values

    last = dict(zip(wanted, values, strict=True))  # where a document stands twice, the later value stays
    assert [last[one] for one in wanted] == da[key, name]
    for at, one in enumerate(IDS):
        if one not in wanted:
            assert make("objects")[at] == da[at]


@pytest.mark.parametrize(("key", "wanted"), SELECTORS, ids=shown)
def test_anything_else_goes_to_each(da, key, wanted):
    da[key, "text"] = "same"
    da[key, "tags__price"] = 7
    da[key, "tags__new"] = {"x": 1}

    assert (["same"] * len(wanted), [7] * len(wanted)) == (da[key, "text"], da[key, "tags__price"])
    assert [one in wanted for one in IDS] == [doc.text == "same" for doc in da]


def test_a_dict_that_goes_to_each_is_shared_by_none(da):
    da[:, "tags"] = {"x": [1]}
    da[0].tags["x"].append(2)

    assert [[1, 2], [1], [1], [1], [1]] == da[:, "tags__x"]


def test_a_tuple_is_dealt_out_too(da):
    da[:2, "text"] = ("x", "y")

    assert ["x", "y"] == da[:2, "text"]


def test_an_array_of_numbers_is_dealt_out(da):
    da[:, "weight"] = np.arange(5)
    da[:, "tags__price"] = np.arange(5) * 2.0
    da[:, "location"] = np.ones((5, 2))

    assert ([0, 1, 2, 3, 4], [0, 2, 4, 6, 8]) == (da[:, "weight"], da[:, "tags__price"])
    assert [[1.0, 1.0]] * 5 == da[:, "location"]
    assert {int, float} >= {type(weight) for weight in da[:, "weight"]}


@pytest.mark.parametrize(("key", "wanted"), SELECTORS, ids=shown)
@pytest.mark.parametrize("name", ["embedding", "tensor"])
def test_rows_of_an_array_are_dealt_out(da, key, wanted, name):
    values = 100 + np.arange(2.0 * len(wanted)).reshape(-1, 2)

    da[key, name] = values

    last = dict(zip(wanted, values.tolist(), strict=True))
    assert [last[one] for one in wanted] == [row.tolist() for row in (da[key, name] if wanted else [])]
    if name == "embedding":
        model = [last.get(one, row) for one, row in zip(IDS, VECTORS.tolist(), strict=True)]
        assert model == da.embeddings.tolist() == [doc.embedding.tolist() for doc in da]


@pytest.mark.parametrize("value", [None, [None] * 5])
def test_none_unsets_an_attribute_of_each(da, value):
    da[:, "embedding"] = value
    da[:, "text"] = value

    assert (None, [""] * 5) == (da.embeddings, da.texts)
    assert [None] * 5 == [doc.embedding for doc in da]


def test_columns_are_set_together(da):
    da[:, ["text", "tags__price"]] = [["v", "w", "x", "y", "z"], 7]
    assert [["v", "w", "x", "y", "z"], [7] * 5] == da[:, ["text", "tags__price"]]

    da[[0, 1], ["id", "embedding"]] = [["n0", "n1"], np.ones((2, 2))]
    assert ["n0", "n1", "c", "d", "e"] == ids(da) == da[:, "id"]
    assert [[1, 1], [1, 1], [4, 5], [6, 7], [8, 9]] == da.embeddings.tolist()


def test_ids_that_are_set_are_found(da):
    assert "tb" == da["b"].text
    da[1, "id"] = "new"
    assert da["new"] is da[1]
    assert "b" not in da

    da[:, "id"] = list("vwxyz")
    assert ["v", "w", "x", "y", "z"] == [da[key].id for key in "vwxyz"]
    assert "new" not in da


def test_attributes_are_set_along_paths(da):
    da["@c", "text"] = ["p", "q", "r"]
    da["@c", "tags__x"] = 1
    da["@m", ["uri", "weight"]] = [["u"], [2.0]]
    da[..., "modality"] = "all"

    assert (["p", "q", "r"], [1, 1, 1]) == (da["@c", "text"], da["@c", "tags__x"])
    assert "q" == da[0].chunks[1].text
    assert ("u", 2.0) == (da[2].matches[0].uri, da[2].matches[0].weight)
    assert ["all"] * 9 == da[..., "modality"]


def test_attributes_within_nested_documents_are_set(da):
    da[0, "chunks__1__text"] = "deep"
    da[[0, 2], "chunks__0__tags__x"] = [1, 2]

    assert ("deep", 1, 2) == (da[0].chunks[1].text, da[0].chunks[0].tags["x"], da[2].chunks[0].tags["x"])
    da[0, "chunks__0"] = Document(id="in place")
    assert ("in place", "a") == (da[0].chunks[0].id, da[0].chunks[0].parent_id)


def test_nested_documents_are_set_as_a_column(da):
    da[:2, "chunks"] = [[Document(id="p"), Document(id="q")], None]

    assert (["p", "q"], []) == (ids(da[0].chunks), ids(da[1].chunks))
    assert ["a", "a"] == [chunk.parent_id for chunk in da[0].chunks]


def test_a_number_as_key_is_written_where_it_is_read(da):
    da[0].tags = {1: "int", "2": "str"}

    da[0, "tags__1"] = "new"
    da[0, "tags__2"] = "new"

    assert {1: "new", "2": "new"} == da[0].tags


WRONG = [
    ((0, "text"), 3, FieldTypeError),
    (("a", "embedding"), "x", FieldTypeError),
    ((0, ["text", "weight"]), ["new", "x"], FieldTypeError),
    ((0, ["text", "weight"]), ["new"], LengthError),
    ((0, ["text", "uri"]), "xy", FieldTypeError),
    ((0, ["text", "uri"]), 3, FieldTypeError),
    ((0, "id"), 3, FieldTypeError),
    ((0, "id"), None, BadValue),
    ((slice(None), "id"), ["v", "w", "x", "y", None], BadValue),
    ((slice(None), "id"), [1, 2, 3, 4, 5], FieldTypeError),
    ((slice(None), "text"), ["v", "w", "x", "y", 5], FieldTypeError),
    ((slice(None), "text"), ["v", "w"], LengthError),
    ((slice(None), "text"), [], LengthError),
    ((slice(None), "text"), (text for text in "vwxyz"), FieldTypeError),
    ((slice(None), "weight"), np.arange(4), LengthError),
    ((slice(None), "weight"), [1, 2, 3, 4, "x"], FieldTypeError),
    ((slice(None), ["text", "weight"]), [["v", "w", "x", "y", "z"], [1, 2, 3, 4, "x"]], FieldTypeError),
    ((slice(None), ["embedding", "weight"]), [np.zeros((5, 2)), "x"], FieldTypeError),
    ((slice(None), ["weight", "embedding"]), [1.0, np.zeros((4, 2))], LengthError),
    ((slice(None), ["text", "weight"]), [["v", "w", "x", "y", "z"]], LengthError),
    ((slice(None), ["text", "weight"]), "xy", FieldTypeError),
    ((slice(None), "embedding"), np.zeros((4, 2)), LengthError),
    ((slice(None), "embedding"), np.zeros(()), LengthError),
    ((slice(None), "embedding"), np.array(["x"] * 5), FieldTypeError),
    ((slice(None), "tensor"), np.zeros((6, 2)), LengthError),
    ((slice(None), "embedding"), [[1.0], [2.0]], LengthError),
    ((slice(None), "embedding"), ["x"] * 5, FieldTypeError),
    ((slice(None), "embedding"), "x", FieldTypeError),
    (([0, 1], "tags"), [{"x": 1}, "x"], FieldTypeError),
    (([0, 1], "scores"), [{"x": 1}, {"x": "y"}], FieldTypeError),
    (([True, True], "chunks"), [[Document()], 3], FieldTypeError),
    (([True, True], "chunks"), [[Document()], [3]], FieldTypeError),
    (("@c", "text"), ["v", "w"], LengthError),
    (("@c", "text"), ["v", "w", 3], FieldTypeError),
    ((..., "weight"), "x", FieldTypeError),
    ((..., "weight"), [1.0] * 8, LengthError),
    ((0, "content_type"), "text", UnknownField),
    ((0, "content_hash"), 3, UnknownField),
    ((slice(None), "nbytes"), 3, UnknownField),
    ((slice(None), "non_empty_fields"), "x", UnknownField),
    ((0, "tags__missing__deeper"), 1, UnknownField),
    ((0, "tags__price__deeper"), 1, UnknownField),
    ((0, "tags__deep__list__9"), 1, OutOfRange),
    ((0, "tags__deep__list__x"), 1, UnknownField),
    ((0, "text__0"), "x", UnknownField),
    ((0, "embedding__9"), 1, OutOfRange),
    ((0, "embedding__0"), "x", BadValue),
    ((0, "embedding__0"), [1, 2], BadValue),
    ((0, "chunks__9__text"), "x", OutOfRange),
    ((0, "chunks__0__text"), 3, FieldTypeError),
    ((0, "chunks__0__txt"), "x", UnknownField),
    ((0, "chunks__0"), 3, FieldTypeError),
    ((0, "scores__cosine__value"), "x", FieldTypeError),
    ((0, "scores__cosine__valu"), 1, UnknownField),
    ((0, "scores__cosine"), "x", FieldTypeError),
    ((slice(None), "tags__deep__list__1"), [1, 2, 3, 4, 5, 6], LengthError),
    ((slice(None), ["tags__price", "tags__missing__x"]), [7, 8], UnknownField),
]


@pytest.mark.parametrize(("key", "value", "error"), WRONG, ids=shown)
def test_after_a_value_that_does_not_fit_all_is_as_it_was(da, key, value, error):
    with pytest.raises(error) as caught:
        da[key] = value
    assert isinstance(caught.value, DocArrayError)
    unchanged(da)


def test_embeddings_of_several_shapes_are_refused_when_they_are_read(da):
    da[0, "embedding"] = np.zeros(3)

    with pytest.raises(ShapeError, match="row 1"):
        da.embeddings  # noqa: B018


def test_the_message_names_the_document_and_the_field(da):
    with pytest.raises(TypeError, match=r"'d'.*'weight'|'weight'.*'d'"):
        da[:, "weight"] = [1, 2, 3, "x", 5]


# --- deleting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [0, 2, -1, "c", np.int64(2)])
def test_one_document_is_deleted(da, key):
    model = IDS.copy()
    del model["abcde".index(key) if isinstance(key, str) else int(key)]
    assert "ta" == da["a"].text

    del da[key]

    assert model == ids(da) == da[:, "id"]
    assert model == [da[one].id for one in model]
    assert all(one in model or one not in da for one in IDS)
    assert len(model) == len(da.embeddings)


@pytest.mark.parametrize("window", SLICES, ids=str)
def test_a_slice_is_deleted_as_of_a_list(da, window):
    model = IDS.copy()
    del model[window]
    assert "ta" == da["a"].text

    del da[window]

    assert model == ids(da)
    assert model == [da[one].id for one in model]


@pytest.mark.parametrize(
    ("key", "left"),
    [
        ([0, 2], "bde"),
        ([-1, -2], "abc"),
        ([0, 0, -5], "bcde"),
        ([3, -1, 0], "bc"),
        (["e", "a"], "bcd"),
        (["a", "a"], "bcde"),
        (["a", 1], "cde"),
        ((0, 2), "bde"),
        (("a", "b"), "cde"),
        ((0, 1, 2), "de"),
        ([True, False, True], "bde"),
        ((True, False), "bcde"),
        ([True] * 5, ""),
        (np.array([-1, -2]), "abc"),
        (np.array([1]), "acde"),
        (np.array([True, False, True, False, False]), "bde"),
        ([], "abcde"),
        ((), "abcde"),
        (np.array([], dtype=int), "abcde"),
        (range(2), "cde"),
    ],
    ids=shown,
)
def test_many_documents_are_deleted_once_each(da, key, left):
    assert "ta" == da["a"].text

    del da[key]

    assert list(left) == ids(da) == da[:, "id"]
    assert list(left) == [da[one].id for one in left]
    assert all((one in left) is (one in da) for one in IDS)


def test_everything_is_deleted(da):
    del da[...]

    assert (0, []) == (len(da), ids(da))
    da.append(Document(id="n"))
    assert ["n"] == ids(da)


@pytest.mark.parametrize(
    ("path", "chunks", "left"),
    [
        ("@c", [[], []], "abcde"),
        ("@c[0]", [["c1"], []], "abcde"),
        ("@c[-1]", [["c0"], []], "abcde"),
        ("@c[1:]", [["c0"], ["c2"]], "abcde"),
        ("@r[:1]c", [[], ["c2"]], "abcde"),
        ("@c[0],c[0]", [["c1"], []], "abcde"),
        ("@c[0],c[1]", [[], []], "abcde"),
        ("@cr[1:]", [["c0"], []], "abcde"),
        ("@cc", [["c0", "c1"], ["c2"]], "abcde"),
        ("@r[1]", [["c0", "c1"], ["c2"]], "acde"),
        ("@r[3:],m", [["c0", "c1"], ["c2"]], "abc"),
    ],
)
def test_documents_are_deleted_along_paths(da, path, chunks, left):
    del da[path]

    assert list(left) == ids(da)
    assert chunks == [ids(da["a"].chunks), ids(da["c"].chunks)]
    assert (["m0"] if "m" not in path else []) == ids(da["@m"])


def test_the_root_is_deleted_along_its_path(da):
    del da["@r"]

    assert [] == ids(da)


def test_a_document_twice_in_an_array_is_deleted_where_it_was_said():
    doc = Document(id="x")
    da = DocumentArray([Document(chunks=[doc, doc])])

    del da["@c[0]"]

    assert ["x"] == ids(da[0].chunks)


@pytest.mark.parametrize("key", [1, "b", [1], slice(1, 2), [False, True]], ids=shown)
def test_an_attribute_is_unset(da, key):
    da[1].scores = {"cosine": 3}

    del da[key, "text"]
    del da[key, ["tags__price", "tags__deep__list__0", "tags__nothing"]]
    del da[key, "embedding"]
    del da[key, "scores__cosine__value"]

    assert ("", {"deep": {"list": [-2]}}, None) == (da[1].text, da[1].tags, da[1].embedding)
    assert 0.0 == da[1].scores["cosine"].value
    assert ["ta", "", "tc", "", "te"] == da.texts
    assert IDS == ids(da)


def test_an_attribute_of_all_is_unset(da):
    del da[:, "text"]
    del da["@c", "text"]
    del da[..., ["embedding", "tags"]]

    assert [""] * 5 + ["y0"] + [""] * 3 == da[..., "text"]
    assert (None, [{}] * 9) == (da.embeddings, da[..., "tags"])


def test_what_is_not_there_needs_no_unsetting(da):
    del da[:, "blob"]
    del da[0, "tags__no__such__path"]
    del da[1, "chunks__0__text"]
    del da[:, "scores__x__value"]

    unchanged(da)


def test_a_nested_document_is_deleted_by_its_place(da):
    del da[0, "chunks__0"]

    assert ["c1"] == ids(da[0].chunks)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ((0, "id"), BadValue),
        (("a", ["text", "id"]), BadValue),
        ((slice(None), "id"), BadValue),
        ((..., ["id"]), BadValue),
        ((0, [("id",)]), BadValue),
        ((0, "chunks__0__id"), BadValue),
        ((0, "content_type"), UnknownField),
        ((0, ["text", "content_hash"]), UnknownField),
        ((0, "embedding__0"), BadValue),
        ((0, "tags__deep__list__9"), OutOfRange),
        ((0, ["tags__price", "chunks__0__txt"]), UnknownField),
        (("z", "text"), MissingDocument),
        ((9, "text"), OutOfRange),
        (("@c", "id"), BadValue),
    ],
    ids=shown,
)
def test_after_what_cannot_be_deleted_all_is_as_it_was(da, key, error):
    with pytest.raises(error):
        del da[key]
    unchanged(da)


@pytest.mark.parametrize("path", ["@x", "@", "@c[", "@.image"])
def test_a_path_that_cannot_be_read(da, path):
    with pytest.raises(BadPath):
        da[path]
    with pytest.raises(ValueError):
        da[path] = []
    with pytest.raises(ValueError):
        del da[path]
    unchanged(da)


def test_an_array_of_one_behaves_as_any(da):
    one = da[:1]

    assert ["a"] == ids(one[np.array([0])]) == ids(one[np.array([True])]) == ids(one[[0]])
    one[np.array([0])] = [Document(id="n")]
    assert (["n"], IDS) == (ids(one), ids(da))
    del one[np.array([0])]
    assert [] == ids(one)
