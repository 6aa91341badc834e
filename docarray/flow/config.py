"""Config: Executors, Flows and Deployments in YAML, and what `uses=` can be.

Rule 1: YAML is read safely: it makes no objects. Code is loaded from files that it names, never from the network.
Rule 2: a variable stands for a value, whose type it keeps where it is all of the text: '${{ ENV.PORT }}' is a number.
Rule 3: a key that means nothing is an error that says the nearest one.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from docarray.errors import BadValue, FieldTypeError, UnknownName, UnknownOption, near_miss
from docarray.flow.executor import Executor
from docarray.flow.spec import DeploymentSpec
from docarray.registry import require

__all__ = ["Made", "executor_class", "parsed", "substituted"]


class Made(NamedTuple):
    """An Executor as `uses` says it."""

    cls: type[Executor]
    arguments: Mapping[str, Any]
    metas: Mapping[str, Any]
    requests: Mapping[str, str]
    dynamic_batching: Mapping[str, Any]
    workspace: str | None


class _PassOn(Executor):
    """Passes documents on."""


def executor_class(uses: Any, spec: DeploymentSpec, context: Mapping[str, Any] | None = None) -> Made:
    """The class, and what its YAML says beside, of what `uses` is.

    Raises:
        UnknownName: there is no such file or class. FieldTypeError: what there is is no Executor.
        BadValue: the YAML cannot be read, or says what an Executor has not.
    """
    if uses is None:
        return Made(_PassOn, {}, {"name": spec.name}, {}, {}, None)
    if isinstance(uses, type):
        return _plain(uses)
    if isinstance(uses, Mapping):
        return _of_config(substituted(uses, context), Path.cwd(), spec)
    if isinstance(uses, os.PathLike):
        uses = os.fspath(cast("os.PathLike[str]", uses))
    if hasattr(uses, "read"):
        return _of_config(parsed(uses.read(), context), Path.cwd(), spec)
    if not isinstance(uses, str):
        raise FieldTypeError(
            f"uses is a class of Executor, or text or a dict that says one; got {uses!r:.80}"
        )
    return _of_text(uses, spec, context)


def _plain(cls: Any) -> Made:
    if not (inspect.isclass(cls) and issubclass(cls, Executor)):
        raise FieldTypeError(
            f"uses is a class that inherits from Executor; {getattr(cls, '__name__', cls)!r} does not"
        )
    return Made(cls, {}, {}, {}, {}, None)


_REMOTE: Final = re.compile(r"(jinahub|jinaai)(\+\w+)?://|https?://|docker://")
_SHORT: Final = re.compile(r"\s*\|\s*")
_YAML: Final = (".yml", ".yaml", ".jaml")


def _of_text(text: str, spec: DeploymentSpec, context: Mapping[str, Any] | None) -> Made:
    said = text.strip()
    match = _REMOTE.match(said)
    if match:
        raise UnknownName(
            f"uses={said!r:.100}: Executors are not fetched from the network. Put the folder of the Executor on this "
            "machine and name its config.yml, or run it where it is and name it with external=True, host= and port="
        )
    if said.startswith("!") or re.match(r"jtype\s*:", said):
        return _of_config(
            parsed(_SHORT.sub(r"\nwith: ", said, count=1) if "\n" not in said else said, context),
            Path.cwd(),
            spec,
        )
    if said.startswith("{"):
        return _of_config(parsed(said, context), Path.cwd(), spec)
    if is_file(said):
        file = found(said, spec)
        return _of_config(parsed(file.read_text(encoding="utf-8"), context, str(file)), file.parent, spec)
    return _plain(_imported(said, spec, Path.cwd()))


def is_file(uses: object) -> bool:
    """Whether `uses` names a YAML file."""
    text = str(uses).strip() if isinstance(uses, (str, Path)) else ""
    return text.endswith(_YAML) and not text.startswith(("!", "{")) and "\n" not in text


def found(name: str, spec: DeploymentSpec) -> Path:
    """A file, in the folder of the caller or one of those that are said."""
    for folder in (".", *spec.extra_search_paths):
        file = Path(folder).expanduser() / name
        if file.is_file():
            return file.resolve()
    where = ", ".join([str(Path.cwd()), *spec.extra_search_paths])
    raise UnknownName(f"deployment {spec.name!r}: there is no file {name!r} in {where}")


def _imported(name: str, spec: DeploymentSpec, folder: Path) -> Any:
    """A class by its dotted path, `module:Class`, or its name alone, where a module that was loaded for it has it."""
    modules = [loaded(file, folder) for file in spec.py_modules]
    module, _, attribute = name.rpartition(":" if ":" in name else ".")
    if not module:
        for one in modules:
            if hasattr(one, attribute):
                return getattr(one, attribute)
        known = [
            key
            for one in modules
            for key, value in cast("dict[str, Any]", vars(one)).items()
            if inspect.isclass(value)
        ]
        raise UnknownName(
            f"deployment {spec.name!r}: no class {name!r} is known: give the class itself, its dotted path, or the "
            f"file that it is in as py_modules. {near_miss(name, known)}"
        )
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise UnknownName(
                f"deployment {spec.name!r}: there is no module {module!r} for {name!r}"
            ) from error
        raise
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UnknownName(f"{module!r} has no {part!r}. {near_miss(part, dir(found))}")
        found = getattr(found, part)
    return found


def loaded(file: str, folder: Path) -> Any:
    """A module of a file, loaded once, however it is named."""
    path = Path(file).expanduser()
    path = (path if path.is_absolute() else folder / path).resolve()
    if not path.is_file():
        raise UnknownName(f"py_modules names {file!r}, and there is no file {path}")
    is_package = path.name == "__init__.py"
    stem = path.parent.name if is_package else path.stem
    key = stem
    known = sys.modules.get(stem)
    if known is not None and getattr(known, "__file__", None) != str(path):
        key = f"{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(
        key, path, submodule_search_locations=[str(path.parent)] if is_package else None
    )
    if spec is None or spec.loader is None:
        raise UnknownName(f"py_modules names {file!r}, which is no file of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module


KEYS: Final = (
    "jtype",
    "with",
    "metas",
    "requests",
    "dynamic_batching",
    "py_modules",
    "workspace",
    "version",
    "uses_with",
)


def _of_config(config: Any, folder: Path, spec: DeploymentSpec) -> Made:
    if not isinstance(config, Mapping):
        raise BadValue(
            f"deployment {spec.name!r}: the config of an Executor is a mapping; got {config!r:.80}"
        )
    said = dict(cast("Mapping[str, Any]", config))
    for key in said:
        if key not in KEYS:
            raise UnknownOption(f"the config of an Executor has no {key!r:.60}. {near_miss(str(key), KEYS)}")
    name = said.get("jtype")
    if not isinstance(name, str):
        raise BadValue(f"deployment {spec.name!r}: the config of an Executor says its class as jtype")
    metas = dict(said.get("metas") or {})
    files = said.get("py_modules") or metas.pop("py_modules", None) or ()
    modules = [
        loaded(file, folder) for file in ([files] if isinstance(files, str) else cast("Iterable[str]", files))
    ]
    cls = next((getattr(one, name) for one in modules if hasattr(one, name)), None)
    if cls is None:
        cls = _imported(name, spec, folder) if modules == [] or "." in name or ":" in name else None
    if cls is None:
        known = [
            key
            for one in modules
            for key, value in cast("dict[str, Any]", vars(one)).items()
            if inspect.isclass(value)
        ]
        raise UnknownName(f"none of {files} has a class {name!r}. {near_miss(name, known)}")
    return _plain(cls)._replace(
        arguments=said.get("with") or {},
        metas=metas,
        requests=said.get("requests") or {},
        dynamic_batching=said.get("dynamic_batching") or {},
        workspace=said.get("workspace") or metas.pop("workspace", None),
    )


# ---------------------------------------------------------------------------------------------- YAML


def parsed(text: str, context: Mapping[str, Any] | None = None, where: str = "the YAML") -> Any:
    """What YAML says, with its variables replaced. A leading tag `!Name` is `jtype: Name`.

    Raises:
        BadValue: it cannot be read; the message has line and column.
        MissingExtra: there is no PyYAML.
    """
    yaml = require("yaml", "flow")
    tag = re.match(r"\s*!([\w.:]+)[ \t]*", text)
    if tag:
        text = f"jtype: {tag[1]}\n{text[tag.end() :]}"
    try:
        return substituted(yaml.safe_load(text), context)
    except yaml.YAMLError as error:
        raise BadValue(f"{where} cannot be read: {error}") from None


_VARIABLE: Final = re.compile(r"\$\{\{\s*([\w.]+)\s*\}\}")


def substituted(value: Any, context: Mapping[str, Any] | None = None) -> Any:
    """A value in which `${{ ENV.NAME }}` and `${{ CONTEXT.name }}` or `${{ name }}` stand for what they are.

    Raises:
        BadValue: a variable that there is not.

    >>> substituted({'port': '${{ CONTEXT.port }}', 'cost': '$5'}, {'port': 80})
    {'port': 80, 'cost': '$5'}
    """
    if isinstance(value, Mapping):
        return {key: substituted(one, context) for key, one in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [substituted(one, context) for one in cast("Sequence[Any]", value)]
    if not isinstance(value, str) or "${{" not in value:
        return value
    whole = _VARIABLE.fullmatch(value.strip())
    if whole:
        return _variable(whole[1], context)
    return _VARIABLE.sub(lambda match: str(_variable(match[1], context)), value)


def _variable(name: str, context: Mapping[str, Any] | None) -> Any:
    kind, _, rest = name.partition(".")
    if kind in ("ENV", "env") and rest:
        if rest not in os.environ:
            raise BadValue(f"the environment has no {rest!r}, which '${{{{ {name} }}}}' stands for")
        return _typed(os.environ[rest])
    given = context or {}
    key = rest if kind in ("CONTEXT", "context") and rest else name
    if key not in given:
        raise BadValue(
            f"'${{{{ {name} }}}}' stands for nothing: context= has no {key!r}. {near_miss(key, given)}"
        )
    return given[key]


def _typed(text: str) -> Any:
    """Text as the number, truth or list that it is written as."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value: Any = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if type(value) in (int, float, list) else text
