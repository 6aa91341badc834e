"""Meshes: every format read and written, scenes in their place, and files that say what is not so."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import random
import struct
import subprocess
import sys
import threading
import warnings
from contextlib import suppress

import numpy as np
import pytest

from docarray import Document
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    DocArrayError,
    ShapeError,
    UnknownName,
    UnsupportedFormat,
)

trimesh = pytest.importorskip("trimesh", reason='reads meshes: pip install "docarray[media]"')
pillow = pytest.importorskip("PIL.Image", reason='reads images: pip install "docarray[media]"')

from docarray.media import mesh  # noqa: E402

FORMATS = ("glb", "obj", "off", "ply", "stl")


def sphere():
    return trimesh.creation.icosphere(2)


def written(shape, kind):
    data = shape.export(file_type=kind)
    return data.encode() if isinstance(data, str) else bytes(data)


def two_boxes():
    """A scene that shows one box twice, at x = 5, and mirrored and doubled at x = 0."""
    scene, box = trimesh.Scene(), trimesh.creation.box((1, 1, 1))
    moved, mirrored = np.eye(4), np.diag([-2.0, 2.0, 2.0, 1.0])
    moved[0, 3] = 5
    scene.add_geometry(box, geom_name="cube", node_name="one", transform=moved)
    scene.add_geometry(box, geom_name="cube", node_name="two", transform=mirrored)
    return scene


def glb(tree, data=b""):
    """A GLB file of a tree and its only buffer."""
    if data:
        tree = {**tree, "buffers": [{"byteLength": len(data)}]}
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    data += b"\0" * (-len(data) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if data:
        chunks += struct.pack("<II", len(data), 0x004E4942) + data
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def triangle_tree(**changes):
    """The tree of a glTF file of one triangle, whose buffer is 36 bytes of coordinates."""
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
    } | changes


TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype="<f4").tobytes()


# ------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mesh_of_any_format_is_what_trimesh_makes_of_it(kind, tmp_path):
    path = tmp_path / f"ball.{kind}"
    path.write_bytes(written(sphere(), kind))
    expected = trimesh.load_mesh(str(path))

    vertices, faces = mesh.vertices_and_faces(str(path))

    assert (np.float64, np.int64) == (vertices.dtype, faces.dtype)
    assert np.array_equal(expected.vertices, vertices)
    assert np.array_equal(expected.faces, faces)
    assert vertices.flags.writeable
    assert faces.flags.writeable


@pytest.mark.parametrize("kind", FORMATS)
def test_the_format_is_told_by_the_first_bytes(kind):
    data = written(sphere(), kind)

    assert np.array_equal(mesh.vertices_and_faces(data)[1], mesh.vertices_and_faces(data, kind)[1])


def test_text_forms_of_stl_and_ply():
    ball = sphere()
    for kind, data in (
        ("stl", written(ball, "stl_ascii")),
        ("ply", bytes(ball.export(file_type="ply", encoding="ascii"))),
    ):
        vertices, faces = mesh.vertices_and_faces(data, kind)
        assert (ball.vertices.shape, ball.faces.shape) == (vertices.shape, faces.shape)
        assert np.allclose(trimesh.Trimesh(vertices, faces).volume, ball.volume)


def test_geometries_of_a_scene_stand_where_the_scene_puts_them():
    first, second = sorted(
        mesh.decode(written(two_boxes(), "glb")), key=lambda each: -each.vertices[:, 0].max()
    )

    assert ([4.5, -0.5, -0.5], [5.5, 0.5, 0.5]) == (
        first.vertices.min(0).tolist(),
        first.vertices.max(0).tolist(),
    )
    assert ([-1, -1, -1], [1, 1, 1]) == (second.vertices.min(0).tolist(), second.vertices.max(0).tolist())
    for each, volume in ((first, 1), (second, 8)):  # a mirrored one is not inside out
        assert np.isclose(trimesh.Trimesh(each.vertices, each.faces).volume, volume)


def test_a_scene_as_one_mesh():
    data = written(two_boxes(), "glb")

    whole = mesh.joined(mesh.decode(data))

    assert np.isclose(trimesh.Trimesh(whole.vertices, whole.faces).volume, 9)
    assert trimesh.load_scene(io.BytesIO(data), file_type="glb").to_mesh().faces.shape == whole.faces.shape


def test_objects_of_an_obj_are_geometries_with_their_names():
    data = (
        b"o left\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\no right\nv 9 0 0\nv 8 0 0\nv 9 1 0\nf -3 -2 -1 # last\n"
    )

    found = {each.name: each.vertices[:, 0].max() for each in mesh.decode(data, "obj")}

    assert {"left": 1, "right": 9} == found


def test_remarks_and_letters_of_another_encoding_do_no_harm():
    data = "# größe\nv 0 0 0 # null\nv 1 0 0\nv 0 1 0\nf 1 2 3 # nur eines\n".encode("latin-1")

    assert [[0, 1, 2]] == mesh.vertices_and_faces(data, "obj")[1].tolist()


def test_a_file_of_points_gives_its_points():
    points = np.random.default_rng(0).random((50, 3)).astype("float32")
    geometry = mesh.decode(mesh.encode(points))[0]

    assert np.array_equal(points, geometry.vertices)
    assert geometry.faces.shape == (0, 3)
    assert np.array_equal(points, mesh.sample(geometry, 50))
    some = mesh.sample(geometry, 20, seed=1)
    assert len(np.unique(some, axis=0)) == 20
    assert {*map(tuple, some)} <= {*map(tuple, geometry.vertices)}
    more = mesh.sample(geometry, 70, seed=1)
    assert more.shape == (70, 3)
    assert np.array_equal(points, more[:50])


def test_points_that_are_not_finite_are_left_out():
    assert mesh.decode(b"0 0 0\nnan 1 2\n1 2 inf\n1 2 3\n", "xyz")[0].vertices.tolist() == [
        [0, 0, 0],
        [1, 2, 3],
    ]


def test_materials_are_not_read(tmp_path):
    (tmp_path / "a.mtl").symlink_to("/dev/zero")  # whoever reads it never ends
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl red\nf 1 2 3\n")

    assert mesh.decode(str(tmp_path / "a.obj"))[0].faces.shape == (1, 3)


# ------------------------------------------------------------------------------------------------ sampling


def test_points_are_spread_by_area_and_lie_on_the_surface():
    # Two triangles in the plane z = 0 and z = 1, the second nine times as large.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [3, 0, 1], [0, 3, 1]], dtype=float)
    shape = mesh.Geometry("", vertices, np.array([[0, 1, 2], [3, 4, 5]]))

    points = mesh.sample(shape, 20_000, seed=0)

    assert (points.dtype, points.shape) == (np.float64, (20_000, 3))
    assert np.isin(points[:, 2], (0, 1)).all()
    assert 0.88 < points[:, 2].mean() < 0.92
    assert (points[:, :2].sum(1) <= np.where(points[:, 2] == 1, 3, 1) + 1e-9).all()
    assert points.min() >= 0


def test_a_seed_gives_the_same_points_and_leaves_the_random_numbers_of_others_alone():
    shape = mesh.joined(mesh.decode(written(sphere(), "ply")))
    state = np.random.get_state()[1].copy()

    first, second, other, free = (mesh.sample(shape, 9, seed=seed) for seed in (1, 1, 2, None))

    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, free)
    assert np.array_equal(state, np.random.get_state()[1])


def test_a_mesh_without_area_is_refused():
    flat = mesh.Geometry("", np.zeros((3, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(BadValue, match="no area"):
        mesh.sample(flat, 3)
    with pytest.raises(BadValue, match="no finite area"):
        mesh.sample(mesh.Geometry("", np.eye(3) * 1e300, np.array([[0, 1, 2]])), 3)


@pytest.mark.parametrize("samples", [-1, 1.5, True, "9"])
def test_a_number_of_points_is_a_number(samples):
    with pytest.raises(BadValue, match="samples="):
        mesh.sample(mesh.Geometry("", np.eye(3), np.array([[0, 1, 2]])), samples)


# ------------------------------------------------------------------------------------------------ documents


def test_a_point_cloud_of_a_document(tmp_path):
    path = tmp_path / "ball.glb"
    path.write_bytes(written(sphere(), "glb"))

    doc = Document(uri=path).load_uri_to_point_cloud_tensor(100, seed=3)

    assert (doc.tensor.shape, doc.tensor.dtype) == ((100, 3), np.float64)
    assert np.allclose(np.linalg.norm(doc.tensor, axis=1), 1, atol=0.06)
    again = Document(blob=path.read_bytes()).load_uri_to_point_cloud_tensor(100, seed=3)
    assert np.array_equal(doc.tensor, again.tensor)


def test_a_chunk_for_each_geometry():
    doc = Document(blob=written(two_boxes(), "glb"), chunks=[Document(text="kept")])

    doc.load_uri_to_point_cloud_tensor(40, as_chunks=True)

    assert doc.blob
    assert len(doc.chunks) == 3
    assert doc.chunks[0].text == "kept"
    assert all(chunk.tags["name"].startswith("cube") for chunk in doc.chunks[1:])
    assert {0, 5} == {round(float(np.median(chunk.tensor[:, 0].round()))) for chunk in doc.chunks[1:]}


def test_vertices_and_faces_as_chunks_and_back(tmp_path):
    path = tmp_path / "ball.ply"
    path.write_bytes(written(sphere(), "ply"))

    doc = Document(uri=path, chunks=[Document(text="old")]).load_uri_to_vertices_and_faces()

    assert ["vertices", "faces"] == [chunk.tags["name"] for chunk in doc.chunks]
    assert (162, 3) == doc.chunks[0].tensor.shape
    assert (320, 3) == doc.chunks[1].tensor.shape
    doc.load_vertices_and_faces_to_point_cloud(10, seed=0)
    assert (10, 3) == doc.tensor.shape

    for kind in FORMATS:
        target = tmp_path / f"copy.{kind}"
        doc.save_mesh_to_file(target)
        copy = Document(uri=target).load_uri_to_vertices_and_faces()
        assert (162, 320) == (len(copy.chunks[0].tensor), len(copy.chunks[1].tensor))
        shape = trimesh.Trimesh(copy.chunks[0].tensor, copy.chunks[1].tensor)
        assert np.isclose(shape.volume, sphere().volume, rtol=1e-4)


def test_chunks_without_a_name_are_passed_over_and_missing_ones_are_named():
    doc = Document(
        chunks=[Document(tensor=np.eye(3)), Document(tags={"name": "vertices"}, tensor=np.eye(3))], id="a"
    )

    with pytest.raises(AttributeError, match=r"document 'a' has no chunks.*'faces'") as caught:
        doc.load_vertices_and_faces_to_point_cloud(10)

    assert isinstance(caught.value, DocArrayError)
    assert isinstance(caught.value, ValueError)
    assert doc.tensor is None


def test_chunks_that_are_no_mesh_are_refused():
    doc = Document(
        chunks=[
            Document(tags={"name": "vertices"}, tensor=np.eye(3)),
            Document(tags={"name": "faces"}, tensor=np.array([[0, 1, 3]])),
        ]
    )
    with pytest.raises(ShapeError, match="0 to 3; there are 3"):
        doc.load_vertices_and_faces_to_point_cloud(10)


def test_points_are_saved_alone(tmp_path):
    points = np.random.default_rng(0).random((30, 3)).astype("float32")
    target = io.BytesIO()

    Document(tensor=points).save_mesh_to_file(target)
    Document(tensor=points).save_mesh_to_file(tmp_path / "points.xyz")

    assert np.array_equal(points, Document(blob=target.getvalue()).load_uri_to_point_cloud_tensor(30).tensor)
    assert np.allclose(
        points, Document(uri=tmp_path / "points.xyz").load_uri_to_point_cloud_tensor(30).tensor
    )
    with pytest.raises(UnsupportedFormat, match="stl does not hold points"):
        Document(tensor=points).save_mesh_to_file(tmp_path / "points.stl")
    with pytest.raises(UnknownName, match=r"'\.pdf'"):
        Document(tensor=points).save_mesh_to_file(tmp_path / "points.pdf")
    with pytest.raises(BadValue, match="neither chunks"):
        Document().save_mesh_to_file(target)
    assert ["points.xyz"] == os.listdir(tmp_path)


def test_a_data_uri_and_a_media_type_say_the_format():
    encoded = base64.b64encode(written(sphere(), "stl")).decode()

    doc = Document(uri=f"data:model/stl;base64,{encoded}").load_uri_to_vertices_and_faces()

    assert 162 == len(doc.chunks[0].tensor)
    points = Document(blob=b"0 0 0\n1 1 1\n")
    assert 2 == len(points.load_uri_to_point_cloud_tensor(2, file_type=".XYZ").tensor)


def test_without_anything_to_read():
    with pytest.raises(BadValue, match="document 'a' has neither a uri nor a blob"):
        Document(id="a").load_uri_to_vertices_and_faces()
    with pytest.raises(UnsupportedFormat, match="give file_type=, one of glb"):
        Document(blob=b"\0" * 9).load_uri_to_vertices_and_faces()
    with pytest.raises(UnknownName, match="'stp'"):
        Document(blob=b"\0" * 9).load_uri_to_vertices_and_faces(file_type="stp")


# ------------------------------------------------------------------------------------------------ colour and depth


def images(tmp_path, depth, size=(5, 4)):
    colour = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3)
    pillow.fromarray(colour).save(tmp_path / "colour.png")
    pillow.fromarray(depth).save(tmp_path / "depth.tiff")
    return colour, Document(
        chunks=[Document(uri=tmp_path / "colour.png"), Document(uri=tmp_path / "depth.tiff")]
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_depth_keeps_its_values(tmp_path, dtype):
    depth = (np.arange(20) * (12 if dtype == "uint8" else 3000.25)).astype(dtype).reshape(4, 5)
    colour, doc = images(tmp_path, depth)

    doc.load_uris_to_rgbd_tensor()

    assert (dtype, (4, 5, 4)) == (doc.tensor.dtype, doc.tensor.shape)
    assert np.array_equal(colour, doc.tensor[..., :3])
    assert np.array_equal(depth, doc.tensor[..., 3])


def test_colour_and_depth_that_do_not_fit(tmp_path):
    _, doc = images(tmp_path, np.zeros((4, 5), dtype=np.uint8))
    doc.chunks.append(Document())
    with pytest.raises(ValueError, match="there are 3"):
        doc.load_uris_to_rgbd_tensor()
    del doc.chunks[2]
    doc.chunks[1].uri = None
    with pytest.raises(ValueError, match="chunk 1, the depth image, has no uri"):
        doc.load_uris_to_rgbd_tensor()
    doc.chunks[1].uri = doc.chunks[0].uri
    with pytest.raises(ValueError, match="3 channels"):
        doc.load_uris_to_rgbd_tensor()
    _, doc = images(tmp_path, np.zeros((5, 4), dtype=np.uint8))
    with pytest.raises(ValueError, match="5 x 4 and 4 x 5 pixels"):
        doc.load_uris_to_rgbd_tensor()
    with pytest.raises(UnsupportedFormat, match="max_pixels=9"):
        doc.load_uris_to_rgbd_tensor(max_pixels=9)
    (tmp_path / "depth.tiff").write_bytes(b"no image")
    with pytest.raises(CorruptData, match=r"depth\.tiff"):
        doc.load_uris_to_rgbd_tensor()
    assert doc.tensor is None


# ------------------------------------------------------------------------------------------------ what strangers wrote

PLY = b"ply\nformat %s 1.0\nelement vertex %s\nproperty float x\nproperty float y\nproperty float z\nend_header\n"

HOSTILE = {
    "binary stl of 4e9 faces": ("stl", b"\0" * 80 + b"\xff\xff\xff\xff" + b"\0" * 500),
    "binary stl cut off": ("stl", b"\0" * 80 + b"\x02\0\0\0" + b"\0" * 99),
    "stl without end": (
        "stl",
        b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\n",
    ),
    "ply of 4e9 vertices in text": ("ply", PLY % (b"ascii", b"4000000") + b"0 0 0\n" * 9),
    "ply of 4e9 vertices": ("ply", PLY % (b"binary_little_endian", b"4000000") + b"\0" * 120),
    "ply of no number": ("ply", PLY % (b"ascii", b"-5") + b"0 0 0\n" * 9),
    "ply of a number without end": ("ply", PLY % (b"ascii", b"9" * 5000) + b"0 0 0\n"),
    "ply without a header's end": ("ply", b"ply\n" + b"comment x\n" * 20_000),
    "ply that leads nowhere": ("ply", b"ply\nformat ascii 1.0\nend_header\n"),
    "off cut off": ("off", b"OFF\n900000 900000 0\n0 0 0\n"),
    "off without counts": ("off", b"OFF\n"),
    "obj without points": ("obj", b"f 1 2 3\n"),
    "obj of missing points": ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4000000000\n"),
    "obj of half a number": ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 2 x\nf 1 2 3\n"),
    "obj of nan": ("obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    "glb cut off": ("glb", glb(triangle_tree(), TRIANGLE)[:-9]),
    "glb of 4 GB of header": ("glb", b"glTF\x02\0\0\0\xff\xff\xff\xff\xf0\xff\xff\xffJSON{}"),
    "glb whose chunk is longer": (
        "glb",
        glb(triangle_tree(), TRIANGLE).replace(b"$\0\0\0BIN", b"\xff\xff\0\0BIN"),
    ),
    "glb of no tree": ("glb", glb([])),
    "glb nested": ("gltf", b"[" * 100_000),
    "glb of one node below two": (
        "glb",
        glb(triangle_tree(nodes=[{"children": [1, 2]}, {"children": [2]}, {"mesh": 0}]), TRIANGLE),
    ),
    "glb in a circle": (
        "glb",
        glb(triangle_tree(nodes=[{"children": [1]}, {"children": [0], "mesh": 0}]), TRIANGLE),
    ),
    "glb of faces beyond": (
        "glb",
        glb(
            triangle_tree(
                meshes=[{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
                accessors=[
                    {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
                    {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
                ],
                bufferViews=[
                    {"buffer": 0, "byteLength": 36},
                    {"buffer": 0, "byteLength": 12, "byteOffset": 36},
                ],
            ),
            TRIANGLE + b"\xff" * 12,
        ),
    ),
    "glb of a negative count": (
        "glb",
        glb(
            triangle_tree(accessors=[{"bufferView": 0, "componentType": 5126, "count": -3, "type": "VEC3"}]),
            TRIANGLE,
        ),
    ),
    "nothing": ("obj", b""),
}

TOO_MUCH = {
    "accessors of 4e9 numbers": (
        "glb",
        glb(
            triangle_tree(
                accessors=[
                    {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
                    {"componentType": 5126, "count": 1 << 32, "type": "MAT4"},
                ]
            ),
            TRIANGLE,
        ),
    ),
    "the same triangle a million times": (
        "glb",
        glb(
            triangle_tree(
                scenes=[{"nodes": list(range(4000))}],
                nodes=[{"mesh": 0}] * 4000,
                meshes=[{"primitives": [{"attributes": {"POSITION": 0}}] * 1000}],
            ),
            TRIANGLE,
        ),
    ),
    "the same bytes often": (
        "glb",
        glb(triangle_tree(bufferViews=[{"buffer": 0, "byteLength": 1 << 30}]), TRIANGLE),
    ),
    "compressed": (
        "glb",
        glb(
            triangle_tree(
                accessors=[{"componentType": 5126, "count": 3, "type": "VEC3"}],
                meshes=[
                    {
                        "primitives": [
                            {"attributes": {"POSITION": 0}, "extensions": {"KHR_draco_mesh_compression": {}}}
                        ]
                    }
                ],
            ),
            TRIANGLE,
        ),
    ),
    "many objects": ("obj", b"v 0 0 0\n" * 70_000 + b"".join(b"o %d\nf 1 2 3\n" % n for n in range(70_000))),
    "many points": ("xyz", b"0 0 0\n" * 100_001),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_says_what_is_not_so(name, tmp_path):
    kind, data = HOSTILE[name]
    (tmp_path / f"a.{kind}").write_bytes(data)
    doc = Document(id="stranger", uri=tmp_path / f"a.{kind}", chunks=[Document(text="kept")])

    with pytest.raises(CorruptData) as caught:
        doc.load_uri_to_vertices_and_faces()

    assert "document 'stranger'" in str(caught.value)
    assert f"a.{kind}" in str(caught.value)
    assert ["kept"] == doc.chunks.texts
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_file_of_more_than_is_read(name):
    kind, data = TOO_MUCH[name]

    with pytest.raises(UnsupportedFormat):
        mesh.decode(data, kind, max_items=100_000)


def test_the_limits_are_parameters():
    data = written(sphere(), "ply")
    assert len(mesh.decode(data, max_items=320)) == len(mesh.decode(data, max_items=None)) == 1
    for number in (100, 319):
        with pytest.raises(UnsupportedFormat, match=f"max_items={number}"):
            mesh.decode(data, max_items=number)
    with pytest.raises(BadValue, match="max_items=0"):
        mesh.decode(data, max_items=0)


def test_a_gltf_reads_from_its_own_folder_and_from_no_other(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a b.bin").write_bytes(TRIANGLE)
    (tmp_path / "secret.bin").write_bytes(TRIANGLE)
    (inner / "link.bin").symlink_to(tmp_path / "secret.bin")
    path = inner / "a.gltf"

    def read(name):
        path.write_text(json.dumps(triangle_tree(buffers=[{"byteLength": 36, "uri": name}])))
        return Document(uri=path).load_uri_to_vertices_and_faces().chunks[0].tensor.tolist()

    assert [[0, 0, 0], [1, 0, 0], [0, 1, 0]] == read("a%20b.bin")
    inline = base64.b64encode(TRIANGLE).decode()
    assert 3 == len(read(f"data:application/octet-stream;base64,{inline}"))
    for name in (
        "../secret.bin",
        "%2e%2e/secret.bin",
        str(tmp_path / "secret.bin"),
        "link.bin",
        "http://host/a.bin",
        ".",
    ):
        with pytest.raises(BadUri, match="not in the folder"):
            read(name)
    with pytest.raises(FileNotFoundError):
        read("none.bin")
    with pytest.raises(UnsupportedFormat, match=r"save it as one \.glb file"):
        mesh.decode(path.read_bytes(), "gltf")


def test_damage_anywhere_is_our_error_or_a_mesh():
    random_bytes = random.Random(5)
    whole = {kind: written(trimesh.creation.icosphere(1), kind) for kind in FORMATS}
    for number in range(300):
        kind = FORMATS[number % len(FORMATS)]
        data = bytearray(whole[kind])
        if number % 3:
            for _ in range(number % 7 + 1):
                data[random_bytes.randrange(min(len(data), 900))] = random_bytes.randrange(256)
        else:
            del data[random_bytes.randrange(len(data)) :]
        try:
            for each in mesh.decode(bytes(data), kind):
                assert np.isfinite(each.vertices).all()
                assert each.faces.max(initial=0) < len(each.vertices)
        except DocArrayError:
            pass


def test_hostile_files_take_little_memory(tmp_path):
    """All of them in 2 GB of address space, of which Python and its libraries take more than half."""
    resource = pytest.importorskip("resource", reason="limits of memory are of Unix")
    assert resource
    for number, (kind, data) in enumerate({**HOSTILE, **TOO_MUCH}.values()):
        (tmp_path / f"{number}.{kind}").write_bytes(data)
    code = """if True:
        import os, resource, sys
        import trimesh
        from docarray.errors import DocArrayError
        from docarray.media import mesh
        os.chdir(sys.argv[1])
        used = int(open('/proc/self/statm').read().split()[0]) * os.sysconf('SC_PAGE_SIZE')
        resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)
        for name in os.listdir('.'):
            try:
                mesh.decode(name, max_items=100_000)
            except DocArrayError:
                continue
            raise SystemExit(name)
    """
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the size of a process is read from /proc, which is of Linux")

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


# ------------------------------------------------------------------------------------------------ manners


def test_nothing_is_logged_and_loggers_are_as_they_were(caplog, capfd):
    logger = logging.getLogger("trimesh")
    before = logger.propagate, list(logger.handlers)
    filters = list(warnings.filters)

    with caplog.at_level(logging.DEBUG):
        for kind, data in HOSTILE.values():
            with pytest.raises(DocArrayError):
                mesh.decode(data, kind)

    assert not [record for record in caplog.records if record.name.startswith("trimesh")]
    assert before == (logger.propagate, list(logger.handlers))
    assert filters == list(warnings.filters)
    assert ("", "") == tuple(capfd.readouterr())


def test_half_read_text_is_an_error_even_if_somebody_was_warned_of_it_before():
    kind, data = HOSTILE["obj of half a number"]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("default")
        with suppress(ValueError):  # a newer numpy raises by itself
            trimesh.load_scene(io.BytesIO(data), file_type=kind)
        for _ in range(2):
            with pytest.raises(CorruptData, match="could not be read"):
                mesh.decode(data, kind)


def test_several_threads_at_a_time():
    data, found = written(sphere(), "stl"), []
    logger = logging.getLogger("trimesh")
    before = logger.propagate, list(logger.handlers)

    def work():
        found.extend(len(mesh.vertices_and_faces(data)[0]) for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [162] * 40 == found
    assert before == (logger.propagate, list(logger.handlers))


def test_trimesh_is_imported_when_it_is_used():
    code = "import sys, docarray.media.mesh; print('trimesh' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False" == done.stdout.strip()


def test_without_trimesh_it_says_what_to_install():
    code = """if True:
        import sys
        sys.modules['trimesh'] = None
        from docarray import Document
        from docarray.errors import MissingExtra
        try:
            Document(blob=b'v 0 0 0').load_uri_to_vertices_and_faces(file_type='obj')
        except MissingExtra as error:
            print(error)
    """

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert 'pip install "docarray[media]"' in done.stdout
