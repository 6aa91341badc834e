"""The values of paths over a table are those over its documents."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray, NamedScore, query
from docarray.find import _Docs  # pyright: ignore[reportPrivateUsage]
from docarray.schema import FIELDS
from docarray.table import Table
from docarray.values import TableValues

words = st.sampled_from(["", "a", "b", "text", "0", "é"])
atoms = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False), words)
keys = st.sampled_from(["a", "b", "0", "1", "-1", "real"])
odd_keys = keys | st.integers(-1, 1)
values = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_keys, inner, max_size=3),
    max_leaves=6,
)
tags = st.dictionaries(keys, values, max_size=3) | st.dictionaries(odd_keys, values, max_size=3)


@st.composite
def documents(draw: Any, levels: int = 2) -> Document:
    doc = Document(id=draw(words) + draw(words))
    for name, cell in (
        ("tags", tags),
        ("text", words),
        ("blob", st.binary(max_size=2)),
        ("weight", st.floats(0, 1)),
    ):
        if draw(st.booleans()):
            setattr(doc, name, draw(cell))
    if draw(st.booleans()):
        doc.location = draw(st.lists(st.floats(0, 1), max_size=2))
    if levels > 1:
        doc.chunks = draw(st.lists(documents(levels - 1), max_size=2))
        doc.matches = draw(st.lists(documents(levels - 1), max_size=1))
    return doc


part = keys | st.integers(-1, 1) | st.sampled_from(["tags", "text", "id", "weight", "content", "blob"])
fields = st.sampled_from([name for name in FIELDS if FIELDS[name].kind not in ("scores", "tensor")])
below = st.tuples(
    st.sampled_from(["chunks", "matches"]),
    st.sampled_from([0, 1, -1, "0", "1", "-1"]),
    st.sampled_from(["text", "id", "weight", "blob", "content", "uri", "mime_type", "granularity"]),
)
deep = st.tuples(st.sampled_from(["chunks", "matches"]), st.sampled_from(["0", 0]), st.just("tags"), part)
paths = st.one_of(
    fields.map(lambda name: (name,)),
    st.lists(part, min_size=1, max_size=3).map(lambda rest: ("tags", *rest)),
    below,
    deep,
)


def listed(values: Any) -> list[Any]:
    return list(values if isinstance(values, list) else values.to_list())  # pyright: ignore[reportUnknownArgumentType]


@settings(max_examples=300)
@given(docs=st.lists(documents(), min_size=1, max_size=5), path=paths)
def test_a_table_gives_the_values_of_its_documents(docs: list[Document], path: Any) -> None:
    table = DocumentArray(docs)._slots.table()  # pyright: ignore[reportPrivateUsage]
    of_docs = listed(_Docs(list(docs))(path, None))

    of_table = listed(TableValues(table)(path, None))

    if len(path) > 1 or path[0] not in ("chunks", "matches"):
        assert of_table == of_docs
    for filter in (
        {path: {"$exists": True}},
        {path: 1},
        {path: "a"},
        {path: {"$size": 1}},
        {path: {"$lt": 1}},
    ):
        node = query.parse(filter)
        wanted = query.mask(node, len(docs), _Docs(list(docs))).tolist()
        assert wanted == query.mask(node, len(docs), TableValues(table)).tolist()


def test_rows_are_picked() -> None:
    table = DocumentArray([Document(tags={"a": n}) for n in range(4)])._slots.table()  # pyright: ignore[reportPrivateUsage]

    assert [3, 1] == listed(TableValues(table, [3, 1])(("tags", "a"), None))
    assert isinstance(table, Table)


def test_a_number_in_a_path_is_no_key_of_text() -> None:
    table = DocumentArray([Document(tags={"0": 1}), Document(tags={"0": 2})])._slots.table()  # pyright: ignore[reportPrivateUsage]

    assert [None, None] == listed(TableValues(table)(("tags", 0), None))
    assert [1, 2] == listed(TableValues(table)(("tags", "0"), None))


def test_a_score_reads_as_one_of_a_document() -> None:
    docs = [
        Document(scores={"near": NamedScore(value=0.5)}),
        Document(scores={"far": {"op_name": "x"}}),
        Document(),
    ]
    table = DocumentArray(docs)._slots.table()  # pyright: ignore[reportPrivateUsage]

    for path in (("scores", "near", "value"), ("scores", "near", "op_name"), ("scores", "far", "value")):
        assert listed(_Docs(docs)(path, None)) == listed(TableValues(table)(path, None))
