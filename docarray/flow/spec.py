"""Specs: what a Flow is made of, as values. They never change, are compared by what they say, and go to YAML and back.

Rule 1: objects stay objects: a class is given as it is, and so is what its constructor gets.
Rule 2: a name that is none is an error that says the nearest one.
Rule 3: times are seconds. The old names in milliseconds are taken where they are given, and kept as seconds.
"""

from __future__ import annotations

import dataclasses
import keyword
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar, cast

from docarray.errors import BadValue, FieldTypeError, UnknownOption, near_miss
from docarray.flow.faults import BadTopology
from docarray.query import parse

__all__ = [
    "ARRAYS",
    "ENGINES",
    "GATEWAY",
    "PROTOCOLS",
    "REDUCERS",
    "DeploymentSpec",
    "FlowSpec",
    "GatewaySpec",
    "renamed",
]

GATEWAY: Final = "gateway"
"""What a deployment needs that is asked first."""
ENGINES: Final = ("inline", "process")
"""Where Executors run: in this process, or in processes of their own."""
PROTOCOLS: Final = ("http", "websocket", "grpc")
ARRAYS: Final = ("numpy", "list", "torch", "tensorflow", "paddle", "jax")
"""Frameworks whose arrays documents can hold."""
REDUCERS: Final = ("merge", "concat", "first", "none")
"""What is made of the parts at a join: one document of each id; all one after the other; the first part; nothing, for
a handler with `docs_matrix` or `docs_map`."""

_LONG: Final = 1e9  # seconds
S = TypeVar("S")


def _built(cls: type[S], given: Mapping[str, Any], what: str) -> S:
    """A spec of keywords.

    Raises:
        UnknownOption: there is no such keyword.
    """
    known = [field.name for field in dataclasses.fields(cast("Any", cls))]
    for name in given:
        if name not in known:
            raise UnknownOption(f"{what} takes no {name!r}. {near_miss(str(name), known)}")
    return cls(**given)


def _put(spec: object, name: str, value: Any) -> None:
    """Sets a field of a spec that is being made."""
    object.__setattr__(spec, name, value)


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


def _names(value: Any, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    is_several = isinstance(value, Iterable) and not isinstance(value, str)
    listed: list[Any] = list(cast("Any", value)) if is_several else [value]
    for name in listed:
        if not isinstance(name, str):
            raise FieldTypeError(f"{what} names deployments; got {name!r:.80}")
    return tuple(dict.fromkeys(listed))


def _whole(value: Any, name: str, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadValue(f"{name} is a whole number from {least}; got {value!r:.60}")
    return value


def _seconds(value: Any, name: str) -> float | None:
    if value is None or value == -1:
        return None
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not math.isfinite(value)
        or value <= 0
    ):
        raise BadValue(f"{name} is a number of seconds above 0, or None; got {value!r:.60}")
    return float(value)


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return _nothing()
    if not isinstance(value, Mapping):
        raise FieldTypeError(f"{name} is a dict; got a {type(value).__name__}")
    return MappingProxyType(dict(cast("Mapping[str, Any]", value)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeploymentSpec:
    """One deployment: an Executor, how many of it, and where it stands in the Flow.

    Raises:
        BadValue, FieldTypeError: a value that cannot be; the message names it.
    """

    name: str
    """By which others need it, and parameters and routes name it."""
    uses: Any = None
    """The class of the Executor, or where it is found: a dotted path, a YAML file, YAML as text, a dict. None passes
    documents on."""
    uses_with: Mapping[str, Any] = dataclasses.field(default_factory=_nothing)
    """Arguments of its constructor."""
    uses_metas: Mapping[str, Any] = dataclasses.field(default_factory=_nothing)
    """Its `metas`."""
    uses_requests: Mapping[str, str] = dataclasses.field(default_factory=_nothing)
    """Endpoint to the name of the method that answers it."""
    uses_dynamic_batching: Mapping[str, Any] = dataclasses.field(default_factory=_nothing)
    """Endpoint, or name of a method, to how its requests are put together."""
    needs: tuple[str, ...] = ()
    """Whose documents it gets; 'gateway' those of the request."""
    when: Mapping[str, Any] | None = None
    """A filter: documents that it does not keep are left out of this branch."""
    reduce: Any = "merge"
    """What is made of the parts where it needs several, or has several shards: one of REDUCERS, or a function of a list
    of DocumentArrays."""
    replicas: int = 1
    """Executors that share the requests."""
    shards: int = 1
    """Parts of the data; each has so many replicas."""
    polling: Any = "ANY"
    """Whether one shard is asked, in turn, or all: 'ANY', 'ALL', or a dict by endpoint with '*' for the others."""
    uses_before: Any = None
    """With shards: an Executor that is asked before they are."""
    uses_after: Any = None
    """With shards: an Executor that is asked when they have answered."""
    external: bool = False
    """Whether it runs elsewhere, at `host` and `port`."""
    host: Any = None
    """Of an external one: an address, or several, each a replica: 'grpc://10.0.0.1:54321'."""
    port: Any = None
    """Of an external one, where the address has none; or the port at which a Deployment is served."""
    tls: bool = False
    """Whether an external one is spoken to by TLS."""
    grpc_metadata: Mapping[str, str] = dataclasses.field(default_factory=_nothing)
    """Sent with each request to an external one."""
    floating: bool = False
    """Whether the answer does without it."""
    engine: str | None = None
    """One of ENGINES; None is that of the Flow."""
    max_concurrency: int | None = None
    """Requests that one Executor works on at the same time. None: one where the method is plain, all where it is a
    coroutine."""
    max_queue: int | None = None
    """Requests that may wait for it; one more is refused. None: no bound of its own."""
    timeout_send: float | None = None
    """Seconds that it has for a request."""
    timeout_ready: float = 120.0
    """Seconds that its constructor has; and a `snapshot`."""
    timeout_close: float = 10.0
    """Seconds that a process has to answer what is under way, and end, before it is killed."""
    retries: int = -1
    """How often a request is sent again where the connection was lost; -1: once to each other replica."""
    workspace: str | None = None
    """The folder in which its Executors have theirs."""
    snapshots: str | None = None
    """The folder in which its Executors keep what they remember, and find it again when they begin: see
    `docarray.flow.Executor.snapshot`."""
    env: Mapping[str, str] = dataclasses.field(default_factory=_nothing)
    """Environment variables of its processes. 'RR' as CUDA_VISIBLE_DEVICES deals the devices to the replicas."""
    py_modules: tuple[str, ...] = ()
    """Files that are loaded first."""
    extra_search_paths: tuple[str, ...] = ()
    """Folders in which files are looked for."""
    output_array_type: str | None = None
    """What tensors and embeddings become before they leave: one of ARRAYS."""
    exit_on_exceptions: tuple[str, ...] = ()
    """Classes of errors after which a process ends, to be started anew."""
    install_requirements: bool = False
    """Whether the requirements.txt beside its YAML file is installed for its processes."""
    reload: bool = False
    """Whether it is made anew where its code or YAML is edited; see docarray.flow.watching."""

    def __post_init__(self) -> None:
        if (
            not isinstance(cast("Any", self.name), str)
            or not self.name.isidentifier()
            or keyword.iskeyword(self.name)
        ):
            raise BadValue(f"the name of a deployment is an identifier of Python; got {self.name!r:.60}")
        if self.name == GATEWAY:
            raise BadValue(f"{GATEWAY!r} is the name of what comes before all deployments")
        where = f"deployment {self.name!r}: "
        for name in (
            "uses_with",
            "uses_metas",
            "uses_requests",
            "uses_dynamic_batching",
            "grpc_metadata",
            "env",
        ):
            _put(self, name, _mapping(getattr(self, name), where + name))
        _put(self, "needs", _names(self.needs, where + "needs"))
        for name in ("replicas", "shards"):
            _whole(getattr(self, name), where + name)
        for name in ("max_concurrency", "max_queue"):
            if getattr(self, name) is not None:
                _whole(getattr(self, name), where + name, 1 if name == "max_concurrency" else 0)
        _put(self, "timeout_send", _seconds(self.timeout_send, where + "timeout_send"))
        for name in ("timeout_ready", "timeout_close"):
            _put(self, name, _seconds(getattr(self, name), where + name) or _LONG)
        for name in ("py_modules", "extra_search_paths", "exit_on_exceptions"):
            value = getattr(self, name)
            _put(self, name, (value,) if isinstance(value, str) else tuple(value or ()))
        for name in ("workspace", "snapshots"):
            if getattr(self, name) is not None:
                _put(self, name, os.fspath(getattr(self, name)))
        _put(self, "polling", _polling(self.polling, where))
        if self.when is not None:
            parse(self.when)
            _put(self, "when", _mapping(self.when, where + "when"))
        if not callable(self.reduce) and self.reduce not in REDUCERS:
            raise BadValue(
                f"{where}reduce is one of {', '.join(REDUCERS)} or a function; got {self.reduce!r:.60}"
            )
        if self.engine is not None and self.engine not in ENGINES:
            raise BadValue(
                f"{where}there is no engine {self.engine!r:.60}. {near_miss(str(self.engine), ENGINES)}"
            )
        if self.output_array_type not in (None, *ARRAYS):
            raise BadValue(
                f"{where}there is no output_array_type {self.output_array_type!r:.60}. "
                f"{near_miss(str(self.output_array_type), ARRAYS)}"
            )
        if (self.uses_before or self.uses_after) and self.shards == 1:
            raise BadTopology(f"{where}uses_before and uses_after go with shards, of which there is one")
        if self.external and self.host is None and self.port is None:
            raise BadValue(f"{where}an external one is at a host or a port; neither is said")
        if self.external and self.snapshots is not None:
            raise BadValue(
                f"{where}snapshots are kept where an Executor runs: an external one does so elsewhere"
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """A spec of keywords, those of old among them.

        Raises:
            UnknownOption: there is no such keyword.
        """
        said = renamed(given)
        return _built(cls, said, f"deployment {said.get('name', '')!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), _said(self))

    def poll(self, endpoint: str) -> str:
        """'ANY' or 'ALL'."""
        if isinstance(self.polling, str):
            return self.polling
        return self.polling.get(endpoint) or self.polling.get("*") or _POLLING.get(endpoint, "ANY")


def _said(spec: Any) -> dict[str, Any]:
    """The keywords of a spec, as a pickle takes them."""
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    return {
        name: dict(cast("Mapping[Any, Any]", value)) if isinstance(value, MappingProxyType) else value
        for name, value in values.items()
    }


def _remade(cls: type[S], said: dict[str, Any]) -> S:
    return cls(**said)


_POLLING: Final[Mapping[str, str]] = MappingProxyType({"/index": "ANY", "/search": "ALL"})


def _polling(value: Any, where: str) -> Any:
    def one(said: Any) -> str:
        if not isinstance(said, str) or said.upper() not in ("ANY", "ALL"):
            raise BadValue(
                f"{where}polling is 'ANY' or 'ALL', or a dict of them by endpoint; got {said!r:.60}"
            )
        return said.upper()

    if isinstance(value, Mapping):
        asked = {str(point): one(said) for point, said in cast("Mapping[Any, Any]", value).items()}
        return MappingProxyType({**_POLLING, **asked})
    return one(value)


def renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of old as those of today."""
    said = dict(given)
    for old in ("no_reduce", "disable_reduce"):
        if said.pop(old, False):
            said["reduce"] = "none"
    for name in ("timeout_send", "timeout_ready"):
        if f"{name}_ms" in said:
            value = said.pop(f"{name}_ms")
            said[name] = value if value in (None, -1) else value / 1000
    return said


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatewaySpec:
    """What a Flow offers to clients of the network."""

    protocol: tuple[str, ...] = ()
    """Of PROTOCOLS; none: the Flow is asked in this process alone."""
    port: tuple[int, ...] = ()
    """One for each protocol, or one for 'http' and 'websocket' together; 0, or none: a free one."""
    host: str = "127.0.0.1"
    """On which it listens."""
    uses: Any = None
    """A function of the Flow that gives an ASGI application in place of the usual one, or a class of Gateway."""
    uses_with: Mapping[str, Any] = dataclasses.field(default_factory=_nothing)
    """Arguments of it."""
    title: str | None = None
    """Of the OpenAPI document."""
    description: str | None = None
    """Of the OpenAPI document."""
    cors: Any = ()
    """Origins of pages that may ask; True for all."""
    auth: Any = None
    """A key, several, or a function of the connection."""
    insecure: bool = False
    """Whether other machines get in without a key, where `host` lets them."""
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    compression: str | None = None
    """Of gRPC: 'gzip', 'deflate' or None."""
    max_body: int = 64 << 20
    """Bytes of a request."""
    max_in_flight: int = 1_000
    """Requests that are worked on, or wait, at the same time; one more is refused."""
    rate_limit: float | None = None
    """Requests that one client may send in a second: by its key where there are keys, else by its address. One more is
    refused."""
    timeout: float | None = None
    """Seconds that a request may take which says no time of its own."""
    drain: float = 10.0
    """Seconds that requests have to end when the Flow is closed."""
    debug: bool = False
    """Whether clients are told the traceback of what a handler raised."""
    metrics: bool = True
    """Whether there is /metrics."""
    graphql: bool = False
    """Whether there is /graphql."""
    access_log: bool = False
    """Whether each request over the network is a line of the logger 'docarray.flow.access'."""
    tracing: Any = None
    """Whether requests are traced by OpenTelemetry: True, False, a TracerProvider; None: where one was set."""
    uvicorn_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=_nothing)
    grpc_server_options: Mapping[str, Any] = dataclasses.field(default_factory=_nothing)

    def __post_init__(self) -> None:
        protocols = [str(one).lower() for one in _names(self.protocol, "protocol")]
        for one in protocols:
            if one not in PROTOCOLS:
                raise BadValue(f"there is no protocol {one!r:.60}. {near_miss(one, PROTOCOLS)}")
        _put(self, "protocol", tuple(protocols))
        ports: Any = self.port
        ports = () if ports is None else (ports,) if isinstance(ports, int) else tuple(ports)
        for one in ports:
            if not isinstance(one, int) or isinstance(one, bool) or not 0 <= one < 65536:
                raise BadValue(f"a port is a whole number below 65536; got {one!r:.60}")
        _put(self, "port", ports)
        if ports and not protocols:
            _put(self, "protocol", ("grpc",))
        _put(
            self, "cors", ("*",) if self.cors is True else () if not self.cors else _names(self.cors, "cors")
        )
        for name in ("uses_with", "uvicorn_kwargs", "grpc_server_options"):
            _put(self, name, _mapping(getattr(self, name), name))
        for name in ("max_body", "max_in_flight"):
            _whole(getattr(self, name), name)
        _put(self, "timeout", _seconds(self.timeout, "timeout"))
        rate: Any = self.rate_limit
        if rate is not None and (
            not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 < rate < math.inf
        ):
            raise BadValue(f"rate_limit is a number of requests a second above 0, or None; got {rate!r:.60}")
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise BadValue("TLS wants ssl_certfile and ssl_keyfile; one of them is not said")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """A spec of keywords."""
        return _built(cls, given, "the gateway")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowSpec:
    """A Flow, as a value."""

    name: str = "flow"
    deployments: tuple[DeploymentSpec, ...] = ()
    gateway: GatewaySpec = dataclasses.field(default_factory=GatewaySpec)
    engine: str | None = None
    """Of deployments that say none; None is 'inline', or 'process' where there are replicas."""
    workspace: str | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=_nothing)

    def __post_init__(self) -> None:
        if self.engine is not None and self.engine not in ENGINES:
            raise BadValue(f"there is no engine {self.engine!r:.60}. {near_miss(str(self.engine), ENGINES)}")
        object.__setattr__(self, "env", _mapping(self.env, "env"))

    def __contains__(self, name: object) -> bool:
        return any(one.name == name for one in self.deployments)

    def __getitem__(self, name: str) -> DeploymentSpec:
        for one in self.deployments:
            if one.name == name:
                return one
        names = [one.name for one in self.deployments]
        raise BadTopology(f"there is no deployment {name!r:.60}. {near_miss(name, names)}")

    def with_deployment(self, deployment: DeploymentSpec) -> Self:
        """The Flow with one more.

        Raises:
            BadTopology: its name is taken, or it needs what is not there.
        """
        if deployment.name in self:
            raise BadTopology(
                f"there is a deployment {deployment.name!r} already; each has a name of its own"
            )
        for name in deployment.needs:
            if name == GATEWAY:
                continue
            if self[name].floating:
                raise BadTopology(
                    f"{deployment.name!r} needs {name!r}, which is floating: nobody waits for it"
                )
        return dataclasses.replace(self, deployments=(*self.deployments, deployment))

    @property
    def last(self) -> str:
        """What a deployment needs that says nothing: the one before it, floating ones left out."""
        return next((one.name for one in reversed(self.deployments) if not one.floating), GATEWAY)

    def leaves(self) -> list[str]:
        """Deployments that no other needs, floating ones left out."""
        needed = {name for one in self.deployments for name in one.needs}
        return [one.name for one in self.deployments if one.name not in needed and not one.floating]

    def free_name(self, stem: str = "executor") -> str:
        """A name that is not taken: `executor0`, `executor1`."""
        at = len(self.deployments)
        while f"{stem}{at}" in self:
            at += 1
        return f"{stem}{at}"


_NAME: Final = re.compile(r"\W")


def identifier(text: str) -> str:
    """A name that a deployment can have, of the name of a class or file."""
    made = _NAME.sub("_", text).lower()
    return made if made.isidentifier() else f"executor_{made}"


Reducer = Callable[[Sequence[Any]], Any]
