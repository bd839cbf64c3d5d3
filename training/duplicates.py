"""Finds pictures that look alike, by what is left of them at 16 x 16 pixels.

A test picture that looks like a training picture is no test. Two pictures are compared as small colour pictures, each
after its mean is taken away and its contrast is brought to one, so that size, compression and exposure hardly matter;
the distance is one less their correlation, the mirror image being tried, too. It is 0 for the same picture, 1 for
pictures that have nothing in common, and at most 2.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

SIDE = 16
"""Of the small picture, in px: half of CIFAR's. At 8 px, motorcycles before white cannot be told apart."""

LIMIT = 0.1
"""Largest distance that counts as alike, chosen by looking at the pairs that it finds.

Between the test and training pictures of CIFAR's bicycles and motorcycles, pairs up to 0.15 are the same vehicle, or
the same product in another colour, and from 0.16 on others come in. Between 1,275 photos, many of them of products,
pairs up to 0.01 are the same photo, up to 0.1 the same scene or the same product in another colour, and from 0.11 on
other vehicles before the same white wall come in.
"""

_CHUNK = 512
_FLAT = 1e-3  # contrast, of tones from 0 to 255, below which a picture shows nothing and is like no other

Thumbnail = NDArray[np.uint8]


def thumbnail(image: Image.Image) -> Thumbnail:
    """What is compared of a picture.

    Args:
        image: RGB, of any size.

    Returns:
        uint8 (SIDE, SIDE, 3).
    """
    return np.asarray(image.resize((SIDE, SIDE), Resampling.BOX))


def nearest(pictures: Thumbnail, others: Thumbnail) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The most similar other picture of each picture.

    Args:
        pictures: uint8 (N, SIDE, SIDE, 3).
        others: uint8 (M, SIDE, SIDE, 3), M at least 1.

    Returns:
        Indices into `others`, (N,), and the distances, float32 (N,).
    """
    rows = _normalized(others).T
    found = [_nearest(pictures[start : start + _CHUNK], rows) for start in range(0, len(pictures), _CHUNK)]
    indices = np.concatenate([index for index, _ in found] or [np.empty(0, np.intp)])
    distances = np.concatenate([distance for _, distance in found] or [np.empty(0, np.float32)])
    return indices, distances


def _nearest(pictures: Thumbnail, rows: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    correlation = np.maximum(_normalized(pictures) @ rows, _normalized(pictures[:, :, ::-1]) @ rows)
    index = correlation.argmax(axis=1)
    return index, np.maximum(0, 1 - correlation[np.arange(len(pictures)), index])


def _normalized(pictures: Thumbnail) -> NDArray[np.float32]:
    """Rows (N, SIDE * SIDE * 3) of mean 0 and length 1; all 0 for a picture without contrast."""
    rows = pictures.reshape(len(pictures), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > _FLAT)
    return scaled
