"""Pickles of documents, of the old library and of this one.

Rule 1: Python's own unpickler is not used. Whatever list of classes it is given, a small pickle can still make it
        crash (the hash of a deep tuple), hang (the hash of tuples that share their parts) or ask for any memory
        (the number of a memo). The machine of unpickling.py knows each opcode, and each name from a closed list.
Rule 2: documents become stand-ins that keep their state; only when the whole is read are they made into records,
        within limits of depth and of size, since what is shared in a pickle is many in a table.
Rule 3: what is written is written for the old library: its class paths are said in a prelude, and the pickler finds
        them in its memo. A class that the list does not know is not written either.
"""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# What a pickle holds may be of any type; what is left unknown when one is asked for is nobody's mistake.

from __future__ import annotations

import collections
import copyreg
import datetime
import functools
import io
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

import numpy as np

from docarray import tagged
from docarray.columns import RaggedTensors
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    FormatError,
    MissingExtra,
    UnknownField,
    Unsupported,
    UnsupportedFormat,
)
from docarray.format import Format
from docarray.records import Record, records_of, table_of
from docarray.schema import FIELDS
from docarray.serialization import container
from docarray.serialization.stream import Stream
from docarray.serialization.unpickling import (
    DAMAGE,
    NAMES,
    PLAIN_KEYS,
    Machine,
    Old,
    OldChunks,
    OldData,
    OldDocument,
    OldDocuments,
    OldMatches,
    OldScore,
    OldScoreData,
    OurContainer,
    PickledArray,
    PickledSparse,
    PickledTensor,
    PickledUuid,
    corrupt,
    ours,
    refuse,
    shown,
)
from docarray.table import Table
from docarray.tensors import Array

__all__ = ["PICKLE", "PICKLE_ARRAY", "STREAM", "PickleArray", "PickleDocument"]

_DEEPEST_DOCUMENT: Final = 128
_DEEPEST_VALUE: Final = 200
_ROOM: Final = 1000  # a document of which nothing is set


# ---------------------------------------------------------------------------------------------- to records

_LEAVES: Final = frozenset({int, float, bool, type(None)})
_SCORE_FIELDS: Final = ("value", "op_name", "description", "ref_id")
_LINKS: Final = frozenset({"_reference_doc", "content"})


class _Reader:
    """Makes records of stand-ins, all of it anew, so that nothing that was shared stays shared."""

    __slots__ = ("_machine", "_trusted")

    def __init__(self, machine: Machine, *, trusted: bool) -> None:
        self._machine = machine
        self._trusted = trusted

    def table(self, found: Any) -> Table:
        """What was read as a table."""
        if isinstance(found, OurContainer):
            return container.FORMAT.loads(found.data)
        if isinstance(found, OldDocuments):
            return _tabled([self.record(doc, 0) for doc in _docs_of(found)])
        if type(found) is OldDocument:
            return _tabled([self.record(found, 0)])
        if type(found) in (list, tuple):
            docs = cast("list[Any]", found)
            if all(type(doc) is OldDocument for doc in docs):
                return _tabled([self.record(doc, 0) for doc in docs])
            if all(isinstance(doc, OurContainer) for doc in docs):
                return Table.concat([container.FORMAT.loads(doc.data) for doc in docs])
        raise UnsupportedFormat(f"a pickle of {shown(found)}, which is no document and no array of documents")

    def record(self, doc: Any, depth: int) -> Record:
        """One document and what is below it."""
        if type(doc) is not OldDocument:
            corrupt(f"{shown(doc)} where a document should be")
        if depth > _DEEPEST_DOCUMENT:
            raise UnsupportedFormat(
                f"documents are nested more than {_DEEPEST_DOCUMENT} levels deep, or hold themselves"
            )
        self._machine.spend(_ROOM)
        fields = _state_of(_state_of(doc)["_data"], OldData)
        record: Record = {}
        for name, value in fields.items():
            if value is None or name in _LINKS:
                continue
            if name in ("chunks", "matches"):
                below = [self.record(inner, depth + 1) for inner in _docs_of(value)]
                if below:
                    record[name] = below
            elif name in ("scores", "evaluations"):
                record[name] = self._scores(value)
            elif name in FIELDS:
                record[name] = self.value(value, 0)
            else:
                corrupt(f"a document with a field {name!r:.60}, which there is not")
        return _settled(record)

    def _scores(self, scores: Any) -> dict[Any, Any]:
        if type(scores) is not dict and not (self._trusted and isinstance(scores, dict)):
            corrupt(f"scores that are {shown(scores)}")
        found: dict[Any, Any] = {}
        for name, score in cast("dict[Any, Any]", scores).items():
            if type(score) is OldScore:
                held = _state_of(_state_of(score)["_data"], OldScoreData)
                score = {key: held[key] for key in _SCORE_FIELDS if held.get(key) is not None}
            found[name] = self.value(score, 0)
        return found

    def value(self, value: Any, depth: int) -> Any:
        """A value of tags, an array, a number, a text: plain data, nothing of it shared."""
        kind = type(value)
        if kind is str or kind is bytes:
            self._machine.spend(len(value))
            return value
        if kind in _LEAVES:
            if kind is int:
                self._machine.spend(value.bit_length() >> 3)
            return value
        if depth > _DEEPEST_VALUE:
            raise UnsupportedFormat(
                f"values are nested more than {_DEEPEST_VALUE} levels deep, or hold themselves"
            )
        if kind is dict:
            self._machine.spend(80 + 64 * len(value))
            return {k: v if type(v) in _LEAVES else self.value(v, depth + 1) for k, v in value.items()}
        if kind is list or kind is tuple:
            self._machine.spend(64 + 16 * len(value))
            return kind([v if type(v) in _LEAVES else self.value(v, depth + 1) for v in value])
        if kind is PickledArray:
            return self._array(value.made)
        if kind is np.ndarray:
            return self._array(value)
        if kind is memoryview or kind is bytearray:
            self._machine.spend(len(value))
            return bytes(value) if kind is memoryview else bytearray(value)
        if kind is set or kind is frozenset:
            self._machine.spend(232 + 64 * len(value))
            return kind(value)
        if kind is PickledUuid:
            return value.made
        if kind is PickledSparse or kind is PickledTensor:
            how, shape, parts = value.made
            self._machine.spend(sum(part.nbytes for part in parts))
            return _put_together(how, shape, parts)
        if kind in PLAIN_KEYS or isinstance(value, np.generic) or self._trusted:
            return value
        corrupt(f"{shown(value)} where a value should be")

    def _array(self, made: Any) -> Array:
        if type(made) is not np.ndarray:
            refuse("an array of objects (numpy dtype object)")
        self._machine.spend(made.nbytes)
        return made.copy("K")


def _state_of(held: Any, kind: type | None = None) -> dict[Any, Any]:
    if kind is not None and type(held) is not kind:
        corrupt(f"{shown(held)} where the fields of a document should be")
    if type(held.state) is not dict:
        corrupt("an object whose state is no dict")
    return held.state


def _docs_of(held: Any) -> list[Any]:
    docs = _state_of(held)["_data"] if isinstance(held, OldDocuments) else held
    if type(docs) is not list:
        corrupt(f"{shown(docs)} where documents should be")
    return cast("list[Any]", docs)


def _settled(record: Record) -> Record:
    """Of text, blob and tensor only one is set. The old library set the others to nothing when they were read."""
    contents = [name for name in ("text", "blob", "tensor") if name in record]
    if len(contents) > 1:
        for name, nothing in (("text", ""), ("blob", b"")):
            if name in contents and type(record[name]) is type(nothing) and not record[name]:
                del record[name]
    return record


def _tabled(records: list[Record]) -> Table:
    try:
        return table_of(records)
    except (FieldTypeError, UnknownField, BadValue) as error:
        raise UnsupportedFormat(f"a pickle of documents with what a document cannot hold: {error}") from None


def _put_together(how: str, shape: tuple[int, ...], parts: list[Array]) -> Any:
    """An array of a package by its parts. Columns of tensors know how, and look at all that the package would not."""
    sizes = list(shape)
    blocks: list[bytes] = []
    for part in parts:
        sizes += part.shape
        blocks += (part.tobytes(), bytes(-part.nbytes % 16))
    spec = [how, len(shape), [[part.dtype.str, part.ndim] for part in parts]]
    form = {"kind": "tensor", "layout": "ragged", "length": 1, "specs": [spec]}
    buffers = {
        "tensor.kinds": np.zeros(1, np.int32),
        "tensor.starts": np.zeros(1, np.int64),
        "tensor.dims": np.zeros(1, np.int64),
        "tensor.shapes": np.array(sizes, np.int64),
        "tensor.data": np.frombuffer(b"".join(blocks), np.uint8),
    }
    return RaggedTensors.from_buffers(form, "tensor", buffers).value(0)


class _Trusting(pickle.Unpickler):
    """Python's own, for what is trusted: only the classes of documents stand for themselves."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = NAMES.get((module_name, global_name))
        if known is not None and module_name.startswith("docarray."):
            if global_name == "_unpickled":
                return _trusted_ours
            return _TRUSTED.get(known.path, known)
        return super().find_class(module_name, global_name)


def _trusted_ours(*args: Any) -> OurContainer:
    return ours(None, args)


def _read(data: memoryview, *, trusted: bool) -> tuple[_Reader, Any]:
    """What lies in the bytes, and who makes records of it."""
    whole = data.obj if type(data.obj) is bytes and len(data.obj) == data.nbytes else bytes(data)
    machine = Machine(whole)
    reader = _Reader(machine, trusted=trusted)
    if trusted:
        try:
            return reader, _Trusting(io.BytesIO(machine.data)).load()
        except DocArrayError:
            raise
        except Exception as error:
            raise CorruptData(f"a pickle that cannot be read: {type(error).__name__}: {error}") from error
    if not machine.data:
        raise CorruptData("no pickle, but nothing at all")
    found = machine.run()
    if machine.at != len(machine.data):
        raise CorruptData(f"a pickle that ends at byte {machine.at} of {len(machine.data)}")
    return reader, found


def _checked(make: Callable[[], Any]) -> Any:
    """What a function makes of what was read, which may lack or hold anything."""
    try:
        return make()
    except (CorruptData, UnsupportedFormat, MissingExtra):
        raise
    except (*DAMAGE, DocArrayError) as error:
        what = f"{type(error).__name__}: {error}"
        raise CorruptData(f"a pickle of documents that are not whole: {what:.200}") from None


# ---------------------------------------------------------------------------------------------- writing

_TRUSTED: Final[Mapping[str, type]] = {
    "docarray.document.Document": OldDocument,
    "docarray.document.data.DocumentData": OldData,
    "docarray.dataclasses.enums.AttributeType": str,
    "docarray.dataclasses.enums.DocumentMetadata": str,
    "docarray.dataclasses.enums.ImageType": str,
    "docarray.array.memory.DocumentArrayInMemory": OldDocuments,
    "docarray.array.document.DocumentArray": OldDocuments,
    "docarray.array.chunk.ChunkArray": OldChunks,
    "docarray.array.match.MatchArray": OldMatches,
    "docarray.score.NamedScore": OldScore,
    "docarray.score.data.NamedScoreData": OldScoreData,
}
_RECONSTRUCT: Final[Any] = np.zeros(0).__reduce__()[0]
_SCALAR: Final[Any] = np.float64(0).__reduce__()[0]
# By what needs them: what stands for a name, then the name as all of the old library and numpy 1 say it.
_PRELUDE: Final[Mapping[str, tuple[tuple[Any, str, str], ...]]] = {
    "document": (
        (OldDocument, "docarray.document", "Document"),
        (OldData, "docarray.document.data", "DocumentData"),
    ),
    "arrays": (
        (_RECONSTRUCT, "numpy.core.multiarray", "_reconstruct"),
        (_SCALAR, "numpy.core.multiarray", "scalar"),
    ),
    "scores": (
        (OldScore, "docarray.score", "NamedScore"),
        (OldScoreData, "docarray.score.data", "NamedScoreData"),
    ),
    "nested": (
        (OldDocuments, "docarray.array.memory", "DocumentArrayInMemory"),
        (OldChunks, "docarray.array.chunk", "ChunkArray"),
        (OldMatches, "docarray.array.match", "MatchArray"),
    ),
}
_NEEDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("tensor", "embedding", "location", "tags", "_metadata", "weight", "offset"), "arrays"),
    **dict.fromkeys(("scores", "evaluations"), "scores"),
    **dict.fromkeys(("chunks", "matches"), "nested"),
}
_NEWOBJ: Final[Any] = vars(copyreg)["__newobj__"]  # by this name the pickler knows the opcode
_STEP: Final = 16
_NEW: Final[tuple[Any, ...]] = (np.ndarray, (0,), b"b")
_BASES: Final = (str, int, float, bytes, bytearray, list, tuple, set, frozenset, Mapping, memoryview)


@functools.lru_cache(maxsize=16)
def _prelude(needs: tuple[str, ...]) -> tuple[bytes, dict[int, tuple[int, Any]]]:
    """The opcodes that put these names into the memo, and the memo that knows them."""
    names = [entry for need in needs for entry in _PRELUDE[need]]
    said = (
        b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in pair) + b"\x93\x94"
        for _, *pair in names
    )
    memo = {id(stands): (number, stands) for number, (stands, _, _) in enumerate(names)}
    return b"\x80\x04(" + b"".join(said) + b"1", memo


class _Pickler(pickle.Pickler):
    """Python's own, which says nothing by name that is not on the list."""

    def reducer_override(self, obj: Any, /) -> Any:
        kind = cast("Any", type(obj))
        if issubclass(kind, Old):
            return _NEWOBJ, (kind,), obj.state
        if issubclass(kind, np.ndarray) and not hasattr(obj, "filled"):
            return _array_reduced(np.asarray(obj))
        if kind is _Cells:
            return _RECONSTRUCT, _NEW, (1, obj.array.shape, obj.array.dtype, False, obj.array.tolist())
        if isinstance(obj, type) or (callable(obj) and hasattr(obj, "__qualname__")):
            known = NAMES.get((obj.__module__, obj.__qualname__))
            if not (known is not None and known.is_used) and obj is not np.ndarray:
                raise FieldTypeError(_no_data(obj))
            return NotImplemented
        value: Any = cast("object", obj)
        if kind in (datetime.datetime, datetime.time) and value.tzinfo is not None:
            if type(value.tzinfo) is not datetime.timezone and (offset := value.utcoffset()) is not None:
                return value.replace(tzinfo=datetime.timezone(offset)).__reduce_ex__(4)
        elif kind is collections.defaultdict:
            if value.default_factory is not OldScore:
                return dict, (dict(value),)
        elif (kind.__module__, kind.__qualname__) not in NAMES:
            for base in () if isinstance(value, np.generic) else _BASES:
                if isinstance(value, base):
                    return _as_base(base, value)
        elif kind.__name__.startswith("lil_"):
            cells = {name: _Cells(getattr(value, name)) for name in ("rows", "data")}
            return _NEWOBJ, (kind,), {**value.__dict__, **cells}
        return NotImplemented


class _Cells:
    """An array of lists, which only a lil matrix may hold."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array


def _no_data(kind: Any) -> str:
    return f"tags hold data only; a {kind.__module__}.{kind.__qualname__} cannot be stored"


@functools.lru_cache(maxsize=64)
def _is_flat(dtype: np.dtype[Any]) -> bool:
    try:
        return tagged.flat_dtype(dtype.str) == dtype
    except FormatError:
        return False


def _array_reduced(array: Array) -> Any:
    if not _is_flat(array.dtype):
        raise FieldTypeError(f"an array of {array.dtype} cannot be stored: use numbers, text or bytes")
    fortran = array.flags.fnc
    return _RECONSTRUCT, _NEW, (1, array.shape, array.dtype, fortran, array.tobytes("F" if fortran else "C"))


def _as_base(base: Any, value: Any) -> Any:
    """Of a subclass what it is a subclass of, as in all formats."""
    if base is str:
        return str, (str.__str__(value),)
    if base in (Mapping, memoryview):
        plain = dict if base is Mapping else bytes
        return plain, (plain(value),)
    if base in (list, tuple, set, frozenset):
        return base, (list(value),)
    return base, (base(value),)


def _pickled(made: Any, needs: Iterable[str], deep: Iterable[Any]) -> bytes:
    """What was made as a pickle. What is deep in it goes before it and is taken off again: the memo has it then."""
    head, memo = _prelude(tuple(needs))
    stream = io.BytesIO(head)
    stream.seek(len(head))
    pickler = _Pickler(stream, 4)
    pickler.memo = memo  # pyright: ignore[reportAttributeAccessIssue]
    try:
        for inner in deep:
            pickler.dump(inner)
            stream.seek(-1, io.SEEK_CUR)
            stream.write(b"0")  # POP where STOP was
        pickler.dump(made)
    except RecursionError:
        raise BadValue("documents or values are nested too deep for a pickle, or hold themselves") from None
    except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, DocArrayError):
            raise
        raise FieldTypeError(f"a value that is no data cannot be stored: {error}") from None
    return stream.getvalue()


def _written(record: Record, depth: int, deep: list[Any]) -> OldDocument:
    """A document as the old library holds it. What is not set is not said: the class of the old data says None."""
    doc, data = OldDocument(), OldData()
    fields: dict[str, Any] = {"_reference_doc": doc, **record}
    for name, make in (("chunks", OldChunks), ("matches", OldMatches)):
        if name in record:
            fields[name] = _written_docs(make(), record[name], depth + 1, deep, _ref_doc=doc)
    for name in ("evaluations", "scores"):
        if name in record:
            fields[name] = _written_scores(record[name])
    data.state = fields
    doc.state = {"_data": data}
    if depth and not depth % _STEP:  # the pickler calls itself for each level, and Python counts its calls
        deep.append(doc)
    return doc


def _written_docs(
    array: OldDocuments, records: list[Record], depth: int, deep: list[Any], **more: Any
) -> OldDocuments:
    array.state = {
        **more,
        "_needs_id2offset_rebuild": True,
        "_is_subindex": False,
        "_data": [_written(record, depth, deep) for record in records],
        "_id_to_index": {},
        "_subindices": {},
    }
    return array


def _written_scores(scores: Mapping[str, Any]) -> Any:
    made: dict[str, OldScore] = collections.defaultdict(OldScore)
    for name, fields in scores.items():
        score, data = OldScore(), OldScoreData()
        data.state = {"_reference_ns": score, **fields}
        score.state = {"_data": data}
        made[name] = score
    return made


# ---------------------------------------------------------------------------------------------- the formats


class PickleArray(Format):
    """`pickle-array`: a pickle of a whole DocumentArray, as the old library writes and reads it.

    Reads what 0.13 to 0.21 wrote, and pickles of this library's own documents and arrays, through a closed list that
    can run nothing. Writes what the old library reads.

    What it cannot say: attributes that are no field of a document, the class of a subclass (of documents, of values
    in tags), the id map and the store of an array, which arrays are shared. Of a tensor of torch: `requires_grad` and
    the device. Arrays of tensorflow, paddle and jax are neither written nor read.

    Every option but `trusted` is a TypeError. **`trusted=True` reads with Python's own unpickler: the pickle can then
    run any code, with the rights of the program that reads it.** It is for files that you wrote yourself, with
    classes of your own in their tags.

    >>> table = table_of([{'id': 'a', 'text': 'hi', 'tags': {'x': (1, 2.0)}}])
    >>> records_of(PICKLE_ARRAY.loads(memoryview(PICKLE_ARRAY.dumps(table))))
    [{'id': 'a', 'text': 'hi', 'tags': {'x': (1, 2.0)}}]
    """

    name = "pickle-array"
    suffixes: tuple[str, ...] = (".pickle-array",)
    is_chosen = False

    def recognises(self, head: bytes) -> bool:
        """Whether bytes begin as pickles of Python 3 do."""
        return len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5

    def dumps(self, table: Table) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The table as a pickle of the old library's array.

        Raises:
            FieldTypeError: a value cannot be said; the message names the document.
            BadValue: documents or values are nested too deep.

        Costs about what the old library takes; memory: the pickle, and a few objects for each document.
        """
        records = records_of(table)
        try:
            deep: list[Any] = []
            return _pickled(_written_docs(OldDocuments(), records, 0, deep), _PRELUDE, deep)
        except FieldTypeError:
            for record in records:
                PICKLE.dumps_record(record)  # the first that cannot be written says its id
            raise

    def loads(self, data: memoryview, *, trusted: bool = False) -> Table:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The documents of a pickle of an array, of one document, or of a list of them.

        Args:
            data: read-only, contiguous, of bytes.
            trusted: whether the pickle may name any class, and so **run any code**.

        Raises:
            CorruptData: the bytes are damaged, or would make far more objects than they are.
            UnsupportedFormat: the pickle names what is not on the list, or holds something else than documents.
            MissingExtra: an array of scipy or torch, which is not installed.
        """
        reader, found = _read(data, trusted=trusted)
        return _checked(lambda: reader.table(found))


class PickleDocument(Format):
    """`pickle`: one document, as the old library pickles it; the records of its length-prefixed stream.

    Reads and cannot say the same as `pickle-array`.

    >>> PICKLE.loads_record(memoryview(PICKLE.dumps_record({'id': 'a', 'weight': 0.5})))
    {'id': 'a', 'weight': 0.5}
    """

    name = "pickle"
    suffixes: tuple[str, ...] = (".pickle",)
    is_chosen = False

    def dumps(self, table: Table) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The one document of a table.

        Raises:
            Unsupported: there is another number of them. FieldTypeError, BadValue: as `dumps_record`.
        """
        if len(table) != 1:
            raise Unsupported(f"a pickle of one document; got {len(table)}: write them as 'pickle-array'")
        return self.dumps_record(records_of(table)[0])

    def loads(self, data: memoryview, *, trusted: bool = False) -> Table:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The document as a table of one row. Raises what `loads_record` does."""
        return PICKLE_ARRAY.loads(data, trusted=trusted)

    def dumps_record(self, record: Record) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One document as the old library pickles it.

        Raises:
            FieldTypeError: a value cannot be said; the message names the document.
            BadValue: documents or values are nested too deep.
        """
        needs = {"document", *(_NEEDS[name] for name in record if name in _NEEDS)}
        try:
            deep: list[Any] = []
            doc = _written(record, 0, deep)
            return _pickled(doc, _PRELUDE if "nested" in needs else sorted(needs), deep)
        except FieldTypeError as error:
            raise FieldTypeError(f"document {record.get('id')!r}: {error}") from None

    def loads_record(self, data: memoryview, *, trusted: bool = False) -> Record:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The document that `dumps_record`, or the old library, wrote.

        Raises:
            CorruptData: the bytes are damaged. UnsupportedFormat: they are no document, or hold what is not read.
            MissingExtra: an array of scipy or torch, which is not installed.
        """
        reader, found = _read(data, trusted=trusted)
        if type(found) is OldDocument:
            return _checked(lambda: reader.record(found, 0))
        records = _checked(lambda: records_of(reader.table(found)))
        if len(records) != 1:
            raise CorruptData(f"{len(records)} documents where one was expected: read them as 'pickle-array'")
        return records[0]


PICKLE_ARRAY: Final = PickleArray()
PICKLE: Final = PickleDocument()
STREAM: Final = Stream("pickle", PICKLE, (".pickle",), is_chosen=False)
