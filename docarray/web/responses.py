"""Documents in one's own FastAPI or Starlette application: as bodies of requests, as answers, as streams.

Rule 1: whatever media type documents come in and go out by, the code of the application is the same.
Rule 2: what is wrong with a body is said by status, and where it is; the status of an answer is said when its first
        part is there, and an answer that fails later is cut off, so that no client takes it for whole.
Rule 3: nobody works for a client that has gone.
"""

# pyright: reportPrivateUsage=false
# Rows of arrays are taken as they lie, and what models.py finds wrong with documents is told as it tells it.

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from types import MappingProxyType
from typing import Any, Final, NotRequired, cast

from fastapi import FastAPI, routing
from fastapi.params import Depends
from pydantic import ConfigDict, TypeAdapter, ValidationError
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from docarray.array import DocumentArray
from docarray.dataclasses import _plan_of
from docarray.document import Document
from docarray.errors import DocArrayError, FieldTypeError
from docarray.table import Table
from docarray.web import bodies
from docarray.web.bodies import FORMS, MEDIA, READ_TYPES, Choice, Gone, NotAcceptable
from docarray.web.limits import Limits, TooMuch
from docarray.web.models import _annotated, _read, document_schema
from docarray.web.problems import LOG, MEDIA_TYPE, TITLES, Problem, problem_of

__all__ = [
    "Documents",
    "DocumentsResponse",
    "RequestProblem",
    "StreamingDocuments",
    "answer_problem",
    "prepare",
    "read_documents",
]

_LIMITS: Final = Limits()
_SMALL: Final = 1 << 14  # bytes that are read or written where one is
_SLOW: Final = 0.01  # seconds after which what there is is sent
_MOST: Final = 256  # documents of a part of a stream
_ERRORS: Final = 10  # mistakes that a problem lists


class RequestProblem(HTTPException):
    """What is wrong with the body of a request; an HTTPException of Starlette and FastAPI, with its status.

    Without more an application answers it as its other HTTPExceptions. After `prepare(app)`, or
    `app.add_exception_handler(RequestProblem, answer_problem)`, the answer is a problem of RFC 9457.
    """

    def __init__(self, problem: Problem, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(problem.status, problem.detail, dict(problem.headers) or None)
        self.problem: Problem = problem
        self.errors: tuple[Mapping[str, Any], ...] = tuple(errors)
        """For each mistake `loc`, its path from the number of the document on, and `message`."""


def _refused(error: DocArrayError, scope: Any) -> RequestProblem:
    found = problem_of(error)
    headers = {**found.headers, **getattr(error, "headers", {})}
    if not str(scope.get("http_version", "1.1")).startswith("1"):  # later versions have no such header
        headers.pop("Connection", None)
    return RequestProblem(found._replace(headers=headers))


def _invalid(error: ValidationError, *before: Any) -> RequestProblem:
    """What pydantic found, with the path to it."""
    said = [
        {"loc": [*before, *one["loc"]], "message": one["msg"]}
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = said[0]
    where = ".".join(map(str, cast("list[Any]", first["loc"])))
    more = f" ({len(said) - 1} more)" if len(said) > 1 else ""
    detail = f"document {where}: {first['message']}{more}"
    return RequestProblem(Problem(422, TITLES[422], detail), said[:_ERRORS])


def _request_id(scope: Any) -> str:
    state = scope.get("state")
    known = cast("dict[str, Any]", state).get("request_id") if isinstance(state, dict) else None
    return known if isinstance(known, str) else uuid.uuid4().hex


async def answer_problem(request: Request, error: Exception) -> Response:
    """The answer to an error as a problem (RFC 9457): a handler of exceptions for Starlette and FastAPI.

    An error of ours that the client can mend is told as it is; of any other the client learns the id under which the
    logger 'docarray.web' has it.
    """
    mark = _request_id(request.scope)
    more: dict[str, Any] = {}
    if isinstance(error, RequestProblem):
        found = error.problem
        if error.errors:
            more["errors"] = list(error.errors)
    else:
        found = problem_of(error, mark)
    return _problem(found, mark, more)


def _problem(found: Problem, mark: str, more: Mapping[str, Any] = MappingProxyType({})) -> Response:
    content = json.dumps(found.body(mark, **more)).encode()
    return Response(content, found.status, dict(found.headers), MEDIA_TYPE)


# ---------------------------------------------------------------------------------------------- reading


async def read_documents(
    request: Request, schema: type[Any] | None = None, *, limits: Limits = _LIMITS
) -> DocumentArray[Document]:
    """The documents in the body of a request: JSON (a list, or one), NDJSON, the native format, protobuf.

    Args:
        request: of Starlette or FastAPI.
        schema: a class made by `docarray.dataclass`, whose plain fields the tags of each document have to be.
        limits: of which `body` and `documents` hold here.

    Raises:
        RequestProblem: 400, the bytes are none of their media type. 413, too many. 415, a media type or a content
            coding that is not read. 422, no document can be so; `errors` says where.
        starlette.requests.ClientDisconnect: the client went before all was there.
        FieldTypeError: `schema` is no such class.

    No uri of a document is followed. More than a little is read in a thread. Of the native format arrays are views of
    the body.
    """
    checks = None if schema is None else _checks_of(schema)
    return await _documents(request, checks, limits)


async def _documents(request: Request, checks: Any, limits: Limits) -> DocumentArray[Document]:
    scope: Any = request.scope
    try:
        form = READ_TYPES[bodies.typed(scope)]
        receive: Callable[[], Awaitable[Any]] = request.receive
        known = getattr(request, "_body", None)
        if known is not None:  # the application has read it already

            async def kept() -> Any:
                return {"type": "http.request", "body": known}

            receive = kept

        data = await bodies.body(scope, receive, limits)
        if len(data) <= _SMALL:
            return _made(form, data, checks, limits)
        return await run_in_threadpool(_made, form, data, checks, limits)
    except Gone:
        raise ClientDisconnect from None
    except DocArrayError as error:
        raise _refused(error, scope) from error


def _made(form: str, data: bytes, checks: Any, limits: Limits) -> DocumentArray[Document]:
    if form in ("json", "ndjson"):
        values = bodies.values_of(form, data)
        if len(values) > limits.documents:
            raise TooMuch(f"at most {limits.documents} documents are taken at once; {len(values)} came")
        for at, value in enumerate(values):
            if not isinstance(value, dict):
                raise FieldTypeError(f"document number {at} is an object; got {value!r:.60}")
        try:
            table = _read(values, "documents")
        except ValidationError as error:
            raise _invalid(error) from None
    else:
        table = bodies.read(form, data, limits)
    docs = DocumentArray[Document](cast("Any", table))
    if checks is not None:
        for at, doc in enumerate(docs):
            try:
                checks.validate_python(doc.tags)
            except ValidationError as error:
                raise _invalid(error, at, "tags") from None
    return docs


def _checks_of(schema: type[Any]) -> Any:
    """What holds tags against the plain fields of a dataclass."""
    plan = _plan_of(schema)
    if plan is None:
        raise FieldTypeError(f"{schema!r} is no dataclass of docarray: decorate it with docarray.dataclass")
    tagged = {one.name for one in plan.fields or () if one.in_tags}
    needed = set(cast("list[str]", document_schema(schema)["properties"]["tags"].get("required", ())))
    fields = {
        one.name: annotation if one.name in needed else NotRequired[annotation]
        for one, annotation in _annotated(plan)
        if one.name in tagged
    }
    form: Any = TypedDict("tags", fields)  # pyright: ignore
    form.__pydantic_config__ = ConfigDict(extra="allow")
    return TypeAdapter(form)


class Documents(Depends):
    """The documents in the body of a request, as a parameter of a FastAPI path operation::

        @app.post('/shelf')
        async def add(docs: Annotated[DocumentArray, Documents()]) -> int:
            return len(docs)

    Args:
        schema: a class made by `docarray.dataclass`, whose plain fields the tags of each document have to be.
        limits: of which `body` and `documents` hold here.

    All that `read_documents` takes is taken. `prepare(app)` has the OpenAPI document say so; without it, say it by
    `openapi_extra=Documents.described()`.

    Raises:
        FieldTypeError: `schema` is no such class.
    """

    def __init__(self, schema: type[Any] | None = None, *, limits: Limits = _LIMITS) -> None:
        checks = None if schema is None else _checks_of(schema)

        async def documents(request: Request) -> Any:
            return await _documents(request, checks, limits)

        # What `prepare` knows this by.
        cast("Any", documents).docarray_body = _Body(schema)
        super().__init__(documents)

    @staticmethod
    def described() -> dict[str, Any]:
        """What OpenAPI says of such a request, in itself: documents as objects, without a reference to components."""
        return {"requestBody": _request_body({"type": "object", "title": "Document"})}


class _Body:
    def __init__(self, schema: type[Any] | None) -> None:
        self.schema = schema


def _request_body(one: Mapping[str, Any]) -> dict[str, Any]:
    several = {"type": "array", "items": dict(one)}
    return {
        "required": True,
        "content": {
            MEDIA["json"]: {"schema": {"anyOf": [several, dict(one)]}},
            MEDIA["ndjson"]: {"schema": {"type": "string", "description": "A document, in JSON, a line."}},
            MEDIA["binary"]: {"schema": {"type": "string", "format": "binary"}},
            MEDIA["protobuf-array"]: {"schema": {"type": "string", "format": "binary"}},
        },
    }


def _described_problem() -> dict[str, Any]:
    names = {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}}
    more = {"detail": {"type": "string"}, "instance": {"type": "string"}}
    errors = {"errors": {"type": "array", "items": {"type": "object"}}}
    return {"type": "object", "title": "Problem", "properties": {**names, **more, **errors}}


def prepare(app: FastAPI) -> FastAPI:
    """Has an application answer errors of documents as problems, and say in OpenAPI what `Documents` takes.

    Args:
        app: of FastAPI; it is changed, and given back.

    Errors of `docarray.errors` that a path operation raises are answered as problems too.
    """
    app.add_exception_handler(RequestProblem, answer_problem)
    app.add_exception_handler(DocArrayError, answer_problem)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _describe(app, plain())
        return cast("dict[str, Any]", app.openapi_schema)

    app.openapi = openapi
    return app


def _describe(app: FastAPI, said: dict[str, Any]) -> None:
    found = [
        (route, taken) for route in _routes(app.routes) if (taken := _taken(route.dependant)) is not None
    ]
    if not found:
        return
    components = said.setdefault("components", {}).setdefault("schemas", {})
    components.setdefault("Problem", _described_problem())
    refused = {
        "description": "A problem (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for route, taken in found:
        name = _component(components, taken.schema)
        for method in route.methods or ():
            operation = said.get("paths", {}).get(route.path_format, {}).get(method.lower())
            if operation is not None:
                operation["requestBody"] = _request_body({"$ref": f"#/components/schemas/{name}"})
                for status in ("400", "413", "415", "422"):
                    operation["responses"][status] = refused


def _component(components: dict[str, Any], schema: type[Any] | None) -> str:
    """The name of the component that describes a document; it is added where there is none."""
    template = "#/components/schemas/{model}"
    if schema is None:
        described: Any = TypeAdapter(Document).json_schema(ref_template=template)
        name = "Document"
    else:
        described = document_schema(schema, template)
        name = cast("str", described["title"])
    for key, value in described.pop("$defs", {}).items():
        components.setdefault(key, value)
    if "$ref" not in described or schema is not None:
        components.setdefault(name, described)
    return name


def _routes(routes: Sequence[Any]) -> Generator[Any]:
    """Path operations, those of routers in routers too: what has a path, methods and dependencies."""
    # FastAPI of today keeps routers as they are; earlier their routes became those of the application.
    contexts: Any = getattr(routing, "iter_route_contexts", iter)
    for route in contexts(routes):
        if all(getattr(route, name, None) is not None for name in ("dependant", "path_format", "methods")):
            yield route


def _taken(dependant: Any) -> _Body | None:
    found = getattr(dependant.call, "docarray_body", None)
    if found is not None:
        return found
    return next((below for one in dependant.dependencies if (below := _taken(one)) is not None), None)


# ---------------------------------------------------------------------------------------------- answers


class _Answer(Response):
    """What the two answers share: the media type is agreed on when the answer is sent."""

    forms: tuple[str, ...] = FORMS
    """What a client may choose from, the first where it takes anything."""
    known: tuple[str, ...] = tuple(MEDIA)
    """What may be given by name."""

    def __init__(
        self,
        status_code: int,
        headers: Mapping[str, str] | None,
        media_type: str | None,
        background: BackgroundTask | None,
    ) -> None:
        self._fixed: Choice | None = None
        if media_type is not None:
            name = media_type.partition(";")[0].strip().lower()
            form = "csv" if name == MEDIA["csv"] else READ_TYPES.get(name)
            if form not in self.known:
                names = ", ".join(MEDIA[form] for form in self.known)
                raise FieldTypeError(f"documents are given as {names} here; got {media_type!r:.80}")
            self._fixed = Choice(form, media_type)
        self.status_code = status_code
        self.background = background
        self.media_type = None
        self.init_headers(headers)

    def _chosen(self, scope: Any) -> Choice:
        if self._fixed is not None:
            return self._fixed
        return bodies.negotiated(bodies.header(scope, b"accept"), self.forms)

    def _head(self, choice: Choice, size: int | None = None) -> dict[str, Any]:
        headers = [*self.raw_headers, (b"content-type", choice.media.encode("latin-1"))]
        if self._fixed is None:
            headers.append((b"vary", b"accept"))
        if size is not None:
            headers.append((b"content-length", b"%d" % size))
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}


class DocumentsResponse(_Answer):
    """Documents as an answer, in the media type that the client takes best, or in a given one.

    Args:
        docs: an array, or one document, which in JSON is an object.
        status_code, headers, background: as of other answers of Starlette.
        media_type: one of JSON, NDJSON, the native format, protobuf and CSV; None asks the header Accept, and gives
            JSON, NDJSON or native, or 406.

    They are written off the event loop, and all at once: see `StreamingDocuments` for what is long.

    Raises:
        FieldTypeError: `docs` are no documents, or there is no such media type.

    >>> from docarray import Document, DocumentArray
    >>> from fastapi import FastAPI, routing
    >>> from starlette.testclient import TestClient
    >>> app = FastAPI()
    >>> @app.get('/shelf')
    ... def shelf() -> DocumentsResponse:
    ...     return DocumentsResponse(DocumentArray([Document(id='a', text='tea')]))
    >>> with TestClient(app) as client:
    ...     client.get('/shelf', headers={'accept': 'application/x-ndjson'}).text
    '{"id":"a","text":"tea"}\\n'
    """

    def __init__(
        self,
        docs: DocumentArray[Any] | Document,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        if not isinstance(cast("object", docs), (DocumentArray, Document)):
            raise FieldTypeError(
                f"an answer is of a DocumentArray or a Document; got a {type(docs).__name__}"
            )
        self._docs = docs
        super().__init__(status_code, headers, media_type, background)

    @classmethod
    def described(cls) -> dict[int | str, dict[str, Any]]:
        """What OpenAPI says of such an answer: `@app.get('/shelf', responses=DocumentsResponse.described())`."""
        other = {MEDIA["ndjson"]: {"schema": {"type": "string"}}}
        other[MEDIA["binary"]] = {"schema": {"type": "string", "format": "binary"}}
        return {200: {"description": "Documents.", "model": DocumentArray, "content": other}}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            choice = self._chosen(scope)
            # Whether there is much to write is known of few arrays before it is written.
            data = await run_in_threadpool(_said, choice.form, self._docs)
        except NotAcceptable as error:
            await _problem(problem_of(error), _request_id(scope))(scope, receive, send)
            return
        except DocArrayError as error:  # no fault of the client's
            mark = _request_id(scope)
            LOG.error("request %s: the answer cannot be written", mark, exc_info=error)
            detail = f"the answer could not be written; the log of the server has it under {mark!r}"
            await _problem(Problem(500, TITLES[500], detail), mark)(scope, receive, send)
            return
        await send(self._head(choice, len(data)))
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else data})
        if self.background is not None:
            await self.background()


def _said(form: str, docs: DocumentArray[Any] | Document) -> bytes:
    if isinstance(docs, DocumentArray):
        return bodies.written(form, docs._slots.table())
    data = bodies.written(form, DocumentArray([docs])._slots.table())
    return data[1:-1] if form == "json" else data


class StreamingDocuments(_Answer):
    """Documents as an answer that is sent while they are made, in memory of some hundred of them.

    Args:
        source: an iterable, or an async one, of documents, of arrays, or of both; a DocumentArray is one too.
        status_code, headers, background: as of other answers of Starlette.
        media_type: NDJSON, the native format, JSON or protobuf; None asks the header Accept, and gives NDJSON where the
            client takes anything.

    An iterable is gone through in threads, one step at a time, and closed in the end. Documents that come slowly are
    sent one by one, those that come fast in parts of up to 256.

    What goes wrong before the first document is an error like any other. What goes wrong later is logged, and cuts the
    connection: the client sees a transfer that was not completed (in the native format and in JSON the end is missing
    too). When the client goes, the source is closed: an async one where it waits, another after the step it is in.

    Raises:
        FieldTypeError: `source` cannot be gone through, or there is no such media type.
    """

    forms = ("ndjson", "binary", "json")
    known = ("ndjson", "binary", "json", "protobuf-array")

    def __init__(
        self,
        source: Iterable[Any] | AsyncIterable[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        if not isinstance(cast("object", source), (Iterable, AsyncIterable)) or isinstance(
            source, (str, bytes)
        ):
            raise FieldTypeError(f"a stream is of an iterable of documents; got a {type(source).__name__}")
        self._source = source
        super().__init__(status_code, headers, media_type, background)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            choice = self._chosen(scope)
        except NotAcceptable as error:
            await _problem(problem_of(error), _request_id(scope))(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            await send(self._head(choice))
            await send({"type": "http.response.body", "body": b""})
            return
        source = self._source
        parts = (
            _awaited(choice.form, source)
            if isinstance(source, AsyncIterable)
            else _pulled(choice.form, source)
        )
        gone = asyncio.ensure_future(_until_gone(receive))
        begun = False
        try:
            while True:
                part = await _unless(gone, _next(parts))
                if not begun:
                    await send(self._head(choice))
                    begun = True
                if part is None:
                    break
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except Gone:
            return
        except Exception as error:
            if begun:
                LOG.error("request %s ended in the middle of its answer", _request_id(scope), exc_info=error)
            raise
        finally:
            gone.cancel()
            await parts.aclose()
        if self.background is not None:
            await self.background()


async def _until_gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _next(parts: AsyncGenerator[bytes]) -> bytes | None:
    return await anext(parts, None)


async def _unless(gone: asyncio.Future[None], work: Any) -> Any:
    """What a coroutine gives; it is cancelled when the client goes.

    Raises:
        Gone: the client went.
    """
    task: asyncio.Task[Any] = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    if not gone.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    raise Gone


def _table(item: Any) -> Table:
    if isinstance(item, DocumentArray):
        return cast("DocumentArray[Any]", item)._slots.table()
    raise FieldTypeError(f"a stream is of Documents and DocumentArrays; got a {type(item).__name__}")


class _Groups:
    """Documents that belong in one part: one at first, more where they come fast."""

    def __init__(self) -> None:
        self._held: list[Document] = []
        self._size = 1
        self._since = time.monotonic()

    def add(self, item: Any) -> Generator[Table]:
        """The tables that are to be sent, now that one more is there."""
        if time.monotonic() - self._since > _SLOW:
            self._size = 1
        if isinstance(item, Document):
            self._held.append(item)
            if len(self._held) >= self._size:
                self._size = min(2 * self._size, _MOST)
                yield from self.rest()
        else:
            yield from self.rest()
            table = _table(item)
            if len(table):
                yield table
        self._since = time.monotonic()

    def rest(self) -> Generator[Table]:
        """What is held."""
        if self._held:
            docs, self._held = self._held, []
            yield DocumentArray(docs)._slots.table()


def _tables(source: Iterable[Any]) -> Generator[Table]:
    if isinstance(source, DocumentArray):
        for start in range(0, len(source), _MOST):
            yield source[start : start + _MOST]._slots.table()
        return
    groups = _Groups()
    items = iter(source)
    try:
        for item in items:
            yield from groups.add(item)
        yield from groups.rest()
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


class _Puller:
    """Parts of an iterable, each made in a thread. Who stops it does not wait for the step that is under way."""

    def __init__(self, form: str, source: Iterable[Any]) -> None:
        self._tables = _tables(source)
        self._parts = bodies.pieces(form, self._tables)
        self._turn = threading.Lock()
        self._stopped = False

    def pull(self) -> bytes | None:
        """The next part; None after the last."""
        with self._turn:
            part = None if self._stopped else next(self._parts, None)
        if self._stopped:  # while this was under way
            self.stop()
        return part

    def stop(self) -> None:
        """Closes the source, now or after the step that is under way."""
        self._stopped = True
        if self._turn.acquire(blocking=False):
            try:
                cast("Generator[bytes]", self._parts).close()
                self._tables.close()
            finally:
                self._turn.release()


async def _pulled(form: str, source: Iterable[Any]) -> AsyncGenerator[bytes]:
    puller = _Puller(form, source)
    try:
        while (part := await run_in_threadpool(puller.pull)) is not None:
            yield part
    finally:
        await run_in_threadpool(puller.stop)


class _Handed:
    """An iterator of what is handed to it, for a generator that is asked after each."""

    def __init__(self) -> None:
        self.table: Table | None = None

    def __iter__(self) -> _Handed:
        return self

    def __next__(self) -> Table:
        table, self.table = self.table, None
        if table is None:
            raise StopIteration
        return table


async def _awaited(form: str, source: AsyncIterable[Any]) -> AsyncGenerator[bytes]:
    handed, groups = _Handed(), _Groups()
    parts = bodies.pieces(form, handed)
    items = aiter(source)
    try:
        async for item in items:
            for table in groups.add(item):
                handed.table = table
                yield await run_in_threadpool(next, parts)
        for table in groups.rest():
            handed.table = table
            yield await run_in_threadpool(next, parts)
        for part in parts:
            yield part
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
