"""A catalogue on the web: python examples/search_service.py [--port 8000] [--write]

Makes catalogue.db the first time, then serves it: a page to look through it at /, REST at /documents and /search,
GraphQL at /graphql. With --write clients may change it; they show the key in the environment variable CATALOGUE_KEY.

Needs pip install "docarray[serve,usearch]".
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Literal

import numpy as np

from docarray import Document, DocumentArray, dataclass, web
from docarray.typing import Text

FILE = Path("catalogue.db")
DIMENSIONS = 256


@dataclass
class Article:
    name: Text
    details: Text
    kind: Literal["kitchen", "clothes", "garden"]
    price: float = 0.0


ARTICLES = [
    Article("kettle", "Boils a litre of water for tea and coffee.", "kitchen", 40.0),
    Article("teapot", "Keeps tea warm for an hour.", "kitchen", 28.0),
    Article("mug", "Holds tea, coffee or cocoa. Not for the dishwasher.", "kitchen", 9.5),
    Article("scarf", "Warm wool to wear in winter.", "clothes", 25.0),
    Article("raincoat", "Keeps you dry; wear it over a jumper.", "clothes", 60.0),
    Article("gloves", "Warm and dry hands in winter.", "clothes", 18.0),
    Article("watering can", "Ten litres of water for dry summers.", "garden", 22.0),
    Article("spade", "Digs heavy ground.", "garden", 31.0),
]


def encode(texts: list[str]) -> np.ndarray:
    """Vectors (n, DIMENSIONS) of texts, by their words; a model of sentences goes in its place."""
    docs = DocumentArray(Document(text=text) for text in texts)
    return docs.embed_feature_hashing(DIMENSIONS, fields=["text"]).embeddings


def opened() -> DocumentArray:
    """The catalogue, made if it is not there."""
    config = {"connection": str(FILE), "n_dim": DIMENSIONS}
    is_new = not FILE.exists()
    catalogue = DocumentArray(storage="hnswlib", config=config)
    if is_new:
        with catalogue:
            for article in ARTICLES:
                doc = Document(article)
                doc.id = article.name.replace(" ", "-")
                doc.text = f"{article.name}: {article.details}"
                doc.embedding = encode([doc.text])[0]
                catalogue.append(doc)
    return catalogue


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves a catalogue.")
    parser.add_argument("--port", type=int, default=8000, help="0 for one that is free")
    parser.add_argument("--write", action="store_true", help="let clients with the key write")
    options = parser.parse_args()
    catalogue = opened()
    try:
        web.serve(
            catalogue,
            port=options.port,
            ready=lambda url: print(f"The catalogue is at {url}", flush=True),
            name="catalogue",
            schema=Article,
            encode=encode,
            writable=options.write,
            api_key=os.environ["CATALOGUE_KEY"] if options.write else None,
        )
    finally:
        catalogue.close()


if __name__ == "__main__":
    main()
