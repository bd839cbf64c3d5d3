"""Small data sets as `stage` leaves them: pictures by split and label, lists, and the manifest."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from chalicelib.store import NEITHER
from tests.training import drawings
from training.layout import Manifest, StagedPicture

DRAWINGS = {
    "bicycle": drawings.bicycle,
    "motorcycle": drawings.motorcycle,
    "house": drawings.house,
}
EACH = {"train": 6, "validation": 2, "test": 1}
SIZE = 72


def write_data(
    folder: Path,
    labels: Sequence[str] = ("bicycle", "motorcycle"),
    each: dict[str, int] | None = None,
    others: dict[str, int] | None = None,
) -> Manifest:
    """Draw a data set, and write its manifest.

    Args:
        folder: where it goes.
        labels: some of `DRAWINGS`.
        each: pictures of each label, by split.
        others: flowers and houses, by split.
    """
    pictures: list[StagedPicture] = []
    number = 0
    for split, count in (each or EACH).items():
        lines = []
        for label in labels:
            (folder / split / label).mkdir(parents=True)
            for _ in range(count):
                number += 1
                path = folder / split / label / f"{number:03}.png"
                shift = (5 * (number % 5) - 10, 4 * (number % 7) - 12)
                DRAWINGS[label](SIZE, width=2 + number % 4, shift=shift).save(path)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                pictures.append(StagedPicture(path.relative_to(folder).as_posix(), label, split, digest))
                lines.append(f"{number}\t{labels.index(label)}\t{label}/{path.name}\n")
        (folder / f"{split}_lst").mkdir(exist_ok=True)
        (folder / f"{split}_lst" / f"{split}.lst").write_text("".join(lines), encoding="utf-8")
    for split, count in (others or {}).items():
        (folder / split / NEITHER).mkdir(parents=True)
        for number in range(count):
            source, draw = (("flowers", drawings.flower), ("houses", drawings.house))[number % 2]
            path = folder / split / NEITHER / f"{number:03}.png"
            draw(SIZE, width=2 + number // 2).save(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            pictures.append(StagedPicture(path.relative_to(folder).as_posix(), NEITHER, split, digest, source))
    manifest = Manifest({"kind": "folder", "sha256": None}, list(labels), 0, 0.1, pictures)
    manifest.write(folder)
    return manifest
