"""Executors in processes of their own: what crosses, what ends, what is started anew."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from everything import difference, everything

from docarray import Document, DocumentArray
from docarray.errors import BadValue
from docarray.flow import Executor, Flow, dynamic_batching, requests
from docarray.flow.faults import (
    BadRequest,
    DeadlineExceeded,
    ExecutorError,
    FlowStartError,
    Overloaded,
    RemoteTraceback,
    Unavailable,
)
from docarray.flow.process import devices

pytest.importorskip("cloudpickle", reason='pip install "docarray[flow]"')
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="worker processes are of Unix")


def words(*texts):
    return DocumentArray(Document(id=text, text=text) for text in texts)


class Odd(ValueError):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Work(Executor):
    def __init__(self, mark: str = "!", **kwargs):
        super().__init__(**kwargs)
        self.mark = mark

    @requests(on="/say")
    def say(self, docs, parameters):
        docs.texts = [text + self.mark for text in docs.texts]
        return {"pid": os.getpid(), "parameters": parameters}

    @requests(on="/same")
    async def same(self, docs): ...

    @requests(on="/fail")
    def fail(self, docs):
        raise KeyError("nothing")

    @requests(on="/odd")
    def odd(self, docs):
        raise Odd(1, 2)

    @requests(on="/bad")
    def bad(self, docs):
        raise BadRequest("this is no tea")

    @requests(on="/exit")
    def exit(self, docs):
        os._exit(3)

    @requests(on="/sleep", idempotent=True)
    async def sleep(self, docs):
        await asyncio.sleep(0.05)
        return {"pid": os.getpid()}

    @requests(on="/long")
    async def long(self, docs):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            Path(docs[0].text).write_text("cancelled")
            raise

    @requests(on="/slow")
    def slow(self, docs):
        time.sleep(0.3)
        return {"pid": os.getpid()}

    @requests(on="/count")
    def count(self, docs, parameters):
        for at in range(int(parameters.get("to", 3))):
            Path(parameters["file"]).write_text(str(at)) if "file" in parameters else None
            yield Document(text=str(at))


@pytest.fixture(scope="module")
def flow():
    with Flow(engine="process").add(uses=Work, name="work", uses_with={"mark": "?"}) as running:
        yield running


def results(answer, name="work"):
    return answer.parameters["__results__"][name]


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


# ---------------------------------------------------------------------------------------------- what crosses


def test_a_request_is_worked_on_elsewhere(flow):
    answer = flow.post("/say", words("a", "b"), parameters={"k": 1, "f": 0.5}, return_responses=True)[0]
    assert ["a?", "b?"] == answer.docs.texts
    assert os.getpid() != results(answer)["pid"] == flow.status()["work"]["replicas"][0]["pid"]
    assert {"k": 1, "f": 0.5} == results(answer)["parameters"]
    assert type(results(answer)["parameters"]["k"]) is int


@pytest.mark.parametrize("count", [1, 3, 40])
def test_documents_come_back_as_they_went(flow, count):
    sent = DocumentArray([everything(number=at) for at in range(count)])
    found = flow.post("/same", sent)
    assert None is difference(sent, found)


@pytest.mark.parametrize(
    "doc",
    [
        Document(
            id="a", text="text", tags={"a": {"b": [1, None, 0.5]}}, embedding=np.arange(3, dtype=np.float16)
        ),
        Document(id="b", blob=b"\x00\xff", mime_type="image/png", uri="x.png"),
        Document(id="c", tensor=np.ones((2, 3), np.uint8), parent_id="a", granularity=1, adjacency=2),
        Document(
            id="d", weight=0.5, scores={"cosine": 1.0}, chunks=[Document(text="x")], matches=[Document()]
        ),
        Document(id="e", embedding=[1, 2]),
        Document(id="f"),
    ],
    ids=lambda doc: doc.id,
)
def test_each_kind_of_document_comes_back_as_it_went(flow, doc):
    assert None is difference(DocumentArray([doc]), flow.post("/same", doc))


def test_sixty_four_megabytes_cross(flow):
    sent = Document(tensor=np.random.default_rng(1).random(8 << 20))
    assert np.array_equal(sent.tensor, flow.post("/same", sent)[0].tensor)


def test_what_is_raised_there_is_raised_here(flow):
    with pytest.raises(ExecutorError, match="work raised KeyError: 'nothing'") as caught:
        flow.post("/fail", words("a"))
    assert isinstance(caught.value.__cause__, KeyError)
    assert isinstance(caught.value.__cause__.__cause__, RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__.__cause__)
    assert caught.value.request_id
    with pytest.raises(ExecutorError, match="1 and 2") as caught:
        flow.post("/odd", words("a"))
    assert isinstance(caught.value.__cause__, RemoteTraceback)  # it cannot be made of its message
    with pytest.raises(BadRequest, match="this is no tea"):
        flow.post("/bad", words("a"))


def test_parameters_that_cannot_cross_are_refused(flow):
    with pytest.raises(BadRequest, match="cannot be sent"):
        flow.post("/say", words("a"), parameters={"lock": threading.Lock()})


def test_parts_come_as_they_are_made(flow, tmp_path):
    assert [["0"], ["1"], ["2"]] == [part.texts for part in flow.stream("/count")]
    file = tmp_path / "made"
    stream = flow.stream("/count", parameters={"to": 100_000, "file": str(file)})
    assert ["0"] == next(stream).texts
    time.sleep(0.2)
    assert int(file.read_text()) < 10  # no more is made than is taken, and a few
    stream.close()
    until(lambda: flow.status()["work"]["replicas"][0]["busy"] == 0)


def test_who_does_not_wait_any_more_ends_the_work(flow, tmp_path):
    file = tmp_path / "said"
    with pytest.raises(DeadlineExceeded):
        flow.post("/long", Document(text=str(file)), timeout=0.2)
    until(file.exists)
    assert 0 == flow.status()["work"]["replicas"][0]["busy"]


def test_plain_methods_hold_nobody_up(flow):
    slow = threading.Thread(target=flow.post, args=("/slow", words("a")))
    slow.start()
    begun = time.monotonic()
    flow.post("/same", words("b"))
    assert time.monotonic() - begun < 0.2
    slow.join()


def test_batches_are_made_there():
    class Encode(Executor):
        @dynamic_batching(preferred_batch_size=4, timeout=500)
        @requests
        def encode(self, docs):
            docs.texts = [str(len(docs))] * len(docs)

    with Flow(engine="process").add(uses=Encode) as flow:
        assert ["4"] * 8 == flow.post("/", words(*"abcdefgh"), request_size=1).texts


def test_more_than_may_wait_are_refused():
    with Flow(engine="process").add(uses=Work, max_queue=1) as flow:
        answers = flow.post(
            "/slow", words(*"abcdef"), request_size=1, return_responses=True, on_error=lambda answer: None
        )
    refused = [answer.error for answer in answers if answer.error is not None]
    assert 4 == len(refused)
    assert all(isinstance(error, Overloaded) for error in refused)


def test_shards_are_processes_too(tmp_path):
    class Shelf(Executor):
        held: DocumentArray

        def warmup(self):
            self.held = DocumentArray()

        @requests(on="/index")
        def index(self, docs):
            self.held.extend(docs)

        @requests(on="/search")
        def search(self, docs):
            for doc in docs:
                doc.matches = self.held
                doc.tags[str(self.runtime_args.shard_id)] = os.getpid()

    with Flow(engine="process", workspace=tmp_path).add(
        uses=Shelf, shards=2, polling={"/search": "ALL"}
    ) as flow:
        flow.post("/index", words(*"abcd"), request_size=1)
        doc = flow.post("/search", Document(text="x"))[0]
    assert 2 == len(set(doc.tags.values()))
    assert set("abcd") == {match.id for match in doc.matches}


# ---------------------------------------------------------------------------------------------- beginning


class Broken(Executor):
    def __init__(self, how: str, **kwargs):
        super().__init__(**kwargs)
        if how == "raise":
            raise RuntimeError("no gpu")
        if how == "exit":
            os._exit(7)
        if how == "hang":
            time.sleep(60)
        self.how = how

    def warmup(self):
        if self.how == "cold":
            raise RuntimeError("too cold")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "broken/rep-0 did not start: RuntimeError: no gpu"),
        ("exit", "ended before it was ready: exit code 7"),
        ("hang", r"not ready within 1\.5 s"),
        ("cold", "too cold"),
    ],
)
def test_a_process_that_does_not_start_says_why(how, said):
    begun = time.monotonic()
    flow = (
        Flow(engine="process")
        .add(uses=Work)
        .add(uses=Broken, name="broken", uses_with={"how": how}, timeout_ready=1.5 if how == "hang" else 20)
    )
    with pytest.raises(FlowStartError, match=said) as caught:
        flow.start()
    assert time.monotonic() - begun < 8
    if how in ("raise", "cold"):
        assert "Traceback" in str(caught.value.__cause__)
    assert not flow.is_running


def test_what_cannot_be_sent_is_an_error_that_names_the_deployment():
    with pytest.raises(BadValue, match="'work' cannot be sent"):
        Flow(engine="process").add(uses=Work, name="work", uses_with={"mark": threading.Lock()}).start()


def test_classes_of_a_script_go_by_value(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from docarray import Document
            from docarray.flow import Executor, Flow, requests

            SECRET = "secret"

            class Script(Executor):
                @requests
                def say(self, docs):
                    docs.texts = [SECRET for _ in docs]

            if __name__ == "__main__":
                with Flow().add(uses=Script, replicas=2) as flow:
                    print(flow.post("/", Document()).texts, len(flow.status()["executor0"]["replicas"]))
            """
        )
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
        check=False,
    )
    assert ("['secret'] 2\n", "") == (done.stdout, done.stderr)


def test_environment_and_devices_are_dealt(monkeypatch):
    class Env(Executor):
        @requests
        def say(self, docs):
            return {"cuda": os.environ.get("CUDA_VISIBLE_DEVICES"), "word": os.environ.get("WORD")}

    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "3")
    with Flow().add(
        uses=Env, name="env", replicas=4, env={"CUDA_VISIBLE_DEVICES": "RR", "WORD": "said"}
    ) as flow:
        answers = flow.post("/", words(*"abcdefgh"), request_size=1, return_responses=True)
    said = {tuple(results(answer, "env").values()) for answer in answers}
    assert {("0", "said"), ("1", "said"), ("2", "said")} == said


@pytest.mark.parametrize(
    ("said", "dealt"),
    [
        ("RR", "0123"),
        ("RR1:3", "1212"),
        ("RR2:", "2323"),
        ("RR:2", "0101"),
        ("RR0,2", "0202"),
        ("RRGPU-a,GPU-b", ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]),
        ("RR3", "3333"),
        ("1", "1111"),
    ],
)
def test_devices_are_dealt_in_turn(said, dealt, monkeypatch):
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "4")
    given = [devices({"CUDA_VISIBLE_DEVICES": said}, at)["CUDA_VISIBLE_DEVICES"] for at in range(4)]
    assert list(dealt) == given


def test_devices_that_are_none_are_refused(monkeypatch):
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "4")
    with pytest.raises(BadValue, match="RRx"):
        devices({"CUDA_VISIBLE_DEVICES": "RRx"}, 0)


# ---------------------------------------------------------------------------------------------- ending, and anew


def test_a_process_that_ends_is_started_anew():
    with Flow(engine="process").add(uses=Work, name="work") as flow:
        before = flow.status()["work"]["replicas"][0]["pid"]
        with pytest.raises(Unavailable, match="ended while it worked"):
            flow.post("/exit", words("a"))
        assert ["b!"] == flow.post("/say", words("b")).texts  # it waits for the new one
        status = flow.status()["work"]["replicas"][0]
        assert before != status["pid"]
        assert (1, "ready") == (status["restarts"], status["state"])


def test_no_request_is_lost_where_a_process_is_killed():
    """With two of them, under load, where handlers say that they may be called again."""
    failed, pids = [], set()
    with Flow().add(uses=Work, name="work", replicas=2) as flow:
        victim = flow.status()["work"]["replicas"][0]["pid"]
        stop = threading.Event()

        def load():
            while not stop.is_set():
                answer = flow.post("/sleep", words("a"), return_responses=True, on_error=failed.append)[0]
                if answer.error is None:
                    pids.add(results(answer)["pid"])

        clients = [threading.Thread(target=load) for _ in range(6)]
        for client in clients:
            client.start()
        time.sleep(0.3)
        os.kill(victim, signal.SIGKILL)
        begun = time.monotonic()
        until(lambda: all(one["state"] == "ready" for one in flow.status()["work"]["replicas"]), 6)
        until(lambda: len(pids) == 3)
        assert time.monotonic() - begun < 6
        stop.set()
        for client in clients:
            client.join()
    assert [] == [answer.error for answer in failed]


def test_a_process_ends_after_errors_that_are_fatal():
    flow = Flow(engine="process").add(uses=Work, name="work", exit_on_exceptions=["KeyError"])
    with flow:
        before = flow.status()["work"]["replicas"][0]["pid"]
        with pytest.raises(ExecutorError, match="KeyError"):
            flow.post("/fail", words("a"))
        until(
            lambda: (
                flow.status()["work"]["replicas"][0]["pid"] != before
                and flow.status()["work"]["replicas"][0]["state"] == "ready"
            )
        )
        assert ["a!"] == flow.post("/say", words("a")).texts


def test_a_process_that_never_starts_again_is_left_alone(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("docarray.flow.process._FAILURES", 2)
    flag = tmp_path / "broken"

    class Once(Executor):
        def __init__(self, file: str, **kwargs):
            super().__init__(**kwargs)
            if Path(file).exists():
                raise RuntimeError("not twice")

        @requests(on="/exit")
        def exit(self, docs):
            os._exit(3)

    with Flow(engine="process").add(uses=Once, name="once", uses_with={"file": str(flag)}) as flow:
        flag.touch()
        with pytest.raises(Unavailable):
            flow.post("/exit", words("a"))
        until(lambda: flow.status()["once"]["replicas"][0]["state"] == "degraded", 15)
        with pytest.raises(Unavailable, match="degraded"):
            flow.post("/exit", words("a"))
        assert not flow.is_flow_ready()
    assert "not twice" in caplog.text


def test_a_process_that_works_when_it_is_there_is_never_left_alone(monkeypatch):
    """However often it is killed: what counts as in vain is a start that did not succeed."""
    monkeypatch.setattr("docarray.flow.process._FAILURES", 2)
    with Flow(engine="process").add(uses=Work, name="work") as flow:
        for count in range(1, 5):
            os.kill(results(flow.post("/say", words("a"), return_responses=True)[0])["pid"], signal.SIGKILL)
            until(lambda: flow.status()["work"]["replicas"][0]["restarts"] == count)  # noqa: B023
            until(flow.is_flow_ready)


def test_the_end_waits_for_what_is_under_way_and_leaves_nothing(tmp_path):
    class Slow(Executor):
        def __init__(self, file: str, **kwargs):
            super().__init__(**kwargs)
            self.file = file

        @requests
        def slow(self, docs):
            time.sleep(0.4)
            docs.texts = ["done"]

        def close(self):
            Path(self.file).write_text("closed")

    file = tmp_path / "end"
    found = []
    flow = Flow(engine="process").add(uses=Slow, name="slow", uses_with={"file": str(file)}).start()
    pid = flow.status()["slow"]["replicas"][0]["pid"]
    client = threading.Thread(target=lambda: found.extend(flow.post("/", words("a")).texts))
    client.start()
    time.sleep(0.15)
    flow.close()
    client.join()
    assert ["done"] == found
    assert "closed" == file.read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_does_not_end_is_killed():
    class Stuck(Executor):
        def close(self):
            time.sleep(60)

    flow = Flow(engine="process").add(uses=Stuck, name="stuck", timeout_close=0.3).start()
    begun = time.monotonic()
    flow.close()
    assert time.monotonic() - begun < 3


def test_no_process_outlives_the_one_of_the_flow(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            from docarray.flow import Executor, Flow

            if __name__ == "__main__":
                flow = Flow().add(replicas=2).start()
                print(*[one["pid"] for one in flow.status()["executor0"]["replicas"]], flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        timeout=60,
        check=False,
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert 2 == len(pids)

    def gone(pid):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"

    until(lambda: all(map(gone, pids)))


def test_ten_thousand_requests_leave_nothing_behind(flow):
    replica = flow._running.groups["work"].shards[0].replicas[0]
    flow.post("/same", words(*map(str, range(2_000))), request_size=1, on_done=lambda answer: None)
    assert {} == replica._calls
    assert {} == replica._streams
    assert 0 == replica.busy
