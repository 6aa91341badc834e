"""Images: bytes of any common format to arrays and back, upright, in eight bits; scaled, cut and normalised.

Rule 1: bytes are not believed. Only formats of `FORMATS` are tried, the size in the header is checked before a pixel
        is decoded, and whatever a decoder raises becomes CorruptData.
Rule 2: an array is (height, width) or has its channels on `channel_axis`: 1 is grey, 2 grey and alpha, 3 RGB, 4 RGBA.
Rule 3: numbers are pixels by their dtype, never by what happens to be in them: see `eight_bits`.
Rule 4: Pillow's settings are the user's: none is changed here, and its warnings about files go nowhere.
"""

from __future__ import annotations

import io
import operator
import re
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from docarray import datauri, files, tensors
from docarray.document import Document
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    OutOfRange,
    ShapeError,
    UnknownName,
    UnsupportedFormat,
    near_miss,
)
from docarray.media import fetch
from docarray.registry import require

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "convert_blob_to_image_tensor",
    "convert_image_tensor_to_blob",
    "convert_image_tensor_to_sliding_windows",
    "convert_image_tensor_to_uri",
    "decode",
    "denormalise",
    "eight_bits",
    "encode",
    "frames",
    "from_pil",
    "load_pil_image_to_datauri",
    "load_uri_to_image_tensor",
    "media_type",
    "normalise",
    "resampling",
    "resize",
    "save_image_tensor_to_file",
    "set_image_tensor_channel_axis",
    "set_image_tensor_inv_normalization",
    "set_image_tensor_normalization",
    "set_image_tensor_resample",
    "set_image_tensor_shape",
    "to_pil",
    "windows",
]

Array: TypeAlias = npt.NDArray[Any]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Mode: TypeAlias = Literal["RGB", "RGBA", "L", "LA"]
Colour: TypeAlias = tuple[int, int, int]
Filter: TypeAlias = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

MAX_PIXELS: Final = 1 << 27
"""Pixels that are decoded into one document at most, unless `max_pixels` says otherwise: 384 MiB as RGB."""

# Not all that Pillow can open: EPS starts a program, and formats without a signature take any bytes for an image.
FORMATS: Final = (
    *("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"),
    *("PPM", "ICO", "QOI", "PSD", "DDS", "SGI", "PCX"),
)
"""The formats that are read, by Pillow's names, unless `formats` says otherwise."""

WHITE: Final = (255, 255, 255)
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

_MODES: Final = ("RGB", "RGBA", "L", "LA")
_FILTERS: Final = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_WITH_FRAMES: Final = frozenset(
    {"GIF", "PNG", "TIFF", "WEBP", "AVIF"}
)  # others hold layers, sizes or previews
_ORIENTATION: Final = 0x0112  # the EXIF tag
_ICON: Final = b"\0\0\1\0"  # what an ICO begins with
_REDUCED: Final = 254, 1  # the TIFF tag, and the bit in it, of a page that is another one in small
_DUST: Final = 1e-9  # what arithmetic leaves missing from a whole number of pixels

_BAND: Final = 1 << 16  # pixels: as many as stay in the cache of a core
_LARGE: Final = 1 << 20

_WRITTEN: Final = MappingProxyType(
    {
        "PNG": (("png",), "image/png", ("L", "LA", "RGB", "RGBA", "I;16")),
        "JPEG": (("jpeg", "jpg", "jpe", "jfif"), "image/jpeg", ("L", "RGB")),
        "WEBP": (("webp",), "image/webp", ("RGB", "RGBA")),
        "AVIF": (("avif",), "image/avif", ("RGB", "RGBA")),
        "GIF": (("gif",), "image/gif", ("L", "RGB", "RGBA")),
        "TIFF": (("tiff", "tif"), "image/tiff", ("L", "LA", "RGB", "RGBA", "I;16")),
        "BMP": (("bmp",), "image/bmp", ("L", "RGB")),
        "JPEG2000": (("jp2", "j2k", "jpx"), "image/jp2", ("L", "LA", "RGB", "RGBA", "I;16")),
        "PPM": (("ppm", "pgm", "pnm"), "image/x-portable-anymap", ("L", "RGB", "I;16")),
        "QOI": (("qoi",), "image/qoi", ("RGB", "RGBA")),
    }
)
"""Formats that are written: their suffixes, media type, and what of Pillow's modes they keep."""

_BY_SUFFIX: Final = MappingProxyType(
    {suffix: name for name, (known, _, _) in _WRITTEN.items() for suffix in known}
)


def _pillow(module: str = "Image") -> Any:
    return require(f"PIL.{module}", "an image", '"docarray[media]"')


# ------------------------------------------------------------------------------------------------ reading


def decode(
    source: files.Source,
    *,
    width: int | None = None,
    height: int | None = None,
    channel_axis: int = -1,
    mode: Mode | None = "RGB",
    frame: int = 0,
    filter: Filter = "bicubic",
    background: Colour | None = WHITE,
    max_pixels: int | None = MAX_PIXELS,
    formats: Sequence[str] | None = None,
) -> Array:
    """One image as an array: uint8 (height, width, channels), upright as its EXIF data says.

    Args:
        source: bytes, a path, a URL of fsspec, or a file opened in binary mode.
        width, height: pixels to scale to, each by itself; None leaves that side as it is.
        channel_axis: where the channels stand in the array; 0 gives (channels, height, width).
        mode: 'RGB', 'RGBA' and 'LA' have as many channels as letters, 'L' (grey) is (height, width). Each has eight
            bits: 16 are scaled, and floats must be in [0, 1]. None gives channels and dtype of the file: bool, uint8,
            uint16, int32 or float32; palettes become RGB or RGBA, and so do CMYK and YCbCr.
        frame: which one of an animation or a TIFF of several pages, from 0.
        filter: how pixels are scaled; see `resize`.
        background: the colour that shows through where an image without alpha channel is wanted of a transparent
            one: (red, green, blue). None leaves the alpha channel out, and shows what was never meant to be seen.
        max_pixels: pixels that are decoded at most; None is no limit but the one of Pillow.
        formats: names of Pillow for the formats to try, instead of FORMATS.

    Raises:
        CorruptData: it is damaged, cut off, or no image. UnsupportedFormat: it has too many pixels, or numbers that
        are no pixels. OutOfRange: it has no such frame. FileNotFoundError: nothing is there.

    Memory: the array, and Pillow's own copy of the image, of up to 4 bytes a pixel.

    >>> decode(encode(np.zeros((2, 3), dtype=np.uint8))).shape
    (2, 3, 3)
    """
    plan = _Plan(width, height, channel_axis, mode, filter, background, max_pixels, formats)
    with files.reading(source) as stream:
        image = plan.open(_from_its_start(stream))
        if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0 or not _seek(image, frame):
            with _reading():
                known = getattr(image, "n_frames", 1) if image.format in _WITH_FRAMES else 1
            raise OutOfRange(f"frame={frame!r}: the image has {known} of them, counted from 0")
        return plan.array(image)


def frames(
    source: files.Source,
    *,
    width: int | None = None,
    height: int | None = None,
    channel_axis: int = -1,
    mode: Mode | None = "RGB",
    filter: Filter = "bicubic",
    background: Colour | None = WHITE,
    max_pixels: int | None = MAX_PIXELS,
    formats: Sequence[str] | None = None,
) -> Iterator[Array]:
    """The frames of an animation, or the pages of a TIFF, one after the other; of any other image the one it is.

    Options as of `decode`; `max_pixels` is for each frame, since no more than one is held. Pages of a TIFF that
    are another page in small are left out. What is given as a file must stay open.

    >>> [array.shape for array in frames(encode(np.zeros((2, 3), dtype=np.uint8), 'gif'))]
    [(2, 3, 3)]
    """
    plan = _Plan(width, height, channel_axis, mode, filter, background, max_pixels, formats)
    return _each(source, plan)


def _each(source: files.Source, plan: _Plan) -> Iterator[Array]:
    with files.reading(source) as stream:
        for _, array, _ in plan.frames(plan.open(_from_its_start(stream)), None):
            yield array


def _from_its_start(stream: Any) -> Any:
    """A file that begins where one stands, and that one can seek in: Pillow goes to the beginning."""
    if hasattr(stream, "seekable") and stream.seekable() and not stream.tell():
        return stream
    return io.BytesIO(stream.read())


class _Plan:
    """How images are read: the options of `decode`, checked."""

    def __init__(
        self,
        width: int | None,
        height: int | None,
        channel_axis: int,
        mode: Mode | None,
        filter: Filter,
        background: Colour | None,
        max_pixels: int | None,
        formats: Sequence[str] | None,
    ) -> None:
        self.width = None if width is None else _pixels("width", width)
        self.height = None if height is None else _pixels("height", height)
        self.channel_axis = _axis(channel_axis, 3)
        if mode is not None and mode not in _MODES:
            raise UnknownName(f"mode={mode!r}: {near_miss(mode, _MODES)}")
        self.mode: Mode | None = mode
        self.filter: Filter = _filter(filter)
        self.background = None if background is None else _colour(background)
        self.max_pixels = None if max_pixels is None else _pixels("max_pixels", max_pixels)
        self.formats = FORMATS if formats is None else _formats(formats)

    def open(self, stream: Any) -> Any:
        """An image of which the header was read, and nothing else."""
        library = _pillow()
        with _reading():
            head = stream.read(len(_ICON))
            stream.seek(0)
            if head == _ICON and "ICO" in self.formats:
                # Pillow decodes an icon while it opens it, and the images in it may be larger than it says.
                image = _pillow("IcoImagePlugin").IcoFile(stream).frame(0)
            else:
                try:
                    image = library.open(stream, formats=self.formats)
                except library.UnidentifiedImageError:
                    raise CorruptData(
                        f"this is no image, or its header is damaged. What is read: {', '.join(self.formats)}"
                    ) from None
            self.check(image.size)
        return image

    def check(self, size: tuple[int, int]) -> None:
        width, height = size
        if self.max_pixels is not None and width * height > self.max_pixels:
            raise UnsupportedFormat(
                f"an image of {width} x {height} pixels is more than max_pixels={self.max_pixels}; "
                "give a larger number if that is meant"
            )

    def frames(self, image: Any, most: int | None) -> Iterator[tuple[int, Array, float | None]]:
        """Number, array, and duration in seconds of each frame; of arrays with no more than `most` pixels in all."""
        held, number = 0, 0
        for at in count():
            if not _seek(image, at):
                return
            if at and _is_reduced(image):
                continue
            width, height = image.size
            held += (self.width or width) * (self.height or height)
            if most is not None and held > most:
                raise UnsupportedFormat(
                    f"the frames up to {number}, of {width} x {height} pixels, are more than max_pixels={most} in all; "
                    "scale them by width= and height=, give a larger number, or take one after the other by "
                    "docarray.media.image.frames()"
                )
            array = self.array(image)
            duration = image.info.get("duration")
            yield number, array, None if duration is None else duration / 1000
            number += 1

    def array(self, image: Any) -> Array:
        """The pixels of the frame that an image is at."""
        self.check(image.size)  # pages of a TIFF have each its own
        with _reading():
            image.load()
            upright = _upright(image)
            if self.mode is None:
                array = _native(upright)
                shape = self.height or array.shape[0], self.width or array.shape[1]
                array = resize(array, shape, filter=self.filter)
            else:
                flat = _in_mode(upright, self.mode, self.background)
                size = self.width or flat.width, self.height or flat.height
                if size != flat.size:
                    flat = flat.resize(size, resampling(self.filter))
                array = _pixels_of(flat)
        if array.ndim == 3 and self.channel_axis != 2:
            array = np.ascontiguousarray(np.moveaxis(array, 2, self.channel_axis))
        return array


def _pixels_of(image: Any) -> Array:
    """The pixels of an image, in memory of their own.

    Those of a large one band by band: numpy would have two copies made of all of it, one behind the other, which
    takes twice as long where they do not fit into the cache.
    """
    width, height = image.size
    if width * height < _LARGE:
        return np.array(image)
    rows = max(_BAND // width, 1)
    line = np.asarray(image.crop((0, 0, width, 1)))
    found = np.empty((height, *line.shape[1:]), dtype=line.dtype)
    for top in range(0, height, rows):
        found[top : top + rows] = np.asarray(image.crop((0, top, width, min(top + rows, height))))
    return found


def _pixels(name: str, value: object) -> int:
    try:
        number = 0 if isinstance(value, bool) else operator.index(cast("Any", value))
    except TypeError:
        number = 0
    if number < 1:
        raise BadValue(f"{name}={value!r}: a number of pixels, 1 or more, is wanted")
    return number


def _colour(value: object) -> Colour:
    numbers = list(cast("Sequence[Any]", value)) if isinstance(value, (tuple, list)) else []
    if len(numbers) != 3 or any(type(n) is not int or not 0 <= n <= 255 for n in numbers):
        raise BadValue(f"background={value!r}: (red, green, blue) is wanted, each 0 to 255")
    return numbers[0], numbers[1], numbers[2]


def _formats(names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise FieldTypeError(f"formats={names!r}: a list of names is wanted, such as ['PNG', 'JPEG']")
    library = _pillow()
    library.init()
    wanted = tuple(str(name).upper() for name in cast("Sequence[object]", names))
    for name in wanted:
        if name not in library.OPEN:
            raise UnknownName(f"no format of Pillow is called {name!r}. {near_miss(name, library.OPEN)}")
    return wanted


def _filter(name: object) -> Filter:
    if name not in _FILTERS:
        raise UnknownName(f"filter={name!r}: {near_miss(name, _FILTERS)}")
    return name


def resampling(name: Filter) -> Any:
    """Pillow's constant for a filter."""
    return _pillow().Resampling[name.upper()]


_QUIET: Final[Any] = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@contextmanager
def _quiet() -> Generator[None]:
    """Within it Pillow warns of nothing.

    Not `catch_warnings`: it puts back the filters that were there when it began, and so takes away what another
    thread has set, or what has been set for this one, in between. Here one entry comes and goes.
    """
    filters = cast("list[Any]", warnings.filters)
    filters.insert(0, _QUIET)
    try:
        yield
    finally:
        with suppress(ValueError):  # somebody may have reset them all
            filters.remove(_QUIET)


@contextmanager
def _reading() -> Generator[None]:
    """Within it Pillow reads what strangers wrote."""
    with _quiet():
        try:
            yield
        except DocArrayError:
            raise
        except OSError as error:
            if error.errno is not None:  # of the system, not of the bytes
                raise
            raise CorruptData(f"the image is damaged or cut off: {_said(error)}") from error
        except MemoryError as error:
            raise UnsupportedFormat("the image takes more memory than there is") from error
        except Exception as error:  # decoders raise whatever the bytes lead them to
            if type(error).__name__ == "DecompressionBombError":
                raise UnsupportedFormat(
                    f"the image is larger than Pillow takes; PIL.Image.MAX_IMAGE_PIXELS is the setting: {_said(error)}"
                ) from error
            raise CorruptData(f"the image is damaged or cut off: {_said(error)}") from error


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _seek(image: Any, frame: int) -> bool:
    """Goes to a frame; False where there is none. Not by `n_frames`, which reads a GIF to its end."""
    if not frame:
        return True
    if image.format not in _WITH_FRAMES:
        return False
    with _reading():
        try:
            image.seek(frame)
        except EOFError:
            return False
    return True


def _is_reduced(image: Any) -> bool:
    """Whether a page of a TIFF is another one in small."""
    tag, bit = _REDUCED
    said = image.tag_v2.get(tag) if image.format == "TIFF" else None
    return isinstance(said, int) and bool(said & bit)


def _upright(image: Any) -> Any:
    """The image turned as its EXIF data says."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # what a camera wrote beside the image is no part of it: it is shown as it is
        orientation = 1
    if orientation == 1:
        return image
    turn = _pillow().Transpose
    ways = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    way = ways.get(orientation)
    return image if way is None else image.transpose(way)


def _in_mode(image: Any, mode: Mode, background: Colour | None) -> Any:
    """The image in eight bits, in one of four modes."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _pillow().fromarray(_numbers(image))
    if mode in ("RGBA", "LA"):
        whole = _converted(image, "RGBA") if image.mode != "LA" else image
        return _converted(whole, mode)
    if image.has_transparency_data:
        image = _converted(image, "RGBA")
        if background is not None:
            image = _flat(image, background)
    return _converted(image, mode)


def _converted(image: Any, mode: str) -> Any:
    if image.mode == mode:
        return image
    if image.mode == "LAB":
        raise UnsupportedFormat("images in the colour space LAB are not read")
    return image.convert(mode)


def _flat(image: Any, background: Colour) -> Any:
    """An RGBA image on a colour."""
    alpha = image.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image.convert("RGB")
    canvas = _pillow().new("RGB", image.size, background)
    canvas.paste(image, mask=alpha)
    return canvas


def _numbers(image: Any) -> Bytes:
    """An image of 16 bits, 32 bits or floats in eight bits."""
    array = np.asarray(image)
    try:
        if image.mode == "I":  # 32 bits; Pillow has put 16 into them here and there
            low, high = array.min(), array.max()
            if low < 0 or high > 65535:
                raise BadValue(f"32-bit numbers from {low} to {high}, beyond the 0 to 65535 of 16 bits")
            array = array.astype(np.uint16)
        return eight_bits(array)
    except BadValue as error:
        raise UnsupportedFormat(
            f"the numbers in the image are no pixels; mode=None gives them: {error}"
        ) from None


def _native(image: Any) -> Array:
    """The image with channels and dtype as it has them."""
    mode = image.mode
    if mode in ("L", "RGB") and "transparency" in image.info:
        mode = "LA" if mode == "L" else "RGBA"
    elif mode not in ("1", "L", "LA", "RGB", "RGBA", "F") and not mode.startswith("I"):
        mode = "RGBA" if image.has_transparency_data else "RGB"
    if mode == "LA" and image.mode != "LA":
        image = _converted(image, "RGBA")
    array = np.array(_converted(image, mode))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


# ------------------------------------------------------------------------------------------------ arrays and Pillow


def eight_bits(array: Array) -> Bytes:
    """Numbers as pixels of eight bits, by their dtype: the array itself when it is uint8.

    bool is 0 and 255; uint16 is scaled from 0 to 65535; other integers must be in 0 to 255; floats in [0, 1], of
    which 1 becomes 255.

    Raises:
        BadValue: a number is out of that range. ShapeError: the dtype holds no numbers.

    >>> eight_bits(np.array([0.0, 0.5, 1.0])).tolist(), eight_bits(np.array([False, True])).tolist()
    ([0, 128, 255], [0, 255])
    """
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return array
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind not in "iuf":
        raise ShapeError(f"an array of dtype {array.dtype} holds no pixels: integers or floats are wanted")
    if not array.size:
        return array.astype(np.uint8)
    low, high = array.min(), array.max()
    if kind in "iu":
        if low < 0 or high > 255:
            raise BadValue(
                f"{array.dtype} numbers from {low} to {high} are no pixels: integers are in 0 to 255, or uint16"
            )
        return array.astype(np.uint8)
    with np.errstate(all="ignore"):  # whatever comes of NaN and infinity is out of range
        scaled = np.rint(
            array.astype(np.promote_types(array.dtype, np.float32), copy=False) * np.float32(255)
        )
    # Compared after rounding: 1.0000001, as arithmetic leaves it, is white.
    if not (scaled.min() >= 0 and scaled.max() <= 255):  # so written, NaN is out of range too
        raise BadValue(
            f"{array.dtype} numbers from {low:g} to {high:g} are no pixels: floats are in [0, 1]. Scale them first; "
            "set_image_tensor_inv_normalization() takes a normalisation back"
        )
    return scaled.astype(np.uint8)


def _axis(axis: object, ndim: int) -> int:
    if isinstance(axis, bool) or not isinstance(axis, int) or not -ndim <= axis < ndim:
        raise ShapeError(f"channel_axis={axis!r}: there is no such axis among {ndim}")
    return axis % ndim


def _channels_last(array: Array, channel_axis: int) -> Array:
    """A view (height, width) or (height, width, channels) of an image."""
    if array.ndim not in (2, 3):
        raise ShapeError(
            f"an array of shape {array.shape} is no image: (height, width) or (height, width, channels) is wanted, "
            "or with the channels on another axis, which channel_axis names"
        )
    if not array.size:
        raise ShapeError(f"an image of shape {array.shape} has no pixels")
    return array if array.ndim == 2 else np.moveaxis(array, _axis(channel_axis, 3), 2)


def to_pil(array: Any, channel_axis: int = -1) -> Picture:
    """An array of any framework as an image of Pillow: mode 'L', 'LA', 'RGB' or 'RGBA', by the number of channels.

    Numbers are taken as `eight_bits` says; but uint16 without channels, or with one, keeps its 16 bits ('I;16').

    Raises:
        ShapeError: it is no image. BadValue: its numbers are no pixels.

    >>> to_pil(np.zeros((2, 3, 4), dtype=np.uint8)).mode
    'RGBA'
    """
    pixels = _channels_last(tensors.to_numpy(array), channel_axis)
    if pixels.ndim == 3:
        if not 1 <= pixels.shape[2] <= 4:
            raise ShapeError(
                f"an image of shape {np.shape(array)} has {pixels.shape[2]} channels, and 1 to 4 are wanted; "
                "channel_axis= says where they are"
            )
        if pixels.shape[2] == 1:
            pixels = pixels[..., 0]
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        pixels = eight_bits(pixels)
    return _pillow().fromarray(np.ascontiguousarray(pixels))


def from_pil(
    image: Picture,
    *,
    channel_axis: int = -1,
    mode: Mode | None = "RGB",
    background: Colour | None = WHITE,
) -> Array:
    """An image of Pillow as an array, upright; options as of `decode`.

    >>> from_pil(to_pil(np.full((2, 3), 7, dtype=np.uint8)), mode='L').tolist()
    [[7, 7, 7], [7, 7, 7]]
    """
    return _Plan(None, None, channel_axis, mode, "bicubic", background, None, None).array(image)


def _written(image_format: str) -> str:
    """Pillow's name of a format that is written."""
    if not isinstance(image_format, str):
        raise FieldTypeError(f"image_format={image_format!r}: a name such as 'png' is wanted")
    suffix = image_format.lower().removeprefix(".")
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    raise UnknownName(f"no image is written as {image_format!r}. {near_miss(suffix, _BY_SUFFIX)}")


def media_type(image_format: str) -> str:
    """The media type of a format by its suffix.

    Raises:
        UnknownName: no image is written in such a format.

    >>> media_type('jpg')
    'image/jpeg'
    """
    return _WRITTEN[_written(image_format)][1]


def encode(
    array: Any,
    image_format: str = "png",
    *,
    channel_axis: int = -1,
    background: Colour = WHITE,
    **options: Any,
) -> bytes:
    """An image as the bytes of a file.

    Args:
        array: (height, width), or with 1 to 4 channels, of any framework; its numbers are taken as `eight_bits` says.
            uint16 in one channel keeps its 16 bits in PNG, TIFF, JPEG 2000 and PPM.
        image_format: 'png', 'jpeg' ('jpg'), 'webp', 'avif', 'gif', 'tiff', 'bmp', 'jp2', 'ppm' or 'qoi'.
        channel_axis: where the channels stand in the array.
        background: what shows through where the format has no alpha channel, as JPEG, BMP and PPM.
        options: what Pillow's `save` takes for the format, such as `quality=90` or `lossless=True`.

    Raises:
        UnknownName: no image is written in such a format. ShapeError, BadValue: it is no image, or one that
        the format cannot hold.

    >>> encode(np.zeros((2, 3), dtype=np.uint8), 'jpg')[:3]
    b'\\xff\\xd8\\xff'
    """
    name = _written(image_format)
    return _encoded(to_pil(array, channel_axis), name, _colour(background), options)


def _encoded(image: Any, name: str, background: Colour, options: dict[str, Any]) -> bytes:
    modes = _WRITTEN[name][2]
    if image.mode == "I;16" and "I;16" not in modes:
        image = _pillow().fromarray(eight_bits(np.asarray(image)))
    if image.mode not in modes and image.mode in ("LA", "RGBA"):
        grey = image.mode == "LA"
        image = image.convert("RGBA")
        if "RGBA" not in modes:
            image = _flat(image, background)
            if grey and "L" in modes:
                image = image.convert("L")
    if image.mode not in modes:
        image = image.convert("RGB")
    target = io.BytesIO()
    with _quiet():
        try:
            image.save(target, name, **options)
        except Exception as error:  # of an encoder: too large for the format, an option that it does not take
            raise BadValue(
                f"an image of {image.width} x {image.height} pixels cannot be written as {name}"
                f"{f' with {options}' if options else ''}: {_said(error)}"
            ) from error
    return target.getvalue()


# ------------------------------------------------------------------------------------------------ computing


def resize(
    array: Any, shape: tuple[int, int], channel_axis: int = -1, *, filter: Filter = "bicubic"
) -> Array:
    """An image scaled to (height, width).

    Args:
        array: (height, width), or with any number of channels.
        shape: (height, width) in pixels.
        channel_axis: where the channels stand, before and after.
        filter: 'nearest', 'box', 'bilinear', 'hamming', 'bicubic' or 'lanczos', which is how Pillow computes a pixel:
            all but the first from as many as it covers, so that fine patterns do not flicker. Integers other
            than uint8 and uint16, and bool, may be labels: they are always taken from the nearest pixel.

    Of RGBA, the colours count as much as they are opaque. Floats are computed in float32, and stay within the range
    of the image. An image that has the shape is given back as it is.

    >>> resize(np.array([[0, 200]], dtype=np.uint8), (1, 4), filter='bilinear').tolist()
    [[0, 50, 150, 200]]
    """
    given = tensors.to_numpy(array)
    pixels = _channels_last(given, channel_axis)
    height, width = _pair("shape", shape)
    way = _filter(filter)
    if pixels.shape[:2] == (height, width):
        return given
    if pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2] in (3, 4)):
        image = _pillow().fromarray(np.ascontiguousarray(pixels))
        scaled = np.array(image.resize((width, height), resampling(way)))
    elif way == "nearest" or not (pixels.dtype.kind == "f" or pixels.dtype.name in ("uint8", "uint16")):
        scaled = pixels[np.ix_(_nearest(pixels.shape[0], height), _nearest(pixels.shape[1], width))]
    else:
        scaled = _by_planes(pixels, height, width, way)
    return scaled if given.ndim == 2 else np.ascontiguousarray(np.moveaxis(scaled, 2, _axis(channel_axis, 3)))


def _nearest(size: int, wanted: int) -> npt.NDArray[np.intp]:
    """For each pixel the one whose area its centre is in, in whole numbers: no rounding can go astray."""
    return (2 * np.arange(wanted) + 1) * size // (2 * wanted)


def _by_planes(pixels: Array, height: int, width: int, way: Filter) -> Array:
    """Each channel by itself, in float32."""
    library = _pillow()
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    scaled = np.empty((height, width, planes.shape[2]), dtype=np.float32)
    for i in range(planes.shape[2]):
        plane = library.fromarray(np.ascontiguousarray(planes[..., i], dtype=np.float32))
        scaled[..., i] = np.asarray(plane.resize((width, height), resampling(way)))
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind != "f":
        np.clip(np.rint(scaled, out=scaled), low, high, out=scaled)
    return np.clip(scaled.astype(pixels.dtype), low, high).reshape(height, width, *pixels.shape[2:])


def _by_channel(values: Sequence[float], name: str, count: int) -> npt.NDArray[np.float32]:
    numbers = np.asarray(values, dtype=np.float32)
    if numbers.shape not in ((), (1,), (count,)):
        raise ShapeError(f"{name} has {numbers.size} numbers, and the image has {count} channels")
    return np.broadcast_to(numbers, (count,))


def normalise(
    array: Any,
    channel_axis: int = -1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> npt.NDArray[np.float32]:
    """A uint8 image as float32, (x / 255 - mean) / std for each channel; the axes stay where they are.

    Raises:
        ShapeError: it is not uint8 of three axes, or has another number of channels than `mean` or `std`.

    >>> normalise(np.full((1, 1, 3), 255, dtype=np.uint8), mean=[0.5], std=[0.5]).tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    pixels = tensors.to_numpy(array)
    _check_normal(pixels, np.uint8)
    axis = _axis(channel_axis, 3)
    count = pixels.shape[axis]
    offset, scale = _by_channel(mean, "mean", count), _by_channel(std, "std", count)
    if not scale.all():
        raise BadValue(f"std={std!r}: one divides by it, and there is a 0 in it")
    # 256 values a channel are computed, and looked up
    table = ((np.arange(256) / 255.0).astype(np.float32)[:, None] - offset) / scale
    result = np.empty(pixels.shape, dtype=np.float32)
    source, target = np.moveaxis(pixels, axis, 0), np.moveaxis(result, axis, 0)
    for i in range(count):
        target[i] = table[:, i][source[i]]
    return result


def denormalise(
    array: Any,
    channel_axis: int = -1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Bytes:
    """The inverse of `normalise`: uint8, rounded, and what is beyond 0 or 255 made that.

    Raises:
        ShapeError: it is not float32 of three axes, or has another number of channels than `mean` or `std`.

    >>> denormalise(normalise(np.full((1, 1, 3), 254, dtype=np.uint8))).tolist()
    [[[254, 254, 254]]]
    """
    numbers = tensors.to_numpy(array)
    _check_normal(numbers, np.float32)
    axis = _axis(channel_axis, 3)
    shape = [1, 1, 1]
    count = shape[axis] = numbers.shape[axis]
    offset, scale = _by_channel(mean, "mean", count), _by_channel(std, "std", count)
    with np.errstate(all="ignore"):
        pixels = (numbers * scale.reshape(shape) + offset.reshape(shape)) * np.float32(255)
    if np.isnan(pixels).any():
        raise BadValue("there are NaN in the image, which no pixel is")
    return np.clip(np.rint(pixels, out=pixels), 0, 255, out=pixels).astype(np.uint8)


def _check_normal(array: Array, dtype: npt.DTypeLike) -> None:
    if array.dtype != dtype or array.ndim != 3:
        raise ShapeError(
            f"an image of three axes of {np.dtype(dtype)} is wanted; this is {array.dtype} of shape {array.shape}"
        )


def windows(
    array: Any,
    window_shape: tuple[int, int] = (64, 64),
    strides: tuple[int, int] | None = None,
    padding: bool = False,
    channel_axis: int = -1,
) -> Array:
    """The windows of an image, row by row: (n, height, width, channels), or without channels as the image is.

    Args:
        array: (height, width), or with any number of channels, of any dtype.
        window_shape: (height, width) in pixels.
        strides: steps down and to the right; those of the window unless given.
        padding: take every window that begins in the image, and fill up with zeros; else those that are whole in it.
        channel_axis: where the channels stand in the image, and in each window: 0 gives (n, channels, height, width).

    Raises:
        ShapeError: no whole window is in the image. BadValue: a window or step of no pixels.

    Memory: the windows, once; with steps of one pixel that is the image as often as a window has pixels.

    >>> windows(np.arange(6).reshape(2, 3), (1, 2)).tolist()
    [[[0, 1]], [[3, 4]]]
    >>> windows(np.arange(6).reshape(2, 3), (1, 2), padding=True).tolist()
    [[[0, 1]], [[2, 0]], [[3, 4]], [[5, 0]]]
    """
    found, _ = _windows(tensors.to_numpy(array), window_shape, strides, padding, channel_axis)
    return found


def _windows(
    array: Array,
    window_shape: tuple[int, int],
    strides: tuple[int, int] | None,
    padding: bool,
    channel_axis: int,
) -> tuple[Array, list[tuple[int, int]]]:
    """The windows, and top and left of each."""
    pixels = _channels_last(array, channel_axis)
    height, width = _pair("window_shape", window_shape)
    down, right = (height, width) if strides is None else _pair("strides", strides)
    rows, columns = pixels.shape[:2]
    if padding:
        count = -(-rows // down), -(-columns // right)
        missing = (count[0] - 1) * down + height - rows, (count[1] - 1) * right + width - columns
        pixels = np.pad(pixels, [(0, max(n, 0)) for n in missing] + [(0, 0)] * (pixels.ndim - 2))
    elif height > rows or width > columns:
        raise ShapeError(
            f"no window of {height} x {width} (height, width) fits into an image of {rows} x {columns}: "
            "take a smaller one, or padding=True"
        )
    view = np.lib.stride_tricks.sliding_window_view(pixels, (height, width), axis=(0, 1))
    view = view[::down, ::right]
    if padding:
        view = view[: -(-rows // down), : -(-columns // right)]
    places = [(i * down, j * right) for i in range(view.shape[0]) for j in range(view.shape[1])]
    if pixels.ndim == 3:  # the axes are: window down, window right, channels, height, width
        view = np.moveaxis(view, 2, 2 + _axis(channel_axis, 3))
    found = np.empty((len(places), *view.shape[2:]), dtype=view.dtype)
    found.reshape(view.shape)[...] = view
    return found, places


def _pair(name: str, value: object) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(cast("list[Any]", value)) != 2:
        raise BadValue(f"{name}={value!r}: (height, width) is wanted")
    first, second = cast("list[Any]", value)
    return _pixels(name, first), _pixels(name, second)


# ------------------------------------------------------------------------------------------------ documents


def load_uri_to_image_tensor(
    doc: Document,
    width: int | None = None,
    height: int | None = None,
    channel_axis: int = -1,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """Sets the tensor to the image at the uri, or makes chunks of its frames; see `convert_blob_to_image_tensor`.

    Args:
        timeout, max_size, schemes: as of `docarray.media.fetch.read`.
        options: `mode`, `filter`, `background`, `max_pixels` and `formats` of `decode`.
    """
    with fetch.naming(doc):
        if not doc.uri:
            raise BadUri("it has no uri: there is nothing to read")
        plan = _plan(width, height, channel_axis, **options)
        with fetch.opened(doc.uri, timeout=timeout, max_size=max_size, schemes=schemes) as stream:
            found = _all_frames(stream, plan)
        _fill(doc, found)


def convert_blob_to_image_tensor(
    doc: Document,
    width: int | None = None,
    height: int | None = None,
    channel_axis: int = -1,
    **options: Any,
) -> None:
    """Sets the tensor to the image in `blob`.

    Of several frames a chunk each is made instead, in place of the chunks there were: its `tensor`, its `offset`
    (the number of the frame), modality 'image', and `tags['duration']` in seconds where the file says it. Options,
    arrays and errors as of `decode`; `max_pixels` is for all frames together, as large as they are kept.
    """
    with fetch.naming(doc):
        blob = doc.blob
        if not blob:
            raise BadValue("it has no blob to decode; load_uri_to_image_tensor() takes the image at its uri")
        plan = _plan(width, height, channel_axis, **options)
        _fill(doc, _all_frames(io.BytesIO(blob), plan))


def _plan(
    width: int | None,
    height: int | None,
    channel_axis: int,
    *,
    mode: Mode | None = "RGB",
    filter: Filter = "bicubic",
    background: Colour | None = WHITE,
    max_pixels: int | None = MAX_PIXELS,
    formats: Sequence[str] | None = None,
) -> _Plan:
    return _Plan(width, height, channel_axis, mode, filter, background, max_pixels, formats)


def _all_frames(stream: Any, plan: _Plan) -> list[tuple[int, Array, float | None]]:
    return list(plan.frames(plan.open(stream), plan.max_pixels))


def _fill(doc: Document, found: list[tuple[int, Array, float | None]]) -> None:
    if len(found) == 1:
        doc.tensor = found[0][1]
        return
    doc.chunks = [
        Document(
            tensor=array,
            offset=number,
            modality="image",
            tags=None if duration is None else {"duration": duration},
        )
        for number, array, duration in found
    ]


def _tensor_of(doc: Document) -> tuple[Array, str]:
    """The tensor of a document, and the framework to give the result in."""
    tensor = doc.tensor
    if tensor is None:
        raise BadValue("it has no tensor; load_uri_to_image_tensor() loads the image at its uri")
    name = tensors.framework(tensor) or "numpy"
    return tensors.to_numpy(tensor), "numpy" if name in ("list", "scipy") else name


def convert_image_tensor_to_uri(
    doc: Document, channel_axis: int = -1, image_format: str = "png", **options: Any
) -> None:
    """Sets the uri to a data URI of the image in `tensor`; options and errors as of `encode`."""
    with fetch.naming(doc):
        data = encode(_tensor_of(doc)[0], image_format, channel_axis=channel_axis, **options)
        doc.uri = datauri.encode(data, media_type(image_format), base64=True)


def convert_image_tensor_to_blob(
    doc: Document, channel_axis: int = -1, image_format: str = "png", **options: Any
) -> None:
    """Sets the blob to the image in `tensor`, and `mime_type` to what it is now; options and errors as of `encode`."""
    with fetch.naming(doc):
        data = encode(_tensor_of(doc)[0], image_format, channel_axis=channel_axis, **options)
        kind = media_type(image_format)
    doc.blob = data
    doc.mime_type = kind


def save_image_tensor_to_file(
    doc: Document,
    file: Any,
    channel_axis: int = -1,
    image_format: str | None = None,
    **options: Any,
) -> None:
    """Writes the image in `tensor` to a path, a URL or a file opened in binary mode.

    Args:
        image_format: that of the suffix unless given; without a suffix that is known, PNG. A suffix that says
            another one is warned of: UserWarning.

    Options and errors as of `encode`. A local file is replaced when all is written.
    """
    suffix = files.suffixes(file)[-1:]
    known = _BY_SUFFIX.get(suffix[0][1:]) if suffix else None
    with fetch.naming(doc):
        name = known or "PNG" if image_format is None else _written(image_format)
        image = to_pil(_tensor_of(doc)[0], channel_axis)
        background = _colour(options.pop("background", WHITE))
        data = _encoded(image, name, background, options)
        if suffix and known != name:
            warnings.warn(
                f"the name of the file ends in {suffix[0]!r}, and what is written is {name}: others may not read it",
                UserWarning,
                stacklevel=3,
            )
        with files.writing(file) as target:
            target.write(data)


def load_pil_image_to_datauri(doc: Document, image: Picture) -> None:
    """Sets the uri to a data URI of an image of Pillow, upright, as PNG."""
    with fetch.naming(doc):
        if not hasattr(image, "getexif"):
            raise FieldTypeError(f"an image of Pillow is wanted; got {type(image).__name__}")
        with _reading():
            image.load()
            picture = _upright(image)
            if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
                picture = _in_mode(picture, "RGBA" if picture.has_transparency_data else "RGB", None)
        target = io.BytesIO()
        with _quiet():
            picture.save(target, "PNG")
        doc.uri = datauri.encode(target.getvalue(), "image/png", base64=True)


def set_image_tensor_shape(
    doc: Document, shape: tuple[int, int], channel_axis: int = -1, *, filter: Filter = "bicubic"
) -> None:
    """Scales the image in `tensor` to (height, width); see `resize`. Its framework stays."""
    with fetch.naming(doc):
        array, name = _tensor_of(doc)
        doc.tensor = tensors.from_numpy(resize(array, shape, channel_axis, filter=filter), name)


def set_image_tensor_resample(
    doc: Document, ratio: float, channel_axis: int = -1, *, filter: Filter = "bicubic"
) -> None:
    """Scales the image in `tensor` by a factor; sides are rounded down, and one pixel at least. See `resize`."""
    with fetch.naming(doc):
        array, name = _tensor_of(doc)
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio < float("inf"):
            raise BadValue(f"ratio={ratio!r}: a number above 0 is wanted")
        height, width = _channels_last(array, channel_axis).shape[:2]
        shape = max(int(height * ratio + _DUST), 1), max(int(width * ratio + _DUST), 1)
        doc.tensor = tensors.from_numpy(resize(array, shape, channel_axis, filter=filter), name)


def set_image_tensor_channel_axis(doc: Document, original_channel_axis: int, new_channel_axis: int) -> None:
    """Moves an axis of `tensor` to another place; the others keep their order."""
    with fetch.naming(doc):
        array, name = _tensor_of(doc)
        old, new = (_axis(axis, array.ndim) for axis in (original_channel_axis, new_channel_axis))
        doc.tensor = tensors.from_numpy(np.ascontiguousarray(np.moveaxis(array, old, new)), name)


def set_image_tensor_normalization(
    doc: Document,
    channel_axis: int = -1,
    img_mean: Sequence[float] = IMAGENET_MEAN,
    img_std: Sequence[float] = IMAGENET_STD,
) -> None:
    """Makes the uint8 image in `tensor` float32; see `normalise`. Its framework stays."""
    with fetch.naming(doc):
        array, name = _tensor_of(doc)
        doc.tensor = tensors.from_numpy(normalise(array, channel_axis, img_mean, img_std), name)


def set_image_tensor_inv_normalization(
    doc: Document,
    channel_axis: int = -1,
    img_mean: Sequence[float] = IMAGENET_MEAN,
    img_std: Sequence[float] = IMAGENET_STD,
) -> None:
    """Takes `set_image_tensor_normalization` back; see `denormalise`."""
    with fetch.naming(doc):
        array, name = _tensor_of(doc)
        doc.tensor = tensors.from_numpy(denormalise(array, channel_axis, img_mean, img_std), name)


def convert_image_tensor_to_sliding_windows(
    doc: Document,
    window_shape: tuple[int, int] = (64, 64),
    strides: tuple[int, int] | None = None,
    padding: bool = False,
    channel_axis: int = -1,
    as_chunks: bool = False,
) -> None:
    """Sets the tensor to the windows of the image in it, see `windows`; or adds a chunk of each.

    Args:
        as_chunks: a chunk each, of modality 'image', with `location` (top, left, height, width) in pixels; the
            document keeps its tensor. A document that is itself a window adds its own top and left.
    """
    with fetch.naming(doc):
        array, name = _tensor_of(doc)
        found, places = _windows(array, window_shape, strides, padding, channel_axis)
        if not as_chunks:
            doc.tensor = tensors.from_numpy(found, name)
            return
        top, left = doc.location[:2] if len(doc.location) >= 2 else (0, 0)
        height, width = window_shape
        doc.chunks.extend(
            Document(
                tensor=tensors.from_numpy(window, name),
                location=[top + y, left + x, height, width],
                modality="image",
            )
            for window, (y, x) in zip(found, places, strict=True)
        )
