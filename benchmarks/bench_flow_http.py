"""What does a Flow cost over HTTP and sockets, beside what one writes by hand, and beside an echo?

Documents have an id, a text, and a vector of 128 floats, in binary bodies of 768. In JSON the handler writes the texts
in capitals, on both sides; FastAPI does so on dicts, with orjson and without models, its plain handler in a thread as
ours is. Binary bodies and frames go through a handler that does nothing, beside an application that sends back the
bytes that it got. Three stages are three Executors, beside three functions. The client gives documents, beside one that
sends and reads bytes.
Ratios are of seconds a request.
"""

from pair import Row, main

SECONDS = 2.5


def row(name: str, task: str, peer: str, side: str, n: int, within: float = 0) -> Row:
    plural = "s" if n > 1 else ""
    return Row(
        name=f"{name}, {n} doc{plural}",
        task=f"flow_http_{task}",
        peer=f"flow_http_{peer}",
        side=side,
        n=n,
        within=within,
        seconds=SECONDS,
        rounds=15,
    )


ROWS = [
    *(
        row(f"JSON, {kind} handler", f"json_{kind}", f"json_{kind}_fastapi", "FastAPI", n, 1.3)
        for n in (1, 100, 1_000)
        for kind in ("async", "plain")
    ),
    *(row("binary", "binary_flow", "binary_echo", "echo", n, 1.5) for n in (100, 1_000)),
    row("socket, JSON", "socket_flow", "socket_echo", "echo", 1, 3),
    row("socket, frames", "frames_flow", "frames_echo", "echo", 1, 3),
    row("socket, frames", "frames_flow", "frames_echo", "echo", 100, 3),
    row("JSON, 64 connections", "many_async", "many_pydantic", "pydantic", 1, 1),
    row("frames, 64 in flight", "many_frames_flow", "many_frames_echo", "echo", 1),
    *(row("socket, 3 stages", "stages_flow", "stages_stages", "by hand", n, 2) for n in (1, 100)),
    *(row("client, HTTP", "client", "raw_client", "bytes", n, 1.5) for n in (1, 100)),
    *(row("client, socket", "client_socket", "frames_flow", "bytes", n, 1.5) for n in (1, 100)),
]

if __name__ == "__main__":
    main(__doc__, ROWS)
