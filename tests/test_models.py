"""Documents, arrays and dataclasses as types of pydantic, and the models of the old library."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
import pytest

pytest.importorskip("pydantic", reason='models need pydantic: pip install "docarray[web]"')

from everything import difference, everything, everything_array, record_lists, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from docarray import Document, DocumentArray, NamedScore, dataclass, field
from docarray.dataclasses import register
from docarray.errors import CorruptData, FieldTypeError
from docarray.records import table_of
from docarray.typing import JSON, URI, Audio, Blob, Image, Text
from docarray.web import models
from docarray.web.models import (
    DEEPEST,
    PydanticDocument,
    PydanticDocumentArray,
    document_schema,
)

DATA = Path(__file__).parent / "data" / "old"
OLD = Path(__file__).parent.parent / ".venv-old" / "bin" / "python"
old_library = pytest.mark.skipif(not OLD.exists(), reason="the old library is not here: make .venv-old")

one = TypeAdapter(Document)
several = TypeAdapter(DocumentArray[Document])


class Shop(BaseModel):
    best: Document
    goods: DocumentArray[Document] = Field(default_factory=DocumentArray)


def sayable(value: Any) -> Any:
    """A value without lone surrogates, which are no characters: JSON in UTF-8 has no place for them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if type(value) is dict:
        return {sayable(key): sayable(item) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(sayable, value))
    return value


def sayable_doc(doc: Document) -> Document:
    doc.id = sayable(doc.id)
    doc.tags = sayable(doc.tags)
    if doc.text is not None:
        doc.text = sayable(doc.text)
    for below in (*doc.chunks, *doc.matches):
        sayable_doc(below)
    return doc


def errors_of(adapter: Any, value: Any, mode: str = "python") -> list[tuple[tuple[Any, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        getattr(adapter, f"validate_{mode}")(value)
    json.dumps(caught.value.errors(include_url=False), default=str).encode()
    return [(error["loc"], error["msg"]) for error in caught.value.errors()]


def paths_of(adapter: Any, value: Any, mode: str = "python") -> list[tuple[Any, ...]]:
    return [loc for loc, _ in errors_of(adapter, value, mode)]


# --- PydanticDocument -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_everything_goes_through_a_model(number):
    doc = everything(3, number)

    model = doc.to_pydantic_model()

    assert isinstance(model, PydanticDocument)
    assert difference(Document.from_pydantic_model(model), doc) is None
    assert difference(Document.from_pydantic_model(PydanticDocument(**model.model_dump())), doc) is None
    assert difference(Document.from_pydantic_model(pickle.loads(pickle.dumps(model))), doc) is None


@pytest.mark.parametrize("number", range(6))
def test_everything_that_is_text_goes_through_the_json_of_a_model(number):
    doc = sayable_doc(everything(3, number))

    text = doc.to_pydantic_model().model_dump_json()

    assert difference(Document.from_pydantic_model(PydanticDocument.model_validate_json(text)), doc) is None


def test_an_array_goes_through_models():
    da = everything_array()

    made = da.to_pydantic_model()

    assert {PydanticDocument} == set(map(type, made))
    assert difference(DocumentArray.from_pydantic_model(made), da) is None
    assert [] == DocumentArray().to_pydantic_model()
    assert len(DocumentArray.from_pydantic_model([])) == 0
    assert difference(DocumentArray.from_pydantic_model(iter(made)), da) is None


def test_arrays_of_stores_give_the_same(tmp_path):
    with DocumentArray(storage="sqlite", config={"connection": str(tmp_path / "x.db")}) as da:
        da.extend([Document(id="a", text="x", embedding=np.ones(2, "f4")), Document(id="b")])

        assert (
            difference(DocumentArray.from_pydantic_model(da.to_pydantic_model())[0], da[0].__copy__()) is None
        )


@settings(max_examples=100, deadline=None)
@given(record_lists(levels=2))
def test_any_document_goes_through_a_model(records):
    da = DocumentArray(table_of(records))

    assert difference(DocumentArray.from_pydantic_model(da.to_pydantic_model()), da) is None
    for doc in da:
        assert difference(Document.from_pydantic_model(doc.to_pydantic_model()), doc) is None


def test_what_a_model_has():
    doc = Document(id="a", blob=b"\0\1", embedding=np.array([1, 2], "f4"), scores={"s": NamedScore(value=1)})

    model = doc.to_pydantic_model()

    assert (model.id, model.blob, model.embedding, model.text) == ("a", "AAE=", [1.0, 2.0], None)
    assert model.scores is not None
    assert model.scores["s"].value == 1
    assert model.model_fields_set == {"id", "blob", "embedding", "scores"}
    assert set(PydanticDocument.model_fields) == {
        *(
            "id",
            "parent_id",
            "granularity",
            "adjacency",
            "blob",
            "tensor",
            "mime_type",
            "text",
            "weight",
            "uri",
        ),
        *(
            "tags",
            "offset",
            "location",
            "embedding",
            "modality",
            "evaluations",
            "scores",
            "chunks",
            "matches",
        ),
    }
    assert PydanticDocumentArray == list[PydanticDocument]


def test_what_is_not_set_stays_unset():
    doc = Document.from_pydantic_model(PydanticDocument())

    assert doc.non_empty_fields == ("id",)
    assert doc.scores["new"] == NamedScore()
    assert doc.evaluations["new"] == NamedScore()
    assert doc.id != Document.from_pydantic_model(PydanticDocument()).id


def test_whole_numbers_and_truths_in_tags_stay_what_they_are():
    tags = {"x": 0, "y": 1, "z": 2, "t": True, "n": None, "s": "1", "l": [1, 2.0, {"a": 1 << 70}]}

    model = PydanticDocument(tags=tags)

    assert difference(Document.from_pydantic_model(model).tags, tags) is None
    again = PydanticDocument.model_validate_json(model.model_dump_json())
    assert difference(Document.from_pydantic_model(again).tags, tags) is None


def test_arrays_of_every_framework_become_lists():
    torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")

    model = PydanticDocument(tensor=torch.ones(2, 2), embedding=np.arange(2))

    assert (model.tensor, model.embedding) == ([[1.0, 1.0], [1.0, 1.0]], [0, 1])
    doc = Document(embedding=torch.ones(2, dtype=torch.float16))
    assert difference(Document.from_pydantic_model(doc.to_pydantic_model()).embedding, doc.embedding) is None


def test_another_list_in_the_place_of_an_array_is_read_as_it_stands():
    model = Document(embedding=np.array([1, 2], "f4")).to_pydantic_model()
    model.embedding = [1, 2, 3]

    assert difference(Document.from_pydantic_model(model).embedding, np.array([1, 2, 3])) is None
    assert "_arrays" not in model.model_dump()


def test_what_a_model_holds_is_its_own():
    doc = Document(tags={"a": [1]}, chunks=[Document(text="x")], scores={"s": 1.0})
    model = doc.to_pydantic_model()
    assert model.tags is not None
    assert model.chunks is not None
    assert model.scores is not None
    model.tags["a"].append(2)
    model.chunks[0].text = "y"
    model.scores["s"].value = 5

    assert (doc.tags, doc.chunks[0].text, doc.scores["s"].value) == ({"a": [1]}, "x", 1.0)

    back = Document.from_pydantic_model(model)
    back.tags["a"].append(3)
    back.scores["s"].value = 6
    assert (model.tags, model.scores["s"].value) == ({"a": [1, 2]}, 5)


def test_more_fields_of_a_model_become_tags():
    class Tea(PydanticDocument):
        price: float = 0.0

    class Other(BaseModel):
        text: str
        stars: int

    assert Document.from_pydantic_model(Tea(text="x", price=2.5, tags={"a": 1})).tags == {
        "a": 1,
        "price": 2.5,
    }
    doc = Document.from_pydantic_model(Other(text="x", stars=3))
    assert (doc.text, doc.tags) == ("x", {"stars": 3})


def test_models_refuse_what_is_of_another_type():
    assert errors_of(TypeAdapter(PydanticDocument), {"weight": "heavy", "chunks": [{"tags": 3}]})
    assert paths_of(TypeAdapter(PydanticDocumentArray), [{}, {"chunks": [{"tags": 3}]}]) == [
        (1, "chunks", 0, "tags")
    ]
    assert PydanticDocument(id=5).id == "5"
    with pytest.raises(ValidationError, match="_metadata"):
        PydanticDocument.model_validate({"_metadata": 3})


def test_what_is_no_model_is_refused():
    with pytest.raises(FieldTypeError, match="a model of pydantic is wanted; got a dict"):
        Document.from_pydantic_model({"text": "x"})  # pyright: ignore[reportArgumentType]
    for wrong in (PydanticDocument(), {"a": 1}, "text", 5):
        with pytest.raises(FieldTypeError, match="a list of models"):
            DocumentArray.from_pydantic_model(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(CorruptData, match="blob"):
        Document.from_pydantic_model(PydanticDocument(id="a", blob="!"))
    with pytest.raises(CorruptData, match="'b'"):
        DocumentArray.from_pydantic_model([PydanticDocument(), PydanticDocument(id="b", embedding="x")])


def test_subclasses_of_documents_come_back_as_such():
    class Car(Document):
        __slots__ = ()

    assert type(Car.from_pydantic_model(Car(text="x").to_pydantic_model())) is Car


def test_json_schemas_are_those_of_the_old_library():
    said, of_array = (
        json.loads(Document.get_json_schema()),
        json.loads(DocumentArray.get_json_schema(indent=None)),
    )

    assert said["title"] == "Document Schema"
    assert said["$ref"] == "#/$defs/PydanticDocument"
    assert said["$defs"]["PydanticDocument"]["properties"].keys() == PydanticDocument.model_fields.keys()
    assert "required" not in said["$defs"]["PydanticDocument"]
    assert (of_array["title"], of_array["type"]) == ("DocumentArray Schema", "array")
    assert of_array["items"] == {"$ref": "#/$defs/PydanticDocument"}
    assert "\n" not in DocumentArray.get_json_schema(indent=None)
    assert DocumentArray.get_json_schema() == DocumentArray().get_json_schema()


def test_old_paths_lead_here():
    import docarray.web
    from docarray.document.pydantic_model import PydanticDocument as Old

    assert Old is docarray.web.PydanticDocument is PydanticDocument


@pytest.mark.parametrize("name", ["document.json", "documents.json"])
def test_json_of_the_old_library_is_read(name):
    text = (DATA / name).read_text()
    said = json.loads(text)

    if isinstance(said, dict):
        expected = DocumentArray([Document.from_json(text)])
        found = DocumentArray([Document.from_pydantic_model(PydanticDocument.model_validate_json(text))])
        assert difference(one.validate_json(text), expected[0]) is None
    else:
        expected = DocumentArray.from_json(text)
        read = TypeAdapter(PydanticDocumentArray).validate_json(text)
        found = DocumentArray.from_pydantic_model(read)
        assert difference(several.validate_json(text), expected) is None
    assert difference(found, expected) is None


@old_library
def test_models_of_the_old_library_are_read_and_it_reads_ours(tmp_path):
    """Both ways, by the JSON of a model."""
    script = """
import sys, json
import numpy as np
from docarray import Document, DocumentArray
from docarray.document.pydantic_model import PydanticDocument
from docarray.score import NamedScore
path, back = sys.argv[1:]
doc = Document(id='a', text='hi', tags={'s': 'x', 'l': [1, {'k': None}], 'f': 0.5}, weight=0.5, location=[1, 2.5],
               embedding=np.array([1, 2.5], 'f4'), chunks=[Document(id='c', blob=b'\\0\\xff')],
               matches=[Document(id='m', scores={'cosine': NamedScore(value=0.25)})])
model = doc.to_pydantic_model()
theirs = PydanticDocument.parse_file(back)
found = Document.from_pydantic_model(theirs)
assert (found.id, found.text, found.tags) == ('ours', 'hello', {'s': 'x'}), found
assert np.array_equal(found.embedding, [1.0, 0.5]), found.embedding
assert found.chunks[0].blob == b'\\0\\1'
assert found.matches[0].scores['cosine'].value == 0.25
open(path, 'w').write(model.json())
"""
    ours = Document(
        id="ours",
        text="hello",
        tags={"s": "x"},
        embedding=np.array([1, 0.5], "f4"),
        chunks=[Document(blob=b"\0\1")],
        matches=[Document(scores={"cosine": NamedScore(value=0.25)})],
    )
    (tmp_path / "ours.json").write_text(ours.to_pydantic_model().model_dump_json())
    subprocess.run(
        [OLD, "-c", script, tmp_path / "theirs.json", tmp_path / "ours.json"], check=True, cwd=tmp_path
    )

    text = (tmp_path / "theirs.json").read_text()
    for doc in (
        Document.from_pydantic_model(PydanticDocument.model_validate_json(text)),
        one.validate_json(text),
    ):
        assert (doc.id, doc.text, doc.weight, doc.location) == ("a", "hi", 0.5, [1.0, 2.5])
        assert doc.tags == {"s": "x", "l": [1, {"k": None}], "f": 0.5}
        assert np.array_equal(doc.embedding, [1.0, 2.5])
        assert (doc.chunks[0].blob, doc.chunks[0].parent_id) == (b"\0\xff", "a")
        assert doc.matches[0].scores["cosine"].value == 0.25


# --- Document and DocumentArray as types ----------------------------------------------------------------------------


def test_values_of_the_type_are_kept_as_they_are():
    doc, da = Document(text="x"), DocumentArray([Document()])

    shop = Shop(best=doc, goods=da)

    assert shop.best is doc
    assert shop.goods is da
    assert shop.model_dump() == {"best": doc, "goods": da}
    assert Shop.model_validate(shop.model_dump()).goods is da


def test_dicts_and_json_become_documents():
    said = {"best": {"id": "a", "text": "x", "tags": {"n": 1}}, "goods": [{"embedding": [1, 2.5]}, {}]}

    for shop in (Shop.model_validate(said), Shop.model_validate_json(json.dumps(said))):
        assert type(shop.best) is Document
        assert (shop.best.id, shop.best.text, shop.best.tags) == ("a", "x", {"n": 1})
        assert type(shop.goods) is DocumentArray
        assert difference(shop.goods[0].embedding, np.array([1, 2.5])) is None
    assert said["goods"] == [{"embedding": [1, 2.5]}, {}]  # nothing was changed in what was given


def test_json_says_only_what_is_set():
    shop = Shop(best=Document(id="a", text="x"), goods=[Document(id="b", embedding=np.ones(2, "f4"))])

    assert json.loads(shop.model_dump_json()) == shop.model_dump(mode="json")
    assert shop.model_dump(mode="json") == {
        "best": {"id": "a", "text": "x"},
        "goods": [{"id": "b", "embedding": [1.0, 1.0], "_arrays": {"embedding": {"dtype": "<f4"}}}],
    }


@pytest.mark.parametrize("number", range(6))
def test_everything_goes_through_a_field(number):
    doc = sayable_doc(everything(3, number))

    assert difference(one.validate_json(one.dump_json(doc)), doc) is None
    assert difference(one.validate_python(one.dump_python(doc, mode="json")), doc) is None
    shop = Shop(best=doc, goods=[doc, doc])
    back = Shop.model_validate_json(shop.model_dump_json())
    assert difference(back.best, doc) is None
    assert difference(back.goods, shop.goods) is None


def test_an_array_of_everything_goes_through_a_field():
    da = DocumentArray(sayable_doc(doc) for doc in everything_array())

    assert difference(several.validate_json(several.dump_json(da)), da) is None


@settings(max_examples=100, deadline=None)
@given(record_lists(levels=2))
def test_any_document_that_json_can_say_goes_through_a_field(records):
    da = DocumentArray(table_of(sayable(records)))
    said = several.dump_json(da)

    assert difference(several.validate_json(said), da) is None
    json.loads(said, parse_constant=pytest.fail)  # no NaN, which is no JSON


def test_what_is_not_finite_is_said_without_nan():
    doc = Document(
        id="a",
        weight=math.nan,
        location=[math.inf, 1],
        tags={"n": [-math.inf]},
        embedding=np.array([math.nan, 1], "f4"),
        scores={"s": NamedScore(value=math.nan)},
        chunks=[Document(id="b", offset=-math.inf)],
    )

    said = json.loads(one.dump_json(doc), parse_constant=pytest.fail)

    assert (said["weight"], said["location"], said["chunks"][0]["offset"]) == (
        "NaN",
        ["Infinity", 1],
        "-Infinity",
    )
    assert said["embedding"].keys() == {"dtype", "shape", "base64"}
    assert difference(one.validate_python(said), doc) is None


def test_what_json_cannot_say_is_refused_with_its_place():
    for doc, place in (
        (Document(id="a", text="\ud800"), "field 'text' of document 'a'"),
        (Document(id="a", tags={"k": ["\udfff"]}), "field 'tags.k.0'"),
        (Document(id="a", chunks=[Document(uri="\ud800")]), "field 'chunks.0.uri'"),
    ):
        with pytest.raises(PydanticSerializationError, match=place):
            one.dump_json(doc)
        assert one.dump_python(doc) is doc


def test_errors_have_paths():
    found = errors_of(
        TypeAdapter(Shop),
        {
            "best": {
                "id": "a",
                "weight": "heavy",
                "price": 3,
                "chunks": [{"id": "c"}, {"tags": 3, "chunks": [5]}],
            },
            "goods": [{}, {"embedding": [[1], [2, 3]]}, {"scores": {"s": {"value": "x"}}}, 7],
        },
    )

    assert [loc for loc, _ in found] == [
        ("best", "weight"),
        ("best", "price"),
        ("best", "chunks", 1, "tags"),
        ("best", "chunks", 1, "chunks", 0),
        ("goods", 1, "embedding"),
        ("goods", 2, "scores"),
        ("goods", 3),
    ]
    assert found[0][1] == "field 'weight' takes a number; got str: 'heavy'"
    assert "no field 'price'" in found[1][1]


def test_errors_say_what_was_given_and_no_more():
    with pytest.raises(ValidationError) as caught:
        one.validate_python({"weight": "é" * 1000, "embedding": ["x"] * 10_000})

    assert [error["type"] for error in caught.value.errors()] == ["document", "document"]
    assert len(json.dumps(caught.value.errors()).encode()) < 2000
    with pytest.raises(ValidationError) as caught:
        one.validate_python({"price": 3})
    assert caught.value.errors()[0]["type"] == "extra_forbidden"
    assert caught.value.errors()[0]["input"] == 3


def test_errors_are_told_up_to_a_number():
    found = paths_of(several, [{"weight": "x"} if at % 3 else {} for at in range(1000)])

    assert len(found) == 32
    assert found[:2] == [(1, "weight"), (2, "weight")]


@pytest.mark.parametrize("value", [None, 5, "text", [], [["id", "a"]], b"bytes", {1: 2}, {"chunks": {}}])
def test_what_is_no_document_is_refused(value):
    assert errors_of(one, value)
    assert errors_of(several, [value])
    if value != []:
        assert errors_of(several, value)


def test_a_document_has_one_content():
    assert paths_of(one, {"text": "a", "blob": "AAAA"}) == [()]
    assert one.validate_python({"text": "a", "blob": None}).text == "a"
    assert one.validate_python({"content": "a"}).text == "a"
    assert difference(one.validate_python({"content": [1]}).tensor, np.array([1])) is None


def nested(levels: int, key: str) -> Any:
    value: Any = {"a": 1} if key == "tags" else {}
    for _ in range(levels):
        value = {"a": value} if key == "tags" else {key: [value]}
    return {"tags": value} if key == "tags" else value


@pytest.mark.parametrize("key", ["tags", "chunks", "matches"])
def test_depth_has_an_end(key):
    assert errors_of(one, nested(1000, key))
    assert errors_of(one, json.dumps(nested(200, key)), "json")
    deep = one.validate_python(nested(30, key))
    assert difference(one.validate_json(one.dump_json(deep)), deep) is None


def test_what_comes_in_can_go_out_again():
    deep = nested(DEEPEST - 3, "tags")

    assert difference(one.validate_json(one.dump_json(one.validate_python(deep))).tags, deep["tags"]) is None
    assert errors_of(one, nested(DEEPEST, "tags"))


def test_a_value_that_holds_itself_is_refused():
    tags: dict[str, Any] = {}
    tags["me"] = tags

    assert errors_of(one, {"tags": tags})
    doc: dict[str, Any] = {}
    doc["chunks"] = [doc]
    assert errors_of(one, doc)


HOSTILE = [
    '{"id":"\\ud800"}',
    '{"id":1e999}',
    '{"id":' + "9" * 5000 + "}",
    '{"tags":{"$docarray":"float","is":"NaN"}}',
    '{"tags":{"a":{"$docarray":5}}}',
    '{"tags":{"a":{"$docarray":"object","is":"os.system"}}}',
    '{"embedding":{"dtype":"O","shape":[1],"base64":""}}',
    '{"embedding":{"dtype":"<f4","shape":[99999999999],"base64":""}}',
    '{"embedding":{"dtype":"<f4","shape":[-1],"base64":"AAAAAA=="}}',
    '{"embedding":{"layout":"scipy.csr","shape":[1,9],"parts":[]}}',
    '{"embedding":{"layout":"scipy.csr","shape":[1,9],"parts":[{"dtype":"<f4","shape":[1],"base64":"AAAAAA=="}]}}',
    '{"embedding":[1,2],"_arrays":{"embedding":{"shape":[-1,5]}}}',
    '{"embedding":[1,2],"_arrays":{"embedding":{"framework":"os"}}}',
    '{"embedding":[1,2],"_arrays":5}',
    '{"embedding":["NaN"]}',
    '{"embedding":[null]}',
    '{"embedding":[[],[1]]}',
    '{"embedding":"x"}',
    '{"blob":"!!"}',
    '{"blob":[1]}',
    '{"chunks":[{"chunks":[null]}]}',
    '{"mime_type":5}',
    '{"weight":true}',
    '{"weight":"inf"}',
    '{"granularity":1.5}',
    '{"scores":{"a":{"zz":null}}}',
    '{"scores":{"a":true}}',
    '{"location":[1,"a"]}',
    '{"":null}',
    '{"a\\u0000b":1}',
    '{"_metadata":[]}',
    "[" * 5000,
    '{"chunks":' * 300,
    "",
    "nul",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:50].encode("ascii", "replace").decode())
def test_hostile_json_is_refused(text):
    assert errors_of(one, text, "json")
    assert errors_of(several, f"[{text},{{}}]", "json")


_keys = st.sampled_from(
    [*models._FORM, "chunks", "matches", "base64", "dtype", "shape", "value", "$docarray", "is"]
)
_leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(["<f4", "AAAA", "NaN"])
)
_anything = st.recursive(
    _leaves,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(_keys, below, max_size=3)
        | st.dictionaries(_keys | texts, below, max_size=2)
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(_keys, _anything, max_size=3) | _anything)
def test_whatever_comes_in_is_a_document_that_can_go_out_or_an_error(value):
    for adapter, given_ in ((one, value), (several, [value, {}]), (TypeAdapter(Page), value)):
        try:
            made = adapter.validate_python(given_)
        except ValidationError as error:
            json.dumps(error.errors(), default=str).encode()  # FastAPI sends it
        else:
            said = adapter.dump_json(made)
            again = adapter.validate_json(said)
            assert adapter.dump_json(again) == said


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_keys, _anything, max_size=3) | _anything)
def test_whatever_text_comes_in_is_a_document_or_an_error(value):
    text = json.dumps(value)
    for adapter in (one, TypeAdapter(Page), TypeAdapter(PydanticDocument)):
        try:
            adapter.validate_json(text)
        except ValidationError as error:
            json.dumps(error.errors(), default=str).encode()


def test_lists_take_documents_and_dicts():
    doc = Document(id="kept")

    da = several.validate_python([{"id": "a"}, doc, {"id": "b"}])

    assert da[:, "id"] == ["a", "kept", "b"]
    assert da[1] is doc
    assert paths_of(several, [doc, {"weight": "x"}, doc, {"tags": 1}]) == [(1, "weight"), (3, "tags")]
    assert several.validate_python((doc,))[0] is doc


def test_arrays_of_subclasses():
    class Car(Document):
        __slots__ = ()

        @property
        def wheels(self) -> int:
            return self.tags["wheels"]

    class Garage(DocumentArray[Car]):
        pass

    adapter = TypeAdapter(DocumentArray[Car])
    found = adapter.validate_python([{"tags": {"wheels": 4}}, Car(tags={"wheels": 3}), Document(id="plain")])
    assert [doc.wheels for doc in found[:2]] == [4, 3]
    assert {Car} == set(map(type, found))
    assert TypeAdapter(Car).validate_python({"tags": {"wheels": 2}}).wheels == 2
    assert paths_of(TypeAdapter(Car), {"weight": "x"}) == [("weight",)]
    kept = DocumentArray([Document()])
    assert adapter.validate_python(kept) is not kept  # it has documents of another class
    garage = TypeAdapter(Garage).validate_python([{"id": "a"}])
    assert type(garage) is Garage


def test_annotations_of_all_forms():
    T = TypeVar("T", bound=Document)

    class Generics(BaseModel, Generic[T]):
        docs: DocumentArray[T]

    class Forms(BaseModel):
        bare: DocumentArray
        maybe: Document | None = None
        many: list[Document] = []
        by_name: dict[str, DocumentArray[Document]] = {}
        few: Annotated[DocumentArray[Document], Field(description="at most three")] = Field(
            default_factory=DocumentArray
        )

    made = Forms.model_validate(
        {"bare": [{}], "maybe": {"id": "x"}, "many": [{}], "by_name": {"k": [{"id": "y"}]}}
    )
    assert type(made.bare) is DocumentArray
    assert made.maybe is not None
    assert made.maybe.id == "x"
    assert made.by_name["k"][0].id == "y"
    assert Forms.model_validate_json(made.model_dump_json()).by_name["k"][0].id == "y"
    assert paths_of(TypeAdapter(Forms), {"bare": [], "by_name": {"k": [{"id": []}]}}) == [
        ("by_name", "k", 0, "id")
    ]
    assert Generics[Document].model_validate({"docs": [{"id": "a"}]}).docs[0].id == "a"
    assert Generics.model_validate({"docs": [{"id": "a"}]}).docs[0].id == "a"
    assert Forms.model_json_schema()["properties"]["few"]["description"] == "at most three"
    with pytest.raises(FieldTypeError, match="DocumentArray"):
        TypeAdapter(DocumentArray[int])  # pyright: ignore[reportInvalidTypeArguments]


def test_a_document_is_described_once():
    read, written = (Shop.model_json_schema(mode=mode) for mode in ("validation", "serialization"))

    assert read["$defs"] == written["$defs"]
    assert read["properties"]["best"]["$ref"] == "#/$defs/Document"
    assert read["properties"]["goods"]["items"] == {"$ref": "#/$defs/Document"}
    described = read["$defs"]["Document"]
    assert described["additionalProperties"] is False
    assert described["examples"]
    assert all("description" in said for said in described["properties"].values())
    assert described["properties"].keys() >= PydanticDocument.model_fields.keys()
    for example in described["examples"]:
        one.validate_python(example)
    for name, said in described["properties"].items():
        for example in said.get("examples", []):
            one.validate_python({name: example})


def test_what_is_written_is_as_described():
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    validator = jsonschema.Draft202012Validator(one.json_schema())
    validator.check_schema(one.json_schema())

    def documents(said: dict[str, Any]):
        """All of them, each without those below, so that errors name the field."""
        for name in ("chunks", "matches"):
            for below in said.pop(name, ()):
                yield from documents(below)
        yield said

    for doc in everything_array():
        for said in documents(json.loads(one.dump_json(sayable_doc(doc)))):
            wrong = {error.path[0] for error in validator.iter_errors(said)}
            assert {name for name in wrong if said[name].get("$docarray") != "tuple"} == set()
    assert list(validator.iter_errors({"weight": "x", "zz": 1, "chunks": [{"embedding": "x"}]}))


# --- dataclasses ----------------------------------------------------------------------------------------------------


@dataclass
class Part:
    img: Image
    cap: Text
    price: float = 0.0


@dataclass
class Page:
    title: Text
    parts: list[Part] = field(default_factory=list)
    raw: Blob | None = None
    meta: JSON | None = None
    link: URI = None
    stars: int = 3
    sub: Page | None = None
    doc: Document | None = None
    names: dict[str, Text] = field(default_factory=dict)
    photo: Image | None = None
    sound: Audio | None = None
    tuple_: tuple[str, int] | None = None


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    it: T
    n: int = 0


def full_page() -> Page:
    return Page(
        "Tea",
        [Part(np.arange(12, dtype="u1").reshape(2, 2, 3), "green", 2.5), Part("a.png", "black")],
        b"\0\1",
        {"a": [1, None]},
        "https://example.com",
        5,
        Page("below"),
        Document(id="d", tags={"n": 1}),
        {"x": "y"},
        np.ones((2, 2), "f4"),
        np.zeros(4, "f4"),
        ("a", 1),
    )


page = TypeAdapter(Page)


def test_objects_of_dataclasses_are_kept():
    tea = full_page()

    assert page.validate_python(tea) is tea
    assert page.dump_python(tea)["parts"][0]["price"] == 2.5


def test_dicts_documents_and_json_become_objects():
    tea = full_page()

    found = page.validate_json(page.dump_json(tea))

    assert (found.title, found.stars, found.sub, found.names) == ("Tea", 5, Page("below"), {"x": "y"})
    assert (found.meta, found.link, found.tuple_) == ({"a": [1, None]}, "https://example.com", ("a", 1))
    assert difference(found.photo, tea.photo) is None
    assert difference(found.sound, tea.sound) is None
    assert found.doc is not None
    assert found.doc.tags == {"n": 1}
    assert found.parts[1] == Part("a.png", "black")
    assert page.dump_json(found) == page.dump_json(tea)

    shot = np.asarray(tea.parts[0].img)
    assert Document(found).parts[0].img.load_uri_to_image_tensor().tensor.tolist() == shot.tolist()
    assert page.validate_python(Document(Page("x", stars=1))) == Page("x", stars=1)
    assert page.validate_python({"title": "x", "parts": [Part("a", "b")]}) == Page("x", [Part("a", "b")])


def test_json_of_media():
    said = page.dump_python(full_page(), mode="json")

    assert said["parts"][0]["img"].startswith("data:image/png;base64,")
    assert said["parts"][1]["img"] == "a.png"
    assert said["raw"] == "data:application/octet-stream;base64,AAE="
    assert said["photo"] == {"dtype": "<f4", "shape": [2, 2], "base64": "AACAPwAAgD8AAIA/AACAPw=="}
    assert said["doc"]["id"] == "d"
    assert said["tuple_"] == ["a", 1]


def test_media_take_arrays_and_documents():
    found = TypeAdapter(Part).validate_python({"img": [[1, 2], [3, 4]], "cap": "x"})
    assert difference(found.img, np.array([[1, 2], [3, 4]])) is None
    found = TypeAdapter(Part).validate_python({"img": {"uri": "a.png", "tags": {"n": 1}}, "cap": "x"})
    assert isinstance(found.img, Document)
    assert Document(found).img.tags == {"n": 1}


def test_nothing_in_a_field_is_followed(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")

    found = page.validate_python(
        {"title": str(secret), "raw": str(secret), "photo": str(secret), "link": str(secret)}
    )

    assert (found.title, found.raw, found.link) == (str(secret),) * 3
    assert b"secret.txt" in page.dump_json(found)
    assert b'"secret"' not in page.dump_json(found)


def test_errors_of_dataclasses_have_paths():
    assert paths_of(
        page, {"stars": "many", "parts": [{"img": "a", "cap": "b"}, {"img": [[1], [2, 3]]}], "zz": 1}
    ) == [
        ("title",),
        ("parts", 1, "img"),
        ("parts", 1, "cap"),
        ("stars",),
        ("zz",),
    ]
    assert paths_of(page, {"title": "x", "sub": {"title": 1}, "doc": {"weight": "x"}, "meta": "{"}) == [
        ("meta",),
        ("sub", "title"),
        ("doc", "weight"),
    ]
    for wrong in (None, 5, [], "x", Document(text="no page")):
        assert errors_of(page, wrong)


def test_dataclasses_keep_their_rules():
    @dataclass
    class Checked:
        name: Text
        low: int
        high: int
        tag: str = field(default="t", init=False)

        def __post_init__(self):
            if self.low > self.high:
                raise ValueError("low is above high")

    @dataclass(frozen=True)
    class Frozen:
        name: Text

    @dataclass(slots=True)
    class Slotted:
        name: Text
        n: int = 0

    checked = TypeAdapter(Checked)
    made = checked.validate_python({"name": "x", "low": 1, "high": 2})
    assert (made.tag, checked.dump_python(made)) == ("t", {"name": "x", "low": 1, "high": 2})
    assert "low is above high" in errors_of(checked, {"name": "x", "low": 3, "high": 2})[0][1]
    assert paths_of(checked, {"name": "x", "low": 1, "high": 2, "tag": "u"}) == [("tag",)]
    assert checked.json_schema()["required"] == ["name", "low", "high"]
    assert "tag" not in checked.json_schema()["properties"]
    assert TypeAdapter(Frozen).validate_python({"name": "x"}) == Frozen("x")
    slotted = TypeAdapter(Slotted)
    assert slotted.validate_json(slotted.dump_json(Slotted("x", 2))) == Slotted("x", 2)


def test_dataclasses_inherit():
    @dataclass
    class Base:
        name: Text

    @dataclass
    class More(Base):
        n: int

    more = TypeAdapter(More)
    assert more.validate_json(more.dump_json(More("x", 1))) == More("x", 1)
    assert TypeAdapter(Base).validate_python(More("x", 1)) == More("x", 1)


def test_generic_dataclasses():
    class Two(BaseModel):
        text: Box[Text]
        number: Box[int]
        deep: Box[list[Box[Image]]]

    made = Two.model_validate({"text": {"it": "x"}, "number": {"it": 3}, "deep": {"it": [{"it": "a.png"}]}})
    assert (made.text, made.number) == (Box("x"), Box(3))
    assert Document(made.text).it.text == "x"
    assert Document(made.number).tags["it"] == 3
    assert made.deep.it[0].it == "a.png"
    assert Two.model_validate_json(made.model_dump_json()).deep.it[0].it == "a.png"
    assert paths_of(
        TypeAdapter(Two), {"text": {"it": 1}, "number": {"it": "x"}, "deep": {"it": [{"it": 1}]}}
    ) == [
        ("text", "it"),
        ("number", "it"),
        ("deep", "it", 0, "it"),
    ]


def test_media_of_ones_own():
    class Colour:
        def __init__(self, name: str) -> None:
            self.name = name

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Colour) and other.name == self.name

        __hash__ = None  # pyright: ignore[reportAssignmentType]

    register(
        Colour,
        setter=lambda value: Document(text=value.name),
        getter=lambda doc: Colour(doc.text),
    )

    @dataclass
    class Wall:
        colour: Colour
        second: Colour | None = None

    wall = TypeAdapter(Wall)
    said = wall.dump_python(Wall(Colour("red")), mode="json")
    assert said["colour"]["text"] == "red"
    assert wall.validate_python(said) == Wall(Colour("red"))
    assert paths_of(wall, {"colour": "red"}) == [("colour",)]
    assert paths_of(wall, {"colour": {"weight": "x"}}) == [("colour", "weight")]


def test_dataclasses_and_media_in_models():
    class Request(BaseModel):
        page: Page
        cover: Image
        words: list[Text] = []

    made = Request.model_validate_json('{"page": {"title": "x"}, "cover": "a.png", "words": ["a"]}')
    assert made.page == Page("x")
    assert Request.model_validate_json(made.model_dump_json()).page == made.page
    assert paths_of(TypeAdapter(Request), {"page": {"title": 1}, "cover": 5, "words": [1]}) == [
        ("page", "title"),
        ("cover",),
        ("words", 0),
    ]


def test_schemas_of_dataclasses():
    said = page.json_schema()

    assert said["$ref"] == "#/$defs/Page"
    described = said["$defs"]["Page"]
    assert described["required"] == ["title"]
    assert described["properties"]["stars"] == {"default": 3, "title": "Stars", "type": "integer"}
    assert described["properties"]["parts"]["items"] == {"$ref": "#/$defs/Part"}
    assert said["$defs"]["Part"]["properties"]["cap"]["type"] == "string"
    assert (
        page.json_schema(mode="serialization")["$defs"]["Page"]["properties"].keys()
        == described["properties"].keys()
    )
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    validator = jsonschema.Draft202012Validator(said)
    assert [error.message for error in validator.iter_errors(json.loads(page.dump_json(full_page())))] == []


def test_the_schema_of_documents_of_a_dataclass():
    @dataclass
    class Tea:
        name: Text
        price: float
        stars: int | None = None
        sorts: list[str] = field(default_factory=list)

    said = document_schema(Tea)

    assert said["title"] == "TeaDocument"
    tags = said["properties"]["tags"]
    assert tags["required"] == ["price"]
    assert {name: tags["properties"][name]["type"] for name in ("price", "stars", "sorts")} == {
        "price": "number",
        "stars": "integer",
        "sorts": "array",
    }
    assert "name" not in tags["properties"]
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    validator = jsonschema.Draft202012Validator(said)
    assert validator.is_valid(one.dump_python(Document(Tea("x", 2.5)), mode="json"))
    assert not validator.is_valid({"tags": {"price": "much"}})
    assert document_schema(Tea, "#/components/schemas/{model}")["properties"]["chunks"]["anyOf"][0][
        "items"
    ] == {"$ref": "#/components/schemas/Document"}
    with pytest.raises(FieldTypeError, match="no dataclass of docarray"):
        document_schema(Document)


# --- FastAPI --------------------------------------------------------------------------------------------------------


def test_fastapi_takes_and_gives_them():
    fastapi = pytest.importorskip("fastapi", reason='pip install "docarray[serve]"')
    from starlette.testclient import TestClient

    app = fastapi.FastAPI()
    whole = fastapi.Body()

    @app.post("/doc")
    def echo(doc: Document = whole) -> Document:
        doc.tags["seen"] = True
        return doc

    @app.post("/docs-of")
    def echo_all(docs: DocumentArray[Document]) -> DocumentArray[Document]:
        return docs

    @app.post("/shop")
    def echo_model(shop: Shop) -> Shop:
        return shop

    @app.post("/page")
    def echo_page(page: Page) -> Page:
        return page

    @app.post("/old")
    def old(docs: list[PydanticDocument]) -> list[PydanticDocument]:
        return DocumentArray.from_pydantic_model(docs).to_pydantic_model()

    with TestClient(app) as client:
        assert client.post("/doc", json={"id": "a", "weight": "NaN"}).json() == {
            "id": "a",
            "weight": "NaN",
            "tags": {"seen": True},
        }
        assert client.post("/docs-of", json=[{"id": "a", "embedding": [1, 2]}]).json() == [
            {"id": "a", "embedding": [1, 2]}
        ]
        assert client.post("/shop", json={"best": {"id": "a"}, "goods": [{"id": "b"}]}).json() == {
            "best": {"id": "a"},
            "goods": [{"id": "b"}],
        }
        assert client.post("/page", json={"title": "x", "parts": [{"img": "a", "cap": "b"}]}).json()[
            "parts"
        ] == [{"img": "a", "cap": "b", "price": 0.0}]
        assert client.post("/old", json=[{"id": "a", "tags": {"n": 1}}]).json()[0]["tags"] == {"n": 1}

        answer = client.post("/docs-of", json=[{}, {"chunks": [{"tags": 3}]}])
        assert answer.status_code == 422
        assert [error["loc"] for error in answer.json()["detail"]] == [["body", 1, "chunks", 0, "tags"]]
        answer = client.post("/page", json={"title": 5})
        assert [error["loc"] for error in answer.json()["detail"]] == [["body", "title"]]
        for text in HOSTILE:
            assert client.post("/doc", content=text).status_code == 422, text[:80]

        said = client.get("/openapi.json").json()
    schemas = said["components"]["schemas"]
    assert {"Document", "Shop", "Part", "NamedScore"} <= schemas.keys()
    # Of what refers to itself pydantic makes two, which say the same; of documents there is one.
    twice = {name.removesuffix("-Input") for name in schemas if name.endswith("-Input")}
    assert twice == {"Page", "PydanticDocument"}
    assert (
        schemas["PydanticDocument-Input"]["description"]
        == "A document, with blobs in base64 and arrays as lists."
    )
    body = said["paths"]["/docs-of"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["items"] == {"$ref": "#/components/schemas/Document"}
    answered = said["paths"]["/doc"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answered == {"$ref": "#/components/schemas/Document"}
    assert schemas["Document"]["examples"]
    validator = pytest.importorskip("openapi_spec_validator", reason="pip install openapi-spec-validator")
    validator.validate(said)


# --- without pydantic -----------------------------------------------------------------------------------------------


def test_importing_the_library_does_not_import_pydantic():
    code = """
import sys, docarray, docarray.web
from docarray import Document, DocumentArray, dataclass
from docarray.typing import Image, Text
@dataclass
class Page:
    title: Text
    photo: Image = None
Page(Document(Page('x'))), DocumentArray([Document(Page('x'))]).to_json()
assert not [name for name in sys.modules if name.partition('.')[0] in ('pydantic', 'pydantic_core')]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_without_pydantic_it_is_said_what_to_install():
    code = """
import sys
sys.modules['pydantic'] = None
import docarray.web
from docarray import Document, DocumentArray
from docarray.errors import MissingExtra
for call in (Document().to_pydantic_model, DocumentArray().to_pydantic_model, Document.get_json_schema,
             lambda: docarray.web.PydanticDocument):
    try:
        call()
    except MissingExtra as error:
        assert 'pip install "docarray[web]"' in str(error), error
    else:
        raise AssertionError(call)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
