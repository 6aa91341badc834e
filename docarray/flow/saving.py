"""Saving: a Flow, a Deployment or an Executor in YAML, and back.

Rule 1: what is saved is what was said: no value that a default gives, no port that was chosen by chance.
Rule 2: a class is saved by the path that it is imported by; one that has none, such as one of a notebook, is an error.
Rule 3: paths in a file are relative to the folder of the file.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from docarray.errors import BadValue, FieldTypeError, UnknownName, UnknownOption, near_miss
from docarray.flow.config import parsed, substituted
from docarray.flow.spec import GATEWAY, DeploymentSpec, FlowSpec, GatewaySpec
from docarray.registry import require

__all__ = ["deployment_of", "dumped", "flow_of", "path_of", "read", "saved"]

METHODS: Final = ("add", "needs", "needs_all", "inspect")


def read(source: Any, context: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], Path]:
    """The mapping of a YAML file, of YAML as text, of an open file or of a dict; and the folder that its paths are of.

    Raises:
        UnknownName: there is no such file. BadValue: it cannot be read, or is no mapping.
    """
    folder = Path.cwd()
    where = "the YAML"
    if isinstance(source, Mapping):
        found: Any = substituted(source, context)
    elif hasattr(source, "read"):
        found = parsed(source.read(), context)
    elif (file := path_of(source)) is not None:
        if not file.is_file():
            raise UnknownName(f"there is no file {str(source)!r}")
        folder, where = file.parent, str(source)
        found = parsed(file.read_text(encoding="utf-8"), context, where)
    elif isinstance(source, str):
        found = parsed(source, context)
    else:
        raise FieldTypeError(f"a config is a file, YAML as text, or a dict; got a {type(source).__name__}")
    if not isinstance(found, Mapping):
        raise BadValue(f"{where} is no mapping; it begins with `jtype: Flow`, `jtype: Deployment` or a class")
    return dict(cast("Mapping[str, Any]", found)), folder


def path_of(source: Any) -> Path | None:
    """The file that `read` takes a source for; None where it is none."""
    if isinstance(source, os.PathLike) or (isinstance(source, str) and _is_path(source)):
        return Path(cast("str", source)).expanduser().resolve()
    return None


def _is_path(text: str) -> bool:
    return "\n" not in text and text.rstrip().endswith((".yml", ".yaml", ".jaml"))


# ---------------------------------------------------------------------------------------------- reading

_FLOW: Final = ("jtype", "version", "with", "executors", "deployments", "gateway", "name")


def flow_of(
    said: Mapping[str, Any],
    folder: Path,
    empty: Callable[..., Any],
    context: Mapping[str, Any] | None = None,
) -> Any:
    """The Flow of a mapping.

    Args:
        said: of `read`.
        folder: that its paths are of.
        empty: makes a Flow of what stands under `with`.
        context: values of variables, for the files that it names.

    Raises:
        UnknownOption: it says what a Flow has not. BadTopology: its deployments cannot be wired.
    """
    _check(said, _FLOW, "a Flow", "Flow")
    options = {**_mapping(said.get("with"), "with"), **({"name": said["name"]} if "name" in said else {})}
    if options.get("workspace") is not None:
        options["workspace"] = str(folder / str(options["workspace"]))
    flow = empty(**options)
    gateway = _mapping(said.get("gateway"), "gateway")
    if gateway:
        flow = flow.config_gateway(**gateway)
    if "executors" in said and "deployments" in said:
        raise BadValue(
            "a Flow has executors or deployments, which are two names of one thing; this says both"
        )
    listed: Any = said.get("executors", said.get("deployments")) or []
    if not isinstance(listed, list):
        raise BadValue(f"the deployments of a Flow are a list; got {listed!r:.60}")
    for one in cast("list[Any]", listed):
        options = _deployment_in(one, folder, context)
        method = str(options.pop("method", "add"))
        if method not in METHODS:
            raise BadValue(f"there is no method {method!r:.60}. {near_miss(method, METHODS)}")
        flow = getattr(flow, method)(**options)
    return flow


def _deployment_in(one: Any, folder: Path, context: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keywords of a deployment of a Flow: they stand there, or are a Deployment, or its file."""
    if isinstance(one, str):
        return deployment_of(*read(folder / one, context))
    options = _mapping(one, "a deployment")
    return deployment_of(options, folder) if "jtype" in options else _placed(options, folder)


def deployment_of(said: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The keywords of the Deployment of a mapping."""
    _check(said, ("jtype", "version", "with"), "a Deployment", "Deployment")
    return _placed(_mapping(said.get("with"), "with"), folder)


def _check(said: Mapping[str, Any], known: tuple[str, ...], what: str, jtype: str) -> None:
    for key in said:
        if key not in known:
            raise UnknownOption(f"{what} has no {key!r:.60}. {near_miss(str(key), known)}")
    if said.get("jtype", jtype) != jtype:
        raise BadValue(f"this is a {said['jtype']!r:.60}, where {what} was asked for")


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadValue(f"{name} is a mapping; got {value!r:.60}")
    return dict(cast("Mapping[str, Any]", value))


def _placed(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Keywords of a deployment, whose files are looked for in the folder first."""
    paths = options.get("extra_search_paths") or ()
    paths = (paths,) if isinstance(paths, str) else tuple(paths)
    options["extra_search_paths"] = (str(folder), *(str(folder / one) for one in paths))
    files = options.get("py_modules") or ()
    files = (files,) if isinstance(files, str) else tuple(files)
    if files:
        options["py_modules"] = tuple(str(folder / file) for file in files)
    return options


# ---------------------------------------------------------------------------------------------- writing


def saved(spec: FlowSpec, folder: Path, jtype: str) -> dict[str, Any]:
    """What a file says of a Flow, or of a Deployment: `read` gives the same.

    Raises:
        BadValue: it holds an object that a file cannot say.
    """
    gateway = _changed(spec.gateway, GatewaySpec(), folder, "the gateway")
    if jtype == "Deployment":
        one = _deployment(spec.deployments[0], folder)
        one.pop("needs", None)
        return {"jtype": jtype, "version": "1", "with": {**one, **gateway}}
    with_ = _changed(
        dataclasses.replace(spec, deployments=(), gateway=GatewaySpec()), FlowSpec(), folder, "a Flow"
    )
    said: dict[str, Any] = {"jtype": jtype, "version": "1"}
    if with_:
        said["with"] = with_
    if gateway:
        said["gateway"] = gateway
    before = GATEWAY
    deployments: list[dict[str, Any]] = []
    for one in spec.deployments:
        line = _deployment(one, folder)
        if one.needs == (before,):
            line.pop("needs", None)
        if one.workspace == spec.workspace:
            line.pop("workspace", None)
        deployments.append(line)
        before = before if one.floating else one.name
    said["deployments"] = deployments
    return said


def _deployment(one: DeploymentSpec, folder: Path) -> dict[str, Any]:
    said = _changed(one, DeploymentSpec(name=one.name), folder, f"deployment {one.name!r}")
    paths = [path for path in said.pop("extra_search_paths", []) if path != "."]
    if paths:
        said["extra_search_paths"] = paths
    return {"name": one.name, **said}


_PATHS: Final = frozenset({"workspace", "extra_search_paths", "py_modules"})


def _changed(spec: Any, usual: Any, folder: Path, what: str) -> dict[str, Any]:
    """The fields of a spec that are not as usual."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if value != getattr(usual, field.name):
            found[field.name] = _plain(
                value, folder if field.name in _PATHS else None, f"{what}: {field.name}"
            )
    return found


def _plain(value: Any, folder: Path | None, what: str) -> Any:
    """A value as YAML says it."""
    if inspect.isclass(value) or inspect.isfunction(value):
        if value.__module__ == "__main__" or "<" in value.__qualname__:
            raise BadValue(
                f"{what} is {value.__qualname__!r}, which cannot be imported: put it into a module of its own"
            )
        return f"{value.__module__}:{value.__qualname__}"
    if isinstance(value, (dict, MappingProxyType)):
        return {key: _plain(one, None, what) for key, one in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, folder, what) for one in cast("list[Any]", value)]
    if isinstance(value, str) and folder is not None:
        return _relative(value, folder)
    if value is None or isinstance(value, (str, int, float, bool)):
        return cast("object", value)
    raise BadValue(f"{what} holds a {type(value).__name__}, which a file cannot say")


def _relative(path: str, folder: Path) -> str:
    try:
        return os.fspath(Path(path).resolve().relative_to(folder.resolve()))
    except ValueError:
        return path


def dumped(said: Mapping[str, Any]) -> str:
    """YAML, in the order of its keys."""
    return require("yaml", "flow").safe_dump(
        dict(said), sort_keys=False, allow_unicode=True, default_flow_style=False
    )
