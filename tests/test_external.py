"""Deployments that run elsewhere."""

import contextlib
import socket

import pytest

from docarray import Document, DocumentArray
from docarray.errors import BadValue
from docarray.flow import Deployment, Executor, Flow, requests
from docarray.flow.external import addresses
from docarray.flow.faults import DeadlineExceeded, ExecutorError, NoEndpoint, Unavailable
from docarray.flow.spec import DeploymentSpec

pytest.importorskip("grpc", reason='pip install "docarray[grpc]"')
pytest.importorskip("uvicorn", reason='pip install "docarray[serve]"')
SCHEMES = {"http": "http", "websocket": "ws", "grpc": "grpc"}


class Far(Executor):
    def __init__(self, word="far", **kwargs):
        super().__init__(**kwargs)
        self.word = word

    @requests(on="/say")
    def say(self, docs, parameters, **kwargs):
        docs.texts = [f"{text} {self.word}" for text in docs.texts]
        return {"word": self.word, "k": parameters.get("k")}

    @requests(on="/fails")
    def fails(self, docs, **kwargs):
        raise ValueError("far away")

    @requests(on="/slow")
    async def slow(self, docs, **kwargs):
        import asyncio

        await asyncio.sleep(30)


class Near(Executor):
    @requests(on="/say")
    def say(self, docs, **kwargs):
        docs.texts = [f"{text}!" for text in docs.texts]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(params=SCHEMES)
def protocol(request):
    return request.param


@contextlib.contextmanager
def far(protocol, word="far", **options):
    with Deployment(
        uses=Far, uses_with={"word": word}, name="far", protocol=protocol, **options
    ) as deployment:
        yield f"{SCHEMES[protocol]}://127.0.0.1:{deployment.port}"


def test_a_flow_asks_it(protocol):
    with far(protocol) as url, Flow().add(name="there", external=True, host=url).add(uses=Near) as flow:
        sent = DocumentArray([Document(text="tea")])
        answer = flow.post("/say", sent, parameters={"k": 3}, return_responses=True)[0]
        assert answer.docs.texts == ["tea far!"]
        assert sent.texts == ["tea"]
        assert answer.parameters["__results__"] == {"there": {"word": "far", "k": 3}}
        assert flow.is_flow_ready()
        with pytest.raises(ExecutorError, match="far raised ValueError: far away"):
            flow.post("/fails", Document(text="a"))
        with pytest.raises(DeadlineExceeded):
            flow.post("/slow", Document(text="a"), timeout=0.5)


def test_two_addresses_share_the_requests(protocol):
    with (
        far(protocol, "one") as one,
        far(protocol, "two") as two,
        Flow().add(name="there", external=True, host=[one, two]) as flow,
    ):
        said = flow.post("/say", [Document(text="a") for _ in range(20)], request_size=1).texts
        assert set(said) == {"a one", "a two"}
        assert [line["served"] > 0 for line in flow.status()["there"]["replicas"]] == [True, True]
        assert sum(line["served"] for line in flow.status()["there"]["replicas"]) == 20


def test_one_that_is_gone_is_passed_over(protocol):
    with contextlib.ExitStack() as ends:
        one = ends.enter_context(far(protocol, "one"))
        gone = contextlib.ExitStack()
        two = gone.enter_context(far(protocol, "two"))
        flow = ends.enter_context(Flow().add(name="there", external=True, host=[one, two]))
        for _ in range(4):
            flow.post("/say", Document(text="a"))
        gone.close()
        assert {flow.post("/say", Document(text="a")).texts[0] for _ in range(10)} == {"a one"}
        assert flow.is_flow_ready()


def test_none_is_there(protocol):
    url = f"{SCHEMES[protocol]}://127.0.0.1:{free_port()}"
    with Flow().add(name="there", external=True, host=url) as flow:
        assert not flow.is_flow_ready()
        with pytest.raises(Unavailable, match="cannot be reached"):
            flow.post("/say", Document(text="a"))


def test_it_comes_later():
    port = free_port()
    with Flow().add(name="there", external=True, host="127.0.0.1", port=port) as flow:
        assert not flow.is_flow_ready()
        with far("grpc", port=port):
            assert flow.is_flow_ready()
            assert flow.post("/say", Document(text="a")).texts == ["a far"]


def test_an_endpoint_that_it_does_not_have(protocol):
    with (
        far(protocol) as url,
        Flow().add(name="there", external=True, host=url) as flow,
        pytest.raises(NoEndpoint, match="/nothing"),
    ):
        flow.post("/nothing", Document(text="a"))


def test_addresses():
    def of(**said):
        return [one.url for one in addresses(DeploymentSpec(name="a", external=True, **said))]

    assert of(port=5) == ["grpc://127.0.0.1:5"]
    assert of(host="a,b:3", port=5) == ["grpc://a:5", "grpc://b:3"]
    assert of(host=["a", "b"], port=[1, 2]) == ["grpc://a:1", "grpc://b:2"]
    assert of(host="a", port=[1, 2], tls=True) == ["grpcs://a:1", "grpcs://a:2"]
    with pytest.raises(BadValue, match="2 hosts and 3 ports"):
        of(host=["a", "b"], port=[1, 2, 3])
    with pytest.raises(BadValue, match="port"):
        of(host="a")


def test_a_key_goes_along_as_metadata():
    with (
        far("grpc", auth="secret") as url,
        Flow().add(name="there", external=True, host=url, grpc_metadata={"x-api-key": "secret"}) as flow,
    ):
        assert flow.post("/say", Document(text="a")).texts == ["a far"]
