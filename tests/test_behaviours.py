"""What users of the old library rely on, number by number, and what it got wrong and is right here."""

from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import (
    BadSelector,
    DocArrayError,
    LengthError,
    MissingEmbedding,
    NotOnInstance,
    UnknownField,
)

sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")


def of(keys, **options):
    return DocumentArray(Document(id=key, text=f"t{key}", **options) for key in keys)


def ids(docs):
    return [doc.id for doc in docs]


@pytest.fixture
def da():
    return of("abc")


@pytest.fixture
def vectors():
    da = of("abc")
    da.embeddings = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return da


# --- indexing -----------------------------------------------------------------------------------------------


def test_01_a_bool_is_no_position(da):
    """A bool is an int to Python; as a selector it selects nothing."""
    with pytest.raises(IndexError):
        da[True]


def test_02_a_short_mask_is_filled_with_false(da):
    """It is so in reading, setting and deleting; a mask that is too long is an error."""
    assert ["b"] == ids(da[[False, True]])
    da[[True], "text"] = "new"
    assert ["new", "tb", "tc"] == da.texts
    del da[[True], "text"]
    assert ["", "tb", "tc"] == da.texts
    del da[[True]]
    assert ["b", "c"] == ids(da)
    with pytest.raises(BadSelector):
        da[[True] * 3]


def test_03_an_unknown_attribute_is_one_error(da):
    """The same for reading, setting and deleting."""
    with pytest.raises(UnknownField):
        da["a", "hello"]
    with pytest.raises(UnknownField):
        da["a", "hello"] = 1
    with pytest.raises(UnknownField):
        del da["a", "hello"]


def test_04_several_attributes_come_as_columns(da):
    """A list for each attribute, not one for each document."""
    assert [["a", "b", "c"], ["ta", "tb", "tc"]] == da[:, ["id", "text"]]


def test_05_two_strings_are_two_documents_if_the_second_is_an_id(da):
    """Else the second is an attribute."""
    assert ["a", "b"] == ids(da["a", "b"])
    assert "ta" == da["a", "text"]


def test_06_a_slice_wants_something_to_iterate(da):
    """As a list does."""
    with pytest.raises(TypeError, match="iterable"):
        da[1:3] = 3


def test_07_slice_assignment_resizes(da):
    """As of a list."""
    da[1:3] = [Document(id="x")]

    assert ["a", "x"] == ids(da)


def test_08_documents_set_along_a_path_keep_their_ids():
    """Other ids are an error; the same ids change the nested documents in place."""
    da = DocumentArray([Document(matches=[Document(id="m", text="old")])])
    nested = da[0].matches[0]

    with pytest.raises(ValueError):
        da["@m"] = [Document(id="other")]
    da["@m"] = [Document(id="m", text="new")]

    assert ("new", True) == (nested.text, da[0].matches[0] is nested)


def test_09_everything_wants_as_many_as_there_are():
    """`da[...] = docs` counts the documents at every depth."""
    da = DocumentArray([Document(id="r", chunks=[Document(id="c")])])

    with pytest.raises(LengthError):
        da[...] = [Document()]
    da[...] = [Document(id="c2"), Document(id="r2")]

    assert ["r2"] == ids(da)


def test_10_documents_are_deleted_along_a_path():
    """`del da['@c']` takes the chunks out."""
    da = DocumentArray([Document(chunks=[Document(), Document()])])

    del da["@c"]

    assert 0 == len(da[0].chunks)


def test_11_an_index_array_has_one_dimension(da):
    """Two are an error; an array of one position is a list of one."""
    with pytest.raises(IndexError, match="ndim"):
        da[np.zeros((2, 2), int)]
    assert ["b"] == ids(da[np.array([1])])


def test_12_negative_positions_delete_what_they_say(da):
    """In any order, and once each."""
    del da[[-1, -2, -1]]

    assert ["a"] == ids(da)


def test_13_the_last_chunk_has_a_position():
    """'@c[-1]' is the last of each document."""
    da = DocumentArray([Document(chunks=[Document(id="x"), Document(id="y")])])

    assert ["y"] == ids(da["@c[-1]"]) == ids(da["@c[-1:]"])


def test_14_columns_come_in_the_order_asked_for(vectors):
    """Also where embedding and tensor are among them."""
    vectors.tensors = np.zeros((3, 4))

    embeddings, tensors, keys = vectors[:, ["embedding", "tensor", "id"]]

    assert ((3, 2), (3, 4), ["a", "b", "c"]) == (embeddings.shape, tensors.shape, keys)


def test_15_flattening_twice_is_flattening_once():
    """And what is added after the first time is seen."""
    da = DocumentArray([Document(id="r", chunks=[Document(id="c")])])

    flat = da.flatten()
    assert ["c", "r"] == ids(flat) == ids(flat.flatten())
    flat.append(Document(id="s", chunks=[Document(id="d")]))
    assert ["c", "r", "d", "s"] == ids(flat.flatten())


def test_16_flatten_gives_leaves_first():
    """Of each document its chunks, its matches, and then itself."""
    r1 = Document(id="r1", chunks=[Document(id="c1"), Document(id="c2")])
    r2 = Document(id="r2", matches=[Document(id="m1"), Document(id="m2")])

    assert ["c1", "c2", "r1", "m1", "m2", "r2"] == ids(DocumentArray([r1, r2]).flatten())


# --- documents ----------------------------------------------------------------------------------------------


def test_17_of_two_contents_one_stays():
    """Given together, the blob is later than the text."""
    assert ("id", "blob") == Document(text="x", blob=b"y").non_empty_fields


def test_18_content_is_no_field_of_its_own():
    """It never appears in non_empty_fields."""
    assert ("id", "text") == Document(content="x").non_empty_fields


def test_19_pop_of_an_unknown_name_is_silent():
    """Nothing happens."""
    doc = Document(text="x")

    doc.pop("no such field")

    assert ("id", "text") == doc.non_empty_fields


def test_20_chunks_get_the_id_that_is_given_later():
    """In whatever order the keywords come."""
    assert "x" == Document(chunks=[Document()], id="x").chunks[0].parent_id


def test_21_unknown_keywords_land_in_tags():
    """Or raise, when that is asked for."""
    assert {"hello": 1} == Document(hello=1).tags
    with pytest.raises(AttributeError):
        Document(hello=1, unknown_fields_handler="raise")


def test_22_random_seeds_do_not_make_ids_repeat():
    """Ids come from the system."""
    found = []
    for _ in range(2):
        random.seed(3)
        np.random.seed(3)
        found.append(Document().id)

    assert found[0] != found[1]


def test_24_a_file_extension_becomes_a_mime_type():
    """With and without the dot."""
    assert "image/jpeg" == Document(mime_type="jpg").mime_type == Document(mime_type=".jpg").mime_type


def test_25_a_document_of_a_document_is_a_second_name():
    """With keywords it is a copy, and the tags of the first stay as they are."""
    doc = Document(text="a", tags={"x": 1})

    Document(doc).text = "b"
    other = Document(doc, tags={"y": 2})

    assert ("b", {"x": 1}, {"x": 1, "y": 2}) == (doc.text, doc.tags, other.tags)


def test_26_tensors_count_in_equality(capsys):
    """And nothing is printed."""
    assert Document(id="x", tensor=np.zeros(2)) != Document(id="x", tensor=np.ones(2))
    assert "" == capsys.readouterr().out


def test_27_reading_tags_leaves_the_hash_alone():
    """A document with tags, chunks or scores has a hash too."""
    doc = Document(id="x")
    before = hash(doc)

    assert {} == doc.tags

    assert before == hash(doc) == hash(Document(id="x", tags={"a": [1]}, chunks=[Document()]))


def test_28_a_tensor_with_a_gradient_is_pickled():
    """Detached, and the document keeps its own."""
    torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")
    doc = Document(tensor=torch.ones(2, requires_grad=True))

    back = pickle.loads(pickle.dumps(doc))

    assert ([1, 1], False, True) == (
        back.tensor.tolist(),
        back.tensor.requires_grad,
        doc.tensor.requires_grad,
    )


# --- arrays -------------------------------------------------------------------------------------------------


def test_31_an_id_may_stand_twice(da):
    """The last one is found."""
    da.append(Document(id="a", text="again"))

    assert (4, "again") == (len(da), da["a"].text)


def test_32_a_document_of_the_same_id_is_found(da):
    """After it took the place of the first."""
    assert "ta" == da["a"].text

    da[0] = Document(id="a", text="new")

    assert "new" == da["a"].text


def test_33_embeddings_of_none_clear(vectors):
    """And then there are none."""
    vectors.embeddings = None

    assert vectors.embeddings is None


def test_34_missing_embeddings_are_listed(vectors):
    """By their positions."""
    vectors[1].embedding = vectors[2].embedding = None

    with pytest.raises(MissingEmbedding, match=r"Document\[1, 2\].embedding is None"):
        vectors.embeddings  # noqa: B018


def test_35_texts_of_documents_without_text_are_empty(da):
    """Also after they were set to None."""
    assert [""] == DocumentArray.empty(1).texts
    da.texts = None
    assert ["", "", ""] == da.texts


def test_36_sparse_matrices_give_sparse_rows(da):
    """Of shape (1, n), in the format of the matrix."""
    da.embeddings = sparse.bsr_array(np.eye(3))

    assert [((1, 3), "bsr")] * 3 == [(doc.embedding.shape, doc.embedding.format) for doc in da]


def test_37_constructors_are_of_the_class(da):
    """On an array, which they would not change, they are an error."""
    with pytest.raises(NotOnInstance):
        da.from_bytes(b"")
    with pytest.raises(AttributeError):
        da.from_columns(text=["a"])


def test_38_a_sum_leaves_both_as_they_were(da):
    """The documents are shared, the lists are not."""
    other = of("x")

    assert (["a", "b", "c", "x"], ["a", "b", "c"], ["x"]) == (ids(da + other), ids(da), ids(other))


def test_39_adding_in_place_keeps_the_object(da):
    """`da += docs` is `da`."""
    same = da

    da += of("x")

    assert (True, 4) == (same is da, len(same))


def test_40_samples_repeat_with_a_seed():
    """And the seed of the program stays as it is."""
    da, before = DocumentArray.empty(20), random.getstate()

    assert ids(da.sample(5, seed=1)) == ids(da.sample(5, seed=1))
    assert ids(da.shuffle(seed=1)) != ids(da)
    assert before == random.getstate()


def test_41_groups_by_tag_keep_the_order():
    """Falsy values are groups too; documents without the tag are in none."""
    da = DocumentArray(
        Document(id=i, tags=tags) for i, tags in zip("abcd", [{"k": 0}, {}, {"k": ""}, {"k": 0}], strict=True)
    )

    assert {0: ["a", "d"], "": ["c"]} == {value: ids(part) for value, part in da.split_by_tag("k").items()}


def test_42_reduce_keeps_what_is_there():
    """New ids are appended, and a text is not erased by another's tensor."""
    da = DocumentArray([Document(id="a", text="mine")])

    da.reduce(DocumentArray([Document(id="a", tensor=[1], uri="u"), Document(id="b")]))

    assert (["a", "b"], "mine", "u") == (ids(da), da[0].text, da[0].uri)


def test_43_other_processes_take_lambdas_and_local_functions(da):
    """No main module and no fork is needed for it."""
    pytest.importorskip("cloudpickle", reason="pip install cloudpickle")
    tail = "!"

    def loud(doc):
        doc.text += tail
        return doc

    assert ["ta", "tb", "tc"] == list(da.map(lambda doc: doc.text, backend="process", num_worker=1))
    assert ["ta!", "tb!", "tc!"] == da.apply(loud, backend="process", num_worker=1).texts


def test_44_apply_wants_a_document_back(da):
    """A function that gives something else is an error that says so."""
    with pytest.raises(DocArrayError, match="int"):
        da.apply(lambda doc: 3)


def test_45_a_batch_of_none_is_an_error(da):
    """It is told at once."""
    with pytest.raises(ValueError):
        da.batch(0)


def test_46_words_are_numbered_from_two():
    """In the order of first sight."""
    assert {"b": 2, "a": 3, "c": 4} == DocumentArray(
        [Document(text="b a b"), Document(text="c")]
    ).get_vocabulary()


# --- search -------------------------------------------------------------------------------------------------


def test_48_a_vector_gives_an_array_and_all_else_a_list(vectors):
    """Of arrays, one for each query."""
    assert ["a", "b", "c"] == ids(vectors.find(np.array([1.0, 0.0])))
    assert [["a", "b", "c"]] == [ids(part) for part in vectors.find(np.array([[1.0, 0.0]]))]
    assert [["a", "b", "c"]] == [ids(part) for part in vectors.find(Document(embedding=np.array([1.0, 0.0])))]


def test_49_matching_itself_never_becomes_recursive(vectors):
    """Matches are copies without matches."""
    vectors.match(vectors)

    assert 9 == len(vectors["@m,mm,mmm"])


def test_50_searching_nothing_finds_nothing(vectors):
    """And matching with nothing changes nothing."""
    vectors.match(DocumentArray())
    DocumentArray().match(vectors)

    assert 0 == len(DocumentArray().find(np.ones(2))) == len(vectors["@m"])


def test_51_exclude_self_still_gives_as_many_as_asked_for(vectors):
    """Where there are as many."""
    assert [["b", "c"]] == [ids(part) for part in vectors.find(vectors[0], limit=2, exclude_self=True)]


def test_52_only_id_gives_id_and_scores(vectors):
    """And nothing else."""
    assert ("id", "scores") == vectors.find(np.ones(2), only_id=True)[0].non_empty_fields


def test_53_sparse_and_dense_rank_alike(vectors):
    """In the same order, with the same distances."""
    other = copy.deepcopy(vectors)
    other.embeddings = sparse.csr_array(vectors.embeddings)

    assert ids(vectors.find(np.ones(2))) == ids(other.find(np.ones(2)))


def test_54_normalization_makes_the_best_one(vectors):
    """(1, 0) turns distances into similarities."""
    found = vectors.find(np.array([1.0, 0.0]), normalization=(1, 0))

    assert (1.0, 0.0) == (found[0].scores["cosine"].value, found[-1].scores["cosine"].value)


def test_55_a_filter_is_checked(da):
    """Unknown operators, and `$exists` of something that is no bool."""
    with pytest.raises(ValueError):
        da.find({"text": {"$unknown": 1}})
    with pytest.raises(ValueError):
        da.find({"text": {"$exists": 1}})


def test_56_none_has_no_order():
    """Neither above nor below any value."""
    da = DocumentArray([Document(tags={"x": None}), Document()])

    assert 0 == len(da.find({"tags__x": {"$gt": 0}})) == len(da.find({"tags__x": {"$lte": 0}}))


def test_57_placeholders_compare_two_fields():
    """As '{tags__y}', or said outright."""
    da = DocumentArray([Document(id="a", tags={"x": 1, "y": 1}), Document(id="b", tags={"x": 1, "y": 2})])

    assert ["a"] == ids(da.find({"tags__x": {"$eq": "{tags__y}"}}))
    assert ["b"] == ids(da.find({"tags__x": {"$lt": {"$field": "tags__y"}}}))


def test_58_filters_have_a_limit(da):
    """The first so many."""
    assert ["a", "b"] == ids(da.find({"text": {"$exists": True}}, limit=2))


def test_59_roots_come_in_the_order_of_hits():
    """Of what was found below them."""
    da = DocumentArray(
        [
            Document(id="x", chunks=[Document(embedding=np.array([0.0, 1.0]))]),
            Document(id="y", chunks=[Document(embedding=np.array([1.0, 0.0]))]),
        ]
    )

    assert ["y", "x"] == ids(da.find(np.array([1.0, 0.0]), on="@c", return_root=True))


def test_60_types_of_tags_survive():
    """Through the models of old, which made bools and floats of ints."""
    tags = {
        "f": 2.5,
        "s": "1",
        "inf": "Infinity",
        "b": True,
        "l": [1, "a"],
        "d": {"x": 0},
        "n": 0,
        "one": 1,
        "k": 3,
    }

    back = Document.from_dict(Document(tags=tags).to_dict()).tags

    assert tags == back
    assert [type(value) for value in tags.values()] == [type(value) for value in back.values()]


def test_63_csv_has_a_line_for_each_and_one_above(da, tmp_path):
    da.save_csv(tmp_path / "x.csv")

    assert 4 == len((tmp_path / "x.csv").read_text().splitlines())


def test_66_metadata_goes_through_every_protocol():
    doc = Document(id="a")
    doc._metadata["multi_modal_schema"] = {"title": {"position": 0, "type": "Text"}}

    for protocol in ("binary", "protobuf", "pickle", "json"):
        assert doc._metadata == Document.from_bytes(doc.to_bytes(protocol), protocol)._metadata
    assert doc._metadata == Document.from_json(doc.to_json("protobuf"), "protobuf")._metadata


def test_66_unknown_keys_go_to_tags_without_a_schema():
    assert {"price": 3} == Document.from_dict({"id": "a", "price": 3}, protocol=None).tags


def test_66_lines_with_a_groundtruth_are_pairs():
    from docarray.document.generators import from_lines

    (pair,) = from_lines(['{"document": {"text": "q"}, "groundtruth": {"text": "a"}}'])

    assert ("q", "a") == (pair[0].text, pair[1].text)
