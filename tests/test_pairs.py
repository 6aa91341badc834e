"""The sockets between a Flow and its worker processes: a Unix pair, or a connection of this machine to itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import BadValue
from docarray.flow import Executor, Flow, requests
from docarray.flow.faults import FlowStartError
from docarray.flow.pairs import begun

pytest.importorskip("cloudpickle", reason='pip install "docarray[flow]"')
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc, of Linux")


class Work(Executor):
    def __init__(self, how="", **kwargs):
        super().__init__(**kwargs)
        if how == "raises":
            raise RuntimeError("no tea")
        if how == "exits":
            os._exit(7)
        if how == "hangs":
            time.sleep(60)

    @requests(on="/say")
    def say(self, docs):
        docs.texts = [text + "!" for text in docs.texts]
        return {"pid": os.getpid(), "input": sys.stdin.read()}

    @requests(on="/same", idempotent=True)
    async def same(self, docs): ...

    @requests(on="/count")
    def count(self, docs):
        for at in range(3):
            yield Document(text=str(at))


@pytest.fixture
def tcp(monkeypatch):
    monkeypatch.setenv("DOCARRAY_FLOW_SOCKET", "tcp")


def flow(**options):
    return Flow(engine="process").add(name="work", uses=Work, **options)


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.02)


def said(running):
    return running.post("/say", Document(text="tea"), return_responses=True)[0]


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def connections(pid):
    """How many TCP sockets a process has."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    inodes = {f"socket:[{line.split()[9]}]" for line in lines}
    return sum(os.readlink(one) in inodes for one in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.parametrize(("kind", "count"), [("unix", 0), ("tcp", 1)])
def test_requests_cross(kind, count, monkeypatch):
    monkeypatch.setenv("DOCARRAY_FLOW_SOCKET", kind)
    big = DocumentArray(Document(embedding=np.arange(1 << 20, dtype="f4")) for _ in range(16))
    with flow(replicas=2) as running:
        answer = said(running)
        found = answer.parameters["__results__"]["work"]
        assert (answer.docs.texts, found["input"]) == (["tea!"], ""), (
            "its input is empty, as that of a service"
        )
        assert connections(found["pid"]) == count
        assert [part.texts for part in running.stream("/count", Document())] == [["0"], ["1"], ["2"]]
        assert np.array_equal(running.post("/same", big).embeddings, big.embeddings)


def test_a_kind_that_is_none(monkeypatch):
    monkeypatch.setenv("DOCARRAY_FLOW_SOCKET", "pigeon")
    with pytest.raises((BadValue, FlowStartError), match="'unix' or 'tcp'; got 'pigeon'"):
        flow().start()


@pytest.mark.usefixtures("tcp")
class TestTcp:
    """What test_process.py asks of a Unix pair, where it is not the same code."""

    @pytest.mark.parametrize(
        ("how", "match"),
        [("raises", "RuntimeError: no tea"), ("exits", "exit code 7"), ("hangs", "not ready within 1 s")],
    )
    def test_one_that_does_not_start_says_why(self, how, match):
        with pytest.raises(FlowStartError, match=match):
            flow(uses_with={"how": how}, timeout_ready=1 if how == "hangs" else 30).start()

    def test_one_that_ends_before_it_has_come(self, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(FlowStartError, match="work/rep-0 ended before it was ready: exit code 1"):
            flow().start()

    def test_one_that_is_killed_is_started_anew(self):
        with flow() as running:
            pid = said(running).parameters["__results__"]["work"]["pid"]
            os.kill(pid, signal.SIGKILL)
            until(lambda: running.status()["work"]["restarts"] == 1 and running.is_flow_ready())
            assert said(running).docs.texts == ["tea!"]

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
    def test_none_outlives_the_process_of_the_flow(self, tmp_path, how):
        script = tmp_path / "serve.py"
        script.write_text(
            textwrap.dedent(
                """
                import time
                from docarray.flow import Executor, Flow, requests

                class Hangs(Executor):
                    @requests
                    def hang(self, docs):
                        time.sleep(60)

                with Flow(engine="process").add(name="work", uses=Hangs) as flow:
                    print(flow.status()["work"]["replicas"][0]["pid"], flush=True)
                    flow.post("/", None)
                """
            )
        )
        with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as started:
            pid = int(started.stdout.readline())
            assert is_there(pid)
            started.send_signal(how)
            started.wait(20)
            until(lambda: not is_there(pid), 20)

    def test_a_stranger_is_sent_away(self):
        """Who knows the port but not the word does not come in, and does not keep the right one out."""
        strangers: list[socket.socket] = []
        script = (
            "import socket, sys; told = sys.stdin.buffer.read(34); port = int.from_bytes(told[:2], 'big');"
            "a = socket.create_connection(('127.0.0.1', port)); a.sendall(b'x' * 32); assert a.recv(1) == b'';"
            "b = socket.create_connection(('127.0.0.1', port)); b.sendall(told[2:]); b.sendall(b'it is me'); b.recv(1)"
        )
        with begun(lambda end: [sys.executable, "-c", script], os.environ, strangers.append, 30) as ours:
            ours.settimeout(10)
            assert ours.recv(8) == b"it is me"
        (process,) = strangers
        process.stdin.close()
        process.wait(10)

    def test_one_that_never_comes_is_not_waited_for(self):
        born = []
        with pytest.raises(ConnectionError):
            begun(
                lambda end: [sys.executable, "-c", "import time; time.sleep(30)"],
                os.environ,
                born.append,
                0.5,
            )
        (process,) = born
        process.kill()
        process.stdin.close()
        process.wait()

    def test_nothing_is_left_open(self):
        before = threading.active_count(), len(os.listdir("/proc/self/fd"))
        with flow() as running:
            said(running)
        assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
