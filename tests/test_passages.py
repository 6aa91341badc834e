"""Sentences, windows and passages of texts in many scripts, and the chunks that are made of them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray import Document, DocumentArray
from docarray.errors import BadValue, UnknownName
from docarray.media.passages import sentences, spans, windows

PIECES = st.sampled_from(
    [
        *"aBé. ?!…。」”\")]('“「\n\t1-,;I茶あ한ك।؟👍",
        "\r\n",
        "\n\n",
        " ",
        "Mr.",
        "e.g.",
        "U.S.",
        "3.14",
        "- ",
        "1. ",
        "\u0301",
        "\ufe0f",
        "\u200d",
        "\ud800",
        "\u2029",
        "\f",
        "\u00a0",
    ]
)
TEXTS = st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=60)


def split(text):
    return [text[start:stop] for start, stop in sentences(text)]


# ------------------------------------------------------------------------------------------------ sentences


@pytest.mark.parametrize(
    "marked",
    [
        "Tea is green. | Milk is white!",
        "Is it? | It is.",
        "What?! | No!!! | Yes.",
        "tea. | milk",
        # Titles, initials, acronyms
        "Mr. and Mrs. Smith met Dr. Who. | How are you?",
        "J. R. R. Tolkien and George W. Bush met. | They had tea.",
        "So am I. | He left.",
        "The U.S. Government and the U.S. | The end.",
        "She has a Ph.D. in tea, i.e. in leaves, e.g. Green ones.",
        "We met at 5 p.m. | Then we left.",
        "He works at Apple Inc. | The firm is large.",
        "Tea, milk, etc. | John left.",
        "Plan B. | Then we left.",
        "А. С. Пушкин писал стихи. | См. рис. 5.",
        # Numbers
        "Pi is 3.14. | It is not 3.15.",
        "In 1999. | John too.",
        "See Fig. 3 and No. 5. | I said no. | John left.",
        "It costs $3.50. | Pay it.",
        "Am 3. Oktober war es z. B. kalt. | Es war nass.",
        "Version 1.2.3 is out. | See example.com. | Or a.b@c.de for more.",
        "On Jan. 5 it began. | It ended in Dec. | John left.",
        # Quotes and brackets
        '"Is it hot?" he asked. | "Yes!" | He left.',
        "“Really?” she said. | “Yes.” | ‘No.’ | Fine.",
        "He left (at 5 p.m.). | (It was late.) | Good.",
        "« Bonjour ! » dit-il. | Il part.",
        "„Nein.“ | »Doch.« | Gut.",
        "It was good.[1] | Then it was bad.[12] | Good.² | Yes.",
        "**Bold.** | Next.",
        "¿Qué? | ¡No! | Sí.",
        # Ellipses
        "Wait... what? | Well… | No.",
        "And so. . . on it went.",
        # Other scripts
        "他说：“今天很好。”我走了。".replace("”我", "” | 我"),
        "真的吗？！ | 是的。 | 圆周率是３．１４。",
        "「行こう。」と言った。 | 次の日。",
        "(好。) | 「茶。」 | 水。",
        "यह अच्छा है। | वह गया। | क्या?",
        "هل هذا جيد؟ | نعم.",
        "안녕하세요. | 차를 마셔요!",
        # Small letters
        "all is small here. | it goes on. | e.g. this? | yes",
        "I like it. | iPhones are good.",
    ],
)
def test_sentences_end_where_a_reader_would_end_them(marked):
    wanted = marked.split(" | ")
    joined = marked.replace(" | ", " ")
    assert wanted == split(joined)
    assert wanted == split(f"\n\n  {joined}  \n")
    if joined.isascii() is False and any(letter in "。？！" for letter in joined):
        assert wanted == split(marked.replace(" | ", ""))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Tea\n\nMilk", ["Tea", "Milk"]),
        ("Tea\r\n \t\r\nMilk", ["Tea", "Milk"]),
        ("Tea\u2029Milk\fWater", ["Tea", "Milk", "Water"]),
        # Wrapped lines are one sentence, whatever the ends of lines are.
        ("The man who had gone to fetch some tea went to\nLondon by train.", None),
        ("The man who had gone to fetch some tea went to\r\nLondon by train.", None),
        ("We had a cup of tea, some cake, a bit of milk,\nJohn too.", None),
        ("It was a very long and rather boring conver-\nSation.", None),
        # A line that is ended although the next word would have fitted is ended on purpose.
        (
            "A title\nThe text begins here and goes on for a while so that it is wrapped\nhere. More.",
            ["A title", "The text begins here and goes on for a while so that it is wrapped\nhere.", "More."],
        ),
        ("tea\nmilk\nwater", ["tea", "milk", "water"]),
        ("- green tea\n- milk. And cream\n- water", ["- green tea", "- milk.", "And cream", "- water"]),
        (
            "1. Green tea\n2. Milk\n   and more of it\n3. Water",
            ["1. Green tea", "2. Milk", "and more of it", "3. Water"],
        ),
        (
            "What we need for the whole of the long week:\n1. tea and a lot of\nmilk\n2. water",
            ["What we need for the whole of the long week:", "1. tea and a lot of\nmilk", "2. water"],
        ),
        (
            "# Tea\nGreen is a colour that tea has when it is not black at all\n\n## Milk\nWhite.",
            ["# Tea", "Green is a colour that tea has when it is not black at all", "## Milk", "White."],
        ),
        ("| a | b |\n| 1 | 2 |", ["| a | b |", "| 1 | 2 |"]),
        ("", []),
        (" \n\t ", []),
        ("...", ["..."]),
        (". . .", [". . ."]),
    ],
)
def test_lines(text, wanted):
    assert ([text] if wanted is None else wanted) == split(text)


@given(TEXTS)
def test_nothing_but_white_space_is_between_sentences(text):
    done = 0
    for start, stop in sentences(text):
        assert not text[done:start].strip()
        assert done <= start < stop
        assert not text[start].isspace()
        assert not text[stop - 1].isspace()
        assert unicodedata.category(text[start])[0] != "M" or start == 0 or text[start - 1].isspace()
        done = stop
    assert not text[done:].strip()


@pytest.mark.parametrize(
    "piece",
    [
        ".",
        ". ",
        "\n",
        " ",
        "a",
        "。",
        '."',
        "[1]",
        ". [",
        "A. ",
        "\n- a",
        "1. a\n",
        "a.\u0301",
        "(",
        "\n" + " " * 50,
    ],
)
def test_no_text_takes_more_than_its_length(piece):
    """What looks back or ahead does so for a bounded way; else these would take hours, and the suite has a limit."""
    text = piece * (300_000 // len(piece))
    spans_of = sentences(text)
    assert text.strip() == "" or spans_of[-1][1] == len(text.rstrip())


# ------------------------------------------------------------------------------------------------ windows


def words_of(text, size, overlap):
    return [text[start:stop] for start, stop in windows(text, size, overlap)]


def test_windows_of_words():
    text = " one two  three\nfour five "
    assert ["one two", "three\nfour", "five"] == words_of(text, 2, 0)
    assert ["one two  three", "three\nfour five"] == words_of(text, 3, 1)
    assert ["one two  three", "two  three\nfour", "three\nfour five"] == words_of(text, 3, 2)
    assert [text.strip()] == words_of(text, 5, 4) == words_of(text, 99, 98)
    assert [] == words_of(" ", 2, 0) == words_of("", 2, 1)


def test_letters_of_scripts_without_spaces_are_words():
    assert ["我喝", "茶。Tea", "好"] == words_of("我喝茶。Tea 好", 2, 0)
    assert ["が\u3099っ", "こう"] == words_of("が\u3099っこう", 2, 0)


def test_windows_of_characters():
    assert [(0, 4), (4, 8), (8, 10)] == windows("0123456789", 4, 0, "characters")
    assert [(0, 4), (3, 7), (6, 10)] == windows("0123456789", 4, 1, "characters")
    assert [(0, 1)] == windows("x", 4, 3, "characters")
    assert [] == windows("", 4, 3, "characters")


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": 2.0},
        {"size": True},
        {"size": 3, "overlap": 3},
        {"overlap": -1},
        {"overlap": 1.5},
    ],
)
def test_windows_of_wrong_sizes_are_refused(options):
    with pytest.raises(BadValue):
        windows("tea", **options)


def test_an_unknown_unit_is_refused():
    with pytest.raises(UnknownName, match="words"):
        windows("tea", unit="word")


@given(TEXTS, st.integers(1, 7), st.integers(0, 6), st.sampled_from(["words", "characters"]))
def test_windows_cover_the_text_and_each_brings_something_new(text, size, overlap, unit):
    overlap = min(overlap, size - 1)
    found = windows(text, size, overlap, unit)
    done = 0
    for start, stop in found:
        assert start < stop
        assert stop > done
        assert not text[done:start].strip()
        assert unit == "words" or stop - start <= size
        done = stop
    assert not text[done:].strip()
    assert unit == "words" or done == len(text)
    whole = [text[start:stop] for start, stop in windows(text, 1, 0, unit)]
    for at, (start, stop) in enumerate(found):
        piece = text[start:stop]
        words = [piece[a:b] for a, b in windows(piece, 1, 0, unit)]
        assert whole[at * (size - overlap) : at * (size - overlap) + size] == words


@given(st.text(st.characters(categories=["L", "M", "Zs"]), max_size=40), st.integers(1, 4))
def test_a_window_of_words_does_not_begin_with_a_mark_of_another_letter(text, size):
    for start, _ in windows(text, size, 0):
        assert (
            unicodedata.combining(text[start]) == 0
            or start == 0
            or text[start - 1].isspace()
            or ord(text[start]) > 0x36F
        )


# ------------------------------------------------------------------------------------------------ documents


@given(TEXTS)
def test_chunks_are_where_they_say(text):
    for method in ("convert_text_to_sentences", "convert_text_to_windows"):
        doc = Document(text=text)
        getattr(doc, method)()
        for chunk in doc.chunks:
            start, stop = chunk.location
            assert text[start:stop] == chunk.text
        assert text == doc.text


def test_sentences_become_chunks():
    doc = Document(id="d7", text="Green tea. Hot water!")
    assert doc is doc.convert_text_to_sentences()
    assert ["Green tea.", "Hot water!"] == doc.chunks.texts
    assert [[0, 10], [11, 21]] == [chunk.location for chunk in doc.chunks]
    assert {("d7", 1, "text")} == {
        (chunk.parent_id, chunk.granularity, chunk.modality) for chunk in doc.chunks
    }
    assert "Green tea. Hot water!" == doc.text


def test_windows_become_chunks_and_those_that_are_there_stay():
    doc = Document(text="a b c", chunks=[Document(text="first")])
    doc.convert_text_to_windows(2, 1)
    assert ["first", "a b", "b c"] == doc.chunks.texts
    assert ["abc", "cd"] == Document(text="abcd").convert_text_to_windows(3, 1, "characters").chunks.texts


@pytest.mark.parametrize("method", ["convert_text_to_sentences", "convert_text_to_windows"])
def test_what_has_no_text_is_refused(method):
    for doc in (Document(id="d7"), Document(id="d7", blob=b"x"), Document(id="d7", tensor=[1.0])):
        with pytest.raises(BadValue, match="'d7' has no text"):
            getattr(doc, method)()
        assert not doc.chunks
    assert not getattr(Document(text=""), method)().chunks


def test_a_wrong_size_leaves_the_document_as_it_was():
    doc = Document(text="tea")
    with pytest.raises(BadValue):
        doc.convert_text_to_windows(3, 3)
    assert not doc.chunks


def test_chunks_of_a_document_in_a_store_are_stored(tmp_path):
    with DocumentArray(storage="sqlite", config={"connection": str(tmp_path / "da.db")}) as da:
        da.append(Document(id="d7", text="Green tea. Hot water!"))
        da["d7"].convert_text_to_sentences()
    with DocumentArray(storage="sqlite", config={"connection": str(tmp_path / "da.db")}) as da:
        assert ["Green tea.", "Hot water!"] == da["d7"].chunks.texts


# ------------------------------------------------------------------------------------------------ passages


@given(TEXTS, st.integers(4, 40), st.integers(0, 10))
def test_passages_cover_the_text(text, size, overlap):
    done = 0
    for start, stop in spans(text, size, overlap):
        assert start < stop <= start + size + size // 4
        assert not text[done:start].strip()
        assert not text[stop - 1].isspace()
        done = stop
    assert not text[done:].strip()
