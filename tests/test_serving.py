"""A Flow that answers over the network."""

import asyncio
import datetime
import ipaddress
import json
import socket
import ssl
import threading
import urllib.error
import urllib.request

import pytest

from docarray import Document
from docarray.errors import BadValue
from docarray.flow import Client, Deployment, Executor, Flow, requests
from docarray.flow.faults import FlowStartError, NotAllowed, Unavailable

pytest.importorskip("grpc", reason='pip install "docarray[grpc]"')
pytest.importorskip("uvicorn", reason='pip install "docarray[serve]"')
PROTOCOLS = ("http", "websocket", "grpc")


class Shout(Executor):
    closed = False

    @requests(on="/shout")
    def shout(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]

    @requests(on="/slow")
    async def slow(self, docs, **kwargs):
        started.set()
        await asyncio.sleep(1.0)
        assert not self.closed
        docs.texts = ["late"]

    def close(self):
        self.closed = True


started = threading.Event()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def read(url, body=None):
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"} if body else {})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return json.load(answer)


def test_several_protocols_at_once():
    with Flow(protocol=PROTOCOLS).add(uses=Shout) as flow:
        assert list(flow.ports) == list(PROTOCOLS)
        assert flow.ports["http"] == flow.ports["websocket"] != flow.ports["grpc"]
        assert flow.port == flow.ports["http"]
        for protocol, port in flow.ports.items():
            with Client("localhost", port, protocol) as client:
                assert client.post("/shout", Document(text="tea")).texts == ["TEA"]
        assert flow.post("/shout", Document(text="tea")).texts == ["TEA"]
    assert flow.ports == {}
    assert flow.port is None


def test_ports_of_their_own():
    ports = [free_port() for _ in range(3)]
    with Flow(protocol=PROTOCOLS, port=ports).add(uses=Shout) as flow:
        assert flow.ports == dict(zip(PROTOCOLS, ports, strict=True))
        for protocol, port in flow.ports.items():
            with Client("localhost", port, protocol) as client:
                assert client.is_flow_ready()


def test_without_a_protocol_nothing_listens():
    with Flow().add(uses=Shout) as flow:
        assert flow.ports == {}


def test_a_deployment():
    with Deployment(uses=Shout, protocol="http") as one:
        answer = read(f"http://127.0.0.1:{one.port}/shout", b'{"data": [{"text": "tea"}]}')
    assert answer["data"][0]["text"] == "TEA"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_port_that_is_taken(protocol):
    before = {thread.name for thread in threading.enumerate()}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flow = Flow(protocol=protocol, port=listener.getsockname()[1]).add(uses=Shout)
        with pytest.raises(FlowStartError, match=str(listener.getsockname()[1])):
            flow.start()
    assert not flow.is_running
    assert not {thread.name for thread in threading.enumerate() if thread.name.startswith("flow-")} - before
    with flow:
        assert flow.post("/shout", Document(text="tea")).texts == ["TEA"]


def test_nothing_is_left_where_one_of_several_is_taken():
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flow = Flow(protocol=("http", "grpc"), port=(free, listener.getsockname()[1])).add(uses=Shout)
        with pytest.raises(FlowStartError):
            flow.start()
    socket.create_server(("127.0.0.1", free)).close()


def test_more_ports_than_protocols():
    with pytest.raises(BadValue, match="2 ports"):
        Flow(protocol="http", port=(0, 0)).add(uses=Shout).start()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_accepted_is_answered(protocol):
    started.clear()
    flow = Flow(protocol=protocol).add(uses=Shout).start()
    given = []
    with Client("localhost", flow.port, protocol, retries=0) as client:
        asking = threading.Thread(target=lambda: given.extend(client.post("/slow", Document(text="a")).texts))
        asking.start()
        assert started.wait(10)
        flow.close()
        asking.join(20)
        assert given == ["late"]
        with pytest.raises(Unavailable):
            client.post("/shout", Document(text="a"))


def test_it_starts_again():
    flow = Flow(protocol=PROTOCOLS).add(uses=Shout)
    for _ in range(3):
        with flow, Client("localhost", flow.ports["grpc"]) as client:
            assert client.post("/shout", Document(text="a")).texts == ["A"]


def test_pages_of_other_sites_do_not_read_along():
    with Flow(protocol="http").add(uses=Shout) as flow:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{flow.port}/status", headers={"Host": "evil.example"}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(asked, timeout=20)
        with caught.value as error:
            assert 400 <= error.code < 500
        assert "deployments" in read(f"http://localhost:{flow.port}/status")


def test_an_application_of_ones_own():
    def own(flow, word):
        inner = flow.asgi()

        async def application(scope, receive, send):
            if scope["type"] == "http" and scope["path"] == "/word":
                start = {"type": "http.response.start", "status": 200, "headers": []}
                await send(start)
                await send({"type": "http.response.body", "body": json.dumps(word).encode()})
            elif scope["type"] != "lifespan":
                await inner(scope, receive, send)
            else:
                raise NotImplementedError

        return application

    flow = Flow(protocol="http").config_gateway(uses=own, uses_with={"word": "tea"}).add(uses=Shout)
    with flow:
        assert read(f"http://127.0.0.1:{flow.port}/word") == "tea"
        assert read(f"http://127.0.0.1:{flow.port}/shout", b'[{"text": "tea"}]')["data"][0]["text"] == "TEA"


def test_an_application_that_cannot_be_made():
    def broken(flow):
        raise ZeroDivisionError("no")

    flow = Flow(protocol="http").config_gateway(uses=broken).add(uses=Shout)
    with pytest.raises(FlowStartError, match="no"):
        flow.start()
    assert not flow.is_running


def test_asgi_of_a_flow():
    starlette = pytest.importorskip("starlette.testclient")
    with Flow().add(uses=Shout) as flow, starlette.TestClient(flow.asgi()) as client:
        assert client.post("/shout", json={"data": [{"text": "tea"}]}).json()["data"][0]["text"] == "TEA"


# ---------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and the certificate of this machine, signed with itself."""
    x509 = pytest.importorskip("cryptography.x509", reason="pip install cryptography")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tls(protocol, certificate):
    cert, key = certificate
    with Flow(protocol=protocol, ssl_certfile=cert, ssl_keyfile=key).add(uses=Shout) as flow:
        with Client("localhost", flow.port, protocol, tls=cert) as client:
            assert client.post("/shout", Document(text="tea")).texts == ["TEA"]
            assert client.is_flow_ready()
        with (
            Client("localhost", flow.port, protocol, tls=True, retries=0) as stranger,
            pytest.raises(Unavailable),
        ):
            stranger.post("/shout", Document(text="tea"))


def test_no_such_certificate(tmp_path):
    flow = Flow(protocol="http", ssl_certfile=str(tmp_path / "no"), ssl_keyfile=str(tmp_path / "no")).add(
        uses=Shout
    )
    with pytest.raises(FlowStartError):
        flow.start()


# ---------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_machines_want_a_key(protocol):
    flow = Flow(protocol=protocol, host="0.0.0.0").add(uses=Shout)
    with pytest.raises(BadValue, match=r"would get in without a key: give a key as auth .* insecure=True"):
        flow.start()
    assert not flow.is_running
    for options in ({"auth": "secret"}, {"insecure": True}):
        with (
            flow.config_gateway(**options) as open_flow,
            Client("localhost", open_flow.port, protocol, api_key="secret") as client,
        ):
            assert client.post("/shout", Document(text="tea")).texts == ["TEA"]


def test_an_application_of_ones_own_looks_after_itself():
    with Flow(protocol="http", host="0.0.0.0").config_gateway(uses=empty).add(uses=Shout) as flow:
        assert read(f"http://127.0.0.1:{flow.port}/") == {}


def empty(flow):
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                said = (await receive())["type"]
                await send({"type": f"{said}.complete"})
                if said == "lifespan.shutdown":
                    return
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    return application


def may(connection):
    return connection.headers.get("x-api-key") == "mine"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("auth", ["mine", ["other", "mine"], may], ids=["key", "keys", "hook"])
def test_who_has_no_key_is_not_let_in(protocol, auth):
    with Flow(protocol=protocol, auth=auth).add(uses=Shout) as flow:
        for key in (None, "yours"):
            with (
                Client("localhost", flow.port, protocol, api_key=key, retries=0) as client,
                pytest.raises(NotAllowed),
            ):
                client.post("/shout", Document(text="tea"))
        with Client("localhost", flow.port, protocol, api_key="mine") as client:
            assert client.post("/shout", Document(text="tea")).texts == ["TEA"]
            assert [part.texts for part in client.stream("/shout", Document(text="tea"))] == [["TEA"]]


def test_keys_cors_and_tls_at_once(certificate):
    cert, key = certificate
    options = {"ssl_certfile": cert, "ssl_keyfile": key, "auth": "mine", "cors": ["https://shop.example"]}
    trust = ssl.create_default_context(cafile=cert)
    with Flow(protocol=("http", "websocket", "grpc"), **options).add(uses=Shout) as flow:
        url = f"https://localhost:{flow.port}/shout"

        def ask(method, **headers):
            body = b"{}" if method == "POST" else None
            headers["Content-Type"] = "application/json"
            asked = urllib.request.Request(url, body, headers, method=method)
            try:
                return urllib.request.urlopen(asked, timeout=20, context=trust)
            except urllib.error.HTTPError as error:
                return error

        with ask(
            "OPTIONS", **{"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        ) as said:
            assert said.status == 200
            assert said.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        with ask(
            "OPTIONS", **{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        ) as said:
            assert said.status == 400
            assert "Access-Control-Allow-Origin" not in said.headers
        with ask("POST", Origin="https://shop.example") as said:
            assert said.status == 401
            assert said.headers["WWW-Authenticate"] == 'Bearer realm="docarray"'
        with ask("POST", Origin="https://shop.example", **{"X-API-Key": "mine"}) as said:
            assert said.status == 200
            assert said.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        for protocol, port in flow.ports.items():
            with Client("localhost", port, protocol, tls=cert, api_key="mine") as client:
                assert client.post("/shout", Document(text="tea")).texts == ["TEA"]


def test_options_of_uvicorn():
    with Flow(protocol="http", uvicorn_kwargs={"root_path": "/flow"}).add(uses=Shout) as flow:
        assert read(f"http://127.0.0.1:{flow.port}/openapi.json")["servers"] == [{"url": "/flow"}]
    with pytest.raises(FlowStartError, match=r"HTTP cannot be served: .*no_such"):
        Flow(protocol="http", uvicorn_kwargs={"no_such": 1}).add(uses=Shout).start()


def test_the_description_is_a_page():
    pytest.importorskip("fastapi_offline", reason='pip install "docarray[ide]"')
    with Flow(protocol="http", auth="mine").add(uses=Shout) as flow:
        url = f"http://127.0.0.1:{flow.port}"
        with urllib.request.urlopen(f"{url}/docs", timeout=20) as answer:
            page = answer.read().decode()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "SwaggerUIBundle" in page
        for name in ("swagger-ui.js", "swagger-ui.css"):
            assert f"assets/{name}" in page
            with urllib.request.urlopen(f"{url}/assets/{name}", timeout=20) as answer:
                assert len(answer.read()) > 10_000
        for path, code in (("/assets/passwd", 404), ("/assets/../docs", 404), ("/openapi.json", 401)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(url + path, timeout=20)
            with caught.value as error:
                assert error.code == code, path
