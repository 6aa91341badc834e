"""Names to implementations: the one place where lower floors reach higher ones, and where extras are asked for.

Rule 1: nothing is imported before its name is used.
Rule 2: an unknown name is an error that shows the near miss and all names there are.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from docarray.errors import MissingExtra, UnknownName, near_miss

__all__ = ["FORMATS", "ROOMS", "STORES", "require", "resolve"]

STORES: Final[Mapping[str, str]] = MappingProxyType({"memory": "docarray.rows:Slots"})
"""Storage names and what opens them."""

FORMATS: Final[Mapping[str, str]] = MappingProxyType({"binary": "docarray.serialization.container"})
"""File formats and the modules that read and write them."""

ROOMS: Final[Mapping[str, str]] = MappingProxyType({"display": "docarray.display"})
"""Rooms of higher floors that documents and arrays show themselves through."""

_KINDS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"storage": STORES, "format": FORMATS, "room": ROOMS}
)


def resolve(kind: str, name: str) -> Any:
    """The module, or the object in it, that is registered as a `kind` under `name`; imported now.

    Raises:
        UnknownName: there is none; the message shows the closest.

    >>> resolve('format', 'binary').__name__
    'docarray.serialization.container'
    """
    known = _KINDS[kind]
    if name not in known:
        raise UnknownName(f"no {kind} is called {name!r}. {near_miss(name, known)}")
    module, _, attribute = known[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


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
