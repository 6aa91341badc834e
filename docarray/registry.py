"""Names to implementations: the one place where lower floors reach higher ones, and where extras are asked for.

Rule 1: nothing is imported before its name is used.
Rule 2: an unknown name is an error that shows the near miss and all names there are.
Rule 3: what is built in goes first; other distributions add names by entry points, and cannot take one over.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from docarray.errors import MissingExtra, UnknownName, near_miss

__all__ = ["FORMATS", "ROOMS", "STORES", "known", "require", "resolve", "room"]

STORES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "memory": "docarray.rows:Slots",
        "sqlite": "docarray.storage.sql:SqliteStore",
        "sql": "docarray.storage.sql:SqlStore",
        "postgres": "docarray.storage.sql:SqlStore",
        "postgresql": "docarray.storage.sql:SqlStore",
        "mysql": "docarray.storage.sql:SqlStore",
        "mariadb": "docarray.storage.sql:SqlStore",
        "hnswlib": "docarray.storage.hnsw:HnswStore",
        "hnsw": "docarray.storage.hnsw:HnswStore",
        "annlite": "docarray.storage.hnsw:AnnliteStore",
    }
)
"""Storage names and what opens them."""

FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "binary": "docarray.serialization.container:FORMAT",
        "protobuf-array": "docarray.serialization.protobuf:ARRAY",
        "protobuf": "docarray.serialization.protobuf:STREAM",
        "pickle-array": "docarray.serialization.pickles:PICKLE_ARRAY",
        "pickle": "docarray.serialization.pickles:STREAM",
        "json": "docarray.serialization.json:JSON",
        "ndjson": "docarray.serialization.json:NDJSON",
        "csv": "docarray.serialization.csv:CSV",
        "arrow": "docarray.serialization.arrow:ARROW",
        "parquet": "docarray.serialization.arrow:PARQUET",
    }
)
"""Format names and the `docarray.format.Format` of each."""

ROOMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "display": "docarray.display",
        "json": "docarray.serialization.json",
        "csv": "docarray.serialization.csv",
        "protobuf": "docarray.serialization.protobuf",
        "structs": "docarray.serialization.structs",
        "varints": "docarray.serialization.varints",
        "dataframe": "docarray.serialization.dataframe",
        "arrow": "docarray.serialization.arrow",
        "container": "docarray.serialization.container",
        "loaders": "docarray.loaders",
        "remote": "docarray.remote",
        "fetch": "docarray.media.fetch",
        "passages": "docarray.media.passages",
        "tabular": "docarray.media.tabular",
        "image": "docarray.media.image",
        "features": "docarray.media.features",
        "audio": "docarray.media.audio",
        "video": "docarray.media.video",
        "mesh": "docarray.media.mesh",
        "pdf": "docarray.media.pdf",
        "models": "docarray.web.models",
        "strawberry_types": "docarray.web.strawberry_types",
    }
)
"""Rooms of other floors that documents and arrays show themselves, and are converted, through."""

_KINDS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"storage": STORES, "format": FORMATS, "room": ROOMS}
)
_GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {"storage": "docarray.stores", "format": "docarray.formats"}
)


def known(kind: str) -> Iterator[str]:
    """All names of a kind: 'storage', 'format' or 'room'; what is built in first.

    Other distributions are looked for when one asks further than that, once in a process: it takes milliseconds.
    """
    built_in = _KINDS[kind]
    yield from built_in
    yield from sorted(_added(kind).keys() - built_in.keys())


def resolve(kind: str, name: str) -> Any:
    """The module, or the object in it, that is registered as a `kind` under `name`; imported now.

    Raises:
        UnknownName: there is none; the message shows the closest.

    >>> resolve('format', 'binary').name
    'binary'
    """
    built_in = _KINDS[kind]
    if name in built_in:
        module, _, attribute = built_in[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found
    added = _added(kind)
    if name in added:
        return added[name].load()
    raise UnknownName(f"no {kind} is called {name!r}. {near_miss(name, (*built_in, *added))}")


@functools.cache
def room(name: str) -> Any:
    """The room of that name, as `resolve` has it, for calls of a few microseconds: it is looked for once.

    >>> room('json') is resolve('room', 'json')
    True
    """
    return resolve("room", name)


@functools.cache
def _added(kind: str) -> dict[str, Any]:
    """The entry points of a kind by name."""
    if kind not in _GROUPS:
        return {}
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=_GROUPS[kind])}


def require(module: str, why: str, install: str | None = None) -> Any:
    """An optional package, imported now.

    Raises:
        MissingExtra: it is not installed; the message says why it is needed and the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = install or module.partition(".")[0]
        raise MissingExtra(f"{why} needs the package {package}: pip install {package}") from error
