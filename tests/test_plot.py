"""The wiring of a Flow as a picture and as text."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray.errors import BadValue
from docarray.flow import Deployment, Executor, Flow, requests
from docarray.flow.plot import mermaid, svg

SVG = "{http://www.w3.org/2000/svg}"


class Encoder(Executor):
    @requests
    def encode(self, docs): ...


def drawn(flow):
    """The boxes of a picture: name to (left, top, right, bottom); and the ends of its arrows."""
    root = ET.fromstring(svg(flow.spec))
    boxes, texts = [], []
    for one in root:
        if one.tag == f"{SVG}rect":
            x, y, width, height = (float(one.get(name)) for name in ("x", "y", "width", "height"))
            boxes.append((x, y, x + width, y + height))
            texts.append([])
        elif one.tag == f"{SVG}text" and boxes:
            texts[-1].append(one.text)
    heads = [one.get("d") for one in root.iter(f"{SVG}path") if one.get("d").endswith("l-8 -4v8z")]
    ends = [tuple(float(number) for number in head[1:].partition("l")[0].split()) for head in heads]
    return {tuple(said): box for said, box in zip(texts, boxes, strict=True)}, ends, root


def box_of(boxes, name):
    return next(box for said, box in boxes.items() if said[0] == name)


def diamond():
    flow = Flow(name="shop").add(name="crop", uses=Encoder, replicas=2)
    flow = flow.add(name="image", needs="crop", uses="shop.Image").add(
        name="text", needs="crop", when={"text": {"$exists": True}}, shards=3
    )
    return flow.add(name="log", needs="crop", floating=True).needs(["image", "text"], name="both")


def test_a_box_says_what_it_is():
    boxes, _, root = drawn(diamond())

    assert set(boxes) == {
        ("crop", "Encoder", "2 replicas"), ("image", "shop.Image"), ("text", "3 shards"), ("log",), ("both",),
        ("gateway",),
    }  # fmt: skip
    assert root.get("aria-label") == "shop: crop, image, text, log, both"


def test_documents_go_to_the_right():
    boxes, ends, _ = drawn(diamond())
    left = {said[0]: box[0] for said, box in boxes.items()}

    assert left["crop"] < left["image"] < left["both"]
    assert len(ends) == len(
        ["in crop", "crop image", "crop text", "crop log", "image both", "text both", "both out"]
    )
    for x, y in ends:
        assert any(box[0] == x and box[1] < y < box[3] for box in boxes.values()), "an arrow ends at a box"


def test_a_condition_is_said_and_cut_and_escaped():
    flow = Flow().add(name="a", when={"text": {"$regex": "<script>&\"'" + 40 * "x"}})
    root = ET.fromstring(svg(flow.spec))
    label = next(one for one in root.iter(f"{SVG}text") if one.find(f"{SVG}title") is not None)

    assert "<script>" in label.find(f"{SVG}title").text
    assert label.find(f"{SVG}title").tail.endswith("…")
    assert "<script>" not in svg(flow.spec)


def test_what_nobody_waits_for_is_dashed_and_leads_nowhere():
    text = svg(Flow().add(name="side", floating=True).spec)
    boxes, ends, _ = drawn(Flow().add(name="side", floating=True))

    assert text.count("stroke-dasharray") == 2, "its box, and the way to it"
    assert [x for x, _ in ends].count(box_of(boxes, "side")[0]) == 1


@given(st.lists(st.sets(st.integers(0, 9), max_size=3), max_size=10))
def test_no_two_boxes_lie_upon_each_other(needed):
    flow = Flow()
    for at, wanted in enumerate(needed):
        names = [f"node{one}" for one in sorted(wanted) if one < at]
        flow = flow.add(name=f"node{at}", needs=names or "gateway", uses=Encoder if at % 2 else None)
    root = ET.fromstring(svg(flow.spec))
    width, height = float(root.get("width")), float(root.get("height"))
    boxes = [
        tuple(float(one.get(name)) for name in ("x", "y", "width", "height"))
        for one in root.iter(f"{SVG}rect")
    ]

    assert len(boxes) == len(needed) + 2
    for x, y, wide, high in boxes:
        assert x >= 0
        assert y >= 0
        assert x + wide <= width
        assert y + high <= height
    for (x, y, wide, high), (u, v, broad, tall) in itertools.combinations(boxes, 2):
        assert x + wide <= u or u + broad <= x or y + high <= v or v + tall <= y


def test_a_file_is_what_its_name_says(tmp_path):
    flow = diamond()

    assert flow.plot(tmp_path / "flow.svg") is flow
    assert flow.plot(tmp_path / "flow.mmd").plot() is flow

    assert ET.parse(tmp_path / "flow.svg").getroot().tag == f"{SVG}svg"
    assert (tmp_path / "flow.mmd").read_text() == flow.mermaid() + "\n"
    with pytest.raises(BadValue, match=r"drawn as \.svg or \.mmd; got 'flow.png'"):
        flow.plot(tmp_path / "flow.png")


def test_a_notebook_shows_the_picture():
    for one in (diamond(), Deployment(uses=Encoder)):
        bundle = one._repr_mimebundle_()
        assert bundle["text/html"] == svg(one.spec)
        assert bundle["text/vnd.mermaid"] == mermaid(one.spec)
