"""Old import paths lead to the new things."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from docarray import ChunkArray, Document, DocumentArray, MatchArray
from docarray.legacy import PATHS


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in PATHS.items() for name in names])
def test_every_old_name_is_there(path, name):
    module = importlib.import_module(path)

    assert getattr(module, name) is not None
    assert name in dir(module)


def test_the_statements_people_wrote():
    code = """
from docarray.array.memory import DocumentArrayInMemory
from docarray.array.chunk import ChunkArray
from docarray.array.match import MatchArray
from docarray.math.distance import cdist, pdist
from docarray.math.evaluation import ndcg_at_k
from docarray.math.helper import top_k
from docarray.math.ndarray import get_array_type
from docarray.score import NamedScore
from docarray.helper import random_identity, typename, dunder_get
import docarray.math.distance
import docarray.array.memory as memory
docs = memory.DocumentArrayInMemory([{}])  if False else DocumentArrayInMemory()
assert docarray.math.distance.cdist is cdist
assert get_array_type([1]) == ('python', False)
assert dunder_get({'a': {'b': 1}}, 'a__b') == 1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_they_are_the_same_objects():
    from docarray.array.chunk import ChunkArray as OldChunks
    from docarray.array.match import MatchArray as OldMatches
    from docarray.array.memory import DocumentArrayInMemory

    assert DocumentArrayInMemory is DocumentArray
    assert OldChunks is ChunkArray
    assert OldMatches is MatchArray
    assert isinstance(Document(chunks=[Document()]).chunks, OldChunks)


def test_old_classes_of_storages_make_arrays_on_them():
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    from docarray.array.sqlite import DocumentArraySqlite, SqliteConfig

    da = DocumentArraySqlite([Document(id="a")], config=SqliteConfig(":memory:", table_name="t"))

    assert ("sqlite", ["a"]) == (da.storage, da[:, "id"])
    da.close()


def test_an_unknown_name_says_where_to_look():
    with pytest.raises(ImportError):
        from docarray.math.helper import nothing  # noqa: F401
    with pytest.raises(AttributeError, match=r"migration\.md"):
        _ = importlib.import_module("docarray.math").nothing
