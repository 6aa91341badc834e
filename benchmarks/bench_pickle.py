"""Is reading a pickle safely, without Python's own unpickler, as fast as the old library's plain one? Times a document.

Both sides read the same bytes, which the old library wrote. Processor time, best of several, in turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pair import OLD
from tasks import array

# Its work needs the files of the other side, which the tasks of tasks.py do not get.
ROWS: list[object] = []
GOALS = {"array, written": 1.0, "array, read": 1.0, "documents, written": 1.0, "documents, read": 1.0}


def work(folder: Path, n: int) -> dict[str, Callable[[], object]]:
    """What is measured, by name; the side that runs first, the old one, writes the files that both read."""
    import docarray

    da = array(n, "text", "tags", "embedding")
    if docarray.__version__.startswith("0."):
        from docarray import Document, DocumentArray

        (folder / "array").write_bytes(da.to_bytes("pickle-array"))
        (folder / "documents").write_text(json.dumps([doc.to_bytes("pickle").hex() for doc in da]))
        data, docs = the_files(folder)
        return {
            "array, written": lambda: da.to_bytes("pickle-array"),
            "array, read": lambda: DocumentArray.from_bytes(data, "pickle-array"),
            "documents, written": lambda: [doc.to_bytes("pickle") for doc in da],
            "documents, read": lambda: [Document.from_bytes(doc, "pickle") for doc in docs],
        }
    from docarray.records import records_of
    from docarray.serialization.pickles import PICKLE, PICKLE_ARRAY

    data, docs = the_files(folder)
    table = PICKLE_ARRAY.loads(memoryview(data))
    records = records_of(table)
    own = PICKLE_ARRAY.dumps(table)
    return {
        "array, written": lambda: PICKLE_ARRAY.dumps(table),
        "array, read": lambda: PICKLE_ARRAY.loads(memoryview(data)),
        "array, its own, read": lambda: PICKLE_ARRAY.loads(memoryview(own)),
        "documents, written": lambda: [PICKLE.dumps_record(record) for record in records],
        "documents, read": lambda: [PICKLE.loads_record(memoryview(doc)) for doc in docs],
    }


def the_files(folder: Path) -> tuple[bytes, list[bytes]]:
    docs = json.loads((folder / "documents").read_text())
    return (folder / "array").read_bytes(), [bytes.fromhex(doc) for doc in docs]


def best(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        calls = work(Path(args.side), args.n)
        print(json.dumps({name: best(call, args.rounds) / args.n for name, call in calls.items()}))
        return
    found: list[dict[str, float]] = [{}, {}]
    with TemporaryDirectory() as folder:
        for _ in range(2):
            for side, python in enumerate((str(OLD), sys.executable)):
                line = [python, "-W", "ignore", __file__, "-n", str(args.n), "--side", folder]
                times = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
                found[side] = {name: min(t, found[side].get(name, t)) for name, t in times.items()}
    old, ours = found
    for name, took in ours.items():
        beside = old.get(name, old[name.replace(", its own", "")])
        goal = f"goal >= {GOALS[name]:g}x" if name in GOALS else ""
        print(
            f"{name:22} old {beside * 1e6:6.1f} us   ours {took * 1e6:6.1f} us   {beside / took:5.2f}x   {goal}"
        )


if __name__ == "__main__":
    main()
