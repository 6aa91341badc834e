"""Sentences, windows and passages of a text: where they begin and end, and a chunk for each.

Rule 1: a text is never changed, only pointed into: `text[start:stop]` of every pair is what the chunk says.
Rule 2: rules, not models. They know the stops of many scripts; abbreviations are those of a few European languages.
Rule 3: in doubt two sentences stay one: a reader of half a sentence is worse off than one of two.
"""

# pyright: reportPrivateUsage=false
# An empty text shows in the slot of the content alone.

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, cast

from docarray.document import Document
from docarray.errors import BadValue, UnknownName, near_miss

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["convert_text_to_sentences", "convert_text_to_windows", "sentences", "spans", "windows"]

# ------------------------------------------------------------------------------------------------ sentences

_WIDE: Final = "。！？｡︒．"  # no space is written behind them
_NARROW: Final = ".!?…‽⸮؟۔।॥።፧։။។៕"
_STOP: Final = re.compile(
    rf"(?P<mark>[{_WIDE}{_NARROW}]+)"
    # A mark of quotation that touches a stop closes; behind a wide one those that open can stand as well.
    rf"(?P<closed>(?<=[{_WIDE}])[」』）】〉》〕］｝”’\"')\]}}]*"
    rf"|(?:[\"'”’“‘»«›‹)\]}}⁾*_]|[ \u00a0\u202f]»(?=\s|\Z)|\[\d{{1,4}}\]|[¹²³⁰⁴-⁹])*)"
)
_OPENERS: Final = re.compile(r"[\"'“‘„‚«»‹›(\[{¿¡「『（*_\s]*")
_NEXT_WORD: Final = re.compile(r"[^\W_]+")
_TOKEN: Final = re.compile(r"[^\W_]+(?:[.'’&-][^\W_]+)*$")
_LOOKED_BACK: Final = 32

_LINE_END: Final = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_PAGE_ENDS: Final = frozenset("\f\u2029")
_BULLET: Final = re.compile(r"\s*(?:[-*+•◦▪‣⁃·–—]\s|#{1,6}\s|[|])")
_NUMBERED: Final = re.compile(r"\s*\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)]\s")
_HEADING: Final = re.compile(r"\s*#{1,6}\s")
_NARROWEST: Final = 30  # characters of the lines of a text that somebody wrapped

_TITLES: Final = frozenset(
    "mr mrs ms mx messrs mme mlle dr dra prof rev gen maj capt lt sgt cpl cmdr adm gov sen supt insp hr fr sra "
    "srta".split()
)
_ABBREVIATIONS: Final = frozenset(
    "st sr jr vs cf al approx ca dept univ inc ltd co corp bros ave blvd mt viz est ext tel misc orig hon col pres "
    "bzw vgl bspw evtl ggf inkl sog abb zzgl env av ud uds г гг ул им стр рис тыс млн млрд руб см др".split()
)
_BEFORE_NUMBERS: Final = frozenset(
    "no nos nr vol vols ch chap sec fig figs eq eqs p pp art arts ed para str bd pl tab s n "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_NEVER_LAST: Final = frozenset("e.g i.e z.b d.h u.a s.o p.ej п.е т.е".split())
_MONTHS: Final = frozenset(
    "januar jänner februar märz april mai juni juli august september oktober november dezember".split()
)
_STARTERS: Final = frozenset(
    "a after all although an and another any are as at because before both but by can could did do does during each "
    "even every few first for from had has have he her here his how however i if in instead is it its last later "
    "like many may meanwhile more moreover most my neither never no nobody none not nothing now of on once one only or "
    "other our over perhaps several she should since so some still such that the their then there therefore these they "
    "this those though thus to today under until was we were what when where whether which while who whose why will "
    "with without would yes yesterday yet you your".split()
)


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text begin and end, in characters.

    A sentence ends with a stop, and the quotes and brackets that close behind it; not with that of an abbreviation, an
    initial or a number. Stops of scripts without spaces need none behind them. A blank line, a heading, an item of a
    list, and a line that was broken off although the next word would have fitted end a sentence too; other line ends
    are within it.

    Returns:
        (start, stop) of each, in their order; nothing but white space lies between and around them.

    Costs about a second for 5 MB.

    >>> text = 'Mr. J. Bond paid £3.50, e.g. for tea. "Is it hot?" he asked. Yes!'
    >>> [text[start:stop] for start, stop in sentences(text)]
    ['Mr. J. Bond paid £3.50, e.g. for tea.', '"Is it hot?" he asked.', 'Yes!']
    """
    found: list[tuple[int, int]] = []
    for low, high in _blocks(text):
        cased = not text[low:high].islower()  # else a small letter begins sentences too
        start = low
        for match in _STOP.finditer(text, low, high):
            stop = match.end()
            while stop < high and unicodedata.category(text[stop])[0] == "M":
                stop += 1
            after = stop
            while after < high and text[after].isspace():
                after += 1
            if after < high and _is_last(text, start, high, match, stop, after, cased):
                found.append((start, stop))
                start = after
        found.append((start, high))
    return found


def _is_last(
    text: str, start: int, high: int, stop: re.Match[str], end: int, after: int, cased: bool
) -> bool:
    """Whether a stop ends a sentence of which more of the text follows, from `after` on."""
    mark, closed = stop["mark"], stop["closed"]
    at = stop.start()
    if any(letter in _WIDE for letter in mark):
        if mark == "．" and text[at - 1 : at].isdigit() and text[end : end + 1].isdigit():
            return False
        return not (closed and text[after] in "とっ、，")  # what was said is said by somebody
    if after == end or text[after] in _NARROW:  # '3.14', '. . .'
        return False
    opened = _OPENERS.match(text, after, high)
    word = _NEXT_WORD.match(text, after if opened is None else opened.end(), high)
    following = "" if word is None else word[0]
    goes_on = cased and following[:1].islower() and not any(letter.isupper() for letter in following[:4])
    if mark.strip(".…"):
        return not (closed and goes_on)
    if goes_on:
        return False
    if len(mark) > 1 or mark == "…" or closed:
        return True
    token = _TOKEN.search(text, max(start, at - _LOOKED_BACK), at)
    if token is None:
        return True
    last = token[0].lower()
    if last.isdigit():
        is_first = token.start() == start and len(last) <= 3  # '1. Tea' of a list
        return not is_first and following.lower() not in _MONTHS
    if last in _TITLES or last in _NEVER_LAST:
        return False
    if last in _BEFORE_NUMBERS:
        return not following[:1].isdigit()
    if last in _ABBREVIATIONS or _is_initials(token[0]):
        ahead = text[word.end() : word.end() + 1] if word is not None else ""
        return following.lower() in _STARTERS and ahead != "."
    return True


def _is_initials(word: str) -> bool:
    """Whether a word before a stop is of single letters: 'J', 'U.S', 'Ph.D'; not the I of 'so am I'."""
    parts = word.split(".")
    if len(parts) == 1:
        return len(word) == 1 and word.lower() != word.upper() and word != "I"
    return all(len(part) <= 2 and part.isalpha() for part in parts)


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """The stretches of a text that no sentence goes beyond, without the space around them."""
    lines: list[tuple[int, int]] = []  # of the paragraph so far
    at = 0
    while True:
        match = _LINE_END.search(text, at)
        low, high = _trimmed(text, at, len(text) if match is None else match.start())
        if low == high:
            yield from _divided(text, lines)
            lines = []
        else:
            lines.append((low, high))
        if match is None:
            break
        if match[0] in _PAGE_ENDS:
            yield from _divided(text, lines)
            lines = []
        at = match.end()
    yield from _divided(text, lines)


def _divided(text: str, lines: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The stretches of the lines of a paragraph: items of a list, headings, and lines that were ended on purpose."""
    if not lines:
        return
    width = max(high - low for low, high in lines)
    start = lines[0][0]
    is_list = False
    for (low, high), (following, until) in pairwise(lines):
        is_list = is_list or (_NUMBERED.match(text, low, high) or _BULLET.match(text, low, high)) is not None
        if _is_broken(text, low, high, following, until, width, is_list):
            yield start, high
            start = following
    yield start, lines[-1][1]


def _is_broken(text: str, low: int, high: int, following: int, until: int, width: int, is_list: bool) -> bool:
    """Whether a line from `low` to `high`, of a paragraph `width` wide, was ended on purpose."""
    if _HEADING.match(text, low, high) or _BULLET.match(text, following, until):
        return True
    last = text[high - 1]
    if _NUMBERED.match(text, following, until):
        return is_list or last in f"{_NARROW}{_WIDE}:："
    if last in ",;-–—、，":
        return False
    if width < _NARROWEST:
        return True
    if text[following].islower():
        return False
    word = _WORD.search(text, following, until)
    length = (until if word is None else word.start()) - following
    return high - low + 1 + length <= width  # it would have fitted


def _trimmed(text: str, low: int, high: int) -> tuple[int, int]:
    while low < high and text[low].isspace():
        low += 1
    while high > low and text[high - 1].isspace():
        high -= 1
    return low, high


# ------------------------------------------------------------------------------------------------ windows

_IDEOGRAPH: Final = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS: Final = r"\u0300-\u036f\u3099\u309a\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef"
_WORDS: Final = re.compile(rf"[{_IDEOGRAPH}][{_MARKS}]*[。、，！？：；」』）】》]*|[^\s{_IDEOGRAPH}]+")
_UNITS: Final = ("words", "characters")


def windows(
    text: str, size: int = 200, overlap: int | None = None, unit: Literal["words", "characters"] = "words"
) -> list[tuple[int, int]]:
    """Where windows of a text begin and end, in characters; the last reaches the end, and may be shorter.

    Args:
        size: words, or characters, of a window.
        overlap: how many of them a window has in common with the one before; less than `size`, of which it is a
            quarter unless given.
        unit: 'words' are what stands between white space, and single letters of scripts that write without it;
            'characters' are code points.

    Raises:
        BadValue: no such size or overlap. UnknownName: no such unit.

    >>> windows('green tea wants 80 degrees', size=3, overlap=1)
    [(0, 15), (10, 26)]
    """
    if overlap is None:
        overlap = size // 4 if isinstance(cast("object", size), int) else 0
    for name, value, least in (("size", size, 1), ("overlap", overlap, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadValue(f"{name}={value!r}: it is an int of {least} or more")
    if overlap >= size:
        raise BadValue(
            f"overlap={overlap} leaves nothing new in a window of size={size}: it is less than that"
        )
    if unit not in _UNITS:
        raise UnknownName(f"no unit of windows is called {unit!r}. {near_miss(unit, _UNITS)}")
    step = size - overlap
    if unit == "characters":
        starts = range(0, max(len(text) - overlap, min(len(text), 1)), step)
        return [(start, min(start + size, len(text))) for start in starts]
    words = [match.span() for match in _WORDS.finditer(text)]
    starts = range(0, max(len(words) - overlap, min(len(words), 1)), step)
    return [(words[start][0], words[min(start + size, len(words)) - 1][1]) for start in starts]


# ------------------------------------------------------------------------------------------------ passages

_PARAGRAPH: Final = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE: Final = re.compile(r"[.!?…][\"'”’»)\]]*\s+|[。！？]|\n\s*")
_WORD: Final = re.compile(r"\s+")


def spans(text: str, size: int = 1000, overlap: int = 150) -> Iterator[tuple[int, int]]:
    """Where the passages of a text begin and end: about `size` characters each, cut where a paragraph ends, or else a
    sentence, or else a word. Each begins with up to `overlap` characters of the one before, if that is a long one.

    What ends a sentence here is a stop with space behind it: borders are looked for near the size that is wanted, and
    one at an abbreviation is as good as any.

    >>> text = 'One. Two two two. Three.'
    >>> [text[start:end] for start, end in spans(text, size=12, overlap=5)]
    ['One. Two two', 'two two. Three.']
    """
    start, last = len(text) - len(text.lstrip()), len(text.rstrip())
    while start < last:
        if last - start <= size + size // 4:  # what would be left is too little to say anything
            yield start, last
            return
        end = _border(text, start + size // 3, start + size)
        while text[end - 1].isspace():
            end -= 1
        yield start, end
        start = _resumed(text, end - overlap if end - start > 2 * overlap else end, end)


def _border(text: str, low: int, high: int) -> int:
    for pattern in (_PARAGRAPH, _SENTENCE, _WORD):
        at = -1
        for match in pattern.finditer(text, low, high + 1):
            at = match.end()
        if at > 0:
            return at
    return high


def _resumed(text: str, low: int, end: int) -> int:
    """Where the next passage begins: a sentence before `end`, a word, or `end` itself."""
    for pattern in (_SENTENCE, _WORD):
        match = pattern.search(text, low, end)
        if match is not None and match.end() < end:
            return match.end()
    while end < len(text) and text[end].isspace():
        end += 1
    return end


# ------------------------------------------------------------------------------------------------ documents


def convert_text_to_sentences(doc: Document) -> None:
    """Adds a chunk for each sentence of the text, with `location` [start, stop] in characters; see `sentences`.

    Raises:
        BadValue: the document has no text.
    """
    text = _text_of(doc)
    _add(doc, text, sentences(text))


def convert_text_to_windows(
    doc: Document, size: int = 200, overlap: int | None = None, unit: Literal["words", "characters"] = "words"
) -> None:
    """Adds a chunk for each window of the text, with `location` [start, stop] in characters; see `windows`.

    Raises:
        BadValue: the document has no text; or no such size or overlap. UnknownName: no such unit.
    """
    text = _text_of(doc)
    _add(doc, text, windows(text, size, overlap, unit))


def _text_of(doc: Document) -> str:
    content = doc._content
    if not isinstance(content, str):
        kind = doc.content_type
        what = f"its content is in {kind!r}" if kind else "it has no content; load_uri_to_text() gets some"
        raise BadValue(f"document {doc.id!r} has no text: {what}")
    return content


def _add(doc: Document, text: str, places: Iterable[tuple[int, int]]) -> None:
    doc.chunks.extend(
        [Document(text=text[start:stop], modality="text", location=[start, stop]) for start, stop in places]
    )
