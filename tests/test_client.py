"""The client, over each protocol, against Flows that run."""

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from everything import difference, everything

from docarray import Document, DocumentArray
from docarray.errors import BadValue, FieldTypeError
from docarray.flow import Client, Executor, Flow, requests
from docarray.flow.faults import (
    BadRequest,
    CallbackError,
    DeadlineExceeded,
    ExecutorError,
    NoEndpoint,
    NotAllowed,
    NotRunning,
    Overloaded,
    RemoteTraceback,
    Unavailable,
)
from docarray.flow.transport import address

PROTOCOLS = ("http", "websocket", "grpc")
pytest.importorskip("grpc", reason='pip install "docarray[grpc]"')
pytest.importorskip("uvicorn", reason='pip install "docarray[serve]"')


class Work(Executor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.ended = threading.Event()
        self.made = 0
        self.go_on = threading.Event()

    @requests(on="/shout")
    def shout(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/same")
    def same(self, docs, **kwargs): ...

    @requests(on="/said")
    def said(self, parameters, docs, **kwargs):
        return {name: [type(value).__name__, value] for name, value in parameters.items()}

    @requests(on="/beside")
    def beside(self, docs, metadata=None, **kwargs): ...

    @requests(on="/sizes")
    def sizes(self, docs, **kwargs):
        docs[:, "tags"] = [{"size": len(docs)}] * len(docs)

    @requests(on="/fails")
    def fails(self, docs, **kwargs):
        raise ValueError("no tea today")

    @requests(on="/fails_on_b")
    def fails_on_b(self, docs, **kwargs):
        if "b" in docs.texts:
            raise ValueError("b")

    @requests(on="/refuses")
    def refuses(self, docs, **kwargs):
        raise BadRequest("tea has no colour")

    @requests(on="/busy")
    def busy(self, docs, **kwargs):
        raise Overloaded("too much tea", 3)

    @requests(on="/slow")
    async def slow(self, docs, **kwargs):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.ended.set()
            raise

    @requests(on="/after")
    async def after(self, docs, **kwargs):
        await asyncio.sleep(float(docs[0].text))

    @requests(on="/count")
    def count(self, docs, parameters, **kwargs):
        for number in range(parameters["to"]):
            yield DocumentArray([Document(text=str(number)), Document(text="of")])

    @requests(on="/endless")
    async def endless(self, docs, **kwargs):
        try:
            while True:
                self.made += 1
                yield Document(text=str(self.made))
                await asyncio.sleep(0.001)
        finally:
            self.ended.set()

    @requests(on="/breaks")
    def breaks(self, docs, **kwargs):
        yield Document(text="first")
        raise ValueError("the second")

    @requests(on="/first")
    def first(self, docs, **kwargs):
        yield Document(text="first")
        self.go_on.wait(20)
        yield Document(text="second")


@pytest.fixture(scope="module")
def flow():
    with Flow(protocol=PROTOCOLS).add(uses=Work, name="work") as flow:
        yield flow


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return request.param


@pytest.fixture
def client(flow, protocol):
    with Client("127.0.0.1", flow.ports[protocol], protocol) as client:
        yield client


def worker(flow):
    return flow._running.groups["work"].shards[0].workers[0].executor


@contextlib.contextmanager
def counted(port):
    """A port that leads to another one, and the connections that it has accepted."""
    accepted = []
    ends = contextlib.ExitStack()
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", port))
                accepted.append(here)
                ends.callback(there.close)
                ends.callback(here.close)
                for pair in ((here, there), (there, here)):
                    thread = threading.Thread(target=copy, args=pair)
                    thread.start()
                    threads.append(thread)

    threads = []
    main = threading.Thread(target=accept)
    main.start()
    try:
        yield listener.getsockname()[1], accepted
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        main.join(10)
        for one in accepted:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        ends.close()


# ---------------------------------------------------------------------------------------------- what comes back


def test_documents_go_and_come_back(client):
    sent = DocumentArray([Document(text="tea"), Document(text="milk")])
    given = client.post("/shout", sent)
    assert given.texts == ["TEA", "MILK"]
    assert sent.texts == ["tea", "milk"]
    assert given[:, "id"] == sent[:, "id"]


def test_every_field_comes_back(client):
    sent = DocumentArray([everything()])
    given = client.post("/same", sent)
    assert difference(sent[0], given[0]) is None


def test_what_comes_back_can_be_changed(client):
    given = client.post("/same", DocumentArray([Document(embedding=np.ones(4, np.float32))]))
    given[0].embedding[0] = 3
    given.embeddings = given.embeddings * 2
    assert given[0].embedding.tolist() == [6, 2, 2, 2]


def test_no_documents(client):
    assert len(client.post("/same")) == 0


@pytest.mark.parametrize("name", ["index", "search", "update", "delete"])
def test_the_four(name, protocol):
    class Four(Executor):
        @requests(on=f"/{name}")
        def here(self, docs, **kwargs):
            docs.texts = [name]

    with (
        Flow(protocol=protocol).add(uses=Four) as flow,
        Client(flow.port and "localhost", flow.port, protocol) as one,
    ):
        assert getattr(one, name)(Document(text="tea")).texts == [name]


def test_parameters_are_of_the_types_that_were_sent(client):
    answer = client.post("/said", parameters={"k": 3, "r": 0.5, "work__own": True}, return_responses=True)[0]
    said = answer.parameters["__results__"]["work"]
    assert said == {"k": ["int", 3], "r": ["float", 0.5], "own": ["bool", True]}
    assert type(said["k"][1]) is int
    assert answer.results == {"work": said}
    assert answer.status.code == "SUCCESS"


def test_routes_take_less_than_the_whole(client):
    begun = time.time()
    answer = client.post("/shout", Document(text="tea"), return_responses=True)[0]
    took = time.time() - begun
    assert [visit.executor for visit in answer.routes] == ["gateway", "work"]
    assert all(0 <= visit.end - visit.start <= took for visit in answer.routes)


def test_requests_have_a_size_and_an_order(client):
    sent = DocumentArray([Document(text=str(number)) for number in range(250)])
    answers = client.post("/sizes", sent, request_size=100, return_responses=True)
    assert [len(answer.docs) for answer in answers] == [100, 100, 50]
    assert [doc.tags["size"] for doc in client.post("/sizes", sent, request_size=100)[::100]] == [
        100,
        100,
        50,
    ]
    assert [doc.text for answer in answers for doc in answer.docs] == sent.texts


def test_answers_as_they_come(client, protocol):
    sent = [Document(text="0.4"), Document(text="0.0")]
    assert client.post("/after", sent, request_size=1).texts == ["0.4", "0.0"]
    assert client.post("/after", sent, request_size=1, results_in_order=False).texts == ["0.0", "0.4"]


def test_a_target(client):
    sent = Document(text="tea")
    assert client.post("/shout", sent, target_executor="wor").texts == ["TEA"]


# ---------------------------------------------------------------------------------------------- callbacks


def test_callbacks(client):
    seen = []

    def note(name):
        return lambda answer: seen.append(
            (name, answer.docs.texts if answer.error is None else answer.error.detail)
        )

    said = {
        "on_done": note("done"),
        "on_error": note("error"),
        "on_always": note("always"),
        "request_size": 1,
    }
    assert client.post("/fails_on_b", [Document(text="a"), Document(text="b")], **said) is None
    assert seen == [("done", ["a"]), ("always", ["a"]), ("error", "b"), ("always", "b")]


def test_without_on_error_it_is_raised(client):
    with pytest.raises(ExecutorError):
        client.post("/fails", Document(text="a"), on_done=lambda answer: None)


def test_what_fails_is_left_out(client):
    sent = [Document(text="a"), Document(text="b"), Document(text="c")]
    given = client.post("/fails_on_b", sent, request_size=1, continue_on_error=True)
    assert given.texts == ["a", "c"]


def test_a_callback_that_raises(client):
    with pytest.raises(CallbackError, match="ZeroDivisionError"):
        client.post("/same", Document(text="a"), on_done=lambda answer: 1 / 0)


# ---------------------------------------------------------------------------------------------- what goes wrong


def test_a_handler_raises(client):
    with pytest.raises(ExecutorError, match="work raised ValueError: no tea today") as caught:
        client.post("/fails", Document(text="a"))
    error = caught.value
    assert (error.executor, error.name, error.detail, error.traceback) == (
        "work",
        "ValueError",
        "no tea today",
        "",
    )
    assert client.post("/shout", Document(text="a")).texts == ["A"]


def test_a_traceback_where_it_is_told(protocol):
    with (
        Flow(protocol=protocol, debug=True).add(uses=Work, name="work") as flow,
        Client("localhost", flow.port, protocol) as client,
        pytest.raises(ExecutorError) as caught,
    ):
        client.post("/fails", Document(text="a"))
    assert 'raise ValueError("no tea today")' in caught.value.traceback
    assert isinstance(caught.value.__cause__, RemoteTraceback)


def test_no_endpoint(client):
    with pytest.raises(NoEndpoint, match="/nothing"):
        client.post("/nothing", Document(text="a"))


def test_a_handler_refuses(client):
    with pytest.raises(BadRequest, match="tea has no colour"):
        client.post("/refuses", Document(text="a"))


def test_no_room(protocol):
    with (
        Flow(protocol=protocol, max_in_flight=1).add(uses=Work) as flow,
        Client("localhost", flow.port, protocol) as client,
        Client("localhost", flow.port, protocol) as other,
    ):
        parts = other.stream("/endless")
        next(parts)
        with pytest.raises(Overloaded, match="takes no more") as caught:
            client.post("/same", Document(text="a"))
        assert caught.value.retry_after == 1
        parts.close()


def test_too_little_time(client, flow):
    worker(flow).ended.clear()
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        client.post("/slow", Document(text="a"), timeout=0.3)
    assert time.monotonic() - begun < 10
    assert worker(flow).ended.wait(10)  # nobody works on what nobody waits for
    assert client.post("/shout", Document(text="a")).texts == ["A"]


def test_the_time_of_a_client(flow, protocol):
    with (
        Client("localhost", flow.ports[protocol], protocol, timeout=0.3) as client,
        pytest.raises(DeadlineExceeded),
    ):
        client.post("/slow", Document(text="a"))


def test_a_key(protocol):
    with Flow(protocol=protocol, auth="secret").add(uses=Work) as flow:
        with Client("localhost", flow.port, protocol) as client:
            with pytest.raises(NotAllowed):
                client.post("/same", Document(text="a"))
            assert protocol == "grpc" or not _allowed(client)
        with Client("localhost", flow.port, protocol, api_key="secret") as client:
            assert client.post("/shout", Document(text="a")).texts == ["A"]
            assert client.is_flow_ready()


def _allowed(client):
    try:
        return client.is_flow_ready()
    except NotAllowed:
        return False


def test_nobody_is_there(protocol):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Client("localhost", port, protocol, retries=1) as client:
        with pytest.raises(Unavailable, match=str(port)):
            client.post("/same", Document(text="a"))
        assert client.is_flow_ready() is False


def test_the_server_comes_again(protocol):
    with Flow(protocol=protocol).add(uses=Work) as flow:
        port = flow.port
        client = Client("localhost", port, protocol, retries=5)
        assert client.post("/shout", Document(text="a")).texts == ["A"]
        assert client.is_flow_ready() is True
    with client:
        assert client.is_flow_ready() is False
        with Flow(protocol=protocol, port=port).add(uses=Work):
            assert client.post("/shout", Document(text="a")).texts == ["A"]
            assert client.is_flow_ready() is True


def test_a_request_that_was_cut_off_is_not_sent_again(protocol):
    came = []

    class Once(Executor):
        @requests
        async def once(self, docs, **kwargs):
            came.append(1)
            cut()
            await asyncio.sleep(5)

    with Flow(protocol=protocol, drain=0.2).add(uses=Once) as flow, counted(flow.port) as (port, accepted):

        def cut():
            for one in accepted:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

        with Client("localhost", port, protocol, retries=5) as client, pytest.raises(Unavailable):
            client.post("/", Document(text="a"))
        assert came == [1]


def test_something_else_is_there(protocol):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            here, _ = listener.accept()
            with here:
                here.recv(100)
                here.sendall(b"220 mail.example ESMTP\r\n" * 20)

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            Client("127.0.0.1", listener.getsockname()[1], protocol, retries=0) as client,
            pytest.raises((Unavailable, DeadlineExceeded)),
        ):
            client.post("/same", Document(text="a"), timeout=5)
        thread.join(10)


# ---------------------------------------------------------------------------------------------- streams


def test_a_stream(client):
    parts = list(client.stream("/count", Document(text="a"), parameters={"to": 3}))
    assert [doc.text for part in parts for doc in part] == ["0", "of", "1", "of", "2", "of"]
    assert [len(part) for part in parts] == [2, 2, 2]


def test_the_first_part_comes_before_the_last_is_made(client, flow):
    go_on = worker(flow).go_on
    go_on.clear()
    parts = client.stream_doc("/first", Document(text="a"))
    assert next(parts).text == "first"
    go_on.set()
    assert [doc.text for doc in parts] == ["second"]


def test_who_leaves_ends_the_handler(client, flow):
    worker(flow).ended.clear()
    parts = client.stream("/endless", Document(text="a"))
    next(parts)
    parts.close()
    assert worker(flow).ended.wait(10)
    assert client.post("/shout", Document(text="a")).texts == ["A"]


def test_a_stream_breaks(client):
    parts = client.stream("/breaks", Document(text="a"))
    assert next(parts).texts == ["first"]
    with pytest.raises(ExecutorError, match="the second"):
        next(parts)


def test_a_stream_that_nobody_answers(client):
    with pytest.raises(NoEndpoint):
        list(client.stream("/nothing", Document(text="a")))


def test_a_stream_has_its_time(client):
    with pytest.raises(DeadlineExceeded):
        for _ in client.stream("/endless", Document(text="a"), timeout=0.5):
            pass


# ---------------------------------------------------------------------------------------------- how much


def test_sixty_megabytes(client):
    sent = DocumentArray([Document(tensor=np.arange(15_000_000, dtype=np.float32))])
    given = client.post("/same", sent)
    assert np.array_equal(given[0].tensor, sent[0].tensor)


def test_more_than_the_server_takes(protocol):
    with (
        Flow(protocol=protocol, max_body=1 << 20).add(uses=Work) as flow,
        Client("localhost", flow.port, protocol) as client,
    ):
        with pytest.raises(BadRequest):
            client.post("/same", Document(tensor=np.zeros(1 << 18)))
        assert client.post("/shout", Document(text="a")).texts == ["A"]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is looked up in /proc")
def test_ten_thousand_requests_of_a_generator(client):
    def memory():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def asked(count):
        ahead = most = sent = 0

        def documents():
            nonlocal ahead, most, sent
            for number in range(count):
                ahead, sent = ahead + 1, sent + 1
                most = max(most, ahead)
                yield Document(text=f"{number}", embedding=np.zeros(1024, np.float32))

        def note(answer):
            nonlocal ahead
            assert answer.error is None
            ahead -= 1

        client.post("/same", documents(), request_size=1, on_always=note)
        assert (ahead, sent) == (0, count)
        assert most <= 40  # those on their way, and the next ones
        return memory()

    before = asked(1000)
    assert asked(10_000) - before < 20 << 20  # all of them are 40 MB


def test_one_connection(flow, protocol):
    with counted(flow.ports[protocol]) as (port, accepted):
        with Client("127.0.0.1", port, protocol) as client:
            for _ in range(20):
                client.post("/shout", Document(text="a"))
            assert len(accepted) == 1
            for _ in range(5):  # several at the same time: over one more, as many as there are
                client.post("/shout", [Document(text="a")] * 2, request_size=1, prefetch=1)
        assert len(accepted) == (1 if protocol == "grpc" else 2)


def test_a_connection_that_was_closed_meanwhile(flow, protocol):
    with counted(flow.ports[protocol]) as (port, accepted), Client("127.0.0.1", port, protocol) as client:
        client.post("/shout", Document(text="a"))
        for _ in range(3):
            for one in accepted:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            time.sleep(0.2)
            assert client.post("/shout", Document(text="a")).texts == ["A"]


def test_who_was_broken_off_is_not_mistaken_for_the_next(client):
    with pytest.raises(DeadlineExceeded):
        client.post("/slow", Document(text="late"), timeout=0.2)
    for number in range(5):
        assert client.post("/shout", Document(text=f"a{number}")).texts == [f"A{number}"]


def test_a_client_closed_by_another_thread(flow, protocol):
    client = Client("localhost", flow.ports[protocol], protocol)
    raised = []

    def ask():
        try:
            client.post("/slow", Document(text="a"))
        except (Unavailable, NotRunning) as error:
            raised.append(error)

    worker(flow).ended.clear()
    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    client.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(raised) == 1
    assert worker(flow).ended.wait(10)


# ---------------------------------------------------------------------------------------------- where it is asked


def test_within_a_loop_that_runs(client):
    async def cell():
        return client.post("/shout", Document(text="a")).texts

    assert asyncio.run(cell()) == ["A"]


def test_async(flow, protocol):
    async def main():
        async def sent():
            for number in range(250):
                await asyncio.sleep(0)
                yield Document(text=str(number))

        async with Client("localhost", flow.ports[protocol], protocol, asyncio=True) as client:
            assert await client.is_flow_ready()
            sizes, texts = [], []
            async for docs in client.post("/same", sent(), request_size=100):
                sizes.append(len(docs))
                texts += docs.texts
            parts = [part.texts async for part in client.stream("/count", parameters={"to": 2})]
            with pytest.raises(ExecutorError):
                async for _ in client.post("/fails", Document(text="a")):
                    pass
            return sizes, texts, parts

    sizes, texts, parts = asyncio.run(main())
    assert sizes == [100, 100, 50]
    assert texts == [str(number) for number in range(250)]
    assert parts == [["0", "of"], ["1", "of"]]


def test_one_client_in_two_loops(flow, protocol):
    with Client("localhost", flow.ports[protocol], protocol, asyncio=True) as client:

        async def main():
            return [docs.texts async for docs in client.post("/shout", Document(text="a"))]

        assert [asyncio.run(main()), asyncio.run(main())] == [[["A"]], [["A"]]]


def test_from_several_threads(client):
    given = {}

    def ask(number):
        given[number] = client.post("/shout", Document(text=f"a{number}")).texts

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given == {number: [f"A{number}"] for number in range(20)}


def test_a_flow_of_this_process():
    with Flow().add(uses=Work, name="work") as flow, Client(flow) as client:
        assert client.post("/shout", Document(text="a")).texts == ["A"]
        assert client.is_flow_ready() is True
        assert [len(part) for part in client.stream("/count", parameters={"to": 2})] == [2, 2]
    assert client.address is None


# ---------------------------------------------------------------------------------------------- the rest


def test_a_table_of_times(client, flow, protocol):
    table = client.profiling("/shout", Document(text="a"))
    assert [line.split()[0] for line in table.splitlines()[1:]] == [
        "roundtrip",
        "network",
        "gateway",
        "work",
        "mean",
    ]
    with pytest.raises(BadValue, match="profile=True"):
        client.profiling()
    with Client("localhost", flow.ports[protocol], protocol, profile=True) as other:
        other.post("/shout", [Document(text="a"), Document(text="b")], request_size=1)
        assert other.profiling().endswith("mean of 2 requests")


def test_what_can_be_sent():
    assert Client.check_input([Document(), "text", b"bytes"])
    assert Client.check_input(None)
    taken = iter([Document(), Document()])
    assert Client.check_input(taken)
    assert len(list(taken)) == 2
    with pytest.raises((FieldTypeError, BadValue)):
        Client.check_input([object()])


def test_a_closed_client(client):
    client.post("/shout", Document(text="a"))
    client.close()
    client.close()
    with pytest.raises(NotRunning):
        client.post("/shout", Document(text="a"))


@pytest.mark.parametrize("is_alone", [True, False], ids=["in this thread", "in its loop too"])
def test_a_client_that_nobody_holds_ends(flow, protocol, is_alone):
    with counted(flow.ports[protocol]) as (port, accepted):
        client = Client("localhost", port, protocol)
        client.post("/shout", Document(text="a"))
        if not is_alone:
            client.post("/shout", [Document(text="a"), Document(text="b")], request_size=1)
        loop, seen = client._own_loop, weakref.ref(client)
        assert (loop is None) == is_alone
        del client
        gc.collect()
        assert seen() is None
        if loop is not None:
            loop._thread.join(10)
            assert not loop._thread.is_alive()
        for one in accepted:
            one.settimeout(10)
            try:
                while one.recv(1 << 16):
                    """What it sent last may not be read yet."""
            except TimeoutError:
                pytest.fail("it is still open")
            except OSError:
                """It is closed, and so is its copy."""


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (("http://a:80",), "http://a:80"),
        (("https://a/x/",), "https://a:443/x"),
        (("ws://a:1",), "ws://a:1"),
        (("wss://a",), "wss://a:443"),
        (("grpcs://[::1]:5",), "grpcs://[::1]:5"),
        (("a:5",), "grpc://a:5"),
        (("a", 5, "HTTP"), "http://a:5"),
        (("::1", 5), "grpc://[::1]:5"),
        (("0.0.0.0", 5), "grpc://127.0.0.1:5"),
        (("a", 5, "http", True), "https://a:5"),
    ],
    ids=str,
)
def test_addresses(given, url):
    assert address(*given).url == url


@pytest.mark.parametrize(
    "given", [("a",), ("",), (5,), ("ftp://a:1",), ("a:b",), ("a", 0), ("a b:1",), ("a", 1, "smtp")]
)
def test_no_addresses(given):
    with pytest.raises(BadValue):
        Client(*given)


def test_metadata_that_cannot_be_sent(flow):
    for metadata in ({"content-length": "3"}, {"x\r\ny": "3"}, {"x": "a\r\nb: c"}, {"x": 3}):
        with (
            Client("localhost", flow.ports["http"], "http", metadata=metadata) as client,
            pytest.raises(BadValue),
        ):
            client.post("/shout", Document(text="a"))
