from __future__ import annotations

import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray
from docarray.errors import BadValue, FieldTypeError, ShapeError, UnknownField
from docarray.text import numbered, text_of, word_ids, words

VOCAB = {"to": 2, "be": 3, "or": 4, "not": 5}
TEXTS = st.text(st.sampled_from("abC '-_\n\té,ß"), max_size=30)


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n", []),
        ("Hello, World!", ["hello", "world"]),
        ("one\ttwo\nthree\r\nfour", ["one", "two", "three", "four"]),
        ("snake_case and kebab-case", ["snake", "case", "and", "kebab", "case"]),
        ("e-mail: a@b.org (today)", ["e", "mail", "a", "b", "org", "today"]),
        ("ÄRGER über Straße", ["ärger", "über", "straße"]),
        ("3.14 is pi", ["3", "14", "is", "pi"]),
    ],
)
def test_words_are_lower_case_and_parted_by_space_and_punctuation(text, expected):
    assert expected == words(text)


@pytest.mark.parametrize("mark", sorted(set(string.punctuation) - {"'"}))
def test_each_punctuation_mark_parts_words(mark):
    assert ["a", "b"] == words(f"a{mark}b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("don't", ["don't"]), ("'quoted'", ["quoted"]), ("rock 'n' roll", ["rock", "n", "roll"]), ("' ''", [])],
)
def test_an_apostrophe_stays_within_a_word_only(text, expected):
    """The old library kept it everywhere, and so had a word "'quoted'" beside "quoted"."""
    assert expected == words(text)


@settings(deadline=None)
@given(TEXTS)
def test_words_of_joined_words_are_the_same_words(text):
    found = words(text)

    assert found == words(" ".join(found))
    assert all(found)


# --- vocabularies -----------------------------------------------------------------------------------------


def test_ids_begin_at_two_in_the_order_of_first_sight():
    assert {"b": 2, "a": 3, "c": 4} == numbered(Counter(["b", "a", "b", "c"]))


def test_rare_words_get_no_id_and_leave_no_hole():
    assert {"b": 2, "c": 3} == numbered(Counter("abccb"), min_freq=2)


def test_vocabulary_of_a_document_counts_words():
    doc = Document(text="To be, or not to be!")

    assert Counter(to=2, be=2, **{"or": 1, "not": 1}) == doc.get_vocabulary()


def test_vocabulary_reads_several_attributes_and_paths():
    doc = Document(text="a b", uri="b/c", tags={"title": "A Title", "none": None})

    counts = doc.get_vocabulary(("text", "uri", "tags__title", "tags__none", "tags__other"))

    assert [("a", 2), ("b", 2), ("c", 1), ("title", 1)] == list(counts.items())
    assert Counter(a=1, b=1) == doc.get_vocabulary("text")


def test_vocabulary_of_no_text_names_document_and_attribute():
    doc = Document(id="d7", tags={"price": 3})

    with pytest.raises(FieldTypeError, match=r"'tags__price' of document 'd7'.*int"):
        doc.get_vocabulary(("tags__price",))
    with pytest.raises(UnknownField, match="txt"):
        doc.get_vocabulary(("txt",))


def test_vocabulary_of_an_array_has_ids_in_the_order_of_first_sight():
    da = DocumentArray([Document(text="b a"), Document(text="a c, a"), Document(tensor=[1]), Document()])

    assert {"b": 2, "a": 3, "c": 4} == da.get_vocabulary()
    assert {"a": 2} == da.get_vocabulary(min_freq=2)
    assert {} == DocumentArray().get_vocabulary()


# --- text to ids ------------------------------------------------------------------------------------------


def test_padding_is_on_the_left_and_the_tail_stays():
    assert [0, 0, 2, 3] == word_ids("to be", VOCAB, max_length=4).tolist()
    assert [4, 5] == word_ids("to be or not", VOCAB, max_length=2).tolist()
    assert [2, 3] == word_ids("to be", VOCAB).tolist()


def test_an_unknown_word_is_one():
    assert [2, 1, 3] == word_ids("to really be", VOCAB).tolist()


def test_a_text_without_words_is_all_padding():
    empty = word_ids("?!", VOCAB)

    assert ((0,), np.int64) == (empty.shape, empty.dtype)
    assert [0, 0] == word_ids("", VOCAB, max_length=2).tolist()


@pytest.mark.parametrize("dtype", ["int64", "uint8", np.float32, np.dtype("int16")])
def test_ids_have_the_dtype_asked_for(dtype):
    ids = word_ids("to be", VOCAB, 3, dtype)

    assert np.dtype(dtype) == ids.dtype
    assert [0, 2, 3] == ids.tolist()


@pytest.mark.parametrize(
    ("number", "dtype"),
    [(300, "uint8"), (-1, "uint8"), (2049, "float16"), (10**6, "float16"), (2**70, "int64")],
)
def test_an_id_that_does_not_fit_is_refused(number, dtype):
    """It would wrap or round to the id of another word."""
    with pytest.raises(BadValue, match=rf"{number}"):
        word_ids("to be", {"to": 2, "be": number}, dtype=dtype)


def test_numpy_ids_are_ids_and_words_are_not():
    assert [7] == word_ids("to", {"to": np.int32(7)}).tolist()
    with pytest.raises(FieldTypeError, match="'to'"):
        word_ids("to", {"to": "be"})


@pytest.mark.parametrize("max_length", [0, -1, 2.0, "2"])
def test_max_length_is_a_number_above_zero(max_length):
    with pytest.raises(BadValue, match="max_length"):
        word_ids("to be", VOCAB, max_length)


@pytest.mark.parametrize("dtype", ["bool", "str", "nonsense", object])
def test_ids_are_numbers(dtype):
    with pytest.raises(FieldTypeError, match="dtype"):
        word_ids("to be", VOCAB, dtype=dtype)


# --- ids to text ------------------------------------------------------------------------------------------


def test_a_vocabulary_goes_both_ways():
    """With id to word the old library raised UnboundLocalError."""
    backwards = {number: word for word, number in VOCAB.items()}

    assert "to be" == text_of([0, 2, 3], VOCAB) == text_of([0, 2, 3], backwards)


def test_padding_is_passed_over_and_the_unknown_is_shown():
    assert "to <UNK> be <UNK>" == text_of([0, 2, 1, 3, 99], VOCAB)
    assert "to" == text_of([0, 2], {0: "zero", 1: "one", 2: "to"})
    assert "<UNK>" == text_of([1], {0: "zero", 1: "one", 2: "to"})
    assert "<UNK>" == text_of([5], {})


def test_ids_may_be_floats_and_of_any_framework():
    assert "to-be" == text_of(np.array([0.0, 2.0, 3.0], np.float32), VOCAB, delimiter="-")
    assert "" == text_of([], VOCAB)


@pytest.mark.parametrize("ids", [[2.5], [float("nan")], [float("inf")], ["a"], [True]])
def test_ids_that_are_no_whole_numbers_are_refused(ids):
    with pytest.raises(BadValue, match="whole"):
        text_of(ids, VOCAB)


def test_ids_of_a_text_are_one_dimensional():
    with pytest.raises(ShapeError, match=r"\(1, 2\)"):
        text_of([[2, 3]], VOCAB)


@pytest.mark.parametrize("vocab", [{"2": "to"}, {2: 3}, {2: "to", 3: 4}])
def test_a_vocabulary_of_something_else_is_refused(vocab):
    with pytest.raises(FieldTypeError, match="vocab"):
        text_of([2, 3], vocab)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 12))
def test_there_and_back_again(text, max_length):
    vocab = numbered(Counter(words(text)))

    assert " ".join(words(text)[-max_length:]) == text_of(word_ids(text, vocab, max_length), vocab)


# --- documents --------------------------------------------------------------------------------------------


def test_a_document_converts_there_and_back_in_place():
    doc = Document(text="to be", tags={"kept": 1})

    assert doc is doc.convert_text_to_tensor(VOCAB, max_length=4)
    assert ([0, 0, 2, 3], "", "tensor") == (doc.tensor.tolist(), doc.text, doc.content_type)
    assert doc is doc.convert_tensor_to_text(VOCAB, delimiter="_")
    assert ("to_be", None, {"kept": 1}) == (doc.text, doc.tensor, doc.tags)


def test_a_document_without_content_is_padding():
    assert [0, 0] == Document().convert_text_to_tensor(VOCAB, max_length=2).tensor.tolist()


@pytest.mark.parametrize("content", [{"blob": b"x"}, {"tensor": [1, 2]}])
def test_content_that_is_no_text_is_not_overwritten(content):
    doc = Document(id="d7", **content)

    with pytest.raises(BadValue, match="d7"):
        doc.convert_text_to_tensor(VOCAB)
    assert doc.content == next(iter(content.values()))


def test_a_document_without_tensor_has_no_words_to_show():
    doc = Document(id="d7", text="to be")

    with pytest.raises(BadValue, match="d7"):
        doc.convert_tensor_to_text(VOCAB)
    with pytest.raises(BadValue, match="whole"):
        Document(tensor=[0.5]).convert_tensor_to_text(VOCAB)
    assert "to be" == doc.text


def test_an_array_converts_with_its_own_vocabulary():
    da = DocumentArray([Document(text="to be or"), Document(text="not to be")])
    vocab = da.get_vocabulary()
    for doc in da:
        doc.convert_text_to_tensor(vocab, max_length=3, dtype="int32")

    assert [[2, 3, 4], [5, 2, 3]] == da.tensors.tolist()
    assert np.int32 == da.tensors.dtype
    assert ["to be or", "not to be"] == [doc.convert_tensor_to_text(vocab).text for doc in da]


def test_a_torch_tensor_of_ids_is_text():
    torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")

    assert "to be" == Document(tensor=torch.tensor([0, 2, 3])).convert_tensor_to_text(VOCAB).text
