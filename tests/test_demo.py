from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest

from docarray import DocumentArray, demo, librarian
from docarray.errors import BadValue, MissingExtra, UnknownName

ROOT = Path(__file__).resolve().parents[1]
NO_MODEL = 'wordllama is not installed: pip install "docarray[demo]"'

MODULE = '''
"""What the module is for."""
import sys
raise RuntimeError("this file must be read, not run")

def plain(a, *, b: int = 3) -> str:
    """Plain words."""
    def inner():
        """Out of reach."""

async def later(): "Later words."

def _hidden():
    """Hidden words."""

def silent(): ...

class Box(dict, metaclass=type):
    """Box words.

    More of them.
    """
    class Lid:
        """Lid words."""
    @property
    def lid(self):
        """The first of this name."""
    @lid.setter
    def lid(self, value):
        """The second of this name."""
    def __len__(self):
        """Known to everybody."""
    def same(self):
        """Plain words."""

if sys.platform == "win32":
    def there(): "Only there."
else:
    try:
        def here(): "Only here."
    except ImportError:
        def otherwise(): "Otherwise."
'''


@pytest.fixture(scope="module")
def docstrings():
    """All of the standard library, collected once; a test that changes it takes a copy."""
    return demo.collect()


@pytest.fixture(scope="module")
def wordllama():
    pytest.importorskip("wordllama", reason=NO_MODEL)
    return demo.model("wordllama")


def shelved(docstrings, model, folder):
    """The docstrings in a file, open for questions."""
    docs = DocumentArray(docstrings, copy=True)
    demo.embed(docs, model)
    librarian.shelve(docs, folder / "demo.db", model)
    return librarian.Library(folder / "demo.db")


@pytest.fixture(scope="module")
def by_meaning(docstrings, wordllama, tmp_path_factory):
    with shelved(docstrings, wordllama, tmp_path_factory.mktemp("meaning")) as library:
        yield library


@pytest.fixture(scope="module")
def by_words(docstrings, tmp_path_factory):
    with shelved(docstrings, demo.model("hashing"), tmp_path_factory.mktemp("words")) as library:
        yield library


@pytest.fixture
def sources(tmp_path):
    files = {
        "box.py": MODULE,
        "pack/__init__.py": '"""A package."""',
        "pack/__main__.py": '"""What runs."""',
        "pack/part.py": '"""A part."""',
        "pack/_inside.py": '"""Inside words."""',
        "_collections_abc.py": '"""Words of a module that is known, and private."""',
        "_private/open.py": '"""Private words."""',
        "config-3/tool.py": '"""Words of a folder that is no package."""',
        "pack/no-module.py": '"""Words of a script."""',
        "test/test_it.py": '"""Test words."""',
        "site-packages/other.py": '"""Other words."""',
        "broken.py": "def (:",
        "binary.py": "\0",
        "backslash.py": '"""A stray one."""\nx = "\\d"',
        "notes.txt": "no Python",
        "_pydatetime.py": '"""Dates, in Python."""',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


# --- collecting -----------------------------------------------------------------------------------------------------


def test_collect_takes_what_is_public_and_can_be_named(sources):
    """No tests, no private names, no files that do not parse, and nothing that a function hides."""
    expected = [
        "backslash",
        "box",
        "box.plain",
        "box.later",
        "box.Box",
        "box.Box.Lid",
        "box.Box.lid",
        "box.there",
        "box.here",
        "box.otherwise",
        "pack",
        "pack.part",
        "datetime",
    ]

    assert expected == demo.collect(root=sources)[:, "id"]


def test_collect_keeps_the_first_of_one_name_and_of_one_text(sources):
    docs = demo.collect(root=sources)

    assert "The first of this name." == docs["box.Box.lid"].text
    assert 1 == docs.texts.count("Plain words.")


def test_documents_say_what_they_are_and_where(sources):
    docs = demo.collect(root=sources)

    assert "Box words.\n\nMore of them." == docs["box.Box"].text
    expected = {"kind": "class", "signature": "class Box(dict)", "file": "box.py", "line": 18}
    assert expected == docs["box.Box"].tags
    assert "def plain(a, *, b: int=3) -> str" == docs["box.plain"].tags["signature"]
    assert "async def later()" == docs["box.later"].tags["signature"]
    assert ("module", "import pack.part") == (
        docs["pack.part"].tags["kind"],
        docs["pack.part"].tags["signature"],
    )
    assert "pack/part.py" == docs["pack.part"].tags["file"]


def test_collect_stops_after_max_docs(sources):
    assert ["backslash", "box"] == demo.collect(2, sources)[:, "id"]


def test_a_folder_without_docstrings_is_named(tmp_path):
    with pytest.raises(BadValue, match=re.escape(str(tmp_path))):
        demo.collect(root=tmp_path)


def test_the_standard_library_has_thousands(docstrings):
    """And each stands where it says."""
    assert len(docstrings) > 4000
    assert {"module", "class", "function"} == set(docstrings[:, "tags__kind"])
    for doc in docstrings[::500]:
        source = (Path(ast.__file__).parent / doc.tags["file"]).read_text(encoding="utf-8").splitlines()
        assert doc.tags["kind"] == "module" or doc.id.rpartition(".")[2] in source[doc.tags["line"] - 1]


def test_what_is_written_in_c_is_found_by_its_twin_in_python(docstrings):
    assert docstrings["datetime.datetime.strptime"].text.startswith("string, format ->")


# --- embedding ------------------------------------------------------------------------------------------------------


def test_an_unknown_model_is_named():
    with pytest.raises(UnknownName, match=r"'wordlama'. Did you mean 'wordllama'\?"):
        demo.model("wordlama")


def test_auto_is_wordllama_where_it_is(wordllama):
    assert wordllama.name == demo.model().name
    assert "--model hashing" in wordllama.note


def test_without_wordllama_auto_hashes_and_says_how_to_get_it():
    code = """
import sys
sys.modules["wordllama"] = None  # what Python does for a module that is not there
from docarray import demo
print(demo.model().name, "|", demo.model().note)
try:
    demo.model("wordllama")
except ImportError as error:
    print(type(error).__name__, "|", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    auto, asked = done.stdout.splitlines()
    assert auto.startswith("hashing | ")
    assert auto.endswith(NO_MODEL)
    assert f"{MissingExtra.__name__} | the model {NO_MODEL}" == asked


def test_loading_wordllama_leaves_logging_alone():
    """The package sets up the root logger when it is imported, and would print what others log."""
    pytest.importorskip("wordllama", reason=NO_MODEL)
    code = """
import logging
from docarray import demo
before = logging.root.handlers[:], logging.root.level
demo.model("wordllama")
print(before == (logging.root.handlers, logging.root.level))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert "True\n" == done.stdout


def test_vectors_do_not_depend_on_the_texts_beside(wordllama):
    """They are made in the order of their lengths, and come back in the order of the texts."""
    texts = ["a long text about very many things", "short", "of middle length"]

    together = wordllama.vectors(texts)

    alone = np.vstack([wordllama.question(text) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("choice", ["wordllama", "hashing"])
def test_embed_sets_a_vector_for_each(choice, sources):
    if choice == "wordllama":
        pytest.importorskip("wordllama", reason=NO_MODEL)
    docs = demo.collect(root=sources)

    demo.embed(docs, demo.model(choice))

    assert len(docs) == len(docs.embeddings)
    assert np.float32 == docs.embeddings.dtype
    assert np.isfinite(docs.embeddings).all()
    assert docs.embeddings.any(axis=1).all()


def test_embed_of_nothing():
    demo.embed(DocumentArray(), demo.model("hashing"))


# --- asking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (demo.QUESTIONS[0], {"calendar.weekday", "datetime.date.weekday"}),
        (demo.QUESTIONS[1], {"bz2.compress", "gzip.compress", "lzma.compress"}),
        (demo.QUESTIONS[2], {"threading.Thread.join", "threading.Condition.wait"}),
        ("start another program and read its output", {"subprocess.check_output", "subprocess.getoutput"}),
        ("how much free space is on the disk", {"shutil.disk_usage"}),
        (
            "is this IP address private",
            {"ipaddress.IPv4Address.is_private"},  # of newer Pythons others say more of it than that of IPv6
        ),
        ("split a command line like the shell does", {"shlex.split"}),
        ("find the differences between two texts", {"difflib.Differ"}),
        ("median of numbers", {"statistics.median"}),
    ],
)
def test_questions_find_what_they_should(by_meaning, question, expected):
    assert expected <= set(by_meaning.search(question, limit=5, mode="vector")[:, "id"])
    if question in demo.QUESTIONS:  # what the docstrings put in other words, words alone cannot help to find
        assert expected & set(by_meaning.search(question, limit=3)[:, "id"])


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (demo.QUESTIONS[0], "datetime.date.weekday"),
        (demo.QUESTIONS[2], "threading.Thread.join"),
        ("how do I copy a directory tree?", "shutil.copytree"),
        ("merge sorted inputs", "heapq.merge"),
    ],
)
def test_hashing_finds_words(by_words, question, expected):
    assert expected in by_words.search(question)[:, "id"]


def test_answers_come_best_first(by_meaning):
    scores = [librarian.score(hit) for hit in by_meaning.search("compress bytes", limit=7)]

    assert 7 == len(scores)
    assert sorted(scores, reverse=True) == scores


def test_a_reopened_file_answers_alike(by_meaning, docstrings):
    with librarian.Library(by_meaning.at) as again:
        assert len(docstrings) == len(again)
        for question in demo.QUESTIONS:
            before, after = (library.search(question) for library in (by_meaning, again))
            assert [(hit.id, hit.scores) for hit in before] == [(hit.id, hit.scores) for hit in after]


# --- serving --------------------------------------------------------------------------------------------------------


def test_a_service_answers_as_the_library_does(by_words, monkeypatch):
    """Whatever proxy the environment names."""
    pytest.importorskip("uvicorn", reason='pip install "docarray[flow]"')
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    question = 'merge "sorted" inputs, größer'

    with demo.service(lambda text, limit: by_words.search(text, limit=limit)) as flow:
        url = f"http://127.0.0.1:{flow.port}"
        hits = demo.asked(url, question, 4)
        with pytest.raises(HTTPError) as caught:
            demo.asked(url, question, "many")

    caught.value.close()
    expected = by_words.search(question, limit=4)
    assert 422 == caught.value.code
    assert [(hit.id, hit.text, hit.tags) for hit in expected] == [
        (hit.id, hit.text, hit.tags) for hit in hits
    ]
    assert [librarian.score(hit) for hit in expected] == [librarian.score(hit) for hit in hits]


# --- the script -----------------------------------------------------------------------------------------------------


def test_the_example_finds_what_it_is_asked_for():
    pytest.importorskip("wordllama", reason=NO_MODEL)
    script = ROOT / "examples" / "search_docstrings.py"

    for words, expected in [((), "shutil.rmtree"), (("shorten", "a", "long", "text"), "textwrap.shorten")]:
        command = [sys.executable, "-W", "error", script, *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

        assert (0, "") == (done.returncode, done.stderr)
        lines = done.stdout.splitlines()
        assert 3 == len(lines)
        assert expected == lines[0].split()[1]
