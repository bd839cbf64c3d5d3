"""Where each step puts what the next one reads, and the two files that pass between them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chalicelib.store import NEITHER
from training.errors import ModelError, PicturesError

APP = "scones-unlimited"
"""The application's name in `.chalice/config.json`; names of what training makes on AWS begin with it."""

ROOT = Path(__file__).resolve().parent.parent
COMMITTED_MODEL = ROOT / "model"

DATA = Path("build/data")
MODEL = Path("build/model")
ARCHIVE = Path("build/model.tar.gz")
TRAINING_RECORD = Path("build/training.json")
EVALUATION = Path("build/evaluation")
MONITORING = Path("build/monitoring")

MANIFEST_FILE = "manifest.json"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
S3_FOLDERS = S3_DATA, S3_BACKBONE, S3_CHECKPOINTS, S3_JOBS, S3_MODELS, S3_CAPTURE = (
    "data",
    "backbone",
    "checkpoints",
    "jobs",
    "models",
    "capture",
)
"""What training puts below its place in S3; it touches nothing else there."""

SPLITS = ("train", "validation", "test")
REVIEWED = "reviewed"
"""One split more: reviewed pictures that are kept out of training, to show how a model does on them."""

FORMAT_VERSION = 1
"""Of the metrics; raised when a reader of the old shape would go wrong."""

MANIFEST_VERSION = 3
"""Of the manifest; so is this. From 2 on there may be reviews, from 3 on others."""

READABLE = (1, 2, MANIFEST_VERSION)
"""Versions of the manifest that are read: an earlier one is as this is, without what it does not have yet."""


@dataclass(frozen=True)
class StagedPicture:
    """A picture of the data set.

    Attributes:
        path: below the data set's folder, with slashes: `SPLIT/LABEL/NAME.png`.
        label: one of the data set's labels; or `NEITHER`, which is no class: the picture shows none of them.
        split: one of `SPLITS`, or `REVIEWED`.
        sha256: of the file.
        source: where it comes from, to show figures by it: the archive's class, what a folder's `manifest.csv` says, or
            the folder that it lay in; "" where nothing tells.
    """

    path: str
    label: str
    split: str
    sha256: str
    source: str = ""


def digest(pictures: Iterable[StagedPicture]) -> str:
    """SHA-256 over pictures and their labels, in hexadecimal; neither names nor order matter."""
    lines = sorted(f"{picture.sha256} {picture.label}\n" for picture in pictures)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Said:
    """What a model had said about a picture that was held back.

    Attributes:
        label: the likeliest class.
        confidence: its probability, 0 to 1.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model did not tell.
        threshold: the confidence that was asked for.
        min_known: the `known` that was asked for.
        model: the model's version; None where it did not tell.
    """

    label: str | None
    confidence: float | None
    known: float | None
    threshold: float | None
    min_known: float | None
    model: str | None


@dataclass(frozen=True)
class Review:
    """Where a reviewed picture's label comes from.

    Attributes:
        id: of the classification.
        by: who reviewed it.
        at: when, ISO 8601, UTC.
        note: what else they had to say.
        said: what the model had said before.
    """

    id: str
    by: str
    at: str
    note: str | None
    said: Said


@dataclass(frozen=True)
class NearDuplicate:
    """A picture to judge by that looks like a training or validation picture.

    Attributes:
        test: path of the one, of the test split or of `REVIEWED`.
        other: path of the other.
        distance: how different they are, as `training/duplicates.py` defines it; 0 is the same.
        same_label: whether both have the same label.
    """

    test: str
    other: str
    distance: float
    same_label: bool


@dataclass(frozen=True)
class Skipped:
    """A picture that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What `stage` made; `manifest.json` in the data set's folder.

    Attributes:
        source: where the pictures come from: `kind` ("cifar-100" or "folder"), the archive's `sha256` or None, and
            the table that `reviews` come from, if there are any.
        labels: in the order of their numbers in the `.lst` files and of the model's probabilities.
        seed: of every split.
        validation_share: of the training pictures, 0..1.
        pictures: all of them, others too, sorted by path.
        near_duplicates: between the pictures to judge by, test and reviewed ones, and those to train with.
        skipped: what was left out.
        test_share: of the pictures of a folder, 0..1; None where the source has test pictures of its own.
        reviewed_share: of the reviewed pictures of each class that is kept out of training, 0..1; None without reviews.
        reviews: who reviewed a picture and what the model had said, by the picture's path.
        test_sources: sources whose pictures are all for testing.
        version: of this file's shape.
    """

    source: dict[str, str | None]
    labels: list[str]
    seed: int
    validation_share: float
    pictures: list[StagedPicture]
    near_duplicates: list[NearDuplicate] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    test_share: float | None = None
    reviewed_share: float | None = None
    reviews: dict[str, Review] = field(default_factory=dict)
    test_sources: list[str] = field(default_factory=list)
    version: int = MANIFEST_VERSION

    def split(self, name: str) -> list[StagedPicture]:
        """The pictures of one split that show a class; of `REVIEWED` all of them, whatever they show."""
        return [one for one in self.all_of(name) if name == REVIEWED or not self._is_other(one)]

    def others(self, name: str) -> list[StagedPicture]:
        """The pictures of one split that show none of the classes; those of `REVIEWED` are among its `split`, too."""
        return [one for one in self.all_of(name) if self._is_other(one)]

    def all_of(self, split: str) -> list[StagedPicture]:
        """The pictures of one split, others too."""
        return [picture for picture in self.pictures if picture.split == split]

    def _is_other(self, picture: StagedPicture) -> bool:
        return picture.label == NEITHER and NEITHER not in self.labels

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of pictures by split and label.

        With others, `NEITHER` is one of the labels; with reviews, `REVIEWED` is one of the splits, and has `NEITHER`.
        """
        has_others = any(self.others(name) for name in SPLITS)
        splits = (*SPLITS, REVIEWED) if self.reviews else SPLITS
        return {name: self._count(name, has_neither=has_others or name == REVIEWED) for name in splits}

    def _count(self, split: str, *, has_neither: bool) -> dict[str, int]:
        found = Counter(picture.label for picture in self.all_of(split))
        return {label: found[label] for label in [*self.labels, *([NEITHER] if has_neither else [])]}

    def reviewed(self, split: str) -> list[StagedPicture]:
        """The reviewed pictures of one split, others too."""
        return [picture for picture in self.all_of(split) if picture.path in self.reviews]

    def near_duplicates_of(self, split: str) -> list[NearDuplicate]:
        """Those whose picture to judge by is of one split."""
        return [one for one in self.near_duplicates if one.test.startswith(f"{split}/")]

    def digest(self, split: str) -> str:
        """What `digest` says of the pictures of one split, others too."""
        return digest(self.all_of(split))

    def write(self, folder: Path) -> None:
        """Write `manifest.json`, the counts of each split with it for people to read."""
        content = {"version": self.version, "counts": self.counts()} | asdict(self)
        (folder / MANIFEST_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a data set.

        Raises:
            PicturesError: the folder is no data set, or one of another version.
        """
        content = _read_json(folder / MANIFEST_FILE)
        if content is None:
            raise PicturesError(f"{folder} holds no data set. Make one with `python -m training stage`.")
        if content.pop("version", None) not in READABLE:
            raise PicturesError(f"{folder} was made by another version. Make it again with `python -m training stage`.")
        del content["counts"]
        return cls(
            pictures=[StagedPicture(**one) for one in content.pop("pictures")],
            near_duplicates=[NearDuplicate(**one) for one in content.pop("near_duplicates")],
            skipped=[Skipped(**one) for one in content.pop("skipped")],
            reviews={path: _review(**one) for path, one in content.pop("reviews", {}).items()},
            **content,
        )


@dataclass(frozen=True)
class TrainingRecord:
    """How the last model was trained; what `train` leaves for `register`.

    Attributes:
        algorithm: "head" for `training/source/train.py`, "image-classification" for SageMaker's built-in one.
        job: the training job's name; None if it was trained here.
        labels: in the order of the probabilities.
        archive_sha256: of `model.tar.gz`.
        head_sha256: of the `head.json` in it; None if it has none.
        metrics: what training measured, by name.
    """

    algorithm: str
    job: str | None
    labels: list[str]
    archive_sha256: str
    head_sha256: str | None
    metrics: dict[str, float]

    def write(self, path: Path = TRAINING_RECORD) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path = TRAINING_RECORD) -> "TrainingRecord":
        """Read it back.

        Raises:
            ModelError: there is none.
        """
        content = _read_json(path)
        if content is None:
            raise ModelError(f"There is no {path}. Train a model first, with `python -m training train`.")
        return cls(**content)


def _review(said: dict[str, Any], **review: Any) -> Review:
    return Review(said=Said(**said), **review)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
