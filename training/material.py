"""The pictures that two models are compared on: a split of a data set, a folder, or what an endpoint has captured.

Whatever they come from, they end up as files of one folder, so that both models are asked about the same bytes.
Captured ones may be more than memory holds, and nobody knows what most of them show.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from chalicelib.store import NEITHER
from training import capture, layout, pictures
from training.capture import Advance, File, Rules
from training.errors import InputError, PicturesError
from training.folders import Row
from training.layout import Manifest, StagedPicture
from training.pictures import Unreadable

UNKNOWN = ""
"""Label of a picture of which nobody knows what it shows."""


class Kind(StrEnum):
    """What the pictures come from."""

    TEST = "test"
    VALIDATION = "validation"
    REVIEWED = "reviewed"
    PICTURES = "pictures"
    CAPTURED = "captured"


SPLITS = (Kind.TEST, Kind.VALIDATION, Kind.REVIEWED)


@dataclass(frozen=True)
class Material:
    """Pictures to ask models about.

    Attributes:
        kind: what they come from.
        place: where that is.
        folder: where the files are.
        labels: the classes.
        pictures: at least one; the label is a class, `NEITHER`, or `UNKNOWN`.
        sha256: over the pictures and their labels.
        held_back_by: by path, the version of the model that held a picture back, for which a person was asked; None
            where that model did not tell.
        left_out: number of those that cannot be read.
    """

    kind: Kind
    place: str
    folder: Path
    labels: tuple[str, ...]
    pictures: Sequence[StagedPicture]
    sha256: str
    held_back_by: Mapping[str, str | None] = field(default_factory=dict)
    left_out: int = 0


def of_split(data: Path, manifest: Manifest, kind: Kind) -> Material:
    """A split of a data set, with its pictures of none of the classes.

    Raises:
        PicturesError: it has none.
    """
    found = manifest.all_of(kind)
    if not found:
        how = " --reviews TABLE" if kind == Kind.REVIEWED else ""
        raise PicturesError(
            f"{data} has no {kind} pictures. Choose others, or make the data set again with "
            f"`python -m training stage{how}`."
        )
    held_back_by = {path: review.said.model for path, review in manifest.reviews.items()}
    return Material(kind, str(data), data, tuple(manifest.labels), found, manifest.digest(kind), held_back_by)


def of_folder(source: Path, rows: Sequence[Row], labels: Sequence[str], folder: Path, advance: Advance) -> Material:
    """A folder of pictures with their classes, as the workflow would send them to the endpoint.

    Args:
        source: holds `manifest.csv` (path, class, source), or a subfolder for each class.
        rows: its pictures, as `training.further.listed` gives them.
        labels: K classes.
        folder: where the pictures go.
        advance: told of progress.

    Raises:
        PicturesError: there are none that can be read.
    """
    found, left_out = [], 0
    for row in rows:
        advance()
        try:
            picture = pictures.prepare(pictures.read_file(source / row.path))
        except Unreadable:
            left_out += 1
            continue
        found.append(_put(folder, picture, row, Kind.PICTURES))
    if not found:
        raise PicturesError(f"{source} holds no picture that can be read. Name another folder with --pictures.")
    sha256 = layout.digest(found)
    return Material(Kind.PICTURES, str(source), folder, tuple(labels), found, sha256, left_out=left_out)


def of_capture(
    place: str, files: Sequence[File], rules: Rules, reviewed: Mapping[str, str], folder: Path, advance: Advance
) -> Material:
    """What an endpoint was asked about.

    A record that it was asked about twice counts once.

    Args:
        place: where the capture files are, for people.
        files: some of them.
        rules: how they are read; their labels are the classes.
        reviewed: what people have seen on pictures, by the id of the record.
        folder: where the pictures go.
        advance: told of progress.

    Raises:
        InputError: no picture was captured in this time.
    """
    found: dict[str, StagedPicture] = {}
    held_back_by: dict[str, str | None] = {}
    seen: set[str] = set()
    for record, picture in capture.each(files, rules, advance):
        identity = record.inference_id or record.event
        name = quote(identity, safe="")
        seen.add(name)
        if name in found or picture is None:
            continue
        label = reviewed.get(identity, UNKNOWN)
        if label in (*rules.labels, NEITHER):
            held_back_by[name] = record.model
        else:
            label = UNKNOWN
        found[name] = _put(folder, picture, Row(name, label, record.model or ""), Kind.CAPTURED)
    if not found:
        raise InputError(
            f"{place} holds no captured picture {rules.span}. Ask for another time with --since and --until, or deploy "
            "with --capture."
        )
    everything, left_out = list(found.values()), len(seen) - len(found)
    sha256 = layout.digest(everything)
    return Material(Kind.CAPTURED, place, folder, tuple(rules.labels), everything, sha256, held_back_by, left_out)


def _put(folder: Path, picture: bytes, row: Row, kind: Kind) -> StagedPicture:
    path = folder / row.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
    return StagedPicture(row.path, row.label, kind, hashlib.sha256(picture).hexdigest(), row.source)
