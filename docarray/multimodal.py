"""Multimodal: what a document does with its medium, and the fields of one that a dataclass made.

Rule 1: every method of a medium is a door: the room behind it (docarray/media/) is imported when it is opened.
Rule 2: methods change the document in place and give it back; one that fails leaves it as it was.
Rule 3: the fields of a dataclass stand in chunks, by the schema in `_metadata`, as the old library laid them out.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from docarray.errors import BadValue, FieldTypeError, OutOfRange, near_miss
from docarray.registry import resolve

if TYPE_CHECKING:
    import numpy.typing as npt

    from docarray.array import DocumentArray
    from docarray.document import Document

__all__ = ["Multimodal", "attribute_of", "is_list", "misplaced", "place_in", "schema_of"]

_NONE: Mapping[str, Any] = {}


def schema_of(doc: Document) -> Mapping[str, Any]:
    """The fields of the dataclass that made a document, by name; empty for any other document.

    Of each: `attribute_type` ('primitive', 'iterable_primitive', 'document', 'iterable_document', 'nested',
    'iterable_nested'), `type` as text, and `position` among the chunks, which may have become a float on its way.
    """
    more = doc._more
    private: Any = None if more is None else more.get("_metadata")
    found: Any = private.get("multi_modal_schema") if private else None
    if type(found) is dict or (found and isinstance(found, Mapping)):  # the first is so much quicker to ask
        return cast("Mapping[str, Any]", found)
    return _NONE


def place_in(entry: Any) -> int | None:
    """The number of the chunk that a field of a schema is; None for a plain value, and for what is no schema."""
    at = cast("Mapping[str, Any]", entry).get("position") if isinstance(entry, Mapping) else None
    return int(at) if isinstance(at, (int, float)) and math.isfinite(at) else None


def is_list(entry: Any) -> bool:
    """Whether a field of a schema is a list of documents: its elements are the chunks of its chunk."""
    return str(cast("Mapping[str, Any]", entry).get("attribute_type", "")).startswith("iterable")


def attribute_of(doc: Document, name: str) -> Any:
    """What `doc.name` is, for a name that is a field of the dataclass that made the document; None for any other.

    A Document, or of a list the array of its elements.

    Raises:
        BadValue: the field is a plain value.
    """
    entry = schema_of(doc).get(name)
    if entry is None:
        return None
    at = place_in(entry)
    if at is None:
        raise _plain_value(doc, name)
    if not 0 <= at < len(doc.chunks):
        raise misplaced(doc, name, at)
    chunk = doc.chunks[at]
    return chunk.chunks if is_list(entry) else chunk


def _field_of(doc: Document, name: str) -> Mapping[str, Any]:
    schema = schema_of(doc)
    if not schema:
        raise BadValue(
            f"document {doc.id!r} is not multimodal: no dataclass made it, so it has no field {name!r}"
        )
    if name not in schema:
        raise BadValue(f"multimodal document {doc.id!r} has no field {name!r}. {near_miss(name, schema)}")
    entry = schema[name]
    if place_in(entry) is None:
        raise _plain_value(doc, name)
    return entry


def _plain_value(doc: Document, name: str) -> BadValue:
    return BadValue(
        f"field {name!r} of document {doc.id!r} is a plain value, no document: it is tags[{name!r}]"
    )


def misplaced(doc: Document, name: str, at: int) -> OutOfRange:
    """The error of a schema that names a chunk that is not there."""
    count = len(doc.chunks)
    return OutOfRange(
        f"field {name!r} of document {doc.id!r} is said to be chunk {at}, and there are {count}"
    )


def _place_of(doc: Document, name: str, entry: Any) -> tuple[Any, int, slice]:
    """The array that the documents of a field are in, the number of its chunk, and where there."""
    at = place_in(entry) or 0
    if not 0 <= at < len(doc.chunks):
        raise misplaced(doc, name, at)
    if is_list(entry):
        return doc.chunks[at].chunks, at, slice(None)
    return doc.chunks, at, slice(at, at + 1)


class Multimodal:
    """The methods of a Document that load, convert, save and show its medium, and find its fields."""

    __slots__ = ()

    # ------------------------------------------------------------------------------------------ fields

    @property
    def is_multimodal(self) -> bool:
        """Whether a dataclass made this document, and it has fields of its own."""
        return bool(schema_of(cast("Document", self)))

    def get_multi_modal_attribute(self, attribute: str) -> DocumentArray[Any]:
        """The documents of a field: one, or of a list all of its elements, as an array.

        Raises:
            BadValue: no dataclass made this document, it has no such field, or the field is a plain value in `tags`.
        """
        doc = cast("Document", self)
        nested, _, window = _place_of(doc, attribute, _field_of(doc, attribute))
        return nested[window]

    def set_multi_modal_attribute(self, attribute: str, value: Document | Iterable[Document]) -> None:
        """Replaces the document of a field; of a list all of its elements.

        Raises:
            BadValue: as of `get_multi_modal_attribute`. FieldTypeError: these are no Documents; nothing was changed.
        """
        doc = cast("Document", self)
        entry = _field_of(doc, attribute)
        _, at, _ = _place_of(doc, attribute, entry)
        try:
            if is_list(entry):
                doc.chunks[at].chunks = value
            else:
                doc.chunks[at] = cast("Document", value)
        except FieldTypeError as error:
            raise FieldTypeError(f"field {attribute!r} of document {doc.id!r}: {error}") from None

    # ------------------------------------------------------------------------------------------ bytes and text

    def load_uri_to_blob(
        self,
        *,
        timeout: float | None = 10.0,
        max_size: int | None = None,
        schemes: Sequence[str] | None = None,
    ) -> Self:
        """Puts the bytes at the uri into `blob`; sets `mime_type` where it is unset and what sends the bytes says it.

        The uri is a path, `file://`, `data:`, `http://`, `https://` or a URL of an object store, such as `s3://`.

        Args:
            timeout: seconds that a web server may be silent; None waits for ever.
            max_size: bytes that are taken at most; 2 GiB of a local file, 256 MiB of others unless given.
            schemes: what the uri may begin with, instead of the list `docarray.media.fetch.SCHEMES`; '' is a path.

        Raises:
            FileNotFoundError, PermissionError, IsADirectoryError: as `open`.
            BadUri: the uri is empty, malformed, of a scheme that is not allowed, or leads to more than `max_size`.
            FetchError: it is not to be had: no such host, an answer such as 404, silence; an OSError.

        >>> from docarray import Document
        >>> Document(uri='data:text/plain;base64,dGVh').load_uri_to_blob().blob
        b'tea'
        """
        resolve("room", "fetch").load_uri_to_blob(self, timeout=timeout, max_size=max_size, schemes=schemes)
        return self

    def load_uri_to_text(
        self,
        charset: str | None = None,
        *,
        timeout: float | None = 10.0,
        max_size: int | None = None,
        schemes: Sequence[str] | None = None,
    ) -> Self:
        """Puts the text at the uri into `text`; options and errors as of `load_uri_to_blob`.

        Args:
            charset: None is what a byte order mark, or what sends the bytes, says; else UTF-8.

        Raises:
            CorruptData: it is no text of that charset. UnknownName: there is no such charset.

        >>> from docarray import Document
        >>> Document(uri='data:text/plain;charset=utf-8,gr%C3%BCn').load_uri_to_text().text
        'grün'
        """
        resolve("room", "fetch").load_uri_to_text(
            self, charset, timeout=timeout, max_size=max_size, schemes=schemes
        )
        return self

    def convert_blob_to_datauri(self, charset: str | None = "utf-8", base64: bool = False) -> Self:
        """Sets the uri to a data URI of `blob`; its media type is `mime_type`, which must be set.

        Args:
            charset: what text in the blob is encoded in; None leaves it unsaid.
            base64: a third longer than the bytes; without, all bytes that are no plain letters take three.

        >>> from docarray import Document
        >>> Document(blob=b'tea', mime_type='image/png').convert_blob_to_datauri(charset=None, base64=True).uri
        'data:image/png;base64,dGVh'
        """
        resolve("room", "fetch").convert_blob_to_datauri(self, charset, base64)
        return self

    def convert_text_to_datauri(self, charset: str | None = "utf-8", base64: bool = False) -> Self:
        """Sets the uri to a data URI of `text`, encoded in `charset`; text/plain unless `mime_type` is set.

        >>> from docarray import Document
        >>> Document(text='green tea').convert_text_to_datauri().uri
        'data:text/plain;charset=utf-8,green%20tea'
        """
        resolve("room", "fetch").convert_text_to_datauri(self, charset, base64)
        return self

    def convert_uri_to_datauri(
        self, charset: str | None = "utf-8", base64: bool = False, **options: Any
    ) -> Self:
        """Replaces the uri by a data URI of what it leads to; options and errors as of `load_uri_to_blob`.

        A data URI stays as it is. The media type is `mime_type`, or what sends the bytes says; a BadValue without.
        """
        resolve("room", "fetch").convert_uri_to_datauri(self, charset, base64, **options)
        return self

    def convert_content_to_datauri(self, charset: str | None = "utf-8", base64: bool = False) -> Self:
        """Sets the uri to a data URI of the text or blob; nothing happens where there is none.

        Raises:
            Unsupported: the content is a tensor, which has no media type; a NotImplementedError.
        """
        resolve("room", "fetch").convert_content_to_datauri(self, charset, base64)
        return self

    def convert_blob_to_tensor(
        self, dtype: npt.DTypeLike | None = None, count: int = -1, offset: int = 0
    ) -> Self:
        """Puts the numbers in `blob` (n,), as `numpy.frombuffer` reads them, into `tensor`; float64 unless given.

        The tensor lies in the memory of the blob, and cannot be written to.

        Args:
            count: how many numbers; -1 is all.
            offset: bytes before the first.

        Raises:
            ShapeError: the blob has not as many bytes, or no whole number of them.

        >>> from docarray import Document
        >>> Document(blob=bytes(range(4))).convert_blob_to_tensor('uint8', offset=1).tensor.tolist()
        [1, 2, 3]
        """
        resolve("room", "fetch").convert_blob_to_tensor(self, dtype, count, offset)
        return self

    def convert_tensor_to_blob(self) -> Self:
        """Puts the raw bytes of the tensor, in C order, into `blob`; its dtype and shape are not among them."""
        resolve("room", "fetch").convert_tensor_to_blob(self)
        return self

    def save_blob_to_file(self, file: Any) -> Self:
        """Writes `blob` to a path, a URL or a file opened in binary mode; a local file is replaced at the end."""
        resolve("room", "fetch").save_blob_to_file(self, file)
        return self

    def save_uri_to_file(self, file: Any, **options: Any) -> Self:
        """Writes what the uri leads to into a file, piece by piece; see `save_blob_to_file`, `load_uri_to_blob`."""
        resolve("room", "fetch").save_uri_to_file(self, file, **options)
        return self

    # ------------------------------------------------------------------------------------------ text and tables

    def convert_text_to_sentences(self) -> Self:
        """Adds a chunk for each sentence of the text, whose `location` is [start, stop] in characters.

        Sentences end as `docarray.media.passages.sentences` says.

        Raises:
            BadValue: the document has no text.

        >>> from docarray import Document
        >>> doc = Document(text='Dr. Who has tea. "Hot?" he asks.').convert_text_to_sentences()
        >>> [(chunk.text, chunk.location) for chunk in doc.chunks]
        [('Dr. Who has tea.', [0, 16]), ('"Hot?" he asks.', [17, 32])]
        """
        resolve("room", "passages").convert_text_to_sentences(self)
        return self

    def convert_text_to_windows(
        self, size: int = 200, overlap: int | None = None, unit: Literal["words", "characters"] = "words"
    ) -> Self:
        """Adds a chunk for each window of the text, whose `location` is [start, stop] in characters.

        Args:
            size: words (or characters) a window; the last may be shorter.
            overlap: how many of them a window has in common with the one before; a quarter of `size` unless given.

        Raises:
            BadValue: the document has no text; or no such size or overlap.

        >>> from docarray import Document
        >>> doc = Document(text='green tea wants 80 degrees').convert_text_to_windows(size=3, overlap=1)
        >>> [chunk.text for chunk in doc.chunks]
        ['green tea wants', 'wants 80 degrees']
        """
        resolve("room", "passages").convert_text_to_windows(self, size, overlap, unit)
        return self

    def load_uri_to_rows(self, *, max_rows: int | None = None, infer: bool = False, **options: Any) -> Self:
        """Adds a chunk for each row of the CSV or Parquet table at the uri; in `blob` or `text` where there is none.

        Columns that are fields of a Document go there, all others into `tags`.

        Args:
            max_rows: how many rows at most.
            infer: makes numbers and bools of the text that cells of CSV are, where a whole column is such.
            options: `field_resolver` renames columns; `dialect`, `encoding` and `file_format` are found out unless
                given; `timeout`, `max_size`, `schemes` as of `load_uri_to_blob`.

        Raises:
            CorruptData: the table is damaged, or a cell is not what its field takes; the message names the row.

        >>> from docarray import Document
        >>> doc = Document(text='text;price\\ntea;3\\nmilk;1').load_uri_to_rows(infer=True)
        >>> [(row.text, row.tags) for row in doc.chunks]
        [('tea', {'price': 3}), ('milk', {'price': 1})]
        """
        resolve("room", "tabular").load_uri_to_rows(self, max_rows=max_rows, infer=infer, **options)
        return self

    # ------------------------------------------------------------------------------------------ image

    def load_uri_to_image_tensor(
        self, width: int | None = None, height: int | None = None, channel_axis: int = -1, **options: Any
    ) -> Self:
        """Puts the image at the uri into `tensor`: uint8 (height, width, 3), RGB, upright.

        Args:
            width, height: pixels to scale to, each by itself; None leaves that side as it is.
            channel_axis: where the channels stand in the tensor; 0 gives (3, height, width).
            options: `timeout`, `max_size`, `schemes` as of `load_uri_to_blob`; `mode`, `filter`, `background`,
                `max_pixels`, `formats` as of `docarray.media.image.decode`.

        Several frames (GIF, TIFF, animated WebP, AVIF or PNG) become a chunk each, in place of the chunks there were:
        `offset` is the number of the frame, `tags['duration']` in seconds. The document then gets no tensor.

        Raises:
            BadUri, FileNotFoundError, FetchError: see `load_uri_to_blob`. CorruptData: it is damaged or no image.
            UnsupportedFormat: it has more than `max_pixels`, in all frames together, or numbers that are no pixels.
        """
        resolve("room", "image").load_uri_to_image_tensor(self, width, height, channel_axis, **options)
        return self

    def convert_blob_to_image_tensor(
        self, width: int | None = None, height: int | None = None, channel_axis: int = -1, **options: Any
    ) -> Self:
        """Puts the image in `blob`, decoded, into `tensor`; see `load_uri_to_image_tensor`.

        >>> from docarray import Document
        >>> doc = Document(tensor=[[0, 255]]).convert_image_tensor_to_blob()
        >>> doc.mime_type, doc.convert_blob_to_image_tensor().tensor.tolist()
        ('image/png', [[[0, 0, 0], [255, 255, 255]]])
        """
        resolve("room", "image").convert_blob_to_image_tensor(self, width, height, channel_axis, **options)
        return self

    def convert_image_tensor_to_uri(
        self, channel_axis: int = -1, image_format: str = "png", **options: Any
    ) -> Self:
        """Sets the uri to a data URI of the image in `tensor`, encoded; see `convert_image_tensor_to_blob`."""
        resolve("room", "image").convert_image_tensor_to_uri(self, channel_axis, image_format, **options)
        return self

    def convert_image_tensor_to_blob(
        self, channel_axis: int = -1, image_format: str = "png", **options: Any
    ) -> Self:
        """Puts the image in `tensor`, encoded, into `blob`, and sets `mime_type` to what it is.

        Args:
            channel_axis: where the channels stand: 1 is grey, 2 grey and alpha, 3 RGB, 4 RGBA.
            image_format: 'png', 'jpeg' ('jpg'), 'webp', 'avif', 'gif', 'tiff', 'bmp', 'jp2', 'ppm' or 'qoi'.
            options: what Pillow takes for the format, such as `quality=90`; `background` as of
                `docarray.media.image.encode`, for formats without alpha channel.

        Raises:
            BadValue: there is no tensor, or its numbers are no pixels: floats are in [0, 1], integers in 0 to 255, or
            uint16. ShapeError: it is no image.
        """
        resolve("room", "image").convert_image_tensor_to_blob(self, channel_axis, image_format, **options)
        return self

    def save_image_tensor_to_file(
        self, file: Any, channel_axis: int = -1, image_format: str | None = None, **options: Any
    ) -> Self:
        """Writes the image in `tensor` to a path, a URL or an open file; see `convert_image_tensor_to_blob`.

        Args:
            image_format: that of the suffix unless given, else PNG. A suffix that says another one is warned of.
        """
        resolve("room", "image").save_image_tensor_to_file(self, file, channel_axis, image_format, **options)
        return self

    def load_pil_image_to_datauri(self, image: Any) -> Self:
        """Sets the uri to a data URI of a Pillow image, as PNG."""
        resolve("room", "image").load_pil_image_to_datauri(self, image)
        return self

    def set_image_tensor_shape(self, shape: tuple[int, int], channel_axis: int = -1, **options: Any) -> Self:
        """Scales the image in `tensor` to (height, width).

        `filter` is 'bicubic' unless given; see `docarray.media.image.resize`. bool and most integers may be labels:
        they are taken from the nearest pixel.
        """
        resolve("room", "image").set_image_tensor_shape(self, shape, channel_axis, **options)
        return self

    def set_image_tensor_resample(self, ratio: float, channel_axis: int = -1, **options: Any) -> Self:
        """Scales the image in `tensor` by a factor, sides rounded down; see `set_image_tensor_shape`."""
        resolve("room", "image").set_image_tensor_resample(self, ratio, channel_axis, **options)
        return self

    def set_image_tensor_channel_axis(self, original_channel_axis: int, new_channel_axis: int) -> Self:
        """Moves the channels of the image in `tensor` from one axis to another."""
        resolve("room", "image").set_image_tensor_channel_axis(self, original_channel_axis, new_channel_axis)
        return self

    def set_image_tensor_normalization(
        self,
        channel_axis: int = -1,
        img_mean: Sequence[float] = (0.485, 0.456, 0.406),
        img_std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> Self:
        """Makes the uint8 image in `tensor` float32, (x / 255 - mean) / std for each channel.

        Raises:
            ShapeError: it is not uint8, has not three axes, or not as many channels as there are means.
        """
        resolve("room", "image").set_image_tensor_normalization(self, channel_axis, img_mean, img_std)
        return self

    def set_image_tensor_inv_normalization(
        self,
        channel_axis: int = -1,
        img_mean: Sequence[float] = (0.485, 0.456, 0.406),
        img_std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> Self:
        """The inverse of `set_image_tensor_normalization`, rounded: the uint8 image that it was."""
        resolve("room", "image").set_image_tensor_inv_normalization(self, channel_axis, img_mean, img_std)
        return self

    def convert_image_tensor_to_sliding_windows(
        self,
        window_shape: tuple[int, int] = (64, 64),
        strides: tuple[int, int] | None = None,
        padding: bool = False,
        channel_axis: int = -1,
        as_chunks: bool = False,
    ) -> Self:
        """Cuts the image in `tensor` into windows: a tensor (n, height, width, channels), or a chunk each.

        Args:
            window_shape: (height, width) in pixels.
            strides: steps down and to the right; those of the window unless given.
            padding: take each window that begins in the image, and fill up with zeros; else those that are whole.
            channel_axis: where the channels stand in the image, and in each window.
            as_chunks: a chunk each with `location` (top, left, height, width), after the chunks there are; the
                document keeps its tensor.

        Raises:
            ShapeError: no whole window is in the image.
        """
        resolve("room", "image").convert_image_tensor_to_sliding_windows(
            self, window_shape, strides, padding, channel_axis, as_chunks
        )
        return self

    # ------------------------------------------------------------------------------------------ audio and video

    def load_uri_to_audio_tensor(self, **options: Any) -> Self:
        """Puts the sound at the uri into `tensor`: float32 in [-1, 1], (samples,), or (samples, channels).

        wav, flac, ogg, mp3, m4a and more; the sound track of a film too. `tags['sample_rate']` is its rate in Hz.

        Args:
            options: `start` and `stop` in seconds, `mono`, `sample_rate` to resample to, `max_samples`: see
                `docarray.media.audio.decode`; `timeout`, `max_size`, `schemes` as of `load_uri_to_blob`.

        Raises:
            CorruptData: it is damaged, cut off or no sound. UnsupportedFormat: it is a film without sound, or longer
            than `max_samples`; `docarray.media.audio.blocks` gives it piece by piece.
        """
        resolve("room", "audio").load_uri_to_audio_tensor(self, **options)
        return self

    def convert_blob_to_audio_tensor(self, **options: Any) -> Self:
        """Puts the sound in `blob`, decoded, into `tensor`; see `load_uri_to_audio_tensor`.

        >>> from docarray import Document
        >>> doc = Document(tensor=[0.0, 0.5, -1.0]).convert_audio_tensor_to_blob(sample_rate=8000)
        >>> doc.mime_type, doc.convert_blob_to_audio_tensor().tensor.tolist(), doc.tags
        ('audio/wav', [0.0, 0.5, -1.0], {'sample_rate': 8000})
        """
        resolve("room", "audio").convert_blob_to_audio_tensor(self, **options)
        return self

    def save_audio_tensor_to_file(
        self, file: Any, sample_rate: int | None = None, sample_width: int = 2, **options: Any
    ) -> Self:
        """Writes the sound in `tensor` to a path, a URL or an open file; the format by the suffix, else wav.

        Args:
            sample_rate: in Hz; `tags['sample_rate']` unless given, else 44 100.
            sample_width: bytes a sample, 1 to 4, in formats that are not lossy.
            options: `audio_format`, and options of soundfile: see `docarray.media.audio.encode`.

        Raises:
            BadValue: its numbers are no samples: floats in [-1, 1], int8, int16, int32, uint8. ShapeError: it is no
            sound, or its channels come first. UnknownName: there is no such format.
        """
        resolve("room", "audio").save_audio_tensor_to_file(self, file, sample_rate, sample_width, **options)
        return self

    def convert_audio_tensor_to_blob(
        self, sample_rate: int | None = None, audio_format: str = "wav", **options: Any
    ) -> Self:
        """Puts the sound in `tensor`, encoded, into `blob`; see `save_audio_tensor_to_file`."""
        resolve("room", "audio").convert_audio_tensor_to_blob(self, sample_rate, audio_format, **options)
        return self

    def load_uri_to_video_tensor(self, only_keyframes: bool = False, **options: Any) -> Self:
        """Puts the frames of the film at the uri, or in `blob`, into `tensor`: uint8 (frames, height, width, 3), RGB.

        `tags['keyframe_indices']` lists which rows are key frames, `tags['frame_rate']` is in frames a second.

        Args:
            only_keyframes: those that are whole in themselves: some one in a hundred.
            options: `start` and `stop` in seconds, `every` n-th, `width`, `height`, `max_pixels` in all: see
                `docarray.media.video.decode`; `timeout`, `max_size`, `schemes` as of `load_uri_to_blob`; others go to
                `av.open`.

        Raises:
            CorruptData: it is damaged, cut off or no film. UnsupportedFormat: it has more than `max_pixels`, or sound
            alone.
        """
        resolve("room", "video").load_uri_to_video_tensor(self, only_keyframes, **options)
        return self

    def convert_blob_to_video_tensor(self, only_keyframes: bool = False, **options: Any) -> Self:
        """Puts the frames of the film in `blob` into `tensor`; see `load_uri_to_video_tensor`."""
        resolve("room", "video").convert_blob_to_video_tensor(self, only_keyframes, **options)
        return self

    def iter_video_frames(self, only_keyframes: bool = False, **options: Any) -> Iterator[Document]:
        """A document for each frame of the film at the uri, one after the other: no more than a few are in memory.

        `tensor` is uint8 (height, width, 3), `offset` the time in seconds, `tags['frame']` the number of the frame,
        `tags['keyframe']` a bool. Options and errors as of `load_uri_to_video_tensor`; `max_pixels` is for one frame.
        """
        return resolve("room", "video").iter_video_frames(self, only_keyframes, **options)

    def save_video_tensor_to_file(
        self, file: Any, frame_rate: float | None = None, codec: str | None = None, **options: Any
    ) -> Self:
        """Writes the frames in `tensor`, uint8 (frames, height, width, 3), to a path, a URL or an open file.

        mp4, mov, mkv, webm, avi, ts or gif by the suffix, else mp4. A local file is replaced when all is written.

        Args:
            frame_rate: frames a second; `tags['frame_rate']` unless given, else 30.
            codec: of FFmpeg; by the container unless given: 'h264', 'vp9' of webm, 'mpeg4' of avi.
            options: `audio` and `sample_rate` for its sound, `file_format`, and options of the codec, such as `crf=18`:
                see `docarray.media.video.encode`.

        Raises:
            ValueError: the tensor is not uint8 of that shape, or the codec does not take it.
        """
        resolve("room", "video").save_video_tensor_to_file(self, file, frame_rate, codec, **options)
        return self

    # ------------------------------------------------------------------------------------------ mesh

    def load_uri_to_point_cloud_tensor(
        self, samples: int, as_chunks: bool = False, *, seed: int | None = None, **options: Any
    ) -> Self:
        """Puts points of the surface at the uri, or of the mesh in `blob`, into `tensor`: float64 (samples, 3).

        glb, gltf, obj, off, ply, stl and xyz are read; a file of points alone gives its points.

        Args:
            samples: how many points.
            as_chunks: adds a chunk for each geometry of the scene instead, named by its tag `name`.
            seed: the same points again.
            options: `file_type`, `max_items`: see `docarray.media.mesh`; `timeout`, `max_size`, `schemes` as of
                `load_uri_to_blob`.

        Raises:
            CorruptData: it is damaged or cut off. UnsupportedFormat: it is no mesh, or one of too many vertices.
            BadValue: it has no area. BadUri, FileNotFoundError: see `load_uri_to_blob`.
        """
        resolve("room", "mesh").load_uri_to_point_cloud_tensor(self, samples, as_chunks, seed=seed, **options)
        return self

    def load_uri_to_vertices_and_faces(self, **options: Any) -> Self:
        """Makes two chunks of the mesh at the uri, in place of those there were, with its vertices and its faces.

        By their tag `name` they are 'vertices', float64 (n, 3), and 'faces', int64 (m, 3). Options and errors as of
        `load_uri_to_point_cloud_tensor`.
        """
        resolve("room", "mesh").load_uri_to_vertices_and_faces(self, **options)
        return self

    def load_vertices_and_faces_to_point_cloud(self, samples: int, *, seed: int | None = None) -> Self:
        """Puts points of the surface that the chunks 'vertices' and 'faces' are into `tensor`: float64 (samples, 3).

        Raises:
            AttributeError: there are no such chunks.
        """
        resolve("room", "mesh").load_vertices_and_faces_to_point_cloud(self, samples, seed=seed)
        return self

    def load_uris_to_rgbd_tensor(self, **options: Any) -> Self:
        """Puts the colour and depth images that the two chunks have uris of into `tensor`: (height, width, 4).

        Its dtype is that of the depth image, uint8, uint16, int32 or float32: no value of it is lost.

        Raises:
            ValueError: there are not two chunks with uris, the images differ in size, or the depth is no grey image.
        """
        resolve("room", "mesh").load_uris_to_rgbd_tensor(self, **options)
        return self

    def save_mesh_to_file(self, file: Any, **options: Any) -> Self:
        """Writes the chunks 'vertices' and 'faces', or else the points in `tensor`, to a path, a URL or an open file.

        A mesh as glb, obj, off, ply or stl, points as ply or xyz: by the suffix, or by `file_type=`.
        """
        resolve("room", "mesh").save_mesh_to_file(self, file, **options)
        return self

    # ------------------------------------------------------------------------------------------ PDF

    def load_uri_to_pages(self, images: bool = False, **options: Any) -> Self:
        """Makes a chunk of each page of the PDF at the uri, or in `blob` where there is no uri, with its text.

        They take the place of the chunks there were. `offset` is the number of the page from 0, `location`
        [0, 0, width, height] in points; `tags['pdf']` of the document is title, author and other things said of it.

        Args:
            images: draw each page too: a chunk of the page with a tensor uint8 (height, width, 3).
            options: `embedded` for the pictures in the pages, `dpi`, `password`, `max_pages`, `max_pixels`,
                `max_bytes`: see `docarray.media.pdf`; `timeout`, `max_size`, `schemes` as of `load_uri_to_blob`.

        Raises:
            CorruptData: it is no PDF, or damaged. UnsupportedFormat: it is more than the limits allow.
            BadValue: it is locked with a password. BadUri, FileNotFoundError: see `load_uri_to_blob`.
        """
        resolve("room", "pdf").load_uri_to_pages(self, images, **options)
        return self

    # ------------------------------------------------------------------------------------------ on sight

    def display(self, from_: Literal["uri", "tensor"] | None = None) -> None:
        """Shows the medium: in a notebook as picture, player or model; elsewhere what `summary` prints, and its size.

        Args:
            from_: 'tensor' or 'uri', which is followed then and only then; else the content. Content that waits to be
                loaded is loaded.

        Raises:
            BadValue: there is no such content. UnknownName: `from_` is something else.
        """
        resolve("room", "display").display(self, from_)

    def display_tensor(self) -> None:
        """Shows the tensor as the medium that modality, tags and shape say; a BadValue without one."""
        resolve("room", "display").display_tensor(self)

    def display_uri(self) -> None:
        """Shows what the uri leads to; errors as of `load_uri_to_blob`."""
        resolve("room", "display").display_uri(self)

    def display_point_cloud_tensor(self) -> None:
        """Shows the points in `tensor`, (n, 3); a ShapeError if they are none."""
        resolve("room", "display").display_point_cloud_tensor(self)

    def display_rgbd_tensor(self) -> None:
        """Shows the colour beside the depth in `tensor`, (height, width, 4); a ShapeError if it is of another shape."""
        resolve("room", "display").display_rgbd_tensor(self)

    def display_vertices_and_faces(self) -> None:
        """Shows the mesh of the chunks whose tags call them 'vertices' and 'faces'; a BadValue without these."""
        resolve("room", "display").display_vertices_and_faces(self)

    def plot_matches_sprites(
        self,
        top_k: int = 10,
        channel_axis: int = -1,
        inv_normalize: bool = False,
        skip_empty: bool = False,
        canvas_size: int = 1920,
        min_size: int = 100,
        output: Any = None,
    ) -> Any:
        """The image of this document beside those of its matches with their scores, as one picture.

        Args:
            top_k: how many matches.
            inv_normalize: undo `set_image_tensor_normalization` first.
            skip_empty: leave out matches without an image.
            canvas_size, min_size: pixels of the picture's width, and of the smallest image.
            output: a path, URL or open file that the picture is written to; None gives it, an image of Pillow.

        Raises:
            BadValue: there are no matches, or a document has no image, or one that cannot be shown; it is named.
        """
        return resolve("room", "display").plot_matches_sprites(
            self, top_k, channel_axis, inv_normalize, skip_empty, canvas_size, min_size, output
        )
