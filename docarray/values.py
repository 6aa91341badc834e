"""Values: what the paths of a filter or an order read from the rows of a table, in the form that is quickest to ask.

Rule 1: an unset field reads as its default, a key that is not there as None; as of a Document.
Rule 2: what lies in columns is asked as columns. Rows become Python values where a path goes deeper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from docarray import query
from docarray.columns import BoolColumn, Column, JsonColumn, NumberColumn, ScoresColumn, TextColumn
from docarray.paths import lookup
from docarray.records import Record, records_of
from docarray.schema import FIELDS
from docarray.score import Scores
from docarray.table import DocsColumn, Table
from docarray.tensors import Array

__all__ = ["TableValues"]

_CODED: Final = ("mime_type", "modality", "parent_id")


class TableValues:
    """The values of paths over rows of a table, for `query.mask` and `query.sort_rows`.

    Args:
        table: the rows.
        numbers: which of them, in which order; None for all.

    >>> from docarray.columns import column_of
    >>> table = Table({'tags': column_of('json', [{'price': 3}, {}])}, ids=['a', 'b'])
    >>> query.mask(query.parse({'tags__price': {'$lt': 5}}), 2, TableValues(table)).tolist()
    [True, False]
    """

    def __init__(self, table: Table, numbers: Sequence[int] | None = None) -> None:
        self._table = table
        self._length = len(table) if numbers is None else len(numbers)
        whole = numbers is None or (isinstance(numbers, range) and numbers == range(len(table)))
        self._picked: Any = None if whole else np.array(numbers, np.intp)
        self._nested: dict[str, list[Any]] = {}

    def _rows(self, rows: Array | None) -> Array | None:
        if self._picked is None:
            return rows
        return self._picked if rows is None else self._picked[rows]

    def __call__(self, path: tuple[str | int, ...], rows: Array | None) -> Any:
        root, picked = str(path[0]), self._rows(rows)
        column: Column | None = self._table.id_column if root == "id" else self._table.columns.get(root)
        if isinstance(column, DocsColumn):
            return self._below(path, column, picked)
        rest = path[1:]
        if rest and isinstance(column, ScoresColumn):
            cells = column.values() if picked is None else column.take(picked).values()
            return [lookup({root: Scores(cell)}, path, missing="none") if cell else None for cell in cells]
        while rest and isinstance(column, JsonColumn):
            keyed = column.by_key()
            if keyed is None:
                break
            key, rest = rest[0], rest[1:]
            column = (
                keyed.get(key) if isinstance(key, str) else None
            )  # these dicts have no keys that are numbers
            if column is None:
                return self._missing(rows)
        if column is None:
            default = FIELDS[root].default if not rest and root in FIELDS else None
            return [default] * self._count(rows)
        if not rest and root in FIELDS and len(path) == 1:
            return _field_values(column, root, picked)
        if not rest:
            return _coded(column, picked)
        values = column.values() if picked is None else column.take(picked).values()
        parts = (root, *rest)
        return [lookup({root: value}, parts, missing="none") for value in values]

    def _below(self, path: tuple[str | int, ...], column: DocsColumn, picked: Array | None) -> list[Any]:
        root = str(path[0])
        known = self._nested.get(root)
        if known is None:
            known = self._nested[root] = [
                [_said(record) for record in records_of(part)] for part in column.values()
            ]
        values = known if picked is None else [known[row] for row in picked.tolist()]
        return [lookup({root: value}, path, missing="none") for value in values]

    def _count(self, rows: Array | None) -> int:
        return self._length if rows is None else len(rows)

    def _missing(self, rows: Array | None) -> list[Any]:
        return [None] * self._count(rows)


def _said(record: Mapping[str, Any]) -> Record:
    """A nested document as it reads: defaults where it says nothing, at every depth."""
    said: Record = {name: field.default for name, field in FIELDS.items()}
    said.update(record)
    for name in ("chunks", "matches"):
        said[name] = [_said(below) for below in said[name]]
    content = next((record[n] for n in ("text", "blob", "tensor") if n in record), None)
    said["content"] = None if isinstance(content, (str, bytes)) and not content else content
    return said


def _coded(column: Column, picked: Array | None) -> Any:
    """A column in the form that is quickest to filter."""
    if isinstance(column, TextColumn):
        codes, words = column.codes()
        return query.Codes(codes if picked is None else codes[picked], words)
    if isinstance(column, (NumberColumn, BoolColumn)):
        present = column.present
        if picked is None:
            return query.Numbers(column.data, present)
        return query.Numbers(column.data[picked], None if present is None else present[picked])
    return column.values() if picked is None else column.take(picked).values()


def _field_values(column: Column, name: str, picked: Array | None) -> Any:
    """The values of a field of documents, its default where it is unset."""
    if name in _CODED and column.present is None:
        return _coded(column, picked)
    default = FIELDS[name].default
    values = column.values() if picked is None else column.take(picked).values()
    return values if default is None else [default if value is None else value for value in values]
