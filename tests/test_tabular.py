"""Tables of real files as chunks: CSV of several dialects and encodings, Parquet, damaged ones, and long ones."""

from __future__ import annotations

import csv
import gzip
import io
import random
import tracemalloc
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray import Document, DocumentArray
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    DocArrayError,
    FormatError,
    MissingExtra,
    UnknownName,
    UnsupportedFormat,
)
from docarray.media import fetch
from docarray.media.tabular import tables

MENU = 'text,price,colour\r\ngreen tea,3,green\r\n"milk, cold",1.5,\r\n'
ROWS = [("green tea", {"price": "3", "colour": "green"}), ("milk, cold", {"price": "1.5"})]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(doc, **options):
    return [(row.text, row.tags) for row in doc.load_uri_to_rows(**options).chunks]


@pytest.fixture
def parquet(here):
    pa = pytest.importorskip("pyarrow", reason='pip install "docarray[arrow]"')
    writer = pytest.importorskip("pyarrow.parquet", reason='pip install "docarray[arrow]"')

    def write(name="menu.parquet", **columns):
        writer.write_table(pa.table(columns), name, row_group_size=1000)
        return name

    return write


# ------------------------------------------------------------------------------------------------ CSV


def test_each_row_of_a_csv_becomes_a_chunk(here):
    Path("menu.csv").write_text(MENU, newline="")
    doc = Document(id="d7", uri="menu.csv")
    assert doc is doc.load_uri_to_rows()
    assert ROWS == [(row.text, row.tags) for row in doc.chunks]
    assert {("d7", 1, "tabular")} == {(row.parent_id, row.granularity, row.modality) for row in doc.chunks}
    assert ("tabular", "text/csv", "menu.csv") == (doc.modality, doc.mime_type, doc.uri)
    assert 2 == len(set(doc.chunks[:, "id"]))


def test_a_csv_may_be_in_the_document_itself():
    assert ROWS == rows(Document(blob=MENU.encode())) == rows(Document(text=MENU))
    assert ROWS == rows(Document(uri=f"data:text/csv,{MENU}".replace("\r\n", "%0A").replace(" ", "%20")))
    doc = Document(blob=MENU.encode(), modality="menu")
    doc.load_uri_to_rows()
    assert (MENU.encode(), "menu") == (doc.blob, doc.modality)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_dialect_is_found_out(here, delimiter, quoting):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting)
    lines = [["text", "price", "colour"], *(["a; b, c\t| d", str(n), f"{n} 'x' \"y\""] for n in range(5))]
    writer.writerows(lines)
    found = rows(Document(text=out.getvalue()))
    assert [(line[0], {"price": line[1], "colour": line[2]}) for line in lines[1:]] == found


def test_a_csv_of_one_column_has_none_that_is_made_up():
    lines = ["text", '"tea, green; or black"', "milk", '"water, cold"', "juice"]
    found = rows(Document(text="\n".join(lines)))
    assert ["tea, green; or black", "milk", "water, cold", "juice"] == [text for text, _ in found]
    assert {1} == {len(tags) + 1 for _, tags in found}


CELLS = st.sampled_from(
    ["tea", "it's", "'q'", 'a "quote"', "x; y", "one, two", "l1\nl2", "a|b", "t\tx", "", "1,5", "'"]
)


@given(
    st.integers(2, 4).flatmap(lambda width: st.lists(st.tuples(*[CELLS] * width), min_size=1, max_size=6)),
    st.sampled_from(",;\t|"),
)
def test_the_dialect_of_any_table_is_found_out(cells, delimiter):
    out = io.StringIO(newline="")
    header = [f"c{n}" for n in range(len(cells[0]))]
    csv.writer(out, delimiter=delimiter).writerows([header, *cells])
    wanted = [{name: cell for name, cell in zip(header, row, strict=True) if cell} for row in cells]
    assert wanted == [tags for _, tags in rows(Document(text=out.getvalue()))]


def test_the_dialect_can_be_said():
    assert [("a;b", {})] == rows(Document(text="text\na;b\n"), dialect="excel")
    assert [("a", {"n": "1"})] == rows(Document(text="text\tn\na\t1\n"), dialect="excel-tab")
    with pytest.raises(UnknownName, match="excle"):
        Document(text="text\na\n").load_uri_to_rows(dialect="excle")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_encodings(here, encoding):
    Path("menu.csv").write_text("text,größe\r\ngrün,5\r\n", encoding=encoding, newline="")
    said = encoding if encoding in ("latin-1", "cp1252") else None
    assert [("grün", {"größe": "5"})] == rows(Document(uri="menu.csv"), encoding=said)
    if said is not None:
        with pytest.raises(CorruptData, match=r"document 'd7'.*no text in utf-8"):
            Document(id="d7", uri="menu.csv").load_uri_to_rows()


def test_a_packed_csv_is_unpacked(here):
    Path("menu.csv.gz").write_bytes(gzip.compress(MENU.encode()))
    assert ROWS == rows(Document(uri="menu.csv.gz"))
    assert ROWS == rows(Document(blob=gzip.compress(MENU.encode("utf-8-sig"))))
    assert ROWS == rows(Document(blob=gzip.compress(MENU.encode("utf-16"))))


def test_fields_are_taken_as_such_and_columns_can_be_renamed():
    text = 'id,title,weight,embedding,location\nr1,tea,2.5,"[1.0, 2.0]",Darjeeling\n'
    doc = Document(text=text).load_uri_to_rows(field_resolver={"title": "text", "location": "from"})
    (row,) = doc.chunks
    assert ("r1", "tea", 2.5, {"from": "Darjeeling"}) == (row.id, row.text, row.weight, row.tags)
    assert [1.0, 2.0] == list(row.embedding)
    with pytest.raises(CorruptData, match="location"):
        Document(text=text).load_uri_to_rows()


def test_types_are_told_by_the_whole_column_where_that_is_wanted():
    lines = [
        "n,f,b,zip,phone,mixed,date,gap,e",
        "1,1.5,true,01234,+49,1,2024-01-01,,1e3",
        "-20,2,FALSE,10115,30,tea,2024-01-02,7,.5",
    ]
    doc = Document(text="\n".join(lines))
    (_, first), (_, second) = rows(doc, infer=True)
    assert {
        "n": 1,
        "f": 1.5,
        "b": True,
        "zip": "01234",
        "phone": "+49",
        "mixed": "1",
        "date": "2024-01-01",
        "e": 1000.0,
    } == first
    assert [int, float, bool, str, str, str, str, int, float] == [type(value) for value in second.values()]
    assert (2.0, False, 7, 0.5) == (second["f"], second["b"], second["gap"], second["e"])


@given(st.lists(st.text("0123456789+-.eEtruefalsn ", min_size=1, max_size=8), min_size=1, max_size=4))
def test_a_type_that_was_told_says_the_same(cells):
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["x", "y"], *([cell, "."] for cell in cells)])
    for cell, row in zip(
        cells, Document(text=out.getvalue()).load_uri_to_rows(infer=True, dialect="excel").chunks, strict=True
    ):
        value = row.tags["x"]
        assert value == cell or str(value).lower() == cell.lower() or float(cell) == value


def test_so_many_rows_and_no_more():
    text = "text\n" + "".join(f"{n}\n" for n in range(5000))
    for count in (0, 1, 1024, 1025, 5000, 9000):
        assert [str(n) for n in range(min(count, 5000))] == Document(text=text).load_uri_to_rows(
            max_rows=count
        ).chunks.texts
    for wrong in (-1, 1.5, True, "2"):
        with pytest.raises(BadValue, match="max_rows"):
            Document(text=text).load_uri_to_rows(max_rows=wrong)


def test_a_long_csv_is_not_held_for_a_few_rows(here):
    with open("long.csv", "w") as stream:
        stream.write("text,n\n")
        for n in range(20_000):
            stream.write(f"{'tea ' * 250},{n}\n")
    doc = Document(uri="long.csv")
    tracemalloc.start()
    doc.load_uri_to_rows(max_rows=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 10 == len(doc.chunks)
    assert peak < 6 << 20  # of 20 MB


def test_a_file_that_is_too_long_is_refused(here, monkeypatch):
    Path("menu.csv").write_text(MENU)
    with pytest.raises(BadUri, match="max_size"):
        Document(uri="menu.csv").load_uri_to_rows(max_size=10)
    monkeypatch.setattr(fetch, "LOCAL", 10)
    with pytest.raises(BadUri, match="max_size"):
        Document(uri="menu.csv").load_uri_to_rows()
    assert 1 == len(Document(uri="menu.csv").load_uri_to_rows(max_rows=1).chunks)


def test_what_unpacks_to_too_much_is_refused():
    doc = Document(id="d7", blob=gzip.compress(b"text\n" + b"tea\n" * (4 << 20)))
    tracemalloc.start()
    with pytest.raises(CorruptData, match="'d7'"):
        doc.load_uri_to_rows(max_size=1 << 18)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not doc.chunks
    assert peak < 48 << 20  # rows of a quarter of a MB


# ------------------------------------------------------------------------------------------------ Parquet


def test_each_row_of_a_parquet_file_becomes_a_chunk_with_its_types(here, parquet):
    name = parquet(
        text=["tea", "milk", None],
        price=[3, None, 5],
        at=[datetime(2024, 1, 1), datetime(2024, 1, 2), None],
        embedding=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        ok=[True, False, None],
    )
    doc = Document(id="d7", uri=name).load_uri_to_rows()
    assert ["tea", "milk", ""] == doc.chunks.texts
    assert [
        {"price": 3, "at": datetime(2024, 1, 1), "ok": True},
        {"at": datetime(2024, 1, 2), "ok": False},
        {"price": 5},
    ] == [{key: value for key, value in row.tags.items() if value is not None} for row in doc.chunks]
    assert np.array_equal([[1, 2], [3, 4], [5, 6]], doc.chunks.embeddings)
    assert {("d7", "tabular")} == {(row.parent_id, row.modality) for row in doc.chunks}
    assert ["tea", "milk", ""] == Document(blob=Path(name).read_bytes()).load_uri_to_rows().chunks.texts


def test_columns_of_parquet_can_be_renamed(here, parquet):
    name = parquet(title=["tea"], location=["Darjeeling"])
    assert [("tea", {"from": "Darjeeling"})] == rows(
        Document(uri=name), field_resolver={"title": "text", "location": "from"}
    )
    with pytest.raises(UnsupportedFormat, match=r"document 'd7'.*location"):
        Document(id="d7", uri=name).load_uri_to_rows()
    with pytest.raises(FormatError, match="'d7'"):
        Document(id="d7", uri=name).load_uri_to_rows(field_resolver={"title": "a", "location": "a"})


def test_so_many_rows_of_parquet(here, parquet):
    name = parquet(n=list(range(3500)))
    for count in (0, 1, 1500, 3500, 4000, None):
        doc = Document(uri=name).load_uri_to_rows(max_rows=count)
        assert list(range(3500))[:count] == [row.tags["n"] for row in doc.chunks]


def test_a_file_of_our_own_comes_back(here):
    pytest.importorskip("pyarrow", reason='pip install "docarray[arrow]"')
    da = DocumentArray([Document(id="a", text="tea", tags={"n": 1}), Document(id="b", tensor=np.eye(2))])
    for name in ("da.parquet", "da.csv"):
        da.save(name, file_format=name[3:])
        found = Document(uri=name).load_uri_to_rows().chunks
        assert ["a", "b"] == found[:, "id"]
        assert ("tea", {"n": 1}) == (found[0].text, found[0].tags)
        assert np.array_equal(np.eye(2), found[1].tensor)


def test_real_tables_of_a_package():
    data = pytest.importorskip("vega_datasets", reason="pip install vega_datasets").local_data
    doc = (
        Document(uri=data.iris.filepath)
        if data.iris.filepath.endswith(".csv")
        else Document(uri=data.stocks.filepath)
    )
    frame = data.stocks() if "stocks" in doc.uri else data.iris()
    doc.load_uri_to_rows(infer=True)
    assert len(frame) == len(doc.chunks)
    assert list(frame.columns) == list(doc.chunks[0].tags)
    for name in frame.select_dtypes("number").columns:
        assert frame[name].tolist() == [row.tags[name] for row in doc.chunks]


# ------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", CorruptData, "empty"),
        (b"text,n\ntea\n", CorruptData, "row 1 has 1 cells"),
        (b'text,n\n"tea,1\n', CorruptData, "line"),
        (b"a,a\n1,2\n", CorruptData, "more than once"),
        (b"text\n\xff\xfe\xfd\n", CorruptData, "utf-8"),
        (b"PAR1" + bytes(100), CorruptData, "Parquet"),
        (b"PK\x03\x04" + bytes(100), UnsupportedFormat, "workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), UnsupportedFormat, "workbook"),
        (b"weight\nheavy\n", CorruptData, "row 1, column 'weight'"),
        (gzip.compress(MENU.encode(), mtime=0)[:30], CorruptData, "gzip"),
    ],
)
def test_what_is_no_table_says_why_and_leaves_the_document_as_it_was(data, error, words):
    if data.startswith(b"PAR1"):
        pytest.importorskip("pyarrow", reason='pip install "docarray[arrow]"')
    doc = Document(id="d7", blob=data, chunks=[Document(text="first")])
    before = doc.to_dict()
    with pytest.raises(error, match=rf"(?s)document 'd7'.*{words}"):
        doc.load_uri_to_rows()
    assert before == doc.to_dict()


def test_an_error_in_a_late_row_leaves_nothing_behind():
    doc = Document(id="d7", text="text,n\n" + "tea,1\n" * 3000 + "milk\n")
    with pytest.raises(CorruptData, match="row 3001"):
        doc.load_uri_to_rows()
    assert (0, "") == (len(doc.chunks), doc.modality)


def test_damaged_parquet_is_an_error_of_ours(here, parquet):
    data = Path(parquet(text=["tea"] * 200, n=list(range(200)))).read_bytes()
    draw = random.Random(7)
    for _ in range(60):
        hurt = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            hurt[draw.randrange(4, len(hurt))] ^= 1 << draw.randrange(8)
        doc = Document(blob=bytes(hurt))
        try:
            doc.load_uri_to_rows()
        except DocArrayError:
            assert not doc.chunks
    with pytest.raises(CorruptData):
        Document(blob=data[:-20]).load_uri_to_rows()


@given(st.binary(max_size=60) | st.text('ab,;"\n\r\t|1', max_size=40).map(str.encode), st.booleans())
def test_no_bytes_do_anything_but_become_rows_or_be_refused(data, infer):
    doc = Document(id="d7", blob=data)
    refused = ""
    try:
        doc.load_uri_to_rows(infer=infer)
    except MissingExtra:
        return
    except DocArrayError as error:
        refused = str(error)
    assert not refused or ("'d7'" in refused and not doc.chunks)


def test_nowhere_to_read_from_and_wrong_formats(here):
    for doc in (Document(id="d7"), Document(id="d7", tensor=[1.0])):
        with pytest.raises(BadUri, match="'d7' has neither"):
            doc.load_uri_to_rows()
    with pytest.raises(FileNotFoundError, match="'d7'"):
        Document(id="d7", uri="no.csv").load_uri_to_rows()
    with pytest.raises(BadUri, match="schemes"):
        Document(uri="no.csv").load_uri_to_rows(schemes=["https"])
    with pytest.raises(UnknownName, match="parquet"):
        Document(text=MENU).load_uri_to_rows(file_format="parket")
    with pytest.raises(UnknownName):
        Document(text=MENU).load_uri_to_rows(encoding="nonsense")


def test_tables_are_given_piece_by_piece():
    stream = io.BytesIO(b"text\n" + b"tea\n" * 5000)
    pieces = tables(stream, max_rows=2000)
    assert 0 < len(next(pieces)) < 2000
    assert 5 + 4 * 5000 > stream.tell()
