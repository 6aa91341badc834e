"""Damaged bytes make documents or an error of ours: what was found once, and some seconds of looking for more."""

import os

import fuzz
import pytest

from docarray.registry import FORMATS

# A minute or more of each is `python tests/fuzz.py`; this is to see that the door is shut, not to try every key.
SECONDS = float(os.environ.get("DOCARRAY_FUZZ_SECONDS", "3"))


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_found_once_stays_mended(name):
    paths = sorted((fuzz.FOLDER / name).iterdir())

    assert paths
    for path in paths:
        assert fuzz.attempt(name, path.read_bytes()) is None, path.name


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes_make_documents_or_an_error_of_ours(name):
    found = next(fuzz.fuzz(name, SECONDS, seed=0), None)

    assert found is None, f"{found[1]}\n{found[0]!r:.2000}"


@pytest.mark.parametrize("name", FORMATS)
def test_seeds_are_honest(name):
    """What is damaged must have been whole; a reader that refuses all would pass otherwise."""
    whole = 0
    for data in fuzz.seeds(name):
        refusals: list[str] = []
        assert fuzz.attempt(name, data, refusals.append) is None
        whole += not refusals

    assert whole >= 5
