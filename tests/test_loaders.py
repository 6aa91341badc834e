"""Loaders: files, lines, arrays, frames of a camera; what they sample, where they stop, what they say of wrong rows."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import random
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from everything import difference
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray, loaders
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    MissingExtra,
    UnsupportedFormat,
)
from docarray.loaders import (
    from_csv,
    from_dataframe,
    from_files,
    from_lines,
    from_ndarray,
    from_ndjson,
    generator_from_webcam,
    tables_from_csv,
    tables_from_lines,
    tables_from_ndarray,
    tables_from_ndjson,
)

CSV = "text,colour\ntea,green\ncoffee,brown\n"
NDJSON = '{"text": "tea", "price": 3}\n\n{"text": "coffee", "tags": {"price": 5}}\n'


def rows(docs):
    return [(doc.text, doc.tags) for doc in docs]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Some files, in the current directory."""
    monkeypatch.chdir(tmp_path)
    for name, data in {
        "b.txt": b"two",
        "a.txt": "däta".encode(),
        "x.png": b"\x89PNG\xff",
        "in/c.txt": b"three",
        "in/deep/d.txt": b"four",
        "[odd].txt": b"odd",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


# ------------------------------------------------------------------------------------------------ files


def uris(docs):
    return [Path(doc.uri).as_posix() for doc in docs]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("*.txt", ["[odd].txt", "a.txt", "b.txt"]),
        (Path("*.png"), ["x.png"]),
        (["b.txt", "*.png", "b.txt"], ["b.txt", "x.png", "b.txt"]),
        ("**/*.txt", ["[odd].txt", "a.txt", "b.txt", "in/c.txt", "in/deep/d.txt"]),
        ("in/**", ["in/c.txt", "in/deep/d.txt"]),
        ("in/*", ["in/c.txt"]),
        ("[ab].txt", ["a.txt", "b.txt"]),
        ("[odd].txt", ["[odd].txt"]),
        ("nothing*", []),
        ([], []),
    ],
)
def test_patterns(folder, patterns, expected):
    assert expected == uris(from_files(patterns))


def test_not_recursive(folder):
    assert ["in/c.txt"] == uris(from_files("**/*.txt", recursive=False))


def test_the_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))

    assert [(folder / "x.png").as_posix()] == uris(from_files("~/*.png"))


def test_contents_of_files(folder):
    (text,) = from_files("a.txt", read_mode="r")
    (blob,) = from_files("x.png", read_mode="rb")
    (bare,) = from_files("x.png")

    assert ("däta", "a.txt", "text/plain") == (text.text, text.uri, text.mime_type)
    assert (b"\x89PNG\xff", "image/png") == (blob.blob, blob.mime_type)
    assert ("id", "mime_type", "uri") == tuple(sorted(bare.non_empty_fields))


@pytest.mark.parametrize("name", ["to_datauri", "to_dataturi"])
def test_data_uris_hold_the_file(folder, name):
    from urllib.request import urlopen

    for path in ("a.txt", "x.png"):
        (doc,) = from_files(path, read_mode="rb", **{name: True})
        with urlopen(doc.uri) as answer:
            assert Path(path).read_bytes() == answer.read() == doc.blob
    (text,) = from_files("a.txt", **{name: True})
    assert "data:text/plain;charset=utf-8,d%C3%A4ta" == text.uri


def test_excluded_files(folder):
    """The expression is compared from the beginning of the path, as it always was."""
    assert ["[odd].txt", "b.txt"] == uris(from_files("*.txt", exclude_regex="a"))
    assert 3 == len(list(from_files("*.txt", exclude_regex="txt")))
    assert ["[odd].txt"] == uris(from_files("*.txt", exclude_regex=r".*[ab]\."))


def test_wrong_arguments_of_from_files_are_refused_by_the_call(folder):
    with pytest.raises(RuntimeError, match="read_mode='w'"):
        from_files("*", read_mode="w")
    with pytest.raises(DocArrayError):
        from_files("*", read_mode="w")
    with pytest.raises(ValueError, match=r"exclude_regex='\['"):
        from_files("*", exclude_regex="[")
    with pytest.raises(FieldTypeError, match="pattern"):
        from_files([5])


def test_a_file_that_is_no_text_is_named(folder):
    with pytest.raises(BadValue, match=r"'x.png' is no text in UTF-8, at byte 0: read_mode='rb'"):
        list(from_files("x.png", read_mode="r"))


def test_files_are_read_no_further_than_asked(folder, monkeypatch):
    seen = []
    real = loaders.files.read_all
    monkeypatch.setattr(loaders.files, "read_all", lambda name: seen.append(name) or real(name))
    monkeypatch.setattr(loaders, "_BLOCK", 1)

    assert 2 == len(list(from_files("**/*.txt", size=2, read_mode="rb")))
    assert 2 == len(seen)

    next(from_files("**/*.txt", read_mode="rb"))

    assert 3 == len(seen), "the first document waits for all files"


def test_files_at_a_url(folder):
    fsspec = pytest.importorskip("fsspec", reason='pip install "docarray[remote]"')
    memory = fsspec.filesystem("memory")
    for name in ("b.txt", "a.txt", "in/c.txt"):
        memory.pipe_file(f"/loaders/{name}", name.encode())

    found = list(from_files(["memory://loaders/**/*.txt", "memory://loaders/b.txt"], read_mode="r"))
    flat = list(from_files("memory://loaders/*.txt", recursive=False))
    memory.rm("/loaders", recursive=True)

    assert ["a.txt", "b.txt", "in/c.txt", "b.txt"] == [doc.text for doc in found]
    assert all(doc.uri.startswith("memory://") for doc in found)
    assert ["text/plain"] * 2 == [doc.mime_type for doc in flat]


# ------------------------------------------------------------------------------------------------ sources of lines


def sources(data, tmp_path):
    """The same bytes as everything that lines are read from."""
    path = tmp_path / "file.dat"
    path.write_bytes(data)
    (tmp_path / "file.dat.gz").write_bytes(gzip.compress(data))
    with contextlib.suppress(ImportError):
        import fsspec

        fsspec.filesystem("memory").pipe_file("/loaders.dat", data)
        yield "remote", "memory://loaders.dat"
    yield "path", str(path)
    yield "Path", path
    yield "URL", path.as_uri()
    yield "packed", str(path) + ".gz"
    yield "bytes", data
    yield "memoryview", memoryview(data)
    yield "BytesIO", io.BytesIO(data)
    yield "StringIO", io.StringIO(data.decode())
    yield "lines", data.decode().split("\n")
    yield "lines with ends", data.decode().splitlines(keepends=True)
    yield "lines of bytes", data.splitlines()
    yield "generator", (line for line in data.decode().splitlines())


def test_csv_from_any_source(tmp_path):
    expected = [("tea", {"colour": "green"}), ("coffee", {"colour": "brown"})]
    for kind, source in sources(CSV.encode(), tmp_path):
        assert expected == rows(from_csv(source)), kind
    with open(tmp_path / "file.dat", "rb") as binary, open(tmp_path / "file.dat") as text:
        assert expected == rows(from_csv(binary)) == rows(from_csv(text))
        assert not binary.closed
        assert not text.closed


def test_ndjson_from_any_source(tmp_path):
    expected = [("tea", {"price": 3}), ("coffee", {"price": 5})]
    for kind, source in sources(NDJSON.encode(), tmp_path):
        assert expected == rows(from_ndjson(source)), kind
    with open(tmp_path / "file.dat", "rb") as binary, open(tmp_path / "file.dat") as text:
        assert expected == rows(from_ndjson(binary)) == rows(from_ndjson(text))


@pytest.mark.parametrize("mode", ["r", "rb"])
def test_plain_lines_from_any_source(tmp_path, mode):
    for kind, source in sources(b"one\r\n\ntwo", tmp_path):
        how = "lines" if "line" in kind or kind == "generator" else "filepath"
        found = from_lines(**{how: source}, read_mode=mode, line_format="plain")
        assert ["one", "", "two"] == [doc.text if mode == "r" else doc.blob.decode() for doc in found], kind


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-32-le"])
def test_other_encodings(tmp_path, encoding):
    (tmp_path / "x.txt").write_text("ä\nö\n", encoding=encoding, newline="")
    (tmp_path / "x.csv").write_text("text\nä\nö\n", encoding=encoding, newline="")

    assert ["ä", "ö"] == [doc.text for doc in from_lines(filepath=tmp_path / "x.txt", encoding=encoding)]
    assert ["ä", "ö"] == [doc.text for doc in from_csv(tmp_path / "x.csv", encoding=encoding)]
    (tmp_path / "x.txt").write_bytes(b"\xff\xfea\xd8" if encoding != "latin-1" else b"")
    if encoding != "latin-1":
        with pytest.raises(CorruptData, match=rf"x\.txt'.*no text in {encoding}"):
            list(from_lines(filepath=tmp_path / "x.txt", encoding=encoding))


def test_a_source_that_is_none():
    for call in (from_csv, from_ndjson, lambda source: from_lines(filepath=source)):
        for source in (5, {"a": 1}, Document(text="x")):
            with pytest.raises(FieldTypeError):
                list(call(source))
        with pytest.raises(FileNotFoundError):
            list(call("nosuch.csv"))
        with pytest.raises(FieldTypeError, match="str or bytes"):
            list(call([5]))


# ------------------------------------------------------------------------------------------------ CSV


@pytest.mark.parametrize("dialect", ["auto", "excel-tab", csv.excel_tab, csv.get_dialect("excel-tab")])
def test_csv_in_other_dialects(dialect):
    assert [("tea", {"x": "1"}), ("milk", {"x": "2"})] == rows(
        from_csv(["text\tx", "tea\t1", "milk\t2"], dialect=dialect)
    )


def test_csv_with_a_resolver():
    assert [("tea", {"b": "1"})] == rows(from_csv(["a,b", "tea,1"], field_resolver={"a": "text"}))


def test_csv_with_a_line_end_in_a_cell(tmp_path):
    assert ["two\nlines"] == [doc.text for doc in from_csv(["text,x", '"two', 'lines",1'])]


def test_csv_pairs():
    pairs = list(from_csv(["document,groundtruth", "tea,4", "milk,", "rum,5"]))

    assert [("tea", "4"), ("milk", ""), ("rum", "5")] == [(doc.text, truth.text) for doc, truth in pairs]


def test_a_wrong_row_of_csv_is_named(tmp_path):
    (tmp_path / "x.csv").write_text("text,weight\ntea,1\nmilk,heavy\n")
    with pytest.raises(CorruptData, match=r"x\.csv': row \d, column 'weight'"):
        list(from_csv(tmp_path / "x.csv"))
    (tmp_path / "x.csv").write_text("text,weight\ntea,1\nmilk\n")
    with pytest.raises(CorruptData, match=r"x\.csv': row \d.* has 1 cells"):
        list(from_csv(tmp_path / "x.csv"))


# ------------------------------------------------------------------------------------------------ JSON


def test_ndjson_with_a_resolver():
    assert [("tea", {"b": 1})] == rows(from_ndjson(['{"a": "tea", "b": 1}'], field_resolver={"a": "text"}))


def test_lines_of_json_may_be_written_over_several_lines():
    assert ["tea"] == [doc.text for doc in from_ndjson(['{\n "text":\n "tea"}'])]


def test_pairs_come_between_documents_in_their_order():
    lines = [
        '{"text": "a"}',
        '{"document": {"text": "b"}, "groundtruth": {"text": "B", "tags": {"n": 1}}}',
        '{"document": "c", "groundtruth": {"text": "C"}}',
        '{"text": "groundtruth", "document": 5}',
    ]

    one, two, three, four = from_lines(lines)

    assert "a" == one.text
    assert ("b", "B", {"n": 1}) == (two[0].text, two[1].text, two[1].tags)
    assert ("c", "C") == (three[0].text, three[1].text)
    assert ("groundtruth", {"document": 5}) == (four.text, four.tags)


def test_an_array_holds_no_pairs():
    line = '{"document": {"text": "b"}, "groundtruth": {"text": "B"}}'
    for call in (tables_from_ndjson, tables_from_lines):
        with pytest.raises(BadValue, match="pairs, which no array holds"):
            list(call([line]))


def test_a_pair_of_something_else():
    with pytest.raises(CorruptData, match="line 1: a side of a pair is neither an object nor a text"):
        list(from_ndjson(['{"document": [1], "groundtruth": {}}']))


@pytest.mark.parametrize("bad", ["{", "[1]", '{"text": 5}', '{"embedding": "x"}'])
@pytest.mark.parametrize("before", [0, 1, 15, 16, 40, 5000])
def test_a_wrong_line_of_json_is_named(tmp_path, bad, before):
    lines = ['{"text": "x"}'] * before + [bad] + ['{"text": "y"}'] * 3
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines))

    with pytest.raises(CorruptData, match=rf"line {before + 1}\b"):
        list(from_ndjson(lines))
    with pytest.raises(CorruptData, match=rf"x\.jsonl': line {before + 1}: "):
        list(from_lines(filepath=path))
    assert before == len(list(from_ndjson(path, size=before))), "nobody asked for the wrong line"


def test_a_wrong_line_far_into_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(loaders, "_BLOCK", 100)
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "x"}\n' * 999 + "{\n")

    with pytest.raises(CorruptData, match=r"line 1000\b"):
        list(from_ndjson(path))


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_the_size_of_a_block_changes_nothing(tmp_path, monkeypatch, block):
    monkeypatch.setattr(loaders, "_BLOCK", block)
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\n\n{"text": "\xc3\xa4"}\r\n{"text": "b"}\n\n{"text": "c"}')

    assert ["ä", "b", "c"] == [doc.text for doc in from_ndjson(path)]


# ------------------------------------------------------------------------------------------------ lines


@pytest.mark.parametrize("suffix", ["jsonlines", "ndjson", "jsonl", "jl", "ldjson", "JSONL", "jsonl.gz"])
def test_suffixes_of_json(tmp_path, suffix):
    data = NDJSON.encode()
    (tmp_path / f"x.{suffix}").write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)

    assert ["tea", "coffee"] == [
        doc.text for doc in from_lines(filepath=tmp_path / f"x.{suffix}", line_format="csv")
    ]


@pytest.mark.parametrize("suffix", ["csv", "tcsv"])
def test_suffixes_of_csv(tmp_path, suffix):
    (tmp_path / f"x.{suffix}").write_text(CSV)

    assert ["tea", "coffee"] == [doc.text for doc in from_lines(filepath=str(tmp_path / f"x.{suffix}"))]


def test_a_file_of_no_suffix_is_plain_lines_or_what_is_said(tmp_path):
    (tmp_path / "x.txt").write_text(NDJSON)

    assert NDJSON.splitlines() == [doc.text for doc in from_lines(filepath=tmp_path / "x.txt")]
    assert ["tea", "coffee"] == [
        doc.text for doc in from_lines(filepath=tmp_path / "x.txt", line_format="json")
    ]


def test_lines_of_csv():
    assert rows(from_csv(io.StringIO(CSV))) == rows(from_lines(CSV.splitlines(), line_format="csv"))


def test_wrong_arguments_of_from_lines():
    with pytest.raises(ValueError, match="give one of the two"):
        from_lines()
    with pytest.raises(ValueError, match="give one of the two"):
        from_lines(["a"], filepath="b")
    with pytest.raises(RuntimeError, match="read_mode='x'"):
        from_lines(["a"], read_mode="x")
    with pytest.raises(FieldTypeError, match="goes to `filepath`"):
        from_lines("a.csv")


def test_a_plain_line_that_is_no_text_is_named(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"a\nb\nc\xff\n")

    with pytest.raises(CorruptData, match=r"x\.txt': line 3, byte 1: this is no text in utf-8"):
        list(from_lines(filepath=tmp_path / "x.txt"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))))
@settings(max_examples=50)
def test_plain_lines_are_lines(lines):
    data = "".join(line + "\n" for line in lines).encode()

    assert lines == [doc.text for doc in from_lines(lines, line_format="text")]
    assert lines == [doc.text for doc in from_lines(filepath=data)]


# ------------------------------------------------------------------------------------------------ size, sampling


NUMBERED = [f'{{"text": "{i}"}}' for i in range(10_000)]


def loaded(kind, **options):
    """The same ten thousand documents from each loader."""
    if kind == "csv":
        return from_csv(["text", *map(str, range(10_000))], **options)
    if kind == "ndjson":
        return from_ndjson(NUMBERED, **options)
    if kind == "lines":
        return from_lines(map(str, range(10_000)), line_format="plain", **options)
    return from_lines(filepath="\n".join(NUMBERED).encode(), line_format="json", **options)


KINDS = ["csv", "ndjson", "lines", "bytes"]


@pytest.mark.parametrize("kind", KINDS)
def test_size_and_sampling(kind):
    everyone = [doc.text for doc in loaded(kind)]
    sample = [doc.text for doc in loaded(kind, sampling_rate=0.1, seed=1)]

    assert list(map(str, range(10_000))) == everyone
    assert 800 < len(sample) < 1200
    assert sorted(sample, key=int) == sample
    assert sample == [doc.text for doc in loaded(kind, sampling_rate=0.1, seed=1)]
    assert sample != [doc.text for doc in loaded(kind, sampling_rate=0.1, seed=2)]
    assert sample[:700] == [doc.text for doc in loaded(kind, sampling_rate=0.1, seed=1, size=700)]
    assert everyone[:5000] == [doc.text for doc in loaded(kind, size=5000)]
    assert [] == list(loaded(kind, size=0)) == list(loaded(kind, sampling_rate=0.0))
    assert everyone == [doc.text for doc in loaded(kind, sampling_rate=1.0)]


def test_a_seed_draws_the_same_rows_from_any_source():
    drawn = [[doc.text for doc in loaded(kind, sampling_rate=0.01, seed=7)] for kind in KINDS]

    assert drawn[0]
    assert [drawn[0]] * 4 == drawn


def test_sampling_leaves_the_random_numbers_of_others_alone():
    state, numpy_state = random.getstate(), np.random.get_state()[1].tolist()
    list(loaded("ndjson", sampling_rate=0.5))
    list(from_ndarray(np.zeros((5, 2)), shuffle=True))

    assert state == random.getstate()
    assert numpy_state == np.random.get_state()[1].tolist()


@pytest.mark.parametrize("size", [-1, 1.5, True, "3"])
def test_a_size_that_cannot_be(size):
    for call in (from_files, from_csv, from_ndjson, from_lines):
        with pytest.raises(BadValue, match="size="):
            call(["x"], size=size)
    with pytest.raises(BadValue, match="size="):
        from_ndarray(np.zeros(3), size=size)


@pytest.mark.parametrize("rate", [-0.1, 1.1, "x", float("nan")])
def test_a_rate_that_cannot_be(rate):
    for call in (from_files, from_csv, from_ndjson, from_lines):
        with pytest.raises(BadValue, match="sampling_rate="):
            call(["x"], sampling_rate=rate)


def test_an_endless_source_ends_at_its_size():
    endless = (f'{{"text": "{i}"}}' for i in itertools.count())
    plain = (str(i) for i in itertools.count())

    assert 100 == len(list(from_ndjson(endless, size=100)))
    assert 100 == len(list(from_lines(plain, line_format="plain", size=100)))
    assert "0" == next(from_ndjson(f'{{"text": "{i}"}}' for i in itertools.count())).text


def test_files_are_closed_when_nobody_goes_on(tmp_path):
    """A ResourceWarning is an error here."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "x"}\n' * 100)
    docs = from_ndjson(path)
    next(docs)
    del docs
    list(from_ndjson(path, size=1))
    path.unlink()


def test_documents_are_those_of_the_tables(tmp_path):
    for table, docs in [
        (tables_from_csv(CSV.encode()), from_csv(CSV.encode())),
        (tables_from_ndjson(NDJSON.encode()), from_ndjson(NDJSON.encode())),
        (tables_from_ndarray(np.eye(3)), from_ndarray(np.eye(3))),
    ]:
        found = [
            text for one in table for text in zip(*(c.values() for c in one.columns.values()), strict=True)
        ]
        assert len(found) == len(list(docs)) > 1


# ------------------------------------------------------------------------------------------------ arrays


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_the_axis_is_walked(axis):
    array = np.arange(24).reshape(2, 3, 4)

    found = [doc.tensor for doc in from_ndarray(array, axis=axis)]

    expected = list(np.moveaxis(array, axis, 0))
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        assert difference(one, other) is None


def test_the_tensors_share_memory_with_the_array():
    array = np.zeros((3, 4))
    first = next(from_ndarray(array))
    first.tensor[0] = 5

    assert 5 == array[0, 0]


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint64", "bool", "complex64", ">f4"])
def test_the_dtype_stays(dtype):
    array = np.arange(6).reshape(3, 2).astype(dtype)

    assert [array.dtype] * 3 == [doc.tensor.dtype for doc in from_ndarray(array)]


def test_numbers_of_one_axis():
    assert [0, 1] == [int(doc.tensor) for doc in from_ndarray(np.arange(5), size=2)]


def test_shuffled():
    array = np.arange(100).reshape(50, 2)
    found = [doc.tensor.tolist() for doc in from_ndarray(array, shuffle=True, seed=3)]

    assert array.tolist() == sorted(found)
    assert array.tolist() != found
    assert found == [doc.tensor.tolist() for doc in from_ndarray(array, shuffle=True, seed=3)]
    assert found[:7] == [doc.tensor.tolist() for doc in from_ndarray(array, shuffle=True, seed=3, size=7)]
    other = [doc.tensor.tolist() for doc in from_ndarray(array.T, axis=1, shuffle=True, seed=3)]
    assert found == other


def test_one_table_of_an_array_is_the_array():
    array = np.zeros((10_000, 3))
    (table,) = tables_from_ndarray(array)

    assert np.shares_memory(array, table.columns["tensor"].data)
    assert [] == list(tables_from_ndarray(array[:0]))
    assert 3 == len(list(from_ndarray(array.astype("f4"), size=3)))


def test_lists_are_arrays_too():
    assert [[1, 2], [3, 4]] == [doc.tensor.tolist() for doc in from_ndarray([[1, 2], [3, 4]])]


def test_arrays_of_torch_stay_so():
    torch = pytest.importorskip("torch", reason="pip install torch")
    found = list(from_ndarray(torch.arange(6).reshape(2, 3), axis=1))

    assert [[0, 3], [1, 4], [2, 5]] == [doc.tensor.tolist() for doc in found]
    assert isinstance(found[0].tensor, torch.Tensor)


def test_sparse_arrays_stay_so():
    scipy = pytest.importorskip("scipy.sparse", reason='pip install "docarray[scipy]"')
    array = scipy.csr_matrix(np.arange(6).reshape(2, 3))

    for axis, shape in ((0, (1, 3)), (1, (1, 2))):
        found = list(from_ndarray(array, axis=axis))
        assert [shape] * (2 + axis) == [doc.tensor.shape for doc in found]
        assert np.moveaxis(array.toarray(), axis, 0).tolist() == [
            doc.tensor.toarray()[0].tolist() for doc in found
        ]


@pytest.mark.parametrize("array", ["text", 5, None, np.array(["a"]), [[1], [2, 3]], {"a": 1}])
def test_what_is_no_array(array):
    with pytest.raises(DocArrayError):
        from_ndarray(array)


@pytest.mark.parametrize("axis", [2, -3, 1.0, None])
def test_an_axis_that_is_none(axis):
    with pytest.raises(BadValue, match="axis="):
        from_ndarray(np.zeros((2, 3)), axis=axis)


# ------------------------------------------------------------------------------------------------ other libraries


def test_data_frames():
    pandas = pytest.importorskip("pandas", reason='pip install "docarray[pandas]"')
    frame = pandas.DataFrame({"text": ["tea", None], "price": [3, 5]})

    assert [("tea", {"price": 3}), ("", {"price": 5})] == rows(from_dataframe(frame))


def test_data_sets_of_hugging_face(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="pip install datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "x.jsonl").write_text('{"title": "tea", "n": 1}\n{"title": "milk", "n": 2}\n')
    options = {"data_files": str(tmp_path / "x.jsonl"), "cache_dir": str(tmp_path / "cache")}

    found = loaders.from_huggingface_datasets("json", {"title": "text"}, split="train", **options)

    assert [("tea", {"n": 1}), ("milk", {"n": 2})] == rows(found)
    with pytest.raises(ValueError, match="train"):
        list(loaders.from_huggingface_datasets("json", **options))
    with pytest.raises(BadValue, match="size="):
        loaders.from_huggingface_datasets("json", size=-1, split="train", **options)


# ------------------------------------------------------------------------------------------------ a camera


class Camera:
    """What cv2 is to the loader, without a device: three frames, and a log of what was done."""

    def __init__(self, frames=3, key=-1, opens=True):
        self.log = []
        log = self.log

        class VideoCapture:
            def __init__(self, device):
                log.append(("open", device))
                self.left = frames

            def isOpened(self):
                return opens

            def read(self):
                self.left -= 1
                return (True, np.full((4, 6, 3), self.left, np.uint8)) if self.left >= 0 else (False, None)

            def release(self):
                log.append(("release",))

        self.module = types.SimpleNamespace(
            VideoCapture=VideoCapture,
            resize=lambda frame, size: np.zeros((size[1], size[0], 3), np.uint8),
            putText=lambda picture, text, *rest: picture,
            FONT_HERSHEY_SIMPLEX=0,
            imshow=lambda title, picture: log.append(("show", title, picture.shape)),
            waitKey=lambda wait: key if wait >= 1 else pytest.fail("0 waits for ever"),
            destroyWindow=lambda title: log.append(("destroy", title)),
        )


@pytest.fixture
def camera(monkeypatch):
    def put(**options):
        found = Camera(**options)
        monkeypatch.setattr(loaders, "require", lambda *args: found.module)
        return found

    return put


def test_frames_of_a_camera(camera):
    found = camera()

    docs = list(generator_from_webcam(show_window=False, fps=1000, tags={"a": 1}))

    assert [(4, 6, 3)] * 3 == [doc.tensor.shape for doc in docs]
    assert [2, 1, 0] == [int(doc.tensor[0, 0, 0]) for doc in docs]
    assert [{"a": 1}] * 3 == [doc.tags for doc in docs]
    assert docs[0].tags is not docs[1].tags
    assert [("open", 0), ("release",)] == found.log


def test_a_window_shows_frames_of_the_size_that_is_wanted(camera):
    found = camera()

    docs = list(generator_from_webcam((2, 3), window_title="w", fps=1000, device="film.avi"))

    assert [(2, 3, 3)] * 3 == [doc.tensor.shape for doc in docs]
    assert [
        ("open", "film.avi"),
        *[("show", "w", (2, 3, 3))] * 3,
        ("release",),
        ("destroy", "w"),
    ] == found.log


def test_a_key_an_event_and_the_reader_end_it(camera):
    found = camera(frames=100, key=27)
    assert 1 == len(list(generator_from_webcam(fps=1000)))

    event = threading.Event()
    found = camera(frames=100)
    docs = generator_from_webcam(fps=1000, exit_event=event, show_window=False)
    next(docs)
    event.set()
    assert [] == list(docs)
    assert ("release",) == found.log[-1]

    found = camera(frames=100)
    docs = generator_from_webcam(fps=1000)
    next(docs)
    docs.close()
    assert ("release",) == found.log[-1]


def test_frames_do_not_come_faster_than_asked(camera):
    camera(frames=5)
    start = time.monotonic()
    list(generator_from_webcam(fps=50, show_window=False))

    assert time.monotonic() - start >= 4 / 50


def test_a_camera_that_cannot_be_opened(camera):
    found = camera(opens=False)
    with pytest.raises(BadValue, match="camera or film 3 cannot be opened"):
        next(generator_from_webcam(device=3))
    assert ("release",) == found.log[-1]
    with pytest.raises(BadValue, match="fps"):
        generator_from_webcam(fps=0)


def test_without_opencv_it_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match="pip install opencv-python"):
        generator_from_webcam()


def test_frames_of_a_film(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="pip install opencv-python-headless")
    path = str(tmp_path / "film.avi")
    film = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 16))
    for level in (0, 100, 200):
        film.write(np.full((16, 32, 3), level, np.uint8))
    film.release()

    docs = list(generator_from_webcam((8, 8), show_window=False, fps=1000, device=path))

    assert [(8, 8, 3)] * 3 == [doc.tensor.shape for doc in docs]
    assert [0, 100, 200] == [round(float(doc.tensor.mean()), -1) for doc in docs]


# ------------------------------------------------------------------------------------------------ arrays of them


def test_arrays_are_made_of_them(folder):
    assert 3 == len(DocumentArray(from_files("*.txt")))
    assert ["tea", "coffee"] == DocumentArray(from_csv(CSV.encode())).texts


# --- the old storage ----------------------------------------------------------------------------------------------

OLD = Path(__file__).parent / "data" / "old" / "sqlite.db"


@pytest.mark.parametrize(
    ("name", "how"), [("films", {}), ("packed", {"protocol": "protobuf", "compress": "gzip"})]
)
def test_an_array_of_the_old_sqlite_storage_is_brought_over(name, how, tmp_path):
    """The file was written by docarray 0.21.0: see data/old/write_sqlite.py."""
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    config = {"connection": str(tmp_path / "new.db")}

    da = DocumentArray(loaders.from_old_sqlite(OLD, name, **how), storage="sqlite", config=config)

    assert ["a", "between", "b", "é"] == da[:, "id"]
    assert {"n": 1.5, "x": [1, "y"]} == da["a"].tags
    assert ([1.0, 2.0], "chunk", "a") == (
        da["a"].embedding.tolist(),
        da["a"].chunks[0].text,
        da["@c"][0].parent_id,
    )
    assert (b"\0\1", 0.5, "image/png") == (da["b"].blob, da["b"].weight, da["b"].mime_type)
    assert np.eye(2).tolist() == da["é"].tensor.tolist()
    da.close()


def test_an_old_table_says_how_it_is_brought_over(tmp_path):
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    copied = tmp_path / "old.db"
    copied.write_bytes(OLD.read_bytes())

    with pytest.raises(UnsupportedFormat, match="from_old_sqlite"):
        DocumentArray(storage="sqlite", config={"connection": str(copied), "table_name": "films"})

    assert 4 == len(list(loaders.from_old_sqlite(copied, "films")))


def test_what_is_no_old_array_says_so(tmp_path):
    (tmp_path / "x.db").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="films, packed: name one"):
        loaders.from_old_sqlite(OLD)
    with pytest.raises(ValueError, match="none is called 'film'"):
        loaders.from_old_sqlite(OLD, "film")
    with pytest.raises(ValueError, match="no file of the old"):
        loaders.from_old_sqlite(tmp_path / "x.db")
    with pytest.raises(FileNotFoundError):
        loaders.from_old_sqlite(tmp_path / "y.db")
    with pytest.raises(CorruptData, match="document 'a' of the old array 'packed'"):
        list(loaders.from_old_sqlite(OLD, "packed"))
