"""Measures pairs and prints ratios: this library beside the old one, or beside a peer, in one run.

Rule 1: two sides are two processes. Both make their work ready, then they are measured in turns, A B A B, so that a
        machine that slows down slows both.
Rule 2: the ratio is the median of the ratios of the pairs, not the ratio of two medians.
Rule 3: both sides must give the same answer; a row whose answers differ says so and does not reach its goal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OLD = ROOT / ".venv-old" / "bin" / "python"
PEERS = ROOT / ".venv-peers"  # a folder for each peer that has an environment of its own: `make .venv-peers`
APART = {"docarray041", "chromadb", "lancedb"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison, and what it should give. A row without a goal is for orientation."""

    name: str
    task: str
    n: int = 100_000
    peer: str = ""  # the task of the other side, when it is another one
    side: str = "old"  # "old", or the name of a peer that is installed beside this library
    faster: float = 0  # goal: the other side takes at least this many times ours
    within: float = 0  # goal: ours takes at most this many times the other side's
    below: float = 0  # goal: ours is at most this, whatever the other side has
    above: float = 0  # goal: ours is at least this, likewise
    least: float = (
        0  # goal: ours is at least this many times the other side's, for what is better when it is more
    )
    fresh: bool = False  # a new process for each round
    rounds: int = 9
    seconds: float = 25  # after so long no further round is begun; three are made in any case
    unit: str = "s"
    same_answer: bool = True

    @property
    def goal(self) -> str:
        if self.faster:
            return f">= {self.faster:g}x"
        if self.below:
            return f"<= {show(self.below, self.unit)}"
        if self.above:
            return f">= {show(self.above, self.unit)}"
        if self.least:
            return f">= {self.least:g}x"
        return f"<= {self.within:g}x" if self.within else "-"


class Failed(Exception):
    """A side could not do its work; the message is what it said."""


class Side:
    """A worker process that holds one task ready."""

    def __init__(self, python: Path, task: str, n: int) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        if python == Path(sys.executable):
            environment["PYTHONPATH"] = str(ROOT)
        self._process = subprocess.Popen(
            [python, HERE / "worker.py", task, str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=HERE,
        )
        self._read()

    def _read(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        message = json.loads(line) if line else {"error": "the worker ended without a word"}
        if "error" in message:
            self.close()
            raise Failed(message["error"])
        return message

    def measure(self, which: str = "next") -> tuple[float, object]:
        """What one round cost, and its answer. `which="first"` gives the round that made the worker ready."""
        assert self._process.stdin is not None
        self._process.stdin.write(which + "\n")
        self._process.stdin.flush()
        message = self._read()
        return message["value"], message["answer"]

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@contextlib.contextmanager
def side(python: Path, task: str, n: int) -> Iterator[Side]:
    made = Side(python, task, n)
    try:
        yield made
    finally:
        made.close()


def python_of(name: str) -> Path:
    """The interpreter that a side runs in."""
    if name in APART:
        return PEERS / name / "bin" / "python"
    return OLD if name == "old" else Path(sys.executable)


@dataclass(frozen=True)
class Result:
    ours: float
    peer: float
    ratio: float  # other side / ours
    agree: bool


def measure(row: Row, n: int, rounds: int) -> Result:
    """Both sides of a row, in turns."""
    here = Path(sys.executable)
    there = python_of(row.side)
    pairs: list[tuple[float, float]] = []
    agree = True
    started = time.perf_counter()

    def enough() -> bool:
        late = time.perf_counter() - started > row.seconds and len(pairs) >= min(3, rounds)
        return len(pairs) >= rounds or late

    def add(ours: Side, peer: Side, which: str) -> None:
        nonlocal agree
        (a, answer_a), (b, answer_b) = ours.measure(which), peer.measure(which)
        pairs.append((a, b))
        agree = agree and answer_a == answer_b

    if row.fresh:
        while not enough():
            with side(here, row.task, n) as ours, side(there, row.peer or row.task, n) as peer:
                add(ours, peer, "first")
    else:
        with side(here, row.task, n) as ours, side(there, row.peer or row.task, n) as peer:
            while not enough():
                add(ours, peer, "next")
    return Result(
        ours=statistics.median(a for a, _ in pairs),
        peer=statistics.median(b for _, b in pairs),
        # Of what is nothing on both sides neither has more.
        ratio=statistics.median(b / a if a else math.inf if b else 1.0 for a, b in pairs),
        agree=agree or not row.same_answer,
    )


def show(value: float, unit: str) -> str:
    """A number as a person reads it.

    >>> show(5.9e-06, "s"), show(690.2, "B"), show(88e6, "B"), show(703, "modules")
    ('5.9 us', '690 B', '88 MB', '703')
    """
    if unit == "B":
        return f"{value / 1e6:.3g} MB" if value >= 1e6 else f"{value:.0f} B"
    if unit == "share":
        return f"{value:.3f}"
    if unit != "s":
        return f"{value:.0f}"
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def verdict(row: Row, result: Result) -> tuple[str, str]:
    """The ratio to print, and `ok`, `short` or what else there is to say."""
    shown, reached = result.ratio, result.ratio >= row.faster
    if row.within or row.below or row.above or row.least or row.unit != "s":
        shown = 1 / result.ratio if result.ratio else math.inf
        if row.above:
            reached = result.ours >= row.above
        elif row.least:
            reached = shown >= row.least
        else:
            reached = shown <= row.within if row.within else result.ours <= row.below
    word = "ok" if reached else "short"
    if not result.agree:
        word = "answers differ"
    elif row.goal == "-":
        word = ""
    return f"{shown:.0f}x" if shown >= 100 else f"{shown:.3g}x", word


def main(question: str | None, rows: Sequence[Row]) -> None:
    """Asks one question: measures the rows and prints a table of them."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="few documents, few rounds: does it run at all?")
    parser.add_argument("-k", metavar="WORD", default="", help="only the rows whose name has this word")
    options = parser.parse_args()
    rows = [row for row in rows if options.k.lower() in row.name.lower()]
    if any(row.side == "old" for row in rows) and not OLD.exists():
        sys.exit("The old library is not here. Make its environment first: make .venv-old")

    width = max((len(row.name) for row in rows), default=0)
    print((question or "").strip().splitlines()[0])
    print()
    print(f"{'row':{width}} | {'against':11} | {'ours':>9} | {'peer':>9} | {'ratio':>8} | {'goal':>9} |")
    print("-" * (width + 67))
    count, good = 0, 0
    for row in rows:
        n, rounds = (min(row.n, 3_000), 3) if options.quick else (row.n, row.rounds)
        if not python_of(row.side).exists():
            print(f"{row.name:{width}} | {row.side:11} | not installed: make .venv-peers")
            continue
        try:
            result = measure(row, n, rounds)
        except Failed as failure:
            ours, peer, ratio, word = "", "", "", f"failed: {failure}"
        else:
            ours, peer = show(result.ours, row.unit), show(result.peer, row.unit)
            ratio, word = verdict(row, result)
            if options.quick and word in {"ok", "short"}:
                word = ""  # the goals are for the full sizes
        print(
            f"{row.name:{width}} | {row.side:11} | {ours:>9} | {peer:>9} | {ratio:>8} | {row.goal:>9} | {word}"
        )
        sys.stdout.flush()
        count += row.goal != "-"
        good += word == "ok"
    if not options.quick:
        print(f"\n{good} of {count} goals reached.")
    print()
