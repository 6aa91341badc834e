"""Executors that go wrong in each way, Flows of them as processes of their own, and what is left of a Flow.

What a handler begins and how it ends is a line of a file, the journal, so that it is known in which process it ever is.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from docarray import Document, DocumentArray
from docarray.flow import Client, Executor, requests
from docarray.flow.faults import BadRequest, DeadlineExceeded, NoEndpoint, Overloaded, Unavailable

TESTS = Path(__file__).parents[1]
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    "PYTHONWARNINGS": "error",
}
PROTOCOLS = ("http", "websocket", "grpc")
MB = 1 << 20


class TooManyCups(Overloaded):
    """A fault of one's own."""


class Shop(Executor):
    """Each endpoint takes the journal from its constructor."""

    def __init__(self, journal: str = os.devnull, **kwargs):
        super().__init__(**kwargs)
        self.journal = journal

    def note(self, *words):
        with open(self.journal, "a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    @requests(on="/shout", idempotent=True)
    def shout(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/work", idempotent=True)
    async def work(self, docs, parameters, **kwargs):
        await asyncio.sleep(parameters.get("seconds", 0.02))
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/plain_work", idempotent=True)
    def plain_work(self, docs, parameters, **kwargs):
        time.sleep(parameters.get("seconds", 0.02))
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/once")
    async def once(self, docs, **kwargs):
        """The same, not to be asked twice."""
        await asyncio.sleep(0.02)
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/block")
    async def block(self, docs, parameters, **kwargs):
        """Works so long, and says whether it could."""
        (key,) = docs.texts
        self.note("begun", key)
        try:
            await asyncio.sleep(parameters.get("seconds", 60))
        except asyncio.CancelledError:
            self.note("cancelled", key)
            raise
        self.note("done", key)

    @requests(on="/plain")
    def plain(self, docs, parameters, **kwargs):
        """The same in a thread, where nobody can end it."""
        (key,) = docs.texts
        self.note("begun", key)
        time.sleep(parameters.get("seconds", 0.3))
        self.note("done", key)

    @requests(on="/boom")
    def boom(self, docs, **kwargs):
        raise ValueError("the tea is cold")

    @requests(on="/boom_later")
    async def boom_later(self, docs, **kwargs):
        await asyncio.sleep(0)
        raise ValueError("the tea is cold")

    @requests(on="/fault")
    def fault(self, docs, parameters, **kwargs):
        raise fault(parameters["kind"])

    @requests(on="/fault_later")
    async def fault_later(self, docs, parameters, **kwargs):
        raise fault(parameters["kind"])

    @requests(on="/fault_parts")
    async def fault_parts(self, docs, parameters, **kwargs):
        raise fault(parameters["kind"])
        yield

    @requests(on="/size")
    def size(self, docs, **kwargs):
        docs[:, "tags"] = [{"size": len(doc.blob)} for doc in docs]
        docs.blobs = [b""] * len(docs)

    @requests(on="/large")
    def large(self, docs, parameters, **kwargs):
        return DocumentArray([Document(id="large", blob=bytes(int(parameters["bytes"])))])

    @requests(on="/parts")
    async def parts(self, docs, parameters, **kwargs):
        for number in range(int(parameters.get("to", 3))):
            yield Document(text=str(number))

    @requests(on="/endless")
    async def endless(self, docs, **kwargs):
        made = 0
        self.note("begun")
        try:
            while True:
                made += 1
                yield Document(text="x" * 100_000)
        finally:
            self.note("closed", made)

    @requests(on="/endless_plain")
    def endless_plain(self, docs, **kwargs):
        made = 0
        self.note("begun")
        try:
            while True:
                made += 1
                yield Document(text="x" * 100_000)
        finally:
            self.note("closed", made)

    @requests(on="/accepted")
    async def accepted(self, docs, **kwargs):
        """What SIGTERM must not lose: not to be asked twice."""
        (key,) = docs.texts
        self.note("begun", key)
        await asyncio.sleep(0.05)
        docs.texts = [f"{key}!"]

    @requests(on="/accepted_plain")
    def accepted_plain(self, docs, **kwargs):
        (key,) = docs.texts
        self.note("begun", key)
        time.sleep(0.02)
        docs.texts = [f"{key}!"]


class After(Executor):
    """What comes after it in a Flow, and must not be asked where that fails."""

    def __init__(self, journal: str = os.devnull, **kwargs):
        super().__init__(**kwargs)
        self.journal = journal

    @requests
    def after(self, docs, **kwargs):
        with open(self.journal, "a") as file:
            file.write("after\n")


class Broken(Executor):
    """Its constructor goes wrong in one way or another."""

    def __init__(self, how: str = "raise", **kwargs):
        super().__init__(**kwargs)
        if how == "raise":
            raise RuntimeError("no water in the kettle")
        if how == "hang":
            time.sleep(600)
        if how == "leave":
            sys.exit(4)
        if how == "exit":
            os._exit(3)
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)


def fault(kind: str) -> Exception:
    return {
        "Overloaded": Overloaded("no cup is free", 7),
        "TooManyCups": TooManyCups("no cup is free", 7),
        "BadRequest": BadRequest("this is no tea"),
        "Unavailable": Unavailable("the well is dry"),
        "DeadlineExceeded": DeadlineExceeded("the kettle takes too long"),
        "NoEndpoint": NoEndpoint("there is no such tea"),
    }[kind]


class Journal:
    """What handlers wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        path.write_text("")

    @property
    def lines(self) -> list[str]:
        return Path(self.path).read_text().splitlines()

    def keys(self, word: str) -> list[str]:
        """What was said after a word, in order."""
        return [line.partition(" ")[2] for line in self.lines if line.split(" ")[0] == word]

    def waits(self, line: str, seconds: float = 15.0) -> None:
        until(lambda: line in self.lines, seconds)


def until(condition, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


def words(*texts: str) -> DocumentArray:
    return DocumentArray(Document(text=text) for text in texts)


# ---------------------------------------------------------------------------------------------- what is left


def children(pid: int | None = None) -> set[int]:
    """The processes that a process has started, and that are there; those that ended and were not waited for too."""
    own = os.getpid() if pid is None else pid
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                said = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(said[1]) == own:
                    found.add(int(folder.name))
    return found


def is_there(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def opened(pid: int | str = "self") -> dict[str, str]:
    """The sockets, pipes and files that a process has open."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found[name] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def memory(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu(pid: int) -> float:
    """Seconds that a process has computed."""
    said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")


def threads() -> set[threading.Thread]:
    """Those of Flows and clients."""
    ours = re.compile(r"flow|shop|docarray|executor0|asyncio")
    return {one for one in threading.enumerate() if ours.match(one.name)}


@contextlib.contextmanager
def nothing_left():
    """What is done inside leaves no process, no thread and no open file or socket."""
    gc.collect()
    before = children(), threads(), opened()
    yield
    deadline = time.monotonic() + 10
    while True:
        gc.collect()
        now = opened()
        left = (
            children() - before[0],
            threads() - before[1],
            [one for one in now.values() if one not in before[2].values()]
            if len(now) > len(before[2])
            else [],
        )
        if not any(left):
            return
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


# ---------------------------------------------------------------------------------------------- processes


class Server:
    """`docarray flow --uses flow.yml` in a process of its own, that leads a group: a terminal would do that."""

    def __init__(self, folder: Path, executor: str, gateway: str = "", uses: str = "Shop") -> None:
        self.journal = Journal(folder / "journal")
        self.file = folder / "flow.yml"
        self.file.write_text(
            "jtype: Flow\n"
            f"with: {{protocol: [http, websocket, grpc], port: [0, 0], {gateway}}}\n"
            "executors:\n"
            f"  - {{name: shop, uses: faults.flow_shop.{uses}, {executor}}}\n".replace(
                "JOURNAL", self.journal.path
            )
        )
        self.log = folder / "log"
        command = [sys.executable, "-W", "error", "-m", "docarray", "flow", "--uses", str(self.file)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--port", "0", "0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=ENV,
                start_new_session=True,
            )
        line = self.process.stdout.readline()
        if not line:
            self.process.communicate(timeout=30)
            raise AssertionError(self.log.read_text())
        self.urls = dict(zip(PROTOCOLS, re.findall(r"\w+://[\d.:]+", line), strict=True))

    @property
    def pid(self) -> int:
        return self.process.pid

    def client(self, protocol: str, **options) -> Client:
        return Client(self.urls[protocol], **options)

    def port(self, protocol: str) -> int:
        return int(self.urls[protocol].rpartition(":")[2])

    def ends(self, number: int = signal.SIGTERM, group: bool = False) -> int:
        """Tells it to end, and says how it did."""
        (os.killpg if group else os.kill)(self.pid, number)
        return self.process.wait(30)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        workers = children(self.pid)
        try:
            if self.process.poll() is None:
                code = self.ends()
                assert kind or code == 0, (code, self.log.read_text()[-4000:])
            until(lambda: not any(map(is_there, workers)))
        finally:
            for pid in (self.pid, *workers):
                if is_there(pid):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()


ASKS = """
import sys
from docarray import Document
from docarray.flow import Client
url, endpoint, count, seconds = sys.argv[1:]
docs = [Document(text=f"gone{number}") for number in range(int(count))]
with Client(url) as client:
    client.post(endpoint, docs, request_size=1, prefetch=int(count), parameters={"seconds": float(seconds)})
"""

LISTENS = """
import sys, time
from docarray.flow import Client
with Client(sys.argv[1]) as client:
    parts = client.stream(sys.argv[2])
    next(parts)
    print("one", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def asking(*said: object, program: str = ASKS):
    """A client in a process of its own, which is killed where the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, said)], stdout=subprocess.PIPE, text=True, env=ENV
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
