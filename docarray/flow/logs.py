"""Logs: of which request a line is, in whatever process it was written.

Rule 1: the library sets no logging up. It gives lines their request, and offers a filter and a form.
Rule 2: what the process of a worker logs is logged in the process of the Flow: levels, filters and handlers are those
        that are there. Where the Flow is gone, or does not keep up, the line goes to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Any, Final, cast

__all__ = [
    "FILTER",
    "JsonFormatter",
    "Relay",
    "RequestFilter",
    "entered",
    "levels",
    "relayed",
    "request_id",
    "set_levels",
]

_REQUEST: Final[ContextVar[str]] = ContextVar("docarray_flow_request", default="")


def request_id() -> str:
    """The id of the request that is worked on here; '' where there is none.

    A handler of several requests at once (dynamic batching) has the ids of all, with commas.
    """
    return _REQUEST.get()


class entered:
    """Within it, `request_id()` is that of a call, and what is traced belongs to it.

    Args:
        mark: the id of the request.
        trace: a Context of OpenTelemetry, or None.
    """

    __slots__ = ("_attached", "_mark", "_token", "_trace")

    def __init__(self, mark: str, trace: Any) -> None:
        self._mark = mark
        self._trace = trace

    def __enter__(self) -> None:
        self._token: Token[str] = _REQUEST.set(self._mark)
        if self._trace is not None:
            from docarray.flow.tracing import attach

            self._attached: Any = attach(self._trace)

    def __exit__(self, *exception: object) -> None:
        if self._trace is not None:
            from docarray.flow.tracing import detach

            detach(self._attached)
        _REQUEST.reset(self._token)


class RequestFilter(logging.Filter):
    """Gives records their `request_id`, for a handler whose format names it; it lets all through.

    >>> handler = logging.StreamHandler()
    >>> handler.addFilter(RequestFilter())
    >>> handler.setFormatter(logging.Formatter('%(levelname)s %(request_id)s %(message)s'))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter. What a record has already, as those of other processes do, it keeps."""
        if not hasattr(record, "request_id"):
            record.request_id = _REQUEST.get()
        return True


FILTER: Final = RequestFilter()
"""The filter that `Executor.logger` has: its records know their request without further ado."""


class JsonFormatter(logging.Formatter):
    """Records as objects of JSON: time, level, logger, message, request_id, and what is special to a record.

    Lines of the logger 'docarray.flow.access' have their members in the place of a message.

    >>> record = logging.makeLogRecord({'levelname': 'INFO', 'name': 'shop', 'msg': 'sold %d', 'args': (3,)})
    >>> import json
    >>> json.loads(JsonFormatter().format(record))['message']
    'sold 3'
    """

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        access = getattr(record, "access", None)
        if isinstance(access, Mapping):
            said.update(cast("Mapping[str, Any]", access))
        else:
            said["message"] = record.getMessage()
            mark = getattr(record, "request_id", "") or _REQUEST.get()
            if mark:
                said["request_id"] = mark
        for name, value in vars(record).items():
            if name not in _USUAL and name not in said:
                said[name] = value
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            said["exception"] = record.exc_text
        return json.dumps(said, default=repr)


_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"access", "request_id", "message", "asctime"}


# ---------------------------------------------------------------------------------------------- between processes

_PLAIN: Final = (str, int, float, bool, type(None))


def levels() -> dict[str, int]:
    """The levels that loggers of this process were given, for another process; '' is the root."""
    found = {"": logging.getLogger().getEffectiveLevel()}
    for name, one in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(one, logging.Logger) and one.level:
            found[name] = one.level
    return found


def set_levels(said: Mapping[str, int]) -> None:
    """Gives loggers the levels that those of another process have."""
    for name, level in said.items():
        logging.getLogger(name or None).setLevel(level)


class Relay(logging.Handler):
    """Sends what a worker logs to the process of the Flow.

    Args:
        send: takes the bytes of a record, in any thread. False: it cannot; the line goes to stderr.

    Its lock is held while `send` is called, and by who puts another function in its place: see `to`.
    """

    def __init__(self, send: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._send = send
        self._pid = os.getpid()
        self._spare = logging.StreamHandler(sys.stderr)
        self._spare.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s %(request_id)s: %(message)s")
        )
        self.addFilter(FILTER)

    def to(self, send: Callable[[bytes], bool]) -> None:
        """Sends another way from here on."""
        self.acquire()
        try:
            self._send = send
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            # A process that forked off from a worker has no line of its own to the Flow.
            sent = os.getpid() == self._pid and self._send(_packed(record))
        except Exception:
            self.handleError(record)
            return
        if not sent:
            self._spare.emit(record)


def _packed(record: logging.LogRecord) -> bytes:
    """A record as it can be read elsewhere: its message is text, and so is what else is no plain value."""
    said = dict(vars(record))
    said["msg"], said["args"] = record.getMessage(), None
    if record.exc_info:
        said["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
        said["exc_info"] = None
    for name, value in said.items():
        if type(value) not in _PLAIN:
            said[name] = repr(value)
    return pickle.dumps(said, 5)


def relayed(body: bytes) -> None:
    """Logs here what was logged in a worker."""
    record = logging.makeLogRecord(pickle.loads(body))
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
