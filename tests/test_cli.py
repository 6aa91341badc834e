from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import re
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from docarray import Document, DocumentArray, __version__, cli
from docarray.serialization import container

ROOT = Path(__file__).resolve().parents[1]
NO_MODEL = 'wordllama is not installed: pip install "docarray[demo]"'
COMMANDS = [
    "demo", "index", "search", "serve", "flow", "deployment", "executor", "gateway", "ping", "client", "export",
    "new", "info", "head",
]  # fmt: skip


def docarray(*words, columns=80, env=None):
    """What the real command line does in a pipe."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "docarray", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        env=os.environ | {"COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"} | (env or {}),
    )


def lines_of(*words, **kwargs):
    """The lines of a command that goes well."""
    done = docarray(*words, **kwargs)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.splitlines()


def error_of(*words, code=1):
    """The one line that a command fails with."""
    done = docarray(*words)
    assert (code, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines())), done.stderr
    return done.stderr.rstrip("\n")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """One file with something of every kind."""
    path = tmp_path_factory.mktemp("cli") / "all.docarray"
    cake = Document(
        id="cake", text="größe ≥ 3\n\x1b[31mred", tags={"price": 2.5, "n": 1, "worst": float("nan")}
    )
    cake.embedding = np.arange(3, dtype=np.float32)
    cake.chunks = [Document(id="c1", text="crumb"), Document(id="c2", blob=b"\x00\x01")]
    cake.scores["cosine"] = 0.25
    tart = Document(
        id="tart", tensor=np.zeros((2, 4), np.int16), tags={"price": 3.0, "raw": (np.int8(1), b"x")}
    )
    tart.embedding = np.ones(3, np.float32)
    DocumentArray([cake, tart, Document(id="pie", uri="pie.png", weight=0.5)]).save(path)
    return path


# --- serve ----------------------------------------------------------------------------------------------------------


SERVE = 'pip install "docarray[serve]"'


@contextlib.contextmanager
def serving(*words, env=None):
    """The line that a server prints, and its url; it is told to end when the block does, and says no more."""
    for module in ("uvicorn", "fastapi", "strawberry", "prometheus_client"):
        pytest.importorskip(module, reason=SERVE)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "docarray", "serve", *map(str, words), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | (env or {}),
    )
    try:
        line = process.stdout.readline().strip()
        yield line, line.split()[-1]
        process.send_signal(signal.SIGTERM)
        assert ("", "") == process.communicate(timeout=20)
        assert 0 == process.returncode
    finally:
        process.kill()
        process.communicate()


def got(url, key=None):
    with urlopen(Request(url, headers={"X-API-Key": key} if key else {}), timeout=20) as answer:
        return json.load(answer)


def test_serve_serves_a_file(file):
    with serving(file) as (line, url):
        found = got(f"{url}/documents?fields=text")
        count = got(f"{url}/documents/count")

    assert line.startswith(f"3 documents of {file.stem} at http://127.0.0.1:")
    assert ["cake", "tart", "pie"] == [doc["id"] for doc in found]
    assert {"count": 3} == count


def test_serve_searches_an_index_by_meaning(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "tea.txt").write_text("A kettle boils water for tea.")
    (tmp_path / "notes" / "wool.txt").write_text("A scarf of wool is warm in winter.")
    lines_of(
        "index",
        tmp_path / "notes",
        "--to",
        tmp_path / "notes.db",
        "--model",
        "hashing",
        "--storage",
        "sqlite",
    )

    with serving(tmp_path / "notes.db") as (_, url):
        assert "meaning" in got(f"{url}/info")["search"]
        assert "tea" in got(f"{url}/search?text=water+for+tea&limit=1&fields=text")[0]["text"]


def test_serve_writes_into_a_storage_with_a_key(tmp_path):
    with DocumentArray(
        storage="sqlite", config={"connection": str(tmp_path / "s.db"), "table_name": "shelf"}
    ) as da:
        da.append(Document(id="a", text="tea"))
    body = json.dumps({"id": "b", "text": "coffee"}).encode()

    with serving(tmp_path / "s.db", "--write", "--table", "shelf", env={"DOCARRAY_API_KEY": "key"}) as (
        line,
        url,
    ):
        with pytest.raises(HTTPError) as refused:
            got(f"{url}/documents")
        request = Request(
            f"{url}/documents/b", body, {"Content-Type": "application/json", "X-API-Key": "key"}
        )
        request.method = "PUT"
        with urlopen(request, timeout=20) as answer:
            written = answer.status
        ids = [doc["id"] for doc in got(f"{url}/documents", "key")]

    assert line.startswith("1 document of s at ")
    refused.value.close()
    assert (401, 201) == (refused.value.code, written)
    assert ["a", "b"] == ids


@pytest.mark.parametrize(
    ("words", "expected", "code"),
    [
        (["nothing.db"], "nothing.db: there is no such file", 1),
        (["FILE", "--write"], "--write is for a storage", 1),
        (["FILE", "--host", "0.0.0.0"], "other machines would get in without a key", 1),
        (["FILE", "--port", "TAKEN"], "is another server running?", 1),
        (["FILE", "--port", "70000"], "'70000' is no port", 2),
        (["FILE", "--schema", "nowhere:Thing"], "'nowhere:Thing' cannot be imported", 2),
        (["FILE", "--table", "x"], "--table is for files of a storage", 1),
    ],
    ids=["file", "write", "host", "taken", "port", "schema", "table"],
)
def test_serve_says_why_it_does_not(file, words, expected, code):
    pytest.importorskip("uvicorn", reason=SERVE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        names = {"FILE": str(file), "TAKEN": str(taken.getsockname()[1])}
        assert expected in error_of("serve", *(names.get(word, word) for word in words), code=code)


def test_serve_takes_no_empty_key(file, monkeypatch):
    pytest.importorskip("uvicorn", reason=SERVE)
    monkeypatch.setenv("DOCARRAY_API_KEY", "")

    assert "DOCARRAY_API_KEY is set, and empty" in error_of("serve", file)


# --- help and usage -------------------------------------------------------------------------------------------------


def test_help_lists_the_commands_in_a_line_each():
    lines = lines_of("--help")

    for command in COMMANDS:
        assert [
            re.fullmatch(rf"    {command} +\S.*", line)
            for line in lines
            if line.startswith(f"    {command} ")
        ]


def test_help_imports_nothing_that_only_commands_need():
    code = "import sys; from docarray.cli import main; main(['--help']); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert {"rich", "wordllama", "sqlite3", "docarray.demo", "docarray.librarian"}.isdisjoint(
        done.stdout.splitlines()
    )


def test_version():
    assert [f"docarray {__version__}"] == lines_of("--version")


def test_every_command_and_option_is_in_the_manual():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

    for command in COMMANDS:
        told = "\n".join(lines_of(command, "--help"))
        for option in set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", told)) - {"-h", "--help"}:
            assert f"`{option}" in page, f"docs/cli.md does not say what {option} of {command} does"


def test_without_a_command_the_help_is_shown():
    done = docarray()

    assert (2, "") == (done.returncode, done.stdout)
    assert "demo" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dmo"], "docarray: argument COMMAND: invalid choice: 'dmo'"),
        (["demo", "--limit", "0"], "docarray demo: argument --limit: '0' is no whole number above 0"),
        (
            ["demo", "--max-docs", "many"],
            "docarray demo: argument --max-docs: 'many' is no whole number above 0",
        ),
        (["demo", "--model", "llama"], "docarray demo: argument --model: invalid choice: 'llama'"),
        (["head", "x", "-n", "-1"], "docarray head: argument -n: '-1' is no whole number above 0"),
        (["info"], "docarray info: the following arguments are required: FILE"),
        (["info", "x", "--wide"], "docarray: unrecognized arguments: --wide"),
    ],
)
def test_misuse_is_one_line_and_code_2(words, expected):
    line = error_of(*words, code=2)

    assert line.startswith(expected)
    assert re.search(r"See docarray[a-z ]* --help$", line)


def test_the_installed_command_is_this_one(monkeypatch):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    monkeypatch.setattr(cli, "main", lambda: 7)

    assert pkgutil.resolve_name(scripts["docarray"])() == 7


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["info", "head"])
class TestFilesThatAreNone:
    def test_missing(self, command, tmp_path):
        path = tmp_path / "nothing.docarray"

        assert f"docarray {command}: {path}: there is no such file; check the path" == error_of(command, path)

    def test_folder(self, command, tmp_path):
        assert f"docarray {command}: {tmp_path}: this is a folder; name a file in it" == error_of(
            command, tmp_path
        )

    @pytest.mark.parametrize("content", [b"", b"no", b"a,b\n1,2\n" * 100, bytes(300), b"\x89PNG\r\n" * 30])
    def test_of_another_format(self, command, content, tmp_path, capsys):
        path = tmp_path / "other.docarray"
        path.write_bytes(content)

        assert 1 == cli.main([command, str(path)])
        out, err = capsys.readouterr()
        assert ("", 1) == (out, err.count("\n"))
        assert err.startswith(f"docarray {command}: {path}: ")

    def test_damaged(self, command, file, tmp_path, capsys):
        """Whatever byte is wrong, the answer is an answer or one line that names the file."""
        path, data = tmp_path / "damaged.docarray", file.read_bytes()
        for at in range(0, len(data), 41):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])

            code = cli.main([command, str(path), "--json"])

            err = capsys.readouterr().err
            assert (0, "") == (code, err) or (1, 1) == (code, err.count("\n"))
            assert code == 0 or err.startswith(f"docarray {command}: {path}: ")

    def test_cut_short(self, command, file, tmp_path):
        path = tmp_path / "cut.docarray"
        path.write_bytes(file.read_bytes()[:-100])

        assert error_of(command, path).startswith(f"docarray {command}: {path}: ")


def test_debug_shows_the_traceback(tmp_path):
    """Before the command and after it."""
    for words in (["--debug", "info", tmp_path / "x"], ["info", tmp_path / "x", "--debug"]):
        done = docarray(*words)
        assert 1 == done.returncode
        assert "Traceback (most recent call last)" in done.stderr


def test_a_folder_that_cannot_be_saved_to_is_told_before_the_work(tmp_path):
    path = tmp_path / "no" / "x.docarray"

    assert error_of("demo", "--output", path).startswith(f"docarray demo: {path}: there is no such folder")


def test_a_folder_is_no_file_to_save_to(tmp_path):
    expected = f"docarray demo: {tmp_path}: this is a folder; name a file in it"

    assert expected == error_of("demo", "--output", tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
def test_a_file_that_cannot_be_saved_to_is_named():
    done = docarray("demo", "x", "--model", "hashing", "--max-docs", 5, "--output", "/dev/full")

    assert 1 == done.returncode
    assert re.fullmatch(r"docarray demo: /dev/full: .*; name another file\n", done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="the line is of a shell that is not there")
def test_without_a_standard_output_nothing_is_done(file):
    line = f"{sys.executable} -m docarray info {file} >&-"
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, cwd=ROOT)

    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert done.stderr.startswith(b"docarray: there is no standard output")


def test_a_model_that_is_not_there_is_told_with_the_line_that_installs_it():
    code = "import sys; sys.modules['wordllama'] = None; from docarray.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--model", "wordllama"], capture_output=True, text=True, cwd=ROOT
    )

    assert (1, "", f"docarray demo: the model {NO_MODEL}\n") == (done.returncode, done.stdout, done.stderr)


# --- demo -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["wordllama", "hashing"])
def test_demo_answers_saves_and_answers_again(model, tmp_path):
    if model == "wordllama":
        pytest.importorskip("wordllama", reason=NO_MODEL)
    path = tmp_path / "demo.db"

    lines = lines_of(
        "demo", "compress bytes", "encode as base64", "--model", model, "--max-docs", 900, "--output", path
    )

    text = "\n".join(lines)
    assert re.match(r"900 docstrings .* collected in [\d.]+ m?s$", lines[0])
    assert "bz2.compress" in text
    assert "base64." in text
    assert re.search(
        rf"^Saved to {re.escape(str(path))} \([\d.]+ [kM]B, SQLite with a vector index\) in [\d.]+ m?s$",
        text,
        re.MULTILINE,
    )
    assert re.search(
        r"^Closed, and opened again in [\d.]+ m?s; .*: the same answers in [\d.]+ m?s$", text, re.MULTILINE
    )
    assert "  900 documents" in "\n".join(lines_of("info", path))


def test_demo_ends_by_serving_the_search_and_asking_it_over_http(tmp_path):
    """The last question, the URL that was asked, and the answers that the file gave; then nobody listens there."""
    pytest.importorskip("uvicorn", reason='pip install "docarray[flow]"')
    words = [
        "demo",
        "compress bytes",
        "encode as base64",
        "--model",
        "hashing",
        "--max-docs",
        900,
        "--limit",
        2,
    ]

    lines = lines_of(*words, "--output", tmp_path / "x", columns=200)

    posted = next(line for line in lines if line.startswith("POST "))
    (served,) = [line for line in lines if line.startswith("Served as a Flow at ")]
    _, url, body = posted.split(maxsplit=2)
    port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/search", url)[1])
    assert f"http://127.0.0.1:{port}, in " in served
    assert {"data": [{"text": "encode as base64"}], "parameters": {"limit": 2}} == json.loads(body)
    of_file, of_flow = [
        lines[at + 1 : lines.index("", at)]
        for at, line in enumerate(lines)
        if line.startswith("encode as base64  ")
    ]
    assert of_file == of_flow
    assert 2 == len(of_flow)
    assert "The Flow has answered, and ended." in lines[lines.index(posted) :]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize("module", ["uvicorn", "prometheus_client", "pydantic"])
def test_demo_without_what_serves_says_how_to_get_it(module, tmp_path):
    code = f"import sys; sys.modules[{module!r}] = None; from docarray.cli import main; sys.exit(main())"
    words = ["demo", "x", "--model", "hashing", "--max-docs", "50", "--output", str(tmp_path / "x")]

    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT)

    assert (0, "") == (done.returncode, done.stderr)
    assert 'Served as a Flow it answers over HTTP as well: pip install "docarray[flow]"' in done.stdout
    assert "Ask for yourself:" in done.stdout


def test_demo_says_which_model_and_how_to_get_the_other(tmp_path):
    words = ["demo", "x", "--max-docs", "50", "--output", str(tmp_path / "x"), "--model"]
    code = "import sys; sys.modules['wordllama'] = None; from docarray.cli import main; sys.exit(main())"

    done = subprocess.run(
        [sys.executable, "-c", code, *words, "auto"], capture_output=True, text=True, cwd=ROOT
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert "Embedded with hashing" in done.stdout
    assert NO_MODEL in done.stdout
    assert any("--model wordllama" in line for line in lines_of(*words, "hashing"))


def test_demo_asks_three_questions_of_its_own_and_saves_to_the_temporary_folder(tmp_path):
    from docarray.demo import QUESTIONS

    lines = lines_of("demo", "--model", "hashing", "--max-docs", 400, env={"TMPDIR": str(tmp_path)})

    for question in QUESTIONS:
        assert [line for line in lines if line.startswith(question)]
    assert (tmp_path / "docarray-demo.db").exists()


def test_words_without_quotes_are_one_question(tmp_path):
    words = ["demo", "--model", "hashing", "--max-docs", 100, "--output", tmp_path / "x"]

    assert [
        line
        for line in lines_of(*words, "parse", "the", "arguments")
        if line.startswith("parse the arguments  ")
    ]
    assert [line for line in lines_of(*words, "parse it", "arguments") if line.startswith("arguments  ")]


def test_limit_is_the_number_of_answers(tmp_path):
    lines = lines_of(
        "demo",
        "return a new name, file, class, method or value",
        "--limit",
        11,
        "--model",
        "hashing",
        "--max-docs",
        300,
        "--output",
        tmp_path / "x",
    )

    ranks = [m[1] for line in lines if (m := re.match(r" ?(\d+)  \d\.\d\d", line))]
    assert [str(rank) for rank in range(1, 12)] * 2 == ranks  # of the file, and of what is served


@pytest.mark.parametrize("columns", [80, 40, 120, 300])
def test_answers_fit_the_terminal(columns, tmp_path):
    words = ["demo", "asynchronous subprocess with a very long name", "--model", "hashing", "--max-docs", 900]
    lines = lines_of(*words, "--output", tmp_path / "x", columns=columns)

    answers = lines[lines.index("") :]
    answers = answers[: answers.index("", 1)]
    assert all(len(line) <= columns for line in answers[2:])
    assert not re.search(r"\x1b", "\n".join(lines))


# --- index and search ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """A folder that was indexed, and the file."""
    folder = tmp_path_factory.mktemp("notes")
    texts = {
        "tea.md": "# Tea\n\nGreen tea is made of leaves.\n\n## Brewing\n\nWait three minutes.",
        "größe.txt": "Ein Text über Schuhe und ihre Größe. \x1b[31m" + "Und mehr davon. " * 20,
        "long/" + "folder/" * 8 + "boats.html": "<p>A sailing boat needs wind.",
        "junk.bin": "\0\1",
        "broken.pdf": "%PDF-1.4",
    }
    for name, text in texts.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    at = folder / "notes.db"
    first = lines_of("index", folder / "in", "--to", at, "--model", "hashing")
    return folder / "in", at, first


def test_index_says_what_it_has_done(notes):
    folder, at, first = notes

    assert re.fullmatch(rf"{re.escape(str(folder))}: 3 added, in [\d.]+ m?s", first[0])
    assert f"{at}: 4 passages by hashing, on storage hnswlib" == first[1]
    assert first[2].startswith(f"  {folder / 'broken.pdf'}: ")
    assert "1 file passed over" in first[3]


def test_index_as_json(notes):
    folder, at, _ = notes
    (line,) = lines_of("index", folder, "--to", at, "--json")

    facts = json.loads(line)
    assert (0, 0, 3, 0, 4) == tuple(
        facts[name] for name in ("added", "changed", "unchanged", "gone", "passages")
    )
    assert {"broken.pdf", "junk.bin"} == {Path(one["path"]).name for one in facts["unreadable"]}


def test_search_shows_where_and_what(notes):
    _, at, _ = notes
    lines = lines_of("search", at, "how", "long", "do", "I", "wait?", "--limit", 1)

    assert re.match(r"  1  \d\.\d\d  tea\.md:5 +Tea > Brewing", lines[0])
    assert "Wait three minutes." in lines[1]
    assert ["nothing has a word in common with this question"] == lines_of("search", at, "xylophone")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_passages_fit_the_terminal(columns, notes):
    lines = lines_of("search", notes[1], "boat wind Größe Schuhe", columns=columns)

    assert all(len(line) <= columns for line in lines)
    assert not re.search(r"\x1b", "\n".join(lines))


def test_search_as_json(notes):
    _, at, _ = notes
    words = ["--json", "--filter", '{"tags__path": {"$endswith": ".txt"}}', "--mode", "text"]
    (line,) = lines_of("search", at, "Größe Schuhe Tea", *words)

    hit = json.loads(line)
    assert (1, "größe.txt", ["bm25"]) == (hit["rank"], hit["path"], list(hit["scores"]))
    assert ["Schuhe", "Größe"] == [hit["snippet"][low:high] for low, high in hit["marks"]]
    assert hit["snippet"].rstrip("…") in " ".join(hit["text"].split())


def test_index_and_search_say_what_is_wrong_in_one_line(notes, tmp_path):
    folder, at, _ = notes

    assert "there is no such file" in error_of("search", tmp_path / "no.db", "x")
    assert "this is no index" in error_of("search", folder / "tea.md", "x")
    assert "check the path" in error_of("index", tmp_path / "no", "--to", tmp_path / "x.db")
    assert "stays as it is" in error_of("index", folder, "--to", folder / "tea.md")
    assert "index into another file" in error_of("index", folder, "--to", at, "--model", "wordllama")
    assert "$foo" in error_of("search", at, "x", "--filter", '{"tags__path": {"$foo": 1}}')
    assert "is no JSON" in error_of("search", at, "x", "--filter", "{", code=2)
    assert "is no JSON object" in error_of("search", at, "x", "--filter", "[]", code=2)


def test_info_and_head_of_a_file_of_a_storage(notes):
    _, at, _ = notes
    text = "\n".join(lines_of("info", at))

    assert "  sqlite format" in text
    assert "  4 documents" in text
    assert re.search(r"^  embedding +tensor +4 +ndarray float32 \(1024,\) *$", text, re.MULTILINE)
    facts = json.loads(lines_of("info", at, "--json")[0])
    assert (4, ["docs"], "sqlite") == (facts["documents"], facts["arrays"], facts["format"])
    assert 2 == len(lines_of("head", at, "-n", 2, "--json"))
    assert "has no array 'x'" in error_of("head", at, "--table", "x")
    assert 4 == len(lines_of("head", at, "--table", "docs", "--json"))


def test_table_is_for_files_of_a_storage(file):
    assert "--table is for files of a storage" in error_of("info", file, "--table", "x")


def test_a_damaged_file_of_a_storage_is_named(tmp_path):
    path = tmp_path / "bad.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)

    for command in ("info", "head"):
        assert error_of(command, path).startswith(f"docarray {command}: {path}: ")


# --- info -----------------------------------------------------------------------------------------------------------


def test_info_says_what_a_file_holds(file):
    text = "\n".join(lines_of("info", file))

    assert str(file) in text
    assert re.search(r"docarray format, version \d+\.\d+", text)
    assert re.search(r"3 documents, [\d.]+ kB", text)
    assert re.search(r"^  embedding +tensor +2 +ndarray float32 \(3,\) *$", text, re.MULTILINE)
    assert re.search(r"^  chunks +docs +1 +2 documents *$", text, re.MULTILINE)
    assert re.search(r"^    blob +bytes +1 *$", text, re.MULTILINE)


def test_info_as_json(file):
    (line,) = lines_of("info", file, "--json")

    facts = json.loads(line)
    assert ("docarray", 3, file.stat().st_size) == (facts["format"], facts["documents"], facts["bytes"])
    assert ".".join(map(str, container.VERSION)) == facts["version"]
    fields = {field["name"]: field for field in facts["fields"]}
    assert {"name": "id", "kind": "text", "filled": 3} == fields["id"]
    assert (["ndarray float32 (3,)"], 2) == (fields["embedding"]["arrays"], fields["embedding"]["filled"])
    assert (["ndarray int16 (2, 4)"], 1) == (fields["tensor"]["arrays"], fields["tensor"]["filled"])
    assert "number" == fields["tags"]["keys"]["price"]
    assert ["id", "parent_id"] == [field["name"] for field in fields["chunks"]["fields"]][:2]


def test_info_of_arrays_that_are_alike_has_their_shape(tmp_path):
    path = tmp_path / "alike.docarray"
    DocumentArray.from_columns(embedding=np.zeros((4, 7), np.float32)).save(path)

    (field,) = [
        f for f in json.loads(lines_of("info", path, "--json")[0])["fields"] if f["name"] == "embedding"
    ]
    assert ("float32", [7], 1) == (field["dtype"], field["shape"], field["distinct"])


def test_info_of_arrays_that_differ_names_the_first(tmp_path):
    path = tmp_path / "images.docarray"
    DocumentArray([Document(tensor=np.zeros((size, 4), np.uint8)) for size in (1, 2, 2, 3, 4, 5)]).save(path)

    (field,) = [f for f in json.loads(lines_of("info", path, "--json")[0])["fields"] if f["name"] == "tensor"]
    first = [f"ndarray uint8 ({size}, 4)" for size in (1, 2, 3)]
    assert (first, 5) == (field["arrays"], field["distinct"])
    assert "and 2 more" in " ".join(lines_of("info", path, columns=160))


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="the system has no such file")
def test_a_pipe_can_be_looked_into_but_has_no_size(file):
    done = {
        command: subprocess.run(
            [sys.executable, "-m", "docarray", command, "/dev/stdin"],
            input=file.read_bytes(),
            capture_output=True,
            cwd=ROOT,
        )
        for command in ("head", "info")
    }

    assert (0, 1) == (done["head"].returncode, done["info"].returncode)
    assert b"Document cake" in done["head"].stdout
    assert done["info"].stderr.startswith(b"docarray info: /dev/stdin: this is no file on disk")


def test_info_of_no_documents(tmp_path):
    path = tmp_path / "none.docarray"
    DocumentArray().save(path)

    assert 0 == json.loads(lines_of("info", path, "--json")[0])["documents"]
    assert "  0 documents" in "\n".join(lines_of("info", path))
    assert [] == lines_of("head", path)


# --- head -----------------------------------------------------------------------------------------------------------


def test_head_shows_the_first_documents(file):
    text = "\n".join(lines_of("head", file, "-n", 2))

    assert re.search(r"Document cake", text)
    assert re.search(r"text +größe ≥ 3", text)
    assert re.search(r"embedding +ndarray float32 \(3,\)", text)
    assert "crumb" in text
    assert "pie" not in text


def test_what_is_in_a_file_does_not_steer_the_terminal(tmp_path):
    path = tmp_path / "sly.docarray"
    DocumentArray([Document(text="\x1b[2J", tags={"\x1b[31mred": "\x1b[1m"})]).save(path)

    for command in ("head", "info"):
        text = "\n".join(lines_of(command, path))
        assert "\x1b" not in text
        assert "[31mred" in text


def test_head_as_json_lines(file):
    cake, tart, pie = map(json.loads, lines_of("head", file, "--json"))

    assert {"id": "pie", "uri": "pie.png", "weight": 0.5} == {
        key: pie[key] for key in ("id", "uri", "weight")
    }
    assert "größe ≥ 3\n\x1b[31mred" == cake["text"]
    assert {"price": 2.5, "n": 1, "worst": "nan"} == cake["tags"]
    assert ("ndarray float32 (3,)", "ndarray int16 (2, 4)") == (cake["embedding"], tart["tensor"])
    assert ["crumb", "2 bytes"] == [cake["chunks"][0]["text"], cake["chunks"][1]["blob"]]
    assert 0.25 == cake["scores"]["cosine"]["value"]


def test_head_with_arrays(file):
    cake, tart, _ = map(json.loads, lines_of("head", file, "--json", "--arrays"))

    assert [0.0, 1.0, 2.0] == cake["embedding"]
    assert [[0] * 4] * 2 == tart["tensor"]
    assert "AAE=" == cake["chunks"][1]["blob"]
    assert [1, "eA=="] == tart["tags"]["raw"]


def test_json_can_be_written_where_no_umlaut_can(file):
    done = docarray("head", file, "--json", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})

    assert "größe ≥ 3" in json.loads(done.stdout.splitlines()[0])["text"]


# --- being one of many programs -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """More than a pipe holds."""
    path = tmp_path_factory.mktemp("cli") / "many.docarray"
    DocumentArray([Document(text="x" * 200) for _ in range(3000)]).save(path)
    return path


@pytest.mark.parametrize("words", [["head", "--json", "-n", "3000"], ["head", "-n", "3000"], ["info"]])
def test_a_reader_that_leaves_is_no_error(words, many):
    """`docarray head --json FILE | head -1`"""
    command = [sys.executable, "-m", "docarray", words[0], str(many), *words[1:]]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.close()
        assert b"" == process.stderr.read()

    assert cli._BROKEN_PIPE == process.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent there to one process alone")
def test_interrupting_is_quiet(many):
    """It is stopped while it waits for a reader, who is slow."""
    command = [sys.executable, "-m", "docarray", "head", str(many), "--json", "-n", "3000"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()

    assert (130, b"") == (process.returncode, errors)
    assert len(output) < 200 * 3000


# --- convert --------------------------------------------------------------------------------------------------------


def test_convert_writes_the_same_documents_in_another_format(file, tmp_path):
    docs = DocumentArray.load(file)

    for name in ("x.json.gz", "x.ndjson", "x.protobuf"):
        (line,) = lines_of("convert", file, tmp_path / name)
        assert line == f"{len(docs)} documents written to {tmp_path / name}"
        assert docs[:, "id"] == DocumentArray.load(tmp_path / name)[:, "id"]


def test_convert_by_the_names_of_formats(file, tmp_path):
    docs = DocumentArray.load(file)
    docs.save(tmp_path / "old", "pickle-array")

    lines_of("convert", tmp_path / "old", tmp_path / "new", "--from", "pickle-array", "--to", "json")

    assert docs.texts == DocumentArray.load(tmp_path / "new").texts
    assert "pass protocol='pickle-array'" in error_of("convert", tmp_path / "old", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_info_and_head_of_other_formats(file, tmp_path):
    docs = DocumentArray.load(file)
    docs.save(tmp_path / "x.json.gz")

    assert "  json, gzip format" == lines_of("info", tmp_path / "x.json.gz")[1]
    assert docs[0].text.split()[0] in "\n".join(lines_of("head", "-n", "1", tmp_path / "x.json.gz"))


def test_main_gives_the_code(capsys):
    assert 0 == cli.main(["--version"])
    assert 2 == cli.main(["nonsense"])
    assert 1 == cli.main(["info", "/no/such/file"])
    assert 3 == len((captured := capsys.readouterr()).out.splitlines() + captured.err.splitlines())
