"""A catalogue of things with pictures and paragraphs in one file: python examples/catalogue.py 'something warm to wear'

Makes its pictures itself. Needs pip install "docarray[media,sql]".
"""

from __future__ import annotations

import sys

import numpy as np

from docarray import Document, DocumentArray, dataclass
from docarray.typing import Image, Text


@dataclass
class Article:
    name: Text
    picture: Image
    details: list[Text]
    price: float = 0.0


def square(colour: tuple[int, int, int]) -> np.ndarray:
    """A picture 32 x 32 of one colour on white."""
    pixels = np.full((32, 32, 3), 255, np.uint8)
    pixels[8:24, 8:24] = colour
    return pixels


RED, GREEN, BLUE = (200, 30, 40), (30, 160, 60), (40, 60, 200)
articles = [
    Article("scarf", square(RED), ["Warm wool to wear in winter.", "Wash by hand."], 25.0),
    Article("kettle", square(RED), ["Boils a litre of water.", "For tea and coffee."], 40.0),
    Article("raincoat", square(BLUE), ["Keeps you dry.", "Wear it over a jumper."], 60.0),
    Article("mug", square(GREEN), ["Keeps tea warm.", "Not for the dishwasher."], 9.5),
]

catalogue = DocumentArray(
    [Document(article) for article in articles],
    storage="sqlite",
    config={"connection": "catalogue.db"},
    subindex_configs={"@.[details]": None, "@.[picture]": None},
)
with catalogue:
    catalogue["@.[details]"].embed_feature_hashing(128, fields=["text"])
    catalogue["@.[picture]"].embed_image_features()

wish = sys.argv[1] if len(sys.argv) > 1 else "something warm to wear"
vector = Document(text=wish).embed_feature_hashing(128, fields=["text"]).embedding
for hit in catalogue.find(vector, on="@.[details]", limit=2):
    article = Article(catalogue[hit.tags["_root_id_"]])  # a document becomes the dataclass again
    print(f"{article.name:9} {article.price:6.2f}  {hit.text}")

alike = DocumentArray([Document(tensor=square((190, 40, 50)))]).embed_image_features()[0].embedding
names = [Article(root).name for root in catalogue.find(alike, on="@.[picture]", limit=2, return_root=True)]
print(f"as red as this: {', '.join(names)}")
catalogue.close()
