"""States: what Executors remember, kept in folders from one process to the next. See `Executor.snapshot`.

Rule 1: a snapshot is whole, or is not there: it is written beside the others, and gets its number when it is complete.
Rule 2: the newest one counts. Those before it are removed when it is there.
Rule 3: only an Executor that has begun is asked for one: who failed to remember must not make the others forget.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from docarray.errors import BadValue
from docarray.flow.executor import Executor
from docarray.flow.faults import ExecutorError, FlowStartError, Unavailable

if TYPE_CHECKING:
    from docarray.flow.groups import Group
    from docarray.flow.running import Running

__all__ = ["State", "ended", "kept", "snapshot"]

LOG: Final = logging.getLogger("docarray.flow")
_PART: Final = ".part"

Hook = Callable[..., Awaitable[Any]]
"""Has a method of the Executor run where those run: (method, path)."""


class State:
    """What one Executor remembers.

    Args:
        executor: whose it is.
        folder: that holds its snapshots.
        name: what the Executor is called in errors: `index/rep-0`.
    """

    def __init__(self, executor: Executor, folder: Path, name: str) -> None:
        self._executor = executor
        self._folder = folder
        self._name = name
        self._is_recalled = False

    @classmethod
    def of(cls, executor: Executor, folder: str, name: str, role: str) -> Self | None:
        """That of one replica; None where what is asked beside shards remembers nothing.

        Raises:
            BadValue: its class cannot keep anything.
        """
        for hook in ("snapshot", "restore"):
            if getattr(type(executor), hook) is getattr(Executor, hook):
                if role:
                    return None
                raise BadValue(
                    f"snapshots want an Executor with {hook}(path); {type(executor).__name__} has none"
                )
        return cls(executor, Path(folder).expanduser().resolve().joinpath(*name.split("/")), name)

    def _newest(self) -> Path | None:
        if not self._folder.is_dir():
            return None
        numbers = [int(one.name) for one in self._folder.iterdir() if one.name.isdecimal()]
        return self._folder / str(max(numbers)) if numbers else None

    async def recall(self, hook: Hook) -> None:
        """Has the Executor remember what there is.

        Raises:
            FlowStartError: its `restore` raised.
        """
        newest = await asyncio.to_thread(self._newest)
        if newest is not None:
            try:
                await hook(self._executor.restore, str(newest))
            except Exception as error:
                raise FlowStartError(
                    f"{self._name}: restore({str(newest)!r}) raised {type(error).__name__}: {error}"
                ) from error
        self._is_recalled = True

    async def keep(self, hook: Hook) -> str:
        """Has the Executor write a snapshot; gives its folder.

        Raises:
            ExecutorError: its `snapshot` raised; the one before is still the newest. Unavailable: it has not begun.
        """
        if not self._is_recalled:
            raise Unavailable(f"{self._name} has not begun, and keeps nothing")
        part, whole = await asyncio.to_thread(self._begin)
        try:
            await hook(self._executor.snapshot, str(part))
            await asyncio.to_thread(self._finish, part, whole)
        except Exception as error:
            raise ExecutorError.of(self._name, error) from error
        return str(whole)

    def _begin(self) -> tuple[Path, Path]:
        newest = self._newest()
        whole = self._folder / str(1 if newest is None else int(newest.name) + 1)
        part = whole.with_name(whole.name + _PART)
        if part.exists():  # of a process that was killed in the middle of it
            shutil.rmtree(part)
        part.mkdir(parents=True)
        return part, whole

    def _finish(self, part: Path, whole: Path) -> None:
        os.rename(part, whole)
        for one in self._folder.iterdir():
            number = one.name.removesuffix(_PART)
            if number.isdecimal() and int(number) < int(whole.name):
                shutil.rmtree(one)


async def _all(groups: Iterable[Group]) -> list[str | BaseException | None]:
    crews = [crew for group in groups if group.spec.snapshots is not None for crew in group.crews]
    return [one for several in await asyncio.gather(*(crew.snapshot() for crew in crews)) for one in several]


async def kept(groups: Iterable[Group]) -> list[str]:
    """Has all that run keep what they remember; gives the folders.

    Raises:
        ExecutorError: a `snapshot` raised. Unavailable: a replica does not run just now. The others have kept theirs.
    """
    found = await _all(groups)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if isinstance(one, str)]


def snapshot(running: Running) -> list[str]:
    """The same, for who waits in a thread of its own."""
    return running.loop.run(kept(running.groups.values()))


async def ended(groups: Iterable[Group]) -> None:
    """The same at the end of all. What went wrong is logged; who does not run has nothing to keep."""
    for one in await _all(groups):
        if isinstance(one, BaseException) and not isinstance(one, Unavailable):
            LOG.error("what it remembers is not kept: %s", one, exc_info=one)
