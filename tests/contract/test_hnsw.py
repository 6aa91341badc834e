"""Arrays with a vector index keep every promise of a store; what is found may be nearly the nearest."""

from __future__ import annotations

from docarray.storage.hnsw import HnswStore
from docarray.testing import ArrayContract, StoreContract


class TestHnswlib(StoreContract):
    shared = True
    exact = False
    any_embedding = False

    def open(self, folder):
        return HnswStore.open({"data_path": str(folder / "index"), "metric": "cosine"})


class TestUsearch(StoreContract):
    shared = True
    exact = False
    any_embedding = False

    def open(self, folder):
        config = {"n_dim": 8, "data_path": str(folder / "index"), "metric": "euclidean", "engine": "usearch"}
        return HnswStore.open(config)


class TestHnswlibArray(ArrayContract):
    storage = "hnswlib"
    exact = False
    any_embedding = False

    def config(self, folder):
        return {"data_path": str(folder / "index")}
