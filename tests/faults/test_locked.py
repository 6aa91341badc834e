"""Locked by somebody else: waits for as long as it was told, then says what is locked, for how long, and by whom."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid

import pytest

from docarray import Document, DocumentArray
from docarray.errors import StoreLocked

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')

HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
held.execute("ROLLBACK")
held.close()
"""


@pytest.fixture(params=["sqlite", "hnswlib"])
def opened(request, tmp_path):
    """Opens an array on a file with three documents; and the file."""
    if request.param == "hnswlib":
        pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    arrays = []

    def open_it(**more):
        place = "connection" if request.param == "sqlite" else "data_path"
        config = {place: str(tmp_path / "docs"), **more}
        arrays.append(DocumentArray(storage=request.param, config=config))
        return arrays[-1]

    with open_it() as da:
        da.extend(Document(id=key, text=f"text {key}", embedding=[1.0, at]) for at, key in enumerate("abc"))
    open_it.path = str(tmp_path / "docs") + ("" if request.param == "sqlite" else "/docs.db")
    yield open_it
    for array in arrays:
        array.close()


class Holder:
    """Another process that has the turn to write."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        assert self.process.stdout.readline() == "held\n"
        return self

    def __exit__(self, *exception):
        self.let_go()

    def let_go(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def test_who_writes_waits_then_hears_what_is_locked_for_how_long_and_by_whom(opened):
    da = opened(timeout=0.3)
    doc = da["a"]

    with Holder(opened.path) as holder:
        for write in (
            lambda: da.append(Document(id="d")),
            lambda: da.insert(0, Document(id="d")),
            lambda: da.__delitem__("b"),
            lambda: da.clear(),
            lambda: da.__enter__(),
            lambda: setattr(doc, "text", "other"),
            lambda: doc.tags.update(a=1),
        ):
            with pytest.raises(StoreLocked) as said:
                write()
            assert isinstance(said.value, TimeoutError)
            for word in (opened.path, "0.3 s", f"process {holder.process.pid}"):
                assert word in str(said.value)
        # Who reads does not wait, and nothing was changed: not in the array, not in the document.
        assert ["text a", "text b", "text c"] == da.texts
        assert ("text a", {}) == (doc.text, doc.tags)
        assert ["b"] == da.find("b")[:, "id"]
        assert ["a"] == da.find([1.0, 0.0], limit=1)[:, "id"]

    da.append(Document(id="d"))
    doc.text = "new"
    assert (["a", "b", "c", "d"], "new") == (da[:, "id"], opened()["a"].text)


def test_who_waits_long_enough_writes(opened):
    da = opened(timeout=30)

    with Holder(opened.path) as holder:
        later = threading.Timer(0.3, holder.let_go)
        later.start()
        with da:
            da.append(Document(id="d"))
            da.insert(0, Document(id="e"))
        later.join()

    assert ["e", "a", "b", "c", "d"] == opened()[:, "id"]


def test_a_transaction_of_another_array_is_waited_for(opened):
    one, two = opened(), opened(timeout=0.2)

    with one:
        one.append(Document(id="d"))
        with pytest.raises(StoreLocked, match="another connection of this process"):
            two.append(Document(id="e"))
        assert ["a", "b", "c"] == two[:, "id"]
    two.append(Document(id="e"))

    assert ["a", "b", "c", "d", "e"] == one[:, "id"] == two[:, "id"]


def test_an_array_is_opened_and_read_while_somebody_writes(opened):
    with Holder(opened.path):
        da = opened(timeout=0.2)
        assert ["a", "b", "c"] == da[:, "id"]
        assert ["a", "b", "c"] == sorted(da.find([1.0, 0.0])[:, "id"])


def test_a_new_array_in_a_locked_file_says_so(opened):
    with (
        Holder(opened.path),
        pytest.raises(StoreLocked, match=r"docs.* was locked for 0\.2 s by process \d+"),
    ):
        opened(timeout=0.2, table_name="other")

    assert 0 == len(opened(table_name="other"))


def test_a_server_says_who_has_the_turn(postgres):
    config = {"url": postgres, "table_name": f"t{uuid.uuid4().hex[:8]}", "timeout": 0.3}
    with DocumentArray(storage="sql", config=config) as one:
        one.append(Document(id="a"))
    two = DocumentArray(storage="sql", config=config)

    with one:
        one.append(Document(id="b"))
        with pytest.raises(StoreLocked, match=r"postgres.* was locked for 0\.3 s by server process \d+"):
            two.append(Document(id="c"))
        assert ["a"] == two[:, "id"]
    two.append(Document(id="c"))

    assert ["a", "b", "c"] == one[:, "id"] == two[:, "id"]
    one.close()
    two.close()
