import asyncio
import contextlib
import threading
import traceback

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray
from docarray.errors import (
    BadFilter,
    BadValue,
    DocArrayError,
    DuplicateDocument,
    FieldTypeError,
    MissingDocument,
    MissingEmbedding,
    ShapeError,
    UnknownField,
    UnknownMetric,
)
from docarray.serialization.json import from_dicts
from docarray.stored import Stored
from docarray.testing.plain import PlainStore
from docarray.web.limits import Limits, TooMuch
from docarray.web.problems import NotAllowed
from docarray.web.service import Service

WORDS = ["green tea", "black tea", "coffee", "cocoa", "tea with milk", "milk"]


def shelf():
    docs = [
        Document(
            id=f"d{i}",
            text=WORDS[i % len(WORDS)],
            tags={"price": i % 4, "kind": "abc"[i % 3]},
            embedding=np.array([i, 10 - i, 1], "f4"),
            chunks=[Document(id=f"d{i}c{j}", text=f"part {j}") for j in range(i % 3)],
        )
        for i in range(12)
    ]
    docs[5].embedding = None
    return DocumentArray(docs)


@pytest.fixture(params=["memory", "columns", "sqlite", "hnswlib"])
def docs(request, tmp_path):
    if request.param == "memory":
        yield shelf()
    elif request.param == "columns":
        yield DocumentArray.from_bytes(shelf().to_bytes())
    else:
        if request.param == "hnswlib":
            pytest.importorskip("sqlalchemy", reason='pip install "docarray[usearch]"')
        config = {"connection": str(tmp_path / "shelf.db")}
        if request.param == "hnswlib":
            config["n_dim"] = 3
        with contextlib.closing(DocumentArray(shelf(), storage=request.param, config=config)) as da:
            yield da


@pytest.fixture
def service(docs):
    with contextlib.closing(Service(docs, writable=True)) as one:
        yield one


def dicts(*docs):
    return from_dicts(list(docs))


# ---------------------------------------------------------------------------------------------- reading


def test_pages_follow_each_other_to_the_end(service):
    seen, after = [], None
    while True:
        page = service.documents(first=5, after=after, fields=["text"])
        assert (12, len(seen)) == (page.total, page.start)
        seen += page.table.ids
        if not page.has_next:
            break
        after = page.cursors[-1]

    assert [f"d{i}" for i in range(12)] == seen


CONDITIONS = [None, {"tags__price": {"$lt": 2}}, {"text": {"$contains": "tea"}}, {"tags__kind": "z"}]
ORDERS = [None, "-tags__price", ["tags__kind", "-id"]]


@pytest.mark.parametrize("condition", CONDITIONS, ids=["all", "cheap", "tea", "none"])
@pytest.mark.parametrize("order", ORDERS, ids=["as-they-are", "dear-first", "by-kind"])
def test_a_page_is_a_slice_of_what_find_gives(docs, service, condition, order):
    expected = docs.find(filter=condition or {}, limit=None, sort=order)[:, "id"]

    for first in (0, 1, 4, 100):
        page = service.documents(filter=condition, sort=order, first=first)
        assert expected[:first] == page.table.ids
        assert (len(expected), len(expected) > first) == (page.total, page.has_next)
        for at, cursor in enumerate(page.cursors):
            after = service.documents(filter=condition, sort=order, after=cursor, first=2)
            assert expected[at + 1 : at + 3] == after.table.ids
    assert len(expected) == service.count(condition)
    scanned = [key for table in service.scan(condition, order) for key in table.ids]
    assert expected == scanned


@pytest.mark.parametrize("order", [None, "-tags__price"], ids=["as-they-are", "sorted"])
def test_a_page_goes_on_where_the_last_one_ended_whatever_came_and_went(service, order):
    page = service.documents(first=4, sort=order)
    rest = service.documents(first=100, sort=order, after=page.cursors[-1]).table.ids
    service.delete([page.table.ids[0]])

    assert rest == service.documents(first=100, sort=order, after=page.cursors[-1]).table.ids


def test_a_cursor_of_a_deleted_document_goes_on_from_where_it_stood(service):
    page = service.documents(first=4)
    service.delete([page.table.ids[-1]])

    assert ["d4"] == service.documents(first=1, after=page.cursors[-1]).table.ids

    service.delete([f"d{i}" for i in (4, 5, 6, 7, 8, 9, 10, 11)])
    assert [] == service.documents(first=1, after=page.cursors[-1]).table.ids


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!!", "e30", "W10", "WzEsMl0", "Wy0xLCJhIl0", "WzEuNSwiYSJd", "W1tbW1tb"]
)
def test_another_cursor_is_refused(service, cursor):
    with pytest.raises(BadValue, match="is no cursor of this list"):
        service.documents(after=cursor)


def test_rows_hold_the_fields_that_were_asked_for(service):
    assert {"text", "tags"} == service.documents(fields=["text", "tags"], first=3).table.columns.keys()
    assert set() == set(service.documents(fields=[], first=3).table.columns)
    assert {"text", "tags", "embedding"} <= set(service.documents(first=3).table.columns)
    with pytest.raises(UnknownField, match="txet"):
        service.documents(fields=["txet"])


def test_documents_are_read_by_id(service):
    assert ["d3", "d1"] == service.read(["d3", "nobody", "d1", "d3"]).ids
    assert ["d2"] == service.document("d2").ids
    with pytest.raises(MissingDocument, match="nobody"):
        service.document("nobody")
    with pytest.raises(TooMuch):
        service.document("d" * 2000)


def test_nested_documents_are_in_the_row(service):
    table = service.documents(first=3).table

    assert [[], ["d1c0"], ["d2c0", "d2c1"]] == [part.ids for part in service.nested(table, "chunks")]
    assert [[], [], []] == [part.ids for part in service.nested(table, "matches")]


def test_info_tells_what_there_is(docs, service):
    info = service.info()

    assert ("docs", 12, docs.storage, True) == tuple(
        info[k] for k in ("name", "documents", "storage", "writable")
    )
    filled = {field["name"]: field["filled"] for field in info["fields"]}
    assert (12, 11) == (filled["text"], filled["embedding"])


# ---------------------------------------------------------------------------------------------- search

VECTOR = [1.0, 2.0, 3.0]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean", "inner_product"])
@pytest.mark.parametrize("condition", [None, {"tags__price": {"$gte": 2}}], ids=["all", "dear"])
def test_search_by_vector_is_find_among_those_that_have_one(docs, service, metric, condition):
    if docs.storage == "hnswlib" and metric != "cosine":
        pytest.skip("the graph of this array is of cosine distances")
    having = DocumentArray([doc for doc in shelf() if doc.embedding is not None])
    expected = having.find(np.array(VECTOR), metric=metric, limit=5, filter=condition)

    table = service.search(vector=VECTOR, metric=metric, limit=5, filter=condition, fields=["text"])

    assert expected[:, "id"] == table.ids
    assert expected.texts == table.columns["text"].values()
    scores = [cell[metric] for cell in table.columns["scores"].values()]
    assert [doc.scores[metric].value for doc in expected] == pytest.approx(
        [score["value"] for score in scores]
    )
    assert {(metric, "distance")} == {(score["op_name"], score["description"]) for score in scores}


def test_search_by_words_is_find_by_words(service):
    expected = shelf().find("tea milk", limit=4)

    table = service.search(text="tea milk", limit=4)

    assert expected[:, "id"] == table.ids
    assert [doc.scores["bm25"].value for doc in expected] == pytest.approx(
        [cell["bm25"]["value"] for cell in table.columns["scores"].values()]
    )


def test_what_is_like_a_document_is_not_itself(service):
    table = service.search(like="d3", limit=3)

    assert "d3" not in table.ids
    assert 3 == len(table)


def test_vector_and_words_together_are_one_ranking(docs, service):
    having = DocumentArray([doc for doc in shelf() if doc.embedding is not None])
    expected = having.find(np.array(VECTOR), text="tea", limit=6)

    table = service.search(vector=VECTOR, text="tea", limit=6)

    known = {doc.id: doc.scores["rrf"].value for doc in expected}
    assert known.keys() == set(table.ids)
    cells = table.columns["scores"].values()
    assert {"cosine", "rrf"} <= cells[0].keys()
    assert sorted(known.values(), reverse=True) == pytest.approx([cell["rrf"]["value"] for cell in cells])


def test_with_a_model_text_is_searched_by_meaning_too(docs):
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.array([VECTOR] * len(texts))

    with contextlib.closing(Service(docs, encode=encode)) as service:
        table = service.search(text="tea", limit=3)
        assert "meaning" in service.info()["search"]

    assert ["tea"] == asked
    assert "rrf" in table.columns["scores"].values()[0]


def test_with_a_model_what_is_written_gets_the_embedding_of_its_text(docs):
    asked = []

    def encode(texts):
        asked.append(list(texts))
        return np.array([[len(text), 1.0, 0.0] for text in texts], np.float32)

    new = dicts(
        {"id": "n1", "text": "four"},
        {"id": "n2", "text": "own", "embedding": [0, 0, 1]},
        {"id": "n3", "uri": "x"},
    )
    with contextlib.closing(Service(docs, encode=encode, writable=True)) as service:
        service.index(new, untyped=True)
        service.update([{"id": "n2", "tags": {"a": 1}}, {"id": "n1", "text": "seven"}])
        service.update([{"id": "n2", "text": "none", "embedding": [0, 1, 0]}])
        found = service.read(["n1", "n2", "n3"], ["embedding", "text"])

    assert [["four"], ["seven"]] == asked
    assert ["seven", "none", None] == found.columns["text"].values()
    first, second, third = found.columns["embedding"].values()
    assert [[5, 1, 0], [0, 1, 0]] == [first.tolist(), second.tolist()]
    assert third is None


@pytest.mark.parametrize(
    ("asked", "error"),
    [({}, BadValue), ({"vector": [1, 2, 3], "like": "d1"}, BadValue), ({"vector": [1, 2]}, ShapeError),
     ({"vector": ["a"]}, FieldTypeError), ({"like": "nobody"}, MissingDocument), ({"like": "d5"}, MissingEmbedding),
     ({"text": "a", "metric": "nothing"}, UnknownMetric), ({"text": "tea", "index": "txet"}, UnknownField),
     ({"vector": [1, 2, 3], "filter": {"tags__x": {"$like": 1}}}, BadFilter),
     ({"text": "tea", "filter": {"a__b": 1}}, UnknownField), ({"text": "tea", "limit": 100_000}, TooMuch)],
    ids=["nothing", "both", "short", "letters", "of-nobody", "of-one-without", "metric", "index", "operator", "field",
         "limit"],
)  # fmt: skip
def test_a_search_that_has_no_meaning_is_refused(service, asked, error):
    with pytest.raises(error):
        service.search(**asked)


def test_a_search_of_nothing_finds_nothing():
    with contextlib.closing(Service(DocumentArray())) as service:
        assert 0 == len(service.search(vector=[1, 2], limit=3))
        assert 0 == len(service.search(text="tea"))
        assert [] == service.documents().table.ids
        assert 0 == service.info()["documents"]


def test_named_embeddings_are_searched_by_their_name():
    docs = DocumentArray([Document(id=str(i)) for i in range(3)])
    for i, doc in enumerate(docs):
        doc.embeddings = {"colour": np.array([i, 1.0])}
    with contextlib.closing(Service(docs)) as service:
        assert ["2", "1", "0"] == service.search(vector=[1, 0], embedding="colour").ids
        assert [] == service.search(vector=[1, 0]).ids
        with pytest.raises(MissingEmbedding, match="'shape'"):
            service.search(like="1", embedding="shape")


# ---------------------------------------------------------------------------------------------- writing


def test_index_puts_documents_in_place_and_at_the_end(docs, service):
    written = service.index(dicts({"id": "new", "text": "x"}, {"id": "d3", "text": "changed"}))

    assert (["new"], ["d3"]) == written
    assert (13, "changed", "x") == (len(docs), docs["d3"].text, docs[-1].text)


def test_numbers_without_a_type_take_that_of_the_embeddings_which_are_there(docs, service):
    service.index(dicts({"id": "new", "embedding": [0.1, 2, 3]}), untyped=True)
    service.update([{"id": "d1", "embedding": [4, 5, 6]}])

    assert (np.float32, np.float32(0.1)) == (docs["new"].embedding.dtype, docs["new"].embedding[0])
    assert (np.float32, [4, 5, 6]) == (docs["d1"].embedding.dtype, docs["d1"].embedding.tolist())


def test_index_may_refuse_to_replace(docs, service):
    with pytest.raises(DuplicateDocument, match="d3"):
        service.index(dicts({"id": "new"}, {"id": "d3"}), replace=False)
    with pytest.raises(DuplicateDocument, match="stands twice"):
        service.index(dicts({"id": "new"}, {"id": "new"}))

    assert 12 == len(docs)


def test_update_changes_the_fields_that_are_named(docs, service):
    service.update(
        [{"id": "d1", "text": "hot", "tags": {"price": None, "sugar": True}}, {"id": "d2", "embedding": None}]
    )

    assert ("hot", {"kind": "b", "sugar": True}) == (docs["d1"].text, docs["d1"].tags)
    assert docs["d1"].embedding is not None
    assert (None, "coffee") == (docs["d2"].embedding, docs["d2"].text)
    service.update([{"id": "d1", "tags": None}])
    assert {} == docs["d1"].tags


@pytest.mark.parametrize(
    "changes",
    [[{"id": "d1", "text": "x"}, {"id": "nobody"}], [{"id": "d1", "text": "x"}, {"id": "d2", "weight": "heavy"}],
     [{"id": "d1", "text": "x"}, {"id": "d2", "txet": 1}], [{"id": "d1", "text": "x"}, {"id": "d2", "txet": None}],
     [{"id": "d1", "text": "x"}, {"text": "y"}], [{"id": "d1", "text": "x"}, 7],
     [{"id": "d1", "text": "x"}, {"id": "d2", "tags": 7}], [{"id": "d1", "text": "x", "embedding": "words"}],
     [{"id": "d1", "text": "x", "chunks": 7}]],
    ids=["nobody", "type", "field", "unset-field", "no-id", "no-object", "tags", "embedding", "chunk"],
)  # fmt: skip
def test_an_update_is_whole_or_not_at_all(docs, service, changes):
    with pytest.raises(DocArrayError):
        service.update(changes)

    assert "black tea" == docs["d1"].text
    assert "coffee" == docs["d2"].text


def test_delete_is_whole_or_not_at_all(docs, service):
    with pytest.raises(MissingDocument, match="nobody"):
        service.delete(["d1", "nobody"])
    assert 12 == len(docs)

    assert ["d1", "d2"] == service.delete(["d1", "d2", "d1"])
    assert 10 == len(docs)


def test_reading_only_is_for_reading_only(docs):
    with contextlib.closing(Service(docs)) as service:
        for call in (
            lambda: service.index(dicts({"id": "x"})),
            lambda: service.update([]),
            lambda: service.delete([]),
        ):
            with pytest.raises(NotAllowed):
                call()


def test_bodies_are_of_so_many_documents(docs):
    with contextlib.closing(Service(docs, writable=True, limits=Limits(documents=2))) as service:
        with pytest.raises(TooMuch):
            service.index(dicts({}, {}, {}))
        with pytest.raises(TooMuch):
            service.update([{"id": "d1"}] * 3)
        with pytest.raises(TooMuch):
            service.delete(["d1", "d2", "d3"])


# ---------------------------------------------------------------------------------------------- changes


def test_changes_are_told_to_who_watches(service):
    async def watch():
        told, begun = [], asyncio.Event()

        async def listen():
            feed = service.watch()
            begun.set()
            async with contextlib.aclosing(feed):
                async for change in feed:
                    told.append(change)
                    if sum(len(c.written) + len(c.deleted) for c in told) >= 3:
                        return

        task = asyncio.create_task(listen())
        await begun.wait()
        await asyncio.sleep(0.1)
        await service.call("index", table=dicts({"id": "new"}))
        await service.call("update", changes=[{"id": "d1", "text": "x"}])
        await service.call("delete", ids=["d2"])
        async with asyncio.timeout(20):
            await task
        return told

    told = asyncio.run(watch())

    assert {"new", "d1"} == {key for change in told for key in change.written}
    assert ["d2"] == [key for change in told for key in change.deleted]
    assert sorted(change.mark for change in told) == [change.mark for change in told]


def test_changes_that_others_make_to_a_file_are_told(tmp_path):
    config = {"connection": str(tmp_path / "shelf.db")}

    async def watch(service):
        async with contextlib.aclosing(service.watch()) as feed:
            waiting = asyncio.ensure_future(anext(feed))
            await asyncio.sleep(0.1)
            with contextlib.closing(DocumentArray(storage="sqlite", config=config)) as other:
                await asyncio.to_thread(other.append, Document(id="theirs"))
            async with asyncio.timeout(20):
                return await waiting

    da = DocumentArray(shelf(), storage="sqlite", config=config)
    with contextlib.closing(da), contextlib.closing(Service(da)) as service:
        assert ["theirs"] == asyncio.run(watch(service)).written


def test_changes_of_a_store_that_keeps_no_marks_are_those_of_the_service():
    da = DocumentArray()
    da._slots = Stored(PlainStore(), "plain")
    with contextlib.closing(Service(da, writable=True)) as service:
        mark = service.mark()
        service.index(dicts({"id": "a"}, {"id": "b"}))
        service.delete(["a"])
        found = service.changes(mark)

    assert (["a"], ["b"]) == (found.deleted, found.written)


# ---------------------------------------------------------------------------------------------- threads


def test_many_threads_read_and_write_one_array(service):
    """Writers add and delete documents of their own; what readers get is whole at any time."""
    faults = []

    def write(name):
        try:
            for i in range(15):
                service.index(
                    dicts({"id": f"{name}-{i}", "text": "tea", "embedding": [1.0, 2.0, float(i)]}),
                    untyped=True,
                )
                service.update([{"id": f"{name}-{i}", "tags": {"n": i}}])
                if i % 2:
                    service.delete([f"{name}-{i}"])
        except Exception as error:
            faults.append("".join(traceback.format_exception(error)))

    def read():
        try:
            for _ in range(15):
                page = service.documents(first=100, fields=["text"])
                assert len(page.table) == len(set(page.table.ids))
                assert len(service.search(vector=VECTOR, limit=5, fields=["text"])) == 5
                service.search(text="tea", limit=5)
        except Exception as error:
            faults.append("".join(traceback.format_exception(error)))

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    threads += [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == faults
    assert 12 + 2 * 8 == len(service)


def test_a_call_gives_what_the_method_gives(service):
    async def calls():
        for _ in range(5):  # the first goes to a thread; a quick one in memory stays here
            assert service.search(text="tea").ids == (await service.call("search", text="tea")).ids
            with pytest.raises(MissingDocument):
                await service.call("document", id="nobody")

    asyncio.run(calls())


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["id", "text", "tags", "weight", "chunks", "embedding", "x"]), JSONISH, max_size=4
    )
)
def test_whatever_a_client_sends_is_done_or_refused_by_an_error_of_ours(service, sent):
    with contextlib.suppress(DocArrayError):
        service.update([{"id": "d1", **sent}])
    with contextlib.suppress(DocArrayError):
        service.documents(filter=sent)
    with contextlib.suppress(DocArrayError):
        service.search(vector=sent.get("embedding"), text=sent.get("text"), filter=sent.get("tags"))

    assert "d0" in service.documents(first=1).table.ids


# --- what a client's writes may not do to others --------------------------------------------------------------------


def test_one_odd_embedding_does_not_end_all_searches(docs):
    with contextlib.closing(Service(docs, writable=True)) as service:
        for value in ([1.0, 2.0], [], 5.0, [[1.0, 2.0, 3.0]], [1.0, 2.0, 3.0, 4.0]):
            for write in (
                lambda value: service.index(from_dicts([{"id": "odd", "embedding": value}]), untyped=True),
                lambda value: service.index(from_dicts([{"id": "odd", "embedding": value}])),
                lambda value: service.update([{"id": "d1", "text": "new", "embedding": value}]),
            ):
                with pytest.raises(ShapeError, match=r"'(odd|d1)'.*\(3,\)"):
                    write(value)
        assert "odd" not in docs
        assert "black tea" == docs["d1"].text
        assert 12 == len(service.search(vector=[1.0, 2.0, 3.0]).ids) + 1  # d5 has none


def test_embeddings_of_an_empty_array_are_alike_among_themselves():
    with contextlib.closing(Service(DocumentArray(), writable=True)) as service:
        rows = [
            {"id": "a", "text": "none"},
            {"id": "b", "embedding": [1.0, 2.0]},
            {"id": "c", "embedding": [1.0]},
        ]
        with pytest.raises(ShapeError, match="'c'"):
            service.index(from_dicts(rows))
        assert ["a", "b"] == service.index(from_dicts(rows[:2])).created


def test_all_documents_can_be_given_another_kind_of_embedding_at_once(docs):
    with contextlib.closing(Service(docs, writable=True)) as service:
        rows = [{"id": key, "embedding": [1.0, 2.0]} for key in docs[:, "id"]]
        if docs.storage == "hnswlib":
            pytest.skip("the graph has vectors of one length")
        service.index(from_dicts(rows), untyped=True)
        assert 12 == len(service.search(vector=[1.0, 2.0]))


def test_tags_are_merged_at_every_level(docs):
    with contextlib.closing(Service(docs, writable=True)) as service:
        docs["d1"] = Document(id="d1", tags={"a": {"b": 1, "c": {"d": 2, "e": 3}}, "l": [1, 2], "n": 5})
        change = {
            "a": {"b": None, "c": {"d": {"x": 1, "y": None}}},
            "l": [None],
            "n": {"m": None},
            "gone": None,
        }
        service.update([{"id": "d1", "tags": change}])
        assert {"a": {"c": {"d": {"x": 1}, "e": 3}}, "l": [None], "n": {}} == docs["d1"].to_dict()["tags"]


def test_forms_of_arrays_stand_beside_them_in_a_change():
    docs = DocumentArray([Document(id="a", tensor=np.zeros(2))])
    with contextlib.closing(Service(docs, writable=True)) as service:
        service.update([{"id": "a", "tensor": [1, 2], "_arrays": {"tensor": {"dtype": "<i2"}}}])
        service.update([{"id": "a", "weight": 2.0, "_arrays": None}])
        assert np.int16 == docs["a"].tensor.dtype
        with pytest.raises(UnknownField, match="_arrrays"):
            service.update([{"id": "a", "_arrrays": None}])


@pytest.mark.parametrize("ids", [[[]], [{}], [1], [None], ["d1", ["d2"]]], ids=str)
def test_ids_that_are_no_text_are_told_so(docs, ids):
    with contextlib.closing(Service(docs, writable=True)) as service:
        for method in (service.delete, service.read):
            with pytest.raises(FieldTypeError, match="id is text"):
                method(ids)
        assert 12 == len(docs)


def test_ids_are_counted_before_they_are_made_one(docs):
    with contextlib.closing(Service(docs, writable=True, limits=Limits(documents=2))) as service:
        with pytest.raises(TooMuch, match="3 were named"):
            service.delete(["d1", "d1", "d1"])
        assert ["d1"] == service.delete(["d1", "d1"])


def test_a_vector_has_no_true_or_false_in_it(docs):
    with contextlib.closing(Service(docs)) as service:
        with pytest.raises(FieldTypeError, match="true or false"):
            service.search(vector=[1.0, True, 2])
        with pytest.raises(TooMuch, match="name of an embedding"):
            service.search(vector=[1.0, 2.0, 3.0], embedding="x" * 2000)
