"""How many requests a client may send in a second."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from docarray import Document
from docarray.errors import BadValue
from docarray.flow import Client, Executor, Flow, requests
from docarray.flow.faults import Overloaded
from docarray.flow.rates import Rates, client_of


class Echo(Executor):
    @requests(on="/echo")
    def echo(self, docs, **kwargs): ...


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def taken(rates, client, most=100):
    """How many requests go through at once."""
    for at in range(most):
        try:
            rates.take(client)
        except Overloaded:
            return at
    return most


def test_a_bucket_fills_as_time_goes():
    clock = Clock()
    rates = Rates(4, clock)
    assert taken(rates, "a") == 4
    assert taken(rates, "b") == 4
    clock.now = 0.5
    assert taken(rates, "a") == 2
    clock.now = 60.0
    assert taken(rates, "a") == 4


def test_a_refusal_says_when_to_come_back():
    clock = Clock()
    rates = Rates(0.5, clock)
    assert taken(rates, "a") == 1
    for now, wait in ((0.0, 2.0), (1.0, 1.0)):  # a refusal costs nothing
        clock.now = now
        with pytest.raises(Overloaded) as caught:
            rates.take("a")
        assert caught.value.retry_after == pytest.approx(wait)
    clock.now = 2.0
    assert taken(rates, "a") == 1


def test_clients_that_nobody_hears_of_are_forgotten(monkeypatch):
    monkeypatch.setattr("docarray.flow.rates._MOST", 10)
    rates = Rates(1, Clock())
    for at in range(1000):
        rates.take(str(at))
    assert len(rates._left) == 10


def test_a_client_is_its_key_or_its_address():
    key = client_of([(b"authorization", b"Bearer secret")], ("10.0.0.1", 1))
    assert key == client_of([(b"authorization", b"Bearer secret")], ("10.0.0.2", 2))
    assert key != client_of([(b"authorization", b"Bearer other")], ("10.0.0.1", 1))
    assert "secret" not in key
    assert client_of([], ("10.0.0.1", 1)) == client_of([], ("10.0.0.1", 2)) == "10.0.0.1"
    assert client_of([], None) == "None"


@pytest.mark.parametrize("rate", [0, -1, True, "2", float("inf")])
def test_a_rate_is_a_number(rate):
    with pytest.raises(BadValue, match="rate_limit"):
        Flow(rate_limit=rate)


@pytest.mark.parametrize("protocol", ["http", "websocket", "grpc"])
def test_one_request_more_is_refused(protocol):
    pytest.importorskip(
        "grpc" if protocol == "grpc" else "uvicorn", reason='pip install "docarray[grpc,serve]"'
    )
    with Flow(protocol=protocol, rate_limit=0.01, auth=["one", "two"]).add(uses=Echo) as flow:
        for key in ("one", "two"):
            with Client("localhost", flow.port, protocol, api_key=key, retries=0) as client:
                assert client.post("/echo", Document(text=key)).texts == [key]
                with pytest.raises(Overloaded) as caught:
                    client.post("/echo", Document())
                assert 1 < caught.value.retry_after <= 100
        assert flow.post("/echo", Document(text="a")).texts == ["a"]


def test_http_says_429():
    pytest.importorskip("uvicorn", reason='pip install "docarray[serve]"')
    with Flow(protocol="http", rate_limit=0.1, graphql=True).add(uses=Echo) as flow:
        url = f"http://127.0.0.1:{flow.port}"
        assert ask(f"{url}/echo", {"data": []})[0] == 200
        for path, body in (("/echo", {"data": []}), ("/post", {}), ("/graphql", {"query": "{__typename}"})):
            status, said, headers = ask(url + path, body)
            assert (status, said["title"]) == (429, "Too Many Requests")
            assert 1 <= int(headers["Retry-After"]) <= 10
        for _ in range(3):  # what looks after the server is let through
            with urllib.request.urlopen(f"{url}/healthz", timeout=20) as answer:
                assert answer.status == 200


def ask(url, body):
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers
