"""Schemas: what YAML of a Flow, a Deployment or an Executor may say, as JSON Schema, for editors and for CI.

It is made of the specs themselves, so that it knows each key that they know. `docarray export schema` writes it; with
the first line

    # yaml-language-server: $schema=docarray.schema.json

of a YAML file an editor completes its keys, and underlines those that mean nothing.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from docarray.errors import UnknownName, near_miss
from docarray.flow import executor, saving, spec
from docarray.flow.config import KEYS
from docarray.flow.flow import DEPLOYMENT, OFFERED
from docarray.flow.handlers import Batching
from docarray.flow.spec import DeploymentSpec, FlowSpec, GatewaySpec

__all__ = ["KINDS", "schema"]

KINDS: Final = ("Flow", "Deployment", "Executor")
_DRAFT: Final = "http://json-schema.org/draft-07/schema#"  # the one that editors know

_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer"}
_TEXTS: Final = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_FREE: Final = {"type": "object"}
_MAP: Final = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_VARIABLE: Final = {"type": "string", "pattern": r"\$\{\{.*\}\}", "description": "A variable."}
_USES: Final = {
    "anyOf": [{"type": "string"}, {"$ref": "#/definitions/Executor"}, {"type": "null"}],
}
_POLLS: Final = {"enum": ["ANY", "ALL", "any", "all"]}
_PORT: Final = {"type": "integer", "minimum": 0, "maximum": 65535}

# What the annotations of the specs do not say.
_SAID: Final[Mapping[str, Any]] = {
    "uses": _USES,
    "uses_before": _USES,
    "uses_after": _USES,
    "name": {"type": "string", "pattern": r"^[^\W\d]\w*$"},
    "needs": _TEXTS,
    "when": {"type": ["object", "null"]},
    "reduce": {"enum": list(spec.REDUCERS)},
    "engine": {"enum": [*spec.ENGINES, None]},
    "replicas": {"type": "integer", "minimum": 1},
    "shards": {"type": "integer", "minimum": 1},
    "max_concurrency": {"type": ["integer", "null"], "minimum": 1},
    "max_queue": {"type": ["integer", "null"], "minimum": 0},
    "polling": {"anyOf": [_POLLS, {"type": "object", "additionalProperties": _POLLS}]},
    "host": {"anyOf": [_TEXTS, {"type": "null"}]},
    "port": {"anyOf": [_PORT, {"type": "array", "items": {"anyOf": [_PORT, _VARIABLE]}}, {"type": "null"}]},
    "protocol": {
        "anyOf": [
            {"enum": [*spec.PROTOCOLS, *(one.upper() for one in spec.PROTOCOLS)]},
            {"type": "array", "items": {"enum": [*spec.PROTOCOLS, *(one.upper() for one in spec.PROTOCOLS)]}},
        ]
    },
    "cors": {"anyOf": [{"type": "boolean"}, _TEXTS]},
    "auth": {"anyOf": [_TEXTS, {"type": "null"}]},
    "output_array_type": {"enum": [*spec.ARRAYS, None]},
    "compression": {"enum": ["gzip", "deflate", None]},
    "max_body": {"type": "integer", "minimum": 1},
    "max_in_flight": {"type": "integer", "minimum": 1},
    "uses_requests": {"type": "object", "additionalProperties": _TEXT},
    "uses_dynamic_batching": {"$ref": "#/definitions/batching"},
    "uses_metas": {"$ref": "#/definitions/metas"},
    "env": _MAP,
    "grpc_metadata": _MAP,
}
_OLD: Final[Mapping[str, Any]] = {
    "no_reduce": {"type": "boolean", "description": "`reduce: none`, as it was called."},
    "disable_reduce": {"type": "boolean", "description": "`reduce: none`, as it was called."},
    "timeout_send_ms": {"type": ["number", "null"], "description": "`timeout_send` in milliseconds."},
    "timeout_ready_ms": {"type": ["number", "null"], "description": "`timeout_ready` in milliseconds."},
}


def schema(kind: str | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 7) of YAML files.

    Args:
        kind: one of KINDS; None: of all three, told from each other by their `jtype`.

    Raises:
        UnknownName: there is no such kind.

    >>> sorted(schema()['definitions']['Deployment']['properties'])
    ['jtype', 'version', 'with']
    """
    if kind is not None and kind not in KINDS:
        raise UnknownName(f"there is no schema of {kind!r:.60}. {near_miss(kind, KINDS)}")
    said: dict[str, Any] = {"$schema": _DRAFT, "definitions": _definitions()}
    if kind is not None:
        return {**said, "allOf": [{"$ref": f"#/definitions/{kind}"}]}
    return {
        **said,
        "title": "Flow, Deployment or Executor",
        "type": "object",
        "required": ["jtype"],
        "properties": {"jtype": _TEXT},
        "if": {"properties": {"jtype": {"const": "Flow"}}},
        "then": {"$ref": "#/definitions/Flow"},
        "else": {
            "if": {"properties": {"jtype": {"const": "Deployment"}}},
            "then": {"$ref": "#/definitions/Deployment"},
            "else": {"$ref": "#/definitions/Executor"},
        },
    }


def _definitions() -> dict[str, Any]:
    deployment = {**_fields(DeploymentSpec), **_OLD}
    gateway = _fields(GatewaySpec)
    common = {name: one for name, one in deployment.items() if name in DEPLOYMENT}
    own = {name: one for name, one in _fields(FlowSpec).items() if name not in ("deployments", "gateway")}
    own["asyncio"] = {"type": "boolean", "description": "Whether `post` is iterated with `async for`."}
    own["name"] = _TEXT  # of a Flow it is any text
    served = {name: one for name, one in gateway.items() if name in OFFERED}
    listed = {"type": "array", "items": {"$ref": "#/definitions/deployment"}}
    method = {"enum": list(saving.METHODS), "description": "How it is added: `add` unless said."}
    alone = {name: one for name, one in deployment.items() if name != "needs"}
    names: dict[str, Any] = {
        "Flow": _object(
            "A Flow",
            {
                "jtype": {"const": "Flow"},
                "version": {},
                "name": _TEXT,
                "with": _object(
                    "Options of the Flow, and of all its deployments", {**common, **served, **own}
                ),
                "deployments": listed,
                "executors": listed,
                "gateway": {"$ref": "#/definitions/gateway"},
            },
        ),
        "Deployment": _object(
            "A Deployment",
            {
                "jtype": {"const": "Deployment"},
                "version": {},
                "with": _object(
                    "Its options, and those of its gateway", {**served, **alone, "asyncio": own["asyncio"]}
                ),
            },
        ),
        "Executor": _object("An Executor", _of_executor(), ["jtype"]),
        "deployment": _object("A deployment of a Flow", {**deployment, "method": method}),
        "gateway": _object("What a Flow offers to clients of the network", gateway),
        "metas": _object(
            "Its name, and what it is",
            {
                name: _TEXTS if name == "py_modules" else {"type": ["string", "null"]}
                for name in executor.METAS
            },
        ),
        "batching": {
            "type": "object",
            "additionalProperties": _object(
                "How requests are put together", _fields(Batching), ["preferred_batch_size"]
            ),
        },
    }
    names["Flow"]["not"] = {"required": ["deployments", "executors"]}
    return names


def _of_executor() -> dict[str, Any]:
    said: dict[str, Any] = {
        "jtype": {
            "type": "string",
            "not": {"enum": ["Flow", "Deployment"]},
            "description": "Its class: a name in `py_modules`, `module:Class` or a dotted path.",
        },
        "with": {"type": ["object", "null"], "description": "Arguments of its constructor."},
        "metas": {"$ref": "#/definitions/metas"},
        "requests": {
            "type": ["object", "null"],
            "additionalProperties": _TEXT,
            "description": "Endpoint to the name of the method that answers it.",
        },
        "dynamic_batching": {"$ref": "#/definitions/batching"},
        "py_modules": {**_TEXTS, "description": "Files that are loaded first, relative to this one."},
        "workspace": {"type": ["string", "null"], "description": "The folder in which it has its own."},
        "version": {},
    }
    return {name: said[name] for name in KEYS if name in said}


def _object(title: str, properties: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    """An object with these keys, and no others."""
    made: dict[str, Any] = {
        "title": title,
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
    }
    if wanted := list(required):
        made["required"] = wanted
    return made


def _fields(cls: type[Any]) -> dict[str, Any]:
    """What each field of a spec takes, with what its docstring says, and its default."""
    docs, hints = _docstrings(cls), typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        said: dict[str, Any] = dict(_varied(_SAID.get(field.name) or _typed(hints[field.name])))
        if "$ref" in said:  # beside which draft 7 reads nothing
            said = {"allOf": [said]}
        if field.name in docs:
            said["description"] = docs[field.name]
        if isinstance(field.default, (str, int, float)):
            said["default"] = field.default
        found[field.name] = said
    return found


def _typed(hint: Any) -> dict[str, Any]:
    """An annotation as a schema."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_typed(one) for one in args]}
    if origin is tuple:
        return _TEXTS
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return _FREE
    return dict(_PLAIN.get(hint, {}))


_PLAIN: Final[Mapping[Any, Any]] = {
    str: _TEXT,
    int: _WHOLE,
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}


def _varied(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, or a variable that stands for it."""
    if not said or said == _TEXT or "$ref" in said:
        return said
    return {"anyOf": [said, _VARIABLE]}


@functools.cache
def _docstrings(cls: type[Any]) -> dict[str, str]:
    """What stands below each field of a class; nothing where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):
        return {}
    body = cast("ast.ClassDef", tree.body[0]).body
    found: dict[str, str] = {}
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            value = below.value if isinstance(below, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = " ".join(value.value.split())
    return found
