"""Images: what every kind of file gives, what every dtype is written as, and what is done about hostile bytes."""

from __future__ import annotations

import base64
import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from everything import difference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from docarray import Document, DocumentArray
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    FormatError,
    OutOfRange,
    ShapeError,
    UnknownName,
    UnsupportedFormat,
)
from docarray.media import image

MEDIA = 'it is of the extra "media": pip install "docarray[media]"'
PIL = pytest.importorskip("PIL.Image", reason=MEDIA)
ImageFile = pytest.importorskip("PIL.ImageFile", reason=MEDIA)

LOSSLESS = ("PNG", "TIFF", "BMP", "PPM", "QOI", "GIF", "ICO", "SGI", "PCX", "DDS", "JPEG2000", "WEBP")
NOISE = np.random.default_rng(7).integers(0, 256, (24, 33, 4), dtype=np.uint8)
RGB = NOISE[..., :3]


def saved(picture, name, **options):
    target = io.BytesIO()
    picture.save(target, name, **options)
    return target.getvalue()


def lossless(picture, name):
    return saved(picture, name, **({"lossless": True, "exact": True} if name == "WEBP" else {}))


def skimage_file(name):
    skimage = pytest.importorskip("skimage", reason="its pictures: pip install scikit-image")
    return Path(skimage.data_dir) / name


def mean_difference(a, b):
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


# ------------------------------------------------------------------------------------------------ reading


def test_a_picture_of_a_camera_is_what_pillow_decodes():
    for name in ("rocket.jpg", "chelsea.png", "camera.png"):
        with PIL.open(skimage_file(name)) as picture:
            expected = np.array(picture.convert("RGB"))
        for source in (skimage_file(name), skimage_file(name).read_bytes()):
            found = image.decode(source)
            assert found.dtype == np.uint8
            assert found.flags.writeable
            np.testing.assert_array_equal(expected, found)


def test_large_pictures():
    """They are copied band by band; the last may be smaller, and one may be wider than a band."""
    for height, width in ((1103, 997), (9, 140_000), (140_000, 9)):
        rows, columns = np.mgrid[:height, :width]
        pixels = np.stack([rows, columns, rows + columns, rows ^ columns], axis=-1).astype(np.uint8)
        for channels, mode in ((3, "RGB"), (4, "RGBA"), (2, "LA")):
            data = saved(PIL.fromarray(np.ascontiguousarray(pixels[..., :channels])), "TIFF")
            np.testing.assert_array_equal(image.decode(data, mode=mode), pixels[..., :channels])


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_mode_of_every_lossless_format(name):
    count = 0
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        picture = PIL.fromarray(RGB).convert(mode)
        try:
            data = lossless(picture, name)
        except (OSError, ValueError, KeyError):
            continue  # Pillow does not write it
        expected = np.array(PIL.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(expected, image.decode(data))
        if name not in ("GIF", "ICO"):  # one has 256 colours, the other sizes of its own
            np.testing.assert_array_equal(np.array(picture.convert("RGB")), image.decode(data))
        count += 1
    assert count >= 2


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_come_close(name):
    rocket = image.decode(skimage_file("rocket.jpg"))
    found = image.decode(saved(PIL.fromarray(rocket), name))
    assert found.shape == rocket.shape
    assert mean_difference(rocket, found) < 4


def test_cmyk():
    cmyk = PIL.fromarray(np.full((8, 8, 3), (200, 30, 90), dtype=np.uint8)).convert("CMYK")
    found = image.decode(saved(cmyk, "JPEG", quality=95))
    assert mean_difference(found, np.full((8, 8, 3), (200, 30, 90))) < 3
    np.testing.assert_array_equal(image.decode(saved(cmyk, "TIFF")), np.array(cmyk.convert("RGB")))


def png_of_16_bits(array):
    """A PNG of RGB with 16 bits each, which Pillow reads and cannot write."""
    height, width = array.shape[:2]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ["PNG", "TIFF", "JPEG2000", "PPM"])
def test_16_bits_are_scaled(name):
    wide = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    data = saved(PIL.fromarray(wide), name)
    np.testing.assert_array_equal(image.decode(data, mode="L"), np.arange(256).reshape(16, 16))
    np.testing.assert_array_equal(image.decode(data)[..., 2], np.arange(256).reshape(16, 16))
    np.testing.assert_array_equal(image.decode(data, mode=None), wide)
    assert image.decode(data, mode=None).dtype == (np.int32 if name == "PPM" else np.uint16)


def test_16_bits_in_colour():
    wide = RGB.astype(np.uint16) * 257
    np.testing.assert_array_equal(image.decode(png_of_16_bits(wide)), RGB)


def test_floats_are_pixels_between_0_and_1():
    floats = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    data = saved(PIL.fromarray(floats), "TIFF")
    np.testing.assert_array_equal(image.decode(data, mode="L"), np.arange(256).reshape(16, 16))
    np.testing.assert_array_equal(image.decode(data, mode=None), floats)
    heights = saved(PIL.fromarray(floats * 8000 - 12), "TIFF")
    with pytest.raises(UnsupportedFormat, match=r"-12 to 7988.*\[0, 1\]"):
        image.decode(heights)
    np.testing.assert_array_equal(image.decode(heights, mode=None), floats * 8000 - 12)


def test_32_bits_that_hold_16():
    counts = (np.arange(256, dtype=np.int32) * 257).reshape(16, 16)
    data = saved(PIL.fromarray(counts), "TIFF")
    np.testing.assert_array_equal(image.decode(data, mode="L"), np.arange(256).reshape(16, 16))
    with pytest.raises(UnsupportedFormat, match="mode=None"):
        image.decode(saved(PIL.fromarray(counts * 1000), "TIFF"))
    np.testing.assert_array_equal(
        image.decode(saved(PIL.fromarray(counts * 1000), "TIFF"), mode=None), counts * 1000
    )


def test_modes():
    data = saved(PIL.fromarray(NOISE), "PNG")
    np.testing.assert_array_equal(image.decode(data, mode="RGBA"), NOISE)
    np.testing.assert_array_equal(image.decode(data, mode=None), NOISE)
    assert image.decode(data, mode="L").shape == (24, 33)
    assert image.decode(data, mode="LA").shape == (24, 33, 2)
    np.testing.assert_array_equal(image.decode(data, mode="LA")[..., 1], NOISE[..., 3])
    grey = saved(PIL.fromarray(NOISE[..., 0]), "PNG")
    assert image.decode(grey, mode=None).shape == (24, 33)
    assert image.decode(grey, mode="RGBA")[..., 3].min() == 255
    bits = saved(PIL.fromarray(NOISE[..., 0] > 99), "PNG")
    np.testing.assert_array_equal(image.decode(bits, mode=None), NOISE[..., 0] > 99)
    with pytest.raises(UnknownName, match="RGBA"):
        image.decode(data, mode="rgba")


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "PA"])
def test_what_is_transparent_shows_the_background(mode):
    """The colour below full transparency is what a program left there; nobody was meant to see it."""
    pixels = np.zeros((4, 6, 4), dtype=np.uint8)  # black, and opaque in the right half only
    pixels[:, 3:, 3] = 255
    if mode == "P":
        indices = PIL.fromarray((pixels[..., 3] > 0).astype(np.uint8))
        indices.putpalette([9, 9, 9, 0, 0, 0])
        data = saved(indices, "PNG", transparency=0)
    else:
        data = saved(
            PIL.fromarray(pixels).convert(mode.replace("PA", "RGBA")), "TIFF" if mode == "LA" else "PNG"
        )
    found = image.decode(data)
    assert found[:, :3].min() == 255
    assert found[:, 3:].max() == 0
    assert image.decode(data, background=(1, 2, 3))[0, 0].tolist() == [1, 2, 3]
    assert image.decode(data, background=None)[0, 0].max() in (0, 9)
    assert image.decode(data, mode="RGBA")[..., 3].tolist() == pixels[..., 3].tolist()
    assert image.decode(data, mode="L").tolist() == [[255] * 3 + [0] * 3] * 4


def test_as_the_file_has_it():
    """Channels that there are, and no more: with `mode=None`."""
    grey = PIL.fromarray(NOISE[..., 0])
    for picture, options, shape in (
        (grey.convert("P"), {}, (24, 33, 3)),
        (grey.convert("P"), {"transparency": 0}, (24, 33, 4)),
        (grey, {"transparency": 5}, (24, 33, 2)),
        (PIL.fromarray(RGB), {"transparency": (1, 2, 3)}, (24, 33, 4)),
        (PIL.fromarray(NOISE[..., :2]), {}, (24, 33, 2)),
    ):
        data = saved(picture, "PNG", **options)
        assert image.decode(data, mode=None).shape == shape
        assert image.decode(data, mode=None, width=5, height=4).shape == (4, 5, *shape[2:])
        assert image.decode(data).shape == (24, 33, 3)
    assert image.decode(saved(PIL.fromarray(RGB).convert("CMYK"), "TIFF"), mode=None).shape == (24, 33, 3)
    assert (image.decode(saved(grey, "PNG", transparency=5))[NOISE[..., 0] == 5] == 255).all()


def test_colours_are_checked():
    clear = saved(PIL.fromarray(NOISE), "PNG")
    for wrong in ("white", (1, 2), (0, 0, 256), (0.5, 0, 0), 7):
        with pytest.raises(BadValue, match="background"):
            image.decode(clear, background=wrong)
        with pytest.raises(BadValue, match="background"):
            image.encode(NOISE, "jpg", background=wrong)


def test_half_transparent_is_mixed():
    pixels = np.full((1, 1, 4), (255, 0, 0, 51), dtype=np.uint8)
    assert image.decode(saved(PIL.fromarray(pixels), "PNG")).tolist() == [[[255, 204, 204]]]


ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a[::-1, ::-1].swapaxes(0, 1), 0),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_upright(name, orientation):
    """What is stored turned, and says so, comes out upright."""
    upright = np.zeros((40, 64, 3), dtype=np.uint8)
    upright[:20, :32] = 255, 0, 0
    upright[20:, :32] = 0, 255, 0
    upright[:20, 32:] = 0, 0, 255
    stored = PIL.fromarray(np.ascontiguousarray(ORIENTATIONS[orientation](upright)))
    exif = PIL.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "WEBP" else {"quality": 95} if name in ("JPEG", "AVIF") else {}
    data = saved(stored, name, exif=exif, **options)
    found = image.decode(data)
    assert found.shape == (40, 64, 3)
    assert mean_difference(upright, found) < (4 if name in ("JPEG", "AVIF") else 1e-9)
    assert image.decode(data, width=16).shape == (40, 16, 3)  # sides are those of the upright image


def test_exif_that_cannot_be_read_is_no_reason_to_refuse():
    data = saved(PIL.fromarray(RGB), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    np.testing.assert_array_equal(image.decode(data), RGB)


def test_files_and_urls(tmp_path):
    data = saved(PIL.fromarray(RGB), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(b"head" + data)
    with open(path, "rb") as stream:
        stream.seek(4)
        np.testing.assert_array_equal(image.decode(stream), RGB)  # from where it stands
        assert not stream.closed
    with subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({data!r})"], stdout=-1
    ) as pipe:
        np.testing.assert_array_equal(image.decode(pipe.stdout), RGB)
    import fsspec

    with fsspec.open("memory://test_image/b.png", "wb") as stream:
        stream.write(data)
    np.testing.assert_array_equal(image.decode("memory://test_image/b.png"), RGB)
    np.testing.assert_array_equal(next(image.frames(memoryview(data))), RGB)
    with pytest.raises(FileNotFoundError):
        image.decode(tmp_path / "none.png")


def test_channel_axis_and_size():
    data = saved(PIL.fromarray(RGB), "PNG")
    first = image.decode(data, channel_axis=0)
    assert first.shape == (3, 24, 33)
    assert first.flags.c_contiguous
    np.testing.assert_array_equal(np.moveaxis(first, 0, -1), RGB)
    assert image.decode(data, channel_axis=1, width=5, height=7).shape == (7, 3, 5)
    scaled = image.decode(data, width=16, height=12)
    np.testing.assert_array_equal(scaled, np.array(PIL.fromarray(RGB).resize((16, 12))))
    np.testing.assert_array_equal(scaled, image.resize(RGB, (12, 16)))
    for wrong in ({"channel_axis": 3}, {"width": 0}, {"height": -1}, {"filter": "cubic"}, {"max_pixels": 0}):
        with pytest.raises(BadValue):
            image.decode(data, **wrong)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "AVIF", "PNG", "TIFF"])
def test_frames(name):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    pictures = [PIL.new("RGB", (16, 12), colour) for colour in colours]
    timing = {} if name == "TIFF" else {"duration": [100, 200, 300]}
    data = saved(pictures[0], name, save_all=True, append_images=pictures[1:], **timing)

    doc = Document(blob=data, chunks=[Document(text="before")]).convert_blob_to_image_tensor()
    assert doc.tensor is None
    assert doc.blob == data
    assert [chunk.modality for chunk in doc.chunks] == ["image"] * 3
    assert [chunk.offset for chunk in doc.chunks] == [0, 1, 2]
    assert [chunk.parent_id for chunk in doc.chunks] == [doc.id] * 3
    for chunk, colour in zip(doc.chunks, colours, strict=True):
        assert chunk.tensor.shape == (12, 16, 3)
        assert np.abs(chunk.tensor.astype(int) - colour).max() <= 8
    times = [chunk.tags.get("duration") for chunk in doc.chunks]
    assert times == ([None] * 3 if name == "TIFF" else pytest.approx([0.1, 0.2, 0.3]))

    each = list(image.frames(data))
    assert all((a == chunk.tensor).all() for a, chunk in zip(each, doc.chunks, strict=True))
    np.testing.assert_array_equal(image.decode(data, frame=2), each[2])
    for wrong in (3, -1, True, 1.0):
        with pytest.raises(OutOfRange):
            image.decode(data, frame=wrong)

    small = Document(blob=data).convert_blob_to_image_tensor(width=4, height=3, channel_axis=0)
    assert {chunk.tensor.shape for chunk in small.chunks} == {(3, 3, 4)}


def test_one_frame_is_an_image():
    doc = Document(blob=saved(PIL.fromarray(RGB), "GIF")).convert_blob_to_image_tensor()
    assert doc.tensor.shape == (24, 33, 3)
    assert not doc.chunks


def test_real_frames():
    gif = Document(uri=str(skimage_file("no_time_for_that_tiny.gif"))).load_uri_to_image_tensor()
    with PIL.open(gif.uri) as picture:
        assert len(gif.chunks) == picture.n_frames == 24
        for chunk in gif.chunks:
            picture.seek(int(chunk.offset))
            np.testing.assert_array_equal(chunk.tensor, np.array(picture.convert("RGB")))
    tiff = Document(uri=str(skimage_file("multipage.tif"))).load_uri_to_image_tensor()
    assert [chunk.tensor.shape for chunk in tiff.chunks] == [(15, 10, 3)] * 2


def test_a_preview_is_no_frame():
    """Telephones put a second picture behind a JPEG; large TIFF files hold themselves in small."""
    picture = PIL.fromarray(RGB)
    mpo = saved(picture, "MPO", save_all=True, append_images=[picture.resize((8, 6))])
    assert Document(blob=mpo).convert_blob_to_image_tensor().tensor.shape == RGB.shape

    small = picture.resize((8, 6))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    tiff = saved(picture, "TIFF", save_all=True, append_images=[small])
    with PIL.open(io.BytesIO(tiff)) as found:
        found.seek(1)
        assert found.tag_v2[254] == 1
    assert Document(blob=tiff).convert_blob_to_image_tensor().tensor.shape == RGB.shape


# ------------------------------------------------------------------------------------------------ hostile bytes


def samples():
    """Small files of every kind, by name."""
    picture, shifted = PIL.fromarray(NOISE[:12, :10]), PIL.fromarray(NOISE[6:18, :10])
    found = {}
    for name in image.FORMATS:
        for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK"):
            try:
                found[f"{name} {mode}"] = saved(picture.convert("RGB").convert(mode), name)
            except (OSError, ValueError, KeyError):
                continue
    for name in ("GIF", "WEBP", "AVIF", "PNG", "TIFF"):
        found[f"{name} frames"] = saved(picture, name, save_all=True, append_images=[shifted])
    for packing in ("tiff_lzw", "tiff_deflate", "packbits"):
        found[f"TIFF {packing}"] = saved(picture.convert("RGB"), "TIFF", compression=packing)
    return found


def read_all(data):
    """'read' or 'refused': there is nothing else."""
    try:
        for array in image.frames(data, max_pixels=1 << 20):
            assert array.dtype == np.uint8
            assert array.ndim == 3
    except FormatError:
        return "refused"
    return "read"


@pytest.fixture(scope="module")
def files():
    return samples()


def test_every_sample_is_read(files):
    assert len(files) > 30
    assert {read_all(data) for data in files.values()} == {"read"}


@pytest.mark.filterwarnings("error")
def test_cut_off_anywhere(files, capfd):
    refused = 0
    for data in files.values():
        step = max(1, len(data) // 40)
        outcomes = [read_all(data[:n]) for n in range(0, len(data), step)]
        assert outcomes[0] == "refused"
        refused += outcomes.count("refused")
    assert refused > 1000
    capfd.readouterr()  # libtiff writes there


@pytest.mark.filterwarnings("error")
def test_damaged_anywhere(files, capfd):
    rng = np.random.default_rng(3)
    outcomes = set()
    for data in files.values():
        for place in range(40):
            damaged = bytearray(data)
            near = min(len(data), 80) if place % 2 else len(data)
            for at in rng.integers(0, near, 1 + place % 4):
                damaged[at] = rng.integers(256)
            outcomes.add(read_all(bytes(damaged)))
    assert outcomes == {"read", "refused"}
    capfd.readouterr()


def test_any_bytes(files):
    rng = np.random.default_rng(5)
    for n in (0, 1, 2, 15, 16, 300):
        for _ in range(50):
            assert read_all(rng.bytes(n)) == "refused"
    for text in (b"%PDF-1.7", b"<svg></svg>", b"GIF", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        with pytest.raises(CorruptData, match="PNG"):
            image.decode(text)
    del files


def png_header(width, height, rows=500):
    """A PNG in black, one bit a pixel, that claims a size, and holds so many rows of it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(min(height, rows))) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_the_size_is_checked_first():
    data = saved(PIL.fromarray(RGB), "PNG")
    assert image.decode(data, max_pixels=24 * 33).shape == (24, 33, 3)
    with pytest.raises(UnsupportedFormat, match=r"33 x 24.*max_pixels=791"):
        image.decode(data, max_pixels=24 * 33 - 1)
    with pytest.raises(UnsupportedFormat, match=r"12000 x 12000.*max_pixels=134217728"):
        image.decode(png_header(12_000, 12_000))
    with pytest.raises(UnsupportedFormat, match="MAX_IMAGE_PIXELS"):
        image.decode(png_header(60_000, 60_000), max_pixels=None)


def test_frames_are_counted_together():
    pictures = [PIL.new("L", (100, 100), i) for i in range(20)]
    data = saved(pictures[0], "GIF", save_all=True, append_images=pictures[1:], duration=10)
    doc = Document(id="a", blob=data)
    with pytest.raises(UnsupportedFormat, match=r"document 'a'.*max_pixels=150000.*frames\(\)"):
        doc.convert_blob_to_image_tensor(max_pixels=150_000)
    assert not doc.chunks
    assert len(doc.convert_blob_to_image_tensor(10, 10, max_pixels=150_000).chunks) == 20  # as they are kept
    assert sum(1 for _ in image.frames(data, max_pixels=10_000)) == 20  # one after the other


BOMBS = """
import sys
import numpy as np
from docarray import Document
from docarray.errors import FormatError
from docarray.media import image

def peak():
    # Not `getrusage`: what that says begins with the memory of the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

for name in ("png", "gif", "webp", "tiff"):
    image.decode(image.encode(np.zeros((64, 64, 3), np.uint8), name))
before = peak()
for path in sys.argv[1:]:
    doc = Document(uri=path)
    for load in (doc.load_uri_to_image_tensor, lambda: next(image.frames(path))):
        try:
            load()
        except FormatError as error:
            pass
        else:
            sys.exit(f"{path} was read")
    assert doc.tensor is None and not doc.chunks
print(peak() - before)
"""


def test_bombs_take_no_memory(tmp_path):
    """Small files that claim to be huge are refused before memory is given to them: in a process of its own."""
    pytest.importorskip(
        "resource", reason="the memory of a process is asked for by it, which Windows does not have"
    )
    bombs = {"wide.png": png_header(30_000, 30_000), "long.png": png_header(50, 2**31 - 1)}
    icon = saved(PIL.new("RGB", (16, 16)), "ICO", sizes=[(16, 16)])
    inner = png_header(12_000, 12_000, rows=12_000)
    bombs["inner.ico"] = icon[:14] + struct.pack("<II", len(inner), 22) + inner
    bombs["whole.png"] = png_header(12_000, 12_000, rows=12_000)  # nothing is wrong with it but its size
    gif = bytearray(saved(PIL.new("L", (9, 9)), "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    bombs["screen.gif"] = bytes(gif)
    exif = PIL.Exif()
    exif[0x0112] = 1
    webp = bytearray(saved(PIL.new("RGBA", (9, 9)), "WEBP", lossless=True, exif=exif))
    assert webp[12:16] == b"VP8X"
    webp[24:30] = (30_000).to_bytes(3, "little") * 2
    bombs["canvas.webp"] = bytes(webp)
    bmp = bytearray(saved(PIL.new("RGB", (9, 9)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 40_000, 40_000)
    bombs["said.bmp"] = bytes(bmp)
    for name, data in bombs.items():
        assert len(data) < 100_000
        (tmp_path / name).write_bytes(data)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOMBS, *(str(tmp_path / name) for name in bombs)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60_000  # KiB; one of them would take 700 MB


def test_an_icon_is_as_large_as_it_is():
    """The folder of an ICO has a byte for each side; the PNG in it may be any size."""
    data = bytearray(saved(PIL.new("RGB", (16, 16)), "ICO", sizes=[(16, 16)]))
    inner = png_header(12_000, 12_000)
    data[14:22] = struct.pack("<II", len(inner), 22)
    with pytest.raises(UnsupportedFormat, match="12000 x 12000"):
        image.decode(bytes(data[:22]) + inner)


def test_settings_of_pillow_and_of_warnings_stay(files, monkeypatch, capfd):
    before = PIL.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    for data in files.values():
        read_all(data)
        read_all(data[: len(data) // 2])
    assert before == (PIL.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    monkeypatch.setattr(PIL, "MAX_IMAGE_PIXELS", 500)  # as strict as somebody has set it
    with pytest.raises(UnsupportedFormat, match="MAX_IMAGE_PIXELS"):
        image.decode(saved(PIL.new("L", (40, 40)), "PNG"))
    assert image.decode(saved(PIL.new("L", (25, 25)), "PNG")).shape == (25, 25, 3)  # it would warn of this
    capfd.readouterr()


def test_threads_do_not_lose_warnings():
    """Each decodes at its own pace, and the filters are at the end what they were."""
    data = saved(PIL.fromarray(RGB), "PNG")
    before = list(warnings.filters)
    failed = []

    def work():
        for _ in range(50):
            if not (image.decode(data) == RGB).all():
                failed.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="of mine"):
        warnings.warn("of mine", UserWarning, stacklevel=1)


def test_formats_can_be_chosen():
    data = saved(PIL.fromarray(RGB), "PNG")
    assert image.decode(data, formats=["png"]).shape == RGB.shape
    with pytest.raises(CorruptData, match="JPEG"):
        image.decode(data, formats=["JPEG"])
    tga = saved(PIL.fromarray(RGB), "TGA")
    with pytest.raises(CorruptData):
        image.decode(tga)  # it has no signature
    np.testing.assert_array_equal(image.decode(tga, formats=["TGA"]), RGB)
    with pytest.raises(UnknownName, match="JPEG"):
        image.decode(data, formats=["JPG"])
    with pytest.raises(FieldTypeError):
        image.decode(data, formats="PNG")


# ------------------------------------------------------------------------------------------------ writing


KEPT = ("png", "tiff", "webp", "qoi", "jp2")


@pytest.mark.parametrize("image_format", KEPT)
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_channels_survive(image_format, channels):
    pixels = NOISE[..., 0] if channels == 0 else NOISE[..., :channels]
    options = {"lossless": True, "exact": True} if image_format == "webp" else {}
    data = image.encode(pixels, image_format, **options)
    found = image.decode(
        data, mode="RGBA" if channels == 4 else "LA" if channels == 2 else "L" if channels < 2 else "RGB"
    )
    np.testing.assert_array_equal(found, pixels[..., 0] if channels == 1 else pixels)
    first = np.moveaxis(pixels, -1, 0) if channels else pixels
    assert image.encode(first, image_format, channel_axis=0, **options) == data


@pytest.mark.parametrize(
    "image_format", ["png", "jpg", "jpeg", ".JPG", "webp", "avif", "gif", "tif", "bmp", "ppm"]
)
def test_every_format_says_its_media_type(image_format):
    doc = Document(tensor=RGB).convert_image_tensor_to_uri(image_format=image_format)
    with PIL.open(io.BytesIO(base64.b64decode(doc.uri.partition(",")[2]))) as found:
        expected = "image/x-portable-anymap" if found.format == "PPM" else PIL.MIME[found.format]
    assert doc.uri.startswith(f"data:{expected};base64,")
    assert doc.mime_type == expected
    assert doc.tensor is not None
    assert doc.load_uri_to_image_tensor().tensor.shape == RGB.shape


RAMP = np.arange(256).reshape(16, 16)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint32", "uint64"])
def test_integers_are_pixels(dtype):
    np.testing.assert_array_equal(image.decode(image.encode(RAMP.astype(dtype)), mode="L"), RAMP)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_floats_are_scaled(dtype):
    """The old library wrote black (docarray 0.21)."""
    np.testing.assert_array_equal(image.decode(image.encode((RAMP / 255).astype(dtype)), mode="L"), RAMP)


def test_other_dtypes():
    assert image.decode(image.encode(RAMP > 99), mode="L").tolist() == ((RAMP > 99) * 255).tolist()
    wide = (RAMP * 257).astype(np.uint16)
    np.testing.assert_array_equal(image.decode(image.encode(wide), mode=None), wide)  # all 16 bits
    np.testing.assert_array_equal(image.decode(image.encode(wide, "bmp"), mode="L"), RAMP)
    np.testing.assert_array_equal(image.decode(image.encode(np.stack([wide] * 3, -1)))[..., 1], RAMP)
    assert image.decode(image.encode([[0, 255], [7, 9]]), mode="L").tolist() == [[0, 255], [7, 9]]
    almost = np.array([[1 + 1e-7, -1e-7]])
    assert image.decode(image.encode(almost), mode="L").tolist() == [[255, 0]]
    assert image.decode(image.encode(RAMP.astype(">i4")), mode="L").tolist() == RAMP.tolist()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([[0.0, 1.2]]), r"0 to 1\.2.*\[0, 1\].*inv_normalization"),
        (np.array([[0.0, np.nan]]), r"\[0, 1\]"),
        (np.array([[0.0, np.inf]]), r"\[0, 1\]"),
        (np.array([[-1, 3]]), "-1 to 3.*0 to 255"),
        (np.array([[0, 256]]), "0 to 256"),
        (np.array([[1j]]), "complex128"),
        (np.array([["a"]]), "dtype"),
        (np.zeros(784), r"\(784,\)"),
        (np.zeros((2, 2, 5)), "5 channels.*channel_axis"),
        (np.zeros((2, 2, 2, 3)), r"\(2, 2, 2, 3\)"),
        (np.zeros((0, 4, 3)), "no pixels"),
    ],
)
def test_what_is_no_image(array, said):
    doc = Document(id="a", tensor=array, uri="a.png")
    for convert in (doc.convert_image_tensor_to_blob, doc.convert_image_tensor_to_uri):
        with pytest.raises(BadValue, match=said) as caught:
            convert()
        assert "document 'a'" in str(caught.value)
    assert doc.tensor is array
    assert doc.uri == "a.png"


def test_alpha_in_a_format_without():
    clear = np.zeros((8, 8, 4), dtype=np.uint8)
    for image_format in ("jpg", "bmp", "ppm"):
        assert image.decode(image.encode(clear, image_format)).min() >= 254
        assert image.decode(image.encode(clear[..., :2], image_format)).min() >= 254
        assert image.decode(image.encode(clear, image_format, background=(0, 0, 0))).max() <= 1


def test_options_reach_pillow():
    photo = image.decode(skimage_file("rocket.jpg"))
    assert len(image.encode(photo, "jpg", quality=20)) < len(image.encode(photo, "jpg", quality=90)) / 2
    blob = Document(tensor=photo).convert_image_tensor_to_blob(image_format="webp", lossless=True).blob
    np.testing.assert_array_equal(image.decode(blob), photo)
    with pytest.raises(BadValue, match=r"JPEG.*quality"):
        image.encode(photo, "jpg", quality="best")
    with pytest.raises(BadValue, match="WEBP"):
        image.encode(np.zeros((1, 20_000), np.uint8), "webp")
    with pytest.raises(UnknownName, match="jpeg"):
        image.encode(photo, "jpge")
    with pytest.raises(FieldTypeError):
        image.encode(photo, 3)


def test_pillow_and_back():
    for pixels, mode in ((NOISE[..., 0], "L"), (NOISE[..., :2], "LA"), (RGB, "RGB"), (NOISE, "RGBA")):
        picture = image.to_pil(pixels)
        assert picture.mode == mode
        np.testing.assert_array_equal(image.from_pil(picture, mode=mode), pixels)
    assert image.to_pil(np.moveaxis(RGB, -1, 0), channel_axis=0).size == (33, 24)


def test_a_pillow_image_as_uri():
    photo = PIL.open(skimage_file("rocket.jpg"))
    with photo:
        doc = Document().load_pil_image_to_datauri(photo)
    assert doc.uri.startswith("data:image/png;base64,")
    assert doc.mime_type == "image/png"
    np.testing.assert_array_equal(
        doc.load_uri_to_image_tensor().tensor, image.decode(skimage_file("rocket.jpg"))
    )
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV"):
        picture = PIL.fromarray(RGB).convert(mode)
        doc = Document().load_pil_image_to_datauri(picture)
        expected = np.array(picture.convert("RGB"))
        np.testing.assert_array_equal(doc.load_uri_to_image_tensor().tensor, expected)
    exif = PIL.Exif()
    exif[0x0112] = 6
    with PIL.open(io.BytesIO(saved(PIL.fromarray(RGB), "PNG", exif=exif))) as turned:
        doc = Document().load_pil_image_to_datauri(turned)
    np.testing.assert_array_equal(doc.load_uri_to_image_tensor().tensor, np.rot90(RGB, -1))
    with pytest.raises(FieldTypeError, match="ndarray"):
        Document().load_pil_image_to_datauri(RGB)


# ------------------------------------------------------------------------------------------------ saving


def test_save_by_suffix(tmp_path):
    doc = Document(tensor=RGB)
    for name, expected in {
        "a.png": "PNG",
        "b.JPG": "JPEG",
        "c.tif": "TIFF",
        "d": "PNG",
        "e.webp": "WEBP",
    }.items():
        assert doc.save_image_tensor_to_file(tmp_path / name) is doc
        with PIL.open(tmp_path / name) as found:
            assert found.format == expected
    doc.save_image_tensor_to_file(str(tmp_path / "f.jpg"), image_format="jpeg")  # one format by two names
    doc.save_image_tensor_to_file(str(tmp_path / "g"), image_format="gif")
    with PIL.open(tmp_path / "g") as found:
        assert found.format == "GIF"


def test_save_warns_of_a_name_that_misleads(tmp_path):
    path = str(tmp_path / "a.jpg")
    with pytest.warns(UserWarning, match="'.jpg'.*PNG") as caught:
        Document(tensor=RGB).save_image_tensor_to_file(path, image_format="png")
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(image.decode(path), RGB)
    with pytest.warns(UserWarning, match="'.picture'"):
        Document(tensor=RGB).save_image_tensor_to_file(tmp_path / "a.picture")


def test_save_elsewhere(tmp_path):
    doc = Document(tensor=RGB)
    target = io.BytesIO()
    doc.save_image_tensor_to_file(target, image_format="qoi")
    np.testing.assert_array_equal(image.decode(target.getvalue()), RGB)
    with open(tmp_path / "a.tiff", "wb") as stream:
        doc.save_image_tensor_to_file(stream)
        assert not stream.closed
    with PIL.open(tmp_path / "a.tiff") as found:
        assert found.format == "TIFF"
    doc.save_image_tensor_to_file("memory://test_image/a.png")
    loaded = Document(uri="memory://test_image/a.png").load_uri_to_image_tensor()
    np.testing.assert_array_equal(loaded.tensor, RGB)


def test_an_image_that_cannot_be_written_leaves_the_file(tmp_path):
    path = tmp_path / "a.png"
    Document(tensor=RGB).save_image_tensor_to_file(path)
    before = path.read_bytes()
    with pytest.raises(BadValue, match="document 'x'"):
        Document(id="x", tensor=RGB * 2.0).save_image_tensor_to_file(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


# ------------------------------------------------------------------------------------------------ documents


def test_load_by_uri(tmp_path):
    path = tmp_path / "ä b.png"
    path.write_bytes(saved(PIL.fromarray(RGB), "PNG"))
    for uri in (str(path), path.as_uri()):
        doc = Document(uri=uri, tags={"x": 1})
        assert doc.load_uri_to_image_tensor() is doc
        np.testing.assert_array_equal(doc.tensor, RGB)
        assert doc.mime_type == "image/png"
        assert doc.modality == ""
    assert doc.load_uri_to_image_tensor(4, 6, 0).tensor.shape == (3, 6, 4)
    assert doc.load_uri_to_image_tensor(mode="RGBA").tensor.shape == (24, 33, 4)
    with pytest.raises(BadUri, match="max_size"):
        doc.load_uri_to_image_tensor(max_size=10)
    with pytest.raises(BadUri, match="schemes"):
        doc.load_uri_to_image_tensor(schemes=["https"])
    with pytest.raises(TypeError, match="modes"):
        doc.load_uri_to_image_tensor(modes="L")


def test_errors_name_the_document_and_leave_it(tmp_path):
    (tmp_path / "a.png").write_bytes(saved(PIL.fromarray(RGB), "PNG")[:900])
    for uri, error in {
        str(tmp_path / "a.png"): CorruptData,
        str(tmp_path / "none.png"): FileNotFoundError,
        "data:image/png;base64,AAAA": CorruptData,
        "": BadUri,
    }.items():
        doc = Document(id="x", text="before", uri=uri, chunks=[Document(text="c")], tags={"a": 1})
        before = Document(doc, copy=True)
        with pytest.raises(error, match="document 'x'") as caught:
            doc.load_uri_to_image_tensor()
        assert uri[:15] in str(caught.value)
        assert difference(before, doc) is None
    doc = Document(id="x", text="before")
    for call in (
        doc.convert_blob_to_image_tensor,
        doc.convert_image_tensor_to_blob,
        doc.set_image_tensor_normalization,
        doc.convert_image_tensor_to_sliding_windows,
    ):
        with pytest.raises(BadValue, match=r"document 'x'.*no (blob|tensor).*load_uri_to_image_tensor"):
            call()
    assert doc.text == "before"


def test_blob_and_back():
    doc = Document(tensor=RGB, mime_type="image/jpeg")
    doc.convert_image_tensor_to_blob()
    assert doc.mime_type == "image/png"  # which it is now
    assert doc.tensor is None
    np.testing.assert_array_equal(doc.convert_blob_to_image_tensor().tensor, RGB)
    first = Document(tensor=np.moveaxis(RGB, -1, 0)).convert_image_tensor_to_blob(channel_axis=0)
    assert first.convert_blob_to_image_tensor(channel_axis=0).tensor.shape == (3, 24, 33)


def test_frameworks_stay():
    torch = pytest.importorskip("torch", reason="pip install torch")
    doc = Document(tensor=torch.from_numpy(RGB.copy()))
    doc.set_image_tensor_shape((12, 16)).set_image_tensor_normalization().set_image_tensor_channel_axis(-1, 0)
    assert isinstance(doc.tensor, torch.Tensor)
    assert doc.tensor.shape == (3, 12, 16)
    assert doc.tensor.dtype == torch.float32
    doc.set_image_tensor_inv_normalization(channel_axis=0).convert_image_tensor_to_blob(channel_axis=0)
    np.testing.assert_array_equal(doc.convert_blob_to_image_tensor().tensor, image.resize(RGB, (12, 16)))
    windows = Document(tensor=torch.zeros(3, 8, 8)).convert_image_tensor_to_sliding_windows(
        (4, 4), channel_axis=0
    )
    assert isinstance(windows.tensor, torch.Tensor)
    assert windows.tensor.shape == (4, 3, 4, 4)
    assert len(Document(tensor=torch.ones(2, 2)).convert_image_tensor_to_blob().blob) > 8


def test_an_array_of_documents(tmp_path):
    da = DocumentArray(Document(uri=str(tmp_path / f"{i}.png"), tensor=RGB + i) for i in range(3))
    for doc in da:
        doc.save_image_tensor_to_file(doc.uri)
        doc.tensor = None
        doc.load_uri_to_image_tensor(channel_axis=0)
    assert da.tensors.shape == (3, 3, 24, 33)
    (tmp_path / "1.png").write_bytes(b"none")
    da[0].load_uri_to_image_tensor()
    with pytest.raises(CorruptData) as caught:
        da[1].load_uri_to_image_tensor()
    assert da[1].id in str(caught.value)
    assert isinstance(caught.value, DocArrayError)


# ------------------------------------------------------------------------------------------------ computing


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "bool"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4), (5, 7, 6)])
def test_resize_of_every_kind(dtype, shape):
    pixels = (np.random.default_rng(1).random(shape) * 200).astype(dtype)
    same = image.resize(pixels, (5, 7))
    np.testing.assert_array_equal(same, pixels)
    for size in ((10, 14), (2, 3), (1, 1), (9, 2)):
        found = image.resize(pixels, size)
        assert found.shape == (*size, *shape[2:])
        assert found.dtype == pixels.dtype
        if dtype != "uint8":
            assert pixels.min() <= found.min() <= found.max() <= pixels.max()
    if dtype != "uint8" or shape[-1] != 4:  # of RGBA, a colour that is hardly there is not exact
        flat = np.full(shape, 7).astype(dtype)
        assert (image.resize(flat, (3, 4)) == flat[0, 0]).all()
    if len(shape) == 3:
        first = image.resize(np.moveaxis(pixels, -1, 0), (3, 4), channel_axis=0)
        np.testing.assert_array_equal(np.moveaxis(first, 0, -1), image.resize(pixels, (3, 4)))


def test_labels_are_never_mixed():
    labels = np.array([[3, 9], [9, 3]], dtype=np.int64)
    assert image.resize(labels, (4, 4)).tolist() == [[3, 3, 9, 9]] * 2 + [[9, 9, 3, 3]] * 2
    assert set(image.resize(np.random.default_rng(1).choice([0, 100], (30, 30)), (7, 11)).ravel()) <= {0, 100}
    assert image.resize(np.arange(10)[None], (1, 5)).tolist() == [[1, 3, 5, 7, 9]]


def test_small_images_are_means_and_not_samples():
    stripes = np.zeros((32, 32), dtype=np.uint8)
    stripes[:, ::2] = 200
    for filter in ("box", "bilinear", "hamming", "bicubic", "lanczos"):
        assert np.abs(image.resize(stripes, (4, 4), filter=filter).astype(int) - 100).max() < 30
    assert set(image.resize(stripes, (4, 4), filter="nearest").ravel()) <= {0, 200}
    floats = image.resize(stripes / 255, (4, 4))
    np.testing.assert_allclose(floats * 255, image.resize(stripes, (4, 4)), atol=1)


def test_colours_of_what_is_clear_do_not_bleed():
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[:, 4:] = 255, 0, 0, 255  # red; the other half is clear black
    small = image.resize(pixels, (1, 1), filter="box")
    assert small[0, 0].tolist() in ([255, 0, 0, 128], [255, 0, 0, 127])


def test_shape_and_ratio():
    doc = Document(tensor=RGB)
    before = doc.tensor
    assert doc.set_image_tensor_shape((24, 33)).tensor is before
    assert doc.set_image_tensor_shape((12, 11)).tensor.shape == (12, 11, 3)
    for ratio, expected in ((0.5, (12, 16, 3)), (2, (48, 66, 3)), (1e-9, (1, 1, 3)), (1 / 3, (8, 11, 3))):
        assert Document(tensor=RGB).set_image_tensor_resample(ratio).tensor.shape == expected
    first = Document(tensor=np.moveaxis(RGB, -1, 0)).set_image_tensor_resample(0.5, channel_axis=0)
    assert first.tensor.shape == (3, 12, 16)
    for wrong in (0, -1, float("nan"), float("inf"), "2", True):
        with pytest.raises(BadValue, match="ratio"):
            Document(tensor=RGB).set_image_tensor_resample(wrong)
    for wrong in ((0, 4), (4,), (4, 4, 3), (4, 2.5)):
        with pytest.raises(BadValue):
            Document(tensor=RGB).set_image_tensor_shape(wrong)
    nearest = Document(tensor=RGB).set_image_tensor_shape((12, 11), filter="nearest").tensor
    np.testing.assert_array_equal(nearest, RGB[1::2, 1::3])


def test_channel_axis_moves():
    doc = Document(tensor=RGB).set_image_tensor_channel_axis(-1, 0)
    np.testing.assert_array_equal(doc.tensor, RGB.transpose(2, 0, 1))
    np.testing.assert_array_equal(doc.set_image_tensor_channel_axis(0, -1).tensor, RGB)
    with pytest.raises(ShapeError, match="axis"):
        doc.set_image_tensor_channel_axis(3, 0)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_normalisation_and_its_inverse(axis):
    every = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=-1).astype(np.uint8)
    pixels = np.ascontiguousarray(np.moveaxis(every, -1, axis))
    doc = Document(tensor=pixels).set_image_tensor_normalization(channel_axis=axis)
    assert doc.tensor.dtype == np.float32
    assert doc.tensor.shape == pixels.shape
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(
        np.moveaxis(doc.tensor, axis, -1), (every / 255 - mean) / std, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(doc.set_image_tensor_inv_normalization(channel_axis=axis).tensor, pixels)


@given(
    st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=1),
    st.lists(st.floats(0.015625, 10, width=32), min_size=1, max_size=1),
)
@settings(deadline=None, max_examples=50)
def test_every_value_comes_back(mean, std):
    pixels = RAMP.astype(np.uint8)[..., None]
    normal = image.normalise(pixels, mean=mean, std=std)
    np.testing.assert_array_equal(image.denormalise(normal, mean=mean, std=std), pixels)


def test_normalisation_refuses():
    for wrong in (RGB / 255, RGB[..., 0], RGB.astype(np.int64)):
        with pytest.raises(ValueError, match="uint8"):
            Document(tensor=wrong).set_image_tensor_normalization()
    for wrong in (RGB, RGB / 255, np.zeros((2, 2), np.float32)):
        with pytest.raises(ValueError, match="float32"):
            Document(tensor=wrong).set_image_tensor_inv_normalization()
    with pytest.raises(ShapeError, match="4 channels"):
        image.normalise(NOISE)
    with pytest.raises(BadValue, match="std"):
        image.normalise(RGB, std=[1, 0, 1])
    with pytest.raises(BadValue, match="NaN"):
        image.denormalise(np.full((1, 1, 3), np.nan, np.float32))
    beyond = np.array([[[99, -99, np.inf]]], np.float32)
    assert image.denormalise(beyond).tolist() == [[[255, 0, 255]]]


def naive_windows(pixels, window_shape, strides, padding):
    """By their definition: one after the other, pixel by pixel."""
    rows, columns = pixels.shape[:2]
    found, places = [], []
    for top in range(0, rows, strides[0]):
        for left in range(0, columns, strides[1]):
            whole = top + window_shape[0] <= rows and left + window_shape[1] <= columns
            if not whole and not padding:
                continue
            window = np.zeros((*window_shape, *pixels.shape[2:]), dtype=pixels.dtype)
            part = pixels[top : top + window_shape[0], left : left + window_shape[1]]
            window[: part.shape[0], : part.shape[1]] = part
            found.append(window)
            places.append([top, left, *window_shape])
    return found, places


sides = st.integers(1, 12)


@given(
    pixels=arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.float32, np.float64, np.bool_, np.complex128]),
        st.one_of(st.tuples(sides, sides), st.tuples(sides, sides, st.integers(1, 4))),
    ),
    window=st.tuples(sides, sides),
    strides=st.none() | st.tuples(sides, sides),
    padding=st.booleans(),
    axis=st.integers(-3, 2),
    order=st.sampled_from("CF"),
)
@settings(deadline=None, max_examples=200)
def test_windows_are_those_of_a_loop(pixels, window, strides, padding, axis, order):
    expected, places = naive_windows(pixels, window, strides or window, padding)
    given_to = np.asarray(np.moveaxis(pixels, -1, axis) if pixels.ndim == 3 else pixels, order=order)
    if not expected:
        with pytest.raises(ShapeError, match="padding=True"):
            image.windows(given_to, window, strides, padding, axis)
        return
    if pixels.ndim == 3:
        expected = [np.moveaxis(each, -1, axis) for each in expected]
    before = given_to.copy()
    found = image.windows(given_to, window, strides, padding, axis)
    np.testing.assert_array_equal(found, np.stack(expected))
    found[...] = 0  # of their own
    np.testing.assert_array_equal(given_to, before)

    doc = Document(tensor=given_to).convert_image_tensor_to_sliding_windows(
        window, strides, padding, axis, True
    )
    assert [chunk.location for chunk in doc.chunks] == places
    for chunk, each in zip(doc.chunks, expected, strict=True):
        np.testing.assert_array_equal(chunk.tensor, each)
    assert doc.tensor is given_to


def test_windows_of_a_document():
    doc = Document(tensor=np.zeros((128, 200, 3), np.uint8)).convert_image_tensor_to_sliding_windows()
    assert doc.tensor.shape == (6, 64, 64, 3)
    page = Document(tensor=np.arange(64).reshape(8, 8), chunks=[Document(text="before")])
    page.convert_image_tensor_to_sliding_windows((4, 4), as_chunks=True)
    assert len(page.chunks) == 5
    half = page.chunks[-1].convert_image_tensor_to_sliding_windows((2, 2), as_chunks=True)
    assert [c.location for c in half.chunks] == [[4, 4, 2, 2], [4, 6, 2, 2], [6, 4, 2, 2], [6, 6, 2, 2]]
    for window in half.chunks:  # where it is in the page
        top, left, height, width = (int(n) for n in window.location)
        np.testing.assert_array_equal(window.tensor, page.tensor[top : top + height, left : left + width])
    assert half.chunks[0].modality == "image"
    for wrong in ({"window_shape": (0, 4)}, {"strides": (0, 1)}, {"window_shape": 4}, {"channel_axis": 5}):
        with pytest.raises(BadValue):
            Document(tensor=RGB).convert_image_tensor_to_sliding_windows(**{"window_shape": (4, 4), **wrong})


def test_nothing_is_imported_with_the_library():
    code = "import sys, docarray; docarray.Document(tensor=[[1]]); sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
