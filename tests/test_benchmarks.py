"""The benchmarks still run: each task does one small round on this side. Nothing is timed here."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
FILES = sorted(path.stem for path in FOLDER.glob("bench_*.py"))
# These start interpreters or install packages.
SLOW = {"import_docarray", "import_numpy", "modules_docarray", "modules_numpy", "installed_size"}


def load(module: str):
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(FOLDER))


load("worker")  # it gathers the tasks of every module
tasks = load("tasks").TASKS
# These measure libraries that only `make bench` or `make .venv-peers` installs.
PEERS = {
    task for task in tasks if task.startswith(("faiss_", "hnswlib_", "docarray041_", "chromadb_", "lancedb_"))
}


@pytest.mark.parametrize("file", FILES)
def test_rows_name_tasks_that_exist(file):
    for row in load(file).ROWS:
        assert {row.task, row.peer or row.task} <= set(tasks), row.name
        assert not (row.faster and row.within), f"{row.name} has two goals"


@pytest.mark.parametrize("task", sorted(set(tasks) - SLOW - PEERS))
def test_task_does_a_round(task, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)  # workers of a task import it as `make bench` would
    if task.startswith("torch_"):
        pytest.importorskip("torch", reason="pip install torch==2.13.0")

    # Those of the runtime ask hundreds of times, for so many documents each.
    with contextlib.closing(tasks[task](20 if task.startswith("flow_") else 2_000)) as rounds:
        value, _ = next(rounds)

    assert isinstance(value, (int, float))
