"""Files that are damaged, cut off, or somebody else's: an error of ours that names the file, or the right answer."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import CorruptData, StoreError, UnsupportedFormat
from faults.hands import TESTS, made, vector

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')

ROWS = [(f"k{i}", i % 30) for i in range(300)]

LOOK = """
import sys, traceback
from docarray import DocumentArray
from docarray.errors import DocArrayError
from faults.hands import made, vector

def each(da):
    yield lambda: da[:, "id"]
    yield lambda: [doc.tags.get("version") for doc in da]
    yield lambda: [len(doc.chunks) for doc in da]
    yield lambda: [da[i].text for i in range(0, len(da), 7)]
    yield lambda: da.find("common", limit=1000)
    yield lambda: da.find(vector("x", 1), limit=3)
    yield lambda: da.find({"tags__version": {"$gt": 3}})
    yield lambda: da.embeddings
    yield lambda: da.append(made("new", 1))
    yield lambda: da.insert(3, made("new2", 1))
    yield lambda: da.__delitem__("k5")
    yield lambda: da.find("common")
    yield lambda: setattr(da["k7"], "text", "other")
    yield lambda: da.sort("tags__version")
    yield lambda: da.clear()

storage, place = sys.argv[1:3]
for path in sys.argv[3:]:
    print("file", path, flush=True)
    said = []
    try:
        da = DocumentArray(storage=storage, config={place: path, "timeout": 1})
    except DocArrayError as error:
        said.append(error)
    except Exception:
        print("raw", "|".join(traceback.format_exc().splitlines()[-7:]), flush=True)
    else:
        for call in each(da):
            try:
                call()
            except DocArrayError as error:
                said.append(error)
            except Exception:
                print("raw", "|".join(traceback.format_exc().splitlines()[-7:]), flush=True)
        da.close()
    for error in said:
        print("said", type(error).__name__, str(error).replace(chr(10), " ")[:300], flush=True)
print("end", flush=True)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file with 300 documents, all of it in one file."""
    path = tmp_path_factory.mktemp("damage") / "docs.db"
    with DocumentArray(storage="sqlite", config={"connection": str(path)}) as da:
        da.extend(made(*row) for row in ROWS)
    da.find("common")
    da.close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    return path.read_bytes()


def looked_at(storage, place, paths):
    """What a process of its own says of these files; a crash or a hang fails here."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", "-c", LOOK, storage, place, *map(str, paths)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=100,
    )
    last = [line for line in ended.stdout.splitlines() if line.startswith("file")][-1:]
    assert ended.returncode == 0, f"{last}: {ended.returncode}\n{ended.stderr[-4000:]}"
    assert ended.stdout.endswith("end\n")
    raw = {line for line in ended.stdout.splitlines() if line.startswith("raw")}
    assert not raw, "\n".join(raw)
    said = {}
    for line in ended.stdout.splitlines()[:-1]:
        if line.startswith("file "):
            errors = said[line[5:]] = []
        else:
            errors.append(line.removeprefix("said "))
    return said


def damaged(folder, whole, chance, count):
    """So many files, each damaged in another way."""
    size = len(whole)
    for number in range(count):
        body, kind = bytearray(whole), number % 6
        if kind == 0:  # cut off somewhere
            del body[chance.randrange(size) :]
        elif kind == 1:  # cut off at the end of a page
            del body[4096 * chance.randrange(size // 4096) :]
        elif kind == 2:  # pages of noise
            for _ in range(chance.choice([1, 5, 20])):
                at = 4096 * chance.randrange(size // 4096)
                body[at : at + 4096] = chance.randbytes(4096)
        elif kind == 3:  # pages of nothing
            for _ in range(chance.choice([1, 5])):
                at = 4096 * chance.randrange(1, size // 4096)
                body[at : at + 4096] = bytes(4096)
        elif kind == 4:  # single bytes
            for _ in range(chance.choice([1, 30, 1000])):
                body[chance.randrange(size)] = chance.randrange(256)
        else:  # pages in each other's place
            a, b = (4096 * chance.randrange(1, size // 4096) for _ in range(2))
            body[a : a + 4096], body[b : b + 4096] = body[b : b + 4096], body[a : a + 4096]
        path = folder / f"kind{kind}-{number}.db"
        path.write_bytes(body)
        yield path


def test_a_damaged_file_is_an_error_with_its_path(whole, tmp_path):
    paths = list(damaged(tmp_path, whole, random.Random(1), 36))

    said = looked_at("sqlite", "connection", paths)

    assert list(map(str, paths)) == list(said)
    nameless = {error for path, errors in said.items() for error in errors if path not in error}
    named = [error for error in nameless if not error.startswith(("MissingDocument", "OutOfRange"))]
    assert named == []
    assert sum(map(bool, said.values())) > 18


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_damaged_files(whole, tmp_path):
    seed = random.SystemRandom().randrange(1 << 30)
    for part in range(20):
        paths = list(damaged(tmp_path, whole, random.Random(seed + part), 30))
        try:
            looked_at("sqlite", "connection", paths)
        except BaseException as error:
            error.add_note(f"seed {seed + part}")
            raise


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"SQLite format 3\x00" + bytes(80), (CorruptData, StoreError)),
        (b"This is a text that somebody wrote. " * 200, (CorruptData,)),
        (b"\x00" * 8192, (CorruptData, StoreError)),
    ],
    ids=["a head alone", "a text", "zeros"],
)
def test_no_database_is_an_error_with_its_path(body, kind, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(body)

    with pytest.raises(kind, match=r"notes\.txt"):
        DocumentArray(storage="sqlite", config={"connection": str(path)})

    assert body == path.read_bytes()


def test_an_empty_file_is_a_new_array(tmp_path):
    path = tmp_path / "docs.db"
    path.touch()

    with DocumentArray([Document(id="a")], storage="sqlite", config={"connection": str(path)}) as da:
        assert ["a"] == da[:, "id"]
    da.close()


@pytest.mark.parametrize(("storage", "place"), [("sqlite", "connection"), ("hnswlib", "data_path")])
def test_a_folder_for_a_file_or_a_file_for_a_folder_is_an_error_with_its_path(storage, place, tmp_path):
    if storage == "hnswlib":
        pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    path = tmp_path / "there"
    path.mkdir() if storage == "sqlite" else path.write_text("x")

    with pytest.raises(StoreError, match="there"):
        DocumentArray(storage=storage, config={place: str(path)})
    with pytest.raises(StoreError, match="nowhere" if storage == "sqlite" else "there"):
        DocumentArray(
            storage=storage,
            config={place: str(tmp_path / ("nowhere/x" if storage == "sqlite" else "there/x"))},
        )


def test_a_database_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, price REAL)")
        raw.execute("INSERT INTO docs VALUES (1, 2.5)")
    raw.close()

    with pytest.raises(UnsupportedFormat, match=r"'docs' in .*shop\.db is no array.*price"):
        DocumentArray(storage="sqlite", config={"connection": str(path)})
    with DocumentArray(
        [Document(id="a")], storage="sqlite", config={"connection": str(path), "table_name": "films"}
    ) as da:
        assert ["a"] == da[:, "id"]
    da.close()

    raw = sqlite3.connect(path)
    assert [(1, 2.5)] == raw.execute("SELECT * FROM docs").fetchall()
    raw.close()


def test_a_later_version_and_damaged_facts_are_named(tmp_path):
    path = tmp_path / "docs.db"
    config = {"connection": str(path)}
    DocumentArray([Document(id="a")], storage="sqlite", config=config).close()
    for value, kind, words in [
        (b"99", UnsupportedFormat, "format 99.*pip install"),
        (b"\xff\x00", CorruptData, "damaged"),
        (None, CorruptData, "damaged"),
    ]:
        raw = sqlite3.connect(path)
        if value is None:
            raw.execute("DELETE FROM docs__facts WHERE name = '.format'")
        else:
            raw.execute("UPDATE docs__facts SET value = ? WHERE name = '.format'", (value,))
        raw.commit()
        raw.close()

        with pytest.raises(kind, match=words) as said:
            DocumentArray(storage="sqlite", config=config)
        assert str(path) in str(said.value)


def test_without_its_wal_a_file_is_what_it_was_at_the_last_checkpoint(tmp_path):
    path = tmp_path / "docs.db"
    config = {"connection": str(path)}
    first = DocumentArray(storage="sqlite", config=config)
    first.extend(made(*row) for row in ROWS)
    first.close()  # the last to close it moves everything into the file
    second = DocumentArray(storage="sqlite", config=config)
    second.extend(made(f"late{i}", 1) for i in range(50))
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    second.close()

    with DocumentArray(storage="sqlite", config={"connection": str(copy)}) as da:
        assert [key for key, _ in ROWS] == da[:, "id"]
        da.append(made("new", 1))
        assert da.store.at(range(len(da))) == da[:, "id"]
        assert {doc.id for doc in da.find("common", limit=999)} == {"new", *(key for key, _ in ROWS)}
    da.close()


def test_a_wal_that_is_cut_off_gives_what_was_committed_before(tmp_path):
    path = tmp_path / "docs.db"
    da = DocumentArray(storage="sqlite", config={"connection": str(path)})
    for number in range(40):
        da.extend([made(f"{number}.a", 1), made(f"{number}.b", 1)])
    wal = Path(f"{path}-wal").read_bytes()
    for size in (len(wal) // 3, len(wal) - 17):
        copy = tmp_path / f"copy{size}.db"
        shutil.copy(path, copy)
        Path(f"{copy}-wal").write_bytes(wal[:size])
        with DocumentArray(storage="sqlite", config={"connection": str(copy)}) as cut:
            ids = cut[:, "id"]
            assert da[:, "id"][: len(ids)] == ids
            assert len(ids) % 2 == 0
            assert cut.store.at(range(len(ids))) == ids
        cut.close()
    da.close()


# ------------------------------------------------------------------------------------------ the vector index


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A folder with rows and a saved graph."""
    pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    folder = tmp_path_factory.mktemp("graph") / "docs"
    da = DocumentArray(storage="hnswlib", config={"n_dim": 8, "data_path": str(folder)})
    da.extend(Document(id=str(i), embedding=vector(str(i), 0)) for i in range(1500))
    da.sync()
    da.close()
    return folder


def test_damaged_files_of_an_index_are_made_anew(graph, tmp_path):
    chance = random.Random(3)
    names = sorted(
        path.relative_to(graph) for path in graph.rglob("*") if path.is_file() and "docs.db" not in path.name
    )
    assert len(names) >= 4
    for number, name in enumerate(names * 3):
        folder = tmp_path / str(number)
        shutil.copytree(graph, folder)
        body = bytearray((folder / name).read_bytes())
        if number < len(names):
            del body[len(body) // 2 :]
        elif number < 2 * len(names):
            for _ in range(20):
                if body:
                    body[chance.randrange(len(body))] = chance.randrange(256)
        (folder / name).write_bytes(body) if number < 2 * len(names) else (folder / name).unlink()

        with DocumentArray(storage="hnswlib", config={"n_dim": 8, "data_path": str(folder)}) as da:
            for key in ("0", "777", "1499"):
                assert key == da.find(vector(key, 0), limit=1)[0].id, name
            assert 1500 == len(da.find(vector("x", 0), limit=2000))
        da.sync()
        da.close()


def test_the_graph_of_another_array_is_not_taken_for_ones_own(graph, tmp_path):
    other = tmp_path / "other"
    da = DocumentArray(storage="hnswlib", config={"n_dim": 8, "data_path": str(other)})
    da.extend(Document(id=str(i), embedding=vector(str(i), 1)) for i in range(1500))
    da.sync()
    da.close()
    for path in graph.rglob("*"):
        if path.is_file() and "docs.db" not in path.name:
            target = other / path.relative_to(graph)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)

    with DocumentArray(storage="hnswlib", config={"n_dim": 8, "data_path": str(other)}) as da:
        hit = da.find(vector("5", 1), limit=1)[0]
        assert "5" == hit.id
        assert np.array_equal(hit.embedding, vector("5", 1))
    da.close()


def test_yesterdays_rows_under_todays_graph(tmp_path):
    """A copy of the rows that was put back: what came since is not found, what went since is."""
    pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    folder = tmp_path / "docs"
    config = {"n_dim": 8, "data_path": str(folder)}
    da = DocumentArray(storage="hnswlib", config=config)
    da.extend(Document(id=str(i), embedding=vector(str(i), 0)) for i in range(1500))
    da.sync()
    da.close()
    shutil.copy(folder / "docs.db", tmp_path / "yesterday")
    da = DocumentArray(storage="hnswlib", config=config)
    del da["3"]
    da.extend(Document(id=f"new{i}", embedding=vector(f"new{i}", 0)) for i in range(500))
    da.sync()
    da.close()
    for path in folder.glob("docs.db*"):
        path.unlink()
    shutil.copy(tmp_path / "yesterday", folder / "docs.db")

    with DocumentArray(storage="hnswlib", config=config) as da:
        da.extend(Document(id=f"other{i}", embedding=vector(f"other{i}", 0)) for i in range(600))
        assert "3" == da.find(vector("3", 0), limit=1)[0].id
        assert not da.find(vector("new7", 0), limit=1)[0].id.startswith("new")
        assert 2100 == len(da.find(vector("x", 0), limit=3000))
    da.close()
