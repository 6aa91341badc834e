"""What the gateway promises of sockets: order, bounds, subprotocols, ends, and what becomes of who goes away."""

import asyncio
import contextlib
import json
import threading
from typing import ClassVar

import numpy as np
import pytest
from everything import difference
from flow_served import served
from websockets.asyncio.client import connect as connected
from websockets.exceptions import ConnectionClosed, InvalidStatus

from docarray import Document, DocumentArray
from docarray.flow import Executor, Flow, jina, requests, wire


class Shop(Executor):
    working = 0
    most = 0
    asked = 0
    begun = threading.Event()
    cancelled = threading.Event()
    closed = threading.Event()
    yielded: ClassVar[list] = []

    @requests(on="/upper")
    def upper(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/later")
    async def later(self, docs, parameters, **kwargs):
        cls = Shop
        cls.asked += 1
        cls.working += 1
        cls.most = max(cls.most, cls.working)
        try:
            await asyncio.sleep(parameters["wait"])
        finally:
            cls.working -= 1

    @requests(on="/slow")
    async def slow(self, docs, **kwargs):
        Shop.begun.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            Shop.cancelled.set()
            raise

    @requests(on="/boom")
    def boom(self, docs, **kwargs):
        raise ValueError("no gpu")

    @requests(on="/large")
    def large(self, docs, **kwargs):
        Shop.asked += 1
        docs.texts = ["x" * 1_000_000]

    @requests(on="/stream")
    async def stream(self, docs, parameters, **kwargs):
        for number in range(3):
            yield Document(text=f"part {number}")
            if number == parameters.get("fail"):
                raise ValueError("lost the thread")

    @requests(on="/endless")
    async def endless(self, docs, **kwargs):
        Shop.closed.clear()
        Shop.yielded.clear()
        try:
            while True:
                Shop.yielded.append(1)
                yield Document(text="x" * 100_000)
        finally:
            Shop.closed.set()


@pytest.fixture(scope="module", params=["here", "elsewhere"])
def url(request):
    flow = Flow("shop", max_body=1 << 20, metrics=False).add(name="shop", uses=Shop)
    with served(flow, request.param == "elsewhere") as url:
        yield url.replace("http", "ws")


def asked(endpoint="/upper", text="tea", **more):
    return json.dumps({"data": [{"id": "a", "text": text}], "execEndpoint": endpoint, **more})


def connect(url, **options):
    """A socket that packs nothing: what is sent is as long as it is."""
    return connected(url, compression=None, **options)


async def until(condition):
    async with asyncio.timeout(8):
        while not condition():
            await asyncio.sleep(0.01)


def run(work):
    async def bounded():
        async with asyncio.timeout(25):
            await work()

    asyncio.run(bounded())


class TestJson:
    @pytest.mark.parametrize("path", ["", "/", "/ws"])
    def test_a_request_and_its_answer(self, url, path):
        async def work():
            async with connect(url + path) as socket:
                await socket.send(asked(parameters={"k": 1}))
                said = json.loads(await socket.recv())
                assert [*said] == ["header", "parameters", "routes", "data"]
                assert (said["data"][0]["text"], said["parameters"], said["header"]["status"]) == (
                    "TEA",
                    {"k": 1},
                    None,
                )

        run(work)

    def test_the_subprotocol_is_answered(self, url):
        async def work():
            async with connect(url, subprotocols=["other", "json"]) as socket:
                assert socket.subprotocol == "json"
                await socket.send(asked())
                assert isinstance(await socket.recv(), str)
            async with connect(url) as socket:
                assert socket.subprotocol is None

        run(work)

    def test_a_subprotocol_that_is_not_spoken_ends_the_socket(self, url):
        async def work():
            async with connect(url, subprotocols=["morse"]) as socket:
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert (socket.close_code, socket.close_reason) == (
                    1011,
                    "this speaks json, bytes, docarray.v1, docarray.v1.any",
                )

        run(work)

    def test_answers_come_in_order_and_requests_at_the_same_time(self, url):
        async def work():
            Shop.most = 0
            async with connect(url) as socket:
                for number in range(20):
                    wait = 0.02 if number else 0.4
                    await socket.send(asked("/later", f"{number}", parameters={"wait": wait}))
                found = [json.loads(await socket.recv())["data"][0]["text"] for _ in range(20)]
                assert found == [f"{number}" for number in range(20)]
                assert Shop.most > 10

        run(work)

    def test_what_is_worked_on_is_bounded(self, url):
        async def work():
            await until(lambda: Shop.working == 0)
            Shop.most = 0
            async with connect(url) as socket:
                for _ in range(150):
                    await socket.send(asked("/later", parameters={"wait": 0.2}))
                for _ in range(150):
                    await socket.recv()
            assert 32 <= Shop.most <= 64

        run(work)

    @pytest.mark.parametrize("end", ["{}", " {} ", b"\0"])
    def test_the_end_waits_for_all_answers(self, url, end):
        async def work():
            async with connect(url) as socket:
                for _ in range(3):
                    await socket.send(asked("/later", parameters={"wait": 0.1}))
                await socket.send(end)
                found = [json.loads(message) async for message in socket]
                assert len(found) == 3
            assert socket.close_code == 1000

        run(work)

    @pytest.mark.parametrize(
        ("message", "status"),
        [
            ("{", 400),
            ('{"data": 3}', 422),
            (asked("/nothing"), 404),
            (asked("/boom"), 500),
            (asked("/slow", timeout=0.1), 504),
        ],
    )
    def test_what_goes_wrong_is_the_answer_and_the_socket_stays(self, url, message, status):
        async def work():
            async with connect(url) as socket:
                await socket.send(message)
                await socket.send(asked())
                said = json.loads(await socket.recv())
                assert said["status"] == status
                assert said["header"]["status"]["description"] == said["detail"]
                assert json.loads(await socket.recv())["data"][0]["text"] == "TEA"

        run(work)

    def test_parts(self, url):
        async def work():
            async with connect(url) as socket:
                await socket.send(asked("/stream", stream=True))
                await socket.send(asked())
                found = [json.loads(await socket.recv()) for _ in range(5)]
                assert [one["header"].get("more", False) for one in found] == [True, True, True, False, False]
                assert [one["data"][0]["text"] for one in found[:3]] == ["part 0", "part 1", "part 2"]
                assert (found[3]["data"], found[4]["data"][0]["text"]) == ([], "TEA")

        run(work)

    def test_an_error_between_parts(self, url):
        async def work():
            async with connect(url) as socket:
                await socket.send(asked("/stream", stream=True, parameters={"fail": 0}))
                first, second = [json.loads(await socket.recv()) for _ in range(2)]
                assert (first["header"]["more"], second["exception"]) == (True, "ValueError")

        run(work)

    def test_a_message_beyond_the_bound(self, url):
        async def work():
            async with connect(url) as socket:
                with contextlib.suppress(ConnectionClosed):
                    await socket.send(asked(text="x" * (2 << 20)))
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            assert socket.close_code == 1009

        run(work)


class TestFrames:
    def test_documents_in_the_native_format(self, url):
        async def work():
            sent = DocumentArray([Document(id="a", text="tea", embedding=np.arange(3, dtype="f2"))])
            async with connect(url, subprotocols=["docarray.v1"]) as socket:
                assert socket.subprotocol == "docarray.v1"
                await socket.send(wire.request_frame(sent, "/upper", {"k": 1}, request_id="id-1"))
                head, table = wire.framed(await socket.recv())
                assert (head["header"]["requestId"], head["parameters"]) == ("id-1", {"k": 1})
                sent[0].text = "TEA"
                assert difference(sent, DocumentArray(table)) is None

        run(work)

    def test_errors_and_parts(self, url):
        async def work():
            async with connect(url, subprotocols=["docarray.v1"]) as socket:
                await socket.send(wire.request_frame(None, "/boom"))
                await socket.send(b"no frame")
                await socket.send(wire.request_frame(None, "/stream", stream=True))
                await socket.send(b"\0")
                found = [wire.framed(message) async for message in socket]
            assert [head.get("status") for head, _ in found[:2]] == [500, 400]
            assert [len(table) for _, table in found[2:]] == [1, 1, 1, 0]

        run(work)


def proto(endpoint, text="tea"):
    """A DataRequestProto, by hand: header {request_id, exec_endpoint}, data {docs {docs {id, text}}}."""

    def field(number, value):
        return bytes([number << 3 | 2, len(value)]) + value

    header = field(1, b"r1") + field(3, endpoint.encode())
    # DocumentProto: id is 1, text is 4.
    doc = field(1, b"a") + field(4, text.encode())
    return field(1, header) + field(4, field(1, field(1, doc)))


class TestJina:
    def test_a_request_and_its_answer(self, url):
        async def work():
            async with connect(url, subprotocols=["bytes"]) as socket:
                assert socket.subprotocol == "bytes"
                await socket.send(proto("/upper"))
                answer = jina.read(await socket.recv())
                assert (answer.docs.texts, answer.request_id, answer.endpoint) == (["TEA"], "r1", "/upper")
                await socket.send(b"\0")
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            assert socket.close_code == 1000

        run(work)

    def test_what_a_handler_raised_is_an_answer(self, url):
        async def work():
            async with connect(url, subprotocols=["bytes"]) as socket:
                await socket.send(proto("/boom"))
                said = jina.status_of(await socket.recv())
                assert (said.code, said.name, said.args) == (jina.ERROR_OLD, "ValueError", ("no gpu",))

        run(work)

    def test_what_cannot_be_read_ends_the_socket(self, url):
        async def work():
            async with connect(url, subprotocols=["bytes"]) as socket:
                await socket.send(b"\xff\xff\xff" * 99)
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            assert (socket.close_code, 0 < len(socket.close_reason.encode()) <= 123) == (1011, True)

        run(work)

    def test_a_dry_run(self, url):
        async def work():
            async with connect(f"{url}/dry_run", subprotocols=["bytes"]) as socket:
                assert await socket.recv() == jina.status(jina.Status())

        run(work)


class TestDryRun:
    def test_json(self, url):
        async def work():
            async with connect(f"{url}/dry_run") as socket:
                assert json.loads(await socket.recv()) == {"code": 0, "description": "", "exception": None}
                await socket.send("")
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            assert socket.close_code == 1000

        run(work)


class TestGone:
    def test_who_goes_takes_his_requests_along(self, url):
        async def work():
            Shop.begun.clear()
            Shop.cancelled.clear()
            async with connect(url) as socket:
                await socket.send(asked("/slow"))
                await until(Shop.begun.is_set)
            await until(Shop.cancelled.is_set)

        run(work)

    def test_a_generator_is_closed(self, url):
        async def work():
            async with connect(url) as socket:
                await socket.send(asked("/endless", stream=True))
                await socket.recv()
            await until(Shop.closed.is_set)

        run(work)

    def test_a_slow_reader_holds_back_the_handler(self, url):
        async def work():
            async with connect(url, max_queue=1, close_timeout=0.5) as socket:
                await socket.send(asked("/endless", stream=True))
                await socket.recv()
                before = -1
                while before != len(Shop.yielded):
                    before = len(Shop.yielded)
                    await asyncio.sleep(0.3)
                assert before < 400

        run(work)

    def test_a_slow_reader_holds_back_the_sender(self, url):
        async def work():
            Shop.asked = 0
            async with connect(url, max_queue=1) as socket:

                async def send():
                    for _ in range(400):
                        await socket.send(asked("/large"))

                sending = asyncio.create_task(send())
                before = -1
                while before != Shop.asked:
                    before = Shop.asked
                    await asyncio.sleep(0.4)
                assert before < 200  # of 400: what is worked on, and what the buffers of the system hold
                for _ in range(400):
                    assert len(await socket.recv()) > 1_000_000
                await sending

        run(work)


def test_other_paths_have_no_socket(url):
    async def work():
        with pytest.raises(InvalidStatus):
            async with connect(f"{url}/upper"):
                pass

    run(work)


def test_a_key_is_asked_for_before_the_socket_is_opened():
    async def work():
        with served(Flow(auth="a key", metrics=False).add(uses=Shop)) as url:
            url = url.replace("http", "ws")
            with pytest.raises(InvalidStatus):
                async with connect(url):
                    pass
            async with connect(url, additional_headers={"x-api-key": "a key"}) as socket:
                await socket.send(asked())
                assert json.loads(await socket.recv())["data"][0]["text"] == "TEA"

    run(work)


def test_pages_of_other_sites_open_no_socket():
    async def work():
        with served(Flow(metrics=False).add(uses=Shop)) as url, pytest.raises(InvalidStatus):
            async with connect(url.replace("http", "ws"), origin="https://other.example"):
                pass

    run(work)
