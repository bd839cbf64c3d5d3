import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from training.duplicates import LIMIT, SIDE, Thumbnail, nearest, thumbnail


def scene(number: int, size: int) -> Image.Image:
    """Soft patches of colour; every number gives others."""
    patches = np.random.default_rng(number).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(patches).resize((size, size), Image.Resampling.BICUBIC)


def thumbnails(*images: Image.Image) -> Thumbnail:
    return np.array([thumbnail(image) for image in images])


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize("size", [32, 300])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image, id="same"),
        pytest.param(ImageOps.mirror, id="mirrored"),
        pytest.param(as_jpeg, id="compressed"),
        pytest.param(lambda image: image.resize((90, 70)), id="resized"),
        pytest.param(lambda image: ImageEnhance.Brightness(image).enhance(0.7), id="darker"),
        pytest.param(lambda image: ImageEnhance.Contrast(image).enhance(0.6), id="paler"),
        pytest.param(lambda image: image.crop((0, 0, image.width - 1, image.height - 1)), id="cropped"),
    ],
)
def test_changed_copy_is_found_among_others(change: Callable[[Image.Image], Image.Image], size: int) -> None:
    scenes = [scene(number, size) for number in range(30)]
    indices, distances = nearest(thumbnails(*map(change, scenes[7:])), thumbnails(*scenes))
    assert indices.tolist() == list(range(7, 30))
    assert distances.max() <= LIMIT


@pytest.mark.parametrize("size", [32, 300])
def test_other_pictures_are_not_alike(size: int) -> None:
    first, others = ([scene(number, size) for number in numbers] for numbers in (range(50), range(50, 100)))
    assert nearest(thumbnails(*first), thumbnails(*others))[1].min() > LIMIT


def test_same_picture_has_distance_0_and_its_negative_is_far_away() -> None:
    picture = scene(1, 64)
    assert nearest(thumbnails(picture), thumbnails(picture))[1].tolist() == pytest.approx([0], abs=1e-6)
    assert nearest(thumbnails(picture), thumbnails(ImageOps.invert(picture)))[1][0] > 1


def test_picture_of_one_colour_is_like_no_other() -> None:
    grey, white = Image.new("RGB", (32, 32), (99, 100, 101)), Image.new("RGB", (32, 32), "white")
    _, distances = nearest(thumbnails(white, white), thumbnails(white, grey))
    assert distances.tolist() == [1, 1]


def test_many_pictures_are_compared_in_chunks() -> None:
    random = np.random.default_rng(0)
    others = random.integers(0, 256, (5000, SIDE, SIDE, 3), np.uint8)
    pictures = others[[*range(4000, 4700), 3]]
    pictures[1] = pictures[1][:, ::-1]
    start = time.perf_counter()
    indices, distances = nearest(pictures, others)
    assert time.perf_counter() - start < 20
    assert indices.tolist() == [*range(4000, 4700), 3]
    assert distances.max() < 1e-5


def test_nothing_is_compared_where_there_is_nothing() -> None:
    indices, distances = nearest(np.empty((0, SIDE, SIDE, 3), np.uint8), thumbnails(Image.new("RGB", (9, 9))))
    assert (indices.shape, distances.shape) == ((0,), (0,))
