"""Sound: files of any common format to float32 arrays and back, mono and stereo alike.

Rule 1: samples are float32 in [-1, 1], (samples,) of one channel, (samples, channels) of more; the rate is in Hz.
Rule 2: headers are not believed: memory grows with what was decoded, and ends at `max_samples`.
Rule 3: 1.0 is written as the largest number there is, and never turns into -1.
"""

from __future__ import annotations

import io
import math
import operator
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from docarray import files, tensors
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    ShapeError,
    UnknownName,
    UnsupportedFormat,
    near_miss,
)
from docarray.media import containers, fetch
from docarray.registry import require

if TYPE_CHECKING:
    from docarray.document import Document

__all__ = [
    "MAX_SAMPLES",
    "About",
    "about",
    "blocks",
    "convert_audio_tensor_to_blob",
    "convert_blob_to_audio_tensor",
    "decode",
    "encode",
    "load_uri_to_audio_tensor",
    "media_type",
    "resample",
    "samples_of",
    "save_audio_tensor_to_file",
]

Floats: TypeAlias = npt.NDArray[np.float32]

MAX_SAMPLES: Final = 1 << 29
"""Numbers that are decoded into one array at most, unless `max_samples` says otherwise: 2 GiB, 1.7 hours of CD."""

_RATE: Final = 44_100
_PIECE: Final = 1 << 18  # samples that are decoded at a time
_FRAMES: Final = 64  # of some thousand samples each, that FFmpeg decodes at a time
_FIRST: Final = 1 << 24  # numbers that memory is taken for because a header says so
_LOUDEST: Final = 2.0  # lossy formats overshoot 1.0 a little, and this is far more than that
_LEAD: Final = 1.0  # seconds that are decoded before the start: coders of sound need some to swing in

_WIDTHS: Final = MappingProxyType({1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"})
_WRITTEN: Final = MappingProxyType(
    {
        "wav": ("WAV", None, "audio/wav", ("wav", "wave")),
        "flac": ("FLAC", None, "audio/flac", ("flac",)),
        "ogg": ("OGG", "VORBIS", "audio/ogg", ("ogg", "oga")),
        "opus": ("OGG", "OPUS", "audio/ogg", ("opus",)),
        "mp3": ("MP3", "MPEG_LAYER_III", "audio/mpeg", ("mp3",)),
        "aiff": ("AIFF", None, "audio/aiff", ("aiff", "aif")),
        "au": ("AU", None, "audio/basic", ("au", "snd")),
        "caf": ("CAF", None, "audio/x-caf", ("caf",)),
        "w64": ("W64", None, "audio/x-w64", ("w64",)),
        "rf64": ("RF64", None, "audio/wav", ("rf64",)),
    }
)
"""Formats that are written: what libsndfile calls them, its coding where there is no choice, media type, suffixes."""

_BY_SUFFIX: Final = MappingProxyType(
    {suffix: name for name, (_, _, _, known) in _WRITTEN.items() for suffix in known}
)


class About(NamedTuple):
    """What a file says of its sound."""

    sample_rate: int
    channels: int
    seconds: float | None


def _soundfile() -> Any:
    return require("soundfile", "this sound", '"docarray[media]"')


# ------------------------------------------------------------------------------------------------ reading


def about(source: files.Source) -> About:
    """Rate, channels and length of a sound, by its header: nothing is decoded. The length may be None or an estimate.

    Raises:
        CorruptData: it is no sound, or damaged. UnsupportedFormat: it is a film without sound.

    >>> about(encode(np.zeros((800, 2)), 8000))
    About(sample_rate=8000, channels=2, seconds=0.1)
    """
    with _opened(source) as reader:
        return About(reader.sample_rate, reader.channels, reader.seconds)


def decode(
    source: files.Source,
    *,
    start: float | None = None,
    stop: float | None = None,
    mono: bool = False,
    sample_rate: int | None = None,
    max_samples: int | None = MAX_SAMPLES,
) -> tuple[Floats, int]:
    """A sound as float32 in [-1, 1], (samples,) or (samples, channels), and its rate in Hz.

    wav, flac, ogg, opus, aiff and more are decoded by libsndfile; mp3, m4a and the sound track of a film (mp4, mkv,
    webm, ...) by FFmpeg. Lossy formats may overshoot 1 a little.

    Args:
        source: bytes, a path, a URL of fsspec, or a file opened in binary mode.
        start, stop: seconds; None is the beginning, and the end.
        mono: gives the mean of all channels, (samples,).
        sample_rate: Hz to which it is resampled, band-limited, by FFmpeg's libswresample.
        max_samples: numbers that are decoded at most, all channels together; None is no limit.

    Raises:
        CorruptData: it is damaged, cut off, or no sound. UnsupportedFormat: it has more than `max_samples`, or it is
        a film without sound. BadValue: an option. FileNotFoundError: nothing is there.

    A file whose format says its length (all but raw streams, mp3 without the header that most have, and a wav of
    which the writer did not know it) is CorruptData when it is shorter. Memory: the array.

    >>> tone, rate = decode(encode(np.sin(np.arange(8000) / 9), 8000), start=0.25, stop=0.75)
    >>> tone.shape, tone.dtype.name, rate
    ((4000,), 'float32', 8000)
    """
    plan = _Plan(start, stop, mono, sample_rate, max_samples)
    with _opened(source) as reader:
        return plan.array(reader), plan.rate(reader)


def blocks(
    source: files.Source,
    size: int = 1 << 16,
    *,
    start: float | None = None,
    stop: float | None = None,
    mono: bool = False,
    sample_rate: int | None = None,
) -> Iterator[Floats]:
    """A sound piece by piece, of `size` samples each, the last one of fewer; options and errors as of `decode`.

    No more than a few pieces are in memory, however long it is. `about(source)` says the rate. What is given as a
    file must stay open; it is closed when the iterator is at its end or is dropped.

    >>> [len(block) for block in blocks(encode(np.zeros(2500), 8000), 1000)]
    [1000, 1000, 500]
    """
    plan = _Plan(start, stop, mono, sample_rate, None)
    return _each(source, _whole("size", size), plan)


def _each(source: files.Source, size: int, plan: _Plan) -> Iterator[Floats]:
    with _opened(source) as reader:
        held: list[Floats] = []
        count = 0
        for block in plan.pieces(reader):
            held.append(block)
            count += len(block)
            if count < size:
                continue
            rest = np.concatenate(held)
            while len(rest) >= size:
                yield _narrow(rest[:size].copy())
                rest = rest[size:]
            held, count = [rest], len(rest)
        if count:
            yield _narrow(np.concatenate(held))


def _narrow(block: Floats) -> Floats:
    return block[:, 0] if block.shape[1] == 1 else block


def _whole(name: str, value: object) -> int:
    try:
        number = 0 if isinstance(value, bool) else operator.index(cast("Any", value))
    except TypeError:
        number = 0
    if number < 1:
        raise BadValue(f"{name}={value!r}: a whole number, 1 or more, is wanted")
    return number


def _rate(value: object) -> int:
    """A rate in Hz; tags come back from stores as floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    number = _whole("sample_rate", value)
    if number > 1 << 24:
        raise BadValue(f"sample_rate={value!r}: this is no rate of a sound in Hz")
    return number


def _seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise BadValue(f"{name}={value!r}: a number of seconds, 0 or more, is wanted")
    return float(value)


class _Plan:
    """How a sound is read: the options of `decode`, checked."""

    def __init__(
        self,
        start: float | None,
        stop: float | None,
        mono: bool,
        sample_rate: int | None,
        max_samples: int | None,
    ) -> None:
        self.start = _seconds("start", start) or 0.0
        self.stop = _seconds("stop", stop)
        if self.stop is not None and self.stop < self.start:
            raise BadValue(f"stop={stop!r}: it is before start={start!r}")
        self.mono = bool(mono)
        self.sample_rate = None if sample_rate is None else _rate(sample_rate)
        self.max_samples = None if max_samples is None else _whole("max_samples", max_samples)

    def rate(self, reader: _Reader) -> int:
        return self.sample_rate or reader.sample_rate

    def window(self, reader: _Reader) -> tuple[int, int | None]:
        first = round(self.start * reader.sample_rate)
        return first, None if self.stop is None else round(self.stop * reader.sample_rate)

    def pieces(self, reader: _Reader) -> Iterator[Floats]:
        """All of it, as (samples, channels)."""
        found = reader.pieces(*self.window(reader))
        if self.mono and reader.channels > 1:
            found = (block.mean(axis=1, keepdims=True, dtype=np.float32) for block in found)
        if self.sample_rate is not None and self.sample_rate != reader.sample_rate:
            found = _resampled(found, reader.sample_rate, self.sample_rate)
        return found

    def array(self, reader: _Reader) -> Floats:
        channels = 1 if self.mono else reader.channels
        gathered = _Gathered(channels, self.max_samples)
        as_it_is = self.rate(reader) == reader.sample_rate and channels == reader.channels
        if isinstance(reader, _Soundfile) and as_it_is:
            reader.fill(gathered, *self.window(reader))
        else:
            for block in self.pieces(reader):
                gathered.room(len(block), None)[...] = block
                gathered.count += len(block)
        return _narrow(gathered.array())


class _Gathered:
    """An array that grows, up to a limit."""

    def __init__(self, channels: int, most: int | None) -> None:
        self.channels = channels
        self.most = most
        self.count = 0
        self.held: Floats = np.empty((0, channels), dtype=np.float32)

    def room(self, count: int, expected: int | None) -> Floats:
        """Place for some more samples, of which there may be as many as expected in all."""
        wanted = self.count + count
        if self.most is not None and wanted * self.channels > self.most:
            raise UnsupportedFormat(
                f"the sound is more than max_samples={self.most}, {self.most * 4 / 2**30:.1f} GiB: give a larger "
                "number, a part of it by start= and stop=, or take it piece by piece by docarray.media.audio.blocks()"
            )
        if wanted > len(self.held):
            size = max(wanted, 2 * len(self.held))
            if expected is not None:
                size = max(wanted, min(max(size, _FIRST // self.channels), expected))
            if not self.count:
                self.held = np.empty((size, self.channels), dtype=np.float32)
            else:  # the array is ours alone; the system moves its pages, and copies nothing where it is large
                self.held.resize((size, self.channels), refcheck=False)
        return self.held[self.count : wanted]

    def array(self) -> Floats:
        if self.count < len(self.held):
            self.held.resize((self.count, self.channels), refcheck=False)
        return self.held


# ------------------------------------------------------------------------------------------------ libraries


class _Calm:
    """A file for libsndfile, which would show what goes wrong in it on the terminal: here it is kept for later."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self.stream.read(size)
        except Exception as error:
            self.error = error
            return b""

    def readinto(self, target: Any) -> int:
        part = self.read(len(target))
        target[: len(part)] = part
        return len(part)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self.stream.seek(offset, whence)
        except (OSError, ValueError, OverflowError):  # a damaged header leads to before the beginning
            return self.stream.tell()

    def tell(self) -> int:
        return self.stream.tell()


class _Reader:
    """A sound that is open."""

    sample_rate: int
    channels: int
    seconds: float | None

    def pieces(self, first: int, end: int | None) -> Iterator[Floats]:
        raise NotImplementedError


class _Soundfile(_Reader):
    """A sound that libsndfile reads."""

    def __init__(self, sound: Any, calm: _Calm) -> None:
        self.sound = sound
        self.calm = calm
        self.sample_rate = sound.samplerate
        self.channels = sound.channels
        self.count: int = sound.frames  # what the header says
        self.seconds = self.count / self.sample_rate

    def span(self, first: int, end: int | None) -> tuple[int, int]:
        first = min(first, self.count)
        end = self.count if end is None else min(end, self.count)
        if first:
            with containers.decoding("sound"):
                self.sound.seek(first)
        return first, end

    def read(self, target: Floats) -> None:
        with containers.decoding("sound"):
            found = len(self.sound.read(out=target, dtype="float32", always_2d=True))
        if self.calm.error is not None:
            raise self.calm.error
        if found < len(target):
            raise CorruptData(
                f"the sound is damaged or cut off: it ends before the {self.count} samples that it says it has"
            )

    def pieces(self, first: int, end: int | None) -> Iterator[Floats]:
        at, end = self.span(first, end)
        size = max(1, _PIECE // self.channels)
        while at < end:
            block = np.empty((min(size, end - at), self.channels), dtype=np.float32)
            self.read(block)
            yield block
            at += len(block)

    def fill(self, gathered: _Gathered, first: int, end: int | None) -> None:
        at, end = self.span(first, end)
        total, size = end - at, max(1, _FIRST // 4 // self.channels)
        while gathered.count < total:
            count = min(size, total - gathered.count)
            self.read(gathered.room(count, total))
            gathered.count += count


class _Container(_Reader):
    """A sound, or the first sound track of a film, that FFmpeg reads."""

    def __init__(self, container: Any) -> None:
        if not container.streams.audio:
            what = "a film without sound" if container.streams.video else "a file without sound"
            raise UnsupportedFormat(f"this is {what}: there is no sound track in it")
        self.container = container
        self.stream: Any = container.streams.audio[0]
        context = self.stream.codec_context
        if not context.sample_rate or not context.layout.nb_channels:
            raise CorruptData("the sound is damaged or cut off: it does not say its rate and channels")
        self.sample_rate = context.sample_rate
        self.channels = context.layout.nb_channels
        stream = self.stream
        self.seconds = None if stream.duration is None else float(stream.duration * stream.time_base)
        if self.seconds is None and container.duration:
            self.seconds = container.duration / 1e6

    def pieces(self, first: int, end: int | None) -> Iterator[Floats]:
        av = containers.library()
        whole = av.AudioResampler(
            format="flt", layout=self.stream.codec_context.layout, rate=self.sample_rate
        )
        at: int | None = 0
        seconds = first / self.sample_rate
        # Elsewhere the times after a jump are guessed.
        if seconds > 2 * _LEAD and any(name in self.container.format.name for name in ("mp4", "matroska")):
            with containers.decoding("sound"):
                zero = self.stream.start_time or 0
                self.container.seek(
                    zero + int((seconds - _LEAD) / self.stream.time_base), stream=self.stream, backward=True
                )
            at = None
        frames = self.frames()
        while end is None or at is None or at < end:
            found: list[Floats] = []
            with containers.decoding("sound"):
                for frame in islice(frames, _FRAMES):
                    if at is None:
                        at = 0
                        if frame.pts is not None:
                            away = (frame.pts - (self.stream.start_time or 0)) * self.stream.time_base
                            at = max(0, round(away * self.sample_rate))
                    parts = [frame] if frame.format.name == "fltp" else whole.resample(frame)
                    found += [self.numbers(part) for part in parts]
            if not found:
                return
            block = np.concatenate(found)
            at = at or 0
            low, high = max(0, first - at), len(block) if end is None else max(0, min(len(block), end - at))
            if low < high:
                yield block[low:high]
            at += len(block)

    def numbers(self, frame: Any) -> Floats:
        array = frame.to_ndarray()
        block = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
        if frame.sample_rate != self.sample_rate or block.shape[1] != self.channels:
            raise UnsupportedFormat("the sound changes its rate or its channels in the middle")
        return block

    def frames(self) -> Iterator[Any]:
        for packet in self.container.demux(self.stream):
            if packet.is_corrupt:
                raise CorruptData("the sound is damaged or cut off: a part of it is missing")
            yield from packet.decode()


@contextmanager
def _opened(source: files.Source) -> Generator[_Reader]:
    with containers.seekable(source) as stream:
        head = stream.read(16)
        stream.seek(0)
        if not head:
            raise CorruptData("the file is empty: there is no sound in it")
        containers.check_whole(stream)
        why = None
        if not _is_of_container(head):
            library = _soundfile()
            calm = _Calm(stream)
            try:
                sound = library.SoundFile(calm, "r")
            except library.SoundFileError as error:
                if calm.error is not None:
                    raise calm.error from None
                why = error  # coders in a wav that libsndfile does not know; or anything else
                stream.seek(0)
            else:
                with sound:
                    yield _Soundfile(sound, calm)
                return
        try:
            opened = containers.opened(stream, "sound")
            container = opened.__enter__()
        except CorruptData as error:
            said = f"the sound is damaged or cut off: {str(why).rpartition(': ')[2]}" if why else str(error)
            unknown = why is None or "not recogni" in said or "unimplemented" in said
            raise CorruptData("this is no sound, or its header is damaged" if unknown else said) from (
                why or error
            )
        try:
            yield _Container(container)
        finally:
            opened.__exit__(None, None, None)


def _is_of_container(head: bytes) -> bool:
    """Whether FFmpeg is asked first: films, and mp3, of whose oddities libmpg123 tells the whole terminal."""
    return (
        head[4:8] == b"ftyp"
        or head[:4] == b"\x1aE\xdf\xa3"
        or head[:3] in (b"ID3", b"FLV")
        or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0)
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    )


def _resampled(found: Iterator[Floats], old: int, new: int) -> Iterator[Floats]:
    """Pieces (samples, channels) at another rate, each channel for itself."""
    av = containers.library()
    ways: list[Any] = []

    def turned(way: Any, column: Any) -> Floats:
        frame = None
        if column is not None:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(column[None, :]), format="flt", layout="mono"
            )
            frame.sample_rate = old
        with containers.decoding("sound"):
            parts = [part.to_ndarray()[0] for part in way.resample(frame)]
        return np.concatenate([np.empty(0, np.float32), *parts])

    for block in found:
        if not ways:
            ways = [av.AudioResampler(format="flt", layout="mono", rate=new) for _ in range(block.shape[1])]
        size = max(1, _PIECE * old // new)  # from 1 Hz to 48 000 little becomes much
        for at in range(0, len(block), size):
            part = block[at : at + size]
            yield np.stack([turned(way, part[:, i]) for i, way in enumerate(ways)], axis=1)
    if ways:
        yield np.stack([turned(way, None) for way in ways], axis=1)


def resample(array: Any, old_rate: int, new_rate: int) -> Floats:
    """A sound (samples,) or (samples, channels) at another rate in Hz, band-limited, by FFmpeg's libswresample.

    >>> resample(np.zeros((441, 2)), 44100, 16000).shape
    (160, 2)
    """
    samples = samples_of(array)
    old, new = _rate(old_rate), _rate(new_rate)
    if old == new or not len(samples):
        return samples
    table = samples[:, None] if samples.ndim == 1 else samples
    size = max(1, _PIECE // table.shape[1])
    cut = (table[at : at + size] for at in range(0, len(table), size))
    return np.concatenate([part if samples.ndim > 1 else part[:, 0] for part in _resampled(cut, old, new)])


# ------------------------------------------------------------------------------------------------ writing


def samples_of(array: Any) -> Floats:
    """Any array of sound as float32 in [-1, 1], (samples,) or (samples, channels).

    Integers are scaled by the range of their dtype: int8, int16, int32, and uint8, whose middle is 128. Floats between
    -2 and 2 are cut off at -1 and 1, as every player does: that is what lossy formats overshoot.

    Raises:
        BadValue: floats beyond that, or NaN. ShapeError: it is no sound, or has its channels first.

    >>> samples_of(np.array([[-32768, 16384]], dtype=np.int16)).tolist()
    [[-1.0, 0.5]]
    """
    return _checked(array).astype(np.float32, copy=False)


def _checked(array: Any) -> npt.NDArray[Any]:
    """As `samples_of`; float64 of what float32 cannot hold."""
    samples = tensors.to_numpy(array)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not samples.shape[1]):
        raise ShapeError(
            f"an array of shape {samples.shape} is no sound: (samples,) or (samples, channels) is wanted"
        )
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1] and samples.shape[1] > 8:
        raise ShapeError(
            f"an array of shape {samples.shape} has its channels first: give it transposed, as (samples, channels)"
        )
    kind = samples.dtype
    if kind == np.uint8:
        return ((samples.astype(np.float32) - 128) / 128).astype(np.float32)
    if kind in (np.dtype(np.int8), np.dtype(np.int16)):
        return samples.astype(np.float32) / np.float32(-int(np.iinfo(kind).min))
    if kind == np.int32:
        return samples / 2.0**31
    if kind.kind != "f":
        raise BadValue(
            f"numbers of dtype {kind} are no samples: floats in [-1, 1], int8, int16, int32 or uint8 are wanted"
        )
    floats = samples if kind == np.float64 else samples.astype(np.float32, copy=False)
    if not floats.size:
        return floats
    low, high = float(floats.min()), float(floats.max())
    if not (low >= -_LOUDEST and high <= _LOUDEST):  # or NaN
        raise BadValue(
            f"samples go from {low:g} to {high:g}, and a sound is in [-1, 1]: divide it by its largest, or give "
            "integers as an array of integers"
        )
    return floats if low >= -1 and high <= 1 else np.clip(floats, -1, 1)


def _format(name: object) -> str:
    key = str(name).lower().lstrip(".")
    if key not in _BY_SUFFIX:
        raise UnknownName(f"no format of sound is written as {name!r}. {near_miss(key, _WRITTEN)}")
    return _BY_SUFFIX[key]


def media_type(audio_format: str) -> str:
    """The media type of a format that is written.

    >>> media_type('mp3')
    'audio/mpeg'
    """
    return _WRITTEN[_format(audio_format)][2]


def encode(
    array: Any, sample_rate: int = _RATE, audio_format: str = "wav", sample_width: int = 2, **options: Any
) -> bytes:
    """A sound as the bytes of a file.

    Args:
        array: (samples,) or (samples, channels); floats in [-1, 1], or integers, as `samples_of` says.
        sample_rate: Hz.
        audio_format: wav, flac, ogg, opus, mp3, aiff, au, caf, w64 or rf64.
        sample_width: bytes a sample, 1 to 4, in formats that are not lossy; 16 bits come back as they were.
        options: of `soundfile.SoundFile`, such as `compression_level=` (0 to 1).

    Raises:
        BadValue, ShapeError: it is no sound, or the format does not take that rate, width or number of channels.
        UnknownName: there is no such format.

    >>> samples = np.array([-1, 0, 0.25, 1])
    >>> decode(encode(samples))[0].tolist()
    [-1.0, 0.0, 0.25, 0.999969482421875]
    """
    target = io.BytesIO()
    _write(target, array, _rate(sample_rate), _format(audio_format), sample_width, options)
    return target.getvalue()


def _write(
    target: BinaryIO, array: Any, rate: int, audio_format: str, width: int, options: dict[str, Any]
) -> None:
    container, coding, _, _ = _WRITTEN[audio_format]
    if width not in _WIDTHS:
        raise BadValue(f"sample_width={width!r}: bytes a sample are 1, 2, 3 or 4")
    samples = _checked(array)
    library = _soundfile()
    numbers = coding is None
    if coding is None:
        coding = _WIDTHS[width]
        if width == 1 and container in ("WAV", "W64", "RF64"):
            coding = "PCM_U8"
        if not library.check_format(container, coding):
            raise BadValue(f"sample_width={width}: {audio_format} takes up to 3 bytes a sample")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    try:
        sound = library.SoundFile(target, "w", rate, channels, coding, format=container, **options)
    except (library.SoundFileError, TypeError, ValueError) as error:
        said = str(error).rpartition(": ")[2]
        raise BadValue(
            f"{audio_format} of {channels} channels at {rate} Hz cannot be written: {said}"
        ) from error
    with sound:
        for at in range(0, len(samples), _PIECE):
            block = samples[at : at + _PIECE]
            sound.write(_whole_numbers(block, width) if numbers else np.ascontiguousarray(block, np.float32))
    if not target.seek(0, io.SEEK_END):
        raise BadValue(f"a sound of no samples cannot be written as {audio_format}; wav takes it")


def _whole_numbers(block: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Samples as integers, in the upper bits of int16 or int32, of which the format takes as many as it has."""
    scale = 2 ** (8 * width - 1)
    exact = block if width <= 2 else block.astype(np.float64)  # float32 has 24 bits
    whole = np.minimum(np.rint(exact * exact.dtype.type(scale)), scale - 1)
    if width <= 2:
        return whole.astype(np.int16) << (8 if width == 1 else 0)
    return whole.astype(np.int32) << (8 if width == 3 else 0)


# ------------------------------------------------------------------------------------------------ documents


def load_uri_to_audio_tensor(
    doc: Document,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """Sets the tensor to the sound at the uri, and `tags['sample_rate']` to its rate in Hz.

    Args:
        timeout, max_size, schemes: as of `docarray.media.fetch.read`.
        options: as of `decode`.
    """
    with fetch.naming(doc):
        if not doc.uri:
            raise BadUri("it has no uri: there is nothing to read")
        with fetch.opened(doc.uri, timeout=timeout, max_size=max_size, schemes=schemes) as stream:
            found = decode(stream, **options)
    _set(doc, *found)


def convert_blob_to_audio_tensor(doc: Document, **options: Any) -> None:
    """Sets the tensor to the sound in `blob`, and `tags['sample_rate']`; options and errors as of `decode`."""
    with fetch.naming(doc):
        blob = doc.blob
        if not blob:
            raise BadValue("it has no blob to decode; load_uri_to_audio_tensor() takes the sound at its uri")
        found = decode(blob, **options)
    _set(doc, *found)


def _set(doc: Document, samples: Floats, rate: int) -> None:
    doc.tensor = samples
    doc.tags["sample_rate"] = rate


def _sound_of(doc: Document, sample_rate: int | None) -> tuple[Any, int]:
    if doc.tensor is None:
        raise BadValue("it has no tensor; load_uri_to_audio_tensor() loads the sound at its uri")
    rate: Any = doc.tags.get("sample_rate", _RATE) if sample_rate is None else sample_rate
    return doc.tensor, _rate(rate)


def save_audio_tensor_to_file(
    doc: Document,
    file: Any,
    sample_rate: int | None = None,
    sample_width: int = 2,
    audio_format: str | None = None,
    **options: Any,
) -> None:
    """Writes the sound in `tensor` to a path, a URL or a file opened in binary mode; options and errors as of `encode`.

    Args:
        sample_rate: Hz; `tags['sample_rate']` unless given, else 44 100.
        audio_format: by the suffix unless given; a name without suffix, or a file without name, is a wav.
    """
    import shutil
    import tempfile

    with fetch.naming(doc):
        samples, rate = _sound_of(doc, sample_rate)
        if audio_format is None:
            suffix = files.suffixes(file)[-1:]
            audio_format = suffix[0] if suffix else "wav"
        name = _format(audio_format)
        with tempfile.SpooledTemporaryFile(1 << 26) as gathered:
            _write(cast("BinaryIO", gathered), samples, rate, name, sample_width, options)
            gathered.seek(0)
            with files.writing(file) as target:
                shutil.copyfileobj(gathered, target, 1 << 20)


def convert_audio_tensor_to_blob(
    doc: Document,
    sample_rate: int | None = None,
    audio_format: str = "wav",
    sample_width: int = 2,
    **options: Any,
) -> None:
    """Sets the blob to the sound in `tensor`, encoded, and `mime_type` to what it is; errors as of `encode`."""
    with fetch.naming(doc):
        samples, rate = _sound_of(doc, sample_rate)
        data = encode(samples, rate, audio_format, sample_width, **options)
        kind = media_type(audio_format)
    doc.blob = data
    doc.mime_type = kind
