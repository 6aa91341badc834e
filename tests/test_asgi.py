"""The whole application: what is at which path, who gets in, and what is said where nothing is."""

import asyncio
import contextlib
import json

import pytest

from docarray import Document, DocumentArray, dataclass
from docarray.errors import BadValue, FieldTypeError
from docarray.typing import Text
from docarray.web import Limits, Service

for _module in ("fastapi", "strawberry", "prometheus_client", "httpx2"):
    pytest.importorskip(_module, reason='pip install "docarray[serve]" httpx2')
from starlette.testclient import TestClient  # noqa: E402

from docarray.web import app  # noqa: E402

KEY = {"X-API-Key": "a secret"}


def shelf():
    return DocumentArray(
        [
            Document(id="a", text="green tea", tags={"price": 3}),
            Document(id="b", text="coffee", tags={"price": 5}),
        ]
    )


@pytest.fixture
def client():
    with TestClient(app(shelf(), name="shelf")) as found:
        yield found


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/documents", "application/json"),
        ("/search?text=tea", "application/json"),
        ("/info", "application/json"),
        ("/openapi.json", "application/json"),
        ("/schema.graphql", "text/plain"),
        ("/healthz", "application/json"),
        ("/healthz?ready", "application/json"),
        ("/metrics", "text/plain"),
        ("/graphql?query={documents{totalCount}}", "application/json"),
        ("/", "text/html"),
    ],
)
def test_each_path_has_its_answer(client, path, media):
    found = client.get(path)
    assert (200, True) == (found.status_code, found.headers["content-type"].startswith(media))
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["x-request-id"]


def test_rest_and_graphql_see_one_array(client):
    by_rest = [doc["id"] for doc in client.get("/search?text=tea").json()]
    query = '{ search(text: "tea") { document { id } } }'
    by_graphql = client.post("/graphql", json={"query": query}).json()
    assert ["a"] == by_rest == [hit["document"]["id"] for hit in by_graphql["data"]["search"]]


def test_where_nothing_is_a_problem_says_what_there_is(client):
    found = client.get("/nothing")
    assert 404 == found.status_code
    assert "application/problem+json" == found.headers["content-type"]
    assert "/openapi.json" in found.json()["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/schema.graphql"])
def test_small_paths_are_read_alone(client, path):
    refused = client.post(path)
    assert (405, "GET, HEAD") == (refused.status_code, refused.headers["allow"])
    head = client.head(path)
    assert (200, b"") == (head.status_code, head.content)
    assert int(head.headers["content-length"]) > 0


def test_documents_want_the_key_and_pages_do_not():
    with TestClient(app(shelf(), api_key=["other", "a secret"])) as client:
        for path in ("/documents", "/search?text=tea", "/graphql?query={__typename}", "/info", "/metrics"):
            assert 401 == client.get(path).status_code, path
            assert 200 == client.get(path, headers=KEY).status_code, path
            assert 401 == client.get(path, headers={"X-API-Key": "wrong"}).status_code, path
        bearer = {"Authorization": "Bearer a secret"}
        assert 200 == client.get("/documents", headers=bearer).status_code
        for path in ("/healthz", "/"):
            assert 200 == client.get(path).status_code, path


def test_a_hook_is_asked_who_it_is():
    async def auth(connection):
        return connection.headers.get("who") == "me"

    with TestClient(app(shelf(), auth=auth)) as client:
        assert 401 == client.get("/documents").status_code
        assert 200 == client.get("/documents", headers={"who": "me"}).status_code


def test_other_sites_are_let_in_by_name_alone():
    origin = {"Origin": "https://shelf.example"}
    asks = {**origin, "Access-Control-Request-Method": "GET"}
    with TestClient(app(shelf())) as client:
        assert "access-control-allow-origin" not in client.get("/documents", headers=origin).headers
    with TestClient(app(shelf(), cors=["https://shelf.example"])) as client:
        assert (
            "https://shelf.example"
            == client.get("/documents", headers=origin).headers["access-control-allow-origin"]
        )
        assert 200 == client.options("/documents", headers=asks).status_code
        other = client.get("/documents", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


def test_other_names_are_refused_where_hosts_are_given():
    with TestClient(app(shelf(), hosts={"127.0.0.1"}), base_url="http://rebound.example") as client:
        assert client.get("/documents").status_code in (400, 403, 421)
    with TestClient(app(shelf(), hosts={"127.0.0.1"}), base_url="http://127.0.0.1:8000") as client:
        assert 200 == client.get("/documents").status_code


def test_clients_write_only_where_they_may():
    with TestClient(app(shelf())) as client:
        assert 405 == client.put("/documents/c", json={"id": "c"}).status_code
        refused = client.post("/graphql", json={"query": 'mutation { delete(ids: ["a"]) { ids } }'})
        assert "errors" in refused.json()
    docs = shelf()
    with TestClient(app(docs, writable=True)) as client:
        assert 201 == client.put("/documents/c", json={"id": "c"}).status_code
        client.post("/graphql", json={"query": 'mutation { delete(ids: ["a"]) { ids } }'})
    assert ["b", "c"] == [doc.id for doc in docs]


def test_too_large_a_body_is_refused_at_every_path():
    with TestClient(app(shelf(), writable=True, limits=Limits(body=1000))) as client:
        for path, body in (("/search", {"text": "x" * 2000}), ("/graphql", {"query": "x" * 2000})):
            assert 413 == client.post(path, json=body).status_code


def test_pages_and_numbers_can_be_left_out():
    with TestClient(app(shelf(), pages=False, metrics=False)) as client:
        assert (404, 404) == (client.get("/").status_code, client.get("/metrics").status_code)


def test_it_is_not_ready_where_the_documents_are_gone(tmp_path):
    docs = DocumentArray(storage="sqlite", config={"connection": str(tmp_path / "a.db")})
    with TestClient(app(docs)) as client:
        assert 200 == client.get("/healthz?ready").status_code
        docs.close()
        assert (503, 200) == (client.get("/healthz?ready").status_code, client.get("/healthz").status_code)


def test_it_is_not_ready_where_it_is_about_to_stop():
    application = app(shelf())
    with TestClient(application) as client:
        application.stop()
        assert (503, 200) == (client.get("/healthz?ready").status_code, client.get("/healthz").status_code)


def test_the_fields_of_a_dataclass_are_known_everywhere():
    @dataclass
    class Note:
        title: Text
        stars: int

    docs = DocumentArray([Document(Note(title="Tea", stars=3))])
    with TestClient(app(docs, schema=Note)) as client:
        assert "stars" in json.dumps(client.get("/openapi.json").json())
        answer = client.post(
            "/graphql", json={"query": "{ documents { nodes { fields { stars } } } }"}
        ).json()
    assert [{"fields": {"stars": 3}}] == answer["data"]["documents"]["nodes"]


def test_it_is_mounted_in_another_application():
    from fastapi import FastAPI

    outer = FastAPI()
    outer.mount("/shelf", app(shelf()))
    with TestClient(outer) as client:
        assert ["a"] == [doc["id"] for doc in client.get("/shelf/search?text=tea").json()]
        assert (
            200 == client.post("/shelf/graphql", json={"query": "{ documents { totalCount } }"}).status_code
        )
        servers = client.get("/shelf/openapi.json").json().get("servers")
    assert [{"url": "/shelf"}] == servers


@pytest.mark.parametrize(
    ("docs", "options", "error"),
    [
        ([1], {}, FieldTypeError),
        (shelf(), {"nmae": "x"}, TypeError),
        (shelf(), {"api_key": ""}, BadValue),
        (shelf(), {"cors": ["shelf.example"]}, BadValue),
    ],
    ids=["array", "option", "key", "origin"],
)
def test_what_it_cannot_be_made_of(docs, options, error):
    with pytest.raises(error):
        app(docs, **options)


def test_a_service_of_ones_own_stays_open():
    with contextlib.closing(Service(shelf())) as service:
        with TestClient(app(service)) as client:
            assert 200 == client.get("/documents").status_code
        assert 2 == asyncio.run(service.call("count"))
        with pytest.raises(FieldTypeError, match="writable"):
            app(service, writable=True)
