"""Files of sound and film, opened by PyAV: what all of them have in common.

Rule 1: bytes are not believed, nor what they name. A playlist may name any file or server: formats that open others
        are not on the list, and no protocol is.
Rule 2: a container says how long its parts are. One that ends before them was cut off, whatever can still be decoded.
Rule 3: what is open is closed at the end of the block, and threads of decoders end with it.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, cast

from docarray import files
from docarray.errors import CorruptData, DocArrayError, UnsupportedFormat
from docarray.media.quiet import quiet
from docarray.registry import require

__all__ = ["FORMATS", "check_whole", "decoding", "library", "opened", "seekable"]

FORMATS: Final = (
    *("mov", "mp4", "matroska", "webm", "avi", "mpeg", "mpegts", "mpegvideo", "asf", "flv", "gif", "ogg"),
    *(
        "mp3",
        "aac",
        "flac",
        "wav",
        "w64",
        "aiff",
        "caf",
        "ac3",
        "eac3",
        "amr",
        "ape",
        "au",
        "dts",
        "tta",
        "wv",
    ),
    *("h264", "hevc", "ivf", "obu", "m4v", "mxf", "dv", "rm"),
)
"""Containers that are read, by FFmpeg's names. Not among them are those that name other files, such as hls."""

_IN_MEMORY: Final = 64 << 20
_UNKNOWN: Final = 0x7FFFF000
"""Writers to a pipe do not know how long a wav becomes, and put about the largest number there is."""


def library() -> Any:
    """PyAV."""
    return require("av", "this sound or film", '"docarray[media]"')


@contextmanager
def seekable(source: files.Source) -> Generator[BinaryIO]:
    """A source as a file that one can seek in, which begins at 0; what was opened by others stays open."""
    from tempfile import SpooledTemporaryFile

    with files.reading(source) as stream:
        able = getattr(stream, "seekable", None)
        if able is not None and able() and stream.tell() == 0:
            yield stream
            return
        with SpooledTemporaryFile(_IN_MEMORY) as gathered:
            shutil.copyfileobj(stream, gathered, 1 << 20)
            gathered.seek(0)
            yield cast("BinaryIO", gathered)


@contextmanager
def decoding(what: str) -> Generator[None]:
    """Within it a decoder reads what strangers wrote: its errors become CorruptData, and it tells nobody of them."""
    with quiet("libav"):
        try:
            yield
        except DocArrayError:
            raise
        except MemoryError as error:
            raise UnsupportedFormat(f"the {what} takes more memory than there is") from error
        except OSError as error:
            if type(error).__module__.partition(".")[0] != "av":  # of the file, not of what is in it
                raise
            raise CorruptData(f"the {what} is damaged or cut off: {_said(error)}") from error
        except Exception as error:  # decoders raise whatever the bytes lead them to
            raise CorruptData(f"the {what} is damaged or cut off: {_said(error)}") from error


def _said(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error)
    return " ".join(text.split())[:200] or type(error).__name__


@contextmanager
def opened(stream: BinaryIO, what: str, **settings: Any) -> Generator[Any]:
    """A container of PyAV, for the time of a block; `settings` are of `av.open`."""
    av = library()
    options: dict[str, str] = {
        "format_whitelist": ",".join(FORMATS),
        "protocol_whitelist": "none",
        **(settings.pop("options", None) or {}),
    }
    # Text that is no UTF-8 is no reason to refuse a film. PyAV 19 has no such option, and always escapes it.
    if int(av.__version__.partition(".")[0]) < 19:
        settings["metadata_errors"] = "replace"
    with decoding(what):
        container = av.open(stream, "r", options=options, **settings)
    try:
        yield container
    finally:
        container.close()


# ------------------------------------------------------------------------------------------------ lengths


def check_whole(stream: BinaryIO) -> None:
    """Says whether a container is as long as it says; formats that do not say it pass. The file is put back to 0.

    Raises:
        CorruptData: it was cut off.
    """
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(64)
    try:
        wanted = _length(stream, head, end)
    finally:
        stream.seek(0)
    if wanted is not None and wanted > end:
        raise CorruptData(
            f"the file was cut off: it has {end} of at least {wanted} bytes that it says it has"
        )


def _length(stream: BinaryIO, head: bytes, end: int) -> int | None:
    if head[:4] in (b"RIFF", b"RIFX", b"FORM"):
        return _riff(stream, head, end)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return _boxes(stream, end)
    if head[:4] == b"\x1aE\xdf\xa3":
        return _matroska(head)
    if head[:4] == b"OggS":
        return _ogg(stream, end)
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0):
        return _mp3(stream, head)
    return None


def _riff(stream: BinaryIO, head: bytes, end: int) -> int | None:
    """Chunks of RIFF and FORM: a name, a length, so many bytes, and one more where that is odd."""
    order = "<I" if head[:4] == b"RIFF" else ">I"
    at = 12
    while at + 8 <= end:
        stream.seek(at)
        name, size = stream.read(4), struct.unpack(order, stream.read(4))[0]
        if name in (b"data", b"SSND"):
            return None if size >= _UNKNOWN else at + 8 + size
        if at + 8 + size > end:
            return None if size >= _UNKNOWN else at + 8 + size
        at += 8 + size + size % 2
    return None


def _boxes(stream: BinaryIO, end: int) -> int | None:
    at = 0
    while at + 8 <= end:
        stream.seek(at)
        size, name = struct.unpack(">I4s", stream.read(8))
        if size == 1:
            more = stream.read(8)
            size = struct.unpack(">Q", more)[0] if len(more) == 8 else 16
        if size == 0 or size < 8 or not name.isalnum():  # to the end of the file, or no box
            return None
        at += size
    return at


def _matroska(head: bytes) -> int | None:
    """The end of the Segment, which holds all but the header."""
    size, at = _number(head, 4)
    at = None if size is None else at + size
    if at is None or head[at : at + 4] != b"\x18S\x80g":
        return None
    size, at = _number(head, at + 4)
    return None if size is None else at + size


def _number(data: bytes, at: int) -> tuple[int | None, int]:
    """A number of EBML, None where it says unknown, and what follows."""
    if at >= len(data) or not data[at]:
        return None, at
    length = 9 - data[at].bit_length()
    raw = data[at : at + length]
    if len(raw) < length:
        return None, at
    value = int.from_bytes(raw, "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value, at + length


def _ogg(stream: BinaryIO, end: int) -> int | None:
    """The end of the last page; pages have no more than 65 307 bytes."""
    start = max(0, end - 65_400)
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(b"OggS\x00")
    if at < 0:
        return None
    if len(tail) < at + 27 or len(tail) < at + 27 + tail[at + 26]:
        return end + 1
    return start + at + 27 + tail[at + 26] + sum(tail[at + 27 : at + 27 + tail[at + 26]])


def _mp3(stream: BinaryIO, head: bytes) -> int | None:
    """What the header by Xing says, which most encoders write."""
    at = 0
    if head[:3] == b"ID3" and len(head) >= 10:
        a, b, c, d = head[6:10]
        at = 10 + (a << 21 | b << 14 | c << 7 | d)
    stream.seek(at)
    first = stream.read(64)
    mark = max(first.find(b"Xing", 4), first.find(b"Info", 4))
    if mark < 0 or len(first) < mark + 16:
        return None
    flags = struct.unpack(">I", first[mark + 4 : mark + 8])[0]
    if not flags & 2:
        return None
    place = mark + 8 + (4 if flags & 1 else 0)
    return at + struct.unpack(">I", first[place : place + 4])[0]
