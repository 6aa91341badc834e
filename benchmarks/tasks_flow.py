"""The work of bench_flow.py: see tasks.py for the rules. No network: what a Flow itself costs.

The other side is what one writes by hand with asyncio, threads and processes, for the same work.

    python benchmarks/tasks_flow.py echo

answers frames on a Unix socket, whose path it says first.
"""

import asyncio
import contextlib
import copy
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tasks import task

WIDTH = 128
KB, MB = 1 << 10, 1 << 20
PAUSE = 0.005  # seconds of one piece of work
AT_ONCE = 64


def document():
    from docarray import Document

    return Document(id="d0", text="x" * 500, embedding=np.ones(WIDTH, np.float32))


def single():
    from docarray import DocumentArray

    return DocumentArray([document()])


def named(name, work):
    work.__name__ = name
    task(work)


def busy():
    end = time.perf_counter() + PAUSE
    while time.perf_counter() < end:
        pass


def executors():
    from docarray.flow import Executor, dynamic_batching, requests

    class Sync(Executor):
        @requests
        def work(self, docs, **kwargs):
            pass

    class Async(Executor):
        @requests
        async def work(self, docs, **kwargs):
            pass

    class Sleeps(Executor):
        @requests(idempotent=True)
        def work(self, docs, **kwargs):
            time.sleep(PAUSE)

    class Burns(Executor):
        @requests
        def work(self, docs, **kwargs):
            end = time.perf_counter() + PAUSE
            while time.perf_counter() < end:
                pass

    class Batches(Executor):
        @dynamic_batching(preferred_batch_size=16, timeout=2)
        @requests
        def work(self, docs, **kwargs):
            time.sleep(2 * PAUSE)

    # By value: the workers need no module of this folder.
    for one in (Sync, Async, Sleeps, Burns, Batches):
        one.__module__ = "__main__"
    return {one.__name__: one for one in (Sync, Async, Sleeps, Burns, Batches)}


def flow(kind, nodes=1, asyncio=True, **options):
    from docarray.flow import Flow

    made, cls = Flow(asyncio=asyncio), executors()[kind]
    for at in range(nodes):
        made = made.add(name=f"n{at}", uses=cls, **options)
    return made


def each(call, seconds=0.3, least=20):
    """The median of many calls."""
    taken = []
    until = time.perf_counter() + seconds
    while len(taken) < least or time.perf_counter() < until:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


async def asked(running, docs=None):
    """Asks once."""
    async for _ in running.post("/", payload(KB) if docs is None else docs):
        pass


@contextlib.contextmanager
def loop_thread():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# --- one request ---------------------------------------------------------------------------------------------------


def posts(kind, nodes):
    def work(n):
        docs = single()
        with flow(kind, nodes, asyncio=False) as running:
            while True:
                yield each(lambda: running.post("/", docs)), 1

    return work


for _nodes in (1, 3):
    named(f"flow_post_sync_{_nodes}", posts("Sync", _nodes))
    named(f"flow_post_async_{_nodes}", posts("Async", _nodes))


@task
def flow_thread(n):
    """A copy of the documents, and one hop to a thread and back."""
    docs = single()
    with ThreadPoolExecutor(1) as pool:

        def call():
            copied = copy.deepcopy(docs)
            pool.submit(len, copied).result()

        while True:
            yield each(call), 1


@task
def flow_coroutine(n):
    """The same to a coroutine of a loop in a thread."""
    docs = single()

    async def handler(docs):
        return docs

    with loop_thread() as loop:

        def call():
            copied = copy.deepcopy(docs)
            asyncio.run_coroutine_threadsafe(handler(copied), loop).result()

        while True:
            yield each(call), 1


async def inside(running, docs, times=300):
    """The median seconds of a request, in the loop of the Flow itself."""
    from docarray.flow.envelope import Envelope

    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        await running.answer(Envelope(docs, "/"))
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def asked_inside(served, docs):
    running = served._running
    return running.loop.run(inside(running, docs))


def added(kind):
    """Seconds that one more node adds, inside the loop."""

    def work(n):
        docs = single()
        with flow(kind, 1) as one, flow(kind, 9) as nine:
            while True:
                yield (asked_inside(nine, docs) - asked_inside(one, docs)) / 8, 1

    return work


named("flow_hop_async", added("Async"))
named("flow_hop_sync", added("Sync"))


@task
def flow_await(n):
    async def nothing():
        pass

    async def measured():
        begun = time.perf_counter()
        for _ in range(10_000):
            await nothing()
        return (time.perf_counter() - begun) / 10_000

    while True:
        yield asyncio.run(measured()), 1


@task
def flow_run_in_executor(n):
    async def measured():
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        for _ in range(500):
            await loop.run_in_executor(None, len, "")
        return (time.perf_counter() - begun) / 500

    while True:
        yield asyncio.run(measured()), 1


# --- a worker process ----------------------------------------------------------------------------------------------


def payload(n):
    from docarray import Document, DocumentArray

    return DocumentArray([Document(id="d0", blob=b"x" * n)])


@task
def flow_process(n):
    """The hop to a worker process and back: what it takes longer than in this process."""
    docs = payload(n)
    with flow("Async", engine="process") as there, flow("Async") as here:
        while True:
            yield asked_inside(there, docs) - asked_inside(here, docs), 1


@task
def flow_socket(n):
    """A frame of as many bytes over a Unix socket to another process and back, by asyncio."""
    with subprocess.Popen(
        [sys.executable, __file__, "echo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin and server.stdout
        path = server.stdout.readline().decode().strip()
        body = b"x" * n

        async def measured(times=200):
            reader, writer = await asyncio.open_unix_connection(path, limit=4 * MB)
            taken = []
            for _ in range(times):
                begun = time.perf_counter()
                writer.write(len(body).to_bytes(4, "big") + body)
                await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
                taken.append(time.perf_counter() - begun)
            writer.close()
            return statistics.median(taken)

        while True:
            yield asyncio.run(measured()), 1


def echo():
    async def serve():
        async def answer(reader, writer):
            with contextlib.suppress(asyncio.IncompleteReadError):
                while True:
                    head = await reader.readexactly(4)
                    writer.write(head + await reader.readexactly(int.from_bytes(head, "big")))

        path = Path(tempfile.mkdtemp()) / "echo"
        server = await asyncio.start_unix_server(answer, path, limit=4 * MB)
        print(path, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        server.close()

    asyncio.run(serve())


# --- branches ------------------------------------------------------------------------------------------------------


@task
def flow_fan_out(n):
    from docarray.flow import Flow

    docs, cls = payload(KB), executors()["Async"]
    made = (
        Flow(asyncio=True).add(name="a", uses=cls, needs="gateway").add(name="b", uses=cls, needs="gateway")
    )
    made = made.needs_all()

    async def measured(running):
        begun = time.perf_counter()
        for _ in range(200):
            await asked(running, docs)
        return (time.perf_counter() - begun) / 200

    with made as running:
        while True:
            yield asyncio.run(measured(running)), 1


@task
def flow_gather(n):
    """Two coroutines with a copy each, in the loop of a thread, and their documents merged by id."""
    docs = payload(KB)

    async def handler(docs):
        return docs

    async def request():
        one, two = await asyncio.gather(handler(copy.deepcopy(docs)), handler(copy.deepcopy(docs)))
        one.reduce(two)
        return one

    async def measured(loop):
        begun = time.perf_counter()
        for _ in range(200):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(request(), loop))
        return (time.perf_counter() - begun) / 200

    with loop_thread() as loop:
        while True:
            yield asyncio.run(measured(loop)), 1


# --- many requests -------------------------------------------------------------------------------------------------


async def crowd(running, docs, requests):
    """Asks so many at the same time; seconds."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one():
        async with turn:
            await asked(running, docs)

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(requests)))
    return time.perf_counter() - begun


def share(kind, ideal, requests=400, **options):
    """The share of the rate that there would be if nothing but the work took time."""

    def work(n):
        docs = payload(KB)
        with flow(kind, **options) as running:
            asyncio.run(crowd(running, docs, 32))
            while True:
                yield requests * ideal / asyncio.run(crowd(running, docs, requests)), 1

    return work


named("flow_replicas_sleep", share("Sleeps", PAUSE / 2, engine="process", replicas=2))
named("flow_replicas_burn", share("Burns", PAUSE / 2, engine="process", replicas=2))
named("flow_batching", share("Batches", 2 * PAUSE / 16, requests=960))


def pool_share(job, *arguments):
    def work(n):
        with ProcessPoolExecutor(2) as pool:
            pool.submit(job, *arguments).result()
            while True:
                begun = time.perf_counter()
                for one in [pool.submit(job, *arguments) for _ in range(400)]:
                    one.result()
                yield 400 * PAUSE / 2 / (time.perf_counter() - begun), 1

    return work


named("flow_pool_sleep", pool_share(time.sleep, PAUSE))
named("flow_pool_burn", pool_share(busy))


@task
def flow_queue(n):
    """Batches made by hand: a queue, and a thread that takes up to 16 of what waits."""

    async def measured(requests=960):
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()

        async def batches():
            while True:
                some = [await queue.get()]
                while len(some) < 16:
                    try:
                        some.append(await asyncio.wait_for(queue.get(), 0.002))
                    except TimeoutError:
                        break
                await loop.run_in_executor(None, time.sleep, 2 * PAUSE)
                for one in some:
                    one.set_result(None)

        at_work, turn = asyncio.create_task(batches()), asyncio.Semaphore(AT_ONCE)

        async def one():
            async with turn:
                done = loop.create_future()
                queue.put_nowait(done)
                await done

        begun = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(requests)))
        taken = time.perf_counter() - begun
        at_work.cancel()
        return requests * 2 * PAUSE / 16 / taken

    while True:
        yield asyncio.run(measured()), 1


@task
def flow_killed(n):
    """The rate in the half second after one of two replicas is killed, as a share of the rate before."""
    docs = payload(KB)

    async def rate(running, seconds):
        done, until = 0, time.perf_counter() + seconds

        async def one():
            nonlocal done
            while time.perf_counter() < until:
                await asked(running, docs)
                done += 1

        await asyncio.gather(*(one() for _ in range(8)))
        return done / seconds

    async def measured(running):
        await rate(running, 0.3)
        before = await rate(running, 0.5)
        os.kill(running.status()["n0"]["replicas"][0]["pid"], signal.SIGKILL)
        await rate(running, 0.5)
        return await rate(running, 0.5) / before

    with flow("Sleeps", engine="process", replicas=2) as running:
        while True:
            yield asyncio.run(measured(running)), 1
            time.sleep(2)


@task
def flow_all(n):
    while True:
        yield 1.0, 1


# --- start, memory, idleness ---------------------------------------------------------------------------------------


@task
def flow_start_inline(n):
    made = flow("Async")
    while True:
        begun = time.perf_counter()
        with made:
            taken = time.perf_counter() - begun
        yield taken, 1


@task
def flow_start_process(n):
    made = flow("Async", engine="process", replicas=2)
    while True:
        begun = time.perf_counter()
        with made:
            taken = time.perf_counter() - begun
        yield taken, 1


@task
def flow_start_python(n):
    """Two interpreters that import the library, at the same time."""
    while True:
        begun = time.perf_counter()
        some = [subprocess.Popen([sys.executable, "-c", "import docarray"]) for _ in range(2)]
        for one in some:
            one.wait()
        yield time.perf_counter() - begun, 1


@task
def flow_start_thread(n):
    while True:
        begun = time.perf_counter()
        with loop_thread():
            taken = time.perf_counter() - begun
        yield taken, 1


def pss(pid):
    """Bytes of memory of a process, what it shares counted in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * KB
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss")


@task
def flow_memory_worker(n):
    with flow("Async", engine="process") as running:
        asyncio.run(asked(running))
        while True:
            yield pss(running.status()["n0"]["replicas"][0]["pid"]), 1


@task
def flow_memory_inline(n):
    """Of this process, with a Flow that runs."""
    with flow("Async") as running:
        asyncio.run(asked(running))
        while True:
            yield pss(os.getpid()), 1


@task
def flow_memory_library(n):
    payload(KB)
    while True:
        yield pss(os.getpid()), 1


@task
def flow_memory_numpy(n):
    """Of an interpreter that imports numpy and asyncio."""
    with subprocess.Popen(
        [sys.executable, "-c", "import numpy, asyncio, sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as bare:
        assert bare.stdout
        bare.stdout.readline()
        while True:
            yield pss(bare.pid), 1


@task
def flow_idle(n):
    """The share of a processor that a Flow takes which nobody asks: of this process and its worker."""

    def spent(pid):
        said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")

    with flow("Async", engine="process") as running:
        asyncio.run(asked(running))
        pids = [os.getpid(), running.status()["n0"]["replicas"][0]["pid"]]
        while True:
            before = sum(map(spent, pids))
            time.sleep(2)
            yield (sum(map(spent, pids)) - before) / 2, 1


@task
def flow_nothing(n):
    while True:
        yield 0.0, 1


if __name__ == "__main__":
    echo()
