"""The server: real connections, clients that are slow, greedy or gone, and a stop that loses nothing."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from docarray import Document, DocumentArray
from docarray.errors import BadValue, FieldTypeError
from docarray.web import Limits, Service

for _module in ("uvicorn", "httptools", "strawberry", "fastapi", "prometheus_client", "websockets"):
    pytest.importorskip(_module, reason='pip install "docarray[serve]"')
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from docarray.web import Server  # noqa: E402
from docarray.web.server import CannotServe  # noqa: E402

ROOT = str(Path(__file__).parents[1])


def shelf(count=20):
    return DocumentArray(
        Document(id=f"d{at}", text=f"tea number {at}", embedding=[at, 1.0]) for at in range(count)
    )


def got(url, body=None, **headers):
    """The status and the JSON of a request."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def raw(server, data, seconds=10.0):
    """All that comes back for these bytes, until the server ends the connection or says no more."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as link:
        link.sendall(data)
        parts = []
        with contextlib.suppress(TimeoutError, ConnectionError):
            while part := link.recv(65536):
                parts.append(part)
        return b"".join(parts)


def opened(link):
    """Opens a socket for GraphQL over a connection."""
    link.sendall(
        b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    said = b""
    while not said.endswith(b"\r\n\r\n"):
        said += link.recv(1)
    assert said.startswith(b"HTTP/1.1 101 ")


def frame(data, code=1, mask=True, size=None):
    """A frame of a socket, as a client sends it."""
    size = len(data) if size is None else size
    head = bytes([0x80 | code])
    if size < 126:
        head += bytes([size | 128 * mask])
    elif size < 1 << 16:
        head += bytes([126 | 128 * mask]) + size.to_bytes(2, "big")
    else:
        head += bytes([127 | 128 * mask]) + size.to_bytes(8, "big")
    return head + (bytes(4) if mask else b"") + data  # a mask of zeros leaves the data as it is


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.01)


class Slow(Service):
    """Says when it began, and takes its time."""

    def __init__(self, docs, seconds=0.5, **options):
        super().__init__(docs, **options)
        self.seconds = seconds
        self.began = threading.Semaphore(0)

    def count(self, filter=None):
        self.began.release()
        time.sleep(self.seconds)
        return super().count(filter)


# ---------------------------------------------------------------------------------------------- where it is


def test_it_serves_for_as_long_as_its_block_lasts():
    before = {thread.name for thread in threading.enumerate()}
    with Server(shelf()) as server:
        assert (200, {"count": 20}) == got(f"{server.url}/documents/count")
        assert server.url == f"http://127.0.0.1:{server.port}"
    with pytest.raises(OSError):
        urlopen(server.url, timeout=2)
    until(lambda: {thread.name for thread in threading.enumerate()} <= before)


def test_a_port_that_is_taken_is_said():
    with Server(shelf()) as server, pytest.raises(CannotServe, match="another server running"):
        Server(shelf(), port=server.port)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"host": "0.0.0.0"}, BadValue, "without a key"),
        ({"host": "192.0.2.1"}, BadValue, "without a key"),
        ({"host": "192.0.2.1", "insecure": True}, CannotServe, "cannot be listened to"),
        ({"host": "no such host"}, BadValue, "without a key"),
        ({"port": 70000}, BadValue, "65535"),
        ({"port": "80"}, BadValue, "65535"),
        ({"grace": 0}, BadValue, "grace"),
        ({"connections": 0}, BadValue, "connections"),
        ({"root_path": "shelf"}, BadValue, "'/shelf'"),
        ({"root_path": "/shelf/"}, BadValue, "slash at the end"),
        ({"nmae": "x"}, TypeError, "nmae"),
    ],
)
def test_what_cannot_be_is_said_at_once(options, error, message):
    before = threading.active_count()
    with pytest.raises(error, match=message):
        Server(shelf(), **options)
    assert before == threading.active_count()


def test_with_a_key_other_machines_may_come_in():
    with Server(shelf(), host="0.0.0.0", api_key="key") as server:
        assert 401 == got(f"{server.url}/documents/count")[0]
        assert 200 == got(f"{server.url}/documents/count", **{"X-API-Key": "key"})[0]


def test_without_a_key_it_is_asked_by_a_name_of_this_machine():
    """Else the page of any site could have its own name lead here."""
    with Server(shelf()) as server:
        assert 200 == got(f"http://localhost:{server.port}/documents/count")[0]
        said = raw(server, b"GET /documents HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n")
    assert said.split(b" ")[1] in (b"400", b"403", b"421")


def test_any_application_is_served():
    async def hello(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b'"hello"'})

    with Server(hello) as server:
        assert (200, "hello") == got(server.url)
    with pytest.raises(FieldTypeError, match="options of an application"):
        Server(hello, writable=True)
    with pytest.raises(FieldTypeError, match="got a int"):
        Server(3)


def test_an_application_that_does_not_start_is_said():
    async def broken(scope, receive, send):
        raise RuntimeError("no")

    async def refuses(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "not today"})

    with pytest.raises(CannotServe, match="did not start"):
        Server(refuses).start()


def test_a_server_is_started_once():
    server = Server(shelf())
    with server, pytest.raises(CannotServe, match="once"):
        server.start()
    with pytest.raises(CannotServe, match="once"):
        server.start()
    Server(shelf()).stop()


def test_a_proxy_is_believed_where_it_is_named():
    async def tells(scope, receive, send):
        if scope["type"] == "http":
            said = json.dumps([scope["client"][0], scope["scheme"]]).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": said})

    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    with Server(tells) as server:
        assert ["127.0.0.1", "http"] == got(server.url, **headers)[1]
    with Server(tells, proxies=["127.0.0.1"]) as server:
        assert ["192.0.2.7", "https"] == got(server.url, **headers)[1]


# ---------------------------------------------------------------------------------------------- clients that hold on


def test_a_head_that_never_ends_is_given_up():
    with Server(shelf(), head_timeout=0.3) as server:
        begun = time.monotonic()
        said = raw(server, b"GET / HTTP/1.1\r\nHost: local")
        assert b" 408 " in said.split(b"\r\n")[0]
        assert b"" == raw(server, b"")
        assert time.monotonic() - begun < 5
        assert 200 == got(f"{server.url}/documents/count")[0]


def test_a_head_that_is_too_large_is_refused():
    with Server(shelf(), head=2000) as server:
        for data in (
            b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        ):
            assert b" 431 " in raw(server, data).split(b"\r\n")[0]
        assert 200 == got(f"{server.url}/documents/count")[0]


def test_more_connections_than_may_are_told_so():
    with Server(shelf(), connections=3, head_timeout=5) as server:
        with contextlib.ExitStack() as open_ones:
            for _ in range(3):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            time.sleep(0.1)
            assert 503 == got(f"{server.url}/documents/count")[0]
        until(lambda: got(f"{server.url}/documents/count")[0] == 200)


def test_who_does_not_read_is_cut_off():
    docs = DocumentArray(Document(text="x" * 10_000) for _ in range(3_000))
    with Server(docs, limits=Limits(timeout=1.0)) as server, socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("127.0.0.1", server.port))
        link.sendall(
            b"GET /documents?first=1000 HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n"
        )
        until(lambda: not server._uvicorn.server_state.connections, 15)


def test_who_does_not_read_a_short_answer_is_cut_off_too():
    """Few bytes wait, the answer is complete, and the connection would wait for them for ever."""
    server = Server(DocumentArray([Document(id="a", text="x" * 40_000)]), limits=Limits(timeout=1.0))
    server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with server, socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("127.0.0.1", server.port))
        link.sendall(b"GET /documents/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connections = server._uvicorn.server_state.connections
        until(lambda: connections)
        until(lambda: not connections, 15)


def test_a_request_to_two_hosts_is_none():
    """A proxy may have believed the other one."""
    with Server(shelf()) as server:
        said = raw(server, b"GET /info HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert b" 400 " in said.split(b"\r\n")[0]


SUBSCRIBED = [
    {"type": "connection_init"},
    {"type": "subscribe", "id": "1", "payload": {"query": "subscription { changes { documents { text } } }"}},
]


@contextlib.contextmanager
def subscribed(server):
    """A socket that is told of changes."""
    url = f"ws://127.0.0.1:{server.port}/graphql"
    with connect(url, subprotocols=["graphql-transport-ws"], compression=None) as link:
        for message in SUBSCRIBED:
            link.send(json.dumps(message))
        assert "connection_ack" == json.loads(link.recv(10))["type"]
        yield link


def test_a_socket_stays_open_where_nothing_happens():
    """The seconds in which a head must have come, and those of a connection without a request, are not its own."""
    service = Service(shelf(), writable=True)
    with Server(service, head_timeout=0.2, keep_alive=0.2) as server, subscribed(server) as link:
        time.sleep(0.8)
        got(f"{server.url}/documents", {"id": "new", "text": "cocoa"})
        said = json.loads(link.recv(10))
    assert [{"text": "cocoa"}] == said["payload"]["data"]["changes"]["documents"]
    service.close()


def test_a_socket_is_told_that_the_server_stops():
    server = Server(shelf()).start()
    with subscribed(server) as link:
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 5
        with pytest.raises(ConnectionClosed) as closed:
            link.recv(10)
    assert 1012 == closed.value.rcvd.code


def test_a_socket_that_does_not_read_is_cut_off():
    service = Service(shelf(), writable=True, limits=Limits(timeout=1.0))
    server = Server(service)
    server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with server, socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(("127.0.0.1", server.port))
        opened(link)
        link.sendall(b"".join(frame(json.dumps(message).encode()) for message in SUBSCRIBED))
        assert b"connection_ack" in link.recv(4096)
        for at in range(4):
            got(f"{server.url}/documents", {"id": f"n{at}", "text": "x" * 30_000})
        until(lambda: not sockets_of(server), 15)
    service.close()


def test_a_socket_that_asks_for_answers_and_reads_none_holds_no_memory():
    server = Server(shelf(), limits=Limits(timeout=2.0))
    server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pings = frame(b"x" * 125, code=9) * 1000
    with server, socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(5)
        link.connect(("127.0.0.1", server.port))
        opened(link)
        until(lambda: sockets_of(server))
        (one,) = sockets_of(server)
        most = 0
        with contextlib.suppress(OSError):
            for _ in range(40):
                link.sendall(pings)
                most = max(most, one.transport.get_write_buffer_size())
        until(lambda: not sockets_of(server), 15)
    assert 0 < most < 1 << 20


def sockets_of(server):
    return [one for one in server._uvicorn.server_state.connections if "Socket" in type(one).__name__]


def test_work_that_takes_too_long_is_answered():
    with Server(Slow(shelf(), 2.0, limits=Limits(timeout=0.3))) as server:
        begun = time.monotonic()
        status, problem = got(f"{server.url}/documents/count")
        assert status in (503, 504)
        assert time.monotonic() - begun < 1.5
        assert "detail" in problem


def test_who_goes_does_not_keep_others_waiting():
    """A request that waits for its turn when its client goes is not worked on."""
    service = Slow(shelf(), 0.3, limits=Limits(threads=1))
    with Server(service) as server:
        links = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
        for link in links:
            link.sendall(b"GET /documents/count HTTP/1.1\r\nHost: localhost\r\n\r\n")
        service.began.acquire()
        time.sleep(0.1)
        for link in links:
            link.close()
        begun = time.monotonic()
        assert 200 == got(f"{server.url}/documents/count")[0]
        assert time.monotonic() - begun < 1.2
    service.close()


# ---------------------------------------------------------------------------------------------- the end


def test_what_was_accepted_is_answered_before_the_end():
    service = Slow(shelf(), 0.4, limits=Limits(threads=4))
    found = []
    server = Server(service).start()
    clients = [
        threading.Thread(target=lambda: found.append(got(f"{server.url}/documents/count"))) for _ in range(4)
    ]
    for client in clients:
        client.start()
    for _ in clients:
        service.began.acquire()
    server.stop()
    for client in clients:
        client.join()
    assert [(200, {"count": 20})] * 4 == found
    service.close()


def test_what_takes_longer_than_the_grace_is_given_up():
    service = Slow(shelf(), 3.0)
    server = Server(service, grace=1).start()

    def ask():
        with contextlib.suppress(OSError, ValueError):
            got(f"{server.url}/documents/count")

    client = threading.Thread(target=ask)
    client.start()
    service.began.acquire()
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 2.9
    client.join()
    service.close()


SCRIPT = """
import sys, time
from docarray import Document, DocumentArray
from docarray.web import Service, serve

class Slow(Service):
    def count(self, filter=None):
        time.sleep(0.05)
        return super().count(filter)

docs = DocumentArray([Document(text="tea")])
serve(Slow(docs), port=0, ready=lambda url: print(url, flush=True))
print("the end", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_no_accepted_request_is_lost_when_it_is_told_to_stop(number):
    """Under load: every request that got a connection gets its answer."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    try:
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        lost, answered = [], []

        def load():
            while True:
                try:
                    link = socket.create_connection(("127.0.0.1", port), timeout=10)
                except OSError:
                    return  # no more are accepted
                with link:
                    try:
                        link.sendall(
                            b"GET /documents/count HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                        )
                        said = b"".join(iter(functools.partial(link.recv, 65536), b""))
                    except OSError as error:
                        lost.append(repr(error))
                        return
                    (answered if b'{"count": 1}' in said else lost).append(said)

        clients = [threading.Thread(target=load) for _ in range(8)]
        for client in clients:
            client.start()
        until(lambda: len(answered) > 20)
        process.send_signal(number)
        for client in clients:
            client.join(20)
        out, err = process.communicate(timeout=20)
        assert (0, "the end\n", "") == (process.returncode, out, err)
        assert [] == lost
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------------------------------------- hostile clients

INIT = frame(b'{"type":"connection_init"}')


HOSTILE_FRAMES = [
    b"",
    frame(b"{}", mask=False),
    frame(b"\xff\xfe"),
    frame(b"{"),
    frame(b"null"),
    frame(b'{"type":"nope"}'),
    frame(b'{"type":"subscribe","id":"1","payload":{"query":"{info{name}}"}}'),
    INIT + INIT,
    INIT + frame(b"[" * 50_000),
    INIT + frame(b'{"type":"subscribe","id":[1],"payload":{"query":1}}'),
    INIT + frame(b'{"type":"subscribe","id":"1","payload":[1]}'),
    INIT + frame(b'{"type":"subscribe","id":"1","payload":{"query":"' + b"{a" * 9_000 + b'"}}'),
    INIT
    + b"".join(frame(b'{"type":"subscribe","id":"%d","payload":{"query":"{x}"}}' % at) for at in range(300)),
    INIT + frame(b"\x00\x01", code=2),
    frame(b"x", size=1 << 40),
    frame(b"a", code=5),
    frame(b"x" * 300, code=9),
    b"GET / HTTP/1.1\r\n\r\n",
]


def test_sockets_of_hostile_clients_do_no_harm(caplog):
    """They end, or are told what was wrong; none fills the log, and none is left."""
    with Server(shelf(), limits=Limits(timeout=0.5)) as server:
        with contextlib.ExitStack() as ends:
            links = [
                ends.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
                for _ in HOSTILE_FRAMES
            ]
            for link, frames in zip(links, HOSTILE_FRAMES, strict=True):
                opened(link)
                link.sendall(frames)
            for link in links:
                with contextlib.suppress(ConnectionError):
                    assert link.recv(65536)
            time.sleep(0.7)
            assert 200 == got(f"{server.url}/documents/count")[0]
        until(lambda: not sockets_of(server))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text


def memory():
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def hostile(rng):
    """One request that nobody should send, as bytes."""
    deep = "{a" * rng.randrange(1, 3000)
    nested = "[" * rng.randrange(1, 20_000)
    huge = "x" * rng.randrange(1, 60_000)
    queries = [
        deep,
        "{" * 500,
        "query { documents { nodes { " + "chunks { nodes { " * 40 + "id",
        "{ __schema { types { fields { type { fields { name } } } } } }",
        "{ " + " ".join(f"a{at}: documents {{ totalCount }}" for at in range(300)) + " }",
        'mutation { delete(ids: ["d0"]) { ids } }',
        "query($a: Int) { documents(first: $a) { totalCount } }",
        "fragment a on Document { ...a } { documents { nodes { ...a } } }",
        '{ search(text: "' + huge + '") { score } }',
        "{ search(vector: [" + "1," * 5000 + "1]) { score } }",
        "\x00",
        "",
        "{documents(first:-1){totalCount}}",
        '{ documents(filter: "{\\"text\\": {\\"$regex\\": \\"(a+)+$\\"}}") { totalCount } }',
        "subscription { changes { written } }",
    ]
    bodies = [
        json.dumps({"query": rng.choice(queries)}).encode(),
        nested.encode(),
        b"\xff\xfe" * 40,
        b"",
        b"null",
        b"[]",
        b'{"vector": "x"}',
        json.dumps({"vector": [1e308, -1e308]}).encode(),
        b'{"vector": [NaN]}',
        b'{"text": "tea", "limit": 1e99}',
        b'{"like": "' + huge.encode() + b'"}',
        json.dumps({"text": "tea", "filter": {"$or": [{"a": 1}] * 2000}}).encode(),
        b'{"filter": {"tags__x": {"$regex": "(a+)+$"}}, "text": "a"}',
    ]
    paths = [
        "/graphql",
        "/search",
        "/documents",
        "/documents/" + huge[:3000],
        "/documents/%00",
        "/documents/..%2f..%2fetc%2fpasswd",
        "/documents?first=-1",
        "/documents?after=" + huge[:2000],
        "/documents?filter=" + "%7B" * 500,
        "/search?text=" + "%F0%9F%98%80" * 200,
        "/documents?sort=" + "-a," * 300,
        "/search?vector=1,2&metric=nope",
        "/openapi.json?x=1",
        "/healthz?ready=%00",
        "/nothing",
        "//",
        "/graphql?query=" + "%7B" * 900,
        "*",
        "/documents?fields=" + "text," * 500,
        "/info?x",
        "/documents/count?filter=[]",
    ]
    method = rng.choice(
        ["GET", "POST", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"]
    )
    types = [
        "application/json",
        "application/json; charset=utf-16",
        "text/plain",
        "application/vnd.docarray",
        "application/x-protobuf",
        "multipart/form-data",
        "",
    ]
    body = rng.choice(bodies)
    lines = [
        f"{method} {rng.choice(paths)} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {rng.choice(types)}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        rng.choice(
            [
                "Accept: */*",
                "Accept: text/html;q=0",
                "Accept: " + "a/b," * 200,
                "Content-Encoding: gzip",
                "Accept: text/event-stream",
                "Range: bytes=0-",
            ]
        ),
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    odd = rng.random()
    if odd < 0.05:
        return bytes(rng.randrange(256) for _ in range(200))
    if odd < 0.1:
        return head[: rng.randrange(len(head))]
    if odd < 0.15:
        return head.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX-Was") + b"zz\r\n" + body
    return head + body


def test_two_thousand_hostile_requests_do_no_harm(caplog):
    """None is answered 500, none is left unanswered for ever, nothing grows, and the server still works."""
    rng = random.Random(6)
    statuses: dict[bytes, int] = {}
    limits = Limits(timeout=5.0, body=200_000)
    most = (
        threading.active_count() + 1 + limits.threads
    )  # that of the server, and those of its work as they come
    with Server(shelf(), head_timeout=0.3, limits=limits) as server:

        def attack(count):
            seeds = [rng.getrandbits(64) for _ in range(4)]

            def some(seed):
                own = random.Random(seed)
                for _ in range(count // 4):
                    said = raw(server, hostile(own), 10)
                    status = said.split(b" ")[1] if said.startswith(b"HTTP/1.1 ") else b"none"
                    statuses[status] = statuses.get(status, 0) + 1

            clients = [threading.Thread(target=some, args=(seed,)) for seed in seeds]
            for client in clients:
                client.start()
            for client in clients:
                client.join()

        attack(400)
        gc.collect()
        before = memory()
        attack(1600)
        gc.collect()
        grown = memory() - before
        assert threading.active_count() <= most
        assert grown < 30 << 20, f"{grown >> 20} MB more"
        assert (200, {"count": 20}) == got(f"{server.url}/documents/count")
        until(lambda: len(server._uvicorn.server_state.connections) <= 1)
    assert 2000 == sum(statuses.values())
    assert not [status for status in statuses if status.startswith(b"50") and status not in (b"501", b"503")]
    assert statuses[b"200"] > 50
    assert statuses.keys() >= {b"400", b"404", b"405", b"415", b"422"}
    assert not [record for record in caplog.records if record.exc_info]
