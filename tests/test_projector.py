"""Embeddings on a page: the points are principal components, nothing of a document runs, a browser shows it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.display import projector
from docarray.display.projector import Projection, principal
from docarray.errors import BadValue, CorruptData, MissingEmbedding, ShapeError, UnknownName

HOSTILE = "</script><script>alert(1)</script>\"'<img src=x onerror=alert(1)>\x1b\u202e"


def data_of(projection: Projection) -> dict:
    block = re.search(r'id="data">([A-Za-z0-9+/=]*)</script>', projection.html)[1]
    return json.loads(base64.b64decode(block))


def clusters(count: int = 60, wide: int = 5) -> DocumentArray:
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, wide)) * 9
    return DocumentArray(
        [
            Document(
                id=f"d{at}", text=f"text {at}", embedding=(centres[at % 3] + random.normal(size=wide)),
                tags={"group": "abc"[at % 3], "at": at}, tensor=None,
            )
            for at in range(count)
        ]
    )  # fmt: skip


def plot(array: DocumentArray, *args: object, **options: object) -> Projection:
    return array.plot_embeddings(*args, start_server=False, **options)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (1, 4), (5, 1), (3, 3)])
def test_points_are_the_principal_components(shape):
    matrix = np.random.default_rng(1).normal(size=shape) * np.arange(1, shape[1] + 1)
    centred = matrix - matrix.mean(axis=0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    rank = min(3, len(values)) if shape[0] > 1 else 0
    expected = np.zeros((shape[0], 3))
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    expected[:, :rank] = (left * values * signs)[:, :rank]

    points, shares = principal(matrix)

    if shape != (3, 3):  # the last of three is noise there
        np.testing.assert_allclose(points, expected, atol=1e-6)
    assert shares.sum() <= 1 + 1e-12
    assert points.tolist() == principal(matrix)[0].tolist()


def test_large_and_constant_numbers_are_no_trouble():
    assert np.isfinite(principal(np.array([[1e300, 0], [-1e300, 1]]))[0]).all()
    assert not principal(np.ones((5, 4)))[0].any()


def test_a_page_holds_points_fields_and_neighbours():
    array = clusters()

    data = data_of(plot(array, "my title"))

    assert "my title" == data["title"]
    assert ["id", "text", "tags__group", "tags__at"] == data["columns"]
    assert [doc.id for doc in array] == data["values"][0]
    assert list(range(60)) == data["values"][3]
    assert (60, 3) == np.frombuffer(base64.b64decode(data["points"]), "<i2").reshape(-1, 3).shape
    near = np.frombuffer(base64.b64decode(data["neighbours"]), "<u4").reshape(60, data["k"])
    query = DocumentArray(array, copy=True)
    query.match(array, limit=data["k"], exclude_self=True)
    assert [[match.id for match in doc.matches] for doc in query] == [
        [f"d{at}" for at in row] for row in near
    ]


def test_fields_are_left_out_when_asked_for():
    data = data_of(plot(clusters(), exclude_fields_metas=["text", "tags__at"]))

    assert ["id", "tags__group"] == data["columns"]
    assert ["position"] == data_of(plot(clusters(), exclude_fields_metas=["id", "text", "tags"]))["columns"]


def test_what_cannot_be_a_point_is_counted_or_named():
    array = clusters(3)
    array.extend([Document(), Document(embedding=np.full(5, np.nan))])

    projection = plot(array)

    assert 3 == len(projection)
    assert "1 document without embedding left out, 1 document with NaN or infinity left out" in str(
        projection
    )
    for empty in (DocumentArray(), DocumentArray([Document()])):
        with pytest.raises(MissingEmbedding, match="nothing to plot"):
            plot(empty)
    with pytest.raises(ShapeError, match="document 'odd'"):
        plot(DocumentArray([*clusters(2), Document(id="odd", embedding=[1, 2])]))
    with pytest.raises(UnknownName, match="image_source"):
        plot(clusters(), image_source="blob")


def test_a_page_is_bounded(monkeypatch):
    monkeypatch.setattr(projector, "MOST", 100)
    monkeypatch.setattr(projector, "_TEXT", 2_000)
    array = DocumentArray(
        [Document(id=str(at), text="&" * 5_000, embedding=[at, 1.0]) for at in range(1_000)]
    )

    projection = plot(array)

    assert "100 of 1 000 points shown" in str(projection)
    assert ["0", "10", "20"] == data_of(projection)["values"][0][:3]
    assert len(projection.html) < 200_000


def test_nothing_of_a_document_is_markup():
    array = DocumentArray(
        [
            Document(id=HOSTILE + str(at), text=HOSTILE, embedding=[at, 1], tags={HOSTILE: HOSTILE})
            for at in range(3)
        ]
    )
    projection = plot(array, HOSTILE)

    for text in (projection.html, projection._repr_html_()):
        assert "alert(1)</script>" not in text
        assert "<img src=x" not in text
    assert 2 == projection.html.count("<script")
    assert "default-src 'none'" in projection.html


def test_a_notebook_gets_a_picture_and_a_frame():
    bundle = plot(clusters())._repr_mimebundle_()

    assert ["text/html", "text/plain"] == sorted(bundle)
    assert '<img style="max-width:100%"' in bundle["text/html"]
    assert 'sandbox="allow-scripts"' in bundle["text/html"]
    assert bundle["text/html"].index("<img") < bundle["text/html"].index("<iframe")


# ---------------------------------------------------------------------------------------------- files


def test_files_are_those_of_the_projector(tmp_path):
    array = clusters(4)
    array[1].text = "with\ttab\nand line"

    projection = plot(array, "a/b", path=tmp_path / "new")
    plot(array, "second", path=tmp_path / "new", exclude_fields_metas=["text", "tags"])
    plot(array[:2], "a/b", path=tmp_path / "new")

    folder = tmp_path / "new"
    config = json.loads((folder / "config.json").read_text())["embeddings"]
    assert [("second", [4, 5]), ("a/b", [2, 5])] == [(e["tensorName"], e["tensorShape"]) for e in config]
    np.testing.assert_allclose(
        np.loadtxt(folder / "a_b.tsv", delimiter="\t"), array[:2].embeddings, rtol=1e-8
    )
    lines = (folder / "a_b.metas.tsv").read_text().splitlines()
    assert ["id\ttext\ttags__group\ttags__at", "d0\ttext 0\ta\t0", "d1\twith tab and line\tb\t1"] == lines
    assert ["d0", "d1", "d2", "d3"] == (folder / "second.metas.tsv").read_text().splitlines()
    assert (folder / "index.html").exists()
    assert str(folder) == projection.path == projection.__fspath__()
    with pytest.raises(BadValue, match="was not saved"):
        plot(array).__fspath__()


def test_a_config_that_is_none_is_left_alone(tmp_path):
    for text in ("no json", "[1]", '{"embeddings": 3}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CorruptData, match="no configuration"):
            plot(clusters(), path=tmp_path)
        assert ["config.json"] == [path.name for path in tmp_path.iterdir()]
        assert text == (tmp_path / "config.json").read_text()


def test_images_are_written_as_sprites(tmp_path):
    image = pytest.importorskip("PIL.Image", reason='pip install "docarray[media]"')
    array = clusters(5)
    for doc in array[:4]:
        doc.tensor = np.full((6, 6, 3), 255, np.uint8)

    projection = plot(array, "s", path=tmp_path, image_sprites=True)

    side = json.loads((tmp_path / "config.json").read_text())["embeddings"][0]["sprite"]["singleImageDim"][0]
    with image.open(tmp_path / "s.png") as picture:
        assert (3 * side, 3 * side) == picture.size
    assert data_of(projection)["sprites"].startswith("data:image/jpeg;base64,")


# ---------------------------------------------------------------------------------------------- serving


def get(url: str, host: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={} if host is None else {"Host": host})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def test_a_page_is_served_until_it_is_closed():
    with clusters().plot_embeddings("served") as projection:
        url = projection.url
        assert (200, projection.html) == get(url)
        assert 404 == get(url + "../../etc/passwd")[0]
        assert 421 == get(url, host="evil.example")[0]
        assert url == projection.serve()

    assert projection.url is None
    port = int(url.rsplit(":", 1)[1].strip("/"))
    with socket.socket() as probe:
        assert 0 != probe.connect_ex(("127.0.0.1", port))
    projection.close()


# ---------------------------------------------------------------------------------------------- in a browser


@pytest.mark.timeout(120)
def test_a_browser_draws_points_that_say_what_they_are(tmp_path):
    """In headless Chromium: drawn, coloured, hovered, clicked and searched; no request, and nothing of a tag ran."""
    reason = "pip install playwright; apt-get install --no-install-recommends chromium fonts-dejavu-core"
    api = pytest.importorskip("playwright.sync_api", reason=reason)
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip(reason)
    array = clusters()
    array[7].text = HOSTILE
    array[8].tags[HOSTILE] = HOSTILE
    frame = tmp_path / "frame.html"
    projection = plot(array, HOSTILE, path=tmp_path)
    frame.write_text(f"<!doctype html><meta charset=utf-8>{projection._repr_html_()}", encoding="utf-8")
    flags = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync"
    )
    requests: list[str] = []
    problems: list[str] = []
    with api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, args=flags.split(), headless=True,
            viewport={"width": 900, "height": 600},
        )  # fmt: skip
        try:
            tab = context.new_page()
            tab.on("request", lambda request: requests.append(request.url))
            tab.on("pageerror", lambda error: problems.append(str(error)))
            tab.on("console", lambda message: problems.append(message.text))
            tab.on("dialog", lambda dialog: (problems.append("a dialog"), dialog.dismiss()))
            tab.goto((tmp_path / "index.html").as_uri())
            tab.wait_for_selector("body[data-drawn='60']")
            inked = """() => { const c = document.querySelector('canvas'), seen = new Set();
                const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                for (let i = 0; i < d.length; i += 4)
                    { if (d[i + 3] > 200) seen.add(d[i] + ',' + d[i+1] + ',' + d[i+2]) }
                return seen.size }"""  # fmt: skip
            assert tab.evaluate(inked) > 3
            tab.select_option("#by", label="tags__group")
            x, y, _ = tab.evaluate("projectorAt(7)")
            tab.mouse.move(x, y)
            tab.wait_for_selector("#tip", state="visible")
            tip = tab.inner_text("#tip")
            tab.mouse.click(x, y)
            tab.wait_for_selector("#nearest")
            nearest = tab.locator("#nearest li").count()
            about = tab.inner_text("#about")
            tab.fill("#search", "text 12")
            hits = tab.inner_text("#hits")
            legend = tab.inner_text("#legend")
            frames = int(tab.evaluate("document.body.dataset.frames"))
            tab.mouse.move(300, 300)
            tab.mouse.down()
            tab.mouse.move(360, 330)
            tab.mouse.up()
            tab.wait_for_function(f"Number(document.body.dataset.frames) > {frames}")
            turned = tab.evaluate("projectorAt(7)")
            images = tab.evaluate("document.images.length")
            tab.goto(frame.as_uri())
            tab.frame_locator("iframe").locator("body[data-drawn='60']").wait_for()
        finally:
            context.close()

    assert "<script>alert(1)</script>" in tip or "<script>alert(1)</script>" in about
    assert 10 == nearest
    assert "1 found" in hits
    assert ["a", "b", "c"] == legend.split()
    assert [x, y] != turned[:2]
    assert 0 == images
    assert [] == problems
    assert [] == [url for url in requests if not url.startswith(("data:", "file:", "about:", "blob:"))]
