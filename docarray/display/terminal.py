"""Documents in a terminal, with rich.

Rule 1: every text that comes from a document is a `Text`, never markup: '[red]' in a document is five characters.
Rule 2: colors help and are never needed; they are the sixteen of the terminal, or read on light and dark alike.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from docarray import tensors
from docarray.display.facts import (
    ArrayFacts,
    Look,
    array_type,
    brief,
    count_of,
    cut,
    document_or_array,
    facts_of,
    noun,
    numbers_of,
    score_text,
    show_blob,
)
from docarray.display.thumbnail import peaks_of
from docarray.document import Document
from docarray.schema import FIELDS
from docarray.tensors import Array

__all__ = ["rich_of", "show"]

T = TypeVar("T")

_LONGEST_TEXT: Final = 100
_PER_LEVEL: Final = 10
_DEEPEST: Final = 8
_MOST_NESTED: Final = 500
_STRIP: Final = 40
_WIDTH: Final = 80

_NAME: Final = "cyan"
_QUIET: Final = "dim"
_POSITIVE: Final = Style(color="rgb(208,112,40)")
_NEGATIVE: Final = Style(color="rgb(62,132,196)")
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_BLOCKS_ASCII: Final = " .:-=+*#@"


def show(obj: object) -> None:
    """Prints a document as a tree, or what an array holds as tables, to standard output.

    Raises:
        FieldTypeError: the object is neither.
    """
    console = Console()
    shown = rich_of(obj)
    if console.encoding.lower().startswith("utf") or console.is_jupyter:
        console.print(shown)
        return
    # An output that knows few characters gets question marks for the others, not an error.
    page = Console(file=io.StringIO(), width=console.width, color_system=None, safe_box=True)
    with page.capture() as captured:
        page.print(shown)
    text = captured.get().translate(_PLAIN_LINES)
    sys.stdout.write(text.encode(console.encoding, "replace").decode(console.encoding))


_PLAIN_LINES: Final = str.maketrans(
    dict(zip("─│╭╮╰╯├└┬┴┼┤━", "-|++++|`+++|-", strict=True))
    | dict(zip(_BLOCKS, _BLOCKS_ASCII, strict=True))
    | {"…": "...", "·": "-", "–": "-"}
)


def rich_of(obj: object) -> RenderableType:
    """What rich prints for a Document or a DocumentArray.

    Raises:
        FieldTypeError: the object is neither.
    """
    known = document_or_array(obj, "rich_of")
    if isinstance(known, Document):
        return _tree(Look(known))
    return _summary(facts_of(known))


# ---------------------------------------------------------------------------------------------- an array


def _summary(facts: ArrayFacts) -> RenderableType:
    about = Table(box=None, show_header=False, padding=(0, 2), pad_edge=False)
    about.add_column(style=_QUIET, no_wrap=True)
    about.add_column(overflow="fold")
    about.add_row("Type", Text(facts.kind, "bold"))
    about.add_row("Length", count_of(facts.length))
    if facts.nested_in is not None:
        name, parent = facts.nested_in
        about.add_row("Nested in", Text(f"{name} of {cut(parent, 64)}"))
    if facts.length:
        about.add_row("Homogenous Documents", str(facts.homogenous))
        below = [
            f"{fact.name} ({count_of(fact.total or 0)})"
            for fact in facts.attributes
            if fact.total is not None
        ]
        about.add_row("Has nested Documents in", Text(", ".join(below)) if below else Text("none", _QUIET))
        _add_sets(about, facts)
    if facts.multimodal:
        about.add_row("Multimodal dataclass", "True")
        if facts.fields:
            about.add_row("Fields", _typed(facts.fields))
    about.add_row("Storage", Text(", ".join(filter(None, (facts.storage, facts.state)))))
    panels: list[RenderableType] = [_panel(about, "Documents Summary", facts.sampled)]
    if facts.attributes:
        panels.append(_panel(_attributes(facts), "Attributes Summary", facts.sampled))
    return Group(*panels)


def _typed(fields: Sequence[tuple[str, str]]) -> Text:
    """'title Text, price float' in one line."""
    named = [
        Text.assemble((cut(name, 40), _NAME), " " if kind else "", (cut(kind, 40), _QUIET))
        for name, kind in fields[: 2 * _PER_LEVEL]
    ]
    if len(fields) > len(named):
        named.append(Text(f"… {count_of(len(fields) - len(named))} more", _QUIET))
    return Text(", ").join(named)


def _add_sets(about: Table, facts: ArrayFacts) -> None:
    if facts.homogenous:
        about.add_row("Common Attributes", Text(", ".join(facts.common)))
        return
    about.add_row(
        "Common Attributes", Text(", ".join(facts.common)) if facts.common else Text("none", _QUIET)
    )
    for names, count in facts.sets[:_PER_LEVEL]:
        about.add_row(
            f"{noun(count, 'Document has', 'Documents have')}", Text(", ".join(names) or "no attribute")
        )
    if len(facts.sets) > _PER_LEVEL:
        rest = facts.sets[_PER_LEVEL:]
        others = noun(sum(count for _, count in rest), "Document has", "Documents have")
        about.add_row(others, Text(f"one of {len(rest)} more sets of attributes", _QUIET))


def _attributes(facts: ArrayFacts) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 2), pad_edge=False, show_edge=False)
    table.add_column("Attribute", style=_NAME, no_wrap=True)
    table.add_column("Data type", overflow="fold")
    table.add_column("#Unique values", justify="right", no_wrap=True)
    table.add_column("Has empty value", justify="right", no_wrap=True)
    for fact in facts.attributes:
        unique = Text("n/a", _QUIET) if fact.unique is None else Text(count_of(fact.unique))
        table.add_row(fact.name, Text(fact.type_text), unique, str(fact.has_empty))
    return table


def _panel(inside: RenderableType, title: str, note: str) -> Panel:
    return Panel(
        Padding(inside, (0, 1)),
        title=Text(title, "bold not dim"),
        subtitle=Text(note, _QUIET) if note else None,
        box=box.ROUNDED,
        border_style=_QUIET,
        expand=False,
    )


# ---------------------------------------------------------------------------------------------- a document


class _Left:
    """How many nested documents may still be shown: a tree can be endless."""

    def __init__(self) -> None:
        self.count = _MOST_NESTED


def _tree(look: Look) -> Tree:
    title = Text.assemble(
        (look.kind, "bold not dim"), " ", (cut(look.id, 64) or "without id", f"{_NAME} not dim")
    )
    fields = _fields(look)
    label = Panel(
        fields or Text("empty", _QUIET), title=title, title_align="left", box=box.ROUNDED, border_style=_QUIET,
        expand=False, padding=(0, 2), width=None if fields else _empty_width(title),
    )  # fmt: skip
    tree = Tree(label, guide_style=_QUIET)
    _branches(tree, look, _Left(), 1)
    return tree


def _empty_width(title: Text) -> int:
    return min(_WIDTH, title.cell_len + 6)


def _branches(tree: Tree, look: Look, left: _Left, depth: int) -> None:
    for name, title in (("matches", "Matches"), ("chunks", "Chunks")):
        count, seen = look.below(name, _PER_LEVEL)
        if not count:
            continue
        branch = tree.add(Text.assemble((title, "bold"), (f" ({count_of(count)})", _QUIET)))
        if depth > _DEEPEST:
            branch.add(Text("… deeper levels", _QUIET))
            continue
        shown = 0
        called = {field.at: field.name for field in look.fields()} if name == "chunks" else {}
        for at, inner in enumerate(seen):
            if left.count <= 0:
                break
            left.count -= 1
            shown += 1
            _branches(branch.add(_nested(inner, called.get(at, ""))), inner, left, depth + 1)
        if count > shown:
            branch.add(Text(f"… {count_of(count - shown)} more", _QUIET))


def _nested(look: Look, called: str = "") -> RenderableType:
    field = Text.assemble((cut(called, 40), "bold"), " ") if called else Text()
    title = Text.assemble(field, look.kind, " ", (cut(look.id, 40) or "without id", _NAME))
    fields = _fields(look, nested=True)
    return title if fields is None else Group(title, Padding(fields, (0, 0, 0, 2), expand=False))


_PLACE: Final = ("parent_id", "granularity", "adjacency")


def _fields(look: Look, *, nested: bool = False) -> Table | None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style=_QUIET, no_wrap=True)
    table.add_column(overflow="fold", max_width=_WIDTH)
    fields = look.fields()
    if fields:
        table.add_row("multimodal", _typed([(field.name, field.kind) for field in fields]))
    if look.pending:
        table.add_row("content", Text("not loaded yet", _QUIET))
    for name, value in look.shown():
        if not (nested and name in _PLACE):  # which the branches show
            table.add_row(name, _value(name, value))
    return table if table.row_count else None


def _value(name: str, value: Any) -> RenderableType:
    kind = FIELDS[name].kind
    if kind == "tensor" and tensors.framework(value) is not None and name != "location":
        numbers = numbers_of(value)
        text = Text(array_type(value))
        return text if numbers is None else _Strip(text, numbers)
    if kind == "text":
        return Text(cut(value, _LONGEST_TEXT))
    if kind == "bytes":
        return Text(show_blob(value, _LONGEST_TEXT))
    if kind == "scores":
        pairs = [
            Text.assemble((cut(str(key), 40), _NAME), ": ", score_text(score)) for key, score in value.items()
        ]
        return _joined(pairs[:_PER_LEVEL], len(pairs))
    if kind == "json":
        return _tags(value)
    return Text(brief(value, _LONGEST_TEXT))


def _tags(tags: dict[Any, Any]) -> Text:
    lines = [
        Text.assemble(
            (cut(str(key), 40), _NAME), ": ", cut(item, _LONGEST_TEXT) if type(item) is str else brief(item)
        )
        for key, item in _first(tags.items())
    ]
    return _joined(lines, len(tags))


def _first(items: Iterable[T]) -> list[T]:
    return [item for item, _ in zip(items, range(_PER_LEVEL), strict=False)]


def _joined(lines: list[Text], count: int) -> Text:
    if count > len(lines):
        lines = [*lines, Text(f"… {count_of(count - len(lines))} more", _QUIET)]
    return Text("\n").join(lines)


class _Strip:
    """What an array is, and below it a strip of bars: orange above zero, blue below."""

    def __init__(self, text: Text, numbers: Array) -> None:
        self._text = text
        self._peaks = peaks_of(numbers, _STRIP)
        self._range = Text(f" {numbers.min():.3g} to {numbers.max():.3g}", _QUIET)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._text
        blocks = _BLOCKS_ASCII if options.ascii_only else _BLOCKS
        peaks: list[float] = self._peaks.tolist()
        top = max(map(abs, peaks)) or 1.0
        for peak in peaks:
            height = max(1, round(8 * abs(peak) / top)) if peak else 0
            yield Segment(blocks[height], _POSITIVE if peak > 0 else _NEGATIVE)
        yield self._range

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = max(self._text.cell_len, len(self._peaks) + self._range.cell_len)
        return Measurement(min(width, options.max_width), min(width, options.max_width))
