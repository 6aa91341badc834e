"""What goes wrong with a Flow that serves: each over real sockets, in real processes, and nothing is left of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from docarray import Document
from docarray.flow import Client, Flow
from docarray.flow.faults import (
    BadRequest,
    DeadlineExceeded,
    ExecutorError,
    FlowStartError,
    NoEndpoint,
    Overloaded,
    Unavailable,
)
from faults.flow_shop import (
    ENV,
    LISTENS,
    MB,
    PROTOCOLS,
    After,
    Broken,
    Journal,
    Server,
    Shop,
    asking,
    children,
    cpu,
    is_there,
    memory,
    nothing_left,
    opened,
    until,
    words,
)

grpc = pytest.importorskip("grpc", reason='pip install "docarray[grpc]"')
pytest.importorskip("uvicorn", reason='pip install "docarray[serve]"')
pytest.importorskip("cloudpickle", reason='pip install "docarray[flow]"')
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="what is left of a process is read from /proc"),
    pytest.mark.timeout(120),
]
ENGINES = ("inline", "process")


def long(*values):
    """A case that `make soak` runs: others say nearly the same in a fraction of its time."""
    return pytest.param(*values, marks=pytest.mark.soak)


SECONDS = float(os.environ.get("FLOW_SOAK_SECONDS", "600"))
"""How long the longest test takes."""


@pytest.fixture(scope="module", autouse=True)
def warm():
    """gRPC has threads and sockets of its own, which stay: they are there before anything is counted."""
    with Flow(protocol=PROTOCOLS).add(uses=Shop, name="shop") as flow:
        for protocol, port in flow.ports.items():
            with Client("127.0.0.1", port, protocol) as client:
                client.post("/shout", Document(text="a"))
    # So are the two pollers that stay, once, where it could not listen.
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(FlowStartError):
        Flow(protocol="grpc", port=taken.getsockname()[1]).start()


@pytest.fixture(autouse=True)
def forgets(caplog):
    """What was logged of an error has its traceback, and that all that was open there."""
    yield
    for when in ("setup", "call"):
        caplog.get_records(when).clear()


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return request.param


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def served(engine, tmp_path_factory):
    """A Flow that serves over each protocol, and its journal."""
    journal = Journal(tmp_path_factory.mktemp("shop") / "journal")
    with nothing_left(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "error")
        flow = Flow(protocol=PROTOCOLS, engine=engine)
        said = {"journal": journal.path}
        flow = flow.add(uses=Shop, name="shop", uses_with=said).add(uses=After, name="after", uses_with=said)
        with flow:
            yield flow, journal


@pytest.fixture
def client(served, protocol):
    with Client("127.0.0.1", served[0].ports[protocol], protocol) as client:
        yield client


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal")


def one_slot(engine, journal, **options):
    """A Flow over each protocol, whose only deployment works on one request at a time."""
    said = {"journal": journal.path}
    return Flow(protocol=PROTOCOLS, engine=engine, **options).add(
        uses=Shop, name="shop", uses_with=said, max_concurrency=1
    )


def asked(port, endpoint, body=None, headers=None):
    """Status, headers and JSON of an answer over HTTP."""
    url = f"http://127.0.0.1:{port}{endpoint}"
    said = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, json.dumps(body or {}).encode(), said)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.load(error)


# ---------------------------------------------------------------------------------------------- handlers that raise


@pytest.mark.parametrize("endpoint", ["/boom", "/boom_later"])
def test_what_a_handler_raises_is_told_and_nobody_after_it_is_asked(client, served, endpoint):
    journal = served[1]
    before = journal.lines

    with pytest.raises(ExecutorError) as caught:
        client.post(endpoint, words("a"))

    error = caught.value
    assert ("shop", "ValueError", "the tea is cold", "") == (
        error.executor, error.name, error.detail, error.traceback,
    )  # fmt: skip
    assert before == journal.lines
    assert ["A"] == client.post("/shout", words("a")).texts  # and it goes on
    assert [*before, "after"] == journal.lines


@pytest.mark.parametrize("engine", ENGINES)
def test_only_debug_tells_the_traceback(engine):
    with (
        nothing_left(),
        Flow(protocol=PROTOCOLS, engine=engine, debug=True).add(uses=Shop, name="shop") as flow,
    ):
        for protocol, port in flow.ports.items():
            with Client("127.0.0.1", port, protocol) as client, pytest.raises(ExecutorError) as caught:
                client.post("/boom", words("a"))
            assert 'raise ValueError("the tea is cold")' in caught.value.traceback


KEPT = {
    "Overloaded": (Overloaded, 429, "RESOURCE_EXHAUSTED", "no cup is free"),
    "TooManyCups": (Overloaded, 429, "RESOURCE_EXHAUSTED", "no cup is free"),
    "BadRequest": (BadRequest, 422, "INVALID_ARGUMENT", "this is no tea"),
    "Unavailable": (Unavailable, 503, "UNAVAILABLE", "the well is dry"),
    "DeadlineExceeded": (DeadlineExceeded, 504, "DEADLINE_EXCEEDED", "the kettle takes too long"),
    "NoEndpoint": (NoEndpoint, 404, "NOT_FOUND", "there is no such tea"),
}


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.parametrize("endpoint", ["/fault", "/fault_later", "/fault_parts"])
def test_a_fault_that_a_handler_raises_keeps_its_status(served, client, endpoint, kind):
    flow, _ = served
    cls, status, _, detail = KEPT[kind]

    with pytest.raises(cls, match=detail) as caught:
        client.post(endpoint, words("a"), parameters={"kind": kind})
    if cls is Overloaded:
        assert 7 == caught.value.retry_after
    with pytest.raises(cls, match=detail):
        list(client.stream(endpoint, words("a"), parameters={"kind": kind}))
    # The same to who has no client of ours.
    told, headers, body = asked(flow.ports["http"], endpoint, {"parameters": {"kind": kind}})
    assert (status, detail) == (told, body["detail"])
    assert ("7" if status == 429 else "1" if status == 503 else None) == headers["Retry-After"]


def test_a_fault_has_its_status_over_grpc(served):
    """Status and waits, as a client that is not ours reads them."""
    from docarray.flow.wire import request_frame

    flow, _ = served
    with grpc.insecure_channel(f"127.0.0.1:{flow.ports['grpc']}") as channel:
        for kind, (_, _, code, detail) in KEPT.items():
            call = channel.unary_unary("/docarray.flow.v1.Flow/Call")
            raw = request_frame(words("a"), "/fault", {"kind": kind}, None, "r", None, False)
            with pytest.raises(grpc.RpcError, match=detail) as caught:
                call(raw)
            assert code == caught.value.code().name
            if kind == "Overloaded":
                beside = dict(caught.value.trailing_metadata())
                assert ("7", "7000") == (beside["retry-after"], beside["grpc-retry-pushback-ms"])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fault_of_a_batch_keeps_its_status(engine):
    batching = {"/fault": {"preferred_batch_size": 4, "timeout": 10}}
    flow = Flow(engine=engine).add(uses=Shop, name="shop", uses_dynamic_batching=batching)
    with nothing_left(), flow, pytest.raises(Overloaded, match="no cup is free") as caught:
        flow.post("/fault", words("a"), parameters={"kind": "TooManyCups"})
    assert 7 == caught.value.retry_after


# ---------------------------------------------------------------------------------------------- what does not start


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", "RuntimeError: no water in the kettle"),
        ("leave", "SystemExit: 4"),
        ("exit", "exit code 3"),
        ("die", "SIGKILL"),
        ("hang", "not ready within 0.7 s"),
    ],
)
def test_what_does_not_start_says_why_and_leaves_nothing(how, told):
    flow = Flow(protocol=PROTOCOLS, engine="process").add(uses=Shop, name="shop", replicas=2)
    flow = flow.add(
        uses=Broken, name="broken", uses_with={"how": how}, timeout_ready=0.7 if how == "hang" else 60
    )
    with nothing_left():
        with pytest.raises(FlowStartError, match=told) as caught:
            flow.start()
        assert "broken/rep-0" in str(caught.value)
        if how == "raise":
            assert 'raise RuntimeError("no water in the kettle")' in str(caught.value.__cause__)
        assert not flow.is_running
        del caught


@pytest.mark.parametrize("how", ["raise", "leave"])
def test_what_does_not_start_in_this_process_says_why(how):
    flow = (
        Flow(protocol=PROTOCOLS)
        .add(uses=Shop, name="shop")
        .add(uses=Broken, name="broken", uses_with={"how": how})
    )
    with nothing_left():
        with pytest.raises((FlowStartError, SystemExit)) as caught:
            flow.start()
        if how == "raise":
            assert "no water in the kettle" in str(caught.value)
            assert isinstance(caught.value.__cause__, RuntimeError)
        assert not flow.is_running
        del caught


def test_who_does_not_start_is_told_before_others_are_ready():
    """A model that takes its minutes is no reason to keep quiet that another one cannot be had."""
    flow = Flow(engine="process").add(uses=Broken, name="slow", uses_with={"how": "hang"})
    flow = flow.add(uses=Broken, name="broken", uses_with={"how": "raise"})
    begun = time.monotonic()
    with nothing_left(), pytest.raises(FlowStartError, match="broken/rep-0"):
        flow.start()
    assert time.monotonic() - begun < 20  # and not the two minutes that the slow one has


@pytest.mark.parametrize("engine", ENGINES)
def test_a_port_that_is_taken_is_named_and_nothing_is_left(protocol, engine):
    with nothing_left(), socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        flow = Flow(protocol=protocol, port=port, engine=engine).add(uses=Shop, name="shop")
        with pytest.raises(FlowStartError, match=str(port)) as caught:
            flow.start()
        assert "another port" in str(caught.value)
        del caught
        assert not flow.is_running


# ---------------------------------------------------------------------------------------------- workers that die


class Load:
    """Clients over each protocol that ask without a pause, and what comes of it."""

    def __init__(self, ports, endpoint, each=2, **options):
        self.errors: list[Exception] = []
        self.served = 0
        self._stop = threading.Event()
        self._options = options
        self._endpoint = endpoint
        self._crew = [
            threading.Thread(target=self._ask, args=(protocol, port), name="load")
            for protocol, port in ports.items()
            for _ in range(each)
        ]

    def _ask(self, protocol, port):
        with Client("127.0.0.1", port, protocol) as client:
            while not self._stop.is_set():
                try:
                    assert ["A"] == client.post(self._endpoint, words("a"), **self._options).texts
                    self.served += 1
                except Exception as error:
                    self.errors.append(error)

    def __enter__(self):
        for one in self._crew:
            one.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for one in self._crew:
            one.join(60)
        assert not any(one.is_alive() for one in self._crew)


def replicas(flow, name="shop"):
    """What each process of a deployment does."""
    return flow._running.groups[name].status()


def all_ready(flow):
    return all(one["state"] == "ready" for one in replicas(flow))


def kill_one(flow, load, victim):
    """Kills a worker under load, and waits until there is another in its place."""
    load.served = 0
    until(lambda: load.served >= 30)
    before = replicas(flow)[victim]["pid"]
    os.kill(before, signal.SIGKILL)
    begun = time.monotonic()
    until(lambda: replicas(flow)[victim]["pid"] != before and all_ready(flow))
    assert time.monotonic() - begun < 3 * 3  # three seconds are promised; the machine may be busy
    load.served = 0
    until(lambda: load.served >= 30)


def test_no_request_fails_where_one_of_two_workers_is_killed():
    flow = Flow(protocol=PROTOCOLS).add(uses=Shop, name="shop", replicas=2)
    with nothing_left(), flow, Load(flow.ports, "/work") as load:
        for victim in (0, 1, 0):
            kill_one(flow, load, victim)
    assert [] == load.errors


def test_both_of_two_workers_are_killed_and_requests_wait():
    flow = Flow(protocol=PROTOCOLS).add(uses=Shop, name="shop", replicas=2, retries=5)
    with nothing_left(), flow, Load(flow.ports, "/work") as load:
        until(lambda: load.served >= 10)
        for one in replicas(flow):
            os.kill(one["pid"], signal.SIGKILL)
        until(lambda: sum(one["restarts"] for one in replicas(flow)) == 2 and all_ready(flow))
        load.served = 0
        until(lambda: load.served >= 10)
    assert [] == load.errors


def test_the_only_worker_is_killed():
    """Who may be asked again waits for the next one; who may not is told; and nothing else comes of it."""
    with nothing_left(), Flow(protocol=PROTOCOLS, engine="process").add(uses=Shop, name="shop") as flow:
        with Load(flow.ports, "/work") as load, Load(flow.ports, "/once") as other:
            until(lambda: load.served >= 10 and other.served >= 10)
            before = replicas(flow)[0]["pid"]
            os.kill(before, signal.SIGKILL)
            until(lambda: replicas(flow)[0]["pid"] != before and all_ready(flow))
            load.served = other.served = 0
            until(lambda: load.served >= 10 and other.served >= 10)
        assert [] == load.errors
        assert {Unavailable} == {type(error) for error in other.errors}
        assert len(other.errors) <= 6  # those that were being worked on


def test_an_answer_in_parts_ends_with_its_worker():
    """What was said stays said; that the rest does not come is an error, and the socket or line is of use again."""
    with nothing_left(), Flow(protocol=PROTOCOLS, engine="process").add(uses=Shop, name="shop") as flow:
        for protocol, port in flow.ports.items():
            with Client("127.0.0.1", port, protocol) as client:
                parts = client.stream("/endless")
                assert 100_000 == len(next(parts)[0].text)
                os.kill(replicas(flow)[0]["pid"], signal.SIGKILL)
                with pytest.raises(Unavailable, match="ended while it worked"):
                    for _ in parts:
                        pass
                assert ["A"] == client.post("/shout", words("a")).texts


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.5])
def test_a_flow_is_closed_while_a_worker_is_started_anew(seconds):
    with nothing_left():
        with Flow(engine="process").add(uses=Shop, name="shop") as flow:
            os.kill(replicas(flow)[0]["pid"], signal.SIGKILL)
            until(lambda: replicas(flow)[0]["state"] != "ready")
            time.sleep(seconds)
            begun = time.monotonic()
        assert time.monotonic() - begun < 8


# ---------------------------------------------------------------------------------------------- clients that vanish


@pytest.mark.parametrize(
    ("protocol", "engine"),
    [("http", "inline"), ("websocket", "inline"), ("grpc", "process"), long("http", "process"),
     long("websocket", "process"), long("grpc", "inline")],
)  # fmt: skip
def test_who_is_killed_while_he_waits_takes_his_requests_along(protocol, engine, journal):
    """One that is worked on and nine that wait for their turn; the next one who asks has not to wait for any."""
    with nothing_left(), one_slot(engine, journal) as flow:
        with Client("127.0.0.1", flow.ports[protocol], protocol) as client:
            url = client.address.url
            with asking(url, "/block", 10, 60):
                until(lambda: journal.keys("begun"))
                until(lambda: replicas(flow)[0]["busy"] == 10)
            answer = client.post("/block", words("next"), parameters={"seconds": 0.01}, timeout=15)
        assert ["next"] == answer.texts
        # Connections end one after the other: one of them may have had its turn in between.
        assert ["next"] == journal.keys("done")
        assert {*journal.keys("cancelled"), "next"} == {*journal.keys("begun")}
        assert 0 == replicas(flow)[0]["busy"]


@pytest.mark.parametrize(
    ("protocol", "engine"),
    [("http", "inline"), ("grpc", "process"), long("http", "process"), long("grpc", "inline"),
     long("websocket", "inline"), long("websocket", "process")],
)  # fmt: skip
def test_a_plain_method_is_finished_and_those_that_wait_for_it_are_not_begun(protocol, engine, journal):
    with nothing_left(), one_slot(engine, journal) as flow:
        with Client("127.0.0.1", flow.ports[protocol], protocol) as client:
            with asking(client.address.url, "/plain", 40, 0.3):
                until(lambda: replicas(flow)[0]["busy"] == 40)
            client.post("/plain", words("next"), parameters={"seconds": 0.0})
        begun = journal.keys("begun")
        assert begun == journal.keys("done")
        assert "next" == begun[-1]
        assert len(begun) <= 6  # the one that was worked on, those until it was known, and the next


@pytest.mark.parametrize(
    ("engine", "endpoint"),
    [
        ("process", "/endless"), ("inline", "/endless_plain"),
        long("inline", "/endless"), long("process", "/endless_plain"),
    ],
)  # fmt: skip
def test_the_generator_ends_with_the_client_that_listened(endpoint, engine, journal):
    said = {"journal": journal.path}
    with (
        nothing_left(),
        Flow(protocol=PROTOCOLS, engine=engine).add(uses=Shop, name="shop", uses_with=said) as flow,
    ):
        for protocol, port in flow.ports.items():
            with Client("127.0.0.1", port, protocol) as client:
                with asking(client.address.url, endpoint, program=LISTENS) as listener:
                    assert "one\n" == listener.stdout.readline()
                until(lambda: len(journal.keys("closed")) == len(journal.lines) / 2)
                assert ["A"] == client.post("/shout", words("a")).texts
        until(lambda: replicas(flow)[0]["busy"] == 0)


def test_that_clients_leave_is_no_news(tmp_path):
    """Anybody could fill the log with it."""
    with Server(tmp_path, "uses_with: {journal: JOURNAL}") as server:
        for protocol in PROTOCOLS:
            with server.client(protocol) as client:
                for _ in range(10):
                    parts = client.stream("/endless")
                    next(parts)
                    parts.close()
        until(lambda: len(server.journal.keys("closed")) == 30)
        assert "ERROR" not in server.log.read_text()


# ---------------------------------------------------------------------------------------------- slow consumers


@pytest.mark.parametrize(
    ("engine", "endpoint"),
    [
        ("process", "/endless"), ("inline", "/endless_plain"),
        long("inline", "/endless"), long("process", "/endless_plain"),
    ],
)  # fmt: skip
def test_who_reads_nothing_of_a_stream_holds_it_up_and_nobody_else(endpoint, engine, tmp_path):
    """Parts of 100 KB without an end: what is made of them fits into the buffers of both ends and of the system."""
    with Server(tmp_path, f"uses_with: {{journal: JOURNAL}}, engine: {engine}") as server:
        before = memory(server.pid)
        with contextlib.ExitStack() as ends:
            clients = {protocol: ends.enter_context(server.client(protocol)) for protocol in PROTOCOLS}
            streams = {name: client.stream(endpoint) for name, client in clients.items()}
            for parts in streams.values():
                next(parts)
            grown = [memory(server.pid)]
            until(
                lambda: grown.append(memory(server.pid)) or time.sleep(0.2) or grown[-1] - grown[-2] < MB // 4
            )
            for client in clients.values():  # others are answered meanwhile
                assert ["A"] == client.post("/shout", words("a")).texts
            computed = cpu(server.pid)
            time.sleep(0.5)
            assert cpu(server.pid) - computed < 0.2  # and it waits, it does not try
            assert memory(server.pid) - before < 60 * MB
            assert [] == server.journal.keys("closed")
            for parts in streams.values():
                parts.close()
            until(lambda: len(server.journal.keys("closed")) == 3)
        assert all(int(made) < 400 for made in server.journal.keys("closed"))  # 40 MB


# ---------------------------------------------------------------------------------------------- floods


@pytest.mark.parametrize("engine", ["process", long("inline")])
def test_a_flood_is_refused_and_what_is_taken_is_answered_right(engine, tmp_path):
    """A thousand requests at once for one who works on two and lets ten wait, over each protocol."""
    with Server(tmp_path, f"engine: {engine}, max_concurrency: 2, max_queue: 10") as server:
        flooded(server, "/work", 1000)  # what it grows by once
        before, files = memory(server.pid), len(opened(server.pid))
        for endpoint in ("/work", "/plain_work"):
            flooded(server, endpoint, 1000)
        assert memory(server.pid) - before < 40 * MB
        until(lambda: len(opened(server.pid)) <= files + 2)
        computed = cpu(server.pid)
        time.sleep(0.5)
        assert cpu(server.pid) - computed < 0.15
        for protocol in PROTOCOLS:
            with server.client(protocol) as client:
                assert ["A"] == client.post("/work", words("a")).texts


def flooded(server, endpoint, count):
    """Over all protocols at the same time. A socket has 64 requests on its way at the most: there are several."""
    answers, crew = [], []

    def ask(protocol, share, start):
        docs = [Document(text=f"cup {number}") for number in range(start, start + share)]
        with server.client(protocol) as client:
            answers.extend(
                client.post(
                    endpoint, docs, request_size=1, prefetch=share, return_responses=True,
                    continue_on_error=True, on_error=lambda answer: None, parameters={"seconds": 0.05},
                )
            )  # fmt: skip

    shares = [("http", 340), ("grpc", 340), *[("websocket", 64)] * 5]
    for start, (protocol, share) in zip(itertools.count(0, 1000), shares, strict=False):
        crew.append(threading.Thread(target=ask, args=(protocol, share, start)))
    for one in crew:
        one.start()
    for one in crew:
        one.join(60)
    assert len(answers) == count
    refused = [answer.error for answer in answers if answer.error is not None]
    assert {Overloaded} == {type(error) for error in refused}
    assert all(error.retry_after >= 1 for error in refused)
    right = [answer for answer in answers if answer.error is None]
    assert 12 <= len(right) < count
    assert all(answer.docs[0].text.startswith("CUP ") for answer in right)


@pytest.mark.parametrize("engine", ENGINES)
def test_more_may_wait_than_there_are_threads(engine):
    """Of plain methods too those that wait are as many as was said."""
    flow = Flow(engine=engine).add(uses=Shop, name="shop", max_queue=99)
    with nothing_left(), flow:
        docs = [Document(text=f"{number}") for number in range(300)]
        answers = flow.post(
            "/plain", docs, request_size=1, prefetch=300, return_responses=True, on_error=lambda answer: None,
            parameters={"seconds": 0.01},
        )  # fmt: skip
        assert 100 <= sum(answer.error is None for answer in answers) <= 150


def test_who_waits_for_one_deployment_holds_up_no_other():
    flow = Flow().add(uses=Shop, name="slow", uses_requests={"/slow": "plain"}).add(uses=Shop, name="quick")
    with nothing_left(), flow, contextlib.ExitStack() as ends:
        docs = [Document(text=f"{number}") for number in range(60)]
        crowd = threading.Thread(
            target=flow.post, args=("/slow", docs),
            kwargs={"request_size": 1, "prefetch": 60, "parameters": {"seconds": 0.05}, "target_executor": "slow"},
        )  # fmt: skip
        crowd.start()
        ends.callback(crowd.join)
        until(lambda: replicas(flow, "slow")[0]["busy"] == 60)
        some = [Document(text="a")] * 2  # two of them: one would be answered in this thread
        flow.post("/shout", some, request_size=1, target_executor="quick")
        assert replicas(flow, "slow")[0]["busy"] > 30


# ---------------------------------------------------------------------------------------------- large messages

LARGE = 64 * 1_000_000


@pytest.mark.parametrize("engine", ["process", long("inline")])
def test_sixty_four_megabytes_go_both_ways_and_more_is_refused(engine, tmp_path):
    """Of requests the gateway says how large one may be; answers may be as large as handlers make them."""
    with Server(tmp_path, f"engine: {engine}", "max_body: 67108864") as server:
        for protocol in PROTOCOLS:
            with server.client(protocol) as client:
                answer = client.post("/size", Document(blob=bytes(LARGE)))
                assert LARGE == answer[0].tags["size"]
                del answer
                with pytest.raises((BadRequest, Unavailable)) as caught:
                    client.post("/size", Document(blob=bytes(68_000_000)))
                # A socket is closed with 1009, and no client that still sends may miss it.
                assert BadRequest is caught.type, caught.value
                answer = client.post("/large", parameters={"bytes": 70_000_000})
                assert 70_000_000 == len(answer[0].blob)
                del answer
                assert ["A"] == client.post("/shout", words("a")).texts


# ---------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("engine", "count"), [("process", 3_000), long("inline", 10_000), long("process", 10_000)]
)
def test_ten_thousand_streamed_requests_grow_nothing(engine, count, tmp_path):
    with Server(tmp_path, f"engine: {engine}") as server:
        ways = [server.client(protocol) for protocol in PROTOCOLS]

        def some(count):
            return (Document(text="tea") for _ in range(count))

        def send(count):
            said = {"request_size": 1, "on_done": lambda answer: None}
            crew = [
                threading.Thread(target=client.post, args=("/shout", some(count)), kwargs=said)
                for client in ways
            ]
            for one in crew:
                one.start()
            for one in crew:
                one.join(60)
            for client in ways:
                assert 100 == sum(map(len, client.stream("/parts", parameters={"to": 100})))

        send(500)
        pids = [server.pid, *children(server.pid)]
        before = [memory(pid) for pid in pids]
        send(count // 3 + 1)
        grown = [memory(pid) - size for pid, size in zip(pids, before, strict=True)]
        for client in ways:
            client.close()
    assert max(grown) < 20 * MB, grown


# ---------------------------------------------------------------------------------------------- deadlines


def test_when_time_is_over_the_handler_is_cancelled(client, served, protocol):
    """Wherever it works: across the network, and in another process."""
    flow, journal = served
    key = f"late {protocol}"
    with pytest.raises(DeadlineExceeded):
        client.post("/block", words(key), timeout=0.2)
    journal.waits(f"cancelled {key}")
    assert ["A"] == client.post("/shout", words("a"), timeout=10).texts
    until(lambda: replicas(flow)[0]["busy"] == 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_time_runs_while_one_waits_for_its_turn(engine, journal):
    with nothing_left(), one_slot(engine, journal) as flow:
        for protocol, port in flow.ports.items():
            with Client("127.0.0.1", port, protocol) as client, asking(client.address.url, "/block", 1, 60):
                until(lambda: replicas(flow)[0]["busy"] == 1)
                with pytest.raises(DeadlineExceeded):
                    client.post("/block", words("late"), timeout=0.2)
            until(lambda: replicas(flow)[0]["busy"] == 0)
    assert "late" not in journal.keys("begun")


# ---------------------------------------------------------------------------------------------- the end


@contextlib.contextmanager
def alone(tmp_path, text):
    """A script in a process of its own."""
    script = tmp_path / "script.py"
    script.write_text(text)
    command = [sys.executable, "-W", "error", str(script)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENV) as process:
        try:
            yield process
        finally:
            process.kill()


SERVES = """
import json, os, signal, time
from docarray.flow import Flow
from faults.flow_shop import PROTOCOLS, Shop, words

if __name__ == "__main__":
    with Flow(protocol=PROTOCOLS).add(uses=Shop, name="shop", replicas=2) as flow:
        pids = [one["pid"] for one in flow._running.groups["shop"].status()]
        print(json.dumps(pids + list(flow.ports.values())), flush=True)
        {then}
"""


@pytest.mark.parametrize(
    ("then", "number", "code", "told"),
    [
        ("time.sleep(60)", signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt"),
        ("flow.post('/block', words('a'))", signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt"),
        long("flow.block()", signal.SIGINT, 0, ""),
        ("flow.block()", signal.SIGTERM, 0, ""),
        ("raise ValueError('no tea')", None, 1, "ValueError: no tea"),
        long("raise SystemExit(3)", None, 3, ""),
        ("time.sleep(60)", signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_however_a_program_ends_its_workers_do(then, number, code, told, tmp_path):
    with alone(tmp_path, SERVES.replace("{then}", then)) as process:
        first, second, *ports = json.loads(process.stdout.readline())
        if number is not None:
            time.sleep(0.3)
            process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    until(lambda: not is_there(first) and not is_there(second))
    assert code == process.returncode, errors
    assert told == errors or (told and told in errors.splitlines()[-1]), errors
    for port in set(ports):
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("where", ["constructor", "method"])
def test_no_worker_outlives_its_flow_that_hangs(where, tmp_path):
    """Where it listens to nobody any more; the constructor at once, a method after the time that `close` has."""
    journal = Journal(tmp_path / "journal")
    text = """
import json, sys
from docarray.flow import Flow
from faults.flow_shop import Broken, Shop, children, until, words
import threading

if __name__ == "__main__":
    said = {"how": "hang"} if WHERE == "constructor" else {"journal": JOURNAL}
    flow = Flow(engine="process").add(uses=Broken if WHERE == "constructor" else Shop, name="shop", uses_with=said)
    start = threading.Thread(target=flow.start, daemon=True)
    start.start()
    until(children)
    if WHERE == "method":
        start.join()
        post = lambda: flow.post("/plain", words("a"), parameters={"seconds": 600})
        threading.Thread(target=post, daemon=True).start()
    print(json.dumps([*children()]), flush=True)
    threading.Event().wait()
"""
    text = text.replace("WHERE", repr(where)).replace("JOURNAL", repr(journal.path))
    with alone(tmp_path, text) as process:
        (pid,) = json.loads(process.stdout.readline())
        if where == "method":
            journal.waits("begun a")
        else:
            time.sleep(1.0)
        assert is_there(pid)
        process.kill()
        process.communicate(timeout=30)
    until(lambda: not is_there(pid), 20)


def test_ctrl_c_while_workers_are_made_leaves_none(tmp_path):
    """In the moment in which a Flow starts, at whatever point of it."""
    text = """
import faulthandler, os, signal, threading
faulthandler.dump_traceback_later(30, exit=True)
from docarray.flow import Flow
from faults.flow_shop import PROTOCOLS, Broken, Shop, children, is_there, until
import json, sys, time

def interrupt(after):
    time.sleep(after)
    os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    with Flow(protocol=PROTOCOLS, engine="process").add(uses=Shop):
        pass  # all is imported: to be interrupted in that is no affair of ours
    for after in (0.0, 0.005, 0.02, 0.1, 0.3):
        flow = Flow(protocol=PROTOCOLS, engine="process").add(uses=Shop, name="shop", replicas=2)
        flow = flow.add(uses=Broken, name="broken", uses_with={"how": "hang"})
        thread = threading.Thread(target=interrupt, args=(after,))
        try:
            thread.start()
            flow.start()
        except KeyboardInterrupt:
            pass
        thread.join()
        assert not flow.is_running
        until(lambda: not any(map(is_there, children())), 5)
    print(len(children()), *[thread.name for thread in threading.enumerate()])
"""
    with alone(tmp_path, text) as process:
        said, errors = process.communicate(timeout=60)
    # An object that was half made in that moment may be told of as a warning; it holds no process and no thread.
    assert (0, "0 MainThread") == (process.returncode, said.strip()), errors


@pytest.mark.parametrize(
    ("engine", "group", "endpoint"),
    [
        ("inline", False, "/accepted_plain"),
        ("process", False, "/accepted"),
        ("process", True, "/accepted_plain"),
        long("inline", False, "/accepted"),
        long("process", False, "/accepted_plain"),
        long("process", True, "/accepted"),
    ],
)
def test_sigterm_under_load_loses_no_request_that_was_accepted(endpoint, engine, group, tmp_path):
    """What a handler has begun is answered, over connections that are kept open, with code 0 at the end.

    A terminal, and systemd, tell the whole group of processes at the same time.
    """
    count = 2 if engine == "process" else 1
    more = f"uses_with: {{journal: JOURNAL}}, engine: {engine}, replicas: {count}"
    with Server(tmp_path, more) as server:
        answered, crew, numbers = [], [], itertools.count()
        turn = threading.Lock()

        def ask(protocol):
            with server.client(protocol, retries=0) as client, contextlib.suppress(Unavailable):
                while True:
                    with turn:
                        key = f"{protocol}{next(numbers)}"
                    docs = words(key, f"{key}.")
                    for answer in client.post(
                        endpoint, docs, request_size=1, return_responses=True, on_error=failed.append
                    ):
                        if answer.error is None:
                            answered.append(answer.docs[0].text[:-1])
                    if failed:
                        return

        failed = []
        for protocol in PROTOCOLS * 3:
            crew.append(threading.Thread(target=ask, args=(protocol,)))
        for one in crew:
            one.start()
        until(lambda: len(answered) >= 60)
        workers = children(server.pid)
        assert 0 == server.ends(group=group)
        for one in crew:
            one.join(30)
        until(lambda: not any(map(is_there, workers)))
        log = server.log.read_text()
    begun = server.journal.keys("begun")
    assert len(begun) == len(set(begun))
    assert [] == sorted(set(begun) - set(answered)), log[-3000:]
    assert all(isinstance(answer.error, Unavailable) for answer in failed), failed


# ---------------------------------------------------------------------------------------------- for long


class Troubles:
    """Clients that ask and are never to fail, and what befalls a server meanwhile."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.chance = random.Random(seed)
        self.errors: list[BaseException] = []
        self.count = dict.fromkeys(("answers", "refused", "kills", "floods", "vanished", "streams"), 0)
        self.end = threading.Event()

    def asks(self, protocol: str) -> None:
        """One after the other: what may be asked again must never fail; who is refused comes again."""
        with self.server.client(protocol) as client:
            for number in itertools.count():
                if self.end.is_set():
                    return
                endpoint = ("/work", "/shout", "/plain_work")[number % 3]
                try:
                    answer = client.post(endpoint, words(f"cup {number}"), timeout=30)
                    assert [f"CUP {number}"] == answer.texts
                    self.count["answers"] += 1
                except Overloaded:
                    self.count["refused"] += 1
                    time.sleep(0.05)

    def listens(self, protocol: str) -> None:
        """To the whole of short streams, and to the beginning of such as have no end."""
        with self.server.client(protocol) as client:
            while not self.end.wait(0.2):
                with contextlib.suppress(Overloaded, Unavailable):  # a stream is not begun anew
                    assert 50 == sum(map(len, client.stream("/parts", parameters={"to": 50})))
                    parts = client.stream("/endless")
                    next(parts)
                    parts.close()
                    self.count["streams"] += 1

    def kills(self) -> None:
        while not self.end.wait(self.chance.uniform(3, 6)):
            workers = sorted(children(self.server.pid))
            if len(workers) == 2:
                os.kill(self.chance.choice(workers), signal.SIGKILL)
                self.count["kills"] += 1

    def vanishes(self) -> None:
        while not self.end.wait(self.chance.uniform(1, 3)):
            url = self.server.urls[self.chance.choice(PROTOCOLS)]
            with asking(url, self.chance.choice(["/block", "/plain"]), 20, 0.2):
                self.end.wait(self.chance.uniform(0.3, 1.5))
            self.count["vanished"] += 1

    def floods(self) -> None:
        while not self.end.wait(self.chance.uniform(4, 8)):
            with self.server.client(self.chance.choice(PROTOCOLS)) as client:
                docs = [Document(text=f"{number}") for number in range(400)]
                client.post(
                    "/once",
                    docs,
                    request_size=1,
                    prefetch=400,
                    on_error=lambda answer: None,
                    continue_on_error=True,
                )
            self.count["floods"] += 1

    def guarded(self, what, *args) -> None:
        try:
            what(*args)
        except BaseException as error:
            self.errors.append(error)
            self.end.set()

    def last(self, seconds: float) -> None:
        """All of it for so long."""
        works = [(self.kills,), (self.vanishes,), (self.floods,)]
        works += [(what, protocol) for what in (self.asks, self.asks, self.listens) for protocol in PROTOCOLS]
        crew = [threading.Thread(target=self.guarded, args=work) for work in works]
        self.end.clear()
        for one in crew:
            one.start()
        self.end.wait(seconds)
        self.end.set()
        for one in crew:
            one.join(90)
        assert not any(one.is_alive() for one in crew)
        if self.errors:
            raise self.errors[0]


def held(pid: int) -> tuple[int, int, int]:
    """Bytes, open files and threads of a process."""
    said = re.search(r"Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return memory(pid), len(opened(pid)), int(said.group(1))


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_a_server_stands_all_of_it_for_long(tmp_path):
    """Nothing that may be asked twice ever fails, and in the end it holds what it held in the beginning."""
    said = "replicas: 2, max_concurrency: 8, max_queue: 50, retries: 5"
    seed = random.SystemRandom().randrange(1 << 30)
    print("seed", seed)
    with Server(tmp_path, said) as server:
        troubles = Troubles(server, seed)
        troubles.last(min(30.0, SECONDS / 3))  # all that grows once
        time.sleep(2)
        before = held(server.pid)
        troubles.last(SECONDS)
        until(lambda: len(children(server.pid)) == 2)
        until(lambda: held(server.pid)[1] <= before[1] + 4)
        after = held(server.pid)
        print(troubles.count, "before", before, "after", after)
        assert after[0] - before[0] < 60 * MB
        assert after[2] <= before[2] + 8  # threads are made when they are first needed
        for protocol in PROTOCOLS:
            with server.client(protocol) as client:
                assert ["A"] == client.post("/work", words("a")).texts
    assert min(troubles.count.values()) > 0, troubles.count
