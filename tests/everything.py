"""Documents with every field set, a comparison that forgives nothing, and strategies of whatever a table can hold.

`difference(a, b)` is None where two values are the same: type, dtype and framework too, NaN is NaN, 0.0 is not -0.0.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from typing import Any

import numpy as np
import scipy.sparse as sparse
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from docarray import Document, DocumentArray, NamedScore
from docarray.columns import column_of
from docarray.schema import FIELDS
from docarray.table import DocsColumn, Table
from docarray.tagged import MARK
from docarray.tensors import framework

# --- comparison ---------------------------------------------------------------------------------------------------


def difference(a: Any, b: Any, at: str = "") -> str | None:
    """Where two values differ first, and how; None where they do not."""
    if type(a) is not type(b):
        return f"{at}: {type(a).__name__} {a!r:.80} became {type(b).__name__} {b!r:.80}"
    if isinstance(a, Table):
        return difference(rows_of(a), rows_of(b), at)
    if isinstance(a, Document):
        return first(difference(field(a, n), field(b, n), f"{at}.{n}") for n in FIELDS)
    if framework(a) == "scipy":
        return difference(sparse_parts(a), sparse_parts(b), at)
    if isinstance(a, dict):
        return difference(list(a), list(b), at + ".keys") or first(
            difference(x, y, f"{at}[{key!r}]") for (key, x), y in zip(a.items(), b.values(), strict=True)
        )
    if isinstance(a, list | tuple | DocumentArray):
        if len(a) != len(b):
            return f"{at}: {len(a)} items became {len(b)}"
        return first(difference(x, y, f"{at}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
    if isinstance(a, set | frozenset):
        return difference(sorted(a, key=repr), sorted(b, key=repr), at)
    if isinstance(a, float):
        same = (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
        return None if same else f"{at}: {a!r} became {b!r}"
    if isinstance(a, complex):
        return difference([a.real, a.imag], [b.real, b.imag], at)
    if isinstance(a, np.ndarray | np.generic):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{at}: {a.dtype} {a.shape} became {b.dtype} {b.shape}"
        return None if a.tobytes() == b.tobytes() else f"{at}: {a!r} became {b!r}"
    if framework(a) == "torch":
        return difference(torch_parts(a), torch_parts(b), at)
    if isinstance(a, decimal.Decimal):
        return difference(str(a), str(b), at)
    if isinstance(a, datetime.datetime | datetime.time) and a.fold != b.fold:
        return f"{at}: {a!r} became {b!r}"
    if isinstance(a, NamedScore):
        return difference(a.to_dict(), b.to_dict(), at)
    return None if a == b else f"{at}: {a!r:.200} became {b!r:.200}"


def first(found: Any) -> str | None:
    return next((text for text in found if text is not None), None)


def field(doc: Document, name: str) -> Any:
    """A field as it is set; nested arrays and containers that are empty count as unset."""
    if name in ("chunks", "matches"):
        return list(getattr(doc, name))
    value = doc._raw(name)
    return None if isinstance(value, dict) and framework(value) is None and not value else value


def sparse_parts(value: Any) -> list[Any]:
    coo = value.tocoo()
    coords = coo.coords if hasattr(coo, "coords") else (coo.row, coo.col)
    known = [str(value.dtype), tuple(map(int, value.shape)), value.format, getattr(value, "blocksize", None)]
    return [*known, coo.data, [np.asarray(c, np.int64) for c in coords]]


def torch_parts(value: Any) -> list[Any]:
    import torch

    known = [str(value.dtype), tuple(value.shape), str(value.layout)]
    if value.layout != torch.strided:
        value = value.to_dense()
    if value.dtype == torch.bfloat16:
        value = value.view(torch.int16) if value.ndim else value.reshape(1).view(torch.int16)
    return [*known, value.numpy()]


def rows_of(table: Table) -> list[dict[str, Any]]:
    """A table as plain rows: what each operation on tables is held against."""
    rows = [{"id": i} for i in table.ids]
    for name, column in table.columns.items():
        for row, value in zip(rows, column.values(), strict=True):
            row[name] = rows_of(value) if isinstance(value, Table) else value
    return rows


# --- documents ----------------------------------------------------------------------------------------------------


def everything_in_tags() -> dict[Any, Any]:
    """All that tags can hold."""
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=45))
    return {
        "int": 3,
        "long": -(1 << 62),
        "longer": 10**40,
        "longest": 1 << 20_000,
        "float": 3.0,
        "minus zero": -0.0,
        "nan": math.nan,
        "infinite": [math.inf, -math.inf],
        "bool": True,
        "none": None,
        "nested": {"list": [1, 2.0, "three", [None, {}]], "dict": {"a": {"b": {"c": []}}}},
        "Größe": "naïve 漢字 \U0001f600",
        "surrogates": "\ud83d alone, and two that are no letter: \ud83d\ude00",
        "bytes": b"\x00\xff",
        "tuple": (1, (2.0, [3])),
        "set": {1, 2},
        "frozenset": frozenset({"a"}),
        "datetime": datetime.datetime(2024, 2, 29, 23, 59, 59, 999999),
        "aware": datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=1),
        "date": datetime.date(1, 1, 1),
        "time": datetime.time(12, 30, tzinfo=datetime.UTC),
        "timedelta": datetime.timedelta(days=-1, microseconds=1),
        "decimal": decimal.Decimal("1.10"),
        "uuid": uuid.UUID(int=5),
        "complex": complex(-0.0, math.nan),
        "scalar": np.float32(0.1),
        "scalars": [np.int8(-1), np.bool_(True), np.str_("x"), np.bytes_(b""), np.datetime64("2024", "D")],
        "array": np.arange(6, dtype=">i2").reshape(2, 3),
        "keys": {1: "one", 2.5: "two and a half", None: "none", (1, "a"): "pair", b"b": "bytes"},
        MARK: {MARK: "a dict that looks like ours", "is": 1},
    }


def sparse_row(fmt: str = "csr") -> Any:
    """A sparse vector with an explicit zero."""
    return sparse.coo_array(([1.5, 0.0], ([0, 0], [1, 3])), shape=(1, 6)).asformat(fmt)


VECTORS: list[Any] = [
    np.array([1, np.nan, -0.0, np.inf], np.float32),
    np.array([1.5, 2.5], np.float16),
    [1.0, 2.0],
    [1, 2.5, True],
    (1, 2),
    np.array([1, 2, 3], ">i2"),
    np.array([1j, 2], np.complex64),
    np.array([True, False]),
    np.array(5.0),
    np.zeros((0, 3)),
    sparse_row("csr"),
    sparse_row("coo"),
    np.array(["2024-01-01"], "M8[D]"),
    np.array([1 << 63], np.uint64),
]


def everything(levels: int = 3, number: int = 0) -> Document:
    """A document with every field of Document set. What excludes each other is spread over the documents below it.

    Args:
        levels: how deep chunks and matches go; one more level, one more number of vector and content.
        number: makes another id, and another choice of content and embedding.
    """
    contents: list[dict[str, Any]] = [
        {"text": f"text {number} äöü 漢字 \U0001f600 \ud800"},
        {"blob": bytes(range(256)) * (number % 3)},
        {"tensor": VECTORS[number % len(VECTORS)]},
    ]
    doc = Document(
        id=f"doc-{number}",
        uri=f"https://example.com/{number}.png",
        weight=0.5,
        offset=7.0,
        modality="image",
        location=[1, 2.5, number],
        embedding=VECTORS[(number + levels) % len(VECTORS)],
        tags=everything_in_tags(),
        scores={"cosine": NamedScore(value=0.25, op_name="cosine", description="distance", ref_id="q")},
        evaluations={"recall": {"value": 1.0}, "empty": {}},
        **contents[number % 3],
    )
    doc.mime_type = "text/x-everything"
    doc.parent_id, doc.granularity, doc.adjacency = "above", 2, 1
    doc._metadata = {"schema": {"field": [1, {"deep": None}]}}
    if levels > 1:
        doc.chunks = [everything(levels - 1, 10 * number + i) for i in range(1, 4)]
        doc.matches = [everything(levels - 1, 10 * number + i) for i in range(4, 6)]
    return doc


def everything_array() -> DocumentArray[Document]:
    """Everything documents among others that are alike, sparse in fields, or empty."""
    return DocumentArray(
        [
            *(everything(3, n) for n in range(3)),
            *(Document(id=f"plain-{n}", text="", tags={"price": n, "name": "x"}) for n in range(9)),
            Document(id="bare"),
            Document(id="Ünïcode \ud800", chunks=[Document(id="c")], tags={}),
        ]
    )


def alike_array(n: int = 50) -> DocumentArray[Document]:
    """Documents that make the plainest columns: texts, numbers, one matrix."""
    matrix = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    return DocumentArray(
        [
            Document(
                id=str(i),
                text=f"text {i}",
                tags={"price": i, "category": "ab"[i % 2]},
                embedding=matrix[i].copy(),
            )
            for i in range(n)
        ]
    )


# --- strategies ---------------------------------------------------------------------------------------------------

texts = st.text(st.one_of(st.characters(), st.sampled_from("a\x00\ud83d\ude00\U0001f600")), max_size=8)
integers = st.one_of(
    st.integers(-3, 3), st.integers(), st.sampled_from([2**63 - 1, 2**63, -(2**63), 2**64, 10**400])
)
floats = st.floats(width=64)
numbers = st.one_of(integers, floats)

DTYPES = ["?", "i1", "<i8", ">i4", "u1", "<u8", "<f2", "<f4", ">f4", "<f8", "<c8", ">c16"]
sides = st.tuples() | arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


def ndarrays(dtypes: Any = None, shapes: Any = sides) -> Any:
    kinds = st.sampled_from(DTYPES).map(np.dtype) if dtypes is None else dtypes
    return kinds.flatmap(lambda dtype: arrays_of.arrays(dtype, shapes))


def odd_arrays() -> Any:
    return st.one_of(
        arrays_of.arrays("<U3", sides, elements=st.text("aé漢\U0001f600", max_size=3)),
        arrays_of.arrays("S2", sides),
        arrays_of.arrays(
            "<M8[ns]", sides, elements=st.integers(0, 10**9).map(lambda n: np.datetime64(n, "ns"))
        ),
    )


@st.composite
def sparse_arrays(draw: Any) -> Any:
    fmt = draw(st.sampled_from(["csr", "csc", "coo", "bsr", "lil", "dok", "dia"]))
    dtype = draw(st.sampled_from(["<f4", "<f8", "<i8", "?", "<c16"]))
    dense = draw(arrays_of.arrays(dtype, st.tuples(st.integers(1, 4), st.integers(1, 6))))
    dense[np.isnan(dense)] = 0
    kind = draw(st.sampled_from([sparse.coo_array, sparse.coo_matrix]))
    return kind(dense).asformat(fmt)


number_lists = st.recursive(
    st.lists(numbers | st.booleans(), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.lists(numbers | inner, max_size=3),
    max_leaves=5,
)
tensors = st.one_of(ndarrays(), odd_arrays(), sparse_arrays(), number_lists)

moments = st.datetimes(timezones=st.none() | st.just(datetime.UTC)) | st.datetimes().map(
    lambda t: t.replace(fold=1)
)
atoms = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    texts,
    st.just(MARK),
    st.binary(max_size=5),
    st.dates(),
    moments,
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(),
    st.complex_numbers(),
    st.builds(np.float32, st.floats(width=32)),
    st.builds(np.str_, texts),
    st.builds(np.int16, st.integers(-9, 9)),
)
keys = st.one_of(texts, st.just(MARK), st.integers(), st.binary(max_size=3), st.none(), st.booleans())
data = st.recursive(
    atoms | ndarrays(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(st.integers() | texts, max_size=3),
        st.frozensets(st.binary(max_size=3) | st.tuples(st.integers()), max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(texts, inner, max_size=3),
    ),
    max_leaves=8,
)
"""Whatever tags can hold."""

json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
"""Whatever JSON can say."""

_like = st.fixed_dictionaries(
    {"price": st.floats()}, optional={"name": texts, "sold": st.booleans(), "of": data}
)
_nested = st.fixed_dictionaries({"a": st.fixed_dictionaries({"b": st.integers(), "c": texts | st.none()})})
_score = st.fixed_dictionaries({"value": st.floats()}, optional={"op_name": texts, "ref_id": texts})

CELLS: dict[str, Any] = {
    "text": texts,
    "bytes": st.binary(max_size=6),
    "number": st.one_of(integers, floats),
    "bool": st.booleans(),
    "json": st.one_of(_like, _nested, st.dictionaries(keys, data, max_size=4)),
    "scores": st.dictionaries(texts, _score, max_size=3),
    "tensor": tensors,
}


@st.composite
def cells(draw: Any, kind: str, n: int) -> list[Any]:
    """`n` cells of a kind: all alike, or with gaps, or a mixture, or none at all."""
    cell = CELLS[kind]
    if kind == "number":
        cell = draw(st.sampled_from([st.integers(-9, 9), floats, cell]))
    if kind == "json":
        cell = draw(st.sampled_from([_like, _nested, cell]))
    if kind == "tensor" and draw(st.booleans()):
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        cell = arrays_of.arrays(dtype, draw(sides))
        if draw(st.booleans()) and dtype.kind in "bif" and dtype.str[1:] in ("b1", "i8", "f8"):
            cell = cell.map(lambda a: a.tolist()).filter(lambda v: isinstance(v, list))
    gaps = draw(st.sampled_from(["none", "some", "all"]))
    if gaps == "all":
        return [None] * n
    return draw(st.lists(cell if gaps == "none" else st.none() | cell, min_size=n, max_size=n))


names = st.sampled_from(["text", "tags", "a.b", "a/b", "a%2Fb", "offsets", "data", "Größe", "", "x"])


@st.composite
def tables(draw: Any, levels: int = 3, rows: Any = None, kinds: Any = None) -> Table:
    """Tables of any columns, nested up to `levels` deep. `kinds` says which columns there are, of which kind."""
    n = draw(st.integers(0, 12) if rows is None else rows)
    if kinds is None:
        kinds = draw(st.dictionaries(names, st.sampled_from(sorted(CELLS)), max_size=4))
    columns: dict[str, Any] = {name: column_of(kind, draw(cells(kind, n))) for name, kind in kinds.items()}
    if levels > 1:
        for name in draw(st.sets(st.sampled_from(["chunks", "matches", "x/y"]), max_size=2)):
            counts = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
            offsets = np.cumsum([0, *counts], dtype=np.int64)
            columns[name] = DocsColumn(offsets, draw(tables(levels - 1, st.just(sum(counts)), kinds)))
    ids = draw(st.none() | st.lists(texts, min_size=n, max_size=n))
    return Table(columns, n, ids)


_places = st.integers(0, 2**32 - 1)
_scores = st.dictionaries(texts, _score.map(lambda score: NamedScore(score).to_dict()), max_size=3)
_RECORD: dict[str, Any] = {
    "parent_id": texts,
    "granularity": _places,
    "adjacency": _places,
    "blob": st.binary(max_size=6),
    "tensor": tensors,
    "mime_type": texts,
    "text": texts,
    "weight": numbers,
    "uri": texts,
    "tags": CELLS["json"],
    "_metadata": CELLS["json"],
    "offset": numbers,
    "location": st.lists(numbers, max_size=4),
    "embedding": tensors,
    "modality": texts,
    "evaluations": _scores,
    "scores": _scores,
}


@st.composite
def record_lists(draw: Any, levels: int = 3, most: int = 4) -> list[dict[str, Any]]:
    """Documents as records (records.py): any fields, one content at most, ids given, nested up to `levels` deep.

    Whoever nests says who the parent is, as documents do.
    """
    records = []
    for number in range(draw(st.integers(0, most))):
        used = draw(st.sets(st.sampled_from(sorted(_RECORD)), max_size=5))
        used -= set(draw(st.permutations(["text", "blob", "tensor"]))[:2])
        record = {"id": f"{number}{draw(texts)}"}
        record |= {name: draw(_RECORD[name]) for name in _RECORD if name in used}
        for name in ("chunks", "matches"):
            below = draw(record_lists(levels - 1, 2)) if levels > 1 and draw(st.booleans()) else []
            if below:
                place = (record["id"], 1, 0) if name == "chunks" else ("m", 0, 1)
                deep = zip(("parent_id", "granularity", "adjacency"), place, strict=True)
                told = {**dict(deep), "granularity": place[1] or 9, "adjacency": place[2] or 9}
                record[name] = [{"id": b["id"], **told, **_without(b, told)} for b in below]
        records.append(record)
    return records


def _without(record: dict[str, Any], names: Any) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names and name != "id"}
