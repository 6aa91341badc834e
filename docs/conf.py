"""The manual: `make docs` builds it, and any warning stops the build."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import docarray

project = "docarray"
author = "The docarray contributors"
copyright = author
version = release = docarray.__version__

sys.path.insert(0, str(Path(__file__).parent))  # where gallery.py is

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "gallery"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"docarray {release}"
html_show_sphinx = False

smartquotes = False  # quotes in docstrings are code
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False


def as_plain_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written for `help()`: between backticks stands code, and a star is a star."""
    doctest = False
    for i, line in enumerate(lines):
        doctest = line.lstrip().startswith(">>>") or (doctest and bool(line.strip()))
        if doctest:
            continue
        parts = re.split(r"(`+[^`]+`+)", line)
        parts[::2] = [re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
        parts[1::2] = [f"``{part.strip('`')}``" for part in parts[1::2]]
        lines[i] = "".join(parts)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", as_plain_text, priority=400)  # before napoleon
