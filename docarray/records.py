"""Records: rows as plain dicts, for formats that say one document after the other.

Rule 1: a record holds what is set and nothing else, in the order of `schema.FIELDS`, the id first. Values are as
        columns give them: scores as dicts of dicts, nested documents as lists of records.
Rule 2: `table_of` believes nothing: each value is of its field, or the error names document and field.
Rule 3: `table_of(records_of(table))` holds what `table` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, Final, TypeAlias, cast

import numpy as np

from docarray.columns import Column, column_of
from docarray.errors import BadValue, FieldTypeError, UnknownField
from docarray.ids import new_ids
from docarray.schema import FIELDS, field_named
from docarray.score import Scores
from docarray.table import DEEPEST, DocsColumn, Table
from docarray.tensors import framework, to_numpy

__all__ = ["Record", "cell_of", "records_of", "table_of"]

Record: TypeAlias = dict[str, Any]

_WHOLE: Final = frozenset({"granularity", "adjacency"})


def records_of(table: Table) -> list[Record]:
    """A dict for each row. Values are shared with the table.

    Raises:
        CorruptData: the table was opened from a file that is damaged there.

    Costs about a microsecond a row and 0.1 a value.

    >>> records_of(Table({'text': column_of('text', ['a', None])}, ids=['1', '2']))
    [{'id': '1', 'text': 'a'}, {'id': '2'}]
    """
    names = ["id", *(name for name in FIELDS if name in table.columns)]
    names += [name for name in table.columns if name not in FIELDS]
    cells: list[list[Any]] = [table.ids]
    gaps = False
    for name in names[1:]:
        column = table.columns[name]
        values = _nested_records(column) if isinstance(column, DocsColumn) else column.values()
        gaps = gaps or column.present is not None
        cells.append(values)
    rows = zip(*cells, strict=True)
    if not gaps:
        return [dict(zip(names, row, strict=True)) for row in rows]
    return [{n: v for n, v in zip(names, row, strict=True) if v is not None} for row in rows]


def _nested_records(column: DocsColumn) -> list[list[Record] | None]:
    offsets = column.checked()
    first = int(offsets[0])
    below = records_of(column.child.slice(first, int(offsets[-1])))
    bounds = (offsets - first).tolist()
    return [below[a:b] or None for a, b in pairwise(bounds)]


def table_of(records: Sequence[Mapping[str, Any]]) -> Table:
    """The records as columns. Ids are drawn where they are missing; None counts as unset.

    Raises:
        FieldTypeError: a value is of another type than its field; the message names document and field.
        UnknownField: a key is no field. BadValue: documents are nested more than 128 levels deep.

    >>> table_of([{'id': 'a', 'weight': 1}, {'id': 'b', 'tags': {'x': 1}}]).schema.to_json()
    {'id': 'text', 'weight': 'number', 'tags': 'json'}
    """
    return _table_of(records, 0)


def _table_of(records: Sequence[Mapping[str, Any]], depth: int) -> Table:
    if depth > DEEPEST:
        raise BadValue(f"documents are nested more than {DEEPEST} levels deep")
    used = set[Any]().union(*records)
    ids = _ids_of(records)
    if not used <= FIELDS.keys():
        _refuse_unknown(records, ids, used - FIELDS.keys())
    columns: dict[str, Column] = {}
    for name, field in FIELDS.items():
        if name == "id" or name not in used:
            continue
        values: list[Any] = [record.get(name) for record in records]
        if not any(value is not None for value in values):
            continue
        if field.kind == "docs":
            column = _nested_column(name, values, ids, depth)
            if column is not None:
                columns[name] = column
        else:
            columns[name] = column_of(field.kind, _checked(name, values, ids))
    return Table(columns, len(records), ids)


def _ids_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    ids: list[Any] = [record.get("id") for record in records]
    kinds = set(map(type, ids))
    if kinds <= {str}:
        return ids
    for at, key in enumerate(ids):
        if key is not None and not isinstance(key, str):
            raise FieldTypeError(f"document {at}: an id is a str; got {type(key).__name__}: {key!r:.80}")
    missing = iter(new_ids(ids.count(None)))
    return [next(missing) if key is None else str(key) for key in ids]


def _refuse_unknown(records: Sequence[Mapping[str, Any]], ids: list[str], unknown: set[Any]) -> None:
    for key, record in zip(ids, records, strict=True):
        for name in record:
            if name in unknown:
                try:
                    field_named(str(name))
                except UnknownField as error:
                    raise UnknownField(f"document {key!r}: {error}") from None
                raise UnknownField(f"document {key!r}: the name of a field is a str; got {name!r:.80}")


def _nested_column(name: str, values: list[Any], ids: list[str], depth: int) -> DocsColumn | None:
    below: list[Any] = []
    counts: list[int] = []
    for key, value in zip(ids, values, strict=True):
        if value is None:
            counts.append(0)
            continue
        nested: Any = value
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in nested):
            raise _wrong(name, key, "a list of documents", nested)
        counts.append(len(nested))
        below += nested
    if not below:
        return None
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return DocsColumn(offsets, _table_of(below, depth + 1))


def _checked(name: str, values: list[Any], ids: list[str]) -> list[Any]:
    """The values, each as its column holds it."""
    kind = FIELDS[name].kind
    exact = _EXACT.get(kind)
    kinds = set(map(type, values))
    if exact is not None and kinds <= exact and not (name in _WHOLE and float in kinds):
        return values
    settle = _SETTLERS["location" if name == "location" else "whole" if name in _WHOLE else kind]
    out: list[Any] = []
    for key, value in zip(ids, values, strict=True):
        try:
            out.append(None if value is None else settle(value))
        except _Wrong as error:
            raise _wrong(name, key, str(error), value) from None
        except (FieldTypeError, UnknownField) as error:
            raise type(error)(f"field {name!r} of document {key!r}: {error}") from None
    return out


def cell_of(name: str, value: Any, key: str) -> Any:
    """One value as the column of its field holds it; `key` is the id of the document, for the message.

    Raises:
        FieldTypeError: it is of another type. UnknownField: no field has the name.
    """
    if type(value) in _EXACT.get(field_named(name).kind, ()) and name not in _WHOLE:
        return value
    return _checked(name, [value], [key])[0]


class _Wrong(Exception):
    """What a field takes instead."""


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    raise _Wrong("a str")


def _bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", value))
    raise _Wrong("bytes")


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = cast("Any", value).item()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Real):
        return value if isinstance(value, (int, float)) else float(value)
    raise _Wrong("a number")


def _whole(value: Any) -> int:
    number = _number(value)
    if isinstance(number, float):
        if not number.is_integer():
            raise _Wrong("an int")
        return int(number)
    return number


def _tensor(value: Any) -> Any:
    if framework(value) is None:
        raise _Wrong("an array")
    return value


def _location(value: Any) -> list[float]:
    if framework(value) not in (None, "list"):
        value = to_numpy(value).tolist()
    if not isinstance(value, (list, tuple)):
        raise _Wrong("a list of numbers")
    try:
        return [_number(v) for v in cast("Iterable[Any]", value)]
    except _Wrong:
        raise _Wrong("a list of numbers") from None


def _json(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise _Wrong("a dict")


def _scores(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _Wrong("a dict of scores")
    if not all(isinstance(name, str) for name in cast("Mapping[Any, Any]", value)):
        raise _Wrong("a dict of scores, whose names are str")
    return {name: score.to_dict() for name, score in Scores(cast("Mapping[str, Any]", value)).items()}


_EXACT: Final[Mapping[str, frozenset[type]]] = {
    "text": frozenset({str, type(None)}),
    "bytes": frozenset({bytes, type(None)}),
    "number": frozenset({int, float, type(None)}),
    "json": frozenset({dict, type(None)}),
}
_SETTLERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "text": _text,
    "bytes": _bytes,
    "number": _number,
    "whole": _whole,
    "tensor": _tensor,
    "location": _location,
    "json": _json,
    "scores": _scores,
}


def _wrong(name: str, key: str, wanted: str, value: object) -> FieldTypeError:
    return FieldTypeError(
        f"field {name!r} of document {key!r} takes {wanted}; got {type(value).__name__}: {value!r:.80}"
    )
