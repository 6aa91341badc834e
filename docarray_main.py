"""The command `docarray`, as it is installed: `docarray ping` is answered before the library is loaded."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> int:
    """Runs the command line and gives its exit code."""
    if sys.argv[1:2] == ["ping"]:
        code = _ping(sys.argv[2:])
        if code is not None:
            return code
    from docarray.cli import main as whole

    return whole()


def _ping(words: list[str]) -> int | None:
    """Asks; None where the words are others than the plain ones, of which the whole command line knows."""
    said = {"--timeout": 3.0, "--attempts": 1.0}
    urls: list[str] = []
    ready = False
    rest = iter(words)
    for word in rest:
        if word == "--ready":
            ready = True
        elif word in said:
            value = next(rest, "")
            if not value.replace(".", "", 1).isdecimal() or not float(value):
                return None
            said[word] = float(value)
        elif word.startswith("-"):
            return None
        else:
            urls.append(word)
    package = importlib.util.find_spec("docarray")  # finds it, and does not load it
    if len(urls) != 1 or not said["--attempts"].is_integer() or package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "flow" / "ping.py"
    spec = importlib.util.spec_from_file_location("_docarray_ping", file)
    if spec is None or spec.loader is None:
        return None
    ping = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ping)
    return int(ping.main(urls[0], said["--timeout"], int(said["--attempts"]), ready))


if __name__ == "__main__":
    sys.exit(main())
