"""Many at once, processes and threads, on one array: nothing lost, nothing twice, nobody sees half a transaction."""

from __future__ import annotations

import threading
import traceback
import uuid

import pytest

from docarray import DocumentArray
from faults.hands import Nursery, made, reads_pairs, vector, whole_pairs, writes_pairs

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')

BASE = [made(f"base.{i}.{side}", i) for i in range(20) for side in "ab"]


@pytest.fixture
def place(request, tmp_path):
    """Gives storage and config of a name."""

    def of(storage):
        if storage == "sqlite":
            return storage, {"connection": str(tmp_path / "docs.db"), "timeout": 60}
        if storage == "hnswlib":
            pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
            return storage, {"n_dim": 8, "data_path": str(tmp_path / "docs"), "timeout": 60}
        url = request.getfixturevalue("postgres")
        return "sql", {"url": url, "table_name": f"t{uuid.uuid4().hex[:8]}", "timeout": 60}

    return of


def crowd(storage, config, folder, writers, readers, deeds, looks):
    """So many processes at once; then what is there is what they say they left."""
    da = DocumentArray(storage=storage, config=config)
    da.extend(BASE)
    plan = [("write", deeds)] * writers + [("read", looks)] * readers
    orders = [
        {
            "storage": storage,
            "config": config,
            "role": role,
            "who": f"w{number}",
            "deeds": count,
            "seed": number,
            "journal": str(folder / f"journal{number}"),
        }
        for number, (role, count) in enumerate(plan)
    ]
    with Nursery() as nursery:
        ends = nursery.finished(orders)
    errors = [end["error"] for end in ends if "error" in end]
    assert not errors, "\n".join(errors)
    left(da, [end for end in ends if "there" in end])
    da.close()


def left(da, ends):
    """The array holds what the writers left, and each index agrees."""
    wanted = {doc.id: doc.tags["version"] for doc in BASE}
    for end in ends:
        wanted |= {f"{key}.{side}": version for key, version in end["there"].items() for side in "ab"}
    ids = da[:, "id"]
    whole_pairs(ids, "at the end")
    assert set(ids) == wanted.keys()
    assert {doc.id: doc.tags["version"] for doc in da} == wanted
    assert da.store.at(range(len(da))) == ids
    at = {key: i for i, key in enumerate(ids)}
    for end in ends:
        places = [at[key] for key in end["appended"]]
        assert places == sorted(places)
    assert set(da.find("common", limit=len(da))[:, "id"]) == wanted.keys()
    assert set(da.find(vector("x", 0), limit=len(da))[:, "id"]) == wanted.keys()


@pytest.mark.parametrize(("storage", "deeds"), [("sqlite", 60), ("hnswlib", 40), ("postgresql", 40)])
def test_processes_write_and_read_one_array(storage, deeds, place, tmp_path):
    crowd(*place(storage), tmp_path, 3, 2, deeds, 15)


@pytest.mark.parametrize(("storage", "deeds"), [("sqlite", 30), ("hnswlib", 20), ("postgresql", 20)])
def test_threads_write_and_read_one_array(storage, deeds, place):
    threads(*place(storage), 4, 4, deeds, 8)


def threads(storage, config, writers, readers, deeds, looks):
    da = DocumentArray(storage=storage, config=config)
    da.extend(BASE)
    ends, errors = [], []

    def guarded(what, *args):
        try:
            ends.append(what(da, *args))
        except BaseException:
            errors.append(traceback.format_exc())

    crew = [
        threading.Thread(target=guarded, args=(writes_pairs, f"w{i}", deeds, i), daemon=True)
        for i in range(writers)
    ]
    crew += [
        threading.Thread(target=guarded, args=(reads_pairs, looks, i), daemon=True) for i in range(readers)
    ]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(100)
    assert not errors, errors[0]
    assert not any(thread.is_alive() for thread in crew)
    left(da, [{"there": end[0], "appended": end[1]} for end in ends if end is not None])
    da.close()


def test_one_of_a_crowd_is_killed_and_the_others_go_on(place, tmp_path):
    storage, config = place("sqlite")
    da = DocumentArray(storage=storage, config=config)
    da.extend(BASE)
    with Nursery() as nursery, Nursery() as other:
        rest = {"storage": storage, "config": config, "role": "write", "who": "w", "deeds": 150, "seed": 1}
        order = {**rest, "journal": str(tmp_path / "w")}
        other.sent([order])
        for run in range(4):
            journal = str(tmp_path / "killed")
            victim = {
                "storage": storage,
                "config": config,
                "rows": [],
                "seed": run,
                "run": run,
                "most": 9,
                "deeds": 0,
            }
            nursery.killed(
                {**victim, **{"journal": journal, "role": "write", "who": f"k{run}", "deeds": 9999}}, 0.2
            )
        assert other.process.stdout.readline() == "gone\n"
    whole_pairs(da[:, "id"], "in the end")
    assert da.store.at(range(len(da))) == da[:, "id"]
    da.close()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("storage", ["sqlite", "hnswlib", "postgresql"])
def test_a_crowd_for_long(storage, place, tmp_path, busy):
    crowd(*place(storage), tmp_path, 6, 6, 1000, 150)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("storage", ["sqlite", "hnswlib", "postgresql"])
def test_threads_for_long(storage, place):
    threads(*place(storage), 4, 4, 500, 100)
