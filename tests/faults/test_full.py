"""No room: an error that names the file, nothing half, and on it goes when there is room again."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import count

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import StoreError
from faults.hands import TESTS

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')


@pytest.fixture
def small(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def batch(number, size=1500):
    noise = np.random.default_rng(number).bytes(size // 2).hex()
    return [Document(id=f"{number}.{i}", text=f"word {noise}", tags={"n": number}) for i in range(50)]


def filled(da, path):
    """Extends until there is no room: how many batches went in."""
    with pytest.raises(StoreError) as said:  # noqa: PT012
        for number in count():
            done = number
            da.extend(batch(number))
    assert str(path) in str(said.value)
    return done


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_full_disk_loses_nothing_that_was_committed(small, journal):
    path, ballast = small / "docs.db", small / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    config = {"connection": str(path), "journal_mode": journal}
    da = DocumentArray(storage="sqlite", config=config)

    number = filled(da, path)
    wanted = [f"{n}.{i}" for n in range(number) for i in range(50)]

    assert number > 2
    assert (wanted, len(wanted)) == (da[:, "id"], len(da))
    assert da[-1].text == batch(number - 1)[-1].text
    with pytest.raises(StoreError, match=r"docs\.db"), da:  # noqa: PT012  (all of it is taken back)
        da.insert(0, Document(id="first"))
        da.extend(batch(number))
    assert wanted == da[:, "id"]
    doc = da[0]
    with pytest.raises(StoreError, match=r"docs\.db"):
        doc.blob = bytes(2 << 20)
    assert (batch(0)[0].text, batch(0)[0].text) == (doc.text, da[0].text)
    with DocumentArray(storage="sqlite", config=config) as again:  # a process that opens it meanwhile
        assert wanted == again[:, "id"]
    again.close()

    ballast.unlink()
    da.extend(batch(number))
    da.insert(0, Document(id="first", text="rare"))

    assert ["first", *wanted, *(f"{number}.{i}" for i in range(50))] == da[:, "id"]
    assert ["first"] == da.find("rare")[:, "id"]
    da.close()


def test_an_index_that_cannot_be_saved_leaves_the_old_one(small, tmp_path):
    pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')
    ballast = small / "ballast"
    config = {"n_dim": 32, "connection": str(tmp_path / "docs.db"), "data_path": str(small / "index")}
    vectors = np.random.default_rng(0).normal(size=(6000, 32)).astype(np.float32)
    da = DocumentArray(storage="hnswlib", config=config)
    da.extend(Document(id=str(i), embedding=vectors[i]) for i in range(2000))
    da.sync()
    saved = {path.name: path.read_bytes() for path in (small / "index").rglob("*") if path.is_file()}
    room = 3 * (1 << 20) - sum(map(len, saved.values()))
    ballast.write_bytes(bytes(max(0, room - (1 << 18))))

    da.extend(Document(id=str(i), embedding=vectors[i]) for i in range(2000, 6000))
    with pytest.raises(StoreError, match="index"):
        da.sync()

    now = {path.name: path.read_bytes() for path in (small / "index").rglob("*") if path.is_file()}
    assert saved.items() <= now.items()
    assert sum(map(len, now.values())) == sum(map(len, saved.values()))  # nothing half is left lying there
    assert "5999" == da.find(vectors[5999], limit=1)[0].id
    with pytest.warns(RuntimeWarning, match="index was not saved"):
        da.close()
    again = DocumentArray(storage="hnswlib", config=config)
    assert "4000" == again.find(vectors[4000], limit=1)[0].id
    assert 6000 == len(again)
    with pytest.warns(RuntimeWarning, match="index was not saved"):
        again.close()


LIMITED = """
import json, resource, sys
from docarray import Document, DocumentArray
from docarray.errors import StoreError
from faults.test_full import batch

da = DocumentArray(storage="sqlite", config={"connection": sys.argv[1]})
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
said = ""
for number in range(100):
    try:
        da.extend(batch(number))
    except StoreError as error:
        said = str(error)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
whole = [f"{n}.{i}" for n in range(number) for i in range(50)] == da[:, "id"]
da.extend(batch(number))
da.close()
print(json.dumps([said, number, whole]))
"""


def test_a_limit_of_the_system_is_a_full_disk(tmp_path):
    """This one runs where file systems cannot be mounted."""
    path = str(tmp_path / "docs.db")

    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, path],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    said, count, whole = json.loads(ended.stdout)
    assert path in said
    assert whole
    assert count > 1
    with DocumentArray(storage="sqlite", config={"connection": path}) as da:
        assert 50 * (count + 1) == len(da)
    da.close()
