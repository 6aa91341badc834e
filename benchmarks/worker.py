"""One side of a comparison: an interpreter of its own, asked line by line.

    .venv-old/bin/python benchmarks/worker.py TASK N

makes the task ready, says {"ready": true}, and then measures once for each line it reads:
{"value": 5.9e-06, "answer": 100000}. What goes wrong is said as {"error": "..."}. It ends with its input.
"""

from __future__ import annotations

import json
import sys

import tasks_bodies  # noqa: F401  it adds its own
import tasks_dataclasses  # noqa: F401  it adds its own
import tasks_embedding  # noqa: F401  it adds its own
import tasks_flow  # noqa: F401  it adds its own
import tasks_flow_grpc  # noqa: F401  it adds its own
import tasks_flow_http  # noqa: F401  it adds its own
import tasks_formats  # noqa: F401
import tasks_media  # noqa: F401
import tasks_models  # noqa: F401
import tasks_parallel  # noqa: F401
import tasks_storage  # noqa: F401
import tasks_web  # noqa: F401
from tasks import TASKS


def main() -> None:
    task, n = sys.argv[1], int(sys.argv[2])
    # Only these lines may reach the other side: what a library prints goes to stderr.
    out, sys.stdout = sys.stdout, sys.stderr

    def say(**message: object) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        rounds = TASKS[task](n)
        value, answer = next(rounds)
        say(ready=True)
        # The first round has warmed caches: it counts only for tasks that cannot have a second one.
        for line in sys.stdin:
            if line.strip() != "first":
                value, answer = next(rounds)
            say(value=value, answer=answer)
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
