"""The JSON Schema of YAML files says what reading them says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from docarray.errors import DocArrayError, UnknownName, UnknownOption
from docarray.flow import Deployment, Flow, project
from docarray.flow.config import executor_class
from docarray.flow.schemas import KINDS, schema
from docarray.flow.spec import DeploymentSpec

jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
yaml = pytest.importorskip("yaml", reason='pip install "docarray[flow]"')

ROOT = Path(__file__).resolve().parents[1]

GOOD = {
    "flow": """
        jtype: Flow
        version: '1'
        with: {name: my shop, workspace: ws, reload: true, timeout: 2.5, replicas: 2, env: {K: 1}}
        gateway: {protocol: [HTTP, grpc], port: [8000, "${{ ENV.PORT }}"], cors: true, title: Shop}
        deployments:
          - {name: enc, uses: enc/config.yml, replicas: "${{ CONTEXT.count }}", polling: {/search: ALL}}
          - name: own
            uses: {jtype: 'shop:Own', with: {dim: 8}, py_modules: shop.py}
            uses_with: {dim: 9}
            uses_dynamic_batching: {/index: {preferred_batch_size: 8, timeout: 5}}
            when: {tags__kind: {$eq: a}}
            needs: gateway
          - {name: both, method: needs, needs: [enc, own], no_reduce: true, timeout_send_ms: 500}
        """,
    "executors": "jtype: Flow\nexecutors: [{name: a, host: [a, b], port: 1, external: true}]",
    "deployment": "jtype: Deployment\nwith: {name: a, uses: x, port: 0, shards: 2, polling: ALL, protocol: http}",
    "executor": """
        jtype: MyOwn
        with: {anything: [1, {at: all}]}
        metas: {name: a, py_modules: [a.py]}
        requests: {/a: method}
        dynamic_batching: {/a: {preferred_batch_size: 4}}
        """,
}
BAD = {
    "a typo in a deployment": ("jtype: Flow\ndeployments: [{name: a, replicsa: 2}]", "replicsa"),
    "a typo in the gateway": ("jtype: Flow\ngateway: {protcol: http}", "protcol"),
    "a typo under with": ("jtype: Flow\nwith: {relaod: true}", "relaod"),
    "a typo at the top": ("jtype: Flow\ndeploymens: []", "deploymens"),
    "no number": ("jtype: Flow\ndeployments: [{name: a, replicas: two}]", "two"),
    "no replicas": ("jtype: Flow\ndeployments: [{name: a, replicas: 0}]", "0"),
    "no such engine": ("jtype: Flow\nwith: {engine: proces}", "proces"),
    "no such protocol": ("jtype: Flow\ngateway: {protocol: [htpp]}", "htpp"),
    "no identifier": ("jtype: Flow\ndeployments: [{name: a-b}]", "a-b"),
    "both lists": ("jtype: Flow\ndeployments: []\nexecutors: []", "deployments"),
    "a typo in a Deployment": ("jtype: Deployment\nwith: {usess: a}", "usess"),
    "a typo in an Executor": ("jtype: Own\nwiht: {}", "wiht"),
    "a typo in metas": ("jtype: Own\nmetas: {nmae: a}", "nmae"),
    "a typo in batching": (
        "jtype: Own\ndynamic_batching: {/a: {preferred_batch_size: 1, timout: 2}}",
        "timout",
    ),
    "a method that is a number": ("jtype: Own\nrequests: {/a: 1}", "1"),
}


def wrong(text, kind=None):
    """What a schema has against a file."""
    said = yaml.safe_load(text)
    return [str(error.message) for error in every(jsonschema.Draft7Validator(schema(kind)).iter_errors(said))]


def every(errors):
    for error in errors:
        yield error
        yield from every(error.context)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_it_is_a_schema(kind):
    jsonschema.Draft7Validator.check_schema(schema(kind))
    assert schema(kind) == json.loads(json.dumps(schema(kind)))


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_good(name):
    assert not wrong(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_not(name):
    text, told = BAD[name]
    assert any(told in message for message in wrong(text))


def test_a_kind_of_its_own():
    assert not wrong(GOOD["flow"].replace("jtype: Flow", ""), "Flow")
    assert wrong(GOOD["flow"], "Deployment")
    assert wrong(GOOD["deployment"], "Executor")
    with pytest.raises(UnknownName, match="Did you mean 'Flow'"):
        schema("Flo")


def test_what_a_new_project_has_is_good(tmp_path):
    project.new(tmp_path / "hello")
    files = [*(tmp_path / "hello").rglob("*.yml")]
    assert len(files) >= 2
    for file in files:
        if "Executor" in file.read_text() or "Flow" in file.read_text():
            assert not wrong(file.read_text()), file


def test_what_is_saved_is_good(tmp_path):
    flow = Flow(protocol="http", port=8000, max_in_flight=3, workspace=tmp_path).add(
        name="a", uses="x:Y", shards=2, polling={"/a": "ANY"}, uses_with={"k": [1]}
    )
    flow = flow.add(name="b", needs=["gateway"]).needs(["a", "b"], name="c", reduce="concat")
    assert not wrong(flow.save_config(tmp_path / "flow.yml"))
    assert not wrong(Deployment(uses="x:Y", replicas=2, timeout_send=2.0, protocol="grpc").save_config())


def known(error):
    return "takes no" in str(error) or "has no" in str(error)


def keys(definition, *path):
    found = schema()["definitions"][definition]["properties"]
    for name in path:
        found = found[name]["properties"]
    return sorted(found)


@pytest.mark.parametrize(
    ("definition", "path", "read"),
    [
        ("deployment", (), lambda key: Flow.load_config({"deployments": [{key: None}]})),
        ("gateway", (), lambda key: Flow.load_config({"gateway": {key: None}})),
        ("Flow", ("with",), lambda key: Flow.load_config({"with": {key: None}})),
        ("Flow", (), lambda key: Flow.load_config({key: None if key != "jtype" else "Flow"})),
        ("Deployment", ("with",), lambda key: Deployment.load_config({"with": {key: None}})),
        ("Executor", (), lambda key: executor_class({key: "none:None"}, DeploymentSpec(name="a"))),
    ],
)
def test_each_key_is_known_to_who_reads_it(definition, path, read):
    for key in [*keys(definition, *path), "no_such_key"]:
        unknown = False
        try:
            read(key)
        except UnknownOption:
            unknown = True
        except (DocArrayError, TypeError, AttributeError):
            pass  # it has no such value: the key is known
        assert unknown == (key == "no_such_key"), key


def test_each_option_is_in_the_schema():
    with pytest.raises(UnknownOption) as caught:
        Flow(no_such_key=1)
    listed = str(caught.value).partition("There are: ")[2].rstrip(".").split(", ")
    assert set(listed) <= set(keys("Flow", "with"))
    with pytest.raises(UnknownOption) as caught:
        Flow().add(no_such_key=1)
    listed = str(caught.value).partition("There are: ")[2].rstrip(".").split(", ")
    assert set(listed) <= set(keys("deployment"))


def test_an_editor_is_told_what_a_key_is():
    said = schema()["definitions"]["deployment"]["properties"]
    assert said["replicas"]["description"] == "Executors that share the requests."
    assert said["replicas"]["default"] == 1


def test_the_command(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-m", "docarray", "export", "schema"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == schema()
    done = subprocess.run(
        [*command, "--of", "flow", "--output", "flow.schema.json"],
        capture_output=True, text=True, env=env, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "flow.schema.json").read_text()) == schema("Flow")
