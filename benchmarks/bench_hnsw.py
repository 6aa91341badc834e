"""What does the vector index cost with its documents, beside hnswlib alone and today's peers, and what does it find?

All have the same vectors (in groups, 128-d, cosine), M=16, efConstruction=200, ef=64, and give back ids and texts of
what they found. hnswlib alone keeps these in lists and writes nothing down. Times are a document (build) or a query.
`--large` asks with 100 000 documents instead of 20 000; peers without an environment (`make .venv-peers`) are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from pair import Row, main

N, LARGE = 20_000, 100_000


def against(name: str, faster: float) -> list[Row]:
    """The rows beside a peer."""
    both = {"side": name, "n": N}
    rows = [
        Row(name="build", task="hnsw_build", peer=f"{name}_build", faster=1, rounds=3, **both),
        Row(name="one query", task="hnsw_single", peer=f"{name}_single", faster=faster, **both),
        Row(name="200 queries at once", task="hnsw_batch", peer=f"{name}_batch", faster=faster, **both),
        Row(name="recall@10", task="hnsw_recall", peer=f"{name}_recall", unit="share", rounds=1, same_answer=False,
            **both),
        Row(name="one query, 1 % of all", task="hnsw_narrow", peer=f"{name}_narrow", same_answer=False, **both),
        Row(name="recall@10 in 1 %", task="hnsw_narrow_recall", peer=f"{name}_narrow_recall", unit="share", rounds=1,
            same_answer=False, **both),
        Row(name="one query, 10 % of all", task="hnsw_tenth", peer=f"{name}_tenth", same_answer=False, **both),
        Row(name="recall@10 in 10 %", task="hnsw_tenth_recall", peer=f"{name}_tenth_recall", unit="share", rounds=1,
            same_answer=False, **both),
    ]  # fmt: skip
    # LanceDB is asked one by one here, so there would be nothing to say of many at once.
    return [row for row in rows if name != "lancedb" or row.task != "hnsw_batch"]


ROWS = [
    Row(name="build", task="hnsw_build", peer="hnswlib_build", side="hnswlib", n=N, within=1.2, rounds=3),
    Row(name="build, from columns", task="hnsw_columns_build", peer="hnswlib_build", side="hnswlib", n=N, rounds=3),
    Row(name="one query", task="hnsw_single", peer="hnswlib_single", side="hnswlib", n=N, within=1.8),
    Row(name="200 queries at once", task="hnsw_batch", peer="hnswlib_batch", side="hnswlib", n=N, within=1 / 0.8),
    Row(name="recall@10", task="hnsw_recall", peer="hnswlib_recall", side="hnswlib", n=N, least=0.99, unit="share",
        rounds=1, same_answer=False),
    Row(name="recall@10 in 1 %", task="hnsw_narrow_recall", peer="all_of_them", side="exact", n=N, least=0.95,
        unit="share", rounds=1, same_answer=True),
    Row(name="recall@10 in 10 %", task="hnsw_tenth_recall", peer="all_of_them", side="exact", n=N, least=0.95,
        unit="share", rounds=1, same_answer=True),
    *against("docarray041", 5),
    *against("chromadb", 5),
    *against("lancedb", 5),
]  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--large", action="store_true", help=f"{LARGE:,} documents: takes half an hour")
    known, sys.argv[1:] = parser.parse_known_args()
    rows = [dataclasses.replace(row, n=LARGE) for row in ROWS] if known.large else ROWS
    if "--quick" in sys.argv:  # each side builds an index of its own for each row
        rows = [row for row in rows if "%" not in row.name]
    main(__doc__, rows)
