"""Which media types say documents, how clients choose, and how bodies are read and written, within limits."""

import asyncio
import gzip
import io
import json
from contextlib import suppress

import numpy as np
import pytest

pytest.importorskip("pydantic", reason='bodies need pydantic: pip install "docarray[serve]"')

from everything import difference
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray, exchange
from docarray.errors import BadValue, CorruptData, DocArrayError, FieldTypeError, UnknownField
from docarray.serialization.container import FORMAT
from docarray.web import bodies
from docarray.web.lane import Lane
from docarray.web.limits import Limits, TooMuch

LIMITS = Limits(body=1000, documents=3)


def scope(**headers):
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "headers": pairs}


class Sender:
    """A client that sends its body in parts."""

    def __init__(self, *parts, stays=True):
        self.parts, self.stays, self.asked = list(parts), stays, 0

    async def __call__(self):
        self.asked += 1
        if not self.parts:
            return {"type": "http.disconnect"}
        part = self.parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self.parts) or not self.stays}


def received(*parts, limits=LIMITS, stays=True, lane=None, **headers):
    return asyncio.run(bodies.body(scope(**headers), Sender(*parts, stays=stays), limits, lane))


def table_of(*docs):
    return DocumentArray(list(docs))._slots.table()


# --- negotiation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "form", "media"),
    [
        (None, "json", "application/json"),
        ("", "json", "application/json"),
        (" , ", "json", "application/json"),
        ("*/*", "json", "application/json"),
        ("application/*", "json", "application/json"),
        ("APPLICATION/X-NDJSON", "ndjson", "application/x-ndjson"),
        ("application/jsonl", "ndjson", "application/jsonl"),
        ("application/vnd.docarray;version=1", "binary", "application/vnd.docarray"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "json", "application/json"),
        ("application/json;q=0.4, application/vnd.docarray;q=0.5", "binary", "application/vnd.docarray"),
        ("application/json ; Q=0.4 , application/x-ndjson ; q=0.401", "ndjson", "application/x-ndjson"),
        ("application/*, application/json;q=0", "ndjson", "application/x-ndjson"),
        ("*/*;q=0.1, application/vnd.docarray", "binary", "application/vnd.docarray"),
        ('application/json;profile="a, b;q=0";q=0.9, application/x-ndjson;q=0.8', "json", "application/json"),
        ("application/x-ndjson;q=7", "ndjson", "application/x-ndjson"),
    ],
)
def test_the_best_of_what_is_accepted_is_chosen(accept, form, media):
    assert (form, media) == bodies.negotiated(accept)


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "*/*;q=0.000", "json"])
def test_a_client_that_takes_nothing_of_it_is_told_what_there_is(accept):
    with pytest.raises(bodies.NotAcceptable, match="application/json, application/x-ndjson") as caught:
        bodies.negotiated(accept)
    assert 406 == caught.value.status


def test_other_forms_are_given_where_they_are_offered():
    assert "csv" == bodies.negotiated("text/*", ("json", "csv")).form
    assert "protobuf-array" == bodies.negotiated("application/protobuf", ("protobuf-array",)).form


def test_lines_of_a_header_are_one():
    twice = {"headers": [(b"accept", b"text/html"), (b"accept", b"application/x-ndjson;q=0.1")]}
    assert "ndjson" == bodies.accepted(twice)


@given(st.text(alphabet='aq=0.1;,"\\ */x', max_size=60))
@settings(deadline=None, max_examples=200)
def test_no_header_is_an_error_of_the_server(accept):
    with suppress(bodies.NotAcceptable):
        assert bodies.negotiated(accept).form in bodies.FORMS


def test_a_long_header_is_read_in_no_time():
    with pytest.raises(bodies.NotAcceptable):
        bodies.negotiated('a;b="' + "\\" * 200_000)


@pytest.mark.parametrize(
    ("said", "media"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=UTF-8", "application/json"),
        ('application/jsonl;charset="utf-8"', "application/jsonl"),
        ("application/vnd.docarray; charset=latin-1", "application/vnd.docarray"),
        ("application/x-protobuf;proto=DocumentArrayProto", "application/x-protobuf"),
    ],
)
def test_a_media_type_is_known_with_its_parameters(said, media):
    assert media == bodies.typed(scope(content_type=said))


@pytest.mark.parametrize(
    "said", ["", "text/plain", "multipart/form-data; boundary=x", "text/csv", "application/json/x"]
)
def test_other_media_types_are_not_read(said):
    with pytest.raises(bodies.Unreadable, match="Content-Type") as caught:
        bodies.typed(scope(content_type=said))
    assert "application/x-ndjson" in caught.value.headers["Accept"]


def test_text_is_in_utf_8():
    with pytest.raises(bodies.Unreadable, match=r"UTF-8; .*'latin-1'"):
        bodies.typed(scope(content_type="application/json; charset=latin-1"))


# --- bodies -----------------------------------------------------------------------------------------------------------


def test_a_body_comes_in_parts():
    assert b"abcdef" == received(b"ab", b"", b"cd", b"ef")
    assert b"" == received(b"")


def test_a_body_of_the_limit_is_taken_and_one_more_is_not():
    assert b"x" * 1000 == received(b"x" * 1000) == received(b"x" * 500, b"x" * 500)
    for parts in ([b"x" * 1001], [b"x" * 500, b"x" * 501]):
        with pytest.raises(bodies.TooLong, match="at most 1000 bytes") as caught:
            received(*parts)
    assert 413 == caught.value.status


def test_what_is_announced_too_long_is_not_read():
    sender = Sender(b"x")
    with pytest.raises(bodies.TooLong, match="99999 were announced"):
        asyncio.run(bodies.body(scope(content_length="99999"), sender, LIMITS))
    assert 0 == sender.asked


def test_no_more_is_read_than_the_limit():
    sender = Sender(*[b"x" * 400] * 1000)
    with pytest.raises(bodies.TooLong):
        asyncio.run(bodies.body(scope(), sender, LIMITS))
    assert 3 == sender.asked


def test_a_client_that_goes_is_not_answered():
    with pytest.raises(bodies.Gone):
        received(b"ab", b"cd", stays=False)


@pytest.mark.parametrize("size", [0, 10, 900])
def test_gzip_is_unpacked(size):
    data = bytes(range(256)) * 4
    packed = gzip.compress(data[:size])
    assert data[:size] == received(packed[:7], packed[7:], content_encoding="gzip")
    assert data[:size] == received(packed, content_encoding="X-GZIP")


def test_much_gzip_is_unpacked_in_the_lane():
    data = np.random.default_rng(1).bytes(200_000)
    packed = gzip.compress(data[:99_999]) + gzip.compress(data[99_999:])
    limits = Limits(body=1 << 20)
    lane = Lane(threads=1)
    try:
        assert data == received(packed, limits=limits, lane=lane, content_encoding="gzip")
        assert data == received(packed, limits=limits, content_encoding="gzip")
    finally:
        lane.close()


def test_a_bomb_is_unpacked_to_the_limit():
    bomb = gzip.compress(bytes(1 << 26))
    with pytest.raises(bodies.TooLong, match="unpacks to more"):
        received(bomb, limits=Limits(body=100_000), content_encoding="gzip")
    with pytest.raises(bodies.TooLong):  # in members, each of which is small
        received(gzip.compress(bytes(600)) * 2, content_encoding="gzip")
    with pytest.raises(bodies.Malformed, match="members"):
        received(gzip.compress(b"") * 5000, limits=Limits(), content_encoding="gzip")


@pytest.mark.parametrize(
    "damage",
    [b"", b"not gzip", gzip.compress(b"words" * 9)[:-3], gzip.compress(b"a") + b"rest"],
    ids=["empty", "other", "short", "more"],
)
def test_damaged_gzip_is_said(damage):
    with pytest.raises(bodies.Malformed, match="gzip"):
        received(damage, content_encoding="gzip")


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_codings_are_not_read(coding):
    with pytest.raises(bodies.Unreadable, match="gzip") as caught:
        received(b"x", content_encoding=coding)
    assert "gzip, identity" == caught.value.headers["Accept-Encoding"]


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "ndjson", "binary", "protobuf-array"])
def test_what_is_written_is_read(form):
    docs = [
        Document(id="a", text="grün", tags={"price": 3}, weight=0.5),
        Document(id="b", embedding=np.arange(4, dtype="f4"), chunks=[Document(id="c", text="below")]),
    ]
    table = table_of(*docs)
    found = bodies.read(form, bodies.written(form, table), Limits())
    assert difference(DocumentArray(found)[1].embedding, docs[1].embedding) is None
    assert ["a", "b"] == found.ids
    assert 3 == DocumentArray(found)[0].tags["price"]
    assert "below" == DocumentArray(found)[1].chunks[0].text


def test_arrays_of_the_native_format_are_views_of_the_body():
    table = table_of(*[Document(embedding=row) for row in np.random.default_rng(1).random((50, 64), "f4")])
    data = bodies.written("binary", table)
    column = bodies.read("binary", data, Limits()).columns["embedding"].data
    lies = np.frombuffer(data, np.uint8)
    assert np.shares_memory(column, lies) or 0 != lies.ctypes.data % 16


def test_one_object_is_one_document():
    assert ["a"] == bodies.read("json", b'{"id": "a"}', LIMITS).ids
    assert [] == bodies.read("json", b"[]", LIMITS).ids == bodies.read("ndjson", b"\n\n", LIMITS).ids


@pytest.mark.parametrize(
    ("form", "data", "match"),
    [
        ("json", b"", "the body is no JSON"),
        ("json", b'[{"id": "a"', "the body is no JSON"),
        ("json", b"\xff\xfe", "the body is no JSON"),
        ("ndjson", b'{"id": "a"}\n\n{"id": ', "line 3 of the body is no JSON"),
        ("binary", b"", "damaged"),
        ("binary", b"[]", "damaged"),
        ("binary", FORMAT.dumps(table_of(Document(id="a")))[:-70], "damaged"),
        ("protobuf-array", b"\xff" * 20, "damaged"),
    ],
    ids=str,
)
def test_bytes_of_another_kind_are_refused_with_their_place(form, data, match):
    with pytest.raises(bodies.Malformed, match=match) as caught:
        bodies.read(form, data, LIMITS)
    assert 400 == caught.value.status


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({"id": "a", "colour": 1}, "colour"),
        ({"id": "a", "weight": "heavy"}, "weight"),
        ({"id": "a", "embedding": [1, "x"]}, "embedding"),
        ({"id": "a", "text": "\ud800"}, "'text' of document 'a' has text with a lone surrogate"),
        (["a"], "number 0 is an object"),
        (7, "number 0 is an object"),
    ],
    ids=str,
)
def test_what_no_document_has_is_refused_with_its_field(value, match):
    data = json.dumps([value]).encode()
    with pytest.raises((FieldTypeError, CorruptData, UnknownField, BadValue), match=match):
        bodies.read("json", data, LIMITS)


@pytest.mark.parametrize("form", ["json", "ndjson", "binary", "protobuf-array"])
def test_documents_are_counted(form):
    many = bodies.written(form, table_of(*[Document(id=str(n)) for n in range(4)]))
    with pytest.raises(TooMuch, match="at most 3 documents are taken at once; 4 came"):
        bodies.read(form, many, LIMITS)


@pytest.mark.parametrize("compress", ["zstd", "lz4"])
def test_what_unpacks_within_a_container_is_bounded(compress):
    pytest.importorskip("lz4", reason="this test packs: pip install lz4")
    packed = exchange.dumps(table_of(Document(text="x" * 5_000_000)), "binary", compress)
    assert len(packed) < 100_000
    with pytest.raises(bodies.Malformed, match="damaged"):
        bodies.read("binary", packed, Limits(body=100_000))


def test_what_is_packed_as_a_whole_is_bounded_too():
    packed = gzip.compress(bodies.written("protobuf-array", table_of(Document(text="x" * 5_000_000))))
    with pytest.raises(bodies.Malformed, match="damaged"):
        bodies.read("protobuf-array", packed, Limits(body=100_000))


@given(
    st.sampled_from(["json", "ndjson", "binary", "protobuf-array"]),
    st.binary(max_size=200),
    st.integers(0, 400),
)
@settings(deadline=None, max_examples=150)
def test_whatever_comes_is_documents_or_a_problem(form, noise, at):
    data = bodies.written(form, table_of(Document(id="a", text="tea", tags={"n": 1}, embedding=np.ones(3))))
    for body in (noise, data[:at] + noise + data[at + len(noise) :]):
        try:
            docs = DocumentArray(bodies.read(form, body, Limits()))
            bodies.written("json", docs._slots.table())
        except DocArrayError:
            pass


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_numbers_that_json_lacks_are_said_so_that_all_can_read_them(form):
    table = table_of(
        Document(id="a", weight=float("nan"), embedding=np.array([1, np.inf])), Document(id="b", text="NaN")
    )
    data = bodies.written(form, table)

    def refuse(name):
        raise AssertionError(name)

    for text in [data] if form == "json" else data.splitlines():
        json.loads(text, parse_constant=refuse)
    found = DocumentArray(bodies.read(form, data, Limits()))
    assert found[0].embedding[1] == np.inf
    assert found[0].weight != found[0].weight
    assert "NaN" == found[1].text


@pytest.mark.parametrize("form", ["json", "ndjson", "binary", "protobuf-array"])
@pytest.mark.parametrize("sizes", [[], [0], [1], [2, 0, 3], [300, 1]], ids=str)
def test_parts_are_a_whole(form, sizes):
    tables, first = [], 0
    for size in sizes:
        tables.append(table_of(*[Document(id=str(n), text="t") for n in range(first, first + size)]))
        first += size
    data = b"".join(bodies.pieces(form, iter(tables)))
    assert [str(n) for n in range(first)] == bodies.read(form, data, Limits()).ids
    if form == "binary":
        assert first == sum(map(len, FORMAT.read(io.BytesIO(data))))


@pytest.mark.parametrize("form", ["json", "ndjson", "binary", "protobuf-array"])
def test_a_table_is_asked_for_when_its_part_is(form):
    made = []

    def tables():
        for n in range(3):
            made.append(n)
            yield table_of(Document(id=str(n)))

    parts = bodies.pieces(form, tables())
    assert [] == made
    next(parts)
    assert [0] == made
    next(parts)
    assert [0, 1] == made


@pytest.mark.parametrize("form", ["json", "binary"])
def test_what_was_cut_off_is_no_whole(form):
    def tables():
        yield table_of(Document(id="a"))
        raise ZeroDivisionError

    parts = bodies.pieces(form, tables())
    had = next(parts)
    with pytest.raises(ZeroDivisionError):
        next(parts)
    with pytest.raises(bodies.Malformed):
        bodies.read(form, had, Limits())


def test_what_is_not_given_in_parts_is_said():
    with pytest.raises(FieldTypeError, match="'csv' is not given in parts"):
        next(bodies.pieces("csv", []))
