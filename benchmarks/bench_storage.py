"""What does an array in SQLite cost, beside sqlite3 by hand and the old library, and does it grow with the array?

The raw side does the same work with the same caches and as many transactions, and nothing besides; see
tasks_storage.py. Times are a call, a document for what takes many, or as said. The old library keeps the order of an
array in memory until sync() or close(): its append is over before it would outlive a crash, ours is not. `--million`
adds a million documents to the curve, which takes minutes and 2 GB of disk; `--curve` leaves out the rest.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from pair import Row, main, show, side

FEW, SOME = 1_000, 10_000  # the old library takes 0.1 s for an insert into ten thousand
N = 30_000

ROWS = [
    *(
        Row(name=f"{name}, {N // 1000}k", task=f"stored_{task}", peer=f"raw_{task}", side="sqlite3", n=N, within=goal)
        for name, task, goal in (
            ("insert(0, doc)", "insert", 5),
            ("del da[0]", "delete_first", 5),
            ("del da[id]", "delete_id", 5),
            ("append(doc)", "append", 3),
            ("da[id]", "get_id", 3),
            ("da[i]", "get_offset", 3),
            ("da[id] = doc", "update", 3),
            ("da[id].text = ...", "set_text", 3),
        )
    ),
    Row(name="extend", task="stored_extend", peer="raw_extend", side="sqlite3", n=N, within=1 / 0.7, rounds=5),
    Row(name="extend, from columns", task="stored_extend_columns", peer="raw_extend", side="sqlite3", n=N, rounds=5),
    Row(name="for doc in da", task="stored_iterate", peer="raw_iterate", side="sqlite3", n=N),
    Row(name="da[: n // 2]", task="stored_slice", peer="raw_slice", side="sqlite3", n=N),
    Row(name="da[:, 'text']", task="stored_column", peer="raw_column", side="sqlite3", n=N),
    Row(name="da.embeddings = M, 3k", task="stored_embeddings_set", peer="raw_embeddings_set", side="sqlite3", n=3_000),
    Row(name="find, warm, 30k", task="stored_find", peer="raw_find", side="sqlite3", n=N),
    Row(name="filter, 4 %, JSON", task="stored_filter", peer="raw_filter", side="sqlite3", n=N),
    Row(name="filter, 4 %, declared", task="stored_filter_declared", peer="raw_filter_declared", side="sqlite3", n=N),
    Row(name="filter, 0.1 %, JSON", task="stored_filter_narrow", peer="raw_filter_narrow", side="sqlite3", n=N),
    Row(name="filter, 0.1 %, declared", task="stored_filter_narrow_declared", peer="raw_filter_narrow_declared",
        side="sqlite3", n=N),
    Row(name="file, bytes a document", task="stored_size", peer="raw_size", side="sqlite3", n=N, below=900, rounds=3,
        unit="B"),
    Row(name="open and len", task="stored_reopen", peer="raw_reopen", side="sqlite3", n=N, below=0.005),

    Row(name="insert(0, doc), 1k", task="stored_insert", n=FEW, faster=1),
    Row(name="insert(0, doc), 10k", task="stored_insert", n=SOME, faster=1, rounds=3),
    Row(name="del da[0], 10k", task="stored_delete_first", n=SOME, faster=1, rounds=3),
    Row(name="del da[id], 10k", task="stored_delete_id", n=SOME, faster=1, rounds=3),
    Row(name="append(doc), 10k", task="stored_append", n=SOME, faster=1),
    Row(name="da[id], 10k", task="stored_get_id", n=SOME, faster=1),
    Row(name="da[i], 10k", task="stored_get_offset", n=SOME, faster=1),
    Row(name="da[id] = doc, 10k", task="stored_update", n=SOME, faster=1),
    Row(name="extend", task="stored_extend", n=SOME, faster=4, rounds=5),
    Row(name="extend, from columns", task="stored_extend_columns", peer="stored_extend", n=SOME, rounds=5),
    Row(name="file, bytes a document", task="stored_size", n=SOME, rounds=3, unit="B"),
    Row(name="for doc in da", task="stored_iterate", n=SOME, faster=5),
    Row(name="da[: n // 2]", task="stored_slice", n=SOME, faster=5),
    Row(name="da[:, 'text']", task="stored_column", n=SOME, faster=20),
    Row(name="da.embeddings = M, 3k", task="stored_embeddings_set", n=3_000, faster=50, rounds=3),
    Row(name="nested set, 100 x 3", task="stored_nested_set", n=100, faster=100, rounds=3),
    Row(name="find, warm, 30k", task="stored_find", n=N, faster=50, rounds=5),
    Row(name="filter, 4 %, JSON", task="stored_filter", n=SOME, rounds=5),
    Row(name="filter, 4 %, declared", task="stored_filter_declared", peer="stored_filter", n=SOME, rounds=5),
    Row(name="open and len", task="stored_reopen", n=SOME, rounds=5),
]  # fmt: skip

FLAT = 2  # goal: a call on the largest array takes at most this many times that on the smallest


def curve(sizes: list[int], rounds: int, quick: bool) -> None:
    """Cost against the number of documents, all sizes in turns."""
    sides = []
    found: list[list[dict[str, Any]]] = [[] for _ in sizes]
    try:
        for n in sizes:
            sides.append(side(Path(sys.executable), "stored_curve", n))
        workers = [one.__enter__() for one in sides]
        for _ in range(rounds):
            for worker, costs in zip(workers, found, strict=True):
                costs.append(worker.measure()[1])  # type: ignore[arg-type]
    finally:
        for one in sides:
            one.__exit__(None, None, None)
    print(f"{'cost of a call':16}" + "".join(f" | {n:>9,}" for n in sizes) + " | last / first |  goal |")
    print("-" * (16 + 12 * len(sizes) + 27))
    for name in found[0][0]:
        costs = [statistics.median(each[name] for each in of_size) for of_size in found]
        growth = statistics.median(
            large[name] / small[name] for small, large in zip(found[0], found[-1], strict=True)
        )
        line = f"{name:16}" + "".join(f" | {show(cost, 's'):>9}" for cost in costs)
        word = "" if quick else "ok" if growth <= FLAT else "short"
        print(f"{line} | {growth:>11.2f}x | <= {FLAT}x | {word}")
    print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--million", action="store_true", help="a million documents in the curve as well")
    parser.add_argument("--curve", action="store_true", help="only the cost against the number of documents")
    known, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    quick = "--quick" in rest
    if not known.curve:
        main(__doc__, ROWS)
    if "-k" not in rest:
        sizes = [1_000, 3_000] if quick else [1_000, 10_000, 30_000, 100_000]
        curve(sizes + [1_000_000] * known.million, 3 if quick else 7, quick)
