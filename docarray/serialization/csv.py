"""CSV: a line for each document, below one with names.

Rule 1: a file of ours is read back as it was. What a plain cell would not say stands in it as JSON, and beside lists of
        numbers the column `_arrays` says dtype and framework, as in JSON.
Rule 2: a file of anyone is read: columns that are fields are converted, those that are not become tags, as text.
Rule 3: the limit on the size of a cell, which the module `csv` has once for a whole process, is left alone.
"""

from __future__ import annotations

import ast
import codecs
import csv
import functools
import importlib.util
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO, Final, cast

import numpy as np

from docarray import tagged
from docarray.columns import Column, JsonColumn, NumberColumn, Struct, TextColumn, column_of
from docarray.errors import CorruptData, FieldTypeError, FormatError, UnknownField, UnknownName
from docarray.format import Format
from docarray.garbage import gc_paused
from docarray.ids import new_ids
from docarray.schema import FIELDS, Kind, field_named
from docarray.serialization.json import joined, json_cells, table_of_cells, values_of_cells
from docarray.table import Table
from docarray.tensors import to_numpy

__all__ = ["CSV", "save_embeddings_csv"]

_TAG: Final = "tag__"
_BESIDE: Final = "_arrays"
_MOST_TAGS: Final = 1024
_ROWS: Final = 1024
_SAMPLE: Final = 4096


class Csv(Format):
    """Documents as lines, their fields as columns.

    What it cannot say: the order of the keys of tags that stand in columns of their own (it is that of the columns);
    containers that are empty (tags, scores, chunks) are as good as none. A document that has nothing in any column
    that is written is a line all the same.
    """

    name = "csv"
    suffixes: tuple[str, ...] = (".csv",)
    mime_type = "text/csv"

    def dumps(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        table: Table,
        *,
        flatten_tags: bool = True,
        exclude_fields: Sequence[str] | None = None,
        dialect: Any = "excel",
        with_header: bool = True,
        encoding: str | None = None,
    ) -> bytes:
        """A line for each document, and before them one with the names of the fields that any of them has.

        A cell is empty where a document lacks the field. An empty text is `""`, two quotes, and a text of nothing but
        quotes has two more. Blobs are base64; arrays, locations, scores and nested documents are JSON.

        Args:
            table: the documents.
            flatten_tags: a column `tag__<key>` for each tag, in which text stands as it is, unless it would be read as
                something else: numbers, `true`, `null`, and all else are JSON. Tags with a key that is no str, or with
                more than 1024 keys among them, and all tags if this is False, stand as JSON in a column `tags`.
            exclude_fields: fields, and columns `tag__<key>`, that are left out.
            dialect: as of the standard module `csv`: a name, or a Dialect.
            with_header: whether the first line has the names.
            encoding: of the text; None is UTF-8.

        Raises:
            FieldTypeError: a value cannot be said; the message names document and field.
            UnknownField: a name in `exclude_fields` is none.
        """
        with gc_paused():
            columns = _columns(table, flatten_tags, exclude_fields or ())
            text = _text_of(columns, len(table), with_header, _dialect(dialect))
        return _encoded(text, encoding)

    def loads(self, data: memoryview, **options: Any) -> Table:
        """The documents of all lines; options as of `read`."""
        text = _decoded(bytes(data), options.pop("encoding", None))
        with gc_paused():
            return joined(list(_tables(io.StringIO(text, newline=""), 16 * _ROWS, **options)))

    def read(self, stream: BinaryIO, **options: Any) -> Iterator[Table]:
        """Tables of up to 1024 documents.

        Args:
            stream: a file of ours, the old library's, or anyone's.
            options: `field_resolver`, names of columns and the fields that they are; `dialect`, as of the standard
                module `csv`, or 'auto', which looks at the first 4096 characters; `with_header`; `columns`, the names
                where there is no header; `encoding`, by default UTF-8, with or without a byte order mark.

        Raises:
            CorruptData: a row has more or fewer cells than the header, or a cell cannot be read; the message names
                row and column.
        """
        name = options.pop("encoding", None) or "utf-8"
        try:
            text = io.TextIOWrapper(stream, _with_mark(name), errors="surrogatepass", newline="")
        except LookupError:
            raise UnknownName(f"no encoding is called {name!r}") from None
        try:
            yield from _tables(text, _ROWS, **options)
        except UnicodeDecodeError as error:
            raise CorruptData(f"no text in {name}: {error.reason} at byte {error.start}") from None
        finally:
            text.detach()


# ---------------------------------------------------------------------------------------------- writing

_ODD_TAG: Final = re.compile(
    r'["\[{]|(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|NaN|-?Infinity)?\Z'
)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<rest>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_LETTER: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SPECIAL: Final = re.compile('[",\r\n]')


def _columns(table: Table, flatten_tags: bool, exclude: Sequence[str]) -> dict[str, list[str]]:
    """The cells of each column, in order."""
    for name in exclude:
        if not name.startswith(_TAG):
            field_named(name)
    for name in table.columns:
        field_named(name)
    held = table.with_columns({name: None for name in exclude if name in table.columns})
    plain = {name: column for name, column in held.columns.items() if FIELDS[name].kind in ("text", "number")}
    tags = held.columns.get("tags") if flatten_tags else None
    rest = held.with_columns({name: None for name in [*plain, "tags" if tags is not None else ""]})
    said = json_cells(rest) if rest.columns else {}
    flat: dict[str, list[str]] = {}
    if tags is not None:
        whole, flat = _flattened(tags.values(), table.ids)
        if whole is not None:
            said["tags"] = whole
    cells: dict[str, list[str]] = {}
    for name, field in FIELDS.items():
        if name == "id":
            if name not in exclude:
                cells[name] = _text_cells(table.ids)
        elif name in plain:
            values = plain[name].values()
            if any(value is not None for value in values):
                cells[name] = _text_cells(values) if field.kind == "text" else list(map(_number_cell, values))
        elif name in said:
            bare = field.kind == "bytes"
            cells[name] = (
                [cell[1:-1] if len(cell) > 2 else cell for cell in said[name]] if bare else said[name]
            )
    cells |= {name: column for name, column in flat.items() if name not in exclude}
    if _BESIDE in said:
        cells[_BESIDE] = said[_BESIDE]
    return cells


def _text_cells(values: list[Any]) -> list[str]:
    return [value if value and value[0] != '"' else _quoted(value) for value in values]


def _quoted(value: str | None) -> str:
    """A text as a cell: the empty one is two quotes, and one of nothing but quotes has two more."""
    if value is None:
        return ""
    return value if value == '"' or value.strip('"') else value + '""'


def _number_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        try:
            return int.__repr__(value)
        except ValueError:  # beyond some 4 300 digits Python refuses to write it in decimal
            return hex(value)
    return float.__repr__(float(value))


def _flattened(values: list[Any], ids: list[str]) -> tuple[list[str] | None, dict[str, list[str]]]:
    """The cells of tags: in one column for rows that need it, and in one for each key."""
    keys: dict[Any, None] = dict.fromkeys(chain.from_iterable(value for value in values if value))
    kinds = set(map(type, keys))
    whole: list[str] | None = None
    if not kinds <= {str} or len(keys) > _MOST_TAGS:
        whole = [""] * len(values)
        values = values.copy()
        for row, value in enumerate(values):
            if value and (len(keys) > _MOST_TAGS or not set(map(type, value)) <= {str}):
                whole[row], values[row] = _tag_cell(value, "tags", ids[row]), None
        keys = dict.fromkeys(chain.from_iterable(value for value in values if value))
    gone: dict[Any, Any] = {}
    rows: list[dict[Any, Any]] = [value or gone for value in values]
    flat: dict[str, list[str]] = {}
    for key in keys:
        column: list[str] = []
        for row, value in enumerate(rows):
            cell = value.get(key, gone)
            if type(cell) is str:
                column.append(cell if not _ODD_TAG.match(cell) else json.dumps(cell, ensure_ascii=False))
            elif cell is gone:
                column.append("")
            elif type(cell) is float and cell - cell == 0.0:
                column.append(repr(cell))
            else:
                column.append(_tag_cell(cell, key, ids[row]))
        flat[_TAG + str(key)] = column
    return whole, flat


def _tag_cell(value: Any, key: str, name: str) -> str:
    try:
        return tagged.dumps(value)
    except FieldTypeError as error:
        raise FieldTypeError(f"tag {key!r} of document {name!r}: {error}") from None


def _text_of(columns: dict[str, list[str]], length: int, with_header: bool, dialect: csv.Dialect) -> str:
    header = [_text_cells([name])[0] for name in columns] if with_header else []
    if not columns:
        raise UnknownField("all fields are excluded, even the id: a line would have no cell")
    if not _is_excel(dialect):
        out = io.StringIO(newline="")
        writer = csv.writer(out, dialect)
        if with_header:
            writer.writerow(header)
        writer.writerows(zip(*columns.values(), strict=True))
        return out.getvalue()
    quoted = [_with_quotes(cells) for cells in columns.values()]
    if len(columns) == 1:  # a line of one empty cell would be no line
        quoted = [[cell or '""' for cell in quoted[0]]]
    lines = list(map(",".join, zip(*quoted, strict=True)))
    return "\r\n".join(([",".join(_with_quotes(header))] if with_header else []) + lines + [""])


def _with_quotes(cells: list[str]) -> list[str]:
    """The cells, those with a comma, a quote or the end of a line in quotes: as `csv.writer` does it."""
    if not _SPECIAL.search("".join(cells)):
        return cells
    return [
        '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) is not None else cell for cell in cells
    ]


def _encoded(text: str, encoding: str | None) -> bytes:
    name = encoding or "utf-8"
    try:
        data = text.encode(name, "surrogatepass")
        if _LETTER.search(text) and data.decode(name, "surrogatepass") != text:
            raise FieldTypeError(
                f"two lone surrogates side by side would be one letter in {name}: write UTF-8"
            )
        return data
    except LookupError:
        raise UnknownName(f"no encoding is called {name!r}") from None
    except UnicodeEncodeError as error:
        raise FieldTypeError(
            f"the encoding {name!r} has no {text[error.start]!r}: write UTF-8, or leave that field out"
        ) from None


# ---------------------------------------------------------------------------------------------- dialects


def _dialect(dialect: Any) -> csv.Dialect:
    try:
        return cast("csv.Dialect", csv.get_dialect(dialect) if isinstance(dialect, str) else dialect)
    except csv.Error:
        known = ", ".join(csv.list_dialects())
        raise UnknownName(f"no dialect of CSV is called {dialect!r}. There are: {known}, auto") from None


_PARTS: Final = ("delimiter", "quotechar", "doublequote", "escapechar", "lineterminator", "quoting")


def _is_excel(dialect: csv.Dialect) -> bool:
    return all(getattr(dialect, part, None) == getattr(csv.excel, part) for part in _PARTS)


_DELIMITERS: Final = ",;\t|"


def _sniffed(sample: str, is_whole: bool = True) -> Any:
    """The dialect that a sample is of; that of Excel where there is no delimiter in it to be found.

    Not `csv.Sniffer`, which takes apostrophes for quotes, and letters of the text for delimiters. The delimiter is one
    that the header has, and gives all rows as many cells as that; of several the one that gives the most.
    """
    parser = _parser()
    ranks: dict[str, tuple[bool, bool, int]] = {}
    for each in _DELIMITERS:
        rows = [row for row in parser.reader(io.StringIO(sample, newline=""), delimiter=each) if row]
        if not is_whole and len(rows) > 1:
            rows.pop()
        if rows:
            ranks[each] = len(rows[0]) > 1, len(set(map(len, rows))) == 1, len(rows[0])
    found = max(ranks, key=ranks.__getitem__, default=",")

    class Dialect(csv.excel):
        delimiter = found

    return Dialect


@functools.cache
def _parser() -> Any:
    """The compiled part of the module `csv`, made once more for us alone, with a limit of its own on cells.

    An embedding is longer than the 131 072 characters that `csv` takes, and its limit is one for all users in a
    process.
    """
    spec = importlib.util.find_spec("_csv")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cast("Any", module).field_size_limit((1 << 31) - 1)
    return module


# ---------------------------------------------------------------------------------------------- reading


def _with_mark(encoding: str) -> str:
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _decoded(raw: bytes, encoding: str | None) -> str:
    name = encoding or "utf-8"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    try:
        return raw.decode(_with_mark(name), "surrogatepass")
    except LookupError:
        raise UnknownName(f"no encoding is called {name!r}") from None
    except UnicodeDecodeError as error:
        raise CorruptData(f"no text in {name}: byte {error.start} cannot be read") from None


def _tables(
    lines: Iterable[str],
    size: int,
    *,
    field_resolver: Mapping[str, str] | None = None,
    dialect: Any = "excel",
    with_header: bool = True,
    columns: Sequence[str] | None = None,
) -> Iterator[Table]:
    """Tables of up to `size` documents."""
    lines = iter(lines)
    if isinstance(dialect, str) and dialect == "auto":
        sample, length = list[str](), 0
        for line in lines:
            sample.append(line)
            length += len(line)
            if length > _SAMPLE:
                break
        lines = chain(sample, lines)
        dialect = _sniffed("".join(sample)[:_SAMPLE], length <= _SAMPLE)
    parser = _parser()
    reader = parser.reader(lines, _dialect(dialect), strict=True)
    if with_header:
        header = [_unquoted(name) for row in _rows(reader, 1, parser.Error) for name in row]
    elif columns is None:
        raise FieldTypeError("without a header the names of the columns are wanted: columns=['id', 'text']")
    else:
        header = list(columns)
    if not header:
        raise CorruptData("no header, nor anything else: the file is empty")
    targets = [(field_resolver or {}).get(name, name) for name in header]
    if len(set(targets)) < len(targets):
        name = next(name for name, count in Counter(targets).items() if count > 1)
        raise CorruptData(f"the header has the column {name!r} more than once")
    done = 0
    while rows := _rows(reader, size, parser.Error):
        if set(map(len, rows)) != {len(header)}:
            at = next(at for at, row in enumerate(rows) if len(row) != len(header))
            raise CorruptData(
                f"row {done + at + 1} has {len(rows[at])} cells where the header has {len(header)}"
            )
        yield _Cells(targets, header, rows, done + 1).table()
        done += len(rows)
    if not done:
        yield Table({}, 0, [])


def _rows(reader: Any, count: int, failure: type[Exception]) -> list[list[str]]:
    """The next rows, which are `count` at most; none at the end. Blank lines are no rows."""
    try:
        rows: list[list[str]] = list(islice(reader, count))
        while rows and [] in rows:
            rows = [row for row in rows if row] or list(islice(reader, count))
        return rows
    except failure as error:
        raise CorruptData(f"line {reader.line_num} is no CSV: {error}") from None


class _Wrong(Exception):
    """A cell that its column does not take; and which of the cells, where that is known."""

    def __init__(self, message: str, at: int | None = None) -> None:
        super().__init__(message)
        self.at = at


class _Cells:
    """Rows of cells on their way to a table."""

    def __init__(self, names: list[str], header: list[str], rows: list[list[str]], first: int) -> None:
        self._names = names
        self._header = header
        self._rows = rows
        self._first = first  # the number of the first row

    def table(self) -> Table:
        length = len(self._rows)
        columns: dict[str, Column] = {}
        records: list[dict[str, Any]] = []
        ids: list[Any] = [None] * length
        whole: list[Any] = []
        tags: dict[str, list[Any]] = {}
        for name, said, cells in zip(self._names, self._header, zip(*self._rows, strict=True), strict=True):
            try:
                if name == "id":
                    ids = _text_values(cells)
                elif name == "tags":
                    whole = [_whole_tags(cell, at) for at, cell in enumerate(cells)]
                elif name in _DIRECT:
                    kind = _DIRECT[name]
                    values = _text_values(cells) if kind == "text" else _number_values(cells)
                    if any(value is not None for value in values):
                        columns[name] = column_of(kind, values)
                elif name in FIELDS or name in (_BESIDE, "content"):
                    records = records or [{} for _ in range(length)]
                    for at, value in _values(name, cells):
                        records[at][name] = value
                elif name.startswith(_TAG):
                    tags[name[len(_TAG) :]] = _tag_values(cells)
                else:
                    tags[name] = list(cells) if "" not in cells else [cell or _GONE for cell in cells]
            except _Wrong as error:
                raise CorruptData(f"row {self._first + (error.at or 0)}, column {said!r}: {error}") from None
        missing = iter(new_ids(ids.count(None)))
        ids = [next(missing) if key is None else key for key in ids]
        if records:
            columns |= self._converted(records, ids).columns
        held = _tags_column(tags, whole, length)
        if held is not None:
            columns["tags"] = held
        return Table({name: columns[name] for name in FIELDS if name in columns}, length, ids)

    def _converted(self, records: list[dict[str, Any]], ids: list[str]) -> Table:
        """Fields that JSON knows how to read."""
        for record, key in zip(records, ids, strict=True):
            record["id"] = key
        try:
            return table_of_cells(records)
        except (FormatError, UnknownField) as error:
            last = self._first + len(records) - 1
            raise CorruptData(f"rows {self._first} to {last}: {error}") from None


# Fields whose cells are values as they stand. (Granularity and adjacency are ints, which JSON looks to.)
_DIRECT: Final[Mapping[str, Kind]] = {
    **{name: "text" for name, field in FIELDS.items() if field.kind == "text" and name != "id"},
    "weight": "number",
    "offset": "number",
}
_GONE: Final = object()


def _tags_column(tags: dict[str, list[Any]], whole: list[Any], length: int) -> Column | None:
    """The column of tags, from a list of values for each key, and dicts."""
    rows: list[Any]
    if 0 < len(tags) <= 64 and not whole and not any(map(_has_gaps, tags.values())):
        # Each has each key: that is a column a key already, and dicts are made of it when somebody asks.
        held = {name: _column(values) for name, values in tags.items()}
        return JsonColumn(None, Struct([tuple(held)], None, held), length=length)
    if tags and not any(map(_has_gaps, tags.values())):
        rows = [dict(zip(tags, row)) for row in zip(*tags.values(), strict=True)]  # noqa: B905
    else:
        rows = [{} for _ in range(length)]
        for name, values in tags.items():
            for row, value in zip(rows, values, strict=True):
                if value is not _GONE:
                    row[name] = value
    if whole:
        rows = [row if more is None else {**row, **more} for row, more in zip(rows, whole, strict=True)]
    if not any(rows):
        return None
    return column_of("json", [row or None for row in rows])


def _column(values: list[Any]) -> Column:
    """Values of one tag as the plainest column that gives them back."""
    kinds = set(map(type, values))
    if kinds == {str}:
        return TextColumn(values)
    return NumberColumn.of(values) if kinds in ({int}, {float}) else JsonColumn(values)


def _has_gaps(values: list[Any]) -> bool:
    return type(_GONE) in set(map(type, values))


def _text_values(cells: Sequence[str]) -> list[Any]:
    return [cell if cell and cell[0] != '"' else _unquoted(cell) if cell else None for cell in cells]


def _number_values(cells: Sequence[str]) -> list[Any]:
    return [_number(cell, at) if cell else None for at, cell in enumerate(cells)]


# Columns are looked at as a whole first: one cell a line, all of them of one kind.
_ALL_FLOATS: Final = re.compile(r"(?>-?(?:0|[1-9][0-9]*)\.[0-9]++(?:[eE][+-]?[0-9]++)?\n)++")
_ANY_ODD: Final = re.compile(r'^["\[{\-0-9]', re.MULTILINE)


def _tag_values(cells: Sequence[str]) -> list[Any]:
    """The values of tags."""
    if "" not in cells:
        text = "\n".join(cells) + "\n"
        if _ALL_FLOATS.fullmatch(text) and text.count("\n") == len(cells):
            return list(map(float, cells))
        if not _ANY_ODD.search(text) and _CONSTANTS.keys().isdisjoint(cells):
            return list(cells)
    return [_tag(cell) if cell else _GONE for cell in cells]


def _values(name: str, cells: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """The values of a field that JSON knows how to read, with the number of the row of each."""
    filled = [(at, cell) for at, cell in enumerate(cells) if cell]
    if name == "content":
        yield from ((at, _unquoted(cell)) for at, cell in filled)
    elif name != _BESIDE and FIELDS[name].kind == "number":
        yield from ((at, _number(cell, at)) for at, cell in filled)
    elif name == "blob":
        yield from ((at, "" if cell == '""' else cell) for at, cell in filled)
    else:
        yield from _json_values([at for at, _ in filled], [cell for _, cell in filled])


def _json_values(rows: list[int], cells: list[str]) -> Iterator[tuple[int, Any]]:
    values = values_of_cells(cells)
    done = 0
    while done < len(cells):
        try:
            for value in values:
                yield rows[done], value
                done += 1
        except CorruptData as error:
            yield rows[done], _literal(cells[done], error, rows[done])
            done += 1
            values = values_of_cells(cells[done:])


def _unquoted(cell: str) -> str:
    """The text that `_quoted` wrote."""
    return cell if len(cell) < 2 or cell.strip('"') else cell[2:]


_INT: Final = re.compile(r"[+-]?[0-9]+")


def _number(cell: str, at: int) -> int | float:
    try:
        if _INT.fullmatch(cell):
            return int(cell)
        if cell.startswith(("0x", "-0x")):
            return int(cell, 16)
        return float(cell)
    except ValueError:
        raise _Wrong(f"a number is wanted; got {cell!r:.60}", at) from None


_CONSTANTS: Final[Mapping[str, Any]] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}


def _tag(cell: str) -> Any:
    """The value of a tag: JSON where it is that, otherwise text."""
    first = cell[0]
    if first in "-0123456789":
        found = _NUMBER.fullmatch(cell)
        if found is not None and len(cell) < 4000:
            return float(cell) if found["rest"] else int(cell)
    elif first in '"[{':
        try:
            return tagged.loads(cell)
        except FormatError:
            return cell  # people's text may begin with a bracket
    return _CONSTANTS.get(cell, cell)


def _whole_tags(cell: str, at: int) -> dict[Any, Any] | None:
    if not cell:
        return None
    try:
        found = tagged.loads(cell)
    except FormatError as error:
        found = _literal(cell, error, at)
    if not isinstance(found, dict):
        raise _Wrong(f"a dict is wanted; got {cell!r:.60}", at)
    return cast("dict[Any, Any]", found)


def _literal(cell: str, error: Exception, at: int | None) -> Any:
    """What the old library wrote for containers: not JSON, but the text that Python shows."""
    if cell[0] not in "[{" or len(cell) > 1 << 20:
        raise _Wrong(str(error), at)
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise _Wrong(str(error), at) from None


# ---------------------------------------------------------------------------------------------- embeddings

_SIMPLE: Final = re.compile(r"%[-+ #0]*[0-9]*(?:\.[0-9]+)?[eEfFgG]")


def save_embeddings_csv(
    matrix: Any,
    stream: BinaryIO,
    *,
    encoding: str = "utf-8",
    fmt: Any = "%.18e",
    delimiter: str = " ",
    newline: str = "\n",
    header: str = "",
    footer: str = "",
    comments: str = "# ",
) -> None:
    """Writes a matrix as `numpy.savetxt` does, a line for each row, only faster.

    Args:
        matrix: (n, d), of any framework.
        stream: a file opened in binary mode.
        encoding: of the text.
        fmt, delimiter, newline, header, footer, comments: as of `numpy.savetxt`.

    >>> file = io.BytesIO()
    >>> save_embeddings_csv(np.eye(2), file, fmt='%.1f', delimiter=',')
    >>> file.getvalue()
    b'1.0,0.0\\n0.0,1.0\\n'
    """
    data = to_numpy(matrix)
    encoder = codecs.getincrementalencoder(encoding)()

    def write(text: str) -> None:
        stream.write(encoder.encode(text))

    is_simple = isinstance(fmt, str) and _SIMPLE.fullmatch(fmt) is not None
    if not is_simple or data.ndim != 2 or data.dtype.kind != "f" or data.dtype.itemsize > 8:
        text = io.StringIO(newline="")
        np.savetxt(
            text,
            data,
            fmt=fmt,
            delimiter=delimiter,
            newline=newline,
            header=header,
            footer=footer,
            comments=comments,
        )
        write(text.getvalue())
        return
    if header:
        write(comments + header.replace("\n", "\n" + comments) + newline)
    line = delimiter.join([fmt] * data.shape[1]).replace("%%", "%") + newline
    for start in range(0, len(data), 256):
        block = data[start : start + 256]
        write(line * len(block) % tuple(block.ravel().tolist()))
    if footer:
        write(comments + footer.replace("\n", "\n" + comments) + newline)


CSV: Final = Csv()
