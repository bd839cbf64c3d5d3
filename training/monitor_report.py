"""The report of `monitor`: charts over time, against the evaluation, and the pictures that it was least sure of."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training import drift, report
from training.capture import Record
from training.metrics import Histogram, histogram, share_of
from training.monitor import MAX_BROKEN, Findings, Slot, quantiles

TEMPLATE = "monitoring.html"

MAX_POINTS = 2_000
"""Records that are drawn one by one; of more, bands are drawn."""

UNITS = {
    "confidence": "probability of the likeliest class",
    "known": "how surely it shows one of the classes",
    "brightness": "brightness, 0 black to 1 white",
    "short_side": "short side in px",
}
"""What is on the axis of each histogram."""

MIN_TICKS, MAX_TICKS = 3, 7
"""Of a time axis. With these two matplotlib finds ticks for a time of any length; with fewer it does not."""

SIZES = {"day": 24 * 60, "hour": 60, "minute": 1}
"""Minutes in units of time, the largest first."""

Days = list[float]
"""Moments as matplotlib counts them: days since 1970, in UTC."""


def write(path: Path, findings: Findings) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        findings: what it tells.
    """
    low, middle, _ = quantiles(findings.records)
    report.write(
        path,
        TEMPLATE,
        findings=findings,
        held_back=share_of(findings.held_back, len(findings.records)),
        baseline_held_back=findings.baseline and share_of(findings.baseline.held_back, findings.baseline.total),
        median=middle,
        low=low,
        names=drift.NAMES,
        cut=drift.CUT,
        significance=drift.SIGNIFICANCE,
        min_records=drift.MIN_RECORDS,
        max_broken=MAX_BROKEN,
        over_time=[_confidence(findings), _held_back(findings), _class_mix(findings), _traffic(findings)],
        against_evaluation=list(_histograms(findings)),
        least_sure=[
            (record, report.thumbnail_uri(findings.reading.pictures[record.event])) for record in findings.least_sure
        ],
    )


def _confidence(findings: Findings) -> report.Chart:
    figure, axes = _time_axes(findings)
    if len(findings.records) > MAX_POINTS:
        how = _bands(axes, findings.slots, findings.width)
    else:
        how = _points(axes, findings.records, list(findings.labels))
    times = _days([record.time for record in findings.records])
    thresholds = [record.threshold for record in findings.records]
    axes.step(times, thresholds, where="post", color=report.INK, linewidth=1, linestyle="--", label="threshold")
    if len(set(times)) == 1:
        axes.axhline(thresholds[0], color=report.INK, linewidth=1, linestyle="--")
    axes.set_ylabel("confidence")
    report.legend(axes, columns=4, line=1.4)
    _, middle, _ = quantiles(findings.records)
    return report.Chart(
        "Confidence",
        report.figure_uri(figure),
        f"Confidence of {len(findings.records)} answers over time; the median is {middle:.3f}.",
        f"{how} Below the dashed threshold a picture is held back.",
    )


def _points(axes: Axes, records: Sequence[Record], labels: Sequence[str]) -> str:
    for label, colour in report.colours(labels).items():
        accepted, held_back = (
            [record for record in records if record.label == label and record.held_back == wanted]
            for wanted in (False, True)
        )
        axes.scatter(*_places(accepted), s=9, color=colour, linewidths=0, label=label)
        axes.scatter(*_places(held_back), s=18, color=colour, linewidths=1.2, marker="x", zorder=3)
    axes.scatter([], [], s=18, color=report.QUIET, linewidths=1.2, marker="x", label="held back")
    return "Each mark is a picture; a cross was held back, for low confidence or as it may show none of the classes."


def _places(records: Sequence[Record]) -> tuple[Days, list[float]]:
    return _days([record.time for record in records]), [record.confidence for record in records]


def _bands(axes: Axes, slots: Sequence[Slot], width: timedelta) -> str:
    times = _days([slot.start + width / 2 for slot in slots])
    low, middle, high = np.array([slot.confidence for slot in slots]).T
    colour = report.PALETTE[0]
    axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0, label="middle 80 %")
    axes.plot(times, middle, color=colour, marker="o", markersize=3, linewidth=1.5, label="median")
    return f"The line is the median of each {_words(width)}, the band holds the middle 80 % of the pictures."


def _held_back(findings: Findings) -> report.Chart:
    figure, axes = _time_axes(findings)
    slots = findings.slots
    shares = [share_of(slot.held_back, slot.records) for slot in slots]
    values = np.array([one.count / one.total for one in shares])
    errors = np.clip([values - [one.low for one in shares], [one.high for one in shares] - values], 0, None)
    axes.errorbar(
        _days([slot.start + findings.width / 2 for slot in slots]),
        values,
        yerr=errors,
        fmt="o",
        markersize=4,
        linewidth=1,
        color=report.PALETTE[1],
        label="held back",
    )
    baseline = findings.baseline
    if baseline and baseline.total:
        before = baseline.held_back / baseline.total
        axes.axhline(before, color=report.INK, linewidth=1, linestyle="--", label="in the evaluation")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("share held back")
    report.legend(axes, columns=4, line=1.4)
    return report.Chart(
        "Held back for a person",
        report.figure_uri(figure),
        f"Share held back over time; {findings.held_back} of {len(findings.records)} in all.",
        f"Each point is the share of one {_words(findings.width)}, its bar the 95 % interval: long for few pictures.",
    )


def _class_mix(findings: Findings) -> report.Chart:
    figure, axes = _time_axes(findings)
    slots = findings.slots
    times = _days([slot.start for slot in slots])
    bottom = np.zeros(len(slots))
    for label, colour in report.colours(list(findings.labels)).items():
        shares = np.array([slot.labels.get(label, 0) / slot.records for slot in slots])
        axes.bar(times, shares, _bar_width(findings), bottom, align="edge", color=colour, label=label)
        bottom += shares
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of the pictures")
    report.legend(axes, columns=4, line=1.4)
    total = len(findings.records)
    mix = ", ".join(f"{label} {count / total:.1%}" for label, count in findings.labels.items())
    return report.Chart(
        "Class mix",
        report.figure_uri(figure),
        f"Share of each class over time; in all {mix}.",
        f"Each bar is one {_words(findings.width)}; it shows what the model saw, held back or not.",
    )


def _traffic(findings: Findings) -> report.Chart:
    figure, axes = _time_axes(findings)
    starts, counts = _days([slot.start for slot in findings.slots]), [slot.records for slot in findings.slots]
    axes.bar(starts, counts, _bar_width(findings), align="edge", color=report.PALETTE[0])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("pictures")
    return report.Chart(
        "Pictures",
        report.figure_uri(figure),
        f"Pictures over time; {len(findings.records)} in all.",
        f"Each bar is one {_words(findings.width)}. Without pictures there is none.",
    )


def _histograms(findings: Findings) -> Iterator[report.Chart]:
    if findings.baseline is None:
        return
    for name, before in findings.baseline.histograms.items():
        values = drift.feature_values(findings.records, name)
        if values:
            yield _histogram(name, before, histogram(values, before.edges))


def _histogram(name: str, baseline: Histogram, captured: Histogram) -> report.Chart:
    figure, axes = report.new_axes()
    places = np.arange(len(baseline.counts))
    before, now = np.array(baseline.counts), np.array(captured.counts)
    axes.bar(places, before / max(1, before.sum()), 0.94, color=report.LINE, label="evaluation")
    axes.step(
        np.append(places, places[-1] + 1) - 0.5,
        np.append(now, now[-1]) / now.sum(),
        where="post",
        color=report.PALETTE[0],
        linewidth=1.8,
        label="captured",
    )
    every = -(-len(places) // 8)
    edges = range(0, len(places) + 1, every)
    axes.set_xticks([edge - 0.5 for edge in edges], [f"{baseline.edges[edge]:g}" for edge in edges])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(UNITS[name])
    axes.set_ylabel("share of the pictures")
    report.legend(axes, columns=4, line=1.4)
    index = float(drift.psi(before, now))
    title = drift.NAMES[name].capitalize()
    return report.Chart(
        title,
        report.figure_uri(figure),
        f"{title} of {now.sum()} captured pictures against {before.sum()} of the evaluation.",
        f"The line is what was captured, the grey bars are the evaluation. They are {index:.3f} apart, as a PSI.",
    )


def _time_axes(findings: Findings) -> tuple[Figure, Axes]:
    """A chart over the time of all slots, in UTC."""
    figure, axes = report.new_axes()
    locator = AutoDateLocator(minticks=MIN_TICKS, maxticks=MAX_TICKS)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlim(*_days([findings.slots[0].start, findings.slots[-1].start + findings.width]))
    axes.set_xlabel("time, UTC")
    return figure, axes


def _bar_width(findings: Findings) -> float:
    return 0.9 * (findings.width / timedelta(days=1))


def _days(moments: Sequence[datetime]) -> Days:
    return [float(day) for day in date2num(list(moments))]  # type: ignore[no-untyped-call]


def _words(width: timedelta) -> str:
    """A slot's width, to follow "one" or "each": "day", "stretch of 3 hours"."""
    minutes = width // timedelta(minutes=1)
    count, unit = next((minutes // size, unit) for unit, size in SIZES.items() if minutes % size == 0)
    return unit if count == 1 else f"stretch of {count} {unit}s"
