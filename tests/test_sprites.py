"""Many images in one: each in its place, of any dtype and size, or an error that names the document."""

from __future__ import annotations

import io

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import BadValue, UnknownName

Image = pytest.importorskip("PIL.Image", reason='pip install "docarray[media]"')

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(colour: tuple[int, ...], height: int = 4, width: int = 4) -> np.ndarray:
    return np.full((height, width, len(colour)), colour, np.uint8)


def of(*colours: tuple[int, ...]) -> DocumentArray:
    return DocumentArray([Document(id=f"d{at}", tensor=plain(colour)) for at, colour in enumerate(colours)])


def test_images_stand_row_by_row():
    picture = of(RED, GREEN, BLUE).plot_image_sprites(canvas_size=64)

    assert (64, 64) == picture.size
    assert [RED, GREEN, BLUE, (255, 255, 255)] == [
        picture.getpixel(at) for at in ((16, 16), (48, 16), (16, 48), (48, 48))
    ]


def test_a_picture_grows_where_images_would_be_too_small():
    assert (160, 160) == of(*[RED] * 100).plot_image_sprites(canvas_size=20, min_size=16).size


@pytest.mark.parametrize(
    ("tensor", "axis"),
    [
        (plain(RED) / 255, -1),
        (plain(RED).astype(np.int64), -1),
        (plain(RED).astype(np.uint16) * 257, -1),
        (plain(RED) > 0, -1),
        (np.moveaxis(plain(RED), 2, 0), 0),
        (plain((*RED, 255)), -1),
        (plain(RED).tolist(), -1),
    ],
    ids=["float", "int64", "uint16", "bool", "channels first", "alpha", "list"],
)
def test_any_image_has_its_colour(tensor, axis):
    array = DocumentArray([Document(tensor=tensor)])

    assert RED == array.plot_image_sprites(canvas_size=32, channel_axis=axis).getpixel((16, 16))


def test_proportions_are_kept_when_asked_for():
    array = DocumentArray([Document(tensor=plain(RED, 10, 40))])

    assert RED == array.plot_image_sprites(canvas_size=40).getpixel((20, 2))
    assert (255, 255, 255) == array.plot_image_sprites(canvas_size=40, keep_aspect_ratio=True).getpixel(
        (20, 2)
    )


def test_positions_are_written():
    plain_one = of(RED, RED).plot_image_sprites(canvas_size=128)
    numbered = of(RED, RED).plot_image_sprites(canvas_size=128, show_index=True)

    assert np.asarray(plain_one)[:16, :16].tolist() != np.asarray(numbered)[:16, :16].tolist()


def test_images_come_from_tensor_blob_and_uri(tmp_path):
    Image.fromarray(plain(GREEN)).save(tmp_path / "a.png")
    uri = str(tmp_path / "a.png")
    array = DocumentArray(
        [
            Document(tensor=plain(RED), uri=uri),
            Document(uri=uri),
            Document(blob=(tmp_path / "a.png").read_bytes()),
        ]
    )

    by_tensor, by_uri = (array.plot_image_sprites(canvas_size=64, image_source=s) for s in ("tensor", "uri"))

    assert [RED, GREEN, GREEN] == [by_tensor.getpixel(at) for at in ((16, 16), (48, 16), (16, 48))]
    assert GREEN == by_uri.getpixel((16, 16))


def test_what_has_no_image_is_named_or_left_out():
    array = of(RED, GREEN)
    array.insert(1, Document(id="none"))

    for call in (array.plot_image_sprites, lambda **o: array.save_gif(io.BytesIO(), **o)):
        with pytest.raises(BadValue, match="document 'none' has no image"):
            call()
        call(skip_empty=True)
        with pytest.raises(UnknownName, match="image_source"):
            call(image_source="blob")
    assert GREEN == array.plot_image_sprites(canvas_size=64, skip_empty=True).getpixel((48, 16))
    for empty, said in ((DocumentArray(), "empty"), (DocumentArray([Document()]), "none of the 1 documents")):
        with pytest.raises(BadValue, match=said):
            empty.plot_image_sprites(skip_empty=True)


def test_what_is_no_image_is_named():
    for tensor in (np.zeros(3), np.full((4, 4, 3), 7.5), np.zeros((4, 4, 9), np.uint8)):
        with pytest.raises(BadValue, match="document 'bad'"):
            DocumentArray([Document(id="bad", tensor=tensor)]).plot_image_sprites()
    with pytest.raises(BadValue, match="document 'bad'"):
        DocumentArray([Document(id="bad", blob=b"no image")]).plot_image_sprites()


def test_a_picture_is_written_in_the_format_of_its_suffix(tmp_path):
    for name, kind in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a", "PNG")):
        assert of(RED).plot_image_sprites(tmp_path / name) is None
        with Image.open(tmp_path / name) as found:
            assert (kind, (512, 512)) == (found.format, found.size)
    target = io.BytesIO()
    of(RED).plot_image_sprites(target, canvas_size=32)
    assert target.getvalue().startswith(b"\x89PNG")


def test_a_picture_that_would_be_too_large_is_refused_before_it_is_made():
    with pytest.raises(BadValue, match="min_size"):
        of(RED).plot_image_sprites(canvas_size=1_000_000)
    for option in ({"canvas_size": 0}, {"min_size": 1.5}, {"canvas_size": True}):
        with pytest.raises(BadValue, match="whole number"):
            of(RED).plot_image_sprites(**option)


# ---------------------------------------------------------------------------------------------- animations


def test_an_animation_has_a_frame_for_each_image(tmp_path):
    array = of(RED, GREEN, BLUE)
    array.append(Document(tensor=plain(RED, 10, 40)))

    array.save_gif(tmp_path / "a.gif", duration=150, size_ratio=5)

    with Image.open(tmp_path / "a.gif") as found:
        assert (4, (20, 20), 150, 0) == (
            found.n_frames,
            found.size,
            found.info["duration"],
            found.info["loop"],
        )
        seen = []
        for at in range(4):
            found.seek(at)
            seen.append(found.convert("RGB").getpixel((10, 10)))
    assert all(
        np.abs(np.subtract(a, b)).max() < 8 for a, b in zip(seen, (RED, GREEN, BLUE, RED), strict=True)
    )


def test_bad_settings_of_an_animation_are_refused():
    for option in ({"duration": 0}, {"size_ratio": 0}, {"size_ratio": float("nan")}):
        target = io.BytesIO()
        with pytest.raises(BadValue, match=next(iter(option))):
            of(RED).save_gif(target, **option)
        assert b"" == target.getvalue()


# ---------------------------------------------------------------------------------------------- matches


def test_a_query_stands_before_its_matches():
    doc = Document(id="q", tensor=plain(RED))
    doc.matches = [
        Document(tensor=plain(GREEN), scores={"cosine": 0.25}),
        Document(id="none"),
        Document(tensor=plain(BLUE), scores={"<b>": 1}),
    ]

    picture = doc.plot_matches_sprites(top_k=3, canvas_size=400, skip_empty=True)

    assert (300, 120) == picture.size
    assert [RED, GREEN, BLUE] == [picture.getpixel((at, 50)) for at in (50, 150, 250)]
    assert (200, 120) == doc.plot_matches_sprites(top_k=1, canvas_size=200).size
    with pytest.raises(BadValue, match="document 'none' has no image"):
        doc.plot_matches_sprites()
    with pytest.raises(BadValue, match="document 'x' has no matches"):
        Document(id="x", tensor=plain(RED)).plot_matches_sprites()


def test_normalised_images_are_put_back():
    doc = Document(tensor=plain((200, 100, 50))).set_image_tensor_normalization()
    doc.matches = [Document(tensor=doc.tensor)]

    picture = doc.plot_matches_sprites(canvas_size=200, inv_normalize=True)

    assert (200, 100, 50) == picture.getpixel((50, 50))
    with pytest.raises(BadValue, match=f"document '{doc.id}'"):
        doc.plot_matches_sprites()
