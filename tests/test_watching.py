"""Code and YAML that are edited while a Flow runs."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from docarray import Document
from docarray.flow import Deployment, Flow
from docarray.flow.modules import modules_of

pytest.importorskip("yaml", reason='pip install "docarray[flow]"')
pytest.importorskip("cloudpickle", reason='pip install "docarray[flow]"')

ROOT = Path(__file__).resolve().parents[1]
ENGINES = [
    "inline",
    pytest.param("process", marks=pytest.mark.skipif(sys.platform == "win32", reason="of Unix")),
]
numbers = itertools.count()

CODE = """
    import asyncio
    from pathlib import Path

    from docarray import Document
    from docarray.flow import Executor, requests


    class Say(Executor):
        def __init__(self, mark='', **kwargs):
            super().__init__(**kwargs)
            self.mark = mark

        @requests(on='/say')
        def say(self, docs, **kwargs):
            docs.texts = [f'{text} old{self.mark}' for text in docs.texts]

        @requests(on='/slow')
        async def slow(self, docs, **kwargs):
            Path('begun').touch()
            while not Path('end').exists():
                await asyncio.sleep(0.01)
            docs.texts = ['old']

        @requests(on='/parts')
        def parts(self, docs, **kwargs):
            for at in range(3):
                yield Document(text=f'old {at}')

        def close(self):
            Path('closed').touch()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, from which modules are imported; those that were are forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(file, text):
    file.write_text(textwrap.dedent(text))


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.02)


def said(flow, endpoint="/say"):
    return flow.post(endpoint, Document(text="a")).texts[0]


@pytest.fixture
def module(folder):
    """A module with an Executor, by a name of its own: no two tests import the same."""
    file = folder / f"say{next(numbers)}.py"
    write(file, CODE)
    return file


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_edited_answers_the_next_requests(module, folder, engine):
    with Flow(engine=engine, reload=True).add(uses=f"{module.stem}:Say", uses_with={"mark": "!"}) as flow:
        assert said(flow) == "a old!"
        edit(module, "old{", "new{")
        until(lambda: said(flow) == "a new!")
        until((folder / "closed").exists)
        # Again, to the same length, at once.
        edit(module, "new{", "wow{")
        until(lambda: said(flow) == "a wow!")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_class_is_found_again_by_its_path(module, engine):
    cls = importlib.import_module(module.stem).Say
    with Flow(engine=engine).add(uses=cls, reload=True) as flow:
        assert said(flow) == "a old"
        edit(module, "old{", "new{")
        until(lambda: said(flow) == "a new")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_request_ends_on_the_code_it_began_on(module, folder, engine):
    answers = []
    with Flow(engine=engine, reload=True).add(uses=f"{module.stem}:Say") as flow:
        asking = threading.Thread(target=lambda: answers.append(said(flow, "/slow")))
        asking.start()
        until((folder / "begun").exists)
        module.write_text(module.read_text().replace("old", "new"))
        until(lambda: said(flow) == "a new")
        time.sleep(0.2)
        assert not (folder / "closed").exists()
        (folder / "end").touch()
        asking.join()
        until((folder / "closed").exists)
    assert answers == ["old"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_ends_on_the_code_it_began_on(module, folder, engine):
    with Flow(engine=engine, reload=True).add(uses=f"{module.stem}:Say") as flow:
        parts = flow.stream("/parts", Document())
        assert next(parts).texts == ["old 0"]
        module.write_text(module.read_text().replace("old", "new"))
        until(lambda: said(flow) == "a new")
        time.sleep(0.2)
        assert not (folder / "closed").exists()
        assert [part.texts for part in parts] == [["old 1"], ["old 2"]]
        until((folder / "closed").exists)


@pytest.mark.parametrize("engine", ENGINES)
def test_code_that_cannot_be_read_changes_nothing(module, engine, caplog):
    with Flow(engine=engine, reload=True).add(uses=f"{module.stem}:Say") as flow:
        good = module.read_text()
        module.write_text(good.replace("def say(", "def say(("))
        until(lambda: "SyntaxError" in caplog.text)
        assert said(flow) == "a old"
        module.write_text(good.replace("self.mark = mark", "self.mark = 1 / 0"))
        until(lambda: "ZeroDivisionError" in caplog.text)
        assert said(flow) == "a old"
        assert module.name in caplog.text
        module.write_text(good.replace("old{", "new{"))
        until(lambda: said(flow) == "a new")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_it_imports_is_watched_too(module, folder, engine, caplog):
    package = folder / f"parts{next(numbers)}"
    package.mkdir()
    write(package / "__init__.py", "from .words import WORD\n")
    write(package / "words.py", "WORD = 'old'\n")
    write(folder / "unrelated.py", "raise RuntimeError\n")
    edit(module, "from pathlib", f"import {package.name}\nfrom pathlib".replace("\n", "\n"))
    edit(module, "old{", f"{{{package.name}.WORD}}{{")
    with Flow(engine=engine, reload=True).add(uses=f"{module.stem}:Say") as flow:
        assert said(flow) == "a old"
        (folder / "unrelated.py").write_text("raise ValueError\n")
        write(package / "words.py", "WORD = 'new'\n")
        until(lambda: said(flow) == "a new")
        # A module that is new, and broken at first.
        write(package / "more.py", "MORE = 1 / 0\n")
        write(package / "words.py", "from .more import MORE\nWORD = f'new {MORE}'\n")
        until(lambda: "ZeroDivisionError" in caplog.text)
        write(package / "more.py", "MORE = 2\n")
        until(lambda: said(flow) == "a new 2")
        write(package / "more.py", "MORE = 3\n")
        until(lambda: said(flow) == "a new 3")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_it_remembers_goes_to_the_new_code(module, folder, engine):
    write(
        module,
        """
        from pathlib import Path
        from docarray.flow import Executor, requests

        class Say(Executor):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.seen = []

            @requests(on='/say')
            def say(self, docs, **kwargs):
                self.seen += docs.texts
                docs.texts = [f'old {len(self.seen)}']

            def snapshot(self, path):
                if 'bad' in self.seen:
                    raise ValueError('bad is not kept')
                Path(path, 'seen').write_text(' '.join(self.seen))

            def restore(self, path):
                self.seen = Path(path, 'seen').read_text().split()
        """,
    )
    state = folder / "state"
    with Flow(engine=engine, reload=True).add(uses=f"{module.stem}:Say", snapshots=state, name="say") as flow:
        assert said(flow) == "old 1"
        edit(module, "old {", "new {")
        until((state / "say" / "rep-0" / "1").exists)
        until(lambda: said(flow).startswith("new"))
        counts = [int(said(flow).split()[1]) for _ in range(2)]
        assert counts[0] > 1, "it goes on from what was kept"
        assert counts[1] == counts[0] + 1
        # What cannot be kept is not thrown away for new code.
        flow.post("/say", Document(text="bad"))
        edit(module, "new {", "wow {")
        time.sleep(1.0)
        assert said(flow).startswith("new")


def test_endpoints_come_and_go(module):
    with Flow(reload=True, protocol="http").add(uses=f"{module.stem}:Say") as flow:
        url = f"http://127.0.0.1:{flow.port}"
        assert "/say" in read(f"{url}/openapi.json")
        assert b"a old" in read(f"{url}/say", b'{"data": [{"text": "a"}]}').encode()
        edit(module, "on='/say'", "on='/tell'")
        until(lambda: "/tell" in read(f"{url}/openapi.json"))
        assert "/say" not in read(f"{url}/openapi.json")
        assert "a old" in read(f"{url}/tell", b'{"data": [{"text": "a"}]}')


def read(url, body=None):
    asked = Request(url, body, {"Content-Type": "application/json"} if body else {})
    with urlopen(asked, timeout=20) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_yaml_of_an_executor(module, folder, engine):
    write(folder / "config.yml", f"jtype: Say\nwith: {{mark: '?'}}\npy_modules: [{module.name}]\n")
    with Deployment(uses="config.yml", engine=engine, reload=True) as one:
        assert said(one) == "a old?"
        edit(folder / "config.yml", "?", "!")
        until(lambda: said(one) == "a old!")
        edit(module, "old{", "new{")
        until(lambda: said(one) == "a new!")


def test_the_yaml_of_a_flow(module, folder, caplog):
    caplog.set_level(logging.INFO, "docarray.flow")
    file = folder / "flow.yml"
    write(
        file,
        f"""
        jtype: Flow
        with: {{reload: true}}
        deployments:
          - {{name: first, uses: '{module.stem}:Say'}}
        """,
    )
    with Flow.load_config(str(file)) as flow:
        assert said(flow) == "a old"
        first = flow._running.groups["first"]
        edit(
            file,
            "Say'}",
            f"Say'}}\n  - {{name: second, uses: '{module.stem}:Say', uses_with: {{mark: '!'}}}}",
        )
        until(lambda: said(flow) == "a old old!")
        assert first is flow._running.groups["first"]
        assert [*flow.status()] == ["first", "second"]
        file.write_text(file.read_text() + "gateway: {title: other}\n")
        until(lambda: "the gateway stays as it is" in caplog.text)
        edit(file, "name: second", "nam: second")
        until(lambda: "Did you mean 'name'" in caplog.text)
        assert said(flow) == "a old old!"
        edit(file, "nam: second", "name: third")
        until(lambda: [*flow.status()] == ["first", "third"])
        assert said(flow) == "a old old!"
        until(lambda: "left out: second" in caplog.text)


def test_without_reload_nothing_is_watched(module):
    with Flow().add(uses=f"{module.stem}:Say") as flow:
        assert flow._watcher is None
        edit(module, "old{", "new{")
        time.sleep(0.8)
        assert said(flow) == "a old"


def test_a_class_of_a_script_is_not_watched(folder):
    write(
        folder / "main.py",
        CODE + "\n    from docarray.flow import Flow\n    with Flow(reload=True).add(uses=Say): pass\n",
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "main.py"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0
    assert "is of a script or notebook, and is not watched" in done.stderr


def test_under_load_no_request_fails(module):
    wrong, counts, stop = [], [], threading.Event()

    def ask():
        with contextlib.suppress(StopIteration):
            while not stop.is_set():
                try:
                    counts.append(said(flow))
                except Exception as error:
                    wrong.append(error)

    with Flow(engine="process", reload=True).add(uses=f"{module.stem}:Say", replicas=2) as flow:
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for old, new in (("old{", "new{"), ("new{", "wow{")):
            edit(module, old, new)
            until(lambda new=new: f"a {new[:3]}" in counts)
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert set(counts) == {"a old", "a new", "a wow"}


def test_modules_of_a_class_are_those_that_it_imports(folder):
    write(folder / "deep_one.py", "import json, numpy\nimport deep_two\nclass One: ...\n")
    write(folder / "deep_two.py", "from deep_three import *\n")
    write(folder / "deep_three.py", "import deep_one\n")
    found = modules_of(importlib.import_module("deep_one").One)
    assert {name: needed for name, (_, needed) in found.items()} == {
        "deep_one": {"deep_two"}, "deep_two": {"deep_three"}, "deep_three": {"deep_one"},
    }  # fmt: skip
    assert {Path(file).name for file, _ in found.values()} == {"deep_one.py", "deep_two.py", "deep_three.py"}


@pytest.mark.skipif(sys.platform == "win32", reason="of Unix")
@pytest.mark.parametrize("kind", ["flow", "deployment", "executor"])
def test_the_command(module, folder, kind):
    write(folder / "flow.yml", "jtype: Flow\ndeployments:\n  - {name: say, uses: config.yml}\n")
    write(folder / "config.yml", f"jtype: Say\npy_modules: [{module.name}]\n")
    uses = "flow.yml" if kind == "flow" else "config.yml"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "docarray", kind, "--uses", uses, "--port", "0", "--reload"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        url = process.stdout.readline().rstrip("\n").partition(" at ")[2]
        assert "a old" in read(f"{url}/say", b'{"data": [{"text": "a"}]}')
        edit(module, "old{", "new{")
        until(lambda: "a new" in read(f"{url}/say", b'{"data": [{"text": "a"}]}'))
        edit(folder / "config.yml", "jtype: Say", "jtype: Say\nwith: {mark: '!'}")
        until(lambda: "a new!" in read(f"{url}/say", b'{"data": [{"text": "a"}]}'))
        process.send_signal(signal.SIGTERM)
        _, wrong = process.communicate(timeout=20)
        assert process.returncode == 0, wrong
        assert "edited: made anew: " in wrong
    finally:
        process.kill()
        process.communicate()
