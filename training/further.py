"""Further pictures: folders of files as people have them, that nothing was trained on.

Each file is asked about twice: as the workflow would send it, which is what is judged, and, where the model takes its
format, as it is. Both answers should lead to the same decision. What looks like a picture that the data set trains on
is found, mirrored or not, since it flatters the model.

A folder holds a `manifest.csv`, as `training/folders.py` reads it, or a subfolder for each class. What shows another
class than the model's is an other; where nothing tells its source, the name of its class does.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from chalicelib.store import NEITHER
from training import duplicates, folders, layout, metrics, parallel, pictures, predict
from training.breakdown import Json
from training.duplicates import Thumbnail
from training.errors import PicturesError
from training.folders import Row
from training.layout import Manifest, Skipped, StagedPicture
from training.pictures import Unreadable
from training.predict import Advance, Ask, Prediction, Predictor, answered
from training.source import inference

SPLIT = "further"
"""Stands for the split of pictures that are in none."""

NOTHING: Thumbnail = np.empty((0, duplicates.SIDE, duplicates.SIDE, 3), dtype=np.uint8)
"""Of no pictures that are trained on."""


@dataclass(frozen=True)
class Asked:
    """A file that a model was asked about.

    Attributes:
        picture: what is known of it; its path is below the folder, its digest that of the file.
        sent: what the model said about the picture as the workflow would send it.
        straight: what it said about the file itself; None where it does not take it.
        unchanged: whether the workflow would send the file itself.
        thumbnail: what is compared with pictures that are trained on.
    """

    picture: StagedPicture
    sent: Prediction
    straight: Prediction | None
    unchanged: bool
    thumbnail: Thumbnail

    @property
    def change(self) -> float:
        """The largest difference of a probability between the two answers, `known` among them: 0 to 1."""
        if self.straight is None:
            return 0.0
        pairs = [(one, self.straight.probabilities[label]) for label, one in self.sent.probabilities.items()]
        if self.sent.known is not None and self.straight.known is not None:
            pairs.append((self.sent.known, self.straight.known))
        return max(abs(one - other) for one, other in pairs)

    @property
    def agrees(self) -> bool:
        """Whether both answers lead to the same decision: the same likeliest class, and held back alike."""
        straight = self.straight or self.sent
        return (self.sent.predicted, self.sent.reason) == (straight.predicted, straight.reason)


@dataclass(frozen=True)
class Further:
    """A folder of further pictures, and what a model said about them.

    Attributes:
        folder: it.
        labels: the model's classes.
        asked: the files that could be read; at least one.
        skipped: those that could not, and why.
        near_duplicates: paths of those that look like a picture that is trained on.
    """

    folder: Path
    labels: list[str]
    asked: list[Asked]
    skipped: list[Skipped]
    near_duplicates: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def sha256(self) -> str:
        """Over the files and what they show, as of a split."""
        return layout.digest(one.picture for one in self.asked)

    @property
    def classes(self) -> list[Prediction]:
        """What the model said about pictures of the classes."""
        return [one.sent for one in self.asked if one.sent.label in self.labels]

    @property
    def others(self) -> list[Prediction]:
        """What the model said about others."""
        return [one.sent for one in self.asked if one.sent.label not in self.labels]

    def read(self, path: str) -> bytes:
        """A picture as the workflow would send it, by its path below the folder.

        Raises:
            PicturesError: it has gone or changed since the model was asked.
        """
        try:
            return pictures.prepare(pictures.read_file(self.folder / path))
        except Unreadable as error:
            raise PicturesError(f"{self.folder / path} cannot be read any more: {error} Run it again.") from error


def listed(folder: Path, labels: Sequence[str]) -> list[Row]:
    """The files of a folder, with what they show: a class, or `NEITHER`.

    Args:
        folder: it.
        labels: the model's classes.

    Raises:
        PicturesError: there is none, its table is wrong, or the folder cannot be read.
    """
    rows = folders.listed(folder)
    if not rows:
        raise PicturesError(
            f"{folder} holds no pictures to judge by: it needs a {folders.TABLE} that names them, or a subfolder for "
            "each class. Name another folder with --pictures."
        )
    return [row if row.label in labels else replace(row, label=NEITHER, source=row.source or row.label) for row in rows]


def trained_on(data: Path, manifest: Manifest) -> Thumbnail:
    """What is compared of the pictures that a data set trains on.

    Args:
        data: its folder.
        manifest: its manifest.

    Returns:
        uint8 (N, SIDE, SIDE, 3) of `training/duplicates.py`.

    Raises:
        PicturesError: a picture is missing, or is not the one that `stage` wrote.
    """
    trained = [one for split in ("train", "validation") for one in manifest.all_of(split)]
    thumbnails = [_thumbnail(predict.read(data, one)) for one in trained]
    return np.array(thumbnails) if thumbnails else NOTHING


def _thumbnail(body: bytes) -> Thumbnail:
    return duplicates.thumbnail(inference.decode(body).image)


def ask(
    folder: Path, rows: Sequence[Row], labels: Sequence[str], predictor: Predictor, trained: Thumbnail, advance: Advance
) -> Further:
    """Ask a model about the files of a folder.

    Args:
        folder: it.
        rows: its files, as `listed` gives them.
        labels: the model's classes.
        predictor: the model.
        trained: what is compared of the pictures that are trained on, as `trained_on` gives it.
        advance: told of progress.

    Raises:
        PicturesError: not one of the files can be read.
        ModelError: the model knows other labels.
        EndpointFailed: the endpoint does not answer, or not with probabilities.
    """
    asked: list[Asked] = []
    skipped: list[Skipped] = []
    for row, one in zip(
        rows, parallel.each(partial(_ask, folder, labels, predictor.ask), rows, predictor.workers), strict=True
    ):
        if isinstance(one, Asked):
            asked.append(one)
        else:
            skipped.append(Skipped(row.path, one))
        advance()
    if not asked:
        raise PicturesError(
            f"{folder} holds no picture that can be read. {skipped[0].path}: {skipped[0].reason} Name another folder "
            "with --pictures."
        )
    return Further(folder, list(labels), asked, skipped, _alike(asked, trained))


def _alike(asked: Sequence[Asked], trained: Thumbnail) -> frozenset[str]:
    """Paths of the files that look like a picture that is trained on."""
    if not len(trained):
        return frozenset()
    _, distances = duplicates.nearest(np.array([one.thumbnail for one in asked]), trained)
    return frozenset(
        one.picture.path for one, distance in zip(asked, distances, strict=True) if distance <= duplicates.LIMIT
    )


def _ask(folder: Path, labels: Sequence[str], ask_model: Ask, row: Row) -> Asked | str:
    """Ask about one file; a text says why it cannot be read."""
    try:
        body = pictures.read_file(folder / row.path)
        sent = pictures.prepare(body)
    except Unreadable as error:
        return str(error)
    picture = StagedPicture(row.path, row.label, SPLIT, hashlib.sha256(body).hexdigest(), row.source)
    answer = answered(sent, picture, labels, ask_model)
    straight: Prediction | None = answer
    if sent != body:
        try:
            straight = answered(body, picture, labels, ask_model)
        except inference.UnreadableImageError:
            straight = None
    return Asked(picture, answer, straight, unchanged=sent == body, thumbnail=_thumbnail(sent))


def agreement_of(further: Further) -> Json:
    """Whether it matters how a picture comes to the model.

    Returns:
        `compared`, how many files the model takes as they are; `unchanged`, how many of these the workflow would send
        to the byte, so that nothing can change; `same`, the share of the compared on which both answers lead to the
        same decision, and `same_of_reworked`, of those that are not unchanged; `largest_change` of a probability or
        of `known`, None of nothing; and `changed`: the files that are decided otherwise, with `path`, `sent` and
        `straight`, each of `predicted`, `confidence`, `known` and `accepted`.
    """
    compared = [one for one in further.asked if one.straight is not None]
    return {
        "compared": len(compared),
        "unchanged": sum(one.unchanged for one in compared),
        "same": asdict(metrics.share([one.agrees for one in compared])),
        "same_of_reworked": asdict(metrics.share([one.agrees for one in compared if not one.unchanged])),
        "largest_change": max((one.change for one in compared), default=None),
        "changed": [
            {"path": one.picture.path, "sent": _said(one.sent), "straight": _said(one.straight or one.sent)}
            for one in compared
            if not one.agrees
        ],
    }


def _said(prediction: Prediction) -> Json:
    return {
        "predicted": prediction.predicted,
        "confidence": prediction.confidence,
        "known": prediction.known,
        "accepted": prediction.is_kept,
    }
