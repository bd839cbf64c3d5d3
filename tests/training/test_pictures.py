from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chalicelib import images
from tests.training.archives import CLASSES, split, write_archive
from tests.training.datasets import KINDS, OTHERS, variation, write_folder
from training.errors import PicturesError
from training.folders import from_folder
from training.layout import Skipped
from training.pictures import Found, Pixels, Source, Unreadable, from_archive, hold_out
from training.source import inference

LABELS = ("bicycle", "motorcycle")


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "cifar.tar.gz", train=3, test=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures", each=3, size=40)


def read(folder: Path, name: str) -> Pixels:
    (found,) = [found for found in from_folder(folder).pictures if found.name == name]
    return found.read()


def test_archive_gives_the_classes_that_are_wanted_with_its_own_splits(cifar: Path) -> None:
    source = from_archive(cifar, "ab" * 32, ("motorcycle", CLASSES[0], "bicycle"))
    assert source.about == {"kind": "cifar-100", "sha256": "ab" * 32}
    assert source.labels == ["motorcycle", CLASSES[0], "bicycle"]
    assert [(found.name, found.label, found.split) for found in source.pictures] == [
        *((f"test/{kind}_s_{number:06}.png", kind, "test") for kind in LABELS for number in (1000, 1001)),
        *((f"train/{kind}_s_{number:06}.png", kind, "train") for kind in LABELS for number in range(3)),
    ]
    assert np.array_equal(source.pictures[0].read(), np.asarray(variation("bicycle", 1000, 32)))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 20 training and 8 test pictures of each class, and of each of two others."""
    members = {"train": split(range(20), KINDS | OTHERS), "test": split(range(1000, 1008), KINDS | OTHERS)}
    return write_archive(tmp_path_factory.mktemp("archive") / "cifar.tar.gz", 0, 0, members)


def others(source: Source) -> list[Found]:
    return [found for found in source.pictures if found.label == "neither"]


def test_archive_gives_as_many_others_of_each_class_in_its_own_splits(mixed: Path) -> None:
    source = from_archive(mixed, "", LABELS, others=28)
    assert Counter((found.split, found.source) for found in others(source)) == {
        **{("train", kind): 10 for kind in OTHERS},
        **{("test", kind): 4 for kind in OTHERS},
    }
    assert Counter((found.label, found.source) for found in source.pictures if found.label != "neither") == {
        (kind, kind): 28 for kind in LABELS
    }
    assert source.labels == list(LABELS)
    for found in others(source):
        number = int(found.name.rpartition("_")[2].removesuffix(".png"))
        assert np.array_equal(found.read(), np.asarray(variation(found.source, number, 32)))


def test_another_seed_draws_others_from_the_archive_and_the_same_seed_the_same(mixed: Path) -> None:
    drawn = [{found.name for found in others(from_archive(mixed, "", LABELS, 20, seed))} for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == len(drawn[2]) == 20


def test_archive_gives_all_others_where_there_are_fewer_and_none_where_none_are_wanted(mixed: Path) -> None:
    assert len(others(from_archive(mixed, "", LABELS, 2000))) == 2 * 28
    assert others(from_archive(mixed, "", LABELS)) == []
    assert {found.source for found in others(from_archive(mixed, "", (*LABELS, "house"), 2000))} == {"flower"}


def test_pictures_of_sources_that_are_held_out_are_all_for_testing(mixed: Path) -> None:
    source = hold_out(from_archive(mixed, "", LABELS, 2000), ["house", "house"])
    assert source.test_sources == ["house"]
    assert {found.split for found in source.pictures if found.source == "house"} == {"test"}
    assert {found.split for found in source.pictures if found.source == "flower"} == {"train", "test"}


def test_source_that_is_not_there_is_told(mixed: Path, folder: Path) -> None:
    with pytest.raises(PicturesError, match=r"No picture comes from web\. The sources are: bicycle, motorcycle\."):
        hold_out(from_archive(mixed, "", LABELS), ["bicycle", "web"])
    with pytest.raises(PicturesError, match="The sources are: not told"):
        hold_out(from_folder(folder), ["web"])


def test_folder_gives_its_subfolders_as_classes(folder: Path) -> None:
    (folder / "notes.txt").touch()
    source = from_folder(folder)
    assert source.about == {"kind": "folder", "sha256": None}
    assert source.labels == list(LABELS)
    assert [found.name for found in source.pictures] == [
        f"{kind}/{number:03}.png" for kind in LABELS for number in range(3)
    ]
    assert {found.split for found in source.pictures} == {None}
    assert source.skipped == [Skipped("notes.txt", "It lies in no class's folder.")]
    assert np.array_equal(source.pictures[0].read(), np.asarray(variation("bicycle", 0, 40)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "The file is empty"),
        (b"left to right", "not a picture"),
        (b"\xff\xd8\xff", "The JPEG picture is damaged"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIC format, which is not taken"),
        (b"\x89PNG\r\n\x1a\n" + bytes(26 * 2**20), "at most 25 MiB are taken"),
    ],
)
def test_file_that_cannot_be_read_says_why(data: bytes, reason: str, folder: Path) -> None:
    (folder / "bicycle" / "x.png").write_bytes(data)
    with pytest.raises(Unreadable, match=reason):
        read(folder, "bicycle/x.png")


def save_turned(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.jpg", lambda image, path: image.save(path, quality=95)),
        ("a.webp", lambda image, path: image.save(path, lossless=True)),
        ("a.gif", lambda image, path: image.save(path)),
        ("a.tiff", lambda image, path: image.save(path)),
        ("a.png", lambda image, path: image.convert("RGBA").save(path)),
        ("a.jpg", lambda image, path: image.convert("CMYK").save(path)),
        ("a.png", lambda image, path: image.convert("L").save(path)),
        ("turned.jpg", save_turned),
        ("no extension", lambda image, path: image.save(path, "PNG")),
        ("lies.png", lambda image, path: image.save(path, "JPEG")),
    ],
)
def test_picture_of_any_format_that_the_workflow_takes_becomes_what_the_endpoint_would_see(
    name: str, save: Callable[[Image.Image, Path], None], folder: Path
) -> None:
    image = variation("bicycle", 99, 1200).crop((0, 0, 1200, 700))
    save(image, folder / "bicycle" / name)
    pixels = read(folder, f"bicycle/{name}")
    sent = inference.decode(images.prepare((folder / "bicycle" / name).read_bytes(), "").data).image
    assert np.array_equal(pixels, np.asarray(sent))
    assert pixels.shape == ((329, 192, 3) if name.startswith("turned") else (192, 329, 3))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("bicycle", "car"), r"has no class car\. It has: bicycle, motorcycle\."),
        (("bicycle",), "at least two of them"),
        (("bicycle", "bicycle"), "bicycle is named twice"),
    ],
)
def test_class_that_cannot_be_had_is_told(labels: tuple[str, ...], message: str, folder: Path) -> None:
    with pytest.raises(PicturesError, match=message):
        from_folder(folder, labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("bicycle", "car"), r"no class car\. It has: bicycle, class_00, "),
        (("bicycle",), "One class is not enough"),
        (("bicycle", "motorcycle", "bicycle"), "named twice"),
        (("bicycle", "a,b"), "cannot be the name of a class"),
    ],
)
def test_class_that_the_archive_cannot_give_is_told(labels: tuple[str, ...], message: str, cifar: Path) -> None:
    with pytest.raises(PicturesError, match=message):
        from_archive(cifar, "", labels)


@pytest.mark.parametrize("name", ["it's", "a,b", "-a", "a\tb", "räder!", "bicycle "])
def test_class_whose_name_cannot_be_passed_on_is_told(name: str, folder: Path) -> None:
    (folder / name).mkdir()
    with pytest.raises(PicturesError, match=r"cannot be the name of a class.*Rename it\."):
        from_folder(folder)


def test_folder_without_subfolders_is_told(tmp_path: Path) -> None:
    variation("bicycle", 1, 32).save(tmp_path / "1.png")
    with pytest.raises(PicturesError, match="It has: no subfolders"):
        from_folder(tmp_path)
