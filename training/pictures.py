"""Where the pictures of a data set come from: CIFAR-100's archive, or a folder with a subfolder for each class.

CIFAR's pictures are taken as they are. Pictures of a folder are brought to what the workflow would send to the
endpoint, by the workflow's own code, so that training sees what serving sees.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chalicelib import images
from chalicelib.errors import PictureError
from chalicelib.limits import MAX_BYTES
from training import archive
from training.errors import PicturesError
from training.fit import LABEL
from training.layout import Review, Skipped
from training.source import inference

PASSED_OVER = ("Thumbs.db", "desktop.ini", "__MACOSX")
"""What other programs leave in folders of pictures, beside names that begin with a dot."""

Pixels = NDArray[np.uint8]


class Unreadable(Exception):
    """A picture cannot be read; the message says why."""


@dataclass(frozen=True)
class Found:
    """A picture where it comes from.

    Attributes:
        name: with folders and slashes, for people.
        label: its class.
        split: "train" or "test" where its source says so, else None.
        read: gives its pixels, uint8 (height, width, 3), RGB; raises `Unreadable`.
        review: where its label comes from, if a person has reviewed it; the label may be `NEITHER` then.
    """

    name: str
    label: str
    split: str | None
    read: Callable[[], Pixels]
    review: Review | None = None


@dataclass(frozen=True)
class Source:
    """What a data set is made of.

    Attributes:
        about: for the manifest.
        labels: in the order of their numbers.
        pictures: sorted by name; before them reviewed ones, those reviewed last foremost.
        skipped: what was left out already.
    """

    about: dict[str, str | None]
    labels: list[str]
    pictures: list[Found]
    skipped: list[Skipped] = field(default_factory=list)


def from_archive(path: Path, sha256: str, labels: Sequence[str]) -> Source:
    """Some classes of CIFAR-100.

    Args:
        path: the archive, which has been verified.
        sha256: its digest.
        labels: the classes, in the order that their numbers shall have.

    Raises:
        ArchiveError: it is damaged, or not laid out as CIFAR-100 is.
        PicturesError: a class does not exist, or cannot be used.
    """
    _check_labels(labels)
    cifar = archive.read(path)
    numbers = archive.choose(cifar.classes, labels)
    pictures = [
        Found(
            f"{name}/{split.names[index]}", labels[numbers.index(number)], name, partial(np.array, split.pixels[index])
        )
        for name, split in (("train", cifar.train), ("test", cifar.test))
        for index, number in enumerate(split.labels)
        if number in numbers
    ]
    return Source({"kind": "cifar-100", "sha256": sha256}, list(labels), _sorted(pictures))


def from_folder(folder: Path, labels: Sequence[str] = ()) -> Source:
    """The pictures of a folder with a subfolder for each class.

    Hidden files are passed over. Folders within a class's folder belong to the class. Links to files, and links that
    stand for a class's folder, are followed; links to folders deeper down are not, since they may lead in circles.

    Args:
        folder: it.
        labels: the classes, in the order that their numbers shall have; all of them, sorted, if there are none.

    Raises:
        PicturesError: a class does not exist, cannot be used or has no file, or a folder cannot be listed.
    """
    there = sorted(path.name for path in _listed(folder) if path.is_dir())
    unknown = [label for label in labels if label not in there]
    if unknown:
        raise PicturesError(
            f"{folder} has no class {', '.join(unknown)}. It has: {', '.join(there) or 'no subfolders'}. Choose among "
            "these with --classes."
        )
    labels = list(labels or there)
    if len(labels) < 2:
        raise PicturesError(
            f"{folder} needs a subfolder of pictures for each class, and at least two of them. It has: "
            f"{', '.join(there) or 'no subfolders'}."
        )
    _check_labels(labels)
    strays = [path.name for path in _listed(folder) if not path.is_dir()]
    pictures = [
        Found(path.relative_to(folder).as_posix(), label, None, partial(_read_file, path))
        for label in labels
        for path in _files(folder / label)
    ]
    return Source(
        {"kind": "folder", "sha256": None},
        labels,
        _sorted(pictures),
        [Skipped(name, "It lies in no class's folder.") for name in strays],
    )


def _check_labels(labels: Sequence[str]) -> None:
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise PicturesError(f"The class {twice[0]} is named twice. Name each class once.")
    if len(labels) < 2:
        raise PicturesError(f"One class is not enough to tell apart: {', '.join(labels)}. Name at least two.")
    wrong = [label for label in labels if not LABEL.fullmatch(label)]
    if wrong:
        raise PicturesError(
            f"{wrong[0]!r} cannot be the name of a class: names consist of letters, digits, blanks and _ . - and begin "
            "with a letter, a digit or _, and no blank ends them. Rename its folder."
        )


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not _is_hidden(path.name))
    except OSError as error:
        raise PicturesError(f"{folder} cannot be listed: {error.strerror}.") from error


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise PicturesError(f"{error.filename} cannot be listed: {error.strerror}.") from error

    for where, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (Path(where) / name for name in files if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in PASSED_OVER


def _read_file(path: Path) -> Pixels:
    if not path.is_file():
        raise Unreadable("It is no file, or a link that leads nowhere.")
    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise Unreadable(f"The file cannot be read: {error.strerror or error}.") from error


def decode(data: bytes) -> Pixels:
    """A picture as the workflow would send it to the endpoint.

    Args:
        data: a file of any format that the workflow takes.

    Returns:
        Its pixels, as `Found.read` gives them.

    Raises:
        Unreadable: it is no picture, or a broken one.
    """
    try:
        picture = images.prepare(data, "")  # names are not held against pictures here
        return np.asarray(inference.decode(picture.data).image)
    except (PictureError, inference.UnreadableImageError) as error:
        raise Unreadable(str(error)) from error


def _sorted(pictures: Sequence[Found]) -> list[Found]:
    return sorted(pictures, key=lambda found: found.name)
