"""Meshes and points: files of 3D models to vertices, faces and points of their surface, and back; colour with depth.

Rule 1: a file is looked at before trimesh is: what it says it holds must be in it, and within the limits.
Rule 2: a file does not lead to others, but for the buffers of a glTF file in its own folder. Materials are not read.
Rule 3: geometries come placed as their scene places them; coordinates are float64, faces three int64 each.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from docarray import files, tensors
from docarray.document import Document
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    DocArrayError,
    ShapeError,
    UnknownField,
    UnknownName,
    UnsupportedFormat,
    near_miss,
)
from docarray.media import fetch, image
from docarray.media.quiet import quiet
from docarray.registry import require

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "FORMATS",
    "MAX_ITEMS",
    "Geometry",
    "MissingChunks",
    "decode",
    "encode",
    "joined",
    "load_uri_to_point_cloud_tensor",
    "load_uri_to_vertices_and_faces",
    "load_uris_to_rgbd_tensor",
    "load_vertices_and_faces_to_point_cloud",
    "sample",
    "save_mesh_to_file",
    "vertices_and_faces",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FORMATS: Final = ("glb", "gltf", "obj", "off", "ply", "stl", "xyz")
"""The formats that are read."""

MAX_ITEMS: Final = 10_000_000
"""Vertices, and as many faces, that are read into one document at most, unless `max_items` says otherwise."""

_WRITTEN: Final = ("glb", "obj", "off", "ply", "stl")
_OF_POINTS: Final = ("ply", "xyz")  # formats that hold points without faces
_BY_MEDIA_TYPE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "application/sla": "stl",
        "application/vnd.ms-pki.stl": "stl",
        "application/x-ply": "ply",
        "model/gltf+json": "gltf",
        "model/gltf-binary": "glb",
        "model/mesh": "off",
        "model/obj": "obj",
        "model/off": "off",
        "model/ply": "ply",
        "model/stl": "stl",
        "model/x.stl-ascii": "stl",
        "model/x.stl-binary": "stl",
        "text/prs.wavefront-obj": "obj",
    }
)
_LONGEST_HEADER: Final = 1 << 16  # bytes of a PLY header
_MOST_BUFFERS: Final = 1024  # of a glTF file
_MOST_STEPS: Final = 5_000_000  # from nodes of a scene up to its root, in all
_MOST_PASSES: Final = 4_000_000_000  # over vertices, each object of an OBJ file making one
_COMPONENTS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_FAN: Final = 6  # a kind of primitive that trimesh passes over

_ELEMENT: Final = re.compile(rb"^element[ \t]+(\S+)[ \t]+(\S+)[ \t]*\r?$", re.MULTILINE)
_COUNTS: Final = re.compile(rb"\s*(?:#[^\n]*\n\s*)*C?OFF\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)[^\n]*\n?")
_OBJECT: Final = re.compile(rb"\no (.*)")
_REMARK: Final = re.compile(rb"[ \t]#[^\r\n]*")
_OBJ_LINE: Final = re.compile(rb"^(?:v|vn|vt|f|o|g|l|p|s|usemtl|mtllib)[ \t]", re.MULTILINE)


class MissingChunks(UnknownField, BadValue):
    """A document lacks the chunks 'vertices' and 'faces' that a mesh is made of; also an AttributeError."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A mesh, or without faces the points that are its vertices."""

    name: str
    """What its file calls it; '' where it does not."""
    vertices: Floats
    """(n, 3) coordinates."""
    faces: Ints
    """(m, 3) numbers of vertices; m is 0 for points."""


# ------------------------------------------------------------------------------------------------ reading


def decode(
    source: files.Source,
    file_type: str | None = None,
    *,
    max_items: int | None = MAX_ITEMS,
) -> list[Geometry]:
    """The geometries of a file, each as often as its scene shows it, and placed where the scene puts it.

    Vertices that are the same point are one, but in glTF files, where they stay as they are. Points of a cloud that are
    not finite are left out. Curves, materials and textures are not read.

    Args:
        source: bytes, a path, a URL of fsspec, or a file opened in binary mode.
        file_type: one of `FORMATS`; else by the suffix of the path, or by the first bytes.
        max_items: vertices, and as many faces, that are taken at most; None is no limit.

    Raises:
        CorruptData: it is damaged, cut off, or says of itself what is not so. UnsupportedFormat: it is of another
        format, compressed by an extension of glTF, or more than `max_items`. BadUri: it names a file elsewhere.
        FileNotFoundError: nothing is there.

    Costs what trimesh takes, whose import takes a second or two.

    >>> square = b'v 0 0 0\\nv 1 0 0\\nv 1 1 0\\nv 0 1 0\\nf 1 2 3 4\\n'
    >>> [(each.vertices.shape, each.faces.tolist()) for each in decode(square, 'obj')]
    [((4, 3), [[0, 1, 2], [2, 3, 0]])]
    """
    data = source if isinstance(source, bytes) else bytes(files.read_all(source))
    kind = _kind(data, file_type, files.suffixes(source), "")
    path = files.path_of(source)
    return _decoded(data, kind, None if path is None else os.path.dirname(os.path.abspath(path)), max_items)


def joined(geometries: Sequence[Geometry]) -> Geometry:
    """All meshes among geometries as one; where there are none, all points as one.

    Raises:
        BadValue: there are no geometries.
    """
    if not geometries:
        raise BadValue("there are no geometries to join")
    chosen = [each for each in geometries if len(each.faces)] or list(geometries)
    if len(chosen) == 1:
        return chosen[0]
    faces, count = list[Ints](), 0
    for each in chosen:
        faces.append(each.faces + count)
        count += len(each.vertices)
    return Geometry("", np.concatenate([each.vertices for each in chosen]), np.concatenate(faces))


def vertices_and_faces(
    source: files.Source, file_type: str | None = None, *, max_items: int | None = MAX_ITEMS
) -> tuple[Floats, Ints]:
    """The whole scene of a file as one mesh: float64 (n, 3) coordinates, int64 (m, 3) numbers of vertices.

    A file of points alone has m = 0. Arguments and errors as of `decode`.

    >>> vertices_and_faces(b'0 0 0\\n1 2 3\\n', 'xyz')[0].tolist()
    [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]
    """
    whole = joined(decode(source, file_type, max_items=max_items))
    return whole.vertices, whole.faces


def sample(mesh: Geometry, n: int, seed: int | None = None) -> Floats:
    """Points of the surface of a mesh, spread evenly by area; float64 (n, 3).

    Of a cloud of points `n` are drawn, each once, in their order; of one with fewer all, and then some of them again.

    Args:
        seed: the same points again; None gives others each time. Nobody else's random numbers are touched.

    Raises:
        BadValue: the mesh has no area, or there are no points. ShapeError: it is no mesh.

    >>> corner = Geometry('', np.eye(3), np.array([[0, 1, 2]]))
    >>> points = sample(corner, 5, seed=1)
    >>> points.shape, bool(np.allclose(points.sum(axis=1), 1))
    ((5, 3), True)
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise BadValue(f"samples={n!r}: a number of points, 0 or more, is wanted")
    _check_arrays(mesh.vertices, mesh.faces)
    if not len(mesh.faces):
        return _drawn(mesh.vertices, int(n), seed)
    trimesh = _trimesh()
    with quiet("trimesh"), np.errstate(all="ignore"):
        surface = trimesh.Trimesh(vertices=mesh.vertices, faces=mesh.faces, process=False)
        area = float(surface.area)
        if not 0 < area < np.inf:
            what = "no area" if area == 0 else "coordinates that give it no finite area"
            raise BadValue(
                f"the mesh, of {len(mesh.faces)} faces, has {what}: no points can be drawn from it"
            )
        points = trimesh.sample.sample_surface(surface, int(n), seed=seed)[0]
    return np.array(points, dtype=np.float64)


def _drawn(points: Floats, n: int, seed: int | None) -> Floats:
    count = len(points)
    if not count:
        raise BadValue("there are no points to draw from")
    random = np.random.default_rng(seed)
    if n < count:
        return points[np.sort(random.choice(count, n, replace=False))]
    return np.concatenate([points, points[random.integers(count, size=n - count)]])


def _trimesh() -> Any:
    return require("trimesh", "a mesh", '"docarray[media]"')


def _check_arrays(vertices: Any, faces: Any) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or vertices.dtype.kind not in "fiu":
        raise ShapeError(f"vertices are numbers (n, 3); got {vertices.dtype} {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise ShapeError(f"faces are whole numbers (m, 3); got {faces.dtype} {faces.shape}")
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise ShapeError(
            f"faces name the vertices {faces.min()} to {faces.max()}; there are {len(vertices)}, counted from 0"
        )


def _kind(data: bytes, file_type: str | None, suffixes: Sequence[str], media_type: str) -> str:
    """The format of a file: what is said, but for what the first bytes leave no doubt of."""
    if file_type is not None:
        name = file_type.lower().lstrip(".") if isinstance(cast("object", file_type), str) else file_type
        if name not in FORMATS:
            raise UnknownName(f"no format of meshes is called {file_type!r}. {near_miss(name, FORMATS)}")
        return name
    if data.startswith(b"glTF"):
        return "glb"
    if data.startswith((b"ply\n", b"ply\r")):
        return "ply"
    named = suffixes[-1][1:] if suffixes else ""
    if named in FORMATS:
        return named
    media_type = media_type.partition(";")[0].strip().lower()
    if media_type in _BY_MEDIA_TYPE:
        return _BY_MEDIA_TYPE[media_type]
    head = data[:4096].lstrip()
    if head.startswith((b"OFF", b"COFF")):
        return "off"
    if head.startswith(b"solid") or (len(data) >= 84 and len(data) == 84 + 50 * _faces_of(data)):
        return "stl"
    if head.startswith(b"{") and b'"asset"' in data:
        return "gltf"
    if _OBJ_LINE.search(head):
        return "obj"
    raise UnsupportedFormat(
        f"this is no mesh of a format that is read, or one that cannot be told by its first bytes: "
        f"give file_type=, one of {', '.join(FORMATS)}"
    )


def _decoded(data: bytes, kind: str, folder: str | None, max_items: int | None) -> list[Geometry]:
    if max_items is not None and (
        isinstance(max_items, bool) or not isinstance(max_items, int) or max_items < 1
    ):
        raise BadValue(f"max_items={max_items!r}: it is None or a number of vertices, 1 or more")
    limits = _Limits(max_items)
    trimesh = _trimesh()
    with _reading(kind), quiet("trimesh"), np.errstate(all="ignore"):
        data = _LOOKED_AT[kind](data, limits)
        more = {"split_objects": True, "group_material": False} if kind == "obj" else {}
        scene = trimesh.load_scene(
            io.BytesIO(data),
            file_type=kind,
            resolver=_Beside(folder, limits),
            process=False,
            skip_materials=True,
            **more,
        )
        geometries = list(_placed(trimesh, scene, kind, limits))
    if not geometries:
        raise CorruptData(f"there is neither a mesh nor a point in it, read as {kind}")
    return geometries


@contextmanager
def _reading(kind: str) -> Generator[None]:
    """Within it a parser reads what strangers wrote."""
    try:
        yield
    except (DocArrayError, MemoryError):
        raise
    except OSError as error:
        if error.errno is not None:  # of a file beside it
            raise
        raise _damaged(kind, error) from error
    except Exception as error:  # parsers raise whatever the bytes lead them to
        raise _damaged(kind, error) from error


def _damaged(kind: str, error: BaseException) -> CorruptData:
    said = " ".join(str(error).split())[:200]
    return CorruptData(f"it cannot be read as {kind}: {said or type(error).__name__}")


def _placed(trimesh: Any, scene: Any, kind: str, limits: _Limits) -> Generator[Geometry]:
    """The geometries that a scene shows."""
    made: dict[str, Geometry | None] = {}
    for name, found in scene.geometry.items():
        made[name] = _geometry(trimesh, str(name), found, kind)
    nodes = list(scene.graph.nodes_geometry)
    if not nodes:  # a glTF file need not have a scene
        yield from filter(None, made.values())
        return
    vertices = faces = 0
    for node in nodes:
        matrix, name = scene.graph[node]
        each = made.get(name)
        if each is None:
            continue
        vertices += len(each.vertices)
        faces += len(each.faces)
        limits.check("vertices in its scene", vertices)
        limits.check("faces in its scene", faces)
        yield _moved(each, np.asarray(matrix, dtype=np.float64))


def _geometry(trimesh: Any, name: str, found: Any, kind: str) -> Geometry | None:
    if isinstance(found, trimesh.PointCloud):
        points = np.array(found.vertices, dtype=np.float64).reshape(-1, 3)
        points = points[np.isfinite(points).all(axis=1)]
        return Geometry(name, points, np.empty((0, 3), dtype=np.int64)) if len(points) else None
    if not isinstance(found, trimesh.Trimesh) or not len(found.faces):
        return None
    faces, count = np.asarray(found.faces), len(found.vertices)
    if not 0 <= faces.min() <= faces.max() < count:
        raise CorruptData(
            f"faces of {name!r} name the vertices {faces.min()} to {faces.max()}, and there are {count}"
        )
    if kind not in ("glb", "gltf"):
        found.process()  # only now: it trusts the numbers of vertices
    corners = np.require(found.vertices.view(np.ndarray), np.float64, ("C", "W"))
    if not np.isfinite(corners).all():
        raise CorruptData(f"coordinates of {name!r} are not finite")
    sides = np.require(found.faces.view(np.ndarray), np.int64, ("C", "W"))
    return Geometry(name, corners, sides) if len(sides) else None


def _moved(geometry: Geometry, matrix: Floats) -> Geometry:
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise CorruptData(f"the place of {geometry.name!r} in the scene is no finite matrix of 4 x 4")
    if np.array_equal(matrix, np.eye(4)):
        return geometry
    vertices = geometry.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    # A mirror turns faces inside out, unless their corners are named the other way round.
    faces = geometry.faces[:, ::-1].copy() if np.linalg.det(matrix[:3, :3]) < 0 else geometry.faces
    return Geometry(geometry.name, vertices, faces)


# ------------------------------------------------------------------------------------------------ looking first


class _Limits:
    """How much is taken of a file, whatever it says of itself."""

    def __init__(self, items: int | None) -> None:
        self.items = items

    def check(self, what: str, count: int, each: int = 1) -> None:
        """`count` of something, of which `each` are allowed for one item."""
        if self.items is not None and count > self.items * each:
            raise UnsupportedFormat(
                f"it has {count} {what}, more than max_items={self.items} allows; give a larger number if that is meant"
            )


class _Beside:
    """What a file may lead to: files in its own folder, and in folders of that."""

    def __init__(self, folder: str | None, limits: _Limits) -> None:
        self._folder = None if folder is None else os.path.realpath(folder)
        self._limits = limits
        self._taken = 0

    def get(self, name: str) -> bytes:
        """The bytes of such a file."""
        if self._folder is None:
            raise UnsupportedFormat(
                f"part of it is in the file {name!r:.80}, which is not had: save it as one .glb file, or give a path"
            )
        path = unquote(name)
        inside = os.path.realpath(os.path.join(self._folder, path)) if "\0" not in path else ""
        if (
            not inside.startswith(self._folder.rstrip(os.sep) + os.sep)
            or fetch.scheme_of(path)
            or os.path.isabs(path)
            or "\\" in path
        ):
            raise BadUri(
                f"it leads to {name!r:.80}, which is not followed: it is not in the folder of the file"
            )
        with fetch.opened(inside, schemes=("",)) as stream:
            size = os.fstat(stream.fileno()).st_size
            self._taken += size
            self._limits.check("bytes in other files", self._taken, 64)
            return stream.read()

    __getitem__ = get

    def keys(self) -> list[str]:
        """Nothing: what is not asked for by name is not offered."""
        return []


def _faces_of(data: bytes) -> int:
    """How many faces a binary STL file says it has."""
    return int.from_bytes(data[80:84], "little")


def _as_utf8(data: bytes) -> bytes:
    if data.isascii():
        return data
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1").encode("utf-8")  # names and remarks; numbers are ASCII
    return data


def _look_at_stl(data: bytes, limits: _Limits) -> bytes:
    count = _faces_of(data)
    if len(data) >= 84 and len(data) == 84 + 50 * count:
        limits.check("corners of faces", 3 * count)
        return data
    if not data.lstrip()[:5].lower() == b"solid":
        raise CorruptData(
            f"a binary STL file of {count} faces has {84 + 50 * count} bytes; this has {len(data)}"
            if len(data) >= 84
            else "it has neither the 84 bytes that a binary STL file begins with nor the word 'solid'"
        )
    if not data.rstrip().rpartition(b"\n")[2].strip().lower().startswith(b"endsolid"):
        raise CorruptData("an STL file in text ends with a line 'endsolid': this one was cut off")
    limits.check("corners of faces", data.count(b"vertex") + data.count(b"VERTEX"))
    return _as_utf8(data)


def _look_at_ply(data: bytes, limits: _Limits) -> bytes:
    end = data.find(b"end_header", 0, _LONGEST_HEADER)
    start = data.find(b"\n", end) + 1
    if end < 0 or not start:
        raise CorruptData("a PLY file has a line 'end_header' in its first 64 KiB: this has none")
    header, total = data[:start], 0
    for name, number in _ELEMENT.findall(header):
        if not number.isdigit() or len(number) > 18:
            raise CorruptData(f"{number[:40]!r} is no number of elements {name[:40]!r}")
        if name in (b"vertex", b"face"):
            limits.check("vertices" if name == b"vertex" else "faces", int(number))
        total += int(number)
    if re.search(rb"^format[ \t]+ascii", header, re.MULTILINE):
        lines = data.count(b"\n", start) + (not data.endswith(b"\n"))
        if lines < total:
            raise CorruptData(f"it says it has {total} elements, and has {lines} lines: it was cut off")
        return _as_utf8(data)
    if total > len(data) - start:
        raise CorruptData(
            f"it says it has {total} elements, and has {len(data) - start} bytes: it was cut off"
        )
    return data


def _look_at_off(data: bytes, limits: _Limits) -> bytes:
    counts = _COUNTS.match(data)
    if counts is None or max(len(counts[1]), len(counts[2])) > 18:
        raise CorruptData(
            "an OFF file begins with 'OFF' and the numbers of its vertices and faces: this does not"
        )
    vertices, faces = int(counts[1]), int(counts[2])
    limits.check("vertices", vertices)
    limits.check("faces", faces)
    lines = data.count(b"\n", counts.end()) + (not data.endswith(b"\n"))
    if lines < vertices + faces:
        raise CorruptData(
            f"it says it has {vertices} vertices and {faces} faces, and has {lines} lines: it was cut off"
        )
    return _as_utf8(data)


def _look_at_obj(data: bytes, limits: _Limits) -> bytes:
    vertices = data.count(b"\nv ") + data.startswith(b"v ")
    limits.check("vertices", vertices)
    limits.check("faces", data.count(b"\nf") + data.startswith(b"f"))
    objects = data.count(b"\no ")
    if (
        objects * vertices > _MOST_PASSES
        and (objects := len(set(_OBJECT.findall(data)))) * vertices > _MOST_PASSES
    ):
        raise UnsupportedFormat(
            f"it has {objects} objects and {vertices} vertices, more than are read in bearable time: split it"
        )
    return _as_utf8(_REMARK.sub(b"", data) if _has_remarks(data) else data)


def _has_remarks(data: bytes) -> bool:
    """Whether a line has one behind its numbers, which trimesh takes for more of them."""
    at = data.find(b"#")  # of one letter: five times as fast as of two
    while at >= 0:
        if at and data[at - 1] in b" \t":
            return True
        at = data.find(b"#", at + 1)
    return False


def _look_at_xyz(data: bytes, limits: _Limits) -> bytes:
    limits.check("points", data.count(b"\n"))
    return _as_utf8(data)


def _look_at_glb(data: bytes, limits: _Limits) -> bytes:
    if len(data) < 20:
        raise CorruptData(f"a GLB file has 20 bytes or more; this has {len(data)}")
    said, header = int.from_bytes(data[8:12], "little"), int.from_bytes(data[12:16], "little")
    if said > len(data) or header > len(data) - 20:
        raise CorruptData(
            f"it says it has {max(said, header + 20)} bytes, and has {len(data)}: it was cut off"
        )
    _look_at_tree(json.loads(data[20 : 20 + header]), limits, len(data))
    return data


def _look_at_gltf(data: bytes, limits: _Limits) -> bytes:
    _look_at_tree(json.loads(data), limits, len(data))
    return data


def _look_at_tree(tree: Any, limits: _Limits, size: int) -> None:
    """What a glTF file says: that it does not show the same thing more often than there is room for."""
    if len(tree.get("buffers", ())) > _MOST_BUFFERS:
        raise UnsupportedFormat(f"it has {len(tree['buffers'])} buffers; {_MOST_BUFFERS} are read")
    views = sum(view["byteLength"] for view in tree.get("bufferViews", ()))
    if views > 2 * size:
        limits.check("bytes in views of its buffers", views, 64)
    accessors: Any = tree.get("accessors", [])
    numbers = 0
    for each in accessors:
        if not each["count"] >= 0:
            raise CorruptData(f"an accessor has a count of {each['count']!r:.40}")
        numbers += each["count"] * _COMPONENTS[each["type"]]
    limits.check("numbers in accessors", numbers, 16)
    vertices, faces = list[int](), list[int]()
    for mesh in tree.get("meshes", ()):
        counts = [_look_at_primitive(each, accessors) for each in mesh["primitives"]]
        vertices.append(sum(count for count, _ in counts))
        faces.append(sum(count for _, count in counts))
    limits.check("vertices", sum(vertices))
    limits.check("corners of faces", sum(faces), 3)
    _look_at_nodes(tree, vertices, limits)


def _look_at_primitive(primitive: Any, accessors: Any) -> tuple[int, int]:
    """How many vertices it has, and how many corners its faces have."""
    positions = accessors[primitive["attributes"]["POSITION"]]
    extensions: Iterable[str] = primitive.get("extensions", ())
    for each in (positions, *([accessors[primitive["indices"]]] if "indices" in primitive else [])):
        if "bufferView" not in each or "sparse" in each:
            how = f"compressed by {', '.join(extensions)}" if extensions else "kept in sparse accessors"
            raise UnsupportedFormat(f"its geometry is {how}, which is not read: save it without")
    if positions.get("normalized"):
        raise UnsupportedFormat(
            "its coordinates are normalised whole numbers, which are not read: save it as floats"
        )
    if primitive.get("mode") == _FAN:
        raise UnsupportedFormat("it has fans of triangles, which are not read: save it as triangles")
    corners = accessors[primitive["indices"]]["count"] if "indices" in primitive else positions["count"]
    return positions["count"], corners


def _look_at_nodes(tree: Any, vertices: list[int], limits: _Limits) -> None:
    nodes: Any = tree.get("nodes", [])
    above: dict[int, int] = {}
    for number, node in enumerate(nodes):
        for child in node.get("children", ()):
            if child in above:
                raise CorruptData(
                    f"node {child} of the scene hangs below two others, {above[child]} and {number}"
                )
            above[child] = number
    scenes = tree.get("scenes")
    below = cast("list[int]", list(scenes[tree.get("scene", 0)].get("nodes", ())) if scenes else [])
    if any(root in above for root in below):
        raise CorruptData("a root of the scene hangs below another node")
    # Each node has one above it at most, and the roots have none: there are no circles below them.
    shown, steps, depth = 0, 0, 0
    while below:
        depth += 1
        steps += depth * len(below)
        if steps > _MOST_STEPS:
            raise UnsupportedFormat("the nodes of its scene stand too deep below each other")
        for each in below:
            if "mesh" in nodes[each]:
                shown += vertices[int(nodes[each]["mesh"])]
        below = [child for each in below for child in nodes[each].get("children", ())]
    limits.check("vertices in its scene", shown)


_LOOKED_AT: Final = MappingProxyType(
    {
        "glb": _look_at_glb,
        "gltf": _look_at_gltf,
        "obj": _look_at_obj,
        "off": _look_at_off,
        "ply": _look_at_ply,
        "stl": _look_at_stl,
        "xyz": _look_at_xyz,
    }
)


# ------------------------------------------------------------------------------------------------ writing


def encode(vertices: Any, faces: Any = None, file_type: str = "ply") -> bytes:
    """A mesh, or without faces points, as the bytes of a file.

    Coordinates are float32 in glb, ply and stl; obj and off are text of eight and ten decimals. stl keeps no vertices
    that faces share, and those of no face are lost.

    Args:
        vertices: (n, 3) numbers.
        faces: (m, 3) numbers of vertices; None or m = 0 for points, which 'ply' and 'xyz' hold.
        file_type: 'glb', 'obj', 'off', 'ply', 'stl' or 'xyz'.

    Raises:
        ShapeError: the arrays are no mesh. UnknownName: there is no such format. UnsupportedFormat: it holds no points.

    >>> encode(np.eye(3), [[0, 1, 2]], 'off').split()[:4]
    [b'OFF', b'3', b'1', b'0']
    """
    corners = np.asarray(tensors.to_numpy(vertices))
    sides = np.empty((0, 3), dtype=np.int64) if faces is None else np.asarray(tensors.to_numpy(faces))
    _check_arrays(corners, sides)
    known = (*_WRITTEN, "xyz")
    name = file_type.lower().lstrip(".")
    if name not in known:
        raise UnknownName(f"meshes are not written as {file_type!r}. {near_miss(name, known)}")
    fitting = _WRITTEN if len(sides) else _OF_POINTS
    if name not in fitting:
        what = "a mesh" if len(sides) else "points without faces"
        raise UnsupportedFormat(f"{name} does not hold {what}: these do: {', '.join(fitting)}")
    trimesh = _trimesh()
    with quiet("trimesh"), np.errstate(all="ignore"):
        if len(sides):
            written = trimesh.Trimesh(vertices=corners, faces=sides, process=False)
        else:
            written = trimesh.PointCloud(corners)
        data = written.export(file_type=name)
    return data.encode("utf-8") if isinstance(data, str) else bytes(data)


# ------------------------------------------------------------------------------------------------ documents


def _of(
    doc: Document,
    file_type: str | None,
    max_items: int | None,
    timeout: float | None,
    max_size: int | None,
    schemes: Collection[str] | None,
) -> list[Geometry]:
    """The geometries at the uri of a document, or in its blob where it has no uri."""
    folder, suffixes = None, list[str]()
    if doc.uri:
        data = fetch.of_document(doc, timeout=timeout, max_size=max_size, schemes=schemes)
        if fetch.scheme_of(doc.uri) != "data":
            suffixes = files.suffixes(doc.uri)
            path = files.path_of(doc.uri) if fetch.scheme_of(doc.uri) in ("", "file") else None
            folder = None if path is None else os.path.dirname(os.path.abspath(path))
    elif doc.blob:
        data = doc.blob
    else:
        raise BadValue(f"document {doc.id!r} has neither a uri nor a blob: there is no mesh to read")
    return _decoded(data, _kind(data, file_type, suffixes, doc.mime_type), folder, max_items)


def load_uri_to_point_cloud_tensor(
    doc: Document,
    samples: int,
    as_chunks: bool = False,
    *,
    seed: int | None = None,
    file_type: str | None = None,
    max_items: int | None = MAX_ITEMS,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Collection[str] | None = None,
) -> None:
    """Sets the tensor to points of the surface at the uri, or in the blob where there is no uri: float64 (samples, 3).

    Args:
        samples: how many points. A file of points gives them in their order, each once as long as there are enough.
        as_chunks: adds a chunk for each geometry instead, of so many points each; its tag `name` is what the file
            calls it, its coordinates are those in the scene.
        seed: the same points again.
        file_type, max_items: see `decode`.
        timeout, max_size, schemes: see `docarray.media.fetch.read`.

    Raises:
        CorruptData, UnsupportedFormat, BadUri: see `decode`. BadValue: there is neither uri nor blob, or no area.
    """
    with fetch.naming(doc):
        geometries = _of(doc, file_type, max_items, timeout, max_size, schemes)
        if not as_chunks:
            doc.tensor = sample(joined(geometries), samples, seed)
            return
        chunks = [
            Document(tensor=sample(each, samples, seed), tags={"name": each.name}, modality="mesh")
            for each in geometries
        ]
    doc.chunks.extend(chunks)


def load_uri_to_vertices_and_faces(
    doc: Document,
    *,
    file_type: str | None = None,
    max_items: int | None = MAX_ITEMS,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Collection[str] | None = None,
) -> None:
    """Makes two chunks of the mesh at the uri, or in the blob where there is no uri, in place of those there were.

    By their tag `name` they are 'vertices', float64 (n, 3), and 'faces', int64 (m, 3). Options and errors as of
    `load_uri_to_point_cloud_tensor`. A scene becomes one mesh; a file of points has m = 0.
    """
    with fetch.naming(doc):
        whole = joined(_of(doc, file_type, max_items, timeout, max_size, schemes))
    doc.chunks = [
        Document(tensor=whole.vertices, tags={"name": "vertices"}),
        Document(tensor=whole.faces, tags={"name": "faces"}),
    ]


def _of_chunks(doc: Document) -> Geometry | None:
    """The mesh that the chunks of a document are; None where they are none."""
    found: dict[str, Any] = {}
    for chunk in doc.chunks:
        name = chunk.tags.get("name")
        if name in ("vertices", "faces") and chunk.tensor is not None:
            found[name] = np.asarray(tensors.to_numpy(chunk.tensor))
    if len(found) < 2:
        return None
    return Geometry("", found["vertices"], found["faces"])


def load_vertices_and_faces_to_point_cloud(doc: Document, samples: int, *, seed: int | None = None) -> None:
    """Sets the tensor to points of the surface that the chunks 'vertices' and 'faces' are: float64 (samples, 3).

    Raises:
        MissingChunks: there are none of these names with a tensor; also an AttributeError. BadValue: no area.
    """
    with fetch.naming(doc):
        mesh = _of_chunks(doc)
        if mesh is None:
            raise MissingChunks(
                f"document {doc.id!r} has no chunks with tags['name'] 'vertices' and 'faces' and a tensor each: "
                "load_uri_to_vertices_and_faces() makes them"
            )
        doc.tensor = sample(mesh, samples, seed)


def load_uris_to_rgbd_tensor(
    doc: Document,
    *,
    max_pixels: int | None = image.MAX_PIXELS,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Collection[str] | None = None,
) -> None:
    """Sets the tensor to the colour of the image at the uri of the first chunk, and the depth at that of the second.

    It is (height, width, 4): red, green, blue in [0, 255], and depth as it is in the file. The dtype is that of the
    depth: uint8, of 16 bits uint16, of 32 bits int32 or float32; no value is lost.

    Raises:
        BadValue: there are not two chunks with uris, the images differ in size, or the depth has several channels.
        CorruptData, UnsupportedFormat: one is no image, or of more than `max_pixels`.
    """
    with fetch.naming(doc):
        if len(doc.chunks) != 2:
            raise BadValue(
                f"colour and depth are two chunks, each with a uri, in this order; there are {len(doc.chunks)}"
            )
        found: list[Any] = []
        for number, chunk in enumerate(doc.chunks):
            if not chunk.uri:
                raise BadValue(f"chunk {number}, the {('colour', 'depth')[number]} image, has no uri")
            data = fetch.of_document(chunk, timeout=timeout, max_size=max_size, schemes=schemes)
            with fetch.naming(chunk):
                found.append(image.decode(data, mode=None if number else "RGB", max_pixels=max_pixels))
        colour, depth = found
        if depth.ndim != 2:
            raise BadValue(
                f"the depth image has {depth.shape[2]} channels, and not one: {depth.dtype} {depth.shape}"
            )
        if colour.shape[:2] != depth.shape:
            raise BadValue(
                f"colour and depth are not of one size: {colour.shape[1]} x {colour.shape[0]} and "
                f"{depth.shape[1]} x {depth.shape[0]} pixels"
            )
    dtype = np.dtype(np.uint8) if depth.dtype == np.bool_ else depth.dtype
    tensor = np.empty((*depth.shape, 4), dtype=dtype)
    tensor[..., :3] = colour
    tensor[..., 3] = depth
    doc.tensor = tensor


def save_mesh_to_file(doc: Document, file: Any, *, file_type: str | None = None) -> None:
    """Writes the chunks 'vertices' and 'faces', or else the points in the tensor (n, 3), to a path, URL or open file.

    Args:
        file_type: see `encode`; else by the suffix of the file, and for a file without one 'ply'.

    Raises:
        BadValue: there is neither a mesh nor points. UnknownName, UnsupportedFormat: see `encode`.
    """
    with fetch.naming(doc):
        suffixes = files.suffixes(file)
        kind = file_type or (suffixes[-1] if suffixes else "ply")
        mesh = _of_chunks(doc)
        if mesh is not None:
            data = encode(mesh.vertices, mesh.faces, kind)
        elif doc.tensor is not None:
            data = encode(doc.tensor, None, kind)
        else:
            raise BadValue(
                f"document {doc.id!r} has neither chunks 'vertices' and 'faces' nor points in its tensor to write"
            )
        with files.writing(file) as target:
            target.write(data)
