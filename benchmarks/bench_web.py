"""What does a search over HTTP cost, by our endpoints and by a handler of FastAPI written by hand?

Ratios are of seconds a request, and of the 99th of a hundred: 1x is as many requests in a second, and as late.
"""

from pair import Row, main

NAMES = {"mean": "a request", "p99": "p99"}

ROWS = [
    Row(
        name=f"{kind}, {store}, {connections} connection{'s' if connections > 1 else ''}, {NAMES[what]}",
        task=f"web_{kind}_{store}_{connections}_{what}",
        peer=f"web_handler_{store}_{connections}_{what}",
        side="handler",
        n=10_000,
        faster=0.9,
    )
    for kind in ("rest", "graphql")
    for store in ("memory", "sqlite")
    for connections in (1, 16)
    for what in ("mean", "p99")
]

if __name__ == "__main__":
    main(__doc__, ROWS)
