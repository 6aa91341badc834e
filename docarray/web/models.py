"""Documents, arrays and multimodal dataclasses as types of pydantic: fields of models, bodies and answers of FastAPI.

Rule 1: documents are read and written by the JSON of the library, arrays through numpy. What pydantic is told of a
        document beside that is a description: it makes the JSON Schema, and no value passes through it.
Rule 2: whatever comes in is either a value of its type or a ValidationError that says where; where that is, is looked
        for when something was wrong.
Rule 3: what cannot leave again as JSON does not come in: lone surrogates, more than `DEEPEST` levels.
"""

# pyright: reportPrivateUsage=false
# This reads the slots of documents and the plans of dataclasses, as the modules above floor 5 do.

from __future__ import annotations

import contextvars
import dataclasses
import functools
import inspect
import json
import os
import reprlib
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf, nan
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, ClassVar, Final, Literal, NotRequired, cast

import numpy as np

from docarray import datauri, exchange, tensors
from docarray import typing as media
from docarray.array import DocumentArray
from docarray.columns import UniformTensors
from docarray.dataclasses import Plan, _bindings, _plan_of, _registered, _remember, _substituted
from docarray.display.thumbnail import image_type, png
from docarray.document import Document, record_of
from docarray.errors import (
    CorruptData,
    DocArrayError,
    FieldTypeError,
    MissingExtra,
    UnknownField,
    near_miss,
)
from docarray.garbage import gc_paused
from docarray.schema import FIELDS
from docarray.table import DocsColumn, Table
from docarray.tagged import MARK
from docarray.typing import Medium

try:
    from pydantic import (
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        PrivateAttr,
        TypeAdapter,
        ValidationError,
        WithJsonSchema,
        model_serializer,
        model_validator,
    )
    from pydantic_core import CoreSchema, PydanticCustomError, core_schema
    from typing_extensions import TypeAliasType, TypedDict
except ImportError as _error:
    raise MissingExtra(
        'models of documents need the package pydantic: pip install "docarray[web]"'
    ) from _error

__all__ = [
    "DEEPEST",
    "PydanticDocument",
    "PydanticDocumentArray",
    "document_schema",
    "from_model",
    "from_models",
    "json_schema",
    "to_model",
    "to_models",
]

DEEPEST: Final = 180
"""Levels of lists and dicts in a document. What is deeper pydantic would not read again."""

_ARRAYS: Final = ("tensor", "embedding")
_NESTED: Final = ("chunks", "matches")
_SCORED: Final = ("evaluations", "scores")
_CONTENTS: Final = frozenset({"text", "blob", "tensor", "content"})
_NUMERIC: Final = frozenset({"weight", "offset", "granularity", "adjacency", "location", *_SCORED})
_NOT_FINITE: Final[Mapping[str, float]] = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}
"""What JSON has no number for, by the text that stands for it."""
_MOST: Final = 32
"""Errors that are looked for in one value, and steps of a path that are told."""
_put: Final = object.__setattr__


# ---------------------------------------------------------------------------------------------- PydanticDocument


def _listed(value: Any) -> Any:
    """An array of any framework as nested lists; anything else as it is."""
    if value is None or tensors.framework(value) in (None, "list"):
        return value
    return tensors.to_numpy(value).tolist()


def _as_given(value: Any) -> Any:
    """A whole number as text, as ids were always taken."""
    return str(value) if type(value) is int else value


_Listed = Annotated[Any, BeforeValidator(_listed)]
_Number = Annotated[float | int, WithJsonSchema({"type": "number"})]
_Id = Annotated[str | None, BeforeValidator(_as_given)]


class _NamedScore(BaseModel):
    """A score: a number, and what it says."""

    value: _Number | None = None
    op_name: str | None = None
    description: str | None = None
    ref_id: str | None = None


class PydanticDocument(BaseModel):
    """A document as a model of pydantic: the fields of a Document, all of which may be left out.

    `Document.to_pydantic_model()` makes one, `Document.from_pydantic_model(model)` a document of it. `blob` is base64,
    `tensor` and `embedding` are lists. Two things stand beside the fields, in private attributes, and are dumped and
    validated with them where there are any: `_metadata`, and `_arrays`, what lists do not say of arrays (dtype,
    framework). New code has no need of it: `Document` itself is a type of pydantic.

    >>> model = PydanticDocument(text='hi', tags={'n': 1})
    >>> model.model_dump(exclude_none=True), Document.from_pydantic_model(model).tags
    ({'text': 'hi', 'tags': {'n': 1}}, {'n': 1})
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        ser_json_inf_nan="constants",
        json_schema_extra={"description": "A document, with blobs in base64 and arrays as lists."},
    )

    id: _Id = None
    parent_id: _Id = None
    blob: str | None = None
    tensor: _Listed = None
    granularity: int | None = None
    adjacency: int | None = None
    mime_type: str | None = None
    text: str | None = None
    weight: _Number | None = None
    uri: str | None = None
    tags: dict[str, Any] | None = None
    offset: _Number | None = None
    location: list[_Number] | None = None
    embedding: _Listed = None
    modality: str | None = None
    evaluations: dict[str, _NamedScore] | None = None
    scores: dict[str, _NamedScore] | None = None
    chunks: list[PydanticDocument] | None = None
    matches: list[PydanticDocument] | None = None

    _metadata: dict[str, Any] | None = PrivateAttr(None)
    # By field: the list that it is said of, and what. Another list that was put in its place says nothing.
    _arrays: dict[str, tuple[Any, dict[str, Any]]] | None = PrivateAttr(None)

    @model_validator(mode="wrap")
    @classmethod
    def _with_private(cls, data: Any, handler: Callable[[Any], PydanticDocument]) -> PydanticDocument:
        model = handler(data)
        if isinstance(data, Mapping):
            given = cast("Mapping[str, Any]", data)
            for name in ("_metadata", "_arrays"):
                said: Any = given.get(name)
                if said is None:
                    continue
                if not isinstance(said, Mapping):
                    raise ValueError(f"{name!r} is a dict; got a {type(said).__name__}")
                if name == "_metadata":
                    model._metadata = dict(cast("Mapping[str, Any]", said))
                else:
                    known = cast("Mapping[str, Any]", said)
                    model._arrays = {n: (getattr(model, n), known[n]) for n in _ARRAYS if n in known}
        return model

    @model_serializer(mode="wrap")
    def _and_private(self, handler: Callable[[Any], dict[str, Any]]):  # its schema is that of the fields
        said = handler(self)
        if self._metadata:
            said["_metadata"] = self._metadata
        beside = _beside(self)
        if beside:
            said["_arrays"] = beside
        return said


PydanticDocumentArray = list[PydanticDocument]
"""A list of `PydanticDocument`, which `DocumentArray.to_pydantic_model()` gives."""

_UNSET: Final[Mapping[str, Any]] = dict.fromkeys(PydanticDocument.model_fields)


def _beside(model: PydanticDocument) -> dict[str, Any]:
    """What the lists of a model do not say of its arrays."""
    held: dict[str, Any] | None = (model.__pydantic_private__ or {}).get(
        "_arrays"
    )  # 1 us less than by its name
    return (
        {name: spec for name, (value, spec) in held.items() if model.__dict__.get(name) is value}
        if held
        else {}
    )


def _model_of(said: dict[str, Any]) -> PydanticDocument:
    """The model of a dict of the library, which nobody else holds.

    It is what `model_construct` makes of fields that are right, in a tenth of the time.
    """
    private = arrays = None
    if not _APART.isdisjoint(said):
        private, beside = said.pop("_metadata", None), said.pop("_arrays", None)
        if beside:
            arrays = {name: (said[name], spec) for name, spec in beside.items()}
        for name in _SCORED:
            if name in said:
                said[name] = {key: _NamedScore.model_construct(**score) for key, score in said[name].items()}
        for name in _NESTED:
            if name in said:
                said[name] = [_model_of(one) for one in said[name]]
    model = PydanticDocument.__new__(PydanticDocument)
    _put(model, "__dict__", {**_UNSET, **said})
    _put(model, "__pydantic_fields_set__", set(said))
    _put(model, "__pydantic_extra__", None)
    _put(model, "__pydantic_private__", {"_metadata": private, "_arrays": arrays})
    return model


_APART: Final = frozenset({"_metadata", "_arrays", *_SCORED, *_NESTED})
"""What is another thing in a model than in a dict."""


def _is_flat(tags: Any) -> bool:
    """Whether JSON says tags as they are, without a look below."""
    if type(tags) is not dict:
        return False
    for key, value in cast("dict[Any, Any]", tags).items():
        kind = cast("Any", type(value))
        if type(key) is not str or key == MARK:
            return False
        if kind is str or kind is bool or value is None:
            continue
        if kind is int:
            if not -(1 << 63) <= value < 1 << 64:
                return False
        elif kind is not float or value - value != 0.0:
            return False
    return True


def to_model(doc: Document) -> PydanticDocument:
    """A document as a model; see `Document.to_pydantic_model`.

    Costs a few microseconds where the document has text, tags and a vector, and some fifty where more.
    """
    return _model_of(exchange.to_dict(record_of(doc), "jsonschema", exclude_none=True))


def to_models(da: DocumentArray[Any]) -> list[PydanticDocument]:
    """The models of an array; see `DocumentArray.to_pydantic_model`."""
    with gc_paused():
        return [
            _model_of(said) for said in exchange.to_dicts(da._slots.table(), "jsonschema", exclude_none=True)
        ]


def _said_by(model: Any) -> dict[str, Any]:
    """A model as a dict of the library; nothing in it is changed by who reads that."""
    if not isinstance(model, BaseModel):
        raise FieldTypeError(f"a model of pydantic is wanted; got a {type(model).__name__}: {model!r:.60}")
    said = {name: value for name, value in model.__dict__.items() if value is not None}
    if model.__pydantic_extra__:
        said.update(model.__pydantic_extra__)
    for name in _SCORED:
        if name in said and isinstance(said[name], Mapping):
            said[name] = {
                key: score.__dict__ if isinstance(score, BaseModel) else score
                for key, score in said[name].items()
            }
    for name in _NESTED:
        if name in said and isinstance(said[name], (list, tuple)):
            said[name] = [_said_by(one) if isinstance(one, BaseModel) else one for one in said[name]]
    if isinstance(model, PydanticDocument):
        private = (model.__pydantic_private__ or {}).get("_metadata")
        if private:
            said["_metadata"] = private
        beside = _beside(model)
        if beside:
            said["_arrays"] = beside
    return said


def from_model(cls: type[Any], model: Any) -> Any:
    """The document of a model; see `Document.from_pydantic_model`."""
    return cls._of_record(exchange.from_dict(_said_by(model), None))


def from_models(cls: type[Any], models: Iterable[Any]) -> Any:
    """The array of models; see `DocumentArray.from_pydantic_model`."""
    if isinstance(models, (BaseModel, str, bytes, Mapping)) or not isinstance(models, Iterable):
        raise FieldTypeError(
            f"a list of models of pydantic is wanted; got a {type(cast('Any', models)).__name__}"
        )
    with gc_paused():
        return cls(exchange.from_dicts([_said_by(model) for model in models], None))


# ---------------------------------------------------------------------------------------------- what comes in


class _Unsayable(Exception):
    """A value that does not come in, since it could not leave."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.path: list[Any] = []


_LEAVES: Final = frozenset({float, int, bool, type(None)})


def _look_through(value: Any, depth: int = 0) -> None:
    """Raises _Unsayable where there is a lone surrogate, or too deep a level."""
    kind = cast("Any", type(value))
    if kind is str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _Unsayable("text with a lone surrogate, which is no character") from None
        return
    if kind is not dict and kind is not list:
        return
    if depth >= DEEPEST:
        raise _Unsayable(f"nested more than {DEEPEST} levels deep")
    if kind is list and set(map(type, value)) <= _LEAVES:
        return
    at: Any = None
    try:
        for at, item in value.items() if kind is dict else enumerate(value):
            if type(item) not in _LEAVES:
                _look_through(item, depth + 1)
            if kind is dict and type(at) is str and not at.isascii():
                _look_through(at)
    except _Unsayable as error:
        error.path.append(at)
        raise


_PROBE: Final = "\0"
"""The id of documents that are made to see what is wrong with them."""


def _read(values: Sequence[Any], title: str) -> Table:
    """The table of dicts.

    Raises:
        ValidationError: something is wrong; the paths of its errors begin with the position of the dict.
    """
    found: list[Any] = []
    for at, value in enumerate(values):
        try:
            _look_through(value)
        except _Unsayable as error:
            if len(found) < _MOST:
                found.append(_mistake((at, *map(_step, reversed(error.path))), str(error), value))
        except RecursionError as error:
            found.append(_mistake((at,), _told(error), None))
    if found:
        raise _failed(title, found)
    try:
        return _table_of(values)
    except (DocArrayError, RecursionError) as error:
        _search(values, (), 0, found)
        raise _failed(title, found or [_mistake((), _told(error), None)]) from None


_KNOWN: Final = frozenset({*FIELDS, "content", "_arrays"})
_PARTS: Final = frozenset({"value", "op_name", "description", "ref_id"})


def _table_of(values: Sequence[Any]) -> Table:
    """The table of dicts, which have to be what the description says: the library itself forgives more.

    Raises:
        CorruptData, UnknownField: they are not; the message names the field.
    """
    table = exchange.from_dicts([_checked(value) for value in values], "jsonschema", unknown="error")
    _check_arrays(table, values)
    return table


def _checked(value: Any) -> Any:
    """A dict of a document with its numbers as numbers; the dict itself where they are."""
    if not isinstance(value, Mapping):
        return value
    fields = cast("Mapping[Any, Any]", value)
    used = fields.keys()
    if len(used & _CONTENTS) > 1:
        several = [name for name in fields if name in _CONTENTS and fields[name] is not None]
        if len(several) > 1:
            raise CorruptData(f"a document has one of text, blob and tensor; got {' and '.join(several)}")
    if "_arrays" in used and not isinstance(fields["_arrays"], (Mapping, type(None))):
        raise CorruptData(f"field '_arrays' takes a dict; got {fields['_arrays']!r:.60}")
    changed: dict[str, Any] = {}
    for name in used - _KNOWN:
        if fields[name] is None:  # which the library forgives
            where = f"document {fields['id']!r:.60}: " if "id" in used else ""
            raise UnknownField(f"{where}{name!r:.60} is no field. {near_miss(str(name)[:60], FIELDS)}")
    for name in used & _NUMERIC:
        item = made = fields[name]
        if name == "location":
            if isinstance(item, (list, tuple)):
                made = [_number(name, one) for one in cast("Sequence[Any]", item)]
        elif name not in _SCORED:
            made = _number(name, item)
        elif isinstance(item, Mapping):
            made = {key: _score(name, score) for key, score in cast("Mapping[Any, Any]", item).items()}
        changed[name] = made
    for name in used & _BELOW.keys():
        if isinstance(fields[name], (list, tuple)):
            changed[name] = [_checked(one) for one in fields[name]]
    return {**fields, **changed} if changed else fields


def _number(name: str, value: Any) -> Any:
    """A number, which JSON says as a text where it has no other way."""
    if type(value) is str and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) is bool:
        raise CorruptData(f"field {name!r} takes a number; got bool: {value}")
    return value


def _score(name: str, score: Any) -> Any:
    if isinstance(score, Mapping):
        parts = cast("Mapping[Any, Any]", score)
        for part in parts.keys() - _PARTS:
            if parts[part] is None:
                raise UnknownField(
                    f"a NamedScore has no field {part!r:.60}. {near_miss(str(part)[:60], sorted(_PARTS))}"
                )
        return {**parts, "value": _number(name, parts["value"])} if "value" in parts else parts
    return _number(name, score)


def _check_arrays(table: Table, values: Sequence[Any]) -> None:
    """Raises CorruptData where a list is no array of numbers. One with rows of unequal length has to say so."""
    for name in _ARRAYS:
        column = table.columns.get(name)
        if column is None or isinstance(column, UniformTensors):
            continue
        for at, value in enumerate(column.values()):
            if tensors.framework(value) != "list":
                continue
            beside = values[at].get("_arrays")
            listed = isinstance(beside, Mapping) and cast("Any", beside).get(name) == {"framework": "list"}
            if not (listed or isinstance(values[at].get(name), Mapping)) or not _is_of_numbers(value):
                raise CorruptData(
                    f"field {name!r} of document {table.ids[at]!r}: an array is numbers in lists, all of one length; "
                    f"got {value!r:.60}"
                )
    for name in _NESTED:
        column = table.columns.get(name)
        if isinstance(column, DocsColumn):
            _check_arrays(column.child, [one for value in values for one in value.get(name) or ()])


def _is_of_numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_of_numbers, cast("Sequence[Any]", value)))
    return isinstance(value, (int, float))


def _step(key: Any) -> int | str:
    """A key as a step of a path."""
    return key if type(key) is int else _ascii(str(key)[:60])


def _ascii(text: str) -> str:
    return text if text.isascii() else text.encode("ascii", "backslashreplace").decode()


def _shown(value: Any) -> Any:
    """What an error says of a value: itself where it is short, else how it begins.

    FastAPI sends that back, and fails on what JSON cannot say.
    """
    kind = cast("Any", type(value))
    if value is None or kind is bool or (kind is str and len(value) < 80 and value.isascii()):
        return value
    if (kind is int and -(1 << 53) < value < 1 << 53) or (kind is float and value - value == 0.0):
        return value
    return _ascii(reprlib.repr(value))


def _failed(title: str, found: list[Any]) -> ValidationError:
    return ValidationError.from_exception_data(title, found)


def _mistake(loc: tuple[int | str, ...], message: str, value: Any, kind: str = "document") -> Any:
    told = PydanticCustomError(cast("Any", kind), cast("Any", _ascii(message)))
    return {"type": told, "loc": loc[:_MOST], "input": _shown(value)}


def _told(error: BaseException) -> str:
    """The message of an error about one document, of which the client knows that it is that one."""
    if isinstance(error, RecursionError):
        return "nested too deep, or it holds itself"
    text = str(error).partition(" Pass unknown=")[0]
    for part in (f" of document {_PROBE!r}", f"document {_PROBE!r}: ", "document 0: "):
        text = text.replace(part, "")
    return text


def _search(values: Sequence[Any], loc: tuple[int | str, ...], first: int, found: list[Any]) -> None:
    """Adds what is wrong in a list of documents that has its `first` at `loc`. Halves that are right are read once."""
    if len(values) == 1:
        _mistakes(values[0], (*loc, first), found)
    elif values and len(found) < _MOST:
        try:
            _table_of(values)
        except (DocArrayError, RecursionError):
            middle = len(values) // 2
            _search(values[:middle], loc, first, found)
            _search(values[middle:], loc, first + middle, found)


def _mistakes(value: Any, loc: tuple[int | str, ...], found: list[Any]) -> None:
    """Adds what is wrong with one document, field by field, the nested ones too."""
    if len(found) >= _MOST:
        return
    if not isinstance(value, Mapping):
        found.append(_mistake(loc, f"a document is an object; got a {type(value).__name__}", value))
        return
    fields = cast("Mapping[Any, Any]", value)
    shallow = {name: item for name, item in fields.items() if name not in _NESTED}
    before = len(found)
    whole = _error_of({"id": _PROBE, **shallow})
    if whole is not None:
        beside = shallow.get("_arrays")
        for name, item in shallow.items():
            one = {"id": _PROBE, name: item}
            if name in _ARRAYS and isinstance(beside, Mapping):
                one["_arrays"] = {name: cast("Any", beside).get(name)}
            told = _error_of(one)
            if told is not None and len(found) < _MOST:
                known = name in FIELDS or name in ("content", "_arrays")
                found.append(
                    _mistake((*loc, _step(name)), told, item, "document" if known else "extra_forbidden")
                )
        if len(found) == before:
            found.append(_mistake(loc, whole, value))
    for name in _NESTED:
        below = fields.get(name)
        if below is None:
            continue
        if not isinstance(below, (list, tuple)):
            found.append(
                _mistake((*loc, name), f"a list of documents is wanted; got a {type(below).__name__}", below)
            )
            continue
        _search(cast("Sequence[Any]", below), (*loc, name), 0, found)


def _error_of(fields: dict[Any, Any]) -> str | None:
    """What is wrong with a dict as a document."""
    try:
        _table_of([fields])
    except (DocArrayError, RecursionError) as error:
        return _told(error)
    return None


def _one(cls: type[Any], value: Any) -> Any:
    """A Document of what came in."""
    if isinstance(value, cls):
        return value
    if isinstance(value, Document):
        return cls(value, copy=True)
    if not isinstance(value, Mapping):
        wanted = f"a {cls.__name__} or an object with its fields is wanted; got a {type(value).__name__}"
        raise _failed(cls.__name__, [_mistake((), wanted, value)])
    try:
        table = _read([value], cls.__name__)
    except ValidationError as error:
        raise _moved(error, lambda loc: loc[1:]) from None
    doc = DocumentArray(table)[0]
    return doc if cls is Document else cls(doc, copy=True)


def _moved(error: ValidationError, place: Callable[[Any], Any] = tuple) -> ValidationError:
    """The same errors, at other places, with values that can be shown."""
    return _failed(
        error.title,
        [
            _mistake(place(one["loc"]), one["msg"], one["input"], one["type"])
            for one in error.errors(include_url=False)
        ],
    )


def _several(cls: type[Any], kind: type[Any], value: Any, handler: Any = None) -> Any:
    """A DocumentArray of what came in. What pydantic would do with it, the handler, is not asked for."""
    del handler
    if isinstance(value, cls) and (kind is Document or all(isinstance(doc, kind) for doc in value)):
        return value
    if not isinstance(value, (list, tuple, DocumentArray)):
        wanted = f"a DocumentArray or a list of documents is wanted; got a {type(value).__name__}"
        raise _failed(cls.__name__, [_mistake((), wanted, value)])
    items: list[Any] = list(cast("Iterable[Any]", value))
    if kind is not Document:
        items = [kind(item, copy=True) if type(item) is Document else item for item in items]
    places = [at for at, item in enumerate(items) if not isinstance(item, kind)]
    if len(places) == len(items) and kind is Document:
        return cls(_read(items, cls.__name__))
    try:
        made = DocumentArray(_read([items[at] for at in places], cls.__name__))
    except ValidationError as error:
        raise _moved(error, lambda loc: (places[loc[0]], *loc[1:]) if loc else loc) from None
    for at, doc in zip(places, made, strict=True):
        items[at] = doc if kind is Document else kind(doc, copy=True)
    return cls(items)


# ---------------------------------------------------------------------------------------------- what goes out


def _dicts_of(table: Table) -> list[dict[str, Any]]:
    """Documents as the library's dicts, of what pydantic can write. JSON has no NaN and no infinities: arrays with them
    are in base64, numbers are texts, in tags they are marked.

    Raises:
        FieldTypeError: a lone surrogate, or too many levels; the message names document and field.
    """
    rows = exchange.to_dicts(table, "jsonschema", exclude_none=True)
    for row in _odd_rows(table):
        rows[row] = exchange.to_dicts(
            table.slice(row, row + 1), "jsonschema", exclude_none=True, arrays="base64"
        )[0]
    for row in rows:
        _make_finite(row)
        try:
            _look_through({name: value for name, value in row.items() if not _is_array(row, name)})
        except _Unsayable as error:
            path = ".".join(map(str, map(_step, reversed(error.path[-8:]))))
            raise FieldTypeError(f"field {path!r} of document {row['id']!a} has {error}") from None
    return rows


def _is_array(row: Mapping[str, Any], name: str) -> bool:
    """Whether the value of a field is an array of numbers, or one in base64."""
    return name in _ARRAYS and row.get("_arrays", _NO_ARRAYS).get(name, _NO_ARRAYS).get("framework") != "list"


_NO_ARRAYS: Final[Mapping[str, Any]] = {}


def _make_finite(row: dict[str, Any]) -> None:
    """Says what JSON has no number for, in a dict that nobody else holds."""
    for name in row.keys() & _SPOKEN:
        value = row[name]
        if name in _NESTED:
            for below in value:
                _make_finite(below)
        elif name in _SCORED:
            for score in value.values():
                if "value" in score:
                    score["value"] = _finite(score["value"])
        elif name in ("tags", "_metadata"):
            if not _is_flat(value):
                row[name] = _marked(value)
        elif name == "location":
            row[name] = [_finite(one) for one in value]
        elif name not in _ARRAYS:
            row[name] = _finite(value)
        elif not _is_array(row, name):
            row[name] = _marked(value)


_SPOKEN: Final = frozenset({*_NUMERIC, *_NESTED, *_ARRAYS, "tags", "_metadata"})


def _finite(value: Any) -> Any:
    if type(value) is not float or value - value == 0.0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _marked(value: Any) -> Any:
    """A value in which what is not finite is marked (tagged.py)."""
    kind = cast("Any", type(value))
    if kind is dict:
        return {key: _marked(item) for key, item in value.items()}
    if kind is list:
        return [_marked(item) for item in value]
    if kind is float and value - value != 0.0:
        return {MARK: "float", "is": _finite(value)}
    return value


def _odd_rows(table: Table) -> set[int]:
    """Rows with arrays that have NaN or infinities in them, at any depth."""
    found: set[int] = set()
    for name in _ARRAYS:
        column = table.columns.get(name)
        if isinstance(column, UniformTensors):
            if column.data.dtype.kind == "f":
                flat = column.data.reshape(len(column), -1)
                found.update(np.flatnonzero(~np.isfinite(flat).all(1)).tolist())
        elif column is not None:
            for row, value in enumerate(column.values()):
                if tensors.framework(value) in (None, "list") or tensors.is_sparse(value):
                    continue
                data = tensors.to_numpy(value)
                if data.dtype.kind == "f" and not np.isfinite(data).all():
                    found.add(row)
    for name in _NESTED:
        column = table.columns.get(name)
        if isinstance(column, DocsColumn):
            offsets = column.checked()
            first = int(offsets[0])
            below = _odd_rows(column.child.slice(first, int(offsets[-1])))
            if below:
                bounds: list[int] = (offsets - first).tolist()
                found.update(row for row, (a, b) in enumerate(pairwise(bounds)) if below & set(range(a, b)))
    return found


def _written(say: Callable[[Any], Any]) -> Any:
    """Of python mode the value itself, of JSON mode what `say` gives."""

    def write(value: Any, info: Any) -> Any:
        return value if info.mode == "python" else say(value)

    return core_schema.plain_serializer_function_ser_schema(write, info_arg=True)


def _say_one(doc: Any) -> Any:
    return _dicts_of(DocumentArray([doc])._slots.table())[0]


def _say_several(da: Any) -> Any:
    return _dicts_of(da._slots.table())


# ---------------------------------------------------------------------------------------------- the description

Numbers = TypeAliasType("Numbers", "list[float | bool | Numbers]")
"""Numbers in nested lists, all rows of one length."""


_Float = float | Literal["NaN", "Infinity", "-Infinity"]


class EncodedArray(TypedDict):
    """An array as the bytes of its numbers, in rows, in base64: half as long as lists, and exact."""

    dtype: Annotated[str, Field(description="The dtype as numpy has it.", examples=["<f4", "|u1"])]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(description="The length of each axis.")]
    base64: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]
    framework: NotRequired[Literal["numpy", "list", "torch", "tensorflow", "paddle", "jax"]]


class SparseArray(TypedDict):
    """A sparse array: its layout, and the parts that it is made of."""

    layout: Annotated[str, Field(description="Of scipy or torch.", examples=["scipy.csr"])]
    shape: list[Annotated[int, Field(ge=0)]]
    parts: list[EncodedArray]


class ArrayForm(TypedDict, total=False):
    """What a list does not say of an array."""

    dtype: Annotated[str, Field(description="The dtype as numpy has it.", examples=["<f4"])]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(description="The length of each axis.")]
    framework: Literal["numpy", "list", "torch", "tensorflow", "paddle", "jax"]


class ArrayForms(TypedDict, total=False):
    """What lists do not say of arrays: dtype, shape, framework."""

    tensor: ArrayForm
    embedding: ArrayForm


class NamedScore(TypedDict, total=False):
    """A score: a number, and what it says."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # pyright: ignore[reportGeneralTypeIssues]

    value: Annotated[_Float | None, Field(examples=[0.25])]
    op_name: Annotated[str | None, Field(description="What computed it.", examples=["cosine"])]
    description: str | None
    ref_id: Annotated[str | None, Field(description="The id of the document that it is relative to.")]


_Tensor = Numbers | float | bool | EncodedArray | SparseArray | None
_Scores = dict[str, NamedScore | _Float | None] | None

_FORM: Final[Mapping[str, tuple[Any, str, list[Any]]]] = {
    "id": (str | int | None, "The name of the document; drawn where there is none.", ["0d6b8a"]),
    "parent_id": (str | int | None, "The id of the document that this one is a chunk of.", []),
    "granularity": (int | None, "The depth along chunks; 0 at the root.", [0]),
    "adjacency": (int | None, "The depth along matches; 0 at the root.", [0]),
    "blob": (str | None, "Raw bytes, in base64. A document has one of text, blob and tensor.", ["aGVsbG8="]),
    "tensor": (_Tensor, "An array, as content.", [[[0, 1], [2, 3]]]),
    "mime_type": (str | None, "The media type of the content.", ["image/png"]),
    "text": (str | None, "Text, as content.", ["a red car"]),
    "weight": (_Float | None, "The weight of this document among others.", [1.0]),
    "uri": (str | None, "Where the content is: a path, URL or data URI.", ["https://example.com/car.png"]),
    "tags": (dict[str, Any] | None, "Free data.", [{"color": "red", "price": 3}]),
    "offset": (_Float | None, "The position of this fragment in its parent.", []),
    "location": (list[_Float] | None, "The place of this fragment in its parent, such as a crop box.", []),
    "embedding": (_Tensor, "A vector, by which the document is found.", [[0.1, 0.9]]),
    "modality": (str | None, "A free word for the medium.", ["image"]),
    "evaluations": (_Scores, "Scores by metric.", []),
    "scores": (_Scores, "Scores by name.", [{"cosine": {"value": 0.25}}]),
    "_metadata": (dict[str, Any] | None, "What the library knows of the document.", []),
    "_arrays": (ArrayForms | None, "What lists do not say of arrays.", []),
    "content": (str | _Tensor, "Another name for text or tensor, whichever it is.", []),
}
"""Of each key of a document: its type, what it is, examples."""
_BELOW: Final = {
    "chunks": "The documents that this one is made of.",
    "matches": "The documents found for this one.",
}


def _ref_of(cls: type[Any], *more: Any) -> str:
    where = "docarray" if cls.__module__.startswith("docarray.") else cls.__module__
    return ".".join((where, cls.__qualname__)) + ":" + "_".join(map(str, (id(cls), *more)))


_DOCUMENT: Final = "docarray.Document:1"


class _Form:
    """A document as JSON, for descriptions only; each names the others by one and the same reference."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        fields = {
            name: core_schema.typed_dict_field(handler.generate_schema(_described(*said)), required=False)
            for name, said in _FORM.items()
        }
        below = core_schema.list_schema(core_schema.definition_reference_schema(_DOCUMENT))
        for name in _NESTED:
            fields[name] = core_schema.typed_dict_field(core_schema.nullable_schema(below), required=False)
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid", ref=_DOCUMENT)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        found = handler(schema)
        said = handler.resolve_ref_schema(found)
        said["title"] = "Document"
        said["description"] = (
            "A document: content of any medium, data about it, a vector, and documents below (chunks) and beside it "
            "(matches). Every key may be left out, or be null."
        )
        said["examples"] = [
            {"id": "car-1", "text": "a red car", "tags": {"price": 3}, "embedding": [0.1, 0.9]}
        ]
        for name, text in _BELOW.items():
            said["properties"][name]["description"] = text
        return found


def _named(cls: type[Any], function: Any) -> Any:
    """A function that pydantic calls by the name of a class where it tells of errors."""
    function.__name__ = function.__qualname__ = cls.__name__
    return function


class _Shell(TypedDict):
    """What stands around the form while it is described: whatever is asked for, it is described as what is read.

    Read and written documents are of one form. Of what refers to itself pydantic makes two definitions else, which
    OpenAPI would call Document-Input and Document-Output.
    """

    __pydantic_config__ = ConfigDict(json_schema_mode_override="validation")  # pyright: ignore[reportGeneralTypeIssues]


@functools.cache
def _shell(form: Any) -> CoreSchema:
    """A type within the shell, for descriptions only."""
    schema: Any = TypeAdapter(form).core_schema
    return core_schema.typed_dict_schema({"form": core_schema.typed_dict_field(schema)}, cls=_Shell)


class _AsDocument:
    """Beside an annotation: how pydantic reads, writes and describes a class of documents."""

    __slots__ = ("cls",)

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _named(self.cls, functools.partial(_one, self.cls)), serialization=_written(_say_one)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"$ref": handler(_shell(_Form))["properties"]["form"]["$ref"]}


def document_core_schema(cls: type[Any], source: Any, handler: Any) -> CoreSchema:
    """What pydantic is told of Document, or of a class that inherits from it."""
    del source
    return handler.generate_schema(Annotated[Any, _AsDocument(cls)])


def _described(kind: Any, said: str, examples: list[Any]) -> Any:
    return Annotated[kind, Field(description=said, examples=examples or None)]


def array_core_schema(cls: type[Any], source: Any, handler: Any) -> CoreSchema:
    """What pydantic is told of DocumentArray and DocumentArray[...]."""
    kind = next(iter(typing.get_args(source)), Document)
    if isinstance(kind, typing.TypeVar):
        kind = kind.__bound__ or Document
    if not (isinstance(kind, type) and issubclass(kind, Document)):
        raise FieldTypeError(
            f"DocumentArray[...] is of Document or of a class that inherits from it; got {kind!r}"
        )
    return core_schema.no_info_wrap_validator_function(
        _named(cls, functools.partial(_several, cls, kind)),
        core_schema.list_schema(handler.generate_schema(kind)),
        serialization=_written(_say_several),
    )


def json_schema(cls: type[Any], indent: int | None = 2) -> str:
    """The JSON Schema of `PydanticDocument`, or of a list of them; see `Document.get_json_schema`."""
    several = not issubclass(cls, Document)
    said: dict[str, Any] = TypeAdapter(PydanticDocumentArray if several else PydanticDocument).json_schema()
    if "$ref" not in said and not several:  # it is the one that nothing refers to
        said = {"$ref": "#/$defs/PydanticDocument", "$defs": {"PydanticDocument": said}}
    return json.dumps(
        {"title": "DocumentArray Schema" if several else "Document Schema", **said}, indent=indent
    )


# ---------------------------------------------------------------------------------------------- dataclasses

_open: Final[contextvars.ContextVar[frozenset[str]]] = contextvars.ContextVar("open", default=frozenset())
"""Dataclasses whose schema is being made: what refers to them from within refers to them by name."""

_MEDIA: Final[Mapping[Medium, str]] = {
    getattr(media, name).__metadata__[0]: name
    for name in ("Text", "URI", "Image", "Audio", "Video", "Mesh", "Tabular", "PDF", "Blob", "JSON")
}


def dataclass_core_schema(cls: type[Any], source: Any, handler: Any) -> CoreSchema:
    """What pydantic is told of a class made by `docarray.dataclass`.

    A value of it is an object of the class (kept as it is), a dict of its fields, or a Document that was made of one.
    In JSON an object is a dict of its fields: plain values as pydantic has them; text, and the path or URL of a medium,
    as a string, which is not followed; content as a data URI, images of whole numbers from 0 to 255 as PNG; other
    arrays as `{dtype, shape, base64}`; a Document, and a value of a medium of one's own, as the dict of its document.
    Fields that `__init__` does not take are not among them.
    """
    plan = cast("Plan", _plan_of(source) or _plan_of(cls))
    ref = _ref_of(cls, *map(id, plan.arguments)) if plan.arguments else _ref_of(cls)
    inside = _open.get()
    if ref in inside:
        return core_schema.definition_reference_schema(ref)
    token = _open.set(inside | {ref})
    try:
        fields = [
            core_schema.dataclass_field(
                one.name,
                _with_default(handler.generate_schema(annotation), one),
                kw_only=True,
                init=one.init,
                serialization_exclude=not one.init,
            )
            for one, annotation in _annotated(plan)
        ]
    finally:
        _open.reset(token)
    outside = [field["name"] for field in fields if not field.get("init", True)]
    whole = core_schema.dataclass_schema(
        cls,
        core_schema.dataclass_args_schema(cls.__name__, fields),
        [field["name"] for field in fields],
        cls_name=cls.__name__,
        post_init=hasattr(cls, "__post_init__"),
        frozen=plan.cls.__dataclass_params__.frozen,
        slots="__slots__" in cls.__dict__,
        config=core_schema.CoreConfig(extra_fields_behavior="forbid", title=cls.__name__),
    )
    return core_schema.no_info_wrap_validator_function(
        _named(cls, functools.partial(_object, plan)),
        whole,
        ref=ref,
        metadata={"pydantic_js_functions": [functools.partial(_described_without, outside)]}
        if outside
        else None,
    )


def _described_without(names: list[str], schema: CoreSchema, handler: Any) -> dict[str, Any]:
    found = handler(schema)
    said = handler.resolve_ref_schema(found)
    for name in names:
        said["properties"].pop(name, None)
    return found


class _AsGeneric:
    """Beside an annotation: how pydantic reads, writes and describes a generic dataclass with its arguments."""

    __slots__ = ("alias",)

    def __init__(self, alias: Any) -> None:
        self.alias = alias

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return dataclass_core_schema(typing.get_origin(self.alias), self.alias, handler)  # pyright: ignore


def generic_core_schema(alias: Any) -> CoreSchema:
    """What pydantic is told of `Box[Image]`, where `Box` is a dataclass of ours."""
    return TypeAdapter(Annotated[Any, _AsGeneric(alias)]).core_schema


def medium_core_schema(medium: Medium, source: Any, handler: Any) -> CoreSchema:
    """What pydantic is told of a medium, such as Image, in a model of its own."""
    del source
    return handler.generate_schema(Annotated[Any, _Custom(medium)])


def _object(plan: Plan, value: Any, handler: Callable[[Any], Any]) -> Any:
    """An object of a dataclass of what came in."""
    name = plan.cls.__name__
    try:
        if isinstance(value, Document):
            return plan.load(value)
        if isinstance(value, dict):
            _look_through(cast("Any", value))
        made = handler(value)
        if plan.arguments:
            _remember(made, cast("Any", plan.cls)[plan.arguments])
        return made
    except ValidationError as error:
        raise _moved(error) from None
    except _Unsayable as error:
        raise _failed(name, [_mistake(tuple(map(_step, reversed(error.path))), str(error), value)]) from None
    except (DocArrayError, TypeError, AttributeError, RecursionError) as error:
        raise _failed(name, [_mistake((), _told(error), value, "dataclass")]) from None


def _with_default(schema: CoreSchema, one: dataclasses.Field[Any]) -> CoreSchema:
    if one.default is not dataclasses.MISSING:
        if one.default is None and schema["type"] != "nullable":  # `image: Image = None`
            schema = core_schema.nullable_schema(schema)
        return core_schema.with_default_schema(schema, default=one.default)
    if one.default_factory is not dataclasses.MISSING:
        return core_schema.with_default_schema(schema, default_factory=one.default_factory)
    return schema


def _annotated(plan: Plan) -> list[tuple[Any, Any]]:
    """The fields of a dataclass, and what pydantic is to make a schema of for each."""
    bound = _bindings(plan.cls, plan.arguments)
    if plan.fields is None:
        plan.settle()
    nodes = {one.name: one.node for one in plan.fields or ()}
    out: list[tuple[Any, Any]] = []
    for one in dataclasses.fields(plan.cls):
        owner = next(c for c in plan.cls.__mro__ if one.name in inspect.get_annotations(c))
        its = owner.__dict__.get("__multimodal__")
        names: Any = plan.names if its is None else its.names
        module = sys.modules.get(owner.__module__)
        everywhere = {**(vars(module) if module else {}), **names.everywhere}
        here = {
            **{k: v for k, v in vars(owner).items() if isinstance(v, type)},
            owner.__name__: owner,
            **names.here,
        }
        text: Any = one.type
        hint = typing.get_type_hints(
            SimpleNamespace(__annotations__={one.name: text}), everywhere, here, include_extras=True
        )[one.name]
        own = one.metadata.get("docarray")
        medium = nodes[one.name].medium if one.name in nodes else None
        if own is not None and medium is not None:  # a setter and getter of its own
            typed: Any = Annotated[Any, _Custom(medium)]
            out.append((one, typed | None if nodes[one.name].optional else typed))
        else:
            out.append((one, _typed(_substituted(hint, bound.get(owner, {})), plan)))
    return out


def _typed(annotation: Any, plan: Plan) -> Any:
    """An annotation in which media are what pydantic can make a schema of."""
    medium: Medium | None = None
    try:
        medium = _registered.get(annotation)
        made = plan.media.get(annotation)
    except TypeError:
        made = None
    if made is not None:
        setter, getter = made(None).metadata["docarray"]
        medium = Medium(str(annotation), setter, getter)
    for extra in getattr(annotation, "__metadata__", ()):
        medium = extra if isinstance(extra, Medium) else medium
    if medium is not None:
        return Annotated[Any, _Custom(medium)]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is not None and _plan_of(annotation) is not None:
        return Annotated[Any, _AsGeneric(annotation)]
    if origin in (typing.Union, UnionType):
        return functools.reduce(lambda a, b: a | b, [_typed(a, plan) for a in arguments])
    if origin in (None, typing.Annotated, Literal) or not arguments:
        return annotation
    return origin[tuple(_typed(a, plan) if a is not ... else a for a in arguments)]


_MEDIUM_FORM: Final[Mapping[str, tuple[Any, str]]] = {
    "Text": (str, "Text."),
    "URI": (str, "A path or URL."),
    "JSON": (dict[str, Any] | list[Any] | str, "An object, a list, or JSON as text."),
    "": (Document, "The document of a {}."),
}
_CONTENT_FORM: Final[tuple[Any, str]] = (
    str | Numbers | EncodedArray | Document,
    "{}: a path, URL or data URI; an array; or a document.",
)
"""What media are in JSON, and what is said of them."""


class _Custom:
    """Beside an annotation: how pydantic reads and writes the values of a medium."""

    __slots__ = ("medium", "name")

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.name = _MEDIA.get(medium, "")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._taken, serialization=_written(self._said))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        form, text = _MEDIUM_FORM.get(self.name, _CONTENT_FORM)
        said: dict[str, Any] = handler(_shell(form))["properties"]["form"]
        said.pop("title", None)
        about = text.format(self.name or self.medium.name)
        return {"allOf": [said], "description": about} if "$ref" in said else {**said, "description": about}

    def _taken(self, value: Any) -> Any:
        if isinstance(value, Document):
            return value
        try:
            if self.name not in ("JSON", "Text", "URI"):
                if isinstance(value, Mapping):
                    return self._of_mapping(cast("Mapping[str, Any]", value))
                if self.name and isinstance(value, list):
                    return _array_of(cast("Any", value))
            if value is None:
                raise FieldTypeError("a value is wanted; got None")
            self.medium.setter(value)
        except (DocArrayError, TypeError, ValueError, AttributeError, LookupError, RecursionError) as error:
            if isinstance(error, ValidationError):
                raise
            raise _failed(self.medium.name, [_mistake((), _told(error), value, "medium")]) from None
        return value

    def _of_mapping(self, value: Mapping[str, Any]) -> Any:
        if self.name and "base64" in value:
            return _array_of(value)
        doc = _one(Document, value)
        return doc if self.name else self.medium.getter(doc)

    def _said(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, Document):
            return _say_one(value)
        if self.name == "JSON":
            return value
        if not self.name:
            return _say_one(self.medium.setter(value))
        if isinstance(value, os.PathLike):
            return os.fspath(cast("os.PathLike[str]", value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(cast("bytes", value))
            return datauri.encode(data, image_type(data) or "application/octet-stream", base64=True)
        content: Any = self.medium.setter(value).content
        pixels = tensors.to_numpy(content)
        if self.name == "Image" and pixels.dtype == np.uint8 and _is_picture(pixels.shape):
            return datauri.encode(png(pixels), "image/png", base64=True)
        said = exchange.to_dict(
            {"id": "", "tensor": content}, "jsonschema", exclude_none=True, arrays="base64"
        )
        return said["tensor"]


def _is_picture(shape: tuple[int, ...]) -> bool:
    return 0 not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)))


def _array_of(value: Any) -> Any:
    """The array that JSON says: numbers in lists, or encoded."""
    return _table_of([{"id": _PROBE, "tensor": value}]).columns["tensor"].values()[0]


# ---------------------------------------------------------------------------------------------- schemas of documents


def document_schema(cls: type[Any], ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """The JSON Schema of the documents of a dataclass: that of Document, with the properties of `tags` typed.

    Args:
        cls: a class made by `docarray.dataclass`.
        ref_template: how a definition is referred to; '#/components/schemas/{model}' for OpenAPI, which wants '$defs'
            moved there.

    Raises:
        FieldTypeError: it is no such class.

    >>> from docarray import dataclass
    >>> from docarray.typing import Text
    >>> @dataclass
    ... class Page:
    ...     title: Text
    ...     price: float = 0.0
    >>> document_schema(Page)['properties']['tags']['properties']
    {'price': {'default': 0.0, 'title': 'Price', 'type': 'number'}}
    """
    plan = _plan_of(cls)
    if plan is None:
        raise FieldTypeError(f"{cls!r} is no dataclass of docarray: decorate it with docarray.dataclass")
    whole = TypeAdapter(Document).json_schema(ref_template=ref_template)
    page = TypeAdapter(cls).json_schema(ref_template=ref_template)
    definitions = {**page.pop("$defs", {}), **whole.pop("$defs", {})}
    described: dict[str, Any] = definitions.get("Document", whole)
    fields: dict[str, Any] = page if "properties" in page else definitions[page["$ref"].rpartition("/")[2]]
    nodes = {one.name: one.node for one in plan.fields or () if one.in_tags}
    properties = {
        name: _of_kind(said, nodes[name].kinds)
        for name, said in fields["properties"].items()
        if name in nodes
    }
    needed = [name for name in fields.get("required", ()) if name in nodes]
    tags: dict[str, Any] = {"title": "Tags", "type": "object", "properties": properties}
    if needed:
        tags["required"] = needed
    name = plan.cls.__name__
    said: dict[str, Any] = {
        **described,
        "title": f"{name}Document",
        "description": f"A document made of a {name}: plain fields are tags, all others chunks.",
        "properties": {**described["properties"], "tags": tags},
    }
    said.pop("examples", None)
    if definitions:
        said["$defs"] = definitions
    return said


_JSON_KINDS: Final = {
    "str": "string",
    "number": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}


def _of_kind(said: dict[str, Any], kinds: frozenset[str]) -> dict[str, Any]:
    """What is said of a field, if a tag is that too: some classes are something plainer there."""
    rest = {key: said[key] for key in ("title", "description") if key in said}
    if "anyOf" in said:
        some = [one for one in said["anyOf"] if one != {"type": "null"}]
        if len(some) == 1:
            default = {"default": said["default"]} if said.get("default") is not None else {}
            return {**rest, **_of_kind(some[0], kinds), **default}
        return {**said, "anyOf": [_of_kind(one, kinds) for one in some]}
    wanted = {_JSON_KINDS[kind] for kind in kinds if kind in _JSON_KINDS}
    type_of = said.get("type")
    if (
        type_of is None
        or "any" in kinds
        or type_of in wanted
        or (type_of == "integer" and "number" in wanted)
    ):
        return said
    return {**rest, "type": sorted(wanted)} if wanted else rest
