"""Envelope: one request on its way through a Flow, and then its answer."""

from __future__ import annotations

import copy
import datetime
import os
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

from docarray.array import DocumentArray
from docarray.flow.faults import DeadlineExceeded, ExecutorError

__all__ = ["RESULTS", "Envelope", "Visit", "parameters_for"]

RESULTS: Final = "__results__"
"""The parameter of an answer that holds the dicts which handlers returned, by the name of their deployment."""


class Visit(NamedTuple):
    """A line of the route that a request took."""

    executor: str
    """The name of the deployment, or 'gateway'."""
    start: float
    """Seconds since 1970."""
    end: float
    error: str | None = None
    """What was raised there."""

    @property
    def start_time(self) -> datetime.datetime:
        """When it came there."""
        return datetime.datetime.fromtimestamp(self.start, datetime.UTC)

    @property
    def end_time(self) -> datetime.datetime:
        """When it left."""
        return datetime.datetime.fromtimestamp(self.end, datetime.UTC)


class Envelope:
    """One request, and then its answer.

    Attributes:
        docs: the documents that came; of an answer, those that are given; of a failed one, those that came.
        endpoint: which is asked.
        parameters: of the request; of the answer with `__results__`.
        target: a pattern that the names of deployments begin with, for these alone to be asked.
        request_id: by which the logs know it.
        deadline: the `time.monotonic()` at which nobody waits for it any more; None for never.
        metadata: what clients send beside: lower case names to text.
        own: whether nobody else has the documents, so that they need not be copied first.
        results: the dicts that handlers returned, by deployment.
        routes: where it was, in the order of arrival there.
        error: what it came to, or None.
    """

    __slots__ = (
        "deadline",
        "docs",
        "endpoint",
        "error",
        "metadata",
        "own",
        "parameters",
        "request_id",
        "results",
        "routes",
        "started",
        "target",
        "trace",
    )

    def __init__(
        self,
        docs: DocumentArray[Any],
        endpoint: str = "/",
        parameters: Mapping[str, Any] | None = None,
        *,
        target: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        trace: Any = None,
        own: bool = False,
    ) -> None:
        self.docs: DocumentArray[Any] = docs
        self.own: bool = own
        self.endpoint: str = endpoint
        self.parameters: dict[str, Any] = {} if parameters is None else dict(parameters)
        self.target: str | None = target
        self.request_id: str = request_id or os.urandom(16).hex()
        self.started: float = time.time()
        self.deadline: float | None = None if timeout is None else time.monotonic() + timeout
        self.metadata: Mapping[str, str] = metadata or {}
        self.trace: Any = trace
        self.results: dict[str, dict[str, Any]] = {}
        self.routes: list[Visit] = []
        self.error: BaseException | None = None

    # What people read of an answer.

    @property
    def data(self) -> SimpleNamespace:
        """`data.docs`, as it was called."""
        return SimpleNamespace(docs=self.docs)

    @property
    def header(self) -> SimpleNamespace:
        """Id, endpoint, target and status, as they were called."""
        return SimpleNamespace(
            request_id=self.request_id,
            exec_endpoint=self.endpoint,
            target_executor=self.target or "",
            status=self.status,
        )

    @property
    def status(self) -> SimpleNamespace:
        """`code` 'SUCCESS' or 'ERROR', `description`, and of an error `exception` with name, args, stacks, executor."""
        error = self.error
        if error is None:
            return SimpleNamespace(code="SUCCESS", description="", exception=None)
        name, detail, stacks, executor = type(error).__name__, str(error), [], ""
        if isinstance(error, ExecutorError):
            name, detail, executor = error.name, error.detail, error.executor
            stacks = error.traceback.splitlines(keepends=True)
        exception = SimpleNamespace(name=name, args=[detail], stacks=stacks, executor=executor)
        return SimpleNamespace(code="ERROR", description=str(error), exception=exception)

    def finish(self) -> None:
        """Puts the results into the parameters."""
        if self.results:
            known = self.parameters.get(RESULTS)
            self.parameters[RESULTS] = {**(known if isinstance(known, dict) else {}), **self.results}

    def left(self) -> float | None:
        """Seconds until the deadline; None where there is none.

        Raises:
            DeadlineExceeded: it is over.
        """
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"request {self.request_id}: there was no answer in time")
        return left

    def __repr__(self) -> str:
        said = f"{len(self.docs)} documents" if self.error is None else repr(self.error)
        return f"<{type(self).__name__} {self.endpoint} {self.request_id}: {said}>"


def parameters_for(names: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of one deployment, its own to change.

    Args:
        names: what it is called.
        given: of the request. `{name: {...}}` and `name__key` are for one deployment, and win over those for all.

    >>> parameters_for(('enc',), {'k': 1, 'enc': {'k': 2}, 'enc__m': 3, 'other__m': 4})
    {'k': 2, 'm': 3}
    """
    if not given:
        return {}
    said: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in given.items():
        if key in names and isinstance(value, Mapping):
            own.update(cast("Mapping[str, Any]", value))
            continue
        before, mark, after = key.partition("__")
        if mark and before and after and not key.endswith("__"):
            if before in names:
                own[after] = value
            continue
        said[key] = value
    said.update(own)
    return {key: value if type(value) in _PLAIN else _copied(value) for key, value in said.items()}


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except TypeError:  # such as a lock, of which there is but one
        return value


_PLAIN: Final = frozenset({int, float, str, bool, type(None)})
