"""Live documents: what is changed in a document of a store is in the store, whatever was changed and however."""

import copy
import gc
import pickle

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import BadValue, ClosedStore, FieldTypeError, MissingDocument, StaleDocument
from docarray.score import NamedScore

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')


def some(key, **more):
    return Document(
        id=key,
        text=f"text of {key}",
        tags={"n": 1, "deep": {"list": [1, {"x": 2}]}},
        embedding=np.arange(3, dtype=np.float32),
        chunks=[
            Document(id=f"{key}c{i}", text=f"chunk {i}", chunks=[Document(id=f"{key}c{i}c")]) for i in (0, 1)
        ],
        matches=[Document(id=f"{key}m", scores={"cosine": 0.5})],
        **more,
    )


@pytest.fixture
def place(tmp_path):
    return {"connection": str(tmp_path / "docs.db")}


@pytest.fixture
def da(place):
    with_docs = DocumentArray([some("a"), some("b"), some("c")], storage="sqlite", config=place)
    yield with_docs
    with_docs.close()


@pytest.fixture
def saved(place):
    """Gives a document as another connection to the file reads it."""

    def read(key):
        other = DocumentArray(storage="sqlite", config=place)
        try:
            return copy.deepcopy(other[key])
        finally:
            other.close()

    return read


CHANGES = {
    "text": lambda d: setattr(d, "text", "new"),
    "blob in place of text": lambda d: setattr(d, "blob", b"\0new"),
    "tensor": lambda d: setattr(d, "tensor", np.eye(2)),
    "content": lambda d: setattr(d, "content", "new"),
    "content away": lambda d: setattr(d, "content", None),
    "uri, and its type": lambda d: setattr(d, "uri", "x/picture.png"),
    "mime_type": lambda d: setattr(d, "mime_type", "audio/mpeg"),
    "weight": lambda d: setattr(d, "weight", 2),
    "offset": lambda d: setattr(d, "offset", 0.1),
    "modality": lambda d: setattr(d, "modality", "image"),
    "parent_id": lambda d: setattr(d, "parent_id", "p"),
    "granularity": lambda d: setattr(d, "granularity", 3),
    "adjacency": lambda d: setattr(d, "adjacency", 2),
    "location": lambda d: setattr(d, "location", [1, 2.5]),
    "location in place": lambda d: d.location.append(3),
    "embedding": lambda d: setattr(d, "embedding", np.ones(3, np.float32)),
    "embedding of another shape": lambda d: setattr(d, "embedding", np.ones((2, 2))),
    "embedding away": lambda d: setattr(d, "embedding", None),
    "tags": lambda d: setattr(d, "tags", {"only": True}),
    "tags away": lambda d: setattr(d, "tags", None),
    "a tag": lambda d: d.tags.update(n=2),
    "a tag of a tag": lambda d: d.tags["deep"]["list"][1].__setitem__("x", 3),
    "a tag set and changed": lambda d: (d.tags.__setitem__("new", {}), d.tags["new"].update(y=1)),
    "a tag deleted": lambda d: d.tags.pop("n"),
    "scores": lambda d: setattr(d, "scores", {"bm25": 2}),
    "a score": lambda d: setattr(d.scores["fresh"], "value", 2),
    "a score replaced": lambda d: d.scores.__setitem__("fresh", NamedScore(value=1, op_name="x")),
    "evaluations": lambda d: setattr(d.evaluations["recall"], "value", 0.5),
    "_metadata": lambda d: d._metadata.update(schema={"a": 1}),
    "_metadata set": lambda d: setattr(d, "_metadata", {"b": 2}),
    "pop": lambda d: d.pop("text", "tags"),
    "copy_from": lambda d: d.copy_from(Document(id=d.id, text="other", chunks=[Document(id="q")])),
    "chunks": lambda d: setattr(d, "chunks", [Document(id="only")]),
    "chunks away": lambda d: setattr(d, "chunks", None),
    "chunks append": lambda d: d.chunks.append(Document(id="z", chunks=[Document(id="zz")])),
    "chunks extend": lambda d: d.chunks.extend([Document(id="y"), Document(id="z")]),
    "chunks insert": lambda d: d.chunks.insert(0, Document(id="z")),
    "chunks item": lambda d: d.chunks.__setitem__(0, Document(id="z")),
    "chunks slice": lambda d: d.chunks.__setitem__(slice(0, 2), [Document(id="z")]),
    "chunks delete": lambda d: d.chunks.__delitem__(0),
    "chunks pop": lambda d: d.chunks.pop(),
    "chunks remove": lambda d: d.chunks.remove(d.chunks[0]),
    "chunks reverse": lambda d: d.chunks.reverse(),
    "chunks sort": lambda d: d.chunks.sort("-id"),
    "chunks clear": lambda d: d.chunks.clear(),
    "chunks +=": lambda d: d.chunks.__iadd__([Document(id="z")]),
    "texts of chunks": lambda d: setattr(d.chunks, "texts", ["one", "two"]),
    "embeddings of chunks": lambda d: setattr(d.chunks, "embeddings", np.eye(2)),
    "an attribute of chunks": lambda d: d.chunks.__setitem__((slice(None), "weight"), [1.0, 2.0]),
    "a chunk": lambda d: setattr(d.chunks[1], "text", "new"),
    "a tag of a chunk": lambda d: d.chunks[1].tags.update(x={"y": 1}),
    "a chunk of a chunk": lambda d: setattr(d.chunks[1].chunks[0], "text", "new"),
    "a tag of a chunk of a chunk": lambda d: d.chunks[0].chunks[0].tags.update(x=1),
    "a chunk that was appended": lambda d: (
        d.chunks.append(Document(id="z")),
        setattr(d.chunks[-1], "text", "t"),
    ),
    "in a chunk that was appended": lambda d: (
        d.chunks.append(Document(id="z", chunks=[Document(id="zz")])),
        d.chunks[-1].chunks[0].tags.update(deep=[1]),
    ),
    "matches append": lambda d: d.matches.append(Document(id="z")),
    "a match": lambda d: setattr(d.matches[0], "text", "new"),
    "a score of a match": lambda d: setattr(d.matches[0].scores["cosine"], "value", 0.25),
    "a second name": lambda d: setattr(Document(d), "text", "new"),
    "a tag of a second name": lambda d: Document(d).tags.update(n=5),
    "a chunk of a second name": lambda d: setattr(Document(d).chunks[0], "text", "new"),
    "a path": lambda d: d.embed_feature_hashing(8),
    "text to tensor": lambda d: d.convert_text_to_tensor({"text": 2}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_saved(name, da, saved):
    model = some("b")
    CHANGES[name](model)

    CHANGES[name](da["b"])

    assert model == saved("b")
    assert model == da["b"]
    assert [some("a"), some("c")] == [saved("a"), saved("c")]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_a_document_that_one_holds_is_seen_in_it(name, da):
    model, held = some("b"), da[1]
    held.chunks, held.tags  # noqa: B018  (read before the change)
    CHANGES[name](model)

    CHANGES[name](held)

    assert model == held
    assert held is da["b"]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_taken_back_with_its_transaction(name, da, saved):
    held = da["b"]

    def change_and_fail():
        with da:
            CHANGES[name](held)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        change_and_fail()

    assert some("b") == saved("b") == held == da["b"]


def test_a_document_is_one_object_for_as_long_as_it_is_held(da):
    first = da["a"]

    assert first is da[0] is da[:2][0] is next(iter(da)) is da.find({"text": "text of a"})[0]
    assert first.chunks[0] is da["@c"][0] is da[:, "chunks"][0][0]
    number = id(first)
    del first
    gc.collect()
    assert isinstance(number, int)
    assert "a" == da["a"].id


def test_nested_documents_are_the_same_by_whatever_way_they_are_reached(da, saved):
    chunk = da["@c"][0]
    root = da["a"]
    assert chunk is root.chunks[0]
    deep = da["@cc"][0]
    assert deep is chunk.chunks[0]

    deep.text = "deep"
    chunk.text = "less deep"

    assert ("less deep", "deep") == (saved("a").chunks[0].text, saved("a").chunks[0].chunks[0].text)


def test_a_root_in_hand_and_a_path_show_one_document(da, saved):
    root = da["a"]
    root.chunks[1].text = "by the root"

    da["@c"][1].tags["by"] = "the path"

    assert ("by the root", {"by": "the path"}) == (root.chunks[1].text, root.chunks[1].tags)
    assert ("by the root", {"by": "the path"}) == (saved("a").chunks[1].text, saved("a").chunks[1].tags)


def test_what_is_put_in_is_copied(da, saved):
    chunk, tags, vector = Document(id="z"), {"x": [1]}, np.zeros(3)
    doc = da["a"]
    doc.chunks.append(chunk)
    doc.tags = tags
    doc.embedding = vector

    chunk.text = "later"
    tags["x"].append(2)
    vector[0] = 9

    assert ("", {"x": [1]}, 0) == (doc.chunks[-1].text, doc.tags, doc.embedding[0])
    assert doc == saved("a")


@pytest.mark.parametrize("field", ["embedding", "tensor", "content"])
def test_arrays_are_read_only(da, field):
    setattr(da["a"], field, np.zeros(3))

    with pytest.raises(ValueError, match="read-only"):
        getattr(da["a"], field)[0] = 1


def test_numbers_of_an_array_are_set_by_path(da, saved):
    da["a", "embedding__1"] = 7

    assert [0, 7, 2] == saved("a").embedding.tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.tags.update(x=object()),
        lambda d: d.tags["deep"]["list"].append(object()),
        lambda d: setattr(d, "tags", {"x": object()}),
        lambda d: d.chunks.append(Document(tags={"x": object()})),
        lambda d: d.chunks[0].tags.update(x=object()),
        lambda d: setattr(d, "chunks", [Document(tags={"x": object()})]),
        lambda d: setattr(d, "weight", "heavy"),
        lambda d: setattr(d.scores["x"], "value", "much"),
        lambda d: setattr(d, "id", "b"),
        lambda d: setattr(d, "id", None),
        lambda d: d.clear(),
    ],
    ids=[
        "a tag",
        "a deep tag",
        "tags",
        "a new chunk",
        "a tag of a chunk",
        "chunks",
        "a field",
        "a score",
        "an id",
        "no id",
        "clear",
    ],
)
def test_what_cannot_be_stored_changes_nothing(da, saved, change):
    doc = da["a"]

    with pytest.raises((FieldTypeError, BadValue)):
        change(doc)

    doc.scores.pop("x", None)  # a score that is read is made
    assert some("a") == doc == saved("a")


def test_an_id_is_changed_in_place(da, saved):
    doc = da["b"]

    doc.id = "new"

    assert ["a", "new", "c"] == da[:, "id"]
    assert doc is da["new"]
    assert "b" not in da
    assert ["new", "new"] == [chunk.parent_id for chunk in saved("new").chunks]


def test_a_container_from_before_says_so(da, place):
    doc = da["a"]
    tags, deep, scores = doc.tags, doc.tags["deep"], doc.scores
    doc.tags = {"n": 2}
    doc.scores = {"x": 1}

    for change in (lambda: tags.update(n=3), lambda: deep.update(n=3), lambda: scores.update(y=3)):
        with pytest.raises(StaleDocument, match="'a'"):
            change()

    assert {"n": 2} == doc.tags


def test_what_another_connection_wrote_is_seen_when_the_document_is_taken_again(da, place):
    held, other = da["a"], DocumentArray(storage="sqlite", config=place)
    other["a"].text = "other"
    other["a"].chunks[0].text = "other chunk"

    again = da["a"]

    assert again is held
    assert ("other", "other chunk") == (held.text, held.chunks[0].text)
    other.close()


def test_changes_of_two_connections_to_two_fields_both_stay(da, place, saved):
    held, other = da["a"], DocumentArray(storage="sqlite", config=place)

    other["a"].tags = {"by": "other"}
    held.text = "mine"

    assert ("mine", {"by": "other"}) == (saved("a").text, saved("a").tags)
    other.close()


def test_a_document_that_another_connection_deleted_is_not_written_anew(da, place):
    held, other = da["a"], DocumentArray(storage="sqlite", config=place)
    del other["a"]

    with pytest.raises(MissingDocument, match="'a'"):
        held.text = "new"
    with pytest.raises(KeyError):
        da["a"]

    assert "text of a" == held.text
    assert ["b", "c"] == da[:, "id"] == other[:, "id"]
    other.close()


@pytest.mark.parametrize(
    "go",
    [
        lambda da: da.__delitem__("a"),
        lambda da: da.pop(0),
        lambda da: da.remove("a"),
        lambda da: da.clear(),
        lambda da: da.__setitem__("a", Document(id="a", text="another")),
        lambda da: da.__setitem__(slice(0, 1), []),
        lambda da: da.upsert([Document(id="a", text="another")]),
    ],
    ids=["del", "pop", "remove", "clear", "replace", "slice", "upsert"],
)
def test_a_document_that_is_out_of_its_array_is_a_document_like_any_other(da, saved, go):
    held = da["a"]
    chunk = held.chunks[0]
    go(da)

    held.text = chunk.text = "mine alone"
    held.tags["x"] = 1
    held.chunks.append(Document())

    assert ("mine alone", 1, 3) == (held.text, held.tags["x"], len(held.chunks))
    if "a" in da:
        assert {"mine alone"}.isdisjoint({saved("a").text, da["a"].text})
        assert held is not da["a"]


def test_after_close_a_document_can_be_read_and_not_written(place):
    da = DocumentArray([some("a")], storage="sqlite", config=place)
    held = da["a"]
    da.close()

    assert some("a") == held
    for change in (
        lambda: setattr(held, "text", "x"),
        lambda: held.tags.update(x=1),
        lambda: held.chunks.clear(),
    ):
        with pytest.raises(ClosedStore):
            change()
    assert some("a") == held


@pytest.mark.parametrize(
    "way", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d)), lambda d: Document(d, copy=True)],
    ids=["copy", "deepcopy", "pickle", "Document"],
)  # fmt: skip
def test_copies_are_documents_of_their_own(da, saved, way):
    fresh = way(da["a"])

    assert (Document, some("a")) == (type(fresh), fresh)
    fresh.text = "mine"
    assert some("a") == saved("a")


def test_results_of_a_search_are_copies(da, saved):
    hit = da.find(np.ones(3), limit=1)[0]

    hit.text = "mine"
    hit.tags["n"] = 9

    assert [some(key) for key in "abc"] == [saved(key) for key in "abc"]


def test_a_document_put_into_another_array_is_copied_there(da, saved, tmp_path):
    other = DocumentArray(da, storage="sqlite", config={"connection": str(tmp_path / "other.db")})
    other.append(Document(da["a"], id="d"))
    memory = DocumentArray([da["b"]])

    other["a"].text = "other"
    other["d"].chunks[0].text = "other"
    memory[0].text = "live"

    assert some("a") == saved("a")
    assert "live" == saved("b").text
    assert ["a", "b", "c", "d"] == other[:, "id"]
    other.close()


def test_many_changes_are_one_transaction(da):
    before = da.store.mark()
    da[:, "weight"] = [1.0, 2.0, 3.0]
    da["@c", "text"] = "same"
    da.match(da, limit=2)

    assert 3 == da.store.mark() - before


@pytest.mark.parametrize(
    "change",
    [
        lambda da: setattr(da, "texts", ["x", "y", "z"]),
        lambda da: setattr(da, "embeddings", np.eye(3)),
        lambda da: setattr(da, "embeddings", None),
        lambda da: setattr(da, "blobs", [b"x", b"y", b"z"]),
        lambda da: setattr(da, "tensors", np.zeros((3, 2))),
        lambda da: setattr(da, "contents", ["x", b"y", np.ones(2)]),
        lambda da: da.__setitem__((slice(None), "tags__n"), [7, 8, 9]),
        lambda da: da.__setitem__(([2, 0], ["text", "weight"]), [["p", "q"], [0.5, 0.25]]),
        lambda da: da.__setitem__(("@c", "text"), "same"),
        lambda da: da.__setitem__(("@c[0]", "tags"), {"k": [1]}),
        lambda da: da.__setitem__("@m", [Document(id=f"{k}m", text="m") for k in "abc"]),
        lambda da: da.__delitem__((slice(None), "text")),
        lambda da: da.__delitem__("@c[0]"),
        lambda da: da[1:].__setitem__((slice(None), "text"), ["y", "z"]),
        lambda da: setattr(da[:2], "texts", ["x", "y"]),
        lambda da: setattr(da[[0, 2]], "embeddings", np.eye(2)),
        lambda da: da.embed(lambda batch: batch, collate_fn=lambda docs: [[len(t)] for t in docs.texts]),
        lambda da: da.embed_feature_hashing(4),
        lambda da: da.match(da, limit=2),
        lambda da: da.reduce(DocumentArray([Document(id="a", uri="u"), Document(id="n")])),
    ],
    ids=lambda change: None,
)
def test_what_changes_many_documents_changes_those_in_hand_and_the_file(da, saved, change):
    held = list(da)
    model = DocumentArray([some(key) for key in "abc"])
    change(model)

    change(da)

    assert list(model) == list(da) == [saved(key) for key in model[:, "id"]]
    assert list(model)[:3] == held
    assert all(a is b for a, b in zip(held, da, strict=False))
