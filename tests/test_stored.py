"""Arrays on a store: opened, filled, closed, copied, pickled; what is one transaction; who sees what when."""

import multiprocessing
import pickle
import sqlite3

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import (
    BadValue,
    ClosedStore,
    DuplicateDocument,
    FieldTypeError,
    LengthError,
    MissingDocument,
    OutOfRange,
    UnknownName,
)

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')


@pytest.fixture
def place(tmp_path):
    return {"connection": str(tmp_path / "docs.db")}


@pytest.fixture
def opened(place):
    """Opens the file, and closes what was opened in the end."""
    arrays = []

    def open_it(docs=None, **config):
        arrays.append(DocumentArray(docs, storage="sqlite", config={**place, **config}))
        return arrays[-1]

    yield open_it
    for array in arrays:
        array.close()


def docs(keys="abc"):
    return [Document(id=key, text=f"text {key}", tags={"n": at}) for at, key in enumerate(keys)]


# ------------------------------------------------------------------------------------------ opening


def test_what_is_written_is_there_when_the_file_is_opened_again(opened):
    opened(docs()).insert(1, Document(id="between"))

    again = opened()

    assert ["a", "between", "b", "c"] == again[:, "id"]
    assert docs()[2] == again["c"]
    assert ("sqlite", "memory") == (again.storage, again[:].storage)


def test_a_path_alone_finds_the_array_again_and_names_keep_arrays_apart(opened):
    opened(docs("ab"))
    opened(docs("xyz"), table_name="other")

    assert (["a", "b"], ["x", "y", "z"]) == (opened()[:, "id"], opened(table_name="other")[:, "id"])


def test_documents_given_replace_what_was_there(opened):
    opened(docs("abc"))

    assert ["x"] == opened(docs("x"))[:, "id"] == opened()[:, "id"]


def test_documents_that_cannot_be_stored_replace_nothing(opened):
    opened(docs("abc"))

    with pytest.raises(FieldTypeError):
        opened([*docs("xy"), Document(tags={"bad": object()})])
    with pytest.raises(FieldTypeError):
        opened([*docs("xy"), "no document"])
    with pytest.raises(DuplicateDocument):
        opened(docs("xx"))

    assert ["a", "b", "c"] == opened()[:, "id"]


def test_an_array_may_replace_its_own_rows(opened):
    da = opened(docs("abc"))

    assert ["a", "b", "c"] == opened(da)[:, "id"]
    assert ["c"] == opened(da[2:])[:, "id"] == da[:, "id"]


def test_without_a_place_the_documents_go_with_the_array():
    with DocumentArray(docs(), storage="sqlite") as da:
        da["a"].text = "new"

    assert (3, "new") == (len(da), da[0].text)
    da.close()
    with pytest.raises(ClosedStore):
        len(da)


def test_a_connection_of_ones_own_stays_ones_own(tmp_path):
    connection = sqlite3.connect(tmp_path / "own.db", check_same_thread=False)
    da = DocumentArray(docs(), storage="sqlite", config={"connection": connection})
    da.append(Document(id="d"))
    da.close()

    assert (4,) == connection.execute("SELECT count(*) FROM docs").fetchone()
    connection.close()


@pytest.mark.parametrize(
    ("storage", "config", "error", "says"),
    [
        ("sqllite", None, UnknownName, "Did you mean 'sqlite'"),
        ("sqlite", {"conection": "x"}, KeyError, "Did you mean 'connection'"),
        ("sqlite", 3, FieldTypeError, "dict"),
        ("sql", {}, BadValue, "url"),
        ("sqlite", {"connection": "/no/such/folder/x.db"}, OSError, "/no/such/folder"),
    ],
)
def test_what_cannot_be_opened_says_why(storage, config, error, says):
    with pytest.raises(error, match=says):
        DocumentArray(storage=storage, config=config)


def test_subindices_are_of_paths(opened):
    with pytest.raises(BadValue, match="'chunks'"):
        DocumentArray(storage="sqlite", subindex_configs={"chunks": None})


# ------------------------------------------------------------------------------------------ writing


def test_ids_are_unique_and_nothing_is_written_where_one_is_not(opened):
    da = opened(docs("abc"))

    for write in (
        lambda: da.append(Document(id="a")),
        lambda: da.extend([Document(id="x"), Document(id="b")]),
        lambda: da.extend([Document(id="x"), Document(id="x")]),
        lambda: da.insert(0, Document(id="c")),
        lambda: da.__setitem__(0, Document(id="b")),
        lambda: da.__setitem__(slice(0, 1), [Document(id="c")]),
        lambda: da.extend(da),
    ):
        with pytest.raises(DuplicateDocument):
            write()

    assert docs("abc") == list(da)


def test_upsert_replaces_and_appends(opened):
    da = opened(docs("abc"))

    da.upsert([Document(id="z"), Document(id="b", text="new")])

    assert (["a", "b", "c", "z"], "new", {}) == (da[:, "id"], da["b"].text, da["b"].tags)


def test_extend_takes_any_iterable_and_all_of_it_or_nothing(opened):
    da = opened()

    da.extend(Document(id=str(n)) for n in range(10_000))
    with pytest.raises(FieldTypeError):
        da.extend(Document() if n < 9_000 else n for n in range(10_000))

    assert list(map(str, range(10_000))) == da[:, "id"]


def test_a_bad_document_in_the_middle_leaves_nothing(opened):
    da = opened(docs("abc"))

    for write in (
        lambda bad: da.extend(bad),
        lambda bad: da.upsert(bad),
        lambda bad: da.__setitem__(slice(1, 2), bad),
        lambda bad: da.__setitem__([0, 1, 2], bad),
        lambda bad: da.__setitem__([True, True, True], bad),
    ):
        with pytest.raises(FieldTypeError):
            write([Document(id="x"), Document(id="y", tags={"bad": object()}), Document(id="z")])

    assert docs("abc") == list(da)


def test_columns_of_another_length_are_refused(opened):
    da = opened(docs("abc"))

    with pytest.raises(LengthError):
        da.texts = ["x", "y"]
    with pytest.raises(LengthError):
        da.embeddings = np.zeros((4, 2))

    assert docs("abc") == list(da)


def test_a_transaction_is_kept_whole(opened):
    da, other = opened(docs("abc")), opened()

    with da:
        da.append(Document(id="d"))
        del da["a"]
        da["b"].text = "new"
        seen = other[:, "id"]

    assert ["a", "b", "c"] == seen
    assert (["b", "c", "d"], "new") == (other[:, "id"], other["b"].text)


def test_a_transaction_that_fails_leaves_nothing(opened):
    da, held = opened(docs("abc")), None

    def fail():
        nonlocal held
        with da:
            held = da["b"]
            held.text = "new"
            da.texts = list("xyz")
            da.append(Document(id="d"))
            da.reverse()
            del da["a"]
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()

    assert docs("abc") == list(da) == list(opened())
    assert docs("abc")[1] == held


def test_a_transaction_within_another_is_a_part_of_it(opened):
    da = opened(docs("abc"))

    def fail():
        with da:
            with da:
                da.append(Document(id="d"))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()

    assert docs("abc") == list(da)


def test_what_another_array_on_the_file_wrote_is_seen(opened):
    da, other = opened(docs("abc")), opened()
    assert [3, 3] == [len(da), len(other)]

    other.insert(0, Document(id="first", embedding=np.ones(2)))
    del other["b"]
    da.append(Document(id="last"))

    assert ["first", "a", "c", "last"] == da[:, "id"] == other[:, "id"]
    assert "first" == da.find(np.ones(2))[0].id
    assert ("first", "last") == (da[0].id, other[-1].id)


# ------------------------------------------------------------------------------------------ positions


def test_list_like_false_has_ids_and_no_positions(opened):
    da = opened(docs("abc"), list_like=False)

    for read in (lambda: da[0], lambda: da[:2], lambda: da.insert(0, Document()), lambda: da.__delitem__(0)):
        with pytest.raises(ValueError, match="list_like"):
            read()

    da.append(Document(id="d"))
    del da["a"]
    assert (3, "text b", True) == (len(da), da["b"].text, "d" in da)
    assert {"b", "c", "d"} == {doc.id for doc in da}


@pytest.mark.parametrize("index", [3, -4, 10**9])
def test_a_position_beyond_the_end(opened, index):
    with pytest.raises(OutOfRange):
        opened(docs("abc"))[index]


def test_ids_and_positions_select_together(opened):
    da = opened(docs("abcdef"))

    assert ["c", "a", "f", "c"] == da[["c", 0, -1, 2]][:, "id"]
    del da[["c", 0, "c", 2]]
    assert ["b", "d", "e", "f"] == da[:, "id"]
    with pytest.raises(MissingDocument):
        da[["b", "nobody"]]


def test_deleting_within_a_loop_shows_each_that_stays_once(opened):
    da = opened(docs("abcdef"))

    seen = [da.pop(doc.id).id for doc in da]

    assert (list("abcdef"), 0) == (seen, len(da))


# ------------------------------------------------------------------------------------------ copies


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
def test_an_array_is_copied_from_storage_to_storage(opened, storage):
    da = opened(docs("abc"))

    fresh = DocumentArray(da, storage=storage)

    assert (storage, list(da)) == (fresh.storage, list(fresh))
    fresh[0].text = "new"
    assert docs("abc") == list(da)
    fresh.close()


def test_a_second_view_is_of_the_same_store(opened):
    da = opened(docs("abc"))
    view = DocumentArray(da)

    view.append(Document(id="d"))

    assert ("sqlite", 4) == (view.storage, len(da))


def test_a_pickle_opens_the_file_again(opened):
    da = opened(docs("abc"))

    again = pickle.loads(pickle.dumps(da))
    again.append(Document(id="d"))

    assert ["a", "b", "c", "d"] == da[:, "id"]
    again.close()


def test_a_pickle_of_what_has_no_place_holds_the_documents():
    da = DocumentArray(docs("abc"), storage="sqlite", config={"connection": ":memory:"})

    again = pickle.loads(pickle.dumps(da))
    again.append(Document(id="d"))

    assert ("sqlite", 3, 4) == (again.storage, len(da), len(again))
    da.close()
    again.close()


def _append(array):
    array.append(Document(id="from another process"))
    array.close()


def test_an_array_goes_to_another_process(opened):
    da = opened(docs("abc"))

    child = multiprocessing.get_context("spawn").Process(target=_append, args=(da,))
    child.start()
    child.join(60)

    assert (0, "from another process") == (child.exitcode, da[-1].id)


@pytest.mark.parametrize("name", ["binary", "protobuf", "json", "csv"])
def test_an_array_is_written_and_read_like_one_in_memory(opened, name, tmp_path):
    da = opened(docs("abc"))

    da.save(tmp_path / "x", file_format=name)

    assert docs("abc") == list(DocumentArray.load(tmp_path / "x", file_format=name))


# ------------------------------------------------------------------------------------------ finding


def test_words_and_vectors_are_found_together(opened):
    texts = ["red car", "red bicycle", "blue car", "green boat"]
    da = opened([Document(id=t, text=t, embedding=v) for t, v in zip(texts, np.eye(4), strict=True)])
    memory = DocumentArray(da, storage="memory")
    query = np.array([0, 0, 1, 0.5])

    for array in (da, memory):
        found = array.find(query, text="red car", limit=2)
        assert ["red car", "blue car"] == sorted(found[:, "id"], reverse=True)
        assert {"rrf", "cosine", "bm25"} == set(found["blue car"].scores)
        assert "similarity" == found[0].scores["rrf"].description
    assert [h.scores for h in da.find(query, text="red car")] == [
        h.scores for h in memory.find(query, text="red car")
    ]


@pytest.mark.parametrize("text", ["car", ["car", "red"]])
def test_words_are_found(opened, text):
    da = opened([Document(id=t, text=t) for t in ("red car", "red bicycle", "blue car")])
    memory = DocumentArray(da, storage="memory")

    found, wanted = da.find(text), memory.find(text)

    if isinstance(text, str):
        found, wanted = [found], [wanted]
    assert [part[:, ["id", "scores"]] for part in wanted] == [part[:, ["id", "scores"]] for part in found]
    assert ["blue car"] == da.find("car", filter={"text": {"$startswith": "blue"}})[:, "id"]
    assert 1 == len(da.find("car", limit=1))


def test_exclude_self_holds_for_words_too(opened):
    da = opened([Document(id=t, text=t, embedding=v) for t, v in zip(["a b", "b c"], np.eye(2), strict=True)])

    found = da.find(da, text=["a b", "b c"], exclude_self=True)

    assert [["b c"], ["a b"]] == [part[:, "id"] for part in found]


def test_documents_without_a_vector_are_stored_and_not_found(opened):
    da = opened([Document(id="with", embedding=np.ones(2)), Document(id="without")])

    assert ["with"] == da.find(np.ones(2))[:, "id"]
    assert ["with"] == da.find(np.ones(2), filter={"id": {"$in": ["with", "without"]}})[:, "id"]
    with pytest.raises(ValueError, match="has an embedding"):
        opened(docs("a"), table_name="none").find(np.ones(2))


def test_a_filter_gives_the_documents_themselves(opened):
    da = opened(docs("abcd"))

    found = da.find({"tags__n": {"$gte": 1}}, sort="-tags__n", limit=2)
    found[0].text = "new"

    assert (["d", "c"], "new") == (found[:, "id"], opened()["d"].text)


def test_normalization_is_over_all_that_is_searched(opened):
    da = opened([Document(id=str(n), embedding=np.array([1.0, n])) for n in range(5)])
    memory = DocumentArray(da, storage="memory")

    for options in ({"limit": 2}, {"limit": None}, {"filter": {"id": {"$gt": "1"}}}):
        found = da.find(np.array([1.0, 0.5]), normalization=(1, 0), **options)
        wanted = memory.find(np.array([1.0, 0.5]), normalization=(1, 0), **options)
        assert wanted[:, ["id", "scores__cosine__value"]] == found[:, ["id", "scores__cosine__value"]]
    hits = da.find(da["0"], exclude_self=True, normalization=(1, 0))[0]
    assert "0" not in hits[:, "id"]


def test_all_of_an_attribute_are_those_that_are_there_when_it_is_read(opened, monkeypatch):
    """Others may put something in between the count and the reading: nothing at the end is left out for it."""
    da, other = opened([Document(id="a", text="tea"), Document(id="b", text="milk")]), opened()
    slots, added = da._slots, []
    count = type(slots).__len__

    def late(self):
        found = count(self)
        if self is slots and not added:
            added.append(Document(id="new", text="cup"))
            other.insert(0, added[0])
        return found

    monkeypatch.setattr(type(slots), "__len__", late)

    assert da[:, "id"] == ["new", "a", "b"]
    added.clear()
    other.clear()
    assert da[:, "text"] == ["cup"]
