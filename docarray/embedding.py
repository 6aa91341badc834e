"""Embedding: vectors for documents, from a model or from a hash of their words and tags.

Rule 1: everything is computed before anything is written: a model that fails half-way leaves the array as it was.
Rule 2: a model goes back as it came: the training mode of each of its parts, its device.
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
from contextlib import contextmanager
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from docarray import registry, tagged, tensors
from docarray.distance import check_count
from docarray.errors import BadValue, FieldTypeError, LengthError, MissingEmbedding, ShapeError
from docarray.schema import FIELDS, field_named
from docarray.tensors import Array
from docarray.text import words

if TYPE_CHECKING:
    from docarray.array import DocumentArray

__all__ = ["Collate", "embed", "embed_feature_hashing", "embedded", "feature_hash"]

Collate = Callable[[Any], Any]
"""What makes a batch of an array of documents: an array, or a mapping of them that the model takes as keywords."""

_MODELS: Final = (
    "embed_model is a torch.nn.Module, or a function of a batch that gives an array (rows, width)",
    "Wrap what is called in another way in a function: lambda batch: session.run(None, {'input': batch})[0]",
)


# ---------------------------------------------------------------------------------------------- models


def embed(
    array: DocumentArray[Any],
    embed_model: Any,
    device: str = "cpu",
    batch_size: int = 256,
    to_numpy: bool = False,
    collate_fn: Collate | None = None,
) -> None:
    """Sets the embedding of each document to what the model gives for it: see `embedded`. All or none are set."""
    matrix = embedded(array, embed_model, device, batch_size, to_numpy, collate_fn)
    if matrix is not None:
        array.embeddings = matrix


def embedded(
    array: DocumentArray[Any],
    embed_model: Any,
    device: str = "cpu",
    batch_size: int = 256,
    to_numpy: bool = False,
    collate_fn: Collate | None = None,
) -> Any:
    """What a model gives for the documents of an array; nothing is set.

    Args:
        array: the documents.
        embed_model: a torch.nn.Module, which runs on `device`, in evaluation mode and without gradients, and is
            afterwards in the mode and on the device it came in; or any function of a batch.
        device: where a torch model runs and where its batches are put. A model whose parts are on several
            devices stays where it is.
        batch_size: documents a call; the last call may have fewer.
        to_numpy: give an ndarray, and not an array of the model's framework on the model's device.
        collate_fn: makes the batch of an array of documents. Their tensors, stacked, unless given. A mapping is
            given to the model as keywords.

    Returns:
        (n, ...) array of the framework that the model gives; None for an empty array. Of a model that gives no
        array, its `pooler_output`.

    Raises:
        FieldTypeError: this is no model, or it gives no array.
        BadValue: `batch_size` is no int above 0.
        MissingEmbedding: there is no `collate_fn` and documents have no tensor; the message names them.
        LengthError: the model gave another number of rows than the batch has documents.
        ShapeError: tensors, or the rows of different batches, differ in shape; or the rows are no vectors.

    Costs the calls of the model, and a copy of what it gives.

    >>> from docarray import Document, DocumentArray
    >>> da = DocumentArray([Document(tensor=[1.0, 2.0]), Document(tensor=[3.0, 4.0])])
    >>> embedded(da, lambda batch: batch * 10, batch_size=1).tolist()
    [[10.0, 20.0], [30.0, 40.0]]
    """
    if isinstance(embed_model, type) or not callable(embed_model):
        name = embed_model.__name__ if isinstance(embed_model, type) else type(embed_model).__name__
        what = f"the class {name}, not an instance of it" if isinstance(embed_model, type) else f"a {name}"
        raise FieldTypeError(f"{_MODELS[0]}; got {what}. {_MODELS[1]}")
    batches = array.batch(batch_size)
    first = next(batches, None)  # asked before anything else: the size is checked here
    if first is None:
        return None
    if collate_fn is None:
        _check_tensors(array)
    collate = collate_fn or _stacked
    parts: list[Any] = []
    with _ready(embed_model, device) as call:
        part: DocumentArray[Any] | None = first
        while part is not None:
            rows = _rows(call(collate(part)), part)
            parts.append(tensors.to_numpy(rows) if to_numpy else rows)
            if parts[-1].shape[1:] != parts[0].shape[1:]:
                raise ShapeError(
                    f"the model gave rows of shape {tuple(parts[0].shape[1:])} first and of "
                    f"{tuple(parts[-1].shape[1:])} for the batch that begins with {part[0].id!r}"
                )
            part = next(batches, None)
    # Joined outside of inference mode: what torch makes inside it could never be written to, nor trained on.
    return _joined(parts)


def _check_tensors(array: DocumentArray[Any]) -> None:
    slots = array._slots
    missing = [at for at, value in enumerate(slots.raw("tensor")) if value is None]
    if missing:
        ids = slots.ids()
        shown = ", ".join(repr(ids[at]) for at in missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise MissingEmbedding(
            f"{len(missing)} of {len(ids)} documents have no tensor to embed: {shown}. Fill `tensor`, or give a "
            f"collate_fn that makes a batch of something else"
        )


def _stacked(part: DocumentArray[Any]) -> Any:
    try:
        batch = part.tensors
    except ShapeError as error:
        raise ShapeError(f"in the batch that begins with document {part[0].id!r}, {error}") from None
    return tensors.to_numpy(batch) if tensors.framework(batch) == "list" else batch


def _rows(output: Any, part: DocumentArray[Any]) -> Any:
    """What a model gave, if it is a vector for each document of the batch."""
    if tensors.framework(output) is None:
        found = getattr(output, "pooler_output", None)
        if tensors.framework(found) is None:
            raise FieldTypeError(
                f"the model gave a {type(output).__name__}; wanted is an array (rows, width), or something that has "
                f"one as its pooler_output. Wrap the model in a function that picks the vectors"
            )
        output = found
    if tensors.framework(output) == "list":
        output = tensors.to_numpy(output)
    shape = tuple(output.shape)
    if not shape or shape[0] != len(part):
        raise LengthError(
            f"the model gave {shape[0] if shape else 'no'} rows, shape {shape}, for the {len(part)} documents from "
            f"{part[0].id!r} on: one row for each is wanted. Nothing was written"
        )
    if len(shape) == 1:
        raise ShapeError(
            f"the model gave a number for each document, shape {shape}; wanted are vectors (rows, width)"
        )
    if tensors.framework(output) == "numpy" and output.dtype.kind not in "biufc":
        raise FieldTypeError(f"the model gave {output.dtype} of shape {shape}; wanted are numbers")
    return output


def _joined(parts: list[Any]) -> Any:
    names = {tensors.framework(part) for part in parts}
    if len(names) > 1:
        parts, names = [tensors.to_numpy(part) for part in parts], {"numpy"}
    name = names.pop()
    if name == "numpy":
        return np.concatenate(parts) if len(parts) > 1 else np.asarray(parts[0])
    if name == "torch":
        return importlib.import_module("torch").cat(parts)
    if name == "scipy":
        return importlib.import_module("scipy.sparse").vstack(parts).asformat(parts[0].format)
    return tensors.stack([row for part in parts for row in part]) if len(parts) > 1 else parts[0]


def _is_torch(model: object) -> bool:
    """Whether it is a torch.nn.Module; asked of its class, so that torch is not imported where it is not used."""
    kinds = type(model).__mro__
    return any(kind.__name__ == "Module" and kind.__module__ == "torch.nn.modules.module" for kind in kinds)


@contextmanager
def _ready(model: Any, device: Any) -> Generator[Callable[[Any], Any]]:
    """The model as a function of a batch; it is put back as it was afterwards."""
    if not _is_torch(model):
        yield lambda batch: _called(model, batch)
        return
    torch = importlib.import_module("torch")
    modes = [(part, part.training) for part in model.modules()]
    homes = {weight.device for weight in (*model.parameters(), *model.buffers())}

    def call(batch: Any) -> Any:
        if isinstance(batch, Mapping):
            put = {key: _put(value, device) for key, value in cast("Mapping[str, Any]", batch).items()}
        else:
            put = _put(batch, device)
        with torch.inference_mode():
            return _called(model, put)

    try:
        model.eval()
        if len(homes) == 1:
            model.to(device)
        yield call
    finally:
        # One by one: model.train() would also wake parts that were frozen on purpose.
        for part, training in modes:
            part.training = training
        if len(homes) == 1:
            model.to(homes.pop())


def _called(model: Any, batch: Any) -> Any:
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


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
