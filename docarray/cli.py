"""The command `docarray`: a demo, folders that are kept and searched, and a look into files of documents.

Rule 1: results go to stdout, whatever went wrong to stderr, in one line: what, where, what to do.
Rule 2: nobody is shown a traceback who has not asked for it with --debug.
Rule 3: what only some commands need is imported when they run, so that --help does not wait for it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib
import json
import logging
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import numpy as np

from docarray import __version__, exchange, registry, tensors
from docarray.array import DocumentArray
from docarray.document import Document
from docarray.errors import BadValue, DocArrayError, FormatError, MissingExtra
from docarray.schema import FIELDS
from docarray.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from docarray.librarian import Library
    from docarray.store import Store

__all__ = ["main"]

_FAILED: Final = 1
_MISUSED: Final = 2
_INTERRUPTED: Final = 130  # what a shell says of a program that SIGINT has ended,
_BROKEN_PIPE: Final = 141  # and of one that SIGPIPE has

_NARROW: Final = 110  # columns of a terminal below which an answer takes two lines
_WIDEST: Final = 140


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and gives its exit code: 0, 1 for a command that failed, 2 for one that was misused.

    Args:
        argv: the words after the name of the program; those it was started with unless given.
    """
    if cast("object", sys.stdout) is None:  # as Python has it when a shell closed it: >&-
        print(
            "docarray: there is no standard output to write to; send it to a file or a terminal",
            file=sys.stderr,
        )
        return _FAILED
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")  # a letter that the terminal cannot show is no reason to stop
    try:
        code = _run(argv)
        sys.stdout.flush()  # now, while a reader that has gone can still be dealt with
        return code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough, as `head` does. What is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _run(argv: Sequence[str] | None) -> int:
    command, debug, options = "docarray", False, argparse.Namespace()
    try:
        options = _parser().parse_args(argv)
        if options.command is None:
            _parser().print_help(sys.stderr)
            return _MISUSED
        command, debug = f"docarray {options.command}", bool(options.debug)
        return int(options.run(options))
    except SystemExit as stop:  # of argparse, which has said what there was to say
        return stop.code if isinstance(stop.code, int) else _FAILED
    except BrokenPipeError:
        raise
    except Exception as error:
        if debug:
            raise
        # What is damaged may show only when it is touched, where nobody knows what file it came from.
        file = str(getattr(options, "file", "")) if isinstance(error, FormatError) else ""
        where = f"{command}: {file}: " if file and file not in str(error) else f"{command}: "
        print(where + _in_one_line(error), file=sys.stderr)
        return _FAILED


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    text = " ".join(str(error).split())
    if isinstance(error, (DocArrayError, OSError)):
        return text
    # Not one of the errors that we foresee, so its text alone may say nothing.
    return f"{type(error).__name__}: {text} (--debug shows where)"


# ---------------------------------------------------------------------------------------------- options


class _Help(argparse.HelpFormatter):
    """Help that has room for the longest command beside what it does; argparse forgets how far they stand in."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        self._action_max_length = max(self._action_max_length, 14)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_MISUSED, f"{self.prog}: {message}. See {self.prog} --help\n")


def _parser() -> _Parser:
    # --debug may stand before the command and after it; a default of its own there would undo the one before.
    shared = _Parser(add_help=False)
    shared.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    parser = _Parser(
        prog="docarray",
        description="Documents of any medium: search them, and look into their files.",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"docarray {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=_Parser
    )

    demo = commands.add_parser(
        "demo",
        parents=[shared],
        help="search the docstrings of the standard library, in your terminal",
        description="Searches the docstrings of the standard library, saves them, searches the file, and serves it.",
    )
    demo.add_argument(
        "questions",
        nargs="*",
        type=_question,
        metavar="QUESTION",
        help="what to ask, each in quotes; words without are one question",
    )
    demo.add_argument("--limit", type=_count, default=3, metavar="K", help="answers to each question (3)")
    demo.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to save (docarray-demo.db in the temporary folder)",
    )
    demo.add_argument(
        "--model",
        choices=("auto", "wordllama", "hashing"),
        default="auto",
        help="what makes the vectors: wordllama (meanings), hashing (words), or auto: the first that is installed",
    )
    demo.add_argument("--max-docs", type=_count, metavar="N", help="stop collecting after N docstrings")
    demo.set_defaults(run=_demo)

    _add_librarian(commands, shared)

    _add_serve(commands, shared)

    _add_flow(commands, shared)

    info = commands.add_parser(
        "info",
        parents=[shared],
        help="what a file holds: format, number of documents, fields",
        description="Says what a file of documents holds, without reading the documents.",
    )
    info.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a file in any format that DocumentArray.load reads, or of a storage",
    )
    info.add_argument("--json", action="store_true", help="one JSON object")
    info.add_argument("--table", metavar="NAME", help="of the arrays in a file of a storage: which (docs)")
    info.set_defaults(run=_info)

    head = commands.add_parser(
        "head",
        parents=[shared],
        help="the first documents of a file",
        description="Shows the first documents of a file, with the fields that are filled.",
    )
    head.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a file in any format that DocumentArray.load reads, or of a storage",
    )
    head.add_argument("-n", type=_count, default=5, metavar="N", help="how many documents (5)")
    head.add_argument(
        "--json", action="store_true", help="one JSON object a line; of arrays only dtype and shape"
    )
    head.add_argument(
        "--arrays", action="store_true", help="with --json: arrays as nested lists, bytes as base64"
    )
    head.add_argument("--table", metavar="NAME", help="of the arrays in a file of a storage: which (docs)")
    head.set_defaults(run=_head)

    convert = commands.add_parser(
        "convert",
        parents=[shared],
        help="a file in another format",
        description="Writes the documents of a file to another one, in the format that its name says.",
    )
    convert.add_argument("file", metavar="FILE", help="a file or URL in any format that is read")
    convert.add_argument(
        "target", metavar="TARGET", help="where to write: menu.docarray, menu.json.gz, menu.parquet"
    )
    convert.add_argument(
        "--from", dest="source_format", metavar="FORMAT", help="where FILE does not tell: pickle-array"
    )
    convert.add_argument(
        "--to", dest="target_format", metavar="FORMAT", help="where the name of TARGET does not tell"
    )
    convert.set_defaults(run=_convert)
    return parser


def _add_librarian(commands: Any, shared: argparse.ArgumentParser) -> None:
    index = commands.add_parser(
        "index",
        parents=[shared],
        help="read a folder of text, Markdown, HTML, PDF and images into a file that can be searched",
        description="Reads a folder into a file that can be searched. Run again, it reads what has changed.",
    )
    index.add_argument("path", type=Path, metavar="PATH", help="a folder, or a file")
    index.add_argument("--to", type=Path, required=True, metavar="FILE", help="the file: notes.db")
    index.add_argument(
        "--model",
        choices=("auto", "wordllama", "hashing"),
        default="auto",
        help="what makes the vectors: wordllama (meanings), hashing (words), or auto: that of the file, else the first "
        "that is installed",
    )
    index.add_argument(
        "--storage", choices=("hnswlib", "sqlite"), help="with a vector index (hnswlib), or without (sqlite)"
    )
    index.add_argument("--json", action="store_true", help="one JSON object")
    index.set_defaults(run=_index)

    search = commands.add_parser(
        "search",
        parents=[shared],
        help="ask a file that index made",
        description="Finds the passages that answer a question, by meaning and by words.",
    )
    search.add_argument("file", type=Path, metavar="FILE", help="a file that docarray index made")
    search.add_argument(
        "question", nargs="+", type=_question, metavar="QUESTION", help="in any words, in quotes or without"
    )
    search.add_argument(
        "--filter", type=_filter, metavar="JSON", help='such as \'{"tags__path": {"$endswith": ".md"}}\''
    )
    search.add_argument("--limit", type=_count, default=5, metavar="K", help="passages (5)")
    search.add_argument(
        "--mode",
        choices=("hybrid", "vector", "text"),
        default="hybrid",
        help="rank by vectors and words together (hybrid), or by one of them",
    )
    search.add_argument("--json", action="store_true", help="one JSON object a line")
    search.set_defaults(run=_search)


def _add_serve(commands: Any, shared: argparse.ArgumentParser) -> None:
    serve = commands.add_parser(
        "serve",
        parents=[shared],
        help="a file or a storage on the web: a page, REST and GraphQL",
        description="Serves documents to this machine, for reading, until Ctrl-C or SIGTERM. A file that docarray "
        "index made is searched by meaning. Clients have to show the key in the environment variable DOCARRAY_API_KEY.",
    )
    serve.add_argument(
        "file",
        metavar="FILE_OR_STORE",
        help="a file in any format, or the URL of a database: postgresql://...",
    )
    serve.add_argument("--table", metavar="NAME", help="the array in a storage (docs, else the first)")
    serve.add_argument(
        "--host", default="127.0.0.1", help="the address to listen at (127.0.0.1: this machine alone)"
    )
    serve.add_argument("--port", type=_port, default=8000, help="the port; 0 takes a free one (8000)")
    serve.add_argument("--write", action="store_true", help="let clients write; into a storage alone")
    serve.add_argument("--insecure", action="store_true", help="let other machines in without a key")
    serve.add_argument(
        "--cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a site whose pages may use this server; again for more",
    )
    serve.add_argument(
        "--schema",
        type=_schema,
        metavar="MODULE:CLASS",
        help="the multimodal dataclass that the documents are of",
    )
    serve.add_argument("--name", help="what the documents are called (the name of the file)")
    serve.add_argument(
        "--root-path", default="", metavar="PATH", help="what a proxy cuts off the front of paths"
    )
    serve.add_argument("--access-log", action="store_true", help="a line of the log for each request")
    serve.set_defaults(run=_serve)


def _add_flow(commands: Any, shared: argparse.ArgumentParser) -> None:
    for kind, what in (
        ("flow", "the YAML of a Flow"),
        ("deployment", "the YAML of a Deployment, or an Executor"),
        ("executor", "the config.yml of an Executor, or module:Class"),
        ("gateway", "a Flow whose Executors run elsewhere"),
    ):
        serve = commands.add_parser(
            kind,
            parents=[shared],
            help=f"serve {what}",
            description=f"Serves {what}, until Ctrl-C or SIGTERM; what was accepted then is answered first. "
            "Clients have to show the key in the environment variable DOCARRAY_API_KEY.",
        )
        if kind == "gateway":
            serve.add_argument(
                "--uses", metavar="FILE", help="the YAML of the Flow (a chain of the deployments)"
            )
            serve.add_argument(
                "--deployment",
                action="append",
                default=[],
                metavar="NAME=URL",
                help="where one runs: enc=grpc://10.0.0.1:50051; again for more, and for its replicas",
            )
        else:
            serve.add_argument("--uses", required=True, metavar="FILE", help=what)
            serve.add_argument(
                "--reload", action="store_true", help="make anew what is edited, code and YAML, while it runs"
            )
        serve.add_argument(
            "--protocol",
            nargs="+",
            choices=("http", "websocket", "grpc"),
            help="one or more (what the file says, else http)",
        )
        serve.add_argument(
            "--port",
            nargs="+",
            type=_port,
            help="one for each protocol; 0 takes a free one (8000; grpc 50051)",
        )
        serve.add_argument("--host", help="the address to listen at (127.0.0.1: this machine alone)")
        serve.add_argument("--insecure", action="store_true", help="let other machines in without a key")
        path = {"flow": "executors.enc.replicas=2", "gateway": "gateway.timeout=5"}.get(kind, "replicas=2")
        serve.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="PATH=VALUE",
            help=f"in place of what the file says: {path}; again for more",
        )
        serve.set_defaults(run=_flow)

    ping = commands.add_parser(
        "ping",
        parents=[shared],
        help="ask whether a server answers",
        description="Asks a server of Flows whether it answers; the exit code is 0 where it does, else 1.",
    )
    ping.add_argument(
        "url", metavar="URL", help="http://127.0.0.1:8000; https, ws, wss, grpc, grpcs likewise"
    )
    ping.add_argument("--ready", action="store_true", help="ask whether the whole Flow would answer")
    ping.add_argument("--timeout", type=_timeout, default=3.0, metavar="S", help="seconds of an attempt (3)")
    ping.add_argument("--attempts", type=_count, default=1, metavar="N", help="a second apart (1)")
    ping.set_defaults(run=_flow)

    client = commands.add_parser(
        "client",
        parents=[shared],
        help="send documents to a Flow",
        description="Sends documents to a Flow, and prints those that come back, a line of JSON each.",
    )
    client.add_argument(
        "--host", required=True, metavar="URL", help="http://127.0.0.1:8000; ws, grpc likewise"
    )
    client.add_argument("--on", default="/", metavar="ENDPOINT", help="which endpoint is asked (/)")
    client.add_argument("--input", metavar="FILE", help="documents in any format, or docs.jsonl, a line each")
    client.add_argument("--parameters", type=_filter, metavar="JSON", help="""such as '{"limit": 3}'""")
    client.add_argument(
        "--request-size", type=_count, default=100, metavar="N", help="documents of a request (100)"
    )
    client.add_argument("--timeout", type=_timeout, metavar="S", help="seconds that a request may take")
    client.set_defaults(run=_flow)

    export = commands.add_parser(
        "export",
        parents=[shared],
        help="write the schema of YAML files, for editors",
        description="Writes the JSON Schema of the YAML of Flows, Deployments and Executors.",
    )
    export.add_argument("what", choices=("schema",), help="schema: a JSON Schema")
    export.add_argument(
        "--of",
        choices=("flow", "deployment", "executor"),
        help="of these files alone (all, told from each other by their jtype)",
    )
    export.add_argument("--output", metavar="FILE", help="where to write it (standard output)")
    export.set_defaults(run=_flow)

    new = commands.add_parser(
        "new",
        parents=[shared],
        help="a folder with a service that runs, and its tests",
        description="Makes a folder with an Executor, a Flow, a client and their tests.",
    )
    new.add_argument("name", metavar="NAME", help="the folder, which is not there yet")
    new.set_defaults(run=_flow)


def _flow(options: argparse.Namespace) -> int:
    if options.command == "ping":
        from docarray.flow import ping

        return ping.main(options.url, options.timeout, options.attempts, options.ready)
    from docarray.flow import commands

    return int(getattr(commands, options.command)(options))


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number from 0 to 65535")
    return int(text)


def _schema(text: str) -> Any:
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be imported ({error})") from error


def _filter(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return cast("dict[str, Any]", found)


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return count


def _question(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} has no words")
    return text


# ---------------------------------------------------------------------------------------------- demo


def _demo(options: argparse.Namespace) -> int:
    from docarray import demo, librarian
    from docarray.display.facts import count_of

    questions = _questions(options.questions) or list(demo.QUESTIONS)
    path: Path = options.output or Path(tempfile.gettempdir(), "docarray-demo.db")
    librarian.place(path)  # before the work
    console = _console()
    say = console.print

    with console.status("Loading the model"):
        model = demo.model(options.model)
    with console.status("Reading the docstrings of the standard library"):
        docs, collecting = demo.timed(lambda: demo.collect(options.max_docs))
    say(f"{count_of(len(docs))} docstrings of Python's standard library, collected in {_seconds(collecting)}")
    with console.status("Embedding"):
        _, embedding = demo.timed(lambda: demo.embed(docs, model))
    say(f"Embedded with {model.name} in {_seconds(embedding)}: {model.dim} numbers each")
    say(model.note, style="dim", soft_wrap=True)
    with console.status("Writing"):
        storage, writing = demo.timed(lambda: librarian.shelve(docs, path, model))
    about = "SQLite with a vector index" if storage == "hnswlib" else "SQLite"
    say(f"Saved to {path} ({_bytes(path.stat().st_size)}, {about}) in {_seconds(writing)}", soft_wrap=True)

    def ask(library: librarian.Library, question: str) -> tuple[DocumentArray, float]:
        return demo.timed(lambda: library.search(question, limit=options.limit))

    with librarian.Library(path, options.model) as library:
        library.use(model)
        library.search(questions[0])  # what is read once, is read now
        for question in questions:
            _show_answer(console, question, *ask(library, question))
        first, _ = ask(library, questions[0])
    again, opening = demo.timed(lambda: librarian.Library(path))
    with again:
        again.use(model)
        hits, asking = ask(again, questions[0])
        if _ranking(hits) != _ranking(first):
            raise RuntimeError(f"the file {path} does not answer as it did before it was closed")
        say(
            f"\nClosed, and opened again in {_seconds(opening)}; the first question once more: "
            f"the same answers in {_seconds(asking)}",
            soft_wrap=True,
        )
        _demo_service(console, again, questions[-1], options.limit)
    say(f"\nLook into the file:  docarray head {path}", style="dim", soft_wrap=True)
    say(
        f'Ask for yourself:    docarray search {path} "how do I unpack an archive?"',
        style="dim",
        soft_wrap=True,
    )
    say("Ask files of yours:  docarray index FOLDER --to notes.db", style="dim", soft_wrap=True)
    return 0


def _demo_service(console: Console, library: Library, question: str, limit: int) -> None:
    """Serves the search as a Flow, asks it a question over HTTP, and ends it."""
    from rich.text import Text

    from docarray import demo

    flow = demo.service(lambda text, most: library.search(text, limit=most))
    try:
        _, starting = demo.timed(flow.start)
    except MissingExtra:
        console.print(Text('\nServed as a Flow it answers over HTTP as well: pip install "docarray[flow]"'))
        return
    with contextlib.closing(flow):
        url = f"http://127.0.0.1:{flow.port}"
        console.print(
            f"\nServed as a Flow at {url}, in {_seconds(starting)}; asked over HTTP:", soft_wrap=True
        )
        said = f"POST {url}/search  {demo.body(question, limit)}"
        console.print(Text(said, style="dim"), soft_wrap=True)
        hits, asking = demo.timed(lambda: demo.asked(url, question, limit))
        if _ranking(hits) != _ranking(library.search(question, limit=limit)):
            raise RuntimeError(f"{url} does not answer as the file does")
        _show_answer(console, question, hits, asking)
    console.print("\nThe Flow has answered, and ended.")


def _ranking(hits: DocumentArray) -> list[tuple[str, dict[str, float]]]:
    return [(hit.id, {name: score.value for name, score in hit.scores.items()}) for hit in hits]


def _questions(words: list[str]) -> list[str]:
    # `docarray demo how do I unpack an archive`: nobody means seven questions of one word.
    return [" ".join(words)] if len(words) > 1 and not any(" " in word for word in words) else words


def _show_answer(console: Console, question: str, hits: DocumentArray, seconds: float) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    from docarray.librarian import score

    console.print(Text.assemble("\n", (question, "bold"), (f"  {_seconds(seconds)}", "dim")))
    if not len(hits):
        console.print("  nothing has a word in common with this question")
        return
    width = min(console.width, _WIDEST)
    grid = Grid(box=None, show_header=False, width=width, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(justify="right", width=2)
    grid.add_column(justify="right", style="dim", width=4)
    if width < _NARROW:
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    else:
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=5)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=7)
        grid.add_column(no_wrap=True, justify="right")
    for rank, hit in enumerate(hits, 1):
        name, line = Text(hit.id, style="cyan"), Text(hit.text.partition("\n")[0])
        where = Text(f"{hit.tags['file']}:{hit.tags['line']}", style="dim")
        cells = [name, line, where]
        if width < _NARROW:  # what it is and where; below that, with room to be read, what it says
            room = max(1, width - 11 - len(where))
            name.truncate(room, overflow="ellipsis", pad=True)
            cells = [Text.assemble(name, " ", where, "\n", line)]
        grid.add_row(str(rank), f"{score(hit):.2f}", *cells)
    console.print(grid)


# ---------------------------------------------------------------------------------------------- index, search


def _index(options: argparse.Namespace) -> int:
    from docarray import desk, librarian

    report = librarian.index(options.path, options.to, options.storage, options.model)
    if options.json:
        _print_json(report.to_dict())
        return 0
    console = _console()
    for line in desk.report_lines(report, options.path, options.to, _seconds(report.seconds)):
        console.print(line, soft_wrap=True)
    return 0


def _search(options: argparse.Namespace) -> int:
    from docarray import desk, librarian

    question = " ".join(options.question)
    hits = librarian.search(options.file, question, options.filter, options.limit, options.mode)
    if options.json:
        for rank, hit in enumerate(hits, 1):
            _print_json(_plain(desk.answer_facts(hit, rank, question), arrays=False))
        return 0
    console = _console()
    if hits:
        console.print(desk.answer_grid(hits, question, console.width))
    else:
        console.print("nothing has a word in common with this question")
    return 0


# ---------------------------------------------------------------------------------------------- serve

_DATABASE: Final = re.compile(r"(postgres|postgresql|mysql|mariadb)(\+\w+)?://")


def _serve(options: argparse.Namespace) -> int:
    from docarray import web
    from docarray.display.facts import noun

    key = os.environ.get("DOCARRAY_API_KEY")
    if key is not None and not key.strip():
        raise BadValue("DOCARRAY_API_KEY is set, and empty: give it a key, or unset it")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if options.access_log:
        logging.getLogger("docarray.web.access").setLevel(logging.INFO)
    with contextlib.ExitStack() as ends:
        docs, encode, what = _to_serve(options, ends)
        count = len(docs)
        if options.write and docs.store is None:
            raise BadValue(
                f"{options.file}: --write is for a storage; what clients write into a plain file is lost"
            )

        def ready(url: str) -> None:
            print(f"{noun(count, 'document')} of {what} at {url}", flush=True)

        web.serve(
            docs,
            host=options.host,
            port=options.port,
            insecure=options.insecure,
            name=options.name or what,
            writable=options.write,
            encode=encode,
            schema=options.schema,
            api_key=key,
            cors=options.cors,
            root_path=options.root_path,
            access_log=options.access_log,
            ready=ready,
        )
    return 0


def _to_serve(options: argparse.Namespace, ends: contextlib.ExitStack) -> tuple[DocumentArray, Any, str]:
    """The documents, what makes vectors of questions, and what they are called."""
    if _DATABASE.match(options.file):
        config = {"url": options.file, **({"table_name": options.table} if options.table else {})}
        docs = DocumentArray(storage="sql", config=config)
        ends.callback(docs.close)
        return docs, None, options.table or docs.storage
    options.file = path = Path(options.file)
    if not _is_store(options):
        return DocumentArray(_opened(path)), None, path.stem

    from docarray import librarian

    if options.table in (None, "docs") and "docs" in librarian.arrays(path):
        library = ends.enter_context(librarian.Library(path))
        return library.docs, library.encode if library.has_model else None, path.stem
    docs = librarian.opened(path, options.table)
    ends.callback(docs.close)
    return docs, None, path.stem


# ---------------------------------------------------------------------------------------------- info


def _info(options: argparse.Namespace) -> int:
    from docarray.contents import contents

    path: Path = options.file
    known, facts = list[str](), dict[str, Any]()
    if _is_store(options):
        from docarray import librarian

        known = librarian.arrays(path)
        with contextlib.closing(librarian.opened(path, options.table)) as da:
            form, version, tables = "sqlite", None, cast("Store", da.store).scan()
            found = contents(tables)
        facts["arrays"] = known
    else:
        found = contents([_opened(path)])
        if not path.is_file():
            raise BadValue(
                f"{path}: this is no file on disk, which alone has a size; save what comes through it"
            )
        form, version = _format(path)
    fields = found.fields()
    if options.json:
        _print_json(
            {
                "path": str(path),
                "format": form,
                "version": version,
                "documents": found.documents,
                "bytes": path.stat().st_size,
                "fields": fields,
                **facts,
            }
        )
        return 0

    from rich.table import Table as Grid
    from rich.text import Text

    from docarray.contents import field_rows
    from docarray.display.facts import noun, plain

    console = _console()
    console.print(Text(str(path), style="bold"), soft_wrap=True)
    console.print(f"  {form} format" + (f", version {version}" if version else ""))
    if len(known) > 1:
        console.print(f"  arrays: {plain(', '.join(known))} (--table shows another)", soft_wrap=True)
    console.print(f"  {noun(found.documents, 'document')}, {_bytes(path.stat().st_size)}\n")
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for header in ("  field", "kind"):
        grid.add_column(header, no_wrap=True)
    grid.add_column("filled", justify="right")
    grid.add_column("holds")
    for row in field_rows(fields, "  "):
        grid.add_row(*map(Text, row))
    console.print(grid)
    return 0


def _format(path: Path) -> tuple[str, str | None]:
    """The format of a file, with the compression around it; and the version, where the format has any."""
    name, packed = exchange.format_of(path)
    if name != "binary":
        return f"{name}, {packed}" if packed else name, None
    if packed:
        return f"docarray, {packed}", None
    return "docarray", registry.resolve("room", "container").describe(path)["version"]


def _is_store(options: argparse.Namespace) -> bool:
    """Whether the file is one of SQLite, in which arrays are kept."""
    path: Path = options.file
    found = False
    if path.is_file():
        with path.open("rb") as file:
            found = file.read(16) == b"SQLite format 3\0"
    if options.table and not found and path.exists():
        raise BadValue(f"{path}: --table is for files of a storage; this is another")
    return found


def _opened(path: Path) -> Table:
    """The table in a file, mapped where it is a native one."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: this is a folder; name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file; check the path")
    return exchange.load(path)


# ---------------------------------------------------------------------------------------------- head


def _head(options: argparse.Namespace) -> int:
    docs = _first(options)
    if options.json:
        for doc in docs:
            _print_json(_plain_document(doc, options.arrays))
        return 0

    console = _console()
    for doc in docs:
        console.print(doc)
    return 0


def _first(options: argparse.Namespace) -> list[Document]:
    if not _is_store(options):
        return list(DocumentArray(_opened(options.file))[: options.n])

    from docarray import librarian

    with contextlib.closing(librarian.opened(options.file, options.table)) as da:
        return list(da[: options.n])


def _plain_document(doc: Document, arrays: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name in doc.non_empty_fields:
        value = getattr(doc, name)
        kind = FIELDS[name].kind
        if kind == "docs":
            plain[name] = [_plain_document(inner, arrays) for inner in value]
        elif kind == "scores":
            plain[name] = {key: _plain(score.to_dict(), arrays) for key, score in value.items()}
        else:
            plain[name] = _plain_array(value, arrays) if kind == "tensor" else _plain(value, arrays)
    return plain


def _plain(value: Any, arrays: bool) -> Any:
    """The value as JSON can say it; what JSON has no word for becomes text."""
    from docarray.display.facts import noun

    if isinstance(value, np.generic):
        value = cast("Any", value).item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # NaN is no JSON, though Python would write it
    if isinstance(value, Mapping):
        return {str(key): _plain(item, arrays) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode() if arrays else noun(len(value), "byte")
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, arrays) for item in cast("Sequence[Any]", value)]
    return str(value) if tensors.framework(value) is None else _plain_array(value, arrays)


def _plain_array(value: Any, arrays: bool) -> Any:
    from docarray.display.facts import array_type

    if not arrays:
        return array_type(value)
    return _plain(value if tensors.framework(value) == "list" else tensors.to_numpy(value).tolist(), arrays)


# ---------------------------------------------------------------------------------------------- convert


def _convert(options: argparse.Namespace) -> int:
    from docarray.display.facts import noun
    from docarray.progress import Bar

    with Bar("converting") as bar:

        def counted() -> Iterator[Table]:
            for table in exchange.stream(options.file, options.source_format):
                yield table
                bar.step(len(table))

        exchange.save(counted(), options.target, options.target_format)
    _console().print(f"{noun(bar.done, 'document')} written to {options.target}", soft_wrap=True)
    return 0


# ---------------------------------------------------------------------------------------------- printing


def _console() -> Console:
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:  # which would leave with a code of its own
            raise BrokenPipeError

    return Plain(markup=False, emoji=False, highlight=False)


def _print_json(value: Any) -> None:
    readable = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, ensure_ascii=not readable, allow_nan=False))


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.9995 else f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


def _bytes(count: int) -> str:
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
