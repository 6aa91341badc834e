"""Points and meshes as pictures: three views as a PNG, and a viewer that a page with scripts puts in their place.

Rule 1: the PNG is always there. Whoever takes scripts out of a page (GitHub, a notebook that is not trusted) shows it.
Rule 2: the script is the constant `_VIEWER`; what comes from a document is numbers, in base64, and never text.
Rule 3: both show at most `MOST` points or faces, evenly drawn, and say so.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from docarray.display.facts import count_of, noun
from docarray.display.thumbnail import png
from docarray.errors import ShapeError
from docarray.tensors import Array

__all__ = ["MOST", "colours_of", "scene", "views"]

MOST: Final = 20_000
"""Points, or faces, that are shown at most."""

_SIDE: Final = 240
_SAMPLES: Final = 120_000  # points that a surface is drawn with
_TILTED: Final = (0.5, -0.65)  # radians: down, and to the side
_VIEWS: Final = ((_TILTED[0], _TILTED[1]), (0.0, 0.0), (np.pi / 2, 0.0))
_LIGHT: Final = np.array([0.35, 0.55, 0.76])
# Dark blue, green, yellow: lightness grows with the value, so that it reads without colours as well.
_RAMP: Final = np.array([[68, 62, 140], [38, 130, 142], [68, 178, 114], [214, 205, 50]], float)


def colours_of(values: Array) -> npt.NDArray[np.uint8]:
    """A colour (n, 3) for each of (n,) numbers, from blue over green to yellow; of equal ones that in the middle.

    >>> colours_of(np.array([0.0, 1.0])).tolist()
    [[68, 62, 140], [214, 205, 50]]
    """
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    share = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    at = share * (len(_RAMP) - 1)
    places = np.arange(len(_RAMP))
    return np.stack([np.interp(at, places, _RAMP[:, c]) for c in range(3)], axis=1).round().astype(np.uint8)


def _fitted(points: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Points in a ball of radius 1 around the middle of their box, and which of them are finite."""
    array = np.asarray(points)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iuf":
        raise ShapeError(f"points are (n, 3) numbers; got {array.dtype} {array.shape}")
    coordinates = array.astype(np.float64)
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(coordinates).all(axis=1))
    known = coordinates[finite]
    if len(known):
        low, high = known.min(axis=0), known.max(axis=0)
        middle = low / 2 + high / 2
        with np.errstate(all="ignore"):
            span = float(np.sqrt(((known / 2 - middle / 2) ** 2).sum(axis=1).max())) * 2
            if 0 < span < np.inf:
                coordinates = (coordinates - middle) / span
            else:
                coordinates = np.where(finite[:, None], coordinates * 0.0, np.nan)
    return coordinates, finite


def _turned(points: Array, down: float, aside: float) -> Array:
    """Points as one sees them: x to the right, y up, z towards the eye."""
    c, s = np.cos(aside), np.sin(aside)
    x, y, z = points[:, 0] * c + points[:, 2] * s, points[:, 1], points[:, 2] * c - points[:, 0] * s
    c, s = np.cos(down), np.sin(down)
    return np.stack([x, y * c - z * s, y * s + z * c], axis=1)


def _splat(seen: Array, colours: Array, radius: int) -> Array:
    """Points in front of what is behind them, on a clear ground (side, side, 4)."""
    canvas = np.zeros((_SIDE, _SIDE, 4), np.uint8)
    scale = _SIDE / 2 - radius - 3
    columns = np.rint(_SIDE / 2 + seen[:, 0] * scale).astype(np.intp)
    rows = np.rint(_SIDE / 2 - seen[:, 1] * scale).astype(np.intp)
    order = np.argsort(
        seen[:, 2], kind="stable"
    )  # of equal places the last written counts, which is the nearest
    columns, rows, colours = columns[order], rows[order], colours[order]
    reach = range(-radius, radius + 1)
    offsets = [(r, c) for r in reach for c in reach if r * r + c * c <= radius * radius + 1]
    depth = np.full((_SIDE, _SIDE), -1, np.int64)
    for r, c in offsets:
        np.maximum.at(depth, (rows + r, columns + c), np.arange(len(order)))
    hit = depth >= 0
    canvas[hit, :3] = colours[depth[hit]]
    canvas[hit, 3] = 255
    return canvas


def _surface(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Points spread evenly over the surface, the same ones each time, and the normal at each."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.sqrt((normals**2).sum(axis=1))
    if not areas.sum() > 0:
        return np.zeros((0, 3)), np.zeros((0, 3))
    normals /= np.where(areas > 0, areas, 1.0)[:, None]
    random = np.random.default_rng(0)
    ends, drawn = np.cumsum(areas), random.random(_SAMPLES) * float(areas.sum())
    chosen = np.minimum(cast("Any", np.searchsorted)(ends, drawn), len(faces) - 1)
    u: Array
    v: Array
    u, v = random.random((2, _SAMPLES, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    a, b, c = corners[chosen, 0], corners[chosen, 1], corners[chosen, 2]
    return a + u * (b - a) + v * (c - a), normals[chosen]


def views(points: Array, colours: Array, faces: Array | None = None) -> bytes:
    """A PNG (240, 720) of fitted points, or of the surface that they span: askew, from the front, from above."""
    shown: list[Array] = []
    normals: Array | None = None
    if faces is not None and len(faces):
        points, normals = _surface(points, faces)
        colours = np.full((len(points), 3), 200, np.uint8)
    radius = 1 if normals is not None or len(points) > 2_000 else 2
    for down, aside in _VIEWS:
        seen = _turned(points, down, aside)
        tinted: Array = colours
        if normals is not None:
            light = np.abs(_turned(normals, down, aside) @ _LIGHT).clip(0, 1)[:, None]
            tinted = (
                (np.array([70, 105, 140]) + light * np.array([150, 130, 105])).clip(0, 255).astype(np.uint8)
            )
        elif len(seen):
            near = (0.55 + 0.45 * (seen[:, 2:] + 1) / 2).clip(0, 1)
            tinted = (colours * near).astype(np.uint8)
        shown.append(_splat(seen, tinted, radius))
    return png(np.concatenate(shown, axis=1))


def scene(vertices: Any, faces: Any = None, colours: Any = None) -> tuple[str, str]:
    """Markup of points (n, 3), or of a mesh whose faces are (m, 3) numbers of vertices; and its size in words.

    Args:
        colours: (n, 3) uint8 of points; by height unless given.

    Raises:
        ShapeError: these are no points; or a face names a vertex that is not there.
    """
    points, finite = _fitted(vertices)
    words = noun(len(points), "point")
    notes: list[str] = []
    corners: npt.NDArray[np.int64] | None = None
    if faces is not None and np.size(faces):
        corners = _checked(faces, len(points))
        words = f"{noun(len(points), 'vertex', 'vertices')}, {noun(len(corners), 'face')}"
        corners = corners[finite[corners].all(axis=1)]
        points = np.nan_to_num(points)
        if len(corners) > MOST:
            notes.append(f"{count_of(MOST)} of the faces move")
        picture = views(points, np.zeros((0, 3)), corners)
        corners = _some(corners)
        used, corners = np.unique(corners, return_inverse=True)
        points, corners = points[used], corners.reshape(-1, 3).astype(np.int64)
        tint = np.zeros((0, 3), np.uint8)
    else:
        if not finite.all():
            notes.append(f"{count_of(int((~finite).sum()))} not finite")
        tint = colours_of(points[finite][:, 1]) if colours is None else np.asarray(colours, np.uint8)[finite]
        points = points[finite]
        if len(points) > MOST:
            notes.append(f"{count_of(MOST)} shown")
        points, tint = _some(points), _some(tint)
        picture = views(points, tint)
    said = ", ".join([words, *notes])
    return _markup(points, corners, tint, picture, said), said


def _some(rows: Array) -> Array:
    return rows if len(rows) <= MOST else rows[np.arange(MOST) * len(rows) // MOST]


def _checked(faces: Any, count: int) -> npt.NDArray[np.int64]:
    array = np.asarray(faces)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise ShapeError(f"faces are (m, 3) integers; got {array.dtype} {array.shape}")
    corners = array.astype(np.int64)
    if len(corners) and (corners.min() < 0 or corners.max() >= count):
        raise ShapeError(f"a face names vertex {corners.max()}, and there are {count}, counted from 0")
    return corners


def _packed(array: Array, dtype: str) -> str:
    return b64encode(np.ascontiguousarray(array.astype(dtype)).tobytes()).decode()


def _markup(points: Array, faces: Array | None, tint: Array, picture: bytes, said: str) -> str:
    whole = np.rint(points.clip(-1, 1) * 32767)
    image = f"data:image/png;base64,{b64encode(picture).decode()}"
    data = f'data-points="{_packed(whole, "<i2")}"'
    if faces is not None:
        data += f' data-faces="{_packed(faces, "<u4")}"'
    if len(tint):
        data += f' data-colours="{_packed(tint, "u1")}"'
    return (
        f'<div class="docarray-scene" {data}>'
        f'<img width="{3 * _SIDE}" alt="{said}: askew, from the front, from above" src="{image}"></div>'
        f"<script>{_VIEWER}</script>"
    )


_VIEWER: Final = """
(function () {
  function bytes(text) { return Uint8Array.from(atob(text), function (c) { return c.charCodeAt(0); }); }
  function start(box) {
    box.dataset.live = "1";
    var whole = new Int16Array(bytes(box.dataset.points || "").buffer), n = whole.length / 3;
    var faces = box.dataset.faces ? new Uint32Array(bytes(box.dataset.faces).buffer) : null;
    var tint = box.dataset.colours ? bytes(box.dataset.colours) : null;
    var canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
    if (!pen || !n) { return; }
    var picture = box.querySelector("img"), ratio = Math.min(2, window.devicePixelRatio || 1);
    var wide = 480, high = 360, zoom = 1, down = 0.5, aside = -0.65, drag = null, due = false;
    canvas.width = wide * ratio; canvas.height = high * ratio;
    canvas.style.cssText = "width:" + wide + "px;height:" + high + "px;max-width:100%;display:block;" +
      "cursor:grab;touch-action:none";
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", (picture ? picture.alt : "") + ". Drag or use the arrow keys to turn.");
    if (picture) { picture.style.display = "none"; }
    box.appendChild(canvas);
    var m = faces ? faces.length / 3 : n;
    var x = new Float32Array(n), y = new Float32Array(n), z = new Float32Array(n);
    var depth = new Float32Array(m), order = new Uint32Array(m), count = new Uint32Array(1025);
    function sort() {  /* by counting: the farthest first */
      count.fill(0);
      for (var i = 0; i < m; i++) { count[1 + Math.max(0, Math.min(1023, (depth[i] + 1) * 511 | 0))]++; }
      for (var j = 1; j < 1025; j++) { count[j] += count[j - 1]; }
      for (i = 0; i < m; i++) { order[count[Math.max(0, Math.min(1023, (depth[i] + 1) * 511 | 0))]++] = i; }
    }
    function draw() {
      due = false;
      var ca = Math.cos(aside), sa = Math.sin(aside), cd = Math.cos(down), sd = Math.sin(down), i;
      var scale = Math.min(canvas.width, canvas.height) * 0.47 * zoom, cx = canvas.width / 2, cy = canvas.height / 2;
      for (i = 0; i < n; i++) {
        var a = whole[3 * i] / 32767, b = whole[3 * i + 1] / 32767, c = whole[3 * i + 2] / 32767;
        var t = c * ca - a * sa;
        z[i] = b * sd + t * cd;
        x[i] = cx + (a * ca + c * sa) * scale;
        y[i] = cy - (b * cd - t * sd) * scale;
      }
      pen.clearRect(0, 0, canvas.width, canvas.height);
      if (faces) {
        for (i = 0; i < m; i++) { depth[i] = (z[faces[3 * i]] + z[faces[3 * i + 1]] + z[faces[3 * i + 2]]) / 3; }
      } else { depth.set(z); }
      sort();
      for (var k = 0; k < m; k++) {
        i = order[k];
        if (faces) {
          var p = faces[3 * i], q = faces[3 * i + 1], r = faces[3 * i + 2];
          var ux = (x[q] - x[p]) / scale, uy = (y[p] - y[q]) / scale, uz = z[q] - z[p];
          var vx = (x[r] - x[p]) / scale, vy = (y[p] - y[r]) / scale, vz = z[r] - z[p];
          var nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
          var light = Math.abs(0.35 * nx + 0.55 * ny + 0.76 * nz) / (Math.sqrt(nx * nx + ny * ny + nz * nz) || 1);
          var colour = "rgb(" + (70 + 150 * light | 0) + "," + (105 + 130 * light | 0) + "," +
            (140 + 105 * light | 0) + ")";
          pen.fillStyle = colour; pen.strokeStyle = colour;
          pen.beginPath(); pen.moveTo(x[p], y[p]); pen.lineTo(x[q], y[q]); pen.lineTo(x[r], y[r]); pen.closePath();
          pen.fill(); pen.stroke();
        } else {
          var near = 0.55 + 0.225 * (z[i] + 1), size = (n > 4000 ? 1.4 : 2.6) * ratio;
          pen.fillStyle = tint ? "rgb(" + (tint[3 * i] * near | 0) + "," + (tint[3 * i + 1] * near | 0) + "," +
            (tint[3 * i + 2] * near | 0) + ")" : "#3e84c4";
          pen.fillRect(x[i] - size / 2, y[i] - size / 2, size, size);
        }
      }
      box.dataset.drawn = String(m);
    }
    function ask() { if (!due) { due = true; requestAnimationFrame(draw); } }
    canvas.addEventListener("pointerdown", function (e) {
      drag = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointermove", function (e) {
      if (!drag) { return; }
      aside += (e.clientX - drag[0]) * 0.01; down += (e.clientY - drag[1]) * 0.01;
      down = Math.max(-1.57, Math.min(1.57, down)); drag = [e.clientX, e.clientY]; ask(); });
    canvas.addEventListener("pointerup", function () { drag = null; });
    canvas.addEventListener("wheel", function (e) {
      if (!e.ctrlKey && document.activeElement !== canvas) { return; }
      e.preventDefault(); zoom = Math.max(0.2, Math.min(8, zoom * Math.exp(-e.deltaY * 0.001))); ask();
    }, { passive: false });
    canvas.addEventListener("keydown", function (e) {
      var step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[e.key];
      if (step) { aside += step[0]; down += step[1]; e.preventDefault(); ask(); }
      if (e.key === "+" || e.key === "-") { zoom *= e.key === "+" ? 1.15 : 0.87; ask(); } });
    draw();
  }
  document.querySelectorAll(".docarray-scene:not([data-live])").forEach(start);
})();
"""
