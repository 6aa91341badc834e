"""How long until the ten nearest of 100 000 documents are in the hand, exactly?"""

from pair import Row, main

ROWS = [
    Row(name=f"{metric}, {count} {'query' if count == 1 else 'queries'}", task=f"find_{metric}_{count}",
        peer=f"{peer}_{metric}_{count}", side=side, faster=faster, within=within, rounds=5 if count == 1000 else 9)
    for metric in ("cosine", "euclidean")
    for count, old_goal, faiss_goal in ((1, 25, 1), (10, 10, 1), (1000, 6, 3))
    for peer, side, faster, within in (("find", "old", old_goal, 0), ("faiss", "faiss", 0, faiss_goal))
] + [
    Row(name="cosine, 1 query, 768-d", task="find_cosine_1_768", faster=20),
    Row(name="cosine, 1 query, 768-d", task="find_cosine_1_768", peer="faiss_cosine_1_768", side="faiss", within=1),
    Row(name="cosine, 1 query, a matrix of the caller's", task="find_cosine_1_given", faster=25),
    Row(name="cosine, 1 query, a filter keeps 1 %", task="find_filtered_columns", peer="find_unfiltered_columns",
        side="no filter", faster=1, same_answer=False),
    Row(name="cosine, 1 query, one row changed", task="find_after_change", faster=20),
    Row(name="cosine, 1 query, one row changed", task="find_after_change", peer="find_cosine_1", side="unchanged",
        within=2, same_answer=False),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
