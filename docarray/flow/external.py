"""External: a deployment that runs elsewhere: a Flow or Deployment that is served, at one address or several.

Rule 1: each address is a replica: the one with the fewest requests is asked, of several the next in turn.
Rule 2: who cannot be reached is passed over, for the others; for a while it is asked only where all others fail too. A
        request that was cut off in the middle is not sent again: it may have been worked on.
Rule 3: it may come after this Flow and go before it: that it is not there is told by each request, and by `is_ready`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, Final, cast

from docarray.array import DocumentArray
from docarray.errors import BadValue
from docarray.flow.call import Call
from docarray.flow.client import transport
from docarray.flow.envelope import Envelope
from docarray.flow.faults import DeadlineExceeded, Unavailable
from docarray.flow.handlers import DEFAULT, Offer
from docarray.flow.inline import least_busy
from docarray.flow.spec import DeploymentSpec
from docarray.flow.transport import Address, NotReached, address, is_sent
from docarray.flow.worker import Seat

__all__ = ["ExternalCrew", "addresses"]

_REST: Final = 2.0  # seconds in which one that was not reached is asked last
_MARGIN: Final = 0.25


def addresses(spec: DeploymentSpec) -> list[Address]:
    """Where an external deployment is.

    Raises:
        BadValue: an address is none, or hosts and ports are not as many.

    >>> [one.url for one in addresses(DeploymentSpec(name='a', external=True, host=['b', 'c:2'], port=1))]
    ['grpc://b:1', 'grpc://c:2']
    """
    hosts = _listed(spec.host) or ["127.0.0.1"]
    if len(hosts) == 1 and isinstance(hosts[0], str):
        hosts = [one.strip() for one in hosts[0].split(",")]
    ports = _listed(spec.port) or [None]
    if len(hosts) == 1:
        hosts *= len(ports)
    if len(ports) == 1:
        ports *= len(hosts)
    if len(hosts) != len(ports):
        raise BadValue(f"deployment {spec.name!r} has {len(hosts)} hosts and {len(ports)} ports")
    return [address(host, port, "grpc", spec.tls) for host, port in zip(hosts, ports, strict=True)]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, Iterable) and not isinstance(value, str):
        return list(cast("Iterable[Any]", value))
    return [value]


class _There:
    """One address."""

    def __init__(self, where: Address) -> None:
        self.where = where
        self.transport = transport(where, None, 0)
        self.busy = 0
        self.served = 0
        self.until = 0.0
        """When it is asked as others are, again."""


class ExternalCrew:
    """What runs at the addresses of an external deployment; see `docarray.flow.groups.Crew`."""

    def __init__(self, spec: DeploymentSpec) -> None:
        self._spec = spec
        self._there = [_There(where) for where in addresses(spec)]
        self._turn = itertools.count()
        self.names: tuple[str, ...] = (spec.name,)
        # It is asked what it answers when it is asked: nobody knows now.
        self.offers: Mapping[str, Offer] = {
            DEFAULT: Offer(streams=False, idempotent=False, plain=False, doc="")
        }

    def call_here(self, call: Call) -> dict[str, Any] | None:
        """See Crew."""
        raise NotImplementedError("what runs elsewhere is not called in this thread")

    def seat(self, endpoint: str) -> Seat | None:
        """See Crew."""
        raise NotImplementedError("what runs elsewhere is not called in this thread")

    def _asked(self, there: _There, call: Call, envelope: Envelope) -> Envelope:
        passed = {name: value for name, value in envelope.metadata.items() if is_sent(name, value)}
        if there.where.protocol == "websocket":  # where requests have none
            passed = {}
        asked = Envelope(
            call.docs,
            call.endpoint,
            call.parameters,
            request_id=envelope.request_id,
            timeout=envelope.left(),
            metadata={**passed, **self._spec.grpc_metadata},
            own=True,
        )
        if call.tracing_context is not None:
            from docarray.flow.tracing import sent

            sent(asked, call.tracing_context, there.where.protocol)
        return asked

    async def call(self, call: Call, envelope: Envelope) -> dict[str, Any] | None:
        """See Crew.

        Raises:
            Unavailable: none of the addresses can be reached, or one was lost before it answered.
        """
        left = list(self._there)
        while True:
            now = time.monotonic()
            fresh = [one for one in left if one.until <= now]
            there = least_busy(fresh or left, next(self._turn))
            asked = self._asked(there, call, envelope)
            there.busy += 1
            try:
                await self._sent(there, asked)
            except NotReached:
                there.until = time.monotonic() + _REST
                left.remove(there)
                if not left:
                    raise
                continue
            finally:
                there.busy -= 1
            there.served += 1
            there.until = 0.0
            call.docs = asked.docs
            results = asked.results
            return next(iter(results.values())) if len(results) == 1 else results or None

    async def _sent(self, there: _There, asked: Envelope) -> None:
        left = asked.left()
        try:
            async with asyncio.timeout(None if left is None else left + _MARGIN):
                await there.transport.send(asked, left)
        except TimeoutError as error:
            if isinstance(error, DeadlineExceeded):
                raise
            raise DeadlineExceeded(f"{there.where.url} did not answer in time") from None

    async def stream(self, call: Call, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """See Crew."""
        there = least_busy(self._there, next(self._turn))
        asked = self._asked(there, call, envelope)
        there.busy += 1
        try:
            async with contextlib.aclosing(there.transport.stream(asked, asked.left())) as parts:
                async for part in parts:
                    yield part
            there.served += 1
        finally:
            there.busy -= 1

    async def start(self) -> None:
        """See Crew."""

    async def _are_ready(self) -> list[bool]:
        async def one(there: _There) -> bool:
            try:
                return await there.transport.is_ready()
            except Unavailable:
                return False

        return await asyncio.gather(*map(one, self._there))

    async def snapshot(self) -> list[str | BaseException | None]:
        """See Crew: who serves it does that."""
        return []

    async def is_ready(self) -> bool:
        """See Crew."""
        return any(await self._are_ready())

    async def close(self) -> None:
        """See Crew."""
        await asyncio.gather(*(one.transport.close() for one in self._there))

    def status(self) -> list[dict[str, Any]]:
        """See Crew."""
        now = time.monotonic()
        return [
            {
                "name": f"{self._spec.name}/{one.where.url}",
                "state": "ready" if one.until <= now else "lost",
                "busy": one.busy,
                "served": one.served,
            }
            for one in self._there
        ]
