"""Monitors: how long parts of an Executor take, as histograms on the /metrics of its Flow.

Rule 1: they cost nothing where they are not used; a note is two numbers in a list.
Rule 2: each counts from the start of the Flow. What a process of a worker notes comes with its next answer, and stays
        when the process ends.
"""

from __future__ import annotations

import bisect
import functools
import inspect
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar, overload

from docarray.errors import BadValue, FieldTypeError

__all__ = ["BUCKETS", "Histogram", "Monitors", "Timed", "monitor"]

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds at which the buckets of a histogram end."""
_RECENT: Final = 512
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
F = TypeVar("F", bound=Callable[..., Any])


class Histogram:
    """How long something took.

    >>> times = Histogram()
    >>> times.add(0.003)
    >>> times.buckets()[1:3]
    [('0.0025', 0), ('0.005', 1)]
    """

    __slots__ = ("_counts", "_recent", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self.sum: float = 0.0
        """Of all seconds."""

    def add(self, seconds: float) -> None:
        """Notes one."""
        self._counts[bisect.bisect_left(BUCKETS, seconds)] += 1
        self._recent.append(seconds)
        self.sum += seconds

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, int]]:
        """The end of each bucket as text, and how many took no longer; the last is '+Inf'."""
        found: list[tuple[str, int]] = []
        total = 0
        for end, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            found.append((end, total))
        return found

    def quantile(self, part: float) -> float | None:
        """The seconds that this part of the last 512 took no longer than; None where there was none."""
        recent = sorted(self._recent)
        return recent[min(len(recent) - 1, int(part * len(recent)))] if recent else None

    def state(self) -> tuple[list[int], list[float], float]:
        """All of it, for another process: counts of the buckets, the last seconds, the sum."""
        return self._counts, list(self._recent), self.sum

    def join(self, state: tuple[list[int], list[float], float]) -> None:
        """Notes what another one has noted."""
        counts, recent, whole = state
        self._counts = [one + other for one, other in zip(self._counts, counts, strict=True)]
        self._recent.extend(recent)
        self.sum += whole


class Monitored(NamedTuple):
    """A histogram and what it is of."""

    documentation: str
    times: Histogram


class Monitors:
    """The histograms of one Executor, by name. They are noted by any thread.

    >>> here, there = Monitors(), Monitors()
    >>> there.note('encode_seconds', 'Seconds of a batch.', 0.003)
    >>> here.join(there.taken())
    >>> here.items()['encode_seconds'].times.count, there.items()
    (1, {})
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Monitored] = {}

    def _of(self, name: str, documentation: str) -> Histogram:
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = Monitored(documentation, Histogram())
        return found.times

    def note(self, name: str, documentation: str, seconds: float) -> None:
        """Notes that something took so long."""
        with self._lock:
            self._of(name, documentation).add(seconds)

    def taken(self) -> dict[str, tuple[str, Any]]:
        """What was noted since it was last taken, for another process; here it is no more."""
        with self._lock:
            found, self._found = self._found, {}
        return {name: (one.documentation, one.times.state()) for name, one in found.items()}

    def join(self, taken: Mapping[str, tuple[str, Any]]) -> None:
        """Notes what was taken from another one."""
        with self._lock:
            for name, (documentation, state) in taken.items():
                self._of(name, documentation).join(state)

    def timed(self, name: str | None = None, documentation: str | None = None) -> Timed:
        """What notes how long a block takes; see `Executor.monitor`."""
        called, said = name or "monitor_seconds", documentation or "Seconds of a part of an Executor."
        if called not in self._found:
            named(called, said)
        return Timed(self, called, said)

    def items(self) -> dict[str, Monitored]:
        """All of them."""
        with self._lock:
            return dict(self._found)


def named(name: object, documentation: object) -> None:
    """Looks whether a histogram can be called so.

    Raises:
        BadValue: it cannot.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadValue(
            f"a monitor is called by letters, digits and _, such as 'encode_seconds'; got {name!r:.60}"
        )
    if not isinstance(documentation, str):
        raise BadValue(f"what a monitor is of is said by text; got {documentation!r:.60}")


class Timed:
    """Notes how long its block takes, also where that raises; see `Executor.monitor`."""

    __slots__ = ("_begun", "_documentation", "_monitors", "_name")

    def __init__(self, monitors: Monitors, name: str, documentation: str) -> None:
        self._monitors = monitors
        self._name = name
        self._documentation = documentation

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._monitors.note(self._name, self._documentation, time.perf_counter() - self._begun)


@overload
def monitor(name: F, /) -> F: ...
@overload
def monitor(name: str | None = None, documentation: str | None = None) -> Callable[[F], F]: ...
def monitor(name: Any = None, documentation: str | None = None) -> Any:
    """Has a method of an Executor timed: the histogram `docarray_executor_<name>` on the /metrics of the served Flow.

    Args:
        name: letters, digits and `_`. None: `<method>_seconds`.
        documentation: what it is of. None: the first line of the docstring of the method.

    Its labels are `deployment` and `replica`. It goes with methods, coroutines and generators (all of it is timed), and
    with `@requests`, above or below. A part of a method is timed by `with self.monitor(name, documentation)`.

    Raises:
        BadValue: it cannot be called so. FieldTypeError: it goes before something else than a method.

    >>> from docarray.flow import Executor, requests
    >>> class Encoder(Executor):
    ...     @monitor(name='encode_seconds', documentation='Seconds of one text.')
    ...     def encode(self, text):
    ...         return len(text)
    ...     @requests
    ...     def all(self, docs, **kwargs):
    ...         docs[:, 'tags__n'] = [self.encode(text) for text in docs.texts]
    >>> Encoder().encode('tea')
    3
    """
    if inspect.isfunction(name):
        return monitor()(name)

    def mark(method: Any) -> Any:
        if not inspect.isfunction(method):
            raise FieldTypeError(f"@monitor goes before a method; got {method!r:.80}")
        called = f"{method.__name__}_seconds" if name is None else name
        first = (inspect.getdoc(method) or f"Seconds of {method.__name__}().").partition("\n")[0]
        said = first if documentation is None else documentation
        named(called, said)
        return _timed(method, called, said)

    return mark


def _timed(method: Any, name: str, documentation: str) -> Any:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
            with self.monitor(name, documentation):
                return await method(self, *args, **kwargs)

        return awaited
    if inspect.isasyncgenfunction(method):

        @functools.wraps(method)
        async def followed(self: Any, *args: Any, **kwargs: Any) -> Any:
            source = method(self, *args, **kwargs)
            with self.monitor(name, documentation):
                try:
                    async for one in source:
                        yield one
                finally:
                    await source.aclose()

        return followed
    if inspect.isgeneratorfunction(method):

        @functools.wraps(method)
        def yielded(self: Any, *args: Any, **kwargs: Any) -> Any:
            with self.monitor(name, documentation):
                yield from method(self, *args, **kwargs)

        return yielded

    @functools.wraps(method)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.monitor(name, documentation):
            return method(self, *args, **kwargs)

    return called
