"""Progress of long work: a bar on a terminal, a callback, or nothing at all.

Rule 1: nobody pays for a bar that nobody sees: a loop without one gets its own iterable back, and rich is loaded when
        the first bar appears.
Rule 2: a bar goes to standard error. By itself it comes only on a terminal, and only when the work is long.
Rule 3: a bar is ended whatever ends the work: its last step, a `break`, an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Sized
from time import monotonic
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar

from docarray.errors import FieldTypeError

__all__ = ["Bar", "Show", "track"]

T = TypeVar("T")

Show: TypeAlias = "bool | Callable[[int, int | None, str], object] | None"
"""Whether progress is shown, and how. None: where somebody watches, if it takes long. True: always. False: never.

A callable gets (done, total, title) instead of a bar, `total` None where it is not known.
"""

_DELAY: Final = 1.0  # seconds of work before a bar comes by itself: what is over by then needs none
_EVERY: Final = 0.1  # seconds between two drawings, or two calls of a callback


def track(iterable: Iterable[T], total: int | None = None, title: str = "", show: Show = None) -> Iterable[T]:
    """The elements of an iterable, with progress while they are walked.

    Args:
        iterable: what is walked.
        total: how many there are; `len(iterable)` where it has one.
        title: the words beside the bar.
        show: see `Show`. The environment variable DOCARRAY_PROGRESS=0 switches all bars off; a callback stays.

    Returns:
        `iterable` itself where nothing is shown; else a generator of its elements.

    Raises:
        FieldTypeError: `show` is something else.

    Costs nothing without progress, else about 0.1 us an element.

    >>> track([1, 2], show=False)
    [1, 2]
    >>> for _ in track('abc', title='letters', show=lambda *state: print(*state)):
    ...     pass
    0 3 letters
    3 3 letters
    """
    if not _wanted(show):
        return iterable
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    return _tracked(iterable, total, title, show)


def _tracked(iterable: Iterable[T], total: int | None, title: str, show: Show) -> Generator[T]:
    with Bar(title, total, show=show) as bar:
        for element in iterable:
            yield element
            bar.step()


class Bar:
    """Progress of work that is no loop over elements, such as a transfer: `step` says how much more is done.

    Args:
        title: the words beside the bar.
        total: how much there is; None where nobody knows.
        show: see `Show`.
        unit: 'steps', or 'bytes', which are shown as MB and with their speed.

    Raises:
        FieldTypeError: `show` is neither None, a truth value nor callable.

    >>> with Bar('upload', 10, show=lambda *state: print(*state), unit='bytes') as bar:
    ...     bar.step(4)
    ...     bar.step(6)
    0 10 upload
    10 10 upload
    """

    __slots__ = ("_callback", "_due", "_rich", "_shown", "_wanted", "done", "title", "total", "unit")
    done: int
    total: int | None
    title: str
    unit: Literal["steps", "bytes"]

    def __init__(
        self,
        title: str,
        total: int | None = None,
        *,
        show: Show = None,
        unit: Literal["steps", "bytes"] = "steps",
    ) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0
        self._wanted = _wanted(show)
        self._callback = show if callable(show) else None
        self._rich: Any = None
        self._shown = -1
        self._due = monotonic() + (_DELAY if show is None else 0.0)

    def __enter__(self) -> Self:
        if self._wanted and monotonic() >= self._due:
            self._draw()
        return self

    def step(self, count: int = 1) -> None:
        """So much more is done."""
        self.done += count
        if self._wanted and monotonic() >= self._due:
            self._draw()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Work that failed must not be reported as further than its last step, and its error comes first.
            if kind is None and self._shown >= 0 and self._shown != self.done:
                self._draw()
        finally:
            if self._rich is not None:
                self._rich.stop()
                self._rich = None

    def _draw(self) -> None:
        self._shown = self.done
        if self._callback is not None:
            self._callback(self.done, self.total, self.title)
        else:
            if self._rich is None:
                self._rich = _rich_bar(self)
            self._rich.update(self._rich.task_ids[0], completed=self.done, total=self.total, refresh=True)
        self._due = monotonic() + _EVERY


def _wanted(show: Show) -> bool:
    if callable(show):
        return True
    if show is not None and not isinstance(show, bool):
        raise FieldTypeError(f"progress is shown by True, False, None or a callable; got {show!r:.80}")
    if show is False or os.environ.get("DOCARRAY_PROGRESS") == "0":
        return False
    stream: Any = sys.stderr  # None under pythonw
    return stream is not None and (show is True or stream.isatty())


def _rich_bar(bar: Bar) -> Any:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts: list[ProgressColumn] = (
        [DownloadColumn(), TransferSpeedColumn()] if bar.unit == "bytes" else [MofNCompleteColumn()]
    )
    # As plain text, in notebooks too: a widget would leave an empty place in the saved one. Without a thread of
    # its own: it is drawn when there is something new. What is watched goes away at its end, a log keeps its line.
    # What the program prints meanwhile goes above the bar, but only where it would stand on the same terminal.
    console = Console(stderr=True, force_jupyter=False)
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        transient=console.is_terminal,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # pyright: ignore[reportUnnecessaryComparison]
    )
    shown.add_task(escape(bar.title), total=bar.total)
    shown.start()
    return shown
