"""The report of an evaluation: its charts, its pictures and its file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.colors import to_rgb

from training import agreement, breakdown, evaluate, evaluation_charts, predict, report, tables
from training.breakdown import Json
from training.evaluate import NOTHING, Beside
from training.evaluation_charts import GOOD, WORSE
from training.layout import Manifest
from training.predict import Prediction
from training.report import MOST_PICTURES, REASONS, Chart

THINNEST, DEEPEST = 0.12, 0.6
"""How opaque cells of the confusion matrix are: ink on the deepest blue has a contrast of 5.8, and 4.5 are asked for by
WCAG 2.2, success criterion 1.4.3: https://www.w3.org/TR/WCAG22/#contrast-minimum"""

Read = Callable[[str], bytes]
"""Gives a picture by its path."""

Shown = list[tuple[Prediction, str]]
"""Predictions, each with its thumbnail."""


@dataclass(frozen=True)
class Shade:
    """A cell of the confusion matrix: a number of pictures, and the colour behind it in CSS."""

    count: int
    colour: str


@dataclass(frozen=True)
class Group:
    """What is shown of pictures that are judged together, beside their figures.

    Attributes:
        charts: of their figures.
        tells_known: whether the model tells how surely they show one of the classes.
        mistakes: the worst of them.
        accepted: others that are accepted as a class.
    """

    charts: list[Chart]
    tells_known: bool
    mistakes: Shown
    accepted: Shown


def write(
    path: Path,
    metrics: Json,
    predictions: Sequence[Prediction],
    data: Path,
    manifest: Manifest,
    beside: Beside = NOTHING,
) -> None:
    """Write the report.

    Args:
        path: the file.
        metrics: the content of `metrics.json`.
        predictions: what it was made of.
        data: the data set's folder.
        manifest: its manifest.
        beside: what it was made of, too.

    Raises:
        PicturesError: a picture has gone in the meantime.
    """
    pictures = {picture.path: picture for picture in manifest.pictures}

    def read(path: str) -> bytes:
        return predict.read(data, pictures[path])

    changed = metrics["reviewed"]["changed"][:MOST_PICTURES] if metrics["reviewed"] else []
    report.write(
        path,
        "evaluation.html",
        name=metrics["model"]["version"] or metrics["model"]["endpoint"] or "the model",
        metrics=metrics,
        needed=needed(metrics),
        shades=shades(metrics["confusion"]),
        group=_group(metrics, predictions, beside.others, read),
        reason=reason,
        held_back=_shown(evaluate.held_back(predictions), read),
        rows=agreement.ROWS,
        changed=list(zip(changed, _thumbnails([one["path"] for one in changed], read), strict=True)),
        further=[
            (figures, _group(figures, one.classes, one.others, one.read))
            for figures, one in zip(metrics["further"], beside.further, strict=True)
        ],
        small=breakdown.SMALL,
        source_of=tables.source_of,
        source=manifest.source,
        timing=evaluate.timing(predictions, beside),
    )


def _group(figures: Json, classes: Sequence[Prediction], others: Sequence[Prediction], read: Read) -> Group:
    charts = []
    if classes:
        charts += [evaluation_charts.reliability_chart(figures), evaluation_charts.coverage_chart(figures)]
    charts.append(evaluation_charts.sources_chart(figures["by_source"]))
    tells_known = breakdown.tells_known([*classes, *others])
    if tells_known:
        charts.append(evaluation_charts.known_chart(classes, others))
    wrong = _shown(evaluate.mistakes(classes), read)
    return Group(charts, tells_known, wrong, _shown(breakdown.accepted(others), read))


def _shown(predictions: Sequence[Prediction], read: Read) -> Shown:
    """The first of them, each with its thumbnail."""
    first = predictions[:MOST_PICTURES]
    return list(zip(first, _thumbnails([one.path for one in first], read), strict=True))


def _thumbnails(paths: Sequence[str], read: Read) -> list[str]:
    return [report.thumbnail_uri(read(path)) for path in paths]


def reason(prediction: Prediction) -> str:
    """Why a picture is held back, in words; empty if it is not."""
    return REASONS[prediction.reason] if prediction.reason else ""


def needed(metrics: Json) -> str:
    """What the model asks for before a class is accepted, in words."""
    coverage = metrics["coverage"]
    known = f" and known {coverage['min_known']:g}" if coverage["min_known"] else ""
    return f"confidence {coverage['threshold']:g}{known}"


def shades(matrix: Sequence[Sequence[int]]) -> list[list[Shade]]:
    """The cells of the confusion matrix.

    Args:
        matrix: (K, K), rows are true classes, columns predicted ones.
    """
    return [
        [
            Shade(count, _tint(GOOD if row == column else WORSE, count / max(1, sum(counts))))
            for column, count in enumerate(counts)
        ]
        for row, counts in enumerate(matrix)
    ]


def _tint(colour: str, share: float) -> str:
    """A colour so thin that ink on it can be read, in CSS; of the smallest share it can still be seen."""
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return f"rgba({red}, {green}, {blue}, {THINNEST + (DEEPEST - THINNEST) * share:.2f})"
