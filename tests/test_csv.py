"""CSV: mixed documents, typed tags, files of the old library and of anyone."""

from __future__ import annotations

import csv
import io
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everything import (
    alike_array,
    data,
    difference,
    everything,
    everything_array,
    floats,
    integers,
    tensors,
    texts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray
from docarray.errors import CorruptData, FieldTypeError, FormatError, UnknownField, UnknownName
from docarray.records import records_of, table_of
from docarray.serialization import csv as module
from docarray.serialization.csv import CSV, save_embeddings_csv
from docarray.table import Table

OLD = Path(__file__).parent / "data" / "old"


def table_from(da: Any) -> Table:
    return da._slots.table()


def read(text: str | bytes, **options: Any) -> Table:
    return CSV.loads(memoryview(text.encode() if isinstance(text, str) else text), **options)


def there_and_back(table: Table, **options: Any) -> Table:
    written = CSV.dumps(table, **options)
    return read(written, **{name: options[name] for name in options if name in ("dialect", "encoding")})


def rows(table: Table, **options: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(CSV.dumps(table, **options).decode(), newline="")))


# --- everything ---------------------------------------------------------------------------------------------------

WAYS: list[dict[str, Any]] = [
    {},
    {"flatten_tags": False},
    {"dialect": "excel-tab"},
    {"dialect": "unix"},
    {"dialect": csv.excel},
]


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize(
    "make", [everything_array, alike_array, DocumentArray], ids=lambda make: make.__name__
)
def test_everything_goes_and_comes_back(make, options):
    da = make()

    assert difference(da, DocumentArray(there_and_back(table_from(da), **options))) is None


@pytest.mark.parametrize("number", range(14))
def test_one_document_with_every_field(number):
    (record,) = records_of(table_from(DocumentArray([everything(2, number)])))

    found = CSV.loads_record(memoryview(CSV.dumps_record(record)))

    assert difference(table_of([record]), table_of([found])) is None


cells = st.one_of(
    texts, st.text(",\"\r\n'; \t=", max_size=5), st.sampled_from(["", '"', '""', '"""', '""""', "1", "x"])
)
tags = st.dictionaries(
    texts | st.sampled_from(["a", "b", "c"]),
    st.one_of(
        cells,
        st.sampled_from(
            [
                "1",
                "-0",
                "01",
                "1.0",
                "1e5",
                "NaN",
                "Infinity",
                "-Infinity",
                "true",
                "null",
                "[1]",
                "{",
                '"x"',
                "1\n",
            ]
        ),
        integers,
        floats,
        st.booleans(),
        st.none(),
        data,
    ),
    max_size=4,
)
records = st.lists(
    st.fixed_dictionaries(
        {"id": cells},
        optional={
            "text": cells,
            "uri": cells,
            "blob": st.binary(max_size=5),
            "weight": integers | floats,
            "granularity": st.integers(),
            "location": st.lists(integers | floats, min_size=1, max_size=3),
            "embedding": tensors,
            "tags": tags,
            "scores": st.dictionaries(
                texts, st.fixed_dictionaries({"value": floats | st.integers()}), min_size=1
            ),
            "chunks": st.lists(st.fixed_dictionaries({"id": cells, "text": cells}), min_size=1, max_size=2),
        },
    ),
    max_size=4,
)


def sorted_tags(table: Table) -> list[dict[str, Any]]:
    """Records without what CSV cannot say: the order of the keys of tags, and that there are none."""
    out = records_of(table)
    for record in out:
        if "tags" in record:
            record["tags"] = dict(sorted(record["tags"].items(), key=lambda item: repr(item[0])))
            if not record["tags"]:
                del record["tags"]
    return out


@settings(max_examples=150, deadline=None)
@given(records, st.sampled_from(WAYS))
def test_any_documents_come_back(records, options):
    table = table_of(records)

    assert difference(sorted_tags(table), sorted_tags(there_and_back(table, **options))) is None


@settings(max_examples=100, deadline=None)
@given(records)
def test_the_fast_text_is_that_of_the_module_csv(records):
    table = table_of(records)
    columns = module._columns(table, True, ())
    out = io.StringIO(newline="")
    csv.writer(out).writerows([list(columns), *zip(*columns.values(), strict=True)])

    assert out.getvalue() == module._text_of(columns, len(table), True, csv.get_dialect("excel"))


# --- writing ------------------------------------------------------------------------------------------------------


def test_as_many_lines_as_documents_and_one():
    for n in (0, 1, 7):
        assert n + 1 == len(CSV.dumps(table_from(alike_array(n) if n else DocumentArray())).splitlines())
        lines = CSV.dumps(
            table_from(alike_array(n) if n else DocumentArray()), with_header=False
        ).splitlines()
        assert n == len(lines)


def test_the_header_has_what_any_document_has():
    table = table_of([{"id": "a", "weight": 1.0}, {"id": "b", "text": "x", "tags": {"k": 1}}, {"id": "c"}])

    assert [
        ["id", "text", "weight", "tag__k"],
        ["a", "", "1.0", ""],
        ["b", "x", "", "1"],
        ["c", "", "", ""],
    ] == rows(table)
    assert [["id"]] == rows(table_of([]))


def test_tags_stand_as_they_are_unless_they_would_be_read_as_something_else():
    values = {
        "text": "x",
        "date": "2024-01-01",
        "zeros": "007",
        "number": 1,
        "float": 1.0,
        "like a number": "1",
        "yes": True,
        "like yes": "true",
        "none": None,
        "empty": "",
        "list": [1, "a"],
        "nested": {"a": {"b": 1}},
        "bytes": b"x",
    }
    header, row = rows(table_of([{"id": "a", "tags": values}]))

    assert [f"tag__{key}" for key in values] == header[1:]
    assert ["x", "2024-01-01", "007", "1", "1.0", '"1"', "true", '"true"', "null", '""', '[1,"a"]'] == row[
        1:-2
    ]
    assert ['{"a":{"b":1}}', '{"$docarray":"bytes","is":"eA=="}'] == row[-2:]


def test_tags_with_other_keys_than_text_stand_in_one_column():
    table = table_of([{"id": "a", "tags": {1: "one"}}, {"id": "b", "tags": {"k": 2}}])

    assert ["id", "tags", "tag__k"] == rows(table)[0]
    assert difference(table, there_and_back(table)) is None


def test_too_many_tags_stand_in_one_column():
    table = table_of([{"id": str(n), "tags": {str(n): n}} for n in range(1100)])

    assert ["id", "tags"] == rows(table)[0]
    assert difference(table, there_and_back(table)) is None


def test_fields_are_left_out():
    table = table_of([{"id": "a", "text": "x", "tags": {"k": 1, "l": 2}, "embedding": np.ones(2, "f4")}])

    assert ["text", "embedding", "tag__l", "_arrays"] == rows(table, exclude_fields=["id", "tag__k"])[0]
    assert ["id", "text"] == rows(table, exclude_fields=["tags", "embedding"])[0]
    with pytest.raises(UnknownField, match="Did you mean 'text'"):
        rows(table, exclude_fields=["txt"])
    with pytest.raises(UnknownField, match="no cell"):
        rows(table, exclude_fields=["id", "text", "tag__k", "tag__l", "embedding"])
    written = CSV.dumps(table_of([{}, {"text": ""}, {"text": "x"}]), exclude_fields=["id"])
    assert b'text\r\n""\r\n""""""\r\nx\r\n' == written
    assert [None, "", "x"] == read(written).columns["text"].values()


def test_a_list_of_numbers_reads_as_one():
    header, row = rows(table_of([{"id": "a", "embedding": np.array([0.5, 2], "f4")}]))

    assert ["id", "embedding", "_arrays"] == header
    assert [0.5, 2.0] == json.loads(row[1])
    assert {"embedding": {"dtype": "<f4"}} == json.loads(row[2])


def test_empty_text_is_not_missing_text():
    found = there_and_back(
        table_of([{"id": "a", "text": ""}, {"id": "b"}, {"id": "c", "text": '""'}, {"id": "", "text": "x"}])
    )

    assert ["", None, '""', "x"] == found.columns["text"].values()
    assert "" == found.ids[3]


def test_encodings():
    table = table_of([{"id": "ä", "text": "é"}])
    for name in ("latin-1", "utf-16", "utf-8-sig", "cp1252"):
        assert difference(table, there_and_back(table, encoding=name)) is None
        written = io.BytesIO(CSV.dumps(table, encoding=name))
        assert ["ä"] == next(CSV.read(written, encoding=name)).ids
        assert not written.closed
    with pytest.raises(FieldTypeError, match="latin-1"):
        CSV.dumps(table_of([{"id": "漢"}]), encoding="latin-1")
    with pytest.raises(FieldTypeError, match="utf-16"):
        CSV.dumps(table_of([{"id": "\ud83d\ude00"}]), encoding="utf-16")
    for call in (
        lambda: CSV.dumps(table, encoding="utf-9"),
        lambda: read("id\r\n", encoding="utf-9"),
        lambda: list(CSV.read(io.BytesIO(), encoding="utf-9")),
        lambda: CSV.dumps(table, dialect="exel"),
        lambda: read("id\r\n", dialect="exel"),
    ):
        with pytest.raises(UnknownName, match=r"utf-9|exel.*excel"):
            call()
    with pytest.raises(TypeError, match="seperator"):
        CSV.dumps(table, seperator=";")
    with pytest.raises(TypeError, match="seperator"):
        read("id\r\n", seperator=";")


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_file_of_the_old_library():
    found = records_of(read((OLD / "documents.csv").read_bytes()))

    assert ["0", "1", "2"] == [doc["id"] for doc in found]
    assert 'line one line 1, "quoted"' == found[1]["text"]
    assert 1.0 == found[1]["weight"]
    assert difference(np.array([2, np.float32(0.1)]), found[1]["embedding"]) is None
    assert {"cosine": {"value": 0.5}} == found[1]["scores"]
    assert [{"id": "c1", "parent_id": "1", "granularity": 1, "text": "chunk"}] == found[1]["chunks"]
    assert {"price": 1.5, "name": "n1", "sold": "True", "list": "[1.0, 'a']"} == found[1]["tags"]


def test_a_file_of_the_old_library_with_whole_tags():
    assert [{"k": 0.0}, {"k": 1.0}] == read((OLD / "tags.csv").read_bytes()).columns["tags"].values()


def test_a_file_of_anyone():
    text = 'question,weight,embedding,price,Name\n"Why, then?",0.5,"[1.0, 1.0]",3,\nHow?,2,"[1, 2]",,Bob\n'

    found = records_of(read(text, field_resolver={"question": "text"}))

    assert ["Why, then?", "How?"] == [doc["text"] for doc in found]
    assert difference([0.5, 2], [doc["weight"] for doc in found]) is None
    assert difference([np.ones(2), np.array([1, 2])], [doc["embedding"] for doc in found]) is None
    assert [{"price": "3"}, {"Name": "Bob"}] == [doc["tags"] for doc in found]
    assert 2 == len({doc["id"] for doc in found})


def test_dialects_are_found():
    for text in (
        "id;text\na;x\nb;y\n",
        "id\ttext\na\tx\nb\ty\n",
        "id|text\na|x\nb|y\n",
        "id,text\na,x\nb,y\n",
    ):
        assert ["x", "y"] == read(text, dialect="auto").columns["text"].values()
    assert ["a", "b"] == read("id\na\nb\n", dialect="auto").ids
    assert ["a;b"] == read('id;text\n"a;b";"say ""x"""\n', dialect="auto").ids
    with pytest.raises(CorruptData, match="empty"):
        read("", dialect="auto")


def test_a_file_without_a_header():
    assert [{"id": "a", "text": "x"}] == records_of(read("a,x\n", with_header=False, columns=["id", "text"]))
    with pytest.raises(FieldTypeError, match="columns="):
        read("a,x\n", with_header=False)


def test_line_ends_and_marks():
    for end in ("\n", "\r\n", "\r", "\n\n"):
        for mark in (b"", b"\xef\xbb\xbf"):
            text = mark + end.join(["id,text", 'a,"x\r\ny"', "b,z", ""]).encode()
            assert ["x\r\ny", "z"] == read(text).columns["text"].values()
            assert ["a", "b"] == next(CSV.read(io.BytesIO(text))).ids
    assert ["ä"] == read("id\nä\n".encode("utf-16")).ids


def test_cells_of_any_size():
    limit = csv.field_size_limit()
    table = table_of([{"id": "a", "text": "x" * 1_000_000, "embedding": np.arange(100_000.0)}])

    assert difference(table, there_and_back(table)) is None
    assert limit == csv.field_size_limit()


def test_zeros_in_text():
    table = table_of([{"id": "a\0b", "text": "\0", "tags": {"\0": "\0"}}])

    assert difference(table, there_and_back(table)) is None


def test_read_some_at_a_time():
    table = table_from(alike_array(2500))

    found = list(CSV.read(io.BytesIO(CSV.dumps(table))))

    assert [1024, 1024, 452] == list(map(len, found))
    assert difference(table, Table.concat(found)) is None


def test_columns_stand_in_the_order_of_the_fields():
    table = table_of([*({"id": str(n), "tags": {"k": n}} for n in range(20_000)), {"id": "z", "text": "x"}])

    assert ["text", "tags"] == list(there_and_back(table).columns)


def test_several_tables_have_one_header():
    stream = io.BytesIO()
    CSV.write(iter([table_of([{"id": "a"}]), table_of([{"id": "b", "text": "x"}])]), stream)

    assert b"id,text\r\na,\r\nb,x\r\n" == stream.getvalue()


# --- hostile ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("id,text\na\n", "row 1 has 1 cells where the header has 2"),
        ("id,text\na,b\n\nc,d,e\n", "row 2 has 3 cells"),
        ("id,id\na,b\n", "'id' more than once"),
        ('id\n"a', "line 2 is no CSV"),
        ('id\n"a" b\n', "line 2 is no CSV"),
        ("id,weight\na,1\nb,heavy\n", "row 2, column 'weight': a number is wanted; got 'heavy'"),
        ("id,weight\na," + "9" * 10_000 + "\n", "row 1, column 'weight'"),
        ("id,granularity\na,1.5\n", "'granularity' of document 'a'"),
        ("id,granularity\na,inf\n", "'granularity' of document 'a'"),
        ("id,embedding\na,[1.0\n", "row 1, column 'embedding'"),
        ('id,embedding\nz,[1.0]\na,"[1.0, x]"\n', "row 2, column 'embedding'"),
        ("id,embedding\na,x\n", "row 1, column 'embedding'"),
        ("id,embedding\na," + "[" * 100_000 + "\n", "row 1, column 'embedding'"),
        ("id,chunks\na," + "[" * 10_000 + "]" * 10_000 + "\n", "row 1, column 'chunks'"),
        ("id,chunks\na,{}\n", "'chunks' of document 'a'"),
        ("id,chunks\na,__import__('os')\n", "row 1, column 'chunks'"),
        ("id,chunks\na,\"[__import__('os').getcwd()]\"\n", "row 1, column 'chunks'"),
        ("id,tags\na,[]\n", "row 1, column 'tags': a dict is wanted"),
        ("id,scores\na,5\n", "'scores' of document 'a'"),
        ("id,blob\na,?\n", "'blob' of document 'a'"),
        ("id,embedding,_arrays\na,[1],5\n", "'_arrays' of document 'a'"),
        ('id,embedding,_arrays\na,[1],"{""embedding"":{""dtype"":""O""}}"\n', "'embedding' of document 'a'"),
        (b"id\n\xff\n", "byte 3"),
    ],
)
def test_what_is_no_document_is_corrupt(text, message):
    with pytest.raises(CorruptData, match=message):
        read(text)
    with pytest.raises(CorruptData):
        list(CSV.read(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


def test_marked_tags_that_are_nothing_of_ours_are_text():
    text = 'id,tag__x\na,"{""$docarray"":""os.system"",""is"":""true""}"\n'

    assert [{"x": '{"$docarray":"os.system","is":"true"}'}] == read(text).columns["tags"].values()


SMALL = table_of(
    [
        {
            "id": "a",
            "text": "t, x",
            "weight": 0.5,
            "embedding": np.ones(2, "f4"),
            "scores": {"s": {"value": 1}},
        },
        {"id": "b", "tags": {"t": (1, b"x"), "n": math.nan}, "chunks": [{"id": "c", "blob": b"b"}]},
    ]
)


def test_cut_off_at_each_byte():
    written = CSV.dumps(SMALL)

    for end in range(len(written)):
        with suppress(FormatError):
            assert len(read(written[:end])) <= 2


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_flipped_bytes_are_a_table_or_our_error(data):
    damaged = bytearray(CSV.dumps(SMALL))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for dialect in ("excel", "auto"):
        with suppress(FormatError):
            records_of(read(bytes(damaged), dialect=dialect))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_our_error(data):
    for head in (b"", b"id,text,embedding\n", b"tag__x,weight,tags,chunks\n"):
        with suppress(FormatError):
            records_of(read(head + data))


# --- embeddings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fmt": "%.3g", "delimiter": ","},
        {"fmt": "%d"},
        {"fmt": "%s"},
        {"fmt": ["%.1f", "%.2f", "%d"]},
        {"fmt": "%.1f;%.2f;%d"},
        {"header": "a b\nc", "footer": "end", "comments": "// ", "newline": "\r\n"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "?"])
def test_embeddings_are_written_as_savetxt_writes_them(dtype, options):
    matrix = (np.arange(900.0).reshape(-1, 3) / 7 - 20).astype(dtype)
    expected, found = io.StringIO(), io.BytesIO()
    np.savetxt(expected, matrix, **options)

    save_embeddings_csv(matrix, found, **options)

    assert expected.getvalue() == found.getvalue().decode()


def test_embeddings_in_another_encoding():
    found = io.BytesIO()

    save_embeddings_csv([[1.0], [math.nan]], found, fmt="%.1f", header="ä", encoding="utf-16")

    assert "# ä\n1.0\nnan\n" == found.getvalue().decode("utf-16")


def test_documents_are_written_as_others_read_them():
    pandas = pytest.importorskip("pandas")
    da = DocumentArray(
        [Document(id=str(n), text=f"line\n{n}", tags={"price": n / 2, "name": "x"}) for n in range(5)]
    )

    frame = pandas.read_csv(io.BytesIO(CSV.dumps(table_from(da))))

    assert [n / 2 for n in range(5)] == frame["tag__price"].tolist()
    assert "line\n3" == frame["text"][3]
