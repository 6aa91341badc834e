"""What does it cost to hand documents to pandas, Arrow and Parquet, and to take them back? Times a document.

Beside the old library, where that can do it, and beside the raw thing: pyarrow making a table of lists and a matrix.
Processor time, best of several, in turns.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pair import OLD, ROOT
from tasks import array, columns, ids, matrix, tags, texts

# The old library needs pandas beside it, which the other benchmarks do not.
ROWS: list[object] = []
GOALS = {"to_dataframe": 50.0, "from_dataframe": 20.0}
PEERS = {"to_arrow, untouched columns": "pyarrow.table", "parquet, written": "pyarrow.parquet, written",
         "parquet, read": "pyarrow.parquet, read", "arrow file, written": "pyarrow.ipc, written"}  # fmt: skip


def work(n: int) -> dict[str, Callable[[], object]]:
    """What is measured, by name; on the old side the two that it has."""
    import docarray
    from docarray import DocumentArray

    da = array(n, "text", "tags", "embedding")
    frame = da.to_dataframe()
    both: dict[str, Callable[[], object]] = {
        "to_dataframe": lambda: da.to_dataframe(),
        "from_dataframe": lambda: DocumentArray.from_dataframe(frame),
    }
    if docarray.__version__.startswith("0."):
        return both
    import pyarrow
    import pyarrow.parquet

    from docarray.serialization.arrow import ARROW, PARQUET, from_arrow, to_arrow
    from docarray.serialization.dataframe import to_dataframe

    table = columns(n, "text", "tags", "embedding")._slots.table()
    held = to_arrow(table)
    arrow, parquet = ARROW.dumps(table), PARQUET.dumps(table)

    def raw() -> object:
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(the_matrix.reshape(-1)), 128)
        parts = {"id": the_ids, "text": the_texts, "tags": the_tags, "embedding": vectors}
        return pyarrow.table(parts)

    the_ids, the_texts, the_tags, the_matrix = ids(n), texts(n), tags(n), matrix(n)

    def ipc() -> object:
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_file(sink, held.schema) as writer:
            writer.write_table(held)
        return sink.getvalue().to_pybytes()

    return {
        **both,
        "to_dataframe, untouched columns": lambda: to_dataframe(table),
        "to_arrow, rows": lambda: to_arrow(da._slots.table()),
        "to_arrow, untouched columns": lambda: to_arrow(table),
        "from_arrow": lambda: from_arrow(held),
        "arrow file, written": lambda: ARROW.dumps(table),
        "arrow file, read": lambda: ARROW.loads(memoryview(arrow)),
        "parquet, written": lambda: PARQUET.dumps(table),
        "parquet, read": lambda: PARQUET.loads(memoryview(parquet)),
        "pyarrow.table": raw,
        "pyarrow.ipc, written": ipc,
        "pyarrow.parquet, written": lambda: pyarrow.parquet.write_table(
            held, io.BytesIO(), compression="zstd"
        ),
        "pyarrow.parquet, read": lambda: pyarrow.parquet.read_table(pyarrow.BufferReader(parquet)),
    }


def side(n: int, rounds: int) -> None:
    """Measures here, and says the best time of each as JSON."""
    best: dict[str, float] = {}
    jobs = work(n)
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            best[name] = min(best.get(name, 1e9), (time.process_time() - start) / n)
    print(json.dumps(best))


def measured(python: Path | str, n: int, rounds: int) -> dict[str, float]:
    command = [python, __file__, "--side", "--n", str(n), "--rounds", str(rounds)]
    environment = {} if python == OLD else {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{python}: {done.stderr[-1000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few documents, few rounds: does it run at all?")
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    n, rounds = (2_000, 2) if options.quick else (options.n, options.rounds)
    if options.side:
        side(n, rounds)
        return
    ours = measured(sys.executable, n, rounds)
    # A tenth of the documents: the old library takes a tenth of a millisecond for each, whatever their number.
    old = measured(OLD, max(n // 10, 100), 3) if OLD.exists() else {}
    peers = set(PEERS.values())
    for name, taken in ours.items():
        if name in peers:
            continue
        line = f"{name:32} {taken * 1e6:8.3f} us"
        if name in old:
            line += f"   old {old[name] * 1e6:8.1f} us, {old[name] / taken:6.1f}x (goal {GOALS[name]:.0f}x)"
        if name in PEERS:
            peer = ours[PEERS[name]]
            line += f"   {PEERS[name]} {peer * 1e6:.3f} us, {peer / taken:.2f}x"
        print(line)


if __name__ == "__main__":
    main()
