"""Progress: seen where somebody watches long work, and nowhere else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap

import pytest

from docarray import errors, progress
from docarray.progress import Bar, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.delenv("DOCARRAY_PROGRESS", raising=False)


# Set within the test: pytest puts its own standard error in place after the fixtures.
def terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    return stream


def log(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "_DELAY", 0.0)


def test_without_a_terminal_the_iterable_itself_comes_back(monkeypatch):
    stream = log(monkeypatch)
    numbers = [1, 2]

    assert numbers is track(numbers)
    assert numbers is track(numbers, show=False)
    assert "" == stream.getvalue()


def test_without_standard_error_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    numbers = [1, 2]

    assert numbers is track(numbers, show=True)


def test_short_work_shows_nothing_on_a_terminal(monkeypatch):
    stream = terminal(monkeypatch)
    assert [1, 2] == list(track([1, 2], title="adding"))
    assert "" == stream.getvalue()


def test_long_work_shows_a_bar_on_a_terminal(monkeypatch, at_once):
    stream = terminal(monkeypatch)
    assert [1, 2, 3] == list(track([1, 2, 3], title="adding"))
    assert "adding" in stream.getvalue()
    assert "3/3" in stream.getvalue()


def test_the_variable_switches_bars_off_and_leaves_callbacks(monkeypatch, at_once):
    stream = terminal(monkeypatch)
    monkeypatch.setenv("DOCARRAY_PROGRESS", "0")
    seen = []

    assert [1] == list(track([1], show=None))
    assert [1] == list(track([1], show=True))
    list(track([1], show=lambda *state: seen.append(state)))

    assert "" == stream.getvalue()
    assert [(0, 1, ""), (1, 1, "")] == seen


def test_true_leaves_one_line_in_a_log(monkeypatch):
    stream = log(monkeypatch)
    list(track([1, 2, 3], title="adding", show=True))

    assert 1 == stream.getvalue().count("adding")
    assert "3/3" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_title_is_no_markup(monkeypatch):
    stream = log(monkeypatch)
    list(track([1], title="[red]x[/nothing]", show=True))

    assert "[red]x[/nothing]" in stream.getvalue()


def test_a_callback_sees_the_beginning_and_the_end():
    seen = []

    assert 10_000 == sum(1 for _ in track(range(10_000), title="t", show=lambda *state: seen.append(state)))
    assert (0, 10_000, "t") == seen[0]
    assert (10_000, 10_000, "t") == seen[-1]
    assert len(seen) < 100, "a tight loop must not call at each step"


def test_a_callback_follows_slow_work(monkeypatch):
    now = iter(i * 0.5 for i in range(1000))
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    seen = []

    list(track((c for c in "abc"), show=lambda *state: seen.append(state[:2])))

    assert [(0, None), (1, None), (2, None), (3, None)] == seen


def test_an_error_of_the_work_is_not_reported_as_done():
    seen = []

    def work():
        with Bar("t", 10, show=lambda *state: seen.append(state)) as bar:
            bar.step(4)
            raise KeyError("work")

    with pytest.raises(KeyError):
        work()

    assert [(0, 10, "t")] == seen


def test_an_error_of_the_callback_reaches_the_caller():
    def bad(done, total, title):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        list(track([1], show=bad))


def test_leaving_the_loop_ends_the_bar(monkeypatch, at_once):
    stream = terminal(monkeypatch)
    walk = iter(track([1, 2, 3], title="adding"))
    next(walk)
    walk.close()

    assert stream.getvalue().endswith(("\x1b[?25h", "\x1b[2K")), "the cursor is shown again"


def test_bytes_are_shown_as_such(monkeypatch):
    stream = log(monkeypatch)
    with Bar("sending", 3_000_000, show=True, unit="bytes") as bar:
        bar.step(1_000_000)
        bar.step(2_000_000)

    assert "3.0/3.0 MB" in stream.getvalue()


def test_without_a_total_the_count_is_shown(monkeypatch):
    stream = log(monkeypatch)
    with Bar("sending", show=True) as bar:
        bar.step(7)

    assert "7/?" in stream.getvalue()


@pytest.mark.parametrize("show", ["yes", 1, 0])
def test_another_show_is_refused(show):
    with pytest.raises(errors.FieldTypeError, match="True, False, None or a callable"):
        track([1], show=show)


def test_no_bar_loads_no_rich():
    code = """
    import sys
    from docarray.progress import Bar, track
    list(track(range(5), show=False)); list(track(range(5))); list(track(range(5), show=lambda *s: None))
    assert 'rich' not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, stderr=subprocess.PIPE)


def test_on_a_real_terminal():
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    code = """
    import time
    from docarray import progress
    for _ in progress.track(range(13), title='walking'):
        time.sleep(0.1)
    """
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with os.fdopen(ours, "rb", buffering=0) as shown:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], stderr=theirs, env=environ, stdout=subprocess.PIPE
        )
        os.close(theirs)
        text = b""
        try:
            while part := shown.read(65536):
                text += part
        except OSError:  # what Linux says when the other side is closed
            assert text, "nothing was shown"

    assert 0 == done.returncode
    assert b"" == done.stdout
    assert b"walking" in text
    assert b"13/13" in text
