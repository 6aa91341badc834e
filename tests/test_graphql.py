"""The GraphQL endpoint: what can be asked, what is refused, and what it costs."""

import asyncio
import base64
import contextlib
import http.client
import json
import logging
import random
import socket
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

pytest.importorskip("strawberry", reason='the endpoint needs strawberry: pip install "docarray[serve]"')
pytest.importorskip("starlette", reason='the endpoint needs starlette: pip install "docarray[serve]"')

pytest.importorskip("uvicorn", reason='the tests serve with uvicorn: pip install "docarray[serve]"')
pytest.importorskip("websockets", reason='the tests speak to sockets: pip install "docarray[serve]"')

import graphql as graphql_core
import uvicorn
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from docarray import Document, DocumentArray, dataclass
from docarray.errors import FieldTypeError
from docarray.typing import Image, Text
from docarray.web import Limits, Service, graphql_app
from docarray.web.graphql import Endpoint, print_schema, schema_of

WORDS = ["green tea", "black tea", "coffee", "cocoa", "tea with milk", "milk"]


def shelf():
    docs = [
        Document(
            id=f"d{i}",
            text=WORDS[i % len(WORDS)],
            weight=i / 2,
            mime_type="text/plain",
            tags={"price": i % 4, "kind": "abc"[i % 3], "size": {"width": [i, i + 1]}},
            embedding=np.array([i, 10 - i, 1], "f4"),
            chunks=[Document(id=f"d{i}c{j}", text=f"part {j}", parent_id=f"d{i}") for j in range(i % 3)],
            matches=[Document(id="m", text="match", scores={"cosine": {"value": 0.5}})] if i == 1 else None,
        )
        for i in range(12)
    ]
    docs[5].embedding = None
    docs[3].parent_id = "d1"
    docs[4].parent_id = "d1"
    docs[6].parent_id = "nobody"
    return DocumentArray(docs)


@pytest.fixture(params=["memory", "sqlite"])
def docs(request, tmp_path):
    if request.param == "memory":
        yield shelf()
    else:
        config = {"connection": str(tmp_path / "shelf.db")}
        with contextlib.closing(DocumentArray(shelf(), storage="sqlite", config=config)) as da:
            yield da


class Counting(Service):
    """A Service that knows what it was asked for."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.asked = Counter()
        self.fields_asked = []

    async def call(self, method, /, **arguments):
        self.asked[method] += 1
        self.fields_asked.append(arguments.get("fields"))
        return await super().call(method, **arguments)


@contextlib.contextmanager
def serving(docs, **options):
    with contextlib.closing(Counting(docs, **options)) as service, TestClient(graphql_app(service)) as client:
        client.service = service
        yield client


@pytest.fixture
def client(docs):
    with serving(docs) as one:
        yield one


@pytest.fixture
def writer(docs):
    with serving(docs, writable=True) as one:
        yield one


def post(client, query, variables=None, operation=None, **headers):
    body = {"query": query, "variables": variables, "operationName": operation}
    return client.post("/graphql", json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def data(client, query, variables=None, operation=None):
    response = post(client, query, variables, operation)
    said = response.json()
    assert "errors" not in said, said
    assert response.status_code == 200
    return said["data"]


def refused(client, query, variables=None):
    """The first error of a query."""
    said = post(client, query, variables).json()
    error = said["errors"][0]
    return error["extensions"]["status"], error["extensions"]["code"], error["message"]


# ---------------------------------------------------------------------------------------------- queries


def test_a_document_is_found_by_its_id(client):
    found = data(client, '{ document(id: "d4") { id text weight mimeType parentId uri granularity } }')
    assert found == {
        "document": {
            "id": "d4", "text": "tea with milk", "weight": 2.0, "mimeType": "text/plain", "parentId": "d1",
            "uri": None, "granularity": None,
        }
    }  # fmt: skip


def test_a_document_that_there_is_not_is_null(client):
    assert data(client, '{ document(id: "zz") { id } }') == {"document": None}


def test_pages_follow_each_other_to_the_end(client):
    query = """query ($after: String) { documents(first: 5, after: $after) {
        totalCount nodes { id } edges { cursor node { id } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    seen, after, pages = [], None, 0
    while True:
        page = data(client, query, {"after": after})["documents"]
        assert page["totalCount"] == 12
        assert [e["node"] for e in page["edges"]] == page["nodes"]
        assert page["pageInfo"]["hasPreviousPage"] is (pages > 0)
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        seen += [node["id"] for node in page["nodes"]]
        after, pages = page["pageInfo"]["endCursor"], pages + 1
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [f"d{i}" for i in range(12)]
    assert pages == 3


def test_an_empty_page_has_no_cursors(client):
    query = '{ documents(filter: {text: "nowhere"}) { nodes { id } pageInfo { startCursor endCursor hasNextPage } } }'
    assert data(client, query) == {
        "documents": {
            "nodes": [],
            "pageInfo": {"startCursor": None, "endCursor": None, "hasNextPage": False},
        }
    }


@pytest.mark.parametrize("as_text", [False, True], ids=["an object", "its text"])
def test_a_filter_and_an_order_are_variables(client, as_text):
    query = """query ($filter: JSON, $sort: [String!]) {
        documents(filter: $filter, sort: $sort) { totalCount nodes { id } } }"""
    condition = {"tags__price": {"$gte": 2}, "tags__kind": {"$in": ["a", "b"]}}
    given = json.dumps(condition) if as_text else condition
    page = data(client, query, {"filter": given, "sort": ["-weight"]})["documents"]
    wanted = [i for i in reversed(range(12)) if i % 4 >= 2 and i % 3 < 2]
    assert [node["id"] for node in page["nodes"]] == [f"d{i}" for i in wanted]
    assert page["totalCount"] == len(wanted)


def test_a_filter_is_written_into_a_query_as_text(client):
    query = '{ documents(filter: "{\\"tags__price\\": {\\"$lt\\": 1}}") { nodes { id } } }'
    assert [n["id"] for n in data(client, query)["documents"]["nodes"]] == ["d0", "d4", "d8"]


def test_search_by_words(client):
    found = data(client, '{ search(text: "milk", limit: 3) { document { text } name kind score } }')["search"]
    assert len(found) == 3
    assert {hit["name"] for hit in found} == {"bm25"}
    assert {hit["kind"] for hit in found} == {"SIMILARITY"}
    assert all("milk" in hit["document"]["text"] for hit in found)
    assert [hit["score"] for hit in found] == sorted((hit["score"] for hit in found), reverse=True)


def test_search_near_a_vector_is_what_find_finds(client, docs):
    query = """query ($v: [Float!], $f: JSON) { search(vector: $v, filter: $f, limit: 4) {
        document { id text tags } score kind scores { name score { value opName } } } }"""
    for condition in (None, {"tags__kind": "a"}):
        found = data(client, query, {"v": [1, 2, 3], "f": condition})["search"]
        has = {"embedding": {"$exists": True}}
        wanted = docs.find(
            np.array([1, 2, 3], "f4"), limit=4, filter={"$and": [has, condition]} if condition else has
        )
        assert [hit["document"]["id"] for hit in found] == [doc.id for doc in wanted]
        for hit, doc in zip(found, wanted, strict=True):
            assert hit["score"] == pytest.approx(doc.scores["cosine"].value, abs=1e-6)
            assert hit["document"] == {"id": doc.id, "text": doc.text, "tags": doc.tags}
            assert hit["kind"] == "DISTANCE"
            assert hit["scores"][0]["name"] == "cosine"
            assert hit["scores"][0]["score"]["value"] == hit["score"]


def test_search_with_another_metric(client, docs):
    query = "query ($v: [Float!]) { search(vector: $v, metric: EUCLIDEAN, limit: 2) { document { id } score name } }"
    found = data(client, query, {"v": [7, 3, 1]})["search"]
    assert found[0] == {"document": {"id": "d7"}, "score": 0.0, "name": "euclidean"}


def test_search_like_a_document_leaves_it_out(client):
    found = data(client, '{ search(like: "d7", limit: 2, metric: SQEUCLIDEAN) { document { id } } }')[
        "search"
    ]
    assert {hit["document"]["id"] for hit in found} == {"d6", "d8"}


def test_search_by_meaning_makes_one_ranking_of_two(docs):
    def encode(texts):
        return np.array([[0, 10, 1]] * len(texts), "f4")

    with serving(docs, encode=encode) as client:
        query = '{ search(text: "coffee", limit: 3) { document { id } name scores { name } } }'
        found = data(client, query)["search"]
    assert {hit["name"] for hit in found} == {"rrf"}
    assert {"rrf"} < {score["name"] for hit in found for score in hit["scores"]}


def test_what_is_nested_has_arguments_of_its_own(client):
    query = """{ document(id: "d2") {
        all: chunks { totalCount nodes { id } pageInfo { hasNextPage } }
        one: chunks(first: 1) { nodes { id } edges { cursor } pageInfo { hasNextPage } }
        kept: chunks(filter: {text: "part 1"}) { totalCount nodes { id text } }
        none: matches { totalCount nodes { id } } } }"""
    found = data(client, query)["document"]
    assert [n["id"] for n in found["all"]["nodes"]] == ["d2c0", "d2c1"]
    assert found["all"]["totalCount"] == 2
    assert not found["all"]["pageInfo"]["hasNextPage"]
    assert found["one"]["nodes"] == [{"id": "d2c0"}]
    assert found["one"]["pageInfo"]["hasNextPage"]
    assert found["kept"] == {"totalCount": 1, "nodes": [{"id": "d2c1", "text": "part 1"}]}
    assert found["none"] == {"totalCount": 0, "nodes": []}
    after = found["one"]["edges"][0]["cursor"]
    query = 'query ($a: String) { document(id: "d2") { chunks(after: $a) { nodes { id } } } }'
    assert data(client, query, {"a": after})["document"]["chunks"]["nodes"] == [{"id": "d2c1"}]


def test_matches_have_their_scores(client):
    query = '{ document(id: "d1") { matches { nodes { id scores { name score { value } } evaluations { name } } } } }'
    node = data(client, query)["document"]["matches"]["nodes"][0]
    assert node == {"id": "m", "scores": [{"name": "cosine", "score": {"value": 0.5}}], "evaluations": []}


def test_tags_are_json_or_what_a_path_leads_to(client):
    query = """{ document(id: "d2") { tags wide: tags(path: "size__width__1") kind: tags(path: "kind")
        no: tags(path: "size__height__0") off: tags(path: "size__width__9") } }"""
    assert data(client, query)["document"] == {
        "tags": {"price": 2, "kind": "c", "size": {"width": [2, 3]}},
        "wide": 3, "kind": "c", "no": None, "off": None,
    }  # fmt: skip


def test_arrays_and_bytes_are_said(docs):
    docs.append(Document(id="raw", blob=b"\x00\xff"))
    docs.append(
        Document(id="net", tensor=np.array([[1, 2], [3, 4]]), embedding=np.array([np.nan, 1, np.inf], "f4"))
    )
    with serving(docs) as client:
        found = data(
            client,
            '{ a: document(id: "raw") { blob tensor } b: document(id: "net") { blob tensor embedding } }',
        )
    assert base64.b64decode(found["a"]["blob"]) == b"\x00\xff"
    assert found["a"]["tensor"] is None
    assert found["b"] == {"blob": None, "tensor": [[1, 2], [3, 4]], "embedding": [None, 1.0, None]}


def test_what_json_cannot_say_is_answered_all_the_same(docs):
    docs.append(
        Document(
            id="odd", text="half \ud83d a character", tags={"n": float("nan"), "b": b"x"}, weight=float("inf")
        )
    )
    with serving(docs) as client:
        found = data(client, '{ document(id: "odd") { text tags weight } }')["document"]
    assert found["text"] == "half \ud83d a character"
    assert found["tags"]["n"] is None
    assert found["weight"] is None


def test_operations_are_chosen_by_name(client):
    query = 'query A { document(id: "d1") { id } } query B { document(id: "d2") { id } }'
    assert data(client, query, operation="B") == {"document": {"id": "d2"}}
    status, _, message = refused(client, query)
    assert status == 422
    assert "operationName" in message


def test_fragments_directives_and_typename(client):
    query = """query ($no: Boolean!) { documents(first: 2) { ...Page } }
        fragment Page on DocumentConnection { __typename nodes { ...Doc } }
        fragment Doc on Document { __typename id text @skip(if: $no) ... @include(if: $no) { mimeType } }"""
    nodes = data(client, query, {"no": True})["documents"]["nodes"]
    assert nodes[0] == {"__typename": "Document", "id": "d0", "mimeType": "text/plain"}


# ---------------------------------------------------------------------------------------------- what it costs


def test_parents_of_a_page_are_one_read(client):
    query = "{ documents { nodes { id parent { id text parent { id } } } } }"
    nodes = data(client, query)["documents"]["nodes"]
    parents = {node["id"]: node["parent"] for node in nodes if node["parent"]}
    assert {key: value["id"] for key, value in parents.items()} == {"d3": "d1", "d4": "d1"}
    assert client.service.asked == {"documents": 1, "read": 1}


def test_nested_documents_cost_no_read(client):
    query = "{ documents { nodes { chunks { nodes { id chunks { nodes { id } } } } matches { nodes { text } } } } }"
    nodes = data(client, query)["documents"]["nodes"]
    assert sum(len(node["chunks"]["nodes"]) for node in nodes) == 12
    assert client.service.asked == {"documents": 1}


def test_the_parents_of_chunks_are_one_read(client):
    nodes = data(client, "{ documents { nodes { chunks { nodes { parent { id text } } } } } }")["documents"][
        "nodes"
    ]
    assert nodes[2]["chunks"]["nodes"] == [{"parent": {"id": "d2", "text": "coffee"}}] * 2
    assert client.service.asked == {"documents": 1, "read": 1}


def test_many_documents_by_id_are_one_read(client):
    query = "{" + " ".join(f'a{i}: document(id: "d{i}") {{ id text }}' for i in range(10)) + "}"
    found = data(client, query)
    assert {key: value["id"] for key, value in found.items()} == {f"a{i}": f"d{i}" for i in range(10)}
    assert client.service.asked == {"read": 1}


def test_a_store_answers_a_page_with_its_parents_in_a_few_statements(tmp_path):
    """As many for a page of 3 as for one of 12."""
    statements, counts = [], []
    raw = sqlite3.connect(tmp_path / "shelf.db", check_same_thread=False)
    raw.set_trace_callback(statements.append)
    with (
        contextlib.closing(raw),
        contextlib.closing(DocumentArray(shelf(), storage="sqlite", config={"connection": raw})) as da,
        serving(da) as client,
    ):
        for first in (3, 12):
            statements.clear()
            data(
                client,
                f"{{ documents(first: {first}) {{ nodes {{ text chunks {{ nodes {{ parent {{ id }} }} }} }} }} }}",
            )
            counts.append(len(statements))
    assert 0 < counts[0] == counts[1] < 12


def test_only_the_fields_of_the_query_are_read(client):
    data(
        client,
        '{ search(text: "tea") { document { id text ...More } score } } fragment More on Document { mimeType }',
    )
    data(client, '{ documents { edges { node { tags(path: "a") } } nodes { parentId } } }')
    data(client, "{ documents { totalCount } }")
    assert client.service.fields_asked == [["mime_type", "text"], ["parent_id", "tags"], []]


def test_a_query_is_parsed_once(client):
    schema = schema_of(client.service)
    query = "query ($n: Int) { documents(first: $n) { nodes { id } } }"
    first = asyncio.run(schema.prepared(query, {"n": 3}))
    assert asyncio.run(schema.prepared(query, {"n": 4})) is first


def test_queries_that_are_kept_are_bounded(client):
    schema = schema_of(client.service)

    async def many():
        for i in range(400):
            await schema.prepared(f'{{ document(id: "{i:0>900}") {{ id }} }}', None)

    asyncio.run(many())
    assert sum(map(len, schema._prepared)) == schema._held <= 200_000
    assert len(schema._prepared) > 100


# ---------------------------------------------------------------------------------------------- writing


def test_nothing_is_written_unless_it_is_allowed(client, docs):
    status, code, message = refused(client, 'mutation { delete(ids: ["d1"]) { ids } }')
    assert (status, code) == (403, "FORBIDDEN")
    assert "reading only" in message
    assert "d1" in docs
    assert "Mutation" not in schema_of(client.service).as_str()


def test_documents_are_indexed(writer, docs):
    query = """mutation ($d: [DocumentInput!]!) { index(documents: $d) {
        created replaced documents { id text tags embedding chunks { nodes { id text } } } } }"""
    sent = [
        {"id": "new", "text": "herbal", "tags": {"price": 9}, "embedding": [1, 2, 3],
         "chunks": [{"id": "nc", "text": "leaf"}]},
        {"id": "d1", "blob": base64.b64encode(b"abc").decode(),
         "scores": [{"name": "x", "score": {"value": 0.25, "opName": "me"}}]},
    ]  # fmt: skip
    found = data(writer, query, {"d": sent})["index"]
    assert found["created"] == ["new"]
    assert found["replaced"] == ["d1"]
    assert found["documents"][0] == {
        "id": "new", "text": "herbal", "tags": {"price": 9}, "embedding": [1, 2, 3],
        "chunks": {"nodes": [{"id": "nc", "text": "leaf"}]},
    }  # fmt: skip
    assert len(docs) == 13
    assert docs["d1"].blob == b"abc"
    assert docs["new"].embedding.dtype == np.float32  # that of those which were there
    assert data(writer, '{ document(id: "d1") { blob text scores { name score { value opName } } } }')["document"] == {
        "blob": "YWJj", "text": None, "scores": [{"name": "x", "score": {"value": 0.25, "opName": "me"}}],
    }  # fmt: skip


def test_a_document_without_an_id_is_given_one(writer, docs):
    found = data(
        writer, 'mutation { index(documents: [{text: "hi", tags: {a: [1, {b: "c"}]}}]) { created } }'
    )["index"]
    assert docs[found["created"][0]].tags == {"a": [1, {"b": "c"}]}


def test_index_can_refuse_what_is_there(writer, docs):
    query = 'mutation { index(documents: [{id: "n1"}, {id: "d1"}], replace: false) { created } }'
    assert refused(writer, query)[:2] == (409, "CONFLICT")
    assert "n1" not in docs


def test_an_update_sets_unsets_and_merges(writer, docs):
    query = """mutation { update(documents: [{id: "d2", text: null, weight: 7, tags: {price: null, more: 1}}]) {
        ids documents { id text weight mimeType tags } } }"""
    found = data(writer, query)["update"]
    assert found["ids"] == ["d2"]
    assert found["documents"][0] == {
        "id": "d2", "text": None, "weight": 7.0, "mimeType": "text/plain",
        "tags": {"kind": "c", "size": {"width": [2, 3]}, "more": 1},
    }  # fmt: skip


def test_an_update_of_what_is_not_there_changes_nothing(writer, docs):
    query = 'mutation { update(documents: [{id: "d1", text: "x"}, {id: "zz", text: "x"}]) { ids } }'
    assert refused(writer, query)[0] == 404
    assert docs["d1"].text == "black tea"


def test_documents_are_deleted(writer, docs):
    assert data(writer, 'mutation { delete(ids: ["d1", "d3"]) { ids } }') == {"delete": {"ids": ["d1", "d3"]}}
    assert "d1" not in docs
    assert len(docs) == 10
    assert refused(writer, 'mutation { delete(ids: ["d1", "d2"]) { ids } }')[0] == 404
    assert "d2" in docs


def test_mutations_follow_each_other(writer, docs):
    query = 'mutation { a: delete(ids: ["d1"]) { ids } b: index(documents: [{id: "d1", text: "back"}]) { created } }'
    assert data(writer, query)["b"] == {"created": ["d1"]}
    assert docs["d1"].text == "back"


@pytest.mark.parametrize(
    "document",
    [
        {"embedding": "text"},
        {"embedding": [[1, 2], [3]]},
        {"tensor": [1, {"a": 2}]},
        {"blob": "no base64!"},
        {"blob": 5},
        {"tags": [1, 2]},
        {"tags": "{broken"},
        {"weight": "heavy"},
        {"nothing": 1},
        {"chunks": [{"embedding": [[1], 2]}]},
        {"scores": [{"name": "x", "score": {"value": "high"}}]},
        {"granularity": 1 << 40},
        {"id": "i" * 5000},
        {"location": "here"},
    ],
    ids=lambda d: next(iter(d)) if isinstance(d, dict) else None,
)
def test_what_is_no_document_is_refused_and_nothing_is_written(writer, docs, document):
    query = "mutation ($d: [DocumentInput!]!) { index(documents: $d) { created } }"
    status, _, message = refused(writer, query, {"d": [{"id": "fine"}, document]})
    assert status in (400, 422)
    assert "something went wrong" not in message
    assert len(docs) == 12
    assert "fine" not in docs


# ---------------------------------------------------------------------------------------------- dataclasses


@dataclass
class Maker:
    name: str
    logo: Image


@dataclass
class Tea:
    title: Text
    price: float
    stock: int
    organic: bool = False
    maker_name: str = ""
    notes: list[str] = None
    maker: Maker = None
    pictures: list[Image] = None


@pytest.fixture
def teas(tmp_path):
    pixels = np.zeros((2, 2, 3), "u1")
    first = Tea("Sencha", 3.5, 4, True, "Ito", ["fresh"], Maker("Ito", pixels), [pixels, pixels])
    docs = DocumentArray(
        [Document(first, id="a"), Document(Tea("Assam", 2, 9), id="b"), Document(id="c", text="plain")]
    )
    config = {"connection": str(tmp_path / "teas.db")}
    with contextlib.closing(DocumentArray(docs, storage="sqlite", config=config)) as da:
        yield da


def test_a_dataclass_gives_typed_fields(teas):
    query = """{ documents { nodes { id fields { title { text } price stock organic makerName notes
        maker { name logo { tensor } } pictures { tensor } } } } }"""
    with serving(teas, schema=Tea) as client:
        said = schema_of(client.service).as_str()
        nodes = data(client, query)["documents"]["nodes"]
        assert client.service.asked == {"documents": 1}
    for line in (
        "price: Float",
        "stock: Int",
        "organic: Boolean",
        "makerName: String",
        "maker: MakerFields",
        "pictures: [Document!]",
    ):
        assert f"  {line}\n" in said
    pixels = [[[0, 0, 0]] * 2] * 2
    assert nodes[0]["fields"] == {
        "title": {"text": "Sencha"}, "price": 3.5, "stock": 4, "organic": True, "makerName": "Ito",
        "notes": ["fresh"], "maker": {"name": "Ito", "logo": {"tensor": pixels}},
        "pictures": [{"tensor": pixels}] * 2,
    }  # fmt: skip
    assert nodes[1]["fields"]["price"] == 2.0
    assert nodes[1]["fields"]["maker"] is None
    assert nodes[2] == {"id": "c", "fields": None}


def test_two_schemas_do_not_know_of_each_other(teas):
    with serving(teas, schema=Tea) as typed, serving(teas) as plain:
        assert data(typed, '{ document(id: "a") { fields { price } } }') == {
            "document": {"fields": {"price": 3.5}}
        }
        assert refused(plain, '{ document(id: "a") { fields { price } } }')[1] == "GRAPHQL_VALIDATION_FAILED"
        assert "TeaFields" not in schema_of(plain.service).as_str()


def test_a_schema_that_is_no_dataclass_is_refused(teas):
    with pytest.raises(FieldTypeError, match=r"docarray\.dataclass"):
        graphql_app(teas, schema=int)


# ---------------------------------------------------------------------------------------------- limits


def limited(docs, **limits):
    return serving(docs, limits=Limits(**limits))


def test_depth_is_limited(docs):
    with limited(docs, depth=6) as client:
        inner = "id"
        for _ in range(2):
            inner = f"chunks {{ nodes {{ {inner} }} }}"
        data(client, f'{{ document(id: "d2") {{ {inner} }} }}')
        deeper = f'{{ document(id: "d2") {{ chunks {{ nodes {{ {inner} }} }} }} }}'
        status, _, message = refused(client, deeper)
        assert status == 422
        assert "6 levels" in message
        spread = '{ document(id: "d2") { ...A } } fragment A on Document { chunks { nodes { ...B } } } '
        spread += f"fragment B on Document {{ {inner} }}"
        assert "6 levels" in refused(client, spread)[2]


def test_other_names_are_limited_and_so_are_repetitions(docs):
    with limited(docs, aliases=3) as client:
        data(
            client, "{ a: documents { totalCount } b: documents { totalCount } c: documents { totalCount } }"
        )
        assert (
            "another name"
            in refused(client, "{" + " ".join(f"a{i}: documents {{ totalCount }}" for i in range(4)) + "}")[2]
        )
        assert "again" in refused(client, "{" + " documents { totalCount }" * 5 + "}")[2]
        inside = " ".join(f"...A{i}" for i in range(4))
        parts = " ".join(f"fragment A{i} on Query {{ a{i}: documents {{ totalCount }} }}" for i in range(4))
        assert "another name" in refused(client, f"{{ {inside} }} {parts}")[2]


def test_words_are_limited(docs):
    with limited(docs, tokens=30) as client:
        data(client, "{ documents { nodes { id text } } }")
        status, code, message = refused(client, "{ documents { nodes {" + " id" * 30 + "} } }")
        assert status == 400
        assert code == "GRAPHQL_PARSE_FAILED"
        assert "30 tokens" in message


def test_documents_in_all_are_limited_also_by_variables(docs):
    query = "query ($n: Int = 3) { documents(first: $n) { nodes { chunks(first: $n) { nodes { id } } } } }"
    with limited(docs, complexity=100) as client:
        data(client, query)
        data(client, query, {"n": 10})
        for wanted in ({"n": 11}, {"n": 50}):
            assert "at most 100" in refused(client, query, wanted)[2]
        data(client, query, {"n": 2})
        # Nobody says how many, so it is the usual page.
        assert "at most 100" in refused(client, "{ documents { nodes { chunks { nodes { id } } } } }")[2]


def test_searches_weigh_more_than_documents(docs):
    query = "{ documents(first: 10) { nodes { similar(limit: 2) { document { id } } } } }"
    with limited(docs, complexity=200) as client:
        assert "at most 200" in refused(client, query)[2]
    with limited(docs, complexity=300) as client:
        assert post(client, query).status_code == 200


def test_a_fragment_that_holds_itself_is_refused(client):
    for query in (
        "{ documents { nodes { ...A } } } fragment A on Document { chunks { nodes { ...A } } }",
        "{ documents { nodes { ...A } } } fragment A on Document { ...B } fragment B on Document { ...A }",
    ):
        assert "holds itself" in refused(client, query)[2]


def test_fragments_that_would_grow_without_end_are_weighed_quickly(client):
    parts = " ".join(f"fragment F{i} on Document {{ ...F{i + 1} ...F{i + 1} }}" for i in range(60))
    query = f"{{ documents {{ nodes {{ ...F0 }} }} }} {parts} fragment F60 on Document {{ id }}"
    begun = time.monotonic()
    post(client, query)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("limits", "query"),
    [
        ({"page": 5}, "{ documents(first: 6) { totalCount } }"),
        ({"page": 5}, '{ search(text: "tea", limit: 6) { score } }'),
        ({"page": 5}, '{ document(id: "d2") { chunks(first: 6) { totalCount } } }'),
        ({}, "{ documents(first: -1) { totalCount } }"),
        ({"longest_id": 5}, '{ document(id: "123456") { id } }'),
        ({"longest_id": 5}, '{ documents(after: "123456") { totalCount } }'),
        ({}, '{ documents(after: "no cursor") { totalCount } }'),
        ({"vector": 2}, "{ search(vector: [1, 2, 3]) { score } }"),
        ({"text": 3}, '{ search(text: "long") { score } }'),
        ({"filter_terms": 3}, '{ documents(filter: {text: {_in: [1, 2, 3, 4]}}) { totalCount } }'),
        ({"filter_depth": 2}, '{ documents(filter: "{\\"a\\": {\\"b\\": {\\"c\\": 1}}}") { totalCount } }'),
        ({"filter_terms": 3}, '{ document(id: "d2") { chunks(filter: {text: {_in: [1, 2, 3, 4]}}) { totalCount } } }'),
        ({"sort_keys": 1}, '{ documents(sort: ["text", "id"]) { totalCount } }'),
        ({"longest_id": 4}, '{ document(id: "d2") { tags(path: "a__b__c__d") } }'),
        ({}, '{ documents(filter: "{\\"text\\": {\\"$regex\\": \\"(a+)+$\\"}}") { totalCount } }'),
        ({}, '{ search { score } }'),
        ({}, '{ search(vector: [1], like: "d1") { score } }'),
        ({}, '{ search(vector: [1, 2]) { score } }'),
        ({}, '{ search(like: "zz") { score } }'),
        ({}, '{ search(like: "d5") { score } }'),
        ({}, '{ documents(sort: "nothing__x") { totalCount } }'),
    ],
)  # fmt: skip
def test_every_number_of_a_client_is_held_against_a_limit(docs, limits, query):
    with limited(docs, **limits) as client:
        status, _, message = refused(client, query)
    assert status in (404, 422)
    assert message
    assert "something went wrong" not in message


def test_bodies_are_limited(docs):
    with limited(docs, body=2000) as client:
        response = client.post("/graphql", json={"query": "{ documents { totalCount } }", "x": "y" * 3000})
        assert response.status_code == 413

        def chunks():
            for _ in range(100):
                yield b"x" * 100

        assert (
            client.post(
                "/graphql", content=chunks(), headers={"Content-Type": "application/json"}
            ).status_code
            == 413
        )


def test_documents_of_a_mutation_are_limited_before_anything_is_written(docs):
    query = "mutation ($d: [DocumentInput!]!) { index(documents: $d) { created documents { id } } }"
    with serving(docs, writable=True, limits=Limits(page=3, documents=5)) as client:
        assert "Nothing was written" in refused(client, query, {"d": [{"id": f"n{i}"} for i in range(4)]})[2]
        assert len(docs) == 12
        query = query.replace("documents { id }", "")
        assert refused(client, query, {"d": [{"id": f"n{i}"} for i in range(6)]})[0] == 422
        assert data(client, query, {"d": [{"id": f"n{i}"} for i in range(5)]})["index"]["created"]


# ---------------------------------------------------------------------------------------------- errors


class Broken(Service):
    def documents(self, *args, **kwargs):
        raise ZeroDivisionError("the password is hunter2")


def test_an_unexpected_error_is_logged_and_its_text_is_told_to_nobody(docs, caplog):
    with (
        contextlib.closing(Broken(docs)) as service,
        TestClient(graphql_app(service)) as client,
        caplog.at_level(logging.ERROR),
    ):
        response = post(client, "{ documents { totalCount } }", X_Request_ID="mark-17")
    assert response.status_code == 500
    assert "hunter2" not in response.text
    assert "ZeroDivision" not in response.text
    error = response.json()["errors"][0]
    assert "mark-17" in error["message"]
    assert error["extensions"] == {
        "code": "INTERNAL_SERVER_ERROR",
        "status": 500,
    }
    logged = [record for record in caplog.records if "hunter2" in str(record.exc_info)]
    assert [record.name for record in logged] == ["docarray.web"]
    assert "mark-17" in logged[0].getMessage()


def test_what_could_be_answered_is_answered_beside_an_error(client):
    response = post(client, '{ document(id: "d1") { id } search(like: "zz") { score } }')
    said = response.json()
    assert said["data"] is None
    assert said["errors"][0]["path"] == ["search"]
    said = post(client, '{ document(id: "d2") { id tags(path: "") } }').json()
    assert said["data"] == {"document": {"id": "d2", "tags": None}}
    assert said["errors"][0]["path"] == ["document", "tags"]
    assert said["errors"][0]["extensions"]["status"] == 422


def test_status_for_those_who_ask_for_it(client):
    new = "application/graphql-response+json"
    for query, status in (
        ("{ documents { totalCount } }", 200),
        ("{ documents {", 400),
        ("{ nothing }", 400),
        ("{ documents(first: 5000) { totalCount } }", 422),
        ('{ document(id: "d2") { tags(path: "") } }', 200),
    ):
        response = post(client, query, Accept=f"{new}, application/json;q=0.9")
        assert (response.status_code, response.headers["content-type"]) == (status, new), response.text
        plain = post(client, query)
        assert (plain.status_code, plain.headers["content-type"]) == (200, "application/json")
        assert plain.json() == response.json()


def test_get_asks_but_does_not_write(writer, docs):
    params = {"query": "query ($n: Int) { documents(first: $n) { nodes { id } } }", "variables": '{"n": 1}'}
    assert writer.get("/graphql", params=params).json() == {"data": {"documents": {"nodes": [{"id": "d0"}]}}}
    response = writer.get("/graphql", params={"query": 'mutation { delete(ids: ["d1"]) { ids } }'})
    assert response.status_code == 405
    assert "POST" in response.json()["errors"][0]["message"]
    assert "d1" in docs
    assert (
        writer.get("/graphql", params={"query": "{ documents { totalCount } }", "variables": "{"}).status_code
        == 400
    )
    assert writer.get("/graphql").status_code == 400
    assert writer.get("/graphql?query=%ff%fe").status_code == 400
    assert writer.get("/graphql?" + "a=1&" * 50).status_code == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_other_methods_are_not_taken(client, method):
    response = client.request(method, "/graphql")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


def test_a_form_of_another_site_is_not_read(writer, docs):
    """What a browser sends without asking first."""
    body = json.dumps({"query": 'mutation { delete(ids: ["d1"]) { ids } }'})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        response = writer.post("/graphql", content=body, headers={"Content-Type": kind})
        assert response.status_code == 415
        assert "d1" in docs


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{", b"null", b"[]", b"5", b'"x"', b"\xff\xfe", b'{"query": 5}', b'{"query": ""}', b'{"query": null}', b"{}",
        b'[{"query": "{ documents { totalCount } }"}]', b'{"query": "{ a }", "variables": 3}',
        b'{"query": "{ a }", "variables": [1]}', b'{"query": "{ a }", "operationName": {}}',
        b'{"query": "{ a }", "variables": {"a": NaN}}', b"[" * 100_000, b'{"a":' * 50_000,
        b'{"query": "{ a }", "variables": {"n": ' + b"9" * 5000 + b"}}",
    ],
    ids=range(19),
)  # fmt: skip
def test_what_is_no_request_is_a_400(client, body):
    response = client.post("/graphql", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"]["status"] == 400


# ---------------------------------------------------------------------------------------------- hostility


def hostile(rng):
    """Queries that nobody should send, and some that are only odd."""
    fields = [
        "id",
        "text",
        "tags",
        "blob",
        "tensor",
        "embedding",
        "scores { name }",
        "location",
        "parent { id }",
        "__typename",
        "chunks { nodes { id } }",
        "matches { totalCount }",
        "similar(limit: 1) { score }",
        "nothing",
        "fields",
    ]
    values = [
        '"x"',
        "1",
        "-1",
        "99999999999999999999",
        "1e400",
        "null",
        "[]",
        "{}",
        "{a: {b: [1, null]}}",
        "true",
        "ENUM",
        "$v",
        '"' + "x" * 3000 + '"',
        '"\\ud800"',
        '"{"',
        '"{\\"$where\\": 1}"',
        '"{\\"$and\\": {}}"',
        '"{\\"tags__a\\": {\\"$lt\\": []}}"',
        '"' + "[" * 500 + '"',
        '"{\\"a\\":' + "[" * 900 + "]" * 900 + '}"',
        '"""block"""',
        "[[[[1]]]]",
        '"\\u0000"',
    ]
    roots = [
        "documents",
        "document",
        "search",
        "index",
        "update",
        "delete",
        "changes",
        "__schema",
        "__type",
        "nothing",
    ]
    arguments = [
        "id",
        "filter",
        "sort",
        "after",
        "first",
        "text",
        "vector",
        "like",
        "limit",
        "metric",
        "embedding",
        "documents",
        "ids",
        "path",
        "name",
    ]
    yield from (
        "{" * 1500,
        "}" * 50,
        "{ a" * 700,
        "query",
        "query {",
        "{ documents { nodes " * 300,
        "#" * 5000,
        "\x00",
        "\ufeff{ a }",
        "{ __typename }" * 100,
        "fragment A on Document { id }",
        "{ ...A }",
        "query A { a } query A { a }",
        "{" + "a" * 10_000 + "}",
        "{ documents(" + "first: 1 " * 300 + ") { totalCount } }",
        "{ search(vector: [" + "1 " * 1500 + "]) { score } }",
        "query ($a: Int, $a: Int) { documents(first: $a) { totalCount } }",
        "query ($a: [[[[Int]]]]) { documents(first: $a) { totalCount } }",
        "{ __schema { types { " + "fields { type { " * 3 + "name" + " } }" * 3 + " } } }",
        "query @skip(if: true) { documents { totalCount } }",
        "{ documents @deferred { totalCount } }",
        "extend type Query { a: Int }",
        "subscription { changes { written } }",
        "mutation { delete(ids: [" + '"x" ' * 900 + "]) { ids } }",
        "query (" + " ".join(f"$v{i}: Int" for i in range(400)) + ") { documents { totalCount } }",
        "{ documents(filter: " + "{a: " * 400 + "1" + "}" * 400 + ") { totalCount } }",
        '{ search(text: "tea") { '
        + " ".join(f"...F{i}" for i in range(90))
        + " } } "
        + " ".join(f"fragment F{i} on Hit {{ score document {{ id text }} }}" for i in range(90)),
    )
    for _ in range(240):
        parts = []
        for _ in range(rng.randint(1, 4)):
            given = ", ".join(
                f"{rng.choice(arguments)}: {rng.choice(values)}" for _ in range(rng.randint(0, 3))
            )
            inner = " ".join(rng.choice(fields) for _ in range(rng.randint(0, 4)))
            inner = rng.choice(
                [
                    "",
                    f"{{ {inner} }}",
                    f"{{ nodes {{ {inner} }} }}",
                    f"{{ document {{ {inner} }} score }}",
                    f"{{ edges {{ node {{ {inner} }} }} }}",
                ]
            )
            parts.append(f"{rng.choice(roots)}{f'({given})' if given else ''} {inner}")
        query = rng.choice(["", "query ($v: JSON) ", "mutation ", "query "]) + "{ " + " ".join(parts) + " }"
        if rng.random() < 0.2:
            at = rng.randrange(len(query))
            query = query[:at] + rng.choice('{}()[]"$@!:\\\n#é') + query[at + 1 :]
        yield query


def test_hundreds_of_hostile_queries_are_answered_without_a_fault_or_a_leak(docs, caplog):
    rng = random.Random(7)
    limits = Limits(timeout=10, page=50)
    count = 0
    with serving(docs, writable=True, limits=limits) as client, caplog.at_level(logging.ERROR):
        for query in hostile(rng):
            begun = time.monotonic()
            response = post(client, query, {"v": rng.choice([None, 1, {"a": {"$or": []}}, "x" * 100, [[]]])})
            count += 1
            assert response.status_code in (200, 405), (query[:300], response.text[:300])
            said = response.json()
            assert set(said) <= {"data", "errors"}
            for error in said.get("errors", ()):
                assert len(error["message"]) < 1100, query[:300]
                assert error["extensions"]["status"] < 500, (query[:300], error)
                for leak in (
                    "Traceback",
                    "/site-packages/",
                    "object at 0x",
                    "docarray.web.graphql",
                    "sqlite3",
                ):
                    assert leak not in error["message"]
            assert time.monotonic() - begun < 5, query[:300]
        data(client, '{ search(text: "tea") { score } }')
    assert count >= 260
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("depth", [50, 400, 900, 3000])
def test_what_is_sent_nested_deep_is_refused_or_taken_but_never_a_fault(writer, depth):
    document = {"text": "end"}
    for _ in range(depth):
        document = {"chunks": [document]}
    tags = "[" * depth + "]" * depth
    query = "mutation ($d: [DocumentInput!]!) { index(documents: $d) { created } }"
    sent = [
        json.dumps({"query": query, "variables": {"d": [{"id": "deep"}]}}).replace(
            '"id": "deep"', f'"id": "deep", "tags": {{"a": {tags}}}'
        )
    ]
    with contextlib.suppress(RecursionError):
        sent.append(json.dumps({"query": query, "variables": {"d": [document]}}))
    for body in sent:
        response = writer.post("/graphql", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (200, 400), response.text[:300]
        assert all(error["extensions"]["status"] < 500 for error in response.json().get("errors", ())), (
            response.text[:300]
        )
    said = post(writer, '{ document(id: "deep") { id tags } }').json()
    assert all(error["extensions"]["status"] < 500 for error in said.get("errors", ())), said


# ---------------------------------------------------------------------------------------------- cancelling


def test_a_request_whose_client_has_gone_stops_work():
    """Of twenty searches that one at a time would make, those that had not begun when it was cancelled are not made."""
    made = []
    first = threading.Event()

    class Slow(Service):
        def search(self, *args, **kwargs):
            made.append(1)
            first.set()
            time.sleep(0.05)
            return super().search(*args, **kwargs)

    async def run(schema):
        query = "{ documents { nodes { similar(limit: 1) { score } } } }"
        task = asyncio.ensure_future(schema.execute(query))
        while not first.is_set():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        count = len(made)
        await asyncio.sleep(0.3)
        return count

    docs = shelf()[[i for i in range(12) if i != 5]]
    with contextlib.closing(Slow(docs, limits=Limits(threads=1))) as service:
        count = asyncio.run(run(schema_of(service)))
        assert len(made) <= count + 1 < 11
        assert service.lane.busy == 0


# ---------------------------------------------------------------------------------------------- subscriptions


@contextlib.contextmanager
def listening(docs, kind=Service, origins=(), **options):
    """A service, and the port of a real server of it."""
    with contextlib.closing(kind(docs, **options)) as service:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        with listener:
            listener.bind(("127.0.0.1", 0))
            config = uvicorn.Config(
                graphql_app(service, origins=origins), log_level="warning", ws="websockets-sansio"
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            try:
                while not server.started:
                    time.sleep(0.01)
                yield service, listener.getsockname()[1]
            finally:
                server.should_exit = True
                thread.join(30)
                assert not thread.is_alive()


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


class Talk:
    """A client of graphql-transport-ws."""

    def __init__(self, port, init=True, **more):
        self.held = contextlib.ExitStack()
        url = f"ws://127.0.0.1:{port}/graphql"
        self.socket = self.held.enter_context(connect(url, subprotocols=["graphql-transport-ws"], **more))
        if init:
            self.say({"type": "connection_init"})
            assert self.hear() == {"type": "connection_ack"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.held.close()

    def say(self, message):
        self.socket.send(message if isinstance(message, str) else json.dumps(message))

    def ask(self, key, query, **more):
        self.say({"type": "subscribe", "id": key, "payload": {"query": query, **more}})

    def hear(self):
        return json.loads(self.socket.recv(timeout=10))

    def code(self):
        """The code that the server closes the socket with."""
        with contextlib.suppress(ConnectionClosed):
            for _ in self.socket:
                pass
        return self.socket.close_code


CHANGES = "subscription { changes { written deleted moved documents { id text } } }"


def test_a_socket_is_told_of_changes(docs):
    with listening(docs, writable=True) as (service, port), Talk(port) as talk:
        talk.ask("one", CHANGES)
        until(lambda: service._waiters)
        time.sleep(0.05)  # until the mark is read
        service.index(DocumentArray([Document(id="new", text="fresh")])._slots.table())
        said = talk.hear()
        assert (said["type"], said["id"]) == ("next", "one")
        assert said["payload"]["data"]["changes"] == {
            "written": ["new"],
            "deleted": [],
            "moved": False,
            "documents": [{"id": "new", "text": "fresh"}],
        }
        talk.say({"type": "ping"})
        assert talk.hear() == {"type": "pong"}
        service.delete(["new", "d1"])
        changes = talk.hear()["payload"]["data"]["changes"]
        assert set(changes["deleted"]) == {"new", "d1"}
        assert changes["documents"] == []
        # Another operation on the same socket, and then the end of the first.
        talk.ask("two", "query ($id: ID!) { document(id: $id) { text } }", variables={"id": "d2"})
        assert talk.hear() == {
            "type": "next",
            "id": "two",
            "payload": {"data": {"document": {"text": "coffee"}}},
        }
        assert talk.hear() == {"type": "complete", "id": "two"}
        talk.say({"type": "complete", "id": "one"})
        until(lambda: not service._waiters)


def test_a_socket_writes_only_where_it_may(docs):
    query = 'mutation { delete(ids: ["d1"]) { ids } }'
    with listening(docs) as (service, port), Talk(port) as talk:
        talk.ask("a", query)
        said = talk.hear()
        assert said["type"] == "error"
        assert said["payload"][0]["extensions"]["status"] == 403
        assert "d1" in service.docs
    with listening(docs, writable=True) as (service, port), Talk(port) as talk:
        talk.ask("a", query)
        assert talk.hear()["payload"]["data"] == {"delete": {"ids": ["d1"]}}


def test_a_socket_is_held_against_the_same_limits(docs):
    with (
        listening(docs, limits=Limits(depth=4, page=5, subscriptions=2)) as (service, port),
        Talk(port) as talk,
    ):
        for key, query in enumerate(
            (
                "{ documents { nodes { chunks { nodes { chunks { totalCount } } } } } }",
                "{ documents(first: 6) { totalCount } }",
                "{ documents {",
                "{ nothing }",
                "{" * 3000,
                "query A { __typename } query B { __typename }",
                "subscription { changes { nothing } }",
            )
        ):
            talk.ask(str(key), query)
            said = talk.hear()
            errors = said["payload"] if said["type"] == "error" else said["payload"]["errors"]
            assert errors[0]["extensions"]["status"] in (400, 422), (query[:99], said)
            if said["type"] == "next":
                assert talk.hear()["type"] == "complete"
        talk.ask("x", CHANGES)
        talk.ask("y", CHANGES)
        until(lambda: len(service._waiters) == 2)
        talk.ask("z", CHANGES)
        assert talk.hear()["type"] == "error"
        with Talk(port) as other:
            other.ask("more", CHANGES)
            said = other.hear()
            assert said["payload"]["errors" if said["type"] == "next" else 0]
            assert "503" in json.dumps(said)
            with pytest.raises(InvalidStatus, match="403"):
                Talk(port)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", 4400),
        ("[]", 4400),
        ("5", 4400),
        ("{}", 4400),
        ('{"type": 5}', 4400),
        ('{"type": "unknown"}', 4400),
        ('{"type": "subscribe"}', 4400),
        ('{"type": "subscribe", "id": {}, "payload": {"query": "{ a }"}}', 4400),
        ('{"type": "subscribe", "id": "%s", "payload": {"query": "{ a }"}}' % ("x" * 200), 4400),
        ('{"type": "subscribe", "id": "1", "payload": "x"}', 4400),
        ('{"type": "subscribe", "id": "1", "payload": {"query": 5}}', 4400),
        ('{"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "variables": []}}', 4400),
        ('{"type": "complete", "id": []}', 4400),
        ('{"type": "connection_init"}', 4429),
        ("[" * 50_000, 4400),
        (b"bytes", 4400),
    ],
    ids=range(16),
)
def test_what_is_no_message_ends_a_socket(message, code, caplog):
    with listening(shelf()) as (_service, port), caplog.at_level(logging.WARNING):
        with Talk(port) as talk:
            talk.socket.send(message)
            assert talk.code() == code
        with Talk(port, init=False) as early:
            early.ask("1", "{ documents { totalCount } }")
            assert early.code() == 4401
    assert [record.getMessage() for record in caplog.records] == []


def test_a_page_of_another_site_cannot_open_a_socket(caplog):
    with listening(shelf()) as (_, port):
        with pytest.raises(InvalidStatus) as error:
            Talk(port, origin="https://elsewhere.example")
        assert error.value.response.status_code == 403
        with Talk(port, origin=f"http://127.0.0.1:{port}"):
            pass
    with listening(shelf(), origins=["https://friend.example"]) as (_, port):
        with Talk(port, origin="https://friend.example"):
            pass
        with pytest.raises(InvalidStatus):
            Talk(port, origin="https://elsewhere.example")


def test_a_client_that_goes_without_a_word_is_forgotten(docs):
    with listening(docs) as (service, port), Talk(port) as talk:
        talk.ask("1", CHANGES)
        until(lambda: service._waiters)
        talk.socket.socket.shutdown(socket.SHUT_RDWR)
        until(lambda: not service._waiters)


def test_a_client_that_hangs_up_stops_the_work_for_it():
    made = []

    class Slow(Service):
        def search(self, *args, **kwargs):
            made.append(1)
            time.sleep(0.05)
            return super().search(*args, **kwargs)

    docs = shelf()[[i for i in range(12) if i != 5]]
    body = json.dumps({"query": "{ documents { nodes { similar(limit: 1) { score } } } }"}).encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with listening(docs, kind=Slow, limits=Limits(threads=1)) as (service, port):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(head.encode() + body)
            until(lambda: made)
        until(lambda: service.lane.busy == 0)
        time.sleep(0.2)
        assert len(made) < 9


class Events:
    """A client of server-sent events."""

    def __init__(self, port, query, method="POST"):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Accept": "text/event-stream", "Content-Type": "application/json"}
        if method == "POST":
            self.connection.request("POST", "/graphql", json.dumps({"query": query}), headers)
        else:
            self.connection.request("GET", "/graphql?" + urlencode({"query": query}), headers=headers)
        self.response = self.connection.getresponse()

    def next(self):
        event = {}
        while line := self.response.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            event[name] = value
        return event.get("event"), json.loads(event["data"]) if event.get("data") else None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_events_tell_of_changes(docs, method):
    with listening(docs, writable=True) as (service, port):
        events = Events(port, CHANGES, method)
        assert events.response.status == 200
        assert events.response.headers["content-type"].startswith("text/event-stream")
        until(lambda: service._waiters)
        time.sleep(0.05)
        service.delete(["d1"])
        name, said = events.next()
        assert name == "next"
        assert said == {
            "data": {"changes": {"written": [], "deleted": ["d1"], "moved": False, "documents": []}}
        }
        events.connection.close()
        events.response.close()
        until(lambda: not service._waiters)


def test_events_answer_a_query_and_tell_errors(docs):
    with listening(docs) as (_, port):
        for query, wanted in (
            ('{ document(id: "d2") { text } }', {"data": {"document": {"text": "coffee"}}}),
            ("{ documents(first: 5000) { totalCount } }", 422),
            ("{ nothing }", 400),
            ("{" * 300, 400),
            ('mutation { delete(ids: ["d1"]) { ids } }', 403),
        ):
            events = Events(port, query)
            name, said = events.next()
            assert name == "next"
            if isinstance(wanted, int):
                assert said["errors"][0]["extensions"]["status"] == wanted
            else:
                assert said == wanted
            assert events.next() == ("complete", None)
            assert events.response.read() == b""
            events.connection.close()


def test_a_mutation_by_get_is_refused_as_events_too(docs):
    with listening(docs, writable=True) as (service, port):
        events = Events(port, 'mutation { delete(ids: ["d1"]) { ids } }', "GET")
        assert events.next()[1]["errors"][0]["extensions"]["status"] in (400, 405)
        assert "d1" in service.docs
        events.connection.close()


def test_a_subscription_without_a_stream_is_told_how(client):
    response = post(client, CHANGES)
    assert response.status_code == 405
    assert "text/event-stream" in response.json()["errors"][0]["message"]


def test_what_others_write_to_a_store_is_told(tmp_path):
    config = {"connection": str(tmp_path / "shelf.db")}
    with (
        contextlib.closing(DocumentArray(shelf(), storage="sqlite", config=config)) as da,
        listening(da) as (service, port),
    ):
        events = Events(port, "subscription { changes { written documents { text } } }")
        until(lambda: service._waiters)
        time.sleep(0.1)
        with contextlib.closing(DocumentArray(storage="sqlite", config=config)) as other:
            other.append(Document(id="theirs", text="from another"))
        _name, said = events.next()
        assert said["data"]["changes"] == {"written": ["theirs"], "documents": [{"text": "from another"}]}
        events.connection.close()
        events.response.close()


# ---------------------------------------------------------------------------------------------- the schema


def test_the_schema_can_be_asked_for(client):
    response = post(client, graphql_core.get_introspection_query(descriptions=True))
    said = response.json()
    assert "errors" not in said, said["errors"][:1]
    built = graphql_core.build_client_schema(said["data"])
    assert (
        graphql_core.print_schema(graphql_core.lexicographic_sort_schema(built)).count("type Document ") == 1
    )
    assert built.mutation_type is None


def test_all_of_the_schema_is_described():
    built = graphql_core.build_schema(print_schema())
    missing = [
        name for name, kind in built.type_map.items() if not name.startswith("__") and not kind.description
    ]
    assert missing == []


def test_the_schema_in_the_docs_is_that_of_today():
    page = Path(__file__).parent.parent / "docs" / "schema.graphql"
    assert page.read_text() == print_schema(), "make docs/schema.graphql anew; docs/graphql.md says how"


def test_an_app_ends_the_service_that_it_made(docs):
    app = graphql_app(docs, name="mine")
    with TestClient(app) as client:
        assert data(client, "{ documents { totalCount } }")["documents"]["totalCount"] == 12
    with pytest.raises(FieldTypeError):
        graphql_app(client_service := Service(docs), name="mine")
    client_service.close()


def test_an_endpoint_is_mounted_in_another_app(docs):
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route

    with contextlib.closing(Service(docs)) as service:
        endpoint = Endpoint(schema_of(service))
        app = Starlette(routes=[Route("/graphql", endpoint), Mount("/other", endpoint)])
        with TestClient(app) as client:
            assert data(client, "{ documents { totalCount } }")["documents"]["totalCount"] == 12
            assert client.post("/other/", json={"query": "{ documents { totalCount } }"}).status_code == 200
