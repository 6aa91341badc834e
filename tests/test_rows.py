"""An array in memory, made of rows or of documents, against a plain list of records: nothing is ever stale."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from everything import alike_array, difference, everything_array
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from docarray import Document, DocumentArray, rows
from docarray.columns import TextColumn
from docarray.errors import DocArrayError, MissingEmbedding
from docarray.rows import Slots
from docarray.table import Table

D = 3
small = st.integers(-4, 4)
vectors = st.lists(small, min_size=D, max_size=D).map(lambda v: np.array(v, np.float32))


@dataclass
class Record:
    id: str
    text: str
    price: int
    vector: Any
    extra: dict[str, Any] = field(default_factory=dict)


class AgainstAList(RuleBasedStateMachine):
    """Two arrays share documents; what is done through one is seen through the other, as with lists."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.arrays: list[tuple[DocumentArray, list[Record]]] = []

    def fresh(self, n: int, values: list[Any]) -> list[Record]:
        out = []
        for i in range(n):
            self.count += 1
            out.append(
                Record(
                    f"id{self.count}", f"text {self.count}", self.count % 5, values[i % len(values)].copy()
                )
            )
        return out

    @staticmethod
    def doc(record: Record) -> Document:
        return Document(
            id=record.id,
            text=record.text,
            tags={"price": record.price},
            embedding=None if record.vector is None else record.vector.copy(),
        )

    @initialize(n=st.integers(0, 9), values=st.lists(vectors, min_size=1, max_size=4), columns=st.booleans())
    def start(self, n: int, values: list[Any], columns: bool) -> None:
        records = self.fresh(n, values)
        if columns:
            da = DocumentArray.from_columns(
                id=[r.id for r in records],
                text=[r.text for r in records],
                tags=[{"price": r.price} for r in records],
                embedding=np.array([r.vector for r in records], np.float32).reshape(n, D),
            )
        else:
            da = DocumentArray([self.doc(r) for r in records])
        self.arrays.append((da, records))

    def pick(self, data: Any) -> tuple[DocumentArray, list[Record], int]:
        da, records = data.draw(st.sampled_from(self.arrays))
        return da, records, data.draw(st.integers(0, len(records) - 1)) if records else -1

    @rule(data=st.data(), value=vectors)
    def set_embedding(self, data: Any, value: Any) -> None:
        da, records, i = self.pick(data)
        if i < 0:
            return
        way = data.draw(st.sampled_from(["doc", "index", "id", "copy_from", "content"]))
        if way == "doc":
            da[i].embedding = value
        elif way == "index":
            da[i, "embedding"] = value
        elif way == "id":
            da[records[i].id].embedding = value
        elif way == "copy_from":
            da[i].copy_from(Document(self.doc(records[i]), embedding=value))
        else:
            da[[i], "embedding"] = value[None, :]
        records[i].vector = value.copy()

    @rule(data=st.data(), value=st.integers(5, 9))
    def write_in_place(self, data: Any, value: int) -> None:
        da, records, i = self.pick(data)
        if i < 0 or records[i].vector is None:
            return
        if data.draw(st.booleans()):
            da[i].embedding[1] = value
        else:
            view = da[i].embedding
            view[1] = value - 1
            da[i].embedding += 1
            records[i].vector[1] = value - 1
            records[i].vector += 1
            return
        records[i].vector[1] = value

    @rule(data=st.data())
    def unset_embedding(self, data: Any) -> None:
        da, records, i = self.pick(data)
        if i < 0:
            return
        way = data.draw(st.sampled_from(["none", "pop", "del"]))
        if way == "none":
            da[i].embedding = None
        elif way == "pop":
            da[i].pop("embedding")
        else:
            del da[records[i].id, "embedding"]
        records[i].vector = None

    @rule(data=st.data(), values=st.lists(vectors, min_size=1, max_size=3))
    def set_matrix(self, data: Any, values: list[Any]) -> None:
        da, records, _ = self.pick(data)
        if not records:
            return
        matrix = np.array([values[i % len(values)] for i in range(len(records))], np.float32)
        way = data.draw(st.sampled_from(["property", "selector", "half"]))
        if way == "half":
            half = len(records) // 2 or 1
            da[:half].embeddings = matrix[:half]
            for record, value in zip(records[:half], matrix, strict=False):
                record.vector = value.copy()
            return
        if way == "property":
            da.embeddings = matrix
        else:
            da[:, "embedding"] = matrix
        for record, value in zip(records, matrix, strict=True):
            record.vector = value.copy()

    @rule(data=st.data(), word=st.text("ab", max_size=3))
    def set_text(self, data: Any, word: str) -> None:
        da, records, i = self.pick(data)
        way = data.draw(st.sampled_from(["doc", "all", "selector"]))
        if way == "all":
            da.texts = [word + str(i) for i in range(len(records))]
            for i, record in enumerate(records):
                record.text = word + str(i)
        elif i >= 0:
            if way == "doc":
                da[i].text = word
            else:
                da[i:, "text"] = word
                for record in records[i:]:
                    record.text = word
            records[i].text = word

    @rule(data=st.data(), price=st.integers(0, 5))
    def set_tag(self, data: Any, price: int) -> None:
        da, records, i = self.pick(data)
        if i < 0:
            return
        if data.draw(st.booleans()):
            da[i].tags["price"] = price
        else:
            da[i, "tags__price"] = price
        records[i].price = price

    @rule(data=st.data())
    def set_id(self, data: Any) -> None:
        da, records, i = self.pick(data)
        if i < 0:
            return
        self.count += 1
        records[i].id = f"new{self.count}"
        if data.draw(st.booleans()):
            da[i].id = records[i].id
        else:
            da[i, "id"] = records[i].id

    @rule(data=st.data(), value=vectors)
    def add(self, data: Any, value: Any) -> None:
        da, records, i = self.pick(data)
        new = self.fresh(2, [value])
        way = data.draw(st.sampled_from(["append", "extend", "insert", "iadd", "columns"]))
        if way == "append":
            da.append(self.doc(new[0]))
            records.append(new[0])
        elif way == "insert":
            da.insert(i, self.doc(new[0]))
            records.insert(i, new[0])
        elif way == "columns":
            da.extend(DocumentArray.from_columns(id=[r.id for r in new], text=[r.text for r in new],
                      tags=[{"price": r.price} for r in new], embedding=np.array([r.vector for r in new])))  # fmt: skip
            records.extend(new)
        else:
            docs = [self.doc(r) for r in new]
            if way == "extend":
                da.extend(docs)
            else:
                da += docs
            records.extend(new)

    @rule(data=st.data(), value=vectors)
    def replace(self, data: Any, value: Any) -> None:
        da, records, i = self.pick(data)
        if i < 0:
            return
        new = self.fresh(2, [value])
        way = data.draw(st.sampled_from(["one", "same id", "slice"]))
        if way == "slice":
            da[i : i + 1] = [self.doc(r) for r in new]
            records[i : i + 1] = new
            return
        if way == "same id":
            new[0].id = records[i].id
        da[i] = self.doc(new[0])
        records[i] = new[0]

    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        da, records, i = self.pick(data)
        if i < 0:
            return
        way = data.draw(st.sampled_from(["position", "id", "slice", "list", "pop"]))
        if way == "position":
            del da[i]
            del records[i]
        elif way == "id":
            del da[records[i].id]
            del records[i]
        elif way == "slice":
            del da[i : i + 2]
            del records[i : i + 2]
        elif way == "pop":
            assert da.pop(i).id == records.pop(i).id
        else:
            del da[[i, 0, i - len(records)]]
            for at in sorted({i, 0}, reverse=True):
                del records[at]

    @rule(data=st.data())
    def reorder(self, data: Any) -> None:
        da, records, _ = self.pick(data)
        if data.draw(st.booleans()):
            da.reverse()
            records.reverse()
        else:
            da.sort("tags__price")
            records.sort(key=lambda r: r.price)

    @rule(data=st.data())
    def share(self, data: Any) -> None:
        da, records, i = self.pick(data)
        if i < 0:
            return
        way = data.draw(st.sampled_from(["slice", "filter", "list", "copy", "view"]))
        if way == "slice":
            part = da[i:], records[i:]
        elif way == "filter":
            part = da.find({"tags__price": {"$lte": 2}}), [r for r in records if r.price <= 2]
        elif way == "list":
            order = list(range(len(records)))[::2]
            part = da[order], [records[j] for j in order]
        elif way == "copy":
            part = da.copy(), list(records)
        else:
            part = DocumentArray(da), records
        self.arrays = [self.arrays[-1] if self.arrays[-1][1] is not records else (da, records), part]

    @rule(data=st.data())
    def touch(self, data: Any) -> None:
        da, records, i = self.pick(data)
        if i >= 0:
            assert da[i] is da[i] is da[records[i].id]

    @precondition(lambda self: self.arrays)
    @invariant()
    def the_same_as_the_list(self) -> None:
        for da, records in self.arrays:
            assert [r.id for r in records] == da[:, "id"]
            assert [r.text for r in records] == da.texts
            assert len(records) == len(da)
            for record in records:
                assert record.id in da
                assert da[record.id].id == record.id if record is records[-1] else True
            assert "nobody" not in da
            kept = [r.id for r in records if r.price < 3]
            assert kept == da.find({"tags__price": {"$lt": 3}})[:, "id"]
            self.check_vectors(da, records)

    @staticmethod
    def check_vectors(da: DocumentArray, records: list[Record]) -> None:
        given = [r.vector for r in records]
        if not records or all(v is None for v in given):
            assert da.embeddings is None
        elif any(v is None for v in given):
            with pytest.raises(MissingEmbedding, match=r"embedding is None"):
                _ = da.embeddings
        else:
            wanted = np.array(given, np.float32)
            np.testing.assert_array_equal(wanted, da.embeddings)
            query = np.ones(D, np.float32)
            distances = ((wanted.astype(float) - 1) ** 2).sum(1)
            order = np.lexsort((np.arange(len(records)), distances))[:3]
            found = da.find(query, "sqeuclidean", limit=3)
            assert [records[i].id for i in order] == found[:, "id"]
            norms = np.linalg.norm(wanted.astype(float), axis=1)
            cosine = np.where(norms > 0, 1 - wanted.sum(1) / np.where(norms > 0, norms, 1) / np.sqrt(D), 1)
            values = da.find(query, limit=None)[:, "scores__cosine__value"]
            np.testing.assert_allclose(np.sort(cosine), values, atol=1e-6)


AgainstAList.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAgainstAList = AgainstAList.TestCase


def columns(n: int = 5) -> DocumentArray:
    return DocumentArray.from_columns(
        id=[str(i) for i in range(n)], text=[f"t{i}" for i in range(n)], embedding=np.eye(n, dtype=np.float32)
    )


def made(da: DocumentArray) -> int:
    return len(da._slots.rows.made)


def test_reading_columns_makes_no_document():
    da = columns()

    _ = da.texts, da.embeddings, da[:, "id"], len(da), da[1:3].texts, da[[0, 2], "text"], "3" in da
    _ = da.find({"text": {"$regex": "t[12]"}}), da.find(np.ones(5), limit=2), da.to_bytes(), da["@r[:2]"]

    assert 0 == made(da)


def test_a_touched_document_is_kept():
    da = columns()

    assert da[1] is da[1] is da["1"] is da[:3][1] is list(da)[1]


def test_a_matrix_that_was_set_is_given_back_without_copy():
    for da in (columns(), DocumentArray([Document() for _ in range(5)])):
        matrix = np.arange(15.0).reshape(5, 3)
        da.embeddings = matrix
        assert np.shares_memory(matrix, da.embeddings)
        assert not da.embeddings.flags.writeable


def test_the_matrix_that_was_given_is_never_written_to_by_setting():
    da, matrix = columns(), np.zeros((5, 2))
    da.embeddings = matrix

    da[1].embedding = np.ones(2)

    assert [1.0, 1.0] == da.embeddings[1].tolist()
    assert 0 == matrix.sum()


def test_a_read_only_matrix_gives_documents_their_own_arrays():
    matrix = np.zeros((2, 2))
    matrix.flags.writeable = False
    da = DocumentArray.empty(2)
    da.embeddings = matrix

    da[0].embedding[1] = 5

    assert [[0, 5], [0, 0]] == da.embeddings.tolist()
    assert 0 == matrix.sum()


def test_several_dtypes_are_kept_apart_on_documents():
    da = DocumentArray(
        [Document(embedding=np.ones(2, np.float32)), Document(embedding=np.ones(2, np.float64))]
    )

    _ = da.embeddings

    assert [np.float32, np.float64] == [doc.embedding.dtype for doc in da]


def test_one_document_twice_in_an_array_changes_at_both_places():
    doc, other = Document(embedding=np.zeros(2)), Document(embedding=np.ones(2))
    da = DocumentArray([doc, other, doc])
    _ = da.embeddings

    doc.embedding = np.full(2, 7.0)

    assert [[7, 7], [1, 1], [7, 7]] == da.embeddings.tolist()


def test_a_million_rows_are_opened_without_work():
    da = DocumentArray.from_columns(embedding=np.zeros((1_000_000, 2), np.float32))

    assert 1_000_000 == len(da)
    assert [0, 0] == da[-1].embedding.tolist()
    assert 1 == made(da)


def test_search_results_do_not_share_containers():
    for da in (columns(), DocumentArray(list(columns()))):
        da[0].tags["a"] = [1]
        hit = da.find(da[0].embedding, limit=1)[0]
        hit.tags["a"].append(2)
        hit.embedding[0] = 9
        hit.text = "other"
        assert ([1], "t0", 1.0) == (da[0].tags["a"], da[0].text, da[0].embedding[0])


def test_errors_are_ours():
    with pytest.raises(DocArrayError):
        columns().find(np.ones(4))


def test_hits_of_rows_without_ids_carry_the_ids_that_the_rows_get():
    """Ids are drawn late; a search must not draw others for its results."""
    da = DocumentArray.from_columns(embedding=np.eye(4))

    hits = [da.find(np.eye(4)[2], limit=1)[0].id for _ in range(2)]

    assert [da[2].id] * 2 == hits


def nested_columns() -> DocumentArray:
    docs = [
        Document(id=f"r{i}", text="r", chunks=[Document(id=f"c{i}{j}", text="c") for j in range(2)])
        for i in range(3)
    ]
    return DocumentArray(DocumentArray(docs)._slots.table())


def test_a_chunk_that_was_touched_below_untouched_documents_is_seen():
    """The table of the roots still holds the old chunks: nobody may read them from there."""
    for change in ("one", "all"):
        da = nested_columns()
        if change == "one":
            da["@c"][1].text = "new"
        else:
            da["@c"].texts = ["c", "new", "c", "c", "c", "c"]

        assert "new" == da[0].chunks[1].text
        da = nested_columns()
        da["@c"][1].text = "new"
        assert "new" == DocumentArray.from_bytes(da.to_bytes())[0].chunks[1].text
        assert ["r0"] == da.find({"chunks__1__text": "new"})[:, "id"]
        da.embeddings = np.eye(3)
        assert "new" == da.find(np.eye(3)[0], limit=1)[0].chunks[1].text


def test_several_paths_and_flattening_make_no_document_and_share_them():
    da = nested_columns()

    flat, both = da[...], da["@r,c"]

    assert 0 == made(da)
    assert ["c00", "c01", "r0", "c10", "c11", "r1", "c20", "c21", "r2"] == flat[:, "id"]
    assert ["r0", "r1", "r2", "c00", "c01", "c10", "c11", "c20", "c21"] == both[:, "id"]
    da.texts = ["x", "y", "z"]
    assert ["c", "c", "x"] == flat[:3].texts
    assert both[0] is flat[2] is da[0]
    assert both[3] is flat[0] is da[0].chunks[0]
    assert flat["@c"][0] is flat[0]


def test_embeddings_of_the_other_byte_order_keep_it():
    da = DocumentArray([Document(embedding=np.ones(2, ">f4")) for _ in range(2)])

    _ = da.embeddings

    assert ">f4" == da[0].embedding.dtype.str


def test_lone_surrogates_have_a_hash():
    assert Document(text="\ud800\udc00").content_hash != Document(text="\ud800").content_hash


def test_documents_alone_are_tabulated_as_any_others():
    """The pass over slots gives what the pass over fields does: dtypes, order of columns, gaps."""
    lying = DocumentArray.from_columns(text=list("abcdef"), embedding=np.arange(12.0).reshape(6, 2))
    for docs in (
        [],
        [Document()],
        list(everything_array()),
        list(alike_array()),
        [Document(text="a"), Document(blob=b"b"), Document(tensor=[1, 2]), Document()],
        [
            Document(Document(id="a", text="shared", scores={"x": 1}), copy=False),
            Document(id="b", weight=0.0),
        ],
        list(lying),
        list(lying[1:4]),
        [lying[4], lying[1], lying[1]],
        [*lying, Document(embedding=np.ones(2))],
        [*lying, Document()],
    ):
        slots = Slots(list(docs))
        ids = slots.ids()
        fast, derived = rows._columns_of(docs), rows._columns_by_field(slots)

        assert list(fast) == list(derived)
        assert difference(Table(derived, len(docs), ids), Table(fast, len(docs), ids)) is None


def test_a_matrix_that_documents_lie_on_is_handed_over_whole_and_read_only():
    da = DocumentArray.from_columns(text=list("abc"), embedding=np.arange(6.0).reshape(3, 2))
    docs = list(da)
    held = Slots(docs).table().columns["embedding"]

    assert np.shares_memory(held.data, da.embeddings)
    assert not held.data.flags.writeable
    assert np.shares_memory(Slots(docs[1:]).table().columns["embedding"].data, da.embeddings)


def test_a_loop_reads_stretches(monkeypatch):
    """Row by row would decode each text by itself."""
    da = DocumentArray.from_bytes(DocumentArray.from_columns(text=["words"] * 3000).to_bytes())
    monkeypatch.setattr(TextColumn, "value", None)

    assert [doc.text for doc in da][-1] == "words"
