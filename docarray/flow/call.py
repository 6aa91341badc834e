"""Call: one request as one Executor sees it; how its handler is called, and what is made of what that returns."""

from __future__ import annotations

import asyncio
import dataclasses
import types
import typing
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from typing import Any, Final, cast

from docarray.array import DocumentArray
from docarray.dataclasses import from_document, is_multimodal
from docarray.document import Document
from docarray.errors import DocArrayError, FieldTypeError, near_miss
from docarray.flow.faults import BadRequest
from docarray.flow.handlers import Handler
from docarray.flow.logs import entered

__all__ = ["Call", "answer", "answered", "pulled", "yielded"]

_END: Final = object()
_AT_ONCE: Final = 64  # documents of one request that a coroutine for one document works on at the same time


class Call:
    """What a handler is called with. `docs` is what it got, then what it gave."""

    __slots__ = ("docs", "docs_map", "docs_matrix", "endpoint", "parameters", "request_id", "tracing_context")

    def __init__(
        self,
        endpoint: str,
        docs: DocumentArray[Any],
        parameters: dict[str, Any],
        docs_matrix: list[DocumentArray[Any]] | None = None,
        docs_map: dict[str, DocumentArray[Any]] | None = None,
        tracing_context: Any = None,
        request_id: str = "",
    ) -> None:
        self.endpoint: str = endpoint
        self.docs: DocumentArray[Any] = docs
        self.parameters: dict[str, Any] = parameters
        self.docs_matrix: list[DocumentArray[Any]] | None = docs_matrix
        self.docs_map: dict[str, DocumentArray[Any]] | None = docs_map
        self.tracing_context: Any = tracing_context
        self.request_id: str = request_id

    def copied(self, docs: DocumentArray[Any]) -> Call:
        """The same call with other documents."""
        said = self.docs_matrix, self.docs_map, self.tracing_context, self.request_id
        return Call(self.endpoint, docs, dict(self.parameters), *said)

    def entered(self) -> entered:
        """Within it a handler works on this call: what it logs and traces is of it."""
        return entered(self.request_id, self.tracing_context)

    @classmethod
    def of(cls, endpoint: str, docs: Any, parameters: dict[str, Any], **more: Any) -> Call:
        """A call with whatever a DocumentArray can be made of."""
        array = (
            cast("DocumentArray[Any]", docs) if isinstance(docs, DocumentArray) else DocumentArray[Any](docs)
        )
        return cls(endpoint, array, parameters, **more)


def _keywords(handler: Handler, call: Call) -> dict[str, Any]:
    """All but documents one by one."""
    wants = handler.wants
    said = {name: getattr(call, name) for name in wants if name not in ("doc", "docs")}
    if "docs" in wants:
        kind = handler.takes
        said["docs"] = (
            call.docs if kind is Document else DocumentArray([_typed(kind, doc) for doc in call.docs])
        )
    if handler.parameters is not None:
        said["parameters"] = _parameters(handler.parameters, call.parameters)
    return said


def answer(executor: Any, handler: Handler, call: Call) -> dict[str, Any] | None:
    """Calls a handler that is no coroutine; `call.docs` becomes what it gives.

    Returns:
        The dict, where it returned one.

    Raises:
        FieldTypeError: it returned something else than documents, a dict or None. What it raises.
    """
    method, said = getattr(executor, handler.method), _keywords(handler, call)
    with call.entered():
        if handler.single:
            given = [_one(handler, doc, method(doc=_typed(handler.takes, doc), **said)) for doc in call.docs]
            call.docs = DocumentArray(given)
            return None
        return _merged(handler, call, method(**said))


async def answered(executor: Any, handler: Handler, call: Call) -> dict[str, Any] | None:
    """The same, of a handler that is a coroutine too. One for single documents works on several at the same time."""
    if not handler.is_async:
        return answer(executor, handler, call)
    method, said = getattr(executor, handler.method), _keywords(handler, call)
    if not handler.single:
        with call.entered():
            given = await method(**said)
        return _merged(handler, call, given)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(doc: Document) -> Document:
        async with turn:
            return _one(handler, doc, await method(doc=_typed(handler.takes, doc), **said))

    try:
        async with asyncio.TaskGroup() as group:
            with call.entered():
                tasks = [group.create_task(one(doc)) for doc in call.docs]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    call.docs = DocumentArray([task.result() for task in tasks])
    return None


async def yielded(executor: Any, handler: Handler, call: Call) -> AsyncGenerator[DocumentArray[Any]]:
    """What a handler that is a generator yields, as arrays."""
    if not handler.is_async:
        for part in pulled(executor, handler, call):
            yield part
        return
    method, said = getattr(executor, handler.method), _keywords(handler, call)
    for keywords in _each(handler, call, said):
        generator = method(**keywords)
        try:
            while True:
                with call.entered():  # only while it works: what is between two parts is somebody else's
                    value = await anext(generator, _END)
                if value is _END:
                    break
                yield _part(handler, value)
        finally:
            await generator.aclose()


def pulled(executor: Any, handler: Handler, call: Call) -> Generator[DocumentArray[Any]]:
    """What a plain generator yields, as arrays."""
    method, said = getattr(executor, handler.method), _keywords(handler, call)
    for keywords in _each(handler, call, said):
        generator = method(**keywords)
        try:
            while True:
                with call.entered():
                    value = next(generator, _END)
                if value is _END:
                    break
                yield _part(handler, value)
        finally:
            generator.close()


def _each(handler: Handler, call: Call, said: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if not handler.single:
        return [said]
    return ({**said, "doc": _typed(handler.takes, doc)} for doc in call.docs)


# ---------------------------------------------------------------------------------------------- what comes back


def _merged(handler: Handler, call: Call, given: Any) -> dict[str, Any] | None:
    if given is None:
        return None
    if isinstance(given, DocumentArray):
        call.docs = given
        return None
    if isinstance(given, Mapping):
        return dict(cast("Mapping[str, Any]", given))
    if isinstance(given, Document) or is_multimodal(given):
        call.docs = DocumentArray([_document(given)])
        return None
    if isinstance(given, (list, tuple)):
        listed = cast("list[Any]", given)
        if all(isinstance(doc, Document) or is_multimodal(doc) for doc in listed):
            call.docs = DocumentArray([_document(doc) for doc in listed])
            return None
    raise FieldTypeError(
        f"{handler.method}() returned a {_kind(cast('object', given))}; a handler returns documents, a dict or None"
    )


def _kind(value: object) -> str:
    return type(value).__name__


def _one(handler: Handler, doc: Document, given: Any) -> Document:
    if given is None:
        return doc
    if isinstance(given, Document) or is_multimodal(given):
        return _document(given)
    raise FieldTypeError(
        f"{handler.method}() returned a {type(given).__name__} for document {doc.id!r}; a handler of single documents "
        "returns a document or None"
    )


def _part(handler: Handler, value: Any) -> DocumentArray[Any]:
    if isinstance(value, DocumentArray):
        return cast("DocumentArray[Any]", value)
    if isinstance(value, Document) or is_multimodal(value):
        return DocumentArray([_document(value)])
    raise FieldTypeError(f"{handler.method}() yielded a {type(value).__name__}; a handler yields documents")


def _document(value: Any) -> Document:
    return value if isinstance(value, Document) else Document(value)


# ---------------------------------------------------------------------------------------------- what is handed in


def _typed(kind: Any, doc: Document) -> Any:
    """A document as the class that a handler wants.

    Raises:
        BadRequest: it is none; the message names it.
    """
    if kind is Document or isinstance(doc, kind):
        return doc
    if not is_multimodal(kind):
        return kind(doc, copy=True)
    try:
        return from_document(kind, doc)
    except DocArrayError as error:
        raise BadRequest(f"document {doc.id!r} is no {kind.__name__}: {error}") from error


def _parameters(kind: Any, given: Mapping[str, Any]) -> Any:
    """Parameters as a dataclass or a model of pydantic.

    Raises:
        BadRequest: they are none; the message names the one that is wrong.
    """
    said = {name: value for name, value in given.items() if name != "__results__"}
    if hasattr(kind, "model_validate"):
        try:
            return kind.model_validate(said)
        except ValueError as error:  # pydantic's ValidationError is one
            raise BadRequest(f"parameters: {error}") from error
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for name in said:
        if name not in fields:
            raise BadRequest(f"parameters has no {name!r:.60}. {near_miss(str(name), fields)}")
    hints = typing.get_type_hints(kind)
    for name, field in fields.items():
        missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if name not in said:
            if missing:
                raise BadRequest(f"parameters lacks {name!r}")
        elif not _is_a(said[name], hints.get(name)):
            wanted = getattr(hints[name], "__name__", hints[name])
            raise BadRequest(f"parameters.{name} is a {wanted}; got {said[name]!r:.60}")
    return kind(**said)


_PLAIN: Final[Mapping[Any, tuple[type, ...]]] = {
    int: (int,),
    float: (float, int),
    str: (str,),
    bool: (bool,),
    list: (list,),
    dict: (dict,),
}


def _is_a(value: Any, said: Any) -> bool:
    """Whether a value of JSON is what an annotation says, as far as that is a plain one."""
    origin = typing.get_origin(said)
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, one) for one in typing.get_args(said))
    if origin is typing.Literal:
        return value in typing.get_args(said)
    if said is None or said is type(None):
        return value is None
    kinds = _PLAIN.get(origin or said)
    if kinds is None:
        return True
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
