"""Modules: the code of an Executor, as far as it is no part of what is installed."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["modules_of", "own_file"]


def modules_of(cls: type[Any]) -> dict[str, tuple[str, frozenset[str]]]:
    """The module of a class and those that it imports, as far as they are no part of what is installed.

    Returns:
        Of each by its name: its file, and the names of those of them that it imports itself.

    >>> import json
    >>> modules_of(json.JSONDecoder)
    {}
    """
    found: dict[str, tuple[str, frozenset[str]]] = {}
    left = [cls.__module__]
    while left:
        name = left.pop()
        file = own_file(sys.modules.get(name)) if name not in found else None
        if file is None:
            continue
        needed = frozenset(one for one in _imports(name, file) if own_file(sys.modules.get(one)) is not None)
        found[name] = (file, needed)
        left.extend(needed)
    return found


def own_file(module: ModuleType | None) -> str | None:
    """The file of a module that people write here and now; None of one that is installed, or has no file."""
    file = getattr(module, "__file__", None)
    if (
        module is None
        or module.__name__ == "__main__"
        or not isinstance(file, str)
        or not file.endswith(".py")
    ):
        return None
    path = os.path.realpath(file)
    return None if path.startswith(_installed()) else path


def _installed() -> tuple[str, ...]:
    """The folders of the standard library, of packages, and of this one."""
    paths = sysconfig.get_paths()
    some = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths]
    some.append(os.path.dirname(os.path.dirname(__file__)))
    return tuple(os.path.join(os.path.realpath(one), "") for one in some)


def _imports(name: str, file: str) -> set[str]:
    """What the source of a module names in its imports."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):  # it was edited since it was loaded
        return set()
    package = name if os.path.basename(file) == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = "." * node.level + (node.module or "")
            if node.level:
                with contextlib.suppress(ImportError):
                    stem = importlib.util.resolve_name(stem, package)
            found.add(stem)
            found.update(f"{stem}.{one.name}" for one in node.names)
    for one in list(found):  # importing a.b.c imports a and a.b
        parts = one.split(".")
        found.update(".".join(parts[:end]) for end in range(1, len(parts)))
    return found
