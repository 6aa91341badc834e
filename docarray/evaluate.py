"""Evaluating: how good the matches of documents are, by ground truth or by labels.

Rule 1: a metric sees one query at a time, as a list of 0 and 1, best match first; what is not 0 is relevant.
Rule 2: ground truth with matches comes first; without it, matches are relevant when their label is that of the query.
Rule 3: everything is computed before anything is written, and what was asked is checked before a model runs.
Rule 4: `embed_and_evaluate` gives what embedding, matching and evaluating in turn give. It holds the vectors of one
        batch of the index at a time, beside the documents: no document gets an embedding from it, or loses one.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the bodies of arrays (document.py, rule 5).

from __future__ import annotations

import copy as copying
import functools
import inspect
import math
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from docarray import embedding, metrics, tensors
from docarray import find as finding
from docarray.distance import Metric, canonical, check_count, update_rows_x_mat_best
from docarray.document import Document, Links
from docarray.errors import (
    BadValue,
    FieldTypeError,
    LengthError,
    MissingEmbedding,
    MissingGroundTruth,
    ShapeError,
    near_miss,
)
from docarray.nearest import nearest
from docarray.paths import lookup, parse_dunder
from docarray.rows import Slots
from docarray.score import NamedScore
from docarray.tensors import Array

if TYPE_CHECKING:
    from docarray.array import DocumentArray

__all__ = ["embed_and_evaluate", "evaluate"]

Judged = Callable[..., Any]
"""A metric: a function of a list of 0 and 1, best match first, and of keywords, that gives a number."""


def evaluate(
    array: DocumentArray[Any],
    metrics: Any = None,
    ground_truth: Any = None,
    hash_fn: Callable[[Any], Any] | None = None,
    metric_names: Any = None,
    strict: bool = True,
    label_tag: str = "label",
    num_relevant_documents_per_label: Mapping[Any, int] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """Scores the matches of each document, writes the scores into `evaluations`, and gives the average of each.

    Args:
        array: the queries, with their matches, best first.
        metrics: names of docarray.metrics, or functions of a list of 0 and 1 (relevant or not, best match first)
            that give a number: plain functions, partials, builtins.
        ground_truth: the same documents with the matches that they should have; `max_rel`, which recall_at_k and
            f1_score_at_k ask for, is the number of these. Without it, or where it has no matches, a match is relevant
            when its label is the label of the document.
        hash_fn: what is the same for two documents that are to count as one; their id unless given.
        metric_names: the keys of the result and of `evaluations`; the names of the functions unless given.
        strict: refuse ground truth of another length, or of documents in another order. Otherwise the documents are
            paired by position, as many as there are in both.
        label_tag: the tag that holds the label, or a path within the tags.
        num_relevant_documents_per_label: `max_rel` by label.
        **kwargs: for the metrics, such as k=10: each metric gets those that it takes. `max_rel` takes the place of
            what is counted.

    Returns:
        The averages over all documents, by name.

    Raises:
        BadValue: there are no documents, no metrics, two metrics of one name, or documents without matches; or
            strict, and the ground truth is of other documents; or a label has no number of relevant documents.
        LengthError: strict, and the ground truth has another length; or there are not as many names as metrics.
        MissingGroundTruth: there is neither ground truth with matches, nor a label on each document; a RuntimeError.
        UnknownMetric: no metric has that name.
        FieldTypeError: a metric is no function or gives no number, or none of them takes a keyword.

    `evaluate(ground_truth, metric, ...)`, the keywords `other`, `metric` and `metric_name`, and one metric or name
    that is not in a list still work, with a DeprecationWarning.

    >>> from docarray import Document, DocumentArray
    >>> found = DocumentArray([Document(id='q', matches=[Document(id='a'), Document(id='x'), Document(id='b')])])
    >>> right = DocumentArray([Document(id='q', matches=[Document(id='a'), Document(id='b')])])
    >>> evaluate(found, ['reciprocal_rank', 'recall_at_k'], right, k=2)
    {'reciprocal_rank': 1.0, 'recall_at_k': 0.5}
    >>> found[0].evaluations['recall_at_k'].value
    0.5
    """
    asked, truth, names = _modern(metrics, ground_truth, metric_names, kwargs)
    chosen = _chosen(asked, names, kwargs)
    docs = list(array)
    if not docs:
        raise BadValue("there are no documents to evaluate: the array is empty")
    judge = _judge(docs, truth, hash_fn, strict, label_tag, num_relevant_documents_per_label)
    docs = docs[: judge.count]
    found = [doc.matches for doc in docs]
    return _write(docs, *_measured(docs, found, judge, chosen))


def embed_and_evaluate(
    array: DocumentArray[Any],
    metrics: Any = None,
    index_data: DocumentArray[Any] | None = None,
    ground_truth: DocumentArray[Any] | None = None,
    metric_names: Any = None,
    strict: bool = True,
    label_tag: str = "label",
    embed_models: Any = None,
    embed_funcs: Any = None,
    device: str = "cpu",
    batch_size: int | tuple[int, int] = 256,
    collate_fns: Any = None,
    distance: Metric = "cosine",
    limit: int | None = 20,
    normalization: tuple[float, float] | None = None,
    exclude_self: bool = False,
    use_scipy: bool = False,
    num_worker: int = 1,
    match_batch_size: int = 100_000,
    query_sample_size: int | None = 1_000,
    *,
    seed: int | None = None,
    hash_fn: Callable[[Any], Any] | None = None,
    num_relevant_documents_per_label: Mapping[Any, int] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """Embeds queries and an index, matches the ones against the other, and scores the matches, in batches.

    What it gives is what `embed`, `match` and `evaluate` give one after the other, but the vectors of the index are
    held for one batch at a time. The queries keep their new matches and evaluations. Vectors are made beside the
    documents: none gets an embedding or loses one, and a document that has one is taken with it.

    Args:
        array: the queries.
        metrics, ground_truth, metric_names, strict, label_tag, hash_fn, kwargs: see `evaluate`.
        index_data: what is matched; the queries themselves unless given.
        embed_models: a model, or one for the queries and one for the index: see `DocumentArray.embed`.
        embed_funcs: instead of models a function, or two, of an array of documents: it sets their embeddings, or
            gives them as an array (n, d). It is called with copies of the documents, without their matches,
            `batch_size` at a time.
        device, batch_size, collate_fns: as of `DocumentArray.embed`; of the last two, one or a pair.
        distance, limit, normalization, exclude_self: as `metric` and so on of `DocumentArray.match`.
        use_scipy, num_worker: accepted for old callers; no result depends on them.
        match_batch_size: documents of the index that are embedded and matched at once; no result depends on it.
        query_sample_size: where there are more queries, so many of them are drawn at random; None takes all.
        seed: the same seed draws the same queries.
        num_relevant_documents_per_label: `max_rel` by label. Counted in the index unless given; a document that is
            not matched with itself does not count itself.

    Returns:
        The averages over the queries that were drawn, by name.

    Raises:
        MissingEmbedding: documents have no embedding, and nothing is given to embed them with.
        BadValue: one of the arrays is empty, or models and functions are both given; see also `evaluate`.
        ShapeError: the vectors of queries and index differ in width.
        Otherwise as of `evaluate`, `embed` and `match`.

    Costs what the models cost, one exact search of the index, and the memory of `match_batch_size` vectors.

    >>> from docarray import Document, DocumentArray
    >>> da = DocumentArray([Document(text=t, tags={'label': t[0]}) for t in ('ab', 'ac', 'xb', 'xc')])
    >>> def letters(docs):
    ...     return [[3.0 * (t[0] == 'a'), t[1] == 'b', 1.0] for t in docs.texts]
    >>> da.embed_and_evaluate(['precision_at_k'], embed_funcs=letters, exclude_self=True, limit=1)
    {'precision_at_k': 1.0}
    >>> da[0].matches[:, 'text'], da[0].embedding
    (['ac'], None)
    """
    asked, truth, names = _modern(metrics, ground_truth, metric_names, kwargs)
    chosen = _chosen(asked, names, kwargs)
    index: DocumentArray[Any] = array if index_data is None else index_data
    if not len(array) or not len(index):
        raise BadValue(f"there is nothing to match: {len(array)} queries, and {len(index)} documents to find")
    sides = _sides(embed_models, embed_funcs, collate_fns, batch_size, device)
    limit, block = finding.ask(limit), check_count(match_batch_size, "match_batch_size")
    canonical(distance)
    queries, truth = _sampled(array, truth, strict, query_sample_size, seed)
    docs = list(queries)
    judge = _judge(docs, truth, hash_fn, strict, label_tag, num_relevant_documents_per_label)
    docs, queries = docs[: judge.count], queries[: judge.count]
    own = [_slots(index).find_id(doc.id) for doc in docs] if exclude_self else None
    if isinstance(judge, _Labels):
        judge.count_in(_slots(index), own)
    for side, part, what in zip(sides, (queries, index), ("queries", "documents of the index"), strict=True):
        side.check(part, what)
    vectors = _two_dimensional(next(sides[0].batches(queries, len(queries)))[0])
    parts = sides[1].batches(index, block)
    found = _nearest(parts, vectors, distance, limit, own, normalization)
    name = finding.score_name(distance, None)
    better = "similarity" if normalization is not None and normalization[0] > normalization[1] else "distance"
    hits = index._hits(found, name, name, better, False)
    measured = _measured(docs, hits, judge, chosen)
    for doc, matches in zip(docs, hits, strict=True):
        doc.matches = matches
    return _write(docs, *measured)


# ---------------------------------------------------------------------------------------------- what was asked

_RENAMED: Final = {"other": "ground_truth", "metric": "metrics", "metric_name": "metric_names"}


def _modern(
    asked: Any, truth: Any, names: Any, kwargs: dict[str, Any]
) -> tuple[list[Any], Any, list[str] | None]:
    """Metrics, ground truth and names, of calls as they are written today and as they were written before."""
    given: dict[str, Any] = {"metrics": asked, "ground_truth": truth, "metric_names": names}
    if isinstance(asked, cast("type", Links.array)):
        _warn("evaluate(ground_truth, metric) is the old order: evaluate([metric], ground_truth)")
        given["metrics"], given["ground_truth"] = truth, asked
    for old, new in _RENAMED.items():
        if old in kwargs:
            _warn(f"the argument {old!r} is now called {new!r}")
            if given[new] is not None:
                raise FieldTypeError(f"{new!r} is given twice: also as {old!r}, its old name")
            given[new] = kwargs.pop(old)
    for name in ("metrics", "metric_names"):
        value = given[name]
        if isinstance(value, str) or callable(value):
            _warn(f"{name!r} is a list now: {name}=[{value if callable(value) else repr(value)}]")
            given[name] = [value]
        elif value is not None and not isinstance(value, Iterable):
            raise FieldTypeError(f"{name!r} is a list; got a {type(value).__name__}")
    truth = given["ground_truth"]
    if truth is not None and not isinstance(truth, cast("type", Links.array)):
        raise FieldTypeError(f"ground_truth is a DocumentArray; got a {type(truth).__name__}")
    asked, names = list(given["metrics"] or ()), given["metric_names"]
    if not asked:
        raise BadValue("there are no metrics to evaluate: metrics=['precision_at_k'] asks for one")
    return asked, truth, None if names is None else list(names)


def _warn(text: str) -> None:
    # From here over _modern, evaluate and the method of the array to the line of the user.
    warnings.warn(text, DeprecationWarning, stacklevel=5)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A metric, and what of the keywords it is given."""

    name: str
    op_name: str
    function: Judged
    keywords: Mapping[str, Any]
    counts: bool  # whether it takes max_rel
    must_count: bool

    def of(self, doc: Document, relevance: list[int], max_rel: int | None) -> NamedScore:
        """The score of one document."""
        keywords = {**self.keywords, "max_rel": max_rel} if self.counts else self.keywords
        if self.must_count and max_rel is None:
            raise BadValue(
                f"{self.name!r} asks how many relevant documents there are, and labels alone do not say: give "
                f"num_relevant_documents_per_label={{label: number}}, or max_rel"
            )
        try:
            value = self.function(list(relevance), **keywords)
            if value is None:
                raise FieldTypeError("a metric gives a number; this one gave None")
            return NamedScore(value=value, op_name=self.op_name, ref_id=doc.id)
        except Exception as error:
            error.add_note(
                f"This was the metric {self.name!r}, for document {doc.id!r}. Nothing was written."
            )
            raise


def _chosen(asked: list[Any], names: list[str] | None, kwargs: dict[str, Any]) -> list[_Asked]:
    if names is not None and len(names) != len(asked):
        raise LengthError(
            f"there are {len(asked)} metrics and {len(names)} metric_names: one name for each is wanted"
        )
    chosen: list[_Asked] = []
    for at, metric in enumerate(asked):
        function = metrics.metric_by_name(metric) if isinstance(metric, str) else metric
        if not callable(function):
            raise FieldTypeError(
                f"a metric is a name or a function of a list of 0 and 1; metric {at} is a {type(metric).__name__}"
            )
        op_name = _name_of(function)
        takes, needs = _taken(function, [*kwargs, "max_rel"])
        keywords = {key: value for key, value in kwargs.items() if key in takes}
        counts = "max_rel" in takes and "max_rel" not in keywords
        name = op_name if names is None else names[at]
        chosen.append(_Asked(name, op_name, function, keywords, counts, counts and needs))
    twice = [name for name, count in Counter(one.name for one in chosen).items() if count > 1]
    if twice:
        raise BadValue(f"two metrics are called {twice[0]!r}: tell them apart by metric_names=[...]")
    unused = set(kwargs) - {"max_rel"} - {key for one in chosen for key in one.keywords}
    if unused:
        known = {key for one in chosen for key in _named(one.function)}
        raise FieldTypeError(f"none of the metrics takes {min(unused)!r}. {near_miss(min(unused), known)}")
    return chosen


def _name_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    return str(getattr(function, "__name__", type(function).__name__))


def _parameters(function: Any) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins do not say
        return None


def _named(function: Any) -> list[str]:
    """The keywords that a function has a name for, the first argument left out."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [one.name for one in _parameters(function) or () if one.kind in kinds]
    parameters = _parameters(function)
    leads = bool(parameters) and parameters[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    return found[1:] if leads else found


def _taken(function: Any, offered: list[str]) -> tuple[set[str], bool]:
    """Which of these keywords a function is given, and whether it cannot do without max_rel."""
    parameters = _parameters(function)
    bound = (
        cast("functools.partial[Any]", function).keywords if isinstance(function, functools.partial) else {}
    )
    if parameters is None:
        return set(offered) - {"max_rel"}, False
    named = set(_named(function)) - set(bound)  # what somebody bound stays as it was bound
    needs = any(one.name == "max_rel" and one.default is inspect.Parameter.empty for one in parameters)
    takes = named & set(offered)
    # Metrics of the house take any keyword and pass over it; of those they are given none, so that a slip of the
    # pen does not go unseen.
    if _of_the_house(function) or not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return takes, needs
    return takes | (set(offered) - set(bound) - {"max_rel"}), needs


def _of_the_house(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    return getattr(function, "__module__", None) == metrics.__name__


# ---------------------------------------------------------------------------------------------- what is right


class _GroundTruth:
    """Which matches are relevant: those that the same document has in the ground truth."""

    def __init__(
        self,
        docs: list[Document],
        truth: DocumentArray[Any],
        hash_fn: Callable[[Any], Any] | None,
        strict: bool,
    ) -> None:
        if strict and len(truth) != len(docs):
            raise LengthError(
                f"there are {len(docs)} documents and {len(truth)} of ground truth; strict=False pairs as many as "
                f"there are in both"
            )
        self._hash = hash_fn
        self._right: list[set[Any]] = []
        self._totals: list[int] = []
        for doc, right in zip(docs, truth, strict=strict):
            if strict and (hash_fn or _id)(doc) != (hash_fn or _id)(right):
                raise BadValue(
                    f"document {doc.id!r} stands against {right.id!r} of the ground truth: order both alike, or say "
                    f"what makes them the same by hash_fn"
                )
            matches = right.matches
            if not len(matches):
                raise BadValue(f"document {right.id!r} of the ground truth has no matches")
            hashes = set(self._hashes(matches))
            if len(hashes) < len(matches):
                warnings.warn(
                    f"of the {len(matches)} matches of {right.id!r} in the ground truth only {len(hashes)} differ by "
                    f"{'id' if hash_fn is None else 'hash_fn'}: evaluations may be wrong",
                    UserWarning,
                    stacklevel=5,
                )
            self._right.append(hashes)
            self._totals.append(len(matches))
        self.count = len(self._right)

    def _hashes(self, matches: DocumentArray[Any]) -> list[Any]:
        return _slots(matches).ids() if self._hash is None else [self._hash(doc) for doc in matches]

    def relevance(self, at: int, matches: DocumentArray[Any]) -> list[int]:
        right = self._right[at]
        return [int(found in right) for found in self._hashes(matches)]

    def total(self, at: int) -> int | None:
        return self._totals[at]


class _Labels:
    """Which matches are relevant: those of the same label."""

    def __init__(self, docs: list[Document], label_tag: str, totals: Mapping[Any, int] | None) -> None:
        self._tag = label_tag
        self._labels = _labels([doc.tags for doc in docs], label_tag)
        self._totals = totals
        self._less: list[int] | None = None
        self.count = len(docs)
        missing = [doc.id for doc, label in zip(docs, self._labels, strict=True) if label is None]
        if missing:
            raise MissingGroundTruth(
                f"there is nothing to compare with: no ground_truth with matches, and {len(missing)} of {len(docs)} "
                f"documents have no tag {label_tag!r}, first {missing[0]!r}"
            )
        if totals is not None:
            for doc, label in zip(docs, self._labels, strict=True):
                if not _has(totals, label):
                    raise BadValue(
                        f"num_relevant_documents_per_label has no number for {label!r}, the label of {doc.id!r}"
                    )

    def count_in(self, index: Slots, own: list[int | None] | None) -> None:
        """Checks the labels of an index, and counts them there unless somebody gave numbers."""
        labels = _labels(index.raw("tags"), self._tag)
        self._check(labels, index)
        if self._totals is not None:
            return
        try:
            self._totals = Counter(labels)
        except TypeError:
            return  # lists, say, cannot be counted: a metric that wants the number will say so
        self._less = None if own is None else [int(at is not None) for at in own]

    def _check(self, labels: list[Any], slots: Slots) -> None:
        missing = next((at for at, label in enumerate(labels) if label is None), None)
        if missing is not None:
            key = slots.ids()[missing]
            raise MissingGroundTruth(
                f"it cannot be told whether {key!r} is relevant: it has no tag {self._tag!r}"
            )

    def relevance(self, at: int, matches: DocumentArray[Any]) -> list[int]:
        wanted, slots = self._labels[at], _slots(matches)
        labels = _labels(slots.raw("tags"), self._tag)
        self._check(labels, slots)
        return [int(bool(label == wanted)) for label in labels]

    def total(self, at: int) -> int | None:
        if self._totals is None:
            return None
        number = self._totals[self._labels[at]]
        return number if self._less is None else number - self._less[at]


def _judge(
    docs: list[Document],
    truth: DocumentArray[Any] | None,
    hash_fn: Callable[[Any], Any] | None,
    strict: bool,
    label_tag: str,
    totals: Mapping[Any, int] | None,
) -> _GroundTruth | _Labels:
    if _tells(truth):
        return _GroundTruth(docs, cast("DocumentArray[Any]", truth), hash_fn, strict)
    return _Labels(docs, label_tag, totals)


def _tells(truth: DocumentArray[Any] | None) -> bool:
    """Whether there are matches in the ground truth."""
    return truth is not None and any(
        matches is not None and len(matches) for matches in _slots(truth).raw("matches")
    )


def _labels(tags: Iterable[Mapping[str, Any] | None], label_tag: str) -> list[Any]:
    """The label in each of these tags; None where there is none."""
    if "__" not in label_tag:
        return [None if one is None else one.get(label_tag) for one in tags]
    path = parse_dunder(label_tag)
    return [one[label_tag] if one and label_tag in one else lookup(one, path, missing="none") for one in tags]


def _has(totals: Mapping[Any, int], label: object) -> bool:
    try:
        return label in totals
    except TypeError:  # what cannot be a key is none
        return False


def _id(doc: Document) -> str:
    return doc.id


def _measured(
    docs: list[Document],
    found: Sequence[DocumentArray[Any]],
    judge: _GroundTruth | _Labels,
    chosen: list[_Asked],
) -> tuple[list[_Asked], list[list[NamedScore]]]:
    bare = [doc.id for doc, matches in zip(docs, found, strict=True) if not len(matches)]
    if bare:
        raise BadValue(f"{len(bare)} of {len(docs)} documents have no matches to evaluate, first {bare[0]!r}")
    scores: list[list[NamedScore]] = []
    for at, (doc, matches) in enumerate(zip(docs, found, strict=True)):
        relevance, total = judge.relevance(at, matches), judge.total(at)
        scores.append([metric.of(doc, relevance, total) for metric in chosen])
    return chosen, scores


def _write(docs: list[Document], chosen: list[_Asked], scores: list[list[NamedScore]]) -> dict[str, float]:
    for doc, row in zip(docs, scores, strict=True):
        for metric, score in zip(chosen, row, strict=True):
            doc.evaluations[metric.name] = score
    columns = zip(chosen, zip(*scores, strict=True), strict=True)
    return {metric.name: math.fsum(score.value for score in column) / len(docs) for metric, column in columns}


# ---------------------------------------------------------------------------------------------- embedding, matching


@dataclass(frozen=True, slots=True)
class _Side:
    """How the queries, or the documents of the index, come by their vectors."""

    model: Any
    function: Any
    collate: Any
    batch_size: int
    device: str

    def check(self, array: DocumentArray[Any], what: str) -> None:
        """Raises where documents have no vector and there is nothing to make one."""
        if self.model is not None or self.function is not None or _slots(array).gathered() is not None:
            return
        missing = [at for at, vector in enumerate(_slots(array).raw("embedding")) if vector is None]
        if missing:
            first = _slots(array).ids()[missing[0]]
            raise MissingEmbedding(
                f"{len(missing)} of {len(array)} {what} have no embedding, first {first!r}: give embed_models or "
                f"embed_funcs, or embed them before"
            )

    def batches(self, array: DocumentArray[Any], size: int) -> Iterator[tuple[Any, Any]]:
        """The vectors of `size` documents at a time, and their norms where they are known."""
        # Asked of the whole: a batch that gathered its vectors would take them away from the array they are in.
        gathered = _slots(array).gathered()
        if gathered is not None:
            matrix, norms = finding.matrix_of(_slots(array))
            matrix = matrix.tocsr() if tensors.is_sparse(matrix) else matrix
            for start in range(0, len(array), size):
                part = slice(start, start + size)
                yield matrix[part], None if norms is None else norms[part]
            return
        for start in range(0, len(array), size):
            yield self._vectors(array[start : start + size]), None

    def _vectors(self, part: DocumentArray[Any]) -> Any:
        known = _slots(part).raw("embedding")
        missing = [at for at, vector in enumerate(known) if vector is None]
        if not missing:
            stacked = tensors.stack(known)
            return stacked if tensors.is_sparse(stacked) else tensors.to_numpy(stacked)
        whole = len(missing) == len(known)
        made = self._made(part if whole else part[missing])
        if whole:
            return made
        dense = [None if vector is None else tensors.to_numpy(vector).ravel() for vector in known]
        for at, row in zip(missing, _two_dimensional(tensors.to_numpy(made)), strict=True):
            dense[at] = row
        return tensors.stack(cast("list[Array]", dense))

    def _made(self, part: DocumentArray[Any]) -> Any:
        if self.function is None:
            made = embedding.embedded(part, self.model, self.device, self.batch_size, False, self.collate)
        else:
            made = embedding.embedded(part, self._called, "cpu", self.batch_size, False, _copies)
        return made if tensors.framework(made) == "scipy" else tensors.to_numpy(made)

    def _called(self, copies: DocumentArray[Any]) -> Any:
        given = self.function(copies)
        given = copies if given is None else given
        if not isinstance(given, cast("type", Links.array)):
            return given
        vectors = cast("DocumentArray[Any]", given).embeddings
        if vectors is None:
            raise MissingEmbedding(
                f"embed_funcs left the documents from {copies[0].id!r} on without embeddings"
            )
        return vectors


def _copies(part: DocumentArray[Any]) -> DocumentArray[Any]:
    """The documents as a function may have them: rows that nobody touched stay untouched, and no value is shared."""
    docs = _slots(part).hits(range(len(part)))
    for doc in docs:
        tensor = doc.tensor
        if tensor is not None:
            is_torch = tensors.framework(tensor) == "torch"
            doc.tensor = tensor.detach().clone() if is_torch else copying.deepcopy(tensor)
    return Links.array(docs)


def _sides(models: Any, functions: Any, collates: Any, sizes: Any, device: str) -> tuple[_Side, _Side]:
    if models is not None and functions is not None:
        raise BadValue("there are embed_models and embed_funcs: give one of them")
    pairs = [
        _pair(models, "embed_models"),
        _pair(functions, "embed_funcs"),
        _pair(collates, "collate_fns"),
        _pair(sizes, "batch_size"),
    ]
    for function in pairs[1]:
        if function is not None and not callable(function):
            raise FieldTypeError(
                f"embed_funcs are functions of an array of documents; got a {type(function).__name__}"
            )
    first, second = (_Side(*one, device=device) for one in zip(*pairs, strict=True))
    return first, second


def _pair(value: Any, name: str) -> tuple[Any, Any]:
    """One thing for the queries and one for the index, of one for both or of two."""
    if not isinstance(value, (tuple, list)):
        return value, value
    two = cast("Sequence[Any]", value)
    if len(two) != 2:
        raise BadValue(f"{name} is one, or a pair: for the queries and for the index; got {len(two)}")
    return two[0], two[1]


def _sampled(
    array: DocumentArray[Any],
    truth: DocumentArray[Any] | None,
    strict: bool,
    size: int | None,
    seed: int | None,
) -> tuple[DocumentArray[Any], DocumentArray[Any] | None]:
    """The queries to ask, and the ground truth of these."""
    count, tells = len(array), _tells(truth)
    if truth is not None and tells:
        if strict and len(truth) != count:
            raise LengthError(
                f"there are {count} documents and {len(truth)} of ground truth; strict=False pairs as many as there "
                f"are in both"
            )
        count = min(count, len(truth))
    if size is None or check_count(size, "query_sample_size") >= count:
        return array, truth
    drawn = sorted(random.Random(seed).sample(range(count), size))
    return array[drawn], truth[drawn] if truth is not None and tells else None


def _nearest(
    parts: Iterable[tuple[Any, Any]],
    queries: Any,
    metric: Metric,
    limit: int | None,
    own: list[int | None] | None,
    normalization: tuple[float, float] | None,
) -> list[finding.Found]:
    """What `find.search` gives for all parts together, while it holds one at a time."""
    count = queries.shape[0]
    # One more than wanted, for the query itself that may have to go.
    keep = None if limit is None else limit + (own is not None)
    best, places = np.zeros((count, 0)), np.zeros((count, 0), np.intp)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    start = 0
    for matrix, norms in parts:
        flat = _two_dimensional(matrix)
        if flat.shape[1] != queries.shape[1]:
            raise ShapeError(
                f"the queries have {queries.shape[1]} dimensions; the documents of the index have {flat.shape[1]}"
            )
        asked = _as_sparse_as(queries, flat)
        if normalization is None:
            rows, distances = nearest(flat, asked, keep, metric, norms=norms)
        else:  # the spread is that of all distances
            pairs = [nearest(flat, asked[i : i + 1], None, metric, norms=norms) for i in range(count)]
            low = np.minimum(low, [distances.min() for _, distances in pairs])
            high = np.maximum(high, [distances.max() for _, distances in pairs])
            rows = np.concatenate([rows[:, :keep] for rows, _ in pairs])
            distances = np.concatenate([distances[:, :keep] for _, distances in pairs])
        width = best.shape[1] + rows.shape[1]
        best, places = update_rows_x_mat_best(
            best, places, distances, rows + start, min(width, keep or width)
        )
        start += flat.shape[0]
    if normalization is not None:
        best = _stretched(best, low, high, normalization)
    found: list[finding.Found] = []
    for at in range(count):
        numbers, distances = places[at].tolist(), best[at].tolist()
        if own is not None and own[at] in numbers:
            gone = numbers.index(own[at])
            del numbers[gone], distances[gone]
        found.append((numbers[:limit], distances[:limit]))
    return found


def _stretched(distances: Array, low: Array, high: Array, target: tuple[float, float]) -> Array:
    """Distances as scores from the first of the target, for the lowest, to the second; as `find` has it."""
    spread = (high - low)[:, None]
    share = np.divide(distances - low[:, None], spread, out=np.zeros_like(distances), where=spread > 0)
    return target[0] + share * (target[1] - target[0])


def _two_dimensional(matrix: Any) -> Any:
    return matrix if tensors.is_sparse(matrix) or matrix.ndim == 2 else matrix.reshape(matrix.shape[0], -1)


def _as_sparse_as(queries: Any, matrix: Any) -> Any:
    if tensors.is_sparse(queries) == tensors.is_sparse(matrix):
        return queries
    return queries.toarray() if tensors.is_sparse(queries) else type(matrix.tocsr())(queries)


def _slots(array: DocumentArray[Any]) -> Slots:
    return array._slots
