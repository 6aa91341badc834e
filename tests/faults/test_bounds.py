"""Memory: what is written from a generator, and what is walked through, is never held as a whole."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from faults.hands import TESTS

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
pytest.importorskip("resource", reason="the system does not tell how much memory a process had")

WALK = """
import json, resource, sys
from docarray import Document, DocumentArray

def peak():
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1 << 20 if sys.platform == "darwin" else 1 << 10)

path, count = sys.argv[1], int(sys.argv[2])
da = DocumentArray(storage="sqlite", config={"connection": path})

def docs(first, count):
    for i in range(first, first + count):
        yield Document(id=f"d{i}", text=f"{i} " * 40, tags={"n": i, "words": ["a", "b"]})

da.extend(docs(0, 10_000))
seen = sum(doc.tags["n"] for doc in da)
warm = peak()
da.extend(docs(10_000, count))
written = peak()
seen = sum(doc.tags["n"] for doc in da)
assert seen == sum(range(10_000 + count))
walked = peak()
found = da.find({"tags__n": {"$lt": 20}})
assert len(found) == 20
filtered = peak()
da.close()
print(json.dumps([warm, written, walked, filtered]))
"""


def peaks(tmp_path, count):
    """The most memory, in MB: warm, after writing, after walking, after filtering."""
    ended = subprocess.run(
        [sys.executable, "-c", WALK, str(tmp_path / "docs.db"), str(count)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_generator_is_written_and_an_array_is_walked_in_bounded_memory(tmp_path):
    warm, written, walked, filtered = peaks(tmp_path, 120_000)

    # As documents in a list they take some 90 MB.
    assert written - warm < 50
    assert walked - warm < 60
    assert filtered - warm < 60


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_million_documents_take_no_more_memory_than_some(tmp_path):
    warm, written, walked, filtered = peaks(tmp_path, 1_000_000)

    assert written - warm < 60
    assert walked - warm < 80
    assert filtered - warm < 100
