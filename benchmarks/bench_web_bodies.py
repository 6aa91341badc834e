"""What do 1 000 documents with 768 numbers each cost as the body of a request, and as an answer?

Beside them the same in an application of FastAPI, once with models of pydantic and lists of floats, as its own
documentation has it, and once by orjson and numpy without any check. Times are a document.
"""

from pair import Row, main

GOALS = {
    ("native", "pydantic"): 10,
    ("json", "pydantic"): 1,
    ("ndjson", "pydantic"): 1,
    ("native", "orjson"): 5,
}

ROWS = [
    Row(
        name=f"{kind} {done}, beside {peer}",
        task=f"body_{kind}_{done}",
        peer=f"body_{peer}_{done}",
        side="handler",
        n=1000,
        faster=GOALS.get((kind, peer), 0),
    )
    for done in ("request", "response")
    for peer in ("pydantic", "orjson")
    for kind in ("native", "json", "ndjson")
]

if __name__ == "__main__":
    main(__doc__, ROWS)
