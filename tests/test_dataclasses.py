"""Dataclasses: what they look like as documents, here and in files of the old library, and that they come back."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import importlib.util
import json
import pickle
import subprocess
import sys
import typing
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Dict, Generic, List, Literal, NewType, Optional, Tuple, TypeVar  # noqa: UP035

import numpy as np
import pytest
from everything import difference
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray, dataclass, field, is_multimodal
from docarray.dataclasses import from_document, register
from docarray.errors import BadValue, FieldMismatch, FieldTypeError, OutOfRange, UnknownField
from docarray.registry import known
from docarray.typing import JSON, URI, Audio, Blob, Image, Mesh, Text, Video

GOLDEN = Path(__file__).parent / "data" / "multimodal"
OLD = Path(__file__).parent.parent / ".venv-old" / "bin" / "python"
old_library = pytest.mark.skipif(not OLD.exists(), reason="the old library is not here: make .venv-old")


def schema_of(doc):
    return doc._metadata["multi_modal_schema"]


# --- beside the old library -----------------------------------------------------------------------------------------

# Both libraries run this; the old one wrote the golden files.
PAGES = """
import numpy as np
from typing import List
from docarray import Document, DocumentArray, dataclass, field
from docarray.typing import Image, Text, URI, Audio, Video, Mesh, Blob, JSON
@dataclass
class Part:
    img: Image
    cap: Text
    price: float
    tags_: List[str]
@dataclass
class Page:
    head: Text
    parts: List[Part]
    main: Part
    images: List[Image]
    photo: Image
    link: URI
    sound: Audio
    film: Video
    surface: Mesh
    raw: Blob
    meta: JSON
    count: int
    zero: int
    yes: bool
    no: bool
    ratio: float
    data: bytes
    texts: List[Text]
    note: Text = None
    none: List[Text] = field(default_factory=list)
def part(n):
    return Part(np.full((2, 2, 3), n, np.uint8), f'caption {n}', n / 2, ['u'] * n)
def page(n=0):
    photo = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    return Page('Teas', [part(0), part(1)][:n], part(4), [np.zeros((1, 2, 3), np.uint8)], photo, 'a/b.png',
                np.zeros(4, np.float32), np.zeros((2, 1, 1, 3), np.uint8), np.ones((5, 3)), b'\\0\\1',
                {'a': [1, 'x'], 'b': {'c': None}}, n, 0, True, False, 2.0, b'\\xff\\0', ['a', 'b'][n:],
                note=[None, 'n', None][n])
"""
WRITE = """
import sys
da = DocumentArray([Document(page(n)) for n in range(3)])
for form in ('protobuf', 'protobuf-array', 'pickle', 'pickle-array'):
    open(f'{sys.argv[1]}/{form}.bin', 'wb').write(da.to_bytes(form))
open(f'{sys.argv[1]}/jsonschema.json', 'w').write(da.to_json())
open(f'{sys.argv[1]}/protobuf.json', 'w').write(da.to_json('protobuf'))
"""
READ = """
import sys, json, pickle
def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, '__dataclass_fields__'):
        return all(same(getattr(a, k), getattr(b, k)) for k in a.__dataclass_fields__)
    return a == b
for path in sys.argv[1:]:
    form = path.rsplit('/', 1)[-1].partition('.')[0]
    da = DocumentArray.from_bytes(open(path, 'rb').read(), form)
    assert [same(Page(doc), page(n)) for n, doc in enumerate(da)] == [True] * 3, path
    assert [doc.head.text for doc in da] == ['Teas'] * 3
print('all read')
"""

names_of_old: dict[str, Any] = {"__name__": __name__}
exec(compile(PAGES, "pages", "exec", dont_inherit=True), names_of_old)
OldPage, old_page = names_of_old["Page"], names_of_old["page"]


def stripped(doc):
    """A document as a dict, without ids, which are drawn by chance, and depths, which the old library gave wrongly."""
    return without_places(doc.to_dict(exclude_none=True))


def without_places(value):
    if isinstance(value, dict):
        left_out = ("id", "parent_id", "granularity")
        return {k: without_places(v) for k, v in value.items() if k not in left_out}
    return [without_places(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ["protobuf", "protobuf-array", "pickle", "pickle-array"])
def test_files_of_the_old_library_become_objects(name):
    da = DocumentArray.from_bytes((GOLDEN / f"{name}.bin").read_bytes(), name)

    assert [old_page(n) for n in range(3)] == [OldPage(doc) for doc in da]
    assert [stripped(Document(old_page(n))) for n in range(3)] == [stripped(doc) for doc in da]


def test_pickles_of_the_old_library_that_are_trusted():
    da = DocumentArray.from_bytes((GOLDEN / "pickle-array.bin").read_bytes(), "pickle-array", trusted=True)

    assert [old_page(n) for n in range(3)] == [OldPage(doc) for doc in da]


@pytest.mark.parametrize("flavour", ["jsonschema", "protobuf"])
def test_json_of_the_old_library_becomes_objects(flavour):
    """Its ints came back as bools or floats, positions too; arrays are plain lists in one of the two."""
    da = DocumentArray.from_json((GOLDEN / f"{flavour}.json").read_text(), flavour)

    for n, doc in enumerate(da):
        read, page = OldPage(doc), old_page(n)
        assert (read.count, type(read.count), read.zero, type(read.zero)) == (n, int, 0, int)
        assert (read.yes, read.no, read.ratio, type(read.ratio)) == (True, False, 2.0, float)
        assert (read.head, read.note, read.texts, read.data) == (page.head, page.note, page.texts, page.data)
        assert [p.cap for p in read.parts] == [p.cap for p in page.parts]
        assert np.array_equal(np.array(read.photo), page.photo)


@old_library
def test_the_old_library_reads_our_files(tmp_path):
    da = DocumentArray([Document(old_page(n)) for n in range(3)])
    paths = []
    for form in ("protobuf", "protobuf-array", "pickle", "pickle-array"):
        paths.append(tmp_path / f"{form}.bin")
        paths[-1].write_bytes(da.to_bytes(form))
    done = subprocess.run([OLD, "-c", PAGES + READ, *paths], capture_output=True, text=True, cwd=tmp_path)

    assert done.stdout.strip() == "all read", done.stderr


@old_library
def test_the_golden_files_are_those_of_the_old_library(tmp_path):
    subprocess.run([OLD, "-c", PAGES + WRITE, tmp_path], check=True, cwd=tmp_path)

    for form in ("protobuf", "protobuf-array", "pickle", "pickle-array"):
        live, kept = (
            DocumentArray.from_bytes((folder / f"{form}.bin").read_bytes(), form)
            for folder in (tmp_path, GOLDEN)
        )
        assert [stripped(doc) for doc in live] == [stripped(doc) for doc in kept]


def test_old_import_paths():
    code = """
from docarray.dataclasses.types import dataclass, field, is_multimodal
from docarray.dataclasses.setter import image_setter
from docarray.dataclasses.enums import AttributeType
import docarray, docarray.dataclasses.getter
assert docarray.dataclasses.getter.text_getter(docarray.Document(text='x')) == 'x'
assert docarray.dataclass is dataclass is docarray.dataclasses.dataclass
assert AttributeType.NESTED == 'nested'
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_importing_docarray_does_not_load_them():
    code = (
        "import docarray, sys; print('docarray.dataclasses' in sys.modules, 'docarray.typing' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["False", "False"]


# --- layout ---------------------------------------------------------------------------------------------------------


@dataclass
class Part:
    img: Image
    cap: Text
    price: float = 0.0
    tags_: List[str] = field(default_factory=list)  # noqa: UP006


@dataclass
class Page:
    head: Text
    parts: List[Part]  # noqa: UP006
    main: Part


PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


def page():
    return Page("Teas", [Part(PIXELS, "a"), Part(PIXELS, "b", 1.5)], Part(PIXELS, "c", 2.0, ["u"]))


def test_the_layout_of_the_catalogue():
    doc = Document(page())

    assert {
        "head": {"attribute_type": "document", "type": "Text", "position": 0},
        "parts": {"attribute_type": "iterable_nested", "type": "List[Part]", "position": 1},
        "main": {"attribute_type": "nested", "type": "Part", "position": 2},
    } == schema_of(doc)
    head, parts, main = doc.chunks
    assert (head.text, head.modality, head._metadata) == ("Teas", "text", {})
    assert (parts._metadata, parts.content, len(parts.chunks)) == ({}, None, 2)
    assert main.tags == {"price": 2.0, "tags_": ["u"]}
    assert {
        "img": {"attribute_type": "document", "type": "Image", "position": 0},
        "cap": {"attribute_type": "document", "type": "Text", "position": 1},
        "price": {"attribute_type": "primitive", "type": "float"},
        "tags_": {"attribute_type": "iterable_primitive", "type": "List[str]"},
    } == schema_of(main)
    assert (main.img.modality, main.img._metadata) == ("image", {"image_type": "ndarray"})


def test_chunks_know_where_they_are():
    doc = Document(page())
    flat = {one.id: one for one in doc.chunks[...]}

    for one in flat.values():
        above = flat.get(one.parent_id, doc)
        assert one.granularity == above.granularity + 1
        assert any(one is chunk for chunk in above.chunks)
    rebuilt = Document({"id": doc.id}, chunks=[Document(chunk, copy=True) for chunk in doc.chunks])
    assert difference(list(rebuilt.chunks), list(doc.chunks)) is None


def test_none_is_left_out_and_comes_back():
    @dataclass
    class Some:
        a: Text = "default"
        b: int = 3
        c: Text | None = None
        d: Optional[Image] = None  # noqa: UP045
        e: int | None = 5

    for some in (Some(None, None, None, None, None), Some(), Some("x", 0, "y", PIXELS, 0), Some(None, 1)):
        doc = Document(some)
        assert set(schema_of(doc)) == {k for k, v in vars(some).items() if v is not None}
        assert len(doc.chunks) == sum(some_ is not None for some_ in (some.a, some.c, some.d))
        assert Some(doc) == some
        assert Some(Document.from_bytes(doc.to_bytes("protobuf"), "protobuf")) == some


def test_a_field_that_the_document_does_not_know_has_its_default():
    @dataclass
    class Before:
        a: Text

    @dataclass
    class After:
        a: Text
        b: int = 3
        c: list[Text] = field(default_factory=lambda: ["x"])
        d: Image | None = None

    assert After(Document(Before("a"))) == After("a", 3, ["x"], None)


def test_empty_lists_come_back_empty():
    doc = Document(Page("x", [], Part(PIXELS, "c")))

    assert len(doc.chunks) == 3
    assert len(doc.parts) == 0
    assert Page(doc).parts == []


def test_what_is_given_beside_the_object_is_added():
    doc = Document(
        page(), text="whole", tags={"more": 1}, id="k", color="red", chunks=[Document(text="extra")]
    )

    assert (doc.id, doc.text, doc.tags) == ("k", "whole", {"more": 1, "color": "red"})
    assert [chunk.parent_id for chunk in doc.chunks] == ["k"] * 4
    assert Page(doc) == page()


def test_the_document_and_the_object_share_no_list():
    @dataclass
    class Tagged:
        words: list[str]

    tagged = Tagged(["a"])
    doc = Document(tagged)
    tagged.words.append("b")
    Tagged(doc).words.append("c")

    assert doc.tags["words"] == ["a"]


def test_documents_of_a_class_do_not_share_their_private_data():
    a, b = Document(page()), Document(page())
    a._metadata["mine"] = 1
    a.embeddings = {"x": [1.0]}

    assert list(b._metadata) == ["multi_modal_schema"]
    assert list(Document(page())._metadata) == ["multi_modal_schema"]


# --- access ---------------------------------------------------------------------------------------------------------


def test_fields_are_documents():
    doc = Document(page())

    assert doc.head.text == "Teas"
    assert [part.cap.text for part in doc.parts] == ["a", "b"]
    assert doc.main.tags["price"] == 2.0
    assert [d.text for d in DocumentArray([doc])["@.[parts].[cap]"]] == ["a", "b"]
    doc.head = Document(text="New")
    doc.main = Document(Part(PIXELS, "other"))
    assert Page(doc).head == "New"
    assert Page(doc).main.cap == "other"
    with pytest.raises(ValueError, match="plain value"):
        _ = doc.main.price
    with pytest.raises(UnknownField, match="no field 'hed'"):
        _ = doc.hed


def test_a_field_named_like_an_attribute_of_documents():
    @dataclass
    class Note:
        text: Text
        tags: list[str]
        id: int
        chunks: list[Text]

    note = Note("x", ["a"], 3, ["c", "d"])
    doc = Document(note)

    assert (doc.text, len(doc.chunks), len(doc.id)) == ("", 2, 32)
    assert doc.get_multi_modal_attribute("text")[0].text == "x"
    assert [d.text for d in DocumentArray([doc])["@.[chunks]"]] == ["c", "d"]
    assert Note(doc) == note


def test_search_by_a_field():
    pages = DocumentArray([Document(Page(name, [], Part(PIXELS, "c"))) for name in ("tea", "coffee", "milk")])
    for doc in pages["@.[head]"]:
        doc.embedding = np.eye(8)[len(doc.text)]

    found = pages.find(np.eye(8)[6], on="@.[head]", limit=1)
    assert found.texts == ["coffee"]
    assert Page(pages[found[0].parent_id]).head == "coffee"


def test_is_multimodal():
    assert is_multimodal(Page)
    assert is_multimodal(page())
    assert is_multimodal(Document(page()))
    assert not is_multimodal(Document())
    assert not is_multimodal(3)
    assert not is_multimodal(dataclasses.make_dataclass("Plain", ["a"]))


def test_rows_of_a_store_become_objects():
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    with DocumentArray([Document(page())], storage="sqlite") as da:
        assert Page(da[0]) == page()
        assert type(Page(da[0]).main.tags_) is list
        da[0].head = Document(text="New")
        assert Page(da[0]).head == "New"


# --- annotations ----------------------------------------------------------------------------------------------------


class Lang(enum.Enum):
    DE = "de"
    EN = "en"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Shape(enum.Enum):
    ROUND = (1, 2)
    FLAT = (3, 4)


class Right(enum.Flag):
    READ = 1
    WRITE = 2


UserId = NewType("UserId", int)
T = TypeVar("T")
MOMENT = datetime.datetime(2024, 10, 27, 2, 30, 1, 5, fold=1)


def only(annotation, value, cls=None):
    """The document of an object with one field `x`, after the value was seen to come back from everywhere."""
    made = cls or dataclass(type("Only", (), {"__annotations__": {"x": annotation}, "__module__": __name__}))
    doc = Document(made(value))
    assert difference(value, made(doc).x) is None
    for form in ("binary", "protobuf", "json"):
        read = made(Document.from_bytes(doc.to_bytes(form), form)).x
        assert difference(value, read) is None, form
    return doc


@pytest.mark.parametrize(
    ("annotation", "value", "tag"),
    [
        (str, "x", "x"), (int, 3, 3), (int, 0, 0), (float, 2.0, 2.0), (bool, False, False), (bytes, b"\xff", "/w=="),
        (Lang, Lang.EN, "en"), (Level, Level.HIGH, 2), (Shape, Shape.FLAT, "FLAT"),
        (Right, Right.READ | Right.WRITE, 3),
        (datetime.datetime, MOMENT.replace(fold=0), "2024-10-27T02:30:01.000005"),
        (datetime.datetime, MOMENT, ["2024-10-27T02:30:01.000005", 1]),
        (datetime.date, MOMENT.date(), "2024-10-27"), (datetime.time, datetime.time(1, 2), "01:02:00"),
        (datetime.timedelta, datetime.timedelta(days=1, microseconds=1), 86400.000001),
        (datetime.timedelta, datetime.timedelta.max - datetime.timedelta(microseconds=1), [999999999, 86399, 999998]),
        (decimal.Decimal, decimal.Decimal("1.10"), "1.10"), (uuid.UUID, uuid.UUID(int=5), str(uuid.UUID(int=5))),
        (complex, 1 - 2j, [1.0, -2.0]), (PurePosixPath, PurePosixPath("a/b"), "a/b"), (Path, Path("a"), "a"),
        (Literal["a", 3], 3, 3), (Literal["a", Lang.DE], Lang.DE, "de"), (UserId, 3, 3),
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (int | str, 3, 3), (int | str, "3", "3"), (int | float, 3.0, 3.0), (bool | str | None, True, True),
        (datetime.date | int, MOMENT.date(), "2024-10-27"), ("int | None", 3, 3), (Annotated[int, "a unit"], 3, 3),
        (list[int], [1, 2], [1, 2]), (List[str], [], []), (Sequence[bool], [True], [True]),  # noqa: UP006
        (list[list[float]], [[1.0], []], [[1.0], []]), (list[Lang], [Lang.DE], ["de"]), (list, [1, "a"], [1, "a"]),
        (list[int | None], [1, None], [1, None]), (set[str], {"a"}, ["a"]), (frozenset[int], frozenset({1}), [1]),
        (tuple[int, ...], (1, 2), [1, 2]), (tuple[int, str, Lang], (1, "a", Lang.EN), [1, "a", "en"]),
        (deque[int], deque([1]), [1]),
        (Tuple[int, str], (1, "a"), [1, "a"]), (Dict[str, int], {"a": 1}, {"a": 1}), (dict, {"a": [1]}, {"a": [1]}),  # noqa: UP006
        (dict[int, str], {1: "a"}, [[1, "a"]]), (dict[Lang, list[int]], {Lang.DE: [1]}, {"de": [1]}),
        (Mapping[str, datetime.date | None], {"a": MOMENT.date(), "b": None}, {"a": "2024-10-27", "b": None}),
    ],
)  # fmt: skip
def test_plain_values_are_tags(annotation, value, tag):
    doc = only(annotation, value)

    assert doc.tags == {"x": tag}
    assert len(doc.chunks) == 0
    assert schema_of(doc)["x"]["attribute_type"] in ("primitive", "iterable_primitive")


@pytest.mark.parametrize(
    ("annotation", "value", "kind", "name"),
    [
        (Text, "a", "document", "Text"),
        (Text | None, "a", "document", "Text"),
        (Text | Document, "a", "document", "Text"),
        (list[Text], ["a", "b"], "iterable_document", "List[Text]"),
        (Iterable[Text], ["a"], "iterable_document", "Iterable[Text]"),
        (tuple[Text, ...], ("a", "b"), "iterable_document", "Tuple[Text]"),
        (list[Text | None], ["a", None, ""], "iterable_document", "List[Text]"),
        (list[list[Text]], [["a"], [], ["b", "c"]], "iterable_document", "List[List[Text]]"),
        (dict[str, Text], {"x": "a", "": "b"}, "iterable_document", "Dict[str, Text]"),
        (dict[int, list[Image]], {0: [PIXELS], 5: []}, "iterable_document", "Dict[int, List[Image]]"),
        (Part, Part(PIXELS, "a"), "nested", "Part"),
        ("Part | None", Part(PIXELS, "a"), "nested", "Part"),
        (list[Part], [Part(PIXELS, "a")], "iterable_nested", "List[Part]"),
        (list["Part | None"], [Part(PIXELS, "a"), None], "iterable_nested", "List[Part]"),
        (dict[Lang, Part], {Lang.DE: Part(PIXELS, "a")}, "iterable_nested", "Dict[Lang, Part]"),
        (Part | Page, page(), "nested", "Part | Page"),
        (list[Part | Page], [page(), Part(PIXELS, "a")], "iterable_nested", "List[Part | Page]"),
    ],
)
def test_media_and_dataclasses_are_chunks(annotation, value, kind, name):
    made = dataclass(type("Only", (), {"__annotations__": {"x": annotation}, "__module__": __name__}))
    doc = Document(made(value))

    assert {"x": {"attribute_type": kind, "type": name, "position": 0}} == schema_of(doc)
    assert doc.tags == {}
    assert made(doc) == made(value)
    for form in ("binary", "protobuf", "json"):
        assert made(Document.from_bytes(doc.to_bytes(form), form)) == made(value), form


def test_a_document_is_a_field_too():
    @dataclass
    class Holder:
        doc: Document
        docs: list[Document]

    inner = Document(text="x", tags={"a": 1})
    read = Holder(Document.from_bytes(Document(Holder(inner, [Document(id="y")])).to_bytes()))
    assert (read.doc.text, read.doc.tags, read.docs[0].id) == ("x", {"a": 1}, "y")


@dataclass
class Tree:
    name: Text
    below: list[Tree] = field(default_factory=list)
    best: Tree | None = None
    other: Later | None = None


@dataclass
class Later:
    tree: Tree


def test_a_class_may_name_itself_and_later_ones():
    tree = Tree("a", [Tree("b", [Tree("c")]), Tree("d")], Tree("e"), Later(Tree("f")))

    assert Tree(Document.from_bytes(Document(tree).to_bytes())) == tree
    tree.below.append(tree)
    with pytest.raises(BadValue, match="holds itself"):
        Document(tree)


def test_classes_local_to_a_function():
    @dataclass
    class Inner:
        x: Text

    def deeper():
        @dataclass
        class Outer:
            a: Inner
            b: list[Inner | None]
            c: Outer | None = None

        return Outer

    Outer = deeper()
    outer = Outer(Inner("x"), [Inner("y"), None], Outer(Inner("z"), []))
    assert Outer(Document(outer)) == outer


def test_a_name_that_never_comes():
    @dataclass
    class Page:
        x: Nowhere  # noqa: F821

    with pytest.raises(
        FieldTypeError, match=r"Page\.x is annotated 'Nowhere', but name 'Nowhere' is not defined"
    ):
        Document(Page(3))


@pytest.mark.parametrize(
    ("annotation", "word"),
    [
        (type, "type"), (np.ndarray, "ndarray"), (typing.Callable, "Callable"), (Text | Image, "Text | Image"),
        (str | datetime.date, "str | date"), (dict[Text, int], "keys are Text"), (list[memoryview], "memoryview"),
        (tuple[Text, int], "tuple[..., ...]"), (Literal[b"x"], "b'x'"), (Part | str, "Part | str"),
        ("1 +", "cannot be read"),
        (None, "None"), (dataclasses.make_dataclass("Plain", ["a"]), "Plain"),
    ],
)  # fmt: skip
def test_an_annotation_that_is_none_is_refused_at_once(annotation, word):
    with pytest.raises(FieldTypeError) as info:
        dataclass(type("Page", (), {"__annotations__": {"x": annotation}, "__module__": __name__}))

    assert str(info.value).startswith("Page.x: ")
    assert word in str(info.value)


# --- kinds of classes -----------------------------------------------------------------------------------------------


def test_inherited_fields():
    @dataclass
    class Base:
        a: Text
        b: int = 1

    @dataclass
    class Derived(Base):
        c: Image | None = None
        b: str = "x"

    derived = Derived("a", "y", PIXELS)
    assert Derived(Document(derived)) == derived
    assert list(schema_of(Document(derived))) == ["a", "b", "c"]

    class Undecorated(Derived):
        def shout(self):
            return self.a.upper()

    read = Undecorated(Document(Undecorated("a")))
    assert (type(read), read.shout()) == (Undecorated, "A")


def test_a_plain_dataclass_as_a_base():
    @dataclasses.dataclass
    class Plain:
        a: Text
        b: int = 3

    @dataclass
    class Page(Plain):
        c: Text = "c"

    assert Page(Document(Page("a", 4))) == Page("a", 4)


@dataclass
class Shape2:
    name: Text


@dataclass
class Circle(Shape2):
    radius: float = 1.0


def test_objects_of_derived_classes_come_back_as_such():
    @dataclass
    class Drawing:
        first: Shape2
        shapes: list[Shape2]

    drawing = Drawing(Circle("a", 2.0), [Shape2("b"), Circle("c")])
    doc = Document(drawing)
    assert Drawing(Document.from_bytes(doc.to_bytes())) == drawing
    doc.first._metadata["multi_modal_class"] = "Square"
    with pytest.raises(FieldMismatch, match=r"^Drawing\.first: .* is of Square, no Shape2"):
        Drawing(doc)


@dataclass
class Box(Generic[T]):
    item: T
    more: list[T] = field(default_factory=list)


def test_generic_classes():
    box = Box[Text]("x", ["y"])
    doc = Document(box)

    assert schema_of(doc)["more"]["type"] == "List[Text]"
    assert Box[Text](doc) == box
    assert isinstance(Box[Text](doc), Box)
    assert stripped(Document(Box[Text](doc))) == stripped(doc)
    assert Document(Box[int](3, [4])).tags == {"item": 3, "more": [4]}

    @dataclass
    class Words(Box[Text]):
        count: int = 0

    assert Words(Document(Words("x", ["y"], 2))) == Words("x", ["y"], 2)

    @dataclass
    class Shelf(Generic[T]):
        boxes: list[Box[T]]
        best: Box[int] | None = None

    shelf = Shelf[Text]([Box("a"), Box("b", ["c"])], Box(1))
    assert Shelf[Text](Document(shelf)) == shelf
    with pytest.raises(FieldTypeError, match=r"^Box\.item: .*make it with Box\[\.\.\.\]"):
        Document(Box("x"))


def test_generic_classes_that_are_frozen():
    B = TypeVar("B", bound=int)

    @dataclass(frozen=True)
    class Pair(Generic[T, B]):
        left: T
        right: B

    pair = Pair[Text, int]("x", 3)
    assert Pair[Text, int](Document(pair)) == pair
    assert {pair, Pair[Text, int](Document(pair))} == {pair}


def test_frozen_slots_and_keywords_only():
    @dataclass(frozen=True, slots=True, kw_only=True, order=True)
    class Point:
        name: Text
        x: int = 0

    point = Point(name="a", x=3)
    assert Point(Document(point)) == point
    assert hash(Point(Document(point))) == hash(point)
    assert Point(name="a") < point
    assert not hasattr(point, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 4


def test_what_init_does_is_done_when_a_document_is_read():
    @dataclass
    class Circle:
        radius: float
        area: float = field(init=False)
        kind: ClassVar[str] = "round"
        unannotated = 3

        def __post_init__(self):
            self.area = 3 * self.radius**2

    circle = Circle(2.0)
    doc = Document(circle)
    assert doc.tags == {"radius": 2.0, "area": 12.0}
    doc.tags["area"] = 12.5
    assert Circle(doc).area == 12.5


def test_what_only_init_is_told_is_not_asked_for():
    @dataclass
    class Scaled:
        size: float
        factor: dataclasses.InitVar[float]

        def __post_init__(self, factor):
            self.size *= factor

    scaled = Scaled(2.0, 3.0)
    assert Document(scaled).tags == {"size": 6.0}
    assert Scaled(Document(scaled)).size == 6.0

    @dataclass
    class Optionally:
        size: float
        factor: dataclasses.InitVar[float] = 1.0

        def __post_init__(self, factor):
            self.size *= factor

    assert Optionally(Document(Optionally(2.0, 3.0))).size == 6.0


def test_what_setting_an_attribute_does_is_done_when_a_document_is_read():
    @dataclass
    class Loud:
        word: str

        def __setattr__(self, name, value):
            object.__setattr__(self, name, value.upper())

    class Upper:
        def __set__(self, obj, value):
            obj.__dict__["_word"] = value.upper()

        def __get__(self, obj, owner=None):
            return "" if obj is None else obj.__dict__["_word"]

    @dataclass
    class Described:
        word: str = Upper()

    for cls in (Loud, Described):
        doc = Document(cls("a"))
        doc.tags["word"] = "b"
        assert cls(doc).word == "B"


def test_slots_of_a_base():
    class Base:
        __slots__ = ("word",)

    @dataclass
    class Derived(Base):
        word: str
        other: int

    assert Derived(Document(Derived("a", 3))) == Derived("a", 3)


def test_a_class_with_its_own_init():
    @dataclass(init=False)
    class Named:
        name: Text
        length: int

        def __init__(self, name):
            self.name, self.length = name, len(name)

    assert Named(Document(Named("abc"))) == Named("abc")


def test_objects_with_arrays_are_compared():
    assert page() == page()
    other = page()
    other.main.img = PIXELS + 1
    assert page() != other
    assert page() != Part(PIXELS, "a")


def test_they_are_dataclasses_otherwise():
    assert [f.name for f in dataclasses.fields(Page)] == ["head", "parts", "main"]
    assert dataclasses.replace(page(), head="x").head == "x"
    assert pickle.loads(pickle.dumps(page())) == page()
    assert Part.__match_args__ == ("img", "cap", "price", "tags_")
    with pytest.raises(TypeError, match="missing 1 required"):
        Page("x", [])


# --- custom types ---------------------------------------------------------------------------------------------------

MyImage = TypeVar("MyImage", bound=str)


def my_setter(value):
    return Document(uri=value, text=value.upper())


def my_getter(doc):
    return doc.uri


def test_field_with_setter_and_getter():
    @dataclass
    class Banner:
        main: MyImage = field(setter=my_setter, getter=my_getter, default="a.png")
        more: List[MyImage] = field(setter=my_setter, getter=my_getter, default_factory=list)  # noqa: UP006
        named: dict[str, MyImage] | None = field(setter=my_setter, getter=my_getter, default=None)
        loud: Text = field(setter=lambda v: Document(text=v.upper()), default="")
        soft: Text = field(getter=lambda doc: doc.text.lower(), default="")

    banner = Banner("b.png", ["c", "d"], {"x": "e"}, "q", "R")
    doc = Document(banner)
    assert doc.main.text == "B.PNG"
    assert schema_of(doc)["main"]["type"] == "MyImage"
    assert schema_of(doc)["more"]["attribute_type"] == "iterable_document"
    assert Banner(doc) == Banner("b.png", ["c", "d"], {"x": "e"}, "Q", "r")
    assert Banner(Document(Banner())) == Banner()
    with pytest.raises(FieldTypeError, match=r"Half\.x: both a setter and a getter"):

        @dataclass
        class Half:
            x: int = field(setter=my_setter)


def test_type_var_map():
    """As the old library has it: a function that makes a field of a field, which may replace what is built in."""

    @dataclass(
        type_var_map={
            MyImage: lambda f: field(setter=my_setter, getter=my_getter, _source_field=f),
            Text: lambda f: field(
                setter=lambda v: Document(text=v[::-1]), getter=lambda doc: doc.text[::-1], _source_field=f
            ),
        }
    )
    class Banner:
        image: MyImage = "a.png"
        title: Text | None = None
        titles: list[Text] = field(default_factory=list)

    doc = Document(Banner("b.png", "abc", ["de"]))
    assert (doc.image.text, doc.title.text, doc.titles[0].text) == ("B.PNG", "cba", "ed")
    assert Banner(doc) == Banner("b.png", "abc", ["de"])
    assert Banner(Document(Banner())) == Banner("a.png")


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return self.cents == other.cents


def test_register():
    setter, getter = (lambda m: Document(weight=m.cents)), (lambda doc: Money(int(doc.weight)))
    register(Money, setter=setter, getter=getter)
    register(Money, setter=setter, getter=getter)

    @dataclass
    class Bill:
        total: Money
        items: list[Money | None]

    bill = Bill(Money(3), [Money(1), None])
    doc = Document(bill)
    assert Bill(doc) == bill
    assert schema_of(doc)["items"]["type"] == "List[Money]"
    with pytest.raises(BadValue, match="registered already"):
        register(Money, setter=my_setter, getter=my_getter)


def test_a_setter_that_gives_no_document():
    @dataclass
    class Odd:
        parts: list[int] = field(setter=lambda v: v, getter=my_getter)

    with pytest.raises(
        FieldTypeError, match=r"^Odd\.parts\[0\]: the setter of int gives a Document; it gave a int"
    ):
        Document(Odd([1]))


def test_chunks_that_a_setter_makes_know_where_they_are():
    @dataclass
    class Split:
        words: list[str] | None = None
        line: str = field(
            setter=lambda v: Document(chunks=[Document(text=w) for w in v.split()]),
            getter=lambda doc: " ".join(doc.chunks.texts),
            default="",
        )

    doc = Document(Split(line="a b"))
    assert [c.granularity for c in doc.line.chunks] == [2, 2]
    assert doc.line.parent_id == doc.id
    assert Split(doc).line == "a b"


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda p: setattr(p, "head", 3), "Page.head: a str is wanted; got a int: 3"),
        (
            lambda p: setattr(p.parts[1], "img", 3),
            "Page.parts[1].img: a path, a URL, bytes, an array or a Document is",
        ),
        (lambda p: setattr(p.main, "price", "x"), "Page.main.price: a float is wanted; got a str: 'x'"),
        (lambda p: p.main.tags_.append(3), "Page.main.tags_[1]: a str is wanted; got a int: 3"),
        (lambda p: setattr(p, "main", "x"), "Page.main: a Part is wanted; got a str: 'x'"),
        (lambda p: setattr(p, "parts", "x"), "Page.parts: a list is wanted; got a str: 'x'"),
        (lambda p: p.parts.append(None), "Page.parts[2]: a Part is wanted; got a NoneType: None"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(change, path):
    wrong = page()
    change(wrong)

    with pytest.raises(FieldTypeError) as info:
        Document(wrong)
    assert str(info.value).startswith(path)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 1.5), (int, "1"), (float, True), (float, "1"), (bool, 1), (bytes, "x"), (Lang, "de"), (Level, 1),
        (datetime.date, MOMENT), (datetime.datetime, "2024"), (Literal["a", 1], True), (tuple[int, str], (1,)),
        (dict[str, int], [1]), (dict[str, int], {1: 1}), (list[int], {1: 1}), (int | bool, "x"), (set[int], "abc"),
    ],
)  # fmt: skip
def test_values_of_another_type_are_refused(annotation, value):
    made = dataclass(type("Only", (), {"__annotations__": {"x": annotation}, "__module__": __name__}))

    with pytest.raises((FieldTypeError, BadValue), match=r"^Only\.x"):
        Document(made(value))


def test_numbers_of_numpy_are_numbers():
    @dataclass
    class Numbers:
        a: int
        b: float
        c: bool

    doc = Document(Numbers(np.int64(3), np.float32(0.5), np.bool_(True)))
    assert [(v, type(v)) for v in doc.tags.values()] == [(3, int), (0.5, float), (True, bool)]


def test_errors_of_a_setter_say_where_it_was():
    def fails(value):
        raise OSError("no such thing")

    @dataclass
    class Odd:
        parts: list[str] = field(setter=fails, getter=my_getter)

    with pytest.raises(OSError, match="no such thing") as info:
        Document(Odd(["a"]))
    assert info.value.__notes__ == ["in the field Odd.parts[0]"]


def test_a_document_of_another_class():
    with pytest.raises(KeyError, match="has a field 'head', which Part has not"):
        Part(Document(page()))
    with pytest.raises(KeyError, match="has no field 'head', which Page wants"):
        Page(Document(dataclass(type("Few", (), {"__annotations__": {"main": Part}}))(Part(PIXELS, "a"))))
    with pytest.raises(ValueError, match="is not multimodal: no dataclass made it"):
        Page(Document(text="x"))
    with pytest.raises(FieldMismatch, match=r"field 'x' of document .* is a Text, and in Only it is not"):
        dataclass(type("Only", (), {"__annotations__": {"x": int}}))(only(Text, "a"))
    with pytest.raises(FieldMismatch, match=r"is a List\[Text\], and in"):
        dataclass(type("Only", (), {"__annotations__": {"x": Text}}))(only(list[Text], ["a"]))
    with pytest.raises(FieldTypeError, match="is no dataclass of docarray"):
        from_document(int, Document())


@pytest.mark.parametrize(
    ("annotation", "value", "found"),
    [(int, 1, 1.5), (str, "x", True), (Lang, Lang.DE, "fr"), (datetime.date, MOMENT.date(), "soon"),
     (bytes, b"x", "!"), (bool, True, 2), (list[int], [1], [1, "x"]), (decimal.Decimal, decimal.Decimal(1), "x"),
     (Lang, Lang.DE, []), (dict[str, int], {"a": 1}, 3)],
)  # fmt: skip
def test_a_tag_that_is_no_value_of_the_field(annotation, value, found):
    made = dataclass(type("Only", (), {"__annotations__": {"x": annotation}, "__module__": __name__}))
    doc = Document(made(value))
    doc.tags["x"] = found

    with pytest.raises((FieldTypeError, BadValue), match=r"^Only\.x"):
        made(doc)
    del doc.tags["x"]
    with pytest.raises(BadValue, match=r"^Only\.x: document .* lacks the tag"):
        made(doc)


def test_chunks_that_are_not_there():
    doc = Document(page())
    del doc.chunks[2]

    with pytest.raises(OutOfRange, match=r"^Page\.main: .* is said to be chunk 2, and there are 2"):
        Page(doc)


# --- every way there and back ---------------------------------------------------------------------------------------


@dataclass
class Leaf:
    cap: Text
    price: float = 0.0
    seen: datetime.datetime | None = None


@dataclass
class Rich:
    title: Text
    image: Image | None = None
    raw: Blob | None = None
    link: URI | None = None
    meta: JSON | None = None
    texts: list[Text] = field(default_factory=list)
    gaps: list[Text | None] = field(default_factory=list)
    named: dict[str, Text] = field(default_factory=dict)
    grid: list[list[Text]] = field(default_factory=list)
    leaf: Leaf | None = None
    leaves: list[Leaf] = field(default_factory=list)
    by_lang: dict[Lang, Leaf] = field(default_factory=dict)
    count: int = 0
    sold: bool = False
    data: bytes = b""
    lang: Lang = Lang.DE
    day: datetime.date | None = None
    span: datetime.timedelta | None = None
    cost: decimal.Decimal = decimal.Decimal(0)
    key: uuid.UUID = uuid.UUID(int=0)
    words: set[str] = field(default_factory=set)
    pair: tuple[int, str] | None = None
    either: int | str = 0
    counts: dict[int, float] = field(default_factory=dict)
    sound: Audio | None = None
    film: Video | None = None
    surface: Mesh | None = None


texts = st.text(st.characters(codec="utf-8"), max_size=4)
arrays = st.sampled_from([PIXELS, np.zeros((1, 2), np.float32), np.arange(3)])
small = st.integers(-(2**53), 2**53)
floats = st.floats(allow_nan=False)
moments = st.datetimes(timezones=st.none() | st.just(datetime.UTC))
leaves = st.builds(Leaf, texts, floats, st.none() | moments)
json_values = st.dictionaries(texts, st.lists(st.booleans() | texts | st.none(), max_size=2), max_size=2)
rich = st.builds(
    Rich,
    title=texts,
    image=st.none() | arrays | st.binary(min_size=1, max_size=3),
    raw=st.none() | st.binary(min_size=1, max_size=3),
    link=st.none() | st.sampled_from(["a.png", "https://example.com/b", Path("c/d")]),
    meta=st.none() | json_values | st.lists(texts, min_size=1, max_size=2),
    texts=st.lists(texts, max_size=3),
    gaps=st.lists(st.none() | texts, max_size=3),
    named=st.dictionaries(texts, texts, max_size=2),
    grid=st.lists(st.lists(texts, max_size=2), max_size=2),
    leaf=st.none() | leaves,
    leaves=st.lists(leaves, max_size=2),
    by_lang=st.dictionaries(st.sampled_from(Lang), leaves, max_size=2),
    count=small,
    sold=st.booleans(),
    data=st.binary(max_size=3),
    lang=st.sampled_from(Lang),
    day=st.none() | st.dates(),
    span=st.none() | st.timedeltas(),
    cost=st.decimals(allow_nan=False),
    key=st.uuids(),
    words=st.sets(texts, max_size=2),
    pair=st.none() | st.tuples(small, texts),
    either=small | texts,
    counts=st.dictionaries(small, floats, max_size=2),
    sound=st.none() | arrays,
    film=st.none() | arrays,
    surface=st.none() | arrays,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(rich, min_size=1, max_size=3))
def test_there_and_back_through_every_format(pages):
    da = DocumentArray([Document(one) for one in pages])

    assert [Rich(doc) for doc in da] == pages
    for form in known("format"):
        read = DocumentArray.from_bytes(da.to_bytes(form), form)
        assert [Rich(doc) for doc in read] == pages, form


@settings(deadline=None, max_examples=10)
@given(st.lists(rich, min_size=1, max_size=3))
def test_there_and_back_through_a_store(pages):
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    with DocumentArray([Document(one) for one in pages], storage="sqlite") as da:
        assert [Rich(doc) for doc in da] == pages
        assert [Rich(doc) for doc in DocumentArray(da, copy=True)] == pages


@settings(deadline=None, max_examples=30)
@given(rich)
def test_the_fast_ways_equal_the_others(one):
    """A document in memory is read by the schema of its class; any other by its own. Texts are made on a short cut."""
    doc = Document(one)
    copied = Document(doc, copy=True)

    assert schema_of(copied) is not schema_of(doc)
    assert Rich(copied) == Rich(doc) == one
    rebuilt = Document({"id": doc.id, "_metadata": doc._metadata, "tags": doc.tags}, chunks=copied.chunks[:])
    assert difference(rebuilt, doc) is None


# --- for type checkers ----------------------------------------------------------------------------------------------

TYPED = """
from __future__ import annotations
from pathlib import Path
import numpy as np
from docarray import Document, dataclass, field, is_multimodal
from docarray.dataclasses import from_document
from docarray.typing import Image, Text, JSON, Audio, Blob, PDF, URI

@dataclass
class Part:
    caption: Text
    price: float = 0.0

@dataclass(frozen=True, kw_only=True)
class Page:
    title: Text
    image: Image | None = None
    parts: list[Part] = field(default_factory=list[Part])
    named: dict[str, Text] = field(default_factory=dict[str, Text])
    sound: Audio = b""
    paper: PDF | None = None
    raw: Blob = b"x"
    link: URI = "x"
    meta: JSON = None
    shout: str = field(default="", setter=lambda v: Document(text=v), getter=lambda doc: doc.text)

page = Page(title="x", image="a.png", parts=[Part("a")], named={"a": "b"}, sound=np.zeros(3), meta={"a": 1})
page = Page(title="x", image=np.zeros((2, 2, 3)), paper=Path("a.pdf"))
page = Page(title="x", image=Path("a.png"))
page = Page(title="x", image=Document(text="y"))
doc = Document(page)
again: Page = from_document(Page, doc)
title: str = again.title.upper()
first: float = again.parts[0].price
value = again.meta["a"]
checked: bool = is_multimodal(doc)
"""
WRONG = """
from docarray import dataclass
from docarray.typing import Image, Text
@dataclass
class Page:
    title: Text
    image: Image | None = None
Page(title=3)           # 7
Page("x", image=3.5)    # 8
Page()                  # 9
Page("x", picture="a")  # 10
"""


@pytest.mark.skipif(
    importlib.util.find_spec("pyright") is None,
    reason='pip install "pyright[nodejs]" checks the types users see',
)
def test_type_checkers_know_the_fields(tmp_path):
    (tmp_path / "right.py").write_text("# pyright: strict\n" + TYPED)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--pythonpath",
        sys.executable,
        "--outputjson",
        "right.py",
        "wrong.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    report = json.loads(done.stdout)

    found = [
        (Path(one["file"]).name, one["range"]["start"]["line"], one["message"])
        for one in report["generalDiagnostics"]
    ]
    assert [one for one in found if one[0] == "right.py"] == []
    assert [one[1] for one in found] == [7, 8, 9, 10], found
