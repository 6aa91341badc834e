"""Documents from what lies around: files of a folder, lines, rows of an array, frames of a camera.

Rule 1: everything streams. A source is read piece by piece, and no further than `size` asks for.
Rule 2: of each loader there are two: `tables_from_*` gives columns, which an array takes whole; `from_*` gives
        documents, one after the other, made of them.
Rule 3: arguments are checked by the call, not by the first element; a wrong row names its file and line.
Rule 4: sampling uses a generator of its own, and `size` counts what was drawn.
"""

from __future__ import annotations

import codecs
import csv
import glob
import io
import itertools
import mimetypes
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast
from urllib.parse import quote

import numpy as np

from docarray import compression, datauri, exchange, files, tensors
from docarray.columns import BytesColumn, Column, TextColumn, column_of, tensor_column
from docarray.document import Document
from docarray.errors import BadValue, CorruptData, DocArrayError, FieldTypeError
from docarray.garbage import gc_paused
from docarray.intake import column_from
from docarray.records import table_of
from docarray.registry import require, resolve
from docarray.rows import Rows, rows_of_matrix
from docarray.settle import settled
from docarray.table import Table

__all__ = [
    "BadMode",
    "Lines",
    "Pair",
    "from_csv",
    "from_dataframe",
    "from_files",
    "from_huggingface_datasets",
    "from_lines",
    "from_ndarray",
    "from_ndjson",
    "from_old_sqlite",
    "generator_from_webcam",
    "tables_from_csv",
    "tables_from_dataframe",
    "tables_from_files",
    "tables_from_huggingface_datasets",
    "tables_from_lines",
    "tables_from_ndarray",
    "tables_from_ndjson",
    "tables_from_old_sqlite",
]

T = TypeVar("T")

Pair: TypeAlias = tuple[Document, Document]
"""A document and what is to be found for it: what a row with both 'document' and 'groundtruth' becomes."""

Lines: TypeAlias = "files.Source | io.TextIOBase | Iterable[str] | Iterable[bytes]"
"""Where lines come from: a path, a URL, bytes, an open file (binary or text), or an iterable of lines."""

_BLOCK: Final = 1 << 20  # bytes of lines, or of contents of files, that become one table
_FIRST: Final = 16  # lines that are read ahead at first; then ever more, up to
_AHEAD: Final = 4096
_ROWS: Final = 4096

_SUFFIXES: Final = {
    **dict.fromkeys((".jsonlines", ".ndjson", ".jsonl", ".jl", ".ldjson"), "json"),
    **dict.fromkeys((".csv", ".tcsv"), "csv"),
}
_SIDES: Final = frozenset({"document", "groundtruth"})

_Part: TypeAlias = "Table | list[Pair]"


class BadMode(BadValue, RuntimeError):
    """A `read_mode` that there is not."""


# ------------------------------------------------------------------------------------------------ size, sampling


class _Draw:
    """What is taken of the rows that come by: each with a probability, and so many at most."""

    def __init__(self, size: int | None, rate: float | None, seed: int | None) -> None:
        if size is not None and (
            not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 0
        ):
            raise BadValue(f"size={size!r}: it is None or an int of 0 or more")
        if rate is not None and not (isinstance(rate, (int, float)) and 0 <= rate <= 1):
            raise BadValue(f"sampling_rate={rate!r}: it is None or a number from 0 to 1")
        self.left = None if size is None else int(size)
        self._rate = 1.0 if rate is None else rate
        self._random = None if rate is None else np.random.default_rng(seed)

    def rows(self, count: int) -> range | np.ndarray[Any, Any]:
        """The rows that are taken of the next `count`."""
        kept: Any = range(count)
        if self._random is not None:
            # One draw a row, whatever the pieces are, so that a seed gives the same rows from any source.
            kept = np.flatnonzero(self._random.random(count) < self._rate)
        if self.left is not None:
            kept = kept[: self.left]
            self.left -= len(kept)
        return kept

    def of(self, tables: Iterator[T], take: Callable[[T, Any], T]) -> Iterator[T]:
        """The parts of all pieces that are taken; no piece is asked for when there are enough."""
        for piece in tables if self.left != 0 else ():
            count = len(cast("Any", piece))
            kept = self.rows(count)
            if len(kept):
                yield piece if len(kept) == count else take(piece, kept)
            if self.left == 0:
                return


def _taken(part: _Part, kept: Any) -> _Part:
    if isinstance(part, Table):
        return part.slice(0, len(kept)) if isinstance(kept, range) else part.take(kept)
    return [part[row] for row in kept]


def _documents(parts: Iterable[_Part]) -> Iterator[Any]:
    for part in parts:
        if isinstance(part, Table):
            yield from Rows(part).docs(range(len(part)))
        else:
            yield from part


def _no_pairs(parts: Iterable[_Part]) -> Iterator[Table]:
    for part in parts:
        if not isinstance(part, Table):
            raise BadValue(
                "rows with both 'document' and 'groundtruth' are pairs, which no array holds: iterate over the "
                "function of docarray.document.generators instead"
            )
        yield part


# ------------------------------------------------------------------------------------------------ files


def from_files(
    patterns: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    recursive: bool = True,
    size: int | None = None,
    sampling_rate: float | None = None,
    read_mode: Literal["r", "rb"] | None = None,
    to_dataturi: bool = False,
    exclude_regex: str | None = None,
    *,
    to_datauri: bool = False,
    seed: int | None = None,
) -> Iterator[Document]:
    """A document for each file that patterns match: `uri` and `mime_type`, and the content if asked for.

    Args:
        patterns: one or several: paths with `*`, `?`, `[...]`, `**` and `~`, or URLs of fsspec (`s3://bucket/*.png`).
            The files of each come in the order of their names; folders are left out.
        recursive: whether `**` goes down into folders.
        size: how many documents at most.
        sampling_rate: the probability with which each file is taken, from 0 to 1.
        read_mode: 'r' sets `text` (UTF-8), 'rb' sets `blob`, None reads nothing.
        to_dataturi: whether `uri` becomes a data URI that holds the file. The name is old; see `to_datauri`.
        exclude_regex: files whose path it matches, from its beginning, are left out.
        to_datauri: the same as `to_dataturi`.
        seed: makes the sample the same each time.

    Raises:
        BadMode: another `read_mode`; it is a RuntimeError. BadValue: no regular expression, size or rate; or, while
            reading with 'r', a file that is no UTF-8.
        OSError: a file cannot be read. MissingExtra: a URL needs fsspec.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, 'a.txt').write_text('hi')
    ...     [(doc.text, doc.mime_type) for doc in from_files(f'{folder}/**/*.txt', read_mode='r')]
    [('hi', 'text/plain')]
    """
    return _documents(
        tables_from_files(
            patterns,
            recursive,
            size,
            sampling_rate,
            read_mode,
            to_dataturi,
            exclude_regex,
            to_datauri=to_datauri,
            seed=seed,
        )
    )


def tables_from_files(
    patterns: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    recursive: bool = True,
    size: int | None = None,
    sampling_rate: float | None = None,
    read_mode: Literal["r", "rb"] | None = None,
    to_dataturi: bool = False,
    exclude_regex: str | None = None,
    *,
    to_datauri: bool = False,
    seed: int | None = None,
) -> Iterator[Table]:
    """What `from_files` gives, as tables: of a MiB of contents each, or of 4096 paths."""
    draw = _Draw(size, sampling_rate, seed)
    if read_mode not in (None, "r", "rb"):
        raise BadMode(f"read_mode={read_mode!r}: it is 'r' for text, 'rb' for bytes or None to read nothing")
    excluded = None
    if exclude_regex is not None:
        try:
            excluded = re.compile(exclude_regex)
        except re.error as error:
            raise BadValue(f"exclude_regex={exclude_regex!r} is no regular expression: {error}") from None
    several = [patterns] if isinstance(patterns, (str, os.PathLike)) else list(patterns)
    for pattern in several:
        if not isinstance(cast("object", pattern), (str, os.PathLike)):
            raise FieldTypeError(f"a pattern is a str or a path; got {pattern!r:.80}")
    return _read_files(several, recursive, draw, read_mode, to_dataturi or to_datauri, excluded)


def _read_files(
    patterns: Iterable[str | os.PathLike[str]],
    recursive: bool,
    draw: _Draw,
    read_mode: str | None,
    to_datauri: bool,
    excluded: re.Pattern[str] | None,
) -> Generator[Table]:
    found = (name for pattern in patterns for name in _matching(os.fspath(pattern), recursive))
    wanted = (name for name in found if excluded is None or not excluded.match(name))
    names: Iterator[str] = itertools.chain.from_iterable(
        draw.of(([name] for name in wanted), lambda one, _: one)
    )
    while True:
        uris: list[str] = []
        types: list[str | None] = []
        contents: list[Any] = []
        held = 0
        for name in itertools.islice(names, _ROWS):
            types.append(mimetypes.guess_type(name)[0])
            if to_datauri or read_mode:
                data = bytes(files.read_all(name))
                uris.append(_datauri(data, types[-1]) if to_datauri else name)
                contents.append(_decoded(data, name) if read_mode == "r" else data)
                held += len(data)
                if held >= _BLOCK:
                    break
            else:
                uris.append(name)
        if not uris:
            return
        columns: dict[str, Column] = {"uri": TextColumn(uris)}
        if read_mode is not None:
            columns["text" if read_mode == "r" else "blob"] = (
                TextColumn(contents) if read_mode == "r" else BytesColumn(contents)
            )
        if any(types):
            columns["mime_type"] = column_of("text", types)
        yield Table(columns)


def _matching(pattern: str, recursive: bool) -> Iterator[str]:
    if not files.is_url(pattern):
        path = os.path.expanduser(pattern)
        if os.path.isfile(path):  # also one with brackets in its name
            return iter([path])
        return (name for name in sorted(glob.iglob(path, recursive=recursive)) if os.path.isfile(name))
    fsspec = require("fsspec", f"the URL {pattern!r}", '"docarray[remote]"')
    system, path = fsspec.core.url_to_fs(pattern, use_listings_cache=False)
    if not glob.has_magic(path):
        return iter([pattern])
    if not recursive:
        path = re.sub(r"\*\*+", "*", path)
    known = system.glob(path, detail=True)
    return (system.unstrip_protocol(name) for name in sorted(known) if known[name].get("type") != "directory")


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadValue(
            f"{name!r} is no text in UTF-8, at byte {error.start}: read_mode='rb' takes any file"
        ) from None


def _datauri(data: bytes, kind: str | None) -> str:
    if kind is not None and kind.startswith("text/"):
        return datauri.encode(data, kind, "utf-8")
    return datauri.encode(data, kind or "application/octet-stream", base64=True)


# ------------------------------------------------------------------------------------------------ lines


def from_csv(
    file: Lines,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    dialect: str | csv.Dialect | type[csv.Dialect] = "excel",
    encoding: str = "utf-8",
    *,
    seed: int | None = None,
) -> Iterator[Any]:
    """A document for each row of a CSV: columns named as a field set it, the others become tags.

    Args:
        file: a path, a URL, bytes, an open file (binary or text), or an iterable of lines. A name that ends in `.gz`,
            or in that of another compression, is unpacked.
        field_resolver: renames columns: `{'title': 'text'}`.
        size: how many documents at most; no more is read.
        sampling_rate: the probability with which each row is taken, from 0 to 1.
        dialect: the name of one of `csv`, 'auto' to find it out from the first lines, or a `csv.Dialect`.
        encoding: of bytes.
        seed: makes the sample the same each time.

    Returns:
        an iterator of Documents; of pairs (document, groundtruth), where columns have these two names.

    Raises:
        CorruptData: a row cannot be read; the message names file and line. OSError: nor can the file.
        BadValue, UnknownName: a size, a rate or a dialect that cannot be.

    >>> [(doc.text, doc.tags) for doc in from_csv(['text,colour', 'tea,green'])]
    [('tea', {'colour': 'green'})]
    """
    return _documents(_csv_parts(file, field_resolver, dialect, encoding, _Draw(size, sampling_rate, seed)))


def tables_from_csv(
    file: Lines,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    dialect: str | csv.Dialect | type[csv.Dialect] = "excel",
    encoding: str = "utf-8",
    *,
    seed: int | None = None,
) -> Iterator[Table]:
    """What `from_csv` gives, as tables. Pairs are a BadValue."""
    return _no_pairs(_csv_parts(file, field_resolver, dialect, encoding, _Draw(size, sampling_rate, seed)))


def from_ndjson(
    fp: Lines,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    *,
    seed: int | None = None,
) -> Iterator[Any]:
    """A document for each line of JSON; keys that are no field become tags.

    Args:
        fp: a path, a URL, bytes, an open file (binary or text), or an iterable of lines, which is read a little ahead.
        field_resolver: renames keys: `{'title': 'text'}`.
        size: how many documents at most; no more is read.
        sampling_rate: the probability with which each row is taken, from 0 to 1.
        seed: makes the sample the same each time.

    Returns:
        an iterator of Documents; of pairs (document, groundtruth) for lines that have these two keys.

    Raises:
        CorruptData: a line cannot be read; the message names file and line. OSError: nor can the file.
        BadValue: a size or a rate that cannot be.

    >>> [(doc.text, doc.tags) for doc in from_ndjson(['{"text": "tea", "price": 3}'])]
    [('tea', {'price': 3})]
    """
    return _documents(_json_parts(fp, field_resolver, _Draw(size, sampling_rate, seed)))


def tables_from_ndjson(
    fp: Lines,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    *,
    seed: int | None = None,
) -> Iterator[Table]:
    """What `from_ndjson` gives, as tables. Pairs are a BadValue."""
    return _no_pairs(_json_parts(fp, field_resolver, _Draw(size, sampling_rate, seed)))


def from_old_sqlite(
    path: str | os.PathLike[str],
    table_name: str | None = None,
    *,
    protocol: str = "pickle",
    compress: str | None = None,
) -> Iterator[Document]:
    """The documents that DocArray 0.13 to 0.21 kept in a file by `storage='sqlite'`, in their order.

    Args:
        path: the file; it is only read.
        table_name: which array of the file; None where there is one.
        protocol, compress: what its `serialize_config` said. Pickles are read through a list of classes that can run
            nothing.

    Raises:
        BadValue: there is no such array in the file, or several; the message names them.
        CorruptData: a row cannot be read; the message names its id. FileNotFoundError.

    `DocumentArray(from_old_sqlite('old.db'), storage='sqlite', config={'connection': 'new.db'})` brings one over.
    """
    return _documents(tables_from_old_sqlite(path, table_name, protocol=protocol, compress=compress))


def tables_from_old_sqlite(
    path: str | os.PathLike[str],
    table_name: str | None = None,
    *,
    protocol: str = "pickle",
    compress: str | None = None,
) -> Iterator[Table]:
    """`from_old_sqlite` as tables."""
    import sqlite3

    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {os.fspath(path)!r}")
    connection = sqlite3.connect(f"file:{quote(os.fspath(path))}?mode=ro", uri=True, check_same_thread=False)
    try:
        found = connection.execute("SELECT table_name FROM metadata ORDER BY table_name").fetchall()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise BadValue(f"{os.fspath(path)!r} is no file of the old storage 'sqlite': {error}") from None
    names = [str(row[0]) for row in found]
    if (table_name not in names) if table_name is not None else len(names) != 1:
        connection.close()
        wanted = "name one of them" if table_name is None else f"none is called {table_name!r}"
        raise BadValue(f"{os.fspath(path)!r} holds the arrays {', '.join(names) or 'none'}: {wanted}")
    return _old_rows(connection, table_name or names[0], protocol, compress)


def _old_rows(connection: Any, name: str, protocol: str, compress: str | None) -> Iterator[Table]:
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        cursor = connection.execute(f"SELECT doc_id, serialized_value FROM {quoted} ORDER BY item_order")
        while rows := cursor.fetchmany(_AHEAD):
            records: list[Any] = []
            for key, data in rows:
                try:
                    records.append(exchange.loads_record(data, protocol, compress))
                except DocArrayError as error:
                    raise CorruptData(f"document {key!r} of the old array {name!r}: {error}") from None
            yield settled(table_of(records))
    finally:
        connection.close()


def from_lines(
    lines: Iterable[str] | Iterable[bytes] | None = None,
    filepath: Lines | None = None,
    read_mode: Literal["r", "rb"] = "r",
    line_format: str | None = None,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    *,
    encoding: str = "utf-8",
    seed: int | None = None,
) -> Iterator[Any]:
    """A document for each line: of JSON, of CSV, or as text.

    Args:
        lines: an iterable of lines. Either this or `filepath`.
        filepath: a path, a URL, or another source of `from_ndjson`. Its suffix says the format where it can: .jsonl,
            .ndjson, .jsonlines, .jl, .ldjson; .csv, .tcsv.
        read_mode: 'r' makes a line of no format a `text`, 'rb' a `blob`; both without the end of the line.
        line_format: 'json', 'csv', or anything else for plain lines. None is 'json' for `lines`, plain for a path.
        field_resolver: renames keys or columns: `{'title': 'text'}`.
        size: how many documents at most; no more is read.
        sampling_rate: the probability with which each line is taken, from 0 to 1.
        encoding: of bytes, except those of JSON.
        seed: makes the sample the same each time.

    Returns:
        an iterator of Documents, or of pairs; see `from_ndjson`.

    Raises:
        BadValue: neither `lines` nor `filepath` is given, or both. BadMode: another `read_mode`.
        CorruptData: a line cannot be read; the message names file and line.

    >>> [doc.text for doc in from_lines(['tea', 'coffee'], line_format='plain')]
    ['tea', 'coffee']
    """
    draw = _Draw(size, sampling_rate, seed)
    return _documents(_line_parts(lines, filepath, read_mode, line_format, field_resolver, encoding, draw))


def tables_from_lines(
    lines: Iterable[str] | Iterable[bytes] | None = None,
    filepath: Lines | None = None,
    read_mode: Literal["r", "rb"] = "r",
    line_format: str | None = None,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    *,
    encoding: str = "utf-8",
    seed: int | None = None,
) -> Iterator[Table]:
    """What `from_lines` gives, as tables. Pairs are a BadValue."""
    draw = _Draw(size, sampling_rate, seed)
    return _no_pairs(_line_parts(lines, filepath, read_mode, line_format, field_resolver, encoding, draw))


def _line_parts(
    lines: Iterable[str] | Iterable[bytes] | None,
    filepath: Lines | None,
    read_mode: str,
    line_format: str | None,
    field_resolver: Mapping[str, str] | None,
    encoding: str,
    draw: _Draw,
) -> Iterator[_Part]:
    if (lines is None) == (filepath is None):
        raise BadValue("lines come from `lines` or from `filepath`: give one of the two")
    if read_mode not in ("r", "rb"):
        raise BadMode(f"read_mode={read_mode!r}: it is 'r' for text or 'rb' for bytes")
    source = cast("Lines", filepath if lines is None else lines)
    if lines is not None:
        if isinstance(lines, str):
            raise FieldTypeError("`lines` is an iterable of lines; the path of a file goes to `filepath`")
        form = "json" if line_format is None else line_format
    else:
        form = next((_SUFFIXES[s] for s in files.suffixes(source) if s in _SUFFIXES), line_format)
    if form == "json":
        return _json_parts(source, field_resolver, draw)
    if form == "csv":
        return _csv_parts(source, field_resolver, "excel", encoding, draw)
    return draw.of(_plain_parts(source, read_mode, encoding), cast("Any", _taken))


def _plain_parts(source: Lines, read_mode: str, encoding: str) -> Generator[Table]:
    name = _name_of(source)
    at = 1
    for lines, own in _plain_lines(source, encoding, name):
        if read_mode == "rb":
            yield Table({"blob": BytesColumn([_as_bytes(line, encoding) for line in lines])})
        else:
            texts: list[str] = []
            for line in lines:
                try:
                    texts.append(line if isinstance(line, str) else line.decode(own))
                except UnicodeDecodeError as error:
                    place = f"{name}: line {at + len(texts)}, byte {error.start}"
                    raise CorruptData(f"{place}: this is no text in {own}") from None
            yield Table({"text": TextColumn(texts)})
        at += len(lines)


def _plain_lines(source: Any, encoding: str, name: str) -> Iterator[tuple[list[Any], str]]:
    """Lists of lines, str or bytes, without their ends; and the encoding of bytes."""
    if _is_iterable(source):
        for several in _growing(iter(source)):
            yield (
                [
                    _checked_line(line).rstrip("\r\n" if isinstance(line, str) else b"\r\n")
                    for line in several
                ],
                encoding,
            )
        return
    with (
        _opened(source, encoding, _ended) as (stream, own),
        _naming(name),
        _split_by_bytes(stream, own) as (lined, new),
    ):
        for block in _blocks(lined):
            lines = block.split(b"\n")
            if not lines[-1]:
                lines.pop()  # the end of the last line, not one more
            yield [line.removesuffix(b"\r") for line in lines] if b"\r" in block else lines, new


@contextmanager
def _split_by_bytes(stream: Any, encoding: str) -> Generator[tuple[Any, str]]:
    """The stream, in UTF-8 where a line end would be no byte of its own; and its encoding."""
    if "16" not in encoding and "32" not in encoding:
        yield stream, encoding
        return
    text = io.TextIOWrapper(stream, encoding, newline="")
    try:
        yield _Encoded(_pieces(text)), "utf-8"
    except UnicodeDecodeError as error:
        raise CorruptData(f"this is no text in {encoding}, at byte {error.start} of a piece") from None
    finally:
        text.detach()  # the stream is closed by whoever opened it


def _checked_line(line: Any) -> Any:
    if not isinstance(line, (str, bytes)):
        raise FieldTypeError(f"lines are str or bytes; got a {type(line).__name__}: {line!r:.60}")
    return line


def _as_bytes(line: str | bytes, encoding: str) -> bytes:
    return line.encode(encoding) if isinstance(line, str) else line


def _json_parts(source: Lines, field_resolver: Mapping[str, str] | None, draw: _Draw) -> Iterator[_Part]:
    return draw.of(_read_json(source, field_resolver), _taken)


def _read_json(source: Lines, field_resolver: Mapping[str, str] | None) -> Generator[_Part]:
    room, resolver, before = resolve("room", "json"), field_resolver or {}, 0
    with _opened(source, "utf-8", _one_line) as (stream, _), _naming(_name_of(source)):
        for block in _blocks(stream):
            lines = block.removesuffix(b"\n").split(b"\n")
            with gc_paused():
                rows, wrong = _objects(room, lines, before, resolver)
            before += len(lines)
            # What stands before a wrong line is given first: nobody may ask for more.
            for paired, some in itertools.groupby(rows, key=lambda row: row[1].keys() >= _SIDES):
                yield from (_json_pairs if paired else _json_tables)(room, list(some))
            if wrong is not None:
                raise wrong


def _objects(
    room: Any, lines: list[bytes], before: int, resolver: Mapping[str, str]
) -> tuple[list[tuple[int, dict[str, Any]]], CorruptData | None]:
    """What lines hold, with their numbers, up to the first that is wrong; and what is wrong there."""
    rows: list[tuple[int, dict[str, Any]]] = []
    if before == 0:
        lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(lines, before + 1):
        text = line.strip()
        if text:
            try:
                rows.append((number, _object(room.parsed(text, "utf-8"), resolver)))
            except CorruptData as error:
                return rows, CorruptData(f"line {number}: {error}")
    return rows, None


def _object(value: object, resolver: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CorruptData(f"no JSON object, as a document is: {value!r:.60}")
    found = cast("dict[str, Any]", value)
    return {resolver.get(key, key): one for key, one in found.items()} if resolver else found


def _json_tables(room: Any, rows: list[tuple[int, dict[str, Any]]]) -> Iterator[Table]:
    values = [value for _, value in rows]
    wrong: DocArrayError | None = None
    try:
        table = _table_of(room, values)
    except DocArrayError:
        at, wrong = _first_wrong(room, rows)
        if not at:
            raise wrong from None
        table = _table_of(room, values[:at])
    yield table
    if wrong is not None:
        raise wrong


def _table_of(room: Any, values: list[dict[str, Any]]) -> Table:
    with gc_paused():
        return settled(room.from_dicts(values, unknown="tags"))


def _first_wrong(room: Any, rows: list[tuple[int, dict[str, Any]]]) -> tuple[int, DocArrayError]:
    """Which of the rows is refused first, and the error that names its line."""
    for at, (number, value) in enumerate(rows):
        try:
            _table_of(room, [value])
        except DocArrayError as error:
            return at, type(error)(f"line {number}: {error}")
    first, last = rows[0][0], rows[-1][0]
    return 0, CorruptData(f"lines {first} to {last}: each is a document, but not all of them together")


def _json_pairs(room: Any, rows: list[tuple[int, dict[str, Any]]]) -> Iterator[list[Pair]]:
    for number, value in rows:
        sides = [_side(value[side], number) for side in ("document", "groundtruth")]
        try:
            doc, truth = Rows(_table_of(room, sides)).docs(range(2))
        except DocArrayError as error:
            raise type(error)(f"line {number}: {error}") from error
        yield [(doc, truth)]


def _side(value: Any, number: int) -> dict[str, Any]:
    """One side of a pair, as a dict of fields."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    if value is None:
        return {}
    if isinstance(value, (str, int, float)):
        return {"text": str(value)}
    raise CorruptData(f"line {number}: a side of a pair is neither an object nor a text: {value!r:.60}")


def _csv_parts(
    source: Lines,
    field_resolver: Mapping[str, str] | None,
    dialect: Any,
    encoding: str,
    draw: _Draw,
) -> Iterator[_Part]:
    return draw.of(_read_csv(source, field_resolver, dialect, encoding), _taken)


def _read_csv(
    source: Lines, field_resolver: Mapping[str, str] | None, dialect: Any, encoding: str
) -> Generator[_Part]:
    form = resolve("format", "csv")
    paired = False
    with _opened(source, encoding, _ended) as (stream, own), _naming(_name_of(source)):
        if isinstance(stream, _Encoded):
            stream = io.BufferedReader(stream, 1 << 16)
        for piece in form.read(stream, field_resolver=field_resolver, dialect=dialect, encoding=own):
            table = settled(piece)
            column = table.columns.get("tags")
            tags: list[Any] = [] if column is None else column.values()
            # The header decides; its words are keys of tags, save in rows whose cell is empty.
            paired = paired or {key for row in tags if row for key in row} >= _SIDES
            if paired:
                rows: list[dict[str, Any]] = [row or {} for row in tags]
                yield [_pair(row.get("document"), row.get("groundtruth")) for row in rows]
            else:
                yield table


def _pair(document: object, truth: object) -> Pair:
    return Document(_side(document, 0)), Document(_side(truth, 0))


# ------------------------------------------------------------------------------------------------ sources of lines


class _Encoded(io.RawIOBase):
    """A file of text, or lines, as the bytes that they are in an encoding."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not len(self._rest):
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _pieces(text: Any) -> Iterator[bytes]:
    """What is in a file of text, in UTF-8."""
    while piece := text.read(1 << 16):
        yield piece.encode(errors="surrogatepass")


def _is_iterable(source: object) -> bool:
    """Whether a source is lines already, not something that is opened or read."""
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(source, "read"):
        return False
    if not isinstance(source, Iterable) or isinstance(source, (Mapping, Document)):
        raise FieldTypeError(f"a path, a URL, an open file, bytes or lines are wanted; got {source!r:.80}")
    return True


@contextmanager
def _opened(source: Any, encoding: str, ended: Callable[[Any], bytes]) -> Generator[tuple[Any, str]]:
    """The bytes of a source as a binary file, and the encoding that text has there."""
    if _is_iterable(source):
        # Its `read` gives no more than one piece, so that documents come before the last line is there.
        yield _Encoded(b"".join(map(ended, lines)) for lines in _growing(iter(source))), "utf-8"
    elif hasattr(source, "read"):
        if isinstance(source, io.TextIOBase) or isinstance(source.read(0), str):
            yield _Encoded(_pieces(source)), "utf-8"
        else:
            yield source, encoding
    else:
        suffix = next(reversed(files.suffixes(source)), "")
        with files.reading(source) as stream:
            yield compression.reader(stream, compression.SUFFIXES.get(suffix)), encoding


def _ended(line: Any) -> bytes:
    """A line as bytes, with its end."""
    data = _as_bytes(_checked_line(line), "utf-8")
    return data if data.endswith(b"\n") else data + b"\n"


def _one_line(line: Any) -> bytes:
    """JSON as one line of bytes: line ends are nothing but space in it."""
    data = _ended(line)
    return data if data.find(b"\n") == len(data) - 1 else data[:-1].replace(b"\n", b" ") + b"\n"


def _growing(lines: Iterator[T]) -> Iterator[list[T]]:
    """Lists of ever more lines: the first soon, the later ones long enough to be worth their columns."""
    count = _FIRST
    while several := list(itertools.islice(lines, count)):
        yield several
        count = min(2 * count, _AHEAD)


def _blocks(stream: Any) -> Iterator[bytes]:
    """The bytes of a file in pieces of whole lines."""
    rest: list[bytes] = []
    while data := stream.read(_BLOCK):
        cut = data.rfind(b"\n") + 1
        if cut:
            yield b"".join((*rest, memoryview(data)[:cut]))
            rest = [data[cut:]]
        else:
            rest.append(data)
    if any(rest):
        yield b"".join(rest)


def _name_of(source: object) -> str:
    """What errors call a source."""
    if isinstance(source, (str, os.PathLike)):
        return repr(os.fspath(cast("str | os.PathLike[str]", source)))
    name = getattr(source, "name", None)
    return repr(name) if isinstance(name, str) else "the lines"


@contextmanager
def _naming(name: str) -> Generator[None]:
    """Errors of what is read within name the source."""
    try:
        yield
    except DocArrayError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__


# ------------------------------------------------------------------------------------------------ arrays, frames


def from_ndarray(
    array: Any,
    axis: int = 0,
    size: int | None = None,
    shuffle: bool = False,
    *,
    seed: int | None = None,
) -> Iterator[Document]:
    """A document for each slice of an array, as its `tensor`.

    Args:
        array: of numpy, or of a framework that documents take; (n, ...) with the documents along `axis`.
        axis: the axis that is walked; the tensors have the others, in their order.
        size: how many documents at most.
        shuffle: whether they come in a random order.
        seed: makes that order the same each time.

    Raises:
        FieldTypeError: this is no array of numbers. BadValue: it has no such axis; or `size` is none.

    Costs no copy, unless shuffled: the tensors share memory with `array`.

    >>> [doc.tensor.tolist() for doc in from_ndarray(np.array([[1, 2, 3], [4, 5, 6]]), axis=1, size=2)]
    [[1, 4], [2, 5]]
    """
    return _documents(tables_from_ndarray(array, axis, size, shuffle, seed=seed, rows=_ROWS))


def tables_from_ndarray(
    array: Any,
    axis: int = 0,
    size: int | None = None,
    shuffle: bool = False,
    *,
    seed: int | None = None,
    rows: int | None = None,
) -> Iterator[Table]:
    """What `from_ndarray` gives, as tables of so many rows; None is one table."""
    draw = _Draw(size, None, None)
    framework = tensors.framework(array)
    if framework is None or framework == "list":
        array, framework = _as_array(array), "numpy"
    count = getattr(array, "ndim", 0)
    if not isinstance(axis, (int, np.integer)) or not -count <= axis < count:
        raise BadValue(f"axis={axis!r}: an array of {count} dimensions has none of this number")
    column: Column
    if tensors.is_sparse(array):
        column = tensor_column(rows_of_matrix(array.T if axis % count else array))
    else:
        along = np.moveaxis(tensors.to_numpy(array), axis, 0)
        column = column_from("tensor", tensors.from_numpy(along, framework))
    order: Any = np.random.default_rng(seed).permutation(len(column)) if shuffle else None
    return _slices(column, order, draw.rows(len(column)), rows)


def _slices(column: Column, order: Any, kept: Any, rows: int | None) -> Generator[Table]:
    step = rows or max(1, len(kept))
    for at in range(0, len(kept), step):
        stop = min(at + step, len(kept))
        yield Table({"tensor": column.slice(at, stop) if order is None else column.take(order[at:stop])})


def _as_array(value: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise FieldTypeError(f"this is no array of one shape: {error}") from None


def from_dataframe(frame: Any) -> Iterator[Document]:
    """A document for each row of a DataFrame: columns named as a field set it, the others become tags.

    Raises:
        FieldTypeError: this is no DataFrame, or a cell is not of its field; the message names the row.
    """
    return _documents(tables_from_dataframe(frame))


def tables_from_dataframe(frame: Any) -> Iterator[Table]:
    """What `from_dataframe` gives, as one table."""
    return iter([settled(resolve("room", "dataframe").from_dataframe(frame))])


def from_huggingface_datasets(
    dataset_path: str,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    filter_fields: bool = False,
    **datasets_kwargs: Any,
) -> Iterator[Document]:
    """A document for each row of a dataset that `datasets.load_dataset` finds.

    Args:
        dataset_path: its name or path.
        field_resolver: renames columns: `{'title': 'text'}`.
        size: how many documents at most.
        sampling_rate: the probability with which each row is taken, from 0 to 1.
        filter_fields: whether columns that `field_resolver` does not name are left out.
        **datasets_kwargs: for `load_dataset`; `split` is wanted.

    Raises:
        BadValue: no `split` is given; the message lists what there is. MissingExtra: datasets is not installed.
    """
    return _documents(
        tables_from_huggingface_datasets(
            dataset_path, field_resolver, size, sampling_rate, filter_fields, **datasets_kwargs
        )
    )


def tables_from_huggingface_datasets(
    dataset_path: str,
    field_resolver: Mapping[str, str] | None = None,
    size: int | None = None,
    sampling_rate: float | None = None,
    filter_fields: bool = False,
    **datasets_kwargs: Any,
) -> Iterator[Table]:
    """What `from_huggingface_datasets` gives, as tables."""
    _Draw(size, sampling_rate, None)
    tables = resolve("room", "arrow").huggingface_tables(
        dataset_path, field_resolver, size, sampling_rate, filter_fields, **datasets_kwargs
    )
    return map(settled, tables)


def generator_from_webcam(
    height_width: tuple[int, int] | None = None,
    show_window: bool = True,
    window_title: str = "webcam",
    fps: int = 30,
    exit_key: int = 27,
    exit_event: Any = None,
    tags: Mapping[str, Any] | None = None,
    *,
    device: int | str = 0,
) -> Generator[Document]:
    """A document for each frame of a camera, until a key, an event, or the end of the film.

    The camera is opened by the first document, and let go when the generator is closed or ends.

    Args:
        height_width: frames are resized to this; None leaves them as they are.
        show_window: whether frames are shown in a window, with the rate that is reached.
        window_title: the title of that window.
        fps: frames a second at most.
        exit_key: the code of the key that ends it, in the window; 27 is Esc.
        exit_event: anything with `is_set()`, such as a threading.Event, that ends it.
        tags: for each document.
        device: the number of the camera, or the path or URL of a film.

    Returns:
        an iterator of Documents with `tensor`: (height, width, 3) uint8, in the order of OpenCV: blue, green, red.

    Raises:
        MissingExtra: cv2 is not installed. BadValue: `fps` is not above 0; or, with the first document, the device
            cannot be opened.
    """
    if not isinstance(fps, (int, float)) or fps <= 0:
        raise BadValue(f"fps={fps!r}: it is a number above 0")
    cv2 = require("cv2", "a camera", "opencv-python")
    return _frames(
        cv2, height_width, show_window, window_title, fps, exit_key, exit_event, dict(tags or {}), device
    )


def _frames(
    cv2: Any,
    height_width: tuple[int, int] | None,
    show_window: bool,
    title: str,
    fps: float,
    exit_key: int,
    exit_event: Any,
    tags: dict[str, Any],
    device: int | str,
) -> Generator[Document]:
    camera = cv2.VideoCapture(device)
    shown = False
    try:
        if not camera.isOpened():
            raise BadValue(f"the camera or film {device!r} cannot be opened")
        pause = 1 / fps
        before = monotonic() - pause
        while exit_event is None or not exit_event.is_set():
            there, frame = camera.read()
            if not there:
                return
            if height_width is not None:
                height, width = height_width
                frame = cv2.resize(frame, (width, height))
            yield Document(tensor=frame, tags=dict(tags))
            left = pause - (monotonic() - before)
            if show_window:
                rate = f"{1 / max(monotonic() - before, pause):.0f} fps"
                picture = cv2.putText(
                    frame.copy(), rate, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2
                )
                cv2.imshow(title, picture)
                shown = True
                # A window lives by this call, and it takes whole milliseconds from 1 on.
                if cv2.waitKey(max(1, int(left * 1000))) & 0xFF == exit_key:
                    return
            elif left > 0:
                sleep(left)
            before = monotonic()
    finally:
        camera.release()
        if shown:
            cv2.destroyWindow(title)
