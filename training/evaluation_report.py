"""The report of an evaluation: its charts, its pictures and its file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from matplotlib.colors import to_rgb
from matplotlib.ticker import NullLocator, PercentFormatter

from chalicelib.decision import is_enough
from training import agreement, evaluate, predict, report
from training.evaluate import Json
from training.layout import Manifest
from training.metrics import wilson
from training.predict import Prediction
from training.report import INK, LINE, PALETTE, PAPER, QUIET, Chart, percent

MOST_PICTURES = 24
"""Mistakes that are shown, and as many that were held back."""

THINNEST, DEEPEST = 0.12, 0.6
"""How opaque cells of the confusion matrix are: ink on the deepest blue has a contrast of 5.8, and 4.5 are asked for by
WCAG 2.2, success criterion 1.4.3: https://www.w3.org/TR/WCAG22/#contrast-minimum"""

GOOD, WORSE = PALETTE[0], PALETTE[1]


@dataclass(frozen=True)
class Shade:
    """A cell of the confusion matrix: a number of pictures, and the colour behind it in CSS."""

    count: int
    colour: str


def write(path: Path, metrics: Json, predictions: Sequence[Prediction], data: Path, manifest: Manifest) -> None:
    """Write the report.

    Args:
        path: the file.
        metrics: the content of `metrics.json`.
        predictions: what it was made of.
        data: the data set's folder.
        manifest: its manifest.

    Raises:
        PicturesError: a picture has gone in the meantime.
    """
    wrong, back = evaluate.mistakes(predictions), evaluate.held_back(predictions)
    report.write(
        path,
        "evaluation.html",
        name=metrics["model"]["version"] or metrics["model"]["endpoint"] or "the model",
        metrics=metrics,
        needed=needed(metrics),
        shades=shades(metrics["confusion"]),
        charts=[reliability_chart(metrics), coverage_chart(metrics)],
        number_of_mistakes=len(wrong),
        reason=reason,
        mistakes=_shown(wrong, data, manifest),
        held_back=_shown(back, data, manifest),
        rows=agreement.ROWS,
        changed=_changed(metrics, data, manifest),
        source=manifest.source,
        milliseconds=median(one.milliseconds for one in predictions),
    )


def _shown(predictions: Sequence[Prediction], data: Path, manifest: Manifest) -> list[tuple[Prediction, str]]:
    """The first of them, each with its thumbnail."""
    uris = _thumbnails([one.path for one in predictions[:MOST_PICTURES]], data, manifest)
    return list(zip(predictions, uris, strict=False))


def _changed(metrics: Json, data: Path, manifest: Manifest) -> list[tuple[Json, str]]:
    """The first of the reviewed pictures that are decided otherwise now, each with its thumbnail."""
    changed = metrics["reviewed"]["changed"][:MOST_PICTURES] if metrics["reviewed"] else []
    return list(zip(changed, _thumbnails([one["path"] for one in changed], data, manifest), strict=True))


def _thumbnails(paths: Sequence[str], data: Path, manifest: Manifest) -> list[str]:
    pictures = {picture.path: picture for picture in manifest.pictures}
    return [report.thumbnail_uri(predict.read(data, pictures[path])) for path in paths]


def reason(prediction: Prediction) -> str:
    """Why a picture is held back, in words; empty if it is not."""
    reasons = []
    if not prediction.is_known:
        reasons.append("perhaps none of the classes")
    if not is_enough(prediction.confidence, prediction.threshold):
        reasons.append("not sure which")
    return " and ".join(reasons)


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


def reliability_chart(metrics: Json) -> Chart:
    """Whether the model is as sure as it is right."""
    bins = metrics["calibration"]["bins"]
    filled = [one for one in bins if one["count"]]
    figure = report.new_figure()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (upper, lower):
        report.style(axes)
    start = filled[0]["low"]
    upper.plot((start, 1), (start, 1), color=QUIET, linewidth=1, linestyle="--")
    x, y = [one["confidence"] for one in filled], [one["accuracy"] for one in filled]
    ends = [wilson(round(one["accuracy"] * one["count"]), one["count"]) for one in filled]
    upper.vlines(x, [low for low, _ in ends], [high for _, high in ends], color=GOOD, linewidth=1.5, alpha=0.5)
    upper.plot(x, y, color=GOOD, marker="o", linewidth=1.5, markersize=5)
    upper.set_ylim(0, 1.03)
    upper.set_ylabel("right")
    widths = [one["high"] - one["low"] for one in filled]
    lower.bar(
        [one["low"] for one in filled],
        [one["count"] for one in filled],
        widths,
        align="edge",
        color=LINE,
        edgecolor=PAPER,
    )
    lower.set_ylabel("pictures")
    lower.set_xlabel("confidence")
    lower.set_xlim(start, 1.01)
    lower.set_yscale("symlog", linthresh=1)
    lower.yaxis.set_major_formatter("{x:.0f}")
    lower.yaxis.set_minor_locator(NullLocator())
    upper.yaxis.set_major_formatter(PercentFormatter(1, 0))
    lower.xaxis.set_major_formatter(PercentFormatter(1, 0))
    points = (
        f"of {one['count']} pictures with a confidence of {percent(one['confidence'])} on average "
        f"{percent(one['accuracy'])} are right"
        for one in filled
    )
    return Chart(
        "Is it as sure as it is right?",
        report.figure_uri(figure),
        f"Reliability diagram: {'; '.join(points)}.",
        "Each point is a group of pictures. On the dashed line a model is right as often as its confidence says; below "
        "it, it is too sure. The lines through the points are 95 % intervals. The bars count the pictures, on a scale "
        "of powers of ten.",
    )


def coverage_chart(metrics: Json) -> Chart:
    """What more accepted pictures cost in mistakes."""
    coverage, wished, total = metrics["coverage"], metrics["wished"], metrics["data"]["pictures"]
    figure, axes = report.new_axes()
    points = coverage["curve"]
    kept = [one["kept"] / total for one in points]
    error = [1 - one["right"] / one["kept"] for one in points]
    ends = [wilson(one["kept"] - one["right"], one["kept"]) for one in points]
    axes.fill_between(kept, [low for low, _ in ends], [high for _, high in ends], color=GOOD, alpha=0.15, linewidth=0)
    axes.plot(kept, error, color=GOOD, linewidth=1.5, clip_on=False)
    accepted, right = coverage["kept"], coverage["kept_accuracy"]
    here = accepted["value"], 1 - right["value"] if right["total"] else 0.0
    axes.plot(
        *here, marker="o", markersize=9, color=WORSE, linestyle="none", label="the model's threshold", clip_on=False
    )
    text = f"At the model's threshold {percent(here[0])} are accepted, of which {percent(here[1])} are wrong."
    if wished["threshold"] is not None:
        there = wished["kept"]["value"], 1 - wished["accuracy"]["value"]
        axes.plot(
            *there,
            marker="D",
            markersize=8,
            markerfacecolor=PAPER,
            color=INK,
            linestyle="none",
            clip_on=False,
            label=f"{report.exact_percent(wished['precision'])} right",
        )
        text += f" {percent(there[0])} could be accepted with {percent(there[1])} wrong."
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, _top(error, here[1]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, None))
    axes.set_xlabel("accepted, of all pictures")
    axes.set_ylabel("wrong, of the accepted")
    axes.legend(frameon=False, fontsize=10, loc="upper left")
    return Chart(
        "What does asking people less often cost?",
        report.figure_uri(figure),
        f"Error against coverage. {text}",
        "Going right, the threshold falls: more pictures are accepted, and more of them are wrong. The ground behind "
        "the line is its 95 % interval. Pictures that may show none of the classes are never accepted.",
    )


def _top(error: Sequence[float], here: float) -> float:
    """Upper end of the axis of errors."""
    return min(1.0, max(0.04, 2 * max((*error, here))))
