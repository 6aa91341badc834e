"""What goes wrong in a Flow: each an error of the library, with the status that a client is told it by.

`status` is that of HTTP; docarray.web.problems answers with it.
"""

from __future__ import annotations

import traceback
from typing import Final

from docarray.errors import BadValue, DocArrayError

__all__ = [
    "TOLD",
    "BadRequest",
    "BadTopology",
    "CallbackError",
    "DeadlineExceeded",
    "ExecutorError",
    "FlowStartError",
    "NoEndpoint",
    "NotAllowed",
    "NotRunning",
    "Overloaded",
    "RemoteTraceback",
    "Unavailable",
]


class BadTopology(BadValue):
    """Deployments that cannot be wired: a name that is taken or unknown, a circle, a join of one."""


class NotRunning(DocArrayError, RuntimeError):
    """A call that wants the Flow to run, or not to."""


class FlowStartError(DocArrayError, RuntimeError):
    """A Flow did not start. The message says which deployment, and why; `__cause__` is what was raised there."""


class BadRequest(BadValue):
    """Documents or parameters that a handler does not take. A handler may raise it too: it is told to the client."""

    status: int = 422


class NoEndpoint(BadValue, LookupError):
    """No deployment answers this endpoint."""

    status: int = 404


class NotAllowed(DocArrayError, PermissionError):
    """A server wants a key, or another one."""

    status: int = 401


class Unavailable(DocArrayError, ConnectionError):
    """A deployment, or a server, cannot be reached, or went away before it answered."""

    status: int = 503


class Overloaded(DocArrayError, RuntimeError):
    """As many requests wait as may; `retry_after` says in how many seconds to try again."""

    status: int = 429

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CallbackError(DocArrayError, RuntimeError):
    """A callback of `post` raised; `__cause__` is what."""


class DeadlineExceeded(DocArrayError, TimeoutError):
    """There was no answer in time."""

    status: int = 504


class RemoteTraceback(Exception):
    """What another process raised, as the text of its traceback."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}" if self.args else ""


class ExecutorError(DocArrayError, RuntimeError):
    """A handler raised.

    `__cause__` is what it raised, or a RemoteTraceback of that from another process.

    Attributes:
        executor: the name of the deployment.
        name: the class of what was raised, such as 'ValueError'.
        detail: its message.
        traceback: its traceback as text.
        request_id: of the request, as the logs have it.
    """

    status: int = 500

    def __init__(
        self, executor: str, name: str, detail: str, traceback: str = "", request_id: str = ""
    ) -> None:
        super().__init__(f"{executor} raised {name}: {detail}" if detail else f"{executor} raised {name}")
        self.executor = executor
        self.name = name
        self.detail = detail
        self.traceback = traceback
        self.request_id = request_id

    @classmethod
    def of(cls, executor: str, cause: BaseException, request_id: str = "") -> ExecutorError:
        """The error of what a handler raised in this process."""
        text = "".join(traceback.format_exception(cause))
        error = cls(executor, type(cause).__name__, str(cause), text, request_id)
        error.__cause__ = cause
        return error

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.executor, self.name, self.detail, self.traceback, self.request_id)


TOLD: Final = (BadRequest, NoEndpoint, NotAllowed, Unavailable, Overloaded, DeadlineExceeded)
"""What a handler may raise, or a class of its own of these: the client is told it as it is, and not that it raised."""
