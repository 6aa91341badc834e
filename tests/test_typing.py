"""Media: what a field takes, the document that it becomes, and what is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from docarray import Document, dataclass
from docarray.document import Pending
from docarray.errors import BadValue, FieldTypeError
from docarray.typing import JSON, PDF, URI, Audio, Blob, Image, Medium, Mesh, Tabular, Text, Video

PIXELS = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
FORMATS = ("binary", "protobuf", "json")


@dataclass
class Page:
    text_: Text | None = None
    uri_: URI | None = None
    image: Image | None = None
    audio: Audio | None = None
    video: Video | None = None
    mesh: Mesh | None = None
    blob_: Blob | None = None
    json_: JSON | None = None
    table: Tabular | None = None
    pdf: PDF | None = None


def there_and_back(**given):
    """The document of the one field, after everything that comes back was seen to be what went in."""
    page = Page(**given)
    doc = Document(page)
    (name,) = given

    assert Page(doc) == page
    for form in FORMATS:
        read = Page(Document.from_bytes(doc.to_bytes(form), form))
        assert read == page, form
        assert type(getattr(read, name)) is type(given[name]), form
    return getattr(doc, name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def picture(folder):
    pil = pytest.importorskip("PIL.Image", reason='pip install "docarray[media]"')
    pil.fromarray(PIXELS).save("a.png")
    return pil.fromarray(PIXELS)


@pytest.mark.parametrize("field", ["image", "audio", "video", "mesh"])
@pytest.mark.parametrize(
    "value", [np.zeros((2, 3), np.float32), b"RIFF", np.zeros(0)], ids=["array", "bytes", "empty"]
)
def test_arrays_and_bytes_come_back(field, value):
    chunk = there_and_back(**{field: value})

    kind = "bytes" if isinstance(value, bytes) else "ndarray"
    assert {f"{field}_type": kind} == chunk._metadata
    assert (chunk.blob if kind == "bytes" else chunk.tensor) is value


def test_the_modality_of_arrays_is_that_of_the_old_library():
    assert [
        Document(Page(**{name: PIXELS})).chunks[0].modality for name in ("image", "audio", "video", "mesh")
    ] == ["image", "", "", ""]
    assert [
        Document(Page(**{name: b"x"})).chunks[0].modality
        for name in ("image", "audio", "pdf", "table", "blob_")
    ] == ["image", "audio", "pdf", "tabular", ""]


def test_tensors_of_torch_come_back():
    torch = pytest.importorskip("torch", reason="pip install torch")
    page = Page(image=torch.ones(2, 2, 3))

    read = Page(Document.from_bytes(Document(page).to_bytes()))
    assert read == page
    assert isinstance(read.image, torch.Tensor)


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "L", "LA", "1", "F", "I;16", "I", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_images_of_pillow_come_back_in_their_mode(picture, mode):
    image = picture.convert("L").convert(mode) if mode in ("I;16", "I") else picture
    if mode == "LAB":
        from PIL import Image as pillow

        image = pillow.frombytes("LAB", (4, 4), PIXELS.tobytes())
    elif image.mode != mode:
        image = image.convert(mode)

    chunk = there_and_back(image=image)
    assert chunk._metadata["image_type"] == "PIL"
    assert Page(Document(Page(image=image))).image.mode == mode


def test_colours_of_a_palette_are_colours_in_the_tensor(picture):
    doc = Document(Page(image=picture.convert("P", palette=1)))

    assert doc.image.tensor.shape == (4, 4, 3)
    assert Page(doc).image.mode == "RGB"


def test_what_is_at_a_path_is_loaded_when_it_is_asked_for(picture):
    doc = Document(Page(image="a.png"))

    assert type(doc.chunks[0]) is Pending
    assert (doc.image.uri, doc.image.mime_type, doc.image.modality) == ("a.png", "image/png", "image")
    assert type(doc.chunks[0]) is Pending
    assert np.array_equal(doc.image.tensor, PIXELS)
    assert type(doc.chunks[0]) is not Pending
    assert Page(doc).image == "a.png"


def test_a_path_comes_back_as_a_path(picture):
    chunk = there_and_back(image=Path("a.png"))

    assert {"image_type": "uri", "uri_type": "Path"} == chunk._metadata
    there_and_back(uri_=Path("b"))
    there_and_back(blob_=Path("a.png"))


def test_a_path_to_nothing_is_an_error_when_it_is_asked_for(folder):
    doc = Document(Page(image="nothing.png"))

    assert Page(doc).image == "nothing.png"
    with pytest.raises(FileNotFoundError):
        doc.to_bytes()
    with pytest.raises(FileNotFoundError):
        _ = doc.image.tensor


def test_bytes_are_decoded_when_one_wants_it(picture, folder):
    doc = Document(Page(image=(folder / "a.png").read_bytes()))

    doc.image.convert_blob_to_image_tensor()
    assert np.array_equal(doc.image.tensor, PIXELS)
    assert Page(doc).image is doc.image.tensor


def test_a_uri_is_not_followed():
    chunk = there_and_back(uri_="https://example.com/a.png")

    assert (chunk.uri, chunk.mime_type, chunk._metadata) == ("https://example.com/a.png", "image/png", {})


def test_bytes_of_a_file(folder):
    (folder / "a.bin").write_bytes(b"\0\1")

    assert there_and_back(blob_="a.bin").blob == b"\0\1"
    assert there_and_back(blob_=b"x").blob == b"x"
    assert Document(Page(blob_=bytearray(b"x"))).chunks[0].blob == b"x"


def test_the_rows_of_a_table_are_its_chunks(folder):
    (folder / "a.csv").write_text("text,price\ntea,3\ncoffee,5\n")

    chunk = there_and_back(table="a.csv")
    assert [row.text for row in chunk.chunks] == ["tea", "coffee"]
    assert (chunk.chunks[0].granularity, chunk.modality, chunk._metadata) == (2, "tabular", {})


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ({}, {}),
        ([1, "x"], {"json": [1, "x"]}),
        ('{"a": 1}', {"a": 1}),
        ("[1]", {"json": [1]}),
    ],
    ids=["dict", "empty", "list", "object as text", "list as text"],
)
def test_json(value, tags):
    chunk = there_and_back(json_=value)

    assert chunk.modality == "json"
    assert (
        chunk.tags
        == {"text": {"a": 1}, "list": {"json": [1, "x"]}}.get(
            {list: "list", str: "text"}.get(type(value), ""), value
        )
        or value == "[1]"
    )


def test_text_that_is_no_json_is_refused():
    with pytest.raises(BadValue, match=r"^Page.json_: this is no JSON"):
        Document(Page(json_="{a: 1}"))


@pytest.mark.parametrize("field", [*Page.__dataclass_fields__])
def test_a_document_can_be_given_for_any(field):
    given = Document(text="x", embedding=[1.0], chunks=[Document(text="y")])
    doc = Document(Page(**{field: given}))

    chunk = doc.get_multi_modal_attribute(field)[0]
    assert chunk is given
    assert (chunk.parent_id, chunk.granularity, chunk.chunks[0].granularity) == (doc.id, 1, 2)
    assert getattr(Page(doc), field) is given
    read = getattr(Page(Document.from_bytes(doc.to_bytes())), field)
    assert (read.text, list(read.embedding), read.chunks[0].text) == ("x", [1.0], "y")


def test_a_document_that_is_put_in_later_reads_as_a_value():
    doc = Document(Page(text_="x", image=PIXELS, blob_=b"x", uri_="a"))
    doc.text_ = Document(text="new")
    doc.image = Document(uri="new.png")
    doc.blob_ = Document(blob=b"new")
    doc.uri_ = Document(uri="new")

    assert Page(doc) == Page(text_="new", image="new.png", blob_=b"new", uri_="new")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text_", 3), ("uri_", 3), ("uri_", b"a"), ("image", 3), ("image", ["a"]), ("audio", {}), ("blob_", PIXELS),
        ("pdf", PIXELS), ("table", 3.0), ("json_", 3),
    ],
)  # fmt: skip
def test_what_a_medium_does_not_take_is_refused(field, value):
    with pytest.raises(FieldTypeError, match=rf"^Page\.{field}: .* wanted; got a "):
        Document(Page(**{field: value}))


def test_a_medium_of_ones_own():
    Shout = Annotated[str, Medium("Shout", lambda v: Document(text=v.upper()), lambda doc: doc.text.lower())]

    @dataclass
    class Call:
        words: list[Shout]
        first: Shout | None = None

    doc = Document(Call(["a", "b"], "c"))
    assert [w.text for w in doc.words] == ["A", "B"]
    assert doc._metadata["multi_modal_schema"]["words"] == {
        "attribute_type": "iterable_document",
        "type": "List[Shout]",
        "position": 0,
    }
    assert Call(doc) == Call(["a", "b"], "c")
