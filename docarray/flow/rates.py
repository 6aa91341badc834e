"""Rates: how many requests each client may send in a second."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from docarray.flow.faults import Overloaded

__all__ = ["Rates", "client_of"]

_MOST: Final = 1 << 16  # clients that are known at the same time


class Rates:
    """A bucket for each client, which fills with so many requests a second, and holds those of a second.

    Args:
        rate: requests a second.
        clock: in seconds.

    >>> rates = Rates(2, clock=lambda: 0.0)
    >>> rates.take('a'), rates.take('a')
    (None, None)
    >>> rates.take('a')
    Traceback (most recent call last):
    docarray.flow.faults.Overloaded: a client may send 2 requests a second here; try again in 0.5 s
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._size = max(1.0, rate)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # the one that asked last is the last

    def take(self, client: str) -> None:
        """Takes one request out of the bucket of a client.

        Raises:
            Overloaded: it is empty; `retry_after` has the seconds until it is not.
        """
        now = self._clock()
        left, since = self._left.pop(client, (self._size, now))
        left = min(self._size, left + (now - since) * self._rate)
        is_empty = left < 1.0
        self._left[client] = (left if is_empty else left - 1.0), now
        if len(self._left) > _MOST:  # whoever asked longest ago: its bucket is the fullest
            del self._left[next(iter(self._left))]
        if is_empty:
            wait = (1.0 - left) / self._rate
            raise Overloaded(
                f"a client may send {self._rate:g} requests a second here; try again in {wait:.3g} s", wait
            )


def client_of(headers: Iterable[tuple[Any, Any]], address: object) -> str:
    """Who asks: by its key, of which a digest is kept, or else by its address.

    >>> client_of([(b'accept', b'*/*')], ('10.0.0.1', 5000))
    '10.0.0.1'
    """
    for name, value in headers:
        if name in (b"authorization", b"x-api-key"):
            return hashlib.sha256(bytes(value)).hexdigest()
    return str(address[0]) if isinstance(address, (tuple, list)) and address else str(address)  # pyright: ignore[reportUnknownArgumentType]
