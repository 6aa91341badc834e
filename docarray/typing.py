"""The media that fields of a dataclass can be of: `title: Text`, `photo: Image | None`, `parts: list[Part]`.

Rule 1: each name is the type of the values that the field takes, so that a type checker knows them, with its Medium
        beside it (`typing.Annotated`), which `docarray.dataclass` reads.
Rule 2: a Medium makes a document of a value, and gives that value back; the private data of the document says what
        it was (`image_type`: 'uri', 'ndarray', 'PIL', 'bytes' or 'Document'), as in the files of the old library.
Rule 3: what is at a path or URL is loaded when the content of the document is first asked for.
"""

# pyright: reportPrivateUsage=false
# The modules above floor 5 that make documents by the thousand are friends too: they fill fresh ones slot by slot.

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, TypeAlias, cast

import numpy as np

from docarray import tensors
from docarray.document import Document, Pending
from docarray.errors import BadValue, FieldTypeError
from docarray.registry import require, resolve
from docarray.watched import plain

__all__ = [
    "JSON",
    "PDF",
    "URI",
    "Array",
    "Audio",
    "Blob",
    "Image",
    "Medium",
    "Mesh",
    "Picture",
    "Tabular",
    "Text",
    "Video",
]

_ndarray: Final = np.ndarray

Setter: TypeAlias = Callable[[Any], Document]
Getter: TypeAlias = Callable[[Document], Any]
_NOTHING: Final[Mapping[str, Any]] = {}


class Array(Protocol):
    """An array of numpy, torch, tensorflow or whatever numpy can take over."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """The same as an array of numpy."""
        ...


class Picture(Protocol):
    """An image of Pillow."""

    @property
    def __array_interface__(self) -> Mapping[str, Any]:
        """What numpy needs to take it over."""
        ...


@dataclass(frozen=True, slots=True)
class Medium:
    """How a value of a field becomes a document, and is read back from it.

    Args:
        name: what the schema of a document calls it.
        setter: gives the Document of a value.
        getter: gives the value of such a Document.

    >>> from docarray import Document, dataclass
    >>> Shout = Annotated[str, Medium('Shout', lambda v: Document(text=v.upper()), lambda doc: doc.text.lower())]
    >>> @dataclass
    ... class Call:
    ...     word: Shout
    >>> doc = Document(Call('hey'))
    >>> doc.word.text, Call(doc)
    ('HEY', Call(word='hey'))
    """

    name: str
    setter: Callable[[Any], Document]
    getter: Callable[[Document], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return resolve("room", "models").medium_core_schema(self, source, handler)


# --- documents of values --------------------------------------------------------------------------------------------


def fresh() -> Document:
    """A document of which nothing is set, its id neither."""
    doc = Document.__new__(Document)
    doc._id = doc._content = doc._tags = doc._embedding = doc._chunks = doc._matches = doc._scores = None
    doc._uri = doc._mime_type = doc._place = doc._more = doc._vectors = None
    return doc


def private_of(doc: Document) -> Mapping[str, Any]:
    """The private data of a document; nothing is made where there is none."""
    more = doc._more
    return _NOTHING if more is None else more.get("_metadata") or _NOTHING


def _ready(doc: Document, key: str) -> Document:
    """A document that somebody made, as the document of a field."""
    if doc._is_live:  # what it is in the dataclass does not concern the store that it is a row of
        doc = doc.__copy__()
    doc._metadata[key] = "Document"
    return doc


def _refused(wanted: str, value: object) -> FieldTypeError:
    return FieldTypeError(f"{wanted} is wanted; got a {type(value).__name__}: {value!r:.60}")


def _content(doc: Document) -> Any:
    """What a document that somebody put in the place of a field's has to say."""
    return doc.uri or doc.content


def _at(doc: Document) -> Any:
    """The path or URL of a document, as it was given."""
    return Path(doc.uri) if private_of(doc).get("uri_type") == "Path" else doc.uri


def text_setter(value: Any) -> Document:
    """A document with a text."""
    doc = fresh()
    if type(value) is not str:
        if isinstance(value, Document):
            return _ready(value, "text_type")
        if not isinstance(value, str):
            raise _refused("a str", value)
    doc._content = value
    doc._more = {"modality": "text"}
    return doc


def text_getter(doc: Document) -> Any:
    """The text of a document."""
    more = doc._more
    if more is not None and "_metadata" in more and private_of(doc).get("text_type") == "Document":
        return doc
    text = doc._content
    return text if type(text) is str else doc.text


def uri_setter(value: Any) -> Document:
    """A document with a uri, which is not followed."""
    if isinstance(value, Document):
        return _ready(value, "uri_type")
    return _of_uri(fresh(), value)


def uri_getter(doc: Document) -> Any:
    """The uri of a document."""
    return doc if private_of(doc).get("uri_type") == "Document" else _at(doc)


def _of_uri(doc: Document, value: Any) -> Document:
    if not isinstance(value, (str, PathLike)) or not isinstance(fspath(cast("Any", value)), str):
        raise _refused("a path or URL", cast("Any", value))
    doc.uri = value
    if not isinstance(value, str):
        doc._metadata["uri_type"] = "Path"
    return doc


def json_setter(value: Any) -> Document:
    """A document whose tags are a dict; of a list, or of JSON as text, what it says."""
    if isinstance(value, Document):
        return _ready(value, "json_type")
    doc = fresh()
    doc._more = {"modality": "json"}
    if isinstance(value, Mapping):
        doc._tags = dict(cast("Mapping[str, Any]", value))
    elif isinstance(value, list):
        doc._tags = {"json": list(cast("list[Any]", value))}
        doc._metadata["json_type"] = "list"
    elif isinstance(value, str):
        try:
            said = json.loads(value)
        except ValueError as error:
            raise BadValue(f"this is no JSON: {error}: {value!r:.60}") from None
        doc._tags = cast("dict[str, Any]", said) if isinstance(said, dict) else {"json": said}
        doc._content = value
        doc._metadata["json_type"] = "str"
    else:
        raise _refused("a dict, a list or JSON as text", value)
    return doc


def json_getter(doc: Document) -> Any:
    """The tags of a document; or the list or text that they were made of."""
    kind = private_of(doc).get("json_type")
    if kind == "Document":
        return doc
    if kind == "str":
        return doc.text
    tags = plain(doc.tags)
    return tags["json"] if kind == "list" else tags


def _media(
    name: str,
    load: Callable[[Document], object],
    *,
    modality: str | None,
    arrays: bool = False,
    of_arrays: str | None = None,
    says_uri: bool = True,
) -> tuple[Callable[[Any], Document], Callable[[Document], Any]]:
    """The setter and getter of a medium that is in files.

    Args:
        name: of the medium.
        load: fills a document with what is at its uri.
        modality: of its documents; those of arrays have `of_arrays`, as the old library wrote them.
        arrays: whether an array is one.
        says_uri: whether the private data of a document says that it was given as a uri.
    """
    key = name.lower() + "_type"
    wanted = "a path, a URL, bytes" + (", an array or a Document" if arrays else " or a Document")

    def more_of(kind: str, modality: str | None = modality) -> dict[str, Any]:
        return {"modality": modality, "_metadata": {key: kind}} if modality else {"_metadata": {key: kind}}

    def setter(value: Any) -> Document:
        kind = cast("Any", type(value))
        doc = fresh()
        if arrays and (kind is _ndarray or tensors.framework(value) not in (None, "list")):
            doc._content = value
            doc._more = more_of("ndarray", of_arrays)
            return doc
        if isinstance(value, Document):
            return _ready(value, key)
        if isinstance(value, (str, PathLike)):
            if says_uri:
                doc._more = more_of("uri")
            elif modality:
                doc._more = {"modality": modality}
            return Pending.of(_of_uri(doc, value), load)
        if isinstance(value, (bytes, bytearray, memoryview)):
            doc.blob = value
            doc._more = more_of("bytes")
            return doc
        raise _refused(wanted, value)

    def getter(doc: Document) -> Any:
        kind = private_of(doc).get(key)
        if kind == "Document":
            return doc
        if kind == "uri" or (kind is None and doc.uri):
            return _at(doc)
        return _content(doc) if kind is None else doc.content

    setter.__name__, getter.__name__ = f"{name.lower()}_setter", f"{name.lower()}_getter"
    return setter, getter


_array_setter, _array_getter = _media(
    "Image",
    lambda doc: doc.load_uri_to_image_tensor(),
    modality="image",
    arrays=True,
    of_arrays="image",
)
_FROM_ARRAY: Final = frozenset({"1", "L", "LA", "RGB", "RGBA", "F", "I", "I;16"})
"""The modes of Pillow that an array says by its shape and dtype."""


def image_setter(value: Any) -> Document:
    """A document with an image."""
    if type(value) is _ndarray:  # most are: not the long way
        doc = fresh()
        doc._content = value
        doc._more = {"modality": "image", "_metadata": {"image_type": "ndarray"}}
        return doc
    pillow = sys.modules.get("PIL.Image")
    if pillow is None or not isinstance(value, cast("Any", pillow).Image):
        return _array_setter(value)
    image: Any = value
    if image.mode in ("P", "PA"):  # numbers of colours are no colours
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    doc = fresh()
    doc._content = np.array(image)
    doc._more = {"modality": "image", "_metadata": {"image_type": "PIL"}}
    if image.mode not in _FROM_ARRAY:
        doc._more["_metadata"]["image_mode"] = image.mode
    return doc


def image_getter(doc: Document) -> Any:
    """The image of a document, as what it was given as."""
    more = doc._more
    private = _NOTHING if more is None else more.get("_metadata") or _NOTHING
    kind = private.get("image_type")
    if kind == "ndarray":
        return doc._content if type(doc._content) is _ndarray else _array_getter(doc)
    if kind != "PIL" or doc.tensor is None:
        return _array_getter(doc)
    pillow = require("PIL.Image", "an image of Pillow", "docarray[media]")
    array = tensors.to_numpy(doc.tensor)
    mode = private.get("image_mode")
    if mode is None:
        return pillow.fromarray(array)
    return pillow.frombytes(mode, array.shape[1::-1], np.ascontiguousarray(array).tobytes())


audio_setter: Setter
audio_getter: Getter
audio_setter, audio_getter = _media(
    "Audio", lambda doc: doc.load_uri_to_audio_tensor(), modality="audio", arrays=True
)
video_setter: Setter
video_getter: Getter
video_setter, video_getter = _media(
    "Video", lambda doc: doc.load_uri_to_video_tensor(), modality="video", arrays=True
)
mesh_setter: Setter
mesh_getter: Getter
mesh_setter, mesh_getter = _media(
    "Mesh", lambda doc: doc.load_uri_to_point_cloud_tensor(1000), modality="mesh", arrays=True
)
blob_setter: Setter
blob_getter: Getter
blob_setter, blob_getter = _media("Blob", lambda doc: doc.load_uri_to_blob(), modality=None)
tabular_setter: Setter
tabular_getter: Getter
tabular_setter, tabular_getter = _media(
    "Tabular", lambda doc: doc.load_uri_to_rows(), modality="tabular", says_uri=False
)
pdf_setter: Setter
pdf_getter: Getter
pdf_setter, pdf_getter = _media("PDF", lambda doc: doc.load_uri_to_pages(), modality="pdf")


# --- the names ------------------------------------------------------------------------------------------------------

Text: TypeAlias = Annotated[str, Medium("Text", text_setter, text_getter)]
"""Text, as a document of its own: searched, embedded. A plain `str` is a tag of the whole instead."""

URI: TypeAlias = Annotated[str | PathLike[str] | Document, Medium("URI", uri_setter, uri_getter)]
"""A path or URL that nothing is loaded from."""

Image: TypeAlias = Annotated[
    str | PathLike[str] | bytes | Array | Picture | Document, Medium("Image", image_setter, image_getter)
]
"""An image: a path or URL; an array; an image of Pillow; its file as bytes; a Document."""

Audio: TypeAlias = Annotated[
    str | PathLike[str] | bytes | Array | Document, Medium("Audio", audio_setter, audio_getter)
]
"""Sound: a path or URL; an array; its file as bytes; a Document."""

Video: TypeAlias = Annotated[
    str | PathLike[str] | bytes | Array | Document, Medium("Video", video_setter, video_getter)
]
"""A film: a path or URL; an array of its frames; its file as bytes; a Document."""

Mesh: TypeAlias = Annotated[
    str | PathLike[str] | bytes | Array | Document, Medium("Mesh", mesh_setter, mesh_getter)
]
"""A surface: a path or URL, of which 1 000 points are loaded; an array of points; its file as bytes; a Document."""

Tabular: TypeAlias = Annotated[
    str | PathLike[str] | bytes | Document, Medium("Tabular", tabular_setter, tabular_getter)
]
"""A table (CSV, Parquet): a path or URL, whose rows are its chunks; its file as bytes; a Document."""

PDF: TypeAlias = Annotated[str | PathLike[str] | bytes | Document, Medium("PDF", pdf_setter, pdf_getter)]
"""A PDF: a path or URL, whose pages are its chunks; its file as bytes; a Document."""

Blob: TypeAlias = Annotated[bytes | str | PathLike[str] | Document, Medium("Blob", blob_setter, blob_getter)]
"""Bytes; a path or URL that they are loaded from; a Document."""

JSON: TypeAlias = Annotated[Any, Medium("JSON", json_setter, json_getter)]
"""A dict, which becomes the tags of a document of its own; a list; JSON as text."""
