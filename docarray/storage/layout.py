"""The tables of one array in a SQL database.

Rule 1: rows stand in the table that the config names, a column a field; the other tables have its name and `__word`.
Rule 2: a cell that SQL cannot say exactly is NULL, or an approximation, and `exact` of its row is set: what SQL finds
        out about the fields of a row holds where `exact IS NULL`, and other rows are looked at in Python.
Rule 3: a declared column holds the value of its path where that is of its kind, and NULL where there is none; any other
        value sets `exact`.
Rule 4: every name goes through the preparer of the dialect, and no value is ever part of a statement.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from docarray.errors import BadPath, BadValue, FieldTypeError, near_miss
from docarray.paths import FieldPath, parse_dunder
from docarray.registry import require
from docarray.schema import FIELDS

require("sqlalchemy", "storage in a SQL database", '"docarray[sql]"')

import sqlalchemy as sa  # noqa: E402
from sqlalchemy.dialects import mysql, postgresql  # noqa: E402

__all__ = ["FORMAT_VERSION", "TENSORS", "Declared", "Layout", "declared_kind", "declared_path", "layout_of"]

FORMAT_VERSION: Final = 1
"""The version of what is laid out here, as the facts of a store say it."""

DeclaredKind = Literal["int", "float", "str", "bool"]

TENSORS: Final = ("tensor", "location", "embedding")
"""The fields that are arrays: bytes, beside a number of their form."""

_KINDS: Final[Mapping[object, DeclaredKind]] = {
    "int": "int",
    "long": "int",
    int: "int",
    "float": "float",
    "double": "float",
    float: "float",
    "str": "str",
    "text": "str",
    "keyword": "str",
    str: "str",
    "bool": "bool",
    bool: "bool",
}


@dataclass(frozen=True, slots=True)
class Declared:
    """A path whose values stand in a column of their own, with an index."""

    name: str
    path: FieldPath
    kind: DeclaredKind
    column: sa.Column[Any]
    """SMALLINT of 0 and 1 for 'bool', BIGINT, DOUBLE, TEXT."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables of one store."""

    name: str
    metadata: sa.MetaData
    rows: sa.Table
    """number (its key, and the change that put it; it never becomes another's), id, ord (the order), stamp (the last
    change of its cells, NULL where there was none), exact, and a column a field."""
    pages: sa.Table
    """Ranges of `ord` and how many rows each has: start, count. The last one's are counted: it says -1."""
    forms: sa.Table
    """What the bytes of tensors are: number, form."""
    facts: sa.Table
    """name, value."""
    gone: sa.Table
    """The last deletions: number (of the change), id."""
    declared: Mapping[FieldPath, Declared]
    texts: dict[str, dict[Any, Any]]
    """Statements over these tables that were made once, by dialect."""

    @property
    def tables(self) -> tuple[sa.Table, ...]:
        """All tables, that of the rows first."""
        return self.rows, self.pages, self.forms, self.facts, self.gone


def declared_path(name: str) -> FieldPath:
    """The path that a name of `columns` means: a dunder path from a field, or else a key of the tags.

    >>> declared_path('price'), declared_path('tags__size__0'), declared_path('a__b')
    (('tags', 'price'), ('tags', 'size', '0'), ('tags', 'a', 'b'))
    """
    path = parse_dunder(name)
    if len(path) > 1 and path[0] in FIELDS:
        if FIELDS[str(path[0])].kind != "json":
            raise BadPath(f"columns has {name!r}: declared columns are read from tags, as 'price' is")
        return path
    return ("tags", *path)


def declared_kind(name: str, kind: object) -> DeclaredKind:
    """The kind that a value of `columns` means: 'int', 'float', 'str' or 'bool', their types, or an old name of one.

    Raises:
        BadValue: it is none.
    """
    try:
        return _KINDS[kind]
    except (KeyError, TypeError):
        raise BadValue(
            f"columns declares {name!r} as {kind!r:.60}. {near_miss(kind, ('int', 'float', 'str', 'bool'))}"
        ) from None


def layout_of(name: str, columns: Mapping[str, Any] | None = None) -> Layout:
    """The tables of a store.

    Args:
        name: of the table of the rows.
        columns: declared columns and their kinds, in the order in which they were declared first.

    Raises:
        BadPath, BadValue: a declared column is none.

    >>> layout_of('films', {'price': 'float'}).declared['tags', 'price'].column.name
    'col_0'
    """
    given = cast("object", columns or {})
    if not isinstance(given, Mapping):
        raise FieldTypeError(f"columns is a dict such as {{'price': 'float'}}; got a {type(given).__name__}")
    kinds = cast("Mapping[str, Any]", given)
    return _layout(name, tuple((key, declared_kind(key, kind)) for key, kind in kinds.items()))


@functools.lru_cache(maxsize=256)
def _layout(name: str, columns: tuple[tuple[str, DeclaredKind], ...]) -> Layout:
    metadata = sa.MetaData()
    declared: dict[FieldPath, Declared] = {}
    for number, (key, known) in enumerate(columns):
        path = declared_path(key)
        if path in declared:
            raise BadValue(f"columns declares {declared[path].name!r} and {key!r}, which are one path")
        column: sa.Column[Any] = sa.Column(f"col_{number}", _SQL_KINDS[known]())
        declared[path] = Declared(key, path, known, column)
    rows = sa.Table(
        name,
        metadata,
        sa.Column("number", _key(), primary_key=True, autoincrement=False),
        sa.Column("id", _short(), nullable=False, unique=True),
        sa.Column("ord", sa.BigInteger(), nullable=False),
        sa.Column("stamp", sa.BigInteger()),
        *(column for field in FIELDS for column in _field_columns(field)),
        sa.Column("exact", _blob()),
        *(one.column for one in declared.values()),
    )
    sa.Index(f"{name}__order", rows.c.ord, rows.c.id)
    changed, odd = rows.c.stamp.is_not(None), rows.c.exact.is_not(None)
    sa.Index(f"{name}__stamp", rows.c.stamp, sqlite_where=changed, postgresql_where=changed)
    sa.Index(f"{name}__odd", rows.c.ord, sqlite_where=odd, postgresql_where=odd)
    for one in declared.values():
        length = {"mysql_length": 100, "mariadb_length": 100} if one.kind == "str" else {}
        sa.Index(f"{name}__{one.column.name}", one.column, **cast("Any", length))
    pages = sa.Table(
        f"{name}__pages",
        metadata,
        sa.Column("start", _key(), primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )
    forms = sa.Table(
        f"{name}__forms",
        metadata,
        sa.Column("number", _key(), primary_key=True, autoincrement=False),
        sa.Column("form", _text(), nullable=False),
    )
    facts = sa.Table(
        f"{name}__facts",
        metadata,
        sa.Column("name", _short(), primary_key=True),
        sa.Column("value", _blob(), nullable=False),
    )
    gone = sa.Table(
        f"{name}__gone",
        metadata,
        sa.Column("number", _key(), primary_key=True, autoincrement=False),
        sa.Column("id", _short(), nullable=False),
    )
    return Layout(name, metadata, rows, pages, forms, facts, gone, declared, {})


def _field_columns(field: str) -> list[sa.Column[Any]]:
    kind = FIELDS[field].kind
    if field == "id":
        return []
    if field in ("granularity", "adjacency"):
        return [sa.Column(field, sa.BigInteger())]
    if kind == "number":
        return [sa.Column(field, sa.Double())]
    if kind == "tensor":
        return [sa.Column(field, _blob()), sa.Column(field + "_form", sa.Integer())]
    if kind in ("bytes", "docs"):
        return [sa.Column(field, _blob())]
    return [sa.Column(field, _text())]


def _key() -> Any:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # an INTEGER PRIMARY KEY is the rowid


def _text() -> Any:
    """Text, compared letter by letter."""
    return (
        sa.Text()
        .with_variant(postgresql.TEXT(collation="C"), "postgresql")
        .with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def _short() -> Any:
    return (
        sa.Text()
        .with_variant(postgresql.TEXT(collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def _blob() -> Any:
    return sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


_SQL_KINDS: Final[Mapping[DeclaredKind, Any]] = {
    "int": sa.BigInteger,
    "float": sa.Double,
    "str": _text,
    "bool": sa.SmallInteger,
}
