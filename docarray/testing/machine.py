"""State machines: random work on a storage, step by step beside plain Python that does the same."""

from __future__ import annotations

import copy as copying
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from docarray import query
from docarray.array import DocumentArray
from docarray.document import Document
from docarray.errors import DuplicateDocument, FieldTypeError, LengthError, MissingDocument
from docarray.records import Record, records_of
from docarray.schema import FIELDS
from docarray.score import NamedScore
from docarray.store import Store
from docarray.testing.rows import cells, rows
from docarray.testing.sameness import difference

__all__ = ["ArrayMachine", "ArrayOpener", "Opener", "StoreMachine"]

_NAMES = [f"{letter}{n}" for letter in "ab" for n in range(6)]


class Opener(Protocol):
    """What knows how to open a store: a `StoreContract`."""

    survives: bool
    any_embedding: bool

    def open(self, folder: Path) -> Store:
        """The store in this folder."""
        ...

    def close(self, store: Store) -> None:
        """Closes it."""
        ...


@dataclasses.dataclass
class Model:
    """What a store is: rows by id in an order, and facts."""

    rows: dict[str, Record] = dataclasses.field(default_factory=dict[str, Record])
    facts: dict[str, bytes] = dataclasses.field(default_factory=dict[str, bytes])

    def write(self, ids: list[str], columns: dict[str, list[Any]], before: str | None):
        """As `Store.write`."""
        fresh: dict[str, Record] = {}
        for at, key in enumerate(ids):
            row = dict(self.rows.get(key, {"id": key}))
            for name, values in columns.items():
                row.pop(name, None)
                if values[at] is not None:
                    row[name] = values[at]
            row = {name: row[name] for name in FIELDS if name in row}
            if key in self.rows:
                self.rows[key] = row
            else:
                fresh[key] = row
        order = list(self.rows)
        place = len(order) if before is None else order.index(before)
        order[place:place] = fresh
        every = {**self.rows, **fresh}
        self.rows = {key: every[key] for key in order}


class StoreMachine(RuleBasedStateMachine):
    """Writes, updates, deletes, reorders, clears, opens again, commits and takes back.

    Args:
        contract: opens the store.
        folder: where; another one for each machine.
    """

    def __init__(self, contract: Opener, folder: Path) -> None:
        super().__init__()
        self.contract = contract
        self.folder = folder
        self.model = Model()
        self.store = contract.open(folder)

    def teardown(self) -> None:
        self.contract.close(self.store)

    # ------------------------------------------------------------------------------------------ what is drawn

    def _some(self, data: Any, least: int = 0) -> list[str]:
        names = list(self.model.rows)
        return (
            data.draw(st.lists(st.sampled_from(names), min_size=least, max_size=4, unique=True))
            if names
            else []
        )

    def _fresh(self, data: Any) -> list[str]:
        names = [name for name in _NAMES if name not in self.model.rows]
        return data.draw(st.lists(st.sampled_from(names), max_size=4, unique=True)) if names else []

    def _before(self, data: Any) -> str | None:
        return data.draw(st.sampled_from([None, *self.model.rows]))

    def _cells(self, data: Any, count: int) -> dict[str, list[Any]]:
        drawn = data.draw(cells(count))
        return drawn if self.contract.any_embedding else {n: v for n, v in drawn.items() if n != "embedding"}

    # ------------------------------------------------------------------------------------------ what is done

    def _write(self, data: Any):
        ids = data.draw(st.permutations([*self._some(data), *self._fresh(data)]))
        columns, before = self._cells(data, len(ids)), self._before(data)
        self.store.write(rows(*ids, **columns), before)
        self.model.write(ids, columns, before)

    def _add(self, data: Any):
        ids = self._fresh(data)
        columns, before = self._cells(data, len(ids)), self._before(data)
        self.store.add(rows(*ids, **columns), before)
        self.model.write(ids, columns, before)

    def _update(self, data: Any):
        ids = self._some(data)
        columns = self._cells(data, len(ids))
        self.store.update(rows(*ids, **columns))
        self.model.write(ids, columns, None)

    def _delete(self, data: Any):
        ids = self._some(data)
        self.store.delete([*ids, *ids[:1]])
        for key in ids:
            del self.model.rows[key]

    def _reorder(self, data: Any):
        order = data.draw(st.permutations(list(self.model.rows)))
        self.store.reorder(order)
        self.model.rows = {key: self.model.rows[key] for key in order}

    def _clear(self, data: Any):
        self.store.clear()
        self.model.rows = {}

    def _facts(self, data: Any):
        update = data.draw(
            st.dictionaries(st.sampled_from("xyz"), st.none() | st.binary(max_size=3), max_size=2)
        )
        facts = {**self.model.facts, **update}
        self.model.facts = {name: fact for name, fact in facts.items() if fact is not None}
        assert self.store.meta(update) == self.model.facts

    def _refused(self, data: Any):
        known, fresh = self._some(data), self._fresh(data)
        with pytest.raises(MissingDocument):
            self.store.delete([*known, "gone"])
        with pytest.raises(MissingDocument):
            self.store.write(rows(*known, *fresh, text=["refused"] * len(known + fresh)), before="gone")
        with pytest.raises(MissingDocument):
            self.store.update(rows(*known, "gone", text=["refused"] * (len(known) + 1)))
        with pytest.raises(FieldTypeError):
            bad: list[Any] = [*({} for _ in known + fresh), {"x": object()}]
            self.store.write(rows(*known, *fresh, "bad", tags=bad))
        with pytest.raises(LengthError):
            self.store.reorder([*self.model.rows, "gone"])
        if known:
            with pytest.raises(DuplicateDocument):
                self.store.add(rows(*fresh, *known, text=["refused"] * len(known + fresh)))
            with pytest.raises(DuplicateDocument):
                self.store.write(rows(known[0], *fresh, known[0], text=["refused"] * (len(fresh) + 2)))

    def _one(self, data: Any):
        steps = [
            self._write,
            self._add,
            self._update,
            self._delete,
            self._reorder,
            self._facts,
            self._refused,
        ]
        data.draw(st.sampled_from(steps))(data)

    # ------------------------------------------------------------------------------------------ rules

    @rule(data=st.data())
    def write(self, data: Any):
        """Known rows and new ones together."""
        self._write(data)

    @rule(data=st.data())
    def one_of_the_others(self, data: Any):
        """One of the smaller changes."""
        self._one(data)

    @rule(data=st.data())
    def delete(self, data: Any):
        """Some rows, one of them said twice."""
        self._delete(data)

    @precondition(lambda self: len(self.model.rows) > 3)
    @rule(data=st.data())
    def clear(self, data: Any):
        """All rows."""
        self._clear(data)

    @rule(data=st.data(), ending=st.sampled_from(["kept", "undone", "undone inside"]))
    def transaction(self, data: Any, ending: str):
        """Several changes that are kept or undone together; or one inside another, and both undone."""
        before = copying.deepcopy(self.model)
        try:
            with self.store.transaction():
                for _ in range(data.draw(st.integers(1, 3))):
                    self._one(data)
                    self.holds()
                if ending == "undone inside":
                    with self.store.transaction():
                        self._one(data)
                        raise _Undone
                if ending == "undone":
                    raise _Undone
        except _Undone:
            self.model = before

    @rule()
    def reopen(self):
        """The same rows in a new store."""
        if self.contract.survives:
            self.contract.close(self.store)
            self.store = self.contract.open(self.folder)

    # ------------------------------------------------------------------------------------------ what holds

    @invariant()
    def holds(self):
        """The store is what the model is."""
        ids = list(self.model.rows)
        assert self.store.ids() == ids
        assert len(self.store) == len(ids)
        assert self.store.meta() == self.model.facts
        found = difference(list(self.model.rows.values()), records_of(self.store.read(ids)))
        assert found is None, found
        assert self.store.known(_NAMES) == set(ids)
        assert self.store.at(range(len(ids))) == ids
        assert [key for table in self.store.scan(["text"], batch=3) for key in table.ids] == ids
        with_text = [key for key, row in self.model.rows.items() if row.get("text") == "a"]
        assert self.store.where(query.parse({"text": "a"})) == with_text
        if ids:
            assert self.store.position(ids[-1]) == len(ids) - 1


# --- arrays -------------------------------------------------------------------------------------------------------


class ArrayOpener(Protocol):
    """What knows how to open an array: an `ArrayContract`."""

    survives: bool
    transactions: bool
    any_embedding: bool

    def open(self, folder: Path) -> DocumentArray[Document]:
        """The array in this folder."""
        ...

    def close(self, da: DocumentArray[Document]) -> None:
        """Closes it."""
        ...


def _texts() -> Any:
    return st.sampled_from(["", "x", "ä \x00", "it's"])


_TAGS: list[Any] = [1, 2.0, None, [1, {"m": 2}], (1,), {}]
_VALUES: dict[str, Any] = {
    "text": _texts(),
    "weight": st.sampled_from([0.0, 1.5, 3]),
    "uri": _texts(),
    "tags": st.dictionaries(st.sampled_from("kl"), st.sampled_from(_TAGS), max_size=2),
    "embedding": st.sampled_from([np.zeros(2, np.float32), np.ones(2, np.float32)]),
    "blob": st.just(b"\x00\xff"),
}


class ArrayMachine(RuleBasedStateMachine):
    """What one does with a list of documents, and with its documents, beside a plain list of plain documents.

    Args:
        contract: opens the array.
        folder: where; another one for each machine.
    """

    def __init__(self, contract: ArrayOpener, folder: Path) -> None:
        super().__init__()
        self.contract = contract
        self.folder = folder
        self.model: list[Document] = []
        self.da = contract.open(folder)
        self.hands: dict[str, Document] = {}
        self.drawn = 0

    def teardown(self) -> None:
        self.contract.close(self.da)

    # ------------------------------------------------------------------------------------------ what is drawn

    def _new(self, data: Any, count: int | None = None) -> list[Document]:
        """Documents that are in neither; each is given to the array as a copy of its own."""
        made: list[Document] = []
        for _ in range(data.draw(st.integers(0, 3)) if count is None else count):
            self.drawn += 1
            names = data.draw(st.lists(st.sampled_from(sorted(_VALUES)), max_size=2, unique=True))
            values = {name: data.draw(_VALUES[name]) for name in names}
            if {"text", "blob"} <= values.keys():
                del values["blob"]
            doc = Document(id=f"d{self.drawn}", **values)
            if data.draw(st.integers(0, 3)) == 0:
                doc.chunks = [Document(id=f"c{self.drawn}", text="below")]
            made.append(doc)
        return made

    def _at(self, data: Any) -> int:
        return data.draw(st.integers(-len(self.model), len(self.model) - 1))

    def _slice(self, data: Any) -> slice:
        count = len(self.model)
        ends = st.none() | st.integers(-count - 1, count + 1)
        return slice(data.draw(ends), data.draw(ends), data.draw(st.sampled_from([None, 1, 2, -1, -2])))

    def _gone(self, docs: Iterable[Document]):
        for doc in docs:
            self.hands.pop(doc.id, None)

    # ------------------------------------------------------------------------------------------ rules

    @rule(data=st.data())
    def extend(self, data: Any):
        """More at the end, from a list or a generator."""
        docs = self._new(data)
        if data.draw(st.booleans()):
            self.da.extend(copying.deepcopy(doc) for doc in docs)
        else:
            self.da += copying.deepcopy(docs)
        self.model.extend(docs)

    @rule(data=st.data())
    def insert(self, data: Any):
        """One, anywhere."""
        (doc,) = self._new(data, 1)
        at = data.draw(st.integers(-len(self.model) - 2, len(self.model) + 2))
        self.da.insert(at, copying.deepcopy(doc))
        self.model.insert(at, doc)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def replace(self, data: Any):
        """One by another, by its position or id; it may keep its id."""
        at, (doc,) = self._at(data), self._new(data, 1)
        old = self.model[at]
        if data.draw(st.booleans()):
            doc.id = old.id
        self._gone([old])
        self.da[data.draw(st.sampled_from([at, old.id]))] = copying.deepcopy(doc)
        self.model[at] = doc

    @rule(data=st.data())
    def replace_slice(self, data: Any):
        """A slice by as many, or by any number where a list takes that."""
        where = self._slice(data)
        old = self.model[where]
        docs = self._new(data, None if where.step in (None, 1) else len(old))
        self._gone(old)
        self.da[where] = copying.deepcopy(docs)
        self.model[where] = docs

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: Any):
        """By position, id, slice, list or mask."""
        at, where = self._at(data), self._slice(data)
        kind = data.draw(st.sampled_from(["int", "id", "slice", "list", "mask", "pop", "remove"]))
        places = {at % len(self.model)}
        if kind == "int":
            del self.da[at]
        elif kind == "id":
            del self.da[self.model[at].id]
        elif kind == "pop":
            assert difference(self.model[at], self.da.pop(at)) is None
        elif kind == "remove":
            self.da.remove(self.model[at].id)
        else:
            places = set(range(len(self.model))[where])
            if kind == "slice":
                del self.da[where]
            elif kind == "list":
                del self.da[[*places]]
            else:
                del self.da[np.array([n in places for n in range(len(self.model))], np.bool_)]
        self._gone(self.model[n] for n in places)
        self.model = [doc for n, doc in enumerate(self.model) if n not in places]

    @rule(kind=st.sampled_from(["reverse", "sort", "sort by path", "clear"]))
    def rearrange(self, kind: str):
        """The order of all; or nothing left."""
        if kind == "reverse":
            self.da.reverse()
            self.model.reverse()
        elif kind == "sort":
            self.da.sort(key=lambda doc: doc.text)
            self.model.sort(key=lambda doc: doc.text)
        elif kind == "sort by path":
            self.da.sort("-id")
            self.model.sort(key=lambda doc: doc.id, reverse=True)
        elif len(self.model) > 4:
            self._gone(self.model)
            self.da.clear()
            self.model.clear()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def take_in_hand(self, data: Any):
        """Keeps hold of a document, to change it some time later."""
        at = self._at(data)
        key: Any = data.draw(st.sampled_from([at, self.model[at].id]))
        doc: Document = cast("Any", self.da)[key]
        assert self.hands.get(doc.id, doc) is doc, "a document that somebody has is one object"
        self.hands[doc.id] = doc

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def change(self, data: Any):
        """A field, tag or chunk of a document of the array: one taken just now, or one that was in hand."""
        at = self._at(data)
        mine = self.model[at]
        theirs = self.hands.get(mine.id) or self.da[at]
        name, value = data.draw(st.sampled_from(sorted(_VALUES))), None
        kind = data.draw(
            st.sampled_from(["field", "unset", "tag", "in a tag", "chunk", "in a chunk", "score"])
        )
        if kind == "field":
            value = data.draw(_VALUES[name])
        for doc in (mine, theirs):
            if kind in ("field", "unset"):
                setattr(doc, name, copying.deepcopy(value))
            elif kind == "tag":
                doc.tags["k"] = [1, {"m": 2}]
            elif kind == "in a tag" and isinstance(doc.tags.get("k"), list):
                doc.tags["k"].append(len(doc.tags["k"]))
                doc.tags["k"][1]["n"] = [3]
            elif kind == "chunk":
                doc.chunks.append(Document(id=f"n{len(doc.chunks)}", text="new"))
            elif kind == "in a chunk" and len(doc.chunks):
                doc.chunks[-1].text = f"changed {len(doc.chunks)}"
                doc.chunks[0].tags["deep"] = {"er": 1}
            elif kind == "score":
                doc.scores["cosine"] = NamedScore(value=float(len(doc.scores)))
                doc.scores["cosine"].op_name = "again"

    @rule(data=st.data())
    def set_a_column(self, data: Any):
        """One field of all, or of some."""
        kind = data.draw(st.sampled_from(["texts", "tags", "slice", "embeddings", "none", "chunks"]))
        values = data.draw(st.lists(_texts(), min_size=len(self.model), max_size=len(self.model)))
        if kind == "texts":
            self.da.texts = values
        elif kind == "tags":
            self.da[:, "tags__k"] = values
        elif kind == "embeddings" and self.model:
            self.da.embeddings = np.arange(2.0 * len(self.model), dtype=np.float32).reshape(-1, 2)
        elif kind == "none":
            self.da[:, "weight"] = None
        elif kind == "chunks":
            self.da["@c", "uri"] = "set"
        where = self._slice(data) if kind == "slice" else slice(None)
        if kind == "slice":
            self.da[where, "text"] = "of the slice"
        for n, doc in enumerate(self.model):
            if kind == "texts":
                doc.text = values[n]
            elif kind == "tags":
                doc.tags["k"] = values[n]
            elif kind == "embeddings":
                doc.embedding = np.array([2 * n, 2 * n + 1], np.float32)
            elif kind == "none":
                doc.weight = None
            elif kind == "chunks":
                for chunk in doc.chunks:
                    chunk.uri = "set"
        for doc in self.model[where] if kind == "slice" else []:
            doc.text = "of the slice"

    @precondition(lambda self: self.contract.transactions)
    @rule(data=st.data(), undone=st.booleans())
    def transaction(self, data: Any, undone: bool):
        """Several changes, kept or taken back together; documents in hand go back as well."""
        before, hands = copying.deepcopy(self.model), dict(self.hands)
        try:
            with self.da:
                self.extend(data)
                if self.model:
                    self.change(data)
                    self.delete(data)
                self.set_a_column(data)
                self.holds()
                if undone:
                    raise _Undone
        except _Undone:
            self.model = before
            self.hands = {key: doc for key, doc in hands.items() if key in self.hands}

    @rule()
    def reopen(self):
        """The same documents in a new array; those in hand are let go."""
        if self.contract.survives:
            self.hands.clear()
            self.contract.close(self.da)
            self.da = self.contract.open(self.folder)

    @invariant()
    def holds(self):
        """The array is what the list is."""
        ids = [doc.id for doc in self.model]
        assert len(self.da) == len(ids)
        assert [*self.da[:, "id"]] == ids
        found = difference(self.model, list(self.da))
        assert found is None, found
        assert self.da.texts == [doc.text for doc in self.model]
        for key, doc in self.hands.items():
            assert self.da[key] is doc, "what is in hand is the document of the array"
        if ids:
            assert self.da[-1].id == self.da[ids[-1]].id == ids[-1]
            assert difference(self.model[::-2], list(self.da[::-2])) is None


class _Undone(Exception):
    """What ends a transaction that is to be undone."""
