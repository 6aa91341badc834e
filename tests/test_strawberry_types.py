"""Documents as types of Strawberry, by themselves and in a schema of one's own."""

import asyncio
import math
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("strawberry", reason='these types need strawberry: pip install "docarray[graphql]"')

import strawberry
from everything import difference
from strawberry.schema.config import StrawberryConfig

from docarray import Document, DocumentArray
from docarray.errors import BadValue, FieldTypeError
from docarray.web.strawberry_types import (
    SCALARS,
    Base64,
    JSONScalar,
    NdArray,
    StrawberryDocument,
    StrawberryDocumentInput,
    array_in,
    array_out,
    json_in,
    json_out,
)


def full():
    doc = Document(
        id="full",
        text="some text",
        uri="a.txt",
        mime_type="text/plain",
        modality="text",
        weight=0.1,
        granularity=1,
        adjacency=2,
        parent_id="up",
        offset=1.5,
        location=[1.0, 2.0],
        tags={"a": 1, "b": [1, {"c": None}], "d": 0.5, "e": True},
        embedding=np.arange(3, dtype="f4"),
        chunks=[
            Document(id="c", blob=b"\x00\xff", chunks=[Document(id="cc", tensor=np.arange(4).reshape(2, 2))])
        ],
        matches=[Document(id="m", text="match")],
    )
    doc.scores["cosine"] = {"value": 0.25, "op_name": "dist", "description": "distance", "ref_id": "full"}
    doc.evaluations["ndcg"] = {"value": 1.0}
    return doc


def test_a_document_comes_back_as_it_was():
    doc = full()
    model = doc.to_strawberry_type()
    assert isinstance(model, StrawberryDocument)
    assert difference(Document.from_strawberry_type(model), doc) is None


def test_an_array_comes_back_as_it_was():
    docs = DocumentArray([full(), Document(id="plain", text="x"), Document(id="empty")])
    models = docs.to_strawberry_type()
    assert [model.id for model in models] == ["full", "plain", "empty"]
    assert difference(DocumentArray.from_strawberry_type(models), docs) is None
    assert len(DocumentArray.from_strawberry_type([])) == 0
    assert DocumentArray().to_strawberry_type() == []


def test_a_stored_array_gives_the_same(tmp_path):
    docs = DocumentArray([full()])
    with DocumentArray(docs, storage="sqlite", config={"connection": str(tmp_path / "x.db")}) as da:
        assert DocumentArray.from_strawberry_type(da.to_strawberry_type())[0].tags == full().tags


def test_what_is_not_set_is_null():
    model = Document(id="a", text="x").to_strawberry_type()
    assert model.tags is None
    assert model.scores is None
    assert model.chunks is None
    assert model.weight is None


def test_the_object_and_the_document_do_not_share_their_tags():
    doc = full()
    model = doc.to_strawberry_type()
    model.tags["b"].append("more")
    assert doc.tags == full().tags


def test_an_id_is_drawn_where_there_is_none():
    doc = Document.from_strawberry_type(StrawberryDocumentInput(text="hi"))
    assert doc.id
    assert doc.text == "hi"


def test_inputs_take_the_lists_that_clients_send():
    model = StrawberryDocumentInput(
        id="a", embedding=[1.0, 2.0], tags='{"x": 1}', chunks=[StrawberryDocumentInput(text="c")]
    )
    doc = Document.from_strawberry_type(model)
    np.testing.assert_array_equal(doc.embedding, [1.0, 2.0])
    assert doc.tags == {"x": 1}
    assert doc.chunks[0].text == "c"


def test_subclasses_stay_themselves():
    class Page(Document):
        pass

    assert type(Page.from_strawberry_type(StrawberryDocument(id="a"))) is Page


@pytest.mark.parametrize(
    "made",
    [
        "text",
        5,
        None,
        {"text": "x"},
        StrawberryDocument(text=5),
        StrawberryDocument(weight="heavy"),
        StrawberryDocument(embedding="x"),
        StrawberryDocument(embedding={"a": 1}),
        StrawberryDocument(tags=[1]),
        StrawberryDocument(chunks=["x"]),
        StrawberryDocument(blob="text"),
    ],
    ids=range(11),
)
def test_what_is_no_document_is_refused(made):
    with pytest.raises(FieldTypeError):
        Document.from_strawberry_type(made)
    with pytest.raises(FieldTypeError):
        DocumentArray.from_strawberry_type([made])


@pytest.mark.parametrize("made", ["text", b"bytes", {"id": "x"}, 5, StrawberryDocument(id="a")], ids=range(5))
def test_an_array_wants_a_list(made):
    with pytest.raises(FieldTypeError, match="list of StrawberryDocuments"):
        DocumentArray.from_strawberry_type(made)


def test_what_holds_itself_is_refused():
    model = StrawberryDocument(id="a")
    model.chunks = [model]
    with pytest.raises(BadValue, match="hold themselves"):
        Document.from_strawberry_type(model)


# ---------------------------------------------------------------------------------------------- scalars


def test_json_says_what_it_can():
    assert json_out({"n": math.nan, "i": [math.inf, 1, None, "x", True]}) == {
        "n": None,
        "i": [None, 1, None, "x", True],
    }
    odd = json_out({"b": b"x", "n": math.nan})
    assert odd["n"] is None
    assert odd["b"] != b"x"


@pytest.mark.parametrize(
    "text", ["{", '{"a": NaN}', '{"a":' * 100_000, '{"a": ' + "9" * 5000 + "}"], ids=range(4)
)
def test_text_that_begins_an_object_and_is_none_is_refused(text):
    with pytest.raises(BadValue, match="begins as an object"):
        json_in(text)


def test_text_that_begins_no_object_is_text():
    assert json_in("plain [1]") == "plain [1]"
    assert json_in('  {"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u8", "?"])
def test_arrays_are_lists_of_what_they_hold(dtype):
    array = np.array([[0, 1], [1, 0]], dtype)
    assert array_out(array) == array.tolist()
    assert array_out(np.zeros((2, 0, 3), dtype)) == [[], []]
    assert array_out(np.array(1, dtype)) == 1


def test_sparse_arrays_are_written_out_unless_they_are_too_great():
    sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")
    assert array_out(sparse.csr_matrix(np.eye(2))) == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(FieldTypeError, match="too great"):
        array_out(sparse.csr_matrix((1 << 20, 1 << 20)))


def test_arrays_of_numbers_come_in():
    assert array_in([[1, 2], [3, 4]]).dtype.kind == "i"
    assert array_in([0.5]).tolist() == [0.5]
    for value in ("x", [["a"]], [[1], [1, 2]], 5, {"a": 1}, [None], [10**400]):
        with pytest.raises(FieldTypeError):
            array_in(value)


# ---------------------------------------------------------------------------------------------- a schema of one's own


@strawberry.type
class Query:
    @strawberry.field
    def docs(self) -> list[StrawberryDocument]:
        return DocumentArray([full()]).to_strawberry_type()


@strawberry.type
class Mutation:
    @strawberry.mutation
    def echo(self, docs: list[StrawberryDocumentInput]) -> list[StrawberryDocument]:
        da = DocumentArray.from_strawberry_type(docs)
        for doc in da:
            doc.tags["seen"] = True
        return da.to_strawberry_type()


@pytest.fixture(scope="module")
def schema():
    return strawberry.Schema(Query, Mutation, config=StrawberryConfig(scalar_map=SCALARS))


def asked(schema, query, variables=None):
    result = asyncio.run(schema.execute(query, variable_values=variables))
    assert not result.errors, result.errors
    return result.data


def test_names_on_the_wire(schema):
    said = schema.as_str()
    for line in ("parentId: String", "mimeType: String", "embedding: NdArray", "tags: JSON", "blob: Base64",
                 "scores: [Namescoreitem!]", "chunks: [StrawberryDocument!]"):  # fmt: skip
        assert f"  {line}\n" in said
    for name in ("type Namedscore ", "type Namescoreitem ", "input Namedscoreinput ", "input Namescoreiteminput ",
                 "input StrawberryDocumentInput "):  # fmt: skip
        assert name in said
    assert "  content: " not in said
    assert "etadata" not in said


def test_a_resolver_gives_documents(schema):
    query = """{ docs { id mimeType parentId weight location tags embedding blob
        scores { name score { value opName description refId } } evaluations { name score { value } }
        chunks { id blob chunks { tensor } } matches { text } } }"""
    (said,) = asked(schema, query)["docs"]
    assert said["scores"] == [
        {
            "name": "cosine",
            "score": {"value": 0.25, "opName": "dist", "description": "distance", "refId": "full"},
        }
    ]
    assert said["embedding"] == [0.0, 1.0, 2.0]
    assert said["chunks"] == [{"id": "c", "blob": "AP8=", "chunks": [{"tensor": [[0, 1], [2, 3]]}]}]
    assert said["tags"] == full().tags
    assert said["matches"] == [{"text": "match"}]


def test_a_resolver_takes_documents(schema):
    query = """mutation ($d: [StrawberryDocumentInput!]!) { echo(docs: $d) {
        id text tags blob tensor scores { name score { value opName } } chunks { text } } }"""
    sent = [
        {"id": "a", "text": "hi", "tags": {"x": [1, 2.5, None]}, "chunks": [{"text": "below"}],
         "scores": [{"name": "s", "score": {"value": 1.5, "opName": "me"}}]},
        {"id": "b", "blob": "AP8=", "tags": '{"old": "clients send text"}'},
        {"id": "c", "tensor": [[1, 2], [3, 4]]},
    ]  # fmt: skip
    first, second, third = asked(schema, query, {"d": sent})["echo"]
    assert first["tags"] == {"x": [1, 2.5, None], "seen": True}
    assert first["chunks"] == [{"text": "below"}]
    assert first["scores"] == [{"name": "s", "score": {"value": 1.5, "opName": "me"}}]
    assert second["blob"] == "AP8="
    assert second["tags"] == {"old": "clients send text", "seen": True}
    assert third["tensor"] == [[1, 2], [3, 4]]


def test_whole_numbers_and_truths_of_tags_stay_what_they_are(schema):
    query = 'mutation { echo(docs: [{tags: {zero: 0, one: 1, two: 2, yes: true, text: "a"}}]) { tags } }'
    tags = asked(schema, query)["echo"][0]["tags"]
    assert tags == {"zero": 0, "one": 1, "two": 2, "yes": True, "text": "a", "seen": True}
    assert [type(tags[name]) for name in ("zero", "one", "two", "yes")] == [int, int, int, bool]


# ---------------------------------------------------------------------------------------------- where they are


def test_the_old_place_leads_here():
    from docarray.document import strawberry_type

    assert strawberry_type.StrawberryDocument is StrawberryDocument
    assert strawberry_type.StrawberryDocumentInput is StrawberryDocumentInput
    assert strawberry_type.JSONScalar is JSONScalar
    assert strawberry_type.Base64 is Base64
    assert strawberry_type.NdArray is NdArray


def test_the_library_is_imported_without_strawberry():
    code = "import sys, docarray, docarray.web; assert 'strawberry' not in sys.modules and 'graphql' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_strawberry_is_named_with_the_line_that_installs_it():
    code = """
import sys
sys.modules['strawberry'] = None
from docarray import Document
from docarray.errors import MissingExtra
from docarray import web
for ask in (lambda: Document(text='x').to_strawberry_type(), lambda: web.StrawberryDocument):
    try:
        ask()
    except MissingExtra as error:
        assert 'pip install "docarray[' in str(error), error
    else:
        raise AssertionError('it was found')
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
