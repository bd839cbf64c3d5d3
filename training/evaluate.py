"""The judgement of a model on a split of a data set: what `metrics.json` says.

`metrics.json` is what `register` goes by and what `monitor` compares with. The same answers give the same bytes. A share
is an object of `value` (null of nothing), `low` and `high` (the ends of its 95 % interval), `count` and `total`.

| key | what |
|---|---|
| `version` | of this file's shape |
| `model` | `version`; `head_sha256`, null for an endpoint; `endpoint`, null for a folder |
| `data` | `labels`, `split`, number of `pictures`, `sha256` over them and their labels, number of `near_duplicates` |
| `accuracy` | a share |
| `accuracy_without_near_duplicates` | a share: without the pictures that look like one that was trained on |
| `classes` | for each label: `label`, `support`, `predicted`, `precision` and `recall` (shares) |
| `confusion` | rows are true labels, columns predicted ones |
| `calibration` | `ece`, `nll`, `brier` and `bins` of `low`, `high`, `count`, `confidence`, `accuracy` |
| `coverage` | `threshold` and `min_known` of the model; `kept` (a share), `kept_accuracy` (a share), `held_back` (a number); `curve` of `threshold`, `kept` and `right` (numbers) |
| `wished` | `precision`; the smallest `threshold` that reaches it, or null; `kept` and `accuracy` (shares) there |
| `floor` | `min_accuracy`, and whether the accuracy has `passed` it |
| `baseline` | histograms of `edges` and `counts`: `confidence`, `known` (or null), `brightness`, `short_side`; `labels`: predicted ones, counted; `held_back`: `count` of `total` |
| `mistakes` | `path`, `label`, `predicted`, `confidence`; the surest first |
| `reviewed` | how it does on the reviewed pictures that were kept out of training, as `training/agreement.py` explains; null without any |
"""  # noqa: E501 - a table

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss

from training import agreement, metrics
from training.errors import EndpointFailed
from training.layout import FORMAT_VERSION, Manifest
from training.predict import Prediction

SHORT_SIDES = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Edges of the baseline's bins of the shorter side, in px. The larger of 64 million pixels is refused beforehand."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """Who is judged.

    Attributes:
        head_sha256: of the model's `head.json`; None for an endpoint, of which nobody can tell.
        endpoint: the endpoint's name; None for a model in a folder.
    """

    head_sha256: str | None
    endpoint: str | None


@dataclass(frozen=True)
class Wishes:
    """What is asked of a model.

    Attributes:
        min_accuracy: the accuracy that it must have, 0 to 1.
        precision: how often the accepted pictures should be right, 0 to 1.
    """

    min_accuracy: float
    precision: float


def judge(
    manifest: Manifest,
    split: str,
    predictions: Sequence[Prediction],
    subject: Subject,
    wishes: Wishes,
    reviewed: Sequence[Prediction] = (),
) -> Json:
    """The content of `metrics.json`.

    Args:
        manifest: of the data set.
        split: the one that was asked about.
        predictions: what the model said about every picture of it, at least one.
        subject: who said it.
        wishes: what is asked.
        reviewed: what the model said about every reviewed picture that was kept out of training.

    Raises:
        EndpointFailed: several models answered.
    """
    version, threshold, min_known = _one_model([*predictions, *reviewed])
    labels = manifest.labels
    numbers = range(len(labels))
    targets = np.array([labels.index(one.label) for one in predictions])
    predicted = np.array([labels.index(one.predicted) for one in predictions])
    probabilities = metrics.proper(np.array([[one.probabilities[label] for label in labels] for one in predictions]))
    confidence = np.array([one.confidence for one in predictions])
    known = np.array([one.is_known for one in predictions])
    kept = np.array([one.is_kept for one in predictions])
    right = predicted == targets
    alike = {pair.test for pair in manifest.near_duplicates}
    is_alike = np.array([one.path in alike for one in predictions])
    matrix = confusion_matrix(targets, predicted, labels=numbers)
    bins = metrics.reliability(confidence, right)
    curve = metrics.curve(confidence, right, known)
    accuracy = metrics.share(right)
    return {
        "version": FORMAT_VERSION,
        "model": {"version": version} | asdict(subject),
        "data": {
            "labels": labels,
            "split": split,
            "pictures": len(predictions),
            "sha256": manifest.digest(split),
            "near_duplicates": int(is_alike.sum()),
        },
        "accuracy": asdict(accuracy),
        "accuracy_without_near_duplicates": asdict(metrics.share(right[~is_alike])),
        "classes": [asdict(one) for one in metrics.by_class(matrix, labels)],
        "confusion": matrix.tolist(),
        "calibration": {
            "ece": metrics.calibration_error(bins),
            "nll": log_loss(targets, probabilities, labels=numbers),
            "brier": brier_score_loss(targets, probabilities, labels=numbers, scale_by_half=False),
            "bins": [asdict(one) for one in bins],
        },
        "coverage": {
            "threshold": threshold,
            "min_known": min_known,
            "kept": asdict(metrics.share(kept)),
            "kept_accuracy": asdict(metrics.share(right[kept])),
            "held_back": int((~kept).sum()),
            "curve": [asdict(one) for one in curve],
        },
        "wished": asdict(metrics.wish(curve, len(predictions), wishes.precision)),
        "floor": {
            "min_accuracy": wishes.min_accuracy,
            "passed": accuracy.count / accuracy.total >= wishes.min_accuracy,
        },
        "baseline": baseline(predictions, labels),
        "mistakes": [
            {"path": one.path, "label": one.label, "predicted": one.predicted, "confidence": one.confidence}
            for one in mistakes(predictions)
        ],
        "reviewed": agreement.judge(manifest, reviewed) if reviewed else None,
    }


def _one_model(predictions: Sequence[Prediction]) -> tuple[str | None, float, float]:
    """Version, threshold and least `known` of the one model that answered."""
    models = sorted({(one.model, one.threshold, one.min_known) for one in predictions}, key=str)
    if len(models) > 1:
        versions = ", ".join(str(version) for version, *_ in models)
        raise EndpointFailed(
            f"Several models answered: {versions}. The endpoint may be in the middle of an update: try again when it "
            "is over."
        )
    return models[0]


def baseline(predictions: Sequence[Prediction], labels: Sequence[str]) -> Json:
    """What `monitor` compares the endpoint's pictures and answers with.

    Args:
        predictions: at least one.
        labels: K labels.
    """
    known = [one.known for one in predictions if one.known is not None]
    predicted = [one.predicted for one in predictions]

    def shares(values: Sequence[float]) -> Json:
        return asdict(metrics.quantile_histogram(np.asarray(values)))

    return {
        "confidence": shares([one.confidence for one in predictions]),
        "known": shares(known) if known else None,
        "brightness": shares([one.brightness for one in predictions]),
        "short_side": asdict(metrics.histogram([one.short_side for one in predictions], SHORT_SIDES)),
        "labels": {label: predicted.count(label) for label in labels},
        "held_back": {"count": sum(not one.is_kept for one in predictions), "total": len(predictions)},
    }


def mistakes(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Those that are wrong, the surest first."""
    return sorted((one for one in predictions if not one.is_right), key=lambda one: (-one.confidence, one.path))


def held_back(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Those that a person would be asked about, the least sure first."""
    return sorted((one for one in predictions if not one.is_kept), key=lambda one: (one.confidence, one.path))


def to_json(content: Json) -> str:
    """The text of `metrics.json`."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
