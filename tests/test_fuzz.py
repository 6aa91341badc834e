"""Damaged bytes make documents or an error of ours: what was found once, and some seconds of looking for more."""

import os
from pathlib import Path

import fuzz
import pytest

from docarray.registry import FORMATS

# A minute or more of each is `python tests/fuzz.py`; this is to see that the door is shut, not to try every key.
SECONDS = float(os.environ.get("DOCARRAY_FUZZ_SECONDS", "3"))

FOUND = sorted(p for p in fuzz.FOLDER.rglob("*") if p.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_what_was_found_once_stays_mended(path: Path):
    assert fuzz.attempt(path.parent.name, path.read_bytes()) is None


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes_make_documents_or_an_error_of_ours(name):
    found = next(fuzz.fuzz(name, SECONDS, seed=0), None)

    assert found is None, f"{found[1]}\n{found[0]!r:.2000}"


@pytest.mark.parametrize("name", FORMATS)
def test_seeds_are_honest(name):
    for data in fuzz.seeds(name):
        fuzz.touch(fuzz.DocumentArray.from_bytes(data, name) if name != "protobuf" else fuzz.DocumentArray())
