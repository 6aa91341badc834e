"""What Executors remember, from one process to the next."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from docarray import Document
from docarray.errors import BadValue
from docarray.flow import Deployment, Executor, Flow, requests
from docarray.flow.faults import ExecutorError, FlowStartError, NotRunning, Unavailable

pytest.importorskip("cloudpickle", reason='pip install "docarray[flow]"')

ENGINES = [
    "inline",
    pytest.param("process", marks=pytest.mark.skipif(sys.platform == "win32", reason="of Unix")),
]


class Tally(Executor):
    """Counts what it was sent, and remembers the count."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.count = 0
        self.warm = None

    def snapshot(self, path):
        if self.count < 0:
            raise ValueError("the count is not right")
        assert not os.listdir(path)
        Path(path, "count").write_text(str(self.count))

    def restore(self, path):
        self.count = int(Path(path, "count").read_text())

    def warmup(self):
        self.warm = self.count

    @requests(on="/add")
    def add(self, docs, parameters):
        self.count += int(parameters.get("by", 1))
        return {"count": self.count, "warm": self.warm, "pid": os.getpid()}

    @requests(on="/exit")
    def exit(self, docs):
        raise KeyError("all is lost")


class Slowly(Tally):
    """The same in coroutines."""

    async def snapshot(self, path):
        await asyncio.sleep(0)
        super().snapshot(path)

    async def restore(self, path):
        await asyncio.sleep(0)
        super().restore(path)


class Plain(Executor):
    @requests
    def nothing(self, docs): ...


def tally(folder, engine, uses=Tally, **options):
    return Flow(engine=engine).add(name="tally", uses=uses, snapshots=folder, **options)


def add(flow, endpoint="/add", **parameters):
    answer = flow.post(endpoint, Document(), parameters=parameters, return_responses=True)
    return answer[0].parameters["__results__"]["tally"]


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.02)


@pytest.mark.parametrize("uses", [Tally, Slowly])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_next_flow_goes_on_where_the_last_one_ended(tmp_path, engine, uses):
    with tally(tmp_path, engine, uses) as flow:
        assert [add(flow)["count"], add(flow)["count"]] == [1, 2]

    with tally(tmp_path, engine, uses) as flow:
        found = add(flow)

    assert (found["count"], found["warm"]) == (3, 2), "what it remembers is there before it warms up"
    assert [one.name for one in (tmp_path / "tally" / "rep-0").iterdir()] == ["2"], "the newest alone is kept"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_snapshot_when_it_is_asked_for(tmp_path, engine):
    with tally(tmp_path, engine) as flow:
        add(flow, by=5)
        (folder,) = flow.snapshot()

        assert Path(folder, "count").read_text() == "5"
    with pytest.raises(NotRunning):
        flow.snapshot()


@pytest.mark.parametrize("engine", ENGINES)
def test_each_replica_of_each_shard_keeps_its_own(tmp_path, engine):
    with tally(tmp_path, engine, shards=2, replicas=2, uses_before=Plain, polling="ALL") as flow:
        folders = flow.snapshot()

    assert [Path(one).relative_to(tmp_path).as_posix() for one in folders] == [
        f"tally/shard-{shard}/rep-{replica}/1" for shard in (0, 1) for replica in (0, 1)
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_snapshot_that_fails_leaves_the_one_before(tmp_path, engine, caplog):
    with tally(tmp_path, engine) as flow:
        add(flow, by=7)
        flow.snapshot()
        add(flow, by=-10)
        with pytest.raises(ExecutorError, match="tally/rep-0 raised ValueError: the count is not right"):
            flow.snapshot()
    assert "the count is not right" in caplog.text, "the end of the Flow says it too"

    with tally(tmp_path, engine) as flow:
        assert add(flow)["count"] == 8


@pytest.mark.parametrize("engine", ENGINES)
def test_what_cannot_be_remembered_is_an_error_and_stays(tmp_path, engine):
    folder = tmp_path / "tally" / "rep-0" / "3"
    folder.mkdir(parents=True)
    (folder / "count").write_text("many")

    with pytest.raises(FlowStartError, match=r"tally/rep-0: restore\('.*3'\) raised ValueError"):
        tally(tmp_path, engine).start()

    assert (folder / "count").read_text() == "many"
    assert [one.name for one in folder.parent.iterdir()] == ["3"]


def test_half_a_snapshot_does_not_count(tmp_path):
    """A process was killed while it wrote."""
    folder = tmp_path / "tally" / "rep-0"
    for name, text in ("4", "40"), ("5.part", "garbage"):
        (folder / name).mkdir(parents=True)
        (folder / name / "count").write_text(text)

    with tally(tmp_path, "inline") as flow:
        assert add(flow)["count"] == 41

    assert {one.name: (one / "count").read_text() for one in folder.iterdir()} == {"5": "41"}


@pytest.mark.parametrize("engine", ENGINES)
def test_who_has_no_snapshot_says_so(tmp_path, engine):
    with pytest.raises(FlowStartError, match=r"snapshot\(path\); Plain has none"):
        tally(tmp_path, engine, Plain).start()


def test_an_external_one_keeps_nothing_here(tmp_path):
    with pytest.raises(BadValue, match="deployment 'far': snapshots"):
        Flow().add(name="far", external=True, host="grpc://127.0.0.1:1", snapshots=tmp_path)


def test_without_snapshots_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Deployment(uses=Tally) as tally:
        assert tally.snapshot() == []

    assert os.listdir(tmp_path) == []


def test_the_folder_is_an_option_of_yaml(tmp_path):
    said = tally(tmp_path, "inline").save_config()

    with Flow.load_config(said, **{}) as flow:
        assert flow["tally"].snapshots == str(tmp_path)
        assert len(flow.snapshot()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="of Unix")
class TestProcesses:
    def restarted(self, flow, how):
        pid = add(flow, by=10)["pid"]
        how(pid)
        until(lambda: flow.status()["tally"]["replicas"][0]["pid"] != pid)
        until(flow.is_flow_ready)

    def test_one_that_is_killed_has_its_last_snapshot(self, tmp_path):
        with tally(tmp_path, "process") as flow:
            add(flow)
            flow.snapshot()

            self.restarted(flow, lambda pid: os.kill(pid, signal.SIGKILL))

            assert add(flow)["count"] == 2, "the ten came after the snapshot"

    def test_one_that_is_told_to_end_forgets_nothing(self, tmp_path):
        with tally(tmp_path, "process") as flow:
            self.restarted(flow, lambda pid: os.kill(pid, signal.SIGTERM))

            assert add(flow)["count"] == 11

    def test_one_that_ends_after_a_fatal_error_keeps_nothing(self, tmp_path):
        """What it holds may be what made it fail."""
        with tally(tmp_path, "process", exit_on_exceptions=["KeyError"]) as flow:

            def fails(pid):
                with pytest.raises(ExecutorError, match="KeyError"):
                    flow.post("/exit", Document())

            self.restarted(flow, fails)

            assert add(flow)["count"] == 1

    def test_one_that_does_not_run_is_told(self, tmp_path):
        with tally(tmp_path, "process") as flow:
            os.kill(add(flow)["pid"], signal.SIGKILL)
            until(lambda: flow.status()["tally"]["state"] != "ready")
            with pytest.raises(Unavailable, match="tally/rep-0 does not run just now"):
                flow.snapshot()
