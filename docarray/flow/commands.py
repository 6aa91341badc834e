"""Commands: what `docarray flow`, `client`, `export`, `new` and others do; `docarray.cli` has their words."""

# pyright: reportPrivateUsage=false
# ruff: noqa: T201
# What a command has to say, it prints.

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from docarray import exchange
from docarray.array import DocumentArray
from docarray.document import Document
from docarray.errors import BadValue, UnknownName, UnknownOption, near_miss
from docarray.flow import saving
from docarray.flow.flow import OFFERED, Deployment, Flow
from docarray.registry import require

__all__ = [
    "client",
    "deployment",
    "elsewhere",
    "executor",
    "export",
    "flow",
    "gateway",
    "new",
    "overridden",
    "settings",
]

_PORT: Final = 8000
_GRPC_PORT: Final = 50051
_LISTS: Final = ("executors", "deployments")
_MAPPINGS: Final = ("with", "gateway")


# ---------------------------------------------------------------------------------------------- --set


def settings(said: list[str]) -> list[tuple[list[str], Any]]:
    """What `--set executors.enc.replicas=2` says: the path, and the value with the type that YAML gives it.

    Raises:
        BadValue: there is no `=`, or no path, or the value is no YAML.

    >>> settings(['executors.enc.replicas=2', 'with.name=shelf'])
    [(['executors', 'enc', 'replicas'], 2), (['with', 'name'], 'shelf')]
    """
    yaml = require("yaml", "flow")
    found: list[tuple[list[str], Any]] = []
    for one in said:
        path, mark, value = one.partition("=")
        keys = path.strip().split(".")
        if not mark or not all(keys):
            raise BadValue(f"--set takes PATH=VALUE, such as executors.enc.replicas=2; got {one!r:.80}")
        try:
            found.append((keys, yaml.safe_load(value)))
        except yaml.YAMLError:
            raise BadValue(f"--set {path}: the value {value!r:.60} is no YAML; put it in quotes") from None
    return found


def overridden(config: Mapping[str, Any], changes: list[tuple[list[str], Any]]) -> dict[str, Any]:
    """The mapping of a Flow with values in place of those that it has.

    Args:
        config: of `saving.read`; it stays as it is.
        changes: of `settings`. The first key is `executors` (or `deployments`) and then the name of one, or `with`, or
            `gateway`.

    Raises:
        UnknownName: there is no such deployment. UnknownOption: it begins with another key.

    >>> overridden({'executors': [{'name': 'enc'}]}, [(['executors', 'enc', 'replicas'], 2)])
    {'executors': [{'name': 'enc', 'replicas': 2}]}
    """
    made = dict(config)
    for keys, value in changes:
        first, path = keys[0], ".".join(keys)
        if first in _MAPPINGS and len(keys) > 1:
            made[first] = _put(made.get(first), keys[1:], value, path)
        elif first in _LISTS and len(keys) > 2:
            key = next((one for one in _LISTS if one in made), first)
            listed: Any = made.get(key) or []
            made[key] = _changed(listed, keys[1], keys[2:], value, path)
        else:
            shape = f"{first}.NAME.KEY" if first in _LISTS else f"{first}.KEY"
            if first in _LISTS or first in _MAPPINGS:
                raise BadValue(f"--set {path}: write {shape}=VALUE")
            raise UnknownOption(
                f"--set {path}: a Flow has no {first!r:.60}. {near_miss(first, [*_LISTS, *_MAPPINGS])}"
            )
    return made


def _changed(listed: list[Any], name: str, keys: list[str], value: Any, path: str) -> list[Any]:
    names = [str(_name(one) or f"executor{at}") for at, one in enumerate(listed)]
    if name not in names:
        raise UnknownName(f"--set {path}: there is no deployment {name!r:.60}. {near_miss(name, names)}")
    at = names.index(name)
    return [*listed[:at], _put(listed[at], keys, value, path), *listed[at + 1 :]]


def _name(one: Any) -> Any:
    return cast("Mapping[str, Any]", one).get("name") if isinstance(one, Mapping) else None


def _put(inside: Any, keys: list[str], value: Any, path: str) -> dict[str, Any]:
    if inside is not None and not isinstance(inside, Mapping):
        raise BadValue(f"--set {path}: there is a value on the way, {inside!r:.60}, which has no keys")
    made: dict[str, Any] = dict(cast("Mapping[str, Any]", inside or {}))
    made[keys[0]] = _put(made.get(keys[0]), keys[1:], value, path) if len(keys) > 1 else value
    return made


# ---------------------------------------------------------------------------------------------- serving


def _offered(served: Any, options: argparse.Namespace) -> dict[str, Any]:
    """The options of the gateway that the command line says; what nobody says is HTTP, at the usual port."""
    gateway = served.spec.gateway
    protocols = tuple(options.protocol or gateway.protocol or ("http",))
    said: dict[str, Any] = {"protocol": protocols}
    if options.port:
        said["port"] = tuple(options.port)
    elif gateway.port and protocols == gateway.protocol:
        said["port"] = gateway.port
    else:  # 'http' and 'websocket' share a port
        first = next((one for one in protocols if one != "grpc"), "")
        listeners = [one for one in protocols if one in ("grpc", first)]
        said["port"] = tuple(_GRPC_PORT if one == "grpc" else _PORT for one in listeners)
    if options.host is not None:
        said["host"] = options.host
    key = os.environ.get("DOCARRAY_API_KEY")
    if key is not None and not key.strip():
        raise BadValue("DOCARRAY_API_KEY is set, and empty: give it a key, or unset it")
    if key is not None:
        said["auth"] = key
    if options.insecure:
        said["insecure"] = True
    return said


@contextlib.contextmanager
def _until_told() -> Generator[threading.Event]:
    """An event that is set by SIGTERM or Ctrl-C; the second of them ends the process at once."""
    told = threading.Event()
    before: dict[int, Any] = {}

    def stop(number: int, frame: Any) -> None:
        del frame
        signal.signal(number, before[number])
        told.set()

    for one in (signal.SIGINT, signal.SIGTERM):
        before[one] = signal.signal(one, stop)
    try:
        yield told
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _serve(make: Callable[[], Any], kind: str, reload: bool = False) -> int:
    """Serves until it is told to end, and answers then what is under way."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if reload:
        logging.getLogger("docarray.flow").setLevel(logging.INFO)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with _until_told() as told:
        served = make()
        with served:
            if not told.is_set():
                print(f"{kind} {served.spec.name!r} at {', '.join(_urls(served))}", flush=True)
            told.wait()
    return 0


def _urls(served: Any) -> list[str]:
    gateway = served.spec.gateway
    secure = "s" if gateway.ssl_certfile else ""
    schemes = {"http": "http", "websocket": "ws", "grpc": "grpc"}
    host = f"[{gateway.host}]" if ":" in gateway.host else gateway.host
    return [f"{schemes[name]}{secure}://{host}:{port}" for name, port in served.ports.items()]


def flow(options: argparse.Namespace) -> int:
    """`docarray flow --uses flow.yml`."""
    changes = settings(options.set)
    if options.reload:
        changes.append((["with", "reload"], True))

    def read() -> Flow:
        said, folder = saving.read(Path(options.uses))
        return saving.flow_of(overridden(said, changes), folder, Flow)

    def make() -> Flow:
        made = read()
        made = made.config_gateway(**_offered(made, options))
        made._comes_from(Path(options.uses), read)
        return made

    return _serve(make, "Flow", options.reload)


def deployment(options: argparse.Namespace) -> int:
    """`docarray deployment --uses deployment.yml`; an Executor will do."""
    changes = settings(options.set)
    if options.reload:
        changes.append((["reload"], True))

    def read() -> Deployment:
        said: dict[str, Any] = {"uses": options.uses}
        if options.uses.endswith((".yml", ".yaml", ".jaml")):
            config, folder = saving.read(Path(options.uses))
            if config.get("jtype", "Deployment") == "Deployment":
                said = saving.deployment_of(config, folder)
        for keys, value in changes:
            said = _put(said, keys, value, ".".join(keys))
        return Deployment(**{**said, **_offered(Deployment(**said), options)})

    def make() -> Deployment:
        made = read()
        made._comes_from(options.uses, read)
        return made

    return _serve(make, "Deployment", options.reload)


def executor(options: argparse.Namespace) -> int:
    """`docarray executor --uses config.yml`, or `module:Class`."""
    changes = settings(options.set)
    if options.reload:
        changes.append((["reload"], True))

    def make() -> Deployment:
        said: dict[str, Any] = {"uses": options.uses}
        for keys, value in changes:
            said = _put(said, keys, value, ".".join(keys))
        return Deployment(**{**said, **_offered(Deployment(**said), options)})

    return _serve(make, "Executor", options.reload)


_OF_EXTERNAL: Final = frozenset(
    "name method needs when reduce floating timeout_send timeout_send_ms retries tls grpc_metadata no_reduce "
    "disable_reduce".split()
)


def elsewhere(config: Mapping[str, Any], addresses: Mapping[str, list[str]]) -> dict[str, Any]:
    """The mapping of a Flow whose Executors all run elsewhere; a chain of them where it names none.

    Args:
        config: of `saving.read`; it stays as it is.
        addresses: of each deployment its replicas.

    Raises:
        UnknownName: there is no such deployment. BadValue: nobody says where one is.

    >>> elsewhere({'executors': [{'name': 'enc', 'uses': 'enc.yml'}]}, {'enc': ['grpc://10.0.0.1:50051']})
    {'executors': [{'name': 'enc', 'external': True, 'host': ['grpc://10.0.0.1:50051']}]}
    """
    key = next((one for one in _LISTS if one in config), _LISTS[0])
    listed: list[Any] = list(config.get(key) or [{"name": name} for name in addresses])
    names = [str(_name(one) or f"executor{at}") for at, one in enumerate(listed)]
    for name in addresses:
        if name not in names:
            raise UnknownName(f"--deployment {name}: there is no such deployment. {near_miss(name, names)}")
    made: list[dict[str, Any]] = []
    for name, one in zip(names, listed, strict=True):
        said: dict[str, Any] = dict(one or {})
        passes_on = said.get("uses") is None and said.get("method") in ("needs", "needs_all")
        if name in addresses:
            kept = {option: value for option, value in said.items() if option in _OF_EXTERNAL}
            said = {**kept, "name": name, "external": True, "host": addresses[name]}
        elif not said.get("external") and not passes_on:
            raise BadValue(f"nobody says where {name!r} is: --deployment {name}=grpc://HOST:PORT")
        made.append(said)
    common: Any = config.get("with") or {}
    with_ = {name: value for name, value in common.items() if name in _OF_EXTERNAL or name in OFFERED}
    return {**config, **({"with": with_} if with_ else {}), key: made}


def gateway(options: argparse.Namespace) -> int:
    """`docarray gateway --uses flow.yml --deployment enc=grpc://10.0.0.1:50051`."""
    changes = settings(options.set)
    addresses: dict[str, list[str]] = {}
    for one in options.deployment:
        name, mark, url = one.partition("=")
        if not mark or not name or not url:
            raise BadValue(f"--deployment takes NAME=URL, such as enc=grpc://10.0.0.1:50051; got {one!r:.80}")
        addresses.setdefault(name, []).append(url)

    def make() -> Flow:
        said, folder = saving.read({} if options.uses is None else Path(options.uses))
        made = saving.flow_of(overridden(elsewhere(said, addresses), changes), folder, Flow)
        return made.config_gateway(**_offered(made, options))

    return _serve(make, "Gateway")


# ---------------------------------------------------------------------------------------------- asking


def client(options: argparse.Namespace) -> int:
    """`docarray client --host http://127.0.0.1:8000 --on /search --input docs.jsonl`."""
    from docarray.flow.client import Client

    docs = _inputs(options.input)
    with Client(host=options.host) as asker:
        found = asker.post(
            options.on,
            docs,
            parameters=options.parameters,
            request_size=options.request_size,
            timeout=options.timeout,
        )
    for doc in found or ():
        print(json.dumps(doc.to_dict(exclude_none=True), ensure_ascii=True, allow_nan=False, default=str))
    return 0


def _inputs(name: str | None) -> DocumentArray[Any]:
    if name is None:
        return DocumentArray()
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: there is no such file; check the path")
    if path.suffix in (".jsonl", ".ndjson"):
        lines = path.read_text(encoding="utf-8").splitlines()
        return DocumentArray([Document.from_json(line) for line in lines if line.strip()])
    return DocumentArray(exchange.load(path))


def export(options: argparse.Namespace) -> int:
    """`docarray export schema`."""
    from docarray.flow import schemas

    kind = None if options.of is None else options.of.capitalize()
    text = json.dumps(schemas.schema(kind), indent=2) + "\n"
    if options.output is None:
        print(text, end="")
    else:
        Path(options.output).write_text(text, encoding="utf-8")
    return 0


def new(options: argparse.Namespace) -> int:
    """`docarray new hello`."""
    from docarray.flow import project

    for file in project.new(Path(options.name)):
        print(file)
    print(f"Next: cd {options.name} && pytest, and docarray flow --uses flow.yml")
    return 0
