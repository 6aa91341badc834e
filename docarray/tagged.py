"""JSON text that says every plain Python value exactly, and reads back equal.

Rule 1: what JSON can say stands as plain JSON: ints stay ints of any size, NaN and infinities are written.
Rule 2: what it cannot (bytes, tuples, sets, dates, numpy scalars and arrays, keys that are no str) becomes an
        object with the one key MARK; a dict that has that key itself is written as pairs.
Rule 3: reading makes values only, from a closed list of kinds; nothing that is read can run code.
Rule 4: what cannot be read back equal is refused. Of a subclass stays what it is a subclass of (a named tuple is a
        tuple, a bytearray bytes, a default dict a dict), of a time zone its offset.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, cast

import numpy as np

from docarray.errors import CorruptData, FieldTypeError

__all__ = ["MARK", "dumps", "flat_dtype", "loads"]

MARK: Final = "$docarray"

_ATOMS: Final = frozenset({str, bool, float, type(None)})
_LONG: Final = 1 << 8192  # beyond some 4 300 digits Python refuses to write an int in decimal
_compact = json.JSONEncoder(separators=(",", ":")).encode
_scan: Any = cast("Any", json.JSONDecoder()).scan_once
_verbatim = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_PAIR: Final = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def dumps(value: Any) -> str:
    """The value as one line of JSON, in ASCII unless it holds surrogates that would read as another letter.

    Raises:
        FieldTypeError: it holds an object of a kind that is no data (the message names the type).

    >>> loads(dumps({'a': (1, b'x'), 3: None}))
    {'a': (1, b'x'), 3: None}
    """
    try:
        plain = value if _is_plain(value) else _wrap(value)
        text = _compact(plain)
        # Two lone surrogates, escaped side by side, would be read as the one letter that they would make.
        if _PAIR.search(text) and _SURROGATE.search(verbatim := _verbatim(plain)):
            return verbatim
        return text
    except (RecursionError, ValueError) as error:
        raise FieldTypeError(
            f"a value that holds itself, or is nested too deep, cannot be written: {error}"
        ) from None


def loads(text: str) -> Any:
    """The value that `dumps` wrote; plain JSON reads as usual.

    Raises:
        CorruptData: this is no JSON, or one of our objects is malformed.
    """
    try:
        if MARK in text:
            return json.loads(text, object_hook=_unwrap)
        try:
            value, end = _scan(
                text, 0
            )  # a third of the time of json.loads, which looks for white space around it
        except StopIteration:
            return json.loads(text)
        return value if end == len(text) else json.loads(text)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CorruptData(f"not the JSON of a value: {error}") from None


# numpy reads a small language in the name of a dtype, structures in structures: none of it is let near a file.
_DTYPE: Final = re.compile(
    r"[<>|=]?(?:[biufc][0-9]{1,2}|[SUV][1-9][0-9]{0,8}|[mM]8(?:\[[0-9]{0,9}[A-Za-z]{1,2}\])?)"
)


def flat_dtype(text: object) -> np.dtype[Any]:
    """The dtype of that name, as `dtype.str` gives it: numbers, bools, dates, text or bytes of a fixed width.

    Raises:
        CorruptData: there is no such dtype, or it is one of objects or of fields.

    >>> flat_dtype('<f4')
    dtype('float32')
    """
    if isinstance(text, str) and _DTYPE.fullmatch(text):
        try:
            return np.dtype(text)
        except (TypeError, ValueError, OverflowError) as error:
            raise CorruptData(f"unknown dtype {text!r}: {error}") from None
    raise CorruptData(f"the dtype {text!r:.60} is none of flat data")


def _is_plain(value: Any) -> bool:
    kind = cast("Any", type(value))
    if kind in _ATOMS:
        return True
    if kind is int:
        return -_LONG < value < _LONG
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return (
            MARK not in value and all(type(k) is str for k in value) and all(map(_is_plain, value.values()))
        )
    return False


def _marked(kind: str, content: object, **more: object) -> dict[str, object]:
    return {MARK: kind, "is": content, **more}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _wrap(value: Any) -> Any:
    if _is_plain(value):
        return value
    if isinstance(value, int) and not isinstance(value, np.generic):
        number = int(value)
        return number if -_LONG < number < _LONG else _marked("int", hex(number))
    if isinstance(value, np.str_):
        return _marked("numpy.str", str.__str__(value))  # str() would drop zeros at its end
    if isinstance(value, np.bytes_):
        return _marked("numpy.bytes", _text(value))
    if isinstance(value, np.generic):
        cell = np.asarray(cast("np.generic[Any]", value))
        return _marked("scalar", _text(cell.tobytes()), dtype=_named(cell))
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        return _marked("array", _text(array.tobytes()), dtype=_named(array), shape=list(array.shape))
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return _wrap_mapping(cast("Mapping[Any, Any]", value))
    for kind, test, write in _WRITERS:
        if isinstance(value, test):
            return _marked(kind, write(value))
    if isinstance(value, list):
        return [_wrap(v) for v in cast("list[Any]", value)]
    raise FieldTypeError(
        f"tags hold data only; a {type(value).__module__}.{type(value).__qualname__} cannot be stored"
    )


def _named(array: np.ndarray[Any, Any]) -> str:
    """The name of the dtype of an array, if it says all that the array is."""
    name = array.dtype.str
    if hasattr(array, "filled"):
        raise FieldTypeError("a masked array cannot be stored: fill it first, `array.filled(value)`")
    if not _DTYPE.fullmatch(name) or np.dtype(name) != array.dtype:
        raise FieldTypeError(f"a value of numpy of dtype {array.dtype} cannot be stored")
    return name


def _wrap_mapping(value: Mapping[Any, Any]) -> Any:
    if MARK not in value and all(type(k) is str for k in value):
        return {k: _wrap(v) for k, v in value.items()}
    return _marked("dict", [[_wrap(k), _wrap(v)] for k, v in value.items()])


def _items(value: Iterable[Any]) -> list[Any]:
    return [_wrap(v) for v in value]


def _equal(value: Any, read: Any) -> Any:
    """What was read back, if it is the same: a subclass (of pandas, say) may know more than its base can say."""
    if value != read:
        raise FieldTypeError(
            f"a {type(value).__module__}.{type(value).__qualname__} cannot be stored without loss"
        )
    return read


def _clock(value: datetime.datetime | datetime.time) -> str | list[Any]:
    kind = datetime.datetime if isinstance(value, datetime.datetime) else datetime.time
    text = kind.isoformat(cast("Any", value))
    _equal(value, kind.fromisoformat(text))
    return [text, value.fold] if value.fold else text


def _from_clock(kind: type[datetime.datetime] | type[datetime.time], content: Any) -> Any:
    if isinstance(content, list):
        text, fold = cast("list[Any]", content)
        return kind.fromisoformat(text).replace(fold=fold)
    return kind.fromisoformat(content)


def _span(value: datetime.timedelta) -> list[int]:
    parts = [value.days, value.seconds, value.microseconds]
    _equal(value, datetime.timedelta(*parts))
    return parts


_WRITERS: Final[tuple[tuple[str, type | tuple[type, ...], Callable[[Any], Any]], ...]] = (
    ("bytes", (bytes, bytearray, memoryview), lambda v: _text(bytes(v))),
    ("tuple", tuple, _items),
    ("set", set, _items),
    ("frozenset", frozenset, _items),
    ("datetime", datetime.datetime, _clock),
    ("date", datetime.date, datetime.date.isoformat),
    ("time", datetime.time, _clock),
    ("timedelta", datetime.timedelta, _span),
    ("complex", complex, lambda v: [v.real, v.imag]),
    ("decimal", decimal.Decimal, str),
    ("uuid", uuid.UUID, str),
)


_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _bytes(content: Any) -> bytes:
    return base64.b64decode(content, validate=True)


def _array(content: Any, dtype: Any, shape: Any) -> Any:
    kind, data = flat_dtype(dtype), _bytes(content)
    if kind.kind == "b" and max(data, default=0) > 1:
        raise ValueError("truth values are 0 and 1")
    return np.frombuffer(data, kind).reshape(shape).copy()


def _hashed(items: Collection[Any]) -> Collection[Any]:
    """The keys of a dict or set, if they have hashes of their own: of equal ones each looks at all before it."""
    if len(items) > 1000 and 2 * len(set(map(hash, items))) < len(items):
        raise ValueError("too many keys of one hash")
    return items


def _pairs(content: Any) -> dict[Any, Any]:
    keys, values = [key for key, _ in content], [value for _, value in content]
    return dict(zip(_hashed(keys), values, strict=True))


_READERS: Final[Mapping[str, Callable[[dict[str, Any]], Any]]] = {
    "int": lambda o: int(o["is"], 16),
    "float": lambda o: _NOT_FINITE[o["is"]],  # of writers that have no NaN
    "scalar": lambda o: _array(o["is"], o["dtype"], [])[()],
    "array": lambda o: _array(o["is"], o["dtype"], o["shape"]),
    "numpy.str": lambda o: np.str_(o["is"]),
    "numpy.bytes": lambda o: np.bytes_(_bytes(o["is"])),
    "dict": lambda o: _pairs(o["is"]),
    "bytes": lambda o: _bytes(o["is"]),
    "tuple": lambda o: tuple(o["is"]),
    "set": lambda o: set(_hashed(o["is"])),
    "frozenset": lambda o: frozenset(_hashed(o["is"])),
    "datetime": lambda o: _from_clock(datetime.datetime, o["is"]),
    "date": lambda o: datetime.date.fromisoformat(o["is"]),
    "time": lambda o: _from_clock(datetime.time, o["is"]),
    "timedelta": lambda o: datetime.timedelta(*o["is"]),
    "complex": lambda o: complex(*o["is"]),
    "decimal": lambda o: decimal.Decimal(o["is"]),
    "uuid": lambda o: uuid.UUID(o["is"]),
}


def _unwrap(obj: dict[str, Any]) -> Any:
    kind = obj.get(MARK)
    if kind is None:
        return obj
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ValueError(f"a value of an unknown kind {kind!r}")
    return reader(obj)
