"""The command `docarray`: a demo, and a look into files of documents.

Rule 1: results go to stdout, whatever went wrong to stderr, in one line: what, where, what to do.
Rule 2: nobody is shown a traceback who has not asked for it with --debug.
Rule 3: what only some commands need is imported when they run, so that --help does not wait for it.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import numpy as np

from docarray import __version__, exchange, registry, tensors
from docarray.array import DocumentArray
from docarray.columns import Column, JsonColumn, UniformTensors
from docarray.document import Document
from docarray.errors import BadValue, DocArrayError, FormatError
from docarray.schema import FIELDS
from docarray.table import DocsColumn, Table

if TYPE_CHECKING:
    from rich.console import Console

    from docarray.demo import Answer

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
        prog="docarray", description="Documents of any medium: a demo, and a look into their files."
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
        description="Searches the docstrings of the standard library, saves them, and searches the file.",
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
        help="where to save (docarray-demo.docarray in the temporary folder)",
    )
    demo.add_argument(
        "--model",
        choices=("auto", "wordllama", "hashing"),
        default="auto",
        help="what makes the vectors: wordllama (meanings), hashing (words), or auto: the first that is installed",
    )
    demo.add_argument("--max-docs", type=_count, metavar="N", help="stop collecting after N docstrings")
    demo.set_defaults(run=_demo)

    info = commands.add_parser(
        "info",
        parents=[shared],
        help="what a file holds: format, number of documents, fields",
        description="Says what a file of documents holds, without reading the documents.",
    )
    info.add_argument(
        "file", type=Path, metavar="FILE", help="a file in any format that DocumentArray.load reads"
    )
    info.add_argument("--json", action="store_true", help="one JSON object")
    info.set_defaults(run=_info)

    head = commands.add_parser(
        "head",
        parents=[shared],
        help="the first documents of a file",
        description="Shows the first documents of a file, with the fields that are filled.",
    )
    head.add_argument(
        "file", type=Path, metavar="FILE", help="a file in any format that DocumentArray.load reads"
    )
    head.add_argument("-n", type=_count, default=5, metavar="N", help="how many documents (5)")
    head.add_argument(
        "--json", action="store_true", help="one JSON object a line; of arrays only dtype and shape"
    )
    head.add_argument(
        "--arrays", action="store_true", help="with --json: arrays as nested lists, bytes as base64"
    )
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
    from docarray import demo
    from docarray.display.facts import count_of

    questions = _questions(options.questions) or list(demo.QUESTIONS)
    path: Path = options.output or Path(tempfile.gettempdir(), "docarray-demo.docarray")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: this is a folder; name a file in it with --output")
    if not path.absolute().parent.is_dir():
        raise NotADirectoryError(
            f"{path}: there is no such folder to save in; make it, or name another --output"
        )
    console = _console()
    say = console.print

    with console.status("Loading the model"):
        model = demo.model(options.model)
    with console.status("Reading the docstrings of the standard library"):
        docs, collecting = demo.timed(lambda: demo.collect(options.max_docs))
    say(f"{count_of(len(docs))} docstrings of Python's standard library, collected in {_seconds(collecting)}")
    with console.status("Embedding"):
        _, embedding = demo.timed(lambda: demo.embed(docs, model))
    say(f"Embedded with {model.name} in {_seconds(embedding)}: {docs.embeddings.shape[1]} numbers each")
    say(model.note, style="dim", soft_wrap=True)

    answers = [demo.ask(docs, model, question, options.limit) for question in questions]
    for answer in answers:
        _show_answer(console, answer)

    try:
        again = demo.reopen(docs, path)
    except OSError as error:
        raise OSError(
            f"{path}: cannot be saved to ({error.strerror}); name another file with --output"
        ) from error
    asked = demo.ask(again.docs, model, questions[0], options.limit)
    about = f"({_bytes(again.size)}) in {_seconds(again.saving)}, opened again in {_seconds(again.opening)}"
    say(f"\nSaved to {path} {about}", soft_wrap=True)
    if not demo.same(asked, answers[0]):
        raise RuntimeError(f"the file {path} does not answer as the array did that was saved to it")
    say(f"Asked the first question again, of the opened file: the same answers in {_seconds(asked.seconds)}")
    say(f"\nLook into the file:  docarray head {path}", style="dim", soft_wrap=True)
    if not options.questions:
        say('Ask for yourself:    docarray demo "how do I unpack an archive?"', style="dim", soft_wrap=True)
    return 0


def _questions(words: list[str]) -> list[str]:
    # `docarray demo how do I unpack an archive`: nobody means seven questions of one word.
    return [" ".join(words)] if len(words) > 1 and not any(" " in word for word in words) else words


def _show_answer(console: Console, answer: Answer) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    from docarray.demo import similarity

    console.print(Text.assemble("\n", (answer.question, "bold"), (f"  {_seconds(answer.seconds)}", "dim")))
    if not len(answer.hits):
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
    for rank, hit in enumerate(answer.hits, 1):
        name, line = Text(hit.id, style="cyan"), Text(hit.text.partition("\n")[0])
        where = Text(f"{hit.tags['file']}:{hit.tags['line']}", style="dim")
        cells = [name, line, where]
        if width < _NARROW:  # what it is and where; below that, with room to be read, what it says
            room = max(1, width - 11 - len(where))
            name.truncate(room, overflow="ellipsis", pad=True)
            cells = [Text.assemble(name, " ", where, "\n", line)]
        grid.add_row(str(rank), f"{similarity(hit):.2f}", *cells)
    console.print(grid)


# ---------------------------------------------------------------------------------------------- info


def _info(options: argparse.Namespace) -> int:
    path: Path = options.file
    table = _opened(path)
    if not path.is_file():
        raise BadValue(f"{path}: this is no file on disk, which alone has a size; save what comes through it")
    form, version = _format(path)
    facts = {
        "path": str(path),
        "format": form,
        "version": version,
        "documents": len(table),
        "bytes": path.stat().st_size,
        "fields": _fields(table),
    }
    if options.json:
        _print_json(facts)
        return 0

    from rich.table import Table as Grid
    from rich.text import Text

    from docarray.display.facts import noun

    console = _console()
    console.print(Text(str(path), style="bold"), soft_wrap=True)
    console.print(f"  {form} format" + (f", version {version}" if version else ""))
    console.print(f"  {noun(len(table), 'document')}, {_bytes(path.stat().st_size)}\n")
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for header in ("  field", "kind"):
        grid.add_column(header, no_wrap=True)
    grid.add_column("filled", justify="right")
    grid.add_column("holds")
    for row in _field_rows(cast("list[dict[str, Any]]", facts["fields"]), "  "):
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


def _opened(path: Path) -> Table:
    """The table in a file, mapped where it is a native one."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: this is a folder; name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file; check the path")
    return exchange.load(path)


def _fields(table: Table) -> list[dict[str, Any]]:
    columns = {"id": table.id_column, **table.columns}
    order = [name for name in FIELDS if name in columns] + [name for name in columns if name not in FIELDS]
    return [{"name": name, **_field(columns[name])} for name in order]


def _field(column: Column) -> dict[str, Any]:
    """What one column holds: its kind, in how many rows it is filled, and what is special to the kind."""
    present = column.present
    filled = len(column) if present is None else int(present.sum())
    facts: dict[str, Any] = {"kind": column.kind, "filled": filled}
    if column.kind == "tensor":
        facts |= _arrays(column)
    elif isinstance(column, DocsColumn):
        facts |= {"documents": len(column.child), "fields": _fields(column.child)}
    elif isinstance(column, JsonColumn):
        # A slice has the keys of all rows where they are columns; where each row is JSON text, a thousand must do.
        keyed = column.slice(0, min(len(column), _LOOKED_AT)).by_key()
        if keyed is not None:
            facts["keys"] = {key: inner.kind for key, inner in keyed.items()}
    return facts


def _arrays(column: Column) -> dict[str, Any]:
    from docarray.display.facts import array_type

    present = column.present
    filled = np.arange(len(column)) if present is None else np.flatnonzero(present)
    if not len(filled):
        return {"arrays": [], "distinct": 0}
    if isinstance(column, UniformTensors):
        dtype, shape = str(column.data.dtype), list(column.data.shape[1:])
        return {
            "arrays": [array_type(column.value(filled[0]))],
            "distinct": 1,
            "dtype": dtype,
            "shape": shape,
        }
    types = dict.fromkeys(array_type(column.value(row)) for row in filled[:_LOOKED_AT].tolist())
    return {"arrays": list(types)[:_MOST_ARRAYS], "distinct": len(types)}


_LOOKED_AT: Final = 1000  # rows of a column in which each may be another
_MOST_KEYS: Final = 10  # of tags, that are shown to people
_MOST_ARRAYS: Final = 3


def _field_rows(fields: list[dict[str, Any]], indent: str) -> list[tuple[str, str, str, str]]:
    from docarray.display.facts import count_of, noun, plain

    rows: list[tuple[str, str, str, str]] = []
    for field in fields:
        holds = noun(field["documents"], "document") if "documents" in field else ""
        if "arrays" in field or "keys" in field:
            parts = field["arrays"] if "arrays" in field else list(field["keys"])[:_MOST_KEYS]
            more = (field["distinct"] if "arrays" in field else len(field["keys"])) - len(parts)
            holds = ", ".join(parts) + (f" and {count_of(more)} more" if more else "")
        rows.append((indent + plain(field["name"]), field["kind"], count_of(field["filled"]), plain(holds)))
        rows += _field_rows(field.get("fields", []), indent + "  ")
    return rows


# ---------------------------------------------------------------------------------------------- head


def _head(options: argparse.Namespace) -> int:
    docs = list(DocumentArray(_opened(options.file))[: options.n])
    if options.json:
        for doc in docs:
            _print_json(_plain_document(doc, options.arrays))
        return 0

    console = _console()
    for doc in docs:
        console.print(doc)
    return 0


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
