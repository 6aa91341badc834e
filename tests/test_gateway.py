"""What the gateway promises of HTTP: routes, shapes, statuses, limits, streams, and what becomes of who goes away."""

import asyncio
import dataclasses
import gzip
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import httpx2
import numpy as np
import pytest
from everything import difference
from fastapi import FastAPI
from flow_served import served

from docarray import Document, DocumentArray, dataclass
from docarray.errors import BadValue, FieldTypeError
from docarray.flow import Deployment, Executor, Flow, requests, wire
from docarray.flow.envelope import Envelope
from docarray.flow.faults import BadRequest, ExecutorError, Overloaded, Unavailable
from docarray.flow.gateway import asgi
from docarray.registry import resolve
from docarray.typing import Text
from docarray.web import Server

JSON = resolve("format", "json")


@dataclass
class Page:
    title: Text
    price: float = 0.0


@dataclasses.dataclass
class Wanted:
    limit: int = 3


class Shop(Executor):
    cancelled = threading.Event()
    begun = threading.Event()
    closed = threading.Event()
    yielded: ClassVar[list] = []

    @requests(on="/upper")
    def upper(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on=["/index", "/search", "/update", "/delete"])
    def crud(self, docs, parameters, **kwargs):
        for doc in docs:
            doc.tags["asked"] = parameters

    @requests(on="/count")
    def count(self, docs, **kwargs):
        return {"documents": len(docs), "mean": np.float32(0.5), "row": np.arange(3)}

    @requests(on="/odd")
    def odd(self, docs, **kwargs):
        return {"what": object()}

    @requests(on="/nan")
    def nan(self, docs, **kwargs):
        for doc in docs:
            doc.weight = float("nan")

    @requests(on="/kinds")
    def kinds(self, docs, parameters, **kwargs):
        return {name: type(value).__name__ for name, value in parameters.items()}

    @requests(on="/boom")
    def boom(self, docs, **kwargs):
        raise ValueError("no gpu")

    @requests(on="/refuse")
    def refuse(self, docs, **kwargs):
        raise BadRequest("this document is too old")

    @requests(on="/gone")
    def gone(self, docs, **kwargs):
        raise Unavailable("the shelf is away")

    @requests(on="/slow")
    async def slow(self, docs, **kwargs):
        Shop.begun.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            Shop.cancelled.set()
            raise

    @requests(on="/wanted")
    def wanted(self, docs, parameters: Wanted):
        return {"limit": parameters.limit}

    @requests(on="/page")
    def page(self, doc: Page):
        doc.title = doc.title.upper()
        return doc

    @requests(on="/stream")
    async def stream(self, docs, parameters, **kwargs):
        for number in range(int(parameters.get("n", 3))):
            yield Document(id=f"{number}", text=f"part {number}")
            if parameters.get("wait"):
                await asyncio.sleep(parameters["wait"])
            if number == parameters.get("fail"):
                raise ValueError("lost the thread")

    @requests(on="/endless")
    async def endless(self, docs, **kwargs):
        Shop.closed.clear()
        Shop.yielded.clear()
        try:
            while True:
                Shop.yielded.append(1)
                yield Document(text="x" * 100_000)
        finally:
            Shop.closed.set()


@pytest.fixture(scope="module", params=["here", "elsewhere"])
def url(request):
    flow = Flow("shop", max_body=66 << 20, debug=False, graphql=True).add(name="shop", uses=Shop)
    with served(flow, request.param == "elsewhere") as url:
        yield url


@pytest.fixture
def client(url):
    with httpx2.Client(base_url=url, timeout=30) as client:
        yield client


def texts(response):
    return [doc["text"] for doc in response.json()["data"]]


def told(response):
    """The problem of an answer, once it is seen to be one, and the envelope of Jina too."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["header"]["status"]["description"] == body["detail"]
    assert body["header"]["requestId"] == body["instance"]
    assert body["data"] == []
    return body


class TestReading:
    def test_alive(self, client):
        assert (client.get("/").json(), client.get("/healthz").json()) == ({}, {"status": "ok"})

    def test_ready(self, client):
        assert client.get("/healthz?ready").status_code == 200

    def test_dry_run_is_a_status_of_jina(self, client):
        assert client.get("/dry_run").json() == {"code": 0, "description": "", "exception": None}

    def test_status_has_versions_and_replicas(self, client):
        said = client.get("/status").json()
        assert {*said} >= {"jina", "envs"}
        assert said["envs"] == {}
        assert said["deployments"]["shop"]["replicas"][0]["state"] == "ready"

    def test_metrics_count_by_route(self, client):
        client.post("/upper", json={"data": []})
        client.post("/of-a-client", json={"data": []})
        said = client.get("/metrics").text
        assert 'docarray_http_requests_total{method="POST",route="/upper",status="200"}' in said
        assert "of-a-client" not in said

    def test_head_has_no_body(self, client):
        response = client.head("/dry_run")
        assert (response.status_code, response.content) == (200, b"")
        assert int(response.headers["content-length"]) > 0


class TestPost:
    def test_the_shape_of_an_answer(self, client):
        response = client.post(
            "/post",
            json={"data": [{"id": "a", "text": "tea"}], "execEndpoint": "/upper", "parameters": {"k": 1}},
        )
        said = response.json()
        assert [*said] == ["header", "parameters", "routes", "data"]
        header = said["header"]
        assert header.pop("requestId") == response.headers["x-request-id"]
        assert header == {"status": None, "execEndpoint": "/upper", "targetExecutor": ""}
        assert said["parameters"] == {"k": 1}
        assert [route["executor"] for route in said["routes"]] == ["gateway", "shop"]
        assert all(route["startTime"] <= route["endTime"] for route in said["routes"])
        (doc,) = said["data"]
        assert len(doc) == 19
        assert doc["text"] == "TEA"
        assert doc["tags"] is None

    @pytest.mark.parametrize(
        "body",
        [
            {"data": [{"text": "tea"}], "execEndpoint": "/upper"},
            {"data": {"docs": [{"text": "tea"}]}, "exec_endpoint": "/upper"},
            {"data": {"text": "tea"}, "exec_endpoint": "/upper", "target_executor": "sh", "parameters": None},
            {"docs": [{"text": "tea"}], "execEndpoint": "/upper", "targetExecutor": "shop"},
            {"data": [{"text": "tea"}], "header": {"requestId": "r", "execEndpoint": "/upper"}, "routes": []},
        ],
        ids=["data", "docs", "one", "top", "old"],
    )
    def test_bodies(self, client, body):
        assert texts(client.post("/post", json=body)) == ["TEA"]

    def test_a_list_and_nothing_at_all(self, client):
        assert texts(client.post("/upper", json=[{"text": "tea"}])) == ["TEA"]
        assert client.post("/count").json()["parameters"]["__results__"]["shop"]["documents"] == 0

    def test_endpoints_are_paths(self, client):
        assert texts(client.post("/upper", json={"data": [{"text": "tea"}]})) == ["TEA"]

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/index"),
            ("POST", "/search"),
            ("PUT", "/update"),
            ("DELETE", "/delete"),
            ("POST", "/delete"),
        ],
    )
    def test_crud(self, client, method, path):
        response = client.request(method, path, json={"data": [{"id": "a"}], "parameters": {"limit": 2}})
        assert response.json()["data"][0]["tags"] == {"asked": {"limit": 2}}
        assert response.json()["header"]["execEndpoint"] == path

    def test_results_of_numpy_are_numbers(self, client):
        found = client.post("/count", json={"data": [{}, {}]}).json()["parameters"]["__results__"]
        assert found == {"shop": {"documents": 2, "mean": 0.5, "row": [0, 1, 2]}}

    def test_whole_numbers_stay_whole(self, client):
        body = {"parameters": {"a": 1, "b": 1.0, "c": True, "d": None, "e": [1]}}
        found = client.post("/kinds", json=body).json()["parameters"]["__results__"]["shop"]
        assert found == {"a": "int", "b": "float", "c": "bool", "d": "NoneType", "e": "list"}

    def test_all_fields_go_through(self, client):
        vector = np.arange(3, dtype="f4") / 7
        doc = Document(id="a", text="tea", embedding=vector, tags={"n": 1, "x": {"y": [1, "é"]}}, weight=0.5)
        doc.chunks = [Document(text="leaf", tensor=np.ones((2, 2), "u1"))]
        doc.matches = [Document(id="m", scores={"cosine": 0.25})]
        raw = JSON.dumps(DocumentArray([doc])._slots.table())
        response = client.post(
            "/count", content=b'{"data":%b}' % raw, headers={"content-type": "application/json"}
        )
        back = DocumentArray.from_json(json.dumps(response.json()["data"]))
        assert difference(DocumentArray([doc]), back) is None

    def test_what_is_not_finite_is_no_token(self, client):
        response = client.post("/nan", json={"data": [{"text": "tea"}]})
        assert json.loads(response.content, parse_constant=pytest.fail)["data"][0]["weight"] == "NaN"

    def test_clients_of_old_get_the_tokens_that_they_read(self, client):
        response = client.post("/nan", json={"header": {"requestId": "r"}, "data": [{"text": "tea"}]})
        assert b'"weight":NaN' in response.content

    def test_an_id_of_the_client_is_kept(self, client):
        response = client.post("/upper", json={"data": []}, headers={"x-request-id": "abc-1"})
        assert (response.headers["x-request-id"], response.json()["header"]["requestId"]) == (
            "abc-1",
            "abc-1",
        )
        response = client.post("/upper", json={"data": [], "requestId": "abc-2"})
        assert response.json()["header"]["requestId"] == "abc-2"

    def test_documents_as_pages_of_a_dataclass(self, client):
        sent = DocumentArray([Document(Page(title="tea", price=2.5))])
        raw = JSON.dumps(sent._slots.table())
        response = client.post("/page", content=raw, headers={"content-type": "application/json"})
        back = DocumentArray.from_json(json.dumps(response.json()["data"]))
        assert (Page(back[0]).title, Page(back[0]).price) == ("TEA", 2.5)


class TestWrong:
    @pytest.mark.parametrize(
        ("path", "content", "status", "words"),
        [
            ("/upper", b"{", 400, "no JSON"),
            ("/upper", b'"tea"', 422, "object"),
            ("/upper", b'{"data": 3}', 422, "data"),
            ("/upper", b'{"data": ["tea"]}', 422, "object"),
            ("/upper", b'{"data": [{"id": "a", "weight": "much"}]}', 422, "weight"),
            ("/upper", b'{"data": [{"txt": "a"}]}', 422, "Did you mean 'text'"),
            ("/upper", b'{"data": [], "parameter": {}}', 422, "Did you mean 'parameters'"),
            ("/upper", b'{"data": [], "parameters": []}', 422, "parameters"),
            ("/upper", b'{"data": [], "targetExecutor": 3}', 422, "targetExecutor"),
            ("/upper", b'{"data": [], "targetExecutor": "shelf"}', 422, "shelf"),
            ("/upper", b'{"data": [], "timeout": "soon"}', 422, "timeout"),
            ("/upper", b'{"data": [{"text": "\\ud800"}]}', 422, "surrogate"),
            ("/post", b'{"data": [], "execEndpoint": "/uper"}', 404, "/upper"),
            ("/uper", b'{"data": []}', 404, "/upper"),
            ("/boom", b'{"data": []}', 500, "shop raised ValueError: no gpu"),
            ("/odd", b'{"data": []}', 500, "JSON cannot say"),
            ("/refuse", b'{"data": []}', 422, "too old"),
            ("/wanted", b'{"parameters": {"limit": "a"}}', 422, "parameters.limit"),
            ("/wanted", b'{"parameters": {"limits": 1}}', 422, "Did you mean 'limit'"),
            ("/page", b'{"data": [{"id": "a", "text": "tea"}]}', 422, "Page"),
        ],
    )
    def test_it_is_a_problem(self, client, path, content, status, words):
        response = client.post(path, content=content, headers={"content-type": "application/json"})
        assert response.status_code == status
        assert words in told(response)["detail"]

    def test_what_a_handler_raised_has_its_class_and_no_traceback(self, client):
        said = told(client.post("/boom", json={"data": []}))
        assert (said["exception"], said["executor"]) == ("ValueError", "shop")
        assert said["header"]["status"]["code"] == 1
        assert said["header"]["status"]["exception"] == {
            "name": "ValueError",
            "args": ["no gpu"],
            "stacks": [],
            "executor": "shop",
        }
        assert "Traceback" not in json.dumps(said)
        assert ".py" not in json.dumps(said)

    def test_clients_of_old_find_it_in_the_header(self, client):
        response = client.post("/boom", json={"header": {"requestId": "r1"}, "data": [{"text": "tea"}]})
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        status = response.json()["header"]["status"]
        assert (status["code"], status["exception"]["name"]) == ("ERROR", "ValueError")

    @pytest.mark.parametrize("path", ["/uper", "/post"])
    def test_clients_of_old_are_told_404_too(self, client, path):
        body = {"header": {"requestId": "r1", "execEndpoint": "/uper"}, "data": [], "execEndpoint": "/uper"}
        assert client.post(path, json=body).status_code == 404

    def test_methods(self, client):
        response = client.get("/upper")
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert client.put("/index", json={}).status_code == 405
        assert client.delete("/status").headers["allow"] == "GET, HEAD"
        assert client.delete("/").headers["allow"] == "GET, HEAD, POST"

    def test_media_types(self, client):
        response = client.post("/upper", content=b"<a/>", headers={"content-type": "application/xml"})
        assert response.status_code == 415
        assert "application/json" in told(response)["detail"]
        response = client.post("/upper", json={"data": []}, headers={"accept": "image/png"})
        assert response.status_code == 406
        assert "application/x-ndjson" in told(response)["detail"]

    def test_a_parameter_that_there_is_not(self, client):
        assert "Did you mean" in told(client.post("/upper?parameter=1", json=[]))["detail"]

    @pytest.mark.parametrize("how", ["header", "body", "query"])
    def test_a_deadline(self, client, how):
        Shop.cancelled.clear()
        body = {"data": [], **({"timeout": 0.2} if how == "body" else {})}
        headers = {"request-timeout": "0.2"} if how == "header" else {}
        path = "/slow?timeout=0.2" if how == "query" else "/slow"
        response = client.post(path, json=body, headers=headers)
        assert response.status_code == 504
        assert "in time" in told(response)["detail"]
        assert Shop.cancelled.wait(5)


class TestForms:
    def test_binary(self, client):
        sent = DocumentArray(
            [Document(id=f"{n}", text="tea", embedding=np.full(4, n, "f4")) for n in range(40)]
        )
        response = client.post(
            '/upper?parameters={"k":1}',
            content=sent.to_bytes(),
            headers={"content-type": "application/vnd.docarray", "accept": "application/vnd.docarray"},
        )
        assert response.headers["content-type"] == "application/vnd.docarray"
        sent.texts = ["TEA"] * 40
        assert difference(sent, DocumentArray.from_bytes(response.content)) is None

    def test_a_frame_has_all_of_it(self, client):
        sent = DocumentArray([Document(id="a", text="tea", tensor=np.ones((2, 3), "f2"))])
        response = client.post(
            "/post",
            content=wire.request_frame(sent, "/count", {"k": 1}, "shop", "id-1"),
            headers={"content-type": wire.FRAME, "accept": wire.FRAME},
        )
        head, table = wire.framed(response.content)
        assert head["parameters"] == {
            "k": 1,
            "__results__": {"shop": {"documents": 1, "mean": 0.5, "row": [0, 1, 2]}},
        }
        assert (head["header"]["requestId"], len(head["routes"])) == ("id-1", 2)
        assert difference(sent, DocumentArray(table)) is None

    def test_ndjson(self, client):
        response = client.post(
            "/upper",
            content=b'{"text": "tea"}\n{"text": "milk"}\n',
            headers={"content-type": "application/x-ndjson", "accept": "application/x-ndjson"},
        )
        assert [json.loads(line)["text"] for line in response.text.splitlines()] == ["TEA", "MILK"]

    @pytest.mark.parametrize(
        ("media", "content"),
        [
            ("application/vnd.docarray", b"no"),
            (wire.FRAME, b"\xff\xff\xff\xff"),
            (wire.FRAME, b"\2\0\0\0{}no"),
        ],
    )
    def test_damage(self, client, media, content):
        assert client.post("/upper", content=content, headers={"content-type": media}).status_code == 400

    def test_gzip_comes_in(self, client):
        body = gzip.compress(b'{"data": [{"text": "tea"}]}')
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        assert texts(client.post("/upper", content=body, headers=headers)) == ["TEA"]

    def test_sixty_four_megabytes(self, client):
        sent = DocumentArray([Document(id="a", blob=bytes(64 << 20))])
        headers = {"content-type": "application/vnd.docarray", "accept": "application/vnd.docarray"}
        response = client.post("/count", content=sent.to_bytes(), headers=headers)
        assert len(DocumentArray.from_bytes(response.content)[0].blob) == 64 << 20

    @pytest.mark.parametrize("said", [True, False], ids=["announced", "chunked"])
    def test_more_than_may_be(self, client, said):
        body = bytes(67 << 20)
        content = body if said else (body[at : at + (1 << 20)] for at in range(0, len(body), 1 << 20))
        response = client.post(
            "/upper", content=content, headers={"content-type": "application/vnd.docarray"}
        )
        assert response.status_code == 413


def events(response):
    found = []
    for block in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line)
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


class TestStreams:
    def test_events(self, client):
        response = client.post(
            "/stream", json={"parameters": {"n": 2}}, headers={"accept": "text/event-stream"}
        )
        assert response.headers["content-type"].startswith("text/event-stream")
        first, second, end = events(response)
        assert (first[0], first[1]["text"], second[1]["text"]) == ("update", "part 0", "part 1")
        assert end[0] == "end"
        assert end[1]["header"]["status"] is None
        assert end[1]["parameters"] == {"n": 2}

    def test_events_of_a_handler_that_yields_nothing(self, client):
        response = client.post("/upper", json=[{"text": "tea"}], headers={"accept": "text/event-stream"})
        assert [name for name, _ in events(response)] == ["update", "end"]

    def test_the_first_part_comes_before_the_last_is_made(self, client):
        asked = {"parameters": {"n": 3, "wait": 0.4}}
        with client.stream(
            "POST", "/stream", json=asked, headers={"accept": "text/event-stream"}
        ) as response:
            moments = [time.monotonic() for line in response.iter_lines() if line.startswith("data:")]
        assert moments[-1] - moments[0] > 0.6

    def test_an_error_before_the_first_part_is_a_status(self, client):
        for accept in ("text/event-stream", "application/x-ndjson"):
            response = client.post("/boom", json={}, headers={"accept": accept})
            assert response.status_code == 500
            assert told(response)["exception"] == "ValueError"

    def test_an_error_in_the_middle_is_an_event(self, client):
        response = client.post(
            "/stream", json={"parameters": {"fail": 0}}, headers={"accept": "text/event-stream"}
        )
        (_, first), (name, said) = events(response)
        assert (first["text"], name, said["exception"]) == ("part 0", "error", "ValueError")

    def test_an_error_in_the_middle_of_lines_cuts_them_off(self, client):
        with pytest.raises(httpx2.RemoteProtocolError):
            client.post(
                "/stream", json={"parameters": {"fail": 0}}, headers={"accept": "application/x-ndjson"}
            )

    def test_lines_as_they_come(self, client):
        asked = {"parameters": {"n": 2}}
        response = client.post("/stream", json=asked, headers={"accept": "application/x-ndjson"})
        assert [json.loads(line)["text"] for line in response.text.splitlines()] == ["part 0", "part 1"]

    def test_a_generator_whole(self, client):
        assert texts(client.post("/stream", json={})) == ["part 0", "part 1", "part 2"]

    def test_a_slow_reader_holds_back_the_handler(self, client):
        with client.stream(
            "POST", "/endless", json={}, headers={"accept": "application/x-ndjson"}
        ) as response:
            next(response.iter_bytes())
            before = -1
            while before != len(Shop.yielded):
                before = len(Shop.yielded)
                time.sleep(0.3)
            assert before < 400  # 40 MB: the buffers of both ends and of the system
        assert Shop.closed.wait(5)


class TestGone:
    def test_the_handler_is_cancelled(self, url):
        Shop.begun.clear()
        Shop.cancelled.clear()
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            body = b'{"data": []}'
            head = "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert Shop.begun.wait(5)
        assert Shop.cancelled.wait(5)

    def test_the_generator_is_closed(self, client):
        with client.stream("POST", "/endless", json={}, headers={"accept": "text/event-stream"}) as response:
            next(response.iter_bytes())
        assert Shop.closed.wait(5)


class TestGraphql:
    def test_query_and_mutation(self, client):
        for kind in ("query", "mutation"):
            asked = f'{kind} {{docs(data: [{{id: "a", text: "tea"}}], execEndpoint: "/upper") {{id text}}}}'
            response = client.post("/graphql", json={"query": asked})
            assert response.json() == {"data": {"docs": [{"id": "a", "text": "TEA"}]}}

    def test_parameters_and_target(self, client):
        asked = 'query Q($p: JSON) {docs(data: [{id: 1}], parameters: $p, targetExecutor: "shop") {tags}}'
        asked = asked.replace("{id: 1}", '{id: "1"}')
        response = client.post("/graphql", json={"query": asked, "variables": {"p": {"k": 1}}})
        assert response.json()["data"]["docs"] == [{"tags": {"asked": {"k": 1}}}]

    def test_errors_have_a_status(self, client):
        response = client.post("/graphql", json={"query": '{docs(execEndpoint: "/boom") {id}}'})
        (error,) = response.json()["errors"]
        assert (error["extensions"]["status"], error["message"]) == (500, "shop raised ValueError: no gpu")


# ---------------------------------------------------------------------------------------------- other gateways


class Busy(Executor):
    @requests(on="/work")
    async def work(self, docs, **kwargs):
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_flood_is_told_to_come_back(elsewhere):
    flow = Flow(metrics=False).add(name="busy", uses=Busy, max_concurrency=2, max_queue=10)

    with served(flow, elsewhere) as url:

        async def flood():
            limits = httpx2.Limits(max_connections=200)
            async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
                return await asyncio.gather(*(client.post("/work", json={}) for _ in range(200)))

        answers = asyncio.run(flood())
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert told(refused[0])["title"] == "Too Many Requests"


def test_the_gateway_has_a_bound_of_its_own():
    flow = Flow(max_in_flight=3, metrics=False).add(uses=Busy)
    with served(flow) as url, ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: httpx2.post(f"{url}/work", json={}).status_code, range(20)))
    assert {200, 429} == {*statuses}


def test_debug_tells_the_traceback():
    with served(Flow(debug=True).add(uses=Shop)) as url:
        said = told(httpx2.post(f"{url}/boom", json={}))
    assert any("no gpu" in line for line in said["stack"])
    assert said["header"]["status"]["exception"]["stacks"] == said["stack"]


def test_a_time_for_all_requests():
    with served(Flow(timeout=0.2).add(uses=Shop)) as url:
        assert httpx2.post(f"{url}/slow", json={}).status_code == 504


def test_keys():
    with served(Flow(auth="a key").add(uses=Shop)) as url:
        assert httpx2.post(f"{url}/upper", json={}).status_code == 401
        assert httpx2.get(f"{url}/healthz").status_code == 200
        assert httpx2.post(f"{url}/upper", json={}, headers={"x-api-key": "a key"}).status_code == 200
        assert "security" in httpx2.get(f"{url}/openapi.json", headers={"x-api-key": "a key"}).json()


def test_a_hook_says_who_may():
    def may(connection):
        return connection.headers.get("who") == "me"

    with served(Flow(auth=may).add(uses=Shop)) as url:
        assert httpx2.post(f"{url}/upper", json={}).status_code == 401
        assert httpx2.post(f"{url}/upper", json={}, headers={"who": "me"}).status_code == 200


def test_cors():
    asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    with served(Flow(cors=["https://shop.example"]).add(uses=Shop)) as url:
        response = httpx2.options(f"{url}/upper", headers=asked)
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        response = httpx2.post(f"{url}/upper", json={}, headers={"origin": "https://other.example"})
        assert response.status_code == 403


def test_other_names_than_those_of_the_machine():
    with served(Flow().add(uses=Shop), hosts=["127.0.0.1"]) as url:
        assert httpx2.get(url, headers={"host": "evil.example"}).status_code == 421
        assert httpx2.get(url).status_code == 200


def test_answers_are_packed_where_that_is_asked_for():
    many = [{"text": "tea"}] * 100
    with served(Flow(compression="gzip").add(uses=Shop)) as url:
        packed = httpx2.post(f"{url}/upper", json=many, headers={"accept-encoding": "gzip"})
        plain = httpx2.post(f"{url}/upper", json=many, headers={"accept-encoding": "identity"})
    assert (packed.headers["content-encoding"], len(texts(packed))) == ("gzip", 100)
    assert "content-encoding" not in plain.headers
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 10


def test_mounted_in_another_application():
    application = asgi(Flow().add(uses=Shop))
    outer = FastAPI(lifespan=application.lifespan)

    @outer.get("/own")
    def own():
        return 7

    outer.mount("/flow", application)
    with Server(outer) as server:
        assert httpx2.get(f"{server.url}/own").json() == 7
        assert texts(httpx2.post(f"{server.url}/flow/upper", json=[{"text": "tea"}])) == ["TEA"]
        assert httpx2.get(f"{server.url}/flow/openapi.json").json()["servers"] == [{"url": "/flow"}]


def test_a_flow_that_does_not_run_is_unavailable():
    outer = FastAPI()
    outer.mount("/flow", asgi(Flow().add(uses=Shop)))
    with Server(outer) as server:
        response = httpx2.post(f"{server.url}/flow/upper", json={})
        assert response.status_code == 503
        assert "does not run" in told(response)["detail"]
        assert httpx2.get(f"{server.url}/flow/dry_run").status_code == 503
        assert httpx2.get(f"{server.url}/flow/").status_code == 200


def test_a_flow_is_started_and_ended_with_the_application():
    flow = Flow().add(uses=Shop)
    with Server(asgi(flow)) as server:
        assert flow.is_running
        assert httpx2.get(f"{server.url}/healthz?ready").status_code == 200
    assert not flow.is_running


def test_a_flow_that_cannot_start_says_so():
    class Broken(Executor):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            raise RuntimeError("no gpu")

    with pytest.raises(OSError, match="did not start"), Server(asgi(Flow().add(uses=Broken))):
        pass


class Shout(Executor):
    @requests(on="/shout")
    def shout(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/boom")
    def boom(self, docs, **kwargs):
        raise ValueError("no gpu")


def test_executors_in_processes():
    with served(Flow(engine="process").add(name="shout", uses=Shout, replicas=2)) as url:
        assert texts(httpx2.post(f"{url}/shout", json=[{"text": "tea"}])) == ["TEA"]
        said = told(httpx2.post(f"{url}/boom", json=[{"text": "tea"}]))
        assert (said["exception"], said["detail"]) == ("ValueError", "shout raised ValueError: no gpu")
        assert len(httpx2.get(f"{url}/status").json()["deployments"]["shout"]["replicas"]) == 2


def test_a_deployment_alone():
    with served(Deployment(uses=Shop)) as url:
        assert texts(httpx2.post(f"{url}/upper", json=[{"text": "tea"}])) == ["TEA"]


def test_a_default_handler_answers_by_name_of_post_alone():
    class Any(Executor):
        @requests
        def any(self, docs, **kwargs):
            docs.texts = ["yes"] * len(docs)

    with served(Flow().add(uses=Any)) as url:
        assert texts(httpx2.post(f"{url}/post", json={"data": [{}], "execEndpoint": "/whatever"})) == ["yes"]
        assert texts(httpx2.post(f"{url}/", json=[{}])) == ["yes"]
        assert texts(httpx2.post(f"{url}/search", json=[{}])) == ["yes"]
        assert httpx2.post(f"{url}/whatever", json=[{}]).status_code == 404


@pytest.mark.parametrize("source", [3, None, Shop])
def test_only_flows_are_served(source):
    with pytest.raises(FieldTypeError, match="Flow"):
        asgi(source)


def test_an_origin_is_checked_where_the_application_is_made():
    with pytest.raises(BadValue, match="origin"):
        asgi(Flow(cors="shop.example").add(uses=Shop))


# ---------------------------------------------------------------------------------------------- wire


def documents():
    vector = np.array([0.1, 2.5, -3e-8], "f4")
    yield Document(id="a")
    yield Document(
        id="a", text='é"\\\n', uri="u", mime_type="text/plain", tags={"a": 1, "b": 0.5, "c": None, "d": True}
    )
    yield Document(id="a", embedding=vector)
    yield Document(id="a", embedding=vector.astype("f8"))
    yield Document(id="a", embedding=vector, tensor=vector.astype("f8"))
    yield Document(id="a", tensor=vector.reshape(3, 1))
    yield Document(id="a", embedding=np.arange(6, dtype="f8")[::2])
    yield Document(id="a", embedding=np.array([np.nan, 1.0]))
    yield Document(id="a", embedding=np.arange(3))
    yield Document(id="a", embedding=np.array([7.038531e-26], "f4"))
    yield Document(id="a", embedding=[0.5, 1.0])
    yield Document(id="a", tags={"a": {"b": 1}})
    yield Document(id="a", tags={"a": 1 << 70})
    yield Document(id="a", tags={"$is": 1})
    yield Document(id="a", tags={"x": float("inf")})
    yield Document(id="a", blob=b"x")
    yield Document(id="a", weight=0.5, location=[1.0, 2.0], scores={"c": 0.5}, modality="text")
    yield Document(id="a", chunks=[Document(id="b", text="x")])


@pytest.mark.parametrize("number", range(18))
def test_the_quick_way_of_few_documents_is_the_way_of_many(number):
    doc = list(documents())[number]
    few = DocumentArray([doc])
    assert wire.written_docs(few, True) == JSON.dumps(few._slots.table())


@pytest.mark.parametrize("number", range(18))
@pytest.mark.parametrize("exclude_none", [False, True])
def test_few_documents_are_read_as_many_are(number, exclude_none):
    raw = JSON.dumps(DocumentArray([list(documents())[number]])._slots.table(), exclude_none=exclude_none)
    assert difference(DocumentArray(JSON.loads(memoryview(raw))), wire.read_json(raw).docs) is None


@pytest.mark.parametrize(
    "raw",
    [
        b'[{"id":"a","embedding":[1,2]}]',
        b'[{"id":"a","embedding":[1.5,2]}]',
        b'[{"id":"a","embedding":[]}]',
        b'[{"id":"a","embedding":[[1.5],[2.5]]}]',
        b'[{"id":"a","tensor":["x"]}]',
        b'[{"id":"a","content":"x"}]',
        b'[{"id":7,"text":"x"}]',
        b'[{"id":"","text":"x"}]',
        b'[{"id":"a","text":""}]',
        b'[{"id":"a","tags":{}}]',
        b'[{"id":"a","tags":{"n":123456789012345678901234567890}}]',
    ],
)
def test_few_odd_documents_are_read_as_many_are(raw):
    assert difference(DocumentArray(JSON.loads(memoryview(raw))), wire.read_json(raw).docs) is None


def test_a_failure_masks_what_nobody_foresaw():
    said = json.loads(wire.failed(ZeroDivisionError("a secret"), request_id="r").body)
    assert said["status"] == 500
    assert "secret" not in json.dumps(said)


def test_the_wait_of_a_refusal_is_whole_seconds():
    assert wire.failed(Overloaded("no", 1.2)).headers == {"Retry-After": "2"}


def test_the_routes_of_a_failed_request_say_where():
    answer = Envelope(DocumentArray(), "/x")
    said = json.loads(wire.failed(ExecutorError("enc", "ValueError", "no"), answer).body)
    assert said["header"]["execEndpoint"] == "/x"
