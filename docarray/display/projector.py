"""Embeddings as points: one page that needs nothing else, and the files that TensorFlow's projector opens.

Rule 1: the page is the constants of page.py around one block of base64; what comes from a document is put on it as
        text, by `textContent`, and the page's own policy lets no script run but that of page.py, and no request out.
Rule 2: the same embeddings are the same points each time: principal components, their signs fixed.
Rule 3: a page has at most `MOST` points and some `_TEXT` characters; what was left out is said on it. The files have
        all of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from docarray import progress, tensors
from docarray.array import DocumentArray
from docarray.display import scenes
from docarray.display.facts import Look, brief, count_of, looks, noun, plain
from docarray.display.page import SCRIPT, STYLE
from docarray.display.thumbnail import png
from docarray.document import Document
from docarray.errors import BadValue, CorruptData, MissingEmbedding, ShapeError, UnknownName
from docarray.files import replacing
from docarray.nearest import nearest
from docarray.tensors import Array

__all__ = ["MOST", "Projection", "plot_embeddings", "principal"]

MOST: Final = 50_000
"""Points on a page at most, evenly drawn."""

_NEIGHBOURS: Final = 10
_MOST_NEIGHBOURED: Final = 10_000
_TEXT: Final = 6_000_000
_LONGEST: Final = 200
_MOST_COLUMNS: Final = 24
_ATLAS: Final = 2_048
_LARGEST_ATLAS: Final = 8_192  # pixels a side that TensorFlow's projector takes
_SIZE: Final = (720, 480)
_LEFT_OUT: Final = frozenset(
    "embedding tensor blob scores evaluations chunks matches parent_id granularity adjacency _metadata".split()
)


# ---------------------------------------------------------------------------------------------- numbers


def principal(matrix: Any, components: int = 3) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The rows of a matrix (n, d) along the directions in which they spread most.

    Returns:
        points: (n, components) float64; columns that the data has no direction for are 0.
        shares: (components,) float64, how much of the whole variance each is.

    The largest entry of each direction is positive, so that no picture is the mirror image of the last one.
    Costs a product of the matrix with itself and the eigenvectors of the smaller of (n, n) and (d, d).

    >>> points, shares = principal(np.array([[0.0, 0], [1, 0], [2, 0]]), 2)
    >>> points[:, 0].tolist(), shares.tolist()
    ([-1.0, 0.0, 1.0], [1.0, 0.0])
    """
    centred = np.asarray(matrix, np.float64)
    n, d = centred.shape
    points, shares = np.zeros((n, components)), np.zeros(components)
    if not n or not d:
        return points, shares
    largest = float(np.abs(centred).max()) or 1.0
    centred = centred / largest  # squares of large numbers would leave the range of floats
    centred = centred - centred.mean(axis=0)
    if d <= n:
        values, directions = np.linalg.eigh(centred.T @ centred)
        directions = directions[:, ::-1][:, :components]
    else:
        values, sides = np.linalg.eigh(centred @ centred.T)
        sides = sides[:, ::-1][:, :components]
        lengths = np.sqrt(values[::-1][:components].clip(0))
        directions = centred.T @ sides / np.where(lengths > 0, lengths, 1.0)
    values = values[::-1].clip(0)
    total = float(values.sum())
    kept = min(components, directions.shape[1], len(values))
    if total > 0:
        shares[:kept] = values[:kept] / total
    flip = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    found = centred @ (directions[:, :kept] * np.where(flip[:kept] == 0, 1.0, flip[:kept]))
    points[:, :kept] = np.where(shares[:kept] > 1e-12, found, 0.0) * largest
    return points, shares


def _vectors(array: DocumentArray[Any]) -> tuple[Array, list[int], list[Look], list[str]]:
    """The embeddings that there are (n, d), their positions, and a look at each; what was left out, in words."""
    positions: list[int] = []
    rows: list[Array] = []
    seen: list[Look] = []
    none = odd = 0
    for at, look in enumerate(looks(array, len(array))):
        value = look.value("embedding")
        if value is None:
            none += 1
            continue
        row = np.asarray(tensors.to_numpy(value))
        row = row.reshape(-1) if row.ndim == 2 and row.shape[0] == 1 else row
        if row.ndim != 1 or row.dtype.kind not in "biuf":
            raise ShapeError(
                f"document {look.id!r}: its embedding is {row.dtype} {row.shape}, no vector of numbers"
            )
        if rows and row.shape != rows[0].shape:
            raise ShapeError(
                f"document {look.id!r}: its embedding has {row.shape[0]} numbers, those before it {rows[0].shape[0]}"
            )
        if row.dtype.kind == "f" and not np.isfinite(row).all():
            odd += 1
            continue
        positions.append(at)
        rows.append(row)
        seen.append(look)
    if not rows:
        what = "the array is empty" if not len(array) else "no document has an embedding of finite numbers"
        raise MissingEmbedding(f"{what}: there is nothing to plot. da.embed(model) makes embeddings")
    notes = [f"{noun(none, 'document')} without embedding left out"] if none else []
    if odd:
        notes.append(f"{noun(odd, 'document')} with NaN or infinity left out")
    matrix = np.stack(rows)
    return matrix if matrix.dtype.kind == "f" else matrix.astype(np.float64), positions, seen, notes


def _columns(seen: Sequence[Look], excluded: frozenset[str]) -> dict[str, list[Any]]:
    """What is known of each document by name: fields, and tags as `tags__key`. Empty where a document has none."""
    columns: dict[str, list[Any]] = {"id": [look.id for look in seen]}
    for at, look in enumerate(seen):
        for name, value in look.filled():
            if name in excluded:
                continue
            if name != "tags":
                columns.setdefault(name, [None] * len(seen))[at] = value
                continue
            for key, item in cast("Mapping[Any, Any]", value).items():
                path = f"tags__{key}"
                if path not in excluded:
                    columns.setdefault(path, [None] * len(seen))[at] = item
    return {name: values for name, values in columns.items() if name not in excluded}


def _cell(value: Any, most: int) -> Any:
    """A value as JSON has it: a number, or text of at most `most` characters."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value)
    if isinstance(value, (int, float)) and abs(value) < 2**53:  # NaN is not below
        return value
    text = plain(value[: 4 * most]) if isinstance(value, str) else brief(value, most)
    return text if len(text) <= most else text[: most - 1] + "\u2026"


# ---------------------------------------------------------------------------------------------- the page


def _pixels(points: Array, picked: Any) -> bytes:
    """The first two components as a PNG, coloured by the third: what is there when scripts are not."""
    width, height = _SIZE
    canvas = np.zeros((height, width, 4), np.uint8)
    span = float(np.abs(points[:, :2]).max()) or 1.0
    scale = (min(width, height) / 2 - 10) / span
    columns = np.rint(width / 2 + points[:, 0] * scale).astype(np.intp)
    rows = np.rint(height / 2 - points[:, 1] * scale).astype(np.intp)
    radius = 3 if len(points) <= 500 else 2 if len(points) <= 5_000 else 1
    reach = range(-radius, radius + 1)
    for r in reach:
        for c in reach:
            if r * r + c * c <= radius * radius + 1:
                canvas[rows + r, columns + c, :3] = picked
                canvas[rows + r, columns + c, 3] = 255
    return png(canvas)


def _packed(array: Array, dtype: str) -> str:
    return b64encode(np.ascontiguousarray(array.astype(dtype)).tobytes()).decode()


def _page(title: str, data: Mapping[str, Any]) -> str:
    digest = b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    block = b64encode(json.dumps(data, separators=(",", ":"), allow_nan=False).encode()).decode()
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(plain(title))}</title><style>{STYLE}</style></head><body>"
        f'<script type="text/plain" id="data">{block}</script><script>{SCRIPT}</script></body></html>'
    )


@dataclass(frozen=True, slots=True)
class _Sprites:
    """Thumbnails in one picture: `side` pixels each, in rows."""

    side: int
    picture: Any

    def bytes(self, kind: str) -> bytes:
        target = io.BytesIO()
        self.picture.save(target, kind, **({"quality": 75} if kind == "JPEG" else {}))
        return target.getvalue()


class Projection:
    """Embeddings as points on a page, which a notebook shows; `save` writes it, `serve` opens it to a browser.

    Use it in a `with` block, or call `close()`, where it serves.

    >>> from docarray import Document, DocumentArray
    >>> da = DocumentArray([Document(id=str(i), embedding=[i, i * i, 1]) for i in range(4)])
    >>> with da.plot_embeddings('squares', start_server=False) as projection:
    ...     print(projection, len(projection), projection.url)
    squares: 4 points of 3 numbers 4 None
    """

    def __init__(
        self, title: str, words: str, page: str, picture: bytes, write: Callable[[str], None]
    ) -> None:
        self.title = title
        self.words = words
        self.html = page
        """The page; it needs nothing but itself."""
        self.png = picture
        """The first two components."""
        self.path: str | None = None
        """The folder that `save` wrote to last."""
        self._write = write
        self._server: ThreadingHTTPServer | None = None
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __str__(self) -> str:
        return f"{plain(self.title)}: {self.words}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}{f' at {self.url}' if self.url else ''}>"

    def __fspath__(self) -> str:
        if self.path is None:
            raise BadValue(f"{self}: it was not saved; save(folder) does, or plot_embeddings(path=folder)")
        return self.path

    def save(self, path: str | os.PathLike[str]) -> str:
        """Writes the page and the files of TensorFlow's projector to a folder, which is made; gives the folder.

        `index.html`; `{title}.tsv`, `{title}.metas.tsv` and, with images, `{title}.png`, of all documents that have an
        embedding; `config.json`, in which an entry of the same title is replaced, and others stay.

        Raises:
            CorruptData: there is a `config.json` that is none.
        """
        folder = os.fspath(path)
        os.makedirs(folder, exist_ok=True)
        self._write(folder)
        with replacing(os.path.join(folder, "index.html")) as stream:
            stream.write(self.html.encode())
        self.path = folder
        return folder

    # ------------------------------------------------------------------------------------------ serving

    @property
    def url(self) -> str | None:
        """Where the page is served; None where it is not."""
        if self._server is None:
            return None
        host, port = self._server.server_address[:2]
        name = host.decode() if isinstance(host, bytes) else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def serve(self, host: str = "127.0.0.1", port: int | None = None) -> str:
        """Serves the page from a thread until `close()`, or the end of the process; gives its URL.

        Args:
            port: any free one unless given.

        Raises:
            OSError: the port is taken, or there is no such host.

        Nothing but this page is served, to nobody but who asks by the name or address of this machine.
        """
        if self._server is None:
            self._server = _server(self.html.encode(), host, port or 0)
            threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return cast("str", self.url)

    def close(self) -> None:
        """Ends the serving; what was saved stays."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ notebooks

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        # The page lies over the picture: who takes frames out of a notebook, as GitHub does, shows the picture.
        picture = f"data:image/png;base64,{b64encode(self.png).decode()}"
        said = escape(str(self))
        return (
            '<div style="position:relative;height:600px;max-width:100%">'
            f'<img style="max-width:100%" alt="{said}" src="{picture}">'
            '<iframe style="position:absolute;inset:0;width:100%;height:100%;border:0" sandbox="allow-scripts" '
            f'title="{said}" srcdoc="{escape(self.html)}"></iframe></div><div>{said}</div>'
        )


_OF_HERE: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


def _server(page: bytes, host: str, port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        """Gives the page to who asks for it."""

        def do_GET(self) -> None:
            named = re.sub(r":\d+\Z", "", self.headers.get("Host", ""))
            local = host in _OF_HERE or host == "::1"
            if local and named not in _OF_HERE:  # a page of elsewhere that had its own name point here
                self.send_error(421)
            elif self.path.partition("?")[0] not in ("/", "/index.html"):
                self.send_error(404)
            else:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: standard error is the user's."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A browser that goes away in the middle of a page is no error of ours."""

    return Server((host, port), Handler)


# ---------------------------------------------------------------------------------------------- files


def _file_name(title: str) -> str:
    """A title as a name of a file: letters, digits, and a few signs."""
    name = re.sub(r"[^\w .()+-]+", "_", title).strip(" .")[:100]
    return name or "embeddings"


def _write_files(
    folder: str, title: str, matrix: Array, columns: Mapping[str, Sequence[Any]], sprites: _Sprites | None
) -> None:
    name = _file_name(title)
    config = _config(os.path.join(folder, "config.json"))
    entry: dict[str, Any] = {
        "tensorName": title,
        "tensorShape": list(matrix.shape),
        "tensorPath": f"{name}.tsv",
        "metadataPath": f"{name}.metas.tsv",
    }
    with replacing(os.path.join(folder, entry["tensorPath"])) as stream:
        np.savetxt(stream, matrix, fmt="%.9g", delimiter="\t")
    with replacing(os.path.join(folder, entry["metadataPath"])) as stream:
        names = list(columns)
        if len(names) > 1:  # one column has no head, says the projector
            stream.write(("\t".join(map(plain, names)) + "\n").encode())
        for row in zip(*columns.values(), strict=True):
            stream.write(("\t".join(str(_cell(value, 1_000)) for value in row) + "\n").encode())
    if sprites is not None:
        with replacing(os.path.join(folder, f"{name}.png")) as stream:
            stream.write(sprites.bytes("PNG"))
        entry["sprite"] = {"imagePath": f"{name}.png", "singleImageDim": [sprites.side, sprites.side]}
    others = [each for each in config if each.get("tensorName") != title]
    with replacing(os.path.join(folder, "config.json")) as stream:
        stream.write(json.dumps({"embeddings": [*others, entry]}, indent=2).encode())


def _config(path: str) -> list[dict[str, Any]]:
    """The embeddings that a folder knows already."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)["embeddings"]
        if isinstance(found, list) and all(isinstance(each, dict) for each in cast("list[Any]", found)):
            return cast("list[dict[str, Any]]", found)
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptData(
            f"{path!r} is no configuration of a projector: {error!r}. Take it away first"
        ) from error
    raise CorruptData(f"{path!r} is no configuration of a projector: 'embeddings' is no list of objects")


# ---------------------------------------------------------------------------------------------- the door


def _images(
    docs: Sequence[Document], positions: int, least: int, channel_axis: int, source: Any, largest: int
) -> _Sprites:
    from docarray.display.sprites import atlas

    per_row = int(np.ceil(np.sqrt(max(1, len(docs)))))
    side = max(least, min(64, largest // per_row))
    if per_row * side > _LARGEST_ATLAS:
        raise BadValue(
            f"{count_of(len(docs))} images of {side} pixels make a picture of more than {_LARGEST_ATLAS} a side: take "
            "a smaller min_image_size, or fewer documents"
        )
    return _Sprites(
        side, atlas(docs, len(docs), side, channel_axis=channel_axis, source=source, keep=True, blanks=True)
    )


def plot_embeddings(
    array: DocumentArray[Any],
    title: str = "MyDocumentArray",
    path: str | os.PathLike[str] | None = None,
    image_sprites: bool = False,
    min_image_size: int = 16,
    channel_axis: int = -1,
    start_server: bool = True,
    host: str = "127.0.0.1",
    port: int | None = None,
    image_source: Literal["tensor", "uri"] = "tensor",
    exclude_fields_metas: Sequence[str] | None = None,
    show_progress: progress.Show = False,
) -> Projection:
    """The embeddings of an array as points; see `DocumentArray.plot_embeddings`."""
    from docarray.display.players import in_notebook

    if image_source not in ("tensor", "uri"):
        raise UnknownName(f"image_source={image_source!r}: images are taken from 'tensor' or 'uri'")
    matrix, positions, seen, notes = _vectors(array)
    columns = _columns(seen, _LEFT_OUT | frozenset(exclude_fields_metas or ()))
    if not columns:
        columns = {"position": list[Any](positions)}
    points, shares = principal(matrix)
    n = len(matrix)
    rows = np.arange(n) if n <= MOST else np.arange(MOST) * n // MOST
    if n > MOST:
        notes.append(f"{count_of(MOST)} of {count_of(n)} points shown")
    sprites = None
    if image_sprites:
        docs = progress.track([array[at] for at in positions], title="images", show=show_progress)
        sprites = _images(list(docs), n, min_image_size, channel_axis, image_source, _ATLAS)
    words = f"{noun(n, 'point')} of {noun(matrix.shape[1], 'number')}"
    words = ", ".join([words, *notes])
    data = _data(title, words, points[rows], shares, columns, rows, len(rows) == n)
    if n <= _MOST_NEIGHBOURED and n > 1:
        found, distances = nearest(matrix, matrix, min(_NEIGHBOURS, n - 1), "cosine", skip=np.arange(n))
        data["neighbours"] = _packed(found, "<u4")
        data["distances"] = _packed(distances, "<f4")
        data["k"] = found.shape[1]
    if sprites is not None and len(rows) == n:
        data["sprites"] = f"data:image/jpeg;base64,{b64encode(sprites.bytes('JPEG')).decode()}"
        data["side"] = sprites.side
    picture = _pixels(points[rows], scenes.colours_of(points[rows, 2]))
    projection = Projection(
        title, words, _page(title, data), picture,
        lambda folder: _write_files(folder, title, matrix, columns, sprites),
    )  # fmt: skip
    projection.count = n
    if path is not None:
        projection.save(path)
    if start_server and not in_notebook():
        projection.serve(host, port)
    return projection


def _data(
    title: str,
    words: str,
    points: Array,
    shares: Array,
    columns: Mapping[str, Sequence[Any]],
    rows: Array,
    whole: bool,
) -> dict[str, Any]:
    """What the script gets: numbers in base64, and columns of numbers and text."""
    span = float(np.abs(points).max()) or 1.0
    picked = list(columns.items())[:_MOST_COLUMNS]
    named = {plain(name)[:80]: [values[at] for at in rows.tolist()] for name, values in picked}
    most = _LONGEST
    cells = {name: [_cell(value, most) for value in values] for name, values in named.items()}
    total = sum(len(cell) if isinstance(cell, str) else 8 for values in cells.values() for cell in values)
    if total > _TEXT:
        most = max(8, most * _TEXT // total)
        cells = {name: [_cell(value, most) for value in values] for name, values in named.items()}
    if len(columns) > len(picked):
        words += f", {len(picked)} of {count_of(len(columns))} fields"
    return {
        "title": plain(title)[:200],
        "words": words,
        "points": _packed(np.rint(points / span * 32767), "<i2"),
        "shares": [round(float(share), 4) for share in shares],
        "columns": list(cells),
        "values": list(cells.values()),
        "whole": whole,
    }
