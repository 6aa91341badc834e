"""Arrays in SQL databases: what is committed stays, who shares waits, and every fault says what it is."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from docarray import query
from docarray.columns import JsonColumn, TextColumn, UniformTensors
from docarray.errors import (
    BadValue,
    ClosedStore,
    CorruptData,
    DuplicateDocument,
    FieldTypeError,
    OutOfRange,
    StoreError,
    StoreLocked,
    UnknownOption,
    UnsupportedFormat,
)
from docarray.storage.sql import SqliteConfig, SqliteStore, SqlStore
from docarray.table import Table


def rows(*ids, **tags):
    columns = {"text": TextColumn([f"text of {key}" for key in ids])}
    if tags:
        columns["tags"] = JsonColumn(
            [{name: cells[i] for name, cells in tags.items()} for i in range(len(ids))]
        )
    return Table(columns, ids=list(ids))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "films.db"


@pytest.fixture
def store(path):
    with opened(path) as store:
        yield store


def opened(path, **more):
    return SqliteStore.open({"connection": path, "table_name": "films", **more})


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "paths"),
        [
            ({"text_index": ["text", "tags__title"]}, ["text", "tags__title"]),
            ({"index_text": True}, ["text"]),
            ({"tag_indices": ["title"]}, ["tags__title"]),
        ],
        ids=["text_index", "index_text", "tag_indices"],
    )
    def test_indexes_of_words_are_made_on_opening(self, path, settings, paths):
        with opened(path) as store:
            store.add(rows("a", "b", title=["green tea", "cocoa"]))
        with opened(path, **settings):
            pass
        with sqlite3.connect(path) as raw:
            found = raw.execute("SELECT field, texts FROM films__words ORDER BY number").fetchall()
        raw.close()
        assert found == [(one, 2) for one in paths]
        with opened(path, **settings) as again:
            again.add(rows("c", title=["white tea"]))
            assert [ids for ids, _ in again.search(["white"], 1, "tags__title")] == [["c"]]

    def test_a_name_where_a_list_belongs_is_refused(self, path):
        with pytest.raises(FieldTypeError, match="text_index is a list of names"):
            opened(path, text_index="text")
        with opened(path) as store:
            assert len(store) == 0

    def test_a_store_beside_has_indexes_of_its_own_settings(self, path):
        with opened(path, text_index=["text"]) as store:
            assert store.beside("inner").config.text_index == ()


class TestPlaces:
    def test_positions_are_those_of_the_moment_that_others_wrote(self, path):
        with opened(path) as store, opened(path) as other:
            store.add(rows(*(f"{i}" for i in range(2000))))
            for place in (1500, 3, 700, 1999):
                assert store.at([place]) == [f"{place}"]
                assert other.at([place]) == [f"{place}"]
            for turn in range(20):
                other.delete([f"{turn}"])
                assert store.at([700]) == [f"{turn + 701}"]
                assert store.at([0]) == [f"{turn + 1}"]
                with pytest.raises(OutOfRange):
                    store.at([1999 - turn])
            other.add(rows("new"), "20")
            assert store.at([0]) == ["new"]
            with contextlib.suppress(RuntimeError), store.transaction():
                store.delete(["new"])
                assert store.at([0]) == ["20"]
                raise RuntimeError
            assert store.at([0]) == ["new"]

    def test_a_file_of_its_own_goes_with_the_store(self):
        store = SqliteStore.open()
        path = store.connection._path
        store.add(rows("a"))
        assert os.path.exists(path)
        assert store.config is None
        store.close()
        assert not [
            name for name in os.listdir(os.path.dirname(path)) if name.startswith(os.path.basename(path))
        ]

    def test_a_config_opens_the_same_rows(self, path):
        with SqliteStore.open(SqliteConfig(path)) as store:
            store.add(rows("a", "b"))
            config = store.config
        assert (config.connection, config.table_name) == (str(path), "docs")
        with SqliteStore.open(config) as again:
            assert again.ids() == ["a", "b"]

    def test_two_arrays_stand_in_one_file(self, path):
        with opened(path) as films, SqliteStore.open({"connection": path, "table_name": "songs"}) as songs:
            films.add(rows("a"))
            songs.add(rows("b"))
            assert (films.ids(), songs.ids()) == (["a"], ["b"])

    def test_a_connection_of_somebody_else_stays_theirs(self):
        theirs = sqlite3.connect(":memory:")
        theirs.execute("CREATE TABLE own (x)")
        with SqliteStore.open({"connection": theirs, "table_name": "films"}) as store:
            store.add(rows("a"))
            theirs.execute(
                "INSERT INTO own VALUES (1)"
            )  # begins a transaction, of which the next row is part
            store.add(rows("b"))
            assert store.ids() == ["a", "b"]
            theirs.rollback()
            assert store.ids() == ["a"]
            with SqliteStore.open({"connection": theirs, "table_name": "films"}) as again:
                again.add(rows("c"))
            assert (store.at([1]), len(store)) == (["c"], 2)
        assert theirs.execute("SELECT count(*) FROM own").fetchone() == (0,)
        theirs.close()

    def test_an_odd_name_is_cleaned_with_a_warning(self, path):
        with pytest.warns(UserWarning, match="used as 'films'"):
            store = SqliteStore.open({"connection": path, "table_name": "fi;lms--"})
        with store:
            assert store.config.table_name == "films"
        with pytest.raises(BadValue, match="no letters"), pytest.warns(UserWarning, match="used as"):
            SqliteStore.open({"connection": path, "table_name": "--"})

    def test_words_of_sql_are_names_as_any_other(self, path):
        with SqliteStore.open({"connection": path, "table_name": "select"}) as store:
            store.add(rows("a"))
            assert store.ids() == ["a"]

    def test_settings_that_are_none(self, path):
        with pytest.raises(UnknownOption, match="Did you mean 'table_name'"):
            SqliteStore.open({"connection": path, "tablename": "x"})
        with pytest.raises(BadValue, match="WAL"):
            opened(path, journal_mode="WALL")
        with pytest.raises(BadValue, match="needs the setting 'url'"):
            SqlStore.open({})

    def test_a_store_that_is_dropped_leaves_nothing(self, path):
        store = opened(path)
        store.add(rows("a"))
        store.beside("@c").add(rows("b"))
        store.search(["text"], 1)
        store.drop()
        with sqlite3.connect(path) as raw:
            left = raw.execute("SELECT name FROM sqlite_master WHERE name LIKE 'films%'").fetchall()
        raw.close()
        assert left == []
        with pytest.raises(ClosedStore):
            store.ids()


class TestOrder:
    def test_two_connections_take_turns(self, path):
        """Whoever writes, both have the rows of one list."""
        draw, model, number = random.Random(3), [], 0
        with opened(path) as one, opened(path) as two:
            for step in range(250):
                store = draw.choice((one, two))
                kind = draw.choice(
                    ("add", "add", "insert", "delete", "reorder" if step % 25 == 0 else "insert")
                )
                if kind == "add" or not model:
                    fresh = [f"{number + i}" for i in range(draw.choice((1, 3, 700)))]
                    store.add(rows(*fresh))
                    model += fresh
                    number += len(fresh)
                elif kind == "insert":
                    at = draw.randrange(len(model))
                    fresh = [f"{number + i}" for i in range(draw.choice((1, 2, 90)))]
                    store.add(rows(*fresh), before=model[at])
                    model[at:at] = fresh
                    number += len(fresh)
                elif kind == "delete":
                    gone = set(draw.sample(model, min(len(model), draw.choice((1, 5, 400)))))
                    store.delete(sorted(gone))
                    model = [key for key in model if key not in gone]
                else:
                    draw.shuffle(model)
                    store.reorder(model)
                for other in (one, two):
                    assert len(other) == len(model)
                    at = draw.randrange(len(model)) if model else 0
                    if model:
                        assert other.at([at]) == [model[at]]
                        assert other.position(model[at]) == at
            assert one.ids() == two.ids() == model

    def test_one_gap_takes_thousands_of_rows(self, store):
        store.add(rows("first", "last"))
        model = ["first", "last"]
        with store.transaction():
            for i in range(2600):
                at = model[1] if i % 2 else "last"
                store.add(rows(f"{i}"), before=at)
                model.insert(model.index(at), f"{i}")
        assert store.ids() == model
        assert store.at(range(len(model))) == model
        assert [key for table in store.scan([], batch=100) for key in table.ids] == model

    def test_rows_are_reordered_during_a_scan_and_each_is_given_once(self, store):
        ids = [f"{i}" for i in range(300)]
        store.add(rows(*ids))
        seen = []
        for table in store.scan(["text"], batch=50):
            seen += table.ids
            store.reorder(store.ids()[::-1])
        assert sorted(seen) == sorted(ids)

    def test_the_last_deletions_are_told_and_no_others(self, store, monkeypatch):
        monkeypatch.setattr("docarray.storage.sql._KEPT", 10)
        store.add(rows(*(f"{i}" for i in range(60))))
        mark = store.mark()
        for i in range(40):
            early = store.mark() if i == 35 else None
            store.delete([f"{i}"])
            if early is not None:
                late = early
        assert store.changes(mark) is None
        assert store.changes(late).deleted == ["35", "36", "37", "38", "39"]


class TestColumns:
    def test_columns_are_added_to_an_array_that_is_there(self, path):
        with opened(path) as store:
            store.add(rows("a", "b", "c", price=[1, 2.5, "dear"]))
        with opened(path, columns={"price": "float"}) as store:
            assert _column(store, "col_0") == [1.0, 2.5, None]
            assert store.where(query.parse({"tags__price": {"$gt": 1}})) == ["b"]
            assert store.where(query.parse({"tags__price": "dear"})) == ["c"]
            store.update(rows("a", price=[7]))
            assert _column(store, "col_0") == [7.0, 2.5, None]
        with opened(path) as store:  # without a word they stay
            store.add(rows("d", price=[3]))
            assert _column(store, "col_0") == [7.0, 2.5, None, 3.0]

    def test_two_arrays_with_different_columns_on_one_table(self, path):
        with opened(path, columns={"price": "float"}), pytest.raises(BadValue, match="'price' as 'float'"):
            opened(path, columns={"price": "str"})


def _column(store, name):
    table = store.layout.rows
    import sqlalchemy as sa

    return [row[0] for row in store.connection.query(sa.select(table.c[name]).order_by(table.c.ord))]


class TestFaults:
    def test_a_locked_file_says_who_and_how_long(self, path):
        with opened(path) as one, opened(path, timeout=0.2) as two:
            with one.transaction():
                one.add(rows("a"))
                with pytest.raises(StoreLocked, match=r"films.db was locked for 0.2 s by another connection"):
                    two.add(rows("b"))
                assert two.ids() == []
            two.add(rows("b"))
            assert one.ids() == ["a", "b"]

    def test_a_file_that_another_process_locks_names_it(self, path):
        opened(path).close()
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
            "print('locked', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline() == "locked\n"
            with opened(path, timeout=0.1) as store, pytest.raises(StoreLocked) as caught:
                store.add(rows("a"))
            other.communicate("")
        if sys.platform == "linux":
            assert f"process {other.pid}" in str(caught.value)

    def test_a_full_disk_leaves_all_as_it_was(self, store):
        store.add(rows("a"))
        pages = store.connection.run("PRAGMA page_count").fetchone()[0]
        store.connection.run(f"PRAGMA max_page_count = {pages + 3}").fetchone()
        big = Table({"text": TextColumn(["x" * 9000] * 50)}, ids=[f"{i}" for i in range(50)])
        with pytest.raises(StoreError, match="no room left"):
            store.add(big)
        assert (store.ids(), len(store), store.at([0])) == (["a"], 1, ["a"])
        store.connection.run("PRAGMA max_page_count = 1000000").fetchone()
        store.add(big)
        assert len(store) == 51

    def test_a_file_that_is_no_database(self, path):
        path.write_bytes(b"These are no rows. " * 1000)
        with pytest.raises(CorruptData, match="no SQLite database"):
            opened(path)

    def test_a_damaged_file_is_an_error_and_no_crash(self, path):
        with opened(path) as store:
            store.add(rows(*(f"{i}" for i in range(2000))))
        raw = bytearray(path.read_bytes())
        for at in range(4096 * 3, len(raw), 4096):
            raw[at : at + 64] = b"\xff" * 64
        path.write_bytes(raw)
        with pytest.raises((CorruptData, StoreError)), opened(path) as store:
            store.read(store.ids())

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(StoreError, match="cannot be opened"):
            opened(tmp_path / "none" / "films.db")

    def test_a_file_that_is_only_read(self, path):
        with opened(path) as store:
            store.add(rows("a"))
        with SqliteStore.open(
            {"connection": f"file:{path}?mode=ro", "table_name": "films", "conn_config": {"uri": True}}
        ) as store:
            assert store.read(["a"]).columns["text"].values() == ["text of a"]
            with pytest.raises(StoreError, match="cannot be written"):
                store.add(rows("b"))
            assert len(store) == 1

    def test_a_later_format_is_refused(self, path):
        opened(path).close()
        with sqlite3.connect(path) as raw:
            raw.execute("UPDATE films__facts SET value = '99' WHERE name = '.format'")
        raw.close()
        with pytest.raises(UnsupportedFormat, match="format 99"):
            opened(path)

    def test_a_table_of_docarray_0_is_recognised(self, path):
        with sqlite3.connect(path) as raw:
            raw.execute("CREATE TABLE films (doc_id TEXT, serialized_value BLOB, item_order INTEGER)")
            raw.execute("CREATE TABLE songs (name TEXT)")
        raw.close()
        with pytest.raises(UnsupportedFormat, match=r"docarray 0\.x.*from_old_sqlite"):
            opened(path)
        with pytest.raises(UnsupportedFormat, match="the columns name"):
            SqliteStore.open({"connection": path, "table_name": "songs"})

    def test_a_duplicate_is_named_and_nothing_is_written(self, store):
        store.add(rows("a"))
        with pytest.raises(DuplicateDocument, match="'a' already"):
            store.add(rows("b", "a"))
        assert store.ids() == ["a"]


class TestCrashes:
    def test_what_was_committed_survives_a_kill(self, path):
        """A process is killed while it writes; all that it said was written is there, in order."""
        code = (
            "import sys; from docarray.storage.sql import SqliteStore; from docarray.table import Table\n"
            "from docarray.columns import TextColumn\n"
            "store = SqliteStore.open({'connection': sys.argv[1], 'table_name': 'films'})\n"
            "i = len(store)\n"
            "while True:\n"
            "    store.add(Table({'text': TextColumn(['x' * 300] * 3)}, ids=[f'{i + j}' for j in range(3)]))\n"
            "    i += 3\n"
            "    print(i, flush=True)\n"
        )
        draw, said = random.Random(1), 0
        for _ in range(6):
            with subprocess.Popen(
                [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
            ) as writer:
                writer.stdout.readline()
                time.sleep(draw.random() * 0.2)
                writer.send_signal(signal.SIGKILL)
                lines = writer.stdout.read().splitlines()
            whole = [int(line) for line in lines if line.isdigit()]
            said = max([said, *whole[:-1]])  # of the last line a part may be missing
            with opened(path) as store:
                ids = store.ids()
                assert len(ids) == len(store) >= said
                assert len(ids) % 3 == 0
                assert ids == [f"{i}" for i in range(len(ids))]
                assert store.connection.run("PRAGMA integrity_check").fetchone() == ("ok",)

    def test_processes_write_at_once_and_nothing_is_lost(self, path):
        opened(path).close()
        code = (
            "import sys; from docarray.storage.sql import SqliteStore; from docarray.table import Table\n"
            "store = SqliteStore.open({'connection': sys.argv[1], 'table_name': 'films'})\n"
            "for i in range(60):\n"
            "    before = store.at([0])[0] if i % 3 == 0 and len(store) else None\n"
            "    store.add(Table({}, ids=[f'{sys.argv[2]} {i}']), before)\n"
        )
        writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
        assert [writer.wait() for writer in writers] == [0, 0]
        with opened(path) as store:
            ids = store.ids()
            assert sorted(ids) == sorted(f"{name} {i}" for name in "ab" for i in range(60))
            assert store.at(range(len(ids))) == ids
            for name in "ab":
                appended = [key for key in ids if key.startswith(name) and int(key[2:]) % 3]
                assert appended == [f"{name} {i}" for i in range(60) if i % 3]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_child_opens_its_own_connection(self, store):
        store.add(rows("a"))
        pid = os.fork()
        if pid == 0:
            try:
                store.add(rows("child"))
                os._exit(0 if store.ids() == ["a", "child"] else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert store.ids() == ["a", "child"]


class TestMarks:
    def test_a_mark_of_what_was_taken_back_never_comes_true(self, store):
        store.add(rows("a"))
        marks = []

        def spoil():
            with store.transaction():
                store.add(rows("b", "c", "d"))
                marks.append(store.mark())
                store.add(rows("b"))

        with pytest.raises(DuplicateDocument):
            spoil()
        (mark,) = marks
        assert store.ids() == ["a"]
        assert store.changes(mark) is None
        store.add(rows("e"))
        assert store.mark() > mark

    def test_own_changes_are_no_new_version(self, path):
        with opened(path) as one, opened(path) as two:
            before = one.version()
            one.add(rows("a"))
            assert one.version() == before
            two.add(rows("b"))
            assert one.version() != before


class TestBytes:
    def test_a_document_takes_little_more_than_its_cells(self, path):
        ids = [f"{i:032x}" for i in range(5000)]
        with opened(path) as store:
            store.add(
                Table(
                    {
                        "text": TextColumn(["fifty letters of a text, as most of them are here"] * 5000),
                        "tags": JsonColumn(
                            [{"price": i * 1.5, "category": "abc"[i % 3]} for i in range(5000)]
                        ),
                        "embedding": UniformTensors(
                            np.random.default_rng(0).normal(size=(5000, 128)).astype("f4")
                        ),
                    },
                    ids=ids,
                )
            )
        assert path.stat().st_size / 5000 <= 900
