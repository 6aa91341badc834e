"""Seeing: the numbers of a Flow, which stand on /metrics beside those of HTTP and in `flow.status()`.

Rule 1: a request is noted once, when it is over, in dicts of Python; what Prometheus wants is made when somebody asks
        for it. What runs knows how many requests and restarts there are, and is asked then too.
Rule 2: a client cannot make a series: labels are endpoints that there are, names of deployments, and our own errors.
Rule 3: OpenTelemetry is loaded only by a program that has loaded it itself, or asks for it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from docarray.errors import MissingExtra
from docarray.flow import faults
from docarray.flow.envelope import Envelope, Visit
from docarray.flow.monitors import Histogram, Monitors
from docarray.flow.spec import GATEWAY, DeploymentSpec

if TYPE_CHECKING:
    from docarray.flow.groups import Group
    from docarray.flow.running import Running
    from docarray.flow.tracing import Tracing

__all__ = ["Collector", "Numbers", "node_status", "tracer_of", "tracing_of"]

_OTHER: Final = "(other)"


class Numbers:
    """What a Flow has answered, since it was started. It is noted by any thread.

    Args:
        endpoints: gives all that there are; others are counted as one.
    """

    def __init__(self, endpoints: Callable[[], Iterable[str]]) -> None:
        self._endpoints = endpoints
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self.requests: dict[str, Histogram] = {}
        """By endpoint."""
        self.documents: dict[str, int] = {}
        """That came, by endpoint."""
        self.nodes: dict[str, Histogram] = {}
        """By deployment."""
        self.errors: dict[tuple[str, str], int] = {}
        """By deployment ('gateway' where none was asked) and class."""

    def known(self, endpoint: str) -> str:
        """An endpoint as it may stand where clients are not to choose names: '(other)' where there is no such one."""
        if endpoint not in self._known:
            # Deployments may have been exchanged.
            self._known = {point: point for point in self._endpoints()}
        return self._known.get(endpoint, _OTHER)

    def note(self, envelope: Envelope, documents: int, seconds: float, error: BaseException | None) -> None:
        """Notes a request that is over.

        Args:
            envelope: with its route.
            documents: that came with it.
            seconds: that it took.
            error: what it came to, or None.
        """
        endpoint = self.known(envelope.endpoint)
        with self._lock:
            times = self.requests.get(endpoint)
            if times is None:
                times = self.requests[endpoint] = Histogram()
            times.add(seconds)
            self.documents[endpoint] = self.documents.get(endpoint, 0) + documents
            for visit in envelope.routes:
                if visit.executor != GATEWAY:
                    self._visited(visit)
            if error is not None:
                key = _where(envelope.routes), _class(error)
                self.errors[key] = self.errors.get(key, 0) + 1

    def _visited(self, visit: Visit) -> None:
        times = self.nodes.get(visit.executor)
        if times is None:
            times = self.nodes[visit.executor] = Histogram()
        times.add(max(0.0, visit.end - visit.start))

    def node(self, name: str) -> dict[str, Any]:
        """Of one deployment: how many requests there were, how many failed there, and how many seconds most took."""
        with self._lock:
            times = self.nodes.get(name) or Histogram()
            return {
                "requests": times.count,
                "errors": sum(count for (where, _), count in self.errors.items() if where == name),
                "p50": times.quantile(0.5),
                "p99": times.quantile(0.99),
            }


def _where(routes: list[Visit]) -> str:
    return next((visit.executor for visit in routes if visit.error is not None), GATEWAY)


def _class(error: BaseException) -> str:
    """An error of ours by its name; all others are one."""
    name = type(error).__name__
    if type(error).__module__ == faults.__name__ or name == "CancelledError":
        return name
    return _OTHER


# ---------------------------------------------------------------------------------------------- what runs


def node_status(group: Group, numbers: Numbers) -> dict[str, Any]:
    """What is to be seen of one deployment; see `Flow.status`."""
    lines = group.status()
    busy = [line["busy"] for line in lines]
    most = _at_once(group)
    return {
        "state": _state([str(line["state"]) for line in lines]),
        "in_flight": sum(busy),
        "waiting": 0 if most is None else sum(max(0, one - most) for one in busy),
        "restarts": sum(line.get("restarts", 0) for line in lines),
        **numbers.node(group.spec.name),
        "replicas": lines,
    }


def _state(states: Sequence[str]) -> str:
    ready = sum(one == "ready" for one in states)
    return "ready" if ready == len(states) else "degraded" if ready else "down"


def _at_once(group: Group) -> int | None:
    """How many requests one replica works on at the same time; None: as many as come, or nobody here knows."""
    spec: DeploymentSpec = group.spec
    if spec.external:
        return None
    if spec.max_concurrency is not None:
        return spec.max_concurrency
    return None if any(offer.is_async for offer in group.offers.values()) else 1


def _monitors(group: Group) -> Iterator[tuple[str, Monitors]]:
    """What the Executors of a deployment have timed, by replica."""
    for crew in group.crews:
        for worker in getattr(crew, "workers", ()):
            yield worker.executor.runtime_args.name, worker.executor.monitors
        for replica in getattr(crew, "replicas", ()):
            yield replica.name, replica.monitors


# ---------------------------------------------------------------------------------------------- Prometheus


class Collector:
    """The numbers as Prometheus collects them; for a registry: `registry.register(Collector(find))`.

    Args:
        find: gives what runs, or None.
    """

    def __init__(self, find: Callable[[], Running | None]) -> None:
        self._find = find

    def describe(self) -> list[Any]:
        """Nothing: names need not be known before there are numbers."""
        return []

    def collect(self) -> Iterator[Any]:
        """The families of now."""
        running = self._find()
        if running is not None:
            yield from _families(running.numbers)
            yield from _replicas(running.status(), running.in_flight)
            yield from _timed(running.groups)


def _families(numbers: Numbers) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    with numbers._lock:  # pyright: ignore[reportPrivateUsage]  # a scrape sees no request by half
        for name, what, label, found in (
            ("docarray_flow_request_seconds", "Seconds that a request took.", "endpoint", numbers.requests),
            ("docarray_flow_node_seconds", "Seconds that a deployment took.", "deployment", numbers.nodes),
        ):
            family = HistogramMetricFamily(name, what, labels=[label])
            for value, times in found.items():
                family.add_metric([value], times.buckets(), times.sum)
            yield family
        documents = CounterMetricFamily(
            "docarray_flow_documents", "Documents that came with requests.", labels=["endpoint"]
        )
        for endpoint, count in numbers.documents.items():
            documents.add_metric([endpoint], count)
        yield documents
        errors = CounterMetricFamily(
            "docarray_flow_errors", "Requests that failed, and where.", labels=["deployment", "error"]
        )
        for (deployment, error), count in numbers.errors.items():
            errors.add_metric([deployment, error], count)
        yield errors


def _replicas(status: Mapping[str, Mapping[str, Any]], in_flight: int) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily(
        "docarray_flow_requests_open", "Requests that are worked on, or wait.", value=in_flight
    )
    labels = ["deployment", "replica"]
    waiting = GaugeMetricFamily(
        "docarray_flow_node_waiting", "Requests that wait for a deployment.", labels=["deployment"]
    )
    busy = GaugeMetricFamily("docarray_flow_replica_open", "Requests that a replica has.", labels=labels)
    served = CounterMetricFamily(
        "docarray_flow_replica_served", "Requests a replica has answered.", labels=labels
    )
    restarts = CounterMetricFamily(
        "docarray_flow_restarts", "How often a process was started anew.", labels=labels
    )
    ready = GaugeMetricFamily("docarray_flow_replica_up", "Whether a replica is ready.", labels=labels)
    for deployment, node in status.items():
        waiting.add_metric([deployment], node["waiting"])
        for line in node["replicas"]:
            values = [deployment, str(line["name"])]
            busy.add_metric(values, line.get("busy", 0))
            served.add_metric(values, line.get("served", 0))
            restarts.add_metric(values, line.get("restarts", 0))
            ready.add_metric(values, line.get("state") == "ready")
    yield from (waiting, busy, served, restarts, ready)


def _timed(groups: Mapping[str, Group]) -> Iterator[Any]:
    """What Executors have timed by `monitor`."""
    from prometheus_client.core import HistogramMetricFamily

    families: dict[str, Any] = {}
    for deployment, group in groups.items():
        for replica, monitors in _monitors(group):
            for name, one in monitors.items().items():
                family = families.get(name)
                if family is None:
                    family = families[name] = HistogramMetricFamily(
                        f"docarray_executor_{name}", one.documentation, labels=["deployment", "replica"]
                    )
                family.add_metric([deployment, replica], one.times.buckets(), one.times.sum)
    yield from families.values()


# ---------------------------------------------------------------------------------------------- OpenTelemetry


def _provider(asked: Any) -> Any:
    """Who makes the tracers, or None; see `docarray.flow.tracing.provider_of`."""
    if asked is False:
        return None
    is_there = "opentelemetry.trace" in sys.modules or "OTEL_PYTHON_TRACER_PROVIDER" in os.environ
    if asked is None and not is_there:
        return None
    try:
        from docarray.flow.tracing import provider_of
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        if asked is None:
            return None
        raise MissingExtra(
            'tracing needs the package opentelemetry-api: pip install "docarray[tracing]"'
        ) from error
    return provider_of(asked)


def tracing_of(asked: Any) -> Tracing | None:
    """What makes the spans of a Flow or a client; None: there are none.

    Args:
        asked: False: no spans; None: where a TracerProvider was set; True: there must be one; or one itself.

    Raises:
        MissingExtra: it is asked for, and OpenTelemetry is not installed. BadValue: it is, and no provider was set.
    """
    provider = _provider(asked)
    if provider is None:
        return None
    from docarray.flow.tracing import Tracing

    return Tracing(provider)


def tracer_of(asked: Any) -> tuple[Any, Any]:
    """A TracerProvider, and the tracer of an Executor for spans of its own; None and None where nothing is traced."""
    provider = _provider(asked)
    return (None, None) if provider is None else (provider, provider.get_tracer("docarray.executor"))
