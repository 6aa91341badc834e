"""Image features that need no weights: colours, and directions of edges, as one vector for each image.

Rule 1: every image is scaled to one size first, so that a vector has the same meaning for all of them.
Rule 2: two blocks, each of length 1: the cosine of two vectors is the mean of that of their colours and of their edges.
Rule 3: an image has one vector, whatever stands beside it in a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from docarray import tensors
from docarray.errors import BadValue, MissingEmbedding, ShapeError
from docarray.media import fetch, image

if TYPE_CHECKING:
    from docarray.array import DocumentArray

__all__ = ["dimensions", "embed_image_features", "image_features"]

Floats: TypeAlias = npt.NDArray[np.float32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

_BATCH: Final = 64  # images that are computed together: some 40 MB
_LOW: Final = (
    0.0,
    -80.0,
    -80.0,
)  # CIELAB; few colours of a photograph are beyond, and those count at the rim
_HIGH: Final = (100.0, 80.0, 80.0)
_CUT: Final = (
    0.2  # of a block of gradients, as Dalal and Triggs found: one strong edge shall not be all there is
)

# sRGB to linear light, and that to XYZ relative to the white point D65 (IEC 61966-2-1).
_CODES: Final = np.arange(256) / 255.0
_LINEAR: Final = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)
_XYZ: Final = (
    np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    / np.array([[0.95047], [1.0], [1.08883]])
).astype(np.float32)


def dimensions(*, bins: Sequence[int] = (4, 6, 6), cells: int = 8, orientations: int = 9) -> int:
    """The length of a vector of `image_features`.

    >>> dimensions(), dimensions(cells=4)
    (1908, 468)
    """
    (levels, reds, yellows), cells, orientations = _settings(bins, cells, orientations)
    return levels * reds * yellows + (cells - 1) ** 2 * 4 * orientations


def image_features(
    images: Any,
    *,
    bins: Sequence[int] = (4, 6, 6),
    cells: int = 8,
    orientations: int = 9,
    size: int = 64,
    channel_axis: int = -1,
) -> Floats:
    """A vector for each image, of its colours and of the directions of its edges; near for images that look alike.

    The first block is a histogram of colours in CIELAB, where equal steps look equal; each pixel counts for the
    bins around it, and the root of each share is taken (the Hellinger kernel). The second are histograms of oriented
    gradients of the lightness, by Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection" (CVPR 2005):
    unsigned directions, shared among neighbouring cells and bins, in blocks of 2 x 2 cells.

    Args:
        images: a stack (n, height, width, channels) or (n, height, width), or a list of images of any sizes; of any
            framework. Numbers are pixels as `docarray.media.image.eight_bits` says; RGBA is put on white.
        bins: of lightness, of green to red, of blue to yellow.
        cells: each side of the image is cut into so many, 2 or more.
        orientations: bins of direction, over 180 degrees.
        size: pixels to which each side is scaled first.
        channel_axis: where the channels stand in each image.

    Returns:
        (n, d) float32, d by `dimensions`; of length 1, but sqrt(1/2) for an image in one colour, which has no edges.

    Raises:
        ShapeError: this is no stack or list of images. BadValue: numbers are no pixels.

    Costs about 1.3 ms an image of 640 x 480, half of it to scale it. Memory: 64 images of `size`, and the result.

    >>> red, blue = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    >>> red[..., 0] = blue[..., 2] = 255
    >>> vectors = image_features([red, blue, red[:4]])
    >>> vectors.shape, bool(vectors[0] @ vectors[2] > vectors[0] @ vectors[1])
    ((3, 1908), True)
    """
    plan = _Features(bins, cells, orientations, size)
    return plan.matrix(_scaled(each, size, channel_axis) for each in _images(images))


def embed_image_features(
    array: DocumentArray[Any],
    *,
    bins: Sequence[int] = (4, 6, 6),
    cells: int = 8,
    orientations: int = 9,
    size: int = 64,
    channel_axis: int = -1,
) -> None:
    """Sets the embedding of every document to the features of the image in its tensor; see `image_features`.

    The images may be of different sizes. Nothing is written before all are computed.

    Raises:
        MissingEmbedding: a document has no tensor. ShapeError, BadValue: its tensor is no image; both name it.

    >>> from docarray import Document, DocumentArray
    >>> da = DocumentArray(Document(tensor=np.zeros((n, 8), dtype=np.uint8)) for n in (4, 8))
    >>> embed_image_features(da, cells=4)
    >>> da.embeddings.shape
    (2, 468)
    """
    plan = _Features(bins, cells, orientations, size)

    def scaled() -> Iterator[Bytes]:
        for doc in array:
            with fetch.naming(doc):
                if doc.tensor is None:
                    raise MissingEmbedding(
                        "it has no tensor to take features of; load_uri_to_image_tensor() loads the image at its uri"
                    )
                yield _scaled(doc.tensor, size, channel_axis)

    if len(array):
        array.embeddings = plan.matrix(scaled())


def _settings(bins: Sequence[int], cells: int, orientations: int) -> tuple[tuple[int, int, int], int, int]:
    numbers = (*bins, cells, orientations)
    if len(numbers) != 5 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers):
        raise BadValue(
            f"bins={bins!r}, cells={cells!r}, orientations={orientations!r}: numbers above 0 are wanted, 3 of bins"
        )
    if cells < 2:
        raise BadValue(f"cells={cells}: a block has 2 x 2 of them")
    return cast("tuple[int, int, int]", tuple(bins)), cells, orientations


def _images(images: Any) -> Iterable[Any]:
    """What is a list of images, or a stack."""
    kind = tensors.framework(images)
    if kind == "list" and images and tensors.framework(images[0]) == "list":  # nothing but numbers in it
        kind = "numpy"
    if kind not in ("list", None):
        stack = tensors.to_numpy(images)
        if stack.ndim not in (3, 4):
            raise ShapeError(
                f"an array of shape {stack.shape} is no stack of images: (n, height, width, channels) or "
                "(n, height, width) is wanted; one image goes into a list"
            )
        if stack.ndim == 3 and stack.shape[2] in (1, 2, 3, 4):
            raise ShapeError(
                f"an array of shape {stack.shape} looks like one image, and a stack is wanted: put it into a list"
            )
        return stack
    if not isinstance(images, Iterable) or isinstance(images, (str, bytes)):
        raise ShapeError(f"a stack or a list of images is wanted; got {type(images).__name__}")
    return cast("Iterable[Any]", images)


def _scaled(one: Any, size: int, channel_axis: int) -> Bytes:
    """An image of any kind as RGB (size, size, 3)."""
    picture: Any = image.to_pil(one, channel_axis)
    if picture.mode == "I;16":
        picture = image.to_pil(image.eight_bits(np.asarray(picture)))
    # Whole pixels are averaged first, to twice the size: four times as fast, and no eye sees it.
    small = picture.resize((size, size), image.resampling("bilinear"), reducing_gap=2.0)
    return image.from_pil(small)


class _Features:
    """The tables that the vectors of one setting are computed with."""

    def __init__(self, bins: Sequence[int], cells: int, orientations: int, size: int) -> None:
        self.bins, self.cells, self.orientations = _settings(bins, cells, orientations)
        if isinstance(size, bool) or not isinstance(size, int) or size < 2 * self.cells:
            raise BadValue(f"size={size!r}: each of {self.cells} cells a side wants 2 pixels at least")
        self.size = size
        # How much a row (or column) of pixels counts for a cell: a hat of the width of two cells around its middle.
        middles = (np.arange(self.cells) + 0.5) * size / self.cells
        away = np.abs(np.arange(size) + 0.5 - middles[:, None]) * self.cells / size
        self.hats = np.maximum(1.0 - away, 0.0).astype(np.float32)  # (cells, size)

    def matrix(self, scaled: Iterator[Bytes]) -> Floats:
        """The vectors of images of (size, size, 3), a batch at a time."""
        d = dimensions(bins=self.bins, cells=self.cells, orientations=self.orientations)
        parts = [np.empty((0, d), dtype=np.float32)]
        while batch := list(islice(scaled, _BATCH)):
            parts.append(self.vectors(np.stack(batch)))
        return np.concatenate(parts)

    def vectors(self, stack: Bytes) -> Floats:
        lab = _lab(stack)
        # Colours want no detail: every second row and column, of means of four, is as good.
        colours = _colours(_halved(lab), self.bins)
        edges = self.gradients(lab[0])
        return np.concatenate([colours, edges], axis=1) * np.float32(0.5**0.5)

    def gradients(self, light: Floats) -> Floats:
        """Histograms of oriented gradients: (n, d), of length 1, or 0 where there is no edge."""
        n, orientations = len(light), self.orientations
        padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
        down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
        right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
        strength = np.hypot(down, right)
        turn = np.arctan2(down, right) * np.float32(orientations / np.pi) % np.float32(orientations)
        lower = np.floor(turn)
        share = turn - lower
        first = lower.astype(np.int8) % np.int8(
            orientations
        )  # a rounding may have made the last one too many
        second = (first + 1) % np.int8(orientations)
        near, far = strength * (1 - share), strength * share
        histograms = np.empty((n, self.cells, self.cells, orientations), dtype=np.float32)
        for i in range(orientations):
            plane = near * (first == i) + far * (second == i)
            histograms[..., i] = self.hats @ plane @ self.hats.T
        blocks = np.concatenate(
            [histograms[:, y : self.cells - 1 + y, x : self.cells - 1 + x] for y in (0, 1) for x in (0, 1)],
            axis=3,
        )
        # Normed, cut and normed again ("L2-Hys"). The small number keeps blocks of nothing but noise small.
        noise = np.float32(self.size**2 / self.cells**2 * 0.5)
        blocks /= np.sqrt(np.square(blocks).sum(axis=3, keepdims=True) + noise**2)
        np.minimum(blocks, _CUT, out=blocks)
        blocks /= np.sqrt(np.square(blocks).sum(axis=3, keepdims=True) + np.float32(0.01))
        return _unit(blocks.reshape(n, -1))


def _unit(rows: Floats) -> Floats:
    """Rows of length 1; those of nothing stay."""
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows / np.maximum(lengths, np.float32(1e-12))


def _lab(stack: Bytes) -> Floats:
    """CIELAB of sRGB (n, height, width, 3): three planes, (3, n, height, width)."""
    red, green, blue = np.moveaxis(_LINEAR[stack], 3, 0)
    # Not a product of matrices: its last bit depends on how many images there are.
    xyz = np.stack([row[0] * red + row[1] * green + row[2] * blue for row in _XYZ])
    root = np.cbrt(xyz)
    x, y, z = np.where(xyz > 216 / 24389, root, xyz * np.float32(24389 / 27 / 116) + np.float32(16 / 116))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]).astype(np.float32, copy=False)


def _halved(planes: Floats) -> Floats:
    """Means of 2 x 2 pixels, of the part that there are whole ones of."""
    height, width = (side // 2 * 2 for side in planes.shape[2:])
    rows = planes[:, :, 0:height:2] + planes[:, :, 1:height:2]
    means = (rows[..., 0:width:2] + rows[..., 1:width:2]) * np.float32(0.25)
    return means.astype(np.float32, copy=False)


def _colours(lab: Floats, bins: tuple[int, int, int]) -> Floats:
    """Histograms of colours in which a pixel counts for the 8 bins around it: (n, d), of length 1."""
    n, total = lab.shape[1], bins[0] * bins[1] * bins[2]
    flat = lab.reshape(3, -1)
    sides: list[tuple[tuple[Any, Any], tuple[Any, Any]]] = []
    for values, low, high, count in zip(flat, _LOW, _HIGH, bins, strict=True):
        at = np.clip((values - low) * np.float32(count / (high - low)) - np.float32(0.5), 0, count - 1)
        lower = at.astype(np.intp)
        share = at - lower
        sides.append(((lower, 1 - share), (np.minimum(lower + 1, count - 1), share)))
    image_of = np.repeat(np.arange(n, dtype=np.intp) * total, flat.shape[1] // n)
    counts = np.zeros(n * total)
    for light, light_share in sides[0]:
        for red, red_share in sides[1]:
            place = image_of + (light * bins[1] + red) * bins[2]
            weight = light_share * red_share
            for yellow, yellow_share in sides[2]:
                counts += np.bincount(place + yellow, weight * yellow_share, minlength=n * total)
    shares = counts.reshape(n, total) * (n / flat.shape[1])
    return np.sqrt(np.maximum(shares, 0)).astype(np.float32)
