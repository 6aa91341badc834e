"""The inverted index: BM25 by its formula, after any adding, changing and taking out."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray.bm25 import TextIndex, best, summed, terms, weighed
from docarray.errors import BadValue

TEXTS = st.lists(
    st.sampled_from(
        ["red", "Red", "car", "the", "blue", "über", "ÜBER", "東京", "don't", '"', "AND", "...", ""]
    ),
    max_size=9,
).map(" ".join)
KEYS = st.sampled_from([f"k{i}" for i in range(12)])


def plain(texts, query, k, kept=None):
    """BM25 as it is written, one text after the other; `texts` in their order."""
    texts = {key: words for key, text in texts.items() if (words := terms(text))}
    scores = {}
    for key, words in texts.items():
        mean = sum(map(len, texts.values())) / len(texts)
        for word, asked in Counter(terms(query)).items():
            having = sum(word in other for other in texts.values())
            times = words.count(word)
            if times:
                idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
                # In the order of `weighed`, so that what is equal here is equal there, to the last bit.
                part = (asked * idf * 2.2) * times / (times + 1.2 * (0.25 + (0.75 / mean) * len(words)))
                scores[key] = scores.get(key, 0) + part
    found = sorted(
        (key for key in scores if kept is None or key in kept), key=lambda key: -round(scores[key], 9)
    )
    return found[:k], [scores[key] for key in found[:k]]


def same(expected, found):
    assert expected[0] == found[0]
    assert expected[1] == pytest.approx(found[1], rel=1e-9)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(KEYS, st.one_of(st.none(), TEXTS)), max_size=40),
    st.lists(TEXTS, min_size=1, max_size=3),
    st.sampled_from([None, 0, 1, 3, 100]),
    st.one_of(st.none(), st.sets(KEYS)),
)
def test_the_index_is_the_formula(changes, queries, k, kept):
    """A key that is changed keeps its place; one that is taken out and comes again is the last."""
    index, texts = TextIndex(), {}
    for key, text in changes:
        if text is None:
            index.discard(key)
            texts.pop(key, None)
        else:
            index.add(key, text)
            if not terms(text):
                texts.pop(key, None)
            else:
                texts[key] = text
    assert len(index) == len(texts)
    assert set(texts) == {key for key in (f"k{i}" for i in range(12)) if key in index}
    for query in queries:
        same(plain(texts, query, k, kept), index.search(query, k, kept))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(KEYS, TEXTS), max_size=30), TEXTS)
def test_many_at_once_is_one_after_the_other(pairs, query):
    one, many = TextIndex(), TextIndex()
    for key, text in pairs:
        one.add(key, text)
    half = len(pairs) // 2
    for part in (pairs[:half], pairs[half:]):
        many.add_many([key for key, _ in part], [text for _, text in part])

    assert one.search(query, None) == many.search(query, None)


@settings(deadline=None, max_examples=50)
@given(st.randoms(use_true_random=False), TEXTS)
def test_what_was_taken_out_leaves_no_trace(random, query):
    """Neither in the scores, to the last bit, nor in the memory."""
    words = ["red", "car", "the", "blue", "über"]
    texts = {f"k{i}": " ".join(random.choices(words, k=random.randint(1, 6))) for i in range(20)}
    index = TextIndex()
    for _ in range(30):
        for key in random.sample(sorted(texts), 10):
            index.discard(key)
            index.add(key, random.choice(words))
    index.add_many(texts, texts.values())
    index.arrange(texts)
    fresh = TextIndex()
    fresh.add_many(texts, texts.values())

    assert fresh.search(query, None) == index.search(query, None)
    assert len(index._keys) <= 2 * len(texts) + 64
    assert sum(map(len, index._postings.values())) <= 2 * 5 * len(index._keys)


def test_arrange_says_which_of_equals_is_first():
    index = TextIndex()
    index.add_many("abcd", ["red"] * 4)

    index.arrange(["c", "nobody", "a"])
    assert ["c", "a", "b", "d"] == index.search("red", None)[0]
    index.add("e", "red")
    index.add("a", "red")  # changed, it stays where it is
    assert ["c", "a", "b", "d", "e"] == index.search("red", None)[0]
    assert ["c", "a"] == index.search("red", 2)[0]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 2.0]), max_size=40),
    st.randoms(use_true_random=False),
    st.integers(0, 50),
)
def test_best_is_a_sort(scores, random, k):
    ranks = random.sample(range(100), len(scores))
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], ranks[i]))

    assert expected[:k] == best(np.array(scores), np.array(ranks, np.int64), k).tolist()
    assert expected == best(np.array(scores), np.array(ranks, np.int64), None).tolist()


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 9), st.floats(0.1, 9), min_size=1), max_size=4))
def test_a_sum_is_the_same_in_a_long_and_a_short_index(parts):
    """Few rows far apart are summed another way than many close together: to the last bit the same."""
    rows = [np.array(list(part), np.intp) for part in parts]
    values = [np.array(list(part.values())) for part in parts]

    near, far = summed(rows, values), summed([row * 1000 for row in rows], values)

    assert near[0].tolist() == (far[0] // 1000).tolist()
    assert near[1].tolist() == far[1].tolist()


def test_a_repeated_word_counts_as_often_as_it_is_asked():
    index = TextIndex()
    index.add_many("abc", ["red car", "blue", "blue car"])

    once, twice = index.search("red", None)[1], index.search("red RED", None)[1]

    assert [2 * score for score in once] == twice


def test_scores_are_never_negative():
    """A word that all texts have still counts a little."""
    index = TextIndex()
    index.add_many("abc", ["the", "the", "the the"])

    assert min(index.search("the", None)[1]) > 0
    assert weighed(1, 10**6, 10**6, 5.0, np.array([1]), np.array([5]))[0] > 0


def test_empty_things():
    index = TextIndex()
    assert ([], []) == index.search("red", 5)
    index.add("a", "")
    index.add("b", " ... ")
    assert 0 == len(index)
    index.add("a", "red")
    assert ([], []) == index.search("", 5)
    assert ([], []) == index.search("red", 0)
    assert ([], []) == index.search("red", 5, [])
    index.discard("a")
    index.discard("a")
    assert ([], []) == index.search("red", 5)


def test_a_number_below_zero_is_refused():
    with pytest.raises(BadValue, match="k=-1"):
        TextIndex().search("red", -1)


def test_a_text_that_cannot_be_read_leaves_the_index_as_it_was():
    index = TextIndex()
    index.add("a", "red")
    with pytest.raises(AttributeError):
        index.add_many(["b", "c"], ["red", None])

    index.add("c", "red blue")

    assert ["a", "c"] == index.search("red", None)[0]


# --- words --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(max_size=30))
def test_words_are_the_same_in_either_normal_form(text):
    assert terms(unicodedata.normalize("NFC", text)) == terms(unicodedata.normalize("NFD", text))


@settings(deadline=None)
@given(st.text(max_size=30))
def test_words_are_cut_already(text):
    """A word is one word, so that what is stored of a text can be read again."""
    for word in terms(text):
        assert word
        assert not any(sign.isspace() for sign in word)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop-me_now!", ["don't", "stop", "me", "now"]),
        ("‘don’t’", ["don't"]),
        ("“Straße” STRASSE", ["strasse", "strasse"]),
        ("cafe café", ["cafe", "café"]),
        ("ｆｕｌｌ　ｗｉｄｔｈ，①", ["full", "width", "1"]),
        ("«да», нет…", ["да", "нет"]),
        ("東京タワー・ラジオ", ["東", "京", "タワー", "ラジオ"]),
        ("한국어 문장.", ["한국어", "문장"]),
        ("co\xadoperate zero\u200bwidth", ["cooperate", "zero", "width"]),
        ("ΟΔΟΣ οδός", ["οδοσ", "οδόσ"]),
    ],
)
def test_words_of_many_scripts(text, expected):
    assert expected == terms(text)
