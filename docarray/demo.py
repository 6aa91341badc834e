"""A search over real text that every machine has: the docstrings of the standard library.

Rule 1: source files are read, never imported, so collecting runs no code of theirs.
Rule 2: nothing prints here. Each step gives data, and the command line shows it.
"""

from __future__ import annotations

import ast
import logging
import os
import re
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np

from docarray.array import DocumentArray
from docarray.document import Document
from docarray.errors import BadValue, MissingExtra, UnknownName, near_miss
from docarray.tensors import Array
from docarray.text import words

__all__ = [
    "CHOICES",
    "QUESTIONS",
    "Answer",
    "Model",
    "Reopened",
    "ask",
    "collect",
    "embed",
    "model",
    "reopen",
    "same",
    "similarity",
    "timed",
]

T = TypeVar("T")

QUESTIONS: Final = ("which day of the week is it", "compress bytes", "wait until a thread has finished")
"""What is asked when nobody asks anything."""

Choice = Literal["auto", "wordllama", "hashing"]
CHOICES: Final[tuple[Choice, ...]] = ("auto", "wordllama", "hashing")

_INSTALL: Final = 'pip install "docarray[demo]"'
_HASHES: Final = 1024

# Words that a question is put with, and that say nothing of what it asks for.
_IDLE: Final = frozenset(
    """a an and are as at be by can could do does for from get has have how i if in into is it its me my no not of on or
    should so some that the their them then there these this to use want was what when where which who will with would
    you your""".split()
)

# Tests, programs that are no library, and two packages that newer Pythons lack: without those the answers are alike
# on all. Packages of other people are in folders whose names are no words.
_SKIPPED: Final = frozenset({"distutils", "idlelib", "lib2to3", "test", "tests", "turtledemo"})


# ---------------------------------------------------------------------------------------------- collecting


def collect(max_docs: int | None = None, root: Path | None = None) -> DocumentArray:
    """The docstrings of all public modules, classes and functions below a folder.

    The text of a document is the docstring, its id the dotted name. Its tags are `kind` ('module', 'class' or
    'function'), `signature`, and where it stands: `file`, relative to the folder, and `line`. A text that occurs twice
    is there once, under the first name.

    Args:
        max_docs: stop after so many; all unless given.
        root: a folder of Python files; that of the standard library unless given.

    Raises:
        BadValue: no docstring was found.

    Costs two seconds for the five thousand of the standard library, nearly all of it in Python's own parser. That is
    on one core: more processes would each have to start and import first, which takes as long as they save.
    """
    folder = Path(sysconfig.get_path("stdlib")) if root is None else root
    ids, texts, tags = list[str](), list[str](), list[dict[str, Any]]()
    for name, text, about in islice(_distinct(folder), max_docs):
        ids.append(name)
        texts.append(text)
        tags.append(about)
    if not ids:
        raise BadValue(f"{folder} holds no docstrings in .py files: the demo needs a Python with its sources")
    return DocumentArray.from_columns(id=ids, text=texts, tags=tags)


_Found = tuple[str, str, dict[str, Any]]  # name, docstring, tags
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_Branch = ast.If | ast.Try | ast.ExceptHandler | ast.With


def _distinct(folder: Path) -> Iterator[_Found]:
    # Two documents of one id would hide each other, and two of one text would fill the answers with repeats.
    names, texts = set[str](), set[str]()
    for module, path in _modules(folder):
        for found in _docstrings(module, path, path.relative_to(folder).as_posix()):
            if found[0] not in names and found[1] not in texts:
                names.add(found[0])
                texts.add(found[1])
                yield found


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of the public modules; the twins in Python of modules in C come last."""
    twins: list[tuple[str, Path]] = []
    for place, folders, files in os.walk(folder):
        # What is no word cannot be imported: site-packages, config-3.11-x86_64-linux-gnu.
        folders[:] = sorted(name for name in folders if _is_public(name) and name not in _SKIPPED)
        package = Path(place).relative_to(folder).parts
        for file in sorted(file for file in files if file.endswith(".py")):
            name, path = file.removesuffix(".py"), Path(place, file)
            if name == "__init__" and package:
                yield ".".join(package), path
            elif _is_public(name):
                yield ".".join([*package, name]), path
            elif name.startswith("_py") and name[3:] in sys.stdlib_module_names:
                # Such as _pydatetime, which holds the docstrings of datetime: those of the module itself are in C.
                twins.append((name[3:], path))
    yield from twins


def _is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _docstrings(module: str, path: Path, file: str) -> Iterator[_Found]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other people's code, such as a stray backslash
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # templates and files for other Pythons
    text = ast.get_docstring(tree)
    if text:
        yield module, text, {"kind": "module", "signature": f"import {module}", "file": file, "line": 1}
    yield from _below(tree, module, file)


def _below(node: ast.AST, name: str, file: str) -> Iterator[_Found]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Branch):  # `if sys.platform == ...:` and the like define names of the module
            yield from _below(child, name, file)
        elif isinstance(child, _Definition) and not child.name.startswith("_"):
            full, text = f"{name}.{child.name}", ast.get_docstring(child)
            if text:
                kind = "class" if isinstance(child, ast.ClassDef) else "function"
                about = {"kind": kind, "signature": _signature(child), "file": file, "line": child.lineno}
                yield full, text, about
            if isinstance(child, ast.ClassDef):
                yield from _below(child, full, file)


def _signature(node: _Definition) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{start} {node.name}({ast.unparse(node.args)}){returns}"


# ---------------------------------------------------------------------------------------------- embedding


@dataclass(frozen=True, slots=True)
class Model:
    """What turns texts into vectors: its name, a line about it and the other one, and a function for each side."""

    name: str
    note: str
    documents: Callable[[list[str]], Array]
    question: Callable[[str], Array]


def model(choice: str = "auto") -> Model:
    """The model of that name; 'auto' is wordllama where it is installed, and feature hashing otherwise.

    Raises:
        MissingExtra: 'wordllama' was asked for and is not installed. UnknownName: there is no such model.
    """
    if choice not in CHOICES:
        raise UnknownName(f"no model is called {choice!r}. {near_miss(choice, CHOICES)}")
    if choice == "hashing":
        return _hashing("It compares words; --model wordllama compares meanings.")
    try:
        vectors = _wordllama()
    except (ImportError, OSError, ValueError) as error:
        # OSError: the package is there without its weights. ValueError: it was built for another numpy.
        missing = isinstance(error, ModuleNotFoundError) and error.name == "wordllama"
        why = "is not installed" if missing else f"cannot be loaded ({error})"
        if choice == "wordllama":
            raise MissingExtra(f"the model wordllama {why}: {_INSTALL}") from error
        return _hashing(f"It compares words, not meanings, because wordllama {why}: {_INSTALL}")
    note = "A small model of word meanings; --model hashing does without."
    return Model("wordllama", note, vectors, lambda question: vectors([question])[0])


def _wordllama() -> Callable[[list[str]], Array]:
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        import wordllama  # pyright: ignore[reportMissingTypeStubs]

        # Its weights are inside the package; only with both arguments does it look there and ask no network.
        folder = Path(wordllama.__file__).parent
        loaded: Any = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    finally:
        # Importing it makes the root logger print, to everybody's surprise.
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)

    def vectors(texts: list[str]) -> Array:
        # It pads each batch to its longest text, so texts of like length together are done in a fraction of the time.
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = np.empty((len(texts), loaded.embedding.shape[1]), np.float32)
        found[order] = loaded.embed([texts[i] for i in order.tolist()])
        return found

    return vectors


def _hashing(note: str) -> Model:
    weights = np.ones(_HASHES, np.float32)

    def hashed(texts: list[str]) -> Array:
        # Each word once, or a text that says "message" three times would answer everything about messages.
        kept = (dict.fromkeys(word for word in words(text) if word not in _IDLE) for text in texts)
        docs = DocumentArray.from_columns(text=[" ".join(found) for found in kept])
        docs.embed_feature_hashing(n_dim=_HASHES, fields=("text",))
        return np.asarray(docs.embeddings, np.float32)

    def documents(texts: list[str]) -> Array:
        found = hashed(texts)
        # What few documents say tells them apart: a word counts the more the rarer it is.
        weights[:] = np.log((1 + len(texts)) / (1 + np.count_nonzero(found, axis=0))) + 1
        return found * weights

    return Model("feature hashing", note, documents, lambda question: hashed([question])[0] * weights)


def embed(docs: DocumentArray, by: Model) -> None:
    """Sets the embedding of each document, from the words of its name and the first paragraph of its text.

    The rest of a docstring is mostly parameters and examples, which say less of what a thing is for.
    """
    if len(docs):
        ids = docs[:, "id"]
        docs.embeddings = by.documents([_described(*pair) for pair in zip(ids, docs.texts, strict=True)])


def _described(name: str, text: str) -> str:
    spoken = re.sub(r"[._]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).lower()
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return f"{spoken}: {paragraph}"


# ---------------------------------------------------------------------------------------------- asking


@dataclass(frozen=True, slots=True)
class Answer:
    """A question, the documents that are nearest to it, nearest first, and how long that took."""

    question: str
    hits: DocumentArray
    seconds: float


def ask(docs: DocumentArray, by: Model, question: str, limit: int = 3) -> Answer:
    """The documents that are nearest to a question; those that have nothing in common with it are left out.

    Raises:
        BadValue: the question is empty.
    """
    if not question.strip():
        raise BadValue("a question has no words")
    hits, seconds = timed(lambda: docs.find(by.question(question), metric="cosine", limit=limit))
    return Answer(question, DocumentArray([hit for hit in hits if similarity(hit) > 1e-6]), seconds)


def similarity(hit: Document) -> float:
    """How near a found document is to the question: the cosine, 1.0 for the same direction and 0.0 for none."""
    return 1.0 - hit.scores["cosine"].value


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers name the same documents, in the same order, at the same distances."""
    mine, others = ([(hit.id, similarity(hit)) for hit in answer.hits] for answer in (one, other))
    return mine == others


@dataclass(frozen=True, slots=True)
class Reopened:
    """A file of documents, opened: its bytes, and the seconds that saving and opening took."""

    docs: DocumentArray
    path: Path
    size: int
    saving: float
    opening: float


def reopen(docs: DocumentArray, path: Path) -> Reopened:
    """Saves the documents to a file and opens that.

    Raises:
        OSError: the file cannot be written.
    """
    _, saving = timed(lambda: docs.save(path))
    opened, opening = timed(lambda: DocumentArray.load(path))
    return Reopened(opened, path, path.stat().st_size, saving, opening)


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and the seconds that it took."""
    begun = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begun
