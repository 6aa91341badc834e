"""The columns of a Table: many values of one field, held flat.

Rule 1: a column is never changed after it is made; `take`, slices and `concat` make new ones, sharing memory.
Rule 2: None is a missing value, in every kind; where most rows are missing they take next to no space.
Rule 3: `to_buffers` and `from_buffers` are exact inverses; the form is small JSON, the buffers are flat arrays.
Rule 4: what comes from buffers is not trusted. Sizes are checked on opening, what lies in the buffers where it is
        used: opening costs the same for any number of rows.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, ClassVar, Final, cast

import numpy as np

from docarray import tagged
from docarray.errors import BadValue, CorruptData, FieldTypeError, MissingExtra, ShapeError
from docarray.schema import Kind
from docarray.tensors import Array, framework, from_numpy, is_sparse, to_numpy

__all__ = [
    "BoolColumn",
    "Buffers",
    "BytesColumn",
    "Column",
    "Form",
    "JsonColumn",
    "NumberColumn",
    "RaggedTensors",
    "ScoresColumn",
    "TextColumn",
    "UniformTensors",
    "column_from_buffers",
    "column_of",
    "join_columns",
    "read_array",
    "tensor_column",
]

Form = dict[str, Any]
Buffers = dict[str, Any]


class Column(ABC):
    """Values of one field for n rows; None where a row has none."""

    __slots__ = ()
    kind: ClassVar[Kind]
    layout: ClassVar[str] = "flat"

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def value(self, row: int) -> Any:
        """The value of one row, or None. Tags and arrays are fresh objects or views that the caller may keep."""

    @abstractmethod
    def values(self) -> list[Any]:
        """The values of all rows, in a new list."""

    @abstractmethod
    def take(self, rows: Array) -> Column:
        """The rows of these numbers, (k,) intp, in that order."""

    @abstractmethod
    def slice(self, start: int, stop: int) -> Column:
        """Rows from start to stop, sharing memory; O(1) on what was read from buffers."""

    @property
    @abstractmethod
    def present(self) -> Array | None:
        """(n,) bool, True where a row has a value; None when all do."""

    @abstractmethod
    def to_buffers(self, name: str, into: Buffers) -> Form:
        """Adds flat arrays to `into`, under names that begin with `name`; gives the form that reads them."""

    @abstractmethod
    def missing(self, count: int) -> Column:
        """So many rows without a value, as a column that joins well with this one."""

    def joined(self, others: Sequence[Column]) -> Column:
        """This column and then the others, of the same kind, as one."""
        values = self.values()
        for other in others:
            values += other.values()
        return column_of(self.kind, values)


class _Masked(Column):
    """A column that says by a mask where values are missing."""

    __slots__ = ("_present",)
    _present: Array | None

    @property
    def has_mask(self) -> bool:
        """Whether rows may be missing, without a look at any."""
        return self._present is not None

    @property
    def present(self) -> Array | None:
        mask = self._present
        if mask is not None and mask.dtype != bool:  # it came from a buffer, and nobody has looked at it yet
            mask = self._present = _truths(mask)
        return mask


def read_array(buffers: Mapping[str, Any], name: str, dtype: str, count: int | None = None) -> Array:
    """A flat buffer as a 1-D array, without copy.

    Raises:
        CorruptData: there is no such buffer, or its size is not what the form says.
    """
    buffer = buffers.get(name)
    if buffer is None:
        raise CorruptData(f"buffer {name!r} is missing")
    kind = _flat_dtype(name, dtype)
    raw = memoryview(buffer).cast("B")
    if raw.nbytes % kind.itemsize or (count is not None and raw.nbytes != count * kind.itemsize):
        raise CorruptData(
            f"buffer {name!r} holds {raw.nbytes} bytes; {count} items of {dtype} were announced"
        )
    return np.frombuffer(raw, kind)


def _flat_dtype(name: str, text: object) -> np.dtype[Any]:
    try:
        return tagged.flat_dtype(text)
    except CorruptData as error:
        raise CorruptData(f"buffer {name!r}: {error}") from None


@functools.lru_cache(maxsize=256)
def _says_all(dtype: np.dtype[Any]) -> bool:
    """Whether the name of a dtype says all of it: not of fields, of objects, nor of other packages' dtypes."""
    try:
        return tagged.flat_dtype(dtype.str) == dtype
    except CorruptData:
        return False


def _truths(raw: Array) -> Array:
    """Bytes as truth values, without copy."""
    if raw.size and int(raw.max()) > 1:  # numpy takes it for granted that a bool is 0 or 1
        raise CorruptData("truth values are bytes other than 0 and 1: the bytes are damaged")
    return raw.view(bool)


def _length(form: Form) -> int:
    length = form.get("length")
    if type(length) is not int or length < 0:
        raise CorruptData(f"a column's length is {length!r:.60}")
    return length


def _mask_from(form: Form, name: str, buffers: Mapping[str, Any], length: int) -> Array | None:
    return read_array(buffers, name + ".present", "|u1", length) if form.get("gaps") else None


def _mask_into(present: Array | None, form: Form, name: str, into: Buffers) -> Form:
    if present is not None and not present.all():
        form["gaps"] = True
        into[name + ".present"] = np.ascontiguousarray(present)
    return form


def _mask_of(values: list[Any]) -> Array | None:
    if type(None) not in set(map(type, values)):  # not `None in values`: arrays compare item by item
        return None
    return np.array([v is not None for v in values], bool)


def _joined_masks(columns: Sequence[Column]) -> Array | None:
    masks = [c.present for c in columns]
    if all(m is None for m in masks):
        return None
    return np.concatenate(
        [np.ones(len(c), bool) if m is None else m for c, m in zip(columns, masks, strict=True)]
    )


def _not_empty(columns: Sequence[Column]) -> list[Column]:
    """The columns that have rows, or the first: one that has none says nothing about dtypes and shapes."""
    return [column for column in columns if len(column)] or [columns[0]]


# ---------------------------------------------------------------------------------------------- text and bytes


class _Strings(_Masked):
    """Strings of text or bytes: a list, or offsets into one buffer, or both once the list was asked for."""

    __slots__ = ("_data", "_list", "_offsets")

    def __init__(
        self, values: list[Any] | None, flat: tuple[Array, Array, Array | None] | None = None
    ) -> None:
        self._list = values
        self._offsets, self._data, self._present = flat or (None, None, None)

    @staticmethod
    @abstractmethod
    def _flatten(values: list[Any]) -> tuple[Array, bytes]: ...

    @staticmethod
    @abstractmethod
    def _cut(data: Array, offsets: list[int]) -> list[Any]: ...

    def __len__(self) -> int:
        if self._list is not None:
            return len(self._list)
        assert self._offsets is not None
        return len(self._offsets) - 1

    def _all(self) -> list[Any]:
        if self._list is None:
            assert self._offsets is not None and self._data is not None
            values = self._cut(self._data, _checked_offsets(self._offsets, len(self._data)).tolist())
            present = self.present
            if present is not None:
                for row in np.flatnonzero(~present).tolist():
                    values[row] = None
            self._list = values
        return self._list

    def values(self) -> list[Any]:
        return self._all().copy()

    def value(self, row: int) -> Any:
        if self._list is not None:
            return self._list[row]
        assert self._offsets is not None and self._data is not None
        at = range(len(self))[row]
        if self._present is not None and not self._present[at]:
            return None
        return self._cut(self._data, _checked_offsets(self._offsets[at : at + 2], len(self._data)).tolist())[
            0
        ]

    def take(self, rows: Array) -> _Strings:
        if self._list is None and 8 * len(rows) < len(self):
            # A few rows of many: to decode all the others would cost more than what was asked for.
            return type(self)([self.value(row) for row in rows.tolist()])
        values = self._all()
        return type(self)([values[i] for i in rows.tolist()])

    def slice(self, start: int, stop: int) -> _Strings:
        values = None if self._list is None else self._list[start:stop]
        if self._offsets is None or self._data is None:
            return type(self)(values)
        present = None if self._present is None else self._present[start:stop]
        return type(self)(values, (self._offsets[start : stop + 1], self._data, present))

    @property
    def present(self) -> Array | None:
        if self._offsets is None and self._list is not None:
            return _mask_of(self._list)
        return super().present

    def missing(self, count: int) -> _Strings:
        flat = np.zeros(count + 1, np.int64), np.zeros(0, np.uint8), np.zeros(count, bool)
        return type(self)(None, flat)

    def _flat(self) -> tuple[Array, Array, Array | None]:
        """Offsets from 0, the strings with nothing before or behind them, and the mask."""
        if self._offsets is not None and self._data is not None:
            offsets = _checked_offsets(self._offsets, len(self._data))
            first, last = int(offsets[0]), int(offsets[-1])
            return offsets - first if first else offsets, self._data[first:last], self.present
        assert self._list is not None
        present = _mask_of(self._list)
        values = self._list if present is None else [self._empty if v is None else v for v in self._list]
        offsets, data = self._flatten(values)
        return offsets, np.frombuffer(data, np.uint8), present

    def joined(self, others: Sequence[Column]) -> _Strings:
        parts = _not_empty([self, *others])
        flats = [cast("_Strings", part)._flat() for part in parts]
        start, ends = 0, [np.zeros(1, np.int64)]
        for offsets, data, _ in flats:
            ends.append(offsets[1:] + start)
            start += len(data)
        data = np.concatenate([data for _, data, _ in flats])
        return type(self)(None, (np.concatenate(ends), data, _joined_masks(parts)))

    def to_buffers(self, name: str, into: Buffers) -> Form:
        into[name + ".offsets"], into[name + ".data"], present = self._flat()
        return _mask_into(
            present, {"kind": self.kind, "layout": self.layout, "length": len(self)}, name, into
        )

    _empty: ClassVar[Any]

    @classmethod
    def from_buffers(cls, form: Form, name: str, buffers: Mapping[str, Any]) -> _Strings:
        length = _length(form)
        offsets = read_array(buffers, name + ".offsets", "<i8", length + 1)
        data = read_array(buffers, name + ".data", "|u1")
        return cls(None, (offsets, data, _mask_from(form, name, buffers, length)))


def _checked_offsets(offsets: Array, size: int) -> Array:
    """The offsets, if they rise and stay within `size`: what was read from a file may say anything."""
    if offsets[0] < 0 or offsets[-1] > size or bool((offsets[1:] < offsets[:-1]).any()):
        raise CorruptData("the offsets of a column do not fit its data: the bytes are damaged")
    return offsets


def _offsets_of(lengths: Any, count: int) -> Array:
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, count), out=offsets[1:])
    return offsets


class TextColumn(_Strings):
    """Text, as UTF-8 (lone surrogates pass through)."""

    __slots__ = ("_coded", "_texts")
    kind: ClassVar[Kind] = "text"
    _empty = ""

    def __init__(
        self, values: list[Any] | None, flat: tuple[Array, Array, Array | None] | None = None
    ) -> None:
        super().__init__(values, flat)
        self._coded: tuple[Array, list[str]] | None = None
        self._texts: list[str] | None = None

    @staticmethod
    def _flatten(values: list[str]) -> tuple[Array, bytes]:
        text = "".join(values)
        if text.isascii():
            return _offsets_of(map(len, values), len(values)), text.encode()
        parts = [v.encode("utf-8", "surrogatepass") for v in values]
        return _offsets_of(map(len, parts), len(parts)), b"".join(parts)

    @staticmethod
    def _cut(data: Array, offsets: list[int]) -> list[str]:
        first = offsets[0]
        raw = data[first : offsets[-1]].tobytes()
        ends = offsets if first == 0 else [o - first for o in offsets]
        try:
            if raw.isascii():
                text = raw.decode("ascii")
                return [text[a:b] for a, b in pairwise(ends)]
            return [raw[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(ends)]
        except UnicodeDecodeError as error:
            raise CorruptData(f"a text is no UTF-8: {error}") from None

    def texts(self) -> list[str]:
        """The text of each row, '' where it is missing; made once and kept: read it, do not change it."""
        if self._texts is None:
            values = self._all()
            self._texts = values if self.present is None else ["" if v is None else v for v in values]
        return self._texts

    def codes(self) -> tuple[Array, list[str]]:
        """Dictionary-encoded: (n,) int32 codes, -1 where missing, and the distinct words. Made once and kept."""
        if self._coded is None:
            words: dict[str, int] = {}
            values = self._all()
            if None in values:
                numbers = [-1 if v is None else words.setdefault(v, len(words)) for v in values]
            else:
                numbers = [words.setdefault(v, len(words)) for v in values]
            self._coded = np.array(numbers, np.int32), list(words)
        return self._coded


class BytesColumn(_Strings):
    """Binary strings."""

    __slots__ = ()
    kind: ClassVar[Kind] = "bytes"
    _empty = b""

    @staticmethod
    def _flatten(values: list[bytes]) -> tuple[Array, bytes]:
        return _offsets_of(map(len, values), len(values)), b"".join(values)

    @staticmethod
    def _cut(data: Array, offsets: list[int]) -> list[bytes]:
        raw = data.data
        return [bytes(raw[a:b]) for a, b in pairwise(offsets)]


# ---------------------------------------------------------------------------------------------- numbers, bools


class NumberColumn(_Masked):
    """Numbers of one dtype: (n,) and a mask. Python ints and floats come back as they went in."""

    __slots__ = ("_data",)
    kind: ClassVar[Kind] = "number"

    def __init__(self, data: Array, present: Array | None = None) -> None:
        self._data = data
        self._present = present

    @classmethod
    def of(cls, values: list[Any]) -> Column:
        """A column of Python numbers; ints and floats mixed, or ints beyond 64 bits, keep their own column."""
        kinds = set(map(type, values))
        present = _mask_of(values) if type(None) in kinds else None
        kinds.discard(type(None))
        filled = values if present is None else [0 if v is None else v for v in values]
        if kinds <= {int} or kinds <= {float}:
            try:
                return cls(np.array(filled, np.float64 if kinds == {float} else np.int64), present)
            except OverflowError:
                pass  # more than 64 bits: JSON text says it
        return JsonColumn(values)

    def __len__(self) -> int:
        return len(self._data)

    @property
    def data(self) -> Array:
        """(n,) of one dtype; where a row is missing, what stands there means nothing."""
        return self._data

    def value(self, row: int) -> Any:
        return None if self._present is not None and not self._present[row] else self.data[row].item()

    def values(self) -> list[Any]:
        values, present = self.data.tolist(), self.present
        if present is not None:
            for row in np.flatnonzero(~present).tolist():
                values[row] = None
        return values

    def take(self, rows: Array) -> NumberColumn:
        return type(self)(self._data[rows], None if self._present is None else self._present[rows])

    def slice(self, start: int, stop: int) -> NumberColumn:
        present = None if self._present is None else self._present[start:stop]
        return type(self)(self._data[start:stop], present)

    def missing(self, count: int) -> NumberColumn:
        return type(self)(np.zeros(count, self.data.dtype), np.zeros(count, bool))

    def joined(self, others: Sequence[Column]) -> Column:
        parts = [cast("NumberColumn", part) for part in _not_empty([self, *others])]
        dtype = parts[0].data.dtype
        if any(part.data.dtype != dtype for part in parts):
            return super().joined(others)
        # The dtype is said, since numpy would give other than native byte order up.
        return type(self)(np.concatenate([part.data for part in parts], dtype=dtype), _joined_masks(parts))

    def to_buffers(self, name: str, into: Buffers) -> Form:
        data = into[name + ".data"] = np.ascontiguousarray(self.data)
        form = {"kind": self.kind, "layout": self.layout, "length": len(self), "dtype": data.dtype.str}
        return _mask_into(self.present, form, name, into)

    @classmethod
    def from_buffers(cls, form: Form, name: str, buffers: Mapping[str, Any]) -> NumberColumn:
        length, dtype = _length(form), _flat_dtype(name, form.get("dtype"))
        if dtype.kind not in "iuf":
            raise CorruptData(f"column {name!r} holds {dtype}, which is no number")
        data = read_array(buffers, name + ".data", dtype.str, length)
        return cls(data, _mask_from(form, name, buffers, length))


class BoolColumn(NumberColumn):
    """Truth values."""

    __slots__ = ()
    kind: ClassVar[Kind] = "bool"

    @classmethod
    def of(cls, values: list[Any]) -> Column:
        return cls(np.array(values, bool), _mask_of(values))

    @property
    def data(self) -> Array:
        """(n,) bool; where a row is missing, what stands there means nothing."""
        if self._data.dtype != bool:  # it came from a buffer, and nobody has looked at it yet
            self._data = _truths(self._data)
        return self._data

    @classmethod
    def from_buffers(cls, form: Form, name: str, buffers: Mapping[str, Any]) -> BoolColumn:
        length = _length(form)
        data = read_array(buffers, name + ".data", "|u1", length)
        return cls(data, _mask_from(form, name, buffers, length))


# ---------------------------------------------------------------------------------------------- tensors


def tensor_column(values: list[Any]) -> UniformTensors | RaggedTensors:
    """Arrays as a column: one matrix where shape, dtype and framework agree, row by row otherwise."""
    models: dict[type, Any] = {type(v): v for v in values}
    gaps = models.pop(type(None), values) is None
    kinds = set(map(framework, models.values()))
    if len(kinds) == 1:
        name = kinds.pop()
        if name not in (None, "scipy"):
            present = _mask_of(values) if gaps else None
            rows = [v for v in values if v is not None] if gaps else values
            if 2 * len(rows) >= len(values):  # else the zeros of missing rows would outweigh the arrays
                uniform = _uniform(rows, name, plain=models.keys() == {np.ndarray})
                if uniform is not None:
                    return UniformTensors(
                        uniform if present is None else _spread(uniform, present), present, name
                    )
    return RaggedTensors(values)


def _uniform(rows: list[Any], name: str, *, plain: bool) -> Array | None:
    """Arrays of one shape and dtype of numbers as one array; None where they differ."""
    if name == "torch" and any(is_sparse(v) or str(v.dtype) == "torch.bfloat16" for v in rows):
        return None
    if name == "list" and not all(map(_says_itself, rows)):
        return None
    try:
        arrays = cast("list[Array]", rows) if plain else list(map(_dense, rows))
    except (ShapeError, FieldTypeError):
        return None
    first = arrays[0]
    dtype, shape = first.dtype, first.shape
    dtypes = [array.dtype for array in arrays]  # mostly one object, so that `is` answers
    if dtype.kind not in "biufc" or not all(other is dtype or other == dtype for other in dtypes):
        return None
    if not _says_all(dtype):  # RaggedTensors will say no to it
        return None
    # The dtype is said, since numpy would give other than native byte order up.
    if len(shape) == 1:  # of the shapes, len is what is quick to ask for
        if {a.ndim for a in arrays} == {1} and set(map(len, arrays)) == {shape[0]}:
            return np.concatenate(arrays, dtype=dtype).reshape(len(arrays), shape[0])
        return None
    return np.stack(arrays, dtype=dtype) if {a.shape for a in arrays} == {shape} else None


def _spread(data: Array, present: Array) -> Array:
    spread = np.zeros((len(present), *data.shape[1:]), data.dtype)
    spread[present] = data
    return spread


def _dense(value: Any) -> Array:
    """A dense array of any framework as an ndarray that says all that the array says."""
    if framework(value) == "numpy" and hasattr(value, "filled"):
        raise FieldTypeError("a masked array cannot be stored: fill it first, `array.filled(value)`")
    try:
        return to_numpy(value)
    except (TypeError, RuntimeError) as error:
        raise FieldTypeError(
            f"an array of {framework(value)} that numpy cannot say cannot be stored: {error}"
        ) from None


def _says_itself(value: Any) -> bool:
    """Whether numpy gives a nested list back as it was: of one exact type of number, within 64 bits, no tuples."""
    kinds: set[type] = set()
    todo: list[Any] = [value]
    while todo:
        popped: Any = todo.pop()
        if type(popped) is not list:
            return False
        item = cast("list[Any]", popped)
        inner: set[type] = set(map(type, item))
        if inner == {list}:
            todo += item
        elif (
            len(inner) > 1 or (inner and not inner <= {int, float, bool}) or (not inner and item is not value)
        ) or (inner == {int} and not (min(item) >= -(1 << 63) and max(item) < 1 << 63)):
            return False
        kinds |= inner - {list}
    return len(kinds) <= 1


class UniformTensors(_Masked):
    """Arrays of one shape, dtype and framework: one ndarray (n, *shape) and a mask."""

    __slots__ = ("_data", "_raw", "framework")
    framework: str
    kind: ClassVar[Kind] = "tensor"
    layout: ClassVar[str] = "uniform"

    def __init__(self, data: Array, present: Array | None = None, framework: str = "numpy") -> None:
        self.framework = framework
        self._data = data
        self._raw = False  # truth values that nobody has looked at yet
        self._present = present

    def __len__(self) -> int:
        return len(self._data)

    @property
    def data(self) -> Array:
        """(n, *shape); where a row is missing, what stands there means nothing."""
        if self._raw:
            _truths(self._data.view(np.uint8))
            self._raw = False
        return self._data

    def value(self, row: int) -> Any:
        if self._present is not None and not self._present[row]:
            return None
        view = self.data[row, ...]
        if self.framework != "numpy":
            return from_numpy(view, self.framework)
        return view if view.flags.writeable else view.copy()

    def values(self) -> list[Any]:
        data, present = self.data, self.present
        if self.framework == "list":
            rows: list[Any] = data.tolist()
        elif self.framework == "numpy" and data.ndim > 1 and data.flags.writeable:
            rows = list(data)
        else:
            return [self.value(row) for row in range(len(self))]
        if present is not None:
            for row in np.flatnonzero(~present).tolist():
                rows[row] = None
        return rows

    def _like(self, data: Array, present: Array | None) -> UniformTensors:
        column = UniformTensors(data, present, self.framework)
        column._raw = self._raw
        return column

    def take(self, rows: Array) -> UniformTensors:
        return self._like(self._data[rows], None if self._present is None else self._present[rows])

    def slice(self, start: int, stop: int) -> UniformTensors:
        present = None if self._present is None else self._present[start:stop]
        return self._like(self._data[start:stop], present)

    @property
    def is_matrix(self) -> bool:
        """Whether the rows are vectors of numpy or torch, and none is missing."""
        return self._present is None and self._data.ndim > 1 and self.framework in ("numpy", "torch")

    def missing(self, count: int) -> UniformTensors:
        zeros = np.zeros((count, *self.data.shape[1:]), self.data.dtype)
        return UniformTensors(zeros, np.zeros(count, bool), self.framework)

    def joined(self, others: Sequence[Column]) -> Column:
        parts = _not_empty([self, *others])
        alike = [part for part in parts if isinstance(part, UniformTensors)]
        if len(alike) < len(parts):
            return super().joined(others)
        first, mask = alike[0], _joined_masks(parts)
        dtype, shape = first.data.dtype, first.data.shape[1:]
        if any(
            c.framework != first.framework or c.data.dtype != dtype or c.data.shape[1:] != shape
            for c in alike
        ):
            return super().joined(others)
        if mask is not None and 2 * np.count_nonzero(mask) < len(mask):
            return super().joined(others)
        return UniformTensors(np.concatenate([c.data for c in alike], dtype=dtype), mask, first.framework)

    def to_buffers(self, name: str, into: Buffers) -> Form:
        data = self.data
        into[name + ".data"] = np.ascontiguousarray(data).reshape(-1)
        form: Form = {
            "kind": self.kind,
            "layout": self.layout,
            "length": len(self),
            "dtype": data.dtype.str,
            "shape": list(data.shape[1:]),
            "framework": self.framework,
        }
        return _mask_into(self.present, form, name, into)

    @classmethod
    def from_buffers(cls, form: Form, name: str, buffers: Mapping[str, Any]) -> UniformTensors:
        length, shape = _length(form), form.get("shape")
        if not isinstance(shape, list) or not all(
            type(s) is int and s >= 0 for s in cast("list[Any]", shape)
        ):
            raise CorruptData(f"column {name!r} has the shape {shape!r}")
        sizes, dtype = cast("list[int]", shape), _flat_dtype(name, form.get("dtype"))
        if dtype.kind not in "biufc":
            raise CorruptData(f"column {name!r} holds {dtype}, which is no number")
        flat = read_array(buffers, name + ".data", dtype.str, length * math.prod(sizes))
        used = form.get("framework")
        if used not in _FRAMEWORKS:
            raise CorruptData(f"column {name!r} is of an unknown framework {used!r:.60}")
        try:
            data = flat.reshape((length, *sizes))
        except (ValueError, OverflowError) as error:  # too many axes, or an axis that no machine can count
            raise CorruptData(f"column {name!r} has the shape {sizes!r:.60}: {error}") from None
        column = cls(data, _mask_from(form, name, buffers, length), used)
        column._raw = dtype.kind == "b"
        return column


_FRAMEWORKS: Final = ("numpy", "list", "torch", "tensorflow", "paddle", "jax")


class RaggedTensors(Column):
    """Arrays of any shape, dtype and framework, row by row: a spec each, and their parts one after the other.

    Sparse rows keep their class, format and explicit zeros; nested lists that numpy cannot say stand as JSON. What
    came from buffers is made when it is asked for; dense arrays of writeable memory are views of it.
    """

    __slots__ = ("_flat", "_list")
    kind: ClassVar[Kind] = "tensor"
    layout: ClassVar[str] = "ragged"

    def __init__(self, values: list[Any], flat: _Pile | None = None) -> None:
        self._list = values
        self._flat = flat

    def __len__(self) -> int:
        return len(self._list) if self._flat is None else len(self._flat.kinds)

    def value(self, row: int) -> Any:
        return self._list[row] if self._flat is None else self._flat.row(row)

    def values(self) -> list[Any]:
        return self._list.copy() if self._flat is None else [self._flat.row(row) for row in range(len(self))]

    def take(self, rows: Array) -> RaggedTensors:
        if self._flat is not None:
            return RaggedTensors([], self._flat.at(rows))
        return RaggedTensors([self._list[i] for i in rows.tolist()])

    def slice(self, start: int, stop: int) -> RaggedTensors:
        if self._flat is not None:
            return RaggedTensors([], self._flat.at(slice(start, stop)))
        return RaggedTensors(self._list[start:stop])

    @property
    def present(self) -> Array | None:
        if self._flat is None:
            return _mask_of(self._list)
        mask = self._flat.kinds != -1
        return None if mask.all() else mask

    def missing(self, count: int) -> RaggedTensors:
        if self._flat is None:
            return RaggedTensors([None] * count)
        ints, data = np.zeros(count, np.int64), np.zeros(0, np.uint8)
        return RaggedTensors(
            [], _Pile([], np.full(count, -1, np.int32), ints, ints, ints[:0], data, whole=True)
        )

    def joined(self, others: Sequence[Column]) -> Column:
        parts = _not_empty([self, *others])
        piles = [part._flat for part in parts if isinstance(part, RaggedTensors) and part._flat is not None]
        return RaggedTensors([], _joined_piles(piles)) if len(piles) == len(parts) else super().joined(others)

    def to_buffers(self, name: str, into: Buffers) -> Form:
        pile = self._flat if self._flat is not None and self._flat.whole else _pile_of(self.values(), name)
        into[name + ".kinds"], into[name + ".starts"], into[name + ".dims"] = (
            pile.kinds,
            pile.starts,
            pile.dims,
        )
        into[name + ".shapes"], into[name + ".data"] = pile.shapes, pile.data
        specs = [[how, axes, [[dtype.str, n] for dtype, n in parts]] for how, axes, parts in pile.specs]
        return {"kind": self.kind, "layout": self.layout, "length": len(self), "specs": specs}

    @classmethod
    def from_buffers(cls, form: Form, name: str, buffers: Mapping[str, Any]) -> RaggedTensors:
        length = _length(form)
        specs: list[_Spec] = []
        try:
            for how, axes, parts in form["specs"]:
                if type(how) is not str or not all(
                    type(n) is int and 0 <= n <= 64 for n in (axes, *(n for _, n in parts))
                ):
                    raise CorruptData(f"column {name!r} has a malformed spec")
                specs.append((how, axes, tuple((_flat_dtype(name, dtype), n) for dtype, n in parts)))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CorruptData):
                raise
            raise CorruptData(f"column {name!r} has a malformed form: {error}") from None
        pile = _Pile(
            specs,
            kinds=read_array(buffers, name + ".kinds", "<i4", length),
            starts=read_array(buffers, name + ".starts", "<i8", length),
            dims=read_array(buffers, name + ".dims", "<i8", length),
            shapes=read_array(buffers, name + ".shapes", "<i8"),
            data=read_array(buffers, name + ".data", "|u1"),
            whole=True,
        )
        return cls([], pile)


# How the array is put together, the axes of its own shape where its parts do not tell it, and its parts: the dtype
# and the axes of each.
_Spec = tuple[str, int, tuple[tuple[np.dtype[Any], int], ...]]
_ALIGN: Final = 16


@dataclass(frozen=True, slots=True)
class _Pile:
    """Arrays lying one behind the other in one buffer."""

    specs: list[_Spec]
    kinds: Array  # (n,) int32, the spec of each row; -1 where it is missing
    starts: (
        Array  # (n,) int64, the byte of `data` where its first part begins; the next follows 16-byte aligned
    )
    dims: Array  # (n,) int64, where in `shapes` its sizes begin: of its own shape, then of each part
    shapes: Array  # (m,) int64
    data: Array  # (b,) uint8
    whole: bool  # whether these are all rows of the buffers, in order

    def at(self, rows: Array | slice) -> _Pile:
        """Some rows, on the same memory."""
        return _Pile(
            self.specs, self.kinds[rows], self.starts[rows], self.dims[rows], self.shapes, self.data, False
        )

    def row(self, row: int) -> Any:
        """One array, or None.

        Raises:
            CorruptData: what stands in the buffers makes none.
        """
        kind = int(self.kinds[row])
        if kind == -1:
            return None
        try:
            how, axes, parts = self.specs[kind if kind >= 0 else len(self.specs)]
            first, count = int(self.dims[row]), axes + sum(n for _, n in parts)
            sizes: list[int] = self.shapes[first : first + count].tolist() if first >= 0 else []
            if len(sizes) != count or min(sizes, default=0) < 0:
                raise ValueError("its shape is not where it should be")
            at, start, arrays = axes, int(self.starts[row]), list[Array]()
            for dtype, n in parts:
                shape = sizes[at : at + n]
                at += n
                stop = start + math.prod(shape) * dtype.itemsize
                if not 0 <= start <= stop <= len(self.data):
                    raise ValueError("it reaches beyond its column")
                raw = self.data[start:stop]
                if dtype.kind == "b":
                    _truths(raw)
                arrays.append(raw.view(dtype).reshape(shape))
                start = stop + -stop % _ALIGN
            return _put_together(how, tuple(sizes[:axes]), arrays)
        except (TypeError, ValueError, IndexError, OverflowError, RuntimeError) as error:
            if isinstance(error, CorruptData):
                raise
            raise CorruptData(f"a tensor cannot be read, the bytes are damaged: {error}") from None


def _pile_of(values: list[Any], name: str) -> _Pile:
    specs: dict[_Spec, int] = {}
    kinds, starts, dims, shapes = list[int](), list[int](), list[int](), list[int]()
    blocks, end = list[Any](), 0
    for row, value in enumerate(values):
        starts.append(end)
        dims.append(len(shapes))
        if value is None:
            kinds.append(-1)
            continue
        try:
            how, shape, arrays = _taken_apart(value)
            for array in arrays:
                if not _says_all(array.dtype):
                    raise FieldTypeError(
                        f"an array of {array.dtype} cannot be stored: use numbers, text or bytes"
                    )
        except FieldTypeError as error:
            raise FieldTypeError(f"column {name!r}, row {row}: {error}") from None
        spec = (how, len(shape), tuple((array.dtype, array.ndim) for array in arrays))
        kinds.append(specs.setdefault(spec, len(specs)))
        shapes += shape
        for array in arrays:
            shapes += array.shape
            blocks += [np.ascontiguousarray(array).reshape(-1).view(np.uint8), bytes(-array.nbytes % _ALIGN)]
            end += array.nbytes + -array.nbytes % _ALIGN
    data = np.frombuffer(b"".join(blocks), np.uint8)
    return _Pile(
        list(specs),
        kinds=np.array(kinds, np.int32),
        starts=np.array(starts, np.int64),
        dims=np.array(dims, np.int64),
        shapes=np.array(shapes, np.int64),
        data=data,
        whole=True,
    )


def _joined_piles(piles: list[_Pile]) -> _Pile:
    specs: dict[_Spec, int] = {}
    kinds, starts, dims = list[Array](), list[Array](), list[Array]()
    sizes = count = 0
    for pile in piles:
        # The last entry is for -1, which stays what it is; a spec that there is not is for `row` to refuse.
        fresh = np.array([*(specs.setdefault(spec, len(specs)) for spec in pile.specs), -1], np.int32)
        known = (pile.kinds >= -1) & (pile.kinds < len(pile.specs))
        kinds.append(np.where(known, fresh[np.where(known, pile.kinds, -1)], np.int32(-2)))
        starts.append(pile.starts + sizes)
        dims.append(pile.dims + count)
        sizes += len(pile.data)
        count += len(pile.shapes)
    return _Pile(
        list(specs),
        kinds=np.concatenate(kinds),
        starts=np.concatenate(starts),
        dims=np.concatenate(dims),
        shapes=np.concatenate([pile.shapes for pile in piles]),
        data=np.concatenate([pile.data for pile in piles]),
        whole=all(pile.whole for pile in piles),
    )


def _taken_apart(value: Any) -> tuple[str, tuple[int, ...], list[Array]]:
    """An array as a word for how to put it together, its shape where that word needs it, and dense parts."""
    name = framework(value)
    if name == "list":
        try:
            array = _dense(value) if _says_itself(value) else None
        except ShapeError:  # not rectangular
            array = None
        if array is None:
            return "json", (), [np.frombuffer(tagged.dumps(value).encode("utf-8", "surrogatepass"), np.uint8)]
        return name, (), [array]
    if name == "scipy":
        return _scipy_apart(value)
    if name == "torch" and is_sparse(value):
        return _torch_apart(value)
    if name == "torch" and str(value.dtype) == "torch.bfloat16":
        bits = value.detach().cpu().contiguous().view(_package("torch").int16)
        return "torch.bfloat16", (), [bits.numpy()]
    return cast("str", name), (), [_dense(value)]


def _put_together(how: str, shape: tuple[int, ...], parts: list[Array]) -> Any:
    """The array that was taken apart; its parts come from buffers and may say anything."""
    if how.startswith("scipy."):
        return _scipy_together(how, shape, parts)
    if how.startswith("torch.sparse"):
        return _torch_together(how, shape, parts)
    (array,) = parts
    if how == "json":
        value = tagged.loads(array.tobytes().decode("utf-8", "surrogatepass"))
        if not isinstance(value, (list, tuple)):
            raise CorruptData(f"a nested list is {type(value).__name__}")
        return cast("Any", value)
    if not (array.flags.writeable and array.flags.aligned):
        array = array.copy()
    if how == "torch.bfloat16":
        torch = _package("torch")
        return torch.from_numpy(array).view(torch.bfloat16)
    if how not in _FRAMEWORKS:
        raise CorruptData(f"an unknown framework {how!r:.60}")
    return from_numpy(array, how)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise MissingExtra(
            f"these arrays are of {package}, which is not installed: pip install {package}"
        ) from None


# By format: the attributes that are its parts. lil and dok hold Python objects; they pass through csr and coo.
_SCIPY_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "lil": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "dok": ("data", "coords"),
    "dia": ("data", "offsets"),
}


def _scipy_apart(value: Any) -> tuple[str, tuple[int, ...], list[Array]]:
    style = "array" if any(c.__name__.endswith("_array") for c in type(value).__mro__) else "matrix"
    how, shape = f"scipy.{value.format}.{style}", tuple(map(int, value.shape))
    held = value.tocsr() if value.format == "lil" else value.tocoo() if value.format == "dok" else value
    if value.format in ("coo", "dok"):
        coords = held.coords if hasattr(held, "coords") else (held.row, held.col)
        return how, shape, [held.data, np.stack([np.asarray(c, np.int64) for c in coords])]
    parts: list[Array] = [getattr(held, part) for part in _SCIPY_PARTS[value.format]]
    if value.format != "dia":  # what lies behind the last entry is spare room
        parts[:2] = (part[: int(held.indptr[-1])] for part in parts[:2])
    return how, shape, parts


def _scipy_together(how: str, shape: tuple[int, ...], parts: list[Array]) -> Any:
    _, fmt, style = how.split(".")
    if fmt not in _SCIPY_PARTS or style not in ("array", "matrix") or len(parts) != len(_SCIPY_PARTS[fmt]):
        raise CorruptData(f"an unknown sparse array {how!r:.60}")
    data, *numbers = (part.copy() for part in parts)
    if data.dtype.kind not in "biufc" or any(part.dtype.kind != "i" for part in numbers):
        raise CorruptData(f"a sparse array of {data.dtype} at {numbers[0].dtype}")
    sparse = _package("scipy.sparse")
    if fmt in ("coo", "dok"):
        (coords,) = numbers
        limits = np.array(shape, np.int64).reshape(-1, 1)
        if (
            data.ndim != 1
            or coords.shape != (len(shape), len(data))
            or bool(((coords < 0) | (coords >= limits)).any())
        ):
            raise CorruptData("the entries of a sparse array do not fit its shape: the bytes are damaged")
        made = getattr(sparse, f"coo_{style}")((data, tuple(coords)), shape=shape)
    elif fmt == "dia":
        (offsets,) = numbers
        if data.ndim != 2 or offsets.shape != data.shape[:1]:
            raise CorruptData("the diagonals of a sparse array do not fit its shape: the bytes are damaged")
        made = getattr(sparse, f"dia_{style}")((data, offsets), shape=shape)
    else:
        indices, pointers = numbers
        _check_compressed(fmt, shape, data, indices, pointers)
        kind = "csr" if fmt == "lil" else fmt
        made = getattr(sparse, f"{kind}_{style}")((data, indices, pointers), shape=shape)
    return made.asformat(fmt)


def _check_compressed(fmt: str, shape: tuple[int, ...], data: Array, indices: Array, pointers: Array) -> None:
    """Looks at all that scipy's compiled code takes on trust."""
    sizes = (1, *shape) if len(shape) == 1 else shape
    major, minor = (sizes[1], sizes[0]) if fmt == "csc" else (sizes[0], sizes[1])
    blocks = (1, 1)
    if fmt == "bsr":
        blocks = data.shape[1:]
        if len(blocks) != 2 or 0 in blocks or major % blocks[0] or minor % blocks[1]:
            raise CorruptData("the blocks of a sparse array do not fit its shape: the bytes are damaged")
    elif data.ndim != 1:
        raise CorruptData("a sparse array has entries of more than one axis: the bytes are damaged")
    fits = (
        indices.shape == data.shape[:1]
        and pointers.shape == (major // blocks[0] + 1,)
        and pointers[0] == 0
        and pointers[-1] == len(indices)
        and bool((pointers[1:] >= pointers[:-1]).all())
        and (not len(indices) or bool(0 <= indices.min() <= indices.max() < minor // blocks[1]))
    )
    if not fits:
        raise CorruptData("the entries of a sparse array do not fit its shape: the bytes are damaged")


def _torch_apart(value: Any) -> tuple[str, tuple[int, ...], list[Array]]:
    layout, held = str(value.layout).removeprefix("torch."), value.detach().cpu()
    if layout == "sparse_coo":
        held = held.coalesce()
        parts = [held.indices(), held.values()]
    elif layout in ("sparse_csr", "sparse_bsr"):
        parts = [held.crow_indices(), held.col_indices(), held.values()]
    elif layout in ("sparse_csc", "sparse_bsc"):
        parts = [held.ccol_indices(), held.row_indices(), held.values()]
    else:
        raise FieldTypeError(
            f"a tensor of layout {layout} cannot be stored: make it dense or sparse_coo first"
        )
    return f"torch.{layout}", tuple(held.shape), [_dense(part) for part in parts]


def _torch_together(how: str, shape: tuple[int, ...], parts: list[Array]) -> Any:
    torch = _package("torch")
    held = [torch.from_numpy(part.copy()) for part in parts]
    if how == "torch.sparse_coo":
        return torch.sparse_coo_tensor(*held, shape, check_invariants=True).coalesce()
    if how not in ("torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc"):
        raise CorruptData(f"an unknown sparse tensor {how!r:.60}")
    layout = getattr(torch, how.removeprefix("torch."))
    return torch.sparse_compressed_tensor(*held, shape, layout=layout, check_invariants=True)


# ---------------------------------------------------------------------------------------------- tags and scores


class Struct:
    """Dicts as columns by key: the distinct key tuples, which of them each row has, and a column a key."""

    __slots__ = ("_checked", "codes", "columns", "shapes")
    shapes: list[tuple[str, ...]]
    codes: Array | None
    columns: dict[str, Column]

    def __init__(
        self,
        shapes: list[tuple[str, ...]],
        codes: Array | None,
        columns: dict[str, Column],
        *,
        checked: bool = True,
    ) -> None:
        self.shapes = shapes
        self.codes = codes  # (n,) int16, -1 where the row is missing; None: all rows have shapes[0]
        self.columns = columns
        self._checked = checked

    def checked_codes(self) -> Array | None:
        """The codes, each of them one that there is."""
        codes = self.codes
        if not self._checked and codes is not None and len(codes):
            if not -1 <= int(codes.min()) <= int(codes.max()) < len(self.shapes):
                raise CorruptData("a row names a set of keys that there is not: the bytes are damaged")
            self._checked = True
        return codes

    def at(self, codes: Array | None, columns: dict[str, Column]) -> Struct:
        """Some of the rows."""
        return Struct(self.shapes, codes, columns, checked=self._checked)

    def pays(self, rows: int) -> bool:
        """Whether so many rows are worth a column a key: not when there are few, or most cells would be empty."""
        keys = len(self.columns)
        if not 0 < 4 * keys <= rows:
            return False
        codes = self.checked_codes()
        if codes is None:
            return True
        counts = np.bincount(codes + 1, minlength=len(self.shapes) + 1)[1:].tolist()
        filled = sum(count * len(shape) for count, shape in zip(counts, self.shapes, strict=True))
        return 4 * filled >= keys * rows


_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # keys stand in the form, which may become JSON of any kind
_MOST_SHAPES: Final = 64
_MOST_KEYS: Final = 128
_SAMPLE: Final = 1000
_DEEPEST_STRUCT: Final = 8


class JsonColumn(Column):
    """Tags and other nested data: a list, a column a key where rows have few distinct sets of keys, or JSON text."""

    __slots__ = ("_length", "_list", "_struct", "_text")
    kind: ClassVar[Kind] = "json"

    def __init__(
        self,
        values: list[Any] | None,
        struct: Struct | None = None,
        text: TextColumn | None = None,
        length: int = 0,
    ) -> None:
        self._list = values
        self._struct: Struct | bool | None = struct  # False: tried, and it cannot be
        self._text = text
        self._length = len(values) if values is not None else length

    def __len__(self) -> int:
        return self._length

    def value(self, row: int) -> Any:
        if self._list is not None:
            return self._list[row]
        if isinstance(self._struct, Struct):
            struct = self._struct
            codes = struct.checked_codes()
            code = 0 if codes is None else int(codes[row])
            return None if code < 0 else {key: struct.columns[key].value(row) for key in struct.shapes[code]}
        assert self._text is not None
        text = self._text.value(row)
        return None if text is None else tagged.loads(text)

    def values(self) -> list[Any]:
        if self._list is not None:
            return self._list.copy()
        if isinstance(self._struct, Struct):
            return _rows_of(self._struct, self._length)
        assert self._text is not None
        return [None if text is None else tagged.loads(text) for text in self._text.values()]

    def by_key(self) -> Mapping[str, Column] | None:
        """A column for each key, missing where a row lacks it or holds None; None when the rows are too diverse.

        The first call on a list costs one pass over it; the answer is kept.
        """
        struct = self._shredded()
        return None if struct is None else struct.columns

    def _shredded(self) -> Struct | None:
        if self._struct is None:
            self._struct = False if self._is_diverse() else _shred(self.values()) or False
        return self._struct if isinstance(self._struct, Struct) else None

    def _is_diverse(self) -> bool:
        """Whether the first rows of text alone show too many sets of keys: the rest need not be read for that."""
        if self._list is not None or self._text is None or self._length <= _SAMPLE:
            return False
        first = self.slice(0, _SAMPLE).values()
        return not all(value is None for value in first) and _shred(first) is None

    def take(self, rows: Array) -> JsonColumn:
        if isinstance(self._struct, Struct) and self._list is None:
            struct = self._struct
            columns = {key: column.take(rows) for key, column in struct.columns.items()}
            codes = None if struct.codes is None else struct.codes[rows]
            return type(self)(None, struct.at(codes, columns), length=len(rows))
        if self._list is None:
            assert self._text is not None
            return type(self)(None, text=cast("TextColumn", self._text.take(rows)), length=len(rows))
        return type(self)([self._list[i] for i in rows.tolist()])

    def slice(self, start: int, stop: int) -> JsonColumn:
        if isinstance(self._struct, Struct) and self._list is None:
            struct = self._struct
            columns = {key: column.slice(start, stop) for key, column in struct.columns.items()}
            codes = None if struct.codes is None else struct.codes[start:stop]
            return type(self)(None, struct.at(codes, columns), length=stop - start)
        if self._list is None:
            assert self._text is not None
            return type(self)(
                None, text=cast("TextColumn", self._text.slice(start, stop)), length=stop - start
            )
        return type(self)(self._list[start:stop])

    @property
    def present(self) -> Array | None:
        if self._list is not None:
            return _mask_of(self._list)
        if isinstance(self._struct, Struct):
            codes = self._struct.checked_codes()
            return None if codes is None else codes >= 0
        assert self._text is not None
        return self._text.present

    def missing(self, count: int) -> JsonColumn:
        if self._list is None and isinstance(self._struct, Struct):
            columns = {key: column.missing(count) for key, column in self._struct.columns.items()}
            struct = self._struct.at(np.full(count, -1, np.int16), columns)
            return type(self)(None, struct, length=count)
        if self._list is None and self._text is not None:
            return type(self)(None, text=cast("TextColumn", self._text.missing(count)), length=count)
        return type(self)([None] * count)

    def joined(self, others: Sequence[Column]) -> Column:
        parts = [cast("JsonColumn", part) for part in _not_empty([self, *others])]
        length = sum(map(len, parts))
        if all(part._list is None and part._text is not None for part in parts):
            text, *more = [cast("TextColumn", part._text) for part in parts]
            return type(self)(None, text=cast("TextColumn", text.joined(more)), length=length)
        if all(part._list is None and isinstance(part._struct, Struct) for part in parts):
            struct = _joined_structs([(cast("Struct", part._struct), len(part)) for part in parts])
            if struct is not None:
                return type(self)(None, struct, length=length)
        return super().joined(others)

    def to_buffers(self, name: str, into: Buffers, depth: int = 0) -> Form:
        length = len(self)
        form: Form = {"kind": self.kind, "layout": "text", "length": length}
        struct = self._shredded() if self._text is None and length > 3 and depth < _DEEPEST_STRUCT else None
        if struct is None or not struct.pays(length):
            text = TextColumn(_dumped(self.values(), name)) if self._text is None else self._text
            form["text"] = text.to_buffers(name + ".text", into)
            return form
        form["layout"] = "struct"
        form["shapes"] = [list(shape) for shape in struct.shapes]
        form["columns"] = [
            [
                key,
                column.to_buffers(f"{name}.{i}", into, depth + 1)
                if isinstance(column, JsonColumn)
                else column.to_buffers(f"{name}.{i}", into),
            ]
            for i, (key, column) in enumerate(struct.columns.items())
        ]
        if struct.codes is not None:
            form["coded"] = True
            into[name + ".codes"] = np.ascontiguousarray(struct.codes)
        return form

    @classmethod
    def from_buffers(cls, form: Form, name: str, buffers: Mapping[str, Any], depth: int = 0) -> JsonColumn:
        length = _length(form)
        if form.get("layout") == "text":
            text = column_from_buffers(form.get("text"), name + ".text", buffers)
            if not isinstance(text, TextColumn) or len(text) != length:
                raise CorruptData(f"column {name!r} has no text for each of {length} rows")
            return cls(None, text=text, length=length)
        columns: dict[str, Column] = {}
        coded = bool(form.get("coded"))
        try:
            shapes = [tuple(shape) for shape in cast("list[list[str]]", form["shapes"])]
            for i, (key, inner) in enumerate(form["columns"]):
                columns[key] = _cells_from_buffers(inner, f"{name}.{i}", buffers, depth)
            fits = (
                0 < len(shapes) <= (_MOST_SHAPES if coded else 1)
                and 0 < len(columns) == len(form["columns"]) <= _MOST_KEYS
                and all(type(key) is str for key in columns)
                and all(key in columns for shape in shapes for key in shape)
                and all(len(column) == length for column in columns.values())
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CorruptData):
                raise
            raise CorruptData(f"column {name!r} has a malformed form: {error}") from None
        if not fits:
            raise CorruptData(f"column {name!r} has keys and columns that do not go together")
        codes = read_array(buffers, name + ".codes", "<i2", length) if coded else None
        return cls(None, Struct(shapes, codes, columns, checked=False), length=length)


def _cells_from_buffers(form: Any, name: str, buffers: Mapping[str, Any], depth: int) -> Column:
    """A column of cells. Each of its kinds takes at least a byte a row, so a small file cannot announce a big one."""
    kind = form["kind"]
    if kind == "json" and depth < _DEEPEST_STRUCT:
        return JsonColumn.from_buffers(form, name, buffers, depth + 1)
    if kind not in ("text", "number", "bool"):
        raise CorruptData(f"column {name!r} is of kind {kind!r:.60}, which is none of cells")
    return column_from_buffers(form, name, buffers)


class ScoresColumn(JsonColumn):
    """Scores by name: rows are dicts of dicts with value, op_name, description and ref_id, where set."""

    __slots__ = ()
    kind: ClassVar[Kind] = "scores"


def _dumped(values: list[Any], name: str) -> list[str | None]:
    texts: list[str | None] = []
    try:
        for value in values:
            texts.append(None if value is None else tagged.dumps(value))
    except FieldTypeError as error:
        raise FieldTypeError(f"column {name!r}, row {len(texts)}: {error}") from None
    return texts


def _joined_structs(parts: list[tuple[Struct, int]]) -> Struct | None:
    """The rows of all, with the sets of keys of all; None when these are too many."""
    shapes: dict[tuple[str, ...], int] = {}
    codes: list[Array] = []
    for struct, length in parts:
        known = struct.checked_codes()
        # The last entry is for -1, which stays what it is.
        fresh = np.array([*(shapes.setdefault(shape, len(shapes)) for shape in struct.shapes), -1], np.int16)
        codes.append(np.full(length, fresh[0], np.int16) if known is None else fresh[known])
    keys = list(dict.fromkeys(key for shape in shapes for key in shape))
    if len(shapes) > _MOST_SHAPES or len(keys) > _MOST_KEYS:
        return None
    columns: dict[str, Column] = {}
    for key in keys:
        model = next(struct.columns[key] for struct, _ in parts if key in struct.columns)
        cells = [s.columns[key] if key in s.columns else model.missing(length) for s, length in parts]
        alike = len({cell.kind for cell in cells}) == 1
        columns[key] = (
            cells[0].joined(cells[1:]) if alike else JsonColumn([v for cell in cells for v in cell.values()])
        )
    plain = len(shapes) == 1 and all(struct.codes is None for struct, _ in parts)
    return Struct(list(shapes), None if plain else np.concatenate(codes), columns)


def _shred(values: list[Any]) -> Struct | None:
    """Dicts as columns, exactly (key order included), or None when there are too many distinct sets of keys."""
    kinds = set(map(type, values))
    if not kinds <= {dict, type(None)} or dict not in kinds:
        return None
    gaps = type(None) in kinds
    rows: list[dict[Any, Any]] = [v for v in values if v is not None] if gaps else values
    shapes = dict.fromkeys(map(tuple, rows[:1000]), 0)
    if len(shapes) <= _MOST_SHAPES:  # else the rest could not help
        shapes = {shape: code for code, shape in enumerate(dict.fromkeys(map(tuple, rows)))}
    if len(shapes) > _MOST_SHAPES:
        return None
    keys = list(dict.fromkeys(key for shape in shapes for key in shape))
    if len(keys) > _MOST_KEYS or not all(type(key) is str and not _SURROGATE.search(key) for key in keys):
        return None
    if len(shapes) == 1 and not gaps:
        columns = {key: _cells_column(list(map(itemgetter(key), values))) for key in keys}
        return Struct(list(shapes), None, columns)
    columns = {
        key: _cells_column([None if value is None else value.get(key) for value in values]) for key in keys
    }
    codes = np.full(len(values), -1, np.int16)
    codes[slice(None) if (mask := _mask_of(values)) is None else mask] = [shapes[tuple(v)] for v in rows]
    return Struct(list(shapes), codes, columns)


def _cells_column(cells: list[Any]) -> Column:
    kinds = set(map(type, cells))
    if kinds == {float}:  # the same as what is below, which would look at all of them again
        return NumberColumn(np.array(cells, np.float64))
    kinds.discard(type(None))
    if kinds == {str}:
        return TextColumn(cells)
    if kinds == {bool}:
        return BoolColumn.of(cells)
    if kinds in ({int}, {float}):
        return NumberColumn.of(cells)
    return JsonColumn(cells)


def _rows_of(struct: Struct, length: int) -> list[Any]:
    if struct.codes is not None:
        cells = {key: column.values() for key, column in struct.columns.items()}
        shapes = struct.shapes
        codes: list[int] = cast("Array", struct.checked_codes()).tolist()
        return [
            None if code < 0 else {key: cells[key][row] for key in shapes[code]}
            for row, code in enumerate(codes)
        ]
    keys = struct.shapes[0]
    columns = [struct.columns[key].values() for key in keys]
    # Written out for the commonest numbers of keys: five times as fast as `dict(zip(...))`.
    if len(keys) == 1:
        (a,) = keys
        return [{a: x} for x in columns[0]]
    if len(keys) == 2:
        a, b = keys
        return [{a: x, b: y} for x, y in zip(*columns, strict=True)]
    if len(keys) == 3:
        a, b, c = keys
        return [{a: x, b: y, c: z} for x, y, z in zip(*columns, strict=True)]
    if keys:
        return [dict(zip(keys, row)) for row in zip(*columns, strict=True)]  # noqa: B905
    return [dict[str, Any]() for _ in range(length)]


# ---------------------------------------------------------------------------------------------- by kind


def column_of(kind: Kind, values: list[Any]) -> Column:
    """A column of the kind that holds the values, None for missing. It keeps the list: do not change it after.

    >>> column_of('number', [1, None, 3]).values()
    [1, None, 3]
    """
    if kind == "text":
        return TextColumn(values)
    if kind == "bytes":
        return BytesColumn(values)
    if kind == "number":
        return NumberColumn.of(values)
    if kind == "bool":
        return BoolColumn.of(values)
    if kind == "tensor":
        return tensor_column(values)
    if kind == "json":
        return JsonColumn(values)
    if kind == "scores":
        return ScoresColumn(values)
    raise BadValue(f"a column of kind {kind!r} is not made from a list")


def join_columns(name: str, parts: Sequence[Column]) -> Column:
    """The rows of all parts, one after the other. Numbers that needed JSON somewhere are JSON as a whole.

    Raises:
        FieldTypeError: the parts are of kinds that do not go together.
    """
    kinds = {part.kind for part in parts if len(part)}
    if len(kinds) > 1:
        if not kinds <= {"number", "json"}:
            raise FieldTypeError(f"column {name!r} is of several kinds: {', '.join(sorted(kinds))}")
        return JsonColumn([value for part in parts for value in part.values()])
    filled = _not_empty(parts)
    return filled[0].joined(filled[1:]) if len(filled) > 1 else filled[0]


_READERS: Final[Mapping[tuple[str, str], Any]] = {
    ("text", "flat"): TextColumn,
    ("bytes", "flat"): BytesColumn,
    ("number", "flat"): NumberColumn,
    ("bool", "flat"): BoolColumn,
    ("tensor", "uniform"): UniformTensors,
    ("tensor", "ragged"): RaggedTensors,
    ("json", "struct"): JsonColumn,
    ("json", "text"): JsonColumn,
    ("scores", "struct"): ScoresColumn,
    ("scores", "text"): ScoresColumn,
}


def column_from_buffers(form: object, name: str, buffers: Mapping[str, Any]) -> Column:
    """The column that `to_buffers` wrote under this name, on the same memory.

    Raises:
        CorruptData: the form or a buffer is not what it should be; the message names the column.
    """
    if not isinstance(form, dict):
        raise CorruptData(f"column {name!r} has no form")
    known = cast("Form", form)
    key = (str(known.get("kind")), str(known.get("layout")))
    if key not in _READERS:
        raise CorruptData(
            f"column {name!r} is of kind {key[0]!r:.60} in layout {key[1]!r:.60}, which this version cannot read"
        )
    return cast("Column", _READERS[key].from_buffers(known, name, buffers))
