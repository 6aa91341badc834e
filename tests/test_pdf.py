"""PDF: text, what it says of itself, pages as they look, pictures in them; locked, damaged and hostile files."""

from __future__ import annotations

import functools
import io
import logging
import os
import random
import subprocess
import sys
import threading
import tracemalloc
import zlib

import numpy as np
import pytest

from docarray import Document
from docarray.errors import BadValue, CorruptData, DocArrayError, OutOfRange, UnsupportedFormat

pypdf = pytest.importorskip("pypdf", reason='reads PDF: pip install "docarray[media]"')
pdfium = pytest.importorskip("pypdfium2", reason='draws PDF: pip install "docarray[media]"')
pillow = pytest.importorskip("PIL.Image", reason='makes pictures: pip install "docarray[media]"')

from docarray.media import pdf  # noqa: E402

FONT = b"/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
RED = [255, 0, 0]


def whole(objects, root=1):
    """A PDF of numbered objects."""
    out, places = bytearray(b"%PDF-1.7\n"), list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(places) + 1, root, start)
    return bytes(out)


def stream(data, entries=b""):
    return b"<< %s /Length %d >>\nstream\n" % (entries, len(data)) + data + b"\nendstream"


def packed(data, entries=b""):
    return stream(zlib.compress(data, 9), b"/Filter /FlateDecode " + entries)


def book(*contents, box=b"[0 0 200 100]", entries=b"", resources=FONT, more=()):
    """A PDF of a page for each content; objects after the pages begin at 3 + 2 * pages."""
    kids = b" ".join(b"%d 0 R" % (3 + 2 * number) for number in range(len(contents)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(contents), kids),
    ]
    for number, content in enumerate(contents):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox %s %s /Resources << %s >> /Contents %d 0 R >>"
            % (box, entries, resources, 4 + 2 * number)
        )
        objects.append(content if content.startswith(b"<<") else stream(content))
    return whole([*objects, *more])


def line(text):
    """The content of a page: a line of text, and a red rectangle at its lower right."""
    return b"BT /F1 12 Tf 10 50 Td (%s) Tj ET 1 0 0 rg 150 10 30 20 re f" % text.encode()


@functools.cache
def bomb():
    """640 MiB of zeros, packed a thousand times smaller."""
    packer, zeros = zlib.compressobj(9), bytes(1 << 20)
    return b"".join([*(packer.compress(zeros) for _ in range(640)), packer.flush()])


def picture(width, height, data, filters=b"/FlateDecode"):
    entries = b"/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8" % (width, height)
    return book(
        b"q 100 0 0 50 20 30 cm /Tea Do Q",
        resources=b"/XObject << /Tea 5 0 R >>",
        more=[stream(data, entries + b" /ColorSpace /DeviceRGB /Filter " + filters)],
    )


def changed(data, **options):
    """A PDF after pypdf wrote it: `encrypt`, `metadata`."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    if "metadata" in options:
        writer.add_metadata(options["metadata"])
    if "encrypt" in options:
        writer.encrypt(**options["encrypt"])
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


# ------------------------------------------------------------------------------------------------ pages


def test_pages_one_after_the_other():
    found = list(pdf.pages(book(line("Green tea"), line("Black tea"))))

    assert [(0, "Green tea"), (1, "Black tea")] == [(page.number, page.text) for page in found]
    assert {(200.0, 100.0)} == {(page.width, page.height) for page in found}
    assert all(page.image is None and not page.pictures for page in found)


def test_text_of_a_file_that_a_program_made():
    pytest.importorskip("matplotlib", reason="makes a PDF with fonts of its own: pip install matplotlib")
    from matplotlib.figure import Figure

    figure, target = Figure(figsize=(4, 3)), io.BytesIO()
    figure.text(0.1, 0.5, "Größe: 80 degrees")
    figure.savefig(target, format="pdf", metadata={"Title": "Tea", "Author": "Rikyū"})

    page = next(pdf.pages(target.getvalue(), images=True, dpi=100))

    assert ("Größe: 80 degrees", 288.0, 216.0) == (page.text.strip(), page.width, page.height)
    assert (300, 400, 3) == page.image.shape
    assert page.image.min() < 50
    said = pdf.metadata(target.getvalue())
    assert (1, "Tea", "Rikyū") == (said["pages"], said["title"], said["author"])
    assert said["created"].startswith("20")


@pytest.mark.parametrize(
    ("turn", "size", "place"),
    [
        (0, (200, 100), (150, 179, 70, 89)),
        (90, (100, 200), (10, 29, 150, 179)),
        (180, (200, 100), (20, 49, 10, 29)),
        (270, (100, 200), (70, 89, 20, 49)),
    ],
)
def test_a_page_is_drawn_upright_with_its_colours_in_their_place(turn, size, place):
    page = next(pdf.pages(book(line("x"), entries=b"/Rotate %d" % turn), images=True, dpi=72))

    assert (size, np.uint8) == ((page.width, page.height), page.image.dtype)
    assert page.image.shape == (size[1], size[0], 3)
    rows, columns = np.nonzero((page.image == RED).all(axis=-1))
    assert place == (columns.min(), columns.max(), rows.min(), rows.max())
    assert (page.image[0, 0] == 255).all()


def test_a_cropped_page_and_one_of_larger_units():
    page = next(
        pdf.pages(book(line("x"), entries=b"/CropBox [100 0 200 100] /UserUnit 2"), images=True, dpi=72)
    )

    assert ((200.0, 200.0), (200, 200, 3)) == ((page.width, page.height), page.image.shape)
    assert (page.image[200 - 40, 120] == RED).all()


def test_pages_in_any_order():
    with pdf.opened(book(*(line(f"page {number}") for number in range(5)))) as found:
        assert 5 == len(found)
        assert ["page 4", "page 0", "page 4"] == [found.text(number) for number in (4, 0, 4)]
        assert (100, 200, 3) == found.image(3, dpi=72).shape
        for number in (5, -1, True):
            with pytest.raises(OutOfRange, match="has 5"):
                found.text(number)


def test_no_more_pages_than_asked_for():
    data = book(line("a"), line("b"), line("c"))

    assert ["a", "b"] == [page.text for page in pdf.pages(data, max_pages=2)]
    assert 3 == len(list(pdf.pages(data, max_pages=9)))
    with pytest.raises(BadValue, match="max_pages=-1"):
        pdf.pages(data, max_pages=-1)
    for dpi in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadValue, match="dpi="):
            list(pdf.pages(data, images=True, dpi=dpi))


def test_from_a_path_a_file_and_one_that_cannot_seek(tmp_path):
    data = book(line("tea"))
    path = tmp_path / "tea.pdf"
    path.write_bytes(data)
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)

    with open(path, "rb") as file, open(reading, "rb") as pipe:
        for source in (str(path), path, file, pipe, bytearray(data)):
            assert ["tea"] == [page.text for page in pdf.pages(source, images=True, dpi=20)]
        assert not file.closed


def test_memory_does_not_grow_with_the_pages():
    remark = b"%" + b"x" * 500_000 + b"\n"
    data = book(*(packed(b"%% %d\n" % number + remark + line("tea")) for number in range(30)))

    def peak(count):
        tracemalloc.start()
        for _ in pdf.pages(data, max_pages=count):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(30) < 1.3 * peak(3)


# ------------------------------------------------------------------------------------------------ pictures


def test_pictures_in_a_page():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    data = picture(40, 30, zlib.compress(pixels.tobytes()))

    (found,) = next(pdf.pages(data, embedded=True)).pictures

    assert ("Tea.png", "image/png") == (found.name, found.media_type)
    assert np.array_equal(pixels, np.array(pillow.open(io.BytesIO(found.data))))


def test_a_jpeg_is_given_as_it_is():
    written = io.BytesIO()
    pillow.new("RGB", (40, 30), "red").save(written, "jpeg")
    data = picture(40, 30, written.getvalue(), b"/DCTDecode")

    page = next(pdf.pages(data, embedded=True, images=True, dpi=72))

    assert ("Tea.jpg", "image/jpeg") == (page.pictures[0].name, page.pictures[0].media_type)
    assert (30, 40, 3) == np.array(pillow.open(io.BytesIO(page.pictures[0].data))).shape
    assert abs(page.image[45, 70].astype(int) - RED).max() < 5


# ------------------------------------------------------------------------------------------------ documents


def test_a_chunk_for_each_page(tmp_path):
    path = tmp_path / "tea.pdf"
    path.write_bytes(
        changed(book(line("Green"), line("Black")), metadata={"/Title": "On  tea", "/Author": "Rikyu"})
    )

    doc = Document(uri=path, tags={"kept": 1}, chunks=[Document(text="old")]).load_uri_to_pages()

    assert ["Green", "Black"] == doc.chunks.texts
    assert [0.0, 1.0] == [chunk.offset for chunk in doc.chunks]
    assert [[0, 0, 200, 100]] * 2 == [chunk.location for chunk in doc.chunks]
    assert {("text", "text/plain")} == {(chunk.modality, chunk.mime_type) for chunk in doc.chunks}
    assert not any(len(chunk.chunks) for chunk in doc.chunks)
    said = doc.tags.pop("pdf")
    assert (2, "On tea", "Rikyu") == (said["pages"], said["title"], said["author"])
    assert ({"kept": 1}, "application/pdf") == (doc.tags, doc.mime_type)


def test_pages_and_pictures_as_chunks_of_a_page():
    pixels = np.full((30, 40, 3), RED, dtype=np.uint8)
    doc = Document(blob=picture(40, 30, zlib.compress(pixels.tobytes())))

    doc.load_uri_to_pages(images=True, embedded=True, dpi=72)

    drawn, embedded = doc.chunks[0].chunks
    assert ("page", "image", (100, 200, 3)) == (drawn.tags["name"], drawn.modality, drawn.tensor.shape)
    assert (drawn.tensor[45, 70] == RED).all()
    assert ("Tea.png", "image", "image/png") == (embedded.tags["name"], embedded.modality, embedded.mime_type)
    assert np.array_equal(pixels, embedded.convert_blob_to_image_tensor().tensor)
    assert doc.blob.startswith(b"%PDF")


def test_an_error_names_the_document_and_leaves_it():
    for content, options in (
        (book(line("x"))[:200], {}),
        (book(line("x")), {"images": True, "max_pixels": 10}),
        (book(line("x"), line("y")), {"images": True, "max_bytes": 300_000}),
    ):
        doc = Document(id="a", blob=content, chunks=[Document(text="kept")])
        with pytest.raises((CorruptData, UnsupportedFormat), match="document 'a'"):
            doc.load_uri_to_pages(**options)
        assert (["kept"], {}, "") == (doc.chunks.texts, doc.tags, doc.mime_type)
    with pytest.raises(BadValue, match="document 'a' has neither a uri nor a blob"):
        Document(id="a").load_uri_to_pages()
    with pytest.raises(FileNotFoundError):
        Document(uri="none.pdf").load_uri_to_pages()


# ------------------------------------------------------------------------------------------------ passwords


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_locked_pdf(algorithm):
    if algorithm == "AES-256":
        pytest.importorskip("cryptography", reason="opens what AES locks: pip install cryptography")
    data = changed(book(line("secret tea")), encrypt={"user_password": "oolong", "algorithm": algorithm})

    page = next(pdf.pages(data, password="oolong", images=True, dpi=72))

    assert "secret tea" == page.text
    assert (page.image[80, 165] == RED).all()
    with pytest.raises(pdf.Locked, match="give its password as password="):
        list(pdf.pages(data))
    with pytest.raises(pdf.Locked, match="the password does not open"):
        list(pdf.pages(data, password="sencha"))
    with pytest.raises(BadValue, match="document 'a'"):
        Document(id="a", blob=data).load_uri_to_pages()


def test_a_pdf_that_anybody_may_read_needs_no_password():
    data = changed(
        book(line("x")), encrypt={"user_password": "", "owner_password": "o", "algorithm": "RC4-128"}
    )

    assert ["x"] == [page.text for page in pdf.pages(data, images=True, dpi=20)]
    assert ["x"] == [
        page.text for page in pdf.pages(book(line("x")), password="not needed", images=True, dpi=20)
    ]


# ------------------------------------------------------------------------------------------------ what strangers wrote


def test_a_broken_table_of_objects_is_mended_in_silence(caplog, capfd):
    data = book(line("tea"))
    at = data.rindex(b"startxref") + 10

    with caplog.at_level(logging.DEBUG):
        pages = list(pdf.pages(data[:at] + b"7\n%%EOF", images=True, dpi=72))

    assert ["tea"] == [page.text for page in pages]
    assert (pages[0].image[80, 165] == RED).all()
    assert not [record for record in caplog.records if record.name.startswith("pypdf")]
    assert ("", "") == tuple(capfd.readouterr())
    assert logging.getLogger("pypdf").propagate


BAD = {
    "empty": b"",
    "random": random.Random(0).randbytes(4000),
    "header": b"%PDF-1.7\n",
    "html": b"<html>no PDF</html>",
    "cut off": book(line("x"))[:250],
    "no pages": whole([b"<< /Type /Catalog >>"]),
    "a circle of pages": whole(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Count 2 /Kids [3 0 R] >>",
            b"<< /Type /Pages /Count 1 /Kids [2 0 R] >>",
        ]
    ),
    "a table that leads to itself": book(line("x"))
    .replace(b"/Root", b"/Prev 9 /Root")
    .replace(b"%PDF", b"PDF%"),
}

TOO_MUCH = {
    "a large content": lambda: book(stream(bomb(), b"/Filter /FlateDecode")),
    "a content packed twice": lambda: book(
        stream(zlib.compress(bomb()), b"/Filter [/FlateDecode /FlateDecode]")
    ),
    "a picture of eight gigapixels": lambda: picture(90_000, 90_000, bomb()),
    "a picture packed twice": lambda: picture(90, 90, bomb(), b"[/FlateDecode /RunLengthDecode]"),
    "a large form": lambda: book(
        b"/Form Do",
        resources=b"/XObject << /Form 5 0 R >>",
        more=[stream(bomb(), b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Filter /FlateDecode")],
    ),
    "a large font": lambda: book(
        line("x"),
        resources=b"/Font << /F1 << /Type /Font /Subtype /TrueType /BaseFont /A /FontDescriptor 5 0 R >> >>",
        more=[
            b"<< /Type /FontDescriptor /FontName /A /Flags 4 /FontFile2 6 0 R >>",
            stream(bomb(), b"/Filter /FlateDecode"),
        ],
    ),
    "a page of a million inches": lambda: book(line("x"), box=b"[0 0 1000000000 1000000000]"),
}
"""Made when they are used: to pack what they hold takes a while."""


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_pdf_says_so(name):
    with pytest.raises(CorruptData) as caught:
        list(pdf.pages(BAD[name], images=True))

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_unpacks_to_more_than_is_read(name):
    with pytest.raises(UnsupportedFormat):
        list(pdf.pages(TOO_MUCH[name](), images=True, embedded=True))


def test_it_is_refused_again_when_it_is_asked_for_again():
    with pdf.opened(TOO_MUCH["a large font"]()) as found:
        for _ in range(2):
            with pytest.raises(UnsupportedFormat):
                found.image(0)


def test_a_page_of_a_million_inches_has_its_text():
    assert "x" == next(pdf.pages(TOO_MUCH["a page of a million inches"]())).text


def test_the_limits_are_parameters():
    data = book(line("x"))

    assert (100, 200, 3) == next(pdf.pages(data, images=True, dpi=72, max_pixels=20_000)).image.shape
    with pytest.raises(UnsupportedFormat, match="200 x 100 pixels at dpi=72, more than max_pixels=19999"):
        next(pdf.pages(data, images=True, dpi=72, max_pixels=19_999))
    assert (417, 834) == next(pdf.pages(data, images=True, dpi=300, max_pixels=None)).image.shape[:2]


def test_hostile_files_take_little_memory(tmp_path):
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the size of a process is read from /proc, which is of Linux")
    for number, data in enumerate((*BAD.values(), *(make() for make in TOO_MUCH.values()))):
        (tmp_path / f"{number}.pdf").write_bytes(data)
    code = """if True:
        import os, resource, sys
        import PIL.Image, pypdf, pypdfium2
        from docarray.errors import DocArrayError
        from docarray.media import pdf
        os.chdir(sys.argv[1])
        used = int(open('/proc/self/statm').read().split()[0]) * os.sysconf('SC_PAGE_SIZE')
        resource.setrlimit(resource.RLIMIT_AS, (used + (500 << 20),) * 2)
        for name in os.listdir('.'):
            try:
                list(pdf.pages(name, images=True, embedded=True))
            except DocArrayError:
                continue
            raise SystemExit(name)
    """

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_damage_anywhere_is_our_error_or_pages():
    numbers = random.Random(3)
    whole_one = book(line("hello"), packed(line("packed")))
    for number in range(150):
        data = bytearray(whole_one)
        if number % 4:
            for _ in range(number % 5 + 1):
                data[numbers.randrange(len(data))] = numbers.randrange(256)
        else:
            del data[numbers.randrange(len(data)) :]
        try:
            list(pdf.pages(bytes(data), images=True, embedded=True, dpi=20))
            pdf.metadata(bytes(data))
        except DocArrayError:
            continue


# ------------------------------------------------------------------------------------------------ manners


def test_several_threads_at_a_time():
    data, found = book(line("tea"), line("more tea")), []

    def work():
        for _ in range(5):
            found.extend(
                (page.text, tuple(page.image[80, 165])) for page in pdf.pages(data, images=True, dpi=72)
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {("tea", (255, 0, 0)): 20, ("more tea", (255, 0, 0)): 20} == {
        one: found.count(one) for one in found
    }
    assert logging.getLogger("pypdf").propagate


def test_what_is_not_read_to_its_end_is_closed(tmp_path):
    path = tmp_path / "tea.pdf"
    path.write_bytes(book(line("a"), line("b")))
    pages = pdf.pages(path, images=True)
    next(pages)

    pages.close()

    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(5):
        next(pdf.pages(path, images=True))
    assert not before or before == len(os.listdir("/proc/self/fd"))


def test_libraries_are_imported_when_they_are_used():
    code = "import sys, docarray.media.pdf; print({'pypdf', 'pypdfium2', 'PIL'} & {*sys.modules})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "set()" == done.stdout.strip()


@pytest.mark.parametrize("missing", ["pypdf", "pypdfium2"])
def test_without_a_library_it_says_what_to_install(missing, tmp_path):
    (tmp_path / "tea.pdf").write_bytes(book(line("x")))
    code = """if True:
        import sys
        sys.modules[sys.argv[1]] = None
        from docarray import Document
        from docarray.errors import MissingExtra
        try:
            Document(uri=sys.argv[2]).load_uri_to_pages(images=True)
        except MissingExtra as error:
            print(error)
    """

    done = subprocess.run(
        [sys.executable, "-c", code, missing, str(tmp_path / "tea.pdf")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert 'pip install "docarray[media]"' in done.stdout
