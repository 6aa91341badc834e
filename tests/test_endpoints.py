"""What the OpenAPI document of a Flow promises: all endpoints, with the documents and parameters that handlers take."""

import dataclasses
import json

import httpx2
import openapi_spec_validator
import pytest
from flow_served import served
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from docarray import Document, DocumentArray, dataclass
from docarray.flow import Executor, Flow, requests
from docarray.flow.endpoints import openapi
from docarray.typing import Text


@dataclass
class Page:
    title: Text
    price: float = 0.0


@dataclasses.dataclass
class Wanted:
    limit: int = 3
    words: str = ""


class Scale(BaseModel):
    factor: float


class Reader(Executor):
    @requests(on="/pages")
    def pages(self, doc: Page) -> Page:
        """Reads pages.

        One after the other.
        """
        return doc

    @requests(on="/search")
    def search(self, docs: DocumentArray, parameters: Wanted):
        """Looks for words."""

    @requests(on="talk")
    def talk(self, docs, **kwargs):
        yield Document()


class Scaler(Executor):
    @requests(on=["/search", "/scale"])
    def scale(self, docs, parameters: Scale):
        """Makes vectors longer."""


def described(flow, **options):
    with flow:
        return openapi(flow._running, flow.spec.gateway, **options)


@pytest.fixture(scope="module")
def said():
    return described(Flow("shop", title="Shop", description="Of pages.").add(uses=Reader).add(uses=Scaler))


def body(said, path, method="post"):
    operation = said["paths"][path][method]
    return operation["requestBody"]["content"]["application/json"]["schema"]["properties"]


def test_it_is_one(said):
    openapi_spec_validator.validate(said)
    assert (said["info"]["title"], said["info"]["description"]) == ("Shop", "Of pages.")


def test_all_endpoints_are_paths(said):
    posted = {path for path, methods in said["paths"].items() if "post" in methods}
    assert posted == {"/pages", "/search", "/talk", "/scale", "/post"}
    assert {"get"} == {*said["paths"]["/dry_run"]}


def test_crud_has_the_methods_of_old():
    class Crud(Executor):
        @requests(on=["/index", "/update", "/delete"])
        def any(self, docs, **kwargs): ...

    paths = described(Flow().add(uses=Crud))["paths"]
    assert [{*paths[path]} for path in ("/index", "/update", "/delete")] == [
        {"post"},
        {"post", "put"},
        {"post", "delete"},
    ]


def test_identities_are_of_one_operation_each(said):
    found = [operation["operationId"] for methods in said["paths"].values() for operation in methods.values()]
    assert len(found) == len({*found})


def test_what_docstrings_say(said):
    operation = said["paths"]["/pages"]["post"]
    assert operation["summary"] == "Reads pages."
    assert operation["description"].endswith("One after the other.")
    assert said["paths"]["/search"]["post"]["description"] == "Looks for words.\n\nMakes vectors longer."


def test_parameters_are_those_of_the_class(said):
    assert body(said, "/scale")["parameters"] == {"$ref": "#/components/schemas/Scale"}
    assert said["components"]["schemas"]["Scale"]["required"] == ["factor"]
    assert {*said["components"]["schemas"]["Wanted"]["properties"]} == {"limit", "words"}
    assert body(said, "/search")["parameters"] == {
        "allOf": [{"$ref": "#/components/schemas/Wanted"}, {"$ref": "#/components/schemas/Scale"}]
    }
    assert body(said, "/talk")["parameters"] == {"type": "object"}


def test_documents_of_a_dataclass_are_typed(said):
    several = body(said, "/pages")["data"]["anyOf"][0]
    assert several["items"] == {"$ref": "#/components/schemas/PageDocument"}
    tags = said["components"]["schemas"]["PageDocument"]["properties"]["tags"]
    assert tags["properties"]["price"]["type"] == "number"
    gives = said["paths"]["/pages"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert gives["allOf"][1]["properties"]["data"]["items"] == several["items"]


def test_generators_give_events(said):
    contents = [said["paths"][path]["post"]["responses"]["200"]["content"] for path in ("/talk", "/scale")]
    assert ["text/event-stream" in one for one in contents] == [True, False]


def test_two_classes_of_one_name_are_two():
    def made(kind):
        class Same(BaseModel):
            value: kind

        class One(Executor):
            @requests(on=f"/{kind.__name__}")
            def answer(self, docs, parameters: Same): ...

        return One

    found = described(Flow().add(uses=made(int)).add(uses=made(str)))
    kinds = [
        found["components"]["schemas"][body(found, path)["parameters"]["$ref"].rpartition("/")[2]][
            "properties"
        ]["value"]
        for path in ("/int", "/str")
    ]
    assert [kind["type"] for kind in kinds] == ["integer", "string"]


def test_keys_and_where_it_is_mounted():
    found = described(Flow().add(uses=Reader), secured=True, root_path="/shop")
    assert found["servers"] == [{"url": "/shop"}]
    assert found["security"] == [{"bearer": []}, {"key": []}]
    assert "401" in found["paths"]["/search"]["post"]["responses"]
    openapi_spec_validator.validate(found)


def test_executors_of_other_processes_are_described_by_their_class():
    found = described(Flow().add(uses=Scaler, engine="process"))
    assert body(found, "/scale")["parameters"] == {"$ref": "#/components/schemas/Scale"}


def test_answers_are_what_it_says():
    with served(Flow(metrics=False).add(uses=Reader)) as url:
        said = httpx2.get(f"{url}/openapi.json").json()
        good = httpx2.post(f"{url}/search", json={"data": [{"text": "tea"}], "parameters": {"limit": 2}})
        bad = httpx2.post(f"{url}/search", json={"parameters": {"limit": "many"}})
    for response, status in ((good, "200"), (bad, "422")):
        operation = said["paths"]["/search"]["post"]["responses"][status]
        if "$ref" in operation:
            operation = said["components"]["responses"][status]
        schema = operation["content"][response.headers["content-type"]]["schema"]
        whole = {**schema, "components": said["components"]}
        assert not [error.message for error in Draft202012Validator(whole).iter_errors(response.json())]
    assert json.loads(bad.content)["detail"].startswith("parameters.limit")


def test_executors_of_other_processes_say_what_they_take():
    path = f"{__name__}:Scaler"
    found = described(Flow().add(uses=path, engine="process"))
    assert found["paths"]["/scale"] == described(Flow().add(uses=Scaler))["paths"]["/scale"]
    assert body(found, "/scale")["parameters"] == {"$ref": "#/components/schemas/Scale"}
    typed = described(Flow().add(uses=f"{__name__}:Reader", engine="process"))
    assert typed["components"] == described(Flow().add(uses=Reader))["components"]
    assert [*described(Flow().add(uses=Reader))["paths"]] == [*typed["paths"]]
