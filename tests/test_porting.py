"""What an array does to leave and come in: the methods, each with real data both ways."""

import io
import json

import numpy as np
import pytest
from everything import alike_array, difference, everything_array

from docarray import Document, DocumentArray
from docarray.errors import (
    BadValue,
    CorruptData,
    FieldTypeError,
    MissingEmbedding,
    NotOnInstance,
    UnknownField,
    UnknownName,
    Unsupported,
)


@pytest.fixture
def da():
    return alike_array(5)


def same(a, b):
    return difference(list(a), list(b)) is None


# --- JSON and dicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["jsonschema", "protobuf"])
def test_json_both_flavours_both_ways(da, tmp_path, protocol):
    assert same(da, DocumentArray.from_json(da.to_json(protocol), protocol))
    assert same(da, DocumentArray.from_list(da.to_list(protocol), protocol))
    assert same(da, DocumentArray.from_dict(da.to_dict(protocol), protocol))
    da.save_json(tmp_path / "x.json", protocol)
    assert same(da, DocumentArray.load_json(tmp_path / "x.json", protocol))
    doc = da[0]
    assert difference(doc, Document.from_json(doc.to_json(protocol), protocol)) is None
    assert difference(doc, Document.from_dict(doc.to_dict(protocol), protocol)) is None


def test_json_is_one_list_of_objects(da):
    values = json.loads(da.to_json(exclude_none=True))

    assert [str(i) for i in range(5)] == [value["id"] for value in values]
    assert {"price": 3, "category": "b"} == values[3]["tags"]
    assert isinstance(values[3]["tags"]["price"], int)


def test_schemaless_puts_unknown_keys_to_tags():
    text = '[{"id": "a", "text": "x", "price": 3, "made": {"of": ["wood"]}}]'

    (doc,) = DocumentArray.from_json(text, protocol=None)

    assert "x" == doc.text
    assert {"price": 3, "made": {"of": ["wood"]}} == doc.tags
    assert {"price": 3} == Document.from_dict({"price": 3}, protocol=None).tags
    assert {"price": 3} == DocumentArray.from_list([{"price": 3}], protocol=None)[0].tags


@pytest.mark.parametrize("protocol", ["xml", "", "JSON"])
def test_an_unknown_flavour(da, protocol):
    for call in (
        lambda: da.to_json(protocol),
        lambda: da.to_list(protocol),
        lambda: DocumentArray.from_json("[]", protocol),
        lambda: DocumentArray.from_list([], protocol),
        lambda: da[0].to_dict(protocol),
        lambda: Document.from_dict({}, protocol),
        lambda: Document.from_json("{}", protocol),
    ):
        with pytest.raises(UnknownName, match="no flavour of JSON"):
            call()


def test_in_another_encoding(da, tmp_path):
    da[0].text = "größe"
    da.save_json(tmp_path / "x.json", encoding="utf-16")

    assert "größe" == DocumentArray.load_json(tmp_path / "x.json", encoding="utf-16")[0].text


@pytest.mark.parametrize("wrong", ["text", {"id": "a"}, 3, None])
def test_what_is_no_list_of_dicts(wrong):
    with pytest.raises(FieldTypeError, match="a list of dicts is wanted"):
        DocumentArray.from_list(wrong)


def test_a_wrong_value_names_document_and_field():
    with pytest.raises(CorruptData, match="field 'text' of document 'b' takes a str"):
        DocumentArray.from_json('[{"id": "a"}, {"id": "b", "text": 3}]')


# --- protobuf -----------------------------------------------------------------------------------------------------


def test_messages(da):
    message = da.to_protobuf()

    assert "DocumentArrayProto" == type(message).__name__
    assert "text 2" == message.docs[2].text
    assert same(da, DocumentArray.from_protobuf(message))
    assert "DocumentProto" == type(da[0].to_protobuf()).__name__
    assert difference(da[0], Document.from_protobuf(da[0].to_protobuf())) is None


def test_arrays_are_converted_below_as_well():
    doc = Document(embedding=[1.0, 2.0], chunks=[Document(tensor=[3.0])])

    back = Document.from_protobuf(doc.to_protobuf(ndarray_type="numpy"))

    assert isinstance(back.embedding, np.ndarray)
    assert isinstance(back.chunks[0].tensor, np.ndarray)


# --- CSV and frames -----------------------------------------------------------------------------------------------


def test_csv(da, tmp_path):
    da.save_csv(tmp_path / "x.csv")

    assert 6 == len((tmp_path / "x.csv").read_text().splitlines())
    assert same(da, DocumentArray.load_csv(tmp_path / "x.csv"))
    da.save_csv(tmp_path / "y.csv", exclude_fields=["embedding"], with_header=True, dialect="excel-tab")
    assert "tags" not in (tmp_path / "y.csv").read_text().splitlines()[0].split("\t")


def test_files_opened_as_text(da, tmp_path):
    """As the old library took them."""
    with open(tmp_path / "x.csv", "w", newline="") as file:
        da.save_csv(file)
    with open(tmp_path / "x.csv", newline="") as file:
        assert same(da, DocumentArray.load_csv(file))
    with open(tmp_path / "x.json", "w") as file:
        da.save_json(file)
    with open(tmp_path / "x.json") as file:
        assert same(da, DocumentArray.load_json(file))
    with open(tmp_path / "e.csv", "w") as file:
        da.save_embeddings_csv(file)
    assert np.array_equal(da.embeddings, np.loadtxt(tmp_path / "e.csv"))


def test_csv_of_people(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("Title,Price\ntea,3\n")

    (doc,) = DocumentArray.load_csv(path, field_resolver={"Title": "text"})

    assert ("tea", {"Price": "3"}) == (doc.text, doc.tags)


def test_embeddings_csv(da, tmp_path):
    da.save_embeddings_csv(tmp_path / "x.csv", delimiter=",")

    assert np.array_equal(da.embeddings, np.loadtxt(tmp_path / "x.csv", delimiter=","))
    with pytest.raises(MissingEmbedding):
        DocumentArray([Document()]).save_embeddings_csv(io.BytesIO())


def test_dataframe(da):
    pytest.importorskip("pandas", reason='pip install "docarray[pandas]"')
    frame = da.to_dataframe()

    assert da.texts == frame["text"].tolist()
    assert same(da, DocumentArray.from_dataframe(frame))


def test_arrow(da):
    pyarrow = pytest.importorskip("pyarrow", reason='pip install "docarray[arrow]"')
    table = da.to_arrow()

    assert same(da, DocumentArray.from_arrow(table))
    assert table.schema == pyarrow.schema(da)
    assert pyarrow.table(da).equals(table)
    columns = DocumentArray.from_columns(embedding=np.zeros((3, 2)))
    assert np.shares_memory(DocumentArray.from_arrow(columns.to_arrow()).embeddings, columns.embeddings)


def test_polars_both_ways(da):
    polars = pytest.importorskip("polars", reason="pip install polars")
    frame = polars.DataFrame(da.to_arrow())

    assert da.texts == frame["text"].to_list()
    assert same(da, DocumentArray.from_dataframe(frame))


# --- files --------------------------------------------------------------------------------------------------------


def test_appending(da, tmp_path):
    path = tmp_path / "x.docarray"
    da.save(path)

    DocumentArray([Document(id="new", text="later")]).save(path, append=True, compress="zstd")

    both = DocumentArray.load(path)
    assert [*da[:, "id"], "new"] == both[:, "id"]
    with DocumentArray.load_batches(path) as batches:
        assert [5, 1] == [len(batch) for batch in batches]
        assert ["later"] == DocumentArray(batches[1]).texts


def test_only_native_files_are_appended_to(da, tmp_path):
    for target, options in (
        (tmp_path / "x.json", {"file_format": "json"}),
        (io.BytesIO(), {}),
        ("memory://porting/x", {}),
    ):
        with pytest.raises(Unsupported, match="only a local file in the native format"):
            da.save(target, append=True, **options)


def test_appending_to_nothing_makes_a_file(da, tmp_path):
    da.save(tmp_path / "x.docarray", append=True)

    assert same(da, DocumentArray.load(tmp_path / "x.docarray"))


def test_a_batch_has_at_least_one_document(tmp_path):
    with pytest.raises(BadValue, match="batch_size=0"):
        DocumentArray.save_stream([], tmp_path / "x", batch_size=0)


def test_what_is_streamed_must_be_documents(tmp_path):
    with pytest.raises(FieldTypeError):
        DocumentArray.save_stream([Document(), "text"], tmp_path / "x")
    assert [] == list(tmp_path.iterdir())


def test_progress_is_told_in_documents(da, tmp_path):
    seen = []

    DocumentArray.save_stream(
        iter(da), tmp_path / "x", batch_size=2, show_progress=lambda *at: seen.append(at)
    )

    assert (0, None, "writing") == seen[0]
    assert (5, None, "writing") == seen[-1]
    assert same(da, DocumentArray.load_binary(tmp_path / "x", _show_progress=False))


def test_an_array_is_streamed_in_columns(tmp_path):
    da = DocumentArray.from_columns(id=list("abcde"), text=list("vwxyz"))

    DocumentArray.save_stream(da, tmp_path / "x", batch_size=2)

    assert {} == da._slots.rows.made
    with DocumentArray.load_batches(tmp_path / "x") as batches:
        assert [2, 2, 1] == [len(batch) for batch in batches]


def test_loading_touches_no_document(da, tmp_path):
    for name in ("x.docarray", "x.json", "x.protobuf-array", "x.parquet", "x.csv", "x.protobuf"):
        da.save(tmp_path / name)
        back = DocumentArray.load(tmp_path / name)
        assert {} == back._slots.rows.made, name


@pytest.mark.parametrize(
    "name",
    [
        "from_bytes",
        "from_base64",
        "from_json",
        "from_list",
        "from_dict",
        "load",
        "load_binary",
        "load_csv",
        "from_dataframe",
        "from_arrow",
        "from_protobuf",
        "from_files",
        "from_lines",
        "from_ndarray",
        "pull",
    ],
)
def test_constructors_are_called_on_the_class(da, name):
    with pytest.raises(NotOnInstance):
        getattr(da, name)


# --- loaders ------------------------------------------------------------------------------------------------------


def test_loaders(tmp_path):
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "x.csv").write_text("text,price\ntea,3\n")
    (tmp_path / "x.ndjson").write_text('{"text": "tea", "price": 3}\n')

    assert ["first", "second"] == DocumentArray.from_files(f"{tmp_path}/*.txt", read_mode="r").texts
    assert {"price": "3"} == DocumentArray.from_csv(tmp_path / "x.csv")[0].tags
    assert {"price": 3} == DocumentArray.from_ndjson(tmp_path / "x.ndjson")[0].tags
    assert ["a", "b"] == DocumentArray.from_lines(["a", "b"], line_format="text").texts
    assert [(3,), (3,)] == [doc.tensor.shape for doc in DocumentArray.from_ndarray(np.zeros((2, 3)))]
    assert 0 == len(DocumentArray.from_files(f"{tmp_path}/*.png"))


def test_huggingface(tmp_path):
    pytest.importorskip("datasets", reason="pip install datasets")
    (tmp_path / "x.jsonl").write_text('{"title": "tea", "price": 3}\n')

    (doc,) = DocumentArray.from_huggingface_datasets(
        "json", {"title": "text"}, data_files=str(tmp_path / "x.jsonl"), split="train", cache_dir=tmp_path
    )

    assert ("tea", {"price": 3}) == (doc.text, doc.tags)


# --- remote places ------------------------------------------------------------------------------------------------


def test_push_pull_list_delete(da, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "place"

    entry = da.push(place / "menu", show_progress=False)

    assert 5 == entry.rows
    assert same(da, DocumentArray.pull(place / "menu"))
    assert [str(place / "menu")] == DocumentArray.cloud_list(name=place)
    DocumentArray.cloud_list(True, place)
    assert "menu" in capsys.readouterr().out
    DocumentArray.cloud_delete(place / "menu")
    assert [] == DocumentArray.cloud_list(name=place)
    with pytest.raises(FileNotFoundError):
        DocumentArray.pull(place / "menu")


def test_everything_is_pushed_and_pulled():
    pytest.importorskip("fsspec", reason='pip install "docarray[remote]"')
    da = everything_array()
    da.push("memory://porting/everything")

    assert same(da, DocumentArray.pull("memory://porting/everything", local_cache=False))


def test_unknown_fields_of_strict_json():
    with pytest.raises((UnknownField, CorruptData), match="txet"):
        DocumentArray.from_json('[{"txet": "x"}]')
