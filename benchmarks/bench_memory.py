"""How many bytes does a document take? Growth of the resident memory of a fresh process, a document.

The goals were set for a million documents of text and float32[128]; 200 000 of them say the same in less time.
"""

from pair import Row, main

ROWS = [
    Row(name="one-word Document", task="memory_word", within=0.35, fresh=True, rounds=3, unit="B"),
    Row(name="one-word Document, its id read", task="memory_word_with_id", fresh=True, rounds=3, unit="B"),
    Row(name="text + vector, 200k row by row", task="memory_rows", n=200_000, within=0.8, fresh=True, rounds=3,
        unit="B"),
    Row(name="text + vector, 200k as columns", task="memory_columns", peer="memory_matrix", side="matrix",
        n=200_000, within=1.35, fresh=True, rounds=3, unit="B"),
    Row(name="text + vector, 200k opened", task="memory_opened", peer="memory_matrix", side="matrix",
        n=200_000, within=0.1, fresh=True, rounds=3, unit="B"),
    Row(name="text + vector, 200k as columns", task="memory_columns", peer="memory_rows", n=200_000, fresh=True,
        rounds=3, unit="B"),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
