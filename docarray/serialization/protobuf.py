"""The old protobuf formats: an array in one message, a stream of documents, message objects, and protobuf's JSON.

Rule 1: bytes go from and to columns by our own codec (wire.py), and are those that the protobuf library would write.
Rule 2: message objects are the library's, of the code in `docarray.proto`; they are made from bytes, and read as bytes.
"""

from __future__ import annotations

import io
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO, Final, cast

import numpy as np
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError, SerializeToJsonError
from google.protobuf.message import DecodeError, EncodeError, Message

from docarray.errors import BadValue, CorruptData, FieldTypeError, FormatError
from docarray.format import Format
from docarray.proto.docarray_pb2 import DocumentArrayProto, DocumentProto
from docarray.records import Record
from docarray.serialization.stream import Stream
from docarray.serialization.structs import EXACT, MESSAGE, OLD, Way
from docarray.serialization.varints import read_varint, varint
from docarray.serialization.wire import decode_record, decode_rows, encode_record, encode_rows
from docarray.table import Table
from docarray.tensors import Array

__all__ = [
    "ARRAY",
    "STREAM",
    "EachProtobuf",
    "ProtobufArray",
    "array_from_message",
    "array_to_message",
    "from_dict",
    "from_message",
    "to_dict",
    "to_message",
]

_AT_ONCE: Final = 2048
_BYTES_AT_ONCE: Final = 1 << 22
_HEAD: Final = 64  # so many bytes of a longer file are shown to `guesses`
_DOCS: Final = 0x0A  # the tag of each document in a DocumentArrayProto


class ProtobufArray(Format):
    """A DocumentArrayProto: `da.to_bytes('protobuf-array')`, byte compatible with DocArray 0.13 to 0.21.

    Options of writing:
        exact: what the plain fields cannot say (ints in tags, doubles, int8 arrays of a framework without them, ...) is
            said beside them, where old readers skip it. False writes precisely the bytes of the old library, keys of
            maps sorted; what is lost then: whether a number in tags was an int, the precision of weight, offset,
            location and scores (32 bits), the order of keys, and the kind of some arrays.
        ndarray_type: 'list' or 'numpy' turns all tensors and embeddings into such first.

    What it cannot say: nothing, with `exact`. Ids that a document lacks are drawn; empty containers (tags, scores,
    location) read as unset.
    """

    name = "protobuf-array"
    suffixes: tuple[str, ...] = (".protobuf-array",)
    mime_type = "application/x-protobuf"

    def dumps(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, table: Table, *, exact: bool = True, ndarray_type: str | None = None
    ) -> bytes:
        """The table as bytes.

        Raises:
            FieldTypeError, Unsupported: a value that has no form there; the message names document and field.
        """
        out = io.BytesIO()
        self.write([table], out, exact=exact, ndarray_type=ndarray_type)
        return out.getvalue()

    def write(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        tables: Iterable[Table],
        stream: BinaryIO,
        *,
        exact: bool = True,
        ndarray_type: str | None = None,
    ) -> None:
        """Writes the rows of tables one after the other; memory is that of two thousand documents."""
        way = EXACT if exact else OLD
        for table in tables:
            for first in range(0, len(table), _AT_ONCE):
                cut = table.slice(first, min(first + _AT_ONCE, len(table)))
                stream.write(_joined(encode_rows(cut, way, ndarray_type)))

    def loads(self, data: memoryview) -> Table:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The table that `dumps` wrote, or the old library.

        Raises:
            CorruptData: the bytes are no DocumentArrayProto, or damaged; the message says at which.
            MissingExtra: an array is of a framework that is not installed.

        Costs 1.5 us for a document of text, tags and a vector; tags are read when they are touched.
        """
        starts, stops, _ = _spans(data, whole=True)
        return decode_rows(data, starts, stops)

    def read(self, stream: BinaryIO) -> Iterator[Table]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Tables of some megabytes, as they are asked for; memory is that of one, and of its longest document."""
        rest = b""
        given = False
        while piece := stream.read(_BYTES_AT_ONCE):
            data = rest + piece
            view = memoryview(data)
            starts, stops, end = _spans(view, whole=False)
            if len(starts):
                given = True
                yield decode_rows(view, starts, stops)
            rest = data[end:]
        view = memoryview(rest)
        starts, stops, _ = _spans(view, whole=True)
        if len(starts) or not given:
            yield decode_rows(view, starts, stops)

    def guesses(self, head: bytes) -> bool:
        """Whether bytes that begin so may be an array: a document that begins with its id, or any that is alike."""
        if len(head) < 2 or head[0] != _DOCS:
            return False
        try:
            size, at = read_varint(head, 1, len(head))
        except CorruptData:
            return False
        if size > len(head) - at and len(head) < _HEAD:  # all there is, and not all of a document
            return False
        return size == 0 or _begins_document(head[at:])


def _begins_document(head: bytes) -> bool:
    """Whether bytes may be a DocumentProto, by their first field."""
    if not head:
        return False
    if head[0] == _DOCS:  # an id, which is text
        size = head[1] if len(head) > 1 else 0
        return not any(byte < 0x20 for byte in head[2 : 2 + size])
    return head[0] in (0x12, 0x1A, 0x22, 0x28, 0x30, 0x3A, 0x45, 0x4A, 0x52, 0x5A, 0x65, 0x6A, 0x72, 0x7A)


def _joined(bodies: Sequence[bytes]) -> bytes:
    known = {size: b"\x0a" + varint(size) for size in set(map(len, bodies))}
    return b"".join(chain.from_iterable([(known[len(body)], body) for body in bodies]))


def _spans(data: memoryview, *, whole: bool) -> tuple[Array, Array, int]:
    """Where each document begins and ends, and the byte behind the last; one that is cut off is left, or damaged."""
    source: Any = data.obj if isinstance(data.obj, bytes) and len(data.obj) == len(data) else data
    starts, stops = array("q"), array("q")
    begin, behind = starts.append, stops.append
    at, end = 0, len(data)
    begun = 0
    try:
        while at < end:
            begun = at
            if source[at] != _DOCS:
                at = _stepped_over(source, at, end, begin, behind)
                continue
            size = source[at + 1]
            at += 2
            if size > 127:
                more = source[at]
                at += 1
                size += (more << 7) - 128
                if more > 127:
                    size, at = read_varint(source, begun + 1, end)
                    if size > end - at:
                        raise _cut_off(begun, size, end - at)
            begin(at)
            at += size
            behind(at)
        if at > end:
            raise _cut_off(begun, stops[-1] - starts[-1], end - starts[-1])
    except (IndexError, CorruptData) as error:
        if whole:
            raise error if isinstance(error, CorruptData) else _cut_off(begun, 1, 0) from None
        if at > end:
            starts.pop()
            stops.pop()
        at = begun
    return np.frombuffer(starts, np.int64), np.frombuffer(stops, np.int64), at


def _cut_off(at: int, size: int, left: int) -> CorruptData:
    return CorruptData(
        f"byte {at}: a document of {size} bytes is announced and {left} are there: the array was cut off"
    )


def _stepped_over(data: Any, at: int, end: int, begin: Any, behind: Any) -> int:
    """The byte behind a field of an array that does not plainly begin as a document."""
    begun = at
    tag, at = read_varint(data, at, end)
    kind, size = tag & 7, 0
    if not 0 < tag >> 3 < 1 << 29:
        raise CorruptData(f"byte {begun}: a field of the number {tag >> 3}, which cannot be")
    if kind == 0:
        return read_varint(data, at, end)[1]
    if kind == 2:
        size, at = read_varint(data, at, end)
    elif kind in (1, 5):
        size = 8 if kind == 1 else 4
    else:
        raise CorruptData(f"byte {begun}: the wire type {kind}, which no array of documents has")
    if size > end - at:
        raise _cut_off(begun, size, end - at)
    if tag == _DOCS:  # in more bytes than it needs
        begin(at)
        behind(at + size)
    return at + size


class EachProtobuf:
    """Single documents as DocumentProtos: what the stream is made of. It writes with the options of `ProtobufArray`."""

    def dumps_each(self, table: Table, **options: Any) -> list[bytes]:
        """Each row as a DocumentProto."""
        return encode_rows(table, *_chosen(**options))

    def loads_each(self, data: memoryview, starts: Array, stops: Array, **options: Any) -> Table:
        """The rows of DocumentProtos that lie in `data`."""
        return decode_rows(data, starts, stops, **options)

    def dumps_record(self, record: Record, **options: Any) -> bytes:
        """One document as a DocumentProto."""
        return encode_record(record, *_chosen(**options))

    def loads_record(self, data: memoryview, **options: Any) -> Record:
        """The document of a DocumentProto."""
        return decode_record(bytes(data), **options)

    def guesses(self, head: bytes) -> bool:
        """Whether bytes that begin so may be a DocumentProto."""
        return _begins_document(head)


def _chosen(*, exact: bool = True, ndarray_type: str | None = None) -> tuple[Way, str | None]:
    """The options of writing."""
    return EXACT if exact else OLD, ndarray_type


ARRAY: Final = ProtobufArray()
STREAM: Final = Stream("protobuf", EachProtobuf(), (".protobuf",))


# ---------------------------------------------------------------------------------------------- message objects


def to_message(record: Record, ndarray_type: str | None = None) -> DocumentProto:
    """One document as a message object.

    Args:
        record: the document.
        ndarray_type: 'list' or 'numpy' turns tensors and embeddings into such first, nested ones too.

    Raises:
        FieldTypeError, Unsupported: a value that has no form there; the message names document and field.
        BadValue: documents are nested deeper than the protobuf library reads (some 90 levels).

    >>> to_message({'id': 'a', 'text': 'hi', 'tags': {'x': 'y'}}).tags['x']
    'y'
    """
    return cast("DocumentProto", _message(DocumentProto, encode_record(record, MESSAGE, ndarray_type)))


def array_to_message(table: Table, ndarray_type: str | None = None) -> DocumentArrayProto:
    """A table as a message object; see `to_message`."""
    data = _joined(encode_rows(table, MESSAGE, ndarray_type))
    return cast("DocumentArrayProto", _message(DocumentArrayProto, data))


def _message(kind: Any, data: bytes) -> Message:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise BadValue("documents or tags are nested deeper than messages of protobuf can be") from None


def from_message(message: Message) -> Record:
    """The document of a message object of `docarray.DocumentProto`, of this library's code or of another's.

    Raises:
        FieldTypeError: it is none. CorruptData: what it holds makes no document.

    >>> from_message(to_message({'id': 'a', 'tags': {'x': 1}}))
    {'id': 'a', 'tags': {'x': 1}}
    """
    return decode_record(_bytes_of(message, "docarray.DocumentProto"))


def array_from_message(message: Message) -> Table:
    """The documents of a message object of `docarray.DocumentArrayProto`; see `from_message`."""
    return ARRAY.loads(memoryview(_bytes_of(message, "docarray.DocumentArrayProto")))


def _bytes_of(message: Any, name: str) -> bytes:
    if not isinstance(message, Message) or message.DESCRIPTOR.full_name != name:
        what = message.DESCRIPTOR.full_name if isinstance(message, Message) else type(message).__name__
        raise FieldTypeError(f"a message {name} is wanted; got {what}")
    try:
        return message.SerializePartialToString(deterministic=True)
    except EncodeError as error:
        raise BadValue(f"a message that the protobuf library cannot write: {error}") from None


# ---------------------------------------------------------------------------------------------- protobuf's JSON


def to_dict(record: Record, *, exact: bool = True, **options: Any) -> dict[str, Any]:
    """One document as a dict of what JSON can say, with the keys of protobuf: `parentId`, `mimeType`, `Metadata`.

    Args:
        record: the document.
        exact: what the plain fields cannot say stands below the key `exact`, which `from_dict` of the old library knows
            only with `ignore_unknown_fields=True`; False leaves it out.
        options: of `google.protobuf.json_format.MessageToDict`, such as `preserving_proto_field_name`.

    Raises:
        FieldTypeError, Unsupported: a value that has no form there; the message names document and field.
        BadValue: documents are nested too deep.

    >>> to_dict({'id': 'a', 'mime_type': 'text/plain', 'tags': {'x': 1.0}})
    {'id': 'a', 'mimeType': 'text/plain', 'tags': {'x': 1.0}}
    """
    old = options.pop("including_default_value_fields", None)
    if old is not None:  # what it was called before protobuf 5.26
        options.setdefault("always_print_fields_with_no_presence", old)
    message = _message(DocumentProto, encode_record(record, MESSAGE if exact else OLD))
    try:
        return MessageToDict(message, **options)
    except (SerializeToJsonError, RecursionError) as error:
        raise FieldTypeError(f"document {record.get('id')!r}: JSON cannot say it: {error}") from None


_LARGEST: Final = float(np.finfo(np.float32).max)
# Whose numbers are doubles.
_STRUCTS: Final = frozenset({"tags", "parameters", "metadata", "Metadata", "_metadata"})


def _floats(value: Any) -> Any:
    """A value whose largest floats can be read: protobuf writes them rounded up (3.4028235e+38), and refuses that."""
    kind = cast("Any", type(value))
    if kind is float and abs(value) > _LARGEST and float(f"{_LARGEST:.8g}") >= abs(value):
        return math.copysign(_LARGEST, value)
    if kind is dict:
        return {key: one if key in _STRUCTS else _floats(one) for key, one in value.items()}
    return [_floats(one) for one in value] if kind is list else value


def from_dict(value: Mapping[str, Any], **options: Any) -> Record:
    """The document of a dict that `to_dict` wrote, or the old library.

    Args:
        value: keys as protobuf's JSON has them, or as the fields are called.
        options: of `google.protobuf.json_format.ParseDict`, such as `ignore_unknown_fields`.

    Raises:
        CorruptData: a key that is no field, or a value that is none of it.

    >>> from_dict({'id': 'a', 'mimeType': 'text/plain'})
    {'id': 'a', 'mime_type': 'text/plain'}
    """
    if not isinstance(value, Mapping):
        raise CorruptData(f"a document is a JSON object; got {type(value).__name__}")
    try:
        message = ParseDict(_floats(cast("dict[str, Any]", value)), DocumentProto(), **options)
        data = message.SerializePartialToString(deterministic=True)
    except (ParseError, EncodeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise CorruptData(f"not a document in protobuf's JSON: {error}") from None
    return decode_record(data)
