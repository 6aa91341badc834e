"""The runtime: from a function of documents to a service.

>>> from docarray import Document
>>> from docarray.flow import Executor, Flow, requests
>>> class Greet(Executor):
...     @requests
...     def greet(self, docs, **kwargs):
...         docs.texts = [f'hello, {text}' for text in docs.texts]
>>> with Flow().add(uses=Greet) as flow:
...     flow.post('/', Document(text='world')).texts
['hello, world']
"""

from __future__ import annotations

from docarray.flow.client import Client
from docarray.flow.executor import Executor
from docarray.flow.flow import Deployment, Flow
from docarray.flow.handlers import dynamic_batching, requests
from docarray.flow.monitors import monitor

__all__ = ["Client", "Deployment", "Executor", "Flow", "dynamic_batching", "monitor", "requests"]
