"""Short sounds as players on a page, with the standard library and numpy alone.

Rule 1: what is played is WAV that is written here, or bytes that begin as sound does; nothing else is believed.
"""

from __future__ import annotations

import io
import re
import wave
from typing import Any, Final

import numpy as np

from docarray import tensors
from docarray.display.thumbnail import Picture
from docarray.tensors import Array

__all__ = ["RATE", "of_blob", "of_tensor", "rate_of", "samples_of", "sound_type", "wav"]

RATE: Final = 44_100
"""Samples a second where a document does not say."""

_MOST_CHANNELS: Final = 8
_HEADER: Final = 64
_MAGIC: Final = (
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2\xfa]"), "audio/mpeg"),
    (re.compile(rb"....ftypM4A ", re.DOTALL), "audio/mp4"),
)


def samples_of(value: Any) -> Array | None:
    """A sound as an array (samples,) or (samples, channels); None where a tensor is none."""
    if tensors.framework(value) in (None, "list") or tensors.is_sparse(value):
        return None
    shape: tuple[int, ...] = tuple(getattr(value, "shape", ()))
    if len(shape) not in (1, 2) or not all(shape) or (len(shape) == 2 and min(shape) > _MOST_CHANNELS):
        return None
    array = tensors.to_numpy(value)
    if array.dtype.kind not in "iuf":
        return None
    # The old library kept the two channels of a file apart, (2, samples): the short side is that of the channels.
    return array.T if array.ndim == 2 and array.shape[1] > _MOST_CHANNELS else array


def rate_of(value: Any) -> int:
    """Samples a second, of the tag of a document: `RATE` where it is no number that a sound can have."""
    is_rate = isinstance(value, (int, float)) and not isinstance(value, bool) and 100 <= value <= 768_000
    return int(value) if is_rate else RATE


def wav(samples: Array, rate: int) -> bytes:
    """A WAV of 16 bits of samples (n,) or (n, channels): floats are in [-1, 1], and cut off there.

    >>> wav(np.zeros(4), 8000)[:4]
    b'RIFF'
    """
    if samples.dtype.kind == "f":
        whole = np.nan_to_num(samples.astype(np.float64), posinf=1.0, neginf=-1.0).clip(-1, 1) * 32767
    elif samples.dtype == np.uint8:
        whole = (samples.astype(np.int32) - 128) * 256
    else:
        shift = max(0, 8 * samples.dtype.itemsize - 16)
        whole = (samples >> shift).clip(-32768, 32767)
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.astype("<i2").tobytes())
    return target.getvalue()


def sound_type(data: bytes) -> str | None:
    """The media type of sound, by its first bytes; None where they are of none that browsers play."""
    return next((name for magic, name in _MAGIC if magic.match(data)), None)


def of_tensor(value: Any, rate: Any, room: int) -> Picture | None:
    """A sound as WAV, if as text it takes at most `room` bytes; None for all else."""
    samples = samples_of(value)
    if samples is None or (2 * samples.size + _HEADER) * 4 // 3 > room:
        return None
    return Picture("audio/wav", wav(samples, rate_of(rate)))


def of_blob(data: bytes, room: int) -> Picture | None:
    """An encoded sound as it is, if as text it takes at most `room` bytes; None for all else."""
    name = sound_type(data)
    return None if name is None or len(data) * 4 // 3 > room else Picture(name, data)
