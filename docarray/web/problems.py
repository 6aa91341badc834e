"""Problems: what a client is told when something went wrong (RFC 9457), and what it is not told.

Rule 1: an error of ours that the client can mend becomes a status and its own message.
Rule 2: any other is logged whole, under the id of the request, and the client is told that id and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from docarray.errors import (
    ClosedStore,
    DocArrayError,
    DuplicateDocument,
    MissingDocument,
    MissingExtra,
    StaleDocument,
    StoreError,
    StoreLocked,
    Unsupported,
    WorkerError,
)
from docarray.web.limits import TooMuch

__all__ = ["LOG", "MEDIA_TYPE", "Busy", "NotAllowed", "Problem", "TimedOut", "Unauthorised", "problem_of"]

LOG: Final = logging.getLogger("docarray.web")
MEDIA_TYPE: Final = "application/problem+json"


class Busy(DocArrayError):
    """As many requests as are allowed wait already."""

    status: int = 503
    retry_after: int = 1


class TimedOut(DocArrayError, TimeoutError):
    """A request took longer than one may."""

    status: int = 504


class NotAllowed(DocArrayError, PermissionError):
    """What the server does not do for this client: it serves for reading only, or the hook for rights said no."""

    status: int = 403


class Unauthorised(DocArrayError, PermissionError):
    """A request without a key, or with a wrong one."""

    status: int = 401


class Problem(NamedTuple):
    """What a client is told."""

    status: int
    title: str
    detail: str
    headers: Mapping[str, str] = {}

    def body(self, instance: str | None = None, **more: Any) -> dict[str, Any]:
        """The members of the JSON object. `instance` is the id of the request."""
        out: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        out["detail"] = self.detail
        if instance is not None:
            out["instance"] = instance
        return {**out, **more}


TITLES: Final[Mapping[int, str]] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}

_STATUS: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (MissingDocument, 404),
    (DuplicateDocument, 409),
    (StaleDocument, 409),
    (TooMuch, 422),
    (StoreLocked, 503),
    (ClosedStore, 503),
    (StoreError, 503),
    (Unsupported, 422),
)
# The texts of these tell of the server: paths, packages, what its workers raised.
_INNER: Final = (MissingExtra, WorkerError)


def problem_of(error: BaseException, request_id: str | None = None) -> Problem:
    """What a client is told of an error; what it is not told goes to the log 'docarray.web'.

    >>> from docarray.errors import MissingDocument
    >>> problem_of(MissingDocument("there is no document 'x' in this store")).status
    404
    >>> problem_of(ZeroDivisionError('a secret'), 'f00').detail
    "something went wrong here; the log of the server has it under 'f00'"
    """
    status = getattr(type(error), "status", None)
    if not (isinstance(error, DocArrayError) and isinstance(status, int)):
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), None)
    if status is None and isinstance(error, DocArrayError) and not isinstance(error, _INNER):
        status = 422
    if status is None:
        LOG.error("request %s failed", request_id or "-", exc_info=error)
        where = f"; the log of the server has it under {request_id!r}" if request_id else ""
        return Problem(500, TITLES[500], f"something went wrong here{where}")
    headers = dict[str, str]()
    if status == 503:
        headers["Retry-After"] = str(getattr(error, "retry_after", 1))
        if isinstance(error, StoreError) and not isinstance(error, StoreLocked):
            LOG.error("request %s: the store failed", request_id or "-", exc_info=error)
            return Problem(status, TITLES[status], "the documents cannot be reached now", headers)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="docarray"'
    headers.update(getattr(error, "headers", {}))
    return Problem(status, TITLES.get(status, "Error"), str(error), headers)
