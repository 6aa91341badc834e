"""Wire: requests and answers as bytes, for all that come over HTTP and sockets.

Rule 1: the JSON is that of Jina 3: `{"data": [...], "parameters": {...}, "execEndpoint": "/", "targetExecutor": "..."}`
        is asked, `{"header": ..., "parameters": ..., "routes": ..., "data": [...]}` is answered. Members are taken in
        camelCase and snake_case.
Rule 2: an answer to what went wrong is both: a problem of RFC 9457, and the envelope of Jina whose `header.status` says
        it again. Who wrote a request as only the clients of Jina 3 do (it has a `header` with an id) has what a handler
        raised told in the envelope with status 200, where these look for it; all others have status 500.
Rule 3: a frame is all of that with documents in the native format: the length of the head (4 bytes, little-endian), the
        head, which is the JSON without `data`, and the documents. It is the media type `FRAME` and the subprotocol
        `docarray.v1`. A head with `rows` has few and plain documents itself, at a fifth of what columns cost: objects
        of `id`, `text`, `tags`, and vectors as `["<f4", 128]`, whose numbers stand behind the head one after the other.
        Only who sends `rows`, if empty, is answered so.
"""

# pyright: reportPrivateUsage=false
# Arrays are read from their slots, as the modules of this room and the one below it do.

from __future__ import annotations

import datetime
import functools
import importlib
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np

from docarray.array import DocumentArray
from docarray.columns import JsonColumn, TextColumn, UniformTensors
from docarray.document import Document, record_of
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    FormatError,
    UnknownField,
    near_miss,
)
from docarray.flow.envelope import Envelope
from docarray.flow.faults import BadRequest, ExecutorError, NotRunning, Overloaded, Unavailable
from docarray.registry import resolve
from docarray.table import DocsColumn, Table
from docarray.web import bodies
from docarray.web.bodies import Malformed
from docarray.web.limits import Limits, shown
from docarray.web.problems import TITLES, Problem, problem_of

__all__ = [
    "BINARY",
    "FRAME",
    "Failure",
    "Request",
    "dumps",
    "failed",
    "framed",
    "framed_of",
    "head_of",
    "identity",
    "read",
    "read_frame",
    "read_json",
    "request_frame",
    "seconds",
    "whole",
    "written",
    "written_docs",
    "written_frame",
]

BINARY: Final = "application/vnd.docarray"
FRAME: Final = "application/vnd.docarray.frame"
"""The media type of a frame."""

_LENGTH: Final = struct.Struct("<I")
_JSON: Final = resolve("format", "json")
_NATIVE: Final = resolve("format", "binary")
_room: Final = resolve("room", "json")
_MEMBERS: Final[Mapping[str, str]] = {
    "data": "data",
    "docs": "data",
    "parameters": "parameters",
    "execEndpoint": "endpoint",
    "exec_endpoint": "endpoint",
    "targetExecutor": "target",
    "target_executor": "target",
    "timeout": "timeout",
    "header": "header",
    "stream": "stream",
    "requestId": "id",
    "request_id": "id",
    "rows": "rows",
    "trace": "trace",
}
_EXACT: Final = float(1 << 53)  # whole numbers below it are said by floats
_SHOWN: Final = ("data", "parameters", "execEndpoint", "targetExecutor", "timeout", "stream", "requestId")
# Lone surrogates come as escapes, or as bytes that are no UTF-8; pairs look alike and are looked at.
_ESCAPED: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_RAW: Final = re.compile(rb"\xed[\xa0-\xbf]")
_WORD: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_NO_MARK: Final = _room._NO_MARK


class Request(NamedTuple):
    """What a client asks."""

    docs: DocumentArray[Any]
    endpoint: str | None = None
    """None where it is said elsewhere, or nowhere."""
    target: str | None = None
    parameters: dict[str, Any] = {}  # noqa: RUF012  # it is replaced, never changed
    request_id: str | None = None
    timeout: float | None = None
    stream: bool = False
    """Whether the answer is wanted part by part."""
    is_old: bool = False
    """Whether a client of Jina 3 wrote it."""
    rows: bool = False
    """Whether the client reads `rows` of a frame."""
    trace: Mapping[str, str] = {}
    """Of which trace it is: `traceparent` and what else would stand in headers."""

    def envelope(
        self,
        endpoint: str,
        request_id: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Envelope:
        """The request on its way; what it says itself wins."""
        return Envelope(
            self.docs,
            endpoint if self.endpoint is None else self.endpoint,
            self.parameters,
            target=self.target,
            request_id=self.request_id or request_id,
            timeout=timeout if self.timeout is None else self.timeout,
            metadata=metadata,
            trace={**(metadata or {}), **self.trace} if self.trace else metadata or {},
            own=True,
        )


# ---------------------------------------------------------------------------------------------- reading


def read(media: str, raw: bytes, limits: Limits) -> Request:
    """What a body asks.

    Args:
        media: its media type; '' is JSON.
        raw: the body.
        limits: of which `body` and `documents` count for formats that have them.

    Raises:
        Malformed: it is none of that type. BadRequest: it says what no request can. Unreadable: no such type.
    """
    if media in ("", "application/json"):
        return read_json(raw)
    if media == FRAME:
        return read_frame(raw)
    form = bodies.READ_TYPES.get(media)
    if form is None:
        known = ", ".join(
            ("application/json", FRAME, *(one for one in bodies.READ_TYPES if "json" not in one))
        )
        raise bodies.Unreadable(f"this takes a body of {known}, application/x-ndjson; got {media[:60]!a}")
    if not raw:
        return Request(DocumentArray())
    if form == "ndjson":
        return Request(_documents(bodies.values_of(form, raw), raw))
    try:
        return Request(DocumentArray(bodies.read(form, raw, limits)))
    except (FieldTypeError, CorruptData, UnknownField) as error:
        raise BadRequest(str(error)) from None


def read_json(raw: bytes) -> Request:
    """What JSON asks: an object as of rule 1, or a list of documents. Nothing at all asks without documents.

    Raises:
        Malformed: it is no JSON. BadRequest: it says what no request can; the message names the member, or document
            and field.

    >>> asked = read_json(b'{"data": [{"text": "tea"}], "parameters": {"limit": 3}, "targetExecutor": "enc"}')
    >>> asked.docs.texts, asked.parameters, asked.target
    (['tea'], {'limit': 3}, 'enc')
    """
    if not raw:
        return Request(DocumentArray())
    said = _parsed(raw)
    if isinstance(said, list):
        return Request(_documents(cast("list[Any]", said), raw))
    if not isinstance(said, dict):
        raise BadRequest(f"a request is an object of JSON, or a list of documents; got {shown(said)}")
    return _request(cast("dict[str, Any]", said), raw, None)


_DIGITS: Final = bytes(48 if chr(byte).isdecimal() and byte < 128 else byte for byte in range(256))
_LONG_INT: Final = b"0" * 19


def _parsed(raw: bytes, what: str = "the body") -> Any:
    """What JSON says; where it is short and has no number that only some readers take, at once."""
    fast = _orjson()
    if fast is not None and len(raw) < _SHORT and _LONG_INT not in raw.translate(_DIGITS):
        try:
            return fast.loads(raw)
        except ValueError:
            pass  # others may read it; they also say what is wrong
    return bodies.parsed(raw, what)


_SHORT: Final = 1 << 15


def read_frame(raw: bytes) -> Request:
    """What a frame asks; see rule 3.

    Raises:
        Malformed: it is none. BadRequest: it says what no request can.
    """
    head, docs = framed(raw)
    return _request(head, b"", DocumentArray() if docs is None else docs)


def framed(raw: bytes) -> tuple[dict[str, Any], DocumentArray[Any] | None]:
    """Head and documents of a frame; None where it has none. The columns lie on its bytes.

    Raises:
        Malformed: it is none.
    """
    head, end = _headed(raw)
    if head.get("rows"):
        return head, _of_rows(head["rows"], raw, end)
    if end == len(raw):
        return head, DocumentArray() if "rows" in head else None
    try:
        return head, DocumentArray(bodies.made(_loads, memoryview(raw)[end:]))
    except FormatError as error:
        raise Malformed(f"the documents of the frame are damaged: {error!s:.300}") from None


def _headed(raw: bytes) -> tuple[dict[str, Any], int]:
    """The head of a frame, and where it ends."""
    end = _LENGTH.size + (_LENGTH.unpack_from(raw)[0] if len(raw) >= _LENGTH.size else 0)
    if len(raw) < _LENGTH.size or end > len(raw):
        raise Malformed("this is no frame: a length of 4 bytes, so much JSON, then documents")
    said = _parsed(raw[_LENGTH.size : end] or b"{}", "the head of the frame")
    if not isinstance(said, dict):
        raise Malformed("the head of a frame is an object of JSON")
    return cast("dict[str, Any]", said), end


def identity(raw: bytes) -> str:
    """The id that a frame has, of a request or of its answer; '' where it has none that can be read."""
    try:
        head, _ = _headed(raw)
    except Malformed:
        return ""
    header = head.get("header")
    said = cast("dict[str, Any]", header) if isinstance(header, dict) else head
    mark = said.get("requestId")
    return mark if isinstance(mark, str) and _WORD.fullmatch(mark) else ""


def _loads(data: memoryview) -> Table:
    from docarray import exchange

    # That the bytes are those that were sent is the connection's care; what they say is looked at as always.
    return exchange.loads(data, "binary", verify=False)


def _request(said: dict[str, Any], raw: bytes, docs: DocumentArray[Any] | None) -> Request:
    found: dict[str, Any] = {}
    header = said.get("header")
    identity = _member(header, "requestId", "request_id") if isinstance(header, dict) else None
    is_old = isinstance(identity, str)
    for name, value in said.items():
        member = _MEMBERS.get(name)
        if member is not None:
            if value is not None:
                found[member] = value
        elif not is_old:
            raise BadRequest(f"a request has no member {name[:60]!r}. {near_miss(name[:60], _SHOWN)}")
    if docs is None:
        docs = _data(found.get("data"), raw)
    parameters = found.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest(f"parameters is an object; got {shown(parameters)}")
    for member in ("endpoint", "target"):
        value = found.get(member)
        if value is None and isinstance(header, dict):
            value = found[member] = _member(header, *_HEADED[member])
        if value is not None and not isinstance(value, str):
            raise BadRequest(f"{_HEADED[member][0]} is text; got {shown(value)}")
    identity = found.get("id", identity)
    timeout = found.get("timeout")
    return Request(
        docs,
        found.get("endpoint") or None,
        found.get("target") or None,
        whole(parameters) if is_old else cast("dict[str, Any]", parameters),
        identity if isinstance(identity, str) and _WORD.fullmatch(identity) else None,
        None if timeout is None else seconds(timeout),
        found.get("stream") is True,
        is_old,
        "rows" in found,
        _trace(found.get("trace")),
    )


def whole(value: Any) -> Any:
    """A value whose numbers went through a google.protobuf.Struct, which knows floats alone: whole ones are ints again.

    >>> whole({'k': 5.0, 'share': 0.5, 'some': [1.0, None]})
    {'k': 5, 'share': 0.5, 'some': [1, None]}
    """
    kind = cast("Any", type(value))
    if kind is float:
        if value.is_integer() and -_EXACT < value < _EXACT and (value or math.copysign(1, value) > 0):
            return int(value)
        return value
    if kind is dict:
        return {key: whole(one) for key, one in value.items()}
    if kind is list:
        return [whole(one) for one in value]
    return value


def _trace(said: Any) -> Mapping[str, str]:
    if said is None:
        return {}
    values: Any = cast("dict[str, Any]", said).values() if isinstance(said, dict) else (None,)
    if not all(isinstance(one, str) for one in values):
        raise BadRequest("trace is an object of text, such as {'traceparent': '00-...'}")
    return cast("dict[str, str]", said)


_HEADED: Final = {
    "endpoint": ("execEndpoint", "exec_endpoint"),
    "target": ("targetExecutor", "target_executor"),
}


def _member(header: Any, *names: str) -> Any:
    return next((header[name] for name in names if header.get(name) is not None), None)


def seconds(value: Any) -> float:
    """A time that a client gives for its request.

    Raises:
        BadRequest: it is no number of seconds.

    >>> seconds('2.5')
    2.5
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        given = float(value)
    except (TypeError, ValueError):
        given = math.nan
    if not (0 < given < math.inf):
        raise BadRequest(f"timeout is a number of seconds above 0; got {shown(value)}")
    return given


def _data(said: Any, raw: bytes) -> DocumentArray[Any]:
    if isinstance(said, dict):
        fields = cast("dict[str, Any]", said)
        said = fields["docs"] if fields.keys() == {"docs"} else [fields]
    if said is None:
        return DocumentArray()
    if not isinstance(said, list):
        raise BadRequest(f"data is a list of documents; got {shown(said)}")
    return _documents(cast("list[Any]", said), raw)


def _documents(values: list[Any], raw: bytes) -> DocumentArray[Any]:
    """The documents that JSON says.

    Raises:
        BadRequest: one is none; the message names document and field.
    """
    if not values:
        return DocumentArray()
    try:
        # One byte is looked for at the pace of memory; most texts have neither.
        if (b"\\" in raw and _ESCAPED.search(raw)) or (b"\xed" in raw and _RAW.search(raw)):
            for value in values:
                bodies.refuse_unsayable(value)
        if len(values) <= _FEW and _NO_MARK not in raw:
            quick = _quick_documents(values)
            if quick is not None:
                return quick
        return DocumentArray(bodies.made(_room._table_of, values, raw, "error"))
    except (FieldTypeError, CorruptData, UnknownField, BadValue) as error:
        # What can be said to this library in its own process, no client can say.
        raise BadRequest(str(error).partition(" Pass unknown=")[0]) from None


_READ: Final = frozenset({"id", "text", "uri", "mime_type", "tags", "embedding", "tensor"})
_FLOAT: Final = {float}


def _quick_documents(values: list[Any]) -> DocumentArray[Any] | None:
    """The documents of texts, tags and vectors of floats, without a table; None where there is more to it."""
    made: list[Document] = []
    for value in values:
        if type(value) is not dict:
            return None
        fields: dict[str, Any] = {}
        for name, said in cast("dict[str, Any]", value).items():
            if said is None:
                continue
            kind = cast("Any", type(said))
            if name not in _READ:
                return None
            if name == "tags":
                if kind is not dict:
                    return None
            elif name == "embedding" or name == "tensor":
                if kind is not list or set(map(type, said)) != _FLOAT:
                    return None
                said = np.array(said, np.float64)
            elif kind is not str:
                return None
            fields[name] = said
        if ("text" in fields and "tensor" in fields) or not fields.get("id", "a"):
            return None
        made.append(Document(**fields))
    return DocumentArray(made)


# ---------------------------------------------------------------------------------------------- writing


def written(answer: Envelope, is_old: bool = False, more: bool = False) -> bytes:
    """An answer in JSON; see rule 1. `more` says that other parts follow.

    Raises:
        ExecutorError: it holds what JSON cannot say.
    """
    return b'%b,"data":%b}' % (head_of(answer, more)[:-1], written_docs(answer.docs, is_old))


def written_frame(answer: Envelope, rows: bool = False, more: bool = False) -> bytes:
    """An answer as a frame; see rule 3. `rows` says whether documents may stand as such, `more` that parts follow."""
    return framed_of(head_of(answer, more), answer.docs, rows)


def framed_of(head: bytes, docs: DocumentArray[Any] | None, rows: bool = False) -> bytes:
    """A frame of a head and documents; None for none at all. With `rows` they may stand as such."""
    if rows:
        body = None if docs is None or len(docs) > _FEW else _rows(docs)
        said, vectors = body or (b"[]", [])
        head = b'%b%b"rows":%b}' % (head[:-1], b"," if len(head) > 2 else b"", said)
        if body is not None:
            return b"".join((_LENGTH.pack(len(head)), head, *vectors))
    # With spaces after it, so that the columns begin where their numbers can be read in place.
    head += b" " * (-(len(head) + _LENGTH.size) % 64)
    table = b"" if docs is None else _NATIVE.dumps(docs._slots.table())
    return b"".join((_LENGTH.pack(len(head)), head, table))


def request_frame(
    docs: DocumentArray[Any] | None,
    endpoint: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    target: str | None = None,
    request_id: str | None = None,
    timeout: float | None = None,
    stream: bool = False,
    rows: bool = True,
    trace: Mapping[str, str] | None = None,
) -> bytes:
    """A request as a frame; see rule 3. Without `rows` its documents are in the native format, and those of the answer.

    >>> read_frame(request_frame(DocumentArray([Document(text='tea')]), '/search', {'limit': 3})).docs.texts
    ['tea']
    """
    said = {
        "execEndpoint": endpoint,
        "targetExecutor": target,
        "parameters": parameters or None,
        "requestId": request_id,
        "timeout": timeout,
        "stream": stream or None,
        "trace": trace,
    }
    return framed_of(dumps({name: value for name, value in said.items() if value is not None}), docs, rows)


def _rows(docs: DocumentArray[Any]) -> tuple[bytes, list[Any]] | None:
    """Plain documents as JSON, and the numbers of their vectors; None where there is more to them."""
    fast = _orjson()
    if fast is None:
        return None
    rows: list[dict[str, Any]] = []
    vectors: list[Any] = []
    for doc in docs:
        row = record_of(doc)
        for name, value in row.items():
            if name == "embedding" or name == "tensor":
                if type(value) is not np.ndarray or value.ndim != 1 or not 0 < value.nbytes <= _WIDE:
                    return None
                kind = _KINDS.get(value.dtype)
                if kind is None:
                    return None
                row[name] = (kind, len(value))
                vectors.append(value.tobytes())
            elif name not in _ROW or (name == "tags" and not _is_plain(value)):
                return None
        rows.append(row)
    try:
        return fast.dumps(rows), vectors
    except TypeError:  # lone surrogates
        return None


_ROW: Final[Mapping[str, Any]] = {"id": str, "text": str, "tags": dict}
_KINDS: Final[Mapping[Any, str]] = {np.dtype("<f4"): "<f4", np.dtype("<f8"): "<f8"}
_WIDTHS: Final[Mapping[Any, int]] = {"<f4": 4, "<f8": 8}
_WIDE: Final = 1 << 16  # bytes of a vector that is copied


def _of_rows(rows: Any, raw: bytes, at: int) -> DocumentArray[Any]:
    """The documents that `_rows` wrote; their numbers begin at byte `at`.

    Raises:
        Malformed: they are none.
    """
    docs: list[Document] = []
    try:
        for row in rows:
            fields: dict[str, Any] = {}
            for name, said in row.items():
                if name == "embedding" or name == "tensor":
                    kind, count = said
                    end = at + _WIDTHS[kind] * count
                    if type(count) is not int or not at < end <= len(raw):
                        raise ValueError(
                            f"a vector of {count!r:.40} numbers, where {len(raw) - at} bytes are left"
                        )
                    fields[name] = np.frombuffer(raw, kind, count, at).copy()
                    at = end
                elif type(said) is not _ROW[name] or not (said or name != "id"):
                    raise ValueError(f"{name} is {said!r:.40}")
                elif name != "tags" or _is_plain(said):
                    fields[name] = said
                else:
                    raise ValueError("tags that are not plain")
            if "text" in fields and "tensor" in fields:
                raise ValueError("text and tensor of one document")
            docs.append(Document(**fields))
        if at != len(raw):
            raise ValueError(f"{len(raw) - at} bytes stand behind the last vector")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Malformed(f"the rows of the frame are damaged: {error!s:.200}") from None
    return DocumentArray(docs)


def head_of(answer: Envelope, more: bool = False) -> bytes:
    """An answer without its documents; `more` says that other parts follow."""
    return dumps(
        {
            "header": {
                **({"more": True} if more else {}),
                "requestId": answer.request_id,
                "status": None,
                "execEndpoint": answer.endpoint,
                "targetExecutor": answer.target or "",
            },
            "parameters": answer.parameters,
            "routes": _routes(answer),
        }
    )


def _routes(answer: Envelope, code: Any = 1) -> list[dict[str, Any]]:
    return [
        {
            "executor": visit.executor,
            "startTime": _time(visit.start),
            "endTime": _time(visit.end),
            "status": None if visit.error is None else {"code": code, "description": visit.error},
        }
        for visit in answer.routes
    ]


def _time(moment: float) -> str:
    whole = math.floor(moment)
    return f"{_second(whole)}.{int((moment - whole) * 1e6):06d}+00:00"


@functools.lru_cache(64)
def _second(moment: int) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def written_docs(docs: DocumentArray[Any], tokens: bool = False) -> bytes:
    """Documents as a list of JSON, all fields of each, null where they are not set.

    Args:
        docs: any.
        tokens: whether what is not finite is NaN and Infinity, as Python reads them; else it is text, or base64, and
            then fields that are not set are left out.

    >>> written_docs(DocumentArray()), len(json.loads(written_docs(DocumentArray([Document(id='a')])))[0])
    (b'[]', 19)
    """
    if not docs:
        return b"[]"
    if len(docs) <= _FEW:
        quick = _quick(docs)
        if quick is not None:
            return quick
    table = docs._slots.table()
    data: bytes = _JSON.dumps(table)
    if not tokens and not _is_finite(table) and (b"NaN" in data or b"Infinity" in data):
        return bodies.written("json", table)
    return data


def _is_finite(table: Table) -> bool:
    """Whether there is no number in it that JSON has not; where to look at each costs much, False."""
    for column in table.columns.values():
        if isinstance(column, UniformTensors):
            if column.data.dtype.kind == "f" and not np.isfinite(column.data).all():
                return False
        elif isinstance(column, DocsColumn):
            if not _is_finite(column.child):
                return False
        elif not isinstance(column, TextColumn) and not (
            isinstance(column, JsonColumn) and _room._is_plain(column)
        ):
            return False
    return True


_FEW: Final = 8  # documents of which a table costs more than it saves
_UNSET: Final[dict[str, Any]] = dict.fromkeys(name for name in json.loads(_JSON.dumps_record({"id": ""})))
_TEXTS: Final = frozenset({"id", "text", "uri", "mime_type", "parent_id", "modality"})
_LEAVES: Final = frozenset({str, bool, type(None)})
_SPECS: Final[Mapping[Any, dict[str, Any]]] = {
    np.dtype("<f8"): {},
    np.dtype("<f4"): {"dtype": "<f4"},
}


def _quick(docs: DocumentArray[Any]) -> bytes | None:
    """The same for texts, plain tags and vectors of floats, without a table; None where there is more to it."""
    fast = _orjson()
    if fast is None:
        return None
    rows: list[dict[str, Any]] = []
    for doc in docs:
        row = _UNSET.copy()
        for name, value in record_of(doc).items():
            if name in _TEXTS:
                row[name] = value
            elif name == "tags":
                if not _is_plain(value):
                    return None
                row[name] = value
            elif name == "embedding" or name == "tensor":
                if type(value) is not np.ndarray or value.ndim != 1 or not len(value):
                    return None
                spec = _SPECS.get(value.dtype)
                if spec is None or "_arrays" in row or not _is_plain_vector(value):
                    return None
                row[name] = value if value.flags.c_contiguous else value.copy()
                if spec:
                    row["_arrays"] = {name: spec}
            else:
                return None
        rows.append(row)
    try:
        return fast.dumps(rows, option=fast.OPT_SERIALIZE_NUMPY)
    except TypeError:  # lone surrogates
        return None


_TWICE_ROUNDED: Final = _room._TWICE_ROUNDED.tobytes()[:3]


def _is_plain_vector(value: Any) -> bool:
    # Where the bytes of that one number stand by chance, the slow way is as right.
    return bool(np.isfinite(value).all()) and not (
        value.dtype.itemsize == 4 and _TWICE_ROUNDED in value.tobytes()
    )


def _is_plain(tags: Any) -> bool:
    for key, value in tags.items():
        kind = cast("Any", type(value))
        if type(key) is not str or key[:1] == "$":
            return False
        if kind in _LEAVES:
            continue
        if kind is int:
            if not -(1 << 53) < value < 1 << 53:
                return False
        elif kind is not float or not math.isfinite(value):
            return False
    return True


@functools.cache
def _orjson() -> Any:
    """The package orjson, or None."""
    try:
        return importlib.import_module("orjson")
    except ImportError:
        return None


def dumps(value: Any) -> bytes:
    """A value that handlers gave, as JSON: arrays of numpy are lists, documents objects, NaN is null.

    Raises:
        ExecutorError: it is none of what JSON says.

    >>> dumps({'scores': np.array([0.5, 1.0])})
    b'{"scores":[0.5,1.0]}'
    """
    fast = _orjson()
    try:
        if fast is not None:
            try:
                return fast.dumps(
                    value, option=fast.OPT_SERIALIZE_NUMPY | fast.OPT_NON_STR_KEYS, default=_said
                )
            except TypeError:
                pass  # numbers beyond 64 bits, lone surrogates; or what neither can say
        text = json.dumps(_finite(value), separators=(",", ":"), default=_said)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ExecutorError(
            "gateway", "FieldTypeError", f"the parameters of the answer hold what JSON cannot say: {error}"
        ) from None


def _said(value: Any) -> Any:
    """What JSON has for a value that is none of its own."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    if isinstance(value, DocumentArray):
        return json.loads(bodies.written("json", value._slots.table()))
    if isinstance(value, Document):
        return json.loads(bodies.written("json", DocumentArray([value])._slots.table()))[0]
    if isinstance(value, (set, frozenset, tuple)):
        return list(cast("Sequence[Any]", value))
    raise TypeError(f"a {type(value).__name__}")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in cast("dict[Any, Any]", value).items()}
    return [_finite(one) for one in cast("list[Any]", value)] if isinstance(value, (list, tuple)) else value


# ---------------------------------------------------------------------------------------------- what went wrong


class Failure(NamedTuple):
    """What a client is told of an error."""

    status: int
    """Of HTTP."""
    body: bytes
    """The problem, which is an envelope of Jina too."""
    headers: Mapping[str, str]
    problem: Problem


def failed(
    error: BaseException,
    answer: Envelope | None = None,
    request_id: str | None = None,
    *,
    is_old: bool = False,
    debug: bool = False,
) -> Failure:
    """What a client is told of an error; see rule 2.

    Args:
        error: that was raised.
        answer: the request, as far as there is one.
        request_id: of it, where there is none.
        is_old: whether a client of Jina 3 asked.
        debug: whether it is told the traceback of what a handler raised.

    >>> json.loads(failed(Overloaded('too many', 2), request_id='r').body)['header']['status']['description']
    'too many'
    """
    if answer is not None:
        request_id = answer.request_id
    problem = _problem(error, request_id)
    # Both lines of Jina 3 know the name; the number is another one in each.
    code: Any = "ERROR" if is_old else 1
    name, detail, executor, stacks = type(error).__name__, problem.detail, "", list[str]()
    more: dict[str, Any] = {}
    if isinstance(error, ExecutorError):
        name, detail, executor = error.name, error.detail, error.executor
        more = {"executor": executor, "exception": name}
        if debug:
            stacks = error.traceback.splitlines(keepends=True)
            more["stack"] = stacks
    elif isinstance(error, Overloaded):
        more = {"retry_after": error.retry_after}  # where there are no headers
    elif not isinstance(error, DocArrayError):
        name = "InternalError"
    exception = {"name": name, "args": [detail], "stacks": stacks, "executor": executor}
    jina: dict[str, Any] = {
        "header": {
            "requestId": request_id or "",
            "status": {"code": code, "description": problem.detail, "exception": exception},
            "execEndpoint": "" if answer is None else answer.endpoint,
            "targetExecutor": "" if answer is None else answer.target or "",
        },
        "parameters": {} if answer is None else answer.parameters,
        "routes": [] if answer is None else _routes(answer, code),
        "data": [],
    }
    # Clients of Jina 3 take this for an answer, of which they know all members, and call `on_error` with it.
    is_answer = is_old and isinstance(error, ExecutorError)
    status, body = (200, jina) if is_answer else (problem.status, problem.body(request_id, **more, **jina))
    try:
        said = dumps(body)
    except ExecutorError:  # it may be the very parameters that cannot be said
        said = dumps({**body, "parameters": {}})
    return Failure(status, said, problem.headers, problem)


def _problem(error: BaseException, request_id: str | None) -> Problem:
    if isinstance(error, NotRunning):
        error = Unavailable("the Flow does not run; come back later")
    if isinstance(error, Overloaded):
        wait = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
        return Problem(429, TITLES[429], str(error), wait)
    return problem_of(error, request_id)
