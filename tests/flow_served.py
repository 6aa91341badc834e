"""Flows that answer over the network, for the tests of the gateway: in the loop of the Flow, or in another."""

import contextlib
import socket

import uvicorn

from docarray.flow.gateway import asgi
from docarray.web import Server


@contextlib.contextmanager
def served(flow, elsewhere=False, **options):
    """The url of a Flow: served in its own loop, as it serves itself, or elsewhere, as where it is mounted."""
    if elsewhere:
        with Server(asgi(flow, **options)) as server:
            yield server.url
        return
    with flow:
        running = flow._running
        application = asgi(flow, **options)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        config = uvicorn.Config(
            application,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="websockets-sansio",
            ws_max_size=application.spec.max_body,
            timeout_graceful_shutdown=3,
        )
        server = uvicorn.Server(config)
        future = running.loop.submit(server.serve([listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            running.loop.loop.call_soon_threadsafe(application.stop)
            server.should_exit = True
            future.result(20)
            listener.close()
