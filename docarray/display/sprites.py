"""Many images in one: a square of all, a row of a query and its matches, an animation.

Rule 1: one image is in memory at a time, beside the picture that they go into, and that is measured first.
Rule 2: an image is the tensor, else the blob, else what the uri leads to; 'uri' asks for that first.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np

from docarray import files, progress, tensors
from docarray.array import DocumentArray
from docarray.display.facts import count_of, cut, score_text
from docarray.document import Document
from docarray.errors import BadValue, UnknownName
from docarray.media import fetch, image
from docarray.registry import require

__all__ = ["atlas", "plot_image_sprites", "plot_matches_sprites", "save_gif"]

Source: TypeAlias = Literal["tensor", "uri"]

_WHITE: Final = (255, 255, 255)
_INK: Final = (32, 32, 32)
_BLANK: Final = (236, 236, 236)


def _pillow(name: str) -> Any:
    return require(f"PIL.{name}", "a picture of images", '"docarray[media]"')


def _whole(name: str, value: object, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise BadValue(f"{name}={value!r}: a whole number, {least} or more, is wanted")
    return int(cast("int", value))


def _source(name: object) -> Source:
    if name not in ("tensor", "uri"):
        raise UnknownName(f"image_source={name!r}: images are taken from 'tensor' or 'uri'")
    return name


# ---------------------------------------------------------------------------------------------- one image


def _numbers(doc: Document, source: Source) -> Any:
    """The image of a document as an array, and whether its channels are last for certain; None where it has none."""
    if source == "uri" and doc.uri:
        return image.decode(fetch.of_document(doc), mode="RGBA")
    if doc.tensor is not None:
        return None
    if doc.blob:
        return image.decode(doc.blob, mode="RGBA")
    return image.decode(fetch.of_document(doc), mode="RGBA") if doc.uri else None


def _image(doc: Document, channel_axis: int, source: Source, inverse: bool = False) -> Any:
    """The image of a document, of Pillow, in RGB on white; None where it has none.

    Raises:
        BadValue: it has something else; the message names the document.
    """
    try:
        with fetch.naming(doc):
            decoded = _numbers(doc, source)
            if decoded is None and doc.tensor is None:
                return None
            if decoded is not None:
                return _flat(image.to_pil(decoded))
            array = tensors.to_numpy(doc.tensor)
            if inverse and array.dtype.kind == "f":
                array = image.denormalise(array, channel_axis)
            return _flat(image.to_pil(image.eight_bits(array), channel_axis))
    except BadValue as error:
        raise BadValue(f"document {doc.id!r} holds no image that can be shown: {error}") from error


def _flat(found: Any) -> Any:
    if found.mode in ("RGB", "L"):
        return found.convert("RGB")
    ground = _pillow("Image").new("RGBA", found.size, (*_WHITE, 255))
    ground.alpha_composite(found.convert("RGBA"))
    return ground.convert("RGB")


def _missing(doc: Document) -> BadValue:
    return BadValue(
        f"document {doc.id!r} has no image: neither tensor, nor blob, nor uri. skip_empty=True leaves it out"
    )


def _fitted(found: Any, width: int, height: int, keep: bool) -> Any:
    """An image scaled to a size; with `keep` to what of it has its proportions."""
    if keep:
        ratio = min(width / found.width, height / found.height)
        width, height = max(1, round(found.width * ratio)), max(1, round(found.height * ratio))
    if found.size == (width, height):
        return found
    is_small = found.width * 2 <= width and found.height * 2 <= height
    way = _pillow("Image").Resampling
    return found.resize((width, height), way.NEAREST if is_small else way.LANCZOS)


def _label(canvas: Any, at: tuple[int, int], text: str, width: int) -> None:
    """Dark words on a light ground, cut to the width."""
    draw = _pillow("ImageDraw").Draw(canvas)
    font = _pillow("ImageFont").load_default(12)
    text = text.encode("latin-1", "replace").decode("latin-1")  # what the built-in font can say
    while text and draw.textlength(text, font) > width - 4:
        text = text[:-1]
    box = draw.textbbox((at[0] + 2, at[1] + 1), text, font)
    draw.rectangle((at[0], at[1], box[2] + 2, box[3] + 2), fill=_WHITE)
    draw.text((at[0] + 2, at[1] + 1), text, fill=_INK, font=font)


def _written(picture: Any, output: Any, kind: str = "PNG", **options: Any) -> None:
    """Writes a picture to a path, URL or open file, in the format of the suffix."""
    _pillow("Image").init()
    known: dict[str, str] = _pillow("Image").registered_extensions()
    suffix = next(iter(files.suffixes(output)[-1:]), "")
    name = known.get(suffix, kind)
    target = io.BytesIO()
    try:
        picture.save(target, name, **options)
    except (KeyError, OSError, ValueError) as error:
        raise BadValue(f"{os.fspath(output)!r}: the picture cannot be written as {name}: {error}") from error
    with files.writing(output) as stream:
        stream.write(target.getbuffer())


# ---------------------------------------------------------------------------------------------- a square of all


def atlas(
    docs: Iterable[Document],
    count: int,
    side: int,
    *,
    channel_axis: int = -1,
    source: Source = "tensor",
    keep: bool = False,
    blanks: bool = False,
    numbers: bool = False,
    empty: Any = _BLANK,
) -> Any:
    """A square of the images of `count` documents, row by row, each `side` pixels wide and high.

    Args:
        keep: the proportions of each.
        blanks: an empty place for a document without an image.
        numbers: write the position of each on it.

    Raises:
        BadValue: a document has no image, unless `blanks`; or the picture would have more than
        `docarray.media.image.MAX_PIXELS`.
    """
    per_row = math.ceil(math.sqrt(count))
    if (per_row * side) ** 2 > image.MAX_PIXELS:
        raise BadValue(
            f"{count_of(count)} images of {side} x {side} pixels are {count_of((per_row * side) ** 2)} pixels, and "
            f"{count_of(image.MAX_PIXELS)} is the limit: take fewer documents, or a smaller min_size"
        )
    canvas = _pillow("Image").new("RGB", (per_row * side, per_row * side), _WHITE)
    for at, doc in enumerate(docs):
        left, top = at % per_row * side, at // per_row * side
        found = _image(doc, channel_axis, source)
        if found is None and not blanks:
            raise _missing(doc)
        if found is None:
            canvas.paste(empty, (left, top, left + side, top + side))
        else:
            fitted = _fitted(found, side, side, keep)
            canvas.paste(fitted, (left + (side - fitted.width) // 2, top + (side - fitted.height) // 2))
        if numbers:
            _label(canvas, (left, top), str(at), side)
    return canvas


def _has_image(doc: Document) -> bool:
    return bool(doc.tensor is not None or doc.blob or doc.uri)


def _with_images(array: DocumentArray[Any], skip_empty: bool) -> list[Document]:
    if not len(array):
        raise BadValue("the array is empty: there are no images to show")
    docs: list[Document] = []
    for doc in cast("Iterable[Document]", array):
        if _has_image(doc):
            docs.append(doc)
        elif not skip_empty:
            raise _missing(doc)
    if not docs:
        raise BadValue(f"none of the {count_of(len(array))} documents has an image")
    return docs


def plot_image_sprites(
    array: DocumentArray[Any],
    output: Any = None,
    canvas_size: int = 512,
    min_size: int = 16,
    channel_axis: int = -1,
    image_source: Source = "tensor",
    skip_empty: bool = False,
    show_progress: progress.Show = False,
    show_index: bool = False,
    fig_size: tuple[int, int] | None = (10, 10),
    keep_aspect_ratio: bool = False,
) -> Any:
    """All images in a square; see `DocumentArray.plot_image_sprites`."""
    del fig_size  # inches of a figure of matplotlib, which there is none of: canvas_size is the size
    source = _source(image_source)
    canvas_size, min_size = _whole("canvas_size", canvas_size), _whole("min_size", min_size)
    docs = _with_images(array, skip_empty)
    side = max(min_size, canvas_size // math.ceil(math.sqrt(len(docs))))
    picture = atlas(
        progress.track(docs, title="images", show=show_progress), len(docs), side, channel_axis=channel_axis,
        source=source, keep=keep_aspect_ratio, numbers=show_index,
    )  # fmt: skip
    if output is None:
        return picture
    _written(picture, output)
    return None


# ---------------------------------------------------------------------------------------------- an animation


def save_gif(
    array: DocumentArray[Any],
    output: Any,
    channel_axis: int = -1,
    duration: int = 200,
    size_ratio: float = 1.0,
    inline_display: bool = False,
    image_source: Source = "tensor",
    skip_empty: bool = False,
    show_index: bool = False,
    show_progress: progress.Show = False,
) -> None:
    """An animation of all images; see `DocumentArray.save_gif`."""
    source = _source(image_source)
    duration = _whole("duration", duration)
    if (
        isinstance(size_ratio, bool)
        or not isinstance(size_ratio, (int, float))
        or not 0 < size_ratio < math.inf
    ):
        raise BadValue(f"size_ratio={size_ratio!r}: a number above 0 is wanted")
    docs = _with_images(array, skip_empty)
    first = _image(docs[0], channel_axis, source)
    width, height = max(1, int(first.width * size_ratio)), max(1, int(first.height * size_ratio))
    if width * height > image.MAX_PIXELS:
        raise BadValue(f"frames of {width} x {height} pixels are too large; size_ratio makes them smaller")
    watched = progress.track(docs, title="frames", show=show_progress)
    frames = _frames(watched, width, height, channel_axis, source, show_index)
    target = io.BytesIO()
    next(frames).save(
        target,
        "GIF",
        save_all=True,
        append_images=frames,
        duration=duration,
        loop=0,
        disposal=2,
        optimize=False,
    )
    with files.writing(output) as stream:
        stream.write(target.getbuffer())
    if inline_display:
        from docarray.display.players import Shown, in_notebook, picture_of
        from docarray.display.thumbnail import Picture

        if in_notebook():
            from IPython.display import display as show  # type: ignore[import-not-found]

            said = f"{count_of(len(docs))} frames of {width} x {height} pixels"
            cast("Any", show)(Shown(said, lambda: picture_of(Picture("image/gif", target.getvalue()), said)))


def _frames(
    docs: Iterable[Document], width: int, height: int, channel_axis: int, source: Source, numbers: bool
) -> Generator[Any]:
    """The images, each in the middle of a frame of the size of the first."""
    for at, doc in enumerate(docs):
        fitted = _fitted(_image(doc, channel_axis, source), width, height, keep=True)
        frame = _pillow("Image").new("RGB", (width, height), _WHITE)
        frame.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
        if numbers:
            _label(frame, (0, 0), str(at), width)
        yield frame


# ---------------------------------------------------------------------------------------------- a query and its matches


def _captioned(doc: Document, first: bool) -> str:
    if first:
        return "query"
    for name, score in doc.scores.items():
        return f"{cut(name, 20)} {score_text(score)}"
    return cut(doc.id, 20)


def _pairs(
    docs: Sequence[Document], channel_axis: int, inverse: bool, skip_empty: bool
) -> Iterator[tuple[Document, Any]]:
    for at, doc in enumerate(docs):
        found = _image(doc, channel_axis, "tensor", inverse)
        if found is None and not (at and skip_empty):
            raise _missing(doc)
        if found is not None:
            yield doc, found


def plot_matches_sprites(
    doc: Document,
    top_k: int = 10,
    channel_axis: int = -1,
    inv_normalize: bool = False,
    skip_empty: bool = False,
    canvas_size: int = 1920,
    min_size: int = 100,
    output: Any = None,
) -> Any:
    """The image of a document beside those of its matches; see `Document.plot_matches_sprites`."""
    top_k, canvas_size = _whole("top_k", top_k), _whole("canvas_size", canvas_size)
    min_size = _whole("min_size", min_size)
    if not len(doc.matches):
        raise BadValue(f"document {doc.id!r} has no matches to show: find() or match() make them")
    shown = list(_pairs([doc, *doc.matches[:top_k]], channel_axis, inv_normalize, skip_empty))
    side, below = max(min_size, canvas_size // (min(top_k, len(doc.matches)) + 1)), 20
    per_row = max(1, max(canvas_size, side) // side)
    rows = -(-len(shown) // per_row)
    size = min(per_row, len(shown)) * side, rows * (side + below)
    if size[0] * size[1] > image.MAX_PIXELS:
        raise BadValue(
            f"a picture of {size[0]} x {size[1]} pixels is too large: take a smaller min_size or top_k"
        )
    canvas = _pillow("Image").new("RGB", size, _WHITE)
    for at, (each, found) in enumerate(shown):
        left, top = at % per_row * side, at // per_row * (side + below)
        fitted = _fitted(found, side - 8, side - 8, keep=True)
        canvas.paste(fitted, (left + (side - fitted.width) // 2, top + (side - fitted.height) // 2))
        _label(canvas, (left + 4, top + side), _captioned(each, at == 0), side - 8)
    if output is None:
        return canvas
    _written(canvas, output)
    return None
