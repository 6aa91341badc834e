"""Text: its words, vocabularies of them, and texts as arrays of word ids.

Rule 1: what a word is, is said once, in `words`; vocabularies, word ids and feature hashing all ask it.
Rule 2: id 0 is padding and id 1 a word that the vocabulary does not have, so a vocabulary begins at 2.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from numbers import Integral
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from docarray.errors import BadValue, FieldTypeError, ShapeError

__all__ = ["PADDING", "UNKNOWN", "UNKNOWN_WORD", "Vocabulary", "numbered", "text_of", "word_ids", "words"]

PADDING: Final = 0
UNKNOWN: Final = 1
UNKNOWN_WORD: Final = "<UNK>"

Vocabulary = Mapping[str, int] | Mapping[int, str]
"""Word to id, as `numbered` makes it, or id to word."""

_SEPARATORS: Final = str.maketrans(dict.fromkeys(string.punctuation.replace("'", ""), " "))


def words(text: str) -> list[str]:
    """The words of a text, in order and in lower case.

    White space of any kind and the punctuation of ASCII separate words, but an apostrophe within a word belongs to it.

    Costs one pass over the text, about 20 MB a second.

    >>> words("Don't stop-me_now,\\tit's 'late'!")
    ["don't", 'stop', 'me', 'now', "it's", 'late']
    """
    found = text.lower().translate(_SEPARATORS).split()
    if "'" in text:
        found = [bare for word in found if (bare := word.strip("'"))]
    return found


def numbered(counts: Mapping[str, int], min_freq: int = 1) -> dict[str, int]:
    """An id for each word that was counted `min_freq` times or more: from 2, in the order of `counts`.

    >>> numbered({'a': 3, 'b': 1, 'c': 2}, min_freq=2)
    {'a': 2, 'c': 3}
    """
    kept = (word for word, count in counts.items() if count >= min_freq)
    return {word: number for number, word in enumerate(kept, UNKNOWN + 1)}


def word_ids(
    text: str, vocab: Mapping[str, int], max_length: int | None = None, dtype: npt.DTypeLike = "int64"
) -> npt.NDArray[Any]:
    """A text as the ids of its words.

    Args:
        text: any text.
        vocab: word to id; a word that it does not have is 1.
        max_length: the length of the result: a shorter text is padded with 0 on the left, of a longer one the last
            words stay. None takes every word.
        dtype: of the result: whole or floating numbers.

    Returns:
        (max_length,), or (number of words,).

    Raises:
        BadValue: `max_length` is no whole number above 0, or an id is one that `dtype` cannot hold.
        FieldTypeError: `dtype` is not one of numbers, or `vocab` does not give ids.

    >>> word_ids('to be or not', {'to': 2, 'be': 3, 'not': 4}, max_length=6).tolist()
    [0, 0, 2, 3, 1, 4]
    """
    kind = _number_type(dtype)
    found = words(text)
    if max_length is not None:
        if not isinstance(cast("object", max_length), Integral) or max_length < 1:
            raise BadValue(f"max_length={max_length!r}: it is a whole number above 0, or None for every word")
        found = found[-max_length:]
    numbers: list[object] = [vocab.get(word, UNKNOWN) for word in found]
    if not set(map(type, numbers)) <= {int}:
        for word, number in zip(found, numbers, strict=True):
            if not isinstance(number, Integral):
                raise FieldTypeError(
                    f"vocab maps words to ids, whole numbers; it maps {word!r} to {number!r}"
                )
    ids = np.zeros(len(numbers) if max_length is None else max_length, kind)
    try:
        exact = np.array(numbers, np.int64)
    except OverflowError:
        raise BadValue(
            f"vocab has ids of more than 64 bits: {max(map(int, cast('list[int]', numbers)))}"
        ) from None
    if numbers:
        with np.errstate(over="ignore"):
            ids[-len(numbers) :] = exact
        # A dtype that is too small wraps, rounds or makes it infinite, and says nothing.
        wrong = np.flatnonzero(ids[-len(numbers) :] != exact)
        if len(wrong):
            raise BadValue(
                f"the id {exact[wrong[0]]} of the word {found[wrong[0]]!r} does not fit into {kind}"
            )
    return ids


def text_of(ids: npt.ArrayLike, vocab: Vocabulary, delimiter: str = " ") -> str:
    """The words of these ids, joined.

    Args:
        ids: (n,) whole numbers, also as floats. 0 is passed over; 1, and an id without a word, is '<UNK>'.
        vocab: word to id, or id to word. Of words with the same id the first counts.
        delimiter: stands between the words.

    Raises:
        ShapeError: `ids` is not 1-D.
        BadValue: an id is no whole number.
        FieldTypeError: `vocab` maps something else than words to ids or ids to words.

    Costs a pass over the ids, and one over `vocab` where that goes from word to id: turn it round for many texts.

    >>> text_of([0, 0, 2, 3, 1], {'to': 2, 'be': 3}), text_of([2, 3], {2: 'to', 3: 'be'}, delimiter='-')
    ('to be <UNK>', 'to-be')
    """
    array = np.asarray(ids)
    if array.ndim != 1:
        raise ShapeError(f"the word ids of a text are 1-D; these are of shape {array.shape}")
    if array.size and (array.dtype.kind not in "iuf" or not np.isfinite(array).all() or (array % 1).any()):
        shown = np.array2string(array, threshold=8)
        raise BadValue(f"word ids are whole numbers; these are {array.dtype}: {shown}")
    word_of = _words_by_id(vocab)
    found: list[str] = []
    for number in array.tolist():
        if number == PADDING:
            continue
        word = UNKNOWN_WORD if number == UNKNOWN else word_of.get(number, UNKNOWN_WORD)
        if not isinstance(word, str):
            raise FieldTypeError(f"vocab has no word at {number:g}, but {word!r}")
        found.append(word)
    return delimiter.join(found)


def _number_type(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise FieldTypeError(f"dtype={dtype!r}: {error}") from None
    if kind.kind not in "iuf":
        raise FieldTypeError(f"dtype={dtype!r}: word ids are whole or floating numbers")
    return kind


def _words_by_id(vocab: Vocabulary) -> Mapping[int, object]:
    """Id to word, whichever way the vocabulary goes; its first pair tells."""
    key, value = cast("tuple[object, object]", next(iter(vocab.items()), (UNKNOWN, "")))
    if isinstance(key, Integral) and isinstance(value, str):
        return cast("Mapping[int, str]", vocab)
    if isinstance(key, str) and isinstance(value, Integral):
        pairs = list(cast("Mapping[str, int]", vocab).items())
        return {number: word for word, number in reversed(pairs)}
    raise FieldTypeError(
        f"vocab maps words to ids or ids to words, a str to a whole number or back; it maps {key!r} to {value!r}"
    )
