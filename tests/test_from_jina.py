"""docs/from-jina.md says the truth: what it calls kept is taken and does its work, what it calls gone is refused."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from docarray import Document, DocumentArray
from docarray.cli import main
from docarray.errors import UnknownOption
from docarray.flow import Client, Deployment, Executor, Flow, requests
from docarray.flow.spec import DeploymentSpec, GatewaySpec

PAGE = (Path(__file__).parent.parent / "docs" / "from-jina.md").read_text(encoding="utf-8")
THERE = ("kept", "fixed", "new")
GONE = ("renamed", "dropped", "later")


def rows(section, heading="option"):
    """(name, state) of each plain name in the tables of a section whose first column is so headed."""
    body = PAGE.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    found, is_in = [], False
    for line in body.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if len(cells) != 3:
            is_in = False
        elif cells[1] == "state":
            is_in = cells[0].startswith(heading)
        elif is_in and cells[1] in (*THERE, *GONE):
            found += [(name, cells[1]) for name in re.findall(r"`([a-z_]+)`", cells[0])]
    return found


def fields(spec):
    return {field.name for field in dataclasses.fields(spec)}


@pytest.mark.parametrize(("name", "state"), rows("Flow(...)"))
def test_options_of_a_flow(name, state):
    own = set(inspect.signature(Flow).parameters) - {"options"}
    taken = own | fields(GatewaySpec) | fields(DeploymentSpec) - {"name", "uses", "needs"}
    if name == "uses" or name == "uses_with":  # of the gateway: not the option of a Flow
        return
    if name in ("timeout_send_ms", "timeout_ready_ms"):
        assert 0.5 == getattr(Flow(**{name: 500}).add()[0], name.removesuffix("_ms"))
        return

    assert (state in THERE) == (name in taken)
    if state in GONE:
        with pytest.raises(UnknownOption):
            Flow(**{name: 1})


@pytest.mark.parametrize(("name", "state"), rows("Flow.add(...)"))
def test_options_of_add(name, state):
    old = {"no_reduce", "disable_reduce"}

    assert (state in THERE) == (name in fields(DeploymentSpec) | old)
    if name in old:
        assert "none" == Flow().add(**{name: True})[0].reduce
    if state in GONE:
        with pytest.raises(UnknownOption):
            Flow().add(**{name: 1})


@pytest.mark.parametrize(("name", "state"), rows("Methods of a Flow", "name"))
def test_methods_of_a_flow(name, state):
    assert (state in THERE) == hasattr(Flow(), name)


@pytest.mark.parametrize(("name", "state"), rows("Executor", "name"))
def test_names_of_an_executor(name, state):
    if name == "_jina_dry_run_":
        with Flow().add(uses=Executor) as flow:
            assert 1 == len(flow.post(name, Document()))
        return
    if name in ("docs", "parameters", "docs_matrix", "docs_map", "tracing_context"):
        return
    if name in ("request_schema", "response_schema"):
        assert name in inspect.signature(requests).parameters
        return

    assert (state in THERE) == hasattr(Executor, name)


def test_options_and_methods_of_a_client():
    made, post = inspect.signature(Client).parameters, inspect.signature(Flow.post).parameters
    client = Client(Flow())

    for name, state in rows("Client", "option of `Client"):
        assert (name, state in THERE) == (name, name in made)
    for name, state in rows("Client", "option of `post"):
        assert (name, state in THERE) == (name, name in post)
    for name, state in rows("Client", "name"):
        assert (name, state in THERE) == (name, hasattr(client, name))


@pytest.mark.parametrize("command", ["flow", "deployment", "executor", "ping", "new", "client", "export"])
def test_commands(command, capsys):
    assert f"docarray {command}" in PAGE

    assert 0 == main([command, "--help"])
    assert f"docarray {command}" in capsys.readouterr().out


def test_the_tables_are_not_empty():
    sections = ("Flow(...)", "Flow.add(...)", "Methods of a Flow", "Executor", "Client")
    heads = ("option", "option", "name", "name", "option of `post")
    assert [True] * 5 == [
        len(rows(section, head)) > 12 for section, head in zip(sections, heads, strict=True)
    ]


# ---------------------------------------------------------------------------------------------- what it claims


class Says(Executor):
    """Tells how it was called."""

    def __init__(self, word="hi", **kwargs):
        super().__init__(**kwargs)
        self.word = word

    @requests(on="/say")
    def say(self, docs: DocumentArray, parameters: dict, **kwargs):
        return {"word": self.word, "k": parameters.get("k"), "name": self.runtime_args.name}

    @requests
    def other(self, docs, **kwargs):
        docs.texts = [self.word] * len(docs)


MODULE = f"{__name__}.Says"


def said(uses, **options):
    with Flow().add(uses=uses, name="says", **options) as flow:
        answer = flow.post("/say", Document(), parameters={"k": 5}, return_responses=True)[0]
    return answer.parameters["__results__"]["says"]["word"]


@pytest.mark.parametrize(
    "uses",
    [
        f"!{MODULE} | {{word: ho}}",
        f"jtype: {MODULE}\nwith:\n  word: ho\n",
        f'{{"jtype": "{MODULE}", "with": {{"word": "ho"}}}}',
        {"jtype": MODULE, "with": {"word": "ho"}},
    ],
    ids=["tag", "yaml", "json", "dict"],
)
def test_uses_in_every_form(uses):
    assert "ho" == said(uses)
    assert "he" == said(uses, uses_with={"word": "he"})


def test_a_deployment_stands_among_the_executors(tmp_path):
    """As itself, and by its file, from whose folder its own files are named."""
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "enc.yml").write_text(f"jtype: {MODULE}\nwith: {{word: ho}}\n")
    (inner / "deployment.yml").write_text(
        "jtype: Deployment\nwith: {name: first, uses: enc.yml, replicas: 1}\n"
    )
    (tmp_path / "flow.yml").write_text(
        "jtype: Flow\n"
        "executors:\n"
        "  - inner/deployment.yml\n"
        f"  - jtype: Deployment\n    with: {{name: second, uses: {MODULE}}}\n"
    )

    flow = Flow.load_config(tmp_path / "flow.yml")

    assert ["first", "second"] == [name for name, _ in flow]
    with flow:
        answer = flow.post("/say", Document(), return_responses=True)[0]
    words = {name: one["word"] for name, one in answer.parameters["__results__"].items()}
    assert {"first": "ho", "second": "hi"} == words


def test_a_file_that_is_no_deployment_is_refused(tmp_path):
    (tmp_path / "a.yml").write_text("jtype: Flow\n")

    with pytest.raises(ValueError, match="'Flow', where a Deployment was asked for"):
        Flow.load_config({"jtype": "Flow", "executors": [str(tmp_path / "a.yml")]})


def test_a_deployment_is_added_by_its_file(tmp_path):
    Deployment(uses=Says, name="says", uses_with={"word": "ho"}).save_config(tmp_path / "deployment.yml")

    flow = Flow().add(str(tmp_path / "deployment.yml"), name="other")

    assert ("other", {"word": "ho"}) == (flow[0].name, dict(flow[0].uses_with))


def test_a_failed_answer_tells_its_route_from_the_gateway_on():
    class Fails(Executor):
        @requests(on="/fail")
        def fail(self, docs, **kwargs):
            raise ValueError("no tea")

    with Flow().add(uses=Says, name="says").add(uses=Fails, name="fails") as flow:
        answer = flow.post("/fail", Document(), return_responses=True, continue_on_error=True)[0]
        many = flow.post(
            "/fail", DocumentArray.empty(2), request_size=1, return_responses=True, continue_on_error=True
        )

    for one in (answer, *many):
        assert ["gateway", "says", "fails"] == [visit.executor for visit in one.routes]
