"""`python -m docarray` is the command `docarray`."""

from __future__ import annotations

import sys

from docarray.cli import main

if __name__ == "__main__":
    sys.exit(main())
