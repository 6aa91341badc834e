"""docarray: one data structure for multimodal, nested, unstructured data in transit.

>>> from docarray import Document, DocumentArray
>>> da = DocumentArray([Document(text='hello'), Document(text='world')])
>>> da.texts
['hello', 'world']
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from docarray import legacy as _legacy
from docarray.array import DocumentArray
from docarray.document import Document
from docarray.nested import ChunkArray, MatchArray
from docarray.score import NamedScore

if _TYPE_CHECKING:
    from docarray.dataclasses import dataclass, field, is_multimodal
    from docarray.flow import Client, Deployment, Executor, Flow, dynamic_batching, monitor, requests

__all__ = [
    "ChunkArray",
    "Client",
    "Deployment",
    "Document",
    "DocumentArray",
    "Executor",
    "Flow",
    "MatchArray",
    "NamedScore",
    "__version__",
    "dataclass",
    "dynamic_batching",
    "field",
    "is_multimodal",
    "monitor",
    "requests",
]

_FLOW = ("Client", "Deployment", "Executor", "Flow", "dynamic_batching", "monitor", "requests")

__version__ = "1.0.0.dev0"

_legacy.install()


def __getattr__(name: str) -> _Any:
    """The dataclasses and the runtime, which not every program wants, when they are first asked for."""
    if name not in ("dataclass", "dataclasses", "field", "is_multimodal", "typing", *_FLOW):
        raise AttributeError(f"module 'docarray' has no {name!r}")
    from importlib import import_module

    if name in _FLOW:
        return getattr(import_module("docarray.flow"), name)
    module = import_module("docarray.typing" if name == "typing" else "docarray.dataclasses")
    _legacy.attach(module)
    return module if name in ("dataclasses", "typing") else getattr(module, name)
