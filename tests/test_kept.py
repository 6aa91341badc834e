"""What is kept of a store in memory: after any changes it is what a fresh reading gives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray.bm25 import TextIndex
from docarray.columns import column_of
from docarray.errors import DuplicateDocument, MissingDocument, MissingEmbedding, ShapeError
from docarray.kept import KeptVectors, KeptWords
from docarray.schema import FIELDS
from docarray.store import Changes, Store, missing_ids
from docarray.table import Table


class Shelf(Store):
    """Rows in a dict, and a log of all that happened."""

    def __init__(self, remembers: int = 10**9) -> None:
        self.order: list[str] = []
        self.records: dict[str, dict] = {}
        self.log: list[tuple[str, str]] = []
        self.moves: list[int] = []
        self.remembers = remembers
        self.readings = 0

    def ids(self):
        return list(self.order)

    def read(self, ids, columns=None):
        missing_ids(ids, self.records)
        names = [n for n in FIELDS if n != "id" and (columns is None or n in columns)]
        rows = [self.records[key] for key in ids]
        used = [n for n in names if any(row.get(n) is not None for row in rows)]
        columns = {n: column_of(FIELDS[n].kind, [row.get(n) for row in rows]) for n in used}
        return Table(columns, len(rows), list(ids))

    def scan(self, columns=None, batch=3):
        self.readings += 1
        return super().scan(columns, batch)

    def write(self, table, before=None):
        if len(set(table.ids)) < len(table):
            raise DuplicateDocument("twice")
        if before is not None and before not in self.records:
            raise MissingDocument(before)
        new = [key for key in table.ids if key not in self.records]
        at = len(self.order) if before is None else self.order.index(before)
        if new and at < len(self.order):
            self.moves.append(len(self.log))
        self.order[at:at] = new
        for row, key in enumerate(table.ids):
            record = self.records.setdefault(key, {})
            for name, column in table.columns.items():
                record[name] = column.value(row)
            self.log.append(("written", key))

    def delete(self, ids):
        missing_ids(ids, self.records)
        for key in dict.fromkeys(ids):
            del self.records[key]
            self.order.remove(key)
            self.log.append(("deleted", key))

    def reorder(self, ids):
        self.order = list(ids)
        self.moves.append(len(self.log))
        self.log.append(("written", ids[0])) if ids else None

    def meta(self, update=None):
        return {}

    def mark(self):
        return len(self.log)

    def changes(self, since):
        if len(self.log) - since > self.remembers:
            return None
        happened = self.log[since:]
        written = {key for what, key in happened if what == "written"} & set(self.order)
        return Changes(
            len(self.log),
            list(dict.fromkeys(key for what, key in happened if what == "deleted")),
            [key for key in self.order if key in written],
            any(at >= since for at in self.moves),
        )


class Forgetful(Shelf):
    """Cannot tell what changed, nor whether anything did."""

    def mark(self):
        return None


def rows(**cells):
    ids = cells.pop("ids")
    columns = {name: column_of(FIELDS[name].kind, values) for name, values in cells.items()}
    return Table(columns, len(ids), list(ids))


WORDS = ["red car", "car", "Red, red!", "blue sky", "the red sky", "", "…", None, "a car: the car"]
F32 = [np.array(v, np.float32) for v in ([1, 0], [0, 1], [1, 1], [3, 4], [0, 0])]
ODD = [np.array([1.0, 2.0]), np.array([1, 2, 3], np.float32), np.ones((1, 2), np.float32)]


@st.composite
def steps(draw, odd=False):
    """What to do with a store of some ids: (verb, ids, embeddings, texts, before)."""
    vectors = st.sampled_from([*F32, None, *(ODD if odd else [])])
    ids = draw(st.lists(st.sampled_from("abcdefghij"), unique=True, min_size=1, max_size=6))
    verb = draw(st.sampled_from(["write", "write", "write", "before", "delete", "shuffle", "again"]))
    few = st.lists(vectors, min_size=len(ids), max_size=len(ids))
    texts = st.lists(st.sampled_from(WORDS), min_size=len(ids), max_size=len(ids))
    return verb, ids, draw(few), draw(texts), draw(st.integers(0, 9))


def take(store, step):
    verb, ids, vectors, texts, number = step
    table = rows(ids=ids, embedding=vectors, text=texts)
    if verb == "write":
        store.write(table)
    elif verb == "before":
        store.write(table, store.order[number % len(store.order)] if store.order else None)
    elif verb == "shuffle":
        if store.order:
            store.reorder(store.order[number % len(store.order) :] + store.order[: number % len(store.order)])
    else:
        here = [key for key in ids if key in store.records]
        store.delete(here)
        if verb == "again" and here:
            store.write(table)


def near(kept, where=None, skip=None):
    try:
        return kept.nearest(
            np.array([[1, 1], [0, 2]], np.float32), None, "euclidean", where, skip and [skip, None], None
        )
    except (ShapeError, MissingEmbedding) as error:
        return type(error)


def equal_whole(a, b):
    if a is None or b is None:
        return a is b
    return (
        a[0] == b[0]
        and a[1].dtype == b[1].dtype
        and a[1].shape == b[1].shape
        and a[1].tobytes() == b[1].tobytes()
        and (a[2] is None) == (b[2] is None)
        and (a[2] is None or a[2].tobytes() == b[2].tobytes())
    )


STORES = st.sampled_from([lambda: Shelf(), lambda: Shelf(4), lambda: Forgetful()])


@settings(deadline=None, max_examples=150)
@given(STORES, st.lists(steps(), max_size=12), st.sampled_from([None, ["a", "d", "nobody"]]), st.data())
def test_vectors_follow_as_a_fresh_reading(opened, taken, where, data):
    store = opened()
    kept = KeptVectors(store)
    for step in taken:
        take(store, step)
        if data.draw(st.booleans()):
            continue
        fresh = KeptVectors(store)
        assert near(fresh, where, "b") == near(kept, where, "b")
        assert near(fresh) == near(kept)
        assert equal_whole(fresh.whole(len(store)), kept.whole(len(store)))


@settings(deadline=None, max_examples=100)
@given(st.lists(steps(odd=True), max_size=8))
def test_vectors_of_several_shapes_follow_as_a_fresh_reading(taken):
    store = Shelf()
    kept = KeptVectors(store)
    for step in taken:
        take(store, step)
        fresh = KeptVectors(store)
        assert near(fresh) == near(kept)
        assert equal_whole(fresh.whole(len(store)), kept.whole(len(store)))


@settings(deadline=None, max_examples=150)
@given(STORES, st.lists(steps(), max_size=12), st.sampled_from([None, ["a", "d", "nobody"]]), st.data())
def test_words_follow_as_a_fresh_reading(opened, taken, where, data):
    store = opened()
    kept = KeptWords(store, "text", TextIndex())
    for step in taken:
        take(store, step)
        if data.draw(st.booleans()):
            continue
        asked = ["red", "the car", "sky nobody red"]
        for k in (None, 2):
            fresh = KeptWords(store, "text", TextIndex())
            assert fresh.search(asked, k, where) == kept.search(asked, k, where)


def test_small_changes_cost_no_reading_of_all():
    store = Shelf()
    store.write(
        rows(ids=list("abcdefgh"), embedding=[F32[i % 4] for i in range(8)], text=WORDS[:5] + WORDS[:3])
    )
    vectors, words = KeptVectors(store), KeptWords(store, "text", TextIndex())
    near(vectors), words.search(["red"], 3, None)
    readings = store.readings

    store.write(rows(ids=["x"], embedding=[F32[0]], text=["red"]))
    store.write(rows(ids=["b"], embedding=[F32[2]], text=["blue"]))
    store.delete(["a"])
    near(vectors), words.search(["red"], 3, None)

    assert readings == store.readings


def test_an_embedding_that_comes_later_stands_where_its_row_stands():
    store = Shelf()
    store.write(rows(ids=["a", "b", "c"], embedding=[None, F32[0], F32[0]]))
    kept = KeptVectors(store)
    near(kept)

    store.write(rows(ids=["a"], embedding=[F32[0]]))

    assert ["a", "b", "c"] == near(kept)[0][0]


def test_a_text_that_comes_later_stands_where_its_row_stands():
    store = Shelf()
    store.write(rows(ids=["a", "b", "c"], text=[None, "red", "red"]))
    kept = KeptWords(store, "text", TextIndex())
    kept.search(["red"], None, None)

    store.write(rows(ids=["a"], text=["red"]))

    assert ["a", "b", "c"] == kept.search(["red"], None, None)[0][0]


def test_what_a_store_gave_is_not_written_to():
    """The matrix of a store that is read in one piece is that piece."""
    store = Shelf()
    store.write(rows(ids=["a", "b"], embedding=[F32[0], F32[1]]))
    table = store.read(["a", "b"], ["embedding"])
    given = table.columns["embedding"].data.copy()
    store.scan = lambda columns=None, batch=3: iter([table])
    kept = KeptVectors(store)
    near(kept)

    store.write(rows(ids=["a"], embedding=[F32[3]]))
    near(kept)

    assert np.array_equal(given, table.columns["embedding"].data)


def test_sparse_embeddings_follow_too():
    store = Shelf()
    one, two = sparse.csr_matrix([[1.0, 0.0]]), sparse.csr_matrix([[0.0, 2.0]])
    store.write(rows(ids=["a", "b"], embedding=[one, two]))
    kept = KeptVectors(store)
    assert ["b", "a"] == kept.nearest(np.array([[0.0, 1.0]]), None, "euclidean", None, None, None)[0][0]

    store.write(rows(ids=["a"], embedding=[two]))
    store.reorder(["b", "a"])

    assert ["b", "a"] == kept.nearest(np.array([[0.0, 1.0]]), None, "euclidean", None, None, None)[0][0]


def test_words_of_a_path_into_tags():
    store = Shelf()
    tags = [{"title": "Red car"}, {"title": 3}, {}, {"title": ["red"]}, {"title": "red"}]
    store.write(rows(ids=list("abcde"), tags=tags))

    assert ["e", "a"] == KeptWords(store, "tags__title", TextIndex()).search(["red"], None, None)[0][0]


def test_an_error_of_the_store_leaves_what_is_kept_as_it_was():
    store = Shelf()
    store.write(rows(ids=["a", "b"], text=["red", "blue"], embedding=[F32[0], F32[1]]))
    words, vectors = KeptWords(store, "text", TextIndex()), KeptVectors(store)
    words.search(["red"], None, None), near(vectors)
    store.write(rows(ids=["c", "a"], text=["red", "green"], embedding=[F32[1], F32[2]]))
    store.delete(["b"])
    reads = store.read

    def fails(ids, columns=None):
        raise OSError("no disk")

    store.read = fails
    with pytest.raises(OSError, match="no disk"):
        words.search(["red"], None, None)
    with pytest.raises(OSError, match="no disk"):
        near(vectors)
    store.read = reads

    fresh = KeptWords(store, "text", TextIndex())
    assert fresh.search(["red green"], None, None) == words.search(["red green"], None, None)
    assert near(KeptVectors(store)) == near(vectors)
