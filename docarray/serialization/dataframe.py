"""Tables to frames of pandas and back.

Rule 1: a frame has a column for each field that some document uses, in the canonical order; a cell that is missing is
        what pandas has for it: NaN in text, <NA> in numbers, None in columns of objects.
Rule 2: numbers with gaps, or with NaN among them, are of the nullable dtypes: an int stays an int, and a NaN is not
        a gap.
Rule 3: what pandas calls missing (NaN, NaT, <NA>, None) is unset, in every column that is read, save NaN in a column
        of the nullable dtypes. The index means nothing.
Rule 4: works with pandas 2 and 3, with pyarrow and without.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final, cast

import numpy as np

from docarray import tagged
from docarray.columns import Column, JsonColumn, NumberColumn, column_of
from docarray.errors import FieldTypeError, FormatError
from docarray.ids import new_ids
from docarray.records import records_of, table_of
from docarray.registry import require
from docarray.schema import FIELDS
from docarray.serialization.arrow import from_arrow
from docarray.table import DocsColumn, Table
from docarray.tensors import Array, framework

__all__ = ["from_dataframe", "to_dataframe"]

_WHOLE: Final = frozenset({"granularity", "adjacency"})


def to_dataframe(table: Table, *, all_fields: bool = False, **options: Any) -> Any:
    """The table as a pandas.DataFrame, a row for each document.

    Text is text, a blob bytes, numbers are numbers; an embedding or tensor is an array in a cell, a view of the
    matrix where there is one; tags and scores are dicts; chunks and matches lists of dicts with the fields that are
    set, nested ones in them.

    Args:
        all_fields: a column for every field, also those that no document uses, which are then all None. DocArray
            0.21 gave these; without it they are left out.
        options: go to `pandas.DataFrame`; `index`, say.

    Raises:
        CorruptData: the table was opened from a file that is damaged there. MissingExtra: pandas is not installed.

    Costs about a microsecond a document and 0.1 a value; matrices are not copied.

    >>> from docarray.columns import column_of
    >>> frame = to_dataframe(Table({'text': column_of('text', ['a', None])}, ids=['1', '2']))
    >>> list(frame), len(frame)
    (['id', 'text'], 2)
    """
    pandas = require("pandas", "a DataFrame", "docarray[pandas]")
    names = ["id", *(name for name in FIELDS if name != "id" and (all_fields or name in table.columns))]
    names += [name for name in table.columns if name not in FIELDS]
    series: dict[str, Any] = {}
    index = pandas.RangeIndex(len(table))
    for name in names:
        column: Column | None = table.id_column if name == "id" else table.columns.get(name)
        cells = [None] * len(table) if column is None else _cells(pandas, column)
        try:
            series[name] = pandas.Series(cells, index=index, dtype=_dtype_of(column), copy=False)
        except UnicodeEncodeError:  # half a letter, which only Python's own str can say
            series[name] = pandas.Series(cells, index=index, dtype=object, copy=False)
    frame = pandas.DataFrame(series, index=index, copy=False)
    return pandas.DataFrame(frame, **options) if options else frame


def _dtype_of(column: Column | None) -> Any:
    """The dtype of a column of pandas; None where that of its cells, or what pandas makes of text, is right."""
    return None if column is not None and column.kind in ("text", "number", "bool") else object


def _cells(pandas: Any, column: Column) -> Any:
    if isinstance(column, NumberColumn):
        return _number_cells(pandas, column)
    values = _nested_cells(column) if isinstance(column, DocsColumn) else column.values()
    if column.kind == "text":
        return values
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells


def _number_cells(pandas: Any, column: NumberColumn) -> Any:
    data, present = column.data, column.present
    if not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    nullable = present is not None and not present.all()
    if data.dtype.kind == "f":
        nullable = nullable or bool(np.isnan(data).any())
        if data.dtype.itemsize not in (4, 8):
            data = data.astype(np.float64)
    if not nullable:
        return data.copy()
    gaps = np.zeros(len(data), bool) if present is None else ~present
    kinds = pandas.arrays
    array = {"f": kinds.FloatingArray, "b": kinds.BooleanArray}.get(data.dtype.kind, kinds.IntegerArray)
    return array(data.copy(), gaps)


def _nested_cells(column: DocsColumn) -> list[Any]:
    offsets = column.checked()
    first = int(offsets[0])
    below = records_of(column.child.slice(first, int(offsets[-1])))
    bounds: list[int] = (offsets - first).tolist()
    return [below[a:b] or None for a, b in pairwise(bounds)]


# ---------------------------------------------------------------------------------------------- from pandas


def from_dataframe(frame: Any) -> Table:
    """The table that is in a frame: its columns by name, each a field; any other becomes a tag.

    Tags keep the type of their column, numpy scalars as Python has them; where the column `tags` has a key of the
    same name, that stays. Without a column `id` ids are drawn.

    Args:
        frame: a pandas.DataFrame, one of DocArray 0.21 among them: `embedding` of lists, `blob` as base64. Or any
            frame that has `__arrow_c_stream__`, of polars for instance, which is read as `from_arrow` says.

    Text in the column `blob` is read as base64, as 0.21 wrote it, and refused if it is none: bytes are bytes only.

    Raises:
        FieldTypeError: it is no frame, or a cell is not what its field takes; the message names column and row.

    Costs about 2 microseconds a document with a text, two tags and an embedding.

    >>> import pandas
    >>> table = from_dataframe(pandas.DataFrame({'text': ['a', None], 'price': [1, 2]}))
    >>> table.columns['text'].values(), table.columns['tags'].values()
    (['a', None], [{'price': 1}, {'price': 2}])
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(frame, pandas.DataFrame):
        if hasattr(frame, "__arrow_c_stream__"):
            return from_arrow(frame)
        raise FieldTypeError(
            f"a DataFrame is wanted, of pandas or with __arrow_c_stream__; got a {type(frame).__name__}"
        )
    labels: list[Any] = [str(label) for label in frame.columns]
    for label in labels:
        if labels.count(label) > 1:
            raise FieldTypeError(f"column {label!r:.80} is there twice")
    n = len(frame)
    series = {label: frame.iloc[:, i] for i, label in enumerate(labels)}
    ids = _ids(pandas, series.pop("id", None))
    columns: dict[str, Column] = {}
    for name in FIELDS:
        if name not in series:
            continue
        column = _column(pandas, name, series.pop(name), n)
        if column is not None:
            columns[name] = column
    tags = _tags(pandas, series, columns.pop("tags", None), n)
    if tags is not None:
        columns["tags"] = tags
    order = {name: at for at, name in enumerate(FIELDS)}
    return Table({name: columns[name] for name in sorted(columns, key=order.__getitem__)}, n, ids)


def _values(pandas: Any, series: Any) -> tuple[list[Any], bool]:
    """The cells as Python has them, None where missing, and whether any is there."""
    dtype: Any = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind == "M":
        return _moments(series.to_numpy())
    values: list[Any] = series.tolist()
    kinds: set[type] = set(map(type, values))
    if kinds <= _NEVER_MISSING:
        return values, bool(values)
    gaps: Array = np.asarray(series.isna().to_numpy(), bool)
    if not _STAMPS.isdisjoint(kind.__name__ for kind in kinds):
        values = [_python(pandas, v) for v in values]
    elif any(issubclass(kind, np.number | np.bool_) for kind in kinds):
        values = [v.item() if isinstance(v, np.number | np.bool_) else v for v in values]
    for row in np.flatnonzero(gaps).tolist():
        values[row] = None
    return values, not gaps.all()


_NEVER_MISSING: Final = frozenset({str, bytes, int, bool, dict, list, np.ndarray})
_STAMPS: Final = frozenset({"Timestamp", "Timedelta"})


def _python(pandas: Any, value: Any) -> Any:
    """A moment of pandas as Python has it; as numpy has it where it is of nanoseconds."""
    if isinstance(value, pandas.Timestamp):
        stamp: Any = value
        return (
            stamp.to_datetime64()
            if stamp.nanosecond and stamp.tz is None
            else stamp.to_pydatetime(warn=False)
        )
    if isinstance(value, pandas.Timedelta):
        span: Any = value
        return span.to_timedelta64() if span.nanoseconds else span.to_pytimedelta()
    return value


def _moments(data: Array) -> tuple[list[Any], bool]:
    gaps = np.isnat(data)
    coarse = data.astype("M8[us]")
    exact = bool((coarse.astype(data.dtype) == data)[~gaps].all())
    values: list[Any] = coarse.tolist() if exact else list(data)
    for row in np.flatnonzero(gaps).tolist():
        values[row] = None
    return values, not gaps.all()


def _ids(pandas: Any, series: Any) -> list[str] | None:
    if series is None:
        return None
    values, _ = _values(pandas, series)
    drawn = iter(new_ids(values.count(None)))
    ids: list[str] = []
    for row, value in enumerate(values):
        if value is None:
            ids.append(next(drawn))
        elif isinstance(value, (str, int)):
            ids.append(str(value))
        else:
            raise _wrong("id", row, "text", value)
    return ids


def _wrong(name: str, row: int, wanted: str, value: object) -> FieldTypeError:
    return FieldTypeError(
        f"column {name!r}, row {row}: {wanted} is wanted; got {type(value).__name__}: {value!r:.80}"
    )


def _column(pandas: Any, name: str, series: Any, n: int) -> Column | None:
    kind = FIELDS[name].kind
    dtype: Any = series.dtype
    if kind == "number" and isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        return _numbers(name, series)
    if kind == "number" and hasattr(series.array, "_mask") and dtype.kind in "iuf":
        return _nullable_numbers(pandas, name, series)
    values, some = _values(pandas, series)
    if not some:
        return None
    if kind == "docs":
        return _docs(name, values)
    exact = _EXACT.get(kind)
    if exact is None or not set(map(type, values)) <= exact:
        settle = _SETTLERS[kind]
        for row, value in enumerate(values):
            if value is not None:
                values[row] = settle(name, row, value)
    if kind == "number" and name in _WHOLE:
        values = [None if v is None else _whole(name, row, v) for row, v in enumerate(values)]
    return column_of(kind, values)


def _numbers(name: str, series: Any) -> Column | None:
    data: Array = series.to_numpy().copy()
    if data.dtype.kind != "f":
        return NumberColumn(data) if len(data) else None
    gaps = np.isnan(data)
    if gaps.all():
        return None
    return _rounded(name, data, ~gaps if gaps.any() else None)


def _nullable_numbers(pandas: Any, name: str, series: Any) -> Column | None:
    """Numbers of a nullable dtype, whose mask alone says what is missing."""
    del pandas
    gaps = np.asarray(series.array._mask, bool)
    if gaps.all():
        return None
    data: Array = np.array(series.array._data)
    return _rounded(name, data, ~gaps if gaps.any() else None)


def _rounded(name: str, data: Array, present: Array | None) -> Column:
    """A column of numbers; of whole ones where the field holds whole ones, which pandas makes floats of for gaps."""
    if name in _WHOLE and data.dtype.kind == "f":
        held = data if present is None else np.where(present, data, 0)
        odd = ~(np.isfinite(held) & (held == np.floor(held)) & (abs(held) < 1 << 53))
        if odd.any():
            row = int(odd.argmax())
            raise _wrong(name, row, "a whole number", held[row].item())
        data = held.astype(np.int64)
    return NumberColumn(data, present)


def _whole(name: str, row: int, value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise _wrong(name, row, "a whole number", value)
    return int(value)


def _text(name: str, row: int, value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    raise _wrong(name, row, "text", value)


def _blob(name: str, row: int, value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", value))
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _wrong(name, row, "bytes, or text that is base64,", value) from None
    raise _wrong(name, row, "bytes", value)


def _number(name: str, row: int, value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _wrong(name, row, "a number", value) from None


def _tensor(name: str, row: int, value: Any) -> Any:
    if framework(value) is None:
        raise _wrong(name, row, "an array", value)
    if name == "location":
        return np.asarray(value).tolist() if framework(value) != "list" else list(value)
    return value


def _dict(name: str, row: int, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = tagged.loads(value)
        except FormatError as error:
            raise _wrong(name, row, f"a dict, or JSON text of one ({error}),", value) from None
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise _wrong(name, row, "a dict", value)


def _scores(name: str, row: int, value: Any) -> dict[str, Any]:
    record = table_of([{"id": f"row {row}", name: _dict(name, row, value)}])
    return record.columns[name].value(0)


_EXACT: Final[Mapping[str, frozenset[type]]] = {
    "text": frozenset({str, type(None)}),
    "bytes": frozenset({bytes, type(None)}),
    "json": frozenset({dict, type(None)}),
    "number": frozenset({int, float, type(None)}),
    "tensor": frozenset({np.ndarray, type(None)}),
}
_SETTLERS: Final[Mapping[str, Callable[[str, int, Any], Any]]] = {
    "text": _text,
    "bytes": _blob,
    "number": _number,
    "tensor": _tensor,
    "json": _dict,
    "scores": _scores,
}


def _docs(name: str, values: list[Any]) -> Column | None:
    """Lists of dicts as nested documents."""
    below: list[Any] = []
    counts: list[int] = []
    for row, value in enumerate(values):
        if value is None:
            counts.append(0)
            continue
        if isinstance(value, np.ndarray):  # lists became arrays on the way through Parquet
            value = value.tolist()
        nested: Any = value
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in nested):
            raise _wrong(name, row, "a list of dicts", nested)
        counts.append(len(nested))
        below += [_record(name, row, doc) for doc in nested]
    if not below:
        return None
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return DocsColumn(offsets, table_of(below))


def _record(name: str, row: int, doc: Mapping[str, Any]) -> dict[str, Any]:
    """A document as a dict of what is set: one of 0.21 has all fields, and base64 for bytes."""
    record: dict[str, Any] = {}
    for key, value in doc.items():
        if value is None or (isinstance(value, float) and value != value and key not in ("weight", "offset")):
            continue
        if key in ("chunks", "matches") and isinstance(value, (list, tuple)):
            record[key] = [_record(name, row, inner) for inner in cast("list[Any]", value)]
        elif key == "blob" and isinstance(value, str):
            record[key] = _blob(f"{name}.{key}", row, value)
        else:
            record[key] = value
    return record


def _tags(pandas: Any, series: Mapping[str, Any], tags: Column | None, n: int) -> Column | None:
    """The columns that are no fields, as tags; the keys of the column `tags` come first, and stay."""
    if not series:
        return tags
    rows: list[Any] = [None] * n
    if tags is not None:  # the frame keeps its own dicts
        rows = [None if row is None else dict(row) for row in tags.values()]
    for label, cells in series.items():
        values, some = _values(pandas, cells)
        if not some:
            continue
        for row, value in enumerate(values):
            if value is not None:
                held = rows[row]
                if held is None:
                    rows[row] = {label: value}
                else:
                    held.setdefault(label, value)
    return JsonColumn(rows) if any(row is not None for row in rows) else None
