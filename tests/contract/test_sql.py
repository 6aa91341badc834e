"""Arrays in SQL databases keep every promise."""

from __future__ import annotations

import pytest

from docarray.storage.sql import SqliteStore, SqlStore
from docarray.testing import ArrayContract, StoreContract


class TestSqlite(StoreContract):
    shared = True

    def open(self, folder):
        return SqliteStore.open(
            {"connection": str(folder / "t.db"), "columns": {"price": "float", "name": "str"}}
        )


class TestSqliteInMemory(StoreContract):
    survives = False

    def open(self, folder):
        return SqliteStore.open({"connection": ":memory:"})


class TestSqliteArray(ArrayContract):
    storage = "sqlite"

    def config(self, folder):
        return {"connection": str(folder / "t.db")}


class TestPostgres(StoreContract):
    shared = True

    @pytest.fixture(autouse=True)
    def server(self, postgres):
        self.url = postgres

    def open(self, folder):
        return SqlStore.open({"url": self.url, "table_name": folder.name})


class TestPostgresArray(ArrayContract):
    storage = "postgres"

    @pytest.fixture(autouse=True)
    def server(self, postgres):
        self.url = postgres

    def config(self, folder):
        return {"url": self.url, "table_name": f"docs_{folder.name}"}
