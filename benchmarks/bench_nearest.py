"""How far is the exact search kernel from a bare matrix product, and from faiss?

Kernel against kernel, on arrays, in one process and in turns; `bench_find.py` asks the same with documents in the hand.
`gemm` is the product of queries and rows alone: no search that looks at every row can be much faster.
faiss has rows of length 1 for cosine; both keep the norms. Threads are as each library sets them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docarray.nearest import nearest, row_norms

K = 10
ROWS: list[Any] = []  # none for pair.py: two processes would measure the copying of a million scores

# (width, queries, what ours may take of faiss's time)
CASES = [(128, 1, 1.0), (128, 10, 1.0), (128, 1000, 1.5), (768, 1, 1.0)]


def seconds(work: Callable[[], object]) -> float:
    time.sleep(0.02)  # the threads of the other library stop waiting for work only after a while
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def flat_index(matrix: np.ndarray, norms: np.ndarray, metric: str) -> Any:
    """The exact index of faiss, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    if metric == "cosine":
        index = faiss.IndexFlatIP(matrix.shape[1])
        index.add(matrix / norms[:, None].astype(np.float32))
    else:
        index = faiss.IndexFlatL2(matrix.shape[1])
        index.add(matrix)
    return index


def show(value: float) -> str:
    return f"{1e3 * value:.3g} ms"


def measure(name: str, n: int, width: int, count: int, goal: float, metric: str, rounds: int) -> None:
    rng = np.random.default_rng(3)
    matrix = rng.random((n, width), dtype=np.float32) - np.float32(0.5)
    queries = rng.random((count, width), dtype=np.float32) - np.float32(0.5)
    norms = row_norms(matrix)
    index = flat_index(matrix, norms, metric)

    sides: list[Callable[[], Any]] = [
        lambda: nearest(matrix, queries, K, metric, norms=norms),
        lambda: matrix @ queries.T,
    ]
    if index is not None:
        sides.append(lambda: index.search(queries, K))
    answers = [side() for side in sides]
    times = [[seconds(side) for side in sides] for _ in range(rounds)]

    ours, gemm, *peer = (statistics.median(column) for column in zip(*times, strict=True))
    to_gemm = statistics.median(row[0] / row[1] for row in times)
    line = f"{name:26} | {show(ours):>8} | {show(gemm):>8} | {to_gemm:>8.2f}x"
    if index is None:
        print(f"{line} |        - |         - |     - |")
        return
    to_faiss = statistics.median(row[0] / row[2] for row in times)
    # faiss rounds to float32, so of two rows almost equally near it may take the other one.
    same = np.mean(answers[0][0] == answers[2][1]) > 0.99
    word = ("ok" if to_faiss <= goal else "short") if same else "answers differ"
    print(f"{line} | {show(peer[0]):>8} | {to_faiss:>8.2f}x | {goal:>4g}x | {word}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, few rounds: does it run at all?")
    parser.add_argument("-k", metavar="WORD", default="", help="only the rows whose name has this word")
    options = parser.parse_args()

    print((__doc__ or "").splitlines()[0])
    if flat_index(np.ones((1, 1), np.float32), np.ones(1), "cosine") is None:
        print("faiss is not installed (pip install faiss-cpu): ours stands beside the bare product only.")
    if options.quick:
        print("--quick: the ratios say nothing about the goals, which are for the full sizes.")
    n = 3_000 if options.quick else 100_000
    header = "row", "ours", "gemm", "to gemm", "faiss", "to faiss", "goal"
    print(f"\n{header[0]:26} | {header[1]:>8} | {header[2]:>8} | {header[3]:>9} | ", end="")
    print(f"{header[4]:>8} | {header[5]:>9} | {header[6]:>5} |\n{'-' * 94}")
    for width, count, goal in CASES:
        for metric in ("cosine", "euclidean"):
            name = f"{metric}, {count} x {width}-d"
            if options.k.lower() in name:
                rounds = 3 if options.quick else 7 if count == 1000 else 15
                measure(name, n, width, count, goal, metric, rounds)
                sys.stdout.flush()
    print()


if __name__ == "__main__":
    main()
