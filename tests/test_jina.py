"""The messages of Jina 3: what its clients have written, and what they read."""

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.flow import jina
from docarray.flow.envelope import Envelope, Visit
from docarray.flow.faults import BadRequest, ExecutorError
from docarray.serialization.varints import scan
from docarray.web.bodies import Malformed

# What `Client.post('/index', docs, parameters={'k': 5, 'name': {'a': [1, None, True]}}, target_executor='enc')` sent
# over the wire, of 3.4.2 and of 3.14.1; and `post('/')`.
DOC = (
    b'"K\nI\nG\n\x01a"\x03tea\x82\x01\x1f\n\x16\n\x0c\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@\x12\x01\x03\x1a\x03<f4'
    b"\x1a\x05numpy\x8a\x01\x1a\n\x0e\n\x01x\x12\t\x11\x00\x00\x00\x00\x00\x00\xf0?\n\x08\n\x01s\x12\x03\x1a\x01t"
)
K = b"\n\x0e\n\x01k\x12\t\x11\x00\x00\x00\x00\x00\x00\x14@"
NAME = (
    b"\n&\n\x04name\x12\x1e*\x1c"
    b"\n\x1a\n\x01a\x12\x152\x13\n\t\x11\x00\x00\x00\x00\x00\x00\xf0?\n\x02\x08\x00\n\x02 \x01"
)
SENT = {
    "3.4.2": b'\n/\n d3feef8440d747d09d2d4383ab38512f\x1a\x06/index"\x03enc\x128' + K + NAME + DOC,
    "3.14.1": b'\n/\n 41fddc2d3ee54c5481b5d122c65afb17\x1a\x06/index"\x03enc\x128' + NAME + K + DOC,
}
EMPTY = b"\n%\n 9c434877dbb14478be7e64f14d6d4abf\x1a\x01/\x12\x13\n\x11\n\x0b__results__\x12\x02*\x00"


@pytest.mark.parametrize("version", list(SENT))
def test_what_the_clients_sent_is_read(version):
    asked = jina.read(SENT[version])
    assert (asked.endpoint, asked.target, asked.is_old) == ("/index", "enc", True)
    assert asked.parameters == {"k": 5, "name": {"a": [1, None, True]}}
    assert type(asked.parameters["k"]) is int
    assert asked.request_id is not None
    assert len(asked.request_id) == 32
    (doc,) = asked.docs
    assert (doc.id, doc.text, doc.tags) == ("a", "tea", {"x": 1.0, "s": "t"})
    assert np.array_equal(doc.embedding, np.arange(3, dtype="float32"))
    assert doc.embedding.dtype == np.float32


def test_a_request_without_anything():
    asked = jina.read(EMPTY)
    assert (asked.endpoint, asked.target, asked.parameters, len(asked.docs)) == ("/", None, {}, 0)
    assert jina.read(b"").endpoint is None


def test_numbers_that_are_not_whole_stay():
    answer = Envelope(
        DocumentArray(), "/", {"a": 0.5, "b": -0.0, "c": 2.0**60, "d": [3, {"e": 4}], "f": True}
    )
    said = jina.read(jina.written(answer)).parameters
    assert said == {"a": 0.5, "b": 0.0, "c": 2.0**60, "d": [3, {"e": 4}], "f": True}
    assert [type(said[key]) for key in "abcf"] == [float, float, float, bool]
    assert math.copysign(1, said["b"]) == -1


def test_an_answer_has_all_of_it():
    answer = Envelope(DocumentArray([Document(id="a", text="tea")]), "/s", {"x": np.arange(2)}, target="enc")
    answer.routes = [Visit("gateway", 1_700_000_000.25, 1_700_000_001.0), Visit("enc", 1.0, 2.0, "broken")]
    answer.results = {"enc": {"n": 2}}
    answer.finish()
    raw = jina.written(answer)
    asked = jina.read(raw)
    assert (asked.endpoint, asked.target, asked.request_id) == ("/s", "enc", answer.request_id)
    assert asked.parameters == {"x": [0, 1], "__results__": {"enc": {"n": 2}}}
    assert asked.docs.texts == ["tea"]
    routes = [raw[at:end] for _, _, at, end in scan(raw, 0, len(raw), (3,))]
    assert (
        routes[0] == b"\n\x07gateway\x12\x0b\x08\x80\xe2\xcf\xaa\x06\x10\x80\xe5\x9aw"
        b"\x1a\x06\x08\x81\xe2\xcf\xaa\x06"
    )
    assert routes[1].endswith(b'"\x0a\x08\x03\x12\x06broken')
    assert jina.status_of(raw) == jina.Status()


def test_errors():
    answer = Envelope(DocumentArray([Document(text="tea")]), "/fail")
    error = ExecutorError("enc", "ValueError", "no", "line 1\nline 2\n")
    said = jina.status_of(jina.failed(error, answer))
    assert said == jina.Status(3, "enc raised ValueError: no", "ValueError", ("no",), (), "enc")
    said = jina.status_of(jina.failed(error, answer, code=jina.ERROR_NEW, debug=True))
    assert (said.code, said.stacks) == (1, ("line 1\n", "line 2\n"))
    said = jina.status_of(jina.failed(ZeroDivisionError("a secret"), answer))
    assert said.name == "InternalError"
    assert "secret" not in said.description


def test_an_error_about_parameters_that_cannot_be_said():
    answer = Envelope(DocumentArray(), "/", {"x": object()})
    with pytest.raises(ExecutorError) as caught:
        jina.written(answer)
    assert jina.status_of(jina.failed(caught.value, answer)).executor == "gateway"


def test_packed_documents():
    docs = DocumentArray([Document(id="a", text="tea")])
    data = docs.to_bytes("protobuf-array")
    body = b"\x12" + bytes([len(data)]) + data
    asked = jina.read(b'"' + bytes([len(body)]) + body)
    assert asked.docs.texts == ["tea"]
    with pytest.raises(BadRequest, match="docs_bytes"):
        jina.read(b'"\x05\x12\x03abc')


def test_a_list_of_requests_is_joined_by_id():
    one = jina.written(Envelope(DocumentArray([Document(id="a", text="tea")]), "/x"))
    two = jina.written(Envelope(DocumentArray([Document(id="a", tags={"k": "v"}), Document(id="b")]), "/x"))
    both = b"".join(b"\x0a" + bytes([len(raw)]) + raw for raw in (one, two))
    asked = jina.read_many(both)
    assert [doc.id for doc in asked.docs] == ["a", "b"]
    assert (asked.docs[0].text, asked.docs[0].tags) == ("tea", {"k": "v"})
    with pytest.raises(Malformed):
        jina.read_many(b"")


@pytest.mark.parametrize("read", [jina.read, jina.read_many])
def test_damaged_messages(read):
    whole = SENT["3.4.2"]
    if read is jina.read_many:
        whole = b"\x0a" + bytes([len(whole) & 127 | 128, len(whole) >> 7]) + whole
    for end in range(len(whole)):
        for data in (whole[:end], whole[:end] + bytes([whole[end] ^ 0x55]) + whole[end + 1 :]):
            try:
                read(data)
            except (Malformed, BadRequest):
                continue


def test_which_line_a_client_is_of():
    assert jina.is_new({"__results_in_order__": "true"})
    assert not jina.is_new({"user-agent": "grpc-python-asyncio/1.46"})


def test_small_messages():
    assert jina.endpoints(["/a", "/b"]) == b"\n\x02/a\n\x02/b"
    assert jina.info({"jina": "3"}) == b"\n\x09\n\x04jina\x12\x013"
    assert jina.info({}, {"A": "b"}) == b"\x12\x06\n\x01A\x12\x01b"
    assert not jina.is_command(b"")
    assert jina.is_command(b"\x10\x01")
    with pytest.raises(Malformed):
        jina.is_command(b"\xff")


# --- the clients themselves ------------------------------------------------------------------------------------------

PROGRAM = """
import json, sys
import numpy as np
from docarray import Document, DocumentArray
from jina import Client
import jina
client = Client(host='127.0.0.1', port=int(sys.argv[1]), protocol=sys.argv[2])
docs = DocumentArray(
    Document(id=str(i), text=f'tea {i}', tags={'x': i, 'y': ['z', None]}, embedding=np.arange(4.) + i)
    for i in range(1000)
)
out = client.post('/upper', docs, request_size=10)
out = DocumentArray(sorted(out, key=lambda doc: int(doc.id)))
(answer,) = client.post('/echo', docs[:2], parameters={'k': 5}, return_responses=True)
calls = []
for on in ('/upper', '/fail'):
    try:
        client.post(on, docs[:3], on_done=lambda r: calls.append('done'), on_error=lambda *a: calls.append('error'),
                    on_always=lambda r: calls.append('always'))
    except Exception as error:
        calls.append(type(error).__name__)
print(json.dumps({
    'version': jina.__version__,
    'texts': out[:, 'text'] == [f'TEA {i}' for i in range(1000)],
    'arrays': bool(np.array_equal(out.embeddings, docs.embeddings)),
    'tags': out[7].tags == docs[7].tags,
    'results': answer.parameters['__results__'],
    'routes': [route.executor for route in answer.routes],
    'calls': calls,
}))
"""


ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("protocol", ["grpc", "http", "websocket"])
@pytest.mark.parametrize("line", ["34", "314"])
def test_the_clients_of_jina(line, protocol, tmp_path):
    pytest.importorskip("grpc", reason='pip install "docarray[grpc]"')
    from test_grpcserver import shop

    python = ROOT / f".venv-jina{line}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"make .venv-jina{line} installs the old client")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with shop().config_gateway(protocol=protocol, port=0) as flow:
        done = subprocess.run(
            [python, program, str(flow.port), protocol],
            capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path,
        )  # fmt: skip
    said = json.loads(done.stdout.splitlines()[-1])
    assert said.pop("version").startswith("3.4" if line == "34" else "3.14")
    assert said == {
        "texts": True,
        "arrays": True,
        "tags": True,
        "results": {"shop": {"kind": "int"}},
        "routes": ["gateway", "shop"],
        "calls": ["done", "always", "error", "always"],
    }
