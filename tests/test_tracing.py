from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("opentelemetry.sdk", reason="pip install opentelemetry-sdk")

from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from docarray import Document, DocumentArray
from docarray.errors import BadValue, FieldTypeError
from docarray.flow import Client, Executor, Flow, dynamic_batching, requests
from docarray.flow.faults import DeadlineExceeded, ExecutorError, NoEndpoint

PROTOCOLS = ("http", "websocket", "grpc")
ROOT = Path(__file__).parents[1]


def ids():
    """Of the span that is current: trace, span."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}", f"{found.span_id:016x}"


class Plain(Executor):
    @requests(on="/work")
    def work(self, docs, tracing_context, **kwargs):
        told = trace.get_current_span(tracing_context).get_span_context()
        docs[:, "tags__plain"] = [[*ids(), f"{told.span_id:016x}"] for _ in docs]

    @requests(on="/bad")
    def bad(self, docs, **kwargs):
        raise KeyError("secret")


class Awaited(Executor):
    @requests(on="/work")
    async def work(self, docs, tracing_context, **kwargs):
        await asyncio.sleep(0)
        told = trace.get_current_span(tracing_context).get_span_context()
        docs[:, "tags__awaited"] = [[*ids(), f"{told.span_id:016x}"] for _ in docs]


class Parts(Executor):
    @requests(on="/parts")
    def parts(self, docs, **kwargs):
        for number in range(3):
            yield Document(tags={"ids": list(ids()), "number": number})

    @requests(on="/aparts")
    async def aparts(self, docs, **kwargs):
        for number in range(3):
            await asyncio.sleep(0)
            yield Document(tags={"ids": list(ids()), "number": number})


class Slow(Executor):
    @requests(on="/slow")
    async def slow(self, docs, **kwargs):
        await asyncio.sleep(20)


class Spans:
    """A provider, and what it was given."""

    def __init__(self, **options):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def all(self):
        return self.exporter.get_finished_spans()

    def __getitem__(self, name):
        (found,) = [span for span in self.all() if span.name == name]
        return found

    def __contains__(self, name):
        return any(span.name == name for span in self.all())


@pytest.fixture
def spans():
    found = Spans()
    yield found
    found.provider.shutdown()


@pytest.fixture(scope="module", params=["inline", "process"])
def shop(request):
    """A Flow that is served by all protocols, and its spans."""
    found = Spans()
    flow = flow_of(found, request.param, protocol=PROTOCOLS, graphql=True).add(name="parts", uses=Parts)
    with flow:
        yield flow, found
    found.provider.shutdown()


def asking(shop, protocol):
    """A client, and the spans, of which there are none yet."""
    flow, spans = shop
    spans.exporter.clear()
    if protocol is None:
        return Client(flow, tracing=spans.provider), spans
    return Client(port=flow.ports[protocol], protocol=protocol, tracing=spans.provider), spans


def mark(span):
    return f"{span.context.span_id:016x}"


def is_below(child, parent):
    return (child.context.trace_id, child.parent.span_id) == (parent.context.trace_id, parent.context.span_id)


def flow_of(spans, engine, **options):
    return (
        Flow("shop", engine=engine, tracing=spans.provider, **options)
        .add(name="plain", uses=Plain)
        .add(name="awaited", uses=Awaited)
    )


# ---------------------------------------------------------------------------------------------- one trace


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_trace_from_client_to_handler(shop, protocol):
    client, spans = asking(shop, protocol)
    with client:
        (doc,) = client.post("/work", Document())

    asked, gateway, plain, awaited = (
        spans[name] for name in ("post /work", "shop /work", "plain", "awaited")
    )
    assert asked.parent is None
    assert is_below(gateway, asked)
    assert is_below(plain, gateway)
    assert is_below(awaited, gateway)
    kinds = [one.kind for one in (asked, gateway, plain, awaited)]
    assert kinds == [SpanKind.CLIENT, SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.INTERNAL]
    # What is current in a handler, and what it is told, is the span of its deployment; in another process too.
    number = f"{asked.context.trace_id:032x}"
    assert doc.tags["plain"] == [number, mark(plain), mark(plain)]
    assert doc.tags["awaited"] == [number, mark(awaited), mark(awaited)]
    assert gateway.attributes["docarray.request_id"] == asked.attributes["docarray.request_id"]
    assert plain.attributes["docarray.documents"] == 1
    assert not any(one.status.status_code is StatusCode.ERROR for one in spans.all())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_several_requests_at_once_keep_their_traces(shop, protocol):
    client, spans = asking(shop, protocol)
    with client:
        docs = client.post("/work", DocumentArray.empty(12), request_size=1)

    asked = {f"{span.context.trace_id:032x}" for span in spans.all() if span.name == "post /work"}
    assert len(asked) == 12
    assert {doc.tags["plain"][0] for doc in docs} == asked
    for doc in docs:
        assert doc.tags["plain"][0] == doc.tags["awaited"][0]


def test_what_is_current_where_it_is_asked_is_the_parent(spans):
    tracer = spans.provider.get_tracer("mine")
    with flow_of(spans, "inline") as flow, tracer.start_as_current_span("outer"):
        flow.post("/work", Document())

    assert is_below(spans["shop /work"], spans["outer"])
    assert spans["shop /work"].kind is SpanKind.INTERNAL


def test_a_client_of_a_flow_of_this_process(shop):
    client, spans = asking(shop, None)
    with client:
        client.post("/work", Document())

    assert is_below(spans["shop /work"], spans["post /work"])
    assert spans["shop /work"].kind is SpanKind.INTERNAL


def test_what_was_current_at_the_start_has_nothing_to_do_with_requests(spans):
    tracer = spans.provider.get_tracer("mine")
    with tracer.start_as_current_span("outer"), flow_of(spans, "inline", protocol="http") as flow:
        posted(flow, "/work")

    assert spans["shop /work"].parent is None


@pytest.mark.parametrize("protocol", [*PROTOCOLS, None])
@pytest.mark.parametrize("endpoint", ["/parts", "/aparts"])
def test_streams(shop, protocol, endpoint):
    client, spans = asking(shop, protocol)
    with client:
        docs = [doc for part in client.stream(endpoint, Document()) for doc in part]
        outside = ids()

    asked, gateway, node = (spans[name] for name in (f"post {endpoint}", f"shop {endpoint}", "parts"))
    assert is_below(gateway, asked)
    assert is_below(node, gateway)
    assert [tuple(doc.tags["ids"]) for doc in docs] == [(f"{asked.context.trace_id:032x}", mark(node))] * 3
    assert outside[1] == "0" * 16  # nothing of it is left current


def test_a_stream_that_is_left_early_is_no_error(spans):
    with Flow(tracing=spans.provider).add(name="parts", uses=Parts) as flow:
        source = flow.stream("/parts", Document())
        next(source)
        source.close()

    assert {span.status.status_code for span in spans.all()} == {StatusCode.UNSET}
    assert len(spans.all()) == 2


def test_branches_and_joins(spans):
    flow = (
        Flow("shop", tracing=spans.provider)
        .add(name="a", uses=Plain)
        .add(name="b", uses=Awaited, needs="a")
        .add(name="c", uses=Plain, needs="a")
        .needs(["b", "c"], name="joined")
    )
    with flow:
        flow.post("/work", Document())

    gateway = spans["shop /work"]
    assert all(is_below(spans[name], gateway) for name in "abc")


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_shards_and_batches(spans, engine):
    class Batched(Executor):
        @dynamic_batching(preferred_batch_size=2, timeout=1)
        @requests(on="/work")
        def work(self, docs, **kwargs):
            docs[:, "tags__ids"] = [list(ids()) for _ in docs]

    flow = (
        Flow("shop", tracing=spans.provider, engine=engine)
        .add(name="batched", uses=Batched)
        .add(name="plain", uses=Plain, shards=2, polling="ALL")
    )
    with flow:
        docs = flow.post("/work", Document())

    assert docs[0].tags["ids"][1] == mark(spans["batched"])
    assert docs[0].tags["plain"][1] == mark(spans["plain"])


# ---------------------------------------------------------------------------------------------- over the network


def posted(flow, endpoint, **headers):
    request = Request(
        f"http://127.0.0.1:{flow.port}{endpoint}",
        json.dumps({"data": [{"text": "a"}]}).encode(),
        {"Content-Type": "application/json", **headers},
    )
    with urlopen(request, timeout=20) as answer:
        return json.load(answer)


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_headers_of_any_client(shop):
    flow, spans = shop
    spans.exporter.clear()
    said = posted(flow, "/work", Traceparent=PARENT)

    gateway = spans["shop /work"]
    assert (f"{gateway.context.trace_id:032x}", f"{gateway.parent.span_id:016x}") == (TRACE, SPAN)
    assert said["data"][0]["tags"]["plain"][0] == TRACE


@pytest.mark.parametrize("where", ["message", "handshake"])
def test_sockets_of_any_client(shop, where):
    client = pytest.importorskip("websockets.sync.client", reason='pip install "docarray[serve]"')
    flow, spans = shop
    spans.exporter.clear()
    headers = {"traceparent": PARENT} if where == "handshake" else {}
    with client.connect(f"ws://127.0.0.1:{flow.port}/ws", additional_headers=headers) as socket:
        message = {"data": [{"text": "a"}], "execEndpoint": "/work"}
        if where == "message":
            message["trace"] = {"traceparent": PARENT}
        socket.send(json.dumps(message))
        said = json.loads(socket.recv())

    assert said["data"][0]["tags"]["plain"][0] == TRACE
    assert f"{spans['shop /work'].parent.span_id:016x}" == SPAN


def test_graphql(shop):
    flow, spans = shop
    spans.exporter.clear()
    asked = {"query": 'mutation { docs(data: [{text: "a"}], execEndpoint: "/work") { id } }'}
    request = Request(
        f"http://127.0.0.1:{flow.port}/graphql",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json", "traceparent": PARENT},
    )
    with urlopen(request, timeout=20) as answer:
        assert "errors" not in json.load(answer)

    assert f"{spans['shop /work'].parent.span_id:016x}" == SPAN


@pytest.mark.parametrize("said", ["nonsense", f"00-{TRACE}-{'0' * 16}-01", "00-" + "f" * 5000])
def test_headers_that_say_nothing(shop, said):
    flow, spans = shop
    spans.exporter.clear()
    posted(flow, "/work", traceparent=said)

    assert spans["shop /work"].parent is None


@pytest.mark.parametrize("trace", ["00-x", {"traceparent": 3}, [1]])
def test_a_message_whose_trace_is_none(shop, trace):
    body = json.dumps({"data": [], "execEndpoint": "/work", "trace": trace}).encode()
    request = Request(f"http://127.0.0.1:{shop[0].port}/post", body, {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as caught:
        urlopen(request, timeout=20)
    with caught.value as answer:
        assert (answer.code, "trace" in answer.read().decode()) == (422, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_deployment_elsewhere(spans, protocol):
    with flow_of(spans, "inline", protocol=protocol) as there:
        where = {"host": f"{'ws' if protocol == 'websocket' else protocol}://127.0.0.1:{there.port}"}
        here = Flow("here", tracing=spans.provider).add(name="there", external=True, **where)
        with here:
            here.post("/work", Document())

    # The Flow that asks knows no endpoint of the other one by name.
    assert is_below(spans["there"], spans["here (other)"])
    assert spans["there"].kind is SpanKind.CLIENT
    assert is_below(spans["shop /work"], spans["there"])
    assert is_below(spans["plain"], spans["shop /work"])


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_baggage_goes_along(spans, engine):
    class Carried(Executor):
        @requests(on="/work")
        def work(self, docs, tracing_context, **kwargs):
            docs[0].tags = {"tenant": baggage.get_baggage("tenant", tracing_context)}

    with (
        Flow(protocol="grpc", tracing=spans.provider, engine=engine).add(uses=Carried) as flow,
        Client(port=flow.port, tracing=spans.provider) as client,
    ):
        token = context.attach(baggage.set_baggage("tenant", "tea"))
        try:
            assert client.post("/work", Document())[0].tags == {"tenant": "tea"}
        finally:
            context.detach(token)


def test_spans_of_ones_own(spans):
    class Own(Executor):
        @requests(on="/work")
        def work(self, docs, **kwargs):
            with self.tracer.start_as_current_span("part"):
                docs.texts = ["a"]

    with Flow(tracing=spans.provider).add(name="own", uses=Own) as flow:
        flow.post("/work", Document())

    assert is_below(spans["part"], spans["own"])


# ---------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_errors_are_on_all_spans_that_they_went_through(shop, protocol):
    client, spans = asking(shop, protocol)
    with client, pytest.raises(ExecutorError):
        client.post("/bad", Document())

    for name in ("post /bad", "shop /bad", "plain"):
        span = spans[name]
        assert span.status.status_code is StatusCode.ERROR
        assert "plain raised KeyError" in span.status.description
        assert span.attributes["error.type"] == "KeyError"
        (event,) = span.events
        assert event.name == "exception"
    assert "in bad" in spans["plain"].events[0].attributes["exception.stacktrace"]
    assert "awaited" not in spans


def test_an_endpoint_that_nobody_answers(shop):
    flow, spans = shop
    spans.exporter.clear()
    with Client(port=flow.ports["grpc"], tracing=False) as client, pytest.raises(NoEndpoint):
        client.post("/what-a-client-says", Document())

    assert spans["shop (other)"].attributes["error.type"] == "NoEndpoint"
    assert len(spans.all()) == 1


def test_what_is_cancelled(spans):
    with (
        Flow("shop", tracing=spans.provider).add(name="slow", uses=Slow) as flow,
        pytest.raises(DeadlineExceeded),
    ):
        flow.post("/slow", Document(), timeout=0.2)

    assert spans["slow"].status.description == "cancelled"
    assert spans["shop /slow"].attributes["error.type"] == "DeadlineExceeded"


# ---------------------------------------------------------------------------------------------- on and off


def test_off_where_it_is_not_wanted(spans):
    with Flow(tracing=False).add(name="plain", uses=Plain) as flow:
        (doc,) = flow.post("/work", Document())
        assert flow._running.tracing is None

    assert doc.tags["plain"] == ["0" * 32, "0" * 16, "0" * 16]
    assert spans.all() == ()


def test_who_is_not_sampled_is_followed_all_the_same():
    spans = Spans(sampler=ALWAYS_OFF)
    with flow_of(spans, "process") as flow:
        (doc,) = flow.post("/work", Document())

    assert spans.all() == ()
    assert doc.tags["plain"][0] == doc.tags["awaited"][0] != "0" * 32


def test_true_wants_a_provider():
    with pytest.raises(BadValue, match="set_tracer_provider"):
        Flow(tracing=True).add(uses=Plain).start()
    with pytest.raises(BadValue, match="set_tracer_provider"):
        Client("localhost", 1, tracing=True)
    with pytest.raises(FieldTypeError, match="TracerProvider"):
        Flow(tracing="yes").add(uses=Plain).start()


def told(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_program_that_does_not_trace_loads_nothing_of_it():
    code = """
import sys
from docarray import Document
from docarray.flow import Executor, Flow, requests
class A(Executor):
    @requests
    def a(self, docs, tracing_context, **kwargs):
        docs.texts = [str(tracing_context)]
with Flow().add(uses=A) as flow:
    print(*flow.post('/', Document()).texts, any(name.startswith('opentelemetry') for name in sys.modules))
"""
    assert told(code) == ["None", "False"]


def test_a_provider_that_was_set_is_found():
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from docarray import Document
from docarray.flow import Client, Executor, Flow, requests
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
class A(Executor):
    @requests
    def a(self, docs, **kwargs):
        assert self.tracer is not None
with Flow(protocol='http').add(name='a', uses=A) as flow, Client(port=flow.port, protocol='http') as client:
    client.post('/', Document())
print(*[span.name.replace(' ', '_') for span in exporter.get_finished_spans()])
"""
    assert told(code) == ["a", "flow_(other)", "post_/"]


def test_where_it_is_not_installed():
    code = """
import sys
sys.modules['opentelemetry'] = None
from docarray import Document
from docarray.errors import MissingExtra
from docarray.flow import Executor, Flow
with Flow().add(uses=Executor) as flow:
    flow.post('/', Document())
try:
    Flow(tracing=True).add(uses=Executor).start()
except MissingExtra as error:
    print('docarray[tracing]' in str(error))
"""
    assert told(code) == ["True"]


def test_a_worker_that_sets_a_provider_has_a_tracer(spans):
    class Sets(Executor):
        def __init__(self, **kwargs):
            trace.set_tracer_provider(TracerProvider())
            super().__init__(**kwargs)

        @requests(on="/work")
        def work(self, docs, **kwargs):
            with self.tracer.start_as_current_span("own") as span:
                docs[0].tags = {"parent": f"{span.parent.span_id:016x}"}

    with Flow(engine="process", tracing=spans.provider).add(name="sets", uses=Sets) as flow:
        (doc,) = flow.post("/work", Document())

    assert doc.tags["parent"] == mark(spans["sets"])
