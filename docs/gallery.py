"""The pictures of the gallery: the code of docs/gallery.md is run while the manual is built, and shows its last lines.

The page itself holds code and words only, so that what it shows is always what the code gives.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import re
import tempfile
from collections.abc import Iterator
from typing import Any

from docarray.display import players

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWS = {
    "display": players.shown_of,
    "display_vertices_and_faces": players.shown_of,
    "display_point_cloud_tensor": players.shown_of,
}


def _parts(code: str) -> tuple[ast.Module, ast.Expression | None]:
    """The statements, and the expression that ends them, if one does."""
    tree = ast.parse(code)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        return tree, None
    return ast.Module(tree.body[:-1], []), ast.Expression(last.value)


def _shown(last: ast.Expression, names: dict[str, Any]) -> str:
    """The HTML of the value of an expression; of `doc.display()` what a notebook would show."""
    call = last.body
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _SHOWS:
        doc = eval(compile(ast.Expression(call.func.value), "gallery", "eval"), names)
        show = players.shown_of_uri if call.args else _SHOWS[call.func.attr]
        return show(doc)._repr_html_()
    value = eval(compile(last, "gallery", "eval"), names)
    if hasattr(value, "_repr_html_"):
        return value._repr_html_()
    with io.BytesIO() as target:
        value.save(target, "PNG")
        data = base64.b64encode(target.getvalue()).decode()
    return f'<img alt="{value.width} x {value.height} pixels" src="data:image/png;base64,{data}">'


def filled(page: str) -> str:
    """A page of MyST with what each of its pieces of code shows below it."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def pieces() -> Iterator[str]:
        end = 0
        for block in _BLOCK.finditer(page):
            yield page[end : block.end()]
            end = block.end()
            statements, last = _parts(block[1])
            exec(compile(statements, "gallery", "exec"), names)
            if last is not None:
                # The frame keeps the style of the manual's tables away from those of documents.
                yield f'\n\n````{{raw}} html\n<div class="gallery">{_shown(last, names)}</div>\n````\n'
        yield page[end:]

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return "".join(pieces())


def _read(app: Any, name: str, source: list[str]) -> None:
    if name == "gallery":
        source[0] = filled(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": False}
