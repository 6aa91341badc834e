"""The work of bench_embedding.py: real models, called by `embed` and by hand on the same batches of 64.

A model tells the time that it takes, and a round gives what was spent outside of it, as a share of that: two times
of the model differ by more than what is measured here. One thread.
"""

from __future__ import annotations

import gc
import importlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tasks import clock, task, texts

BATCH = 64


def _parts(n: int) -> list[slice]:
    return [slice(start, start + BATCH) for start in range(0, n, BATCH)]


class Watch:
    """A function of a batch, and the seconds inside of it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.seconds = 0.0

    def __call__(self, batch: Any) -> Any:
        start = time.perf_counter()
        found = self.function(batch)
        self.seconds += time.perf_counter() - start
        return found


def _outside(watch: Watch, work: Callable[[], Any]) -> Iterator[tuple[float, Any]]:
    while True:
        gc.collect()
        watch.seconds = 0.0
        start = time.perf_counter()
        found = work()
        spent = time.perf_counter() - start
        yield (
            (spent - watch.seconds) / watch.seconds,
            [
                *found.shape,
                round(float(abs(np.asarray(found)).sum()), 1),
            ],
        )


def _images(n: int) -> np.ndarray:
    return np.random.default_rng(5).random((n, 3, 32, 32), dtype=np.float32)


def _network() -> tuple[Any, Watch]:
    """A small network for pictures: some 30 ms for a batch of 64, on one core."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = torch.nn
    inner = layers.Sequential(
        layers.Conv2d(3, 32, 3, padding=1),
        layers.ReLU(),
        layers.MaxPool2d(2),
        layers.Conv2d(32, 64, 3, padding=1),
        layers.ReLU(),
        layers.AdaptiveAvgPool2d(1),
        layers.Flatten(),
        layers.Linear(64, 64),
    ).eval()
    watch = Watch(inner)

    class Network(layers.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, batch: Any) -> Any:
            return watch(batch)

    return Network(), watch


def _words() -> Any:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    package: Any = importlib.import_module("wordllama")
    return package.WordLlama.load(cache_dir=Path(package.__file__).parent, disable_download=True)


def _sentences(n: int) -> list[str]:
    """About 45 words each."""
    given = texts(6 * n)
    return [" ".join(given[6 * i : 6 * i + 6]) for i in range(n)]


@task
def torch_embed(n):
    from docarray import DocumentArray

    da, (network, watch) = DocumentArray.from_columns(tensor=_images(n)), _network()
    return _outside(watch, lambda: da.embed(network, batch_size=BATCH).embeddings)


@task
def torch_embed_documents(n):
    from docarray import Document, DocumentArray

    da, (network, watch) = DocumentArray(Document(tensor=image) for image in _images(n)), _network()
    return _outside(watch, lambda: da.embed(network, batch_size=BATCH).embeddings)


@task
def torch_by_hand(n):
    images, (network, watch) = _images(n), _network()
    torch = importlib.import_module("torch")

    def work() -> Any:
        with torch.inference_mode():
            return torch.cat([network(torch.from_numpy(images[part])) for part in _parts(n)])

    return _outside(watch, work)


@task
def torch_by_hand_documents(n):
    images, (network, watch) = list(_images(n)), _network()
    torch = importlib.import_module("torch")

    def work() -> Any:
        with torch.inference_mode():
            return torch.cat([network(torch.from_numpy(np.stack(images[part]))) for part in _parts(n)])

    return _outside(watch, work)


@task
def wordllama_embed(n):
    from docarray import Document, DocumentArray

    da, watch = DocumentArray(Document(text=text) for text in _sentences(n)), Watch(_words().embed)
    return _outside(watch, lambda: da.embed(watch, batch_size=BATCH).embeddings)


@task
def wordllama_by_hand(n):
    given, watch = _sentences(n), Watch(_words().embed)
    return _outside(watch, lambda: np.concatenate([watch(given[part]) for part in _parts(n)]))


@task
def hashing_embed(n):
    from docarray import Document, DocumentArray

    da = DocumentArray(Document(text=text) for text in _sentences(n))
    options = {"n_dim": 256, "fields": ("text",)}
    while True:
        with clock:
            if hasattr(da, "embed_feature_hashing"):
                da.embed_feature_hashing(**options)
            else:  # as one does with the old library
                for doc in da:
                    doc.embed_feature_hashing(**options)
        yield clock.seconds / n, list(da.embeddings.shape)
