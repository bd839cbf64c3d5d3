r"""Trains the head: linear classifiers on the frozen backbone's features, calibrated by cross-validation.

Run by SageMaker, which names the folders in the environment and passes hyperparameters as arguments, or by hand:

    python training/source/train.py --train PICTURES --backbone model/backbone.onnx --model-dir build/model

A channel is a folder of JPEG and PNG pictures. Where it holds a `.lst` file (index, label, file name; tab-separated, as
SageMaker's built-in image classification takes it), labels come from that; otherwise from a folder for each label. The
folder `neither`, if there is one and no label is called so, holds pictures of other things. Everything is chosen on the
training channel alone; a validation channel is only measured.

*Which of the labels?* Each picture and its mirror image are training samples. Features are standardised and each of the
backbone's outputs is scaled by 1/sqrt(its length), so that none dominates by its size; then ridge regression. With two
labels it fits one score, -1 for the first and +1 for the second, which the logistic function makes a probability; with
more it fits one for each label, +1 for its own pictures and -1 for all others, which softmax makes probabilities. One
temperature, by cross-validation, makes them as sure as they are right.

*Is it one of them at all?* Of bicycles and motorcycles the backbone's own classifier tells: the sum of its
probabilities of ImageNet's classes that look like them. Of other labels a ridge regression of their pictures against
those of other things, which are shrunk first to the sizes of the labels' pictures, so that it learns nothing from the
size; a logistic regression on its cross-validated scores makes them probabilities. Without pictures of other things it
cannot be told, of other labels.

The same pictures, hyperparameters, date and library versions give the same bytes. Standardisation is folded into the
weights that are written. What the backbone makes of the pictures takes most of the time. Where the folder for
checkpoints exists it is kept there, so that a job that was interrupted goes on from where it stopped.

Metrics are printed one a line as `name=value;`, for SageMaker the metric definition `\bname=([0-9.]+);`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

if TYPE_CHECKING or __package__:
    from . import checkpoints, inference
else:
    import checkpoints
    import inference

LABELS = ("bicycle", "motorcycle")
"""The labels by default, and the only ones for which the backbone's classes tell whether a picture shows one at all."""
CHECKPOINTS = "/opt/ml/checkpoints"
"""Where SageMaker keeps what a job leaves for the time after an interruption, if the job asks for checkpoints."""
SUFFIXES = (".jpg", ".jpeg", ".png")
HEAD_FEATURES = ("block10", "block14", "block15", "head")
FEATURES = (*HEAD_FEATURES, "logits")
LOOK_ALIKES = {
    "444": "bicycle-built-for-two",
    "518": "crash helmet",
    "535": "disk brake",
    "665": "moped",
    "670": "motor scooter",
    "671": "mountain bike",
    "870": "tricycle",
    "880": "unicycle",
}
"""ImageNet's classes that look like bicycles and motorcycles, by their numbers."""
NEITHER = "neither"
"""Folder of pictures of other things, beside those of the labels."""
OTHER = -1
"""In the place of the label of a picture of other things."""
TEMPERATURES = np.geomspace(0.02, 5.0, 400)
THRESHOLDS = np.arange(50, 100) / 100
STEP = 0.01
"""Of thresholds."""
SMALLEST = 5e-7
"""A probability of 0 counts as this: answers are rounded to six digits."""
DISTRIBUTIONS = ("numpy", "onnxruntime", "pillow", "scikit-learn")
CODE_FILES = ("inference.py", "requirements.txt")
SIGNIFICANT_DIGITS = 7

Matrix = NDArray[np.float64]
Targets = NDArray[np.int64]


class DataError(ValueError):
    """A channel does not hold what training needs."""


@dataclass(frozen=True)
class Sample:
    """A picture to train with.

    Attributes:
        path: its file.
        label: an index into the labels, or `OTHER`.
        side: shorter side in px that it is shrunk to; None to leave it as it is.
    """

    path: Path
    label: int
    side: int | None = None


@dataclass(frozen=True)
class Head:
    """A linear head: the score of a feature row `x` is `x @ weights.T + bias`.

    Attributes:
        weights: (length,) for two labels, whose one score is positive for the second; (K, length) for K more.
        bias: a number for two labels; (K,) for K more.
    """

    weights: Matrix
    bias: float | Matrix


@dataclass(frozen=True)
class Calibration:
    """What cross-validation chose, and the figures that it chose them by.

    Attributes:
        temperature: Divides the scores.
        threshold: Smallest confidence whose kept pictures are right often enough.
        accuracy: Of all pictures of the labels, 0..1.
        nll: Mean negative log likelihood of the right label, natural logarithm.
        kept: Share of the pictures of the labels that are known and reach the threshold, 0..1.
        kept_accuracy: Of those, 0..1.
    """

    temperature: float
    threshold: float
    accuracy: float
    nll: float
    kept: float
    kept_accuracy: float


@dataclass(frozen=True)
class Known:
    """How surely a picture shows one of the labels at all.

    Attributes:
        rule: as `head.json` has it; None where nothing can tell.
        scores: (N,), 0..1, of the pictures that it was made by, each as if it had not been seen; 1 without a rule.
        least: that a picture needs to count as one of the labels.
    """

    rule: dict[str, Any] | None
    scores: Matrix
    least: float


@dataclass(frozen=True)
class Backbone:
    """The frozen network, and how it is used.

    Attributes:
        session: The loaded network.
        size: Side of the square that pictures are resized to, in px.
        key: What its features are kept under.
        kept: Where they are kept; None to keep none.
    """

    session: Any
    size: int
    key: str
    kept: Path | None


def read_channel(folder: Path, labels: Sequence[str] = LABELS) -> list[Sample]:
    """Lists a channel's pictures, sorted by path, with those of other things.

    Args:
        folder: The channel.
        labels: In the order of their numbers.

    Raises:
        DataError: Files or labels are missing.
    """
    lists = sorted(folder.glob("*.lst"))
    if len(lists) > 1:
        raise DataError(f"{folder} holds {len(lists)} .lst files; one is needed.")
    samples = _read_list(lists[0], len(labels)) if lists else _read_class_folders(folder, labels)
    if NEITHER not in labels:
        samples += [Sample(path, OTHER) for path in _pictures(folder / NEITHER)]
    missing = [label for index, label in enumerate(labels) if all(sample.label != index for sample in samples)]
    if missing:
        raise DataError(f"{folder} holds no picture of: {', '.join(missing)}.")
    return sorted(samples, key=lambda sample: sample.path.relative_to(folder).as_posix())


def _read_class_folders(folder: Path, labels: Sequence[str]) -> list[Sample]:
    return [Sample(path, index) for index, label in enumerate(labels) for path in _pictures(folder / label)]


def _pictures(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES]


def _read_list(path: Path, count: int) -> list[Sample]:
    numbers = [str(label) for label in range(count)]
    found = {picture.name: picture for picture in path.parent.rglob("*") if picture.suffix.lower() in SUFFIXES}
    samples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) != 3 or fields[1] not in numbers:
            raise DataError(
                f"{path}, line {number}: expected index, label 0 to {count - 1}, and file name, tab-separated."
            )
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


def shrink_others(samples: Sequence[Sample]) -> list[Sample]:
    """Has pictures of other things shrunk to the size of some picture of a label, if they are larger.

    Otherwise what is to tell them apart would learn the size. Which size is drawn by a digest of the picture, so that
    neither names nor order matter.
    """
    if all(sample.label != OTHER for sample in samples):
        return list(samples)
    sides = sorted(_short_side(sample.path) for sample in samples if sample.label != OTHER)
    return [_shrunk(sample, sides) if sample.label == OTHER else sample for sample in samples]


def _shrunk(sample: Sample, sides: Sequence[int]) -> Sample:
    drawn = int.from_bytes(hashlib.sha256(sample.path.read_bytes()).digest()[:8])
    side = sides[drawn % len(sides)]
    return replace(sample, side=side) if side < _short_side(sample.path) else sample


def _short_side(path: Path) -> int:
    try:
        with Image.open(path, formats=inference.FORMATS) as image:
            return min(image.size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def extract_all(samples: Sequence[Sample], backbone: Backbone) -> dict[str, Matrix]:
    """Runs the backbone over pictures and their mirror images, with progress on standard output.

    Args:
        samples: N pictures.
        backbone: The backbone.

    Returns:
        For each name in `FEATURES` an array (N, 2, length); the middle axis is the picture and its mirror image.

    Raises:
        DataError: A picture cannot be read.
    """
    kept = checkpoints.load(backbone.kept, backbone.key) if backbone.kept else {}
    rows: list[checkpoints.Features] = []
    fresh: dict[str, checkpoints.Features] = {}
    for number, sample in enumerate(samples, start=1):
        body = sample.path.read_bytes()
        digest = hashlib.sha256(body).hexdigest() + (f"-{sample.side}" if sample.side else "")
        if digest not in kept:
            kept[digest] = fresh[digest] = _extract(body, sample, backbone)
        rows.append(kept[digest])
        if _tell(number, len(samples)) and backbone.kept and fresh:
            checkpoints.save(backbone.kept, backbone.key, fresh)
            fresh.clear()
    return {name: np.stack([row[name] for row in rows]).astype(np.float64) for name in FEATURES}


def _tell(number: int, total: int) -> bool:
    """Prints progress, ten times in all; whether this was such a time."""
    is_time = number % max(1, total // 10) == 0 or number == total
    if is_time:
        print(f"features: {number} of {total} pictures", flush=True)
    return is_time


def _decode(sample: Sample, body: bytes | None = None) -> inference.Picture:
    try:
        return inference.decode(sample.path.read_bytes() if body is None else body)
    except inference.UnreadableImageError as error:
        raise DataError(f"{sample.path} cannot be read: {error}") from error


def _extract(body: bytes, sample: Sample, backbone: Backbone) -> checkpoints.Features:
    picture = _decode(sample, body)
    if sample.side:
        scale = sample.side / min(picture.image.size)
        width, height = (max(1, round(scale * side)) for side in picture.image.size)
        picture = inference.Picture(picture.image.resize((width, height), Image.Resampling.BICUBIC), sample.side)
    pixels = inference.prepare(picture, backbone.size)
    return inference.extract(backbone.session, np.stack([pixels, pixels[:, ::-1]]), FEATURES)


def fit(
    features: Matrix, lengths: Sequence[int], targets: Targets, alpha: float, count: int = 2, *, balanced: bool = False
) -> Head:
    """Fits a head.

    Args:
        features: (N, 2, sum of lengths), pictures and their mirror images.
        lengths: Lengths of the backbone's outputs that lie side by side in `features`.
        targets: (N,), indices into the labels.
        alpha: Ridge penalty.
        count: Number of labels.
        balanced: Whether each label counts as much as any other, however many pictures it has.
    """
    rows = features.reshape(-1, features.shape[-1])
    mean = rows.mean(axis=0)
    spread = (rows.std(axis=0) + 1e-6) * np.sqrt(np.repeat(lengths, lengths))
    wanted = 2.0 * (targets if count == 2 else np.eye(count)[targets]) - 1.0
    weight = np.repeat((len(targets) / count / np.bincount(targets, minlength=count))[targets], 2) if balanced else None
    ridge = Ridge(alpha=alpha, solver="cholesky").fit((rows - mean) / spread, np.repeat(wanted, 2, axis=0), weight)
    weights = ridge.coef_ / spread
    return Head(weights, ridge.intercept_ - weights @ mean)


def scores(features: Matrix, head: Head) -> Matrix:
    """Scores of N pictures, as they are and not mirrored: (N, 2, length) to (N,), or (N, K) for K > 2 labels."""
    found: Matrix = features[:, 0] @ head.weights.T + head.bias
    return found


def cross_validate(
    features: Matrix,
    lengths: Sequence[int],
    targets: Targets,
    *,
    alpha: float,
    folds: int,
    seed: int,
    count: int = 2,
    balanced: bool = False,
) -> Matrix:
    """Scores each of N pictures with a head that has seen neither it nor its mirror image.

    Args:
        features: (N, 2, sum of lengths), pictures and their mirror images.
        lengths: Lengths of the backbone's outputs that lie side by side in `features`.
        targets: (N,), indices into the labels.
        alpha: Ridge penalty.
        folds: Number of parts, each of which is left out once.
        seed: Of the split into parts.
        count: Number of labels.
        balanced: As for `fit`.

    Returns:
        (N,), or (N, K) for K > 2 labels.

    Raises:
        DataError: A label has fewer pictures than there are parts.
    """
    if min(np.bincount(targets, minlength=count)) < folds:
        raise DataError(f"Every label needs at least {folds} training pictures, as many as cross-validation has folds.")
    found = np.zeros(len(targets) if count == 2 else (len(targets), count))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed).split(targets, targets)
    for number, (seen, unseen) in enumerate(split, start=1):
        found[unseen] = scores(
            features[unseen], fit(features[seen], lengths, targets[seen], alpha, count, balanced=balanced)
        )
        print(f"cross-validation: fold {number} of {folds}", flush=True)
    return found


def fit_known(
    features: Matrix, lengths: Mapping[str, int], mass: Matrix | None, is_ours: NDArray[np.bool_], arguments: Any
) -> Known:
    """Finds how to tell the labels' pictures from those of other things.

    Args:
        features: (N, 2, sum of lengths), pictures and their mirror images.
        lengths: Of the backbone's outputs that lie side by side in `features`, by name.
        mass: (N,), what the backbone gives to the labels' look-alikes, 0..1; None where there are none.
        is_ours: (N,), whether a picture shows one of the labels.
        arguments: `alpha`, `folds`, `seed` and `passing` as the command line has them.

    Raises:
        DataError: There are pictures of other things, but fewer than cross-validation has folds.
    """
    if mass is not None:
        rule, found = {"classes": LOOK_ALIKES, "weights": {}, "bias": 0.0}, mass
    elif is_ours.all():
        return Known(None, np.ones(len(is_ours)), 0.0)
    else:
        rule, found = _learn_known(features, lengths, is_ours, arguments)
    least = math.floor(float(np.quantile(found[is_ours], 1 - arguments.passing)) / STEP) * STEP
    return Known(rule, found, rounded(min(max(least, STEP), 1 - STEP)))


def _learn_known(
    features: Matrix, lengths: Mapping[str, int], is_ours: NDArray[np.bool_], arguments: Any
) -> tuple[dict[str, Any], Matrix]:
    if (~is_ours).sum() < arguments.folds:
        raise DataError(
            f"{NEITHER} needs at least {arguments.folds} training pictures, as many as cross-validation has folds, or "
            "none."
        )
    how = {
        "lengths": list(lengths.values()),
        "targets": is_ours.astype(int),
        "alpha": arguments.alpha,
        "balanced": True,
    }
    unseen = cross_validate(features, folds=arguments.folds, seed=arguments.seed, **how)[:, np.newaxis]
    head = fit(features, **how)
    platt = LogisticRegression(class_weight="balanced").fit(unseen, is_ours)
    factor = platt.coef_[0, 0]
    rule = {
        "classes": {},
        "weights": split_weights(factor * head.weights, lengths),
        "bias": rounded(float(platt.intercept_[0] + factor * head.bias)),
    }
    return rule, platt.predict_proba(unseen)[:, 1]


def log_probabilities(found: Matrix, temperature: float) -> Matrix:
    """Natural logarithms of the labels' probabilities: softmax of the scores; with two labels the first scores 0.

    Args:
        found: Scores, (N,) for two labels or (N, K) for K more.
        temperature: Divides the scores.

    Returns:
        (N, K).
    """
    columns = np.stack([np.zeros_like(found), found], axis=1) if found.ndim == 1 else found
    scaled = columns / temperature
    logarithms: Matrix = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
    return logarithms


def negative_log_likelihood(found: Matrix, targets: Targets, temperature: float) -> float:
    """Mean over pictures of -ln(probability of the right label)."""
    return 0.0 - float(log_probabilities(found, temperature)[np.arange(len(targets)), targets].mean())


def judge(found: Matrix, targets: Targets, temperature: float) -> tuple[Matrix, NDArray[np.bool_]]:
    """The probability of the likeliest label, and whether it is the right one; both (N,)."""
    logarithms = log_probabilities(found, temperature)
    return np.exp(logarithms.max(axis=1)), logarithms.argmax(axis=1) == targets


def calibrate(found: Matrix, targets: Targets, known: NDArray[np.bool_], precision: float) -> Calibration:
    """Chooses temperature and threshold by scores of unseen pictures.

    Args:
        found: Cross-validated scores, (N,) for two labels or (N, K) for K more.
        targets: (N,), indices into the labels.
        known: (N,), whether a picture counts as one of the labels at all; others are not kept.
        precision: Share of the kept pictures that must be right. Where no threshold reaches it, the largest is taken.
    """
    losses = [negative_log_likelihood(found, targets, temperature) for temperature in TEMPERATURES]
    temperature = rounded(float(TEMPERATURES[int(np.argmin(losses))]))
    confidence, right = judge(found, targets, temperature)
    good = [
        limit
        for limit in THRESHOLDS
        if np.any(kept := known & (confidence >= limit)) and right[kept].mean() >= precision
    ]
    threshold = float(good[0] if good else THRESHOLDS[-1])
    return Calibration(temperature, threshold, **measure(found, targets, known, temperature, threshold))


def measure(
    found: Matrix, targets: Targets, known: NDArray[np.bool_], temperature: float, threshold: float
) -> dict[str, float]:
    """The figures of a calibration, as `Calibration` explains them."""
    confidence, right = judge(found, targets, temperature)
    kept = known & (confidence >= threshold)
    return {
        "accuracy": float(right.mean()),
        "nll": negative_log_likelihood(found, targets, temperature),
        "kept": float(kept.mean()),
        "kept_accuracy": float(right[kept].mean()) if kept.any() else 0.0,
    }


def rounded(value: float) -> float:
    """A number to the digits that are written, so that what is read back is what was measured."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def rounded_list(values: Any) -> Any:
    """A number, or an array as lists, to the digits that are written."""
    return [rounded_list(value) for value in values] if np.ndim(values) else rounded(float(values))


def split_weights(weights: Matrix, lengths: Mapping[str, int]) -> dict[str, Any]:
    """The head's weights as a list for each of the backbone's outputs; with more than two labels, a list of lists."""
    parts = np.split(weights, np.cumsum(list(lengths.values()))[:-1], axis=-1)
    return {name: rounded_list(part) for name, part in zip(lengths, parts, strict=True)}


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
        "pictures": {
            label: sum(sample.label == index for sample in samples) for index, label in enumerate(arguments.labels)
        },
        "others": sum(sample.label == OTHER for sample in samples),
        "backbone_sha256": hashlib.sha256(backbone.read_bytes()).hexdigest(),
        "hyperparameters": {key: getattr(arguments, key) for key in ("alpha", "folds", "passing", "precision", "seed")},
        "libraries": {name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
    }


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains, prints the metrics, writes the model folder and returns the head's content."""
    labels: tuple[str, ...] = arguments.labels
    samples = read_channel(arguments.train, labels)
    file, backbone = open_backbone(arguments)
    by_name = extract_all(shrink_others(samples), backbone)
    lengths = {name: by_name[name].shape[-1] for name in HEAD_FEATURES}
    features = stacked(by_name)
    every = np.array([sample.label for sample in samples])
    is_ours = every != OTHER
    ours, targets = features[is_ours], every[is_ours]
    how = {"lengths": list(lengths.values()), "targets": targets, "alpha": arguments.alpha, "count": len(labels)}
    unseen = cross_validate(ours, folds=arguments.folds, seed=arguments.seed, **how)
    known = fit_known(features, lengths, look_alike_mass(by_name, labels), is_ours, arguments)
    is_known = known.scores >= known.least
    calibration = calibrate(unseen, targets, is_known[is_ours], arguments.precision)
    head = fit(ours, **how)

    figures = {
        key: rounded(value) for key, value in vars(calibration).items() if key not in ("temperature", "threshold")
    } | known_figures(known.scores, is_known, is_ours)
    content = with_version(
        arguments.name,
        {
            "labels": list(labels),
            "size": arguments.size,
            "temperature": calibration.temperature,
            "threshold": calibration.threshold,
            "min_known": known.least,
            "known": known.rule,
            "provenance": provenance(arguments, samples, file) | {"cross_validation": figures},
            "bias": rounded_list(head.bias),
            "weights": split_weights(head.weights, lengths),
        },
    )
    print(f"train_pictures={len(targets)};")
    print(f"train_others={len(every) - len(targets)};")
    chosen = {"temperature": calibration.temperature, "threshold": calibration.threshold, "min_known": known.least}
    for key, value in {**figures, **chosen}.items():
        print(f"cross_validation_{key}={value:.6f};")
    write_model(arguments.model_dir, content, file, head_only=arguments.head_only)
    if arguments.validation is not None:
        for key, value in validate(arguments.validation, arguments, backbone).items():
            print(f"validation_{key}={value:.6f};")
    return content


def stacked(by_name: Mapping[str, Matrix]) -> Matrix:
    """The outputs that heads read, side by side: (N, 2, sum of lengths)."""
    return np.concatenate([by_name[name] for name in HEAD_FEATURES], axis=-1)


def look_alike_mass(by_name: Mapping[str, Matrix], labels: Sequence[str]) -> Matrix | None:
    """What the backbone gives to ImageNet's classes that look like the labels: (N,), 0..1; None of other labels."""
    if set(labels) != set(LABELS):
        return None
    return inference.class_mass(by_name["logits"][:, 0].astype(np.float32), [int(number) for number in LOOK_ALIKES])


def known_figures(scores: Matrix, is_known: NDArray[np.bool_], is_ours: NDArray[np.bool_]) -> dict[str, float]:
    """How well pictures of the labels are told from others: what passes of each, and the area under the curve."""
    figures = {"known": rounded(float(is_known[is_ours].mean()))}
    if not is_ours.all():
        figures |= {
            "others_known": rounded(float(is_known[~is_ours].mean())),
            "known_auroc": rounded(float(roc_auc_score(is_ours, scores))),
        }
    return figures


def open_backbone(arguments: argparse.Namespace) -> tuple[Path, Backbone]:
    """The backbone's file, and the backbone as it is used."""
    file: Path = arguments.backbone
    if file.is_dir():
        file /= inference.BACKBONE_FILE
    kept = arguments.checkpoints if arguments.checkpoints.is_dir() else None
    key = checkpoints.key(file, arguments.size, FEATURES)
    return file, Backbone(inference.open_backbone(file, os.cpu_count()), arguments.size, key, kept)


def validate(folder: Path, arguments: argparse.Namespace, backbone: Backbone) -> dict[str, float]:
    """Measures the model that was just written on a channel that it has not seen, through the code that serves it."""
    head = json.loads((arguments.model_dir / inference.HEAD_FILE).read_text(encoding="utf-8"))
    model = inference.read_head(head, backbone.session)
    samples = read_channel(folder, arguments.labels)
    answers = []
    for number, sample in enumerate(samples, start=1):
        answers += inference.classify([_decode(sample)], model)
        _tell(number, len(samples))
    scores = np.array([1.0 if answer["known"] is None else answer["known"] for answer in answers])
    every = np.array([sample.label for sample in samples])
    is_ours, is_known = every != OTHER, scores >= model.min_known
    shares = np.log(np.maximum([answer["inferences"] for answer in answers], SMALLEST))[is_ours]
    figures = measure(shares, every[is_ours], is_known[is_ours], 1.0, model.threshold)
    return figures | known_figures(scores, is_known, is_ours)


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
    parser.add_argument("--labels", type=_labels, default=LABELS, help="two or more, separated by commas")
    parser.add_argument(
        "--checkpoints", type=Path, default=Path(CHECKPOINTS), help="where features are kept, if that folder exists"
    )
    parser.add_argument("--head-only", action="store_true", help="write head.json alone, no backbone and no code")
    parser.add_argument("--alpha", type=float, default=10.0, help="ridge penalty")
    parser.add_argument("--size", type=int, default=192, help="side of the square that pictures are resized to, in px")
    parser.add_argument("--folds", type=int, default=5, help="folds of cross-validation")
    parser.add_argument("--precision", type=float, default=0.995, help="share of the kept that must be right")
    parser.add_argument("--passing", type=float, default=0.97, help="share of the labels' pictures that must be known")
    parser.add_argument("--seed", type=int, default=0, help="of the split into folds")
    parser.add_argument("--name", default="lite0-ridge", help="first part of the version, at most 27 characters")
    parser.add_argument("--date", help="recorded in the head as it is given")
    parsed = parser.parse_args(arguments)
    if len(parsed.name) > 27:
        parser.error("--name takes at most 27 characters.")
    return parsed


def _labels(text: str) -> tuple[str, ...]:
    labels = tuple(label.strip() for label in text.split(","))
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
        raise argparse.ArgumentTypeError(f"{text!r} is not two or more different labels, separated by commas.")
    return labels


if __name__ == "__main__":
    try:
        train(parse())
    except DataError as problem:
        sys.exit(f"error: {problem}")
