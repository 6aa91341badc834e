"""The tree of a filter as two conditions of SQL, between which its answer lies.

Rule 1: each node becomes a pair: `maybe` holds for every row that the filter keeps, `sure` for no row that it does
        not. What a database cannot say is `maybe` all rows and `sure` none: Python looks at what is between.
Rule 2: the meaning is that of `query.mask`, to the last row, on any data. Where a database compares nearly (floats in
        JSON, letters of any case) the near ones are in between.
Rule 3: no condition is ever NULL: a missing value is an answer, and `Not` turns it around.
Rule 4: cells say a row only where `exact IS NULL`; of the other rows all are in between.
Rule 5: values, keys and paths are bound. Nothing that a filter says is part of a statement.
"""

# pyright: reportPrivateUsage=false
# The bounds of a comparison of whole numbers with floats are those of query.py, so that both say the same.

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np

from docarray import query
from docarray.paths import FieldPath
from docarray.registry import require
from docarray.schema import FIELDS
from docarray.storage.cells import stored_id
from docarray.storage.layout import TENSORS, Declared

require("sqlalchemy", "storage in a SQL database", '"docarray[sql]"')

import sqlalchemy as sa  # noqa: E402
from sqlalchemy.dialects import postgresql  # noqa: E402

__all__ = ["Plan", "plan"]

Says: TypeAlias = "sa.ColumnElement[bool]"
Expression: TypeAlias = "sa.ColumnElement[Any]"


class Plan(NamedTuple):
    """What SQL can say of a filter."""

    maybe: Says
    """Holds for every row that the filter keeps, and for others."""
    sure: Says
    """Holds for rows that the filter keeps, not for all of them."""
    exact: bool
    """Whether a row of `maybe` is kept if its `exact` is NULL; `sure` need not be asked then."""
    columns: tuple[str, ...]
    """The fields to read of rows in `maybe` that are not in `sure`, for `query.mask`."""


def plan(node: query.Node, table: sa.Table, dialect: str, declared: Mapping[FieldPath, Declared]) -> Plan:
    """A filter as conditions on the rows of a store.

    Args:
        node: what `query.parse` gave.
        table: the rows, as `layout_of` lays them out.
        dialect: SQLAlchemy's name of it. 'sqlite' and 'postgresql' answer most of the language; others compare
            numbers and text in columns, and leave the rest to Python.
        declared: the declared columns, by path.

    Costs time in proportion to the filter; a part that would be too long or too deep for a database is left to Python.

    >>> from docarray.storage.layout import layout_of
    >>> layout = layout_of('films', {'price': 'float'})
    >>> made = plan(query.parse({'tags__price': {'$lt': 30}}), layout.rows, 'sqlite', layout.declared)
    >>> print(str(made.maybe).rpartition(' OR ')[2])
    films.col_0 IS NOT NULL AND films.col_0 < :col_0_1
    >>> made.exact, made.columns
    (True, ('tags',))
    """
    roots = {str(path[0]) for path in query.paths_in(node)}
    compiler = _Compiler(table, dialect, declared)
    said = compiler.node(node)
    columns = tuple(sorted(roots & FIELDS.keys() - {"id"}))
    if not roots or _is_of_ids(node):
        return Plan(said.maybe, said.sure, said.maybe is said.sure, columns)
    odd = table.c.exact.is_not(None)
    if compiler.indexed and dialect == "sqlite":
        # Between OR, SQLite uses indexes if it can for each side; to it, this is one.
        other = table.alias()
        odd = table.c.number.in_(sa.select(other.c.number).where(other.c.exact.is_not(None)))
    return Plan(
        sa.or_(odd, said.maybe),
        sa.and_(table.c.exact.is_(None), said.sure),
        said.maybe is said.sure,
        columns,
    )


def _is_of_ids(node: query.Node) -> bool:
    """Whether a filter only asks which id a row has: the column says it of all rows."""
    match node:
        case query.Always():
            return True
        case query.Compare(("id",), "eq" | "ne", value):
            return type(value) is str
        case query.Compare(("id",), "in" | "nin", value):
            return isinstance(value, tuple) and all(
                type(each) is str for each in cast("tuple[Any, ...]", value)
            )
        case query.Compare():
            return False
        case query.Not(part):
            return _is_of_ids(part)
        case query.And(parts) | query.Or(parts):
            return all(map(_is_of_ids, parts))


# --- pairs ------------------------------------------------------------------------------------------------

_DEEPEST: Final = 400
"""How deep a condition may nest: SQLite takes 1000 levels, of which a chain of AND is one a part."""
_HIGHEST: Final = 72
"""How many words of a statement may be open at once: SQLite reads it with a stack of 100."""
_LEAF: Final = 24
_MOST_BOUND: Final = 64
"""From so many members on a list is bound as one value."""


class _Pair(NamedTuple):
    """`maybe` and `sure` of a node: one object where SQL says all."""

    maybe: Says
    sure: Says
    depth: int = _LEAF
    stack: int = _LEAF


def _all(condition: Says) -> _Pair:
    return _Pair(condition, condition)


def _constant(answer: bool) -> _Pair:
    return _all(sa.true() if answer else sa.false())


_TRUE: Final = sa.true()
_FALSE: Final = sa.false()
_UNKNOWN: Final = _Pair(_TRUE, _FALSE)


def _no(pair: _Pair) -> _Pair:
    if pair.stack + 2 > _HIGHEST:
        return _UNKNOWN
    if pair.maybe is pair.sure:
        return _all(sa.not_(pair.maybe))._replace(depth=pair.depth + 2, stack=pair.stack + 2)
    return _Pair(sa.not_(pair.sure), sa.not_(pair.maybe), pair.depth + 2, pair.stack + 2)


def _fold(pairs: Sequence[_Pair], join: Callable[..., Says]) -> _Pair:
    depth = max(pair.depth for pair in pairs) + len(pairs) + 1
    stack = max(pair.stack for pair in pairs) + 3
    if depth > _DEEPEST or stack > _HIGHEST:
        return _UNKNOWN
    maybe = join(*(pair.maybe for pair in pairs))
    if all(pair.maybe is pair.sure for pair in pairs):
        return _Pair(maybe, maybe, depth, stack)
    return _Pair(maybe, join(*(pair.sure for pair in pairs)), depth, stack)


def _either(*pairs: _Pair) -> _Pair:
    return _fold(pairs, sa.or_) if pairs else _constant(False)


# --- the tree ---------------------------------------------------------------------------------------------

_TEXT_TESTS: Final = frozenset({"startswith", "endswith", "icontains", "istartswith", "iendswith"})
_ORDER: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "eq": lambda a, b: a == b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}
_NUMBERS: Final = (bool, int, float)
_INT64: Final = np.iinfo(np.int64)


class _Compiler:
    def __init__(self, table: sa.Table, dialect: str, declared: Mapping[FieldPath, Declared]) -> None:
        self._table = table
        self._dialect = _DIALECTS.get(dialect, _Dialect)()
        self._declared = declared
        self.indexed = False
        """Whether a part asks a column that has an index."""

    def node(self, node: query.Node) -> _Pair:
        match node:
            case query.Always():
                return _constant(True)
            case query.Not(query.Not(part)):
                return self.node(part)
            case query.Not(part):
                return _no(self.node(part))
            case query.And(parts):
                return self._and([self.node(part) for part in parts])
            case query.Or(parts):
                return _either(*map(self.node, parts))
            case query.Compare():
                test, turned = query._positive(node)
                pair = self._compare(node.path, test, node.value)
                return _no(pair) if turned else pair

    def _and(self, pairs: list[_Pair]) -> _Pair:
        whole = _fold(pairs, sa.and_)
        if whole is not _UNKNOWN:
            return whole
        # Too long. What some of the parts leave is still less than all rows.
        room = _DEEPEST // 2
        some = [pair for pair in pairs if pair.depth < room and pair.stack + 3 <= _HIGHEST][: room - 2]
        return _fold(some, sa.and_)._replace(sure=_FALSE) if some else _UNKNOWN

    def _compare(self, path: FieldPath, test: str, wanted: Any) -> _Pair:
        value = self._value(path)
        if value is None:
            return _UNKNOWN
        if isinstance(wanted, query.FieldRef):
            return self._between(test, value, self._value(wanted.path))
        try:
            return value.test(test, query._scalar(wanted))
        except _Unsaid:
            return _UNKNOWN

    def _between(self, test: str, one: _Value, other: _Value | None) -> _Pair:
        if other is None:
            return _UNKNOWN
        if test in _ORDER and isinstance(one, _Cell) and isinstance(other, _Cell):
            pair = one.against(test, other)
            if pair is not None:
                return pair
        if test in _ORDER and test != "eq":  # what is missing has no order
            return _Pair(sa.and_(one.present().maybe, other.present().maybe), _FALSE)
        return _UNKNOWN

    def _value(self, path: FieldPath) -> _Value | None:
        """What SQL knows of the value of a path; None where it knows nothing."""
        known = self._declared.get(path) if all(isinstance(part, str) for part in path) else None
        if known is not None or path == ("id",):
            self.indexed = True
        if known is not None:
            return _Cell(self._dialect, known.column, known.kind, None)
        root, columns = str(path[0]), self._table.c
        if root not in FIELDS:
            return None
        kind = FIELDS[root].kind
        if len(path) > 1:
            return self._dialect.json(columns[root], path[1:]) if kind == "json" else None
        if kind == "text":
            return _Cell(self._dialect, columns[root], "str", None if root == "id" else "", root == "id")
        if kind == "number":
            whole = root in ("granularity", "adjacency")
            return _Cell(self._dialect, columns[root], "int" if whole else "float", FIELDS[root].default)
        return _Whole(columns[f"{root}_form" if root in TENSORS else root], columns[root], kind)


class _Unsaid(Exception):
    """SQL cannot say it."""


class _Value:
    """What SQL knows of one value of each row."""

    def test(self, test: str, wanted: Any) -> _Pair:
        """A test of `query._MEANING` against a constant.

        Raises:
            _Unsaid: SQL knows nothing of it.
        """
        raise NotImplementedError

    def present(self) -> _Pair:
        """Whether it is not None."""
        raise NotImplementedError


class _Whole(_Value):
    """A field that is bytes, an array, a dict or documents: only whether it is there."""

    def __init__(self, column: Expression, cell: Expression, kind: str) -> None:
        self._column, self._cell, self._kind = column, cell, kind

    def test(self, test: str, wanted: Any) -> _Pair:
        there = self._column.is_not(None)
        if test == "present":
            return self.present()
        if test == "size" and self._kind == "bytes":
            fits = isinstance(wanted, int) and 0 <= wanted <= _INT64.max
            return (
                _all(sa.func.coalesce(sa.func.length(self._cell), 0) == wanted) if fits else _constant(False)
            )
        if test != "filled":
            return _UNKNOWN
        if self._kind == "docs":
            return _all(there)
        if self._kind in ("json", "scores"):
            return _all(sa.and_(there, self._cell != "{}"))
        filled = sa.and_(there, sa.func.length(self._cell) > 0)
        # An array without an element is there, an empty list is not.
        return _Pair(there, filled) if self._kind == "tensor" else _all(filled)

    def present(self) -> _Pair:
        if self._column.name.endswith("_form") and self._cell.name != "location":
            return _all(self._column.is_not(None))
        return _constant(True)


class _Scalar(_Value):
    """A value that may be a number or text."""

    dialect: _Dialect

    def test(self, test: str, wanted: Any) -> _Pair:
        if test == "present":
            return self.present()
        if test == "filled":
            return self.filled()
        if test == "in":
            return self._among(wanted)
        if test in ("eq", "lt", "lte", "gt", "gte"):
            return self._ordered(test, wanted)
        if test == "size":
            fits = isinstance(wanted, int) and 0 <= wanted <= _INT64.max
            return self.sized(wanted) if fits else _constant(False)
        if test == "regex":
            return self._matching(wanted)
        if test == "contains":
            own = self._texts("contains", wanted) if type(wanted) is str else _constant(False)
            return _either(own, self.holding(wanted))
        if test in _TEXT_TESTS and type(wanted) is str:
            return self._texts(test, wanted)
        raise _Unsaid

    def _ordered(self, test: str, wanted: Any) -> _Pair:
        kind = cast("Any", type(wanted))
        if kind in _NUMBERS:
            return _constant(False) if wanted != wanted else self.number(test, wanted)
        if kind is str:
            return self._texts(test, wanted)
        if wanted is None:
            return _no(self.present()) if test == "eq" else _constant(False)
        if kind in (bytes, list, dict):
            return self.container(kind)
        raise _Unsaid

    def _among(self, wanted: Any) -> _Pair:
        if not isinstance(wanted, tuple):
            raise _Unsaid
        members = [query._scalar(each) for each in cast("tuple[Any, ...]", wanted)]
        texts = list(dict.fromkeys(each for each in members if type(each) is str))
        numbers = {each for each in members if type(each) in _NUMBERS and each == each}
        rest = [each for each in members if type(each) not in (str, *_NUMBERS)]
        pairs: list[_Pair] = []
        if texts:
            pairs.append(self._texts("in", texts))
        if len(numbers) > _MOST_BOUND:
            pairs.append(self.span(min(numbers), max(numbers)))
        else:
            pairs += [self.number("eq", each) for each in sorted(numbers)]
        if any(each is None for each in rest):
            pairs.append(_no(self.present()))
        pairs += [self._ordered("eq", each) for each in rest[:_MOST_BOUND] if each is not None]
        if len(rest) > _MOST_BOUND:
            raise _Unsaid
        return _either(*pairs)

    def span(self, low: float, high: float) -> _Pair:
        """Any number from one to another: more than one of a list."""
        both = _fold([self.number("gte", low), self.number("lte", high)], sa.and_)
        return both._replace(sure=_FALSE)

    def _matching(self, pattern: Any) -> _Pair:
        found = _LITERAL.fullmatch(pattern.pattern) if pattern.flags == re.UNICODE else None
        if found is not None:  # plain letters mean themselves
            return self._texts("startswith" if found[1] else "contains", found[2])
        text = self.text()
        return _constant(False) if text is None else _Pair(text.is_not(None), _FALSE)

    def _texts(self, test: str, wanted: Any) -> _Pair:
        text = self.text()
        if text is None:
            return _constant(False)
        if test == "in":
            clean = [each for each in wanted if _is_clean(each)]
            return self.closed(self.dialect.among(text, clean)) if clean else _constant(False)
        if not _is_clean(wanted):
            # No text that SQL holds has such a letter in it, but each is before or after it.
            return (
                _Pair(text.is_not(None), _FALSE) if test in ("lt", "lte", "gt", "gte") else _constant(False)
            )
        return self.closed(self.dialect.on_text(test, text, wanted))

    def closed(self, pair: _Pair) -> _Pair:
        """The same, and false where there is no text."""
        raise NotImplementedError

    def text(self) -> Expression | None:
        """The value where it is text, else NULL; None where it never is."""
        raise NotImplementedError

    def number(self, test: str, wanted: Any) -> _Pair:
        """A test against a number that is not NaN."""
        raise NotImplementedError

    def container(self, kind: type) -> _Pair:
        """Whether a value of this kind may compare with it."""
        raise NotImplementedError

    def holding(self, wanted: Any) -> _Pair:
        """Whether it is a list or a dict that may have this in it."""
        raise NotImplementedError

    def sized(self, wanted: int) -> _Pair:
        """Whether it has this length."""
        raise NotImplementedError

    def filled(self) -> _Pair:
        """Whether it is something else than nothing."""
        raise _Unsaid


_LITERAL: Final = re.compile(r"(\^?)([\w ,:;@!%&=<>/'\"~`-]*)")


# --- columns ----------------------------------------------------------------------------------------------


class _Cell(_Scalar):
    """A column of numbers or of text, with what it reads as where it is NULL."""

    def __init__(
        self, dialect: _Dialect, column: Expression, kind: str, default: Any, never_null: bool = False
    ) -> None:
        self.dialect = dialect
        self._kind = kind
        self._nullable = default is None and not never_null
        if default is None:
            self._expression = column
        else:
            self._expression = sa.func.coalesce(column, sa.literal(default, column.type), type_=column.type)

    def closed(self, pair: _Pair) -> _Pair:
        if not self._nullable:
            return pair
        there = self._expression.is_not(None)
        maybe = sa.and_(there, pair.maybe)
        return _Pair(maybe, maybe if pair.maybe is pair.sure else sa.and_(there, pair.sure))

    def present(self) -> _Pair:
        return _all(self._expression.is_not(None)) if self._nullable else _constant(True)

    def filled(self) -> _Pair:
        nothing = "" if self._kind == "str" else 0
        return self.closed(_all(self._expression != nothing))

    def text(self) -> Expression | None:
        return self._expression if self._kind == "str" else None

    def number(self, test: str, wanted: Any) -> _Pair:
        if self._kind == "str":
            return _constant(False)
        adjusted, bound = _bound(test, wanted, whole=self._kind != "float")
        if isinstance(adjusted, bool):
            return self.present() if adjusted else _constant(False)
        if self._kind == "bool" and not -32768 <= bound <= 32767:  # of a SMALLINT
            return (
                self.present()
                if (bound > 0) == (adjusted in ("lt", "lte")) != (adjusted == "eq")
                else _constant(False)
            )
        answer = _ORDER[adjusted](self._expression, bound)
        if adjusted in ("gt", "gte") and self._nullable:
            # With an end on both sides SQLite takes the index, with one it goes through all rows.
            answer = sa.and_(answer, self._expression <= _MOST[self._kind])
        return self.closed(_all(answer))

    def container(self, kind: type) -> _Pair:
        del kind
        return _constant(False)

    def holding(self, wanted: Any) -> _Pair:
        del wanted
        return _constant(False)

    def sized(self, wanted: int) -> _Pair:
        if self._kind != "str":
            return _constant(False)
        return self.closed(_all(self.dialect.length(self._expression) == wanted))

    def against(self, test: str, other: _Cell) -> _Pair | None:
        """A test against another column; None where SQL would compare in another way than Python."""
        alike = self._kind == other._kind or {self._kind, other._kind} <= {"int", "bool"}
        if not alike or (self._kind == "str" and not self.dialect.compares_text):
            return None
        ours, theirs = self._expression, other._expression
        if self._kind == "str":
            ours, theirs = self.dialect.by_code_point(ours), self.dialect.by_code_point(theirs)
        answer = other.closed(self.closed(_all(_ORDER[test](ours, theirs))))
        if test != "eq" or not (self._nullable and other._nullable):
            return answer
        return _either(answer, _all(sa.and_(self._expression.is_(None), other._expression.is_(None))))


_MOST: Final[Mapping[str, Any]] = {"int": (1 << 63) - 1, "float": 1.7976931348623157e308, "bool": 1}


def _bound(test: str, wanted: Any, whole: bool) -> tuple[str | bool, Any]:
    """The test and the number to compare a column of int64 or of finite float64 with, as Python compares."""
    if isinstance(wanted, float) and math.isinf(wanted):
        return (test in (("lt", "lte") if wanted > 0 else ("gt", "gte"))), 0
    number = int(wanted) if isinstance(wanted, bool) else wanted
    return query._as_whole(test, number, _INT64) if whole else query._as_float(test, number)


# --- dialects ---------------------------------------------------------------------------------------------


class _Dialect:
    """A database of which nothing is known but that it compares columns."""

    compares_text = False
    """Whether text is compared letter by letter, spaces at the end too."""

    def json(self, column: Expression, parts: FieldPath) -> _Value | None:
        """The value below a column of JSON."""
        del column, parts
        return None

    def by_code_point(self, text: Expression) -> Expression:
        """The text, in the order of Python."""
        return text

    def length(self, text: Expression) -> Expression:
        """The number of code points."""
        return sa.func.char_length(text)

    def among(self, text: Expression, wanted: list[str]) -> _Pair:
        """Whether it is one of these."""
        if len(wanted) > 1000:
            return _Pair(text.is_not(None), _FALSE)
        return _Pair(text.in_([stored_id(each) for each in wanted]), _FALSE)

    def on_text(self, test: str, text: Expression, wanted: str) -> _Pair:
        """A test of text; NULL may stay NULL."""
        return _Pair(text == wanted if test == "eq" else text.is_not(None), _FALSE)


class _Exactly(_Dialect):
    """What SQLite and PostgreSQL have in common."""

    compares_text = True

    def begins(self, text: Expression, wanted: str) -> Says:
        raise NotImplementedError

    def ends(self, text: Expression, wanted: str) -> Says:
        raise NotImplementedError

    def has(self, text: Expression, wanted: str) -> Says:
        raise NotImplementedError

    def lower(self, text: Expression) -> Expression:
        """With the letters A to Z, and no others, made small."""
        raise NotImplementedError

    def foreign(self, text: Expression) -> Says:
        """Whether it holds anything but ASCII."""
        raise NotImplementedError

    def bind_list(self, text: Expression, wanted: list[str]) -> Says:
        raise NotImplementedError

    def among(self, text: Expression, wanted: list[str]) -> _Pair:
        if len(wanted) > _MOST_BOUND:
            return _all(self.bind_list(text, wanted))
        return _all(text.in_(wanted) if len(wanted) > 1 else text == wanted[0])

    def on_text(self, test: str, text: Expression, wanted: str) -> _Pair:
        if test in _ORDER:
            ordered = text if test == "eq" else self.by_code_point(text)
            return _all(_ORDER[test](ordered, wanted))
        tests = {"startswith": self.begins, "endswith": self.ends, "contains": self.has}
        if test in tests:
            return _all(tests[test](text, wanted))
        folded = wanted.casefold()
        if not folded.isascii():
            return _Pair(self.foreign(text), _FALSE)
        # A letter beyond ASCII may fold to letters of it, as the sign of Kelvin does. One of ASCII folds to ASCII.
        sure = tests[test.removeprefix("i")](self.lower(text), folded)
        return _Pair(sa.or_(sure, self.foreign(text)), sure)


class _Sqlite(_Exactly):
    def json(self, column: Expression, parts: FieldPath) -> _Value | None:
        read = _sqlite_paths(parts)
        return None if read is None else _SqliteJson(self, column, *read)

    def length(self, text: Expression) -> Expression:
        return sa.func.length(text)

    def begins(self, text: Expression, wanted: str) -> Says:
        return sa.func.substr(text, 1, len(wanted)) == wanted

    def ends(self, text: Expression, wanted: str) -> Says:
        return sa.func.substr(text, -len(wanted)) == wanted if wanted else text.is_not(None)

    def has(self, text: Expression, wanted: str) -> Says:
        return sa.func.instr(text, wanted) > 0

    def lower(self, text: Expression) -> Expression:
        return sa.func.lower(text)

    def foreign(self, text: Expression) -> Says:
        return sa.func.length(text) != sa.func.length(sa.cast(text, sa.LargeBinary))

    def bind_list(self, text: Expression, wanted: list[str]) -> Says:
        rows = sa.func.json_each(json.dumps(wanted)).table_valued("value")
        return text.in_(sa.select(rows.c.value))


class _Postgres(_Exactly):
    def json(self, column: Expression, parts: FieldPath) -> _Value | None:
        read = _postgres_parts(parts)
        return None if read is None else _PostgresJson(self, column, *read)

    def by_code_point(self, text: Expression) -> Expression:
        return sa.collate(text, "C")

    def begins(self, text: Expression, wanted: str) -> Says:
        return sa.func.left(text, len(wanted)) == wanted

    def ends(self, text: Expression, wanted: str) -> Says:
        return sa.func.right(text, len(wanted)) == wanted

    def has(self, text: Expression, wanted: str) -> Says:
        return sa.func.strpos(text, wanted) > 0

    def lower(self, text: Expression) -> Expression:
        return sa.func.lower(sa.collate(text, "C"))

    def foreign(self, text: Expression) -> Says:
        return sa.func.octet_length(text) != sa.func.char_length(text)

    def bind_list(self, text: Expression, wanted: list[str]) -> Says:
        return text == sa.any_(sa.literal(wanted, postgresql.ARRAY(sa.Text())))


_DIALECTS: Final[Mapping[str, type[_Dialect]]] = {"sqlite": _Sqlite, "postgresql": _Postgres}


# --- paths into JSON --------------------------------------------------------------------------------------

_POSITION: Final = re.compile(r"-?[0-9]{1,18}")
_LIKE_A_POSITION: Final = re.compile(r"\s*[+-]?[0-9]+\s*")
_UNSPEAKABLE: Final = re.compile(r'["\\\x00-\x1f]')  # which stand escaped in JSON
_PLAIN_KEY: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_MOST_READINGS: Final = 4
_ATTRIBUTES: Final = frozenset(
    name
    for plain in (0, 0.0, False, "", list[Any]())
    for name in dir(plain)
    if not name.startswith("__") and not callable(getattr(plain, name))
)
"""What a path finds in a number: 'real', 'imag', ..."""


def _is_clean(text: str) -> bool:
    """Whether a database holds such text; a cell of it does, or `exact` is set."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _readable(parts: FieldPath) -> bool:
    """Whether a path is one of keys and positions alone."""
    return not any(isinstance(part, str) and (part in _ATTRIBUTES or not _is_clean(part)) for part in parts)


def _sqlite_paths(parts: FieldPath) -> tuple[list[str], list[str]] | None:
    """The paths of SQLite that mean this one, of which a row has one at most; and those where text, which has
    positions too, would be in the way.
    """
    if not _readable(parts) or isinstance(parts[0], int):
        return None
    readings, texts = ["$"], list[str]()
    for depth, part in enumerate(parts):
        ways: list[str] = []
        if isinstance(part, str):
            if _UNSPEAKABLE.search(part):
                return None
            ways.append(f".{part}" if _PLAIN_KEY.fullmatch(part) else f'."{part}"')
        if depth and (isinstance(part, int) or _POSITION.fullmatch(part)):
            position = int(part)
            if abs(position) > 1 << 31:
                return None
            texts += readings
            ways.append(f"[{position}]" if position >= 0 else f"[#{position}]")
        readings = [reading + way for reading, way in itertools.product(readings, ways)]
        if len(readings) > _MOST_READINGS:
            return None
    return readings, texts


def _postgres_parts(parts: FieldPath) -> tuple[list[str], list[list[str]], list[list[str]]] | None:
    """The parts for PostgreSQL, and where text, or a dict, would be in the way."""
    if not _readable(parts) or isinstance(parts[0], int):
        return None
    texts, dicts, plain = list[list[str]](), list[list[str]](), list[str]()
    for depth, part in enumerate(parts):
        if isinstance(part, int) or _POSITION.fullmatch(part):
            if depth:
                texts.append(list(plain))
            if isinstance(part, int):
                dicts.append(list(plain))
            if abs(int(part)) > 1 << 30:
                return None
        elif _LIKE_A_POSITION.fullmatch(part):  # to PostgreSQL, and not to us
            return None
        plain.append(str(part))
    return plain, texts, dicts


# --- JSON -------------------------------------------------------------------------------------------------

_NEAR: Final = 1e-14
"""Two floats that differ by more than this part of them come out of JSON in the right order."""
_HUGE: Final = 1e290
_EXACT: Final = 1 << 53


class _Json(_Scalar):
    """A value below a column of JSON."""

    odd: Says | None = None
    """Where the path does not mean to SQL what it means to Python."""

    def test(self, test: str, wanted: Any) -> _Pair:
        pair = super().test(test, wanted)
        if self.odd is None:
            return pair
        return _Pair(
            sa.or_(self.odd, pair.maybe),
            sa.and_(sa.not_(self.odd), pair.sure),
            pair.depth + 4,
            pair.stack + 3,
        )

    def closed(self, pair: _Pair) -> _Pair:
        maybe = _or_false(pair.maybe)
        return _Pair(maybe, maybe if pair.maybe is pair.sure else _or_false(pair.sure))

    def is_a(self, *kinds: type) -> Says:
        """Whether it is a str, a list or a dict."""
        raise NotImplementedError

    def container(self, kind: type) -> _Pair:
        return _constant(False) if kind is bytes else _Pair(self.is_a(kind), _FALSE)


def _or_false(condition: Says) -> Says:
    return sa.func.coalesce(condition, sa.false(), type_=sa.Boolean())


class _SqliteJson(_Json):
    _NAMES: Final[Mapping[type, str]] = {str: "text", list: "array", dict: "object"}

    def __init__(self, dialect: _Sqlite, column: Expression, paths: list[str], texts: list[str]) -> None:
        self.dialect = dialect
        self._column = column
        self._paths = paths
        self._type = _first([sa.func.json_type(column, path, type_=sa.Text()) for path in paths])
        self._read = _first([sa.func.json_extract(column, path, type_=sa.types.NullType()) for path in paths])
        self._kind = sa.func.typeof(self._read, type_=sa.Text())
        if texts:
            self.odd = sa.or_(
                *(_or_false(sa.func.json_type(column, path, type_=sa.Text()) == "text") for path in texts)
            )

    def is_a(self, *kinds: type) -> Says:
        return _or_false(self._type.in_([self._NAMES[kind] for kind in kinds]))

    def present(self) -> _Pair:
        return _all(self._read.is_not(None))

    def text(self) -> Expression:
        return sa.case((self._type == "text", self._read), else_=None)

    def _texts(self, test: str, wanted: Any) -> _Pair:
        if test == "eq" and _is_clean(wanted) and not wanted.startswith(("{", "[")):
            # Lists and dicts come as text as well, but begin with a bracket.
            return _all(self._read.is_not_distinct_from(_text(wanted)))
        return super()._texts(test, wanted)

    def number(self, test: str, wanted: Any) -> _Pair:
        adjusted, bound = _bound(test, wanted, whole=True)
        whole = _said(adjusted) if isinstance(adjusted, bool) else _ORDER[adjusted](self._read, _whole(bound))
        adjusted, bound = _bound(test, wanted, whole=False)
        if isinstance(adjusted, bool) or adjusted == "eq":
            return _all(
                self._of_kind(whole, _said(adjusted) if isinstance(adjusted, bool) else self._written(bound))
            )
        if abs(bound) > _HUGE:
            return _Pair(self._of_kind(whole, _TRUE), self._of_kind(whole, _FALSE))
        return self._far_or_near(adjusted, bound, whole)

    def _of_kind(self, whole: Says, real: Says) -> Says:
        """One of two conditions, as it is a whole number (or true, or false) or a float."""
        return sa.case({"integer": whole, "real": real}, value=self._kind, else_=sa.false())

    def _far_or_near(self, test: str, bound: float, whole: Says) -> _Pair:
        """An order against a float. SQLite reads floats from JSON nearly right, and their text is that of Python: of
        those that are near the bound only the one that is written like it is sure.
        """
        around = max(abs(bound) * _NEAR, 1e-300)
        below, above = _float(bound - around), _float(bound + around)
        same, read = self._written(bound), self._read
        if test in ("lt", "lte"):
            # No text is below a number: what is far below needs no look at its kind.
            maybe = sure = _FALSE
            if test == "lt":
                maybe = sa.not_(same)
            else:
                maybe, sure = _TRUE, same
            far = ((read < below, sa.true()), (read > above, sa.false()))
            return _Pair(
                sa.case(*far, else_=self._of_kind(whole, maybe)),
                sa.case(*far, else_=self._of_kind(whole, sure)),
            )
        maybe, sure = (
            (sa.or_(read > above, sa.not_(same)), read > above)
            if test == "gt"
            else (_TRUE, sa.or_(read > above, same))
        )
        far = (read < below, sa.false())
        return _Pair(
            sa.case(far, else_=self._of_kind(whole, maybe)), sa.case(far, else_=self._of_kind(whole, sure))
        )

    def _written(self, number: float) -> Says:
        texts = [repr(number)] if number else ["0.0", "-0.0"]
        # Asked for two values, it gives the text of a list: the number as it is written.
        listed = [f"[{text},{text}]" for text in texts]
        return sa.or_(
            *(
                sa.func.json_extract(self._column, path, path, type_=sa.Text()) == text
                for path in self._paths
                for text in listed
            )
        )

    def holding(self, wanted: Any) -> _Pair:
        if type(wanted) is not str:
            return _Pair(self.is_a(list), _FALSE)
        if not _is_clean(wanted):
            return _constant(False)
        quoted = json.dumps(wanted, ensure_ascii=False)  # as it stands in a list that has it, and as a key
        return _Pair(sa.and_(self.is_a(list, dict), sa.func.instr(self._read, quoted) > 0), _FALSE)

    def sized(self, wanted: int) -> _Pair:
        length = sa.func.length(self._read)
        items = _first([sa.func.json_array_length(self._column, path) for path in self._paths])
        answers = {"text": length == wanted, "array": items == wanted}
        whens = [(self._type == kind, answer) for kind, answer in answers.items()]
        maybe = sa.case(*whens, (self._type == "object", sa.true()), else_=sa.false())
        return _Pair(maybe, sa.case(*whens, else_=sa.false()))


class _PostgresJson(_Json):
    _NAMES: Final[Mapping[type, str]] = {str: "string", list: "array", dict: "object"}

    def __init__(
        self,
        dialect: _Postgres,
        column: Expression,
        parts: list[str],
        texts: list[list[str]],
        dicts: list[list[str]],
    ) -> None:
        self.dialect = dialect
        self._whole = sa.cast(column, postgresql.JSONB())
        self._read = self._at(parts)
        self._type = self._kind_at(self._read)
        odd = [self._kind_at(self._at(path)) == "string" for path in texts]
        odd += [self._kind_at(self._at(path)) == "object" for path in dicts]
        if odd:
            self.odd = sa.or_(*map(_or_false, odd))

    def _at(self, parts: Iterable[str]) -> Expression:
        return sa.func.jsonb_extract_path(self._whole, *map(_text, parts), type_=postgresql.JSONB())

    def _kind_at(self, value: Expression) -> Expression:
        return sa.func.jsonb_typeof(value, type_=sa.Text())

    def is_a(self, *kinds: type) -> Says:
        return _or_false(self._type.in_([self._NAMES[kind] for kind in kinds]))

    def present(self) -> _Pair:
        return _all(_or_false(self._type != "null"))

    def text(self) -> Expression:
        # An empty path leads to the value itself, here as text without quotes.
        own = self._read.op("#>>", return_type=sa.Text())(sa.literal([], postgresql.ARRAY(sa.Text())))
        return sa.case((self._type == "string", own), else_=None)

    def number(self, test: str, wanted: Any) -> _Pair:
        if isinstance(wanted, float) and math.isinf(wanted):
            always = (wanted > 0) == (test in ("lt", "lte")) and test != "eq"
            return _all(_or_false(self._type.in_(["number", "boolean"]))) if always else _constant(False)
        truth = sa.case((self._read == sa.cast(_text("true"), postgresql.JSONB()), 1), else_=0)
        value = sa.case(
            (self._type == "number", sa.cast(self._read, sa.Numeric())),
            (self._type == "boolean", sa.cast(truth, sa.Numeric())),
            else_=None,
        )
        number = int(wanted) if isinstance(wanted, bool) else wanted
        if abs(number) <= _EXACT:
            # A float is written as the shortest decimal that means it: these have the order of the floats.
            return _all(_or_false(_ORDER[test](value, _decimal(Decimal(repr(number))))))
        # Beyond, a float and a whole number may be written alike and differ.
        bound = Decimal(number)
        around = abs(bound) * Decimal(_NEAR)
        if test == "eq":
            return _Pair(_or_false(value.between(_decimal(bound - around), _decimal(bound + around))), _FALSE)
        outer, inner = bound + around, bound - around
        if test in ("gt", "gte"):
            outer, inner = inner, outer
        before = _ORDER[test[:2]]
        return _Pair(_or_false(before(value, _decimal(outer))), _or_false(before(value, _decimal(inner))))

    def holding(self, wanted: Any) -> _Pair:
        if type(wanted) is not str:
            return _Pair(self.is_a(list), _FALSE)
        if not _is_clean(wanted):
            return _constant(False)
        has = self._read.op("?", return_type=sa.Boolean())(_text(wanted))
        return _all(sa.and_(self.is_a(list, dict), _or_false(has)))

    def sized(self, wanted: int) -> _Pair:
        items = sa.case((self._type == "array", sa.func.jsonb_array_length(self._read)), else_=None)
        own = _or_false(sa.func.char_length(self.text()) == _whole(wanted))
        sure = sa.or_(own, _or_false(items == _whole(wanted)))
        return _Pair(sa.or_(sure, self.is_a(dict)), sure)


def _first(expressions: list[Any]) -> Expression:
    """The one that is not NULL."""
    return (
        expressions[0] if len(expressions) == 1 else sa.func.coalesce(*expressions, type_=expressions[0].type)
    )


def _said(answer: bool) -> Says:
    return sa.true() if answer else sa.false()


def _text(value: str) -> Expression:
    return sa.literal(value, sa.Text())


def _whole(value: int) -> Expression:
    return sa.literal(value, sa.BigInteger())


def _float(value: float) -> Expression:
    return sa.literal(value, sa.Double())


def _decimal(value: Decimal) -> Expression:
    return sa.literal(value, sa.Numeric())
