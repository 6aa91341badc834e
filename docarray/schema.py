"""What a row is made of: the fields of a Document, and the kinds of column that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from docarray.errors import BadValue, UnknownField, near_miss

__all__ = ["FIELDS", "KINDS", "Field", "Kind", "Schema", "field_named"]

Kind = Literal["text", "bytes", "number", "bool", "tensor", "json", "scores", "docs"]
KINDS: Final[tuple[Kind, ...]] = ("text", "bytes", "number", "bool", "tensor", "json", "scores", "docs")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a Document: its name, the kind of column that holds it, and what it reads as when unset."""

    name: str
    kind: Kind
    default: Any = None


def _fields(*fields: Field) -> Mapping[str, Field]:
    return MappingProxyType({field.name: field for field in fields})


FIELDS: Final[Mapping[str, Field]] = _fields(
    Field("id", "text"),
    Field("parent_id", "text", ""),
    Field("granularity", "number", 0),
    Field("adjacency", "number", 0),
    Field("blob", "bytes", b""),
    Field("tensor", "tensor"),
    Field("mime_type", "text", ""),
    Field("text", "text", ""),
    Field("weight", "number", 0.0),
    Field("uri", "text", ""),
    Field("tags", "json", MappingProxyType({})),
    Field("_metadata", "json", MappingProxyType({})),
    Field("offset", "number", 0.0),
    Field("location", "tensor", ()),
    Field("embedding", "tensor"),
    Field("modality", "text", ""),
    Field("evaluations", "scores", MappingProxyType({})),
    Field("scores", "scores", MappingProxyType({})),
    Field("chunks", "docs", ()),
    Field("matches", "docs", ()),
)
"""Every field in its canonical order: of `non_empty_fields`, of JSON keys, of a CSV header."""


def field_named(name: str) -> Field:
    """The field of that name.

    Raises:
        UnknownField: there is none; the message names the closest.
    """
    field = FIELDS.get(name)
    if field is None:
        raise UnknownField(f"a Document has no field {name!r}. {near_miss(name, (*FIELDS, 'content'))}")
    return field


class Schema(Mapping[str, Kind]):
    """Column names and their kinds, in order: what a store is opened with and a file says of itself.

    >>> Schema({'id': 'text', 'price': 'number'}).to_json()
    {'id': 'text', 'price': 'number'}
    """

    __slots__ = ("_kinds",)

    def __init__(self, kinds: Mapping[str, str]) -> None:
        checked: dict[str, Kind] = {}
        for name, kind in kinds.items():
            if kind not in KINDS:
                raise BadValue(f"column {name!r} is of an unknown kind {kind!r}. {near_miss(kind, KINDS)}")
            checked[name] = kind
        self._kinds = checked

    @classmethod
    def of_documents(cls) -> Schema:
        """The schema of all fields of a Document."""
        return cls({name: field.kind for name, field in FIELDS.items()})

    def to_json(self) -> dict[str, str]:
        """The same as a plain dict, which `Schema(...)` takes."""
        return dict(self._kinds)

    def __getitem__(self, name: str) -> Kind:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def __repr__(self) -> str:
        return f"Schema({self._kinds!r})"
