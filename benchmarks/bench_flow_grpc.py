"""What does a Flow cost over gRPC, beside grpc.aio with the same decoding and nothing else?

Documents have an id, a text, and a vector of 128 floats, in frames; the raw server reads and writes them and does by
hand what the Flow has Executors for: nothing, a product of matrices, three stages. Messages of Jina: the same in
protobuf, with our codec on both sides. The client gives documents, beside a channel that sends and reads bytes.
Ratios are of seconds a request.
"""

from pair import Row, main

SECONDS = 2.5


def row(name: str, task: str, n: int, within: float, side: str = "grpc.aio") -> Row:
    return Row(
        name=f"{name}, {n} doc{'s' if n > 1 else ''}",
        task=f"flow_grpc_{task}_flow" if side == "grpc.aio" else "flow_grpc_client",
        peer=f"flow_grpc_{task}_raw" if side == "grpc.aio" else "flow_grpc_raw_client",
        side=side,
        n=n,
        within=within,
        seconds=SECONDS,
        rounds=15,
    )


ROWS = [
    *(row("unary", "call", n, within) for n, within in ((1, 1.4), (100, 1.3), (1_000, 1.3))),
    *(row("stream of Jina", "jina", n, within) for n, within in ((1, 1.5), (100, 0), (1_000, 0))),
    row("64 in flight", "many", 1, 1.25),
    *(row("an embedding", "embed", n, within) for n, within in ((1, 1.5), (100, 2.5), (1_000, 2.2))),
    *(row("3 stages", "stages", n, within) for n, within in ((1, 1.5), (100, 2.5))),
    *(row("client", "client", n, 1.5, "bytes") for n in (1, 100)),
]

if __name__ == "__main__":
    main(__doc__, ROWS)
