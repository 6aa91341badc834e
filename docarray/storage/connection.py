"""One connection to a SQL database: whose turn it is on it, what is undone together, and what its faults mean.

Rule 1: a Connection is used by one thread at a time, and by the process that made it: after a fork it is made anew.
Rule 2: who writes has the turn to write from the first statement on, so that what was read stays true: others wait.
Rule 3: a turn inside another is a savepoint. What fails takes back its own part and no more.
Rule 4: an error of a driver never leaves this file as it is: what failed, where, and what to do about it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import time
import weakref
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import quote

from docarray.errors import (
    BadValue,
    ClosedStore,
    CorruptData,
    FieldTypeError,
    MissingExtra,
    StoreError,
    StoreLocked,
    near_miss,
)
from docarray.registry import require

require("sqlalchemy", "storage in a SQL database", '"docarray[sql]"')

import sqlalchemy as sa  # noqa: E402
from sqlalchemy import exc  # noqa: E402
from sqlalchemy.dialects import sqlite as sqlite_dialect  # noqa: E402
from sqlalchemy.engine import URL, make_url  # noqa: E402
from sqlalchemy.pool import NullPool  # noqa: E402

__all__ = ["Clash", "Connection", "ServerConnection", "SqliteConnection"]


class Clash(Exception):
    """A row of that key is there already."""


class _Held:
    """The connection of a driver, and what goes when it goes."""

    __slots__ = ("inherited", "pid", "raw", "remove")

    def __init__(self) -> None:
        self.raw: Any = None
        self.pid = os.getpid()
        self.remove: str | None = None
        self.inherited: list[
            Any
        ] = []  # of the process before the fork: closing them here would end them there

    def let_go(self) -> None:
        raw, self.raw = self.raw, None
        if self.pid != os.getpid():
            self.inherited.append(raw)
            return
        if raw is not None:
            raw.close()
        if self.remove is not None:
            for tail in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.remove + tail)
            self.remove = None


class Connection(ABC):
    """A connection, its lock, and how deep in transactions it is."""

    dialect: Any
    """The dialect of SQLAlchemy that statements are compiled for; parameters are positional."""
    place: str
    """What messages call it."""
    timeout: float
    lock: threading.RLock
    depth: int
    serial: int
    undone: int
    is_closed: bool
    is_own: bool = True
    """Whether it was made here, and is closed here."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.depth = 0
        self.serial = 0
        """Another for each transaction, of reading or of writing."""
        self.undone = 0
        """Another whenever something was taken back."""
        self.is_closed = False
        self._writes = False
        self._held = _Held()
        self._end = weakref.finalize(self, self._held.let_go)

    # ------------------------------------------------------------------------------------------ what differs

    @abstractmethod
    def _connect(self) -> Any: ...

    @abstractmethod
    def _fault(self, error: Exception) -> Exception: ...

    @property
    @abstractmethod
    def _errors(self) -> tuple[type[Exception], ...]: ...

    @abstractmethod
    def _begin(self, writes: bool) -> None: ...

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Whether there is a table of that name."""

    # ------------------------------------------------------------------------------------------ statements

    @property
    def raw(self) -> Any:
        """The connection of the driver.

        Raises:
            ClosedStore: it was closed.
        """
        held = self._held
        if held.pid != os.getpid():
            self._after_fork()
        if held.raw is None:
            if self.is_closed:
                raise ClosedStore(f"the store in {self.place} was closed; open it anew")
            held.raw = self._connect()
        return held.raw

    @property
    def turn_lock(self) -> threading.RLock:
        """The lock, which after a fork is another."""
        if self._held.pid != os.getpid():
            self._after_fork()
        return self.lock

    def _after_fork(self) -> None:
        held = self._held
        if not self._can_follow():
            raise StoreError(
                f"the store in {self.place} was opened before a fork and is in that process alone: give the "
                "config a path, or open the store after the fork"
            )
        held.inherited.append(held.raw)
        held.raw, held.pid, held.remove = None, os.getpid(), None
        self.lock = threading.RLock()
        self.depth, self._writes = 0, False
        self.undone += 1

    def _can_follow(self) -> bool:
        return True

    def run(self, text: str, values: Sequence[Any] = ()) -> Any:
        """The cursor of one statement."""
        try:
            return self.raw.execute(text, values)
        except self._errors as error:
            raise self._fault(error) from error

    def rows(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        try:
            return self.raw.execute(text, values).fetchall()
        except self._errors as error:
            raise self._fault(error) from error

    def many(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement with many rows of values."""
        try:
            self.raw.executemany(text, rows)
        except self._errors as error:
            raise self._fault(error) from error

    def text(self, statement: Any) -> tuple[str, tuple[str, ...]]:
        """A statement as text, and the names of its parameters in their order."""
        compiled = statement.compile(dialect=self.dialect, compile_kwargs={"render_postcompile": True})
        return str(compiled), tuple(compiled.positiontup or ())

    def query(self, statement: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement that holds its values."""
        compiled = statement.compile(dialect=self.dialect, compile_kwargs={"render_postcompile": True})
        values = compiled.params
        return self.rows(str(compiled), [values[name] for name in compiled.positiontup or ()])

    # ------------------------------------------------------------------------------------------ transactions

    def writing(self) -> _Turn:
        """`with connection.writing():` all of it, or none."""
        return _Turn(self, True)

    def reading(self) -> _Turn:
        """`with connection.reading():` what is read is of one moment."""
        return _Turn(self, False)

    def enter(self, writes: bool) -> None:
        """Begins a turn."""
        if self._held.pid != os.getpid():
            self._after_fork()
        self.lock.acquire()
        try:
            if self.depth == 0:
                self._begin(writes)
                self._writes = writes
                self.serial += 1
            elif writes and not self._writes:
                raise StoreError(f"nothing is written to {self.place} while rows of one moment are read")
            elif writes:
                self.run(f"SAVEPOINT s{self.depth}")
        except BaseException:
            self.lock.release()
            raise
        self.depth += 1

    def leave(self, writes: bool, keep: bool) -> None:
        """Ends a turn."""
        try:
            self.depth -= 1
            if self.depth == 0:
                self._writes = False
                self._finish(writes and not keep)
            elif writes:
                if not keep:
                    self.undone += 1
                    self.run(f"ROLLBACK TO SAVEPOINT s{self.depth}")
                self.run(f"RELEASE SAVEPOINT s{self.depth}")
        finally:
            self.lock.release()

    def _finish(self, undo: bool) -> None:
        if undo:
            self.undone += 1
            self._roll_back()
            return
        try:
            self.run("COMMIT")
        except BaseException:
            self.undone += 1
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """Takes back what was not committed; where the connection is gone, the database has done it."""
        with contextlib.suppress(StoreError, CorruptData, ClosedStore):
            self.run("ROLLBACK")

    def close(self) -> None:
        """Gives the connection back. Twice is once."""
        with self.lock:
            self.is_closed = True
            self._end()

    @property
    def config_url(self) -> Any:
        """What opens it again; None where nothing does."""
        return None


class _Turn:
    __slots__ = ("_connection", "_writes")

    def __init__(self, connection: Connection, writes: bool) -> None:
        self._connection = connection
        self._writes = writes

    def __enter__(self) -> Self:
        self._connection.enter(self._writes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.leave(self._writes, kind is None)


# ---------------------------------------------------------------------------------------------- SQLite


_MEMORY: Final = ":memory:"
_JOURNALS: Final = ("DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF")
_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


class SqliteConnection(Connection):
    """SQLite: a file, memory, or a connection of somebody else."""

    is_own: bool
    place: str

    def __init__(
        self,
        connection: str | os.PathLike[str] | sqlite3.Connection | None,
        *,
        journal_mode: str = "WAL",
        synchronous: str = "NORMAL",
        timeout: float = 30.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.dialect: Any = sqlite_dialect.dialect(paramstyle="qmark")
        self.timeout = timeout
        self._journal = _setting("journal_mode", journal_mode, _JOURNALS)
        self._synchronous = _setting("synchronous", synchronous, _SYNCHRONOUS)
        self._options = dict(options or {})
        self._path: str | None = None
        if isinstance(connection, sqlite3.Connection):
            if connection.text_factory is not str or connection.row_factory is not None:
                raise BadValue(
                    "the connection given has a text_factory or row_factory of its own; give one without"
                )
            self.is_own, self.place = False, "a connection of yours"
            self._held.raw = connection
            self._end.detach()
        elif connection is None:
            handle, self._path = tempfile.mkstemp(prefix="docarray-", suffix=".db")
            os.close(handle)
            self._held.remove, self.place = self._path, "a file of this process"
            self._synchronous = "OFF"  # nobody opens it a second time
        elif isinstance(cast("object", connection), (str, os.PathLike)):
            path = os.fspath(connection)
            if path == _MEMORY or self._options.get("uri"):
                self._path, self.place = path, "memory" if path == _MEMORY else path
            else:
                self._path = self.place = os.path.abspath(path)
        else:
            raise FieldTypeError(
                "connection is a path, ':memory:', a sqlite3.Connection or None; "
                f"got a {type(connection).__name__}"
            )

    @property
    def path(self) -> str | None:
        """The file, where there is one that others could open."""
        shared = self.is_own and self._held.remove is None and self._path != _MEMORY
        return self._path if shared else None

    def _can_follow(self) -> bool:
        return self.is_own and self._path != _MEMORY

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        # sqlite3 reads its own messages, in which names of a damaged file may stand, and texts as UTF-8.
        return (sqlite3.Error, UnicodeDecodeError)

    def _connect(self) -> Any:
        assert self._path is not None
        options: dict[str, Any] = {"timeout": self.timeout, "cached_statements": 512, **self._options}
        options.update(check_same_thread=False, isolation_level=None)
        try:
            raw = sqlite3.connect(self._path, **options)
        except sqlite3.Error as error:
            raise self._fault(error) from error
        try:
            self._set_up(raw)
        except BaseException as error:
            raw.close()
            if isinstance(error, sqlite3.OperationalError) and self._can_only_be_read():
                return self._connect_to_read(options)
            if isinstance(error, self._errors):
                raise self._fault(error) from error
            raise
        return raw

    def _can_only_be_read(self) -> bool:
        """Whether the file is whole by itself, in a folder where nobody can write."""
        path = self._path
        if path is None or not os.path.isfile(path) or os.access(os.path.dirname(path), os.W_OK):
            return False
        return not os.path.exists(path + "-wal") or os.path.getsize(path + "-wal") == 0

    def _connect_to_read(self, options: dict[str, Any]) -> Any:
        """The file of a folder that cannot be written: SQLite opens it where it is told that nobody changes it."""
        try:
            path = f"file:{quote(str(self._path))}?immutable=1"
            raw: Any = cast("Any", sqlite3).connect(path, **{**options, "uri": True})
            raw.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except self._errors as error:
            raise self._fault(error) from error
        return raw

    def _set_up(self, raw: sqlite3.Connection) -> None:
        if os.path.exists(self.place) and os.path.getsize(self.place) == 0:
            raw.execute("PRAGMA page_size = 4096")
        end = time.monotonic() + self.timeout
        while True:
            try:
                raw.execute(f"PRAGMA journal_mode = {self._journal}").fetchone()
                break
            except sqlite3.OperationalError as error:
                name = error.sqlite_errorname
                if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")) and _is_there(raw):
                    break  # it can be read, and each write will say why it cannot
                # Two that open a new file at once: SQLite does not wait for this.
                if not name.startswith("SQLITE_BUSY") or time.monotonic() > end:
                    raise
                time.sleep(0.005)
        raw.execute(f"PRAGMA synchronous = {self._synchronous}")
        raw.execute("PRAGMA cache_size = -32768")
        raw.execute("PRAGMA wal_autocheckpoint = 4000")

    def data_version(self) -> int:
        """Another whenever another connection committed."""
        return self.rows("PRAGMA data_version")[0][0]

    def own_changes(self) -> int:
        """How many rows were changed through a connection that others use as well; 0 for one of our own."""
        return 0 if self.is_own else self.raw.total_changes

    def _begin(self, writes: bool) -> None:
        if not self.is_own and self.raw.in_transaction:
            self.run("SAVEPOINT docarray")  # part of a transaction of its owner
            self._joined = True
            return
        self._joined = False
        self.run("BEGIN IMMEDIATE" if writes else "BEGIN")

    _joined: bool = False

    def _finish(self, undo: bool) -> None:
        if not self._joined:
            super()._finish(undo)
            return
        if undo:
            self.undone += 1
            self.run("ROLLBACK TO SAVEPOINT docarray")
        self.run("RELEASE SAVEPOINT docarray")

    def _roll_back(self) -> None:
        raw = self._held.raw
        if raw is not None and raw.in_transaction:  # some errors have done so already
            super()._roll_back()

    def has_table(self, name: str) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))

    def columns_of(self, name: str) -> list[str]:
        """The columns of a table."""
        return [row[0] for row in self.rows("SELECT name FROM pragma_table_info(?)", (name,))]

    def _fault(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.IntegrityError):
            return Clash(str(error))
        if isinstance(error, UnicodeDecodeError):
            return CorruptData(f"{self.place} is damaged: what should be text is not: {error}")
        name, place = str(getattr(error, "sqlite_errorname", "")), self.place
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            who = _holders(self._path) if self.path else "another connection"
            return StoreLocked(
                f"{place} was locked for {self.timeout:g} s by {who}. Nothing was written. Try again, or "
                "give the config a longer timeout"
            )
        if name.startswith("SQLITE_FULL"):
            return StoreError(f"there is no room left for {place}: {error}. Nothing was written")
        if name.startswith("SQLITE_NOTADB"):
            return CorruptData(f"{place} is no SQLite database: {error}")
        if name.startswith("SQLITE_CORRUPT"):
            return CorruptData(
                f"{place} is damaged: {error}. Take a copy; `sqlite3 {place} .recover` saves what can be read"
            )
        if name.startswith("SQLITE_READONLY"):
            return StoreError(f"{place} cannot be written: {error}. Nothing was written")
        if name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            return StoreError(
                f"{place} cannot be opened: {error}. Is there such a folder, and may you write in it?"
            )
        if name.startswith("SQLITE_IOERR"):
            return StoreError(f"{place} cannot be read or written: {error} ({name})")
        if name.startswith("SQLITE_TOOBIG") or isinstance(error, sqlite3.DataError):
            return BadValue(f"a value is larger than SQLite takes: {error}. Nothing was written")
        return StoreError(f"SQLite refuses, in {place}: {error}")


def _setting(name: str, value: object, known: Sequence[str]) -> str:
    if isinstance(value, str) and value.upper() in known:
        return value.upper()
    raise BadValue(f"{name} is {value!r}. {near_miss(value, known)}")


def _is_there(raw: sqlite3.Connection) -> bool:
    """Whether the file can be read."""
    try:
        raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    return True


def _holders(path: str | None) -> str:
    """Who has locks on the file, as far as the system tells."""
    unknown = "another connection"
    if path is None:
        return unknown
    try:
        wanted: set[str] = set()
        for tail in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                wanted.add(str(os.stat(path + tail).st_ino))
        with open("/proc/locks", encoding="ascii") as lines:
            fields = [line.split() for line in lines]
    except OSError:
        return unknown  # another system; what is known is that it is locked
    pids = {
        int(line[4])
        for line in fields
        if len(line) > 5 and "->" not in line and line[3] == "WRITE" and line[5].rpartition(":")[2] in wanted
    }
    if not pids:
        return unknown
    return " and ".join(_process(pid) for pid in sorted(pids))


def _process(pid: int) -> str:
    if pid == os.getpid():
        return "another connection of this process"
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f"process {pid} ({file.read().strip()})"
    except OSError:
        return f"process {pid}"


# ---------------------------------------------------------------------------------------------- servers


class ServerConnection(Connection):
    """A database that is reached by a URL: PostgreSQL, MySQL, MariaDB."""

    url: Any
    place: str
    dialect: Any
    is_postgres: bool

    def __init__(
        self, url: str | URL, *, timeout: float = 30.0, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.url = _driver(url)
        self.timeout = timeout
        self.place = self.url.render_as_string(hide_password=True)
        try:
            self._engine = sa.create_engine(
                self.url, **{"poolclass": NullPool, "paramstyle": "format", **dict(options or {})}
            )
        except ImportError as error:
            driver = self.url.get_driver_name()
            package = {"psycopg": '"psycopg[binary]"'}.get(driver, driver)
            raise MissingExtra(f"{self.place} needs the package {driver}: pip install {package}") from error
        except exc.ArgumentError as error:
            raise BadValue(f"{self.place} is no URL of a database: {error}") from None
        self.dialect = self._engine.dialect
        self.is_postgres = self.dialect.name == "postgresql"
        self.turn = ""
        """What those who write the same tables wait for."""
        self._waits = False
        self._module: Any = self.dialect.dbapi

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return (self._module.Error,)

    def _connect(self) -> Any:
        try:
            borrowed = cast("Any", self._engine.raw_connection())
            raw = borrowed.driver_connection
            borrowed.detach()  # from a pool that would take it back
        except exc.DBAPIError as error:
            raise StoreError(f"{self.place} cannot be reached: {error.orig}") from error
        except self._errors as error:
            raise StoreError(f"{self.place} cannot be reached: {error}") from error
        seconds = max(1, round(self.timeout))
        if self.is_postgres:
            raw.rollback()
            raw.autocommit = True
            raw.execute(f"SET lock_timeout = {int(self.timeout * 1000)}")
            return raw
        raw.autocommit(True)
        cursor = _Cursors(raw)
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {seconds}")
        return cursor

    @property
    def raw(self) -> Any:
        held = self._held
        if held.raw is not None and self.depth == 0 and held.pid == os.getpid() and _is_gone(held.raw):
            held.raw = None  # the server ended it; between transactions nothing is lost
            self.undone += 1
        return super().raw

    def many(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        raw = self.raw
        try:
            with raw.cursor() as cursor:
                cursor.executemany(text, list(rows))
        except self._errors as error:
            raise self._fault(error) from error

    def _begin(self, writes: bool) -> None:
        if writes:
            self.run("BEGIN")
            try:
                self._wait()
            except BaseException:
                self._roll_back()
                raise
        elif self.is_postgres:
            self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        else:
            self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def _wait(self) -> None:
        """Waits until no other transaction writes to the tables of the store."""
        if self.is_postgres:
            self.run("SELECT pg_advisory_xact_lock(%s)", (zlib.crc32(self.turn.encode()) + (0xD0C << 32),))
            return
        self._waits = True
        if self.rows("SELECT GET_LOCK(%s, %s)", (f"docarray {self.turn}"[:64], self.timeout))[0][0] != 1:
            raise StoreLocked(
                f"{self.place} was locked for {self.timeout:g} s by another connection. Nothing was written"
            )

    def _finish(self, undo: bool) -> None:
        wrote, self._waits = self._waits, False
        try:
            super()._finish(undo)
        finally:
            if wrote and not self.is_postgres:
                self.run("SELECT RELEASE_LOCK(%s)", (f"docarray {self.turn}"[:64],))

    def has_table(self, name: str) -> bool:
        schema = "current_schema()" if self.is_postgres else "database()"
        return bool(
            self.rows(
                f"SELECT 1 FROM information_schema.tables WHERE table_schema = {schema} AND table_name = %s",
                (name,),
            )
        )

    def columns_of(self, name: str) -> list[str]:
        """The columns of a table."""
        schema = "current_schema()" if self.is_postgres else "database()"
        found = self.rows(
            f"SELECT column_name FROM information_schema.columns WHERE table_schema = {schema} AND table_name = %s",
            (name,),
        )
        return [row[0] for row in found]

    def _fault(self, error: Exception) -> Exception:
        place = self.place
        state = str(getattr(error, "sqlstate", "") or "")
        code = error.args[0] if error.args else None
        if isinstance(error, self._module.IntegrityError):
            return Clash(str(error))
        if state in ("55P03", "40P01") or code in (1205, 1213):
            return StoreLocked(
                f"{place} was locked for {self.timeout:g} s by {self._others()}. Nothing was written. Try "
                "again, or give the config a longer timeout"
            )
        if state.startswith("53") or code in (1021, 1114):
            return StoreError(f"{place} has no room left: {error}. Nothing was written")
        if state.startswith("XX"):
            return CorruptData(f"{place} is damaged: {error}")
        return StoreError(f"{place} refuses: {str(error).strip()}")

    def _others(self) -> str:
        """Who holds locks that block others, asked through a connection of its own."""
        if not self.is_postgres:
            return "another connection"
        try:
            with self._engine.connect() as connection:
                found = connection.exec_driver_sql(
                    "SELECT a.pid, a.application_name, a.client_addr FROM pg_locks l JOIN pg_stat_activity a "
                    "ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted"
                ).all()
        except exc.DBAPIError:
            return "another connection"
        who = [
            f"server process {pid} ({name or 'unnamed'}, {client or 'local'})" for pid, name, client in found
        ]
        return " and ".join(who) or "another connection"

    @property
    def config_url(self) -> Any:
        return self.url


class _Cursors:
    """A connection of a driver whose connections have no `execute`."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def execute(self, text: str, values: Sequence[Any] = ()) -> Any:
        cursor = self._raw.cursor()
        cursor.execute(text, tuple(values) or None)
        return cursor

    def cursor(self) -> Any:
        return self._raw.cursor()

    def close(self) -> None:
        self._raw.close()


def _is_gone(raw: Any) -> bool:
    return bool(getattr(raw, "closed", False))


def _driver(url: str | URL) -> URL:
    """The URL, with the driver that we know where it names none."""
    try:
        known = make_url(url)
    except (exc.ArgumentError, AttributeError, TypeError) as error:
        raise BadValue(
            f"{url!r:.80} is no URL of a database, such as 'postgresql://user@host/database': {error}"
        ) from None
    drivers = {
        "postgresql": "postgresql+psycopg",
        "postgres": "postgresql+psycopg",
        "mysql": "mysql+pymysql",
        "mariadb": "mariadb+pymysql",
    }
    return known.set(drivername=drivers.get(known.drivername, known.drivername))
