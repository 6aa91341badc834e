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
from docarray.columns import BoolColumn, Column, JsonColumn, NumberColumn, TextColumn
from docarray.distance import metric_name
from docarray.document import Document
from docarray.errors import BadValue, FieldTypeError, MissingEmbedding, ShapeError
from docarray.nearest import nearest
from docarray.paths import lookup, parse_dunder
from docarray.rows import Slots
from docarray.schema import FIELDS
from docarray.tensors import Array

__all__ = [
    "Found",
    "ask",
    "check_present",
    "grouped",
    "matrix_of",
    "positions_where",
    "score_name",
    "search",
    "sorted_positions",
    "vectors_of",
]

Found = tuple[list[int], list[float]]


# ---------------------------------------------------------------------------------------------- filters


def positions_where(slots: Slots, condition: Mapping[Any, Any]) -> list[int]:
    """The positions of the documents that a filter keeps, in order.

    Raises:
        BadFilter: the filter is malformed. UnknownField: it names a field that is none.
    """
    node = query.parse(condition, FIELDS)
    return np.flatnonzero(_mask(slots, node)).tolist()


def _mask(slots: Slots, node: query.Node) -> Array:
    count = len(slots)
    if any(path[0] in ("chunks", "matches") for path in query.paths_in(node)):
        return query.mask(node, count, _Docs(slots.docs()))
    numbers = slots.untouched
    if numbers is not None:
        return query.mask(node, count, _Columns(slots, numbers))
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
            answer = query.mask(node, count, _Columns(slots, loose))
            docs = [slots.get(i) for i in touched]
            answer[touched] = query.mask(node, len(docs), _Docs(docs))
            return answer
    return query.mask(node, count, _Docs(slots.docs()))


def sorted_positions(
    slots: Slots, keys: str | Sequence[str], positions: list[int] | None = None
) -> list[int]:
    """The positions in the order of one or several paths; '-tags__price' is descending. Missing values come last."""
    numbers = slots.untouched
    column: Any = _Docs(slots.docs()) if numbers is None else _Columns(slots, numbers)
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


class _Columns:
    """The values of paths over rows that nobody touched."""

    def __init__(self, slots: Slots, numbers: Sequence[int]) -> None:
        self._slots = slots
        self._numbers = numbers
        table = cast("Any", slots.rows).table
        self._table = table
        whole = isinstance(numbers, range) and numbers == range(len(table))
        self._picked: Any = None if whole else np.array(numbers, np.intp)

    def _rows(self, rows: Array | None) -> Array | None:
        if self._picked is None:
            return rows
        return self._picked if rows is None else self._picked[rows]

    def __call__(self, path: tuple[str | int, ...], rows: Array | None) -> Any:
        root, picked = str(path[0]), self._rows(rows)
        column: Column | None = self._table.id_column if root == "id" else self._table.columns.get(root)
        rest = path[1:]
        while rest and isinstance(column, JsonColumn):
            keyed = column.by_key()
            if keyed is None:
                break
            column, rest = keyed.get(str(rest[0])), rest[1:]
            if column is None:
                return self._missing(rows)
        if column is None:
            default = FIELDS[root].default if not rest and root in FIELDS else None
            return [default] * self._count(rows)
        if not rest and root in FIELDS and len(path) == 1:
            return _field_values(column, root, picked)
        if not rest:
            return _coded(column, picked)
        values = column.values() if picked is None else column.take(picked).values()
        parts = (root, *rest)
        return [lookup({root: value}, parts, missing="none") for value in values]

    def _count(self, rows: Array | None) -> int:
        return len(self._numbers) if rows is None else len(rows)

    def _missing(self, rows: Array | None) -> list[Any]:
        return [None] * self._count(rows)


def _coded(column: Column, picked: Array | None) -> Any:
    """A column in the form that is quickest to filter."""
    if isinstance(column, TextColumn):
        codes, words = column.codes()
        return query.Codes(codes if picked is None else codes[picked], words)
    if isinstance(column, (NumberColumn, BoolColumn)):
        present = column.present
        if picked is None:
            return query.Numbers(column.data, present)
        return query.Numbers(column.data[picked], None if present is None else present[picked])
    return column.values() if picked is None else column.take(picked).values()


def _field_values(column: Column, name: str, picked: Array | None) -> Any:
    """The values of a field of documents, its default where it is unset."""
    if name in ("mime_type", "modality", "parent_id") and column.present is None:
        return _coded(column, picked)
    default = FIELDS[name].default
    values = column.values() if picked is None else column.take(picked).values()
    return values if default is None else [default if value is None else value for value in values]


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
    positions: list[int] | None = None,
    leave_out: Sequence[str] | None = None,
    normalization: tuple[float, float] | None = None,
    batch_size: int | None = None,
) -> list[Found]:
    """For each query row the nearest documents: positions and distances, nearest first, ties by position.

    Args:
        queries: (q, d), dense or scipy.sparse.
        limit: how many at most; None for all.
        positions: the documents to search, sorted; None for all.
        leave_out: an id for each query that must not be found.
        normalization: (a, b): distances are mapped so that the least of all is a and the greatest b.

    Raises:
        MissingEmbedding: some have none; the message names the first. ShapeError: another d.
    """
    matrix, norms = matrix_of(slots, positions)
    flat, asked = _two_dimensional(matrix), _two_dimensional(queries)
    if flat.shape[1] != asked.shape[1]:
        raise ShapeError(f"the query has {asked.shape[1]} dimensions; the documents have {flat.shape[1]}")
    if tensors.is_sparse(flat) != tensors.is_sparse(asked):
        asked = _like(flat, asked)
        flat = flat.tocsr() if tensors.is_sparse(flat) else flat
    skip = _skipped(slots, positions, leave_out)
    if normalization is not None:
        found = [
            _normalised(
                nearest(flat, asked[i : i + 1], None, metric, norms=norms, batch_size=batch_size),
                normalization,
            )
            for i in range(asked.shape[0])
        ]
        return [_limited(rows, values, limit, positions, None if skip is None else skip[i])
                for i, (rows, values) in enumerate(found)]  # fmt: skip
    rows, values = nearest(flat, asked, limit, metric, norms=norms, batch_size=batch_size, skip=skip)
    return [_limited(r, v, limit, positions, None) for r, v in zip(rows, values, strict=True)]


def _limited(rows: Array, values: Array, limit: int | None, positions: list[int] | None, skip: Any) -> Found:
    numbers, distances = rows.tolist(), values.tolist()
    if skip is not None and skip >= 0 and skip in numbers:
        at = numbers.index(skip)
        del numbers[at], distances[at]
    numbers, distances = numbers[:limit], distances[:limit]
    keep = [i for i, number in enumerate(numbers) if number >= 0]
    if len(keep) < len(numbers):
        numbers, distances = [numbers[i] for i in keep], [distances[i] for i in keep]
    return (numbers if positions is None else [positions[i] for i in numbers]), distances


def _normalised(found: tuple[Array, Array], target: tuple[float, float]) -> tuple[Array, Array]:
    rows, values = found[0][0], found[1][0]
    low, high = values.min(), values.max()
    a, b = target
    spread = high - low
    share = (values - low) / spread if spread > 0 else np.zeros_like(values)
    return rows, a + share * (b - a)


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
