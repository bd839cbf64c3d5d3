"""Trains the head: a linear classifier on the frozen backbone's features, calibrated by cross-validation.

Run by SageMaker, which names the folders in the environment and passes hyperparameters as arguments, or by hand:

    python training/source/train.py --train PICTURES --backbone model/backbone.onnx --model-dir build/model

A channel is a folder of JPEG and PNG pictures. Where it holds a `.lst` file (index, label, file name; tab-separated, as
SageMaker's built-in image classification takes it), labels come from that; otherwise from the folders `bicycle/` and
`motorcycle/`. Everything is chosen on the training channel alone; a validation channel is only measured.

Each picture and its mirror image are training samples. Features are standardised and each of the backbone's outputs is
scaled by 1/sqrt(its length), so that none dominates by its size; then ridge regression on -1 (bicycle) and +1
(motorcycle). Standardisation is folded into the weights that are written. The same pictures, hyperparameters, date and
library versions give the same bytes.

Metrics are printed one a line as `name=value;`, for SageMaker the metric definition `name=([0-9.]+);`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import StratifiedKFold

if TYPE_CHECKING or __package__:
    from . import inference
else:
    import inference

LABELS = ("bicycle", "motorcycle")
SUFFIXES = (".jpg", ".jpeg", ".png")
FEATURES = ("block10", "block14", "block15", "head")
KNOWN_RULE = {
    "classes": {
        "444": "bicycle-built-for-two",
        "518": "crash helmet",
        "535": "disk brake",
        "665": "moped",
        "670": "motor scooter",
        "671": "mountain bike",
        "870": "tricycle",
        "880": "unicycle",
    },
    "picture_cut": 0.1,
    "thumbnail_cut": 0.02,
    "thumbnail_side": 64,
}
MIN_KNOWN = 0.5
TEMPERATURES = np.geomspace(0.02, 5.0, 400)
THRESHOLDS = np.arange(50, 100) / 100
DISTRIBUTIONS = ("numpy", "onnxruntime", "pillow", "scikit-learn")
CODE_FILES = ("inference.py", "requirements.txt")
SIGNIFICANT_DIGITS = 7

Matrix = NDArray[np.float64]
Targets = NDArray[np.int64]


class DataError(ValueError):
    """A channel does not hold what training needs."""


@dataclass(frozen=True)
class Sample:
    """A picture's file and its label, an index into `LABELS`."""

    path: Path
    label: int


@dataclass(frozen=True)
class Head:
    """A linear head: the score of a feature row `x` is `x @ weights + bias`, positive for the second label."""

    weights: Matrix
    bias: float


@dataclass(frozen=True)
class Calibration:
    """What cross-validation chose, and the figures that it chose them by.

    Attributes:
        temperature: Divides the score.
        threshold: Smallest confidence whose kept pictures are right often enough.
        accuracy: Of all pictures, 0..1.
        nll: Mean negative log likelihood of the right label, natural logarithm.
        kept: Share of the pictures at or above the threshold, 0..1.
        kept_accuracy: Of those, 0..1.
    """

    temperature: float
    threshold: float
    accuracy: float
    nll: float
    kept: float
    kept_accuracy: float


def read_channel(folder: Path) -> list[Sample]:
    """Lists a channel's pictures, sorted by path.

    Raises:
        DataError: Files or labels are missing.
    """
    lists = sorted(folder.glob("*.lst"))
    if len(lists) > 1:
        raise DataError(f"{folder} holds {len(lists)} .lst files; one is needed.")
    samples = _read_list(lists[0]) if lists else _read_class_folders(folder)
    missing = [label for index, label in enumerate(LABELS) if all(sample.label != index for sample in samples)]
    if missing:
        raise DataError(f"{folder} holds no picture of: {', '.join(missing)}.")
    return sorted(samples, key=lambda sample: sample.path.relative_to(folder).as_posix())


def _read_class_folders(folder: Path) -> list[Sample]:
    return [
        Sample(path, index)
        for index, label in enumerate(LABELS)
        for path in (folder / label).glob("*")
        if path.suffix.lower() in SUFFIXES
    ]


def _read_list(path: Path) -> list[Sample]:
    found = {picture.name: picture for picture in path.parent.rglob("*") if picture.suffix.lower() in SUFFIXES}
    samples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) != 3 or fields[1] not in ("0", "1"):
            raise DataError(f"{path}, line {number}: expected index, label 0 or 1, and file name, tab-separated.")
        picture = path.parent / fields[2]
        picture = picture if picture.is_file() else found.get(Path(fields[2]).name, picture)
        if not picture.is_file():
            raise DataError(f"{path}, line {number}: there is no picture {fields[2]}.")
        samples.append(Sample(picture, int(fields[1])))
    return samples


def data_digest(samples: Sequence[Sample]) -> str:
    """SHA-256 over all pictures' bytes and labels; neither file names nor their order matter."""
    lines = sorted(f"{hashlib.sha256(sample.path.read_bytes()).hexdigest()} {sample.label}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def extract_all(samples: Sequence[Sample], session: Any, size: int) -> dict[str, Matrix]:
    """Runs the backbone over pictures and their mirror images, with progress on standard output.

    Args:
        samples: N pictures.
        session: The backbone.
        size: Side of the square that pictures are resized to, in px.

    Returns:
        For each name in `FEATURES` an array (N, 2, length); the middle axis is the picture and its mirror image.
    """
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in FEATURES}
    step = max(1, len(samples) // 10)
    for number, sample in enumerate(samples, start=1):
        pixels = inference.prepare(inference.decode(sample.path.read_bytes()), size)
        for name, values in inference.extract(session, pixels, FEATURES).items():
            rows[name].append(values)
        if number % step == 0 or number == len(samples):
            print(f"features: {number} of {len(samples)} pictures", flush=True)
    return {name: np.stack(values).astype(np.float64) for name, values in rows.items()}


def fit(features: Matrix, lengths: Sequence[int], targets: Targets, alpha: float) -> Head:
    """Fits the head.

    Args:
        features: (N, 2, sum of lengths), pictures and their mirror images.
        lengths: Lengths of the backbone's outputs that lie side by side in `features`.
        targets: (N,), indices into `LABELS`.
        alpha: Ridge penalty.
    """
    rows = features.reshape(-1, features.shape[-1])
    mean = rows.mean(axis=0)
    spread = (rows.std(axis=0) + 1e-6) * np.sqrt(np.repeat(lengths, lengths))
    ridge = Ridge(alpha=alpha, solver="cholesky").fit((rows - mean) / spread, np.repeat(2.0 * targets - 1.0, 2))
    weights = ridge.coef_ / spread
    return Head(weights, float(ridge.intercept_ - mean @ weights))


def scores(features: Matrix, head: Head) -> Matrix:
    """Scores of N pictures, each averaged with its mirror image: (N, 2, length) to (N,)."""
    found: Matrix = features.mean(axis=1) @ head.weights + head.bias
    return found


def cross_validate(
    features: Matrix, lengths: Sequence[int], targets: Targets, *, alpha: float, folds: int, seed: int
) -> Matrix:
    """Scores each of N pictures with a head that has seen neither it nor its mirror image; (N,)."""
    found = np.zeros(len(targets))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed).split(targets, targets)
    for number, (seen, unseen) in enumerate(split, start=1):
        found[unseen] = scores(features[unseen], fit(features[seen], lengths, targets[seen], alpha))
        print(f"cross-validation: fold {number} of {folds}", flush=True)
    return found


def negative_log_likelihood(found: Matrix, targets: Targets, temperature: float) -> float:
    """Mean over pictures of -ln(probability of the right label)."""
    margins = np.where(targets == 1, found, -found) / temperature
    return float(np.logaddexp(0.0, -margins).mean())


def calibrate(found: Matrix, targets: Targets, precision: float) -> Calibration:
    """Chooses temperature and threshold by scores of unseen pictures.

    Args:
        found: Cross-validated scores, (N,).
        targets: (N,), indices into `LABELS`.
        precision: Share of the kept pictures that must be right. Where no threshold reaches it, the largest is taken.
    """
    losses = [negative_log_likelihood(found, targets, temperature) for temperature in TEMPERATURES]
    temperature = rounded(float(TEMPERATURES[int(np.argmin(losses))]))
    confidence = 1 / (1 + np.exp(-np.abs(found) / temperature))
    right = (found > 0) == (targets == 1)
    good = [limit for limit in THRESHOLDS if np.any(kept := confidence >= limit) and right[kept].mean() >= precision]
    threshold = float(good[0] if good else THRESHOLDS[-1])
    kept = confidence >= threshold
    return Calibration(
        temperature=temperature,
        threshold=threshold,
        accuracy=float(right.mean()),
        nll=negative_log_likelihood(found, targets, temperature),
        kept=float(kept.mean()),
        kept_accuracy=float(right[kept].mean()) if kept.any() else 0.0,
    )


def rounded(value: float) -> float:
    """A number to the digits that are written, so that what is read back is what was measured."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def split_weights(weights: Matrix, lengths: Mapping[str, int]) -> dict[str, list[float]]:
    """The head's one vector as a list for each of the backbone's outputs."""
    parts = np.split(weights, np.cumsum(list(lengths.values()))[:-1])
    return {name: [rounded(float(value)) for value in part] for name, part in zip(lengths, parts, strict=True)}


def to_json(content: Mapping[str, Any]) -> str:
    """JSON with an indent of 2, but lists of numbers filled into lines instead of one number a line."""
    text = json.dumps(content, indent=2)
    return re.sub(r"\[\s+(-?[0-9][^\]\"]*?)\s+\]", lambda found: f"[\n{_fill(found[1])}\n    ]", text) + "\n"


def _fill(numbers: str) -> str:
    return textwrap.fill(" ".join(numbers.split()), 118, initial_indent="      ", subsequent_indent="      ")


def with_version(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Puts `version` first: the name and a digest of all the rest."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {"version": f"{name}-{digest[:12]}"} | content


def provenance(arguments: argparse.Namespace, samples: Sequence[Sample], backbone: Path) -> dict[str, Any]:
    """Where a head comes from: data, hyperparameters, libraries and backbone."""
    return {
        "date": arguments.date,
        "data_sha256": data_digest(samples),
        "pictures": {label: sum(sample.label == index for sample in samples) for index, label in enumerate(LABELS)},
        "backbone_sha256": hashlib.sha256(backbone.read_bytes()).hexdigest(),
        "hyperparameters": {key: getattr(arguments, key) for key in ("alpha", "folds", "precision", "seed")},
        "libraries": {name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
    }


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains, prints the metrics, writes the model folder and returns the head's content."""
    backbone: Path = arguments.backbone
    if backbone.is_dir():
        backbone /= inference.BACKBONE_FILE
    samples = read_channel(arguments.train)
    session = inference.open_backbone(backbone)
    targets = np.array([sample.label for sample in samples])
    by_name = extract_all(samples, session, arguments.size)
    lengths = {name: values.shape[-1] for name, values in by_name.items()}
    features = np.concatenate(list(by_name.values()), axis=-1)
    unseen = cross_validate(
        features, list(lengths.values()), targets, alpha=arguments.alpha, folds=arguments.folds, seed=arguments.seed
    )
    calibration = calibrate(unseen, targets, arguments.precision)
    head = fit(features, list(lengths.values()), targets, arguments.alpha)

    figures = {
        key: rounded(value) for key, value in vars(calibration).items() if key not in ("temperature", "threshold")
    }
    content = with_version(
        arguments.name,
        {
            "labels": list(LABELS),
            "size": arguments.size,
            "temperature": calibration.temperature,
            "threshold": calibration.threshold,
            "min_known": MIN_KNOWN,
            "known": KNOWN_RULE,
            "provenance": provenance(arguments, samples, backbone) | {"cross_validation": figures},
            "bias": rounded(head.bias),
            "weights": split_weights(head.weights, lengths),
        },
    )
    print(f"train_pictures={len(samples)};")
    for key, value in {**figures, "temperature": calibration.temperature, "threshold": calibration.threshold}.items():
        print(f"cross_validation_{key}={value:.6f};")
    write_model(arguments.model_dir, content, backbone, head_only=arguments.head_only)
    if arguments.validation is not None:
        for key, value in validate(arguments.validation, session, head, calibration, arguments.size):
            print(f"validation_{key}={value:.6f};")
    return content


def validate(
    folder: Path, session: Any, head: Head, calibration: Calibration, size: int
) -> Iterator[tuple[str, float]]:
    """Measures a head on a channel that it has not seen; yields names and values of metrics."""
    samples = read_channel(folder)
    features = np.concatenate(list(extract_all(samples, session, size).values()), axis=-1)
    targets = np.array([sample.label for sample in samples])
    found = scores(features, head)
    right = (found > 0) == (targets == 1)
    kept = 1 / (1 + np.exp(-np.abs(found) / calibration.temperature)) >= calibration.threshold
    yield "accuracy", float(right.mean())
    yield "nll", negative_log_likelihood(found, targets, calibration.temperature)
    yield "kept", float(kept.mean())
    if kept.any():
        yield "kept_accuracy", float(right[kept].mean())


def write_model(folder: Path, content: Mapping[str, Any], backbone: Path, *, head_only: bool) -> None:
    """Writes the model folder: the head, and unless told otherwise the backbone and the code that serves them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / inference.HEAD_FILE).write_text(to_json(content), encoding="utf-8")
    if head_only:
        return
    shutil.copyfile(backbone, folder / inference.BACKBONE_FILE)
    code = folder / "code"
    code.mkdir(exist_ok=True)
    for name in CODE_FILES:
        shutil.copyfile(Path(__file__).with_name(name), code / name)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; SageMaker's environment variables give the folders' defaults."""
    parser = argparse.ArgumentParser(description="Trains the head on a frozen backbone.")

    def folder(option: str, variable: str, text: str, *, required: bool = True) -> None:
        default = os.environ.get(variable)
        parser.add_argument(
            option, type=Path, default=default, required=required and default is None, help=f"{text} (${variable})"
        )

    folder("--train", "SM_CHANNEL_TRAIN", "training pictures")
    folder("--validation", "SM_CHANNEL_VALIDATION", "pictures that are only measured", required=False)
    folder("--backbone", "SM_CHANNEL_BACKBONE", "backbone.onnx, or the folder that holds it")
    folder("--model-dir", "SM_MODEL_DIR", "where the model is written")
    parser.add_argument("--head-only", action="store_true", help="write head.json alone, no backbone and no code")
    parser.add_argument("--alpha", type=float, default=10.0, help="ridge penalty")
    parser.add_argument("--size", type=int, default=160, help="side of the square that pictures are resized to, in px")
    parser.add_argument("--folds", type=int, default=5, help="folds of cross-validation")
    parser.add_argument("--precision", type=float, default=0.99, help="share of the kept that must be right")
    parser.add_argument("--seed", type=int, default=0, help="of the split into folds")
    parser.add_argument("--name", default="lite0-ridge", help="first part of the version, at most 27 characters")
    parser.add_argument("--date", help="recorded in the head as it is given")
    parsed = parser.parse_args(arguments)
    if len(parsed.name) > 27:
        parser.error("--name takes at most 27 characters.")
    return parsed


if __name__ == "__main__":
    train(parse())
