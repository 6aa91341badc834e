"""Words in a SQL database: FTS5 in SQLite, tsvector in PostgreSQL, and the same answers as in memory.

`Words(store).search(texts, k, field, where)` is all that a store calls, and `Words(store).drop()` when it goes.

Rule 1: an index is made at the first search of a field, and caught up by the stamps of the rows at each later one, in
        one transaction with its mark. So writing costs nothing more, and an index that was left behind, by a process
        that died or by one that never searched, is behind and not wrong.
Rule 2: words are cut by `docarray.bm25.terms`, scores are made by `docarray.bm25.weighed`. The database keeps words as
        codes that none of its own rules about language touches, and says which text has a word how often.
Rule 3: a text is known by the number of its row, and by its id until the row is gone: a number may be given again.
Rule 4: no word and no value is ever part of a statement.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from docarray import query
from docarray.bm25 import best, summed, terms, weighed
from docarray.errors import BadValue, StoreError, StoreLocked
from docarray.paths import FieldPath, dunder, parse_dunder
from docarray.storage.cells import read_ids, stored_ids
from docarray.store import BATCH, Found, Store
from docarray.values import TableValues

if TYPE_CHECKING:
    from docarray.storage.connection import Connection
    from docarray.storage.sql import SqlStore
    from docarray.table import Table

__all__ = ["Words", "coded"]

_VERSION: Final = 1
"""Of what is kept, and of what a word is: an index of another version is made anew."""
_LONGEST: Final = 64
"""Letters of a word that is kept as it is."""
_TOGETHER: Final = 500
"""Values in one statement; SQLite took 999 for long."""
_MANY: Final = 1000
"""Equal scores that are worth knowing the order of all rows for."""
_CACHED: Final = 1 << 20
"""Postings that are kept in memory while nothing changes."""

_Numbers: TypeAlias = npt.NDArray[np.int64]
_Postings: TypeAlias = tuple[_Numbers, _Numbers, _Numbers]
"""Numbers of rows, how often each has the word, how many words each has."""


def coded(word: str) -> str:
    """A word as a database keeps it: letters, digits and accents stay, anything else, and what is very long, is hashed.

    So no tokenizer cuts or folds it, and no query language sees a sign of its own in it. Two words have never one code.

    >>> coded('über'), coded("don't"), coded('x' * 70)[:5]
    ('über', 'don’t', '¤8b74')
    """
    if len(word) <= _LONGEST:
        if word.isalnum():
            return word
        if word.replace("'", "").isalnum():
            return word.replace("'", "’")  # which `terms` leaves in no word
    return "¤" + blake2b(word.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class _State(NamedTuple):
    """The index of one field: its number, up to where it is caught up, and what it holds."""

    number: int
    mark: int
    texts: int
    total: int


class _Entry(NamedTuple):
    """A text: the number of its row, its id, and its words as codes."""

    number: int
    id: str
    codes: list[str]

    @property
    def digest(self) -> int:
        """64 bits that tell whether the words changed."""
        hashed = blake2b(" ".join(self.codes).encode(), digest_size=8)
        return int.from_bytes(hashed.digest(), "little", signed=True)


class Words:
    """The words of the fields of a SQL store."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._name = store.layout.name
        self._cache: OrderedDict[tuple[int, str], _Postings] = OrderedDict()
        self._cached = 0  # how many postings these are
        self._order: tuple[_Numbers, _Numbers] | None = None  # all numbers of rows, rising, and their places
        self._moment = (-1, -1)  # all of which is true of this one

    # -------------------------------------------------------------------------------------------- finding

    def search(
        self, texts: Sequence[str], k: int | None, field: str = "text", where: query.Node | None = None
    ) -> list[Found]:
        """For each text the ids whose words fit best, and their scores: what `Store.search` says, to the last bit.

        The first search of a field reads it all and makes its index; a later one, of this process or of another, reads
        what changed since. Where nothing can be written (a file that is only read, a database that somebody else keeps
        locked), and in a database without an index of words, the texts are read and searched in memory.

        Raises:
            BadValue: k is below 0. BadPath: `field` is no path.
        """
        if k is not None and k < 0:
            raise BadValue(f"k={k}: how many to find is 0 or more, or None for all")
        store, path = self._store, parse_dunder(field)
        if not self._has_words:
            return Store.search(store, texts, k, field, where=where)
        asked, connection = [Counter(terms(text)) for text in texts], store.connection
        with connection.reading():
            state = self._state(connection, path)
            if state is not None and state.mark == store.mark():
                return self._found(connection, state, asked, k, where)
        try:
            with store.transaction():
                state = self._caught_up(connection, path)
                return self._found(connection, state, asked, k, where)
        except StoreError as error:
            if not _is_refused(error):
                raise
        return Store.search(store, texts, k, field, where=where)

    def prepare(self, fields: Iterable[str]) -> None:
        """Makes the indexes of these fields now, or catches them up, and not at their first search.

        Where nothing can be written they stay as they are, and `search` does without.

        Raises:
            BadPath: one is no path.
        """
        store = self._store
        paths = [parse_dunder(field) for field in fields]
        if not self._has_words:
            return
        for path in paths:
            connection = store.connection
            with connection.reading():
                state = self._state(connection, path)
                if state is not None and state.mark == store.mark():
                    continue
            try:
                with store.transaction():
                    self._caught_up(connection, path)
            except StoreError as error:
                if not _is_refused(error):
                    raise

    def drop(self) -> None:
        """Takes all indexes away."""
        connection = self._store.connection
        self._moment = (-1, -1)  # the next index has a number of one that was
        with self._store.transaction():
            if self._has_words and self._there(connection):
                every = f"SELECT number FROM {self._quoted(connection, '')}"
                for (number,) in _rows(connection, every):
                    self._backend(connection, number).drop()
                _run(connection, f"DROP TABLE {self._quoted(connection, '')}")

    def _found(
        self,
        connection: Connection,
        state: _State,
        asked: Sequence[Mapping[str, int]],
        k: int | None,
        where: query.Node | None,
    ) -> list[Found]:
        backend = self._backend(connection, state.number)
        now = (state.mark, connection.undone)  # what was taken back may have had the same mark
        if self._moment != now:
            self._cache.clear()
            self._moment, self._cached, self._order = now, 0, None
        kept = None if where is None else self._store.where(where)
        mine: _Numbers | None = None
        answers: list[Found] = []
        for counted in asked:
            rows: list[Any] = []
            parts: list[Any] = []
            for word, times in counted.items():
                numbers, counts, lengths = self._postings(backend, state, coded(word))
                if len(numbers):
                    mean = state.total / state.texts
                    rows.append(numbers)
                    parts.append(weighed(times, len(numbers), state.texts, mean, counts, lengths))
            numbers, scores = summed(rows, parts)
            if kept is not None and len(numbers):
                if mine is None:
                    mine = backend.numbers_of(stored_ids(kept))
                stay = np.isin(numbers, mine)
                numbers, scores = numbers[stay], scores[stay]
            places = best(scores, self._ranks(connection, numbers, scores, k), k)
            answers.append((backend.ids_of(numbers[places].tolist()), scores[places].tolist()))
        return answers

    def _ranks(self, connection: Connection, numbers: _Numbers, scores: Any, k: int | None) -> _Numbers:
        """What the order of equal scores goes by; only of those that may be chosen, and have an equal, it is asked."""
        chosen = np.arange(len(scores))
        if k is not None and k < len(scores):
            least = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
            chosen = np.flatnonzero(scores >= least)
        ranks = np.zeros(len(scores), np.int64)
        _, group, sizes = np.unique(scores[chosen], return_inverse=True, return_counts=True)
        tied = chosen[sizes[group] > 1]
        if len(tied):
            order = self._order
            if order is None and len(tied) > _MANY:
                order = self._order = _places(self._in_order(connection))
            elif order is None:
                among, values = _among(connection, numbers[tied].tolist())
                order = _places(self._in_order(connection, f"WHERE number IN {among}", values))
            ranks[tied] = order[1][np.searchsorted(order[0], numbers[tied])]
        return ranks

    def _postings(self, backend: _Backend, state: _State, code: str) -> _Postings:
        """The rows that have a word, kept in memory until something changes."""
        cache = self._cache
        found = cache.get((state.number, code))
        if found is None:
            found = backend.postings(code)
            cache[state.number, code] = found
            self._cached += len(found[0]) + 1
            while self._cached > _CACHED:
                self._cached -= len(cache.popitem(last=False)[1][0]) + 1
        else:
            cache.move_to_end((state.number, code))
        return found

    # -------------------------------------------------------------------------------------------- catching up

    def _caught_up(self, connection: Connection, path: FieldPath) -> _State:
        """The index of a field, made if there is none, with all that happened until now in it."""
        store, states = self._store, self._quoted(connection, "")
        state = self._state(connection, path, lock=True)
        now = store.mark()
        if state is not None and state.mark == now:
            return state
        changes = None if state is None or state.mark < 0 else store.changes(state.mark)
        if state is None:
            state = self._new(connection, path)
        backend = self._backend(connection, state.number)
        texts, total = state.texts, state.total
        if changes is None:
            texts = total = 0
            backend.begin()
            for table in store.scan([str(path[0])]):
                more, words = self._put(connection, backend, table, path, anew=True)
                texts, total = texts + more, total + words
            backend.end()
        else:
            now = changes.mark
            for part in _parts(stored_ids(changes.deleted)):
                less, words = backend.remove(list(backend.entries(part)))
                texts, total = texts - less, total - words
            for part in _parts(changes.written, BATCH):
                known = store.known(part)
                table = store.read([key for key in part if key in known], [str(path[0])])
                more, words = self._put(connection, backend, table, path)
                texts, total = texts + more, total + words
        _run(
            connection,
            f"UPDATE {states} SET mark = ?, texts = ?, total = ?, version = {_VERSION} WHERE number = ?",
            (now, texts, total, state.number),
        )
        return _State(state.number, now, texts, total)

    def _put(
        self, connection: Connection, backend: _Backend, table: Table, path: FieldPath, *, anew: bool = False
    ) -> tuple[int, int]:
        """Puts the texts of these rows in the place of those that were there; how many more there are, and words."""
        values = TableValues(table)(path, None)
        found = cast("list[object]", values if isinstance(values, list) else values.to_list())
        ids = stored_ids(table.ids)
        numbers = self._numbers(connection, ids)
        before: dict[str, _Kept] = {}
        if not anew:
            before = {entry.id: entry for part in _parts(ids) for entry in backend.entries(part)}
        out: list[_Kept] = []
        entries: list[_Entry] = []
        for key, value in zip(ids, found, strict=True):
            words = [coded(word) for word in terms(value)] if isinstance(value, str) else []
            entry, old = _Entry(numbers[key], key, words), before.get(key)
            if old is not None:
                if words and (old.number, old.digest) == (entry.number, entry.digest):
                    continue  # another field changed
                out.append(old)
            if words:
                entries.append(entry)
        texts, total = backend.remove(out)
        backend.put(entries)
        return len(entries) - texts, sum(len(entry.codes) for entry in entries) - total

    # -------------------------------------------------------------------------------------------- tables

    @property
    def _has_words(self) -> bool:
        return self._store.connection.dialect.name in ("sqlite", "postgresql")

    def _quoted(self, connection: Connection, rest: str) -> str:
        return str(connection.dialect.identifier_preparer.quote(f"{self._name}__words{rest}"))

    def _there(self, connection: Connection) -> bool:
        return bool(connection.has_table(f"{self._name}__words"))

    def _state(self, connection: Connection, path: FieldPath, lock: bool = False) -> _State | None:
        if not self._there(connection):
            return None
        locked = " FOR UPDATE" if lock and connection.dialect.name == "postgresql" else ""
        rows = _rows(
            connection,
            f"SELECT number, mark, texts, total, version FROM {self._quoted(connection, '')} WHERE field = ?{locked}",
            (dunder(path),),
        )
        if not rows:
            return None
        number, mark, texts, total, version = rows[0]
        return _State(number, mark if version == _VERSION else -1, texts, total)

    def _new(self, connection: Connection, path: FieldPath) -> _State:
        """An empty index of a field."""
        states = self._quoted(connection, "")
        _run(
            connection,
            f"CREATE TABLE IF NOT EXISTS {states} (number INTEGER PRIMARY KEY, field TEXT NOT NULL UNIQUE, "
            "mark BIGINT NOT NULL, texts BIGINT NOT NULL, total BIGINT NOT NULL, version INTEGER NOT NULL)",
        )
        ((number,),) = _rows(connection, f"SELECT COALESCE(MAX(number), 0) + 1 FROM {states}")
        _run(
            connection,
            f"INSERT INTO {states} (number, field, mark, texts, total, version) VALUES (?, ?, -1, 0, 0, {_VERSION})",
            (number, dunder(path)),
        )
        return _State(number, -1, 0, 0)

    def _backend(self, connection: Connection, number: int) -> _Backend:
        kind = _Fts5 if connection.dialect.name == "sqlite" else _Tsvector
        return kind(connection, lambda rest: self._quoted(connection, f"_{number}{rest}"))

    def _numbers(self, connection: Connection, ids: Sequence[str]) -> dict[str, int]:
        """The numbers of the rows of these ids, as SQL has them."""
        rows = connection.dialect.identifier_preparer.quote(self._name)
        return {
            key: number
            for part in _parts(ids)
            for key, number in _rows(
                connection, f"SELECT id, number FROM {rows} WHERE id IN {_marks(part)}", part
            )
        }

    def _in_order(self, connection: Connection, which: str = "", values: Sequence[Any] = ()) -> _Numbers:
        """The numbers of rows in array order."""
        rows = connection.dialect.identifier_preparer.quote(self._name)
        return _whole_numbers(
            _rows(connection, f"SELECT number FROM {rows} {which} ORDER BY ord, id", values), 1
        ).reshape(-1)


class _Kept(NamedTuple):
    """A text as it stands in an index."""

    number: int
    id: str
    length: int
    digest: int


class _Backend(ABC):
    """The tables of one index: of the texts, here, and of their words, as the database is best at it."""

    def __init__(self, connection: Connection, quoted: Callable[[str], str]) -> None:
        self._connection = connection
        self._quoted = quoted
        self._texts = quoted("_rows")
        self._words = quoted("")

    def begin(self) -> None:
        """Empty tables, to be filled."""
        self.drop()
        _run(
            self._connection,
            f"CREATE TABLE {self._texts} (number {self._key} PRIMARY KEY, id {self._id} NOT NULL UNIQUE, "
            "length INTEGER NOT NULL, digest BIGINT NOT NULL)",
        )

    def end(self) -> None:  # noqa: B027
        """They are filled; what is quicker to make at once than row by row is made now."""

    def drop(self) -> None:
        """Takes the tables away, if there are any."""
        for name in (*self._others, self._words, self._texts):
            _run(self._connection, f"DROP TABLE IF EXISTS {name}")

    def entries(self, ids: Sequence[str]) -> Iterable[_Kept]:
        """What is there of these ids."""
        asked = f"SELECT number, id, length, digest FROM {self._texts} WHERE id IN {_marks(ids)}"
        return (_Kept(*row) for row in _rows(self._connection, asked, ids)) if ids else ()

    def remove(self, entries: Sequence[_Kept]) -> tuple[int, int]:
        """Takes texts out; how many, and how many words they had."""
        if entries:
            numbers = [(entry.number,) for entry in entries]
            _many(self._connection, f"DELETE FROM {self._words} WHERE {self._row} = ?", numbers)
            _many(self._connection, f"DELETE FROM {self._texts} WHERE number = ?", numbers)
        return len(entries), sum(entry.length for entry in entries)

    @abstractmethod
    def put(self, entries: Sequence[_Entry]) -> None:
        """Texts that are not there."""

    def numbers_of(self, ids: Sequence[str]) -> _Numbers:
        found = [
            number
            for part in _parts(ids)
            for (number,) in _rows(
                self._connection, f"SELECT number FROM {self._texts} WHERE id IN {_marks(part)}", part
            )
        ]
        return np.array(found, np.int64)

    def ids_of(self, numbers: Sequence[int]) -> list[str]:
        these = _among(self._connection, numbers)
        asked = f"SELECT number, id FROM {self._texts} WHERE number IN {these[0]}"
        ids = dict(_rows(self._connection, asked, these[1])) if numbers else {}
        return read_ids([ids[number] for number in numbers])

    _key: ClassVar[str]
    _id: ClassVar[str]
    _row: ClassVar[str]

    @property
    def _others(self) -> tuple[str, ...]:
        return ()

    @abstractmethod
    def postings(self, code: str) -> _Postings:
        """The texts that have a word, by rising number."""


class _Fts5(_Backend):
    """SQLite: an FTS5 table whose tokenizer cuts at spaces, and knows no other alphabet than ASCII to fold."""

    _key = "INTEGER"
    _id = "TEXT"
    _row = "rowid"

    @property
    def _others(self) -> tuple[str, ...]:
        return (self._quoted("_each"),)

    def begin(self) -> None:
        super().begin()
        connection, words = self._connection, self._words
        _run(
            connection, f"CREATE VIRTUAL TABLE {words} USING fts5(words, tokenize = 'ascii', columnsize = 0)"
        )
        _run(connection, f"CREATE VIRTUAL TABLE {self._quoted('_each')} USING fts5vocab({words}, instance)")

    def put(self, entries: Sequence[_Entry]) -> None:
        _many(
            self._connection,
            f"INSERT INTO {self._texts} (number, id, length, digest) VALUES (?, ?, ?, ?)",
            [(entry.number, entry.id, len(entry.codes), entry.digest) for entry in entries],
        )
        pairs = [(entry.number, " ".join(entry.codes)) for entry in entries]
        _many(self._connection, f"INSERT INTO {self._words} (rowid, words) VALUES (?, ?)", pairs)

    def postings(self, code: str) -> _Postings:
        # A word stands there once for each time that a text has it. One long text of numbers is read far sooner than
        # as many rows.
        asked = (
            f"SELECT group_concat(t.number), group_concat(t.length) FROM {self._quoted('_each')} AS e "
            f"CROSS JOIN {self._texts} AS t ON t.number = e.doc WHERE e.term = ?"
        )
        ((numbers, lengths),) = _rows(self._connection, asked, (code,))
        if numbers is None:
            return _NONE, _NONE, _NONE
        found, first, counts = np.unique(_listed(numbers), return_index=True, return_counts=True)
        return found, counts, _listed(lengths)[first]


class _Tsvector(_Backend):
    """PostgreSQL: tsvectors below a GIN index. A long text has several: the words of one may have a megabyte."""

    _key = "BIGINT"
    _id = 'TEXT COLLATE "C"'
    _row = "number"
    _most = 3000

    def begin(self) -> None:
        super().begin()
        # often: what stands in the text more than once, and how often
        _run(
            self._connection,
            f"CREATE TABLE {self._words} (number BIGINT NOT NULL, words TSVECTOR NOT NULL, often JSONB)",
        )

    def end(self) -> None:
        _run(self._connection, f"CREATE INDEX ON {self._words} (number)")
        _run(self._connection, f"CREATE INDEX ON {self._words} USING GIN (words)")

    def put(self, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        texts = [(entry.number, entry.id, len(entry.codes), entry.digest) for entry in entries]
        _run(
            self._connection,
            f"INSERT INTO {self._texts} (number, id, length, digest) SELECT * FROM unnest("
            "CAST(? AS bigint[]), CAST(? AS text[]), CAST(? AS integer[]), CAST(? AS bigint[]))",
            [list(column) for column in zip(*texts, strict=True)],
        )
        # Joined: a million words are one value so, and the driver looks at none of them.
        rows: list[tuple[int, str, str]] = []
        for entry in entries:
            counts = Counter(entry.codes)
            for part in _parts(list(counts), self._most):
                often = {code: counts[code] for code in part if counts[code] > 1}
                rows.append((entry.number, " ".join(part), json.dumps(often) if often else ""))
        _run(
            self._connection,
            f"INSERT INTO {self._words} (number, words, often) "
            "SELECT t.number, array_to_tsvector(string_to_array(t.words, ' ')), "
            "CAST(NULLIF(t.often, '') AS jsonb) FROM unnest(CAST(? AS bigint[]), string_to_array(?, chr(10)), "
            "string_to_array(?, chr(10))) AS t(number, words, often)",
            ([row[0] for row in rows], "\n".join(row[1] for row in rows), "\n".join(row[2] for row in rows)),
        )

    def postings(self, code: str) -> _Postings:
        asked = (
            f"SELECT t.number, COALESCE(CAST(w.often ->> ? AS integer), 1), t.length FROM {self._words} AS w "
            f"JOIN {self._texts} AS t ON t.number = w.number WHERE w.words @@ CAST(? AS tsquery)"
        )
        found = _rows(self._connection, asked, (code, f"'{code}'"))  # a code has no quote in it
        triples = _whole_numbers(found, 3)
        triples = triples[np.argsort(triples[:, 0])]
        return triples[:, 0], triples[:, 1], triples[:, 2]


# ------------------------------------------------------------------------------------------------ statements


_MARK_OR_NAME: Final = re.compile(r'\?|"[^"]*"')


def _said(connection: Connection, statement: str) -> str:
    if connection.dialect.paramstyle == "qmark":
        return statement
    return _MARK_OR_NAME.sub(lambda found: "%s" if found[0] == "?" else found[0], statement)


def _rows(connection: Connection, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    return connection.rows(_said(connection, statement), tuple(values))


def _run(connection: Connection, statement: str, values: Sequence[Any] = ()) -> None:
    connection.run(_said(connection, statement), tuple(values))


def _many(connection: Connection, statement: str, rows: list[Any]) -> None:
    connection.many(_said(connection, statement), rows)


_NONE: Final[_Numbers] = np.zeros(0, np.int64)


def _listed(numbers: str) -> _Numbers:
    return np.fromstring(numbers, np.int64, sep=",")


def _whole_numbers(rows: list[Any], width: int) -> _Numbers:
    flat = chain.from_iterable(rows)
    return np.fromiter(flat, np.int64, len(rows) * width).reshape(-1, width)


def _places(numbers: _Numbers) -> tuple[_Numbers, _Numbers]:
    """These numbers in rising order, and the place of each."""
    places = np.argsort(numbers)
    return numbers[places], places


def _is_refused(error: BaseException) -> bool:
    """Whether somebody may read here and not write, now or ever."""
    if isinstance(error, StoreLocked):
        return True
    cause: Any = error.__cause__
    name = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None))
    return name.startswith("SQLITE_READONLY") or name in ("25006", "42501")


def _marks(values: Sequence[Any]) -> str:
    return f"({', '.join('?' * len(values))})"


def _among(connection: Connection, numbers: Sequence[int]) -> tuple[str, tuple[Any, ...]]:
    """What stands behind IN for any number of whole numbers, and its value."""
    if connection.dialect.name == "sqlite":
        return "(SELECT value FROM json_each(?))", (json.dumps(list(numbers)),)
    return "(SELECT unnest(CAST(? AS bigint[])))", (list(numbers),)


def _parts(values: Sequence[Any], size: int = _TOGETHER) -> Iterable[Sequence[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
