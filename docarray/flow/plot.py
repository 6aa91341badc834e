"""Plot: the wiring of a Flow as a picture (SVG) and as text of Mermaid, made here and sent to nobody.

The picture is layered: a deployment stands to the right of all that it needs; what passes a layer has a lane of its own
there, and lanes are ordered by where their neighbours are, so that few arrows cross (Sugiyama, Tagawa and Toda: Methods
for visual understanding of hierarchical system structures, 1981).
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from docarray.errors import BadValue
from docarray.flow.spec import GATEWAY, DeploymentSpec, FlowSpec

__all__ = ["mermaid", "svg", "write"]

_IN: Final = "gateway_in"
_OUT: Final = "gateway_out"


class _Arrow(NamedTuple):
    """A way that documents take."""

    source: str
    target: str
    when: str = ""
    is_floating: bool = False


def _arrows(spec: FlowSpec) -> list[_Arrow]:
    found = [
        _Arrow(
            _IN if source == GATEWAY else source,
            one.name,
            "" if one.when is None else json.dumps(dict(one.when), default=str),
            one.floating,
        )
        for one in spec.deployments
        for source in one.needs
    ]
    return [*found, _Arrow(_IN if spec.last == GATEWAY else spec.last, _OUT)]


def _more(one: DeploymentSpec) -> list[str]:
    return [
        *([f"{one.shards} shards"] if one.shards > 1 else []),
        *([f"{one.replicas} replicas"] if one.replicas > 1 else []),
        *(["external"] if one.external else []),
    ]


def write(spec: FlowSpec, output: str | os.PathLike[str] | None) -> None:
    """Writes the wiring into a file, as its ending says; None: nowhere.

    Raises:
        BadValue: it says neither '.svg' nor '.mmd'.
    """
    if output is None:
        return
    file, kinds = Path(output), {".svg": svg, ".mmd": mermaid}
    if file.suffix not in kinds:
        raise BadValue(f"a Flow is drawn as {' or '.join(kinds)}; got {file.name!r:.80}")
    file.write_text(kinds[file.suffix](spec) + "\n", encoding="utf-8")


# ---------------------------------------------------------------------------------------------- mermaid


def mermaid(spec: FlowSpec) -> str:
    """A flowchart: a box for each deployment, an arrow for each way that documents take.

    >>> from docarray.flow import Flow
    >>> print(mermaid(Flow().add(name='encode').add(name='index', shards=2).spec))
    flowchart LR
      gateway_in(["gateway"]) --> encode
      encode["encode"] --> index
      index["index<br/>2 shards"] --> gateway_out
      gateway_out(["gateway"])
    """
    lines = ["flowchart LR"]
    seen: set[str] = set()

    def node(name: str) -> str:
        if name in seen or name == _OUT:
            return name
        seen.add(name)
        if name == _IN:
            return f'{name}(["gateway"])'
        return f'{name}["{"<br/>".join([name, *_more(spec[name])])}"]'

    for one in _arrows(spec):
        arrow = "-.->" if one.is_floating else "-->"
        label = f"|{_quoted(one.when)}|" if one.when else ""
        lines.append(f"  {node(one.source)} {arrow}{label} {one.target}")
    lines.extend(f"  {node(one.name)}" for one in spec.deployments if one.name not in seen)
    lines.append('  gateway_out(["gateway"])')
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "#quot;") + '"'


# ---------------------------------------------------------------------------------------------- picture

_LETTER: Final = 7.5  # pixels, of text of 13
_SMALL: Final = 6.2  # of text of 11
_LINE: Final = 16
_GAP: Final = (56, 22)  # between layers, and between lanes
_LANE: Final = 14  # the height of one that only passes
_EDGE: Final = 12
_MOST: Final = 32  # letters of a condition that are shown
_SWEEPS: Final = 4


class _Box:
    """A deployment, or the gateway; or, without lines, a lane through a layer."""

    def __init__(self, lines: Sequence[str] = (), is_floating: bool = False) -> None:
        self.lines = lines
        self.is_floating = is_floating
        self.width = (
            max([len(lines[0]) * _LETTER, *(len(line) * _SMALL for line in lines[1:])]) + 24 if lines else 0
        )
        self.height = _LINE * len(lines) + 16 if lines else _LANE
        self.x = self.y = 0.0  # of its left edge and its middle


def svg(spec: FlowSpec) -> str:
    """The wiring as a picture, in the colours of the page that it stands in.

    >>> from docarray.flow import Flow
    >>> picture = svg(Flow().add(name='encode').add(name='index', shards=2).spec)
    >>> picture.startswith('<svg'), '2 shards' in picture
    (True, True)
    """
    arrows = _arrows(spec)
    depth = _depths(spec, arrows)
    boxes = {_IN: _Box(["gateway"]), _OUT: _Box(["gateway"])}
    for one in spec.deployments:
        boxes[one.name] = _Box([one.name, *_called(one.uses), *_more(one)], one.floating)
    layers: list[list[str]] = [[] for _ in range(depth[_OUT] + 1)]
    for name in boxes:
        layers[depth[name]].append(name)
    paths = [_lanes(arrow, depth, layers, boxes) for arrow in arrows]
    _order(layers, paths)
    gaps = [float(_GAP[0])] * len(layers)
    for arrow in arrows:
        if arrow.when:
            at = depth[arrow.source]
            gaps[at] = max(gaps[at], len(_short(arrow.when)) * _SMALL + _GAP[0] + 14)
    width, height = _place(layers, boxes, gaps)
    drawn = [_drawn(arrow, path, boxes) for arrow, path in zip(arrows, paths, strict=True)]
    drawn += [_shape(boxes[name], name) for name in boxes if boxes[name].lines]
    names = ", ".join(one.name for one in spec.deployments) or "nothing"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{_escape(spec.name)}: {names}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        'style="max-width:100%" font-family="system-ui,sans-serif" fill="none" stroke="currentColor">'
        f"{''.join(drawn)}</svg>"
    )


def _called(uses: Any) -> list[str]:
    """The class of a deployment, in a line, where it says one."""
    if inspect.isclass(uses):
        return [uses.__name__]
    if isinstance(uses, str) and "\n" not in uses and len(uses) <= _MOST:
        return [uses]
    return []


def _depths(spec: FlowSpec, arrows: Sequence[_Arrow]) -> dict[str, int]:
    """The layer of each, from the left."""
    depth = {_IN: 0}
    for one in spec.deployments:  # each stands behind all that it needs
        depth[one.name] = 1 + max((depth[_IN if name == GATEWAY else name] for name in one.needs), default=0)
    depth[_OUT] = 1 + max(depth.values())
    return depth


def _lanes(
    arrow: _Arrow, depth: dict[str, int], layers: list[list[str]], boxes: dict[str, _Box]
) -> list[str]:
    """What an arrow passes: its ends, and a lane in each layer between."""
    passed: list[str] = []
    for at in range(depth[arrow.source] + 1, depth[arrow.target]):
        name = f"{arrow.source}>{arrow.target}@{at}"
        boxes[name] = _Box()
        layers[at].append(name)
        passed.append(name)
    return [arrow.source, *passed, arrow.target]


def _order(layers: list[list[str]], paths: Sequence[Sequence[str]]) -> None:
    """Sorts each layer by the mean place of the neighbours before it, then of those behind it, some times."""
    before: dict[str, list[str]] = {}
    behind: dict[str, list[str]] = {}
    for path in paths:
        for source, target in itertools.pairwise(path):
            before.setdefault(target, []).append(source)
            behind.setdefault(source, []).append(target)
    for sweep in range(_SWEEPS):
        near, way = (before, layers[1:]) if sweep % 2 == 0 else (behind, layers[-2::-1])
        for layer in way:
            place = {name: at / len(each) for each in layers for at, name in enumerate(each)}
            mean = {
                name: sum(place[one] for one in near[name]) / len(near[name]) if name in near else place[name]
                for name in layer
            }
            layer.sort(key=mean.__getitem__)


def _place(layers: list[list[str]], boxes: dict[str, _Box], gaps: Sequence[float]) -> tuple[float, float]:
    """Puts all where they are drawn; gives width and height."""
    heights = [sum(boxes[name].height for name in layer) + _GAP[1] * (len(layer) - 1) for layer in layers]
    x, middle = float(_EDGE), max(heights) / 2 + _EDGE
    for layer, height, gap in zip(layers, heights, gaps, strict=True):
        wide, y = max(boxes[name].width for name in layer), middle - height / 2
        for name in layer:
            box = boxes[name]
            box.width = box.width if box.lines else wide
            box.x, box.y = x + (wide - box.width) / 2, y + box.height / 2
            y += box.height + _GAP[1]
        x += wide + gap
    return x - gaps[-1] + _EDGE, 2 * middle


def _shape(box: _Box, name: str) -> str:
    round_, dashed = (
        (box.height / 2 if name in (_IN, _OUT) else 6),
        ' stroke-dasharray="5 4"' if box.is_floating else "",
    )
    top = box.y - box.height / 2
    shape = (
        f'<rect x="{box.x:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{round_:.1f}" '
        f'fill="currentColor" fill-opacity=".07" stroke-opacity=".55"{dashed}/>'
    )
    middle = box.x + box.width / 2
    for at, line in enumerate(box.lines):
        size = 'font-size="13" font-weight="600"' if at == 0 else 'font-size="11" fill-opacity=".75"'
        shape += (
            f'<text x="{middle:.1f}" y="{top + 8 + _LINE * at + 12:.1f}" {size} text-anchor="middle" '
            f'fill="currentColor" stroke="none">{_escape(line)}</text>'
        )
    return shape


def _drawn(arrow: _Arrow, path: Sequence[str], boxes: dict[str, _Box]) -> str:
    first = boxes[path[0]]
    way = f"M{first.x + first.width:.1f} {first.y:.1f}"
    x = first.x + first.width
    y = first.y
    for name in path[1:]:
        box = boxes[name]
        bend = min(box.x - x, _GAP[0] - 8)  # all of it before a label begins
        way += f"C{x + bend / 2:.1f} {y:.1f} {x + bend / 2:.1f} {box.y:.1f} {x + bend:.1f} {box.y:.1f}"
        way += f"H{box.x - 7 if box.lines else box.x + box.width:.1f}"
        x, y = box.x + box.width, box.y
    last = boxes[path[-1]]
    dashed = ' stroke-dasharray="5 4"' if arrow.is_floating else ""
    drawn = (
        f'<path d="{way}" stroke-opacity=".7"{dashed}/>'
        f'<path d="M{last.x:.1f} {last.y:.1f}l-8 -4v8z" fill="currentColor" stroke="none" fill-opacity=".8"/>'
    )
    if arrow.when:
        near = boxes[path[1]]  # where ways that begin together are apart again
        drawn += (
            f'<text x="{near.x - 14:.1f}" y="{near.y - 6:.1f}" font-size="11" text-anchor="end" '
            f'fill="currentColor" stroke="none"><title>{_escape(arrow.when)}</title>'
            f"{_escape(_short(arrow.when))}</text>"
        )
    return drawn


def _escape(text: str) -> str:
    """Text as it stands in markup."""
    for sign, said in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(sign, said)
    return text


def _short(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
