"""The display room: how documents show themselves, in a terminal and in a notebook.

Rule 1: nothing is imported before it is used: a page needs no rich, and rich loads nothing of pages.
Rule 2: looking changes nothing, and costs no more for a large array than for one of a thousand documents.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import RenderableType

    from docarray.array import DocumentArray
    from docarray.display.players import (
        display,
        display_point_cloud_tensor,
        display_rgbd_tensor,
        display_tensor,
        display_uri,
        display_vertices_and_faces,
    )
    from docarray.display.projector import plot_embeddings
    from docarray.display.sprites import plot_image_sprites, plot_matches_sprites, save_gif

__all__ = [
    "completions",
    "display",
    "display_point_cloud_tensor",
    "display_rgbd_tensor",
    "display_tensor",
    "display_uri",
    "display_vertices_and_faces",
    "html_of",
    "plot_embeddings",
    "plot_image_sprites",
    "plot_matches_sprites",
    "rich_of",
    "save_gif",
    "show",
]

_DOORS: Final = {
    "display": "players",
    "display_point_cloud_tensor": "players",
    "display_rgbd_tensor": "players",
    "display_tensor": "players",
    "display_uri": "players",
    "display_vertices_and_faces": "players",
    "plot_embeddings": "projector",
    "plot_image_sprites": "sprites",
    "plot_matches_sprites": "sprites",
    "save_gif": "sprites",
}
"""What the methods of Document and DocumentArray call, and the module that it is in."""


def __getattr__(name: str) -> Any:
    if name in _DOORS:
        return getattr(import_module(f"docarray.display.{_DOORS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def show(obj: object) -> None:
    """Prints a Document as a tree, or what a DocumentArray holds as tables, to standard output.

    Raises:
        FieldTypeError: the object is neither.

    Costs a look at a thousand documents at most; the tables say when that was a sample.
    """
    from docarray.display import terminal

    terminal.show(obj)


def rich_of(obj: object) -> RenderableType:
    """What `show` prints, for a console of rich.

    Raises:
        FieldTypeError: the object is neither a Document nor a DocumentArray.

    >>> from docarray import DocumentArray
    >>> type(rich_of(DocumentArray.empty(3))).__name__
    'Group'
    """
    from docarray.display import terminal

    return terminal.rich_of(obj)


def html_of(obj: object) -> str:
    """A Document, or the first ten documents of a DocumentArray, as a piece of HTML that needs nothing else.

    No script, no request, no more than 256 KB whatever the documents hold; legible on light and on dark pages.

    Raises:
        FieldTypeError: the object is neither a Document nor a DocumentArray.

    >>> from docarray import Document
    >>> '&lt;script&gt;' in html_of(Document(text='<script>'))
    True
    """
    from docarray.display import html

    return html.html_of(obj)


def completions(array: DocumentArray[Any]) -> list[str]:
    """What may stand between `[` and `]`: the first 50 ids, paths of tags, and '@r', '@c', '@m' where they lead on.

    >>> from docarray import Document, DocumentArray
    >>> completions(DocumentArray([Document(id='a', tags={'price': 3}, chunks=[Document()])]))
    ['a', 'tags__price', '@r', '@c']
    """
    from docarray.display import facts

    return facts.completions(array)
