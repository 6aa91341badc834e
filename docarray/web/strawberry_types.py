"""Documents as types of Strawberry: what the resolvers of one's own GraphQL schema give and take.

Rule 1: what is not set is null, at both ends.
Rule 2: `SCALARS` belongs into the configuration of each schema that uses these types:
        `strawberry.Schema(..., config=StrawberryConfig(scalar_map=SCALARS))`.
Rule 3: what GraphQL's JSON cannot say is still answered: NaN and infinity are null, other values are marked as the
        library's JSON marks them (docs/formats.md).
"""

# pyright: reportPrivateUsage=false
# The modules of this room are friends of arrays: they read their slots.

from __future__ import annotations

import base64
import copy
import json
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NewType, cast

import numpy as np

from docarray import exchange, tagged
from docarray.array import DocumentArray
from docarray.document import Document, record_of
from docarray.errors import BadValue, FieldTypeError, MissingExtra
from docarray.records import Record, records_of, table_of
from docarray.schema import FIELDS
from docarray.settle import settled
from docarray.table import Table
from docarray.tensors import framework, is_sparse, to_numpy

try:
    import strawberry
    from strawberry.scalars import JSON, Base64
    from strawberry.types.scalar import ScalarDefinition
except ImportError as _error:
    raise MissingExtra(
        'documents in GraphQL need the package strawberry-graphql: pip install "docarray[graphql]"'
    ) from _error

__all__ = [
    "SCALARS",
    "Base64",
    "JSONScalar",
    "NdArray",
    "Score",
    "ScoreItem",
    "ScoreItemInput",
    "StrawberryDocument",
    "StrawberryDocumentInput",
    "array_in",
    "array_out",
    "finite",
    "from_object",
    "from_objects",
    "json_in",
    "json_out",
    "record_of_fields",
    "score_items",
    "to_object",
    "to_objects",
]

_DENSE: Final = 1 << 24  # cells of a sparse array that are still written out


def json_out(value: Any) -> Any:
    """A value of tags as GraphQL's JSON: NaN and infinity are null.

    >>> json_out({'a': 1, 'b': [float('nan'), 'x']})
    {'a': 1, 'b': [None, 'x']}
    """
    try:
        return _plain(value)
    except _Odd:
        return json.loads(tagged.dumps(value), parse_constant=_nothing)


class _Odd(Exception):
    """A value that plain JSON does not say."""


def _plain(value: Any) -> Any:
    kind = cast("Any", type(value))
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is list:
        return [_plain(each) for each in value]
    if kind is dict:
        fields = cast("dict[Any, Any]", value)
        if tagged.MARK not in fields and all(type(key) is str for key in fields):
            return {key: _plain(each) for key, each in fields.items()}
    raise _Odd


def _nothing(_: str) -> None:
    return None


def json_in(value: Any) -> Any:
    """A JSON value that a client sent. Old clients send objects as text: that is read.

    Raises:
        BadValue: the text begins an object and is none.

    >>> json_in({'a': 1}), json_in('{"a": 1}'), json_in('a text')
    ({'a': 1}, {'a': 1}, 'a text')
    """
    if not isinstance(value, str) or not value.lstrip(" \t\r\n").startswith("{"):
        return value
    try:
        return json.loads(value, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise BadValue(f"this begins as an object of JSON and is none: {value!r:.60}") from None


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def array_out(value: Any) -> Any:
    """An array of any framework as nested lists; NaN and infinity are null.

    Raises:
        FieldTypeError: a sparse array that would take millions of numbers.

    >>> array_out(np.array([[1, 2], [3, 4]]))
    [[1, 2], [3, 4]]
    >>> array_out(np.array([0.5, np.inf]))
    [0.5, None]
    """
    if is_sparse(value) and math.prod(map(int, value.shape)) > _DENSE:
        raise FieldTypeError(f"a sparse array of shape {tuple(value.shape)} is too great to be written out")
    array = to_numpy(value)
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            cells: Any = array.astype(object)
            cells[~finite] = None
            return cells.tolist()
    elif array.dtype.kind not in "biu":
        array = array.astype(str)
    return array.tolist()


def array_in(value: Any) -> Any:
    """The array of nested lists of numbers.

    Raises:
        FieldTypeError: something else, or rows of different lengths.

    >>> array_in([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if not isinstance(value, list) or array.dtype.kind not in "biuf":
        raise FieldTypeError(
            "an array is a list of numbers, or a list of such lists that are all of one length"
        )
    return array


def _base64_out(value: Any) -> str:
    return base64.b64encode(value).decode()


def _base64_in(value: Any) -> bytes:
    if not isinstance(value, str):
        raise FieldTypeError(f"base64 is text; got a {type(value).__name__}")
    return exchange.unbase64(value)


JSONScalar = JSON

if TYPE_CHECKING:
    NdArray = Any
else:
    NdArray = NewType("NdArray", np.ndarray)

SCALARS: Final[Mapping[object, ScalarDefinition]] = MappingProxyType(
    {
        NdArray: strawberry.scalar(
            name="NdArray",
            description="Numbers, as lists in lists. What is not finite is null.",
            serialize=array_out,
            parse_value=array_in,
        ),
        JSON: strawberry.scalar(
            name="JSON",
            description="Any JSON value. An object may also be sent as its text, as GraphQL literals know no `$`.",
            specified_by_url="https://ecma-international.org/wp-content/uploads/ECMA-404_2nd_edition_december_2017.pdf",
            serialize=json_out,
            parse_value=json_in,
        ),
        Base64: strawberry.scalar(
            name="Base64",
            description="Bytes, in base64 of the standard alphabet.",
            specified_by_url="https://datatracker.ietf.org/doc/html/rfc4648.html#section-4",
            serialize=_base64_out,
            parse_value=_base64_in,
        ),
    }
)
"""What the scalars are read and written by, for `StrawberryConfig(scalar_map=...)`."""


# ---------------------------------------------------------------------------------------------- types


@strawberry.type(name="Namedscore", description="A score and where it comes from.")
class Score:
    """What a score says."""

    value: float | None = None
    op_name: str | None = None
    description: str | None = None
    ref_id: str | None = None


@strawberry.type(name="Namescoreitem", description="A score under its name.")
class ScoreItem:
    """A score under its name."""

    name: str
    score: Score


@strawberry.input(name="Namedscoreinput", description="A score and where it comes from.")
class ScoreInput:
    """What a score says."""

    value: float | None = None
    op_name: str | None = None
    description: str | None = None
    ref_id: str | None = None


@strawberry.input(name="Namescoreiteminput", description="A score under its name.")
class ScoreItemInput:
    """A score under its name."""

    name: str
    score: ScoreInput


@strawberry.type(description="A document with all below it.")
class StrawberryDocument:
    """A Document for resolvers to give; `Document.to_strawberry_type` makes it."""

    id: str | None = None
    parent_id: str | None = None
    granularity: int | None = None
    adjacency: int | None = None
    blob: Base64 | None = None
    tensor: NdArray | None = None
    mime_type: str | None = None
    text: str | None = None
    weight: float | None = None
    uri: str | None = None
    tags: JSON | None = None
    offset: float | None = None
    location: list[float] | None = None
    embedding: NdArray | None = None
    modality: str | None = None
    evaluations: list[ScoreItem] | None = None
    scores: list[ScoreItem] | None = None
    chunks: list[StrawberryDocument] | None = None
    matches: list[StrawberryDocument] | None = None


@strawberry.input(description="A document with all below it; what is not given is not set.")
class StrawberryDocumentInput:
    """A Document for resolvers to take; `Document.from_strawberry_type` makes the document of it."""

    id: str | None = None
    parent_id: str | None = None
    granularity: int | None = None
    adjacency: int | None = None
    blob: Base64 | None = None
    tensor: NdArray | None = None
    mime_type: str | None = None
    text: str | None = None
    weight: float | None = None
    uri: str | None = None
    tags: JSON | None = None
    offset: float | None = None
    location: list[float] | None = None
    embedding: NdArray | None = None
    modality: str | None = None
    evaluations: list[ScoreItemInput] | None = None
    scores: list[ScoreItemInput] | None = None
    chunks: list[StrawberryDocumentInput] | None = None
    matches: list[StrawberryDocumentInput] | None = None


_NAMES: Final = tuple(name for name in FIELDS if name != "_metadata")
_PARTS: Final = ("value", "op_name", "description", "ref_id")


# ---------------------------------------------------------------------------------------------- conversion


def score_items(scores: Mapping[str, Mapping[str, Any]]) -> list[ScoreItem]:
    """Scores as a list, as GraphQL knows no maps."""
    return [
        ScoreItem(name=name, score=Score(**{**score, "value": finite(score.get("value"))}))
        for name, score in scores.items()
    ]


def finite(number: Any) -> Any:
    """A number; None for NaN and infinity, which GraphQL's Float has not."""
    return None if isinstance(number, float) and not math.isfinite(number) else number


def _given(name: str, value: Any) -> Any:
    kind = FIELDS[name].kind
    if kind == "docs":
        return [_object(record) for record in value]
    if name == "tags":
        return copy.deepcopy(value)
    return score_items(value) if kind == "scores" else finite(value)


def _object(record: Record) -> StrawberryDocument:
    return StrawberryDocument(**{name: _given(name, record[name]) for name in _NAMES if name in record})


def to_object(doc: Document) -> StrawberryDocument:
    """A document as an object; see `Document.to_strawberry_type`."""
    return _object(record_of(doc))


def to_objects(da: DocumentArray[Any]) -> list[StrawberryDocument]:
    """An array as objects; see `DocumentArray.to_strawberry_type`."""
    return [_object(record) for record in records_of(da._slots.table())]


def from_object(cls: type[Any], model: Any) -> Any:
    """The document of an object; see `Document.from_strawberry_type`."""
    return cls._of_record(records_of(_table_of([model]))[0])


def from_objects(cls: type[Any], models: Iterable[Any]) -> Any:
    """The array of objects; see `DocumentArray.from_strawberry_type`."""
    if isinstance(models, (str, bytes, Mapping)) or not isinstance(models, Iterable):
        raise FieldTypeError(
            f"a list of StrawberryDocuments is wanted; got a {type(cast('Any', models)).__name__}"
        )
    return cls(_table_of(models))


def _table_of(models: Iterable[Any]) -> Table:
    try:
        return settled(table_of([_record(model) for model in models]))
    except RecursionError:
        raise BadValue("these documents are nested too deep, or hold themselves") from None


def _record(model: Any) -> Record:
    """The record of an object, of which nothing is believed yet."""
    if not isinstance(model, (StrawberryDocument, StrawberryDocumentInput)):
        raise FieldTypeError(
            f"a StrawberryDocument or a StrawberryDocumentInput is wanted; got a {type(model).__name__}"
        )
    return record_of_fields({name: getattr(model, name) for name in _NAMES})


def record_of_fields(fields: Mapping[str, Any], below: Callable[[Any], Record] | None = None) -> Record:
    """The record of the fields of an object; `below` reads what its lists of documents hold."""
    record: Record = {}
    for name, value in fields.items():
        if value is None or value is strawberry.UNSET:
            continue
        kind = FIELDS[name].kind
        if kind == "docs":
            value = [(below or _record)(each) for each in value]
        elif kind == "scores":
            value = _scores(value)
        elif name == "tags":
            value = json_in(value)
        elif kind == "tensor" and name != "location" and framework(value) is None:
            value = array_in(value)
        record[name] = value
    return record


def _scores(items: Iterable[Any]) -> dict[str, dict[str, Any]]:
    return {
        item.name: {
            part: v for part in _PARTS if (v := getattr(item.score, part)) not in (None, strawberry.UNSET)
        }
        for item in items
    }
