"""Frames: what goes as rows comes back as it was, what cannot goes as columns, and damage is said."""

import json
import struct

import numpy as np
import pytest
from everything import difference, everything
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray
from docarray.flow import wire
from docarray.flow.envelope import Envelope
from docarray.web.bodies import Malformed

plain = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5)
vectors = st.builds(
    lambda kind, numbers: np.array(numbers, kind),
    st.sampled_from(["<f4", "<f8", "<f2", "<i8", ">f4"]),
    st.lists(st.integers(-1000, 1000), max_size=5),
)
documents = st.builds(
    lambda fields, content: Document(**fields, **content),
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(min_size=1, max_size=5),
            "tags": st.dictionaries(st.text(max_size=3), plain, max_size=3),
            "embedding": vectors,
            "uri": st.text(min_size=1, max_size=3),
        },
    ),
    st.fixed_dictionaries({"text": st.text(max_size=5)})
    | st.fixed_dictionaries({"tensor": vectors})
    | st.just({}),
)


def head_of(raw):
    (length,) = struct.unpack_from("<I", raw)
    return json.loads(raw[4 : 4 + length])


@settings(max_examples=80, deadline=None)
@given(st.lists(documents, max_size=9))
def test_documents_come_back_as_they_were(docs):
    sent = DocumentArray(docs)
    asked = wire.read_frame(wire.request_frame(sent, "/x", {"k": 1}))
    assert (asked.endpoint, asked.parameters, asked.rows) == ("/x", {"k": 1}, True)
    assert difference(sent, asked.docs) is None
    answer = wire.framed(wire.written_frame(Envelope(sent), rows=True))[1]
    assert difference(sent, answer) is None


def test_what_is_plain_goes_as_rows():
    vector = np.arange(3, dtype=np.float32)
    sent = DocumentArray([Document(id="a", text="tea", tags={"k": 1}, embedding=vector), Document(id="b")])
    head = head_of(wire.request_frame(sent))
    assert head["rows"] == [
        {"id": "a", "text": "tea", "tags": {"k": 1}, "embedding": ["<f4", 3]},
        {"id": "b"},
    ]


@pytest.mark.parametrize(
    "doc",
    [
        everything(),
        Document(text="\ud800"),
        Document(tags={"k": float("nan")}),
        Document(tags={"k": [1]}),
        Document(embedding=np.zeros((2, 2), np.float32)),
        Document(embedding=np.zeros(1 << 17, np.float32)),
        Document(blob=b"a"),
        Document(chunks=[Document()]),
    ],
    ids=["everything", "surrogate", "nan", "list", "matrix", "wide", "blob", "chunks"],
)
def test_what_is_not_goes_as_columns(doc):
    sent = DocumentArray([doc])
    raw = wire.request_frame(sent)
    assert not head_of(raw).get("rows")
    assert difference(sent, wire.read_frame(raw).docs) is None


def test_only_who_sends_rows_is_answered_so():
    docs = DocumentArray([Document(text="a")])
    assert head_of(wire.request_frame(DocumentArray([Document(blob=b"a")])))["rows"] == []
    assert "rows" not in head_of(wire.request_frame(docs, rows=False))
    assert wire.read_frame(wire.request_frame(docs, rows=False)).rows is False
    assert "rows" not in head_of(wire.written_frame(Envelope(docs)))
    many = DocumentArray.empty(9)
    for none_or_many in (None, many):
        asked = wire.read_frame(wire.request_frame(none_or_many))
        assert asked.rows is True
        assert len(asked.docs) == len(none_or_many or ())


def test_vectors_can_be_written_to():
    raw = wire.request_frame(DocumentArray([Document(embedding=np.ones(3))]))
    doc = wire.read_frame(raw).docs[0]
    doc.embedding[0] = 5
    assert doc.embedding.tolist() == [5, 1, 1]
    assert wire.read_frame(raw).docs[0].embedding.tolist() == [1, 1, 1]


def frame(rows, body=b""):
    head = json.dumps({"rows": rows}).encode()
    return struct.pack("<I", len(head)) + head + body


@pytest.mark.parametrize(
    ("rows", "body"),
    [
        (5, b""),
        ([5], b""),
        (["id"], b""),
        ([{"id": ""}], b""),
        ([{"id": 5}], b""),
        ([{"text": None}], b""),
        ([{"price": 3}], b""),
        ([{"tags": {"k": [1]}}], b""),
        ([{"tags": {"$float": "nan"}}], b""),
        ([{"embedding": ["<f4", 2]}], b"1234"),
        ([{"embedding": ["<f4", 1]}], b"12345678"),
        ([{"embedding": ["<f4", -1]}], b""),
        ([{"embedding": ["<f4", 1 << 80]}], b"1234"),
        ([{"embedding": ["<f4", 1.0]}], b"1234"),
        ([{"embedding": ["<f4", True]}], b"1234"),
        ([{"embedding": [["<f4"], 1]}], b"1234"),
        ([{"embedding": ["O", 1]}], b"12345678"),
        ([{"embedding": "<f4"}], b"1234"),
        ([{"text": "a", "tensor": ["<f4", 1]}], b"1234"),
    ],
    ids=range(19),
)
def test_damage_is_said(rows, body):
    with pytest.raises(Malformed, match="frame"):
        wire.read_frame(frame(rows, body))


def test_the_id_of_a_frame():
    docs = DocumentArray([Document()])
    assert wire.identity(wire.request_frame(docs, request_id="r-1")) == "r-1"
    assert wire.identity(wire.written_frame(Envelope(docs, request_id="r-2"))) == "r-2"
    for raw in (b"", b"\xff" * 9, wire.request_frame(docs), frame([], b""), wire.framed_of(b"[]", None)):
        assert wire.identity(raw) == ""
