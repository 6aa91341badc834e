"""The work of bench_flow_grpc.py: see tasks.py for the rules.

A side is a client, and a server in a process of its own. The client keeps its channel, and sends the next request when
the answer to the last one is there.

    python benchmarks/tasks_flow_grpc.py raw

serves until its input ends, and says its port first. The Flow is that of tasks_flow_http.py.
"""

import asyncio
import sys
import time

from tasks import task
from tasks_flow_http import STAGES, client, documents, embed, frame, of_frame, running, times

CALL = "/docarray.flow.v1.Flow/Call"
JINA = "/jina.JinaRPC/Call"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


# --- the server ----------------------------------------------------------------------------------------------------


def message(n: int) -> bytes:
    """A request as a client of Jina sends it."""
    from docarray.flow import jina
    from docarray.flow.envelope import Envelope

    return jina.written(Envelope(documents(n), "/nothing", {"k": 1}))


async def raw() -> None:
    """grpc.aio, which reads and writes the documents, and does by hand what the Flow has Executors for."""
    import grpc

    from docarray.flow import jina, wire
    from docarray.flow.envelope import Envelope

    work = {"/nothing": (), "/embed": (embed,), "/stages": STAGES}

    async def call(data, context):
        head, docs = wire.framed(data)
        rows = head.pop("rows", None) is not None
        for step in work[head["execEndpoint"]]:
            step(docs)
        return wire.framed_of(wire.dumps(head), docs, rows)

    async def calls(asked, context):
        async for data in asked:
            read = jina.read(data)
            yield jina.written(Envelope(read.docs, read.endpoint, read.parameters))

    known = {
        CALL: grpc.unary_unary_rpc_method_handler(call),
        JINA: grpc.stream_stream_rpc_method_handler(calls),
    }

    class Handlers(grpc.GenericRpcHandler):
        def service(self, details):
            return known.get(details.method)

    server = grpc.aio.server(options=UNLIMITED)
    server.add_generic_rpc_handlers((Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def served(kind: str):
    """The port of a server of this kind, the last of those that it says."""
    return running(kind) if kind == "flow" else running(kind, __file__)


# --- the client ----------------------------------------------------------------------------------------------------


async def one_by_one(port: int, asked: bytes, count: int, path: str, ahead: int = 1) -> tuple[float, bytes]:
    """Seconds of a request, and the last answer; `ahead` are on their way at the same time."""
    import grpc

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED) as channel:
        answer = b""
        if path == CALL:
            call = channel.unary_unary(path)
            answer = await call(asked)

            async def some(times: int) -> None:
                nonlocal answer
                for _ in range(times):
                    answer = await call(asked)

            begun = time.perf_counter()
            await asyncio.gather(*(some(count // ahead) for _ in range(ahead)))
            return (time.perf_counter() - begun) / (count // ahead * ahead), answer
        stream = channel.stream_stream(path)()
        await stream.write(asked)
        await stream.read()
        begun = time.perf_counter()
        for _ in range(count):
            await stream.write(asked)
            answer = await stream.read()
        taken = (time.perf_counter() - begun) / count
        await stream.done_writing()
        await stream.read()
        return taken, answer


def of_message(answer: bytes) -> int:
    from docarray.flow import jina

    return len(jina.read(answer).docs)


def _side(name: str, kind: str, path: str, make, told, ahead: int = 1) -> None:
    def work(n: int):
        asked = make(n)
        with served(kind) as ports:
            while True:
                taken, answer = asyncio.run(one_by_one(ports[-1], asked, times(n, ahead), path, ahead))
                yield taken, told(answer)

    work.__name__ = f"flow_grpc_{name}_{kind}"
    task(work)


def plain(n: int):
    """The channel for threads, which sends and reads bytes, asking the Flow."""
    import grpc

    asked = frame(n)
    with (
        served("flow") as ports,
        grpc.insecure_channel(f"127.0.0.1:{ports[-1]}", options=UNLIMITED) as channel,
    ):
        call, count = channel.unary_unary(CALL), times(n)
        answer = call(asked)
        while True:
            begun = time.perf_counter()
            for _ in range(count):
                answer = call(asked)
            yield (time.perf_counter() - begun) / count, of_frame(answer)


plain.__name__ = "flow_grpc_raw_client"
task(plain)
client("flow_grpc_client", "grpc")
for _kind in ("flow", "raw"):
    _side("call", _kind, CALL, frame, of_frame)
    _side("many", _kind, CALL, frame, of_frame, 64)
    _side("embed", _kind, CALL, lambda n: frame(n, "/embed"), of_frame)
    _side("stages", _kind, CALL, lambda n: frame(n, "/stages"), of_frame)
    _side("jina", _kind, JINA, message, of_message)


if __name__ == "__main__":
    asyncio.run(raw())
