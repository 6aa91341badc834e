"""Where two values differ, to the last bit: type, dtype and framework too; NaN is NaN, 0.0 is not -0.0."""

# pyright: reportPrivateUsage=false
# What a document has set, and what it reads as, is not the same: here the first is asked.

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from docarray.document import Document
from docarray.records import records_of
from docarray.schema import FIELDS
from docarray.score import NamedScore
from docarray.table import Table
from docarray.tensors import framework

__all__ = ["difference"]


def difference(a: Any, b: Any, at: str = "") -> str | None:
    """Where two documents, tables, arrays or plain values differ first, and how; None where they do not.

    A dict or a score that watches itself is a dict or a score; all other types must be the same.

    >>> difference({'a': [1, 2.0]}, {'a': [1, 2]})
    "['a'][1]: float 2.0 became int 2"
    """
    kind = _kind(a)
    if kind is not _kind(b):
        return f"{at}: {type(a).__name__} {a!r:.80} became {type(b).__name__} {b!r:.80}"
    if kind is Table:
        return difference(records_of(a), records_of(b), at)
    if kind is Document:
        return _first(difference(_set(a, name), _set(b, name), f"{at}.{name}") for name in FIELDS)
    if kind is dict:
        return difference(list(a), list(b), at + ".keys()") or _first(
            difference(x, y, f"{at}[{key!r}]") for (key, x), y in zip(a.items(), b.values(), strict=True)
        )
    if kind in (list, tuple):
        if len(a) != len(b):
            return f"{at}: {len(a)} items became {len(b)}"
        return _first(difference(x, y, f"{at}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
    if kind in (set, frozenset):
        return difference(sorted(a, key=repr), sorted(b, key=repr), at)
    if kind is float:
        same = (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    elif kind is complex:
        return difference([a.real, a.imag], [b.real, b.imag], at)
    elif isinstance(a, np.ndarray | np.generic):
        x, y = cast("Any", a), b
        same = x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        a, b = f"{x.dtype} {x.shape} {x!r:.120}", f"{y.dtype} {y.shape} {y!r:.120}"
    elif framework(a) is not None:
        return difference(_parts(a), _parts(b), at)
    elif isinstance(a, decimal.Decimal):
        same = str(a) == str(b)
    elif isinstance(a, datetime.datetime | datetime.time):
        same = a == b and a.fold == b.fold
    elif kind is NamedScore:
        return difference(a.to_dict(), b.to_dict(), at)
    else:
        same = a == b
    return None if same else f"{at}: {a!r:.200} became {b!r:.200}"


def _kind(value: Any) -> Any:
    """The type, or what it stands for."""
    for kind in (Table, Document, NamedScore, dict, list):
        if isinstance(value, kind):
            return kind
    return cast("Any", type(value))


def _first(found: Iterable[str | None]) -> str | None:
    return next((text for text in found if text is not None), None)


def _set(doc: Document, name: str) -> Any:
    """A field as it is set. Nested arrays and dicts that are empty count as unset: to ask for them makes them."""
    if name in ("chunks", "matches"):
        return list(getattr(doc, name))
    value = doc._raw(name)
    return None if isinstance(value, dict) and not value else cast("Any", value)


def _parts(value: Any) -> list[Any]:
    """An array of scipy, torch or another framework as what numpy can say of it."""
    if framework(value) == "scipy":
        coo = value.tocoo()
        coords = coo.coords if hasattr(coo, "coords") else (coo.row, coo.col)
        said = [str(value.dtype), tuple(map(int, value.shape)), value.format, coo.data]
        return [*said, [np.asarray(c, np.int64) for c in coords]]
    said = [str(value.dtype), tuple(value.shape)]
    if framework(value) == "torch":
        value = value.to_dense() if str(value.layout) != "torch.strided" else value.detach()
        value = value.double() if str(value.dtype) == "torch.bfloat16" else value
    return [*said, np.asarray(value)]
