"""Filters and vector search, for three kinds of array that behave alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray import Document, DocumentArray, NamedScore
from docarray.errors import (
    BadFilter,
    BadValue,
    DocArrayError,
    FieldTypeError,
    LengthError,
    MissingEmbedding,
    ShapeError,
    UnknownField,
    UnknownMetric,
    UnknownName,
)

sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")
distance = pytest.importorskip("scipy.spatial.distance", reason="pip install scipy")

KINDS = ["objects", "columns", "touched"]
IDS = list("abcde")
VECTORS = np.array([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.0, 2.0]])
PRICES = [5, 4, 3, 2, 1]
QUERY = np.array([1.0, 0.0])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="pip install torch==2.13.0")


def tags():
    return [{"price": price, "deep": {"list": [price]}} for price in PRICES]


def below():
    """Two chunks of each but the last; those of 'a' are the farthest from (1, 0), those of 'd' the nearest."""
    return [
        [Document(id=f"{one}{i}", text=f"{one}{i}", embedding=np.array([at + i, 4.0 - at])) for i in range(2)]
        for at, one in enumerate("abcd")
    ] + [[]]


def make(kind):
    texts = [f"t{one}" for one in IDS]
    if kind == "objects":
        parts = zip(IDS, texts, tags(), VECTORS.copy(), below(), strict=True)
        return DocumentArray(
            Document(id=i, text=text, tags=tag, embedding=vector, chunks=chunks, scores={"old": 7})
            for i, text, tag, vector, chunks in parts
        )
    da = DocumentArray.from_columns(
        id=IDS, text=texts, tags=tags(), embedding=VECTORS.copy(), chunks=below(), scores=[{"old": 7}] * 5
    )
    if kind == "touched":
        da[1].weight = 1
        da[1].weight = None
        assert da["d"].text == "td"
    return da


@pytest.fixture(params=KINDS)
def da(request):
    return make(request.param)


def ids(found):
    assert isinstance(found, DocumentArray)
    return [doc.id for doc in found]


def unchanged(da):
    assert make("objects") == da
    assert IDS == ids(da)


# --- queries and what they give -----------------------------------------------------------------------------


def test_one_vector_gives_one_array(da):
    found = da.find(QUERY)

    assert IDS == ids(found)
    assert DocumentArray is type(found)
    unchanged(da)


@pytest.mark.parametrize(
    "query",
    [[1.0, 0.0], (1, 0), [1, 0], np.array([1, 0], "f4"), np.array([1, 0], "i1"), np.array([True, False])],
    ids=lambda query: f"{type(query).__name__}-{getattr(query, 'dtype', '')}",
)
def test_a_vector_of_any_type(da, query):
    assert IDS == ids(da.find(query))


@pytest.mark.parametrize(
    "query", [np.array([[1.0, 0.0], [0.0, 1.0]]), [[1, 0], [0, 1]]], ids=["array", "list"]
)
def test_several_vectors_give_a_list(da, query):
    found = da.find(query)

    assert list is type(found)
    assert [IDS, ["e", "d", "c", "b", "a"]] == [ids(part) for part in found]


def test_one_row_gives_a_list_of_one(da):
    assert [IDS] == [ids(part) for part in da.find(QUERY[None])]


def test_documents_give_a_list(da):
    assert [IDS] == [ids(part) for part in da.find(Document(embedding=QUERY))]
    query = DocumentArray([Document(embedding=QUERY), Document(embedding=QUERY[::-1].copy())])
    assert [IDS, IDS[::-1]] == [ids(part) for part in da.find(query)]
    assert [IDS] == [ids(part) for part in da.find(da[:1])]


def test_torch_queries_and_embeddings(da, torch):
    assert IDS == ids(da.find(torch.tensor(QUERY)))
    assert [IDS] == [ids(part) for part in da.find(torch.tensor(QUERY[None], dtype=torch.float32))]

    da.embeddings = torch.tensor(VECTORS)

    assert IDS == ids(da.find(torch.tensor(QUERY))) == ids(da.find(QUERY))
    hit = da.find(torch.tensor(QUERY))[0]
    hit.embedding[0] = 9
    assert 1.0 == float(da[0].embedding[0])


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean"])
def test_sparse_and_dense_rank_alike(da, kind, metric):
    dense = [ids(part) for part in da.find(VECTORS, metric)]
    values = [[hit.scores[metric].value for hit in part] for part in da.find(VECTORS, metric)]
    da.embeddings = sparse.csr_array(VECTORS).asformat(kind)

    for query in (VECTORS, sparse.csr_array(VECTORS).asformat(kind), da):
        found = da.find(query, metric)

        assert dense == [ids(part) for part in found]
        np.testing.assert_allclose(
            values, [[hit.scores[metric].value for hit in part] for part in found], atol=1e-7
        )
    assert kind == da.find(VECTORS)[0][0].embedding.format


def test_lists_as_embeddings():
    da = DocumentArray([Document(id="a", embedding=[0.0, 1.0]), Document(id="b", embedding=[1.0, 0.0])])

    assert ["b", "a"] == ids(da.find([1.0, 0.0]))


def test_embeddings_of_more_dimensions_are_searched_flat(da):
    da.embeddings = np.stack([VECTORS, VECTORS], axis=1)

    assert [IDS] == [ids(part) for part in da.find(Document(embedding=np.stack([QUERY, QUERY])))]


# --- metrics and scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("cosine", "cosine"), ("euclidean", "euclidean"), ("sqeuclidean", "sqeuclidean"), ("cityblock", "cityblock"),
        ("chebyshev", "chebyshev"), ("canberra", "canberra"), ("braycurtis", "braycurtis"), ("minkowski", "minkowski"),
    ],
)  # fmt: skip
def test_metrics_are_those_of_scipy(da, metric, name):
    wanted = distance.cdist(QUERY[None], VECTORS, metric)[0]

    found = da.find(QUERY, metric=metric, use_scipy=True)

    assert [IDS[at] for at in np.argsort(wanted, kind="stable")] == ids(found)
    np.testing.assert_allclose(np.sort(wanted), [hit.scores[name].value for hit in found], atol=1e-12)


def test_inner_product_is_nearest_where_it_is_largest(da):
    assert "e" == da.find(np.array([0.0, 1.0]), metric="inner_product")[0].id


def test_a_function_as_metric(da):
    def farthest(x, y):
        assert (2, 2) == (x.ndim, y.ndim)
        return -distance.cdist(x, y, "cityblock")

    found = da.find(QUERY, metric=farthest)

    assert ["e", "d", "c", "b", "a"] == ids(found)
    assert -3.0 == found[0].scores["farthest"].value


def test_scores_say_value_operation_and_direction(da):
    score = da.find(QUERY, metric="euclidean")[1].scores["euclidean"]

    assert pytest.approx(0.02**0.5) == score.value
    assert ("euclidean", "distance", False) == (score.op_name, score.description, score.higher_is_better)


def test_metric_name_is_the_key_of_the_score(da):
    for metric in ("euclidean", lambda x, y: distance.cdist(x, y)):
        found = da.find(QUERY, metric=metric, metric_name="mine")

        assert ({"old", "mine"}, 0.0) == ({*found[0].scores}, found[0].scores["mine"].value)


def test_scores_that_were_there_are_kept(da):
    found = da.find(QUERY)

    assert [NamedScore(value=7)] * 5 == [hit.scores["old"] for hit in found]
    assert [{"old"}] * 5 == [{*doc.scores} for doc in da]


def test_distances_rise_and_ties_keep_the_order():
    for kind in KINDS:
        da = make(kind)
        da.embeddings = np.ones((5, 2))

        assert IDS == ids(da.find(QUERY, limit=None))
        assert IDS[:2] == ids(da.find(QUERY, limit=2))


def test_a_zero_vector_is_far_from_everything(da):
    da[0].embedding = np.zeros(2)

    found = da.find(QUERY)

    assert 1.0 == dict(zip(ids(found), [hit.scores["cosine"].value for hit in found], strict=True))["a"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("target", "better"), [((1, 0), "similarity"), ((0, 1), "distance"), ((10, 20), "distance")]
)
def test_normalization_maps_the_distances(kind, target, better):
    da = make(kind)
    raw = [hit.scores["euclidean"].value for hit in da.find(QUERY, "euclidean")]
    share = (np.array(raw) - min(raw)) / (max(raw) - min(raw))

    found = da.find(QUERY, "euclidean", normalization=target)

    values = [hit.scores["euclidean"].value for hit in found]
    assert (target[0], target[1]) == (values[0], values[-1])
    np.testing.assert_allclose(target[0] + share * (target[1] - target[0]), values)
    assert better == found[0].scores["euclidean"].description


def test_normalization_looks_at_all_candidates(da):
    """Not only at those that the limit leaves."""
    all_of_them = [hit.scores["cosine"].value for hit in da.find(QUERY, normalization=(1, 0))]

    assert all_of_them[:2] == [
        hit.scores["cosine"].value for hit in da.find(QUERY, limit=2, normalization=(1, 0))
    ]
    assert 1.0 == all_of_them[0]


def test_normalization_of_equal_distances(da):
    da.embeddings = np.ones((5, 2))

    assert [1.0] * 5 == [hit.scores["cosine"].value for hit in da.find(QUERY, normalization=(1, 0))]


# --- limit, batches, options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "count"), [(1, 1), (3, 3), (5, 5), (100, 5), (None, 5), (np.int64(2), 2), ("2", 2), (2.0, 2)]
)
def test_limit(da, limit, count):
    assert IDS[:count] == ids(da.find(QUERY, limit=limit))
    assert [IDS[:count]] * 2 == [ids(part) for part in da.find(np.array([QUERY, QUERY]), limit=limit)]


def test_twenty_is_the_limit_of_a_search_and_not_of_a_filter():
    da = DocumentArray.from_columns(embedding=np.random.default_rng(0).random((30, 3)), text=["a"] * 30)

    assert (20, 30, 30) == (
        len(da.find(np.ones(3))),
        len(da.find(np.ones(3), limit=None)),
        len(da.find({"text": "a"})),
    )


@pytest.mark.parametrize("limit", [0, -1, "x", "", 0.5, [3], float("nan")], ids=repr)
def test_a_limit_that_is_none(da, limit):
    for query in (QUERY, {"text": "ta"}, DocumentArray(), VECTORS):
        with pytest.raises(BadValue, match="limit"):
            da.find(query, limit=limit)
    with pytest.raises(ValueError):
        DocumentArray().find(QUERY, limit=limit)
    unchanged(da)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_batches_change_nothing(da, batch_size, limit):
    wanted = da.find(VECTORS, limit=limit)

    found = da.find(VECTORS, limit=limit, batch_size=batch_size)

    for one, other in zip(wanted, found, strict=True):
        assert ids(one) == ids(other)
        assert [hit.scores["cosine"] for hit in one] == [hit.scores["cosine"] for hit in other]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_that_is_none(da, batch_size):
    with pytest.raises(BadValue):
        da.find(QUERY, batch_size=batch_size)
    unchanged(da)


def test_options_of_old_callers_change_nothing(da):
    found = da.find(QUERY, use_scipy=True, device="cpu", num_worker=4, index="text")

    assert ids(da.find(QUERY)) == ids(found)


def test_exclude_self_leaves_out_the_document_of_the_query(da):
    assert [["b", "c"]] == [ids(part) for part in da.find(da[0], limit=2, exclude_self=True)]
    assert [["b"], ["a"]] == [ids(part) for part in da.find(da[:2], limit=1, exclude_self=True)]
    assert [["b", "c", "d", "e"]] == [ids(part) for part in da.find(da[0], exclude_self=True)]
    assert [["b", "c", "d", "e"]] == [ids(part) for part in da.find(da[0], limit=None, exclude_self=True)]
    # Of a stranger, or of a vector, nobody is left out.
    assert [IDS] == [ids(part) for part in da.find(Document(embedding=QUERY), exclude_self=True)]
    assert IDS == ids(da.find(QUERY, exclude_self=True))


def test_exclude_self_with_the_other_options(da):
    assert [["c", "d"]] == [
        ids(part) for part in da.find(da[0], limit=2, exclude_self=True, filter={"tags__price": {"$lt": 4}})
    ]
    assert [["b", "c"]] == [
        ids(part) for part in da.find(da[0], limit=2, exclude_self=True, filter={"tags__price": {"$gt": 2}})
    ]
    found = da.find(da[0], limit=2, exclude_self=True, normalization=(1, 0))[0]
    assert ["b", "c"] == ids(found)


def test_only_id_gives_ids_and_scores(da):
    found = da.find(QUERY, only_id=True, limit=2)

    assert ["a", "b"] == ids(found)
    assert [("id", "scores")] * 2 == [hit.non_empty_fields for hit in found]
    assert [["cosine"]] * 2 == [list(hit.scores) for hit in found]


def test_results_have_every_field_but_matches(da):
    for doc in da:
        doc.matches.append(Document())
        doc.uri, doc.modality, doc.location = "a.png", "m", [1.0]

    hit = da.find(QUERY)[0]

    assert ("ta", {"price": 5, "deep": {"list": [5]}}, "a.png", "m", [1.0]) == (
        hit.text, hit.tags, hit.uri, hit.modality, hit.location,
    )  # fmt: skip
    assert (["a0", "a1"], 0, [1, 0]) == (ids(hit.chunks), len(hit.matches), hit.embedding.tolist())
    assert ["a", "a"] == [chunk.parent_id for chunk in hit.chunks]
    assert 1 == len(da[0].matches)


CHANGES = {
    "id": lambda hit: setattr(hit, "id", "new"),
    "text": lambda hit: setattr(hit, "text", "new"),
    "tags": lambda hit: hit.tags.update(new=1),
    "deep tags": lambda hit: hit.tags["deep"]["list"].append(1),
    "set tags": lambda hit: setattr(hit, "tags", {}),
    "embedding": lambda hit: setattr(hit, "embedding", np.ones(3)),
    "embedding in place": lambda hit: hit.embedding.__setitem__(0, 99.0),
    "scores": lambda hit: setattr(hit.scores["old"], "value", 99),
    "more scores": lambda hit: hit.scores["new"],
    "chunks": lambda hit: hit.chunks.append(Document()),
    "text of a chunk": lambda hit: [setattr(chunk, "text", "new") for chunk in hit.chunks],
    "embedding of a chunk": lambda hit: [chunk.embedding.__setitem__(0, 99.0) for chunk in hit.chunks],
    "no chunks": lambda hit: setattr(hit, "chunks", None),
    "location": lambda hit: hit.location.append(1.0),
    "matches": lambda hit: hit.matches.append(Document()),
    "weight": lambda hit: setattr(hit, "weight", 99),
    "_metadata": lambda hit: hit._metadata.update(new=1),
    "everything": lambda hit: hit.clear(),
    "copy_from": lambda hit: hit.copy_from(Document(text="new")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changing_a_result_changes_nothing_else(da, change):
    for found in (da.find(QUERY), da.find(VECTORS)[1], da.find(da)[2], da.find(QUERY, filter={"text": "ta"})):
        before = da.find(QUERY)[0].text

        CHANGES[change](found[0])
        found.reverse()

        assert "ta" == before
        unchanged(da)


def test_two_results_of_one_document_share_nothing(da):
    one, other = da.find(np.array([QUERY, QUERY]), limit=1)

    CHANGES["deep tags"](one[0])
    CHANGES["embedding in place"](one[0])
    CHANGES["text of a chunk"](one[0])

    assert ([5], [1, 0], "a0") == (
        other[0].tags["deep"]["list"], other[0].embedding.tolist(), other[0].chunks[0].text,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["numpy", "torch", "list", "sparse"])
def test_the_tensor_of_a_result_cannot_change_the_source(da, kind, request):
    if kind == "torch":
        values = request.getfixturevalue("torch").tensor(VECTORS)
    else:
        values = {"numpy": VECTORS.copy(), "list": VECTORS.tolist(), "sparse": sparse.csr_array(VECTORS)}[
            kind
        ]
    da[:, "tensor"] = values
    hit = da.find(QUERY)[0]

    if kind == "numpy":
        with pytest.raises(ValueError):
            hit.tensor[0] = 99
    else:
        tensor = hit.tensor.data if kind == "sparse" else hit.tensor
        tensor[0] = 99

    kept = da[0].tensor.toarray()[0] if kind == "sparse" else da[0].tensor
    assert [1, 0] == [float(x) for x in kept]


def test_chunks_of_a_result_are_those_of_the_search(da):
    hit = da.find(QUERY)[0]
    other = da.find(QUERY, limit=2)[1]

    da[0].chunks.clear()
    da[1].chunks = None

    assert (["a0", "a1"], ["b0", "b1"]) == (ids(hit.chunks), ids(other.chunks))
    assert "chunks" in hit.non_empty_fields


def test_results_can_be_searched_again(da):
    found = da.find(QUERY, limit=3).find(np.array([0.0, 1.0]), limit=2)

    assert ["c", "b"] == ids(found)
    assert ["c0", "c1"] == ids(found[0].chunks)
    found[0].chunks[0].text = "new"
    unchanged(da)


def test_changes_are_found(da):
    assert IDS == ids(da.find(QUERY))

    da[4].embedding = QUERY.copy()
    assert ["a", "e", "b", "c", "d"] == ids(da.find(QUERY))

    da[0].embedding[:] = [0, 1]
    assert ["e", "b", "c", "d", "a"] == ids(da.find(QUERY))

    da.append(Document(id="n", embedding=np.array([2.0, 0.0])))
    del da["e"]
    assert ["n", "b"] == ids(da.find(QUERY, limit=2))


def test_a_matrix_that_is_changed_by_its_owner_is_searched_as_it_is():
    matrix = np.eye(3)
    da = DocumentArray.from_columns(id=["a", "b", "c"], embedding=matrix)
    assert "a" == da.find(np.array([1.0, 0.1, 0.0]))[0].id

    matrix[:] = np.eye(3)[::-1] * [[100], [1], [0.01]]

    for metric in ("cosine", "euclidean", "sqeuclidean"):
        found = da.find(np.array([1.0, 0.1, 0.0]), metric)
        wanted = distance.cdist([[1.0, 0.1, 0.0]], matrix, metric)[0]
        assert ["abc"[at] for at in np.argsort(wanted, kind="stable")] == ids(found)
        np.testing.assert_allclose(np.sort(wanted), [hit.scores[metric].value for hit in found], atol=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_large_matrix_that_is_changed_by_its_owner_is_searched_as_it_is(metric):
    rng = np.random.default_rng(0)
    matrix, query = rng.random((5_000, 8)), rng.random(8)
    da = DocumentArray.from_columns(embedding=matrix)
    assert 20 == len(da.find(query, metric))

    matrix[:] = rng.random((5_000, 8)) * 10 ** rng.uniform(-3, 3, (5_000, 1))

    wanted = np.sort(distance.cdist(query[None], matrix, metric)[0])[:20]
    np.testing.assert_allclose(wanted, [hit.scores[metric].value for hit in da.find(query, metric)])


# --- nothing to search --------------------------------------------------------------------------------------


def test_an_empty_array_finds_nothing():
    da = DocumentArray()

    assert (
        [] == ids(da.find(QUERY)) == ids(da.find({"text": "a"})) == ids(da.find(QUERY, filter={"text": "a"}))
    )
    assert [[], []] == [ids(part) for part in da.find(VECTORS[:2])]
    assert [[]] == [ids(part) for part in da.find(Document(embedding=QUERY))]


def test_an_empty_query_finds_nothing(da):
    assert [] == da.find(DocumentArray()) == da.find(np.zeros((0, 2)))


def test_a_filter_that_keeps_none_finds_nothing(da):
    nobody = {"text": "nobody"}

    assert [] == ids(da.find(nobody)) == ids(da.find(QUERY, filter=nobody))
    assert [[]] * 5 == [ids(part) for part in da.find(da, filter=nobody)]
    assert [] == ids(da.find(QUERY, filter=nobody, normalization=(1, 0)))
    da.embeddings = VECTORS.tolist()
    assert [] == ids(da.find(QUERY, filter=nobody))
    da.embeddings = None
    assert [] == ids(da.find(QUERY, filter=nobody))


@pytest.mark.parametrize(
    ("query", "options", "error"),
    [
        (None, {}, BadValue),
        (None, {"filter": "text == 'a'"}, BadValue),
        (None, {"filter": 3}, BadValue),
        ({"text": "a"}, {"filter": {"text": "a"}}, BadValue),
        ("words", {"index": "txt"}, UnknownField),
        (["words", 3], {}, FieldTypeError),
        (QUERY, {"text": ["one", "for", "each"]}, LengthError),
        (QUERY, {"text": "words", "fusion": "rff"}, UnknownName),
        (np.ones(3), {}, ShapeError),
        (np.ones((2, 3)), {}, ShapeError),
        ([], {}, ShapeError),
        (Document(embedding=np.ones(3)), {}, ShapeError),
        (Document(), {}, MissingEmbedding),
        (DocumentArray([Document(embedding=QUERY), Document()]), {}, MissingEmbedding),
        (3, {}, FieldTypeError),
        (object(), {}, FieldTypeError),
        (np.array(3.0), {}, FieldTypeError),
        (np.array(["a", "b"]), {}, FieldTypeError),
        ([1.0, "a"], {}, FieldTypeError),
        (QUERY, {"metric": "cosin"}, UnknownMetric),
        (QUERY, {"metric": 3}, DocArrayError),
        (QUERY, {"metric": lambda x, y: np.zeros((7, 7))}, ShapeError),
        (QUERY, {"filter": {"text": {"$bogus": 1}}}, BadFilter),
        (QUERY, {"filter": {"txt": 1}}, UnknownField),
        (QUERY, {"filter": "text"}, DocArrayError),
        (QUERY, {"on": "chunks"}, BadValue),
        (QUERY, {"on": "@x"}, BadValue),
        (QUERY, {"on": "@c", "metric": "cosin"}, UnknownMetric),
        ({"text": "ta"}, {"sort": "txt"}, UnknownField),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, dict) else ",".join(map(str, one)),
)
def test_a_bad_search_is_an_error_and_changes_nothing(da, query, options, error):
    with pytest.raises(error) as caught:
        da.find(query, **options)
    assert isinstance(caught.value, DocArrayError)
    unchanged(da)


def test_errors_are_those_that_one_would_catch(da):
    with pytest.raises(NotImplementedError, match=r"cosin.*cosine"):
        da.find(QUERY, metric="cosin")
    with pytest.raises(ValueError, match="3 dimensions; the documents have 2"):
        da.find(np.ones(3))


def test_missing_embeddings_are_named(da):
    da[1].embedding = da[3].embedding = None

    with pytest.raises(ValueError, match=r"Document\[1, 3\]\.embedding is None.*'b'"):
        da.find(QUERY)
    assert ["a", "c", "e"] == ids(da.find(QUERY, filter={"embedding": {"$exists": True}}))
    assert ["a", "c", "e"] == ids(da.find(QUERY, filter={"id": {"$in": ["a", "c", "e"]}}))
    with pytest.raises(ValueError, match=r"Document\[1\]\.embedding is None"):
        da.find(QUERY, filter={"id": {"$in": ["a", "b"]}})


def test_a_filter_comes_first(da):
    cheap = {"tags__price": {"$lte": 3}}

    assert ["c", "d", "e"] == ids(da.find(QUERY, filter=cheap)) == ids(da.find(QUERY, filter=cheap, limit=3))
    assert ["c"] == ids(da.find(QUERY, filter=cheap, limit=1))
    assert [["c"], ["e"]] == [ids(part) for part in da.find(VECTORS[[0, 4]], filter=cheap, limit=1)]
    assert ids(da.find(cheap).find(QUERY)) == ids(da.find(QUERY, filter=cheap))
    assert IDS == ids(da.find(QUERY, filter={}))


# --- along a path -------------------------------------------------------------------------------------------


def test_on_searches_what_is_nested(da):
    found = da.find(QUERY, on="@c", limit=3)

    assert ["d1", "d0", "c1"] == ids(found)
    assert ["d1"] == ids(da.find(QUERY, on="@c[1]", limit=1))
    assert [["d1"], ["a0"]] == [
        ids(part) for part in da.find(np.array([QUERY, QUERY[::-1]]), on="@c", limit=1)
    ]
    assert IDS == ids(da.find(QUERY, on="@r"))
    assert [] == ids(da.find(QUERY, on="@m"))


def test_on_takes_every_option(da):
    found = da.find(
        QUERY, "euclidean", limit=2, metric_name="mine", filter={"text": {"$startswith": "a"}}, on="@c", use_scipy=True,
        normalization=(1, 0), batch_size=1, only_id=True,
    )  # fmt: skip

    assert (["a1", "a0"], [1.0, 0.0]) == (ids(found), [hit.scores["mine"].value for hit in found])
    assert ["b1", "b0"] == ids(da.find({"text": {"$startswith": "b"}}, on="@c", sort="-text"))
    assert [["d0", "c1", "c0"]] == [
        ids(part) for part in da.find(da["@c"][-1:], on="@c", exclude_self=True, limit=3)
    ]


def test_return_root_gives_the_documents_of_the_hits_in_order(da):
    found = da.find(QUERY, on="@c", return_root=True, limit=3)

    assert ["d", "d", "c"] == ids(found)
    chunks = da.find(QUERY, on="@c", limit=3)
    assert [hit.scores["cosine"] for hit in chunks] == [hit.scores["cosine"] for hit in found]
    assert [["d", "d"], ["a", "a"]] == [
        ids(part) for part in da.find(np.array([QUERY, QUERY[::-1]]), on="@c", return_root=True, limit=2)
    ]
    assert ["d", "d"] == ids(da.find(QUERY, on="@c", return_root=True, only_id=True, limit=2))
    unchanged(da)


def test_return_root_of_a_filter_gives_the_documents_themselves(da):
    found = da.find({"text": {"$in": ["b1", "a0"]}}, on="@c", return_root=True)

    assert ["a", "b"] == ids(found)
    assert (found[0] is da[0], found[1] is da[1]) == (True, True)


def test_return_root_with_slices_and_deeper_paths(da):
    da[1].chunks[0].chunks.append(Document(id="deep", embedding=QUERY.copy()))

    assert ["b"] == ids(da.find(QUERY, on="@cc", return_root=True))
    assert ["b", "b"] == ids(da.find(QUERY, on="@r[1:2]c", return_root=True))
    assert ["d"] == ids(da.find(QUERY, on="@r[::-1]c", return_root=True, limit=1))


def test_return_root_where_chunks_of_several_documents_have_one_id():
    da = DocumentArray(
        [Document(id=one, chunks=[Document(id="c", embedding=VECTORS[at])]) for at, one in enumerate("abc")]
    )

    assert ["a", "b", "c"] == ids(da.find(QUERY, on="@c", return_root=True))


# --- match --------------------------------------------------------------------------------------------------


def test_match_sets_the_nearest_as_matches(da):
    query = DocumentArray([Document(embedding=QUERY), Document(embedding=QUERY[::-1].copy())])

    assert query.match(da, limit=2) is None

    assert [["a", "b"], ["e", "d"]] == [ids(doc.matches) for doc in query]
    assert [1, 1] == [match.adjacency for match in query[0].matches]
    assert query[0].matches.reference_doc is query[0]
    unchanged(da)


def test_match_takes_the_options_of_find(da):
    query = DocumentArray([da[0]])
    options = {
        "metric": "euclidean", "limit": 2, "normalization": (1, 0), "metric_name": "mine", "batch_size": 2,
        "exclude_self": True, "filter": {"tags__price": {"$gt": 1}}, "only_id": True, "use_scipy": True,
        "device": "cpu", "num_worker": 2,
    }  # fmt: skip

    query.match(da, **options)

    assert ["b", "c"] == ids(query[0].matches)
    assert ("id", "adjacency", "scores") == query[0].matches[0].non_empty_fields
    assert 1.0 > query[0].matches[0].scores["mine"].value > query[0].matches[1].scores["mine"].value


def test_match_on_a_path(da):
    query = DocumentArray([Document(embedding=QUERY)])

    query.match(da, on="@c", limit=2)

    assert ["d1", "d0"] == ids(query[0].matches)


def test_match_takes_the_place_of_earlier_matches(da):
    da.match(da, limit=3)
    da.match(da, limit=1)

    assert [[one] for one in IDS] == [ids(doc.matches) for doc in da]


def test_match_against_itself_never_becomes_recursive(da):
    for _ in range(2):
        da.match(da, limit=3)

    assert (15, 0) == (len(da["@m"]), len(da["@mm"]))
    assert 20 == len(da["@r,m,mm,mmm"])


def test_match_with_nothing_changes_nothing(da):
    da[0].matches.append(Document(id="kept"))

    for nothing in (DocumentArray(), None):
        da.match(nothing)
    DocumentArray().match(da)

    assert ["kept"] == ids(da[0].matches)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"metric": "cosin"}, UnknownMetric), ({"limit": 0}, BadValue), ({"filter": {"a": 1}}, UnknownField),
     ({"batch_size": 0}, BadValue), ({"on": "c"}, BadValue)],
)  # fmt: skip
def test_a_bad_match_keeps_earlier_matches(da, options, error):
    da.match(da, limit=1)

    with pytest.raises(error):
        da.match(da, **options)

    assert [[one] for one in IDS] == [ids(doc.matches) for doc in da]


def test_match_without_embeddings(da):
    with pytest.raises(MissingEmbedding):
        da.match(DocumentArray([Document()]))
    with pytest.raises(MissingEmbedding):
        DocumentArray([Document()]).match(da)
    unchanged(da)


# --- filters ------------------------------------------------------------------------------------------------

ROWS = {
    "id": list("abcdef"),
    "text": ["red apple", "Green pear", "", "red pear", None, "{x}"],
    "weight": [1.0, 2.5, None, 0.0, -1.0, 2.5],
    "uri": ["a.png", None, None, "d.png", None, None],
    "tags": [
        {"price": 3, "low": 2, "kind": "x", "list": [1, 2], "flag": True, "deep": {"a": [0, {"b": "z"}]}},
        {"price": 2.5, "low": 3, "kind": "y", "list": [1], "flag": False},
        {"price": None, "kind": "x", "list": []},
        {"price": "3", "low": "3", "kind": None, "list": "ab"},
        {},
        {"price": 3, "low": 3, "kind": "X", "list": {"k": 1}, "k.y": 1, "a__b": 2, "$x": 1},
    ],
    "blob": [None, None, b"blob", None, b"", None],
    "chunks": [[Document(text="c")], [Document(text="c"), Document(text="d")], [], None, [], []],
}

FILTERS = [
    ({"text": {"$eq": "red apple"}}, "a"),
    ({"text": "red apple"}, "a"),
    ({"text": ""}, "ce"),
    ({"text": {"$neq": "red apple"}}, "bcdef"),
    ({"text": {"$ne": "red apple"}}, "bcdef"),
    ({"tags__price": 3}, "af"),
    ({"tags__price": 3.0}, "af"),
    ({"tags__price": "3"}, "d"),
    ({"tags__price": None}, "ce"),
    ({"tags__price": {"$ne": 3}}, "bcde"),
    ({"tags__price": {"$gt": 2.5}}, "af"),
    ({"tags__price": {"$gte": 2.5}}, "abf"),
    ({"tags__price": {"$lt": 3}}, "b"),
    ({"tags__price": {"$lte": 3}}, "abf"),
    ({"tags__price": {"$gt": "2"}}, "d"),
    ({"tags__price": {"$gt": 2, "$lt": 3}}, "b"),
    ({"weight": {"$gt": 0}}, "abf"),
    ({"weight": {"$lte": 0}}, "cde"),
    ({"weight": 0}, "cd"),
    ({"tags__kind": {"$in": ["x", "y"]}}, "abc"),
    ({"tags__kind": {"$nin": ["x", "y"]}}, "def"),
    ({"tags__kind": {"$in": []}}, ""),
    ({"tags__kind": {"$in": [None]}}, "de"),
    ({"tags__kind": {"$in": ("x",)}}, "ac"),
    ({"text": {"$regex": "^red"}}, "ad"),
    ({"text": {"$regex": "pea"}}, "bd"),
    ({"tags__kind": {"$regex": "(?i)x"}}, "acf"),
    ({"tags__list": {"$size": 2}}, "ad"),
    ({"tags__list": {"$size": 0}}, "c"),
    ({"chunks": {"$size": 2}}, "b"),
    ({"tags__price": {"$size": 1}}, "d"),
    ({"text": {"$exists": True}}, "abdf"),
    ({"text": {"$exists": False}}, "ce"),
    ({"weight": {"$exists": True}}, "abef"),
    ({"uri": {"$exists": True}}, "ad"),
    ({"chunks": {"$exists": True}}, "ab"),
    ({"tags": {"$exists": False}}, "e"),
    ({"blob": {"$exists": True}}, "c"),
    ({"embedding": {"$exists": True}}, ""),
    ({"tags__price": {"$exists": True}}, "abdf"),
    ({"tags__price": {"$exists": False}}, "ce"),
    ({"tags__flag": {"$exists": True}}, "ab"),
    ({"tags__flag": True}, "a"),
    ({"tags__list": {"$contains": 1}}, "ab"),
    ({"text": {"$contains": "pear"}}, "bd"),
    ({"text": {"$contains": "green"}}, ""),
    ({"text": {"$icontains": "green"}}, "b"),
    ({"text": {"$startswith": "red"}}, "ad"),
    ({"text": {"$istartswith": "GREEN"}}, "b"),
    ({"text": {"$endswith": "pear"}}, "bd"),
    ({"text": {"$iendswith": "PEAR"}}, "bd"),
    ({"tags__deep__a__1__b": "z"}, "a"),
    ({"tags__list__0": 1}, "ab"),
    ({"tags__list__9": {"$exists": True}}, ""),
    ({"tags__nothing": 1}, ""),
    ({"tags__nothing__deeper": {"$gt": 1}}, ""),
    ({"chunks__0__text": "c"}, "ab"),
    ({"chunks__1__text": {"$exists": True}}, "b"),
    ({"tags__price": {"$eq": "{tags__low}"}}, "cdef"),
    ({"tags__price": {"$gt": "{tags__low}"}}, "a"),
    ({"tags__price": {"$lt": {"$field": "tags__low"}}}, "b"),
    ({"id": {"$in": ["a", "z", "f"]}}, "af"),
    ({"id": {"$gt": "c"}}, "def"),
    ({"mime_type": "image/png"}, "ad"),
    ({"$and": [{"tags__kind": "x"}, {"tags__price": 3}]}, "a"),
    ({"$and": {"tags__kind": "x", "tags__price": 3}}, "a"),
    ({"$or": [{"tags__kind": "y"}, {"tags__price": 3}]}, "abf"),
    ({"$or": {"tags__kind": "y", "tags__price": 3}}, "abf"),
    ({"$not": {"tags__kind": "x"}}, "bdef"),
    ({"$not": [{"tags__kind": "x"}, {"tags__price": 3}]}, "bcdef"),
    ({"tags__price": {"$not": {"$gt": 2.5}}}, "bcde"),
    ({"tags__kind": "x", "tags__price": 3}, "a"),
    ({"$or": [{"$and": [{"text": {"$regex": "pear"}}, {"weight": 0}]}, {"$not": {"uri": ""}}]}, "ad"),
    ({"text": "{x}"}, "f"),
    ({}, "abcdef"),
]


def rows(kind):
    if kind == "objects":
        return DocumentArray(
            Document({name: values[at] for name, values in ROWS.items()}, copy=True) for at in range(6)
        )
    chunks = [None if one is None else [Document(text=chunk.text) for chunk in one] for one in ROWS["chunks"]]
    da = DocumentArray.from_columns(**{**ROWS, "chunks": chunks})
    if kind == "touched":
        assert da[3].text == "red pear"
    return da


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("condition", "wanted"), FILTERS, ids=str)
def test_filters(kind, condition, wanted):
    da = rows(kind)

    found = da.find(condition)

    assert (
        list(wanted) == ids(found) == ids(da.find(filter=condition)) == ids(da.find(None, filter=condition))
    )
    assert all(doc is da[doc.id] for doc in found)
    assert list(wanted)[:1] == ids(da.find(condition, limit=1))


BAD_FILTERS = [
    {"text": {"$bogus": 1}},
    {"$bogus": [{"text": "a"}]},
    {"text": {"eq": 1}},
    {"text": {"$exists": 1}},
    {"text": {"$exists": "true"}},
    {"text": {"$size": "1"}},
    {"text": {"$size": 1.5}},
    {"text": {"$size": {"$gt": 1}}},
    {"text": {"$regex": "("}},
    {"text": {"$regex": 3}},
    {"text": {"$in": 3}},
    {"text": {"$in": "abc"}},
    {"text": {"$startswith": 3}},
    {"$and": 3},
    {"$and": ["a"]},
    {"$or": [3]},
    {"$not": 3},
    {"text": {}},
    {3: "a"},
    {"txt": "a"},
    {"no__such": 1},
    {"": 1},
    {"text": {"$eq": {"$field": "txt"}}},
]


@pytest.mark.parametrize("condition", BAD_FILTERS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_filters(kind, condition):
    da = rows(kind)
    before = ids(da)

    for search in (
        lambda: da.find(condition),
        lambda: da.find(filter=condition),
        lambda: DocumentArray().find(condition),
    ):
        with pytest.raises(DocArrayError) as caught:
            search()
        assert isinstance(caught.value, (ValueError, AttributeError, TypeError))
    assert before == ids(da)


def test_a_bad_operator_names_the_closest(da):
    with pytest.raises(ValueError, match=r"'\$gtt'.*'\$gte?'"):
        da.find({"tags__price": {"$gtt": 1}})


def test_what_is_wrong_is_told_before_an_empty_array_is_searched():
    with pytest.raises(BadFilter):
        DocumentArray().find(QUERY, filter={"text": {"$bogus": 1}})
    with pytest.raises(UnknownMetric):
        DocumentArray().find(QUERY, metric="cosin")


def test_a_filter_sees_what_was_changed(da):
    assert ["c", "d", "e"] == ids(da.find({"tags__price": {"$lt": 4}}))

    da[0].tags["price"] = 0
    del da["c"].tags["price"]
    da["e"].tags = {"price": 9}

    assert ["a", "d"] == ids(da.find({"tags__price": {"$lt": 4}}))


def test_a_filter_sees_what_was_changed_below(da):
    da["@c"][0].text = "new"

    assert ["a"] == ids(da.find({"chunks__0__text": "new"}))
    assert ["new"] == [hit.chunks[0].text for hit in da.find(QUERY, limit=1)]


def test_sort_and_limit_of_a_filter(da):
    cheap = {"tags__price": {"$lt": 5}}

    assert ["e", "d", "c", "b"] == ids(da.find(cheap, sort="tags__price"))
    assert ["e", "d"] == ids(da.find(cheap, sort="tags__price", limit=2))
    assert ["b", "c"] == ids(da.find(cheap, sort="-tags__price", limit=2))
    assert ["e", "d", "c", "b"] == ids(da.find(cheap, sort=["weight", "-id"]))
    assert ["b", "c"] == ids(da.find(filter=cheap, limit=2))
    assert ["e", "d", "c", "b", "a"] == ids(da.find({}, sort=["tags__price"]))


def test_what_a_filter_keeps_are_the_documents_themselves(da):
    found = da.find({"tags__price": {"$gt": 3}})

    found[0].text = "new"
    found.append(Document())

    assert ("new", 5) == (da[0].text, len(da))


# --- laws ---------------------------------------------------------------------------------------------------

numbers = st.integers(-3, 3).map(float)


@given(
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12),
    st.tuples(numbers, numbers),
    st.sampled_from(["cosine", "euclidean", "sqeuclidean"]),
    st.integers(1, 14),
    st.sampled_from([None, {"tags__k": {"$gt": 2}}]),
)
def test_search_is_sorting_by_distance(vectors, query, metric, limit, condition):
    """The first of all documents in the order (distance, position), whatever they are held as."""
    matrix = np.array(vectors)
    objects = DocumentArray(
        Document(id=str(at), embedding=np.array(row), tags={"k": at}) for at, row in enumerate(vectors)
    )
    columns = DocumentArray.from_columns(
        id=list(map(str, range(len(vectors)))),
        embedding=matrix,
        tags=[{"k": at} for at in range(len(vectors))],
    )

    all_of_them = objects.find(np.array(query), metric, limit=None)
    kept = [doc for doc in all_of_them if condition is None or doc.tags["k"] > 2][:limit]

    values = [hit.scores[metric].value for hit in all_of_them]
    assert sorted(zip(values, map(int, ids(all_of_them)), strict=True)) == list(
        zip(values, map(int, ids(all_of_them)), strict=True)
    )
    for da in (objects, columns):
        found = da.find(np.array(query), metric, limit=limit, filter=condition)
        assert [doc.id for doc in kept] == ids(found)
        assert [doc.scores[metric] for doc in kept] == [doc.scores[metric] for doc in found]


def test_sorting_and_a_vector_do_not_go_together(da):
    with pytest.raises(BadValue, match="nearest first"):
        da.find(QUERY, sort="tags__price")
