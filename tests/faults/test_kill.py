"""Killed at a random moment: what was committed is there, in order and whole, and every index agrees with the rows."""

from __future__ import annotations

import random
import uuid

import numpy as np
import pytest

from docarray import DocumentArray
from faults.hands import Model, Nursery, made, vector

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')

SUBS = {"@c": None}


def agrees(da: DocumentArray, model: Model, chance: random.Random) -> None:
    """Everything that the array says is what the model says."""
    ids, count = model.ids, len(model.rows)
    assert da[:, "id"] == ids
    assert len(da) == count
    docs = [made(*row) for row in model.rows]
    assert da.texts == [doc.text for doc in docs]
    assert da[:, "tags"] == [doc.tags for doc in docs]
    if count:
        assert np.array_equal(da.embeddings, np.stack([doc.embedding for doc in docs]))
    # Positions: the directory of pages, one by one and in runs.
    for at in chance.sample(range(count), min(count, 40)):
        assert da[at].id == ids[at]
        assert da.store.position(ids[at]) == at
    assert da.store.at(range(count)) == ids
    # Nested documents, and what is searched of them.
    assert [list(doc.chunks[:, "id"]) for doc in da] == [list(doc.chunks[:, "id"]) for doc in docs]
    parts = {chunk.id for doc in docs for chunk in doc.chunks}
    if parts:
        found = da.find(vector("x", 0), on="@c", limit=len(parts) + 5)
        assert {doc.id for doc in one(found)} == parts
    # Words: those of now, and none of before.
    by_word: dict[str, set[str]] = {}
    for key, version, _ in model.rows:
        by_word.setdefault(f"word{version}", set()).add(key)
    if count:
        assert {doc.id for doc in one(da.find("common", limit=count + 5))} == set(ids)
    for version in chance.sample(range(32), 8):
        word = f"word{version}"
        assert {doc.id for doc in one(da.find(word, limit=count + 5))} == by_word.get(word, set()), word
    # Vectors: each that is there is found, none that is not.
    if count:
        every = one(da.find(vector("x", 0), limit=count + 5))
        assert {doc.id for doc in every} == set(ids)
        sample = chance.sample(model.rows, min(count, 60))
        asked = np.stack([vector(key, version) for key, version, _ in sample])
        hits = da.find(asked, limit=1)
        firsts = [found[0] for found in hits]
        right = sum(hit.id == row[0] for hit, row in zip(firsts, sample, strict=True))
        assert right >= 0.98 * len(sample) if da.storage == "hnswlib" else right == len(sample)
        for hit in firsts:
            assert np.array_equal(hit.embedding, docs[ids.index(hit.id)].embedding)


def one(found):
    return found if isinstance(found, DocumentArray) else found[0]


def survives(storage, config, folder, kills, seed, start, most):
    """Kills so many workers on one array, and looks at it after each."""
    chance = random.Random(seed)
    model = Model([[f"start{i}", i % 30, 0] for i in range(start)])
    with DocumentArray(storage=storage, config=config, subindex_configs=SUBS) as da:
        da.extend(made(*row) for row in model.rows)
    da.sync()
    da.close()
    deeds = 0
    with Nursery() as nursery:
        for run in range(kills):
            order = {
                "storage": storage,
                "config": config,
                "subs": SUBS,
                "rows": model.rows,
                "seed": chance.randrange(1 << 30),
                "run": run,
                "most": most,
                "deeds": 100_000,
                "journal": str(folder / "journal"),
            }
            # Most while it works, some while it opens the file.
            once = "" if chance.random() < 0.15 else "done"
            said = nursery.killed(order, chance.random() * chance.choice([0.03, 0.3, 0.6]), once)
            errors = [line for line in said if line[0] == "error"]
            assert not errors, f"seed {seed}, run {run}: {errors[0][1]}"
            flight = None
            for word, *rest in said:
                if word == "try":
                    flight = rest[0]
                elif word == "done":
                    model, flight, deeds = model.do(flight), None, deeds + 1
            da = DocumentArray(storage=storage, config=config, subindex_configs=SUBS)
            try:
                if flight is not None:
                    after = model.do(flight)
                    if state_of(da) == after.rows:
                        model = after
                agrees(da, model, chance)
            except BaseException as error:
                error.add_note(f"seed {seed}, run {run}, in flight: {flight!r:.300}")
                raise
            finally:
                da.close()
    assert deeds  # they did work


def state_of(da):
    tags = da[:, "tags"]
    return [[key, t["version"], t["note"]] for key, t in zip(da[:, "id"], tags, strict=True)]


def config_of(storage, folder, request=None):
    if storage == "sqlite":
        return {"connection": str(folder / "docs.db")}
    if storage == "sql":
        return {"url": request.getfixturevalue("postgres"), "table_name": f"t{uuid.uuid4().hex[:8]}"}
    pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    return {"n_dim": 8, "data_path": str(folder / "docs")}


@pytest.mark.parametrize(("storage", "kills"), [("sqlite", 14), ("hnswlib", 12), ("sql", 6)])
def test_what_was_committed_outlives_a_kill(storage, kills, tmp_path, request):
    start, most = (1100, 1500) if storage == "hnswlib" else (100, 600)  # of more than 1000 a graph is made
    survives(storage, config_of(storage, tmp_path, request), tmp_path, kills, 7, start, most)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("storage", ["sqlite", "hnswlib", "sql"])
def test_what_was_committed_outlives_200_kills_under_load(storage, tmp_path, request, busy):
    seed = random.SystemRandom().randrange(1 << 30)
    survives(storage, config_of(storage, tmp_path, request), tmp_path, 200, seed, 1200, 3000)
