"""What the backbone made of pictures, kept in a folder so that a training job that was interrupted goes on from there.

SageMaker keeps `/opt/ml/checkpoints` in S3 while a managed spot job is interrupted and puts it back before it goes on:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Features = dict[str, NDArray[np.float32]]
"""For each of the backbone's outputs an array (2, length): a picture and its mirror image."""

PICTURES = "pictures"
"""The array that holds the pictures' SHA-256; an output of the backbone may not have this name."""


def key(backbone: Path, size: int, names: tuple[str, ...]) -> str:
    """What features belong to, as a short digest: the backbone's file, the side of the pictures, and the outputs."""
    content = f"{hashlib.sha256(backbone.read_bytes()).hexdigest()} {size} {' '.join(names)}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def save(folder: Path, belongs_to: str, features: Mapping[str, Features]) -> None:
    """Keep the features of some pictures, in a file of their own.

    Args:
        folder: where they are kept.
        belongs_to: what `key` says.
        features: those of each picture, by the SHA-256 of its file.
    """
    digests = sorted(features)
    names = list(features[digests[0]])
    arrays = {name: np.stack([features[digest][name] for digest in digests]) for name in names}
    part = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    path = folder / f"features-{belongs_to}-{part}.npz"
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **{PICTURES: np.array(digests)}, **arrays)
    unfinished.replace(path)


def load(folder: Path, belongs_to: str) -> dict[str, Features]:
    """Read back all that was kept, by the SHA-256 of each picture's file; a damaged file is passed over."""
    found: dict[str, Features] = {}
    for path in sorted(folder.glob(f"features-{belongs_to}-*.npz")):
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            found |= _read(path)
    return found


def _read(path: Path) -> dict[str, Features]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    digests = arrays.pop(PICTURES)
    return {str(digest): {name: arrays[name][row] for name in arrays} for row, digest in enumerate(digests)}
