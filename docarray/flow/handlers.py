"""Handlers: methods of an Executor that answer endpoints, what they want to be called with, and what they give.

Rule 1: a method is found by its name when it is called: a subclass that overrides it, decorated or not, is asked.
Rule 2: a handler is called with what its signature names, by keyword, and with nothing else.
Rule 3: what a signature cannot mean is an error where the class is made.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast, overload

from docarray.array import DocumentArray
from docarray.dataclasses import is_multimodal
from docarray.document import Document
from docarray.errors import BadValue, FieldTypeError, near_miss

__all__ = [
    "DEFAULT",
    "Batching",
    "Handler",
    "Offer",
    "dynamic_batching",
    "handlers_of",
    "remapped",
    "requests",
]

DEFAULT: Final = "/default"
"""The endpoint of a handler that names none: it answers all that no other does."""

_WANTED: Final = ("docs", "doc", "parameters", "docs_matrix", "docs_map", "tracing_context")
F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True, slots=True)
class Batching:
    """How requests are put together before a handler sees them."""

    preferred_batch_size: int
    """Documents at which a batch is full."""
    timeout: float = 10_000.0
    """Milliseconds that the first request of a batch waits for others."""

    def __post_init__(self) -> None:
        size, timeout = cast("tuple[Any, Any]", (self.preferred_batch_size, self.timeout))
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise BadValue(f"preferred_batch_size is a whole number from 1; got {size!r}")
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout >= 0:
            raise BadValue(f"timeout is a number of milliseconds from 0; got {timeout!r}")

    @classmethod
    def of(cls, given: Any, what: str) -> Batching:
        """One that was given as a dict, as in a YAML file."""
        if isinstance(given, Batching):
            return given
        if not isinstance(given, Mapping):
            raise FieldTypeError(f"{what} is a dict with preferred_batch_size and timeout; got {given!r:.80}")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in cast("Mapping[Any, Any]", given):
            if name not in known:
                raise BadValue(f"{what} has no {name!r:.60}. {near_miss(str(name), known)}")
        if "preferred_batch_size" not in given:
            raise BadValue(f"{what} lacks preferred_batch_size")
        return cls(**dict(cast("Mapping[str, Any]", given)))


@dataclasses.dataclass(frozen=True, slots=True)
class _Mark:
    """What `@requests` says of a method."""

    on: tuple[str, ...]
    request_schema: Any
    response_schema: Any
    idempotent: bool
    hints: dict[str, Any]
    """The annotations, as far as they can be evaluated."""


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What is known of a handler where it does not run."""

    streams: bool
    """Whether its answer comes part by part."""
    idempotent: bool
    """Whether it may be called again where a worker was lost before it answered."""
    plain: bool
    """Whether it can be called here and now: it is no coroutine, and waits for no batch."""
    doc: str
    """Its docstring."""
    is_async: bool = False
    """Whether it is awaited: then it works on many requests at the same time."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A method as it answers an endpoint."""

    method: str
    """Its name."""
    wants: frozenset[str]
    """The keywords it is called with."""
    is_async: bool
    """Whether it is awaited, or iterated with `async for`."""
    streams: bool
    """Whether it is a generator: each thing that it yields is a part of the answer."""
    idempotent: bool
    """Whether it may be called again where a worker was lost before it answered."""
    batching: Batching | None
    parameters: Any
    """The class that its parameters are made into; None for a dict."""
    takes: Any
    """What its documents are: Document, a class that inherits from it, or a multimodal dataclass."""
    gives: Any
    """The same, of its answer."""
    doc: str
    """Its docstring."""

    @property
    def offer(self) -> Offer:
        """What others need to know of it."""
        plain = not (self.is_async or self.streams or self.batching)
        return Offer(self.streams, self.idempotent, plain, self.doc, self.is_async)

    @property
    def single(self) -> bool:
        """Whether it is called document by document."""
        return "doc" in self.wants


@overload
def requests(func: F, /) -> F: ...
@overload
def requests(
    func: None = None,
    *,
    on: str | list[str] | tuple[str, ...] | None = None,
    request_schema: Any = None,
    response_schema: Any = None,
    idempotent: bool = False,
) -> Callable[[F], F]: ...
def requests(
    func: Any = None,
    *,
    on: Any = None,
    request_schema: Any = None,
    response_schema: Any = None,
    idempotent: bool = False,
) -> Any:
    """Makes a method of an Executor answer requests.

    Args:
        on: the endpoint, or several. Without it the method answers all that no other does.
        request_schema: the class of the documents it takes, in place of the annotation.
        response_schema: the class of the documents it gives, likewise.
        idempotent: whether calling it twice does no harm. Where a worker process dies before it answered, such a
            request goes to another one.

    The method is called with those of these keywords that it names, or with all of them where it takes **kwargs:

    - `docs`: a DocumentArray; or `doc`: one document after the other. With `doc: Page`, of a multimodal dataclass, it
      gets objects of that class.
    - `parameters`: a dict, or an object of the dataclass or pydantic model that it is annotated with.
    - `docs_matrix`, `docs_map`: at a join, the documents of each branch, as a list or by the name of the deployment.
    - `tracing_context`: the context of OpenTelemetry, or None.

    What it returns becomes the answer: documents in the place of those that came; None for those that came, as they
    are now; a dict goes into `parameters['__results__']` of the answer. A generator gives its answer part by part.

    Raises:
        FieldTypeError, BadValue: `on` is no name of an endpoint; where the class is made: the method wants something
            that no request has.

    >>> from docarray.flow import Executor
    >>> class Upper(Executor):
    ...     @requests(on='/upper')
    ...     def upper(self, docs, **kwargs):
    ...         docs.texts = [text.upper() for text in docs.texts]
    >>> Upper()('/upper', docs=DocumentArray([Document(text='hi')])).texts
    ['HI']
    """
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # names of annotations in a function's class
    outer = frame.f_back if frame.f_locals.get("__qualname__") else None
    scope = {**(outer.f_locals if outer else {}), **frame.f_locals}
    points = _endpoints(on)

    def mark(function: Any) -> Any:
        if not inspect.isfunction(function):
            raise FieldTypeError(
                f"@requests goes before a method, or is given its endpoint by name: @requests(on='/search'); "
                f"got {function!r:.80}"
            )
        hints = _hints(cast("Any", function), scope)
        cast("Any", function).__requests__ = _Mark(points, request_schema, response_schema, idempotent, hints)
        return function

    return mark if func is None else mark(func)


def _endpoints(on: Any) -> tuple[str, ...]:
    if on is None:
        return (DEFAULT,)
    names: list[Any] = list(cast("Any", on)) if isinstance(on, (list, tuple)) else [on]
    for name in names:
        if not isinstance(name, str) or not name:
            raise FieldTypeError(f"an endpoint is text such as '/search', or a list of them; got {on!r:.80}")
    if not names:
        raise BadValue("a list of endpoints names at least one")
    return tuple(names)


def dynamic_batching(
    func: Any = None, *, preferred_batch_size: int | None = None, timeout: float = 10_000.0
) -> Any:
    """Makes a handler see the documents of several requests at once; above or below `@requests`.

    Args:
        preferred_batch_size: documents at which a batch is full.
        timeout: milliseconds that the first request of a batch waits for others.

    Requests with equal parameters are put together. The handler gives back as many documents as it got, or None; each
    request gets its own. A request with more documents than a batch has is a batch of its own.

    >>> from docarray.flow import Executor
    >>> class Encoder(Executor):
    ...     @dynamic_batching(preferred_batch_size=32, timeout=5)
    ...     @requests(on='/encode')
    ...     def encode(self, docs, **kwargs): ...
    """
    if func is not None or preferred_batch_size is None:
        raise FieldTypeError("@dynamic_batching is given its size by name: preferred_batch_size=32")
    batching = Batching(preferred_batch_size, timeout)

    def mark(function: Any) -> Any:
        if not inspect.isfunction(function):
            raise FieldTypeError(f"@dynamic_batching goes before a method; got {function!r:.80}")
        cast("Any", function).__batching__ = batching
        return function

    return mark


# ---------------------------------------------------------------------------------------------- of a class


def handlers_of(cls: type[Any]) -> Mapping[str, Handler]:
    """The handlers of a class by endpoint, those that it inherits too.

    Raises:
        BadValue: one class has two for an endpoint. FieldTypeError: see `requests`.
    """
    marks: dict[str, _Mark] = {}
    batching: dict[str, Batching] = {}
    endpoints: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        own: dict[str, str] = {}
        held: list[tuple[str, Any]] = list(vars(owner).items())
        for name, value in held:
            mark: _Mark | None = getattr(value, "__requests__", None)
            if isinstance(value, (staticmethod, classmethod)) and mark is not None:
                raise FieldTypeError(f"{owner.__name__}.{name}: a handler is a method, with self")
            batched = getattr(cast("Any", value), "__batching__", None)
            if batched is not None:
                batching[name] = batched
            if mark is None:
                continue
            if name in marks:  # decorated again: what it answered before it does no more
                endpoints = {point: method for point, method in endpoints.items() if method != name}
            marks[name] = mark
            for point in mark.on:
                if point in own:
                    raise BadValue(
                        f"{owner.__name__}: {own[point]}() and {name}() both answer {point!r}; "
                        "an endpoint has one handler"
                    )
                own[point] = name
        endpoints.update(own)
    made = {name: _handler(cls, name, marks[name], batching.get(name)) for name in set(endpoints.values())}
    return MappingProxyType({point: made[name] for point, name in endpoints.items()})


def remapped(
    cls: type[Any],
    handlers: Mapping[str, Handler],
    routes: Mapping[str, str] | None,
    batching: Mapping[str, Any] | None,
) -> Mapping[str, Handler]:
    """Handlers with other endpoints, and other batching.

    Args:
        routes: endpoint to the name of a method. A method that stands in it answers those endpoints alone.
        batching: endpoint, or the name of a method, to how its requests are put together. Endpoints win.

    Raises:
        BadValue: there is no such method or endpoint.
    """
    found = dict(handlers)
    if routes:
        for point, name in routes.items():
            if not isinstance(cast("Any", name), str) or not inspect.isfunction(getattr(cls, name, None)):
                methods = [n for n, _ in inspect.getmembers(cls, inspect.isfunction) if not n.startswith("_")]
                raise BadValue(
                    f"uses_requests sends {point!r} to {name!r:.60}, which is no method of {cls.__name__}. "
                    f"{near_miss(str(name), methods)}"
                )
        moved = set(routes.values())
        found = {point: one for point, one in found.items() if one.method not in moved}
        for point, name in routes.items():
            function = getattr(cls, name)
            mark = getattr(function, "__requests__", None) or _Mark((point,), None, None, False, {})
            found[point] = _handler(cls, name, mark, getattr(function, "__batching__", None))
    for key in sorted(batching or {}, key=lambda key: key in found):  # endpoints last: they win
        chosen = [key] if key in found else [point for point, one in found.items() if one.method == key]
        if not chosen:
            known = [*found, *{one.method for one in found.values()}]
            raise BadValue(
                f"uses_dynamic_batching names {key!r:.60}, which {cls.__name__} has not. {near_miss(key, known)}"
            )
        for point in chosen:
            how = Batching.of(cast("Any", batching)[key], f"uses_dynamic_batching[{key!r}]")
            found[point] = _checked(cls, dataclasses.replace(found[point], batching=how))
    return MappingProxyType(found)


def _handler(cls: type[Any], name: str, mark: _Mark, batching: Batching | None) -> Handler:
    function = getattr(cls, name)
    if not inspect.isfunction(function):
        raise FieldTypeError(f"{cls.__name__}.{name} answers {', '.join(mark.on)} and is no method")
    where = f"{cls.__name__}.{name}()"
    names: list[str] = []
    takes_all = False
    parameters = iter(inspect.signature(function).parameters.values())
    if next(parameters, None) is None:
        raise FieldTypeError(f"{where} lacks self")
    for one in parameters:
        if one.kind is one.VAR_KEYWORD:
            takes_all = True
        elif one.kind is one.VAR_POSITIONAL:
            continue
        elif one.name in _WANTED and one.kind is not one.POSITIONAL_ONLY:
            names.append(one.name)
        elif one.default is one.empty:
            raise FieldTypeError(
                f"{where} wants {one.name!r}, which no request has. A handler is called by keyword, with those that it "
                f"names of {', '.join(_WANTED)}"
            )
    if "doc" in names and "docs" in names:
        raise FieldTypeError(f"{where} wants doc and docs: it is called for each document, or once for all")
    wants = {*names, *((name for name in _WANTED if name not in ("doc", "docs")) if takes_all else ())}
    if takes_all and "doc" not in names:
        wants.add("docs")
    own = getattr(function, "__requests__", None) is mark
    hints = {**_hints(function, vars(cls)), **(mark.hints if own else {})}
    plain = inspect.isgeneratorfunction(function)
    streams = plain or inspect.isasyncgenfunction(function)
    handler = Handler(
        method=name,
        wants=frozenset(wants),
        is_async=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        streams=streams,
        idempotent=mark.idempotent,
        batching=batching,
        parameters=_parameters_class(hints.get("parameters"), where),
        takes=_class_of(mark.request_schema or hints.get("doc" if "doc" in wants else "docs")),
        gives=_class_of(mark.response_schema or _yielded(hints.get("return"), streams)),
        doc=inspect.cleandoc(function.__doc__ or ""),
    )
    if handler.takes is not Document and is_multimodal(handler.takes) and not handler.single:
        raise FieldTypeError(
            f"{where}: objects of a dataclass come one by one: doc: {handler.takes.__name__}"
        )
    return _checked(cls, handler)


def _checked(cls: type[Any], handler: Handler) -> Handler:
    if handler.batching is not None and handler.streams:
        raise BadValue(
            f"{cls.__name__}.{handler.method}() is a generator: its requests cannot be put together"
        )
    if (
        handler.batching is not None
        and handler.wants & {"docs_matrix", "docs_map"}
        and "docs" not in handler.wants
    ):
        raise BadValue(
            f"{cls.__name__}.{handler.method}(): requests of several branches cannot be put together"
        )
    return handler


def _hints(function: Any, scope: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations that can be evaluated: one that cannot, such as a name that only type checkers import, says
    nothing.
    """
    found: dict[str, Any] = {}
    for name, said in inspect.get_annotations(function).items():
        if isinstance(said, str):
            try:
                # As typing.get_type_hints does; a decorator such as @monitor is of another module.
                said = eval(said, inspect.unwrap(function).__globals__, dict(scope))
            except (NameError, AttributeError, TypeError, SyntaxError):
                continue
        found[name] = said
    return found


def _parameters_class(said: Any, where: str) -> Any:
    """A dataclass or a model of pydantic; None for a dict."""
    if inspect.isclass(said) and (dataclasses.is_dataclass(said) or hasattr(said, "model_validate")):
        return cast("Any", said)
    kind: Any = typing.get_origin(said) or said
    if kind is None or kind is Any or isinstance(kind, str) or _is_dict(kind):
        return None
    if isinstance(kind, type) and kind is not object:
        raise FieldTypeError(
            f"{where}: parameters are a dict, a dataclass or a model of pydantic; not {said!r:.80}"
        )
    return None


def _is_dict(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _class_of(said: Any) -> Any:
    """The class of documents that an annotation tells of; Document where it tells of none."""
    origin, arguments = typing.get_origin(said), typing.get_args(said)
    if origin in (typing.Union, types.UnionType):
        some = [one for one in arguments if one is not type(None)]
        return _class_of(some[0]) if len(some) == 1 else Document
    if isinstance(origin, type) and arguments and issubclass(origin, (DocumentArray, list)):
        return _class_of(arguments[0])
    if inspect.isclass(said) and (issubclass(said, Document) or is_multimodal(said)):
        return cast("Any", said)
    return Document


_ITERATED: Final = (Iterable, Iterator, AsyncIterable)


def _yielded(said: Any, streams: bool) -> Any:
    if not streams:
        return said
    origin, arguments = typing.get_origin(said), typing.get_args(said)
    return arguments[0] if isinstance(origin, type) and arguments and issubclass(origin, _ITERATED) else said
