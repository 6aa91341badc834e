"""PlainStore: the smallest storage there is. The five methods, on a dict; all else is derived.

It is slow and it is right: others are held against it, and it is the example to begin from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from docarray.errors import ClosedStore, DuplicateDocument
from docarray.store import About, Store, missing_ids
from docarray.table import Table

__all__ = ["PlainStore"]


class PlainStore(Store):
    """Rows in a dict, in memory: by id a table of one row.

    >>> from docarray.columns import column_of
    >>> store = PlainStore()
    >>> store.write(Table({'text': column_of('text', ['a', 'b'])}, ids=['1', '2']))
    >>> store.write(Table({}, ids=['0']), before='1')
    >>> store.ids(), store.read(['2', '1']).columns['text'].values()
    (['0', '1', '2'], ['b', 'a'])
    """

    about = About(place="memory")

    def __init__(self) -> None:
        self._rows: dict[str, Table] = {}
        self._facts: dict[str, bytes] = {}
        self._closed = False

    def ids(self) -> list[str]:
        return list(self._opened())

    def read(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> Table:
        with self.turn:
            rows = self._opened()
            missing_ids(ids, rows)
            table = Table.concat([rows[key] for key in ids]) if ids else Table({}, 0, [])
            return table if columns is None else table.select(columns)

    def write(self, table: Table, before: str | None = None) -> None:
        with self.turn:
            rows, ids = self._opened(), table.ids
            if len(set(ids)) < len(ids):
                twice = next(key for at, key in enumerate(ids) if key in ids[:at])
                raise DuplicateDocument(
                    f"the id {twice!r} stands twice in what is written. Nothing was written"
                )
            if before is not None:
                missing_ids([before], rows)
            # All of it is made before any of it is kept: what cannot be stored raises here.
            made = {key: _laid_over(rows.get(key), table.slice(at, at + 1)) for at, key in enumerate(ids)}
            if before is None:
                rows.update(made)
                return
            fresh = {key: row for key, row in made.items() if key not in rows}
            changed: dict[str, Table] = {}
            for key, row in rows.items():
                if key == before:
                    changed.update(fresh)
                changed[key] = made.get(key, row)
            self._rows = changed

    def delete(self, ids: Sequence[str]) -> None:
        with self.turn:
            rows = self._opened()
            missing_ids(ids, rows)
            for key in set(ids):
                del rows[key]

    def meta(self, update: Mapping[str, bytes | None] | None = None) -> dict[str, bytes]:
        with self.turn:
            self._opened()
            for name, fact in (update or {}).items():
                if fact is None:
                    self._facts.pop(name, None)
                else:
                    self._facts[name] = fact
            return dict(self._facts)

    def close(self) -> None:
        self._closed = True

    def _opened(self) -> dict[str, Table]:
        if self._closed:
            raise ClosedStore("this store was closed")
        return self._rows


def _laid_over(known: Table | None, given: Table) -> Table:
    """A row with the columns that were given, and those it had besides; without cells that are unset."""
    columns = given.columns if known is None else {**known.columns, **given.columns}
    held = {
        name: column for name, column in columns.items() if column.present is None or column.present.all()
    }
    return _copied(Table(held, 1, given.id_column))


def _copied(table: Table) -> Table:
    """The same on memory of its own: what is done to the arrays of the caller later is none of the store's."""
    buffers: dict[str, np.ndarray] = {}
    form = table.to_buffers(buffers)
    return Table.from_buffers(form, {name: buffer.tobytes() for name, buffer in buffers.items()})
