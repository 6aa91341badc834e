"""The rules of the house that a machine can hold: names, links, what an import costs, where links lead."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "docarray"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_pb2.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")])

ROOMS = ("serialization", "storage")
NO_NOUN = {"base", "common", "helper", "helpers", "misc", "mixin", "mixins", "util", "utils"}
# Words that a test may be about although no module or page has them.
ALSO = {"house", "postgres", "behaviours", "benchmarks", "docs", "examples", "fuzz", "notebooks"}
ALSO |= {
    "bounds",
    "crowd",
    "damage",
    "flow_faults",
    "full",
    "kill",
    "locked",
    "misuse",
    "refused",
}  # of tests/faults
ALSO |= {"schemathesis"}  # of rest and openapi
ALSO |= {"frames"}  # of wire
ALSO |= {"example_multimodal_search"}  # of the folder in examples


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- names --------------------------------------------------------------------------------------------------------


def test_fragments_are_named_by_issue_and_kind():
    """changes/<issue>.<feature|bugfix|misc>.md, with one sentence or more in it."""
    for path in (ROOT / "changes").iterdir():
        if path.name == "README.md":
            continue
        assert re.fullmatch(r"[1-9]\d*\.(feature|bugfix|misc)\.md", path.name), name(path)
        assert path.read_text(encoding="utf-8").strip(), f"{name(path)} says nothing"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_stand_at_the_door(room):
    """A room of the package is reached by a link of its name at the top; there is no link to a room not built."""
    link = ROOT / room

    assert link.is_symlink() == (PACKAGE / room).is_dir()
    if link.is_symlink():
        assert os.readlink(link) == f"docarray/{room}"


def test_every_module_has_a_noun():
    bad = [name(p) for p in PACKAGE.rglob("*") if p.stem in NO_NOUN and (p.is_dir() or p.suffix == ".py")]

    assert bad == []


def test_every_test_file_is_named_after_a_module_or_a_page():
    """One word finds the module, its test and its page."""
    modules = {p.stem if p.stem != "__init__" else p.parent.name for p in SOURCES}
    words = modules | {p.stem.replace("-", "_") for p in (ROOT / "docs").glob("*.md")} | ALSO

    assert [name(p) for p in TESTS if p.stem.removeprefix("test_") not in words] == []


def test_every_folder_with_code_is_a_package():
    """Otherwise setuptools leaves it out of the wheel."""
    folders = {path.parent for path in SOURCES}

    assert [name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
    assert (PACKAGE / "py.typed").exists()


# --- code ---------------------------------------------------------------------------------------------------------


def test_no_error_is_swallowed():
    """`except Exception: pass`, or a bare except, hides the error that someone will need."""
    bad = []
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else ""
            silent = all(
                isinstance(s, ast.Pass | ast.Continue)
                or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
                for s in node.body
            )
            if not caught or (caught in {"Exception", "BaseException"} and silent):
                bad.append(f"{name(path)}:{node.lineno}")

    assert bad == []


def test_only_the_command_line_prints():
    bad = [
        f"{name(path)}:{node.lineno}"
        for path in SOURCES
        if name(path) not in {"docarray/cli.py", "docarray/flow/commands.py", "docarray/flow/ping.py"}
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert bad == []


def test_extras_that_errors_name_exist():
    """The pip line of a MissingExtra must work."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    named = {
        (name(path), extra)
        for path in SOURCES
        for group in re.findall(r"docarray\[([\w,-]+)\]", path.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }

    assert [where for where in sorted(named) if where[1] not in extras] == []


# --- import -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["docarray", "docarray.flow"])
def test_import_loads_numpy_and_nothing_heavier(what):
    """Of what is not the standard library, it adds only itself to what `import numpy` loads."""
    code = "import json, sys, {}; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    before, after = (set(json.loads(python(code.format(module)))) for module in ("numpy", what))

    assert after - before - sys.stdlib_module_names == {"docarray"}


@pytest.mark.parametrize("what", ["docarray", "docarray.flow"])
def test_import_changes_nothing_of_the_process(what):
    """No warning filter, handler, environment variable, seed, thread or file is touched, and nobody is called."""
    code = f"""
import logging, os, random, signal, sys, threading, warnings
import numpy
called = []
sys.addaudithook(lambda event, args: event.startswith('socket.') and called.append(event))
def state():
    return (list(warnings.filters), warnings.showwarning, dict(os.environ), random.getstate(), sys.excepthook,
            [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)], logging.getLogger().handlers[:],
            threading.enumerate(), os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd') else [])
before = state()
import {what}
print(before == state(), called)
"""
    assert python(code).strip() == "True []"


CORE = (
    "batching call envelope executor faults flow groups handlers inline joins loops plan posting running spec worker"
).split()


def lines_of_code(path):
    """How many lines there are without comments, docstrings and empty ones."""
    lines, fresh = set(), True
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
                fresh = True
            elif token.type not in (tokenize.COMMENT, tokenize.NL):
                if not (fresh and token.type == tokenize.STRING):
                    lines.update(range(token.start[0], token.end[0] + 1))
                fresh = False
    return len(lines)


def test_the_core_of_the_runtime_stays_thin():
    """What a request passes between `flow.post` and its handler can be read in an evening."""
    assert sum(lines_of_code(PACKAGE / "flow" / f"{module}.py") for module in CORE) <= 3_000


# --- pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)

    local = [t.partition("#")[0] for t in targets if not re.match(r"[a-z]+:|#", t)]
    assert [t for t in local if not (page.parent / t).exists()] == []


def test_every_public_name_is_in_the_reference():
    """What `docarray` exports has a place in docs/reference.md."""
    import docarray

    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    public = {n for n in docarray.__all__ if not n.startswith("__")}

    assert sorted(n for n in public if not re.search(rf"\bdocarray\.{n}\b", text)) == []


# What only some programs need: the web, threads, packages of extras, the rooms of formats.
NOT_AT_ONCE = (
    "http concurrent csv ssl asyncio google rich pandas pyarrow torch scipy fsspec orjson lz4 sqlite3 bz2 lzma "
    "docarray.serialization docarray.loaders docarray.remote docarray.display docarray.proto"
).split()


def test_importing_docarray_loads_numpy_and_nothing_heavier():
    code = "import sys, numpy; known = {*sys.modules}; import docarray; print(*{*sys.modules} - known)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert "docarray.exchange" in loaded
    assert [
        name for name in NOT_AT_ONCE if any(one == name or one.startswith(name + ".") for one in loaded)
    ] == []
