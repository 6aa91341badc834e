"""Numbers for Prometheus: what is counted, and what a client cannot make of it."""

import asyncio
import contextlib

import pytest

from docarray import Document, DocumentArray
from docarray.web import Limits, Service

pytest.importorskip("prometheus_client", reason='pip install "docarray[serve]"')
from docarray.web.prometheus import Measured, Meters


class Route:
    path = "/documents/{id}"


def scope(method="GET", path="/documents/a", route=True):
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [],
        **({"route": Route} if route else {}),
    }


def asked(app, said):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(said, receive, send))
    return sent


def value(meters, name, **labels):
    return meters.registry.get_sample_value(name, labels)


async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_a_request_is_counted_under_its_route():
    meters = Meters()
    measured = Measured(answer, meters)
    for path in ("/documents/a", "/documents/b"):
        asked(measured, scope(path=path))

    labels = {"route": "/documents/{id}", "method": "GET"}
    assert 2 == value(meters, "docarray_http_requests_total", **labels, status="418")
    assert 2 == value(meters, "docarray_http_request_seconds_count", **labels)
    assert 0 == value(meters, "docarray_http_requests_open")


def test_paths_and_methods_of_clients_make_no_series():
    meters = Meters()
    measured = Measured(answer, meters)
    for at in range(200):
        asked(measured, scope(f"M{at}", f"/{at}", route=False))

    series = [sample for family in meters.registry.collect() for sample in family.samples]
    assert 200 == value(
        meters, "docarray_http_requests_total", route="(other)", method="(other)", status="418"
    )
    assert len(series) < 80


def test_what_fails_and_who_goes_is_counted_too():
    async def fails(scope, receive, send):
        raise ZeroDivisionError

    async def goes(scope, receive, send):
        return

    meters = Meters()
    with pytest.raises(ZeroDivisionError):
        asked(Measured(fails, meters), scope())
    asked(Measured(goes, meters), scope())

    labels = {"route": "/documents/{id}", "method": "GET"}
    assert 1 == value(meters, "docarray_http_requests_total", **labels, status="500")
    assert 1 == value(meters, "docarray_http_requests_total", **labels, status="0")


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([{"type": "websocket.accept"}, {"type": "websocket.close"}], "101"),
        ([{"type": "websocket.close"}], "403"),
    ],
)
def test_sockets_are_counted(messages, status):
    async def speaks(scope, receive, send):
        for message in messages:
            await send(message)

    meters = Meters()
    asked(Measured(speaks, meters), {"type": "websocket", "path": "/graphql", "headers": []})
    assert 1 == value(
        meters, "docarray_http_requests_total", route="(other)", method="WEBSOCKET", status=status
    )


def test_documents_are_counted_when_they_are_asked_for():
    docs = DocumentArray([Document(), Document()])
    with contextlib.closing(Service(docs)) as service:
        meters = Meters()
        first = asyncio.run(meters.told(service)).decode()
        docs.append(Document())
        second = asyncio.run(meters.told(service)).decode()

    assert "docarray_documents 2.0" in first
    assert "docarray_documents 3.0" in second
    assert "docarray_storage_up 1.0" in second
    assert "process_resident_memory_bytes" in second


def test_a_storage_that_is_gone_is_told(tmp_path, caplog):
    docs = DocumentArray(storage="sqlite", config={"connection": str(tmp_path / "a.db")})
    with contextlib.closing(Service(docs)) as service:
        meters = Meters()
        asyncio.run(meters.told(service))
        docs.close()
        told = asyncio.run(meters.told(service)).decode()

    assert "docarray_storage_up 0.0" in told
    assert "docarray_documents 0.0" in told
    assert "could not be counted" in caplog.text


def test_where_too_many_wait_the_last_number_stays(caplog):
    with contextlib.closing(
        Service(DocumentArray([Document()]), limits=Limits(threads=1, waiting=0))
    ) as service:
        meters = Meters()
        asyncio.run(meters.told(service))

        async def while_busy():
            gate = asyncio.Event()
            loop = asyncio.get_running_loop()
            import threading

            begun, end = threading.Event(), threading.Event()

            def work():
                begun.set()
                end.wait(5)

            task = asyncio.ensure_future(service.lane.run(work))
            await loop.run_in_executor(None, begun.wait)
            told = await meters.told(service)
            end.set()
            await task
            gate.set()
            return told.decode()

        told = asyncio.run(while_busy())
    assert "docarray_documents 1.0" in told
    assert "docarray_storage_up 1.0" in told
    assert "docarray_work_open 1.0" in told
    assert "not counted this time" in caplog.text


def test_two_applications_do_not_add_up():
    one, two = Meters(), Meters()
    one.count("/search", "GET", 200, 0.1)
    assert value(two, "docarray_http_requests_total", route="/search", method="GET", status="200") is None
