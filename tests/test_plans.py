"""plans: a query as plain calls gives what the executor of graphql-core gives, or leaves it to that."""

import asyncio
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray, dataclass
from docarray.typing import Text
from docarray.web import Limits, Service

graphql = pytest.importorskip("graphql", reason='needs strawberry: pip install "docarray[serve]"')
pytest.importorskip("strawberry", reason='needs strawberry: pip install "docarray[serve]"')

from docarray.web.graphql import Context, schema_of  # noqa: E402
from docarray.web.plans import SteppedBack, plan_of  # noqa: E402
from docarray.web.problems import Busy  # noqa: E402


def shelf() -> DocumentArray:
    docs = DocumentArray(
        [
            Document(id="a", text="green tea", tags={"price": 3, "size": {"cm": 1.5}}, embedding=[1.0, 0.0]),
            Document(
                id="b", text="black tea \ud83d\ude00", tags={"price": float("nan")}, embedding=[0.5, 0.5]
            ),
            Document(id="c", uri="x.png", mime_type="image/png", weight=2, offset=1.0, location=[1, 2]),
            Document(id="d", blob=b"\x00\xff", modality="audio", granularity=1, parent_id="a"),
            Document(id="e", tensor=np.arange(4).reshape(2, 2), embedding=[0.0, 1.0]),
        ]
    )
    docs[0].chunks = [Document(id=f"a{at}", text=str(at), embedding=[at, 1.0]) for at in range(3)]
    docs[1].matches = [Document(id="a", scores={"cosine": 0.25})]
    docs[1].evaluations["recall"] = 1.0
    return docs


@pytest.fixture(scope="module")
def schema():
    service = Service(shelf())
    yield schema_of(service)
    service.close()


def both(schema, query, variables=None):
    """What the executor says, and what the plan does; None where there is no plan or it steps back."""
    document = graphql.parse(query)
    assert not graphql.validate(schema.graphql_schema, document)
    plan = plan_of(schema.graphql_schema, document)

    async def ask():
        result = graphql.execute(schema.graphql_schema, document, None, Context(schema.service), variables)
        if not isinstance(result, graphql.ExecutionResult):
            result = await result
        if plan is None:
            return result, None
        try:
            return result, await plan.run(Context(schema.service), variables)
        except SteppedBack:
            return result, None

    return asyncio.run(ask())


SCALARS = (
    "id", "text", "uri", "mimeType", "modality", "weight", "granularity", "adjacency", "parentId", "offset", "location",
    "tags", "blob", "tensor", "embedding", "__typename", 'tags(path: "size__cm")', "scores { name score { value } }",
    "evaluations { name score { value description } }",
)  # fmt: skip


def named(fields):
    return " ".join(f"f{at}: {field}" for at, field in enumerate(fields))


scalars = st.lists(st.sampled_from(SCALARS), min_size=1, max_size=6).map(named)


def connection(inner):
    pages = st.sampled_from(["", "(first: 2)", "(first: 0)"])
    shapes = st.sampled_from(
        [
            "nodes {{ {0} }}",
            "totalCount edges {{ cursor node {{ {0} }} }}",
            "pageInfo {{ hasNextPage endCursor startCursor hasPreviousPage }} nodes {{ {0} }}",
        ]
    )
    return st.tuples(st.sampled_from(["chunks", "matches"]), pages, shapes, inner).map(
        lambda said: f"{said[0]}{said[1]} {{ {said[2].format(said[3])} }}"
    )


documents = st.recursive(
    scalars, lambda inner: st.tuples(scalars, connection(inner)).map(" ".join), max_leaves=3
)
queries = st.one_of(
    st.tuples(
        st.sampled_from(
            [
                'text: "tea"', "vector: [1, 0.5]", 'like: "a", limit: 1',
                'vector: [0, 1], metric: EUCLIDEAN, text: "black"',
            ]
        ),
        documents,
    ).map(lambda said: f"{{ search({said[0]}) {{ score name kind document {{ {said[1]} }} scores {{ name }} }} }}"),
    st.tuples(
        st.sampled_from(["", "(first: 2)", '(sort: "-id", first: 3)', '(filter: "{\\"tags__price\\": 3}")']), documents
    ).map(lambda said: f"{{ documents{said[0]} {{ totalCount edges {{ cursor node {{ {said[1]} }} }} }} }}"),
    st.tuples(st.sampled_from(["a", "b", "none"]), documents).map(
        lambda said: f'{{ here: document(id: "{said[0]}") {{ {said[1]} }} }}'
    ),
)  # fmt: skip


@given(query=queries)
@settings(max_examples=120, deadline=None)
def test_a_plan_gives_what_the_executor_gives(schema, query):
    result, planned = both(schema, query)
    assert result.errors is None
    assert planned is not None, query
    assert json.dumps(planned) == json.dumps(result.data)


VARIABLES = [
    {"v": [1, 0.5], "n": 2, "m": "EUCLIDEAN", "f": {"tags__price": 3}},
    {"v": [1.0, 0.0]},
    {"v": [1.0, 0.0], "n": None, "m": "COSINE", "f": None},
    {"v": [0.5, 1e300], "unknown": 3},
]


@pytest.mark.parametrize("variables", VARIABLES, ids=range(len(VARIABLES)))
def test_variables_are_what_they_are_to_the_executor(schema, variables):
    query = """query($v: [Float!], $n: Int = 3, $m: Metric! = COSINE, $f: JSON) {
        search(vector: $v, limit: $n, metric: $m, filter: $f) { document { id } score name } }"""
    result, planned = both(schema, query, variables)
    assert result.errors is None
    assert json.dumps(planned) == json.dumps(result.data)


WRONG = [
    {"v": [1.0, "x"]},
    {"v": [1.0, True]},
    {"v": [1.0, float("inf")]},
    {"v": "text"},
    {"v": [1.0, 2.0, 3.0]},
    {"v": []},
    {"v": [1.0, None]},
    {"v": [1.0, 0.0], "n": "2"},
    {"v": [1.0, 0.0], "n": 10**6},
    {"v": None},
    {},
]


@pytest.mark.parametrize("variables", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_left_to_the_executor(schema, variables):
    query = "query($v: [Float!], $n: Int) { search(vector: $v, limit: $n) { document { id } } }"
    result, planned = both(schema, query, variables)
    assert result.errors
    assert planned is None


NONE = [
    '{ a: document(id: "a") { id } b: document(id: "b") { id } }',
    "query($x: Boolean!) { documents { totalCount @include(if: $x) } }",
    "query @skip(if: false) { documents { totalCount } }",
    "{ documents { nodes { ...f } } } fragment f on Document { id }",
    "{ documents { nodes { ... on Document { id } } } }",
    "{ documents { nodes { id id } } }",
    "{ documents { nodes { parent { id } } } }",
    '{ search(like: "a") { document { similar { document { id } } } } }',
    "query($n: Int) { documents { nodes { chunks(first: $n) { totalCount } } } }",
    "{ __schema { types { name } } }",
    "query a { documents { totalCount } } query b { documents { totalCount } }",
]


@pytest.mark.parametrize("query", NONE, ids=range(len(NONE)))
def test_other_queries_have_no_plan(schema, query):
    assert plan_of(schema.graphql_schema, graphql.parse(query)) is None


def test_a_nested_error_is_told_as_the_executor_tells_it(schema):
    query = '{ documents { nodes { chunks(after: "no cursor") { totalCount } } } }'
    result, planned = both(schema, query)
    assert result.errors
    assert planned is None


def test_the_schema_answers_by_plans_and_without():
    service = Service(shelf())
    schema = schema_of(service)

    async def ask(query):
        return await schema.execute(query)

    planned = asyncio.run(ask('{ document(id: "a") { id text } }'))
    assert planned.data == {"document": {"id": "a", "text": "green tea"}}
    asked = []
    real = graphql.execute
    try:
        graphql.execute = lambda *given: asked.append(given) or real(*given)
        assert asyncio.run(ask('{ document(id: "a") { text } }')).data == {"document": {"text": "green tea"}}
        assert not asked
        wrong = asyncio.run(ask('{ documents(sort: "nope") { totalCount } }'))
        assert asked
    finally:
        graphql.execute = real
    assert wrong.data is None
    assert "nope" in wrong.errors[0].message
    service.close()


def test_somebody_who_is_refused_is_not_asked_for_twice():
    service = Service(shelf(), limits=Limits(threads=1, waiting=0))
    schema = schema_of(service)
    plan = plan_of(schema.graphql_schema, graphql.parse("{ documents { totalCount } }"))
    calls = []

    async def refuse(method, /, **arguments):
        calls.append(method)
        raise Busy("full")

    service.call = refuse
    with pytest.raises(Busy):
        asyncio.run(plan.run(Context(service), None))
    assert calls == ["documents"]
    service.close()


def test_fields_of_a_dataclass_are_planned_too():
    @dataclass
    class Note:
        title: Text
        stars: int

    service = Service(DocumentArray([Document(Note(title="Tea", stars=3))]), schema=Note)
    schema = schema_of(service)
    query = "{ documents { nodes { fields { stars title { text } } } } }"
    result, planned = both(schema, query)
    assert (
        result.data
        == planned
        == {"documents": {"nodes": [{"fields": {"stars": 3, "title": {"text": "Tea"}}}]}}
    )
    service.close()
