from __future__ import annotations

import functools
import inspect
import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray, metrics
from docarray.errors import (
    BadValue,
    FieldTypeError,
    LengthError,
    MissingEmbedding,
    MissingGroundTruth,
    ShapeError,
    UnknownMetric,
)

EVERY = [name for name in metrics.__all__ if name != "metric_by_name"]


def queries(*found):
    """Documents q0, q1, ... with matches of these ids, a letter each."""
    return DocumentArray(
        [Document(id=f"q{i}", matches=[Document(id=key) for key in keys]) for i, keys in enumerate(found)]
    )


def labelled(label, *labels):
    """A document of a label with matches of labels."""
    return Document(tags={"label": label}, matches=[Document(tags={"label": each}) for each in labels])


def state(da):
    """What an evaluation may change."""
    return [
        (
            doc.id,
            None if doc.embedding is None else np.array(doc.embedding).tolist(),
            doc.matches[:, "id"],
            {name: score.to_dict() for name, score in doc.evaluations.items()},
        )
        for doc in da
    ]


# --- the numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "keywords", "expected"),
    [
        # q0 finds a, x, b, y; right are a and b. q1 finds x, y, c; right are c, d and e.
        ("precision_at_k", {}, (1 / 2, 1 / 3)),
        ("precision_at_k", {"k": 3}, (2 / 3, 1 / 3)),
        ("precision_at_k", {"k": 1}, (1, 0)),
        ("r_precision", {}, (1 / 2, 0)),
        ("hit_at_k", {"k": 2}, (1, 0)),
        ("average_precision", {}, ((1 + 2 / 3) / 2, 1 / 3)),
        ("reciprocal_rank", {}, (1, 1 / 3)),
        ("recall_at_k", {}, (1, 1 / 3)),
        ("recall_at_k", {"k": 2}, (1 / 2, 0)),
        ("recall_at_k", {"max_rel": 4}, (1 / 2, 1 / 4)),
        ("f1_score_at_k", {"k": 3}, (2 * (2 / 3) * 1 / (2 / 3 + 1), 1 / 3)),
        ("dcg_at_k", {"method": 1}, (1 + 1 / np.log2(4), 1 / np.log2(4))),
        ("ndcg_at_k", {}, ((1 + 1 / np.log2(3)) / 2, 1 / np.log2(3))),
    ],
)
def test_metrics_against_ground_truth(metric, keywords, expected):
    da, truth = queries("axby", "xyc"), queries("ab", "cde")

    result = da.evaluate([metric], truth, **keywords)

    assert {metric: pytest.approx(sum(expected) / 2)} == result
    for doc, value in zip(da, expected, strict=True):
        score = doc.evaluations[metric]
        assert (pytest.approx(value), metric, doc.id) == (score.value, score.op_name, score.ref_id)


def test_metrics_against_labels():
    da = DocumentArray([labelled("a", "a", "b", "a"), labelled(0, 1, 0, 0), labelled("", "", "x", "")])

    result = da.evaluate(["precision_at_k", "reciprocal_rank"])

    assert {
        "precision_at_k": pytest.approx(2 / 3),
        "reciprocal_rank": pytest.approx((1 + 0.5 + 1) / 3),
    } == result


def test_several_metrics_are_asked_in_one_call():
    """Each gets the keywords that it takes: reciprocal_rank has no k."""
    da, truth = queries("axby"), queries("ab")

    result = da.evaluate(EVERY, truth, k=2, method=1)

    assert EVERY == list(result)
    for name, value in result.items():
        taken = {"k": 2, "method": 1, "max_rel": 2}
        assert metrics.metric_by_name(name)([1, 0, 1, 0], **taken) == pytest.approx(value), name


def test_evaluations_are_kept_beside_those_of_before():
    da = queries("ab")
    da[0].evaluations["mine"] = 0.3

    da.evaluate(["precision_at_k"], queries("a"))
    da.evaluate(["precision_at_k", "hit_at_k"], queries("z"), k=1)

    assert {"mine": 0.3, "precision_at_k": 0.0, "hit_at_k": 0.0} == {
        name: score.value for name, score in da[0].evaluations.items()
    }


def test_ground_truth_comes_before_labels():
    doc = labelled("a", "b")
    doc.matches[0].id = "m"
    truth = DocumentArray([Document(id=doc.id, matches=[Document(id="m")])])

    assert {"hit_at_k": 1.0} == DocumentArray([doc]).evaluate(["hit_at_k"], truth)


def test_ground_truth_without_matches_leaves_it_to_labels():
    da = DocumentArray([labelled("a", "a", "b")])

    assert {"precision_at_k": 0.5} == da.evaluate(["precision_at_k"], DocumentArray([Document()]))
    assert {"precision_at_k": 0.5} == da.evaluate(["precision_at_k"], DocumentArray())


def test_labels_are_found_by_another_tag_and_by_path():
    tags = [{"kind": {"of": 1}, "a__b": 2}, {"kind": {"of": 1}, "a__b": 3}]
    da = DocumentArray([Document(tags=tags[0], matches=[Document(tags=tags[1])])])

    assert {"hit_at_k": 1.0} == da.evaluate(["hit_at_k"], label_tag="kind__of")
    assert {"hit_at_k": 0.0} == da.evaluate(["hit_at_k"], label_tag="a__b")


def test_labels_that_cannot_be_keys_can_be_compared():
    da = DocumentArray([labelled(["a", "b"], ["a", "b"], ["a"])])

    assert {"precision_at_k": 0.5} == da.evaluate(["precision_at_k"])
    with pytest.raises(BadValue, match="no number for"):
        da.evaluate(["recall_at_k"], num_relevant_documents_per_label={"a": 1})

    points_of_lists = points(3)
    points_of_lists[:, "tags__label"] = [[1], [2], [1]]
    assert ["hit_at_k"] == list(points_of_lists.embed_and_evaluate(["hit_at_k"], embed_models=same))
    with pytest.raises(BadValue, match="num_relevant_documents_per_label"):
        points_of_lists.embed_and_evaluate(["recall_at_k"], embed_models=same)


def test_documents_of_columns_are_evaluated():
    da = DocumentArray.from_bytes(queries("ax", "xb").to_bytes())

    assert {"reciprocal_rank": 0.75} == da.evaluate(["reciprocal_rank"], queries("a", "b"))
    assert 0.5 == da["q1"].evaluations["reciprocal_rank"].value


# --- what counts as the same, and how many there are ------------------------------------------------------


def test_hash_fn_says_what_counts_as_the_same():
    da = DocumentArray([Document(text="Q", matches=[Document(text="a"), Document(text="b")])])
    truth = DocumentArray([Document(text="Q", matches=[Document(text="B"), Document(text="c")])])

    def text(doc):
        return doc.text.lower()

    assert {"recall_at_k": 0.5, "reciprocal_rank": 0.5} == da.evaluate(
        ["recall_at_k", "reciprocal_rank"], truth, hash_fn=text
    )


def test_ground_truth_that_meets_itself_is_warned_of():
    da, truth = queries("ab"), queries("aab")

    with pytest.warns(UserWarning, match="'q0'.*only 2 differ") as caught:
        da.evaluate(["precision_at_k"], truth)
    assert __file__ == caught[0].filename


def test_max_rel_by_label():
    da = DocumentArray([labelled("a", "a", "b"), labelled("b", "b", "b")])

    result = da.evaluate(["recall_at_k"], num_relevant_documents_per_label={"a": 4, "b": 2, "c": 9})

    assert {"recall_at_k": (1 / 4 + 1) / 2} == result
    with pytest.raises(BadValue, match="no number for 'b'"):
        da.evaluate(["recall_at_k"], num_relevant_documents_per_label={"a": 4})


def test_labels_alone_do_not_say_how_many_are_relevant():
    da = DocumentArray([labelled("a", "a")])

    with pytest.raises(BadValue, match="num_relevant_documents_per_label"):
        da.evaluate(["recall_at_k"])
    assert {"recall_at_k": 0.5} == da.evaluate(["recall_at_k"], max_rel=2)


# --- metrics of any kind ----------------------------------------------------------------------------------


def test_a_metric_is_any_callable():
    """Partials and builtins had no `__code__`, and failed."""

    class Share:
        def __call__(self, relevance):
            return np.float32(sum(relevance) / len(relevance))

    share = Share()
    share_of = metrics.precision_at_k
    asked = [share, sum, max, len, share_of, functools.partial(share_of, k=1), lambda found, *, k=3: found[k]]
    names = ["share", "sum", "max", "len", "house", "first", "third"]

    result = queries("axbb").evaluate(asked, queries("ab"), metric_names=names)

    assert {"share": 0.75, "sum": 3, "max": 1, "len": 4, "house": 0.75, "first": 1.0, "third": 1} == result


def test_default_names_are_the_names_of_the_functions():
    def mine(relevance):
        return 1

    asked = [mine, functools.partial(functools.partial(metrics.hit_at_k, k=3)), sum, "dcg_at_k"]
    da = queries("a")

    assert ["mine", "hit_at_k", "sum", "dcg_at_k"] == list(da.evaluate(asked, queries("a")))
    assert "hit_at_k" == da[0].evaluations["hit_at_k"].op_name


def test_what_a_partial_has_bound_stays_bound():
    first = functools.partial(metrics.precision_at_k, k=1)
    total = functools.partial(metrics.recall_at_k, max_rel=10)

    result = queries("axb").evaluate(
        [first, "hit_at_k", total], queries("ab"), metric_names=["p", "h", "r"], k=3
    )

    assert {"p": 1.0, "h": 1.0, "r": 0.2} == result


def test_max_rel_goes_to_those_that_name_it():
    seen = []

    def naming(relevance, max_rel):
        seen.append(max_rel)
        return 0

    def with_default(relevance, max_rel=None):
        seen.append(max_rel)
        return 0

    def taking_all(relevance, **kwargs):
        seen.append(kwargs)
        return 0

    queries("ab").evaluate([naming, with_default, taking_all], queries("axy"), k=5)
    DocumentArray([labelled("a", "a")]).evaluate([with_default])

    assert [3, 3, {"k": 5}, None] == seen


def test_a_metric_gets_a_list_of_its_own():
    def spoiling(relevance):
        assert [1, 0] == relevance
        relevance.clear()
        return 0

    def after(relevance):
        return len(relevance)

    assert 2 == queries("ax").evaluate([spoiling, after], queries("a"))["after"]


@pytest.mark.parametrize("value", [None, "0.5", [1], object()])
def test_a_metric_gives_a_number(value):
    def odd(relevance):
        return value

    da = queries("a", "b")
    before = state(da)

    with pytest.raises(FieldTypeError) as caught:
        da.evaluate(["hit_at_k", odd], queries("a", "b"))
    assert "'odd', for document 'q0'" in caught.value.__notes__[0]
    assert before == state(da)


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "builtin", "match"),
    [
        (lambda da: DocumentArray().evaluate(["hit_at_k"], da), BadValue, ValueError, "empty"),
        (lambda da: da.evaluate(["hit_at_k"]), MissingGroundTruth, RuntimeError, "'label', first 'q0'"),
        (lambda da: da.evaluate([], da), BadValue, ValueError, "no metrics"),
        (lambda da: da.evaluate(None, da), BadValue, ValueError, "no metrics"),
        (lambda da: da.evaluate(["hit"], da), UnknownMetric, ValueError, "hit_at_k"),
        (lambda da: da.evaluate([3], da), FieldTypeError, TypeError, "metric 0 is a int"),
        (lambda da: da.evaluate(3, da), FieldTypeError, TypeError, "list"),
        (lambda da: da.evaluate(["hit_at_k"], [1]), FieldTypeError, TypeError, "ground_truth"),
        (lambda da: da.evaluate(["hit_at_k"], da[:1]), LengthError, ValueError, "2 documents and 1 of"),
        (lambda da: da.evaluate(["hit_at_k"], da[::-1]), BadValue, ValueError, "'q0' stands against 'q1'"),
        (lambda da: da.evaluate(["hit_at_k"], queries("a", "")), BadValue, ValueError, "'q1' of the ground"),
        (lambda da: queries("a", "").evaluate(["hit_at_k"], da), BadValue, ValueError, "1 of 2.*'q1'"),
        (
            lambda da: da.evaluate(["hit_at_k"], da, metric_names=["a", "b"]),
            LengthError,
            ValueError,
            "1 metrics",
        ),
        (lambda da: da.evaluate(["hit_at_k", sum, sum], da), BadValue, ValueError, "two metrics.*'sum'"),
        (lambda da: da.evaluate(["hit_at_k"], da, kk=3), FieldTypeError, TypeError, "'kk'. Did you mean 'k'"),
        (lambda da: da.evaluate([sum], da, k=3), FieldTypeError, TypeError, "'k'"),
        (lambda da: da.evaluate(["hit_at_k"], da, k=0), BadValue, ValueError, "k must be"),
        (lambda da: da.evaluate(["recall_at_k"], da, max_rel=0), BadValue, ValueError, "max_rel"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_nothing_is_written(call, error, builtin, match):
    da = queries("ab", "bc")
    da.evaluate(["precision_at_k"], da)
    before = state(da)

    with pytest.raises(error, match=match):
        call(da)
    with pytest.raises(builtin):
        call(da)
    assert before == state(da)


def test_labels_that_are_missing_are_named():
    da = DocumentArray([labelled("a", "a"), Document(id="q", tags={"label": None}, matches=[Document()])])

    with pytest.raises(MissingGroundTruth, match=r"1 of 2.*'q'"):
        da.evaluate(["hit_at_k"])

    da[1].tags["label"] = "a"
    da[1].matches[0].id = "m"
    with pytest.raises(MissingGroundTruth, match="'m'"):
        da.evaluate(["hit_at_k"])
    assert not da[0].evaluations


def test_without_strict_documents_are_paired_by_position():
    da, truth = queries("a", "b", "c"), queries("a", "x")
    truth[0].id = "other"

    assert {"hit_at_k": 0.5} == da.evaluate(["hit_at_k"], truth, strict=False)
    assert [1, 1, 0] == [len(doc.evaluations) for doc in da]
    assert {"hit_at_k": 1.0} == da[:1].evaluate(["hit_at_k"], truth, strict=False)


# --- calls as they were written before --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "name", "count"),
    [
        (lambda da, truth: da.evaluate(truth, "precision_at_k"), "precision_at_k", 2),
        (lambda da, truth: da.evaluate(truth, metric="precision_at_k"), "precision_at_k", 3),
        (lambda da, truth: da.evaluate(truth, metrics.precision_at_k), "precision_at_k", 2),
        (lambda da, truth: da.evaluate(truth, ["precision_at_k"]), "precision_at_k", 1),
        (lambda da, truth: da.evaluate(other=truth, metric="precision_at_k", metric_name="p"), "p", 5),
        (lambda da, truth: da.evaluate("precision_at_k", truth), "precision_at_k", 1),
        (lambda da, truth: da.evaluate(metrics=sum, ground_truth=truth, metric_names="p"), "p", 2),
    ],
)
def test_old_forms_work_and_warn(call, name, count):
    with pytest.warns(DeprecationWarning, match="list now|old order|now called") as caught:
        result = call(queries("ab"), queries("ac"))

    assert [name] == list(result)
    assert result[name] in (0.5, 1.0)
    assert [__file__] * count == [warning.filename for warning in caught]


def test_an_old_and_a_new_name_together_are_refused():
    da = queries("a")

    with pytest.warns(DeprecationWarning, match="now called"), pytest.raises(FieldTypeError, match="twice"):
        da.evaluate(["hit_at_k"], da, metric="hit_at_k")


def test_the_form_of_today_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        queries("a").evaluate(["hit_at_k"], queries("a"), None, ["h"], True, "label", None, k=1)


# --- embed_and_evaluate -----------------------------------------------------------------------------------


def points(n, seed=0, prefix="", labels=3):
    """Documents with small whole tensors, so that there are ties, and labels."""
    rng = random.Random(seed)
    return DocumentArray(
        [
            Document(
                id=f"{prefix}{i}",
                tensor=np.array([rng.randint(-2, 2) for _ in range(3)], np.float64),
                tags={"label": rng.randrange(labels)},
            )
            for i in range(n)
        ]
    )


def same(batch):
    return batch


def by_function(docs):
    docs.embeddings = docs.tensors


def giving_rows(docs):
    return docs.tensors


def giving_documents(docs):
    return DocumentArray([Document(embedding=doc.tensor) for doc in docs])


ASKED = ["precision_at_k", "reciprocal_rank", "ndcg_at_k"]


def found(da):
    return [
        [(match.id, {name: score.to_dict() for name, score in match.scores.items()}) for match in doc.matches]
        for doc in da
    ]


def in_turn(da, index, truth=None, asked=ASKED, **options):
    """What embed_and_evaluate promises to give: a copy of the queries, and the result."""
    da = DocumentArray(da, copy=True)
    index = da if index is None else DocumentArray(index, copy=True)
    da.embed(same)
    index.embed(same)
    da.match(index, **options)
    return da, da.evaluate(asked, truth)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 99),
    count=st.integers(2, 12),
    own=st.booleans(),
    metric=st.sampled_from(["cosine", "euclidean", "sqeuclidean", "inner_product", "cityblock"]),
    limit=st.none() | st.integers(1, 15),
    normalization=st.sampled_from([None, (1, 0), (0, 1), (0, 5)]),
    exclude_self=st.booleans(),
    batch=st.sampled_from([1, 2, 5, 100]),
    way=st.sampled_from(["model", same.__name__, by_function, giving_rows, giving_documents]),
    columns=st.booleans(),
)
def test_it_gives_what_embed_match_and_evaluate_give_in_turn(
    seed, count, own, metric, limit, normalization, exclude_self, batch, way, columns
):
    da, index = points(count, seed), None if own else points(9, seed + 1)
    options = {"limit": limit, "normalization": normalization, "exclude_self": exclude_self}
    expected, result = in_turn(da, index, metric=metric, **options)
    if columns:
        da = DocumentArray.from_bytes(da.to_bytes())
        index = None if index is None else DocumentArray.from_bytes(index.to_bytes())
    how = {"embed_funcs": way} if callable(way) else {"embed_models": same}

    got = da.embed_and_evaluate(
        ASKED, index, distance=metric, match_batch_size=batch, batch_size=3, **how, **options
    )

    assert result == got
    assert found(expected) == found(da)
    assert [doc.evaluations for doc in expected] == [doc.evaluations for doc in da]
    assert da.embeddings is None
    if index is not None:
        assert all(vector is None for vector in index._slots.raw("embedding"))
        assert not columns or index._slots.untouched == range(9)


def test_it_works_with_ground_truth():
    da, index = points(6), points(20, 1, "i")
    truth = DocumentArray(
        [Document(id=doc.id, matches=[index[i] for i in range(at, at + 3)]) for at, doc in enumerate(da)]
    )
    asked = [*ASKED, "recall_at_k", "f1_score_at_k"]
    _, expected = in_turn(da, index, truth, asked, limit=7)

    assert expected == da.embed_and_evaluate(
        asked, index, truth, embed_models=same, limit=7, match_batch_size=4
    )


def test_sparse_vectors_are_matched():
    sparse = pytest.importorskip("scipy.sparse")
    da, index = points(5), points(20, 1, "i")
    expected, result = in_turn(da, index, limit=4)

    got = da.embed_and_evaluate(
        ASKED,
        index,
        embed_funcs=(giving_rows, lambda d: sparse.csr_matrix(d.tensors)),
        limit=4,
        match_batch_size=7,
    )

    assert result == got
    assert [[key for key, _ in row] for row in found(expected)] == [
        [key for key, _ in row] for row in found(da)
    ]

    index.embeddings = sparse.coo_matrix(index.tensors)
    assert result == da.embed_and_evaluate(ASKED, index, embed_models=same, limit=4, match_batch_size=7)


def test_it_takes_one_or_a_pair():
    da = points(4)
    index = DocumentArray([Document(id=f"i{doc.id}", text=doc.id, tags=doc.tags) for doc in da])
    tensors = {doc.id: doc.tensor for doc in da}

    def of_text(keys):
        return [tensors[key] for key in keys]

    expected = in_turn(da, None, limit=2)[1]
    got = da.embed_and_evaluate(
        ASKED,
        index,
        embed_models=(same, of_text),
        collate_fns=(None, lambda part: part.texts),
        batch_size=(2, 3),
        limit=2,
    )

    assert expected == got


def test_documents_that_have_an_embedding_are_taken_with_it():
    """A first value of 0 does not mean that there is none."""
    da, index = points(3), points(4, 1, "i")
    da.embeddings = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
    index.embeddings = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    matrices = da.embeddings, index.embeddings

    da.embed_and_evaluate(["hit_at_k"], index, limit=1, embed_models=lambda batch: 1 / 0)

    assert [["i0"], ["i0"], ["i1"]] == [doc.matches[:, "id"] for doc in da]
    assert all(
        np.shares_memory(a, b) for a, b in zip(matrices, (da.embeddings, index.embeddings), strict=True)
    )


def test_documents_without_an_embedding_are_embedded_beside_those_that_have_one():
    da, index = points(2), points(4, 1, "i")
    expected = in_turn(da, index, limit=3)
    index[1].embedding = index[1].tensor * 1
    index[3].embedding = index[3].tensor.tolist()
    seen = []

    def watching(batch):
        seen.extend(batch.tolist())
        return batch

    got = da.embed_and_evaluate(ASKED, index, embed_models=watching, limit=3, match_batch_size=3)

    assert expected[1] == got
    assert found(expected[0]) == found(da)
    assert [doc.tensor.tolist() for doc in (*da, index[0], index[2])] == seen
    assert [True, False, True, False] == [doc.embedding is None for doc in index]


def test_functions_see_copies():
    da = points(3)
    for doc in da:
        doc.chunks = [Document(tensor=[1.0])]
    before = [doc.to_bytes() for doc in da]
    index = DocumentArray(da, copy=True)

    def spoiling(docs):
        docs.embeddings = docs.tensors
        for doc in docs:
            doc.tensor *= 0
            doc.tags["label"] = "spoilt"
            doc.chunks[0].tensor[0] = 2.0

    da.embed_and_evaluate(["hit_at_k"], index, embed_funcs=spoiling)

    assert before == [doc.to_bytes() for doc in index]
    assert all(doc.tensor.any() and doc.tags["label"] != "spoilt" for doc in da)


def test_functions_see_copies_of_torch_tensors_and_lists_too():
    torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")
    da = DocumentArray([Document(tensor=torch.ones(2, requires_grad=True)), Document(tensor=[1.0, 1.0])])
    da[:, "tags__label"] = ["a", "a"]

    def spoiling(docs):
        for doc in docs:
            doc.tensor[0] = 5
            doc.embedding = np.array([5.0, 1.0])

    da.embed_and_evaluate(["hit_at_k"], embed_funcs=spoiling)

    assert [1.0, 1.0] == da[0].tensor.tolist() == da[1].tensor


def test_a_torch_model_embeds():
    torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")
    da = points(5)
    model = torch.nn.Identity().train()

    result = da.embed_and_evaluate(ASKED, embed_models=model, limit=3, match_batch_size=2)

    assert in_turn(da, None, limit=3)[1] == result
    assert model.training


def test_queries_are_drawn_by_seed_alone():
    def drawn(seed, size=4):
        da = points(12)
        random.seed(7)
        before = random.getstate()
        result = da.embed_and_evaluate(
            ASKED, points(9, 1, "i"), embed_models=same, query_sample_size=size, seed=seed
        )
        assert before == random.getstate()
        return result, [bool(doc.evaluations) for doc in da], [bool(doc.matches) for doc in da]

    assert drawn(1) == drawn(1)
    assert 1 < len({tuple(drawn(seed)[1]) for seed in range(20)})
    assert all(sum(drawn(seed)[1]) == 4 for seed in range(3))
    assert drawn(1)[1] == drawn(1)[2]
    assert drawn(1, None) == drawn(2, 12) == drawn(3, 100)


def test_drawn_queries_keep_their_ground_truth():
    da, index = points(10), points(10, 1, "i")
    truth = DocumentArray(
        [Document(id=doc.id, matches=[match]) for doc, match in zip(da, index, strict=True)]
    )

    result = da.embed_and_evaluate(
        ["hit_at_k"], index, truth, embed_models=same, limit=None, query_sample_size=3, seed=0
    )

    assert {"hit_at_k": 1.0} == result
    assert {"hit_at_k": 1.0} == da.embed_and_evaluate(
        ["hit_at_k"], index, truth[:4], embed_models=same, limit=None, strict=False, query_sample_size=None
    )


def test_relevant_documents_are_counted_in_the_index():
    index = DocumentArray(
        [
            Document(id=str(i), embedding=[float(i), 1.0], tags={"label": label})
            for i, label in enumerate("aaabb")
        ]
    )

    def recall(**options):
        index.embed_and_evaluate(["recall_at_k"], limit=None, distance="euclidean", **options)
        return [doc.evaluations["recall_at_k"].value for doc in index]

    assert [1.0] * 5 == recall()
    assert [1.0] * 5 == recall(exclude_self=True)
    assert [0.5] * 3 + [0.4] * 2 == recall(num_relevant_documents_per_label={"a": 6, "b": 5})


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"index_data": DocumentArray()}, BadValue, "0 documents to find"),
        ({}, MissingEmbedding, "6 of 6 queries have no embedding, first '0'"),
        ({"embed_models": (same, None)}, MissingEmbedding, "of the index"),
        ({"embed_models": same, "embed_funcs": same}, BadValue, "one of them"),
        ({"embed_models": (same, same, same)}, BadValue, "a pair.*got 3"),
        ({"embed_models": "resnet"}, FieldTypeError, "torch"),
        ({"embed_funcs": 3}, FieldTypeError, "embed_funcs"),
        ({"embed_funcs": lambda docs: None}, MissingEmbedding, "without embeddings"),
        ({"embed_funcs": lambda docs: docs[:1].tensors}, LengthError, "one row for each"),
        ({"embed_models": (same, lambda batch: batch[:, :2])}, ShapeError, "3 dimensions.*2"),
        ({"embed_models": same, "limit": 0}, BadValue, "limit"),
        ({"embed_models": same, "match_batch_size": 0}, BadValue, "match_batch_size"),
        ({"embed_models": same, "query_sample_size": 0}, BadValue, "query_sample_size"),
        ({"embed_models": same, "distance": "cosin"}, UnknownMetric, "cosine"),
        ({"embed_models": same, "metrics": ["hit"]}, UnknownMetric, "hit_at_k"),
        ({"embed_models": same, "label_tag": "other"}, MissingGroundTruth, "'other'"),
        ({"embed_models": same, "ground_truth": queries("a")}, LengthError, "6 documents and 1"),
        ({"embed_models": same, "k": 0}, BadValue, "k must be"),
        ({"embed_models": same, "metrics": [len, str]}, FieldTypeError, "number"),
    ],
)
def test_what_fails_leaves_queries_and_index_as_they_were(options, error, match):
    da, index = points(6), points(6, 1, "i")
    for doc in da:
        doc.matches = [Document(id="old")]
    before = state(da), state(index)

    with pytest.raises(error, match=match):
        da.embed_and_evaluate(**{"metrics": ["precision_at_k"], "index_data": index, **options})
    assert before == (state(da), state(index))


def test_an_index_without_labels_is_found_out_before_a_model_runs():
    da, index = points(3), points(3, 1, "i")
    del index[1].tags["label"]

    with pytest.raises(MissingGroundTruth, match="'i1'"):
        da.embed_and_evaluate(["hit_at_k"], index, embed_models=lambda batch: 1 / 0)


def test_a_single_metric_warns_here_too():
    with pytest.warns(DeprecationWarning, match="is a list now") as caught:
        result = points(3).embed_and_evaluate("hit_at_k", embed_models=same)

    assert ["hit_at_k"] == list(result)
    assert __file__ == caught[0].filename


@pytest.mark.parametrize("name", ["evaluate", "embed_and_evaluate", "embed", "embed_feature_hashing"])
def test_the_method_and_the_function_have_one_signature(name):
    """The methods pass everything on; what they promise must not drift away from what is done."""
    from docarray import embedding, evaluate

    function = getattr(evaluate if "evaluate" in name else embedding, name)
    method = inspect.signature(getattr(DocumentArray, name)).parameters.values()
    inner = inspect.signature(function).parameters.values()

    assert [(p.name, p.kind, p.default) for p in inner][1:] == [(p.name, p.kind, p.default) for p in method][
        1:
    ]
