"""The web room: documents as request and answer, a REST and a GraphQL endpoint over an array, and the server of both.

Everything here is imported when it is first asked for: `docarray.web.graphql_app(da)` wants the extra `serve`, and
models of pydantic the extra `web`.
"""

from __future__ import annotations

from docarray.web.limits import Limits
from docarray.web.service import Service

__all__ = ["Limits", "Service"]
