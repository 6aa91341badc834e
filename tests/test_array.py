from __future__ import annotations

import copy
import pickle
import random
import re
import subprocess
import sys
from collections.abc import MutableSequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from docarray import Document, DocumentArray
from docarray.errors import (
    BadSelector,
    BadValue,
    DocArrayError,
    FieldTypeError,
    LengthError,
    MissingDocument,
    MissingEmbedding,
    NotOnInstance,
    OutOfRange,
    ShapeError,
    UnknownField,
    UnknownName,
)
from docarray.porting import on_class

sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")

KINDS = ["objects", "columns", "touched"]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="pip install torch==2.13.0")


def make(kind, texts=("ta", "tb", "tc"), **columns):
    """The same array made of documents, of columns, and of columns of which one row was touched."""
    count = len(texts)
    columns = {"id": list("abcdefgh"[:count]), "text": list(texts), **columns}
    if kind == "objects":
        return DocumentArray(
            Document({name: values[at] for name, values in columns.items()}) for at in range(count)
        )
    da = DocumentArray.from_columns(**columns)
    if kind == "touched":
        assert da[count // 2].text == texts[count // 2]
    return da


@pytest.fixture(params=KINDS)
def da(request):
    return make(request.param)


def shown(value):
    """The value in the name of a test, which must be the same in every process."""
    return re.sub(r"\bat (0x)?[0-9a-f]{8,}", "", repr(value))[:60]


def ids(docs):
    return [doc.id for doc in docs]


def unchanged(da):
    assert make("objects") == da
    assert list("abc") == ids(da) == da[:, "id"]


# --- construction -------------------------------------------------------------------------------------------


def test_an_empty_array():
    for da in (DocumentArray(), DocumentArray(None), DocumentArray([]), DocumentArray(iter(()))):
        assert (0, False, []) == (len(da), bool(da), list(da))


def test_of_a_document():
    doc = Document()

    assert [doc] == list(DocumentArray(doc))
    assert DocumentArray(doc)[0] is doc


@pytest.mark.parametrize("kind", [list, tuple, iter, set, lambda docs: (doc for doc in docs)])
def test_of_whatever_can_be_iterated(kind):
    docs = [Document(id="a"), Document(id="b")]

    assert {"a", "b"} == {*ids(DocumentArray(kind(docs)))}


def test_of_another_array_is_a_second_view(da):
    other = DocumentArray(da)

    other.append(Document(id="x"))
    del da[0]
    da[0].text = "new"

    assert ["b", "c", "x"] == ids(da) == ids(other)
    assert ("new", True) == (other[0].text, other[0] is da[0])


def test_a_copy_is_deep_with_the_same_ids(da):
    da[0].tags["x"] = [1]
    other = DocumentArray(da, copy=True)

    assert da == other
    other[0].tags["x"].append(2)
    other.append(Document())
    assert ([1], 3) == (da[0].tags["x"], len(da))
    assert [doc is not old for doc, old in zip(other, da, strict=False)] == [True] * 3


def test_a_list_of_documents_is_shared_and_the_list_is_not():
    docs = [Document(), Document()]
    da = DocumentArray(docs)

    docs.append(Document())

    assert (2, True) == (len(da), da[0] is docs[0])


@pytest.mark.parametrize(
    "obj", [3, 1.5, True, "abc", b"ab", {"text": "a"}, object(), {3}, np.zeros((2, 2))], ids=shown
)
def test_what_holds_no_documents_is_refused(obj):
    with pytest.raises(FieldTypeError) as caught:
        DocumentArray(obj)
    assert isinstance(caught.value, TypeError)


def test_the_element_that_is_no_document_is_named():
    with pytest.raises(TypeError, match=r"element 1 is a int: 2"):
        DocumentArray([Document(), 2, 3])


def test_storage_memory_takes_any_config():
    da = DocumentArray([Document()], storage="memory", config={"n_dim": 3}, subindex_configs={"@c": None})

    assert 1 == len(da)


def test_settings_without_a_storage_are_refused():
    """They would be those of a storage that was forgotten, and the documents would be gone with the program."""
    with pytest.raises(KeyError, match="storage= missing"):
        DocumentArray(config={"connection": "x.db"})


@pytest.mark.parametrize("name", ["sqllite", "memry", "", 3])
def test_an_unknown_storage(name):
    with pytest.raises(UnknownName, match=r"memory") as caught:
        DocumentArray(storage=name)
    assert isinstance(caught.value, ValueError)


def test_an_unknown_storage_shows_the_near_miss():
    with pytest.raises(ValueError, match=r"'memry'.*Did you mean 'memory'"):
        DocumentArray(storage="memry")


def test_empty_makes_fresh_documents():
    da = DocumentArray.empty(3)

    assert (3, 3) == (len(da), len({*ids(da)}))
    assert 0 == len(DocumentArray.empty())
    assert 2 == len(DocumentArray.empty(2, storage="memory"))


ON_CLASS = sorted(
    value.__wrapped__.__name__
    for kind in DocumentArray.__mro__
    for value in vars(kind).values()
    if isinstance(value, on_class)
)


@pytest.mark.parametrize("name", ON_CLASS)
def test_constructors_are_of_the_class(da, name):
    with pytest.raises(NotOnInstance, match=rf"DocumentArray\.{name}") as caught:
        getattr(da, name)
    assert isinstance(caught.value, AttributeError)
    unchanged(da)


def test_there_are_constructors_of_the_class():
    assert {"empty", "from_columns", "from_bytes", "load"} <= {*ON_CLASS}


# --- columns ------------------------------------------------------------------------------------------------


def test_from_columns_gives_documents_when_they_are_touched():
    da = DocumentArray.from_columns(
        id=["a", "b"], text=["x", None], tags=[{"k": 1}, None], embedding=np.eye(2), weight=[1, None],
        uri=[None, "b.png"], location=[[1, 2], None], scores=[{"s": 0.5}, None], granularity=[2, 0],
        modality=["m", None], offset=np.array([0.5, 1.5]), evaluations=[None, {"e": 1}],
    )  # fmt: skip

    a, b = da
    assert ("a", "x", {"k": 1}, 1, [1, 2], 2, "m") == (
        a.id, a.text, a.tags, a.weight, a.location, a.granularity, a.modality,
    )  # fmt: skip
    assert (0.5, 0.5, [1, 0]) == (a.scores["s"].value, a.offset, a.embedding.tolist())
    assert ("b", "", {}, "b.png", "image/png") == (b.id, b.text, b.tags, b.uri, b.mime_type)
    assert 1.0 == b.evaluations["e"].value
    assert da[0] is a


def test_from_columns_equals_documents_with_the_same_fields():
    columns = {
        "id": ["a", "b", "c"], "text": ["x", None, ""], "mime_type": ["jpg", None, "text/plain"],
        "uri": ["a.png", "b.mp3", "https://example.org"], "tags": [{"k": [1]}, {}, None], "weight": [0.0, 2.5, None],
        "chunks": [[Document(id="c")], None, []], "matches": [Document(id="m"), None, None],
        "_metadata": [{"x": 1}, None, {}],
    }  # fmt: skip
    rows = [{name: copy.deepcopy(values[at]) for name, values in columns.items()} for at in range(3)]

    assert [Document(row) for row in rows] == list(DocumentArray.from_columns(**columns))


def test_from_columns_uses_a_matrix_without_copy():
    matrix, images = np.eye(3), np.zeros((3, 2, 2))

    da = DocumentArray.from_columns(embedding=matrix, tensor=images)

    assert np.shares_memory(matrix, da.embeddings)
    assert np.shares_memory(images, da.tensors)
    assert np.shares_memory(images, da[0].tensor)


@pytest.mark.parametrize("first", ["text", "blob", "tensor"])
@pytest.mark.parametrize("touch", [False, True])
def test_from_columns_keeps_one_content_a_row(first, touch):
    columns = {"text": ["a", "b", None], "blob": [b"a", None, None], "tensor": [[1], None, [3]]}
    del columns[{"text": "tensor", "blob": "text", "tensor": "blob"}[first]]

    da = DocumentArray.from_columns(**columns)
    if touch:
        list(da)

    for at in range(3):
        wanted = Document({name: values[at] for name, values in columns.items()})
        assert (wanted.text, wanted.blob) == (da.texts[at], da.blobs[at])
        assert wanted.content == da.contents[at] == da[at].content


def test_from_columns_draws_ids_where_there_are_none():
    da = DocumentArray.from_columns(id=["a", None, None], text=["x", "y", "z"])

    assert ("a", 3) == (da[0].id, len({*ids(da)}))
    assert da[da[1].id] is da[1]


def test_from_columns_takes_what_can_be_iterated():
    assert ["a", "b"] == DocumentArray.from_columns(text=(text for text in "ab")).texts
    assert ["a", "b"] == DocumentArray.from_columns(text=np.array(["a", "b"])).texts
    found = DocumentArray.from_columns(id=np.array(["a", "b"]))
    assert (["a", "b"], {str}) == (ids(found), {type(doc.id) for doc in found})
    assert 0 == len(DocumentArray.from_columns())
    assert 0 == len(DocumentArray.from_columns(text=[]))
    assert 2 == len(DocumentArray.from_columns(text=None, id=["a", "b"]))


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"txt": ["a"]}, UnknownField),
        ({"content": ["a"]}, UnknownField),
        ({"text": ["a"], "uri": ["a", "b"]}, LengthError),
        ({"id": ["a"], "text": ["a", "b"]}, LengthError),
        ({"text": ["a"], "embedding": np.eye(2)}, LengthError),
        ({"id": ["a"], "chunks": [[], []]}, LengthError),
        ({"text": ["a"], "chunks": [[], []]}, LengthError),
        ({"text": "abc"}, FieldTypeError),
        ({"text": 3}, FieldTypeError),
        ({"text": b"abc"}, FieldTypeError),
        ({"text": ["a", 3]}, FieldTypeError),
        ({"id": ["a", 3]}, FieldTypeError),
        ({"id": "abc"}, FieldTypeError),
        ({"weight": ["a"]}, FieldTypeError),
        ({"tags": [{}, "a"]}, FieldTypeError),
        ({"tags": {"a": 1}}, FieldTypeError),
        ({"blob": ["a"]}, FieldTypeError),
        ({"embedding": [[1.0], "a"]}, FieldTypeError),
        ({"embedding": np.array(["a", "b"])}, FieldTypeError),
        ({"embedding": np.array(3.0)}, FieldTypeError),
        ({"embedding": 3}, FieldTypeError),
        ({"location": [3]}, FieldTypeError),
        ({"scores": [{"a": "x"}]}, FieldTypeError),
        ({"mime_type": [3]}, FieldTypeError),
        ({"chunks": [[3]]}, FieldTypeError),
        ({"chunks": [3]}, FieldTypeError),
        ({"chunks": 3}, FieldTypeError),
        ({"granularity": ["x"]}, FieldTypeError),
    ],
)
def test_columns_that_do_not_fit(columns, error):
    with pytest.raises(error) as caught:
        DocumentArray.from_columns(**columns)
    assert isinstance(caught.value, DocArrayError)


def test_refused_columns_leave_their_documents_alone():
    doc = Document(id="x")

    with pytest.raises(FieldTypeError):
        DocumentArray.from_columns(id=["a"], chunks=[[doc, 3]])

    assert ("", 0) == (doc.parent_id, doc.granularity)


# --- as a list ----------------------------------------------------------------------------------------------


def test_it_is_a_mutable_sequence(da):
    assert isinstance(da, MutableSequence)
    assert "<DocumentArray (length=3) at 0x" == repr(da)[:31]
    assert (3, True) == (len(da), bool(da))


def test_append_extend_insert(da):
    da.append(Document(id="d"))
    da.extend([Document(id="e")])
    da.extend(Document(id=i) for i in "fg")
    da.extend(DocumentArray([Document(id="h")]))
    da.extend(Document(id="i"))
    da.insert(0, Document(id="first"))
    da.insert(-1, Document(id="last but one"))
    da.insert(100, Document(id="last"))
    da.insert(np.int64(1), Document(id="second"))

    wanted = ["first", "second", *"abcdefgh", "last but one", "i", "last"]
    assert wanted == ids(da) == da[:, "id"]
    assert wanted == [da[key].id for key in wanted]


def test_extending_with_itself(da):
    da.extend(da)
    da += da

    assert list("abcabcabcabc") == ids(da)


@pytest.mark.parametrize("kind", KINDS)
def test_extending_an_empty_array_shares_the_documents(kind):
    da, other = DocumentArray(), make(kind)

    da.extend(other)
    da.append(Document(id="x"))
    da[0].text = "new"

    assert (["a", "b", "c", "x"], ["a", "b", "c"]) == (ids(da), ids(other))
    assert ("new", True) == (other[0].text, da[1] is other[1])


def test_pop(da):
    assert ["c", "a", "b"] == [da.pop().id, da.pop(0).id, da.pop("b").id]
    assert [] == ids(da)
    with pytest.raises(IndexError):
        da.pop()


@pytest.mark.parametrize(
    ("key", "error"),
    [(3, OutOfRange), (-4, OutOfRange), ("z", MissingDocument), ([0], BadSelector), ("@c", BadSelector),
     (slice(0, 1), BadSelector), (None, BadSelector), ((0, "text"), BadSelector), (True, BadSelector)],
    ids=shown,
)  # fmt: skip
def test_pop_takes_one(da, key, error):
    with pytest.raises(error):
        da.pop(key)
    unchanged(da)


def test_remove(da):
    da.remove(da[1])
    assert ["a", "c"] == ids(da)
    da.remove("a")
    assert ["c"] == ids(da)
    da.remove(Document(id="c"))
    assert [] == ids(da)


@pytest.mark.parametrize("value", ["z", Document(id="z"), 3, None])
def test_remove_and_index_of_what_is_not_there(da, value):
    for call in (da.remove, da.index):
        with pytest.raises(BadValue) as caught:
            call(value)
        assert isinstance(caught.value, ValueError)
    assert (0, False) == (da.count(value), value in da)
    unchanged(da)


def test_index_and_count(da):
    assert [0, 1, 2] == [da.index(doc) for doc in da]
    assert (1, 2, 2) == (da.index("b"), da.index("c", 1), da.index("c", -1, 3))
    assert (1, 1) == (da.count("a"), da.count(da[0]))
    with pytest.raises(ValueError):
        da.index("a", 1)
    with pytest.raises(ValueError):
        da.index("c", 0, 2)
    with pytest.raises(ValueError):
        da.index("c", 2, 1)


def test_index_and_remove_take_the_first_of_several(da):
    da.extend([da[0], Document(id="b"), da[0]])

    assert (0, 3, 5) == (da.index("a"), da.index("a", 1), da.index(da[0], 4))
    assert (1, 4) == (da.index("b", 0, 3), da.index("b", 2))
    assert (3, 2) == (da.count("a"), da.count("b"))
    with pytest.raises(ValueError):
        da.index("a", 1, 3)
    da.remove("a")
    assert ["b", "c", "a", "b", "a"] == ids(da)
    da.remove("b")
    assert ["c", "a", "b", "a"] == ids(da)


def test_in_looks_for_the_id(da):
    assert ("a" in da, da[1] in da, Document(id="c") in da) == (True, True, True)
    assert ("z" in da, Document() in da, 3 in da, None in da, b"a" in da) == (False,) * 5


def test_reverse_and_reversed(da):
    assert ["c", "b", "a"] == ids(reversed(da))
    da.reverse()
    assert ["c", "b", "a"] == ids(da)
    assert "a" == da["a"].id == da[2].id


def test_clear(da):
    da.clear()

    assert (0, [], "a" in da) == (len(da), ids(da), False)
    da.append(Document(id="x"))
    assert ["x"] == ids(da)


def test_copy_shares_documents(da):
    for other in (da.copy(), copy.copy(da)):
        assert (da, True) == (other, other[1] is da[1])
        other.append(Document())
        del other[0]
    unchanged(da)


def test_deep_copy_shares_nothing(da):
    da[0].tags["x"] = [1]
    other = copy.deepcopy(da)

    other[0].tags["x"].append(2)
    other[1].text = "new"

    assert ([1], "tb") == (da[0].tags["x"], da[1].text)


def test_sum_leaves_both_as_they_were(da):
    other = DocumentArray([Document(id="x")])

    both = da + other
    assert (["a", "b", "c", "x"], DocumentArray) == (ids(both), type(both))
    assert both[0] is da[0]
    assert both[3] is other[0]
    both.append(Document())
    unchanged(da)
    assert ["x"] == ids(other)


def test_sum_takes_what_can_be_iterated(da):
    more = [Document(id="x")]

    assert ["a", "b", "c", "x"] == ids(da + more)
    assert ["x", "a", "b", "c"] == ids(more + da)
    assert ["a", "b", "c", "x"] == ids(da + more[0])
    assert ["a", "b", "c", "x"] == ids(da + (doc for doc in more))


def test_adding_in_place_keeps_the_object(da):
    same = da

    da += [Document(id="x")]
    da += Document(id="y")

    assert same is da
    assert ["a", "b", "c", "x", "y"] == ids(same)


@pytest.mark.parametrize("value", [3, None, "ab", [3], [Document(), None], {"id": "x"}], ids=shown)
def test_only_documents_can_be_added(da, value):
    for add in (da.extend, da.__iadd__, da.__add__, da.append, lambda one: da.insert(0, one)):
        with pytest.raises(TypeError):
            add(value)
    with pytest.raises(TypeError):
        da.insert("a", Document())
    unchanged(da)


def test_equality_is_by_element(da):
    assert make("objects") == make("columns") == make("touched") == da
    assert da == da.copy() == copy.deepcopy(da)
    assert da != da[:2]
    assert da != da[::-1]
    assert da != list(da)
    assert da != DocumentArray()
    assert da != 3
    other = copy.deepcopy(da)
    other[1].weight = 3
    assert da != other


def test_an_array_has_no_hash(da):
    with pytest.raises(TypeError):
        hash(da)


def test_sort_by_paths():
    for kind in KINDS:
        da = make(kind, ("x", "y", "z", "w"), tags=[{"k": 2}, {"k": 1}, {}, {"k": 2, "l": 1}])

        da.sort("tags__k")
        assert ["b", "a", "d", "c"] == ids(da)
        da.sort("-tags__k")
        assert ["a", "d", "b", "c"] == ids(da)
        da.sort(["tags__k", "-text"])
        assert ["b", "a", "d", "c"] == ids(da)
        da.sort(key="text")
        assert ["d", "a", "b", "c"] == ids(da)
        da.sort("id", reverse=True)
        assert ["d", "c", "b", "a"] == ids(da) == da[:, "id"]
        assert "a" == da["a"].id


def test_sort_is_stable_both_ways():
    for kind in KINDS:
        da = make(kind, "xyzw", weight=[1.0, 2.0, 1.0, 2.0])

        da.sort("weight")
        assert ["a", "c", "b", "d"] == ids(da)
        da.sort("weight", reverse=True)
        assert ["b", "d", "a", "c"] == ids(da)
        da.sort(lambda doc: doc.weight, reverse=True)
        assert ["b", "d", "a", "c"] == ids(da)
        da.sort("-weight", reverse=True)
        assert ["a", "c", "b", "d"] == ids(da)


def test_what_has_no_value_is_sorted_to_the_end_both_ways():
    da = make("objects", "xyz", tags=[{}, {"k": 1}, {"k": 2}])

    da.sort("tags__k")
    assert ["b", "c", "a"] == ids(da)
    da.sort("tags__k", reverse=True)
    assert ["c", "b", "a"] == ids(da)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (None, BadValue),
        ("txt", UnknownField),
        (lambda doc: doc.nothing, UnknownField),
        (lambda doc: 1j, TypeError),
    ],
)
def test_a_sort_that_fails_changes_nothing(da, key, error):
    with pytest.raises(error):
        da.sort(key)
    unchanged(da)


@pytest.mark.parametrize("way", ["insert", "replace"])
def test_of_several_documents_with_one_id_the_last_is_found(way):
    da = DocumentArray([Document(id="x"), Document(id="a", text="last")])
    assert "last" == da["a"].text  # the positions of ids are known now

    if way == "insert":
        da.insert(0, Document(id="a", text="first"))
    else:
        da[0] = Document(id="a", text="first")

    assert "last" == da["a"].text


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_sees_what_it_changes_as_of_a_list(kind):
    da, model = make(kind, "tuvwxyz"), list("abcdefg")

    for doc in da:
        da.remove(doc)
    for key in model:
        model.remove(key)

    assert model == ids(da)


# --- columns of embeddings and tensors ----------------------------------------------------------------------


def dense(value):
    return value.toarray() if sparse.issparse(value) else np.asarray(value)


MATRIX = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize("name", ["embedding", "tensor"])
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i1", "i8", "u1", "?", "c16"])
def test_numpy_matrices_are_set_and_read(da, name, dtype):
    matrix = MATRIX.astype(dtype)

    setattr(da, f"{name}s", matrix)

    found = getattr(da, f"{name}s")
    assert (np.ndarray, matrix.dtype) == (type(found), found.dtype)
    np.testing.assert_array_equal(matrix, found)
    for row, doc in zip(matrix, da, strict=True):
        np.testing.assert_array_equal(row, getattr(doc, name))
        assert getattr(doc, name).dtype == matrix.dtype
    assert list("abc") == ids(da)


@pytest.mark.parametrize("name", ["embedding", "tensor"])
@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 1), (3, 2, 2), (3, 2, 2, 2)])
def test_arrays_of_any_shape_are_set_and_read(da, name, shape):
    array = np.arange(float(np.prod(shape))).reshape(shape)

    setattr(da, f"{name}s", array)

    np.testing.assert_array_equal(array, getattr(da, f"{name}s"))
    np.testing.assert_array_equal(array[1], getattr(da[1], name))


@pytest.mark.parametrize("name", ["embedding", "tensor"])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
@pytest.mark.parametrize("family", ["matrix", "array"])
def test_sparse_matrices_give_rows_of_the_same_format(da, name, kind, family):
    matrix = getattr(sparse, f"{kind}_{family}")(MATRIX)

    setattr(da, f"{name}s", matrix)

    for row, doc in zip(MATRIX, da, strict=True):
        cell = getattr(doc, name)
        assert ((1, 2), kind) == (cell.shape, cell.format)
        np.testing.assert_array_equal(row[None], cell.toarray())
    found = getattr(da, f"{name}s")
    assert kind == found.format
    np.testing.assert_array_equal(MATRIX, found.toarray())
    np.testing.assert_array_equal(MATRIX[:2], dense(getattr(da[:2], f"{name}s")))


@pytest.mark.parametrize("name", ["embedding", "tensor"])
def test_torch_tensors_stay_torch_tensors(da, name, torch):
    matrix = torch.tensor(MATRIX, dtype=torch.float32)

    setattr(da, f"{name}s", matrix)

    found = getattr(da, f"{name}s")
    assert (torch.Tensor, torch.float32) == (type(found), found.dtype)
    assert torch.equal(matrix, found)
    assert torch.equal(matrix[1], getattr(da[1], name))
    assert torch.equal(matrix[[2, 0]], getattr(da[[2, 0]], f"{name}s"))


@pytest.mark.parametrize("name", ["embedding", "tensor"])
def test_lists_stay_lists(da, name):
    setattr(da, f"{name}s", MATRIX.tolist())

    assert MATRIX.tolist() == getattr(da, f"{name}s")
    assert [2.0, 3.0] == getattr(da[1], name)


@pytest.mark.parametrize("name", ["embedding", "tensor"])
def test_a_list_or_tuple_of_arrays_is_stacked_when_read(da, name, torch):
    for values in (list(MATRIX), tuple(MATRIX), np.array([*MATRIX, None], dtype=object)[:3]):
        setattr(da, f"{name}s", values)
        np.testing.assert_array_equal(MATRIX, getattr(da, f"{name}s"))
    setattr(da, f"{name}s", [torch.tensor(row) for row in MATRIX])
    assert torch.equal(torch.tensor(MATRIX), getattr(da, f"{name}s"))


@pytest.mark.parametrize("name", ["embedding", "tensor"])
def test_none_clears_them_all(da, name):
    setattr(da, f"{name}s", MATRIX)

    setattr(da, f"{name}s", None)

    assert getattr(da, f"{name}s") is None
    assert [None] * 3 == [getattr(doc, name) for doc in da]


def test_an_array_without_embeddings_has_none(da):
    assert (None, None) == (da.embeddings, da.tensors)
    assert (None, None, [], [], []) == (
        DocumentArray().embeddings, DocumentArray().tensors, DocumentArray().texts, DocumentArray().blobs,
        DocumentArray().contents,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["embedding", "tensor"])
def test_missing_ones_are_named(da, name):
    setattr(da[0], name, np.ones(2))

    with pytest.raises(MissingEmbedding, match=rf"Document\[1, 2\]\.{name} is None") as caught:
        getattr(da, f"{name}s")
    assert isinstance(caught.value, ValueError)
    setattr(da, f"{name}s", MATRIX)
    setattr(da[0], name, None)
    with pytest.raises(ValueError, match=rf"Document\[0\]\.{name} is None.*'a'"):
        getattr(da, f"{name}s")


def test_shapes_that_differ_cannot_be_stacked(da):
    da.embeddings = [np.ones(2), np.ones(3), np.ones(2)]

    with pytest.raises(ShapeError, match=r"row 1 has shape \(3,\)"):
        da.embeddings  # noqa: B018


@pytest.mark.parametrize("name", ["embeddings", "tensors"])
@pytest.mark.parametrize(
    "value",
    [
        np.ones((2, 2)),
        np.ones((4, 2)),
        np.ones(()),
        [[1.0]],
        [],
        np.ones((0, 2)),
        sparse.csr_array(np.ones((2, 2))),
    ],
    ids=lambda value: (
        f"{type(value).__name__}{getattr(value, 'shape', len(value) if isinstance(value, list) else 0)}"
    ),
)
def test_another_number_of_rows_changes_nothing(da, name, value):
    with pytest.raises(LengthError) as caught:
        setattr(da, name, value)
    assert isinstance(caught.value, ValueError)
    unchanged(da)


@pytest.mark.parametrize("name", ["embeddings", "tensors"])
@pytest.mark.parametrize("value", [3, "abc", ["a", "b", "c"], [[1.0], [2.0], "c"], np.array(["a", "b", "c"]), object()],
                         ids=shown)  # fmt: skip
def test_what_is_no_array_changes_nothing(da, name, value):
    with pytest.raises(FieldTypeError):
        setattr(da, name, value)
    unchanged(da)


def test_a_matrix_that_is_set_is_kept_without_copy(da):
    matrix = MATRIX.copy()

    da.embeddings = matrix

    assert np.shares_memory(matrix, da.embeddings)
    assert np.shares_memory(matrix[1], da[1].embedding)


def test_embeddings_are_a_read_only_view(da):
    da.embeddings = MATRIX.copy()
    assert da.embeddings.flags.writeable is False
    with pytest.raises(ValueError):
        da.embeddings[0] = 5

    da[0].embedding = np.array([7.0, 8.0])
    assert da.embeddings.flags.writeable is False
    assert da[0].embedding.flags.writeable is True


def test_setting_one_embedding_leaves_the_matrix_that_was_given(da):
    matrix = MATRIX.copy()
    da.embeddings = matrix

    da[1].embedding = np.array([7.0, 8.0])

    assert [[0, 1], [7, 8], [4, 5]] == da.embeddings.tolist()
    np.testing.assert_array_equal(MATRIX, matrix)


CHANGES = {
    "set": lambda da: setattr(da[1], "embedding", np.array([9.0, 9.0])),
    "in place": lambda da: da[1].embedding.__setitem__(slice(None), 9.0),
    "by item": lambda da: da.__setitem__((1, "embedding"), np.array([9.0, 9.0])),
    "by path": lambda da: da.__setitem__(([1], "embedding__1"), 9.0),
    "another dtype": lambda da: setattr(da[1], "embedding", np.array([9, 9])),
    "another document": lambda da: da.__setitem__(1, Document(id="n", embedding=np.array([9.0, 9.0]))),
    "append": lambda da: da.append(Document(id="n", embedding=np.array([9.0, 9.0]))),
    "insert": lambda da: da.insert(0, Document(id="n", embedding=np.array([9.0, 9.0]))),
    "delete": lambda da: da.__delitem__(1),
    "reverse": lambda da: da.reverse(),
    "sort": lambda da: da.sort("-id"),
    "slice": lambda da: da.__setitem__(slice(0, 2), [Document(id="n", embedding=np.array([9.0, 9.0]))]),
    "through a part": lambda da: setattr(da[1:], "embeddings", np.full((len(da) - 1, 2), 9.0)),
    "through picked ones": lambda da: setattr(da[[2, 0]], "embeddings", np.full((2, 2), 9.0)),
    "in another array": lambda da: setattr(DocumentArray([da[1]]), "embeddings", np.full((1, 2), 9.0)),
    "copy_from": lambda da: da[1].copy_from(Document(id="b", embedding=np.array([9.0, 9.0]))),
    "pop a field": lambda da: [doc.pop("embedding") for doc in da],
    "second name": lambda da: setattr(Document(da[1]), "embedding", np.array([9.0, 9.0])),
    "a value of the array": lambda da: setattr(da[1], "embedding", da[2].embedding),
    "clear": lambda da: da.clear(),
}


@pytest.mark.parametrize("first", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_is_never_stale(kind, first):
    """Whatever changes an embedding, `embeddings` is what the documents say one by one."""
    for then in CHANGES:
        da = make(kind, embedding=list(MATRIX.copy()) if kind == "objects" else MATRIX.copy())
        for change in (first, then):
            assert (da.embeddings is None) is (not len(da) or da[0].embedding is None)
            gone = len(da) < 3 or da[0].embedding is None
            if gone and ("place" in change or "path" in change or "value" in change or len(da) < 3):
                continue

            CHANGES[change](da)

            wanted = [doc.embedding for doc in da]
            if all(row is None for row in wanted):
                assert da.embeddings is None, then
            elif all(row is not None for row in wanted):
                assert [row.tolist() for row in wanted] == da.embeddings.tolist(), then
            else:
                with pytest.raises(MissingEmbedding):
                    da.embeddings  # noqa: B018


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_can_be_swapped(kind):
    da = make(kind, embedding=list(MATRIX.copy()) if kind == "objects" else MATRIX.copy())
    assert 3 == len(da.embeddings)
    da[2].embedding = np.array([7.0, 7.0])
    assert 3 == len(da.embeddings)

    da[0].embedding, da[1].embedding = da[1].embedding, da[0].embedding

    assert [[2, 3], [0, 1], [7, 7]] == da.embeddings.tolist()


def test_an_embedding_that_somebody_holds_stays_as_it_is():
    da = DocumentArray([Document(embedding=np.zeros(2)), Document(embedding=np.ones(2))])
    assert 2 == len(da.embeddings)
    held = da[0].embedding

    da[0].embedding = np.array([5.0, 5.0])

    assert [[5, 5], [1, 1]] == da.embeddings.tolist()
    assert [0, 0] == held.tolist()


def test_a_document_and_its_second_name_in_one_array():
    doc = Document()
    da = DocumentArray([doc, Document(doc)])

    da.embeddings = MATRIX[:2]

    assert [da[0].embedding.tolist(), da[1].embedding.tolist()] == da.embeddings.tolist()


def test_a_document_twice_in_one_array_has_the_later_row():
    doc = Document()
    da = DocumentArray([doc, Document(), doc])

    da.embeddings = MATRIX

    assert [[4, 5], [2, 3], [4, 5]] == da.embeddings.tolist()
    assert [4, 5] == doc.embedding.tolist()


def test_a_document_in_two_arrays():
    one = DocumentArray([Document(embedding=np.full(2, i)) for i in range(3)])
    other = DocumentArray([one[2], one[0]])
    assert ([[0, 0], [1, 1], [2, 2]], [[2, 2], [0, 0]]) == (
        one.embeddings.tolist(),
        other.embeddings.tolist(),
    )

    one[2].embedding = np.full(2, 7)

    assert ([[0, 0], [1, 1], [7, 7]], [[7, 7], [0, 0]]) == (
        one.embeddings.tolist(),
        other.embeddings.tolist(),
    )
    other.embeddings = MATRIX[:2]
    assert [[2, 3], [1, 1], [0, 1]] == one.embeddings.tolist()


# --- columns of texts, blobs and contents -------------------------------------------------------------------


def test_texts(da):
    assert ["ta", "tb", "tc"] == da.texts

    da.texts = ["x", "y", "z"]
    assert ["x", "y", "z"] == da.texts == [doc.text for doc in da]
    da.texts = (text for text in "uvw")
    assert ["u", "v", "w"] == da.texts
    da[1].text = "new"
    assert ["u", "new", "w"] == da.texts


def test_texts_take_the_place_of_other_contents(da):
    da[0].blob = b"x"
    da[1].tensor = np.ones(2)

    da.texts = ["x", "y", "z"]

    assert (["x", "y", "z"], [b""] * 3, None) == (da.texts, da.blobs, da.tensors)


def test_a_text_of_none_leaves_other_contents(da):
    da[0].blob = b"x"

    da.texts = [None, None, "z"]

    assert ([b"x", b"", b""], ["", "", "z"]) == (da.blobs, da.texts)
    da.texts = None
    assert ([b"x", b"", b""], ["", "", ""]) == (da.blobs, da.texts)


def test_blobs(da):
    assert [b"", b"", b""] == da.blobs

    da.blobs = [b"x", bytearray(b"y"), memoryview(b"z")]

    assert ([b"x", b"y", b"z"], ["", "", ""]) == (da.blobs, da.texts)
    da.blobs = [None, b"y", None]
    assert [b"", b"y", b""] == da.blobs
    da.blobs = None
    assert [b"", b"", b""] == da.blobs


def test_contents_of_one_type(da):
    assert ["ta", "tb", "tc"] == da.contents
    da.contents = ["x", "y", "z"]
    assert ["x", "y", "z"] == da.texts == da.contents
    da.contents = [b"x", b"y", b"z"]
    assert [b"x", b"y", b"z"] == da.blobs == da.contents
    da.contents = MATRIX
    np.testing.assert_array_equal(MATRIX, da.contents)
    np.testing.assert_array_equal(MATRIX, da.tensors)
    da.contents = None
    assert [None] * 3 == da.contents


def test_contents_of_several_types(da):
    da.contents = ["x", b"y", np.ones(2)]

    text, blob, tensor = da.contents
    assert ("x", b"y", [1, 1]) == (text, blob, tensor.tolist())
    assert ["text", "blob", "tensor"] == [doc.content_type for doc in da]


def test_contents_of_several_shapes_come_as_a_list(da):
    da.contents = [np.ones(1), np.ones(2), np.ones(3)]

    assert [1, 2, 3] == [len(tensor) for tensor in da.contents]


def test_contents_with_the_name_of_their_field(da):
    da.contents = (["x", "y", "z"], "text")
    assert ["x", "y", "z"] == da.texts
    da.contents = ([[1], [2], [3]], "tensor")
    assert [[1], [2], [3]] == da.tensors
    da.contents = (MATRIX, "tensor")
    np.testing.assert_array_equal(MATRIX, da.tensors)


def test_contents_of_a_pair_of_documents():
    da = DocumentArray.empty(2)

    da.contents = ("hello", "text")
    assert ["hello", "text"] == da.texts
    da.contents = (np.zeros(2), np.ones(2))
    assert [[0, 0], [1, 1]] == da.contents.tolist()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("texts", ["x"], LengthError),
        ("texts", [], LengthError),
        ("texts", ["x", "y", "z", "w"], LengthError),
        ("texts", ["x", "y", 3], FieldTypeError),
        ("texts", [b"x", "y", "z"], FieldTypeError),
        ("texts", "xyz", FieldTypeError),
        ("texts", 3, FieldTypeError),
        ("blobs", [b"x"], LengthError),
        ("blobs", [b"x", b"y", "z"], FieldTypeError),
        ("blobs", b"xyz", FieldTypeError),
        ("blobs", 3, FieldTypeError),
        ("contents", ["x"], LengthError),
        ("contents", ["x", "y", 3], FieldTypeError),
        ("contents", [b"x", "y", {"a": 1}], FieldTypeError),
        ("contents", 3, FieldTypeError),
        ("contents", "xyz", FieldTypeError),
        ("contents", np.ones((2, 2)), LengthError),
        ("contents", (["x", "y"], "text"), LengthError),
        ("contents", ([1, 2, 3], "text"), FieldTypeError),
    ],
    ids=shown,
)
def test_columns_that_do_not_fit_change_nothing(da, name, value, error):
    with pytest.raises(error):
        setattr(da, name, value)
    unchanged(da)


# --- groups -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_split_by_tag(kind):
    tags = [{"k": "x", "p": {"q": 1}}, {"k": ""}, {}, {"k": "x"}, {"k": None}, {"k": ""}, {"k": 0}]
    da = make(kind, "tuvwxyz", tags=tags)

    groups = da.split_by_tag("k")

    assert {"x": ["a", "d"], "": ["b", "f"], None: ["e"], 0: ["g"]} == {
        value: ids(part) for value, part in groups.items()
    }
    assert ["x", "", None, 0] == list(groups)
    assert groups["x"][0] is da[0]
    # Of a path, every document with tags is in a group.
    assert {1: ["a"], None: ["b", "d", "e", "f", "g"]} == {
        value: ids(part) for value, part in da.split_by_tag("p__q").items()
    }
    assert {} == da.split_by_tag("nothing") == DocumentArray().split_by_tag("k")


@pytest.mark.parametrize("kind", KINDS)
def test_split_by_a_tag_that_cannot_be_a_key(kind):
    da = make(kind, "xy", tags=[{"k": 1}, {"k": [2]}])

    with pytest.raises(FieldTypeError, match="'b'") as caught:
        da.split_by_tag("k")
    assert isinstance(caught.value, TypeError)


def test_batch(da):
    assert [["a", "b"], ["c"]] == [ids(part) for part in da.batch(2)]
    assert [["a", "b", "c"]] == [ids(part) for part in da.batch(100)]
    assert [["a"], ["b"], ["c"]] == [ids(part) for part in da.batch(np.int64(1))]
    assert [] == list(DocumentArray().batch(2))
    assert next(iter(da.batch(1)))[0] is da[0]


def test_batch_ids(da):
    assert [["a", "b"], ["c"]] == list(da.batch_ids(2))
    assert [] == list(DocumentArray().batch_ids(2))


def test_shuffled_batches_have_every_document_once():
    da = DocumentArray.empty(50)
    before = random.getstate()

    found = [doc.id for part in da.batch(7, shuffle=True) for doc in part]
    also = [one for part in da.batch_ids(7, shuffle=True) for one in part]

    assert (sorted(da[:, "id"]),) * 2 == (sorted(found), sorted(also))
    assert da[:, "id"] not in (found, also)
    assert before == random.getstate()


@pytest.mark.parametrize("size", [0, -1, 1.5, "2", None, True])
def test_a_batch_size_that_is_none(da, size):
    """The error comes with the call, not with the first batch."""
    for call in (da.batch, da.batch_ids):
        with pytest.raises(BadValue, match=repr(size)):
            call(size)


def test_sample_and_shuffle_repeat_with_a_seed():
    da = DocumentArray.empty(30)
    before = random.getstate(), np.random.get_state()[1].tolist()

    one, same, other = da.sample(10, seed=1), da.sample(10, seed=1), da.sample(10, seed=2)
    mixed = da.shuffle(seed=3)

    assert ids(one) == ids(same) != ids(other)
    assert (10, 10) == (len(one), len({*ids(one)}))
    assert ids(mixed) == ids(da.shuffle(seed=3)) != ids(da)
    assert sorted(ids(mixed)) == sorted(ids(da))
    assert ids(da.shuffle()) != ids(da.shuffle())
    assert all(doc is da[doc.id] for doc in one)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())


def test_sample_of_all_and_of_none(da):
    assert ({"a", "b", "c"}, []) == ({*ids(da.sample(3))}, ids(da.sample(0)))
    assert [] == ids(DocumentArray().shuffle())


@pytest.mark.parametrize("k", [4, -1, 1.5, "2", None])
def test_a_sample_of_too_many(da, k):
    with pytest.raises(BadValue):
        da.sample(k)
    unchanged(da)


# --- reduce -------------------------------------------------------------------------------------------------


def test_reduce_appends_new_ids_and_keeps_what_is_there(da):
    other = DocumentArray([Document(id="b", text="other", weight=2), Document(id="x", text="new")])

    found = da.reduce(other)

    assert found is da
    assert (["a", "b", "c", "x"], ["ta", "tb", "tc", "new"]) == (ids(da), da.texts)
    assert 2 == da["b"].weight
    assert da["x"] is other[1]


def test_reduce_merges_tags_key_by_key():
    da = DocumentArray([Document(id="a", tags={"x": {"y": 1, "z": {"q": [1]}}, "n": 1})])

    da.reduce(DocumentArray([Document(id="a", tags={"x": {"y": 2, "z": {"r": 3}, "w": 4}, "n": {"m": 1}})]))

    assert {"x": {"y": 1, "z": {"q": [1], "r": 3}, "w": 4}, "n": 1} == da[0].tags


def test_reduce_fills_up_fields():
    da = DocumentArray([Document(id="a", tags={"x": 1}, scores={"s": 1}, uri="a.png")])
    other = DocumentArray(
        [
            Document(
                id="a",
                text="t",
                tags={"x": 2, "y": 3},
                scores={"s": 2, "t": 3},
                uri="b.mp3",
                weight=4,
                embedding=np.ones(2),
                location=[1.0],
                modality="m",
            )
        ]
    )

    da.reduce(other)

    doc = da[0]
    assert ("t", {"x": 1, "y": 3}, "a.png", "image/png", 4) == (
        doc.text,
        doc.tags,
        doc.uri,
        doc.mime_type,
        doc.weight,
    )
    assert {"s": 1.0, "t": 3.0} == {name: score.value for name, score in doc.scores.items()}
    assert ([1, 1], [1.0], "m") == (doc.embedding.tolist(), doc.location, doc.modality)


def test_reduce_keeps_the_mime_type_that_is_there():
    da = DocumentArray([Document(id="a", mime_type="text/plain")])

    da.reduce(DocumentArray([Document(id="a", uri="a.png")]))

    assert ("a.png", "text/plain") == (da[0].uri, da[0].mime_type)


@pytest.mark.parametrize("mine", [{"text": "a"}, {"blob": b"a"}, {"tensor": [1]}])
@pytest.mark.parametrize("theirs", [{"text": "b"}, {"blob": b"b"}, {"tensor": [2]}])
def test_reduce_keeps_content_of_whatever_type(mine, theirs):
    da = DocumentArray([Document(id="a", **mine)])

    da.reduce(DocumentArray([Document(id="a", **theirs)]))

    assert Document(id="a", **mine) == da[0]


def test_reduce_goes_into_chunks_and_matches():
    da = DocumentArray([Document(id="a", chunks=[Document(id="c0", text="mine")])])
    other = DocumentArray(
        [
            Document(
                id="a",
                matches=[Document(id="m")],
                chunks=[
                    Document(id="c0", text="theirs", uri="u"),
                    Document(id="c1", chunks=[Document(id="d")]),
                ],
            )
        ]
    )

    da.reduce(other)

    assert (["c0", "c1"], ["m"], ["d"]) == (ids(da[0].chunks), ids(da[0].matches), ids(da["@cc"]))
    assert ("mine", "u") == (da[0].chunks[0].text, da[0].chunks[0].uri)
    assert ["a", "a"] == da["@c", "parent_id"]


def test_reduce_shares_no_row_of_a_matrix():
    da = DocumentArray([Document(id="a")])
    other = DocumentArray([Document(id="a", embedding=np.zeros(2)), Document(id="b", embedding=np.ones(2))])
    assert 2 == len(other.embeddings)

    da.reduce(other[:1])
    other[0].embedding = np.full(2, 9.0)

    assert (2, [0, 0]) == (len(other.embeddings), da[0].embedding.tolist())


def test_reduce_all():
    da = DocumentArray([Document(id="a")])

    found = da.reduce_all([DocumentArray([Document(id="b")]), DocumentArray([Document(id="a", text="t")])])

    assert found is da
    assert (["a", "b"], "t") == (ids(da), da[0].text)
    assert da.reduce(da) == da


# --- subclasses ---------------------------------------------------------------------------------------------


class Photo(Document):
    """A document with a method."""

    def shout(self):
        return self.text.upper()


class Album(DocumentArray[Photo]):
    """An array with a method and an attribute."""

    title = "none"

    def texts_in_capitals(self):
        return [photo.shout() for photo in self]


def test_an_array_can_be_subclassed():
    album = Album([Photo(text="a"), Photo(text="b")])
    album.title = "mine"

    assert ["A", "B"] == album.texts_in_capitals()
    assert isinstance(album, DocumentArray)
    assert repr(album).startswith("<Album (length=2)")
    assert (Album, 2) == (type(Album.empty(2)), len(Album.empty(2)))
    assert (Album, ["x"]) == (type(Album.from_columns(text=["x"])), Album.from_columns(text=["x"]).texts)
    assert album != DocumentArray(album)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_copies_of_a_subclass_are_of_it(way):
    album = Album([Photo(text="a")])
    album.title = ["mine"]

    fresh = way(album)

    assert (Album, ["mine"]) == (type(fresh), fresh.title)
    assert album == fresh
    fresh.append(Photo())
    assert 1 == len(album)
    assert (fresh.title is album.title) is (way is copy.copy)


def test_the_type_of_the_documents_is_a_parameter():
    da = DocumentArray[Photo]([Photo(text="a")])

    assert ("A", DocumentArray) == (da[0].shout(), type(da))


def test_pickle(da):
    da[0].tags["x"] = {"y": [1]}
    da.embeddings = MATRIX

    back = pickle.loads(pickle.dumps(da))

    assert da == back
    np.testing.assert_array_equal(MATRIX, back.embeddings)


def test_a_pickled_subclass_keeps_its_attributes():
    album = Album([Document(id="a", text="a")])
    album.title = "mine"

    back = pickle.loads(pickle.dumps(album))

    assert (Album, "mine", ["a"]) == (type(back), back.title, back.texts)


def test_bytes_keep_what_was_changed_below():
    """A chunk that was reached by a path belongs to a root that nobody has touched."""
    da = DocumentArray.from_columns(id=["a"], chunks=[[Document(id="c", text="old")]])

    da["@c"][0].text = "new"

    assert ["new"] == DocumentArray.from_bytes(da.to_bytes())["@c"].texts


def test_pickles_are_read_in_another_process():
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)[:, ['id', 'text']])"
    data = pickle.dumps(make("columns"))

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], input=data, capture_output=True, timeout=60
    )

    assert "[['a', 'b', 'c'], ['ta', 'tb', 'tc']]" == done.stdout.decode().strip()


# --- laws ---------------------------------------------------------------------------------------------------


class ListMachine(RuleBasedStateMachine):
    """An array against a plain list of the same documents."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.start = [f"s{i}" for i in range(5)]
        matrix = np.arange(10.0).reshape(5, 2)
        self.da = DocumentArray.from_columns(id=self.start, text=self.start, embedding=matrix)
        self.model = [[key, key, row] for key, row in zip(self.start, matrix.tolist(), strict=True)]

    def fresh(self):
        self.count += 1
        vector = np.full(2, 100.0 + self.count)
        doc = Document(id=f"n{self.count}", text=f"n{self.count}", embedding=vector)
        return doc, [doc.id, doc.text, vector.tolist()]

    @rule()
    def append(self):
        doc, cells = self.fresh()
        self.da.append(doc)
        self.model.append(cells)

    @rule(at=st.integers(-8, 8))
    def insert(self, at):
        doc, cells = self.fresh()
        self.da.insert(at, doc)
        self.model.insert(at, cells)

    @rule(start=st.integers(-6, 6), stop=st.integers(-6, 6), count=st.integers(0, 3))
    def splice(self, start, stop, count):
        pairs = [self.fresh() for _ in range(count)]
        self.da[start:stop] = [doc for doc, _ in pairs]
        self.model[start:stop] = [cells for _, cells in pairs]

    @rule(at=st.integers(0, 20))
    def replace(self, at):
        if at < len(self.model):
            self.da[at], self.model[at] = self.fresh()

    @rule(at=st.integers(0, 20), text=st.text(max_size=3))
    def change(self, at, text):
        if at < len(self.model):
            self.da[at].text = self.model[at][1] = text

    @rule(at=st.integers(0, 20))
    def vector(self, at):
        if at < len(self.model):
            self.count += 1
            self.da[at].embedding = np.full(2, float(self.count))
            self.model[at][2] = [float(self.count)] * 2

    @rule(at=st.integers(0, 20))
    def rename(self, at):
        if at < len(self.model):
            self.count += 1
            self.da[at].id = self.model[at][0] = f"r{self.count}"

    @rule(places=st.lists(st.integers(-3, 3), max_size=3))
    def delete(self, places):
        if len(self.model) > 3:
            gone = {place % len(self.model) for place in places}
            del self.da[places]
            self.model = [cells for at, cells in enumerate(self.model) if at not in gone]

    @rule(at=st.integers(0, 20))
    def delete_by_id(self, at):
        if at < len(self.model):
            del self.da[self.model[at][0]]
            del self.model[at]

    @rule()
    def reverse(self):
        self.da.reverse()
        self.model.reverse()

    @rule()
    def sort(self):
        self.da.sort("id", reverse=True)
        self.model.sort(key=lambda cells: cells[0], reverse=True)

    @rule(count=st.integers(0, 3))
    def columns(self, count):
        rows = [self.fresh()[1] for _ in range(count)]
        names = {"id": [row[0] for row in rows], "text": [row[1] for row in rows]}
        self.da += DocumentArray.from_columns(
            **names, embedding=np.array([row[2] for row in rows]).reshape(-1, 2)
        )
        self.model += rows

    @rule(start=st.integers(0, 4))
    def texts(self, start):
        part = self.da[start::2]
        part.texts = [f"t{start}-{at}" for at in range(len(part))]
        for at, cells in enumerate(self.model[start::2]):
            cells[1] = f"t{start}-{at}"

    @rule()
    def matrix(self):
        self.count += 1
        matrix = self.count + np.arange(2.0 * len(self.model)).reshape(-1, 2)
        self.da.embeddings = matrix
        for cells, row in zip(self.model, matrix.tolist(), strict=True):
            cells[2] = row

    @rule()
    def walk(self):
        assert [cells[0] for cells in self.model] == ids(self.da)

    @rule(at=st.integers(0, 20))
    def look_up(self, at):
        if at < len(self.model):
            key, text, row = self.model[at]
            doc = self.da[key]
            assert (key, text, row) == (doc.id, doc.text, doc.embedding.tolist())
            assert doc is self.da[at]
            assert at == self.da.index(key)

    @invariant()
    def is_the_list(self):
        keys, texts, rows = zip(*self.model, strict=True) if self.model else ((), (), ())
        assert (list(keys), list(texts)) == (self.da[:, "id"], self.da.texts)
        assert (list(rows) or None) == (None if self.da.embeddings is None else self.da.embeddings.tolist())
        assert all(key in self.da for key in keys)
        assert "nobody" not in self.da


TestListMachine = ListMachine.TestCase
TestListMachine.settings = TestListMachine.settings.__class__(
    max_examples=40, stateful_step_count=20, deadline=None
)


@given(st.lists(st.sampled_from("abc"), max_size=6), st.sampled_from("abc"))
def test_index_count_and_remove_are_those_of_a_list(keys, key):
    """Also where an id stands several times."""
    da = DocumentArray(Document(id=one) for one in keys)

    assert keys.count(key) == da.count(key)
    assert (key in keys) is (key in da)
    if key in keys:
        assert keys.index(key) == da.index(key)
        assert len(keys) - 1 - keys[::-1].index(key) == [doc is da[key] for doc in da].index(True)
        da.remove(key)
        keys.remove(key)
        assert keys == ids(da)


def told(doc):
    """All that a document says, for comparing it with another's."""
    return (
        doc.id, doc.text, doc.blob, repr(doc.tags), doc.embedding.tolist(), doc.weight,
        (doc.parent_id, doc.granularity, doc.adjacency), [told(one) for one in doc.chunks],
        [told(one) for one in doc.matches],
    )  # fmt: skip


def some(name, number):
    """A document with nested ones; the number decides on what is set."""
    fields = {
        "id": name,
        "embedding": np.array([number % 5, number % 3], float),
        "tags": {"k": number % 4, "l": [number]},
    }
    if number % 2:
        fields["text"] = "xyz"[number % 3]
    nested = [some(f"{name}{at}", number // 2) for at in range(number % 3)] if number > 7 else []
    return Document({**fields, "chunks": nested[:2], "matches": nested[2:]})


def at(da, number):
    return number % len(da)


def in_part(da, number):
    part = da[at(da, number) :]
    part.embeddings = number + np.arange(2.0 * len(part)).reshape(-1, 2)


def along(da, number):
    part = da[f"@{('c', 'm', 'cc', 'c[0]', 'm,c', 'r[1:]c')[number % 6]}"]
    part.texts = [str(number)] * len(part)
    part.embeddings = number + np.arange(2.0 * len(part)).reshape(-1, 2)
    return part[:, ["id", "text"]]


def filtered(da, number):
    either = [{"text": str(number)}, {"tags__k": {"$gt": 1}}, {"chunks__0__text": "y"}]
    return da.find({"$or": either})[:, "id"]


def found(da, number):
    hits = da.find([number, 1.0], "euclidean", limit=3)
    return [(hit.id, hit.scores["euclidean"].value, hit.tags, hit.chunks.texts) for hit in hits]


STEPS = {
    "touch": lambda da, n: da[at(da, n)].text,
    "text": lambda da, n: setattr(da[at(da, n)], "text", str(n)),
    "texts": lambda da, n: setattr(da, "texts", [str(n + i) for i in range(len(da))]),
    "blobs": lambda da, n: setattr(da, "blobs", [bytes([n]) if i % 2 else None for i in range(len(da))]),
    "tags": lambda da, n: da[at(da, n)].tags.update(k=n),
    "item": lambda da, n: da.__setitem__(([at(da, n)], "tags__k"), n),
    "embedding": lambda da, n: setattr(da[at(da, n)], "embedding", np.array([n, 1.0])),
    "in place": lambda da, n: da[at(da, n)].embedding.__setitem__(0, n),
    "embeddings": lambda da, n: setattr(da, "embeddings", n + np.arange(2.0 * len(da)).reshape(-1, 2)),
    "in a part": in_part,
    "along a path": along,
    "flat": lambda da, n: da[..., ["id", "text"]],
    "set flat": lambda da, n: da.__setitem__((..., "weight"), n),
    "append": lambda da, n: da.append(some(f"n{n}", n)),
    "replace": lambda da, n: da.__setitem__(at(da, n), some(f"r{n}", n)),
    "chunk": lambda da, n: da[at(da, n)].chunks.append(some(f"c{n}", n)),
    "id": lambda da, n: setattr(da[at(da, n)], "id", f"i{n}"),
    "delete": lambda da, n: da.__delitem__(at(da, n)) if len(da) > 1 else None,
    "delete along": lambda da, n: da.__delitem__(("@c[0]", "@m", "@cc")[n % 3]),
    "reverse": lambda da, n: da.reverse(),
    "sort": lambda da, n: da.sort(["-tags__k", "id"]),
    "filter": filtered,
    "find": found,
    "columns": lambda da, n: [
        da[:, ["id", "text", "tags__k", "weight"]],
        da.embeddings.tolist(),
        da["@c", "id"],
    ],
    "split": lambda da, n: {key: ids(part) for key, part in da.split_by_tag("k").items()},
    "bytes": lambda da, n: [told(doc) for doc in DocumentArray.from_bytes(da.to_bytes())],
    "copy": lambda da, n: copy.deepcopy(da) == da,
}


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 99)), max_size=12),
)
def test_columns_behave_as_documents(numbers, steps):
    """Whatever is done, in whatever order: nobody can tell by the answers what an array is made of."""
    objects = DocumentArray(some(f"d{i}", number) for i, number in enumerate(numbers))
    columns = DocumentArray.from_bytes(objects.to_bytes())

    for step, number in steps:
        assert STEPS[step](objects, number) == STEPS[step](columns, number), step

    assert [told(doc) for doc in objects] == [told(doc) for doc in columns]
    assert [doc.embedding.tolist() for doc in objects] == columns.embeddings.tolist()
