"""The graphs of hnswlib and usearch behind one face."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from docarray.errors import BadValue, CorruptData
from docarray.nearest import nearest
from docarray.storage.graph import ENGINES, METRICS, Graph, Shape, engine_named, prepared

N, D = 2000, 16
VECTORS = np.random.default_rng(0).normal(size=(N, D))
QUERIES = np.random.default_rng(1).normal(size=(30, D))


def made(engine: str, metric: str = "euclidean", count: int = N, dtype: str = "float32") -> Graph:
    graph = ENGINES[engine](Shape(D, metric, 16, 200, dtype))
    vectors, _ = prepared(VECTORS[:count], metric)
    graph.add(vectors, np.arange(count))
    return graph


def share_found(graph: Graph, metric: str, numbers: np.ndarray) -> float:
    found = graph.search(prepared(QUERIES, metric)[0], 10, 100)
    assert found is not None
    rows, _ = nearest(VECTORS[numbers], QUERIES, 10, metric)
    true = numbers[rows]
    return float(
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), true.tolist(), strict=True)])
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("metric", METRICS)
def test_finds_nearly_all(engine: str, metric: str) -> None:
    assert share_found(made(engine, metric), metric, np.arange(N)) > 0.95


@pytest.mark.parametrize("engine", ENGINES)
def test_grows_and_forgets(engine: str, tmp_path: Path) -> None:
    graph = made(engine, count=3)
    for start in range(3, N, 500):
        stop = min(N, start + 500)
        graph.reserve(stop)
        graph.add(prepared(VECTORS[start:stop], "euclidean")[0], np.arange(start, stop))
    assert len(graph) == N
    graph.remove(np.arange(0, N, 2))

    left = np.arange(1, N, 2)
    assert len(graph) == len(left)
    assert share_found(graph, "euclidean", left) > 0.95
    graph.save(tmp_path / "g")
    again = ENGINES[engine](graph.shape)
    again.load(tmp_path / "g", len(left))
    assert len(again) == len(left)
    assert share_found(again, "euclidean", left) > 0.95
    again.add(prepared(VECTORS[:1], "euclidean")[0], np.array([N]))
    assert again.search(prepared(VECTORS[:1], "euclidean")[0], 1, 50) == np.array([[N]])


@pytest.mark.parametrize("engine", ENGINES)
def test_fewer_than_asked_for_is_said(engine: str) -> None:
    found = made(engine, count=3).search(prepared(VECTORS[:2], "euclidean")[0], 5, 50)

    assert found is None or ((found >= 0).sum(axis=1) == 3).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_graph_is_not_read(engine: str, tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(b"no graph")
    with pytest.raises(CorruptData, match="cannot be read"):
        made(engine, count=3).load(tmp_path / "g", 3)


def test_half_the_bytes() -> None:
    assert share_found(made("usearch", dtype="float16"), "euclidean", np.arange(N)) > 0.9


def test_what_does_not_fit_is_told() -> None:
    odd = np.array([[0.0, 0.0], [np.nan, 1], [np.inf, 1], [1e200, 0], [1e-200, 0], [2, 0]])
    assert prepared(odd, "cosine")[1].tolist() == [False] * 5 + [True]
    assert prepared(odd, "euclidean")[1].tolist() == [True, False, False, False, True, True]
    assert np.isfinite(prepared(odd, "inner_product")[0]).all()


def test_the_first_engine_that_is_there_is_taken() -> None:
    assert engine_named(None) is ENGINES["hnswlib"]
    assert engine_named("usearch") is ENGINES["usearch"]
    with pytest.raises(BadValue, match="There are: hnswlib, usearch"):
        engine_named("faiss")


@pytest.mark.parametrize(
    ("missing", "code", "said"),
    [
        (["hnswlib"], "print(engine_named(None).name)", "usearch"),
        (["hnswlib", "usearch"], "engine_named(None)", "apt-get install g++"),
        (["hnswlib"], "engine_named('hnswlib')", "pip install hnswlib"),
    ],
)
def test_without_a_package_another_serves_or_the_error_says_what_to_do(
    missing: list[str], code: str, said: str
) -> None:
    """In a process of its own, where these packages cannot be imported."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({missing!r}))\n"
    text = hide + "from docarray.storage.graph import engine_named\n" + code
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)

    assert said in done.stdout + done.stderr
