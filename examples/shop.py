"""A small shop in one file: python examples/shop.py 'something warm' 4.50

The documents stay in shop.db between two runs; what is bought leaves its mark there. Needs pip install "docarray[sql]".
"""

import sys

from docarray import Document, DocumentArray

MENU = {
    "tea": ("a warm drink of leaves", 3.0),
    "coffee": ("a warm and strong drink of beans", 4.0),
    "cocoa": ("something sweet and warm, of chocolate", 4.5),
    "lemonade": ("something cold, of lemons", 3.5),
}

shop = DocumentArray(storage="sqlite", config={"connection": "shop.db", "columns": {"price": "float"}})
if not len(shop):
    shop.extend(Document(id=name, text=text, price=price) for name, (text, price) in MENU.items())
    shop.embed_feature_hashing(64, fields=["text"])

wish, purse = sys.argv[1:3] if len(sys.argv) > 2 else ("something warm", "4.50")
vector = Document(text=wish).embed_feature_hashing(64, fields=["text"]).embedding
found = shop.find(vector, text=wish, filter={"tags__price": {"$lte": float(purse)}}, limit=2)
for hit in found:
    print(f"{hit.id:10} {hit.tags['price']:.2f}  {hit.text}")

if found:
    with shop:  # both, or neither
        bought = shop[found[0].id]
        bought.tags["sold"] = bought.tags.get("sold", 0) + 1
        bought.chunks.append(Document(text=f"sold for {bought.tags['price']:.2f}"))
    print(f"{bought.id} was bought {bought.tags['sold']} times")
shop.close()
