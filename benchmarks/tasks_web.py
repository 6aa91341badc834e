"""The work of bench_web.py: see tasks.py for the rules.

A side is a client, and a server in a process of its own with one event loop. The client speaks HTTP/1.1 over
connections that stay open and sends the next request when the answer to the last one is there.

    python benchmarks/tasks_web.py handler 10000 memory

serves until its input ends, and says its port first.
"""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tasks import ids, matrix, queries, tags, task, texts

ROUND = 400  # requests of one round
LIMIT = 10
KINDS = ("handler", "rest", "graphql")
STORES = ("memory", "sqlite")
QUERY = (
    "query Nearest($vector: [Float!], $limit: Int) { search(vector: $vector, limit: $limit)"
    " { document { id text tags } score } }"
)


# --- the server ----------------------------------------------------------------------------------------------------


def served(n: int, store: str, folder: str):
    """The array that all three serve."""
    from docarray import DocumentArray

    columns = {"id": ids(n), "text": texts(n), "tags": tags(n), "embedding": matrix(n)}
    docs = DocumentArray.from_columns(**columns)
    if store == "memory":
        return docs
    stored = DocumentArray(storage="sqlite", config={"connection": f"{folder}/docs.db"})
    stored.extend(docs)
    return stored


def handler(docs):
    """What one writes by hand today."""
    import threading
    from typing import Any

    import numpy as np
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Wanted(BaseModel):
        vector: list[float]
        limit: int = LIMIT

    class Hit(BaseModel):
        id: str
        text: str
        tags: dict[str, Any]
        score: float

    app = FastAPI()
    turn = threading.Lock()  # an array in memory belongs to one thread at a time

    @app.post("/search")
    def search(wanted: Wanted) -> list[Hit]:
        with turn:
            found = docs.find(np.array(wanted.vector, np.float32), limit=wanted.limit)
            return [
                Hit(id=doc.id, text=doc.text, tags=doc.tags, score=doc.scores["cosine"].value)
                for doc in found
            ]

    return app


def rest(docs):
    from docarray.web import Service, rest_app

    return rest_app(Service(docs))


def graphql(docs):
    from docarray.web import Service, graphql_app

    return graphql_app(Service(docs))


def serve(kind: str, n: int, store: str) -> None:
    import uvicorn

    folder = tempfile.mkdtemp()
    docs = served(n, store, folder)
    app = {"handler": handler, "rest": rest, "graphql": graphql}[kind](docs)
    # Its protocol is said, or asyncio leaves Nagle's algorithm on: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    config = uvicorn.Config(app, http="httptools", log_level="warning", access_log=False)
    server = uvicorn.Server(config)

    def until_input_ends() -> None:
        print(listener.getsockname()[1], flush=True)
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=until_input_ends, daemon=True).start()
    try:
        server.run([listener])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(kind: str, n: int, store: str):
    """The port of a server of this kind."""
    process = subprocess.Popen(
        [sys.executable, Path(__file__).resolve(), kind, str(n), store],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


# --- the client ----------------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, requests) -> None:
        self.requests = requests
        self.seconds: list[float] = []
        self.answer = b""
        self.done = asyncio.get_running_loop().create_future()
        self._got = bytearray()

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self._transport.close()
            return
        self._begun = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head = self._got.find(b"\r\n\r\n")
        if head < 0:
            return
        fields = bytes(self._got[:head]).lower()
        at = fields.index(b"content-length:") + 15
        length = int(fields[at:].split(b"\r\n", 1)[0])
        if len(self._got) < head + 4 + length:
            return
        self.seconds.append(time.perf_counter() - self._begun)
        self.answer = bytes(self._got[head + 4 :])
        self._got.clear()
        if not fields.startswith(b"http/1.1 200"):
            self.done.set_exception(RuntimeError(f"{fields[:40]!r}: {self.answer[:200]!r}"))
            self._transport.close()
            return
        self._next()

    def connection_lost(self, error) -> None:
        if not self.done.done():
            self.done.set_result(None) if error is None else self.done.set_exception(error)


def requests_of(kind: str) -> list[bytes]:
    """One for each of a hundred vectors."""
    out = []
    for row in queries(100).tolist():
        if kind == "graphql":
            path, asked = "/graphql", {"query": QUERY, "variables": {"vector": row, "limit": LIMIT}}
        elif kind == "rest":
            path, asked = "/search", {"vector": row, "limit": LIMIT, "fields": ["text", "tags", "scores"]}
        else:
            path, asked = "/search", {"vector": row, "limit": LIMIT}
        body = json.dumps(asked).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        out.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return out


def told(kind: str, answer: bytes) -> list:
    """What was found, in the words of no side."""
    said = json.loads(answer)
    if kind == "graphql":
        found = said["data"]["search"]
        hits, scores = [hit["document"] for hit in found], [hit["score"] for hit in found]
    elif kind == "rest":
        hits = said if isinstance(said, list) else said["documents"]
        scores = [hit["scores"]["cosine"]["value"] for hit in hits]
    else:
        hits, scores = said, [hit["score"] for hit in said]
    return [[h["id"], h["text"], h["tags"], round(s, 4)] for h, s in zip(hits, scores, strict=True)]


async def load(port: int, requests: list[bytes], connections: int, count: int):
    """Seconds of the whole, seconds of each request, and the last answer to the last of the vectors."""
    loop = asyncio.get_running_loop()
    todo = (requests[i % len(requests)] for i in range(count))
    begun = time.perf_counter()
    pairs = [
        await loop.create_connection(lambda: Connection(todo), "127.0.0.1", port) for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in pairs))
    seconds = time.perf_counter() - begun
    return seconds, sorted(s for _, connection in pairs for s in connection.seconds)


async def one(port: int, request: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(iter([request])), "127.0.0.1", port)
    await connection.done
    return connection.answer


def _task(kind: str, store: str, connections: int, what: str) -> None:
    def work(n: int):
        requests = requests_of(kind)
        with running(kind, n, store) as port:
            found = told(kind, asyncio.run(one(port, requests[7])))
            count = ROUND if n > 3_000 else 40
            while True:
                seconds, each = asyncio.run(load(port, requests, connections, count))
                value = seconds / count if what == "mean" else each[int(0.99 * len(each))]
                yield value, found

    work.__name__ = f"web_{kind}_{store}_{connections}_{what}"
    task(work)


for _kind in KINDS:
    for _store in STORES:
        for _connections in (1, 16):
            for _what in ("mean", "p99"):
                _task(_kind, _store, _connections, _what)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
