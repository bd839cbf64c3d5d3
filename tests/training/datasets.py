"""Small data sets of drawings, no two of them alike."""

import random
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from tests.training import drawings

KINDS = {"bicycle": drawings.bicycle, "motorcycle": drawings.motorcycle}
OTHERS = {"flower": drawings.flower, "house": drawings.house}
"""What shows none of the classes."""


def variation(kind: str, number: int, size: int) -> Image.Image:
    """A drawing with its own pen, place, paper and ink; the same number gives the same picture."""
    chance = random.Random(f"{kind} {number}")
    shift = (chance.uniform(-24, 24), chance.uniform(-24, 24))
    drawn = (KINDS | OTHERS)[kind](size, chance.uniform(2.0, 6.0), shift).convert("L")
    if chance.random() < 0.5:
        drawn = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    paper = tuple(chance.randrange(150, 256) for _ in "rgb")
    ink = tuple(chance.randrange(0, 90) for _ in "rgb")
    return Image.composite(Image.new("RGB", drawn.size, paper), Image.new("RGB", drawn.size, ink), drawn)


def write_folder(folder: Path, each: int, size: int = 96, kinds: Iterable[str] = KINDS) -> Path:
    """A folder with a subfolder of `each` drawings for every class, or for other kinds."""
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            variation(kind, number, size).save(folder / kind / f"{number:03}.png")
    return folder
