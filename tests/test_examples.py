"""The programs of examples/ that need nothing but the library run, and do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_shop_keeps_what_was_bought(tmp_path):
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')

    def visit(*words):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLES / "shop.py"), *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert "" == done.stderr
        return done.stdout.splitlines()

    first, second, third = visit("cold lemons", "4"), visit("cold lemons", "4"), visit("anything", "0.5")

    assert "lemonade was bought 1 times" == first[-1]
    assert "lemonade was bought 2 times" == second[-1]
    assert [] == third
