from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from docarray.errors import BadValue, UnknownName, UnknownOption
from docarray.flow import project
from docarray.flow.commands import overridden, settings
from docarray.flow.ping import Url, ping

ROOT = Path(__file__).resolve().parents[1]
MAIN = [sys.executable, "-W", "error", "-m", "docarray"]
ENV = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}

SLOW = """
import time

from docarray.flow import Executor, requests


class Slow(Executor):
    @requests(on='/slow')
    def slow(self, docs, **kwargs):
        print('begun', flush=True)
        time.sleep(1)
        docs.texts = [f'slow {text}' for text in docs.texts]
"""


def docarray(*words, cwd=ROOT):
    return subprocess.run(
        [*MAIN, *map(str, words)], capture_output=True, text=True, encoding="utf-8", cwd=cwd, env=ENV
    )


@contextlib.contextmanager
def serving(*words, cwd):
    """The process of a command that serves, and its URLs; it is ended with SIGTERM, and ends well."""
    process = subprocess.Popen(
        [*MAIN, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=ENV,
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, line.rstrip("\n").partition(" at ")[2].split(", ")
        process.send_signal(signal.SIGTERM)
        _, wrong = process.communicate(timeout=20)
        assert (0, "") == (process.returncode, wrong)
    finally:
        process.kill()
        process.communicate()


def asked(url, endpoint, text):
    body = json.dumps({"data": [{"text": text}]}).encode()
    request = Request(f"{url}{endpoint}", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as answer:
        return json.load(answer)["data"][0]["text"]


@pytest.fixture(scope="module")
def hello(tmp_path_factory):
    """A project, as it is made."""
    folder = tmp_path_factory.mktemp("new") / "hello-docarray"
    done = docarray("new", folder)
    assert (0, "") == (done.returncode, done.stderr)
    return folder


# ---------------------------------------------------------------------------------------------- new


def test_new_makes_what_it_says(hello):
    made = {str(file.relative_to(hello)) for file in hello.rglob("*") if file.is_file()}

    assert made >= set(project.FILES)
    assert made >= {"app.py", "flow.yml", "client.py", "README.md", "tests/test_flow.py"}
    assert "name: hello-docarray" in (hello / "flow.yml").read_text()


def test_the_tests_of_a_new_project_are_green(hello):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        cwd=hello,
        env=ENV,
    )

    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_new_leaves_a_folder_alone_that_is_there(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "app.py").write_text("mine")

    done = docarray("new", "mine", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr == "docarray new: mine is there already; choose another name, or remove it\n"
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["app.py"]
    with pytest.raises(BadValue, match="no name of a project"):
        project.new(tmp_path / "a b")


# ---------------------------------------------------------------------------------------------- serving


def test_a_flow_is_served_asked_and_ended(hello, tmp_path):
    words = ["--uses", "flow.yml", "--protocol", "http", "grpc", "--port", "0", "0"]
    with serving("flow", *words, "--set", "executors.greeter.uses_with.greeting=hej", cwd=hello) as (_, urls):
        http, grpc = urls
        assert asked(http, "/greet", "Ada") == "hej, Ada"
        assert ping(http, ready=True) is None
        assert ping(grpc, ready=True) is None
        assert ping(http.replace("http", "ws", 1)) is None
        (tmp_path / "docs.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
        for url in urls:
            done = docarray("client", "--host", url, "--on", "/greet", "--input", tmp_path / "docs.jsonl")
            assert (0, "") == (done.returncode, done.stderr)
            assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["hej, a", "hej, b"]
        done = docarray("client", "--host", http, "--on", "/gret")
        assert done.returncode == 1
        assert "Did you mean '/greet'" in done.stderr
    assert ping(http) == "Connection refused"


def test_what_was_accepted_is_answered_after_sigterm(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    answers = []
    with serving("executor", "--uses", "slow:Slow", "--port", 0, cwd=tmp_path) as (process, (url,)):
        asking = threading.Thread(target=lambda: answers.append(asked(url, "/slow", "tea")))
        asking.start()
        assert process.stdout.readline() == "begun\n"
        # `serving` sends SIGTERM now.
    asking.join()

    assert answers == ["slow tea"]


def test_ctrl_c_ends_it_too(hello):
    with serving("deployment", "--uses", "executor1/config.yml", "--port", 0, cwd=hello) as (process, (url,)):
        assert asked(url, "/greet", "Ada") == "hello, Ada"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_deployment_of_a_file(hello):
    (hello / "one.yml").write_text(
        "jtype: Deployment\nwith:\n  name: one\n  uses: executor1/config.yml\n  port: 0\n  protocol: http\n"
    )
    with serving("deployment", "--uses", "one.yml", "--set", "uses_with.greeting=hoi", cwd=hello) as (
        _,
        (url,),
    ):
        assert asked(url, "/greet", "Ada") == "hoi, Ada"


def test_a_gateway_of_what_runs_elsewhere(hello, tmp_path):
    words = ["--uses", "executor1/config.yml", "--protocol", "grpc", "--port", "0"]
    with (
        serving("executor", *words, cwd=hello) as (_, (first,)),
        serving("executor", *words, "--set", "uses_with.greeting=hej", cwd=hello) as (_, (second,)),
    ):
        both = ["--deployment", f"a={first}", "--deployment", f"b={second}", "--port", "0"]
        with serving("gateway", *both, cwd=tmp_path) as (_, (url,)):
            assert asked(url, "/greet", "Ada") == "hej, hello, Ada"
        (tmp_path / "flow.yml").write_text(
            "jtype: Flow\nwith: {replicas: 2, title: Shop}\ndeployments:\n"
            "  - {name: b, uses: there/is/none.yml}\n  - {name: a, uses: 'none:None', shards: 2}\n"
            "  - {name: c, method: needs, needs: [a, b]}\n"
        )
        with serving("gateway", "--uses", "flow.yml", *both, cwd=tmp_path) as (_, (url,)):
            assert asked(url, "/greet", "Ada") == "hello, hej, Ada"
            with urlopen(f"{url}/openapi.json", timeout=20) as answer:
                assert json.load(answer)["info"]["title"] == "Shop"
        done = docarray("gateway", "--uses", "flow.yml", "--deployment", f"a={first}", cwd=tmp_path)
        assert done.stderr == "docarray gateway: nobody says where 'b' is: --deployment b=grpc://HOST:PORT\n"
        done = docarray("gateway", "--uses", "flow.yml", "--deployment", f"aa={first}", cwd=tmp_path)
        assert "Did you mean 'a'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gateway", "--deployment", "a"], "--deployment takes NAME=URL"),
        (["flow", "--uses", "none.yml"], "docarray flow: there is no file 'none.yml'"),
        (["flow", "--uses", "flow.yml", "--set", "executors.greter.replicas=2"], "Did you mean 'greeter'?"),
        (["flow", "--uses", "flow.yml", "--set", "executors.greeter.replicsa=2"], "Did you mean 'replicas'?"),
        (["flow", "--uses", "flow.yml", "--set", "executors.greeter.replicas=two"], "replicas"),
        (["flow", "--uses", "flow.yml", "--set", "gateway"], "--set takes PATH=VALUE"),
        (["executor", "--uses", "none:Such"], "there is no module 'none'"),
        (["client", "--host", "http://127.0.0.1:9", "--input", "none.jsonl"], "there is no such file"),
    ],
)
def test_errors_are_one_line(hello, words, told):
    done = docarray(*words, cwd=hello)

    assert (1, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines())), done.stderr
    assert told in done.stderr


def test_a_port_that_is_taken_is_said(hello):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = docarray("flow", "--uses", "flow.yml", "--port", port, cwd=hello)

    assert (1, "") == (done.returncode, done.stdout)
    assert str(port) in done.stderr


def test_settings_have_types():
    said = [
        "with.name=a=b",
        "gateway.port=[1, 2]",
        "executors.e.uses_with.k=2.5",
        "executors.executor1.floating=true",
    ]

    changed = overridden({"executors": [{"name": "e"}, {}], "with": {"env": {}}}, settings(said))

    assert changed == {
        "executors": [{"name": "e", "uses_with": {"k": 2.5}}, {"floating": True}],
        "with": {"env": {}, "name": "a=b"},
        "gateway": {"port": [1, 2]},
    }


def test_settings_that_mean_nothing_are_errors():
    config = {"deployments": [{"name": "enc", "uses": "x"}]}

    with pytest.raises(UnknownOption, match="Did you mean 'gateway'"):
        overridden(config, settings(["gatewya.port=1"]))
    with pytest.raises(UnknownName, match="Did you mean 'enc'"):
        overridden(config, settings(["deployments.enk.port=1"]))
    with pytest.raises(BadValue, match=r"executors\.NAME\.KEY"):
        overridden(config, settings(["executors.enc=1"]))
    with pytest.raises(BadValue, match="no keys"):
        overridden(config, settings(["executors.enc.uses.k=1"]))
    assert config == {"deployments": [{"name": "enc", "uses": "x"}]}


# ---------------------------------------------------------------------------------------------- ping


@pytest.fixture
def silent():
    """A server that accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "ws", "grpc", "https"])
def test_a_server_that_says_nothing_is_waited_for_so_long(silent, scheme):
    began = time.monotonic()

    assert ping(f"{scheme}://127.0.0.1:{silent}", timeout=0.2) is not None
    assert time.monotonic() - began < 5


def test_ping_tells_by_its_exit_code(silent):
    done = docarray("ping", f"http://127.0.0.1:{silent}", "--timeout", "0.2")
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr == f"docarray ping: http://127.0.0.1:{silent}: no answer within 0.2 s\n"

    done = docarray("ping", "somewhere")
    assert done.returncode == 2
    assert "is no URL" in done.stderr
    assert docarray("ping", "http://127.0.0.1:9", "--timeout", "-1").returncode == 2


def test_ping_tries_again():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer():
            listener.accept()[0].close()
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert ping(f"http://127.0.0.1:{port}", attempts=2) is None
        thread.join()


@pytest.mark.parametrize("url", ["http://", "http://host:0", "http://host:99999", "ftp://host", "http://a b"])
def test_what_is_no_url_is_an_error(url):
    with pytest.raises(ValueError, match=r"is no URL|has no host"):
        Url(url)


def test_a_url_may_be_of_ip_6():
    url = Url("https://[::1]:8443/flow/")

    assert ("::1", 8443, "/flow") == (url.host, url.port, url.path)
    assert Url("wss://host").port == 443


def test_ping_as_it_is_installed_loads_nothing_of_the_library(silent):
    code = (
        "import sys; sys.argv = ['docarray', 'ping', sys.argv[1], '--timeout', '0.1']\n"
        "import docarray_main\nprint(docarray_main.main(), *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"http://127.0.0.1:{silent}"],
        capture_output=True, text=True, cwd=ROOT, env=ENV, check=True,
    )  # fmt: skip

    said, *loaded = done.stdout.split()
    assert said == "1"
    assert {"docarray", "numpy", "argparse", "asyncio", "ssl"}.isdisjoint(loaded)
    assert re.search("no answer within", done.stderr)
    for words in (["ping", "--help"], ["ping"], ["ping", "--timeout", "x", "http://h"]):
        both = [
            subprocess.run([*start, *words], capture_output=True, text=True, cwd=ROOT, env=ENV)
            for start in ([sys.executable, "docarray_main.py"], MAIN)
        ]
        assert both[0].returncode == both[1].returncode
        assert both[0].stdout == both[1].stdout
