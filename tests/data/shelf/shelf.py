"""Storage 'shelf': one file in the native format, written anew at each change. Fit for some thousand documents."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from docarray import tagged
from docarray.errors import ClosedStore, DuplicateDocument
from docarray.registry import resolve
from docarray.store import About, Store, configured, missing_ids
from docarray.table import Table


@dataclass(frozen=True)
class ShelfConfig:
    path: str


class ShelfStore(Store):
    about = About(place="a file", survives="kill -9")

    @classmethod
    def open(cls, config=None):
        return cls(configured(ShelfConfig, config, "shelf").path)

    def __init__(self, path):
        self.config = ShelfConfig(str(path))
        self._path = Path(path)
        self._format = resolve("format", "binary")
        self._closed = False
        facts, _, rows = (
            self._path.read_bytes().partition(b"\n") if self._path.exists() else (b"{}", b"", b"")
        )
        self._facts = tagged.loads(facts.decode("utf-8", "surrogatepass"))
        self._take(self._format.loads(memoryview(rows)) if rows else Table({}, 0, []))

    def ids(self):
        return list(self._opened())

    def read(self, ids, columns=None):
        with self.turn:  # one thread at a time
            missing_ids(ids, self._opened())
            table = self._table.take(np.array([self._places[key] for key in ids], np.intp))
            return table if columns is None else table.select(columns)

    def write(self, table, before=None):
        with self.turn:
            rows, ids = self._opened(), table.ids
            if len(set(ids)) < len(ids):
                raise DuplicateDocument(f"an id stands twice in {sorted(ids)}. Nothing was written")
            missing_ids([] if before is None else [before], rows)
            rows = {key: self._table.slice(at, at + 1) for key, at in rows.items()}
            place = len(rows) if before is None else self._places[before]
            order = list(rows)
            order[place:place] = [key for key in ids if key not in rows]
            for at, key in enumerate(ids):
                given = table.slice(at, at + 1)
                rows[key] = rows[key].with_columns(given.columns) if key in rows else given
            self._keep([rows[key] for key in order], self._facts)

    def delete(self, ids):
        with self.turn:
            missing_ids(ids, self._opened())
            gone = set(ids)
            rows = [at for key, at in self._places.items() if key not in gone]
            self._keep([self._table.take(np.array(rows, np.intp))], self._facts)

    def meta(self, update=None):
        with self.turn:
            self._opened()
            if update:
                facts = {**self._facts, **update}
                self._keep([self._table], {name: fact for name, fact in facts.items() if fact is not None})
            return dict(self._facts)

    def close(self):
        self._closed = True

    def _opened(self):
        if self._closed:
            raise ClosedStore(f"the store in {self._path} was closed")
        return self._places

    def _keep(self, rows, facts):
        """All or nothing: the file that was, or this one. Then what it says is what we hold."""
        table = Table.concat(rows) if rows else Table({}, 0, [])
        data = self._format.dumps(table)
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_bytes(tagged.dumps(facts).encode("utf-8", "surrogatepass") + b"\n" + data)
        os.replace(fresh, self._path)
        self._facts = dict(facts)
        self._take(self._format.loads(memoryview(data)))

    def _take(self, table):
        self._table = table
        self._places = {key: at for at, key in enumerate(table.ids)}
