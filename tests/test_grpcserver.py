"""The server of gRPC: asked by a real client of grpc, over the loopback."""

import asyncio
import contextlib
import json
import subprocess
import threading
import time

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import DocArrayError
from docarray.flow import Executor, Flow, jina, requests, wire
from docarray.flow.faults import FlowStartError
from docarray.serialization.varints import scan

grpc = pytest.importorskip("grpc", reason='pip install "docarray[grpc]"')
from grpc_served import served  # noqa: E402

from docarray.flow.grpcserver import CALL, PROBLEM, STREAM  # noqa: E402

JINA = "/jina.JinaRPC/Call"
SINGLE = "/jina.JinaSingleDataRequestRPC/process_single_data"


made = []  # the Executors, in the order of their making


class Shop(Executor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.began = threading.Event()
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        made.append(self)

    @requests(on="/upper")
    def upper(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/echo")
    async def echo(self, docs, parameters, **kwargs):
        return {"kind": type(parameters.get("k")).__name__}

    @requests(on="/fail")
    async def fail(self, docs, **kwargs):
        raise ValueError("no such tea")

    @requests(on="/wait")
    async def wait(self, docs, parameters, **kwargs):
        self.began.set()
        try:
            await asyncio.sleep(parameters.get("s", 30))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    @requests(on="/count")
    async def count(self, docs, parameters, **kwargs):
        try:
            for at in range(int(parameters.get("n", 3))):
                self.began.set()
                yield Document(text=f"{at}")
                await asyncio.sleep(0.005)
        finally:
            self.ended.set()


def shop(**options):
    return Flow(**options).add(name="shop", uses=Shop)


@pytest.fixture(scope="module")
def open_shop():
    with served(shop()) as (port, server), grpc.insecure_channel(f"127.0.0.1:{port}", UNLIMITED) as channel:
        yield channel, server


UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def asked(channel, frame, path=CALL, **options):
    return channel.unary_unary(path)(frame, **({"timeout": 20} | options))


def frame(endpoint, texts=("tea",), parameters=None, **more):
    return wire.request_frame(
        DocumentArray([Document(text=one) for one in texts]), endpoint, parameters, **more
    )


def message(endpoint, texts=("tea",), parameters=None):
    """A DataRequestProto: what is answered has the form of what is asked."""
    from docarray.flow.envelope import Envelope

    docs = DocumentArray([Document(text=one) for one in texts])
    return jina.written(Envelope(docs, endpoint, parameters))


def docs_of(raw):
    return DocumentArray(wire.framed(raw)[1])


# --- our own service -----------------------------------------------------------------------------------------------


def test_a_call_is_answered_by_a_frame(open_shop):
    channel, _ = open_shop
    raw = asked(channel, frame("/upper", ["tea", "cake"], {"k": 1}))
    head, table = wire.framed(raw)
    assert DocumentArray(table).texts == ["TEA", "CAKE"]
    assert head["header"]["execEndpoint"] == "/upper"
    assert [route["executor"] for route in head["routes"]] == ["gateway", "shop"]


def test_parameters_stay_what_they_are(open_shop):
    channel, _ = open_shop
    head, _ = wire.framed(asked(channel, frame("/echo", parameters={"k": 5})))
    assert head["parameters"]["__results__"] == {"shop": {"kind": "int"}}
    head, _ = wire.framed(asked(channel, frame("/echo", parameters={"k": 5.0})))
    assert head["parameters"]["__results__"] == {"shop": {"kind": "float"}}


def test_a_request_has_the_id_that_the_metadata_gives_it(open_shop):
    channel, _ = open_shop
    raw = asked(channel, frame("/upper"), metadata=(("x-request-id", "abc-1"),))
    assert wire.framed(raw)[0]["header"]["requestId"] == "abc-1"


def failure(channel, sent, path=CALL, **options):
    with pytest.raises(grpc.RpcError) as caught:
        asked(channel, sent, path, **options)
    return caught.value


def test_what_a_handler_raises_is_told(open_shop):
    channel, _ = open_shop
    error = failure(channel, frame("/fail"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "no such tea" in error.details()
    said = json.loads(dict(error.trailing_metadata())[PROBLEM])
    assert (said["exception"], said["executor"]) == ("ValueError", "shop")
    assert "stack" not in said
    assert said["header"]["status"]["exception"]["stacks"] == []


def test_a_traceback_is_told_where_that_is_wished():
    with served(shop(), debug=True) as (port, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        said = json.loads(dict(failure(channel, frame("/fail")).trailing_metadata())[PROBLEM])
        assert "ValueError" in "".join(said["stack"])


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\xff\xff", "INVALID_ARGUMENT"),
        (b"", "INVALID_ARGUMENT"),
        (b"\x02\0\0\0[]", "INVALID_ARGUMENT"),
        (b'\x0d\0\0\0{"endpont":1}', "INVALID_ARGUMENT"),
        ("/nowhere", "NOT_FOUND"),
    ],
)
def test_a_bad_request_has_its_status(open_shop, sent, code):
    channel, _ = open_shop
    error = failure(channel, frame(sent) if isinstance(sent, str) else sent)
    assert error.code().name == code
    assert json.loads(dict(error.trailing_metadata())[PROBLEM])["detail"] == error.details()


def test_an_error_about_much_still_fits_into_the_trailer(open_shop):
    channel, _ = open_shop
    error = failure(channel, frame("/fail", parameters={"long": "x" * 100_000}))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert json.loads(dict(error.trailing_metadata())[PROBLEM])["exception"] == "ValueError"


def test_a_method_that_is_not_there(open_shop):
    channel, _ = open_shop
    assert failure(channel, b"", "/docarray.flow.v1.Flow/Nothing").code() is grpc.StatusCode.UNIMPLEMENTED


def test_parts_come_as_they_are_made(open_shop):
    channel, _ = open_shop
    parts = list(channel.unary_stream(STREAM)(frame("/count", parameters={"n": 3}), timeout=20))
    heads = [wire.framed(part)[0] for part in parts]
    assert [docs_of(part).texts for part in parts[:-1]] == [["0"], ["1"], ["2"]]
    assert [head["header"].get("more") for head in heads] == [True, True, True, None]


def test_a_stream_of_what_yields_nothing_is_one_part(open_shop):
    channel, _ = open_shop
    first, last = channel.unary_stream(STREAM)(frame("/upper"), timeout=20)
    assert docs_of(first).texts == ["TEA"]
    assert "more" not in wire.framed(last)[0]["header"]


def test_who_leaves_a_stream_ends_the_generator():
    with served(shop()) as (port, _server), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = channel.unary_stream(STREAM)(frame("/count", parameters={"n": 100_000}), timeout=30)
        assert docs_of(next(stream)).texts == ["0"]
        stream.cancel()
        assert made[-1].ended.wait(10)


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CALL, SINGLE])
def test_a_deadline_cancels_the_handler(path):
    with served(shop()) as (port, server), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        sent = frame("/wait") if path == CALL else message("/wait")
        assert failure(channel, sent, path, timeout=0.3).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert made[-1].cancelled.wait(10)
        assert until(lambda: server.running._in_flight == 0)


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_the_time_of_the_message_counts_where_it_is_less(open_shop):
    channel, _ = open_shop
    error = failure(channel, frame("/wait", timeout=0.1))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no answer in time" in error.details()


def test_the_time_of_the_gateway_counts_where_nobody_says_one():
    with served(shop(), timeout=0.1) as (port, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        error = failure(channel, frame("/wait"), timeout=None)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("path", [CALL, SINGLE, JINA])
def test_who_goes_away_takes_the_request_along(path):
    with served(shop()) as (port, server), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        if path == JINA:
            call = channel.stream_stream(path)(iter([message("/wait")]), timeout=30)
        else:
            sent = frame("/wait") if path == CALL else message("/wait")
            call = channel.unary_unary(path).future(sent, timeout=30)
        assert until(lambda: server.running._in_flight == 1)
        assert made[-1].began.wait(10)
        call.cancel()
        assert made[-1].cancelled.wait(10)
        assert until(lambda: server.running._in_flight == 0)


def test_a_stop_lets_what_is_under_way_end():
    with served(shop()) as (port, server), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(CALL).future(frame("/wait", parameters={"s": 0.5}), timeout=20)
        assert until(lambda: server.running._in_flight == 1)
        server.running.loop.run(server.stop(10))
        assert docs_of(call.result()).texts == ["tea"]
        assert failure(channel, frame("/upper"), timeout=2).code() in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )


# --- limits --------------------------------------------------------------------------------------------------------


def test_a_flood_is_refused_with_a_time_to_come_back():
    flow = shop(max_in_flight=10)
    with served(flow) as (port, server), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = [
            channel.unary_unary(CALL).future(frame("/wait", parameters={"s": 0.5}), timeout=60)
            for _ in range(1_000)
        ]
        errors = [call.exception() for call in calls]
        refused = [error for error in errors if error is not None]
        assert 10 <= errors.count(None) < 1_000
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        told = dict(refused[0].trailing_metadata())
        assert int(told["grpc-retry-pushback-ms"]) > 0
        assert int(told["retry-after"]) > 0
        assert server.running._in_flight == 0
        assert docs_of(asked(channel, frame("/upper"))).texts == ["TEA"]


def test_a_message_of_64_megabytes_comes_through_and_a_larger_one_does_not(open_shop):
    channel, server = open_shop
    most = server.spec.max_body
    assert most == 64 << 20
    sent = wire.request_frame(DocumentArray([Document(id="a", blob=bytes(most - 4096))]), "/echo")
    assert most - 8192 <= len(sent) <= most
    assert len(docs_of(asked(channel, sent, timeout=60))[0].blob) > most - 16_384
    error = failure(channel, sent + bytes(most + 1 - len(sent)), timeout=60)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# --- who may -------------------------------------------------------------------------------------------------------


def test_a_key_is_needed_but_for_health_and_reflection():
    with served(shop(), auth="secret") as (port, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for path, sent in ((CALL, frame("/upper")), (SINGLE, message("/upper"))):
            assert failure(channel, sent, path).code() is grpc.StatusCode.UNAUTHENTICATED
            wrong = (("authorization", "Bearer wrong"),)
            assert failure(channel, sent, path, metadata=wrong).code() is grpc.StatusCode.UNAUTHENTICATED
            asked(channel, sent, path, metadata=(("authorization", "Bearer secret"),))
        stream = channel.stream_stream(JINA)(iter([message("/upper")]), timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert asked(channel, b"", "/grpc.health.v1.Health/Check") == b"\x08\x01"
        assert services(channel, "v1")


def test_a_hook_says_who_may():
    def hook(connection):
        return connection.headers.get("x-name") == "ada"

    with served(shop(), auth=hook) as (port, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert failure(channel, frame("/upper")).code() is grpc.StatusCode.UNAUTHENTICATED
        asked(channel, frame("/upper"), metadata=(("x-name", "ada"),))


def test_tls(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with served(shop(), ssl_certfile=str(certificate), ssl_keyfile=str(key)) as (port, _):
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{port}", trusted) as channel:
            assert docs_of(asked(channel, frame("/upper"))).texts == ["TEA"]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert failure(channel, frame("/upper"), timeout=5).code() is grpc.StatusCode.UNAVAILABLE


def test_a_port_that_is_taken(open_shop):
    _, server = open_shop
    with pytest.raises(FlowStartError, match=str(server.port)), served(shop(), port=server.port):
        pass


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compression(compression):
    with (
        served(shop(), compression=compression) as (port, _),
        grpc.insecure_channel(f"127.0.0.1:{port}", compression=grpc.Compression.Gzip) as channel,
    ):
        assert docs_of(asked(channel, frame("/upper", ["tea" * 1000]))).texts == ["TEA" * 1000]


# --- health and reflection -----------------------------------------------------------------------------------------


def test_health(open_shop):
    channel, _ = open_shop
    check = "/grpc.health.v1.Health/Check"
    assert asked(channel, b"", check) == b"\x08\x01"
    assert asked(channel, b"\x0a\x0cjina.JinaRPC", check) == b"\x08\x01"
    assert failure(channel, b"\x0a\x02no", check).code() is grpc.StatusCode.NOT_FOUND
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x02no", timeout=10)
    assert next(watch) == b"\x08\x03"
    watch.cancel()


def test_who_watches_hears_that_the_server_stops():
    with served(shop()) as (port, server), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
        assert next(watch) == b"\x08\x01"
        server.running.loop.run(server.stop(10))
        assert list(watch) == [b"\x08\x02"]


def services(channel, version):
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    (raw,) = channel.stream_stream(path)(iter([b"\x3a\x00"]), timeout=10)
    names = []
    for _, _, at, end in scan(raw, 0, len(raw), (6,)):
        for _, _, first, last in scan(raw, at, end, (1,)):
            names += [raw[a:b].decode() for _, _, a, b in scan(raw, first, last, (1,))]
    return names


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_the_services(open_shop, version):
    channel, _ = open_shop
    names = services(channel, version)
    assert {"jina.JinaRPC", "jina.JinaSingleDataRequestRPC", "docarray.flow.v1.Flow"} <= set(names)


def test_reflection_says_what_it_does_not_know(open_shop):
    channel, _ = open_shop
    path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    (raw,) = channel.stream_stream(path)(iter([b"\x22\x0cjina.JinaRPC"]), timeout=10)
    assert [number for number, _, _, _ in scan(raw, 0, len(raw), (4, 6, 7))] == [7]


# --- the services of Jina --------------------------------------------------------------------------------------------


def many(channel, messages, **options):
    return channel.stream_stream(JINA)(iter(messages), **({"timeout": 30} | options))


def test_a_thousand_documents_in_a_stream(open_shop):
    channel, _ = open_shop
    sent = [message("/upper", [f"tea {at}-{i}" for i in range(10)]) for at in range(100)]
    call = many(channel, sent, metadata=(("__results_in_order__", "true"),))
    texts = [text for raw in call for text in jina.read(raw).docs.texts]
    assert texts == [f"TEA {at}-{i}" for at in range(100) for i in range(10)]
    assert "is-error" not in dict(call.trailing_metadata())


@pytest.mark.parametrize("in_order", [True, False])
def test_answers_come_in_order_or_as_they_are_ready(open_shop, in_order):
    channel, _ = open_shop
    sent = [message("/wait", ["slow"], {"s": 0.5}), message("/upper", ["quick"])]
    metadata = (("__results_in_order__", "true"),) if in_order else ()
    texts = [jina.read(raw).docs.texts for raw in many(channel, sent, metadata=metadata)]
    assert texts == ([["slow"], ["QUICK"]] if in_order else [["QUICK"], ["slow"]])


def test_an_error_is_a_message_and_the_stream_goes_on(open_shop):
    channel, _ = open_shop
    call = many(channel, [message("/fail"), message("/upper")], metadata=(("__results_in_order__", "true"),))
    first, second = list(call)
    said = jina.status_of(first)
    assert (said.code, said.name, said.args, said.executor) == (1, "ValueError", ("no such tea",), "shop")
    assert jina.status_of(second).code == 0
    assert dict(call.trailing_metadata())["is-error"] == "true"
    (old,) = many(channel, [message("/fail")])
    assert jina.status_of(old).code == 3


def test_a_stream_asks_no_more_than_it_may(open_shop):
    channel, server = open_shop
    most = 0
    sent = [message("/wait", parameters={"s": 0.02}) for _ in range(30)]
    for _ in many(channel, sent, metadata=(("__prefetch__", "2"),)):
        most = max(most, server.running._in_flight)
    assert 1 <= most <= 2


def test_a_message_that_is_none_ends_the_stream(open_shop):
    channel, _ = open_shop
    with pytest.raises(grpc.RpcError) as caught:
        list(many(channel, [b"\xff\xff\xff"]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_single_requests_and_lists_of_them(open_shop):
    channel, _ = open_shop
    assert jina.read(asked(channel, message("/upper"), SINGLE)).docs.texts == ["TEA"]
    one, two = message("/upper", ["a"]), message("/upper", ["b"])
    both = b"".join(b"\x0a" + bytes([len(raw)]) + raw for raw in (one, two))
    raw = asked(channel, both, "/jina.JinaDataRequestRPC/process_data")
    assert sorted(jina.read(raw).docs.texts) == ["A", "B"]
    unary = channel.unary_unary(SINGLE)
    raw, call = unary.with_call(message("/fail"), timeout=10)
    assert jina.status_of(raw).name == "ValueError"
    assert dict(call.trailing_metadata())["is-error"] == "true"


def test_the_small_services(open_shop):
    channel, _ = open_shop
    raw = asked(channel, b"", "/jina.JinaDiscoverEndpointsRPC/endpoint_discovery")
    names = [raw[at:end].decode() for _, _, at, end in scan(raw, 0, len(raw), (1,))]
    assert {"/upper", "/count", "/fail"} <= set(names)
    assert asked(channel, b"", "/jina.JinaGatewayDryRunRPC/dry_run") == b""
    assert b"docarray" in asked(channel, b"", "/jina.JinaInfoRPC/_status")
    control = "/jina.JinaControlRequestRPC/process_control"
    assert asked(channel, b"", control) == b""
    assert failure(channel, b"\x10\x01", control).code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_stop_answers_what_a_stream_has_sent():
    with served(shop()) as (port, server), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        go = threading.Event()

        def sending():
            yield message("/wait", ["tea"], {"s": 0.5})
            go.wait(20)

        call = channel.stream_stream(JINA)(sending(), timeout=20)
        assert until(lambda: server.running._in_flight == 1)
        stopping = server.running.loop.submit(server.stop(10))
        assert jina.read(next(call)).docs.texts == ["tea"]
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        go.set()
        stopping.result(10)


def test_arrays_come_through_whole(open_shop):
    channel, _ = open_shop
    rows = np.random.default_rng(3).random((1000, 64), np.float32)
    docs = DocumentArray.from_columns(id=[f"{at}" for at in range(1000)], embedding=rows)
    from docarray.flow.envelope import Envelope

    for path, sent in (
        (CALL, wire.request_frame(docs, "/echo")),
        (SINGLE, jina.written(Envelope(docs, "/echo"))),
    ):
        raw = asked(channel, sent, path)
        back = docs_of(raw) if path == CALL else jina.read(raw).docs
        assert np.array_equal(back.embeddings, rows)


def test_a_server_that_is_stopped_twice():
    with served(shop()) as (_, server), contextlib.suppress(DocArrayError):
        server.running.loop.run(server.stop(0))
        assert server.running.loop.run(server.stop(0)) is None
