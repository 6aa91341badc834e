"""Models of words: what turns texts, and questions about them, into vectors.

Rule 1: a model is named; what it made can be searched by it alone, so whoever keeps vectors keeps the name beside them.
Rule 2: the vector of a text depends on that text and on nothing else: texts may come one by one, and go again.
Rule 3: nothing is downloaded. The weights of wordllama are inside its package.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from docarray.array import DocumentArray
from docarray.errors import MissingExtra, UnknownName, near_miss
from docarray.tensors import Array
from docarray.text import words

__all__ = ["CHOICES", "Choice", "Model", "model", "said"]

Choice = Literal["auto", "wordllama", "hashing"]
CHOICES: Final[tuple[Choice, ...]] = ("auto", "wordllama", "hashing")

_INSTALL: Final = 'pip install "docarray[demo]"'
_HASHES: Final = 1024

# Words that a question is put with, and that say nothing of what it asks for.
_IDLE: Final = frozenset(
    """a an and are as at be by can could do does for from get has have how i if in into is it its me my no not of on or
    should so some that the their them then there these this to use want was what when where which who will with would
    you your""".split()
)


@dataclass(frozen=True, slots=True)
class Model:
    """What turns texts into vectors.

    Args:
        name: 'wordllama' or 'hashing'.
        note: a line about it, and about the other one.
        dim: how many numbers a vector has.
        vectors: texts to a matrix (n, dim) float32. A text without words is a row of zeros.
    """

    name: str
    note: str
    dim: int
    vectors: Callable[[list[str]], Array]

    def question(self, text: str) -> Array:
        """The vector (dim,) of a question."""
        return self.vectors([text])[0]


def model(choice: str = "auto") -> Model:
    """The model of that name; 'auto' is wordllama where it is installed, and feature hashing otherwise.

    Raises:
        MissingExtra: 'wordllama' was asked for and is not installed. UnknownName: there is no such model.

    Costs a fifth of a second for wordllama.

    >>> model('hashing').question('compress bytes').shape
    (1024,)
    """
    if choice not in CHOICES:
        raise UnknownName(f"no model is called {choice!r}. {near_miss(choice, CHOICES)}")
    if choice == "hashing":
        return _hashing("It compares words; --model wordllama compares meanings.")
    try:
        return _wordllama()
    except (ImportError, OSError, ValueError) as error:
        # OSError: the package is there without its weights. ValueError: it was built for another numpy.
        missing = isinstance(error, ModuleNotFoundError) and error.name == "wordllama"
        why = "is not installed" if missing else f"cannot be loaded ({error})"
        if choice == "wordllama":
            raise MissingExtra(f"the model wordllama {why}: {_INSTALL}") from error
        return _hashing(f"It compares words, not meanings, because wordllama {why}: {_INSTALL}")


def said(text: str) -> list[str]:
    """The words of a text without those that any question is put with.

    >>> said('How do I unpack the archive?')
    ['unpack', 'archive']
    """
    return [word for word in words(text) if word not in _IDLE]


def _wordllama() -> Model:
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        import wordllama  # pyright: ignore[reportMissingTypeStubs]

        # Its weights are inside the package; only with both arguments does it look there and ask no network.
        folder = Path(wordllama.__file__).parent
        loaded: Any = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    finally:
        # Importing it makes the root logger print, to everybody's surprise.
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    dim = int(loaded.embedding.shape[1])

    def vectors(texts: list[str]) -> Array:
        # It pads each batch to its longest text, so texts of like length together are done in a fraction of the time.
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = np.empty((len(texts), dim), np.float32)
        if texts:
            found[order] = loaded.embed([texts[i] for i in order.tolist()])
        return found

    return Model("wordllama", "A small model of word meanings; --model hashing does without.", dim, vectors)


def _hashing(note: str) -> Model:
    def vectors(texts: list[str]) -> Array:
        if not texts:
            return np.empty((0, _HASHES), np.float32)
        # Each word once, or a text that says "message" three times would answer everything about messages.
        docs = DocumentArray.from_columns(text=[" ".join(dict.fromkeys(said(text))) for text in texts])
        docs.embed_feature_hashing(n_dim=_HASHES, fields=("text",))
        return np.asarray(docs.embeddings, np.float32)

    return Model("hashing", note, _HASHES, vectors)
