"""Films: their frames one after the other, or all as one array, and back.

Rule 1: a frame is uint8 (height, width, 3), RGB, upright as the phone was held.
Rule 2: frames come from a decoder that holds a few of them; who wants all in one array says how many pixels at most.
Rule 3: what is opened is closed when the last frame was given, when an error comes, and when an iterator is dropped.
"""

from __future__ import annotations

import io
import math
import operator
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, BinaryIO, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from docarray import files, tensors
from docarray.document import Document
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    ShapeError,
    UnknownName,
    UnsupportedFormat,
    near_miss,
)
from docarray.media import audio as sound
from docarray.media import containers, fetch

__all__ = [
    "MAX_FRAME",
    "MAX_PIXELS",
    "Film",
    "Frame",
    "convert_blob_to_video_tensor",
    "decode",
    "encode",
    "frames",
    "iter_video_frames",
    "load_uri_to_video_tensor",
    "save_video_tensor_to_file",
]

Bytes: TypeAlias = npt.NDArray[np.uint8]

MAX_PIXELS: Final = 1 << 29
"""Pixels, of all frames together, that are decoded into one array at most: 1.5 GiB, 19 s of 1280 x 720."""

MAX_FRAME: Final = 1 << 26
"""Pixels of one frame at most: twice what 8K has."""

_RATE: Final = 30
_THREADS: Final = 4  # each holds a frame
_FIRST: Final = 1 << 24  # pixels that memory is taken for because a header says so
_WRITTEN: Final = MappingProxyType(
    {
        "mp4": ("mp4", "h264", "aac"),
        "m4v": ("mp4", "h264", "aac"),
        "mov": ("mov", "h264", "aac"),
        "mkv": ("matroska", "h264", "aac"),
        "webm": ("webm", "vp9", "libopus"),
        "avi": ("avi", "mpeg4", "mp3"),
        "ts": ("mpegts", "h264", "aac"),
        "gif": ("gif", "gif", None),
    }
)
"""Suffixes of films that are written: FFmpeg's container, and the codecs of frames and sound unless told."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a film."""

    array: Bytes
    """(height, width, 3), RGB."""
    number: int
    """From 0, of all frames of the film. Where it was not read from its beginning: its time by the frame rate."""
    time: float
    """Seconds after the first frame."""
    is_keyframe: bool


@dataclass(frozen=True, slots=True)
class Film:
    """All frames of a film, or those that were asked for."""

    array: Bytes
    """(frames, height, width, 3), RGB."""
    frame_rate: float | None
    """Frames a second, on average, in the file."""
    keyframe_indices: list[int]
    """Which rows of the array are key frames."""


# ------------------------------------------------------------------------------------------------ reading


def frames(
    source: files.Source,
    *,
    only_keyframes: bool = False,
    start: float | None = None,
    stop: float | None = None,
    every: int = 1,
    width: int | None = None,
    height: int | None = None,
    max_pixels: int | None = MAX_FRAME,
    **settings: Any,
) -> Iterator[Frame]:
    """The frames of a film one after the other; no more than a few are in memory, however long it is.

    Args:
        source: bytes, a path, a URL of fsspec, or a file opened in binary mode, which must stay open.
        only_keyframes: those that are whole in themselves; the others are not even decoded.
        start, stop: seconds; frames with start <= time < stop. What lies before is jumped over.
        every: each n-th of those frames, beginning with the first.
        width, height: pixels to scale to, each by itself; None leaves that side as it is.
        max_pixels: of one frame, at most, as it is in the file; None is no limit.
        settings: of `av.open`, such as `format=` or `options={...}`.

    Raises, at the frame where it is noticed:
        CorruptData: it is damaged, cut off, or no film. UnsupportedFormat: a frame has more than `max_pixels`, or
        there is sound alone. FileNotFoundError: nothing is there.

    >>> film = encode(np.zeros((3, 32, 48, 3), dtype=np.uint8), frame_rate=10)
    >>> [(frame.array.shape, frame.time) for frame in frames(film, every=2)]
    [((32, 48, 3), 0.0), ((32, 48, 3), 0.2)]
    """
    plan = _Plan(only_keyframes, start, stop, every, width, height, max_pixels)
    return _each(source, plan, settings)


def _each(source: files.Source, plan: _Plan, settings: dict[str, Any]) -> Iterator[Frame]:
    with _opened(source, plan, settings) as track:
        yield from track.frames()


def decode(
    source: files.Source,
    *,
    only_keyframes: bool = False,
    start: float | None = None,
    stop: float | None = None,
    every: int = 1,
    width: int | None = None,
    height: int | None = None,
    max_pixels: int | None = MAX_PIXELS,
    **settings: Any,
) -> Film:
    """The frames of a film as one array, uint8 (frames, height, width, 3); options and errors as of `frames`.

    Args:
        max_pixels: of all frames together, as large as they are kept; None is no limit. It is looked at frame by
            frame: what a header says takes no memory.

    Raises:
        UnsupportedFormat: there are more pixels. Fewer frames or smaller ones go in, or `frames` one after the other.

    Memory: the array.

    >>> film = decode(encode(np.full((3, 32, 48, 3), 90, dtype=np.uint8), frame_rate=10))
    >>> film.array.shape, film.frame_rate, film.keyframe_indices
    ((3, 32, 48, 3), 10.0, [0])
    """
    one = MAX_FRAME if max_pixels is None else min(MAX_FRAME, _whole("max_pixels", max_pixels))
    plan = _Plan(only_keyframes, start, stop, every, width, height, one)
    with _opened(source, plan, settings) as track:
        return _gathered(track, max_pixels)


def _gathered(track: _Track, most: int | None) -> Film:
    held: Bytes | None = None
    count, keys = 0, list[int]()
    for frame in track.frames(one_size=True):
        area = frame.array.shape[0] * frame.array.shape[1]
        if most is not None and (count + 1) * area > most:
            raise UnsupportedFormat(
                f"frames of {frame.array.shape[1]} x {frame.array.shape[0]} pixels are more than max_pixels={most} in "
                f"all, after {count} of them: give a larger number, fewer or smaller frames (start=, stop=, every=, "
                "width=, height=), or take one after the other by iter_video_frames()"
            )
        if held is None:
            size = max(1, min(track.expected or 16, _FIRST // area))
            held = np.empty((size, *frame.array.shape), dtype=np.uint8)
        elif count == len(held):
            held.resize((2 * count, *held.shape[1:]), refcheck=False)
        held[count] = frame.array
        if frame.is_keyframe:
            keys.append(count)
        count += 1
    if held is None:
        held = np.empty((0, *track.shape, 3), dtype=np.uint8)
    if count < len(held):
        held.resize((count, *held.shape[1:]), refcheck=False)
    return Film(held, track.frame_rate, keys)


def _whole(name: str, value: object) -> int:
    try:
        number = 0 if isinstance(value, bool) else operator.index(cast("Any", value))
    except TypeError:
        number = 0
    if number < 1:
        raise BadValue(f"{name}={value!r}: a whole number, 1 or more, is wanted")
    return number


def _seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise BadValue(f"{name}={value!r}: a number of seconds, 0 or more, is wanted")
    return float(value)


class _Plan:
    """How a film is read: the options of `frames`, checked."""

    def __init__(
        self,
        only_keyframes: bool,
        start: float | None,
        stop: float | None,
        every: int,
        width: int | None,
        height: int | None,
        max_pixels: int | None,
    ) -> None:
        self.only_keyframes = bool(only_keyframes)
        self.start = _seconds("start", start) or 0.0
        self.stop = _seconds("stop", stop)
        if self.stop is not None and self.stop < self.start:
            raise BadValue(f"stop={stop!r}: it is before start={start!r}")
        self.every = _whole("every", every)
        self.width = None if width is None else _whole("width", width)
        self.height = None if height is None else _whole("height", height)
        self.max_pixels = None if max_pixels is None else _whole("max_pixels", max_pixels)


@contextmanager
def _opened(source: files.Source, plan: _Plan, settings: dict[str, Any]) -> Generator[_Track]:
    with containers.seekable(source) as stream:
        if not stream.read(1):
            raise CorruptData("the file is empty: there is no film in it")
        containers.check_whole(stream)
        with containers.opened(stream, "film", **settings) as container:
            yield _Track(container, plan)


class _Track:
    """The first track of frames of a film that is open."""

    def __init__(self, container: Any, plan: _Plan) -> None:
        # The cover of a record is a track of one frame.
        pictures = containers.library().stream.Disposition.attached_pic
        tracks = [each for each in container.streams.video if not each.disposition & pictures]
        if not tracks:
            hint = ", only sound: load_uri_to_audio_tensor() takes it" if container.streams.audio else ""
            raise UnsupportedFormat(f"there are no frames in this file{hint}")
        self.container = container
        self.plan = plan
        self.stream = tracks[0]
        context = self.stream.codec_context
        if context is None:
            raise UnsupportedFormat("the film is in a codec that PyAV does not have")
        self.check(context.width, context.height)
        if plan.max_pixels is not None:  # a frame may be larger than the header says
            context.options = {**(context.options or {}), "max_pixels": str(plan.max_pixels + 1024)}
        context.thread_type = "AUTO"
        context.thread_count = min(_THREADS, os.cpu_count() or 1)
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.rate: Fraction | None = rate or None
        self.frame_rate = float(rate) if rate else None
        self.zero = self.stream.start_time
        self.expected: int = self.stream.frames or 0
        self.shape = (plan.height or context.height, plan.width or context.width)
        self.size: tuple[int, int] | None = None
        self.scaler: Any = containers.library().video.reformatter.VideoReformatter()

    def check(self, width: int, height: int) -> None:
        most = self.plan.max_pixels
        if most is not None and width * height > most:
            raise UnsupportedFormat(
                f"a frame of {width} x {height} pixels is more than max_pixels={most}; "
                "give a larger number if that is meant"
            )

    def frames(self, one_size: bool = False) -> Iterator[Frame]:
        """Those of the plan; all scaled to the size of the first where one size is wanted."""
        plan, found = self.plan, self.decoded()
        taken = 0
        while True:
            with containers.decoding("film"):
                following = next(found, None)
            if following is None:
                return
            frame, count = following
            time = self.time(frame, count)
            if plan.stop is not None and time >= plan.stop - 1e-9:
                found.close()
                return
            if time < plan.start - 1e-9:
                continue
            taken += 1
            if (taken - 1) % plan.every:
                continue
            number = count if count is not None else round(time * (self.frame_rate or _RATE))
            with containers.decoding("film"):
                array = self.array(frame, one_size)
            yield Frame(array, number, time, bool(frame.key_frame))

    def time(self, frame: Any, count: int | None) -> float:
        if frame.pts is None:  # raw streams know no times
            return (count or 0) / (self.frame_rate or _RATE)
        if self.zero is None:
            self.zero = frame.pts
        return float((frame.pts - self.zero) * frame.time_base)

    def decoded(self) -> Generator[tuple[Any, int | None]]:
        """Frames, and their numbers where these are known."""
        count: int | None = 0
        if self.plan.start and self.zero is not None:
            offset = self.zero + int(self.plan.start / self.stream.time_base)
            self.container.seek(offset, stream=self.stream, backward=True)
            count = None
        if self.plan.only_keyframes:
            self.stream.codec_context.skip_frame = "NONKEY"
            numbers: dict[int | None, int] = {}
            packets = 0
            for packet in self.packets():
                if packet.size and packet.is_keyframe:
                    numbers[packet.pts] = packets
                packets += bool(packet.size)
                for frame in packet.decode() if packet.is_keyframe or not packet.size else ():
                    number = numbers.pop(frame.pts, None)
                    yield frame, number if count is not None else None
            return
        for packet in self.packets():
            for frame in packet.decode():
                yield frame, count
                count = None if count is None else count + 1

    def packets(self) -> Iterator[Any]:
        for packet in self.container.demux(self.stream):
            if packet.is_corrupt:
                raise CorruptData("the film is damaged or cut off: a part of it is missing")
            yield packet

    def array(self, frame: Any, one_size: bool) -> Bytes:
        self.check(frame.width, frame.height)
        turns = round(frame.rotation / 90) % 4
        width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        if one_size:
            if self.size is None:
                self.size = width, height
            width, height = self.size
        width, height = self.plan.width or width, self.plan.height or height
        if turns % 2:
            width, height = height, width
        array = self.scaler.reformat(frame, width, height, "rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(array, turns)) if turns else array


# ------------------------------------------------------------------------------------------------ writing


def encode(
    array: Any,
    file: Any = None,
    frame_rate: float = _RATE,
    codec: str | None = None,
    *,
    audio: Any = None,
    sample_rate: int | None = None,
    file_format: str | None = None,
    **options: Any,
) -> bytes:
    """Frames as a film; its bytes are given where no file is.

    Args:
        array: uint8 (frames, height, width, 3), RGB.
        file: a path, a URL, or a file opened in binary mode; b'' is given then.
        frame_rate: frames a second.
        codec: of FFmpeg, such as 'h264', 'hevc', 'vp9', 'mpeg4', 'ffv1'; by the container unless given.
        audio: its sound, as `docarray.media.audio.samples_of` takes it, at `sample_rate` Hz.
        file_format: mp4, mov, mkv, webm, avi, ts or gif; by the suffix of the file unless given, else mp4.
        options: of the codec, such as `crf=18` or `preset='fast'`; `pix_fmt=` is how it keeps colours.

    Raises:
        ShapeError: it is no film, or has no frame. BadValue: the codec does not take that, or not in that container.

    Lossy codecs halve the resolution of colours. Where a side is odd h264 and others cannot: `pix_fmt` is yuv444p
    then, which keeps the size, and which some players do not play; cut or pad the frames to even sides for these.

    >>> encode(np.zeros((2, 32, 32, 3), dtype=np.uint8))[4:8]
    b'ftyp'
    """
    stack, rate = _checked(array), _frame_rate(frame_rate)
    if file_format is None:
        suffix = [] if file is None else files.suffixes(file)[-1:]
        file_format = suffix[0] if suffix else "mp4"
    key = str(file_format).lower().lstrip(".")
    if key not in _WRITTEN:
        raise UnknownName(f"no format of film is written as {file_format!r}. {near_miss(key, _WRITTEN)}")
    samples = None
    if audio is not None:
        if sample_rate is None:
            raise BadValue("audio= is given without sample_rate=, in Hz")
        samples = sound.samples_of(audio)
        if key == "gif":
            raise BadValue("a gif has no sound")
        if samples.ndim == 2 and samples.shape[1] > 2:
            raise ShapeError(f"the sound has {samples.shape[1]} channels: films are written with 1 or 2")
    with tempfile.SpooledTemporaryFile(1 << 26) as gathered:
        target = cast("BinaryIO", gathered)
        _write(target, stack, rate, key, codec, samples, sample_rate or 0, options)
        target.seek(0)
        if file is None:
            return target.read()
        with files.writing(file) as written:
            shutil.copyfileobj(target, written, 1 << 20)
    return b""


def _checked(array: Any) -> Bytes:
    stack = tensors.to_numpy(array)
    if stack.dtype != np.uint8 or stack.ndim != 4 or stack.shape[3] != 3:
        raise ShapeError(
            f"an array of {stack.dtype}, {stack.shape}, is no film: uint8 (frames, height, width, 3) is wanted"
        )
    if not stack.size:
        raise ShapeError(f"an array of shape {stack.shape} has no frames: there is nothing to write")
    return stack


def _frame_rate(value: object) -> Fraction:
    try:
        rate = Fraction(0) if isinstance(value, bool) else Fraction(cast("Any", value))
    except (TypeError, ValueError, OverflowError):
        rate = Fraction(0)
    # 29.97002997 is 30000/1001 to those who show it.
    rate = rate.limit_denominator(1001)
    if not 0 < rate <= 1000:
        raise BadValue(f"frame_rate={value!r}: a number of frames a second is wanted, above 0 and up to 1000")
    return rate


def _write(
    target: BinaryIO,
    stack: Bytes,
    rate: Fraction,
    key: str,
    codec: str | None,
    samples: npt.NDArray[np.float32] | None,
    sample_rate: int,
    options: dict[str, Any],
) -> None:
    av = containers.library()
    container_format, usual, sound_codec = _WRITTEN[key]
    name = codec or usual
    _, height, width, _ = stack.shape
    settings = {option: str(value) for option, value in options.items()}
    pix_fmt = settings.pop("pix_fmt", None) or _pix_fmt(av, name, width, height)
    try:
        with containers.quiet("libav"), av.open(target, "w", format=container_format) as container:
            film = container.add_stream(name, rate=rate, options=settings)
            film.width, film.height, film.pix_fmt = width, height, pix_fmt
            film.codec_context.time_base = 1 / rate
            track = None if samples is None else _Sound(av, container, sound_codec, samples, sample_rate)
            scaler = av.video.reformatter.VideoReformatter()
            for i, array in enumerate(stack):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
                frame.pts, frame.time_base = i, 1 / rate
                shaped = scaler.reformat(frame, format=pix_fmt)
                shaped.pts, shaped.time_base = i, 1 / rate
                container.mux(film.encode(shaped))
                if track is not None:  # side by side, or the one would wait in memory for the other
                    track.write(float((i + 1) / rate))
            container.mux(film.encode(None))
            if track is not None:
                track.write(None)
    except DocArrayError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not type(error).__module__.startswith("av"):
            raise
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadValue(
            f"{width} x {height} pixels as {name!r} ({pix_fmt}) in {key!r} cannot be written: {said}. The codec "
            f"that is usual there is {usual!r}"
        ) from error


def _pix_fmt(av: Any, codec: str, width: int, height: int) -> str:
    try:
        known = [each.name for each in av.Codec(codec, "w").video_formats or ()]
    except ValueError as error:  # what PyAV raises for a codec that it does not know
        raise UnknownName(f"no codec of FFmpeg is called {codec!r}, or it cannot write") from error
    odd = width % 2 or height % 2
    wanted = ("yuv444p", "bgr0", "rgb24") if odd else ("yuv420p", "yuvj420p")
    if codec == "gif":
        wanted = ("rgb8", *wanted)
    return next((each for each in wanted if each in known), known[0] if known else "yuv420p")


class _Sound:
    """The sound track of a film that is being written."""

    def __init__(
        self, av: Any, container: Any, codec: str | None, samples: npt.NDArray[np.float32], sample_rate: int
    ) -> None:
        self.av = av
        self.container = container
        self.samples = samples[:, None] if samples.ndim == 1 else samples
        self.rate = sample_rate
        self.layout = "mono" if self.samples.shape[1] == 1 else "stereo"
        rates = av.Codec(codec, "w").audio_rates
        ours = sample_rate if not rates or sample_rate in rates else 48_000
        self.stream = container.add_stream(codec, rate=ours, layout=self.layout)
        self.at = 0

    def write(self, until: float | None) -> None:
        """The samples up to that second; None is all that are left, and the end."""
        end = len(self.samples) if until is None else min(len(self.samples), round(until * self.rate))
        while self.at < end:
            block = self.samples[self.at : min(end, self.at + (1 << 16))]
            frame = self.av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block).reshape(1, -1), format="flt", layout=self.layout
            )
            frame.sample_rate, frame.pts, frame.time_base = self.rate, self.at, Fraction(1, self.rate)
            self.container.mux(self.stream.encode(frame))
            self.at += len(block)
        if until is None:
            self.container.mux(self.stream.encode(None))


# ------------------------------------------------------------------------------------------------ documents


@contextmanager
def _source(
    doc: Document, timeout: float | None, max_size: int | None, schemes: Sequence[str] | None
) -> Generator[BinaryIO]:
    """What the uri leads to; the blob where there is no uri."""
    if doc.uri:
        with fetch.opened(doc.uri, timeout=timeout, max_size=max_size, schemes=schemes) as stream:
            yield stream
    elif doc.blob:
        yield io.BytesIO(doc.blob)
    else:
        raise BadValue("it has neither uri nor blob: there is no film to read")


def load_uri_to_video_tensor(
    doc: Document,
    only_keyframes: bool = False,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """Sets the tensor to the frames of the film at the uri, or in `blob` where there is no uri.

    `tags['keyframe_indices']` lists which of them are key frames, `tags['frame_rate']` is in frames a second.

    Args:
        timeout, max_size, schemes: as of `docarray.media.fetch.read`.
        options: as of `decode`.
    """
    with fetch.naming(doc), _source(doc, timeout, max_size, schemes) as stream:
        film = decode(stream, only_keyframes=only_keyframes, **options)
    _set(doc, film)


def convert_blob_to_video_tensor(doc: Document, only_keyframes: bool = False, **options: Any) -> None:
    """Sets the tensor to the frames of the film in `blob`; see `load_uri_to_video_tensor`."""
    with fetch.naming(doc):
        blob = doc.blob
        if not blob:
            raise BadValue("it has no blob to decode; load_uri_to_video_tensor() takes the film at its uri")
        film = decode(blob, only_keyframes=only_keyframes, **options)
    _set(doc, film)


def _set(doc: Document, film: Film) -> None:
    doc.tensor = film.array
    doc.tags["keyframe_indices"] = film.keyframe_indices
    if film.frame_rate is not None:
        doc.tags["frame_rate"] = film.frame_rate


def iter_video_frames(
    doc: Document,
    only_keyframes: bool = False,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
    **options: Any,
) -> Iterator[Document]:
    """A document for each frame of the film at the uri, or in `blob` where there is no uri, one after the other.

    Its `tensor` is the frame, its `offset` the time in seconds, its modality 'image'; `tags['frame']` is its number,
    `tags['keyframe']` a bool. The film is closed when the iterator is at its end, or is dropped.

    Args:
        options: as of `frames`.
    """
    with fetch.naming(doc):
        if not doc.uri and not doc.blob:
            raise BadValue("it has neither uri nor blob: there is no film to read")
    return _documents(doc, only_keyframes, timeout, max_size, schemes, options)


def _documents(
    doc: Document,
    only_keyframes: bool,
    timeout: float | None,
    max_size: int | None,
    schemes: Sequence[str] | None,
    options: dict[str, Any],
) -> Iterator[Document]:
    with fetch.naming(doc), _source(doc, timeout, max_size, schemes) as stream:
        for frame in frames(stream, only_keyframes=only_keyframes, **options):
            yield Document(
                tensor=frame.array,
                offset=frame.time,
                modality="image",
                tags={"frame": frame.number, "keyframe": frame.is_keyframe},
            )


def save_video_tensor_to_file(
    doc: Document,
    file: Any,
    frame_rate: float | None = None,
    codec: str | None = None,
    **options: Any,
) -> None:
    """Writes the frames in `tensor` to a path, a URL or a binary file; options and errors as of `encode`.

    Args:
        frame_rate: frames a second; `tags['frame_rate']` unless given, else 30.
    """
    with fetch.naming(doc):
        if doc.tensor is None:
            raise BadValue("it has no tensor; load_uri_to_video_tensor() loads the film at its uri")
        rate: Any = doc.tags.get("frame_rate", _RATE) if frame_rate is None else frame_rate
        encode(doc.tensor, file, rate, codec, **options)
