"""Every Python example of README and docs runs as it stands, page by page; the commands of README do what it says."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPTIONAL = {  # what is not to be had everywhere; all else the tests bring along
    "torch": "torch==2.13.0",
    **{name: name for name in ("keras", "onnx", "onnxruntime", "ray")},
    "sentence_transformers": "sentence-transformers",
}
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        for package in re.findall(r"^\s*(?:import|from) (\w+)", block, re.MULTILINE):
            if package in OPTIONAL and importlib.util.find_spec(package) is None:
                pytest.skip(f"the rest of {page.name} needs {package}: pip install {OPTIONAL[package]}")
        exec(compile(block, page.name, "exec", dont_inherit=True), names)


def commands(heading):
    """The lines of the indented blocks of a section."""
    section = README.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    prose = re.sub(r"^```.*?^```", "", section, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^    (\S.*)", prose, re.MULTILINE)


@pytest.fixture
def shell(tmp_path):
    """Environment of a shell in which `docarray`, `python` and `pytest` are those of this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"cwd": tmp_path, "env": {**os.environ, "PATH": path}, "text": True}


def test_a_new_service_is_made_tested_served_and_asked(shell):
    """As printed, but that the port is a free one."""
    for module in ("uvicorn", "fastapi", "prometheus_client", "cloudpickle", "yaml"):
        pytest.importorskip(module, reason='pip install "docarray[flow]"')
    *made, serve = commands("From a function to a service")
    assert ["docarray new hello-docarray", "cd hello-docarray", "pytest"] == made
    assert "docarray flow --uses flow.yml" == serve

    done = subprocess.run(
        ["bash", "-ec", "\n".join(made)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **shell
    )
    assert 0 == done.returncode, done.stdout
    assert "2 passed" in done.stdout

    inside = {**shell, "cwd": shell["cwd"] / "hello-docarray"}
    process = subprocess.Popen(["bash", "-c", f"exec {serve} --port 0"], stdout=subprocess.PIPE, **inside)
    try:
        url = process.stdout.readline().split()[-1]
        asked = subprocess.run(["python", "client.py", "world", url], capture_output=True, **inside)
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(20)
    finally:
        process.kill()
        process.communicate()
    assert ("hello, world\n", "", 0) == (asked.stdout, asked.stderr, asked.returncode)
    assert "`python client.py world`, in another terminal, asks it: `hello, world`" in README.read_text(
        encoding="utf-8"
    )
