"""google.protobuf.Struct and Python dicts: what tags look like on the wire.

Rule 1: a Struct knows None, bool, double, text, lists, and dicts with text for keys. What it cannot say without loss is
        noted, and stands there as the closest that it can say; `exact` (docarray.proto) holds the value itself.
Rule 2: the keys of a dict lie in their order. Where bytes are wanted that are always the same, or a message object will
        hold them, they are sorted.
Rule 3: a Struct of the form in which every protobuf library writes it is read here; any other is first brought into it
        by the library, which also knows what is damaged.
Rule 4: a StructColumn holds the bytes and reads those of a row when somebody asks for it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, repeat
from operator import itemgetter
from typing import Any, ClassVar, Final, cast

import numpy as np
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError

from docarray import tagged
from docarray.columns import BytesColumn, Column, JsonColumn
from docarray.errors import CorruptData, FieldTypeError, FormatError
from docarray.schema import Kind
from docarray.serialization.varints import varint
from docarray.tensors import Array

__all__ = [
    "EXACT",
    "MESSAGE",
    "OLD",
    "StructColumn",
    "Way",
    "decode",
    "dump_exact",
    "encode",
    "in_order",
    "load_exact",
    "pieces",
]


@dataclass(frozen=True, slots=True)
class Way:
    """How to write what the plain fields cannot say, and the keys of maps."""

    exact: bool = True  # beside the plain fields, in `exact`; False: not at all, as the old library
    sort: bool = False  # the keys of maps sorted, as protobuf does where bytes are to be the same each time

    def keeps_order(self, keys: Sequence[str]) -> bool:
        """Whether keys in this order come back in it."""
        if not self.sort or len(keys) < 2:
            return True
        ranks = list(map(in_order, keys))
        return all(a < b for a, b in pairwise(ranks))


def in_order(key: str) -> bytes:
    """What keys of maps are sorted by: their bytes, and what goes on before what ends, as the library has it.

    >>> sorted(['', 'a', 'b', 'aa'], key=in_order)
    ['aa', 'a', 'b', '']
    """
    return key.encode("utf-8", "surrogatepass") + b"\xff"


EXACT: Final = Way()
OLD: Final = Way(exact=False, sort=True)
MESSAGE: Final = Way(sort=True)  # the maps of message objects keep no order

_double = struct.Struct("<d").pack
_read_double = struct.Struct("<d").unpack_from
# A reader gives up at 100 messages within each other, and a dict within a dict makes three. What is deeper would take
# its whole document along, so it stands as text.
_DEEPEST: Final = 24
_TEXT: Final = frozenset({str})
_DEEPEST_READ: Final = 100


# Not empty when something was written that will not be read back as it was.
_Lossy = list[bool]


def encode(value: Mapping[str, Any], way: Way = EXACT) -> tuple[bytes, bool]:
    """A dict as the bytes of a Struct, and whether they say all of it.

    Raises:
        FieldTypeError: it holds what is no data; or, where `way` is not exact, what a Struct cannot hold.

    >>> encode({'a': 'b'}), decode(encode({'a': 'b'})[0])
    ((b'\\n\\x08\\n\\x01a\\x12\\x03\\x1a\\x01b', True), {'a': 'b'})
    """
    lossy: _Lossy = []
    held: Any = value
    try:
        if cast("Any", type(value)) is not dict or not _TEXT.issuperset(map(type, held)):
            return _entries(_plain(dict(held), way), way, lossy, 0), False
        return _entries(held, way, lossy, 0), not lossy
    except RecursionError:
        raise FieldTypeError("a value that holds itself, or is nested too deep, cannot be written") from None


def _entries(items: Mapping[str, Any], way: Way, lossy: _Lossy, depth: int) -> bytes:
    parts: list[bytes] = []
    if way.sort and not way.keeps_order(tuple(items)):
        lossy.append(True)
        items = {key: items[key] for key in sorted(items, key=in_order)}
    for key, value in items.items():
        if len(key) < 64 and key.isascii():  # the usual, by heads that are kept
            if type(value) is float and (value - value == 0.0 or not way.exact):
                parts += (_number_head(key), _double(value))
                continue
            if type(value) is str and len(value) < 64 and value.isascii():
                parts += (_text_head(key, len(value)), value.encode())
                continue
        name = _text(key, way, lossy)
        body = _value(value, way, lossy, depth)
        head = b"\x0a" + varint(len(name)) + name + b"\x12" + varint(len(body))
        parts += (b"\x0a", varint(len(head) + len(body)), head, body)
    return b"".join(parts)


@lru_cache(maxsize=512)
def _number_head(key: str) -> bytes:
    """What stands before the eight bytes of a number below an ASCII key."""
    return b"\x0a" + varint(len(key) + 13) + b"\x0a" + varint(len(key)) + key.encode() + b"\x12\x09\x11"


@lru_cache(maxsize=2048)
def _text_head(key: str, size: int) -> bytes:
    """What stands before a text of that size below an ASCII key."""
    name = b"\x0a" + varint(len(key)) + key.encode() + b"\x12"
    inner = b"\x1a" + varint(size)
    behind = varint(len(inner) + size) + inner
    return b"\x0a" + varint(len(name) + len(behind) + size) + name + behind


def _value(value: Any, way: Way, lossy: _Lossy, depth: int) -> bytes:
    kind = cast("Any", type(value))
    if kind is str:
        text = _text(value, way, lossy)
        return b"\x1a" + varint(len(text)) + text
    if kind is float:
        if way.exact and not math.isfinite(value):
            # A NaN is fine on the wire, but the old library cannot read the array that it is in.
            lossy.append(True)
            return _value(tagged.dumps(value), way, lossy, depth)
        return b"\x11" + _double(value)
    if kind is bool:
        return b"\x20\x01" if value else b"\x20\x00"
    if value is None:
        return b"\x08\x00"
    if kind is int:
        lossy.append(True)
        try:
            return b"\x11" + _double(value)
        except (OverflowError, struct.error):  # which of the two, versions of Python differ about
            _refuse_old(value, way)
            return _value(tagged.dumps(value), way, lossy, depth)
    if kind is dict and depth < _DEEPEST and all(type(key) is str for key in value):
        body = _entries(value, way, lossy, depth + 1)
        return b"\x2a" + varint(len(body)) + body
    if kind is list and depth < _DEEPEST:
        items = [_value(item, way, lossy, depth + 1) for item in value]
        body = b"".join([b"\x0a" + varint(len(item)) + item for item in items])
        return b"\x32" + varint(len(body)) + body
    lossy.append(True)
    return _value(_plain(value, way, depth), way, lossy, depth)


def _plain(value: Any, way: Way, depth: int = 0) -> Any:
    """The closest that JSON has to a value that a Struct cannot hold: what its tagged JSON looks like."""
    if depth < _DEEPEST and isinstance(value, tuple):
        return list(cast("tuple[Any, ...]", value))
    if isinstance(value, (int, float)):  # of a subclass
        return float(value) if isinstance(value, float) else int(value)
    _refuse_old(value, way)
    text = tagged.dumps(value)
    return text if depth >= _DEEPEST else json.loads(text)


def _refuse_old(value: Any, way: Way) -> None:
    if not way.exact:
        raise FieldTypeError(
            f"a protobuf Struct cannot hold this {type(value).__name__}: {value!r:.60}. "
            "Leave `exact=False` out, and it is said beside it"
        )


def _text(value: str, way: Way, lossy: _Lossy) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        if not way.exact:
            raise FieldTypeError(f"protobuf has no text with lone surrogates: {value!r:.60}") from error
        lossy.append(True)
        return value.encode("utf-8", "replace")


# ---------------------------------------------------------------------------------------------- many at a time


def pieces(values: Sequence[Any], way: Way) -> tuple[list[Any], bool] | None:
    """Dicts of the same keys as pieces of Structs; None where they are no such dicts.

    Returns:
        sequences of bytes: what stands at one place in all of them is the Struct of each;
        whether they are said exactly.
    """
    keys: tuple[Any, ...] = (
        tuple(cast("dict[Any, Any]", values[0])) if values and type(values[0]) is dict else ()
    )
    if (
        not keys
        or set(map(type, values)) != {dict}
        or set(map(tuple, cast("Sequence[dict[Any, Any]]", values))) != {keys}
        or not all(type(key) is str and key.isascii() and len(key) < 64 for key in keys)
        or not way.keeps_order(keys)
    ):
        return None
    out: list[Any] = []
    exact = True
    for key in keys:
        cells = list(map(itemgetter(key), values))
        kinds = set(map(type, cells))
        name = b"\x0a" + varint(len(key)) + key.encode() + b"\x12"
        if kinds == {float} or kinds == {int}:
            try:
                numbers = np.array(cells, "<f8")
            except OverflowError:
                return None
            if way.exact and not np.isfinite(numbers).all():
                return None
            exact = exact and kinds == {float}
            raw = numbers.tobytes()
            out.append(repeat(_number_head(key)))
            out.append([raw[i : i + 8] for i in range(0, len(raw), 8)])
        elif kinds == {str}:
            try:
                texts = [cell.encode() for cell in cells]
            except UnicodeEncodeError:
                return None
            known = {size: _text_head(key, size) for size in set(map(len, texts))}
            out.append([known[len(text)] for text in texts])
            out.append(texts)
        elif kinds == {bool}:
            whole = b"\x0a" + varint(len(name) + 3) + name + b"\x02\x20"
            out.append([whole + (b"\x01" if cell else b"\x00") for cell in cells])
        else:
            return None
    return out, exact


# ---------------------------------------------------------------------------------------------- reading


class _Unusual(Exception):
    """A Struct that is damaged, or is written in another way than the usual."""


def decode(data: bytes) -> dict[str, Any]:
    """The dict of the bytes of a Struct. Numbers are floats: it knows no others.

    Raises:
        CorruptData: the bytes are no Struct.
    """
    try:
        return _read_entries(data, 0, len(data), 0)
    except (_Unusual, IndexError, struct.error, UnicodeDecodeError):
        pass  # the library says whether it is a Struct, and brings it into the usual form
    try:
        message = struct_pb2.Struct.FromString(data)
        message.DiscardUnknownFields()
        usual = message.SerializeToString(deterministic=True)
        return _read_entries(usual, 0, len(usual), 0)
    except (DecodeError, _Unusual, IndexError, struct.error, UnicodeDecodeError) as error:
        raise CorruptData(f"these {len(data)} bytes are no Struct of protobuf: {error}") from None


def _size(data: bytes, at: int) -> tuple[int, int]:
    """A length of up to four bytes, and the byte behind it."""
    size = data[at]
    at += 1
    if size > 127:
        size &= 127
        for shift in (7, 14, 21):
            byte = data[at]
            at += 1
            size |= (byte & 127) << shift
            if byte < 128:
                return size, at
        raise _Unusual
    return size, at


def _read_entries(data: bytes, at: int, stop: int, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST_READ:
        raise CorruptData(f"tags are nested more than {_DEEPEST_READ} levels deep")
    out: dict[str, Any] = {}
    while at < stop:
        if data[at] != 0x0A:
            raise _Unusual
        size, at = data[at + 1], at + 2
        if size > 127:
            size, at = _size(data, at - 1)
        end = at + size
        if end > stop or data[at] != 0x0A:
            raise _Unusual
        size, at = data[at + 1], at + 2
        if size > 127:
            size, at = _size(data, at - 1)
        behind = at + size
        if behind >= end or data[behind] != 0x12:
            raise _Unusual
        key = data[at:behind].decode()
        size, at = data[behind + 1], behind + 2
        if size > 127:
            size, at = _size(data, at - 1)
        if at + size != end:
            raise _Unusual
        if size == 9 and data[at] == 0x11:
            out[key] = _read_double(data, at + 1)[0]
        elif size > 1 and data[at] == 0x1A and data[at + 1] == size - 2:
            out[key] = data[at + 2 : end].decode()
        else:
            out[key] = _read_value(data, at, end, depth)
        at = end
    return out


def _read_value(data: bytes, at: int, stop: int, depth: int) -> Any:
    tag = data[at] if at < stop else 0
    at += 1
    if tag == 0x1A:
        size, at = _size(data, at)
        if at + size == stop:
            return data[at:stop].decode()
    elif tag == 0x11:
        if at + 8 == stop:
            return _read_double(data, at)[0]
    elif tag == 0x20:
        if at + 1 == stop and data[at] < 2:
            return data[at] == 1
    elif tag == 0x08:
        if at + 1 == stop and data[at] < 128:
            return None
    elif tag == 0x2A:
        size, at = _size(data, at)
        if at + size == stop:
            return _read_entries(data, at, stop, depth + 1)
    elif tag == 0x32:
        size, at = _size(data, at)
        if at + size == stop:
            return _read_items(data, at, stop, depth + 1)
    elif at - 1 == stop:
        return None
    raise _Unusual


def _read_items(data: bytes, at: int, stop: int, depth: int) -> list[Any]:
    if depth > _DEEPEST_READ:
        raise CorruptData(f"tags are nested more than {_DEEPEST_READ} levels deep")
    out: list[Any] = []
    while at < stop:
        if data[at] != 0x0A:
            raise _Unusual
        size, at = _size(data, at + 1)
        if at + size > stop:
            raise _Unusual
        out.append(_read_value(data, at, at + size, depth))
        at += size
    return out


class StructColumn(JsonColumn):
    """Dicts as the bytes they came in, of Structs or of tagged JSON; those of a row are read when it is touched."""

    __slots__ = ("_exact", "_raw")
    kind: ClassVar[Kind] = "json"

    def __init__(self, raw: BytesColumn, exact: Array | None = None) -> None:
        """`exact`: (n,) bool, which rows are JSON; None where all are Structs."""
        super().__init__(None, length=len(raw))
        self._raw = raw
        self._exact = exact

    def _read(self, data: bytes | None, exact: bool) -> Any:
        if data is None:
            return None
        return load_exact(data, dict) if exact else decode(data)

    def value(self, row: int) -> Any:
        return self._read(self._raw.value(row), self._exact is not None and bool(self._exact[row]))

    def values(self) -> list[Any]:
        if self._exact is None:
            return [None if data is None else decode(data) for data in self._raw.values()]
        return list(map(self._read, self._raw.values(), self._exact.tolist()))

    def take(self, rows: Array) -> StructColumn:
        exact = None if self._exact is None else self._exact[rows]
        return StructColumn(cast("BytesColumn", self._raw.take(rows)), exact)

    def slice(self, start: int, stop: int) -> StructColumn:
        exact = None if self._exact is None else self._exact[start:stop]
        return StructColumn(cast("BytesColumn", self._raw.slice(start, stop)), exact)

    @property
    def present(self) -> Array | None:
        return self._raw.present

    def missing(self, count: int) -> StructColumn:
        return StructColumn(cast("BytesColumn", self._raw.missing(count)))

    def joined(self, others: Sequence[Column]) -> Column:
        parts = [part for part in (self, *others) if isinstance(part, StructColumn)]
        if len(parts) <= len(others):
            return JsonColumn([value for part in (self, *others) for value in part.values()])
        raw = parts[0]._raw.joined([part._raw for part in parts[1:]])
        exact = None
        if any(part._exact is not None for part in parts):
            exact = np.concatenate(
                [np.zeros(len(part), bool) if part._exact is None else part._exact for part in parts]
            )
        return StructColumn(cast("BytesColumn", raw), exact)


def dump_exact(value: Any) -> bytes:
    """A value as it stands in `exact`: tagged JSON, in UTF-8.

    Raises:
        FieldTypeError: it holds what is no data.
    """
    text = tagged.dumps(value)
    try:
        return text.encode()
    except UnicodeEncodeError:  # lone surrogates: the JSON of the bytes of the JSON
        return tagged.dumps(text.encode("utf-8", "surrogatepass")).encode()


def load_exact(data: bytes, kind: type | tuple[type, ...]) -> Any:
    """The value that `dump_exact` wrote, if it is of that type.

    Raises:
        CorruptData: it is of another, or this is no such JSON.
    """
    try:
        value = tagged.loads(data.decode())
        if isinstance(value, bytes):
            value = tagged.loads(value.decode("utf-8", "surrogatepass"))
    except (FormatError, UnicodeDecodeError) as error:
        raise CorruptData(f"`exact` holds what is no JSON of a value: {error}") from None
    if not isinstance(value, kind):
        raise CorruptData(
            f"`exact` holds {value!r:.60}, a {type(value).__name__}, which is no value of its field"
        )
    return value
