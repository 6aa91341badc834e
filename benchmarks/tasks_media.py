"""The work of bench_media.py: files of each medium, decoded by this library and by the library that it stands on.

Files are made at the start of a task; both sides of a row decode the same bytes. `n` is how often, MOST at most.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from tasks import clock, task

MOST = 20


def picture(height: int, width: int, seed: int = 1) -> np.ndarray:
    """Something between a photograph and noise: both would be easy in their own way."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack(
        [np.sin(rows / (20 + 9 * i) + columns / (30 - 5 * i)) * 90 + 120 for i in range(3)], axis=-1
    )
    return np.clip(waves + rng.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)


def _file(name: str, height: int, width: int, **options: Any) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(picture(height, width)).save(target, name, **options)
    return target.getvalue()


def _decode(data: bytes, n: int) -> Iterator[tuple[float, Any]]:
    from docarray import Document

    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                doc = Document(blob=data).convert_blob_to_image_tensor()
        yield clock.seconds / n, int(doc.tensor.sum())


def _pillow(data: bytes, n: int, size: tuple[int, int] | None = None) -> Iterator[tuple[float, Any]]:
    from PIL import Image

    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                opened = Image.open(io.BytesIO(data)).convert("RGB")
                array = np.array(opened if size is None else opened.resize(size))
        yield clock.seconds / n, int(array.sum())


@task
def image_jpeg(n):
    return _decode(_file("JPEG", 480, 640, quality=90), n)


@task
def pillow_jpeg(n):
    return _pillow(_file("JPEG", 480, 640, quality=90), n)


@task
def image_photo(n):
    return _decode(_file("JPEG", 3000, 4000, quality=90), 2)


@task
def pillow_photo(n):
    return _pillow(_file("JPEG", 3000, 4000, quality=90), 2)


@task
def image_png(n):
    return _decode(_file("PNG", 480, 640), n)


@task
def pillow_png(n):
    return _pillow(_file("PNG", 480, 640), n)


@task
def image_webp(n):
    return _decode(_file("WEBP", 480, 640), n)


@task
def pillow_webp(n):
    return _pillow(_file("WEBP", 480, 640), n)


@task
def image_thumbnail(n):
    return _decode(_file("JPEG", 64, 64), n)


@task
def pillow_thumbnail(n):
    return _pillow(_file("JPEG", 64, 64), n)


@task
def image_scaled(n):
    from docarray import Document

    data = _file("JPEG", 480, 640, quality=90)
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                doc = Document(blob=data).convert_blob_to_image_tensor(224, 224)
        yield clock.seconds / n, int(doc.tensor.sum())


@task
def pillow_scaled(n):
    return _pillow(_file("JPEG", 480, 640, quality=90), n, (224, 224))


def _gif() -> bytes:
    from PIL import Image

    first = picture(240, 320)
    frames = [Image.fromarray(np.roll(first, 4 * i, axis=1)) for i in range(20)]
    target = io.BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return target.getvalue()


@task
def image_gif(n):
    from docarray import Document

    data = _gif()
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                doc = Document(blob=data).convert_blob_to_image_tensor()
        yield clock.seconds / n, sum(int(chunk.tensor.sum()) for chunk in doc.chunks)


@task
def pillow_gif(n):
    from PIL import Image, ImageSequence

    data = _gif()
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                opened = Image.open(io.BytesIO(data))
                arrays = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(opened)]
        yield clock.seconds / n, sum(int(array.sum()) for array in arrays)


@task
def image_features(n):
    from docarray.media.features import image_features

    n = min(n, MOST)
    stack = np.stack([picture(480, 640, seed) for seed in range(n)])
    while True:
        with clock:
            vectors = image_features(stack)
        yield clock.seconds / n, len(vectors)


@task
def skimage_hog(n):
    """Gradients alone, of pictures that are scaled and grey already."""
    from skimage.feature import hog

    n = min(n, MOST)
    stack = [picture(64, 64, seed)[..., 1] for seed in range(n)]
    while True:
        with clock:
            vectors = [
                hog(each, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2)) for each in stack
            ]
        yield clock.seconds / n, len(vectors)


def _tune(name: str) -> bytes:
    import soundfile

    seconds = np.arange(60 * 44_100) / 44_100
    noise = np.random.default_rng(1).normal(0, 0.02, (len(seconds), 2))
    tones = np.stack([np.sin(seconds * 2 * np.pi * hertz) * 0.4 for hertz in (440, 660)], axis=1)
    target = io.BytesIO()
    with soundfile.SoundFile(target, "w", 44_100, 2, format=name) as sound:
        for part in np.array_split(
            tones + noise, 60
        ):  # libsndfile has no stack for a minute of Vorbis at once
            sound.write(part)
    return target.getvalue()


def _listen(name: str, n: int) -> Iterator[tuple[float, Any]]:
    from docarray import Document

    data = _tune(name)
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                doc = Document(blob=data).convert_blob_to_audio_tensor()
        yield clock.seconds / n, doc.tensor.shape


def _soundfile(name: str, n: int) -> Iterator[tuple[float, Any]]:
    import soundfile

    data = _tune(name)
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
        yield clock.seconds / n, samples.shape


@task
def audio_wav(n):
    return _listen("WAV", n)


@task
def soundfile_wav(n):
    return _soundfile("WAV", n)


@task
def audio_flac(n):
    return _listen("FLAC", n)


@task
def soundfile_flac(n):
    return _soundfile("FLAC", n)


@task
def audio_ogg(n):
    return _listen("OGG", n)


@task
def soundfile_ogg(n):
    return _soundfile("OGG", n)


@task
def audio_mp3(n):
    return _listen("MP3", n)


@task
def soundfile_mp3(n):
    return _soundfile("MP3", n)


def _film() -> bytes:
    import av

    base = picture(360, 640)
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=25, options={"g": "25", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for i in range(150):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(np.roll(base, 3 * i, axis=1)), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


@task
def video_all(n):
    from docarray import Document

    data = _film()
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                doc = Document(blob=data).convert_blob_to_video_tensor()
        yield clock.seconds / n, len(doc.tensor)


def _av(n: int, whole: bool, keys: bool = False) -> Iterator[tuple[float, Any]]:
    import av

    data = _film()
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                arrays, count = [], 0
                with av.open(io.BytesIO(data)) as container:
                    container.streams.video[0].thread_type = "AUTO"
                    if keys:
                        container.streams.video[0].codec_context.skip_frame = "NONKEY"
                    for frame in container.decode(video=0):
                        array = frame.to_ndarray(format="rgb24")
                        count += 1
                        if whole:
                            arrays.append(array)
                if whole:
                    np.stack(arrays)
        yield clock.seconds / n, count


@task
def av_all(n):
    return _av(n, True)


@task
def video_frames(n):
    from docarray import Document

    data = _film()
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                count = sum(1 for _ in Document(blob=data).iter_video_frames())
        yield clock.seconds / n, count


@task
def av_frames(n):
    return _av(n, False)


@task
def video_keys(n):
    from docarray import Document

    data = _film()
    n = min(n, MOST)
    while True:
        with clock:
            for _ in range(n):
                count = sum(1 for _ in Document(blob=data).iter_video_frames(only_keyframes=True))
        yield clock.seconds / n, count


@task
def av_keys(n):
    return _av(n, False, keys=True)
