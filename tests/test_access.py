from __future__ import annotations

import json
import logging
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("uvicorn", reason='pip install "docarray[serve]"')

from docarray import Document
from docarray.flow import Client, Executor, Flow, requests
from docarray.flow.faults import DocArrayError, ExecutorError
from docarray.flow.logs import JsonFormatter

PROTOCOLS = ("http", "websocket", "grpc")
NAME = "docarray.flow.access"


class Twice(Executor):
    @requests(on="/twice")
    def twice(self, docs, **kwargs):
        return [doc for doc in docs for doc in (doc, Document(doc, copy=True))]

    @requests(on="/bad")
    def bad(self, docs, **kwargs):
        raise KeyError("a secret")

    @requests(on="/parts")
    def parts(self, docs, **kwargs):
        yield from (Document() for _ in range(3))

    @requests(on="/broken")
    def broken(self, docs, **kwargs):
        yield Document()
        raise ValueError("in the middle")


class Same(Executor):
    @requests(on=["/twice", "/parts", "/broken"])
    def same(self, docs, **kwargs):
        pass


@pytest.fixture(scope="module")
def flow():
    flow = Flow("shop", protocol=PROTOCOLS, access_log=True, auth="key", graphql=True)
    with flow.add(name="twice", uses=Twice).add(name="same", uses=Same, engine="process") as flow:
        yield flow


@pytest.fixture
def caught(caplog):
    caplog.set_level(logging.INFO, NAME)
    return caplog


def lines(caught, count=1):
    """The lines, when there are so many."""
    until = time.monotonic() + 10
    while True:
        found = [one for one in caught.records if one.name == NAME]
        if len(found) >= count:
            break
        assert time.monotonic() < until, f"{len(found)} lines"
        time.sleep(0.01)
    said = [json.loads(one.getMessage()) for one in found]
    assert said == [one.access for one in found]
    return said


def client(flow, protocol, key="key"):
    return Client(port=flow.ports[protocol], protocol=protocol, api_key=key)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_line_of_each_request(flow, caught, protocol):
    with client(flow, protocol) as asking:
        (answer,) = asking.post("/twice", [Document(), Document()], return_responses=True)
        asking.post("/twice", Document())

    first, second = lines(caught, 2)
    ms, nodes = first.pop("ms"), first.pop("nodes")
    assert first.pop("path") in ("/post", "/ws", "/docarray.flow.v1.Flow/Call")
    assert first.pop("method", "POST") == "POST"
    assert first == {
        "request_id": answer.request_id,
        "protocol": protocol,
        "client": "127.0.0.1",
        "endpoint": "/twice",
        "status": 200,
        "docs_in": 2,
        "docs_out": 4,
    }
    assert list(nodes) == ["twice", "same"]
    assert 0 < sum(nodes.values()) <= ms
    assert (second["docs_in"], second["docs_out"]) == (1, 2)
    assert caught.records[-1].request_id == second["request_id"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_went_wrong(flow, caught, protocol):
    with client(flow, protocol) as asking, pytest.raises(ExecutorError):
        asking.post("/bad", Document())

    (line,) = lines(caught)
    assert [line[name] for name in ("status", "error", "executor", "docs_in", "docs_out", "endpoint")] == [
        500,
        "KeyError",
        "twice",
        1,
        0,
        "/bad",
    ]
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_endpoint_that_is_none(flow, caught, protocol):
    with client(flow, protocol) as asking, pytest.raises(DocArrayError):
        asking.post("/none", Document())

    (line,) = lines(caught)
    assert (line["status"], line["error"], line["nodes"]) == (404, "NoEndpoint", {})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_streams_are_one_line(flow, caught, protocol):
    with client(flow, protocol) as asking:
        assert len(list(asking.stream("/parts", Document()))) == 3

    (line,) = lines(caught)
    assert (line["status"], line["docs_in"], line["docs_out"]) == (200, 1, 3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_streams_that_break_off(flow, caught, protocol):
    with client(flow, protocol) as asking, pytest.raises(ExecutorError):
        list(asking.stream("/broken", Document()))

    (line,) = lines(caught)
    assert (line["error"], line["docs_out"]) == ("ValueError", 1)
    assert line["status"] == (200 if protocol == "http" else 500)  # over HTTP it had been said


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_has_no_key(flow, caught, protocol):
    with client(flow, protocol, "other") as asking, pytest.raises(DocArrayError):
        asking.post("/twice", Document())

    (line,) = lines(caught)
    assert line["status"] == (403 if protocol == "websocket" else 401)
    assert (line["endpoint"], line["docs_in"], line["docs_out"]) == (None, 0, 0)
    assert "other" not in json.dumps(line)


def got(flow, path, body=None, **headers):
    url = f"http://127.0.0.1:{flow.ports['http']}{path}"
    request = Request(url, body, {"X-API-Key": "key", "Content-Type": "application/json", **headers})
    try:
        with urlopen(request, timeout=20) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


def test_other_requests_of_http(flow, caught):
    headers = {"X-Request-ID": "mine"}
    assert got(flow, "/healthz?secret=1", **headers) == 200
    assert got(flow, "/twice", b'{"data": [', **headers) == 400
    assert got(flow, "/nothing", b"{}", **headers) == 404
    assert got(flow, "/healthz", b"{}", **headers) == 405

    said = [(one["method"], one["path"], one["status"], one["endpoint"]) for one in lines(caught, 4)]
    assert said == [
        ("GET", "/healthz", 200, None),
        ("POST", "/twice", 400, None),
        ("POST", "/nothing", 404, None),
        ("POST", "/healthz", 405, None),
    ]
    assert {one["request_id"] for one in lines(caught, 4)} == {"mine"}


def test_graphql(flow, caught):
    query = 'mutation { docs(data: [{text: "a"}], execEndpoint: "/twice") { id } }'
    assert got(flow, "/graphql", json.dumps({"query": query}).encode()) == 200

    (line,) = lines(caught)
    assert (line["path"], line["endpoint"], line["docs_in"], line["docs_out"]) == ("/graphql", "/twice", 1, 2)


def test_off_unless_it_is_asked_for(caught):
    with Flow(protocol=PROTOCOLS).add(uses=Twice) as quiet:
        for protocol in PROTOCOLS:
            with client(quiet, protocol, None) as asking:
                asking.post("/twice", Document())

    assert not [one for one in caught.records if one.name == NAME]


def test_as_members_of_a_line_of_json(flow, caught):
    with client(flow, "grpc") as asking:
        asking.post("/twice", Document())
    lines(caught)

    record = next(one for one in caught.records if one.name == NAME)
    said = json.loads(JsonFormatter().format(record))
    assert (said["logger"], said["endpoint"], said["status"]) == (NAME, "/twice", 200)
    assert "message" not in said
