"""The OpenAPI document: that it is one, that it says what there is, and that its examples are true."""

import contextlib
import json
import re

import numpy as np
import pytest

pytest.importorskip("starlette", reason='the REST routes need starlette: pip install "docarray[serve]"')

from starlette.testclient import TestClient

from docarray import Document, DocumentArray, dataclass
from docarray.typing import Image, Text
from docarray.web.limits import Limits
from docarray.web.openapi import HEAVY, openapi
from docarray.web.rest import rest_app
from docarray.web.service import Service

jsonschema = pytest.importorskip(
    "jsonschema", reason="answers are held against their schemas: pip install jsonschema"
)


@dataclass
class Tea:
    """A tea of a shop."""

    title: Text
    price: float
    origins: list[str]
    organic: bool = False
    picture: Image = None


def teas():
    return DocumentArray(
        [
            Document(
                Tea(title="Sencha", price=3.5, origins=["Uji"]),
                id="tea-1",
                embedding=np.array([1.0, 2.0], "f4"),
            ),
            Document(Tea(title="Assam", price=2, origins=[], organic=True), id="tea-2"),
        ]
    )


def described(writable=True, secured=False, root_path="", docs=None, **options):
    with contextlib.closing(
        Service(DocumentArray() if docs is None else docs, writable=writable, **options)
    ) as service:
        return json.loads(json.dumps(openapi(service, secured=secured, root_path=root_path)))


def validator(document, schema):
    """What holds values against a schema of the document."""
    components = {"components": document["components"]}
    return jsonschema.Draft202012Validator({**components, **schema})


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield f"{method.upper()} {path}", operation


def refs(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from refs(item)


VARIANTS = {
    "reading": {"writable": False},
    "writing": {},
    "secured": {"secured": True, "root_path": "/shop"},
    "typed": {"schema": Tea},
    "typed for reading": {"schema": Tea, "writable": False},
}


@pytest.fixture(params=VARIANTS, ids=str)
def document(request):
    return described(**VARIANTS[request.param])


def test_it_is_one(document):
    validators = pytest.importorskip(
        "openapi_spec_validator", reason="the document is validated: pip install openapi-spec-validator"
    )
    validators.validate(document)


def test_all_that_it_refers_to_is_in_it_and_all_that_is_in_it_is_referred_to(document):
    named = {*refs(document)}
    for ref in named:
        _, _, kind, name = ref.split("/")
        assert name in document["components"][kind], ref
    kept = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set() == kept - named


def test_operations_have_names_of_their_own(document):
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len({*names})
    assert all(re.fullmatch("[a-z][A-Za-z]+", name) for name in names)


def test_examples_are_what_the_schemas_say(document):
    checked = 0

    def walk(value):
        nonlocal checked
        if isinstance(value, list):
            for item in value:
                walk(item)
        if not isinstance(value, dict):
            return
        if isinstance(value.get("examples"), list):  # of a schema
            for example in value["examples"]:
                validator(document, {key: item for key, item in value.items() if key != "examples"}).validate(
                    example
                )
                checked += 1
        schema = value.get("schema")
        if isinstance(schema, dict):
            given = [value["example"]] if "example" in value else []
            given += [item["value"] for item in value.get("examples", {}).values()]
            for example in given:
                validator(document, schema).validate(example)
                checked += 1
        for item in value.values():
            walk(item)

    walk(document)
    assert checked > 20


def test_it_describes_the_routes_that_there_are():
    for writable in (False, True):
        paths = described(writable)["paths"]
        with contextlib.closing(Service(DocumentArray(), writable=writable)) as service:
            app = rest_app(service)
            found = {route.path.replace(":path", "") for route in app.routes}
            assert found == {*paths, "/openapi.json"}
            with TestClient(app) as client:
                for path, item in paths.items():
                    allowed = client.request("TRACE", path.replace("{id}", "x")).headers["allow"].split(", ")
                    named = {name.upper() for name in item if name != "parameters"} | {"HEAD"}
                    if path in (
                        "/documents/count",
                        "/documents/delete",
                    ):  # all else there is of documents called so
                        named |= {name.upper() for name in paths["/documents/{id}"] if name != "parameters"}
                        named -= {"POST"}
                    assert named == {*allowed} | {"HEAD"}


def test_what_is_served_for_reading_says_nothing_of_writing():
    document = described(False)
    assert {"get", "post", "head"} == {
        method for item in document["paths"].values() for method in item if method != "parameters"
    }
    assert ["POST /search"] == [name for name, _ in operations(document) if name.startswith("POST")]
    assert not {"Written", "Deleted", "Ids", "Change"} & document["components"]["schemas"].keys()
    assert "deleted" not in document["info"]["description"]


def test_limits_stand_in_it():
    limits = Limits(
        page=50, usual_page=7, longest_id=99, vector=12, text=34, sort_keys=2, documents=5, regex=True
    )
    document = described(limits=limits)
    parameters = {one["name"]: one for one in document["paths"]["/documents"]["get"]["parameters"]}
    assert (50, 7) == (parameters["first"]["schema"]["maximum"], parameters["first"]["schema"]["default"])
    assert 2 == parameters["sort"]["schema"]["maxItems"]
    assert 99 == document["paths"]["/documents/{id}"]["parameters"][0]["schema"]["maxLength"]
    schemas = document["components"]["schemas"]
    assert (12, 34) == (schemas["Vector"]["maxItems"], schemas["Search"]["properties"]["text"]["maxLength"])
    assert 5 == schemas["Ids"]["properties"]["ids"]["maxItems"]
    assert "$regex" in schemas["Filter"]["description"]
    assert "$regex" not in described()["components"]["schemas"]["Filter"]["description"]


def test_every_operation_says_what_can_be_wrong(document):
    secured = "security" in document
    for name, operation in operations(document):
        statuses = operation["responses"].keys()
        assert {"400", "503", "504"} <= statuses, name
        assert secured == ("401" in statuses), name
        assert ("requestBody" in operation) == ({"413", "415"} <= statuses), name
        assert ("404" in statuses) == (
            "{id}" in name or name.endswith(("/search", "/delete"))
        ) or "PUT" in name, name


def test_a_key_is_said_where_one_is_wanted():
    document = described(secured=True, root_path="/shop")
    assert [{"bearer": []}, {"key": []}] == document["security"]
    assert {"bearer", "key"} == document["components"]["securitySchemes"].keys()
    assert [{"url": "/shop"}] == document["servers"]
    assert not {"security", "servers"} & described().keys()


def test_tags_of_a_dataclass_are_typed():
    document = described(schema=Tea, name="teas")
    assert "teas" == document["info"]["title"]
    page = document["components"]["schemas"]["Page"]
    tags = page["properties"]["tags"]
    assert {"price", "origins", "organic"} == tags["properties"].keys()
    assert "number" == tags["properties"]["price"]["type"]
    assert {"type": "string"} == tags["properties"]["origins"]["items"]
    assert ["price", "origins"] == tags["required"]
    good = validator(document, {"$ref": "#/components/schemas/Page"})
    assert good.is_valid({"tags": {"price": 3, "origins": []}, "chunks": [{"tags": {"price": "free"}}]})
    assert not good.is_valid({"tags": {"price": "free", "origins": []}})
    items = document["paths"]["/documents"]["get"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]["items"]
    assert {"$ref": "#/components/schemas/Page"} == items


@pytest.mark.parametrize("schema", [None, Tea], ids=["plain", "typed"])
def test_answers_are_what_it_says(schema):
    with (
        contextlib.closing(Service(teas(), writable=True, schema=schema)) as service,
        TestClient(rest_app(service)) as client,
    ):
        document = client.get("/openapi.json").json()

        def holds(operation, response):
            said = operation["responses"][str(response.status_code)]
            if "$ref" in said:
                said = document["components"]["responses"][said["$ref"].rpartition("/")[2]]
            schema = said["content"][response.headers["content-type"]]["schema"]
            validator(document, schema).validate(response.json())
            return response

        paths = document["paths"]
        assert 2 == len(holds(paths["/documents"]["get"], client.get("/documents")).json())
        every = holds(paths["/documents"]["get"], client.get("/documents?fields=*")).json()
        assert {*HEAVY[:1]} <= every[0].keys()
        holds(paths["/documents/{id}"]["get"], client.get("/documents/tea-1?fields=text"))
        holds(paths["/documents/{id}"]["get"], client.get("/documents/none"))
        holds(paths["/search"]["get"], client.get("/search?vector=[1,1]&filter={}&text=x"))
        holds(paths["/search"]["post"], client.post("/search", json={"like": "tea-1"}))
        holds(paths["/search"]["post"], client.post("/search", json={"like": "tea-2"}))
        holds(paths["/documents/count"]["get"], client.get("/documents/count"))
        holds(paths["/info"]["get"], client.get("/info"))
        holds(paths["/documents"]["post"], client.post("/documents", json=every))
        holds(paths["/documents"]["post"], client.post("/documents", json={"textt": 1}))
        holds(
            paths["/documents/{id}"]["patch"], client.patch("/documents/tea-2", json={"tags": {"price": 4}})
        )
        holds(paths["/documents/delete"]["post"], client.post("/documents/delete", json={"ids": ["tea-2"]}))
        holds(paths["/documents/delete"]["post"], client.post("/documents/delete", content=b"{}"))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"price": "free", "origins": []}, "tags.price is a number; got 'free'"),
        ({"price": True, "origins": []}, "tags.price is a number"),
        ({"price": 1, "origins": ["Uji", 5]}, "tags.origins.1 is text; got 5"),
        ({"price": 1}, "tags has no 'origins'"),
        ({"price": 1, "origins": [], "organic": "no"}, "tags.organic is true or false"),
    ],
    ids=str,
)
def test_tags_that_are_not_of_the_class_are_not_written(tags, words):
    docs = teas()
    with (
        contextlib.closing(Service(docs, writable=True, schema=Tea)) as service,
        TestClient(rest_app(service)) as client,
    ):
        document = openapi(service)
        page = validator(document, {"$ref": "#/components/schemas/Page"})
        change = validator(document, {"$ref": "#/components/schemas/Change"})
        assert not page.is_valid({"tags": tags})
        binary = {"Content-Type": "application/vnd.docarray"}
        for response in (
            client.post("/documents", json=[{"id": "new"}, {"id": "tea-2", "tags": tags}]),
            client.put("/documents/tea-2", json={"tags": tags}),
            client.post(
                "/documents",
                content=DocumentArray([Document(id="tea-2", tags=tags)]).to_bytes(),
                headers=binary,
            ),
        ):
            assert 422 == response.status_code
            assert f"'tea-2': {words}" in response.json()["detail"]
        patched = client.patch("/documents/tea-2", json={"tags": tags})
        assert change.is_valid({"tags": tags}) == (200 == patched.status_code)
        assert 2 == len(docs)


def test_tags_of_the_class_can_be_changed_but_not_taken_away():
    docs = teas()
    with (
        contextlib.closing(Service(docs, writable=True, schema=Tea)) as service,
        TestClient(rest_app(service)) as client,
    ):
        change = validator(openapi(service), {"$ref": "#/components/schemas/Change"})
        for tags, fits in (
            ({"price": 4}, True),
            ({"organic": None, "note": "new"}, True),
            ({"price": None}, False),
            ({"origins": ["Uji", None]}, False),
            (None, False),
        ):
            assert fits == change.is_valid({"tags": tags})
            done = client.patch("/documents/tea-2", json={"tags": tags})
            assert (200 if fits else 422) == done.status_code, done.text
        assert {"price": 4, "note": "new", "origins": []} == dict(docs["tea-2"].tags)
