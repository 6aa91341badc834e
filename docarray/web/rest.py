"""REST over one array: /documents, /search, /info, and the OpenAPI document that says what they take and give.

Rule 1: a route is one object that answers every method of its path, errors included, so that it does the same in an
        application of its own and in another's.
Rule 2: a search and the writing of its answer are one piece of work, done off the event loop where it takes long.
Rule 3: what is taken is checked here and in `Service`; openapi.py says the same, and a test holds the two against each
        other.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qsl, quote, urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from docarray.array import DocumentArray
from docarray.errors import FieldTypeError, near_miss
from docarray.schema import FIELDS
from docarray.table import DocsColumn, Table
from docarray.web.bodies import (
    FORMS,
    MEDIA,
    Gone,
    Malformed,
    body,
    checked,
    documents_of,
    header,
    made,
    negotiated,
    parsed,
    read,
    refuse_unsayable,
    typed,
    written,
)
from docarray.web.lane import Lane
from docarray.web.limits import Limits, shown
from docarray.web.openapi import HEAVY, TagsCheck, openapi
from docarray.web.problems import LOG, MEDIA_TYPE, TITLES, Problem, problem_of
from docarray.web.service import Page, Service, Written

__all__ = ["HEAVY", "openapi", "rest_app", "routes"]

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_LIGHT: Final = [name for name in FIELDS if name not in HEAVY]
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_MANY: Final = 100  # documents whose answer takes its time
_SHORT: Final = 1 << 15  # bytes that are parsed where one is
_PARAMETERS: Final = 64
_QUERY: Final = frozenset(
    {"text", "like", "vector", "filter", "limit", "metric", "fields", "embedding", "index"}
)
_LIST: Final = frozenset({"filter", "sort", "after", "first", "fields"})
_ONE: Final = frozenset({"fields"})
_TAKEN: Final[Mapping[str, str]] = {MEDIA[form]: form for form in FORMS}


class _Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    media: bytes | None = b"application/json"
    headers: Sequence[tuple[bytes, bytes]] = ()


class _Stream(NamedTuple):
    """What is sent back part by part."""

    parts: AsyncGenerator[bytes]
    media: bytes


Handler = Callable[[Any, Receive], Awaitable["_Answer | _Stream"]]


# ---------------------------------------------------------------------------------------------- applications


def rest_app(docs: Service | DocumentArray[Any], **options: Any) -> Starlette:
    """An ASGI application that serves one array by REST; `/openapi.json` describes it.

    Args:
        docs: an array, or a Service of one.
        options: of the `Service` that is made of an array: `limits`, `writable`, `schema`, `encode`, `name`.

    It runs by itself (`uvicorn module:app`), or in another: `fastapi_app.mount('/shelf', rest_app(da))`. Errors are
    problems of RFC 9457. Documents are answered without the fields of `HEAVY` unless `fields` asks for them.

    Raises:
        FieldTypeError: `docs` is no array, or options came with a Service.

    >>> from docarray import Document, DocumentArray
    >>> from starlette.testclient import TestClient
    >>> with TestClient(rest_app(DocumentArray([Document(id='a', text='green tea')]))) as client:
    ...     response = client.get('/search', params={'text': 'tea'})
    >>> DocumentArray.from_json(response.content)[0].text
    'green tea'
    """
    if isinstance(docs, Service):
        if options:
            raise FieldTypeError(f"{', '.join(options)}: options of a Service are given where it is made")
        service, own = docs, False
    else:
        service, own = Service(docs, **options), True

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[None]:
        del app
        try:
            yield
        finally:
            if own:
                service.close()

    # Routes answer their own errors: what comes to these is a path that there is not.
    app = Starlette(
        routes=routes(service), lifespan=lifespan, exception_handlers=cast("Any", {HTTPException: _no_route})
    )
    app.router.redirect_slashes = False
    return app


def routes(service: Service, *, secured: bool = False) -> list[BaseRoute]:
    """The routes of `rest_app`, for an application of one's own: `app.router.routes.extend(routes(service))`.

    Args:
        service: over which they answer.
        secured: whether the OpenAPI document says that a key is wanted. To ask for it is the application's.
    """
    rest = _Rest(service, secured)
    one: dict[str, Handler] = {"GET": rest.document}
    table: dict[str, dict[str, Handler]] = {
        "/search": {"GET": rest.search, "POST": rest.search_by_body},
        "/documents": {"GET": rest.documents},
        "/documents/count": {"GET": rest.count},
        "/documents/{id:path}": one,
        "/info": {"GET": rest.info},
        "/openapi.json": {"GET": rest.openapi},
    }
    if service.writable:
        table["/documents"]["POST"] = rest.index
        one.update(PUT=rest.put, PATCH=rest.patch, DELETE=rest.delete)
        table = {"/documents/delete": {"POST": rest.delete_many}, **table}
    made: list[BaseRoute] = []
    kinds = {
        "/documents/count": _LiteralRoute,
        "/documents/delete": _LiteralRoute,
        "/documents/{id:path}": _IdRoute,
    }
    for path, handlers in table.items():
        route = kinds.get(path, Route)
        made.append(route(path, _Endpoint(handlers), name=path.strip("/").replace("/{id:path}", "/one")))
    return made


class _LiteralRoute(Route):
    """A path that is meant as it is written: with a letter percent-encoded it is the id of a document.

    So it is with a method that the path does not take: `PATCH /documents/delete` is of the document 'delete'.
    """

    def matches(self, scope: Any) -> Any:
        match, child = super().matches(scope)
        raw = scope.get("raw_path")
        as_written = raw is None or raw.partition(b"?")[0].endswith(self.path.encode())
        if not as_written or not cast("_Endpoint", self.app).takes(scope["method"]):
            return type(match).NONE, {}
        return match, child


class _IdRoute(Route):
    """A path whose last part is anything at all, line breaks too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)


class _Endpoint:
    """An ASGI application of one path: a method's handler is called, and its answer, or its error's, is sent."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]
        self._allowed = ", ".join(sorted(self._handlers))

    def takes(self, method: str) -> bool:
        """Whether there is a handler of this method."""
        return method in self._handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["method"])
        try:
            if handler is None:
                what = f"this path takes {self._allowed}"
                raise HTTPException(405, what, {"Allow": self._allowed})
            answer = await handler(scope, receive)
            if isinstance(answer, _Stream):
                await _send_stream(answer, scope, receive, send)
                return
        except Gone:
            return
        except Exception as error:
            answer = _problem(error, scope)
        await _send(answer, scope, send)


async def _send(answer: _Answer, scope: Scope, send: Send) -> None:
    headers = list(answer.headers)
    if answer.media is not None:
        headers.append((b"content-type", answer.media))
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


async def _send_stream(answer: _Stream, scope: Scope, receive: Receive, send: Send) -> None:
    """Parts as they come; none is made any more when the client has gone.

    An error in the middle is logged, and ends the connection before the end of the body, which a client notices.
    """
    headers = [(b"content-type", answer.media), (b"vary", b"accept")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        if scope["method"] != "HEAD":
            async for part in answer.parts:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except Exception as error:
        LOG.error("request %s ended in the middle of its answer", _request_id(scope), exc_info=error)
        raise
    finally:
        gone.cancel()
        await answer.parts.aclose()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _request_id(scope: Scope) -> str:
    """The id that a guard before us gave the request, or a new one."""
    known = cast("dict[str, Any]", scope.get("state") or {}).get("request_id")
    return known if isinstance(known, str) else uuid.uuid4().hex


def _problem(error: BaseException, scope: Scope) -> _Answer:
    request_id = _request_id(scope)
    if isinstance(error, HTTPException):
        found = Problem(
            error.status_code, TITLES.get(error.status_code, "Error"), str(error.detail), error.headers or {}
        )
    else:
        found = problem_of(error, request_id)
    data = json.dumps(found.body(request_id)).encode()
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in found.headers.items()
    ]
    return _Answer(found.status, data, MEDIA_TYPE.encode(), headers)


async def _no_route(request: Any, error: Any) -> Any:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        found: Exception = error
        if error.status_code == 404:
            found = HTTPException(404, "there is nothing at this path; /openapi.json names what there is")
        await _send(_problem(found, scope), scope, send)

    del request
    return answer


# ---------------------------------------------------------------------------------------------- what is asked


def _asked(scope: Scope, known: frozenset[str], repeated: str = "") -> dict[str, Any]:
    """The parameters of the query, each once, but for one that may be repeated, which is a list."""
    raw: bytes = scope["query_string"]
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=_PARAMETERS)
    except ValueError:
        raise Malformed(f"a query has at most {_PARAMETERS} parameters") from None
    asked: dict[str, Any] = {}
    for name, value in pairs:
        if name not in known:
            raise Malformed(f"there is no parameter {name!r:.60}. {near_miss(name[:60], sorted(known))}")
        if name == repeated:
            asked.setdefault(name, []).append(value)
        elif name in asked:
            raise Malformed(f"parameter {name!r} is given once")
        else:
            asked[name] = value
    for name in ("first", "limit"):
        if name in asked:
            asked[name] = _whole(asked[name], name)
    for name in ("filter", "vector"):
        if name in asked:
            asked[name] = parsed(asked[name].encode("utf-8", "surrogatepass"), f"parameter {name!r}")
            if asked[name] is None:
                raise Malformed(f"parameter {name!r} is null; leave it out")
    if "fields" in asked:
        asked["fields"] = asked["fields"].split(",")
    return asked


def _whole(text: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise FieldTypeError(f"parameter {name!r} is a whole number; got {shown(text)}")
    return int(text)


def _fields(names: Any) -> list[str] | None:
    """The fields of an answer: `*` is all, and none said is all but those of HEAVY."""
    if names is None:
        return _LIGHT
    listed: list[Any] = cast("list[Any]", names) if isinstance(names, list) else [None]
    if not all(isinstance(name, str) for name in listed):
        raise FieldTypeError(f"fields is a list of names of fields; got {shown(cast('object', names))}")
    if listed == ["*"]:
        return None
    if len(listed) > len(FIELDS):
        raise FieldTypeError(f"there are {len(FIELDS)} fields; {len(listed)} were named")
    return listed


async def _object(scope: Scope, receive: Receive, limits: Limits, lane: Lane, *taken: str) -> dict[str, Any]:
    """The body, which is a JSON object."""
    typed(scope, taken or ("application/json",))
    data = await body(scope, receive, limits, lane)
    value = parsed(data, "the body") if len(data) <= _SHORT else await lane.run(parsed, data, "the body")
    if not isinstance(value, dict):
        raise FieldTypeError(f"the body is a JSON object; got {shown(value)}")
    return cast("dict[str, Any]", value)


def _wanted(scope: Scope) -> tuple[str, bytes]:
    """The format that the client takes best, and the media type by which it named it."""
    form, media = negotiated(header(scope, b"accept"))
    return form, media.encode()


# ---------------------------------------------------------------------------------------------- what is answered


def _light(table: Table, fields: Sequence[str] | None) -> Table:
    """The table, its nested documents without what is heavy and was not asked for."""
    if fields is None:
        return table
    dropped = [name for name in HEAVY if name not in fields]
    return _without(table, dropped) if dropped else table


def _without(table: Table, dropped: Sequence[str]) -> Table:
    changed: dict[str, Any] = {}
    for name in ("chunks", "matches"):
        column = table.columns.get(name)
        if isinstance(column, DocsColumn):
            child = column.child
            kept = child.select([field for field in child.columns if field not in dropped])
            changed[name] = DocsColumn(column.offsets, _without(kept, dropped))
    return table.with_columns(changed) if changed else table


def _object_answer(value: Any, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> _Answer:
    data = json.dumps(value).encode()  # in ASCII: ids can have lone surrogates, which no UTF-8 says
    return _Answer(status, data, b"application/json", headers)


_VARY: Final = (b"vary", b"accept")


class _Rest:
    """The handlers over one service."""

    def __init__(self, service: Service, secured: bool) -> None:
        self._service = service
        self._limits = service.limits
        self._secured = secured
        self._tags = None if service.schema is None else TagsCheck(service.schema)
        self._descriptions: dict[str, bytes] = {}

    # ------------------------------------------------------------------------------------------ searching

    async def search(self, scope: Scope, receive: Receive) -> _Answer:
        """GET /search"""
        del receive
        return await self._searched(scope, _asked(scope, _QUERY))

    async def search_by_body(self, scope: Scope, receive: Receive) -> _Answer:
        """POST /search"""
        _asked(scope, frozenset())
        asked = await _object(scope, receive, self._limits, self._service.lane)
        for name, value in asked.items():
            if name not in _QUERY:
                raise Malformed(f"there is no member {name!r:.60}. {near_miss(name[:60], sorted(_QUERY))}")
            if name in ("metric", "index", "embedding") and value is not None and not isinstance(value, str):
                raise FieldTypeError(f"{name} is text; got {shown(value)}")
        limit = asked.get("limit")
        if isinstance(limit, float) and limit.is_integer():  # to JSON Schema 5.0 is a whole number
            asked["limit"] = int(limit)
        return await self._searched(scope, asked)

    async def _searched(self, scope: Scope, asked: dict[str, Any]) -> _Answer:
        form, media = _wanted(scope)
        limit = asked.get("limit")
        named = asked.pop("fields", None)
        asked = {name: value for name, value in asked.items() if value is not None}
        data = await self._service.call(
            self._search,
            form=form,
            fields=_fields(named),
            wide=None if named is None else True,
            many=True if isinstance(limit, int) and limit > _MANY else None,
            **asked,
        )
        return _Answer(200, data, media, [_VARY])

    def _search(self, form: str, fields: list[str] | None, wide: Any, many: Any, **asked: Any) -> bytes:
        del wide, many  # kinds of work, to the clock of `Service.call`
        return written(form, _light(self._service.search(fields=fields, **asked), fields))

    # ------------------------------------------------------------------------------------------ reading

    async def documents(self, scope: Scope, receive: Receive) -> _Answer | _Stream:
        """GET /documents"""
        del receive
        asked = _asked(scope, _LIST, "sort")
        form, media = _wanted(scope)
        named = asked.pop("fields", None)
        fields = _fields(named)
        if form == "ndjson" and "first" not in asked and "after" not in asked:
            # What is wrong is found before the first part, while the status can still say so.
            tables = await self._service.lane.run(self._service.scan, fields=fields, **asked)
            return _Stream(self._parts(tables, fields), media)
        first = asked.get("first")
        many = True if first is not None and first > _MANY else None
        page, data = await self._service.call(
            self._page, form=form, fields=fields, wide=None if named is None else True, many=many, **asked
        )
        headers = [_VARY, (b"x-total-count", b"%d" % page.total)]
        if page.has_next and page.cursors:
            query = {**asked, "after": page.cursors[-1]}
            if named is not None:
                query["fields"] = ",".join(named)
            if "filter" in query:
                query["filter"] = json.dumps(query["filter"])
            where = quote(scope["path"].encode("utf-8", "surrogatepass"), safe="/")
            headers.append((b"link", f'<{where}?{urlencode(query, doseq=True)}>; rel="next"'.encode()))
        return _Answer(200, data, media, headers)

    def _page(
        self, form: str, fields: list[str] | None, wide: Any, many: Any, **asked: Any
    ) -> tuple[Page, bytes]:
        del wide, many
        page = self._service.documents(fields=fields, **asked)
        return page, written(form, _light(page.table, fields))

    async def _parts(self, tables: Any, fields: list[str] | None) -> AsyncGenerator[bytes]:
        def part() -> bytes | None:
            table = next(tables, None)
            return None if table is None else written("ndjson", _light(table, fields))

        while (data := await self._service.lane.run(part)) is not None:
            yield data

    async def count(self, scope: Scope, receive: Receive) -> _Answer:
        """GET /documents/count"""
        del receive
        asked = _asked(scope, frozenset({"filter"}))
        return _object_answer({"count": await self._service.call("count", **asked)})

    async def info(self, scope: Scope, receive: Receive) -> _Answer:
        """GET /info"""
        del receive
        _asked(scope, frozenset())
        return _object_answer(await self._service.call("info"))

    async def document(self, scope: Scope, receive: Receive) -> _Answer:
        """GET /documents/{id}"""
        del receive
        asked = _asked(scope, _ONE)
        return await self._one(scope, _id(scope), _fields(asked.get("fields")))

    async def _one(self, scope: Scope, key: str, fields: list[str] | None, status: int = 200) -> _Answer:
        form, media = _wanted(scope)
        wide = None if fields is _LIGHT else True
        data = await self._service.call(self._document, form=form, id=key, fields=fields, wide=wide)
        return _Answer(status, data, media, [_VARY])

    def _document(self, form: str, id: str, fields: list[str] | None, wide: Any) -> bytes:
        del wide
        table = _light(self._service.document(id, fields), fields)
        # One document is one object: the list's brackets are not of it.
        return written(form, table)[1:-1] if form == "json" else written(form, table)

    async def openapi(self, scope: Scope, receive: Receive) -> _Answer:
        """GET /openapi.json"""
        del receive
        root = scope.get("root_path", "")
        if root not in self._descriptions:
            if len(self._descriptions) > 16:  # where clients can choose it
                self._descriptions.clear()
            described = openapi(self._service, secured=self._secured, root_path=quote(root, safe="/"))
            self._descriptions[root] = json.dumps(described).encode()
        return _Answer(200, self._descriptions[root])

    # ------------------------------------------------------------------------------------------ writing

    async def index(self, scope: Scope, receive: Receive) -> _Answer:
        """POST /documents"""
        asked = _asked(scope, frozenset({"replace"}))
        replace = {"true": True, "false": False}.get(asked.get("replace", "true"))
        if replace is None:
            raise FieldTypeError("parameter 'replace' is true or false")
        match = header(scope, b"if-none-match")
        if match is not None:
            if match.strip() != "*":
                raise Malformed("If-None-Match takes * here: documents have no entity tags")
            replace = False
        form = _TAKEN[typed(scope, _TAKEN)]
        data = await body(scope, receive, self._limits, self._service.lane)
        done: Written = await self._service.lane.run(self._index, form, data, replace)
        headers = list[tuple[bytes, bytes]]()
        if len(done.created) == 1 and not done.replaced:
            where = quote(scope["path"].encode("utf-8", "surrogatepass"), safe="/").rstrip("/")
            headers.append((b"location", f"{where}/{quote_id(done.created[0])}".encode()))
        status = 201 if done.created else 200
        return _object_answer({"created": done.created, "replaced": done.replaced}, status, headers)

    def _index(self, form: str, data: bytes, replace: bool) -> Written:
        table = read(form, data, self._limits)
        self._check_tags(table)
        return self._service.index(table, replace, untyped=form != "binary")

    def _check_tags(self, table: Table) -> None:
        column = table.columns.get("tags")
        if self._tags is not None and column is not None:
            for key, tags in zip(table.ids, column.values(), strict=True):
                if tags is not None:
                    self._tags.whole(key, tags)

    async def put(self, scope: Scope, receive: Receive) -> _Answer:
        """PUT /documents/{id}"""
        _asked(scope, frozenset())
        key = self._limits.identity(_id(scope))
        form = _TAKEN[typed(scope, ("application/json", "application/vnd.docarray"))]
        data = await body(scope, receive, self._limits, self._service.lane)
        done: Written = await self._service.lane.run(self._put, key, form, data)
        return _object_answer(
            {"created": done.created, "replaced": done.replaced}, 201 if done.created else 200
        )

    def _put(self, key: str, form: str, data: bytes) -> Written:
        if form == "binary":
            table = read(form, data, self._limits)
            if len(table) != 1:
                raise FieldTypeError(f"the body is one document; got {len(table)}")
            _agree(table.ids[0], key)
        else:
            value = parsed(data, "the body")
            if not isinstance(value, dict):
                raise FieldTypeError(f"the body is a document, a JSON object; got {shown(value)}")
            doc = cast("dict[str, Any]", value)
            if doc.get("id") is not None:
                _agree(doc["id"], key)
            table = documents_of([{**doc, "id": key}], self._limits)
        self._check_tags(table)
        return self._service.index(table, untyped=form != "binary")

    async def patch(self, scope: Scope, receive: Receive) -> _Answer:
        """PATCH /documents/{id}"""
        _asked(scope, frozenset())
        _wanted(scope)  # what cannot be answered is not done
        key = self._limits.identity(_id(scope))
        taken = ("application/merge-patch+json", "application/json")
        change = await _object(scope, receive, self._limits, self._service.lane, *taken)
        if change.get("id") is not None:
            _agree(change["id"], key)
        await self._service.lane.run(self._patch, {**change, "id": key})
        return await self._one(scope, key, _LIGHT)

    def _patch(self, change: dict[str, Any]) -> None:
        # What is said of tags is no tags yet: null takes away.
        documents_of([{name: value for name, value in change.items() if name != "tags"}], self._limits)
        refuse_unsayable({"id": change["id"], "tags": change.get("tags")})
        if self._tags is not None and "tags" in change:
            self._tags.change(change["id"], change["tags"])
        made(self._service.update, [checked(change)])

    async def delete(self, scope: Scope, receive: Receive) -> _Answer:
        """DELETE /documents/{id}"""
        del receive
        _asked(scope, frozenset())
        await self._service.lane.run(self._service.delete, [_id(scope)])
        return _Answer(204, b"", None)

    async def delete_many(self, scope: Scope, receive: Receive) -> _Answer:
        """POST /documents/delete"""
        _asked(scope, frozenset())
        asked = await _object(scope, receive, self._limits, self._service.lane)
        ids = asked.get("ids")
        if asked.keys() != {"ids"} or not isinstance(ids, list):
            raise FieldTypeError(
                'the body is an object with a list of ids, {"ids": ["a", "b"]}, and nothing else'
            )
        return _object_answer(
            {"deleted": await self._service.lane.run(self._service.delete, cast("list[Any]", ids))}
        )


def quote_id(key: str) -> str:
    """An id as a part of a path; `count` and `delete`, which are paths of their own, with their first letter encoded.

    >>> quote_id('a/b'), quote_id('count')
    ('a%2Fb', '%63ount')
    """
    if key in ("count", "delete", ".", ".."):
        return f"%{ord(key[0]):02X}{key[1:]}"
    return quote(key.encode("utf-8", "surrogatepass"), safe="")


def _id(scope: Scope) -> str:
    return scope["path_params"]["id"]


def _agree(said: Any, key: str) -> None:
    if (str(said) if type(said) is int else said) != key:
        raise FieldTypeError(f"the path names document {key!r:.60}, and the body {shown(said)}")
