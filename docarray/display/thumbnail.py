"""Small pictures of documents as PNG bytes, with the standard library and numpy alone.

Rule 1: a picture is cut down by taking every k-th row and column, so its cost does not grow with the image.
Rule 2: bytes that claim to be an image are believed only when they begin like one.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from docarray import datauri, tensors
from docarray.errors import BadUri
from docarray.tensors import Array

__all__ = ["SIDE", "Picture", "bars", "image_type", "of_blob", "of_tensor", "of_uri", "png"]

SIDE: Final = 64
"""Pixels of the long side of a thumbnail, at most."""

_LARGEST_INLINE: Final = 20_000
_COLORS: Final = {1: 0, 3: 2, 4: 6}  # channels to the color type of PNG: grey, RGB, RGBA
_POSITIVE: Final = (208, 112, 40)
_NEGATIVE: Final = (62, 132, 196)

# The first bytes of what browsers show. SVG is not among them: it is a program, not a picture.
_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"BM.{4}\0{4}", re.DOTALL), "image/bmp"),
)
_DATA_URI: Final = re.compile(r"data:image/[\w.+-]{1,40};base64,")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to show: a media type, its bytes, and the size to show it at, in pixels; None where only it knows."""

    media_type: str
    data: bytes
    width: int | None = None
    height: int | None = None

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return datauri.encode(self.data, self.media_type, base64=True)


def png(pixels: Array) -> bytes:
    """A PNG of (height, width) grey or (height, width, 3 or 4) pixels, uint8.

    >>> png(np.zeros((2, 3), np.uint8))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLORS[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def of_tensor(value: Any) -> Picture | None:
    """A thumbnail of a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); None for all else."""
    if tensors.framework(value) in (None, "list") or tensors.is_sparse(value):
        return None
    shape: tuple[int, ...] = tuple(getattr(value, "shape", ()))
    if "uint8" not in str(getattr(value, "dtype", "")) or len(shape) not in (2, 3) or not all(shape):
        return None
    if len(shape) == 3 and shape[2] not in _COLORS:
        return None
    step = -(-max(shape[:2]) // SIDE)
    pixels = tensors.to_numpy(value[::step, ::step])
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8:
        return None
    # What is smaller than a thumbnail is shown in whole multiples, so that each pixel stays a square.
    scale = max(1, SIDE // max(pixels.shape[:2]))
    return Picture("image/png", png(pixels), pixels.shape[1] * scale, pixels.shape[0] * scale)


def image_type(data: bytes) -> str | None:
    """The media type of an image, by its first bytes; None where they are of none that browsers show."""
    return next((name for magic, name in _MAGIC if magic.match(data)), None)


def of_blob(data: bytes) -> Picture | None:
    """An encoded image of at most 20 KB as it is; None for all else."""
    if len(data) > _LARGEST_INLINE:
        return None
    name = image_type(data)
    return None if name is None else Picture(name, data)


def of_uri(uri: str) -> Picture | None:
    """The image in a data URI, of at most 20 KB; None for all else. Nothing is fetched."""
    head = _DATA_URI.match(uri)
    if head is None or len(uri) > 2 * _LARGEST_INLINE:
        return None
    try:
        return of_blob(datauri.decode(uri).data)
    except BadUri:
        return None


def bars(numbers: Array, width: int = 96, height: int = 20) -> bytes:
    """A vector as a PNG of bars on a clear ground: orange above zero, blue below, by the largest of them.

    Args:
        numbers: (d,) float. Of more than `width` / 2 neighbours share a bar, which shows the farthest from zero.

    >>> bars(np.array([0.5, -1.0]))[1:4]
    b'PNG'
    """
    peaks = peaks_of(numbers, width // 2)
    wide = width // len(peaks)
    top = float(np.nanmax(np.abs(peaks), initial=0.0)) or 1.0
    below = bool((peaks < 0).any())
    zero = (height // 2 if bool((peaks > 0).any()) else 1) if below else height - 1
    canvas = np.zeros((height, wide * len(peaks), 4), np.uint8)
    for at, peak in enumerate(peaks.tolist()):
        columns = slice(at * wide, at * wide + max(1, wide - (wide > 2)))
        length = max(1, round(abs(peak) / top * (zero if peak > 0 else height - zero - 1))) if peak else 0
        if peak > 0:
            canvas[zero - length : zero, columns] = (*_POSITIVE, 255)
        elif peak < 0:
            canvas[zero + 1 : zero + 1 + length, columns] = (*_NEGATIVE, 255)
    canvas[zero] = np.where(canvas[zero, :, 3:] == 0, np.array([128, 128, 128, 110], np.uint8), canvas[zero])
    return png(canvas)


def peaks_of(numbers: Array, most: int) -> Array:
    """At most `most` numbers that stand for all: of neighbours the one farthest from zero; not-finite ones are 0."""
    finite = np.where(np.isfinite(numbers), numbers, 0.0)
    if len(finite) <= most:
        return finite
    starts = np.linspace(0, len(finite), most, endpoint=False).astype(np.intp)
    high, low = np.maximum.reduceat(finite, starts), np.minimum.reduceat(finite, starts)
    return np.where(high >= -low, high, low)
