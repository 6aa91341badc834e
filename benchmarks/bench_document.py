"""What does it cost to make a Document, one by one and from columns?"""

from pair import Row, main

ROWS = [
    Row(name="create, empty", task="create_empty", faster=10),
    Row(name="create, empty, and read its id", task="create_empty_read_id"),
    Row(name="create, text + tags", task="create_text_tags", faster=8),
    Row(name="create, text + embedding", task="create_text_embedding", faster=8),
    Row(name="create, text + embedding", task="create_text_embedding", peer="create_dataclass",
        side="dataclass", faster=1),
    Row(name="array from columns, no row touched", task="create_array_columns", peer="create_array", faster=1000),
    Row(name="array from Python lists, checked", task="create_array_lists", peer="create_array"),
    Row(name="array from columns, then every row", task="create_array_columns_touched", peer="create_array",
        faster=6),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
