"""Executor: a class whose methods answer requests on documents."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar, Final, Self, cast

from docarray.errors import FieldTypeError, near_miss
from docarray.flow.call import Call, answer, answered, pulled, yielded
from docarray.flow.faults import NoEndpoint
from docarray.flow.handlers import DEFAULT, Handler, handlers_of, remapped
from docarray.flow.logs import FILTER
from docarray.flow.loops import wait
from docarray.flow.monitors import Monitors, Timed
from docarray.flow.seeing import tracer_of

__all__ = ["Executor", "construct"]

OWN: Final = ("metas", "requests", "runtime_args", "workspace", "dynamic_batching")
"""What the constructor takes beside what an Executor of one's own adds."""
METAS: Final = ("name", "description", "workspace", "py_modules")


class Executor:
    """The root of classes whose methods answer requests on documents.

    A class of one's own adds methods with `@requests`, and what its constructor takes:

    >>> from docarray import Document, DocumentArray
    >>> from docarray.flow import requests
    >>> class Repeat(Executor):
    ...     def __init__(self, times=2, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.times = times
    ...     @requests(on='/repeat')
    ...     def repeat(self, docs, **kwargs):
    ...         docs.texts = [text * self.times for text in docs.texts]
    >>> Repeat(times=3)('/repeat', docs=DocumentArray([Document(text='ho ')])).texts
    ['ho ho ho ']

    Three methods may be overridden, `def` or `async def`: `warmup`, before the first request; `health`, False or an
    error where it cannot work any more; `close`, at the end.

    Args:
        metas: `name` and `description`; more in `runtime_args`, which the Flow gives.
        requests: endpoint to the name of a method, in place of what `@requests` says.
        runtime_args: what the Flow tells: `name`, `shard_id`, `shards`, `replicas`, `replica_id`, `workspace`.
        workspace: the folder in which `self.workspace` lies.
        dynamic_batching: endpoint, or name of a method, to `{'preferred_batch_size': n, 'timeout': ms}`.

    Raises:
        FieldTypeError: an argument that no constructor of the class takes; where the class is made: its constructor has
            no **kwargs, by which the Flow passes on its own.
    """

    handlers: ClassVar[Mapping[str, Handler]] = MappingProxyType({})
    """The handlers of the class by endpoint."""
    metas: SimpleNamespace
    runtime_args: SimpleNamespace
    logger: logging.Logger
    tracer: Any = None
    tracer_provider: Any = None
    meter: Any = None
    meter_provider: Any = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__.get("__init__")
        if own is not None and inspect.isfunction(own):
            names = inspect.signature(own).parameters
            if not (any(one.kind is one.VAR_KEYWORD for one in names.values()) or {*OWN[:3]} <= names.keys()):
                raise FieldTypeError(
                    f"{cls.__name__}.__init__ has no **kwargs, by which a Flow passes on what it adds: write "
                    f"def __init__(self, {''.join(f'{name}, ' for name in list(names)[1:])}**kwargs) and call "
                    "super().__init__(**kwargs) in it"
                )
        cls.handlers = handlers_of(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # What every Executor has is there before its constructor runs, and where a dataclass has none that calls ours.
        del args
        self = super().__new__(cls)
        self.__dict__["_given"] = {name: kwargs[name] for name in OWN if kwargs.get(name) is not None}
        self._configure()
        return self

    def __init__(
        self,
        metas: Mapping[str, Any] | None = None,
        requests: Mapping[str, str] | None = None,
        runtime_args: Mapping[str, Any] | SimpleNamespace | None = None,
        workspace: str | os.PathLike[str] | None = None,
        dynamic_batching: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = dict(zip(OWN, (metas, requests, runtime_args, workspace, dynamic_batching), strict=True))
        if kwargs:
            name = next(iter(kwargs))
            raise FieldTypeError(
                f"{type(self).__name__} takes no argument {name!r}. {near_miss(name, _arguments(type(self)))}"
            )
        if any(value is not None for value in given.values()):
            self._given.update({name: value for name, value in given.items() if value is not None})
            self._configure()

    _given: dict[str, Any]
    _handlers: Mapping[str, Handler]

    def _configure(self) -> None:
        cls, given = type(self), self._given
        metas = dict(cast("Mapping[str, Any]", given.get("metas") or {}))
        for name in metas:
            if name not in METAS:
                raise FieldTypeError(f"metas has no {name!r:.60}. {near_miss(str(name), METAS)}")
        self.metas = SimpleNamespace(
            **{
                "name": cls.__name__,
                "description": inspect.cleandoc(cls.__doc__ or ""),
                "workspace": None,
                "py_modules": None,
                **metas,
            }
        )
        told: Any = given.get("runtime_args") or {}
        self.runtime_args = SimpleNamespace(**(vars(told) if isinstance(told, SimpleNamespace) else told))
        self._handlers = remapped(cls, cls.handlers, given.get("requests"), given.get("dynamic_batching"))
        self.logger = logging.getLogger(
            f"docarray.flow.{getattr(self.runtime_args, 'name', self.metas.name)}"
        )
        self.logger.addFilter(FILTER)
        self.tracer_provider, self.tracer = tracer_of(getattr(self.runtime_args, "tracer_provider", None))

    @property
    def requests(self) -> dict[str, Callable[..., Any]]:
        """The methods that answer, by endpoint."""
        return {point: getattr(self, one.method) for point, one in self._handlers.items()}

    @property
    def workspace(self) -> str:
        """The folder for what this Executor keeps: `<base>/<name>`, and `/<shard>` where there are shards. It is made.

        The base is what the Flow says, else `workspace=`, else the environment variable JINA_DEFAULT_WORKSPACE_BASE,
        else `.cache/docarray` in the home folder.
        """
        base = (
            getattr(self.runtime_args, "workspace", None)
            or self._given.get("workspace")
            or self.metas.workspace
            or os.environ.get("JINA_DEFAULT_WORKSPACE_BASE")
            or Path.home() / ".cache" / "docarray"
        )
        folder = Path(base).expanduser().resolve() / self.metas.name
        shard = getattr(self.runtime_args, "shard_id", None)
        if shard is not None and shard != -1 and getattr(self.runtime_args, "shards", 2) > 1:
            folder /= str(shard)
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def snapshot(self, path: str) -> Any:
        """Writes what `restore` is to find into an empty folder. Called where the deployment says `snapshots`: by
        `Flow.snapshot`, at the end of the Flow, and before code that was edited is taken over. No plain method runs
        meanwhile.

        Args:
            path: the folder. What it holds counts when this returns; until then the one before does.
        """

    def restore(self, path: str) -> Any:
        """Called once, after the constructor and before `warmup`, where there is a snapshot.

        Args:
            path: the folder that `snapshot` filled last.
        """

    def warmup(self) -> Any:
        """Called once, before the first request: to load a model into a device, or run it once."""

    def health(self) -> Any:
        """Called now and then: False, or an error, where it cannot work any more; its process is replaced then."""

    def close(self) -> Any:
        """Called once, after the last request."""

    def monitor(self, name: str | None = None, documentation: str | None = None) -> Timed:
        """Times its block: the histogram `docarray_executor_<name>` on /metrics; see `docarray.flow.monitor`.

        Args:
            name: letters, digits and `_`, such as 'encode_seconds'. None: 'monitor_seconds'.
            documentation: what it is of.

        Raises:
            BadValue: it cannot be called so.

        >>> executor = Executor()
        >>> with executor.monitor('load_seconds', 'Seconds until the weights are there.'):
        ...     weights = [0.0] * 10
        """
        return self.monitors.timed(name, documentation)

    @functools.cached_property
    def monitors(self) -> Monitors:
        """What `monitor` has noted."""
        return Monitors()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        done = self.close()
        if inspect.isawaitable(done):
            wait(cast("Coroutine[Any, Any, Any]", done))

    # ------------------------------------------------------------------------------------------ without a Flow

    def __call__(
        self, on: str, docs: Any = None, parameters: Mapping[str, Any] | None = None, **more: Any
    ) -> Any:
        """What the handler of an endpoint makes of documents, without a Flow.

        Args:
            on: the endpoint.
            docs: documents, as for a DocumentArray. They are not copied.
            parameters: of the request.
            more: `docs_matrix`, `docs_map`.

        Returns:
            A DocumentArray; the dict of a handler that returns one; of a generator a list of DocumentArrays.

        Raises:
            NoEndpoint: no handler answers it. What the handler raises.
        """
        handler, call = self._call_of(on, docs, parameters, more)
        if handler.is_async:
            return wait(self._awaited(handler, call))
        if handler.streams:
            return list(pulled(self, handler, call))
        results = answer(self, handler, call)
        return call.docs if results is None else results

    async def acall(
        self, on: str, docs: Any = None, parameters: Mapping[str, Any] | None = None, **more: Any
    ) -> Any:
        """The same, for the handlers that are coroutines, awaited."""
        return await self._awaited(*self._call_of(on, docs, parameters, more))

    def _call_of(
        self, on: str, docs: Any, parameters: Mapping[str, Any] | None, more: dict[str, Any]
    ) -> tuple[Handler, Call]:
        handler = self._handlers.get(on) or self._handlers.get(DEFAULT)
        if handler is None:
            known = ", ".join(sorted(self._handlers)) or "nothing"
            raise NoEndpoint(
                f"{self.metas.name} does not answer {on!r}. {near_miss(on, self._handlers)} It answers {known}"
            )
        return handler, Call.of(on, docs, copy.deepcopy(dict(parameters or {})), **more)

    async def _awaited(self, handler: Handler, call: Call) -> Any:
        if handler.streams:
            return [part async for part in yielded(self, handler, call)]
        results = await answered(self, handler, call)
        return call.docs if results is None else results


def _arguments(cls: type[Any]) -> list[str]:
    """What the constructors of a class take by name, those of the Flow left out."""
    found: dict[str, None] = {}
    for owner in cls.__mro__:
        own = owner.__dict__.get("__init__")
        if owner is not Executor and inspect.isfunction(own):
            for one in list(inspect.signature(own).parameters.values())[1:]:
                if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name not in OWN:
                    found[one.name] = None
    return list(found)


def construct(cls: type[Executor], arguments: Mapping[str, Any], **own: Any) -> Executor:
    """An Executor as a Flow makes it.

    Args:
        arguments: of its constructor: `uses_with`.
        own: metas, requests, runtime_args, dynamic_batching, as far as they are given.

    Raises:
        FieldTypeError: an argument that its constructors do not take. What its constructor raises.
    """
    known = _arguments(cls)
    for name in arguments:
        if name not in known:
            raise FieldTypeError(f"{cls.__name__} takes no argument {name!r}. {near_miss(str(name), known)}")
    given = {name: value for name, value in own.items() if value}
    if dataclasses.is_dataclass(cls):
        self = cls.__new__(cls, **given)
        cls.__init__(self, **arguments)
        return self
    names = inspect.signature(cls.__init__).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in names.values()):
        given = {name: value for name, value in given.items() if name in names}
    return cls(**arguments, **given)
