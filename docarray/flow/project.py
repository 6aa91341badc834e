"""Project: the folder that `docarray new` makes: a service that runs, with its tests."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from docarray.errors import BadValue

__all__ = ["FILES", "new"]

FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "executor1/executor.py": '''"""The Executor: what the service does with documents."""

from docarray import DocumentArray
from docarray.flow import Executor, requests


class Greeter(Executor):
    """Greets each document by its text.

    Args:
        greeting: the first word.
    """

    def __init__(self, greeting: str = 'hello', **kwargs):
        super().__init__(**kwargs)
        self.greeting = greeting

    @requests(on='/greet')
    def greet(self, docs: DocumentArray, **kwargs):
        for doc in docs:
            doc.text = f'{self.greeting}, {doc.text}'
''',
        "executor1/config.yml": """jtype: Greeter
py_modules:
  - executor.py
with:
  greeting: hello
metas:
  name: greeter
  description: Greets each document by its text.
""",
        "executor1/requirements.txt": """# What the Executor imports beside docarray, a line each.
""",
        "flow.yml": """jtype: Flow
version: '1'
with:
  name: {name}
gateway:
  protocol: http
  port: 8000
deployments:
  - name: greeter
    uses: executor1/config.yml
""",
        "app.py": '''"""Serves the Flow until Ctrl-C or SIGTERM; `docarray flow --uses flow.yml` does the same."""

from pathlib import Path

from docarray.flow import Flow

flow = Flow.load_config(Path(__file__).with_name('flow.yml'))

if __name__ == '__main__':
    with flow:
        print(f'listening at http://127.0.0.1:{flow.port}', flush=True)
        flow.block()
''',
        "client.py": '''"""Asks the Flow that app.py serves: python client.py world [URL]"""

import sys

from docarray import Document
from docarray.flow.client import Client


def main(name: str = 'world', url: str = 'http://127.0.0.1:8000') -> None:
    with Client(host=url) as client:
        for doc in client.post('/greet', Document(text=name)):
            print(doc.text)


if __name__ == '__main__':
    main(*sys.argv[1:])
''',
        "tests/test_flow.py": """from pathlib import Path

import pytest

from docarray import Document, DocumentArray
from docarray.flow import Flow

FLOW = Path(__file__).parents[1] / 'flow.yml'


@pytest.fixture
def flow():
    # A port of 0 is a free one: the tests run beside the service.
    with Flow.load_config(FLOW).config_gateway(protocol='http', port=0) as running:
        yield running


def test_each_document_is_greeted(flow):
    answer = flow.post('/greet', DocumentArray([Document(text='Ada'), Document(text='Alan')]))

    assert answer.texts == ['hello, Ada', 'hello, Alan']


def test_clients_of_the_network_are_answered(flow):
    from docarray.flow.client import Client

    with Client(host=f'http://127.0.0.1:{flow.port}') as client:
        assert client.post('/greet', Document(text='Ada')).texts == ['hello, Ada']
""",
        "README.md": """# {name}

A service of docarray: `executor1/executor.py` says what is done with documents, `flow.yml` how it is served.

    pip install "docarray[flow,serve]" pytest
    pytest                              # the tests
    docarray flow --uses flow.yml       # serves at http://127.0.0.1:8000 until Ctrl-C; so does python app.py
    docarray ping http://127.0.0.1:8000 --ready
    python client.py world              # asks it
    curl -H 'Content-Type: application/json' -d '{"data": [{"text": "world"}]}' http://127.0.0.1:8000/greet
""",
    }
)
"""What is written: path to text, in which `{name}` is what the project is called."""

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")


def new(path: Path) -> list[Path]:
    """Writes the folder of a project.

    Args:
        path: the folder, which must not be there yet; the last part of it is the name of the project.

    Returns:
        The files, in the order of their names.

    Raises:
        BadValue: the folder is there, or its name is none. Nothing is written then. OSError: it cannot be written; what
            was begun is removed.
    """
    name = path.name
    if not _NAME.fullmatch(name) or not name.isascii():
        raise BadValue(
            f"{name!r:.60} is no name of a project: letters, digits, '-', '_' and '.', as in hello-docarray"
        )
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise BadValue(f"{path} is there already; choose another name, or remove it") from None
    try:
        for place, text in FILES.items():
            file = path / place
            file.parent.mkdir(exist_ok=True)
            file.write_text(text.replace("{name}", name), encoding="utf-8")
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return [path / place for place in sorted(FILES)]
