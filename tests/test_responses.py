"""Documents in an application of one's own, by a real server: as bodies, as answers, as streams."""

import asyncio
import gzip
import io
import json
import logging
import socket
import threading
from contextlib import contextmanager
from typing import Annotated

import numpy as np
import pytest

pytest.importorskip("fastapi", reason='the helpers are for fastapi: pip install "docarray[serve]"')
pytest.importorskip("uvicorn", reason='the tests serve with uvicorn: pip install "docarray[serve]"')
pytest.importorskip("httpx2", reason="the tests ask with httpx2: pip install httpx2")

import httpx2 as httpx
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from docarray import Document, DocumentArray, dataclass, web
from docarray.errors import FieldTypeError, MissingDocument
from docarray.serialization.container import FORMAT
from docarray.typing import Image, Text
from docarray.web import (
    Documents,
    DocumentsResponse,
    Limits,
    StreamingDocuments,
    bodies,
    read_documents,
    responses,
)

WAIT = 20  # seconds after which a test has failed


@contextmanager
def served(app):
    """A server of an application in a thread; its address."""
    config = uvicorn.Config(app, log_level="critical", ws="none", lifespan="off", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(WAIT)
    assert not thread.is_alive()


@dataclass
class Tea:
    picture: Image
    name: Text
    price: float
    tin: bool = False


class Seen:
    """What happened on the side of the server."""

    def __init__(self):
        self.made = 0
        self.closed = threading.Event()
        self.go = threading.Event()


def application():
    app = web.responses.prepare(FastAPI())
    router = APIRouter(prefix="/in")
    app.state.seen = {}

    def seen(name):
        return app.state.seen.setdefault(name, Seen())

    @app.post("/count")
    async def count(
        docs: Annotated[DocumentArray, Documents(limits=Limits(body=50_000, documents=100))],
    ) -> int:
        return len(docs)

    @router.post("/echo", responses=DocumentsResponse.described())
    def echo(docs: Annotated[DocumentArray, Documents()], media: str | None = None):
        return DocumentsResponse(docs, media_type=media)

    @app.post("/teas")
    def teas(docs: Annotated[DocumentArray, Documents(Tea)]) -> list[float]:
        return [doc.tags["price"] for doc in docs]

    @app.get("/one")
    def one():
        return DocumentsResponse(Document(id="a", text="tea"), 201, {"X-Shelf": "3"})

    @app.get("/unsayable")
    def unsayable():
        return DocumentsResponse(Document(id="a", text="\ud800", weight=float("nan")))

    @app.get("/missing")
    def missing():
        raise MissingDocument("there is no document 'x' here")

    @app.get("/secret")
    def secret():
        raise FieldTypeError("mended by the client") from ZeroDivisionError("a secret")

    @app.get("/stream/{kind}")
    def stream(kind: str, n: int = 1000, media: str | None = None):
        return StreamingDocuments(sources[kind](n), media_type=media)

    def documents(n):
        for at in range(n):
            yield Document(id=str(at), text="tea")

    def arrays(n):
        for at in range(0, n, 300):
            yield DocumentArray([Document(id=str(i)) for i in range(at, min(n, at + 300))])
            yield DocumentArray()

    async def slow(n):
        for at in range(n):
            yield Document(id=str(at))
            await asyncio.sleep(0)

    def broken(n):
        yield from documents(n)
        raise ZeroDivisionError("a secret")

    async def broken_async(n):
        for doc in documents(n):
            yield doc
        raise ZeroDivisionError("a secret")

    def wrong(n):
        yield from documents(n)
        yield "text"

    def endless(n):
        mine = seen("endless")
        try:
            while True:
                mine.made += 1
                yield Document(text="x" * 1000)
        finally:
            mine.closed.set()

    def stuck(n):
        mine = seen("stuck")
        try:
            yield Document(id="first")
            mine.go.wait(WAIT)
            yield Document(id="second")
        finally:
            mine.closed.set()

    async def waiting(n):
        mine = seen("waiting")
        try:
            yield Document(id="first")
            await asyncio.sleep(WAIT)
            yield Document(id="second")
        finally:
            mine.closed.set()

    def refused(n):
        raise HTTPException(409, "not now")
        yield

    sources = {
        "documents": documents,
        "arrays": arrays,
        "array": lambda n: DocumentArray([Document(id=str(at)) for at in range(n)]),
        "slow": slow,
        "broken": broken,
        "broken_async": broken_async,
        "wrong": wrong,
        "endless": endless,
        "stuck": stuck,
        "waiting": waiting,
        "refused": refused,
    }
    app.include_router(router)
    return app


@pytest.fixture(scope="module")
def app():
    return application()


@pytest.fixture(scope="module")
def client(app):
    with served(app) as url, httpx.Client(base_url=url, timeout=WAIT) as client:
        yield client


def shelf(n=3):
    rng = np.random.default_rng(7)
    return DocumentArray(
        [
            Document(id=str(at), text="tea", tags={"price": at}, embedding=rng.random(8, "f4"))
            for at in range(n)
        ]
    )


def packed(form, docs):
    return bodies.written(form, docs._slots.table())


MEDIA = {"json": "application/json", "ndjson": "application/jsonl", "binary": "application/vnd.docarray"}
MEDIA["protobuf-array"] = "application/x-protobuf"


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", MEDIA)
@pytest.mark.parametrize("n", [0, 3, 400])
def test_documents_come_in_and_go_out_by_any_media_type(client, form, n):
    docs = shelf(n)
    found = client.post(
        "/in/echo",
        params={"media": MEDIA[form]},
        content=packed(form, docs),
        headers={"content-type": MEDIA[form]},
    )
    assert 200 == found.status_code
    assert MEDIA[form] == found.headers["content-type"]
    back = DocumentArray(bodies.read(form, found.content, Limits()))
    assert docs.texts == back.texts
    assert docs[:, "id"] == back[:, "id"]
    assert not n or np.array_equal(docs.embeddings, back.embeddings)
    assert not n or np.float32 == back.embeddings.dtype


def test_a_packed_body_that_comes_in_parts_is_read(client):
    data = gzip.compress(packed("ndjson", shelf(90)))
    parts = (data[at : at + 100] for at in range(0, len(data), 100))
    headers = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}
    found = client.post("/count", content=parts, headers=headers)
    assert 90 == found.json()


@pytest.mark.parametrize(
    ("media", "content", "status", "said"),
    [
        ("application/json", b"[{]", 400, "no JSON"),
        ("application/x-ndjson", b'{"id": "a"}\n{', 400, "line 2"),
        ("application/vnd.docarray", b"nothing", 400, "damaged"),
        ("text/plain", b"tea", 415, "application/json"),
        ("application/json", b" " * 50_001, 413, "50000"),
        ("application/json", json.dumps([{}] * 101).encode(), 422, "at most 100 documents"),
        ("application/json", b'[{}, {"tags": {}, "weight": "x"}]', 422, "document 1.weight"),
        ("application/json", b'[{}, {"chunks": [{"colour": 1}]}]', 422, "document 1.chunks.0.colour"),
        ("application/json", b'["tea"]', 422, "document number 0"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_body_is_a_problem(client, media, content, status, said):
    found = client.post("/count", content=content, headers={"content-type": media})
    assert status == found.status_code
    assert "application/problem+json" == found.headers["content-type"]
    problem = found.json()
    assert status == problem["status"]
    assert said in problem["detail"]
    assert problem["instance"]


def test_every_mistake_has_its_path(client):
    content = b'[{"weight": "x"}, {}, {"tags": 1, "offset": "y"}]'
    found = client.post("/count", content=content, headers={"content-type": "application/json"}).json()
    assert [[0, "weight"], [2, "tags"], [2, "offset"]] == [error["loc"] for error in found["errors"]] or {
        (0, "weight"),
        (2, "tags"),
        (2, "offset"),
    } == {tuple(error["loc"]) for error in found["errors"]}


def test_what_is_read_instead_is_said_in_headers(client):
    found = client.post("/count", content=b"x", headers={"content-type": "text/csv"})
    assert "application/vnd.docarray" in found.headers["accept"]
    headers = {"content-type": "application/json", "content-encoding": "br"}
    found = client.post("/count", content=b"x", headers=headers)
    assert (415, "gzip, identity") == (found.status_code, found.headers["accept-encoding"])


def test_a_body_without_end_is_not_waited_for(client):
    def parts():
        while True:
            yield b"[" * 10_000

    try:
        found = client.post("/count", content=parts(), headers={"content-type": "application/json"})
    except httpx.TransportError:  # the server had closed the connection before the answer was read
        return
    assert 413 == found.status_code


def test_tags_are_held_against_a_dataclass(client):
    good = [{"tags": {"price": 3.5, "tin": True}}, {"tags": {"price": 4}}]
    assert [3.5, 4] == client.post("/teas", json=good).json()
    for bad, path in (
        ([good[0], {"tags": {"price": "much"}}], [1, "tags", "price"]),
        ([{"text": "tea"}], [0, "tags", "price"]),
    ):
        found = client.post("/teas", json=bad)
        assert 422 == found.status_code
        assert [path] == [error["loc"] for error in found.json()["errors"]]
    found = client.post(
        "/teas", content=packed("binary", shelf(2)), headers={"content-type": MEDIA["binary"]}
    )
    assert [0, 1] == found.json()


def test_only_a_dataclass_of_ours_is_a_schema():
    with pytest.raises(FieldTypeError, match="no dataclass of docarray"):
        Documents(int)


def test_without_prepare_a_problem_is_an_http_exception():
    app = FastAPI()

    @app.post("/count")
    async def count(docs: Annotated[DocumentArray, Documents()]) -> int:
        return len(docs)

    with served(app) as url:
        found = httpx.post(f"{url}/count", content=b"tea", headers={"content-type": "text/plain"})
    assert 415 == found.status_code
    assert "application/json" in found.json()["detail"]
    assert "application/json" in found.headers["accept"]


def test_an_application_of_starlette_reads_and_answers():
    async def echo(request: Request):
        await request.body()  # what was read already is read again
        return DocumentsResponse(await read_documents(request))

    async def fails(request: Request):
        return PlainTextResponse(str(len(await read_documents(request, Tea))))

    app = Starlette(
        routes=[Route("/echo", echo, methods=["POST"]), Route("/teas", fails, methods=["POST"])],
        exception_handlers={responses.RequestProblem: responses.answer_problem},
    )
    with served(app) as url:
        assert "a" == httpx.post(f"{url}/echo", json={"id": "a"}).json()[0]["id"]
        found = httpx.post(f"{url}/teas", json={"id": "a"})
        assert (422, "application/problem+json") == (found.status_code, found.headers["content-type"])


def test_errors_of_documents_are_problems_of_the_application(client):
    found = client.get("/missing")
    assert (404, "there is no document 'x' here") == (found.status_code, found.json()["detail"])
    assert "a secret" not in client.get("/secret").text


# --- OpenAPI ----------------------------------------------------------------------------------------------------------


def test_openapi_says_what_is_taken_and_given(client):
    said = client.get("/openapi.json").json()
    taken = said["paths"]["/count"]["post"]["requestBody"]["content"]
    assert {*MEDIA.values(), "application/x-ndjson"} - {"application/jsonl"} == set(taken)
    assert {"$ref": "#/components/schemas/Document"} in taken["application/json"]["schema"]["anyOf"]
    assert {"400", "413", "415", "422"} <= set(said["paths"]["/count"]["post"]["responses"])
    given = said["paths"]["/in/echo"]["post"]
    assert "requestBody" in given
    assert {"application/json", "application/x-ndjson", "application/vnd.docarray"} == set(
        given["responses"]["200"]["content"]
    )
    tags = said["components"]["schemas"]["TeaDocument"]["properties"]["tags"]
    assert "number" == tags["properties"]["price"]["type"]


def test_every_reference_of_openapi_leads_somewhere(client):
    said = client.get("/openapi.json").json()
    known = {f"#/components/schemas/{name}" for name in said["components"]["schemas"]}

    def references(part):
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            part = list(part.values())
        if isinstance(part, list):
            for one in part:
                yield from references(one)

    assert set(references(said)) <= known


# --- answers ----------------------------------------------------------------------------------------------------------


def test_one_document_is_an_object(client):
    found = client.get("/one")
    assert (201, "3", "accept") == (found.status_code, found.headers["x-shelf"], found.headers["vary"])
    assert {"id": "a", "text": "tea"} == found.json()
    found = client.get("/one", headers={"accept": "application/vnd.docarray"})
    assert ["a"] == FORMAT.loads(found.content).ids


def test_a_client_that_takes_nothing_of_it_is_told(client):
    for path in ("/one", "/stream/documents"):
        found = client.get(path, headers={"accept": "image/png"})
        assert (406, "application/problem+json") == (found.status_code, found.headers["content-type"])


def test_what_cannot_be_written_is_a_fault_of_the_server(client, caplog):
    with caplog.at_level(logging.ERROR, "docarray.web"):
        found = client.get("/unsayable")
    assert 500 == found.status_code
    assert "surrogate" not in found.text
    assert found.json()["instance"] in caplog.text


@pytest.mark.parametrize("answer", [DocumentsResponse, StreamingDocuments])
def test_what_is_no_answer_is_refused_where_it_is_made(answer):
    for bad in (7, "text", None):
        with pytest.raises(FieldTypeError, match="got a"):
            answer(bad)
    with pytest.raises(FieldTypeError, match="'image/png'"):
        answer(DocumentArray(), media_type="image/png")
    with pytest.raises(FieldTypeError, match="text/csv"):
        StreamingDocuments([], media_type="text/csv")


def test_csv_is_given_where_it_is_named(client):
    docs = packed("json", shelf(2))
    found = client.post(
        "/in/echo", params={"media": "text/csv"}, content=docs, headers={"content-type": "application/json"}
    )
    assert found.text.startswith("id,")
    assert 3 == len(found.text.strip().splitlines())


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", MEDIA)
@pytest.mark.parametrize("kind", ["documents", "arrays", "array", "slow"])
@pytest.mark.parametrize("n", [0, 1000])
def test_a_stream_is_a_whole(client, form, kind, n):
    found = client.get(f"/stream/{kind}", params={"media": MEDIA[form], "n": n})
    assert (200, MEDIA[form]) == (found.status_code, found.headers["content-type"])
    assert [str(at) for at in range(n)] == bodies.read(form, found.content, Limits()).ids


def test_a_stream_is_of_lines_unless_the_client_wants_something_else(client):
    assert "application/x-ndjson" == client.get("/stream/documents").headers["content-type"]
    found = client.get("/stream/documents", headers={"accept": "application/vnd.docarray"})
    assert 1000 == sum(map(len, FORMAT.read(io.BytesIO(found.content))))


def test_a_head_is_asked_without_a_body(client):
    # FastAPI has no HEAD of its own: the answer itself is asked.
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "HEAD", "headers": []}
    for answer in (DocumentsResponse(shelf()), StreamingDocuments(shelf())):
        asyncio.run(answer(scope, None, send))
        assert [200, b""] == [sent[0]["status"], sent[1]["body"]]
        sent.clear()


def test_what_fails_before_the_first_document_has_its_status(client):
    assert 409 == client.get("/stream/refused").status_code
    assert 422 == client.get("/stream/wrong", params={"n": 0}).status_code


@pytest.mark.parametrize("media", ["application/x-ndjson", "application/vnd.docarray", "application/json"])
@pytest.mark.parametrize("kind", ["broken", "broken_async", "wrong"])
def test_a_stream_that_fails_later_is_never_short_and_whole(client, kind, media, caplog):
    with caplog.at_level(logging.ERROR, "docarray.web"), pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/stream/{kind}", params={"n": 600, "media": media})
    assert "ended in the middle of its answer" in caplog.text


@pytest.mark.parametrize("kind", ["stuck", "waiting"])
def test_the_first_document_does_not_wait_for_the_second(client, app, kind):
    with client.stream("GET", f"/stream/{kind}") as found:
        lines = found.iter_lines()  # which closes the answer when it goes
        assert "first" == json.loads(next(lines))["id"]
        mine = app.state.seen.pop(kind)
        assert not mine.closed.is_set()
    mine.go.set()
    assert mine.closed.wait(WAIT / 2)  # an async source is closed where it waits


def test_a_client_that_goes_ends_the_stream(client, app):
    with client.stream("GET", "/stream/endless") as found:
        next(found.iter_lines())
    mine = app.state.seen.pop("endless")
    assert mine.closed.wait(WAIT)


def test_what_is_not_taken_is_not_made(client, app):
    with client.stream("GET", "/stream/endless") as found:
        lines = found.iter_lines()
        next(lines)
        mine = app.state.seen["endless"]
        made = -1
        while made != mine.made:  # until the server waits for the client
            made = mine.made
            threading.Event().wait(0.3)
        assert made < 100_000
    assert mine.closed.wait(WAIT)
    del app.state.seen["endless"]
