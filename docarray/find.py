"""Finding: filters over documents as columns, and exact search over their embeddings.

Rule 1: a filter comes first; the search sees only what it leaves.
Rule 2: a filter over rows that nobody touched reads columns; documents that somebody has are asked themselves.
Rule 3: results are positions and distances here; what holds them makes the documents.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from docarray import query, tensors
from docarray.bm25 import TextIndex
from docarray.columns import JsonColumn, TextColumn
from docarray.distance import metric_name
from docarray.document import Document
from docarray.errors import (
    BadValue,
    FieldTypeError,
    LengthError,
    MissingEmbedding,
    ShapeError,
    UnknownName,
    near_miss,
)
from docarray.fusion import rrf
from docarray.kept import named_vector
from docarray.nearest import nearest
from docarray.paths import lookup, parse_dunder
from docarray.rows import Slots
from docarray.schema import FIELDS
from docarray.tensors import Array
from docarray.values import TableValues

__all__ = [
    "Found",
    "ask",
    "check_filter",
    "check_present",
    "fused",
    "grouped",
    "matrix_of",
    "named_matrix",
    "positions_where",
    "score_name",
    "search",
    "sorted_positions",
    "texts_for",
    "texts_of",
    "vectors_of",
    "words",
]

Found = tuple[list[Any], list[float]]


# ---------------------------------------------------------------------------------------------- filters


def positions_where(slots: Slots, condition: Mapping[Any, Any], limit: int | None = None) -> list[Any]:
    """The places of the documents that a filter keeps, in order, at most so many: positions, or ids in a store.

    Raises:
        BadFilter: the filter is malformed. UnknownField: it names a field that is none.
    """
    node = query.parse(condition, FIELDS)
    if slots.store is not None:
        return cast("list[Any]", slots.store.where(node, limit))
    return np.flatnonzero(_mask(slots, node)).tolist()[:limit]


def check_filter(condition: Mapping[Any, Any]) -> None:
    """Does nothing if this is a filter.

    Raises:
        BadFilter, UnknownField: it is not; before anything is searched.
    """
    query.parse(condition, FIELDS)


def _mask(slots: Slots, node: query.Node) -> Array:
    count = len(slots)
    if any(path[0] in ("chunks", "matches") for path in query.paths_in(node)):
        return query.mask(node, count, _Docs(slots.docs()))
    numbers = slots.untouched
    if numbers is not None:
        return query.mask(node, count, _columns(slots, numbers))
    rows = slots.rows
    if rows is not None:
        items = slots.items
        made = rows.made
        if type(items) is range:
            touched = sorted(items.index(row) for row in made if row in items)
        else:
            touched = [i for i, item in enumerate(items) if type(item) is not int or item in made]
        if 4 * len(touched) < count:
            # Few were touched: the columns answer for all, and those few are asked again.
            loose = items if type(items) is range else [i if type(i) is int else 0 for i in items]
            answer = query.mask(node, count, _columns(slots, loose))
            docs = [slots.get(i) for i in touched]
            answer[touched] = query.mask(node, len(docs), _Docs(docs))
            return answer
    return query.mask(node, count, _Docs(slots.docs()))


def sorted_positions(
    slots: Slots, keys: str | Sequence[str], positions: list[Any] | None = None
) -> list[Any]:
    """The places in the order of one or several paths; '-tags__price' is descending. Missing values come last."""
    if slots.store is not None:
        return cast("list[Any]", slots.store.ordered(keys, positions))
    numbers = slots.untouched
    column: Any = _Docs(slots.docs()) if numbers is None else _columns(slots, numbers)
    rows = None if positions is None else np.array(positions, np.intp)
    return cast("list[int]", query.sort_rows(keys, len(slots), column, rows).tolist())


def grouped(slots: Slots, tag: str) -> dict[Any, list[int]]:
    """The positions of documents by the value of a tag, in order of first sight; those without it are left out.

    Raises:
        FieldTypeError: a value cannot be a key of a dict; the message names the document.
    """
    numbers = slots.untouched
    column = None
    if numbers is not None and slots.rows is not None:
        tags = slots.rows.table.columns.get("tags")
        column = (tags.by_key() or {}).get(tag) if isinstance(tags, JsonColumn) else None
    if isinstance(column, TextColumn) and column.present is None:
        codes, words = column.codes()
        if not isinstance(numbers, range) or len(numbers) != len(codes):
            codes = codes[np.array(numbers, np.intp)]
        if len(words) < 1 << 15:
            codes = codes.astype(np.int16)  # which numpy sorts by radix
        return {words[int(codes[part[0]])]: part.tolist() for part in _parts(codes)}
    positions, values = _tagged(slots, tag)
    try:
        number = {value: i for i, value in enumerate(dict.fromkeys(values))}
    except TypeError:
        at, value = next((at, v) for at, v in zip(positions, values, strict=True) if not _is_key(v))
        raise FieldTypeError(
            f"tag {tag!r} of document {slots.ids()[at]!r} is a {type(value).__name__}, which is no key of groups"
        ) from None
    kind = np.int16 if len(number) < 1 << 15 else np.int64
    codes = np.fromiter(map(number.__getitem__, values), kind, len(values))
    where = np.array(positions, np.intp)
    return {values[part[0]]: where[part].tolist() for part in _parts(codes)}


def _parts(codes: Array) -> list[Array]:
    """The places of equal codes, in order; those that come first, first."""
    order = np.argsort(codes, kind="stable")
    edges = np.flatnonzero(np.diff(codes[order])) + 1
    parts = [part for part in np.split(order, edges) if len(part)]
    return sorted(parts, key=lambda part: int(part[0]))


def _is_key(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _tagged(slots: Slots, tag: str) -> tuple[Sequence[int], list[Any]]:
    """The positions of documents that have the tag, and its values; of a path, of all documents that have tags."""
    every = slots.raw("tags")
    if "__" in tag:
        parts = ("tags", *parse_dunder(tag))
        have = [at for at, tags in enumerate(every) if tags]
        return have, [lookup({"tags": every[at]}, parts, missing="none") for at in have]
    try:
        return range(len(every)), [tags[tag] for tags in every]
    except (KeyError, TypeError):  # some lack it, or have no tags
        have = [at for at, tags in enumerate(every) if tags and tag in tags]
        return have, [every[at][tag] for at in have]


def _columns(slots: Slots, numbers: Sequence[int]) -> TableValues:
    """The values of paths over rows that nobody touched."""
    return TableValues(cast("Any", slots.rows).table, numbers)


class _Docs:
    """The values of paths over documents."""

    def __init__(self, docs: list[Document]) -> None:
        self._docs = docs
        self._tags: list[Any] | None = None

    def __call__(self, path: tuple[str | int, ...], rows: Array | None) -> list[Any]:
        root = path[0]
        if root == "tags" and len(path) == 2:
            return self._tag(path, rows)
        docs = self._docs if rows is None else [self._docs[i] for i in cast("list[int]", rows.tolist())]
        if len(path) > 1:
            return [lookup(doc, path, missing="none") for doc in docs]
        if root == "text":
            return [c if isinstance(c := doc._content, str) else "" for doc in docs]
        default = FIELDS[str(root)].default
        values = [doc._raw(str(root)) for doc in docs]
        return values if default is None else [default if value is None else value for value in values]

    def _tag(self, path: tuple[str | int, ...], rows: Array | None) -> list[Any]:
        key, every = path[1], self._tags
        if every is None:
            every = self._tags = [doc._tags for doc in self._docs]
        if rows is not None:
            every = [every[i] for i in cast("list[int]", rows.tolist())]
        try:
            return [tags[key] for tags in every]
        except (KeyError, TypeError):  # some have no such tag, or no tags
            return [lookup({"tags": tags}, path, missing="none") if tags else None for tags in every]


# ---------------------------------------------------------------------------------------------- search


def search(
    slots: Slots,
    queries: Any,
    *,
    metric: str | Callable[..., Any],
    limit: int | None,
    condition: Mapping[Any, Any] | None = None,
    leave_out: Sequence[str] | None = None,
    normalization: tuple[float, float] | None = None,
    batch_size: int | None = None,
    embedding: str | None = None,
) -> list[Found]:
    """For each query row the nearest documents: places and distances, nearest first, ties by position.

    Args:
        queries: (q, d), dense or scipy.sparse.
        limit: how many at most; None for all.
        condition: a filter; only what it keeps is searched.
        leave_out: an id for each query that must not be found.
        normalization: (a, b): distances are mapped so that the least of all is a and the greatest b.
        embedding: the name of the embeddings that are searched; documents without one of it are passed over.

    Raises:
        MissingEmbedding: some have none; the message names the first. On a store: all have none.
        ShapeError: another d.
    """
    asked = _two_dimensional(queries)
    if slots.store is not None:
        node = None if condition is None else query.parse(condition, FIELDS)
        most = None if normalization is not None else limit
        skip = leave_out if normalization is None else None
        ways: dict[str, Any] = {"where": node, "skip": skip, "batch_size": batch_size}
        try:
            if embedding is None:
                found = slots.store.nearest(asked, most, metric, **ways)
            else:
                found = slots.store.nearest_by(embedding, asked, most, metric, **ways)
        except MissingEmbedding:
            if len(slots.store):
                raise
            return [([], []) for _ in range(asked.shape[0])]
        if normalization is None:
            return cast("list[Found]", found)
        return [
            _cut(ids, _spread(values, normalization), limit, None if leave_out is None else leave_out[i])
            for i, (ids, values) in enumerate(found)
        ]
    positions = None if condition is None else positions_where(slots, condition)
    if positions is not None and not positions:
        return [([], []) for _ in range(asked.shape[0])]
    if embedding is None:
        matrix, norms = matrix_of(slots, positions)
    else:
        positions, matrix, norms = *_named(slots, positions, embedding), None
    flat = _two_dimensional(matrix)
    if flat.shape[1] != asked.shape[1]:
        raise ShapeError(f"the query has {asked.shape[1]} dimensions; the documents have {flat.shape[1]}")
    if tensors.is_sparse(flat) != tensors.is_sparse(asked):
        asked = _like(flat, asked)
        flat = flat.tocsr() if tensors.is_sparse(flat) else flat
    skip = _skipped(slots, positions, leave_out)
    if normalization is not None:
        out: list[Found] = []
        for i in range(asked.shape[0]):
            near, far = nearest(flat, asked[i : i + 1], None, metric, norms=norms, batch_size=batch_size)
            left = None if skip is None or skip[i] < 0 else int(skip[i])
            numbers, values = _cut(near[0].tolist(), _spread(far[0].tolist(), normalization), limit, left)
            out.append((numbers if positions is None else [positions[n] for n in numbers], values))
        return out
    rows, values = nearest(flat, asked, limit, metric, norms=norms, batch_size=batch_size, skip=skip)
    return [_limited(r, v, limit, positions) for r, v in zip(rows, values, strict=True)]


def words(
    slots: Slots,
    texts: Sequence[str],
    limit: int | None,
    field: str,
    condition: Mapping[Any, Any] | None = None,
) -> list[Found]:
    """For each text the documents whose words fit best: places and BM25 scores, best first, ties by position.

    Args:
        texts: words to look for; any one of them is enough.
        limit: how many at most; None for all that have one of the words.
        field: where the words are: 'text', 'tags__title'.
        condition: a filter; only what it keeps is searched. Scores do not depend on it.

    Costs an index of all texts at the first search in memory, some 10 us a text; it is kept while they stay the same.
    """
    path = parse_dunder(field)
    query.parse({path: {"$exists": True}}, FIELDS)  # says what is wrong with a path
    if slots.store is not None:
        node = None if condition is None else query.parse(condition, FIELDS)
        return cast("list[Found]", slots.store.search(texts, limit, field, where=node))
    index = _text_index(slots, path)
    kept = None if condition is None else [str(at) for at in positions_where(slots, condition)]
    found = [index.search(text, limit, kept) for text in texts]
    return [([int(key) for key in keys], scores) for keys, scores in found]


def _text_index(slots: Slots, path: tuple[str | int, ...]) -> TextIndex:
    """The index of the words along a path, kept with the texts that it is of."""
    numbers = slots.untouched
    column: Any = _Docs(slots.docs()) if numbers is None else _columns(slots, numbers)
    values: query.Column = column(path, None)
    cells = values if isinstance(values, list) else values.to_list()
    texts = [cell if isinstance(cell, str) else "" for cell in cells]
    if slots._words is None:
        slots._words = {}
    known: tuple[list[str], TextIndex] | None = slots._words.get(path)
    if known is None or known[0] != texts[: len(known[0])]:
        known = cast("list[str]", []), TextIndex()
    start = len(known[0])
    if start < len(texts):
        known[1].add_many(map(str, range(start, len(texts))), texts[start:])
    slots._words[path] = texts, known[1]
    return known[1]


def texts_of(value: Sequence[Any]) -> list[str]:
    """Several texts to look for.

    Raises:
        FieldTypeError: one is no text.
    """
    for at, text in enumerate(value):
        if not isinstance(text, str):
            raise FieldTypeError(
                f"element {at} of the texts to look for is a {type(text).__name__}: {text!r:.60}"
            )
    return list(value)


def texts_for(value: str | Sequence[str], count: int) -> list[str]:
    """A text for each of so many vectors; one for all is repeated.

    Raises:
        LengthError: another number of texts.
    """
    if isinstance(value, str):
        return [value] * count
    texts = texts_of(value)
    if len(texts) != count:
        raise LengthError(
            f"text= has {len(texts)} texts for {count} vectors: one for each is wanted, or one for all"
        )
    return texts


def fused(
    vectors: list[Found], texts: list[Found], fusion: str, weights: Sequence[float] | None, limit: int | None
) -> list[Found]:
    """Two rankings for each query made one, the best first.

    Raises:
        UnknownName: there is no fusion of that name.
    """
    if fusion != "rrf":
        raise UnknownName(f"no fusion is called {fusion!r}. {near_miss(fusion, ['rrf'])}")
    out: list[Found] = []
    for (near, _), (worded, _) in zip(vectors, texts, strict=True):
        ranked = rrf([near, worded], weights)[:limit]
        out.append(([place for place, _ in ranked], [value for _, value in ranked]))
    return out


def _cut(places: list[Any], values: list[float], limit: int | None, left_out: Any) -> Found:
    """The first so many, without one."""
    if left_out is not None and left_out in places:
        at = places.index(left_out)
        places, values = places[:at] + places[at + 1 :], values[:at] + values[at + 1 :]
    return places[:limit], values[:limit]


def _limited(rows: Array, values: Array, limit: int | None, positions: list[Any] | None) -> Found:
    numbers, distances = rows.tolist()[:limit], values.tolist()[:limit]
    keep = [i for i, number in enumerate(numbers) if number >= 0]
    if len(keep) < len(numbers):
        numbers, distances = [numbers[i] for i in keep], [distances[i] for i in keep]
    return (numbers if positions is None else [positions[i] for i in numbers]), distances


def _spread(values: list[float], target: tuple[float, float]) -> list[float]:
    """Distances mapped so that the least is one number and the greatest another."""
    array = np.array(values)
    if not len(array):
        return values
    low, high = array.min(), array.max()
    a, b = target
    spread = high - low
    share = (array - low) / spread if spread > 0 else np.zeros_like(array)
    return (a + share * (b - a)).tolist()


def _skipped(slots: Slots, positions: list[int] | None, leave_out: Sequence[str] | None) -> Any:
    if leave_out is None:
        return None
    at = [slots.find_id(key) for key in leave_out]
    if positions is None:
        return np.array([-1 if p is None else p for p in at], np.intp)
    places = {position: i for i, position in enumerate(positions)}
    return np.array([-1 if p is None else places.get(p, -1) for p in at], np.intp)


def matrix_of(slots: Slots, positions: list[int] | None = None) -> tuple[Any, Any]:
    """The embeddings of an array as one matrix (n, *shape), numpy or scipy.sparse, and their norms where known.

    Raises:
        MissingEmbedding: some documents have none.
        ShapeError: they cannot be stacked.
    """
    gathered = slots.gathered()
    if gathered is None:
        values = slots.raw("embedding")
        if positions is not None:
            values = [values[i] for i in positions]
        check_present(values, slots, positions, "embedding")
        stacked = tensors.stack(values)
        return (stacked if tensors.is_sparse(stacked) else tensors.to_numpy(stacked)), None
    matrix: Any = gathered.matrix
    norms = gathered.norms
    if tensors.framework(matrix) != "scipy":
        matrix = tensors.to_numpy(matrix)
    if positions is None:
        return matrix, norms
    rows = np.array(positions, np.intp)
    picked: Any = matrix.tocsr()[rows] if tensors.is_sparse(matrix) else matrix[rows]
    return picked, None if norms is None else norms[rows]


def _named(slots: Slots, positions: list[int] | None, name: str) -> tuple[list[int], Any]:
    """The positions, of these or of all, that have an embedding of a name, and those embeddings as one matrix."""
    every = slots.raw("_metadata")
    cells = [
        (at, value)
        for at in (range(len(every)) if positions is None else positions)
        if (value := named_vector(every[at], name)) is not None
    ]
    if not cells:
        raise MissingEmbedding(f"no document has {_named_so(every, name)}")
    stacked = tensors.stack([value for _, value in cells])
    return [at for at, _ in cells], stacked if tensors.is_sparse(stacked) else tensors.to_numpy(stacked)


def named_matrix(slots: Slots, name: str) -> Any:
    """The embeddings of a name, of documents that all have one, as one matrix (n, *shape).

    Raises:
        MissingEmbedding: a document has none; the message names it.
    """
    every = slots.raw("_metadata")
    vectors = [named_vector(private, name) for private in every]
    for at, vector in enumerate(vectors):
        if vector is None:
            raise MissingEmbedding(f"document {slots.ids()[at]!r} has not {_named_so([every[at]], name)}")
    stacked = tensors.stack(vectors)
    return stacked if tensors.is_sparse(stacked) else tensors.to_numpy(stacked)


def _named_so(private: Sequence[Any], name: str) -> str:
    held = [one.get("embeddings") for one in private if one]
    names = sorted(
        {str(known) for one in held if isinstance(one, dict) for known in cast("dict[Any, Any]", one)}
    )
    return f"an embedding named {name!r}. {near_miss(name, names) if names else 'None are named.'}"


def check_present(values: list[Any], slots: Slots, positions: list[int] | None, name: str) -> None:
    """Raises MissingEmbedding naming the documents that have no value."""
    missing = [i for i, value in enumerate(values) if value is None]
    if not missing:
        return
    at = missing if positions is None else [positions[i] for i in missing]
    shown = ", ".join(map(str, at[:10])) + (", ..." if len(at) > 10 else "")
    first = slots.ids()[at[0]]
    raise MissingEmbedding(
        f"Document[{shown}].{name} is None: {len(at)} of {len(slots)} documents have none, first {first!r}"
    )


def _two_dimensional(matrix: Any) -> Any:
    if tensors.is_sparse(matrix):
        return matrix
    array = tensors.to_numpy(matrix)
    if array.dtype.kind not in "biuf":
        raise FieldTypeError(f"embeddings of dtype {array.dtype} have no distances")
    return array if array.ndim == 2 else array.reshape(array.shape[0], -1)


def _like(matrix: Any, queries: Any) -> Any:
    if tensors.is_sparse(matrix):
        return type(matrix.tocsr())(queries)
    return queries.toarray()


def vectors_of(value: Any) -> tuple[Any, bool]:
    """A query as a matrix (q, d), and whether it was a single vector.

    Raises:
        FieldTypeError: it is no vector.
    """
    if tensors.is_sparse(value) and tensors.framework(value) == "scipy":
        return (value.tocsr() if value.ndim == 2 else value.reshape(1, -1).tocsr()), False
    if tensors.framework(value) is None:
        raise FieldTypeError(
            f"find takes a vector, vectors, a Document, a DocumentArray or a filter; got {type(value).__name__}"
        )
    array = tensors.to_numpy(value)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise FieldTypeError(f"a query vector holds numbers; got {array.dtype} of shape {array.shape}")
    return (array[None, :], True) if array.ndim == 1 else (array.reshape(array.shape[0], -1), False)


def ask(limit: object) -> int | None:
    """A limit as an int, or None for all.

    Raises:
        BadValue: it is not above 0.
    """
    if limit is None:
        return None
    try:
        number = int(cast("Any", limit))
    except (TypeError, ValueError):
        raise BadValue(f"limit is a number of documents or None; got {limit!r}") from None
    if number <= 0:
        raise BadValue(f"limit={limit!r}: it must be above 0; None gives all")
    return number


def score_name(metric: str | Callable[..., Any], given: str | None) -> str:
    """The key of the scores that a search fills."""
    return given or metric_name(metric)
