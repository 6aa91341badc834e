"""Flow: deployments wired to each other, asked as one. Deployment: one of them alone.

Rule 1: a Flow is a value: `add` gives another one, and leaves this as it is. What runs is a Running.
Rule 2: what was started is ended, however its block ends.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast

from docarray.array import DocumentArray
from docarray.errors import FieldTypeError, UnknownOption, near_miss
from docarray.flow import plot, saving, states
from docarray.flow.envelope import Envelope
from docarray.flow.executor import Executor
from docarray.flow.faults import BadTopology, NotRunning
from docarray.flow.loops import LoopThread
from docarray.flow.posting import Posting
from docarray.flow.running import Running
from docarray.flow.spec import GATEWAY, DeploymentSpec, FlowSpec, GatewaySpec, renamed

if TYPE_CHECKING:
    from docarray.flow.serving import Served
    from docarray.flow.watching import Origin, Watcher

__all__ = ["Deployment", "Flow"]

OFFERED: Final = tuple(
    field.name for field in dataclasses.fields(GatewaySpec) if field.name not in ("uses", "uses_with")
)
_OWN: Final = ("name", "engine", "workspace", "env")
DEPLOYMENT: Final = tuple(
    field.name
    for field in dataclasses.fields(DeploymentSpec)
    if field.name not in ("name", "uses", "uses_with", "needs", "host", "port")
)


def _shallow(spec: Any) -> dict[str, Any]:
    """The keywords of a spec; what they hold stays what it is."""
    return {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}


class _Served(Posting):
    """What a Flow and a Deployment have in common: they are started, asked and ended."""

    _jtype: ClassVar[str]

    def __init__(self, spec: FlowSpec, asyncio: bool) -> None:
        self.spec: FlowSpec = spec
        self.asyncio: bool = asyncio
        self._running: Running | None = None
        self._network: Served | None = None
        self._origin: Origin | None = None
        self._watcher: Watcher | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not yet ended."""
        return self._running is not None

    def start(self) -> Self:
        """Makes all Executors; with a `port` or `protocol` clients of the network are answered from here on.

        Raises:
            FlowStartError: one could not be made, or a port is taken; all are ended. NotRunning: it runs already.
            MissingExtra: a protocol needs a package that is not installed.
        """
        if self._running is not None:
            raise NotRunning(f"{self.spec.name!r} runs already")
        self._running = running = Running(self.spec)
        if self.spec.gateway.protocol:
            try:
                from docarray.flow.serving import Served

                self._network = Served(running, self)
            except BaseException:
                self.close()
                raise
        if any(one.reload for one in self.spec.deployments):
            from docarray.flow.watching import Watcher

            self._watcher = Watcher(running, self._origin)
        return self

    def close(self) -> None:
        """Answers what is under way, closes all Executors. A second time does nothing."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
        network, self._network = self._network, None
        if network is not None:
            network.close()  # first: who asked before is answered as before
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        import asyncio

        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *exception: object) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def block(self, stop_event: threading.Event | None = None) -> None:
        """Waits until the event is set, or the process is told to end (Ctrl-C, SIGTERM)."""
        stopped = stop_event or threading.Event()
        if threading.current_thread() is not threading.main_thread():
            stopped.wait()
            return

        def stop(number: int, frame: Any) -> None:
            stopped.set()

        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            stopped.wait()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _here_running(self) -> Running:
        if self._running is None:
            raise NotRunning(f"{self.spec.name!r} does not run: with flow: ..., or flow.start()")
        return self._running

    # ------------------------------------------------------------------------------------------ the network

    @property
    def ports(self) -> dict[str, int]:
        """On which it listens, by protocol; none where it does not run, or is asked in this process alone."""
        return {} if self._network is None else dict(self._network.ports)

    @property
    def port(self) -> int | None:
        """The port of its first protocol; None where it has none."""
        return next(iter(self.ports.values()), None)

    def asgi(self, **options: Any) -> Any:
        """It as an application of ASGI, to be mounted or served; see `docarray.flow.gateway.asgi` for the options.

        Raises:
            MissingExtra: starlette is not installed.
        """
        from docarray.flow.gateway import asgi

        return asgi(self, **options)

    # ------------------------------------------------------------------------------------------ Posting

    def _loop(self) -> LoopThread | None:
        return self._here_running().loop

    async def _send(self, envelope: Envelope) -> None:
        await self._here_running().answer(envelope)

    def _stream(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        return self._here_running().stream(envelope)

    def _send_here(self, envelope: Envelope) -> bool:
        return self._here_running().answer_here(envelope)

    # ------------------------------------------------------------------------------------------ files

    def _comes_from(self, source: Any, again: Callable[[], _Served]) -> None:
        """Notes the file that this was read from, and how, for `reload`."""
        from docarray.flow.watching import Origin

        file = saving.path_of(source)
        if file is not None:
            self._origin = Origin(file, lambda: again().spec)

    def save_config(self, file: str | os.PathLike[str] | None = None) -> str:
        """What this is as YAML, which `load_config` reads; with a `file` it is written there too.

        Raises:
            BadValue: it holds what a file cannot say, such as a class of a notebook. MissingExtra: no PyYAML.
        """
        folder = Path.cwd() if file is None else Path(file).resolve().parent
        text = saving.dumped(saving.saved(self.spec, folder, type(self)._jtype))
        if file is not None:
            Path(file).write_text(text, encoding="utf-8")
        return text

    # ------------------------------------------------------------------------------------------ looking at it

    def is_flow_ready(self) -> bool:
        """Whether a request would come through all deployments."""
        running = self._running
        return running is not None and running.loop.run(running.is_ready())

    dry_run = is_flow_ready

    def snapshot(self) -> list[str]:
        """Has the Executors of deployments that say `snapshots` keep what they remember; gives the folders.

        Raises:
            ExecutorError: a `snapshot` raised. Unavailable: a replica does not run just now. The others have kept
                theirs.
        """
        return states.snapshot(self._here_running())

    def status(self) -> dict[str, Any]:
        """Of each deployment, by name: its `state` ('ready', 'degraded' where some replicas are not, 'down'), requests
        `in_flight` and `waiting`, `restarts`, `requests`, `errors`, the seconds `p50` and `p99` of the last 512 (None
        where there was none), and `replicas`: a dict for each.
        """
        return self._here_running().status()

    def plot(self, output: str | os.PathLike[str] | None = None) -> Self:
        """Draws the wiring.

        Args:
            output: where to write it: `.svg` is a picture, `.mmd` text of Mermaid. None: nowhere; a notebook shows what
                comes back.

        Raises:
            BadValue: it ends in neither.
        """
        plot.write(self.spec, output)
        return self

    def mermaid(self) -> str:
        """The wiring as text of Mermaid."""
        return plot.mermaid(self.spec)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and cast("_Served", other).spec == self.spec

    __hash__: ClassVar[None] = None  # pyright: ignore[reportIncompatibleMethodOverride]  # as anything that is compared by value and runs

    def __repr__(self) -> str:
        said = ", ".join(one.name for one in self.spec.deployments)
        return f"<{type(self).__name__} {self.spec.name!r}: {said or 'empty'}{', runs' if self.is_running else ''}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        del include, exclude
        return {
            "text/plain": repr(self),
            "text/html": plot.svg(self.spec),
            "text/vnd.mermaid": self.mermaid(),
        }


class Flow(_Served):
    """Deployments wired to each other, asked as one.

    Args:
        name: what it is called.
        engine: 'inline' or 'process'; see docs/flow.md. None: by what each deployment is.
        asyncio: whether `post` is iterated with `async for`.
        workspace: the folder in which Executors have theirs.
        env: environment variables of their processes.
        options: of the gateway: see `docarray.flow.spec.GatewaySpec`; and of deployments, for all of them.

    >>> from docarray import Document
    >>> from docarray.flow import Executor, requests
    >>> class Shout(Executor):
    ...     @requests
    ...     def shout(self, docs, **kwargs):
    ...         docs.texts = [text.upper() for text in docs.texts]
    >>> with Flow().add(uses=Shout) as flow:
    ...     flow.post('/', Document(text='hi')).texts
    ['HI']
    """

    _jtype = "Flow"

    def __init__(
        self,
        name: str = "flow",
        *,
        engine: str | None = None,
        asyncio: bool = False,
        workspace: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        options = renamed(options)
        gateway = {key: value for key, value in options.items() if key in OFFERED}
        common = {key: value for key, value in options.items() if key in DEPLOYMENT}
        for key in options:
            if key not in gateway and key not in common:
                raise UnknownOption(
                    f"a Flow takes no {key!r}. {near_miss(key, {*_OWN, *OFFERED, *DEPLOYMENT})}"
                )
        spec = FlowSpec(
            name=name,
            gateway=GatewaySpec.of(gateway),
            engine=engine,
            workspace=None if workspace is None else os.fspath(workspace),
            env=env or {},
        )
        super().__init__(spec, asyncio)
        self._common = common

    @classmethod
    def load_config(cls, source: Any, context: Mapping[str, Any] | None = None, **options: Any) -> Self:
        """The Flow of a YAML file, of YAML as text, of an open file or of a dict.

        Args:
            source: what `save_config` gives; `jtype: Flow`, and `with`, `deployments` (or `executors`), `gateway`.
            context: values of the variables `${{ name }}`; `${{ ENV.NAME }}` are of the environment.
            options: of the Flow, in place of those of the file.

        Raises:
            UnknownName: there is no such file. BadValue: it cannot be read. UnknownOption: a key that means nothing.

        >>> flow = Flow.load_config('''
        ... jtype: Flow
        ... deployments:
        ...   - {name: encode, replicas: "${{ count }}"}
        ... ''', context={'count': 2})
        >>> flow['encode'].replicas
        2
        """
        said, folder = saving.read(source, context)

        def made(**given: Any) -> Self:
            return cls(**{**given, **options})

        flow = saving.flow_of(said, folder, made, context)
        flow._comes_from(source, lambda: cls.load_config(source, context, **options))
        return flow

    def _with(self, spec: FlowSpec) -> Self:
        fresh = type(self).__new__(type(self))
        _Served.__init__(fresh, spec, self.asyncio)
        fresh._common = self._common
        return fresh

    def add(self, deployment: Any = None, /, **options: Any) -> Self:
        """The Flow with one deployment more.

        Args:
            deployment: a Deployment, or the YAML file of one; options go before what it says.
            options: see `docarray.flow.spec.DeploymentSpec`. Without `needs` it gets the documents of the one that was
                added last, without `name` it is called after its number.

        Raises:
            BadTopology: the name is taken, or it needs what is not there. UnknownOption: there is no such option.
        """
        if self._running is not None:
            raise NotRunning("a Flow that runs is not added to: end it first")
        if isinstance(deployment, (str, os.PathLike)):
            deployment = Deployment.load_config(Path(cast("str", deployment)))
        if deployment is not None:
            if not isinstance(deployment, Deployment):
                raise FieldTypeError(
                    f"a Deployment is added, or what it is made of by name; got {deployment!r:.80}"
                )
            options = {**_shallow(deployment.one), **options}
        said = {**self._common, **options}
        said["name"] = said.get("name") or self.spec.free_name()
        if not said.get("needs"):
            said["needs"] = (self.spec.last,)
        if said.get("workspace") is None:
            said["workspace"] = self.spec.workspace
        return self._with(self.spec.with_deployment(DeploymentSpec.of(said)))

    def needs(self, needs: Any, name: str = "joiner", **options: Any) -> Self:
        """The Flow with a join of several deployments; without `uses` it passes on what `reduce` makes of them.

        Raises:
            BadTopology: fewer than two.
        """
        listed = [needs] if isinstance(needs, str) else list(needs)
        if len(set(listed)) < 2:
            raise BadTopology(f"a join needs two deployments or more; got {listed}")
        return self.add(name=name, needs=listed, **options)

    def needs_all(self, name: str = "joiner", **options: Any) -> Self:
        """The Flow with a join of all that no other deployment needs."""
        return self.needs(self.spec.leaves(), name=name, **options)

    def inspect(self, name: str | None = None, **options: Any) -> Self:
        """The Flow with a deployment at the side: it gets the documents, and nobody waits for it."""
        return self.add(name=name, floating=True, **options)

    def config_gateway(self, **options: Any) -> Self:
        """The Flow with other options of its gateway."""
        gateway = _shallow(self.spec.gateway)
        if "protocol" in options and "port" not in options:
            gateway["port"] = ()
        fresh = self._with(dataclasses.replace(self.spec, gateway=GatewaySpec.of({**gateway, **options})))
        fresh._origin = self._origin
        return fresh

    def __iter__(self) -> Iterator[tuple[str, DeploymentSpec]]:
        return iter([(one.name, one) for one in self.spec.deployments])

    def __len__(self) -> int:
        return len(self.spec.deployments)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: str | int) -> DeploymentSpec:
        return self.spec.deployments[key] if isinstance(key, int) else self.spec[key]

    @property
    def num_deployments(self) -> int:
        """How many deployments it has."""
        return len(self.spec.deployments)


class Deployment(_Served):
    """One Executor, with its replicas and shards, asked alone.

    Args:
        uses: the Executor; see `docarray.flow.spec.DeploymentSpec` and `GatewaySpec` for the options.

    >>> from docarray import Document
    >>> from docarray.flow import Executor, requests
    >>> class Count(Executor):
    ...     @requests(on='/count')
    ...     def count(self, docs, **kwargs):
    ...         return {'letters': sum(map(len, docs.texts))}
    >>> with Deployment(uses=Count) as count:
    ...     answer = count.post('/count', Document(text='hi'), return_responses=True)[0]
    >>> answer.parameters['__results__']
    {'executor0': {'letters': 2}}
    """

    _jtype = "Deployment"

    def __init__(self, uses: type[Executor] | Any = None, *, asyncio: bool = False, **options: Any) -> None:
        external = bool(options.get("external"))
        gateway = {
            key: options.pop(key)
            for key in (*OFFERED,)
            if key in options and not (external and key in ("host", "port"))
        }
        said = {
            "name": options.pop("name", None) or "executor0",
            "uses": uses,
            "needs": (GATEWAY,),
            **options,
        }
        one = DeploymentSpec.of(said)
        super().__init__(
            FlowSpec(
                name=one.name, deployments=(one,), gateway=GatewaySpec.of(gateway), workspace=one.workspace
            ),
            asyncio,
        )

    @classmethod
    def load_config(cls, source: Any, context: Mapping[str, Any] | None = None, **options: Any) -> Self:
        """The Deployment of a YAML file (`jtype: Deployment`, and its options under `with`); see `Flow.load_config`."""
        said, folder = saving.read(source, context)
        made = cls(**{**saving.deployment_of(said, folder), **options})
        made._comes_from(source, lambda: cls.load_config(source, context, **options))
        return made

    @property
    def one(self) -> DeploymentSpec:
        """Its spec."""
        return self.spec.deployments[0]
