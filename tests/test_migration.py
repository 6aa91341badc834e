"""docs/migration.md says the truth: what it calls there is there, what it calls gone is gone."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from docarray import Document, DocumentArray

PAGE = (Path(__file__).parent.parent / "docs" / "migration.md").read_text()


def rows(section: str) -> list[tuple[str, str]]:
    """(name, state) of each plain name in the table of a section."""
    body = PAGE.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = []
    for line in body.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if len(cells) >= 3 and cells[1] in ("kept", "fixed", "renamed", "new", "dropped", "not yet"):
            found += [(name, cells[1]) for name in re.findall(r"`([A-Za-z_0-9.]+)`", cells[0])]
    return found


@pytest.mark.parametrize(("name", "state"), rows("Document"))
def test_names_of_a_document(name, state):
    assert (state not in ("dropped", "not yet")) == (name in dir(Document))


@pytest.mark.parametrize(
    ("name", "state"), [r for r in rows("DocumentArray") if r[0] not in ("in", "len", "bool", "reversed")]
)
def test_names_of_an_array(name, state):
    assert (state not in ("dropped", "not yet")) == (name in dir(DocumentArray))


@pytest.mark.parametrize(("name", "state"), [r for r in rows("Import paths") if r[0].startswith("docarray.")])
def test_import_paths(name, state):
    module, _, attribute = name.rpartition(".")
    if state not in ("dropped", "not yet"):
        assert hasattr(importlib.import_module(module), attribute) or importlib.import_module(name)
    else:
        with pytest.raises((ImportError, AttributeError)):
            getattr(importlib.import_module(module), attribute)


def test_the_table_is_not_empty():
    assert len(rows("Document")) > 35
    assert len(rows("DocumentArray")) > 60


def test_every_public_name_is_listed():
    """A name that the table does not know was added without saying so."""
    listed = {name for section in ("Document", "DocumentArray") for name, _ in rows(section)}
    public = {n for c in (Document, DocumentArray) for n in dir(c) if not n.startswith("_")}

    assert set() == public - listed
