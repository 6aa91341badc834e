"""The smallest store keeps every promise, so what it derives is right; and a store that breaks one is found out."""

from __future__ import annotations

import contextlib

import pytest

from docarray.columns import column_of
from docarray.errors import MissingDocument
from docarray.store import Changes, Store
from docarray.table import Table
from docarray.testing import PlainStore, StoreContract


class TestPlainStore(StoreContract):
    survives = False
    nests = False

    def open(self, folder):
        return PlainStore()


class MarkedStore(PlainStore):
    """The same, and it tells what has changed: so what is kept of it follows its marks."""

    def __init__(self):
        super().__init__()
        self._count = self._moved = 0
        self._stamps: dict[str, int] = {}
        self._gone: dict[str, int] = {}

    def write(self, table, before=None):
        with self.turn:
            new = set(table.ids) - self.known(table.ids)
            super().write(table, before)
            self._count += 1
            self._stamps |= dict.fromkeys(table.ids, self._count)
            if before is not None and new:
                self._moved = self._count

    def delete(self, ids):
        with self.turn:
            super().delete(ids)
            self._count += 1
            self._gone |= dict.fromkeys(ids, self._count)

    def mark(self):
        self.meta()  # raises once it is closed
        return self._count

    def changes(self, since):
        with self.turn:
            deleted = [key for key, stamp in self._gone.items() if stamp > since]
            written = [key for key in self.ids() if self._stamps[key] > since]
            return Changes(self._count, deleted, written, self._moved > since)


class TestMarkedStore(StoreContract):
    survives = False
    nests = False

    def open(self, folder):
        return MarkedStore()


# --- the contract finds faults ------------------------------------------------------------------------------------


class Unordered(PlainStore):
    """New rows always go to the end."""

    def write(self, table, before=None):
        super().write(table)


class Replacing(PlainStore):
    """A row that is known is replaced as a whole."""

    def write(self, table, before=None):
        known = self.known(table.ids)
        missing = {name: column_of("text", [None] * len(table)) for name in ("text", "uri") if known}
        super().write(Table({**missing, **table.columns}, len(table), table.ids), before)


class Sticky(PlainStore):
    """A cell that is missing leaves what was there."""

    def write(self, table, before=None):
        held = {n: c for n, c in table.columns.items() if c.present is None or c.present.all()}
        super().write(Table(held, len(table), table.ids), before)


class Partial(PlainStore):
    """Rows are kept one by one, up to the one that cannot be."""

    def write(self, table, before=None):
        for at in range(len(table)):
            super().write(table.slice(at, at + 1), before)


class Forgiving(PlainStore):
    """What is not there need not be deleted."""

    def delete(self, ids):
        super().delete(list(self.known(ids)))


class Sorted(PlainStore):
    """Rows are read in array order, each once."""

    def read(self, ids, columns=None):
        table = super().read(ids, columns)
        wanted = [key for key in self.ids() if key in set(ids)]
        return super().read(wanted, columns) if len(table) else table


class Sharing(PlainStore):
    """Rows are the memory that was given."""

    def __init__(self):
        super().__init__()
        self._given = {}

    def write(self, table, before=None):
        super().write(table, before)
        self._given |= {key: table.slice(at, at + 1) for at, key in enumerate(table.ids)}

    def read(self, ids, columns=None):
        super().read(ids)
        return Table.concat([self._given[key] for key in ids]) if ids else Table({}, 0, [])


class Greedy(PlainStore):
    """A filter stops one row too late."""

    def where(self, node, limit=None):
        return super().where(node, None if limit is None else limit + 1)


class Careless(PlainStore):
    """A transaction is taken back without its facts."""

    @contextlib.contextmanager
    def transaction(self):
        table = self.read(self.ids())
        try:
            yield
        except BaseException:
            self.delete(self.ids())
            self.write(table)
            raise


class Late(MarkedStore):
    """Deletions are not told."""

    def changes(self, since):
        return super().changes(since)._replace(deleted=[])


class Still(MarkedStore):
    """Rows that came before others are told as if they came after them."""

    def changes(self, since):
        return super().changes(since)._replace(moved=False)


class Open(PlainStore):
    """It never closes."""

    def close(self):
        pass


class Torn(PlainStore):
    """A row is known before it is whole."""

    def known(self, ids):
        return super().known(ids) | {"unknown 7"}


class Stale(PlainStore):
    """Vectors are read once."""

    _vectors_seen = None

    def nearest(self, *args, **settings):
        if self._vectors_seen is None:
            self._vectors_seen = PlainStore()
            self._vectors_seen.write(self.read(self.ids()))
        return Store.nearest(self._vectors_seen, *args, **settings)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        (Unordered, "test_new_rows_go_before_a_row_in_their_order"),
        (Unordered, "test_rows_go_anywhere_and_order_holds"),
        (Unordered, "test_before_a_row_that_is_not_there_is_an_error"),
        (Replacing, "test_known_ids_change_in_place_in_the_columns_given"),
        (Sticky, "test_a_missing_cell_unsets_the_field"),
        (Sticky, "test_every_value_is_written_over_every_other"),
        (Partial, "test_a_write_is_all_or_nothing"),
        (Partial, "test_an_id_that_stands_twice_is_an_error"),
        (Forgiving, "test_a_delete_of_a_missing_id_deletes_nothing"),
        (Sorted, "test_rows_come_back_as_asked_with_repeats"),
        (Sharing, "test_a_store_holds_copies"),
        (Sharing, "test_only_the_columns_asked_for_are_read"),
        (Greedy, "test_where_sees_what_was_written_last"),
        (Careless, "test_an_exception_undoes_the_transaction"),
        (Late, "test_changes_since_a_mark_make_a_copy_the_same"),
        (Still, "test_changes_since_a_mark_make_a_copy_the_same"),
        (Torn, "test_thousands_of_ids_in_one_call"),
    ],
)
def test_a_fault_is_found(fault, test):
    """A store with one fault fails the test that is about it, with an assertion or the wrong error."""
    with pytest.raises((AssertionError, pytest.fail.Exception, MissingDocument, TypeError)):
        getattr(StoreContract(), test)(fault())


def test_a_search_that_falls_behind_is_found():
    store, contract = Stale(), StoreContract()
    store.write(contract.vectors(300))

    with pytest.raises(AssertionError):
        contract.test_nearest_follows_every_change(store)


def test_a_store_that_does_not_close_is_found(tmp_path):
    contract = StoreContract()
    contract.open = lambda folder: Open()  # type: ignore[method-assign]

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        contract.test_after_close_nothing_derived_answers_either(tmp_path)


def test_a_contract_that_does_not_say_how_to_open_says_so():
    class Unfinished(StoreContract):
        pass

    with pytest.raises(NotImplementedError, match=r"Unfinished has to say .*def open"):
        Unfinished().open(None)
