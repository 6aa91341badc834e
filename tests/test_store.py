"""The contract of stores: settings, names, and a storage that somebody else brings along."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from docarray import DocumentArray
from docarray.errors import BadValue, FieldTypeError, MissingDocument, Unsupported
from docarray.registry import STORES, known, resolve
from docarray.store import About, Store, configured, missing_ids
from docarray.table import Table
from docarray.testing import PlainStore

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Config:
    path: str
    depth: int = 3


def test_settings_come_as_a_dict_or_as_they_are():
    assert Config("x", 3) == configured(Config, {"path": "x"}, "shelf")
    assert Config("x", 4) == configured(Config, Config("x", 4), "shelf")


@pytest.mark.parametrize(
    ("config", "error", "says"),
    [
        ({"path": "x", "dept": 1}, KeyError, r"'shelf' has no setting 'dept'\. Did you mean 'depth'"),
        ({}, BadValue, r"'shelf' needs the setting 'path'"),
        (None, BadValue, r"'path'"),
        ("x", FieldTypeError, r"Config or a dict; got a str"),
    ],
)
def test_settings_that_are_none_say_so(config, error, says):
    with pytest.raises(error, match=says):
        configured(Config, config, "shelf")


def test_a_store_without_settings_takes_none():
    assert 0 == len(PlainStore.open())
    with pytest.raises(KeyError, match="no setting 'path'"):
        PlainStore.open({"path": "x"})


def test_missing_ids_are_named():
    missing_ids(["a"], {"a"})
    with pytest.raises(MissingDocument, match="'b', nor 1 others"):
        missing_ids(["a", "b", "c", "b"], {"a"})


def test_a_store_may_have_no_room_for_sub_indices():
    with pytest.raises(Unsupported, match="PlainStore"):
        PlainStore().beside("x")


def test_all_names_are_stores_that_say_what_they_can():
    for name in list(STORES)[1:]:
        kind = resolve("storage", name)
        assert issubclass(kind, Store), name
        assert isinstance(kind.about, About), name


def test_five_methods_are_enough():
    assert {"ids", "read", "write", "delete", "meta"} == Store.__abstractmethods__


def test_a_derived_transaction_takes_everything_back():
    store = PlainStore()
    store.write(Table({}, ids=["a", "b"]))
    store.meta({"x": b"1"})

    def fail():
        with store.transaction():
            store.delete(["a"])
            store.meta({"x": None, "y": b"2"})
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()

    assert (["a", "b"], {"x": b"1"}) == (store.ids(), store.meta())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A distribution of somebody else, installed as pip does it."""
    # Asked for without importing it: where distutils of Python came first, setuptools refuses to be imported.
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("pip install setuptools")
    target, source = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("source")
    for file in (HERE / "data" / "shelf").iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    quiet = ["-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def run(installed, *command, cwd):
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        env={**os.environ, "PYTHONPATH": f"{installed}:{HERE.parent}"},
        capture_output=True,
        text=True,
        cwd=cwd,
    )


def test_a_storage_of_another_distribution(installed, tmp_path):
    code = """
        from docarray import Document, DocumentArray
        from docarray.registry import known
        assert "shelf" in known("storage")
        da = DocumentArray([Document(id="a", chunks=[Document(id="c")])], storage="shelf", config={"path": "x"})
        da["a"].chunks[0].tags["deep"] = [1]
        da.append(Document(id="b", text="words", embedding=[1.0, 2.0]))
        again = DocumentArray(storage="shelf", config={"path": "x"})
        assert (["a", "b"], {"deep": [1]}) == (again[:, "id"], again["@c"][0].tags)
        assert "b" == again.find("words")[0].id
    """
    done = run(installed, "-c", textwrap.dedent(code), cwd=tmp_path)

    assert "" == done.stderr


def test_it_joins_the_whole_suite_by_one_class(installed, tmp_path):
    # Not the state machine: it has its turn on the storages of the house, and takes half a minute.
    test = HERE / "data" / "shelf" / "joined.py"
    lines = [line for line in test.read_text().splitlines() if line.strip()]
    assert 60 >= len(lines)

    done = run(
        installed,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(test),
        "-k",
        "not machine",
        cwd=tmp_path,
    )

    assert 0 == done.returncode, done.stdout[-4000:]
    assert "passed" in done.stdout


def test_what_is_built_in_cannot_be_taken_over():
    assert list(STORES) == list(known("storage"))[: len(STORES)]


def test_an_array_says_where_it_is():
    da = DocumentArray()

    assert ("memory", None) == (da.storage, da.store)
