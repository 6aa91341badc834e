"""Some stickers to look for, drawn by this program."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

from executors import Sticker
from PIL import Image, ImageDraw

SIDE = 96  # pixels of a picture
_FINE = 4  # drawn so many times larger, and scaled down: soft edges

COLOURS = {
    "red": "#d7263d",
    "orange": "#f46036",
    "yellow": "#f5c518",
    "green": "#2e9e5b",
    "blue": "#2274d5",
    "purple": "#7b4bb7",
    "brown": "#7a4a2b",
    "black": "#2b2d33",
}

Points = list[tuple[float, float]]


def _around(count: int, outer: float, inner: float | None = None, turn: float = -90.0) -> Points:
    """Points around the middle of a picture of side 1; with `inner` every second one is that near."""
    steps = count if inner is None else 2 * count
    radius = [outer if inner is None or not i % 2 else inner for i in range(steps)]
    angles = [math.radians(turn + 360 * i / steps) for i in range(steps)]
    return [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for r, a in zip(radius, angles, strict=True)]


def _heart() -> Points:
    turns = [2 * math.pi * i / 120 for i in range(120)]
    return [
        (
            0.5 + 0.025 * 16 * math.sin(t) ** 3,
            0.47 - 0.025 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in turns
    ]


def _drop() -> Points:
    bottom = [
        (0.5 + 0.27 * math.cos(a), 0.62 + 0.27 * math.sin(a))
        for a in (math.radians(d) for d in range(-25, 206))
    ]
    return [(0.5, 0.1), *bottom]


SHAPES: dict[str, Callable[[], Points]] = {
    "circle": lambda: _around(120, 0.38),
    "square": lambda: [(0.16, 0.16), (0.84, 0.16), (0.84, 0.84), (0.16, 0.84)],
    "triangle": lambda: [(0.5, 0.12), (0.9, 0.84), (0.1, 0.84)],
    "star": lambda: _around(5, 0.42, 0.18),
    "heart": _heart,
    "drop": _drop,
}


def drawn(shape: str, colour: str) -> bytes:
    """A PNG of a shape on white, `SIDE` pixels square."""
    size = SIDE * _FINE
    picture = Image.new("RGB", (size, size), "white")
    points = [(x * size, y * size) for x, y in SHAPES[shape]()]
    ImageDraw.Draw(picture).polygon(points, fill=COLOURS[colour])
    file = io.BytesIO()
    picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(file, "PNG", optimize=True)
    return file.getvalue()


_LIST = """
tomato         | red circle      | 1.20 | A ripe tomato for the salad
apple          | green circle    | 1.00 | A green apple, sour and crisp
orange         | orange circle   | 1.10 | A sweet orange full of juice
plum           | purple circle   | 1.00 | A plum, a fruit of late summer
sun            | yellow circle   | 2.00 | The sun on a hot summer day
record         | black circle    | 3.50 | A vinyl record with old music
planet         | blue circle     | 2.50 | The planet Neptune, far out in space
ball           | brown circle    | 1.80 | A leather ball for a game of football
chocolate      | brown square    | 1.50 | A bar of dark chocolate
cheese         | yellow triangle | 1.50 | A piece of cheese for the mouse
melon          | red triangle    | 1.40 | A slice of water melon
brick          | red square      | 0.80 | A brick to build a house
window         | blue square     | 1.60 | A window with a view of the sea
book           | green square    | 2.20 | A book to read in the evening
chalkboard     | black square    | 1.90 | A blackboard in the classroom at school
note           | yellow square   | 0.50 | A sticky note, so as not to forget
crate          | orange square   | 0.90 | A crate to carry when you move
fir            | green triangle  | 2.10 | A fir tree in the forest
tent           | orange triangle | 2.40 | A tent for camping in the mountains
sail           | blue triangle   | 2.60 | The sail of a boat in the wind
witch          | black triangle  | 2.80 | The pointed hat of a witch at Halloween
wizard         | purple star     | 2.90 | The spell of a wizard, magic
christmas      | yellow star     | 2.00 | The star on top of a Christmas tree
starfish       | orange star     | 1.70 | A starfish on the beach
medal          | red star        | 3.00 | A medal for the winner of the race
love           | red heart       | 1.00 | I love you, a letter for a sweetheart
nature         | green heart     | 1.30 | Protect nature and plant a tree
friendship     | yellow heart    | 1.30 | Friends for ever
goth           | black heart     | 1.60 | A broken heart, sad and alone
rain           | blue drop       | 0.70 | A drop of rain from a grey cloud
blood          | red drop        | 0.90 | Give blood and save a life in hospital
honey          | yellow drop     | 1.20 | Honey from the bees
oil            | black drop      | 1.10 | Engine oil for the car
"""


def stickers() -> list[Sticker]:
    """All of them."""
    made: list[Sticker] = []
    for line in _LIST.strip().splitlines():
        name, look, price, caption = (cell.strip() for cell in line.split("|"))
        colour, shape = look.split()
        made.append(Sticker(name, caption, drawn(shape, colour), shape, colour, float(price)))
    return made
