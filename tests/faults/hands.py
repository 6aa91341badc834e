"""What the fault tests do to an array, so that it can be done in another process and known in this one.

An array of these tests is a list of (id, version, note); a document says these three in every place where they could
come apart: text, tags, embedding, chunks. A deed is a list that JSON can hold; `Model.do` does it to the list, and
`done` to the array.

Run as a program this is a nursery: it has imported everything and opened nothing. For each line of orders on its
input it forks a worker, which writes down what it is about to do and what it has done, until somebody kills it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from docarray import Document, DocumentArray

DIM = 8
TESTS = Path(__file__).parent.parent


def vector(key: str, version: int) -> np.ndarray:
    seed = np.random.default_rng([version, *key.encode()])
    return seed.normal(size=DIM).astype(np.float32)


def made(key: str, version: int, note: int = 0) -> Document:
    chunks = [
        Document(id=f"{key}-{version}-{i}", text=f"part{version}", embedding=vector(f"{key}{i}", version))
        for i in range(version % 3)
    ]
    return Document(
        id=key,
        text=f"common word{version} own{key}",
        tags={"version": version, "note": note},
        embedding=vector(key, version),
        chunks=chunks,
    )


class Taken(Exception):
    """What a transaction is taken back with."""


class Model:
    """What an array should hold."""

    def __init__(self, rows: list[list[Any]] | None = None) -> None:
        self.rows = [list(row) for row in rows or []]

    @property
    def ids(self) -> list[str]:
        return [row[0] for row in self.rows]

    def do(self, deed: list[Any]) -> Model:
        """The model after a deed; this one stays as it is."""
        out = Model(self.rows)
        name, *args = deed
        rows = out.rows
        at = {row[0]: i for i, row in enumerate(rows)}
        if name == "extend":
            rows += [[key, version, 0] for key, version in args[0]]
        elif name == "append":
            rows.append([args[0], args[1], 0])
        elif name == "insert":
            rows.insert(args[0], [args[1], args[2], 0])
        elif name == "delete":
            gone = set(args[0])
            out.rows = [row for row in rows if row[0] not in gone]
        elif name == "cut":
            del rows[args[0] : args[1]]
        elif name == "replace":
            rows[at[args[0]]] = [args[1], args[2], 0]
        elif name == "upsert":
            for key, version in args[0]:
                if key in at:
                    rows[at[key]] = [key, version, 0]
                else:
                    rows.append([key, version, 0])
        elif name == "note":
            rows[at[args[0]]][2] = args[1]
        elif name == "notes":
            for row in rows[args[0] : args[1]]:
                row[2] = args[2]
        elif name == "reverse":
            rows.reverse()
        elif name == "with":
            for inner in args[0]:
                out = out.do(inner)
        elif name not in ("undone", "find", "words", "sync"):
            raise ValueError(name)
        return out


def done(da: DocumentArray, deed: list[Any]) -> None:
    """Does a deed to an array."""
    name, *args = deed
    if name == "extend":
        da.extend(made(key, version) for key, version in args[0])
    elif name == "append":
        da.append(made(args[0], args[1]))
    elif name == "insert":
        da.insert(args[0], made(args[1], args[2]))
    elif name == "delete":
        del da[args[0]]
    elif name == "cut":
        del da[args[0] : args[1]]
    elif name == "replace":
        da[args[0]] = made(args[1], args[2])
    elif name == "upsert":
        da.upsert([made(key, version) for key, version in args[0]])
    elif name == "note":
        da[args[0]].tags["note"] = args[1]
    elif name == "notes":
        part = da[args[0] : args[1]]
        part[:, "tags__note"] = [args[2]] * len(part)
    elif name == "reverse":
        da.reverse()
    elif name == "with":
        with da:
            for inner in args[0]:
                done(da, inner)
    elif name == "undone":
        try:
            with da:
                for inner in args[0]:
                    done(da, inner)
                raise Taken
        except Taken:
            pass
    elif name == "find":
        da.find(vector(args[0], args[1]), limit=5)
    elif name == "words":
        da.find(f"word{args[0]}", limit=5)
    elif name == "sync":
        da.sync()


class Chance:
    """Random deeds that fit a model."""

    def __init__(self, seed: int, run: int, most: int) -> None:
        self.random = random.Random(seed)
        self.run = run
        self.most = most
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        return f"r{self.run}n{self.count}"

    def deed(self, model: Model, nested: bool = False) -> list[Any]:
        pick, count = self.random, len(model.rows)
        version = pick.randrange(30)
        names = ["append"] * 4 + ["insert"] * 4 + ["extend"] * 2 + ["upsert"]
        if count:
            names += ["delete"] * 3 + ["cut", "replace", "replace", "note", "note", "notes"]
        if not nested:
            names += ["with"] * 4 + ["undone", "find", "find", "words", "sync"]
            names += ["reverse"] if pick.random() < 0.2 else []
        name = "cut" if count > self.most else pick.choice(names)
        some = [pick.choice(model.rows)[0] for _ in range(pick.randrange(1, 8))] if count else []
        if name == "append":
            return [name, self.fresh(), version]
        if name == "insert":
            return [name, pick.choice([0, pick.randint(0, count)]), self.fresh(), version]
        if name == "extend":
            return [name, [[self.fresh(), version + i % 2] for i in range(pick.choice([1, 3, 60]))]]
        if name == "upsert":
            return [name, [[key, version] for key in dict.fromkeys([*some, self.fresh()])]]
        if name == "delete":
            return [name, list(dict.fromkeys(some))]
        if name == "cut":
            start = pick.randrange(count)
            return [name, start, start + pick.choice([1, 5, count // 4 + 1])]
        if name == "replace":
            key = some[0]
            return [name, key, pick.choice([key, self.fresh()]), version]
        if name == "note":
            return [name, some[0], pick.randrange(1000)]
        if name == "notes":
            start = pick.randrange(count)
            return [name, start, start + 6, pick.randrange(1000)]
        if name in ("with", "undone"):
            deeds = []
            for _ in range(pick.randrange(1, 5)):
                deeds.append(self.deed(model, nested=True))
                model = model.do(deeds[-1])
            return [name, deeds]
        if name == "find":
            return [name, some[0] if some else "x", version] if count else ["sync"]
        return [name, version] if name == "words" else [name]


# ------------------------------------------------------------------------------------------ the nursery


def work(order: dict[str, Any]) -> None:
    """Opens the array and does random deeds until killed, or until it has done enough."""
    journal = os.open(order["journal"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(*words: Any) -> None:
        os.write(journal, (json.dumps(words) + "\n").encode())

    try:
        subs = order.get("subs")
        da = DocumentArray(storage=order["storage"], config=order["config"], subindex_configs=subs)
        model, chance = Model(order["rows"]), Chance(order["seed"], order["run"], order["most"])
        note("open")
        for _ in range(order["deeds"]):
            deed = chance.deed(model)
            note("try", deed)
            done(da, deed)
            note("done")
            model = model.do(deed)
        da.close()
        note("close")
    except BaseException:
        note("error", traceback.format_exc())


def writes_pairs(da: DocumentArray, who: str, deeds: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """Puts in, changes and takes out documents two at a time: what of them is there in the end, and what of it was
    appended, in order.
    """
    pick, there, appended = random.Random(seed), dict[str, int](), list[str]()
    for number in range(deeds):
        kind = pick.random()
        if kind < 0.7 or not there:
            key = f"{who}.{number}"
            pair = [made(f"{key}.{side}", number) for side in "ab"]
            if kind < 0.3:
                da.extend(pair)
                appended += [doc.id for doc in pair]
            else:
                with da:
                    place = pick.randint(0, len(da))
                    da.insert(place, pair[0])
                    da.insert(place + 1, pair[1])
            there[key] = number
            continue
        key = pick.choice(list(there))
        both = [f"{key}.a", f"{key}.b"]
        if kind < 0.85:
            with da:
                for side in both:
                    da[side] = made(side, 1000 + number)
            there[key] = 1000 + number
        else:
            del da[both]
            del there[key]
            appended = [one for one in appended if one not in both]
    return there, appended


def whole_pairs(ids: Any, what: str) -> None:
    """Fails if one of two documents is there without the other, or one of them twice."""
    seen = set(ids)
    assert len(seen) == len(ids), f"{what}: twice: {[key for key in seen if list(ids).count(key) > 1]}"
    lone = [key for key in seen if key[:-1] + ("b" if key[-1] == "a" else "a") not in seen]
    assert not lone, f"{what}: half of a pair: {lone}"


def reads_pairs(da: DocumentArray, deeds: int, seed: int) -> None:
    """Looks at the array in all ways while others write; it has 20 documents or more all the time."""
    pick = random.Random(seed)
    for _ in range(deeds):
        assert len(da) % 2 == 0
        whole_pairs(da[:, "id"], "ids")
        whole_pairs([doc.id for doc in da], "iteration")
        # A copy is of one moment. Documents are live: two of them may have been brought up to date at different ones.
        copy = DocumentArray.from_bytes(da.to_bytes())
        versions = {doc.id: doc.tags["version"] for doc in copy}
        halves = [key for key in versions if versions[key] != versions[key[:-1] + "ab"[key[-1] == "a"]]]
        assert not halves, f"half a transaction: {halves}"
        whole_pairs(da.find("common", limit=5000)[:, "id"], "words")
        whole_pairs(da.find(vector("x", 1), limit=5000)[:, "id"], "vectors")
        whole_pairs(da.find({"text": {"$regex": "common"}})[:, "id"], "filter")
        at = pick.randrange(20)
        assert da[at].text.startswith("common")
        assert len(da[at : at + 3]) == 3
        found = da.find(vector("x", pick.randrange(99)), limit=4)
        assert all(doc.text.split()[1] == f"word{doc.tags['version']}" for doc in found)


def crowd(order: dict[str, Any]) -> None:
    """Works on an array that others work on, and writes down how it ended."""
    out: dict[str, Any] = {}
    try:
        da = DocumentArray(storage=order["storage"], config=order["config"])
        if order["role"] == "write":
            out["there"], out["appended"] = writes_pairs(da, order["who"], order["deeds"], order["seed"])
        else:
            reads_pairs(da, order["deeds"], order["seed"])
        da.close()
    except BaseException:
        out["error"] = traceback.format_exc()
    Path(order["journal"]).write_text(json.dumps(out))


def nurse() -> None:
    for line in sys.stdin:
        orders = json.loads(line)
        pids = []
        for order in orders:
            pid = os.fork()
            if not pid:
                (crowd if "role" in order else work)(order)
                os._exit(0)
            pids.append(pid)
        print(json.dumps(pids), flush=True)
        for pid in pids:
            os.waitpid(pid, 0)
        print("gone", flush=True)


class Nursery:
    """The program in a process of its own; `with` ends it."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faults.hands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def sent(self, orders: list[dict[str, Any]]) -> list[int]:
        """The numbers of the workers for these orders."""
        self.process.stdin.write(json.dumps(orders) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def finished(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Lets so many workers work at the same time, to the end: how each ended."""
        self.sent(orders)
        assert self.process.stdout.readline() == "gone\n"
        return [json.loads(Path(order["journal"]).read_text()) for order in orders]

    def killed(self, order: dict[str, Any], after: float, once: str = "") -> list[list[Any]]:
        """Lets a worker work for so many seconds, from when its journal says a word, and kills it: its journal."""
        journal = Path(order["journal"])
        journal.write_text("")
        (pid,) = self.sent([order])
        end = time.monotonic() + 30
        while once not in journal.read_text() and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):  # it was done with its work
            os.kill(pid, 9)
        assert self.process.stdout.readline() == "gone\n"
        return [json.loads(line) for line in journal.read_text().split("\n")[:-1]]


if __name__ == "__main__":
    try:
        import hnswlib
    except ImportError:
        pass
    else:
        del hnswlib
    nurse()
