"""What cannot be stored is refused, whole: document, array and file stay as they were."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from docarray import Document, DocumentArray, NamedScore
from docarray.errors import DocArrayError
from faults.hands import made

pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')

BAD = object()


class Odd:
    """What no storage takes."""


@pytest.fixture(params=["sqlite", "hnswlib"])
def opened(request, tmp_path):
    """Opens the array, and closes what was opened in the end."""
    arrays = []
    if request.param == "hnswlib":
        pytest.importorskip("hnswlib", reason='pip install "docarray[hnsw]"')

    def open_it():
        place = {"sqlite": "connection", "hnswlib": "data_path"}[request.param]
        config = {place: str(tmp_path / "docs")}
        arrays.append(DocumentArray(storage=request.param, config=config, subindex_configs={"@c": None}))
        return arrays[-1]

    yield open_it
    for array in arrays:
        array.close()


def docs():
    out = [made(key, 2, at) for at, key in enumerate("abcd")]
    for doc in out:
        doc.scores["s"] = NamedScore(value=1.5)
        doc.evaluations["e"] = NamedScore(value=0.5)
        doc.matches = [Document(id=f"m{doc.id}", text="match")]
        doc.tags["deep"] = {"list": [1, {"x": 2}]}
        doc.location = [1.0, 2.0]
        for chunk in doc.chunks:
            chunk.tags["own"] = 1
    return out


def failing():
    """Each a name and a change that cannot be stored."""
    yield "a tag", lambda da, doc: doc.tags.__setitem__("x", BAD)
    yield "tags", lambda da, doc: setattr(doc, "tags", {"ok": 1, "x": BAD})
    yield "an update of tags", lambda da, doc: doc.tags.update(ok=1, x=BAD)
    yield "setdefault", lambda da, doc: doc.tags.setdefault("new", BAD)
    yield "a tag below", lambda da, doc: doc.tags["deep"]["list"][1].__setitem__("x", BAD)
    yield "a list in tags", lambda da, doc: doc.tags["deep"]["list"].append(threading.Lock())
    yield (
        "a list in tags, cut",
        lambda da, doc: doc.tags["deep"]["list"].__setitem__(slice(0, 1), [1, 2, BAD]),
    )
    yield "a set of objects", lambda da, doc: doc.tags.__setitem__("x", {Odd})
    yield "a nested tag", lambda da, doc: doc.chunks[1].tags.__setitem__("x", BAD)
    yield "a nested chunk", lambda da, doc: doc.chunks[0].chunks.append(Document(tags={"x": BAD}))
    yield "a chunk", lambda da, doc: doc.chunks.append(Document(id="new", tags={"x": BAD}))
    yield "chunks", lambda da, doc: setattr(doc, "chunks", [Document(), Document(tags={"x": BAD})])
    yield "a match", lambda da, doc: doc.matches.insert(0, Document(tags={"x": BAD}))
    yield "chunks, replaced", lambda da, doc: doc.chunks.__setitem__(0, Document(tags={"x": BAD}))
    yield "more chunks", lambda da, doc: doc.chunks.extend([Document(), Document(tags={"x": BAD})])
    yield "a score", lambda da, doc: doc.scores.__setitem__("x", BAD)
    yield "a field of a score", lambda da, doc: setattr(doc.scores["s"], "value", "no number")
    yield "a score's words", lambda da, doc: setattr(doc.scores["s"], "description", BAD)
    yield "text", lambda da, doc: setattr(doc, "text", BAD)
    yield "weight", lambda da, doc: setattr(doc, "weight", "heavy")
    yield "an array of objects", lambda da, doc: setattr(doc, "tensor", np.array([BAD, BAD]))
    yield "an embedding of objects", lambda da, doc: setattr(doc, "embedding", np.array([BAD] * 8))
    yield "the id of another", lambda da, doc: setattr(doc, "id", "a")
    yield "location", lambda da, doc: doc.location.append(BAD)
    yield "append", lambda da, doc: da.append(Document(id="n", tags={"x": BAD}))
    yield "insert", lambda da, doc: da.insert(1, Document(id="n", tags={"x": BAD}))
    yield "extend", lambda da, doc: da.extend([made("n", 1), Document(id="o", tags={"x": BAD}), made("p", 1)])
    yield "extend by no document", lambda da, doc: da.extend([made("n", 1), "no document", made("p", 1)])
    yield (
        "a long extend",
        lambda da, doc: da.extend(
            made(f"n{i}", 1) if i < 4200 else Document(tags={"x": BAD}) for i in range(4201)
        ),
    )
    yield "an extend that breaks off", lambda da, doc: da.extend(broken(4200))
    yield "a known id in the end", lambda da, doc: da.extend([made("n", 1), made("c", 1)])
    yield "an id twice", lambda da, doc: da.extend([made("n", 1), made("o", 1), made("n", 1)])
    yield "upsert", lambda da, doc: da.upsert([made("a", 1), made("n", 1), Document(id="b", tags={"x": BAD})])
    yield "replace", lambda da, doc: da.__setitem__("b", Document(id="b", tags={"x": BAD}))
    yield "replace by a known id", lambda da, doc: da.__setitem__("b", made("c", 1))
    yield (
        "a slice",
        lambda da, doc: da.__setitem__(slice(1, 3), [made("n", 1), Document(id="o", tags={"x": BAD})]),
    )
    yield "a slice of known ids", lambda da, doc: da.__setitem__(slice(1, 3), [made("n", 1), made("d", 1)])
    yield "many tags", lambda da, doc: da.__setitem__((slice(None), "tags__x"), [1, 2, BAD, 4])
    yield (
        "many fields",
        lambda da, doc: da.__setitem__((slice(None), ["text", "tags__x"]), [list("wxyz"), [1, 2, 3, BAD]]),
    )
    yield "many texts", lambda da, doc: setattr(da, "texts", ["1", "2", "3"])
    yield "many embeddings", lambda da, doc: setattr(da, "embeddings", np.ones((3, 8), np.float32))
    yield "embeddings of objects", lambda da, doc: setattr(da, "embeddings", np.array([[BAD] * 8] * 4))
    yield "many nested", lambda da, doc: da.__setitem__(("@c", "tags__x"), [1] * 7 + [BAD])
    yield "a delete of none", lambda da, doc: da.__delitem__(["a", "nobody"])
    yield "a sort by what is mixed", lambda da, doc: da.sort(lambda one: {"a": 1}.get(one.id, "x"))


def broken(count):
    for number in range(count):
        yield made(f"n{number}", 1)
    raise RuntimeError("the source broke off")


def said(da):
    """Everything that the array holds, by fields."""
    return [doc.to_dict() for doc in da]


@pytest.mark.parametrize("name", [name for name, _ in failing()])
def test_what_is_refused_leaves_everything_as_it_was(name, opened):
    da = opened()
    da.extend(docs())
    change, doc = dict(failing())[name], da["b"]
    held = [doc, doc.chunks, doc.tags, doc.chunks[0], doc.scores["s"]]
    before, mine = said(da), doc.to_dict()

    with pytest.raises((DocArrayError, TypeError, ValueError, RuntimeError)):
        change(da, doc)

    assert mine == doc.to_dict()
    assert before == said(da)
    other = opened()
    assert before == said(other)
    assert ["a", "b", "c", "d"] == da[:, "id"] == other[:, "id"]
    parts = [chunk.id for doc in docs() for chunk in doc.chunks]
    assert sorted(parts) == sorted(other.find(np.ones(8, np.float32), on="@c", limit=99)[:, "id"])
    assert set("abcd") == set(other.find("common", limit=99)[:, "id"])
    # And what was in hand before works on.
    assert doc is da["b"]
    doc.tags["well"] = 1
    doc.chunks[0].text = "well"
    doc.scores["s"].value = 2.5
    again = opened()["b"]
    assert (1, "well", 2.5) == (again.tags["well"], again.chunks[0].text, again.scores["s"].value)
    assert held[0] is doc


def test_what_fails_within_a_transaction_takes_back_itself_alone_or_all_of_it(opened):
    da = opened()
    da.extend(docs())
    before = said(da)

    with da:
        da["a"].text = "one"
        with pytest.raises(DocArrayError):
            da["a"].tags["x"] = BAD
        with pytest.raises(DocArrayError):
            da.extend([made("n", 1), Document(tags={"x": BAD})])
        da["b"].text = "two"
    assert ["one", "two"] == opened().texts[:2]
    assert 4 == len(opened())

    doc = da["a"]
    with pytest.raises(RuntimeError), da:  # noqa: PT012  (all of it is taken back)
        doc.text = "three"
        doc.tags["x"] = 1
        doc.chunks.clear()
        del da["d"]
        da.insert(0, made("n", 1))
        raise RuntimeError
    assert ("one", 2) == (doc.text, len(doc.chunks))
    assert "x" not in doc.tags
    assert ["a", "b", "c", "d"] == da[:, "id"] == opened()[:, "id"]
    assert before[2:] == said(opened())[2:] == said(da)[2:]
