"""Watching: a Flow whose code and YAML are edited while it runs. `Flow(reload=True)`, or `docarray flow --reload`.

Rule 1: files are looked at a few times a second. One that was edited is read when it stayed the same for a look, so
        that nothing half written is.
Rule 2: what was edited is loaded beside what runs, and takes its place when it is ready. What cannot be loaded is
        logged, and all goes on as it was; the next edit is the next attempt.
Rule 3: requests that have begun end on the code they began on.
Rule 4: what an Executor remembers goes from the old code to the new where the deployment says `snapshots`; without that
        the new one begins with nothing.
Rule 5: watched are the YAML of the Flow, that of its Executors, and the modules of their classes with all that those
        import; what is installed is not, nor what a script or notebook defines (`__main__`).
"""

# pyright: reportPrivateUsage=false
# It looks at what a Flow runs, as the modules of this room do.

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import linecache
import logging
import os
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from docarray.errors import DocArrayError
from docarray.flow import config, states
from docarray.flow.groups import Group
from docarray.flow.loops import together
from docarray.flow.modules import modules_of, own_file
from docarray.flow.plan import Age
from docarray.flow.running import Running
from docarray.flow.spec import DeploymentSpec, FlowSpec

__all__ = ["Origin", "Watcher"]

LOG: Final = logging.getLogger("docarray.flow")
_EVERY: Final = 0.25  # seconds between two looks
_MOST: Final = 2_000  # files of folders that are looked at after a failure

_Mark = tuple[int, int, int]


class Origin(NamedTuple):
    """Where a Flow comes from."""

    file: Path
    """Its YAML."""
    again: Callable[[], FlowSpec]
    """Reads it again."""


# ---------------------------------------------------------------------------------------------- modules


@contextlib.contextmanager
def _afresh(names: Collection[str]) -> Generator[None]:
    """Has these modules loaded again by who wants them. Where the block raises, they are what they were."""
    kept = {name: sys.modules[name] for name in names if name in sys.modules}
    parents: dict[str, tuple[ModuleType, str]] = {}
    for name, module in kept.items():
        package, _, last = name.rpartition(".")
        parent = sys.modules.get(package)
        if parent is not None and getattr(parent, last, None) is module:
            parents[name] = parent, last
    for name in kept:
        del sys.modules[name]
    for parent, last in parents.values():  # `from package import module` looks there first
        delattr(parent, last)
    importlib.invalidate_caches()
    before = set(sys.modules)
    try:
        yield
    except BaseException:
        for name in sys.modules.keys() - before:
            if own_file(sys.modules.get(name)) is not None:
                del sys.modules[name]
        sys.modules.update(kept)
        for name, (parent, last) in parents.items():
            setattr(parent, last, kept[name])
        raise


def _dependents(changed: Collection[str], known: Mapping[str, tuple[str, frozenset[str]]]) -> set[str]:
    """The modules of files that changed, and those that import them, or import one that does."""
    found = {name for name, (file, _) in known.items() if file in changed}
    while more := {name for name, (_, needed) in known.items() if needed & found} - found:
        found |= more
    return found


def _by_path(uses: Any) -> Any:
    """A class as the path by which it is imported; all else as it is."""
    if not inspect.isclass(uses) or uses.__module__ == "__main__" or "<" in uses.__qualname__:
        return uses
    return f"{uses.__module__}:{uses.__qualname__}"


# ---------------------------------------------------------------------------------------------- files


def _yaml(spec: DeploymentSpec) -> set[str]:
    """The YAML files of the Executors of a deployment."""
    found: set[str] = set()
    for uses in (spec.uses, spec.uses_before, spec.uses_after):
        if config.is_file(uses):
            with contextlib.suppress(DocArrayError):
                found.add(os.path.realpath(config.found(str(uses), spec)))
    return found


def _classes(group: Group) -> set[type[Any]]:
    """The classes of the Executors that work in this process."""
    workers: Iterable[Any] = (one for crew in group.crews for one in getattr(crew, "workers", ()))
    return {type(one.executor) for one in workers}


def _files(group: Group) -> set[str]:
    """What a deployment is made of."""
    found = _yaml(group.spec)
    for file in group.spec.py_modules:
        found.add(os.path.realpath(os.path.expanduser(file)))
    for cls in _classes(group):
        found.update(file for file, _ in modules_of(cls).values())
    for crew in group.crews:
        found.update(getattr(crew, "files", ()))
    return found


def _mark(file: str) -> _Mark | None:
    try:
        said = os.stat(file)
    except OSError:
        return None
    return said.st_mtime_ns, said.st_size, said.st_ino


def _beside(files: Iterable[str]) -> set[str]:
    """All Python files of the folders of some."""
    found: set[str] = set()
    for folder in {os.path.dirname(file) for file in files}:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found.update(one.path for one in entries if one.name.endswith(".py"))
    return found if len(found) <= _MOST else set()


def _unpickled(file: str) -> None:
    """Has a source compiled again: one that is edited twice in a second, to the same length, looks as it was."""
    linecache.checkcache(file)
    if file.endswith(".py"):
        with contextlib.suppress(NotImplementedError, OSError):
            os.unlink(importlib.util.cache_from_source(file))


# ---------------------------------------------------------------------------------------------- exchange

_TURN: Final = 0.02  # seconds between two looks whether the last request of an age has ended


async def _exchange(running: Running, spec: FlowSpec, names: Collection[str]) -> None:
    """Has other deployments from now on. Requests that have begun go on through those that there were.

    Args:
        running: what has them.
        spec: of the Flow; its gateway stays as it is.
        names: deployments that are made anew though their spec is the same: their code is another one.

    Raises:
        FlowStartError: one of them could not be made. Then all is as it was. What a `snapshot` raises: likewise.
    """
    spec = dataclasses.replace(spec, gateway=running.spec.gateway)
    before = {one.name: one for one in running.spec.deployments}
    groups: dict[str, Group] = {}
    fresh: list[Group] = []
    loop = asyncio.get_running_loop()
    try:
        for one in spec.deployments:
            if one.name not in names and before.get(one.name) == one:
                groups[one.name] = running.groups[one.name]
                continue
            if one.name in running.groups:
                await states.kept([running.groups[one.name]])
            # In a thread: an Executor of this process is constructed there.
            made = loop.run_in_executor(None, Group, one, running.maker(one))
            try:
                await asyncio.wait((made,))
            finally:
                await asyncio.wait((made,))  # it cannot be broken off
                if made.exception() is None:
                    fresh.append(made.result())
            groups[one.name] = made.result()
        await together(group.start() for group in fresh)
    except BaseException:
        await asyncio.gather(*(group.close() for group in fresh), return_exceptions=True)
        raise
    kept = {id(group) for group in groups.values()}
    over = [group for group in running.groups.values() if id(group) not in kept]
    running.spec, running.groups = spec, groups
    task = loop.create_task(_retire(running.plan.exchange(spec, groups), over))
    running.leaving[task] = over
    task.add_done_callback(lambda _: running.leaving.pop(task, None))


async def _retire(age: Age, over: list[Group]) -> None:
    """Closes deployments when the last request that began in their time has ended."""
    while age.users:
        await asyncio.sleep(_TURN)
    await asyncio.gather(*(group.close() for group in over))


# ---------------------------------------------------------------------------------------------- watching


class Watcher:
    """Looks after the files of a Flow that runs, and exchanges what was edited.

    Args:
        running: what runs.
        origin: where it comes from; None: it was not made of a file.
    """

    def __init__(self, running: Running, origin: Origin | None = None) -> None:
        self._running = running
        self._origin = origin
        self._known: dict[str, set[str]] = {}
        self._modules: dict[str, tuple[str, frozenset[str]]] = {}
        self._left: set[str] = set()  # deployments that could not be exchanged
        self._failed = False
        self._stopping = asyncio.Event()
        self._gateway = None if origin is None else origin.again().gateway
        self._learn()
        self._seen = self._look()
        self._task = running.loop.submit(self._watch())

    def close(self) -> None:
        """Ends it. An Executor that is being constructed is waited for."""
        self._running.loop.run(self._end())

    async def _end(self) -> None:
        self._stopping.set()
        await asyncio.wait((asyncio.wrap_future(self._task),))

    @property
    def files(self) -> set[str]:
        """What is watched."""
        found = {file for files in self._known.values() for file in files}
        if self._origin is not None:
            found.add(os.path.realpath(self._origin.file))
        return found

    def _learn(self) -> None:
        """Finds out what there is to be watched."""
        self._known.clear()
        self._modules.clear()
        for name, group in self._running.groups.items():
            if not group.spec.reload or group.spec.external:
                continue
            self._known[name] = _files(group)
            for cls in _classes(group):
                self._modules.update(modules_of(cls))
            for uses in (group.spec.uses, group.spec.uses_before, group.spec.uses_after):
                if inspect.isclass(uses) and _by_path(uses) is uses:
                    LOG.warning(
                        "%s: %s is of a script or notebook, and is not watched: put it into a module of its own",
                        name,
                        uses.__qualname__,
                    )

    def _look(self) -> dict[str, _Mark | None]:
        files = self.files
        if self._failed:  # what is missing may be in a file that is not known yet
            files |= _beside(files)
        return {file: _mark(file) for file in files}

    async def _watch(self) -> None:
        look = asyncio.get_running_loop().run_in_executor
        seen = self._seen
        while not await self._stopped():
            now = await look(None, self._look)
            if now == seen:
                continue
            while not await self._stopped():
                before, now = now, await look(None, self._look)
                if now == before:
                    break
            else:
                return
            changed = {file for file in now.keys() | seen.keys() if now.get(file) != seen.get(file)}
            await self._edited(changed)
            # What was edited meanwhile is seen in the next turn.
            seen = {file: now.get(file, mark) for file, mark in (await look(None, self._look)).items()}

    async def _stopped(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EVERY):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def _edited(self, changed: set[str]) -> None:
        running = self._running
        names = {name for name, files in self._known.items() if files & changed} | self._left
        for file in changed:
            _unpickled(file)
        spec = running.spec
        try:
            if self._origin is not None and (self._failed or os.path.realpath(self._origin.file) in changed):
                spec = self._again(self._origin)
            spec = dataclasses.replace(
                spec, deployments=tuple(self._path(one, one.name in names) for one in spec.deployments)
            )
            old = {one.name: one for one in running.spec.deployments}
            touched = [one.name for one in spec.deployments if one.name in names or old.get(one.name) != one]
            if not touched and len(old) == len(spec.deployments):
                self._failed = False
                self._left.clear()
                return
            with _afresh(_dependents(changed, self._modules) if not self._failed else self._modules):
                await _exchange(running, spec, names)
        except Exception as error:  # whatever code that is being written raises
            self._failed = True
            self._left = names
            LOG.error(
                "what was edited (%s) cannot be used, and all goes on as before: %s",
                _named(changed),
                error,
                exc_info=error.__cause__ or (None if isinstance(error, DocArrayError) else error),
            )
            return
        self._failed = False
        self._left.clear()
        await asyncio.get_running_loop().run_in_executor(None, self._learn)
        gone = ", ".join(sorted(old.keys() - {one.name for one in spec.deployments}))
        LOG.info(
            "%s edited: %s%s", _named(changed), f"made anew: {', '.join(touched)}" if touched else "",
            f"; left out: {gone}" if gone else "",
        )  # fmt: skip

    def _again(self, origin: Origin) -> FlowSpec:
        spec = origin.again()
        if spec.gateway != self._gateway:
            self._gateway = spec.gateway
            LOG.warning("%s: the gateway stays as it is until the Flow is started again", origin.file.name)
        return spec

    @staticmethod
    def _path(one: DeploymentSpec, is_touched: bool) -> DeploymentSpec:
        """A deployment whose classes are found again."""
        if not is_touched:
            return one
        return dataclasses.replace(
            one,
            uses=_by_path(one.uses),
            uses_before=_by_path(one.uses_before),
            uses_after=_by_path(one.uses_after),
        )


def _named(files: Iterable[str]) -> str:
    return ", ".join(sorted(os.path.basename(file) for file in files))
