"""Where the pictures of a data set come from: CIFAR-100's archive, or folders, which `training/folders.py` reads.

CIFAR's pictures are taken as they are. Pictures of a folder are brought to what the workflow would send to the
endpoint, by the workflow's own code, so that training sees what serving sees.

Beside pictures of the classes there may be others, which show none of them; their label is `NEITHER`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chalicelib import images
from chalicelib.errors import PictureError
from chalicelib.limits import MAX_BYTES
from chalicelib.store import NEITHER
from training import archive
from training.errors import PicturesError
from training.fit import LABEL
from training.layout import Review, Skipped
from training.source import inference

Pixels = NDArray[np.uint8]


class Unreadable(Exception):
    """A picture cannot be read; the message says why."""


@dataclass(frozen=True)
class Found:
    """A picture where it comes from.

    Attributes:
        name: with folders and slashes, for people.
        label: its class, or `NEITHER` where it shows none of them.
        split: "train" or "test" where its source says so, else None.
        read: gives its pixels, uint8 (height, width, 3), RGB; raises `Unreadable`.
        review: where its label comes from, if a person has reviewed it.
        source: where it comes from, as `StagedPicture` has it.
    """

    name: str
    label: str
    split: str | None
    read: Callable[[], Pixels]
    review: Review | None = None
    source: str = ""


@dataclass(frozen=True)
class Source:
    """What a data set is made of.

    Attributes:
        about: for the manifest.
        labels: in the order of their numbers.
        pictures: sorted by name; before them reviewed ones, those reviewed last foremost.
        skipped: what was left out already.
        test_sources: sources whose pictures are all for testing.
    """

    about: dict[str, str | None]
    labels: list[str]
    pictures: list[Found]
    skipped: list[Skipped] = field(default_factory=list)
    test_sources: list[str] = field(default_factory=list)


def from_archive(path: Path, sha256: str, labels: Sequence[str], others: int = 0, seed: int = 0) -> Source:
    """Some classes of CIFAR-100, and others: pictures drawn from the rest of it, as many of each class as can be.

    Args:
        path: the archive, which has been verified.
        sha256: its digest.
        labels: the classes, in the order that their numbers shall have.
        others: how many pictures of the other classes there shall be, divided as the archive is into training and test
            pictures; all of them, if there are fewer.
        seed: another one draws others.

    Raises:
        ArchiveError: it is damaged, or not laid out as CIFAR-100 is.
        PicturesError: a class does not exist, or cannot be used.
    """
    check_labels(labels)
    if others:
        check_has_room_for_others(labels)
    cifar = archive.read(path)
    numbers = archive.choose(cifar.classes, labels)
    in_all = len(cifar.train.labels) + len(cifar.test.labels) or 1
    pictures: list[Found] = []
    for name, split in (("train", cifar.train), ("test", cifar.test)):
        ours = [index for index, number in enumerate(split.labels) if number in numbers]
        drawn = _draw(split, numbers, round(others * len(split.labels) / in_all), seed)
        pictures += [_of_archive(cifar.classes, labels, name, split, index) for index in (*ours, *drawn)]
    return Source({"kind": "cifar-100", "sha256": sha256}, list(labels), in_order(pictures))


def _of_archive(classes: Sequence[str], labels: Sequence[str], name: str, split: archive.Split, index: int) -> Found:
    shown = classes[split.labels[index]]
    label = shown if shown in labels else NEITHER
    return Found(f"{name}/{split.names[index]}", label, name, partial(np.array, split.pixels[index]), source=shown)


def _draw(split: archive.Split, numbers: Sequence[int], count: int, seed: int) -> list[int]:
    """Indices of pictures of other classes than these: the first of each class, the second of each, and so on."""
    ranked: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for index, number in enumerate(split.labels):
        if count and number not in numbers:
            pixels = split.pixels[index].tobytes()
            ranked[number].append((hashlib.sha256(f"{seed} ".encode() + pixels).digest(), index))
    rounds = [(place, *one) for ours in ranked.values() for place, one in enumerate(sorted(ours))]
    return [index for _, _, index in sorted(rounds)[:count]]


def hold_out(source: Source, names: Sequence[str]) -> Source:
    """Make all pictures of some sources test pictures, so that a test tells how a model does on sources it never saw.

    Args:
        source: what a data set is made of.
        names: of the sources whose pictures are for testing.

    Raises:
        PicturesError: there is no such source.
    """
    there = {found.source for found in source.pictures if found.source}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise PicturesError(
            f"No picture comes from {', '.join(unknown)}. The sources are: {', '.join(sorted(there)) or 'not told'}. "
            "Choose among these with --test-sources."
        )
    pictures = [replace(found, split="test") if found.source in names else found for found in source.pictures]
    return replace(source, pictures=pictures, test_sources=sorted(set(names)))


def check_labels(labels: Sequence[str]) -> None:
    """Make sure that classes can be used.

    Raises:
        PicturesError: there are fewer than two, one is named twice, or a name cannot be passed on to training.
    """
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise PicturesError(f"The class {twice[0]} is named twice. Name each class once.")
    if len(labels) < 2:
        raise PicturesError(f"One class is not enough to tell apart: {', '.join(labels)}. Name at least two.")
    wrong = [label for label in labels if not LABEL.fullmatch(label)]
    if wrong:
        raise PicturesError(
            f"{wrong[0]!r} cannot be the name of a class: names consist of letters, digits, blanks and _ . - and begin "
            "with a letter, a digit or _, and no blank ends them. Rename it."
        )


def check_has_room_for_others(labels: Sequence[str]) -> None:
    """Make sure that no class is called as the pictures are that show none of them.

    Raises:
        PicturesError: one is.
    """
    if NEITHER in labels:
        raise PicturesError(
            f"A class cannot be called {NEITHER} where there are others: that is what pictures of none of the classes "
            "are called. Rename the class, or leave it out with --classes."
        )


def read_file(path: Path) -> bytes:
    """The bytes of a file; of one that is too large for a picture, just enough to show it.

    Raises:
        Unreadable: it is no file, or cannot be read.
    """
    if not path.is_file():
        raise Unreadable("It is no file, or a link that leads nowhere.")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"The file cannot be read: {error.strerror or error}.") from error


def prepare(data: bytes) -> bytes:
    """A picture as the workflow would send it to the endpoint; its name is not held against it.

    Args:
        data: a file of any format that the workflow takes.

    Raises:
        Unreadable: it is no picture, or a broken one.
    """
    try:
        return images.prepare(data, "").data
    except PictureError as error:
        raise Unreadable(str(error)) from error


def decode(data: bytes) -> Pixels:
    """The pixels of a picture as the workflow would send it, as `Found.read` gives them.

    Args:
        data: a file of any format that the workflow takes.

    Raises:
        Unreadable: it is no picture, or a broken one.
    """
    try:
        return np.asarray(inference.decode(prepare(data)).image)
    except inference.UnreadableImageError as error:
        raise Unreadable(str(error)) from error


def in_order(pictures: Sequence[Found]) -> list[Found]:
    """Sorted by name."""
    return sorted(pictures, key=lambda found: found.name)
