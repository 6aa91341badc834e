import asyncio
import threading

import pytest

from docarray.errors import StoreLocked
from docarray.web.lane import Lane
from docarray.web.problems import Busy, TimedOut


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


def lane(**options):
    return Lane(**{"threads": 1, "waiting": 2, "timeout": 20.0, **options})


async def settled(of, count):
    while of.busy != count:
        await asyncio.sleep(0.005)


def test_work_is_done_in_another_thread():
    one = lane()
    try:
        assert threading.get_ident() != asyncio.run(one.run(threading.get_ident))
    finally:
        one.close()


def test_what_is_raised_comes_through():
    def fail(kind):
        raise kind("so")

    one = lane()
    try:
        for kind in (
            ZeroDivisionError,
            StoreLocked,
            TimeoutError,
        ):  # a lock that was waited for is a TimeoutError too
            with pytest.raises(kind, match="so") as caught:
                asyncio.run(one.run(fail, kind))
            assert not isinstance(caught.value, TimedOut)
        assert 0 == one.busy
    finally:
        one.close()


def test_no_more_wait_than_may(gate):
    async def flood():
        working = [asyncio.create_task(one.run(gate.wait)) for _ in range(3)]
        await settled(one, 3)
        with pytest.raises(Busy, match="3 requests"):
            await one.run(gate.wait)
        gate.set()
        return await asyncio.gather(*working)

    one = lane()
    try:
        assert [True] * 3 == asyncio.run(flood())
        assert 0 == one.busy
    finally:
        one.close()


def test_what_nobody_waits_for_is_not_begun(gate):
    done = []

    async def leave():
        first = asyncio.create_task(one.run(gate.wait))
        await settled(one, 1)
        second = asyncio.create_task(one.run(done.append, "second"))
        await settled(one, 2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await settled(one, 1)  # its place is free at once
        gate.set()
        await first
        await one.run(done.append, "third")

    one = lane()
    try:
        asyncio.run(leave())
        assert ["third"] == done
    finally:
        one.close()


def test_what_takes_too_long_is_answered_and_counts_until_it_is_done(gate):
    async def wait():
        with pytest.raises(TimedOut, match=r"within 0\.05 s"):
            await one.run(gate.wait)
        assert 1 == one.busy
        gate.set()
        await settled(one, 0)

    one = lane(timeout=0.05)
    try:
        asyncio.run(wait())
    finally:
        one.close()
