"""What do workers cost, beside the same work without them, and beside the old library?"""

from pair import Row, main

ROWS = [
    Row(
        name="map by threads, a document",
        task="map_threads",
        peer="map_executor",
        side="executor",
        n=20_000,
        within=1,
    ),
    Row(
        name="map by threads, a document", task="map_threads", peer="map_comprehension", side="loop", n=20_000
    ),
    Row(
        name="map by processes, started anew, a document", task="map_processes", n=20_000, rounds=3, faster=1
    ),
    Row(
        name="a batch of 64 for torch",
        task="torch_array",
        peer="torch_plain",
        side="dataset",
        n=20_000,
        within=1,
    ),
]

if __name__ == "__main__":
    main(__doc__, ROWS)
