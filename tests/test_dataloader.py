"""Batches of arrays, storages and files, in order or shuffled, and the datasets of torch."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.dataloader import Cutter, Stacked, StreamDataset, collate, recut
from docarray.errors import BadValue, FieldTypeError, OutOfRange

N = 1000


def made(n=N, **options):
    docs = (Document(id=str(i), tensor=np.full(4, i, np.float32), label=i % 10) for i in range(n))
    return DocumentArray(list(docs), **options)


def ids(batches):
    return [doc.id for batch in batches for doc in batch]


ALL = [str(i) for i in range(N)]


@pytest.fixture(params=["memory", "sqlite"])
def da(request, tmp_path):
    config = {"connection": str(tmp_path / "a.db")} if request.param == "sqlite" else None
    array = made(storage=request.param, config=config)
    yield array
    array.close()


# --- of a file: DocumentArray.dataloader ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.bin", "a.protobuf", "a.protobuf.gz", "a.ndjson", "a.pickle", "a.json"])
def test_a_file_of_any_format_in_batches(tmp_path, name):
    file = tmp_path / name
    made(50).save(file)
    options = {"protocol": "pickle"} if name == "a.pickle" else {}

    found = list(DocumentArray.dataloader(file, lambda batch: batch[:, "id"], 20, num_worker=2, **options))

    assert [20, 20, 10] == list(map(len, found))
    assert ALL[:50] == list(itertools.chain.from_iterable(found))


def test_a_file_that_the_old_library_wrote_is_read_as_it_was(tmp_path):
    """With its protocol named, as the old signature has it."""
    made(50).save_binary(str(tmp_path / "old.bin"), protocol="protobuf", compress="gzip")

    found = DocumentArray.dataloader(
        str(tmp_path / "old.bin"), len, batch_size=16, protocol="protobuf", compress="gzip", backend="process"
    )  # fmt: skip

    assert [16, 16, 16, 2] == list(found)


def test_what_is_wrong_with_a_file_is_told_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        DocumentArray.dataloader(tmp_path / "none.bin", len, 10)
    with pytest.raises(FieldTypeError):
        DocumentArray.dataloader(3, len, 10)
    made(3).save(tmp_path / "a.bin")
    with pytest.raises(BadValue, match="batch_size"):
        DocumentArray.dataloader(tmp_path / "a.bin", len, 0)


def test_an_error_names_the_batch(tmp_path):
    made(50).save(tmp_path / "a.bin")
    with pytest.raises(ZeroDivisionError) as caught:
        list(DocumentArray.dataloader(tmp_path / "a.bin", lambda batch: 1 / (batch[0].id != "20"), 10))
    assert "'20' to '29'" in caught.value.__notes__[0]


def large(path, count=16_000):
    """A file of 60 MB."""

    def docs():
        for i in range(count):
            yield Document(id=str(i), tensor=np.full(1024, i, np.float32))

    DocumentArray.save_stream(docs(), path, batch_size=250)


@pytest.mark.parametrize("name", ["large.bin", "large.protobuf"])
def test_memory_is_that_of_a_few_batches(tmp_path, name):
    pytest.importorskip("torch.utils.data", reason="pip install torch")  # its modules are not to be counted
    path = tmp_path / name
    large(path)
    size = os.path.getsize(path)
    assert size > 60e6

    tracemalloc.start()
    try:
        total = sum(
            DocumentArray.dataloader(path, lambda batch: float(batch[0].tensor[0]), 100, num_worker=2)
        )
        loaded = sum(
            len(doc.tensor) for doc in StreamDataset(path, shuffle=True, buffer_size=1000, block_size=100)
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sum(range(0, 16_000, 100)) == total
    assert 16_000 * 1024 == loaded
    assert most < size / 3


# --- of an array: da.dataloader --------------------------------------------------------------------------------------


def test_batches_of_an_array(da):
    batches = da.dataloader(batch_size=300)

    assert 4 == len(batches)
    assert ALL == ids(batches)
    assert ALL == ids(batches)
    assert [300, 300, 300] == [len(batch) for batch in da.dataloader(300, drop_last=True)]
    assert all(isinstance(batch, DocumentArray) for batch in batches)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_an_order_comes_from_seed_and_epoch(da, prefetch):
    batches = da.dataloader(batch_size=64, shuffle=True, seed=7, prefetch=prefetch)
    first, second = ids(batches), ids(batches)

    assert set(ALL) == set(first) == set(second)
    assert len(first) == N
    assert len({tuple(ALL), tuple(first), tuple(second)}) == 3
    again = da.dataloader(batch_size=64, shuffle=True, seed=7)
    again.set_epoch(1)
    assert second == ids(again)
    assert ids(da.dataloader(64, shuffle=True)) != ids(da.dataloader(64, shuffle=True))


def test_a_function_runs_ahead_and_its_error_names_the_batch(da):
    asked = []

    def func(batch):
        asked.append(threading.current_thread().name)
        return 1 / (batch[0].id != "500")

    batches = iter(da.dataloader(100, func=func, prefetch=2))
    assert 1.0 == next(batches)
    assert len(asked) <= 4
    with pytest.raises(ZeroDivisionError) as caught:
        list(batches)
    assert "'500' to '599'" in caught.value.__notes__[0]
    assert threading.main_thread().name not in asked
    assert not [t for t in threading.enumerate() if t.name.startswith("docarray")]


def test_leaving_early_stops_the_thread(da):
    batches = iter(da.dataloader(10))
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("docarray")]


def test_a_storage_is_read_batch_by_batch(tmp_path):
    with contextlib.closing(made(storage="sqlite", config={"connection": str(tmp_path / "a.db")})) as da:
        asked = []
        read = type(da.store).read

        class Watched(type(da.store)):
            def read(self, keys, *args):
                asked.append(len(keys))
                return read(self, keys, *args)

        da.store.__class__ = Watched
        assert N == len(ids(da.dataloader(128, shuffle=True)))
    assert max(asked) == 128


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"prefetch": -1}, {"seed": "x"}, {"seed": -1}, {"batch_size": "a.bin"}]
)
def test_wrong_settings(wrong):
    with pytest.raises(BadValue, match=next(iter(wrong))):
        made(3).dataloader(**{"batch_size": 2, **wrong})


def test_cutting_tables_keeps_rows():
    tables = [made(n)._slots.table() for n in (3, 0, 5, 1)]
    assert [4, 4, 1] == [len(table) for table in recut(tables, 4)]
    assert 0 == len(Cutter([]).take(3))


# --- torch -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install torch")


@pytest.fixture
def loader(torch):
    from torch.utils.data import DataLoader

    return DataLoader


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_over_an_array(da, loader, workers):
    batches = list(loader(da, batch_size=300, num_workers=workers))

    assert ALL == ids(batches)
    assert all(type(batch) is DocumentArray for batch in batches)
    batches = list(loader(da, batch_size=300, num_workers=workers, collate_fn=DocumentArray, shuffle=True))
    assert ALL == sorted(ids(batches), key=int)
    assert ALL != ids(batches)


def test_workers_that_are_spawned(da, loader):
    assert ALL == ids(loader(da, batch_size=500, num_workers=1, multiprocessing_context="spawn"))


def test_a_batch_costs_one_read(tmp_path, loader):
    with contextlib.closing(made(storage="sqlite", config={"connection": str(tmp_path / "a.db")})) as da:
        asked = []
        read = type(da.store).read

        class Watched(type(da.store)):
            def read(self, keys, *args):
                asked.append(len(keys))
                return read(self, keys, *args)

        da.store.__class__ = Watched
        list(loader(da, batch_size=250, shuffle=True))
    assert [250] * 4 == asked


def test_stacked_attributes(da, torch, loader):
    for x, y, key in loader(da, batch_size=100, collate_fn=Stacked("tensor", "tags__label", "id")):
        assert (x.dtype, x.shape, y.dtype) == (torch.float32, (100, 4), torch.int64)
        assert x[:, 0].tolist() == list(map(float, key))
        x += 1  # may be written to, and nobody else sees it
    assert 0.0 == da[0].tensor[0]
    with pytest.raises(BadValue):
        Stacked()
    assert repr(pickle.loads(pickle.dumps(Stacked("tensor")))) == "Stacked('tensor')"


def test_positions_are_checked(da):
    assert ["3", "999"] == da.__getitems__([np.int64(3), -1])[:, "id"]
    with pytest.raises(OutOfRange):
        da.__getitems__([N])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["a.bin", "a.bin.lz4", "a.protobuf", "a.ndjson.gz"])
def test_a_stream_gives_each_document_once(tmp_path, loader, name, workers):
    DocumentArray.save_stream(made(), tmp_path / name, batch_size=300)
    dataset = StreamDataset(tmp_path / name, shuffle=True, seed=3, block_size=50, buffer_size=200)

    found = ids(loader(dataset, batch_size=64, num_workers=workers))

    assert ALL == sorted(found, key=int)
    assert ALL != found
    assert found == ids(loader(dataset, batch_size=64, num_workers=workers))
    dataset.set_epoch(1)
    assert found != ids(loader(dataset, batch_size=64, num_workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_of_an_array(da, loader, workers):
    dataset = StreamDataset(da, batch_size=128, shuffle=True, seed=0)

    found = list(loader(dataset, batch_size=None, num_workers=workers, collate_fn=collate))

    assert ALL == sorted(ids(found), key=int)
    assert all(isinstance(batch, DocumentArray) for batch in found)
    assert ALL == ids(loader(StreamDataset(da), batch_size=100, num_workers=0))


def test_machines_share_a_stream(tmp_path, torch):
    made().save(tmp_path / "a.bin")
    parts = [StreamDataset(tmp_path / "a.bin", shuffle=True, seed=1, shard=(i, 3)) for i in range(3)]

    found = [[doc.id for doc in part] for part in parts]

    assert ALL == sorted(itertools.chain(*found), key=int)
    with pytest.raises(BadValue, match="shard"):
        StreamDataset(tmp_path / "a.bin", shard=(3, 3))


def test_a_stream_is_a_dataset_of_torch_and_can_be_pickled(tmp_path, torch):
    made(10).save(tmp_path / "a.bin")
    dataset = StreamDataset(tmp_path / "a.bin", shuffle=True)
    again = pickle.loads(pickle.dumps(dataset))

    assert isinstance(dataset, torch.utils.data.IterableDataset)
    assert isinstance(again, StreamDataset)
    assert [doc.id for doc in dataset] == [doc.id for doc in again]
    with pytest.raises(FileNotFoundError):
        StreamDataset(tmp_path / "none.bin")


def test_without_torch_there_are_batches_but_no_stream():
    code = """
import sys
sys.modules["torch"] = None
from docarray import DocumentArray, dataloader, errors
print(len(list(DocumentArray.empty(3).dataloader(2))))
try:
    dataloader.StreamDataset(DocumentArray.empty(3))
except errors.MissingExtra as error:
    print("pip install torch" in str(error))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert "2\nTrue\n" == done.stdout
