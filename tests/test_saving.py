"""Flows, Deployments and Executors in YAML, and what `uses` can be."""

from __future__ import annotations

import io
import sys
import textwrap

import pytest

from docarray import Document
from docarray.errors import BadValue, UnknownName, UnknownOption
from docarray.flow import Deployment, Executor, Flow, requests

pytest.importorskip("yaml", reason='pip install "docarray[flow]"')

MODULE = """
from docarray.flow import Executor, requests

class Say(Executor):
    def __init__(self, word="said", **kwargs):
        super().__init__(**kwargs)
        self.word = word

    @requests
    def say(self, docs):
        docs.texts = [f"{text} {self.word}" for text in docs.texts]

    def other(self, docs):
        docs.texts = ["other"]
"""


class Here(Executor):
    @requests
    def here(self, docs):
        docs.texts = ["here"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "say").mkdir()
    (tmp_path / "say" / "executor.py").write_text(MODULE)
    (tmp_path / "say" / "config.yml").write_text(
        "jtype: Say\nwith: {word: yaml}\nmetas: {name: talker}\npy_modules: executor.py\n"
    )
    return tmp_path


def said(flow):
    with flow:
        return flow.post("/", Document(text="x")).texts


def write(folder, text):
    file = folder / "flow.yml"
    file.write_text(textwrap.dedent(text))
    return file


def test_a_flow_is_read_from_a_file(folder):
    file = write(
        folder,
        """
        jtype: Flow
        version: '1'
        with: {name: shop, env: {K: V}, workspace: ws}
        executors:
          - {name: a, uses: say/config.yml, uses_with: {word: flow}}
          - {name: b, uses: say/config.yml, needs: gateway}
          - {name: end, method: needs_all, reduce: concat}
        gateway: {title: Shop}
        """,
    )
    flow = Flow.load_config(file)
    assert ("shop", {"K": "V"}, str(folder / "ws")) == (
        flow.spec.name,
        dict(flow.spec.env),
        flow.spec.workspace,
    )
    assert ("a", "b") == flow["end"].needs
    assert "Shop" == flow.spec.gateway.title
    assert ["x flow", "x yaml"] == said(flow)


@pytest.mark.parametrize("kind", ["path", "text", "dict", "open"])
def test_a_flow_is_read_from_whatever_says_it(folder, kind, monkeypatch):
    monkeypatch.chdir(folder)
    text = "jtype: Flow\ndeployments: [{name: a, uses: say/config.yml}]\n"
    source = {
        "path": str(write(folder, text)),
        "text": text,
        "dict": {"jtype": "Flow", "deployments": [{"name": "a", "uses": "say/config.yml"}]},
        "open": io.StringIO(text),
    }[kind]
    assert ["x yaml"] == said(Flow.load_config(source))


def test_variables_keep_their_types(monkeypatch):
    monkeypatch.setenv("COUNT", "3")
    flow = Flow.load_config(
        {
            "jtype": "Flow",
            "deployments": [
                {
                    "name": "${{ name }}",
                    "shards": "${{ ENV.COUNT }}",
                    "uses_with": {"a": "$5", "b": "x-${{ CONTEXT.name }}"},
                }
            ],
        },
        context={"name": "enc"},
    )
    assert (3, {"a": "$5", "b": "x-enc"}) == (flow["enc"].shards, dict(flow["enc"].uses_with))
    with pytest.raises(BadValue, match="Did you mean 'name'"):
        Flow.load_config("jtype: Flow\nname: ${{ nmae }}\n", context={"name": "a"})
    with pytest.raises(BadValue, match="environment has no 'NOT_THERE'"):
        Flow.load_config("jtype: Flow\nname: ${{ ENV.NOT_THERE }}\n")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("jtype: Flow\nexecutor: []\n", UnknownOption, "Did you mean 'executors'"),
        ("jtype: Flow\nwith: {nmae: x}\n", UnknownOption, "Did you mean 'name'"),
        ("jtype: Flow\ndeployments: [{name: a, replica: 2}]\n", UnknownOption, "Did you mean 'replicas'"),
        ("jtype: Flow\ngateway: {prot: http}\n", UnknownOption, "prot"),
        ("jtype: Flow\nexecutors: []\ndeployments: []\n", BadValue, "both"),
        ("jtype: Deployment\n", BadValue, "Deployment"),
        ("jtype: Flow\ndeployments: {a: 1}\n", BadValue, "list"),
        ("- a\n", BadValue, "mapping"),
        ("a: [\n", BadValue, "line"),
        ("a: !!python/object/apply:os.system ['true']\n", BadValue, "cannot be read"),
        ("no/such.yml", UnknownName, "no file"),
    ],
)
def test_what_a_file_cannot_mean_is_said(text, error, message):
    with pytest.raises(error, match=message):
        Flow.load_config(text)


def test_a_flow_is_written_and_read_again(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder / "say"))
    monkeypatch.delitem(sys.modules, "executor", raising=False)
    import executor

    flow = (
        Flow(name="shop", protocol=["http", "grpc"], title="Shop", env={"K": "V"}, workspace=folder / "ws")
        .add(uses=executor.Say, name="a", uses_with={"word": "a"}, shards=2, polling={"/x": "ALL"})
        .add(
            name="b", needs="gateway", when={"tags__x": {"$gt": 1}}, env={"A": "1"}, workspace=folder / "own"
        )
        .needs(["b", "a"], name="c", reduce="first")
        .inspect(name="d", timeout_send=2.5)
        .add(name="e")
    )
    file = folder / "saved.yml"
    text = flow.save_config(file)
    again = Flow.load_config(file)
    assert text == again.save_config(folder / "again.yml")
    assert ("executor:Say", ("b", "a"), ("c",)) == (again["a"].uses, again["c"].needs, again["e"].needs)
    assert "port" not in text
    assert "retries" not in text


def test_what_a_file_cannot_say_is_not_written(tmp_path):
    class Local(Executor): ...

    file = tmp_path / "flow.yml"
    for uses, uses_with in [(Local, {}), (None, {"lock": object()})]:
        with pytest.raises(BadValue, match="deployment 'a'"):
            Flow().add(uses=uses, name="a", uses_with=uses_with).save_config(file)
    assert not file.exists()


def test_a_deployment_is_written_and_read_again(folder, monkeypatch):
    monkeypatch.chdir(folder)
    one = Deployment(uses="say/config.yml", name="say", replicas=2, engine="inline", protocol="http")
    text = one.save_config()
    again = Deployment.load_config(text)
    assert text == again.save_config()
    assert (2, ("http",)) == (again.one.replicas, again.spec.gateway.protocol)
    assert ["x yaml"] == said(again)
    assert ["x over"] == said(Deployment.load_config(text, uses_with={"word": "over"}, protocol=()))


@pytest.mark.parametrize(
    "form", ["class", "path", "colon", "yaml", "text", "short", "dict", "json", "module"]
)
def test_an_executor_is_said_in_many_ways(folder, form, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder / "say"))
    monkeypatch.delitem(sys.modules, "executor", raising=False)
    import executor

    uses, more = {
        "class": (executor.Say, {}),
        "path": ("executor.Say", {}),
        "colon": ("executor:Say", {}),
        "yaml": ("say/config.yml", {}),
        "text": ("jtype: Say\nwith: {word: yaml}\npy_modules: say/executor.py\n", {}),
        "short": ("!executor:Say|{word: yaml}", {}),
        "dict": ({"jtype": "Say", "with": {"word": "yaml"}, "py_modules": "say/executor.py"}, {}),
        "json": ('{"jtype": "executor:Say", "with": {"word": "yaml"}}', {}),
        "module": ("Say", {"py_modules": "say/executor.py"}),
    }[form]
    plain = form in ("class", "path", "colon", "module")
    assert [f"x {'said' if plain else 'yaml'}"] == said(Flow().add(uses=uses, **more))
    assert ["x over"] == said(Flow().add(uses=uses, uses_with={"word": "over"}, **more))
    assert ["other"] == said(Flow().add(uses=uses, uses_requests={"/": "other"}, **more))


@pytest.mark.parametrize(
    ("uses", "message"),
    [
        ("jinahub://Encoder", "not fetched from the network"),
        ("docker://image", "not fetched from the network"),
        ("https://host/config.yml", "not fetched from the network"),
        ("no.such:Thing", "no module"),
        ("docarray.flow:Exceutor", "Did you mean 'Executor'"),
        ("docarray:Document", "does not"),
        ("Nobody", "no class 'Nobody'"),
        ("missing.yml", "no file"),
        ({"jtype": "docarray.flow:Executor", "wiht": {}}, "Did you mean 'with'"),
        ({"with": {}}, "jtype"),
        (3, "uses is a class"),
    ],
)
def test_an_executor_that_there_is_not_is_said(uses, message):
    from docarray.flow.faults import FlowStartError

    with pytest.raises(FlowStartError, match=message):
        Flow().add(uses=uses).start()
