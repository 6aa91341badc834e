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
    "install": "`pip install`",
    "survives": "survives",
    "shared": "shared by",
    "filters": "filters run",
    "vectors": "vectors",
    "text": "text",
    "transactions": "transactions",
}


def capabilities() -> str:
    """A table in Markdown of what each storage can do, from what each says of itself; other names of one stand by it.

    >>> print(capabilities().splitlines()[2][:40])
    | `memory` | memory |  |  | threads that
    """
    names: dict[int, list[str]] = {}
    said: dict[int, About] = {}
    for name in known("storage"):
        about = MEMORY if name == "memory" else resolve("storage", name).about
        said[id(about)] = about
        names.setdefault(id(about), []).append(name)
    lines = [
        f"| `storage=` | {' | '.join(_TITLES.values())} |",
        "|---" * (len(_TITLES) + 1) + "|",
    ]
    for key, about in said.items():
        cells = [str(getattr(about, field)) for field in _TITLES]
        lines.append(f"| {', '.join(f'`{name}`' for name in names[key])} | {' | '.join(cells)} |")
    return "\n".join(lines)
