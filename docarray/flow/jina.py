"""The messages of package `jina`, as the programs that were written for Jina 3 send and read them.

Rule 1: bytes go from and to requests and envelopes by our own codec of the wire; there is no generated code.
Rule 2: whole numbers in parameters are read as `int`, though a Struct knows floats alone: `limit=5` is asked, and
        `5` arrives. Numbers in tags stay floats, as readers of tags have them.
Rule 3: the two lines of Jina 3 number the status ERROR differently: 3 (3.4) and 1 (3.14). Both read whatever is not
        below their own number as an error, so that 3 is one to both, and 1 would be PENDING to the older. Nothing that
        a client sends says for certain which it is; so the number is 3, and 1 where the request bears the mark of the
        newer line (`is_new`), or asks what only that one knows (`dry_run`).
Rule 4: HeaderProto.timeout is read over: the client sets no time there, and the deadline of the call counts.
"""

# pyright: reportPrivateUsage=false
# Arrays are read from their slots, as the modules of this room do.

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, cast

from docarray.array import DocumentArray
from docarray.errors import CorruptData, DocArrayError, FieldTypeError, FormatError
from docarray.flow import wire
from docarray.flow.envelope import RESULTS, Envelope
from docarray.flow.faults import BadRequest, ExecutorError
from docarray.flow.joins import joined
from docarray.flow.wire import Request
from docarray.registry import resolve
from docarray.web.bodies import Malformed
from docarray.web.problems import problem_of

__all__ = [
    "ERROR_NEW",
    "ERROR_OLD",
    "WORD",
    "Status",
    "endpoints",
    "failed",
    "info",
    "is_command",
    "is_new",
    "read",
    "read_many",
    "status",
    "status_of",
    "written",
]

ERROR_OLD: Final = 3
"""The status ERROR of the line 3.4, which both lines take for an error."""
ERROR_NEW: Final = 1
"""The status ERROR of the line 3.14."""

_ARRAY: Final = resolve("format", "protobuf-array")
_structs: Final = resolve("room", "structs")
_varints: Final = resolve("room", "varints")
_varint: Final[Callable[[int], bytes]] = _varints.varint
_Field = tuple[
    int, int, int, int
]  # number, wire type, and where the value begins and ends; of a varint what it is
_scan: Final[Callable[[bytes, int, int, tuple[int, ...]], Iterable[_Field]]] = _varints.scan
_WAY: Final = _structs.Way(exact=False)
WORD: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_LENGTH: Final = 2  # the wire type of text, bytes and messages


class Status(NamedTuple):
    """A StatusProto."""

    code: int = 0
    description: str = ""
    name: str = ""
    """Of the class of what was raised; '' where nothing was."""
    args: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()
    executor: str = ""


def is_new(metadata: Mapping[str, str]) -> bool:
    """Whether what came beside a request is of a client of the line 3.14.

    >>> is_new({'__prefetch__': '10'}), is_new({})
    (True, False)
    """
    return "__prefetch__" in metadata or "__results_in_order__" in metadata


# ---------------------------------------------------------------------------------------------- reading


def read(raw: bytes) -> Request:
    """What a DataRequestProto asks.

    Raises:
        Malformed: it is none. BadRequest: it says what no request can.

    >>> asked = read(b'\\n\\x09\\x1a\\x07/search"\\x0b\\n\\x09\\n\\x07\\n\\x01a"\\x02hi')
    >>> asked.endpoint, asked.docs.texts
    ('/search', ['hi'])
    """
    try:
        return _read(raw, 0, len(raw))
    except FormatError as error:
        raise Malformed(f"this is no message jina.DataRequestProto: {error!s:.300}") from None
    except UnicodeDecodeError:
        raise Malformed("a text of the message is no UTF-8") from None


def read_many(raw: bytes) -> Request:
    """What a DataRequestListProto asks: the first of its requests, with the documents of all joined by id.

    Raises:
        Malformed: it is none, or empty. BadRequest: it says what no request can.
    """
    try:
        parts = [_read(raw, at, end) for _, _, at, end in _fields(raw, 0, len(raw), (1,))]
    except FormatError as error:
        raise Malformed(f"this is no message jina.DataRequestListProto: {error!s:.300}") from None
    except UnicodeDecodeError:
        raise Malformed("a text of the message is no UTF-8") from None
    if not parts:
        raise Malformed("a list of requests has at least one")
    if len(parts) == 1:
        return parts[0]
    return parts[0]._replace(docs=joined("merge", [part.docs for part in parts]))


def _fields(raw: bytes, at: int, end: int, wanted: tuple[int, ...]) -> Iterable[_Field]:
    for field in _scan(raw, at, end, wanted):
        if field[1] != _LENGTH:
            raise CorruptData(f"field {field[0]} is of the wire type {field[1]}; a length is wanted")
        yield field


def _read(raw: bytes, start: int, stop: int) -> Request:
    head: dict[int, str] = {}
    parameters: list[bytes] = []
    docs: DocumentArray[Any] | None = None
    for number, _, at, end in _fields(raw, start, stop, (1, 2, 4)):
        if number == 1:
            for part, _, first, last in _fields(raw, at, end, (1, 3, 4)):
                head[part] = raw[first:last].decode()
        elif number == 2:
            parameters.append(raw[at:end])
        else:
            for part, _, first, last in _fields(raw, at, end, (1, 2)):
                docs = _packed(raw[first:last]) if part == 2 else _documents(memoryview(raw)[first:last])
    said = {key: wire.whole(value) for part in parameters for key, value in _structs.decode(part).items()}
    if said.get(RESULTS) == {}:  # clients always send it
        del said[RESULTS]
    identity = head.get(1, "")
    return Request(
        DocumentArray() if docs is None else docs,
        head.get(3) or None,
        head.get(4) or None,
        said,
        identity if WORD.fullmatch(identity) else None,
        is_old=True,
    )


def _documents(data: memoryview) -> DocumentArray[Any]:
    return DocumentArray(_ARRAY.loads(memoryview(bytes(data))))


def _packed(data: bytes) -> DocumentArray[Any]:
    """Documents as `to_bytes` of the old library writes them; pickles are read without running what they name."""
    try:
        return DocumentArray.from_bytes(data)
    except DocArrayError as error:
        raise BadRequest(f"data.docs_bytes cannot be read: {error!s:.300}") from None


def status_of(raw: bytes) -> Status:
    """The status in the header of a DataRequestProto.

    >>> status_of(failed(BadRequest('a bad one'), None, request_id='r')).description
    'a bad one'
    """
    for _, _, at, end in _fields(raw, 0, len(raw), (1,)):
        for _, _, first, last in _fields(raw, at, end, (2,)):
            return _status_of(raw, first, last)
    return Status()


def _status_of(raw: bytes, start: int, stop: int) -> Status:
    code, said = 0, ""
    name, executor = "", ""
    args: list[str] = []
    stacks: list[str] = []
    for number, kind, at, end in _scan(raw, start, stop, (1, 2, 3)):
        if number == 1 and kind == 0:
            code = at
        elif number == 2:
            said = raw[at:end].decode()
        elif number == 3:
            for part, _, first, last in _fields(raw, at, end, (1, 2, 3, 4)):
                text = raw[first:last].decode()
                if part == 1:
                    name = text
                elif part == 4:
                    executor = text
                else:
                    (args if part == 2 else stacks).append(text)
    return Status(code, said, name, tuple(args), tuple(stacks), executor)


def is_command(raw: bytes) -> bool:
    """Whether a ControlRequestProto asks for more than the status.

    Raises:
        Malformed: it is no such message.
    """
    try:
        return any(kind != 0 or value for _, kind, value, _ in _scan(raw, 0, len(raw), (2,)))
    except FormatError as error:
        raise Malformed(f"this is no message jina.ControlRequestProto: {error!s:.300}") from None


# ---------------------------------------------------------------------------------------------- writing


def written(answer: Envelope) -> bytes:
    """An answer as a DataRequestProto.

    Raises:
        ExecutorError: its documents, or parameters, hold what the messages cannot say.
    """
    return _written(answer, Status())


def _written(answer: Envelope, said: Status, docs: bool = True) -> bytes:
    error = said.code or ERROR_OLD
    parts = [_message(1, _header(answer.request_id, said, answer.endpoint, answer.target))]
    parts.append(_message(2, _struct(answer.parameters)))
    for visit in answer.routes:
        route = _text(1, visit.executor) + _message(2, _time(visit.start)) + _message(3, _time(visit.end))
        if visit.error is not None:
            route += _message(4, status(Status(error, visit.error)))
        parts.append(_message(3, route))
    if docs and answer.docs:
        try:
            data = _ARRAY.dumps(answer.docs._slots.table())
        except DocArrayError as wrong:
            raise ExecutorError("gateway", type(wrong).__name__, str(wrong)) from None
        inner = b"\x0a" + _varint(len(data))
        parts += (b"\x22", _varint(len(inner) + len(data)), inner, data)
    return b"".join(parts)


def failed(
    error: BaseException,
    answer: Envelope | None,
    *,
    request_id: str | None = None,
    code: int = ERROR_OLD,
    debug: bool = False,
) -> bytes:
    """What is said of an error: the request with the status in its header, and no documents.

    Args:
        error: that was raised.
        answer: the request, as far as there is one.
        request_id: of it, where there is none.
        code: the number of ERROR, see rule 3.
        debug: whether the traceback of what a handler raised is told.
    """
    if answer is None:
        answer = Envelope(DocumentArray(), "", request_id=request_id)
    if isinstance(error, ExecutorError):
        stacks = tuple(error.traceback.splitlines(keepends=True)) if debug else ()
        said = Status(code, str(error), error.name, (error.detail,), stacks, error.executor)
    else:
        detail = problem_of(error, answer.request_id).detail
        name = type(error).__name__ if isinstance(error, DocArrayError) else "InternalError"
        said = Status(code, detail, name, (detail,))
    try:
        return _written(answer, said, docs=False)
    except ExecutorError:  # it may be the very parameters that cannot be said
        answer.parameters = {}
        return _written(answer, said, docs=False)


def status(said: Status) -> bytes:
    """A StatusProto.

    >>> status(Status(1, 'no'))
    b'\\x08\\x01\\x12\\x02no'
    """
    code = b"\x08" + _varint(said.code) if said.code else b""
    out = code + _text(2, said.description)
    if said.name:
        inner = _text(1, said.name)
        inner += b"".join([_message(2, _bytes(one)) for one in said.args])
        inner += b"".join([_message(3, _bytes(one)) for one in said.stacks])
        out += _message(3, inner + _text(4, said.executor))
    return out


def endpoints(names: Iterable[str]) -> bytes:
    """An EndpointsProto.

    >>> endpoints(['/a'])
    b'\\n\\x02/a'
    """
    return b"".join([_message(1, _bytes(name)) for name in names])


def info(versions: Mapping[str, str], envs: Mapping[str, str] | None = None) -> bytes:
    """A JinaInfoProto."""
    return b"".join(
        [
            _message(number, _text(1, key) + _text(2, value))
            for number, table in ((1, versions), (2, envs or {}))
            for key, value in table.items()
        ]
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _text(number: int, text: str) -> bytes:
    return _message(number, _bytes(text)) if text else b""


def _message(number: int, body: bytes) -> bytes:
    return b"".join((_varint(number << 3 | _LENGTH), _varint(len(body)), body))


def _header(request_id: str, said: Status, endpoint: str, target: str | None) -> bytes:
    out = _text(1, request_id)
    if said.code:
        out += _message(2, status(said))
    # Both are optional, and clients look whether they are there.
    return out + _message(3, _bytes(endpoint)) + (_message(4, _bytes(target)) if target else b"")


def _time(moment: float) -> bytes:
    seconds = int(moment // 1)
    nanos = min(int((moment - seconds) * 1e9), 999_999_999)
    out = b"\x08" + _varint(seconds & (1 << 64) - 1)
    return out + b"\x10" + _varint(nanos) if nanos else out


def _struct(values: Mapping[str, Any]) -> bytes:
    """A Struct of parameters: arrays are lists, what is not finite is null, as in JSON."""
    if not values:
        return b""
    try:
        return _structs.encode(values if _is_plain(values) else json.loads(wire.dumps(values)), _WAY)[0]
    except (FieldTypeError, OverflowError) as error:
        raise ExecutorError(
            "gateway", "FieldTypeError", f"the parameters hold what no Struct can: {error}"
        ) from None


def _is_plain(value: Any) -> bool:
    kind = cast("Any", type(value))
    if kind is dict:
        return all(type(key) is str and _is_plain(one) for key, one in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    return kind is str or kind is bool or value is None or kind is float or kind is int
