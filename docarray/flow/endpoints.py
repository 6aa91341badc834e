"""The OpenAPI document of a Flow: each endpoint with the documents and parameters that its handlers say they take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from pydantic import TypeAdapter

from docarray.document import Document
from docarray.flow.faults import Unavailable
from docarray.flow.groups import Group
from docarray.flow.handlers import DEFAULT, remapped
from docarray.flow.running import Running
from docarray.flow.shapes import REF, Shape, Shapes, shapes
from docarray.flow.spec import GatewaySpec
from docarray.flow.wire import BINARY, FRAME
from docarray.format import LIBRARY
from docarray.web.problems import MEDIA_TYPE, TITLES

__all__ = ["openapi"]

_DOCUMENT: Final = {"$ref": "#/components/schemas/Document"}
_BYTES: Final = {"schema": {"type": "string", "contentMediaType": BINARY}}
_NAME: Final = re.compile(r"\W+")
_METHODS: Final[Mapping[str, str]] = {"/update": "put", "/delete": "delete"}

_WRONG: Final = {
    400: "The body is none of its media type.",
    401: "No key, or a wrong one.",
    403: "The key does not allow this.",
    404: "Nobody answers this endpoint.",
    406: "No media type that answers are given as is accepted.",
    413: "The body has more bytes than are taken.",
    415: "The body is of a media type that is not taken.",
    422: "Documents or parameters that a handler does not take: the detail says which.",
    429: "Too much is asked at once: come back after `Retry-After` seconds.",
    500: "A handler raised; `exception` has the class, `detail` the message.",
    503: "A deployment cannot be reached: come back after `Retry-After` seconds.",
    504: "There was no answer in time.",
}


def openapi(
    running: Running, spec: GatewaySpec, *, secured: bool = False, root_path: str = ""
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of what a gateway offers.

    Args:
        running: the Flow. What its handlers take is known of Executors of this process and of its worker processes,
            which are asked; of external ones the endpoints and docstrings are.
        spec: `title`, `description`, `metrics`, `graphql`.
        secured: whether a key is wanted: in the header `Authorization: Bearer KEY`, or `X-API-Key: KEY`.
        root_path: where the application is mounted.

    >>> from docarray.flow import Executor, Flow, requests
    >>> class Shout(Executor):
    ...     @requests(on='/shout')
    ...     def shout(self, docs, **kwargs):
    ...         '''Says it louder.'''
    >>> with Flow().add(uses=Shout) as flow:
    ...     said = openapi(flow._running, flow.spec.gateway)
    >>> said['paths']['/shout']['post']['summary']
    'Says it louder.'
    """
    return _Description(running, spec, secured).document(root_path)


class _Description:
    """One OpenAPI document, part by part."""

    def __init__(self, running: Running, spec: GatewaySpec, secured: bool) -> None:
        self._running = running
        self._spec = spec
        self._secured = secured
        self._schemas: dict[str, Any] = dict(TypeAdapter(Document).json_schema(ref_template=REF)["$defs"])
        self._schemas.update(_OWN)
        self._told: dict[Group, Mapping[str, Shapes]] = {}
        self._ids: set[str] = set()

    def document(self, root_path: str) -> dict[str, Any]:
        """All of it."""
        spec, points = self._spec, self._running.plan.endpoints()
        paths: dict[str, Any] = {}
        for point in points:
            path = point if point.startswith("/") else f"/{point}"
            paths[path] = {"post": self._endpoint(point)}
            if path in _METHODS:
                paths[path][_METHODS[path]] = self._endpoint(point)
        if "/post" not in paths:
            paths["/post"] = {"post": self._post(points)}
        paths.setdefault("/", {})["get"] = self._read(
            "isAlive", "Whether the server answers", {"type": "object"}
        )
        for path, identity, summary, schema in (
            ("/dry_run", "dryRun", "Whether a request would come through all deployments", _STATUS),
            ("/status", "status", "Versions, and the replicas of each deployment", {"type": "object"}),
            (
                "/healthz",
                "health",
                "Whether the server answers; with `?ready` as dry_run",
                {"type": "object"},
            ),
        ):
            paths.setdefault(path, {})["get"] = self._read(identity, summary, schema)
        responses = {str(status): self._problem(status) for status in _WRONG}
        components: dict[str, Any] = {"schemas": self._schemas, "responses": responses}
        name = self._running.spec.name
        out: dict[str, Any] = {
            "openapi": "3.1.0",
            "info": {
                "title": spec.title or name,
                "version": LIBRARY.partition(" ")[2],
                "description": spec.description or f"The Flow {name!r}: documents go in, documents come out.",
            },
            "tags": [
                {"name": "endpoints", "description": "What the Executors answer."},
                {"name": "service", "description": "What runs."},
            ],
            "paths": dict(sorted(paths.items())),
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

    # ------------------------------------------------------------------------------------------ operations

    def _identity(self, text: str) -> str:
        stem = _NAME.sub("_", text).strip("_") or "root"
        found, number = stem, 2
        while found in self._ids:
            found, number = f"{stem}_{number}", number + 1
        self._ids.add(found)
        return found

    def _read(self, identity: str, summary: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        wrong = [503] if identity in ("dryRun", "health") else []
        return {
            "operationId": self._identity(identity),
            "summary": summary,
            "tags": ["service"],
            "responses": {
                "200": {"description": "It is so.", "content": {"application/json": {"schema": schema}}},
                **self._wrong(wrong),
            },
        }

    def _wrong(self, statuses: Iterable[int]) -> dict[str, Any]:
        some = {*statuses, *((401, 403) if self._secured else ())}
        return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(some)}

    def _endpoint(self, point: str) -> dict[str, Any]:
        answering = [group for group in self._running.groups.values() if group.answers(point)]
        known = [one for one in (self._shapes(group, point) for group in answering) if one is not None]
        docs = [doc for doc in (self._doc(group, point) for group in answering) if doc]
        first = docs[0] if docs else f"Answers {point}."
        summary = first.partition("\n")[0]
        parameters = [self._ref(one.parameters) for one in known if one.parameters is not None]
        return self._operation(
            point,
            summary,
            "\n\n".join(docs) or summary,
            self._ref(known[0].takes) if known else _DOCUMENT,
            self._ref(known[-1].gives) if known else _DOCUMENT,
            parameters,
            streams=any(group.streams(point) for group in answering),
        )

    @staticmethod
    def _doc(group: Group, point: str) -> str:
        offer = group.offer(point)
        return "" if offer is None else offer.doc

    def _post(self, points: list[str]) -> dict[str, Any]:
        named = ", ".join(f"`{point}`" for point in points if point != DEFAULT) or "any"
        return self._operation(
            "post",
            "Any endpoint, by its name in the body",
            f"`execEndpoint` is one of {named}; it is `/` where nothing is said.",
            _DOCUMENT,
            _DOCUMENT,
            [],
            endpoint=True,
            streams=True,
        )

    def _operation(
        self,
        identity: str,
        summary: str,
        description: str,
        takes: dict[str, Any],
        gives: dict[str, Any],
        parameters: list[dict[str, Any]],
        endpoint: bool = False,
        streams: bool = False,
    ) -> dict[str, Any]:
        several = {"type": "array", "items": takes}
        wanted: dict[str, Any] = {"type": "object"}
        if parameters:
            wanted = parameters[0] if len(parameters) == 1 else {"allOf": parameters}
        body: dict[str, Any] = {
            "type": "object",
            "properties": {
                "data": {"anyOf": [several, {"type": "object", "properties": {"docs": several}}]},
                "parameters": wanted,
                "targetExecutor": {
                    "type": "string",
                    "description": "A pattern that names of deployments begin with; others pass the documents on.",
                },
                "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "In seconds."},
                "requestId": {"type": "string", "description": "By which the logs know the request."},
            },
        }
        if endpoint:
            body["properties"]["execEndpoint"] = {"type": "string", "default": "/"}
        answer = {
            "allOf": [
                {"$ref": "#/components/schemas/Answer"},
                {"type": "object", "properties": {"data": {"type": "array", "items": gives}}},
            ]
        }
        content: dict[str, Any] = {
            "application/json": {"schema": answer},
            "application/x-ndjson": {"schema": {"type": "string", "description": "A document a line."}},
            BINARY: _BYTES,
            FRAME: _BYTES,
        }
        if streams:
            content["text/event-stream"] = {
                "schema": {
                    "type": "string",
                    "description": "`update` with a document; then `end`, or `error`.",
                }
            }
        return {
            "operationId": self._identity(identity),
            "summary": summary,
            "description": description,
            "tags": ["endpoints"],
            "requestBody": {
                "required": False,
                "content": {
                    "application/json": {"schema": body},
                    "application/x-ndjson": {"schema": {"type": "string"}},
                    BINARY: _BYTES,
                    FRAME: _BYTES,
                },
            },
            "responses": {
                "200": {"description": "The documents as the Flow gives them back.", "content": content},
                **self._wrong((400, 404, 406, 413, 415, 422, 429, 500, 503, 504)),
            },
        }

    def _problem(self, status: int) -> dict[str, Any]:
        schema = {"$ref": "#/components/schemas/Problem"}
        example = {"type": "about:blank", "title": TITLES[status], "status": status, "detail": _WRONG[status]}
        said: dict[str, Any] = {
            "description": _WRONG[status],
            "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
        }
        if status in (429, 503):
            said["headers"] = {
                "Retry-After": {
                    "description": "Seconds after which to ask again.",
                    "schema": {"type": "integer", "minimum": 0},
                }
            }
        return said

    # ------------------------------------------------------------------------------------------ schemas

    def _ref(self, shape: Shape | None) -> dict[str, Any]:
        """A reference to the schema of a class, which becomes a component."""
        if shape is None:
            return _DOCUMENT
        for below, said in shape.definitions.items():
            self._schemas.setdefault(below, said)
        name, number = shape.name, 2
        while self._schemas.get(name, shape.schema) != shape.schema:
            name, number = f"{shape.name}_{number}", number + 1
        self._schemas[name] = shape.schema
        return {"$ref": REF.format(model=name)}

    def _shapes(self, group: Group, point: str) -> Shapes | None:
        """What a deployment takes and gives at an endpoint, as far as that is known."""
        crew: Any = group.shards[0]
        workers = getattr(crew, "workers", None)
        if workers:
            handler = workers[0].handler(point)
            return None if handler is None else shapes(handler)
        loop = self._running.loop
        if hasattr(crew, "shapes") and not loop.is_here:  # in processes of their own
            if group not in self._told:
                try:
                    self._told[group] = loop.run(crew.shapes())
                except Unavailable:
                    self._told[group] = {}
            found = self._told[group].get(point) or self._told[group].get(DEFAULT)
            if found is not None:
                return found
        uses = group.spec.uses
        if not isinstance(uses, type):
            return None
        handlers = remapped(uses, cast("Any", uses).handlers, group.spec.uses_requests, None)
        handler = handlers.get(point) or handlers.get(DEFAULT)
        return None if handler is None else shapes(handler)


_STATUS: Final = {
    "type": "object",
    "properties": {
        "code": {"type": "integer", "description": "0 where all is well."},
        "description": {"type": "string"},
    },
}
_TEXT: Final = {"type": "string"}
_OWN: Final[Mapping[str, Any]] = {
    "Answer": {
        "title": "Answer",
        "type": "object",
        "required": ["header", "parameters", "routes", "data"],
        "properties": {
            "header": {
                "type": "object",
                "properties": {
                    "requestId": _TEXT,
                    "status": {"type": ["object", "null"], "description": "null where all went well."},
                    "execEndpoint": _TEXT,
                    "targetExecutor": _TEXT,
                },
            },
            "parameters": {
                "type": "object",
                "description": "Those of the request; `__results__` has what handlers returned as a dict.",
            },
            "routes": {
                "type": "array",
                "description": "Where the request was, and when.",
                "items": {
                    "type": "object",
                    "properties": {
                        "executor": _TEXT,
                        "startTime": {"type": "string", "format": "date-time"},
                        "endTime": {"type": "string", "format": "date-time"},
                        "status": {"type": ["object", "null"]},
                    },
                },
            },
            "data": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Problem": {
        "title": "Problem",
        "description": "What went wrong (RFC 9457); as an envelope its `header.status` says it again.",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "instance": {"type": "string", "description": "The id of the request."},
            "executor": {"type": "string", "description": "The deployment that raised."},
            "exception": {"type": "string", "description": "The class of what it raised."},
        },
    },
}
