"""The medium of one document: a picture, a player or a model in a notebook; what it is, in words, in a terminal.

Rule 1: what is shown needs nothing but itself. A picture is always there: of sound its curve, of a film its frames,
        of a model three views; players and scripts come on top, for pages that let them in.
Rule 2: a uri is followed by `display_uri` and `display(from_='uri')` alone.
Rule 3: media types are those of this file, by the first bytes; no text of a document is markup, none a script.
Rule 4: what is too large is made smaller or cut short, and the line below says so.
"""

from __future__ import annotations

import io
import mimetypes
import re
import sys
from collections.abc import Callable
from html import escape
from itertools import islice
from typing import Any, Final, Literal, cast

import numpy as np

from docarray import files, tensors
from docarray.array import DocumentArray
from docarray.display import html, scenes, sound, thumbnail
from docarray.display.facts import Look, array_type, count_of, noun, numbers_of, plain
from docarray.display.thumbnail import Picture
from docarray.document import Document
from docarray.errors import BadValue, DocArrayError, MissingExtra, ShapeError, UnknownName
from docarray.media import fetch, image
from docarray.registry import resolve
from docarray.tensors import Array

__all__ = [
    "Shown",
    "display",
    "display_point_cloud_tensor",
    "display_rgbd_tensor",
    "display_tensor",
    "display_uri",
    "display_vertices_and_faces",
    "in_notebook",
    "picture_of",
    "shown_of",
    "shown_of_uri",
]

LARGEST: Final = 256 << 20
"""Bytes that a uri may lead to in order to be displayed."""

_IMAGE_SIDE: Final = 1024
_DEPTH_SIDE: Final = 480
_IMAGE_BYTES: Final = 2 << 20
_SOUND_BYTES: Final = 3 << 20
_FILM_BYTES: Final = 6 << 20
_FILM_SIDE: Final = 480
_FILM_FRAMES: Final = 300
_STRIP: Final = 5
_CHARACTERS: Final = 20_000
_ROWS: Final = 20
_PAGES: Final = 3
_FILM_MAGIC: Final = (
    (re.compile(rb"....ftyp(?!avi[fs]|M4A |hei[cx]|mif1)", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1a\x45\xdf\xa3.{,64}?webm", re.DOTALL), "video/webm"),
)
_MESHES: Final = frozenset((".glb", ".gltf", ".obj", ".ply", ".stl", ".off", ".xyz"))
_TABLES: Final = frozenset((".csv", ".tsv", ".parquet"))
_POINTS: Final = frozenset(("mesh", "point_cloud", "pointcloud", "points", "3d"))
_STYLE: Final = 'style="max-width:100%;margin:4px 0;color:inherit;font:13px/1.5 system-ui,sans-serif"'


class Shown:
    """A medium as a notebook shows it, made when it is asked for, and what it is in words.

    >>> shown = Shown('2 x 3 pixels', lambda: '<img>')
    >>> str(shown), sorted(shown._repr_mimebundle_())
    ('2 x 3 pixels', ['text/html', 'text/plain'])
    """

    def __init__(self, words: str, make: Callable[[], str]) -> None:
        self.words = words
        self._make = make

    def __str__(self) -> str:
        return self.words

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<div {_STYLE}>{self._make()}</div>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.words, "text/html": self._repr_html_()}


def in_notebook() -> bool:
    """Whether this runs in a kernel of IPython, such as that of a notebook."""
    ipython = cast("Any", sys.modules.get("IPython"))
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


def _show(doc: Document, shown: Shown) -> None:
    if in_notebook():
        from IPython.display import display as show  # type: ignore[import-not-found]

        cast("Any", show)(shown)
        return
    from docarray.display import terminal

    terminal.show(doc)
    if shown.words:
        sys.stdout.write(shown.words.encode(sys.stdout.encoding or "ascii", "replace").decode(
            sys.stdout.encoding or "ascii") + "\n")  # fmt: skip


# ---------------------------------------------------------------------------------------------- doors


def display(doc: Document, from_: Literal["uri", "tensor"] | None = None) -> None:
    """Shows the content of a document, of its uri or of its tensor; see `shown_of` and `shown_of_uri`.

    Raises:
        UnknownName: `from_` is neither 'uri', 'tensor' nor None. BadValue: the document has no such content.
    """
    if from_ not in (None, "uri", "tensor"):
        raise UnknownName(
            f"from_={from_!r}: a document is displayed from its 'uri' or its 'tensor', or from None"
        )
    if from_ == "uri":
        display_uri(doc)
    elif from_ == "tensor":
        display_tensor(doc)
    else:
        _show(doc, shown_of(doc))


def display_tensor(doc: Document) -> None:
    """Shows the tensor as the medium that it is.

    Raises:
        BadValue: there is none.
    """
    with fetch.naming(doc):
        shown = _of_tensor(doc, _tensor(doc))
    _show(doc, shown)


def display_uri(doc: Document) -> None:
    """Shows what the uri leads to; errors as of `load_uri_to_blob`, and of what decodes it."""
    _show(doc, shown_of_uri(doc) if in_notebook() else _said_of_uri(doc))


def display_point_cloud_tensor(doc: Document) -> None:
    """Shows the points in `tensor`, (n, 3).

    Raises:
        ShapeError: these are none. BadValue: there is no tensor.
    """
    with fetch.naming(doc):
        shown = _scene(_array(_tensor(doc)))
    _show(doc, shown)


def display_rgbd_tensor(doc: Document) -> None:
    """Shows the colour in `tensor`, (height, width, 4), beside the depth.

    Raises:
        ShapeError: it is of another shape. BadValue: there is no tensor.
    """
    with fetch.naming(doc):
        shown = _rgbd(_array(_tensor(doc)))
    _show(doc, shown)


def display_vertices_and_faces(doc: Document) -> None:
    """Shows the mesh of the chunks whose tag `name` is 'vertices' and 'faces'.

    Raises:
        BadValue: there are no such chunks. ShapeError: they are no mesh.
    """
    with fetch.naming(doc):
        mesh = _mesh_of(doc)
        if mesh is None:
            raise BadValue(
                f"document {doc.id!r} has no chunks with tags['name'] 'vertices' and 'faces' and a tensor each: "
                "load_uri_to_vertices_and_faces() makes them"
            )
        shown = _scene(*mesh)
    _show(doc, shown)


# ---------------------------------------------------------------------------------------------- what is there


def shown_of(doc: Document) -> Shown:
    """The content of a document: its tensor, blob, text or mesh; else the document itself. No uri is followed.

    A document that waits to be loaded is loaded. A data URI is content.
    """
    with fetch.naming(doc):
        if doc.tensor is not None:
            return _of_tensor(doc, doc.tensor)
        if doc.blob:
            return _of_bytes(doc, doc.blob)
        mesh = _mesh_of(doc)
        if mesh is not None:
            return _scene(*mesh)
        if doc.text:
            return _text(doc.text)
    if doc.uri and doc.uri[:5].lower() == "data:":
        return shown_of_uri(doc)
    return Shown("", lambda: html.html_of(doc))


def shown_of_uri(doc: Document) -> Shown:
    """What the uri of a document leads to; it is followed."""
    data = fetch.of_document(doc, max_size=LARGEST)
    with fetch.naming(doc):
        return _of_bytes(doc, data)


def _said_of_uri(doc: Document) -> Shown:
    """How many bytes a local uri leads to: a terminal shows no more, so no more is looked at."""
    with fetch.naming(doc), fetch.opened(doc.uri, max_size=LARGEST) as stream:
        words = noun(stream.seek(0, io.SEEK_END), "byte")
    return Shown(words, lambda: "")


def _tensor(doc: Document) -> Any:
    if doc.tensor is None:
        raise BadValue(f"document {doc.id!r} has no tensor: there is nothing to display")
    return doc.tensor


def _array(value: Any) -> Array:
    return np.asarray(tensors.to_numpy(value))


def _mesh_of(doc: Document) -> tuple[Array, Array] | None:
    found: dict[str, Array] = {}
    if Look(doc).below("chunks", 0)[0] > 64:  # a mesh has two
        return None
    for chunk in doc.chunks:
        name = chunk.tags.get("name")
        if name in ("vertices", "faces") and chunk.tensor is not None:
            found[str(name)] = _array(chunk.tensor)
    return (found["vertices"], found["faces"]) if len(found) == 2 else None


def _of_tensor(doc: Document, tensor: Any) -> Shown:
    """A tensor by modality and tags where they say what it is, else by its shape and dtype."""
    array = _array(tensor)
    modality = Look(doc).modality
    if modality == "audio" or (array.ndim <= 2 and "sample_rate" in doc.tags):
        samples = sound.samples_of(array)
        if samples is not None:
            return _sound(samples, sound.rate_of(doc.tags.get("sample_rate")))
    is_points = array.ndim == 2 and array.shape[1] == 3 and array.dtype.kind in "iuf"
    if is_points and (modality in _POINTS or (array.dtype != np.uint8 and modality != "image")):
        return _scene(array)
    if array.ndim == 4 and array.shape[3] in (1, 3, 4) and array.size:
        return _film(array, doc.tags.get("frame_rate"))
    is_flat = modality == "image" or array.dtype == np.uint8
    if array.ndim == 3 and array.shape[2] == 4 and not is_flat and array.size:
        return _rgbd(array)
    if _is_image(array, modality):
        return _image(array, -1 if array.ndim == 2 or array.shape[2] in (1, 2, 3, 4) else 0)
    return _numbers(array)


def _is_image(array: Array, modality: str) -> bool:
    if not array.size or array.dtype.kind not in "biuf":
        return False
    if array.ndim == 3:
        return array.shape[2] in (1, 2, 3, 4) or array.shape[0] in (1, 3, 4)
    return array.ndim == 2 and (modality == "image" or min(array.shape) > 1)


def _of_bytes(doc: Document, data: bytes) -> Shown:
    """Bytes by what they begin with, and by media type and suffix where that does not say it."""
    size = noun(len(data), "byte")
    guessed = doc.mime_type or ""
    if not guessed and doc.uri and doc.uri[:5].lower() != "data:":
        guessed = mimetypes.guess_type(files_name(doc.uri))[0] or ""
    modality = Look(doc).modality
    suffix = "" if doc.uri[:5].lower() == "data:" else next(iter(files.suffixes(doc.uri)[-1:]), "")
    kind = thumbnail.image_type(data)
    if kind is not None or guessed.startswith("image/"):
        if "svg" in guessed and kind is None:
            return _text(data.decode("utf-8", "replace"), "SVG is a program, so here is its text; ")
        if kind is not None and len(data) <= _IMAGE_BYTES:
            return Shown(f"{kind}, {size}", lambda: picture_of(Picture(kind, data), size))
        return _image(image.decode(data), -1, f"{size}, ")
    for magic, name in _FILM_MAGIC:
        if magic.match(data):
            return _film_of_bytes(doc, data, name, size)
    heard = sound.sound_type(data)
    if heard is not None or guessed.startswith("audio/") or modality == "audio":
        return _sound_of_bytes(doc, data, heard, size)
    if guessed.startswith("video/") or modality == "video":
        return _film_of_bytes(doc, data, None, size)
    if data[:5] == b"%PDF-":
        return Shown(f"PDF, {size}", lambda: _pages(data, size))
    if suffix in _MESHES or modality in _POINTS or guessed.startswith("model/") or data[:4] == b"glTF":
        copy = Document(id=doc.id, uri=doc.uri or None, mime_type=doc.mime_type or None)
        if not copy.uri:
            copy.blob = data
        resolve("room", "mesh").load_uri_to_vertices_and_faces(copy)
        return _scene(*(cast("Any", _mesh_of(copy))))
    if suffix in _TABLES or modality == "tabular" or guessed in ("text/csv", "text/tab-separated-values"):
        return Shown(f"a table, {size}", lambda: _table(data, suffix))
    try:
        return _text(data.decode("utf-8"))
    except UnicodeDecodeError:
        return Shown(size, lambda: html.html_of(doc) + _caption(size))


def files_name(uri: str) -> str:
    """A uri without what stands behind ? and #."""
    return re.split(r"[?#]", uri, maxsplit=1)[0] if files.is_url(uri) else uri


# ---------------------------------------------------------------------------------------------- media


def _caption(words: str) -> str:
    return f'<div style="opacity:.68;font-size:12px"><bdi>{escape(plain(words))}</bdi></div>'


def picture_of(picture: Picture, words: str, more: str = "") -> str:
    source = f'src="{picture.uri}" alt="{escape(plain(words))}"'
    return f'<img style="display:block;max-width:100%;max-height:80vh;{more}" {source}>{_caption(words)}'


def shrunk(pixels: Array, most: int) -> Array:
    """Pixels (h, w) or (h, w, channels) of at most `most` a side: the means of squares of them.

    >>> shrunk(np.array([[0, 2, 4, 6]] * 4, dtype=np.uint8), 2).tolist()
    [[1, 5], [1, 5]]
    """
    step = -(-max(pixels.shape[:2]) // most)
    if step <= 1:
        return pixels
    down, aside = min(step, pixels.shape[0]), min(step, pixels.shape[1])
    height, width = pixels.shape[0] // down, pixels.shape[1] // aside
    total = np.zeros((height, width, *pixels.shape[2:]), np.float64)
    for row in range(down):  # plane by plane, so that no more than one copy is in memory
        for column in range(aside):
            total += pixels[row : height * down : down, column : width * aside : aside]
    mean = total / (down * aside)
    return mean.astype(pixels.dtype) if pixels.dtype.kind == "f" else np.rint(mean).astype(pixels.dtype)


def _pixels(array: Array, channel_axis: int, most: int) -> tuple[Array, str]:
    """The array as uint8 that a PNG can hold, of at most `most` a side; and what was done to it, in words."""
    moved = array if array.ndim == 2 else np.moveaxis(array, channel_axis, 2)
    small = shrunk(moved.astype(np.uint8) * np.uint8(255) if moved.dtype.kind == "b" else moved, most)
    notes = ""
    try:
        pixels = image.eight_bits(small)
    except BadValue:
        pixels, notes = _stretched(small)
    if small.shape != moved.shape:
        notes += f", shown in {small.shape[1]} x {small.shape[0]}"
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[:, :, [0, 0, 0, 1]]
    return np.ascontiguousarray(pixels), notes


def _stretched(values: Array) -> tuple[Array, str]:
    """Any numbers as uint8, from the least to the largest of them; what is not finite is black."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    known = numbers[finite]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    with np.errstate(all="ignore"):
        share = (numbers - low) / ((high - low) or 1.0)
    return np.where(finite, share * 255, 0).round().clip(0, 255).astype(
        np.uint8
    ), f", stretched from {low:.3g} to {high:.3g}"


def _image(array: Array, channel_axis: int, before: str = "") -> Shown:
    height, width = (array if array.ndim == 2 else np.moveaxis(array, channel_axis, 2)).shape[:2]
    words = f"{before}{count_of(width)} x {count_of(height)} pixels, {array.dtype}"

    def make() -> str:
        pixels, notes = _pixels(array, channel_axis, _IMAGE_SIDE)
        scale = max(1, 160 // max(pixels.shape[:2]))
        more = f"width:{pixels.shape[1] * scale}px;" + ("image-rendering:pixelated" if scale > 1 else "")
        return picture_of(Picture("image/png", thumbnail.png(pixels)), words + notes, more)

    return Shown(words, make)


def _rgbd(array: Array) -> Shown:
    if array.ndim != 3 or array.shape[2] != 4 or not array.size:
        raise ShapeError(f"colour and depth are (height, width, 4) numbers; got {array.dtype} {array.shape}")
    words = (
        f"{count_of(array.shape[1])} x {count_of(array.shape[0])} pixels of colour and depth, {array.dtype}"
    )

    def make() -> str:
        small = shrunk(array, _DEPTH_SIDE)
        colour = small[:, :, :3]
        whole = colour.dtype.kind in "iu" or (np.nanmax(colour) > 1 and np.nanmin(colour) >= 0)
        pixels = colour.clip(0, 255).astype(np.uint8) if whole else _pixels(colour, -1, _DEPTH_SIDE)[0]
        depth, notes = _stretched(small[:, :, 3])
        tinted = scenes.colours_of(depth.reshape(-1)).reshape(*depth.shape, 3)
        gap = np.zeros((len(pixels), 8, 4), np.uint8)
        both = [np.dstack([part, np.full(part.shape[:2], 255, np.uint8)]) for part in (pixels, tinted)]
        joined = np.concatenate([both[0], gap, both[1]], axis=1)
        return picture_of(Picture("image/png", thumbnail.png(joined)), f"{words}; depth{notes[1:]}")

    return Shown(words, make)


def _scene(vertices: Array, faces: Array | None = None) -> Shown:
    markup, words = scenes.scene(vertices, faces)
    return Shown(words, lambda: markup + _caption(words))


def _numbers(array: Array) -> Shown:
    words = array_type(array)
    numbers = numbers_of(array, 1_000_000)
    if numbers is None:
        return Shown(words, lambda: _caption(words))
    finite = numbers[np.isfinite(numbers)]
    words += f", {finite.min():.3g} to {finite.max():.3g}" if len(finite) else ""
    return Shown(words, lambda: picture_of(Picture("image/png", thumbnail.bars(numbers, 480, 60)), words))


def _text(text: str, before: str = "") -> Shown:
    words = f"{before}{noun(len(text), 'character')}"
    cut = f", the first {count_of(_CHARACTERS)} shown" if len(text) > _CHARACTERS else ""

    def make() -> str:
        lines = "\n".join(
            "".join(c if c == "\t" else plain(c) if not c.isspace() else " " for c in line)
            for line in text[:_CHARACTERS].splitlines()
        )
        style = "white-space:pre-wrap;overflow-wrap:anywhere;max-height:480px;overflow:auto;margin:0"
        return f'<pre style="{style}" dir="auto">{escape(lines)}</pre>{_caption(words + cut)}'

    return Shown(words, make)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _curve(samples: Array) -> Picture:
    """The loudest of each stretch of a sound, as a picture that is there without a player too."""
    mono = samples if samples.ndim == 1 else samples[:, 0]
    return Picture("image/png", thumbnail.bars(mono.astype(np.float64), 480, 60), 480, 60)


def _sound(samples: Array, rate: int) -> Shown:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    words = f"{_duration(len(samples) / rate)}, {noun(channels, 'channel')}, {count_of(rate)} Hz"
    most = _SOUND_BYTES // (2 * channels)

    def make() -> str:
        note = f", the first {_duration(most / rate)} to be heard" if len(samples) > most else ""
        player = _player("audio", Picture("audio/wav", sound.wav(samples[:most], rate)))
        return picture_of(_curve(samples), words + note) + player

    return Shown(words, make)


def _player(tag: str, source: Picture, more: str = "") -> str:
    return f'<{tag} controls style="display:block;max-width:100%;margin:4px 0" {more} src="{source.uri}"></{tag}>'


def _sound_of_bytes(doc: Document, data: bytes, heard: str | None, size: str) -> Shown:
    if heard is not None and len(data) <= _SOUND_BYTES:
        words = f"{heard}, {size}"
        return Shown(words, lambda: _player("audio", Picture(heard, data)) + _caption(words))
    copy = Document(id=doc.id, blob=data)
    copy.convert_blob_to_audio_tensor()
    return _sound(cast("Array", sound.samples_of(copy.tensor)), sound.rate_of(copy.tags.get("sample_rate")))


# ---------------------------------------------------------------------------------------------- films


def _rate_of(value: Any) -> float:
    is_rate = isinstance(value, (int, float)) and not isinstance(value, bool) and 0.01 <= value <= 1000
    return float(value) if is_rate else 30.0


def _film(frames: Array, frame_rate: Any) -> Shown:
    rate = _rate_of(frame_rate)
    count, height, width = frames.shape[:3]
    words = (
        f"{noun(count, 'frame')} of {count_of(width)} x {count_of(height)} pixels, {rate:g} a second, "
        f"{_duration(count / rate)}"
    )
    return Shown(words, lambda: _film_markup(frames, rate, words))


def _film_markup(frames: Array, rate: float, words: str) -> str:
    """A player where the frames can be encoded, and always a strip of some of them."""
    shown = frames[:_FILM_FRAMES]
    note = f", the first {len(shown)} to be played" if len(shown) < len(frames) else ""
    small = np.stack([_frame(frame, _FILM_SIDE) for frame in shown])
    strip = _strip([_frame(frames[at], 160) for at in np.linspace(0, len(frames) - 1, _STRIP).astype(int)])
    player = _encoded_film(small, rate)
    if player is None:
        return picture_of(strip, f"{words}{note}, too large to be played here")
    if player.media_type == "image/webp":
        return picture_of(player, words + note)
    return _player("video", player, "loop muted") + picture_of(strip, words + note)


def _frame(frame: Array, most: int) -> Array:
    """A frame in RGB, of even sides, as h264 wants them."""
    pixels, _ = _pixels(frame, -1, most)
    pixels = np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels[:, :, :3]
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _strip(frames: list[Array]) -> Picture:
    return Picture("image/png", thumbnail.png(np.ascontiguousarray(np.concatenate(frames, axis=1))))


def _encoded_film(frames: Array, rate: float) -> Picture | None:
    """The frames as mp4 or, where nothing that writes it is installed, as an animation; None if too large."""
    for _ in range(4):
        target = io.BytesIO()
        try:
            Document(tensor=frames).save_video_tensor_to_file(target, frame_rate=rate)
            found = Picture("video/mp4", target.getvalue())
        except (MissingExtra, ModuleNotFoundError):
            found = _animation(frames, rate)
        if len(found.data) <= _FILM_BYTES:
            return found
        frames = np.stack([_frame(frame, max(16, max(frame.shape[:2]) // 2)) for frame in frames])
    return None


def _animation(frames: Array, rate: float) -> Picture:
    first, *rest = [image.to_pil(frame) for frame in frames]
    target = io.BytesIO()
    first.save(target, "WEBP", save_all=True, append_images=rest, duration=max(1, round(1000 / rate)), loop=0)
    return Picture("image/webp", target.getvalue())


def _film_of_bytes(doc: Document, data: bytes, name: str | None, size: str) -> Shown:
    if name is not None and len(data) <= _FILM_BYTES:
        words = f"{name}, {size}"
        return Shown(
            words, lambda: _player("video", Picture(name, data)) + _caption(words) + _peek(doc, data)
        )
    return Shown(f"a film, {size}", lambda: _beginning(doc, data, size))


def _frames(doc: Document, data: bytes, most: int) -> list[Document]:
    uri = doc.uri or "data:video/mp4;base64," + Picture("video/mp4", data).uri.partition(",")[2]
    return list(islice(Document(id=doc.id, uri=uri).iter_video_frames(), most))


def _peek(doc: Document, data: bytes) -> str:
    """The first frame, which is seen where a player is not; nothing where it cannot be decoded here."""
    try:
        found = _frames(doc, data, 1)
    except (DocArrayError, ImportError):
        return ""
    return (
        picture_of(_strip([_frame(_array(each.tensor), 160) for each in found]), "the first frame")
        if found
        else ""
    )


def _beginning(doc: Document, data: bytes, size: str) -> str:
    found = _frames(doc, data, _FILM_FRAMES)
    if not found:
        return _caption(f"{size}, no frames")
    frames = np.stack([_frame(_array(each.tensor), _FILM_SIDE) for each in found])
    rate = 30.0
    if len(found) > 1 and found[-1].offset:
        rate = _rate_of((len(found) - 1) / (found[-1].offset - found[0].offset or 1.0))
    return _film_markup(frames, rate, f"{size}, the first {noun(len(found), 'frame')}")


# ---------------------------------------------------------------------------------------------- pages and tables


def _pages(data: bytes, size: str) -> str:
    parts: list[str] = []
    for page in resolve("room", "pdf").pages(data, images=True, dpi=60, max_pages=_PAGES):
        picture = Picture("image/png", thumbnail.png(_pixels(page.image, -1, _IMAGE_SIDE)[0]))
        style = "display:inline-block;max-width:32%;margin:0 1% 0 0;border:1px solid rgba(128,128,128,.4)"
        said = escape(plain(page.text[:300]))
        parts.append(f'<img style="{style}" alt="page {page.number + 1}: {said}" src="{picture.uri}">')
    return "".join(parts) + _caption(f"PDF, {size}, {noun(len(parts), 'page')} shown")


def _table(data: bytes, suffix: str) -> str:
    holder = Document(blob=data)
    options = {"file_format": "parquet"} if suffix == ".parquet" else {}
    resolve("room", "tabular").load_uri_to_rows(holder, max_rows=_ROWS, **options)
    return html.html_of(DocumentArray(list(holder.chunks)))
