"""Storage 'shelf': a folder with one file for each row, and one that says which rows there are, in which order."""

import os
from dataclasses import dataclass
from pathlib import Path

from docarray import tagged
from docarray.errors import ClosedStore, DuplicateDocument
from docarray.registry import resolve
from docarray.store import About, Store, configured, missing_ids
from docarray.table import Table


@dataclass(frozen=True)
class ShelfConfig:
    path: str


class ShelfStore(Store):
    about = About(place="a folder", survives="kill -9")

    @classmethod
    def open(cls, config=None):
        return cls(configured(ShelfConfig, config, "shelf"))

    def __init__(self, config):
        self.config = config  # the array opens the store by it again, after pickling
        self._folder = Path(config.path)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._list = self._folder / "list.json"
        self._format = resolve("format", "binary")
        known = self._list.exists()
        self._files, self._facts, self._next = (
            tagged.loads(self._list.read_text("utf-8", "surrogatepass")) if known else ({}, {}, 0)
        )

    def ids(self):
        return list(self._opened())

    def read(self, ids, columns=None):
        with self.turn:  # one thread at a time
            files = self._opened()
            missing_ids(ids, files)
            tables = [self._row(files[key]) for key in ids]
        table = Table.concat(tables) if tables else Table({}, 0, [])
        return table if columns is None else table.select(columns)

    def write(self, table, before=None):
        with self.turn:
            files, ids, made = self._opened(), table.ids, {}
            if len(set(ids)) < len(ids):
                raise DuplicateDocument(f"an id stands twice among {sorted(ids)[:5]}. Nothing was written")
            missing_ids([] if before is None else [before], files)
            for at, key in enumerate(ids):
                row = table.slice(at, at + 1)
                if key in files:  # the columns that are not given stay
                    row = self._row(files[key]).with_columns(row.columns)
                held = {
                    name: column
                    for name, column in row.columns.items()
                    if column.present is None or column.present.all()
                }
                self._next += 1
                made[key] = f"{self._next}.bin"
                (self._folder / made[key]).write_bytes(self._format.dumps(Table(held, 1, row.id_column)))
            place = len(files) if before is None else list(files).index(before)
            order = list(files)
            order[place:place] = [key for key in ids if key not in files]
            self._keep({key: made.get(key) or files[key] for key in order}, self._facts)

    def delete(self, ids):
        with self.turn:
            files = self._opened()
            missing_ids(ids, files)
            self._keep({key: file for key, file in files.items() if key not in set(ids)}, self._facts)

    def meta(self, update=None):
        with self.turn:
            files, facts = self._opened(), {**self._facts, **(update or {})}
            if update:
                self._keep(files, {name: fact for name, fact in facts.items() if fact is not None})
            return dict(self._facts)

    def close(self):
        self._files = None

    def _opened(self):
        if self._files is None:
            raise ClosedStore(f"the store in {self._folder} was closed")
        return self._files

    def _row(self, file):
        return self._format.loads(memoryview((self._folder / file).read_bytes()))

    def _keep(self, files, facts):
        """All or nothing: the list that was, or this one. Files that no list names any more go last."""
        fresh = self._folder / "list.new"
        fresh.write_text(tagged.dumps((files, facts, self._next)), "utf-8", "surrogatepass")
        os.replace(fresh, self._list)
        gone = set(self._files.values()) - set(files.values())
        self._files, self._facts = files, facts
        for file in gone:
            (self._folder / file).unlink()
