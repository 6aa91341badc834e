"""What is in tables, told without making documents: fields, in how many rows each is filled, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import numpy as np

from docarray.columns import Column, JsonColumn, UniformTensors
from docarray.display.facts import array_type, count_of, noun, plain
from docarray.schema import FIELDS
from docarray.table import DocsColumn, Table

__all__ = ["Contents", "contents", "field_rows"]

_LOOKED_AT: Final = 1000  # rows of a column in which each may be another
_MOST_KEYS: Final = 10  # of tags, that are shown to people
_MOST_ARRAYS: Final = 3


def contents(tables: Iterable[Table]) -> Contents:
    """What is in these tables, which are looked at one by one.

    >>> contents([Table({}, ids=['a']), Table({}, ids=['b', 'c'])]).fields()
    [{'name': 'id', 'kind': 'text', 'filled': 3}]
    """
    found = Contents()
    for table in tables:
        found.add(table)
    return found


class Contents:
    """What the fields of some rows hold."""

    documents: int

    def __init__(self) -> None:
        self.documents = 0
        self._fields: dict[str, _Field] = {}

    def add(self, table: Table) -> None:
        """More rows."""
        self.documents += len(table)
        for name, column in {"id": table.id_column, **table.columns}.items():
            self._fields.setdefault(name, _Field(column.kind)).add(column)

    def fields(self) -> list[dict[str, Any]]:
        """A dict for each field, in the order of the schema: 'name', 'kind', 'filled', and what is special to its kind.

        Of tensors 'arrays', the first few types, and 'distinct', how many there are; where they are all alike 'dtype'
        and 'shape'. Of tags 'keys', and of nested documents 'documents' and 'fields'.
        """
        order = [name for name in FIELDS if name in self._fields]
        order += [name for name in self._fields if name not in FIELDS]
        return [{"name": name, **self._fields[name].facts()} for name in order]


class _Field:
    """What one field holds: its kind, in how many rows it is filled, and what is special to the kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.filled = 0
        self.types: dict[str, tuple[str, list[int]] | None] = {}
        self.keys: dict[str, str] | None = None
        self.below: Contents | None = None
        self._looked_at = 0

    def add(self, column: Column) -> None:
        """More rows."""
        present = column.present
        rows = np.arange(len(column)) if present is None else np.flatnonzero(present)
        self.filled += len(rows)
        if column.kind == "tensor":
            self._add_arrays(column, rows.tolist())
        elif isinstance(column, DocsColumn):
            self.below = self.below or Contents()
            self.below.add(column.child)
        elif isinstance(column, JsonColumn):
            # A slice has the keys of all rows where they are columns; where each row is JSON text, some must do.
            keyed = column.slice(0, min(len(column), self._left(len(column)))).by_key()
            if keyed is not None:
                self.keys = {**{key: inner.kind for key, inner in keyed.items()}, **(self.keys or {})}

    def _left(self, count: int) -> int:
        """How many of so many rows are looked at."""
        left = min(count, _LOOKED_AT - self._looked_at)
        self._looked_at += left
        return left

    def _add_arrays(self, column: Column, rows: list[int]) -> None:
        if isinstance(column, UniformTensors):
            if rows:
                alike = str(column.data.dtype), list(column.data.shape[1:])
                self.types.setdefault(array_type(column.value(rows[0])), alike)
            return
        for row in rows[: self._left(len(rows))]:
            self.types[array_type(column.value(row))] = None

    def facts(self) -> dict[str, Any]:
        """All of it as a dict."""
        facts: dict[str, Any] = {"kind": self.kind, "filled": self.filled}
        if self.kind == "tensor":
            facts |= {"arrays": list(self.types)[:_MOST_ARRAYS], "distinct": len(self.types)}
            alike = next(iter(self.types.values())) if len(self.types) == 1 else None
            if alike is not None:
                facts |= {"dtype": alike[0], "shape": alike[1]}
        if self.keys is not None:
            facts["keys"] = self.keys
        if self.below is not None:
            facts |= {"documents": self.below.documents, "fields": self.below.fields()}
        return facts


def field_rows(fields: list[dict[str, Any]], indent: str) -> list[tuple[str, str, str, str]]:
    """Name, kind, number and what a field holds, as people read it; nested fields stand further right."""
    rows: list[tuple[str, str, str, str]] = []
    for field in fields:
        holds = noun(field["documents"], "document") if "documents" in field else ""
        if "arrays" in field or "keys" in field:
            parts = cast(
                "list[str]", field["arrays"] if "arrays" in field else list(field["keys"])[:_MOST_KEYS]
            )
            more = (field["distinct"] if "arrays" in field else len(field["keys"])) - len(parts)
            holds = ", ".join(parts) + (f" and {count_of(more)} more" if more else "")
        rows.append((indent + plain(field["name"]), field["kind"], count_of(field["filled"]), plain(holds)))
        rows += field_rows(field.get("fields", []), indent + "  ")
    return rows
