"""Arrays of any framework, without importing any: what they are, to numpy and back, equality, stacking.

Rule 1: a framework is known by the module of the object's type, so nothing is imported to ask.
Rule 2: to numpy never copies when the framework can lend its memory, and never changes its argument.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from docarray.errors import FieldTypeError, MissingExtra, ShapeError

__all__ = [
    "Array",
    "digest",
    "equal",
    "framework",
    "from_numpy",
    "is_sparse",
    "row_bytes",
    "stack",
    "to_numpy",
]

Array = npt.NDArray[Any]


class Hash(Protocol):
    """An object of hashlib."""

    def update(self, data: bytes, /) -> None:
        """Takes in more bytes."""
        ...


_FRAMEWORKS: Final = {
    "numpy": "numpy",
    "torch": "torch",
    "tensorflow": "tensorflow",
    "paddle": "paddle",
    "scipy": "scipy",
    "jax": "jax",
    "jaxlib": "jax",
}
_KNOWN: dict[type, str | None] = {np.ndarray: "numpy", list: "list", tuple: "list"}


def framework(value: object) -> str | None:
    """'numpy', 'torch', 'tensorflow', 'paddle', 'scipy' (sparse), 'jax', 'list', or None for no array.

    Anything else that has `__array__` counts as 'numpy'.

    >>> framework([1, 2]), framework(np.zeros(2)), framework('text')
    ('list', 'numpy', None)
    """
    kind = type(value)
    try:
        return _KNOWN[kind]
    except KeyError:
        name = _KNOWN[kind] = _recognise(kind, value)
        return name


def _recognise(kind: type, value: object) -> str | None:
    if isinstance(value, (str, bytes, bytearray)):
        return None
    for base in kind.__mro__:
        name = _FRAMEWORKS.get(base.__module__.partition(".")[0])
        if name == "scipy":
            return "scipy" if hasattr(value, "tocoo") else None
        if name is not None:
            return name if hasattr(value, "shape") else None
    if isinstance(value, dict):  # asked so late because scipy has a sparse matrix that is a dict
        return None
    if isinstance(value, (list, tuple)):
        return "list"
    return "numpy" if hasattr(value, "__array__") else None


def is_sparse(value: object) -> bool:
    """Whether the value is a scipy.sparse matrix or array, or a sparse torch tensor."""
    name = framework(value)
    if name == "torch":
        return bool(getattr(value, "is_sparse", False)) or "sparse" in str(getattr(value, "layout", ""))
    return name == "scipy"


def to_numpy(value: Any) -> Array:
    """The same numbers as a dense ndarray; detached and on the CPU; shares memory where it can.

    Raises:
        FieldTypeError: the value is no array.
        ShapeError: a nested list is not rectangular.
    """
    name = framework(value)
    if name == "numpy":
        return np.asarray(value)
    if name == "list":
        try:
            return np.asarray(value)
        except ValueError as error:
            raise ShapeError(f"a nested list is not rectangular: {error}") from None
    if name == "scipy":
        return value.toarray()
    if name == "torch":
        dense = value.detach()
        if is_sparse(value):
            dense = dense.to_dense()
        dense = dense.cpu().resolve_conj().resolve_neg()
        if str(dense.dtype) == "torch.bfloat16":  # numpy has no bfloat16; float32 holds each of its values
            dense = dense.float()
        return dense.numpy()
    if name in ("tensorflow", "paddle"):
        if not hasattr(value, "numpy"):
            raise FieldTypeError(
                f"a {type(value).__name__} of {name} is no dense array: make it one first, as "
                "`tensorflow.sparse.to_dense` does"
            )
        return value.numpy()
    if name == "jax":
        return np.asarray(value)
    raise FieldTypeError(f"not an array: {type(value).__name__}")


def from_numpy(array: Array, name: str) -> Any:
    """An ndarray as an array of the framework `name`, sharing memory where that framework can.

    Raises:
        MissingExtra: the framework is not installed.
    """
    if name == "numpy":
        return array
    if name == "list":
        return array.tolist()
    module = _module(name)
    if name == "torch":
        return module.from_numpy(array if array.flags.writeable else array.copy())
    if name == "tensorflow":
        return module.convert_to_tensor(array)
    if name == "paddle":
        return module.to_tensor(array)
    return module.numpy.asarray(array)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtra(
            f"these arrays are of {name}, which is not installed: pip install {name}"
        ) from None


def equal(a: Any, b: Any) -> bool:
    """Whether two arrays, of any frameworks, have the same shape and the same values (NaN equals nothing).

    >>> equal([1, 2], np.array([1.0, 2.0]))
    True
    """
    if a is b:
        return True
    if a is None or b is None:
        return False
    if framework(a) == "list" and framework(b) == "list":
        return bool(list(a) == list(b))
    if framework(a) == framework(b) == "scipy":
        return a.shape == b.shape and (a != b).nnz == 0
    try:
        x, y = to_numpy(a), to_numpy(b)
    except ShapeError:
        return False
    return x.shape == y.shape and bool(np.all(x == y))


def stack(values: Sequence[Any]) -> Any:
    """Rows of one shape as one array with a new first axis, in the framework of the first.

    scipy.sparse rows of shape (1, d) are stacked below each other in the format of the first; lists stay a list.

    Raises:
        ShapeError: the shapes differ; the message names the first row that does.
    """
    name = framework(values[0])
    if name == "list":
        return [v if isinstance(v, list) else to_numpy(v).tolist() for v in values]
    _check_shapes(values)
    if name == "scipy":
        stacked = importlib.import_module("scipy.sparse").vstack(list(values))
        return stacked.asformat(values[0].format)
    if name == "torch":
        torch = _module("torch")
        return torch.stack([v if framework(v) == "torch" else torch.as_tensor(to_numpy(v)) for v in values])
    if name in ("tensorflow", "paddle"):
        return _module(name).stack(list(values))
    if name == "jax":
        return _module("jax").numpy.stack(list(values))
    return np.stack([to_numpy(v) for v in values])


def _check_shapes(values: Sequence[Any]) -> None:
    first = tuple(values[0].shape)
    for i, value in enumerate(values):
        shape = tuple(value.shape) if hasattr(value, "shape") else to_numpy(value).shape
        if shape != first:
            raise ShapeError(f"row {i} has shape {shape}, but row 0 has {first}: they cannot be stacked")


def row_bytes(value: Any) -> int:
    """Bytes that the values of one array take, without its header."""
    if framework(value) == "scipy":
        coo = value.tocoo()
        return int(coo.data.nbytes + coo.row.nbytes + coo.col.nbytes)
    return int(to_numpy(value).nbytes)


def digest(value: Any, into: Hash) -> None:
    """Feeds shape and values to a hash so that arrays that are `equal` feed the same bytes.

    Real numbers are hashed as float64: integers beyond 2**53 that differ may meet.
    """
    try:
        array = to_numpy(value)
    except ShapeError:
        into.update(repr(value).encode("utf-8", "surrogatepass"))
        return
    if array.dtype.kind in "biuf":
        array = array.astype(np.float64) + 0.0  # -0.0 equals 0.0
    into.update(repr(array.shape).encode())
    into.update(
        np.ascontiguousarray(array).tobytes() if array.dtype.kind != "O" else repr(array.tolist()).encode()
    )
