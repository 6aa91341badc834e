"""Table: rows as columns. The one currency of stores, formats, wires and searches.

Rule 1: a table is never changed after it is made; it shares memory with what it was made from and cut into.
Rule 2: every table has ids. Those that nobody gave are drawn when somebody asks, and then stay.
Rule 3: a column that no row uses does not exist.
Rule 4: `to_buffers` and `from_buffers` are exact inverses, and all that a format needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, cast

import numpy as np

from docarray.columns import (
    Buffers,
    Column,
    Form,
    TextColumn,
    column_from_buffers,
    join_columns,
    read_array,
)
from docarray.errors import BadValue, CorruptData, LengthError, OutOfRange
from docarray.ids import new_ids
from docarray.schema import Kind, Schema
from docarray.tensors import Array

__all__ = ["DEEPEST", "DocsColumn", "Table"]

DEEPEST: Final = 128


class Table:
    """Columns of one length by name, and an id for each row.

    >>> table = Table({'text': TextColumn(['a', 'b'])}, ids=['1', '2'])
    >>> len(table), table.ids, table.schema.to_json()
    (2, ['1', '2'], {'id': 'text', 'text': 'text'})
    >>> table.take(np.array([1])).columns['text'].values()
    ['b']
    """

    __slots__ = ("_ids", "_length", "columns")

    def __init__(
        self,
        columns: Mapping[str, Column],
        length: int | None = None,
        ids: Sequence[str] | TextColumn | None = None,
    ) -> None:
        """`length` is needed where there is neither a column nor `ids`.

        Raises:
            LengthError: the columns, or the ids, are of several lengths; the message names one.
            BadValue: a column is called 'id'.
        """
        held = dict(columns)
        if "id" in held:
            raise BadValue("the ids of a table are given as `ids`, not as a column")
        own = ids if isinstance(ids, TextColumn) or ids is None else TextColumn(list(ids))
        if length is None:
            length = len(own) if own is not None else len(next(iter(held.values()), ()))  # pyright: ignore
        for name, column in (("id", own), *held.items()):
            if column is not None and len(column) != length:
                raise LengthError(f"column {name!r} has {len(column)} rows where {length} were expected")
        self.columns: dict[str, Column] = held
        self._length = length
        self._ids = own

    def __len__(self) -> int:
        return self._length

    @property
    def id_column(self) -> TextColumn:
        """The ids as a column."""
        if self._ids is None:
            self._ids = TextColumn(new_ids(self._length))
        return self._ids

    @property
    def ids(self) -> list[str]:
        """All ids, in a new list."""
        return self.id_column.values()

    @property
    def schema(self) -> Schema:
        """The names and kinds of the columns, id first."""
        return Schema({"id": "text", **{name: column.kind for name, column in self.columns.items()}})

    @property
    def nbytes(self) -> int:
        """Bytes of the flat buffers."""
        buffers: Buffers = {}
        self.to_buffers(buffers)
        return sum(memoryview(buffer).nbytes for buffer in buffers.values())

    def take(self, rows: Array) -> Table:
        """The rows of these numbers, (k,) intp, in that order; repeats are allowed."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return Table(columns, len(rows), cast("TextColumn", self.id_column.take(rows)))

    def slice(self, start: int, stop: int) -> Table:
        """Rows from start to stop (both within the table), without copy of what is flat."""
        if not 0 <= start <= stop <= self._length:
            raise OutOfRange(f"rows {start} to {stop} of a table of {self._length}")
        columns = {name: column.slice(start, stop) for name, column in self.columns.items()}
        return Table(columns, stop - start, cast("TextColumn", self.id_column.slice(start, stop)))

    def select(self, names: Sequence[str]) -> Table:
        """The columns of these names that exist, and the ids."""
        return Table(
            {name: self.columns[name] for name in names if name in self.columns}, self._length, self.id_column
        )

    def with_columns(self, columns: Mapping[str, Column | None]) -> Table:
        """The same rows with these columns in place of those of the same name; None takes one away."""
        held = {**self.columns, **columns}
        return Table({name: c for name, c in held.items() if c is not None}, self._length, self.id_column)

    @staticmethod
    def concat(tables: Sequence[Table]) -> Table:
        """The rows of all tables, one after the other; a column that some lack is missing there.

        Raises:
            FieldTypeError: a column is of kinds that do not go together, such as text here and numbers there.
        """
        if len(tables) == 1:
            return tables[0]
        models = {name: column for table in reversed(tables) for name, column in table.columns.items()}
        names = dict.fromkeys(name for table in tables for name in table.columns)
        columns = {
            name: join_columns(
                name,
                [t.columns[name] if name in t.columns else models[name].missing(len(t)) for t in tables],
            )
            for name in names
        }
        length = sum(map(len, tables))
        ids = join_columns("id", [table.id_column for table in tables]) if tables else TextColumn([])
        return Table(columns, length, cast("TextColumn", ids))

    def child(self, name: str) -> Table | None:
        """The table below: all chunks, or all matches, of all rows; None when no row has any."""
        column = self.columns.get(name)
        return column.child if isinstance(column, DocsColumn) else None

    def to_buffers(self, into: Buffers, prefix: str = "") -> Form:
        """Adds flat arrays to `into`; gives the form, a small JSON value, that reads them back.

        Raises:
            BadValue: a row has no id, or documents are nested deeper than can be read back.
            FieldTypeError: a column holds what cannot be stored; the message names the column and the row.
        """
        if prefix.count("/") > DEEPEST:
            raise BadValue(f"documents are nested more than {DEEPEST} levels deep")
        gaps = self.id_column.present
        if gaps is not None and not gaps.all():
            raise BadValue(f"row {int(gaps.argmin())} of a table has no id")
        columns = {"id": self.id_column, **self.columns}
        forms = [[name, column.to_buffers(prefix + _escaped(name), into)] for name, column in columns.items()]
        return {"length": self._length, "columns": forms}

    @classmethod
    def from_buffers(cls, form: Any, buffers: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Table:
        """The table that `to_buffers` wrote, on the same memory.

        Raises:
            CorruptData: the form or a buffer is not what it should be; the message names the column.
        """
        if depth > DEEPEST:
            raise CorruptData(f"documents are nested more than {DEEPEST} levels deep")
        columns: dict[str, Column] = {}
        try:
            length = form["length"]
            if type(length) is not int or length < 0:
                raise CorruptData(f"a table of the length {length!r:.60}")
            for name, inner in form["columns"]:
                if not isinstance(name, str) or name in columns:
                    raise CorruptData(f"a column has the name {name!r:.60}, which is no text or is taken")
                where = prefix + _escaped(name)
                if inner["kind"] == "docs":
                    columns[name] = DocsColumn.from_buffers(inner, where, buffers, depth)
                else:
                    columns[name] = column_from_buffers(inner, where, buffers)
                if len(columns[name]) != length:
                    raise CorruptData(
                        f"column {name!r} has {len(columns[name])} rows where {length} were announced"
                    )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CorruptData):
                raise
            raise CorruptData(f"the form of a table is malformed: {error!r:.200}") from None
        ids = columns.pop("id", None)
        if not isinstance(ids, TextColumn) or ids.has_mask:
            raise CorruptData("a table has no ids")
        return cls(columns, length, ids)


class DocsColumn(Column):
    """Nested documents: (n + 1,) int64 offsets into one child table."""

    __slots__ = ("_checked", "child", "offsets")
    child: Table
    offsets: Array
    kind: ClassVar[Kind] = "docs"

    def __init__(self, offsets: Array, child: Table) -> None:
        self.offsets = offsets
        self.child = child
        self._checked = False

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def bounds(self, row: int) -> tuple[int, int]:
        """The first row of the child table that belongs to this row, and the first behind it that does not."""
        at = range(len(self))[row]
        start, stop = self.offsets[at : at + 2].tolist()
        if not 0 <= start <= stop <= len(self.child):
            raise CorruptData("the offsets of nested documents do not fit their table: the bytes are damaged")
        return start, stop

    def value(self, row: int) -> Table:
        return self.child.slice(*self.bounds(row))

    def values(self) -> list[Any]:
        return [self.value(row) for row in range(len(self))]

    def checked(self) -> Array:
        """The offsets, if all rise and stay within the child table; looked at once.

        Raises:
            CorruptData: they do not.
        """
        offsets = self.offsets
        if not self._checked:
            if offsets[0] < 0 or offsets[-1] > len(self.child) or bool((offsets[1:] < offsets[:-1]).any()):
                raise CorruptData(
                    "the offsets of nested documents do not fit their table: the bytes are damaged"
                )
            self._checked = True
        return offsets

    def child_rows(self, rows: Array) -> Array:
        """The rows of the child table that belong to these rows, in order."""
        starts, counts = self._stretches(rows)
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        return np.repeat(starts - (ends - counts), counts) + np.arange(total)

    def _stretches(self, rows: Array) -> tuple[Array, Array]:
        """Where the stretch of each of these rows begins in the child table, and how long it is."""
        offsets = self.checked()
        starts = offsets[:-1][rows]
        return starts, offsets[1:][rows] - starts

    def take(self, rows: Array) -> DocsColumn:
        counts = self._stretches(rows)[1]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        return DocsColumn(offsets, self.child.take(self.child_rows(rows)))

    def slice(self, start: int, stop: int) -> DocsColumn:
        return DocsColumn(self.offsets[start : stop + 1], self.child)

    @property
    def present(self) -> Array | None:
        return np.diff(self.offsets) > 0

    def missing(self, count: int) -> DocsColumn:
        return DocsColumn(np.zeros(count + 1, np.int64), Table({}, 0, []))

    def joined(self, others: Sequence[Column]) -> DocsColumn:
        parts = [self, *cast("Sequence[DocsColumn]", others)]
        counts = np.concatenate([np.diff(part.checked()) for part in parts])
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        cut = [part.child.slice(int(part.offsets[0]), int(part.offsets[-1])) for part in parts]
        return DocsColumn(offsets, Table.concat(cut))

    def to_buffers(self, name: str, into: Buffers) -> Form:
        offsets = self.checked()
        into[name + ".offsets"] = offsets - offsets[0]
        child = self.child.slice(int(offsets[0]), int(offsets[-1]))
        form = child.to_buffers(into, name + "/")
        return {"kind": self.kind, "layout": self.layout, "length": len(self), "child": form}

    @classmethod
    def from_buffers(cls, form: Form, name: str, buffers: Mapping[str, Any], depth: int = 0) -> DocsColumn:
        length = form.get("length")
        if type(length) is not int or length < 0 or form.get("layout") != cls.layout:
            raise CorruptData(f"column {name!r} has the length {length!r:.60}, or a layout that is none")
        offsets = read_array(buffers, name + ".offsets", "<i8", length + 1)
        return cls(offsets, Table.from_buffers(form.get("child"), buffers, name + "/", depth + 1))


def _escaped(name: str) -> str:
    """The name of a column in the names of its buffers, where '.' and '/' have a meaning."""
    return name.replace("%", "%25").replace(".", "%2E").replace("/", "%2F")
