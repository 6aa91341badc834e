"""Flows that answer over gRPC, for the tests: in the loop of the Flow, as it serves itself."""

import contextlib

from docarray.flow.grpcserver import GrpcServer
from docarray.flow.spec import GatewaySpec


@contextlib.contextmanager
def served(flow, port=0, grace=3.0, **options):
    """The port of a Flow, and its server."""
    with flow:
        running = flow._running
        spec = GatewaySpec(**options) if options else flow.spec.gateway
        server = GrpcServer(running, spec, port)
        bound = running.loop.run(server.start())
        try:
            yield bound, server
        finally:
            running.loop.run(server.stop(grace))
