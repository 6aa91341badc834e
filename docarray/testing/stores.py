"""StoreContract: every promise of docarray/store.py as a test, to be joined by a subclass that opens the storage.

Rule 1: the name of a test is the claim, its body shows no more than that.
Rule 2: what a storage has made faster is compared with the method of `Store` that it overrides.
Rule 3: what a storage cannot do is said by one of the attributes of the class, each of which says what it means.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from docarray import query
from docarray.errors import (
    BadValue,
    ClosedStore,
    DuplicateDocument,
    FieldTypeError,
    LengthError,
    MissingDocument,
    MissingEmbedding,
    OutOfRange,
    ShapeError,
    Unsupported,
)
from docarray.nearest import nearest
from docarray.records import records_of
from docarray.store import Changes, Store
from docarray.table import Table
from docarray.testing.machine import StoreMachine
from docarray.testing.rows import everything, filters, orders, people, rows
from docarray.testing.sameness import difference

__all__ = ["StoreContract"]

METRICS: Final = ("cosine", "euclidean", "sqeuclidean", "inner_product")
ODD_IDS: Final[list[str]] = [
    *(
        "",
        " ",
        "a",
        "A",
        "a ",
        "ä",
        "a\u0308",
        "Ä",
        "it's",
        'a "b"',
        "a/b",
        "%",
        "_",
        "?",
        ":x",
        "漢字",
        "0",
        "00",
    ),
    *("-1", "@c", "a\nb", "x" * 300, "NULL", "\U0001f600", "..", "[0]", "{text}"),
]
QUIET: Final = settings(
    deadline=None,
    suppress_health_check=cast("Any", list(HealthCheck)),
    phases=[Phase.reuse, Phase.generate, Phase.shrink],  # to explain would take longer than all the rest
)


class StoreContract:
    """What is promised of every store. A subclass says how its own is opened; that is all it has to.

    class TestShelf(StoreContract):
        def open(self, folder):
            return ShelfStore(folder / "shelf")
    """

    survives: bool = True
    """Whether rows are there again when the same place is opened again after `close`."""
    shared: bool = False
    """Whether a place may be open twice at the same time; each then sees what the other has written."""
    exact: bool = True
    """Whether `nearest` finds exactly the nearest. If not, nine of ten must be right, and what is found is true."""
    any_id: bool = True
    """Whether an id may be any text at all, with NUL and lone surrogates in it."""
    nests: bool = True
    """Whether `beside` opens another store in the same place, which takes part in transactions."""
    dimensions: tuple[int, ...] = (8,)
    """The shape of the embeddings that are searched. A storage that is opened for one shape says it here."""
    metrics: tuple[str, ...] = METRICS
    """The metrics that `nearest` is asked for."""
    any_embedding: bool = True
    """Whether an embedding may be of any shape, dtype and framework, and of another in each row."""

    def open(self, folder: Path) -> Store:
        """The store in this folder, which exists and was empty at first. Asked again, the same rows again.

        The name of the folder is another one in each test: a server may take it as the name of its table.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has to say how its store is opened: def open(self, folder)"
        )

    def close(self, store: Store) -> None:
        """Called with each store that a test has done with; closes it."""
        store.close()

    # ------------------------------------------------------------------------------------------ what tests stand on

    @pytest.fixture
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """An empty folder for one test."""
        return tmp_path_factory.mktemp("store")

    @pytest.fixture
    def store(self, folder: Path) -> Iterator[Store]:
        """An empty store."""
        store = self.open(folder)
        yield store
        self.close(store)

    @pytest.fixture
    def other(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
        """An empty store in another place."""
        store = self.open(tmp_path_factory.mktemp("other"))
        yield store
        self.close(store)

    @pytest.fixture
    def filled(self, store: Store) -> Store:
        """A store of rows of all sorts to search and filter."""
        store.write(people())
        return store

    @pytest.fixture
    def embedded(self, store: Store) -> Store:
        """A store of which most rows have an embedding."""
        store.write(self.vectors(300))
        return store

    def vectors(self, count: int, seed: int = 0) -> Table:
        """Rows with embeddings; every seventh has none."""
        matrix = self.matrix(count, seed)
        cells = [None if n % 7 == 3 else matrix[n] for n in range(count)]
        tags = [{"half": n % 2, "tenth": n % 10, "one": n == 5} for n in range(count)]
        return rows(*(f"v{n}" for n in range(count)), embedding=cells, tags=tags)

    def matrix(self, count: int, seed: int = 0) -> Any:
        """Embeddings of the shape that the store takes."""
        return np.random.default_rng(seed).normal(size=(count, *self.dimensions)).astype(np.float32)

    def queries(self, count: int, seed: int = 9) -> Any:
        """What is searched for: (count, d)."""
        return self.matrix(count, seed).reshape(count, -1)

    def everything(self) -> Table:
        """The table of every kind of value, as far as the store takes it."""
        table = everything()
        return table if self.any_embedding else table.with_columns({"embedding": None, "chunks": None})

    # ------------------------------------------------------------------------------------------ reading

    def test_a_new_store_is_empty(self, store: Store):
        assert store.ids() == []
        assert len(store) == 0
        assert store.meta() == {}
        assert len(store.read([])) == 0
        assert list(store.scan()) == []
        assert store.column("text") is None
        assert store.known(["a"]) == set()
        assert "a" not in store

    def test_rows_come_back_as_asked_with_repeats(self, store: Store):
        store.write(rows("a", "b", "c", text=["x", None, "z"]))

        table = store.read(["c", "a", "c", "b"])

        assert table.ids == ["c", "a", "c", "b"]
        assert table.columns["text"].values() == ["z", "x", "z", None]

    def test_a_read_of_nothing_gives_no_rows(self, store: Store):
        store.write(rows("a", text=["x"]))

        assert store.read([]).ids == []
        assert store.read([], ["text"]).ids == []

    def test_only_the_columns_asked_for_are_read(self, store: Store):
        store.write(rows("a", "b", text=["x", "y"], uri=["u", None], weight=[1.0, 2.0]))

        table = store.read(["b", "a"], ["uri", "weight", "tags"])

        assert {"uri", "weight"} <= table.columns.keys() <= {"uri", "weight", "tags"}
        assert table.ids == ["b", "a"]
        assert set(store.read(["a"], []).columns) == set()

    def test_a_missing_id_is_named(self, store: Store):
        store.write(rows("a", text=["x"]))

        for ids in (["gone"], ["a", "gone", "a"], ["gone", "too"]):
            with pytest.raises(MissingDocument, match="gone"):
                store.read(ids)
        with pytest.raises(MissingDocument, match="gone"):
            store.position("gone")

    def test_every_value_comes_back_to_the_last_bit(self, store: Store):
        table = self.everything()

        store.write(table)

        _same(table, store.read(table.ids))
        for key, record in zip(table.ids, records_of(table), strict=True):
            _same([record], records_of(store.read([key])))

    def test_every_value_is_written_over_every_other(self, store: Store):
        """What a row held before does not shine through."""
        table = self.everything()
        store.write(table)
        shifted = table.take(np.roll(np.arange(len(table)), 1))
        moved = Table(shifted.columns, len(table), table.ids)

        store.write(moved)

        _same(moved, store.read(table.ids))

    def test_a_store_holds_copies(self, store: Store):
        """What is done to arrays afterwards, those given and those got, is none of the store's business."""
        matrix = np.ones((2, *self.dimensions), np.float32)
        tags: dict[str, Any] = {"list": [1]}
        store.write(rows("a", "b", embedding=list(matrix), tags=[tags, {}]))
        matrix[:] = 7
        tags["list"].append(2)
        got = store.read(["a"])
        vector = got.columns["embedding"].values()[0]
        if vector.flags.writeable:
            vector[:] = 9

        table = store.read(["a"])

        assert np.asarray(table.columns["embedding"].values()[0]).ravel().tolist() == [1] * vector.size
        assert table.columns["tags"].values() == [{"list": [1]}]

    def test_ids_are_text_of_any_kind(self, store: Store):
        """Not folded, not trimmed, not normalised; case, accents and spaces count."""
        self._ids_come_back(store, ODD_IDS)

    def test_ids_may_hold_what_is_no_letter(self, store: Store):
        odd = ["nul\x00", "nul\x00s", "\ud800", "\ud83d\ude00 two", "nul"]
        if self.any_id:
            self._ids_come_back(store, odd)
        else:
            with pytest.raises(BadValue):
                store.write(rows(*odd))
            assert store.ids() == []

    def _ids_come_back(self, store: Store, ids: list[str]):
        store.write(rows(*ids, text=ids))

        assert store.ids() == ids
        assert len(store) == len(ids)
        assert store.known([*ids, "no such"]) == set(ids)
        assert store.read(ids[::-1]).columns["text"].values() == ids[::-1]
        for at, key in enumerate(ids):
            assert store.position(key) == at
            assert key in store
        store.write(rows(*ids[::2], uri=ids[::2]), before=ids[3])
        store.delete(ids[1::2])
        assert store.ids() == ids[::2]
        assert store.read(ids[::2]).columns["uri"].values() == ids[::2]

    # ------------------------------------------------------------------------------------------ writing

    def test_known_ids_change_in_place_in_the_columns_given(self, store: Store):
        store.write(rows("a", "b", "c", text=["1", "2", "3"], uri=["x", "y", "z"]))

        store.write(rows("c", "a", text=["30", "10"]))

        assert store.ids() == ["a", "b", "c"]
        assert records_of(store.read(["a", "b", "c"])) == [
            {"id": "a", "text": "10", "uri": "x"},
            {"id": "b", "text": "2", "uri": "y"},
            {"id": "c", "text": "30", "uri": "z"},
        ]

    def test_a_missing_cell_unsets_the_field(self, store: Store):
        table = self.everything()
        store.write(table)
        half = {
            name: column.missing(len(table)) for name, column in itertools.islice(table.columns.items(), 6)
        }

        store.write(Table(half, len(table), table.ids))

        _same(table.with_columns(dict.fromkeys(half)), store.read(table.ids))

    def test_a_write_without_columns_adds_bare_rows_and_changes_none(self, store: Store):
        store.write(rows("a", text=["x"]))

        store.write(rows("a", "b"))

        assert records_of(store.read(["a", "b"])) == [{"id": "a", "text": "x"}, {"id": "b"}]

    def test_an_empty_table_changes_nothing(self, store: Store):
        store.write(rows("a"))

        store.write(rows())
        store.write(rows(), before="a")
        store.add(rows())
        store.update(rows())
        store.delete([])

        assert store.ids() == ["a"]

    def test_new_rows_go_before_a_row_in_their_order(self, store: Store):
        store.write(rows("c", "f"))
        store.write(rows("a", "b"), before="c")
        store.write(rows("d", "e"), before="f")
        store.write(rows("g"))

        assert store.ids() == list("abcdefg")

    def test_known_ids_stay_where_they_are_whatever_comes_with_them(self, store: Store):
        store.write(rows("a", "b", "c"))

        store.write(rows("x", "c", "y", "a", "b", text=list("12345")), before="b")

        assert store.ids() == ["a", "x", "y", "b", "c"]
        assert store.column("text") is not None
        assert store.read(store.ids()).columns["text"].values() == ["4", "1", "3", "5", "2"]

    def test_rows_may_go_into_one_gap_again_and_again(self, store: Store):
        """Between two neighbours there is always room for another."""
        store.write(rows("first", "last"))
        for n in range(70):
            store.write(rows(f"r{n}"), before="last")
            store.write(rows(f"l{n}"), before="l" + str(n - 1) if n else "r0")
        for n in range(30):
            store.write(rows(f"f{n}"), before=f"f{n - 1}" if n else "first")

        assert store.ids() == [
            *(f"f{n}" for n in range(29, -1, -1)),
            "first",
            *(f"l{n}" for n in range(69, -1, -1)),
            *(f"r{n}" for n in range(70)),
            "last",
        ]
        assert [store.position(key) for key in ("first", "l0", "r0", "last")] == [30, 100, 101, 171]

    def test_rows_go_anywhere_and_order_holds(self, store: Store):
        """Against a list, at random places, with deletions in between."""
        draw = random.Random(3)
        model: list[str] = []
        for n in range(150):
            if model and draw.random() < 0.3:
                gone = draw.sample(model, draw.randint(1, min(4, len(model))))
                store.delete(gone)
                model = [key for key in model if key not in gone]
            at = draw.randint(0, len(model))
            fresh = [f"{n}.{i}" for i in range(draw.randint(1, 3))]
            store.write(rows(*fresh), before=model[at] if at < len(model) else None)
            model[at:at] = fresh

        assert store.ids() == model
        assert store.at(range(len(model))) == model

    def test_before_a_row_that_is_not_there_is_an_error(self, store: Store):
        store.write(rows("a", text=["x"]))

        for table in (rows("b", "a", text=["y", "z"]), rows("gone"), rows("a", text=["z"])):
            with pytest.raises(MissingDocument, match="gone"):
                store.write(table, before="gone")
        with pytest.raises(MissingDocument, match="gone"):
            store.add(rows("b"), before="gone")

        assert records_of(store.read(store.ids())) == [{"id": "a", "text": "x"}]

    def test_an_id_that_stands_twice_is_an_error(self, store: Store):
        store.write(rows("a", text=["x"]))

        for table in (rows("b", "c", "b"), rows("a", "a", text=["1", "2"])):
            with pytest.raises(DuplicateDocument, match=table.ids[0]):
                store.write(table)
            with pytest.raises(DuplicateDocument, match=table.ids[0]):
                store.add(table)

        assert records_of(store.read(store.ids())) == [{"id": "a", "text": "x"}]

    def test_a_write_is_all_or_nothing(self, store: Store):
        """The third row cannot be stored: the first two are not there, and what was there is as it was."""
        store.write(rows("a", text=["old"]))
        bad = rows("b", "a", "c", text=["1", "2", "3"], tags=[{}, {}, {"object": object()}])

        for before in (None, "a"):
            with pytest.raises(FieldTypeError):
                store.write(bad, before)

        assert records_of(store.read(store.ids())) == [{"id": "a", "text": "old"}]

    def test_add_takes_only_new_rows(self, store: Store):
        store.add(rows("a", "c", text=["x", "z"]))
        store.add(rows("b", text=["y"]), before="c")

        with pytest.raises(DuplicateDocument, match="'b'"):
            store.add(rows("d", "b", text=["1", "2"]))

        assert store.ids() == ["a", "b", "c"]
        assert store.read(["b"]).columns["text"].values() == ["y"]

    def test_update_takes_only_known_rows(self, store: Store):
        store.write(rows("a", "b", text=["x", "y"]))
        store.update(rows("b", uri=["u"]))

        with pytest.raises(MissingDocument, match="'gone'"):
            store.update(rows("a", "gone", text=["1", "2"]))

        assert records_of(store.read(["a", "b"])) == [
            {"id": "a", "text": "x"},
            {"id": "b", "text": "y", "uri": "u"},
        ]

    def test_delete_takes_rows_out_once(self, store: Store):
        store.write(rows("a", "b", "c", "d"))

        store.delete(["c", "a", "c"])

        assert store.ids() == ["b", "d"]
        assert len(store) == 2
        assert "a" not in store

    def test_a_delete_of_a_missing_id_deletes_nothing(self, store: Store):
        store.write(rows("a", "b", text=["x", "y"]))

        with pytest.raises(MissingDocument, match="gone"):
            store.delete(["a", "gone", "b"])

        assert store.ids() == ["a", "b"]
        assert store.read(["a", "b"]).columns["text"].values() == ["x", "y"]

    def test_delete_then_append_keeps_order(self, store: Store):
        """An id freed by delete leaves no hole and no clash."""
        store.write(rows("a", "b", "c"))
        store.delete(["c"])
        store.write(rows("d"))
        store.delete(["a"])
        store.write(rows("a", "e"))

        assert store.ids() == ["b", "d", "a", "e"]
        assert [store.position(key) for key in store.ids()] == [0, 1, 2, 3]

    def test_a_row_that_is_written_again_is_a_new_row(self, store: Store):
        store.write(rows("a", "b", text=["x", "y"], uri=["u", "v"]))
        store.delete(["a"])

        store.write(rows("a", text=["z"]))

        assert records_of(store.read(store.ids())) == [
            {"id": "b", "text": "y", "uri": "v"},
            {"id": "a", "text": "z"},
        ]

    def test_reorder_gives_the_same_rows_in_that_order(self, store: Store):
        table = self.everything()
        store.write(table)
        order = table.ids
        random.Random(1).shuffle(order)

        store.reorder(order)

        assert store.ids() == order
        _same(table, store.read(table.ids))
        store.write(rows("new"), before=order[1])
        assert store.ids() == [order[0], "new", *order[1:]]

    def test_reorder_takes_every_id_once(self, store: Store):
        store.write(rows("a", "b"))

        for order in (["a"], ["a", "a"], ["a", "b", "c"], ["a", "c"], [], ["a", "b", "b"]):
            with pytest.raises(LengthError):
                store.reorder(order)

        assert store.ids() == ["a", "b"]

    def test_clear_leaves_no_rows_and_keeps_facts(self, store: Store):
        store.write(people(20))
        store.meta({"fact": b"1"})

        store.clear()
        store.clear()

        assert (len(store), store.ids(), store.where(query.Always())) == (0, [], [])
        assert store.meta() == {"fact": b"1"}
        store.write(rows("a"))
        assert store.ids() == ["a"]

    def test_thousands_of_ids_in_one_call(self, store: Store):
        """More than a statement of SQL can have parameters, where it is only asked."""
        ids = [f"id {n}" for n in range(5000)]
        store.write(rows(*ids, text=ids))

        assert store.ids() == ids
        assert len(store) == 5000
        assert store.known([*ids, *(f"unknown {n}" for n in range(40_000))]) == set(ids)
        assert store.read(ids[::-1] * 2).ids == ids[::-1] * 2
        store.write(rows(*ids[:4000], uri=ids[:4000]))
        assert store.read(ids[:4000], ["uri"]).columns["uri"].values() == ids[:4000]
        assert store.at(range(4999, -1, -1)) == ids[::-1]
        with pytest.raises(DuplicateDocument):
            store.add(rows(*ids))
        store.delete(ids[:4500])
        assert store.ids() == ids[4500:]

    # ------------------------------------------------------------------------------------------ places

    def test_a_position_and_an_id_find_each_other(self, store: Store):
        store.write(rows(*"abcde"))
        store.delete(["b"])
        store.write(rows("x"), before="a")

        assert store.ids() == ["x", "a", "c", "d", "e"]
        assert store.at([4, 0, 0, 2]) == ["e", "x", "x", "c"]
        assert store.at([]) == []
        assert [store.position(key) for key in "xacde"] == [0, 1, 2, 3, 4]

    def test_there_is_no_position_beyond_the_end(self, store: Store):
        store.write(rows("a", "b"))

        for position in (2, -1, 10**6):
            with pytest.raises(OutOfRange):
                store.at([0, position])

    def test_only_text_is_an_id(self, store: Store):
        store.write(rows("1"))

        assert "1" in store
        assert 1 not in store
        assert None not in store

    # ------------------------------------------------------------------------------------------ scanning

    def test_a_scan_gives_all_rows_in_order(self, filled: Store):
        for batch in (1, 7, 4096):
            tables = list(filled.scan(batch=batch))
            assert [key for table in tables for key in table.ids] == filled.ids()
            assert all(0 < len(table) <= batch for table in tables)
            _same(filled.read(filled.ids()), Table.concat(tables))

    def test_a_scan_of_columns_reads_no_others(self, filled: Store):
        tables = list(filled.scan(["text", "matches"], batch=25))

        assert all(table.columns.keys() <= {"text", "matches"} for table in tables)
        _same(filled.read(filled.ids(), ["text"]), Table.concat(tables).select(["text"]))
        assert [key for table in filled.scan([]) for key in table.ids] == filled.ids()

    def test_rows_may_come_and_go_during_a_scan(self, store: Store):
        """Each row that stays is given once."""
        store.write(rows(*(f"{n}" for n in range(40)), text=["x"] * 40))
        seen: list[str] = []
        for step, table in enumerate(store.scan(["text"], batch=5)):
            seen += table.ids
            store.write(rows(f"front {step}", f"second {step}"), before=store.at([0])[0])
            store.write(rows(f"end {step}"))
            store.delete([f"{39 - step}"] if step < 3 else [f"{step}"])

        stayed = [f"{n}" for n in range(40) if f"{n}" in store]
        assert len(seen) == len(set(seen))
        assert [key for key in seen if key in stayed] == stayed

    def test_two_scans_at_once_do_not_disturb_each_other(self, filled: Store):
        pairs = zip(filled.scan(["text"], batch=4), filled.scan(["uri"], batch=4), strict=True)

        assert [a.ids == b.ids for a, b in pairs] == [True] * 15

    def test_a_column_is_one_field_of_all_rows(self, filled: Store):
        table = filled.read(filled.ids())
        for name in ("text", "weight", "tags", "chunks", "scores", "modality"):
            column, known = filled.column(name), table.columns.get(name)
            if known is None:
                assert column is None or column.present is None or not column.present.any()
            else:
                assert column is not None
                assert len(column) == len(table)
                _same(
                    Table({name: known}, len(table), table.ids), Table({name: column}, len(table), table.ids)
                )
        assert [*filled.column("id").values()] == filled.ids()  # pyright: ignore[reportOptionalMemberAccess]

    # ------------------------------------------------------------------------------------------ fast paths

    @pytest.mark.parametrize(
        "name", ["len", "contains", "known", "at", "position", "scan", "column", "ordered", "embeddings"]
    )
    def test_a_fast_path_gives_what_the_derived_method_gives(self, store: Store, name: str):
        """Of a store with a history: rows that were moved, changed and deleted."""
        _history(store, self)
        if name == "embeddings":  # of rows that all have one
            _same(Store.embeddings(store), store.embeddings())
            store.delete([key for key in store.ids() if key not in ("e1", "e2", "e3", "e4")])
        quick, derived = _READINGS[name](store, type(store)), _READINGS[name](store, Store)

        _same(derived, quick)

    @pytest.mark.parametrize("name", ["add", "update", "reorder", "clear", "add before"])
    def test_a_fast_write_does_what_the_derived_method_does(self, store: Store, other: Store, name: str):
        for one in (store, other):
            _history(one, self)
        _WRITINGS[name](store, type(store))
        _WRITINGS[name](other, Store)

        _same(_content(other), _content(store))

    def test_where_gives_what_the_mask_keeps(self, filled: Store):
        """Random filters, also with values of the wrong type, and over what SQL and JSON cannot say."""
        _history(filled, self)

        @settings(QUIET, max_examples=150)
        @given(filters(), st.none() | st.integers(1, 5))
        def check(condition: Any, limit: int | None):
            node = query.parse(condition)
            assert filled.where(node, limit) == Store.where(filled, node, limit)

        check()

    def test_where_sees_what_was_written_last(self, store: Store):
        node = query.parse({"tags__price": {"$gte": 2}})
        store.write(rows("a", "b", "c", tags=[{"price": 1}, {"price": 2}, {"price": 3}]))
        assert store.where(node) == ["b", "c"]

        store.write(rows("a", "b", tags=[{"price": 5}, None]))
        assert store.where(node) == ["a", "c"]
        store.delete(["c"])
        store.write(rows("d", tags=[{"price": 2.5}]), before="a")
        assert store.where(node) == ["d", "a"]
        store.reorder(["a", "b", "d"])
        assert store.where(node) == ["a", "d"]
        assert store.where(node, 1) == ["a"]

    def test_where_takes_no_text_for_its_own_words(self, filled: Store):
        """What stands in values and paths is compared, never run."""
        evil = ["'; DROP TABLE x; --", '" OR 1=1 --', "%", "\\", "$.a", "')", ":x", "?", "%s", "{}"]
        before = _content(filled)
        for word in evil:
            paths = ["text", "tags__name", ("tags", word), ("tags", "deep", word)]
            for path, op in [(path, op) for path in paths for op in ("$eq", "$lt", "$contains")][
                word in "%\\?" :: 2
            ]:
                node = query.parse({path: {op: word}})
                assert filled.where(node) == Store.where(filled, node)

        _same(before, _content(filled))

    def test_ordered_gives_what_sorting_gives(self, filled: Store):
        ids = filled.ids()

        @settings(QUIET, max_examples=30)
        @given(orders(), st.none() | st.sets(st.sampled_from(ids)))
        def check(keys: list[str], some: set[str] | None):
            given = None if some is None else [key for key in ids if key in some]
            assert filled.ordered(keys, given) == Store.ordered(filled, keys, given)

        check()

    # ------------------------------------------------------------------------------------------ vectors

    @pytest.mark.parametrize("metric", METRICS)
    def test_nearest_finds_the_nearest(self, embedded: Store, metric: str):
        if metric not in self.metrics:
            pytest.skip(f"this storage does not measure {metric}")
        asked = self.queries(20)

        for where in (None, {"tags__half": 1}, {"tags__tenth": 4}):
            node = None if where is None else query.parse(where)
            self._finds(embedded, asked, 10, metric, where=node)

    def test_nearest_finds_all_where_k_is_more_or_none(self, embedded: Store):
        asked, have = self.queries(3), [n for n in range(300) if n % 7 != 3]
        for k in (None, 1000):
            for ids, distances in embedded.nearest(asked, k, self.metrics[0]):
                assert sorted(ids) == sorted(f"v{n}" for n in have)
                assert distances == sorted(distances)
        narrow = query.parse({"tags__one": True})
        assert [ids for ids, _ in embedded.nearest(asked, 10, self.metrics[0], where=narrow)] == [["v5"]] * 3

    def test_nearest_with_a_filter_that_keeps_nothing_finds_nothing(self, embedded: Store):
        nothing = query.parse({"tags__half": 7})

        assert embedded.nearest(self.queries(2), 3, self.metrics[0], where=nothing) == [([], []), ([], [])]

    def test_nearest_with_a_filter_never_finds_fewer_than_there_are(self, embedded: Store):
        for tenth in range(10):
            node = query.parse({"tags__tenth": tenth})
            matching = [n for n in range(300) if n % 10 == tenth and n % 7 != 3]
            for k in (1, 5, 40):
                for ids, _ in embedded.nearest(self.queries(4), k, self.metrics[0], where=node):
                    assert len(ids) == min(k, len(matching))
                    assert {*ids} <= {f"v{n}" for n in matching}

    def test_nearest_skips_the_row_that_asks(self, embedded: Store):
        keys = ["v0", "v8", None, "no such row"]
        asked = np.asarray(embedded.read(["v0", "v8", "v1", "v2"]).columns["embedding"].values()).reshape(
            4, -1
        )

        found = embedded.nearest(asked, 5, self.metrics[0], skip=keys)

        assert [len(ids) for ids, _ in found] == [5, 5, 5, 5]
        assert "v0" not in found[0][0]
        assert "v8" not in found[1][0]
        if self.metrics[0] != "inner_product":
            assert [found[2][0][0], found[3][0][0]] == ["v1", "v2"]

    def test_nearest_follows_every_change(self, embedded: Store):
        """Rows that were changed, unset, deleted, added and moved since the last search."""
        asked, metric = self.queries(6), self.metrics[0]
        matrix = self.matrix(40, 5)
        steps: list[Callable[[], Any]] = [
            lambda: embedded.delete([f"v{n}" for n in range(0, 60, 2)]),
            lambda: embedded.write(rows(*(f"n{n}" for n in range(40)), embedding=list(matrix))),
            lambda: embedded.write(rows(*(f"n{n}" for n in range(40)), embedding=list(matrix[::-1].copy()))),
            lambda: embedded.write(rows("v61", "v62", "v63", embedding=[None, matrix[0] * 2, None])),
            lambda: embedded.write(rows("v63", "v66", embedding=[matrix[1], matrix[2]], text=["a", "b"])),
            lambda: embedded.write(rows("first", embedding=[asked[0].reshape(self.dimensions)]), "v1"),
            lambda: embedded.write(rows("v64", text=["only a text"])),
            lambda: embedded.reorder(embedded.ids()[::-1]),
            lambda: embedded.delete(["first"]),
            lambda: embedded.write(rows("first", text=["without"])),
            lambda: embedded.delete(embedded.ids()[5:]),
        ]
        for step in steps:
            step()
            self._finds(embedded, asked, 7, metric)

    def test_equal_distances_come_by_position(self, store: Store):
        vector = self.matrix(1)[0]
        store.write(rows(*"dbca", embedding=[vector] * 4))
        store.write(rows("z", embedding=[vector]), before="b")

        ((ids, _),) = store.nearest(vector.reshape(1, -1), 5, self.metrics[0])

        if self.exact:
            assert ids == ["d", "z", "b", "c", "a"]
        else:
            assert sorted(ids) == list("abcdz")

    def test_nearest_of_rows_without_embeddings_is_an_error(self, store: Store):
        store.write(rows("a", text=["x"]))

        with pytest.raises(MissingEmbedding):
            store.nearest(self.queries(1), 1, self.metrics[0])

    def test_nearest_of_another_width_is_an_error(self, embedded: Store):
        with pytest.raises(ShapeError):
            embedded.nearest(np.ones((1, self.queries(1).shape[1] + 1)), 1, self.metrics[0])

        assert len(embedded) == 300

    def test_embeddings_are_one_matrix_where_all_rows_have_one(self, store: Store):
        matrix = self.matrix(9)
        store.write(rows(*"abcdefghi", embedding=list(matrix)))

        found = store.embeddings()
        assert found is not None
        assert found[0] == list("abcdefghi")
        assert found[1].dtype == np.float32
        assert found[1].shape == matrix.shape
        assert found[1].tobytes() == matrix.tobytes()
        store.write(rows("c", embedding=[None]))
        assert store.embeddings() is None
        store.delete(["c"])
        found = store.embeddings()
        assert found is not None
        assert found[1].tobytes() == np.delete(matrix, 2, axis=0).tobytes()

    def test_a_matrix_that_was_taken_stays_as_it_was(self, store: Store):
        """What is kept for searching follows the rows; what was given to somebody does not change in his hands."""
        matrix = self.matrix(9)
        store.write(rows(*"abcdefghi", embedding=list(matrix)))
        for change in (
            lambda: store.write(rows("b", "h", embedding=list(self.matrix(2, 3)))),
            lambda: store.delete(["a"]),
            lambda: store.write(rows("j", embedding=[matrix[0]]), before="b"),
        ):
            store.nearest(self.queries(1), 1, self.metrics[0])
            found = store.embeddings()
            assert found is not None
            ids, taken, norms = found
            before = [*ids], taken.copy(), None if norms is None else norms.copy()
            change()
            store.nearest(self.queries(1), 1, self.metrics[0])
            _same(before, ([*ids], taken, norms))

    def _finds(self, store: Store, asked: Any, k: int, metric: str, where: Any = None):
        """Search against the matrix of what is there."""
        found = store.nearest(asked, k, metric, where=where)
        derived = _exact(store, asked, k, metric, where)
        if self.exact:
            assert [ids for ids, _ in found] == [ids for ids, _ in derived]
            _close([v for _, values in derived for v in values], [v for _, values in found for v in values])
            return
        every = [dict(zip(*one, strict=True)) for one in _exact(store, asked, None, metric, where)]
        right = 0
        for (ids, distances), (best, _), known in zip(found, derived, every, strict=True):
            assert len(ids) == len(set(ids)) == len(best), "as many as there are, each once"
            _close([known[key] for key in ids], distances)
            assert distances == sorted(distances), "nearest first"
            right += len({*ids} & {*best})
        assert right >= 0.9 * sum(len(ids) for ids, _ in derived), f"{right} of the nearest were found"

    # ------------------------------------------------------------------------------------------ words

    def test_search_finds_rows_by_their_words(self, store: Store):
        store.write(
            rows(
                "a",
                "b",
                "c",
                "d",
                text=["a red apple", "a green pear and a red pear", None, "blue sky"],
                tags=[{"title": "one"}, {"title": "pear"}, {"title": "red pear"}, {}],
            )
        )

        assert [ids for ids, _ in store.search(["pear", "sky apple", "nothing"], None)] == [
            ["b"],
            ["d", "a"],
            [],
        ]
        assert [{*ids} for ids, _ in store.search(["red pear"], None, "tags__title")] == [{"b", "c"}]
        assert [ids for ids, _ in store.search(["red"], 5, where=query.parse({"id": "b"}))] == [["b"]]
        assert store.search([], 3) == []

    def test_search_gives_what_the_derived_method_gives(self, filled: Store):
        filled.write(rows("x", "y", text=["apple apple pie", "the quick brown fox, a pie"]), before="3")
        node = query.parse({"tags__price": {"$gt": 2}})
        asked = [
            "pie",
            "apple pie",
            "quick",
            "A a",
            "zebra",
            "",
            "x'y",
            '"pie"',
            "pie*",
            "pie AND apple",
            "äb ß",
        ]
        for where, k in itertools.product((None, node), (1, 3, None)):
            quick = filled.search(asked, k, where=where)
            derived = Store.search(filled, asked, k, where=where)
            for text, (ids, scores), (right, true) in zip(asked, quick, derived, strict=True):
                assert right == ids, f"searching {text!r}"
                _close(true, scores)

    def test_search_follows_every_change(self, store: Store):
        store.write(rows("a", "b", "c", text=["one two", "two three", "three"]))
        assert [{*ids} for ids, _ in store.search(["two", "three"], None)] == [{"a", "b"}, {"b", "c"}]
        store.write(rows("a", "b", text=["three", None]))
        store.write(rows("c", uri=["two"]))
        store.write(rows("d", text=["two"]))
        assert [{*ids} for ids, _ in store.search(["two", "three"], None)] == [{"d"}, {"a", "c"}]
        store.delete(["a", "d"])
        assert [{*ids} for ids, _ in store.search(["two", "three"], None)] == [set(), {"c"}]

    # ------------------------------------------------------------------------------------------ facts

    def test_facts_are_kept_by_name(self, store: Store):
        assert store.meta({"a": b"1", "b": bytes(range(256)), "": b""}) == {
            "a": b"1",
            "b": bytes(range(256)),
            "": b"",
        }
        assert store.meta({"a": None, "b": b"2", "never": None}) == {"b": b"2", "": b""}
        assert store.meta() == {"b": b"2", "": b""}
        store.meta()["c"] = b"not kept"
        assert store.meta() == {"b": b"2", "": b""}

    # ------------------------------------------------------------------------------------------ transactions

    def test_a_transaction_keeps_all_that_was_written(self, store: Store):
        store.write(rows("a", "b"))
        with store.transaction():
            store.write(rows("c", text=["x"]), before="a")
            store.delete(["a"])
            store.meta({"fact": b"1"})
            assert store.ids() == ["c", "b"]
            assert len(store) == 2
            assert store.read(["c"]).columns["text"].values() == ["x"]
            assert store.where(query.parse({"text": "x"})) == ["c"]

        assert store.ids() == ["c", "b"]
        assert store.meta() == {"fact": b"1"}

    def test_an_exception_undoes_the_transaction(self, store: Store):
        store.write(self.everything())
        store.meta({"fact": b"1", "other": b"2"})
        before, order = _content(store), store.ids()

        for error in (ValueError, KeyboardInterrupt):
            with pytest.raises(error), store.transaction():
                store.write(rows("new", "newer", text=["x", "y"]), before=order[2])
                store.write(rows(order[3], text=["changed"], uri=[None]))
                store.delete([order[0], order[5]])
                store.reorder(store.ids()[::-1])
                store.meta({"fact": b"3", "third": b"4", "other": None})
                store.clear()
                store.write(rows(order[0], text=["again"]))
                raise error("no")

        assert store.ids() == order
        assert len(store) == len(order)
        assert [store.position(key) for key in order] == list(range(len(order)))
        _same(before, _content(store))
        assert store.meta() == {"fact": b"1", "other": b"2"}
        store.write(rows("after"))
        assert store.ids() == [*order, "after"]

    def test_a_transaction_inside_another_is_part_of_it(self, store: Store):
        store.write(rows("a"))
        with pytest.raises(ValueError, match="outer"), store.transaction():
            store.write(rows("b"))
            with store.transaction():
                store.write(rows("c"))
            raise ValueError("outer")

        assert store.ids() == ["a"]
        with store.transaction():
            with store.transaction():
                store.write(rows("b"))
            store.write(rows("c"))
        assert store.ids() == ["a", "b", "c"]

    def test_a_refused_write_does_not_spoil_the_transaction(self, store: Store):
        """Each call is all or nothing; who catches its error goes on."""
        store.write(rows("a"))
        with store.transaction():
            store.write(rows("b"))
            with pytest.raises(MissingDocument):
                store.delete(["b", "gone"])
            with pytest.raises(DuplicateDocument):
                store.add(rows("x", "a"))
            with pytest.raises(MissingDocument):
                store.update(rows("a", "gone", text=["1", "2"]))
            with pytest.raises(FieldTypeError):
                store.write(rows("y", "z", tags=[{}, {"object": object()}]))
            store.write(rows("c"))

        assert store.ids() == ["a", "b", "c"]
        assert records_of(store.read(["a"])) == [{"id": "a"}]

    def test_a_search_in_a_transaction_that_is_undone_leaves_no_trace(self, embedded: Store):
        asked, metric = self.queries(4), self.metrics[0]
        embedded.nearest(asked, 3, metric)
        with pytest.raises(ValueError, match="no"), embedded.transaction():
            embedded.delete([f"v{n}" for n in range(100)])
            embedded.write(rows("near", embedding=[asked[0].reshape(self.dimensions)], text=["near"]))
            self._finds(embedded, asked, 3, metric)
            assert [ids for ids, _ in embedded.search(["near"], 1)] == [["near"]]
            raise ValueError("no")

        self._finds(embedded, asked, 3, metric)
        assert embedded.search(["near"], 1) == [([], [])]

    # ------------------------------------------------------------------------------------------ changes

    def test_changes_since_a_mark_make_a_copy_the_same(self, store: Store):
        """The law of `changes`: who lays them over what he had has what there is, in the order there is."""
        if store.mark() is None:
            assert store.changes(0) is None
            return
        draw = random.Random(5)
        store.write(rows(*(f"{n}" for n in range(8)), text=[f"{n}" for n in range(8)]))
        copy, mark = _records(store), store.mark()
        assert mark is not None
        assert store.changes(mark) == Changes(mark, [], [], False)
        for step in range(60):
            for _ in range(draw.randint(1, 3)):
                _some_change(store, draw, f"{step}")
            changes, now = store.changes(mark), store.mark()
            assert changes is not None
            assert now is not None
            assert changes.mark == now > mark
            copy, mark = _replayed(copy, changes, store), now
            assert list(copy) == store.ids(), f"step {step}: {changes}"
            _same(_records(store), copy)

    def test_a_transaction_that_is_undone_is_no_change(self, store: Store):
        mark = store.mark()
        store.write(rows("a", "b", text=["x", "y"]))
        copy = _records(store)
        since = store.mark()
        with pytest.raises(ValueError, match="no"), store.transaction():
            store.write(rows("a", "c", text=["z", "z"]))
            store.delete(["b"])
            raise ValueError("no")
        store.write(rows("d", text=["z"]))
        if mark is None or since is None:
            return

        changes = store.changes(since)

        assert changes is not None
        assert list(_replayed(copy, changes, store)) == ["a", "b", "d"]
        _same(_records(store), _replayed(copy, changes, store))

    # ------------------------------------------------------------------------------------------ threads

    def test_threads_write_and_read_one_store(self, store: Store):
        """Nothing is lost, torn or out of order; each thread finds its own rows where it put them."""
        failed: list[BaseException] = []

        def work(name: int):
            try:
                for n in range(12):
                    keys = [f"{name}.{n}", f"{name}.{n}b"]
                    store.add(rows(*keys, text=keys))
                    assert store.read(keys).columns["text"].values() == keys
                    assert store.known(keys) == set(keys)
                    store.write(rows(keys[0], uri=[keys[0]]))
                    store.delete([keys[1]])
                    for table in store.scan(["text"], batch=9):
                        assert table.ids == table.columns["text"].values()
                    assert keys[0] in store.where(query.parse({"uri": keys[0]}))
                    with store.transaction():
                        store.meta({f"{name}": str(n).encode()})
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        if failed:
            raise failed[0]
        ids = store.ids()
        assert sorted(ids) == sorted(f"{name}.{n}" for name in range(4) for n in range(12))
        for name in range(4):
            assert [key for key in ids if key[0] == str(name)] == [f"{name}.{n}" for n in range(12)]
        assert store.read(ids).columns["uri"].values() == ids
        assert store.meta() == {f"{name}": b"11" for name in range(4)}

    # ------------------------------------------------------------------------------------------ opening and closing

    def test_what_was_written_is_there_again(self, folder: Path):
        if not self.survives:
            pytest.skip("this storage says survives = False")
        store = self.open(folder)
        table = self.everything()
        store.write(table)
        store.write(rows("first"), before=table.ids[0])
        store.delete([table.ids[4]])
        store.meta({"fact": b"1"})
        content, mark = _content(store), store.mark()
        self.close(store)

        again = self.open(folder)
        try:
            _same(content, _content(again))
            assert again.meta() == {"fact": b"1"}
            if mark is not None:
                changes = again.changes(mark)
                assert again.mark() == mark
                assert changes is None or (changes.written, changes.deleted) == ([], [])
            again.write(rows("last"))
            assert again.ids() == [*content[0], "last"]
            again.drop()
        finally:
            self.close(again)
        empty = self.open(folder)
        try:
            assert empty.ids() == []
        finally:
            self.close(empty)

    def test_a_search_goes_on_after_reopening(self, folder: Path):
        if not self.survives:
            pytest.skip("this storage says survives = False")
        store = self.open(folder)
        store.write(self.vectors(100))
        store.nearest(self.queries(1), 1, self.metrics[0])
        store.search(["x"], 1)
        store.write(self.vectors(150, seed=1).slice(80, 150))
        store.delete(["v1", "v2"])
        self.close(store)
        again = self.open(folder)
        try:
            self._finds(again, self.queries(5), 8, self.metrics[0])
            again.delete(["v5"])
            again.write(rows("new", embedding=[self.matrix(1, 4)[0]]))
            self._finds(again, self.queries(5), 8, self.metrics[0])
        finally:
            self.close(again)

    def test_closing_twice_is_closing_once(self, store: Store):
        store.write(rows("a"))

        store.close()
        store.close()

    @pytest.mark.parametrize("name", sorted({"len", "contains", "ids", "read", "write", "delete", "meta"}))
    def test_after_close_each_call_is_an_error(self, folder: Path, name: str):
        store = self.open(folder)
        store.write(rows("a", text=["x"]))
        store.close()
        calls: dict[str, Callable[[], Any]] = {
            "len": lambda: len(store),
            "contains": lambda: "a" in store,
            "ids": store.ids,
            "read": lambda: store.read(["a"]),
            "write": lambda: store.write(rows("b")),
            "delete": lambda: store.delete(["a"]),
            "meta": store.meta,
        }

        with pytest.raises(ClosedStore):
            calls[name]()

    def test_after_close_nothing_derived_answers_either(self, folder: Path):
        store = self.open(folder)
        store.write(rows("a", text=["x"], embedding=[self.matrix(1)[0]]))
        store.nearest(self.queries(1), 1, self.metrics[0])
        store.close()
        for call in (
            lambda: store.known(["a"]),
            lambda: store.at([0]),
            lambda: store.position("a"),
            lambda: list(store.scan()),
            lambda: store.column("text"),
            lambda: store.add(rows("b")),
            lambda: store.update(rows("a", text=["y"])),
            lambda: store.reorder(["a"]),
            lambda: store.clear(),
            lambda: store.where(query.parse({"text": "x"})),
            lambda: store.ordered("text"),
            lambda: store.nearest(self.queries(1), 1, self.metrics[0]),
            lambda: store.search(["x"], 1),
            lambda: store.embeddings(),
            lambda: store.version(),
            lambda: store.transaction().__enter__(),
        ):
            with pytest.raises(ClosedStore):
                call()

    def test_a_store_closes_itself_at_the_end_of_a_block(self, folder: Path):
        with self.open(folder) as store:
            store.write(rows("a"))

        with pytest.raises(ClosedStore):
            store.ids()

    # ------------------------------------------------------------------------------------------ several in one place

    def test_two_openings_see_each_other(self, folder: Path):
        if not self.shared:
            pytest.skip("this storage says shared = False")
        one, two = self.open(folder), self.open(folder)
        try:
            one.write(rows("a", "b", text=["x", "y"], embedding=list(self.matrix(2))))
            assert two.ids() == ["a", "b"]
            version = one.version()
            one.write(rows("c", text=["z"]))
            assert one.version() == version, "own changes do not count"
            two.write(rows("d", text=["w"], embedding=[self.matrix(3)[2]]), before="b")
            two.write(rows("a", text=["xx"]))
            assert one.version() != version
            assert one.ids() == two.ids() == ["a", "d", "b", "c"]
            assert one.read(["a"]).columns["text"].values() == ["xx"]
            assert one.where(query.parse({"text": {"$in": ["w", "xx"]}})) == ["a", "d"]
            self._finds(one, self.queries(2), 3, self.metrics[0])
            self._finds(two, self.queries(2), 3, self.metrics[0])
            two.delete(["d"])
            self._finds(one, self.queries(2), 3, self.metrics[0])
            assert [ids for ids, _ in one.search(["xx", "w"], 1)] == [["a"], []]
        finally:
            self.close(one)
            self.close(two)

    def test_nobody_sees_what_is_not_committed(self, folder: Path):
        if not self.shared:
            pytest.skip("this storage says shared = False")
        one, two = self.open(folder), self.open(folder)
        try:
            one.write(rows("a", text=["x"]))
            with one.transaction():
                one.write(rows("b"))
                one.write(rows("a", text=["y"]))
                assert two.ids() == ["a"]
                assert two.read(["a"]).columns["text"].values() == ["x"]
            assert two.ids() == ["a", "b"]
            with pytest.raises(ValueError, match="no"), one.transaction():
                one.clear()
                raise ValueError("no")
            assert two.ids() == ["a", "b"]
        finally:
            self.close(one)
            self.close(two)

    def test_two_openings_write_at_once(self, folder: Path):
        """Writers wait for each other, and nothing is lost."""
        if not self.shared:
            pytest.skip("this storage says shared = False")
        failed: list[BaseException] = []

        def work(name: str):
            try:
                store = self.open(folder)
                try:
                    for n in range(15):
                        store.add(rows(f"{name}{n}"))
                        if n % 3 == 2:
                            store.delete([f"{name}{n - 1}"])
                            store.write(rows(f"{name}{n - 1}"), before=f"{name}{n}")
                finally:
                    self.close(store)
            except BaseException as error:
                failed.append(error)

        self.close(self.open(folder))
        threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

        store = self.open(folder)
        try:
            ids = store.ids()
            for name in "xyz":
                assert [key for key in ids if key[0] == name] == [f"{name}{n}" for n in range(15)]
            assert len(ids) == len(store) == 45
        finally:
            self.close(store)

    def test_another_store_stands_beside(self, folder: Path):
        store = self.open(folder)
        try:
            if not self.nests:
                with pytest.raises(Unsupported):
                    store.beside("below")
                return
            below = store.beside("below @c.[image]")
            store.write(rows("a", "b"))
            below.write(rows("x", "a", text=["1", "2"]))
            assert (store.ids(), below.ids()) == (["a", "b"], ["x", "a"])
            with pytest.raises(ValueError, match="no"), store.transaction():
                store.delete(["a"])
                below.delete(["a"])
                below.write(rows("y"))
                raise ValueError("no")
            assert (store.ids(), below.ids()) == (["a", "b"], ["x", "a"])
            with store.transaction():
                store.delete(["a"])
                below.delete(["a"])
            assert (store.ids(), below.ids()) == (["b"], ["x"])
            assert store.meta({"fact": b"1"}) != below.meta({})
            if self.survives:
                self.close(below)
                self.close(store)
                store = self.open(folder)
                below = store.beside("below @c.[image]")
                assert (store.ids(), below.ids()) == (["b"], ["x"])
            self.close(below)
        finally:
            self.close(store)

    # ------------------------------------------------------------------------------------------ all together

    def test_whatever_is_done_it_is_as_a_list_of_rows(self, tmp_path_factory: pytest.TempPathFactory):
        """A state machine: random changes, transactions, reopenings, against plain Python."""
        run_state_machine_as_test(
            cast("Any", lambda: StoreMachine(self, tmp_path_factory.mktemp("machine"))),
            settings=settings(QUIET, max_examples=20, stateful_step_count=20),
        )


def _same(a: Any, b: Any):
    """Asserts that two are the same to the last bit."""
    where = difference(a, b)
    assert where is None, where


def _close(a: list[float], b: list[float]):
    """Asserts that two lists of measures are the same up to rounding."""
    assert len(a) == len(b)
    assert np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True), f"{a[:5]} became {b[:5]}"


def _content(store: Store) -> tuple[list[str], list[dict[str, Any]]]:
    """The ids, and the rows as plain data."""
    ids = store.ids()
    return ids, records_of(store.read(ids))


def _records(store: Store) -> dict[str, dict[str, Any]]:
    return dict(zip(*_content(store), strict=True))


def _history(store: Store, contract: StoreContract):
    """Rows to ask, that were written in several ways, changed, moved and deleted."""
    store.write(people())
    store.delete([key for key in store.ids() if key.endswith("3")])
    store.write(
        rows("front", "second", text=["a", None], tags=[{"price": 2.5}, {"odd": b"x"}]), store.ids()[0]
    )
    store.write(rows("10", "20", "30", text=["b", None, "ä"], tags=[None, {"price": True}, {"price": "3"}]))
    store.write(rows("in between", "10", weight=[2, 3.5]), before="20")
    matrix = contract.matrix(4)
    store.write(rows("e1", "e2", "e3", "e4", embedding=list(matrix)), before="40")
    ids = store.ids()
    store.reorder([*ids[5:], *ids[:5]])
    store.write(rows("last", uri=["a"]))


def _exact(
    store: Store, asked: Any, k: int | None, metric: str, where: Any
) -> list[tuple[list[str], list[float]]]:
    """The nearest rows, by a matrix made of what is read now."""
    ids = store.ids() if where is None else Store.where(store, where)
    column = store.read(ids, ["embedding"]).columns.get("embedding")
    values = [] if column is None else column.values()
    have = [
        (key, np.asarray(value).ravel()) for key, value in zip(ids, values, strict=False) if value is not None
    ]
    matrix = np.stack([value for _, value in have])
    numbers, distances = nearest(matrix, asked, k, metric)
    return [
        ([have[row][0] for row in near], values)
        for near, values in zip(numbers.tolist(), distances.tolist(), strict=True)
    ]


def _embeddings(store: Store, kind: type[Store]) -> Any:
    found = kind.embeddings(store)
    return None if found is None else (list(found[0]), np.asarray(found[1]))


_READINGS: Mapping[str, Callable[[Store, type[Store]], Any]] = {
    "len": lambda store, kind: kind.__len__(store),
    "contains": lambda store, kind: [kind.__contains__(store, key) for key in ("10", "13", "front", "", 10)],
    "known": lambda store, kind: kind.known(store, ["10", "13", "front", "front", ""]),
    "at": lambda store, kind: kind.at(store, [5, 0, len(store) - 1, 5, *range(len(store))]),
    "position": lambda store, kind: [kind.position(store, key) for key in store.ids()],
    "scan": lambda store, kind: [
        [records_of(table) for table in kind.scan(store, columns, batch)]
        for columns in (None, [], ["text", "tags"], ["embedding"])
        for batch in (7, 4096)
    ],
    "column": lambda store, kind: [
        None if (column := kind.column(store, name)) is None else column.values()
        for name in ("text", "tags", "weight", "embedding", "uri", "scores")
    ],
    "ordered": lambda store, kind: [
        kind.ordered(store, keys, ids)
        for keys in ("text", ["-tags__price", "id"], ["weight", "-text"])
        for ids in (None, store.ids()[::3], [])
    ],
    "embeddings": lambda store, kind: _embeddings(store, kind),
}

_WRITINGS: Mapping[str, Callable[[Store, type[Store]], Any]] = {
    "add": lambda store, kind: kind.add(store, rows("n1", "n2", text=["x", None], weight=[1, 2.5])),
    "add before": lambda store, kind: kind.add(store, rows("n1", "n2", tags=[{1: 2}, None]), before="20"),
    "update": lambda store, kind: kind.update(
        store, rows("20", "10", text=["x", None], tags=[None, {"a": 1}])
    ),
    "reorder": lambda store, kind: kind.reorder(store, sorted(store.ids())),
    "clear": lambda store, kind: kind.clear(store),
}


def _some_change(store: Store, draw: random.Random, name: str):
    ids = store.ids()
    kind = draw.choice(["append", "insert", "change", "unset", "delete", "again", "move", "clear"])
    if kind == "clear" and draw.random() < 0.8:
        kind = "change"
    if not ids or kind == "append":
        fresh = f"{name}.{draw.random()}"
        store.write(rows(fresh, text=[fresh], weight=[1.5]))
    elif kind == "insert":
        store.write(rows(f"{name}.{draw.random()}", text=["inserted"]), before=draw.choice(ids))
    elif kind == "change":
        some = draw.sample(ids, min(2, len(ids)))
        store.write(rows(*some, text=[f"{draw.random()}" for _ in some]))
    elif kind == "unset":
        store.write(rows(draw.choice(ids), weight=[None]))
    elif kind == "delete":
        store.delete(draw.sample(ids, min(2, len(ids))))
    elif kind == "again":
        key = draw.choice(ids)
        store.delete([key])
        store.write(rows(key, uri=["again"]))
    elif kind == "move":
        draw.shuffle(ids)
        store.reorder(ids)
    else:
        store.clear()


def _replayed(copy: dict[str, dict[str, Any]], changes: Changes, store: Store) -> dict[str, dict[str, Any]]:
    """A copy with the changes laid over it."""
    copy = {key: record for key, record in copy.items() if key not in set(changes.deleted)}
    known = store.known(changes.written)
    assert known == set(changes.written), "an id was called written that is not there"
    for key, record in zip(changes.written, records_of(store.read(changes.written)), strict=True):
        copy[key] = record
    return {key: copy[key] for key in store.ids()} if changes.moved else copy
