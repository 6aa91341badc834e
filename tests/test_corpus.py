from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from docarray import corpus
from docarray.corpus import Refused

ROOT = Path(__file__).resolve().parents[1]


def put(folder, files):
    """Files with these texts or bytes."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def pdf(*pages, title="", password=""):
    """A PDF with a line of text on each page."""
    pypdf = pytest.importorskip("pypdf")
    from io import BytesIO

    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = pypdf.PdfWriter()
    font = DictionaryObject({NameObject("/" + key): NameObject("/" + value) for key, value in FONT.items()})
    for text in pages:
        page = writer.add_blank_page(300, 300)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode("latin-1"))
        page[NameObject("/Contents")] = writer._add_object(stream)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


FONT = {"Type": "Font", "Subtype": "Type1", "BaseFont": "Helvetica"}


def picture(kind="PNG", description="", size=(4, 3)):
    images = pytest.importorskip("PIL.Image")
    from io import BytesIO

    out, image = BytesIO(), images.new("RGB", size)
    about = {}
    if description:
        exif = images.Exif()
        exif[0x010E] = description
        about["exif"] = exif
    image.save(out, kind, **about)
    return out.getvalue()


def read(path, **kwargs):
    """All documents below a path, and the reasons of what gave none."""
    refused = {}
    docs = list(corpus.documents(path, refused=lambda at, name, why: refused.setdefault(name, why), **kwargs))
    return docs, refused


# --- files ----------------------------------------------------------------------------------------------------------


def test_files_come_in_order_without_what_is_hidden(tmp_path):
    put(tmp_path, {"b.txt": "b", "a/x.txt": "x", "a.txt": "a", ".git/config": "c", ".hidden": "h"})
    put(tmp_path, {"node_modules/m.js": "m", "__pycache__/p.pyc": "p", "deep/node_modules/n.js": "n"})

    assert ["a.txt", "b.txt", "a/x.txt"] == [file.name for file in corpus.files(tmp_path)]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_lead_nowhere_twice(tmp_path):
    put(tmp_path, {"in/a.txt": "a", "out/b.txt": "b"})
    inside = tmp_path / "in"
    for name, target in {
        "loop": inside,
        "up": tmp_path,
        "self": inside / "self",
        "none": tmp_path / "no",
    }.items():
        (inside / name).symlink_to(target)
    (inside / "again.txt").symlink_to(inside / "a.txt")
    (inside / "other.txt").symlink_to(tmp_path / "out" / "b.txt")

    assert ["a.txt", "other.txt"] == [file.name for file in corpus.files(inside)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    docs, refused = read(tmp_path)
    assert ([], "a pipe, socket or device") == (docs, refused["pipe"].reason)


def test_nothing_at_a_path_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        list(corpus.files(tmp_path / "no"))


def test_large_files_are_passed_over(tmp_path):
    put(tmp_path, {"large.txt": "x" * 2000, "small.txt": "small"})

    docs, refused = read(tmp_path, largest=1000)
    assert ["small.txt"] == [doc.tags["path"] for doc in docs]
    assert refused["large.txt"].reason.startswith("larger than ")
    assert corpus.LARGEST == 20_000_000


# --- text -----------------------------------------------------------------------------------------------------------


def test_a_text_says_where_it_is_from(tmp_path):
    put(tmp_path, {"notes/größe 茶.txt": "Eins.\r\nZwei."})

    (doc,), _ = read(tmp_path)
    assert "Eins.\nZwei." == doc.text
    tags = doc.tags
    about = (tmp_path / "notes" / "größe 茶.txt").stat()
    assert ("notes/größe 茶.txt", 0, 1) == (tags["path"], tags["part"], tags["line"])
    assert (about.st_size, about.st_mtime_ns) == (tags["size"], tags["mtime_ns"])
    assert 32 == len(tags["digest"])
    assert "text/plain" == doc.mime_type
    assert doc.uri.endswith("größe 茶.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings(encoding, tmp_path):
    put(tmp_path, {"a.txt": "Größe und Maß".encode(encoding)})

    assert ["Größe und Maß"] == [doc.text for doc in read(tmp_path)[0]]


@pytest.mark.parametrize("content", [bytes(range(256)), b"\0" * 50, b"\x7fELF\2\1\1\0\0", os.urandom(5000)])
def test_junk_is_no_text(content, tmp_path):
    put(tmp_path, {"a.dat": content})

    docs, refused = read(tmp_path)
    assert ([], "no text", False) == (docs, refused["a.dat"].reason, refused["a.dat"].is_fault)


def test_an_empty_file_gives_nothing(tmp_path):
    put(tmp_path, {"a.txt": "", "b.md": " \n"})

    docs, refused = read(tmp_path)
    assert ([], {"empty"}) == (docs, {why.reason for why in refused.values()})


def test_ids_depend_on_place_and_number_alone(tmp_path):
    put(tmp_path, {"a.txt": "Words and words. " * 200, "b.txt": "Words"})

    first, again = read(tmp_path)[0], read(tmp_path)[0]
    assert [doc.id for doc in first] == [doc.id for doc in again]
    assert len(first) == len({doc.id for doc in first})


# --- passages -------------------------------------------------------------------------------------------------------


def test_passages_hold_everything_and_overlap():
    text = "\n\n".join(f"Paragraph {n} begins. " + "It goes on and on. " * (n % 40) for n in range(60))
    found = list(corpus.spans(text))

    for (start, end), (after, _) in itertools.pairwise(found):
        assert start < after
        assert end - 150 <= after
        assert not text[end:after].strip()
    assert (0, len(text.rstrip())) == (found[0][0], found[-1][1])
    assert all(end - start <= 1250 for start, end in found)


@pytest.mark.parametrize("text", ["x" * 5000, "字" * 5000, "。" * 3000, " " * 5000 + "a", "a\n" * 4000])
def test_any_text_is_cut(text):
    found = list(corpus.spans(text))

    assert found
    assert all(0 < end - start <= 1250 for start, end in found)


def test_cuts_are_where_sentences_end():
    text = "This is a sentence of some length, is it not? " * 100

    assert all(text[:end].rstrip().endswith("?") for _, end in corpus.spans(text))


# --- markdown and HTML ----------------------------------------------------------------------------------------------


def test_markdown_is_split_at_headings(tmp_path):
    text = """---
title: "The Book"
tags: [a]
---
Before.

# One
In one.

## Two `code`
```
# no heading
```

Three
-----
In three.

# Four
In four.
"""
    put(tmp_path, {"a.md": text})

    docs, _ = read(tmp_path)
    assert [None, "One", "One > Two code", "One > Three", "Four"] == [d.tags.get("section") for d in docs]
    assert {"The Book"} == {doc.tags["title"] for doc in docs}
    assert "tags: [a]" not in "".join(doc.text for doc in docs)
    assert "# no heading" in docs[2].text
    for doc in docs:
        assert text.splitlines()[doc.tags["line"] - 1] == doc.text.splitlines()[0]


def test_html_is_what_is_seen(tmp_path):
    page = """<!doctype html><html><head><meta charset="cp1252"><title>T&amp;T</title><style>p {}</style></head>
    <body><script>var hidden = 1</script><h1>First</h1><p>Caf\xe9 &lt;here&gt;<br>next</p><div hidden>unseen</div>
    <ul><li>one<li>two</ul><p>open"""
    put(tmp_path, {"a.html": page.encode("cp1252")})

    docs, _ = read(tmp_path)
    text = "\n".join(doc.text for doc in docs)
    assert {"T&T"} == {doc.tags["title"] for doc in docs}
    assert "Café <here>\nnext" in text
    assert "one\ntwo" in text
    assert "open" in text
    assert not [word for word in ("hidden", "unseen", "p {}") if word in text]
    assert "First" == docs[-1].tags["section"]


def test_html_without_the_ends_that_nobody_has_to_write(tmp_path):
    put(
        tmp_path,
        {"a.html": "<title>Open</title><link rel=x><style>p {}</style><p>One<p>Two<h2>Three</h2>four"},
    )

    first, second = read(tmp_path)[0]
    assert ("One\n\nTwo", "Open") == (first.text, first.tags["title"])
    assert ("Three\n\nfour", "Three") == (second.text, second.tags["section"])


def test_a_drawing_is_found_by_its_words(tmp_path):
    put(
        tmp_path,
        {"a.svg": "<svg><title>Plan</title><style>a {}</style><text>Kitchen</text><text>Hall</text></svg>"},
    )

    docs, _ = read(tmp_path)
    assert ["Plan", "Kitchen\n\nHall"] == [
        " ".join(d.text.split()) if n == 0 else d.text for n, d in enumerate(docs)
    ]
    assert {"image/svg+xml"} == {doc.mime_type for doc in docs}


@pytest.mark.parametrize("name", ["a.md", "a.html", "a.txt"])
@pytest.mark.parametrize(
    "text", ["# " + " " * 200_000 + "x", "x" * 500_000, "<" * 20_000, "[" * 50_000, "\n" * 300_000 + "x"]
)
def test_strange_texts_cost_no_more_than_others(name, text, tmp_path):
    """What takes more than linear time would take hours here, and the time limit of the suite would tell."""
    put(tmp_path, {name: text})

    docs, _ = read(tmp_path)
    assert docs or "a.html" == name
    assert all(len(doc.text) <= 1250 for doc in docs)


def test_lines_are_those_of_the_file(tmp_path):
    text = "\n".join(f"line {n}: " + "words " * (n % 30) for n in range(1, 500))
    put(tmp_path, {"a.txt": text})

    for doc in read(tmp_path)[0]:
        assert doc.text.split("\n")[0] in text.split("\n")[doc.tags["line"] - 1]


# --- PDF and images -------------------------------------------------------------------------------------------------


def test_a_pdf_is_read_page_by_page(tmp_path):
    put(tmp_path, {"a.pdf": pdf("The first page", "", "The third page", title="A report")})

    docs, refused = read(tmp_path)
    found = [(doc.tags["page"], doc.text.strip(), doc.tags["title"]) for doc in docs]
    assert [(1, "The first page", "A report"), (3, "The third page", "A report")] == found
    assert ({"application/pdf"}, {}) == ({doc.mime_type for doc in docs}, refused)


def test_a_pdf_that_is_locked_or_damaged_says_so(tmp_path, capsys):
    whole = pdf("Some text")
    put(
        tmp_path,
        {"locked.pdf": pdf("x", password="secret"), "cut.pdf": whole[:40], "no.pdf": "no PDF at all"},
    )

    docs, refused = read(tmp_path)
    assert [] == docs
    assert "locked with a password" == refused["locked.pdf"].reason
    assert refused["cut.pdf"].reason.startswith("damaged")
    assert refused["no.pdf"].reason.startswith("damaged")
    assert all(why.is_fault for why in refused.values())
    assert ("", "") == capsys.readouterr()


def test_no_byte_of_a_pdf_is_a_crash(tmp_path):
    whole = pdf("Some text", "More")
    for at in range(0, len(whole), 97):
        put(tmp_path, {"a.pdf": whole[:at] + b"\xff" + whole[at + 1 :]})
        docs, refused = read(tmp_path)
        assert docs or refused


def test_without_pypdf_a_pdf_says_what_to_install(tmp_path):
    put(tmp_path, {"a.pdf": b"%PDF-1.4", "b.txt": "words"})
    code = f"""
import sys
sys.modules["pypdf"] = None
from docarray import corpus
for doc in corpus.documents({str(tmp_path)!r}, refused=lambda at, name, why: print(name, why.reason, why.is_lasting)):
    print(doc.text)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    first, second = done.stdout.splitlines()
    assert first.startswith("a.pdf ")
    assert first.endswith("pip install pypdf False")
    assert "words" == second


def test_an_image_is_found_by_its_name_and_what_it_says(tmp_path):
    put(tmp_path, {"crete/redBoat_2023.jpg": picture("JPEG", "A boat at noon", (8, 5))})

    (doc,), refused = read(tmp_path)
    assert {"crete", "red", "boat", "2023", "at", "noon"} <= set(doc.text.lower().split())
    assert (8, 5) == (doc.tags["width"], doc.tags["height"])
    assert ("image/jpeg", "image", {}) == (doc.mime_type, doc.modality, refused)
    assert doc.uri.endswith("redBoat_2023.jpg")


def test_a_damaged_image_says_so(tmp_path):
    put(tmp_path, {"a.png": picture()[:20], "b.jpg": b"no image"})

    docs, refused = read(tmp_path)
    assert ([], {"a.png", "b.jpg"}) == (docs, {*refused})
    assert all(isinstance(why, Refused) and why.is_lasting for why in refused.values())


def test_without_pillow_an_image_is_found_by_its_name(tmp_path):
    put(tmp_path, {"red boat.png": picture()})
    code = f"""
import sys
sys.modules["PIL"] = None
from docarray import corpus
print([doc.text for doc in corpus.documents({str(tmp_path)!r})])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert "['red boat']" == done.stdout.strip()
