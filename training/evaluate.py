"""The judgement of a model on a split of a data set, and on further pictures: what `metrics.json` says.

`metrics.json` is what `register` goes by and what `monitor` compares with. The same answers give the same bytes. A share
is an object of `value` (null of nothing), `low` and `high` (the ends of its 95 % interval), `count` and `total`. Others
are pictures that show none of the classes; only `by_source`, `neither`, `further` and `together` count them.

| key | what |
|---|---|
| `version` | of this file's shape |
| `model` | `version`; `head_sha256` and `bytes` on disk, null for an endpoint; `endpoint`, null for a folder |
| `data` | `labels`, `split`, number of `pictures` and of `others`, `sha256` over them and their labels, number of `near_duplicates` |
| `accuracy` | a share |
| `accuracy_without_near_duplicates` | a share: without the pictures that look like one that was trained on |
| `classes` | for each label: `label`, `support`, `predicted`, `precision` and `recall` (shares) |
| `confusion` | rows are true labels, columns predicted ones |
| `calibration` | `ece`, `nll`, `brier` and `bins` of `low`, `high`, `count`, `confidence`, `accuracy` |
| `coverage` | `threshold` and `min_known` of the model; `kept` (a share), `kept_accuracy` (a share), `held_back` (a number) and its `reasons` (numbers); `sure` and `sure_accuracy` (shares): by the threshold alone; `surest`: of `share` of the pictures, from `threshold` on, the `accuracy` (a share); `curve` of `threshold`, `kept` and `right` (numbers) |
| `wished` | `precision`; the smallest `threshold` that reaches it, or null; `kept` and `accuracy` (shares) there |
| `by_source` | rows of `label` (null for all classes; others are "neither"), `source` (null for all), `pictures`, and the shares `right`, `known`, `accepted`, `accepted_right`, null where there are none to tell |
| `neither` | how well others are told from the classes, null without others: `pictures`; `accepted` (a share), by both thresholds; `apart` for each `size` ("all", "small", "larger") and `sources` for each `source` of others: `classes` and `others` (numbers), `auroc` of `known`, `at_min_known` and `at_cut`, which 95 % of the classes' pictures pass, with `known`, `passed` and `let_through` (shares); `mistakes`: those accepted, the surest first. Without `known`, `apart` and `sources` are empty |
| `floor` | `min_accuracy`, and whether the accuracy has `passed` it |
| `baseline` | histograms of `edges` and `counts`: `confidence`, `known` (or null), `brightness`, `short_side`; `labels`: predicted ones, counted; `held_back`: `count` of `total` |
| `mistakes` | `path`, `label`, `predicted`, `confidence`; the surest first |
| `reviewed` | how it does on the reviewed pictures that were kept out of training, as `training/agreement.py` explains; null without any |
| `further` | for each folder of further pictures: `name`, `pictures`, `others`, `sha256`, `near_duplicates` among both; `accuracy`, `accuracy_without_near_duplicates`, `classes`, `confusion`, `calibration`, `coverage`, `wished` and `mistakes`, null without a picture of a class; `by_source`, `neither`; `agreement` between a file as it is and as the workflow would send it, as `training/further.py` explains; `skipped`, with `path` and `reason` |
| `together` | `neither` of the split and of all that is further, in one; null without anything further |
"""  # noqa: E501 - a table

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss

from chalicelib.decision import Reason
from training import agreement, breakdown, metrics, predict
from training.breakdown import Json
from training.further import Further, agreement_of
from training.layout import FORMAT_VERSION, Manifest
from training.predict import Prediction

SHORT_SIDES = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Edges of the baseline's bins of the shorter side, in px. The larger of 64 million pixels is refused beforehand."""

FIGURES = (
    "accuracy", "accuracy_without_near_duplicates", "classes", "confusion", "calibration", "coverage", "wished",
    "mistakes",
)  # fmt: skip
"""What is told of pictures of the classes, where there are some."""


@dataclass(frozen=True)
class Subject:
    """Who is judged.

    Attributes:
        head_sha256: of the model's `head.json`; None for an endpoint, of which nobody can tell.
        endpoint: the endpoint's name; None for a model in a folder.
        bytes: that the model has on disk; None for an endpoint.
    """

    head_sha256: str | None
    endpoint: str | None
    bytes: int | None = None


@dataclass(frozen=True)
class Wishes:
    """What is asked of a model.

    Attributes:
        min_accuracy: the accuracy that it must have, 0 to 1.
        precision: how often the accepted pictures should be right, 0 to 1.
    """

    min_accuracy: float
    precision: float


@dataclass(frozen=True)
class Beside:
    """What a model said about pictures beside those that its accuracy and the floor count.

    Attributes:
        others: about every picture of the split that shows none of the classes.
        reviewed: about every reviewed picture that was kept out of training.
        further: about folders of further pictures.
    """

    others: Sequence[Prediction] = ()
    reviewed: Sequence[Prediction] = ()
    further: Sequence[Further] = ()


NOTHING = Beside()


def judge(
    manifest: Manifest,
    split: str,
    predictions: Sequence[Prediction],
    subject: Subject,
    wishes: Wishes,
    beside: Beside = NOTHING,
) -> Json:
    """The content of `metrics.json`.

    Args:
        manifest: of the data set.
        split: the one that was asked about.
        predictions: what the model said about every picture of its classes, at least one.
        subject: who said it.
        wishes: what is asked.
        beside: what the model said about other pictures.

    Raises:
        EndpointFailed: several models answered.
    """
    further = beside.further
    asked = [*predictions, *beside.others, *beside.reviewed, *(one.sent for some in further for one in some.asked)]
    version, *_ = predict.one_model(asked)
    alike = {pair.test for pair in manifest.near_duplicates}
    is_alike = np.array([one.path in alike for one in predictions])
    right = np.array([one.is_right for one in predictions])
    accuracy = metrics.share(right)
    return {
        "version": FORMAT_VERSION,
        "model": {"version": version} | asdict(subject),
        "data": {
            "labels": manifest.labels,
            "split": split,
            "pictures": len(predictions),
            "others": len(beside.others),
            "sha256": manifest.digest(split),
            "near_duplicates": int(is_alike.sum()),
        },
        "accuracy": asdict(accuracy),
        "accuracy_without_near_duplicates": asdict(metrics.share(right[~is_alike])),
        **_figures(predictions, manifest.labels, wishes.precision),
        "by_source": breakdown.by_source(predictions, beside.others, manifest.labels),
        "neither": breakdown.neither(predictions, beside.others),
        "floor": {
            "min_accuracy": wishes.min_accuracy,
            "passed": accuracy.count / accuracy.total >= wishes.min_accuracy,
        },
        "baseline": baseline(predictions, manifest.labels),
        "mistakes": _mistakes(predictions),
        "reviewed": agreement.judge(manifest, beside.reviewed) if beside.reviewed else None,
        "further": [_further(one, wishes.precision) for one in further],
        "together": _together(predictions, beside.others, further) if further else None,
    }


def _figures(predictions: Sequence[Prediction], labels: list[str], precision: float) -> Json:
    """How good the model is on at least one picture of the classes, but for the accuracy: the keys that say so."""
    numbers = range(len(labels))
    targets = np.array([labels.index(one.label) for one in predictions])
    predicted = np.array([labels.index(one.predicted) for one in predictions])
    probabilities = metrics.proper(np.array([[one.probabilities[label] for label in labels] for one in predictions]))
    confidence = np.array([one.confidence for one in predictions])
    known = np.array([one.is_known for one in predictions])
    kept = np.array([one.is_kept for one in predictions])
    sure = confidence >= predictions[0].threshold
    right = predicted == targets
    matrix = confusion_matrix(targets, predicted, labels=numbers)
    bins = metrics.reliability(confidence, right)
    curve = metrics.curve(confidence, right, known)
    return {
        "classes": [asdict(one) for one in metrics.by_class(matrix, labels)],
        "confusion": matrix.tolist(),
        "calibration": {
            "ece": metrics.calibration_error(bins),
            "nll": log_loss(targets, probabilities, labels=numbers),
            "brier": brier_score_loss(targets, probabilities, labels=numbers, scale_by_half=False),
            "bins": [asdict(one) for one in bins],
        },
        "coverage": {
            "threshold": predictions[0].threshold,
            "min_known": predictions[0].min_known,
            "kept": asdict(metrics.share(kept)),
            "kept_accuracy": asdict(metrics.share(right[kept])),
            "held_back": int((~kept).sum()),
            "reasons": {reason.value: sum(one.reason == reason for one in predictions) for reason in Reason},
            "sure": asdict(metrics.share(sure)),
            "sure_accuracy": asdict(metrics.share(right[sure])),
            "surest": [asdict(one) for one in metrics.surest(confidence, right)],
            "curve": [asdict(one) for one in curve],
        },
        "wished": asdict(metrics.wish(curve, len(predictions), precision)),
    }


def _further(further: Further, precision: float) -> Json:
    """The judgement on a folder of further pictures."""
    classes, others = further.classes, further.others
    alike = further.near_duplicates
    figures: Json = dict.fromkeys(FIGURES)
    if classes:
        figures["accuracy"] = asdict(metrics.share([one.is_right for one in classes]))
        figures["accuracy_without_near_duplicates"] = asdict(
            metrics.share([one.is_right for one in classes if one.path not in alike])
        )
        figures |= _figures(classes, further.labels, precision) | {"mistakes": _mistakes(classes)}
    return {
        "name": further.name,
        "pictures": len(classes),
        "others": len(others),
        "sha256": further.sha256,
        "near_duplicates": len(alike),
        **figures,
        "by_source": breakdown.by_source(classes, others, further.labels),
        "neither": breakdown.neither(classes, others),
        "agreement": agreement_of(further),
        "skipped": [asdict(one) for one in further.skipped],
    }


def _together(
    predictions: Sequence[Prediction], others: Sequence[Prediction], further: Sequence[Further]
) -> Json | None:
    """How well others are told from the classes, in all pictures that nothing was trained on."""
    return breakdown.neither(
        [*predictions, *(one for some in further for one in some.classes)],
        [*others, *(one for some in further for one in some.others)],
    )


def _mistakes(predictions: Sequence[Prediction]) -> list[Json]:
    return [
        {"path": one.path, "label": one.label, "predicted": one.predicted, "confidence": one.confidence}
        for one in mistakes(predictions)
    ]


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


def timing(predictions: Sequence[Prediction], beside: Beside = NOTHING) -> Json:
    """How long the answers took, from a picture's bytes on, in ms; it stands in no `metrics.json`, as it varies.

    Args:
        predictions: at least one.
        beside: what the model said about other pictures.

    Returns:
        `median_ms`, and `p95_ms`, which 95 % of the answers did not exceed.
    """
    further = [one.sent for some in beside.further for one in some.asked]
    taken = [one.milliseconds for one in (*predictions, *beside.others, *beside.reviewed, *further)]
    median, p95 = np.quantile(taken, (0.5, 0.95))
    return {"median_ms": float(median), "p95_ms": float(p95)}


def to_json(content: Json) -> str:
    """The text of `metrics.json`."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
