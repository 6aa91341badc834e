"""Link: the two ends of the socket between a Flow and a worker process, and the frames that go over it.

Rule 1: a frame is a head of fixed size (kind, number of the call, length) and a body. Bodies are pickles: both ends are
        ours, started by each other, over a socket by which nobody else comes in; see docarray.flow.pairs.
Rule 2: a frame is written whole; one that cannot be is an error of its call alone.
Rule 3: where one end is gone the other one hears of it at once, whatever it was that ended.
"""

# pyright: reportPrivateUsage=false
# What few documents hold is read from their slots: half of the cost of a hop would be to write them as columns.

from __future__ import annotations

import asyncio
import enum
import pickle
import struct
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np

from docarray.array import DocumentArray
from docarray.document import Document
from docarray.flow import faults
from docarray.flow.call import Call
from docarray.flow.faults import ExecutorError, RemoteTraceback, Unavailable

__all__ = ["HEAD", "Kind", "Link", "call_of", "docs_of", "error_of", "packed", "packed_call", "packed_error"]


class Kind(enum.IntEnum):
    """What a frame says."""

    START = 0
    """To a worker: what it is. The first frame."""
    READY = 1
    """From it: what it answers."""
    FAILED = 2
    """From it: why it does not start."""
    CALL = 3
    """To it: a request."""
    STREAM = 4
    """To it: a request that is answered part by part."""
    MORE = 5
    """To it: so many parts more are wanted."""
    CANCEL = 6
    """To it: nobody waits for this call any more."""
    ANSWER = 7
    """From it: the whole answer."""
    PART = 8
    """From it: a part of an answer."""
    END = 9
    """From it: there are no more parts."""
    ERROR = 10
    """From it: what the call came to instead."""
    HEALTH = 11
    """To it, and back: whether it can work."""
    STOP = 12
    """To it: answer what is under way, then end. From it: it is about to end, and waits for this to be said to it: all
    that it was sent before it answers."""
    SHAPES = 15
    """To it, and back: the schemas of what its handlers take and give, by endpoint."""
    SNAPSHOT = 16
    """To it: keep what the Executor remembers. Its answer is the folder."""
    LOG = 13
    """From it: what it logs."""
    TIMES = 14
    """From it: what its Executor has timed."""


HEAD: Final = struct.Struct("<BIQ")
_HIGH: Final = 4 << 20  # bytes that wait to be written, at which who writes waits too


class Link(asyncio.Protocol):
    """One end.

    Args:
        on_frame: called with each frame that came: kind, number of the call, body.
        on_lost: called once, when the other end is gone.
    """

    def __init__(self, on_frame: Callable[[Kind, int, bytes], None], on_lost: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._got = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.was_open: bool = False
        """Whether it ever was; its socket is its own from then on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.was_open = True
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.set_write_buffer_limits(_HIGH)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._transport = None
        self._writable.set()
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        got = self._got
        got += data
        at, known = 0, len(got)
        while known - at >= HEAD.size:
            kind, number, length = HEAD.unpack_from(got, at)
            if known - at - HEAD.size < length:
                break
            start = at + HEAD.size
            with memoryview(got) as view:
                body = bytes(view[start : start + length])
            at = start + length
            self._on_frame(Kind(kind), number, body)
        if at:
            del got[:at]

    @property
    def is_open(self) -> bool:
        """Whether the other end is there, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_writable(self) -> bool:
        """Whether what is written now is under way soon."""
        return self.is_open and self._writable.is_set()

    def send(self, kind: Kind, number: int = 0, body: bytes = b"") -> None:
        """Writes a frame.

        Raises:
            Unavailable: the other end is gone.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Unavailable("the worker process is gone")
        head = HEAD.pack(kind, number, len(body))
        if len(body) < 65_536:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    async def drained(self) -> None:
        """Waits until what was written is under way, where it is much."""
        await self._writable.wait()

    def close(self) -> None:
        """Ends the link; what was written is sent first."""
        if self._transport is not None:
            self._transport.close()


# ---------------------------------------------------------------------------------------------- documents

_FEW: Final = 8
_CONTENT: Final = (type(None), str, bytes, np.ndarray)


def packed(docs: DocumentArray[Any]) -> Any:
    """Documents as a pickle takes them fast: few plain ones as records, others in the native format."""
    if len(docs) <= _FEW:
        records = [_record(doc) for doc in docs]
        if None not in records:
            return records
    return docs.to_bytes()


def _record(doc: Document) -> tuple[Any, ...] | None:
    """What a document holds; None if that is more than most do."""
    if type(doc) is not Document or doc._chunks or doc._matches or doc._more or doc._scores:
        return None
    content, tags, embedding = doc._content, doc._tags, doc.embedding
    if type(content) not in _CONTENT or type(tags) not in _TAGS or type(embedding) not in _VECTOR:
        return None
    return doc.id, content, tags, embedding, doc._uri, doc._mime_type, doc._place


_TAGS: Final = (type(None), dict)
_VECTOR: Final = (type(None), np.ndarray)


def _document(record: tuple[Any, ...]) -> Document:
    key, content, tags, embedding, uri, mime_type, place = record
    doc = Document(id=key, tags=tags, embedding=embedding)
    doc._content, doc._uri, doc._mime_type, doc._place = content, uri, mime_type, place
    return doc


def docs_of(said: Any) -> DocumentArray[Any]:
    """The documents of what `packed` gave."""
    if isinstance(said, bytes):
        return DocumentArray.from_bytes(said)
    return DocumentArray([_document(record) for record in said])


def packed_call(call: Call, request_id: str, left: float | None) -> bytes:
    """The body of a call."""
    matrix = None if call.docs_matrix is None else [packed(docs) for docs in call.docs_matrix]
    table = None if call.docs_map is None else list(call.docs_map)
    said = (
        call.endpoint, packed(call.docs), call.parameters, matrix, table, _carried(call.tracing_context), request_id,
        left,
    )  # fmt: skip
    return pickle.dumps(said, 5)


def call_of(body: bytes) -> tuple[Call, str, float | None]:
    """The call of a body, the id of its request, and how many seconds it has."""
    endpoint, docs, parameters, matrix, names, trace, request_id, left = pickle.loads(body)
    several = None if matrix is None else [docs_of(one) for one in matrix]
    table = None if names is None or several is None else dict(zip(names, several, strict=True))
    context = None
    if trace is not None:
        from docarray.flow.tracing import context_of

        context = context_of(trace)
    return Call(endpoint, docs_of(docs), parameters, several, table, context, request_id), request_id, left


def _carried(trace: Any) -> dict[str, str] | None:
    """What another process is told of the trace that a call is in."""
    if trace is None:
        return None
    from docarray.flow.tracing import carrier_of

    return carrier_of(trace)


# ---------------------------------------------------------------------------------------------- errors


def packed_error(error: BaseException) -> bytes:
    """What was raised, for the other end: an error of docarray.flow.faults."""
    cause = error.__cause__ if isinstance(error, ExecutorError) else None
    try:
        kept = None if cause is None else pickle.dumps(cause, 5)
        if kept is not None:
            pickle.loads(kept)
    except Exception:  # such as hold a lock, or want more than a message: their text is enough
        kept = None
    if isinstance(error, ExecutorError):
        said: tuple[Any, ...] = (error.executor, error.name, error.detail, error.traceback, error.request_id)
    elif isinstance(error, faults.Overloaded):
        said = (str(error), error.retry_after)
    else:
        said = (str(error),)
    # A class of one's own is told as the one of ours that it is.
    name = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == faults.__name__)
    return pickle.dumps((name, said, kept), 5)


def error_of(body: bytes) -> BaseException:
    """What was raised at the other end."""
    name, said, kept = pickle.loads(body)
    error: BaseException = getattr(faults, name, faults.ExecutorError)(*said)
    if isinstance(error, ExecutorError):
        remote = RemoteTraceback(error.traceback)
        try:
            cause = None if kept is None else cast("BaseException", pickle.loads(kept))
        except Exception:  # its class is not known here
            cause = None
        if cause is None:
            error.__cause__ = remote
        else:
            cause.__cause__ = remote
            error.__cause__ = cause
    return error
