"""Compression by name: what goes in comes out, and nothing that is damaged or too large does."""

import io
import os
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import compression
from docarray.errors import CorruptData, UnknownName

pytest.importorskip("lz4", reason='pip install "docarray[compression]"')
pytest.importorskip("backports.zstd", reason='pip install "docarray[compression]"')

each = pytest.mark.parametrize("name", compression.NAMES)


@each
@given(data=st.binary(max_size=3000))
@settings(deadline=None, max_examples=30)
def test_what_was_packed_unpacks(name, data):
    assert data == compression.decompress(compression.compress(data, name), name)


@each
def test_a_stream_is_packed_and_unpacked_in_pieces(name):
    data = os.urandom(1000) * 3000
    packed = io.BytesIO()

    with compression.writer(packed, name) as stream:
        for at in range(0, len(data), 99_999):
            stream.write(data[at : at + 99_999])
    packed.seek(0)
    with compression.reader(packed, name) as stream:
        pieces = iter(lambda: stream.read(70_001), b"")
        assert data == b"".join(pieces)

    assert not packed.closed


@each
def test_frames_in_a_row_are_one(name):
    frame = compression.compress(b"again ", name)

    assert b"again again " == compression.decompress(frame + frame, name)


@each
def test_what_was_cut_off_is_told_at_every_byte(name):
    packed = compression.compress(os.urandom(300), name)

    for size in range(len(packed)):
        with pytest.raises(CorruptData, match=r"cut off|damaged"):
            compression.decompress(packed[:size], name)


@each
def test_a_flipped_byte_is_told_or_harmless(name):
    """The heads of some frames have bytes without a meaning; what comes out is right or nothing does."""
    data = os.urandom(300)
    packed = compression.compress(data, name)
    told = 0

    for at in range(len(packed)):
        damaged = bytearray(packed)
        damaged[at] ^= 0x55
        try:
            assert data == compression.decompress(bytes(damaged), name)
        except CorruptData:
            told += 1

    assert told >= 0.9 * len(packed)


@each
def test_a_bomb_stops_at_the_limit(name):
    bomb = compression.compress(bytes(5_000_000), name)

    with pytest.raises(CorruptData, match="more than 1000000 bytes: give max_size="):
        compression.decompress(bomb, name, max_size=1_000_000)
    assert 5_000_000 == len(compression.decompress(bomb, name, max_size=5_000_000))


def test_the_limit_grows_with_what_is_packed():
    assert 1 << 28 == compression.limit_of(1000)
    assert 250 << 30 == compression.limit_of(1 << 30)
    assert 5 == compression.limit_of(1000, 5)


@pytest.mark.parametrize("name", [n for n in compression.NAMES if n != "zlib"])
def test_each_is_known_by_its_first_bytes(name):
    assert name == compression.recognised(compression.compress(b"data", name)[:6])


def test_nothing_else_is_taken_for_compressed():
    assert compression.recognised(b"") is None
    assert compression.recognised(b"\x89DOC\r\n\x1a\n") is None


def test_an_unknown_name_is_an_error_and_never_no_compression():
    with pytest.raises(UnknownName, match=r"'lz5'\. Did you mean 'lz4'"):
        compression.compress(b"", "lz5")
    with pytest.raises(UnknownName):
        compression.decompress(b"", "zip")


def test_aliases():
    assert b"x" == compression.decompress(compression.compress(b"x", "xz"), "lzma")
    assert b"x" == compression.decompress(compression.compress(b"x", "zst"), "zstd")


def test_none_is_as_it_is():
    assert b"data" == compression.compress(b"data", None)
    assert b"data" == compression.decompress(memoryview(b"data"), None)


def test_zlib_has_the_bytes_of_zlib():
    assert zlib.compress(b"data") == compression.compress(b"data", "zlib")


def test_an_error_of_the_reader_below_is_not_taken_for_damage():
    class Broken(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError), compression.reader(Broken(), "gzip") as stream:
        stream.read(1)
