"""Where bytes come from and go to."""

import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from docarray import files
from docarray.errors import FieldTypeError, MissingExtra

fsspec = pytest.importorskip("fsspec", reason='pip install "docarray[remote]"')


def test_urls_and_paths_are_told_apart(tmp_path):
    assert files.is_url("s3://bucket/key")
    assert files.is_url("simplecache::s3://bucket/key")
    assert not files.is_url("C:\\data\\x")
    assert not files.is_url("a/b.docarray")
    assert not files.is_url(tmp_path)


def test_a_file_url_is_a_path(tmp_path):
    path = tmp_path / "with space.bin"
    path.write_bytes(b"x")

    assert str(path) == files.path_of(path.as_uri())
    assert b"x" == files.read_all(path.as_uri())


def test_suffixes_of_whatever_has_a_name(tmp_path):
    assert [".protobuf", ".lz4"] == files.suffixes("s3://b/x.protobuf.LZ4?version=1.5")
    assert [".json"] == files.suffixes(tmp_path / "a.JSON")
    with open(tmp_path / "b.csv", "wb") as stream:
        assert [".csv"] == files.suffixes(stream)
    assert [] == files.suffixes(io.BytesIO())
    assert [] == files.suffixes(b"a.json")


@pytest.mark.parametrize(
    "kind", ["str", "path", "url", "bytes", "bytearray", "memoryview", "open", "BytesIO"]
)
def test_every_source_gives_its_bytes(tmp_path, kind):
    path = tmp_path / "x"
    path.write_bytes(b"some data")
    with fsspec.open("memory://files/x", "wb") as stream:
        stream.write(b"some data")
    with open(path, "rb") as opened:
        source = {
            "str": str(path),
            "path": path,
            "url": "memory://files/x",
            "bytes": b"some data",
            "bytearray": bytearray(b"some data"),
            "memoryview": memoryview(b"some data"),
            "open": opened,
            "BytesIO": io.BytesIO(b"some data"),
        }[kind]
        assert b"some data" == bytes(files.read_all(source))
        assert not opened.closed


def test_a_file_is_read_from_where_it_stands_and_left_open():
    stream = io.BytesIO(b"head rest")
    stream.seek(5)

    assert b"rest" == files.read_all(stream)
    assert not stream.closed


@pytest.mark.parametrize("wrong", [None, 3, io.StringIO("text"), object()])
def test_what_is_no_source_is_refused(wrong):
    with pytest.raises(FieldTypeError, match="a path, a URL, bytes or a file opened in binary mode"):
        files.read_all(wrong)
    with pytest.raises(FieldTypeError), files.writing(wrong):
        pass


def broken_off(target):
    with files.writing(target) as stream:
        stream.write(b"new")
        stream.write(bytes(1 // 0))


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    with pytest.raises(ZeroDivisionError):
        broken_off(path)

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_an_error_while_writing_to_a_url_leaves_no_half_object():
    with pytest.raises(ZeroDivisionError):
        broken_off("memory://files/half")

    assert not fsspec.filesystem("memory").exists("/files/half")


def test_an_error_while_writing_to_a_url_leaves_the_old_object():
    with files.writing("memory://files/old") as stream:
        stream.write(b"old")

    with pytest.raises(ZeroDivisionError):
        broken_off("memory://files/old")

    assert b"old" == files.read_all("memory://files/old")


def test_a_folder_that_is_not_there_is_told_with_the_name_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        broken_off(tmp_path / "nowhere" / "x")

    assert str(tmp_path / "nowhere" / "x") == caught.value.filename


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    code = f"""
        import os, signal
        from docarray.files import writing
        with writing({str(path)!r}) as stream:
            stream.write(b"new" * 100_000)
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])

    assert -9 == done.returncode
    assert b"old" == path.read_bytes()


def test_a_replaced_file_keeps_its_rights_and_its_link(tmp_path):
    path, link = tmp_path / "x", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)

    with files.writing(link) as stream:
        stream.write(b"new")

    assert b"new" == path.read_bytes()
    assert link.is_symlink()
    assert 0o640 == path.stat().st_mode & 0o777


def test_a_stream_that_takes_less_than_it_is_given_gets_the_rest():
    class Slow(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data[:2])
            return min(2, len(data))

    slow = Slow()
    with files.writing(slow) as stream:
        stream.write(b"seven..")
        stream.writelines([b"a", b"bcd"])

    assert b"seven..abcd" == slow.data


def test_a_map_is_written_to_without_the_file_seeing_it(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"data")

    view = files.mapped(path)
    view[0] = ord("D")

    assert b"Data" == bytes(view)
    assert b"data" == path.read_bytes()


def test_what_has_no_length_is_not_mapped(tmp_path):
    (tmp_path / "empty").touch()

    assert files.mapped(tmp_path / "empty") is None
    assert files.mapped("/dev/null") is None


def test_an_unknown_scheme_and_a_missing_file():
    with pytest.raises(ValueError, match="nowhere"), files.reading("nowhere://x"):
        pass
    with pytest.raises(FileNotFoundError):
        files.read_all("memory://files/not there")
    with pytest.raises(FileNotFoundError):
        files.read_all(Path("/not/there"))


def test_a_url_without_fsspec_says_what_to_install(tmp_path):
    (tmp_path / "fsspec.py").write_text("raise ImportError('hidden')")
    code = "from docarray.files import read_all; read_all('memory://x')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(files.__file__).parents[1]}"},
        capture_output=True,
        text=True,
    )

    assert MissingExtra.__name__ in done.stderr
    assert 'pip install "docarray[remote]"' in done.stderr
