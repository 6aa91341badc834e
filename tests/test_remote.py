"""Pushed and pulled arrays: a folder, a store in memory, a real S3 server, a web server; broken off and damaged."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from everything import difference, everything_array

from docarray import DocumentArray, remote
from docarray.errors import (
    BadValue,
    CorruptData,
    FieldTypeError,
    MissingExtra,
    Unsupported,
    UnsupportedFormat,
)
from docarray.remote import MissingArray, delete, listed, pull, push
from docarray.rows import Slots
from docarray.table import Table


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DOCARRAY_REMOTE", raising=False)


def menu(rows=100, width=32, seed=0):
    matrix = np.random.default_rng(seed).random((rows, width))
    da = DocumentArray.from_columns(id=[str(i) for i in range(rows)], embedding=matrix)
    return da._slots.table()


def array_of(table):
    return DocumentArray._from_table(table) if hasattr(DocumentArray, "_from_table") else of_slots(table)


def of_slots(table):
    return DocumentArray()._of_slots(Slots.of_table(table))


def ids(table):
    return table.ids


# ------------------------------------------------------------------------------------------------ places


@pytest.fixture(scope="session")
def s3_server():
    pytest.importorskip("s3fs", reason="pip install s3fs")
    moto = pytest.importorskip("moto.server", reason='pip install "moto[server]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """Options of a bucket that is empty."""
    import s3fs

    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    system = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if system.exists("bucket"):
        system.rm("bucket", recursive=True)
    system.mkdir("bucket")
    return system


@pytest.fixture(params=["folder", "path", "file", "memory", "s3"])
def base(request, tmp_path):
    """A place to push to, of each kind."""
    if request.param == "folder":
        yield str(tmp_path / "place")
    elif request.param == "path":
        yield tmp_path / "place"
    elif request.param == "file":
        yield (tmp_path / "place").as_uri()
    elif request.param == "memory":
        fsspec = pytest.importorskip("fsspec", reason='pip install "docarray[remote]"')
        yield "memory://place"
        fsspec.filesystem("memory").store.clear()
        fsspec.filesystem("memory").pseudo_dirs[:] = [""]
    else:
        request.getfixturevalue("s3")
        yield "s3://bucket/place"


def below(base, name):
    return base / name if isinstance(base, Path) else f"{base}/{name}"


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64  # four pulls at once open more than the five that are usual


class Site:
    """A web server over a folder, that counts and can be told to fail."""

    def __init__(self, folder):
        self.asked = []
        self.answer = lambda path: None
        site = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                if site.answer(self.path) is None:
                    super().do_GET()
                else:
                    site.answer(self.path)(self)

            def log_message(self, *args):
                """Nothing."""

        handler = functools.partial(Handler, directory=str(folder))
        self.server = Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    found = Site(tmp_path / "site")
    yield found
    found.close()


# ------------------------------------------------------------------------------------------------ there and back


@pytest.mark.parametrize("local_cache", [True, False])
def test_everything_comes_back(base, local_cache):
    sent = everything_array()

    entry = push(sent._slots.table(), below(base, "all"))

    assert difference(sent, array_of(pull(below(base, "all"), local_cache=local_cache))) is None
    assert len(sent) == entry.rows


def test_in_many_parts(base):
    sent = menu()

    entry = push(sent, below(base, "menu"), part_size=1000)

    assert len(entry.parts) > 20
    for local_cache in (True, False):
        back = pull(below(base, "menu"), local_cache=local_cache)
        assert ids(sent) == ids(back)
        assert np.array_equal(sent.columns["embedding"].data, back.columns["embedding"].data)


def test_compressed():
    pytest.importorskip("fsspec", reason='pip install "docarray[remote]"')
    pytest.importorskip("lz4", reason='pip install "docarray[compression]"')
    sent = menu(5000, 1)

    plain, packed = (push(sent, f"memory://place/{c}", compress=c) for c in (None, "lz4"))
    delete(plain.url)

    assert packed.size < plain.size
    assert ids(sent) == ids(pull(packed.url))
    delete(packed.url)


def test_tables_are_written_one_after_the_other(base):
    entry = push((menu(rows, seed=rows) for rows in (3, 4)), below(base, "menu"))

    assert 7 == entry.rows == len(pull(below(base, "menu")))


def test_listed_and_deleted(base):
    for name in ("b", "a", "user/menu"):
        push(menu(2), below(base, name))

    found = listed(base)

    assert ["a", "b", "user/menu"] == [one.name for one in found]
    assert [2, 2, 2] == [len(pull(one.url)) for one in found]
    assert all(one.size == sum(size for _, size in one.parts) > 0 for one in found)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found[0].created)

    delete(below(base, "user/menu"))

    assert ["a", "b"] == [one.name for one in listed(base)]
    with pytest.raises(MissingArray):
        pull(below(base, "user/menu"))
    with pytest.raises(MissingArray):
        delete(below(base, "user/menu"))


def test_nothing_is_listed_where_nothing_is(base):
    assert [] == listed(base)


def test_what_was_never_pushed_is_missing(base):
    with pytest.raises(FileNotFoundError, match=r"nothing was pushed to .*nobody"):
        pull(below(base, "nobody"))


def test_a_push_replaces_and_leaves_no_parts_behind(tmp_path):
    push(menu(seed=1), tmp_path / "menu", part_size=1000)
    push(menu(3, seed=2), tmp_path / "menu")

    assert 3 == len(pull(tmp_path / "menu"))
    assert 1 == len(list((tmp_path / "menu.docarray").iterdir()))


def test_delete_leaves_files_of_others(tmp_path):
    push(menu(), tmp_path / "menu")
    (tmp_path / "menu.docarray" / "notes.txt").write_text("mine")
    (tmp_path / "menu.txt").write_text("mine")

    delete(tmp_path / "menu")

    assert {"menu.docarray", "menu.txt", "notes.txt"} == {p.name for p in tmp_path.rglob("*menu*")} | {
        "notes.txt"
    }
    assert ["notes.txt"] == [p.name for p in (tmp_path / "menu.docarray").iterdir()]


def test_the_parts_joined_are_a_native_file(tmp_path):
    sent = everything_array()
    entry = push(sent._slots.table(), tmp_path / "all", part_size=4096)

    whole = b"".join((tmp_path / "all.docarray" / digest).read_bytes() for digest, _ in entry.parts)

    assert difference(sent, DocumentArray.from_bytes(whole)) is None


def test_an_empty_array(base):
    push(Table({}, 0), below(base, "empty"))

    assert 0 == len(pull(below(base, "empty")))


def test_progress_counts_bytes(tmp_path):
    seen = []
    entry = push(menu(), tmp_path / "menu", part_size=1000, show=lambda *state: seen.append(state))

    assert (entry.size, None, "pushing menu") == seen[-1]

    pull(tmp_path / "menu", show=lambda *state: seen.append(state))

    assert (entry.size, entry.size, "pulling menu") == seen[-1]


# ------------------------------------------------------------------------------------------------ broken off


PUSHING = """
    import sys
    sys.path.insert(0, "tests")
    from test_remote import menu
    from docarray.remote import push
    push(menu(1000), sys.argv[1], part_size=4096)
"""


def killed_half_way(code, target, folder, parts):
    """Runs a program, and kills it when so many files are there."""
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), target], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if parts(folder) >= 10:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    process.stderr.close()
    assert process.wait() < 0, "it was over before it could be killed"


def test_a_killed_push_is_gone_on_with(tmp_path, monkeypatch):
    folder = tmp_path / "menu.docarray"
    killed_half_way(PUSHING, str(tmp_path / "menu"), folder, lambda f: len(list(f.glob("[0-9a-f]*"))))

    with pytest.raises(MissingArray):
        pull(tmp_path / "menu")

    there = {p.name for p in folder.iterdir() if len(p.name) == 64}
    put = []
    real = remote._Folder.put
    monkeypatch.setattr(remote._Folder, "put", lambda self, *args: put.append(args[0]) or real(self, *args))
    entry = push(menu(1000), tmp_path / "menu", part_size=4096)

    assert len(there) >= 10
    assert sorted({digest for digest, _ in entry.parts} - there) == sorted(n[-64:] for n in put[:-1])
    assert "menu.docarray.json" == put[-1]
    assert 1000 == len(pull(tmp_path / "menu"))

    (folder / ".docarray-0123456789abcdef.tmp").write_bytes(b"half a part")
    delete(tmp_path / "menu")

    assert ["cache"] == [p.name for p in tmp_path.iterdir()], "a push that was killed left something"


def test_a_killed_push_to_s3_is_gone_on_with(s3, monkeypatch):
    killed_half_way(
        PUSHING, "s3://bucket/menu", "bucket/menu.docarray", lambda f: len(s3.ls(f)) if s3.exists(f) else 0
    )

    assert [] == listed("s3://bucket")

    there = {path.rpartition("/")[2] for path in s3.ls("bucket/menu.docarray")}
    put = []
    real = remote._Store.put
    monkeypatch.setattr(remote._Store, "put", lambda self, *args: put.append(args[0]) or real(self, *args))
    entry = push(menu(1000), "s3://bucket/menu", part_size=4096)

    assert sorted({digest for digest, _ in entry.parts} - there) == sorted(n[-64:] for n in put[:-1])
    assert 1000 == len(pull("s3://bucket/menu"))


PULLING = """
    import sys
    from docarray.remote import pull
    pull(sys.argv[1])
"""


def test_a_killed_pull_is_gone_on_with(site, tmp_path):
    entry = push(menu(1000), tmp_path / "site" / "menu", part_size=4096)
    site.answer = lambda path: time.sleep(0.01)
    killed_half_way(PULLING, site.url + "/menu", None, lambda _: len(site.asked))
    time.sleep(0.2)  # what the server has still to answer
    first = {path[-64:] for path in site.asked}
    (unfinished,) = (tmp_path / "cache").rglob("*.unfinished")
    site.asked.clear()

    assert 1000 == len(pull(site.url + "/menu"))

    second = {path[-64:] for path in site.asked}
    assert len(first) + len(second) < len(entry.parts) + 20, "parts that came were fetched again"
    assert len(second) < len(entry.parts) - 2
    assert not unfinished.exists()


def test_what_a_broken_pull_left_is_not_believed(tmp_path):
    entry = push(menu(), tmp_path / "menu", part_size=1000)
    pull(tmp_path / "menu")
    (path,) = (tmp_path / "cache").rglob("*.docarray")
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[1500] ^= 1
    path.unlink()
    Path(f"{path}.unfinished").write_bytes(bytes(damaged[:-700]))

    pull(tmp_path / "menu")

    assert whole == path.read_bytes()
    assert entry.size == len(whole)


def test_a_break_in_the_middle_leaves_no_whole_file(site, tmp_path):
    entry = push(menu(), tmp_path / "site" / "menu", part_size=1000)
    bad = entry.parts[10][0]

    def cut(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"x" * 10)

    site.answer = lambda path: cut if bad in path else None
    with pytest.raises((OSError, CorruptData), match=bad):
        pull(site.url + "/menu")

    assert [] == list((tmp_path / "cache").rglob("*.docarray"))
    with pytest.raises((OSError, CorruptData), match=bad):
        pull(site.url + "/menu", local_cache=False)


def test_an_error_while_sending_leaves_what_was_there(tmp_path, monkeypatch):
    push(menu(3), tmp_path / "menu")
    real = remote._Folder.put
    count = []

    def failing(self, name, data):
        count.append(name)
        if len(count) > 5:
            raise OSError("no space left")
        real(self, name, data)

    monkeypatch.setattr(remote._Folder, "put", failing)
    with pytest.raises(OSError, match="no space left"):
        push(menu(), tmp_path / "menu", part_size=1000)

    assert 3 == len(pull(tmp_path / "menu"))


def test_an_error_of_the_documents_leaves_what_was_there(tmp_path):
    push(menu(3), tmp_path / "menu")

    def tables():
        yield menu(5)
        raise KeyError("the reader broke")

    with pytest.raises(KeyError):
        push(tables(), tmp_path / "menu", part_size=100)

    assert 3 == len(pull(tmp_path / "menu"))


# ------------------------------------------------------------------------------------------------ the cache


def test_the_cache_is_used_while_it_is_what_was_pushed(site, tmp_path):
    push(menu(), tmp_path / "site" / "menu")
    pull(site.url + "/menu")
    site.asked.clear()

    pull(site.url + "/menu")

    assert ["/menu.docarray.json"] == site.asked

    push(menu(7), tmp_path / "site" / "menu")

    assert 7 == len(pull(site.url + "/menu"))
    assert 1 == len(list((tmp_path / "cache").rglob("*.docarray"))), "the old one stays for ever"


def test_without_cache_nothing_is_kept(tmp_path):
    push(menu(), tmp_path / "menu")
    pull(tmp_path / "menu", local_cache=False)

    assert not (tmp_path / "cache").exists()


def test_places_with_the_same_name_have_each_their_own(tmp_path):
    push(menu(2), tmp_path / "a" / "menu")
    push(menu(3), tmp_path / "b" / "menu")

    assert [2, 3, 2] == [len(pull(tmp_path / one / "menu")) for one in "aba"]


def test_two_pulls_at_once(site, tmp_path):
    push(menu(), tmp_path / "site" / "menu", part_size=1000)
    found, errors = [], []

    def pulling():
        try:
            found.append(len(pull(site.url + "/menu")))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=pulling) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ([100] * 4, []) == (found, errors)


def test_the_cache_is_where_it_should_be(monkeypatch, tmp_path):
    assert str(tmp_path / "cache" / "docarray") == remote.cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    assert str(tmp_path / ".cache" / "docarray") == remote.cache_folder()


# ------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("local_cache", [True, False])
def test_a_flipped_byte_names_the_part(base, local_cache, tmp_path, request):
    entry = push(menu(), below(base, "menu"), part_size=1000)
    digest = entry.parts[7][0]
    place, _ = remote._place_of(entry.url, None, 60)
    data = bytearray(place.get(f"menu.docarray/{digest}", 1000))
    data[500] ^= 4
    place.put(f"menu.docarray/{digest}", bytes(data))

    with pytest.raises(CorruptData, match=rf"part 7 of .*menu.*{digest}.*checksum"):
        pull(below(base, "menu"), local_cache=local_cache)
    assert [] == list((tmp_path / "cache").rglob("*.docarray"))


def test_a_part_that_is_short_long_or_missing(tmp_path):
    entry = push(menu(), tmp_path / "menu", part_size=1000)
    path = tmp_path / "menu.docarray" / entry.parts[3][0]
    data = path.read_bytes()

    path.write_bytes(data[:-1])
    with pytest.raises(CorruptData, match=r"part 3 .*999 bytes where 1000"):
        pull(tmp_path / "menu")
    path.write_bytes(data + b"x" * 10_000)
    with pytest.raises(CorruptData, match=r"part 3 .*more bytes where 1000"):
        pull(tmp_path / "menu")
    path.unlink()
    with pytest.raises(CorruptData, match=r"part 3 .*missing"):
        pull(tmp_path / "menu")

    push(menu(), tmp_path / "menu", part_size=1000)
    assert 100 == len(pull(tmp_path / "menu"))


def manifests():
    good = {
        "format": "docarray-parts",
        "version": 1,
        "library": "x",
        "created": "y",
        "rows": 1,
        "size": 5,
        "parts": [{"sha256": "0" * 64, "size": 5}],
    }
    yield "no JSON", b"\xff\xfe", CorruptData
    yield "empty", b"", CorruptData
    yield "deep", b"[" * 100_000, CorruptData
    yield "list", b"[]", UnsupportedFormat
    yield "other", b'{"format": "zip"}', UnsupportedFormat
    yield "version", json.dumps({**good, "version": 2}).encode(), UnsupportedFormat
    for name, change in {
        "no parts": {"parts": None},
        "parts of text": {"parts": ["x"]},
        "a path": {"parts": [{"sha256": "../../etc/passwd", "size": 5}]},
        "a path of 64": {"parts": [{"sha256": "../" * 21 + "x", "size": 5}]},
        "upper case": {"parts": [{"sha256": "A" * 64, "size": 5}]},
        "a vast part": {"size": 1 << 60, "parts": [{"sha256": "0" * 64, "size": 1 << 60}]},
        "a part of nothing": {"size": 0, "parts": [{"sha256": "0" * 64, "size": 0}]},
        "a truth value": {"size": True, "parts": [{"sha256": "0" * 64, "size": True}]},
        "another sum": {"size": 6},
        "rows": {"rows": -1},
        "text rows": {"rows": "1"},
        "codes": {"created": "\x1b[2J"},
        "a long text": {"library": "x" * 1000},
    }.items():
        yield name, json.dumps({**good, **change}).encode(), CorruptData
    for key in ("library", "created", "rows", "size", "parts"):
        yield f"no {key}", json.dumps({k: v for k, v in good.items() if k != key}).encode(), CorruptData


@pytest.mark.parametrize(("data", "error"), [pytest.param(d, e, id=n) for n, d, e in manifests()])
def test_a_manifest_is_not_believed(tmp_path, data, error):
    (tmp_path / "menu.docarray.json").write_bytes(data)

    with pytest.raises(error, match=r"menu\.docarray\.json"):
        pull(tmp_path / "menu")
    with pytest.raises(error, match=r"menu\.docarray\.json"):
        listed(tmp_path)


def test_a_manifest_cut_off_anywhere_is_an_error(tmp_path):
    push(menu(2), tmp_path / "menu")
    path = tmp_path / "menu.docarray.json"
    data = path.read_bytes()
    for end in range(len(data) - 2):
        path.write_bytes(data[:end])
        with pytest.raises(CorruptData):
            pull(tmp_path / "menu")


def test_parts_with_right_checksums_may_still_be_no_array(tmp_path):
    part = b"\x80\x04cos\nsystem\n"
    digest = hashlib.sha256(part).hexdigest()
    (tmp_path / "menu.docarray").mkdir()
    (tmp_path / "menu.docarray" / digest).write_bytes(part)
    entry = remote.Entry("menu", "", 1, len(part), "", "", ((digest, len(part)),))
    (tmp_path / "menu.docarray.json").write_bytes(remote._written(entry))

    for local_cache in (True, False):
        with pytest.raises((CorruptData, UnsupportedFormat), match="menu"):
            pull(tmp_path / "menu", local_cache=local_cache)


# ------------------------------------------------------------------------------------------------ names


def test_plain_names_are_below_the_variable(base, monkeypatch):
    monkeypatch.setenv("DOCARRAY_REMOTE", str(base))
    push(menu(4), "user/menu")

    assert ["user/menu"] == [one.name for one in listed()]
    assert 4 == len(pull("user/menu")) == len(pull(below(base, "user/menu")))

    delete("user/menu")

    assert [] == listed()


@pytest.mark.parametrize("call", [pull, delete, lambda name: push(menu(1), name)])
def test_without_the_variable_a_name_says_no_place(call):
    with pytest.raises(BadValue, match=r"'menu' says no place: give a URL.*DOCARRAY_REMOTE"):
        call("menu")


def test_without_the_variable_there_is_nothing_to_list():
    with pytest.raises(BadValue, match="DOCARRAY_REMOTE"):
        listed()


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "..",
        "./../x",
        "s3://bucket/../other",
        "a\\..\\x",
        "a//b",
        "a/./b",
        "a*",
        "",
        "a\nb",
        "c:x",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCARRAY_REMOTE", str(tmp_path / "place"))
    for call in (pull, delete, lambda name: push(menu(1), name)):
        with pytest.raises(BadValue):
            call(name)
    assert [] == list(tmp_path.iterdir())


def test_a_bucket_is_no_array():
    for url in ("s3://menu", "gs://menu/"):
        with pytest.raises(BadValue, match="bucket"):
            pull(url)


def test_the_manifest_says_the_version_of_the_library():
    import docarray

    assert f"docarray {docarray.__version__}" == remote.LIBRARY


def test_a_name_of_another_type_is_refused():
    with pytest.raises(FieldTypeError):
        pull(5)


def test_a_suffix_that_is_given_is_not_doubled(tmp_path):
    push(menu(2), tmp_path / "menu.docarray")

    assert {"menu.docarray", "menu.docarray.json"} == {p.name for p in tmp_path.iterdir()}
    assert 2 == len(pull(tmp_path / "menu"))


def test_the_web_is_for_pulling_only(site):
    with pytest.raises(Unsupported, match="push to its bucket"):
        push(menu(1), site.url + "/menu")
    with pytest.raises(Unsupported):
        listed(site.url)
    with pytest.raises(Unsupported):
        delete(site.url + "/menu")
    with pytest.raises(BadValue, match="query"):
        pull(site.url + "/menu?token=1")
    assert [] == site.asked


def test_errors_of_a_web_server(site):
    with pytest.raises(MissingArray):
        pull(site.url + "/menu")

    def broken(handler):
        handler.send_error(500)

    site.answer = lambda path: broken
    with pytest.raises(OSError, match="500"):
        pull(site.url + "/menu")


def test_a_server_that_says_nothing_is_not_waited_for(site):
    site.answer = lambda path: lambda handler: time.sleep(1.5)
    start = time.monotonic()
    with pytest.raises(OSError):
        pull(site.url + "/menu", timeout=0.2)

    assert time.monotonic() - start < 1.4


def test_a_silent_s3_server_is_not_waited_for(s3):
    """Listens, and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(TimeoutError, match=r"s3://bucket.* 0\.3 s"):
            pull("s3://bucket/menu", timeout=0.3, storage_options={"endpoint_url": url})

    assert time.monotonic() - start < 10


def test_an_unknown_scheme_is_an_error():
    pytest.importorskip("fsspec", reason='pip install "docarray[remote]"')
    with pytest.raises(BadValue, match="nosuch"):
        pull("nosuch://x/y")


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtra, match=r'pip install "docarray\[remote\]"'):
        pull("memory://x/y")


def test_folders_need_no_extra(tmp_path):
    code = """
    import sys
    sys.modules["fsspec"] = None
    from docarray.remote import push, pull, listed
    from docarray.table import Table
    push(Table({}, 3), sys.argv[1] + "/menu")
    assert 3 == len(pull(sys.argv[1] + "/menu")) == listed(sys.argv[1])[0].rows
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=True, env={**os.environ}
    )


@pytest.mark.parametrize("size", [0, -1, 1 << 31, 1.5, "x"])
def test_a_part_size_that_cannot_be(tmp_path, size):
    with pytest.raises(BadValue, match="part_size"):
        push(menu(1), tmp_path / "menu", part_size=size)


def test_a_table_to_show(tmp_path):
    from rich.console import Console

    push(menu(1234), tmp_path / "[red]menu")
    push(menu(1), tmp_path / "\x1b[2Jmenu")
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(remote.rich_table(listed(tmp_path)))

    text = console.export_text()
    assert "[red]menu" in text
    assert "\x1b" not in text
    assert "1,234" in text


def test_a_place_that_is_gone_meanwhile(tmp_path, monkeypatch):
    """Another writer takes a part away between sending and the manifest."""
    real = remote._Folder.sizes
    seen = []

    def sizes(self, folder):
        seen.append(folder)
        if len(seen) == 2:
            shutil.rmtree(tmp_path / "menu.docarray")
        return real(self, folder)

    monkeypatch.setattr(remote._Folder, "sizes", sizes)
    with pytest.raises(CorruptData, match="somebody else"):
        push(menu(), tmp_path / "menu")
    with pytest.raises(MissingArray):
        pull(tmp_path / "menu")
