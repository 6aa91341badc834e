"""Rows to hold storages against: of every kind of value, and of the plain kinds that are searched and filtered."""

from __future__ import annotations

import datetime
import decimal
import importlib.util
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from hypothesis import strategies as st

from docarray.columns import Column, column_of
from docarray.records import table_of
from docarray.schema import FIELDS
from docarray.table import DocsColumn, Table
from docarray.tagged import MARK

__all__ = ["cells", "everything", "filters", "orders", "people", "rows", "vectors"]


def rows(*ids: str, **columns: Sequence[Any]) -> Table:
    """A table of these ids and cells; None is a missing cell, chunks and matches are lists of records.

    >>> rows('a', 'b', text=['x', None]).columns['text'].values()
    ['x', None]
    """
    made: dict[str, Column] = {}
    for name, values in columns.items():
        kind = FIELDS[name].kind
        if kind == "docs":
            offsets = np.cumsum([0, *(len(value or ()) for value in values)], dtype=np.int64)
            made[name] = DocsColumn(offsets, table_of([record for value in values for record in value or ()]))
        else:
            made[name] = column_of(kind, list(values))
    return Table(made, len(ids), list(ids))


# --- every kind of value ------------------------------------------------------------------------------------------


def _tags() -> list[dict[Any, Any]]:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=45))
    return [
        {},
        {"price": 3, "name": "x", "sold": True, "none": None, "list": [1, 2.0, "three", [None, {}]]},
        {"price": 3.0, "deep": {"a": {"b": [{"c": []}]}}, "": "no key", "a.b": 1, "a__b": 2, "$eq": 3},
        {"long": -(1 << 62), "longer": 10**40, "2**53": 2**53 + 1, "minus zero": -0.0},
        {"nan": math.nan, "infinite": [math.inf, -math.inf]},
        {
            "Größe": "naïve 漢字 \U0001f600",
            "quotes": 'it\'s "so" \\ %s :x ?',
            "control": "\x00\x01\x1f\x7f\n",
        },
        {"surrogate": "\ud83d alone", "two": "\ud83d\ude00"},
        {"bytes": b"\x00\xff", "tuple": (1, (2.0, [3])), "set": {1, 2}, "frozenset": frozenset({"a"})},
        {"when": datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=1), "day": datetime.date(1, 1, 1)},
        {"decimal": decimal.Decimal("1.10"), "uuid": uuid.UUID(int=5), "complex": complex(-0.0, math.nan)},
        {"scalar": np.float32(0.1), "array": np.arange(6, dtype=">i2").reshape(2, 3)},
        {1: "one", 2.5: "two and a half", None: "none", (1, "a"): "pair"},
        {MARK: {MARK: "a dict that looks like ours", "is": 1}},
    ]


def vectors() -> list[Any]:
    """Arrays of all sorts: shapes, dtypes and frameworks, as far as these are installed."""
    found: list[Any] = [
        np.array([1, np.nan, -0.0, np.inf], np.float32),
        np.array([5, 6, 7, 8], np.float32),
        np.array([1.5, 2.5], np.float16),
        np.array([1, 2, 3], ">i2"),
        np.array([1 << 63], np.uint64),
        np.array([1j, 2], np.complex64),
        np.array([[True, False]]),
        np.array(5.0),
        np.zeros((0, 3)),
        np.array(["2024-01-01"], "M8[D]"),
        np.array(["é", "漢字"]),
        [1.0, 2.0],
        [1, 2.5, True],
        [[1, 2], [3]],
        (1, 2),
    ]
    if importlib.util.find_spec("scipy"):
        sparse: Any = importlib.import_module("scipy.sparse")
        row = sparse.coo_array(([1.5, 0.0], ([0, 0], [1, 3])), shape=(1, 6))
        found += [row.asformat("csr"), row]
    if importlib.util.find_spec("torch"):
        torch: Any = importlib.import_module("torch")
        found += [torch.arange(3), torch.ones(2, 2, dtype=torch.bfloat16)]
    return found


_TEXTS = [
    "plain",
    "",
    " spaces \t\r\n ",
    'it\'s "quoted" `so` \\ %s %(x)s :x ? ; -- /* $1 {tags}',
    "naïve Größe 漢字 \U0001f600 e\u0301",
    "nul \x00 inside",
    "\ud800 a lone surrogate",
    "\ud83d\ude00 two of them, that are no letter",
    "long " * 2000,
]
_NUMBERS: list[Any] = [
    0,
    0.0,
    -0.0,
    1,
    1.0,
    -1,
    0.1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    10**30,
    math.inf,
    math.nan,
]


def everything() -> Table:
    """A small table of every field, and in them every kind of value. Some rows have next to nothing."""
    tags, arrays = _tags(), vectors()
    score = {"value": 0.25, "op_name": "cosine", "description": "a distance", "ref_id": "q"}
    records: list[dict[str, Any]] = []
    for n in range(max(len(tags), len(arrays), len(_TEXTS), len(_NUMBERS)) + 2):
        record: dict[str, Any] = {"id": f"row {n}"}
        if n % 7 != 5:
            record |= {
                "tags": tags[n % len(tags)],
                "weight": _NUMBERS[n % len(_NUMBERS)],
                "uri": _TEXTS[(n + 1) % len(_TEXTS)],
                "embedding": arrays[n % len(arrays)],
            }
        if n % 3 == 0:
            content = ("text", _TEXTS), ("blob", [b"", bytes(range(256)), b"\x00"]), ("tensor", arrays[3:])
            name, values = cast("tuple[str, list[Any]]", content[n // 3 % 3])
            record[name] = values[n // 9 % len(values)]
        if n % 4 == 1:
            record |= {
                "parent_id": "above",
                "granularity": n,
                "adjacency": 2**31,
                "mime_type": "text/x-all",
                "modality": "text",
                "offset": _NUMBERS[n % 5],
                "location": [1, 2.5, n],
                "_metadata": {"schema": {"field": [1, {"deep": None}]}},
                "scores": {"cosine": score, "empty": {}},
                "evaluations": {"": {"value": -0.0}, "nan": {"value": math.nan}},
            }
        if n % 5 == 2:
            below = [{"id": f"c{n}{i}", "text": _TEXTS[i], "tags": tags[i]} for i in range(3)]
            deepest = {"id": "deepest", "embedding": arrays[n % len(arrays)], "blob": b"\xff"}
            record["chunks"] = [*below, {"id": "c", "chunks": [deepest], "matches": [{"id": "m"}]}]
            record["matches"] = [{"id": "m", "scores": {"cosine": score}, "weight": 1}]
        records.append(record)
    return table_of(records)


# --- rows to search and filter ------------------------------------------------------------------------------------

_WORDS = [
    "a", "A", "ab", "aB", "b", "", "10", "9", "-0", "true", "null", "ä", "Ä", "ß", "SS", "é", "e\u0301",
    "a%b", "a_b", "50%", "x'y", 'x"y', "back\\slash", "new\nline", "apple pie", "Apple pie", "a pie",
]  # fmt: skip
_VALUES: list[Any] = [
    *(0, -0.0, 1, 1.0, True, False, None, 2, 2.5, -1, 10, 2**53, 2**53 + 1, 2**63, -(2**63), 1e300, math.inf),
    *(math.nan, "a", "1", "true", "null", "", [], [1, 2], ["a"], [None], {}, {"a": 1}),
]
_KEYS = [
    "price",
    "price",
    "price",
    "name",
    "name",
    "deep",
    "list",
    "it's",
    'a "key"',
    "a.b",
    "Größe",
    "1",
    "%s",
]


def people(count: int = 60, seed: int = 0) -> Table:
    """Rows with texts, numbers and tags of all sorts in them; the same for the same seed. Some fields are unset."""
    draw = np.random.default_rng(seed)

    def one_of(values: Sequence[Any]) -> Any:
        return values[int(draw.integers(len(values)))]

    records: list[dict[str, Any]] = []
    for n in range(count):
        record: dict[str, Any] = {"id": f"{n}"}
        if draw.random() < 0.8:
            record["text"] = " ".join(one_of(_WORDS) for _ in range(int(draw.integers(1, 4))))
        if draw.random() < 0.5:
            record |= {"uri": one_of(_WORDS), "mime_type": one_of(["text/plain", "", "image/png"])}
        if draw.random() < 0.5:
            record |= {"weight": one_of([0.0, 1.0, 2.5, -1.0, math.nan, 3]), "granularity": one_of([0, 1, 2])}
        tags: dict[Any, Any] = {"price": one_of([1, 2, 3, 4.5, 10, n]), "name": one_of(_WORDS)}
        for key in [one_of(_KEYS) for _ in range(int(draw.integers(0, 4)))]:
            tags[key] = one_of(_VALUES)
        if draw.random() < 0.4:
            tags |= {
                "deep": {"x": one_of(_VALUES), "y": {"z": one_of(_VALUES)}},
                "list": [one_of(_VALUES), 2],
            }
        if draw.random() < 0.1:  # what JSON cannot say
            tags["odd"] = one_of([b"bytes", (1, 2), {1, 2}, datetime.date(2024, 1, 1), "\ud800", "\x00"])
        if draw.random() < 0.9:
            record["tags"] = tags
        if draw.random() < 0.2:
            record["chunks"] = [{"id": f"c{n}", "text": one_of(_WORDS)}]
        if draw.random() < 0.2:
            record["scores"] = {"cosine": {"value": float(draw.integers(3))}}
        records.append(record)
    return table_of(records)


_PATHS: list[Any] = [
    "id", "text", "text", "uri", "mime_type", "weight", "weight", "granularity", "modality", "tags",
    "tags__price", "tags__price", "tags__name", "tags__name", "tags__deep__x", "tags__deep__y__z", "tags__list",
    "tags__list__0", "tags__nothing", "tags__odd", "scores__cosine__value", "chunks__0__text", "embedding",
    ("tags", "it's"), ("tags", 'a "key"'), ("tags", "a.b"), ("tags", "Größe"), ("tags", "%s"), ("tags", "1"),
]  # fmt: skip
_COMPARED = [*_VALUES, *_WORDS, "0", "5", "17", 3, 4.5, 17, b"bytes"]
_ORDERED = ["$lt", "$lte", "$gt", "$gte"]
_TEXTUAL = ["$contains", "$icontains", "$startswith", "$endswith", "$istartswith", "$iendswith"]


def filters() -> Any:
    """A strategy of filters over such rows, as one writes them: every operator, and values of the wrong type too."""
    path, value = st.sampled_from(_PATHS), st.sampled_from(_COMPARED)
    word = st.sampled_from([word for word in _WORDS if word])
    reference = path.map(lambda other: {"$field": other})
    condition = st.one_of(
        value,
        st.tuples(st.sampled_from(["$eq", "$ne", "$neq", *_ORDERED]), value | reference),
        st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(value, max_size=3)),
        st.tuples(st.sampled_from(_TEXTUAL), word),
        st.tuples(st.just("$contains"), value.filter(lambda v: v is not None)),
        st.tuples(st.just("$regex"), st.sampled_from(["^a", "[ab]$", "ä", "(?i)APPLE", r"\d+", "", "b.p"])),
        st.tuples(st.just("$size"), st.integers(0, 3)),
        st.tuples(st.just("$exists"), st.booleans()),
    ).map(_written)
    inside = st.one_of(condition, st.lists(condition, max_size=2).map(_negated))
    number = st.sampled_from([0, 1, 2, 2.5, 3, 4.5, 10, 30])
    likely = st.one_of(
        st.fixed_dictionaries(
            {"tags__price": st.tuples(st.sampled_from([*_ORDERED, "$ne"]), number).map(_pair)}
        ),
        st.fixed_dictionaries(
            {"tags__name": st.tuples(st.sampled_from([*_ORDERED, "$ne"]), word).map(_pair)}
        ),
        st.fixed_dictionaries({"text": st.tuples(st.sampled_from(_TEXTUAL), word).map(_pair)}),
        st.fixed_dictionaries({"weight": st.tuples(st.sampled_from(_ORDERED), number).map(_pair)}),
    )
    clause = st.one_of(likely, st.dictionaries(path, inside, min_size=1, max_size=2))

    def more(inner: Any) -> Any:
        return st.one_of(
            st.tuples(st.sampled_from(["$and", "$or"]), st.lists(inner, max_size=3)).map(_pair),
            st.tuples(st.just("$not"), inner).map(_pair),
        )

    return st.recursive(clause, more, max_leaves=3)


def _pair(pair: tuple[str, Any]) -> dict[str, Any]:
    return {pair[0]: pair[1]}


def _written(condition: Any) -> Any:
    if isinstance(condition, tuple):
        return _pair(cast("tuple[str, Any]", condition))
    return {"$eq": cast("Any", condition)} if isinstance(condition, dict) else condition


def _negated(conditions: list[Any]) -> dict[str, Any]:
    return {"$not": [one if isinstance(one, dict) else {"$eq": one} for one in conditions]}


def orders() -> Any:
    """A strategy of orders: one path or two, up or down."""
    paths = [
        "id",
        "text",
        "weight",
        "tags__price",
        "tags__name",
        "tags__deep__x",
        "tags__nothing",
        "granularity",
    ]
    return st.lists(st.sampled_from([*paths, *(f"-{path}" for path in paths)]), min_size=1, max_size=2)


# --- what a state machine writes ----------------------------------------------------------------------------------

CELLS: Mapping[str, Any] = {
    "text": st.sampled_from(["", "a", "ä \x00 \ud800", "it's"]),
    "weight": st.sampled_from([0, 0.0, 1.5, 10**30, math.nan]),
    "blob": st.sampled_from([b"", b"\x00\xff"]),
    "tags": st.sampled_from([{}, {"price": 3}, {"price": 3.0, "x": [None]}, {"odd": (1, b"2")}, {1: "one"}]),
    "embedding": st.sampled_from(
        [np.zeros(2, np.float32), np.array([1, 2], np.float32), np.array([1.5]), [1, 2], [[1], 2.0]]
    ),
    "chunks": st.sampled_from([[{"id": "c", "text": "x"}], [{"id": "c"}, {"id": "d", "tags": {"n": 1}}]]),
    "scores": st.sampled_from([{"cosine": {"value": 1.0}}, {}]),
}


@st.composite
def cells(draw: st.DrawFn, count: int) -> dict[str, list[Any]]:
    """Some columns of so many rows, with gaps."""
    names = draw(st.lists(st.sampled_from(sorted(CELLS)), max_size=3, unique=True))
    return {name: draw(st.lists(st.none() | CELLS[name], min_size=count, max_size=count)) for name in names}
