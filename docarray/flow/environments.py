"""Environments: what `install_requirements` installs, for the processes of one deployment alone.

Rule 1: packages go into a folder of their own, beside those that are there already; nothing that is there is changed.
Rule 2: a folder is made once for what a file of requirements says, this Python, and what is there beside; it is used
        again as long as nobody removes it. One that was not finished is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from docarray.flow.faults import FlowStartError

__all__ = ["Environment", "environment"]

_DONE: Final = "complete"
_TOLD: Final = 1_000  # characters of what pip said


class Environment(NamedTuple):
    """A Python with packages of its own."""

    python: str
    """Its program."""
    packages: str
    """The folder of its packages."""

    def path(self, before: Sequence[str]) -> list[str]:
        """A `sys.path` with these packages ahead of all that is installed, behind what people write."""
        installed = {os.path.realpath(one) for one in _installed()}
        at = next((at for at, one in enumerate(before) if os.path.realpath(one) in installed), len(before))
        return [*before[:at], self.packages, *before[at:]]


def environment(requirements: Path, folder: Path | None = None) -> Environment:
    """An environment with what a file of requirements names. The first time takes as long as pip does.

    Args:
        requirements: as pip reads it; paths in it are relative to its folder.
        folder: where environments are kept; `.cache/docarray/environments` in the home folder unless given, or in
            what XDG_CACHE_HOME says.

    Raises:
        FlowStartError: there is no such file, or pip does not install it; the message has what it said.
    """
    try:
        said = requirements.read_bytes()
    except OSError as error:
        raise FlowStartError(
            f"install_requirements: {requirements} cannot be read ({error.strerror}); it stands beside the YAML of "
            "the Executor"
        ) from None
    if folder is None:
        cache = os.environ.get("XDG_CACHE_HOME")
        folder = (Path(cache) if cache else Path.home() / ".cache") / "docarray" / "environments"
    where = folder / _hash(said, requirements.parent)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{where.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one makes it, others wait: also those of other processes
        found = Environment(str(where / "bin" / "python"), _packages(where))
        if not (where / _DONE).is_file():
            shutil.rmtree(where, ignore_errors=True)
            try:
                _make(found, where, requirements)
            except BaseException:
                shutil.rmtree(where, ignore_errors=True)
                raise
            (where / _DONE).touch()
    return found


def _hash(said: bytes, folder: Path) -> str:
    """What tells one environment from another."""
    parts = [said, str(folder.resolve()).encode(), sys.version.encode(), sys.executable.encode()]
    parts += [one.encode() for one in _installed()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _installed() -> list[str]:
    """The folders of packages of this Python."""
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    return list(dict.fromkeys(paths))


def _packages(where: Path) -> str:
    return sysconfig.get_path("purelib", "venv", {"base": str(where), "platbase": str(where)})


def _make(made: Environment, where: Path, requirements: Path) -> None:
    has_pip = importlib.util.find_spec("pip") is not None
    venv.create(where, symlinks=True, with_pip=not has_pip)
    # Those that are there already: a virtual environment of a virtual environment has not got its packages.
    Path(made.packages, "docarray-base.pth").write_text("\n".join(_installed()) + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", made.python] if has_pip else [made.python, "-m", "pip"]
    command = [
        *pip,
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "-r",
        str(requirements.resolve()),
    ]
    done = subprocess.run(
        command,
        cwd=requirements.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise FlowStartError(
            f"{requirements} could not be installed; pip says: {done.stdout.strip()[-_TOLD:]}"
        )
