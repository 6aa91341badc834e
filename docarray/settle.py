"""What came in as columns from bytes, files and other libraries, made to be what documents can hold.

Rule 1: nothing is believed of what was read: a column of another kind than its field is damage, said by name.
Rule 2: what can be told without a look at the rows is told at once. Where rows must be looked at, that is done when
        somebody reads them, so that opening a file of a million documents costs what opening a small one does.
Rule 3: what is in order is handed on as it is, on the same memory.
"""

# pyright: reportPrivateUsage=false
# A column of JSON is looked at inside, to put one that checks its rows in its place.

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np

from docarray.columns import (
    BoolColumn,
    Column,
    JsonColumn,
    NumberColumn,
    RaggedTensors,
    ScoresColumn,
    Struct,
    TextColumn,
    UniformTensors,
    column_of,
)
from docarray.errors import CorruptData, FormatError
from docarray.schema import FIELDS, Field
from docarray.table import DEEPEST, DocsColumn, Table
from docarray.tensors import Array

__all__ = ["settle_contents", "settled"]

_WHOLE: Final = ("granularity", "adjacency")
_SCORE: Final = {"value": "number", "op_name": "text", "description": "text", "ref_id": "text"}


def settled(table: Table) -> Table:
    """The table as documents can hold it, at every depth.

    - Columns that no field has the name of are left out.
    - Of text, blob and tensor of one row the last stays.
    - Chunks and matches that do not know where they are (`parent_id`, `granularity`, `adjacency`) are told.
    - Tags and scores that are no dicts are `CorruptData` when somebody reads them, if not here.

    Raises:
        CorruptData: a column is of another kind than its field; the message names it.

    Costs as much as there are columns where all is in order.

    >>> from docarray.columns import column_of
    >>> below = Table({}, ids=['c'])
    >>> table = settled(Table({'chunks': DocsColumn(np.array([0, 1]), below)}, ids=['p']))
    >>> table.child('chunks').columns['parent_id'].values(), table.child('chunks').columns['granularity'].values()
    (['p'], [1])
    """
    return _settled(table, "", 0)


def _settled(table: Table, above: str, depth: int) -> Table:
    if depth > DEEPEST:
        raise CorruptData(f"documents are nested more than {DEEPEST} levels deep")
    columns: dict[str, Column] = {}
    for name, column in table.columns.items():
        field = FIELDS.get(name)
        if field is None:
            continue
        try:
            columns[name] = _settled_column(column, field, table, above, depth)
        except CorruptData:
            raise
        except FormatError as error:
            raise CorruptData(f"column {above + name!r}: {error}") from None
    settle_contents(columns)
    if len(columns) == len(table.columns) and all(columns[n] is c for n, c in table.columns.items()):
        return table
    return Table(columns, len(table), table.id_column)


def _settled_column(column: Column, field: Field, table: Table, above: str, depth: int) -> Column:
    name = field.name
    if column.kind != field.kind and not (field.kind == "number" and type(column) is JsonColumn):
        raise _wrong(above + name, column.kind, field.kind)
    if isinstance(column, DocsColumn):
        return _nested(name, column, table, above, depth)
    if isinstance(column, JsonColumn):
        return _numbers(above + name, column) if field.kind == "number" else _dicts(column)
    if isinstance(column, NumberColumn):
        return _plain(above + name, column)
    if isinstance(column, (UniformTensors, RaggedTensors)):
        return _arrays(above + name, column)
    return column


def settle_contents(held: dict[str, Column]) -> None:
    """Of text, blob and tensor of one row the last stays, as in the constructor of a document."""
    names = [name for name in ("text", "blob", "tensor") if name in held]
    for at, name in enumerate(names[:-1]):
        beaten = np.zeros(len(held[name]), np.bool_)
        for other in names[at + 1 :]:
            present = held[other].present
            beaten |= True if present is None else present
        own = held[name].present
        if bool(beaten.all()):
            del held[name]
        elif bool((beaten if own is None else beaten & own).any()):
            values = held[name].values()
            held[name] = column_of(
                FIELDS[name].kind, [None if gone else v for v, gone in zip(values, beaten, strict=True)]
            )


def _wrong(name: str, got: str, wanted: str) -> CorruptData:
    return CorruptData(f"column {name!r} is of kind {got}, where documents have {wanted}")


# ---------------------------------------------------------------------------------------------- nested


def _nested(name: str, column: DocsColumn, table: Table, above: str, depth: int) -> DocsColumn:
    child = column.child
    wanted = ("parent_id", "granularity") if name == "chunks" else ("adjacency",)
    gaps = [part for part in wanted if _has_gaps(child.columns.get(part))]
    if gaps and len(child):
        owners = _owners(column)
        filled: dict[str, Column | None] = {}
        for part in gaps:
            filled[part] = _filled(part, child, owners, table)
        child = child.with_columns(filled)
    child = _settled(child, above + name + "/", depth + 1)
    return column if child is column.child else DocsColumn(column.offsets, child)


def _has_gaps(column: Column | None) -> bool:
    if column is None:
        return True
    if isinstance(column, (TextColumn, NumberColumn)) and not column.has_mask:
        return False if isinstance(column, NumberColumn) else column.present is not None
    present = column.present
    return present is not None and not bool(present.all())


def _owners(column: DocsColumn) -> list[int]:
    """The row above of each row below; -1 where there is none."""
    offsets = column.checked()
    owners = np.full(len(column.child), -1, np.int64)
    owners[int(offsets[0]) : int(offsets[-1])] = np.repeat(np.arange(len(column)), np.diff(offsets))
    return owners.tolist()


def _filled(part: str, child: Table, owners: list[int], table: Table) -> Column:
    held = child.columns.get(part)
    given: list[Any] = [None] * len(child) if held is None else held.values()
    if part == "parent_id":
        above: list[Any] = table.ids
    else:
        depths = table.columns.get(part)
        above = [1] * len(table) if depths is None else [(value or 0) + 1 for value in depths.values()]
    values = [
        above[owner] if value is None and owner >= 0 else value
        for value, owner in zip(given, owners, strict=True)
    ]
    return column_of(FIELDS[part].kind, values)


# ---------------------------------------------------------------------------------------------- numbers, arrays


def _plain(name: str, column: NumberColumn) -> Column:
    """Numbers that Python has: of 64 bits at most, and whole where they count something."""
    data = column._data
    if isinstance(column, BoolColumn):  # of a kind of its own, which no field is of
        raise _wrong(name, "bool", "number")
    if data.dtype.kind == "f" and data.dtype.itemsize > 8:
        return NumberColumn(data.astype(np.float64), column.present)
    if data.dtype.kind == "f" and name.rpartition("/")[2] in _WHOLE:
        return _numbers(name, JsonColumn(column.values()))
    return column


def _numbers(name: str, column: JsonColumn) -> Column:
    """Numbers that stand as JSON, since some are beyond 64 bits or there are ints and floats."""
    values: list[Any] = column.values()
    if not set(map(type, values)) <= {int, float, type(None)}:
        row = next(i for i, v in enumerate(values) if type(v) not in (int, float, type(None)))
        raise CorruptData(f"column {name!r}, row {row}: a number is wanted; got {values[row]!r:.60}")
    if name.rpartition("/")[2] not in _WHOLE or float not in set(map(type, values)):
        return column
    for row, value in enumerate(values):
        if type(value) is float:
            if not value.is_integer():
                raise CorruptData(f"column {name!r}, row {row}: a whole number is wanted; got {value!r}")
            values[row] = int(value)
    return column_of("number", values)


def _arrays(name: str, column: UniformTensors | RaggedTensors) -> Column:
    if isinstance(column, UniformTensors) and column.framework == "torch" and not _of_torch(column._data):
        raise CorruptData(f"column {name!r} holds arrays of torch of {column._data.dtype}, which it has not")
    if name.rpartition("/")[2] != "location":
        return column
    if isinstance(column, UniformTensors):
        if column._data.ndim != 2 or column._data.dtype.kind not in "iuf":
            raise CorruptData(f"column {name!r} holds other than a list of numbers for each row")
        return column if column.framework == "list" else UniformTensors(column.data, column.present, "list")
    values, changed = column.values(), False
    for row, value in enumerate(values):
        if value is None:
            continue
        numbers = _listed(value)
        if type(numbers) is not list or not set(map(type, cast("list[Any]", numbers))) <= {int, float}:
            raise CorruptData(f"column {name!r}, row {row}: a list of numbers is wanted; got {value!r:.60}")
        changed = changed or numbers is not value
        values[row] = numbers
    return RaggedTensors(values) if changed else column


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _of_torch(data: Array) -> bool:
    return data.dtype.isnative and data.dtype.itemsize <= (16 if data.dtype.kind == "c" else 8)


# ---------------------------------------------------------------------------------------------- tags and scores


class _Dicts(JsonColumn):
    """Tags of which nobody knows yet whether they are dicts; who reads them looks."""

    __slots__ = ()

    def value(self, row: int) -> Any:
        found = super().value(row)
        if found is not None and type(found) is not dict:
            raise _no_dict(found)
        return cast("Any", found)

    def values(self) -> list[Any]:
        found = super().values()
        if not set(map(type, found)) <= {dict, type(None)}:
            raise _no_dict(next(v for v in found if v is not None and type(v) is not dict))
        return found


class _Scores(ScoresColumn):
    """Scores of which nobody knows yet whether they are such; who reads them looks."""

    __slots__ = ()

    def value(self, row: int) -> Any:
        found = super().value(row)
        _check_scores(found)
        return found

    def values(self) -> list[Any]:
        found = super().values()
        for value in found:
            _check_scores(value)
        return found


def _no_dict(value: object) -> CorruptData:
    return CorruptData(f"a dict is wanted; got {value!r:.60}: the bytes are damaged")


def _check_scores(scores: Any) -> None:
    if scores is None:
        return
    if type(scores) is not dict:
        raise _no_dict(scores)
    for name, score in cast("dict[Any, Any]", scores).items():
        if type(name) is not str or not (score is None or _is_known(score)):
            raise CorruptData(f"a score is wanted; got {name!r:.60}: {score!r:.60}: the bytes are damaged")


def _is_known(score: Any) -> bool:
    if type(score) is not dict:
        return False
    for key, value in cast("dict[Any, Any]", score).items():
        kind = _SCORE.get(key)
        kinds = (int, float) if kind == "number" else (str,)
        if kind is None or not (value is None or type(value) in kinds):
            return False
    return True


def _dicts(column: JsonColumn) -> JsonColumn:
    """The column, or one that checks its rows as they are read."""
    if type(column) not in (
        JsonColumn,
        ScoresColumn,
    ):  # a format's own, which gives dicts only; or looked at before
        return column
    kind = _Scores if isinstance(column, ScoresColumn) else _Dicts
    struct = column._struct if isinstance(column._struct, Struct) and column._list is None else None
    if struct is not None and (kind is _Dicts or all(map(_is_score, struct.columns.values()))):
        return column
    checking = kind(column._list, struct, column._text, len(column))
    if column._list is None:
        return checking
    checking.values()
    return column


def _is_score(cells: Column) -> bool:
    """Whether cells are scores for certain, by their columns alone."""
    if not isinstance(cells, JsonColumn) or not isinstance(cells._struct, Struct) or cells._list is not None:
        return False
    return all(_SCORE.get(key) == column.kind for key, column in cells._struct.columns.items())
