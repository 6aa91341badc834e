"""Arrays in a SQL database: SQLite, PostgreSQL, MySQL and MariaDB.

Rule 1: each statement is built by SQLAlchemy once, and then runs as text on the connection of the driver: no value is
        ever part of it.
Rule 2: what is kept in memory (pages, forms, the last stamp) is true at the moment when the database said that nobody
        else wrote, and is read again when somebody did, or when something was taken back.
Rule 3: each change of rows has a stamp, one more than the last; a transaction that is taken back leaves a gap where
        somebody saw one of its stamps, so that a stamp never means two things.
Rule 4: whoever writes has the turn from the start, so that counting and writing are one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sqlite3
import threading
import uuid
import warnings
import zlib
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, ClassVar, Final, Self, cast

import numpy as np

from docarray import query
from docarray.columns import Column, TextColumn
from docarray.errors import (
    BadValue,
    ClosedStore,
    CorruptData,
    DuplicateDocument,
    FieldTypeError,
    LengthError,
    MissingDocument,
    OutOfRange,
    UnknownOption,
    UnsupportedFormat,
    near_miss,
)
from docarray.registry import require
from docarray.schema import FIELDS, field_named
from docarray.storage.cells import (
    TensorForm,
    cells_of,
    decode,
    encode,
    read_id,
    read_ids,
    stored_id,
    stored_ids,
)
from docarray.storage.config import SqlConfig, SqliteConfig
from docarray.storage.connection import Clash, Connection, ServerConnection, SqliteConnection
from docarray.storage.filters import plan
from docarray.storage.layout import FORMAT_VERSION, Layout, declared_kind, layout_of
from docarray.storage.pages import OPEN, STEP, Pages, keys_between
from docarray.storage.words import Words
from docarray.store import BATCH, About, Changes, Found, Store, configured, missing_ids
from docarray.table import Table
from docarray.values import TableValues

require("sqlalchemy", "storage in a SQL database", '"docarray[sql]"')

import sqlalchemy as sa  # noqa: E402
from sqlalchemy.dialects import mysql, postgresql  # noqa: E402
from sqlalchemy.dialects import sqlite as sqlite_dialect  # noqa: E402
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable  # noqa: E402

__all__ = ["SqlConfig", "SqlStore", "SqliteConfig", "SqliteStore"]

_FIELDS: Final = tuple(name for name in FIELDS if name != "id")
_CHUNK: Final = 1024  # ids of one statement
_KEPT: Final = 65_536  # deletions that are remembered
_EDGE: Final = 1 << 62
_LONGEST_NAME: Final = 48  # PostgreSQL cuts names off at 63 bytes, and ours get tails
_ROOM: Final = 1 << 16  # between keys that were given anew


class SqlStore(Store):
    """Rows in a SQL database, reached by a URL.

    A call is a transaction, and `with store.transaction():` makes several one. Others see what was committed; who
    writes waits for who is writing. A row put in or taken out anywhere costs the same in a thousand rows as in a
    million.

    The last 65 536 deletions at least are remembered: `changes` of marks from before them is None.
    """

    about: ClassVar[About] = About(
        place="a server",
        install='"docarray[postgres]" or "docarray[mysql]"',
        survives="kill -9",
        shared="many machines; writers wait",
        filters="in SQL",
        text="BM25 in tsvector (PostgreSQL)",
    )

    layout: Layout

    def __init__(
        self,
        connection: Connection,
        config: SqlConfig | SqliteConfig,
        table_name: str,
        root: SqlStore | None = None,
    ) -> None:
        self._link = connection
        self._settings = config
        self._root = root
        self._besides: dict[str, SqlStore] = {}
        self._is_closed = False
        self._config: Any = None
        self._config_told = False
        self._table_name = table_name
        if isinstance(connection, ServerConnection) and root is None:
            connection.turn = table_name
        # What is true as long as nobody else writes (rule 2).
        self._seen: Any = None
        self._serial = self._undone = -1
        self._foreign = 0
        self._pages = Pages()
        self._stamp = self._moved = self._keys = self._gone_from = 0
        self._end = 0
        self._gone = 0
        self._latest: tuple[int, int] | None = None
        self._asked = -1
        self._page: tuple[int, list[str]] | None = None  # the start of one page, and its ids
        self._told: int | None = None
        self._void: list[tuple[int, int]] = []
        self._forms: dict[int, TensorForm] = {}
        self._numbers: dict[TensorForm, int] = {}
        self._texts: dict[Any, Any] = layout_of(table_name).texts.setdefault(connection.dialect.name, {})
        self._text_index: Words | None = None
        try:
            self.layout = self._open_tables(dict(config.columns))
        except BaseException:
            if root is None:
                connection.close()
            raise
        self._declared = list(self.layout.declared.values())
        self._texts = self.layout.texts.setdefault(connection.dialect.name, {})
        try:
            words = _searched(config)
            if words:
                self._index_of_words().prepare(words)
        except BaseException:
            if root is None:
                connection.close()
            raise

    has_columns: ClassVar[bool] = True

    @classmethod
    def open(cls, config: Any = None) -> Self:
        """The store that a config means: a `SqlConfig`, or a dict with its names.

        Raises:
            UnknownOption, BadValue: the config is none. StoreError: the database cannot be reached.
            UnsupportedFormat: there is another table of this name, or one of a later version.
        """
        known = cast("SqlConfig", configured(SqlConfig, config, cls.__name__))
        url = sa.make_url(known.url) if isinstance(known.url, str) and "://" in known.url else known.url
        if isinstance(url, sa.URL) and url.get_backend_name() == "sqlite":
            lite = SqliteConfig(
                url.database or ":memory:",
                known.table_name,
                columns=known.columns,
                list_like=known.list_like,
                root_id=known.root_id,
                timeout=known.timeout,
                text_index=known.text_index,
                index_text=known.index_text,
                tag_indices=known.tag_indices,
            )
            return cast("Self", SqliteStore.open(lite))
        connection = ServerConnection(known.url, timeout=known.timeout, options=known.engine)
        return cls(connection, known, _table_named(known.table_name))

    # ------------------------------------------------------------------------------------------ statements

    @property
    def connection(self) -> Connection:
        """The connection, with its dialect.

        Raises:
            ClosedStore: the store was closed.
        """
        if self._is_closed:
            raise ClosedStore(
                f"the store {self._table_name!r} in {self._link.place} was closed; open it anew"
            )
        return self._link

    @property
    def turn(self) -> threading.RLock:
        return self._link.turn_lock

    @property
    def _sql(self) -> Connection:
        return self._link if not self._is_closed else self.connection

    def _text(self, key: Any, make: Callable[[], Any]) -> str:
        """The text of a statement, made once."""
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = self._link.text(make())[0]
        return text

    def _insert_text(self, table: sa.Table, names: Iterable[str]) -> tuple[str, list[str]]:
        """An insert, and the names of its parameters in their order."""
        key = "insert", table.name, tuple(names)
        known = self._texts.get(key)
        if known is None:
            order = [column.name for column in table.columns if column.name in key[2]]
            made = sa.insert(table).values({name: sa.bindparam(name) for name in order})
            known = self._texts[key] = self._link.text(made)[0], order
        return known

    def _upsert_text(self, table: sa.Table, names: tuple[str, str]) -> str:
        """A row of two columns, put or changed."""
        return self._text(("upsert", table.name), lambda: self._upsert(table, names))

    def _upsert(self, table: sa.Table, names: tuple[str, str]) -> Any:
        key, value = names
        values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
        if self._link.dialect.name == "postgresql":
            made = postgresql.insert(table).values(values)
            return made.on_conflict_do_update(index_elements=[key], set_={value: made.excluded[value]})
        if self._link.dialect.name == "sqlite":
            lite = sqlite_dialect.insert(table).values(values)
            return lite.on_conflict_do_update(index_elements=[key], set_={value: lite.excluded[value]})
        other = mysql.insert(table).values(values)
        return other.on_duplicate_key_update({value: other.inserted[value]})

    def _picked(
        self, kind: Any, make: Callable[[Any], Any], keys: list[str]
    ) -> Iterator[tuple[str, list[Any]]]:
        """Statements over rows with these ids, as text and values; `make` takes the test of a row."""
        column = self.layout.rows.c.id
        if self._link.dialect.name == "postgresql":
            for start in range(0, len(keys), 16 * _CHUNK):
                listed = sa.bindparam("keys", type_=postgresql.ARRAY(sa.Text()))
                yield (
                    self._text((kind, "any"), lambda listed=listed: make(column == sa.any_(listed))),
                    [keys[start : start + 16 * _CHUNK]],
                )
            return
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            size = 1 << (len(part) - 1).bit_length()
            part += [part[-1]] * (size - len(part))
            yield self._text((kind, size), lambda size=size: make(_is_one_of(column, size))), part

    def _rows_of(self, kind: Any, make: Callable[[Any], Any], keys: list[str]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for text, values in self._picked(kind, make, keys):
            rows += self._sql.rows(text, values)
        return rows

    # ------------------------------------------------------------------------------------------ opening

    def _open_tables(self, columns: dict[str, Any]) -> Layout:
        link, name = self._link, self._table_name
        for key, kind in columns.items():
            declared_kind(key, kind)
        plain = layout_of(name)
        with link.reading():
            known = self._facts_of(plain) if link.has_table(plain.facts.name) else None
            if known is None and link.has_table(name):
                raise self._foreign_table(link, name)
        if known is not None:
            stored = self._checked(known)
            fresh = {key: declared_kind(key, kind) for key, kind in columns.items()}
            if all(stored.get(key) == kind for key, kind in fresh.items()):
                return layout_of(name, stored)
        return self._make_tables(plain, columns)

    def _make_tables(self, plain: Layout, columns: dict[str, Any]) -> Layout:
        """Makes the tables, or adds declared columns to those that are there."""
        link, name = self._link, self._table_name
        fresh: dict[str, Any] = {key: declared_kind(key, kind) for key, kind in columns.items()}
        with link.writing():
            known = self._facts_of(plain) if link.has_table(plain.facts.name) else None
            if known is None:
                layout = layout_of(name, fresh)
                for table in layout.tables:
                    self._create(CreateTable(table))
                    for index in sorted(table.indexes, key=lambda index: str(index.name)):
                        self._create(CreateIndex(index))
                self._put_facts(layout, {".format": str(FORMAT_VERSION).encode(), ".columns": _json(fresh)})
                return layout
            stored: dict[str, Any] = dict(self._checked(known))
            for key, kind in fresh.items():
                if stored.setdefault(key, kind) != kind:
                    raise BadValue(
                        f"the array {name!r} in {link.place} declares column {key!r} as {stored[key]!r}; "
                        f"it was opened with {kind!r}. Leave it out, or write the array to another table"
                    )
            layout = layout_of(name, stored)
            have = set(cast("Any", link).columns_of(name))
            added = [one for one in layout.declared.values() if one.column.name not in have]
            for one in added:
                kind = one.column.type.compile(dialect=link.dialect)
                quote = link.dialect.identifier_preparer.quote
                link.run(f"ALTER TABLE {quote(name)} ADD COLUMN {quote(one.column.name)} {kind}")
            self._put_facts(layout, {".columns": _json(stored)})
            self.layout, self._declared = layout, list(layout.declared.values())
            self._fill(added)
            for index in layout.rows.indexes:
                if any(one.column.name in index.columns for one in added):
                    self._create(CreateIndex(index))
            return layout

    def _fill(self, added: Sequence[Any]) -> None:
        """Writes the cells of new declared columns."""
        for table in self.scan(sorted({str(one.path[0]) for one in added})) if added else ():
            self._change(table, {})

    def _create(self, statement: Any) -> None:
        self._link.run(str(statement.compile(dialect=self._link.dialect)))

    def _facts_of(self, layout: Layout) -> dict[str, bytes]:
        facts = layout.facts
        text = self._text("facts", lambda: sa.select(facts.c.name, facts.c.value))
        told = self._link.rows(text)
        return {name: said.encode() if isinstance(said, str) else bytes(said) for name, said in told}

    def _put_facts(self, layout: Layout, facts: Mapping[str, bytes]) -> None:
        text = self._upsert_text(layout.facts, ("name", "value"))
        for item in facts.items():
            self._link.run(text, item)

    def _decoded(self, *args: Any) -> Table:
        try:
            return decode(*args)
        except (CorruptData, TypeError, UnicodeDecodeError) as error:
            raise CorruptData(f"{error} (in {self._link.place}, array {self._table_name!r})") from error

    def _ids_of(self, stored: list[Any]) -> list[str]:
        try:
            return read_ids(stored)
        except CorruptData as error:
            raise CorruptData(f"{error} (in {self._link.place}, array {self._table_name!r})") from None

    @contextlib.contextmanager
    def _placed(self) -> Generator[None]:
        """Damage that is found inside says in which file."""
        place = self._link.place
        try:
            yield
        except (CorruptData, TypeError, UnicodeDecodeError) as error:
            if isinstance(error, CorruptData) and place in str(error):
                raise
            raise CorruptData(f"{error} (in {place}, array {self._table_name!r})") from error

    def _checked(self, facts: Mapping[str, bytes]) -> dict[str, str]:
        """The declared columns that the facts tell of, if this version can read the tables."""
        with self._placed():
            version = _number(facts, ".format", -1)
        if version == -1:
            raise CorruptData(
                f"the facts of the array {self._table_name!r} in {self._link.place} are damaged"
            )
        if version > FORMAT_VERSION:
            raise UnsupportedFormat(
                f"the array {self._table_name!r} in {self._link.place} is of format {version}, which a later "
                f"version of docarray wrote; this one reads up to {FORMAT_VERSION}: pip install -U docarray"
            )
        with self._placed():
            return _from_json(facts.get(".columns", b"{}"))

    @staticmethod
    def _foreign_table(link: Connection, name: str) -> UnsupportedFormat:
        columns = cast("Any", link).columns_of(name)
        if "serialized_value" in columns:
            return UnsupportedFormat(
                f"the table {name!r} in {link.place} was written by docarray 0.x. docarray.loaders.from_old_sqlite("
                f"path, {name!r}) reads it: give what it gives to an array on another file, or of another "
                "table_name. The table was left as it is"
            )
        return UnsupportedFormat(
            f"the table {name!r} in {link.place} is no array: it has the columns {', '.join(columns)[:200]}. "
            "Choose another table_name"
        )

    # ------------------------------------------------------------------------------------------ what is known

    def _epoch(self) -> Any:
        """What differs when somebody else may have written."""
        link = self._link
        if isinstance(link, SqliteConnection):
            return link.data_version(), link.own_changes()
        return self._last_stamp()

    def _last_stamp(self) -> int:
        rows, gone, facts = self.layout.rows.c, self.layout.gone.c, self.layout.facts.c
        text = self._text(
            "stamp",
            lambda: sa.select(
                sa.select(sa.func.max(rows.number)).scalar_subquery(),
                sa.select(sa.func.max(rows.stamp)).scalar_subquery(),
                sa.select(sa.func.max(gone.number)).scalar_subquery(),
                sa.select(facts.value).where(facts.name == sa.literal_column("'.stamp'")).scalar_subquery(),
            ),
        )
        put, changed, deleted, least = self._link.rows(text)[0]
        return max(put or 0, changed or 0, deleted or 0, int(bytes(least or b"0")))

    def _fresh(self) -> None:
        """Makes what is known true."""
        link = self._sql
        if link.depth and self._serial == link.serial and self._undone == link.undone:
            return
        epoch = self._epoch()
        if epoch != self._seen or self._undone != link.undone:
            if self._undone == link.undone and self._seen is not None:
                self._foreign += 1
            if link.depth:
                self._load()
            else:
                with link.reading():
                    epoch = self._epoch()
                    self._load()
            self._seen, self._undone = epoch, link.undone
        self._serial = link.serial if link.depth else -1

    def _load(self) -> None:
        layout, link = self.layout, self._link
        facts = self._facts_of(layout)
        pages, rows, gone = layout.pages.c, layout.rows.c, layout.gone.c
        text = self._text("pages", lambda: sa.select(pages.start, pages.count).order_by(pages.start))
        held = link.rows(text)
        if held:
            last, count = held[-1]
            if count != OPEN or any(pair[1] < 1 for pair in held[:-1]):
                raise CorruptData(f"the pages of the array {self._table_name!r} in {link.place} are damaged")
            low = last if len(held) > 1 else -_LOWEST
            text = self._text(
                "tail", lambda: sa.select(sa.func.count()).where(rows.ord >= sa.bindparam("low"))
            )
            held[-1] = last, link.rows(text, (low,))[0][0]
        self._pages = Pages(held)
        self._stamp = self._last_stamp()
        with self._placed():
            self._moved, self._keys = _number(facts, ".moved"), _number(facts, ".keys")
            self._gone_from = _number(facts, ".gone_from")
        text = self._text(
            "ends",
            lambda: sa.select(
                sa.select(sa.func.max(rows.ord)).scalar_subquery(),
                sa.select(sa.func.max(gone.number)).scalar_subquery(),
                sa.select(sa.func.min(gone.number)).scalar_subquery(),
            ),
        )
        end, latest, first = link.rows(text)[0]
        self._end = end or 0
        self._gone = 0 if latest is None else latest - first + 1
        self._latest = self._page = None
        self._forms.clear()
        self._numbers.clear()

    def _form_of(self, number: int) -> TensorForm:
        form = self._forms.get(number)
        if form is None:
            self._read_forms()
            form = self._forms.get(number)
            if form is None:
                raise CorruptData(f"a tensor of {self._table_name!r} is of form {number}, which there is not")
        return form

    def _read_forms(self) -> None:
        forms = self.layout.forms.c
        text = self._text("forms", lambda: sa.select(forms.number, forms.form))
        with self._placed():
            for number, said in self._sql.rows(text):
                form = self._forms[number] = TensorForm.from_json(said)
                self._numbers[form] = number

    def _intern(self, form: TensorForm) -> int | None:
        number = self._numbers.get(form)
        if number is None:
            self._read_forms()
            number = self._numbers.get(form)
        if number is None:
            number = len(self._forms) + 1
            if number > 4096:  # arrays of all sizes, such as images: each says its own
                return None
            text = self._insert_text(self.layout.forms, ("number", "form"))[0]
            self._link.run(text, (number, form.to_json()))
            self._forms[number], self._numbers[form] = form, number
        return number

    # ------------------------------------------------------------------------------------------ reading

    def ids(self) -> list[str]:
        """See Store.ids. Costs one pass over an index."""
        rows = self.layout.rows.c
        text = self._text("ids", lambda: sa.select(rows.id).order_by(rows.ord))
        link = self._sql
        with link.lock:
            return self._ids_of([row[0] for row in link.rows(text)])

    def read(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> Table:
        """See Store.read."""
        fields = _FIELDS if columns is None else _fields(columns)
        link = self._sql
        count = len(ids)
        if not count:
            return Table({}, 0, [])
        with link.lock:
            text = self._texts.get(fields)
            if text is None:
                column = self.layout.rows.c.id
                self._texts[fields] = text = self._link.text(
                    self._select(fields).where(column == sa.bindparam("key"))
                )[0]
            if count == 1:
                found = link.rows(text, (stored_id(ids[0]),))
                if not found:
                    missing_ids(ids, ())
            else:
                keys = stored_ids(ids)
                asked = list(dict.fromkeys(keys))
                found = self._rows_of(("read", fields), lambda test: self._select(fields).where(test), asked)
                if len(found) < len(asked):
                    missing_ids(ids, set(self._ids_of([row[0] for row in found])))
                if len(asked) < count or [row[0] for row in found] != keys:
                    by_key = {row[0]: row for row in found}
                    found = [by_key[key] for key in keys]
            return self._decoded(list(ids), fields, found, 1, self._form_of)

    def _select(self, fields: Sequence[str], *more: str) -> Any:
        """Ids, `exact` and the cells of fields, with other columns in between."""
        rows = self.layout.rows.c
        return sa.select(rows.id, *(rows[name] for name in (*more, "exact", *cells_of(fields))))

    def __len__(self) -> int:
        link = self._sql
        with link.lock:
            self._fresh()
            return self._pages.total

    def known(self, ids: Sequence[str]) -> set[str]:
        """See Store.known."""
        if not len(ids):
            return set()
        column = self.layout.rows.c.id
        link = self._sql
        with link.lock:
            found = self._rows_of("known", lambda test: sa.select(column).where(test), stored_ids(ids))
        return {read_id(row[0]) for row in found}

    def at(self, positions: Sequence[int]) -> list[str]:
        """See Store.at."""
        link = self._sql
        if len(positions) == 1:
            with link.lock:
                found = self._one_at(positions[0])
                if found is not None:
                    return [found]
        with link.reading():
            self._fresh()
            pages = self._pages
            for position in positions:
                if not 0 <= position < pages.total:
                    raise OutOfRange(f"position {position} is out of range for a store of {pages.total}")
            if len(positions) == 1:
                page, offset = pages.find(positions[0])
                # Asked for one row after the other, it reads them together; for one here and one there, it does not.
                again, self._asked = self._asked == pages.starts[page], pages.starts[page]
                if not again:
                    return [read_id(self._ids_within(page, offset, 1)[0])]
                ids = self._ids_of(self._ids_within(page, 0, pages.counts[page]))
                self._page = pages.starts[page], ids
                return [ids[offset]]
            ids_at: dict[int, str] = {}
            wanted = sorted(set(positions))
            start = 0
            while start < len(wanted):
                page, offset = pages.find(wanted[start])
                first = wanted[start] - offset
                stop = start
                while stop < len(wanted) and wanted[stop] < first + pages.counts[page]:
                    stop += 1
                run = wanted[start:stop]
                ids = self._ids_within(page, offset, run[-1] - run[0] + 1)
                ids_at.update((position, ids[position - run[0]]) for position in run)
                start = stop
        return self._ids_of([ids_at[position] for position in positions])

    def _one_at(self, position: int) -> str | None:
        """The id at a position without a transaction; None where it has to be looked for in one."""
        link = self._link
        if link.depth or self._page is not None:
            self._fresh()
            if self._page is not None:
                found = self._on_page(position)
                if found is not None:
                    return found
        pages = self._pages
        if not isinstance(link, SqliteConnection) or not 0 <= position < pages.total:
            return None
        page, offset = pages.find(position)
        start = pages.starts[page]
        if self._asked == start:  # asked for one row after the other: `at` reads the page
            return None
        rows = link.rows(self._within(), (-_LOWEST if not page else start, 1, offset))
        # One statement reads one moment: that of the pages, if nobody wrote until after it. After a fork the
        # connection is another, and what was known is `undone`.
        if not rows or self._undone != self._link.undone or (not link.depth and self._epoch() != self._seen):
            return None
        self._asked = start
        return self._ids_of([rows[0][0]])[0]

    def _on_page(self, position: int) -> str | None:
        """The id at a position, if it is on the page that is kept."""
        assert self._page is not None
        start, ids = self._page
        pages = self._pages
        if not 0 <= position < pages.total:
            return None
        page, offset = pages.find(position)
        return ids[offset] if pages.starts[page] == start else None

    def _ids_within(self, page: int, offset: int, count: int) -> list[str]:
        """Stored ids of one page."""
        low = self._pages.bounds(page)[0]
        found = self._link.rows(self._within(), (-_LOWEST if low is None else low, count, offset))
        if len(found) < count:
            raise CorruptData(
                f"the pages of the array {self._table_name!r} in {self._link.place} do not count its rows"
            )
        return [row[0] for row in found]

    def _within(self) -> str:
        rows = self.layout.rows.c
        return self._text(
            "within",
            lambda: (
                sa.select(rows.id)
                .where(rows.ord >= sa.bindparam("low"))
                .order_by(rows.ord)
                .limit(sa.bindparam("limit"))
                .offset(sa.bindparam("offset"))
            ),
        )

    def position(self, key: str) -> int:
        """See Store.position."""
        link = self._sql
        with link.reading():
            self._fresh()
            at = self._key_of(key)
            if at is None:
                raise MissingDocument(f"no document has the id {key!r} in this array of {self._pages.total}")
            page = self._pages.page_of(at)
            low = self._pages.bounds(page)[0]
            rows = self.layout.rows.c
            text = self._text(
                "count",
                lambda: sa.select(sa.func.count()).where(
                    rows.ord >= sa.bindparam("low"), rows.ord < sa.bindparam("high")
                ),
            )
            within = link.rows(text, (-_LOWEST if low is None else low, at))[0][0]
            return self._pages.before(page) + within

    def _key_of(self, key: str) -> int | None:
        rows = self.layout.rows.c
        text = self._text("ord", lambda: sa.select(rows.ord).where(rows.id == sa.bindparam("key")))
        found = self._link.rows(text, (stored_id(key),))
        return found[0][0] if found else None

    def scan(self, columns: Sequence[str] | None = None, batch: int = BATCH) -> Iterator[Table]:
        """See Store.scan."""
        fields = _FIELDS if columns is None else _fields(columns)
        rows = self.layout.rows.c
        text = self._text(
            ("scan", fields),
            lambda: (
                self._select(fields, "number", "ord")
                .where(rows.ord > sa.bindparam("after"), rows.number <= sa.bindparam("last"))
                .order_by(rows.ord)
                .limit(sa.bindparam("limit"))
                .offset(sa.literal_column("0"))
            ),
        )
        given, skipped = array("q"), set[int]()
        after, last, keys = -_LOWEST, 0, None
        while True:
            link = self._sql
            with link.reading():
                self._fresh()
                if (
                    keys is not None and keys != self._keys
                ):  # rows stand elsewhere: from the start, but none twice
                    after, skipped = -_LOWEST, set(given)
                if keys is None:
                    last = self._stamp  # what comes from now on is not given
                keys = self._keys
                found = link.rows(text, (after, last, batch))
                if not found:
                    return
                after = found[-1][2]
                if skipped:
                    found = [row for row in found if row[1] not in skipped]
                given.extend([row[1] for row in found])
                if not found:
                    continue
                table = self._decoded(
                    self._ids_of([row[0] for row in found]), fields, found, 3, self._form_of
                )
            yield table

    def column(self, name: str) -> Column | None:
        """See Store.column. Costs one pass that reads this column only."""
        if name == "id":
            return TextColumn(self.ids())
        fields, rows = _fields([name]), self.layout.rows.c
        text = self._text(
            ("column", name),
            lambda: sa.select(*(rows[cell] for cell in ("exact", *cells_of(fields)))).order_by(rows.ord),
        )
        link = self._sql
        with link.lock:
            found = link.rows(text)
            if not found:
                return None
            return self._decoded([""] * len(found), fields, found, 0, self._form_of).columns.get(name)

    # ------------------------------------------------------------------------------------------ finding

    def where(self, node: query.Node, limit: int | None = None) -> list[str]:
        """See Store.where. What SQL can say is asked there; the rows between are looked at in Python."""
        rows, link = self.layout.rows.c, self._sql
        made = plan(node, self.layout.rows, link.dialect.name, self.layout.declared)
        sure = rows.exact.is_(None) if made.exact else made.sure
        asked = sa.select(rows.ord, rows.id, sure).where(made.maybe)
        found: list[str] = []
        with link.reading():
            if limit is None or any(path in self.layout.declared for path in query.paths_in(node)):
                # Sorted here: asked to sort, a database may walk all rows in order and leave an index alone.
                return self._kept(node, made.columns, sorted(link.query(asked), key=itemgetter(0)), limit)
            after, batch = -_LOWEST, max(limit, 64)
            while len(found) < limit:
                part = link.query(asked.where(rows.ord > after).order_by(rows.ord).limit(batch))
                found += self._kept(node, made.columns, part, limit - len(found))
                if len(part) < batch:
                    break
                after, batch = part[-1][0], min(batch * 4, BATCH)
        return found[:limit]

    def _kept(
        self, node: query.Node, columns: Sequence[str], rows: list[tuple[Any, ...]], limit: int | None
    ) -> list[str]:
        """The ids of those rows that a filter keeps: rows are order, id, and whether SQL is sure."""
        ids = self._ids_of([row[1] for row in rows])
        if all(map(itemgetter(2), rows)):
            return ids if limit is None else ids[:limit]
        found: list[str] = []
        for start in range(0, len(ids), BATCH):
            part, told = ids[start : start + BATCH], rows[start : start + BATCH]
            open_ids = [key for key, row in zip(part, told, strict=True) if not row[2]]
            table = self.read(open_ids, columns)
            kept = query.mask(node, len(table), TableValues(table)).tolist()
            out = {key for key, keep in zip(open_ids, kept, strict=True) if not keep}
            found += [key for key in part if key not in out]
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    def search(
        self, texts: Sequence[str], k: int | None, field: str = "text", *, where: query.Node | None = None
    ) -> list[Found]:
        """See Store.search. The index of words is in the database, and follows the rows when it is asked."""
        with self._sql.lock:
            return self._index_of_words().search(texts, k, field, where)

    def _index_of_words(self) -> Words:
        if self._text_index is None:
            self._text_index = Words(self)
        return self._text_index

    # ------------------------------------------------------------------------------------------ writing

    def write(self, table: Table, before: str | None = None) -> None:
        """See Store.write."""
        ids = _distinct(table)
        with self._sql.writing():
            self._fresh()
            known = self._exact_of(ids)
            old = [row for row, key in enumerate(ids) if key in known] if known else []
            if not old:
                self._add(table, ids, before)
            elif len(old) == len(ids):
                if before is not None:
                    self._place_of(before)
                self._change(table, known)
            else:
                fresh = table.take(
                    np.array([row for row, key in enumerate(ids) if key not in known], np.intp)
                )
                self._change(table.take(np.array(old, np.intp)), known)
                self._add(fresh, fresh.ids, before)
            self._write_pages()
        self._wrote()

    def add(self, table: Table, before: str | None = None) -> None:
        """See Store.add."""
        ids = _distinct(table)
        link = self._sql
        try:
            with link.writing():
                self._fresh()
                self._add(table, ids, before)
                self._write_pages()
        except Clash:
            known = self.known(ids)
            first = next((key for key in ids if key in known), None)
            if first is None:  # it was no id that clashed, but what the store counts by
                raise CorruptData(
                    f"the array {self._table_name!r} in {link.place} is damaged: its numbers or its order are not "
                    "what they say of themselves. Nothing was written"
                ) from None
            raise DuplicateDocument(
                f"this store has a document {first!r} already ({len(known)} of {len(table)} are known); "
                "da[id] = doc replaces one, da.upsert(docs) many. Nothing was written"
            ) from None
        self._wrote()

    def update(self, table: Table) -> None:
        """See Store.update."""
        ids = _distinct(table)
        with self._sql.writing():
            self._fresh()
            known = self._exact_of(ids)
            if len(known) < len(ids):
                missing_ids(ids, known)
            self._change(table, known)
        self._wrote()

    def _wrote(self) -> None:
        """Notes that what is known is true after a change of our own."""
        link = self._link
        if isinstance(link, ServerConnection):
            self._seen = self._stamp
        elif not link.is_own:
            self._seen = self._epoch()

    def _write_pages(self) -> None:
        self._page, self._asked = None, -1
        removed, changed = self._pages.flush()
        if removed:
            pages = self.layout.pages
            text = self._text(
                "page gone", lambda: sa.delete(pages).where(pages.c.start == sa.bindparam("at"))
            )
            self._link.many(text, [(start,) for start in removed])
        if changed:
            self._link.many(self._upsert_text(self.layout.pages, ("start", "count")), changed)

    def _exact_of(self, ids: list[str]) -> dict[str, bytes | None]:
        """The ids that are there, with their `exact`."""
        rows = self.layout.rows.c
        if len(ids) == 1:
            text = self._text(
                "one exact", lambda: sa.select(rows.exact).where(rows.id == sa.bindparam("key"))
            )
            found = self._link.rows(text, (stored_id(ids[0]),))
            return {ids[0]: found[0][0]} if found else {}
        found = (
            self._rows_of("exact", lambda test: sa.select(rows.id, rows.exact).where(test), stored_ids(ids))
            if ids
            else []
        )
        return {read_id(row[0]): row[1] for row in found}

    def _place_of(self, before: str) -> int:
        key = self._key_of(before)
        if key is None:
            raise MissingDocument(f"there is no document {before!r} to write before. Nothing was written")
        return key

    def _add(self, table: Table, ids: list[str], before: str | None) -> None:
        """Puts rows that are new."""
        count = len(ids)
        if not count:
            if before is not None:
                self._place_of(before)
            return
        keys = self._keys_for(count, before)
        link, stored, first = self._link, stored_ids(ids), self._stamp + 1
        for start in range(0, count, BATCH):
            stop = min(start + BATCH, count)
            part = table if count <= BATCH else table.slice(start, stop)
            encoded = encode(part, ids[start:stop], self._declared, self._intern)
            cells = encoded.cells
            cells["number"], cells["id"] = range(first + start, first + stop), stored[start:stop]
            cells["ord"] = keys[start:stop]
            if encoded.odd:
                cells["exact"] = [
                    encoded.exact(row) if row in encoded.odd else None for row in range(stop - start)
                ]
            text, names = self._insert_text(self.layout.rows, cells)
            if stop - start == 1:
                link.run(text, [cells[name][0] for name in names])
            else:
                link.many(text, zip(*[cells[name] for name in names], strict=True))
        self._stamp = first + count - 1
        if before is None:
            self._pages.append(keys)
            self._end = keys[-1]
        else:
            self._pages.put(keys, self._keys_within)
            self._moved = self._stamp
            self._put_facts(self.layout, {".moved": b"%d" % self._moved})
        self._latest = keys[0], keys[-1]

    def _keys_for(self, count: int, before: str | None) -> list[int]:
        """Keys for so many rows before a row, or at the end."""
        if before is None:
            if self._end > _EDGE - STEP * count:
                self._spread(0, len(self._pages.starts), None)
            first = self._end + STEP if self._pages.total else 0
            return list(range(first, first + STEP * count, STEP))
        above = self._place_of(before)
        below = self._below(above)
        if below is None and above < -_EDGE + STEP * count:
            self._spread(0, len(self._pages.starts), None)
            above = self._place_of(before)
        last = self._latest
        keys = keys_between(
            below,
            above,
            count,
            near_below=last is not None and last[1] == below,
            near_above=last is not None and last[0] == above,
        )
        if keys is None:
            self._make_room(above, count)
            above = self._place_of(before)
            keys = keys_between(self._below(above), above, count)
            assert keys is not None
        return keys

    def _below(self, key: int) -> int | None:
        """The key of the row before."""
        rows = self.layout.rows.c
        text = self._text(
            "below", lambda: sa.select(sa.func.max(rows.ord)).where(rows.ord < sa.bindparam("key"))
        )
        return self._link.rows(text, (key,))[0][0]

    def _keys_within(self, low: int | None, high: int | None) -> list[int]:
        return [row[1] for row in self._numbers_within(low, high)]

    def _numbers_within(self, low: int | None, high: int | None) -> list[tuple[Any, ...]]:
        """The numbers and keys of rows from one key to below another, in order."""
        rows = self.layout.rows.c
        text = self._text(
            "keys",
            lambda: (
                sa.select(rows.number, rows.ord)
                .where(rows.ord >= sa.bindparam("low"), rows.ord < sa.bindparam("high"))
                .order_by(rows.ord)
            ),
        )
        return self._link.rows(text, (-_LOWEST if low is None else low, _LOWEST if high is None else high))

    def _make_room(self, key: int, count: int) -> None:
        """Gives the rows around a key other keys, as many as need be for each to have room."""
        pages = self._pages
        page, width = pages.page_of(key), 1
        while True:
            first, last = max(0, page - width), min(len(pages.starts), page + width + 1)
            low, high = pages.bounds(first)[0], pages.bounds(last - 1)[1]
            held = sum(pages.counts[first:last])
            if low is None or high is None:
                self._spread(first, last, None if low is None and high is None else (low, high))
                return
            if (high - low) // (held + count + 1) >= _ROOM:
                self._spread(first, last, (low, high))
                return
            width *= 2

    def _spread(self, first: int, last: int, within: tuple[int | None, int | None] | None) -> None:
        """Gives the rows of some pages other keys, in the same order: all of them from 0 on, or within bounds."""
        pages = self._pages
        if within is None:
            first, last, within = 0, len(pages.starts), (None, None)
        low, high = within
        held = self._numbers_within(
            *(pages.bounds(first)[0], pages.bounds(last - 1)[1]) if last else (None, None)
        )
        count = len(held)
        if low is not None and high is not None:
            step = (high - low) // (count + 1)
            fresh = [low + step * (i + 1) for i in range(count)]
        elif high is not None:
            fresh = [high - STEP * (count - i) for i in range(count)]
        else:
            start = 0 if low is None else low
            fresh = [start + STEP * i for i in range(count)]
        rows = self.layout.rows
        text = self._text(
            "move",
            lambda: (
                sa.update(rows).values(ord=sa.bindparam("fresh")).where(rows.c.number == sa.bindparam("at"))
            ),
        )
        self._link.many(text, [(key, row[0]) for key, row in zip(fresh, held, strict=True)])
        is_last = last == len(pages.starts)
        pages.rebuild(first, last, fresh)
        if is_last and fresh:
            self._end = fresh[-1]
        self._latest = None
        self._keys += 1
        self._put_facts(self.layout, {".keys": b"%d" % self._keys})

    def _change(self, table: Table, known: Mapping[str, bytes | None]) -> None:
        """Changes the columns given of rows that are there; `known` has the `exact` of each."""
        if not table.columns or not len(table):
            return
        stamp, link = self._stamp + 1, self._link
        for start in range(0, len(table), BATCH):
            part = table if len(table) <= BATCH else table.slice(start, min(start + BATCH, len(table)))
            ids, count = part.ids, len(part)
            encoded = encode(part, ids, self._declared, self._intern)
            cells = encoded.cells
            if encoded.odd or any(map(known.get, ids)):
                cells["exact"] = [
                    encoded.exact(row, known.get(key)) if row in encoded.odd or known.get(key) else None
                    for row, key in enumerate(ids)
                ]
            cells["stamp"] = [stamp] * count
            names = tuple(cells)
            text = self._text(("update", names), lambda names=names: self._update(names))
            if count == 1:
                link.run(text, [*(cells[name][0] for name in names), stored_id(ids[0])])
            else:
                link.many(text, zip(*[cells[name] for name in names], stored_ids(ids), strict=True))
        self._stamp = stamp

    def _update(self, names: tuple[str, ...]) -> Any:
        rows = self.layout.rows
        values: list[Any] = [(rows.c[name], sa.bindparam(f"new_{name}")) for name in names]
        return sa.update(rows).ordered_values(*values).where(rows.c.id == sa.bindparam("key"))

    def delete(self, ids: Sequence[str]) -> None:
        """See Store.delete."""
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return
        keys, rows = stored_ids(wanted), self.layout.rows
        with self._sql.writing():
            self._fresh()
            found = self._rows_of("ords", lambda test: sa.select(rows.c.id, rows.c.ord).where(test), keys)
            if len(found) < len(keys):
                missing_ids(wanted, {read_id(row[0]) for row in found})
            for text, values in self._picked("delete", lambda test: sa.delete(rows).where(test), keys):
                self._link.run(text, values)
            self._pages.take([row[1] for row in found])
            self._write_pages()
            self._remember(keys)
        self._wrote()

    def _remember(self, keys: list[str]) -> None:
        """Notes deletions, and forgets old ones."""
        gone, first = self.layout.gone, self._stamp + 1
        self._stamp += len(keys)
        if len(keys) > _KEPT:
            self._forget()
            return
        text = self._insert_text(gone, ("number", "id"))[0]
        if len(keys) == 1:
            self._link.run(text, (first, keys[0]))
        else:
            self._link.many(text, enumerate(keys, first))
        self._gone += len(keys)
        if self._gone > 2 * _KEPT:
            number = gone.c.number
            text = self._text(
                "oldest",
                lambda: (
                    sa.select(number)
                    .order_by(number.desc())
                    .limit(sa.literal_column("1"))
                    .offset(sa.bindparam("kept"))
                ),
            )
            oldest = self._link.rows(text, (_KEPT,))
            self._gone = _KEPT
            if oldest:
                self._gone_from = oldest[0][0]
                text = self._text("prune", lambda: sa.delete(gone).where(number <= sa.bindparam("last")))
                self._link.run(text, (self._gone_from,))
                self._put_facts(self.layout, {".gone_from": b"%d" % self._gone_from})

    def _forget(self) -> None:
        """Forgets all deletions: marks from before now tell nothing any more."""
        self._link.run(self._text("forget", lambda: sa.delete(self.layout.gone)))
        self._gone, self._gone_from = 0, self._stamp
        said = b"%d" % self._stamp
        self._put_facts(self.layout, {".gone_from": said, ".stamp": said})

    def clear(self) -> None:
        """See Store.clear."""
        with self._sql.writing():
            self._fresh()
            count, rows, gone = self._pages.total, self.layout.rows, self.layout.gone
            if self._gone + count <= 2 * _KEPT:
                text = self._text(
                    "all gone",
                    lambda: sa.insert(gone).from_select(
                        ["number", "id"],
                        sa.select(
                            sa.bindparam("stamp", type_=sa.BigInteger())
                            + sa.func.row_number().over(order_by=rows.c.ord),
                            rows.c.id,
                        ),
                    ),
                )
                self._link.run(text, (self._stamp,))
                self._stamp += count
                self._gone += count
            else:
                self._stamp += 1
                self._forget()
            self._link.run(self._text("clear", lambda: sa.delete(rows)))
            self._pages.clear()
            self._end, self._latest = 0, None
            self._write_pages()
        self._wrote()

    def reorder(self, ids: Sequence[str]) -> None:
        """See Store.reorder."""
        rows, count = self.layout.rows, len(ids)
        with self._sql.writing():
            self._fresh()
            if count != self._pages.total or set(ids) != set(self.ids()):
                raise LengthError("reorder takes every id of the store, each once. Nothing was written")
            if not count:
                return
            # Away from the keys that there are, so that nobody reads two rows under one.
            least = self._link.query(sa.select(sa.func.min(rows.c.ord)))[0][0]
            start = self._end + STEP if self._end < _EDGE // 2 - STEP * count else least - STEP * count
            fresh = [start + STEP * i for i in range(count)]
            text = self._text(
                "place",
                lambda: (
                    sa.update(rows).values(ord=sa.bindparam("fresh")).where(rows.c.id == sa.bindparam("key"))
                ),
            )
            self._link.many(text, zip(fresh, stored_ids(ids), strict=True))
            self._pages.rebuild(0, len(self._pages.starts), fresh)
            self._write_pages()
            self._stamp += 1
            self._moved, self._keys = self._stamp, self._keys + 1
            self._end, self._latest = fresh[-1], None
            said = b"%d" % self._stamp
            self._put_facts(self.layout, {".stamp": said, ".moved": said, ".keys": b"%d" % self._keys})
        self._wrote()

    def meta(self, update: Mapping[str, bytes | None] | None = None) -> dict[str, bytes]:
        """See Store.meta."""
        link, facts = self._sql, self.layout.facts
        if update:
            with link.writing():
                kept = {"=" + stored_id(name): bytes(v) for name, v in update.items() if v is not None}
                self._put_facts(self.layout, kept)
                text = self._text(
                    "no fact", lambda: sa.delete(facts).where(facts.c.name == sa.bindparam("key"))
                )
                for name, value in update.items():
                    if value is None:
                        link.run(text, ("=" + stored_id(name),))
                return self.meta()
        with link.lock:
            told = self._facts_of(self.layout)
        return {read_id(name[1:]): value for name, value in told.items() if name.startswith("=")}

    # ------------------------------------------------------------------------------------------ changes

    def mark(self) -> int:
        """See Store.mark."""
        with self._sql.lock:
            self._fresh()
            self._told = self._stamp
            return self._stamp

    def changes(self, since: int) -> Changes | None:
        """See Store.changes. What was deleted may have been written after the mark as well."""
        link, rows, gone = self._sql, self.layout.rows.c, self.layout.gone.c
        with link.reading():
            self._fresh()
            if since < self._gone_from or since > self._stamp:
                return None
            if any(low < since <= high for low, high in self._void):
                return None
            self._told = self._stamp
            text = self._text(
                "deleted",
                lambda: sa.select(gone.id).where(gone.number > sa.bindparam("since")).order_by(gone.number),
            )
            deleted = self._ids_of([row[0] for row in link.rows(text, (since,))])
            places: dict[int, str] = {}
            for column in (rows.number, rows.stamp):
                text = self._text(
                    ("since", column.name),
                    lambda column=column: sa.select(rows.ord, rows.id).where(column > sa.bindparam("since")),
                )
                places.update(cast("Any", link.rows(text, (since,))))
            written = self._ids_of([places[key] for key in sorted(places)])
            return Changes(self._stamp, list(dict.fromkeys(deleted)), written, self._moved > since)

    def version(self) -> int:
        """See Store.version."""
        link = self._sql
        with link.lock:
            if isinstance(link, SqliteConnection):
                return link.data_version() + (id(link.raw) << 32)
            self._fresh()
            return self._foreign

    @contextmanager
    def transaction(self) -> Generator[None]:
        """See Store.transaction. Others wait with writing until it ends."""
        link = self._sql
        link.enter(True)
        keep = False
        try:
            try:
                yield
                keep = True
            finally:
                link.leave(True, keep)
        except BaseException:
            for store in self._family():
                store._undo()
            raise

    def _family(self) -> list[SqlStore]:
        root = self._root or self
        return [root, *root._besides.values()]

    def _undo(self) -> None:
        """After something was taken back: a mark that somebody has from in there must not come true again."""
        told = self._told
        if told is None or self._is_closed:
            return
        with self._sql.writing():
            self._fresh()
            if told > self._stamp:
                self._void.append((self._stamp, told))
                self._stamp = told + 1
                self._put_facts(self.layout, {".stamp": b"%d" % self._stamp})
        self._wrote()

    # ------------------------------------------------------------------------------------------ as a whole

    def beside(self, name: str, config: Any = None) -> SqlStore:
        """See Store.beside."""
        root, settings, link = self._root or self, self._settings, self._sql
        table = f"{self._table_name}__{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"
        if len(table) > _LONGEST_NAME:
            table = f"docarray_{uuid.uuid5(uuid.NAMESPACE_OID, table).hex}"
        given = dict(cast("Mapping[str, Any]", config or {}))
        fields = {field.name for field in dataclasses.fields(settings)}
        for key in given:
            if key not in fields:
                raise UnknownOption(f"a sub-index has no setting {key!r}. {near_miss(key, fields)}")
        with link.lock:
            known = root._besides.get(table)
            if known is not None and not known._is_closed:
                return known
            store = root._beside(table, given)
            names = _listed(self._facts_of(root.layout))
            if table not in names:
                with link.writing():
                    self._put_facts(root.layout, {".besides": json.dumps([*names, table]).encode()})
            return store

    def _beside(self, table: str, given: Mapping[str, Any]) -> SqlStore:
        own: dict[str, Any] = {"columns": {}, "text_index": (), "index_text": False, "tag_indices": ()}
        settings = dataclasses.replace(self._settings, **{**own, **given, "table_name": table})
        store = self._besides[table] = type(self)(self._sql, settings, table, self)
        return store

    @property
    def config(self) -> Any:
        """See Store.config."""
        if not self._config_told:  # asked for with each position
            self._config, self._config_told = self._config_of(), True
        return self._config

    @config.setter
    def config(self, value: Any) -> None:
        raise BadValue("the config of a store says how it was opened")

    def _config_of(self) -> Any:
        link = self._link
        if isinstance(link, SqliteConnection):
            if link.path is None:
                return None
            return dataclasses.replace(
                cast("SqliteConfig", self._settings), connection=link.path, table_name=self._table_name
            )
        return dataclasses.replace(cast("SqlConfig", self._settings), table_name=self._table_name)

    def drop(self) -> None:
        """See Store.drop. Stores beside it go with it."""
        link = self._sql
        with link.writing():
            if self._root is None:
                for table in _listed(self._facts_of(self.layout)):
                    if link.has_table(table):
                        (self._besides.get(table) or self._beside(table, {})).drop()
            self._index_of_words().drop()
            for table in self.layout.tables:
                self._create(DropTable(table))
        self.close()

    def close(self) -> None:
        """See Store.close."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._root is None:
            for store in self._besides.values():
                store._is_closed = True
            self._link.close()


_LOWEST: Final = (1 << 63) - 1


class SqliteStore(SqlStore):
    """Rows in SQLite: a file that several processes may open, or memory.

    >>> from docarray.columns import column_of
    >>> store = SqliteStore.open({'connection': ':memory:'})
    >>> store.write(Table({'text': column_of('text', ['a', 'b'])}, ids=['1', '2']))
    >>> store.ids(), store.read(['2']).columns['text'].values()
    (['1', '2'], ['b'])
    >>> store.close()
    """

    about: ClassVar[About] = About(
        place="a file",
        install='"docarray[sql]"',
        survives="kill -9",
        shared="processes of one machine; writers wait",
        filters="in SQL",
        text="BM25 in FTS5",
    )

    @classmethod
    def open(cls, config: Any = None) -> Self:
        """The store that a config means: a `SqliteConfig`, or a dict with its names; None for a file of its own.

        Raises:
            UnknownOption, BadValue: the config is none. StoreError: the file cannot be opened.
            StoreLocked: others wrote for too long. CorruptData: the file is damaged, or no database.
            UnsupportedFormat: there is another table of this name, or one of a later version.
        """
        if isinstance(config, (str, os.PathLike, sqlite3.Connection)):
            raise FieldTypeError(
                f"the config of storage 'sqlite' is a SqliteConfig or a dict: {{'connection': {config!r:.60}}}"
            )
        known = cast("SqliteConfig", configured(SqliteConfig, config, "sqlite"))
        connection = SqliteConnection(
            known.connection,
            journal_mode=known.journal_mode,
            synchronous=known.synchronous,
            timeout=known.timeout,
            options=known.conn_config,
        )
        return cls(connection, known, _table_named(known.table_name))


def _fields(columns: Sequence[str] | None) -> tuple[str, ...]:
    if columns is None:
        return _FIELDS
    return tuple(dict.fromkeys(field_named(name).name for name in columns if name != "id"))


def _searched(config: SqlConfig | SqliteConfig) -> list[str]:
    """The paths whose index of words a config asks for."""
    asked = _names("text_index", config.text_index)
    if config.index_text:
        asked.append("text")
    asked += [f"tags__{key}" for key in _names("tag_indices", config.tag_indices)]
    return list(dict.fromkeys(asked))


def _names(setting: str, given: object) -> list[str]:
    if not isinstance(given, str) and isinstance(given, Sequence):
        names = list(cast("Sequence[Any]", given))
        if all(isinstance(name, str) for name in names):
            return names
    raise FieldTypeError(f"{setting} is a list of names such as ['title']; got {given!r:.60}")


def _distinct(table: Table) -> list[str]:
    ids = table.ids
    if len(ids) > 1 and len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(key for key in ids if key in seen or seen.add(key))
        raise DuplicateDocument(f"the id {twice!r} stands twice in what is written. Nothing was written")
    return ids


def _is_one_of(column: Any, count: int) -> Any:
    if count == 1:
        return column == sa.bindparam("key")
    return column.in_([sa.bindparam(f"key_{i}") for i in range(count)])


def _number(facts: Mapping[str, bytes], name: str, default: int = 0) -> int:
    said = facts.get(name)
    try:
        return default if said is None else int(said)
    except ValueError:
        raise CorruptData(f"the fact {name!r} of a store is damaged: {said!r:.40}") from None


def _table_named(name: str | None) -> str:
    """The name of a table, of letters, digits and underscores.

    Raises:
        BadValue: nothing is left of it, or it is too long.
    """
    if name is None:
        return "docs"
    if not isinstance(cast("object", name), str):
        raise FieldTypeError(f"table_name is text; got a {type(name).__name__}")
    clean = re.sub(r"\W", "", name)
    if clean != name:
        warnings.warn(f"the table name {name!r} is used as {clean!r}", UserWarning, stacklevel=4)
    if not clean:
        raise BadValue(f"the table name {name!r} has no letters")
    if len(clean.encode()) > _LONGEST_NAME:
        raise BadValue(f"the table name {clean!r} has more than {_LONGEST_NAME} bytes")
    return clean


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value)).encode()


def _from_json(said: bytes) -> dict[str, str]:
    try:
        return dict(json.loads(said))
    except ValueError:
        raise CorruptData(f"the declared columns of a store are damaged: {said!r:.60}") from None


def _listed(facts: Mapping[str, bytes]) -> list[str]:
    """The tables of the stores beside this one."""
    return json.loads(facts.get(".besides", b"[]"))
