"""SubIndex: the documents along a path in a store of their own, so that they can be searched by themselves.

Rule 1: a row is a copy of a nested document. Its id is that of its root and a number, since two roots may hold
        documents of one id; its own id and the root's stand in its private data. By the root's, a tag, its rows are
        found again: where the storage has typed columns, that tag is one.
Rule 2: it follows the rows it is of, within their transaction: by `follow`, whatever was written.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from docarray import query, traverse
from docarray.columns import column_of
from docarray.paths import parse_traversal
from docarray.rows import Slots
from docarray.store import Store
from docarray.table import Table

__all__ = ["ROOT", "SubIndex", "beside"]

ROOT: Final = "_root_id_"
"""The tag of a found document that says which root it is in."""
_OF: Final = "_docarray_of_"


def beside(store: Store, path: str, config: Any) -> Store:
    """The store for the documents along a path, in the same place as that of their roots."""
    name = f"subindex{path}"
    if not store.has_columns or not (config is None or isinstance(config, Mapping)):
        return store.beside(name, config or None)
    settings = dict(cast("Mapping[str, Any]", config or {}))
    settings["columns"] = {**(settings.get("columns") or {}), ROOT: "str"}
    return store.beside(name, settings)


class SubIndex:
    """What is searched for a path.

    Args:
        path: such as '@c' or '@.[image]'.
        store: where its rows are; it takes part in the transactions of the store of the roots.
        root_id: whether found documents carry the tag `_root_id_`.
    """

    __slots__ = ("path", "root_id", "store")
    path: str
    root_id: bool
    store: Store

    def __init__(self, path: str, store: Store, root_id: bool = True) -> None:
        parse_traversal(path.removeprefix("@"))
        self.path = path
        self.store = store
        self.root_id = root_id

    def follow(self, gone: Sequence[str], fresh: Table | None) -> None:
        """Takes out what was in the roots of these ids and in those of a table, and puts in what is in the table."""
        out = list(dict.fromkeys([*gone, *([] if fresh is None else fresh.ids)]))
        for start in range(0, len(out), 500):
            node = query.parse({("tags", ROOT): {"$in": out[start : start + 500]}})
            known = self.store.where(node)
            if known:
                self.store.delete(known)
        if fresh is not None:
            table = self._rows_of(fresh)
            if table is not None:
                self.store.write(table)

    def _rows_of(self, roots: Table) -> Table | None:
        slots = Slots.of_table(roots)
        parts: list[Table] = []
        ids: list[str] = []
        private: list[dict[str, Any]] = []
        for row, root in enumerate(roots.ids):
            found = traverse.walk(slots.select(slice(row, row + 1)), self.path.removeprefix("@"))
            if not len(found):
                continue
            table = found.table()
            parts.append(table)
            held = table.columns.get("_metadata")
            own = [None] * len(table) if held is None else held.values()
            for number, (key, value) in enumerate(zip(table.ids, own, strict=True)):
                ids.append(f"{root}\x1f{number}")
                private.append({**(value or {}), _OF: [root, key]})
        if not parts:
            return None
        joined = Table.concat(parts)
        tags = joined.columns.get("tags")
        columns = {name: column for name, column in joined.columns.items() if name != "_metadata"}
        columns["_metadata"] = column_of("json", private)
        own_tags = [None] * len(joined) if tags is None else tags.values()
        columns["tags"] = column_of(
            "json", [{**(t or {}), ROOT: p[_OF][0]} for t, p in zip(own_tags, private, strict=True)]
        )
        return Table(columns, len(joined), ids)

    def read(self, ids: Sequence[str]) -> tuple[Table, list[str]]:
        """Rows under their own ids, and the ids of their roots."""
        table = self.store.read(ids)
        private = table.columns["_metadata"].values()
        of = [value[_OF] for value in private]
        left = [{key: v for key, v in value.items() if key != _OF} or None for value in private]
        columns = dict(table.columns)
        if not self.root_id:
            tags = table.columns["tags"].values()
            columns["tags"] = column_of("json", [{k: v for k, v in t.items() if k != ROOT} for t in tags])
        if any(left):
            columns["_metadata"] = column_of("json", left)
        else:
            del columns["_metadata"]
        return Table(columns, len(table), [key for _, key in of]), [root for root, _ in of]

    def clear(self) -> None:
        """Nothing."""
        self.store.clear()

    def close(self) -> None:
        """Closes its store."""
        self.store.close()
