"""Searches what a few modules say of themselves: python examples/search_docstrings.py delete a directory tree

The vectors are of wordllama, a small model inside its package: pip install "docarray[demo]".
"""

import ast
import sys
import sysconfig
from pathlib import Path

import wordllama

from docarray import Document, DocumentArray

docs = DocumentArray()
for module in ("os", "random", "shutil", "subprocess", "textwrap", "threading"):
    source = Path(sysconfig.get_path("stdlib"), f"{module}.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            docs.append(Document(text=text, name=node.name, module=module, kind=type(node).__name__))

model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
docs.embeddings = model.embed([f"{doc.tags['name']}: {doc.text.partition('.')[0]}" for doc in docs])

question = " ".join(sys.argv[1:]) or "delete a directory tree"
for hit in docs.find(model.embed(question)[0], filter={"tags__kind": {"$eq": "FunctionDef"}}, limit=3):
    name, line = f"{hit.tags['module']}.{hit.tags['name']}", hit.text.partition("\n")[0]
    print(f"{1 - hit.scores['cosine'].value:.2f}  {name:24}  {line}")
