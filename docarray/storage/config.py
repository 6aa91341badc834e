"""The settings of the storages that are SQL databases. Nothing is imported for them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SqlConfig", "SqliteConfig"]


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class SqliteConfig:
    """Where and how an array is kept in SQLite.

    >>> SqliteConfig('films.db', table_name='films', columns={'price': 'float'}).journal_mode
    'WAL'
    """

    connection: str | os.PathLike[str] | sqlite3.Connection | None = None
    """A path; ':memory:'; an open connection, which stays yours to close and whose transactions are left alone; None
    for a file that is removed when the array goes."""
    table_name: str | None = None
    """Which array of the file: each has a name. None is 'docs', so that a path alone finds the array again."""
    list_like: bool = True
    """Accepted: positions cost next to nothing, and are there in any case."""
    serialize_config: Mapping[str, Any] = field(default_factory=_nothing)
    """Accepted: documents stand in columns, and are not serialised as a whole."""
    conn_config: Mapping[str, Any] = field(default_factory=_nothing)
    """Further arguments of `sqlite3.connect`."""
    journal_mode: str = "WAL"
    """With 'WAL' others read while one writes."""
    synchronous: str = "NORMAL"
    """'NORMAL' and 'OFF' outlive the death of the process at any moment. When the power fails, 'FULL' loses nothing,
    'NORMAL' may lose the last transactions, and 'OFF' may damage the file."""
    root_id: bool = True
    """Whether rows of sub-indices remember the document they are of."""
    columns: Mapping[str, Any] = field(default_factory=_nothing)
    """Keys of tags, or paths into them, with 'int', 'float', 'str' or 'bool': they get an index for filters."""
    timeout: float = 30.0
    """Seconds to wait while others write."""
    text_index: Sequence[str] = ()
    """Paths to text, such as 'text' and 'tags__title', whose index of words is made when the array is opened, and not
    at the first search. Each path that is searched has one in any case."""
    index_text: bool = False
    """The old name of `text_index=['text']`."""
    tag_indices: Sequence[str] = ()
    """Keys of tags: the old name of `text_index=['tags__<key>', ...]`."""


@dataclass(frozen=True)
class SqlConfig:
    """Where and how an array is kept in a SQL database.

    >>> SqlConfig('postgresql://user@localhost/films', table_name='films').timeout
    30.0
    """

    url: Any
    """As of SQLAlchemy: 'postgresql://user:password@host/database', 'mariadb://...', 'sqlite:///path'; or its URL."""
    table_name: str | None = None
    """Which array of the database: each has a name. None is 'docs'."""
    columns: Mapping[str, Any] = field(default_factory=_nothing)
    """Keys of tags, or paths into them, with 'int', 'float', 'str' or 'bool': they get an index for filters."""
    list_like: bool = True
    """Accepted: positions cost next to nothing, and are there in any case."""
    root_id: bool = True
    """Whether rows of sub-indices remember the document they are of."""
    engine: Mapping[str, Any] = field(default_factory=_nothing)
    """Further arguments of `sqlalchemy.create_engine`, such as {'connect_args': {'sslmode': 'require'}}."""
    timeout: float = 30.0
    """Seconds to wait while others write."""
    text_index: Sequence[str] = ()
    """Paths to text, such as 'text' and 'tags__title', whose index of words is made when the array is opened, and not
    at the first search. Each path that is searched has one in any case."""
    index_text: bool = False
    """The old name of `text_index=['text']`."""
    tag_indices: Sequence[str] = ()
    """Keys of tags: the old name of `text_index=['tags__<key>', ...]`."""
