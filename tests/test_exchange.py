"""By name, by content, by suffix: which format is taken, what is wrapped, and what an error names."""

import importlib.util
import io
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from everything import alike_array, difference, everything_array

from docarray import Document, DocumentArray, exchange
from docarray.errors import (
    BadValue,
    CorruptData,
    FieldTypeError,
    UnknownName,
    Unsupported,
    UnsupportedFormat,
)
from docarray.registry import FORMATS, known, resolve

pytest.importorskip("lz4", reason='pip install "docarray[compression]"')
pytest.importorskip("pyarrow", reason='pip install "docarray[arrow]"')

HERE = Path(__file__).parent

ALL = list(FORMATS)
BY_CONTENT = [name for name in ALL if name not in ("pickle-array", "pickle", "csv")]
PACKED = ["lz4", "gzip", "bz2", "lzma", "zlib", "zstd"]


@pytest.fixture
def da():
    return alike_array(7)


def same(a, b):
    return difference(list(a), list(b)) is None


@pytest.mark.parametrize("name", ALL)
def test_a_format_knows_its_name(name):
    assert name == resolve("format", name).name


@pytest.mark.parametrize("name", ALL)
def test_bytes_and_back(da, name):
    assert same(da, DocumentArray.from_bytes(da.to_bytes(name), name))


@pytest.mark.parametrize("name", BY_CONTENT)
def test_bytes_are_known_by_content(da, name):
    assert same(da, DocumentArray.from_bytes(da.to_bytes(name)))


@pytest.mark.parametrize("compress", PACKED)
@pytest.mark.parametrize("name", ALL)
def test_every_format_takes_every_compression(da, name, compress):
    data = da.to_bytes(name, compress)

    assert same(da, DocumentArray.from_bytes(data, name, compress))


@pytest.mark.parametrize("compress", ["lz4", "gzip", "bz2", "lzma", "zstd"])
def test_a_compression_around_the_whole_is_known_by_content(da, compress):
    assert same(da, DocumentArray.from_bytes(da.to_bytes("json", compress)))
    assert same(da, DocumentArray.from_bytes(da.to_bytes("protobuf-array", compress), "protobuf-array"))


@pytest.mark.parametrize("name", [n for n in ALL if n != "csv"])
def test_one_document(name):
    doc = alike_array(1)[0]
    doc.chunks = [Document(id="c", text="below")]

    assert difference(doc, Document.from_bytes(doc.to_bytes(name), name)) is None


SUFFIXES = [
    "x.docarray",
    "x.bin",
    "x",
    "x.json",
    "x.json.gz",
    "x.ndjson",
    "x.jsonl.zst",
    "x.csv",
    "x.csv.bz2",
    "x.arrow",
    "x.arrow.lz4",
    "x.parquet",
    "x.protobuf",
    "x.protobuf.lz4",
    "x.protobuf-array.gz",
    "x.lz4.protobuf-array",
    "x.pickle",
    "x.pickle-array.xz",
]


@pytest.mark.parametrize("name", SUFFIXES)
def test_the_name_of_a_file_says_what_is_in_it(da, tmp_path, name):
    da.save(tmp_path / name)

    assert same(da, DocumentArray.load(tmp_path / name))


@pytest.mark.parametrize("name", SUFFIXES)
def test_documents_are_streamed_from_it(da, tmp_path, name):
    da.save(tmp_path / name)

    docs = DocumentArray.load(tmp_path / name, streaming=True)

    assert same(da, docs)


@pytest.mark.parametrize("name", ["binary", "arrow", "parquet"])
def test_content_goes_before_the_name(da, tmp_path, name):
    """A file that was renamed is still what it is, where it has a mark of its own."""
    path = tmp_path / "x.json"
    path.write_bytes(da.to_bytes(name))

    assert same(da, DocumentArray.load(path))


def test_what_is_asked_for_by_name_is_used(da, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(da.to_bytes("json"))

    assert same(da, DocumentArray.load(path, "json"))
    with pytest.raises(UnsupportedFormat, match="no Parquet file"):
        DocumentArray.load(path, "parquet")


def test_what_is_asked_for_goes_before_the_name_of_the_file(da, tmp_path):
    path = tmp_path / "x.json.gz"
    da.save(path, "protobuf-array", compress="bz2")

    assert path.read_bytes().startswith(b"BZh")
    assert same(da, DocumentArray.load(path, "protobuf-array", compress="bz2"))
    assert same(da, DocumentArray.load(path, "protobuf-array", compress="bz2", streaming=True))
    with pytest.raises(CorruptData):
        DocumentArray.load(path)


def test_the_old_calls_take_the_name_of_the_file_first(da, tmp_path):
    path = tmp_path / "x.protobuf.gz"
    da.save_binary(path, protocol="pickle-array", compress="lz4")

    assert same(da, DocumentArray.load_binary(path, protocol="pickle-array", compress="lz4"))
    assert same(da, DocumentArray.load(path, "protobuf", compress="gzip"))


def test_pickles_are_read_only_by_name(da):
    data = da.to_bytes("pickle-array")

    with pytest.raises(
        UnsupportedFormat, match="read only where it is asked for: pass protocol='pickle-array'"
    ):
        DocumentArray.from_bytes(data)


@pytest.mark.parametrize("data", [b"", b"what is this", bytes(100), "äöü".encode() * 9])
def test_what_no_format_knows_is_told(data):
    with pytest.raises(UnsupportedFormat, match="no format recognises these bytes"):
        DocumentArray.from_bytes(data)


def test_unknown_names_show_the_near_miss(da, tmp_path):
    with pytest.raises(UnknownName, match=r"no format is called 'jsno'\. Did you mean 'json'"):
        da.to_bytes("jsno")
    with pytest.raises(UnknownName, match="no compression is called 'lz5'"):
        da.save(tmp_path / "x", compress="lz5")
    assert [] == list(tmp_path.iterdir())


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "broken.docarray"
    path.write_bytes(alike_array(3).to_bytes()[:-9])

    with pytest.raises(CorruptData, match=r"broken\.docarray"):
        DocumentArray.load(path)
    with pytest.raises(FileNotFoundError):
        DocumentArray.load(tmp_path / "not there")


def test_an_option_that_the_format_does_not_have_is_an_error(da):
    with pytest.raises(TypeError, match="colour"):
        da.to_bytes("json", colour="red")


@pytest.mark.parametrize("wrong", [None, "text", 3, object()])
def test_what_is_no_bytes_is_refused(wrong):
    with pytest.raises(FieldTypeError):
        DocumentArray.from_bytes(wrong)


def test_a_file_object_at_its_position(da):
    stream = io.BytesIO()
    stream.write(b"head")
    da.save(stream)
    stream.seek(4)

    assert same(da, DocumentArray.load(stream))
    stream.seek(4)
    assert same(da, DocumentArray.load(stream, streaming=True))


def test_a_url(da):
    pytest.importorskip("fsspec", reason='pip install "docarray[remote]"')
    for name in (
        "memory://exchange/x.docarray",
        "memory://exchange/x.json.gz",
        "memory://exchange/x.protobuf",
    ):
        da.save(name)
        assert same(da, DocumentArray.load(name))
        assert same(da, DocumentArray.load(name, streaming=True))


def test_a_bomb_is_stopped(tmp_path):
    path = tmp_path / "x.json.gz"
    path.write_bytes(exchange.compression.compress(b"[" + bytes(3_000_000), "gzip"))

    with pytest.raises(CorruptData, match=r"x\.json\.gz.*more than 1000000 bytes"):
        DocumentArray.load(path, max_size=1_000_000)


@pytest.mark.parametrize("name", ["binary", "protobuf"])
def test_a_bomb_within_a_format_is_stopped(name, tmp_path):
    da = DocumentArray([Document(tensor=np.zeros(1_000_000, np.uint8))])
    data = da.to_bytes(name, "lz4")
    da.save(tmp_path / "x", name, compress="lz4")

    for read in (
        lambda: DocumentArray.from_bytes(data, name, "lz4", max_size=100_000),
        lambda: DocumentArray.load(tmp_path / "x", name, compress="lz4", max_size=100_000),
        lambda: list(
            DocumentArray.load(tmp_path / "x", name, compress="lz4", max_size=100_000, streaming=True)
        ),
        lambda: Document.from_bytes(da[0].to_bytes(name, "lz4"), name, "lz4", max_size=100_000),
    ):
        with pytest.raises(CorruptData, match="max_size"):
            read()
    assert same(da, DocumentArray.from_bytes(data, name, "lz4", max_size=2_000_000))


def test_writing_documents_as_they_come(tmp_path):
    seen = []

    def docs():
        for number in range(50):
            seen.append(number)
            yield Document(id=str(number), tags={"n": number})

    for name in ("x.docarray", "x.ndjson", "x.protobuf", "x.json", "x.parquet", "x.csv"):
        DocumentArray.save_stream(docs(), tmp_path / name, batch_size=16)
        assert list(range(50)) == DocumentArray.load(tmp_path / name)[:, "tags__n"], name


def test_reading_as_far_as_asked(tmp_path):
    """The rest of the file is broken, and nobody sees it before he comes there."""
    path = tmp_path / "x.ndjson"
    good = alike_array(4000).to_bytes("ndjson")
    path.write_bytes(good + b"{broken")

    docs = DocumentArray.load(path, streaming=True)

    assert "text 0" == next(docs).text
    with pytest.raises(CorruptData, match="4001"):
        list(docs)


def test_nothing_to_write(tmp_path):
    for name in SUFFIXES:
        DocumentArray.save_stream(iter([]), tmp_path / name)
        assert 0 == len(DocumentArray.load(tmp_path / name)), name


@pytest.mark.parametrize("name", ALL)
def test_everything_goes_through_every_format(name):
    """The exam: each kind of value, three levels deep; types, dtypes, NaN and -0.0 come back as they were."""
    da = everything_array()

    assert difference(list(da), list(DocumentArray.from_bytes(da.to_bytes(name), name))) is None


WAYS = {
    "dicts": lambda da: DocumentArray.from_list(da.to_list()),
    "json": lambda da: DocumentArray.from_json(da.to_json()),
    "json of protobuf": lambda da: DocumentArray.from_json(da.to_json("protobuf"), "protobuf"),
    "messages": lambda da: DocumentArray.from_protobuf(da.to_protobuf()),
    "dataframe": lambda da: DocumentArray.from_dataframe(da.to_dataframe()),
    "arrow": lambda da: DocumentArray.from_arrow(da.to_arrow()),
    "base64": lambda da: DocumentArray.from_base64(da.to_base64()),
    "pickling": lambda da: pickle.loads(pickle.dumps(da)),
    "one by one": lambda da: DocumentArray([Document.from_bytes(bytes(doc)) for doc in da]),
    "one by one, protobuf": lambda da: DocumentArray(
        [Document.from_bytes(doc.to_bytes("protobuf"), "protobuf") for doc in da]
    ),
    "one by one, JSON": lambda da: DocumentArray([Document.from_json(doc.to_json()) for doc in da]),
}


@pytest.mark.parametrize("way", WAYS)
def test_everything_goes_every_other_way(way):
    pytest.importorskip("pandas", reason='pip install "docarray[pandas]"')
    da = everything_array()

    assert difference(list(da), list(WAYS[way](da))) is None


@pytest.mark.parametrize("name", ALL)
def test_tensors_of_torch_go_through_every_format(name):
    torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")
    values = [
        torch.tensor([1.5, 2.5]),
        torch.tensor([[1, 2]], dtype=torch.int8),
        torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
        torch.tensor([1.5], dtype=torch.float16),
        torch.tensor(3.0, dtype=torch.float64),
        torch.tensor([True, False]),
        torch.tensor([1j]),
    ]
    da = DocumentArray([Document(id=str(i), embedding=value) for i, value in enumerate(values)])

    back = DocumentArray.from_bytes(da.to_bytes(name), name)

    assert difference([doc.embedding for doc in da], [doc.embedding for doc in back]) is None


@pytest.mark.parametrize("name", ALL)
def test_a_document_in_itself_is_refused(name):
    doc = Document(id="ring")
    doc.chunks = [Document(id="a", matches=[doc, Document(id="b", chunks=[doc, doc])])]

    with pytest.raises(BadValue, match=r"document '(ring|a|b)' is nested in itself"):
        DocumentArray([doc]).to_bytes(name)
    with pytest.raises(BadValue, match="nested in itself"):
        doc.to_bytes(name)


@pytest.mark.parametrize("name", ALL)
def test_documents_nested_too_deep_are_refused(name):
    doc = Document(id="bottom")
    for number in range(200):
        doc = Document(id=str(number), chunks=[doc])

    with pytest.raises((BadValue, Unsupported), match="levels"):
        doc.to_bytes(name)


def test_everything_through_the_default():
    da = everything_array()

    assert same(da, DocumentArray.from_bytes(bytes(da)))
    assert same(da, DocumentArray.from_base64(da.to_base64()))
    assert difference(da[0], Document.from_base64(da[0].to_base64(compress="zstd"))) is None


def test_base64_that_is_none():
    with pytest.raises(CorruptData, match="no base64"):
        DocumentArray.from_base64("§")


def test_a_document_of_many_is_refused(da):
    with pytest.raises(CorruptData, match="7 documents where one was expected"):
        Document.from_bytes(da.to_bytes())


def test_a_subclass_comes_back_as_one():
    class Own(Document):
        pass

    doc = Own(id="a", text="x", embedding=np.zeros(3))

    for name in ("binary", "protobuf", "json"):
        back = Own.from_bytes(doc.to_bytes(name), name)
        assert type(back) is Own
        assert "x" == back.text
    nested = Own.from_bytes(Document(text="x", chunks=[Document(text="c")]).to_bytes())
    assert type(nested) is Own
    assert "c" == nested.chunks[0].text


def test_nested_documents_without_a_place_are_told_theirs():
    da = DocumentArray.from_json('[{"id": "p", "chunks": [{"id": "c", "matches": [{"id": "m"}]}]}]')

    chunk = da[0].chunks[0]

    assert ("p", 1, 0) == (chunk.parent_id, chunk.granularity, chunk.adjacency)
    assert (0, 1) == (chunk.matches[0].granularity, chunk.matches[0].adjacency)


# --- formats of others --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A distribution of somebody else, installed as pip does it."""
    # Asked for without importing it: where distutils of Python came first, setuptools refuses to be imported.
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("pip install setuptools")
    target = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source")
    for file in (HERE / "data" / "shouting").iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "--target",
            str(target),
            str(source),
        ],
        check=True,
        capture_output=True,
    )
    return target


def test_a_format_of_another_distribution(installed, tmp_path):
    code = f"""
        from docarray import Document, DocumentArray
        from docarray.registry import known
        assert "shouting" in known("format")
        da = DocumentArray([Document(text="hello"), Document(text="you")])
        assert b"LOUD\\nHELLO!\\nYOU!" == da.to_bytes("shouting")
        da.save({str(tmp_path / "x.loud")!r}, mark="?")
        assert ["HELLO?", "YOU?"] == DocumentArray.load({str(tmp_path / "x.loud")!r}).texts
        assert ["HELLO?", "YOU?"] == DocumentArray.load(open({str(tmp_path / "x.loud")!r}, "rb").read()).texts
        da.save({str(tmp_path / "y.loud.gz")!r})
        assert ["HELLO!", "YOU!"] == [
            d.text for d in DocumentArray.load({str(tmp_path / "y.loud.gz")!r}, streaming=True)
        ]
        assert "A!" == Document.from_bytes(Document(text="a").to_bytes("shouting"), "shouting").text
        try:
            da.to_bytes("broken")
        except AttributeError as error:
            assert "NOT_THERE" in str(error)
        else:
            raise AssertionError
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": f"{installed}:{HERE.parent}"},
        capture_output=True,
        text=True,
    )

    assert "" == done.stderr


def test_what_is_built_in_cannot_be_taken_over():
    assert ALL == list(known("format"))[: len(ALL)]
