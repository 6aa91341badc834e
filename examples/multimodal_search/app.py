"""A search over stickers, by words and by pictures: python app.py [--port 8000] [--grpc-port 50051] [--workspace data]

Serves a page at /, the endpoints /index, /search and /status over HTTP, WebSocket and gRPC, and ends with Ctrl-C. The
first time it indexes the stickers of stickers.py; they are kept in the workspace.

Needs pip install "docarray[demo,grpc,media]".
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stickers import stickers

from docarray import Document, DocumentArray
from docarray.flow import Flow

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves a search over stickers.")
    parser.add_argument(
        "--port", type=int, default=8000, help="of HTTP and WebSocket; 0 for one that is free"
    )
    parser.add_argument("--grpc-port", type=int, default=50051, help="of gRPC; 0 for one that is free")
    parser.add_argument("--workspace", type=Path, default=HERE / "data", help="the folder of the index")
    options = parser.parse_args()

    flow = Flow.load_config(HERE / "flow.yml", workspace=options.workspace.resolve())
    flow = flow.config_gateway(port=(options.port, options.grpc_port))
    with flow:
        status = flow.post("/status", return_responses=True)[0].parameters["__results__"]["indexer"]
        if not status["stickers"]:
            flow.post("/index", DocumentArray(Document(one) for one in stickers()))
        print(
            f"gRPC at grpc://127.0.0.1:{flow.ports['grpc']}, the page at http://127.0.0.1:{flow.port}",
            flush=True,
        )
        flow.block()


if __name__ == "__main__":
    main()
