"""Embedding: vectors for documents, from a model or from a hash of their words and tags.

Rule 1: everything is computed before anything is written: a model that fails half-way leaves the array as it was.
Rule 2: a model goes back as it came: the training mode of each of its parts, its device.
        What a model is, the names of its classes say: no framework is imported that was not.
Rule 3: a hashed vector is the same in every process and version: what `feature_hash` says of column, sign and
        weight stays so, and tests hold it.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the bodies of arrays (document.py, rule 5).

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import numpy as np

from docarray import query, registry, tagged, tensors
from docarray.columns import UniformTensors
from docarray.distance import check_count
from docarray.errors import (
    BadValue,
    DocArrayError,
    FieldTypeError,
    LengthError,
    MissingEmbedding,
    ShapeError,
    StaleDocument,
)
from docarray.live import deferred
from docarray.progress import Bar, Show
from docarray.rows import rows_of_matrix
from docarray.schema import FIELDS, field_named
from docarray.tensors import Array
from docarray.text import words

if TYPE_CHECKING:
    from docarray.array import DocumentArray

__all__ = ["Collate", "embed", "embed_feature_hashing", "embedded", "feature_hash"]

Collate = Callable[[Any], Any]
"""What makes a batch of an array of documents: an array, or a mapping of them that the model takes as keywords."""


# ---------------------------------------------------------------------------------------------- embedding


def embed(
    array: DocumentArray[Any],
    embed_model: Any,
    device: Any = "cpu",
    batch_size: int = 256,
    to_numpy: bool = False,
    collate_fn: Collate | None = None,
    *,
    show_progress: Show = None,
    embedding: str | None = None,
) -> None:
    """Sets the embedding of each document to what a model gives for it: see `embedded`. All or none are set.

    Args:
        array, embed_model, device, batch_size, to_numpy, collate_fn, show_progress: see `embedded`.
        embedding: a name: the vectors go into `doc.embeddings[name]`, and `embedding` stays as it is.

    Raises:
        As `embedded`. FieldTypeError: `embedding` is no name.
    """
    if embedding is not None and (not isinstance(cast("object", embedding), str) or not embedding):
        raise FieldTypeError(
            f"embedding={embedding!r:.60}: it is the name that the vectors get, such as 'image'"
        )
    slots = array._slots
    ids = None if slots.store is None else slots.ids()
    matrix = embedded(
        array, embed_model, device, batch_size, to_numpy, collate_fn, show_progress=show_progress
    )
    if matrix is None:
        return
    with slots.writing():
        # By position: vectors would come to the wrong documents of a store that others changed in the meantime.
        if ids is not None and ids != slots.ids():
            raise StaleDocument(
                "documents were added to this array, taken out or moved while they were embedded. Nothing was written"
            )
        if embedding is None:
            array.embeddings = matrix
            return
        with deferred():
            for doc, vector in zip(array, rows_of_matrix(matrix), strict=True):
                doc.embeddings[embedding] = vector


def embedded(
    array: DocumentArray[Any],
    embed_model: Any,
    device: Any = "cpu",
    batch_size: int = 256,
    to_numpy: bool = False,
    collate_fn: Collate | None = None,
    *,
    show_progress: Show = None,
) -> Any:
    """What a model gives for the documents of an array; nothing is set.

    Args:
        array: the documents.
        embed_model: one of

            - a torch.nn.Module: it runs in evaluation mode and without gradients;
            - a keras Layer or Model, of any backend: called with `training=False`;
            - a paddle Layer: in evaluation mode and without gradients;
            - an onnxruntime.InferenceSession. Of its outputs 'pooler_output' or 'sentence_embedding' is taken, or
              the first. Numbers are cast to the dtype of the input, as long as no fraction or sign can get lost;
            - an object that takes a list of texts by its method `encode` or `embed`, such as those of
              sentence-transformers and wordllama;
            - any function of a batch.

            Torch, keras on torch, paddle and sentence-transformers are afterwards in the mode and on the device
            they came in.
        device: where the model runs and its batches are put: 'cpu', 'cuda', 'cuda:1', ... A torch model whose parts
            are on several devices stays where it is, and so does a session, which has to be made for that device.
            What is run by functions and by objects without a device is theirs.
        batch_size: documents a call; the last call may have fewer.
        to_numpy: give an ndarray, and not an array of the model's framework on the model's device.
        collate_fn: makes the batch of an array of documents. Unless given it is their tensors, stacked; the list of
            their texts for what takes texts, and for a function where no document has a tensor. A mapping is
            given as keywords; to a session, and to a keras model that was made of its inputs, as the inputs by name.
        show_progress: whether progress is shown, by documents: see `docarray.progress.Show`.

    Returns:
        (n, ...) array of the framework that the model gives; None for an empty array. Of a model that gives no
        array, its `pooler_output` or `sentence_embedding`, by attribute or key. bfloat16 of numpy and jax becomes
        float32.

    Raises:
        FieldTypeError: this is no model, or it gives no array; a session does not take this kind of numbers.
        BadValue: `batch_size` is no int above 0; a session cannot run on `device`, or has no such input.
        MissingEmbedding: there is no `collate_fn`, and documents have no tensor or text; the message names them.
        LengthError: the model gave another number of rows than the batch has documents.
        ShapeError: tensors, or the rows of different batches, differ in shape; or the rows are no vectors.
        What the model raises, with a note that names the documents.

    Costs the calls of the model, and a copy of what it gives. Of a store, one batch of documents is read at a time.

    >>> from docarray import Document, DocumentArray
    >>> da = DocumentArray([Document(tensor=[1.0, 2.0]), Document(tensor=[3.0, 4.0])])
    >>> embedded(da, lambda batch: batch * 10, batch_size=1).tolist()
    [[10.0, 20.0], [30.0, 40.0]]
    """
    kind = _kind_of(embed_model)
    array.batch(batch_size)  # which checks the size
    bar = Bar("embedding", len(array), show=show_progress)
    if not len(array):
        return None
    batches: Iterator[Any]
    make: Callable[[Any, _Of], Any]
    if collate_fn is None:
        batches, make = _contents(array, _content(array, kind.content), int(batch_size))
    else:
        batches, make = array.batch(batch_size), lambda part, of: collate_fn(part)
    parts: list[Any] = []
    with kind.ready(embed_model, device) as call, bar:
        for batch in batches:
            of = _Of(array, bar.done, len(batch))
            try:
                output = call(make(batch, of))
            except Exception as error:
                if not isinstance(error, DocArrayError):
                    error.add_note(f"Raised for {of}. Nothing was written.")
                raise
            rows = _rows(output, of)
            parts.append(tensors.to_numpy(rows) if to_numpy else rows)
            if parts[-1].shape[1:] != parts[0].shape[1:]:
                raise ShapeError(
                    f"the model gave rows of shape {tuple(parts[0].shape[1:])} first, and of "
                    f"{tuple(parts[-1].shape[1:])} for {of}. Nothing was written"
                )
            bar.step(of.size)
    # Joined outside of inference mode: what torch makes inside it could never be written to, nor trained on.
    return _joined(parts)


# ---------------------------------------------------------------------------------------------- batches


class _Of(NamedTuple):
    """The documents of a batch, for messages: their ids are looked for when one is written."""

    array: DocumentArray[Any]
    start: int
    size: int

    def __str__(self) -> str:
        return f"the {self.size} documents from {self.array._slots.ids()[self.start]!r} on"


def _content(array: DocumentArray[Any], wanted: str) -> str:
    """Which field makes the batches: 'tensor' or 'text'; every document has it.

    Raises:
        MissingEmbedding: some have not; the message names them.
    """
    name = "tensor" if wanted == "any" else wanted
    missing = _without(array, name)
    if wanted == "any" and len(missing) == len(array):
        without = _without(array, "text")
        if len(without) < len(missing):
            name, missing = "text", without
    if not missing:
        return name
    what = "neither tensor nor text" if wanted == "any" and len(missing) == len(array) else f"no {name}"
    shown = ", ".join(map(repr, missing[:10])) + (", ..." if len(missing) > 10 else "")
    raise MissingEmbedding(
        f"{len(missing)} of {len(array)} documents have {what} to embed: {shown}. Fill `{name}`, or give a "
        f"collate_fn that makes a batch of something else"
    )


def _without(array: DocumentArray[Any], name: str) -> list[str]:
    """The ids of the documents in which a field is unset."""
    slots = array._slots
    if slots.store is None:
        if name == "tensor" and _is_matrix(array):
            return []
        cells = slots.raw(name)
        missing = [at for at, value in enumerate(cells) if value is None]
        ids = slots.ids() if missing else []
        return [ids[at] for at in missing]
    # The store is asked, which may know without reading the content of every document. '' is as good as unset
    # to its filter, but a text nevertheless.
    found = slots.store.where(query.parse({name: {"$exists": False}}))
    column = slots.store.read(found, [name]).columns.get(name)
    return [
        key
        for key, cell in zip(found, column.values() if column else found, strict=True)
        if not column or cell is None
    ]


def _is_matrix(array: DocumentArray[Any]) -> bool:
    """Whether all tensors lie in one matrix, and `array.tensors` gives it without a copy."""
    numbers, rows = array._slots.untouched, array._slots.rows
    column = None if rows is None or numbers is None else rows.table.columns.get("tensor")
    whole = isinstance(column, UniformTensors) and column.present is None
    return whole and isinstance(numbers, range) and numbers.step == 1


def _contents(
    array: DocumentArray[Any], name: str, size: int
) -> tuple[Iterator[Any], Callable[[Any, _Of], Any]]:
    """The parts of an array of which each document has this field, and what makes a batch of one of them."""
    slots = array._slots
    if slots.store is not None:  # read part by part
        if name == "text":
            return array.batch(size), lambda part, of: part.texts
        return array.batch(size), lambda part, of: _stacked(part._slots.raw("tensor"), of)
    if name == "text":
        return _cut(slots.texts(), size), _as_is
    return (
        (_cut(array.tensors, size), _as_is)
        if _is_matrix(array)
        else (_cut(slots.raw("tensor"), size), _stacked)
    )


def _cut(values: Any, size: int) -> Iterator[Any]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _as_is(batch: Any, of: _Of) -> Any:
    return batch


def _stacked(values: list[Any], of: _Of) -> Any:
    first = values[0]
    if type(first) is np.ndarray and first.ndim:
        shape, dtype = first.shape, first.dtype
        if all(type(one) is np.ndarray and one.shape == shape and one.dtype == dtype for one in values):
            return np.concatenate(values).reshape(len(values), *shape)  # as np.stack, in less time
    try:
        batch = tensors.stack(values)
    except ShapeError as error:
        raise ShapeError(f"of {of}, {error}") from None
    return tensors.to_numpy(batch) if tensors.framework(batch) == "list" else batch


_VECTORS: Final = ("pooler_output", "sentence_embedding")
"""What the outputs are called that are vectors of whole documents, where a model gives several."""


def _rows(output: Any, of: _Of) -> Any:
    """What a model gave, if it is a vector for each document of the batch."""
    if isinstance(output, Iterator):
        output = list(cast("Iterator[Any]", output))
    if tensors.framework(output) is None:
        found = _vectors_in(output)
        if tensors.framework(found) is None:
            keys = f" of {list(cast('Any', output))}"[:200] if isinstance(output, Mapping) else ""
            raise FieldTypeError(
                f"the model gave a {type(cast('object', output)).__name__}{keys}; wanted is an array (rows, width), "
                f"or something that has one as its {' or '.join(_VECTORS)}. Wrap the model in a function that picks "
                "the vectors"
            )
        output = found
    if tensors.framework(output) == "list":
        rows = cast("list[Any]", output)
        whole = bool(rows) and tensors.framework(rows[0]) not in (None, "list")
        output = tensors.stack(rows) if whole else tensors.to_numpy(rows)
    shape = tuple(output.shape)
    if not shape or shape[0] != of.size:
        raise LengthError(
            f"the model gave {shape[0] if shape else 'no'} rows, shape {shape}, for {of}: one row for each is wanted. "
            f"Nothing was written"
        )
    if len(shape) == 1:
        raise ShapeError(
            f"the model gave a number for each document, shape {shape}; wanted are vectors (rows, width)"
        )
    name = tensors.framework(output)
    if name in ("numpy", "jax") and output.dtype.kind == "V" and output.dtype.name == "bfloat16":
        return np.asarray(output).astype(np.float32)  # which holds each of its values
    if name == "numpy":
        output = np.asarray(output)
        if output.dtype.kind not in "biufc":
            raise FieldTypeError(f"the model gave {output.dtype} of shape {shape}; wanted are numbers")
    return output


def _vectors_in(output: Any) -> Any:
    for name in _VECTORS:
        found = (
            cast("Mapping[str, Any]", output).get(name)
            if isinstance(output, Mapping)
            else getattr(output, name, None)
        )
        if found is not None:
            return found
    return None


_JOINS: Final[Mapping[str, tuple[str, str]]] = {
    "torch": ("torch", "cat"),
    "tensorflow": ("tensorflow", "concat"),
    "paddle": ("paddle", "concat"),
    "jax": ("jax.numpy", "concatenate"),
}


def _joined(parts: list[Any]) -> Any:
    names = {tensors.framework(part) for part in parts}
    if len(names) > 1:
        parts, names = [tensors.to_numpy(part) for part in parts], {"numpy"}
    name = names.pop()
    if name == "numpy":
        return np.concatenate(parts) if len(parts) > 1 else np.asarray(parts[0])
    if name == "scipy":
        return importlib.import_module("scipy.sparse").vstack(parts).asformat(parts[0].format)
    module, join = _JOINS[str(name)]
    return getattr(importlib.import_module(module), join)(parts, 0)


# ---------------------------------------------------------------------------------------------- models

_Call: TypeAlias = Callable[[Any], Any]
_MODELS: Final = (
    "embed_model is a torch.nn.Module, a model of keras, paddle or onnxruntime, an object that has `encode` or "
    "`embed` of texts, or a function of a batch that gives an array (rows, width)"
)


class _Kind(NamedTuple):
    """How models of a kind are run."""

    content: str  # what they embed unless told: 'tensor', 'text', or 'any' of them
    ready: Callable[
        [Any, Any], AbstractContextManager[_Call]
    ]  # (model, device): the model as a function of a batch


def _kind_of(model: Any) -> _Kind:
    """The kind of a model, asked of the names of its classes: nothing is imported where it is not used.

    Raises:
        FieldTypeError: it is none.
    """
    if isinstance(model, type):
        raise FieldTypeError(f"{_MODELS}; got the class {model.__name__}, not an instance of it")
    names = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(model).__mro__}
    # In this order: on torch, a keras layer is a torch module as well, and sentence-transformers are always one.
    if ("keras", "Layer") in names:
        return _Kind("tensor", _keras)
    if "sentence_transformers" in {root for root, _ in names} and hasattr(model, "encode"):
        return _Kind("text", _sentences)
    if any(
        kind.__name__ == "Module" and kind.__module__ == "torch.nn.modules.module"
        for kind in type(model).__mro__
    ):
        return _Kind("tensor", _torch)
    if ("paddle", "Layer") in names:
        return _Kind("tensor", _paddle)
    if ("onnxruntime", "InferenceSession") in names:
        return _Kind("tensor", _onnx)
    if callable(model):
        return _Kind("any", _function)
    for method in ("encode", "embed") if not isinstance(model, str) else ():
        if callable(getattr(model, method, None)):
            return _Kind("text", functools.partial(_encoder, method))
    raise FieldTypeError(f"{_MODELS}; got a {type(model).__name__}")


@contextmanager
def _function(model: Any, device: Any) -> Generator[_Call]:
    yield lambda batch: _called(model, batch)


@contextmanager
def _encoder(method: str, model: Any, device: Any) -> Generator[_Call]:
    yield getattr(model, method)


def _called(model: Any, batch: Any, **options: Any) -> Any:
    return model(**batch, **options) if isinstance(batch, Mapping) else model(batch, **options)


# --- torch


@contextmanager
def _torch(model: Any, device: Any) -> Generator[_Call]:
    torch = importlib.import_module("torch")

    def call(batch: Any) -> Any:
        if isinstance(batch, Mapping):
            put = {key: _put(value, device) for key, value in cast("Mapping[str, Any]", batch).items()}
        else:
            put = _put(batch, device)
        with torch.inference_mode():
            return _called(model, put)

    with _lent(model, device):
        yield call


@contextmanager
def _lent(model: Any, device: Any) -> Generator[None]:
    """A torch module in evaluation mode, on a device; it is put back as it was afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    homes = {weight.device for weight in (*model.parameters(), *model.buffers())}
    try:
        model.eval()
        if len(homes) == 1:
            model.to(device)
        yield
    finally:
        # One by one: model.train() would also wake parts that were frozen on purpose.
        for part, training in modes:
            part.training = training
        if len(homes) == 1:
            model.to(homes.pop())


def _put(value: Any, device: Any) -> Any:
    """An array, or a list of numbers or arrays, as a torch tensor on a device; what is none stays what it is."""
    if (
        tensors.framework(value) == "list"
        and len(value)
        and tensors.framework(value[0]) not in (None, "list")
    ):
        value = tensors.stack(value)
    if tensors.framework(value) in ("numpy", "list"):
        numbers = tensors.to_numpy(value)
        if numbers.dtype.kind not in "biufc":
            return value
        # Torch takes neither steps backwards nor, without a warning, memory that must not be written to.
        value = tensors.from_numpy(np.asarray(numbers, order="C"), "torch")
    return value.to(device) if tensors.framework(value) == "torch" else value


# --- sentence-transformers


@contextmanager
def _sentences(model: Any, device: Any) -> Generator[_Call]:
    with _lent(model, device):
        # A batch is one call of the model inside too, which would make batches of 32 of it otherwise.
        yield lambda batch: model.encode(batch, batch_size=len(batch), show_progress_bar=False)


# --- keras


@contextmanager
def _keras(model: Any, device: Any) -> Generator[_Call]:
    keras = importlib.import_module("keras")
    # One that was made of its inputs takes them by name as one mapping, any other as keywords of its `call`.
    whole = any(kind.__name__ in ("Functional", "Sequential") for kind in type(model).__mro__)

    def call(batch: Any) -> Any:
        if isinstance(batch, Mapping) and not whole:
            return model(**cast("Mapping[str, Any]", batch), training=False)
        return model(batch, training=False)

    place, backend = _numbered(device, "cpu:0"), keras.config.backend()
    if backend == "tensorflow" and place.startswith("gpu") and not keras.distribution.list_devices("gpu"):
        raise BadValue(
            f"there is no {device!r} here that tensorflow could use"
        )  # it would take the CPU instead
    with keras.device(place):
        if backend != "torch":
            yield call
            return
        torch = importlib.import_module("torch")
        with _lent(model, device):
            yield torch.inference_mode()(call)


def _numbered(device: Any, cpu: str) -> str:
    """A device in the words of keras and paddle: graphics cards by number, whoever makes them."""
    kind, _, number = str(device).lower().partition(":")
    return f"gpu:{number or 0}" if kind in ("cuda", "gpu") else cpu if kind == "cpu" else str(device)


# --- paddle


@contextmanager
def _paddle(model: Any, device: Any) -> Generator[_Call]:
    paddle = importlib.import_module("paddle")
    place = _numbered(device, "cpu")
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    homes = {str(weight.place): weight.place for weight in (*model.parameters(), *model.buffers())}

    def put(value: Any) -> Any:
        if tensors.framework(value) in ("numpy", "list"):
            numbers = tensors.to_numpy(value)
            return paddle.to_tensor(numbers, place=place) if numbers.dtype.kind in "biufc" else value
        return value

    def call(batch: Any) -> Any:
        if isinstance(batch, Mapping):
            batch = {key: put(value) for key, value in cast("Mapping[str, Any]", batch).items()}
        with paddle.no_grad():
            return _called(model, put(batch))

    try:
        model.eval()
        if len(homes) == 1:
            model.to(device=place)
        yield call
    finally:
        for layer, training in modes:
            layer.training = training
        if len(homes) == 1:
            model.to(device=next(iter(homes.values())))


# --- onnxruntime

_PROVIDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "cuda": ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"),
    "rocm": ("MIGraphXExecutionProvider", "ROCMExecutionProvider"),
    "mps": ("CoreMLExecutionProvider",),
    "dml": ("DmlExecutionProvider",),
}
_DTYPES: Final[Mapping[str, str]] = {"float": "float32", "double": "float64"}


@contextmanager
def _onnx(session: Any, device: Any) -> Generator[_Call]:
    _check_provider(session, str(device).lower())
    inputs = {one.name: one.type for one in session.get_inputs()}
    outputs = [one.name for one in session.get_outputs()]
    wanted = [next((name for name in _VECTORS if name in outputs), outputs[0])]

    def call(batch: Any) -> Any:
        if isinstance(batch, Mapping):
            given = dict(cast("Mapping[str, Any]", batch))
        else:
            given = dict.fromkeys(list(inputs)[:1], batch)
        needed = {name for name, kind in inputs.items() if not kind.startswith("optional")}
        if not needed <= given.keys() <= inputs.keys():
            raise BadValue(
                f"this session has the inputs {', '.join(map(repr, inputs))}, and the batch is for "
                f"{', '.join(map(repr, given))}. Give a collate_fn that makes a mapping with an array for each"
            )
        feeds = {name: _fed(name, value, inputs[name]) for name, value in given.items()}
        return session.run(wanted, feeds)[0]

    yield call


def _check_provider(session: Any, device: str) -> None:
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return  # every session can fall back on it
    providers = session.get_providers()
    mine = next((name for name in providers if name in _PROVIDERS.get(kind, ())), None)
    if mine is None:
        names = ", ".join(["cpu", *_PROVIDERS]) if kind not in _PROVIDERS else ""
        advice = (
            f"Devices are {names}"
            if names
            else f"Make it for that: onnxruntime.InferenceSession(path, providers=[{_PROVIDERS[kind][0]!r}])"
        )
        raise BadValue(f"this session runs by {', '.join(providers)}, which is not for {device!r}. {advice}")
    own = session.get_provider_options().get(mine, {}).get("device_id", "0")
    if number and number != own:
        raise BadValue(
            f"this session was made for '{kind}:{own}', not for {device!r}. Make it for that: "
            f"providers=[({mine!r}, {{'device_id': {number}}})]"
        )


def _fed(name: str, value: Any, kind: str) -> Array:
    """What an input of a session gets: in its dtype, where nothing but precision is lost by that."""
    array = tensors.to_numpy(value)
    word = kind.removeprefix("tensor(").removesuffix(")")
    try:
        wanted = np.dtype(_DTYPES.get(word, word))
    except TypeError:  # a string, a sequence, bfloat16: numpy has none of them
        return array
    if array.dtype == wanted or array.dtype.kind not in "biufc":
        return array
    fits = np.can_cast(array.dtype, wanted, "same_kind")
    if wanted.kind in "iu" and array.dtype.kind in "iu":
        span = np.iinfo(wanted)
        fits = not array.size or (int(array.min()) >= span.min and int(array.max()) <= span.max)
    if not fits:
        raise FieldTypeError(
            f"input {name!r} of the session takes {wanted}, and the batch has {array.dtype}, which does not fit "
            f"into it. Give a collate_fn that converts it"
        )
    return array.astype(wanted)


# ---------------------------------------------------------------------------------------------- feature hashing

_BLOCK: Final = 4096
_BLOCK_NUMBERS: Final = 1 << 20
_HASHED: Final = ("text", "json", "number")
_YES_AND_NO: Final = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


def embed_feature_hashing(
    array: DocumentArray[Any],
    n_dim: int = 256,
    sparse: bool = False,
    fields: Sequence[str] = ("text", "tags"),
    max_value: float = 1_000_000,
) -> None:
    """Sets the embeddings of an array to one matrix of `feature_hash`; no document is made before one is touched.

    Args:
        array: the documents.
        n_dim, sparse, max_value: see `feature_hash`.
        fields: what is hashed: 'text' and other texts, 'tags', numbers such as 'weight', or paths: 'tags__title'.

    Raises:
        UnknownField: a Document has no such field. BadValue: no fields. Otherwise as of `feature_hash`.
    """
    names = [fields] if isinstance(fields, str) else list(dict.fromkeys(fields))
    if not names:
        raise BadValue("feature hashing wants at least one field, such as 'text'")
    slots = array._slots
    columns: dict[str, Sequence[Any]] = {}
    for name in names:
        if "__" in name:
            columns[name] = array[:, name]
        elif field_named(name).kind in _HASHED:
            columns[name] = slots.raw(name)
        else:
            known = ", ".join(field.name for field in FIELDS.values() if field.kind in _HASHED)
            raise FieldTypeError(f"field {name!r} has neither words nor tags to hash. There are: {known}")
    matrix = feature_hash(columns, n_dim, max_value, sparse)
    if len(array):
        array.embeddings = matrix


def feature_hash(
    columns: Mapping[str, Sequence[Any]], n_dim: int = 256, max_value: float = 1_000_000, sparse: bool = False
) -> Any:
    """Words and tags as vectors: each is hashed to a column and a sign, and counts there.

    The vectors of two texts are the nearer by cosine the more words they share, for no vocabulary and no training.
    What is hashed, and what it counts:

    - a text: each word (`docarray.text.words`) as often as it occurs;
    - a dict: its values by key, within dicts and lists by path, 'a__b__0'. A number counts its value; True, 'true' and
      'yes' count 1; False, 'false' and 'no' count 0; another text, and a date and the like, count 1 as 'key=value'.
      None and NaN count nothing; members of a set count as if each stood alone;
    - a number, or a list: as a dict would that has it by the name of its column.

    The hash is blake2b of 8 bytes of the UTF-8 (of a number, its key and '#'), read as a little-endian number h: the
    sign is minus where h is odd, and the column is h // 2 mod `n_dim`.

    Args:
        columns: by name, as many values each as there are rows; each column is counted once.
        n_dim: how many columns the vectors have; more keep more words apart.
        max_value: numbers are clipped to -max_value ... max_value.
        sparse: give a matrix of scipy.sparse.

    Returns:
        (n, n_dim) float64: an ndarray, or a csr_matrix.

    Raises:
        FieldTypeError: a value is of no kind that tags can hold; the message names the column and the row.
        LengthError: the columns differ in length.
        BadValue: n_dim or max_value is not above 0.
        MissingExtra: `sparse`, and scipy is not installed.

    Costs about 20 us a text of 30 words, and some 25 MB at most for hashes that are kept.

    >>> hashed = feature_hash({'text': ['a b c', 'c b x', None], 'tags': [{'price': 3}, None, None]}, n_dim=16)
    >>> hashed.shape, float(hashed[0] @ hashed[1]), abs(hashed).sum(axis=1).tolist()
    ((3, 16), 2.0, [6.0, 3.0, 0.0])
    """
    n_dim = check_count(n_dim, "n_dim")
    if not isinstance(cast("object", max_value), Real) or not max_value > 0:
        raise BadValue(f"max_value={max_value!r}: it is a number above 0")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise LengthError(
            f"the columns have different lengths: { ({k: len(v) for k, v in columns.items()}) }"
        )
    count = lengths.pop()
    scipy_sparse = registry.require("scipy.sparse", "sparse feature hashing", "scipy") if sparse else None
    matrix = np.zeros((0 if sparse else count, n_dim))
    found: list[tuple[Array, Array, Array]] = []
    step = _BLOCK if sparse else max(1, min(_BLOCK, _BLOCK_NUMBERS // n_dim))
    for start in range(0, count, step):
        rows, places, weights = _places(
            columns, range(start, min(count, start + step)), n_dim, float(max_value)
        )
        # ~column stands for a column with the sign minus, so that a word is one number.
        weights[places < 0] *= -1.0
        places[places < 0] ^= -1
        if sparse:
            found.append((rows, places, weights))
        else:
            block = matrix[start : start + step]
            flat = (rows - start) * n_dim + places
            block[:] = np.bincount(flat, weights, block.size).reshape(block.shape)
    if scipy_sparse is None:
        return matrix
    none: list[Array] = [np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)]
    rows, places, weights = (np.concatenate(part) for part in zip(none, *found, strict=True))
    hashed = scipy_sparse.csr_matrix((weights, (rows, places)), shape=(count, n_dim))
    hashed.sum_duplicates()
    hashed.eliminate_zeros()
    return hashed


def _places(
    columns: Mapping[str, Sequence[Any]], rows: range, n_dim: int, max_value: float
) -> tuple[Array, Array, Array]:
    """The features of some rows: which row, which place, which weight."""
    counts, places, weights = list[int](), list[int](), list[float]()
    for row in rows:
        before = len(places)
        for name, values in columns.items():
            value = values[row]
            if isinstance(value, str):
                found = words(value)
                places += [_place(word, n_dim) for word in found]
                weights += [1.0] * len(found)
                continue
            try:
                for feature, weight in _pairs("" if isinstance(value, Mapping) else name, value):
                    places.append(_place(feature, n_dim))
                    weights.append(min(max(weight, -max_value), max_value))
            except (FieldTypeError, RecursionError) as error:
                raise FieldTypeError(f"{name!r} of row {row} cannot be hashed: {error}") from None
        counts.append(len(places) - before)
    of = np.repeat(np.arange(rows.start, rows.stop), counts)
    return of, np.array(places, np.intp), np.array(weights, np.float64)


def _pairs(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The features of a value of tags, and the weight of each."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = cast("Any", value).tolist()
    if isinstance(value, Decimal):
        value = float("nan") if value.is_nan() else float(value)
    if isinstance(value, Real):
        if value == value:  # not NaN
            yield f"{path}#", value
    elif isinstance(value, str):
        number = _YES_AND_NO.get(value.lower())
        yield (f"{path}={value}", 1.0) if number is None else (f"{path}#", number)
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, Any]", value).items():
            yield from _pairs(f"{path}__{key}" if path else str(key), inner)
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(cast("Sequence[Any]", value)):
            yield from _pairs(f"{path}__{at}", inner)
    elif isinstance(value, (set, frozenset)):
        # Sorted, since the order of a set is another in each process, and of a sum the last bits depend on it.
        yield from sorted(pair for inner in cast("set[Any]", value) for pair in _pairs(path, inner))
    elif value is not None:
        yield f"{path}={tagged.dumps(value)}", 1.0


@functools.lru_cache(maxsize=1 << 17)
def _place(feature: str, n_dim: int) -> int:
    """The column of a feature, inverted where its sign is minus."""
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "little")
    column = (number >> 1) % n_dim
    return ~column if number & 1 else column
