from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray import ChunkArray, Document, DocumentArray, MatchArray, NamedScore
from docarray.errors import BadValue, DocArrayError, FieldTypeError, OutOfRange, UnknownField
from docarray.schema import FIELDS

sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="pip install torch==2.13.0")


def full(**changes):
    """A document with every field set."""
    fields = {
        "id": "full",
        "parent_id": "above",
        "granularity": 1,
        "adjacency": 2,
        "text": "hello",
        "mime_type": "text/plain",
        "weight": 0.5,
        "uri": "a.txt",
        "tags": {"a": {"b": [1, 2.5, None, True]}},
        "_metadata": {"x": 1},
        "offset": 1.5,
        "location": [1.0, 2.0],
        "embedding": np.array([1.0, 2.0]),
        "modality": "text",
        "evaluations": {"recall": 0.25},
        "scores": {"cosine": {"value": 0.75, "op_name": "cosine"}},
        "chunks": [Document(id="c", text="chunk")],
        "matches": [Document(id="m", text="match")],
    }
    return Document({**fields, **changes})


def state(doc):
    """All that a document says, for comparing it with what it said before."""
    return {
        name: copy.deepcopy(getattr(doc, name)) for name in FIELDS if name not in ("chunks", "matches")
    } | {name: [state(one) for one in getattr(doc, name)] for name in ("chunks", "matches")}


def same(one, other):
    """Whether two states say the same; arrays are compared by value."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name in ("chunks", "matches"):
            assert len(value) == len(other[name])
            for x, y in zip(value, other[name], strict=True):
                same(x, y)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other[name])
        else:
            assert value == other[name], name


# --- fields -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("parent_id", ""),
        ("granularity", 0),
        ("adjacency", 0),
        ("blob", b""),
        ("tensor", None),
        ("mime_type", ""),
        ("text", ""),
        ("content", None),
        ("content_type", None),
        ("weight", 0.0),
        ("uri", ""),
        ("tags", {}),
        ("_metadata", {}),
        ("offset", 0.0),
        ("location", []),
        ("embedding", None),
        ("modality", ""),
        ("evaluations", {}),
        ("scores", {}),
    ],
)
def test_unset_fields_read_as_their_defaults(name, default):
    doc = Document()

    found = getattr(doc, name)

    assert default == found
    assert type(default) is type(found) or name in ("evaluations", "scores")
    assert ("id",) == doc.non_empty_fields  # reading has set nothing


def test_unset_chunks_and_matches_are_empty_arrays():
    doc = Document()

    assert (ChunkArray, 0) == (type(doc.chunks), len(doc.chunks))
    assert (MatchArray, 0) == (type(doc.matches), len(doc.matches))
    assert doc.chunks is doc.chunks
    assert ("id",) == doc.non_empty_fields


def test_containers_that_are_read_first_are_kept():
    doc = Document()

    doc.tags["a"] = 1
    doc.location.append(2.0)
    doc.scores["x"].value = 3
    doc.evaluations["y"].value = 4
    doc._metadata["z"] = 5
    doc.chunks.append(Document())
    doc.matches.append(Document())

    assert ({"a": 1}, [2.0], {"z": 5}) == (doc.tags, doc.location, doc._metadata)
    assert (3.0, 4.0) == (doc.scores["x"].value, doc.evaluations["y"].value)
    assert (1, 1) == (len(doc.chunks), len(doc.matches))


def test_non_empty_fields_are_in_canonical_order():
    doc = full()

    assert tuple(name for name in FIELDS if name not in ("blob", "tensor")) == doc.non_empty_fields


def test_values_equal_to_their_defaults_are_empty():
    doc = Document(
        parent_id="", granularity=0, adjacency=0, text="", weight=0.0, uri="", tags={}, _metadata={},
        offset=0.0, location=[], modality="", evaluations={}, scores={}, chunks=[], matches=[], mime_type="",
    )  # fmt: skip

    assert ("id",) == doc.non_empty_fields
    assert doc == Document(id=doc.id)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("id", "blob", "tensor")])
def test_none_unsets_a_field_and_no_other(name):
    doc, before = full(), full().non_empty_fields

    setattr(doc, name, None)

    assert tuple(other for other in before if other != name) == doc.non_empty_fields


def test_granularity_takes_whole_numbers_of_any_type():
    doc = Document(granularity=np.int64(2), adjacency=3.0)

    assert (2, 3) == (doc.granularity, doc.adjacency)
    assert (int, int) == (type(doc.granularity), type(doc.adjacency))


def test_numpy_numbers_become_plain_ones():
    doc = Document(weight=np.float32(0.5), offset=np.int16(3))

    assert (0.5, float) == (doc.weight, type(doc.weight))
    assert (3, int) == (doc.offset, type(doc.offset))


def test_location_takes_arrays_and_tuples(torch):
    for box in ([1, 2.5], (1, 2.5), np.array([1, 2.5]), torch.tensor([1, 2.5])):
        assert [1, 2.5] == Document(location=box).location


def test_location_is_copied():
    box = [1.0, 2.0]
    doc = Document(location=box)

    box.append(3.0)

    assert [1.0, 2.0] == doc.location


def test_tags_of_other_mappings_become_a_dict():
    for mapping in (OrderedDict(a=1), MappingProxyType({"a": 1}), defaultdict(int, a=1)):
        assert ({"a": 1}, dict) == (Document(tags=mapping).tags, type(Document(tags=mapping).tags))


def test_scores_are_named_scores_whatever_they_were():
    doc = Document(
        scores={"a": 1, "b": {"value": 2, "op_name": "x"}, "c": NamedScore(value=3), "d": np.float32(4)}
    )

    assert {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0} == {
        name: score.value for name, score in doc.scores.items()
    }
    assert all(isinstance(score, NamedScore) for score in doc.scores.values())
    doc.scores["e"] = 5
    assert NamedScore(value=5) == doc.scores["e"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("image/jpeg", "image/jpeg"),
        ("jpg", "image/jpeg"),
        (".jpg", "image/jpeg"),
        ("JPG", "image/jpeg"),
        ("a.mp3", "audio/mpeg"),
        ("some/folder/a.png", "image/png"),
        ("application/x-of-mine", "application/x-of-mine"),
        ("no such thing", "no such thing"),
        ("", ""),
        (None, ""),
    ],
)
def test_mime_type_is_normalised(given, kept):
    doc = Document(mime_type="text/plain")

    doc.mime_type = given

    assert kept == doc.mime_type


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("a.png", "image/png"),
        ("/x/y.mp4", "video/mp4"),
        ("https://example.org/a.mp3", "audio/mpeg"),
        ("data:image/gif;base64,R0lGODlhAQABAAAAACw=", "image/gif"),
        ("data:text/html,<p>", "text/html"),
        ("no extension", ""),
    ],
)
def test_uri_tells_the_mime_type(uri, kind):
    assert (uri, kind) == (Document(uri=uri).uri, Document(uri=uri).mime_type)


def test_uri_and_mime_type_together():
    doc = Document(mime_type="text/plain", uri="a.png")
    assert "text/plain" == doc.mime_type

    doc.uri = "a.jpg"
    assert "image/jpeg" == doc.mime_type

    doc.uri = None
    assert ("", "image/jpeg") == (doc.uri, doc.mime_type)

    doc.mime_type = None
    assert "" == doc.mime_type


def test_uri_takes_a_path():
    doc = Document(uri=Path("folder") / "a.png")

    assert (str(Path("folder") / "a.png"), "image/png") == (doc.uri, doc.mime_type)


# --- content ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["text", "blob", "tensor"])
@pytest.mark.parametrize("then", ["text", "blob", "tensor"])
def test_content_fields_exclude_each_other(first, then):
    values = {"text": "x", "blob": b"x", "tensor": np.ones(2)}
    doc = Document(**{first: values[first]})

    setattr(doc, then, values[then])

    assert ("id", then) == doc.non_empty_fields
    assert then == doc.content_type
    assert values[then] is doc.content


@pytest.mark.parametrize("first", ["text", "blob", "tensor"])
def test_none_clears_that_field_only(first):
    values = {"text": "x", "blob": b"x", "tensor": np.ones(2)}
    for name in values:
        doc = Document(**{first: values[first]})

        setattr(doc, name, None)

        assert (None if name == first else first) == doc.content_type


@pytest.mark.parametrize(("name", "empty"), [("text", ""), ("blob", b"")])
def test_empty_content_clears_the_others(name, empty):
    doc = Document(tensor=np.ones(2))

    setattr(doc, name, empty)

    assert (None, None, None) == (doc.content, doc.content_type, doc.tensor)
    assert ("id",) == doc.non_empty_fields


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("text", "text"),
        (b"bytes", "blob"),
        (bytearray(b"bytes"), "blob"),
        (memoryview(b"bytes"), "blob"),
        (np.ones(2), "tensor"),
        ([1, 2], "tensor"),
        (sparse.eye_array(2).tocsr(), "tensor"),
    ],
)
def test_content_goes_where_its_type_belongs(value, kind):
    doc = Document(content=value)

    assert kind == doc.content_type
    assert value is getattr(doc, kind) or bytes(value) == doc.blob
    doc.content = None
    assert (None, ("id",)) == (doc.content, doc.non_empty_fields)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"text": "a", "blob": b"b"}, "blob"),
        ({"blob": b"b", "text": "a"}, "blob"),
        ({"text": "a", "tensor": [1]}, "tensor"),
        ({"tensor": [1], "blob": b"b"}, "tensor"),
        ({"content": "c", "tensor": [1], "blob": b"b"}, "text"),
        ({"content": b"c", "text": "a"}, "blob"),
    ],
)
def test_of_several_contents_the_last_in_order_counts(given, kept):
    for doc in (Document(**given), Document(given), Document({}, **given)):
        assert kept == doc.content_type
        assert ("id", kept) == doc.non_empty_fields


def test_content_of_a_dict_and_of_keywords_are_one_set():
    assert "blob" == Document({"text": "a"}, blob=b"b").content_type
    assert "blob" == Document({"blob": b"b"}, text="a").content_type


# --- construction -------------------------------------------------------------------------------------------


def test_a_dict_is_read_as_keywords_and_left_alone():
    given = {"text": "a", "tags": {"x": 1}, "unknown": 2}
    before = copy.deepcopy(given)

    doc = Document(given)

    assert ("a", {"x": 1, "unknown": 2}) == (doc.text, doc.tags)
    assert before == given


def test_a_dict_wins_over_keywords():
    doc = Document(
        {"text": "a", "chunks": [Document(text="dict")], "z": 1}, text="b", chunks=[Document()], z=2
    )

    assert ("a", ["dict"], {"z": 1}) == (doc.text, doc.chunks.texts, doc.tags)


@pytest.mark.parametrize("obj", [3, "x", b"x", 1.5, [1], np.ones(2), np.ones((2, 2)), object()])
def test_other_objects_make_no_document(obj):
    with pytest.raises(BadValue, match=type(obj).__name__):
        Document(obj)


def test_unknown_keywords_are_caught_dropped_or_refused():
    assert {"a": 1, "b": 2} == Document(a=1, tags={"b": 2}).tags
    assert {"b": 2} == Document(a=1, tags={"b": 2}, unknown_fields_handler="drop").tags
    assert {"a": 1} == Document({"a": 1}).tags
    assert {} == Document({"a": 1}, unknown_fields_handler="drop").tags
    with pytest.raises(UnknownField, match=r"'txt'.*'text'"):
        Document(txt="a", unknown_fields_handler="raise")
    with pytest.raises(AttributeError):
        Document({"a": 1}, unknown_fields_handler="raise")


def test_an_unknown_handler_is_an_error():
    with pytest.raises(BadValue, match=r"'rase'.*'raise'"):
        Document(a=1, unknown_fields_handler="rase")


def test_caught_keywords_do_not_grow_the_dict_that_was_given():
    tags = {"a": 1}

    doc = Document(tags=tags, b=2)

    assert ({"a": 1, "b": 2}, {"a": 1}) == (doc.tags, tags)


@pytest.mark.parametrize("way", ["keywords", "dict"])
def test_field_resolver_renames_keys(way):
    def make(resolver, **given):
        if way == "keywords":
            return Document(field_resolver=resolver, **given)
        return Document(given, field_resolver=resolver)

    assert ("a", {}) == (make({"body": "text"}, body="a").text, make({"body": "text"}, body="a").tags)
    # Also where every key is known already.
    assert ("id", "uri") == make({"text": "uri"}, text="a").non_empty_fields
    assert {"new": 1} == make({"old": "new"}, old=1).tags
    assert ({"keep": 2}, "a") == (
        make({"body": "text"}, body="a", keep=2).tags,
        make({"body": "text"}, body="a").text,
    )


def test_field_resolver_with_the_other_handlers():
    assert (
        "a" == Document({"body": "a"}, field_resolver={"body": "text"}, unknown_fields_handler="raise").text
    )
    with pytest.raises(UnknownField, match="'new'"):
        Document({"old": "a"}, field_resolver={"old": "new"}, unknown_fields_handler="raise")


def test_depth_counts_before_chunks_whatever_the_order():
    doc = Document(
        {"chunks": [Document()], "matches": [Document()], "granularity": 3, "adjacency": 4, "id": "p"}
    )

    assert ("p", 4) == (doc.chunks[0].parent_id, doc.chunks[0].granularity)
    assert 5 == doc.matches[0].adjacency


# --- a document of a document -------------------------------------------------------------------------------


def test_document_of_a_document_is_a_second_name():
    doc = Document(text="a")
    alias = Document(doc)

    alias.text = "b"
    doc.tags["x"] = 1
    alias.embedding = np.ones(2)
    alias.chunks.append(Document(id="c"))

    assert ("b", {"x": 1}) == (doc.text, alias.tags)
    assert doc.id == alias.id
    assert doc == alias
    assert hash(doc) == hash(alias)
    assert doc.embedding is alias.embedding
    assert [doc.id] == [chunk.parent_id for chunk in doc.chunks]
    assert doc.chunks is alias.chunks
    assert repr(doc) == repr(alias)
    assert isinstance(alias, Document)


def test_second_names_of_second_names_are_one():
    doc = Document(text="a")
    third = Document(Document(doc))

    third.text = "b"

    assert "b" == doc.text


def test_a_second_name_can_be_in_an_array():
    doc = Document(id="a", embedding=np.ones(2))
    da = DocumentArray([Document(doc), Document(embedding=np.zeros(2))])

    da[0].embedding = np.full(2, 5.0)

    assert [[5, 5], [0, 0]] == da.embeddings.tolist()
    assert [5, 5] == doc.embedding.tolist()
    da.embeddings = np.eye(2)
    assert [1, 0] == doc.embedding.tolist()


def test_copies_of_a_second_name_are_documents():
    alias = Document(Document(text="a", tags={"x": [1]}))

    for fresh in (copy.copy(alias), copy.deepcopy(alias), Document(alias, copy=True)):
        assert alias == fresh
        fresh.text = "b"
        assert (Document, "a") == (type(fresh), alias.text)


def test_second_name_keeps_the_identity_of_arrays():
    doc = Document(chunks=[Document()])
    alias, chunks = Document(doc), doc.chunks

    alias.chunks += [Document()]

    assert chunks is doc.chunks
    assert (2, [doc.id] * 2) == (len(chunks), [chunk.parent_id for chunk in chunks])


def test_copy_is_deep_with_the_same_id():
    doc = full()
    fresh = Document(doc, copy=True)

    assert doc == fresh
    assert doc.id == fresh.id
    fresh.tags["a"]["b"].append(3)
    fresh.chunks[0].text = "changed"
    fresh.embedding[0] = 9
    fresh.scores["cosine"].value = 9
    fresh.location.append(9.0)
    assert full() == doc


def test_nested_arrays_of_a_copy_belong_to_the_copy():
    fresh = Document(full(), copy=True)

    assert fresh.chunks.reference_doc is fresh
    assert fresh.matches.reference_doc is fresh


def test_document_with_keywords_is_a_copy_with_other_fields():
    doc = Document(id="a", text="old", tags={"x": 1}, uri="a.png", chunks=[Document(id="c")])

    fresh = Document(doc, text="new", tags={"y": 2}, weight=3, z=4)

    assert ("a", "new", 3) == (fresh.id, fresh.text, fresh.weight)
    assert ({"x": 1, "y": 2, "z": 4}, "a.png", ["c"]) == (fresh.tags, fresh.uri, fresh.chunks[:, "id"])
    assert ("old", {"x": 1}, 0) == (doc.text, doc.tags, doc.weight)


def test_document_with_other_chunks_leaves_the_source_alone():
    doc = Document(id="a", chunks=[Document(id="c")])

    fresh = Document(doc, chunks=[Document(id="n")], matches=[Document(id="m")])

    assert (["n"], ["m"]) == (fresh.chunks[:, "id"], fresh.matches[:, "id"])
    assert (["c"], 0) == (doc.chunks[:, "id"], len(doc.matches))


# --- copying and pickling -----------------------------------------------------------------------------------


def test_shallow_copy_shares_values_and_no_container():
    doc = full(tags={"a": [1]})
    fresh = copy.copy(doc)

    assert doc == fresh
    fresh.tags["b"] = 1
    fresh.tags["a"].append(2)
    fresh.chunks.append(Document())
    fresh.text = "other"
    assert ({"a": [1, 2]}, 1, "hello") == (doc.tags, len(doc.chunks), doc.text)
    assert doc.chunks[0] is fresh.chunks[0]


def test_deep_copy_shares_nothing(torch):
    for tensor in (np.ones(2), torch.ones(2), [1.0, 1.0], sparse.csr_array(np.ones((1, 2)))):
        doc = Document(tensor=tensor, embedding=tensor, tags={"x": [1]}, chunks=[Document(tags={"y": [1]})])
        fresh = copy.deepcopy(doc)

        assert doc == fresh
        assert fresh.tensor is not tensor
        assert type(tensor) is type(fresh.tensor)
        fresh.tags["x"].append(2)
        fresh.chunks[0].tags["y"].append(2)
        assert ([1], [1]) == (doc.tags["x"], doc.chunks[0].tags["y"])


def test_deep_copy_keeps_one_document_one():
    shared = Document(id="s")
    doc = Document(chunks=[shared], matches=[shared])

    one, other = copy.deepcopy([doc, doc])
    fresh = copy.deepcopy(doc)

    assert one is other
    assert fresh.chunks[0] is fresh.matches[0]


def test_deep_copy_of_a_document_that_is_its_own_match():
    doc = Document(id="d")
    doc.matches.append(doc)

    fresh = copy.deepcopy(doc)

    assert fresh.matches[0] is fresh


def test_copies_of_documents_without_an_id_have_none():
    doc = Document(text="a")
    doc.pop("id")

    assert (None, None) == (copy.copy(doc).id, copy.deepcopy(doc).id)


def test_pickle_keeps_every_field():
    doc = full()

    back = pickle.loads(pickle.dumps(doc))

    assert doc == back
    assert doc.non_empty_fields == back.non_empty_fields


@pytest.mark.parametrize("grad", [False, True])
def test_pickle_detaches_torch_and_leaves_the_document_alone(torch, grad):
    tensor = torch.ones(2, requires_grad=grad) * 2
    doc = Document(tensor=tensor, embedding=tensor)

    back = pickle.loads(pickle.dumps(doc))

    assert doc == back
    assert isinstance(back.tensor, torch.Tensor)
    assert not back.tensor.requires_grad
    assert doc.tensor is tensor
    assert doc.embedding is tensor
    assert tensor.requires_grad is grad


def test_nbytes_is_the_size_of_the_bytes():
    doc = full()

    assert len(bytes(doc)) == len(doc.to_bytes()) == doc.nbytes
    assert doc == Document.from_bytes(bytes(doc))


def test_copy_from_takes_everything():
    doc, other = (
        Document(text="old", tags={"x": 1}, chunks=[Document()]),
        full(uri="a.png", mime_type="text/plain"),
    )

    doc.copy_from(other)

    assert other == doc
    assert ("a.png", "text/plain") == (doc.uri, doc.mime_type)
    doc.tags["a"]["b"].append(9)
    doc.chunks[0].text = "changed"
    assert full(uri="a.png", mime_type="text/plain") == other
    assert doc.chunks.reference_doc is doc


def test_copy_from_itself_changes_nothing():
    doc = full()

    doc.copy_from(doc)
    doc.copy_from(Document(doc))

    assert full() == doc


def test_copy_from_lets_old_chunks_keep_their_parent():
    doc, chunk = Document(id="a"), Document()
    doc.chunks.append(chunk)

    doc.copy_from(Document(id="b"))

    assert ("a", 0) == (chunk.parent_id, len(doc.chunks))


def test_copy_from_something_else_is_an_error():
    doc = full()

    with pytest.raises(FieldTypeError, match="dict"):
        doc.copy_from({"text": "x"})

    assert full() == doc


def test_become_takes_every_field_and_shares_arrays():
    tensor, vector = np.ones(3), np.ones(2)
    other = Document(id="b", tensor=tensor, embedding=vector, uri="a.png", mime_type="x/y", tags={"k": 1})
    other.chunks, other.scores = [Document(id="c")], {"s": 1}
    doc = Document(id="a", text="old", chunks=[Document()], weight=2)

    doc._become(other)

    assert other == doc
    assert (doc.tensor is tensor, doc.embedding is vector) == (True, True)
    doc.tags["k"] = 2
    doc.scores["s"].value = 2
    doc.chunks.append(Document())
    assert ({"k": 1}, 1.0, 1) == (other.tags, other.scores["s"].value, len(other.chunks))


def test_become_leaves_both_arrays_true():
    da = DocumentArray([Document(embedding=np.full(2, i)) for i in range(3)])
    other = DocumentArray([Document(embedding=np.full(2, 7)), Document(embedding=np.full(2, 8))])
    assert (3, 2) == (len(da.embeddings), len(other.embeddings))

    da[1]._become(other[0])
    other[0].embedding = np.full(2, 9)

    assert [[0, 0], [7, 7], [2, 2]] == da.embeddings.tolist()
    assert [[9, 9], [8, 8]] == other.embeddings.tolist()


# --- unsetting ----------------------------------------------------------------------------------------------


def test_clear_unsets_everything():
    doc, chunk = full(), Document()
    doc.chunks.append(chunk)

    doc.clear()

    assert ((), None) == (doc.non_empty_fields, doc.id)
    assert "full" == chunk.parent_id
    doc.text = "again"
    assert ("text",) == doc.non_empty_fields


def test_pop_unsets_fields_and_passes_over_unknown_names():
    doc = full()

    assert doc.pop("text", "tags", "no such field") is None

    assert ("", {}) == (doc.text, doc.tags)
    assert "a.txt" == doc.uri
    doc.pop("content", "id")
    assert doc.id is None


# --- equality and hashing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "other"),
        ("parent_id", "other"),
        ("granularity", 7),
        ("adjacency", 7),
        ("text", "other"),
        ("blob", b"other"),
        ("tensor", [1]),
        ("mime_type", "other"),
        ("weight", 7.0),
        ("uri", "other"),
        ("tags", {"a": 2}),
        ("_metadata", {"a": 2}),
        ("offset", 7.0),
        ("location", [7.0]),
        ("embedding", np.array([1.0, 7.0])),
        ("modality", "other"),
        ("evaluations", {"recall": 7}),
        ("scores", {"cosine": 7}),
        ("chunks", [Document(id="c", text="other")]),
        ("matches", []),
    ],
)
def test_equality_looks_at_every_field(name, value):
    one, other = full(), full()
    assert one == other
    assert one.content_hash == other.content_hash

    setattr(other, name, value)

    assert one != other
    assert other != one
    if name not in ("id", "parent_id"):
        assert one.content_hash != other.content_hash


def arrays_of_two(torch):
    return [
        np.array([1.0, 2.0]),
        np.array([1, 2], dtype=np.int8),
        [1, 2],
        (1.0, 2.0),
        torch.tensor([1.0, 2.0]),
        torch.tensor([1, 2]),
    ]


@pytest.mark.parametrize("field", ["tensor", "embedding"])
def test_arrays_are_equal_by_value_in_any_framework(torch, field):
    for a in arrays_of_two(torch):
        for b in arrays_of_two(torch):
            one, other = Document({"id": "x", field: a}), Document({"id": "x", field: b})
            assert one == other
            assert one.content_hash == other.content_hash


@pytest.mark.parametrize("field", ["tensor", "embedding"])
def test_arrays_of_other_values_or_shapes_differ(torch, field):
    one = Document({"id": "x", field: np.array([1.0, 2.0])})
    for b in (np.array([1.0, 3.0]), np.array([[1.0, 2.0]]), np.array([1.0]), [1, 2, 3], torch.zeros(2)):
        other = Document({"id": "x", field: b})
        assert one != other
        assert one.content_hash != other.content_hash


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
def test_sparse_arrays_are_equal_by_value(kind):
    matrix = sparse.eye_array(3).asformat(kind)

    assert Document(id="x", embedding=matrix) == Document(id="x", embedding=sparse.eye_array(3).tocsr())
    assert Document(id="x", embedding=matrix) == Document(id="x", embedding=np.eye(3))
    assert Document(id="x", embedding=matrix) != Document(id="x", embedding=2 * np.eye(3))


def test_equality_prints_nothing(capsys):
    assert Document(id="x", tensor=np.ones(2)) == Document(id="x", tensor=np.ones(2))
    assert ("", "") == capsys.readouterr()


def test_equality_with_arrays_in_tags(torch):
    def of(array):
        return Document(id="x", tags={"a": [{"v": array}], "b": 1})

    assert of(np.array([1, 2])) == of(np.array([1.0, 2.0]))
    assert of(np.array([1, 2])).content_hash == of(np.array([1.0, 2.0])).content_hash
    assert of(np.array([1, 2])) != of(np.array([1, 3]))
    assert of(np.array([1, 2])) != of(np.array([1, 2, 3]))
    assert of(np.array([1, 2])) != of("text")
    assert of(torch.tensor([1, 2])) == of(torch.tensor([1, 2]))


def test_documents_equal_documents_only():
    class Photo(Document):
        pass

    assert Document(id="x") != Photo(id="x")
    assert Photo(id="x") == Photo(id="x")
    assert Document(id="x") != "x"
    assert Document(id="x") != {"id": "x"}


def test_reading_a_field_changes_neither_equality_nor_hash():
    doc, other = Document(id="x"), Document(id="x")
    before = hash(doc), doc.content_hash

    for name in (*FIELDS, "content"):
        getattr(doc, name)

    assert before == (hash(doc), doc.content_hash)
    assert doc == other


def test_hash_is_that_of_the_id():
    assert hash("x") == hash(Document(id="x", tags={"a": [1]}, chunks=[Document()]))
    assert 1 == len({Document(id="x", text="a"), Document(id="x", text="a")})


def test_content_hash_leaves_ids_out():
    one, other = full(), full(id="other", parent_id="elsewhere", chunks=[Document(id="other", text="chunk")])

    assert one.content_hash == other.content_hash
    assert 0 <= one.content_hash < 1 << 128


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": True}, {"a": 1}),
        ({"a": {"x", "y", "z"}}, {"a": {"z", "y", "x"}}),
        ({"a": {"x"}}, {"a": frozenset("x")}),
        ({"a": ({"k": 1, "l": 2},)}, {"a": ({"l": 2, "k": 1},)}),
        ({"a": np.float64(2)}, {"a": 2}),
        ({"a": 0.0}, {"a": -0.0}),
    ],
)
def test_equal_tags_have_equal_content_hashes(one, other):
    assert one == other
    assert Document(tags=one).content_hash == Document(tags=other).content_hash


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": 2}), ({"a": [1]}, {"a": (1,)}), ({"a": "1"}, {"a": 1}), ({"1": 0}, {1: 0})],
)
def test_other_tags_have_other_content_hashes(one, other):
    assert Document(tags=one).content_hash != Document(tags=other).content_hash


def test_bytes_cannot_pass_for_another_field():
    one = Document(blob=b"x", mime_type="image/png")
    other = Document(blob=b'x\0mime_type\0"image/png"')

    assert one.content_hash != other.content_hash


def in_another_process(code, seed="0"):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, env={"PYTHONHASHSEED": seed, "PATH": ""}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_content_hash_is_the_same_in_every_process():
    code = (
        "import numpy as np; from docarray import Document; "
        "print(Document(text='a', tags={'s': set('abcdefgh'), 'd': {'x': 1, 'y': (2, 3)}}, "
        "embedding=np.arange(3), scores={'q': 1}, chunks=[Document(text='c')]).content_hash)"
    )
    here = Document(
        text="a", tags={"s": set("hgfedcba"), "d": {"y": (2, 3), "x": 1}},
        embedding=np.arange(3), scores={"q": 1}, chunks=[Document(text="c")],
    ).content_hash  # fmt: skip

    assert {str(here)} == {in_another_process(code, seed) for seed in ("1", "2")}


# --- ids ----------------------------------------------------------------------------------------------------


def test_an_id_is_32_hex_digits_and_stays():
    doc = Document()

    assert (32, doc.id) == (len(doc.id), doc.id)
    assert 0 <= int(doc.id, 16)


def test_ids_do_not_repeat():
    assert 2_000 == len({Document().id for _ in range(2_000)})


def test_seeding_does_not_make_ids_repeat():
    ids = set()
    for _ in range(3):
        random.seed(1)
        np.random.seed(1)
        ids |= {Document().id for _ in range(300)}

    assert 900 == len(ids)


def test_drawing_ids_leaves_global_random_alone():
    before = random.getstate()

    [Document().id for _ in range(600)]

    assert before == random.getstate()


@pytest.mark.skipif(
    not hasattr(sys, "getandroidapilevel") and sys.platform == "win32", reason="no fork there"
)
def test_a_forked_child_draws_other_ids():
    code = """
import os
from docarray import Document
Document().id
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, ' '.join(Document().id for _ in range(300)).encode())
    os._exit(0)
os.close(writer)
mine = {Document().id for _ in range(300)}
data = b''
while part := os.read(reader, 1 << 16):
    data += part
os.wait()
theirs = set(data.decode().split())
print(len(mine), len(theirs), len(mine & theirs))
"""
    assert "300 300 0" == in_another_process(code)


def test_changing_an_id_tells_the_chunks():
    doc = Document(chunks=[Document(chunks=[Document()])])

    doc.id = "new"

    assert "new" == doc.chunks[0].parent_id
    assert doc.chunks[0].id == doc.chunks[0].chunks[0].parent_id


# --- paths --------------------------------------------------------------------------------------------------


@pytest.fixture
def deep():
    return Document(
        text="root",
        tags={"price": 3, "a": {"b": {"c": 1}}, "list": [1, {"x": 2}], "1": "one", 2: "two", "k__y": "z",
              "_root_id_": "r"},
        embedding=np.arange(4.0),
        scores={"cosine": {"value": 0.5}},
        location=[7.0, 8.0],
        _metadata={"m": 1},
        chunks=[Document(text="c0"), Document(text="c1", chunks=[Document(text="c10")])],
        matches=[Document(text="m0"), Document(), Document(tags={"x": "hit"})],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("text", "root"),
        ("content", "root"),
        ("tags__price", 3),
        ("tags__a__b", {"c": 1}),
        ("tags__a__b__c", 1),
        ("tags__list__0", 1),
        ("tags__list__-1__x", 2),
        ("tags__1", "one"),
        ("tags__2", "two"),
        ("tags___root_id_", "r"),
        ("tags__missing", None),
        ("tags__missing__deeper", None),
        ("scores__cosine__value", 0.5),
        ("scores__other__value", None),
        ("embedding__3", 3.0),
        ("location__1", 8.0),
        ("_metadata__m", 1),
        ("chunks__0__text", "c0"),
        ("chunks__1__chunks__0__text", "c10"),
        ("matches__2__tags__x", "hit"),
        (("tags", "k__y"), "z"),
        (("tags", 2), "two"),
        (("tags", "list", 1, "x"), 2),
        (("text",), "root"),
    ],
)
def test_paths_read_what_is_there(deep, path, value):
    assert value == deep.get_attributes(path)
    assert value == deep._get_attributes(path)


def test_several_paths_give_a_list(deep):
    assert ["root", 3, None] == deep.get_attributes("text", "tags__price", "tags__nothing")


def test_empty_containers_end_a_path():
    assert [None, None, None] == Document().get_attributes("chunks__0__text", "embedding__3", "location__0")


@pytest.mark.parametrize(
    ("path", "error", "builtin"),
    [
        ("txt", UnknownField, AttributeError),
        ("foo__bar", UnknownField, AttributeError),
        ("clear", UnknownField, AttributeError),
        ("chunks__0__txt", UnknownField, AttributeError),
        ("embedding__9", OutOfRange, IndexError),
        ("chunks__5__text", OutOfRange, IndexError),
        ("__class__", UnknownField, AttributeError),
        ("", BadValue, ValueError),
        (3, FieldTypeError, TypeError),
    ],
)
def test_paths_that_lead_nowhere(deep, path, error, builtin):
    with pytest.raises(error) as caught:
        deep.get_attributes(path)
    assert isinstance(caught.value, builtin)


def test_an_unknown_attribute_names_the_closest():
    with pytest.raises(UnknownField, match=r"'txt'.*'text'"):
        Document().txt  # noqa: B018
    with pytest.raises(AttributeError):
        Document().txt = "x"
    assert not hasattr(Document(), "txt")


# --- subclasses ---------------------------------------------------------------------------------------------


class Photo(Document):
    """A subclass with an attribute and a method of its own."""

    def __init__(self, *args, rating=0, **kwargs):
        super().__init__(*args, **kwargs)
        self.rating = rating

    def shout(self):
        return self.text.upper()


def test_a_subclass_is_a_document_with_more():
    photo = Photo(text="a", rating=3, tags={"x": 1}, unknown=2)

    assert ("A", 3, {"x": 1, "unknown": 2}) == (photo.shout(), photo.rating, photo.tags)
    assert isinstance(photo, Document)
    assert repr(photo).startswith("<Photo ('id', 'text', 'tags') at ")


def test_copies_of_a_subclass_keep_the_class():
    photo = Photo(text="a", rating=3)

    assert (Photo, Photo) == (type(copy.copy(photo)), type(copy.deepcopy(photo)))
    assert photo == copy.deepcopy(photo)


def test_copies_of_a_subclass_keep_what_it_adds():
    photo = Photo(text="a", rating=[3])

    shallow, deep = copy.copy(photo), copy.deepcopy(photo)

    assert ([3], [3]) == (shallow.rating, deep.rating)
    assert (True, False) == (shallow.rating is photo.rating, deep.rating is photo.rating)


def test_a_pickled_subclass_keeps_what_it_adds():
    photo = Photo(text="a", rating=3, chunks=[Document(text="c")])

    back = pickle.loads(pickle.dumps(photo))

    assert photo == back
    assert (Photo, 3, "A") == (type(back), back.rating, back.shout())


def test_a_second_name_of_a_subclass_equals_it():
    photo = Photo(text="a")

    assert photo == Document(photo)
    assert type(copy.deepcopy(Document(photo))) is Photo


# --- bad input ----------------------------------------------------------------------------------------------

WRONG = {
    "id": [3, b"x", ["x"], 1.5],
    "parent_id": [3, b"x"],
    "granularity": ["x", 1.5, [1], None.__class__],
    "adjacency": ["x", 1.5, float("nan")],
    "blob": ["text", 3, [1], np.zeros(2)],
    "tensor": ["text", b"x", 3, {"a": 1}, {1, 2}, object()],
    "mime_type": [3, b"x"],
    "text": [b"x", 3, ["x"], np.zeros(2)],
    "content": [3, {"a": 1}, object()],
    "weight": ["x", [1.0], 1j],
    "uri": [3, b"x", ["x"]],
    "tags": ["x", [("a", 1)], 3],
    "_metadata": ["x", 3],
    "offset": ["x", [1.0]],
    "location": ["ab", 3, ["a"], [[1.0]], {"a": 1}],
    "embedding": ["text", b"x", 3, {"a": 1}, object()],
    "modality": [3, b"x"],
    "evaluations": ["x", 3, {"a": "x"}, {"a": [1]}],
    "scores": ["x", 3, {"a": "x"}, {"a": object()}],
    "chunks": [3, "x", [3], [Document(), "x"], {"a": 1}],
    "matches": [3, "x", [None], {"a": 1}],
}
CASES = [(name, value) for name, values in WRONG.items() for value in values]


def test_every_field_is_tried_with_a_wrong_type():
    assert {*FIELDS, "content"} == set(WRONG)


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{n}={type(v).__name__}" for n, v in CASES])
def test_a_wrong_type_names_the_field_and_changes_nothing(name, value):
    doc = full()
    before = state(doc)

    with pytest.raises(FieldTypeError) as caught:
        setattr(doc, name, value)

    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, DocArrayError)
    shown = "tensor" if name == "content" else name
    if name not in ("chunks", "matches"):
        assert repr(shown) in str(caught.value)
        assert "'full'" in str(caught.value)
    same(before, state(doc))


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{n}={type(v).__name__}" for n, v in CASES])
def test_a_wrong_type_makes_no_document(name, value):
    with pytest.raises(FieldTypeError):
        Document(**{name: value})
    with pytest.raises(FieldTypeError):
        Document({name: value})


def test_an_unknown_part_of_a_score_is_an_error():
    doc = full()

    with pytest.raises(UnknownField, match=r"'scores'.*'valu'"):
        doc.scores = {"a": {"valu": 1}}

    assert full() == doc


# --- laws ---------------------------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
documents = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "text": st.text(max_size=5),
            "tags": st.dictionaries(st.text(max_size=3), plain, max_size=3),
            "weight": st.floats(allow_nan=False),
            "uri": st.text(max_size=5),
            "location": st.lists(st.floats(allow_nan=False), max_size=2),
            "scores": st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False), max_size=2),
        },
    ),
    lambda inner: st.fixed_dictionaries(dict.fromkeys(("chunks", "matches"), st.lists(inner, max_size=2))),
    max_leaves=4,
)


def built(spec):
    nested = {name: [built(one) for one in spec[name]] for name in ("chunks", "matches") if name in spec}
    return Document({"id": "x", **spec, **nested})


@given(documents)
def test_copies_are_equal_and_hash_alike(spec):
    doc = built(spec)
    other = Document()
    other.copy_from(doc)

    for fresh in (
        copy.copy(doc),
        copy.deepcopy(doc),
        Document(doc, copy=True),
        Document(doc),
        built(spec),
        other,
    ):
        assert doc == fresh
        assert doc.content_hash == fresh.content_hash
        assert doc.non_empty_fields == fresh.non_empty_fields
