"""The work that is measured: the same code for this library, for the old one, and beside it what peers do.

Rule 1: a task is a generator. What stands before the loop is set-up; each turn of the loop measures once, inside
        `with clock`, and yields what one operation cost and an answer.
Rule 2: the answers of two sides are compared. Who skips the work cannot win.
Rule 3: all data comes from seeds, so two interpreters hold the same documents.
Rule 4: only names that both libraries have. What is ours alone says so in its name: `..._columns`.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Task = Callable[[int], Iterator[tuple[float, Any]]]
TASKS: dict[str, Task] = {}
WORDS = "river stone paper light engine garden window silver music harbour letter winter copper summer market".split()


def task(function: Task) -> Task:
    TASKS[function.__name__] = function
    return function


class Clock:
    """Seconds spent inside `with clock`."""

    seconds = 0.0

    def __enter__(self) -> None:
        gc.collect()
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start


clock = Clock()


# --- the documents: a 32-character id, about 50 characters of text, two tags, float32[d] ---------------------------


def ids(n: int) -> list[str]:
    return [f"{i:032x}" for i in range(n)]


def texts(n: int) -> list[str]:
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS, k=7)) + f" {i}" for i in range(n)]


def tags(n: int) -> list[dict[str, Any]]:
    rng = random.Random(2)
    return [{"price": rng.random() * 100, "category": rng.choice("abcdefgh")} for _ in range(n)]


def matrix(n: int, d: int = 128) -> np.ndarray:
    return np.random.default_rng(3).random((n, d), dtype=np.float32) - np.float32(0.5)


def queries(n: int, d: int = 128) -> np.ndarray:
    return np.random.default_rng(4).random((n, d), dtype=np.float32) - np.float32(0.5)


def corner(rows: np.ndarray) -> tuple[list[int], list[float]]:
    """Enough of a matrix to know it by."""
    return list(rows.shape), rows[-1][:4].tolist()


def documents(n: int, *fields: str) -> list:
    """n Documents with an id and the fields named, of text, tags, embedding."""
    from docarray import Document

    columns = {"text": texts, "tags": tags, "embedding": matrix}
    chosen = {field: columns[field](n) for field in fields}
    return [
        Document(id=id_, **{field: values[i] for field, values in chosen.items()})
        for i, id_ in enumerate(ids(n))
    ]


def array(n: int, *fields: str) -> Any:
    from docarray import DocumentArray

    return DocumentArray(documents(n, *fields))


def columns(n: int, *fields: str) -> Any:
    """The same array, made from columns; no row has been touched. This library only."""
    from docarray import DocumentArray

    makers = {"text": texts, "tags": tags, "embedding": matrix}
    return DocumentArray.from_columns(id=ids(n), **{field: makers[field](n) for field in fields})


# --- import -----------------------------------------------------------------------------------------------------


def cold(statement: str) -> dict[str, Any]:
    """What a fresh interpreter says of a statement: its seconds and how many modules are loaded after it."""
    code = (
        "import time, json, sys; start = time.perf_counter(); "
        f"{statement}; "
        "print(json.dumps({'seconds': time.perf_counter() - start, 'modules': len(sys.modules)}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@task
def import_docarray(n: int):
    while True:
        yield cold("import docarray")["seconds"], None


@task
def import_flow(n: int):
    while True:
        yield cold("import docarray.flow")["seconds"], None


@task
def import_numpy(n: int):
    while True:
        yield cold("import numpy")["seconds"], None


@task
def modules_docarray(n: int):
    while True:
        yield cold("import docarray")["modules"], None


@task
def modules_numpy(n: int):
    while True:
        yield cold("import numpy")["modules"], None


@task
def installed_size(n: int):
    """Bytes on disk of the library and all it needs, before Python compiles it."""
    import docarray

    here = Path(__file__).resolve().parents[1]
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-compile", "--target"]
    while True:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "source"), Path(folder, "target")
            wanted = ["docarray==0.21.0", "numpy<2"]
            if docarray.__version__ != "0.21.0":
                wanted = [str(source)]
                shutil.copytree(here / "docarray", source / "docarray")  # a build leaves traces
                for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
                    shutil.copy(here / name, source)
            subprocess.run([*pip, target, *wanted], check=True, capture_output=True)
            yield float(sum(f.stat().st_size for f in target.rglob("*") if f.is_file())), None


# --- making documents -------------------------------------------------------------------------------------------


@task
def create_empty(n: int):
    from docarray import Document

    while True:
        with clock:
            docs = [Document() for _ in range(n)]
        yield clock.seconds / n, len(docs)
        del docs  # or the next round is slowed by collecting garbage among them


@task
def create_empty_read_id(n: int):
    from docarray import Document

    while True:
        with clock:
            seen = {Document().id for _ in range(n)}
        yield clock.seconds / n, len(seen)


@task
def create_text_tags(n: int):
    from docarray import Document

    words, prices = texts(n), tags(n)
    while True:
        with clock:
            docs = [Document(text=w, tags=t) for w, t in zip(words, prices)]  # noqa: B905
        yield clock.seconds / n, (docs[-1].text, docs[-1].tags)
        del docs


@task
def create_text_embedding(n: int):
    from docarray import Document

    words, rows = texts(n), list(matrix(n))
    while True:
        with clock:
            docs = [Document(text=w, embedding=e) for w, e in zip(words, rows)]  # noqa: B905
        yield clock.seconds / n, (docs[-1].text, docs[-1].embedding[:4].tolist())
        del docs


@dataclass(slots=True)
class Record:
    """A dataclass as wide as a Document: what plain Python costs."""

    id: str = ""
    parent_id: str = ""
    granularity: int = 0
    adjacency: int = 0
    blob: bytes = b""
    tensor: Any = None
    mime_type: str = ""
    text: str = ""
    weight: float = 0.0
    uri: str = ""
    tags: Any = None
    metadata: Any = None
    offset: float = 0.0
    location: Any = None
    embedding: Any = None
    modality: str = ""
    evaluations: Any = None
    scores: Any = None
    chunks: Any = None
    matches: Any = None


@task
def create_dataclass(n: int):
    words, rows = texts(n), list(matrix(n))
    while True:
        with clock:
            docs = [Record(text=w, embedding=e) for w, e in zip(words, rows, strict=True)]
        yield clock.seconds / n, (docs[-1].text, docs[-1].embedding[:4].tolist())
        del docs


@task
def create_array(n: int):
    """n Documents of text, tags and embedding, and an array of them."""
    from docarray import Document, DocumentArray

    words, prices, rows = texts(n), tags(n), matrix(n)
    while True:
        with clock:
            da = DocumentArray([Document(text=words[i], tags=prices[i], embedding=rows[i]) for i in range(n)])
        yield clock.seconds, len(da)
        del da


@task
def create_array_columns(n: int):
    """The same array from a Table of columns, as a file or a search gives it; no row touched."""
    from docarray import DocumentArray

    words, prices, rows = texts(n), tags(n), matrix(n)
    table = DocumentArray.from_columns(text=words, tags=prices, embedding=rows)._slots.table()
    while True:
        with clock:
            da = DocumentArray(table)
        yield clock.seconds, len(da)
        del da


@task
def create_array_lists(n: int):
    """The same array from Python lists, each element of which is checked."""
    from docarray import DocumentArray

    words, prices, rows = texts(n), tags(n), matrix(n)
    while True:
        with clock:
            da = DocumentArray.from_columns(text=words, tags=prices, embedding=rows)
        yield clock.seconds, len(da)
        del da


@task
def create_array_columns_touched(n: int):
    """The same, and then each Document made."""
    from docarray import DocumentArray

    words, prices, rows = texts(n), tags(n), matrix(n)
    while True:
        with clock:
            da = DocumentArray.from_columns(text=words, tags=prices, embedding=rows)
            count = sum(1 for _ in da)
        yield clock.seconds, count
        del da


# --- memory -----------------------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(make: Callable[[], Any]) -> tuple[int, Any]:
    """Bytes by which the process grew while it made something, and that thing."""
    gc.collect()
    before = resident()
    made = make()
    gc.collect()
    return resident() - before, made


@task
def memory_word(n: int):
    """A Document of one word. One round a process: freed memory would be used again."""
    from docarray import Document

    Document(text="word")
    size, docs = growth(lambda: [Document(text="word") for _ in range(n)])
    yield size / n, len(docs)


@task
def memory_word_with_id(n: int):
    """The same, its id read."""
    from docarray import Document

    Document(text="word")

    def make() -> list:
        docs = [Document(text="word") for _ in range(n)]
        for doc in docs:
            doc.id  # noqa: B018
        return docs

    size, docs = growth(make)
    yield size / n, len(docs)


@task
def memory_rows(n: int):
    """Text and float32[128], made row by row, each row with its own vector."""
    from docarray import Document, DocumentArray

    rng = np.random.default_rng(3)
    DocumentArray([Document(text="word", embedding=rng.random(128, dtype=np.float32))])

    def make() -> Any:
        return DocumentArray(
            [
                Document(text=f"a text of about fifty characters, number {i:010}", embedding=e)
                for i, e in ((i, rng.random(128, dtype=np.float32)) for i in range(n))
            ]
        )

    size, da = growth(make)
    yield size / n, len(da)


@task
def memory_columns(n: int):
    """The same documents as columns."""
    from docarray import DocumentArray

    rng = np.random.default_rng(3)
    DocumentArray.from_columns(text=["word"], embedding=rng.random((1, 128), dtype=np.float32))

    def make() -> Any:
        return DocumentArray.from_columns(
            text=[f"a text of about fifty characters, number {i:010}" for i in range(n)],
            embedding=rng.random((n, 128), dtype=np.float32),
        )

    size, da = growth(make)
    yield size / n, len(da)


@task
def memory_opened(n: int):
    """The same documents opened from a file, the last one touched."""
    from docarray import DocumentArray

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "da.docarray"
        write = f"""
import numpy as np
from docarray import DocumentArray
rows = np.random.default_rng(3).random(({n}, 128), dtype=np.float32)
texts = [f"a text of about fifty characters, number {{i:010}}" for i in range({n})]
DocumentArray.from_columns(text=texts, embedding=rows).save({str(path)!r})
"""
        subprocess.run([sys.executable, "-c", write], check=True)
        DocumentArray.from_columns(text=["word"], embedding=np.zeros((1, 128), np.float32))

        def open_it() -> Any:
            da = DocumentArray.load(path)
            assert da[-1].text.endswith(str(n - 1))
            return da

        size, da = growth(open_it)
        yield size / n, len(da)


@task
def memory_matrix(n: int):
    """The vectors alone."""
    rng = np.random.default_rng(3)
    size, rows = growth(lambda: rng.random((n, 128), dtype=np.float32))
    yield size / n, len(rows)


# --- the array as a list ----------------------------------------------------------------------------------------


@task
def append(n: int):
    from docarray import DocumentArray

    docs = documents(n)
    while True:
        da = DocumentArray()
        with clock:
            for doc in docs:
                da.append(doc)
        yield clock.seconds / n, len(da)
        del da


@task
def extend(n: int):
    from docarray import DocumentArray

    docs = documents(n)
    while True:
        da = DocumentArray()
        with clock:
            da.extend(docs)
        yield clock.seconds / n, len(da)
        del da


@task
def slice_half(n: int):
    da = array(n)
    while True:
        with clock:
            half = da[: n // 2]
        yield clock.seconds / (n // 2), (len(half), half[-1].id)


def positions(n: int, count: int) -> list[int]:
    return random.Random(5).sample(range(n), min(count, n))


@task
def index_list(n: int):
    da, where = array(n), positions(n, 10_000)
    while True:
        with clock:
            some = da[where]
        yield clock.seconds / len(where), (len(some), some[-1].id)


@task
def get_position(n: int):
    da, where = array(n), positions(n, 20_000)
    while True:
        with clock:
            for i in where:
                doc = da[i]
        yield clock.seconds / len(where), doc.id


@task
def get_id(n: int):
    da = array(n)
    wanted = [da[i].id for i in positions(n, 20_000)]
    da[wanted[0]]
    while True:
        with clock:
            for id_ in wanted:
                doc = da[id_]
        yield clock.seconds / len(wanted), doc.id


@task
def contains_id(n: int):
    da = array(n)
    wanted = [da[i].id for i in positions(n, 20_000)]
    wanted[::2] = [f"not {id_}" for id_ in wanted[::2]]
    _ = wanted[1] in da
    while True:
        with clock:
            found = 0
            for id_ in wanted:
                found += id_ in da
        yield clock.seconds / len(wanted), found


@task
def delete_id(n: int):
    da = array(n)
    wanted = iter([da[i].id for i in positions(n, n // 2)])
    while True:
        id_ = next(wanted)
        with clock:
            del da[id_]
        yield clock.seconds, len(da)


@task
def get_id_after_delete(n: int):
    da = array(n)
    last = da[-1].id
    da[last]
    while True:
        del da[n // 2]
        with clock:
            doc = da[last]
        yield clock.seconds, doc.id


@task
def delete_ids_in_a_loop(n: int):
    """Ten deletes by id, one after the other: the price of a change shows at the next call."""
    da = array(n)
    wanted = [da[i].id for i in positions(n, n // 2)]
    while True:
        some, wanted = wanted[:10], wanted[10:]
        with clock:
            for id_ in some:
                del da[id_]
        yield clock.seconds / 10, len(da)


# --- the array as columns ---------------------------------------------------------------------------------------


@task
def embeddings_get(n: int):
    da, rows = array(n), matrix(n)
    da.embeddings = rows
    da.embeddings  # noqa: B018
    while True:
        with clock:
            got = da.embeddings
        yield clock.seconds / n, corner(got)


@task
def embeddings_get_after_change(n: int):
    """One row got another vector."""
    da, rows = array(n), matrix(n)
    da.embeddings = rows
    da.embeddings  # noqa: B018
    while True:
        da[n // 2].embedding = rows[0].copy()
        with clock:
            got = da.embeddings
        yield clock.seconds / n, corner(got)


@task
def embeddings_get_rows(n: int):
    """The array was made of Documents, and one got another vector."""
    da = array(n, "embedding")
    other = matrix(1)[0].copy()
    while True:
        da[n // 2].embedding = other.copy()
        with clock:
            got = da.embeddings
        yield clock.seconds / n, corner(got)


@task
def embeddings_set(n: int):
    da, rows = array(n), matrix(n)
    while True:
        with clock:
            da.embeddings = rows
        yield clock.seconds / n, da[-1].embedding[:4].tolist()


@task
def texts_set(n: int):
    da, words = array(n), texts(n)
    while True:
        with clock:
            da.texts = words
        yield clock.seconds / n, da[-1].text


@task
def texts_get(n: int):
    da = array(n, "text")
    while True:
        with clock:
            words = da.texts
        yield clock.seconds / n, (len(words), words[-1])


@task
def texts_get_columns(n: int):
    da = columns(n, "text")
    while True:
        with clock:
            words = da.texts
        yield clock.seconds / n, (len(words), words[-1])


@task
def two_columns(n: int):
    da = array(n, "text", "embedding")
    while True:
        with clock:
            words, rows = da[:, ["text", "embedding"]]
        yield clock.seconds / n, (len(words), words[-1], corner(rows))


@task
def two_columns_columns(n: int):
    da = columns(n, "text", "embedding")
    while True:
        with clock:
            words, rows = da[:, ["text", "embedding"]]
        yield clock.seconds / n, (len(words), words[-1], corner(rows))


# --- paths ------------------------------------------------------------------------------------------------------


def nested(n: int) -> Any:
    """n documents in all: of 29, one is a root, 4 its chunks, 16 their chunks and 8 its matches."""
    from docarray import Document, DocumentArray

    def leaves(name: str, count: int) -> list:
        return [Document(id=f"{name}/{i}", text=f"leaf {i}") for i in range(count)]

    return DocumentArray(
        [
            Document(
                id=f"r{r}",
                chunks=[Document(id=f"r{r}/c{c}", chunks=leaves(f"r{r}/c{c}/c", 4)) for c in range(4)],
                matches=leaves(f"r{r}/m", 8),
            )
            for r in range(max(1, n // 29))
        ]
    )


def path(selector: Any) -> Task:
    def work(n: int):
        da = nested(n)
        da[selector]
        while True:
            with clock:
                found = da[selector]
            yield clock.seconds / len(found), (len(found), found[0].id, found[-1].id)

    return work


TASKS["path_c_m"] = path("@c,m")
TASKS["path_cc"] = path("@cc")
TASKS["path_r_c_cc"] = path("@r,c,cc")
TASKS["path_c_slice"] = path("@c[:2]")


@task
def flatten(n: int):
    da = nested(n)
    da.flatten()
    while True:
        da = da[:]  # the old library remembers that an array is flat; a new array does not
        with clock:
            flat = da.flatten()
        yield clock.seconds / len(flat), (len(flat), flat[0].id, flat[-1].id)


@task
def flatten_columns(n: int):
    """The same over rows that nobody touched, as a file gives them."""
    from docarray import DocumentArray

    data = nested(n).to_bytes()
    while True:
        da = DocumentArray.from_bytes(data)
        with clock:
            flat = da.flatten()
        yield clock.seconds / len(flat), (len(flat), flat[0].id, flat[-1].id)


@task
def chunks_columns(n: int):
    """Two paths over rows that nobody touched."""
    from docarray import DocumentArray

    data = nested(n).to_bytes()
    while True:
        da = DocumentArray.from_bytes(data)
        with clock:
            found = da["@c,m"]
        yield clock.seconds / len(found), (len(found), found[0].id, found[-1].id)


# --- filters ----------------------------------------------------------------------------------------------------

CHEAP = {"tags__price": {"$lt": 30}, "tags__category": {"$eq": "c"}}


@task
def filter_rows(n: int):
    da = array(n, "text", "tags")
    while True:
        with clock:
            found = da.find(CHEAP)
        yield clock.seconds, (len(found), found[-1].id)


@task
def filter_columns(n: int):
    da = columns(n, "text", "tags")
    da.find(CHEAP)
    while True:
        with clock:
            found = da.find(CHEAP)
        yield clock.seconds, (len(found), found[-1].id)


@task
def filter_columns_first(n: int):
    """The first filter over columns, which takes the tags apart."""
    while True:
        da = columns(n, "text", "tags")
        with clock:
            found = da.find(CHEAP)
        yield clock.seconds, (len(found), found[-1].id)


@task
def filter_polars(n: int):
    import polars

    frame = polars.DataFrame({"id": ids(n), "text": texts(n)}).hstack(polars.DataFrame(tags(n)))
    while True:
        with clock:
            found = frame.filter((polars.col("price") < 30) & (polars.col("category") == "c"))
        yield clock.seconds, (len(found), found["id"][-1])


@task
def filter_pandas(n: int):
    import pandas

    frame = pandas.DataFrame({"id": ids(n), "text": texts(n)}).join(pandas.DataFrame(tags(n)))
    while True:
        with clock:
            found = frame[(frame["price"] < 30) & (frame["category"] == "c")]
        yield clock.seconds, (len(found), found["id"].iloc[-1])


@task
def regex(n: int):
    da = array(n, "text")
    while True:
        with clock:
            found = da.find({"text": {"$regex": "silver .*7$"}})
        yield clock.seconds, (len(found), found[-1].id)


@task
def split_by_tag(n: int):
    da = array(n, "tags")
    while True:
        with clock:
            groups = da.split_by_tag("category")
        yield clock.seconds, {key: len(group) for key, group in sorted(groups.items())}


# --- exact search -----------------------------------------------------------------------------------------------


def find(metric: str, count: int, d: int = 128, given: bool = False) -> Task:
    """Top 10 of n documents for `count` queries, documents returned; the array is warm.

    Each document got its embedding by itself; or, where `given`, all as one matrix, which stays the caller's.
    """

    def work(n: int):
        da = array(n, "text", "tags")
        if given:
            da.embeddings = matrix(n, d)
        else:
            for doc, row in zip(da, matrix(n, d), strict=True):
                doc.embedding = row
        query = queries(count, d)
        question = query[0] if count == 1 else query
        da.find(query[0], metric=metric, limit=10)
        while True:
            with clock:
                hits = da.find(question, metric=metric, limit=10)
            first = hits if count == 1 else hits[0]
            yield clock.seconds, sorted(doc.id for doc in first)

    return work


def faiss_flat(metric: str, count: int, d: int = 128) -> Task:
    """The same question to faiss; ids are looked up in a list, no documents are returned."""

    def work(n: int):
        import faiss

        rows, names, query = matrix(n, d), ids(n), queries(count, d)
        if metric == "cosine":
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            index = faiss.IndexFlatIP(d)
        else:
            index = faiss.IndexFlatL2(d)
        index.add(rows)
        while True:
            with clock:
                if metric == "cosine":
                    asked = query / np.linalg.norm(query, axis=1, keepdims=True)
                else:
                    asked = query
                _, found = index.search(asked, 10)
                hits = [[names[i] for i in row] for row in found]
            yield clock.seconds, sorted(hits[0])

    return work


for _metric in ("cosine", "euclidean"):
    for _count in (1, 10, 1000):
        TASKS[f"find_{_metric}_{_count}"] = find(_metric, _count)
        TASKS[f"faiss_{_metric}_{_count}"] = faiss_flat(_metric, _count)
TASKS["find_cosine_1_768"] = find("cosine", 1, 768)
TASKS["find_cosine_1_given"] = find("cosine", 1, given=True)
TASKS["faiss_cosine_1_768"] = faiss_flat("cosine", 1, 768)


@task
def find_filtered_columns(n: int):
    """A filter that keeps one document of a hundred, then the nearest 10 of those."""
    da = columns(n, "text", "tags", "embedding")
    query = queries(1)[0]
    few = {"tags__price": {"$lt": 1}}
    da.find(query, filter=few, limit=10)
    while True:
        with clock:
            hits = da.find(query, filter=few, limit=10)
        yield clock.seconds, len(hits)


@task
def find_unfiltered_columns(n: int):
    da = columns(n, "text", "tags", "embedding")
    query = queries(1)[0]
    da.find(query, limit=10)
    while True:
        with clock:
            hits = da.find(query, limit=10)
        yield clock.seconds, len(hits)


@task
def find_after_change(n: int):
    """One row got another vector since the last search."""
    da = array(n)
    da.embeddings = matrix(n)
    query, other = queries(1)[0], matrix(1)[0].copy()
    da.find(query, limit=10)
    while True:
        da[n // 2].embedding = other.copy()
        with clock:
            hits = da.find(query, limit=10)
        yield clock.seconds, sorted(doc.id for doc in hits)


# --- bytes and files ----------------------------------------------------------------------------------------------


def said(n: int, da: Any, protocol: str, compress: str | None = None):
    """Times of `to_bytes`, a document."""
    while True:
        with clock:
            data = da.to_bytes(protocol=protocol, compress=compress)
        yield clock.seconds / n, len(da)
        del data


@task
def protobuf_to_bytes(n: int):
    yield from said(n, array(n, "text", "tags", "embedding"), "protobuf-array")


@task
def protobuf_to_bytes_lz4(n: int):
    yield from said(n, array(n, "text", "tags", "embedding"), "protobuf-array", "lz4")


@task
def native_to_bytes_rows(n: int):
    yield from said(n, array(n, "text", "tags", "embedding"), "binary")


@task
def native_to_bytes_columns(n: int):
    yield from said(n, columns(n, "text", "tags", "embedding"), "binary")


@task
def native_to_bytes_lz4_columns(n: int):
    yield from said(n, columns(n, "text", "tags", "embedding"), "binary", "lz4")


@task
def native_to_bytes_zstd_columns(n: int):
    yield from said(n, columns(n, "text", "tags", "embedding"), "binary", "zstd")


def heard(n: int, da: Any, protocol: str, compress: str | None = None, touch: bool = False):
    """Times of `from_bytes`, a document; of `touch` with every document made."""
    from docarray import DocumentArray

    data = da.to_bytes(protocol=protocol, compress=compress)
    del da
    while True:
        with clock:
            found = DocumentArray.from_bytes(data, protocol=protocol, compress=compress)
            if touch:
                for doc in found:
                    doc.text  # noqa: B018
        yield clock.seconds / n, [len(found), found[-1].text]
        del found


@task
def protobuf_from_bytes(n: int):
    yield from heard(n, array(n, "text", "tags", "embedding"), "protobuf-array")


@task
def protobuf_from_bytes_lz4(n: int):
    yield from heard(n, array(n, "text", "tags", "embedding"), "protobuf-array", "lz4")


@task
def native_from_bytes(n: int):
    yield from heard(n, columns(n, "text", "tags", "embedding"), "binary")


@task
def native_from_bytes_touched(n: int):
    yield from heard(n, columns(n, "text", "tags", "embedding"), "binary", touch=True)


@task
def native_from_bytes_lz4(n: int):
    yield from heard(n, columns(n, "text", "tags", "embedding"), "binary", "lz4")


@task
def native_from_bytes_zstd(n: int):
    yield from heard(n, columns(n, "text", "tags", "embedding"), "binary", "zstd")


@task
def native_to_bytes_again(n: int):
    """Of columns that lie flat, as they came from bytes: checksums and copies are all there is to do."""
    from docarray import DocumentArray

    yield from said(n, DocumentArray.from_bytes(columns(n, "text", "tags", "embedding").to_bytes()), "binary")


@task
def copied_bytes(n: int):
    """A copy of the same bytes, and no more."""
    data = memoryview(columns(n, "text", "tags", "embedding").to_bytes())
    while True:
        with clock:
            again = bytes(data)
        yield clock.seconds / n, n
        del again


@task
def protobuf_size_lz4(n: int):
    data = array(n, "text", "tags", "embedding").to_bytes(protocol="protobuf-array", compress="lz4")
    while True:
        yield len(data) / n, n


@task
def native_size_lz4(n: int):
    data = columns(n, "text", "tags", "embedding").to_bytes(compress="lz4")
    while True:
        yield len(data) / n, n


@task
def native_size_zstd(n: int):
    data = columns(n, "text", "tags", "embedding").to_bytes(compress="zstd")
    while True:
        yield len(data) / n, n


@task
def native_open(n: int):
    """Opens a file, asks for its length, its last document and the matrix."""
    from docarray import DocumentArray

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "da.docarray")
        rows = np.zeros((n, 8), np.float32)
        DocumentArray.from_columns(text=[f"text {i}" for i in range(n)], embedding=rows).save(path)
        while True:
            with clock:
                da = DocumentArray.load(path)
                answer = len(da), da[-1].text, da.embeddings.shape
            yield clock.seconds, answer[0] > 0
            del da


@task
def native_open_few(n: int):
    """The same with a hundredth of the documents."""
    yield from native_open(max(1, n // 100))


def peak(work: Callable[[], Any]) -> tuple[int, Any]:
    """The most by which the process grew while it worked, and what it gave."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    made = work()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024 - before, made


@task
def native_peak_save(n: int):
    """Bytes of the array, and what saving it takes beside it, a document."""
    from docarray import DocumentArray

    columns(10, "text", "tags", "embedding").to_bytes()
    data = columns(n, "text", "tags", "embedding").to_bytes()
    with tempfile.TemporaryDirectory() as folder:
        size, _ = peak(lambda: DocumentArray.from_bytes(data).save(Path(folder, "da.docarray")))
    yield (len(data) + size) / n, n


@task
def native_peak_load(n: int):
    """What loading takes when every array and text is read, a document."""
    from docarray import DocumentArray

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "da.docarray")
        path.write_bytes(columns(n, "text", "tags", "embedding").to_bytes())

        def load() -> Any:
            da = DocumentArray.load(path)
            da.embeddings.sum()
            return da

        load()
        size, _ = peak(load)
    yield size / n, n


@task
def native_size(n: int):
    data = columns(n, "text", "tags", "embedding").to_bytes()
    yield len(data) / n, n
