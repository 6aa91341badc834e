"""Bodies: which media types say documents, which of them a client wants, and how they are read and written.

Rule 1: a body is read to its limit and not further, packed and unpacked; memory grows with what has come.
Rule 2: bytes that are none of their media type are 400, with the line or position; what they say and no document can
        have is 422, with document and field; a media type that is not read is 415.
Rule 3: an answer of many parts is made part by part, as it is asked for. One that is complete ends as such: a list
        with its bracket, a container with its count, NDJSON with the end of the HTTP message.
Rule 4: what takes its time is done off the event loop.
"""

# pyright: reportPrivateUsage=false
# What JSON may say of documents, and what it is told, is the business of models.py, with whom this is a friend.

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from docarray import exchange
from docarray.errors import CorruptData, DocArrayError, FieldTypeError, FormatError, MissingExtra
from docarray.registry import resolve
from docarray.table import Table
from docarray.web.lane import Lane
from docarray.web.limits import Limits, TooMuch, shown
from docarray.web.models import _checked, _dicts_of, _look_through, _table_of, _Unsayable

__all__ = [
    "FORMS",
    "MEDIA",
    "READ_TYPES",
    "Choice",
    "Gone",
    "Malformed",
    "NotAcceptable",
    "TooLong",
    "Unreadable",
    "accepted",
    "body",
    "checked",
    "documents_of",
    "header",
    "made",
    "negotiated",
    "parsed",
    "pieces",
    "read",
    "refuse_unsayable",
    "typed",
    "values_of",
    "written",
]

Scope = Any
Receive = Callable[[], Awaitable[Any]]

MEDIA: Final[Mapping[str, str]] = MappingProxyType(
    {
        "json": "application/json",
        "ndjson": "application/x-ndjson",
        "binary": "application/vnd.docarray",
        "protobuf-array": "application/x-protobuf",
        "csv": "text/csv",
    }
)
"""The media type of each format, in the order in which the server would rather give them."""

_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "application/ndjson": "ndjson",
        "application/jsonl": "ndjson",
        "application/x-jsonlines": "ndjson",
        "application/protobuf": "protobuf-array",
    }
)

READ_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {media: name for name, media in MEDIA.items() if name != "csv"} | dict(_ALIASES)
)
"""Media types that documents are read from, other names of them too, and the format of each."""

FORMS: Final = ("json", "ndjson", "binary")
"""What is given where nothing else is said."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {form: (media, *(name for name, of in _ALIASES.items() if of == form)) for form, media in MEDIA.items()}
)
_TEXTS: Final = frozenset({"json", "ndjson"})
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_LONGEST: Final = 2000  # characters of a header that are looked at
_MEMBERS: Final = 4096  # of a gzip file
_STEP: Final = 1 << 16
_QUICK: Final = 1 << 15  # bytes that are unpacked where one is
_WEIGHT: Final = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)
_PART: Final = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^",;])*)([,;]|$)')


class Malformed(DocArrayError):
    """Bytes that are none of their media type, or a parameter that there is not."""

    status: int = 400


class NotAcceptable(DocArrayError):
    """No media type of the answer is one that the client takes."""

    status: int = 406


class TooLong(DocArrayError):
    """A body of more bytes than are taken. The connection is not to be kept: there may be more to come."""

    status: int = 413
    headers: Mapping[str, str] = MappingProxyType({"Connection": "close"})


class Unreadable(DocArrayError):
    """A media type, or a content coding, that is not read; `headers` of the answer say which are."""

    status: int = 415

    def __init__(self, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.headers = headers


class Gone(Exception):
    """The client has gone: nobody is to be answered."""


class Choice(NamedTuple):
    """What a client takes best."""

    form: str
    """The name of the format."""
    media: str
    """The media type by which the client named it."""


def header(scope: Scope, name: bytes) -> str | None:
    """A header of the request, by its name in lower case; lines of the same name joined by commas."""
    found = [value for key, value in scope["headers"] if key == name]
    return b", ".join(found).decode("latin-1") if found else None


# ---------------------------------------------------------------------------------------------- negotiation


def negotiated(accept: str | None, forms: Sequence[str] = FORMS) -> Choice:
    """The format that a client takes best of those that there are.

    Args:
        accept: the header Accept (RFC 9110, 12.5.1), with weights and ranges; None and '' take anything.
        forms: names of formats, of `MEDIA`; of those that are wanted alike the first is given.

    Raises:
        NotAcceptable: the client takes none of them.

    >>> negotiated('text/html, application/*;q=0.8, application/json;q=0.1')
    Choice(form='ndjson', media='application/x-ndjson')
    >>> negotiated('application/jsonl')
    Choice(form='ndjson', media='application/jsonl')
    """
    if accept is None or accept in ("*/*", "") or accept == MEDIA[forms[0]]:
        return Choice(forms[0], MEDIA[forms[0]])
    ranges = _ranges(accept[:_LONGEST])
    if not ranges:
        return Choice(forms[0], MEDIA[forms[0]])
    best, most = None, 0.0
    for form in forms:
        for media in _NAMES[form]:
            quality = _quality(media, ranges)
            if quality > most:
                best, most = Choice(form, media), quality
    if best is None:
        given = ", ".join(MEDIA[form] for form in forms)
        raise NotAcceptable(f"documents are given as {given}; asked was for {accept[:60]!a}")
    return best


def accepted(scope: Scope, forms: Sequence[str] = FORMS) -> str:
    """The name of the format that the client of a request takes best; see `negotiated`."""
    return negotiated(header(scope, b"accept"), forms).form


def _ranges(accept: str) -> list[tuple[str, float]]:
    """The media ranges of a header and their weights."""
    found: list[tuple[str, float]] = []
    at, name, quality = 0, "", 1.0
    while at <= len(accept):
        match = _PART.match(accept, at)
        if match is None:  # a quote that does not end
            return [*found, (name, quality)] if name else found
        part, end = match[1], match[2]
        weight = _WEIGHT.fullmatch(part) if name else None
        if weight is not None:
            quality = min(1.0, float(weight[1]))
        elif not name:
            name = part.strip().lower()
        at = match.end()
        if end != ";":
            if name:
                found.append((name, quality))
            name, quality = "", 1.0
            if not end:
                break
    return found


def _quality(media: str, ranges: Sequence[tuple[str, float]]) -> float:
    """How much a client wants a media type, by the most specific of its ranges."""
    found, rank = 0.0, -1
    fits = {media: 2, media.partition("/")[0] + "/*": 1, "*/*": 0}
    for name, quality in ranges:
        here = fits.get(name, -1)
        if here > rank:
            found, rank = quality, here
    return found


def typed(scope: Scope, taken: Iterable[str] = READ_TYPES) -> str:
    """The media type of the body of a request, without its parameters.

    A type is wanted even of JSON: without one, pages of other sites could write from their visitors' browsers.

    Raises:
        Unreadable: it is none of `taken`, or a text in another charset than UTF-8.
    """
    taken = tuple(taken)
    said, _, parameters = (header(scope, b"content-type") or "")[:_LONGEST].partition(";")
    media = said.strip().lower()
    if media not in taken:
        names = ", ".join(taken)
        got = f"{media[:60]!a}" if media else "no content-type"
        raise Unreadable(
            f"this takes a body of {names}; got {got}. Say which in the header Content-Type",
            {"Accept": names},
        )
    if parameters and "json" in media:
        for part in parameters.split(";"):
            name, _, value = part.partition("=")
            charset = value.strip().strip('"').lower()
            if name.strip().lower() == "charset" and charset not in _CHARSETS:
                raise Unreadable(f"text is read in UTF-8; the body is announced in {charset[:40]!a}")
    return media


# ---------------------------------------------------------------------------------------------- reading


async def body(scope: Scope, receive: Receive, limits: Limits, lane: Lane | None = None) -> bytes:
    """The whole body of a request, unpacked where it came in gzip.

    Args:
        scope, receive: of ASGI.
        limits: of which `body` holds for the bytes that come, and for those that they unpack to.
        lane: where more than a little is unpacked; None takes a thread of asyncio.

    Raises:
        TooLong: more bytes were announced, or came. Unreadable: it is packed by something else.
        Malformed: it is no gzip. Gone: the client went before all was there.

    Memory: twice the body, and never more than twice the limit.
    """
    said = header(scope, b"content-length")
    if said is not None and said.isdecimal() and int(said[:18]) > limits.body:
        raise TooLong(f"a body has at most {limits.body} bytes; {said[:18]} were announced")
    coding = (header(scope, b"content-encoding") or "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise Unreadable(
            f"bodies are taken as they are, or in gzip; not packed by {coding[:40]!a}",
            {"Accept-Encoding": "gzip, identity"},
        )
    data = await _received(receive, limits.body)
    if coding == "identity":
        return data
    if len(data) <= _QUICK // 32:
        return _unpacked(data, limits.body)
    if lane is not None:
        return await lane.run(_unpacked, data, limits.body)
    return await asyncio.to_thread(_unpacked, data, limits.body)


async def _received(receive: Receive, most: int) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        data: bytes = message.get("body", b"")
        if len(data) > most:
            raise TooLong(f"a body has at most {most} bytes; {len(data)} came")
        return data
    parts, size = list[bytes](), 0
    while True:
        if message["type"] == "http.disconnect":
            raise Gone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            break
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise TooLong(f"a body has at most {most} bytes; more came")


def _unpacked(data: bytes, most: int) -> bytes:
    """What gzip packed; no more than `most` bytes are ever made of it."""
    parts, size, at, members = list[bytes](), 0, 0, 0
    while at < len(data) or not members:
        members += 1
        if members > _MEMBERS:
            raise Malformed(f"a body in gzip has at most {_MEMBERS} members")
        packer = zlib.decompressobj(wbits=31)
        while not packer.eof:
            piece = data[at : at + _STEP]
            if not piece:
                raise Malformed("the body is no whole gzip: it was cut off")
            at += len(piece)
            try:
                part = packer.decompress(piece, most - size + 1)
            except zlib.error as error:
                raise Malformed(f"the body is no gzip: {str(error)[:80]}") from None
            size += len(part)
            if size > most:
                raise TooLong(f"a body has at most {most} bytes; it unpacks to more")
            parts.append(part)
        at -= len(packer.unused_data)
    return b"".join(parts)


_json: Final = resolve("room", "json").parsed


def parsed(raw: bytes, what: str) -> Any:
    """What JSON says.

    Raises:
        Malformed: it is none; `what` is the name that it has in the message.
    """
    try:
        return _json(raw)
    except CorruptData as error:
        raise Malformed(f"{what} is no JSON: {str(error).removeprefix('no JSON: '):.200}") from None


def read(form: str, data: bytes, limits: Limits) -> Table:
    """The documents of a body.

    Args:
        form: the name of the format, as `READ_TYPES` has it.
        data: the body. Of the native format, columns lie on it: arrays are views, and nothing is copied.
        limits: `documents`, `body`.

    Raises:
        Malformed: the bytes are none of this format; the message says where. TooMuch: more documents.
        FieldTypeError, CorruptData, UnknownField: they say what no document can have; the message names document and
            field.

    >>> read('ndjson', b'{"id": "a", "text": "tea"}', Limits()).ids
    ['a']
    """
    if form in _TEXTS:
        return documents_of(values_of(form, data), limits)
    try:
        table: Table = made(exchange.loads, data, form, max_size=limits.body)
    except FormatError as error:
        raise Malformed(f"the body is damaged: {error!s:.300}") from None
    _few(len(table), limits)
    return table


def values_of(form: str, data: bytes) -> list[Any]:
    """What a body of 'json' or 'ndjson' says: the values of a list, the one that is none, or those of its lines.

    Raises:
        Malformed: it is no JSON; the message says in which line.
    """
    if form == "json":
        value = parsed(data, "the body")
        return cast("list[Any]", value) if isinstance(value, list) else [value]
    return [
        parsed(line, f"line {at} of the body")
        for at, line in enumerate(data.split(b"\n"), 1)
        if line and not line.isspace()
    ]


def documents_of(values: list[Any], limits: Limits) -> Table:
    """The documents that JSON says, which have to be what the description says.

    Raises:
        TooMuch: more than `limits.documents`. FieldTypeError, CorruptData, UnknownField: one is none.
    """
    _few(len(values), limits)
    for at, value in enumerate(values):
        if not isinstance(value, dict):
            raise FieldTypeError(f"document number {at} is an object; got {shown(value)}")
        refuse_unsayable(cast("dict[str, Any]", value))
    return made(_table_of, values)


def _few(count: int, limits: Limits) -> None:
    if count > limits.documents:
        raise TooMuch(f"at most {limits.documents} documents are taken at once; {count} came")


def checked(value: dict[str, Any]) -> dict[str, Any]:
    """A dict of a document with its numbers as numbers."""
    return _checked(value)


def refuse_unsayable(value: dict[str, Any]) -> None:
    """Raises FieldTypeError where a document has what could come in, but never leave: a lone surrogate."""
    try:
        _look_through(value)
    except _Unsayable as error:
        path = ".".join(map(str, reversed(error.path[-8:])))
        raise FieldTypeError(f"field {path!a:.80} of document {shown(value.get('id'))} has {error}") from None


def made(make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What `make` gives of what a client sent; that a framework it names is not here is no fault of the server."""
    try:
        return make(*args, **options)
    except MissingExtra:
        raise Malformed(
            "the body has arrays of a framework that is not installed here; send plain numbers"
        ) from None


# ---------------------------------------------------------------------------------------------- writing


def written(form: str, table: Table) -> bytes:
    """Documents as the bytes of a format, in JSON that every reader takes: what is not finite is text or base64.

    Raises:
        FieldTypeError: they cannot be said so; the message names document and field.

    >>> from docarray.records import table_of
    >>> written('json', table_of([{'id': 'a', 'weight': float('nan')}]))
    b'[{"id":"a","weight":"NaN"}]'
    """
    if form not in _TEXTS:
        return resolve("format", form).dumps(table)
    options = {"exclude_none": True} if form == "json" else {}
    data: bytes = resolve("format", form).dumps(table, **options)
    if b"NaN" in data or b"Infinity" in data:  # perhaps only in a text: then this says the same, more slowly
        rows = _dicts_of(table)
        said = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() for row in rows]
        return b"[%b]" % b",".join(said) if form == "json" else b"".join(row + b"\n" for row in said)
    return data


def pieces(form: str, tables: Iterable[Table]) -> Iterator[bytes]:
    """The bytes of many documents, part by part; each table is asked for when its part is.

    Args:
        form: 'ndjson', 'binary', 'json' or 'protobuf-array'.
        tables: as many as there are.

    The first part of 'json' and 'binary' comes with the first table, and the end by itself.

    Raises:
        FieldTypeError: as `written`, or there is no such format to be given in parts.

    >>> from docarray.records import table_of
    >>> list(pieces('json', [table_of([{'id': 'a'}]), table_of([{'id': 'b'}])]))
    [b'[{"id":"a"}', b',{"id":"b"}', b']']
    """
    if form == "binary":
        yield from resolve("format", "binary").pieces(tables)
    elif form == "json":
        between = b"["
        for table in tables:
            if len(table):
                yield between + written("json", table)[1:-1]
                between = b","
        yield b"]" if between == b"," else b"[]"
    elif form in ("ndjson", "protobuf-array"):
        for table in tables:
            if len(table):
                yield written(form, table)
    else:
        raise FieldTypeError(
            f"{form!r} is not given in parts; 'ndjson', 'binary', 'json', 'protobuf-array' are"
        )
