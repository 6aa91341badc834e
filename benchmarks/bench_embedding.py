"""What does `embed` cost beside the model? A share of the model's own time, at batches of 64; by hand, and by us."""

from functools import partial

from pair import Row, main

IMAGES = 1_280  # 20 batches of some 30 ms
SENTENCES = 3_200

Share = partial(Row, side="by hand", unit="share", below=0.02)

ROWS = [
    Share(name="torch network, tensors in columns", task="torch_embed", peer="torch_by_hand", n=IMAGES),
    Share(name="torch network, a tensor in each document", task="torch_embed_documents",
        peer="torch_by_hand_documents", n=IMAGES),
    Share(name="wordllama, 45 words", task="wordllama_embed", peer="wordllama_by_hand", n=SENTENCES),
    Row(name="feature hashing, 45 words", task="hashing_embed", n=2_000, faster=4),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
