"""Every Python example of README and docs runs as it stands, page by page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPTIONAL = {  # what is not to be had everywhere; all else the tests bring along
    "torch": "torch==2.13.0",
    **{name: name for name in ("keras", "onnx", "onnxruntime", "ray")},
    "sentence_transformers": "sentence-transformers",
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        for package in re.findall(r"^\s*(?:import|from) (\w+)", block, re.MULTILINE):
            if package in OPTIONAL and importlib.util.find_spec(package) is None:
                pytest.skip(f"the rest of {page.name} needs {package}: pip install {OPTIONAL[package]}")
        exec(compile(block, page.name, "exec"), names)
