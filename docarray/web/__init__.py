"""The web room: documents as request and answer, a REST and a GraphQL endpoint over an array, and the server of both.

What needs other packages is imported when it is first asked for. `pip install "docarray[web]"` brings pydantic,
`pip install "docarray[serve]"` all that it takes to serve.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from docarray.errors import MissingExtra, near_miss
from docarray.web.limits import Limits
from docarray.web.service import Service

if TYPE_CHECKING:
    from docarray.web.asgi import app
    from docarray.web.graphql import graphql_app
    from docarray.web.models import PydanticDocument, PydanticDocumentArray
    from docarray.web.responses import Documents, DocumentsResponse, StreamingDocuments, read_documents
    from docarray.web.rest import rest_app
    from docarray.web.server import Server, serve
    from docarray.web.strawberry_types import StrawberryDocument, StrawberryDocumentInput

__all__ = [
    "Documents",
    "DocumentsResponse",
    "Limits",
    "PydanticDocument",
    "PydanticDocumentArray",
    "Server",
    "Service",
    "StrawberryDocument",
    "StrawberryDocumentInput",
    "StreamingDocuments",
    "app",
    "graphql_app",
    "read_documents",
    "rest_app",
    "serve",
]

_HOMES: Final = MappingProxyType(
    {
        "app": "asgi",
        "graphql_app": "graphql",
        "rest_app": "rest",
        "serve": "server",
        "Server": "server",
        "Documents": "responses",
        "DocumentsResponse": "responses",
        "StreamingDocuments": "responses",
        "read_documents": "responses",
        "PydanticDocument": "models",
        "PydanticDocumentArray": "models",
        "StrawberryDocument": "strawberry_types",
        "StrawberryDocumentInput": "strawberry_types",
    }
)
_EXTRAS: Final = MappingProxyType({"models": "web", "strawberry_types": "graphql"})


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'docarray.web' has no {name!r}. {near_miss(name, __all__)}")
    try:
        found = getattr(import_module(f"docarray.web.{home}"), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "docarray":
            raise
        extra = _EXTRAS.get(home, "serve")
        raise MissingExtra(
            f'docarray.web.{name} needs the package {package}: pip install "docarray[{extra}]"'
        ) from error
    globals()[name] = found
    return found
