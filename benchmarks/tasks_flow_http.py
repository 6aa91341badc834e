"""The work of bench_flow_http.py: see tasks.py for the rules.

A side is a client, and a server in a process of its own. The client keeps its connections open and sends the next
request when the answer to the last one is there.

    python benchmarks/tasks_flow_http.py flow

serves until its input ends, and says its ports first.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from tasks import task
from tasks_web import Connection

WIDTH = 128
WIDE = 768  # of binary bodies
BINARY = "application/vnd.docarray"


# --- the server ----------------------------------------------------------------------------------------------------


def fastapi():
    """What one writes by hand today, for speed; `/plain` has its handler in a thread, as plain ones are there."""
    import orjson
    from fastapi import FastAPI, Request, Response
    from fastapi.concurrency import run_in_threadpool

    app = FastAPI()

    def upper_all(docs):
        for doc in docs:
            doc["text"] = doc["text"].upper()

    def read(body):
        said = orjson.loads(body)
        for doc in said["data"]:
            doc["embedding"] = np.array(doc["embedding"], np.float32)
        return said

    def written(said):
        body = {"parameters": said.get("parameters", {}), "data": said["data"]}
        return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    @app.post("/upper")
    async def upper(request: Request):
        said = read(await request.body())
        upper_all(said["data"])
        return written(said)

    @app.post("/plain")
    async def plain(request: Request):
        said = read(await request.body())
        await run_in_threadpool(upper_all, said["data"])
        return written(said)

    return app


def pydantic():
    """What one writes by hand today, for its types."""
    from typing import Any

    from fastapi import FastAPI
    from pydantic import BaseModel

    class Doc(BaseModel):
        id: str
        text: str
        embedding: list[float]

    class Body(BaseModel):
        data: list[Doc]
        parameters: dict[str, Any] = {}

    app = FastAPI()

    @app.post("/upper")
    async def upper(said: Body) -> Body:
        for doc in said.data:
            doc.text = doc.text.upper()
        return said

    return app


async def echo(scope, receive, send):
    """Sends back what came."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        return
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message["more_body"]
    body = b"".join(parts)
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def flow():
    """The Flow of both benchmarks, and what it is beside."""
    from docarray.flow import Executor, Flow, requests

    class Shop(Executor):
        @requests(on="/upper")
        async def upper(self, docs, **kwargs):
            docs.texts = [text.upper() for text in docs.texts]

        @requests(on="/plain")
        def plain(self, docs, **kwargs):
            docs.texts = [text.upper() for text in docs.texts]

        @requests(on="/nothing")
        async def nothing(self, docs, **kwargs): ...

        @requests(on="/embed")
        async def embed(self, docs, **kwargs):
            embed(docs)

        @requests(on="/stages")
        async def stages(self, docs, **kwargs):
            capitals(docs)

    class Second(Executor):
        @requests(on="/stages")
        async def stages(self, docs, **kwargs):
            embed(docs)

    class Third(Executor):
        @requests(on="/stages")
        async def stages(self, docs, **kwargs):
            mark(docs)

    made = Flow(protocol=("http", "grpc"), metrics=False)
    return made.add(uses=Shop).add(uses=Second).add(uses=Third)


def capitals(docs) -> None:
    docs.texts = [text.upper() for text in docs.texts]


def embed(docs) -> None:
    docs.embeddings = docs.embeddings @ WEIGHTS


def mark(docs) -> None:
    docs[:, "tags"] = [{"seen": True}] * len(docs)


STAGES = (capitals, embed, mark)
WEIGHTS = np.random.default_rng(5).random((WIDTH, WIDTH), np.float32)


async def stages(scope, receive, send):
    """Frames of a socket through three stages, by hand."""
    from docarray.flow import wire

    await receive()
    await send({"type": "websocket.accept", "subprotocol": "docarray.v1"})
    while (message := await receive())["type"] == "websocket.receive":
        head, docs = wire.framed(message["bytes"])
        rows = head.pop("rows", None) is not None
        for stage in STAGES:
            stage(docs)
        await send({"type": "websocket.send", "bytes": wire.framed_of(wire.dumps(head), docs, rows)})


def until_input_ends(*ports: int) -> None:
    """Says the ports, and waits."""
    print(*ports, flush=True)
    sys.stdin.read()


def serve(kind: str) -> None:
    if kind == "flow":
        with flow() as served:
            until_input_ends(served.ports["http"], served.ports["grpc"])
        return
    import uvicorn

    # Its protocol is said, or asyncio leaves Nagle's algorithm on: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    app = {
        "fastapi": fastapi,
        "pydantic": pydantic,
        "echo": lambda: echo,
        "stages": lambda: stages,
    }[kind]()
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1 << 26,
        log_level="warning",
        access_log=False,
        lifespan="off",
    )
    server = uvicorn.Server(config)

    def ends() -> None:
        until_input_ends(listener.getsockname()[1])
        server.should_exit = True

    threading.Thread(target=ends, daemon=True).start()
    server.run([listener])


@contextlib.contextmanager
def running(kind: str, script: str = __file__):
    """The ports of a server of this kind."""
    process = subprocess.Popen(
        [sys.executable, Path(script).resolve(), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield [int(port) for port in process.stdout.readline().split()]
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


# --- the client ----------------------------------------------------------------------------------------------------


def documents(n: int, width: int = WIDTH):
    from docarray import DocumentArray

    rows = np.random.default_rng(7).random((n, width), np.float32)
    return DocumentArray.from_columns(
        id=[f"{at}" for at in range(n)], text=[f"document {at}" for at in range(n)], embedding=rows
    )


def json_of(n: int, endpoint: str | None = None) -> bytes:
    docs = json.loads(documents(n).to_json())
    small = [{name: doc[name] for name in ("id", "text", "embedding")} for doc in docs]
    said = {"data": small, "parameters": {"k": 1}}
    return json.dumps({**said, **({"execEndpoint": endpoint} if endpoint else {})}).encode()


def request(path: str, body: bytes, media: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\nAccept: {media}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def load(port: int, asked: bytes, connections: int, count: int) -> float:
    """Seconds of a request."""
    loop = asyncio.get_running_loop()
    todo = iter([asked] * count)
    begun = time.perf_counter()
    pairs = [
        await loop.create_connection(lambda: Connection(todo), "127.0.0.1", port) for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in pairs))
    return (time.perf_counter() - begun) / count


async def one(port: int, asked: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(iter([asked])), "127.0.0.1", port)
    await connection.done
    return connection.answer


def times(n: int, connections: int = 1) -> int:
    """Requests of a round, which is to take a tenth of a second or two."""
    return 1_000 if connections > 1 else {1: 300, 100: 50}.get(n, 8)


def _http(name: str, kind: str, path: str, media: str, body, told, connections: int = 1) -> None:
    def work(n: int):
        asked = request(path, body(n), media)
        with running(kind) as (port, *_):
            found = told(asyncio.run(one(port, asked)))
            while True:
                yield asyncio.run(load(port, asked, connections, times(n, connections))), found

    work.__name__ = f"flow_http_{name}"
    task(work)


def _texts(answer: bytes) -> list:
    return [doc["text"] for doc in json.loads(answer)["data"]]


def _ids(answer: bytes) -> list:
    from docarray import DocumentArray

    return [doc.id for doc in DocumentArray.from_bytes(answer)]


def _socket(name: str, kind: str, protocol: str, message, told, ahead: int = 1) -> None:
    def work(n: int):
        from websockets.sync.client import connect

        asked = message(n)
        with (
            running(kind) as (port, *_),
            connect(
                f"ws://127.0.0.1:{port}", subprotocols=[protocol], compression=None, max_size=None
            ) as socket,
        ):
            socket.send(asked)
            found = told(socket.recv())
            count = times(n, ahead)
            while True:
                begun = time.perf_counter()
                for _ in range(ahead):
                    socket.send(asked)
                for _ in range(count - ahead):
                    socket.recv()
                    socket.send(asked)
                for _ in range(ahead):
                    socket.recv()
                yield (time.perf_counter() - begun) / count, found

    work.__name__ = f"flow_http_{name}"
    task(work)


def frame(n: int, endpoint: str = "/nothing") -> bytes:
    from docarray.flow.wire import request_frame

    return request_frame(documents(n), endpoint, {"k": 1})


def of_frame(answer: bytes) -> int:
    from docarray.flow.wire import framed

    return len(framed(answer)[1])


def client(name: str, protocol: str) -> None:
    """Our client: `post`, to the documents that come back."""

    def work(n: int):
        from docarray.flow import Client

        docs = documents(n)
        with (
            running("flow") as (http, grpc),
            Client("127.0.0.1", grpc if protocol == "grpc" else http, protocol) as asks,
        ):
            count = times(n)
            while True:
                begun = time.perf_counter()
                for _ in range(count):
                    found = asks.post("/nothing", docs, request_size=n)
                yield (time.perf_counter() - begun) / count, len(found)

    work.__name__ = name
    task(work)


_JSON = "application/json"
_http("json_async", "flow", "/upper", _JSON, json_of, _texts)
_http("json_plain", "flow", "/plain", _JSON, json_of, _texts)
_http("json_async_fastapi", "fastapi", "/upper", _JSON, json_of, _texts)
_http("json_plain_fastapi", "fastapi", "/plain", _JSON, json_of, _texts)
_http("many_async", "flow", "/upper", _JSON, json_of, _texts, 64)
_http("many_pydantic", "pydantic", "/upper", _JSON, json_of, _texts, 64)
_http("binary_flow", "flow", "/nothing", BINARY, lambda n: documents(n, WIDE).to_bytes(), _ids)
_http("binary_echo", "echo", "/nothing", BINARY, lambda n: documents(n, WIDE).to_bytes(), _ids)
for _kind in ("flow", "echo"):
    _socket(
        f"socket_{_kind}",
        _kind,
        "json",
        lambda n: json_of(n, "/nothing").decode(),
        lambda answer: len(json.loads(answer)["data"]),
    )
    _socket(f"frames_{_kind}", _kind, "docarray.v1", frame, of_frame)
    _socket(f"many_frames_{_kind}", _kind, "docarray.v1", frame, of_frame, 64)
for _kind in ("flow", "stages"):
    _socket(f"stages_{_kind}", _kind, "docarray.v1", lambda n: frame(n, "/stages"), of_frame)
client("flow_http_client", "http")
client("flow_http_client_socket", "websocket")


def raw(n: int):
    """The client of the standard library, which sends and reads bytes, asking the Flow."""
    import http.client

    asked, media = frame(n), "application/vnd.docarray.frame"
    with (
        running("flow") as (port, *_),
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection,
    ):
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask() -> bytes:
            connection.request("POST", "/post", asked, {"Content-Type": media, "Accept": media})
            return connection.getresponse().read()

        count, found = times(n), of_frame(ask())
        while True:
            begun = time.perf_counter()
            for _ in range(count):
                ask()
            yield (time.perf_counter() - begun) / count, found


raw.__name__ = "flow_http_raw_client"
task(raw)


if __name__ == "__main__":
    serve(sys.argv[1])
