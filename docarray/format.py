"""What a format is: two methods on Tables. The rest is derived here, once, and may be overridden to be faster.

To add a format write a subclass with `dumps` and `loads`, make an instance, and register it under the entry point
group `docarray.formats`:

    [project.entry-points."docarray.formats"]
    shouting = "shouting:FORMAT"

Then `da.save('x', file_format='shouting')`, `da.to_bytes('shouting')` and `DocumentArray.load(...)` know it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from docarray.errors import CorruptData
from docarray.records import Record, records_of, table_of
from docarray.table import Table

__all__ = ["LIBRARY", "Format"]

LIBRARY: Final = "docarray 1.0.0.dev0"
"""What a file says wrote it. The version stands here a second time: the package is above all of this."""


class Format(ABC):
    """One way to write documents as bytes.

    Options are keyword arguments of the format's own; one that it does not know is a TypeError, as for any function.
    """

    name: str
    """What it is called in `to_bytes(protocol=...)` and `save(file_format=...)`."""
    suffixes: tuple[str, ...] = ()
    """Suffixes of file names that mean it, lower case, with the dot."""
    mime_type: str = "application/octet-stream"
    """Its media type."""
    compressions: tuple[str, ...] = ()
    """Compressions that it applies by itself, within: they come as the option `compress` of all methods. Others are
    wrapped around what it writes."""
    is_limited: bool = False
    """Whether reading takes the option `max_size`: how many bytes may come out of what it unpacks by itself."""
    is_chosen: bool = True
    """Whether content alone may choose it; False for what is read only where name or suffix says so."""

    @abstractmethod
    def dumps(self, table: Table, **options: Any) -> bytes:
        """The table as bytes.

        Raises:
            FieldTypeError: a value cannot be said; the message names the document or row, and the field.
        """

    @abstractmethod
    def loads(self, data: memoryview, **options: Any) -> Table:
        """The table that `dumps` wrote.

        Args:
            data: read-only, contiguous, of bytes.

        Raises:
            CorruptData: the bytes are damaged. UnsupportedFormat: they are others.
        """

    def recognises(self, head: bytes) -> bool:
        """Whether bytes that begin so (up to 64 are given) are certainly of this format."""
        del head
        return False

    def dumps_record(self, record: Record, **options: Any) -> bytes:
        """One document as bytes."""
        return self.dumps(table_of([record]), **options)

    def loads_record(self, data: memoryview, **options: Any) -> Record:
        """The document that `dumps_record` wrote.

        Raises:
            CorruptData: the bytes are damaged, or hold another number of documents than one.
        """
        table = self.loads(data, **options)
        if len(table) != 1:
            raise CorruptData(f"{len(table)} documents where one was expected: read them as an array")
        return records_of(table)[0]

    def write(self, tables: Iterable[Table], stream: BinaryIO, **options: Any) -> None:
        """Writes tables one after the other; all at once where the format cannot do it piece by piece."""
        stream.write(self.dumps(Table.concat(list(tables)), **options))

    def read(self, stream: BinaryIO, **options: Any) -> Iterator[Table]:
        """Reads tables one after the other; one table where the format cannot do it piece by piece."""
        yield self.loads(memoryview(stream.read()), **options)

    def guesses(self, head: bytes) -> bool:
        """Whether bytes that begin so may be of this format: asked last, when neither content nor name said."""
        del head
        return False

    def load(self, path: str, **options: Any) -> Table:
        """The table of a local file, which begins with the format's own bytes."""
        return self.loads(memoryview(Path(path).read_bytes()), **options)
