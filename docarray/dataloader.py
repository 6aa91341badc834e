"""Batches to read one after the other: of an array, a storage, or a file, in order or shuffled; and what torch wants.

Rule 1: what is read are columns, a block at a time; memory is that of a few blocks, whatever the size of the source.
Rule 2: an order comes from (seed, epoch) and nothing else: each worker of torch deals the blocks for itself, and all
        deal the same, so that none is read twice and none is left out.
Rule 3: torch is loaded when a StreamDataset is made, or by whoever uses it; the rest needs none.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import functools
import operator
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from numbers import Number
from typing import Any, Final, cast

import numpy as np

from docarray import exchange, files, tensors, workers
from docarray.document import Document, Links
from docarray.errors import BadValue, FieldTypeError, OutOfRange
from docarray.registry import require, resolve
from docarray.rows import Slots
from docarray.settle import settled
from docarray.table import Table

__all__ = ["Batches", "Cutter", "Stacked", "StreamDataset", "collate"]

_BLOCK: Final = 256
_BUFFER: Final = 4096


def checked_size(size: Any, name: str = "batch_size", least: int = 1) -> int:
    """The size, if it is one.

    Raises:
        BadValue: it is no int, or below `least`.
    """
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < least:
        raise BadValue(f"{name}={size!r}: it is an int {'above 0' if least else 'from 0'}")
    return int(cast("Any", size))


def _checked_seed(seed: Any) -> int:
    """The seed; where none is given one that nobody knows."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    return checked_size(seed, "seed", 0)


def check_file(path: Any) -> None:
    """Does nothing if the file is there, as far as one can tell without fetching anything.

    Raises:
        FileNotFoundError: it is not. FieldTypeError: this is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise FieldTypeError(f"a path or URL is wanted; got {path!r:.80}")
    local = files.path_of(cast("Any", path))
    if local is not None:
        os.stat(local)


class Cutter:
    """Tables that come as they come, cut to tables of as many rows as one asks for."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = iter(tables)
        self._left: Table | None = None

    def take(self, count: int) -> Table:
        """The next `count` rows; fewer at the end, and none after it."""
        parts: list[Table] = []
        while count:
            table = self._left if self._left is not None else next(self._tables, None)
            if table is None:
                break
            self._left = table.slice(count, len(table)) if len(table) > count else None
            if len(table):
                parts.append(table.slice(0, count) if len(table) > count else table)
                count -= len(parts[-1])
        if len(parts) == 1:
            return parts[0]
        return Table.concat(parts) if parts else Table({}, 0, [])


def recut(tables: Iterable[Table], size: int) -> Iterator[Table]:
    """The same rows in tables of so many; the last may have fewer."""
    cutter = Cutter(tables)
    while len(table := cutter.take(size)):
        yield table


# --------------------------------------------------------------------------------------------- batches of an array


class Batches:
    """The batches of an array, to be walked again and again; see `DocumentArray.load_in_batches`."""

    batch_size: int
    shuffle: bool
    seed: int
    drop_last: bool
    epoch: int
    """Of the next walk. Each walk counts on by one."""

    def __init__(
        self,
        array: Any,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        func: Callable[[Any], Any] | None = None,
        prefetch: int = 2,
        drop_last: bool = False,
    ) -> None:
        self.batch_size = checked_size(batch_size)
        self.shuffle = bool(shuffle)
        self.seed = _checked_seed(seed)
        self.drop_last = bool(drop_last)
        self.epoch = 0
        self._array = array
        self._call = None if func is None else workers.checked(func, "dataloader")
        self._ahead = checked_size(prefetch, "prefetch", 0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next walk, as after a restart."""
        self.epoch = checked_size(epoch, "epoch", 0)

    def __len__(self) -> int:
        count, size = len(self._array), self.batch_size
        return count // size if self.drop_last else -(-count // size)

    def __iter__(self) -> Generator[Any]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._walk(epoch)

    def _walk(self, epoch: int) -> Generator[Any]:
        body = self._array._slots
        # Of a store the ids: positions would mean other documents when some are deleted meanwhile.
        places: Sequence[Any] = range(len(body)) if body.store is None else body.ids()
        batches: Iterator[Sequence[Any]]
        starts, size = self._starts(len(places)), self.batch_size
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(places))
            batches = ([places[at] for at in order[start : start + size].tolist()] for start in starts)
        else:
            batches = (places[start : start + size] for start in starts)
        calls = (functools.partial(self._made, body, batch) for batch in batches)
        # Inside `with da:` the storage is that of the calling thread.
        if not self._ahead or (body.store is not None and body._open):
            return (call() for call in calls)
        return workers.in_turn(calls, self._ahead)

    def _starts(self, count: int) -> range:
        return range(0, count - count % self.batch_size if self.drop_last else count, self.batch_size)

    def _made(self, body: Slots, places: Sequence[Any]) -> Any:
        if isinstance(places, range):
            places = cast("Any", slice(places.start, places.stop))
        slots = body.select(places)
        batch = Links.array(slots)
        if self._call is None:
            return batch
        try:
            return self._call(batch)
        except Exception as error:
            raise workers.told(
                error, workers.Part(slots, None), workers.Job(self._call, "dataloader", whole=True), 0
            ) from error.__cause__


# --------------------------------------------------------------------------------------------- torch


def picked(array: Any, positions: Sequence[Any]) -> Any:
    """The documents at these positions, in one array: one read of a store, whatever their number."""
    numbers = [operator.index(position) for position in positions]
    count = len(array)
    for number in numbers:
        if not -count <= number < count:
            raise OutOfRange(f"position {number} is out of range for an array of {count}")
    _introduce()
    return Links.array(array._slots.select([number % count for number in numbers]))


def collate(batch: Iterable[Any]) -> Any:
    """Documents as a DocumentArray: the `collate_fn` of a torch DataLoader over an array or a StreamDataset.

    It is the default: `DataLoader(da, batch_size=32)` gives DocumentArrays.
    """
    return Links.array(batch)


class Stacked:
    """A `collate_fn` for torch: attributes of the documents, each as one tensor.

    Args:
        *attributes: what `da[:, attribute]` takes: 'tensor', 'embedding', 'tags__label', 'text', ...

    Numbers and arrays become tensors of their dtype, stacked; anything else stays a list. One attribute is given by
    itself, several as a tuple.

    Raises:
        BadValue: no attribute is given. MissingEmbedding: documents have no tensor. ShapeError: they differ in shape.

    >>> from docarray import Document, DocumentArray
    >>> da = DocumentArray([Document(tensor=[1.0, 2.0], label=0), Document(tensor=[3.0, 4.0], label=1)])
    >>> x, y = Stacked('tensor', 'tags__label')(da)                         # doctest: +SKIP
    >>> x, y                                                                # doctest: +SKIP
    (tensor([[1., 2.], [3., 4.]], dtype=torch.float64), tensor([0, 1]))
    """

    def __init__(self, *attributes: str) -> None:
        if not attributes:
            raise BadValue("Stacked takes the attributes to stack, such as Stacked('tensor', 'tags__label')")
        self.attributes = attributes

    def __call__(self, batch: Iterable[Any]) -> Any:
        """The attributes of a batch."""
        docs = batch if isinstance(batch, _array()) else Links.array(batch)
        found = [_tensor(cast("Any", docs)[:, name]) for name in self.attributes]
        return tuple(found) if len(found) > 1 else found[0]

    def __repr__(self) -> str:
        return f"Stacked({', '.join(map(repr, self.attributes))})"


def _tensor(values: Any) -> Any:
    if isinstance(values, list):
        numbers = cast("list[Any]", values)
        if not numbers or not all(isinstance(value, (Number, np.generic)) for value in numbers):
            if numbers and all(isinstance(value, np.ndarray) for value in numbers):
                return _tensor(tensors.stack(numbers))
            return numbers
        return _torch().tensor(numbers)
    if tensors.framework(values) == "torch":
        return values
    array = tensors.to_numpy(values)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return _torch().from_numpy(
        array if array.flags.writeable else array.copy()
    )  # who may write wants his own


def _array() -> Any:
    return Links.array


def _torch() -> Any:
    return require("torch", "a torch tensor")


def _introduce() -> None:
    """Tells the default collate of torch what it asks to be told of other classes: what a batch of documents is."""
    module = sys.modules.get("torch.utils.data._utils.collate")
    known = getattr(module, "default_collate_fn_map", None)
    if known is not None and Document not in known:
        known[Document] = _collated


def _collated(batch: Any, *, collate_fn_map: Any = None) -> Any:
    return collate(batch)


@functools.cache
def _of_torch(cls: type[Any]) -> type[Any]:
    """The class as one of torch's datasets too: that is how its DataLoader knows them."""
    base = require("torch.utils.data", "StreamDataset", "torch").IterableDataset
    if issubclass(cls, base):
        return cls
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (cls, base), names)


def _again(cls: Any, state: dict[str, Any]) -> Any:
    fresh: Any = cls.__new__(cls)
    fresh.__dict__.update(state)
    return fresh


class StreamDataset:
    """A torch IterableDataset over a file, a storage or an array, of any size.

    Args:
        source: a path or URL of any format, or a DocumentArray, on a storage or in memory.
        batch_size: give DocumentArrays of so many documents (with `DataLoader(dataset, batch_size=None)`); None:
            documents, which the DataLoader puts into batches.
        shuffle: blocks in a random order, and documents within a buffer of several blocks. Formats other than the
            native one, and native files on other machines, are read from the beginning to the end: there it is the
            buffer alone.
        seed: of the orders, with the epoch; None: drawn when this is made.
        buffer_size: documents that are shuffled together; also the most that are held.
        block_size: documents that are read together.
        shard: (which, of how many), where several machines share one source.
        protocol, compress: of a file, as of `DocumentArray.load`.

    The workers of a DataLoader (`num_workers=`) share the documents: each is given once. A worker reads the blocks that
    are its own; of formats that are read from the beginning each worker reads all, and gives its own. A DataLoader with
    `persistent_workers=True` keeps to the epoch that its workers were started in.

    Raises:
        MissingExtra: torch is not installed. FileNotFoundError: there is no such file. BadValue: a size is no int
        above 0, or the shard is none.
    """

    source: Any
    batch_size: int | None
    shuffle: bool
    seed: int
    buffer_size: int
    block_size: int
    shard: tuple[int, int]
    epoch: int

    def __new__(cls, *args: Any, **kwargs: Any) -> StreamDataset:
        """One of torch's datasets."""
        return object.__new__(_of_torch(cls))

    def __init__(
        self,
        source: Any,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int | None = None,
        buffer_size: int = _BUFFER,
        block_size: int = _BLOCK,
        shard: tuple[int, int] = (0, 1),
        protocol: str | None = None,
        compress: str | None = None,
    ) -> None:
        if not isinstance(source, _array()):
            check_file(source)
        self.source = source
        self.batch_size = None if batch_size is None else checked_size(batch_size)
        self.shuffle = bool(shuffle)
        self.seed = _checked_seed(seed)
        self.buffer_size = checked_size(buffer_size, "buffer_size")
        self.block_size = checked_size(block_size, "block_size")
        which, of = shard
        self.shard = checked_size(which, "shard[0]", 0), checked_size(of, "shard[1]")
        if self.shard[0] >= self.shard[1]:
            raise BadValue(f"shard={shard!r}: (which, of how many), counted from 0")
        self.epoch = 0
        self._format = protocol, compress

    def __reduce__(self) -> tuple[Any, ...]:
        named = next(
            kind for kind in type(self).__mro__ if kind is not _of_torch(kind) or kind is StreamDataset
        )
        return _again, (named, self.__dict__)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next walks. They are all the same until then."""
        self.epoch = checked_size(epoch, "epoch", 0)

    def __iter__(self) -> Iterator[Any]:
        _introduce()
        which, of = self.shard
        info = require("torch.utils.data", "StreamDataset", "torch").get_worker_info()
        if info is not None:
            which, of = which * info.num_workers + info.id, of * info.num_workers
        tables = self._blocks(which, of)
        if self.shuffle:
            tables = self._shuffled(tables, np.random.default_rng([self.seed, self.epoch, 1 + which]))
        if self.batch_size is not None:
            return (Links.array(table) for table in recut(tables, self.batch_size))
        return (doc for table in tables for doc in Slots.of_table(table).docs())

    def _shuffled(self, tables: Iterator[Table], rng: np.random.Generator) -> Iterator[Table]:
        for table in recut(tables, self.buffer_size):
            order = rng.permutation(len(table))
            for at in range(0, len(table), self.block_size):
                yield table.take(order[at : at + self.block_size])

    def _dealt(self, count: int, which: int, of: int) -> Iterator[int]:
        """The numbers of the blocks that are read here, in the order in which they are."""
        if not self.shuffle:
            return iter(range(which, count, of))
        return iter(np.random.default_rng([self.seed, self.epoch, 0]).permutation(count)[which::of].tolist())

    def _blocks(self, which: int, of: int) -> Iterator[Table]:
        if isinstance(self.source, _array()):
            return self._blocks_of_array(which, of)
        path = files.path_of(self.source)
        if path is not None and self._is_native(path):
            return self._blocks_of_file(path, which, of)
        tables = recut(exchange.stream(self.source, *self._format), self.block_size)
        return (table for number, table in enumerate(tables) if number % of == which)

    def _blocks_of_array(self, which: int, of: int) -> Iterator[Table]:
        body: Slots = self.source._slots
        size = self.block_size
        keys = None if body.store is None else body.ids()
        for number in self._dealt(-(-len(body) // size), which, of):
            if body.store is None or keys is None:
                yield body.select(slice(number * size, (number + 1) * size)).table()
            else:
                yield body.store.read(keys[number * size : (number + 1) * size])

    def _is_native(self, path: str) -> bool:
        if not os.path.isfile(path):
            return False
        return exchange.format_of(path) == ("binary", None) if self._format == (None, None) else False

    def _blocks_of_file(self, path: str, which: int, of: int) -> Iterator[Table]:
        with resolve("room", "container").open(path) as batches:
            blocks: list[tuple[int, int, int]] = []
            for number, (rows, packed) in enumerate(zip(batches.rows, batches.compression, strict=True)):
                size = (rows or 1) if packed else self.block_size  # a packed batch is unpacked whole
                blocks += [(number, at, min(at + size, rows)) for at in range(0, rows, size)]

            @functools.lru_cache(maxsize=4)
            def table_of(number: int) -> Table:
                return settled(batches[number])

            for block in self._dealt(len(blocks), which, of):
                number, start, stop = blocks[block]
                yield table_of(number).slice(start, stop)
