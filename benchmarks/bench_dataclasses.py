"""What does it cost to turn objects of a dataclass into documents, and documents into objects?"""

from pair import Row, main

ROWS = [
    Row(name="Document(page)", task="dataclass_to_document", n=2_000, faster=12, rounds=15),
    Row(name="Page(doc)", task="dataclass_from_document", n=2_000, faster=4, rounds=15),
    Row(name="from protobuf bytes to objects", task="dataclass_from_wire", n=2_000),
    Row(name="doc.title.text", task="dataclass_attribute", n=2_000, faster=15, rounds=15),
    Row(name="da['@.[title]'], per document", task="dataclass_path", n=2_000, faster=25, rounds=15),
    Row(name="two classes are defined", task="dataclass_define", n=1),
]

if __name__ == "__main__":
    main(__doc__, ROWS)
