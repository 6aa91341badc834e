"""Every notebook runs from top to bottom in an empty folder, and what is saved in it says nothing of a machine.

What the prose of a notebook claims, asserts in its cells check. To run one and save what it shows:

    jupyter nbconvert --to notebook --execute --inplace notebooks/01_first_hour.ipynb
"""

from __future__ import annotations

import importlib.util
import re
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

INSTALL = "pip install nbclient nbformat ipykernel"
MEDIA = ("PIL", "av", "soundfile")
NEEDS = {  # what each wants beside the library itself, and the line that its first cell says
    "02_multimodal_search": (
        (*MEDIA, "wordllama", "skimage"),
        'pip install "docarray[media]" wordllama scikit-image',
    ),
    "03_audio_video": (MEDIA, 'pip install "docarray[media]"'),
    "04_evaluation": ((*MEDIA, "sklearn"), 'pip install "docarray[media]" scikit-learn'),
    "07_web": (
        ("fastapi", "uvicorn", "strawberry", "prometheus_client", "httpx2"),
        'pip install "docarray[serve]" httpx2',
    ),
    "08_flow": (
        ("fastapi", "uvicorn", "prometheus_client", "cloudpickle", "yaml"),
        'pip install "docarray[flow]"',
    ),
}
LARGEST = 1_500_000  # bytes, pictures and players included
NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def read(path: Path) -> Any:
    return pytest.importorskip("nbformat", reason=INSTALL).read(path, as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> list[str]:
    """What a cell shows, by kind: no text is compared, since the standard library differs by version."""
    return [f"{out.output_type} {sorted(out.get('data', {}))}" for out in cell.outputs]


def test_there_are_notebooks():
    assert ["01_first_hour", *NEEDS] == [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem in NEEDS], ids=lambda path: path.stem
)
def test_a_notebook_says_what_to_install(path):
    assert NEEDS[path.stem][1] in read(path).cells[0].source


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch):
    """In a kernel of its own; it shows what is saved, kind by kind: a warning would be one output more."""
    nbclient = pytest.importorskip("nbclient", reason=INSTALL)
    pytest.importorskip("ipykernel", reason=INSTALL)
    modules, line = NEEDS.get(path.stem, ((), ""))
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(line)
    saved, notebook = read(path), read(path)
    with tempfile.TemporaryDirectory(prefix="nb") as folder:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            monkeypatch.setenv(name, folder)
        work = Path(folder) / "work"
        work.mkdir()
        runner = nbclient.NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": str(work)}},
        )

        runner.execute()

        assert [] == list(work.iterdir())
    assert [kinds(cell) for cell in code(saved)] == [kinds(cell) for cell in code(notebook)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_saved_as_it_ran(path):
    """From an empty kernel, each cell once, in order, without an error."""
    notebook = read(path)

    pytest.importorskip("nbformat", reason=INSTALL).validate(notebook)
    assert list(range(1, len(code(notebook)) + 1)) == [cell.execution_count for cell in code(notebook)]
    assert [] == [
        out for cell in code(notebook) for out in cell.outputs if out.output_type in ("error", "stream")
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_machine(path):
    """No absolute path, no user, no host; and it stays small enough to be kept in a repository."""
    text = re.sub(r"[A-Za-z0-9+/]{60,}", "", path.read_text(encoding="utf-8"))  # without what pictures hold

    assert [] == re.findall(r"(?<![\w.<:/])/(?:home|root|Users|tmp|work|usr|opt|var|mnt)/[^\s\"'<]*", text)
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)
    assert path.stat().st_size < LARGEST
