"""Shapes: the JSON Schemas of what a handler takes and gives, for OpenAPI. A worker process tells those of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from pydantic import TypeAdapter

from docarray.dataclasses import is_multimodal
from docarray.document import Document
from docarray.flow.handlers import Handler
from docarray.web.models import document_schema

__all__ = ["REF", "Shape", "Shapes", "shape", "shapes"]

REF: Final = "#/components/schemas/{model}"
"""How a definition is referred to."""


class Shape(NamedTuple):
    """The schema of a class."""

    name: str
    schema: Mapping[str, Any]
    definitions: Mapping[str, Any]
    """What it refers to, by name."""


class Shapes(NamedTuple):
    """Those of one handler. None: a Document, or any parameters."""

    takes: Shape | None
    gives: Shape | None
    parameters: Shape | None


def shape(given: Any) -> Shape | None:
    """The schema of a class of documents or parameters; None of Document, which everybody knows.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Limits:
    ...     most: int = 3
    >>> shape(Limits).schema['properties']['most']['type']
    'integer'
    """
    if given is None or (isinstance(given, type) and issubclass(given, Document)):
        return None
    kind = cast("Any", given)
    made: dict[str, Any]
    if is_multimodal(kind):
        made, more = document_schema(kind, REF), "Document"
    else:
        made, more = TypeAdapter(kind).json_schema(ref_template=REF), ""
    definitions = cast("dict[str, Any]", made.pop("$defs", {}))
    return Shape(f"{kind.__name__}{more}", made, definitions)


def shapes(handler: Handler) -> Shapes:
    """Those of a handler."""
    return Shapes(shape(handler.takes), shape(handler.gives), shape(handler.parameters))
