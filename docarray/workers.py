"""Workers: a function of documents, called on many of them by threads, processes, Ray or a pool; in order, bounded.

Rule 1: who reads sets the pace. Two tasks a worker are under way or done and unread. Where a task is over in no time
        it is made of more documents, but never of so many that more are under way than were read before.
Rule 2: what comes back is in order. An error comes in its place, after all that was right before it, with a note that
        names its document.
Rule 3: what was started here ends here, however the loop ends; a pool that was given stays open.
Rule 4: a worker process is a fresh interpreter. Nothing is forked, no main module is run again. Only bytes cross:
        documents in the native format, functions by cloudpickle, or by pickle where that is not installed.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import mmap
import multiprocessing.pool
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO, Final, NamedTuple, Protocol, TypeVar, cast

from docarray import exchange
from docarray.document import Document, Links, class_of
from docarray.errors import (
    BadValue,
    FieldTypeError,
    MissingDocument,
    MissingExtra,
    UnknownName,
    WorkerError,
    near_miss,
)
from docarray.registry import require
from docarray.rows import Slots

__all__ = [
    "BACKENDS",
    "Crew",
    "Job",
    "Outcome",
    "Part",
    "crew_of",
    "each_in_order",
    "in_turn",
    "serve",
    "worker_count",
]

T = TypeVar("T")

BACKENDS: Final = ("thread", "process", "ray")
WINDOW: Final = 2  # tasks a worker, under way or done and unread
_PACE: Final = {
    True: 0.02,
    False: 0.001,
}  # seconds that a task should take, where it crosses to another process or not
_MOST: Final = {True: 1024, False: 256}  # documents a task


class Job(NamedTuple):
    """What is done with documents."""

    call: Callable[..., Any]
    verb: str
    """The method that was called, as messages name it."""
    whole: bool = False
    """Whether the function takes an array of documents, and not one document."""
    keeps: bool = False
    """Whether it must give back what it got: the document, or an array of the same ids."""

    def __call__(self, given: Any) -> Any:
        """What the function gives.

        Raises:
            FieldTypeError: it is no document, where one is wanted. MissingDocument: it is another one.
        """
        if not self.keeps:
            return self.call(given)
        if self.whole:
            keys = [doc.id for doc in given]
            return _same_docs(self.call(given), keys)
        key = given.id  # asked before: the function may change it
        found = self.call(given)
        _check_doc(found, key)
        return found


def _check_doc(found: object, key: str) -> None:
    what = f"the function gave {_a(found)} for document {key!r}"
    if not isinstance(found, Document):
        raise FieldTypeError(f"{what}: it must give the document, changed or not (end it with `return doc`)")
    if found.id != key:
        raise MissingDocument(
            f"the function gave document {found.id!r} for document {key!r}: the id must stay; map() makes new ones"
        )


def _same_docs(found: Any, keys: list[str]) -> list[Document]:
    """The documents that a function gave for a batch, in the order of the batch."""
    what = f"the function gave {_a(found)} for the batch of {_span(keys)}"
    if not isinstance(found, cast("Any", Links.array)):
        raise FieldTypeError(
            f"{what}: it must give the DocumentArray, changed or not (end it with `return da`)"
        )
    docs = list(cast("list[Document]", found))
    ids = [doc.id for doc in docs]
    if ids == keys:
        return docs
    known = dict(zip(ids, docs, strict=True))
    if len(ids) != len(keys) or len(known) < len(ids) or known.keys() != set(keys):
        odd = sorted(set(ids).symmetric_difference(keys))[:3]
        raise MissingDocument(
            f"{what}, with other documents in it ({len(ids)} for {len(keys)}; {odd}): the ids must stay"
        )
    return [known[key] for key in keys]


def _a(found: object) -> str:
    if found is None:
        return "None"
    name = type(found).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _span(keys: Sequence[Any]) -> str:
    if not keys:
        return "no documents"
    return f"{keys[0]!r}" if len(keys) == 1 else f"{keys[0]!r} to {keys[-1]!r} ({len(keys)} documents)"


def checked(func: Any, verb: str) -> Any:
    """The function, if it is a plain one.

    Raises:
        FieldTypeError: it is not callable, or is `async def`.
    """
    if not callable(func):
        raise FieldTypeError(f"{verb} takes a function; got {func!r:.80}")
    if is_async(func):
        raise FieldTypeError(f"{verb} takes a plain function; for `async def` there are amap and aapply")
    return func


def is_async(func: Any) -> bool:
    """Whether calling it gives something to await."""
    while isinstance(func, functools.partial):
        func = cast("functools.partial[Any]", func).func
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(getattr(func, "__call__", None))  # noqa: B004


def worker_count(num_worker: Any) -> int:
    """How many workers there are; as many as the processors that this process may use, unless given.

    Raises:
        BadValue: it is no int above 0.
    """
    if num_worker is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(num_worker, int) or isinstance(num_worker, bool) or num_worker < 1:
        raise BadValue(f"num_worker={num_worker!r}: it is an int above 0")
    return num_worker


# --------------------------------------------------------------------------------------------- one task


class Part(NamedTuple):
    """The documents of one task."""

    slots: Slots
    start: int | None
    """The position of the first of them, where they are a stretch of the array."""


class Outcome(NamedTuple):
    """What became of a task: what the function gave, up to where it raised."""

    values: list[Any] | Slots
    """What the function gave for each document (or for the batch); of a job that keeps them the documents."""
    error: BaseException | None = None
    seconds: float = 0.0


def done(
    job: Job, slots: Slots, stopped: Callable[[], bool], note: Callable[[int], None] | None = None
) -> Outcome:
    """Does a task in this thread."""
    values: list[Any] = []
    items: Sequence[Any] = [Links.array(slots)] if job.whole else slots.docs()
    try:
        for at, item in enumerate(items):
            if stopped():
                break
            if note is not None:
                note(at)
            values.append(job(item))
    except BaseException as error:
        return Outcome(values, error)
    if job.keeps:
        return Outcome(Slots(values[0] if job.whole and values else values))
    return Outcome(values)


def _never() -> bool:
    return False


class Hand(Protocol):
    """What does tasks, one after the other."""

    def run(self, part: Part) -> Outcome:
        """Does one."""
        ...

    def end(self, at_once: bool) -> None:
        """Is done with it; `at_once`: whatever it is at."""


class _Here:
    """A hand that is the calling thread."""

    def __init__(self, job: Job, stop: threading.Event, copies: bool) -> None:
        self._job = job
        self._stop = stop
        self._copies = copies

    def run(self, part: Part) -> Outcome:
        slots = part.slots
        if self._copies:  # what the function changes must not be seen before all is right
            slots = Slots([doc.__deepcopy__({}) for doc in slots.docs()])
        return done(self._job, slots, self._stop.is_set)

    def end(self, at_once: bool) -> None:
        pass


# --------------------------------------------------------------------------------------------- what crosses


def packed_docs(slots: Slots) -> bytes:
    """Documents as bytes: in the native format, or where some are of a subclass as a pickle of all."""
    if slots.untouched is None and any(class_of(doc) is not Document for doc in slots.docs()):
        return b"p" + _pickled(slots.docs())
    return b"n" + exchange.dumps(slots.table())


def unpacked_docs(data: bytes) -> Slots:
    """What `packed_docs` packed."""
    view = memoryview(data)[1:]
    if data[:1] == b"n":
        return Slots.of_table(exchange.loads(view))
    return Slots(pickle.loads(view))


def _cloudpickle() -> Any:
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        return None


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, 5)
    except Exception:
        cloudpickle = _cloudpickle()
        if cloudpickle is None:
            raise
        return cloudpickle.dumps(value, 5)


def packed_job(job: Job) -> bytes:
    """A job as bytes that another process can read.

    Raises:
        MissingExtra: the function is a lambda, a closure, or of `__main__`, and cloudpickle is not installed.
        FieldTypeError: something in it cannot be pickled at all.
    """
    cloudpickle = _cloudpickle()
    name = getattr(job.call, "__qualname__", None) or repr(job.call)
    if cloudpickle is not None:
        try:
            return cloudpickle.dumps(job, 5)
        except Exception as error:
            raise FieldTypeError(
                f"the function {name!r} cannot be sent to another process: {error}. What it holds (open files, locks, "
                "connections) can be made inside it instead"
            ) from error
    try:
        if getattr(job.call, "__module__", None) == "__main__":
            raise pickle.PicklingError("it is of __main__, which a worker does not have")
        return pickle.dumps(job, 5)
    except Exception as error:
        raise MissingExtra(
            f"the function {name!r} cannot be sent to another process without the package cloudpickle ({error}): "
            'pip install "docarray[processes]"'
        ) from error


@functools.lru_cache(maxsize=4)
def _job_of(data: bytes) -> Job:
    return pickle.loads(data)


class _InWorker(Exception):
    """Where an error of another process came from: shows its traceback."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _packed_error(error: BaseException) -> tuple[bytes | None, str, str]:
    text = "".join(traceback.format_exception(error))
    data: bytes | None = None
    with contextlib.suppress(
        Exception
    ):  # classes that want other arguments than they keep, or hold what cannot go
        data = _pickled(error)
        if type(pickle.loads(data)) is not type(error):
            data = None
    return data, f"{type(error).__name__}: {error}", text


def _unpacked_error(given: tuple[bytes | None, str, str]) -> BaseException:
    data, line, text = given
    error: BaseException | None = None
    if data is not None:
        with contextlib.suppress(Exception):  # of a class that only the worker has
            error = pickle.loads(data)
    if error is None:
        error = WorkerError(f"the function raised an error that could not be sent here as it is: {line}")
    error.__cause__ = _InWorker(text)
    return error


def _packed_values(values: list[Any]) -> bytes:
    if values and all(isinstance(value, Document) for value in values):
        return packed_docs(Slots(values))
    return b"v" + _pickled(values)


def work(job_data: bytes, data: bytes, note: Callable[[int], None] | None = None) -> bytes:
    """Does a task of another process."""
    job: Job | None = None
    try:
        job = _job_of(job_data)
        slots = unpacked_docs(data)
    except BaseException as error:
        what = "documents" if job is not None else "the function"
        error.add_note(f"while the worker process read {what}")
        return pickle.dumps((b"v" + pickle.dumps([]), _packed_error(error)))
    outcome = done(job, slots, _never, note)
    values, error = outcome.values, outcome.error
    try:
        found = packed_docs(values) if isinstance(values, Slots) else _packed_values(values)
    except Exception as problem:
        values = list(values)
        good, problem = _first_good(values, problem)
        found, error = _packed_values(good), problem
    return pickle.dumps((found, None if error is None else _packed_error(error)), 5)


def _first_good(values: list[Any], problem: Exception) -> tuple[list[Any], Exception]:
    """The values before the first that cannot be sent back, and why that one cannot."""
    for at, value in enumerate(values):
        try:
            _packed_values([value])
        except Exception as error:
            wrong = FieldTypeError(f"the function gave {_a(value)}, which cannot be sent back: {error}")
            wrong.__cause__ = error
            return values[:at], wrong
    return [], problem


def answered(data: bytes, job: Job) -> Outcome:
    """What `work` gave."""
    found, error = pickle.loads(data)
    values: list[Any] | Slots
    if found[:1] == b"v":
        values = pickle.loads(memoryview(found)[1:])
        if job.keeps and error is None:
            values = Slots(cast("list[Any]", values))
    else:
        values = unpacked_docs(found)
        if not job.keeps:
            values = values.docs()
    return Outcome(values, None if error is None else _unpacked_error(error))


# --------------------------------------------------------------------------------------------- worker processes

_CODE: Final = (
    # Without a buffer, which would swallow what comes after the first line.
    "import sys, json; sys.path[:] = json.loads(open(0, 'rb', 0, closefd=False).readline()); "
    "from docarray.workers import serve; serve()"
)
_SIZE: Final = struct.Struct("<Q")
_AT: Final = struct.Struct("<q")
_PATIENCE: Final = 5.0  # seconds that an idle process has to end by itself


def _send(stream: BinaryIO, data: bytes) -> None:
    stream.write(_SIZE.pack(len(data)))
    stream.write(data)
    stream.flush()


def _received(stream: BinaryIO) -> bytes | None:
    """The next message; None where the other side is gone."""
    head = stream.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    size: int = _SIZE.unpack(head)[0]
    data = stream.read(size)
    return data if len(data) == size else None


def serve() -> None:
    """The life of a worker process: tasks from standard input, what they gave to standard output, until that ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the program interrupts it there
    # What the function prints goes to standard error, and it reads nothing: both pipes are for messages alone.
    with (
        os.fdopen(os.dup(0), "rb") as reading,
        os.fdopen(os.dup(1), "wb") as writing,
        open(os.devnull, "rb") as nothing,
    ):
        os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        job, place = _received(reading), _received(reading)
        if job is not None and place is not None:
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
                _serve(job, os.fsdecode(place), reading, writing)


def _serve(job: bytes, place: str, reading: BinaryIO, writing: BinaryIO) -> None:
    with open(place, "r+b") as file, mmap.mmap(file.fileno(), _AT.size) as board:
        while (data := _received(reading)) is not None:
            _send(writing, work(job, data, functools.partial(_AT.pack_into, board, 0)))
            _AT.pack_into(board, 0, -1)


class _Process:
    """A hand that is a worker process."""

    def __init__(self, job: Job, job_data: bytes, place: Path) -> None:
        if not sys.executable:
            raise WorkerError("there is no interpreter to start worker processes with: give pool= instead")
        self._job = job
        self._board = place
        place.write_bytes(_AT.pack(-1))
        warnings = [f"-W{option}" for option in sys.warnoptions]
        self._process = subprocess.Popen(
            [sys.executable, "-P", *warnings, "-c", _CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._to, self._from = cast("BinaryIO", self._process.stdin), cast("BinaryIO", self._process.stdout)
        self._greeting = (json.dumps(sys.path).encode() + b"\n", job_data, os.fsencode(place))

    def run(self, part: Part) -> Outcome:
        data = packed_docs(part.slots)
        answer = None
        with contextlib.suppress(OSError, ValueError):  # a pipe that is broken, or closed by now
            if self._greeting is not None:
                path, job, place = self._greeting
                self._greeting = None
                self._to.write(path)
                _send(self._to, job)
                _send(self._to, place)
            _send(self._to, data)
            answer = _received(self._from)
        if answer is None:
            return self._died(part)
        return answered(answer, self._job)

    def _died(self, part: Part) -> Outcome:
        code = self._process.wait()
        why = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        at: int = _AT.unpack(self._board.read_bytes()[: _AT.size])[0]
        keys = part.slots.ids()
        where = "before it began" if at < 0 else f"at {_what(self._job, keys, at)}"
        return Outcome([], WorkerError(
            f"a worker process {why}, {where}: the function crashed, used up memory, or was killed"
        ))  # fmt: skip

    def end(self, at_once: bool) -> None:
        if at_once:
            self._process.kill()
        else:
            with contextlib.suppress(OSError):
                self._to.close()

    def close(self) -> None:
        """Waits for its end, and closes the pipes; called when nobody reads them any more."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()


def _what(job: Job, keys: Sequence[Any], at: int) -> str:
    return f"the batch of {_span(keys)}" if job.whole else f"document {keys[at]!r}"


# --------------------------------------------------------------------------------------------- Ray


class Servant:
    """What does tasks inside Ray."""

    def __init__(self, job_data: bytes) -> None:
        self._job = job_data

    def work(self, data: bytes) -> bytes:
        """Does one."""
        return work(self._job, data)


class _Ray:
    """A session of Ray: that of the caller, or one of its own on this machine alone."""

    def __init__(self, num_worker: int | None) -> None:
        self._ray = require("ray", "backend='ray'", '"docarray[ray]"')
        self._is_own = not self._ray.is_initialized()
        if self._is_own:
            known = os.environ.get("RAY_USAGE_STATS_ENABLED")
            os.environ["RAY_USAGE_STATS_ENABLED"] = known or "0"
            try:
                self._ray.init(
                    num_cpus=worker_count(num_worker),
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    _node_ip_address="127.0.0.1",
                )
            finally:
                if known is None:
                    del os.environ["RAY_USAGE_STATS_ENABLED"]
        if num_worker is None:
            num_worker = int(self._ray.cluster_resources().get("CPU", 1)) or 1
        self.count = worker_count(num_worker)

    def hand(self, job: Job, job_data: bytes) -> Hand:
        return _Actor(self._ray, job, job_data)

    def close(self) -> None:
        if self._is_own:
            self._ray.shutdown()


class _Actor:
    """A hand that is an actor of Ray."""

    def __init__(self, ray: Any, job: Job, job_data: bytes) -> None:
        self._ray = ray
        self._job = job
        self._actor = ray.remote(Servant).remote(job_data)

    def run(self, part: Part) -> Outcome:
        try:
            answer = self._ray.get(self._actor.work.remote(packed_docs(part.slots)))
        except self._ray.exceptions.RayError as error:
            where = _what(self._job, part.slots.ids(), 0) if self._job.whole else _span(part.slots.ids())
            fault = WorkerError(f"a worker of Ray was lost at {where}: {type(error).__name__}")
            fault.__cause__ = error
            return Outcome([], fault)
        return answered(answer, self._job)

    def end(self, at_once: bool) -> None:
        self._ray.kill(self._actor)


# --------------------------------------------------------------------------------------------- crews


class Task(Protocol):
    """A task that was handed in."""

    def result(self) -> Any:
        """What became of it; waits for it."""

    def cancel(self) -> Any:
        """Keeps it from being started, if it was not yet."""


class Crew(Protocol):
    """The workers of one call."""

    count: int
    crosses: bool

    def submit(self, part: Part) -> Task:
        """Hands a task in; `result` of what it gives is an Outcome."""
        ...

    def close(self, at_once: bool) -> None:
        """Ends what was started; `at_once`: not all was read."""


class _Own:
    """Threads of our own. Each does its tasks itself, or has a hand of its own elsewhere that it waits for."""

    def __init__(self, count: int, hire: Callable[[], Hand], stop: threading.Event, crosses: bool) -> None:
        self.count = count
        self.crosses = crosses
        self._hire = hire
        self._stop = stop
        self._hands: list[Hand] = []
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._threads = futures.ThreadPoolExecutor(count, "docarray")
        self._last = contextlib.ExitStack()

    def at_last(self, call: Callable[[], object]) -> None:
        """What is called when all have ended."""
        self._last.callback(call)

    def submit(self, part: Part) -> Task:
        return self._threads.submit(self._run, part)

    def _run(self, part: Part) -> Outcome:
        start = perf_counter()
        try:
            hand: Hand | None = getattr(self._mine, "hand", None)
            if hand is None:
                with self._lock:
                    if self._stop.is_set():
                        return Outcome([])
                    hand = self._mine.hand = self._hire()
                    self._hands.append(hand)
            outcome = hand.run(part)
        except BaseException as error:  # the documents cannot be sent, no process can be started, ...
            return Outcome([], error)
        return outcome._replace(seconds=perf_counter() - start)

    def close(self, at_once: bool) -> None:
        self._stop.set()
        with self._last:
            try:
                with self._lock:
                    for hand in self._hands:
                        hand.end(at_once)
            finally:
                self._threads.shutdown(wait=True, cancel_futures=True)
                for hand in self._hands:
                    if isinstance(hand, _Process):
                        hand.close()


class _Lent:
    """A pool of somebody else's."""

    def __init__(self, job: Job, pool: Any, count: int, copies: bool) -> None:
        self.crosses = not isinstance(pool, (futures.ThreadPoolExecutor, multiprocessing.pool.ThreadPool))
        self.count = count
        self._job = job
        self._pool = pool
        self._stop = threading.Event()
        self._data = packed_job(job) if self.crosses else b""
        self._here = _Here(job, self._stop, copies)
        self._open: deque[Any] = deque()

    def submit(self, part: Part) -> Task:
        call: Any = (work, self._data, packed_docs(part.slots)) if self.crosses else (self._run, part)
        task = self._pool.submit(*call) if hasattr(self._pool, "submit") else _Async(self._pool, *call)
        return _Answer(task, self._job, part) if self.crosses else task

    def _run(self, part: Part) -> Outcome:
        start = perf_counter()
        if self._stop.is_set():
            return Outcome([])
        try:
            return self._here.run(part)._replace(seconds=perf_counter() - start)
        except BaseException as error:
            return Outcome([], error)

    def close(self, at_once: bool) -> None:
        self._stop.set()


class _Async:
    """A task of a multiprocessing pool, called as one of an executor."""

    def __init__(self, pool: Any, call: Callable[..., Any], *args: Any) -> None:
        self._task = pool.apply_async(call, args)

    def result(self) -> Any:
        return self._task.get()

    def cancel(self) -> bool:
        return False


class _Answer:
    """A task in another process of a pool."""

    def __init__(self, task: Any, job: Job, part: Part) -> None:
        self._task = task
        self._job = job
        self._part = part
        self._start = perf_counter()

    def result(self) -> Outcome:
        try:
            data = self._task.result()
        except futures.BrokenExecutor as error:
            fault = WorkerError(
                f"a worker of the pool was lost, at {_span(self._part.slots.ids())} or after: {error}"
            )
            fault.__cause__ = error
            return Outcome([], fault)
        # The time that it waited for its turn is counted too, so that tasks of a pool are rather too small.
        return answered(data, self._job)._replace(seconds=perf_counter() - self._start)

    def cancel(self) -> Any:
        return self._task.cancel()


def check_backend(backend: object, pool: object) -> None:
    """Does nothing if these can be had.

    Raises:
        UnknownName: no backend is called so. FieldTypeError: the pool is none.
    """
    if backend not in BACKENDS:
        raise UnknownName(f"no backend is called {backend!r}. {near_miss(backend, BACKENDS)}")
    if pool is not None and not callable(getattr(pool, "submit", None) or getattr(pool, "apply_async", None)):
        raise FieldTypeError(
            f"pool= takes an executor of concurrent.futures or a pool of multiprocessing; got {_a(pool)}"
        )


class _Alone:
    """The calling thread, where no other may have the storage: it has a transaction open."""

    count = 1
    crosses = False

    def __init__(self, job: Job, copies: bool) -> None:
        self._hand = _Here(job, threading.Event(), copies)

    def submit(self, part: Part) -> Task:
        task: futures.Future[Outcome] = futures.Future()
        try:
            task.set_result(self._hand.run(part))
        except BaseException as error:
            task.set_result(Outcome([], error))
        return task

    def close(self, at_once: bool) -> None:
        pass


def crew_of(
    job: Job, backend: str, num_worker: int | None, pool: Any, copies: bool, alone: bool = False
) -> Crew:
    """The workers that a call asks for.

    Args:
        job: what they do.
        backend, num_worker, pool: as of `map`.
        copies: whether the function gets copies where it would get the documents themselves.
        alone: whether other threads could not have the storage, and would wait for ever.
    """
    if alone and pool is None and backend == "thread":
        return _Alone(job, copies)
    if pool is not None:
        known = getattr(pool, "_max_workers", None) or getattr(pool, "_processes", None)
        return _Lent(
            job, pool, num_worker or (known if isinstance(known, int) else worker_count(None)), copies
        )
    stop = threading.Event()
    if backend == "thread":
        return _Own(worker_count(num_worker), lambda: _Here(job, stop, copies), stop, False)
    data = packed_job(job)
    if backend == "ray":
        session = _Ray(num_worker)
        crew = _Own(session.count, lambda: session.hand(job, data), stop, True)
        crew.at_last(session.close)
        return crew
    folder = tempfile.TemporaryDirectory(prefix="docarray-")
    numbers = iter(range(sys.maxsize))
    crew = _Own(
        worker_count(num_worker),
        lambda: _Process(job, data, Path(folder.name, str(next(numbers)))),
        stop,
        True,
    )
    crew.at_last(folder.cleanup)
    return crew


# --------------------------------------------------------------------------------------------- in order


def each_in_order(
    hire: Callable[[], Crew], parts: Callable[[bool], Callable[[int], Part | None]], job: Job, grow: bool
) -> Generator[tuple[Part, Outcome]]:
    """What becomes of each task, in order; see the rules above.

    Args:
        hire: makes the crew, when the first is asked for.
        parts: given whether documents cross to another process, what gives the next task of so many documents; None
            when there are no more.
        job: what is done.
        grow: whether tasks may have more than one document.

    Raises: what the function raised, with a note; and `WorkerError`.
    """
    crew = hire()
    waiting: deque[tuple[Part, Task]] = deque()
    size, unread, whole = 1, 0, False
    try:
        cut = parts(crew.crosses)
        pace, most = _PACE[crew.crosses], _MOST[crew.crosses] if grow else 1
        room = WINDOW * crew.count

        def fill() -> None:
            while len(waiting) < room and (part := cut(size)) is not None:
                waiting.append((part, crew.submit(part)))

        fill()
        while waiting:
            part, task = waiting.popleft()
            outcome: Outcome = task.result()
            count = len(part.slots)
            unread += count
            if outcome.error is None and most > 1 and outcome.seconds > 0:
                fit = int(pace * count / outcome.seconds)
                if fit < size:
                    size = max(1, fit)
                elif fit >= 2 * size and unread >= room * size and size < most:
                    size, unread = min(2 * size, most), 0
            if outcome.error is None:
                fill()  # before the caller gets its turn: nobody is idle meanwhile
            yield part, outcome
            if outcome.error is not None:
                raise told(outcome.error, part, job, len(outcome.values))
        whole = True
    finally:
        for _, task in waiting:
            task.cancel()
        crew.close(not whole)
        if not whole and isinstance(crew, _Lent):
            for (
                _,
                task,
            ) in waiting:  # what runs already is let run out, so that nothing goes on behind one's back
                with contextlib.suppress(BaseException):
                    task.result()


def told(error: BaseException, part: Part, job: Job, at: int) -> BaseException:
    """The error with a note that names the document."""
    if isinstance(error, WorkerError) and error.__cause__ is None:
        return error  # which names it itself
    keys = part.slots.ids()
    where = _what(job, keys, at) if job.whole or at < len(keys) else _span(keys)
    position = "" if part.start is None or job.whole else f", at position {part.start + at}"
    if isinstance(error, StopIteration):  # raised out of a generator it would be taken for a fault of ours
        wrapped = RuntimeError(f"the function raised StopIteration at {where}")
        wrapped.__cause__ = error
        error = wrapped
    error.add_note(f"{job.verb}: at {where}{position}")
    return error


def in_turn(calls: Iterator[Callable[[], T]], ahead: int) -> Generator[T]:
    """What each of some calls gives, in order; made by a thread, up to so many ahead of who reads."""
    waiting: deque[futures.Future[T]] = deque()
    threads = futures.ThreadPoolExecutor(1, "docarray")
    try:
        while True:
            for call in calls:
                waiting.append(threads.submit(call))
                if len(waiting) > ahead:
                    break
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


# --------------------------------------------------------------------------------------------- asyncio

_AT_ONCE: Final = 32  # coroutines, which mostly wait


async def async_in_order(
    docs: Iterator[Document], func: Any, verb: str, num_worker: int | None, keeps: bool, copies: bool
) -> AsyncGenerator[Any]:
    """What a function gives for each document, in order: in this loop where it is `async def`, else in threads."""
    import asyncio

    loop = asyncio.get_running_loop()
    in_loop = is_async(func)
    count = _AT_ONCE if num_worker is None and in_loop else worker_count(num_worker)
    at_once = asyncio.Semaphore(count)
    threads = None if in_loop else futures.ThreadPoolExecutor(count, "docarray")

    async def one(doc: Document) -> Any:
        async with at_once:
            given = doc.__deepcopy__({}) if copies else doc
            found = func(given) if threads is None else await loop.run_in_executor(threads, func, given)
            if inspect.isawaitable(found):
                found = await found
            if keeps:
                _check_doc(found, doc.id)
            return found

    waiting: deque[tuple[Document, asyncio.Task[Any]]] = deque()
    at = 0
    try:
        while True:
            while len(waiting) < WINDOW * count and (doc := next(docs, None)) is not None:
                waiting.append((doc, loop.create_task(one(doc))))
            if not waiting:
                return
            doc, task = waiting[0]
            await asyncio.wait(
                [task]
            )  # not the task itself: who is cancelled here cancels all of them at once
            try:
                found = task.result()
            except Exception as error:
                raise told(error, Part(Slots([doc]), at), Job(func, verb), 0)  # noqa: B904  it is the error itself
            waiting.popleft()
            at += 1
            yield found
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
