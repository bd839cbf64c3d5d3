"""Draws the pictures that tests feed to the workflow; none is stored in the project."""

import random
import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image

Colour = tuple[int, int, int]

RED: Colour = (220, 30, 30)
GREEN: Colour = (30, 180, 60)
BLUE: Colour = (40, 60, 210)
YELLOW: Colour = (230, 210, 40)
WHITE: Colour = (255, 255, 255)
QUARTERS = (RED, GREEN, BLUE, YELLOW)
"""Top left, top right, bottom left, bottom right."""

EXIF_ORIENTATION = 0x0112

# How an upright picture is stored so that a viewer who honours the orientation shows it upright.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def quarters(size: tuple[int, int] = (64, 48), colours: Sequence[Colour] = QUARTERS) -> Image.Image:
    """Four colours, one in each quarter, so that any turn or flip shows."""
    width, height = size
    image = Image.new("RGB", size)
    for index, colour in enumerate(colours):
        left, top = index % 2 * (width // 2), index // 2 * (height // 2)
        image.paste(colour, (left, top, left + width - width // 2, top + height - height // 2))
    return image


def save(image: Image.Image, picture_format: str, **options: Any) -> bytes:
    """The picture as a file of a format."""
    file = BytesIO()
    image.save(file, picture_format, **options)
    return file.getvalue()


def turned(orientation: int, picture_format: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """Quarters as a file that is stored turned and says so in its EXIF data."""
    transpose = STORED[orientation]
    upright = quarters(size)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored = upright if transpose is None else upright.transpose(transpose)
    options: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
    return save(stored, picture_format, exif=exif, **options.get(picture_format, {}))


def noise(seed: int, size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """What compresses worst: every sample at random."""
    blank = Image.new(mode, size)
    samples = random.Random(seed).randbytes(len(blank.tobytes()))
    return Image.frombytes(mode, size, samples)


def photo(size: tuple[int, int]) -> Image.Image:
    """Smooth shapes with some texture, which compresses about as a photo does."""
    coarse = noise(1, (max(2, size[0] // 60), max(2, size[1] // 60))).resize(size, Image.Resampling.BICUBIC)
    return Image.blend(coarse, noise(2, (256, 256)).resize(size, Image.Resampling.BILINEAR), 0.15)


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG from raw rows, which may be fewer than the header says.

    Args:
        width: in pixels, as the header says.
        height: in pixels, as the header says.
        depth: bits a sample.
        colour_type: 0 grey, 2 RGB, 4 grey with alpha, 6 RGB with alpha.
        rows: one byte for the filter (0: none) and the samples, row after row.
    """
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def tiff(size: tuple[int, int], bits: Sequence[int], pixels: bytes, photometric: int = 1, **more: int) -> bytes:
    """A little-endian, uncompressed TIFF of one strip.

    Args:
        size: width and height in pixels, as the header says.
        bits: of each sample of a pixel.
        pixels: the samples, which may be fewer than the header says.
        photometric: 0 grey with white as zero, 1 grey, 2 RGB.
        **more: further tags, named `tag` and the number, of 32-bit integers.
    """
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [size[0]]),
        257: (4, [size[1]]),
        258: (3, bits),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, [0]),
        277: (3, [len(bits)]),
        278: (4, [size[1]]),
        279: (4, [len(pixels)]),
    }
    tags.update({int(name.removeprefix("tag")): (4, [value]) for name, value in more.items()})
    start = 8 + 2 + 12 * len(tags) + 4
    wide = struct.pack(f"<{len(bits)}H", *bits) if len(bits) > 2 else b""
    tags[273] = (4, [start + len(wide)])
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack("<" + {3: "H", 4: "I"}[kind] * len(values), *values)
        entries += struct.pack("<HHI", tag, kind, len(values))
        entries += struct.pack("<I", start) if len(packed) > 4 else packed.ljust(4, b"\x00")
    return b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + wide + pixels


def corners(image: Image.Image) -> list[Colour]:
    """The colours in the middle of the four quarters: top left, top right, bottom left, bottom right."""
    shown = image.convert("RGB")
    width, height = shown.size
    places = [(width * x // 4, height * y // 4) for y in (1, 3) for x in (1, 3)]
    found = [shown.getpixel(place) for place in places]
    return [(colour[0], colour[1], colour[2]) for colour in found if isinstance(colour, tuple)]
