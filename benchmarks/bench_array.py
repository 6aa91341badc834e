"""Is a DocumentArray as easy as a list, also for the clock?"""

from pair import Row, main

ROWS = [
    Row(name="append, in a loop", task="append", faster=2.5),
    Row(name="extend by a list", task="extend", faster=20),
    Row(name="slice, half", task="slice_half", faster=30),
    Row(name="index by a list of positions", task="index_list", faster=8),
    Row(name="da[i]", task="get_position", faster=1.2),
    Row(name="da[id], warm", task="get_id", faster=1.2),
    Row(name="id in da", task="contains_id", faster=1.2),
    Row(name="del da[id]", task="delete_id", faster=100, seconds=5),
    Row(name="del da[id], ten in a row, each", task="delete_ids_in_a_loop", faster=100, rounds=5),
    Row(name="da[id] after a delete", task="get_id_after_delete", faster=100),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
