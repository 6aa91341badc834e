"""NdArrayProto and arrays of any framework.

Rule 1: what a plain NdArrayProto can say is written as it always was: numpy, lists, torch, tensorflow and paddle as
        a dtype, a shape and bytes; scipy and sparse torch as coordinates and values.
Rule 2: what does not come back from that as it was is noted, and said beside it as a column of one row (`exact_of`).
Rule 3: what is read may lie. The name of a dtype is one of flat data, a shape is held against the bytes, coordinates
        against the shape. Nothing is allocated for what is only announced.
Rule 4: arrays that are given out can be written to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
from google.protobuf.message import DecodeError

from docarray import tagged
from docarray.columns import (
    Buffers,
    Column,
    RaggedTensors,
    UniformTensors,
    column_from_buffers,
    tensor_column,
)
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    FormatError,
    ShapeError,
    Unsupported,
)
from docarray.proto.docarray_pb2 import DenseNdArrayProto, NdArrayProto
from docarray.registry import require
from docarray.serialization.structs import Way, decode, dump_exact, encode, load_exact
from docarray.serialization.varints import gathered, varint
from docarray.tensors import Array, framework, from_numpy, is_sparse, to_numpy

__all__ = ["converted", "decode_array", "encode_array", "exact_of", "frame", "from_exact", "read_column"]

_LONGEST_FRAME: Final = 512  # frames are kept for the next array; long ones come from nobody honest
_LONGEST_SIDE: Final = (1 << 32) - 1
_DENSE: Final = ("numpy", "list", "torch", "tensorflow", "paddle")
_MOST_AXES: Final = 32  # of numpy 1; of numpy 2 it is 64
_FREE: Final = 1 << 24
_SCIPY: Final = ("csr", "csc", "coo", "bsr")
# How programs other than numpy's own call the commonest.
_NAMES: Final = {
    name: np.dtype(name)
    for name in "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 "
    "complex128".split()
}


def converted(value: Any, ndarray_type: str | None) -> Any:
    """The array as a nested list ('list') or an ndarray ('numpy'); with None as it is.

    Raises:
        FieldTypeError: `ndarray_type` is none of these.
    """
    if ndarray_type is None:
        return value
    if ndarray_type == "list":
        return cast("Any", value) if type(value) is list else to_numpy(value).tolist()
    if ndarray_type == "numpy":
        return to_numpy(value)
    raise FieldTypeError(f"ndarray_type is None, 'list' or 'numpy'; got {ndarray_type!r:.60}")


# ---------------------------------------------------------------------------------------------- writing


@lru_cache(maxsize=256)
def frame(shape: tuple[int, ...], dtype: np.dtype[Any], cls_name: str, size: int) -> tuple[bytes, bytes]:
    """What stands before and behind the `size` bytes of a dense array in an NdArrayProto.

    >>> frame((2,), np.dtype('<f4'), 'numpy', 8)
    (b'\\n\\x12\\n\\x08', b'\\x12\\x01\\x02\\x1a\\x03<f4\\x1a\\x05numpy')
    """
    if any(side > _LONGEST_SIDE for side in shape):
        raise BadValue(f"an array of the shape {shape} has an axis beyond 32 bits")
    before = b"\x0a" + varint(size) if size else b""
    behind = _said(0x12, b"".join(map(varint, shape))) if shape else b""
    behind += _said(0x1A, dtype.str.encode())
    whole = len(before) + size + len(behind)
    return b"\x0a" + varint(whole) + before, behind + _said(0x1A, cls_name.encode())


def _said(tag: int, payload: bytes) -> bytes:
    return bytes([tag]) + varint(len(payload)) + payload


def encode_array(value: Any, way: Way) -> tuple[bytes | None, bool]:
    """An array as the bytes of an NdArrayProto, None where it has no such form; and whether they say all of it.

    Raises:
        FieldTypeError: it is no array, or one of objects or of fields.
        Unsupported: `way` is not exact, and an NdArrayProto would not bring it back.
    """
    if type(value) is np.ndarray and value.dtype.kind in "iufcb":
        payload = _dense(value, "numpy")
        return payload, payload is not None
    name = framework(value)
    if name == "scipy":
        payload, exactly = _encode_scipy(value, way)
    elif is_sparse(value) or (name == "tensorflow" and hasattr(value, "dense_shape")):
        payload, exactly = _encode_sparse(value, cast("str", name))
    elif name == "list":
        payload, exactly = _encode_list(value)
    elif name is None:
        raise FieldTypeError(f"not an array: {type(value).__name__}")
    else:
        array = _array_of(value, name)
        payload = _dense(array, name if name in _DENSE else "numpy")
        exactly = payload is not None and name in _DENSE
        exactly = exactly and not (name == "torch" and str(value.dtype) == "torch.bfloat16")
    if payload is None and not way.exact:
        raise Unsupported(
            f"a plain NdArrayProto cannot say this array of {name}, a {type(value).__name__}: "
            "leave `exact=False` out, or make it dense"
        )
    return payload, exactly


def _array_of(value: Any, name: str) -> Array:
    if hasattr(value, "filled") and hasattr(value, "mask"):
        raise FieldTypeError("a masked array cannot be stored: fill it first, `array.filled(value)`")
    try:
        array = np.asarray(to_numpy(value))
    except (TypeError, RuntimeError) as error:
        raise FieldTypeError(f"an array of {name} that numpy cannot say cannot be stored: {error}") from None
    if not _says_all(array.dtype):
        raise FieldTypeError(f"an array of {array.dtype} cannot be stored: use numbers, text or bytes")
    return array


@lru_cache(maxsize=256)
def _says_all(dtype: np.dtype[Any]) -> bool:
    """Whether the name of a dtype says all of it."""
    try:
        return tagged.flat_dtype(dtype.str) == dtype
    except FormatError:
        return False


def _dense(array: Array, cls_name: str) -> bytes | None:
    try:
        before, behind = frame(array.shape, array.dtype, cls_name, array.nbytes)
    except BadValue:  # an axis beyond 32 bits, of an array without items
        return None
    return b"".join((before, array.tobytes(), behind))


def _encode_list(value: Any) -> tuple[bytes | None, bool]:
    try:
        array = to_numpy(value)
    except (ShapeError, OverflowError, TypeError):  # not rectangular, or no numbers at all
        return None, False
    if not _says_all(array.dtype) or array.dtype.kind not in "biufc":
        return None, False
    is_list: bool = type(value) is list
    exactly = is_list and array.dtype.kind in "bif" and repr(array.tolist()) == repr(cast("Any", value))
    return _dense(array, "list"), exactly


def _dense_message(array: Array) -> bytes:
    before = _said(0x0A, array.tobytes()) if array.nbytes else b""
    shape = _said(0x12, b"".join(map(varint, array.shape))) if array.shape else b""
    return before + shape + _said(0x1A, array.dtype.str.encode())


def _coordinates(indices: Array, values: Array, shape: Sequence[int], cls_name: str) -> bytes | None:
    if any(side > _LONGEST_SIDE for side in shape) or not _says_all(values.dtype):
        return None
    inner = _said(0x0A, _dense_message(indices)) + _said(0x12, _dense_message(values))
    inner += _said(0x1A, b"".join(map(varint, shape))) if shape else b""
    return _said(0x12, inner) + _said(0x1A, cls_name.encode())


def _encode_scipy(value: Any, way: Way) -> tuple[bytes | None, bool]:
    if len(value.shape) != 2:
        return None, False
    coo = value.tocoo()
    fmt = value.format if value.format in _SCIPY else "coo"
    if fmt != value.format and not way.exact:
        return None, False
    payload = _coordinates(np.stack([coo.row, coo.col], axis=1), coo.data, value.shape, "scipy")
    if payload is None:
        return None, False
    payload += _said(0x22, encode({"sparse_format": fmt})[0])
    try:
        again = decode_array(payload)
    except (DocArrayError, ValueError):
        return payload, False
    return payload, _same_sparse(value, again)


def _same_sparse(a: Any, b: Any) -> bool:
    if type(a) is not type(b) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    if getattr(a, "blocksize", None) != getattr(b, "blocksize", None):
        return False
    x, y = a.tocoo(), b.tocoo()
    return (
        x.data.tobytes() == y.data.tobytes() and np.array_equal(x.row, y.row) and np.array_equal(x.col, y.col)
    )


def _encode_sparse(value: Any, name: str) -> tuple[bytes | None, bool]:
    if name == "tensorflow":
        return _coordinates(
            np.asarray(value.indices.numpy()),
            np.asarray(value.values.numpy()),
            [int(side) for side in value.dense_shape],
            name,
        ), True
    held = value.detach().cpu()
    exactly = str(value.layout) == "torch.sparse_coo" and str(value.dtype) != "torch.bfloat16"
    if str(value.layout) != "torch.sparse_coo":
        held = held.to_dense().to_sparse()
    held = held.coalesce()
    shape = [int(side) for side in held.shape]
    payload = _coordinates(to_numpy(held.indices()), to_numpy(held.values()), shape, name)
    return payload, exactly and payload is not None


def exact_of(value: Any) -> bytes:
    """An array of any kind as tagged JSON, so that it comes back as it was.

    Raises:
        FieldTypeError: it is an array that cannot be stored, such as one of objects.
    """
    buffers: Buffers = {}
    form = tensor_column([value]).to_buffers("x", buffers)
    return dump_exact(
        {"form": form, "buffers": {name: np.asarray(b).tobytes() for name, b in buffers.items()}}
    )


# ---------------------------------------------------------------------------------------------- reading


def from_exact(data: bytes) -> Any:
    """The array that `exact_of` wrote.

    Raises:
        CorruptData: these bytes say none. MissingExtra: its framework is not installed.
    """
    try:
        held = load_exact(data, dict)
        column = column_from_buffers(held["form"], "x", cast("Mapping[str, Any]", held["buffers"]))
        if column.kind != "tensor" or len(column) != 1:
            raise CorruptData("`exact` holds something else where an array was expected")
        return column.value(0)
    except (FormatError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, CorruptData):
            raise
        raise CorruptData(f"`exact` holds no array: {error}") from None


def decode_array(data: bytes) -> Any:
    """The array of the bytes of an NdArrayProto; None where it holds none.

    Raises:
        CorruptData: the bytes are damaged, or say of themselves what is not so.
        MissingExtra: its framework is not installed.
    """
    at = _buffer_of(data)
    if at is not None and len(data) - (at[1] - at[0]) < _LONGEST_FRAME:
        start, stop, end = at
        dtype, shape, cls_name, size = _tail_of(data[stop:end], data[end:])
        if size == stop - start:
            array = np.frombuffer(bytearray(data[start:stop]), dtype)
            return array if len(shape) == 1 else array.reshape(shape)
        if cls_name in _DENSE:
            return _made(bytearray(data[start:stop]), dtype, shape, cls_name)
    try:
        message = NdArrayProto.FromString(data)
    except DecodeError as error:
        raise CorruptData(f"these {len(data)} bytes are no NdArrayProto: {error}") from None
    if message.WhichOneof("content") == "sparse":
        return _decode_sparse(message)
    return _decode_dense(message.dense, message.cls_name)


def _buffer_of(data: bytes) -> tuple[int, int, int] | None:
    """Where the buffer of a dense array begins and ends, and its message, in the usual order; None in another."""
    try:
        if data[0] != 0x0A:
            return None
        size, at = data[1], 2
        if size > 127:
            if data[2] > 127:
                size, at = _length(data, 1)
            else:
                size, at = size + (data[2] << 7) - 128, 3
        end = at + size
        if end > len(data) or data[at] != 0x0A:
            return None
        size, at = data[at + 1], at + 2
        if size > 127:
            if data[at] > 127:
                size, at = _length(data, at - 1)
            else:
                size, at = size + (data[at] << 7) - 128, at + 1
    except IndexError:
        return None
    return (at, at + size, end) if at + size <= end else None


def _length(data: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    for _ in range(5):
        byte = data[at]
        at += 1
        size |= (byte & 127) << shift
        if byte < 128:
            return size, at
        shift += 7
    raise IndexError


@lru_cache(maxsize=256)
def _tail_of(inside: bytes, outside: bytes) -> tuple[np.dtype[Any], tuple[int, ...], str | None, int]:
    """Dtype, shape and class of what stands behind a buffer; the class is None where it is another message.

    Last the size that the buffer should have, where nothing else needs a look; -1 otherwise.
    """
    try:
        dense = DenseNdArrayProto.FromString(inside)
        message = NdArrayProto.FromString(outside)
    except DecodeError as error:
        raise CorruptData(f"an array that is damaged: {error}") from None
    if dense.buffer or message.WhichOneof("content") is not None:
        return np.dtype("u1"), (), None, -1
    dtype, shape, name = _dtype(dense.dtype), tuple(dense.shape), message.cls_name
    size = math.prod(shape) * dtype.itemsize
    quick = name == "numpy" and dtype.kind in "iufc" and 0 < len(shape) <= _MOST_AXES and size > 0
    return dtype, shape, name, size if quick else -1


def _dtype(name: str) -> np.dtype[Any]:
    try:
        return _NAMES[name] if name in _NAMES else tagged.flat_dtype(name)
    except FormatError as error:
        raise CorruptData(f"an array: {error}") from None


def _made(buffer: Any, dtype: np.dtype[Any], shape: Sequence[int], cls_name: str) -> Any:
    """The array of a writeable buffer, if shape and dtype fit it."""
    if math.prod(shape) * dtype.itemsize != len(buffer):
        raise CorruptData(
            f"an array of {len(buffer)} bytes says that it is {tuple(shape)!s:.80} of {dtype}, which is another size"
        )
    try:
        array = np.frombuffer(buffer, dtype) if buffer else np.zeros(shape, dtype)
        if array.shape != shape:
            array = array.reshape(shape)
    except (ValueError, OverflowError, MemoryError) as error:  # more axes than numpy has, or longer ones
        raise CorruptData(f"an array of the shape {tuple(shape)!s:.80}: {error}") from None
    if dtype.kind == "b" and buffer and max(buffer) > 1:
        raise CorruptData("an array of truth values holds bytes other than 0 and 1")
    if cls_name == "numpy":
        return array
    try:
        return from_numpy(array, cls_name)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CorruptData(f"no array of {cls_name} holds {dtype} {tuple(shape)!s:.80}: {error}") from None


def _decode_dense(dense: Any, cls_name: str) -> Any:
    if not dense.buffer and not dense.shape:
        return None
    if cls_name not in _DENSE:
        raise CorruptData(f"an array of the unknown framework {cls_name!r:.60}")
    return _made(bytearray(dense.buffer), _dtype(dense.dtype), tuple(dense.shape), cls_name)


def _part(dense: Any, kinds: str) -> Array:
    dtype = _dtype(dense.dtype)
    if dtype.kind not in kinds:
        raise CorruptData(f"a sparse array holds {dtype} where another kind of number belongs")
    return cast("Array", _made(bytearray(dense.buffer), dtype, tuple(dense.shape), "numpy"))


def _decode_sparse(message: Any) -> Any:
    name, shape = message.cls_name, tuple(message.sparse.shape)
    indices, values = _part(message.sparse.indices, "iu"), _part(message.sparse.values, "biufc")
    if name == "torch":
        places = indices
    elif name in ("scipy", "tensorflow"):
        places = indices.T
    else:
        raise CorruptData(f"a sparse array of the unknown framework {name!r:.60}")
    limits = np.array(shape, np.int64).reshape(-1, 1)
    if indices.ndim != 2 or len(places) != len(shape) or places.shape[1:] != values.shape[:1]:
        raise CorruptData("the entries of a sparse array do not fit its shape")
    if places.size and (bool((places < 0).any()) or bool((places >= limits).any())):
        raise CorruptData("the entries of a sparse array do not fit its shape")
    if name == "tensorflow":
        tensorflow = require("tensorflow", "this sparse tensor")
        return tensorflow.SparseTensor(indices, values, shape)
    if name == "torch":
        torch = require("torch", "this sparse tensor")
        try:
            return torch.sparse_coo_tensor(
                torch.from_numpy(indices.astype(np.int64)),
                torch.from_numpy(values),
                shape,
                check_invariants=True,
            ).coalesce()
        except (TypeError, ValueError, RuntimeError) as error:
            raise CorruptData(f"a sparse tensor that is damaged: {error}") from None
    return _scipy(places, values, shape, message)


def _scipy(places: Array, values: Array, shape: tuple[int, ...], message: Any) -> Any:
    parameters = decode(message.parameters.SerializeToString(deterministic=True))
    fmt = parameters.get("sparse_format")
    if fmt not in (*_SCIPY, "lil", "dok", "dia") or len(shape) != 2 or values.ndim != 1:
        raise CorruptData(f"a sparse matrix of the format {fmt!r:.60} with {len(shape)} axes")
    # A pointer for each row, a diagonal for each entry: a few bytes could announce thousands of millions.
    needed = 0 if fmt in ("coo", "dok") else shape[1] if fmt == "csc" else shape[0]
    if fmt == "dia":
        needed = len(np.unique(places[1].astype(np.int64) - places[0])) * shape[1]
    if needed > max(_FREE, 64 * len(values)):
        raise CorruptData(f"a {fmt} matrix of the shape {shape} that holds {len(values)} entries")
    sparse = require("scipy.sparse", "this sparse matrix", "scipy")
    try:
        made = sparse.coo_matrix((values, tuple(places)), shape=shape)
        return made if fmt == "coo" else made.asformat(fmt)
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise CorruptData(f"a sparse matrix that is damaged: {error}") from None


# ---------------------------------------------------------------------------------------------- many at a time


def read_column(data: memoryview, rows: Array, starts: Array, stops: Array, count: int) -> Column:
    """A tensor column of `count` rows, of the NdArrayProtos that lie in `data`; rows that are not named are missing.

    Raises:
        CorruptData: one is damaged. MissingExtra: a framework is not installed.
    """
    uniform = _uniform(data, rows, starts, stops, count)
    if uniform is not None:
        return uniform
    values: list[Any] = [None] * count
    for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
        values[row] = decode_array(bytes(data[start:stop]))
    return RaggedTensors(values)


_AT_ONCE: Final = 1 << 14


def _uniform(data: memoryview, rows: Array, starts: Array, stops: Array, count: int) -> UniformTensors | None:
    """The column where all messages are alike but for the bytes of their buffers, and few rows are missing."""
    size = int(stops[0] - starts[0])
    if 2 * len(rows) < count or not (stops - starts == size).all():
        return None
    first = bytes(data[int(starts[0]) : int(stops[0])])
    at = _buffer_of(first)
    if at is None or size - (at[1] - at[0]) >= _LONGEST_FRAME:
        return None
    begin, end, inner = at
    dtype, shape, cls_name, _ = _tail_of(first[end:inner], first[inner:])
    if cls_name not in _DENSE or dtype.kind not in "biufc":
        return None
    _made(bytearray(first[begin:end]), dtype, shape, "numpy")
    buffer = np.frombuffer(data, np.uint8)
    around = np.r_[0:begin, end:size]
    model = np.frombuffer(first, np.uint8)[around]
    for i in range(0, len(rows), _AT_ONCE):
        if not (buffer[starts[i : i + _AT_ONCE, None] + around] == model).all():
            return None
    window = end - begin
    if not window:
        return None
    flat = gathered(data, starts + begin, np.full(len(rows), window))
    if dtype.kind == "b" and int(flat.max()) > 1:
        raise CorruptData("an array of truth values holds bytes other than 0 and 1")
    matrix = flat.view(dtype).reshape(len(rows), *shape)
    if len(rows) == count:
        return UniformTensors(matrix, None, cast("str", cls_name))
    present = np.zeros(count, bool)
    present[rows] = True
    spread = np.zeros((count, *shape), dtype)
    spread[rows] = matrix
    return UniformTensors(spread, present, cast("str", cls_name))
