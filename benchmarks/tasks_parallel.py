"""The work of bench_parallel.py: see tasks.py for the rules."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tasks import array, clock, documents, task


def length(doc):
    return len(doc.text)


def rounds_of_hash(doc):
    """Some 200 us of Python."""
    value = doc.text.encode()
    for _ in range(200):
        value = hashlib.sha256(value).digest()
    return value.hex()


@task
def map_threads(n: int):
    da = array(n, "text")
    while True:
        with clock:
            found = sum(da.map(length, num_worker=2))
        yield clock.seconds / n, found


@task
def map_executor(n: int):
    docs = documents(n, "text")
    with ThreadPoolExecutor(2) as pool:
        while True:
            with clock:
                found = sum(pool.map(length, docs))
            yield clock.seconds / n, found


@task
def map_comprehension(n: int):
    docs = documents(n, "text")
    while True:
        with clock:
            found = sum([length(doc) for doc in docs])
        yield clock.seconds / n, found


@task
def map_processes(n: int):
    da = array(n, "text")
    while True:
        with clock:
            found = list(da.map(rounds_of_hash, backend="process", num_worker=2))
        yield clock.seconds / n, found[-1]


def _loader(data, collate_fn=None):
    from torch.utils.data import DataLoader

    return DataLoader(data, batch_size=64, shuffle=True, collate_fn=collate_fn)


def _matrix(n: int):
    return np.random.default_rng(0).random((n, 512), np.float32)


@task
def torch_array(n: int):
    from docarray import DocumentArray
    from docarray.dataloader import Stacked

    da = DocumentArray.from_columns(tensor=_matrix(n))
    loader = _loader(da, Stacked("tensor"))
    while True:
        with clock:
            found = sum(float(batch.sum()) for batch in loader)
        yield clock.seconds / len(loader), round(found / n)


@task
def torch_plain(n: int):
    import torch

    loader = _loader(torch.utils.data.TensorDataset(torch.from_numpy(_matrix(n))))
    while True:
        with clock:
            found = sum(float(batch.sum()) for (batch,) in loader)
        yield clock.seconds / len(loader), round(found / n)
