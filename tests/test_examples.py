"""The programs of examples/ that need nothing but the library run, and do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, folder, *words):
    """The lines that a program prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *words],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert "" == done.stderr
    return done.stdout.splitlines()


def test_the_shop_keeps_what_was_bought(tmp_path):
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    visits = [("cold lemons", "4"), ("cold lemons", "4"), ("anything", "0.5")]

    first, second, third = (run("shop.py", tmp_path, *words) for words in visits)

    assert "lemonade was bought 1 times" == first[-1]
    assert "lemonade was bought 2 times" == second[-1]
    assert [] == third


def test_the_catalogue_is_searched_by_its_words_and_its_pictures(tmp_path):
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    pytest.importorskip("PIL", reason='pip install "docarray[media]"')

    warm = run("catalogue.py", tmp_path, "something warm to wear")
    tea = run("catalogue.py", tmp_path, "tea without cold")

    assert warm[0].split()[:2] == ["scarf", "25.00"]
    assert {"mug", "kettle"} == {line.split()[0] for line in tea[:2]}
    assert "as red as this: scarf, kettle" == tea[-1] == warm[-1]
