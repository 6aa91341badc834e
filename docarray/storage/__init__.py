"""The storages: rows by id, in an order, in columns. Each speaks Tables; see docarray.store."""

from __future__ import annotations

from docarray.registry import known, resolve
from docarray.store import About

__all__ = ["MEMORY", "capabilities"]

MEMORY = About(
    place="memory",
    shared="threads that read",
    text="inverted index in memory",
    transactions="",
)
"""What an array without a storage is."""

_TITLES = {
    "place": "the documents are in",
    "install": "to install",
    "survives": "outlives",
    "shared": "open at the same time",
    "transactions": "transactions",
    "filters": "filters run",
    "vectors": "vector search",
    "text": "text search",
}


def capabilities() -> str:
    """A table in Markdown of what each storage can do, from what each says of itself; names of one stand together.

    >>> capabilities().splitlines()[2].split(' | ')[:2]
    ['| the documents are in', 'memory']
    """
    names: dict[int, list[str]] = {}
    said: dict[int, About] = {}
    for name in known("storage"):
        about = MEMORY if name == "memory" else resolve("storage", name).about
        said[id(about)] = about
        names.setdefault(id(about), []).append(name)
    heads = [", ".join(f"`{name}`" for name in alike) for alike in names.values()]
    lines = [f"| `storage=` | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for field, title in _TITLES.items():
        lines.append(
            f"| {title} | {' | '.join(str(getattr(about, field)) or '-' for about in said.values())} |"
        )
    return "\n".join(lines)
