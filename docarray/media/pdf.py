"""PDF: the text of its pages, what it says of itself, the pages as they look, and the pictures in them.

Rule 1: pages come one after the other, and what was unpacked for one is dropped before the next.
Rule 2: pypdf reads, within its own limits; pdfium draws, and has few: what it is to draw is measured first.
Rule 3: pdfium runs in one thread at a time, whatever document it is called for: `_PDFIUM` is held around each call.
"""

from __future__ import annotations

import io
import math
import mimetypes
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from docarray import files
from docarray.document import Document
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    MissingExtra,
    OutOfRange,
    UnsupportedFormat,
)
from docarray.media import fetch
from docarray.media.quiet import quiet
from docarray.registry import require

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "DPI",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Locked",
    "Page",
    "Pdf",
    "Picture",
    "load_uri_to_pages",
    "metadata",
    "opened",
    "pages",
]

Bytes = npt.NDArray[np.uint8]

DPI: Final = 150
"""Pixels an inch of a drawn page, unless `dpi` says otherwise."""

MAX_PIXELS: Final = 1 << 26
"""Pixels of a page, or of a picture in it, at most, unless `max_pixels` says otherwise: 192 MiB as RGB."""

MAX_BYTES: Final = 2 << 30
"""Bytes of text and pictures that are made of one document at most, unless `max_bytes` says otherwise."""

_UNPACKED: Final = 75_000_000
"""Bytes that a stream may unpack to, other than a picture, before pdfium sees it; pypdf has the same limit."""

_RATIOS: Final = {
    "/FlateDecode": 1032,
    "/Fl": 1032,
    "/LZWDecode": 1366,
    "/LZW": 1366,
    "/RunLengthDecode": 64,
    "/RL": 64,
}
"""How many bytes of one a filter can make at most; 1 for all others."""

_ELSEWHERE: Final = frozenset(
    {
        "/Parent",
        "/P",
        "/A",
        "/AA",
        "/Dest",
        "/IRT",
        "/Popup",
        "/B",
        "/StructParents",
        "/Metadata",
        "/PieceInfo",
        "/Thumb",
    }
)
"""Entries of a page, or of what is in it, that lead to what is not drawn with it."""

_IN_MEMORY: Final = 1 << 26  # bytes of a file that are given to pdfium at once
_MOST_OBJECTS: Final = 1_000_000
_SAID: Final = {
    **{name: name for name in ("title", "author", "subject", "keywords", "creator", "producer")},
    "created": "creation_date",
    "modified": "modification_date",
}
_POINTS: Final = 72  # an inch
_PDFIUM: Final = threading.Lock()


class Locked(BadValue):
    """A PDF that is locked with a password, which was not given, or another one."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is embedded in a page, as a file of its own."""

    name: str
    """As in the PDF, with a suffix: 'Im0.png'."""
    data: bytes
    media_type: str


@dataclass(slots=True)
class Page:
    """A page of a PDF."""

    number: int
    """From 0."""
    text: str
    width: float
    """In points, of which an inch has 72; of the page as it is read, upright."""
    height: float
    image: Bytes | None = None
    """The page as it looks, (height, width, 3) RGB, if that was asked for."""
    pictures: list[Picture] = field(default_factory=list[Picture])


# ------------------------------------------------------------------------------------------------ reading


class Pdf:
    """An open PDF: `opened` makes one. Pages are numbered from 0.

    Any of its methods may raise CorruptData: only what is asked for is read.
    """

    def __init__(self, stream: BinaryIO, password: str | None) -> None:
        pypdf: Any = require("pypdf", "a PDF", '"docarray[media]"')
        self._stream = stream
        self._password = password
        self._drawing: Any = None
        self._measured: set[Any] = set()
        with _reading("the file"):
            # It reads from the end; a stream of none would be told of in other words.
            if not stream.seek(0, 2):
                raise CorruptData("this is no PDF: it is empty")
            self._reader: Any = pypdf.PdfReader(stream)
            self._unlock()
            self._pages: Any = self._reader.pages
            self._count = len(self._pages)
        self._seen = set[Any]()

    def _unlock(self) -> None:
        if not self._reader.is_encrypted:
            return
        try:
            fits = self._reader.decrypt(self._password or "")
        except Exception as error:
            if type(error).__name__ == "DependencyError":
                raise MissingExtra(
                    "a PDF locked by AES needs the package cryptography: pip install cryptography"
                ) from error
            raise
        if not fits:
            raise Locked(
                "the PDF is locked: give its password as password="
                if self._password is None
                else "the password does not open the PDF"
            )

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Lets go of the memory of pdfium. The stream stays open: it is the caller's."""
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
            with _PDFIUM:
                drawing.close()

    @property
    def metadata(self) -> dict[str, Any]:
        """What the PDF says of itself; see the function `metadata`."""
        found: dict[str, Any] = {"pages": self._count}
        for name, attribute in _SAID.items():
            value = self._said(attribute)
            if isinstance(value, datetime):
                found[name] = value.isoformat()
            elif isinstance(value, str) and value.strip():
                found[name] = " ".join(_clean(value).split())
        return found

    def _said(self, attribute: str) -> Any:
        try:
            with quiet("pypdf"):
                return getattr(self._reader.metadata, attribute, None)
        except (
            Exception
        ):  # many programs write dates of a kind of their own: what cannot be read was not said
            return None

    def text(self, number: int) -> str:
        """The text of a page, in the order in which it was written, mostly that of reading; '' of a scanned one."""
        with self._page(number) as page:
            return _clean(page.extract_text())

    def size(self, number: int) -> tuple[float, float]:
        """Width and height of a page in points, upright."""
        with self._page(number) as page:
            box = page.cropbox
            width, height = abs(float(box.width)), abs(float(box.height))
            scale = float(page.user_unit)
            if page.rotation % 180:
                width, height = height, width
            return width * scale, height * scale

    def image(self, number: int, dpi: float = DPI, max_pixels: int | None = MAX_PIXELS) -> Bytes:
        """A page as it looks, on white, upright: (height, width, 3) RGB.

        Args:
            dpi: pixels an inch.
            max_pixels: of the page, and of each picture in it; None is no limit.

        Raises:
            UnsupportedFormat: there are more pixels, or more bytes packed than are unpacked here.
        """
        if isinstance(dpi, bool) or not isinstance(dpi, (int, float)) or not 0 < dpi < math.inf:
            raise BadValue(f"dpi={dpi!r}: a number of pixels an inch, above 0, is wanted")
        with self._page(number) as page:
            self._measure(page, max_pixels)
            scale = dpi / _POINTS * float(page.user_unit)
        pdfium: Any = require("pypdfium2", "a picture of a page", '"docarray[media]"')
        with _reading(f"page {number}, to be drawn,"), _PDFIUM:
            if self._drawing is None:
                self._drawing = pdfium.PdfDocument(self._given(), password=self._password)
                self._drawing.init_forms()
            page = self._drawing[number]
            try:
                width, height = (math.ceil(side * scale) for side in page.get_size())
                if max_pixels is not None and width * height > max_pixels:
                    raise UnsupportedFormat(
                        f"page {number} has {width} x {height} pixels at dpi={dpi:g}, more than "
                        f"max_pixels={max_pixels}: give a smaller dpi, or a larger number if that is meant"
                    )
                bitmap = page.render(scale=scale, rev_byteorder=True)
                try:
                    return np.array(bitmap.to_numpy()[..., :3])  # a copy: its memory is given back
                finally:
                    bitmap.close()
            finally:
                page.close()

    def _given(self) -> BinaryIO | bytes:
        """What pdfium reads: bytes, much faster than a file of Python of which it asks for a few at a time."""
        size = self._stream.seek(0, 2)
        self._stream.seek(0)
        return self._stream if size > _IN_MEMORY else self._stream.read()

    def pictures(self, number: int, max_pixels: int | None = MAX_PIXELS) -> Iterator[Picture]:
        """The pictures that are embedded in a page, one after the other.

        Raises:
            UnsupportedFormat: one has more than `max_pixels`.
        """
        with self._page(number) as page:
            self._measure(page, max_pixels)
            found = page.images
            keys = found.keys()
        for key in keys:
            with self._page(number), quiet("PIL"):
                each = found[key]
                name, data = str(each.name), bytes(each.data)
            known = "image/jp2" if name.endswith(".jp2") else mimetypes.guess_type(name)[0]
            yield Picture(name, data, known or "application/octet-stream")

    @contextmanager
    def _page(self, number: int) -> Generator[Any]:
        """A page of pypdf. What was unpacked within is dropped after it."""
        if isinstance(number, bool) or not -1 < number < self._count:
            raise OutOfRange(f"there is no page {number!r}: the PDF has {self._count}, counted from 0")
        with _reading(f"page {number}"):
            try:
                yield self._pages[number]
            finally:
                self._drop()

    def _drop(self) -> None:
        """Forgets streams that were read: pictures and contents would add up. Fonts and other small things stay."""
        known = self._reader.resolved_objects
        for key in known.keys() - self._seen:
            if hasattr(known[key], "get_data"):
                del known[key]
            else:
                self._seen.add(key)

    def _measure(self, page: Any, max_pixels: int | None) -> None:
        """Looks whether what is drawn with a page is of a bearable size: pdfium unpacks a gigabyte without asking."""
        stack: list[Any] = [page]
        measured, count = set[Any](), 0
        while stack:
            each = stack.pop()
            count += 1
            if count > _MOST_OBJECTS:
                raise UnsupportedFormat(f"it is made of more than {_MOST_OBJECTS} objects")
            number = getattr(each, "idnum", None)
            if number is not None:
                key = number, max_pixels
                if key in measured or key in self._measured:
                    continue
                measured.add(key)
                each = each.get_object()
            if hasattr(each, "get_data"):
                _measure_stream(each, max_pixels)
            if hasattr(each, "raw_get"):  # a dictionary
                stack += [each.raw_get(name) for name in each if name not in _ELSEWHERE]
            elif isinstance(each, list):
                stack += cast("list[Any]", each)
        self._measured |= measured


def _measure_stream(stream: Any, max_pixels: int | None) -> None:
    filters: Any = stream.get("/Filter", ())
    names = [str(filters)] if isinstance(filters, str) else [str(each) for each in filters or ()]
    is_image = stream.get("/Subtype") == "/Image"
    if is_image and max_pixels is not None:
        width, height = int(stream.get("/Width", 0)), int(stream.get("/Height", 0))
        if width * height > max_pixels:
            raise UnsupportedFormat(
                f"a picture in it has {width} x {height} pixels, more than max_pixels={max_pixels}: "
                "give a larger number if that is meant"
            )
    if is_image and len(names) < 2:
        return  # pdfium unpacks as many rows as it says it has
    most = len(stream._data) * math.prod(_RATIOS.get(name, 1) for name in names)
    if most > _UNPACKED:
        stream.get_data()  # pypdf stops at its limit


@contextmanager
def _reading(what: str) -> Generator[None]:
    """Within it pypdf or pdfium read what strangers wrote."""
    try:
        with quiet("pypdf"), quiet("pypdfium2"):
            yield
    except (DocArrayError, MemoryError):
        raise
    except Exception as error:  # parsers raise whatever the bytes lead them to
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system, not of the bytes
        said = " ".join(str(error).split())[:200] or type(error).__name__
        if type(error).__name__ == "LimitReachedError":
            raise UnsupportedFormat(f"{what} unpacks to more than is read of a PDF: {said}") from error
        raise CorruptData(f"{what} cannot be read as PDF: {said}") from error


def _clean(text: str) -> str:
    """Text without what no text has: halves of characters, and NUL."""
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "")


@contextmanager
def opened(source: files.Source, password: str | None = None) -> Generator[Pdf]:
    """A PDF whose pages can be asked for in any order, for the time of a `with` block.

    Args:
        source: bytes, a path, a URL of fsspec, or a file opened in binary mode, which stays open.
        password: of a PDF that is locked.

    Raises:
        CorruptData: it is no PDF, or damaged beyond what pypdf mends. Locked: it needs a password, or another one.
        UnsupportedFormat: it is larger than pypdf's limits. MissingExtra: AES, by which it is locked, needs
        cryptography.
    """
    with files.reading(source) as stream:
        seekable = getattr(stream, "seekable", None)
        whole = stream if seekable is not None and seekable() else cast("BinaryIO", io.BytesIO(stream.read()))
        found = Pdf(whole, password)
        try:
            yield found
        finally:
            found.close()


def metadata(source: files.Source, password: str | None = None) -> dict[str, Any]:
    """What a PDF says of itself: `pages`, their number; and if it says so `title`, `author`, `subject`, `keywords`,
    `creator` and `producer` as text, `created` and `modified` as ISO 8601.

    Arguments and errors as of `opened`.
    """
    with opened(source, password) as found:
        return found.metadata


def pages(
    source: files.Source,
    *,
    images: bool = False,
    embedded: bool = False,
    dpi: float = DPI,
    password: str | None = None,
    max_pages: int | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Iterator[Page]:
    """The pages of a PDF, one after the other: no more than one is in memory.

    Args:
        source: as of `opened`; a file must stay open.
        images: draw each page.
        embedded: get the pictures in each page.
        dpi: pixels an inch of a drawn page.
        password: of a PDF that is locked.
        max_pages: how many pages are read; None is all.
        max_pixels: of a drawn page, and of each picture in it; None is no limit.

    Raises:
        As `opened`. CorruptData also while pages are read, with the number of the page. UnsupportedFormat: a page or a
        picture has more than `max_pixels`, or unpacks to more than pypdf's limits.
    """
    _check_pages(max_pages)
    return _each(source, password, (images, embedded, dpi, max_pages, max_pixels))


def _check_pages(max_pages: object) -> None:
    if max_pages is not None and (
        isinstance(max_pages, bool) or not isinstance(max_pages, int) or max_pages < 0
    ):
        raise BadValue(f"max_pages={max_pages!r}: it is None or a number of pages, 0 or more")


def _each(source: files.Source, password: str | None, options: tuple[Any, ...]) -> Iterator[Page]:
    with opened(source, password) as found:
        yield from _pages(found, *options)


def _pages(
    found: Pdf, images: bool, embedded: bool, dpi: float, max_pages: int | None, max_pixels: int | None
) -> Iterator[Page]:
    for number in range(len(found) if max_pages is None else min(len(found), max_pages)):
        page = Page(number, found.text(number), *found.size(number))
        if images:
            page.image = found.image(number, dpi, max_pixels)
        if embedded:
            page.pictures = list(found.pictures(number, max_pixels))
        yield page


# ------------------------------------------------------------------------------------------------ documents


def load_uri_to_pages(
    doc: Document,
    images: bool = False,
    *,
    embedded: bool = False,
    dpi: float = DPI,
    password: str | None = None,
    max_pages: int | None = None,
    max_pixels: int | None = MAX_PIXELS,
    max_bytes: int | None = MAX_BYTES,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Collection[str] | None = None,
) -> None:
    """Makes a chunk of each page of the PDF at the uri, or in the blob where there is no uri.

    They take the place of the chunks there were. Each has the text, `modality` 'text', `offset`, the number of the
    page from 0, and `location` [0, 0, width, height] in points. Chunks of it, of modality 'image', are the page as it
    looks, named 'page' by the tag `name`, with a tensor uint8 (height, width, 3); and the pictures in it, named as in
    the PDF, as blobs with their `mime_type`, of which `convert_blob_to_image_tensor()` makes tensors.

    `tags['pdf']` of the document is what `metadata` gives; its `mime_type` is set where it is unset.

    Args:
        images, embedded, dpi, password, max_pages, max_pixels: see `pages`.
        max_bytes: of all text and pictures together; None is no limit.
        timeout, max_size, schemes: see `docarray.media.fetch.opened`.

    Raises:
        As `pages`, naming the document; then nothing was changed. BadValue: there is neither uri nor blob.
    """
    with fetch.naming(doc):
        _check_pages(max_pages)
        with _source(doc, timeout, max_size, schemes) as stream, opened(stream, password) as found:
            said = found.metadata
            chunks, held = list[Document](), 0
            for page in _pages(found, images, embedded, dpi, max_pages, max_pixels):
                held += len(page.text) + (0 if page.image is None else page.image.nbytes)
                held += sum(len(each.data) for each in page.pictures)
                if max_bytes is not None and held > max_bytes:
                    raise UnsupportedFormat(
                        f"its pages up to {page.number} hold {held} bytes, more than max_bytes={max_bytes}: give a "
                        "smaller dpi or a larger number, or take one after the other by docarray.media.pdf.pages()"
                    )
                chunks.append(_chunk(page))
    doc.chunks = chunks
    doc.tags["pdf"] = said
    if not doc.mime_type:
        doc.mime_type = "application/pdf"


@contextmanager
def _source(
    doc: Document, timeout: float | None, max_size: int | None, schemes: Collection[str] | None
) -> Generator[BinaryIO]:
    if doc.uri:
        with fetch.opened(doc.uri, timeout=timeout, max_size=max_size, schemes=schemes) as stream:
            yield stream
    elif doc.blob:
        yield io.BytesIO(doc.blob)
    else:
        raise BadValue(f"document {doc.id!r} has neither a uri nor a blob: there is no PDF to read")


def _chunk(page: Page) -> Document:
    """A page as a document."""
    place: dict[str, Any] = {"offset": page.number, "modality": "image"}
    within = [
        Document(blob=each.data, mime_type=each.media_type, tags={"name": each.name}, **place)
        for each in page.pictures
    ]
    if page.image is not None:
        within.insert(0, Document(tensor=page.image, tags={"name": "page"}, **place))
    return Document(
        text=page.text,
        mime_type="text/plain",
        modality="text",
        offset=page.number,
        location=[0.0, 0.0, page.width, page.height],
        chunks=within or None,
    )
