"""The display room: how documents show themselves, in a terminal and in a notebook.

Rule 1: nothing is imported before it is used: a page needs no rich, and rich loads nothing of pages.
Rule 2: looking changes nothing, and costs no more for a large array than for one of a thousand documents.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import RenderableType

    from docarray.array import DocumentArray

__all__ = ["completions", "html_of", "rich_of", "show", "track"]

T = TypeVar("T")


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


def track(sequence: Iterable[T], what: str) -> Iterable[T]:
    """The sequence; on a terminal with a progress bar on standard error while it is walked.

    Args:
        sequence: what is walked.
        what: the words beside the bar.

    Returns:
        `sequence` itself where there is no terminal, or where DOCARRAY_PROGRESS=0 is set.

    >>> track([1, 2], 'numbers')
    [1, 2]
    """
    # Asked before rich is loaded: most loops run where nobody watches.
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("DOCARRAY_PROGRESS") == "0":  # pyright: ignore[reportUnnecessaryComparison]
        return sequence
    from docarray.display import terminal

    return terminal.track(sequence, what)
