"""Bytes of uris: files, data URIs, web servers good and bad, object stores; and what documents do with them."""

from __future__ import annotations

import datetime
import errno
import gzip
import http.server
import io
import ipaddress
import os
import socket
import socketserver
import ssl
import threading
import tracemalloc
import warnings
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from docarray import Document, datauri
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    DocArrayError,
    FetchError,
    FieldTypeError,
    MissingExtra,
    ShapeError,
    UnknownName,
    Unsupported,
)
from docarray.media import fetch
from docarray.media.fetch import naming, of_document, opened, read

MB = 1 << 20
BOMB = gzip.compress(bytes(32 * MB))


class Server(http.server.ThreadingHTTPServer):
    """A web server whose paths are named after what is wrong with them."""

    daemon_threads = True

    def __init__(self, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()

    @property
    def root(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Nothing: clients that have enough go away, which is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        name = self.path.split("?")[0].strip("/").replace("-", "_") or "index"
        getattr(self, f"get_{unquote_to_bytes(name).decode('ascii', 'replace')}", self.get_missing)()

    def answer(self, code=200, body=b"", **headers):
        self.send_response(code)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def get_tea(self):
        self.answer(200, b"green tea", Content_Type="text/plain; charset=utf-8", Content_Length="9")

    def get_latin(self):
        self.answer(200, "grün".encode("latin-1"), Content_Type="text/html; charset=iso-8859-1")

    def get_no_charset(self):
        self.answer(200, b"tea", Content_Type="text/plain; charset=nonsense")

    def get_bytes(self):
        self.answer(200, b"\x89PNG", Content_Type="application/octet-stream")

    def get_picture(self):
        self.answer(200, b"\x89PNG", Content_Type="image/png")

    def get_missing(self):
        self.answer(404, b"no tea here" * 100)

    def get_broken(self):
        self.answer(503)

    def get_packed(self):
        self.answer(200, gzip.compress(b"tea" * 1000), Content_Encoding="gzip", Content_Type="text/plain")

    def get_bomb(self):
        self.answer(200, BOMB, Content_Encoding="gzip")

    def get_cut_pack(self):
        self.answer(200, gzip.compress(os.urandom(1000))[:500], Content_Encoding="gzip")

    def get_strange_pack(self):
        self.answer(200, b"tea", Content_Encoding="br")

    def get_short(self):
        self.answer(200, b"tea", Content_Length="1000")

    def get_long(self):
        self.answer(200, b"tea and more", Content_Length="3")

    def get_large(self):
        self.answer(200, Content_Length=str(40 * MB))
        for _ in range(40):
            self.wfile.write(b"x" * MB)

    def get_boast(self):
        self.answer(200, b"tea", Content_Length=str(1 << 60))

    def get_nonsense_length(self):
        self.answer(200, b"tea", Content_Length="-5")

    def get_endless(self):
        self.answer(200)
        while not self.server.over.is_set():
            self.wfile.write(b"x" * 65536)

    def get_endless_chunks(self):
        self.protocol_version = "HTTP/1.1"
        self.answer(200, Transfer_Encoding="chunked")
        while not self.server.over.is_set():
            self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    def get_cut_chunks(self):
        self.protocol_version = "HTTP/1.1"
        self.answer(200, b"5\r\ngreen\r\nff\r\nte", Transfer_Encoding="chunked")
        self.close_connection = True

    def get_silent(self):
        self.server.over.wait(30)

    def get_silent_after_a_while(self):
        self.answer(200, b"green", Content_Length="9")
        self.wfile.flush()
        self.server.over.wait(30)

    def get_rubbish(self):
        self.wfile.write(b"\x00\x01 tea\r\n\r\n")

    def get_hung_up(self):
        self.close_connection = True

    def get_moved(self):
        self.answer(302, b"go on" * 10, Location="/tea")

    def get_moved_for_good(self):
        self.answer(308, Location="tea?x=1#part")

    def get_moved_next_door(self):
        self.answer(302, Location=f"{self.server.root}/tea")

    def get_moved_far(self):
        self.answer(301, Location="https://other.invalid/tea")

    def get_moved_and_endless(self):
        self.answer(302, Location="/tea")
        while not self.server.over.is_set():
            self.wfile.write(b"x" * 65536)

    def get_moved_nowhere(self):
        self.answer(302)

    def get_round(self):
        self.answer(302, Location="/round")

    def get_longer(self):
        count = int(self.path.partition("?")[2] or 0) + 1
        self.answer(302, Location=f"/longer?{count}" if count < 1000 else "/tea")

    def get_three_times(self):
        count = int(self.path.partition("?")[2] or 0) + 1
        self.answer(302, Location=f"/three-times?{count}" if count < 3 else "/tea")

    def get_to_file(self):
        self.answer(302, Location=self.path.partition("?")[2])

    def get_moved_to_unicode(self):
        self.send_response(302)
        self.send_header("Location", "/grün".encode().decode("latin-1"))
        self.end_headers()

    def get_green(self):
        self.answer(200, b"green")


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def peak_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------ files


def test_a_path_is_read(here):
    Path("tea.txt").write_bytes(b"tea")
    assert b"tea" == read("tea.txt") == read(str(here / "tea.txt"))
    with opened("tea.txt") as stream:
        assert (b"te", b"tea") == (stream.read(2), (stream.seek(0), stream.read())[1])
        assert "tea.txt" == stream.name  # the file itself, not a copy
    assert stream.closed


@pytest.mark.parametrize("name", ["a b.txt", "grün%20.txt", "100%.txt", "a#b?c.txt", "%2e%2e.txt"])
def test_file_urls_are_decoded_once(here, name):
    Path(name).write_bytes(b"tea")
    assert b"tea" == read((here / name).as_uri()) == read(name)
    assert (
        b"tea"
        == read(f"FILE://localhost{quote(str(here / name))}")
        == read(f"file:{quote(str(here / name))}")
    )


@pytest.mark.parametrize(
    "uri", ["file://host/a", "file://", "file:a.txt", "file://a.txt", "file:///a%00b", "file:///a%0Ab"]
)
def test_file_urls_of_other_hosts_and_malformed_ones_are_refused(uri):
    with pytest.raises(BadUri):
        read(uri)


def test_a_missing_file_a_folder_and_a_locked_file_are_what_open_raises(here):
    with pytest.raises(FileNotFoundError) as caught:
        read("no.txt")
    assert (errno.ENOENT, "no.txt") == (caught.value.errno, caught.value.filename)
    with pytest.raises(IsADirectoryError):
        read(str(here))
    with pytest.raises(IsADirectoryError), opened(here.as_uri()):
        pass
    Path("locked.txt").write_bytes(b"tea")
    os.chmod("locked.txt", 0)
    if os.geteuid():
        with pytest.raises(PermissionError):
            read("locked.txt")


def test_pipes_and_devices_are_not_waited_for(here):
    os.mkfifo("pipe")
    for uri in ("pipe", "/dev/zero"):
        with pytest.raises(BadUri, match="pipe"):
            read(uri)
        with pytest.raises(BadUri, match="pipe"), opened(uri):
            pass


def test_a_name_with_a_colon_is_a_path_if_there_is_such_a_file(here):
    Path("note: tea.txt").write_bytes(b"tea")
    assert b"tea" == read("note: tea.txt") == read("./note: tea.txt")
    with pytest.raises(BadUri, match=r"begins with '\./'"):
        read("note: milk.txt")
    with pytest.raises(FileNotFoundError):
        read("C:\\tea.txt")


def test_the_limit_counts_for_files_but_a_file_that_is_opened_has_none_of_its_own(here, monkeypatch):
    Path("tea.txt").write_bytes(b"green tea")
    assert b"green tea" == read("tea.txt", max_size=9)
    with pytest.raises(BadUri, match="9 bytes, more than the 8 bytes"):
        read("tea.txt", max_size=8)
    with pytest.raises(BadUri, match="max_size"), opened("tea.txt", max_size=8):
        pass
    with open("hole", "wb") as stream:
        stream.truncate(fetch.LOCAL + 1)
    with pytest.raises(BadUri, match=str(fetch.LOCAL)):
        read("hole")
    with opened("hole") as stream:
        assert fetch.LOCAL + 1 == stream.seek(0, 2)


# ------------------------------------------------------------------------------------------------ what is not followed


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [
        ("ftp://host/tea", "ftp"),
        ("javascript:alert(1)", "javascript"),
        ("mailto:a@b.c", "mailto"),
        ("simplecache::memory://tea", "simplecache"),
        ("memory://tea::ftp://host/tea", "ftp"),
        ("memory://tea::github://a:b@c/tea", "github"),
        ("zip://tea::file:///tmp/a.zip", "zip"),
        ("local:///etc/hostname", "local"),
        ("sftp://host/tea", "sftp"),
        ("blob:https://host/1", "blob"),
        ("view-source:https://host", "view-source"),
    ],
)
def test_what_is_not_on_the_list_is_refused_and_the_error_says_how_to_allow_it(uri, scheme):
    with pytest.raises(BadUri, match=f"schemes=.'{scheme}'"):
        read(uri)


def test_a_list_of_ones_own_takes_the_place_of_the_list(here, server):
    Path("tea.txt").write_bytes(b"tea")
    assert b"tea" == read("tea.txt", schemes=[""])
    for uri in ("tea.txt", (here / "tea.txt").as_uri(), "data:,tea", f"{server.root}/tea"):
        with pytest.raises(BadUri, match="There are: 'https'"):
            read(uri, schemes=("https",))
    with pytest.raises(BadUri, match="There are: none"):
        read("tea.txt", schemes=())
    with pytest.raises(FieldTypeError, match=r"\['http'\]"):
        read(f"{server.root}/tea", schemes="http")


@pytest.mark.parametrize(
    "uri", ["http://host/a\r\nX: y", "http://host/\x00", "tea\n.txt", "s3://bucket/a\x7f", "\x1bfile"]
)
def test_control_characters_are_refused_and_not_shown(uri):
    with pytest.raises(BadUri, match="control character") as caught:
        read(uri)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http:///tea",
        "http:tea",
        "https://[::1",
        "http://host:port/",
        "http://a b/",
        "http://\ud800/",
    ],
)
def test_malformed_addresses_are_refused(uri):
    with pytest.raises(BadUri):
        read(uri)


def test_an_empty_uri_a_wrong_type_and_wrong_numbers_are_refused():
    with pytest.raises(BadUri, match="empty"):
        read("")
    with pytest.raises(FieldTypeError):
        read(None)
    with pytest.raises(BadUri, match="longer than any path"):
        read("a" * 100_000)
    with pytest.raises(BadUri, match="no path"):
        read("\ud800")
    for options in ({"timeout": 0}, {"timeout": "1"}, {"max_size": -1}, {"max_size": 1.5}, {"timeout": True}):
        with pytest.raises(BadValue, match=next(iter(options))):
            read("data:,tea", **options)


def test_messages_are_short_and_hold_no_password(server):
    assert "https://host/a.png" == fetch.shortened("https://me:secret@host/a.png")
    assert "abfs://container@account/a" == fetch.shortened("abfs://container@account/a")
    assert len(fetch.shortened("https://host/" + "a" * 1000)) == 100
    assert len(fetch.shortened("data:image/png;base64," + "a" * 1000)) < 40
    with pytest.raises(FetchError) as caught:
        read(server.root.replace("//", "//me:secret@") + "/missing")
    assert "secret" not in str(caught.value) + caught.value.url


# ------------------------------------------------------------------------------------------------ data URIs


@pytest.mark.parametrize(
    ("uri", "data", "media_type", "charset"),
    [
        ("data:,", b"", None, None),
        ("data:,a%20b+c", b"a b+c", None, None),
        ("DATA:text/plain;charset=US-ASCII,tea", b"tea", "text/plain", "US-ASCII"),
        ('data:text/plain;charset="utf-8",gr%C3%BCn', "grün".encode(), "text/plain", "utf-8"),
        ("data:text/plain,grün", "grün".encode(), "text/plain", None),
        ("data:;base64,dGVh", b"tea", None, None),
        ("data:image/PNG;name=a;BASE64 ,dGVhcw==", b"teas", "image/png", None),
        ("data:;base64,dGVhcw", b"teas", None, None),
        ("data:;base64,dG\r\nVh\t cw==\n", b"teas", None, None),
        ("data:;base64,dGVhcw%3D%3D", b"teas", None, None),
        ("data:image/svg+xml;utf8,<svg/>", b"<svg/>", "image/svg+xml", None),
        ("data:base64,dGVh", None, None, None),
        ("data:", None, None, None),
        ("data:text/plain", None, None, None),
        ("data:tea,tea", None, None, None),
        ("data:;base64,dGV", b"te", None, None),
        ("data:;base64,d", None, None, None),
        ("data:;base64,dGV*", None, None, None),
        ("data:;base64,grün", None, None, None),
        ("data:,\ud800", None, None, None),
    ],
)
def test_data_uris(uri, data, media_type, charset):
    if data is None:
        with pytest.raises(BadUri):
            read(uri)
    else:
        assert data == read(uri)
        assert (data, media_type, charset) == datauri.decode(uri)
        with opened(uri) as stream:
            assert data == stream.read()


@given(st.binary(max_size=200), st.sampled_from(["text/plain", "image/svg+xml"]), st.booleans())
def test_data_uris_come_back(data, media_type, base64):
    uri = datauri.encode(data, media_type, "utf-8", base64)
    assert (data, media_type, "utf-8") == datauri.decode(uri)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
@example(";base64,")
@example("image/png;base64,\x00")
@example(",%")
def test_no_data_uri_does_anything_but_decode_or_be_refused(rest):
    doc = Document(id="a")
    doc.uri = f"data:{rest}"
    for load in (doc.load_uri_to_blob, doc.load_uri_to_text):
        refused = ""
        try:
            load()
        except DocArrayError as error:
            refused = str(error)
        assert not refused or ("'a'" in refused and doc.content is None)


@given(st.text(max_size=40))
def test_no_uri_does_anything_but_lead_somewhere_or_be_refused(rest):
    for uri in (rest, f"http://{rest}", f"file://{rest}"):
        with suppress(DocArrayError, OSError):
            read(uri, schemes=["", "data", "file"], max_size=1000)


def test_the_limit_counts_for_what_a_data_uri_holds():
    assert b"green tea" == read("data:,green%20tea", max_size=9)
    with pytest.raises(BadUri, match="9 bytes, more than the 8 bytes"):
        read("data:,green%20tea", max_size=8)


def test_what_is_no_media_type_cannot_be_said():
    for wrong in ("", "png", "image/png,x", "image/png;base64", "a/b\n"):
        with pytest.raises(BadValue):
            datauri.encode(b"", wrong)
    with pytest.raises(BadValue):
        datauri.encode(b"", "a/b", "utf-8;base64")
    with pytest.raises(BadUri):
        datauri.decode("tea")


# ------------------------------------------------------------------------------------------------ web servers


def test_a_web_address_is_read(server):
    assert b"green tea" == read(f"{server.root}/tea#part")
    path, headers = server.seen[-1]
    assert "/tea" == path
    assert "docarray" in headers["User-Agent"]
    with opened(f"{server.root}/tea") as stream:
        assert (b"green", 0, b"green tea") == (stream.read(5), stream.seek(0), stream.read())


def test_an_address_is_sent_in_ascii_and_what_is_quoted_stays_so(server):
    with pytest.raises(FetchError):
        read(f"{server.root}/a b/grün%2F?q=ü&[x]=1+2")
    assert "/a%20b/gr%C3%BCn%2F?q=%C3%BC&[x]=1+2" == server.seen[-1][0]


def test_a_password_goes_to_its_own_host_and_no_further(server):
    root = server.root.replace("//", "//me:se%2Fcret@")
    assert b"green tea" == read(f"{root}/moved-next-door")
    (_, first), (_, second) = server.seen[-2:]
    assert f"Basic {b64encode(b'me:se/cret').decode()}" == first["Authorization"]
    assert "Authorization" not in second
    assert not any("me:" in path for path, _ in server.seen)


@pytest.mark.parametrize(("path", "status"), [("missing", 404), ("broken", 503), ("moved-nowhere", 302)])
def test_an_answer_of_another_kind_says_which(server, path, status):
    with pytest.raises(FetchError, match=str(status)) as caught:
        read(f"{server.root}/{path}")
    assert (status, f"{server.root}/{path}") == (caught.value.status, caught.value.url)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("rubbish", "not to be had"),
        ("hung-up", "closed connection"),
        ("short", "broke off after 3 of 1000 bytes"),
        ("cut-chunks", "not to be had"),
        ("strange-pack", "packed by 'br'"),
        ("silent", r"silent for 0\.2 s"),
        ("silent-after-a-while", r"silent for 0\.2 s"),
        ("round", "no end of redirects"),
        ("longer", "no end of redirects"),
    ],
)
def test_servers_that_misbehave_are_an_error_that_says_how(server, path, words):
    with pytest.raises(FetchError, match=words) as caught:
        read(f"{server.root}/{path}", timeout=0.2 if path.startswith("silent") else 10)
    assert caught.value.url.startswith(f"{server.root}/{path}")
    assert caught.value.status is None


def test_a_body_is_as_long_as_it_is_said_to_be(server):
    assert b"tea" == read(f"{server.root}/long")
    assert b"tea" == read(f"{server.root}/nonsense-length")


def test_no_server_and_no_host_are_an_error():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError, match="refused"):
            read(f"http://127.0.0.1:{closed.getsockname()[1]}/")
    with pytest.raises(FetchError):
        read("http://tea.invalid/")
    with pytest.raises(FetchError):
        read(f"http://{'a' * 70}.invalid/")


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory):
    """A server with a certificate that nobody knows, and the file of that."""
    x509 = pytest.importorskip("cryptography.x509", reason="pip install cryptography")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tea")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = tmp_path_factory.mktemp("tls") / "tea.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with Server(context) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running, file
        running.over.set()
        running.shutdown()
        thread.join()


def test_certificates_are_checked(server, tls_server, monkeypatch):
    running, file = tls_server
    root = running.root.replace("http:", "https:")
    with pytest.raises(FetchError, match=r"(?i)certificate"):
        read(f"{root}/tea")
    with pytest.raises(FetchError, match=r"SSL|TLS"):  # no TLS at all
        read(f"{server.root}/tea".replace("http:", "https:"))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert b"green tea" == read(f"{root}/tea") == read(f"{root}/moved")
    with pytest.raises(BadUri, match=r"schemes=.'http'"):  # to the other server, without TLS
        read(f"{root}/to-file?{server.root}/tea", schemes=["https"])
    assert b"green tea" == read(f"{root}/to-file?{server.root}/tea")


def test_a_proxy_of_the_environment_is_asked(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.root)
    with pytest.raises(FetchError, match="404"):
        read("http://tea.invalid/tea")
    assert "http://tea.invalid/tea" == server.seen[-1][0]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert b"green tea" == read(f"{server.root}/tea")


class Parrot(socketserver.ThreadingTCPServer):
    """A server that answers everything with the same bytes."""

    daemon_threads = True
    said = b""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), None)

    def finish_request(self, request, client_address):
        request.recv(65536)
        request.sendall(self.said)

    def handle_error(self, request, client_address):
        """Nothing: as of Server."""


@pytest.fixture(scope="module")
def parrot():
    with Parrot() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


HEADERS = st.sampled_from(
    [
        *(
            "Content-Length: 3",
            "Content-Length: x",
            "Content-Length: 99",
            "Content-Length:",
            "Content-Encoding: gzip",
        ),
        *(
            "Transfer-Encoding: chunked",
            "Location: /",
            "Location: \x00",
            "Location: http://[",
            "Location: //",
        ),
        *(
            "Content-Type: text/plain; charset=\xff",
            "Content-Type: /",
            "Content-Type",
            "\x80: \x80",
            ": ",
            " x",
        ),
    ]
)


@given(
    st.sampled_from(
        ["HTTP/1.1 200 OK", "HTTP/1.0 302 On", "HTTP/1.1 -1", "HTTP/9 200", "HTTP/1.1 100 Go", "tea", ""]
    ),
    st.lists(HEADERS, max_size=4),
    st.binary(max_size=20) | st.sampled_from([b"3\r\ntea\r\n0\r\n\r\n", b"-1\r\n", b"ffffffffffff\r\ntea"]),
)
@settings(max_examples=60)
def test_no_answer_does_anything_but_give_bytes_or_be_refused(parrot, status, headers, body):
    parrot.said = "\r\n".join([status, *headers, "", ""]).encode("latin-1") + body
    with suppress(FetchError, BadUri, CorruptData):
        assert isinstance(read(f"http://127.0.0.1:{parrot.server_address[1]}/", timeout=5), bytes)
    doc = Document(id="d7", uri=f"http://127.0.0.1:{parrot.server_address[1]}/")
    with suppress(FetchError, BadUri, CorruptData, UnknownName):
        doc.load_uri_to_text(timeout=5)


@pytest.mark.parametrize("path", ["moved", "moved-for-good", "three-times", "moved-and-endless"])
def test_redirects_are_followed(server, path):
    assert b"green tea" == read(f"{server.root}/{path}")


def test_a_redirect_to_letters_beyond_ascii_is_followed(server):
    with pytest.raises(FetchError):
        read(f"{server.root}/moved-to-unicode")
    assert "/gr%C3%BCn" == server.seen[-1][0]


@pytest.mark.parametrize(
    "to",
    [
        "file:///etc/hostname",
        "data:,tea",
        "ftp://127.0.0.1/",
        "memory://tea",
        "javascript:alert(1)",
        "s3://b/k",
        "http://[",
    ],
)
def test_a_server_cannot_lead_anywhere_but_to_the_web(server, to):
    with pytest.raises(BadUri):
        read(f"{server.root}/to-file?{to}")
    with pytest.raises(BadUri):
        read(f"{server.root}/to-file?{to}", schemes=["http", "file", "ftp", "data", "memory"])


def test_redirects_are_compared_with_the_list(server):
    with pytest.raises(BadUri, match=r"schemes=.'https'"):
        read(f"{server.root}/moved-far", schemes=["http"])


# ------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize("path", ["endless", "endless-chunks", "bomb"])
def test_a_body_without_end_is_broken_off_and_no_more_of_it_is_held(server, path):
    def work():
        with pytest.raises(BadUri, match="more than the 2097152 bytes"):
            read(f"{server.root}/{path}", max_size=2 * MB)
        with (
            pytest.raises(BadUri, match="more than the 2097152 bytes"),
            opened(f"{server.root}/{path}", max_size=2 * MB),
        ):
            pass

    assert peak_of(work) < 8 * MB


def test_a_body_that_is_said_to_be_too_large_is_not_begun(server):
    with pytest.raises(BadUri, match=f"{1 << 60} bytes"):
        read(f"{server.root}/boast")
    with pytest.raises(BadUri, match=f"{40 * MB} bytes"):
        read(f"{server.root}/large", max_size=MB)


def test_a_large_body_goes_to_disk(server):
    def work():
        with opened(f"{server.root}/large") as stream:
            assert 40 * MB == stream.seek(0, 2)
            stream.seek(-1, 2)
            assert b"x" == stream.read()

    assert peak_of(work) < 24 * MB  # of which the server, in the same process, has one


def test_the_limit_is_what_is_taken_to_the_byte(server):
    assert b"green tea" == read(f"{server.root}/tea", max_size=9)
    for max_size in (0, 8):
        with pytest.raises(BadUri):
            read(f"{server.root}/tea", max_size=max_size)


def test_packed_bodies_are_unpacked(server):
    assert b"tea" * 1000 == read(f"{server.root}/packed")
    with pytest.raises(CorruptData):
        read(f"{server.root}/cut-pack")


# ------------------------------------------------------------------------------------------------ object stores


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec", reason='pip install "docarray[remote]"')
    system = fsspec.filesystem("memory")
    system.pipe("/media/tea.txt", b"green tea")
    yield system
    system.rm("/media", recursive=True)


def test_a_store_in_memory_is_read(memory):
    assert (
        b"green tea"
        == read("memory://media/tea.txt")
        == read("MEMORY://media/tea.txt".replace("MEMORY", "memory"))
    )
    with opened("memory://media/tea.txt") as stream:
        assert (b"green", 0) == (stream.read(5), stream.seek(0))
    with pytest.raises(FileNotFoundError):
        read("memory://media/milk.txt")
    with pytest.raises(BadUri, match="more than the 8 bytes"):
        read("memory://media/tea.txt", max_size=8)


def test_a_chain_is_read_when_every_link_is_allowed(memory):
    uri = "simplecache::memory://media/tea.txt"
    with pytest.raises(BadUri, match="'memory'"):
        read(uri, schemes=["simplecache"])
    with pytest.raises(BadUri, match="'simplecache'"):
        read(uri)
    assert b"green tea" == read(uri, schemes=["simplecache", "memory"])


def test_a_scheme_that_nobody_knows_is_refused_even_if_allowed(memory):
    with pytest.raises((FetchError, MissingExtra), match="tea"):
        read("tea://host/a", schemes=["tea"])


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    s3fs = pytest.importorskip("s3fs", reason="pip install s3fs")
    moto = pytest.importorskip("moto.server", reason='pip install "moto[server]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            system = s3fs.S3FileSystem()
            system.mkdir("bucket")
            system.pipe("bucket/tea.txt", b"green tea")
        yield "s3://bucket"
        s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_object_store_is_read_and_written(s3, here):
    doc = Document(uri=f"{s3}/tea.txt").load_uri_to_text()
    assert ("green tea", "text/plain") == (doc.text, doc.mime_type)
    Document(blob=b"milk").save_blob_to_file(f"{s3}/milk.txt")
    Document(uri=f"{s3}/milk.txt").save_uri_to_file("milk.txt")
    assert b"milk" == Path("milk.txt").read_bytes()
    with pytest.raises(FileNotFoundError, match="document"):
        Document(uri=f"{s3}/no.txt").load_uri_to_blob()
    with pytest.raises(BadUri, match="9 bytes, more than"):
        read(f"{s3}/tea.txt", max_size=8)


# ------------------------------------------------------------------------------------------------ naming


def test_errors_of_the_library_stay_what_they_are_and_name_the_document_once():
    doc = Document(id="d7", uri="a.png")
    with pytest.raises(BadUri, match=r"^document 'd7' \(a\.png\): no tea$"), naming(doc), naming(doc):
        raise BadUri("no tea")
    error = FetchError("no tea")
    error.status = 404
    with pytest.raises(FetchError, match="'d7'") as caught, naming(doc):
        raise error
    assert 404 == caught.value.status
    with pytest.raises(MissingExtra, match=r"^pip install tea$"), naming(doc):
        raise MissingExtra("pip install tea")


def test_a_missing_file_keeps_its_number_and_its_name_and_says_whose_it_is():
    doc = Document(id="d7", uri="no.png")
    with pytest.raises(FileNotFoundError, match="document 'd7'") as caught:
        of_document(doc)
    assert (errno.ENOENT, "no.png") == (caught.value.errno, caught.value.filename)
    with pytest.raises(FileNotFoundError), naming(doc, (OSError,)):
        os.stat("no.png")


def test_errors_of_decoders_become_corrupt_data_with_their_cause():
    doc = Document(id="d7", uri="data:image/png;base64," + "A" * 500)
    with (
        pytest.raises(
            CorruptData, match=r"^document 'd7' \(data:image/png;base64,\.\.\.\): cannot identify"
        ) as caught,
        naming(doc, (OSError, EOFError)),
    ):
        raise OSError("cannot identify\n this")
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(CorruptData, match=r": EOFError$"), naming(doc, (OSError, EOFError)):
        raise EOFError


def test_other_errors_get_a_note():
    with pytest.raises(ZeroDivisionError) as caught, naming(Document(id="d7", uri="a.png"), (OSError,)):
        1 / 0  # noqa: B018
    assert ["This is about document 'd7' (a.png)."] == caught.value.__notes__


# ------------------------------------------------------------------------------------------------ documents


def unchanged(doc, error, method, *args, match="'d7'", **options):
    """That a method raises an error that names the document, and leaves it as it was."""
    before = doc.to_dict()
    with pytest.raises(error, match=match):
        getattr(doc, method)(*args, **options)
    assert before == doc.to_dict()


def test_bytes_are_loaded(here, server):
    Path("tea").write_bytes(b"\x00tea")
    doc = Document(uri="tea", text="old")
    assert doc is doc.load_uri_to_blob()
    assert (b"\x00tea", "blob", "") == (doc.blob, doc.content_type, doc.mime_type)
    assert "image/png" == Document(uri=f"{server.root}/picture").load_uri_to_blob().mime_type
    assert "" == Document(uri=f"{server.root}/bytes").load_uri_to_blob().mime_type
    assert "a/b" == Document(uri=f"{server.root}/picture", mime_type="a/b").load_uri_to_blob().mime_type
    doc = Document()
    doc.uri, doc.mime_type = "data:image/png,x", None
    assert "image/png" == doc.load_uri_to_blob().mime_type


def test_text_is_decoded_by_what_is_known_of_it(here, server):
    Path("latin.txt").write_bytes("grün".encode("latin-1"))
    Path("utf8.txt").write_bytes("grün".encode())
    Path("mark8.txt").write_bytes("grün".encode("utf-8-sig"))
    Path("mark16.txt").write_bytes("grün".encode("utf-16"))
    for name in ("utf8", "mark8", "mark16"):
        assert "grün" == Document(uri=f"{name}.txt").load_uri_to_text().text
    assert "grün" == Document(uri="latin.txt").load_uri_to_text("latin-1").text
    assert "\ufeffgrün" == Document(uri="mark8.txt").load_uri_to_text(charset="utf-8").text
    assert "grün" == Document(uri=f"{server.root}/latin").load_uri_to_text().text
    assert "grün" == Document(uri="data:text/plain;charset=latin-1,gr%FCn").load_uri_to_text().text
    unchanged(Document(id="d7", uri="latin.txt", text="old"), CorruptData, "load_uri_to_text")
    unchanged(Document(id="d7", uri="utf8.txt"), UnknownName, "load_uri_to_text", "nonsense")
    unchanged(Document(id="d7", uri="utf8.txt"), UnknownName, "load_uri_to_text", "base64")
    unchanged(Document(id="d7", uri=f"{server.root}/no-charset"), UnknownName, "load_uri_to_text")


@pytest.mark.parametrize("method", ["load_uri_to_blob", "load_uri_to_text", "convert_uri_to_datauri"])
def test_loading_what_is_not_there_changes_nothing(here, server, method):
    unchanged(Document(id="d7", blob=b"x"), BadUri, method)
    unchanged(Document(id="d7", blob=b"x", uri="no.txt"), FileNotFoundError, method)
    unchanged(Document(id="d7", blob=b"x", uri="ftp://h/no.txt"), BadUri, method)
    unchanged(Document(id="d7", blob=b"x", uri=f"{server.root}/missing"), FetchError, method)
    unchanged(Document(id="d7", blob=b"x", uri=f"{server.root}/silent"), FetchError, method, timeout=0.2)
    unchanged(Document(id="d7", blob=b"x", uri=f"{server.root}/tea"), BadUri, method, max_size=3)
    unchanged(Document(id="d7", blob=b"x", uri=f"{server.root}/tea"), BadUri, method, schemes=[""])


@pytest.mark.parametrize("base64", [False, True])
@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "latin-1"])
def test_content_becomes_a_data_uri_and_comes_back(base64, charset):
    doc = Document(text="grün & 50%, ok").convert_text_to_datauri(charset, base64)
    assert (base64, "text/plain", "text") == (";base64," in doc.uri, doc.mime_type, doc.content_type)
    assert "grün & 50%, ok" == Document(uri=doc.uri).load_uri_to_text().text
    data = bytes(range(256))
    doc = Document(blob=data, mime_type="image/png").convert_blob_to_datauri(charset, base64)
    assert (f"data:image/png;charset={charset}", "image/png") == (doc.uri[: 23 + len(charset)], doc.mime_type)
    assert data == Document(uri=doc.uri).load_uri_to_blob().blob


def test_content_of_whichever_kind_becomes_a_data_uri():
    assert "data:text/plain;charset=utf-8,tea" == Document(text="tea").convert_content_to_datauri().uri
    assert "data:text/x;charset=utf-8;base64,dGVh" == (
        Document(text="tea", mime_type="text/x").convert_content_to_datauri(base64=True).uri
    )
    assert (
        "data:image/png,x" == Document(blob=b"x", mime_type="image/png").convert_content_to_datauri(None).uri
    )
    assert "" == Document().convert_content_to_datauri().uri
    unchanged(Document(id="d7", tensor=[1.0]), Unsupported, "convert_content_to_datauri")
    unchanged(Document(id="d7", blob=b"x"), BadValue, "convert_content_to_datauri", match="media type")


def test_what_cannot_be_a_data_uri_says_why():
    unchanged(Document(id="d7", blob=b"x"), BadValue, "convert_blob_to_datauri", match="'d7'.*mime_type")
    unchanged(Document(id="d7", blob=b"x", mime_type="a b"), BadValue, "convert_blob_to_datauri")
    unchanged(
        Document(id="d7", text="x", mime_type="a/b"), BadValue, "convert_blob_to_datauri", match="'text'"
    )
    unchanged(Document(id="d7", mime_type="a/b"), BadValue, "convert_blob_to_datauri", match="no content")
    unchanged(Document(id="d7", blob=b"x"), BadValue, "convert_text_to_datauri", match="'blob'")
    unchanged(Document(id="d7", text="茶"), BadValue, "convert_text_to_datauri", "latin-1")
    unchanged(Document(id="d7", text="tea"), UnknownName, "convert_text_to_datauri", "nonsense")
    assert "data:a/b;charset=utf-8," == Document(blob=b"", mime_type="a/b").convert_blob_to_datauri().uri


def test_a_uri_becomes_a_data_uri(here, server):
    Path("tea.png").write_bytes(b"\x89")
    Path("tea").write_bytes(b"x")
    doc = Document(uri="tea.png", text="kept").convert_uri_to_datauri(base64=True)
    assert ("data:image/png;charset=utf-8;base64,iQ==", "kept") == (doc.uri, doc.text)
    assert doc.uri == doc.convert_uri_to_datauri().uri  # it is one
    assert "data:image/png,%89PNG" == Document(uri=f"{server.root}/picture").convert_uri_to_datauri(None).uri
    unchanged(Document(id="d7", uri="tea"), BadValue, "convert_uri_to_datauri", match="mime_type")


def test_numbers_become_bytes_and_come_back():
    torch = pytest.importorskip("torch", reason="pip install torch")
    matrix = np.arange(6, dtype=np.int16).reshape(2, 3)
    for tensor in (matrix, np.asfortranarray(matrix), torch.from_numpy(matrix)):
        doc = Document(tensor=tensor).convert_tensor_to_blob()
        assert (matrix.tobytes(), "blob") == (doc.blob, doc.content_type)
        assert list(range(6)) == doc.convert_blob_to_tensor("int16").tensor.tolist()
    assert np.array([1.0, 2.0]).tobytes() == Document(tensor=[1.0, 2.0]).convert_tensor_to_blob().blob
    doc = Document(blob=bytes(range(10)))
    assert [2, 3] == doc.convert_blob_to_tensor(np.uint8, count=2, offset=2).tensor.tolist()
    found = Document(blob=bytes(16)).convert_blob_to_tensor().tensor
    assert (np.float64, (2,), False) == (found.dtype, found.shape, found.flags.writeable)


def test_bytes_that_are_no_such_numbers_are_refused():
    doc = Document(id="d7", blob=bytes(10))
    unchanged(doc, ShapeError, "convert_blob_to_tensor", match="10 bytes")
    for options in (
        {"dtype": "int16", "offset": 11},
        {"dtype": "int16", "count": 6},
        {"dtype": object},
        {"dtype": "x"},
    ):
        unchanged(doc, ShapeError, "convert_blob_to_tensor", **options)
    unchanged(Document(id="d7", text="x"), BadValue, "convert_blob_to_tensor", match="'text'")
    unchanged(Document(id="d7", text="x"), BadValue, "convert_tensor_to_blob", match="'text'")


def test_bytes_are_saved_to_paths_urls_and_open_files(here, memory):
    doc = Document(blob=b"tea")
    target = io.BytesIO()
    with open("open.bin", "wb") as stream:
        for file in (
            "a.bin",
            here / "b.bin",
            (here / "c.bin").as_uri(),
            "memory://media/d.bin",
            stream,
            target,
        ):
            assert doc is doc.save_blob_to_file(file)
        assert not stream.closed
    assert [b"tea"] * 4 == [Path(f"{name}.bin").read_bytes() for name in ("a", "b", "c", "open")]
    assert (b"tea", b"tea") == (memory.cat("/media/d.bin"), target.getvalue())
    Document(blob=b"").save_blob_to_file("empty.bin")
    assert b"" == Path("empty.bin").read_bytes()
    unchanged(Document(id="d7", text="tea"), BadValue, "save_blob_to_file", "a.bin")
    unchanged(Document(id="d7"), BadValue, "save_blob_to_file", "a.bin")
    unchanged(Document(id="d7", blob=b"x"), FileNotFoundError, "save_blob_to_file", "no/a.bin")
    unchanged(Document(id="d7", blob=b"x"), FieldTypeError, "save_blob_to_file", io.StringIO())
    assert b"tea" == Path("a.bin").read_bytes()


def test_what_a_uri_leads_to_is_saved_and_an_error_leaves_the_old_file(here, server):
    target = io.BytesIO()
    doc = Document(uri=f"{server.root}/tea")
    assert doc is doc.save_uri_to_file(target).save_uri_to_file("tea.txt").save_uri_to_file("old.txt")
    assert b"green tea" == target.getvalue() == Path("tea.txt").read_bytes()
    Document(uri="tea.txt").save_uri_to_file("tea.txt")  # onto itself
    assert b"green tea" == Path("tea.txt").read_bytes()
    for path in ("short", "missing", "endless"):
        with pytest.raises((FetchError, BadUri), match="document"):
            Document(uri=f"{server.root}/{path}").save_uri_to_file("old.txt", max_size=MB)
    with pytest.raises(BadUri, match="no uri"):
        Document().save_uri_to_file("old.txt")
    assert b"green tea" == Path("old.txt").read_bytes()
    assert ["old.txt", "tea.txt"] == sorted(os.listdir())


def test_a_large_file_is_copied_piece_by_piece(here):
    with open("large", "wb") as stream:
        stream.truncate(64 * MB)
    assert peak_of(lambda: Document(uri="large").save_uri_to_file("copy")) < 4 * MB
    assert 64 * MB == os.path.getsize("copy")


@pytest.mark.parametrize("convert", ["convert_tensor_to_blob", "convert_text_to_datauri"])
def test_a_document_without_content_is_said_to_have_none(convert):
    with pytest.raises(BadValue, match=r"document 'e' has no .*: it has no content"):
        getattr(Document(id="e"), convert)()
