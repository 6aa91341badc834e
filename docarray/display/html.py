"""Documents on a page: HTML that needs nothing but itself.

Rule 1: all that comes from a document passes `_text`, which escapes it; only what this file wrote is markup.
Rule 2: no script, no request, no class without the prefix: a page that holds us stays as it was.
Rule 3: pieces are made within a number of bytes that their caller gives; what does not fit is counted and left out.
Rule 4: colors are those of the page: text is `currentColor`, lines are shares of it, nothing has a ground of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from docarray import tensors
from docarray.display import thumbnail
from docarray.display.facts import (
    ArrayFacts,
    FieldLook,
    Look,
    array_type,
    brief,
    count_of,
    cut,
    document_or_array,
    facts_of,
    looks,
    noun,
    numbers_of,
    score_text,
    show_blob,
)
from docarray.display.thumbnail import Picture
from docarray.document import Document
from docarray.schema import FIELDS

__all__ = ["MOST_BYTES", "html_of"]

MOST_BYTES: Final = 256 * 1024
"""No page is larger, whatever the documents hold."""

_ROOM: Final = 224 * 1024  # for documents; the rest is for the style, the head and the table of attributes
_ROWS: Final = (10, 5, 3)  # documents shown at each depth
_PICTURES: Final = 10
_PICTURE_ROOM: Final = 160 * 1024
_LONGEST_TEXT: Final = 120
_MOST_PAIRS: Final = 6
_MOST_FIELDS: Final = 30
_IN_FIELD: Final = 3  # elements of a list that are shown in the row of its field
_DEEPEST: Final = 2

_STYLE: Final = """
.docarray{--docarray-line:rgba(128,128,128,.28);--docarray-accent:var(--jp-brand-color1,#1a73c7);
--docarray-mono:var(--jp-code-font-family,ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace);
color:inherit;font:13px/1.5 var(--jp-ui-font-family,system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif);
max-width:100%;margin:4px 0 8px;text-align:left}
@media (prefers-color-scheme:dark){.docarray{--docarray-accent:var(--jp-brand-color1,#6cb2f5)}}
.docarray .docarray-head{display:flex;flex-wrap:wrap;align-items:baseline;gap:0 14px;padding:0 0 4px}
.docarray .docarray-class{font-weight:600;font-size:14px}
.docarray .docarray-quiet{opacity:.68}
.docarray .docarray-mono,.docarray table.docarray-table td.docarray-id{font-family:var(--docarray-mono);font-size:12px}
.docarray bdi{unicode-bidi:isolate;overflow-wrap:anywhere}
.docarray details{margin:0}
.docarray summary{cursor:pointer;display:list-item;padding:2px 0}
.docarray summary::marker{color:var(--docarray-accent)}
.docarray summary:focus-visible{outline:2px solid var(--docarray-accent);outline-offset:1px}
.docarray .docarray-field{display:inline-block;max-width:100%;margin:0 14px 0 0;overflow-wrap:anywhere}
.docarray .docarray-field b{font-weight:600}
.docarray table.docarray-table{table-layout:fixed;width:100%;border-collapse:collapse;border:0;margin:4px 0;
font-size:13px;line-height:1.45;color:inherit}
.docarray table.docarray-auto{table-layout:auto;width:auto;max-width:100%}
.docarray table.docarray-table thead,.docarray table.docarray-table tr,
.docarray table.docarray-table tbody tr:nth-child(n){background:none;border:0}
.docarray table.docarray-table th,.docarray table.docarray-table td{text-align:left;vertical-align:top;border:0;
padding:5px 12px 5px 0;max-width:none;white-space:normal;overflow-wrap:anywhere;line-height:1.45;font-weight:400}
.docarray table.docarray-table thead th{border-bottom:1px solid var(--docarray-line);font-size:12px;opacity:.68}
.docarray table.docarray-table tbody+tbody>tr:first-child>td{border-top:1px solid var(--docarray-line)}
.docarray table.docarray-table td.docarray-label{white-space:nowrap;opacity:.68}
.docarray table.docarray-table .docarray-number{text-align:right;font-variant-numeric:tabular-nums}
.docarray table.docarray-table td.docarray-number{opacity:.68}
.docarray table.docarray-table tr.docarray-nested>td{padding:0 0 6px}
.docarray .docarray-below{margin:0 0 8px 6px;padding:0 0 0 14px;border-left:1px solid var(--docarray-line)}
.docarray .docarray-pair{display:inline-block;max-width:100%;margin-right:10px}
.docarray .docarray-key{opacity:.68}
.docarray img{display:block;max-width:100%;margin:0}
.docarray img.docarray-thumb{object-fit:contain;object-position:left top;border-radius:2px}
.docarray img.docarray-own{width:auto;height:auto;max-width:64px;max-height:64px}
.docarray img.docarray-pixels{image-rendering:pixelated}
.docarray audio.docarray-sound{display:block;width:260px;max-width:100%;height:32px}
.docarray img.docarray-bars{width:96px;height:20px;margin-top:3px;image-rendering:pixelated}
""".replace("\n", "")


def html_of(obj: object) -> str:
    """A Document, or what a DocumentArray holds and its first ten documents, as a piece of HTML.

    Raises:
        FieldTypeError: the object is neither.
    """
    known = document_or_array(obj, "html_of")
    pictures = _Pictures()
    inside = _document(Look(known), pictures) if isinstance(known, Document) else _array(known, pictures)
    return f'<div class="docarray"><style>{_STYLE}</style>{inside}</div>'


class _Pictures:
    """How many more images may be shown, and in how many bytes."""

    def __init__(self) -> None:
        self.left = _PICTURES
        self.room = _PICTURE_ROOM

    def take(self, picture: Picture) -> bool:
        """Whether this one may be shown; it is counted then."""
        size = len(picture.data) * 4 // 3
        if not self.left or size > self.room:
            return False
        self.left -= 1
        self.room -= size
        return True


# ---------------------------------------------------------------------------------------------- words


def _text(text: str, most: int = _LONGEST_TEXT) -> str:
    """A text of a document: cut, without control characters, escaped, in its own direction."""
    return f'<bdi dir="auto">{escape(cut(text, most))}</bdi>'


def _quiet(markup: str) -> str:
    return f'<span class="docarray-quiet">{markup}</span>'


def _mono(text: str) -> str:
    return f'<bdi class="docarray-mono">{escape(text)}</bdi>'


def _pair(key: str, markup: str) -> str:
    return f'<span class="docarray-pair"><span class="docarray-key">{_text(key, 40)}</span> {markup}</span>'


_HEX_ID: Final = re.compile(r"[0-9a-f]{32}")


def _id(key: str) -> str:
    """An id, of which the first eight digits do where it was drawn at random."""
    if not key:
        return _quiet("no id")
    if _HEX_ID.fullmatch(key):
        return f'<span title="{key}">{key[:8]}…</span>'
    return _text(key, 40)


def _size(markup: str) -> int:
    return len(markup.encode())


# ---------------------------------------------------------------------------------------------- cells


def _value(name: str, value: Any) -> str:
    """A field of a document in one cell."""
    kind = FIELDS[name].kind
    if name == "id":
        return _mono(cut(value, _LONGEST_TEXT))
    if kind == "text":
        return _text(value)
    if kind == "bytes":
        return _mono(show_blob(value, 60))
    if kind == "scores":
        return _scores(value)
    if kind == "tensor" and name != "location" and tensors.framework(value) is not None:
        return _tensor(value)
    if kind == "json":
        return _tags(value)
    return _mono(brief(value, _LONGEST_TEXT))


def _tensor(value: Any, *, alone: bool = False) -> str:
    """What an array is and, where it is a vector, its bars; `alone`: the bars do."""
    about = escape(array_type(value))
    text = f'<span class="docarray-mono">{about.removeprefix("ndarray ")}</span>'
    numbers = numbers_of(value, 100_000)
    if numbers is None:
        return text
    source = f'src="{Picture("image/png", thumbnail.bars(numbers)).uri}"'
    said = f"{about}, {numbers.min():.3g} to {numbers.max():.3g}"
    picture = f'<img class="docarray-bars" alt="{said}" title="{said}" {source}>'
    return picture if alone else text + picture


def _tags(tags: dict[Any, Any]) -> str:
    """A few pairs of key and value, of 240 characters together."""
    pairs: list[str] = []
    room = 2 * _LONGEST_TEXT
    for key, value in tags.items():
        if len(pairs) == _MOST_PAIRS or room < 8:
            break
        name = cut(str(key), 40)
        most = max(8, min(_LONGEST_TEXT // 2, room - len(name)))
        text = cut(value, most) if type(value) is str else brief(value, most)
        room -= len(name) + len(text)
        pairs.append(_pair(name, f'<bdi dir="auto">{escape(text)}</bdi>'))
    if len(tags) > len(pairs):
        pairs.append(_quiet(f"… {count_of(len(tags) - len(pairs))} more"))
    return " ".join(pairs)


def _scores(scores: Any) -> str:
    pairs = [_pair(str(key), score_text(score)) for key, score in list(scores.items())[:_MOST_PAIRS]]
    if len(scores) > len(pairs):
        pairs.append(_quiet(f"… {count_of(len(scores) - len(pairs))} more"))
    return " ".join(pairs)


def _picture(look: Look, pictures: _Pictures) -> str:
    """A thumbnail of an image document, a placeholder where it cannot be shown here, or ''."""
    found: Picture | None = None
    name = "tensor"
    tensor, blob, uri = look.value("tensor"), look.value("blob"), look.value("uri")
    claims = str(look.value("mime_type") or "").startswith("image/")
    if tensor is not None:
        found = thumbnail.of_tensor(tensor)
    if found is None and blob is not None and (claims or thumbnail.image_type(blob)):
        found, name = thumbnail.of_blob(blob), "blob"
        if found is None:
            return _quiet(f"image,<br>{noun(len(blob), 'byte')}")
    if found is None and uri is not None and uri.startswith("data:image/"):
        found, name = thumbnail.of_uri(uri), "uri"
        if found is None:
            return _quiet(f"image,<br>{noun(len(uri), 'character')}")
    if found is None:
        return ""
    if not pictures.take(found):
        return _quiet("image")
    said = f"image in the {name}" if name != "tensor" else escape(array_type(tensor))
    source = f'alt="{said}" title="{said}" src="{found.uri}"'
    if found.width is None or found.height is None:
        return f'<img class="docarray-thumb docarray-own" {source}>'
    kind = "docarray-thumb docarray-pixels"
    return f'<img class="{kind}" width="{found.width}" height="{found.height}" {source}>'


# ---------------------------------------------------------------------------------------------- tables of documents


# The columns of a table of documents and their widths; the first of content, tags and more that there is takes what
# the others leave. All fields that have no column of their own share the last. Where a document is in a tree is shown
# by the tree, and not in a column.
_COLUMNS: Final = {
    "#": "34px",
    "id": "",  # as wide as the ids are
    "image": "76px",
    "content": "auto",
    "tags": "24%",
    "embedding": "112px",
    "scores": "132px",
    "more": "18%",
}
_CONTENT: Final = ("text", "blob", "tensor", "uri")
_OWN: Final = frozenset(
    {*_CONTENT, "tags", "embedding", "scores", "parent_id", "granularity", "adjacency", "_metadata"}
)


def _cells(look: Look, at: int, pictures: _Pictures, depth: int) -> dict[str, str]:
    """The cells of one document by column; a column that it does not need is left out."""
    fields = look.fields()
    values = dict(look.shown())
    cells = {"#": count_of(at), "id": _id(look.id)}
    image = _picture(look, pictures)
    if image:
        cells["image"] = image
    content = ["".join(f"<div>{_pair(f.name, _field(f, pictures, 1))}</div>" for f in fields[:_MOST_PAIRS])]
    if len(fields) > _MOST_PAIRS:
        content.append(_quiet(f"… {noun(len(fields) - _MOST_PAIRS, 'more field')}"))
    sound = _sound(look, pictures)
    content += [sound, _WAITS if look.pending else ""]
    content += [
        _value(name, values[name])
        for name in _CONTENT
        if name in values and not _pictured(name, values, image)
    ]
    content = [part for part in content if part]
    if content:
        cells["content"] = "<br>".join(content)
    if fields:
        values.pop("tags", None)  # its plain values are among the fields
    for name in ("tags", "scores"):
        if name in values:
            cells[name] = _value(name, values[name])
    if "embedding" in values and depth < 2:  # of a match nobody asks for the vector
        cells["embedding"] = _tensor(values["embedding"], alone=True)
    if image:
        values.pop("mime_type", None)
    more = [_pair(name, _value(name, value)) for name, value in values.items() if name not in _OWN]
    if more:
        cells["more"] = " ".join(more)
    return cells


def _pictured(name: str, values: dict[str, Any], image: str) -> bool:
    """Whether the picture says all that the text of the field would."""
    return bool(image) and (
        name in ("tensor", "blob") or (name == "uri" and values[name].startswith("data:"))
    )


def _headings(seen: Sequence[Look]) -> str:
    names = dict.fromkeys(name for look in seen for name, _ in look.filled() if name in _CONTENT)
    return ", ".join(name for name in _CONTENT if name in names)


def _table(seen: Sequence[Look], total: int, pictures: _Pictures, room: int, depth: int) -> str:
    """A table of documents, and of what is nested in them, of at most `room` bytes."""
    rows: list[dict[str, str]] = []
    room -= 2_000  # for head and end of the table
    for at, look in enumerate(seen):
        cells = _cells(look, at, pictures, depth)
        room -= sum(map(_size, cells.values())) + 40 * len(_COLUMNS)
        if room < 0:
            break
        rows.append(cells)
    names = [name for name in _COLUMNS if any(name in cells for cells in rows)]
    wide = next((name for name in ("content", "tags", "more") if name in names), "")
    sizes = {**_COLUMNS, "id": _id_width(seen[: len(rows)]), wide: "auto"}
    widths = "".join(f'<col style="width:{sizes[name]}">' for name in names)
    titles = {"#": "", "content": _headings(seen)}
    heads = "".join(f'<th class="docarray-{_sign(name)}">{titles.get(name, name)}</th>' for name in names)
    parts = [f'<table class="docarray-table{"" if wide else " docarray-auto"}">']
    if rows:
        parts.append(f"<colgroup>{widths}</colgroup><thead><tr>{heads}</tr></thead>")
    deep = [look for look in seen[: len(rows)] if look.below("chunks", 0)[0] or look.below("matches", 0)[0]]
    for look, cells in zip(seen, rows, strict=False):
        inside = "".join(f'<td class="docarray-{_sign(name)}">{cells.get(name, "")}</td>' for name in names)
        nested = _nested(look, pictures, room // len(deep), depth) if look in deep else ""
        if nested:
            nested = f'<tr class="docarray-nested"><td></td><td colspan="{len(names) - 1}">{nested}</td></tr>'
        parts.append(f"<tbody><tr>{inside}</tr>{nested}</tbody>")
    parts.append("</table>")
    if total > len(rows):
        parts.append(_quiet(f"… {count_of(total - len(rows))} more"))
    return "".join(parts)


def _id_width(seen: Sequence[Look]) -> str:
    longest = max((9 if _HEX_ID.fullmatch(look.id) else min(len(look.id), 22) for look in seen), default=0)
    return f"{max(30, 15 + round(7.5 * longest))}px"


def _sign(column: str) -> str:
    return "number" if column == "#" else column


def _nested(look: Look, pictures: _Pictures, room: int, depth: int, *, opened: bool = False) -> str:
    """The matches and chunks of a document, folded, of at most `room` bytes."""
    parts: list[str] = []
    for name, one in (("matches", "match"), ("chunks", "chunk")):
        total, seen = look.below(name, _ROWS[depth] + 2 if depth < len(_ROWS) else 0)
        if len(seen) < total:  # what is left out is worth a line only where it is more than a line
            seen = seen[: _ROWS[depth]] if seen else []
        if not total or room < 400:
            continue
        title = noun(total, one, name)
        if not seen or room < 4_000:
            parts.append(f"<div>{_quiet(title)}</div>")
            continue
        inside = _table(seen, total, pictures, room // 2 - 200, depth + 1)
        start = "<details open>" if opened else "<details>"
        parts.append(f'{start}<summary>{title}</summary><div class="docarray-below">{inside}</div></details>')
    return "".join(parts)


# ---------------------------------------------------------------------------------------------- an array


def _array(array: Any, pictures: _Pictures) -> str:
    facts = facts_of(array)
    seen = looks(array, _ROWS[0])
    parts = [_head(facts)]
    if facts.attributes:
        parts.append(_attributes(facts))
    if seen:
        parts.append(_table(seen, facts.length, pictures, _ROOM, 1))
    return "".join(parts)


def _head(facts: ArrayFacts) -> str:
    words = [noun(facts.length, "document")]
    if facts.nested_in is not None:
        name, parent = facts.nested_in
        words.append(f"{name} of {_text(parent, 40)}")
    words.append(f"storage {escape(facts.storage)}")
    if facts.state:
        words.append(f"held {escape(facts.state)}")
    if facts.sampled:
        words.append(_quiet(facts.sampled))
    return (
        f'<div class="docarray-head"><span class="docarray-class">{escape(facts.kind)}</span> '
        f"{' '.join(f'<span>{word}</span>' for word in words)}</div>"
    )


def _attributes(facts: ArrayFacts) -> str:
    """The fields and their types on one line, which opens to a table that says more."""
    short = " ".join(
        f'<span class="docarray-field"><b>{fact.name}</b> {_quiet(escape(_short_type(facts, fact.name)))}</span>'
        for fact in facts.attributes
        if fact.name != "id"
    )
    rows = "".join(
        f"<tbody><tr><td>{fact.name}</td><td>{escape(cut(fact.type_text, 200))}</td>"
        f'<td class="docarray-number">{"n/a" if fact.unique is None else count_of(fact.unique)}</td>'
        f'<td class="docarray-number">{fact.has_empty}</td></tr></tbody>'
        for fact in facts.attributes
    )
    note = f"<div>{_quiet(facts.sampled)}</div>" if facts.sampled else ""
    return (
        f"<details><summary>{short or _quiet('id only')}</summary>"
        '<div class="docarray-below"><table class="docarray-table docarray-auto">'
        "<thead><tr><th>Attribute</th><th>Data type</th>"
        '<th class="docarray-number">#Unique values</th><th class="docarray-number">Has empty value</th></tr></thead>'
        f"{rows}</table>{note}</div></details>"
    )


def _short_type(facts: ArrayFacts, name: str) -> str:
    fact = next(fact for fact in facts.attributes if fact.name == name)
    if fact.total is not None:
        return count_of(fact.total) if not facts.sampled else f"{count_of(fact.total)} in the sample"
    text = cut(fact.type_text, 60).removeprefix("ndarray ")
    if not fact.has_empty:
        return text
    return (
        f"{text}, {fact.filled / facts.looked:.0%}"
        if facts.sampled
        else f"{text}, {fact.filled} of {facts.looked}"
    )


# ---------------------------------------------------------------------------------------------- a document


_WAITS: Final = _quiet("not loaded yet")


def _fields(fields: Sequence[FieldLook], pictures: _Pictures) -> str:
    """The fields of a dataclass, a row each: name, type and value."""
    rows: list[str] = []
    room = _ROOM - 8_000
    for field in fields[:_MOST_FIELDS]:
        row = (
            f'<tbody><tr><td class="docarray-label">{_text(field.name, 40)}</td>'
            f"<td>{_quiet(_text(field.kind, 40))}</td><td>{_field(field, pictures, 0)}</td></tr></tbody>"
        )
        room -= _size(row)
        if room < 0:
            break
        rows.append(row)
    more = _quiet(f"… {noun(len(fields) - len(rows), 'more field')}") if len(fields) > len(rows) else ""
    return f'<table class="docarray-table docarray-auto">{"".join(rows)}</table>{more}'


def _field(field: FieldLook, pictures: _Pictures, depth: int) -> str:
    """The value of a field in one cell; of a list how many there are, and the first of them."""
    if field.at is None:
        return _text(field.value) if isinstance(field.value, str) else _mono(brief(field.value))
    if field.look is None:
        return _quiet("missing")
    if not field.is_list:
        return _below_field(field.look, pictures, depth)
    total, seen = field.look.below("chunks", _IN_FIELD)
    shown = [_below_field(look, pictures, depth) for look in seen]
    if total > len(shown):
        shown.append(_quiet(f"… {count_of(total - len(shown))} more"))
    return "".join(f"<div>{item}</div>" for item in shown) or _quiet("none")


def _below_field(look: Look, pictures: _Pictures, depth: int) -> str:
    """The document of a field: what is in its picture, sound or content, or the fields of its own dataclass."""
    fields = look.fields()
    if fields:
        if depth == _DEEPEST:
            return _quiet(noun(len(fields), "field"))
        inner = [_pair(field.name, _field(field, pictures, depth + 1)) for field in fields[:_MOST_PAIRS]] + (
            [_quiet(f"… {count_of(len(fields) - _MOST_PAIRS)} more")] if len(fields) > _MOST_PAIRS else []
        )
        return " ".join(inner)
    values = dict(look.filled())
    shown = _picture(look, pictures) or _sound(look, pictures)
    if not shown:
        shown = " ".join(_value(name, values[name]) for name in (*_CONTENT, "tags") if name in values)
    elif "uri" in values and not values["uri"].startswith("data:"):
        shown += _value("uri", values["uri"])
    if look.pending:
        shown = f"{shown} {_WAITS}"
    chunks = look.below("chunks", 0)[0]
    return shown or (_quiet(noun(chunks, "chunk")) if chunks else _quiet("empty"))


def _sound(look: Look, pictures: _Pictures) -> str:
    """A player of a short sound, in `tensor` or `blob`; '' of all else."""
    if look.modality != "audio":
        return ""
    from docarray.display import sound

    tensor, blob = look.value("tensor"), look.value("blob")
    found = None
    if tensor is not None:
        tags: Mapping[Any, Any] = look.value("tags") or {}
        found = sound.of_tensor(tensor, tags.get("sample_rate"), pictures.room)
    elif blob is not None:
        found = sound.of_blob(blob, pictures.room)
    if found is None or not pictures.take(found):
        return ""
    return f'<audio class="docarray-sound" controls preload="none" src="{found.uri}"></audio>'


def _document(look: Look, pictures: _Pictures) -> str:
    fields = look.fields()
    values = dict(look.shown())
    if fields and "tags" in values:
        named = {field.name for field in fields if field.at is None}
        rest = {key: value for key, value in values.pop("tags").items() if key not in named}
        if rest:
            values["tags"] = rest
    image = _picture(look, pictures)
    head = (
        f'<div class="docarray-head"><span class="docarray-class">{escape(look.kind)}</span> '
        f'<span class="docarray-mono">{_text(look.id, 64) if look.id else _quiet("no id")}</span>'
        f"{_quiet('multimodal') if fields else ''}"
        f"{'' if values or fields or look.pending else _quiet('empty')}</div>"
    )
    cells = [("image", image)] if image else []
    sound = _sound(look, pictures)
    if sound:
        cells.append(("sound", sound))
    if look.pending:
        cells.append(("content", _WAITS))
    cells += [(name, _value(name, value)) for name, value in values.items()]
    rows: Iterable[str] = (
        f'<tbody><tr><td class="docarray-label">{name}</td><td>{cell}</td></tr></tbody>'
        for name, cell in cells
    )
    table = f'<table class="docarray-table docarray-auto">{"".join(rows)}</table>' if cells else ""
    if fields:
        table = _fields(fields, pictures) + table
    room = _ROOM - _size(head) - _size(table)
    return head + table + _nested(look, pictures, room, 0, opened=not fields)
