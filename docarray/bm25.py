"""TextIndex: an inverted index of words in memory, searched by BM25.

A text scores, summed over the words of the query,

    count in query * idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))
    idf = ln(1 + (N - n + 0.5) / (n + 0.5)),   k1 = 1.2,   b = 0.75

where tf is how often the text has the word, N how many texts there are and n how many have the word. This is Okapi
BM25 (Robertson, Zaragoza: The probabilistic relevance framework: BM25 and beyond, 2009, section 3) with the idf that
is never negative, which Lucene made usual.

Rule 1: what a word is, `terms` says; what it adds to a score, `weighed` says; which texts win, `best`. All storages ask
        these three, so that rankings and scores are the same to the last bit wherever the words are kept.
Rule 2: a text without a word is not here, and counts for nothing.
Rule 3: a score depends on the texts that are there, not on how they came: what was taken out leaves no trace.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, TypeAlias, cast
from unicodedata import category, normalize

import numpy as np
import numpy.typing as npt

from docarray.errors import BadValue
from docarray.text import words

__all__ = ["K1", "B", "Found", "TextIndex", "best", "summed", "terms", "weighed"]

K1: Final = 1.2
B: Final = 0.75

Found = tuple[list[str], list[float]]
"""Keys and what was measured of each, the best first."""

_Numbers: TypeAlias = npt.NDArray[Any]
_Floats: TypeAlias = npt.NDArray[np.float64]

_FEW: Final = 64
"""Dead rows that are never worth the clearing away."""


# ------------------------------------------------------------------------------------------------ the words


def terms(text: str) -> list[str]:
    """The words of a text as a search sees them, in order.

    As `docarray.text.words` has them - lower case, cut at white space and the punctuation of ASCII, an apostrophe
    within a word belongs to it - and beyond ASCII: compatibility forms are made one (NFKC: 'ﬁ' is 'fi', and 'é' is
    the same in either normal form), case is folded ('STRASSE' finds 'Straße'), all punctuation cuts ('…', '«', '。'),
    and as Chinese and Japanese have no spaces each ideograph and each hiragana is a word. Accents count: 'cafe' is not
    'café'.

    Costs one pass over the text, a few of one that is not ASCII.

    >>> terms("Don’t stop – ‘me’ now!"), terms("东京tower")
    (["don't", 'stop', 'me', 'now'], ['东', '京', 'tower'])
    """
    if not text.isascii():
        text = normalize("NFKC", normalize("NFKC", text).casefold()).replace("’", "'")
        cuts = {ord(sign): cut for sign in set(text) if sign > "\x7f" and (cut := _cut(sign)) is not None}
        if cuts:
            text = text.translate(cuts)
    return words(text)


def _cut(sign: str) -> str | None:
    """What stands for a character beyond ASCII where words are cut; None where it stays."""
    if "぀" <= sign <= "ゟ" or sign == "々" or "㐀" <= sign <= "鿿" or "\U00020000" <= sign <= "\U0003ffff":
        return f" {sign} "
    if category(sign)[0] == "P" or sign == "\u200b":  # the space of width zero
        return " "
    return "" if sign == "\xad" else None  # a hyphen that is not seen


# ------------------------------------------------------------------------------------------------ the formula


def weighed(asked: int, having: int, texts: int, mean: float, counts: _Numbers, lengths: _Numbers) -> _Floats:
    """What one word of a query adds to the score of each text that has it: (n,) float64, above 0.

    Args:
        asked: how often the query has the word.
        having: how many texts have it.
        texts: how many texts there are.
        mean: how many words they have on average.
        counts: (n,) how often each of these texts has the word.
        lengths: (n,) how many words each of these has.
    """
    idf = math.log(1 + (texts - having + 0.5) / (having + 0.5))
    times = counts.astype(np.float64)
    return (asked * idf * (K1 + 1)) * times / (times + K1 * (1 - B + (B / mean) * lengths))


def best(scores: _Floats, ranks: _Numbers, k: int | None) -> npt.NDArray[np.intp]:
    """The places of the k largest scores, largest first; of equals the lower rank first. All of them if k is None."""
    places = np.arange(len(scores))
    if k is not None and k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
        above, level = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
        wanted = k - len(above)
        if wanted < len(level):
            level = level[np.argpartition(ranks[level], wanted)[:wanted]] if wanted else level[:0]
        places = np.concatenate([above, level])
    return places[np.lexsort((ranks[places], -scores[places]))]


# ------------------------------------------------------------------------------------------------ the index


class TextIndex:
    """Texts by key, found by their words.

    `add`, `discard`: the words of the text; `search`: the texts that have one of the words asked for, in numpy. Memory:
    8 bytes for each different word of a text, and some 150 for a key. One thread at a time.

    >>> index = TextIndex()
    >>> index.add_many(['a', 'b', 'c'], ['a red car', 'the car', 'blue'])
    >>> keys, scores = index.search('red car', k=2)
    >>> keys, [round(score, 3) for score in scores]
    (['a', 'b'], [1.204, 0.47])
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._keys: list[str] = []  # of dead rows too, until they are cleared away
        self._postings: dict[str, array[int]] = {}  # row, count, row, count, ...: rows ascending
        self._lengths: _Numbers = np.zeros(16, np.int64)  # 0 for a dead row
        self._ranks: _Numbers = np.zeros(16, np.int64)
        self._total = 0
        self._last = 0  # the rank that the next new key gets

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def add(self, key: str, text: str) -> None:
        """One more text, after the others; of a key that is there the text is changed and its rank stays."""
        self.add_many((key,), (text,))

    def add_many(self, keys: Iterable[str], texts: Iterable[str]) -> None:
        """Several texts, as `add` takes one: about 100 000 short ones a second."""
        batch = [(key, terms(text)) for key, text in zip(keys, texts, strict=True)]  # all that can fail
        rows, postings, own = self._rows, self._postings, self._keys
        start = row = len(own)
        lengths: list[int] = []
        ranks: list[int] = []
        for key, found in batch:
            old = rows.get(key)
            if old is None:
                rank = self._last
            elif old < start:
                rank = int(self._ranks[old])
                self._bury(key, old)
            else:  # twice in these texts: the row is not written yet
                rank = ranks[old - start]
                self._total -= lengths[old - start]
                lengths[old - start] = 0
                del rows[key]
            if not found:
                continue
            if old is None:
                self._last += 1
            rows[key] = row
            own.append(key)
            lengths.append(len(found))
            ranks.append(rank)
            self._total += len(found)
            if len(set(found)) == len(found):
                for word in found:
                    posting = postings.get(word)
                    if posting is None:
                        postings[word] = array("I", (row, 1))
                    else:
                        posting.append(row)
                        posting.append(1)
            else:
                for word, count in Counter(found).items():
                    postings.setdefault(word, array("I")).extend((row, count))
            row += 1
        if row > len(self._lengths):
            room = max(row, 2 * len(self._lengths))
            self._lengths = np.concatenate([self._lengths, np.zeros(room - len(self._lengths), np.int64)])
            self._ranks = np.concatenate([self._ranks, np.zeros(room - len(self._ranks), np.int64)])
        self._lengths[start:row] = lengths
        self._ranks[start:row] = ranks
        self._clear_away()

    def discard(self, key: str) -> None:
        """Takes a text out, if it is there."""
        row = self._rows.get(key)
        if row is not None:
            self._bury(key, row)
            self._clear_away()

    def arrange(self, keys: Iterable[str]) -> None:
        """Makes this the order of keys of equal scores; keys that have no text are passed over, those not named stay
        behind in the order they have.
        """
        place = dict.fromkeys(key for key in keys if key in self._rows)
        rest = sorted(self._rows.keys() - place.keys(), key=lambda key: int(self._ranks[self._rows[key]]))
        order = [self._rows[key] for key in (*place, *rest)]
        self._ranks[np.array(order, np.intp)] = np.arange(len(order))
        self._last = len(order)

    def _bury(self, key: str, row: int) -> None:
        del self._rows[key]
        self._total -= int(self._lengths[row])
        self._lengths[row] = 0

    def _clear_away(self) -> None:
        """Takes dead rows out of the postings when they are as many as the living: so each costs its own words once."""
        if len(self._keys) - len(self._rows) <= len(self._rows) + _FEW:
            return
        count = len(self._keys)
        living = np.flatnonzero(self._lengths[:count])
        number = np.full(count, -1, np.int64)
        number[living] = np.arange(len(living))
        postings: dict[str, array[int]] = {}
        for word, posting in self._postings.items():
            pairs = _pairs(posting)
            rows = number[pairs[:, 0]]
            stay = rows >= 0
            if stay.any():
                pairs = np.stack([rows[stay], pairs[stay, 1]], axis=1).astype(np.uintc)
                postings[word] = array("I", pairs.tobytes())
        keys = self._keys
        self._keys = [keys[row] for row in living.tolist()]
        self._rows = {key: row for row, key in enumerate(self._keys)}
        self._postings = postings
        self._lengths, self._ranks = self._lengths[living], self._ranks[living]

    def search(self, text: str, k: int | None, kept: Collection[str] | None = None) -> Found:
        """The keys of the texts that fit best, and their scores, best first.

        Args:
            text: words to look for; a text that has any one of them is found.
            k: how many at most, 0 or more; None for all that have one of the words.
            kept: only these keys are looked for; the scores do not depend on it. None for all.

        Returns:
            Keys and scores. Of equal scores the key first that was added first, or as `arrange` said.

        Raises:
            BadValue: k is below 0.
        """
        if k is not None and k < 0:
            raise BadValue(f"k={k}: how many to find is 0 or more, or None for all")
        living, count = len(self._rows), len(self._keys)
        found_rows: list[_Numbers] = []
        parts: list[_Floats] = []
        for word, asked in Counter(terms(text)).items():
            posting = self._postings.get(word)
            if posting is None:
                continue
            pairs = _pairs(posting)
            rows, counts = pairs[:, 0].astype(np.intp), pairs[:, 1]
            lengths = self._lengths[rows]
            if living < count:
                stay = lengths > 0
                rows, counts, lengths = rows[stay], counts[stay], lengths[stay]
            if len(rows):
                found_rows.append(rows)
                parts.append(weighed(asked, len(rows), living, self._total / living, counts, lengths))
        rows, scores = summed(found_rows, parts)
        if kept is not None:
            mine = self._rows
            picked = np.zeros(count, np.bool_)
            picked[np.array([mine[key] for key in kept if key in mine], np.intp)] = True
            stay = picked[rows]
            rows, scores = rows[stay], scores[stay]
        places = best(scores, self._ranks[rows], k)
        keys = self._keys
        return [keys[row] for row in rows[places].tolist()], scores[places].tolist()


def _pairs(posting: array[int]) -> _Numbers:
    # A copy: an array that numpy looks into could not grow while an exception holds on to the view.
    return np.frombuffer(posting.tobytes(), np.uintc).reshape(-1, 2)


def summed(rows: Sequence[_Numbers], parts: Sequence[_Floats]) -> tuple[_Numbers, _Floats]:
    """The rows that stand in any of these, ascending, and the sum of the parts of each, added in the order given."""
    if not rows:
        return np.zeros(0, np.intp), np.zeros(0)
    if len(rows) == 1:
        order = np.argsort(rows[0], kind="stable")
        return rows[0][order], parts[0][order]
    every = np.concatenate(rows)
    top = int(every.max()) + 1
    # Both add in the order given, so that which one it was does not show in the last bit.
    if top <= 16 * len(every):
        scores = _bincount(every, np.concatenate(parts), top)
        found = np.flatnonzero(scores)
        return found, scores[found]
    found, places = np.unique(every, return_inverse=True)
    return found, _bincount(places, np.concatenate(parts), len(found))


def _bincount(places: _Numbers, parts: _Floats, count: int) -> _Floats:
    return cast(
        "_Floats", np.bincount(places, parts, count)
    )  # whose types do not say that weights make floats
