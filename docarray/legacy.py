"""The import paths of DocArray 0.13-0.21 that people wrote, in one table.

Rule 1: this module alone knows of them; a name that is not in the table does not exist.
Rule 2: an old module is an object that looks its names up when they are read; nothing is imported before.
"""

from __future__ import annotations

import enum
import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any, Final

__all__ = ["PATHS", "install"]

_METRICS: Final = (
    "average_precision", "dcg_at_k", "f1_score_at_k", "hit_at_k", "ndcg_at_k", "precision_at_k", "r_precision",
    "recall_at_k", "reciprocal_rank",
)  # fmt: skip
_MEDIA: Final = ("audio", "blob", "image", "json", "mesh", "tabular", "text", "uri", "video")
_LOADERS: Final = (
    "from_csv", "from_files", "from_huggingface_datasets", "from_lines", "from_ndarray", "from_ndjson",
    "generator_from_webcam",
)  # fmt: skip

PATHS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "docarray.array.annlite": {
            "AnnliteConfig": "docarray.storage.hnsw:AnnliteConfig",
            "DocumentArrayAnnlite": "docarray.legacy:DocumentArrayAnnlite",
        },
        "docarray.array.chunk": {"ChunkArray": "docarray.nested:ChunkArray"},
        "docarray.array.document": {"DocumentArray": "docarray.array:DocumentArray"},
        "docarray.array.match": {"MatchArray": "docarray.nested:MatchArray"},
        "docarray.array.memory": {
            "DocumentArray": "docarray.array:DocumentArray",
            "DocumentArrayInMemory": "docarray.array:DocumentArray",
        },
        "docarray.array.sqlite": {
            "DocumentArraySqlite": "docarray.legacy:DocumentArraySqlite",
            "SqliteConfig": "docarray.storage.config:SqliteConfig",
        },
        "docarray.array.storage": {},
        "docarray.array.storage.annlite": {"AnnliteConfig": "docarray.storage.hnsw:AnnliteConfig"},
        "docarray.array.storage.sqlite": {"SqliteConfig": "docarray.storage.config:SqliteConfig"},
        "docarray.dataclasses.enums": {
            name: f"docarray.legacy:{name}" for name in ("AttributeType", "DocumentMetadata", "ImageType")
        },
        "docarray.dataclasses.getter": {
            f"{name}_getter": f"docarray.typing:{name}_getter" for name in _MEDIA
        },
        "docarray.dataclasses.setter": {
            f"{name}_setter": f"docarray.typing:{name}_setter" for name in _MEDIA
        },
        "docarray.dataclasses.types": {
            name: f"docarray.dataclasses:{name}" for name in ("dataclass", "field", "is_multimodal")
        },
        "docarray.document.generators": {name: f"docarray.loaders:{name}" for name in _LOADERS},
        "docarray.document.pydantic_model": {
            name: f"docarray.web.models:{name}" for name in ("PydanticDocument", "PydanticDocumentArray")
        },
        "docarray.document.strawberry_type": {
            name: f"docarray.web.strawberry_types:{name}"
            for name in ("StrawberryDocument", "StrawberryDocumentInput", "NdArray", "JSONScalar", "Base64")
        },
        "docarray.helper": {
            "dunder_get": "docarray.legacy:dunder_get",
            "random_identity": "docarray.ids:new_id",
            "random_uuid": "docarray.legacy:random_uuid",
            "typename": "docarray.legacy:typename",
        },
        "docarray.math": {},
        "docarray.math.distance": {"cdist": "docarray.distance:cdist", "pdist": "docarray.distance:pdist"},
        "docarray.math.evaluation": {name: f"docarray.metrics:{name}" for name in _METRICS},
        "docarray.math.helper": {
            "minmax_normalize": "docarray.distance:minmax_normalize",
            "top_k": "docarray.distance:top_k",
            "update_rows_x_mat_best": "docarray.distance:update_rows_x_mat_best",
        },
        "docarray.math.ndarray": {
            "check_arraylike_equality": "docarray.tensors:equal",
            "get_array_type": "docarray.legacy:get_array_type",
            "to_list": "docarray.legacy:to_list",
            "to_numpy_array": "docarray.tensors:to_numpy",
        },
    }
)
"""Old module -> its names -> where each is now, as 'module:name'."""


class _OldModule(ModuleType):
    """A module that finds its names elsewhere."""

    def __getattr__(self, name: str) -> Any:
        target = PATHS[self.__name__].get(name)
        if target is not None:
            module, _, attribute = target.partition(":")
            found = importlib.import_module(module)
            attach(found)
            return getattr(found, attribute)
        below = f"{self.__name__}.{name}"
        if below in PATHS:
            return sys.modules[below]
        raise AttributeError(
            f"module {self.__name__!r} has no {name!r}; docs/migration.md says what became of it"
        )

    def __dir__(self) -> list[str]:
        return sorted(PATHS[self.__name__])


def install() -> None:
    """Makes the old paths importable; called once, by the package."""
    for path in PATHS:
        module = _OldModule(path, f"Old import path; see docarray.legacy. Names: {', '.join(PATHS[path])}.")
        module.__path__ = []  # so that `import docarray.math.distance` looks below it
        if sys.modules.setdefault(path, module) is module:
            parent, _, name = path.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], name, module)


def attach(parent: ModuleType) -> None:
    """Lets a module that is loaded late reach the old ones below it, as `import docarray.dataclasses.types` does."""
    for path in PATHS:
        above, _, name = path.rpartition(".")
        if above == parent.__name__:
            setattr(parent, name, sys.modules[path])


class DocumentMetadata(enum.StrEnum):
    """Keys in the private data of documents that a dataclass made."""

    MULTI_MODAL_SCHEMA = "multi_modal_schema"
    IMAGE_TYPE = "image_type"
    IMAGE_URI = "image_uri"
    AUDIO_TYPE = "audio_type"
    VIDEO_TYPE = "video_type"
    MESH_TYPE = "mesh_type"
    JSON_TYPE = "json_type"
    BLOB_TYPE = "blob_type"


class AttributeType(enum.StrEnum):
    """What a field of a dataclass is, in the schema of a document."""

    DOCUMENT = "document"
    PRIMITIVE = "primitive"
    ITERABLE_PRIMITIVE = "iterable_primitive"
    ITERABLE_DOCUMENT = "iterable_document"
    NESTED = "nested"
    ITERABLE_NESTED = "iterable_nested"


class ImageType(enum.StrEnum):
    """What an image was given as."""

    PIL = "PIL"
    URI = "uri"
    NDARRAY = "ndarray"


def DocumentArrayAnnlite(_docs: Any = None, **kwargs: Any) -> Any:
    """`DocumentArray(storage='annlite')`."""
    return importlib.import_module("docarray.array").DocumentArray(_docs, storage="annlite", **kwargs)


def DocumentArraySqlite(_docs: Any = None, **kwargs: Any) -> Any:
    """`DocumentArray(storage='sqlite')`."""
    return importlib.import_module("docarray.array").DocumentArray(_docs, storage="sqlite", **kwargs)


def random_uuid() -> Any:
    """A random UUID."""
    import uuid

    return uuid.UUID(importlib.import_module("docarray.ids").new_id())


def typename(value: object) -> str:
    """The full name of a type, or of the type of a value.

    >>> typename(3)
    'builtins.int'
    """
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def dunder_get(obj: Any, key: str) -> Any:
    """What a dunder path reaches in an object.

    >>> dunder_get({'a': [1, 2]}, 'a__1')
    2
    """
    paths = importlib.import_module("docarray.paths")
    return paths.lookup(obj, paths.parse_dunder(key))


def get_array_type(array: Any) -> tuple[str, bool]:
    """(framework, whether it is sparse): ('numpy', False). Nested lists are 'python'."""
    tensors = importlib.import_module("docarray.tensors")
    name = tensors.framework(array)
    return ("python" if name == "list" else name), tensors.is_sparse(array)


def to_list(array: Any) -> Any:
    """An array of any framework as nested lists."""
    return importlib.import_module("docarray.tensors").to_numpy(array).tolist()
