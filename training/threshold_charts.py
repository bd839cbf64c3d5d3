"""The charts of the costs of thresholds: what each costs, and how much it accepts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from training import report
from training.capture import Record
from training.costs import PER, Curve, Recommendation
from training.metrics import Floats
from training.replay import Setting
from training.report import Chart, usd

NEAREST = 1e-4
"""How near to 1 charts go."""

TICKS = (0.0, 0.5, 0.8, 0.9, 0.97, 0.99, 0.997, 0.999, 0.9999)
"""Of an axis of confidences, which lie the farther apart the nearer they are to 1."""

LOWEST_TOP = 1e-9
"""USD that the axis of costs has at least, for pictures that cost nothing."""

Place = Callable[[ArrayLike], Floats]
"""Tells where thresholds lie on an axis."""


def cost_chart(found: Recommendation, settings: Sequence[Setting]) -> Chart:
    """What each threshold costs, with the `min_known` that is recommended.

    Args:
        found: the recommendation.
        settings: other thresholds to mark.
    """
    words = ("What does a threshold cost?", "threshold of the confidence")
    return _cost_chart(found.curve, _stretched, _thresholds(found, settings), found, words)


def known_chart(found: Recommendation, curve: Curve, settings: Sequence[Setting]) -> Chart:
    """What each `min_known` costs, with the threshold that is recommended.

    Args:
        found: the recommendation.
        curve: its costs by `min_known`.
        settings: others to mark.
    """
    marks = {"the model's own": found.own.min_known, "recommended": found.recommended.min_known}
    marks |= {setting.name: setting.min_known for setting in settings if setting.min_known is not None}
    return _cost_chart(
        curve, np.asarray, marks, found, ("What does it cost to ask for more known?", "known that is needed")
    )


def coverage_chart(
    found: Recommendation, settings: Sequence[Setting], split: str, traffic: Sequence[Record] = ()
) -> Chart:
    """How much each threshold accepts.

    Args:
        found: the recommendation.
        settings: other thresholds to mark.
        split: that the recommendation comes from.
        traffic: captured pictures, for a line of their own.
    """
    figure, axes = report.new_axes()
    _step(axes, _stretched(found.curve.cuts[:-1]), found.curve.accepted[:-1], 0, split)
    if traffic:
        cuts, accepted = _accepted(traffic)
        _step(axes, _stretched(cuts), accepted, 2, "captured traffic")
    axes.set_ylim(0, 1)
    _finish(axes, _stretched, _thresholds(found, settings), "threshold of the confidence")
    axes.set_ylabel("share accepted")
    return Chart(
        "How much is accepted?",
        report.figure_uri(figure),
        "Share of the pictures that is accepted, by the threshold.",
        "Going right, more pictures are held back for a person."
        + (" Lines that lie apart: the traffic is not like the pictures." if traffic else ""),
    )


def _thresholds(found: Recommendation, settings: Sequence[Setting]) -> dict[str, float]:
    """Thresholds to mark, by what they are called."""
    marks = {"the model's own": found.own.threshold, "recommended": found.recommended.threshold}
    marks |= {setting.name: setting.threshold for setting in settings}
    return {name: threshold for name, threshold in marks.items() if threshold is not None}


def _step(axes: Axes, x: Floats, y: Floats, colour: int, label: str | None = None) -> None:
    axes.step(x, y, where="pre", color=report.PALETTE[colour], linewidth=1.6, label=label)


def _cost_chart(
    curve: Curve, place: Place, marks: Mapping[str, float], found: Recommendation, words: tuple[str, str]
) -> Chart:
    title, what = words
    figure, axes = report.new_axes()
    _step(axes, place(curve.cuts[:-1]), curve.cost[:-1], 0)
    there = [float(curve.cost[np.searchsorted(curve.cuts, mark)]) for mark in marks.values()]
    top = 1.3 * max(found.review_all.cost, *there, LOWEST_TOP)
    axes.set_ylim(0, top)
    for name, outcome in (("accept all", found.accept_all), ("hold all back", found.review_all)):
        if outcome.cost < top:
            line = "-." if outcome is found.accept_all else ":"
            axes.axhline(outcome.cost, color=report.QUIET, linewidth=1, linestyle=line, label=name)
    _finish(axes, place, marks, what)
    axes.set_ylabel(f"USD per {PER} pictures")
    return Chart(
        title,
        report.figure_uri(figure),
        f"Cost of {len(curve.cuts)} cuts, the lowest {usd(curve.cost.min())} USD; marked are "
        + ", ".join(f"{name} {mark:.6g}" for name, mark in marks.items()),
        "Where the curve is flat around a mark, the exact place matters little. Its jumps are single pictures. What "
        "costs much more than holding all back lies above the chart.",
    )


def _accepted(records: Sequence[Record]) -> tuple[Floats, Floats]:
    """The share of captured pictures that each threshold accepts, with the `min_known` that came with each."""
    known = [Setting("", 0.0).reason(record) is None for record in records]
    confidences = np.sort([record.confidence for record, is_known in zip(records, known, strict=True) if is_known])
    return confidences, np.arange(len(confidences), 0, -1) / len(records)


def _finish(axes: Axes, place: Place, marks: Mapping[str, float], what: str) -> None:
    """Mark thresholds, and name what the axis of them is."""
    colours = (report.INK, *report.PALETTE[1:2], *report.PALETTE[3:])
    lines = ("--", "-", *(":" for _ in marks))
    for number, (name, mark) in enumerate(marks.items()):
        colour = colours[number % len(colours)]
        axes.axvline(float(place(mark)), color=colour, linewidth=1.3, linestyle=lines[number], label=name)
    if place is _stretched:
        low, high = axes.get_xlim()
        ticks = [tick for tick in TICKS if low <= float(_stretched(tick)) <= high]
        axes.set_xticks([float(_stretched(tick)) for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(what)
    report.legend(axes, columns=2, line=1.6)


def _stretched(confidence: ArrayLike) -> Floats:
    """Where confidences lie on an axis: as far to the right as they have nines."""
    places: Floats = -np.log10(1 - np.clip(confidence, 0, 1 - NEAREST))
    return places
