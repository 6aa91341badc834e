"""Rows of a Table as cells of SQL, and back.

Rule 1: `decode` of what `encode` gave is the same table, to the last bit.
Rule 2: what SQL cannot say (text with NUL or lone surrogates, NaN, minus zero, whole numbers beyond 64 bits, tags that
        are no JSON, sparse and other odd arrays) stands in `exact`: a packed row of just those fields, which wins.
Rule 3: columns are read and written as columns. There is no Python per number.
Rule 4: what a database gives is not trusted: sizes and forms are checked before numpy sees them.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from struct import Struct, error
from typing import Any, Final, cast

import numpy as np

from docarray import tagged
from docarray.columns import (
    BytesColumn,
    Column,
    JsonColumn,
    NumberColumn,
    RaggedTensors,
    ScoresColumn,
    TextColumn,
    UniformTensors,
    tensor_column,
)
from docarray.errors import CorruptData, FieldTypeError
from docarray.schema import FIELDS, field_named
from docarray.storage.layout import TENSORS, Declared
from docarray.table import DocsColumn, Table
from docarray.tensors import Array, from_numpy
from docarray.values import TableValues

__all__ = [
    "Encoded",
    "TensorForm",
    "cells_of",
    "decode",
    "encode",
    "pack",
    "read_id",
    "read_ids",
    "stored_id",
    "stored_ids",
    "unpack",
]

Cells = list[Any]

_MARK: Final = "\x1a"  # 'substitute': an id that begins with it is the hex of its UTF-8
_SMALL, _LARGE = -(1 << 63), (1 << 63) - 1
_EXACT: Final = 1 << 53  # each whole number up to it is a float
_DEEPEST: Final = 50  # of tags that SQL looks into
_LONGEST: Final = 600  # letters of an indexed text: PostgreSQL has entries of 2 700 bytes


# ---------------------------------------------------------------------------------------------- ids and texts


def stored_id(key: str) -> str:
    """An id as it stands in SQL, where text has neither NUL nor lone surrogates.

    >>> stored_id('a'), read_id(stored_id('a\\0'))
    ('a', 'a\\x00')
    """
    if key.isascii():
        if "\0" not in key and not key.startswith(_MARK):
            return key
    elif _is_clean(key) and not key.startswith(_MARK):
        return key
    return _MARK + key.encode("utf-8", "surrogatepass").hex()


def read_id(stored: str) -> str:
    """The id that stands in SQL like this."""
    if not stored.startswith(_MARK):
        return stored
    try:
        return bytes.fromhex(stored[1:]).decode("utf-8", "surrogatepass")
    except ValueError as problem:
        raise CorruptData(f"an id of the store is damaged: {problem}") from None


def stored_ids(keys: Sequence[str]) -> list[str]:
    """`stored_id` of each."""
    joined = "".join(keys)
    if _MARK not in joined and _is_clean(joined):
        return list(keys)
    return [stored_id(key) for key in keys]


def read_ids(stored: Sequence[str]) -> list[str]:
    """`read_id` of each."""
    return [read_id(key) for key in stored] if _MARK in "".join(stored) else list(stored)


def _is_clean(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unclean(texts: Sequence[str | None]) -> list[int]:
    """The rows whose text SQL cannot say."""
    if _is_clean("".join(filter(None, texts))):
        return []
    return [row for row, text in enumerate(texts) if text and not _is_clean(text)]


# ---------------------------------------------------------------------------------------------- whole tables


_HEAD: Final = Struct("<2sI")
_MAGIC: Final = b"D1"


def pack(table: Table) -> bytes:
    """A table as bytes.

    Raises:
        FieldTypeError: a column holds what cannot be stored.

    >>> unpack(pack(Table({'text': TextColumn(['a'])}, ids=['1']))).columns['text'].values()
    ['a']
    """
    buffers: dict[str, Any] = {}
    form = table.to_buffers(buffers)
    views = [memoryview(buffer).cast("B") for buffer in buffers.values()]
    sizes = [[name, view.nbytes] for name, view in zip(buffers, views, strict=True)]
    head = json.dumps({"form": form, "buffers": sizes}, separators=(",", ":")).encode()
    parts: list[Any] = [_HEAD.pack(_MAGIC, len(head)), head, bytes(-(_HEAD.size + len(head)) % 8)]
    for view in views:
        parts += [view, bytes(-view.nbytes % 8)]
    return b"".join(parts)


def unpack(blob: bytes) -> Table:
    """The table that was packed.

    Raises:
        CorruptData: it is damaged.
    """
    try:
        magic, length = _HEAD.unpack_from(blob)
        start = _HEAD.size + length
        if magic != _MAGIC or start > len(blob):
            raise CorruptData("a packed table is damaged: it does not begin as one")
        head = json.loads(bytes(blob[_HEAD.size : start]))
        start += -start % 8
        view, buffers = memoryview(blob), dict[str, Any]()
        for name, size in head["buffers"]:
            if type(size) is not int or not 0 <= size <= len(view) - start:
                raise CorruptData("a packed table is damaged: a buffer reaches beyond its end")
            buffers[name] = view[start : start + size]
            start += size + -size % 8
        form = head["form"]
    except (error, ValueError, KeyError, TypeError, RecursionError) as problem:
        if isinstance(problem, CorruptData):
            raise
        raise CorruptData(f"a packed table is damaged: {problem!r:.120}") from None
    return Table.from_buffers(form, buffers)


# ---------------------------------------------------------------------------------------------- encoding


@dataclass(frozen=True, slots=True)
class TensorForm:
    """What the bytes of an array are."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    framework: str

    nbytes: int = field(init=False, compare=False)
    """How many bytes it has."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nbytes", self.dtype.itemsize * math.prod(self.shape))

    def to_json(self) -> str:
        """The same as text; of equal forms the same text."""
        said = {"dtype": self.dtype.str, "shape": list(self.shape), "framework": self.framework}
        return json.dumps(said, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> TensorForm:
        """The form that was written.

        Raises:
            CorruptData: it is none.
        """
        try:
            said = json.loads(text)
            dtype, shape, framework = tagged.flat_dtype(said["dtype"]), said["shape"], said["framework"]
            whole = isinstance(shape, list) and all(
                type(side) is int and side >= 0 for side in cast("list[Any]", shape)
            )
            if not whole or dtype.kind not in "biufc" or not isinstance(framework, str):
                raise ValueError("it says no shape, or no numbers")
        except (ValueError, KeyError, TypeError) as problem:
            raise CorruptData(f"the form of a tensor is damaged: {problem} in {text!r:.80}") from None
        return cls(dtype, tuple(cast("list[int]", shape)), framework)

    def rows(self, blobs: Sequence[bytes]) -> Array:
        """Arrays of this form, one after the other: (n, *shape), writeable.

        Raises:
            CorruptData: one is of another size.
        """
        size = self.nbytes
        if len(blobs) == 1 and len(blobs[0]) == size and self.dtype.kind != "b":
            return np.frombuffer(bytearray(blobs[0]), self.dtype).reshape((1, *self.shape))
        if blobs and set(map(len, blobs)) != {size}:
            raise CorruptData(f"the bytes of a tensor of {self.dtype} {self.shape} are not {size}")
        raw = bytearray().join(blobs)
        if self.dtype.kind == "b" and raw and max(raw) > 1:
            raise CorruptData("truth values are bytes other than 0 and 1: the bytes are damaged")
        return np.frombuffer(raw, self.dtype).reshape((len(blobs), *self.shape))


@dataclass(slots=True)
class Encoded:
    """Rows as cells, by the names of SQL columns, and the fields of each row that `exact` has to say."""

    cells: dict[str, Sequence[Any]]
    odd: dict[int, set[str]]
    _table: Table

    def exact(self, row: int, known: bytes | None = None) -> bytes | None:
        """What `exact` of a row becomes: the fields that were not written stay as they are known.

        Raises:
            FieldTypeError: the row holds what cannot be stored; the message names the document.
        """
        table, fields = self._table, self.odd.get(row, ())
        key = table.id_column.value(row)
        columns: dict[str, Column] = {}
        if known is not None:
            columns = {n: c for n, c in unpack(known).columns.items() if n not in table.columns}
        columns |= {
            name: table.columns[name].slice(row, row + 1)
            for name in FIELDS
            if name in fields and name != "id"
        }
        if not columns and stored_id(key) == key:
            return None
        try:
            return pack(Table(columns, 1, [key]))
        except FieldTypeError as problem:
            raise FieldTypeError(f"document {key!r}: {problem}. Nothing was written") from None


def encode(
    table: Table, ids: list[str], declared: Sequence[Declared], intern: Callable[[TensorForm], int | None]
) -> Encoded:
    """The cells of a table.

    Args:
        table: columns of fields.
        ids: of the table.
        declared: the declared columns of the store.
        intern: gives a form its number, or None where there is no room for one more.

    Raises:
        UnknownField: a column is no field. FieldTypeError: a column is of another kind than its field.
    """
    encoded = Encoded({}, {}, table)
    for name, column in table.columns.items():
        kind = field_named(name).kind
        if column.kind != kind and not (kind == "number" and column.kind in ("json", "bool")):
            raise FieldTypeError(f"field {name!r} holds {kind}; the column given holds {column.kind}")
        if len(ids) == 1 and _is_unset(column):  # as most fields are of one document that replaces another
            encoded.cells[name] = [None]
            if kind == "tensor":
                encoded.cells[name + "_form"] = [None]
            continue
        if kind == "tensor":
            cells, forms, odd = _tensor_cells(column, intern)
            encoded.cells[name], encoded.cells[name + "_form"] = cells, forms
        else:
            encoded.cells[name], odd = _ENCODERS[kind](name, column)
        for row in odd:
            encoded.odd.setdefault(row, set()).add(name)
    for key in _odd_ids(ids):
        encoded.odd.setdefault(key, set()).add("id")
    for one in declared:
        root = str(one.path[0])
        if root in table.columns:
            cells, odd = _declared_cells(one, table)
            encoded.cells[one.column.name] = cells
            for row in odd:
                encoded.odd.setdefault(row, set()).add(root)
    return encoded


def _is_unset(column: Column) -> bool:
    """Whether a column of one row has nothing in it."""
    if isinstance(column, DocsColumn):
        return bool(column.offsets[0] == column.offsets[-1])
    return column.value(0) is None


def _odd_ids(ids: list[str]) -> list[int]:
    joined = "".join(ids)
    if _MARK not in joined and _is_clean(joined):
        return []
    return [row for row, key in enumerate(ids) if stored_id(key) != key]


def _text_cells(name: str, column: Column) -> tuple[Cells, list[int]]:
    del name
    cells = column.values()
    odd = _unclean(cells)
    for row in odd:
        cells[row] = None
    return cells, odd


def _bytes_cells(name: str, column: Column) -> tuple[Cells, list[int]]:
    del name
    return [None if cell is None else bytes(cell) for cell in column.values()], []


def _number_cells(name: str, column: Column) -> tuple[Cells, list[int]]:
    cells = column.values()
    says = _is_whole if name in ("granularity", "adjacency") else _is_float
    odd = [row for row, cell in enumerate(cells) if cell is not None and not says(cell)]
    for row in odd:
        cells[row] = None
    return cells, odd


def _is_whole(value: Any) -> bool:
    return type(value) is int and _SMALL <= value <= _LARGE


def _is_float(value: Any) -> bool:
    """Whether a database keeps the float: of NaN and minus zero SQLite makes others, MySQL takes no infinity."""
    return type(value) is float and math.isfinite(value) and (value != 0 or math.copysign(1, value) > 0)


def _docs_cells(name: str, column: Column) -> tuple[Cells, list[int]]:
    del name
    docs = cast("DocsColumn", column)
    filled = cast("Array", docs.present).tolist()
    return [pack(docs.value(row)) if filled[row] else None for row in range(len(docs))], []


# --- JSON


_quoted: Final = json.encoder.encode_basestring
_ATOM_TEXT: Final[Mapping[type, Callable[[Any], str]]] = {
    str: _quoted,
    int: int.__repr__,
    float: float.__repr__,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}


def _json_cells(name: str, column: Column) -> tuple[Cells, list[int]]:
    del name
    values = column.values()
    cells = _flat_json(values)
    if cells is None:
        cells = [None if value is None else _json_text(value) for value in values]
    joined = "".join(filter(None, cells))
    # NUL is JSON, but nothing that a database could give as text.
    if "\\u0000" in joined or not _is_clean(joined):
        cells = [None if text is None or _is_shunned(text) else text for text in cells]
    if cells.count(None) == len(cells) - len(values) + values.count(None):
        return cells, []
    return cells, [
        row
        for row, (value, text) in enumerate(zip(values, cells, strict=True))
        if value is not None and text is None
    ]


def _is_shunned(text: str) -> bool:
    return "\\u0000" in text or not _is_clean(text)


def _json_text(value: Any) -> str | None:
    """Plain JSON as text; None where JSON, or a database, could not say all of it."""
    return _said(value) if _is_plain(value, 0) else None


def _said(value: Any) -> str:
    """A plain value as JSON: as json.dumps, which takes as long again to find out that it is plain."""
    kind = cast("Any", type(value))
    if kind is dict:
        pairs = cast("dict[str, Any]", value).items()
        return "{" + ",".join([f"{_quoted(key)}:{_said(item)}" for key, item in pairs]) + "}"
    if kind is list:
        return "[" + ",".join([_said(item) for item in value]) + "]"
    return _ATOM_TEXT[kind](value)


def _is_plain(value: Any, depth: int) -> bool:
    kind = cast("Any", type(value))
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return _SMALL <= value <= _LARGE
    if kind is float:
        return math.isfinite(value)
    if depth > _DEEPEST:
        return False
    if kind is list:
        return all(_is_plain(item, depth + 1) for item in value)
    if kind is dict:
        keys = cast("dict[Any, Any]", value)
        return (
            tagged.MARK not in keys
            and all(type(key) is str for key in keys)
            and all(_is_plain(item, depth + 1) for item in keys.values())
        )
    return False


def _flat_json(values: list[Any]) -> list[str | None] | None:
    """The text of dicts that all have the same keys and hold no others, key by key; None for the rest."""
    if len(values) < 4 or type(values[0]) is not dict:
        return None
    keys = tuple(cast("dict[Any, Any]", values[0]))
    if not keys or tagged.MARK in keys or set(map(type, keys)) != {str} or set(map(type, values)) != {dict}:
        return None
    if any(tuple(value) != keys for value in values):
        return None
    texts: list[list[str]] = []
    for key in keys:
        cells = list(map(itemgetter(key), values))
        kinds = set(map(type, cells))
        if not kinds <= _ATOM_TEXT.keys():
            return None
        if int in kinds or float in kinds:
            numbers = cells if kinds <= {int, float} else [c for c in cells if type(c) in (int, float)]
            if int in kinds and not _SMALL <= min(numbers) <= max(numbers) <= _LARGE:
                return None
            if float in kinds and not all(map(math.isfinite, numbers)):
                return None
        if len(kinds) == 1:
            texts.append(list(map(_ATOM_TEXT[kinds.pop()], cells)))
        else:
            texts.append([_ATOM_TEXT[type(cell)](cell) for cell in cells])
    form = "{" + ",".join(_quoted(key).replace("%", "%%") + ":%s" for key in keys) + "}"
    return [form % row for row in zip(*texts, strict=True)]


# --- arrays


def _tensor_cells(
    column: Column, intern: Callable[[TensorForm], int | None]
) -> tuple[Cells, Cells, list[int]]:
    count = len(column)
    if isinstance(column, UniformTensors):
        present = column.present
        form = TensorForm(column.data.dtype, column.data.shape[1:], column.framework)
        number = intern(form)
        if number is not None:
            raw, size = column.data.tobytes(), form.nbytes
            cells: Cells = (
                [raw[start : start + size] for start in range(0, count * size, size)]
                if size
                else ([b""] * count)
            )
            forms: Cells = [number] * count
            if present is not None:
                for row in np.flatnonzero(~present).tolist():
                    cells[row] = forms[row] = None
            return cells, forms, []
    cells, forms, odd = [None] * count, [None] * count, list[int]()
    for row, value in enumerate(column.values()):
        if value is None:
            continue
        told = _array_cell(value)
        number = None if told is None else intern(told[0])
        if told is None or number is None:
            odd.append(row)
        else:
            forms[row], cells[row] = number, told[1]
    return cells, forms, odd


def _array_cell(value: Any) -> tuple[TensorForm, bytes] | None:
    """The form and the bytes of an array of numbers; None for another."""
    column = tensor_column([value])
    if not isinstance(column, UniformTensors):
        return None
    data = column.data
    return TensorForm(data.dtype, data.shape[1:], column.framework), data.tobytes()


# --- declared columns


def _declared_cells(one: Declared, table: Table) -> tuple[Cells, list[int]]:
    found: Any = TableValues(table)(one.path, None)
    values = cast("Cells", found if isinstance(found, list) else found.to_list())
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if one.kind == "bool" and kinds <= {bool}:
        return [None if value is None else int(value) for value in values], []
    fits = _FITS[one.kind]
    odd = [row for row, value in enumerate(values) if value is not None and not fits(value)]
    cells = [None] * len(values) if not kinds else list(values)
    for row in odd:
        cells[row] = None
    if one.kind != "str":
        turn = float if one.kind == "float" else int
        cells = [None if cell is None else turn(cell) for cell in cells]
    return cells, odd


def _fits_int(value: Any) -> bool:
    return _is_whole(value) or (type(value) is float and abs(value) <= _EXACT and value == int(value))


def _fits_float(value: Any) -> bool:
    if type(value) is int:
        return abs(value) <= _EXACT
    return type(value) is float and math.isfinite(value)


def _fits_text(value: Any) -> bool:
    return type(value) is str and len(value) <= _LONGEST and _is_clean(value)


_FITS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "int": _fits_int,
    "float": _fits_float,
    "str": _fits_text,
    "bool": lambda value: type(value) is bool,
}

_ENCODERS: Final[Mapping[str, Callable[[str, Column], tuple[Cells, list[int]]]]] = {
    "text": _text_cells,
    "bytes": _bytes_cells,
    "number": _number_cells,
    "json": _json_cells,
    "scores": _json_cells,
    "docs": _docs_cells,
}


# ---------------------------------------------------------------------------------------------- decoding


def cells_of(fields: Sequence[str]) -> list[str]:
    """The names of the SQL columns that say these fields."""
    return [cell for name in fields for cell in ((name, name + "_form") if name in TENSORS else (name,))]


def decode(
    ids: list[str],
    fields: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    exact: int,
    form_of: Callable[[int], TensorForm],
) -> Table:
    """The table that rows of cells say.

    Args:
        ids: of the rows, as documents have them.
        fields: which columns to make; those that no row uses are left out.
        rows: one at least: at `exact` that of the row, and behind it the cells that `cells_of` names.
        exact: where `exact` stands.
        form_of: the form of a number.

    Raises:
        CorruptData: they do not say a table.
    """
    count, plan, columns = len(rows), _plan(fields), dict[str, Column]()
    cells: Sequence[Sequence[Any]]
    if count == 1:
        (row,) = rows
        used = [i for i, cell in enumerate(row) if cell is not None and i >= exact]
        cells = [(cell,) for cell in row]
    else:
        cells = list(zip(*rows, strict=True))
        used = [i for i in range(exact, len(cells)) if cells[i].count(None) != count]
    if used and used[0] == exact:
        return _decode_odd(ids, fields, cells, exact, form_of)
    for i in used:
        name, kind = plan[i - exact - 1]
        if kind == "tensor":
            columns[name] = _tensors_of(cells[i], cells[i + 1], {}, form_of)
        elif kind == "docs":
            columns[name] = _docs_of(cells[i])
        elif kind is not None:
            columns[name] = _DECODERS[kind](list(cells[i]))
    return Table(columns, count, ids)


@functools.lru_cache(maxsize=256)
def _plan(fields: tuple[str, ...]) -> list[tuple[str, str | None]]:
    """The field that a cell begins, and its kind; None where it goes on."""
    return [(cell, FIELDS[cell].kind if cell in FIELDS else None) for cell in cells_of(fields)]


def _decode_odd(
    ids: list[str],
    fields: tuple[str, ...],
    cells: Sequence[Sequence[Any]],
    exact: int,
    form_of: Callable[[int], TensorForm],
) -> Table:
    """The same where `exact` of some rows says what their cells cannot."""
    odd = {row: unpack(blob) for row, blob in enumerate(cells[exact]) if blob is not None}
    count, columns = len(ids), dict[str, Column]()
    for i, (name, kind) in enumerate(_plan(fields), exact + 1):
        told = {row: table.columns[name] for row, table in odd.items() if name in table.columns}
        if kind is None or (not told and cells[i].count(None) == count):
            continue
        if kind == "tensor":
            columns[name] = _tensors_of(cells[i], cells[i + 1], told, form_of)
        elif kind == "docs":
            columns[name] = _docs_of(cells[i])
        else:
            values = list(cells[i])
            for row, column in told.items():
                value = column.value(0)
                values[row] = tagged.dumps(value) if kind in ("json", "scores") else value
            columns[name] = _DECODERS[kind](values)
    return Table(columns, count, ids)


def _json_of(values: Cells) -> Column:
    return JsonColumn(None, text=TextColumn(values), length=len(values))


def _scores_of(values: Cells) -> Column:
    return ScoresColumn(None, text=TextColumn(values), length=len(values))


_DECODERS: Final[Mapping[str, Callable[[Cells], Column]]] = {
    "text": TextColumn,
    "bytes": BytesColumn,
    "number": NumberColumn.of,
    "json": _json_of,
    "scores": _scores_of,
}


def _tensors_of(
    blobs: Sequence[Any],
    numbers: Sequence[Any],
    told: Mapping[int, Column],
    form_of: Callable[[int], TensorForm],
) -> Column:
    count = len(blobs)
    kinds = set(numbers)
    gaps = None in kinds
    kinds.discard(None)
    if not told and len(kinds) == 1:
        form = form_of(kinds.pop())
        if not gaps:
            return UniformTensors(form.rows(blobs), None, form.framework)
        present = np.array([number is not None for number in numbers], np.bool_)
        if 2 * int(np.count_nonzero(present)) >= count:  # else the zeros would outweigh the arrays
            zeros = bytes(form.nbytes)
            filled = [zeros if number is None else blob for blob, number in zip(blobs, numbers, strict=True)]
            return UniformTensors(form.rows(filled), present, form.framework)
    values: Cells = [None] * count
    for row, (blob, number) in enumerate(zip(blobs, numbers, strict=True)):
        if number is not None:
            form = form_of(number)
            values[row] = from_numpy(form.rows([blob])[0, ...], form.framework)
    for row, column in told.items():
        values[row] = column.value(0)
    return RaggedTensors(values)


def _docs_of(blobs: Sequence[Any]) -> Column:
    tables = [None if blob is None else unpack(blob) for blob in blobs]
    counts = [0 if table is None else len(table) for table in tables]
    offsets = np.zeros(len(blobs) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return DocsColumn(offsets, Table.concat([table for table in tables if table is not None]))
