"""Sound: what every format gives back, what every dtype is written as, and what is done about damaged files."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    FormatError,
    ShapeError,
    UnknownName,
    UnsupportedFormat,
)
from docarray.media import audio

MEDIA = 'it is of the extra "media": pip install "docarray[media]"'
soundfile = pytest.importorskip("soundfile", reason=MEDIA)
av = pytest.importorskip("av", reason=MEDIA)

RATE = 16_000


def tone(hertz=440.0, seconds=1.0, rate=RATE, loud=0.5):
    return (np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * hertz / rate) * loud).astype(np.float32)


def hertz_of(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * rate / len(samples)


def two():
    return np.stack([tone(440), tone(880)], axis=1)


def m4a(samples, rate=44_100, name="mp4", codec="aac"):
    target = io.BytesIO()
    with av.open(target, "w", format=name) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono" if samples.ndim == 1 else "stereo")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), format="flt", layout=stream.layout.name
        )
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


LOSSLESS = ["wav", "flac", "aiff", "au", "caf", "w64", "rf64"]


class TestFormats:
    @pytest.mark.parametrize("name", LOSSLESS)
    @pytest.mark.parametrize("channels", [1, 2, 5])
    def test_sixteen_bits_come_back_as_they_were(self, name, channels):
        whole = np.random.default_rng(1).integers(-32768, 32768, (999, channels)).astype(np.int16)
        whole = whole[:, 0] if channels == 1 else whole
        samples, rate = audio.decode(audio.encode(whole, 22_050, name))
        assert (samples.dtype, samples.shape, rate) == (np.float32, whole.shape, 22_050)
        assert np.array_equal((samples * 32768).astype(np.int16), whole)
        again, _ = audio.decode(audio.encode(samples, 22_050, name))
        assert np.array_equal(again, samples)

    @pytest.mark.parametrize("name", ["ogg", "opus", "mp3"])
    @pytest.mark.parametrize("channels", [1, 2])
    def test_lossy_formats_keep_the_tone_the_rate_and_the_length(self, name, channels):
        whole = tone() if channels == 1 else two()
        samples, rate = audio.decode(audio.encode(whole, RATE, name))
        assert (samples.dtype, samples.shape, rate) == (np.float32, whole.shape, RATE)
        first = samples if channels == 1 else samples[:, 0]
        assert hertz_of(first, rate) == pytest.approx(440, abs=1.5)
        if channels == 2:
            assert hertz_of(samples[:, 1], rate) == pytest.approx(880, abs=1.5)

    @pytest.mark.parametrize(
        ("name", "codec"), [("mp4", "aac"), ("matroska", "aac"), ("webm", "libopus"), ("mpegts", "aac")]
    )
    def test_containers_that_libsndfile_does_not_know(self, name, codec):
        samples, rate = audio.decode(m4a(tone(rate=48_000), 48_000, name, codec))
        assert (samples.ndim, rate) == (1, 48_000)
        assert len(samples) == pytest.approx(48_000, abs=2100)  # a coder of blocks fills the last one
        assert hertz_of(samples, rate) == pytest.approx(440, abs=1.5)

    def test_mono_and_stereo_are_of_one_dtype(self):
        """docarray 0.21 gave float32 of the one and float64 of the other."""
        assert audio.decode(audio.encode(tone()))[0].dtype == audio.decode(audio.encode(two()))[0].dtype

    @pytest.mark.parametrize("width", [1, 2, 3, 4])
    @pytest.mark.parametrize("name", ["wav", "aiff"])
    def test_each_width_is_as_exact_as_it_can_be(self, width, name):
        step = 2.0 ** (1 - 8 * width)
        samples, _ = audio.decode(audio.encode(two().astype(np.float64), RATE, name, width))
        assert np.abs(samples - two()).max() <= max(step / 2, 2**-24)
        with soundfile.SoundFile(io.BytesIO(audio.encode(two(), RATE, name, width))) as found:
            assert found.subtype in {1: ("PCM_U8", "PCM_S8")}.get(width, (f"PCM_{8 * width}",))

    @pytest.mark.parametrize("width", [1, 2, 3, 4])
    def test_one_is_the_largest_sample_and_never_wraps(self, width):
        """docarray 0.21 wrote 1.0 as -1."""
        found, _ = audio.decode(audio.encode(np.array([1.0, -1.0, 0.0]), sample_width=width))
        assert found[0] >= 1 - 2.0 ** (1 - 8 * width)
        assert found[1] == -1
        assert found[2] == 0

    def test_a_sound_without_samples(self):
        assert audio.decode(audio.encode(np.zeros(0), RATE))[0].shape == (0,)
        assert audio.decode(audio.encode(np.zeros((0, 2)), RATE))[0].shape == (0, 2)
        with pytest.raises(BadValue, match="no samples cannot be written as flac"):
            audio.encode(np.zeros(0), RATE, "flac")

    @given(st.integers(1, 700), st.integers(1, 3), st.sampled_from(["wav", "flac"]), st.integers(1, 200))
    @settings(max_examples=30, deadline=None)
    def test_blocks_are_the_whole(self, count, channels, name, size):
        whole = np.random.default_rng(count).uniform(-1, 1, (count, channels))
        data = audio.encode(whole, RATE, name)
        found = list(audio.blocks(data, size))
        assert all(len(block) == size for block in found[:-1])
        assert 0 < len(found[-1]) <= size
        assert np.array_equal(np.concatenate(found), audio.decode(data)[0])


class TestOptions:
    @pytest.mark.parametrize("make", [lambda x: audio.encode(x, RATE, "flac"), lambda x: m4a(x, RATE)])
    def test_start_and_stop_cut_what_the_whole_has_there(self, make):
        data = make(np.concatenate([tone(440, 3.0), tone(880, 3.0)]))
        whole, rate = audio.decode(data)
        part, _ = audio.decode(data, start=3.5, stop=4.75)
        assert len(part) == 1.25 * rate
        assert np.allclose(part, whole[round(3.5 * rate) : round(4.75 * rate)], atol=1e-4)
        assert hertz_of(part, rate) == pytest.approx(880, abs=1.5)
        assert len(audio.decode(data, start=60)[0]) == 0

    @pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
    def test_resampling_keeps_tone_and_length(self, rate):
        samples, found = audio.decode(audio.encode(two(), RATE), sample_rate=rate)
        assert (found, samples.shape) == (rate, (rate, 2))
        assert hertz_of(samples[:, 1], rate) == pytest.approx(880, abs=1.5)
        assert np.abs(samples[500:-500, 0] - tone(rate=rate)[500:-500]).max() < 1e-3

    def test_mono_is_the_mean(self):
        samples, _ = audio.decode(audio.encode(two(), RATE), mono=True)
        assert samples.shape == (RATE,)
        assert np.allclose(samples, two().mean(axis=1), atol=1e-4)

    def test_about_says_it_without_decoding(self):
        assert audio.about(audio.encode(two(), RATE, "ogg")) == (RATE, 2, 1.0)
        rate, channels, seconds = audio.about(m4a(tone(rate=44_100)))
        assert (rate, channels) == (44_100, 1)
        assert seconds == pytest.approx(1, abs=0.05)

    @pytest.mark.parametrize(
        "options", [{"start": -1}, {"start": 2, "stop": 1}, {"sample_rate": 0}, {"max_samples": 0}]
    )
    def test_options_that_make_no_sense(self, options):
        with pytest.raises(BadValue, match=next(iter(options))):
            audio.decode(audio.encode(tone()), **options)


class TestArrays:
    def test_integers_are_scaled_by_the_range_of_their_dtype(self):
        assert audio.samples_of(np.array([-128, 64], dtype=np.int8)).tolist() == [-1, 0.5]
        assert audio.samples_of(np.array([0, 128, 192], dtype=np.uint8)).tolist() == [-1, 0, 0.5]
        assert audio.samples_of(np.array([-(2**31), 2**30], dtype=np.int32)).tolist() == [-1, 0.5]
        whole = np.array([-(2**31), 5, 2**31 - 1], dtype=np.int32)
        with soundfile.SoundFile(io.BytesIO(audio.encode(whole, sample_width=4))) as found:
            assert found.read(dtype="int32").tolist() == whole.tolist()

    def test_one_column_is_mono(self):
        assert audio.decode(audio.encode(tone()[:, None]))[0].shape == (RATE,)

    def test_channels_first_is_refused_with_a_hint(self):
        with pytest.raises(ShapeError, match="transposed"):
            audio.encode(two().T)

    def test_a_little_too_loud_is_cut_off_and_much_is_refused(self):
        assert audio.samples_of(np.array([1.5, -1.01, 0.5])).tolist() == [1, -1, 0.5]
        for wrong in (np.array([32767.0, 0]), np.array([np.nan]), np.array([np.inf])):
            with pytest.raises(BadValue, match="in \\[-1, 1\\]"):
                audio.samples_of(wrong)

    @pytest.mark.parametrize("array", [np.zeros(3, np.int64), np.zeros(3, bool), np.zeros(3, complex)])
    def test_numbers_that_are_no_samples(self, array):
        with pytest.raises(BadValue, match="no samples"):
            audio.encode(array)

    @pytest.mark.parametrize("shape", [(), (2, 2, 2), (3, 0)])
    def test_shapes_that_are_no_sound(self, shape):
        with pytest.raises(ShapeError):
            audio.encode(np.zeros(shape))

    def test_what_a_format_does_not_take(self):
        with pytest.raises(BadValue, match="flac takes up to 3"):
            audio.encode(tone(), RATE, "flac", 4)
        with pytest.raises(BadValue, match="sample_width=5"):
            audio.encode(tone(), RATE, "wav", 5)
        with pytest.raises(BadValue, match="opus"):
            audio.encode(tone(), 44_100, "opus")
        with pytest.raises(UnknownName, match="wav"):
            audio.encode(tone(), RATE, "wafe")


class TestDamage:
    @pytest.mark.parametrize("name", ["wav", "flac", "aiff", "ogg", "mp3"])
    @pytest.mark.parametrize("share", [0.001, 0.3, 0.95])
    def test_what_was_cut_off(self, name, share):
        data = audio.encode(np.random.default_rng(1).uniform(-0.5, 0.5, 30_000), RATE, name)
        with pytest.raises(CorruptData):
            audio.decode(data[: int(len(data) * share)])

    @pytest.mark.parametrize("name", ["mp4", "matroska"])
    def test_a_container_that_was_cut_off(self, name):
        data = m4a(np.tile(tone(rate=44_100), 5), 44_100, name)
        for share in (0.1, 0.5, 0.98):
            with pytest.raises(CorruptData):
                audio.decode(data[: int(len(data) * share)])

    def test_a_wav_of_which_the_writer_did_not_know_the_length(self):
        data = bytearray(audio.encode(tone(), RATE))
        data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
        assert len(audio.decode(bytes(data))[0]) == RATE

    def test_headers_that_claim_billions_take_no_memory(self):
        wav = bytearray(audio.encode(tone(), RATE))
        wav[40:44] = struct.pack("<I", 0x60000000)
        flac = bytearray(audio.encode(tone(), RATE, "flac"))
        flac[21] |= 0x0F
        flac[22:26] = b"\xff\xff\xff\xff"
        tracemalloc.start()
        try:
            for data in (wav, flac):
                with pytest.raises(CorruptData):
                    audio.decode(bytes(data), max_samples=None)
            assert tracemalloc.get_traced_memory()[1] < 100 << 20
        finally:
            tracemalloc.stop()

    def test_a_small_file_of_a_long_silence(self):
        data = audio.encode(np.zeros((3_000_000, 2)), 44_100, "flac")
        assert len(data) < 100_000
        with pytest.raises(UnsupportedFormat, match=r"max_samples=1000000.*blocks"):
            audio.decode(data, max_samples=1_000_000)
        with pytest.raises(UnsupportedFormat, match="max_samples"):
            audio.decode(audio.encode(tone(), 1), sample_rate=48_000, max_samples=1_000_000)
        tracemalloc.start()
        try:
            assert sum(len(block) for block in audio.blocks(data)) == 3_000_000
            assert tracemalloc.get_traced_memory()[1] < 12 << 20  # the whole is 23 MiB
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("seed", range(12))
    def test_random_bytes(self, seed):
        data = np.random.default_rng(seed).bytes(5000)
        heads = [
            b"",
            b"RIFF\xff\x00\x00\x00WAVEfmt ",
            b"fLaC",
            b"OggS",
            b"ID3\x03",
            b"\xff\xfb\x90",
            b"\0\0\0\x20ftypM4A ",
        ]
        with pytest.raises(CorruptData):
            audio.decode(heads[seed % len(heads)] + data)

    @given(
        st.binary(max_size=300), st.integers(0, 3000), st.sampled_from(["wav", "flac", "ogg", "mp3", "aiff"])
    )
    @settings(max_examples=60, deadline=None)
    def test_bytes_in_the_middle(self, noise, at, name):
        data = bytearray(audio.encode(tone(seconds=0.3), RATE, name))
        data[at : at + len(noise)] = noise
        try:
            samples, rate = audio.decode(bytes(data), max_samples=1 << 22)
        except FormatError:
            return
        assert samples.dtype == np.float32
        assert rate > 0

    def test_nothing_at_all(self):
        with pytest.raises(CorruptData, match="empty"):
            audio.decode(b"")

    def test_playlists_open_nothing(self, tmp_path):
        (tmp_path / "secret.wav").write_bytes(audio.encode(tone()))
        for text in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.wav\n",
            f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n",
        ):
            with pytest.raises(CorruptData):
                audio.decode(text.encode())

    def test_nothing_is_told_on_the_terminal(self):
        """libmpg123 and FFmpeg write to the terminal past Python."""
        code = (
            "import numpy as np\n"
            "from docarray.media import audio\n"
            "from docarray.errors import FormatError\n"
            "for name in ('mp3', 'ogg', 'flac'):\n"
            "    data = audio.encode(np.random.default_rng(1).uniform(-1, 1, 9000), 16000, name)\n"
            "    for broken in (data[:700], data[:2000] + b'?' * 500 + data[2500:], data[300:], data):\n"
            "        try:\n"
            "            audio.decode(broken)\n"
            "        except FormatError:\n"
            "            pass\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
        )
        assert (done.stdout, done.stderr) == ("", "")


class TestDocuments:
    @pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a"])
    def test_the_rate_is_kept_through_a_file(self, tmp_path, name):
        path = tmp_path / name
        doc = Document(tensor=two(), tags={"sample_rate": RATE}).save_audio_tensor_to_file(path)
        found = Document(uri=str(path)).load_uri_to_audio_tensor()
        assert found.tags["sample_rate"] == RATE
        assert isinstance(found.tags["sample_rate"], int)
        assert found.tensor.shape == two().shape
        assert soundfile.info(str(path)).format == {".mp3": "MP3", ".ogg": "OGG", ".flac": "FLAC"}.get(
            path.suffix, "WAV"
        )
        found.save_audio_tensor_to_file(tmp_path / "b.wav")
        assert soundfile.info(str(tmp_path / "b.wav")).samplerate == RATE
        assert doc.tags == {"sample_rate": RATE}

    def test_an_open_file_and_a_blob(self):
        target = io.BytesIO(b"before")
        target.seek(6)
        doc = Document(tensor=tone())
        doc.save_audio_tensor_to_file(target, sample_rate=8000, sample_width=3)
        data = target.getvalue()
        assert data[:10] == b"beforeRIFF"
        found = Document(blob=data[6:]).convert_blob_to_audio_tensor()
        assert found.tags["sample_rate"] == 8000
        target.seek(6)
        assert audio.decode(target)[1] == 8000  # from where it stands
        doc.convert_audio_tensor_to_blob(8000, "flac")
        assert doc.mime_type == "audio/flac"
        assert doc.blob[:4] == b"fLaC"

    def test_a_data_uri(self):
        doc = Document(tensor=tone()).convert_audio_tensor_to_blob(RATE).convert_blob_to_datauri(base64=True)
        assert Document(uri=doc.uri).load_uri_to_audio_tensor(mono=True).tensor.shape == (RATE,)

    def test_a_failure_leaves_all_as_it_was_and_names_the_document(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(audio.encode(tone())[:999])
        doc = Document(id="d1", uri=str(path), tags={"sample_rate": 5})
        with pytest.raises(CorruptData, match=re.escape(f"document 'd1' ({path})")):
            doc.load_uri_to_audio_tensor()
        assert doc.tensor is None
        assert doc.tags == {"sample_rate": 5}
        with pytest.raises(BadUri, match="'d2'"):
            Document(id="d2").load_uri_to_audio_tensor()
        with pytest.raises(BadValue, match=r"'d3'.*no tensor"):
            Document(id="d3").save_audio_tensor_to_file(path)
        with pytest.raises(FileNotFoundError):
            Document(uri=str(tmp_path / "none.wav")).load_uri_to_audio_tensor()
        before = path.read_bytes()
        with pytest.raises(BadValue, match="'d4'"):
            Document(id="d4", tensor=np.array([np.nan])).save_audio_tensor_to_file(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["a.wav"]

    def test_an_iterator_that_is_dropped_closes_the_file(self, tmp_path):
        path = tmp_path / "a.flac"
        path.write_bytes(audio.encode(np.tile(tone(), 40), RATE, "flac"))
        found = audio.blocks(path, 1000)
        next(found)
        found.close()
        if os.path.isdir("/proc/self/fd"):
            assert not [each for each in open_files() if each.endswith("a.flac")]


def open_files():
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # the one that the folder is read by
            continue
    return names
