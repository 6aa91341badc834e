"""Image features without weights: they tell what looks alike, and are the same wherever they are computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from docarray import Document, DocumentArray
from docarray.errors import BadValue, MissingEmbedding, ShapeError
from docarray.media import features, image
from docarray.media.features import embed_image_features, image_features

pytest.importorskip("PIL.Image", reason='it is of the extra "media": pip install "docarray[media]"')

NAMES = (
    *(
        "astronaut.png",
        "brick.png",
        "camera.png",
        "cell.png",
        "chelsea.png",
        "clock_motion.png",
        "coffee.png",
    ),
    *("coins.png", "color.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg", "ihc.png"),
    *("moon.png", "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png"),
)


@pytest.fixture(scope="module")
def pictures():
    skimage = pytest.importorskip("skimage", reason="its pictures: pip install scikit-image")
    return [image.decode(Path(skimage.data_dir) / name) for name in NAMES]


@pytest.fixture(scope="module")
def digits():
    data = pytest.importorskip("sklearn.datasets", reason="its digits: pip install scikit-learn")
    pixels, labels = data.load_digits(return_X_y=True)
    return pixels.reshape(-1, 8, 8) / 16, labels


def nearest(queries, vectors):
    return (queries @ vectors.T).argmax(axis=1)


def cut(picture, share):
    rows, columns = (round(side * share) for side in picture.shape[:2])
    return picture[rows:-rows, columns:-columns]


def test_handwriting(digits):
    """The nearest other digit is the same digit: by its edges, where all have the same colours."""
    pixels, labels = digits
    vectors = image_features(pixels, cells=4)
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1)
    assert (labels[alike.argmax(axis=1)] == labels).mean() > 0.98
    colours = vectors[:, : 4 * 6 * 6]
    alike = colours @ colours.T
    np.fill_diagonal(alike, -1)
    assert (labels[alike.argmax(axis=1)] == labels).mean() < 0.5


def test_a_picture_is_nearest_to_what_was_made_of_it(pictures):
    vectors = image_features(pictures)
    right = np.arange(len(pictures))
    for changed in (
        [cut(each, 0.05) for each in pictures],
        [image.resize(each, (100, 140)) for each in pictures],
        [image.decode(image.encode(each, "jpg", quality=30)) for each in pictures],
        [(each * 0.9).astype(np.uint8) for each in pictures],
    ):
        assert (nearest(image_features(changed), vectors) == right).mean() >= 0.95


def test_colours_count_where_shapes_are_alike():
    square = np.full((40, 40, 3), 255, dtype=np.uint8)
    kinds = {}
    for name, colour in {"red": (200, 30, 30), "rose": (220, 60, 50), "blue": (30, 30, 200)}.items():
        kinds[name] = square.copy()
        kinds[name][10:30, 10:30] = colour
    red, rose, blue = image_features(list(kinds.values()))
    assert red @ rose > red @ blue + 0.05


def test_edges_count_where_colours_are_alike():
    down, across = np.zeros((2, 64, 64), dtype=np.uint8)
    down[:, ::8] = across[::8] = 255
    shifted = np.roll(down, 2, axis=1)
    a, b, c = image_features([down, across, shifted])
    assert a @ c > a @ b + 0.2


def test_shape_dtype_and_length(pictures):
    vectors = image_features(pictures)
    assert vectors.shape == (len(pictures), features.dimensions())
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors[:, :144], axis=1), 0.5**0.5, rtol=1e-5)
    other = image_features(pictures[:2], bins=(2, 3, 4), cells=3, orientations=6, size=32)
    assert other.shape == (2, 2 * 3 * 4 + 2 * 2 * 4 * 6)
    flat = image_features([np.full((9, 9), 77, dtype=np.uint8)])
    assert np.isfinite(flat).all()
    assert np.linalg.norm(flat) == pytest.approx(0.5**0.5)
    assert image_features([]).shape == (0, features.dimensions())


def test_an_image_has_one_vector_whatever_stands_beside_it(pictures):
    vectors = image_features(pictures)
    for i in (0, 7, len(pictures) - 1):
        np.testing.assert_array_equal(image_features(pictures[i : i + 1])[0], vectors[i])
    many = image_features(pictures * 5)  # more than one batch
    np.testing.assert_array_equal(many, np.tile(vectors, (5, 1)))


def test_every_process_computes_the_same():
    code = (
        "import numpy as np, hashlib; from docarray.media.features import image_features as f;"
        "a = np.random.default_rng(1).integers(0, 256, (5, 40, 30, 3), dtype=np.uint8);"
        "print(hashlib.sha256(f(a).tobytes()).hexdigest())"
    )
    said = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)
    }
    assert len(said) == 1


def test_what_images_may_be(pictures):
    cat = image.resize(pictures[4], (30, 45))
    vector = image_features([cat])[0]

    def close(other, tolerance=1e-6):
        np.testing.assert_allclose(image_features(other)[0], vector, atol=tolerance)

    close(cat[None])
    close((cat / 255)[None])
    close([cat.tolist()])
    close([cat.astype(np.int64)])
    close(np.concatenate([cat, np.full((30, 45, 1), 255, np.uint8)], axis=2)[None], 0.05)
    np.testing.assert_array_equal(image_features([np.moveaxis(cat, -1, 0)], channel_axis=0)[0], vector)
    grey = cat[..., 1]
    for same in ([grey], grey[None], [grey[..., None]], [np.stack([grey] * 3, axis=-1)]):
        np.testing.assert_array_equal(image_features(same), image_features([grey]))
    wide = [grey.astype(np.uint16) * 257]
    np.testing.assert_array_equal(image_features(wide), image_features([grey]))
    assert image_features([grey > 90]).shape == (1, features.dimensions())


def test_torch_tensors(pictures):
    torch = pytest.importorskip("torch", reason="pip install torch")
    stack = np.stack([image.resize(each, (32, 32)) for each in pictures[:3]])
    expected = image_features(stack)
    np.testing.assert_array_equal(image_features(torch.from_numpy(stack)), expected)
    np.testing.assert_array_equal(image_features([torch.from_numpy(each) for each in stack]), expected)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((8, 8, 3), np.uint8), "list"),  # one image, which would pass for 8 of width 3
        (np.zeros((8, 8, 3), np.uint8).tolist(), "list"),
        (np.zeros(8), "stack"),
        (np.zeros((1, 2, 3, 4, 5)), "stack"),
        (np.zeros((1, 8, 8, 7)), "7 channels"),
        (np.full((1, 8, 8), 2.5), r"\[0, 1\]"),
        ("abc", "str"),
        (7, "int"),
    ],
)
def test_what_is_no_image(wrong, said):
    with pytest.raises(BadValue, match=said):
        image_features(wrong)


def test_settings_are_checked():
    for wrong in (
        {"cells": 1},
        {"bins": (4, 6)},
        {"bins": (0, 1, 1)},
        {"orientations": 0},
        {"size": 8},
        {"size": 1.5},
    ):
        with pytest.raises(BadValue):
            image_features([np.zeros((4, 4))], **wrong)


# ------------------------------------------------------------------------------------------------ arrays of documents


def test_search_by_picture(pictures):
    da = DocumentArray(Document(id=name, tensor=each) for name, each in zip(NAMES, pictures, strict=True))
    embed_image_features(da)
    assert da.embeddings.shape == (len(da), features.dimensions())
    cat = DocumentArray([Document(tensor=cut(pictures[4], 0.08))])
    embed_image_features(cat)
    assert cat[0].embedding.dtype == np.float32
    assert da.find(cat[0])[0][0].id == "chelsea.png"
    embed_image_features(da, cells=4)
    assert da.embeddings.shape == (len(da), features.dimensions(cells=4))
    empty = DocumentArray()
    embed_image_features(empty)
    assert len(empty) == 0


def test_as_a_model(pictures):
    same = DocumentArray(Document(tensor=image.resize(each, (60, 80))) for each in pictures)
    same.embed(image_features, batch_size=7)
    np.testing.assert_array_equal(same.embeddings, image_features(list(same.tensors)))
    other = DocumentArray(Document(tensor=each) for each in pictures)
    other.embed(image_features, collate_fn=lambda da: [doc.tensor for doc in da])
    np.testing.assert_array_equal(other.embeddings, image_features(pictures))


def test_on_a_store(tmp_path, pictures):
    path = str(tmp_path / "a.db")
    with DocumentArray(storage="sqlite", config={"connection": path}) as da:
        da.extend(Document(id=str(i), tensor=each) for i, each in enumerate(pictures[:5]))
        embed_image_features(da, cells=4)
        np.testing.assert_array_equal(da.embeddings, image_features(pictures[:5], cells=4))
        np.testing.assert_array_equal(da["3"].tensor, pictures[3])


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (Document(id="x", text="none"), MissingEmbedding, "document 'x'.*tensor"),
        (Document(id="x", tensor=np.zeros(9)), ShapeError, r"document 'x'.*\(9,\)"),
        (
            Document(id="x", tensor=np.full((4, 4), 9.0), uri="a.png"),
            BadValue,
            r"document 'x' \(a.png\).*\[0, 1\]",
        ),
    ],
)
def test_errors_name_the_document(wrong, error, said):
    da = DocumentArray([Document(tensor=np.zeros((8, 8), np.uint8)), wrong])
    with pytest.raises(error, match=said):
        embed_image_features(da)
    assert all(doc.embedding is None for doc in da)
