from __future__ import annotations

import asyncio
import os
import signal
import time
from urllib.request import urlopen

import pytest

from docarray import Document, DocumentArray
from docarray.errors import BadValue, FieldTypeError
from docarray.flow import Executor, Flow, monitor, requests

pytest.importorskip("prometheus_client", reason='pip install "docarray[serve]"')

from prometheus_client.parser import text_string_to_metric_families


class Encoder(Executor):
    @monitor(name="encode_seconds", documentation="Seconds of one text.")
    def encode(self, text):
        if text == "bad":
            raise ValueError(text)
        return text.upper()

    @monitor
    async def look(self):
        """Looks something up.

        And more.
        """
        await asyncio.sleep(0.02)

    @requests(on="/encode")
    def all(self, docs, **kwargs):
        docs.texts = [self.encode(text) for text in docs.texts]
        with self.monitor("load_seconds", "Seconds of a load."):
            time.sleep(0.002)

    @requests(on="/look")
    @monitor()
    async def looked(self, docs: DocumentArray, parameters: dict, **kwargs):
        await self.look()

    @monitor()
    @requests(on="/parts")
    def parts(self, docs, **kwargs):
        yield from docs


def numbers(flow):
    with urlopen(f"http://127.0.0.1:{flow.port}/metrics", timeout=20) as answer:
        families = {one.name: one for one in text_string_to_metric_families(answer.read().decode())}
    return {name: family for name, family in families.items() if name.startswith("docarray_executor_")}


def value(families, name, **labels):
    (found,) = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == f"docarray_executor_{name}" and sample.labels == labels
    ]
    return found


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_histograms_on_the_metrics_of_the_flow(engine):
    with Flow(engine=engine, protocol="http").add(name="enc", uses=Encoder, replicas=1) as flow:
        assert numbers(flow) == {}
        flow.post("/encode", [Document(text="a"), Document(text="b")])
        flow.post("/encode", [Document(text="c")])
        flow.post("/look", Document())
        list(flow.stream("/parts", Document()))
        found = numbers(flow)

    where = {"deployment": "enc", "replica": "enc/rep-0"}
    assert value(found, "encode_seconds_count", **where) == 3
    assert value(found, "load_seconds_count", **where) == 2
    assert value(found, "load_seconds_sum", **where) >= 0.004
    assert value(found, "load_seconds_bucket", le="0.001", **where) == 0
    assert value(found, "look_seconds_sum", **where) >= 0.015
    assert value(found, "looked_seconds_count", **where) == 1
    assert value(found, "parts_seconds_count", **where) == 1
    texts = {
        name: found[f"docarray_executor_{name}"].documentation for name in ("encode_seconds", "look_seconds")
    }
    assert texts == {"encode_seconds": "Seconds of one text.", "look_seconds": "Looks something up."}


def test_what_raises_is_timed_too():
    with Flow(engine="process", protocol="http").add(name="enc", uses=Encoder) as flow:
        with pytest.raises(Exception, match="bad"):
            flow.post("/encode", Document(text="bad"))
        found = numbers(flow)

    assert value(found, "encode_seconds_count", deployment="enc", replica="enc/rep-0") == 1


def test_each_replica_has_its_own():
    with Flow(protocol="http").add(name="enc", uses=Encoder, replicas=2, engine="inline") as flow:
        for _ in range(4):
            flow.post("/encode", Document(text="a"))
        found = numbers(flow)

    counts = [
        value(found, "encode_seconds_count", deployment="enc", replica=f"enc/rep-{at}") for at in range(2)
    ]
    assert counts == [2, 2]


def test_what_a_process_has_told_stays_when_it_ends():
    with Flow(engine="process", protocol="http").add(name="enc", uses=Encoder) as flow:
        flow.post("/encode", Document(text="a"))
        before = flow.status()["enc"]["replicas"][0]["pid"]
        os.kill(before, signal.SIGKILL)
        until = time.monotonic() + 20
        while flow.status()["enc"]["replicas"][0]["pid"] == before or not flow.is_flow_ready():
            assert time.monotonic() < until
            time.sleep(0.02)
        flow.post("/encode", Document(text="b"))
        found = numbers(flow)

    assert value(found, "encode_seconds_count", deployment="enc", replica="enc/rep-0") == 2


def test_without_a_flow():
    executor = Encoder()
    assert executor.encode("a") == "A"
    assert executor.monitors.items()["encode_seconds"].times.count == 1
    assert Encoder().monitors.items() == {}


def test_annotations_stay():
    handler = Encoder.handlers["/look"]
    assert (handler.is_async, handler.parameters) == (True, None)
    assert Encoder.handlers["/parts"].streams


def test_names_that_cannot_be():
    with pytest.raises(BadValue, match="encode_seconds"):
        monitor(name="encode-seconds")(lambda self: None)
    with pytest.raises(BadValue), Executor().monitor("a b"):
        pass
    with pytest.raises(FieldTypeError):
        monitor("a")(3)
