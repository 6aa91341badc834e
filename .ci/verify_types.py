"""Fails when less than 99 % of the public names of docarray have a complete type."""

import json
import os
import subprocess
import sys
from pathlib import Path

FLOOR = 0.99


def main() -> int:
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        [scripts / "pyright", "--verifytypes", "docarray", "--ignoreexternal", "--outputjson"],
        capture_output=True,
        text=True,
        # Here pyright looks for the package with the first `python` of the path, and nowhere else.
        env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
    )
    try:
        report = json.loads(done.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        return 1
    if not report.get("pyTypedPath"):
        print("pyright did not find docarray with a py.typed file: is it installed?", file=sys.stderr)
        return 1

    # docarray.testing is made of tests, whose fixtures have no types to say.
    public = [
        s for s in report["symbols"] if s["isExported"] and not s["name"].startswith("docarray.testing.")
    ]
    for symbol in public:
        if not symbol["isTypeKnown"]:
            print(f"{symbol['name']}: its type is not known in full")
            for diagnostic in symbol["diagnostics"]:
                print(f"    {diagnostic['message']}")
    score = sum(symbol["isTypeKnown"] for symbol in public) / len(public)
    print(f"Type completeness of docarray: {score:.1%} (at least {FLOOR:.0%} are asked for)")
    return 0 if score >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
