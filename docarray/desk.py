"""Where the librarian is spoken to: reports and answers as people read them, and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docarray import Document, DocumentArray
from docarray.display.facts import count_of, noun, plain
from docarray.librarian import Report, score, snippet

if TYPE_CHECKING:
    from rich.table import Table as Grid

__all__ = ["answer_facts", "answer_grid", "report_lines", "where"]

_MOST_FILES: Final = 5  # of those that could not be read, that are shown to people
_WIDEST: Final = 120
_BEFORE: Final = 11  # columns of rank and score


def report_lines(report: Report, path: Path, to: Path, seconds: str) -> list[str]:
    """What `index` has done, in lines."""
    known = {"added": report.added, "changed": report.changed, "gone": report.gone}
    done = ", ".join(f"{count_of(count)} {word}" for word, count in known.items() if count)
    kept = f"{count_of(report.unchanged)} as before" if report.unchanged else ""
    lines = [f"{plain(str(path))}: {', '.join(filter(None, [done, kept])) or 'no files'}, in {seconds}"]
    by = f" by {report.model}" if report.passages else ""
    lines.append(f"{plain(str(to))}: {noun(report.passages, 'passage')}{by}, on storage {report.storage}")
    if report.storage == "sqlite":
        lines.append("Vectors are compared one by one; with pip install usearch there is an index of them.")
    faults = [one for one in report.unreadable if one.is_fault]
    others = len(report.unreadable) - len(faults)
    by_reason: dict[str, list[Path]] = {}
    for one in faults:
        by_reason.setdefault(one.reason, []).append(one.path)
    told = [  # what a hundred files have in common is said once
        f"  {plain(str(files[0]))}"
        + (f" and {noun(len(files) - 1, 'other')}" if files[1:] else "")
        + f": {plain(reason)}"
        for reason, files in by_reason.items()
    ]
    lines += told[:_MOST_FILES]
    if told[_MOST_FILES:]:
        lines.append(f"  and {count_of(len(told) - _MOST_FILES)} more; --json has them all")
    if others:
        lines.append(f"{noun(others, 'file')} passed over: empty, or of kinds without text")
    return lines


def where(hit: Document) -> str:
    """Where a passage stands: its file, and the page, or the line and the headings."""
    tags = hit.tags
    place = str(tags.get("path", hit.id))
    if "page" in tags:
        return f"{place}  page {tags['page']}"
    if "line" in tags:  # as editors take it
        place = f"{place}:{tags['line']}"
    return f"{place}  {tags['section']}" if tags.get("section") else place


def answer_grid(hits: DocumentArray, question: str, width: int) -> Grid:
    """Rank, score and place of each passage, and below that what it says, with the words of the question in bold."""
    from rich.table import Table as Grid
    from rich.text import Text

    width = min(width, _WIDEST)
    room = max(width - _BEFORE, 20)
    grid = Grid(box=None, show_header=False, width=width, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(justify="right", width=3)
    grid.add_column(justify="right", style="dim", width=4)
    grid.add_column(overflow="fold", ratio=1)
    for rank, hit in enumerate(hits, 1):
        place = Text(plain(where(hit)), style="cyan")
        place.truncate(room, overflow="ellipsis")
        found = snippet(plain(hit.text), question, 2 * room - 10)
        said = Text(found.text)
        for low, high in found.marks:
            said.stylize("bold", low, high)
        grid.add_row(str(rank), _figure(score(hit)), Text.assemble(place, "\n", said))
    return grid


def _figure(value: float) -> str:
    """A score in four columns."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"[:4].rstrip(".")


def answer_facts(hit: Document, rank: int, question: str) -> dict[str, Any]:
    """A passage as JSON has it: rank, score, tags, text, snippet, and the scores that were fused."""
    found = snippet(hit.text, question)
    return {
        "rank": rank,
        "score": score(hit),
        "scores": {name: one.value for name, one in hit.scores.items()},
        "id": hit.id,
        **{key: value for key, value in hit.tags.items() if key not in ("rank", "score", "scores", "id")},
        "uri": hit.uri,
        "mime_type": hit.mime_type,
        "text": hit.text,
        "snippet": found.text,
        "marks": [list(mark) for mark in found.marks],
    }
