"""What an array does to leave and to come in: bytes, files, JSON, tables of other libraries, remote places.

Rule 1: every way goes through columns. Documents are made of what came in when somebody touches them.
Rule 2: constructors are called on the class; what is loaded in pieces comes as a generator.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import (
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    MutableSequence,
    Sequence,
    Sized,
)
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Literal, TextIO, TypeAlias, TypeVar, cast, overload

from docarray import exchange, files
from docarray.document import Document
from docarray.errors import BadValue, FieldTypeError, MissingEmbedding, NotOnInstance, Unsupported
from docarray.files import Source
from docarray.intake import admitted
from docarray.progress import Bar, Show
from docarray.registry import resolve
from docarray.rows import Slots
from docarray.settle import settled
from docarray.table import Table

if TYPE_CHECKING:
    from typing import Self

    from pydantic import BaseModel
    from typing_extensions import TypeVar as DefaultTypeVar

    from docarray import loaders, remote
    from docarray.web.models import PydanticDocument
    from docarray.web.strawberry_types import StrawberryDocument, StrawberryDocumentInput

    D = DefaultTypeVar("D", bound=Document, default=Document)
else:
    D = TypeVar("D", bound=Document)

__all__ = ["Porting", "on_class"]

Target = str | os.PathLike[str] | BinaryIO
TextTarget: TypeAlias = "Target | TextIO"
TextSource: TypeAlias = "Source | TextIO"
Flavour = Literal["jsonschema", "protobuf"]

_BATCH = 1024


if TYPE_CHECKING:
    on_class = classmethod
else:

    class on_class(classmethod):
        """A classmethod that refuses instances: `da.load(...)` would throw its result away and leave `da` as it was."""

        def __get__(self, instance, owner=None):
            if instance is not None:
                name = self.__wrapped__.__name__
                raise NotOnInstance(
                    f"{name} makes a new array: call it on the class, DocumentArray.{name}(...)"
                )
            return super().__get__(instance, owner)


class Porting(MutableSequence[D], Generic[D]):
    """The half of DocumentArray that reads and writes; see there."""

    __slots__ = ()

    _slots: Slots

    if TYPE_CHECKING:

        def __init__(self, _docs: Any = None) -> None: ...

    # ------------------------------------------------------------------------------------------ bytes

    def to_bytes(self, protocol: str | None = None, compress: str | None = None, **options: Any) -> bytes:
        """The array as bytes.

        Args:
            protocol: the name of a format: 'binary' (the default: native and lossless, docs/format.md),
                'protobuf-array', 'protobuf', 'json', 'ndjson', 'csv', 'arrow', 'parquet', 'pickle-array', 'pickle',
                or one that another distribution registers; docs/formats.md tells what each can say.
            compress: 'lz4', 'zstd', 'gzip', 'bz2', 'lzma', 'zlib', or None.
            options: of the format.

        Raises:
            UnknownName: no such format or compression. FieldTypeError: the format cannot say a value; the message
            names the document or row, and the field. MissingExtra: the format needs a package that is not there.

        >>> from docarray import Document, DocumentArray
        >>> da = DocumentArray([Document(id='a', text='hi'), Document(id='b')])
        >>> da.to_bytes('protobuf-array').hex()
        '0a070a0161220268690a030a0162'
        """
        return exchange.dumps(self._slots.table(), protocol, compress, **options)

    @on_class
    def from_bytes(
        cls,
        data: bytes | bytearray | memoryview,
        protocol: str | None = None,
        compress: str | None = None,
        *,
        max_size: int | None = None,
        **options: Any,
    ) -> Self:
        """The array that bytes hold; no document is made before one is touched, and nothing that is read runs.

        Args:
            data: bytes-like; where it is read-only, columns may lie on its memory.
            protocol: the format; None finds it by content. Pickles are read when asked for by name, through a list
                of classes that can run nothing; `trusted=True` lifts the list.
            compress: None finds it by content; 'zlib', which has no mark, must be named.
            max_size: how many bytes compressed data may unpack to; None is 256 MiB, or 250 times their own size.

        Raises:
            CorruptData: the bytes are damaged. UnsupportedFormat: no format knows them.

        >>> from docarray import Document, DocumentArray
        >>> DocumentArray.from_bytes(bytes(DocumentArray([Document(text='hi')]))).texts
        ['hi']
        """
        return cls(exchange.loads(data, protocol, compress, max_size=max_size, **options))

    def __bytes__(self) -> bytes:
        return self.to_bytes()

    def to_base64(self, protocol: str | None = None, compress: str | None = None, **options: Any) -> str:
        """`to_bytes` in base64, in the standard alphabet."""
        return base64.b64encode(self.to_bytes(protocol, compress, **options)).decode()

    @on_class
    def from_base64(
        cls, data: str, protocol: str | None = None, compress: str | None = None, **options: Any
    ) -> Self:
        """The array that `to_base64` wrote; see `from_bytes`."""
        return cls(exchange.loads(exchange.unbase64(data), protocol, compress, **options))

    def to_protobuf(self, ndarray_type: Literal["list", "numpy"] | None = None) -> Any:
        """The array as a `DocumentArrayProto` message of the package `docarray.proto`.

        Args:
            ndarray_type: 'list' or 'numpy' converts all arrays first, those of nested documents too.
        """
        return resolve("room", "protobuf").array_to_message(self._slots.table(), ndarray_type=ndarray_type)

    @on_class
    def from_protobuf(cls, pb_msg: Any) -> Self:
        """The array that a `DocumentArrayProto` message holds.

        Raises:
            CorruptData: an array in it is not what it says of itself.
        """
        return cls(settled(resolve("room", "protobuf").array_from_message(pb_msg)))

    # ------------------------------------------------------------------------------------------ files

    def save(
        self,
        file: Target,
        file_format: str | None = None,
        encoding: str | None = None,
        *,
        compress: str | None = None,
        append: bool = False,
        **options: Any,
    ) -> None:
        """Writes the array to a file.

        Args:
            file: a path, a URL of fsspec ('s3://...', 'memory://...'; needs fsspec), or a file opened in binary mode.
                A local path is replaced when all is written and on disk, never before.
            file_format: a format as in `to_bytes`; None goes by the suffixes of the name ('da.json', 'da.csv',
                'da.protobuf.lz4', 'da.parquet'), and is the native one where they say nothing.
            encoding: of the text formats; None is UTF-8.
            compress: a compression; None goes by the suffixes.
            append: more documents for a native file, which is made where there is none, instead of another in its
                place. Who reads it meanwhile sees the old documents or all.

        Raises:
            UnknownName: no format of that name. OSError: as `open`.
        """
        if encoding is not None:
            options["encoding"] = encoding
        if append:
            self._append(file, file_format, compress, options)
            return
        exchange.save([self._slots.table()], file, file_format, compress, **options)

    def _append(
        self, file: Target, file_format: str | None, compress: str | None, options: Mapping[str, Any]
    ) -> None:
        path = files.path_of(file)
        if path is None or file_format not in (None, "binary") or options:
            raise Unsupported("only a local file in the native format can be appended to")
        resolve("room", "container").append(path, [self._slots.table()], compress=compress)

    @overload
    @classmethod
    def load(cls, file: Source, file_format: str | None = None, encoding: str | None = None, *,
             compress: str | None = None, streaming: Literal[False] = False, **options: Any) -> Self: ...  # fmt: skip
    @overload
    @classmethod
    def load(cls, file: Source, file_format: str | None = None, encoding: str | None = None, *,
             compress: str | None = None, streaming: Literal[True], **options: Any
             ) -> Generator[Document]: ...  # fmt: skip
    @on_class
    def load(
        cls,
        file: Source,
        file_format: str | None = None,
        encoding: str | None = None,
        *,
        compress: str | None = None,
        streaming: bool = False,
        **options: Any,
    ) -> Any:
        """The array of a file that `save`, or the old library, wrote.

        A local native file is mapped, not read: a million documents open in milliseconds.

        Args:
            file: a path, a URL of fsspec, a file opened in binary mode, or bytes.
            file_format: None finds it by content, then by the suffixes of the name.
            encoding: of the text formats; None is UTF-8.
            compress: None finds it by suffix or content.
            streaming: a generator of documents, read as they are asked for; memory is that of a batch.
            options: `max_size` as in `from_bytes`, and those of the format.

        Raises:
            CorruptData: the file is damaged. UnsupportedFormat: no format knows it. FileNotFoundError: there is none.
        """
        if encoding is not None:
            options["encoding"] = encoding
        if streaming:
            return _documents(exchange.stream(file, file_format, compress, **options))
        return cls(exchange.load(file, file_format, compress, **options))

    @staticmethod
    def save_stream(
        docs: Iterable[Document],
        file: Target,
        file_format: str | None = None,
        *,
        compress: str | None = None,
        batch_size: int = _BATCH,
        show_progress: Show = None,
        **options: Any,
    ) -> None:
        """Writes documents as they come, of any iterable; memory is that of `batch_size` of them.

        The arguments are those of `save`; `show_progress` is True, False, or None: on a terminal, where it takes
        long. Formats that cannot be written in pieces take all at once.

        >>> from docarray import Document, DocumentArray
        >>> import io
        >>> file = io.BytesIO()
        >>> DocumentArray.save_stream((Document(text=str(n)) for n in range(3)), file, batch_size=2)
        >>> DocumentArray.load(file.getvalue()).texts
        ['0', '1', '2']
        """
        if batch_size < 1:
            raise BadValue(f"batch_size={batch_size!r}: it is an int above 0")
        total = len(docs) if isinstance(docs, Sized) else None
        tables = _counted(_tables(docs, batch_size), "writing", total, show_progress)
        exchange.save(tables, file, file_format, compress, **options)

    @on_class
    def load_batches(cls, file: str | os.PathLike[str], *, verify: bool = False) -> Any:
        """The batches of a native file, as a sequence of tables that are read when asked for, each by itself.

        Args:
            file: a local path.
            verify: whether a batch is compared with its checksum when it is read.
        """
        return resolve("room", "container").open(os.fspath(file), verify=verify)

    def save_binary(
        self, file: Target, protocol: str | None = None, compress: str | None = None, **options: Any
    ) -> None:
        """As `save`, under the old name; the suffixes of the name go before the arguments, as they did."""
        said, packed = exchange.by_suffixes(file)
        exchange.save([self._slots.table()], file, said or protocol, packed or compress, **options)

    @on_class
    def load_binary(
        cls,
        file: Source,
        protocol: str | None = None,
        compress: str | None = None,
        _show_progress: bool = False,
        streaming: bool = False,
        **options: Any,
    ) -> Any:
        """As `load`, under the old name; the suffixes of the name go before the arguments, as they did."""
        said, packed = exchange.by_suffixes(file)
        if not streaming and not _show_progress:
            return cls(exchange.load(file, said or protocol, packed or compress, **options))
        tables = exchange.stream(file, said or protocol, packed or compress, **options)
        counted = _counted(tables, "reading", None, _show_progress)
        return _documents(counted) if streaming else cls(Table.concat(list(counted)))

    # ------------------------------------------------------------------------------------------ JSON

    def to_list(self, protocol: Flavour = "jsonschema", **kwargs: Any) -> list[dict[str, Any]]:
        """A dict for each document, made of what JSON can say.

        Args:
            protocol: 'jsonschema' (keys are the fields), or 'protobuf' (keys and values as protobuf's JSON has them).
            kwargs: `exclude_none`, `arrays`; for 'protobuf' those of `MessageToDict`.
        """
        return exchange.to_dicts(self._slots.table(), protocol, **kwargs)

    def to_dict(self, protocol: Flavour = "jsonschema", **kwargs: Any) -> list[dict[str, Any]]:
        """As `to_list`."""
        return self.to_list(protocol, **kwargs)

    @on_class
    def from_list(
        cls, values: Sequence[Mapping[str, Any]], protocol: Flavour | None = "jsonschema", **kwargs: Any
    ) -> Self:
        """The array that `to_list` wrote.

        Args:
            values: a dict for each document.
            protocol: as in `to_list`; None takes keys that are no field as tags.

        Raises:
            CorruptData: a value is of another type than its field; the message names document and field.
        """
        return cls(_table_of_dicts(values, protocol, kwargs))

    @on_class
    def from_dict(
        cls, values: Sequence[Mapping[str, Any]], protocol: Flavour | None = "jsonschema", **kwargs: Any
    ) -> Self:
        """As `from_list`."""
        return cls(_table_of_dicts(values, protocol, kwargs))

    def to_json(self, protocol: Flavour = "jsonschema", **kwargs: Any) -> str:
        """The array as one JSON list; see `to_list`."""
        if exchange.flavour_named(protocol) == "protobuf":
            return json.dumps(self.to_list("protobuf", **kwargs))
        return self.to_bytes("json", **kwargs).decode("utf-8", "surrogatepass")

    @on_class
    def from_json(
        cls, file: str | bytes | bytearray, protocol: Flavour | None = "jsonschema", **kwargs: Any
    ) -> Self:
        """The array that `to_json` wrote.

        Raises:
            CorruptData: this is no JSON, or not of documents.
        """
        data = file.encode("utf-8", "surrogatepass") if isinstance(file, str) else bytes(file)
        if protocol == "jsonschema":
            return cls(exchange.loads(data, "json", **kwargs))
        values = resolve("room", "json").parsed(data)
        return cls(_table_of_dicts(values, protocol, kwargs))

    def save_json(
        self, file: TextTarget, protocol: Flavour = "jsonschema", encoding: str = "utf-8", **kwargs: Any
    ) -> None:
        """Writes `to_json` to a file; one opened in text mode has an encoding of its own."""
        text = self.to_json(protocol, **kwargs)
        if (opened := _opened_as_text(file)) is not None:
            opened.write(text)
            return
        with files.writing(cast("Target", file)) as stream:
            stream.write(text.encode(encoding, "surrogatepass"))

    @on_class
    def load_json(
        cls,
        file: TextSource,
        protocol: Flavour | None = "jsonschema",
        encoding: str = "utf-8",
        **kwargs: Any,
    ) -> Self:
        """The array of a file that `save_json` wrote."""
        if (opened := _opened_as_text(file)) is not None:
            text = opened.read()
        else:
            text = str(files.read_all(cast("Source", file)), encoding, "surrogatepass")
        return cls.from_json(text, protocol, **kwargs)

    # ------------------------------------------------------------------------------------------ models

    def to_pydantic_model(self) -> list[PydanticDocument]:
        """The documents as models of pydantic, with arrays as lists; see `docarray.web.models`. Needs pydantic."""
        return resolve("room", "models").to_models(self)

    @on_class
    def from_pydantic_model(cls, model: Iterable[BaseModel]) -> Self:
        """The array of models of pydantic; see `Document.from_pydantic_model`.

        Raises:
            CorruptData: a value is none of its field; the message names document and field.
        """
        return resolve("room", "models").from_models(cls, model)

    @classmethod
    def get_json_schema(cls, indent: int | None = 2) -> str:
        """The JSON Schema of a list of `PydanticDocument`, as text; `indent` is that of `json.dumps`."""
        return resolve("room", "models").json_schema(cls, indent)

    def to_strawberry_type(self) -> list[StrawberryDocument]:
        """The documents as objects of strawberry, for resolvers of GraphQL to give. Needs strawberry."""
        return resolve("room", "strawberry_types").to_objects(self)

    @on_class
    def from_strawberry_type(cls, model: Iterable[StrawberryDocument | StrawberryDocumentInput]) -> Self:
        """The array of objects of strawberry; see `Document.from_strawberry_type`.

        Raises:
            FieldTypeError: one is no such object, or has a value of another type than its field.
        """
        return resolve("room", "strawberry_types").from_objects(cls, model)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return resolve("room", "models").array_core_schema(cls, source, handler)

    # ------------------------------------------------------------------------------------------ tables

    def save_csv(
        self,
        file: TextTarget,
        flatten_tags: bool = True,
        exclude_fields: Sequence[str] | None = None,
        dialect: Any = "excel",
        with_header: bool = True,
        encoding: str = "utf-8",
    ) -> None:
        """Writes a line for each document, below one with the names of the fields that any of them has.

        Args:
            flatten_tags: a column `tag__<key>` for each tag; else one column with JSON.
            exclude_fields: fields that are left out.
            dialect: as of the standard module `csv`.
            with_header: whether the first line has the names.
            encoding: of the text.
        """
        options: dict[str, Any] = {
            "flatten_tags": flatten_tags,
            "exclude_fields": exclude_fields,
            "dialect": dialect,
            "with_header": with_header,
        }
        if (opened := _opened_as_text(file)) is not None:
            opened.write(self.to_bytes("csv", **options).decode("utf-8", "surrogatepass"))
            return
        exchange.save([self._slots.table()], cast("Target", file), "csv", encoding=encoding, **options)

    @on_class
    def load_csv(
        cls,
        file: TextSource,
        field_resolver: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
        **options: Any,
    ) -> Self:
        """The array of a CSV file; columns that are no field become tags.

        Args:
            field_resolver: names of columns, and the fields that they are.
        """
        if (opened := _opened_as_text(file)) is not None:
            data = opened.read().encode("utf-8", "surrogatepass")
            return cls(exchange.loads(data, "csv", field_resolver=field_resolver, **options))
        source = cast("Source", file)
        return cls(exchange.load(source, "csv", field_resolver=field_resolver, encoding=encoding, **options))

    def save_embeddings_csv(self, file: TextTarget, encoding: str = "utf-8", **kwargs: Any) -> None:
        """Writes the matrix of embeddings, a line a document; keywords are those of `numpy.savetxt`.

        Raises:
            MissingEmbedding: a document has none.
        """
        matrix = cast("Any", self).embeddings
        if matrix is None:
            raise MissingEmbedding("the documents have no embeddings: compute them first, with `embed`")
        write = resolve("room", "csv").save_embeddings_csv
        if (opened := _opened_as_text(file)) is not None:
            lines = io.BytesIO()
            write(matrix, lines, encoding="utf-8", **kwargs)
            opened.write(lines.getvalue().decode())
            return
        with files.writing(cast("Target", file)) as stream:
            write(matrix, stream, encoding=encoding, **kwargs)

    def to_dataframe(self, **kwargs: Any) -> Any:
        """A pandas DataFrame with a row for each document and a column for each field that any of them has."""
        return resolve("room", "dataframe").to_dataframe(self._slots.table(), **kwargs)

    @on_class
    def from_dataframe(cls, df: Any, *args: Any, **kwargs: Any) -> Self:
        """The array of a DataFrame of pandas, polars or any library that speaks Arrow; other columns become tags."""
        return cls(settled(resolve("room", "dataframe").from_dataframe(df, *args, **kwargs)))

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`; matrices are handed over without copy."""
        return resolve("room", "arrow").to_arrow(self._slots.table())

    @on_class
    def from_arrow(cls, source: Any) -> Self:
        """The array of anything that speaks Arrow: tables of pyarrow, polars, duckdb, Hugging Face datasets."""
        return cls(settled(resolve("room", "arrow").from_arrow(source)))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return resolve("room", "arrow").c_stream(self._slots.table(), requested_schema)

    def __arrow_c_schema__(self) -> object:
        return resolve("room", "arrow").c_schema(self._slots.table())

    # ------------------------------------------------------------------------------------------ loaders

    @on_class
    def from_files(
        cls,
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
    ) -> Self:
        """A document for each file that patterns match, with its `uri`, and its content if asked for.

        Args:
            patterns: 'data/**/*.png', several of such, or URLs of fsspec; '~' is the home.
            recursive: whether '**' goes down into folders.
            size: how many documents there are at most.
            sampling_rate: the chance of each file to be taken, from 0 to 1.
            read_mode: 'r' reads files as text, 'rb' as blob; None leaves them alone.
            to_dataturi: the old spelling of `to_datauri`.
            exclude_regex: file names that begin with a match are left out.
            to_datauri: whether `uri` becomes a data URI with the content.
            seed: of the sampling.
        """
        return _joined(cls, _loaders().tables_from_files(
            patterns, recursive, size, sampling_rate, read_mode, to_dataturi, exclude_regex,
            to_datauri=to_datauri, seed=seed,
        ))  # fmt: skip

    @on_class
    def from_csv(
        cls,
        file: loaders.Lines,
        field_resolver: Mapping[str, str] | None = None,
        size: int | None = None,
        sampling_rate: float | None = None,
        dialect: Any = "excel",
        encoding: str = "utf-8",
        *,
        seed: int | None = None,
    ) -> Self:
        """A document for each row of a CSV; columns that are no field become tags.

        Args:
            file: a path, a URL, an open file, bytes, or lines.
            field_resolver: names of columns, and the fields that they are.
            size: how many documents there are at most.
            sampling_rate: the chance of each row to be taken, from 0 to 1.
            dialect: as of the standard module `csv`; 'auto' looks for itself.
            encoding: of the text.
            seed: of the sampling.
        """
        return _joined(cls, _loaders().tables_from_csv(
            file, field_resolver, size, sampling_rate, dialect, encoding, seed=seed
        ))  # fmt: skip

    @on_class
    def from_ndjson(
        cls,
        fp: loaders.Lines,
        field_resolver: Mapping[str, str] | None = None,
        size: int | None = None,
        sampling_rate: float | None = None,
        *,
        seed: int | None = None,
    ) -> Self:
        """A document for each line of JSON; keys that are no field become tags.

        The arguments are those of `from_csv`.
        """
        return _joined(cls, _loaders().tables_from_ndjson(fp, field_resolver, size, sampling_rate, seed=seed))

    @on_class
    def from_lines(
        cls,
        lines: Iterable[str] | Iterable[bytes] | None = None,
        filepath: loaders.Lines | None = None,
        read_mode: Literal["r", "rb"] = "r",
        line_format: str | None = None,
        field_resolver: Mapping[str, str] | None = None,
        size: int | None = None,
        sampling_rate: float | None = None,
        *,
        encoding: str = "utf-8",
        seed: int | None = None,
    ) -> Self:
        """A document for each line: of JSON, of CSV, or as text.

        Args:
            lines: the lines, or
            filepath: where they are; its suffix says what they hold.
            read_mode: 'rb' makes blobs of plain lines.
            line_format: 'json', 'csv', or anything else for text; None goes by the suffix of `filepath`, and is 'json'
                for `lines`.
            field_resolver, size, sampling_rate, encoding, seed: as in `from_csv`.
        """
        return _joined(cls, _loaders().tables_from_lines(
            lines, filepath, read_mode, line_format, field_resolver, size, sampling_rate,
            encoding=encoding, seed=seed,
        ))  # fmt: skip

    @on_class
    def from_ndarray(
        cls,
        array: Any,
        axis: int = 0,
        size: int | None = None,
        shuffle: bool = False,
        *,
        seed: int | None = None,
    ) -> Self:
        """A document for each slice of an array, as its `tensor`; nothing is copied along the first axis.

        Args:
            array: (n, *shape) along the first axis.
            axis: the axis that is cut.
            size: how many documents there are at most.
            shuffle: whether they come in a random order.
            seed: of the shuffling.
        """
        return _joined(cls, _loaders().tables_from_ndarray(array, axis, size, shuffle, seed=seed))

    @on_class
    def from_huggingface_datasets(
        cls,
        dataset_path: str,
        field_resolver: Mapping[str, str] | None = None,
        size: int | None = None,
        sampling_rate: float | None = None,
        filter_fields: bool = False,
        **datasets_kwargs: Any,
    ) -> Self:
        """A document for each row of a dataset that `datasets.load_dataset` finds; needs the package datasets.

        Args:
            dataset_path: a name, a folder, or what reads local files: 'json', 'csv', 'parquet'.
            field_resolver: names of columns, and the fields that they are.
            size, sampling_rate: as in `from_csv`.
            filter_fields: whether columns that are not in `field_resolver` are left out.
            datasets_kwargs: of `load_dataset`; `split` is needed.

        Raises:
            BadValue: no `split`; the message lists those there are.
        """
        return _joined(cls, _loaders().tables_from_huggingface_datasets(
            dataset_path, field_resolver, size, sampling_rate, filter_fields, **datasets_kwargs
        ))  # fmt: skip

    # ------------------------------------------------------------------------------------------ remote places

    def push(
        self,
        name: str | os.PathLike[str],
        show_progress: Show = None,
        public: bool = True,
        branding: Mapping[str, Any] | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> remote.Entry:
        """Writes the array to a remote place, in parts that are checked; a push that was broken off is gone on with.

        Args:
            name: a URL of fsspec ('s3://bucket/folder/name'), a path, or a name below the place that the environment
                variable DOCARRAY_REMOTE names.
            show_progress: True, False, or None: on a terminal, where it takes long.
            public, branding: of the old service, which is gone; who may read is the matter of the place.
            storage_options: for the file system of fsspec, such as `{'endpoint_url': ...}`.

        Returns:
            what was pushed: its URL, rows, size and checksum.

        Raises:
            BadValue: a plain name, and DOCARRAY_REMOTE is not set. OSError: the transfer failed.

        >>> from docarray import Document, DocumentArray
        >>> entry = DocumentArray([Document(text='hi')]).push('memory://shelf/greeting')
        >>> DocumentArray.pull('memory://shelf/greeting', local_cache=False).texts
        ['hi']
        """
        del public, branding
        return _remote().push(self._slots.table(), name, show=show_progress, storage_options=storage_options)

    @on_class
    def pull(
        cls,
        name: str | os.PathLike[str],
        show_progress: Show = None,
        local_cache: bool = True,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """The array that was pushed to a remote place; each part is compared with its checksum.

        Args:
            name: as in `push`; web addresses too.
            show_progress: as in `push`.
            local_cache: whether it is kept in `~/.cache/docarray`, and not fetched again while it is what is there.
            storage_options: as in `push`.

        Raises:
            CorruptData: a part is damaged or missing. FileNotFoundError: nothing was pushed there.
        """
        return cls(
            _remote().pull(name, show=show_progress, local_cache=local_cache, storage_options=storage_options)
        )

    cloud_push = push
    cloud_pull = pull

    @staticmethod
    def cloud_list(
        show_table: bool = False,
        name: str | os.PathLike[str] | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """The URLs of all arrays that were pushed to a place; None is the one that DOCARRAY_REMOTE names.

        Args:
            show_table: whether they are printed as a table too.
            name: a URL of fsspec, or a folder.
            storage_options: as in `push`.
        """
        entries = _remote().listed(name, storage_options=storage_options)
        if show_table:
            from rich.console import Console

            Console().print(_remote().rich_table(entries))
        return [entry.url for entry in entries]

    @staticmethod
    def cloud_delete(
        name: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        """Takes away what was pushed under a name.

        Raises:
            FileNotFoundError: nothing was.
        """
        _remote().delete(name, storage_options=storage_options)


def _opened_as_text(file: object) -> TextIO | None:
    """A file that was opened in text mode; None for any other source or target."""
    return cast("TextIO", file) if isinstance(file, io.TextIOBase) else None


# Both bring modules along that most programs never need: of the web, of CSV, of threads.
def _loaders() -> Any:
    return resolve("room", "loaders")


def _remote() -> Any:
    return resolve("room", "remote")


def _joined(cls: Callable[[Table], Any], tables: Iterator[Table]) -> Any:
    return cls(Table.concat(list(_counted(tables, "loading", None, None))))


def _counted(tables: Iterable[Table], title: str, total: int | None, show: Show) -> Generator[Table]:
    """Tables as they come, with progress in documents."""
    with Bar(title, total, show=show) as bar:
        for table in tables:
            yield table
            bar.step(len(table))


def _documents(tables: Iterator[Table]) -> Generator[Document]:
    for table in tables:
        yield from Slots.of_table(table).docs()


def _tables(docs: Iterable[Document], size: int) -> Iterator[Table]:
    """Documents as tables of so many; one without rows where there is none at all."""
    if isinstance(docs, Porting):  # columns are cut without a look at documents
        slots = cast("Porting[Any]", docs)._slots
        parts = (slots.select(slice(at, at + size)) for at in range(0, len(slots) or 1, size))
        yield from (part.table() for part in parts)
        return
    rest = iter(docs)
    first = list(islice(rest, size))
    for part in chain([first], iter(lambda: list(islice(rest, size)), [])):
        yield Slots(admitted(cast("list[Any]", part))).table()


def _table_of_dicts(values: Any, protocol: str | None, options: Mapping[str, Any]) -> Table:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise FieldTypeError(f"a list of dicts is wanted, one for each document; got {values!r:.80}")
    return exchange.from_dicts(cast("Iterable[Any]", values), protocol, **options)
