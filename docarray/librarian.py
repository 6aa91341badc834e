"""Folders that are kept in one file and asked: `index` reads what has changed, `search` finds passages.

Rule 1: the file is an array on a storage like any other, written and asked through the public API alone.
Rule 2: what is in the file is what can be read below the folders: a file that changed is read again, one that has gone
        or can no longer be read is taken out. Each batch of files is one transaction.
Rule 3: all vectors of a file are of one model, whose name is among the facts of the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np

from docarray import Document, DocumentArray, corpus, models
from docarray.corpus import File, Refused
from docarray.errors import (
    BadValue,
    CorruptData,
    MissingEmbedding,
    MissingExtra,
    UnknownName,
    UnsupportedFormat,
    near_miss,
)
from docarray.progress import Bar, Show

__all__ = [
    "MODES",
    "STORAGES",
    "Library",
    "Report",
    "Snippet",
    "Unreadable",
    "arrays",
    "index",
    "is_store",
    "opened",
    "place",
    "score",
    "search",
    "shelve",
    "snippet",
]

Mode = Literal["hybrid", "vector", "text"]
MODES: Final[tuple[Mode, ...]] = ("hybrid", "vector", "text")
"""How passages are ranked: by vectors and words together, or by one of the two."""

STORAGES: Final = ("hnswlib", "sqlite")

_TABLE: Final = "docs"
_COLUMNS: Final = {"path": "str", "root": "str", "part": "int"}
_BATCH: Final = 1000  # passages that are embedded and written together
_PATHS: Final = 500  # paths in one filter
_HEADER: Final = b"SQLite format 3\0"


# ---------------------------------------------------------------------------------------------- opening


def is_store(at: Path) -> bool:
    """Whether a file is one of SQLite, by its first bytes."""
    if not at.is_file():
        return False
    with at.open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER


def arrays(at: Path) -> list[str]:
    """The names of the arrays in a file of SQLite.

    Raises:
        UnsupportedFormat: there is none. CorruptData: the file is damaged.
    """
    names = _tables(at)
    known = [name for name in sorted(names) if f"{name}__facts" in names]
    if not known:
        raise UnsupportedFormat(f"{at}: this is a file of SQLite without an array in it")
    return known


def _tables(at: Path) -> set[str]:
    try:
        with contextlib.closing(sqlite3.connect(at)) as link:
            found = link.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error as error:
        raise CorruptData(f"{at}: SQLite cannot read this file ({error})") from error
    return {str(name) for (name,) in found}


def opened(at: Path, name: str | None = None) -> DocumentArray:
    """An array in a file of SQLite: that of this name, else 'docs', else the first.

    Raises:
        UnknownName: there is no array of that name.
    """
    known = arrays(at)
    if name is not None and name not in known:
        raise UnknownName(f"{at} has no array {name!r}. {near_miss(name, known)}")
    name = name or (_TABLE if _TABLE in known else known[0])
    return DocumentArray(storage="sqlite", config={"connection": str(at), "table_name": name})


def place(to: str | os.PathLike[str]) -> Path:
    """The path of a file that may be made an index, or is one.

    Raises:
        IsADirectoryError, NotADirectoryError: it is a folder, or in none. BadValue: it is another kind of file.
    """
    at = Path(to).resolve()
    if at.is_dir():
        raise IsADirectoryError(f"{to}: this is a folder; name a file in it")
    if not at.parent.is_dir():
        raise NotADirectoryError(f"{to}: there is no such folder to save in; make it, or name another")
    if at.exists() and not _is_free(at) and not (is_store(at) and _is_ours(at)):
        raise BadValue(f"{to}: this file is something else, and stays as it is; name another file")
    return at


def _is_free(at: Path) -> bool:
    """Whether there is nothing in a file: no bytes, or a database that nobody has begun with."""
    return at.is_file() and (not at.stat().st_size or (is_store(at) and not _tables(at)))


def _is_ours(at: Path) -> bool:
    """Whether there are arrays in a file of SQLite; another program's is not to be written to."""
    names = _tables(at)
    return any(f"{name}__facts" in names for name in names)


def _array(at: Path, storage: str | None, is_new: bool = True) -> DocumentArray:
    """The array of an index, on the storage that is asked for, or it was made with, or finds quickest here."""
    if storage is not None and storage not in STORAGES:
        raise UnknownName(f"an index has no storage {storage!r}. {near_miss(storage, STORAGES)}")
    config: dict[str, Any] = {"connection": str(at), "table_name": _TABLE}
    if is_new:
        config["columns"] = _COLUMNS
    rows = DocumentArray(storage="sqlite", config=config)
    wanted = storage or _facts(rows).get("storage", STORAGES[0])
    if wanted == "sqlite":
        return rows
    try:
        found = DocumentArray(storage=wanted, config=config)
    except MissingExtra:
        if storage is not None:
            rows.close()
            raise
        return rows  # the same documents; vectors are compared one by one
    rows.close()
    return found


def _facts(da: DocumentArray, **update: str) -> dict[str, str]:
    """What the file says of itself, after this update of it."""
    store = da.store
    assert store is not None
    found = store.meta({name: value.encode() for name, value in update.items()} or None)
    return {name: found[name].decode() for name in ("model", "storage", "roots", "source") if name in found}


def _together(da: DocumentArray) -> contextlib.AbstractContextManager[None]:
    """One transaction; unlike `with da:` it leaves the graph for the end, when `_settle` saves it once."""
    store = da.store
    assert store is not None
    return store.transaction()


def _settle(da: DocumentArray) -> None:
    """Brings the indices of vectors and of words up to date, so that no question has to wait for it."""
    da.sync()
    da.find("a", limit=1)


def _choice(at: Path, noted: str | None, asked: str | None) -> str:
    """The model of a file: the one that its vectors are of, where it has any."""
    if asked is not None and asked not in models.CHOICES:
        raise UnknownName(f"no model is called {asked!r}. {near_miss(asked, models.CHOICES)}")
    if noted is None:
        return asked or "auto"
    if asked not in (None, "auto", noted):
        raise BadValue(
            f"{at}: its vectors are of the model {noted}, and those of {asked} cannot be compared with them; "
            f"leave the model out, or index into another file"
        )
    return noted


def _model(at: Path, choice: str) -> models.Model:
    try:
        return models.model(choice)
    except MissingExtra as error:
        raise MissingExtra(f"{at}: {error}") from error


# ---------------------------------------------------------------------------------------------- indexing


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be read, or not all of it, and why.

    Args:
        path: the file.
        reason: in a few words.
        is_fault: it is of a kind that is read; others, such as programs, are passed over.
    """

    path: Path
    reason: str
    is_fault: bool = True


@dataclass(slots=True)
class Report:
    """What `index` has done: numbers of files, and of passages in the file now."""

    at: Path
    storage: str = ""
    """Where the passages are: 'hnswlib', or 'sqlite' without a vector index."""
    model: str = ""
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    """Files that were known and are no longer there."""
    passages: int = 0
    unreadable: list[Unreadable] = field(default_factory=list[Unreadable])
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        names = ("storage", "model", "added", "changed", "unchanged", "gone", "passages", "seconds")
        unreadable = [
            {"path": str(one.path), "reason": one.reason, "fault": one.is_fault} for one in self.unreadable
        ]
        return {
            "file": str(self.at),
            **{name: getattr(self, name) for name in names},
            "unreadable": unreadable,
        }


def index(
    path: str | os.PathLike[str],
    to: str | os.PathLike[str],
    storage: str | None = None,
    model: str = "auto",
    show: Show = None,
) -> Report:
    """Reads a folder, or a file, into an index; what is known there and has not changed is passed over.

    Args:
        path: what to read. Several folders may go into one file, each by a call of its own.
        to: the file of the index, which is made where there is none.
        storage: 'hnswlib', 'sqlite', or None: as the file was made, and first 'hnswlib' where that is installed.
        model: what makes vectors: 'wordllama', 'hashing', or 'auto': that of the file, and first the best installed.
        show: progress; see `docarray.progress.Show`.

    Raises:
        FileNotFoundError: nothing is at `path`. BadValue: `to` is another kind of file, or has vectors of another
            model. MissingExtra: a package is missing that was asked for.

    Costs seconds for a thousand passages that are new, nearly all of it for their vectors, and a look at each file.
    """
    begun = time.perf_counter()
    start = Path(path)
    if not start.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder; check the path")
    at = place(to)
    _check_source(at, "index")
    with contextlib.closing(_array(at, storage)) as da:
        report = _Indexing(da, at, start.resolve(), model, storage).run(show)
    report.seconds = time.perf_counter() - begun
    return report


def _check_source(at: Path, source: str) -> None:
    """Does nothing where the documents of a file came by the same way, or where there are none.

    Raises:
        BadValue: they came otherwise, and would be lost, or could not be told from the new ones.
    """
    if not at.exists() or _is_free(at) or _TABLE not in arrays(at):
        return
    with contextlib.closing(_array(at, "sqlite", is_new=False)) as da:
        if len(da) and _facts(da).get("source") != source:
            raise BadValue(f"{at}: this file holds other documents, and stays as it is; name another file")


_State = tuple[int, int, str]  # of a file: size, mtime_ns and digest


class _Indexing:
    """One run of `index`."""

    def __init__(self, da: DocumentArray, at: Path, start: Path, model: str, storage: str | None) -> None:
        facts = _facts(da)
        self.da, self.at, self.start = da, at, start
        self.choice = _choice(at, facts.get("model") if len(da) else None, model)
        self.model: models.Model | None = None
        self.storage = storage
        self.report = Report(at, da.storage, self.choice)
        self.roots: list[str] = json.loads(facts.get("roots", "[]"))
        self.root = self._root()
        self.seen = set[str]()
        self.closed = set[Path]()  # folders, among others, that cannot be looked into for now
        self.waiting: dict[str, list[Document]] = {}
        self.count = 0

    def _root(self) -> Path:
        """The folder that paths are told from: one that is known already, if this is in it."""
        folder = self.start if self.start.is_dir() else self.start.parent
        above = (Path(root) for root in self.roots)
        return next((root for root in above if root == folder or root in folder.parents), folder)

    def run(self, show: Show) -> Report:
        """Reads what is new, and takes out what has gone."""
        self._settle_roots()
        known = self._known()
        found = list(corpus.files(self.start, base=self.root, refused=self._refuse, left_out=self._is_own))
        with Bar("indexing", len(found), show=show) as bar:
            for file in found:
                try:
                    self._read(file, known.get(file.name))
                except Refused as error:
                    self._refuse(file.path, file.name, error)
                if self.count >= _BATCH:
                    self._write()
                bar.step()
        self._write()
        self._forget([name for name in known if name not in self.seen and self._is_open(name)])
        if self.storage and _facts(self.da).get("storage") != self.storage:
            _facts(self.da, storage=self.storage)
        if self.report.added or self.report.changed or self.report.gone:
            _settle(self.da)
        self.report.passages = len(self.da)
        return self.report

    def _refuse(self, path: Path, name: str, why: Refused) -> None:
        """A file gives nothing. What is known of it stays where it may only be out of reach for now."""
        if not why.is_lasting:
            self.seen.add(name)
            self.closed.add(path)
        self.report.unreadable.append(Unreadable(path, why.reason, why.is_fault))

    def _is_open(self, name: str) -> bool:
        """Whether all folders above a file could be looked into; else nobody knows whether it is there."""
        return not self.closed or self.closed.isdisjoint((self.root / name).parents)

    def _is_own(self, path: Path) -> bool:
        """Whether this is the index itself, or one of the files that stand beside it."""
        beside = self.at.parent
        return path.is_relative_to(beside) and path.relative_to(beside).parts[0].startswith(self.at.name)

    def _settle_roots(self) -> None:
        """A folder takes over from those below it that were read by themselves: their files have other paths now."""
        inside = [root for root in self.roots if self.root in Path(root).parents]
        roots = [root for root in self.roots if root not in inside]
        if str(self.root) not in roots:
            roots.append(str(self.root))
        if roots == self.roots:
            return
        with _together(self.da):
            for root in inside:
                self._delete({"tags__root": root})
            _facts(self.da, roots=json.dumps(roots), source="index")
        self.roots = roots

    def _known(self) -> dict[str, _State]:
        """The files of the index at and below the path that is read."""
        asked = self.start.relative_to(self.root).as_posix()
        found: dict[str, _State] = {}
        for tags in self.da.find({"tags__root": str(self.root), "tags__part": 0})[:, "tags"]:
            path = str(tags["path"])
            if asked == "." or path == asked or path.startswith(asked + "/"):
                found[path] = int(tags["size"]), int(tags["mtime_ns"]), str(tags["digest"])
        return found

    def _read(self, file: File, known: _State | None) -> None:
        """Notes what is new of a file, to be written with others."""
        if known is not None and known[:2] == (file.size, file.mtime_ns):
            digest, reading = known[2], None
        else:
            digest, reading = corpus.read(file, known and known[2])
        self.seen.add(file.name)
        if known is not None and digest == known[2]:
            self.report.unchanged += 1
            if reading is not None:
                self._restamp(file)
            return
        assert reading is not None
        for doc in reading.docs:
            doc.tags["root"] = str(self.root)
        if reading.complaint:
            self.report.unreadable.append(Unreadable(file.path, reading.complaint))
        if known is None:
            self.report.added += 1
        else:
            self.report.changed += 1
        self.waiting[file.name] = reading.docs
        self.count += len(reading.docs)

    def _restamp(self, file: File) -> None:
        """The file was touched and says what it said: the next run need not read it."""
        with _together(self.da):
            for doc in self.da.find({"tags__root": str(self.root), "tags__path": file.name}):
                doc.tags.update(size=file.size, mtime_ns=file.mtime_ns)

    def _write(self) -> None:
        """The files that were read take the place of what was there of them."""
        if not self.waiting:
            return
        docs = DocumentArray([doc for docs in self.waiting.values() for doc in docs])
        if self.model is None:
            self.model = _model(self.at, self.choice)
            self.report.model = self.model.name
        if len(docs):
            _embed(docs, self.model)
        with _together(self.da):
            self._delete_paths(list(self.waiting))
            self.da.upsert(docs)  # somebody else may read the same folder
            _facts(self.da, model=self.model.name)
        self.waiting, self.count = {}, 0

    def _forget(self, names: list[str]) -> None:
        failed = {str(one.path) for one in self.report.unreadable}
        self.report.gone = sum(str(self.root / name) not in failed for name in names)
        if names:
            with _together(self.da):
                self._delete_paths(names)

    def _delete_paths(self, names: list[str]) -> None:
        for start in range(0, len(names), _PATHS):
            self._delete({"tags__root": str(self.root), "tags__path": {"$in": names[start : start + _PATHS]}})

    def _delete(self, condition: dict[str, Any]) -> None:
        ids = self.da.find(condition)[:, "id"]
        if ids:
            del self.da[ids]


def _embed(docs: DocumentArray, model: models.Model) -> None:
    """Sets the vector of each passage, from its title, headings and text; one that says nothing has none."""
    texts = [f"{doc.tags['title']}: {doc.tags.get('section', '')}\n{doc.text}" for doc in docs]
    for doc, vector in zip(docs, model.vectors(texts), strict=True):
        if np.any(vector):
            doc.embedding = vector


def shelve(
    docs: DocumentArray[Any], to: str | os.PathLike[str], model: models.Model, storage: str | None = None
) -> str:
    """Makes an index of documents of your own, whose vectors are of this model; they replace what it put there before.

    Returns:
        The name of the storage that they are on.

    Raises:
        BadValue: `to` is another kind of file, or holds what `index` has read. MissingExtra: the storage that was
            asked for is not installed.
    """
    at = place(to)
    _check_source(at, "shelve")
    with contextlib.closing(_array(at, storage)) as da:
        with _together(da):
            da.clear()
            da.extend(docs)
            _facts(da, model=model.name, source="shelve", **({"storage": storage} if storage else {}))
        _settle(da)
        return da.storage


# ---------------------------------------------------------------------------------------------- searching


class Library:
    """An index that is open for questions.

    Args:
        at: the file.
        model: that of the file; another is refused.

    Raises:
        FileNotFoundError, BadValue: there is no such file, or it is no index.

    The model is loaded when the first question needs it.
    """

    def __init__(self, at: str | os.PathLike[str], model: str | None = None) -> None:
        self.at: Path = Path(at)
        if self.at.is_dir():
            raise IsADirectoryError(f"{at}: this is a folder; name a file in it")
        if not self.at.exists():
            raise FileNotFoundError(
                f"{at}: there is no such file; make it with docarray index FOLDER --to {at}"
            )
        if not is_store(self.at) or _TABLE not in arrays(self.at):
            raise BadValue(f"{at}: this is no index; make one with docarray index FOLDER --to FILE")
        self._da = _array(self.at, None, is_new=False)
        try:
            noted = _facts(self._da).get("model")
            self._choice = noted and _choice(self.at, noted, model)
        except BaseException:
            self._da.close()
            raise
        self._model: models.Model | None = None

    def __len__(self) -> int:
        return len(self._da)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._da.close()

    @property
    def model(self) -> models.Model:
        """What makes vectors of questions.

        Raises:
            BadValue: the file does not tell of any. MissingExtra: it is not installed.
        """
        if self._model is None:
            if not self._choice:
                raise BadValue(
                    f"{self.at}: no model made the vectors of this file; ask by words: mode 'text'"
                )
            self._model = _model(self.at, self._choice)
        return self._model

    @property
    def docs(self) -> DocumentArray:
        """The passages; closed with the index."""
        return self._da

    @property
    def has_model(self) -> bool:
        """Whether the file tells which model made its vectors."""
        return bool(self._choice)

    def encode(self, texts: Sequence[str]) -> models.Array:
        """The vectors (n, dim) of texts, by the model of the file."""
        return self.model.vectors(list(texts))

    def use(self, model: models.Model) -> None:
        """Takes a model that is loaded already.

        Raises:
            BadValue: the vectors of the file are of another.
        """
        _choice(self.at, self._choice, model.name)
        self._model = model

    def search(
        self,
        question: str,
        filter: Mapping[str, Any] | None = None,
        limit: int = 5,
        mode: str = "hybrid",
    ) -> DocumentArray:
        """The passages that answer a question, the best first; see `search`."""
        if mode not in MODES:
            raise UnknownName(f"no mode is called {mode!r}. {near_miss(mode, MODES)}")
        if not question.strip():
            raise BadValue("a question has no words")
        text = " ".join(models.said(question)) or question
        if mode == "text":
            return self._da.find(text, filter=filter, limit=limit)
        vector = self.model.question(question)
        if not np.any(vector):  # no word that says anything: there is no nearest
            return DocumentArray() if mode == "vector" else self._da.find(text, filter=filter, limit=limit)
        words = text if mode == "hybrid" else None
        try:
            found = self._da.find(vector, filter=filter, limit=limit, text=words)
        except MissingEmbedding:  # no passage says anything that there is a vector for
            return DocumentArray() if mode == "vector" else self._da.find(text, filter=filter, limit=limit)
        return DocumentArray(
            [hit for hit in found if "bm25" in hit.scores or hit.scores["cosine"].value < 1 - 1e-6]
        )


def search(
    at: str | os.PathLike[str],
    question: str,
    filter: Mapping[str, Any] | None = None,
    limit: int = 5,
    mode: str = "hybrid",
    model: str | None = None,
) -> DocumentArray:
    """The passages of an index that answer a question, the best first.

    Args:
        at: the file that `index` made.
        question: in any words.
        filter: only passages that it keeps: {"tags__path": {"$endswith": ".md"}}.
        limit: how many at most.
        mode: 'hybrid': by vectors and words, fused by rank; 'vector' or 'text': by one of them.
        model: that of the file; another is refused.

    Returns:
        Light copies with `scores`: 'rrf', 'cosine' and 'bm25', as far as each had a say; see `score`.

    Raises:
        FileNotFoundError: there is no file. BadValue: it is no index, or of another model. BadFilter: see `find`.
    """
    with Library(at, model) as library:
        return library.search(question, filter, limit, mode)


_BEST: Final = 2 / 61  # of reciprocal rank fusion: the first by vectors and by words


def score(hit: Document) -> float:
    """How well a passage fits: 1.0 where both rankings have it first, else the cosine, else what BM25 says."""
    if "rrf" in hit.scores:
        return hit.scores["rrf"].value / _BEST
    return 1 - hit.scores["cosine"].value if "cosine" in hit.scores else hit.scores["bm25"].value


# ---------------------------------------------------------------------------------------------- snippets


@dataclass(frozen=True, slots=True)
class Snippet:
    """A part of a text in one line, and where in it the words of the question stand."""

    text: str
    marks: list[tuple[int, int]]


_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def snippet(text: str, question: str, size: int = 160) -> Snippet:
    """The part of a text that has most of the words of a question.

    Args:
        text: a passage.
        question: what was asked.
        size: letters, at most.

    >>> snippet('Tea is made of leaves. Coffee is made of beans.', 'coffee beans', size=30)
    Snippet(text='…Coffee is made of beans.', marks=[(1, 7), (19, 24)])
    """
    line = " ".join(text.split())
    wanted = {word for said in models.said(question) for word in _WORD.findall(said)}
    found = [match.span() for match in _WORD.finditer(line) if _is_one(match[0].lower(), wanted)]
    start = _window(line, found, size)
    end = min(len(line), start + size)
    if end < len(line):
        space = line.rfind(" ", start, end)
        end = space if space > start else end
    before, after = "…" if start else "", "…" if end < len(line) else ""
    moved = len(before) - start
    marks = [(low + moved, high + moved) for low, high in found if start <= low and high <= end]
    return Snippet(before + line[start:end] + after, marks)


def _is_one(word: str, wanted: Iterable[str]) -> bool:
    return any(word == one or (len(one) > 3 and word.startswith(one)) for one in wanted)


def _window(line: str, found: list[tuple[int, int]], size: int) -> int:
    """Where to begin, so that as many different words as can be are seen, and a little before the first."""
    best, last, most = 0, 0, 0
    for low, _ in found:
        inside = [(a, b) for a, b in found if low <= a and b <= low + size]
        count = len({line[a:b].lower() for a, b in inside})
        if count > most:
            best, last, most = low, inside[-1][1], count
    begin = min(best - min(size // 4, size - (last - best)), len(line) - size)
    return line.find(" ", begin, best) + 1 if begin > 0 and best > begin else max(0, begin)
