"""The manual's table of storages is what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from docarray.registry import STORES

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')

PAGE = Path(__file__).parents[1] / "docs" / "storage.md"


def test_the_table_of_the_manual_is_that_of_the_code():
    from docarray.storage import capabilities

    assert capabilities() in PAGE.read_text(encoding="utf-8"), (
        "run docarray.storage.capabilities() and put it there"
    )


def test_every_name_is_in_it():
    page = PAGE.read_text(encoding="utf-8")

    assert [] == [name for name in STORES if f"`{name}`" not in page]
