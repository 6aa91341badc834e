"""Packages of one deployment alone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from docarray import Document
from docarray.flow import Deployment, Flow
from docarray.flow.faults import FlowStartError

if sys.platform == "win32":
    pytest.skip("worker processes are of Unix", allow_module_level=True)

from docarray.flow.environments import Environment, environment

pytest.importorskip("cloudpickle", reason='pip install "docarray[flow]"')
pytest.importorskip("yaml", reason='pip install "docarray[flow]"')

CODE = """
    import sys

    import numpy
    import tinywords

    from docarray.flow import Executor, requests


    class Words(Executor):
        @requests
        def words(self, docs, **kwargs):
            docs.texts = [tinywords.WORD for _ in docs]
            return {'prefix': sys.prefix, 'numpy': numpy.__version__}
"""


def wheel(folder, version):
    """A package that pip installs without the internet."""
    folder.mkdir(exist_ok=True)
    info = f"tinywords-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tinywords-{version}-py3-none-any.whl", "w") as file:
        file.writestr("tinywords.py", f"WORD = 'words {version}'\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tinywords\nVersion: {version}\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        names = ("tinywords.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")
        file.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))


@pytest.fixture
def executor(tmp_path, monkeypatch):
    """The folder of an Executor that needs a package."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "executor"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        wheel(folder / "wheels", version)
    (folder / "words.py").write_text(textwrap.dedent(CODE))
    (folder / "config.yml").write_text("jtype: Words\npy_modules: [words.py]\n")
    require(folder, "tinywords==1.0")
    return folder


def require(folder, *lines):
    (folder / "requirements.txt").write_text(
        "\n".join(["--no-index", "--find-links ./wheels", *lines]) + "\n"
    )


def test_an_executor_has_packages_of_its_own(executor, tmp_path):
    require(executor, "tinywords==1.0", "numpy")  # which is there already
    uses = str(executor / "config.yml")
    with Flow().add(uses=uses, install_requirements=True, name="words") as flow:
        answer = flow.post("/", Document(), return_responses=True)[0]
        assert answer.docs.texts == ["words 1.0"]
        said = answer.parameters["__results__"]["words"]
        assert said["prefix"].startswith(str(tmp_path / "cache"))
        assert flow.status()["words"]["replicas"][0]["pid"]
    assert importlib.util.find_spec("tinywords") is None
    made = [path for path in (tmp_path / "cache").rglob("complete")]
    require(executor, "tinywords==2.0")
    with Flow().add(uses=uses, install_requirements=True, replicas=2) as flow:
        assert flow.post("/", Document()).texts == ["words 2.0"]
    again = [path for path in (tmp_path / "cache").rglob("complete")]
    assert (len(made), len(again)) == (1, 2)
    assert not list((tmp_path / "cache").rglob("numpy"))


def test_it_is_made_once(executor, tmp_path):
    requirements = executor / "requirements.txt"
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: environment(requirements, tmp_path / "made"), range(4)))
    assert len({*made}) == 1
    mark = Path(made[0].packages, "tinywords.py").stat()
    assert environment(requirements, tmp_path / "made") == made[0]
    assert Path(made[0].packages, "tinywords.py").stat() == mark
    told = subprocess.run(
        [made[0].python, "-c", "import tinywords, numpy; print(tinywords.WORD)"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert told.stdout == "words 1.0\n"


def test_what_cannot_be_installed_is_told(executor, tmp_path):
    require(executor, "tinywords==3.0")
    with pytest.raises(FlowStartError, match=r"No matching distribution found for tinywords==3\.0"):
        Flow().add(uses=str(executor / "config.yml"), install_requirements=True).start()
    assert not list((tmp_path / "cache").rglob("bin"))
    (executor / "requirements.txt").unlink()
    with pytest.raises(FlowStartError, match=r"cannot be read .* beside the YAML"):
        Deployment(uses=str(executor / "config.yml"), install_requirements=True).start()


def test_it_is_refused_where_others_would_see_it(executor):
    flow = Flow(engine="inline").add(uses=str(executor / "config.yml"), install_requirements=True)
    with pytest.raises(FlowStartError, match="goes with engine='process'"):
        flow.start()
    with pytest.raises(FlowStartError, match="beside the YAML of the Executor, or"):
        Flow().add(uses="words:Words", install_requirements=True).start()


def test_py_modules_say_the_folder_too(executor):
    modules = [str(executor / "words.py")]
    with Deployment(uses="Words", py_modules=modules, install_requirements=True) as one:
        assert one.post("/", Document()).texts == ["words 1.0"]


def test_what_people_write_goes_before_what_is_installed():
    import numpy

    installed = str(Path(numpy.__file__).parents[1])
    made = Environment("python", "/own")
    assert made.path(["", "/mine", installed, "/more"]) == ["", "/mine", "/own", installed, "/more"]
    assert made.path(["/mine"]) == ["/mine", "/own"]
