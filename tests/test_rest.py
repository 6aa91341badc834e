"""REST over an array: what clients ask for, send, get wrong, and what they are told then."""

import asyncio
import contextlib
import dataclasses
import gzip
import json
import logging
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("starlette", reason='the REST routes need starlette: pip install "docarray[serve]"')

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from docarray import Document, DocumentArray
from docarray.errors import FieldTypeError
from docarray.web.limits import Limits
from docarray.web.rest import HEAVY, quote_id, rest_app, routes
from docarray.web.service import Service

BINARY = "application/vnd.docarray"
NDJSON = "application/x-ndjson"
SMALL = Limits(
    body=20_000, documents=5, page=10, usual_page=3, longest_id=40, vector=8, text=50, filter_terms=12,
    filter_depth=4, sort_keys=2,
)  # fmt: skip


def shelf():
    kinds = ["green tea", "black tea", "coffee", "cocoa", "tea with milk", "milk"]
    return DocumentArray(
        Document(
            id=key,
            **({"blob": b"bytes"} if at == 1 else {"text": kinds[at % 6]}),
            tags={"price": at % 4, "maker": {"name": "x", "town": {"zip": at}}},
            embedding=np.array([at, 10 - at, 1], "f4"),
            chunks=[
                Document(id=f"{key}.{j}", text=f"leaf {j}", embedding=np.ones(3, "f4")) for j in range(at % 3)
            ],
        )
        for at, key in enumerate(
            ["a", "b/c", "", "count", "ä ö", "delete", "?x=1#y", "h", "i", "j", "k", "l"]
        )
    )


def documents(response):
    """The documents of an answer of JSON."""
    assert 200 == response.status_code, response.text
    assert "application/json" == response.headers["content-type"]
    return DocumentArray.from_json(response.content)


def ids(response):
    return [doc.id for doc in documents(response)]


def told(response, status, *words):
    """That an answer is a problem of this status whose detail has these words."""
    assert status == response.status_code, response.text
    assert "application/problem+json" == response.headers["content-type"]
    said = response.json()
    assert status == said["status"]
    assert {"type", "title", "status", "detail", "instance"} == said.keys()
    for word in words:
        assert word in said["detail"], said["detail"]
    return said


@pytest.fixture(params=["memory", "sqlite"])
def docs(request, tmp_path):
    if request.param == "memory":
        yield shelf()
        return
    config = {"connection": str(tmp_path / "shelf.db")}
    with contextlib.closing(DocumentArray(shelf(), storage="sqlite", config=config)) as stored:
        yield stored


@contextlib.contextmanager
def asked(docs, **options):
    with contextlib.closing(Service(docs, **options)) as service, TestClient(rest_app(service)) as client:
        yield client


@pytest.fixture
def client(docs):
    with asked(docs, writable=True, limits=SMALL, name="shelf") as client:
        yield client


@pytest.fixture
def reader(docs):
    with asked(docs) as client:
        yield client


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_list_is_in_order_and_without_what_is_heavy(client):
    found = client.get("/documents")
    listed = documents(found)
    assert ["a", "b/c", ""] == [doc.id for doc in listed]
    assert "green tea" == listed[0].text
    assert {"price": 0, "maker": {"name": "x", "town": {"zip": 0}}} == dict(listed[0].tags)
    assert "12" == found.headers["x-total-count"]
    assert "accept" == found.headers["vary"]
    for row in found.json():
        for one in [row, *row.get("chunks", [])]:
            assert not {*HEAVY} & one.keys()
    assert ["leaf 0"] == [chunk.text for chunk in listed[1].chunks]


def test_pages_follow_one_another_by_their_links(client):
    seen, where, pages = [], "/documents?first=5&sort=-tags__price&sort=text&fields=id,text", 0
    while where:
        found = client.get(where)
        seen += ids(found)
        pages += 1
        assert all(row.keys() <= {"id", "text"} for row in found.json())
        where = found.links.get("next", {}).get("url")
    assert 3 == pages
    rows = [(-(at % 4), doc.text, at, doc.id) for at, doc in enumerate(shelf())]
    assert [key for *_, key in sorted(rows)] == seen


def test_links_hold_filters_and_survive_deletion(client):
    condition = json.dumps({"text": {"$contains": "tea"}, "tags__price": {"$gte": 0}})
    found = client.get("/documents", params={"filter": condition, "first": 2})
    assert "5" == found.headers["x-total-count"]
    assert ["a", "ä ö"] == ids(found)
    assert 204 == client.delete("/documents/ä%20ö").status_code
    assert ["?x=1#y", "h"] == ids(client.get(found.links["next"]["url"]))


def test_the_last_page_has_no_link(client):
    found = client.get("/documents?first=10&filter={}")
    assert "next" in found.links
    last = client.get(found.links["next"]["url"])
    assert ["k", "l"] == ids(last)
    assert "link" not in last.headers
    assert "link" not in client.get("/documents?first=0").headers


def test_fields_are_those_that_are_named(client):
    row = client.get("/documents?first=1&fields=embedding").json()[0]
    assert ("a", [0.0, 10.0, 1.0], {"id", "embedding", "_arrays"}) == (
        row["id"],
        row["embedding"],
        row.keys(),
    )
    everything = client.get("/documents/b%2Fc?fields=*").json()
    assert {"id", "tags", "embedding", "blob", "chunks"} <= everything.keys()
    assert [1.0, 1.0, 1.0] == everything["chunks"][0]["embedding"]
    named = client.get("/documents/b%2Fc", params={"fields": "chunks,blob"}).json()
    assert {"id", "chunks", "blob"} == named.keys()
    assert "embedding" not in named["chunks"][0]


@pytest.mark.parametrize("key", [doc.id for doc in shelf() if doc.id])
def test_every_id_has_a_path(client, key):
    found = client.get(f"/documents/{quote_id(key)}")
    assert key == found.json()["id"]
    head = client.head(f"/documents/{quote_id(key)}")
    assert (200, b"") == (head.status_code, head.content)
    assert found.headers["content-length"] == head.headers["content-length"]


def test_a_slash_of_an_id_may_stand_as_it_is_and_the_empty_id_is_one(client):
    assert "b/c" == client.get("/documents/b/c").json()["id"]
    assert "" == client.get("/documents/").json()["id"]


def test_count_is_a_count_and_no_document(client):
    assert {"count": 12} == client.get("/documents/count").json()
    condition = json.dumps({"tags__price": {"$lt": 2}})
    assert {"count": 6} == client.get("/documents/count", params={"filter": condition}).json()


def test_info_says_what_there_is(client, docs):
    said = client.get("/info").json()
    assert ("shelf", 12, docs.storage, True) == (
        said["name"],
        said["documents"],
        said["storage"],
        said["writable"],
    )


def test_a_stream_has_every_document_a_line_each(docs):
    docs.extend(Document(id=f"more {at}", text="x" * 10) for at in range(3_000))
    with asked(docs) as client:
        found = client.get("/documents", headers={"Accept": NDJSON})
        assert NDJSON == found.headers["content-type"]
        lines = [json.loads(line) for line in found.content.splitlines()]
        assert list(docs[:, "id"]) == [line["id"] for line in lines]
        assert not any({*HEAVY} & line.keys() for line in lines)
        condition = json.dumps({"text": {"$eq": "coffee"}})
        few = client.get(
            "/documents", params={"filter": condition, "sort": "-id"}, headers={"Accept": NDJSON}
        )
        assert ["i", ""] == [json.loads(line)["id"] for line in few.content.splitlines()]
        page = client.get("/documents?first=2", headers={"Accept": NDJSON})
        assert 2 == len(page.content.splitlines())
        assert "next" in page.links


def test_binary_answers_are_whole(client):
    found = client.get("/documents?first=4&fields=*", headers={"Accept": BINARY})
    assert BINARY == found.headers["content-type"]
    got = DocumentArray.from_bytes(found.content)
    assert np.float32 == got[1].embedding.dtype
    assert b"bytes" == got[1].blob
    one = client.get("/documents/count%20?fields=embedding", headers={"Accept": BINARY})
    told(one, 404, "'count '")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        (f"{BINARY}, application/json;q=0.5", BINARY),
        (f"{NDJSON};q=0.4, application/json;q=0.5", "application/json"),
        ("application/json;q=0, */*", NDJSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("APPLICATION/X-NDJSON", NDJSON),
    ],
)
def test_the_best_of_what_is_accepted_is_given(client, accept, media):
    for path in ("/documents?first=1", "/documents/a", "/search?like=a"):
        found = client.get(path, headers={"Accept": accept})
        assert (200, media) == (found.status_code, found.headers["content-type"])


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*"])
def test_what_is_not_given_is_said(client, accept):
    told(client.get("/documents", headers={"Accept": accept}), 406, "application/json", BINARY)
    told(client.get("/documents/a", headers={"Accept": accept}), 406)
    told(client.get("/search?like=a", headers={"Accept": accept}), 406)


# --- searching --------------------------------------------------------------------------------------------------------


def test_search_by_words_by_vector_and_by_likeness(client):
    words = documents(client.get("/search", params={"text": "green tea"}))
    assert ("a", "bm25") == (words[0].id, words[0].scores["bm25"].op_name)
    near = documents(
        client.get("/search", params={"vector": "[0, 10, 1]", "metric": "euclidean", "limit": 2})
    )
    assert ["a", "b/c"] == [doc.id for doc in near]
    assert 0 == near[0].scores["euclidean"].value
    like = documents(client.get("/search?like=a&limit=1"))
    assert ["b/c"] == [doc.id for doc in like]
    both = documents(client.get("/search", params={"text": "milk", "vector": "[5,5,1]"}))
    assert "rrf" in both[0].scores


def test_search_by_a_body_is_the_same_search(client):
    for asked_for in (
        {"text": "tea", "limit": 4, "fields": ["id", "tags"]},
        {"vector": [1, 9.5, 1], "filter": {"tags__price": {"$lt": 2}}, "metric": "inner_product"},
        {"like": "b/c", "limit": 3, "fields": ["*"]},
    ):
        query = {
            name: ",".join(value)
            if name == "fields"
            else json.dumps(value)
            if isinstance(value, (list, dict))
            else value
            for name, value in asked_for.items()
        }
        by_body = client.post("/search", json={**asked_for, "index": None})
        by_query = client.get("/search", params=query)
        assert 200 == by_body.status_code, by_body.text
        assert by_body.content == by_query.content
        assert by_body.json()


def test_a_search_finds_what_was_just_written(client):
    assert (
        201
        == client.post("/documents", json={"id": "new", "text": "zebra", "embedding": [7, 7, 7]}).status_code
    )
    assert ["new"] == ids(client.get("/search?text=zebra"))
    assert ["new"] == ids(client.get("/search?vector=[7,7,7]&limit=1"))
    assert 204 == client.delete("/documents/new").status_code
    assert [] == ids(client.get("/search?text=zebra"))


# --- writing ----------------------------------------------------------------------------------------------------------


def test_documents_are_written_whatever_they_come_as(client, docs):
    sent = DocumentArray(
        [Document(id="a", text="new"), Document(id="z", text="omega", embedding=np.ones(3, "f4"))]
    )
    for data, media in (
        (sent.to_json().encode(), "application/json; charset=utf-8"),
        (b"".join(json.dumps(doc.to_dict()).encode() + b"\n" for doc in sent), NDJSON),
        (sent.to_bytes(), BINARY),
    ):
        done = client.post("/documents", content=data, headers={"Content-Type": media})
        assert (201, {"created": ["z"], "replaced": ["a"]}) == (done.status_code, done.json()), media
        again = client.post("/documents", content=data, headers={"Content-Type": media})
        assert (200, {"created": [], "replaced": ["a", "z"]}) == (again.status_code, again.json())
        assert ("new", 13) == (docs["a"].text, len(docs))
        assert np.float32 == docs["z"].embedding.dtype
        assert 204 == client.delete("/documents/z").status_code


def test_one_document_is_told_where_it_is(client):
    done = client.post("/documents", json={"text": "without an id"})
    assert 201 == done.status_code
    assert "without an id" == client.get(done.headers["location"]).json()["text"]
    named = client.post("/documents", json=[{"id": "x/y z"}])
    assert "/documents/x%2Fy%20z" == named.headers["location"]
    assert "x/y z" == client.get(named.headers["location"]).json()["id"]
    assert "location" not in client.post("/documents", json=[{"id": "1"}, {"id": "2"}]).headers


def test_nested_documents_are_written_and_read(client):
    tree = {
        "id": "t",
        "chunks": [{"id": "t1", "text": "one", "chunks": [{"id": "t11", "tags": {"deep": [1, None]}}]}],
    }
    assert 201 == client.put("/documents/t", json=tree).status_code
    read = client.get("/documents/t").json()
    assert "t11" == read["chunks"][0]["chunks"][0]["id"]
    assert {"deep": [1, None]} == read["chunks"][0]["chunks"][0]["tags"]


def test_a_write_can_be_only_of_new_documents(client, docs):
    for how in ({"params": {"replace": "false"}}, {"headers": {"If-None-Match": "*"}}):
        told(client.post("/documents", json=[{"id": "new"}, {"id": "a", "text": "x"}], **how), 409, "'a'")
        assert (12, "green tea") == (len(docs), docs["a"].text)
    told(
        client.post("/documents", json={"id": "n"}, headers={"If-None-Match": '"abc"'}), 400, "If-None-Match"
    )
    told(client.post("/documents?replace=maybe", json={"id": "n"}), 422, "'replace'", "true or false")


def test_put_is_by_the_path(client, docs):
    done = client.put("/documents/p%2Fq", json={"text": "first"})
    assert (201, ["p/q"]) == (done.status_code, done.json()["created"])
    assert "p/q" == client.get("/documents/p/q").json()["id"]
    done = client.put("/documents/p/q", json={"id": "p/q", "tags": {"n": 1}})
    assert (200, ["p/q"]) == (done.status_code, done.json()["replaced"])
    assert ("", {"n": 1}) == (docs["p/q"].text or "", dict(docs["p/q"].tags))
    whole = DocumentArray([Document(id="bin", tensor=np.arange(6).reshape(2, 3))]).to_bytes()
    assert 201 == client.put("/documents/bin", content=whole, headers={"Content-Type": BINARY}).status_code
    assert (2, 3) == docs["bin"].tensor.shape
    told(client.put("/documents/a", json={"id": "b"}), 422, "'a'", "'b'")
    told(client.put("/documents/a", content=whole, headers={"Content-Type": BINARY}), 422, "'a'", "'bin'")
    told(client.put("/documents/a", json=[{"text": "x"}]), 422, "a JSON object")
    two = DocumentArray([Document(), Document()]).to_bytes()
    told(
        client.put("/documents/a", content=two, headers={"Content-Type": BINARY}), 422, "one document; got 2"
    )


def test_patch_sets_unsets_and_merges(client, docs):
    change = {
        "blob": "Ynl0ZQ==",
        "embedding": None,
        "tags": {"price": None, "new": [1], "maker": {"town": {"zip": None}}},
    }
    headers = {"Content-Type": "application/merge-patch+json"}
    done = client.patch("/documents/b%2Fc", content=json.dumps(change), headers=headers)
    assert {"new": [1], "maker": {"name": "x", "town": {}}} == done.json()["tags"]
    assert b"byte" == docs["b/c"].blob
    assert docs["b/c"].embedding is None
    assert 1 == len(docs["b/c"].chunks)
    done = client.patch(
        "/documents/a", json={"id": "a", "embedding": [1, 2, 3], "tags": None, "weight": "Infinity"}
    )
    assert {"id": "a", "text": "green tea", "weight": "Infinity"} == done.json()
    assert np.float32 == docs["a"].embedding.dtype
    whole = client.get("/documents/a?fields=embedding").json()
    assert 200 == client.patch("/documents/a", json=whole).status_code


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"textt": "x"}, 422, ["'a'", "textt"]),
        ({"textt": None}, 422, ["'a'", "'textt'", "text"]),
        ({"text": 5}, 422, ["'a'", "text"]),
        ({"weight": "heavy"}, 422, ["'a'", "weight"]),
        ({"tags": [1]}, 422, ["'a'", "tags"]),
        ({"id": "b"}, 422, ["'a'", "'b'"]),
        ({"chunks": [{"id": "leaf", "text": 5}]}, 422, ["'leaf'", "text"]),
        ({"text": "set", "embedding": ["x"]}, 422, ["'a'", "embedding"]),
        ({"text": "set", "content": "twice"}, 422, ["text and content"]),
        ({"text": "set", "embedding": [1, 2]}, 422, ["'a'", "shape (3,)", "shape (2,)"]),
        ({"weight": True}, 422, ["'weight'", "True"]),
        ({"nothing": None}, 422, ["'nothing'"]),
    ],
)
def test_a_bad_patch_changes_nothing(client, docs, change, status, words):
    before = docs["a"].to_dict()
    told(client.patch("/documents/a", json=change), status, *words)
    assert before == docs["a"].to_dict()


def test_documents_are_deleted_all_or_none(client, docs):
    told(client.post("/documents/delete", json={"ids": ["a", "nobody"]}), 404, "'nobody'")
    assert "a" in docs
    done = client.post("/documents/delete", json={"ids": ["a", "b/c", "a"]})
    assert (200, {"deleted": ["a", "b/c"]}) == (done.status_code, done.json())
    assert 10 == len(docs)
    gone = client.delete("/documents/%64elete")
    assert (204, b"") == (gone.status_code, gone.content)
    assert "content-type" not in gone.headers
    assert "delete" not in docs
    told(client.delete("/documents/%64elete"), 404, "'delete'")


def test_a_path_is_of_a_document_for_methods_that_it_has_no_other_meaning_for(client, docs):
    """`POST /documents/delete` and `GET /documents/count` are what they say; all else is of documents called so."""
    assert client.get("/documents/delete").json()["id"] == "delete"
    assert client.patch("/documents/delete", json={"text": "gone soon"}).status_code == 200
    assert docs["delete"].text == "gone soon"
    assert client.patch("/documents/count", json={"text": "one"}).status_code == 200
    assert docs["count"].text == "one"
    assert client.get("/documents/count").json() == {"count": 12}
    assert client.delete("/documents/delete").status_code == 204
    told(client.post("/documents/count", json={}), 405, "DELETE, GET, HEAD, PATCH, PUT")


def test_for_reading_only_nothing_can_be_written(reader, docs):
    json_of = {"json": {"id": "x"}}
    allowed = []
    for method, path, options in (
        ("POST", "/documents", json_of),
        ("PUT", "/documents/a", json_of),
        ("PATCH", "/documents/a", {"json": {"text": "x"}}),
        ("DELETE", "/documents/a", {}),
        ("POST", "/documents/delete", {"json": {"ids": ["a"]}}),
    ):
        found = reader.request(method, path, **options)
        told(found, 405, "GET, HEAD")
        allowed.append(found.headers["allow"])
    assert {"GET, HEAD"} == {*allowed}
    assert (12, "green tea") == (len(docs), docs["a"].text)


# --- what is wrong ----------------------------------------------------------------------------------------------------


def q(**parameters):
    return {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()
    }


@pytest.mark.parametrize(
    ("path", "parameters", "status", "words"),
    [
        ("/documents", "frist=3", 400, ["'frist'", "first"]),
        ("/documents", "first=3&first=4", 400, ["'first'", "once"]),
        ("/documents", "first=x", 422, ["'first'", "'x'"]),
        ("/documents", "first=1.5", 422, ["'first'"]),
        ("/documents", "first=", 422, ["'first'"]),
        ("/documents", "first=٣", 422, ["'first'"]),
        ("/documents", "first=-1", 422, ["negative"]),
        ("/documents", "first=11", 422, ["at most 10"]),
        ("/documents", "first=" + "9" * 5000, 422, ["'first'"]),
        ("/documents", "&".join(["sort=text"] * 3), 422, ["at most 2"]),
        ("/documents", "&".join(["sort=text"] * 90), 400, ["at most 64"]),
        ("/documents", "sort=nothing", 422, ["nothing"]),
        ("/documents", "after=zzz", 422, ["'zzz'", "cursor"]),
        ("/documents", "after=" + "z" * 50, 422, ["50 characters", "40"]),
        ("/documents", "fields=text,txet", 422, ["'txet'", "text"]),
        ("/documents", "fields=", 422, ["''"]),
        ("/documents", "fields=" + "text," * 70, 422, ["fields"]),
        ("/documents", "filter=price", 400, ["'filter'", "no JSON"]),
        ("/documents", "filter=null", 400, ["'filter'"]),
        ("/documents", "filter=[1]", 422, ["filter"]),
        ("/documents", q(filter={"tags__price": {"$lessthan": 1}}), 422, ["$lessthan"]),
        ("/documents", q(filter={"nothing": 1}), 422, ["nothing"]),
        ("/documents", q(filter={"text": {"$regex": "(a+)+$"}}), 422, ["$regex", "switched off"]),
        ("/documents", q(filter={"tags__x": {"$in": [*range(50)]}}), 422, ["more than 12 parts"]),
        ("/documents", q(filter={"$not": {"$not": {"$not": {"$not": {"text": "a"}}}}}), 422, ["levels"]),
        ("/documents", "filter=" + "[" * 4_000, 400, ["'filter'"]),
        ("/documents/count", "filter={", 400, ["'filter'"]),
        ("/documents/count", "first=1", 400, ["'first'"]),
        ("/documents/nobody", "", 404, ["'nobody'"]),
        ("/documents/" + "x" * 41, "", 422, ["41 characters"]),
        ("/documents/a", "filter={}", 400, ["'filter'"]),
        ("/search", "", 422, ["a vector, a text, or the id"]),
        ("/search", "vector=[1,2]", 422, ["2", "3"]),
        ("/search", "vector=[]", 422, ["at least one number"]),
        ("/search", "vector=1", 422, ["a list of numbers"]),
        ("/search", 'vector=["1"]', 422, ["a list of numbers"]),
        ("/search", "vector=[[1,2,3]]", 422, ["shape (1, 3)"]),
        ("/search", "vector=[1,2,NaN]", 422, ["finite"]),
        ("/search", "vector=[1,2,1e999]", 422, ["finite"]),
        ("/search", "vector=[1,2,true]", 422, ["numbers"]),
        ("/search", "vector=[1,1,1,1,1,1,1,1,1]", 422, ["at most 8"]),
        ("/search", "vector=[1,2,3]&like=a", 422, ["not by both"]),
        ("/search", "vector=[1,2,3]&metric=cosin", 422, ["'cosin'", "cosine"]),
        ("/search", "like=nobody", 404, ["'nobody'"]),
        ("/search", "text=" + "x" * 51, 422, ["51 characters"]),
        ("/search", "text=tea&limit=11", 422, ["at most 10"]),
        ("/search", "text=tea&index=nothing", 422, ["nothing"]),
        ("/search", "vector=[1,2,3]&embedding=" + "x" * 41, 422, ["the name of an embedding", "41"]),
        ("/search", "text=tea&first=3", 400, ["'first'"]),
        ("/info", "x=1", 400, ["'x'"]),
        ("/nowhere", "", 404, ["/openapi.json"]),
        ("/documents/a/", "", 404, ["'a/'"]),
    ],
    ids=str,
)
def test_a_bad_question_is_told_what_is_wrong_with_it(client, path, parameters, status, words):
    told(client.get(path, params=parameters), status, *words)


JSON = "application/json"


@pytest.mark.parametrize(
    ("method", "path", "media", "body", "status", "words"),
    [
        ("POST", "/documents", None, b"{}", 415, ["Content-Type", "no content-type"]),
        ("POST", "/documents", "text/plain", b"{}", 415, ["text/plain"]),
        ("POST", "/documents", JSON, b"", 400, ["no JSON"]),
        ("POST", "/documents", JSON, b"{", 400, ["no JSON"]),
        ("POST", "/documents", JSON, b"\xff", 400, ["no JSON"]),
        ("POST", "/documents", JSON, b"[" * 9_000, 400, ["no JSON"]),
        ("POST", "/documents", JSON, b"[1]", 422, ["1"]),
        ("POST", "/documents", JSON, b"null", 422, []),
        ("POST", "/documents", JSON, b'[{"id":"x"},{"id":"y","textt":"z"}]', 422, ["'y'", "textt"]),
        ("POST", "/documents", JSON, b'[{"id":"x"},{"id":"y","text":1}]', 422, ["'y'", "text"]),
        ("POST", "/documents", JSON, b'{"id":"y","embedding":[1,"a"]}', 422, ["'y'", "embedding"]),
        ("POST", "/documents", JSON, b'{"id":"y","embedding":[[1,2],[3]]}', 422, ["'y'", "embedding"]),
        ("POST", "/documents", JSON, b'{"id":"y","embedding":[1e300,2,3]}', 422, ["'y'", "embedding"]),
        ("POST", "/documents", JSON, b'{"id":"y","blob":"%%"}', 422, ["'y'", "blob"]),
        (
            "POST",
            "/documents",
            JSON,
            b'{"id":"y","chunks":[{"id":"z","weight":"x"}]}',
            422,
            ["'z'", "weight"],
        ),
        ("POST", "/documents", JSON, b'{"id":[5]}', 422, ["id"]),
        ("POST", "/documents", JSON, b'[{"id":"x"},{"id":"x"}]', 409, ["'x'", "twice"]),
        ("POST", "/documents", JSON, b"[{},{},{},{},{},{}]", 422, ["at most 5"]),
        ("POST", "/documents", JSON, b'{"id":"' + b"x" * 41 + b'"}', 422, ["41 characters"]),
        ("POST", "/documents", JSON, b" " * 20_001, 413, ["20000 bytes"]),
        ("POST", "/documents", NDJSON, b'{"id":"x"}\n{"id":', 400, ["line 2"]),
        ("POST", "/documents", NDJSON, b'{"id":"x"}\n[]', 422, ["number 1", "object"]),
        ("POST", "/documents", JSON, b'{"id":"y","text":"\\ud800"}', 422, ["'y'", "'text'", "surrogate"]),
        ("POST", "/documents", JSON, b'{"id":"y","weight":true}', 422, ["weight"]),
        ("POST", "/documents", JSON, b'[{"textt":null}]', 422, ["'textt'", "text"]),
        ("POST", "/documents", JSON, b'[{"chunks":[{"":null}]}]', 422, ["''"]),
        ("POST", "/documents", JSON, b'[{"scores":{"a":{"valu":null}}}]', 422, ["'valu'", "value"]),
        (
            "POST",
            "/documents",
            JSON,
            b'[{"id":"y","embedding":[1,2,3]},{"id":"z","embedding":[1,2]}]',
            422,
            ["'z'"],
        ),
        ("POST", "/documents", BINARY, b"nonsense", 400, ["damaged"]),
        ("POST", "/documents", BINARY, b"", 400, ["damaged"]),
        ("POST", "/documents?x=1", JSON, b"{}", 400, ["'x'"]),
        ("PUT", "/documents/a", NDJSON, b"{}", 415, ["application/json"]),
        ("PUT", "/documents/a", JSON, b'{"textt":"x"}', 422, ["'a'", "textt"]),
        ("PUT", "/documents/" + "x" * 41, JSON, b"{}", 422, ["41 characters"]),
        ("PATCH", "/documents/nobody", JSON, b'{"text":"x"}', 404, ["'nobody'"]),
        ("PATCH", "/documents/a", JSON, b"[]", 422, ["a JSON object"]),
        ("PATCH", "/documents/a", JSON, b"{", 400, ["no JSON"]),
        ("PATCH", "/documents/a", "application/json-patch+json", b"[]", 415, ["merge-patch"]),
        ("DELETE", "/documents/nobody", None, b"", 404, ["'nobody'"]),
        ("POST", "/documents/delete", JSON, b"{}", 422, ["ids"]),
        ("POST", "/documents/delete", JSON, b'{"ids":"a"}', 422, ["ids"]),
        ("POST", "/documents/delete", JSON, b'{"ids":[1]}', 422, ["id"]),
        ("POST", "/documents/delete", JSON, b'{"ids":[[]]}', 422, ["id"]),
        ("POST", "/documents/delete", JSON, b'{"ids":["a"],"more":1}', 422, ["ids"]),
        ("POST", "/documents/delete", JSON, b'{"ids":["a","b","c","d","e","f"]}', 422, ["at most 5"]),
        ("POST", "/search", JSON, b'{"txet":"tea"}', 400, ["'txet'", "text"]),
        ("POST", "/search", JSON, b'{"text":5}', 422, ["text"]),
        ("POST", "/search", JSON, b'{"text":"tea","limit":"5"}', 422, ["whole number"]),
        ("POST", "/search", JSON, b'{"text":"tea","limit":true}', 422, ["whole number"]),
        ("POST", "/search", JSON, b'{"text":"tea","fields":"text"}', 422, ["fields"]),
        ("POST", "/search", JSON, b'{"text":"tea","metric":5}', 422, ["metric"]),
        ("POST", "/search", JSON, b'{"like":{"a":1}}', 422, []),
        ("POST", "/search", JSON, b'{"vector":[1,2,3],"embedding":5}', 422, []),
        ("POST", "/search", JSON, b'{"vector":[1' + b"0" * 400 + b",2,3]}", 422, ["finite"]),
        ("POST", "/search", NDJSON, b"{}", 415, ["application/json"]),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_bad_body_is_told_what_is_wrong_with_it(client, docs, method, path, media, body, status, words):
    before = docs.to_json()
    headers = {} if media is None else {"Content-Type": media}
    told(client.request(method, path, content=body, headers=headers), status, *words)
    assert before == docs.to_json()


def test_methods_that_there_are_not(client):
    for method, path, there in (
        ("PUT", "/documents", "GET, HEAD, POST"),
        ("PATCH", "/search", "GET, HEAD, POST"),
        ("POST", "/info", "GET, HEAD"),
        ("POST", "/documents/a", "DELETE, GET, HEAD, PATCH, PUT"),
    ):
        found = client.request(method, path, json={})
        told(found, 405, there)
        assert there == found.headers["allow"]


def test_bodies_may_be_packed(client, docs):
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    assert (
        201
        == client.post("/documents", content=gzip.compress(b'{"id":"packed"}'), headers=headers).status_code
    )
    assert "packed" in docs
    told(client.post("/documents", content=b"{}", headers=headers), 400, "gzip")
    told(client.post("/documents", content=gzip.compress(b" " * 20_001), headers=headers), 413, "20000 bytes")
    told(client.post("/documents", content=b"{}", headers={**headers, "Content-Encoding": "br"}), 415, "br")


@pytest.mark.parametrize("key", ["\n", "a\n", "count\n", "\r\n\x00", "%2F", "..", "."])
def test_every_id_can_be_put_read_and_deleted(docs, key):
    with contextlib.closing(Service(docs, writable=True)) as service:
        app = rest_app(service)

        def ask(method, part=b""):
            return exchange(
                app, [part], path=f"/documents/{key}", raw=f"/documents/{quote_id(key)}", method=method
            )[0]

        assert 201 == ask("PUT", b'{"text":"odd"}')[0]["status"]
        assert "odd" == docs[key].text
        assert key == json.loads(ask("GET")[1]["body"])["id"]
        assert 204 == ask("DELETE")[0]["status"]
        assert key not in docs


def test_a_packed_table_unpacks_to_no_more_than_a_body(client):
    big = DocumentArray([Document(text="a" * 200_000)]).to_bytes(compress="gzip")
    assert len(big) < SMALL.body
    found = client.post("/documents", content=big, headers={"Content-Type": BINARY})
    assert found.status_code in (400, 413)
    told(found, found.status_code, "20000 bytes")


def test_errors_of_the_server_are_told_by_an_id_and_nothing_else(docs, caplog):
    def broken(texts):
        raise ZeroDivisionError(f"a secret of {texts}")

    caplog.set_level(logging.ERROR, "docarray.web")
    with asked(docs, encode=broken) as client:
        said = told(client.get("/search?text=tea"), 500, "log of the server")
    assert "secret" not in json.dumps(said)
    assert said["instance"] in caplog.text
    assert "a secret of ['tea']" in caplog.text


def test_nothing_that_a_client_names_is_opened(client, docs, tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("secret")
    sent = {"id": "u", "uri": str(path), "mime_type": "text/plain"}
    assert 201 == client.post("/documents", json=sent).status_code
    read = client.get("/documents/u?fields=*").json()
    assert str(path) == read["uri"]
    assert "secret" not in json.dumps({name: value for name, value in read.items() if name != "uri"})


def test_a_change_that_cannot_be_answered_is_not_made(client, docs):
    told(client.patch("/documents/a", json={"text": "new"}, headers={"Accept": "image/png"}), 406)
    assert "green tea" == docs["a"].text


def test_long_bodies_are_read_like_short_ones(docs):
    with asked(docs, writable=True) as client:
        long = {
            "text": "tea" + " " * 9_000,
            "filter": {"$or": [{"text": "x" * 30_000}, {"text": "green tea"}]},
        }
        assert ["a", "?x=1#y"] == ids(client.post("/search", json=long))
        told(client.post("/search", content=b" " * 50_000, headers={"Content-Type": JSON}), 400, "no JSON")


ODD = {
    "surrogate": {"text": "\ud800", "tags": {"a\ud800": "\udfff"}},
    "an id with a surrogate": {"id": "s\udc00"},
    "text array": {"tensor": np.array(["a"])},
    "dates": {"tensor": np.array(["2020-01-01"], "M8[D]")},
    "complex": {"tensor": np.array([1j])},
    "not finite": {"tensor": np.array([np.nan, np.inf])},
    "mixed list": {"tensor": [1, "a", [float("nan")]]},
    "tags": {"tags": {"b": b"x", "n": float("nan"), "t": (1,), "s": {1, 2}, "a": np.arange(3)}},
}


@pytest.mark.parametrize("odd", ODD)
def test_what_the_library_can_say_and_json_cannot_ends_no_answer(client, odd):
    sent = DocumentArray([Document(**{"id": "odd", **ODD[odd]})]).to_bytes()
    done = client.post("/documents", content=sent, headers={"Content-Type": BINARY})
    assert 201 == done.status_code
    assert DocumentArray.from_bytes(sent)[:, "id"] == json.loads(done.content.decode())["created"]
    for path in ("/documents?fields=*&first=10&sort=-id", "/documents?sort=-id", "/info", "/search?text=tea"):
        for accept in (JSON, NDJSON, BINARY):
            found = client.get(path, headers={"Accept": accept})
            assert 200 == found.status_code, found.text
            if found.headers["content-type"] == JSON:
                json.loads(found.content.decode())


def test_what_is_not_finite_is_said_in_strict_json(client, docs):
    sent = {"id": "n", "weight": "NaN", "location": [1, "-Infinity"], "scores": {"s": {"value": "NaN"}}}
    assert 201 == client.post("/documents", json=sent).status_code
    assert np.isnan(docs["n"].weight)
    docs["n"] = Document(docs["n"], embedding=np.array([1, np.inf, 0], "f4"))

    def refuse(token):
        raise AssertionError(token)

    for accept in (JSON, NDJSON):
        found = client.get("/documents/n?fields=*", headers={"Accept": accept})
        read = json.loads(found.content, parse_constant=refuse)
        assert sent == {name: read[name] for name in sent}
        again = client.post("/documents", content=found.content, headers={"Content-Type": accept})
        assert 200 == again.status_code, again.text
        assert [1, np.inf, 0] == docs["n"].embedding.tolist()
    assert 200 == client.patch("/documents/n", json={"text": "NaN, Infinity"}).status_code
    assert "NaN, Infinity" == client.get("/documents/n").json()["text"]
    for row in json.loads(client.get("/search?like=n").content, parse_constant=refuse):
        assert "NaN" == row["scores"]["cosine"]["value"]


# --- the server -------------------------------------------------------------------------------------------------------


def exchange(app, parts, path="/documents", method="POST", headers=(), after=None, raw=None):
    """What an application sends for a body that comes in parts; `after` is what the client does then."""
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": (raw or quote(path)).encode(), "query_string": b"",
        "root_path": "", "headers": [(b"content-type", b"application/json"), *headers],
    }  # fmt: skip
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append(after or {"type": "http.request", "body": b"", "more_body": False})
    taken, sent = [], []

    async def receive():
        if len(taken) == len(messages):
            await asyncio.Event().wait()
        taken.append(messages[len(taken)])
        return taken[-1]

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent, len(taken)


def test_bodies_come_in_parts(docs):
    with contextlib.closing(Service(docs, writable=True, limits=SMALL)) as service:
        sent, _ = exchange(rest_app(service), [b'{"id":', b'"parts"', b"}"])
        assert 201 == sent[0]["status"]
        assert "parts" in docs


def test_a_long_body_is_not_read_to_its_end(docs):
    with contextlib.closing(Service(docs, writable=True, limits=SMALL)) as service:
        sent, taken = exchange(rest_app(service), [b" " * 5_000] * 50)
        assert (413, 5) == (sent[0]["status"], taken)
        said = [(b"content-length", b"20001")]
        sent, taken = exchange(rest_app(service), [b" " * 20_001], headers=said)
        assert (413, 0) == (sent[0]["status"], taken)


def test_nobody_is_answered_who_has_gone(docs):
    with contextlib.closing(Service(docs, writable=True)) as service:
        gone = {"type": "http.disconnect"}
        sent, _ = exchange(rest_app(service), [b'{"id":"half"'], after=gone)
        assert [] == sent
        assert "half" not in docs


def test_a_stream_stops_when_its_client_goes(docs):
    docs.extend(Document(text="x" * 100) for _ in range(20_000))
    with contextlib.closing(Service(docs)) as service:
        gone = {"type": "http.disconnect"}
        sent, _ = exchange(
            rest_app(service), [], method="GET", headers=[(b"accept", NDJSON.encode())], after=gone
        )
        whole = service.count()
    lines = sum(message.get("body", b"").count(b"\n") for message in sent)
    assert whole == 20_012
    assert lines < whole


def test_it_works_where_it_is_mounted(docs):
    with contextlib.closing(Service(docs, writable=True)) as service:
        app = Starlette(routes=[Mount("/my shelf", rest_app(service))])
        with TestClient(app) as client:
            assert ["a", "b/c"] == ids(found := client.get("/my%20shelf/documents?first=2"))
            assert ["", "count"] == ids(client.get(found.links["next"]["url"]))
            done = client.post("/my%20shelf/documents", json={"id": "m/n"})
            assert "m/n" == client.get(done.headers["location"]).json()["id"]
            assert {"count": 13} == client.get("/my%20shelf/documents/count").json()
            assert [{"url": "/my%20shelf"}] == client.get("/my%20shelf/openapi.json").json()["servers"]


def test_its_routes_go_into_another_application(docs):
    with contextlib.closing(Service(docs)) as service:
        app = Starlette()
        app.router.routes.extend(routes(service))
        with TestClient(app) as client:
            assert "b/c" == client.get("/documents/b%2Fc").json()["id"]
            told(client.get("/documents?first=x"), 422, "'first'")


def test_an_array_that_is_served_stays_open(docs):
    with TestClient(rest_app(docs, name="mine")) as client:
        assert "mine" == client.get("/info").json()["name"]
    assert 12 == len(docs)
    assert "green tea" == docs["a"].text


def test_options_stand_where_the_service_is_made(docs):
    with contextlib.closing(Service(docs)) as service, pytest.raises(FieldTypeError, match="writable"):
        rest_app(service, writable=True)
    with pytest.raises(FieldTypeError, match="DocumentArray"):
        rest_app([1, 2])


def test_there_is_no_document_in_an_empty_array():
    with asked(DocumentArray()) as client:
        assert [] == client.get("/documents").json()
        assert {"count": 0} == client.get("/documents/count").json()
        assert b"" == client.get("/documents", headers={"Accept": NDJSON}).content
        assert [] == client.get("/search?text=tea").json()
        assert [] == client.get("/search?vector=[1]").json()


def test_limits_are_those_of_the_service(docs):
    with asked(docs, limits=dataclasses.replace(SMALL, regex=True, page=100)) as client:
        assert ["count"] == ids(client.get("/documents", params=q(filter={"id": {"$regex": "^co"}})))
        assert 12 == len(ids(client.get("/documents?first=100")))
