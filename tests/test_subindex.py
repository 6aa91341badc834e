"""Sub-indices: what is found along a path is what a search of the nested documents themselves finds, always."""

import contextlib
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')

QUERY = np.array([1.0, 0.5, 0.0])


def vector(number):
    return np.random.default_rng(number).normal(size=3)


def some(key, chunks=2, seed=0):
    return Document(
        id=key,
        chunks=[
            Document(
                id=f"{key}{at}",
                text=f"chunk {at} of {key}",
                embedding=vector(zlib.crc32(f"{key}{at}".encode()) % 1000 + seed),
                chunks=[Document(id=f"{key}{at}c", embedding=vector(seed + at))],
            )
            for at in range(chunks)
        ],
        matches=[Document(id=f"{key}m", embedding=vector(seed + 7))],
    )


PATHS = {"@c": {}, "@cc": None, "@m": {"table_name": "own"}}


@pytest.fixture
def place(tmp_path):
    return {"connection": str(tmp_path / "docs.db")}


@pytest.fixture
def da(place):
    array = DocumentArray(
        [some("a"), some("b"), some("c", 0)], storage="sqlite", config=place, subindex_configs=dict(PATHS)
    )
    yield array
    array.close()


def check(array):
    """A sub-index finds what a search of the nested documents finds, in the same order, in the same roots."""
    memory = DocumentArray(array, storage="memory")
    for path in PATHS:
        assert len(memory[path]) == len(array._slots.subs[path].store), path
        if not len(memory[path]):
            continue
        mine = array.find(QUERY, on=path, limit=None)
        theirs = memory.find(QUERY, on=path, limit=None)
        found = sorted(zip(mine[:, "scores__cosine__value"], mine[:, "id"], mine[:, "text"], strict=True))
        wanted = sorted(
            zip(theirs[:, "scores__cosine__value"], theirs[:, "id"], theirs[:, "text"], strict=True)
        )
        assert wanted == found, path
        roots = {
            (doc.id, doc.tags["_root_id_"]) for doc in mine
        }  # of each found one the document that it is in
        assert roots == {(d.id, root.id) for root in memory for d in DocumentArray([root])[path]}


CHANGES = {
    "nothing": lambda da: None,
    "append": lambda da: da.append(some("d")),
    "extend": lambda da: da.extend([some("d"), some("e", 3)]),
    "extend with an array": lambda da: da.extend(DocumentArray([some("d"), some("e", 3)])),
    "extend with columns": lambda da: da.extend(
        DocumentArray.from_bytes(DocumentArray([some("d")]).to_bytes())
    ),
    "a generator": lambda da: da.extend(some(key) for key in "def"),
    "insert": lambda da: da.insert(0, some("d")),
    "upsert": lambda da: da.upsert([some("a", 1, 5), some("d")]),
    "replace": lambda da: da.__setitem__(0, some("a", 3, 9)),
    "replace by another": lambda da: da.__setitem__("a", some("d", 1)),
    "slice": lambda da: da.__setitem__(slice(0, 2), [some("d", 1)]),
    "slice with a step": lambda da: da.__setitem__(slice(None, None, 2), [some("x"), some("y")]),
    "list": lambda da: da.__setitem__([1, 0], [some("x"), some("y")]),
    "delete": lambda da: da.__delitem__("a"),
    "delete several": lambda da: da.__delitem__([0, 1]),
    "pop": lambda da: da.pop(0),
    "clear": lambda da: da.clear(),
    "reverse": lambda da: da.reverse(),
    "sort": lambda da: da.sort("-id"),
    "a chunk's text": lambda da: setattr(da["a"].chunks[0], "text", "new"),
    "a chunk's vector": lambda da: setattr(da["a"].chunks[0], "embedding", np.ones(3)),
    "a chunk appended": lambda da: da["c"].chunks.append(Document(id="z", embedding=np.ones(3))),
    "a chunk taken out": lambda da: da["a"].chunks.pop(),
    "chunks replaced": lambda da: setattr(da["a"], "chunks", [Document(id="z", embedding=np.ones(3))]),
    "a chunk of a chunk": lambda da: setattr(da["a"].chunks[0].chunks[0], "embedding", np.ones(3)),
    "a match": lambda da: setattr(da["b"].matches[0], "embedding", np.ones(3)),
    "matches": lambda da: da.match(DocumentArray([Document(id="q", embedding=np.ones(3))])),
    "along the path": lambda da: da.__setitem__(("@c", "text"), "same"),
    "vectors along the path": lambda da: setattr(da["@c"], "embeddings", np.eye(4, 3) + 1),
    "deleted along the path": lambda da: da.__delitem__("@c[0]"),
    "an id": lambda da: setattr(da["a"], "id", "renamed"),
    "flat": lambda da: da.__setitem__((..., "embedding"), [np.ones(3)] * len(da[...])),
}


def prepared(change):
    """Changes that need vectors for all."""
    return lambda da: (setattr(da, "embeddings", np.eye(3)), change(da))


CHANGES["matches"] = prepared(CHANGES["matches"])


@pytest.mark.parametrize("name", CHANGES)
def test_a_sub_index_follows_every_way_of_writing(name, da):
    CHANGES[name](da)

    check(da)


@pytest.mark.parametrize("name", CHANGES)
def test_a_sub_index_is_rolled_back_with_its_rows(name, da):
    def fail():
        with da:
            CHANGES[name](da)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()

    assert [some("a"), some("b"), some("c", 0)] == list(da)
    check(da)


@settings(max_examples=15, deadline=None)
@given(
    names=st.lists(
        st.sampled_from(sorted(CHANGES.keys() - {"matches", "vectors along the path"})), max_size=6
    )
)
def test_a_sub_index_follows_many_changes(names):
    da = DocumentArray([some("a"), some("b"), some("c", 0)], storage="sqlite", subindex_configs=dict(PATHS))
    for name in names:
        with contextlib.suppress(
            ValueError, LookupError
        ):  # that document is there, or not: nothing was changed
            CHANGES[name](da)
        check(da)
    da.close()


def test_a_sub_index_is_there_again_when_the_file_is_opened(da, place):
    again = DocumentArray(storage="sqlite", config=place)
    again.append(some("d"))

    check(again)
    check(da)
    again.close()


def test_a_sub_index_that_is_new_is_filled(place):
    DocumentArray([some("a"), some("b")], storage="sqlite", config=place).close()

    da = DocumentArray(storage="sqlite", config=place, subindex_configs=dict(PATHS))

    check(da)
    da.close()


def test_roots_come_in_the_order_of_the_hits(da):
    below, roots = da.find(QUERY, on="@c"), da.find(QUERY, on="@c", return_root=True)

    assert below[:, "tags___root_id_"] == roots[:, "id"]
    assert below[:, "scores__cosine__value"] == roots[:, "scores__cosine__value"]


def test_several_queries_give_several_arrays_of_roots(da):
    found = da.find(np.stack([QUERY, -QUERY]), on="@c", return_root=True, limit=2)

    assert [2, 2] == [len(part) for part in found]


def test_a_filter_on_a_path_gives_the_nested_documents_themselves(da):
    found = da.find({"text": "chunk 1 of b"}, on="@c")
    found[0].text = "new"

    assert found[0] is da["b"].chunks[1]
    assert "new" == da.find({"text": "new"}, on="@c")[0].text
    assert ["b"] == da.find({"text": "new"}, on="@c", return_root=True)[:, "id"]


def test_words_are_found_on_a_path(da):
    assert {"a1", "b1"} == set(da.find("1", on="@c")[:, "id"])
    assert ["b"] == da.find("b", on="@c", return_root=True, limit=1)[:, "id"]


def test_chunks_of_one_id_in_two_documents_are_both_found(place):
    both = [Document(id=key, chunks=[Document(id="same", embedding=QUERY)]) for key in "ab"]
    da = DocumentArray(both, storage="sqlite", config=place, subindex_configs={"@c": None})

    found = da.find(QUERY, on="@c")

    assert [("same", "a"), ("same", "b")] == [(doc.id, doc.tags["_root_id_"]) for doc in found]
    da.close()


def test_the_root_id_may_be_left_out(place):
    da = DocumentArray(
        [some("a")], storage="sqlite", config={**place, "root_id": False}, subindex_configs={"@c": None}
    )

    assert [{}, {}] == da.find(QUERY, on="@c")[:, "tags"]
    assert ["a", "a"] == da.find(QUERY, on="@c", return_root=True)[:, "id"]
    da.close()


def test_another_path_is_walked(da):
    assert {"a0", "b0"} == set(da.find(QUERY, on="@c[0]")[:, "id"])


def test_fields_of_multimodal_documents_have_sub_indices(place):
    schema = {"multi_modal_schema": {"image": {"attribute_type": "document", "type": "Image", "position": 1}}}
    page = Document(id="p", chunks=[Document(id="title"), Document(id="picture", embedding=QUERY)])
    page._metadata = schema
    da = DocumentArray([page], storage="sqlite", config=place, subindex_configs={"@.[image]": {}})

    assert ["picture"] == da.find(QUERY, on="@.[image]")[:, "id"]
    assert ["p"] == da.find(QUERY, on="@.[image]", return_root=True)[:, "id"]
    da.close()


def test_rows_and_sub_index_use_one_transaction_and_one_file(da, place):
    before = da.store.mark()
    da.append(some("d"))

    assert 1 == da.store.mark() - before
    assert DocumentArray(storage="sqlite", config=place)._slots.subs.keys() == PATHS.keys()
