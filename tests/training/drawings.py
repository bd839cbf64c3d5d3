"""Line drawings of vehicles and other things, anti-aliased, black on white."""

import io
import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

Point = tuple[float, float]
OVERSAMPLING = 4


class Canvas:
    """Draws on a grid of 256 x 256, whatever the size of the picture that comes out."""

    def __init__(self, size: int, width: float, shift: Point = (0.0, 0.0)) -> None:
        self.size = size
        self.scale = OVERSAMPLING * size / 256
        self.width = width
        self.shift = shift
        self.image = Image.new("RGB", (OVERSAMPLING * size, OVERSAMPLING * size), "white")
        self.draw = ImageDraw.Draw(self.image)

    def _at(self, point: Point) -> Point:
        return (point[0] + self.shift[0]) * self.scale, (point[1] + self.shift[1]) * self.scale

    def line(self, points: Sequence[Point], width: float = 1.0) -> None:
        self.draw.line([self._at(p) for p in points], "black", self._pen(width), joint="curve")

    def polygon(self, points: Sequence[Point]) -> None:
        self.draw.polygon([self._at(p) for p in points], "black")

    def circle(self, middle: Point, radius: float, width: float = 1.0, spokes: int = 0) -> None:
        x, y = middle
        corners = [self._at((x - radius, y - radius)), self._at((x + radius, y + radius))]
        self.draw.ellipse(corners, outline="black", width=self._pen(width))
        for spoke in range(spokes):
            dx, dy = (radius * f(math.pi * spoke / spokes) for f in (math.cos, math.sin))
            self.line([(x - dx, y - dy), (x + dx, y + dy)], width=0.3)

    def _pen(self, width: float) -> int:
        return max(1, round(self.width * width * self.scale))

    def finish(self) -> Image.Image:
        return self.image.resize((self.size, self.size), Image.Resampling.LANCZOS)


Drawing = Callable[..., Image.Image]


def bicycle(size: int = 256, width: float = 3, shift: Point = (0, 0)) -> Image.Image:
    canvas = Canvas(size, width, shift)
    for x in (70, 186):
        canvas.circle((x, 160), 44, spokes=8)
    canvas.line([(70, 160), (104, 100), (166, 100), (120, 160), (70, 160)])
    canvas.line([(100, 90), (104, 100), (120, 160), (128, 178)])
    canvas.line([(186, 160), (164, 90), (150, 86)])
    canvas.line([(164, 90), (176, 82)])
    canvas.line([(88, 89), (112, 89)], width=1.6)
    canvas.circle((120, 160), 9)
    return canvas.finish()


def motorcycle(size: int = 256, width: float = 3, shift: Point = (0, 0)) -> Image.Image:
    canvas = Canvas(size, width, shift)
    for x in (64, 194):
        canvas.circle((x, 170), 36, width=2.4)
        canvas.circle((x, 170), 12)
    canvas.polygon([(100, 140), (150, 135), (160, 175), (108, 180)])
    canvas.polygon([(110, 116), (124, 100), (152, 100), (166, 116), (150, 131), (122, 131)])
    canvas.polygon([(52, 112), (70, 104), (118, 116), (112, 132), (66, 130)])
    canvas.line([(194, 170), (166, 96), (148, 84)], width=1.6)
    canvas.line([(64, 170), (110, 165)], width=1.6)
    canvas.line([(40, 182), (120, 178)], width=2)
    canvas.circle((176, 104), 10)
    return canvas.finish()


def house(size: int = 256, width: float = 3, shift: Point = (0, 0)) -> Image.Image:
    canvas = Canvas(size, width, shift)
    canvas.line([(60, 120), (60, 220), (200, 220), (200, 120), (60, 120), (130, 50), (200, 120)])
    canvas.line([(115, 220), (115, 170), (145, 170), (145, 220)])
    return canvas.finish()


def flower(size: int = 256, width: float = 3, shift: Point = (0, 0)) -> Image.Image:
    canvas = Canvas(size, width, shift)
    for petal in range(8):
        angle = petal * math.pi / 4
        canvas.circle((128 + 38 * math.cos(angle), 90 + 38 * math.sin(angle)), 18)
    canvas.circle((128, 90), 20)
    canvas.line([(128, 130), (128, 235)])
    return canvas.finish()


def encode(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()
