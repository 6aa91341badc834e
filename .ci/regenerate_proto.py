"""Makes the code of docarray.proto anew, in a folder that is thrown away, and compares it with what is committed.

    python .ci/regenerate_proto.py            fails when they differ, and shows how
    python .ci/regenerate_proto.py --write    puts the new code in place of the old

The compiler is that of one version of grpcio-tools: the runtime of protobuf reads code of its version and of earlier
ones, so this version decides which protobuf the library can be installed beside. It brings an old protobuf along, which
nothing else should run on: where it is not installed, it gets an environment of its own, for as long as this takes.
"""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

TOOLS = "1.71.2"
FOLDER = Path(__file__).resolve().parents[1] / "docarray" / "proto"
MADE = ("docarray_pb2.py", "docarray_pb2.pyi")


def main() -> int:
    with TemporaryDirectory() as folder:
        fresh = compiled(Path(folder))
    stale = [name for name, text in fresh.items() if text != held(name)]
    for name in stale:
        if "--write" in sys.argv[1:]:
            (FOLDER / name).write_text(fresh[name])
            print(f"written: {FOLDER / name}")
            continue
        lines = difflib.unified_diff(
            held(name).splitlines(),
            fresh[name].splitlines(),
            f"committed/{name}",
            f"made/{name}",
            "",
            "",
            1,
            "",
        )
        print("\n".join(line[:200] for line in lines))
        print(f"docarray/proto/{name} is not what docarray.proto makes: .ci/regenerate_proto.py --write")
    return 1 if stale and "--write" not in sys.argv[1:] else 0


def compiled(folder: Path) -> dict[str, str]:
    """What the compiler makes of docarray.proto, by the name of the file."""
    command = [str(interpreter(folder)), "-W", "ignore", "-m", "grpc_tools.protoc", f"-I{FOLDER}"]
    command += [f"--python_out={folder}", f"--pyi_out={folder}", "docarray.proto"]
    subprocess.run(command, check=True)
    return {name: typed((folder / name).read_text()) for name in MADE}


def typed(text: str) -> str:
    """The code, with the types that the compiler leaves open in its stubs."""
    return re.sub(r"_Mapping(?=])", "_Mapping[str, object]", text)


def interpreter(folder: Path) -> Path:
    """A Python that has the compiler."""
    try:
        if version("grpcio-tools") == TOOLS:
            return Path(sys.executable)
    except PackageNotFoundError:
        pass
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, f"grpcio-tools=={TOOLS}"], check=True)
    return python


def held(name: str) -> str:
    """The file that is committed."""
    path = FOLDER / name
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
