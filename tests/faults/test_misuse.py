"""Wrong shapes, two opinions on one file, no permission, folders that vanish, forks, arrays and documents of before."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import (
    BadValue,
    ClosedStore,
    DocArrayError,
    MissingDocument,
    ShapeError,
    StoreError,
)
from faults.hands import TESTS, made, vector

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')


@pytest.fixture(params=["sqlite", "hnswlib"])
def place(request, tmp_path):
    """Storage and config."""
    if request.param == "sqlite":
        return "sqlite", {"connection": str(tmp_path / "docs.db")}
    pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    return "hnswlib", {"n_dim": 8, "data_path": str(tmp_path / "docs")}


@pytest.fixture
def opened(place):
    """Opens the array, and closes what was opened in the end."""
    arrays = []

    def open_it(docs=None, **more):
        arrays.append(DocumentArray(docs, storage=place[0], config={**place[1], **more}))
        return arrays[-1]

    yield open_it
    for array in arrays:
        array.close()


@pytest.fixture
def vectors(tmp_path):
    """An array with an index over three vectors of 8 numbers."""
    pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    config = {"n_dim": 8, "data_path": str(tmp_path / "docs")}
    with DocumentArray(storage="hnswlib", config=config) as da:
        da.extend(made(key, 1) for key in "abc")
    yield da
    da.close()


# ------------------------------------------------------------------------------------------ shapes


@pytest.mark.parametrize(
    "bad",
    [
        np.ones(7, np.float32),
        np.ones(8),
        np.ones((2, 4), np.float32),
        np.ones(8, np.complex64),
        np.float32(1.0),
    ],
    ids=["short", "float64", "matrix", "complex", "number"],
)
def test_a_vector_that_does_not_fit_is_named_and_nothing_is_written(vectors, bad):
    da, doc = vectors, vectors["b"]
    before = [doc.to_dict() for doc in da]

    def within():
        with da:
            da.append(made("d", 1))
            da.append(Document(id="bad", embedding=bad))

    for write, name in [
        (lambda: da.append(Document(id="bad", embedding=bad)), "bad"),
        (lambda: da.insert(0, Document(id="bad", embedding=bad)), "bad"),
        (lambda: da.extend([made("d", 1), Document(id="bad", embedding=bad), made("e", 1)]), "bad"),
        (
            lambda: da.extend([made(f"n{i}", 1) for i in range(9000)] + [Document(id="bad", embedding=bad)]),
            "bad",
        ),
        (lambda: da.upsert([made("d", 1), Document(id="bad", embedding=bad)]), "bad"),
        (lambda: da.__setitem__("b", Document(id="b", text="x", embedding=bad)), "b"),
        (lambda doc=doc: setattr(doc, "embedding", bad), "b"),
        (within, "bad"),
    ]:
        with pytest.raises(ShapeError, match=f"'{name}'"):
            write()
        assert before == [doc.to_dict() for doc in da]
        assert (3, vector("b", 1).tolist()) == (len(da), doc.embedding.tolist())
        assert ["b"] == da.find(vector("b", 1), limit=1)[:, "id"]
    with pytest.raises(ShapeError):
        da.embeddings = np.ones((3, 5), np.float32)
    assert before == [doc.to_dict() for doc in da]


def test_two_opinions_on_one_vector_index(tmp_path):
    pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    config = {"data_path": str(tmp_path / "docs")}
    docs = [Document(id=str(i), embedding=vector(str(i), 0)) for i in range(1500)]
    one = DocumentArray(docs, storage="hnswlib", config={**config, "metric": "cosine"})
    one.sync()
    two = DocumentArray(storage="hnswlib", config={**config, "metric": "euclidean"})
    asked = 3 * vector("x", 1)

    for turn in range(3):
        for da, metric in ((one, "cosine"), (two, "euclidean")):
            near = da.find(asked, metric=metric, limit=3)[:, "id"]
            assert DocumentArray(list(da)).find(asked, metric=metric, limit=3)[:, "id"] == near
        one.append(Document(id=f"one{turn}", embedding=asked / (turn + 1)))
        two.append(Document(id=f"two{turn}", embedding=vector(f"two{turn}", 1)))
        one.sync()
        two.sync()
    one.close()
    two.close()
    with pytest.raises(ShapeError), DocumentArray(storage="hnswlib", config={**config, "n_dim": 5}) as three:
        three.append(Document(embedding=np.ones(5, np.float32)))
    three.close()


def test_two_opinions_on_one_file(tmp_path):
    config = {"connection": str(tmp_path / "docs.db")}
    one = DocumentArray(storage="sqlite", config={**config, "columns": {"note": "int"}})
    two = DocumentArray(
        storage="sqlite",
        config={
            **config,
            "serialize_config": {"protocol": "pickle", "compress": "gzip"},
            "columns": {"version": "int"},
        },
    )
    plain = DocumentArray(storage="sqlite", config=config)

    for number, da in enumerate((one, two, plain) * 3):
        da.append(made(f"k{number}", number, number))
    with pytest.raises(BadValue, match="note"):
        DocumentArray(storage="sqlite", config={**config, "columns": {"note": "str"}})

    for da in (one, two, plain):
        assert [f"k{i}" for i in range(9)] == da[:, "id"]
        assert ["k7", "k8"] == da.find({"tags__note": {"$gt": 6}})[:, "id"]
        assert ["k7", "k8"] == da.find({"tags__version": {"$gt": 6}})[:, "id"]
        assert [made(f"k{i}", i, i).text for i in range(9)] == da.texts
    for da in (one, two, plain):
        da.close()


# ------------------------------------------------------------------------------------------ files


def test_a_place_that_cannot_be_written_is_read_and_each_write_says_so(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0
    if mounted:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True
        )
        if done.returncode:
            pytest.skip("root may write everywhere, and file systems cannot be mounted here")
    path = folder / "docs.db"
    config = {"connection": str(path)}
    try:
        da = DocumentArray([made(key, 1) for key in "abc"], storage="sqlite", config=config)
        da.find("common")
        da.close()
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        else:
            path.chmod(0o444)
            folder.chmod(0o555)

        da = DocumentArray(storage="sqlite", config=config)
        doc = da["b"]
        assert ["a", "b", "c"] == da[:, "id"]
        assert made("b", 1).text == da[1].text
        assert {"a", "b", "c"} == set(da.find("common")[:, "id"])
        assert ["a"] == da.find(vector("a", 1), limit=1)[:, "id"]
        for write in (
            lambda: da.append(made("d", 1)),
            lambda: da.__delitem__("a"),
            lambda: setattr(doc, "text", "x"),
            lambda: doc.tags.update(x=1),
            lambda: da.clear(),
        ):
            with pytest.raises(StoreError, match=r"docs\.db"):
                write()
        assert made("b", 1).text == doc.text == da["b"].text
        assert "x" not in doc.tags
        da.close()
        with pytest.raises(StoreError, match=r"other\.db"):
            DocumentArray(storage="sqlite", config={"connection": str(folder / "other.db")})
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        else:
            folder.chmod(0o755)


def test_a_folder_that_vanishes_is_an_error_of_ours_or_none(opened, place, tmp_path):
    da = opened([made(key, 1) for key in "abc"])
    for path in tmp_path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    tmp_path.rmdir()

    said = []
    for call in (
        lambda: da[:, "id"],
        lambda: da.append(made("d", 1)),
        lambda: da.find("common"),
        da.sync,
        da.close,
    ):
        try:
            call()
        except DocArrayError as error:
            said.append(str(error))
    assert [text for text in said if str(tmp_path) not in text] == []
    if place[0] == "sqlite":
        with pytest.raises(StoreError, match=r"docs\.db"):
            opened()


# ------------------------------------------------------------------------------------------ processes


FORK = """
import os, pickle, sys
from docarray import DocumentArray
from faults.hands import made, vector

storage, config = pickle.loads(bytes.fromhex(sys.argv[1]))
da = DocumentArray([made(f"p{i}", 1) for i in range(1200)], storage=storage, config=config)
da.find(vector("p3", 1), limit=1), da.find("common", limit=1)
doc = da["p3"]
go, gone = os.pipe(), os.pipe()
pid = os.fork()
who = "parent" if pid else "child"
try:
    for number in range(20):
        da.append(made(f"{who}{number}", 2))
        assert da[f"{who}{number}"].tags["version"] == 2
        assert da.find(vector(f"{who}{number}", 2), limit=1)[0].id == f"{who}{number}"
        assert {hit.id for hit in da.find(f"own{who}{number}")} == {f"{who}{number}"}
        with da:
            da.insert(number, made(f"{who}-{number}", 3))
            doc.tags[who] = number
    if not pid:
        da.close()
finally:
    if not pid:
        os._exit(0 if sys.exc_info()[0] is None else 1)
_, status = os.waitpid(pid, 0)
assert status == 0
ids = da[:, "id"]
assert len(ids) == len(set(ids)) == 1200 + 80, len(ids)
assert da.store.at(range(len(ids))) == ids
assert {hit.id for hit in da.find(vector("x", 1), limit=2000)} == set(ids)
assert {hit.id for hit in da.find("common", limit=2000)} == set(ids)
assert da.find(vector("child7", 2), limit=1)[0].id == "child7"
da.close()
print("well")
"""


def test_after_a_fork_both_read_and_write(place):
    ended = subprocess.run(
        [sys.executable, "-c", FORK, pickle.dumps(place).hex()],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "well\n" == ended.stdout, ended.stderr


def test_an_array_in_memory_says_after_a_fork_that_it_is_elsewhere():
    code = """
import os, sys
from docarray import Document, DocumentArray
from docarray.errors import StoreError
da = DocumentArray([Document(id="a")], storage="sqlite", config={"connection": ":memory:"})
pid = os.fork()
if not pid:
    try:
        da.append(Document())
    except StoreError as error:
        os._exit(0 if "fork" in str(error) else 2)
    os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
da.append(Document())
assert len(da) == 2
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=TESTS, capture_output=True, text=True, timeout=60
    )

    assert (0, "") == (ended.returncode, ended.stderr)


def test_an_array_goes_to_another_process_as_its_place(opened, place):
    da = opened([made(key, 1) for key in "abc"])
    code = """
import pickle, sys
from faults.hands import made
da = pickle.loads(bytes.fromhex(sys.argv[1]))
assert da[:, "id"] == ["a", "b", "c"]
with da:
    da.insert(1, made("d", 2))
    da["b"].tags["note"] = 7
da.close()
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, pickle.dumps(da).hex()],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    assert ["a", "d", "b", "c"] == da[:, "id"]
    assert 7 == da["b"].tags["note"]
    assert "d" == da.find(vector("d", 2), limit=1)[0].id


# ------------------------------------------------------------------------------------------ what is over


def test_after_close_every_call_says_so(opened):
    da = opened([made(key, 1) for key in "abc"])
    doc = da["b"]
    da.close()
    da.close()

    for call in (
        lambda: len(da),
        lambda: list(da),
        lambda: da[0],
        lambda: da["a"],
        lambda: da[:],
        lambda: "a" in da,
        lambda: da.texts,
        lambda: da.embeddings,
        lambda: da.find("common"),
        lambda: da.find(vector("a", 1)),
        lambda: da.find({"text": {"$exists": True}}),
        lambda: da.append(made("d", 1)),
        lambda: da.__delitem__("a"),
        lambda: da.clear(),
        lambda: da.sync(),
        lambda: da.__enter__(),
        lambda: setattr(doc, "text", "other"),
        lambda: doc.tags.update(x=1),
        lambda: doc.chunks.append(Document()),
    ):
        with pytest.raises(ClosedStore):
            call()
    assert made("b", 1).text == doc.text
    assert ({"version": 1, "note": 0}, 1) == (dict(doc.tags), len(doc.chunks))
    assert "closed" in repr(da) or "DocumentArray" in repr(da)
    assert ["a", "b", "c"] == opened()[:, "id"]


def test_a_document_that_was_deleted_is_one_like_any_other(opened):
    da = opened([made(key, 1) for key in "abc"])
    doc, chunks = da["b"], da["b"].chunks

    del da["b"]
    doc.text = "free"
    doc.tags["x"] = 1
    chunks.append(Document(id="more"))

    assert ("free", 1, 2) == (doc.text, doc.tags["x"], len(doc.chunks))
    assert ["a", "c"] == da[:, "id"] == opened()[:, "id"]
    da.append(doc)
    assert "free" == opened()["b"].text


def test_a_document_that_others_deleted_says_so_and_stays_as_it_is(opened):
    da, other = opened([made(key, 1) for key in "abc"]), opened()
    doc = da["b"]

    del other["b"]
    for write in (
        lambda: setattr(doc, "text", "other"),
        lambda: doc.tags.update(x=1),
        lambda: doc.chunks.append(Document()),
    ):
        with pytest.raises(MissingDocument, match="'b'"):
            write()
        assert (made("b", 1).text, {"version": 1, "note": 0}, 1) == (
            doc.text,
            dict(doc.tags),
            len(doc.chunks),
        )
    assert ["a", "c"] == da[:, "id"]


def test_a_document_that_others_changed_is_read_anew(opened):
    da, other = opened([made(key, 1) for key in "abc"]), opened()
    doc = da["b"]

    other["b"].text = "theirs"
    other["b"].tags["x"] = 1
    other["b"].chunks.append(Document(id="their own"))

    assert doc is da["b"]
    assert ("theirs", 1, ["b-1-0", "their own"]) == (doc.text, doc.tags["x"], doc.chunks[:, "id"])
    doc.tags["y"] = 2
    assert {"version": 1, "note": 0, "x": 1, "y": 2} == dict(other["b"].tags)


@pytest.mark.parametrize(
    "change",
    [
        lambda da: da.__setitem__("a", Document(id="a", text="new")),
        lambda da: da.__setitem__(slice(0, 1), [Document(id="a", text="new")]),
        lambda da: da.upsert([Document(id="a", text="new")]),
        lambda da: setattr(da, "texts", ["new", "b", "c"]),
        lambda da: setattr(da["a"], "text", "new"),
        lambda da: (da.__delitem__("a"), da.append(Document(id="a", text="new"))),
    ],
    ids=["put", "slice", "upsert", "texts", "live", "again"],
)
@pytest.mark.parametrize("look", [True, False], ids=["looked", "at once"])
def test_rows_that_were_read_before_a_change_are_not_the_documents_after_it(opened, change, look):
    da, other = opened([made(key, 1) for key in "abc"]), opened()

    for by in (da, other):
        part = da[:]
        change(by)
        if look:
            assert "new" in da.texts
            assert "c" in da
        held = part["a"]
        assert "new" == da["a"].text
        assert "new" == next(doc for doc in da if doc.id == "a").text
        del part, held
        da.clear()
        da.extend(made(key, 1) for key in "abc")
