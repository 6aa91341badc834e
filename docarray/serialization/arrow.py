"""Tables to Arrow and back, the two file formats of Arrow, and what goes through it: polars, DuckDB, Hugging Face.

Rule 1: each column is the plainest Arrow type that says it exactly: text is text, a matrix FixedSizeList or tensors
        of a fixed shape, tags a struct, nested documents lists of structs. What no such type says exactly is said
        another way (JSON text, binary, the parts of an array), and the note of its field says so.
Rule 2: a note is JSON in the metadata of a field, under NOTE: the kind of the column, and what the Arrow type does not
        tell. Notes are lost on the way through other tools; a field that is called as one of ours is then taken as
        that, and any other becomes a tag.
Rule 3: matrices, texts and numbers share memory with Arrow, both ways. What comes from Arrow is read-only.
Rule 4: what comes in is validated in full before it is looked at, and what would grow when it is unpacked (codes of a
        dictionary, views, rows without bytes, compressed buffers) is weighed first.
"""

# pyright: reportPrivateUsage=false
# JsonColumn keeps the columns by key that a struct is made of; to make rows of them first would cost 20 times as much.

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import Any, BinaryIO, Final, TypeAlias, cast

import numpy as np

from docarray import tagged
from docarray.columns import (
    BoolColumn,
    Buffers,
    BytesColumn,
    Column,
    JsonColumn,
    NumberColumn,
    RaggedTensors,
    ScoresColumn,
    Struct,
    TextColumn,
    UniformTensors,
    column_from_buffers,
)
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    FormatError,
    MissingExtra,
    ShapeError,
    UnknownName,
    Unsupported,
    UnsupportedFormat,
    near_miss,
)
from docarray.files import mapped
from docarray.format import Format
from docarray.ids import new_ids
from docarray.registry import require
from docarray.schema import FIELDS, KINDS
from docarray.score import Scores
from docarray.table import DocsColumn, Table
from docarray.tensors import Array, from_numpy

__all__ = [
    "ARROW",
    "NOTE",
    "PARQUET",
    "Arrow",
    "Parquet",
    "c_schema",
    "c_stream",
    "from_arrow",
    "huggingface_tables",
    "to_arrow",
]

NOTE: Final = b"docarray"
VERSION: Final = 1
_DEEPEST: Final = 28  # Arrow counts list and struct, and reads no more than 64 levels
_DEEPEST_TAGS: Final = 8
_MOST_SHAPES: Final = 64
_MOST_KEYS: Final = 128
_FRAMEWORKS: Final = ("numpy", "list", "torch", "tensorflow", "paddle", "jax")
_PARTS: Final = ("how", "shape", "data")
_WHOLE: Final = frozenset({"granularity", "adjacency"})

Note: TypeAlias = dict[str, Any]
_Encoded: TypeAlias = "tuple[Any, Note]"  # an Arrow array and the note of its field


def _pyarrow() -> Any:
    return require("pyarrow", "Arrow", "docarray[arrow]")


def to_arrow(table: Table) -> Any:
    """The table as a pyarrow.Table of one chunk, ids first.

    | column | Arrow |
    |---|---|
    | text, bytes, numbers, bools | large_string, large_binary, the number, bool |
    | arrays of one shape | FixedSizeList; with more than one axis `arrow.fixed_shape_tensor` |
    | vectors of several lengths | large_list |
    | other arrays (sparse, complex, of several shapes) | struct of how, shape and data, which only we read |
    | tags, scores | a struct, where its nulls can say all that is missing; else, or part by part, JSON text |
    | chunks, matches | large_list of a struct of the columns of the documents below |

    Matrices, texts and numbers share the memory of the table: who changes a matrix in place changes it in both. Arrays
    of bools, which Arrow packs, are copied.

    Raises:
        Unsupported: documents are nested more than 28 levels deep, or a column has a name that Arrow cannot say.
        FieldTypeError: a column holds what cannot be stored. MissingExtra: pyarrow is not installed.

    >>> table = Table({'text': TextColumn(['a', None])}, ids=['1', '2'])
    >>> to_arrow(table).to_pylist()
    [{'id': '1', 'text': 'a'}, {'id': '2', 'text': None}]
    """
    pa = _pyarrow()
    fields, arrays = _encoded_columns(pa, table, 0)
    schema = pa.schema(fields, metadata={NOTE: json.dumps({"version": VERSION})})
    return pa.Table.from_arrays(arrays, schema=schema)


def from_arrow(source: Any) -> Table:
    """The table that is in Arrow data of any maker.

    Columns called as fields of a Document are taken as those, of whatever type says the same: `embedding` as
    list<double>, `text` as a dictionary, `chunks` as a list of structs. All others become tags, of the type that they
    have; where tags have a key of the same name, theirs stays. Without a column `id` ids are drawn. Nulls are unset.

    Args:
        source: a pyarrow Table, RecordBatch or RecordBatchReader, a datasets.Dataset, or anything with
            `__arrow_c_stream__` or `__arrow_c_array__`, such as a polars DataFrame or a relation of DuckDB.

    Raises:
        FieldTypeError: it is none of these, or a column is of a type that its field cannot take.
        CorruptData: the data is not valid Arrow. UnsupportedFormat: it has types that are not read, or is of a later
            version. MissingExtra: pyarrow is not installed.

    Costs a look at all text; matrices are shared, read-only, where the data comes in one piece.

    >>> import pyarrow
    >>> table = from_arrow(pyarrow.table({'text': ['a', 'b'], 'price': [1, None]}))
    >>> table.columns['tags'].values()
    [{'price': 1}, None]
    """
    pa = _pyarrow()
    with _reading("Arrow data"):
        return _joined(_decoded_batch(pa, schema, arrays, n) for schema, arrays, n in _batches(pa, source))


def c_stream(table: Table, requested_schema: object = None) -> object:
    """The PyCapsule that `__arrow_c_stream__` gives: how polars, DuckDB, pandas and others take a table in.

    Args:
        requested_schema: a PyCapsule of the schema that the consumer would like; followed as far as Arrow can cast.
    """
    return to_arrow(table).__arrow_c_stream__(requested_schema)


def c_schema(table: Table) -> object:
    """The PyCapsule that `__arrow_c_schema__` gives: the types of the columns. Costs as much as `c_stream`."""
    return to_arrow(table).schema.__arrow_c_schema__()


# ---------------------------------------------------------------------------------------------- to Arrow


def _encoded_columns(pa: Any, table: Table, depth: int) -> tuple[list[Any], list[Any]]:
    """Fields and arrays, ids first."""
    if depth > _DEEPEST:
        raise Unsupported(
            f"documents are nested more than {_DEEPEST} levels deep, which Arrow cannot say: "
            "use the native format, to_bytes() or save('x.docarray')"
        )
    gaps = table.id_column.present
    if gaps is not None and not gaps.all():
        raise BadValue(f"row {int(gaps.argmin())} of a table has no id")
    fields: list[Any] = []
    arrays: list[Any] = []
    for name, column in {"id": table.id_column, **table.columns}.items():
        array, note = _encoded(pa, name, column, depth)
        fields.append(_field(pa, name, array, note))
        arrays.append(array)
    return fields, arrays


def _field(pa: Any, name: str, array: Any, note: Note) -> Any:
    if "\0" in name or _has_half_letter(name):
        raise Unsupported(f"Arrow cannot say the name of column {name!r}")
    return pa.field(name, array.type, metadata={NOTE: json.dumps(note)})


def _has_half_letter(text: str) -> bool:
    """Whether a text holds half a letter, which UTF-8 cannot say."""
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def _encoded(pa: Any, name: str, column: Column, depth: int) -> _Encoded:
    if isinstance(column, DocsColumn):
        return _encoded_docs(pa, column, depth)
    if isinstance(column, TextColumn):
        return _encoded_text(pa, column), {"kind": "text"}
    if isinstance(column, BytesColumn):
        return _strings(pa, column, pa.large_binary()), {"kind": "bytes"}
    if isinstance(column, NumberColumn):
        return _encoded_numbers(pa, name, column)
    if isinstance(column, UniformTensors):
        return _encoded_uniform(pa, name, column)
    if isinstance(column, RaggedTensors):
        return _encoded_ragged(pa, name, column)
    if isinstance(column, JsonColumn):
        return _encoded_json(pa, name, column, 0)
    raise Unsupported(f"column {name!r} is of kind {column.kind!r}, which Arrow cannot say")


def _buffer(pa: Any, array: Array) -> Any:
    """An array as a buffer, on the same memory where that is in order and aligned."""
    return pa.py_buffer(np.require(array, requirements=["C", "A"]).reshape(-1).view(np.uint8))


def _bitmap(pa: Any, present: Array | None) -> Any:
    if present is None or present.all():
        return None
    return pa.py_buffer(np.packbits(present, bitorder="little"))


def _strings(pa: Any, column: TextColumn | BytesColumn, kind: Any) -> Any:
    flat: Buffers = {}
    column.to_buffers("", flat)
    buffers = [_bitmap(pa, flat.get(".present")), _buffer(pa, flat[".offsets"]), _buffer(pa, flat[".data"])]
    return pa.Array.from_buffers(kind, len(column), buffers)


def _encoded_text(pa: Any, column: TextColumn) -> Any:
    array = _strings(pa, column, pa.large_string())
    try:
        # Others take it on trust that text is UTF-8: half a letter of Python's, or bytes of a file, may not be.
        array.validate(full=True)
    except pa.ArrowInvalid:
        return _strings(pa, column, pa.large_binary())
    return array


def _encoded_docs(pa: Any, column: DocsColumn, depth: int) -> _Encoded:
    offsets = column.checked()
    first = int(offsets[0])
    fields, arrays = _encoded_columns(pa, column.child.slice(first, int(offsets[-1])), depth + 1)
    rows = pa.Array.from_buffers(pa.struct(fields), int(offsets[-1]) - first, [None], children=arrays)
    kind = pa.large_list(pa.field("item", rows.type, nullable=False))
    buffers = [None, _buffer(pa, offsets - first if first else offsets)]
    return pa.Array.from_buffers(kind, len(column), buffers, children=[rows]), {"kind": "docs"}


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")


def _flat_numbers(pa: Any, data: Array, present: Array | None = None) -> Any:
    """(n,) numbers as an Arrow array of the native byte order."""
    if data.dtype.kind == "b":
        return pa.array(data, mask=None if present is None else ~present)
    data = data.astype(_native(data.dtype), copy=False)
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(data.dtype), len(data), [_bitmap(pa, present), _buffer(pa, data)]
    )


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether Arrow has this dtype, in one byte order at least."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def _order_of(dtype: np.dtype[Any]) -> Note:
    return {} if dtype.isnative else {"dtype": dtype.str}


def _encoded_numbers(pa: Any, name: str, column: NumberColumn) -> _Encoded:
    if not _is_plain(column.data.dtype):
        return _encoded_json_text(pa, name, JsonColumn(column.values()), "json")
    array = _flat_numbers(pa, column.data, column.present)
    return array, {"kind": column.kind, **_order_of(column.data.dtype)}


def _encoded_uniform(pa: Any, name: str, column: UniformTensors) -> _Encoded:
    data, shape = column.data, column.data.shape[1:]
    size = math.prod(shape)
    if not (_is_plain(data.dtype) and shape and 0 < size < 1 << 31):
        return _encoded_parts(pa, name, RaggedTensors(column.values()))
    values = _flat_numbers(pa, data.reshape(-1))
    bitmap = _bitmap(pa, column.present)
    array = pa.Array.from_buffers(pa.list_(values.type, size), len(data), [bitmap], children=[values])
    if len(shape) > 1:
        array = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(values.type, shape), array)
    note = {
        "kind": "tensor",
        "dtype": data.dtype.str,
        "shape": list(shape),
        "framework": column.framework,
    }
    return array, note


def _encoded_ragged(pa: Any, name: str, column: RaggedTensors) -> _Encoded:
    """Vectors of numpy of one plain dtype as lists; anything else as parts."""
    values = column.values()
    kinds = set(map(type, values)) - {type(None)}
    rows = [value for value in values if value is not None]
    if kinds != {np.ndarray} or {row.ndim for row in rows} != {1} or len({row.dtype for row in rows}) != 1:
        return _encoded_parts(pa, name, column)
    dtype = rows[0].dtype
    if not (_is_plain(dtype) and dtype.isnative):
        return _encoded_parts(pa, name, column)
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([0 if value is None else len(value) for value in values], out=offsets[1:])
    flat = _flat_numbers(pa, np.concatenate(rows))
    buffers = [_bitmap(pa, column.present), _buffer(pa, offsets)]
    array = pa.Array.from_buffers(pa.large_list(flat.type), len(values), buffers, children=[flat])
    return array, {"kind": "tensor", "dtype": dtype.str, "framework": "numpy"}


def _encoded_parts(pa: Any, name: str, column: RaggedTensors) -> _Encoded:
    """Any arrays: how each is put together, its sizes, and its bytes."""
    n, flat = len(column), cast("Buffers", {})
    form = column.to_buffers(name, flat)
    kinds, sizes, data = flat[name + ".kinds"], flat[name + ".shapes"], flat[name + ".data"]
    words = [json.dumps(spec) for spec in form["specs"]]
    present = kinds >= 0
    how = _strings(pa, TextColumn([words[k] if k >= 0 else None for k in kinds.tolist()]), pa.large_string())
    bounds = [
        np.append(flat[name + ".dims"], len(sizes)).astype(np.int64),
        np.append(flat[name + ".starts"], len(data)).astype(np.int64),
    ]
    shape = pa.Array.from_buffers(
        pa.large_list(pa.int64()), n, [None, _buffer(pa, bounds[0])], children=[_flat_numbers(pa, sizes)]
    )
    parts = pa.Array.from_buffers(pa.large_binary(), n, [None, _buffer(pa, bounds[1]), _buffer(pa, data)])
    fields = [pa.field(part, a.type) for part, a in zip(_PARTS, (how, shape, parts), strict=True)]
    array = pa.Array.from_buffers(pa.struct(fields), n, [_bitmap(pa, present)], children=[how, shape, parts])
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:  # the parts came from a file, where they may lie as they like
        raise CorruptData(f"column {name!r}: the arrays do not lie one behind the other: {error}") from None
    return array, {"kind": "tensor", "layout": "parts"}


# --- tags and scores


def _encoded_json(pa: Any, name: str, column: JsonColumn, depth: int) -> _Encoded:
    """Dicts as a struct, lists of one plain type as lists, anything else as JSON text."""
    if column._text is None and depth < _DEEPEST_TAGS and len(column):
        shredded = column._shredded()
        if shredded is not None:
            array = _encoded_struct(pa, name, column.kind, shredded, depth)
            if array is not None:
                return array
        elif column._list is not None:
            array = _encoded_lists(pa, column._list)
            if array is not None:
                return array, {"kind": column.kind}
    return _encoded_json_text(pa, name, column, column.kind)


def _encoded_json_text(pa: Any, name: str, column: JsonColumn, kind: str) -> _Encoded:
    text = column._text
    if text is None:
        rows: list[str | None] = []
        try:
            for value in column.values():
                rows.append(None if value is None else tagged.dumps(value))
        except FieldTypeError as error:
            raise FieldTypeError(f"column {name!r}, row {len(rows)}: {error}") from None
        text = TextColumn(rows)
    return _encoded_text(pa, text), {"kind": kind, "layout": "text"}


def _encoded_struct(pa: Any, name: str, kind: str, struct: Struct, depth: int) -> _Encoded | None:
    """A column for each key; None where nulls could not say which keys a row lacks and which hold None."""
    keys = list(struct.columns)
    if not keys or any("\0" in key for key in keys):
        return None
    codes = struct.checked_codes()
    absent = True
    for key, column in struct.columns.items():
        present = column.present
        if len(struct.shapes) == 1:
            there = None if codes is None else codes >= 0
        else:
            there = np.array([*(key in shape for shape in struct.shapes), False])[codes]
        holds_none = present is not None and not (
            present.all() if there is None else (present | ~there).all()
        )
        absent = absent and not holds_none
    if len(struct.shapes) > 1 and not absent:
        return None
    if any(tuple(key for key in keys if key in set(shape)) != shape for shape in struct.shapes):
        return None  # a struct has one order of keys
    fields: list[Any] = []
    arrays: list[Any] = []
    for key, column in struct.columns.items():
        label = f"{name}.{key}"
        if isinstance(column, JsonColumn):
            array, note = _encoded_json(pa, label, column, depth + 1)
        else:
            array, note = _encoded(pa, label, column, 0)
        fields.append(_field(pa, key, array, note))
        arrays.append(array)
    bitmap = None if codes is None else _bitmap(pa, codes >= 0)
    n = len(arrays[0])
    array = pa.Array.from_buffers(pa.struct(fields), n, [bitmap], children=arrays)
    return array, {"kind": kind, "absent": absent}


def _encoded_lists(pa: Any, values: list[Any]) -> Any:
    """Lists of str, of float, of int or of bool; None for anything else."""
    if not set(map(type, values)) <= {list, type(None)}:
        return None
    items = list(chain.from_iterable(value for value in values if value is not None))
    kinds = set(map(type, items))
    if len(kinds) != 1 or not kinds <= {str, float, int, bool}:
        return None
    if kinds == {str}:
        inner = _encoded_text(pa, TextColumn(items))
        if inner.type != pa.large_string():
            return None
    elif kinds == {bool}:
        inner = pa.array(items, pa.bool_())
    else:
        numbers = NumberColumn.of(items)
        if not isinstance(numbers, NumberColumn):
            return None
        inner = _flat_numbers(pa, numbers.data)
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([0 if value is None else len(value) for value in values], out=offsets[1:])
    present = np.array([value is not None for value in values], bool)
    buffers = [_bitmap(pa, present), _buffer(pa, offsets)]
    return pa.Array.from_buffers(pa.large_list(inner.type), len(values), buffers, children=[inner])


# ---------------------------------------------------------------------------------------------- from Arrow


@contextmanager
def _reading(what: str) -> Generator[None]:
    """Whatever goes wrong with what was read is an error of ours that says why."""
    try:
        yield
    except FormatError as error:
        if type(error) is not FormatError:
            raise
        raise CorruptData(f"{what}: {error}") from None
    except (DocArrayError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except NotImplementedError as error:  # ArrowNotImplementedError among them
        raise UnsupportedFormat(f"{what}: {_first_line(error)}") from None
    except (
        ValueError,  # ArrowInvalid among them
        OSError,
        TypeError,
        KeyError,
        IndexError,
        ArithmeticError,
        MemoryError,
        RecursionError,
        RuntimeError,  # ArrowCapacityError and others
        struct.error,
    ) as error:
        raise CorruptData(f"{what}: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return f"{str(error).strip() or type(error).__name__:.300}".splitlines()[0]


@contextmanager
def _loading(what: str) -> Generator[None]:
    """As `_reading`; a type that a field cannot take is then a matter of the file."""
    try:
        with _reading(what):
            yield
    except (FormatError, MissingExtra):
        raise
    except (FieldTypeError, BadValue, Unsupported) as error:
        raise UnsupportedFormat(f"{what}: {error}") from None


_Batch: TypeAlias = "tuple[Any, list[Any], int]"  # schema, an array for each field, rows


def _batches(pa: Any, source: Any) -> Iterator[_Batch]:
    if isinstance(source, pa.Table):
        yield from _batches_of(pa, source)
        return
    if isinstance(source, pa.RecordBatch):
        yield source.schema, source.columns, source.num_rows
        return
    module = type(source).__module__.partition(".")[0]
    if module == "datasets" and hasattr(source, "with_format"):
        yield from _batches_of(pa, _dataset_rows(source))
        return
    if hasattr(source, "__arrow_c_stream__"):
        reader = (
            source if isinstance(source, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(source)
        )
        count = 0
        for batch in reader:
            count += 1
            yield batch.schema, batch.columns, batch.num_rows
        if not count:
            yield reader.schema, [_empty(pa, field.type) for field in reader.schema], 0
        return
    if hasattr(source, "__arrow_c_array__"):
        batch = pa.record_batch(source)
        yield batch.schema, batch.columns, batch.num_rows
        return
    raise FieldTypeError(
        f"Arrow data is wanted: a table, or what has __arrow_c_stream__; got a {type(source).__name__}"
    )


def _batches_of(pa: Any, table: Any) -> Iterator[_Batch]:
    if all(column.num_chunks == 1 for column in table.columns):
        yield table.schema, [column.chunk(0) for column in table.columns], table.num_rows
        return
    batches = table.to_batches()
    for batch in batches:
        yield table.schema, batch.columns, batch.num_rows
    if not batches:
        yield table.schema, [_empty(pa, field.type) for field in table.schema], table.num_rows


def _empty(pa: Any, kind: Any) -> Any:
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array([], kind.storage_type))
    return pa.array([], kind)


def _joined(tables: Iterable[Table]) -> Table:
    held = list(tables)
    return Table.concat(held) if held else Table({}, 0, [])


def _decoded_batch(pa: Any, schema: Any, arrays: list[Any], n: int) -> Table:
    """The table of one batch, which is not trusted."""
    version = _note_of(schema, "the schema").get("version", VERSION)
    if version != VERSION:
        raise UnsupportedFormat(
            f"Arrow data of docarray, version {version!r:.60}; this version reads {VERSION}: a newer one is needed"
        )
    for field, array in zip(schema, arrays, strict=True):
        if len(array) != n:
            raise CorruptData(f"column {field.name!r:.80} has {len(array)} rows where {n} were announced")
        array.validate(full=True)
    # Some arrays take no bytes for their slots: a batch of few bytes could announce rows without end.
    room = sum(array.get_total_buffer_size() for array in arrays)
    slots = n + sum(_slots(pa, array) for array in arrays)
    if slots > 64 * room + 4096:
        raise CorruptData(f"{slots} values are announced in {room} bytes")
    skipped = _index_columns(schema)
    kept = [(f, a) for f, a in zip(schema, arrays, strict=True) if f.name not in skipped]
    return _decoded_columns(pa, [f for f, _ in kept], [a for _, a in kept], n, "")


def _slots(pa: Any, array: Any) -> int:
    """How many values there are in an array and below it, at any depth."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind, n = array.type, len(array)
    if pa.types.is_struct(kind):
        return n + sum(_slots(pa, array.field(i)) for i in range(kind.num_fields))
    if pa.types.is_map(kind):
        offsets = _offsets(array, np.int32)
        first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
        return n + _slots(pa, array.keys.slice(first, count)) + _slots(pa, array.items.slice(first, count))
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        return n + _slots(pa, array.values.slice(array.offset * size, n * size))
    if _is_list(pa, kind):
        return n + _slots(pa, _list_parts(pa, array)[1])
    return n


def _index_columns(schema: Any) -> set[str]:
    """The columns that hold the index of a frame of pandas: they number rows, and say nothing of them."""
    known = cast("dict[bytes, bytes]", schema.metadata or {}).get(b"pandas")
    if known is None:
        return set()
    try:
        names = json.loads(known)["index_columns"]
    except (ValueError, KeyError, TypeError):
        return set()
    return {name for name in cast("list[Any]", names) if isinstance(name, str) and name not in FIELDS}


def _note_of(field: Any, name: str) -> Note:
    text = cast("dict[bytes, bytes]", field.metadata or {}).get(NOTE)
    if text is None:
        return {}
    try:
        note = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{name}: its note is no JSON: {error}") from None
    if not isinstance(note, dict):
        raise CorruptData(f"{name}: its note is {note!r:.60}")
    return cast("Note", note)


def _decoded_columns(pa: Any, fields: Sequence[Any], arrays: Sequence[Any], n: int, path: str) -> Table:
    columns: dict[str, Column] = {}
    extra: dict[str, Column] = {}
    ids: TextColumn | None = None
    seen: set[str] = set()
    for field, array in zip(fields, arrays, strict=True):
        name = field.name
        where = f"column {path + name!r:.120}"
        if name in seen:
            raise UnsupportedFormat(f"{where} is there twice")
        seen.add(name)
        note = _note_of(field, where)
        kind = note.get("kind")
        if kind is None:
            known = FIELDS.get(name)
            if known is None:
                cells = _cells(pa, array, {}, where)
                if _has_any(cells):
                    extra[name] = cells
                continue
            kind = known.kind
        elif kind not in KINDS:
            raise CorruptData(f"{where} is of an unknown kind {kind!r:.60}")
        if name == "id":
            ids = _ids_from(_text_from(pa, array, where))
            continue
        column = _decoded(pa, name, array, kind, note, f"{path}{name}.", where)
        if column is not None and (note or _has_any(column)):
            columns[name] = column
    if extra:
        columns["tags"] = _with_tags(columns.get("tags"), extra, n)
    return Table(columns, n, ids)


def _has_any(column: Column) -> bool:
    present = column.present
    return len(column) > 0 if present is None else bool(present.any())


def _ids_from(column: TextColumn) -> TextColumn:
    present = column.present
    if present is None or present.all():
        return column
    drawn = iter(new_ids(int((~present).sum())))
    return TextColumn([next(drawn) if key is None else key for key in column.values()])


def _with_tags(tags: Column | None, extra: dict[str, Column], n: int) -> Column:
    """Tags, and the columns that are no fields among them."""
    masks = [column.present for column in extra.values()]
    some = None if any(mask is None for mask in masks) else np.logical_or.reduce(cast("list[Array]", masks))
    made = _keyed(extra, some, n, absent=True, cls=JsonColumn)
    if tags is None:
        return made
    if not isinstance(tags, JsonColumn):
        raise CorruptData(f"column 'tags' is of kind {tags.kind!r}")
    return JsonColumn(
        [
            {**(more or {}), **(own or {})} if more or own is not None else None
            for own, more in zip(tags.values(), made.values(), strict=True)
        ]
    )


def _decoded(pa: Any, name: str, array: Any, kind: str, note: Note, path: str, where: str) -> Column | None:
    if pa.types.is_null(array.type):
        return None
    if kind == "text":
        return _text_from(pa, array, where)
    if kind == "bytes":
        return _bytes_from(pa, array, where)
    if kind == "number":
        return _number_from(pa, name, array, note, where)
    if kind == "bool":
        cells = _cells(pa, array, note, where)
        if not isinstance(cells, BoolColumn):
            raise _wrong_type(where, "bool", array)
        return cells
    if kind == "tensor":
        fallback = "list" if name == "location" else "numpy"
        return _tensor_from(pa, array, note, note.get("framework", fallback), where)
    if kind == "docs":
        return _docs_from(pa, array, path, where)
    return _json_from(pa, array, kind, note, where)


def _wrong_type(where: str, wanted: str, array: Any) -> FieldTypeError:
    return FieldTypeError(f"{where} holds {wanted}; got {array.type!s:.80}")


# --- buffers


def _present(pa: Any, array: Any) -> Array | None:
    """(n,) bool, or None where nothing is missing."""
    n = len(array)
    if array.null_count == 0:
        return None
    if pa.types.is_null(array.type):
        return np.zeros(n, bool)
    raw = np.frombuffer(array.buffers()[0], np.uint8)
    return np.unpackbits(raw, count=array.offset + n, bitorder="little")[array.offset :].view(bool)


def _frozen(buffer: Any, dtype: Any, first: int, count: int) -> Array:
    """So many items of a buffer, read-only: Arrow data is never changed, others may hold it as well."""
    if buffer is None or not count:
        return np.zeros(0, dtype)
    return np.frombuffer(memoryview(buffer).toreadonly(), dtype, count, first * np.dtype(dtype).itemsize)


def _offsets(array: Any, dtype: Any) -> Array:
    """(n + 1,) int64."""
    n = len(array)
    if not n:
        return np.zeros(1, np.int64)
    return _frozen(array.buffers()[1], dtype, array.offset, n + 1).astype(np.int64, copy=False)


def _is_list(pa: Any, kind: Any) -> bool:
    kinds = pa.types
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _list_parts(pa: Any, array: Any) -> tuple[Array, Any]:
    """Offsets from 0, (n + 1,) int64, and the array that they point into; rows that are missing are empty."""
    kind, present = array.type, _present(pa, array)
    n = len(array)
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        counts = np.full(n, size) if present is None else np.where(present, size, 0)
        inner = array.flatten()
    else:
        offsets = _offsets(array, np.int64 if pa.types.is_large_list(kind) else np.int32)
        counts = np.diff(offsets)
        if present is None or not counts[~present].any():
            first, last = int(offsets[0]), int(offsets[-1])
            values = array.values
            if first or last < len(values):  # a slice of a longer array
                return offsets - first, values.slice(first, last - first)
            return offsets, values
        counts, inner = np.where(present, counts, 0), array.flatten()
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets, inner


def _limit(array: Any) -> int:
    return max(1 << 28, 250 * array.get_total_buffer_size())


def _unpacked(pa: Any, array: Any, where: str) -> Any:
    """Dictionaries, views and extensions as the arrays that they stand for."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _unpacked(pa, array.storage, where)
    if pa.types.is_dictionary(kind):
        values = _unpacked(pa, array.dictionary, where)
        if len(values):
            used = np.bincount(
                array.indices.drop_null().to_numpy(zero_copy_only=False), minlength=len(values)
            )
            sizes = _sizes(pa, values)
            if sum(a * b for a, b in zip(used.tolist(), sizes, strict=True)) > _limit(array):
                raise CorruptData(f"{where}: its dictionary unpacks to more than {_limit(array)} bytes")
        return _unpacked(pa, values.take(array.indices), where)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        views = _frozen(array.buffers()[1], np.int32, 4 * array.offset, 4 * len(array)).reshape(-1, 4)
        present = _present(pa, array)
        lengths = views[:, 0] if present is None else views[present, 0]
        if int(lengths.astype(np.int64).sum()) > _limit(array):
            raise CorruptData(f"{where}: its views unpack to more than {_limit(array)} bytes")
        return array.cast(pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary())
    return array


def _sizes(pa: Any, values: Any) -> list[int]:
    """The bytes of each value of a dictionary."""
    if _is_text(pa, values.type) or _is_binary(pa, values.type):
        large = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
        if not pa.types.is_fixed_size_binary(values.type):
            return np.diff(_offsets(values, np.int64 if large else np.int32)).tolist()
    return (
        [values.nbytes // len(values) + 1] * len(values)
        if not pa.types.is_nested(values.type)
        else [values.nbytes] * len(values)
    )


def _is_text(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(pa: Any, kind: Any) -> bool:
    kinds = pa.types
    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind))


def _is_number(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _flat_from(pa: Any, array: Any) -> tuple[Array, Array, Array | None]:
    """Offsets, data and mask of text or bytes."""
    kind = array.type
    if pa.types.is_fixed_size_binary(kind):
        array = array.cast(pa.large_binary())
        kind = array.type
    large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    data = array.buffers()[2]
    flat = _frozen(data, np.uint8, 0, 0 if data is None else data.size)
    return _offsets(array, np.int64 if large else np.int32), flat, _present(pa, array)


def _numbers_from(pa: Any, array: Any) -> Array:
    """(n,) numbers or bools; where one is missing, what stands there means nothing."""
    if pa.types.is_boolean(array.type):
        n, raw = len(array), array.buffers()[1]
        if not n:
            return np.zeros(0, bool)
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=array.offset + n, bitorder="little")
        return bits[array.offset :].view(bool)
    return _frozen(array.buffers()[1], array.type.to_pandas_dtype(), array.offset, len(array))


# --- columns


def _text_from(pa: Any, array: Any, where: str) -> TextColumn:
    array = _unpacked(pa, array, where)
    if _is_media(pa, array.type):
        array = _masked(pa, array, _unpacked(pa, array.field("path"), where))
    kind = array.type
    if pa.types.is_null(kind):
        return TextColumn([None] * len(array))
    if not (_is_text(pa, kind) or _is_binary(pa, kind)):
        kinds = pa.types
        if not (
            _is_number(pa, kind)
            or kinds.is_boolean(kind)
            or kinds.is_temporal(kind)
            or kinds.is_decimal(kind)
        ):
            raise _wrong_type(where, "text", array)
        array = array.cast(pa.large_string())
    return TextColumn(None, _flat_from(pa, array))


def _bytes_from(pa: Any, array: Any, where: str) -> BytesColumn:
    array = _unpacked(pa, array, where)
    if _is_media(pa, array.type):
        array = _masked(pa, array, _unpacked(pa, array.field("bytes"), where))
    if not _is_binary(pa, array.type):
        raise _wrong_type(where, "bytes", array)
    return BytesColumn(None, _flat_from(pa, array))


def _is_media(pa: Any, kind: Any) -> bool:
    """Whether these are images or sounds as Hugging Face has them: their bytes, or the path of a file, or both."""
    return bool(pa.types.is_struct(kind)) and {field.name for field in kind} == {"bytes", "path"}


def _masked(pa: Any, parent: Any, child: Any) -> Any:
    """A child of a struct, null where the struct is."""
    if parent.null_count == 0:
        return child
    return pa.compute.if_else(parent.is_valid(), child, pa.scalar(None, child.type))


def _number_from(pa: Any, name: str, array: Any, note: Note, where: str) -> Column:
    array = _unpacked(pa, array, where)
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    if not (_is_number(pa, array.type) or pa.types.is_boolean(array.type)):
        raise _wrong_type(where, "numbers", array)
    data, present = _numbers_from(pa, array), _present(pa, array)
    if data.dtype.kind == "b":
        data = data.astype(np.int64)
    if name in _WHOLE and data.dtype.kind == "f":
        whole = np.where(np.isfinite(data), data, 0.5) if present is None else np.where(present, data, 0)
        if not (
            np.isfinite(whole).all() and (whole == np.floor(whole)).all() and (abs(whole) < 1 << 53).all()
        ):
            raise FieldTypeError(f"{where} holds whole numbers; got others")
        data = whole.astype(np.int64)
    return NumberColumn(_reordered(data, note, where), present)


def _reordered(data: Array, note: Note, where: str) -> Array:
    """The numbers in the byte order that the note names."""
    if "dtype" not in note:
        return data
    dtype = tagged.flat_dtype(note["dtype"])
    if _native(dtype) != data.dtype:
        raise CorruptData(f"{where} holds {data.dtype}, and its note says {dtype}")
    return data.astype(dtype, copy=False)


def _json_from(pa: Any, array: Any, kind: str, note: Note, where: str) -> Column:
    cls = ScoresColumn if kind == "scores" else JsonColumn
    array = _unpacked(pa, array, where)
    text = _is_text(pa, array.type) or _is_binary(pa, array.type)
    if note.get("layout") == "text" and text:
        return cls(None, text=TextColumn(None, _flat_from(pa, array)), length=len(array))
    if text:
        cells: Column = cls(None, text=TextColumn(None, _flat_from(pa, array)), length=len(array))
    elif pa.types.is_struct(array.type):
        cells = _struct_from(pa, array, note, where, cls)
    elif note or pa.types.is_map(array.type):
        cells = _cells(pa, array, note, where)
        if kind == "scores":
            cells = cls(cells.values())
    else:
        raise _wrong_type(where, "a struct, a map or JSON text", array)
    if note:
        return cells
    values = cells.values()
    if not set(map(type, values)) <= {dict, type(None)}:
        at = next(i for i, value in enumerate(values) if value is not None and type(value) is not dict)
        raise FieldTypeError(f"{where} holds dicts; row {at} is {values[at]!r:.60}")
    if kind == "scores":
        return cls([None if v is None else {k: s.to_dict() for k, s in Scores(v).items()} for v in values])
    return cells


def _docs_from(pa: Any, array: Any, path: str, where: str) -> DocsColumn | None:
    array = _unpacked(pa, array, where)
    if not _is_list(pa, array.type):
        raise _wrong_type(where, "lists of documents", array)
    offsets, child = _list_parts(pa, array)
    child = _unpacked(pa, child, where)
    if pa.types.is_null(child.type) and not len(child):
        return None
    if not pa.types.is_struct(child.type):
        raise _wrong_type(where, "lists of structs", array)
    if child.null_count:
        raise FieldTypeError(f"{where} has a document that is null")
    kind = child.type
    fields = [kind.field(i) for i in range(kind.num_fields)]
    arrays = [child.field(i) for i in range(kind.num_fields)]
    return DocsColumn(offsets, _decoded_columns(pa, fields, arrays, len(child), path))


# --- arrays


def _tensor_from(pa: Any, array: Any, note: Note, framework: str, where: str) -> Column:
    if framework not in _FRAMEWORKS:
        raise CorruptData(f"{where} is of an unknown framework {framework!r:.60}")
    shape, permutation = None, None
    if isinstance(array.type, pa.FixedShapeTensorType):
        shape, permutation = list(array.type.shape), array.type.permutation
    array = _unpacked(pa, array, where)
    kind = array.type
    if pa.types.is_struct(kind) and tuple(f.name for f in kind) == _PARTS:
        return _parts_from(pa, array, where)
    if not _is_list(pa, kind):
        raise _wrong_type(where, "arrays", array)
    present = _present(pa, array)
    data = _block(pa, array, present, where)
    if data is None:
        return _rows_from(pa, array, note, framework, where)
    data = _reordered(data, note, where)
    wanted = note.get("shape", shape)
    if wanted is not None:
        data = _shaped(data, wanted, permutation, where)
    return UniformTensors(data, present, framework)


def _shaped(data: Array, shape: Any, permutation: Any, where: str) -> Array:
    sizes = cast("list[int]", shape if isinstance(shape, list) else [-1])
    fits = len(sizes) <= 32 and all(type(size) is int and size >= 0 for size in sizes)
    if not fits or math.prod(sizes) != math.prod(data.shape[1:]):
        raise CorruptData(f"{where} holds arrays of {data.shape[1:]}, said to be of the shape {shape!r:.60}")
    data = data.reshape((len(data), *sizes))
    if permutation is not None:
        data = data.transpose((0, *(axis + 1 for axis in permutation)))
    return data


def _block(pa: Any, array: Any, present: Array | None, where: str) -> Array | None:
    """Lists as one array (n, ...); None where their lengths differ, or most are missing."""
    array = _unpacked(pa, array, where)
    kind, n = array.type, len(array)
    if _is_number(pa, kind) or pa.types.is_boolean(kind):
        if array.null_count:
            raise FieldTypeError(f"{where} has an array with a number missing")
        return _numbers_from(pa, array)
    if not _is_list(pa, kind):
        raise _wrong_type(where, "arrays of numbers", array)
    if present is not None and not pa.types.is_fixed_size_list(kind):
        if 2 * int(present.sum()) < n:  # else one long row among many missing ones would take all memory
            return None
        rows = np.flatnonzero(present)
        block = _block(pa, array.take(pa.array(rows)), None, where)
        if block is None:
            return None
        spread = np.zeros((n, *block.shape[1:]), block.dtype)
        spread[rows] = block
        return spread
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        inner = array.values.slice(array.offset * size, n * size)
        if present is not None and inner.null_count:  # of rows that are missing, perhaps
            rows = np.flatnonzero(present)
            block = _block(pa, array.take(pa.array(rows)).flatten(), None, where)
            if block is None:
                return None
            spread = np.zeros((n, size, *block.shape[1:]), block.dtype)
            spread[rows] = block.reshape((len(rows), size, *block.shape[1:]))
            return spread
    else:
        offsets = _offsets(array, np.int64 if pa.types.is_large_list(kind) else np.int32)
        sizes = np.unique(np.diff(offsets))
        if len(sizes) != 1 or not sizes[0]:
            return None
        size = int(sizes[0])
        inner = array.values.slice(int(offsets[0]), n * size)
    if inner.null_count and _is_list(pa, inner.type):
        raise FieldTypeError(f"{where} has an array with a part missing")
    block = _block(pa, inner, None, where)
    return None if block is None else block.reshape((n, size, *block.shape[1:]))


def _rows_from(pa: Any, array: Any, note: Note, framework: str, where: str) -> Column:
    """Arrays of several shapes, each on its own."""
    offsets, inner = _list_parts(pa, array)
    inner = _unpacked(pa, inner, where)
    rows: list[Any]
    if _is_list(pa, inner.type):
        rows = _ragged_rows(array, where)
    else:
        flat = _block(pa, inner, None, where)
        if flat is None:
            raise _wrong_type(where, "arrays of numbers", array)
        flat = _reordered(flat, note, where)
        rows = [flat[a:b] for a, b in pairwise(offsets.tolist())]
    present = _present(pa, array)
    if "shape" in note:  # most rows are missing, or it would have been one block
        there = np.ones(len(rows), bool) if present is None else present
        rows = [
            _shaped(row[None], note["shape"], None, where)[0] if has else row
            for row, has in zip(rows, there.tolist(), strict=True)
        ]
    if framework != "numpy":
        rows = [from_numpy(row, framework) for row in rows]
    if present is not None:
        rows = [row if there else None for row, there in zip(rows, present.tolist(), strict=True)]
    return RaggedTensors(rows)


def _ragged_rows(array: Any, where: str) -> list[Any]:
    rows: list[Any] = []
    for at, value in enumerate(array.to_pylist()):
        try:
            row = np.asarray([] if value is None else value)
        except ValueError as error:
            raise ShapeError(f"{where}, row {at}: a nested list is not rectangular: {error}") from None
        if row.dtype.kind not in "biuf":
            raise FieldTypeError(f"{where}, row {at}: an array with a number missing")
        rows.append(row)
    return rows


def _parts_from(pa: Any, array: Any, where: str) -> Column:
    n = len(array)
    how, shape, data = (_unpacked(pa, array.field(i), where) for i in range(3))
    if not _is_text(pa, how.type) or not _is_list(pa, shape.type) or not _is_binary(pa, data.type):
        raise CorruptData(f"{where} holds arrays in parts, which are not as they should be: {array.type}")
    words = TextColumn(None, _flat_from(pa, how)).values()
    present = _present(pa, array)
    if present is not None:
        words = [word if there else None for word, there in zip(words, present.tolist(), strict=True)]
    specs: dict[str, int] = {}
    kinds = [-1 if word is None else specs.setdefault(word, len(specs)) for word in words]
    if len(specs) > 4096:
        raise CorruptData(f"{where} holds arrays of {len(specs)} makes")
    dims, sizes = _list_parts(pa, shape)
    if not pa.types.is_int64(sizes.type) or sizes.null_count:
        raise CorruptData(f"{where} has shapes of {sizes.type}")
    starts, bytes_, _ = _flat_from(pa, data)
    form = {"kind": "tensor", "layout": "ragged", "length": n, "specs": [json.loads(word) for word in specs]}
    flat: Buffers = {
        "x.kinds": np.array(kinds, np.int32),
        "x.starts": starts[:-1],
        "x.dims": dims[:-1],
        "x.shapes": _numbers_from(pa, sizes),
        "x.data": bytes_,
    }
    return column_from_buffers(form, "x", flat)


# --- cells of tags


def _cells(pa: Any, array: Any, note: Note, where: str) -> Column:
    """A column of text, numbers, bools, or of whatever else Python makes of it."""
    array = _unpacked(pa, array, where)
    kind, n, kinds = array.type, len(array), pa.types
    if kinds.is_null(kind):
        return JsonColumn([None] * n)
    if kinds.is_boolean(kind):
        return BoolColumn(_numbers_from(pa, array), _present(pa, array))
    if _is_number(pa, kind):
        return NumberColumn(_numbers_from(pa, array), _present(pa, array))
    if _is_text(pa, kind) or (_is_binary(pa, kind) and note.get("kind") in ("text", "json", "scores")):
        text = TextColumn(None, _flat_from(pa, array))
        return JsonColumn(None, text=text, length=n) if note.get("layout") == "text" else text
    if _is_binary(pa, kind):
        return JsonColumn(BytesColumn(None, _flat_from(pa, array)).values())
    if kinds.is_struct(kind):
        return _struct_from(pa, array, note, where, JsonColumn)
    if _is_list(pa, kind):
        offsets, inner = _list_parts(pa, array)
        items = _cells(pa, inner, {}, where).values()
        rows: list[Any] = [items[a:b] for a, b in pairwise(offsets.tolist())]
        return JsonColumn(_gapped(rows, _present(pa, array)))
    if kinds.is_map(kind):
        return JsonColumn(_gapped(_dicts(pa, array, where), _present(pa, array)))
    if kinds.is_temporal(kind) or kinds.is_decimal(kind):
        return JsonColumn(_moments(pa, array, where))
    raise UnsupportedFormat(f"{where} is of the type {kind!s:.80}, which is not read")


def _gapped(rows: list[Any], present: Array | None) -> list[Any]:
    if present is None:
        return rows
    return [row if there else None for row, there in zip(rows, present.tolist(), strict=True)]


def _dicts(pa: Any, array: Any, where: str) -> list[Any]:
    offsets = _offsets(array, np.int32).tolist()
    keys = _cells(pa, array.keys, {}, where).values()
    values = _cells(pa, array.items, {}, where).values()
    if not set(map(type, keys)) <= {str, int, bool, float, bytes}:
        raise UnsupportedFormat(f"{where} has keys of the type {array.type.key_type}")
    return [dict(zip(keys[a:b], values[a:b], strict=True)) for a, b in pairwise(offsets)]


def _moments(pa: Any, array: Any, where: str) -> list[Any]:
    """Dates, times and decimals as Python has them; nanoseconds, which it has not, as numpy has them."""
    kind, kinds = array.type, pa.types
    if not (kinds.is_temporal(kind) and getattr(kind, "unit", "") == "ns"):
        return array.to_pylist()
    tz = getattr(kind, "tz", None)
    coarse = (
        pa.timestamp("us", tz) if kinds.is_timestamp(kind)
        else pa.duration("us") if kinds.is_duration(kind)
        else pa.time64("us")
    )  # fmt: skip
    try:
        return array.cast(coarse).to_pylist()
    except pa.ArrowInvalid:
        if tz is not None or kinds.is_time(kind):
            raise UnsupportedFormat(f"{where} has nanoseconds in {kind}, which Python cannot say") from None
    present = _present(pa, array)
    return _gapped(list(array.to_numpy(zero_copy_only=False)), present)


def _struct_from(pa: Any, array: Any, note: Note, where: str, cls: type[JsonColumn]) -> JsonColumn:
    kind = array.type
    columns: dict[str, Column] = {}
    for i in range(kind.num_fields):
        field = kind.field(i)
        label = f"{where} at {field.name!r:.60}"
        if field.name in columns:
            raise UnsupportedFormat(f"{label}: the key is there twice")
        columns[field.name] = _cells(pa, array.field(i), _note_of(field, label), label)
    absent = note.get("absent", True)
    return _keyed(columns, _present(pa, array), len(array), absent=absent, cls=cls)


def _keyed(
    columns: dict[str, Column], present: Array | None, n: int, *, absent: bool, cls: type[JsonColumn]
) -> JsonColumn:
    """Columns as dicts: a null is a key that is not there, or None.

    Args:
        present: which rows have a dict; None for all.
    """
    keys = tuple(columns)
    masks = [column.present for column in columns.values()] if absent else []
    if all(mask is None or mask.all() for mask in masks):
        shapes, codes = [keys], None if present is None else np.where(present, 0, -1).astype(np.int16)
    else:
        full = np.ones(n, bool)
        bits = np.packbits(np.stack([full if m is None else m for m in masks], axis=1), axis=1)
        rows = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1]))).reshape(-1)
        _, first, codes = np.unique(rows, return_index=True, return_inverse=True)
        having = [[True if m is None else bool(m[row]) for m in masks] for row in first.tolist()]
        shapes = [tuple(key for key, has in zip(keys, held, strict=True) if has) for held in having]
        codes = codes.reshape(-1)
        if present is not None:
            codes = np.where(present, codes, -1)
        if len(shapes) > _MOST_SHAPES or len(keys) > _MOST_KEYS:
            return cls(_diverse(columns, shapes, codes))
        codes = codes.astype(np.int16)
    if not keys or len(keys) > _MOST_KEYS:
        return cls(_diverse(columns, shapes, np.zeros(n, np.int16) if codes is None else codes))
    return cls(None, Struct(shapes, codes, columns), length=n)


def _diverse(columns: dict[str, Column], shapes: list[tuple[str, ...]], codes: Array) -> list[Any]:
    cells = {key: column.values() for key, column in columns.items()}
    numbers = cast("list[int]", codes.tolist())
    return [
        None if code < 0 else {key: cells[key][row] for key in shapes[code]}
        for row, code in enumerate(numbers)
    ]


# ---------------------------------------------------------------------------------------------- the stream format

_MAGIC: Final = b"ARROW1"
_START: Final = _MAGIC + b"\0\0"
_GO_ON: Final = 0xFFFFFFFF
_END: Final = struct.pack("<II", _GO_ON, 0)
_LONGEST_HEAD: Final = 1 << 26
_DICTIONARY, _BATCH = 2, 3  # kinds of messages


def _number_at(form: str, data: memoryview, at: int) -> int:
    if at < 0:  # which `unpack_from` would count from the end
        raise CorruptData("a message points before its beginning")
    return cast("int", struct.unpack_from(form, data, at)[0])


def _field_at(data: memoryview, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table stands; None where it is not there."""
    known = table - _number_at("<i", data, table)
    if 6 + 2 * number > _number_at("<H", data, known):
        return None
    offset = _number_at("<H", data, known + 4 + 2 * number)
    return table + offset if offset else None


def _pointed(data: memoryview, at: int | None) -> int:
    if at is None:
        raise CorruptData("a message lacks a part")
    return at + _number_at("<I", data, at)


def _message(head: memoryview) -> tuple[int, int, int]:
    """The kind of a message, where its header stands, and how long its body is."""
    root = _number_at("<I", head, 0)
    kind, size = _field_at(head, root, 1), _field_at(head, root, 3)
    length = 0 if size is None else _number_at("<q", head, size)
    if length < 0:
        raise CorruptData(f"a message announces {length} bytes")
    what = 0 if kind is None else _number_at("<B", head, kind)
    return what, _pointed(head, _field_at(head, root, 2)), length


def _announced(head: memoryview, kind: int, header: int, body: memoryview) -> int:
    """The bytes that the buffers of a message say they unpack to."""
    if kind not in (_DICTIONARY, _BATCH):
        return 0
    batch = _pointed(head, _field_at(head, header, 1)) if kind == _DICTIONARY else header
    if _field_at(head, batch, 3) is None:
        return len(body)  # it is not compressed
    buffers = _pointed(head, _field_at(head, batch, 2))
    total = 0
    for i in range(_number_at("<I", head, buffers)):
        start, size = struct.unpack_from("<qq", head, buffers + 4 + 16 * i)
        if size > 8:
            total += max(_number_at("<q", body, start), size - 8)
    return total


class _Frames:
    """The messages of a stream of Arrow, one after the other; each is weighed before Arrow sees it."""

    def __init__(self, read: Callable[[int], memoryview]) -> None:
        self._read = read
        self._packed = self._unpacked = 0

    def next(self, start: bytes = b"") -> tuple[int, memoryview, memoryview, memoryview] | None:
        """Kind, prefix, head and body of the next message; None at the end of the stream."""
        prefix = memoryview(start) if start else self._read(8)
        marker, size = struct.unpack("<Ii", prefix)
        if marker != _GO_ON:
            raise CorruptData("no message of Arrow begins where one should, or it is older than Arrow 0.15")
        if not size:
            return None
        if not 0 < size <= _LONGEST_HEAD:
            raise CorruptData(f"the head of a message announces {size} bytes")
        head = self._read(size)
        kind, header, length = _message(head)
        body = self._read(length)
        self._packed += len(body)
        self._unpacked += _announced(head, kind, header, body)
        _check_growth(self._packed, self._unpacked)
        return kind, prefix, head, body


def _view_reader(data: memoryview) -> tuple[Callable[[int], memoryview], Callable[[], int]]:
    """Reads stretches of bytes in memory; and where it stands."""
    at = 0

    def read(size: int) -> memoryview:
        nonlocal at
        if size > len(data) - at:
            raise CorruptData(f"cut off at byte {len(data)}: {size} bytes from byte {at} were announced")
        at += size
        return data[at - size : at]

    return read, lambda: at


def _stream_reader(stream: BinaryIO) -> Callable[[int], memoryview]:
    """Reads stretches of a file, never more at once than was there before."""

    def read(size: int) -> memoryview:
        parts: list[bytes] = []
        left, piece = size, 1 << 20
        while left:
            part = stream.read(min(left, piece))
            if not part:
                raise CorruptData(f"cut off: {size} bytes were announced, and {size - left} are there")
            parts.append(part)
            left -= len(part)
            piece *= 2
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    return read


def _weigh_stream(data: memoryview) -> None:
    """Looks at the frames of a stream: all are there, and unpack to what can be."""
    read, at = _view_reader(data)
    frames = _Frames(read)
    try:
        while frames.next() is not None:
            pass
    except CorruptData as error:
        raise CorruptData(f"at byte {at()}: {error}") from None


def _weigh_file(data: memoryview) -> None:
    """Looks at the messages that the index of a file names."""
    end = len(data) - 10
    size = _number_at("<i", data, end) if end >= 8 else 0
    if data[-6:] != _MAGIC or not 0 < size <= end - 8:
        raise CorruptData(f"cut off at byte {len(data)}: the index of a file is not at its end")
    index = data[end - size : end]
    root = _number_at("<I", index, 0)
    packed = unpacked = 0
    for number in (2, 3):  # dictionaries, batches
        place = _field_at(index, root, number)
        if place is None:
            continue
        blocks = _pointed(index, place)
        for i in range(_number_at("<I", index, blocks)):
            start, head_size, length = struct.unpack_from("<qi4xq", index, blocks + 4 + 24 * i)
            body = start + head_size
            if not 8 <= start < body <= body + length <= end - size:
                raise CorruptData(f"a message is announced at byte {start}, which is not there as a whole")
            prefix = 8 if _number_at("<I", data, start) == _GO_ON else 4
            head, packed = data[start + prefix : body], packed + length
            kind, header, _ = _message(head)
            unpacked += _announced(head, kind, header, data[body : body + length])
            _check_growth(packed, unpacked)


def _check_growth(packed: int, unpacked: int) -> None:
    if unpacked > max(1 << 28, 250 * packed):
        raise CorruptData(
            f"{packed} bytes announce that they unpack to {unpacked}: more than 250 times as much"
        )


class Arrow(Format):
    """The file format of Arrow (Feather, version 2) and its stream format, told apart by themselves.

    All that a table holds comes back equal; `to_arrow` says as what it is written. What Arrow cannot say is refused:
    documents nested more than 28 levels deep, and column names with half a letter in them.

    Options of writing: `compress` (None, 'lz4', 'zstd'), of each buffer; `as_stream`, True for the stream format, which
    a pipe can take. Reading finds both by itself.
    """

    name = "arrow"
    suffixes: tuple[str, ...] = (".arrow", ".feather")
    mime_type = "application/vnd.apache.arrow.file"
    compressions: tuple[str, ...] = ("lz4", "zstd")

    def dumps(self, table: Table, **options: Any) -> bytes:
        sink = _pyarrow().BufferOutputStream()
        self._write([table], sink, **options)
        return cast("bytes", sink.getvalue().to_pybytes())

    def write(self, tables: Iterable[Table], stream: BinaryIO, **options: Any) -> None:
        """Writes each table as a batch.

        A file of Arrow has one type for each column: that of the first table. A later table may lack columns and keys
        of tags; it may not have others, nor tags or arrays too diverse for a type that the first were plain enough for.

        Raises:
            Unsupported: a later table does not fit; the message names the column.
        """
        self._write(tables, stream, **options)

    @staticmethod
    def _write(
        tables: Iterable[Table], sink: Any, *, compress: str | None = None, as_stream: bool = False
    ) -> None:
        pa = _pyarrow()
        if compress is not None and compress not in Arrow.compressions:
            raise UnknownName(
                f"Arrow is not compressed with {compress!r}. {near_miss(compress, Arrow.compressions)}"
            )
        options = pa.ipc.IpcWriteOptions(compression=compress)
        make = pa.ipc.new_stream if as_stream else pa.ipc.new_file
        writer = None
        for table in _alike(pa, tables, to_arrow):
            if writer is None:
                writer = make(sink, table.schema, options=options)
            writer.write_table(table)
        if writer is not None:
            writer.close()

    def loads(self, data: memoryview, **options: Any) -> Table:
        """Matrices, texts and numbers lie on `data` where that is not compressed."""
        return self._loads(data, **options)

    @staticmethod
    def _loads(data: memoryview, *, compress: str | None = None) -> Table:
        del compress  # each buffer says its own
        pa = _pyarrow()
        with _loading("Arrow"):
            _check_start(data[:8], Arrow.recognised(bytes(data[:64])), "Arrow")
            if data[:8] == _START:
                _weigh_file(data)
                file = pa.ipc.open_file(pa.py_buffer(data))
                count = file.num_record_batches
                batches = (file.get_batch(i) for i in range(count))
                reader = pa.RecordBatchReader.from_batches(file.schema, batches)
            else:
                _weigh_stream(data)
                reader = pa.ipc.open_stream(pa.py_buffer(data))
            return _joined(_decoded_batch(pa, *batch) for batch in _batches(pa, reader))

    def read(self, stream: BinaryIO, *, compress: str | None = None, **options: Any) -> Iterator[Table]:
        """A table for each batch; no more than one is held."""
        del compress  # the bytes say it themselves
        _refuse_options(options)
        pa = _pyarrow()
        with _loading("Arrow"):
            read = _stream_reader(stream)
            start = bytes(read(8))
            first = bytes(read(8)) if start == _START else start
            if start == _START and not first.startswith(b"\xff\xff\xff\xff"):
                # Only its index says where things are: such is the way of polars.
                yield self.loads(memoryview(start + first + stream.read()))
                return
            frames, before, count = _Frames(read), list[memoryview](), 0
            frame = frames.next(first)
            while frame is not None:
                kind, *message = frame
                if kind == _BATCH:
                    count += 1
                    yield from self._tables(pa, [*before, *message])
                else:  # the schema, and dictionaries: later ones replace earlier ones
                    before += message
                frame = frames.next()
            if not count:
                yield from self._tables(pa, before)
            if start == _START:
                tail = b""
                while part := stream.read(1 << 20):
                    tail = (tail + part)[-6:]
                if tail != _MAGIC:
                    raise CorruptData("cut off: the index is not behind the batches")

    @staticmethod
    def _tables(pa: Any, messages: list[memoryview]) -> Iterator[Table]:
        reader = pa.ipc.open_stream(pa.py_buffer(b"".join([*messages, _END])))
        for batch in _batches(pa, reader):
            yield _decoded_batch(pa, *batch)

    def load(self, path: str, **options: Any) -> Table:
        """The table of a file, which is mapped: matrices are read where they are touched."""
        view = mapped(path)
        return super().load(path, **options) if view is None else self.loads(view.toreadonly(), **options)

    def recognises(self, head: bytes) -> bool:
        return self.recognised(head)

    @staticmethod
    def recognised(head: bytes) -> bool:
        """A file by its magic, a stream by the shape of its first message, which is the schema."""
        if head.startswith(_START):
            return True
        if len(head) < 16:
            return False
        marker, size, root = struct.unpack_from("<IiI", head)
        return marker == _GO_ON and 0 < size <= _LONGEST_HEAD and size % 8 == 0 and 0 < root < 64


def _refuse_options(options: Mapping[str, object]) -> None:
    for name in options:
        if name != "compress":
            raise TypeError(f"reading takes no option {name!r}")


def _check_start(start: bytes | memoryview, recognised: bool, what: str) -> None:
    if not recognised:
        raise UnsupportedFormat(f"no {what}, but bytes that begin with {bytes(start)!r}")


def _alike(pa: Any, tables: Iterable[Table], encoded: Callable[[Table], Any]) -> Iterator[Any]:
    """Arrow tables of the schema of the first; none at all is an empty one."""
    schema = None
    for number, table in enumerate(tables):
        made = encoded(table)
        if schema is None:
            schema = made.schema
        elif not made.schema.equals(schema, check_metadata=True):
            held = dict(zip(made.schema.names, (column.chunk(0) for column in made.columns), strict=True))
            given = {field.name: (field, held[field.name]) for field in made.schema}
            arrays = _fitted_columns(pa, given, list(schema), len(table), f"table {number}: column ")
            made = pa.Table.from_arrays(arrays, schema=schema)
        yield made
    if schema is None:
        yield encoded(Table({}, 0, []))


def _fitted_columns(
    pa: Any, given: Mapping[str, tuple[Any, Any]], fields: Sequence[Any], n: int, where: str
) -> list[Any]:
    names = {field.name for field in fields}
    for name, (_, array) in given.items():
        if name not in names and array.null_count < len(array):
            raise Unsupported(
                f"{where}{name!r} is not in the first table, and a file has the columns of that. {_ADVICE}"
            )
    return [
        _fitted(pa, *given[f.name], f, f"{where}{f.name!r}") if f.name in given else pa.nulls(n, f.type)
        for f in fields
    ]


_ADVICE: Final = "Write all documents at once, or in the native format"


def _fitted(pa: Any, field: Any, array: Any, wanted: Any, where: str) -> Any:
    """An array as the type of a field, if it only lacks keys that can be null."""
    if field.type.equals(wanted.type) and field.metadata == wanted.metadata:
        return array
    kind, note = wanted.type, _note_of(wanted, where)
    if array.null_count == len(array):
        return pa.nulls(len(array), kind)
    general = _generalised(pa, field, array, note, where)
    if general is not None and (general.type.equals(kind) or pa.types.is_large_binary(kind)):
        return general.cast(kind)
    if _note_of(field, where) == note:
        bitmap = _bitmap(pa, _present(pa, array))
        if pa.types.is_struct(kind) and pa.types.is_struct(array.type) and note.get("absent"):
            children = _fitted_struct(pa, array, kind, where)
            return pa.Array.from_buffers(kind, len(array), [bitmap], children=children)
        if note.get("kind") == "docs":
            child = array.values
            rows = _fitted_struct(pa, child, kind.value_type, where)
            inner = pa.Array.from_buffers(kind.value_type, len(child), [None], children=rows)
            return pa.Array.from_buffers(kind, len(array), array.buffers()[:2], children=[inner])
        if field.type.equals(kind):
            return array
    raise Unsupported(f"{where} is {field.type!s:.60} here and {kind!s:.60} in the first table. {_ADVICE}")


def _generalised(pa: Any, field: Any, array: Any, note: Note, where: str) -> Any:
    """An array as JSON text, as parts or as binary, where the first table had to say the column so."""
    own = _note_of(field, where)
    if note.get("layout") == "text" and own.get("kind") in ("json", "scores", "number", "text", "bool"):
        cells = _cells(pa, array, own, where)
        column = cells if isinstance(cells, JsonColumn) else JsonColumn(cells.values())
        return _encoded_json_text(pa, field.name, column, "json")[0]
    if note == own and note.get("kind") == "text":
        return array
    if note.get("layout") == "parts" and own.get("kind") == "tensor":
        column = _tensor_from(pa, array, own, own.get("framework", "numpy"), where)
        return _encoded_parts(pa, field.name, RaggedTensors(column.values()))[0]
    return None


def _fitted_struct(pa: Any, array: Any, kind: Any, where: str) -> list[Any]:
    given = {
        array.type.field(i).name: (array.type.field(i), array.field(i)) for i in range(array.type.num_fields)
    }
    return _fitted_columns(pa, given, list(kind), len(array), f"{where} at ")


# ---------------------------------------------------------------------------------------------- Parquet

_ROWS_AT_ONCE: Final = 1 << 16


class Parquet(Format):
    """Parquet files, in row groups of at most 65 536 rows; each table that is written begins another.

    All that a table holds comes back equal, as in `Arrow`, which the columns go through; what Arrow cannot say is
    refused. Arrays are lists of numbers here, whose shape the note of their field says.

    Options of writing: `compress` ('gzip', 'lz4', 'zstd'), 'zstd' unless said otherwise; `codec` for what only Parquet
    has: 'snappy', 'brotli', 'none'. Reading finds it by itself; its option `field_resolver` renames columns.
    """

    name = "parquet"
    suffixes: tuple[str, ...] = (".parquet",)
    mime_type = "application/vnd.apache.parquet"
    compressions: tuple[str, ...] = ("lz4", "gzip", "zstd")

    def dumps(self, table: Table, **options: Any) -> bytes:
        sink = _pyarrow().BufferOutputStream()
        self._write([table], sink, **options)
        return cast("bytes", sink.getvalue().to_pybytes())

    def write(self, tables: Iterable[Table], stream: BinaryIO, **options: Any) -> None:
        """Writes each table as a row group; they are to be alike as those of `Arrow.write`."""
        self._write(tables, stream, **options)

    @staticmethod
    def _write(
        tables: Iterable[Table], sink: Any, *, compress: str | None = None, codec: str | None = None
    ) -> None:
        pa = _pyarrow()
        names = ("brotli", "gzip", "lz4", "none", "snappy", "zstd")
        codec = codec or compress or "zstd"
        if codec not in names:
            raise UnknownName(f"Parquet is not compressed with {codec!r}. {near_miss(codec, names)}")
        parquet = require("pyarrow.parquet", "Parquet", "docarray[arrow]")
        writer = None
        for table in _alike(pa, tables, _for_parquet):
            if writer is None:
                writer = parquet.ParquetWriter(
                    sink,
                    table.schema,
                    compression=codec,
                    use_dictionary=_coded(pa, table.schema),
                )
            writer.write_table(table, row_group_size=_ROWS_AT_ONCE)
        if writer is not None:
            writer.close()

    def loads(self, data: memoryview, **options: Any) -> Table:
        return self._loads(data, **options)

    @staticmethod
    def _loads(
        data: memoryview, *, compress: str | None = None, field_resolver: Mapping[str, str] | None = None
    ) -> Table:
        del compress  # each column says its own
        with _loading("Parquet"):
            _check_start(data[:4], data[:4] == b"PAR1", "Parquet file")
            pa = _pyarrow()
            source = pa.BufferReader(pa.py_buffer(data))
            return _joined(_parquet_tables(pa, source, len(data), field_resolver or {}))

    def read(
        self,
        stream: BinaryIO,
        *,
        compress: str | None = None,
        field_resolver: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Iterator[Table]:
        """A table for each stretch of rows. A stream that cannot be sought is held whole: the index is at the end."""
        del compress  # the bytes say it themselves
        _refuse_options(options)
        seekable = getattr(stream, "seekable", None)
        if seekable is None or not seekable() or stream.tell():
            yield self.loads(memoryview(stream.read()), field_resolver=field_resolver)
            return
        with _loading("Parquet"):
            size = stream.seek(0, 2)
            stream.seek(0)
            start = stream.read(4)
            _check_start(start, start == b"PAR1", "Parquet file")
            yield from _parquet_tables(_pyarrow(), stream, size, field_resolver or {})

    def load(self, path: str, **options: Any) -> Table:
        view = mapped(path)
        return super().load(path, **options) if view is None else self.loads(view.toreadonly(), **options)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"PAR1")


def _for_parquet(table: Table) -> Any:
    """The table with lists for arrays of one shape: what Parquet makes of a FixedSizeList cannot always have gaps."""
    pa = _pyarrow()
    made = to_arrow(table)
    parts = [_listed(pa, f, c.chunk(0)) for f, c in zip(made.schema, made.columns, strict=True)]
    schema = pa.schema([field for field, _ in parts], metadata=made.schema.metadata)
    return pa.Table.from_arrays([array for _, array in parts], schema=schema)


def _listed(pa: Any, field: Any, array: Any) -> tuple[Any, Any]:
    note = _note_of(field, field.name)
    kind, n = array.type, len(array)
    if note.get("kind") == "docs":
        rows = array.values
        parts = [
            _listed(pa, kind.value_type.field(i), rows.field(i)) for i in range(kind.value_type.num_fields)
        ]
        inner = pa.struct([f for f, _ in parts])
        rows = pa.Array.from_buffers(inner, len(rows), [None], children=[a for _, a in parts])
        kind = pa.large_list(pa.field("item", inner, nullable=False))
        array = pa.Array.from_buffers(kind, n, array.buffers()[:2], children=[rows])
    elif note.get("kind") == "tensor" and "shape" in note and "layout" not in note:
        array = array.storage if isinstance(array, pa.ExtensionArray) else array
        offsets, values = _list_parts(pa, array)
        buffers = [_bitmap(pa, _present(pa, array)), _buffer(pa, offsets)]
        array = pa.Array.from_buffers(pa.large_list(values.type), n, buffers, children=[values])
    return field.with_type(array.type), array


def _coded(pa: Any, schema: Any) -> list[str]:
    """The columns of text, other than ids, which may be worth a dictionary: numbers of vectors never are."""
    return [f.name for f in schema if f.name != "id" and _is_text(pa, f.type)]


def _parquet_tables(pa: Any, source: Any, packed: int, names: Mapping[str, str]) -> Iterator[Table]:
    parquet = require("pyarrow.parquet", "Parquet", "docarray[arrow]")
    limit = max(1 << 28, 250 * packed)
    with parquet.ParquetFile(source, pre_buffer=False) as file:
        known = file.metadata
        announced = sum(known.row_group(i).total_byte_size for i in range(known.num_row_groups))
        if announced > limit:
            raise CorruptData(f"{packed} bytes announce that they unpack to {announced}")
        unpacked = count = 0
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            count += 1
            if names:
                batch = batch.rename_columns([names.get(name, name) for name in batch.schema.names])
            unpacked += batch.nbytes
            if unpacked > limit:
                raise CorruptData(f"{packed} bytes unpack to more than {limit}")
            yield _decoded_batch(pa, batch.schema, batch.columns, batch.num_rows)
        if not count:
            schema = file.schema_arrow
            yield _decoded_batch(pa, schema, [_empty(pa, field.type) for field in schema], 0)


ARROW: Final = Arrow()
PARQUET: Final = Parquet()


# ---------------------------------------------------------------------------------------------- Hugging Face


def huggingface_tables(
    dataset: Any,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    filter_fields: bool = False,
    batch_size: int = 1000,
    **datasets_kw: Any,
) -> Iterator[Table]:
    """A data set of Hugging Face, table by table; columns that are no fields become tags.

    Args:
        dataset: a Dataset or IterableDataset, or what `datasets.load_dataset` takes: a name, a folder, 'json'.
        field_resolver: fields by the names of columns: {'sentence': 'text'}. An image or sound is its bytes as
            'blob', its path as 'uri'.
        size: at most so many documents.
        sampling_rate: the share of rows, in [0, 1], each drawn for itself.
        filter_fields: only the columns that `field_resolver` names.
        batch_size: rows a table.
        datasets_kw: goes to `load_dataset`; `split` among them.

    Raises:
        BadValue: there are several splits and none is chosen (the message lists them), or fields are to be filtered
            without `field_resolver`. FieldTypeError: a column does not fit its field.
        MissingExtra: datasets is not installed.
    """
    module = require("datasets", "a data set of Hugging Face")
    if sampling_rate is not None and not 0 <= sampling_rate <= 1:
        raise BadValue(f"a sampling rate lies in [0, 1]; got {sampling_rate!r}")
    if filter_fields and not field_resolver:
        raise BadValue("filter_fields chooses the columns that field_resolver names, and that is not given")
    if isinstance(dataset, str) or not hasattr(dataset, "with_format"):
        dataset = module.load_dataset(dataset, **datasets_kw)
    elif datasets_kw:
        raise TypeError(f"a data set that is loaded takes no option {next(iter(datasets_kw))!r}")
    if isinstance(dataset, dict):
        names = ", ".join(map(str, cast("dict[str, Any]", dataset)))
        raise BadValue(f"a data set has several splits, choose one by split=...: there are {names}")
    return _huggingface_tables(dataset, field_resolver or {}, size, sampling_rate, filter_fields, batch_size)


def _dataset_rows(dataset: Any) -> Any:
    """The rows of a data set, in its order: a selection is an index beside the table."""
    return dataset.with_format("arrow")[:]


def _huggingface_tables(
    dataset: Any,
    names: Mapping[str, str],
    size: int | None,
    rate: float | None,
    filtered: bool,
    batch_size: int,
) -> Iterator[Table]:
    pa = _pyarrow()
    left = math.inf if size is None else size
    if left <= 0:
        return
    for rows in dataset.with_format("arrow").iter(batch_size=batch_size):
        if filtered:
            rows = rows.select([name for name in rows.column_names if name in names])
        if rate is not None:
            rows = rows.take(pa.array([i for i in range(len(rows)) if random.random() < rate], pa.int64()))
        if len(rows) > left:
            rows = rows.slice(0, int(left))
        if not len(rows):
            continue
        yield from_arrow(rows.rename_columns([names.get(name, name) for name in rows.column_names]))
        left -= len(rows)
        if left <= 0:
            return
