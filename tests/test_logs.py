from __future__ import annotations

import asyncio
import json
import logging
import os
import threading

import pytest

from docarray import Document, DocumentArray
from docarray.flow import Executor, Flow, dynamic_batching, requests
from docarray.flow.faults import ExecutorError, FlowStartError
from docarray.flow.logs import JsonFormatter, Relay, RequestFilter, entered, relayed, request_id

HERE = logging.getLogger("tests.worker")


class Talks(Executor):
    def __init__(self, fails=False, **kwargs):
        super().__init__(**kwargs)
        HERE.warning("constructed")
        if fails:
            raise RuntimeError("no")

    def warmup(self):
        HERE.warning("warm")

    def close(self):
        HERE.warning("closed")

    @requests(on="/plain")
    def plain(self, docs, **kwargs):
        HERE.warning(
            "plain %s of %d", docs[0].text, len(docs), extra={"tenant": "tea", "lock": threading.Lock()}
        )
        self.logger.warning("by its own")
        docs.texts = [request_id() for _ in docs]

    @requests(on="/awaited")
    async def awaited(self, docs, **kwargs):
        await asyncio.sleep(0)
        HERE.warning("awaited")
        docs.texts = [request_id() for _ in docs]

    @requests(on="/parts")
    def parts(self, docs, **kwargs):
        for _ in range(2):
            yield Document(text=request_id())

    @requests(on="/aparts")
    async def aparts(self, docs, **kwargs):
        for _ in range(2):
            await asyncio.sleep(0)
            yield Document(text=request_id())

    @requests(on="/one")
    async def one(self, doc: Document):
        await asyncio.sleep(0)
        doc.text = request_id()

    @dynamic_batching(preferred_batch_size=2, timeout=2_000)
    @requests(on="/batch")
    def batch(self, docs, **kwargs):
        docs.texts = [request_id() for _ in docs]

    @requests(on="/bad")
    def bad(self, docs, **kwargs):
        try:
            raise KeyError("inner")
        except KeyError:
            HERE.exception("caught")
        HERE.debug("not shown: the level of the Flow's process is said to that of the worker")


@pytest.fixture(scope="module", params=["inline", "process"])
def flow(request):
    with Flow(engine=request.param).add(name="talks", uses=Talks) as flow:
        yield flow


@pytest.fixture
def caught(caplog):
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(one := RequestFilter())
    yield caplog
    caplog.handler.removeFilter(one)


def lines(caught, name="tests.worker"):
    return [one for one in caught.records if one.name == name]


def mark_of(flow, endpoint, docs=None):
    (answer,) = flow.post(endpoint, docs or Document(text="a"), return_responses=True)
    return answer.request_id, answer.docs.texts


@pytest.mark.parametrize("endpoint", ["/plain", "/awaited", "/one"])
def test_handlers_know_their_request(flow, endpoint):
    mark, texts = mark_of(flow, endpoint, [Document(text="a"), Document(text="b")])

    assert texts == [mark, mark]
    assert request_id() == ""


@pytest.mark.parametrize("endpoint", ["/parts", "/aparts"])
def test_generators_know_it_while_they_work_and_no_longer(flow, endpoint):
    between = []
    parts = []
    for part in flow.stream(endpoint, Document()):
        between.append(request_id())
        parts += part.texts

    assert between == ["", ""]
    assert len(parts[0]) == 32
    assert parts == [parts[0]] * 2


def test_a_batch_has_the_ids_of_all(flow):
    answers = flow.post("/batch", DocumentArray.empty(2), request_size=1, return_responses=True)

    marks = {answer.request_id for answer in answers}
    assert [set(answer.docs[0].text.split(",")) for answer in answers] == [marks, marks]


def test_what_is_logged_is_logged_here_with_its_request(flow, caught):
    mark, _ = mark_of(flow, "/plain")

    (line,) = lines(caught)
    assert (line.getMessage(), line.levelname, line.request_id, line.tenant) == (
        "plain a of 1",
        "WARNING",
        mark,
        "tea",
    )
    assert line.filename == "test_logs.py"
    assert (line.process == os.getpid()) == (flow.spec.engine == "inline")


def test_lines_of_requests_at_the_same_time_do_not_mix(flow, caught):
    answers = flow.post(
        "/plain", [Document(text=str(n)) for n in range(20)], request_size=1, return_responses=True
    )

    said = {line.getMessage(): line.request_id for line in lines(caught)}
    assert said == {f"plain {n} of 1": answer.request_id for n, answer in enumerate(answers)}


def test_tracebacks_come_along(flow, caught):
    mark_of(flow, "/bad")

    (line,) = lines(caught)
    assert "KeyError: 'inner'" in logging.Formatter().format(line)
    assert json.loads(JsonFormatter().format(line))["exception"].endswith("KeyError: 'inner'")


def test_levels_are_those_of_the_flow(caught):
    caught.set_level(logging.ERROR, "tests.worker")
    with Flow(engine="process").add(name="talks", uses=Talks) as flow:
        mark_of(flow, "/plain")

    assert lines(caught) == []


def test_constructors_warmups_and_closes(caught):
    with Flow(engine="process").add(name="talks", uses=Talks):
        assert [line.getMessage() for line in lines(caught)] == ["constructed", "warm"]

    assert [line.getMessage() for line in lines(caught)] == ["constructed", "warm", "closed"]


def test_what_was_said_before_it_failed(caught):
    with pytest.raises(FlowStartError):
        Flow(engine="process").add(name="talks", uses=Talks, uses_with={"fails": True}).start()

    assert [line.getMessage() for line in lines(caught)] == ["constructed"]


def test_a_logger_of_an_executor_knows_it_without_a_filter(flow, caplog):
    caplog.set_level(logging.INFO)
    mark, _ = mark_of(flow, "/plain")

    (line,) = lines(caplog, "docarray.flow.talks/rep-0")
    assert line.request_id == mark


def test_the_line_of_a_failure_here_is_not_doubled(flow, caught):
    class Fails(Executor):
        @requests
        def fail(self, docs, **kwargs):
            HERE.error("about to")
            raise ValueError("no")

    with Flow(engine="process").add(uses=Fails) as other, pytest.raises(ExecutorError):
        other.post("/", Document())

    assert len(lines(caught)) == 1


# ---------------------------------------------------------------------------------------------- its parts


def test_entered_may_be_nested():
    with entered("a", None):
        with entered("b", None):
            assert request_id() == "b"
        assert request_id() == "a"
    assert request_id() == ""


def test_a_relay_that_cannot_send_says_it_on_stderr(caplog, capsys):
    caplog.set_level(logging.INFO)
    sent = []
    relay = Relay(lambda body: sent.append(body) is None)
    relay._spare.stream = __import__("sys").stderr
    relay.handle(logging.makeLogRecord({"name": "a", "msg": "one %s", "args": (object(),), "levelno": 20}))
    relay.to(lambda body: False)
    relay.handle(logging.makeLogRecord({"name": "a", "msg": "two", "levelno": 20, "levelname": "INFO"}))

    assert len(sent) == 1
    assert "INFO a : two" in capsys.readouterr().err
    relayed(sent[0])
    assert caplog.records[-1].getMessage().startswith("one <object")


def test_json_of_a_record():
    record = logging.makeLogRecord(
        {"name": "a", "levelname": "INFO", "msg": "m", "request_id": "r", "tenant": "tea", "odd": {1}}
    )

    said = json.loads(JsonFormatter().format(record))
    assert {name: said[name] for name in ("level", "logger", "message", "request_id", "tenant", "odd")} == {
        "level": "INFO",
        "logger": "a",
        "message": "m",
        "request_id": "r",
        "tenant": "tea",
        "odd": "{1}",
    }
    assert said["time"].endswith("+00:00")
