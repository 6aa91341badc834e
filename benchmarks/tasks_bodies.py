"""The work of bench_web_bodies.py: see tasks.py for the rules.

A side is an application of FastAPI, called in ASGI without a socket: what is measured is the reading of a body into a
matrix, or the writing of an answer from one, and what the framework does around it.
"""

import asyncio
import json

import numpy as np
from tasks import clock, ids, task, texts

DIMENSIONS = 768
CALLS = 3
MEDIA = {
    "native": "application/vnd.docarray",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "pydantic": "application/json",
    "orjson": "application/json",
}


def vectors(n: int) -> np.ndarray:
    return np.random.default_rng(7).random((n, DIMENSIONS), np.float32)


def documents(n: int):
    from docarray import DocumentArray

    return DocumentArray.from_columns(id=ids(n), text=texts(n), embedding=vectors(n))


def body(kind: str, n: int) -> bytes:
    if kind in ("pydantic", "orjson"):
        rows = zip(ids(n), texts(n), vectors(n).tolist(), strict=True)
        said = [{"id": key, "text": text, "embedding": vector} for key, text, vector in rows]
        return json.dumps(said).encode()
    return documents(n).to_bytes({"native": "binary"}.get(kind, kind))


def ours(n: int):
    from typing import Annotated

    from fastapi import FastAPI

    from docarray import DocumentArray
    from docarray.web import Documents, DocumentsResponse, Limits

    docs = documents(n)
    app = FastAPI()
    body = Documents(limits=Limits(body=1 << 30, documents=n))

    @app.post("/")
    async def take(given: Annotated[DocumentArray, body]) -> float:
        return float(given.embeddings[:, 0].sum())

    @app.get("/")
    async def give():
        return DocumentsResponse(docs)

    return app


def by_pydantic(n: int):
    """What one writes today: a model with a list of floats."""
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Item(BaseModel):
        id: str
        text: str
        embedding: list[float]

    keys, words, matrix = ids(n), texts(n), vectors(n)
    app = FastAPI()

    @app.post("/")
    async def take(given: list[Item]) -> float:
        return float(np.array([item.embedding for item in given], np.float32)[:, 0].sum())

    @app.get("/")
    async def give() -> list[Item]:
        rows = zip(keys, words, matrix.tolist(), strict=True)
        return [Item(id=key, text=text, embedding=vector) for key, text, vector in rows]

    return app


def by_orjson(n: int):
    """The fastest that one writes by hand in JSON: no model, nothing is checked."""
    import orjson
    from fastapi import FastAPI, Request, Response

    keys, words, matrix = ids(n), texts(n), vectors(n)
    app = FastAPI()

    @app.post("/")
    async def take(request: Request) -> float:
        given = orjson.loads(await request.body())
        return float(np.array([item["embedding"] for item in given], np.float32)[:, 0].sum())

    @app.get("/")
    async def give():
        rows = zip(keys, words, matrix, strict=True)
        said = [{"id": key, "text": text, "embedding": vector} for key, text, vector in rows]
        return Response(orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    return app


async def called(app, method: str, media: str, data: bytes = b"") -> bytes:
    """The body of an answer."""
    parts = []
    headers = [(b"content-type" if data else b"accept", media.encode())]
    scope = {"type": "http", "method": method, "path": "/", "headers": headers, "query_string": b""}
    scope |= {"http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
    messages = [{"type": "http.request", "body": data}]

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message):
        assert message.get("status", 200) == 200, message
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(parts)


def read_again(kind: str, data: bytes) -> tuple:
    """What a client finds in an answer: how many documents, and the sum of their first numbers."""
    from docarray import DocumentArray

    if kind in ("pydantic", "orjson"):
        rows = json.loads(data)
        return len(rows), round(sum(row["embedding"][0] for row in rows), 2)
    docs = DocumentArray.from_bytes(data, {"native": "binary"}.get(kind, kind))
    return len(docs), round(float(np.asarray(docs.embeddings)[:, 0].astype(float).sum()), 2)


def _task(kind: str, done: str) -> None:
    def measure(n: int):
        app = {"pydantic": by_pydantic, "orjson": by_orjson}.get(kind, ours)(n)
        data = body(kind, n) if done == "request" else b""
        method = "POST" if data else "GET"

        async def some() -> bytes:
            await called(
                app, method, MEDIA[kind], data
            )  # threads live as long as the loop has work, as in a server
            with clock:
                for _ in range(CALLS):
                    answer = await called(app, method, MEDIA[kind], data)
            return answer

        with asyncio.Runner() as runner:
            while True:
                answer = runner.run(some())
                if done == "request":
                    yield clock.seconds / n / CALLS, round(json.loads(answer), 1)
                else:
                    yield clock.seconds / n / CALLS, read_again(kind, answer)

    measure.__name__ = f"body_{kind}_{done}"
    task(measure)


for _kind in MEDIA:
    for _done in ("request", "response"):
        _task(_kind, _done)
