"""JSON and NDJSON in the layout of the old library, without its losses.

Rule 1: keys are the fields in their order, then `_metadata`. A value that an old reader knows stands as it expects it:
        blobs in base64, arrays as nested lists, scores as dicts. What such a value cannot say (dtype, framework) stands
        beside it under the key `_arrays`, which old readers ignore; what tags hold beyond JSON is marked (tagged.py).
Rule 2: orjson is used where it is installed, and only for what it says exactly: it writes NaN as null, reads ints of
        more than 64 bits as floats, and knows no lone surrogates. For all that there is the standard library.
Rule 3: what was read is believed when it has been checked. Reading makes values of a closed list of kinds only.
"""

from __future__ import annotations

import base64
import codecs
import functools
import importlib
import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, BinaryIO, ClassVar, Final, Literal, cast

import numpy as np

from docarray import tagged
from docarray.columns import (
    BoolColumn,
    Buffers,
    Column,
    JsonColumn,
    NumberColumn,
    RaggedTensors,
    TextColumn,
    UniformTensors,
    column_of,
    tensor_column,
)
from docarray.errors import (
    BadValue,
    CorruptData,
    FieldTypeError,
    FormatError,
    UnknownField,
    UnknownName,
    near_miss,
)
from docarray.format import Format
from docarray.garbage import gc_paused
from docarray.ids import new_ids
from docarray.records import Record, records_of, table_of
from docarray.schema import FIELDS
from docarray.table import DEEPEST, DocsColumn, Table
from docarray.tensors import Array, framework, from_numpy

__all__ = [
    "JSON",
    "NDJSON",
    "from_dict",
    "from_dicts",
    "joined",
    "json_cells",
    "parsed",
    "table_of_cells",
    "to_dict",
    "to_dicts",
    "values_of_cells",
]

Arrays = Literal["list", "base64"]
Unknown = Literal["error", "tags", "ignore"]

_BESIDE: Final = "_arrays"
_ORDER: Final = (*(name for name in FIELDS if name != "_metadata"), "_metadata")
_SCORE: Final = ("value", "op_name", "description", "ref_id")
_ROWS: Final = 1024
_PIECE: Final = 1 << 18
_BOM: Final = codecs.BOM_UTF8
_NO_MARK: Final = f'"{tagged.MARK}"'.encode()


# ---------------------------------------------------------------------------------------------- documents to dicts


def to_dicts(table: Table, *, exclude_none: bool = False, arrays: Arrays = "list") -> list[dict[str, Any]]:
    """A dict for each row, made of what JSON can say, which shares nothing with the table.

    Args:
        table: documents.
        exclude_none: whether fields that are not set are left out. As in the old library they are None else, all but
            `_metadata`.
        arrays: 'list' writes nested lists, and beside them, under the key `_arrays`, what lists do not say: the dtype
            where numpy would infer another, the framework. 'base64' writes `{dtype, shape, base64}`. What no list
            can say (sparse, complex, dates) is such an object in any case.

    Raises:
        FieldTypeError: a value cannot be said; the message names document and field.

    Costs some 6 us for an embedding of 128 numbers, as Python makes an object of each, and 1 to 2 us for the rest.

    >>> to_dicts(table_of([{'id': 'a', 'text': 'hi', 'embedding': np.ones(2, 'f4')}]), exclude_none=True)
    [{'id': 'a', 'text': 'hi', 'embedding': [1.0, 1.0], '_arrays': {'embedding': {'dtype': '<f4'}}}]
    """
    _one_of("arrays", arrays, ("list", "base64"))
    with gc_paused():
        return _Writer(exclude_none, arrays, native=False).rows(table)


def to_dict(record: Record, *, exclude_none: bool = False, arrays: Arrays = "list") -> dict[str, Any]:
    """One document as a dict; see `to_dicts`.

    Costs some 3 us where it has texts, tags and a short vector, and some 40 more where it is made a table for.
    """
    said = _said_at_once(record, exclude_none) if arrays == "list" else None
    return to_dicts(table_of([record]), exclude_none=exclude_none, arrays=arrays)[0] if said is None else said


_AS_THEY_ARE: Final[Mapping[str, type[Any]]] = {
    **dict.fromkeys(("id", "parent_id", "mime_type", "text", "uri", "modality"), str),
    **dict.fromkeys(("granularity", "adjacency"), int),
}
"""Fields that JSON says as they are, by the type of what they hold."""
_BLANK: Final[Mapping[str, Any]] = dict.fromkeys(_ORDER[:-1])
_Array: Final = np.ndarray


def _said_at_once(record: Record, exclude_none: bool) -> dict[str, Any] | None:
    """What `to_dicts` makes of a record, where no table is needed to know it; None where one is."""
    if "id" not in record:
        return None
    said: dict[str, Any] = {} if exclude_none else {**_BLANK}
    beside: dict[str, Any] = {}
    for name, value in record.items():
        kind = cast("Any", type(value))
        if _AS_THEY_ARE.get(name) is kind:
            if kind is int and not -(1 << 63) <= value < 1 << 63:
                return None
            said[name] = value
        elif name == "tags" and kind is dict:
            try:
                said[name] = _plain(value)
            except (_Odd, RecursionError):
                return None
        elif kind is _Array and name in ("tensor", "embedding"):
            dtype = value.dtype
            if value.ndim == 0 or value.size == 0 or not _is_listable(dtype):
                return None
            said[name] = numbers = value.tolist()
            if dtype.kind == "f" and not (
                math.isfinite(sum(numbers)) if value.ndim == 1 else np.isfinite(value).all()
            ):  # a sum beyond all floats goes the long way, too
                return None
            if dtype.str not in _INFERRED:
                beside[name] = {"dtype": dtype.str}
        else:
            return None
    if beside:
        said[_BESIDE] = beside
    return said


_INFERRED: Final = frozenset({"<f8", "<i8", "|b1"})
"""What numpy makes of numbers of Python, by itself."""


class _Odd(Exception):
    """A value that plain JSON, as orjson writes it, does not say."""


class _Writer:
    """Rows as dicts. With `native` arrays stay arrays, for orjson to write, and `odd` has what it cannot write."""

    def __init__(self, exclude_none: bool, arrays: str, *, native: bool) -> None:
        self._exclude_none = exclude_none
        self._lists = arrays == "list"
        self._native = native
        self.odd: set[int] = set()

    def rows(self, table: Table, depth: int = 0) -> list[dict[str, Any]]:
        if depth > DEEPEST:
            raise BadValue(f"documents are nested more than {DEEPEST} levels deep")
        if not table.columns.keys() <= FIELDS.keys():
            name = next(name for name in table.columns if name not in FIELDS)
            raise UnknownField(f"column {name!r} is no field of a Document. {near_miss(name, FIELDS)}")
        ids = table.ids
        # None for all that is not set, in order; columns lay their values over it.
        base = {} if self._exclude_none else dict.fromkeys(_ORDER[:-1])
        rows: list[dict[str, Any]] = [base.copy() for _ in ids]
        beside: dict[str, list[Any]] = {}
        for name in _ORDER:
            if name == "id":
                values: list[Any] = ids
            elif name not in table.columns:
                continue
            elif FIELDS[name].kind == "tensor" and name != "location":
                values, beside[name] = self._tensors(name, table.columns[name], ids)
            else:
                values = self._cells(name, table.columns[name], ids, depth)
            for row, value in zip(rows, values, strict=True):
                if value is not None:
                    row[name] = value
        self._lay_beside(rows, beside)
        return rows

    def _lay_beside(self, rows: list[dict[str, Any]], beside: dict[str, list[Any]]) -> None:
        """What the lists of arrays do not say."""
        said = {name: specs for name, specs in beside.items() if any(specs)}
        for name, specs in said.items():
            if self._native and len(said) == 1 and all(spec is specs[0] for spec in specs):
                shared = {name: specs[0]}  # it is written and forgotten
                for row in rows:
                    row[_BESIDE] = shared
            else:
                for row, spec in zip(rows, specs, strict=True):
                    if spec:
                        row.setdefault(_BESIDE, {})[name] = spec.copy()

    def _cells(self, name: str, column: Column, ids: list[str], depth: int) -> list[Any]:
        if isinstance(column, DocsColumn):
            return self._nested(column, depth)
        kind = FIELDS[name].kind
        if column.kind != kind and (column.kind, kind) != ("json", "number"):
            raise FieldTypeError(f"column {name!r} is of kind {column.kind!r} where {kind!r} is wanted")
        values = column.values()
        if kind == "bytes":
            return [None if v is None else base64.b64encode(v).decode() for v in values]
        if kind == "text":
            return values
        if kind == "json" and isinstance(column, JsonColumn) and _is_plain(column):
            return [None if value is None else value.copy() for value in values]
        say = self._scored if kind == "scores" else self._said
        row, out = 0, list[Any]()
        try:
            for row, value in enumerate(values):
                out.append(None if value is None else say(value, row))
        except FieldTypeError as error:
            raise FieldTypeError(f"field {name!r} of document {ids[row]!r}: {error}") from None
        return out

    def _said(self, value: Any, row: int) -> Any:
        """Tags, numbers and locations."""
        try:
            return _plain(value)
        except (_Odd, RecursionError):
            self.odd.add(row)
            return _wrapped(value)

    def _scored(self, value: Mapping[str, Mapping[str, Any]], row: int) -> Any:
        said: dict[str, Any] = {}
        for name, score in value.items():
            parts = score if self._exclude_none else {part: score.get(part) for part in _SCORE}
            said[name] = dict(parts)
            number = parts.get("value")
            if isinstance(number, float) and not math.isfinite(number):
                self.odd.add(row)
        return said

    def _nested(self, column: DocsColumn, depth: int) -> list[Any]:
        offsets = column.checked()
        first = int(offsets[0])
        below = _Writer(self._exclude_none, "list" if self._lists else "base64", native=self._native)
        docs = below.rows(column.child.slice(first, int(offsets[-1])), depth + 1)
        bounds: list[int] = (offsets - first).tolist()
        if below.odd:
            self.odd.update(
                row for row, (a, b) in enumerate(pairwise(bounds)) if below.odd & set(range(a, b))
            )
        return [docs[a:b] or None for a, b in pairwise(bounds)]

    # ------------------------------------------------------------------------------------------ arrays

    def _tensors(self, name: str, column: Column, ids: list[str]) -> tuple[list[Any], list[Any]]:
        """Arrays as JSON says them, and for each what stands beside it."""
        if isinstance(column, UniformTensors):
            return self._uniform(column, 0)
        values, specs = list[Any](), list[Any]()
        for row, value in enumerate(column.values()):
            if value is None:
                values.append(None)
                specs.append(None)
                continue
            try:
                (said,), (spec,) = self._single(value, row)
            except FieldTypeError as error:
                raise FieldTypeError(f"field {name!r} of document {ids[row]!r}: {error}") from None
            values.append(said)
            specs.append(spec)
        return values, specs

    def _single(self, value: Any, row: int) -> tuple[list[Any], list[Any]]:
        column = tensor_column([value])
        if isinstance(column, UniformTensors):
            return self._uniform(column, row)
        if framework(value) == "list":
            try:
                return [_plain(value)], [{"framework": "list"}]
            except _Odd:
                self.odd.add(row)
                return [_wrapped(value)], [{"framework": "list"}]
        return [_packed(value)], [None]

    def _uniform(self, column: UniformTensors, first: int) -> tuple[list[Any], list[Any]]:
        """Arrays of one shape and dtype; `first` is the number of their first row."""
        data, used, length = column.data, column.framework, len(column)
        dtype, shape = data.dtype, data.shape[1:]
        if not self._lists or not _is_listable(dtype):
            present = column.present
            everyone = range(length) if present is None else np.flatnonzero(present).tolist()
            said: list[Any] = [None] * length
            for row in everyone:
                said[row] = _in_base64(data[row, ...], used)
            return said, [None] * length
        spec: dict[str, Any] = {}
        if dtype.str not in _INFERRED and used != "list":
            spec["dtype"] = dtype.str
        if 0 in shape and shape != (0,) and used != "list":
            spec["shape"] = list(shape)
        if dtype.kind != "f" and 0 in shape and used != "list":
            spec["dtype"] = dtype.str
        if used != "numpy":
            spec["framework"] = used
        odd: list[int] = []
        packed: list[int] = []
        if dtype.kind == "f":
            flat = data.reshape(length, -1)
            odd = np.flatnonzero(~np.isfinite(flat).all(1)).tolist()
            packed = [row for row in odd if used != "list" and not _is_canonical(flat[row])]
            if dtype.itemsize == 4 and self._native:
                odd += np.flatnonzero((np.abs(flat) == _TWICE_ROUNDED).any(1)).tolist()
        if self._native and data.ndim > 1:
            values: list[Any] = list(np.ascontiguousarray(data, dtype.newbyteorder("=")))
        else:
            values = data.tolist()
        specs: list[Any] = [spec] * length
        self.odd.update(first + row for row in odd)
        for row in packed:
            values[row], specs[row] = _in_base64(data[row, ...], used), None
        present = column.present
        if present is not None:
            for row in np.flatnonzero(~present).tolist():
                values[row] = specs[row] = None
        return values, specs


_TEXT: Final = frozenset({str})
# Of all floats of 32 bits the only one whose shortest decimal, 7.038531e-26, read as a double and then rounded to
# 32 bits, is its neighbour. (All of them were tried.)
_TWICE_ROUNDED: Final = np.uint32(0x15AE43FD).view(np.float32)


def _plain(value: Any) -> Any:
    """A copy of a value that plain JSON says exactly, as orjson writes it.

    Raises:
        _Odd: it does not.
    """
    kind = cast("Any", type(value))
    if kind is dict:
        fields = cast("dict[Any, Any]", value)
        if tagged.MARK in fields or not set(map(type, fields)) <= _TEXT:
            raise _Odd
        copy = fields.copy()
        for key, item in fields.items():
            kind = cast("Any", type(item))
            if kind is str or kind is bool or item is None:
                continue
            if kind is not float or item - item != 0.0:  # written out: most tags end here
                copy[key] = _plain(item)
        return copy
    if kind is str or kind is bool or value is None:
        return value
    if kind is float:
        if value - value == 0.0:  # it is neither NaN nor infinite
            return value
    elif kind is int:
        if -(1 << 63) <= value < 1 << 64:
            return value
    elif kind is list:
        return [_plain(v) for v in cast("list[Any]", value)]
    raise _Odd


def _is_plain(column: JsonColumn) -> bool:
    """Whether `_plain` would find nothing to do in any row: texts, truths and finite numbers below few keys."""
    keyed = column.by_key()
    if keyed is None or tagged.MARK in keyed:
        return False
    for cells in keyed.values():
        if isinstance(cells, (TextColumn, BoolColumn)):
            continue
        if type(cells) is not NumberColumn or (
            cells.data.dtype.kind == "f" and not np.isfinite(cells.data).all()
        ):
            return False
    return True


def _wrapped(value: Any) -> Any:
    """A value as JSON, with marks for what JSON cannot say."""
    return json.loads(tagged.dumps(value))


def _is_listable(dtype: np.dtype[Any]) -> bool:
    """Whether the numbers of a dtype are numbers of Python."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def _is_canonical(row: Array) -> bool:
    """Whether each NaN is the one that the text NaN is read as."""
    bits = np.asarray(row[np.isnan(row)], row.dtype.newbyteorder("="))
    return bits.tobytes() == np.full(len(bits), np.nan, bits.dtype).tobytes()


def _in_base64(array: Any, used: str) -> dict[str, Any]:
    """A dense array as an object with its bytes in base64."""
    said = {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "base64": base64.b64encode(array.tobytes()).decode(),
    }
    return said if used == "numpy" else {**said, "framework": used}


def _packed(value: Any) -> dict[str, Any]:
    """An array of any kind, such as a sparse one, as an object with its parts in base64."""
    buffers: Buffers = {}
    form = RaggedTensors([value]).to_buffers("", buffers)
    ((how, axes, parts),) = form["specs"]
    shapes: list[int] = buffers[".shapes"].tolist()
    data, start, at = memoryview(buffers[".data"]).cast("B"), 0, axes
    packed: list[dict[str, Any]] = []
    for dtype, count in parts:
        shape = shapes[at : at + count]
        stop = start + math.prod(shape) * np.dtype(dtype).itemsize
        packed.append({"dtype": dtype, "shape": shape, "base64": base64.b64encode(data[start:stop]).decode()})
        start, at = stop + -stop % 16, at + count
    if how in _DENSE:
        return packed[0] if how == "numpy" else {**packed[0], "framework": how}
    return {"layout": how, "shape": shapes[:axes], "parts": packed}


_DENSE: Final = ("numpy", "list", "torch", "tensorflow", "paddle", "jax")


# ---------------------------------------------------------------------------------------------- dicts to text


@functools.cache
def _orjson() -> Any:
    """The package orjson, or None."""
    try:
        return importlib.import_module("orjson")
    except ImportError:
        return None


def _listed(value: Any) -> Any:
    """An array of numbers that stands in a dict."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise FieldTypeError(f"a {type(value).__qualname__} is nothing that JSON can say: {value!r:.60}")


_verbatim: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_listed).encode
_ascii: Final = json.JSONEncoder(separators=(",", ":"), default=_listed).encode
_LETTER: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_ABOVE: Final = re.compile("[^\x00-\x7f]+")


def _standard(value: Any) -> bytes:
    """The text that the standard library writes. Lone surrogates are escaped, where that reads back as it was."""
    try:
        text = _verbatim(value)
    except (RecursionError, ValueError) as error:
        raise FieldTypeError(f"a value that is nested too deep, or holds itself: {error}") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Two of them, escaped side by side, would be read as the one letter that they would make.
        return text.encode("utf-8", "surrogatepass") if _LETTER.search(text) else _ascii(value).encode()


def json_cells(table: Table) -> dict[str, list[str]]:
    """The values of each column, and what stands beside arrays (`_arrays`), as JSON text; '' where there is none."""
    writer = _Writer(True, "list", native=True)
    rows = writer.rows(table)
    names = dict.fromkeys(chain.from_iterable(rows))
    cells: dict[str, list[str]] = {}
    for name in names:
        values = [{"": row[name]} if name in row else None for row in rows]
        texts = _texts([{} if v is None else v for v in values], writer.odd)
        cells[name] = [text[4:-1].decode("utf-8", "surrogatepass") for text in texts]
    return cells


def values_of_cells(cells: Sequence[str]) -> Iterator[Any]:
    """The value of each JSON text.

    Raises:
        CorruptData: one is none.
    """
    plain = _orjson() is not None and not _may_have_long_ints(
        "\n".join(cells).encode("utf-8", "surrogatepass")
    )
    for cell in cells:
        yield _parsed(cell.encode("utf-8", "surrogatepass"), "utf-8", plain)


def table_of_cells(rows: list[dict[str, Any]]) -> Table:
    """The table of dicts as `to_dicts` makes them, in which nothing is None, and which nobody else holds."""
    return _Reader("error", marks=True, own=True, full=True).table(rows, 0)


def _texts(rows: list[dict[str, Any]], odd: set[int]) -> list[bytes]:
    """Each row as JSON."""
    fast = _orjson()
    if fast is None:
        return [_standard(row) for row in rows]
    option, dumps = fast.OPT_SERIALIZE_NUMPY, fast.dumps
    if not odd:
        try:
            return [dumps(row, option=option) for row in rows]
        except TypeError:
            pass  # some row is what follows here
    out: list[bytes] = []
    for number, row in enumerate(rows):
        if number in odd:
            out.append(_standard(row))
            continue
        try:
            out.append(dumps(row, option=option))
        except TypeError:  # lone surrogates, more than 254 levels
            out.append(_standard(row))
    return out


@dataclass(frozen=True, slots=True)
class _Style:
    """How text is laid out."""

    indent: int | str | None = None
    ensure_ascii: bool = False
    encoding: str | None = None

    @property
    def is_plain(self) -> bool:
        return self == _Style()

    def applied(self, data: bytes) -> bytes:
        """The text `data`, laid out so."""
        if self.is_plain:
            return data
        text = data.decode("utf-8", "surrogatepass")
        if self.indent is not None:
            text = json.dumps(json.loads(text), indent=self.indent, ensure_ascii=False)
        if self.ensure_ascii:
            text = _escaped(text)
        name = self.encoding or "utf-8"
        try:
            data = text.encode(name, "surrogatepass")
            if _LETTER.search(text) and data.decode(name, "surrogatepass") != text:
                raise FieldTypeError(
                    f"two lone surrogates side by side would be one letter in {name}: write UTF-8"
                )
            return data
        except UnicodeEncodeError:
            return _escaped(text).encode(name)
        except LookupError:
            raise UnknownName(f"no encoding is called {name!r}") from None


def _escaped(text: str) -> str:
    """The text in ASCII: whatever else JSON has stands in strings, where it can be escaped."""
    if text.isascii():
        return text
    if _LETTER.search(text):
        raise FieldTypeError(
            "two lone surrogates side by side would be read as one letter in ASCII: write UTF-8"
        )
    return _ABOVE.sub(lambda found: _ascii(found[0])[1:-1], text)


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise UnknownName(f"{name}={value!r}: {near_miss(value, known)}")


# ---------------------------------------------------------------------------------------------- text to values


def parsed(data: bytes | memoryview, encoding: str | None = None) -> Any:
    """The value of a JSON text: ints of any size, NaN, infinities and lone surrogates are read as they stand.

    Args:
        data: the text, in UTF-8, 16 or 32, with or without a byte order mark.
        encoding: another encoding of it.

    Raises:
        CorruptData: this is no JSON, or nested deeper than Python can follow; the message says where.

    >>> parsed(b'{"a": [1, 2.0, NaN, 18446744073709551616]}')
    {'a': [1, 2.0, nan, 18446744073709551616]}
    """
    raw = bytes(data)
    plain = encoding in (None, "utf-8") and _orjson() is not None and not _may_have_long_ints(raw)
    return _parsed(raw, encoding, plain)


def _parsed(raw: bytes, encoding: str | None, plain: bool) -> Any:
    if plain:
        try:
            return _orjson().loads(raw)
        except ValueError:  # what it cannot read, others may: they also say what is wrong
            pass
    text = _decoded(raw, encoding or json.detect_encoding(raw))
    try:
        return json.loads(text)
    except RecursionError:
        raise CorruptData("this JSON is nested deeper than can be read") from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            raise CorruptData(f"no JSON: {error}. If it is a document a line, name it: 'ndjson'") from None
        raise CorruptData(f"no JSON: {error}") from None


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding, "surrogatepass")
    except LookupError:
        raise UnknownName(f"no encoding is called {encoding!r}") from None
    except UnicodeDecodeError as error:
        raise CorruptData(f"no text in {encoding}: byte {error.start} cannot be read") from None
    return text.removeprefix("\ufeff")


_LONG_INT: Final = re.compile(rb"[-,:\[\s]\d{19}")
_BEFORE_INT: Final = np.zeros(256, np.bool_)
_BEFORE_INT[np.frombuffer(b"-,:[ \t\r\n", np.uint8)] = True


def _may_have_long_ints(raw: bytes) -> bool:
    """Whether 19 digits begin where a number could: orjson would read more than 64 bits as a float, silently."""
    if len(raw) < 200:
        return _LONG_INT.search(b" " + raw) is not None
    everything = np.frombuffer(b" " + raw, np.uint8)
    for start in range(0, len(raw), 1 << 18):
        piece = everything[start : start + (1 << 18) + 20]
        digits = piece - np.uint8(48) < 10
        runs = digits
        for step in (1, 2, 4, 8, 3):  # of 2, 4, 8, 16 and 19 digits
            runs = runs[:-step] & runs[step:]
        at = np.flatnonzero(runs[1:])
        if len(at) and bool(_BEFORE_INT[piece[at]].any()):
            return True
    return False


# ---------------------------------------------------------------------------------------------- dicts to documents


def from_dicts(values: Sequence[Mapping[str, Any]], *, unknown: Unknown = "error") -> Table:
    """The table that `to_dicts` wrote, or that the old library's dicts say. Ids are drawn where they are missing.

    Args:
        values: a dict for each document. `content` is text where it is a str, else a tensor; ids may be ints.
        unknown: what becomes of keys that are no field: 'error', 'tags', or 'ignore', which is what the old library
            did. Nothing is dropped that was not asked to be dropped.

    Raises:
        UnknownField: a key is no field. CorruptData: a value is of another type than its field. Both name the
            document.

    >>> from_dicts([{'id': 'a', 'price': 3}], unknown='tags').columns['tags'].values()
    [{'price': 3}]
    """
    _one_of("unknown", unknown, ("error", "tags", "ignore"))
    for at, value in enumerate(values):
        if not isinstance(value, Mapping):
            raise CorruptData(f"document {at} is a {type(value).__name__}, not a dict: {value!r:.60}")
    return _Reader(unknown, marks=True, own=False).table(values, 0)


def from_dict(value: Mapping[str, Any], *, unknown: Unknown = "error") -> Record:
    """The document that `to_dict` wrote; see `from_dicts`."""
    record = _read_at_once(value)
    return records_of(from_dicts([value], unknown=unknown))[0] if record is None else record


def _read_at_once(value: Mapping[str, Any]) -> Record | None:
    """What `from_dicts` makes of a dict, where no table is needed to know it; None where one is."""
    if type(value) is not dict:
        return None
    fields = cast("dict[Any, Any]", value)
    key = fields.get("id")
    if key is not None and type(key) is not str:
        return None
    record: Record = {"id": new_ids(1)[0] if key is None else key}
    beside: Any = fields.get(_BESIDE) or {}
    if type(beside) is not dict:
        return None
    try:
        for name, item in fields.items():
            if item is None:
                continue
            kind = cast("Any", type(item))
            if _AS_THEY_ARE.get(name) is kind:
                if kind is int and not -(1 << 63) <= item < 1 << 63:
                    return None
                record[name] = item
            elif name == "tags" and kind is dict:
                record[name] = _plain(item)
            elif name in ("tensor", "embedding"):
                vector = _vector(item, cast("Any", beside).get(name))
                if vector is None:
                    return None
                record[name] = vector
            elif name != _BESIDE:
                return None
    except (_Odd, RecursionError, ValueError, TypeError, OverflowError, KeyError):
        return None  # the long way says what is wrong, if anything is
    return record


def _vector(value: Any, spec: Any) -> Array | None:
    """What `_matrix` makes of one list of floats, of 64 bits or, if all of them are finite there, 32."""
    if type(value) is not list or not value or type(cast("Any", value[0])) is not float:
        return None
    numbers = cast("list[float]", value)
    if spec is None:
        return np.frombuffer(array("d", numbers), np.float64)
    if spec != {"dtype": "<f4"}:
        return None
    vector = np.frombuffer(array("f", numbers), "<f4")
    return vector if np.isfinite(vector).all() else None


class _Reader:
    """Dicts to a table. `marks` says whether there may be marks among them, `own` whether nobody else has them."""

    def __init__(self, unknown: str, *, marks: bool, own: bool, full: bool = False) -> None:
        self._unknown = unknown
        self._marks = marks
        self._own = own
        self._full = full  # none of the uppermost dicts holds a None

    def table(self, dicts: Sequence[Mapping[str, Any]], depth: int) -> Table:
        if depth > DEEPEST:
            raise CorruptData(f"documents are nested more than {DEEPEST} levels deep")
        if self._full and depth == 0:
            records = cast("list[dict[str, Any]]", dicts)
        else:
            records = [{key: value for key, value in one.items() if value is not None} for one in dicts]
        used = set[Any]().union(*records)
        ids = self._ids(records)
        if not used <= _KNOWN:
            self._place_unknown(records, ids, used - _KNOWN)
            used = set[Any]().union(*records)
        if "content" in used:
            used |= _place_content(records, ids)
        beside: list[Any] = (
            [r.pop(_BESIDE, None) for r in records] if _BESIDE in used else [None] * len(records)
        )
        columns: dict[str, Column] = {}
        for name in ("tensor", "embedding"):
            if name in used:
                values = [record.pop(name, None) for record in records]
                columns[name] = self._arrays(name, values, beside, ids)
        for name in ("chunks", "matches"):
            if name in used:
                nested = self._nested(name, [record.pop(name, None) for record in records], ids, depth)
                if nested is not None:
                    columns[name] = nested
        for name in used & _CONVERTED.keys():
            convert = getattr(self, _CONVERTED[name])
            for record, key in zip(records, ids, strict=True):
                if name in record:
                    record[name] = _placed(name, key, convert, record[name])
        try:
            flat = table_of(records)
        except (FieldTypeError, UnknownField) as error:  # the latter of scores: fields were looked at
            raise CorruptData(str(error)) from None
        columns.update(flat.columns)
        return Table({name: columns[name] for name in FIELDS if name in columns}, len(records), ids)

    @staticmethod
    def _ids(records: list[dict[str, Any]]) -> list[str]:
        """The ids, drawn where missing. Ints are taken, as they always were."""
        ids: list[Any] = [record.get("id") for record in records]
        if set(map(type, ids)) <= {str}:
            return ids
        for at, (key, record) in enumerate(zip(ids, records, strict=True)):
            if key is None:
                ids[at] = record["id"] = new_ids(1)[0]
            elif type(key) is int:
                ids[at] = record["id"] = str(key)
            elif not isinstance(key, str):
                raise CorruptData(f"document {at}: an id is a str; got {type(key).__name__}: {key!r:.60}")
        return ids

    def _place_unknown(self, records: list[dict[str, Any]], ids: list[str], unknown: set[Any]) -> None:
        for key, record in zip(ids, records, strict=True):
            names = [name for name in record if name in unknown]
            if names and self._unknown == "error":
                raise UnknownField(
                    f"document {key!r}: a Document has no field {names[0]!r:.60}. {near_miss(names[0], FIELDS)} "
                    "Pass unknown='tags' to have it in tags, unknown='ignore' to leave it out"
                )
            more = {name: record.pop(name) for name in names}
            if more and self._unknown == "tags":
                tags = record.get("tags", {})
                if not isinstance(tags, Mapping):
                    raise CorruptData(f"field 'tags' of document {key!r} takes a dict; got {tags!r:.60}")
                record["tags"] = {**tags, **more}

    def _nested(self, name: str, values: list[Any], ids: list[str], depth: int) -> DocsColumn | None:
        below, counts = list[Any](), list[int]()
        for key, value in zip(ids, values, strict=True):
            docs: list[Any] = [] if value is None else value
            if not isinstance(docs, (list, tuple)) or not all(isinstance(doc, Mapping) for doc in docs):
                raise CorruptData(
                    f"field {name!r} of document {key!r} takes a list of documents; got {value!r:.60}"
                )
            counts.append(len(docs))
            below += docs
        if not below:
            return None
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        return DocsColumn(offsets, self.table(below, depth + 1))

    # ------------------------------------------------------------------------------------------ values

    @staticmethod
    def blob(value: Any) -> Any:
        """Bytes of base64."""
        if not isinstance(value, str):
            return value
        return base64.b64decode(value, validate=True)

    def tags(self, value: Any) -> dict[Any, Any]:
        """Tags, with what is marked made."""
        if not isinstance(value, Mapping):
            raise ValueError(f"a dict is wanted; got a {type(value).__name__}: {value!r:.60}")
        if self._own and not self._marks:
            return cast("dict[Any, Any]", value)
        made = _unmarked(value)
        if not isinstance(made, dict):
            raise ValueError(f"a dict is wanted; got a {type(made).__name__}: {made!r:.60}")
        return cast("dict[Any, Any]", made)

    @staticmethod
    def scores(value: Any) -> Any:
        """Scores without what is not set."""
        if not isinstance(value, Mapping):
            return value
        return {
            name: {part: v for part, v in cast("Any", score).items() if v is not None}
            if isinstance(score, Mapping)
            else score
            for name, score in cast("Mapping[str, Any]", value).items()
            if score is not None
        }

    @staticmethod
    def parent(value: Any) -> Any:
        """The id of a parent."""
        return str(value) if type(value) is int else value

    # ------------------------------------------------------------------------------------------ arrays

    def _arrays(self, name: str, values: list[Any], beside: list[Any], ids: list[str]) -> Column:
        specs: list[Any] = []
        for key, spec in zip(ids, beside, strict=True):
            if spec is not None and not isinstance(spec, Mapping):
                raise CorruptData(f"{_BESIDE!r} of document {key!r} is no dict: {spec!r:.60}")
            specs.append(None if spec is None else cast("Any", spec).get(name))
        first = specs[0] if specs else None
        if all(spec == first for spec in specs):
            data = _placed(name, ids[0], _matrix, values, first)
            if data is not None:
                used = "numpy" if first is None else cast("str", first.get("framework", "numpy"))
                return UniformTensors(data, None, used)
        made: list[Any] = []
        for key, value, spec in zip(ids, values, specs, strict=True):
            made.append(None if value is None else _placed(name, key, self._array, value, spec))
        return column_of("tensor", made)

    def _array(self, value: Any, spec: Any) -> Any:
        """One array from a list, a number, an object, or an array that is one already."""
        if isinstance(value, Mapping) and tagged.MARK not in value:
            return _unpacked(cast("Mapping[str, Any]", value))
        spec = _checked_spec(spec)
        used: str = spec.get("framework", "numpy")
        if isinstance(value, Mapping):
            if used != "list":
                raise ValueError("a marked value is no array of numbers")
            return _unmarked(value)
        if not isinstance(value, (list, tuple, bool, int, float)):
            if isinstance(value, str) or framework(value) is None:
                raise ValueError(f"an array is wanted; got a {type(value).__name__}: {value!r:.60}")
            return value
        if used == "list":
            return _unmarked(value)
        nested: Any = list(cast("Any", value)) if isinstance(value, tuple) else cast("Any", value)
        shape, flat = _flattened(nested)
        data = None if flat is None else _numbers(flat, spec.get("dtype"))
        if data is None:
            if spec:
                raise ValueError("its items are not numbers of the dtype and shape that it announces")
            return _unmarked(nested)  # of text, or not rectangular: a list is what it is
        data = data.reshape(spec.get("shape", shape))
        return data if used == "numpy" else from_numpy(data, used)


_CONVERTED: Final = {
    "blob": "blob",
    "tags": "tags",
    "_metadata": "tags",
    "scores": "scores",
    "evaluations": "scores",
    "parent_id": "parent",
}
_KNOWN: Final = frozenset({*FIELDS, _BESIDE, "content"})


def _placed(name: str, key: str, convert: Any, *values: Any) -> Any:
    """What `convert` makes of values, its errors naming document and field."""
    try:
        return convert(*values)
    except (ValueError, TypeError, OverflowError, KeyError, RecursionError) as error:
        raise CorruptData(f"field {name!r} of document {key!r}: {error}") from None


def _place_content(records: list[dict[str, Any]], ids: list[str]) -> set[str]:
    """Puts `content` where it belongs; gives the names of the fields it became."""
    placed: set[str] = set()
    for record, key in zip(records, ids, strict=True):
        if "content" not in record:
            continue
        content = record.pop("content")
        name = "text" if isinstance(content, str) else "blob" if isinstance(content, bytes) else "tensor"
        if record.get(name, content) is not content:
            raise CorruptData(f"document {key!r} has both {name!r} and 'content'")
        record[name] = content
        placed.add(name)
    return placed


def _unmarked(value: Any) -> Any:
    """A copy of a value with what is marked made."""
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        if tagged.MARK in fields:
            return tagged.loads(json.dumps(fields, ensure_ascii=False))
        return {key: _unmarked(v) for key, v in fields.items()}
    if type(value) is list:
        return [_unmarked(v) for v in cast("list[Any]", value)]
    return value


def _checked_spec(spec: Any) -> Mapping[str, Any]:
    """What stands beside a list, if it is what it should be."""
    if spec is None:
        return {}
    if not isinstance(spec, Mapping) or not spec.keys() <= {"dtype", "shape", "framework"}:
        raise ValueError(f"{_BESIDE!r} says {spec!r:.80} of it, which is no description of an array")
    known = cast("Mapping[str, Any]", spec)
    if known.get("framework", "numpy") not in _DENSE:
        raise ValueError(f"an unknown framework {known['framework']!r:.60}")
    if "dtype" in known and not _is_listable(tagged.flat_dtype(known["dtype"])):
        raise ValueError(f"the dtype {known['dtype']!r} is not of numbers that a list can hold")
    if "shape" in known:
        _checked_shape(known["shape"])
    return known


def _checked_shape(shape: Any) -> list[int]:
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in cast("list[Any]", shape)):
        raise ValueError(f"{shape!r:.60} is no shape")
    if len(cast("list[int]", shape)) > 32:
        raise ValueError("an array of more than 32 axes")
    return cast("list[int]", shape)


def _flattened(value: Any) -> tuple[list[int], list[Any] | None]:
    """The shape of a nested list and its items in a row; None for what is not rectangular."""
    if not isinstance(value, list):
        return [], [value]
    level: list[Any] = cast("list[Any]", value)
    shape = [len(level)]
    while level and type(level[0]) is list:
        rows: list[list[Any]] = level
        if set(map(type, level)) != {list} or len(set(map(len, rows))) > 1 or len(shape) == 32:
            return shape, None
        shape.append(len(rows[0]))
        level = list(chain.from_iterable(rows))
    return shape, level


def _numbers(flat: list[Any], dtype: str | None) -> Array | None:
    """Numbers as a 1-D array of the dtype, or of the one that numpy infers; None for what are not all numbers.

    Text is never given to numpy, which would make a table as wide as the longest of it.
    """
    kinds = set(map(type, flat))
    if not kinds <= {bool, int, float}:
        return None
    if dtype is None:
        if kinds == {int} or kinds == {bool, int}:
            return np.array(flat, np.uint64 if max(flat) >= 1 << 63 else np.int64)
        return np.array(flat, np.bool_ if kinds == {bool} else np.float64)
    kind = tagged.flat_dtype(dtype)
    if kind.kind == "b":
        return np.array(flat, np.bool_) if kinds <= {bool} else None
    if kind.kind == "f":
        return _narrowed(np.array(flat, np.float64), kind) if bool not in kinds else None
    if not kinds <= {int}:
        return None
    limits = np.iinfo(kind)
    if flat and not limits.min <= min(flat) <= max(flat) <= limits.max:
        raise ValueError(f"an int that {kind} cannot hold")
    return np.array(flat, kind)


def _narrowed(data: Array, dtype: np.dtype[Any]) -> Array:
    if dtype == data.dtype:
        return data
    with np.errstate(over="ignore"):
        narrow = data.astype(dtype)
    if not np.isfinite(narrow).all() and bool((np.isinf(narrow) & np.isfinite(data)).any()):
        raise ValueError(f"a number that {dtype} cannot hold")
    return narrow


def _matrix(values: list[Any], spec: Any) -> Array | None:
    """Vectors of floats, all of one length, as one matrix: what most arrays are. None for all others."""
    if not values or not all(type(v) is list and v and type(v[0]) is float for v in values):
        return None
    spec = _checked_spec(spec)
    dtype = tagged.flat_dtype(spec.get("dtype", "<f8"))
    if len(set(map(len, values))) > 1 or dtype.kind != "f" or "shape" in spec:
        return None
    if spec.get("framework") == "list":
        return None
    cells = array("d")
    try:
        for row in values:
            cells.fromlist(row)
    except (TypeError, OverflowError):
        return None
    return _narrowed(np.frombuffer(cells, np.float64).reshape(len(values), -1), dtype)


def _unpacked(value: Mapping[str, Any]) -> Any:
    """The array that `_packed` wrote."""
    if "parts" in value:
        return _put_together(value)
    known = {"dtype", "shape", "base64", "framework"}
    if not {"dtype", "shape", "base64"} <= value.keys() <= known:
        raise ValueError(f"an object with the keys {sorted(map(str, value))!r:.80} is no array")
    dtype, shape = tagged.flat_dtype(value["dtype"]), _checked_shape(value["shape"])
    used = value.get("framework", "numpy")
    if used not in _DENSE:
        raise ValueError(f"an unknown framework {used!r:.60}")
    data = base64.b64decode(value["base64"], validate=True)
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes where {shape} of {dtype} were announced")
    if dtype.kind == "b" and max(data, default=0) > 1:
        raise ValueError("truth values are 0 and 1")
    return from_numpy(np.frombuffer(data, dtype).reshape(shape).copy(), used)


def _put_together(value: Mapping[str, Any]) -> Any:
    """An array of several parts, such as a sparse one."""
    parts: Any = value["parts"]
    shapes = list(_checked_shape(value["shape"]))
    axes, kinds, data = len(shapes), list[Any](), b""
    for part in parts:
        shape, raw = _checked_shape(part["shape"]), base64.b64decode(part["base64"], validate=True)
        if len(raw) != math.prod(shape) * tagged.flat_dtype(part["dtype"]).itemsize:
            raise ValueError(f"{len(raw)} bytes where {shape} of {part['dtype']} were announced")
        kinds.append([part["dtype"], len(shape)])
        shapes += shape
        data += raw + bytes(-len(raw) % 16)
    buffers = {
        ".kinds": np.zeros(1, np.int32),
        ".starts": np.zeros(1, np.int64),
        ".dims": np.zeros(1, np.int64),
        ".shapes": np.array(shapes, np.int64),
        ".data": np.frombuffer(data, np.uint8),
    }
    form = {"length": 1, "specs": [[value["layout"], axes, kinds]]}
    return RaggedTensors.from_buffers(form, "", buffers).value(0)


# ---------------------------------------------------------------------------------------------- the formats


class _Json(Format):
    """What the two formats share."""

    _exclude_none: ClassVar[bool]

    def _rows(self, table: Table, exclude_none: bool | None, arrays: str) -> Iterator[list[bytes]]:
        """Each document as JSON, some at a time."""
        leave_out = self._exclude_none if exclude_none is None else exclude_none
        _one_of("arrays", arrays, ("list", "base64"))
        for start in range(0, len(table), _ROWS):
            writer = _Writer(leave_out, arrays, native=True)
            rows = writer.rows(table.slice(start, min(start + _ROWS, len(table))))
            yield _texts(rows, writer.odd)

    def dumps_record(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        record: Record,
        *,
        exclude_none: bool | None = None,
        arrays: Arrays = "list",
        indent: int | str | None = None,
        ensure_ascii: bool = False,
        encoding: str | None = None,
    ) -> bytes:
        """One document as one object; options as of `dumps`."""
        ((text,),) = self._rows(table_of([record]), exclude_none, arrays)
        return _Style(indent, ensure_ascii, encoding).applied(text)


class Json(_Json):
    """Documents as one JSON list, in the layout of the old library; one document as an object.

    What an old reader does not learn: dtypes and frameworks, which stand under the key `_arrays`; arrays that no list
    can say, and values of tags that JSON cannot, which are objects. NaN and infinities are written as the tokens NaN,
    Infinity and -Infinity, as Python and the old library write and read them; a strict reader takes none of them.

    What it cannot say at all: arrays of objects or of fields (refused), the bits of a NaN outside of arrays,
    and in ASCII or UTF-16 two lone surrogates side by side (refused; UTF-8 has them as three bytes each, which strict
    readers of UTF-8 do not take). Of a key that stands twice the last counts.
    """

    name = "json"
    suffixes: tuple[str, ...] = (".json",)
    mime_type = "application/json"
    _exclude_none = False

    def dumps(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        table: Table,
        *,
        exclude_none: bool | None = None,
        arrays: Arrays = "list",
        indent: int | str | None = None,
        ensure_ascii: bool = False,
        encoding: str | None = None,
    ) -> bytes:
        """The documents as a JSON list.

        Args:
            table: the documents.
            exclude_none: whether fields that are not set are left out; by default they are null, as in the old library.
            arrays: 'list', nested lists with what they do not say beside them, or 'base64', which is half as long and
                faster; see `to_dicts`. Floats of 32 bits are the shortest decimal that reads back equal where orjson is
                installed, and longer ones that do so where it is not.
            indent: lays the text out for people, as `json.dumps` does.
            ensure_ascii: whether letters beyond ASCII are escaped.
            encoding: of the text; None is UTF-8.

        Raises:
            FieldTypeError: a value cannot be said; the message names document and field.
        """
        style = _Style(indent, ensure_ascii, encoding)
        rows = list(chain.from_iterable(self._rows(table, exclude_none, arrays)))
        if not rows:
            return style.applied(b"[]")
        rows[0] = b"[" + rows[0]  # so, since to put them around the whole would copy it once more
        rows[-1] += b"]"
        return style.applied(b",".join(rows))

    def loads(self, data: memoryview, *, unknown: Unknown = "error", encoding: str | None = None) -> Table:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The documents of a JSON list, or of one object; ours, the old library's, or anyone's with these keys.

        Args:
            data: the text.
            unknown: what becomes of keys that are no field: 'error', 'tags', or 'ignore', as the old library did.
            encoding: of the text; None finds UTF-8, 16 and 32.

        Raises:
            CorruptData: this is no JSON, or a value is none of its field. UnknownField: a key is no field.
        """
        _one_of("unknown", unknown, ("error", "tags", "ignore"))
        raw = bytes(data)
        with gc_paused():
            if len(raw) > _LONG and encoding in (None, "utf-8"):
                tables = _tables_in_pieces(raw, unknown)
                if tables is not None:
                    return joined(tables)
            values = parsed(raw, encoding)
            if isinstance(values, dict):
                values = [cast("Any", values)]
            if not isinstance(values, list):
                raise CorruptData(f"a JSON list of documents is wanted; got {values!r:.60}")
            return _table_of(cast("list[Any]", values), raw, unknown)

    def write(self, tables: Iterable[Table], stream: BinaryIO, **options: Any) -> None:
        """Writes the documents of all tables as one list; piece by piece, unless `indent` is given."""
        rest = {name: options[name] for name in options if name not in ("exclude_none", "arrays")}
        if rest:
            super().write(tables, stream, **options)
            return
        between = b"["
        for table in tables:
            for rows in self._rows(table, options.get("exclude_none"), options.get("arrays", "list")):
                stream.write(between + b",".join(rows))
                between = b","
        stream.write(b"]" if between == b"," else b"[]")

    def guesses(self, head: bytes) -> bool:
        """Whether this looks like a JSON list."""
        return head.removeprefix(_BOM).lstrip().startswith(b"[")


class NDJson(_Json):
    """A document a line, as JSON; read and written some at a time, in bounded memory.

    Fields that are not set are left out by default. Says what JSON says, and no more.
    """

    name = "ndjson"
    suffixes: tuple[str, ...] = (".ndjson", ".jsonl", ".jsonlines", ".jl", ".ldjson")
    mime_type = "application/x-ndjson"
    _exclude_none = True

    def dumps(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        table: Table,
        *,
        exclude_none: bool | None = None,
        arrays: Arrays = "list",
        ensure_ascii: bool = False,
        encoding: str | None = None,
    ) -> bytes:
        """The documents, each on a line; options as of JSON. Fields that are not set are left out unless asked for."""
        style = _Style(None, ensure_ascii, encoding)
        return style.applied(b"".join(map(_lines, self._rows(table, exclude_none, arrays))))

    def loads(self, data: memoryview, *, unknown: Unknown = "error", encoding: str | None = None) -> Table:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The documents of all lines; see `read`."""
        raw = bytes(data)
        pieces = (raw[start : start + _PIECE] for start in range(0, len(raw), _PIECE))
        return joined(list(self._tables(_recoded(pieces, encoding), unknown)))

    def write(self, tables: Iterable[Table], stream: BinaryIO, **options: Any) -> None:
        """Writes the documents of all tables, one after the other."""
        if options.get("encoding") is not None:  # of which some begin with a mark, once
            super().write(tables, stream, **options)
            return
        for table in tables:
            for start in range(0, len(table), _ROWS):
                stream.write(self.dumps(table.slice(start, min(start + _ROWS, len(table))), **options))

    def read(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, stream: BinaryIO, *, unknown: Unknown = "error", encoding: str | None = None
    ) -> Iterator[Table]:
        """Tables of up to 1024 documents. Lines that are blank are skipped.

        Raises:
            CorruptData: a line is no document; the message says which. UnknownField: a key is no field.
        """
        pieces = iter(functools.partial(stream.read, _PIECE), b"")
        yield from self._tables(_recoded(pieces, encoding), unknown)

    @staticmethod
    def _tables(pieces: Iterator[bytes], unknown: Unknown) -> Iterator[Table]:
        _one_of("unknown", unknown, ("error", "tags", "ignore"))
        values, size, marks, first = list[Any](), 0, False, 1
        for number, (line, plain) in enumerate(_split(pieces), 1):
            text = line.strip()
            if not text:
                continue
            try:
                value = _parsed(text, "utf-8", plain)
            except CorruptData as error:
                raise CorruptData(f"line {number}: {error}") from None
            if not isinstance(value, dict):
                raise CorruptData(f"line {number} is no JSON object, as a document is: {value!r:.60}")
            values.append(cast("Any", value))
            size += len(text)
            marks = marks or _NO_MARK in text
            if len(values) == _ROWS or size > 1 << 24:
                yield _table_of_lines(values, marks, unknown, first, number)
                values, size, marks, first = [], 0, False, number + 1
        if values or first == 1:
            yield _table_of_lines(values, marks, unknown, first, -1)

    def loads_record(self, data: memoryview, **options: Any) -> Record:
        """The document of the one line; a text over several lines is read as JSON."""
        raw = bytes(data).strip()
        return JSON.loads_record(memoryview(raw), **options)

    def guesses(self, head: bytes) -> bool:
        """Whether this looks like an object."""
        return head.removeprefix(_BOM).lstrip().startswith(b"{")


def _lines(rows: list[bytes]) -> bytes:
    return b"\n".join([*rows, b""])


def joined(tables: list[Table]) -> Table:
    """The documents of all tables, the columns in the order of the fields."""
    whole = Table.concat(tables)
    columns = {name: whole.columns[name] for name in FIELDS if name in whole.columns}
    return Table(columns, len(whole), whole.id_column)


_LONG: Final = 1 << 20
_BETWEEN: Final = re.compile(rb'\}(, ?)\{"id"')


def _tables_in_pieces(raw: bytes, unknown: Unknown) -> list[Table] | None:
    """The documents of a long list, of which never more than a piece is held as objects of Python.

    The text is cut where a document seems to end. If each piece, in brackets, is a list, then the whole is the list of
    all, for JSON has no context; if one is none (the cut was within a document), the answer is None.
    """
    text = raw.strip()
    if text[:1] != b"[" or text[-1:] != b"]" or _orjson() is None:
        return None
    tables: list[Table] = []
    start, end = 1, len(text) - 1
    while start < end:
        found = _BETWEEN.search(text, min(start + _LONG, end), end)
        stop, after = (found.start() + 1, found.end(1)) if found is not None else (end, end)
        piece = b"[%b]" % text[start:stop]
        try:
            values = _parsed(piece, "utf-8", not _may_have_long_ints(piece))
        except CorruptData:
            return None
        tables.append(_table_of(values, piece, unknown))
        start = after
    return tables


def _table_of(values: list[Any], raw: bytes, unknown: Unknown) -> Table:
    for at, value in enumerate(values):
        if not isinstance(value, dict):
            raise CorruptData(f"document {at} is no JSON object: {value!r:.60}")
    return _Reader(unknown, marks=_NO_MARK in raw, own=True).table(values, 0)


def _table_of_lines(values: list[Any], marks: bool, unknown: Unknown, first: int, last: int) -> Table:
    where = f"lines {first} to {last}" if last >= 0 else f"from line {first} on"
    try:
        return _Reader(unknown, marks=marks, own=True).table(values, 0)
    except (FormatError, UnknownField) as error:
        raise type(error)(f"{where}: {error}") from None


def _recoded(chunks: Iterable[bytes], encoding: str | None) -> Iterator[bytes]:
    """The same text in UTF-8, without its mark."""
    chunks = iter(chunks)
    head = next(chunks, b"")
    name = encoding or json.detect_encoding(head)
    if name in ("utf-8", "utf-8-sig"):
        yield head.removeprefix(_BOM)
        yield from chunks
        return
    try:
        decoder = codecs.getincrementaldecoder(name)("surrogatepass")
    except LookupError:
        raise UnknownName(f"no encoding is called {name!r}") from None
    try:
        for chunk in chain([head], chunks):
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptData(f"no text in {name}: {error.reason}") from None


def _split(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The lines of a text that comes in pieces, and whether orjson can be trusted with each."""
    fast = _orjson() is not None
    begun: list[bytes] = []
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            block = b"".join([*begun, piece[:end]])
            plain = fast and not _may_have_long_ints(block)
            yield from ((line, plain) for line in block.split(b"\n")[:-1])
            begun = []
        begun.append(piece[end:])
    last = b"".join(begun)
    yield last, fast and not _may_have_long_ints(last)


JSON: Final = Json()
NDJSON: Final = NDJson()
