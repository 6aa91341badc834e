"""Tables to bytes and files and back, by the name of a format: what is chosen, what is wrapped, what is checked.

Rule 1: what is asked for by name is used. What is not is found by content, then by the suffixes of the name, then by
        a guess that only a format with no mark of its own may make.
Rule 2: a compression that a format does not apply by itself is wrapped around the whole.
Rule 3: whatever a format gave is settled before anyone sees it (settle.py), and its errors name the file.
"""

from __future__ import annotations

import binascii
import functools
import io
import json
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, TypeVar, cast

from docarray import compression, files
from docarray.errors import (
    CorruptData,
    FieldTypeError,
    FormatError,
    UnknownField,
    UnknownName,
    UnsupportedFormat,
    near_miss,
)
from docarray.files import Source
from docarray.format import Format
from docarray.records import Record, records_of, table_of
from docarray.registry import known, resolve, room
from docarray.settle import settled
from docarray.table import Table

__all__ = [
    "by_suffixes",
    "dumps",
    "dumps_record",
    "flavour_named",
    "format_of",
    "from_dict",
    "from_dicts",
    "from_json",
    "from_message",
    "load",
    "loads",
    "loads_record",
    "save",
    "settled_record",
    "stream",
    "to_dict",
    "to_dicts",
    "to_json",
    "to_message",
    "unbase64",
]

T = TypeVar("T")

DEFAULT: Final = "binary"
_FLAVOURS: Final = ("jsonschema", "protobuf")
_HEAD: Final = 64


def dumps(table: Table, protocol: str | None = None, compress: str | None = None, **options: Any) -> bytes:
    """A table as bytes.

    Args:
        table: the documents.
        protocol: the name of a format; None is the native one.
        compress: a compression, or None.
        options: of the format.

    Raises:
        UnknownName: no such format or compression. FieldTypeError, Unsupported: the format cannot say a value.
    """
    form = _named(protocol or DEFAULT)
    inside, outside = _split(form, compress)
    return compression.compress(form.dumps(table, **inside, **options), outside)


def loads(
    data: bytes | bytearray | memoryview,
    protocol: str | None = None,
    compress: str | None = None,
    *,
    max_size: int | None = None,
    **options: Any,
) -> Table:
    """The table that bytes hold.

    Args:
        data: bytes-like.
        protocol: the name of a format; None finds it by content.
        compress: a compression; None finds it by content (all but zlib, which has no mark).
        max_size: how many bytes compressed data may unpack to; None is 256 MiB, or 250 times their size.
        options: of the format.

    Raises:
        CorruptData: the bytes are damaged. UnsupportedFormat: they are of no format that is known.
        UnknownName: no such format or compression.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise FieldTypeError(f"documents are read from bytes; got a {type(data).__name__}")
    return _read(_frozen(data), protocol, compress, (), max_size, options)


def dumps_record(record: Record, protocol: str | None, compress: str | None, **options: Any) -> bytes:
    """One document as bytes; see `dumps`."""
    form = _named(protocol or DEFAULT)
    if compress is None:
        return form.dumps_record(record, **options)
    inside, outside = _split(form, compress)
    return compression.compress(form.dumps_record(record, **inside, **options), outside)


def loads_record(
    data: bytes | bytearray | memoryview,
    protocol: str | None,
    compress: str | None,
    *,
    max_size: int | None = None,
    **options: Any,
) -> Record:
    """The document that bytes hold, its values checked by whoever makes a document of it; see `loads`."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise FieldTypeError(f"a document is read from bytes; got a {type(data).__name__}")
    view = _frozen(data)
    form = None if protocol is None else _named(protocol)
    if form is not None and compress in form.compressions:
        return _told(form.loads_record, view, compress=compress, **_limit(form, max_size), **options)
    view = _unwrapped(view, form, compress, max_size)
    if form is None:
        form = _found(bytes(view[:_HEAD]), ())
    return _told(form.loads_record, view, **_limit(form, max_size), **options)


def save(
    tables: Iterable[Table],
    target: str | os.PathLike[str] | BinaryIO,
    protocol: str | None = None,
    compress: str | None = None,
    **options: Any,
) -> None:
    """Writes tables one after the other to a path, URL or binary file; see `dumps`.

    Formats that can are written piece by piece: memory is that of one table. A local path is replaced when all is
    written and on disk. The suffixes of the name say what the arguments do not.
    """
    said, packed = by_suffixes(target)
    form = _named(protocol or said or DEFAULT)
    inside, outside = _split(form, compress or packed)
    with files.writing(target) as stream, compression.writer(stream, outside) as wrapped:
        form.write(tables, wrapped, **inside, **options)


def load(
    source: Source,
    protocol: str | None = None,
    compress: str | None = None,
    *,
    max_size: int | None = None,
    **options: Any,
) -> Table:
    """The table of a path, URL, binary file or bytes; see `loads`. A local native file is mapped, not read.

    Raises also FileNotFoundError.
    """
    said, packed = by_suffixes(source)
    with _naming(source):
        path = files.path_of(source)
        if path is not None:
            form = _of_file(path, protocol)
            if form is not None:
                return settled(_told(form.load, path, **_limit(form, max_size), **options))
        view = _frozen(files.read_all(source))
        hints = () if said is None or protocol is not None else (said,)
        return _read(view, protocol, compress or packed, hints, max_size, options)


def stream(
    source: Source,
    protocol: str | None = None,
    compress: str | None = None,
    *,
    max_size: int | None = None,
    **options: Any,
) -> Iterator[Table]:
    """The tables of a source one after the other; memory is that of one where the format can be read so."""
    said, packed = by_suffixes(source)
    with _naming(source), files.reading(source) as opened:
        head, whole = _peeked(opened)
        compress = compress or packed
        form = _named(protocol) if protocol is not None else _told_or_certain(head, said)
        inside: dict[str, Any] = {}
        if form is not None and compress in form.compressions:
            inside["compress"] = compress
        elif form is None or not form.recognises(head):
            outer = compression.named(compress) or compression.recognised(head)
            if outer is not None:
                head, whole = _peeked(compression.reader(whole, outer, max_size=max_size))
        form = form or _found(head, ())
        pieces = _told(form.read, whole, **inside, **_limit(form, max_size), **options)
        while (table := cast("Table | None", _told(next, pieces, None))) is not None:
            yield settled(table)


def unbase64(text: str | bytes) -> bytes:
    """The bytes of base64 text in the standard alphabet.

    Raises:
        CorruptData: it is none.
    """
    if not isinstance(text, (str, bytes)):
        raise FieldTypeError(f"base64 is a str; got a {type(text).__name__}")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise CorruptData(f"this is no base64: {error}") from None


def format_of(source: Source) -> tuple[str, str | None]:
    """What `load` would read a source as: the name of the format, and the compression around it.

    Raises:
        UnsupportedFormat: no format knows it. FileNotFoundError: nothing is there.
    """
    said, packed = by_suffixes(source)
    with _naming(source), files.reading(source) as opened:
        head, whole = _peeked(opened)
        outer = None
        form = _told_or_certain(head, said)
        if form is None or not (form.recognises(head) or packed in form.compressions):
            outer = packed or compression.recognised(head)
            if outer is not None:
                head, _ = _peeked(compression.reader(whole, outer))
        return (form or _found(head, ())).name, outer


# --------------------------------------------------------------------------------------------- one document


def flavour_named(protocol: str) -> str:
    """'jsonschema' or 'protobuf', if it is one of them."""
    if protocol not in _FLAVOURS:
        raise UnknownName(f"no flavour of JSON is called {protocol!r}. {near_miss(protocol, _FLAVOURS)}")
    return protocol


def to_dict(record: Record, protocol: str, **options: Any) -> dict[str, Any]:
    """One document as a dict of what JSON can say, in one of the two flavours."""
    return room("json" if flavour_named(protocol) == "jsonschema" else "protobuf").to_dict(record, **options)


def from_dict(value: Mapping[str, Any], protocol: str | None, **options: Any) -> Record:
    """The record that `to_dict` wrote; with None for a flavour, keys that are no field are tags."""
    if protocol is None:
        return room("json").from_dict(value, unknown="tags", **options)
    flavour = room("json" if flavour_named(protocol) == "jsonschema" else "protobuf")
    return _told(flavour.from_dict, value, **options)


def to_dicts(table: Table, protocol: str, **options: Any) -> list[dict[str, Any]]:
    """A dict for each row; see `to_dict`."""
    if flavour_named(protocol) == "jsonschema":
        return resolve("room", "json").to_dicts(table, **options)
    return [room("protobuf").to_dict(record, **options) for record in records_of(table)]


def from_dicts(values: Iterable[Mapping[str, Any]], protocol: str | None, **options: Any) -> Table:
    """The table that `to_dicts` wrote; see `from_dict`."""
    if protocol == "protobuf":
        read = room("protobuf").from_dict
        return settled(_told(table_of, [_told(read, value, **options) for value in values]))
    if protocol is None:
        options = {"unknown": "tags", **options}
    else:
        flavour_named(protocol)
    return settled(_told(resolve("room", "json").from_dicts, list(values), **options))


def to_json(record: Record, protocol: str, **options: Any) -> str:
    """One document as a JSON object."""
    if flavour_named(protocol) == "protobuf":
        return json.dumps(to_dict(record, protocol, **options))
    return _named("json").dumps_record(record, **options).decode("utf-8", "surrogatepass")


def from_json(text: str | bytes | bytearray, protocol: str | None, **options: Any) -> Record:
    """The record of a JSON object."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    if protocol == "jsonschema":
        return _told(_named("json").loads_record, memoryview(data), **options)
    return from_dict(resolve("room", "json").parsed(data), protocol, **options)


def to_message(record: Record, ndarray_type: str | None) -> Any:
    """One document as a message of protobuf."""
    return resolve("room", "protobuf").to_message(record, ndarray_type=ndarray_type)


def from_message(message: Any) -> Record:
    """The record of a message of protobuf."""
    return resolve("room", "protobuf").from_message(message)


def settled_record(record: Record) -> Table:
    """One record as a table of one row, with all below it."""
    return settled(_told(table_of, [record]))


# --------------------------------------------------------------------------------------------- choosing


@functools.cache
def _named(protocol: str) -> Format:
    return cast("Format", resolve("format", protocol))


def _formats() -> Iterator[Format]:
    """All formats there are. One of another distribution that cannot be loaded is warned of and left out."""
    for name in known("format"):
        try:
            form = _named(name)
        except (ImportError, AttributeError) as error:
            warnings.warn(f"the format {name!r} cannot be loaded: {error}", RuntimeWarning, stacklevel=3)
            continue
        yield form


def _split(form: Format, compress: str | None) -> tuple[dict[str, Any], str | None]:
    """The compression as an option of the format, or as what goes around it."""
    name = compression.named(compress)
    if name in form.compressions:
        return {"compress": name}, None
    return {}, name


def by_suffixes(source: object) -> tuple[str | None, str | None]:
    """The format and the compression that the suffixes of a name say."""
    names = files.suffixes(source)
    packed = [compression.SUFFIXES[suffix] for suffix in names if suffix in compression.SUFFIXES]
    rest = {suffix for suffix in names if suffix not in compression.SUFFIXES}
    form = next((form for form in _formats() if rest.intersection(form.suffixes)), None) if rest else None
    return form.name if form is not None else None, packed[-1] if packed else None


def _told_or_certain(head: bytes, protocol: str | None) -> Format | None:
    """The format of a name, unless the content is certainly another; without a name the one that it certainly is."""
    form = None if protocol is None else _named(protocol)
    if form is not None and not form.is_chosen:
        return form
    certain = next((f for f in _formats() if f.is_chosen and f.recognises(head)), None)
    return certain or form


def _found(head: bytes, said: tuple[str, ...]) -> Format:
    """The format that content, name, or a guess says."""
    for form in _formats():
        if form.recognises(head):
            if form.is_chosen or form.name in said:
                return form
            if not said:
                raise UnsupportedFormat(
                    f"these are bytes of the format {form.name!r}, which is read only where it is asked for: "
                    f"pass protocol={form.name!r}"
                )
    for name in said:
        return _named(name)
    for form in _formats():
        if form.is_chosen and form.guesses(head):
            return form
    what = f"beginning with {head[:16]!r}" if head else "empty"
    raise UnsupportedFormat(f"no format recognises these bytes, {what}: name one with protocol=")


def _of_file(path: str, protocol: str | None) -> Format | None:
    """The format that loads a local path by itself: its first bytes are certainly those, and none else is asked for."""
    with open(path, "rb") as opened:
        if not opened.seekable():  # a pipe gives its bytes once
            return None
        head = opened.read(_HEAD)
    form = next((f for f in _formats() if f.is_chosen and f.recognises(head)), None)
    return form if form is not None and protocol in (None, form.name) else None


# --------------------------------------------------------------------------------------------- reading


def _frozen(data: bytes | bytearray | memoryview) -> memoryview:
    view = memoryview(data)
    if not view.readonly or not view.contiguous:
        view = memoryview(bytes(view))
    return view.cast("B")


def _read(
    view: memoryview,
    protocol: str | None,
    compress: str | None,
    said: tuple[str, ...],
    max_size: int | None,
    options: dict[str, Any],
) -> Table:
    name = said[0] if said else protocol
    form = None if name is None else _named(name)
    if form is not None and compression.named(compress) in form.compressions:
        inside = {"compress": compression.named(compress), **_limit(form, max_size)}
        return settled(_told(form.loads, view, **inside, **options))
    view = _unwrapped(view, form, compress, max_size)
    if form is None or said:
        form = _found(bytes(view[:_HEAD]), said)
    return settled(_told(form.loads, view, **_limit(form, max_size), **options))


def _limit(form: Format, max_size: int | None) -> dict[str, Any]:
    """What may come out, as an option of a format that unpacks by itself."""
    return {"max_size": max_size} if form.is_limited and max_size is not None else {}


def _unwrapped(
    view: memoryview, form: Format | None, compress: str | None, max_size: int | None
) -> memoryview:
    name = compression.named(compress)
    if name is None:
        head = bytes(view[:_HEAD])
        name = compression.recognised(head)
        if name is not None and form is not None and form.recognises(head):
            name = None
    return view if name is None else memoryview(compression.decompress(view, name, max_size))


def _told(call: Callable[..., T], *args: Any, **options: Any) -> T:
    """What a format gives; values that no document can have are a fault of the bytes."""
    try:
        return call(*args, **options)
    except (FieldTypeError, UnknownField) as error:
        raise CorruptData(str(error)) from error


class _Rest(io.RawIOBase):
    """A stream of which the first bytes were already read."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._head[: len(view)] or self._stream.read(len(view))
        self._head = self._head[len(view) :]
        view[: len(data)] = data
        return len(data)


def _peeked(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """The first bytes of a stream, and the stream with them."""
    head = b""
    while len(head) < _HEAD:
        part = stream.read(_HEAD - len(head))
        if not isinstance(cast("object", part), bytes):
            raise FieldTypeError(f"a file opened in binary mode is wanted; {stream!r:.80} gave {part!r:.20}")
        if not part:
            break
        head += part
    return head, cast("BinaryIO", io.BufferedReader(_Rest(head, stream), 1 << 17))


@contextmanager
def _naming(source: object) -> Generator[None]:
    """Errors of what is read within name the file."""
    try:
        yield
    except FormatError as error:
        if not isinstance(source, (str, os.PathLike)):
            raise
        name = os.fspath(cast("str | os.PathLike[str]", source))
        what = str(error).removeprefix(f"{name!r}: ")  # the format may have named it
        raise type(error)(f"{name}: {what}") from error.__cause__
