"""GraphiQL at /graphiql and Swagger at /docs, from files of this machine: they work without the internet.

Rule 1: their scripts come in packages of their own, with the extra `ide`; without it a page says what to install.
Rule 2: only files of a fixed list are given, whatever the path asks for.
Rule 3: the pages ask nothing of another machine, and their policy sees to it.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from docarray.errors import DocArrayError
from docarray.web.guards import Receive, Scope, Send

__all__ = ["FREE", "installed", "routes"]

FREE: Final = ("/graphiql", "/docs", "/assets/*")
"""Paths that want no key, as `docarray.web.guards.Keys` takes them: there are no documents in them."""
_INSTALL: Final = 'pip install "docarray[ide]"'


class NotInstalled(DocArrayError):
    """The files of a page are not there."""

    status: int = 501


class _Asset(NamedTuple):
    package: str
    file: str
    media: str


_SWAGGER: Final = "fastapi_offline"
_GRAPHIQL: Final = "graphene_django_graphiql_static"
_PAGES: Final = {"docs": _SWAGGER, "graphiql": _GRAPHIQL}
_STATIC: Final = f"static/{_GRAPHIQL}"
_JS: Final = "text/javascript; charset=utf-8"
_CSS: Final = "text/css; charset=utf-8"
_ASSETS: Final = {
    "swagger-ui.js": _Asset(_SWAGGER, "static/swagger-ui-bundle.js", _JS),
    "swagger-ui.css": _Asset(_SWAGGER, "static/swagger-ui.css", _CSS),
    "react.js": _Asset(_GRAPHIQL, f"{_STATIC}/react.production.min.js", _JS),
    "react-dom.js": _Asset(_GRAPHIQL, f"{_STATIC}/react-dom.production.min.js", _JS),
    "graphiql.js": _Asset(_GRAPHIQL, f"{_STATIC}/graphiql.min.js", _JS),
    "graphiql.css": _Asset(_GRAPHIQL, f"{_STATIC}/graphiql.min.css", _CSS),
}


def routes() -> list[BaseRoute]:
    """The routes of the two pages and of their files."""
    return [
        Route("/graphiql", _Pages(_GRAPHIQL, _graphiql)),
        Route("/docs", _Pages(_SWAGGER, _swagger)),
        Route("/assets/{name}", _Files()),
    ]


def installed() -> list[str]:
    """The pages whose files are there, of 'docs' and 'graphiql'."""
    return [path for path, package in _PAGES.items() if importlib.util.find_spec(package) is not None]


def _file(name: str) -> Path:
    """Where a file of the list is.

    Raises:
        HTTPException: it is not in the list. NotInstalled: its package is not there.
    """
    asset = _ASSETS.get(name)
    if asset is None:
        raise HTTPException(404, "there is no such file")
    found = _folder(asset.package) / asset.file
    if not found.is_file():
        raise NotInstalled(f"{asset.package} has no {asset.file}; another version of it may: {_INSTALL}")
    return found


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalled(f"this page needs the package {package.replace('_', '-')}: {_INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


def _reading(scope: Scope) -> bool:
    """Whether the body is wanted too.

    Raises:
        HTTPException: the method is none that reads.
    """
    if scope["method"] not in ("GET", "HEAD"):
        raise HTTPException(405, "this path takes GET, HEAD", {"Allow": "GET, HEAD"})
    return scope["method"] == "GET"


class _Pages:
    """One of the pages."""

    def __init__(self, package: str, make: Callable[[str], str]) -> None:
        self._package = package
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        reads = _reading(scope)
        _folder(self._package)
        nonce = base64.b64encode(os.urandom(16)).decode()
        policy = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        more = [(b"content-security-policy", policy.encode()), (b"cache-control", b"no-store")]
        await _give(send, self._make(nonce).encode(), "text/html; charset=utf-8", more, reads)


class _Files:
    """The files of the pages."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        reads = _reading(scope)
        name = str(scope["path_params"]["name"])
        body = await asyncio.to_thread(_file(name).read_bytes)
        await _give(send, body, _ASSETS[name].media, [(b"cache-control", b"public, max-age=86400")], reads)


async def _give(send: Send, body: bytes, media: str, more: list[tuple[bytes, bytes]], reads: bool) -> None:
    headers = [(b"content-type", media.encode()), (b"content-length", b"%d" % len(body)), *more]
    start: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body if reads else b""})


# Paths are relative to that of the page, which may be mounted anywhere.


def _swagger(nonce: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>REST</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="assets/swagger-ui.css">
<body>
<div id="swagger"></div>
<script src="assets/swagger-ui.js"></script>
<script nonce="{nonce}">
(async () => {{
  let key = "", answer;
  do {{
    answer = await fetch("openapi.json", {{ headers: key ? {{ "X-API-Key": key }} : {{}} }});
  }} while (answer.status === 401 && (key = prompt("Key")));
  SwaggerUIBundle({{
    spec: await answer.json(),
    domNode: document.getElementById("swagger"),
    requestInterceptor: (request) => {{ if (key) request.headers["X-API-Key"] = key; return request; }},
    validatorUrl: null,
    deepLinking: true,
    tryItOutEnabled: true,
    defaultModelsExpandDepth: 0,
  }});
}})();
</script>
"""


def _graphiql(nonce: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GraphiQL</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="assets/graphiql.css">
<style>html, body, #graphiql {{ height: 100%; margin: 0; }}</style>
<body>
<div id="graphiql">Loading</div>
<script src="assets/react.js"></script>
<script src="assets/react-dom.js"></script>
<script src="assets/graphiql.js"></script>
<script nonce="{nonce}">
(async () => {{
const url = new URL("graphql", location.href);
let key = "";
const headers = () => key ? {{ "X-API-Key": key }} : {{}};
while ((await fetch(url + "?query={{__typename}}", {{ headers: headers() }})).status === 401 && (key = prompt("Key")));
const socket = new URL(url);
socket.protocol = url.protocol === "https:" ? "wss:" : "ws:";
ReactDOM.render(React.createElement(GraphiQL, {{
  fetcher: GraphiQL.createFetcher({{ url: url.href, headers: headers(), subscriptionUrl: socket.href }}),
  defaultQuery: `# Press Ctrl-Enter to ask.
{{
  documents(first: 5) {{
    totalCount
    nodes {{ id text }}
  }}
}}
`,
  defaultEditorToolsVisibility: true,
  shouldPersistHeaders: false,
}}), document.getElementById("graphiql"));
}})();
</script>
"""
