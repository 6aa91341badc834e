"""Functions on documents by many workers: order, bounds, errors, what is written, and that nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing
import multiprocessing.pool
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures

import numpy as np
import pytest

from docarray import Document, DocumentArray, workers
from docarray.document import Pending
from docarray.errors import (
    BadValue,
    DocArrayError,
    FieldTypeError,
    MissingDocument,
    MissingExtra,
    UnknownName,
    WorkerError,
)
from tests.everything import difference, everything

N = 200
pytest.importorskip("cloudpickle", reason="pip install cloudpickle")


def made(n=N, **options):
    return DocumentArray([Document(id=f"d{i}", text=f"t{i}", place=i) for i in range(n)], **options)


@pytest.fixture
def da():
    return made()


@pytest.fixture(params=["memory", "sqlite"])
def stored(request):
    array = made(storage=request.param)
    yield array
    array.close()


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Each test ends with the threads and the child processes that it began with."""
    threads, children = set(threading.enumerate()), _children()
    yield
    left = [t for t in threading.enumerate() if t not in threads and t.name.startswith("docarray")]
    for thread in left:
        thread.join(5)
    assert [] == [t for t in left if t.is_alive()]
    assert children >= _children()


def _children():
    """The worker processes of this one, zombies among them; not what multiprocessing starts and keeps."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline") as line:
                parent, command = stat.read().rpartition(")")[2].split()[1], line.read()
        except OSError:  # it ended while we looked
            continue
        if int(parent) == os.getpid() and ("docarray.workers" in command or not command):
            found.add(pid)
    return found


def upper(doc):
    doc.text = doc.text.upper()
    return doc


def text_of(doc):
    return doc.text


class Odd(ValueError):
    """An error that cannot be made again of what it keeps."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


# --- map --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_results_come_in_order(stored, backend):
    assert [f"t{i}" for i in range(N)] == list(stored.map(text_of, backend=backend, num_worker=2))


def test_order_is_kept_where_the_first_take_longest(da):
    def slow(doc):
        time.sleep(0.02 if doc.tags["place"] % 5 == 0 else 0)
        return doc.id

    assert da[:50, "id"] == list(da[:50].map(slow, num_worker=8))


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_an_empty_array_gives_nothing(backend):
    assert [] == list(DocumentArray().map(text_of, backend=backend))
    assert [] == list(DocumentArray().map_batch(len, 3, backend=backend))
    assert 0 == len(DocumentArray().apply(upper, backend=backend))


def test_the_first_result_does_not_wait_for_all(da):
    """Two tasks a worker are under way; the others wait until somebody reads."""
    calls = []
    found = da.map(lambda doc: calls.append(doc.id), num_worker=3)
    assert [] == calls

    next(found)
    time.sleep(0.1)

    assert 1 <= len(calls) <= 2 * 3 + 1
    found.close()


def test_never_more_are_under_way_than_were_read(da):
    calls = []
    found = made(5000).map(lambda doc: calls.append(1), num_worker=2)
    for read in range(1, 2000):
        next(found)
        assert len(calls) <= 2 * read + 8
    found.close()


def test_threads_get_the_documents_themselves(da):
    assert all(a is b for a, b in zip(da, da.map(lambda doc: doc), strict=True))


def test_rows_that_nobody_touched_cross_as_columns():
    da = DocumentArray.from_columns(text=[str(i) for i in range(300)])

    assert [str(i) for i in range(300)] == list(da.map(text_of, backend="process", num_worker=1))
    assert da._slots.untouched is not None


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_batches(stored, backend):
    assert [90, 90, 20] == list(stored.map_batch(len, 90, backend=backend, num_worker=2))
    assert sorted(stored[:, "text"]) == sorted(
        text
        for texts in stored.map_batch(lambda b: b.texts, 7, backend=backend, num_worker=1, shuffle=True)
        for text in texts
    )


def test_everything_survives_the_way_to_a_process_and_back():
    da = DocumentArray([everything(), Document(chunks=[Document(chunks=[Document(text="deep")])])])

    back = list(da.map(lambda doc: doc, backend="process", num_worker=1))

    assert difference(da, DocumentArray(back)) is None


def test_arrays_of_torch_survive():
    torch = pytest.importorskip("torch", reason="pip install torch")
    da = DocumentArray([Document(tensor=torch.ones(3), embedding=torch.zeros(2))])

    (back,) = da.map(lambda doc: doc.tensor + 1, backend="process", num_worker=1)

    assert torch.equal(torch.full((3,), 2.0), back)


def test_content_that_waits_is_there():
    def load(doc):
        doc.text = "loaded"

    da = DocumentArray([Pending.of(Document(id="a"), load)])

    assert ["loaded"] == list(da.map(text_of, backend="process", num_worker=1))
    assert ["LOADED"] == da.apply(upper).texts


def test_arrays_that_processes_get_can_be_written_to():
    da = DocumentArray([Document(tensor=np.arange(3.0)) for _ in range(3)])

    def double(doc):
        doc.tensor *= 2
        return doc

    for backend in ("thread", "process"):
        da.apply(double, backend=backend, num_worker=1)
    assert [0.0, 4.0, 8.0] == da[1].tensor.tolist()


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_an_error_comes_in_its_place_and_names_the_document(da, backend):
    def bad(doc):
        if doc.id == "d117":
            raise KeyError("oops")
        return doc.id

    seen = []
    with pytest.raises(KeyError, match="oops") as caught:
        _read_into(seen, da.map(bad, backend=backend, num_worker=2))

    assert "'d117', at position 117" in caught.value.__notes__[0]
    assert [f"d{i}" for i in range(117)] == seen


def _read_into(seen, found):
    for value in found:
        seen.append(value)


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_an_error_of_a_batch_names_its_ends(da, backend):
    with pytest.raises(ZeroDivisionError) as caught:
        list(da.map_batch(lambda batch: 1 / (batch[0].id != "d20"), 10, backend=backend, num_worker=2))

    assert "'d20' to 'd29'" in caught.value.__notes__[0]


def test_after_an_error_nothing_more_is_begun(da):
    calls = []

    def bad(doc):
        calls.append(doc.id)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(da.map(bad, num_worker=2))

    assert len(calls) <= 4


def test_an_error_that_cannot_be_sent_says_what_it_was(da):
    def bad(doc):
        raise Odd(1, 2)

    with pytest.raises(Odd):
        list(da.map(bad, num_worker=1))
    with pytest.raises(WorkerError, match="Odd: 1 and 2") as caught:
        list(da.map(bad, backend="process", num_worker=1))
    assert "'d0'" in caught.value.__notes__[0]


def test_stop_iteration_does_not_end_the_loop(da):
    with pytest.raises(RuntimeError, match="StopIteration at document 'd0'"):
        list(da.map(lambda doc: next(iter([])), num_worker=1))


def test_a_result_that_cannot_be_sent_names_its_document(da):
    found = da.map(lambda doc: threading.Lock() if doc.id == "d3" else 1, backend="process", num_worker=1)

    with pytest.raises(FieldTypeError, match="lock") as caught:
        list(found)
    assert "'d3'" in caught.value.__notes__[0]


def test_a_worker_that_dies_names_its_document(da):
    for how, said in ((lambda: os._exit(7), "exit code 7"), (lambda: os.kill(os.getpid(), 9), "signal 9")):

        def die(doc, how=how):
            return how() if doc.id == "d137" else doc.id

        with pytest.raises(WorkerError, match=f"{said}, at document 'd137'"):
            list(da.map(die, backend="process", num_worker=2))


@pytest.mark.parametrize("call", ["map", "map_batch", "apply", "apply_batch"])
def test_what_is_wrong_is_told_at_once(da, call):
    size = (10,) if call.endswith("batch") else ()
    ask = functools.partial(getattr(da, call), upper, *size)
    with pytest.raises(UnknownName, match="Did you mean 'thread'"):
        ask(backend="threads")
    for number in (0, -1, 1.5, True):
        with pytest.raises(BadValue, match="num_worker"):
            ask(num_worker=number)
    with pytest.raises(FieldTypeError, match="pool"):
        ask(pool=3)
    with pytest.raises(FieldTypeError, match="function"):
        getattr(da, call)("upper", *size)
    if size:
        with pytest.raises(BadValue, match="batch_size"):
            getattr(da, call)(upper, 0)


def test_coroutines_belong_to_amap(da):
    async def length(doc):
        return len(doc.text)

    with pytest.raises(FieldTypeError, match="amap"):
        da.map(length)


def test_without_cloudpickle_the_message_says_what_to_install():
    code = """
import sys
sys.modules["cloudpickle"] = None
from docarray import Document, DocumentArray, errors
from operator import attrgetter
da = DocumentArray([Document(text="a")])
print(list(da.map(attrgetter("text"), backend="process", num_worker=1)))
for func in (lambda doc: 1, main := type("F", (), {"__call__": lambda self, doc: 1})()):
    try:
        list(da.map(func, backend="process"))
    except errors.MissingExtra as error:
        print("docarray[processes]" in str(error))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert "['a']\nTrue\nTrue\n" == done.stdout
    assert issubclass(MissingExtra, ImportError)


def test_a_script_needs_no_guard(tmp_path):
    """The main module is not run again in each process."""
    script = tmp_path / "script.py"
    script.write_text(
        "from docarray import Document, DocumentArray\n"
        "print('once')\n"
        "class Own:\n    pass\n"
        "def own(doc):\n    return Own()\n"
        "found = list(DocumentArray.empty(3).map(own, backend='process', num_worker=2))\n"
        "print({type(one) is Own for one in found})\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=True)
    assert "once\n{True}\n" == done.stdout
    assert "" == done.stderr


def test_an_interrupt_ends_all(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import time\nfrom docarray import DocumentArray\n"
        "da = DocumentArray.empty(50)\n"
        "first = da[0].id\n"
        "found = da.map(lambda d: time.sleep(0 if d.id == first else 60), backend='process', num_worker=2)\n"
        "next(found)\nprint('ready', flush=True)\nnext(found)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert "ready\n" == process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert told.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_closing_early_stops(da, backend):
    found = da.map(text_of, backend=backend, num_worker=2)
    assert "t0" == next(found)
    found.close()
    assert [] == list(found)


# --- pools ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [lambda: futures.ThreadPoolExecutor(2), lambda: multiprocessing.pool.ThreadPool(2)],
    ids=["executor", "pool"],
)
def test_pools_of_threads(da, kind):
    with kind() as pool:
        assert da.texts == list(da.map(text_of, pool=pool))
        assert da.texts == list(da.map(text_of, pool=pool))
        with pytest.raises(ZeroDivisionError):
            list(da.map(lambda doc: 1 / 0, pool=pool))
        assert "T3" == da.apply(upper, pool=pool)[3].text


def test_pools_of_processes(da):
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert da.texts == list(da.map(lambda doc: doc.text, pool=pool))
        with pytest.raises(ZeroDivisionError):
            list(da.map(lambda doc: 1 / 0, pool=pool))
        assert "T3" == da.apply(upper, pool=pool)[3].text
        with pytest.raises(WorkerError, match="pool was lost"):
            list(da.map(lambda doc: os._exit(1), pool=pool))
    with context.Pool(1) as pool:
        assert da.texts == list(da.map(lambda doc: doc.text, pool=pool))
        pool.close()
        pool.join()


# --- apply ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_apply_writes_into_the_documents_that_are_there(stored, backend):
    held = stored[3]

    assert stored is stored.apply(upper, backend=backend, num_worker=2)

    assert [f"T{i}" for i in range(N)] == stored.texts
    assert stored[3] is held
    assert "T3" == held.text
    assert 3 == held.tags["place"]


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_apply_batch_writes_too_in_whatever_order_they_come_back(stored, backend):
    def turned(batch):
        for doc in batch:
            doc.text += "!"
        return batch[::-1]

    held = stored[3]
    stored.apply_batch(turned, 30, backend=backend, num_worker=2, shuffle=True)

    assert [f"t{i}!" for i in range(N)] == stored.texts
    assert stored[3] is held
    assert "t3!" == held.text


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_after_an_error_the_array_is_as_it_was(stored, backend):
    held = stored[3]

    def bad(doc):
        doc.text = "changed"
        doc.tags["place"] = -1
        if doc.id == "d150":
            raise ValueError("no")
        return doc

    with pytest.raises(ValueError, match="no"):
        stored.apply(bad, backend=backend, num_worker=2)
    with pytest.raises(ValueError, match="no"):
        stored.apply_batch(
            lambda batch: [bad(doc) for doc in batch] and batch, 40, backend=backend, num_worker=2
        )

    assert [f"t{i}" for i in range(N)] == stored.texts
    assert (3, "t3") == (held.tags["place"], held.text)
    assert list(range(N)) == stored[:, "tags__place"]


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_apply_wants_the_document_back(stored, backend):
    for func, kind, said in (
        (lambda doc: 3, FieldTypeError, "gave an int for document 'd0'"),
        (lambda doc: None, FieldTypeError, "gave None .*return doc"),
        (lambda doc: Document(id="other"), MissingDocument, "'other' for document 'd0'"),
    ):
        with pytest.raises(kind, match=said):
            stored.apply(func, backend=backend, num_worker=1)
    for func, kind in (
        (lambda batch: 3, FieldTypeError),
        (lambda batch: batch[:-1], MissingDocument),
        (lambda batch: batch[:-1] + batch[:1], MissingDocument),
    ):
        with pytest.raises(kind, match="'d0' to 'd19'"):
            stored.apply_batch(func, 20, backend=backend, num_worker=1)
    assert [f"t{i}" for i in range(N)] == stored.texts


def test_a_function_may_use_the_storage_it_is_applied_to():
    """No transaction is open while functions run."""
    with contextlib.closing(made(20, storage="sqlite")) as da:

        def neighbour(doc):
            doc.text = da[(doc.tags["place"] + 1) % 20].text
            return doc

        assert [f"t{(i + 1) % 20}" for i in range(20)] == da.apply(neighbour, num_worker=4).texts


def test_inside_a_transaction_threads_do_not_wait_for_ever():
    with made(20, storage="sqlite") as da:
        assert [f"t{i}" for i in range(20)] == list(da.map(lambda doc: da[doc.id].text))
        assert 20 == sum(map(len, da.dataloader(7)))
        da.apply(upper)
    assert "T7" == da.texts[7]
    da.close()


def test_much_waits_in_a_file():
    with contextlib.closing(made(9000, storage="sqlite")) as da:
        da.apply_batch(lambda batch: [setattr(doc, "text", "x" * 9) for doc in batch] and batch, 3000)
        assert {"x" * 9} == set(da.texts)
        assert 9000 == len(da)


def test_sub_indices_follow():
    with contextlib.closing(DocumentArray(storage="sqlite", subindex_configs={"@c": None})) as da:
        da.extend([Document(id=str(i)) for i in range(3)])

        def parts(doc):
            doc.chunks = [Document(text=doc.id, embedding=np.array([1.0, float(doc.id)]))]
            return doc

        da.apply(parts)
        assert ["0"] == [doc.text for doc in da.find(np.array([1.0, 0.0]), on="@c", limit=1)]


def test_chunks_stay_the_chunks_of_their_document():
    doc = Document(id="p", chunks=[Document(id="c", text="a")])
    chunk = doc.chunks[0]

    doc.chunks.apply(upper)

    assert doc.chunks[0] is chunk
    assert ("A", "p", 1) == (chunk.text, chunk.parent_id, chunk.granularity)


def test_embeddings_in_one_matrix():
    da = DocumentArray.from_columns(text=list("abc"), embedding=np.zeros((3, 2)))

    def embed(doc):
        doc.embedding = np.full(2, ord(doc.text) - 97.0)
        return doc

    for backend in ("thread", "process"):
        da.embeddings = np.zeros((3, 2))
        assert [[0, 0], [1, 1], [2, 2]] == da.apply(embed, backend=backend, num_worker=1).embeddings.tolist()


# --- progress, asyncio --------------------------------------------------------------------------------------------


def test_progress_counts_documents(da):
    told = []
    list(da.map(text_of, show_progress=lambda *state: told.append(state)))
    assert (N, N, "map") == told[-1]


def test_amap_keeps_order_and_bounds(stored):
    running, most = 0, 0

    async def slow(doc):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (doc.tags["place"] % 3))
        running -= 1
        return doc.id

    async def main():
        return [key async for key in stored.amap(slow, num_worker=5)]

    assert [f"d{i}" for i in range(N)] == asyncio.run(main())
    assert 5 == most


def test_amap_takes_plain_functions():
    async def main():
        return [text async for text in made(9).amap(text_of, num_worker=2)]

    assert [f"t{i}" for i in range(9)] == asyncio.run(main())
    with pytest.raises(BadValue):
        made(1).amap(text_of, num_worker=0)
    with pytest.raises(FieldTypeError):
        made(1).amap(3)


def test_aapply_writes_all_or_nothing(stored):
    async def loud(doc):
        await asyncio.sleep(0)
        return upper(doc)

    async def bad(doc):
        doc.text = "x"
        if doc.id == "d9":
            raise ValueError("no")
        return doc

    held = stored[3]
    with pytest.raises(ValueError, match="no") as caught:
        asyncio.run(stored.aapply(bad))
    assert "'d9', at position 9" in caught.value.__notes__[0]
    assert "t3" == stored.texts[3]

    asyncio.run(stored.aapply(loud))
    assert ("T3", True) == (held.text, stored[3] is held)
    with pytest.raises(DocArrayError):
        asyncio.run(stored.aapply(lambda doc: None))


def test_cancelling_cancels_what_runs(da):
    begun, ended = [], []

    async def long(doc):
        begun.append(doc.id)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(doc.id)

    async def main():
        async def read():
            async for _ in da.amap(long, num_worker=3):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert begun == ended == ["d0", "d1", "d2"]


# --- Ray ----------------------------------------------------------------------------------------------------------


def test_ray_in_a_process_of_its_own(tmp_path):
    """One session of its own, which ends; one of the caller's, which stays."""
    pytest.importorskip("ray", reason='pip install "docarray[ray]"')
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "os.environ['RAY_USAGE_STATS_ENABLED'] = '0'\n"
        "import ray\n"
        "from docarray import Document, DocumentArray\n"
        "da = DocumentArray([Document(id=str(i), text='a') for i in range(20)])\n"
        "def loud(doc):\n    doc.text = 'b'\n    return doc\n"
        "print(da.apply(loud, backend='ray', num_worker=2).texts == ['b'] * 20)\n"
        "print(ray.is_initialized())\n"
        "ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address='127.0.0.1')\n"
        "try:\n    list(da.map(lambda d: 1 / 0, backend='ray'))\n"
        "except ZeroDivisionError as error:\n    print(error.__notes__)\n"
        "print(ray.is_initialized())\n"
        "ray.shutdown()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=110)
    assert 0 == done.returncode, done.stderr[-2000:]
    assert ["True", "False", "[\"map: at document '0', at position 0\"]", "True"] == done.stdout.splitlines()[
        -4:
    ]


def test_the_jobs_of_workers_are_plain():
    job = workers.Job(text_of, "map")
    assert job == pickle.loads(pickle.dumps(job))
