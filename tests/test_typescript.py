"""The page about TypeScript: its types are those of the schema, its client compiles, and finds what is served."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from docarray import Document, DocumentArray

graphql = pytest.importorskip("graphql", reason='pip install "docarray[serve]"')
DOCS = Path(__file__).parents[1] / "docs"
INSTALL = "npm install --global typescript"


def test_the_types_are_those_of_the_schema():
    schema = graphql.build_schema((DOCS / "schema.graphql").read_text(encoding="utf-8"))
    text = (DOCS / "schema.ts").read_text(encoding="utf-8")
    told = dict(re.findall(r"^export type (\w+) = \{\n(.*?)^\};", text, re.DOTALL | re.MULTILINE))
    for name, kind in schema.type_map.items():
        if name.startswith("__") or not hasattr(kind, "fields"):
            continue
        assert set(kind.fields) == set(re.findall(r"^  (\w+)\??:", told[name], re.MULTILINE)), name


def compiled(folder: Path, client: str) -> subprocess.CompletedProcess[str]:
    tsc = shutil.which("tsc")
    if tsc is None or shutil.which("node") is None:
        pytest.skip(INSTALL)
    shutil.copy(DOCS / "schema.ts", folder)
    (folder / "client.ts").write_text(client, encoding="utf-8")
    flags = "--strict --target es2022 --module es2022 --moduleResolution bundler --lib es2022,dom".split()
    return subprocess.run(
        [tsc, *flags, "client.ts"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def client_of_the_page() -> str:
    (found,) = re.findall(
        r"^```ts\n(.*?)^```", (DOCS / "typescript.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return found


def test_the_client_of_the_page_compiles_and_finds(tmp_path):
    done = compiled(tmp_path, client_of_the_page())
    assert (0, "") == (done.returncode, done.stdout)
    pytest.importorskip("uvicorn", reason='pip install "docarray[serve]"')
    from docarray.web import Server

    (tmp_path / "package.json").write_text('{"type": "module"}')
    program = """
        import { search } from "./client.js";
        console.log(JSON.stringify(await search(process.argv[2], { text: "tea", limit: 1 })));
        await search(process.argv[2], { text: "tea", limit: -1 }).catch((error) => console.log(error.message));
    """
    (tmp_path / "main.js").write_text(program)
    shelf = DocumentArray([Document(id="a", text="green tea", price=3), Document(id="b", text="coffee")])
    with Server(shelf) as server:
        said = subprocess.run(
            ["node", "main.js", server.url],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert "" == said.stderr
    found, wrong = said.stdout.splitlines()
    assert {"id": "a", "text": "green tea", "tags": {"price": 3}} == json.loads(found)[0]["document"]
    assert "negative" in wrong


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("(await search('', { text: 'a' }))[0].document.txet;", "txet"),
        ("(await search('', { text: 'a' }))[0].document.text.length;", "possibly 'null'"),
        ("await search('', { limit: 3 });", "text"),
    ],
    ids=["field", "null", "variable"],
)
def test_what_is_wrong_does_not_compile(tmp_path, line, said):
    done = compiled(tmp_path, client_of_the_page() + line)
    assert done.returncode
    assert said in done.stdout
