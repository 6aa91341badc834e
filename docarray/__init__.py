"""docarray: one data structure for multimodal, nested, unstructured data in transit.

>>> from docarray import Document, DocumentArray
>>> da = DocumentArray([Document(text='hello'), Document(text='world')])
>>> da.texts
['hello', 'world']
"""

from docarray import legacy as _legacy
from docarray.array import DocumentArray
from docarray.document import Document
from docarray.nested import ChunkArray, MatchArray
from docarray.score import NamedScore

__all__ = ["ChunkArray", "Document", "DocumentArray", "MatchArray", "NamedScore", "__version__"]

__version__ = "1.0.0.dev0"

_legacy.install()
