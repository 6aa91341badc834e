"""The OpenAPI document of the REST routes: what each takes, gives and answers when something is wrong."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from pydantic import TypeAdapter

from docarray.document import Document
from docarray.errors import FieldTypeError
from docarray.format import LIBRARY
from docarray.schema import FIELDS
from docarray.web.limits import shown
from docarray.web.models import document_schema
from docarray.web.problems import MEDIA_TYPE, TITLES
from docarray.web.service import METRICS, Service

__all__ = ["HEAVY", "TagsCheck", "openapi"]

HEAVY: Final = ("embedding", "tensor", "blob", "_metadata")
"""Fields that an answer does not hold unless they are asked for, also not in nested documents. `_metadata` is among
them because it holds the named embeddings."""

_REF: Final = "#/components/schemas/{model}"
_DOCUMENT: Final = {"$ref": "#/components/schemas/Document"}
_FILTER: Final = {"tags__price": {"$lt": 5}}

_WRONG: Final = {
    400: "No JSON, a damaged body, or a parameter that there is not.",
    401: "No key, or a wrong one.",
    403: "The key does not allow this.",
    404: "There is no such document.",
    406: "No media type that documents are given as is accepted.",
    409: "A document of that id is there already, stands twice in what was sent, or was changed by others meanwhile.",
    413: "The body has, or unpacks to, more bytes than are taken.",
    415: "The body is of a media type that is not taken, or does not say which, or is packed by what is not known.",
    422: "A value that cannot be: the detail says which. Nothing was changed.",
    503: "Too much is asked at once, or the storage cannot be reached: come back after `Retry-After` seconds.",
    504: "There was no answer in time.",
}


def openapi(service: Service, *, secured: bool = False, root_path: str = "") -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes over a service.

    Args:
        service: its limits stand in it; without `writable` it has no writing routes; with a `schema` tags are typed.
        secured: whether a key is wanted: in the header `Authorization: Bearer KEY`, or `X-API-Key: KEY`.
        root_path: where the routes are mounted.

    >>> from docarray import DocumentArray
    >>> sorted(openapi(Service(DocumentArray()))['paths'])
    ['/documents', '/documents/count', '/documents/{id}', '/info', '/search']
    """
    return _Description(service, secured).document(root_path)


def _schemas(service: Service) -> dict[str, Any]:
    """The components that come of the models: Document, and what it is made of."""
    if service.schema is None:
        return TypeAdapter(Document).json_schema(ref_template=_REF)["$defs"]
    made = document_schema(service.schema, _REF)
    described = made.pop("$defs")
    # A page of the class; what is below it are plain documents, so the two have two names.
    return {**described, "Page": made}


class _Description:
    """One OpenAPI document, part by part."""

    def __init__(self, service: Service, secured: bool) -> None:
        self._service = service
        self._limits = service.limits
        self._secured = secured
        self._schemas = _schemas(service)
        self._one = {"$ref": "#/components/schemas/Page"} if service.schema else _DOCUMENT
        self._example = {"id": "tea-1", "text": "green tea", **self._tags({"price": 3})}

    def document(self, root_path: str) -> dict[str, Any]:
        """All of it."""
        paths: dict[str, Any] = {
            "/search": {"get": self._search_get(), "post": self._search_post()},
            "/documents": {"get": self._list()},
            "/documents/count": {"get": self._count()},
            "/documents/{id}": {"parameters": [self._id()], "get": self._get(), "head": self._head()},
            "/info": {"get": self._info()},
        }
        if self._service.writable:
            paths["/documents"]["post"] = self._index()
            paths["/documents/delete"] = {"post": self._delete_many()}
            paths["/documents/{id}"].update(put=self._put(), patch=self._patch(), delete=self._delete())
        components: dict[str, Any] = {
            "schemas": {**self._schemas, **self._own_schemas()},
            "responses": {str(status): self._problem(status) for status in _WRONG},
        }
        out: dict[str, Any] = {
            "openapi": "3.1.0",
            "info": {
                "title": self._service.name,
                "version": LIBRARY.partition(" ")[2],
                "description": (
                    "Documents that are listed, read and searched"
                    f"{', written and deleted' if self._service.writable else ''}. "
                    f"Answers leave out {', '.join(f'`{name}`' for name in HEAVY)}, at every level, unless `fields` "
                    "asks for them. An id may have any letters; a slash in it may be written as it is or as `%2F`. "
                    "A document that is called `count` or `delete` is asked for as `/documents/%63ount`, "
                    "`/documents/%64elete`. Bodies may be packed with gzip."
                ),
            },
            "tags": [
                {"name": "search", "description": "Documents by meaning, words and conditions."},
                {"name": "documents", "description": "Documents by id, and page by page."},
                {"name": "service", "description": "What is served."},
            ],
            "paths": paths,
            "components": components,
        }
        if root_path:
            out["servers"] = [{"url": root_path}]
        if self._secured:
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            out["security"] = [{"bearer": []}, {"key": []}]
        return out

    def _tags(self, tags: dict[str, Any]) -> dict[str, Any]:
        """Tags of an example; none where they have types of their own."""
        return {} if self._service.schema else {"tags": tags}

    # ------------------------------------------------------------------------------------------ components

    def _own_schemas(self) -> dict[str, Any]:
        limits = self._limits
        schemas: dict[str, Any] = {
            "Filter": {
                "title": "Filter",
                "type": "object",
                "description": (
                    "Conditions in the manner of MongoDB on paths such as `text`, `tags__price` or "
                    "`tags__maker__name`, of which all hold. Operators: `$eq $ne $gt $gte $lt $lte $in $nin $exists "
                    f"$contains $startswith $endswith{' $regex' if limits.regex else ''} $and $or $not`. "
                    f"At most {limits.filter_terms} parts and {limits.filter_depth} levels."
                ),
                "examples": [_FILTER],
            },
            "Vector": {
                "title": "Vector",
                "type": "array",
                "items": {"type": "number"},
                "minItems": 1,
                "maxItems": limits.vector,
                "description": "As many finite numbers as the embeddings have.",
                "examples": [[0.1, 0.9]],
            },
            "Search": {
                "title": "Search",
                "type": "object",
                "description": "What is looked for: by a vector, by a text, or by what is like a document.",
                "properties": {name: _nullable(said) for name, (said, _) in self._search_members().items()},
                "additionalProperties": False,
                "examples": [{"text": "green tea", "filter": _FILTER, "limit": 5}],
            },
            "Problem": {
                **_object(
                    "What was wrong (RFC 9457).",
                    type={"type": "string", "examples": ["about:blank"]},
                    title={"type": "string", "examples": [TITLES[404]]},
                    status={"type": "integer", "examples": [404]},
                    detail={"type": "string", "examples": ["there is no document 'x'"]},
                    instance={"type": "string", "description": "The id of the request."},
                ),
                "required": ["type", "title", "status", "detail"],
            },
            "Count": _object("How many documents there are.", count={"type": "integer", "minimum": 0}),
            "Info": {
                **_object(
                    "What is served.",
                    name={"type": "string"},
                    documents={"type": "integer", "minimum": 0, "description": "How many there are."},
                    storage={"type": "string", "examples": ["memory", "sqlite"]},
                    writable={"type": "boolean"},
                    search={
                        "type": "array",
                        "items": {"type": "string"},
                        "examples": [["vector", "like", "words"]],
                    },
                    fields={
                        "type": "array",
                        "items": {"type": "object"},
                        "description": "What the fields of the first thousand documents hold.",
                    },
                ),
                "additionalProperties": True,
            },
        }
        if self._service.writable:
            schemas["Written"] = _object(
                "What became of the documents that were sent.",
                created=_list_of_ids("Ids that are new."),
                replaced=_list_of_ids("Ids that were there."),
            )
            schemas["Deleted"] = _object("What was deleted.", deleted=_list_of_ids("Ids, each once."))
            ids = {**_list_of_ids("Each is there."), "maxItems": limits.documents}
            schemas["Ids"] = {
                **_object("Documents by their ids.", ids=ids),
                "examples": [{"ids": ["tea-1"]}],
            }
            properties = {**self._schemas["Document"]["properties"]}
            if self._service.schema is not None:
                properties["tags"] = _patched(self._schemas["Page"]["properties"]["tags"])
            schemas["Change"] = {
                "title": "Change",
                "type": "object",
                "description": (
                    "A merge patch (RFC 7396): fields to set; null unsets one. `tags` are merged key by key. "
                    "`id` may be left out, or is that of the path."
                ),
                "properties": properties,
                "additionalProperties": False,
                "examples": [{"text": "green tea, fresh", **self._tags({"price": 4, "old_price": None})}],
            }
        return schemas

    def _problem(self, status: int) -> dict[str, Any]:
        headers: dict[str, Any] = {}
        if status == 503:
            headers["Retry-After"] = {
                "description": "Seconds.", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"},
            }  # fmt: skip
        said: dict[str, Any] = {
            "description": _WRONG[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if headers:
            said["headers"] = headers
        return said

    def _search_members(self) -> dict[str, tuple[dict[str, Any], str]]:
        """Of each member of a search its schema, and what it says."""
        limits = self._limits
        return {
            "text": (
                {"type": "string", "maxLength": limits.text, "examples": ["green tea"]},
                "Words to look for; with a vector or `like` beside it the two rankings are made one.",
            ),
            "like": (
                {"type": "string", "maxLength": limits.longest_id, "examples": ["tea-1"]},
                "The id of a document: the nearest to its embedding, without itself.",
            ),
            "vector": (
                {"$ref": "#/components/schemas/Vector"},
                "The nearest to it. Not together with `like`.",
            ),
            "filter": ({"$ref": "#/components/schemas/Filter"}, "Only documents that it keeps."),
            "limit": (
                {"type": "integer", "minimum": 0, "maximum": limits.page, "default": limits.first(None)},
                "How many documents at most.",
            ),
            "metric": ({"type": "string", "enum": [*METRICS], "default": "cosine"}, "Of vectors."),
            "fields": (_fields(), _FIELDS_SAID),
            "embedding": (
                {"type": "string", "maxLength": limits.longest_id},
                "The name of the embeddings that are searched, where documents have several.",
            ),
            "index": ({"type": "string", "default": "text"}, "The field whose words are searched."),
        }

    # ------------------------------------------------------------------------------------------ parts

    def _id(self) -> dict[str, Any]:
        return {
            "name": "id",
            "in": "path",
            "required": True,
            "description": "The id of a document.",
            "schema": {"type": "string", "maxLength": self._limits.longest_id},
            "example": "tea-1",
        }

    def _query(self, name: str, schema: Any, said: str, **more: Any) -> dict[str, Any]:
        """A parameter of the query; what is no text or number is JSON."""
        out = {"name": name, "in": "query", "required": False, "description": said, **more}
        if "$ref" in schema:
            out["content"] = {"application/json": {"schema": schema}}
        else:
            out["schema"] = schema
        return out

    def _chosen(self) -> dict[str, Any]:
        return self._query(
            "fields", _fields(), _FIELDS_SAID, style="form", explode=False, example=["id", "text", "tags"]
        )

    def _filter(self) -> dict[str, Any]:
        return self._query("filter", {"$ref": "#/components/schemas/Filter"}, "Only documents that it keeps.")

    def _operation(
        self, name: str, summary: str, tag: str, answers: dict[str, Any], wrong: tuple[int, ...], **more: Any
    ) -> dict[str, Any]:
        statuses = {*wrong, 400, 503, 504, *((401, 403) if self._secured else ())}
        problems = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
        return {
            "operationId": name,
            "summary": summary,
            "tags": [tag],
            **more,
            "responses": {**answers, **problems},
        }

    def _documents(self, said: str, **headers: Any) -> dict[str, Any]:
        """An answer of documents, in each of the media types."""
        answer: dict[str, Any] = {
            "description": said,
            "content": {
                "application/json": {
                    "schema": {"type": "array", "items": self._one},
                    "examples": {"two": {"value": [self._example, {"id": "tea-2", "text": "black tea"}]}},
                },
                **_packed("A document a line."),
            },
        }
        if headers:
            answer["headers"] = headers
        return answer

    def _document(self, said: str) -> dict[str, Any]:
        return {
            "description": said,
            "content": {
                "application/json": {"schema": self._one, "examples": {"one": {"value": self._example}}},
                **_packed("One line."),
            },
        }

    def _written(self, placed: bool = True) -> dict[str, Any]:
        schema = {"schema": {"$ref": "#/components/schemas/Written"}}
        content = {"application/json": {**schema, "example": {"created": ["tea-1"], "replaced": []}}}
        new: dict[str, Any] = {"description": "Some are new.", "content": content}
        if placed:
            where = {
                "description": "The path of the document, where one was sent.",
                "schema": {"type": "string"},
            }
            new["headers"] = {"Location": where}
        return {"200": {"description": "All were there, and were replaced.", "content": content}, "201": new}

    # ------------------------------------------------------------------------------------------ operations

    def _search_get(self) -> dict[str, Any]:
        parameters: list[Any] = []
        for name, (schema, said) in self._search_members().items():
            parameters.append(self._chosen() if name == "fields" else self._query(name, schema, said))
        return self._operation(
            "search",
            "Search by text, vector, or what is like a document",
            "search",
            {"200": self._documents("The best first, each with `scores`.")},
            (404, 406, 422),
            parameters=parameters,
        )

    def _search_post(self) -> dict[str, Any]:
        schema = {"schema": {"$ref": "#/components/schemas/Search"}}
        examples = {
            "words": {"value": {"text": "green tea", "limit": 5}},
            "vector": {"value": {"vector": [0.1, 0.9], "filter": _FILTER, "metric": "cosine"}},
            "like": {"value": {"like": "tea-1", "fields": ["text", "tags"]}},
        }
        return self._operation(
            "searchByBody",
            "Search by text, vector, or what is like a document; for long vectors",
            "search",
            {"200": self._documents("The best first, each with `scores`.")},
            (404, 406, 413, 415, 422),
            requestBody={"required": True, "content": {"application/json": {**schema, "examples": examples}}},
        )

    def _list(self) -> dict[str, Any]:
        limits = self._limits
        first = {"type": "integer", "minimum": 0, "maximum": limits.page, "default": limits.first(None)}
        sort = {
            "type": "array",
            "items": {"type": "string", "maxLength": limits.longest_id},
            "maxItems": limits.sort_keys,
        }
        return self._operation(
            "listDocuments",
            "Documents page by page, or all in one stream",
            "documents",
            {
                "200": self._documents(
                    "One page. With `Accept: application/x-ndjson` and without `first` and `after`: all, a line each, "
                    "as they are read, without the headers below.",
                    **{
                        "X-Total-Count": {
                            "description": "Documents of all pages.",
                            "schema": {"type": "integer", "minimum": 0},
                        },
                        "Link": {
                            "description": "Where the next page is, with rel=next; on the last page there is none.",
                            "schema": {"type": "string"},
                        },
                    },
                )
            },
            (406, 422),
            parameters=[
                self._filter(),
                self._query(
                    "sort",
                    sort,
                    "Paths to sort by, most important first; a minus in front is descending.",
                    style="form",
                    explode=True,
                    example=["-tags__price", "text"],
                ),
                self._query("first", first, "How many documents at most."),
                self._query("after", {"type": "string"}, "Where to go on: from `Link` of the page before."),
                self._chosen(),
            ],
        )

    def _count(self) -> dict[str, Any]:
        content = {"schema": {"$ref": "#/components/schemas/Count"}, "example": {"count": 2}}
        return self._operation(
            "countDocuments",
            "How many documents there are",
            "documents",
            {"200": {"description": "That many.", "content": {"application/json": content}}},
            (422,),
            parameters=[self._filter()],
        )

    def _info(self) -> dict[str, Any]:
        content = {"schema": {"$ref": "#/components/schemas/Info"}}
        return self._operation(
            "getInfo",
            "What is served",
            "service",
            {"200": {"description": "Name, size, fields.", "content": {"application/json": content}}},
            (),
        )

    def _get(self) -> dict[str, Any]:
        return self._operation(
            "getDocument",
            "One document",
            "documents",
            {"200": self._document("The document.")},
            (404, 406, 422),
            parameters=[self._chosen()],
        )

    def _head(self) -> dict[str, Any]:
        head = self._operation(
            "hasDocument", "Whether there is such a document", "documents", {}, (404, 406, 422),
            parameters=[self._chosen()],
        )  # fmt: skip
        bare = {status: {"description": _WRONG[int(status)]} for status in head["responses"]}
        return {**head, "responses": {"200": {"description": "It is there."}, **bare}}

    def _index(self) -> dict[str, Any]:
        several = {"type": "array", "items": self._one, "maxItems": self._limits.documents}
        return self._operation(
            "indexDocuments",
            "Put documents in place of those of their ids, or at the end; all or none",
            "documents",
            self._written(),
            (409, 413, 415, 422),
            parameters=[
                self._query(
                    "replace",
                    {"type": "boolean", "default": True},
                    "false refuses documents that are there (409).",
                ),
                {
                    "name": "If-None-Match",
                    "in": "header",
                    "required": False,
                    "description": "`*` is the same as `replace=false`.",
                    "schema": {"type": "string", "enum": ["*"]},
                },
            ],
            requestBody={
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"anyOf": [several, self._one]},
                        "examples": {
                            "several": {"value": [self._example, {"text": "black tea"}]},
                            "one": {"value": self._example},
                        },
                    },
                    **_packed("A document a line."),
                },
            },
        )

    def _put(self) -> dict[str, Any]:
        return self._operation(
            "putDocument",
            "Put a document in place of that of this id, or at the end",
            "documents",
            self._written(placed=False),
            (409, 413, 415, 422),
            requestBody={
                "required": True,
                "content": {
                    "application/json": {
                        "schema": self._one,
                        "examples": {"one": {"value": {"text": "green tea"}}},
                    },
                    "application/vnd.docarray": _BINARY,
                },
            },
        )

    def _patch(self) -> dict[str, Any]:
        change = {"schema": {"$ref": "#/components/schemas/Change"}}
        return self._operation(
            "changeDocument",
            "Change fields of a document",
            "documents",
            {"200": self._document("The document as it is now.")},
            (404, 406, 409, 413, 415, 422),
            requestBody={
                "required": True,
                "content": {"application/merge-patch+json": change, "application/json": change},
            },
        )

    def _delete(self) -> dict[str, Any]:
        answers = {"204": {"description": "It is gone."}}
        return self._operation("deleteDocument", "Delete a document", "documents", answers, (404, 409, 422))

    def _delete_many(self) -> dict[str, Any]:
        answer = {"schema": {"$ref": "#/components/schemas/Deleted"}, "example": {"deleted": ["tea-1"]}}
        return self._operation(
            "deleteDocuments",
            "Delete documents by their ids; all or none",
            "documents",
            {"200": {"description": "They are gone.", "content": {"application/json": answer}}},
            (404, 409, 413, 415, 422),
            requestBody={
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ids"}}},
            },
        )


class TagsCheck:
    """What the tags of documents of a dataclass are held against when they are written.

    Args:
        schema: the class, made by `docarray.dataclass`.

    >>> from docarray import dataclass
    >>> from docarray.typing import Text
    >>> @dataclass
    ... class Tea:
    ...     title: Text
    ...     price: float
    >>> TagsCheck(Tea).whole('tea-1', {'price': 'a lot'})
    Traceback (most recent call last):
    docarray.errors.FieldTypeError: document 'tea-1': tags.price is a number; got 'a lot'
    """

    def __init__(self, schema: type[Any]) -> None:
        described = document_schema(schema)
        self._whole: dict[str, Any] = described["properties"]["tags"]
        self._change = _patched(self._whole)
        self._definitions: dict[str, Any] = described.get("$defs", {})

    def whole(self, key: Any, tags: Any) -> None:
        """Raises FieldTypeError where tags are not those of the class."""
        self._hold(key, tags, self._whole)

    def change(self, key: Any, tags: Any) -> None:
        """Raises FieldTypeError where the tags would not be those of the class after this change."""
        self._hold(key, tags, self._change)

    def _hold(self, key: Any, tags: Any, schema: dict[str, Any]) -> None:
        wrong = self._wrong(tags, schema, "tags")
        if wrong:
            raise FieldTypeError(f"document {key!r}: {wrong}")

    def _wrong(self, value: Any, schema: dict[str, Any], path: str) -> str | None:
        """What of a value is not as JSON Schema says; of formats nothing is."""
        if "$ref" in schema:
            return self._wrong(value, self._definitions[schema["$ref"].rpartition("/")[2]], path)
        if "anyOf" in schema:
            found = [self._wrong(value, one, path) for one in schema["anyOf"]]
            return None if None in found else " or ".join(cast("list[str]", found))
        choices: list[Any] = [schema["const"]] if "const" in schema else schema.get("enum", [])
        if choices and not any(value == one and type(value) is type(one) for one in choices):
            return f"{path} is one of {', '.join(map(repr, choices))}; got {shown(value)}"
        kinds: Any = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(_is_of(value, kind) for kind in kinds):
            return f"{path} is {' or '.join(_KINDS[kind] for kind in kinds)}; got {shown(value)}"
        for name, (fits, said) in _BOUNDS.items():
            if name in schema and not fits(value, schema[name]):
                return f"{path} {said} {schema[name]}; got {shown(value)}"
        parts: list[tuple[Any, Any, str]] = []
        if isinstance(value, dict):
            entries = cast("dict[str, Any]", value)
            missing = [name for name in schema.get("required", ()) if name not in entries]
            if missing:
                return f"{path} has no {missing[0]!r}, which {path} of this kind have"
            known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
            for name, item in entries.items():
                said: Any = known.get(name, others)
                if said is False:
                    return f"{path} has {shown(name)}, which there is not"
                if said is not True:
                    parts.append((item, said, f"{path}.{name:.60}"))
        elif isinstance(value, list):
            listed = cast("list[Any]", value)
            first: list[Any] = schema.get("prefixItems", [])
            rest: Any = schema.get("items", {})
            if rest is False and len(listed) > len(first):
                return f"{path} has at most {len(first)} items; got {len(listed)}"
            schemas = [*first, *[rest] * (len(listed) - len(first))]
            parts = [
                (v, s, f"{path}.{at}") for at, (v, s) in enumerate(zip(listed, schemas, strict=False)) if s
            ]
        return next((wrong for part in parts if (wrong := self._wrong(*part))), None)


_KINDS: Final = {
    "string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip


def _is_of(value: Any, kind: str) -> bool:
    """Whether a value is of a type of JSON Schema."""
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    wanted: dict[str, Any] = {"string": str, "number": (int, float), "array": list, "object": dict}
    return kind in wanted and isinstance(value, wanted[kind])


def _number_holds(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, bound: not isinstance(value, (int, float)) or test(value, bound)


def _length_holds(kind: type, test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, bound: not isinstance(value, kind) or test(len(value), bound)


_BOUNDS: Final[Mapping[str, tuple[Callable[[Any, Any], bool], str]]] = {
    "minimum": (_number_holds(operator.ge), "is at least"),
    "maximum": (_number_holds(operator.le), "is at most"),
    "exclusiveMinimum": (_number_holds(operator.gt), "is more than"),
    "exclusiveMaximum": (_number_holds(operator.lt), "is less than"),
    "minLength": (_length_holds(str, operator.ge), "has at least this many characters:"),
    "maxLength": (_length_holds(str, operator.le), "has at most this many characters:"),
    "minItems": (_length_holds(list, operator.ge), "has at least this many items:"),
    "maxItems": (_length_holds(list, operator.le), "has at most this many items:"),
}


def _patched(tags: dict[str, Any]) -> dict[str, Any]:
    """What may be said of typed tags in a change: some of them, and null for those that may be missing."""
    needed = tags.get("required", ())
    properties = {
        name: said if name in needed else {"anyOf": [said, {"type": "null"}]}
        for name, said in tags["properties"].items()
    }
    # That the tags go as a whole is said by null, where all of them may be missing.
    return {"title": "Tags", "type": "object" if needed else ["object", "null"], "properties": properties}


_FIELDS_SAID: Final = (
    f"Names of the fields that documents are answered with, or `*` alone for all. Unless given: all but "
    f"{', '.join(HEAVY)}."
)
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


def _packed(lines: str) -> dict[str, Any]:
    return {
        "application/x-ndjson": {"schema": {"type": "string", "description": lines}},
        "application/vnd.docarray": _BINARY,
    }


def _fields() -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "string", "enum": [*FIELDS]},
        "minItems": 1,
        "maxItems": len(FIELDS),
        "examples": [["id", "text", "tags"]],
    }


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema or "enum" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def _list_of_ids(said: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": said}


def _object(said: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "description": said,
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
