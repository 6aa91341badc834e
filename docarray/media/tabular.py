"""Tables as documents: a chunk for each row of CSV or Parquet, wherever that is.

Rule 1: the formats read the bytes (serialization/); what is decided here is which of them, and how much.
Rule 2: what a table is, its first bytes say; its name does not.
"""

# pyright: reportPrivateUsage=false
# An empty text or blob shows in the slot of the content alone.

from __future__ import annotations

import codecs
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, cast

from docarray import compression
from docarray.columns import TextColumn
from docarray.errors import BadUri, BadValue, UnknownName, UnsupportedFormat, near_miss
from docarray.media import fetch
from docarray.registry import resolve
from docarray.rows import Rows
from docarray.settle import settled
from docarray.table import Table

if TYPE_CHECKING:
    from docarray.document import Document

__all__ = ["load_uri_to_rows", "tables"]

_FORMATS: Final = ("csv", "parquet")
_HEAD: Final = 64
_MODALITY: Final = "tabular"
_MARKS: Final = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def tables(
    stream: BinaryIO,
    *,
    file_format: Literal["csv", "parquet"] | None = None,
    field_resolver: Mapping[str, str] | None = None,
    max_rows: int | None = None,
    dialect: Any = "auto",
    encoding: str | None = None,
    max_size: int | None = None,
) -> Iterator[Table]:
    """The rows of a table, in pieces; reading ends with the piece that `max_rows` ends in.

    Args:
        stream: a binary file that one can seek in; of CSV also one that is compressed as a whole.
        file_format: None goes by the first bytes: what is no Parquet is CSV.
        field_resolver: renames columns: `{'title': 'text'}`.
        max_rows: how many rows at most; None is all.
        dialect: of CSV: 'auto' finds it out from the first lines, 'excel' has commas, 'excel-tab' tabs; or a
            `csv.Dialect`.
        encoding: of CSV: None is what a byte order mark says, else UTF-8.
        max_size: bytes that a compressed CSV may unpack to; None is 256 MiB, or 250 times its size.

    Raises:
        CorruptData: it is damaged, or unpacks to too much; of CSV the message names row or line. UnsupportedFormat:
            it is something else, or a column is of a type that its field does not take. UnknownName: no such format,
            dialect or encoding.
        MissingExtra: Parquet needs pyarrow.

    >>> [len(table) for table in tables(io.BytesIO(b'text;price\\ntea;3\\nmilk;1\\n'))]
    [2]
    """
    if file_format is not None and file_format not in _FORMATS:
        raise UnknownName(f"no table is of format {file_format!r}. {near_miss(file_format, _FORMATS)}")
    if max_rows is not None and (isinstance(max_rows, bool) or not isinstance(max_rows, int) or max_rows < 0):
        raise BadValue(f"max_rows={max_rows!r}: it is None or an int of 0 or more")
    return _pieces(stream, file_format, field_resolver, max_rows, dialect, encoding, max_size)


def _pieces(
    stream: BinaryIO,
    file_format: str | None,
    field_resolver: Mapping[str, str] | None,
    max_rows: int | None,
    dialect: Any,
    encoding: str | None,
    max_size: int | None,
) -> Iterator[Table]:
    options: dict[str, Any] = {"field_resolver": field_resolver}
    head = _head(stream)
    name = file_format or ("parquet" if head.startswith(b"PAR1") else "csv")
    if name == "csv":
        packing = compression.recognised(head)
        if packing is not None:
            size = stream.seek(0, 2)
            stream.seek(0)
            stream = compression.reader(stream, packing, max_size=compression.limit_of(size, max_size))
            stream = cast("BinaryIO", io.BufferedReader(cast("Any", stream), 1 << 16))
            head = cast("Any", stream).peek(_HEAD)
        if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            raise UnsupportedFormat("this is a workbook or an archive, no CSV: save its sheet as CSV")
        marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
        options |= {"dialect": dialect, "encoding": encoding or marked}
    left = max_rows
    if left == 0:
        return
    for piece in resolve("format", name).read(stream, **options):
        table = settled(piece)
        if left is not None:
            table = table.slice(0, min(left, len(table)))
            left -= len(table)
        if len(table):
            yield table
        if left == 0:
            return


def _head(stream: BinaryIO) -> bytes:
    head = stream.read(_HEAD)
    stream.seek(0)
    return head


# ------------------------------------------------------------------------------------------------ types

_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLS: Final = {"true": True, "false": False}


def _converter(values: Sequence[str]) -> Callable[[str], Any] | None:
    """What makes of all values of a column the plainest type that says them; None where that is text."""
    if all(value.lower() in _BOOLS for value in values):
        return lambda value: _BOOLS[value.lower()]
    # Not what begins with 0 or +, which is a code or the number of a telephone.
    if all(_INT.fullmatch(value) and len(value) < 4000 for value in values):
        return int
    if all(_FLOAT.fullmatch(value) and math.isfinite(float(value)) for value in values):
        return float
    return None


def _infer(docs: Sequence[Document]) -> None:
    """Makes numbers and bools of tags that are such in each row that has them."""
    columns: dict[str, list[dict[str, Any]]] = {}
    for doc in docs:
        tags = doc.tags
        for key in tags:
            columns.setdefault(key, []).append(tags)
    for key, rows in columns.items():
        values = [row[key] for row in rows]
        if all(isinstance(value, str) for value in values):
            convert = _converter(values)
            if convert is not None:
                for row in rows:
                    row[key] = convert(row[key])


# ------------------------------------------------------------------------------------------------ documents


def load_uri_to_rows(
    doc: Document,
    *,
    file_format: Literal["csv", "parquet"] | None = None,
    field_resolver: Mapping[str, str] | None = None,
    max_rows: int | None = None,
    dialect: Any = "auto",
    encoding: str | None = None,
    infer: bool = False,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
) -> None:
    """Adds a chunk for each row of the table at the uri, or in `blob` or `text` where there is no uri.

    Columns that are fields of a Document go there, all others into `tags`, those of CSV as text. An empty cell of CSV
    and a null of Parquet are unset. The chunks, and the document, are of modality 'tabular' where they had none.

    Args:
        file_format, field_resolver, max_rows, dialect, encoding: see `tables`.
        infer: makes ints, floats or bools of a tag of CSV where it is one in each row that has it; numbers with zeros
            in front stay text.
        timeout, max_size, schemes: see `docarray.media.fetch.read`. With `max_rows` a local file may be of any size.

    Raises:
        BadUri, FetchError, FileNotFoundError: see `docarray.media.fetch.read`. Others: see `tables`.

    >>> from docarray import Document
    >>> doc = Document(text='text,price\\ntea,3\\nmilk,1\\n').load_uri_to_rows(infer=True)
    >>> [(row.text, row.tags) for row in doc.chunks]
    [('tea', {'price': 3}), ('milk', {'price': 1})]
    """
    with fetch.naming(doc), ExitStack() as stack:
        if doc.uri:
            limit = max_size
            if limit is None and max_rows is None and fetch.scheme_of(doc.uri) in ("", "file"):
                limit = fetch.LOCAL  # all rows go into memory
            stream = stack.enter_context(
                fetch.opened(doc.uri, timeout=timeout, max_size=limit, schemes=schemes)
            )
        else:
            content = doc._content
            if isinstance(content, str):
                content = content.encode(errors="surrogatepass")
            if not isinstance(content, bytes):
                raise BadUri(f"document {doc.id!r} has neither uri nor blob: there is no table to read")
            stream = io.BytesIO(content)
        rows: list[Document] = []
        for table in tables(
            stream,
            file_format=file_format,
            field_resolver=field_resolver,
            max_rows=max_rows,
            dialect=dialect,
            encoding=encoding,
            max_size=max_size,
        ):
            if "modality" not in table.columns:
                table = table.with_columns({"modality": TextColumn([_MODALITY] * len(table))})
            rows.extend(Rows(table).docs(range(len(table))))
        if infer:
            _infer(rows)
        doc.chunks.extend(rows)
    if not doc.modality:
        doc.modality = _MODALITY
