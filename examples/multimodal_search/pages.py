"""The gateway of the service: the usual one of a Flow, and a page at /."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route

FOLDER = Path(__file__).with_name("page")
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
HEADERS = {
    # The page runs its own script and asks its own server; pictures come inside of answers.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
HERE = {"127.0.0.1", "localhost", "[::1]"}


async def page(request: Request) -> Response:
    return FileResponse(FOLDER / FILES[request.url.path], headers=HEADERS)


def application(flow: Any) -> Starlette:
    """What `gateway: uses:` of flow.yml names: an ASGI application that answers for the Flow."""
    # Served to this machine alone it is asked by the names of it, lest pages of other sites read along.
    api = flow.asgi(hosts=HERE if flow.spec.gateway.host in HERE else None)
    routes = [Route(path, page) for path in FILES]
    return Starlette(routes=[*routes, Mount("/", api)], lifespan=api.lifespan)
