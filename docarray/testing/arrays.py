"""ArrayContract: what an array means on every storage, to be joined by a subclass that names the storage.

Rule 1: an array on a storage is the array in memory on another floor. What one says of it is said in `READS` and
        `WRITES` as one writes it, done to both, and must come to the same, errors included.
Rule 2: what is written is there for whoever opens the storage again.
Rule 3: one difference is on purpose: a storage holds copies of what it is given, and ids are unique in it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from docarray.array import DocumentArray
from docarray.document import Document
from docarray.errors import ClosedStore, DocArrayError, DuplicateDocument
from docarray.score import NamedScore
from docarray.testing.machine import ArrayMachine
from docarray.testing.sameness import difference
from docarray.testing.stores import QUIET

__all__ = ["ArrayContract"]

READS: Final = """
da[0] | da[-1] | da[np.int64(2)] | da[np.array(1)] | da['c'] | da['gone'] | da[5] | da[-6] | da[True] | da[None] | da[1.0]
da[1:3] | da[::-1] | da[::2] | da[-2:] | da[10:] | da[3:1] | da[4:0:-2] | da[:] | da[...]
da[[0, 2]] | da[[2, 0, 2]] | da[['e', 'a']] | da[['a', 3]] | da[('a', 'c')] | da[0, 2] | da['a', 'c'] | da['a', 'b', 'c']
da[0, 1, 2] | da[[True, False, True]] | da[[True] * 5] | da[[True] * 6] | da[np.array([True, False, True, False, True])]
da[np.array([3, 1])] | da[np.array([-1])] | da[np.array(['b', 'd'])] | da[[]] | da[()] | da[['a', 'gone']] | da[[0, 9]]
da[0, 'text'] | da['a', 'text'] | da['a', ['text', 'uri']] | da[0, ['text', 'id']] | da[0, 'tags__price'] | da[9, 'text']
da['b', 'tags__deep__list__0'] | da[:, 'text'] | da[:, 'tags__price'] | da[:, 'tags__none'] | da[:2, ['id', 'tags__price']]
da[['a', 'c'], 'text'] | da[::-1, 'id'] | da[[True, False, True], 'text'] | da[..., 'id'] | da[:, ('tags', 'deep', 'list', 1)]
da[:, 'embedding'] | da[:, 'tensor'] | da[:2, 'embedding'] | da[:, ['embedding', 'tensor', 'id']] | da[0, 'embedding']
da[:, 'scores__cosine__value'] | da[:, 'content'] | da[:, 'nofield'] | da[[0, 1], [2, 3]] | da[:, ['tags']] | da[:, 'weight']
da['@r'] | da['@c'] | da['@m'] | da['@c,m'] | da['@r,c'] | da['@cc'] | da['@c[0]'] | da['@c[:1]'] | da['@r[1:]c'] | da['@x']
da['@c', 'text'] | da['@c[-1:]', 'text'] | da['@c[:1]', ['id', 'text']] | da['@r[:2]c,m', 'id'] | da['@c', 'tags__n']
da[0].chunks['c1'] | da['a'].chunks[:, 'text'] | da['c'].matches[0].text | da['a'].chunks[0].parent_id | da['a'].chunks
da.texts | da.embeddings | da.tensors | da.blobs | da[:3].texts | da['@c'].texts | da['@c'].embeddings | da[:0].texts
len(da) | bool(da) | 'a' in da | 'gone' in da | Document(id='a') in da | Document(id='gone') in da | 3 in da | da[0] in da
list(reversed(da)) | da.index('c') | da.index(Document(id='d')) | da.index('gone') | da.count('a') | [doc.id for doc in da]
da + [new('x')] | [new('x')] + da | da + 3 | da[:2] + da[3:] | da == da | da == list(da) | da == da[:2] | da.copy()
da.flatten() | da.traverse_flat('@c,r') | list(da.traverse('@c')) | list(da.batch(2)) | da.sample(2, seed=1) | da.shuffle(seed=1)
da.split_by_tag('price') | da.get_vocabulary() | da.to_dict() | DocumentArray.from_bytes(da.to_bytes()) | da[:2].to_list()
da.find({'tags__price': {'$gt': 2}}) | da.find({}) | da.find({'id': {'$in': ['a', 'e']}}) | da.find({'text': {'$exists': True}})
da.find({'tags__price': {'$gt': 1}}, limit=2) | da.find(filter={'$or': [{'id': 'a'}, {'weight': {'$gte': 1}}]}) | da.find({'x': 1})
da.find({'tags__price': {'$gt': 1}}, sort='-tags__price') | da.find({'tags__deep__list__0': {'$lt': 3}}) | da.find({'$bad': 1})
da['a'] is da['a'] | da[0] is da['a'] | da[:1][0] is da[0] | da[-1] is da[4] | next(iter(da)) is da[0] | da['@r'][0] is da[0]
"""  # noqa: E501

WRITES: Final = """
da[0] = new('x') | da[-1] = new('x') | da['c'] = new('x') | da['b'] = new('b') | da['gone'] = new('x') | da[9] = new('x')
da[1:3] = [new('x')] | da[1:1] = [new('x'), new('y')] | da[:] = [new('x')] | da[1:3] = [] | da[5:] = [new('x')] | da[0] = 3
da[::2] = [new('x'), new('y'), new('z')] | da[::2] = [new('x')] | da[::-1] = [new(i) for i in 'vwxyz'] | da[1:3] = [3]
da[1:4] = [new('c'), new('x'), new('b')] | da[:] = [new(i) for i in 'edcba'] | da[0:2] = (new(i) for i in 'xyz')
da[[0, 2]] = [new('x'), new('y')] | da[['a', 'e']] = [new('x'), new('y')] | da[0, 2] = [new('x'), new('y')] | da[[]] = []
da[[0, 2]] = [new('x')] | da[[True, False, True]] = [new('x'), new('y')] | da[np.array([4, 1])] = [new('x'), new('y')]
da['@c'] = [new('c0'), new('c1'), new('c2')] | da['@c'] = [new('x')] | da['@c[0]'] = [new('c0'), new('c2')]
da[0, 'text'] = 't' | da['a', 'text'] = 't' | da['a', ['text', 'uri']] = ['t', 'u'] | da[-1, 'tags'] = {'n': 1} | da[9, 'text'] = 't'
da[:, 'text'] = list('12345') | da[:, 'text'] = 'same' | da[:, 'text'] = ['1'] | da[:, 'tags__price'] = [5, 4, 3, 2, 1]
da[1:3, 'text'] = ['p', 'q'] | da[::-1, 'text'] = list('12345') | da[[True, False, True], 'uri'] = 'u' | da[..., 'uri'] = 'all'
da[['e', 'a'], 'text'] = ['1', '2'] | da[:, ['text', 'uri']] = [list('12345'), list('abcde')] | da[:, 'nofield'] = 1
da['@c', 'text'] = ['x', 'y', 'z'] | da['@c[:1]', 'text'] = 'first' | da['@m', 'tags__new'] = 1 | da['@r,c', 'weight'] = 2.5
da['@c', ['text', 'uri']] = [list('xyz'), list('uvw')] | da['@c', 'text'] = ['x'] | da[0, 'tags__deep__list__0'] = 9
da[:, 'embedding'] = np.ones((5, 2)) | da[:2, 'embedding'] = np.ones((2, 2)) | da[:, 'embedding'] = np.ones((4, 2))
da['a', 'embedding'] = np.zeros(2) | da.embeddings = np.arange(10.0).reshape(5, 2) | da.embeddings = None | da.texts = None
da.texts = list('12345') | da.texts = ['1'] | da.tensors = np.ones((5, 2, 2)) | da.blobs = [b'1'] * 5 | da.blobs = None
da.contents = list('12345') | da.contents = None | da.tensors = None | da[1:3].texts = ['p', 'q'] | da['@c'].texts = list('xyz')
del da[0] | del da[-1] | del da['c'] | del da['gone'] | del da[9] | del da[1:3] | del da[::-2] | del da[3:1] | del da[:]
del da[[0, 2]] | del da[[-1, 0, 0]] | del da[['a', 'e']] | del da[[True, False, True]] | del da[np.array([0, 4])] | del da[[]]
del da[...] | del da['@c'] | del da['@c[0]'] | del da['@r[1:3]'] | del da['@m'] | del da['a', 'c'] | del da[['a', 'gone']]
del da['a', 'text'] | del da[:, 'text'] | del da[0, 'tags'] | del da[:, ['text', 'embedding']] | del da['@c', 'text']
del da[:, 'id'] | del da['a', 'chunks'] | del da[:, 'tags__price'] | del da['a', 'tags__deep__list'] | del da[:, 'nofield']
da.append(new('x')) | da.append(3) | da.extend([new('x'), new('y')]) | da.extend(new(i) for i in 'xyz') | da.extend([])
da.extend([new('x'), 3]) | da.extend(bad_generator()) | da += [new('x')] | da += (new(i) for i in 'xyz') | da += DocumentArray(new('x'))
da.insert(0, new('x')) | da.insert(2, new('x')) | da.insert(-1, new('x')) | da.insert(99, new('x')) | da.insert(-99, new('x'))
da.pop() | da.pop(0) | da.pop('b') | da.pop(9) | da.pop('gone') | da.remove('c') | da.remove(da[1]) | da.remove('gone')
da.reverse() | da.sort(key=lambda doc: doc.id, reverse=True) | da.sort('-tags__price') | da.sort('text') | da.sort('nofield')
da.clear() | da.upsert([new('c'), new('x')]) | da.extend(da[:0]) | da.reduce(DocumentArray([new('a'), new('x')]))
da['a'].text = 'y' | da[0].text = 'y' | da[-1].uri = 'u' | da['a'].weight = 2.5 | da['a'].weight = None | da['a'].blob = b'\\0'
da['a'].embedding = np.ones(2) | da['a'].embedding = None | da['d'].tensor = np.ones((2, 2)) | da['a'].content = 'y' | da['a'].id = 'x'
da['a'].weight = 'heavy' | da['a'].nofield = 1 | da['a'].location = [1, 2.5] | da['a'].modality = 'image' | da['a'].text = 3
da['a'].tags['k'] = 1 | da['a'].tags['deep']['list'].append(3) | da['a'].tags['deep']['list'][0] = 7 | del da['a'].tags['price']
da['b'].tags = {'n': [1]} | da['a'].tags.update(x=2) | da['a'].tags.clear() | da['a'].tags.pop('price') | da['a'].tags.setdefault('l', [])
da['a'].tags['deep']['new'] = {'er': []}; da['a'].tags['deep']['new']['er'].append(1) | da['a'].tags['deep']['list'] += [5]
da['a'].tags['deep']['list'].sort() | da['a'].tags['deep']['list'].insert(0, {'x': 1}) | da['a'].tags['deep'].popitem()
da['a'].chunks.append(new('n')) | da['a'].chunks[0].text = 'deep' | da['a'].chunks['c1'].tags['z'] = 1 | del da['a'].chunks[0]
da['b'].chunks.extend([new('n'), new('o')]) | da['c'].matches[0].text = 'm' | da['a'].chunks[0].chunks.append(new('n'))
da['a'].chunks = [new('n')] | da['a'].chunks = None | da['a'].chunks.clear() | da['a'].chunks.reverse() | da['a'].chunks.insert(0, new('n'))
da['a'].chunks[0].chunks = [new('n')]; da['a'].chunks[0].chunks[0].tags['deepest'] = [1] | da['a'].chunks[:, 'uri'] = 'u'
da['a'].chunks.texts = ['1', '2'] | da['a'].chunks[0].tags['l'] = [1]; da['a'].chunks[0].tags['l'].append(2) | da['a'].chunks.pop()
da['a'].chunks[0] = new('n') | da['a'].chunks += [new('n')] | da['a'].chunks.sort(key=lambda c: c.text, reverse=True)
da['a'].scores['x'] = NamedScore(value=1.0) | da['a'].scores['cosine'].value = 2.0 | del da['a'].scores['cosine']
da['a'].evaluations['r'] = NamedScore(value=1.0, op_name='o') | da['a'].scores = {} | da['a'].scores.clear()
da['a'].pop('text') | da['a'].update(new('x')) | da['c'].matches.append(new('n')) | da['c'].matches = None
change_all(da) | da[:2][0].text = 'q' | da['@c'][0].text = 'q' | da.traverse_flat('@c')[-1].text = 'w' | da[::-1][0].tags['k'] = 1
da.find({'id': 'a'})[0].text = 'copy' | list(da)[2].text = 'q' | da.match(da, limit=2, exclude_self=True)
swap(da) | held(da)
"""  # noqa: E501


def _said(text: str) -> list[str]:
    return [said.strip() for line in text.strip().splitlines() for said in line.split(" | ")]


def _new(key: str) -> Document:
    return Document(
        id=key, text=f"new {key}", tags={"price": 9, "new": [key]}, embedding=np.array([7.0, 8.0])
    )


def _bad_generator() -> Iterator[Document]:
    yield _new("x")
    raise ValueError("the generator fails")


def _change_all(da: Any):
    for doc in da:
        doc.text = doc.id * 2
        doc.tags["seen"] = True


def _swap(da: Any):
    da["a"].tags["k"], da["b"].tags["k"] = 1, 2
    da["a"].text, da["b"].text = da["b"].text, da["a"].text


def _held(da: Any):
    """A document in hand goes with its array, and is on its own once it was deleted."""
    a, b = da["a"], da["b"]
    da.reverse()
    a.text = "moved"
    del da["b"]
    b.text = "on its own"
    da.append(_new("x"))
    a.tags["k"] = 1


_WORDS: Final[dict[str, Any]] = {
    "np": np,
    "Document": Document,
    "DocumentArray": DocumentArray,
    "NamedScore": NamedScore,
    "new": _new,
    "bad_generator": _bad_generator,
    "change_all": _change_all,
    "swap": _swap,
    "held": _held,
}


class ArrayContract:
    """What an array is on every storage. A subclass names the storage and its settings; that is all it has to.

    class TestShelfArray(ArrayContract):
        storage = "shelf"

        def config(self, folder):
            return {"path": str(folder / "shelf")}
    """

    storage: str = "memory"
    """What `DocumentArray(storage=...)` takes."""
    survives: bool = True
    """Whether documents are there again when the same place is opened again after `close`."""
    copies: bool = True
    """Whether the storage holds copies of what it is given. In memory it is the documents themselves."""
    transactions: bool = True
    """Whether an exception in `with da:` takes back what was written inside."""
    exact: bool = True
    """Whether vector search finds exactly the nearest."""
    any_embedding: bool = True
    """Whether an embedding may be of any shape, dtype and framework, and of another in each document."""

    def config(self, folder: Path) -> Any:
        """The settings that mean this folder, which exists and was empty at first. Called again: the same place."""
        return None

    def open(self, folder: Path) -> DocumentArray[Document]:
        """The array in this folder."""
        return DocumentArray(storage=self.storage, config=self.config(folder))

    def close(self, da: DocumentArray[Document]) -> None:
        """Called with each array that a test has done with; closes it."""
        da.close()

    # ------------------------------------------------------------------------------------------ what tests stand on

    @pytest.fixture
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """An empty folder for one test."""
        return tmp_path_factory.mktemp("array")

    @pytest.fixture
    def empty(self, folder: Path) -> Iterator[DocumentArray[Document]]:
        """An empty array."""
        da = self.open(folder)
        yield da
        self.close(da)

    @pytest.fixture
    def da(self, empty: DocumentArray[Document]) -> DocumentArray[Document]:
        """Five documents, a to e."""
        empty.extend(self.documents())
        return empty

    def documents(self) -> list[Document]:
        """Documents of several kinds, some of them nested; made anew."""
        docs = [
            Document(id=key, tags={"price": price, "deep": {"list": [price, -price]}}, embedding=vector)
            for key, price, vector in zip("abcde", range(1, 6), np.arange(10.0).reshape(5, 2), strict=True)
        ]
        a, b, c, d, e = docs
        a.text, b.text, c.text, e.text = "ta", "tb b", "tc", "te"
        d.tensor = np.arange(4).reshape(2, 2)
        a.chunks = [
            Document(id="c0", text="x0", embedding=np.ones(2)),
            Document(id="c1", text="x1", tags={"n": 1}),
        ]
        c.chunks = [Document(id="c2", text="x2", chunks=[Document(id="cc", text="xx")])]
        c.matches = [Document(id="m0", text="y0", scores={"cosine": NamedScore(value=0.5)})]
        a.scores["cosine"] = NamedScore(value=0.25, ref_id="q")
        b.weight, b.uri, b.location = 1.5, "u", [1.0, 2.0]
        return docs

    def again(self, da: DocumentArray[Document], folder: Path) -> DocumentArray[Document]:
        """The array opened again, where that is something else than the array."""
        if not self.survives:
            return da
        self.close(da)
        return self.open(folder)

    # ------------------------------------------------------------------------------------------ as in memory

    @pytest.mark.parametrize("group", range(len(READS.strip().splitlines())))
    def test_what_is_read_is_what_memory_gives(self, da: DocumentArray[Document], group: int):
        plain = DocumentArray(self.documents())
        for said in _said(READS.strip().splitlines()[group]):
            found = difference(_read(said, plain), _read(said, da))
            assert found is None, f"{said}: {found}"
            assert (found := difference(list(plain), list(da))) is None, f"{said} changed the array: {found}"

    @pytest.mark.parametrize("group", range(len(WRITES.strip().splitlines())))
    def test_what_is_written_is_what_memory_holds(
        self, empty: DocumentArray[Document], folder: Path, group: int
    ):
        """Then, and when the storage is opened again."""
        try:
            for said in _said(WRITES.strip().splitlines()[group]):
                plain = DocumentArray(self.documents())
                empty.clear()
                empty.extend(self.documents())
                mine, theirs = _write(said, plain), _write(said, empty)
                assert mine == theirs, f"{said}: {mine} in memory became {theirs}"
                assert (found := difference(list(plain), list(empty))) is None, f"{said}: {found}"
                for doc in plain:
                    assert (found := difference(doc, empty[doc.id])) is None, f"{said}, by id: {found}"
                assert [*empty[:, "id"]] == [doc.id for doc in plain], said
                empty = self.again(empty, folder)
                assert (found := difference(list(plain), list(empty))) is None, f"{said}, reopened: {found}"
        finally:
            self.close(empty)

    # ------------------------------------------------------------------------------------------ by word

    def test_a_new_array_is_empty(self, empty: DocumentArray[Document]):
        assert (len(empty), bool(empty), list(empty), empty[:, "id"], empty.texts) == (0, False, [], [], [])
        assert "a" not in empty
        assert list(empty[...]) == list(empty["@c"]) == []
        assert empty.storage == self.storage

    def test_every_slice_is_that_of_a_list(self, da: DocumentArray[Document]):
        places = [None, 0, 1, 3, 5, 9, -1, -4, -9]
        ids = list("abcde")
        for start in places:
            for stop in places:
                for step in (None, 1, 2, -1, -3):
                    where = slice(start, stop, step)
                    assert [*da[where, "id"]] == ids[where], where
        assert [[doc.id for doc in da[where]] for where in (slice(1, 4), slice(None, None, -2))] == [
            ["b", "c", "d"],
            ["e", "c", "a"],
        ]

    def test_a_document_of_the_array_is_one_object(self, da: DocumentArray[Document]):
        doc = da["b"]

        assert doc is da[1] is da[-4] is da[:2][1] is da[["b"]][0] is next(d for d in da if d.id == "b")
        doc.text = "changed"
        assert da[1].text == "changed"
        assert da.texts[1] == "changed"

    def test_what_is_done_to_a_document_is_seen_by_every_question(self, da: DocumentArray[Document]):
        da.embeddings  # noqa: B018  (columns may be kept from here on)
        da["a"].text = "apple pie"
        da["b"].tags["price"] = 100
        da["c"].embedding = np.array([50.0, -50.0])
        da["a"].chunks[0].text = "deep"

        assert da[:, "text"][0] == da.texts[0] == "apple pie"
        assert [doc.id for doc in da.find({"tags__price": {"$gt": 50}})] == ["b"]
        assert [doc.id for doc in da.find({"text": {"$contains": "pie"}})] == ["a"]
        assert da.embeddings[2].tolist() == [50.0, -50.0]
        assert [doc.id for doc in da.find(np.array([50.0, -50.0]), limit=1)] == ["c"]
        assert da["@c", "text"] == ["deep", "x1", "x2"]
        assert da.to_dict()[1]["tags"]["price"] == 100

    def test_the_matrix_is_never_behind(self, da: DocumentArray[Document]):
        expected = da.embeddings.copy()
        expected[0] = [9.0, 9.0]

        da[0].embedding = np.array([9.0, 9.0])
        np.testing.assert_array_equal(expected, da.embeddings)
        da.reverse()
        np.testing.assert_array_equal(expected[::-1], da.embeddings)
        del da[1]
        np.testing.assert_array_equal(expected[[4, 2, 1, 0]], da.embeddings)
        da.insert(2, _new("x"))
        np.testing.assert_array_equal([7.0, 8.0], da.embeddings[2])
        assert da.find(np.array([7.0, 8.0]), metric="euclidean", limit=1)[0].id == "x"

    def test_a_storage_holds_copies(self, empty: DocumentArray[Document]):
        """The one difference to a list: what was given is not what is held, what was taken is."""
        if not self.copies:
            pytest.skip("in memory an array holds the documents that it is given")
        mine = Document(id="a", text="given", tags={"l": [1]}, chunks=[Document(id="c")])
        empty.append(mine)
        mine.text = "later"
        mine.tags["l"].append(2)
        mine.chunks[0].text = "later"

        theirs = empty["a"]
        assert theirs is not mine
        assert (theirs.text, theirs.tags, theirs.chunks[0].text) == ("given", {"l": [1]}, "")
        theirs.text = "of the store"
        assert (empty["a"].text, mine.text) == ("of the store", "later")
        empty.append(Document(id="b", tags=theirs.tags, chunks=theirs.chunks))
        empty.append(Document(id="c"))
        empty["c"].tags = theirs.tags
        empty["c"].chunks = theirs.chunks
        theirs.tags["l"].append(3)
        theirs.chunks[0].text = "of a"
        for key in "bc":
            assert empty[key].tags == {"l": [1]}
            assert [(doc.text, doc.parent_id) for doc in empty[key].chunks] == [("", key)]

    def test_ids_are_unique(self, da: DocumentArray[Document]):
        if not self.copies:
            pytest.skip("in memory an id may stand twice")
        before = list(DocumentArray(self.documents()))
        for write in (
            lambda: da.append(_new("a")),
            lambda: da.extend([_new("x"), _new("c")]),
            lambda: da.extend([_new("x"), _new("x")]),
            lambda: da.insert(0, _new("e")),
            lambda: da.__setitem__(0, _new("b")),
            lambda: da.__setitem__("a", _new("b")),
            lambda: da.__setitem__(slice(0, 2), [_new("x"), _new("d")]),
            lambda: da.__setitem__(slice(0, 0), [_new("d")]),
            lambda: setattr(da["a"], "id", "b"),
            lambda: da.extend(da[:2]),
        ):
            with pytest.raises(DuplicateDocument):
                write()
            assert (found := difference(before, list(da))) is None, found

    def test_documents_of_every_kind_come_back(self, empty: DocumentArray[Document], folder: Path):
        from docarray.testing.rows import everything

        table = everything()
        if not self.any_embedding:
            table = table.with_columns({"embedding": None, "chunks": None})
        docs = DocumentArray(table)
        empty.extend(docs)

        assert (found := difference(list(DocumentArray(table)), list(empty))) is None, found
        da = self.again(empty, folder)
        try:
            assert (found := difference(list(DocumentArray(table)), list(da))) is None, found
        finally:
            self.close(da)

    # ------------------------------------------------------------------------------------------ searching

    @pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean"])
    def test_vectors_find_what_they_find_in_memory(self, empty: DocumentArray[Document], metric: str):
        draw = np.random.default_rng(1)
        docs = [
            Document(id=f"{n}", text=f"t{n}", tags={"n": n, "half": n % 2}, embedding=vector)
            for n, vector in enumerate(draw.normal(size=(120, 6)).astype(np.float32))
        ]
        plain, asked = DocumentArray(docs), draw.normal(size=(5, 6)).astype(np.float32)
        empty.extend(docs)
        for settings_ in (
            {"limit": 7},
            {"limit": 7, "filter": {"tags__half": 1}},
            {"limit": 20, "filter": {"tags__n": {"$lt": 9}}},
            {"limit": None, "filter": {"tags__n": {"$in": [3, 5]}}},
        ):
            mine = plain.find(asked, metric=metric, **cast("Any", settings_))
            theirs = empty.find(asked, metric=metric, **cast("Any", settings_))
            right = 0
            for one, other in zip(mine, theirs, strict=True):
                assert len(one) == len(other)
                right += len({*one[:, "id"]} & {*other[:, "id"]})
                for doc in other:
                    assert list(doc.scores) == [metric]
                    assert doc.text == f"t{doc.id}"
                values = [doc.scores[metric].value for doc in other]
                assert values == sorted(values)
                if self.exact:
                    assert [*one[:, "id"]] == [*other[:, "id"]]
                    assert np.allclose(
                        [doc.scores[metric].value for doc in one], values, rtol=1e-4, atol=1e-5
                    )
            assert right >= (1.0 if self.exact else 0.9) * sum(len(one) for one in mine)
        (found,) = empty.find(empty["7"], metric=metric, exclude_self=True, limit=3)[:1]
        assert "7" not in found[:, "id"]
        assert empty.find(asked[0], metric=metric, limit=1)[0].matches[:, "id"] == []
        found[0].text = "a copy"
        assert all(doc.text != "a copy" for doc in empty)

    def test_match_writes_matches_that_stay(self, da: DocumentArray[Document], folder: Path):
        plain = DocumentArray(self.documents())
        for one in (plain, da):
            one.match(DocumentArray([_new("x"), _new("y")]), metric="euclidean", limit=1)
        da = self.again(da, folder)
        try:
            assert da["@m", "id"] == plain["@m", "id"]
            assert np.allclose(da["@m", "scores__euclidean__value"], plain["@m", "scores__euclidean__value"])
        finally:
            self.close(da)

    # ------------------------------------------------------------------------------------------ transactions

    def test_a_block_is_one_transaction(self, da: DocumentArray[Document], folder: Path):
        if not self.transactions:
            pytest.skip("this storage says transactions = False")
        doc = da["a"]
        with pytest.raises(ValueError, match="no"), da:
            doc.text = "changed"
            doc.tags["deep"]["list"].append(9)
            da.append(_new("x"))
            del da["c"]
            da.reverse()
            da[:, "uri"] = "u"
            da["e"].chunks.append(_new("n"))
            raise ValueError("no")

        assert (found := difference(self.documents(), list(da))) is None, found
        assert doc is da["a"]
        assert (doc.text, doc.tags["deep"]) == ("ta", {"list": [1, -1]})
        with da:
            doc.text = "changed"
            da.append(_new("x"))
        assert (da["a"].text, [*da[:, "id"]]) == ("changed", list("abcdex"))
        again = self.again(da, folder)
        try:
            assert (again["a"].text, [*again[:, "id"]]) == ("changed", list("abcdex"))
        finally:
            self.close(again)

    def test_a_write_that_fails_changes_nothing(self, da: DocumentArray[Document]):
        """All or nothing, although the first documents could be written."""
        bad = Document(id="bad")
        bad.tags["object"] = object()
        if self.copies:
            for write in (
                lambda: da.extend([_new("x"), bad]),
                lambda: da.insert(1, bad),
                lambda: da.__setitem__(slice(0, 2), [_new("x"), bad]),
                lambda: da["a"].tags.__setitem__("object", object()),
                lambda: setattr(da["b"], "tags", {"object": object()}),
            ):
                with pytest.raises(DocArrayError):
                    write()
                assert (found := difference(self.documents(), list(da))) is None, found

    # ------------------------------------------------------------------------------------------ elsewhere

    def test_documents_go_from_one_storage_to_another(
        self, da: DocumentArray[Document], tmp_path_factory: pytest.TempPathFactory
    ):
        docs = self.documents()
        plain = DocumentArray(list(da), copy=True)
        memory = DocumentArray(da, storage="memory") if self.copies else da.copy()
        other = self.open(tmp_path_factory.mktemp("other"))
        try:
            other.extend(da)
            other["a"].text = "of the other"
            other.append(_new("x"))
            for copy in (plain, memory, da, other[1:5]):
                expected = docs[1:] if len(copy) == 4 else docs
                if self.copies or copy is plain:
                    assert (found := difference(expected, list(copy))) is None, found
            assert [*other[:, "id"]] == list("abcdex")
        finally:
            self.close(other)

    def test_an_array_goes_through_pickle(self, da: DocumentArray[Document]):
        if not self.survives:
            pytest.skip("this storage says survives = False")
        again = pickle.loads(pickle.dumps(da))
        try:
            assert (found := difference(self.documents(), list(again))) is None, found
        finally:
            self.close(again)

    def test_bytes_and_copies_of_an_array_are_in_memory(self, da: DocumentArray[Document]):
        for copy in (DocumentArray.from_bytes(da.to_bytes()), DocumentArray.from_json(da.to_json()), da[1:3]):
            assert copy.storage == "memory"
        assert (
            found := difference(self.documents(), list(DocumentArray.from_bytes(da.to_bytes())))
        ) is None, found

    def test_documents_given_at_the_start_replace_what_was_there(
        self, da: DocumentArray[Document], folder: Path
    ):
        if not self.survives:
            pytest.skip("this storage says survives = False")
        self.close(da)
        again = DocumentArray([_new("x"), _new("y")], storage=self.storage, config=self.config(folder))
        try:
            assert [*again[:, "id"]] == ["x", "y"]
        finally:
            self.close(again)

    def test_after_close_each_question_is_an_error(self, da: DocumentArray[Document]):
        if not self.copies:
            pytest.skip("an array in memory has nothing to close")
        doc = da["a"]
        self.close(da)
        self.close(da)
        for ask in (
            lambda: len(da),
            lambda: da[0],
            lambda: da["a"],
            lambda: list(da),
            lambda: da.texts,
            lambda: da.append(_new("x")),
            lambda: setattr(doc, "text", "too late"),
        ):
            with pytest.raises(ClosedStore):
                ask()

    # ------------------------------------------------------------------------------------------ all together

    def test_whatever_is_done_it_is_as_a_list(self, tmp_path_factory: pytest.TempPathFactory):
        """A state machine: random changes of the array and of its documents, against a plain list of documents."""
        run_state_machine_as_test(
            cast("Any", lambda: ArrayMachine(self, tmp_path_factory.mktemp("machine"))),
            settings=settings(QUIET, max_examples=15, stateful_step_count=20),
        )


def _plain(value: Any) -> Any:
    """A value as `difference` compares it: arrays as lists of documents."""
    if isinstance(value, DocumentArray):
        return ["array", *cast("DocumentArray[Document]", value)]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value


def _read(said: str, da: DocumentArray[Document]) -> Any:
    """What an expression gives, or the class of the error that it raises."""
    try:
        return _plain(eval(said, {**_WORDS, "da": da}))
    except (DocArrayError, AttributeError, TypeError, ValueError) as error:
        return type(error).__name__


def _write(said: str, da: DocumentArray[Document]) -> str | None:
    """Does what a statement says; the class of the error that it raises, or None."""
    try:
        exec(said, {**_WORDS, "da": da})
    except (DocArrayError, AttributeError, TypeError, ValueError) as error:
        return type(error).__name__
    return None
