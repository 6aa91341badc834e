"""How fast are paths, filters and groups? Paths: 58 000 nested documents, times a document found."""

from pair import Row, main

ROWS = [
    Row(name="'@c,m'", task="path_c_m", n=58_000, faster=25),
    Row(name="'@cc'", task="path_cc", n=58_000, faster=25),
    Row(name="'@r,c,cc'", task="path_r_c_cc", n=58_000, faster=25),
    Row(name="'@c[:2]'", task="path_c_slice", n=58_000, faster=25),
    Row(name="flatten", task="flatten", n=58_000, faster=2.5),
    Row(name="flatten, untouched columns", task="flatten_columns", peer="flatten", n=58_000, faster=25,
        same_answer=False),
    Row(name="'@c,m', untouched columns", task="chunks_columns", peer="path_c_m", n=58_000, faster=25,
        same_answer=False),
    Row(name="price < 30 and category == c, Documents", task="filter_rows", faster=60),
    Row(name="price < 30 and category == c, columns", task="filter_columns", peer="filter_rows", faster=800),
    Row(name="price < 30 and category == c, columns", task="filter_columns", peer="filter_polars", side="polars",
        within=1),
    Row(name="price < 30 and category == c, columns", task="filter_columns", peer="filter_pandas", side="pandas",
        within=1),
    Row(name="the same, the first time", task="filter_columns_first", peer="filter_rows"),
    Row(name="regular expression on text", task="regex", faster=10),
    Row(name="split_by_tag", task="split_by_tag", faster=8),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
