from __future__ import annotations

import json
import os
import signal
import threading
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("prometheus_client", reason='pip install "docarray[serve]"')

from prometheus_client.parser import text_string_to_metric_families

from docarray import Document, DocumentArray
from docarray.flow import Client, Executor, Flow, requests
from docarray.flow.faults import ExecutorError


class First(Executor):
    @requests(on="/work")
    def work(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]


class Second(Executor):
    @requests(on="/work")
    def work(self, docs, **kwargs):
        if docs and docs[0].text == "BAD":
            raise ValueError("no")

    @requests(on="/parts")
    def parts(self, docs, **kwargs):
        yield from docs


class Waits(Executor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.begun, self.go = threading.Event(), threading.Event()
        Waits.last = self

    @requests(on="/wait")
    def wait(self, docs, **kwargs):
        self.begun.set()
        assert self.go.wait(20)


def numbers(flow):
    """Of /metrics: name and labels to value."""
    with urlopen(f"http://127.0.0.1:{flow.port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def posted(flow, endpoint, *texts):
    body = json.dumps({"data": [{"text": text} for text in texts]}).encode()
    request = Request(f"http://127.0.0.1:{flow.port}{endpoint}", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as answer:
        return json.load(answer)


def served():
    return Flow(protocol="http", port=0).add(name="first", uses=First).add(name="second", uses=Second)


def test_requests_documents_and_nodes_are_counted():
    with served() as flow:
        posted(flow, "/work", "a", "b")
        flow.post("/work", DocumentArray([Document(text="c")]))
        list(flow.stream("/parts", DocumentArray([Document(text="d")])))
        found = numbers(flow)

    assert found["docarray_flow_request_seconds_count", "endpoint=/work"] == 2
    assert found["docarray_flow_request_seconds_count", "endpoint=/parts"] == 1
    assert found["docarray_flow_request_seconds_bucket", "endpoint=/work", "le=+Inf"] == 2
    assert 0 < found["docarray_flow_request_seconds_sum", "endpoint=/work"] < 20
    assert found["docarray_flow_documents_total", "endpoint=/work"] == 3
    assert found["docarray_flow_node_seconds_count", "deployment=first"] == 2
    assert found["docarray_flow_node_seconds_count", "deployment=second"] == 3
    assert found["docarray_flow_requests_open",] == 0
    assert found["docarray_flow_replica_up", "deployment=first", "replica=first/rep-0"] == 1
    assert not [key for key in found if key[0] == "docarray_flow_errors_total"]


def test_errors_are_counted_where_they_are():
    with served() as flow:
        with pytest.raises(HTTPError) as caught:
            posted(flow, "/work", "bad")
        caught.value.close()
        found = numbers(flow)

    assert found["docarray_flow_errors_total", "deployment=second", "error=ExecutorError"] == 1
    assert [key for key in found if key[0] == "docarray_flow_errors_total"] == [
        ("docarray_flow_errors_total", "deployment=second", "error=ExecutorError")
    ]
    assert found["docarray_flow_request_seconds_count", "endpoint=/work"] == 1


def test_what_is_under_way_is_seen():
    with Flow(protocol="http", port=0).add(name="waits", uses=Waits) as flow:
        asking = threading.Thread(target=lambda: posted(flow, "/wait", "a"))
        asking.start()
        assert Waits.last.begun.wait(20)
        during = numbers(flow)
        Waits.last.go.set()
        asking.join()
        after = numbers(flow)

    replica = "docarray_flow_replica_open", "deployment=waits", "replica=waits/rep-0"
    assert (during["docarray_flow_requests_open",], during[replica]) == (1, 1)
    assert (after["docarray_flow_requests_open",], after[replica]) == (0, 0)


def test_clients_cannot_make_series():
    class Any_(Executor):
        @requests
        def any(self, docs, **kwargs):
            pass

    with Flow(protocol="http", port=0).add(uses=Any_) as flow:
        for name in ("/x", "/y", "/z"):
            flow.post(name, Document())
        found = numbers(flow)

    counted = {key: value for key, value in found.items() if key[0] == "docarray_flow_request_seconds_count"}
    assert counted == {("docarray_flow_request_seconds_count", "endpoint=(other)"): 3}


def test_restarts_of_processes_are_counted():
    with Flow(protocol="http", port=0, engine="process").add(name="first", uses=First) as flow:
        (line,) = flow.status()["first"]["replicas"]

        os.kill(line["pid"], signal.SIGKILL)
        until = time.monotonic() + 20
        while flow.status()["first"]["replicas"][0]["pid"] == line["pid"] or not flow.is_flow_ready():
            assert time.monotonic() < until
            time.sleep(0.05)
        found = numbers(flow)

    assert found["docarray_flow_restarts_total", "deployment=first", "replica=first/rep-0"] == 1
    assert found["docarray_flow_replica_up", "deployment=first", "replica=first/rep-0"] == 1


# ---------------------------------------------------------------------------------------------- status


class Sleeps(Executor):
    @requests(on="/sleep")
    def sleep(self, docs, **kwargs):
        time.sleep(float(docs[0].text))

    @requests(on="/bad")
    def bad(self, docs, **kwargs):
        raise ValueError("no")


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_status_of_each_deployment(engine):
    with Flow(engine=engine).add(name="first", uses=Sleeps).add(name="second", uses=First) as flow:
        fresh = flow.status()
        for seconds in ("0.05", *["0"] * 98, "0.05"):
            flow.post("/sleep", Document(text=seconds))
        with pytest.raises(ExecutorError):
            flow.post("/bad", Document())
        said = flow.status()

    assert list(fresh) == ["first", "second"]
    assert fresh["first"] == {
        "state": "ready",
        "in_flight": 0,
        "waiting": 0,
        "restarts": 0,
        "requests": 0,
        "errors": 0,
        "p50": None,
        "p99": None,
        "replicas": fresh["first"]["replicas"],
    }
    first, second = said["first"], said["second"]
    assert (first["requests"], first["errors"], second["requests"], second["errors"]) == (101, 1, 0, 0)
    assert 0 < first["p50"] < 0.05 <= first["p99"] < 20
    assert [line["served"] for line in first["replicas"]] == [101]
    assert json.loads(json.dumps(said)) == said


def test_what_waits_is_told_from_what_is_worked_on():
    with Flow(protocol="http", port=0).add(name="waits", uses=Waits) as flow:
        asking = [threading.Thread(target=lambda: posted(flow, "/wait", "a")) for _ in range(3)]
        for one in asking:
            one.start()
        assert Waits.last.begun.wait(20)
        until = time.monotonic() + 20
        while flow.status()["waits"]["in_flight"] < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
        during, found = flow.status()["waits"], numbers(flow)
        Waits.last.go.set()
        for one in asking:
            one.join()
        after = flow.status()["waits"]

    assert (during["in_flight"], during["waiting"]) == (3, 2)
    assert found["docarray_flow_node_waiting", "deployment=waits"] == 2
    assert (after["in_flight"], after["waiting"], after["requests"]) == (0, 0, 3)


def test_a_deployment_whose_process_is_gone():
    with Flow(engine="process").add(name="first", uses=First, replicas=2) as flow:
        pids = [line["pid"] for line in flow.status()["first"]["replicas"]]
        os.kill(pids[0], signal.SIGKILL)
        until = time.monotonic() + 20
        seen = set()
        while (said := flow.status()["first"])["restarts"] == 0 or said["state"] != "ready":
            assert time.monotonic() < until
            seen.add(said["state"])
            time.sleep(0.002)

    assert "degraded" in seen
    assert "down" not in seen
    assert said["restarts"] == 1


# ---------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize("protocol", [None, "http", "websocket", "grpc"])
def test_routes_fit_into_the_roundtrip(protocol):
    flow = Flow(protocol=protocol or ()).add(name="first", uses=First).add(name="second", uses=Second)
    with flow, Client(flow) if protocol is None else Client(port=flow.port, protocol=protocol) as client:
        began = time.time()
        (answer,) = client.post("/work", Document(text="a"), return_responses=True)
        took = time.time() - began
        table = client.profiling("/work", Document(text="a"))

    assert [visit.executor for visit in answer.routes] == ["gateway", "first", "second"]
    gateway, *nodes = (visit.end - visit.start for visit in answer.routes)
    assert 0 <= sum(nodes) <= gateway <= took + 1e-3
    assert [line.split()[0] for line in table.splitlines()[1:-1]] == [
        "roundtrip",
        "network",
        "gateway",
        "first",
        "second",
    ]
