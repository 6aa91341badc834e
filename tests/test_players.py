"""The medium of a document on sight: a picture is always there, nothing of a document runs, and sizes are bounded."""

from __future__ import annotations

import base64
import io
import re
import tempfile
import wave
from pathlib import Path

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.display import html_of
from docarray.display.facts import Look
from docarray.display.html import MOST_BYTES
from docarray.display.players import Shown, shown_of, shown_of_uri, shrunk
from docarray.display.scenes import MOST, scene
from docarray.display.sound import samples_of, wav
from docarray.document import Pending
from docarray.errors import BadValue, ShapeError, UnknownName

INSTALL = "pip install nbclient nbformat ipykernel"
HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=go()>\x1b[2J\u202e"


def markup(shown: Shown) -> str:
    return shown._repr_mimebundle_()["text/html"]


def sources(text: str) -> list[str]:
    return re.findall(r'src="([^"]*)"', text)


def without_scripts(text: str) -> str:
    """What is left where scripts and what they need are taken away."""
    return re.sub(r' data-[a-z]+="[^"]*"', "", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def mesh(faces: object = ((0, 1, 2), (0, 2, 3))) -> Document:
    return Document(
        id="m",
        chunks=[
            Document(
                tensor=np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1.0]]), tags={"name": "vertices"}
            ),
            Document(tensor=np.array(faces), tags={"name": "faces"}),
        ],
    )


def media() -> dict[str, Document]:
    tone = np.sin(np.arange(8000) / 20).astype(np.float32)
    return {
        "grey": Document(tensor=noise(20, 30)),
        "colour": Document(tensor=noise(20, 30, 3)),
        "alpha": Document(tensor=noise(20, 30, 4)),
        "grey and alpha": Document(tensor=noise(20, 30, 2)),
        "channels first": Document(tensor=noise(3, 20, 30)),
        "float": Document(tensor=noise(20, 30, 3) / 255),
        "normalised": Document(tensor=np.random.default_rng(0).normal(size=(20, 30, 3))),
        "16 bits": Document(tensor=noise(20, 30).astype(np.uint16) * 200),
        "labels": Document(tensor=noise(20, 30).astype(np.int64) * 1000),
        "bool": Document(tensor=noise(20, 30) > 100),
        "nan": Document(tensor=np.full((4, 4, 3), np.nan)),
        "rgbd": Document(tensor=np.ones((20, 30, 4), np.float32)),
        "16 bits rgbd": Document(tensor=np.ones((20, 30, 4), np.uint16)),
        "mono": Document(tensor=tone, tags={"sample_rate": 8000}),
        "stereo": Document(tensor=np.stack([tone, tone], axis=1), modality="audio"),
        "channels apart": Document(tensor=np.stack([tone, tone]), modality="audio"),
        "film": Document(tensor=noise(4, 21, 31, 3), tags={"frame_rate": "x"}),
        "points": Document(tensor=np.random.default_rng(0).normal(size=(50, 3))),
        "one point": Document(tensor=np.ones((1, 3))),
        "far points": Document(tensor=np.array([[0, 0, 0], [1e308, -1e308, 1e308], [np.nan, 0, 0]])),
        "mesh": mesh(),
        "vector": Document(tensor=np.arange(9.0)),
        "cube": Document(tensor=np.zeros((2, 2, 2, 2, 2))),
        "words": Document(tensor=np.array(["a", "b"])),
        "empty": Document(tensor=np.zeros((0, 3))),
        "text": Document(text="tea"),
        "bytes": Document(blob=b"\xff\x00\xfe"),
        "nothing": Document(),
        "unnamed chunks": Document(chunks=[Document(), Document(tags={"name": "vertices"})]),
        "hostile": Document(
            id=HOSTILE, text=HOSTILE, tags={HOSTILE: HOSTILE, "name": HOSTILE}, modality=HOSTILE
        ),
        "hostile bytes": Document(id=HOSTILE, blob=HOSTILE.encode(), uri=HOSTILE, mime_type="text/html"),
    }


@pytest.mark.parametrize("name", media())
def test_every_medium_is_shown(name, capsys):
    """In a terminal as words; in a notebook with nothing that comes from elsewhere, or could run."""
    doc = media()[name]

    doc.display()

    assert capsys.readouterr().out
    text = markup(shown_of(doc))
    assert all(
        source.startswith(("data:image/", "data:audio/wav", "data:video/mp4")) for source in sources(text)
    )
    assert "<script" not in without_scripts(text)
    tags = set(re.findall(r"<([a-z]+)", without_scripts(text)))
    assert tags <= set(
        "div img bdi pre audio video style span table b br col colgroup thead tbody tr th td details summary".split()
    )
    assert re.search(r"<img[^>]* on", text) is None
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


@pytest.mark.parametrize(
    "name", ["colour", "rgbd", "mono", "film", "points", "mesh", "vector", "normalised", "16 bits"]
)
def test_a_picture_is_there_without_scripts_and_players(name):
    """What GitHub leaves of a notebook."""
    assert "<img" in without_scripts(markup(shown_of(media()[name])))


def test_words_say_what_it_is():
    said = {name: str(shown_of(doc)) for name, doc in media().items()}

    assert "30 x 20 pixels, uint8" == said["colour"] == said["channels first"]
    assert "30 x 20 pixels of colour and depth, float32" == said["rgbd"]
    assert "1.00 s, 1 channel, 8 000 Hz" == said["mono"]
    assert "0.18 s, 2 channels, 44 100 Hz" == said["stereo"] == said["channels apart"]
    assert "4 frames of 31 x 21 pixels, 30 a second, 0.13 s" == said["film"]
    assert "50 points" == said["points"]
    assert "4 vertices, 2 faces" == said["mesh"]


def test_what_was_done_to_numbers_is_said():
    assert "stretched from" in markup(shown_of(media()["normalised"]))
    assert "stretched" not in markup(shown_of(media()["float"]))
    assert "shown in 1024 x 512" in markup(shown_of(Document(tensor=np.zeros((1024, 2048, 3), np.uint8))))


def test_a_smaller_picture_is_the_mean_of_squares():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)

    assert [[2, 4], [10, 12]] == shrunk(pixels, 2).tolist()
    assert pixels is shrunk(pixels, 4)
    assert (1, 3, 3) == shrunk(noise(2, 9, 3), 4).shape


def test_a_sound_is_played_at_its_rate():
    tone = np.array([0, 0.5, -0.5, 2.0, np.nan], np.float32)

    with wave.open(io.BytesIO(wav(tone, 8000))) as file:
        assert (1, 2, 8000) == (file.getnchannels(), file.getsampwidth(), file.getframerate())
        assert [0, 16383, -16383, 32767, 0] == np.frombuffer(file.readframes(9), "<i2").tolist()
    assert (5, 2) == samples_of(np.zeros((5, 2))).shape
    assert (50, 2) == samples_of(np.zeros((2, 50))).shape
    assert samples_of(np.zeros((50, 50))) is None


def test_a_long_sound_is_cut_and_a_large_film_made_small():
    long = shown_of(Document(tensor=np.zeros(3_000_000, np.float32), tags={"sample_rate": 16_000}))
    film = shown_of(Document(tensor=np.zeros((320, 2, 2, 3), np.uint8)))

    assert "3 min 7 s" in str(long)
    assert "to be heard" in markup(long)
    assert len(markup(long)) < 5_000_000
    assert "the first 300 to be played" in markup(film)


def test_many_points_and_faces_are_drawn_by_some():
    points, words = scene(np.random.default_rng(0).normal(size=(100_000, 3)))

    assert "100 000 points, 20 000 shown" == words
    data = re.search(r'data-points="([^"]*)"', points)[1]
    assert MOST * 3 * 2 == len(base64.b64decode(data))
    assert len(points) < 700_000


def test_what_is_no_medium_is_refused_by_name():
    for doc, call in (
        (Document(id="d", tensor=np.zeros((3, 2))), Document.display_point_cloud_tensor),
        (Document(id="d", tensor=np.zeros((3, 2, 3))), Document.display_rgbd_tensor),
        (mesh(((0, 1, 9),)), Document.display_vertices_and_faces),
        (mesh(((0.5, 1, 2),)), Document.display_vertices_and_faces),
    ):
        with pytest.raises(ShapeError, match=f"document '{doc.id}'"):
            call(doc)
    for call in (Document.display_tensor, Document.display_vertices_and_faces, Document.display_rgbd_tensor):
        with pytest.raises(BadValue, match="document 'd'"):
            call(Document(id="d", text="x", chunks=[Document()]))
    with pytest.raises(UnknownName, match="'uri' or its 'tensor'"):
        Document().display("blob")


# ---------------------------------------------------------------------------------------------- uris


def test_a_uri_is_followed_only_when_that_is_asked_for(capsys):
    doc = Document(id="d", uri="no/such/file.png")

    doc.display()
    doc.summary()
    html_of(doc)

    assert "no/such/file.png" in capsys.readouterr().out
    for call in (doc.display_uri, lambda: doc.display("uri"), lambda: shown_of_uri(doc)):
        with pytest.raises(FileNotFoundError):
            call()


def test_files_are_shown_by_what_is_in_them(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason='pip install "docarray[media]"')
    image.fromarray(noise(30, 40, 3)).save(tmp_path / "a.png")
    image.fromarray(noise(30, 40, 3)).save(tmp_path / "a.tiff")
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(800), 8000))
    (tmp_path / "a.txt").write_text("green <b>tea</b>", encoding="utf-8")
    (tmp_path / "a.csv").write_text("text,price\n<b>milk</b>,3\n", encoding="utf-8")
    (tmp_path / "a.svg").write_text("<svg onload='x()'/>", encoding="utf-8")
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\x00\x01")
    shown = {path.suffix: shown_of_uri(Document(uri=str(path))) for path in sorted(tmp_path.iterdir())}

    assert "image/png" in str(shown[".png"])
    assert "40 x 30 pixels" in str(shown[".tiff"])
    assert "audio/wav" in str(shown[".wav"])
    assert "green &lt;b&gt;tea" in markup(shown[".txt"])
    assert "&lt;b&gt;milk" in markup(shown[".csv"])
    assert "&lt;svg onload" in markup(shown[".svg"])
    assert "4 bytes" == str(shown[".bin"])
    Document(uri=str(tmp_path / "a.bin")).display_uri()
    assert "4 bytes" in capsys.readouterr().out


def test_meshes_are_shown_from_their_file(tmp_path):
    pytest.importorskip("trimesh", reason='pip install "docarray[media]"')
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n", encoding="utf-8")

    assert "3 vertices, 1 face" == str(shown_of_uri(Document(uri=str(tmp_path / "a.obj"))))


# ---------------------------------------------------------------------------------------------- pages of documents


def late(doc: Document) -> None:
    raise AssertionError("looking at a document loaded it")


def test_looking_loads_nothing(capsys):
    doc = Pending.of(Document(id="p", uri="a.png", modality="image"), late)
    parent = Document(chunks=[doc], _metadata={
        "multi_modal_schema": {"photo": {"attribute_type": "document", "type": "Image", "position": 0}}
    })  # fmt: skip
    array = DocumentArray([doc])

    for shown in (doc, parent, array, DocumentArray([parent])):
        shown.summary()
        repr(shown)
        assert "not loaded yet" in html_of(shown)

    assert 2 <= capsys.readouterr().out.count("not loaded yet")
    assert isinstance(doc, Pending)
    assert Look(doc).pending


def schema(**fields: tuple[str, str, int | None]) -> dict[str, object]:
    entries = {
        name: {"attribute_type": kind, "type": typed, **({} if at is None else {"position": at})}
        for name, (kind, typed, at) in fields.items()
    }
    return {"multi_modal_schema": entries}


def page() -> Document:
    return Document(
        {
            "id": "page",
            "_metadata": schema(
                title=("document", "Text", 0),
                clip=("document", "Audio", 1),
                price=("primitive", "float", None),
                parts=("iterable_document", "List[Text]", 2),
                lost=("document", "Image", 9),
            ),
            "tags": {"price": 3.5, "other": "kept"},
            "chunks": [
                Document(text="Green tea"),
                Document(tensor=np.zeros(800, np.float32), tags={"sample_rate": 8000}, modality="audio"),
                Document(chunks=[Document(text=f"part {i}") for i in range(5)]),
            ],
        }
    )


def test_a_multimodal_document_shows_its_fields(capsys):
    text = html_of(page())

    for part in (
        "multimodal",
        ">title<",
        "Green tea",
        ">price<",
        "3.5",
        "part 0",
        "… 2 more",
        "missing",
        "kept",
    ):
        assert part in text
    assert 2 == len(re.findall(r'<audio [^>]*src="data:audio/wav;base64,', text))
    assert "multi_modal_schema" not in text
    page().summary()
    out = capsys.readouterr().out
    assert "title Text, clip Audio, price float" in " ".join(out.replace("│", "").split())
    assert "title Document" in out
    DocumentArray([page()]).summary()
    out = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "Multimodal dataclass True Fields title Text, clip Audio" in out
    assert "Green tea" in html_of(DocumentArray([page()]))


def test_a_schema_of_strangers_is_only_text():
    for entries in (
        {HOSTILE: {"type": HOSTILE, "position": 0, "attribute_type": HOSTILE}},
        {"a": None, "b": 3, "c": {"position": float("nan")}, "d": {"position": -1}, "e": {"position": 10**9}},
        {f"f{i}": {"position": 0, "type": "&" * 999} for i in range(5_000)},
        [1, 2],
    ):
        doc = Document({"_metadata": {"multi_modal_schema": entries}, "chunks": [Document(text="&" * 9999)]})
        nested = Document({"_metadata": schema(a=("iterable_nested", "List[X]", 0)), "chunks": [
            Document(chunks=[Document(doc, copy=True) for _ in range(9)])
        ]})  # fmt: skip
        for shown in (doc, nested, DocumentArray([doc, nested])):
            text = html_of(shown)
            assert "<script" not in text
            assert "<img src=x" not in text
            assert len(text.encode()) <= MOST_BYTES
            shown.summary()


# ---------------------------------------------------------------------------------------------- in a notebook


@pytest.mark.timeout(120)
def test_a_notebook_shows_media(monkeypatch):
    """In a kernel: HTML and words, nothing on standard output."""
    nbclient = pytest.importorskip("nbclient", reason=INSTALL)
    nbformat = pytest.importorskip("nbformat", reason=INSTALL)
    pytest.importorskip("ipykernel", reason=INSTALL)
    cells = (
        "import numpy as np\nfrom docarray import Document, DocumentArray\n"
        "doc = Document(tensor=np.zeros((8, 9, 3), 'uint8'))\ndoc.display()",
        "doc.display_tensor()",
        "Document(uri='data:text/plain,tea').display_uri()",
        "DocumentArray([Document(embedding=[1, 2]), Document(embedding=[2, 1])]).plot_embeddings()",
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with tempfile.TemporaryDirectory(prefix="nb") as folder:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            monkeypatch.setenv(name, folder)
        (Path(folder) / "work").mkdir()
        nbclient.NotebookClient(
            book,
            timeout=60,
            kernel_name="python3",
            resources={"metadata": {"path": str(Path(folder) / "work")}},
        ).execute()

    shown = [cell.outputs for cell in book.cells]
    assert [1, 1, 1, 1] == [len(outputs) for outputs in shown]
    assert all(["text/html", "text/plain"] == sorted(outputs[0]["data"]) for outputs in shown)
    assert "9 x 8 pixels" in shown[0][0]["data"]["text/plain"]
    assert ">tea<" in shown[2][0]["data"]["text/html"]
    assert 'sandbox="allow-scripts"' in shown[3][0]["data"]["text/html"]
