"""Documents and the bytes of DocumentProto: one by one as records, many at a time as columns. No message objects.

Rule 1: a plain field says what it says in the old library, byte by byte. What does not come back from that as it was,
        type and all, is said once more in `exact`, which old readers skip; reading believes `exact` first.
Rule 2: each field is written by one function of one value (`_WRITERS`). A column is that function along its rows; for
        the commonest kinds of column it is a faster one that gives the same bytes.
Rule 3: values that are the defaults (0, 0.0, '') are unset on the wire, so they are said in `exact`; but text and blob,
        which the wire knows to be set. Empty containers are unset, as in `Document.non_empty_fields`.
Rule 4: fields may come in any order, and unknown ones are stepped over. What protobuf would merge (a field of a message
        that comes twice) is merged by its library, and then read.
Rule 5: tags are read when they are touched, everything else at once; nested documents level by level, never by
        recursion on a single document, so that depth is counted and not met.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise, repeat
from typing import Any, Final, cast

import numpy as np
from google.protobuf.message import DecodeError

from docarray.columns import (
    BytesColumn,
    Column,
    JsonColumn,
    NumberColumn,
    TextColumn,
    UniformTensors,
    column_of,
)
from docarray.errors import BadValue, CorruptData, DocArrayError, FieldTypeError, UnknownField
from docarray.ids import new_ids
from docarray.proto.docarray_pb2 import DocumentProto
from docarray.records import Record
from docarray.schema import FIELDS, field_named
from docarray.serialization.ndarrays import (
    converted,
    decode_array,
    encode_array,
    exact_of,
    frame,
    from_exact,
    read_column,
)
from docarray.serialization.structs import (
    EXACT,
    StructColumn,
    Way,
    decode,
    dump_exact,
    encode,
    in_order,
    load_exact,
    pieces,
)
from docarray.serialization.varints import gathered, scan, scan_many, varint
from docarray.table import DEEPEST, DocsColumn, Table
from docarray.tensors import Array

__all__ = ["decode_record", "decode_rows", "encode_record", "encode_rows"]

_LENGTH, _VARINT, _FIXED32 = 2, 0, 5
_NUMBERS: Final[Mapping[str, int]] = {
    "id": 1,
    "blob": 2,
    "tensor": 3,
    "text": 4,
    "granularity": 5,
    "adjacency": 6,
    "parent_id": 7,
    "weight": 8,
    "uri": 9,
    "modality": 10,
    "mime_type": 11,
    "offset": 12,
    "location": 13,
    "chunks": 14,
    "matches": 15,
    "embedding": 16,
    "tags": 17,
    "scores": 18,
    "evaluations": 19,
    "_metadata": 20,
}
_EXACT: Final = 1001
_TEXTS: Final = ("id", "text", "parent_id", "uri", "modality", "mime_type")
_WHOLE: Final = ("granularity", "adjacency")
_FLOATS: Final = ("weight", "offset")
_KINDS: Final = {
    number: _VARINT if name in _WHOLE else _FIXED32 if name in _FLOATS else _LENGTH
    for name, number in _NUMBERS.items()
} | {_EXACT: _LENGTH}
_KNOWN: Final = frozenset(_KINDS)
_REPEATED: Final = frozenset({14, 15, 18, 19, _EXACT})
_CONTENT: Final = frozenset({2, 3, 4})
_CONTENT_BITS: Final = 1 << 2 | 1 << 3 | 1 << 4
_NAMES: Final = {number: name for name, number in _NUMBERS.items()}
_RANKS: Final = {name: rank for rank, name in enumerate(FIELDS)}.__getitem__
_TAGS: Final = {name: varint(number << 3 | _KINDS[number]) for name, number in _NUMBERS.items()}
_EXACT_TAG: Final = varint(_EXACT << 3 | _LENGTH)

_single = struct.Struct("<f").pack
_read_single = struct.Struct("<f").unpack_from
_LARGEST: Final = 1 << 32
_MOST_PATHS: Final = 4096  # such as chunks of matches of chunks: each takes a table of its own


# ---------------------------------------------------------------------------------------------- writing one value

# Each gives the whole field, or b'' for what is unset on the wire; and what `exact` says beside it, or None.
_Written = tuple[bytes, bytes | None]


def _write_text(name: str, value: Any, way: Way) -> _Written:
    exact = None
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        if not way.exact:
            raise FieldTypeError(f"protobuf has no text with lone surrogates: {value!r:.60}") from None
        raw, exact = value.encode("utf-8", "replace"), dump_exact(value)
    if not raw:
        if name == "text":
            return (b"\x22\x00" if way.exact else b""), None
        return b"", b'""'
    return _TAGS[name] + varint(len(raw)) + raw, exact


def _write_blob(name: str, value: Any, way: Way) -> _Written:
    if not value:
        return (b"\x12\x00" if way.exact else b""), None
    return b"\x12" + varint(len(value)) + value, None


def _write_whole(name: str, value: Any, way: Way) -> _Written:
    if not isinstance(value, (int, float)):
        raise TypeError("a number is wanted")
    if type(value) is int and 0 < value < _LARGEST:
        return _TAGS[name] + varint(value), None
    if not way.exact and not (value == int(value) and 0 <= value < _LARGEST):
        raise FieldTypeError(f"protobuf has whole numbers from 0 to 4294967295 here; got {value!r:.60}")
    return b"", dump_exact(value)


def _float32(value: Any, way: Way) -> tuple[bytes, bool]:
    """Four bytes, and whether they say the number."""
    try:
        raw = _single(value)
    except (OverflowError, struct.error):  # a double beyond float32, or an int beyond all
        if not way.exact:
            raise FieldTypeError(f"protobuf has a 32-bit float here; got {value!r:.60}") from None
        raw = _single(math.inf if value > 0 else -math.inf)
    return raw, type(value) is float and (_read_single(raw)[0] == value or value != value)


def _write_float(name: str, value: Any, way: Way) -> _Written:
    raw, exactly = _float32(value, way)
    if raw == b"\x00\x00\x00\x00":
        return b"", dump_exact(value)
    return _TAGS[name] + raw, None if exactly else dump_exact(value)


def _write_location(name: str, value: Any, way: Way) -> _Written:
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if not len(value):
        return b"", None
    said = [_float32(number, way) for number in value]
    raw = b"".join([part for part, _ in said])
    exactly = all(exact for _, exact in said)
    return b"\x6a" + varint(len(raw)) + raw, None if exactly else dump_exact([*value])


def _write_array(name: str, value: Any, way: Way) -> _Written:
    payload, exactly = encode_array(value, way)
    exact = None if exactly or not way.exact else exact_of(value)
    return (b"" if payload is None else _TAGS[name] + varint(len(payload)) + payload), exact


def _write_json(name: str, value: Any, way: Way) -> _Written:
    if not value:
        return b"", None
    payload, exactly = encode(value, way)
    exact = None if exactly or not way.exact else dump_exact(value)
    return _TAGS[name] + varint(len(payload)) + payload, exact


_SCORE_TEXTS: Final = (("op_name", b"\x12"), ("description", b"\x1a"), ("ref_id", b"\x22"))
_SCORE_KEYS: Final = frozenset({"value", "op_name", "description", "ref_id"})


def _write_scores(name: str, value: Any, way: Way) -> _Written:
    if not value:
        return b"", None
    exactly = way.keeps_order(tuple(value))
    parts: list[bytes] = []
    for key in value if exactly else sorted(value, key=in_order):
        score = value[key]
        if not score.keys() <= _SCORE_KEYS:
            raise FieldTypeError(
                f"a score has no fields but {', '.join(sorted(_SCORE_KEYS))}; got {score!r:.80}"
            )
        body = b""
        number = score.get("value")
        if number is not None:
            raw, same = _float32(number, way)
            if raw == b"\x00\x00\x00\x00":
                same = False
            else:
                body = b"\x0d" + raw
            exactly = exactly and same
        for field, tag in _SCORE_TEXTS:
            text = score.get(field)
            if text is not None:
                raw, same = _score_text(text, way)
                if raw:
                    body += tag + varint(len(raw)) + raw
                exactly = exactly and same and bool(raw)
        label, same = _score_text(key, way)
        exactly = exactly and same
        entry = b"\x0a" + varint(len(label)) + label + b"\x12" + varint(len(body)) + body
        parts += (_TAGS[name], varint(len(entry)), entry)
    return b"".join(parts), None if exactly else dump_exact(value)


def _score_text(text: str, way: Way) -> tuple[bytes, bool]:
    try:
        return text.encode(), True
    except UnicodeEncodeError:
        if not way.exact:
            raise FieldTypeError(f"protobuf has no text with lone surrogates: {text!r:.60}") from None
        return text.encode("utf-8", "replace"), False


def _writer_of(name: str) -> Callable[[str, Any, Way], _Written]:
    if name in _TEXTS:
        return _write_text
    if name in _WHOLE:
        return _write_whole
    if name in _FLOATS:
        return _write_float
    if name == "location":
        return _write_location
    kind = FIELDS[name].kind
    return {"bytes": _write_blob, "tensor": _write_array, "json": _write_json, "scores": _write_scores}[kind]


_WRITERS: Final = {name: _writer_of(name) for name in _NUMBERS if FIELDS[name].kind != "docs"}


def _exact_entry(name: str, raw: bytes) -> bytes:
    key = name.encode()
    entry = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(raw)) + raw
    return _EXACT_TAG + varint(len(entry)) + entry


def _refused(error: DocArrayError, name: str, key: object) -> DocArrayError:
    return type(error)(f"field {name!r} of document {key!r}: {error}")


def _no_such(value: object, error: Exception) -> FieldTypeError:
    return FieldTypeError(f"it takes no {type(value).__name__} such as {value!r:.60} ({error})")


def encode_record(
    record: Mapping[str, Any], way: Way = EXACT, ndarray_type: str | None = None, depth: int = 0
) -> bytes:
    """One document as the bytes of a DocumentProto.

    Raises:
        FieldTypeError, Unsupported: a value that has no form there; the message names document and field.
        UnknownField: a key is no field. BadValue: documents are nested more than 128 levels deep.

    >>> encode_record({'id': 'a', 'text': 'hi'}).hex()
    '0a016122026869'
    """
    if depth > DEEPEST:
        raise BadValue(f"documents are nested more than {DEEPEST} levels deep")
    parts: list[tuple[int, bytes]] = []
    more: dict[str, bytes] = {}
    for name, value in record.items():
        if value is None:
            continue
        write = _WRITERS.get(name)
        try:
            if write is None:
                parts.append((_numbered(name), _below(name, value, way, ndarray_type, depth)))
                continue
            if ndarray_type is not None and write is _write_array:
                value = converted(value, ndarray_type)
            plain, exact = write(name, value, way)
        except UnknownField:
            raise
        except DocArrayError as error:
            raise error if write is None else _refused(error, name, record.get("id")) from None
        except (AttributeError, TypeError) as error:
            raise _refused(_no_such(value, error), name, record.get("id")) from None
        parts.append((_NUMBERS[name], plain))
        if exact is not None and way.exact:
            more[name] = exact
    parts.sort()
    if more:
        parts += [(_EXACT, _exact_entry(name, more[name])) for name in sorted(more)]
    return b"".join([part for _, part in parts])


def _numbered(name: str) -> int:
    field_named(name)
    return _NUMBERS[name]


def _below(name: str, records: Any, way: Way, ndarray_type: str | None, depth: int) -> bytes:
    """Nested documents, each with its tag and length."""
    tag, parts = _TAGS[name], list[bytes]()
    for record in records:
        body = encode_record(record, way, ndarray_type, depth + 1)
        parts += (tag, varint(len(body)), body)
    return b"".join(parts)


# ---------------------------------------------------------------------------------------------- writing columns


def encode_rows(
    table: Table, way: Way = EXACT, ndarray_type: str | None = None, depth: int = 0
) -> list[bytes]:
    """Each row as the bytes of a DocumentProto: the same as `encode_record` gives.

    Raises:
        FieldTypeError, Unsupported: a value that has no form there; the message names document and field.
        UnknownField: a column is no field. BadValue: documents are nested more than 128 levels deep.

    Costs 2 to 3 us a row of text, tags and a vector. Cut a large table into pieces, and the memory stays small.
    """
    if depth > DEEPEST:
        raise BadValue(f"documents are nested more than {DEEPEST} levels deep")
    for name in table.columns:
        field_named(name)
    count = len(table)
    if not count:
        return []
    streams: list[Iterable[Any]] = []
    more: dict[str, list[bytes]] = {}
    for name in _NUMBERS:
        column = table.id_column if name == "id" else table.columns.get(name)
        if column is None:
            continue
        if column.kind != FIELDS[name].kind and (column.kind, FIELDS[name].kind) != ("json", "number"):
            raise FieldTypeError(f"field {name!r} takes {FIELDS[name].kind}; the column is of {column.kind}")
        if isinstance(column, DocsColumn):
            streams.append(_nested(name, column, way, ndarray_type, depth))
            continue
        written = _Column(name, column, way, table.id_column)
        streams += written.streams(ndarray_type)
        if written.more:
            more[name] = [written.more.get(row, b"") for row in range(count)]
    streams += [more[name] for name in sorted(more)]
    return list(map(b"".join, zip(*streams, strict=False)))


def _nested(name: str, column: DocsColumn, way: Way, ndarray_type: str | None, depth: int) -> list[bytes]:
    offsets = column.checked()
    first = int(offsets[0])
    bodies = encode_rows(column.child.slice(first, int(offsets[-1])), way, ndarray_type, depth + 1)
    tag = _TAGS[name]
    whole = [tag + varint(len(body)) + body for body in bodies]
    return [b"".join(whole[a:b]) for a, b in pairwise((offsets - first).tolist())]


class _Column:
    """One column on its way to the wire."""

    def __init__(self, name: str, column: Column, way: Way, ids: TextColumn) -> None:
        self.name, self.column, self.way, self.ids = name, column, way, ids
        self.more: dict[int, bytes] = {}

    def streams(self, ndarray_type: str | None) -> list[Iterable[Any]]:
        """Sequences of bytes: what stands at one place in all of them is the field of that row."""
        column, name = self.column, self.name
        if name in _TEXTS and isinstance(column, TextColumn):
            return self._texts(column.values())
        if isinstance(column, UniformTensors) and FIELDS[name].kind == "tensor" and name != "location":
            fast = self._matrix(column, ndarray_type)
            if fast is not None:
                return fast
        values = column.values()
        if isinstance(column, JsonColumn) and column.kind == "json" and name in ("tags", "_metadata"):
            fast = self._alike(values)
            if fast is not None:
                return fast
        return [self._cells(values, ndarray_type)]

    def _texts(self, values: list[Any]) -> list[Iterable[Any]]:
        if "" in values:
            return [self._cells(values, None)]
        try:
            raws = [b"" if value is None else value.encode() for value in values]
        except UnicodeEncodeError:  # lone surrogates
            return [self._cells(values, None)]
        tag = _TAGS[self.name]
        known = {size: tag + varint(size) if size else b"" for size in set(map(len, raws))}
        return [[known[len(raw)] for raw in raws], raws]

    def _matrix(self, column: UniformTensors, ndarray_type: str | None) -> list[Iterable[Any]] | None:
        data, cls_name = column.data, column.framework
        if cls_name == "jax" or any(side >= _LARGEST for side in data.shape[1:]):
            return None
        if ndarray_type not in (None, cls_name):
            return None
        size = data.nbytes // len(data)
        before, behind = frame(data.shape[1:], data.dtype, cls_name, size)
        before = _TAGS[self.name] + varint(len(before) + size + len(behind)) + before
        raw = data.tobytes()
        cells: Iterable[Any] = (
            [raw[i : i + size] for i in range(0, len(raw), size)] if size else repeat(b"", len(data))
        )
        present = column.present
        if present is None or present.all():
            return [repeat(before), cells, repeat(behind)]
        here = present.tolist()
        return [
            [before if there else b"" for there in here],
            [cell if there else b"" for cell, there in zip(cells, here, strict=True)],
            [behind if there else b"" for there in here],
        ]

    def _alike(self, values: list[Any]) -> list[Iterable[Any]] | None:
        alike = pieces(values, self.way)
        if alike is None:
            return None
        parts, exactly = alike
        payloads = list(map(b"".join, zip(*parts, strict=False)))
        if not exactly and self.way.exact:
            for row, value in enumerate(values):
                self.more[row] = _exact_entry(self.name, dump_exact(value))
        tag = _TAGS[self.name]
        known = {size: tag + varint(size) for size in set(map(len, payloads))}
        return [[known[len(payload)] for payload in payloads], payloads]

    def _cells(self, values: list[Any], ndarray_type: str | None) -> list[bytes]:
        name, way, write = self.name, self.way, _WRITERS[self.name]
        convert = write is _write_array and ndarray_type is not None
        out: list[bytes] = []
        for value in values:
            if value is None:
                out.append(b"")
                continue
            try:
                plain, exact = write(name, converted(value, ndarray_type) if convert else value, way)
            except DocArrayError as error:
                raise _refused(error, name, self.ids.value(len(out))) from None
            except (AttributeError, TypeError) as error:
                raise _refused(_no_such(value, error), name, self.ids.value(len(out))) from None
            if exact is not None and way.exact:
                self.more[len(out)] = _exact_entry(name, exact)
            out.append(plain)
        return out


# ---------------------------------------------------------------------------------------------- reading one document


class _Merged(Exception):
    """A document that says a field twice, or in another form than the usual."""


def _usual(data: bytes) -> bytes:
    """The same document in the form in which the library writes it."""
    try:
        message = DocumentProto.FromString(data)
        message.DiscardUnknownFields()
        return message.SerializeToString(deterministic=True)
    except (DecodeError, ValueError, RecursionError) as error:
        raise CorruptData(f"these {len(data)} bytes are no DocumentProto: {error}") from None


def decode_record(data: bytes) -> Record:
    """The document of the bytes of a DocumentProto: the fields that are set, in canonical order.

    Raises:
        CorruptData: the bytes are damaged. MissingExtra: an array is of a framework that is not installed.

    >>> decode_record(bytes.fromhex('0a016122026869'))
    {'id': 'a', 'text': 'hi'}
    """
    return _decode_record(data, 0, len(data), 0)


def _decode_record(data: bytes, start: int, stop: int, depth: int) -> Record:
    try:
        return _read_record(data, start, stop, depth)
    except _Merged:
        pass
    data = _usual(data[start:stop])
    try:
        return _read_record(data, 0, len(data), depth)
    except _Merged:
        raise CorruptData("a document that says a field twice") from None


def _read_record(data: bytes, at: int, end: int, depth: int) -> Record:
    if depth > DEEPEST:
        raise CorruptData(f"byte {at}: documents are nested more than {DEEPEST} levels deep")
    found: dict[str, Any] = {}
    seen = 0
    late: list[tuple[str, int, int]] = []
    exact: list[tuple[str, bytes]] = []
    name = ""
    try:
        for number, kind, start, stop in scan(data, at, end, _KNOWN):
            plan = _PLANS.get(number << 3 | kind)
            if plan is not None:  # a field that comes once
                name, bit, apart, read = plan
                if seen & apart:
                    raise _Merged
                seen |= bit
                if read is None:
                    late.append((name, start, stop))
                elif (value := read(data, start, stop)) is not None:
                    found[name] = value
            elif kind == _LENGTH and number in _REPEATED:
                if number == _EXACT:
                    name = "exact"
                    exact.append(_read_exact(data, start, stop))
                    continue
                name = _NAMES[number]
                if number in (14, 15):
                    below = _decode_record(data, start, stop, depth + 1)
                    found.setdefault(name, []).append(below)
                else:
                    label, score = _read_score(data, start, stop)
                    found.setdefault(name, {})[label] = score
            elif number == 13 and kind == _FIXED32:
                raise _Merged
            # Any other wire type of a known field is an unknown field, for protobuf.
        for name, raw in exact:
            found[name] = _exact_value(name, raw)
        for name, start, stop in late:  # tags, which `exact` speaks of more often than not
            if name not in found and (value := decode(data[start:stop])):
                found[name] = value
    except CorruptData as error:
        raise error if name in ("chunks", "matches") else _where(error, name, found.get("id")) from None
    return {name: found[name] for name in sorted(found, key=_RANKS)}


def _where(error: CorruptData, name: str, key: object) -> CorruptData:
    return CorruptData(f"document {key!r}, at the field {name!r} or behind it: {error}")


def _read_text(data: bytes, start: int, stop: int) -> str | None:
    try:
        return data[start:stop].decode() or None
    except UnicodeDecodeError as error:
        raise CorruptData(f"byte {start}: a text is no UTF-8: {error}") from None


def _read_content(data: bytes, start: int, stop: int) -> str:
    return _read_text(data, start, stop) or ""


def _read_float(data: bytes, start: int, stop: int) -> float | None:
    return None if data[start:stop] == b"\x00\x00\x00\x00" else _read_single(data, start)[0]


def _read_location(data: Any, start: int, stop: int) -> list[float] | None:
    if (stop - start) % 4:
        raise CorruptData(f"byte {start}: {stop - start} bytes where 32-bit floats were expected")
    return np.frombuffer(data[start:stop], "<f4").tolist() or None


def _reader_of(name: str) -> Callable[[bytes, int, int], Any]:
    if name == "text":
        return _read_content
    if name in _TEXTS:
        return _read_text
    if name in _WHOLE:
        return lambda data, start, stop: start & (_LARGEST - 1) or None
    if name in _FLOATS:
        return _read_float
    if name == "location":
        return _read_location
    if name == "blob":
        return lambda data, start, stop: data[start:stop]
    return lambda data, start, stop: decode_array(data[start:stop])


_READERS: Final = {
    name: _reader_of(name) for name in _NUMBERS if FIELDS[name].kind not in ("docs", "scores", "json")
}
# By tag, for the fields that come once: the name, its bit, the bits of those that it goes without, and what reads it.
_PLANS: Final = {
    number << 3 | _KINDS[number]: (
        name,
        1 << number,
        _CONTENT_BITS if number in _CONTENT else 1 << number,
        _READERS.get(name),
    )
    for name, number in _NUMBERS.items()
    if number not in _REPEATED
}
_KEY_AND_VALUE: Final = frozenset({1, 2})
_OF_SCORE: Final = frozenset({1, 2, 3, 4})


def _entry(data: Any, at: int, end: int) -> tuple[bytes, int, int]:
    """The key of an entry of a map, and where its value begins and ends."""
    key, begin, behind = b"", end, end
    for number, kind, start, stop in scan(data, at, end, _KEY_AND_VALUE):
        if kind != _LENGTH:
            continue
        if number == 1:
            key = bytes(data[start:stop])
        elif behind > begin:
            raise _Merged
        else:
            begin, behind = start, stop
    return key, begin, behind


def _read_score(data: Any, at: int, end: int) -> tuple[str, dict[str, Any]]:
    """Name and fields of a score, of an entry of the map of scores."""
    key, begin, behind = _entry(data, at, end)
    found: dict[int, Any] = {}
    try:
        for number, kind, start, stop in scan(data, begin, behind, _OF_SCORE):
            if number == 1 and kind == _FIXED32:
                found[1] = _read_float(bytes(data[start:stop]), 0, 4)
            elif number > 1 and kind == _LENGTH:
                found[number] = bytes(data[start:stop]).decode() or None
        score = {name: found[n] for n, name in _SCORE_FIELDS if found.get(n) is not None}
        return key.decode(), score
    except UnicodeDecodeError as error:
        raise CorruptData(f"byte {at}: a score holds a text that is no UTF-8: {error}") from None


_SCORE_FIELDS: Final = ((1, "value"), (2, "op_name"), (3, "description"), (4, "ref_id"))


def _read_exact(data: Any, at: int, end: int) -> tuple[str, bytes]:
    """The name of a field and what is said of it, of an entry of the map `exact`."""
    key, begin, behind = _entry(data, at, end)
    name = key.decode("utf-8", "replace")
    if name not in FIELDS or FIELDS[name].kind == "docs":
        raise CorruptData(
            f"byte {at}: `exact` speaks of {name!r:.60}, which is no field that it may speak of"
        )
    return name, bytes(data[begin:behind])


def _exact_value(name: str, raw: bytes) -> Any:
    """What `exact` says of a field, if it is of the field's type."""
    kind = FIELDS[name].kind
    if kind == "tensor" and name != "location":
        return from_exact(raw)
    value = load_exact(raw, _PYTHON[kind])
    if isinstance(value, bool) or (
        not all(type(number) in (int, float) for number in value)
        if kind == "tensor"
        else kind == "scores" and not all(map(_is_score, value.items()))
    ):
        raise CorruptData(f"`exact` holds {value!r:.60} for the field {name!r}, which takes no such value")
    return value


_PYTHON: Final[Mapping[str, Any]] = {
    "text": str,
    "bytes": bytes,
    "number": (int, float),
    "tensor": list,
    "json": dict,
    "scores": dict,
}


def _is_score(item: tuple[Any, Any]) -> bool:
    label, score = item
    return (
        isinstance(label, str)
        and isinstance(score, dict)
        and cast("dict[Any, Any]", score).keys() <= _SCORE_KEYS
        and all(
            type(value) in (int, float) if key == "value" else isinstance(value, str)
            for key, value in cast("dict[Any, Any]", score).items()
        )
    )


# ---------------------------------------------------------------------------------------------- reading columns


def decode_rows(data: memoryview, starts: Array, stops: Array) -> Table:
    """The documents whose DocumentProtos lie in `data`, as a table: what `decode_record` gives of each.

    Args:
        data: bytes, read-only.
        starts, stops: (n,) int64, where each begins and the byte behind it.

    Raises:
        CorruptData: the bytes are damaged; the message says where. MissingExtra: a framework is not installed.

    Costs some 1.5 us a row of text, tags and a vector. Tags are not looked at before they are touched.
    """
    todo = [_Reading(data, starts, stops, 0)]
    for reading in todo:  # it grows as nested documents are found
        reading.read()
        todo += reading.below.values()
        if len(todo) > _MOST_PATHS:
            raise CorruptData(f"chunks and matches are nested in more than {_MOST_PATHS} ways")
    for reading in reversed(todo):
        reading.assemble()
    return todo[0].table


class _Reading:
    """Documents of one level on their way from the wire to columns."""

    table: Table

    def __init__(self, data: memoryview, starts: Array, stops: Array, depth: int) -> None:
        if depth > DEEPEST:
            raise CorruptData(f"byte {int(starts[0])}: documents are nested more than {DEEPEST} levels deep")
        self.data, self.starts, self.stops, self.depth = data, starts, stops, depth
        self.count = len(starts)
        self.columns: dict[str, Column] = {}
        self.offsets: dict[str, Array] = {}
        self.below: dict[str, _Reading] = {}

    def read(self) -> None:
        """Finds all columns, and where the nested documents are."""
        try:
            self._read()
            return
        except _Merged:
            pass
        spans = zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        bodies = [_usual(bytes(self.data[a:b])) for a, b in spans]
        self.stops = np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)))
        self.starts = np.concatenate([np.zeros(1, np.int64), self.stops[:-1]])
        self.data = memoryview(b"".join(bodies))
        self.columns, self.offsets, self.below = {}, {}, {}
        try:
            self._read()
        except _Merged:
            raise CorruptData("a document that says a field twice") from None

    def _read(self) -> None:
        word = "nested document" if self.depth else "document"
        self.fields = fields = scan_many(
            self.data, self.starts, self.stops, _KNOWN, lambda row: f"{word} {row}"
        )
        if ((fields.numbers == 13) & (fields.kinds == _FIXED32)).any():
            raise _Merged
        said = self._exact()
        content = np.zeros(self.count, np.int8)
        for name, number in _NUMBERS.items():
            rows, starts, stops = fields.of(number, _KINDS[number])
            exact = said.get(name, {})
            if not len(rows) and not exact:
                continue
            if len(rows) and number not in _REPEATED:
                if np.bincount(rows).max() > 1:
                    raise _Merged
                if number in _CONTENT:
                    content[rows] += 1
            rows, starts, stops = _in_order(rows, starts, stops)
            if name in ("chunks", "matches"):
                self.offsets[name] = offsets = np.zeros(self.count + 1, np.int64)
                np.cumsum(np.bincount(rows, minlength=self.count), out=offsets[1:])
                self.below[name] = _Reading(self.data, starts, stops, self.depth + 1)
                continue
            column = self._column(name, rows, starts, stops, exact)
            if column is not None:
                self.columns[name] = column
        if content.max(initial=0) > 1:
            raise _Merged
        del self.fields

    def assemble(self) -> None:
        """Makes the table, of this level's columns and the tables below."""
        for name, below in self.below.items():
            self.columns[name] = DocsColumn(self.offsets[name], below.table)
        ids = self.columns.get("id")
        columns = {name: self.columns[name] for name in FIELDS if name in self.columns and name != "id"}
        self.table = Table(columns, self.count, None if ids is None else _ids(ids))

    def _exact(self) -> dict[str, dict[int, bytes]]:
        """By field and row: what `exact` says."""
        said: dict[str, dict[int, bytes]] = {}
        rows, starts, stops = self.fields.of(_EXACT, _LENGTH)
        data = self.data
        for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
            name, text = _read_exact(data, start, stop)
            said.setdefault(name, {})[row] = text
        return said

    def _column(
        self, name: str, rows: Array, starts: Array, stops: Array, exact: dict[int, bytes]
    ) -> Column | None:
        kind = FIELDS[name].kind
        if kind == "json":
            return self._json(rows, starts, stops, exact)
        if kind == "scores":
            column = self._scores(name, rows, starts, stops)
        elif name in _WHOLE:
            column = self._numbers(rows, starts & (_LARGEST - 1))
        elif name in _FLOATS:
            column = self._numbers(rows, self._singles(starts))
        elif name == "location":
            column = self._locations(rows, starts, stops)
        elif kind == "tensor":
            column = read_column(self.data, rows, starts, stops, self.count) if len(rows) else None
        else:
            column = self._strings(name, rows, starts, stops)
        if not exact:
            return column
        values = [None] * self.count if column is None else column.values()
        for row, text in exact.items():
            values[row] = _exact_value(name, text)
        return column_of(kind, values)

    def _gathered(self, rows: Array, starts: Array, stops: Array) -> tuple[Array, Array, Array | None]:
        """Offsets, bytes and mask of a column of strings."""
        raw = gathered(self.data, starts, stops - starts)
        if len(rows) == self.count:
            sizes, present = stops - starts, None
        else:
            sizes, present = np.zeros(self.count, np.int64), np.zeros(self.count, bool)
            sizes[rows], present[rows] = stops - starts, True
        offsets = np.zeros(self.count + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return offsets, raw, present

    def _strings(self, name: str, rows: Array, starts: Array, stops: Array) -> Column | None:
        if name in _TEXTS and name != "text":  # an empty one is unset
            here = stops > starts
            rows, starts, stops = rows[here], starts[here], stops[here]
        if not len(rows):
            return None
        offsets, raw, present = self._gathered(rows, starts, stops)
        if name == "blob":
            return BytesColumn(None, (offsets, raw, present))
        _check_text(name, offsets, raw)
        return TextColumn(None, (offsets, raw, present))

    def _singles(self, starts: Array) -> Array:
        buffer = np.frombuffer(self.data, np.uint8)
        return np.ascontiguousarray(buffer[starts[:, None] + np.arange(4)]).view("<f4").reshape(-1)

    def _numbers(self, rows: Array, found: Array) -> Column | None:
        bits = found.view("<u4") if found.dtype.kind == "f" else found
        here = bits != 0
        rows, found = rows[here], found[here]
        if not len(rows):
            return None
        values = np.zeros(self.count, np.float64 if found.dtype.kind == "f" else np.int64)
        values[rows] = found
        if len(rows) == self.count:
            return NumberColumn(values)
        present = np.zeros(self.count, bool)
        present[rows] = True
        return NumberColumn(values, present)

    def _locations(self, rows: Array, starts: Array, stops: Array) -> Column | None:
        values: list[Any] = [None] * self.count
        for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
            values[row] = _read_location(self.data, start, stop)
        return None if all(value is None for value in values) else column_of("tensor", values)

    def _scores(self, name: str, rows: Array, starts: Array, stops: Array) -> Column | None:
        if not len(rows):
            return None
        values: list[Any] = [None] * self.count
        for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
            label, score = _read_score(self.data, start, stop)
            if values[row] is None:
                values[row] = {}
            values[row][label] = score
        return column_of("scores", values)

    def _json(self, rows: Array, starts: Array, stops: Array, exact: dict[int, bytes]) -> Column | None:
        here = stops > starts
        rows, starts, stops = rows[here], starts[here], stops[here]
        if not exact:
            return StructColumn(BytesColumn(None, self._gathered(rows, starts, stops))) if len(rows) else None
        raw: list[bytes | None] = [None] * self.count
        said = np.zeros(self.count, bool)
        said[list(exact)] = True
        for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
            if row not in exact:
                raw[row] = bytes(self.data[start:stop])
        for row, text in exact.items():
            raw[row] = text
        return StructColumn(BytesColumn(raw), said)


def _ids(column: Column) -> TextColumn:
    """A column of ids, drawn where they are missing."""
    if column.present is None:
        return cast("TextColumn", column)
    values = column.values()
    fresh = iter(new_ids(values.count(None)))
    return TextColumn([next(fresh) if value is None else value for value in values])


def _in_order(rows: Array, starts: Array, stops: Array) -> tuple[Array, Array, Array]:
    """The same, row by row; of one row in the order in which they came."""
    if bool((rows[1:] >= rows[:-1]).all()):
        return rows, starts, stops
    order = np.argsort(rows, kind="stable")
    return rows[order], starts[order], stops[order]


def _check_text(name: str, offsets: Array, raw: Array) -> None:
    """Whether each of these texts is UTF-8."""
    data = raw.tobytes()
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        row = int(np.searchsorted(offsets, error.start, "right")) - 1
        raise CorruptData(f"document {row}, field {name!r}: a text is no UTF-8: {error}") from None
    begins = offsets[:-1][offsets[1:] > offsets[:-1]]
    split = (raw[begins] & 0xC0) == 0x80  # all together are UTF-8, but one ends within a letter
    if split.any():
        raise CorruptData(f"field {name!r}: a text is no UTF-8: it ends within a letter")
