"""Files as documents: text, Markdown, HTML, PDF and images, cut into passages that can be found.

Rule 1: files are read, and nothing else: what they hold is not run, not followed and not fetched.
Rule 2: a file that gives no documents is told of, with the reason, and the next one is read. `Refused` is that reason.
Rule 3: the same file gives the same documents, ids included, and what was read says so: `digest`, `size`, `mtime_ns`.
"""

from __future__ import annotations

import codecs
import itertools
import mimetypes
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any, Final, cast

from docarray.document import Document
from docarray.errors import DocArrayError, MissingExtra
from docarray.media import pdf
from docarray.media.passages import spans
from docarray.registry import require

__all__ = ["LARGEST", "File", "Reading", "Refused", "documents", "files", "key_of", "read", "spans"]

LARGEST: Final = 20_000_000
"""Bytes of a file beyond which it is passed over, unless said otherwise."""

_LONGEST_TITLE: Final = 200

# Folders of what programs have put there, which may hold more files than the rest together.
_SKIPPED: Final = frozenset({"node_modules", "bower_components", "__pycache__", "__MACOSX", "$RECYCLE.BIN"})
_MARKS: Final = ("pyvenv.cfg", "CACHEDIR.TAG")  # files that say the same of the folder they are in

_MARKDOWN: Final = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mdx"})
_HTML: Final = frozenset({".html", ".htm", ".xhtml", ".svg"})
_IMAGES: Final = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".jxl": "image/jxl",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}


class Refused(DocArrayError, ValueError):
    """A file that gives no documents, and why.

    Args:
        reason: a few words, such as 'no text'.
        is_fault: it should have given some; else it is of a kind that never does.
        is_lasting: whether that is so as long as the file does not change. What was known of it is then out of date.
    """

    def __init__(self, reason: str, *, is_fault: bool = True, is_lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_fault = is_fault
        self.is_lasting = is_lasting


@dataclass(frozen=True, slots=True)
class File:
    """A file that was found: where it is, what it is called, and its state when it was looked at."""

    path: Path
    """Absolute."""
    name: str
    """Relative to the folder that is read, with slashes."""
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Reading:
    """What a file gave: its passages as documents, and what was not to be had, in words."""

    docs: list[Document]
    complaint: str = ""


Refusal = Callable[[Path, str, Refused], object]
"""Is told of what gives no documents: the path, the name, and why."""


def documents(
    path: str | os.PathLike[str], *, largest: int = LARGEST, refused: Refusal | None = None
) -> Iterator[Document]:
    """The passages of a file, or of all files below a folder in the order of their names, as documents.

    The text of a document is the passage, its `uri` the path of the file. Its tags are `path` (relative, with slashes),
    `title`, `section` (headings, ' > ' between them), `page` or `line` where there are any, `part` (the number of the
    passage in the file, from 0), and of the file `size`, `mtime_ns` and `digest`. Images are one document each, whose
    text is the words of their name and what they say of themselves; `width` and `height` are tags.

    Hidden files and folders are left out, and those of programs, such as node_modules; links to folders are not
    followed.

    Args:
        path: a file or a folder.
        largest: bytes of a file beyond which it is passed over.
        refused: is called with path, name and a `Refused` for each file that gives no documents.

    Raises:
        FileNotFoundError: there is no such file or folder.

    Costs about 20 MB of text a second, far less of PDF. One file at a time is in memory.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, 'tea.md').write_text('# Tea\\n\\nWait three minutes.\\n\\n## Green\\n\\nWait two.')
    ...     for doc in documents(folder):
    ...         print(doc.tags['path'], doc.tags['line'], doc.tags['section'], repr(doc.text))
    tea.md 1 Tea '# Tea\\n\\nWait three minutes.'
    tea.md 5 Tea > Green '## Green\\n\\nWait two.'
    """
    for file in files(path, largest=largest, refused=refused):
        try:
            yield from read(file)[1].docs
        except Refused as error:
            if refused is not None:
                refused(file.path, file.name, error)


# ---------------------------------------------------------------------------------------------- walking


def files(
    path: str | os.PathLike[str],
    *,
    base: Path | None = None,
    largest: int = LARGEST,
    refused: Refusal | None = None,
    left_out: Callable[[Path], bool] | None = None,
) -> Iterator[File]:
    """The files at and below a path that may be read, in the order of their names; see `documents`.

    Args:
        path: a file or a folder.
        base: what names are relative to; the folder itself, or that of the file, unless given.
        largest: bytes of a file beyond which it is passed over.
        refused: as of `documents`; also told of folders that cannot be read.
        left_out: paths of which nothing is said.

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    try:
        root = Path(path).resolve()
    except RuntimeError as error:
        raise FileNotFoundError(f"{path}: this link leads to itself") from error
    if not root.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder; check the path")
    is_folder = root.is_dir()
    top = base or (root if is_folder else root.parent)

    def refuse(at: Path, reason: Refused) -> None:
        if refused is not None:
            refused(at, _name(at, top), reason)

    for found in _walk(root, refuse) if is_folder else [root]:
        if left_out is not None and left_out(found):
            continue
        try:
            about = os.stat(found)
        except OSError as error:
            refuse(found, Refused(_said(error)))
            continue
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for, a device might never end
            refuse(found, Refused("a pipe, socket or device", is_fault=False))
        elif about.st_size > largest:
            reason = f"larger than {largest / 1e6:g} MB"
            refuse(found, Refused(reason, is_lasting=True))
        else:
            yield File(found, _name(found, top), about.st_size, about.st_mtime_ns)


def _walk(folder: Path, refuse: Callable[[Path, Refused], None]) -> Iterator[Path]:
    """The files below a folder, those of a folder before those of the folders in it."""
    below = [folder]
    while below:
        here = below.pop()
        try:
            with os.scandir(here) as listing:
                entries = sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in listing)
        except OSError as error:
            refuse(here, Refused(_said(error)))
            continue
        if here != folder and any(name in _MARKS for name, _, _ in entries):
            continue
        folders: list[Path] = []
        for name, is_folder, is_link in entries:
            if name.startswith(".") or name in _SKIPPED:
                continue
            at = here / name
            if is_folder:
                folders.append(at)
            elif not is_link or _leads_out(at, folder):
                yield at
        below += reversed(folders)


def _leads_out(link: Path, folder: Path) -> bool:
    """Whether a link is to a file elsewhere: one to a file of the folder would be the same once more."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # to nothing, or to itself
        return False
    return not target.is_dir() and not target.is_relative_to(folder)


def _name(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix() if path != top else path.name


def _said(error: OSError) -> str:
    return error.strerror or type(error).__name__


# ---------------------------------------------------------------------------------------------- reading


def key_of(path: Path) -> str:
    """What the ids of all documents of a file begin with."""
    return blake2b(os.fsencode(path), digest_size=12).hexdigest()


def read(file: File, known: str | None = None) -> tuple[str, Reading]:
    """The digest of a file, and its passages; of a file that has the digest `known` none.

    Raises:
        Refused: the file gives no documents.
    """
    try:
        with open(file.path, "rb") as source:
            data = source.read(file.size)  # as it was when it was looked at
    except OSError as error:
        raise Refused(_said(error)) from error
    digest = blake2b(data, digest_size=16).hexdigest()
    if digest == known:
        return digest, Reading([])
    content = _content(file, data)
    about = {"mtime_ns": file.mtime_ns, "size": file.size, "digest": digest}
    docs: list[Document] = []
    key, uri = key_of(file.path), str(file.path)
    for part, start, end, line in content.passages():
        tags: dict[str, Any] = {"path": file.name, "title": content.title}
        if part.section:
            tags["section"] = " > ".join(part.section)
        if part.page is not None:
            tags["page"] = part.page
        if line is not None:
            tags["line"] = line
        tags |= {"part": len(docs), **content.tags, **about}
        docs.append(
            Document(
                id=f"{key}-{len(docs)}",
                text=part.text[start:end],
                uri=uri,
                mime_type=content.mime_type,
                modality=content.modality,
                tags=tags,
            )
        )
    if not docs:
        raise Refused("empty", is_fault=False, is_lasting=True)
    return digest, Reading(docs, content.complaint)


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a file that no passage goes beyond: a section, a page."""

    text: str
    section: tuple[str, ...] = ()
    line: int | None = None
    page: int | None = None


@dataclass(slots=True)
class _Content:
    """What is in a file."""

    title: str
    parts: list[_Part]
    mime_type: str
    modality: str = "text"
    tags: dict[str, Any] = field(default_factory=dict[str, Any])
    complaint: str = ""

    def passages(self) -> Iterator[tuple[_Part, int, int, int | None]]:
        """The part, where in it a passage begins and ends, and the line of the file, where there are any."""
        for part in self.parts:
            line, counted = part.line, 0
            for start, end in spans(part.text):
                if line is not None:
                    line, counted = line + part.text.count("\n", counted, start), start
                yield part, start, end, line


def _content(file: File, data: bytes) -> _Content:
    kind = _kind(file.path.suffix.lower(), data)
    spoken = _spoken(file.path.stem)
    try:
        if kind == "image":
            return _image(file, data, spoken)
        if kind == "pdf":
            return _pdf(data, spoken)
        text = _text(data, is_html=kind == "html")
        if kind == "markdown":
            return _markdown(text, spoken)
        return (
            _html(text, spoken, file.path.suffix.lower() == ".svg")
            if kind == "html"
            else _plain(text, spoken, file.path.name)
        )
    except Refused:
        raise
    except MissingExtra as error:
        raise Refused(str(error)) from error
    except Exception as error:  # the parsers of other people raise whatever damaged files lead them to
        text = " ".join(str(error).split())
        raise Refused(
            f"damaged: {type(error).__name__}" + (f": {text:.200}" if text else ""), is_lasting=True
        ) from error


def _kind(suffix: str, data: bytes) -> str:
    """What the first bytes say goes before what the name says."""
    if data.startswith(b"%PDF-") or suffix == ".pdf":
        return "pdf"
    if data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")) or suffix in _IMAGES:
        return "image"
    if suffix in _MARKDOWN:
        return "markdown"
    return "html" if suffix in _HTML else "text"


def _spoken(name: str) -> str:
    """The words of a file name: 'taxReturn_2023-final' is 'tax Return 2023 final'."""
    clean = os.fsencode(name).decode("utf-8", "replace")
    parts = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])", " ", clean)
    return " ".join(re.sub(r"[\s._+~-]+", " ", parts).split()) or clean


# ---------------------------------------------------------------------------------------------- text


_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_CHARSET: Final = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)


def _text(data: bytes, is_html: bool = False) -> str:
    """The text of a file.

    Raises:
        Refused: it is no text.
    """
    no_text = Refused("no text", is_fault=False, is_lasting=True)
    for mark, codec in _BOMS:
        if data.startswith(mark):
            try:
                return _clean(data.decode(codec))
            except UnicodeDecodeError as error:
                raise no_text from error
    if b"\0" in data:
        raise no_text
    try:
        return _clean(data.decode("utf-8"))
    except UnicodeDecodeError:
        if _CONTROL.search(data):
            raise no_text from None
    # Of the old encodings of one byte a letter, this one is by far the most common, and it is what browsers take.
    said = _CHARSET.search(data[:4096]) if is_html else None
    name = "cp1252" if said is None else said[1].decode("ascii").lower()
    if name.startswith(
        ("utf", "iso-8859-1", "latin")
    ):  # which it is not, or which browsers take for the other
        name = "cp1252"
    try:
        return _clean(data.decode(name, "replace"))
    except LookupError:
        return _clean(data.decode("cp1252", "replace"))


def _clean(text: str) -> str:
    """The same without what no text has: half characters, NUL; every line ends as on Unix."""
    if "\0" in text:
        text = text.replace("\0", "")
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _plain(text: str, title: str, name: str) -> _Content:
    said = mimetypes.guess_type(name)[0] or ""
    is_text = said.startswith("text/") or said.endswith(("json", "xml", "javascript", "yaml"))
    return _Content(title, [_Part(text, line=1)], said if is_text else "text/plain")


# ---------------------------------------------------------------------------------------------- Markdown


_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_NO_TITLE: Final = re.compile(
    r"\s*(?:[-*+>|#=]|\d+[.)]|$)|(?: {4}|\t)"
)  # what a line below makes no heading of
_MATTER: Final = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?)\n(?:\1|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
_MATTER_TITLE: Final = re.compile(r"^title[ \t]*[:=][ \t]*(.+?)[ \t]*$", re.MULTILINE | re.IGNORECASE)


def _markdown(text: str, title: str) -> _Content:
    first_line, named = 1, ""
    matter = _MATTER.match(text)
    if matter is not None and re.match(r"\s*(#|[\w\"'-]+\s*[:=])", matter[2]):
        said = _MATTER_TITLE.search(matter[2])
        named = said[1].strip("\"'") if said is not None else ""
        first_line += text.count("\n", 0, matter.end())
        text = text[matter.end() :]
    parts: list[_Part] = []
    path: list[str] = []  # of headings, by level; '' where a level was left out
    lines: list[str] = []
    begun, has_heading = first_line, False

    def close(deeper: bool) -> None:
        body = "\n".join(lines)
        # A heading alone says what the headings below it say again, in their paths.
        if body.strip() and not (deeper and has_heading and not "\n".join(lines[1:]).strip("\n =-")):
            parts.append(_Part(body, tuple(filter(None, path)), begun))

    for number, line, level, heading in _headings(text.split("\n"), first_line):
        if level:
            close(level > len(path))
            lines, begun, has_heading = [], number, True
            path[level - 1 :] = [""] * (level - 1 - len(path)) + [heading]
            named = named or heading
        lines.append(line)
    close(False)
    return _Content((named or title)[:_LONGEST_TITLE], parts, "text/markdown")


def _headings(lines: list[str], first: int) -> Iterator[tuple[int, str, int, str]]:
    """Each line with its number, and where a heading begins its level and words; else 0 and ''."""
    fence = ""
    before = ""
    for at, line in enumerate(lines):
        number, level, words = first + at, 0, ""
        fenced = _FENCE.match(line)
        if fence:
            if fenced is not None and fenced[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif fenced is not None:
            fence = fenced[1]
        elif (heading := _HEADING.match(line)) is not None:
            level, words = len(heading[1]), re.sub(r"(?:^|[ \t])#+$", "", line[heading.end() :].strip())
        elif not before.strip() and at + 1 < len(lines) and not _NO_TITLE.match(line):
            under = _UNDERLINE.match(lines[at + 1])
            if under is not None:
                level, words = (1 if under[1][0] == "=" else 2), line
        before = line
        yield number, line, level, _unmarked(words)


def _unmarked(heading: str) -> str:
    """A heading as it is shown: without emphasis, code marks, links and anchors."""
    heading = re.sub(r"\s*\{[#.][^}]*\}\s*$", "", heading[: 2 * _LONGEST_TITLE])
    heading = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", heading)
    return " ".join(re.sub(r"[*`]+|(?<!\w)_+|_+(?!\w)", "", heading).split())[:_LONGEST_TITLE]


# ---------------------------------------------------------------------------------------------- HTML


_UNSEEN: Final = frozenset(
    {"script", "style", "template", "noscript", "iframe", "object", "select", "svg", "head"}
)
_IN_HEAD: Final = frozenset({"base", "link", "meta", "noscript", "script", "style", "template", "title"})
_BLOCKS: Final = frozenset(
    """address article aside body br caption dd details dialog dl dt fieldset figcaption figure footer form header hr li
    main nav option pre summary tbody td text tfoot th thead tr desc""".split()
)
_APART: Final = frozenset("blockquote div h1 h2 h3 h4 h5 h6 ol p section table ul".split())
# Elements whose end is always written, so that what is hidden in them ends with them.
_ENDED: Final = frozenset(
    {"div", "span", "section", "article", "aside", "nav", "form", "ul", "ol", "table", "dialog"}
)


class _Page(HTMLParser):
    """The title of a page, and what can be seen of it, by headings."""

    def __init__(self, unseen: frozenset[str] = _UNSEEN) -> None:
        super().__init__(convert_charrefs=True)
        self._hides = unseen
        self.title = ""
        self.parts: list[_Part] = []
        self._path: list[str] = []
        self._said: list[str] = []
        self._heading: tuple[int, list[str]] | None = None
        self._unseen = ""  # the element that hides what is in it,
        self._depth = 0  # and how many of its name are open
        self._in_title = False
        self._kept = 0  # elements that keep their white space

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self.title and self._unseen in ("", "head", "svg"):
            self._in_title = True
            return
        if self._unseen == "head" and tag not in _IN_HEAD:  # nobody has to write where it ends
            self._unseen, self._depth = "", 0
        if self._unseen:
            self._depth += tag == self._unseen
            return
        about = {name: value or "" for name, value in attrs}
        style = about.get("style", "").replace(" ", "").lower()
        hidden = "hidden" in about or "display:none" in style or about.get("aria-hidden") == "true"
        if tag in self._hides or (hidden and tag in _ENDED):
            self._unseen, self._depth = tag, 1
            return
        if tag == "img" and about.get("alt", "").strip():
            self._said.append(f" {about['alt']} ")
        if tag == "pre":
            self._kept += 1
        if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self._end_heading()
            self._close()
            self._heading = int(tag[1]), []
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and self._in_title:
            self._in_title = False
            self.title = " ".join(self.title.split())
            return
        if self._unseen:
            self._depth -= tag == self._unseen
            if not self._depth:
                self._unseen = ""
            return
        if tag == "pre" and self._kept:
            self._kept -= 1
        if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self._end_heading()
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._unseen:
            self._said.append(data if self._kept else re.sub(r"\s+", " ", data))
            if self._heading is not None:
                self._heading[1].append(data)

    def _break(self, tag: str) -> None:
        if tag in _APART:
            self._said.append("\n\n")
        elif tag in _BLOCKS:
            self._said.append("\n" if tag not in ("td", "th") else " \t")

    def _end_heading(self) -> None:
        if self._heading is not None:
            level, words = self._heading[0], " ".join("".join(self._heading[1]).split())[:_LONGEST_TITLE]
            self._path[level - 1 :] = [""] * (level - 1 - len(self._path)) + [words]
            self._heading = None

    def _close(self) -> None:
        lines = (line.strip(" ") for line in "".join(self._said).split("\n"))
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
        if text:
            self.parts.append(_Part(text, tuple(filter(None, self._path))))
        self._said.clear()

    def finish(self) -> None:
        self.close()
        self._end_heading()
        self._close()
        self.title = " ".join(self.title.split())


def _html(text: str, title: str, is_drawing: bool = False) -> _Content:
    page = _Page(_UNSEEN - {"svg"} if is_drawing else _UNSEEN)
    page.feed(text)
    page.finish()
    heading = next((part.section[0] for part in page.parts if part.section), "")
    parts = page.parts
    if is_drawing or not parts:
        parts = [*([_Part(page.title)] if page.title else []), *parts]
    mime_type = "image/svg+xml" if is_drawing else "text/html"
    return _Content((page.title or heading or title)[:_LONGEST_TITLE], parts, mime_type)


# ---------------------------------------------------------------------------------------------- PDF


def _pdf(data: bytes, spoken: str) -> _Content:
    require("pypdf", "reading PDF files", "pypdf")
    try:
        with pdf.opened(data) as found:
            return _pages(found, spoken)
    except pdf.Locked as error:
        raise Refused("locked with a password", is_lasting=True) from error


def _pages(found: pdf.Pdf, spoken: str) -> _Content:
    title = _clean(found.metadata.get("title", "")) or spoken
    parts: list[_Part] = []
    lost: list[str] = []
    for number in range(len(found)):
        try:
            text = _clean(found.text(number))
        except DocArrayError as error:  # one bad page costs no other; that it is missing is said
            lost.append(f"{number + 1} ({type(error.__cause__ or error).__name__})")
            continue
        if text.strip():
            parts.append(_Part(re.sub(r"(?<=[^\W\d_])-\n(?=[^\W\d_])", "", text), page=number + 1))
    count = len(found)
    if count and len(lost) == count:
        raise Refused("damaged: none of its pages can be read", is_lasting=True)
    complaint = f"cannot be read: page {', '.join(lost)}" if lost else ""
    if not parts:  # pictures of pages: the name is all there is to find it by
        complaint = complaint or "its pages hold no text; it is found by its name"
        parts = [_Part(" ".join(dict.fromkeys((spoken, title))), page=1)]
    return _Content(
        title[:_LONGEST_TITLE], parts, "application/pdf", tags={"pages": count}, complaint=complaint
    )


# ---------------------------------------------------------------------------------------------- images


_SAID: Final = (
    0x010E,
    0x9286,
    0x9C9B,
    0x9C9C,
    0x9C9E,
    0x9C9F,
)  # of EXIF: description, comments, title, keywords
_SUB_EXIF: Final = 0x8769
_SAID_IN_PNG: Final = ("Title", "Description", "Comment", "Caption")


def _image(file: File, data: bytes, spoken: str) -> _Content:
    # 'holiday/2023 Crete/IMG_0012.jpg': what the folders are called often says more than the name.
    around = [_spoken(folder) for folder in Path(file.name).parent.parts]
    mime_type = _IMAGES.get(file.path.suffix.lower(), "image/png")
    tags, said, complaint = dict[str, Any](), list[str](), ""
    try:
        pillow: Any = require("PIL.Image", "looking into images", "pillow")
    except MissingExtra:
        complaint = "images are known by their names alone: pip install pillow"
    else:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of its size, which costs nothing as long as nobody asks for pixels
            with pillow.open(BytesIO(data)) as image:
                tags = {"width": int(image.width), "height": int(image.height)}
                mime_type = image.get_format_mimetype() or mime_type
                said, complaint = _captions(image)
    lines = [" ".join([*around, spoken]), *dict.fromkeys(said)]
    return _Content(spoken[:_LONGEST_TITLE], [_Part("\n".join(lines))], mime_type, "image", tags, complaint)


def _captions(image: Any) -> tuple[list[str], str]:
    """What an image says of itself, and what could not be read of that."""
    said: list[Any] = [image.info.get(name) for name in _SAID_IN_PNG]
    complaint = ""
    try:
        exif = image.getexif()
        for found in (exif, exif.get_ifd(_SUB_EXIF)):
            said += [_exif_text(number, found.get(number)) for number in _SAID]
    except Exception as error:  # the picture is there, whatever is wrong with what is said of it
        complaint = f"its EXIF cannot be read: {type(error).__name__}"
    texts = (" ".join(_clean(text).split()) for text in said if isinstance(text, str))
    return [text for text in texts if text], complaint


def _exif_text(number: int, value: Any) -> str:
    if isinstance(value, tuple):  # of numbers, where the type of the entry was that
        numbers = itertools.islice(cast("tuple[Any, ...]", value), 10_000)
        value = bytes(number & 0xFF for number in numbers if isinstance(number, int))
    if not isinstance(value, bytes):
        return value if isinstance(value, str) else ""
    if number >= 0x9C9B:  # of Windows
        return value.decode("utf-16-le", "replace").rstrip("\0")
    if number == 0x9286:  # a comment begins with eight letters that name its encoding
        return value[8:].decode("utf-16" if value.startswith(b"UNICODE") else "utf-8", "replace")
    return value.decode("utf-8", "replace")
