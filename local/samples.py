"""Sample pictures, drawn here: enough to see each ending that a picture can bring about."""

import io
import math
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = (640, 480)
"""Pixels of a sample."""

FINE = 4
"""Drawn this many times larger and shrunk, which smooths the lines."""

Draw = ImageDraw.ImageDraw
Point = tuple[float, float]

INK = (30, 30, 34)


def write(folder: Path) -> list[Path]:
    """Write the samples into a folder, which is made if it is missing.

    Returns:
        The files: a bicycle first, a motorcycle, something else, and a bicycle that was cut off.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bicycle, motorcycle, house = map(render, (draw_bicycle, draw_motorcycle, draw_house))
    files = {
        folder / "bicycle.png": encode(bicycle, "PNG"),
        folder / "motorcycle.jpg": encode(motorcycle, "JPEG"),
        folder / "house.webp": encode(house, "WEBP"),
        folder / "broken.jpg": encode(bicycle, "JPEG")[:6000],
    }
    for path, data in files.items():
        path.write_bytes(data)
    return list(files)


def render(draw: Callable[[Draw], None]) -> Image.Image:
    """A drawing with smooth lines: RGB, `SIZE` pixels."""
    canvas = Image.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE), (250, 250, 248))
    draw(ImageDraw.Draw(canvas))
    return canvas.resize(SIZE, Image.Resampling.LANCZOS)


def encode(picture: Image.Image, picture_format: str) -> bytes:
    """A picture's bytes in one of Pillow's formats."""
    buffer = io.BytesIO()
    picture.save(buffer, picture_format)
    return buffer.getvalue()


def draw_bicycle(draw: Draw) -> None:
    """Two spoked wheels, a diamond frame, handlebars, a saddle and a crank."""
    rear, front, crank = (180, 320), (470, 320), (300, 325)
    seat, head = (265, 190), (425, 185)
    for hub in (rear, front):
        _wheel(draw, hub, 105, rim=7, spokes=18)
    for start, end in ((rear, crank), (rear, (262, 200)), (crank, (260, 180)), (crank, (430, 205)), ((268, 208), head)):
        _line(draw, [start, end], 9, (190, 30, 40))
    _line(draw, [front, (432, 210), (418, 150)], 9, (190, 30, 40))
    _line(draw, [(418, 150), (450, 142), (465, 158)], 8, INK)
    _line(draw, [seat, (258, 165)], 7, INK)
    _line(draw, [(232, 160), (288, 164)], 13, INK)
    _disc(draw, crank, 22, INK)
    _line(draw, [(285, 290), (315, 360)], 7, INK)
    _line(draw, [(302, 362), (332, 360)], 8, INK)
    _line(draw, [(270, 288), (296, 289)], 8, INK)


def draw_motorcycle(draw: Draw) -> None:
    """Two fat wheels, a tank, an engine, an exhaust, a seat and a headlight."""
    red = (200, 30, 35)
    rear, front = (180, 335), (470, 335)
    for hub in (rear, front):
        _disc(draw, hub, 88, INK)
        _disc(draw, hub, 45, (205, 205, 210))
        _disc(draw, hub, 22, (90, 90, 96))
        for spoke in range(5):
            _line(draw, [hub, _around(hub, 47, spoke / 5)], 9, (90, 90, 96))
    _line(draw, [front, (425, 170)], 17, (120, 120, 128))
    _line(draw, [rear, (300, 330)], 18, (70, 70, 76))
    _polygon(draw, [(235, 250), (400, 240), (410, 350), (285, 370), (240, 335)], (110, 110, 118))
    for fin in range(4):
        _line(draw, [(265, 275 + fin * 20), (385, 268 + fin * 20)], 6, (60, 60, 66))
    _line(draw, [(310, 352), (270, 380), (80, 374)], 20, (170, 170, 178))
    _polygon(draw, [(270, 205), (330, 160), (410, 175), (430, 250), (300, 262)], red)
    _polygon(draw, [(95, 205), (150, 190), (285, 210), (300, 262), (180, 268), (110, 240)], (35, 35, 40))
    _polygon(draw, [(70, 212), (120, 232), (200, 268), (190, 300), (110, 262)], red)
    _line(draw, [(425, 170), (385, 135), (360, 140)], 10, INK)
    _disc(draw, (448, 190), 26, (240, 225, 140))
    _polygon(draw, [(400, 265), (470, 225), (560, 255), (585, 290), (480, 245)], red)


def draw_house(draw: Draw) -> None:
    """Neither of the two."""
    _polygon(draw, [(180, 230), (460, 230), (460, 410), (180, 410)], (225, 200, 160))
    _polygon(draw, [(150, 235), (320, 100), (490, 235)], (170, 60, 50))
    _polygon(draw, [(290, 310), (350, 310), (350, 410), (290, 410)], (110, 70, 40))
    for left in (210, 380):
        _polygon(draw, [(left, 270), (left + 50, 270), (left + 50, 320), (left, 320)], (150, 200, 230))
    _polygon(draw, [(0, 410), (640, 410), (640, 480), (0, 480)], (120, 170, 90))


def _wheel(draw: Draw, hub: Point, radius: float, rim: float, spokes: int) -> None:
    x, y = hub
    box = [(x - radius) * FINE, (y - radius) * FINE, (x + radius) * FINE, (y + radius) * FINE]
    draw.ellipse(box, outline=INK, width=round(rim * FINE))
    for spoke in range(spokes):
        _line(draw, [hub, _around(hub, radius, spoke / spokes)], 1.2, (120, 120, 125))
    _disc(draw, hub, 8, INK)


def _around(centre: Point, radius: float, turn: float) -> Point:
    return centre[0] + radius * math.cos(turn * math.tau), centre[1] + radius * math.sin(turn * math.tau)


def _line(draw: Draw, points: list[Point], width: float, colour: tuple[int, int, int]) -> None:
    draw.line([(x * FINE, y * FINE) for x, y in points], fill=colour, width=round(width * FINE), joint="curve")
    for point in (points[0], points[-1]):
        _disc(draw, point, width / 2, colour)


def _disc(draw: Draw, centre: Point, radius: float, colour: tuple[int, int, int]) -> None:
    x, y = centre
    draw.ellipse([(x - radius) * FINE, (y - radius) * FINE, (x + radius) * FINE, (y + radius) * FINE], fill=colour)


def _polygon(draw: Draw, points: list[Point], colour: tuple[int, int, int]) -> None:
    draw.polygon([(x * FINE, y * FINE) for x, y in points], fill=colour)
