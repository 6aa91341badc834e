"""A search over real text that every machine has: the docstrings of the standard library; and the search as a service.

Rule 1: source files are read, never imported, so collecting runs no code of theirs.
Rule 2: nothing prints here. Each step gives data, and the command line shows it.
Rule 3: what is served is served to this machine alone, for as long as somebody wants it.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.request import ProxyHandler, Request, build_opener

from docarray.array import DocumentArray
from docarray.document import Document
from docarray.errors import BadValue
from docarray.flow import Executor, Flow, requests
from docarray.models import CHOICES, Model, model

__all__ = [
    "CHOICES",
    "QUESTIONS",
    "Model",
    "Search",
    "Wanted",
    "asked",
    "body",
    "collect",
    "embed",
    "model",
    "service",
    "timed",
]

T = TypeVar("T")

QUESTIONS: Final = ("which day of the week is it", "compress bytes", "wait until a thread has finished")
"""What is asked when nobody asks anything."""

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


def embed(docs: DocumentArray, by: Model) -> None:
    """Sets the embedding of each document, from the words of its name and the first paragraph of its text.

    The rest of a docstring is mostly parameters and examples, which say less of what a thing is for.
    """
    if len(docs):
        ids = docs[:, "id"]
        docs.embeddings = by.vectors([_described(*pair) for pair in zip(ids, docs.texts, strict=True)])


def _described(name: str, text: str) -> str:
    spoken = re.sub(r"[._]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).lower()
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return f"{spoken}: {paragraph}"


# ---------------------------------------------------------------------------------------------- serving

Find = Callable[[str, int], DocumentArray]
"""What gives the answers to a question, so many at most."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a search may be told."""

    limit: int = 3
    """Answers to each question."""


class Search(Executor):
    """Answers questions.

    Args:
        find: what is asked.
    """

    def __init__(self, find: Find, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._find = find

    @requests(on="/search", idempotent=True)
    def search(self, docs: DocumentArray, parameters: Wanted, **kwargs: Any) -> None:
        """Gives each document, whose text is a question, the answers as its matches."""
        for doc in docs:
            found = self._find(doc.text, parameters.limit)
            # Without the vectors: of an answer one reads the rest.
            doc.matches = [
                Document(id=hit.id, text=hit.text, tags=hit.tags, scores=hit.scores) for hit in found
            ]


def service(find: Find) -> Flow:
    """A search as a Flow, which serves HTTP at a free port of this machine while it runs: `POST /search`.

    Starting it raises MissingExtra where `docarray[flow]` is not installed.

    >>> def shout(question, limit):
    ...     return DocumentArray([Document(text=question.upper())][:limit])
    >>> with service(shout) as flow:
    ...     asked(f'http://127.0.0.1:{flow.port}', 'tea?').texts
    ['TEA?']
    """
    return Flow("demo", protocol="http", port=0).add(name="search", uses=Search, uses_with={"find": find})


def body(question: str, limit: int) -> str:
    """What is sent to ask a question: JSON.

    >>> body('tea?', 3)
    '{"data": [{"text": "tea?"}], "parameters": {"limit": 3}}'
    """
    return json.dumps({"data": [{"text": question}], "parameters": {"limit": limit}}, ensure_ascii=False)


def asked(url: str, question: str, limit: int = 3) -> DocumentArray:
    """The answers that a service gives to a question, over HTTP and with nothing but the standard library.

    Raises:
        OSError: it does not answer.
    """
    request = Request(
        f"{url}/search", body(question, limit).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    # Whatever stands in HTTP_PROXY, this machine is asked by itself.
    with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
        said = json.load(answer)
    return DocumentArray(Document.from_dict(match) for match in said["data"][0]["matches"] or ())


# ---------------------------------------------------------------------------------------------- time


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and the seconds that it took."""
    begun = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begun
