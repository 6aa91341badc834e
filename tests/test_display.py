"""What documents show of themselves: all that is there, nothing that is hostile, and no more than a page can bear."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from docarray import Document, DocumentArray
from docarray.columns import JsonColumn, TextColumn
from docarray.display import completions, html_of, rich_of, show, thumbnail
from docarray.display.facts import SAMPLE, brief, cut, facts_of, plain
from docarray.display.html import MOST_BYTES
from docarray.errors import FieldTypeError
from docarray.table import Table

HOSTILE = (
    "<script>alert('1')</script><img src=x onerror=\"go()\">&amp;[red]\x1b[2J\x07\u202e\udc80\x00 ]]>-->"
)


def printed(obj: object, width: int = 100) -> str:
    """What a terminal without colors shows."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(rich_of(obj))
    return file.getvalue()


class Page(HTMLParser):
    """The tags, classes, sources and visible text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.classes: set[str] = set()
        self.sources: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.classes |= {c for name, value in attrs if name == "class" for c in value.split()}
        self.sources += [value for name, value in attrs if name == "src"]
        if tag not in ("img", "br", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def page(obj: object) -> Page:
    """The page of an object, after what holds of every page."""
    markup = html_of(obj)
    found = Page(markup)
    assert len(markup.encode()) <= MOST_BYTES
    assert found.open == []
    assert found.tags <= set(
        "div style span b bdi br details summary table colgroup col thead tbody tr th td img".split()
    )
    assert found.attributes <= set("class style title alt src width height dir colspan open".split())
    assert all(name == "docarray" or name.startswith("docarray-") for name in found.classes)
    assert all(source.startswith("data:image/") for source in found.sources)
    assert re.search(r"url\(|@import|https?://[^\s<]*[\"')]", markup) is None
    return found


def unfiltered(image: bytes) -> np.ndarray:
    """The pixels of a PNG of ours."""
    width, height, _, color = struct.unpack(">IIBB", image[16:26])
    at, data = 8, b""
    while at < len(image):
        (size,) = struct.unpack(">I", image[at : at + 4])
        kind, body = image[at + 4 : at + 8], image[at + 8 : at + 8 + size]
        assert struct.unpack(">I", image[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        data += body if kind == b"IDAT" else b""
        at += 12 + size
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    channels = {0: 1, 2: 3, 6: 4}[color]
    return (
        lines[:, 1:].reshape(height, width, channels).squeeze()
        if channels == 1
        else lines[:, 1:].reshape(height, width, channels)
    )


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def columnar(count: int) -> DocumentArray:
    return DocumentArray.from_columns(
        id=[f"d{i}" for i in range(count)],
        text=[f"text {i}" for i in range(count)],
        tags=[{"price": i} for i in range(count)],
        embedding=np.ones((count, 4), np.float32),
    )


class BadRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def contents() -> dict[str, Document]:
    """A document of every kind of content."""
    sparse = pytest.importorskip("scipy.sparse", reason="pip install scipy")
    ragged = Document()
    ragged.tensor = [[1, 2], [3]]
    parent = Document(id="parent", text="p", chunks=[Document(text="c", chunks=[Document(text="cc")])])
    parent.matches = [Document(id="m", text="match", scores={"cosine": {"value": 0.25, "op_name": "cosine"}})]
    cleared = Document(text="x")
    cleared.clear()
    return {
        "empty": Document(),
        "cleared": cleared,
        "text": Document(text="hello"),
        "long text": Document(text="word " * 100),
        "white": Document(text=" \n\t" * 1000),
        "blob": Document(blob=bytes(range(256)) * 4),
        "short blob": Document(blob=b"abc"),
        "uri": Document(uri="https://example.com/a.png"),
        "data uri": Document(uri="data:text/plain;base64,aGVsbG8="),
        "image": Document(tensor=noise(90, 120, 3), uri="a.png"),
        "grey": Document(tensor=noise(8, 8)),
        "rgba": Document(tensor=noise(2, 3, 4)),
        "float image": Document(tensor=np.zeros((4, 4, 3))),
        "0-d": Document(tensor=np.array(3.0)),
        "no pixel": Document(tensor=np.zeros((0, 4), np.uint8)),
        "no number": Document(embedding=np.zeros(0)),
        "list": Document(embedding=[1, 2.5, -3]),
        "ragged": ragged,
        "bool": Document(embedding=np.array([True, False])),
        "complex": Document(embedding=np.array([1j, 2])),
        "nan": Document(embedding=np.array([np.nan, np.inf, -np.inf, 1.0])),
        "all nan": Document(embedding=np.full(4, np.nan)),
        "half": Document(embedding=np.arange(9, dtype=np.float16)),
        "long vector": Document(embedding=np.linspace(-1, 1, 5000)),
        "words": Document(tensor=np.array(["a", "b"])),
        "objects": Document(tensor=np.array([None, {}], object)),
        "sparse": Document(embedding=sparse.csr_matrix(np.eye(1, 300))),
        "tags": Document(tags={"a": {"b": [1, None, 2.5]}, "c": np.zeros(3), 4: "four", "e": 10**5000}),
        "bad tags": Document(tags={"bad": BadRepr(), "s": {1, 2}, "deep": [[[[[[[[1]]]]]]]]}),
        "many tags": Document(tags={f"key {i}": "x" * 1000 for i in range(1000)}),
        "rare": Document(
            weight=0.5, offset=2, location=[1, 2, 3, 4], modality="image", mime_type="text/plain"
        ),
        "scores": Document(scores={"cosine": 0.5}, evaluations={"ndcg": {"value": 1}}),
        "metadata": Document({"_metadata": {"multi_modal_schema": {"a": {"position": 0}}}}),
        "nested": parent,
        "second name": Document(parent),
        "hostile": Document(
            id=HOSTILE,
            text=HOSTILE,
            uri=HOSTILE,
            modality=HOSTILE,
            tags={HOSTILE: HOSTILE},
            scores={HOSTILE: 1},
        ),
        "hostile blob": Document(id="b", blob=HOSTILE.encode("utf-8", "replace"), mime_type="image/png"),
        "hostile uri": Document(uri="data:image/png;base64,\" onerror='x'"),
        "svg": Document(uri="data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode()),
    }


# ---------------------------------------------------------------------------------------------- words


def test_plain_text_holds_nothing_that_is_obeyed():
    assert "a␛[2J␀� b" == plain("a\x1b[2J\x00\x9b \n\t b")
    assert "�" == plain("\ud83d")
    assert "日本 é 🍵" == plain("日本 é 🍵")


def test_cut_text_says_how_long_it_was():
    assert "abc" == cut("abc", 3)
    assert "ab… (1 000 characters)" == cut("abcde" * 200, 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True], "b": ("x",)}, "{'a': [1, 2.5, None, True], 'b': ('x')}"),
        (np.zeros((2, 3)), "ndarray float64 (2, 3)"),
        ([[[[[[1]]]]]], "[[[[[[…]]]]]]"),
        (BadRepr(), "<BadRepr: its repr raises RuntimeError>"),
        (1 << 5000, "an int of 5001 bits"),
    ],
    ids=["json", "array", "deep", "faulty", "int"],
)
def test_brief_is_like_a_repr(value, text):
    assert text == brief(value)


def test_brief_does_not_spell_out_what_it_cuts():
    class Endless(list):
        """More elements than could be walked."""

        def __iter__(self):
            while True:
                yield "x" * 10

    endless = Endless()

    assert len(brief([endless] * 3)) <= 60
    assert 20 == len(brief(list(range(10**6)), 20))
    assert brief(list(range(10**6)), 20).endswith("…")


# ---------------------------------------------------------------------------------------------- one document


@pytest.mark.parametrize("name", contents())
def test_every_content_is_shown(name, capsys):
    """No document makes a display raise, in the hand, in an array, or as a row of a column."""
    doc = contents()[name]

    doc.summary()

    assert capsys.readouterr().out
    page(doc)
    array = DocumentArray([doc, Document(id="other")])
    assert "Documents Summary" in printed(array)
    page(array)


def test_a_document_shows_its_fields():
    doc = Document(id="a", text="hello", tags={"price": 3}, embedding=np.array([1.0, -2.0]), weight=0.5)

    out = printed(doc)

    assert "Document a" in out
    for part in ("text", "hello", "price: 3", "ndarray float64 (2,)", "-2 to 1", "weight", "0.5"):
        assert part in out
    for part in ("Document a", "text", "hello", "price 3", "float64 (2,)", "weight", "0.5"):
        assert part in page(doc).text


def test_long_fields_are_cut_with_their_length():
    doc = Document(text="x" * 500, uri="y" * 400)
    blob = Document(blob=b"z" * 3000)

    assert "… (500 characters)" in printed(doc)
    assert "… (400 characters)" in printed(doc)
    assert "… (3 000 bytes)" in printed(blob)
    assert "… (500 characters)" in page(doc).text
    assert "… (3 000 bytes)" in page(blob).text


def test_a_level_shows_ten_and_says_how_many_more():
    doc = Document(id="a", chunks=[Document(id=f"c{i}") for i in range(1000)])

    assert 10 == len(re.findall(r"Document c\d", printed(doc)))
    assert "… 990 more" in printed(doc)
    assert "Chunks (1 000)" in printed(doc)
    assert "… 990 more" in page(doc).text


def test_matches_show_their_scores():
    doc = Document(id="q", text="query")
    doc.matches = [Document(id="m", text="match", scores={"cosine": 0.123456})]

    assert "cosine: 0.1235" in printed(doc)
    assert "cosine 0.1235" in page(doc).text


def test_a_deep_document_ends():
    doc = Document(text="leaf")
    for _ in range(60):
        doc = Document(chunks=[doc], matches=[Document(text="m")])

    assert "… deeper levels" in printed(doc)
    page(doc)


def test_a_document_within_itself_ends():
    doc = Document(id="self")
    doc.chunks.append(doc)

    assert "… deeper levels" in " ".join(printed(doc).split())
    page(doc)
    page(DocumentArray([doc]))


def test_a_wide_and_deep_document_ends():
    doc = Document(text="leaf")
    for _ in range(4):
        doc = Document(chunks=[Document(doc, copy=True) for _ in range(12)])

    assert len(printed(doc).splitlines()) < 5_000
    page(doc)


def test_markup_of_rich_is_text():
    assert "[red]x[/red] [/]" in printed(Document(text="[red]x[/red] [/]", tags={"[b]": 1}))


def test_a_terminal_gets_no_control_character():
    shown = printed(contents()["hostile"]) + printed(DocumentArray([contents()["hostile"]]))

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", shown)
    shown.encode()


def test_an_output_that_knows_only_ascii_gets_question_marks():
    code = (
        "from docarray import Document; "
        "Document(id='é', text='日本 tea', embedding=[1, 2], chunks=[Document()]).summary()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )

    assert b"" == done.stderr
    assert b"?? tea" in done.stdout
    assert b"+--" in done.stdout


def test_other_objects_are_refused():
    for shown in (show, rich_of, html_of):
        with pytest.raises(FieldTypeError, match="got a int"):
            shown(3)


# ---------------------------------------------------------------------------------------------- an array


def test_the_summary_of_an_array(capsys):
    array = DocumentArray([Document(id="a", text="x", tags={"k": 1}), Document(id="b", text="x")])

    array.summary()

    out = capsys.readouterr().out
    lines = [" ".join(line.strip("│ \n").split()) for line in out.splitlines()]
    assert "Type DocumentArray" in lines
    assert "Length 2" in lines
    assert "Homogenous Documents False" in lines
    assert "Common Attributes id, text" in lines
    assert "1 Document has id, text, tags" in lines
    assert "Storage memory, as documents" in lines
    assert "text str 1 False" in lines
    assert "tags dict n/a True" in lines
    assert "sampled" not in out


def test_unhashable_values_do_not_borrow_the_numbers_of_their_neighbours():
    """An attribute whose values cannot be counted once showed the row of the attribute before it."""
    array = DocumentArray([Document(text=str(i), tags={"i": i}, embedding=np.zeros(2)) for i in range(5)])

    unique = {fact.name: fact.unique for fact in facts_of(array).attributes}

    assert {"id": 5, "text": 5, "tags": None, "embedding": None} == unique


def test_facts_of_columns_are_those_of_the_same_documents():
    docs = list(contents().values())
    for doc in docs:
        if doc.id is None:
            doc.id = "cleared"
    stored = [doc for doc in docs if doc.id not in ("cleared",) and _can_be_stored(doc)]
    array = DocumentArray(stored)
    rows = DocumentArray(array._slots.table())

    of_rows, of_docs = facts_of(rows), facts_of(array)

    assert of_docs.attributes == of_rows.attributes
    assert of_docs.sets == of_rows.sets
    assert printed(rows).replace("as columns, none touched", "as documents").split() == printed(array).split()
    assert page(rows).text.replace("as columns, none touched", "as documents") == page(array).text
    assert {} == rows._slots.rows.made


def _can_be_stored(doc: Document) -> bool:
    try:
        DocumentArray([doc])._slots.table().to_buffers({})
    except (TypeError, ValueError):
        return False
    return True


def test_an_empty_array_is_shown():
    assert "Length 0" in " ".join(printed(DocumentArray()).split())
    assert "0 documents" in page(DocumentArray()).text
    assert [] == completions(DocumentArray())


def test_nested_arrays_say_where_they_are():
    parent = Document(id="parent", chunks=[Document()])
    parent.matches = [Document()]

    assert "chunks of parent" in printed(parent.chunks)
    assert "matches of parent" in printed(parent.matches)
    assert "chunks of parent" in page(parent.chunks).text
    assert "ChunkArray" in page(parent.chunks).text


@pytest.mark.parametrize(
    "pick", [lambda a: a, lambda a: a[5:90_000], lambda a: a.shuffle(seed=1), lambda a: a[::-1]]
)
def test_a_large_columnar_array_stays_untouched(pick):
    """Nothing is made of rows that are shown or sampled, and the display says what is a sample."""
    array = pick(columnar(100_000))
    rows = array._slots.rows

    out, seen = printed(array), page(array)

    assert {} == rows.made
    assert "sampled 1 000 of" in out
    assert "sampled 1 000 of" in seen.text
    assert "as columns, none touched" in seen.text
    assert 52 == len(completions(array))  # 50 ids, tags__price, @r
    assert {} == rows.made


def test_touched_rows_are_shown_as_they_are_now():
    array = columnar(2_000)
    array[3].text = "changed by hand"

    assert "as columns, 1 touched" in printed(array)
    assert "changed by hand" in page(array).text
    assert [3] == list(array._slots.rows.made)


def test_no_more_cells_than_a_sample_are_read():
    """What a display costs does not grow with the array: columns are asked for single cells, never for all."""
    read: list[int] = []

    class Texts(TextColumn):
        def value(self, row):
            read.append(row)
            return super().value(row)

        def values(self):
            raise AssertionError("a display asked for a whole column")

        take = slice = values

    class Tags(JsonColumn):
        def values(self):
            raise AssertionError("a display asked for a whole column")

        take = slice = values

    count = 50_000
    columns = {"text": Texts([f"t{i}" for i in range(count)]), "tags": Tags([{"k": i} for i in range(count)])}
    array = DocumentArray(Table(columns, ids=[str(i) for i in range(count)]))

    html_of(array)
    rich_of(array)
    completions(array)

    assert set(range(10)) < set(read)
    assert len(set(read)) <= SAMPLE + 10


def test_completions_are_ids_tags_and_paths():
    array = DocumentArray(
        [
            Document(id="a", tags={"price": 1, "shape": {"sides": 3}, "odd__key": 1, 5: 1}),
            Document(id="b", chunks=[Document()]),
        ]
    )

    assert ["a", "b", "tags__price", "tags__shape", "tags__shape__sides", "@r", "@c"] == completions(array)
    assert all(array[:, path] is not None for path in completions(array) if path.startswith("tags"))
    assert completions(array) == array._ipython_key_completions_()


# ---------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("name", ["hostile", "hostile blob", "hostile uri"])
def test_hostile_text_is_text(name):
    doc = contents()[name]
    for markup in (html_of(doc), html_of(DocumentArray([doc])), html_of(Document(chunks=[doc]))):
        assert not re.search(r"<(script|img src=x)", markup)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", markup)
        markup.encode()


def test_hostile_text_can_still_be_read():
    assert (
        "<script>alert('1')</script><img src=x onerror=\"go()\">&amp;[red]␛[2J␇��␀ ]]>-->"
        in page(contents()["hostile"]).text
    )


def test_the_style_touches_nothing_else_on_the_page():
    style = re.search("<style>(.*?)</style>", html_of(Document()))[1]
    rules = re.sub(r"@media[^{]*\{(.*?\})\}", r"\1", style)

    selectors = [part for rule in rules.split("}") if rule for part in rule.partition("{")[0].split(",")]

    assert len(selectors) > 20
    assert [s for s in selectors if not re.match(r"\.docarray(\s|$|\{)", s)] == []


@pytest.mark.parametrize(
    "array",
    [
        lambda: DocumentArray([Document(text="&" * 10_000_000) for _ in range(2)]),
        lambda: DocumentArray(
            [
                Document(id="&" * 10_000, tags={"'" * 999 + str(i): '"' * 9999 for i in range(9)})
                for _ in range(20)
            ]
        ),
        lambda: DocumentArray(
            [Document(blob=thumbnail.png(noise(64, 64, 4)) + bytes(3_400)) for _ in range(50)]
        ),
        lambda: DocumentArray([_family(10, 10), _family(10, 10)]),
        lambda: DocumentArray(
            [
                Document(tags={str(i): "&" * 99 for i in range(j, j + 99)}, **_all("&" * 999))
                for j in range(99)
            ]
        ),
        lambda: _family(30, 30),
        lambda: DocumentArray(
            [
                Document(
                    blob=thumbnail.png(noise(64, 64, 4)) + bytes(3_400), **_all('"' * 999, content=False)
                )
                for _ in range(10)
            ]
        ),
    ],
    ids=["texts", "ids", "images", "nested", "fields", "document", "images and fields"],
)
def test_no_page_is_larger_than_promised(array):
    page(array())


def _all(text: str, *, content: bool = True) -> dict[str, object]:
    scores = {str(i) + text: 1 for i in range(50)}
    return ({"text": text} if content else {}) | {
        "uri": text,
        "modality": text,
        "scores": scores,
        "evaluations": scores,
        "location": [1.5] * 999,
    }


def _family(chunks: int, matches: int) -> Document:
    doc = Document(tensor=noise(64, 64, 4), chunks=[
        Document(tensor=noise(64, 64, 3), matches=[Document(**_all("&" * 200)) for _ in range(matches)])
        for _ in range(chunks)
    ])  # fmt: skip
    doc.matches = [Document(text="&" * 200) for _ in range(matches)]
    return doc


def test_ten_documents_are_shown_and_the_rest_counted():
    seen = page(DocumentArray([Document(text=f"text {i}") for i in range(1_000)]))

    assert "text 9" in seen.text
    assert "text 10" not in seen.text
    assert "… 990 more" in seen.text


def test_nested_documents_are_folded():
    seen = page(DocumentArray([Document(chunks=[Document(text="inside") for _ in range(3)])]))

    assert {"details", "summary"} <= seen.tags
    assert "3 chunks" in seen.text
    assert "inside" in seen.text


def test_a_page_needs_no_rich_and_a_terminal_needs_no_page():
    for call, loaded in (("html_of", "rich"), ("rich_of", "docarray.display.html")):
        code = (
            f"import sys; from docarray import Document; from docarray.display import {call}; "
            f"{call}(Document(text='x')); sys.exit({loaded!r} in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_page_without_its_style_still_has_words():
    """A notebook that is not trusted, and some hosts of notebooks, take the style away."""
    array = DocumentArray([Document(id="a", text="x", tags={"k": 1, "l": 2})])

    assert "DocumentArray 1 document storage memory held as documents" in page(array).text
    assert "text str tags dict" in page(array).text
    assert "k 1 l 2" in page(array).text


def test_what_a_notebook_asks_for():
    array = DocumentArray([Document(text="x")])
    for shown in (array, array[0]):
        bundle = shown._repr_mimebundle_()
        assert {"text/plain": repr(shown), "text/html": html_of(shown)} == bundle


# ---------------------------------------------------------------------------------------------- thumbnails


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (1, 1)])
def test_a_png_holds_the_pixels(shape):
    pixels = noise(*shape)

    np.testing.assert_array_equal(unfiltered(thumbnail.png(pixels)).reshape(shape), pixels)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((640, 427, 3), (64, 43)),
        ((8, 8), (8, 8)),
        ((65, 64), (33, 32)),
        ((1, 5000, 4), (1, 64)),
        ((9, 9, 1), (9, 9)),
    ],
)
def test_a_thumbnail_is_small(shape, size):
    picture = thumbnail.of_tensor(noise(*shape))

    assert size == unfiltered(picture.data).shape[:2]
    assert max(picture.width, picture.height) <= thumbnail.SIDE
    assert size[0] * picture.width == size[1] * picture.height


def test_only_pixels_become_thumbnails():
    for value in (
        np.zeros((4, 4)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
        [[1, 2]],
        np.zeros((0, 4), np.uint8),
    ):
        assert thumbnail.of_tensor(value) is None


def test_only_images_of_a_small_size_are_inlined():
    image = thumbnail.png(noise(9, 9))

    assert image == thumbnail.of_blob(image).data
    assert thumbnail.of_blob(b"<svg onload='x'/>") is None
    assert thumbnail.of_blob(image + bytes(30_000)) is None
    assert (
        "image/png"
        == thumbnail.of_uri("data:image/jpeg;base64," + base64.b64encode(image).decode()).media_type
    )
    assert thumbnail.of_uri("data:image/png;base64,!!") is None
    assert thumbnail.of_uri("https://example.com/a.png") is None


def test_images_that_are_too_large_leave_a_word():
    assert "30 000 bytes" in page(Document(blob=b"\xff\xd8\xff" + bytes(29_997), mime_type="image/jpeg")).text
    assert [] == page(Document(blob=b"\xff\xd8\xff" + bytes(29_997), mime_type="image/jpeg")).sources


def test_large_images_push_no_document_off_the_page():
    image = thumbnail.png(noise(64, 64, 4)) + bytes(3_400)
    seen = page(DocumentArray([Document(id=f"doc{i}", blob=image, mime_type="image/png") for i in range(10)]))

    assert 6 == len(seen.sources)
    assert all(f"doc{i}" in seen.text for i in range(10))
    assert 4 == seen.text.count("image") - 1  # one stands in the head of the table


def test_at_most_ten_images_are_on_a_page():
    array = DocumentArray(
        [Document(tensor=noise(8, 8), chunks=[Document(tensor=noise(8, 8))]) for _ in range(30)]
    )

    assert 10 == len(page(array).sources)


def test_bars_tell_signs_apart():
    pixels = unfiltered(thumbnail.bars(np.array([1.0, -1.0, 0.0, np.nan])))

    above, below = pixels[0, 0], pixels[-1, pixels.shape[1] // 4]
    assert above[0] > above[2]
    assert below[2] > below[0]
    assert not pixels[0, -1].any()


@pytest.mark.parametrize("count", [1, 2, 47, 48, 49, 99, 100_000])
def test_bars_fit_their_place(count):
    pixels = unfiltered(thumbnail.bars(np.sin(np.arange(count)) + 0.5))

    assert 20 == pixels.shape[0]
    assert 48 <= pixels.shape[1] <= 96


# ---------------------------------------------------------------------------------------------- in a browser


def gallery() -> list[object]:
    """What is worth looking at in a browser."""
    docs = contents()
    query = DocumentArray([Document(text="query " * 9, embedding=np.ones(4, np.float32)) for _ in range(3)])
    query.match(columnar(30), limit=6)
    images = DocumentArray([Document(tensor=noise(90, 60, 3)), Document(blob=thumbnail.png(noise(9, 9)))])
    images.append(
        Document(uri="data:image/png;base64," + base64.b64encode(thumbnail.png(noise(5, 5, 4))).decode())
    )
    unbroken = DocumentArray(
        [Document(id="i" * 500, text="x" * 5_000, tags={"k" * 99: "v" * 500}, **{"_metadata": {}})]
    )
    unbroken.append(Document(**_all("y" * 999)))
    return [
        *docs.values(),
        DocumentArray(docs.values()),
        columnar(5_000),
        query,
        images,
        unbroken,
        DocumentArray(),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_all_and_asks_for_nothing(scheme, tmp_path):
    """In headless Chromium: no request, no script, nothing wider than the page, every image is one."""
    reason = "pip install playwright; apt-get install --no-install-recommends chromium fonts-dejavu-core"
    api = pytest.importorskip("playwright.sync_api", reason=reason)
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip(reason)
    flags = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync"
    )
    body = "".join(map(html_of, gallery())).replace("<details>", "<details open>")
    ground = {"light": "background:#fff;color:#111", "dark": "background:#111;color:#eee"}[scheme]
    (tmp_path / "page.html").write_text(
        f'<!doctype html><meta charset="utf-8"><body style="margin:0;{ground}">{body}', encoding="utf-8"
    )
    requests: list[str] = []
    with api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, args=flags.split(), headless=True,
            viewport={"width": 800, "height": 600}, color_scheme=scheme,
        )  # fmt: skip
        try:
            tab = context.new_page()
            tab.on("request", lambda request: requests.append(request.url))
            tab.goto((tmp_path / "page.html").as_uri())
            seen = tab.evaluate(
                """() => ({
                    scripts: document.scripts.length,
                    handlers: [...document.querySelectorAll('*')].filter(
                        e => [...e.attributes].some(a => a.name.startsWith('on'))).length,
                    width: document.documentElement.scrollWidth,
                    wide: [...document.querySelectorAll('.docarray *')]
                        .filter(e => e.getBoundingClientRect().right > 800.5)
                        .map(e => e.outerHTML.slice(0, 200)),
                    images: [...document.images].map(i => [i.naturalWidth, i.naturalHeight, i.width, i.height]),
                    marker: getComputedStyle(document.querySelector('.docarray')).color,
                })"""
            )
        finally:
            context.close()

    assert [] == [url for url in requests if not url.startswith(("data:", "file:"))]
    assert (0, 0) == (seen["scripts"], seen["handlers"])
    assert 800 == seen["width"]
    assert [] == seen["wide"]
    assert len(seen["images"]) > 20
    assert all(min(sizes) > 0 for sizes in seen["images"])
    assert {"light": "rgb(17, 17, 17)", "dark": "rgb(238, 238, 238)"}[scheme] == seen["marker"]


def test_unescape_gives_back_what_was_escaped():
    """The page says what the document says, to the letter."""
    text = "a < b && c > \"d\" 'e'"

    assert text in unescape(html_of(Document(text=text)))
