"""A machine for pickles that can make nothing but data: each opcode, and each name from a closed list.

Rule 1: a name on the stack is an inert object. What it does when it is called, made or given a state is a function
        of ours, which checks its arguments. Nothing that a pickle makes has attributes that a pickle could set.
Rule 2: what a pickle makes is counted: bytes, depth, the numbers of its memo, the hashes of its keys.
Rule 3: documents of the old library become stand-ins that keep their state; pickles.py makes records of them.
"""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# What a pickle holds may be of any type; what is left unknown when one is asked for is nobody's mistake.

from __future__ import annotations

import datetime
import decimal
import functools
import math
import re
import struct
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, cast

import numpy as np

from docarray import tagged
from docarray.errors import (
    CorruptData,
    FormatError,
    UnsupportedFormat,
)
from docarray.tensors import Array

__all__ = [
    "DAMAGE",
    "NAMES",
    "PLAIN_KEYS",
    "Machine",
    "Name",
    "Old",
    "OldChunks",
    "OldData",
    "OldDocument",
    "OldDocuments",
    "OldMatches",
    "OldScore",
    "OldScoreData",
    "OurContainer",
    "PickledArray",
    "PickledSparse",
    "PickledTensor",
    "PickledUuid",
    "corrupt",
    "ours",
    "refuse",
    "shown",
]

_FREE: Final = 1 << 28  # bytes of objects that any pickle may make
_RATIO: Final = 24  # and that a large one may make for each of its own
_FAR: Final = 1000  # numbers of a memo that a pickle may leave out
_SAME_HASH: Final = 64
_LIFTED: Final = (
    "if you trust where it comes from, read it with trusted=True: that lets the pickle run any code"
)


# ---------------------------------------------------------------------------------------------- what stands in


class Old:
    """An object of the old library: the state that it was given, and nothing else."""

    __slots__ = ("state",)
    state: Any

    def build(self, state: Any) -> None:
        self.state = state

    __setstate__ = build  # of Python's unpickler, when the list is lifted


class OldDocument(Old):
    __slots__ = ()


class OldData(Old):
    __slots__ = ()


class OldDocuments(Old):
    __slots__ = ()


class OldChunks(OldDocuments):
    __slots__ = ()


class OldMatches(OldDocuments):
    __slots__ = ()


class OldScore(Old):
    __slots__ = ()


class OldScoreData(Old):
    __slots__ = ()


class OurContainer:
    """A document or array of this library: the bytes of its container."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _Dtype:
    """A dtype of numpy: its code, such as 'f4', and then its whole name, such as '<f4'."""

    __slots__ = ("_flat", "code", "text")

    def __init__(self, code: str) -> None:
        self.code = self.text = code
        self._flat: np.dtype[Any] | None = None

    def build(self, state: Any) -> None:
        if type(state) is not tuple or len(cast("Any", state)) not in (8, 9):
            corrupt("the state of a dtype is not what numpy writes")
        order, fields, more = state[1], state[2:5], state[8:]
        if fields != (None, None, None) or order not in ("<", ">", "|", "="):
            refuse("an array of fields (a structured dtype)")
        unit = ""
        if more and more[0] is not None:
            name, number = more[0][1][:2]
            if type(name) is not bytes or type(number) is not int:
                corrupt("a dtype of dates has no unit")
            unit = "" if name == b"generic" else f"[{'' if number == 1 else number}{name.decode('ascii')}]"
        self.text, self._flat = order + self.code + unit, None

    @property
    def flat(self) -> np.dtype[Any]:
        if self._flat is None:
            if self.code[:1] == "O":
                refuse("an array of objects (numpy dtype object)")
            self._flat = tagged.flat_dtype(self.text)
        return self._flat


class PickledArray:
    """An array of numpy: a read-only view of the pickle once its state is known."""

    __slots__ = ("made",)
    made: Any

    def build(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if type(dtype) is _Dtype and dtype.code == "O8":  # only a lil matrix may hold such: lists of numbers
            if type(raw) is not list or type(shape) is not tuple:
                corrupt("an array of objects has no list of them")
            self.made = cast("list[Any]", raw)
        else:
            self.made = _array(raw, dtype, shape, "F" if fortran is True else "C")


class PickledUuid:
    __slots__ = ("made",)
    made: uuid.UUID

    def build(self, state: Any) -> None:
        number = state["int"]
        if type(number) is not int:
            corrupt("the number of a UUID is no int")
        self.made = uuid.UUID(int=number)


class PickledSparse:
    """A sparse array of scipy, as the parts that it is put together from."""

    __slots__ = ("form", "made", "style")
    made: tuple[str, tuple[int, ...], list[Array]]

    def __init__(self, name: str) -> None:
        self.form, self.style = name.split("_")

    def build(self, state: Any) -> None:
        shape = _shape(state["_shape"])
        make = _SPARSE_PARTS.get(self.form, _compressed)
        form, parts = make(state, shape)
        how = f"scipy.{self.form if form is None else form}.{self.style}"
        self.made = how, shape, parts


class PickledTensor:
    """A tensor of torch, as the parts that it is put together from."""

    __slots__ = ("made",)

    def __init__(self, how: str, shape: tuple[int, ...], parts: list[Array]) -> None:
        self.made = how, shape, parts


class _Storage:
    """The memory of tensors of torch."""

    __slots__ = ("data", "dtype", "how", "key")
    data: Array

    def __init__(self, how: str, dtype: str, key: str) -> None:
        self.how, self.dtype, self.key = how, dtype, key


class Name:
    """What a pickle may name: a path and what it may be used for. It has no attribute that could be changed."""

    __slots__ = ("_call", "_make", "_path")

    def __init__(
        self, path: str, call: Callable[[Any, Any], Any] | None, make: Callable[[], Any] | None
    ) -> None:
        self._path, self._call, self._make = path, call, make

    @property
    def path(self) -> str:
        return self._path

    @property
    def is_used(self) -> bool:
        """Whether anything is called or made by it."""
        return self._call is not None or self._make is not None

    @property
    def make(self) -> Callable[[], Any]:
        """Makes the object that is then given a state."""
        if self._make is None:
            corrupt(f"{self._path} is made as an object, which nobody writes")
        return self._make

    def call(self, machine: Any, args: Any) -> Any:
        """What it gives for arguments, all of which a pickle chose."""
        if self._call is None or type(args) is not tuple:
            corrupt(f"{self._path} is called, which nobody writes")
        return self._call(machine, args)

    def __setstate__(self, state: Any) -> NoReturn:
        del state
        corrupt(f"{self._path} is given a state, which nobody writes")


def corrupt(what: str) -> NoReturn:
    raise CorruptData(what)


def refuse(what: str) -> NoReturn:
    raise UnsupportedFormat(f"the pickle holds {what}, which is not read: {_LIFTED}")


# ---------------------------------------------------------------------------------------------- what may be called


def _args(
    args: tuple[Any, ...], *kinds: type | tuple[type, ...], least: int | None = None
) -> tuple[Any, ...]:
    """The arguments, if they are of these types and as many."""
    if not (len(kinds) if least is None else least) <= len(args) <= len(kinds) or not all(
        type(arg) in (kind if isinstance(kind, tuple) else (kind,))
        for arg, kind in zip(args, kinds, strict=False)
    ):
        corrupt(f"arguments of {', '.join(type(arg).__name__ for arg in args)} where others were expected")
    return args


_RAW: Final = (bytes, bytearray, memoryview)


def _shape(value: Any) -> tuple[int, ...]:
    if type(value) is not tuple:
        corrupt("the shape of an array is no tuple")
    sizes = cast("tuple[Any, ...]", value)
    for size in sizes:
        if (type(size) is not int and not isinstance(size, np.integer)) or size < 0:
            corrupt("a shape of something else than sizes")
    return tuple(map(int, sizes))


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> Array:
    if type(raw) is str:  # of protocols 0 to 2, where numpy says bytes as latin-1
        raw = raw.encode("latin-1")
    if type(dtype) is not _Dtype or type(raw) not in _RAW:
        corrupt("an array without a dtype or without bytes")
    kind, sizes = dtype.flat, _shape(shape)
    if math.prod(sizes) * kind.itemsize != len(raw):
        corrupt(f"an array of {kind} {sizes!r:.60} in {len(raw)} bytes")
    flat = np.frombuffer(raw, kind)
    if kind.kind == "b" and len(flat) and int(flat.view(np.uint8).max()) > 1:
        corrupt("truth values other than 0 and 1")
    return flat if len(sizes) == 1 else flat.reshape(sizes, order="F" if order == "F" else "C")


def _reconstruct(_: Any, args: Any) -> PickledArray:
    if len(args) != 3 or type(args[0]) is not Name:
        corrupt("an array that is made of something else than numpy makes it of")
    if args[0].path != "numpy.ndarray":
        refuse(f"a {args[0].path}")
    return PickledArray()


def _frombuffer(_: Any, args: Any) -> Array:
    raw, dtype, shape, order = _args(args, _RAW, _Dtype, tuple, str)
    return _array(raw, dtype, shape, order)


def _dtype(_: Any, args: Any) -> _Dtype:
    return _Dtype(_args(args, str, (bool, int), (bool, int), least=1)[0])


def _scalar(_: Any, args: Any) -> Any:
    dtype, raw = _args(args, _Dtype, (*_RAW, str), least=1) if len(args) == 2 else corrupt("no scalar")
    if dtype.code[:1] == "U":  # numpy would drop zeros at the end of these two
        big = dtype.text[:1] == ">"
        return np.str_(bytes(raw).decode("utf-32-be" if big else "utf-32-le", "surrogatepass"))
    if dtype.code[:1] == "S":
        return np.bytes_(bytes(raw))
    return _array(raw, dtype, (), "C")[()]


def _encoded(_: Any, args: Any) -> bytes:
    text, name = _args(args, str, str)
    if name not in ("latin1", "latin-1"):
        corrupt(f"a text is encoded as {name!r:.20}, which nobody writes")
    return text.encode("latin-1")


def _pairs(machine: Machine, args: Any) -> dict[Any, Any]:
    """OrderedDict and its like: of nothing, of a dict, or of pairs."""
    made: dict[Any, Any] = {}
    if args:
        (items,) = _args(args, (dict, list))
        pairs = list(items.items() if type(items) is dict else items)
        if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
            corrupt("a dict of something else than pairs")
        machine.set_items(made, [part for pair in pairs for part in pair])
    return made


def _defaults(_: Any, args: Any) -> dict[Any, Any]:
    _args(args, (Name, type(None)), least=0)
    return {}


def _set(machine: Machine, args: Any) -> set[Any]:
    made: set[Any] = set()
    (items,) = _args(args, (list, tuple)) if args else ([],)
    machine.add_items(made, list(items))
    return made


def _frozenset(machine: Machine, args: Any) -> frozenset[Any]:
    return frozenset(_set(machine, args))


def _bytearray(_: Any, args: Any) -> bytearray:
    if len(args) == 2:
        return bytearray(_encoded(None, args))
    return bytearray(_args(args, _RAW, least=0)[0] if args else b"")


def _bytes(_: Any, args: Any) -> bytes:
    return bytes(_args(args, _RAW)[0] if args else b"")


def _same(*kinds: type) -> Callable[[Any, Any], Any]:
    """A builtin of one argument that is of its type already: so are subclasses written."""
    return lambda _, args: _args(args, kinds)[0]


def _tuple(_: Any, args: Any) -> tuple[Any, ...]:
    return tuple(_args(args, (list, tuple))[0])


def _complex(_: Any, args: Any) -> complex:
    return complex(*_args(args, float, float))


def _decimal(_: Any, args: Any) -> decimal.Decimal:
    return decimal.Decimal(_args(args, str)[0])


def _pieces(raw: Any, size: int) -> list[int]:
    data = raw.encode("latin-1") if type(raw) is str else raw
    if type(data) is not bytes or len(data) != size:
        corrupt("a date or time in bytes that hold none")
    return list(data)


def _zone(args: tuple[Any, ...]) -> datetime.timezone | None:
    return _args(args, (datetime.timezone, type(None)), least=0)[0] if args else None


# The constructors of these take bytes as they are: the fields go one by one through the one that looks at them.
def _datetime(_: Any, args: Any) -> datetime.datetime:
    a, b, month, day, hour, minute, second, *rest = _pieces(args[0], 10)
    micro = rest[0] << 16 | rest[1] << 8 | rest[2]
    zone, fold = _zone(args[1:]), month >> 7
    return datetime.datetime(a << 8 | b, month & 127, day, hour, minute, second, micro, zone, fold=fold)


def _date(_: Any, args: Any) -> datetime.date:
    (raw,) = _args(args, (bytes, str))
    a, b, month, day = _pieces(raw, 4)
    return datetime.date(a << 8 | b, month, day)


def _time(_: Any, args: Any) -> datetime.time:
    hour, minute, second, *rest = _pieces(args[0], 6)
    micro = rest[0] << 16 | rest[1] << 8 | rest[2]
    return datetime.time(hour & 127, minute, second, micro, _zone(args[1:]), fold=hour >> 7)


def _timedelta(_: Any, args: Any) -> datetime.timedelta:
    return datetime.timedelta(*_args(args, int, int, int))


def _timezone(_: Any, args: Any) -> datetime.timezone:
    return datetime.timezone(*_args(args, datetime.timedelta, str, least=1))


def _reconstructor(_: Any, args: Any) -> Any:
    """How objects are made in protocols 0 and 1, and those of a builtin's subclass later."""
    name, base, _ = args if len(args) == 3 else corrupt("an object of unknown making")
    if type(name) is not Name or type(base) is not Name:
        corrupt("an object of no class")
    return name.make()


def ours(_: Any, args: Any) -> OurContainer:
    """Documents and arrays of this library."""
    data = args[1] if len(args) == 3 else args[0] if len(args) == 1 else None
    if type(data) not in (bytes, memoryview):
        corrupt("a document of no container")
    return OurContainer(bytes(cast("Any", data)))


# --- scipy


def _part(state: Any, name: str) -> Array:
    held = state[name]
    if type(held) is not PickledArray or not isinstance(held.made, np.ndarray):
        corrupt(f"the part {name!r} of a sparse array is no array")
    return cast("Array", held.made)


def _compressed(state: Any, _: Any) -> tuple[None, list[Array]]:
    data, indices, pointers = (_part(state, name) for name in ("data", "indices", "indptr"))
    used = int(pointers[-1]) if pointers.ndim == 1 and len(pointers) else -1
    return None, [data[:used], indices[:used], pointers]  # what lies behind the last entry is spare room


def _coordinates(state: Any, _: Any) -> tuple[None, list[Array]]:
    if "coords" in state:
        coords = [_part({"coords": c}, "coords") for c in state["coords"]]
    else:
        coords = [_part(state, "row"), _part(state, "col")]
    return None, [_part(state, "data"), np.stack([np.asarray(c, np.int64) for c in coords])]


def _diagonals(state: Any, _: Any) -> tuple[None, list[Array]]:
    return None, [_part(state, "data"), _part(state, "offsets")]


def _keyed(state: Any, shape: tuple[int, ...]) -> tuple[None, list[Array]]:
    cells = state["_dict"]
    keys = [key if type(key) is tuple else (key,) for key in cells]
    coords = np.array([[int(part) for part in key] for key in keys], np.int64).reshape(-1, len(shape)).T
    kind = state["dtype"].flat if "dtype" in state else np.asarray(next(iter(cells.values()))).dtype
    return None, [np.array(list(cells.values()), kind), coords]


def _lists(state: Any, _: Any) -> tuple[None, list[Array]]:
    rows, cells = state["rows"].made, state["data"].made
    if type(rows) is not list or type(cells) is not list:
        corrupt("a sparse array of lists has none")
    counts = [len(row) for row in cast("list[Any]", rows)]
    if counts != [len(row) for row in cast("list[Any]", cells)]:
        corrupt("a sparse array of lists of several lengths")
    kind = state["dtype"].flat
    indices = np.array([int(i) for row in cast("list[Any]", rows) for i in row], np.int64)
    data = np.array([cell for row in cast("list[Any]", cells) for cell in row], kind)
    return None, [data, indices, np.cumsum([0, *counts], dtype=np.int64)]


_SPARSE_PARTS: Final[Mapping[str, Any]] = {
    "coo": _coordinates,
    "dia": _diagonals,
    "dok": _keyed,
    "lil": _lists,
}


# --- torch: its storages are written as pickles of their own, with the raw memory behind them

_STORAGES: Final[Mapping[str, tuple[str, str]]] = {
    "FloatStorage": ("torch", "<f4"),
    "DoubleStorage": ("torch", "<f8"),
    "HalfStorage": ("torch", "<f2"),
    "BFloat16Storage": ("torch.bfloat16", "<i2"),
    "LongStorage": ("torch", "<i8"),
    "IntStorage": ("torch", "<i4"),
    "ShortStorage": ("torch", "<i2"),
    "CharStorage": ("torch", "|i1"),
    "ByteStorage": ("torch", "|u1"),
    "BoolStorage": ("torch", "|b1"),
    "ComplexFloatStorage": ("torch", "<c8"),
    "ComplexDoubleStorage": ("torch", "<c16"),
}
_TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C


def _storage(_: Any, args: Any) -> _Storage:
    (raw,) = _args(args, _RAW)
    inner = Machine(bytes(raw), torch=True)
    magic, version, system, made, keys = (inner.run() for _ in range(5))
    if magic != _TORCH_MAGIC or version != 1001 or type(made) is not _Storage or keys != [made.key]:
        corrupt("the storage of a tensor is not what torch writes")
    if type(system) is not dict or cast("Any", system).get("little_endian") is not True:
        refuse("a tensor of a machine of another byte order")
    dtype = np.dtype(made.dtype)
    size = int.from_bytes(inner.data[inner.at : inner.at + 8], "little")
    memory = memoryview(inner.data)[inner.at + 8 :]
    if size * dtype.itemsize != len(memory):
        corrupt(f"the storage of a tensor announces {size} numbers in {len(memory)} bytes")
    made.data = np.frombuffer(memory, dtype)
    return made


def _tensor(machine: Machine, args: Any) -> PickledTensor:
    storage, offset, size, stride = _args(args[:4], _Storage, int, tuple, tuple)
    sizes, steps = _shape(size), _shape(stride)
    if len(sizes) != len(steps) or offset < 0:
        corrupt("a tensor of sizes and strides that do not go together")
    if 0 in sizes:
        data = np.zeros(sizes, storage.dtype) if max(sizes) < 1 << 31 else corrupt("a tensor of no machine")
    else:
        last = offset + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
        if last >= len(storage.data):
            corrupt("a tensor reaches beyond its storage")
        machine.spend(math.prod(sizes) * storage.data.itemsize)  # a stride of 0 makes much of little
        width = storage.data.itemsize
        view = np.lib.stride_tricks.as_strided(storage.data[offset:], sizes, [s * width for s in steps])
        data = view.copy()
    if storage.dtype == "|b1" and data.size and int(data.view(np.uint8).max()) > 1:
        corrupt("truth values other than 0 and 1")
    return PickledTensor(storage.how, (), [data])


def _parameter(_: Any, args: Any) -> PickledTensor:
    return _args(args[:1], PickledTensor)[0]


def _layout(_: Any, args: Any) -> str:
    return _args(args, str)[0]


def _sparse_tensor(_: Any, args: Any) -> PickledTensor:
    layout, parts = _args(args, str, tuple)
    if layout not in ("torch.sparse_coo", "torch.sparse_csr", "torch.sparse_csc"):
        refuse(f"a tensor of the layout {layout!r:.40}")
    count = 2 if layout == "torch.sparse_coo" else 3
    *held, size = parts[: count + 1]
    if len(held) != count or not all(type(t) is PickledTensor and t.made[0] == "torch" for t in held):
        corrupt("a sparse tensor without its parts")
    return PickledTensor(layout, _shape(size), [t.made[2][0] for t in held])


# ---------------------------------------------------------------------------------------------- the closed list


def _known() -> dict[tuple[str, str], Name]:
    calls: dict[str, Any] = {
        "copyreg._reconstructor": _reconstructor,
        "copy_reg._reconstructor": _reconstructor,  # protocols up to 2 use the names of Python 2
        "__builtin__.long": _same(int),
        "__builtin__.unicode": _same(str),
        "docarray.array._unpickled": ours,
        "docarray.document._unpickled": ours,
        "numpy.dtype": _dtype,
        "collections.OrderedDict": _pairs,
        "collections.Counter": _pairs,
        "collections.defaultdict": _defaults,
        "_codecs.encode": _encoded,
        "datetime.datetime": _datetime,
        "datetime.date": _date,
        "datetime.time": _time,
        "datetime.timedelta": _timedelta,
        "datetime.timezone": _timezone,
        "decimal.Decimal": _decimal,
        "torch.storage._load_from_bytes": _storage,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_sparse_tensor": _sparse_tensor,
        "torch.serialization._get_layout": _layout,
        "torch.Size": _tuple,
    }
    for kind in ("AttributeType", "DocumentMetadata", "ImageType"):  # of documents that a dataclass made
        calls[f"docarray.dataclasses.enums.{kind}"] = _same(str)
    for module in ("numpy.core", "numpy._core"):
        calls[f"{module}.multiarray._reconstruct"] = _reconstruct
        calls[f"{module}.multiarray.scalar"] = _scalar
        calls[f"{module}.numeric._frombuffer"] = _frombuffer
    for module in ("builtins", "__builtin__"):
        calls |= {
            f"{module}.set": _set,
            f"{module}.frozenset": _frozenset,
            f"{module}.bytearray": _bytearray,
            f"{module}.bytes": _bytes,
            f"{module}.complex": _complex,
            f"{module}.tuple": _tuple,
            f"{module}.list": _same(list),
            f"{module}.dict": _same(dict),
            f"{module}.str": _same(str),
            f"{module}.int": _same(int),
            f"{module}.float": _same(float),
        }
    makes: dict[str, Any] = {
        "docarray.document.Document": OldDocument,
        "docarray.document.data.DocumentData": OldData,
        "docarray.array.memory.DocumentArrayInMemory": OldDocuments,
        "docarray.array.document.DocumentArray": OldDocuments,
        "docarray.array.chunk.ChunkArray": OldChunks,
        "docarray.array.match.MatchArray": OldMatches,
        "docarray.score.NamedScore": OldScore,
        "docarray.score.data.NamedScoreData": OldScoreData,
        "uuid.UUID": PickledUuid,
    }
    for form in ("csr", "csc", "bsr", "coo", "dia", "dok", "lil"):
        for style in ("matrix", "array"):
            name = f"{form}_{style}"
            for module in (f"scipy.sparse._{form}", f"scipy.sparse.{form}"):
                makes[f"{module}.{name}"] = functools.partial(PickledSparse, name)
    inert = [
        "docarray.array.DocumentArray",
        "docarray.array.mixins.io.from_gen._raise_attribute_error",
        "numpy.ndarray",
        "builtins.object",
        "__builtin__.object",
        "builtins.bool",
        *(f"torch.{name}" for name in _STORAGES),
    ]
    names: dict[tuple[str, str], Name] = {}
    for path in (*calls, *makes, *inert):
        module, _, name = path.rpartition(".")
        names[module, name] = Name(path, calls.get(path), makes.get(path))
    return names


NAMES: Final[Mapping[tuple[str, str], Name]] = _known()
_NDARRAY_NAME: Final = NAMES["numpy", "ndarray"]
_DOCUMENT_NAME: Final = NAMES["docarray.document", "Document"]
_DATA_NAME: Final = NAMES["docarray.document.data", "DocumentData"]
_RECONSTRUCT_NAMES: Final = frozenset(
    NAMES[f"numpy.{core}.multiarray", "_reconstruct"] for core in ("core", "_core")
)


# ---------------------------------------------------------------------------------------------- the machine

# What objects take at least that are made by an opcode of one byte, as this byte: their number is known before.
_WEIGHTS: Final = ((b"\x8f\x91", 232), (b"]}ld\x85", 80))
_TEXT: Final = frozenset({str})
PLAIN_KEYS: Final = frozenset(
    {
        *(str, int, float, bool, type(None), bytes, complex, decimal.Decimal, uuid.UUID),
        *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone, frozenset),
    }
)
_UNSET: Final = re.compile(rb".N(?:h.N)*", re.DOTALL)
# A dense array of numpy up to its bytes: three names, what numpy writes between, a shape of one or two small sizes,
# a dtype that was there before.
_DENSE: Final = re.compile(
    rb"h(.)h(.)K\x00\x85\x94h(.)\x87\x94R\x94\(K\x01(?:K(.)\x85|M(..)\x85|K(.)K(.)\x86)\x94(?:h(.)|j(....))([\x88\x89])"
    rb"(?:B(....)|C(.))",
    re.DOTALL,
)
# A document of the old library: its class and that of its data, each with an empty dict to be filled, then its id.
_HEAD: Final = re.compile(
    rb"h(.)\)\x81\x94}\x94h(.)h(.)\)\x81\x94}\x94\(h(.)(?:h(.)|j(....))h(.)(?=\x8c)", re.DOTALL
)
_HOLE: Final = object()
DAMAGE: Final = (
    *(IndexError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError),
    *(MemoryError, struct.error),
)


_U4: Final = struct.Struct("<I").unpack_from
_I4: Final = struct.Struct("<i").unpack_from
_U8: Final = struct.Struct("<Q").unpack_from
_F8: Final = struct.Struct(">d").unpack_from
_LINES: Final = frozenset(b"cgpILFV")
_REFUSED: Final[Mapping[int, str]] = {
    0x50: "PERSID (an object that is kept elsewhere)",
    0x51: "BINPERSID (an object that is kept elsewhere)",
    0x53: "STRING (a text of Python 2)",
    0x54: "BINSTRING (a text of Python 2)",
    0x55: "SHORT_BINSTRING (a text of Python 2)",
    0x69: "INST (an object of Python 2)",
    0x6F: "OBJ (an object of Python 2)",
    0x82: "EXT1 (a class by a number)",
    0x83: "EXT2 (a class by a number)",
    0x84: "EXT4 (a class by a number)",
    0x92: "NEWOBJ_EX (an object made with named arguments)",
    0x97: "NEXT_BUFFER (bytes that are kept elsewhere)",
}
_LARGEST_KEY: Final = 100
_LONGEST_INT: Final = 1 << 13
_BLOCK: Final = 1 << 12
_PIECE: Final = 1 << 20


def _most_made(data: bytes) -> int:
    """Bytes that the objects can take which opcodes of one byte make; what looks like one in a text counts as well."""
    made = 0
    for at in range(0, len(data), _PIECE):
        piece = data[at : at + _PIECE]
        made += sum(weight * (len(piece) - len(piece.translate(None, ops))) for ops, weight in _WEIGHTS)
    return made


def _put(memo: list[Any], index: int, value: Any) -> None:
    """Keeps a value under a number. Picklers count; a number far from the last would be a demand for memory."""
    if index > len(memo) + _FAR:
        corrupt(f"a memo of {len(memo)} objects that goes on at number {index}")
    memo.extend([_HOLE] * (index + 1 - len(memo)))
    memo[index] = value


def _stretch(data: bytes, start: int, stop: int) -> Any:
    """The bytes between, which are there; a view of them where they are many."""
    if not start <= stop <= len(data):
        corrupt(f"{stop - start} bytes are announced and {len(data) - start} are there")
    return data[start:stop] if stop - start < _BLOCK else memoryview(data)[start:stop]


def _whole(line: str) -> int:
    if not line.isdecimal() or not line.isascii():
        corrupt("a number of a memo that is none")
    return int(line)


def _list(held: Any) -> list[Any]:
    if type(held) is not list:
        corrupt("something is appended to what is no list")
    return cast("list[Any]", held)


_BUILT: Final = frozenset(
    {
        OldDocument,
        OldData,
        OldDocuments,
        OldChunks,
        OldMatches,
        OldScore,
        OldScoreData,
        PickledArray,
        _Dtype,
        PickledUuid,
        PickledSparse,
    }
)


def _hashable(key: Any, room: list[int]) -> Any:
    """A key of a dict or set that is hashed in no time; a tuple is looked through, for as far as there is room."""
    kind = type(key)
    room[0] -= 1
    if room[0] < 0:
        corrupt("a key of a dict is a tuple of far too much")
    if (kind is int and key.bit_length() > _LONGEST_INT) or (
        kind is decimal.Decimal and len(key.as_tuple()[1]) > _BLOCK
    ):
        corrupt("a key of a dict is a number of far too many digits")
    if kind in PLAIN_KEYS or isinstance(key, np.generic):
        return key
    if kind is memoryview:
        return bytes(key)
    if kind is PickledUuid:
        return key.made
    if kind is tuple:
        return tuple(_hashable(part, room) for part in key)
    corrupt(f"a key of a dict is a {kind.__name__}")


class Machine:
    """Reads one pickle after the other from bytes; makes what the functions above make, and containers.

    >>> import pickle
    >>> Machine(pickle.dumps({'a': [1, (2.5, None)]})).run()
    {'a': [1, (2.5, None)]}
    """

    __slots__ = ("_crowds", "_left", "_torch", "at", "data")

    def __init__(self, data: bytes, *, torch: bool = False) -> None:
        self.data = data
        self.at = 0
        self._torch = torch
        self._left = max(_FREE, _RATIO * len(data))
        self._crowds: dict[int, tuple[Any, dict[int, int]]] = {}
        if 232 * len(data) > self._left and (made := _most_made(data)) > self._left:
            corrupt(f"a pickle of {len(data)} bytes that could make {made} bytes of empty objects")

    def spend(self, size: int) -> None:
        """Counts what was made of what is shared, or of little."""
        self._left -= size
        if self._left < 0:
            corrupt(
                "a pickle that makes far more of its bytes than they are: the same is in it many times over"
            )

    def run(self) -> Any:
        """The next object.

        Raises:
            CorruptData, UnsupportedFormat: there is none that may be read; the message says at which byte.
        """
        # One long loop: a call for each opcode would cost more than what most of them do. Most frequent first, and
        # what picklers write in one go is read in one go. Each of these short cuts does what its opcodes do.
        data, at = self.data, self.at
        stack: list[Any] = []
        marks: list[int] = []
        memo: list[Any] = []
        runs = [b"\0\0\0"] * 256
        push, pop, remember = stack.append, stack.pop, memo.append
        try:
            while True:
                op = data[at]
                at += 1
                if op == 0x68:  # BINGET
                    follows = data[at + 1]
                    if follows == 0x4E:  # and NONE, in a row: fields of an old document that are not set
                        start = marks[-1] if marks else 0
                        if start > 1 and type(stack[start - 2]) is OldData and not (len(stack) - start) % 2:
                            first = data[at]
                            end = at + len(runs[first])
                            if data[at:end] != runs[first]:  # as in the document before, or else
                                end = _UNSET.match(data, at).end()  # pyright: ignore[reportOptionalMemberAccess]
                                runs[first] = data[at:end]
                            at = end
                            continue
                    if follows == 0x29:  # EMPTY_TUPLE
                        head = _HEAD.match(data, at - 1)
                        if head is not None and self._head(head, stack, marks, memo):
                            at = head.end()
                            continue
                    elif follows == 0x68 and data[at + 3] == 0x4B:  # BINGET, BININT1
                        head = _DENSE.match(data, at - 1)
                        if head is not None and (end := self._dense(head, stack, memo)):
                            at = end
                            continue
                    push(memo[data[at]])
                    at += 1
                elif op == 0x94:  # MEMOIZE
                    remember(stack[-1])
                elif op == 0x8C:  # SHORT_BINUNICODE
                    start = at + 1
                    at = start + data[at]
                    text = str(data[start:at], "utf-8", "surrogatepass")
                    push(text)
                    if data[at] == 0x94:
                        at += 1
                        remember(text)
                elif op < 0x60:
                    if op == 0x4E:  # NONE
                        push(None)
                    elif op == 0x28:  # MARK
                        marks.append(len(stack))
                    elif op == 0x4B:  # BININT1
                        push(data[at])
                        at += 1
                    elif op == 0x29:  # EMPTY_TUPLE
                        if (
                            data[at : at + 4] == b"\x81\x94}\x94" and type(stack[-1]) is Name
                        ):  # an object, its state
                            stack[-1] = made = stack[-1].make()
                            state: Any = {}
                            push(state)
                            memo += (made, state)
                            at += 4
                        else:
                            push(())
                    elif op == 0x42:  # BINBYTES
                        end = at + 4 + _U4(data, at)[0]
                        push(_stretch(data, at + 4, end))
                        at = end
                    elif op == 0x52:  # REDUCE
                        args = pop()
                        if type(stack[-1]) is not Name:
                            corrupt("something is called that is no class and no function")
                        stack[-1] = stack[-1].call(self, args)
                    elif op == 0x47:  # BINFLOAT
                        push(_F8(data, at)[0])
                        at += 8
                    elif op == 0x43:  # SHORT_BINBYTES
                        end = at + 1 + data[at]
                        push(_stretch(data, at + 1, end))
                        at = end
                    elif op == 0x58:  # BINUNICODE
                        end = at + 4 + _U4(data, at)[0]
                        push(str(_stretch(data, at + 4, end), "utf-8", "surrogatepass"))
                        at = end
                    elif op == 0x5D:  # EMPTY_LIST
                        push([])
                    elif op == 0x4A:  # BININT
                        push(_I4(data, at)[0])
                        at += 4
                    elif op == 0x4D:  # BININT2
                        push(data[at] | data[at + 1] << 8)
                        at += 2
                    elif op == 0x2E:  # STOP
                        if len(stack) != 1 or marks:
                            corrupt("a pickle that ends before all is put together")
                        self.at = at
                        return stack[0]
                    else:
                        at = self._rare(op, at, stack, marks, memo)
                elif op < 0x80:
                    if op == 0x75:  # SETITEMS
                        start = marks.pop()
                        items = stack[start:]
                        del stack[start:]
                        self.set_items(stack[-1], items)
                        if data[at : at + 3] == b"bsb" and self._tail(stack):  # BUILD, SETITEM, BUILD
                            at += 3
                    elif op == 0x62:  # BUILD
                        state = pop()
                        held: Any = stack[-1]
                        if type(held) not in _BUILT:
                            corrupt(f"a state is given to {shown(held)}, which has none")
                        held.build(state)
                    elif op == 0x73:  # SETITEM
                        value, key = pop(), pop()
                        held = stack[-1]
                        if type(key) is str and type(held) is dict:
                            held[key] = value
                        else:
                            self.set_items(held, [key, value])
                    elif op == 0x7D:  # EMPTY_DICT
                        push({})
                    elif op == 0x6A:  # LONG_BINGET
                        push(memo[_U4(data, at)[0]])
                        at += 4
                    elif op == 0x74:  # TUPLE
                        start = marks.pop()
                        items = tuple(stack[start:])
                        del stack[start:]
                        push(items)
                    elif op == 0x71 or op == 0x72:  # BINPUT, LONG_BINPUT
                        index, at = (data[at], at + 1) if op == 0x71 else (_U4(data, at)[0], at + 4)
                        if index == len(memo):
                            remember(stack[-1])
                        else:
                            _put(memo, index, stack[-1])
                    elif op == 0x61:  # APPEND
                        value = pop()
                        _list(stack[-1]).append(value)
                    elif op == 0x65:  # APPENDS
                        start = marks.pop()
                        items = stack[start:]
                        del stack[start:]
                        _list(stack[-1]).extend(items)
                    else:
                        at = self._rare(op, at, stack, marks, memo)
                elif op == 0x85:  # TUPLE1
                    stack[-1] = (stack[-1],)
                elif op == 0x89:  # NEWFALSE
                    push(False)
                elif op == 0x86:  # TUPLE2
                    last = pop()
                    stack[-1] = (stack[-1], last)
                elif op == 0x87:  # TUPLE3
                    last, middle = pop(), pop()
                    stack[-1] = (stack[-1], middle, last)
                elif op == 0x81:  # NEWOBJ
                    if pop() != () or type(stack[-1]) is not Name:
                        corrupt("an object is made of something else than a class")
                    stack[-1] = stack[-1].make()
                elif op == 0x88:  # NEWTRUE
                    push(True)
                elif op == 0x93:  # STACK_GLOBAL
                    name = pop()
                    stack[-1] = self._named(stack[-1], name)
                elif op == 0x95:  # FRAME
                    if _U8(data, at)[0] > len(data) - at - 8:
                        corrupt("a frame that was cut off")
                    at += 8
                elif op == 0x80:  # PROTO
                    if data[at] > 5:
                        raise UnsupportedFormat(f"a pickle of protocol {data[at]}; up to 5 are read")
                    at += 1
                else:
                    at = self._rare(op, at, stack, marks, memo)
        except FormatError as error:
            kind = UnsupportedFormat if isinstance(error, UnsupportedFormat) else CorruptData
            raise kind(f"before byte {at} of a pickle: {error}") from None
        except DAMAGE as error:
            what = f"{type(error).__name__}: {error}"
            raise CorruptData(
                f"a pickle that is damaged or was cut off before byte {at}: {what:.200}"
            ) from None

    def _head(self, head: re.Match[bytes], stack: list[Any], marks: list[int], memo: list[Any]) -> bool:
        """A document up to its id, as the old library begins each but the first; False where this is another thing."""
        document, link, data, back, itself, far, key = head.groups()
        number = itself[0] if far is None else _U4(far)[0]
        if (
            number != len(memo)
            or memo[document[0]] is not _DOCUMENT_NAME
            or memo[data[0]] is not _DATA_NAME
            or memo[link[0]] != "_data"
            or memo[back[0]] != "_reference_doc"
            or memo[key[0]] != "id"
        ):
            return False
        doc, state, inner, fields = OldDocument(), dict[str, Any](), OldData(), dict[str, Any]()
        memo += (doc, state, inner, fields)
        stack += (doc, state, "_data", inner, fields)
        marks.append(len(stack))
        stack += ("_reference_doc", doc, "id")
        return True

    def _tail(self, stack: list[Any]) -> bool:
        """A document that is complete; False where this is another thing."""
        if len(stack) < 5:
            return False
        doc, state, link, inner, fields = stack[-5:]
        if (
            type(doc) is not OldDocument
            or type(state) is not dict
            or link != "_data"
            or type(inner) is not OldData
        ):
            return False
        inner.state = fields
        state[link] = inner
        doc.state = state
        del stack[-4:]
        return True

    def _dense(self, head: re.Match[bytes], stack: list[Any], memo: list[Any]) -> int:
        """An array of numpy as a whole; the byte behind it, 0 where this is another thing."""
        function, kind, letter, one, two, first, second, near, far, order, long, short = head.groups()
        if (
            memo[function[0]] not in _RECONSTRUCT_NAMES
            or memo[kind[0]] is not _NDARRAY_NAME
            or memo[letter[0]] != b"b"
        ):
            return 0
        data, start = self.data, head.end()
        end = start + (_U4(long)[0] if short is None else short[0])
        if data[end : end + 4] != b"\x94t\x94b":  # MEMOIZE, TUPLE, MEMOIZE, BUILD
            return 0
        number = near[0] if far is None else _U4(far)[0]
        if one is not None:
            shape: tuple[int, ...] = (one[0],)
        elif two is not None:
            shape = (two[0] | two[1] << 8,)
        else:
            shape = (first[0], second[0])
        zero, made = (0,), PickledArray()
        raw = _stretch(data, start, end)
        # The dtype stands in the memo before this array does: its number is of what was there.
        state = (1, shape, memo[number], order == b"\x88", raw)
        made.build(state)
        memo += (zero, (_NDARRAY_NAME, zero, b"b"), made, shape, raw, state)
        stack.append(made)
        return end + 4

    def _rare(self, op: int, at: int, stack: list[Any], marks: list[int], memo: list[Any]) -> int:
        """The other opcodes; gives the byte behind what belongs to them."""
        data = self.data
        if op in (0x8A, 0x8B):  # LONG1, LONG4
            size, at = (data[at], at + 1) if op == 0x8A else (_I4(data, at)[0], at + 4)
            stack.append(int.from_bytes(_stretch(data, at, at + size), "little", signed=True))
            return at + size
        if op in (0x8D, 0x8E, 0x96):  # BINUNICODE8, BINBYTES8, BYTEARRAY8
            end = at + 8 + _U8(data, at)[0]
            raw = _stretch(data, at + 8, end)
            stack.append(
                str(raw, "utf-8", "surrogatepass") if op == 0x8D else raw if op == 0x8E else bytearray(raw)
            )
            return end
        if op in _LINES:
            return self._line(op, at, stack, memo)
        if op == 0x8F:  # EMPTY_SET
            stack.append(set())
        elif op == 0x30:  # POP
            if marks and marks[-1] == len(stack):
                marks.pop()
            else:
                stack.pop()
        elif op == 0x32:  # DUP
            stack.append(stack[-1])
        elif op == 0x98:  # READONLY_BUFFER: nothing here can be written to but what is copied
            return at
        elif op in (0x31, 0x64, 0x6C, 0x90, 0x91):  # POP_MARK, DICT, LIST, ADDITEMS, FROZENSET
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            if op == 0x64:
                stack.append({})
                self.set_items(stack[-1], items)
            elif op == 0x6C:
                stack.append(items)
            elif op == 0x90:
                self.add_items(stack[-1], items)
            elif op == 0x91:
                stack.append(_frozenset(self, (items,)))
        elif op == 0x51 and self._torch:  # BINPERSID
            stack[-1] = self._torch_storage(stack[-1])
        elif op in _REFUSED:
            raise UnsupportedFormat(f"the opcode {_REFUSED[op]}, which no pickle of documents has")
        else:
            corrupt(f"a byte {op:#04x} that is no opcode")
        return at

    def _line(self, op: int, at: int, stack: list[Any], memo: list[Any]) -> int:
        """The opcodes of protocol 0, whose arguments are lines of text."""
        line, at = self._text_line(at)
        if op == 0x63:  # GLOBAL
            name, at = self._text_line(at)
            stack.append(self._named(line, name))
        elif op == 0x67:  # GET
            stack.append(memo[_whole(line)])
        elif op == 0x70:  # PUT
            _put(memo, _whole(line), stack[-1])
        elif op == 0x49:  # INT
            stack.append({"00": False, "01": True}.get(line) if line in ("00", "01") else int(line))
        elif op == 0x4C:  # LONG
            stack.append(int(line.removesuffix("L")))
        elif op == 0x46:  # FLOAT
            stack.append(float(line))
        else:  # UNICODE
            stack.append(line.encode("latin-1").decode("raw-unicode-escape"))
        return at

    def _text_line(self, at: int) -> tuple[str, int]:
        end = self.data.index(b"\n", at)
        return str(self.data[at:end], "latin-1"), end + 1

    def _named(self, module: Any, name: Any) -> Name:
        if type(module) is not str or type(name) is not str:
            corrupt("a class without a name")
        known = NAMES.get((module, name))
        if known is None:
            raise UnsupportedFormat(
                f"the pickle names {module:.80}.{name:.80}, which is not on the list of what is read: {_LIFTED}"
            )
        return known

    def _torch_storage(self, key: Any) -> _Storage:
        if type(key) is not tuple or len(cast("Any", key)) < 3 or type(key[1]) is not Name:
            corrupt("a tensor without a storage")
        how, dtype = _STORAGES[key[1].path.removeprefix("torch.")]
        return _Storage(how, dtype, key[2])

    def set_items(self, held: Any, items: list[Any]) -> None:
        """Sets keys and values, one after the other in `items`."""
        if type(held) is not dict or len(items) % 2:
            corrupt("keys without values, or in something that is no dict")
        keys = items[::2]
        if not _TEXT.issuperset(map(type, keys)):
            keys = [key if type(key) is str else self._key(held, key) for key in keys]
        cast("dict[Any, Any]", held).update(zip(keys, items[1::2], strict=True))

    def add_items(self, held: Any, items: list[Any]) -> None:
        """Adds the items to a set."""
        if type(held) is not set:
            corrupt("items are added to something that is no set")
        found = cast("set[Any]", held)
        for item in items:
            found.add(item if type(item) is str else self._key(held, item))

    def _key(self, held: Any, key: Any) -> Any:
        """A key of a dict or set, if it is quickly hashed and not one of many of the same hash."""
        key = _hashable(key, [_LARGEST_KEY])
        if len(held) < _SAME_HASH:
            return key
        _, hashes = self._crowds.setdefault(id(held), (held, {}))
        number = hash(key)
        hashes[number] = same = hashes.get(number, 0) + 1
        if same > _SAME_HASH and key not in held:
            corrupt("too many keys of one hash")
        return key


def shown(value: Any) -> str:
    return f"the name {value.path}" if type(value) is Name else f"a {type(value).__name__.strip('_')}"
