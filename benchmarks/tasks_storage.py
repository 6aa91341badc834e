"""The work of bench_storage.py and bench_hnsw.py: arrays on stores, and beside them the raw thing; see tasks.py.

Rule 1: the raw side is written as one would write it by hand for this work alone: prepared statements, executemany, WAL
        and the same caches, a column for each field, one transaction a call. It keeps no forms, no ids of what is
        gone, no documents that somebody holds, and knows nothing of other processes.
Rule 2: both sides start from Python values and end with them: JSON and vectors are written and read inside the clock.
Rule 3: what is written once is measured once: calls that change something come with a fresh document each.
"""

from __future__ import annotations

import contextlib
import gc
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tasks import TASKS, clock, columns, documents, ids, matrix, queries, tags, task, texts

ALL = ("text", "tags", "embedding")
DECLARED = {"price": "float", "category": "str"}
WANTED = {"$and": [{"tags__price": {"$lt": 30}}, {"tags__category": {"$eq": "a"}}]}
NARROW = {"tags__price": {"$lt": 0.1}}


def each(work: Callable[[Any], Any], made: Iterator[Any], most: int = 200, seconds: float = 0.03) -> float:
    """What one call costs: as many calls as fit into a moment, each with something that was made before its start."""
    gc.collect()
    spent, count = 0.0, 0
    while spent < seconds and count < most:
        item = next(made)
        start = time.perf_counter()
        work(item)
        spent += time.perf_counter() - start
        count += 1
    return spent / count


# --- arrays on SQLite ------------------------------------------------------------------------------------------------


def opened(folder: str, **settings: Any) -> Any:
    from docarray import DocumentArray

    path = str(Path(folder, "docs.db"))
    return DocumentArray(storage="sqlite", config={"connection": path, "table_name": "docs", **settings})


def closed(da: Any) -> None:
    if hasattr(da, "close"):  # the old one has no such call
        da.close()


@contextlib.contextmanager
def stored(n: int, **settings: Any) -> Iterator[Any]:
    """n documents in a file."""
    with tempfile.TemporaryDirectory() as folder:
        da = opened(folder, **settings)
        da.extend(documents(n, *ALL))
        try:
            yield da
        finally:
            closed(da)


def fresh(n: int) -> Iterator[Any]:
    """Documents that no array has yet, without end."""
    from docarray import Document

    rows = matrix(min(n, 1000))
    number = 0
    while True:
        number += 1
        yield Document(
            id=f"new{number}",
            text=f"fresh paper {number}",
            tags={"price": number % 100 + 0.5, "category": "b"},
            embedding=rows[number % len(rows)],
        )


def some(n: int, seed: int = 5) -> Iterator[str]:
    """Ids here and there, each once."""
    numbers = random.Random(seed).sample(range(n), n)
    return (f"{i:032x}" for i in numbers)


def few(n: int) -> int:
    """So many a round may be taken out that some are left in the end."""
    return max(1, min(100, n // 40))


def over_and_over(n: int, work: Callable[[Any, Any], Any], made: Iterator[Any], check: Callable[[Any], Any]):
    """The cost of a call on an array in a file; the number of calls differs from side to side, so must not show."""
    with stored(n) as da:
        while True:
            yield each(lambda item: work(da, item), made, few(n)), check(da)


@task
def stored_insert(n: int):
    yield from over_and_over(n, lambda da, doc: da.insert(0, doc), fresh(n), lambda da: da[0].text[:11])


@task
def stored_append(n: int):
    yield from over_and_over(n, lambda da, doc: da.append(doc), fresh(n), lambda da: da[-1].text[:11])


def _delete(da: Any, key: Any) -> None:
    del da[key]


@task
def stored_delete_first(n: int):
    yield from over_and_over(n, _delete, iter(lambda: 0, 1), lambda da: len(da) < n)


@task
def stored_delete_id(n: int):
    yield from over_and_over(n, _delete, some(n), lambda da: len(da) < n)


@task
def stored_get_id(n: int):
    keys = ids(n)
    chosen = iter(lambda: random.choice(keys), None)
    yield from over_and_over(n, lambda da, key: da[key].text, chosen, lambda da: da[keys[7]].text)


@task
def stored_get_offset(n: int):
    chosen = iter(lambda: random.randrange(n), None)
    yield from over_and_over(n, lambda da, at: da[at].text, chosen, lambda da: da[7].text)


@task
def stored_update(n: int):
    """Another document under an id that there is."""

    def renamed() -> Iterator[Any]:
        keys = ids(n)
        for doc in fresh(n):
            doc.id = random.choice(keys)
            yield doc

    yield from over_and_over(n, lambda da, doc: da.__setitem__(doc.id, doc), renamed(), len)


@task
def stored_set_text(n: int):
    keys = ids(n)

    def work(da: Any, key: str) -> None:
        da[key].text = "another text"

    yield from over_and_over(n, work, iter(lambda: random.choice(keys), None), len)


def pieces(n: int, size: int = 50_000) -> Iterator[Any]:
    """n documents in columns, a part at a time; this library only."""
    from docarray import DocumentArray

    made: dict[str, Any] = {"text": texts(size), "tags": tags(size), "embedding": matrix(size)}
    for start in range(0, n, size):
        count = min(size, n - start)
        keys = [f"{i:032x}" for i in range(start, start + count)]
        yield DocumentArray.from_columns(id=keys, **{name: values[:count] for name, values in made.items()})


@task
def stored_curve(n: int):
    """What four calls cost on one array, by name; this library only."""
    with tempfile.TemporaryDirectory() as folder:
        da = opened(folder)
        for part in pieces(n):
            da.extend(part)
        added, gone = fresh(n), some(n)
        while True:
            costs = {
                "insert(0, doc)": each(lambda doc: da.insert(0, doc), added, few(n)),
                "del da[0]": each(lambda at: _delete(da, at), iter(lambda: 0, 1), few(n)),
                "append(doc)": each(lambda doc: da.append(doc), added, few(n)),
                "del da[id]": each(lambda key: _delete(da, key), filter(lambda key: key in da, gone), few(n)),
                "sync()": each(lambda _: da.sync(), iter(lambda: 0, 1), few(n)),
                "da[i]": each(lambda at: da[at].text, iter(lambda: random.randrange(len(da)), None), 200),
                "len(da)": each(lambda _: len(da), iter(lambda: 0, 1), 200),
            }
            yield sum(costs.values()), costs


@task
def stored_extend(n: int):
    docs = documents(n, *ALL)
    while True:
        with tempfile.TemporaryDirectory() as folder:
            da = opened(folder)
            with clock:
                da.extend(docs)
            yield clock.seconds / n, len(da)
            closed(da)


@task
def stored_extend_columns(n: int):
    """The same from columns of which no row was touched; this library only."""
    while True:
        with tempfile.TemporaryDirectory() as folder:
            da, given = opened(folder), columns(n, *ALL)
            with clock:
                da.extend(given)
            yield clock.seconds / n, len(da)
            closed(da)


def size_of(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).iterdir())


@task
def stored_size(n: int):
    """Bytes of the file, a document, when it was closed."""
    while True:
        with tempfile.TemporaryDirectory() as folder:
            da = opened(folder)
            da.extend(documents(n, *ALL))
            closed(da)
            del da
            gc.collect()
            yield size_of(folder) / n, n


@task
def stored_iterate(n: int):
    with stored(n) as da:
        while True:
            with clock:
                found = [doc.text for doc in da]
            yield clock.seconds / n, [len(found), found[-1]]


@task
def stored_slice(n: int):
    with stored(n) as da:
        while True:
            with clock:
                found = [doc.text for doc in da[: n // 2]]
            yield clock.seconds / (n // 2), [len(found), found[-1]]


@task
def stored_column(n: int):
    with stored(n) as da:
        while True:
            with clock:
                found = da[:, "text"]
            yield clock.seconds / n, [len(found), found[-1]]


@task
def stored_embeddings_set(n: int):
    rows = matrix(n)
    with stored(n) as da:
        while True:
            rows = rows + np.float32(1)
            with clock:
                da.embeddings = rows
            yield clock.seconds / n, bool(np.array_equal(da[-1].embedding, rows[-1]))


@task
def stored_nested_set(n: int):
    """Embeddings of three chunks in each of n documents; times are a chunk."""
    from docarray import Document

    rows = matrix(3 * n)
    with tempfile.TemporaryDirectory() as folder:
        da = opened(folder)
        da.extend([Document(text="page", chunks=[Document(text="part") for _ in range(3)]) for _ in range(n)])
        while True:
            rows = rows + np.float32(1)
            with clock:
                da["@c", "embedding"] = rows
            yield clock.seconds / (3 * n), bool(np.array_equal(da[-1].chunks[2].embedding, rows[-1]))


@task
def stored_find(n: int):
    """One query, when the array has been searched before."""
    vectors = queries(64)
    with stored(n) as da:
        da.find(vectors[0], limit=10)
        for number in range(1, 64):
            with clock:
                found = da.find(vectors[number], limit=10)
                texts_found = [doc.text for doc in found]
            yield clock.seconds, [found[0].id, len(texts_found)]


def filtered(n: int, wanted: Any, **settings: Any):
    with stored(n, **settings) as da:
        while True:
            with clock:
                found = [doc.text for doc in da.find(wanted, limit=n)]
            yield clock.seconds, [len(found), found[0] if found else None]


@task
def stored_filter(n: int):
    yield from filtered(n, WANTED)


@task
def stored_filter_declared(n: int):
    """With declared columns, which have an index; this library only."""
    yield from filtered(n, WANTED, columns=DECLARED)


@task
def stored_filter_narrow(n: int):
    yield from filtered(n, NARROW)


@task
def stored_filter_narrow_declared(n: int):
    yield from filtered(n, NARROW, columns=DECLARED)


@task
def stored_reopen(n: int):
    with tempfile.TemporaryDirectory() as folder:
        da = opened(folder)
        da.extend(documents(n, *ALL))
        while True:
            closed(da)
            del da
            with clock:
                da = opened(folder)
                count = len(da)
            yield clock.seconds, count


# --- the same by hand ------------------------------------------------------------------------------------------------


class Raw:
    """A table of documents: an id, a number that orders, and a column for each field."""

    def __init__(self, folder: str, declared: bool = False) -> None:
        self.link = sqlite3.connect(Path(folder, "raw.db"), isolation_level=None, cached_statements=512)
        run = self.link.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA cache_size = -32768")
        run("PRAGMA wal_autocheckpoint = 4000")
        run(
            "CREATE TABLE IF NOT EXISTS docs (id TEXT PRIMARY KEY, ord INTEGER UNIQUE, text TEXT, tags TEXT, "
            "embedding BLOB, price REAL, category TEXT)"
        )
        self.declared = declared
        if declared:
            run("CREATE INDEX IF NOT EXISTS by_price ON docs (price)")
            run("CREATE INDEX IF NOT EXISTS by_category ON docs (category)")

    INSERT = "INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?, ?)"
    READ = "SELECT id, text, tags, embedding FROM docs "

    def cells(self, number: int, doc: tuple[str, str, dict[str, Any], np.ndarray]) -> tuple[Any, ...]:
        key, text, more, vector = doc
        typed = (more["price"], more["category"]) if self.declared else (None, None)
        return key, number, text, json.dumps(more), vector.tobytes(), *typed

    def extend(self, docs: list[Any]) -> None:
        run = self.link.execute
        run("BEGIN IMMEDIATE")
        first = run("SELECT coalesce(max(ord) + 1, 0) FROM docs").fetchone()[0]
        self.link.executemany(self.INSERT, (self.cells(first + i, doc) for i, doc in enumerate(docs)))
        run("COMMIT")

    def changed(self, text: str, values: Any) -> None:
        run = self.link.execute
        run("BEGIN IMMEDIATE")
        run(text, values)
        run("COMMIT")

    def insert(self, doc: Any) -> None:
        run = self.link.execute
        run("BEGIN IMMEDIATE")
        first = run("SELECT min(ord) - 1 FROM docs").fetchone()[0]
        run(self.INSERT, self.cells(first, doc))
        run("COMMIT")

    def delete_first(self, _: Any) -> None:
        self.changed("DELETE FROM docs WHERE ord = (SELECT min(ord) FROM docs)", ())

    def read(self, where: str, values: Any = ()) -> list[tuple[Any, ...]]:
        rows = self.link.execute(self.READ + where, values).fetchall()
        return [
            (key, text, json.loads(more), np.frombuffer(vector, np.float32))
            for key, text, more, vector in rows
        ]


def plain(n: int) -> list[Any]:
    """The same documents as tuples."""
    return list(zip(ids(n), texts(n), tags(n), matrix(n), strict=True))


def fresh_plain(n: int) -> Iterator[Any]:
    rows = matrix(min(n, 1000))
    number = 0
    while True:
        number += 1
        more = {"price": number % 100 + 0.5, "category": "b"}
        yield f"new{number}", f"fresh paper {number}", more, rows[number % len(rows)]


@contextlib.contextmanager
def raw(n: int, declared: bool = False) -> Iterator[Raw]:
    with tempfile.TemporaryDirectory() as folder:
        table = Raw(folder, declared)
        table.extend(plain(n))
        with contextlib.closing(table.link):
            yield table


def raw_calls(n: int, work: Callable[[Raw, Any], Any], made: Iterator[Any], check: Callable[[Raw], Any]):
    with raw(n) as table:
        while True:
            yield each(lambda item: work(table, item), made, few(n)), check(table)


def raw_count(table: Raw) -> int:
    return table.link.execute("SELECT count(*) FROM docs").fetchone()[0]


@task
def raw_insert(n: int):
    yield from raw_calls(n, Raw.insert, fresh_plain(n), lambda t: t.read("ORDER BY ord LIMIT 1")[0][1][:11])


@task
def raw_append(n: int):
    yield from raw_calls(
        n,
        lambda t, doc: t.extend([doc]),
        fresh_plain(n),
        lambda t: t.read("ORDER BY ord DESC LIMIT 1")[0][1][:11],
    )


@task
def raw_delete_first(n: int):
    yield from raw_calls(n, Raw.delete_first, iter(lambda: 0, 1), lambda t: raw_count(t) < n)


@task
def raw_delete_id(n: int):
    yield from raw_calls(
        n,
        lambda t, key: t.changed("DELETE FROM docs WHERE id = ?", (key,)),
        some(n),
        lambda t: raw_count(t) < n,
    )


@task
def raw_get_id(n: int):
    keys = ids(n)
    yield from raw_calls(
        n,
        lambda t, key: t.read("WHERE id = ?", (key,))[0][1],
        iter(lambda: random.choice(keys), None),
        lambda t: t.read("WHERE id = ?", (keys[7],))[0][1],
    )


@task
def raw_get_offset(n: int):
    """By the number itself, which is the position as long as nothing was inserted or deleted."""
    yield from raw_calls(
        n,
        lambda t, at: t.read("WHERE ord = ?", (at,))[0][1],
        iter(lambda: random.randrange(n), None),
        lambda t: t.read("WHERE ord = ?", (7,))[0][1],
    )


@task
def raw_update(n: int):
    keys = ids(n)

    def work(table: Raw, doc: Any) -> None:
        _, text, more, vector = doc
        table.changed(
            "UPDATE docs SET text = ?, tags = ?, embedding = ? WHERE id = ?",
            (text, json.dumps(more), vector.tobytes(), random.choice(keys)),
        )

    yield from raw_calls(n, work, fresh_plain(n), raw_count)


@task
def raw_set_text(n: int):
    """The row is read, as one who sets an attribute of a document has read it."""
    keys = ids(n)

    def work(table: Raw, key: str) -> None:
        table.read("WHERE id = ?", (key,))
        table.changed("UPDATE docs SET text = ? WHERE id = ?", ("another text", key))

    yield from raw_calls(n, work, iter(lambda: random.choice(keys), None), raw_count)


@task
def raw_extend(n: int):
    docs = plain(n)
    while True:
        with tempfile.TemporaryDirectory() as folder:
            table = Raw(folder)
            with contextlib.closing(table.link):
                with clock:
                    table.extend(docs)
                yield clock.seconds / n, raw_count(table)


@task
def raw_size(n: int):
    while True:
        with tempfile.TemporaryDirectory() as folder:
            table = Raw(folder)
            table.extend(plain(n))
            table.link.close()
            yield size_of(folder) / n, n


@task
def raw_iterate(n: int):
    with raw(n) as table:
        while True:
            with clock:
                found = [row[1] for row in table.read("ORDER BY ord")]
            yield clock.seconds / n, [len(found), found[-1]]


@task
def raw_slice(n: int):
    with raw(n) as table:
        while True:
            with clock:
                found = [row[1] for row in table.read("WHERE ord >= 0 AND ord < ? ORDER BY ord", (n // 2,))]
            yield clock.seconds / (n // 2), [len(found), found[-1]]


@task
def raw_column(n: int):
    with raw(n) as table:
        while True:
            with clock:
                found = [row[0] for row in table.link.execute("SELECT text FROM docs ORDER BY ord")]
            yield clock.seconds / n, [len(found), found[-1]]


@task
def raw_embeddings_set(n: int):
    rows, keys = matrix(n), ids(n)
    with raw(n) as table:
        while True:
            rows = rows + np.float32(1)
            with clock:
                table.link.execute("BEGIN IMMEDIATE")
                table.link.executemany(
                    "UPDATE docs SET embedding = ? WHERE id = ?",
                    ((row.tobytes(), key) for row, key in zip(rows, keys, strict=True)),
                )
                table.link.execute("COMMIT")
            found = table.read("WHERE id = ?", (keys[-1],))[0][3]
            yield clock.seconds / n, bool(np.array_equal(found, rows[-1]))


@task
def raw_find(n: int):
    """The vectors and their lengths are in memory; the documents found are read."""
    rows, keys, vectors = matrix(n), ids(n), queries(64)
    lengths = np.linalg.norm(rows, axis=1)
    with raw(n) as table:
        for number in range(1, 64):
            with clock:
                scores = rows @ vectors[number] / lengths
                best = np.argpartition(-scores, 10)[:10]
                best = best[np.argsort(-scores[best])]
                marks = ",".join("?" * len(best))
                found = {row[0]: row for row in table.read(f"WHERE id IN ({marks})", [keys[i] for i in best])}
                texts_found = [found[keys[i]][1] for i in best]
            yield clock.seconds, [keys[best[0]], len(texts_found)]


def raw_filtered(n: int, where: str, declared: bool):
    with raw(n, declared) as table:
        while True:
            with clock:
                found = [row[1] for row in table.read(f"WHERE {where} ORDER BY ord")]
            yield clock.seconds, [len(found), found[0] if found else None]


@task
def raw_filter(n: int):
    yield from raw_filtered(
        n, "json_extract(tags, '$.price') < 30 AND json_extract(tags, '$.category') = 'a'", False
    )


@task
def raw_filter_declared(n: int):
    yield from raw_filtered(n, "price < 30 AND category = 'a'", True)


@task
def raw_filter_narrow(n: int):
    yield from raw_filtered(n, "json_extract(tags, '$.price') < 0.1", False)


@task
def raw_filter_narrow_declared(n: int):
    yield from raw_filtered(n, "price < 0.1", True)


@task
def raw_reopen(n: int):
    with tempfile.TemporaryDirectory() as folder:
        table = Raw(folder)
        table.extend(plain(n))
        table.link.close()
        while True:
            with clock:
                table = Raw(folder)
                count = raw_count(table)
            with contextlib.closing(table.link):
                yield clock.seconds, count


# --- vector indices: each library does the same with its own calls ---------------------------------------------------

WIDTH, K, LINKS, BUILD, SEARCH = 128, 10, 16, 200, 64
MANY = 200  # queries that are asked together
SHARES = {"narrow": 1, "tenth": 10}  # hundredths of the documents that a filter keeps


def clustered(n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in groups of about a thousand, and queries from the same groups. A graph misses a few of the nearest."""
    rng = np.random.default_rng(11)
    groups = rng.standard_normal((max(2, n // 1000), WIDTH), dtype=np.float32)

    def drawn(size: int) -> np.ndarray:
        spread = rng.standard_normal((size, WIDTH), dtype=np.float32)
        return groups[rng.integers(len(groups), size=size)] + spread

    return drawn(n), drawn(count)


def shares(n: int) -> list[int]:
    """A number from 0 to 99 for each document: `share < 1` keeps a hundredth of them."""
    return np.random.default_rng(12).integers(100, size=n).tolist()


def nearest_rows(rows: np.ndarray, vectors: np.ndarray, kept: np.ndarray | None = None) -> list[set[int]]:
    """The rows that really are the nearest, by cosine."""
    chosen = np.arange(len(rows)) if kept is None else np.flatnonzero(kept)
    part = rows[chosen] / np.linalg.norm(rows[chosen], axis=1, keepdims=True)
    scores = vectors @ part.T
    best = np.argpartition(-scores, min(K, len(chosen) - 1), axis=1)[:, :K]
    return [set(chosen[row].tolist()) for row in best]


class Index:
    """A library: what it takes, and how it is asked. Answers are pairs of id and text, the nearest first."""

    def __init__(self, folder: str, n: int) -> None:
        raise NotImplementedError

    def given(self, rows: np.ndarray) -> Any:
        """Documents with id, text, share and vector, as the library likes them best."""
        raise NotImplementedError

    def add(self, given: Any) -> None:
        """Adds them, until the next search costs no more than any."""
        raise NotImplementedError

    def find(self, vector: np.ndarray) -> list[tuple[str, str]]:
        raise NotImplementedError

    def find_many(self, vectors: np.ndarray) -> list[list[tuple[str, str]]]:
        return [self.find(vector) for vector in vectors]

    def find_where(self, vector: np.ndarray, below: int) -> list[tuple[str, str]]:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Ours(Index):
    def __init__(self, folder: str, n: int) -> None:
        from docarray import DocumentArray

        config = {
            "n_dim": WIDTH,
            "data_path": folder,
            "metric": "cosine",
            "max_connection": LINKS,
            "ef_construction": BUILD,
            "ef_search": SEARCH,
            "columns": {"share": "int"},
        }
        self.da: Any = DocumentArray(storage="hnswlib", config=config)

    def given(self, rows: np.ndarray) -> Any:
        from docarray import Document

        n = len(rows)
        return [
            Document(id=key, text=text, tags={"share": share}, embedding=row)
            for key, text, share, row in zip(ids(n), texts(n), shares(n), rows, strict=True)
        ]

    def add(self, given: Any) -> None:
        self.da.extend(given)
        self.da.find(np.ones(WIDTH, np.float32), limit=K)  # what was written goes into the graph now

    def find(self, vector: np.ndarray) -> list[tuple[str, str]]:
        return [(doc.id, doc.text) for doc in self.da.find(vector, limit=K)]

    def find_many(self, vectors: np.ndarray) -> list[list[tuple[str, str]]]:
        return [[(doc.id, doc.text) for doc in found] for found in self.da.find(vectors, limit=K)]

    def find_where(self, vector: np.ndarray, below: int) -> list[tuple[str, str]]:
        wanted = {"tags__share": {"$lt": below}}
        return [(doc.id, doc.text) for doc in self.da.find(vector, filter=wanted, limit=K)]

    def close(self) -> None:
        self.da.close()


class OursColumns(Ours):
    def given(self, rows: np.ndarray) -> Any:
        from docarray import DocumentArray

        n = len(rows)
        found = [{"share": share} for share in shares(n)]
        return DocumentArray.from_columns(id=ids(n), text=texts(n), tags=found, embedding=rows)


class Hnswlib(Index):
    """The graph alone; ids and texts are lists in memory, nothing is on the disk."""

    def __init__(self, folder: str, n: int) -> None:
        import hnswlib

        self.index: Any = hnswlib.Index(space="cosine", dim=WIDTH)
        self.index.init_index(max_elements=n, ef_construction=BUILD, M=LINKS)
        self.index.set_ef(SEARCH)

    def given(self, rows: np.ndarray) -> Any:
        n = len(rows)
        self.pairs = list(zip(ids(n), texts(n), strict=True))
        self.shares = shares(n)
        return rows

    def add(self, given: Any) -> None:
        self.index.add_items(given)

    def find(self, vector: np.ndarray) -> list[tuple[str, str]]:
        return [self.pairs[label] for label in self.index.knn_query(vector, k=K)[0][0]]

    def find_many(self, vectors: np.ndarray) -> list[list[tuple[str, str]]]:
        return [[self.pairs[label] for label in row] for row in self.index.knn_query(vectors, k=K)[0]]

    def find_where(self, vector: np.ndarray, below: int) -> list[tuple[str, str]]:
        """By its own filter, a call of Python for each vector that it looks at."""
        kept = self.shares
        try:
            labels, _ = self.index.knn_query(vector, k=K, num_threads=1, filter=lambda i: kept[i] < below)
        except RuntimeError:  # it says so when it reached fewer than k
            return []
        return [self.pairs[label] for label in labels[0]]


class Docarray041(Index):
    def __init__(self, folder: str, n: int) -> None:
        from pydantic import Field

        from docarray import BaseDoc
        from docarray.index import HnswDocumentIndex
        from docarray.typing import NdArray

        class Page(BaseDoc):
            text: str
            share: int
            embedding: NdArray[WIDTH] = Field(  # type: ignore[valid-type]
                space="cosine", max_elements=n, M=LINKS, ef_construction=BUILD, ef=SEARCH
            )

        self.page = Page
        self.index: Any = HnswDocumentIndex[Page](work_dir=folder)

    def given(self, rows: np.ndarray) -> Any:
        from docarray import DocList

        n = len(rows)
        return DocList[self.page](
            self.page(id=key, text=text, share=share, embedding=row)
            for key, text, share, row in zip(ids(n), texts(n), shares(n), rows, strict=True)
        )

    def add(self, given: Any) -> None:
        self.index.index(given)

    def find(self, vector: np.ndarray) -> list[tuple[str, str]]:
        found = self.index.find(vector, search_field="embedding", limit=K)
        return [(doc.id, doc.text) for doc in found.documents]

    def find_many(self, vectors: np.ndarray) -> list[list[tuple[str, str]]]:
        found = self.index.find_batched(vectors, search_field="embedding", limit=K)
        return [[(doc.id, doc.text) for doc in docs] for docs in found.documents]

    def find_where(self, vector: np.ndarray, below: int) -> list[tuple[str, str]]:
        query = (
            self.index.build_query()
            .filter(filter_query={"share": {"$lt": below}})
            .find(query=vector, search_field="embedding", limit=K)
            .build()
        )
        return [(doc.id, doc.text) for doc in self.index.execute_query(query).documents[:K]]


class Chromadb(Index):
    def __init__(self, folder: str, n: int) -> None:
        import chromadb
        from chromadb.config import Settings

        self.client: Any = chromadb.PersistentClient(folder, settings=Settings(anonymized_telemetry=False))
        graph = {
            "space": "cosine",
            "ef_construction": BUILD,
            "ef_search": SEARCH,
            "max_neighbors": LINKS,
        }
        self.index = self.client.create_collection(
            "docs", configuration={"hnsw": graph}, embedding_function=None
        )

    def given(self, rows: np.ndarray) -> Any:
        n, most = len(rows), self.client.get_max_batch_size()
        found = [{"share": share} for share in shares(n)]
        whole = ids(n), rows, texts(n), found
        return [[column[start : start + most] for column in whole] for start in range(0, n, most)]

    def add(self, given: Any) -> None:
        for keys, rows, words, found in given:
            self.index.add(ids=keys, embeddings=rows, documents=words, metadatas=found)
        self.find(np.ones(WIDTH, np.float32))

    def _asked(self, vectors: np.ndarray, **more: Any) -> list[list[tuple[str, str]]]:
        found = self.index.query(
            query_embeddings=vectors, n_results=K, include=["documents", "metadatas", "distances"], **more
        )
        return [
            list(zip(keys, words, strict=True))
            for keys, words in zip(found["ids"], found["documents"], strict=True)
        ]

    def find(self, vector: np.ndarray) -> list[tuple[str, str]]:
        return self._asked(vector[None])[0]

    def find_many(self, vectors: np.ndarray) -> list[list[tuple[str, str]]]:
        return self._asked(vectors)

    def find_where(self, vector: np.ndarray, below: int) -> list[tuple[str, str]]:
        return self._asked(vector[None], where={"share": {"$lt": below}})[0]


class Lancedb(Index):
    def __init__(self, folder: str, n: int) -> None:
        import lancedb

        self.base: Any = lancedb.connect(folder)
        self.table: Any = None

    def given(self, rows: np.ndarray) -> Any:
        import pyarrow as pa

        n = len(rows)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), WIDTH)
        return pa.table({"id": ids(n), "text": texts(n), "share": shares(n), "vector": vectors})

    def add(self, given: Any) -> None:
        self.table = self.base.create_table("docs", given)
        self.table.create_index(
            metric="cosine",
            vector_column_name="vector",
            index_type="IVF_HNSW_FLAT",
            num_partitions=1,
            m=LINKS,
            ef_construction=BUILD,
        )
        self.table.create_scalar_index("share")
        self.find(np.ones(WIDTH, np.float32))

    def _asked(self, vector: np.ndarray) -> Any:
        query = self.table.search(vector).distance_type("cosine").ef(SEARCH)
        return query.limit(K).select(["id", "text", "share", "_distance"])

    def find(self, vector: np.ndarray) -> list[tuple[str, str]]:
        return [(row["id"], row["text"]) for row in self._asked(vector).to_list()]

    def find_where(self, vector: np.ndarray, below: int) -> list[tuple[str, str]]:
        found = self._asked(vector).where(f"share < {below}", prefilter=True).to_list()
        return [(row["id"], row["text"]) for row in found]


INDICES: dict[str, type[Index]] = {
    "hnsw": Ours,
    "hnsw_columns": OursColumns,
    "hnswlib": Hnswlib,
    "docarray041": Docarray041,
    "chromadb": Chromadb,
    "lancedb": Lancedb,
}


def of_index(name: str, kind: type[Index]) -> None:
    """Tasks of one library: NAME_build, NAME_single, ..."""

    def built(n: int) -> Any:
        return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)

    @contextlib.contextmanager
    def full(n: int) -> Iterator[tuple[Index, np.ndarray, np.ndarray]]:
        rows, vectors = clustered(n, MANY)
        with built(n) as folder:
            index = kind(folder, n)
            index.add(index.given(rows))
            try:
                yield index, rows, vectors
            finally:
                index.close()

    def build(n: int):
        """Documents in, ready to be searched; times are a document."""
        rows, vectors = clustered(n, 1)
        while True:
            with built(n) as folder:
                index = kind(folder, n)
                given = index.given(rows)
                with clock:
                    index.add(given)
                yield clock.seconds / n, len(index.find(vectors[0]))
                index.close()
                del index, given

    def single(n: int):
        with full(n) as (index, _, vectors):
            turn = iter(lambda: random.randrange(MANY), None)
            while True:
                yield each(lambda i: index.find(vectors[i]), turn, 200), len(index.find(vectors[0]))

    def batch(n: int):
        with full(n) as (index, _, vectors):
            while True:
                with clock:
                    found = index.find_many(vectors)
                yield clock.seconds / MANY, [len(found), len(found[-1])]

    def recall(n: int):
        with full(n) as (index, rows, vectors):
            wanted = nearest_rows(rows, vectors)
            while True:
                found = index.find_many(vectors)
                yield hit(found, wanted), None

    def hit(found: list[list[tuple[str, str]]], wanted: list[set[int]]) -> float:
        both = zip(found, wanted, strict=True)
        return sum(len({int(key, 16) for key, _ in one} & best) for one, best in both) / (K * len(wanted))

    def where(share: int) -> tuple[Any, Any]:
        def cost(n: int):
            with full(n) as (index, _, vectors):
                turn = iter(lambda: random.randrange(MANY), None)
                while True:
                    took = each(lambda i: index.find_where(vectors[i], share), turn, 200)
                    yield took, len(index.find_where(vectors[0], share))

        def found_there(n: int):
            with full(n) as (index, rows, vectors):
                vectors = vectors[:50]
                wanted = nearest_rows(rows, vectors, np.array(shares(n)) < share)
                while True:
                    found = [index.find_where(vector, share) for vector in vectors]
                    enough = all(
                        len(one) == min(K, len(best)) for one, best in zip(found, wanted, strict=True)
                    )
                    yield hit(found, wanted), enough

        return cost, found_there

    TASKS.update({f"{name}_build": build, f"{name}_single": single})
    TASKS.update({f"{name}_batch": batch, f"{name}_recall": recall})
    for label, share in SHARES.items():
        TASKS[f"{name}_{label}"], TASKS[f"{name}_{label}_recall"] = where(share)


for name, kind in INDICES.items():
    of_index(name, kind)


@task
def all_of_them(n: int):
    """What an exact search finds: all, and as many as were asked for."""
    while True:
        yield 1.0, True
