"""Films: frames in order and upright, key frames, times, sound, and what is done about damaged and hostile files."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from docarray import Document
from docarray.errors import (
    BadValue,
    CorruptData,
    FormatError,
    ShapeError,
    UnknownName,
    UnsupportedFormat,
)
from docarray.media import audio, video

MEDIA = 'it is of the extra "media": pip install "docarray[media]"'
av = pytest.importorskip("av", reason=MEDIA)

HEIGHT, WIDTH, STEP = 48, 96, 2


def square(count=30, height=HEIGHT, width=WIDTH):
    """A white square that moves to the right by two pixels a frame."""
    stack = np.zeros((count, height, width, 3), dtype=np.uint8)
    for i in range(count):
        stack[i, 8:24, STEP * i % (width - 16) :][:, :16] = 255
    return stack


def place_of(array):
    """The column of the left side of the square."""
    return int((array[12:20].mean(axis=(0, 2)) > 128).argmax())


def film(count=30, rate=10, **options):
    return video.encode(square(count), frame_rate=rate, **{"g": 10, "preset": "ultrafast", **options})


@pytest.fixture(scope="module")
def data():
    return film()


class TestFrames:
    def test_each_frame_is_in_its_place(self, data):
        found = list(video.frames(data))
        assert [frame.number for frame in found] == list(range(30))
        assert [frame.time for frame in found] == pytest.approx([i / 10 for i in range(30)])
        for i, frame in enumerate(found):
            assert frame.array.shape == (HEIGHT, WIDTH, 3)
            assert frame.array.dtype == np.uint8
            assert place_of(frame.array) == pytest.approx(STEP * i, abs=1)

    def test_all_of_them_as_one_array(self, data):
        found = video.decode(data)
        assert np.array_equal(found.array, np.stack([frame.array for frame in video.frames(data)]))
        assert (found.frame_rate, found.keyframe_indices) == (10.0, [0, 10, 20])

    def test_key_frames_know_their_numbers(self, data):
        found = list(video.frames(data, only_keyframes=True))
        assert [frame.number for frame in found] == [0, 10, 20]
        assert [frame.time for frame in found] == pytest.approx([0, 1, 2])
        assert all(frame.is_keyframe for frame in found)
        assert np.array_equal(found[1].array, video.decode(data).array[10])
        assert video.decode(data, only_keyframes=True).keyframe_indices == [0, 1, 2]

    def test_start_stop_and_every(self, data):
        found = list(video.frames(data, start=1.3, stop=2.0, every=3))
        assert [frame.number for frame in found] == [13, 16, 19]
        assert np.array_equal(found[0].array, video.decode(data).array[13])
        assert list(video.frames(data, start=99)) == []
        assert video.decode(data, start=99).array.shape == (0, HEIGHT, WIDTH, 3)
        assert [frame.number for frame in video.frames(data, start=1.5, only_keyframes=True)] == [20]

    def test_scaling(self, data):
        assert next(video.frames(data, width=24, height=12)).array.shape == (12, 24, 3)
        assert video.decode(data, width=24, stop=0.3).array.shape == (3, HEIGHT, 24, 3)

    @pytest.mark.parametrize("options", [{"every": 0}, {"start": -1}, {"width": 0}, {"start": 2, "stop": 1}])
    def test_options_that_make_no_sense(self, data, options):
        with pytest.raises(BadValue, match=next(iter(options))):
            video.frames(data, **options)

    @pytest.mark.parametrize("degrees", [90, 180, 270])
    def test_films_of_phones_are_upright(self, data, degrees):
        """The matrix of the track header turns the picture; 90 is clockwise, and puts the upper left to the right."""
        matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
        turned = bytearray(data)
        at = turned.index(b"tkhd") + 4 + 40
        a, b, c, d = (value << 16 for value in matrix)
        turned[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        found = video.decode(bytes(turned)).array
        straight = video.decode(data).array
        assert np.array_equal(found, np.rot90(straight, -degrees // 90, axes=(1, 2)))
        if degrees == 90:
            assert next(video.frames(bytes(turned), width=20, height=40)).array.shape == (40, 20, 3)

    def test_a_long_film_takes_no_more_memory_than_a_short_one(self):
        long = film(count=600, rate=30)
        tracemalloc.start()
        try:
            assert sum(1 for _ in video.frames(long)) == 600
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 40 * HEIGHT * WIDTH * 3 + (1 << 20)  # all are 8 MiB

    def test_an_iterator_that_is_dropped_ends_all(self, tmp_path, data):
        path = tmp_path / "a.mp4"
        path.write_bytes(data)
        before = threads()
        found = video.frames(path)
        next(found)
        found.close()
        del found
        assert threads() == before
        assert not is_open("a.mp4")
        path.write_bytes(data[:-500])
        with pytest.raises(CorruptData):
            list(video.frames(path))
        assert threads() == before
        assert not is_open("a.mp4")


def threads():
    return (
        len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else threading.active_count()
    )


def is_open(name):
    if not os.path.isdir("/proc/self/fd"):
        return False
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return any(name in each for each in names)


class TestWriting:
    @pytest.mark.parametrize("name", ["mp4", "mov", "mkv", "webm", "avi", "ts", "gif"])
    def test_each_container(self, tmp_path, name):
        path = tmp_path / f"a.{name}"
        doc = Document(tensor=square(8)).save_video_tensor_to_file(path, frame_rate=10)
        found = Document(uri=str(path)).load_uri_to_video_tensor()
        assert found.tensor.shape == doc.tensor.shape
        assert found.tags["frame_rate"] == pytest.approx(10, rel=0.01)
        assert [place_of(each) for each in found.tensor] == pytest.approx([STEP * i for i in range(8)], abs=1)

    @pytest.mark.parametrize("shape", [(33, 47), (32, 47), (33, 48), (2, 2), (17, 16)])
    def test_odd_sizes_are_kept(self, shape):
        stack = np.full((3, *shape, 3), 100, dtype=np.uint8)
        found = video.decode(video.encode(stack)).array
        assert found.shape == stack.shape
        assert np.abs(found.astype(int) - 100).max() < 4

    def test_without_loss(self):
        noise = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        assert np.array_equal(
            video.decode(video.encode(noise, file_format="mkv", codec="ffv1", pix_fmt="bgr0")).array, noise
        )

    @pytest.mark.parametrize("rate", [29.97, 23.976, 60, 12.5, 0.5])
    def test_rates(self, rate):
        found = video.decode(video.encode(square(4), frame_rate=rate))
        assert found.frame_rate == pytest.approx(rate, rel=1e-3)
        doc = Document(blob=video.encode(square(4), frame_rate=rate)).convert_blob_to_video_tensor()
        target = io.BytesIO()
        doc.save_video_tensor_to_file(target)  # at the rate that it had
        assert video.decode(target.getvalue()).frame_rate == pytest.approx(rate, rel=1e-3)

    @pytest.mark.parametrize(
        "array", [square(2).astype(float), square(2)[0], square(2)[..., :2], square(2)[:0]]
    )
    def test_what_is_no_film(self, array, tmp_path):
        with pytest.raises(ValueError, match="document 'd'"):
            Document(id="d", tensor=array).save_video_tensor_to_file(tmp_path / "a.mp4")
        assert os.listdir(tmp_path) == []

    def test_what_a_codec_or_container_does_not_take(self, tmp_path):
        with pytest.raises(BadValue, match="'vp9'"):
            video.encode(square(2), file_format="webm", codec="h264")
        with pytest.raises(UnknownName, match="h265000"):
            video.encode(square(2), codec="h265000")
        with pytest.raises(UnknownName, match="mp4"):
            Document(tensor=square(2)).save_video_tensor_to_file(tmp_path / "a.mp5")
        for rate in (0, -1, float("nan"), "fast", True):
            with pytest.raises(BadValue, match="frame_rate"):
                video.encode(square(2), frame_rate=rate)
        assert os.listdir(tmp_path) == []

    def test_an_open_file_is_written_where_it_stands(self):
        target = io.BytesIO(b"before")
        target.seek(6)
        Document(tensor=square(3)).save_video_tensor_to_file(target)
        assert target.getvalue()[:6] == b"before"
        target.seek(6)
        assert len(video.decode(target).array) == 3


class TestSound:
    @pytest.mark.parametrize("name", ["mp4", "mkv", "webm", "avi"])
    @pytest.mark.parametrize("rate", [44_100, 48_000])
    def test_a_film_with_sound_gives_both(self, tmp_path, name, rate):
        seconds = np.arange(2 * rate) / rate
        sound = np.stack([np.sin(seconds * 2 * np.pi * hertz) * 0.5 for hertz in (440, 880)], axis=1)
        path = tmp_path / f"a.{name}"
        Document(tensor=square(20)).save_video_tensor_to_file(path, 10, audio=sound, sample_rate=rate)
        assert len(Document(uri=str(path)).load_uri_to_video_tensor().tensor) == 20
        doc = Document(uri=str(path)).load_uri_to_audio_tensor()
        assert doc.tensor.shape[1] == 2
        assert len(doc.tensor) == pytest.approx(2 * doc.tags["sample_rate"], rel=0.05)
        for i, hertz in enumerate((440, 880)):
            spectrum = np.abs(np.fft.rfft(doc.tensor[:, i]))
            assert spectrum.argmax() * doc.tags["sample_rate"] / len(doc.tensor) == pytest.approx(
                hertz, abs=2
            )

    def test_a_film_without_sound_and_a_sound_without_film(self, data):
        with pytest.raises(UnsupportedFormat, match=r"document 'd'.*without sound"):
            Document(id="d", blob=data).convert_blob_to_audio_tensor()
        for name in ("wav", "mp3", "flac"):
            with pytest.raises(UnsupportedFormat, match="no frames in this file, only sound"):
                video.decode(audio.encode(np.zeros(9000), 16_000, name))
        with pytest.raises(BadValue, match="sample_rate"):
            video.encode(square(2), audio=np.zeros(100))
        with pytest.raises(ShapeError, match="channels"):
            video.encode(square(2), audio=np.zeros((100, 3)), sample_rate=8000)


class TestDamage:
    @pytest.mark.parametrize("name", ["mp4", "mkv", "avi"])
    @pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
    def test_what_was_cut_off(self, name, share):
        data = video.encode(square(30), file_format=name)
        with pytest.raises(CorruptData):
            video.decode(data[: int(len(data) * share)])

    def test_a_film_whose_index_is_in_front(self, tmp_path):
        target = str(tmp_path / "a.mp4")
        with av.open(target, "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("h264", rate=10)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for array in square(30):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
            container.mux(stream.encode(None))
        data = (tmp_path / "a.mp4").read_bytes()
        assert len(video.decode(data).array) == 30
        with pytest.raises(CorruptData, match="cut off"):
            video.decode(data[:-200])

    @pytest.mark.parametrize("seed", range(8))
    def test_random_bytes(self, seed):
        noise = np.random.default_rng(seed).bytes(5000)
        head = [b"", b"\0\0\0\x20ftypisom", b"\x1aE\xdf\xa3", b"RIFF\x88\x13\0\0AVI LIST"][seed % 4]
        with pytest.raises(FormatError):
            video.decode(head + noise)
        with pytest.raises(CorruptData, match="empty"):
            video.decode(b"")

    @pytest.mark.parametrize("seed", range(6))
    def test_noise_in_the_middle_is_an_error_or_a_picture(self, data, seed):
        broken = bytearray(data)
        at = int(np.random.default_rng(seed).integers(40, len(data) - 300))
        broken[at : at + 200] = np.random.default_rng(seed).bytes(200)
        try:
            found = video.decode(bytes(broken), max_pixels=1 << 22)
        except FormatError:
            return
        assert found.array.shape[1:] == (HEIGHT, WIDTH, 3)

    def test_limits(self, data):
        with pytest.raises(UnsupportedFormat, match=r"after 5 of them.*iter_video_frames"):
            video.decode(data, max_pixels=5 * HEIGHT * WIDTH)
        assert len(video.decode(data, max_pixels=30 * HEIGHT * WIDTH).array) == 30
        with pytest.raises(UnsupportedFormat, match="96 x 48 pixels"):
            next(video.frames(data, max_pixels=100))

    def test_a_picture_is_no_film_and_playlists_open_nothing(self, tmp_path, data):
        (tmp_path / "secret.mp4").write_bytes(data)
        text = f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\n"
        with pytest.raises(CorruptData):
            video.decode(text.encode())

    def test_nothing_is_told_on_the_terminal(self):
        code = (
            "import numpy as np\n"
            "from docarray.media import video\n"
            "from docarray.errors import FormatError\n"
            "data = video.encode(np.random.default_rng(1).integers(0, 255, (9, 32, 32, 3), dtype=np.uint8))\n"
            "for broken in (data[:700], data[:900] + b'?' * 900 + data[1800:], data[300:], data):\n"
            "    try:\n"
            "        video.decode(broken)\n"
            "    except FormatError:\n"
            "        pass\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
        )
        assert (done.stdout, done.stderr) == ("", "")


class TestDocuments:
    def test_tags_of_a_film(self, tmp_path, data):
        path = tmp_path / "a.mp4"
        path.write_bytes(data)
        doc = Document(uri=str(path)).load_uri_to_video_tensor()
        assert doc.tensor.shape == (30, HEIGHT, WIDTH, 3)
        assert doc.tags == {"keyframe_indices": [0, 10, 20], "frame_rate": 10.0}
        doc = Document(uri=str(path)).load_uri_to_video_tensor(only_keyframes=True, format="mp4")
        assert len(doc.tensor) == 3

    def test_a_document_for_each_frame(self, tmp_path, data):
        path = tmp_path / "a.mp4"
        path.write_bytes(data)
        found = list(Document(uri=str(path)).iter_video_frames(every=10))
        assert [doc.offset for doc in found] == pytest.approx([0, 1, 2])
        assert [doc.tags for doc in found] == [{"frame": n, "keyframe": True} for n in (0, 10, 20)]
        assert found[1].tensor.shape == (HEIGHT, WIDTH, 3)
        assert len(list(Document(blob=data).iter_video_frames(only_keyframes=True))) == 3

    def test_a_failure_leaves_all_as_it_was_and_names_the_document(self, tmp_path, data):
        path = tmp_path / "a.mp4"
        path.write_bytes(data[:-99])
        doc = Document(id="d1", uri=str(path), tags={"frame_rate": 5})
        with pytest.raises(CorruptData, match=re.escape(f"document 'd1' ({path})")):
            doc.load_uri_to_video_tensor()
        with pytest.raises(CorruptData, match="document 'd1'"):
            list(doc.iter_video_frames())
        assert doc.tensor is None
        assert doc.tags == {"frame_rate": 5}
        with pytest.raises(BadValue, match="'d2'"):
            Document(id="d2").iter_video_frames()
        with pytest.raises(BadValue, match=r"'d3'.*no tensor"):
            Document(id="d3").save_video_tensor_to_file(path)
        with pytest.raises(FileNotFoundError):
            Document(uri=str(tmp_path / "none.mp4")).load_uri_to_video_tensor()
