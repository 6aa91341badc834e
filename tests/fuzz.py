"""Throws damaged bytes at every reader: what comes back is documents, or an error of ours.

    python tests/fuzz.py                       a minute of each format
    python tests/fuzz.py --seconds 600 csv     ten of one
    python tests/fuzz.py --keep                keeps a small input for each way of refusing one, too

Whatever else happens is written to tests/data/fuzz/FORMAT/, where test_fuzz.py reads it for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from everything import alike_array, everything_array

from docarray import Document, DocumentArray
from docarray.errors import DocArrayError, FormatError, MissingExtra
from docarray.registry import FORMATS, resolve

FOLDER = Path(__file__).parent / "data" / "fuzz"
SLOW = 10.0  # seconds that no small input may take
GROWTH = 256 << 10  # KiB that no small input may need

# What honest data say of themselves at the places where lies hurt.
_NUMBERS = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]
_WORDS = [
    b"[",
    b"{",
    b'"',
    b"}",
    b"]",
    b"\x00",
    b"\xff",
    b"1e999",
    b"NaN",
    b"null",
    b"\\ud800",
    b'{"$docarray":',
]


def seeds(name: str) -> list[bytes]:
    """Honest bytes of a format, small."""
    options = {"exact": False} if name.startswith("protobuf") else {}
    small = DocumentArray([Document(id="a", text="hi", tags={"x": 1.5}), Document(id="b")])
    arrays = [small, alike_array(3), everything_array()[:2], everything_array()[3:5], DocumentArray()]
    found = [small.to_bytes(name, **options)]
    for array in arrays:
        try:
            found.append(array.to_bytes(name))
        except DocArrayError:  # what a format cannot say is held to elsewhere
            continue
    for compress in resolve("format", name).compressions:
        found.append(small.to_bytes(name, compress))
    return found


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The bytes with one to four faults in them."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(9):
            case 0 if out:
                out[min(at, len(out) - 1)] ^= 1 << rng.randrange(8)
            case 1 if out:
                out[min(at, len(out) - 1)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            case 2:
                del out[at:]
            case 3:
                del out[at : at + rng.randint(1, 16)]
            case 4:
                number, size = rng.choice(_NUMBERS), rng.choice([1, 2, 4, 8])
                order = rng.choice(["little", "big"])
                out[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, order)
            case 5:
                out[at:at] = rng.choice(_WORDS)
            case 6:
                other = rng.choice(others)
                cut = rng.randrange(len(other) + 1)
                out[at:] = other[cut:]
            case 7:
                size = rng.randint(1, 64)
                out[at:at] = out[at : at + size] * rng.randint(1, 3)
            case _:
                out[at:at] = rng.randbytes(rng.randint(1, 4))
    return bytes(out)


def attempt(name: str, data: bytes, refused: Callable[[str], object] = str) -> str | None:
    """What is wrong with how a reader takes these bytes; None where nothing is. `refused` gets errors of ours."""
    begun = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        touch(DocumentArray.from_bytes(data, name, max_size=1 << 26))
    except (FormatError, MissingExtra) as error:
        refused(f"{type(error).__name__}: {error}")
    except Exception:
        return traceback.format_exc()
    taken = time.monotonic() - begun
    if taken > SLOW:
        return f"took {taken:.1f} s"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > GROWTH:
        return f"needed {grown >> 10} MiB for {len(data)} bytes"
    return None


def touch(array: DocumentArray[Document]) -> None:
    """Looks at all that was read: columns first, then documents, then what is below them."""
    for name in ("id", "text", "tags", "weight", "location", "scores"):
        array[:, name]
    for doc in array:
        repr(doc)
        doc.to_bytes()
        touch(doc.chunks)
        touch(doc.matches)


def keep(name: str, data: bytes) -> Path:
    path = FOLDER / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def corpus(name: str, seconds: float, seed: int) -> dict[str, bytes]:
    """Ways of refusing bytes, and the shortest input that was found for each."""
    rng = random.Random(f"{name} {seed}")
    pool = seeds(name)
    pool = [data for data in pool if len(data) < 4000] or pool
    found: dict[str, bytes] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(rng.choice(pool), pool, rng)

        def refused(message: str, data: bytes = data) -> None:
            # Of a message its words: numbers and quoted parts change with every input.
            way = re.sub(r"'[^']*'|\"[^\"]*\"|b'.*|[0-9a-fx]*[0-9][0-9a-fx]*", "", message)[:60]
            if len(data) < len(found.get(way, bytes(2000))):
                found[way] = data

        attempt(name, data, refused)
    return found


def fuzz(name: str, seconds: float, seed: int) -> Iterator[tuple[bytes, str]]:
    """Bytes that a reader does not take as it should, and what it did."""
    rng = random.Random(f"{name} {seed}")
    pool = seeds(name)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(rng.choice(pool), pool, rng)
        fault = attempt(name, data)
        if fault is not None:
            yield data, fault


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("formats", nargs="*", help="names of formats (all)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="keep an input for each way of refusing one")
    options = parser.parse_args()
    faults: set[str] = set()
    for name in options.formats or FORMATS:
        for data, fault in fuzz(name, options.seconds, options.seed):
            last = fault.strip().splitlines()[-1]
            where = next((line for line in reversed(fault.splitlines()) if 'File "' in line), "")
            if (kind := f"{name} {where} {last[:60]}") in faults:
                continue
            faults.add(kind)
            print(f"{keep(name, data)}\n{fault}")
        if options.keep:
            for data in corpus(name, options.seconds, options.seed).values():
                keep(name, data)
    print(f"{len(faults)} kinds of faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
