"""What the OpenAPI document says of the REST routes, held against what they do, by schemathesis."""

import collections
import contextlib

import numpy as np
import pytest

from docarray import Document, DocumentArray, dataclass
from docarray.typing import Text

INSTALL = "the OpenAPI document is tested by schemathesis: pip install schemathesis"
pytest.importorskip("starlette", reason='the REST routes need starlette: pip install "docarray[serve]"')
schemathesis = pytest.importorskip("schemathesis", reason=INSTALL)

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis.config import SchemathesisConfig  # noqa: E402
from schemathesis.generation import GenerationMode  # noqa: E402

from docarray.web.rest import rest_app  # noqa: E402
from docarray.web.service import Service  # noqa: E402

pytestmark = [
    # Warnings of schemathesis and of what it stands on, about one another.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis"),
]

# What a schema cannot say is answered 422: that a vector has another length, or a filter an operator that there is not.
CONFIG = {
    "checks": {
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "404", "409", "422"],
        },
    },
}
READ = [
    "GET /search",
    "POST /search",
    "GET /documents",
    "GET /documents/count",
    "GET /documents/{id}",
    "GET /info",
]
READ += ["HEAD /documents/{id}"]
WRITE = ["POST /documents", "PUT /documents/{id}", "PATCH /documents/{id}", "DELETE /documents/{id}"]
WRITE += ["POST /documents/delete"]


def shelf():
    return DocumentArray(
        Document(
            id=key,
            text=f"green tea {at}",
            tags={"price": at, "maker": {"name": "x"}},
            embedding=np.array([at, 1.0, 2.0], "f4"),
            chunks=[Document(text="a leaf", embedding=np.ones(3, "f4"))],
        )
        for at, key in enumerate(["a", "b/c", "", "count", "ä ö", "0"])
    )


@dataclass
class Tea:
    """A tea of a shop, whose tags are typed."""

    title: Text
    price: float
    origins: list[str]
    organic: bool = False


def shop():
    return DocumentArray(
        Document(Tea(title="Sencha", price=at, origins=["Uji"]), id=key)
        for at, key in enumerate(["a", "b/c"])
    )


class Served:
    """A service, and the operations that its document describes."""

    def __init__(self, docs, **options):
        self.docs = docs
        self.service = Service(docs, **options)
        config = SchemathesisConfig.from_dict(CONFIG)
        schema = schemathesis.openapi.from_asgi("/openapi.json", rest_app(self.service), config=config)
        self.operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}

    def ask(self, label, mode, examples, key=None, **parts):
        """How often each status was the answer to requests that are, or are not, as the document says.

        With a key they are of this document, which is there at each of them.
        """
        seen = collections.Counter()
        if key is not None:
            parts["path_parameters"] = {"id": key}

        @given(case=self.operations[label].as_strategy(generation_mode=mode, **parts))
        @settings(
            max_examples=examples, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case):
            if key is not None and key not in self.docs:
                self.docs.append(Document(id=key, text="green tea"))
            response = case.call()
            seen[response.status_code] += 1
            assert response.status_code < 500, response.text
            case.validate_response(response)

        ask()
        return seen


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def served(request, tmp_path_factory):
    with contextlib.ExitStack() as stack:
        docs = shelf()
        if request.param == "sqlite":
            path = str(tmp_path_factory.mktemp("shelf") / "shelf.db")
            docs = DocumentArray(docs, storage="sqlite", config={"connection": path})
            stack.enter_context(contextlib.closing(docs))
        made = Served(docs, writable=True)
        stack.callback(made.service.close)
        yield made


@pytest.fixture(scope="module")
def typed():
    made = Served(shop(), writable=True, schema=Tea)
    with contextlib.closing(made.service):
        yield made


def test_every_route_is_described(served):
    assert {*READ, *WRITE} == served.operations.keys()


@pytest.mark.parametrize("label", [*READ, *WRITE])
def test_what_is_asked_as_described_is_answered_as_described(served, label):
    # Nearly all searches that are made up have a vector of another length than those that are there.
    query = {"query": {"text": "green", "limit": 3}} if label == "GET /search" else {}
    seen = served.ask(label, GenerationMode.POSITIVE, 15, **query)
    if label in ("GET /search", "POST /search", "GET /documents", "GET /documents/count", "GET /info"):
        assert seen[200], seen
    if label in ("POST /documents", "PUT /documents/{id}"):
        assert seen[200] + seen[201] > 2, seen


@pytest.mark.parametrize("label", [label for label in READ + WRITE if "{id}" in label])
def test_a_document_that_is_there_is_answered_as_described(served, label):
    seen = served.ask(label, GenerationMode.POSITIVE, 15, key="a")
    assert not seen[404], seen
    assert seen[204 if "DELETE" in label else 200], seen


@pytest.mark.parametrize(
    "label", [label for label in READ + WRITE if label != "GET /info" and "HEAD" not in label]
)
def test_what_is_not_as_described_is_refused(served, label):
    seen = served.ask(label, GenerationMode.NEGATIVE, 6)
    assert not seen.keys() & {200, 201, 204}, seen


@pytest.mark.parametrize(
    "label", ["POST /documents", "PUT /documents/{id}", "PATCH /documents/{id}", "GET /documents"]
)
def test_tags_are_of_the_types_that_are_described(typed, label):
    key = "a" if "{id}" in label else None
    typed.ask(label, GenerationMode.POSITIVE, 15, key)
    typed.ask(label, GenerationMode.NEGATIVE, 6, key)
