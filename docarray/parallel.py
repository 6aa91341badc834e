"""What an array does with many workers: a function on each document, or on each batch, by threads, processes or Ray.

Rule 1: who reads sets the pace, order is kept, an error names its document, and nothing is left running: see
        workers.py, which is loaded when the first of these is called.
Rule 2: apply writes when all is computed, and then all or nothing, on every storage. Until then the function sees
        copies; in memory the documents stay the objects that they are.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import contextlib
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, cast, overload

from docarray import exchange
from docarray.document import Document
from docarray.errors import FieldTypeError
from docarray.live import deferred
from docarray.porting import Porting
from docarray.progress import Bar, Show
from docarray.rows import Slots
from docarray.store import BATCH
from docarray.stored import Stored, whole
from docarray.table import Table

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import TypeVar as DefaultTypeVar

    from docarray.array import DocumentArray
    from docarray.dataloader import Batches
    from docarray.workers import Job, Outcome, Part

    D = DefaultTypeVar("D", bound=Document, default=Document)
else:
    D = TypeVar("D", bound=Document)

__all__ = ["Parallel"]

T = TypeVar("T")
_ROWS: Final = 1024  # that are read from a store together
Backend: TypeAlias = Literal["thread", "process", "ray"]


class Dataloader:
    """`DocumentArray.dataloader(file, ...)` and `da.dataloader(...)`: one name, and what it is asked of decides."""

    @overload
    def __get__(self, array: None, kind: type[Any]) -> Callable[..., Generator[Any]]: ...
    @overload
    def __get__(self, array: Parallel[Any], kind: type[Any]) -> Callable[..., Batches]: ...
    def __get__(self, array: Parallel[Any] | None, kind: type[Any]) -> Callable[..., Any]:
        return kind.stream_batches if array is None else array.load_in_batches


class Parallel(Porting[D], Generic[D]):
    """The part of DocumentArray that calls functions with many workers; see there."""

    __slots__ = ()

    if TYPE_CHECKING:

        def batch(self, batch_size: int, shuffle: bool = False) -> Iterator[DocumentArray[D]]: ...
        def batch_ids(self, batch_size: int, shuffle: bool = False) -> Iterator[list[str]]: ...

    def map(
        self,
        func: Callable[[D], T],
        backend: Backend = "thread",
        num_worker: int | None = None,
        show_progress: Show = False,
        pool: Any = None,
    ) -> Generator[T]:
        """What a function gives for each document, in the order of the array, as it is asked for.

        Args:
            func: a function of a document. With 'process' and 'ray' any of a module; with cloudpickle installed
                lambdas and local functions too. It gets the documents themselves in threads, copies elsewhere.
            backend: 'thread' (for what waits, or leaves Python: numpy, images), 'process' (for Python code), 'ray'
                (the session that is there, or one on this machine that ends with the call).
            num_worker: as many as the processors that this process may use, unless given.
            show_progress: True, False, None (on a terminal, where it takes long) or a callable.
            pool: an executor of concurrent.futures or a pool of multiprocessing, instead of a backend; it stays open.

        Returns:
            A generator. Two tasks a worker are under way or unread; where they are short, each is several documents.
            Whoever closes it, or is interrupted, ends what was started.

        Raises:
            UnknownName: no such backend. BadValue: `num_worker` is no int above 0. MissingExtra: cloudpickle is
            needed, or ray. WorkerError: a worker process died; the message names the document. What `func` raises,
            with a note that names the document.

        Inside `with da:` on a storage the functions of 'thread' run in the calling thread, one after the other: the
        storage is its own until the block ends.

        Costs about 3 us a document in threads; a process takes 0.3 s to start.

        >>> from docarray import Document, DocumentArray
        >>> da = DocumentArray([Document(text='tea'), Document(text='milk')])
        >>> list(da.map(lambda doc: len(doc.text)))
        [3, 4]
        """
        job, outcomes = _outcomes(self, func, "map", backend, num_worker, pool)
        return _values(_counted(outcomes, job, len(self), show_progress))

    def map_batch(
        self,
        func: Callable[[DocumentArray[D]], T],
        batch_size: int,
        backend: Backend = "thread",
        num_worker: int | None = None,
        shuffle: bool = False,
        show_progress: Show = False,
        pool: Any = None,
    ) -> Generator[T]:
        """What a function gives for each batch of `batch_size` documents, the last of which may be smaller.

        Arguments and errors: as of `map`, `func` takes a DocumentArray; BadValue: `batch_size` is no int above 0.

        Args:
            shuffle: whether the documents are dealt out to the batches at random.

        >>> from docarray import DocumentArray
        >>> list(DocumentArray.empty(5).map_batch(len, batch_size=2))
        [2, 2, 1]
        """
        job, outcomes = _outcomes(self, func, "map_batch", backend, num_worker, pool, batch_size, shuffle)
        return _values(_counted(outcomes, job, len(self), show_progress))

    def apply(
        self,
        func: Callable[[D], D],
        backend: Backend = "thread",
        num_worker: int | None = None,
        show_progress: Show = False,
        pool: Any = None,
    ) -> Self:
        """Makes each document what a function gives for it; gives this array.

        The function gets a copy, which it changes and gives back, or gives another document of the same id. When all
        are computed they are written, all or none: after an error the array is as it was. In memory the documents
        stay the same objects. What comes from a store waits in a temporary file where it is much.

        Arguments: as of `map`.

        Raises:
            FieldTypeError: `func` gave no document; None is none. MissingDocument: it gave one of another id. Else as
            of `map`.

        >>> from docarray import Document, DocumentArray
        >>> def loud(doc):
        ...     doc.text = doc.text.upper()
        ...     return doc
        >>> DocumentArray([Document(text='tea'), Document(text='milk')]).apply(loud).texts
        ['TEA', 'MILK']
        """
        job, outcomes = _outcomes(self, func, "apply", backend, num_worker, pool, keeps=True)
        _written(self._slots, _counted(outcomes, job, len(self), show_progress))
        return self

    def apply_batch(
        self,
        func: Callable[[DocumentArray[D]], DocumentArray[D]],
        batch_size: int,
        backend: Backend = "thread",
        num_worker: int | None = None,
        shuffle: bool = False,
        show_progress: Show = False,
        pool: Any = None,
    ) -> Self:
        """As `apply`, with a function of an array of `batch_size` documents that gives an array of the same ids.

        >>> from docarray import Document, DocumentArray
        >>> def number(batch):
        ...     batch.texts = [f'{place} of {len(batch)}' for place in range(len(batch))]
        ...     return batch
        >>> DocumentArray.empty(3).apply_batch(number, batch_size=2).texts
        ['0 of 2', '1 of 2', '0 of 1']
        """
        job, outcomes = _outcomes(
            self, func, "apply_batch", backend, num_worker, pool, batch_size, shuffle, keeps=True
        )
        _written(self._slots, _counted(outcomes, job, len(self), show_progress))
        return self

    # ------------------------------------------------------------------------------------------ asyncio

    def amap(
        self,
        func: Callable[[D], Awaitable[T]] | Callable[[D], T],
        num_worker: int | None = None,
        show_progress: Show = False,
    ) -> AsyncGenerator[T]:
        """`map` for `async for`: of an `async def` function in the running loop, of any other in threads.

        Args:
            func: see above.
            num_worker: how many run at once: 32 of `async def`, else as of `map`.
            show_progress: as of `map`.

        Order, bounds and errors: as of `map`. Closing the generator, or cancelling who reads it, cancels what runs; a
        plain function that runs already ends by itself.

        >>> import asyncio
        >>> from docarray import Document, DocumentArray
        >>> async def main():
        ...     async def length(doc):
        ...         await asyncio.sleep(0.001)
        ...         return len(doc.text)
        ...     return [n async for n in DocumentArray([Document(text='tea'), Document(text='milk')]).amap(length)]
        >>> asyncio.run(main())
        [3, 4]
        """
        return _awaited(self, func, "amap", num_worker, show_progress, keeps=False)

    async def aapply(
        self,
        func: Callable[[D], Awaitable[D]] | Callable[[D], D],
        num_worker: int | None = None,
        show_progress: Show = False,
    ) -> Self:
        """`apply` to await; arguments as of `amap`."""
        new = [doc async for doc in _awaited(self, func, "aapply", num_worker, show_progress, keeps=True)]
        body = self._slots
        if body.store is None:
            _become(body.docs(), new)
        else:
            parts = (new[at : at + BATCH] for at in range(0, len(new), BATCH))
            _rewrite(cast("Stored", body), (Slots(part).table() for part in parts))
        return self

    # ------------------------------------------------------------------------------------------ batches

    dataloader: Dataloader = Dataloader()
    """Batches to read one after the other: of a file (`stream_batches`), or of this array (`load_in_batches`)."""

    @classmethod
    def stream_batches(
        cls,
        path: str | os.PathLike[str],
        func: Callable[[DocumentArray[Any]], T],
        batch_size: int,
        protocol: str | None = None,
        compress: str | None = None,
        backend: Backend = "thread",
        num_worker: int | None = None,
        pool: Any = None,
        show_progress: Show = False,
    ) -> Generator[T]:
        """`DocumentArray.dataloader(path, func, ...)`: what a function gives for each batch of a file, in order.

        Memory is that of a few batches, whatever the size of the file, in the formats that are read in pieces.

        Args:
            path: a path or URL, of any format.
            func: a function of a DocumentArray.
            batch_size: documents a batch; the last may be smaller.
            protocol, compress: as of `DocumentArray.load`; found by content and suffixes unless given.
            backend, num_worker, pool, show_progress: as of `map`.

        Raises:
            FileNotFoundError, CorruptData, UnsupportedFormat: as of `load`. Else as of `map_batch`.
        """
        from docarray import dataloader, workers

        job = workers.Job(workers.checked(func, "dataloader"), "dataloader", whole=True)
        workers.check_backend(backend, pool)
        workers.worker_count(num_worker)
        size = dataloader.checked_size(batch_size)
        dataloader.check_file(path)

        def parts(crosses: bool) -> Callable[[int], Part | None]:
            tables = dataloader.recut(exchange.stream(path, protocol, compress), size)
            made = (workers.Part(Slots.of_table(table), None) for table in tables)
            return lambda count: next(made, None)

        outcomes = workers.each_in_order(
            lambda: workers.crew_of(job, backend, num_worker, pool, False), parts, job, grow=False
        )
        return _values(_counted(outcomes, job, None, show_progress))

    def load_in_batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        func: Callable[[DocumentArray[D]], Any] | None = None,
        prefetch: int = 2,
        drop_last: bool = False,
    ) -> Batches:
        """`da.dataloader(...)`: the batches of this array, to be walked as often as one likes; each walk is an epoch.

        A thread reads ahead while the last batch is worked on. Of a store, what is read are the rows of a batch: it
        may be larger than memory.

        Args:
            batch_size: documents a batch; the last may be smaller.
            shuffle: a new random order in each epoch. The same `seed` gives the same orders: that of epoch n depends
                on `seed` and n alone.
            seed: see above; None: orders that nobody can repeat.
            func: what makes something else of each DocumentArray; called in the thread that reads ahead.
            prefetch: batches that are read ahead; 0: each when it is asked for.
            drop_last: leave a smaller last batch out.

        Returns:
            `len` of it is the number of batches; `set_epoch(n)` chooses the epoch of the next walk.

        Raises:
            BadValue: `batch_size` is no int above 0, `prefetch` none from 0. What `func` raises.

        >>> from docarray import DocumentArray
        >>> batches = DocumentArray.empty(5).dataloader(batch_size=2, shuffle=True, seed=7)
        >>> len(batches), [len(batch) for batch in batches]
        (3, [2, 2, 1])
        """
        from docarray.dataloader import Batches

        return Batches(
            cast("Any", self),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            func=func,
            prefetch=prefetch,
            drop_last=drop_last,
        )

    def __getitems__(self, positions: Sequence[int]) -> Any:
        """The documents at these positions as an array, read together: what torch.utils.data.DataLoader asks for."""
        from docarray import dataloader

        return dataloader.picked(cast("Any", self), positions)


# ------------------------------------------------------------------------------------------ what is called, on what


def _outcomes(
    array: Parallel[Any],
    func: Any,
    verb: str,
    backend: str,
    num_worker: int | None,
    pool: Any,
    batch_size: int | None = None,
    shuffle: bool = False,
    keeps: bool = False,
) -> tuple[Job, Generator[tuple[Part, Outcome]]]:
    from docarray import workers
    from docarray.dataloader import checked_size

    job = workers.Job(workers.checked(func, verb), verb, whole=verb.endswith("_batch"), keeps=keeps)
    workers.check_backend(backend, pool)
    workers.worker_count(num_worker)
    size = checked_size(batch_size) if job.whole else 0
    body = array._slots
    in_memory = body.store is None
    # Inside `with da:` the storage is that of this thread until the block ends.
    alone = isinstance(body, Stored) and bool(body._open)

    def parts(crosses: bool) -> Callable[[int], Part | None]:
        if job.whole:
            return _batches(array, size, shuffle, plain=keeps and not in_memory)
        return _stretches(array, crosses, keeps)

    copies = keeps and in_memory
    return job, workers.each_in_order(
        lambda: workers.crew_of(job, backend, num_worker, pool, copies, alone), parts, job, grow=not job.whole
    )


def _batches(array: Parallel[Any], size: int, shuffle: bool, plain: bool) -> Callable[[int], Part | None]:
    from docarray.workers import Part

    def made() -> Iterator[Part]:
        if not plain:
            for batch in array.batch(size, shuffle):
                yield Part(batch._slots, None)
            return
        # Not the live documents: what would be changed in them would be written there and then.
        for keys in array.batch_ids(size, shuffle):
            yield Part(Slots.of_table(cast("Stored", array._slots).read_known(keys)), None)

    found = made()
    return lambda count: next(found, None)


def _stretches(array: Parallel[Any], crosses: bool, keeps: bool) -> Callable[[int], Part | None]:
    """What gives the next so many documents."""
    from docarray.workers import Part

    body, at = array._slots, 0
    store = body.store
    if store is None and crosses:  # rows that nobody touched cross as columns

        def of_slots(count: int) -> Part | None:
            nonlocal at
            part = Part(body.select(slice(at, at + count)), at)
            at += count
            return part if len(part.slots) else None

        return of_slots
    if store is not None and (crosses or keeps):
        from docarray.dataloader import Cutter

        cutter = Cutter(_tables(cast("Stored", body)))

        def of_tables(count: int) -> Part | None:
            nonlocal at
            table = cutter.take(count)
            part = Part(Slots.of_table(table), at)
            at += len(table)
            return part if len(table) else None

        return of_tables
    walk = iter(body) if store is None else _live(cast("Stored", body))

    def of_docs(count: int) -> Part | None:
        nonlocal at
        docs = list(islice(walk, count))
        part = Part(Slots(docs), at)
        at += len(docs)
        return part if docs else None

    return of_docs


# Not by `scan`, which may keep the store to its thread until the end: the functions of other threads may want it too.
def _tables(body: Stored) -> Iterator[Table]:
    """The rows of a store; those that were deleted meanwhile are left out."""
    ids = body.ids()
    for at in range(0, len(ids), _ROWS):
        yield body.read_known(ids[at : at + _ROWS])


def _live(body: Stored) -> Iterator[Document]:
    """The documents of a store."""
    ids = body.ids()
    for at in range(0, len(ids), _ROWS):
        known = body.store.known(ids[at : at + _ROWS])
        yield from body.select([key for key in ids[at : at + _ROWS] if key in known]).docs()


def _counted(
    outcomes: Generator[tuple[Part, Outcome]], job: Job, total: int | None, show: Show
) -> Generator[tuple[Part, Outcome]]:
    if show is False:
        return outcomes
    return _with_bar(outcomes, job.verb, total, show)


def _with_bar(
    outcomes: Generator[tuple[Part, Outcome]], title: str, total: int | None, show: Show
) -> Generator[tuple[Part, Outcome]]:
    try:
        with Bar(title, total, show=show) as bar:
            for part, outcome in outcomes:
                bar.step(len(part.slots))
                yield part, outcome
    finally:
        outcomes.close()


def _values(outcomes: Generator[tuple[Part, Outcome]]) -> Generator[Any]:
    try:
        for _, outcome in outcomes:
            yield from outcome.values
    finally:
        outcomes.close()


def _awaited(
    array: Parallel[Any], func: Any, verb: str, num_worker: int | None, show: Show, keeps: bool
) -> AsyncGenerator[Any]:
    from docarray import workers

    if not callable(func):
        raise FieldTypeError(f"{verb} takes a function; got {func!r:.80}")
    workers.worker_count(num_worker)
    return _each_awaited(array, func, verb, num_worker, show, keeps)


async def _each_awaited(
    array: Parallel[Any], func: Any, verb: str, num_worker: int | None, show: Show, keeps: bool
) -> AsyncGenerator[Any]:
    from docarray import workers

    body = array._slots
    docs: Iterable[Document] = body if body.store is None else _live(cast("Stored", body))
    if keeps and body.store is not None:
        docs = (doc for table in _tables(cast("Stored", body)) for doc in Slots.of_table(table).docs())
    copies = keeps and body.store is None
    found: AsyncIterator[Any] = workers.async_in_order(iter(docs), func, verb, num_worker, keeps, copies)
    with Bar(verb, len(array), show=show) as bar:
        try:
            async for value in found:
                bar.step()
                yield value
        finally:
            await cast("Any", found).aclose()


# ------------------------------------------------------------------------------------------ writing


def _written(body: Slots, outcomes: Generator[tuple[Part, Outcome]]) -> None:
    """Writes what a function gave for all documents, when it is all there."""
    with contextlib.closing(outcomes):
        _gather_and_write(body, outcomes)


def _gather_and_write(body: Slots, outcomes: Generator[tuple[Part, Outcome]]) -> None:
    if body.store is None:
        old: list[Document] = []
        new: list[Document] = []
        for part, outcome in outcomes:
            old += part.slots.docs()
            new += outcome.values
        _become(old, new)
        return
    with _Waiting() as waiting:
        for _, outcome in outcomes:
            if outcome.error is None:  # else it is raised next
                waiting.add(cast("Slots", outcome.values).table())
        _rewrite(cast("Stored", body), waiting.tables())


def _become(old: Sequence[Document], new: Sequence[Document]) -> None:
    """Makes documents say what others of their ids say."""
    with deferred():
        for one, other in zip(old, new, strict=True):
            one._become(other, one._place)


def _rewrite(body: Stored, tables: Iterable[Table]) -> None:
    """Writes all fields of rows that are there, all or none; documents that somebody has say the new ones."""
    with body.writing():
        for table in tables:
            table = whole(table)
            body.store.update(table)
            body._follow(table.ids, table)
            body._wrote(table.ids)
            body._renew(table.ids)


class _Waiting:
    """Tables that wait to be written: the last of them in memory, the others in a temporary file."""

    def __init__(self) -> None:
        import tempfile

        self._file = tempfile.SpooledTemporaryFile(max_size=1 << 24)  # noqa: SIM115  closed in __exit__
        self._sizes: list[int] = []
        self._last: list[Table] = []
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, table: Table) -> None:
        """One more."""
        self._last.append(table)
        self._rows += len(table)
        if self._rows >= BATCH:
            self._sizes.append(self._file.write(exchange.dumps(Table.concat(self._last))))
            self._last, self._rows = [], 0

    def tables(self) -> Iterator[Table]:
        """All of them, in order."""
        self._file.seek(0)
        for size in self._sizes:
            yield exchange.loads(self._file.read(size))
        if self._last:
            yield Table.concat(self._last)
