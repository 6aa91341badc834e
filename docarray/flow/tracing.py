"""Tracing: spans of OpenTelemetry for a request on its way: client, gateway, and each deployment.

Rule 1: this is loaded only where a program traces: see `docarray.flow.seeing.tracing_of`. Else nothing of it is done.
Rule 2: what is sent elsewhere has the context beside it as its propagators write it (W3C `traceparent` as a rule): in
        headers, in metadata of gRPC, in the head of a message on a socket, in the frame for a worker process.
Rule 3: a server believes what its client says of the trace, and not what was current where the Flow was started.
Rule 4: who exports spans, and which, is the program's business: here is the API alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from docarray.errors import BadValue, FieldTypeError
from docarray.flow.faults import ExecutorError

if TYPE_CHECKING:
    from docarray.flow.call import Call
    from docarray.flow.envelope import Envelope
    from docarray.flow.seeing import Numbers
    from docarray.flow.spec import DeploymentSpec
    from docarray.flow.transport import Address

__all__ = ["Tracing", "attach", "carrier_of", "context_of", "detach", "provider_of", "sent", "trace_id_of"]

_SCOPE: Final = "docarray.flow"


def provider_of(asked: Any) -> TracerProvider | None:
    """Who makes the tracers.

    Args:
        asked: a TracerProvider; True: the one that was set, which there must be; None: that, if there is one.

    Raises:
        BadValue: none was set. FieldTypeError: it is none.
    """
    if asked is not None and asked is not True:
        if not callable(getattr(asked, "get_tracer", None)):
            raise FieldTypeError(
                f"tracing is True, False, None or a TracerProvider of OpenTelemetry; got {asked!r:.60}"
            )
        return asked
    found = trace.get_tracer_provider()
    if not isinstance(found, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return found
    if asked:
        raise BadValue(
            "tracing=True wants a TracerProvider, and none was set: opentelemetry.trace.set_tracer_provider(...) "
            "before the Flow is started, or tracing=provider"
        )
    return None


def carrier_of(context: Any) -> dict[str, str]:
    """What is sent elsewhere of a context: names of headers to text."""
    found: dict[str, str] = {}
    propagate.inject(found, context)
    return found


def context_of(carrier: Mapping[str, str]) -> Context:
    """The context that was sent; an empty one where there is none in it."""
    return propagate.extract(carrier, Context())


def sent(envelope: Envelope, context: Any, protocol: str | None) -> None:
    """Has a request take a context along.

    Args:
        envelope: the request.
        context: of the span that it is sent from.
        protocol: by which; None for a Flow of this process.
    """
    if protocol is None:
        envelope.trace = context
    elif protocol == "websocket":  # whose messages have no headers
        envelope.trace = carrier_of(context)
    else:
        envelope.metadata = {**envelope.metadata, **carrier_of(context)}


def trace_id_of(context: object) -> str | None:
    """The id of the trace of a context, as its propagators write it."""
    if not isinstance(context, Context):
        return None
    found = trace.get_current_span(context).get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else None


@contextlib.contextmanager
def _ended(span: Span) -> Generator[None]:
    """Ends a span after its block, with what went wrong in it."""
    try:
        yield
    except GeneratorExit:  # who took the parts of a stream has had enough
        raise
    except asyncio.CancelledError:
        span.set_attribute("error.type", "CancelledError")
        span.set_status(Status(StatusCode.ERROR, "cancelled"))
        raise
    except BaseException as error:
        span.record_exception(error)
        span.set_attribute(
            "error.type", error.name if isinstance(error, ExecutorError) else type(error).__name__
        )
        span.set_status(Status(StatusCode.ERROR, str(error)))
        raise
    finally:
        span.end()


class Tracing:
    """Makes the spans of a Flow, or of a client, each around a block.

    Args:
        provider: who makes the tracer.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer(_SCOPE, importlib.metadata.version("docarray"))

    @contextlib.contextmanager
    def asking(self, envelope: Envelope, where: Address | None) -> Generator[None]:
        """The span of a request at who asks, below what is current there.

        Args:
            envelope: the request.
            where: to what it is sent; None for a Flow of this process.
        """
        attributes = _said(envelope)
        if where is not None:
            attributes["url.full"] = where.url
        parent = get_current()
        span = self._tracer.start_span(f"post {envelope.endpoint}", parent, SpanKind.CLIENT, attributes)
        sent(envelope, trace.set_span_in_context(span, parent), None if where is None else where.protocol)
        with _ended(span):
            yield

    @contextlib.contextmanager
    def gateway(self, envelope: Envelope, flow: str, numbers: Numbers) -> Generator[None]:
        """The span of a request in a Flow. The envelope's `trace` becomes its context.

        Args:
            envelope: the request. What its `trace` is: a context; names and values that came with it over the network;
                or None, where it was asked in this process.
            flow: the name of the Flow.
            numbers: know the endpoints that may stand in the name of a span.
        """
        said, kind = envelope.trace, SpanKind.INTERNAL
        parent: Context
        if isinstance(said, Context):
            parent = said
        elif said is None:
            parent = get_current()
        else:
            parent = get_current()
            around = trace.get_current_span(parent)
            # The span of a server that is traced itself, in which this is mounted, has read the same headers. Another
            # one was current where the Flow was started, and has nothing to do with the request.
            if getattr(around, "kind", None) is not SpanKind.SERVER or not around.is_recording():
                parent, kind = context_of(said), SpanKind.SERVER
        attributes = {**_said(envelope), "docarray.flow": flow}
        name = f"{flow} {numbers.known(envelope.endpoint)}"
        span = self._tracer.start_span(name, parent, kind, attributes)
        envelope.trace = trace.set_span_in_context(span, parent)
        with _ended(span):
            yield

    @contextlib.contextmanager
    def node(self, spec: DeploymentSpec, call: Call, envelope: Envelope) -> Generator[None]:
        """The span of a request in a deployment; the call's `tracing_context` becomes its context."""
        said = {
            "docarray.deployment": spec.name,
            "docarray.endpoint": call.endpoint,
            "docarray.documents": len(call.docs),
        }
        kind = SpanKind.CLIENT if spec.external else SpanKind.INTERNAL
        span = self._tracer.start_span(spec.name, envelope.trace, kind, said)
        call.tracing_context = trace.set_span_in_context(span, envelope.trace)
        with _ended(span):
            yield


def _said(envelope: Envelope) -> dict[str, str | int]:
    return {
        "docarray.endpoint": envelope.endpoint,
        "docarray.request_id": envelope.request_id,
        "docarray.documents": len(envelope.docs),
    }
