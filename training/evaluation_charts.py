"""The charts of an evaluation, each of figures that stand in `metrics.json`, or of the answers behind them."""

from collections import Counter
from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from chalicelib.store import NEITHER
from training import report
from training.breakdown import Json
from training.metrics import wilson
from training.predict import Prediction
from training.report import INK, LINE, PALETTE, PAPER, QUIET, Chart, exact_percent, percent

GOOD, WORSE = PALETTE[0], PALETTE[1]
"""Of what is right and of what is wrong; of pictures of the classes and of others."""

MOST_SOURCES = 16
"""Sources that a chart shows: those with the most pictures, and the rest together."""

REST = "all smaller sources"
"""Stands for the sources that have no place of their own."""

BINS = [number / 20 for number in range(21)]
"""Edges of the bins of `known`."""


def reliability_chart(figures: Json) -> Chart:
    """Whether the model is as sure as it is right.

    Args:
        figures: with `calibration`, as in `metrics.json`.
    """
    bins = figures["calibration"]["bins"]
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


def coverage_chart(figures: Json) -> Chart:
    """What more accepted pictures cost in mistakes.

    Args:
        figures: with `coverage` and `wished`, as in `metrics.json`.
    """
    coverage, wished = figures["coverage"], figures["wished"]
    total = coverage["kept"]["total"]
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
        *here,
        marker="o",
        markersize=9,
        color=WORSE,
        linestyle="none",
        clip_on=False,
        label=f"the model's threshold, {coverage['threshold']:g}",
    )
    text = f"At the model's threshold {percent(here[0])} are accepted, of which {percent(here[1])} are wrong."
    wrong = 1 - wished["precision"]
    axes.axhline(wrong, color=INK, linewidth=1, linestyle=":", label=f"{exact_percent(wished['precision'])} right")
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
            label=f"the smallest that reaches it, {wished['threshold']:.3g}",
        )
        text += f" {percent(there[0])} could be accepted with {percent(there[1])} wrong."
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, _top([*error, here[1], wrong]))
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
        "the line is its 95 % interval; on the dotted line as many are wrong as may be. Pictures that may show none of "
        "the classes are never accepted.",
    )


def _top(errors: Sequence[float]) -> float:
    """Upper end of the axis of errors."""
    return min(1.0, max(0.04, 2 * max(errors)))


def sources_chart(rows: Sequence[Json]) -> Chart:
    """How many are right, and how many others are held back, by class and source.

    Args:
        rows: `by_source`, as in `metrics.json`.
    """
    shown = _fewer([row for row in rows if row["label"] is not None and not _is_sum(row, rows)])
    figure, axes = report.new_axes(height=1.0 + 0.27 * len(shown))
    texts = []
    for place, row in enumerate(shown):
        is_other = row["right"] is None
        count = row["pictures"] - row["accepted"]["count"] if is_other else row["right"]["count"]
        low, high = wilson(count, row["pictures"])
        colour = WORSE if is_other else GOOD
        axes.hlines(place, low, high, color=colour, linewidth=1.5, alpha=0.5, clip_on=False)
        marker = "D" if is_other else "o"
        axes.plot(count / row["pictures"], place, color=colour, marker=marker, markersize=5, clip_on=False)
        done = "held back" if is_other else "right"
        texts.append(f"{_name(row)}: {percent(count / row['pictures'])} of {row['pictures']} {done}")
    axes.set_yticks(range(len(shown)), [f"{_name(row)} ({row['pictures']})" for row in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(max(0, min(0.8, axes.get_xlim()[0])), 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set_xlabel("right; of others: held back")
    return Chart(
        "Is it as good everywhere?",
        report.figure_uri(figure),
        f"Shares by class and source. {'; '.join(texts)}.",
        "A dot is the share of a source's pictures that is taken for the right class; a diamond, of pictures that show "
        "none of the classes, the share that is not accepted as one. The lines are 95 % intervals. In brackets the "
        "number of pictures.",
    )


def _is_sum(row: Json, rows: Sequence[Json]) -> bool:
    """Whether a row sums up others: all sources of its label, where the sources have rows of their own."""
    return row["source"] is None and any(one["source"] is not None for one in rows if one["label"] == row["label"])


def _fewer(rows: Sequence[Json]) -> list[Json]:
    """At most so many rows as a chart can show: those with the most pictures, in their order."""
    most = sorted(rows, key=lambda row: -row["pictures"])[: 2 * MOST_SOURCES]
    return [row for row in rows if any(row is one for one in most)]


def _name(row: Json) -> str:
    return f"{row['label']}, {row['source']}" if row["source"] else str(row["label"])


def known_chart(classes: Sequence[Prediction], others: Sequence[Prediction]) -> Chart:
    """How `known` is spread, by source.

    Args:
        classes: what a model said about pictures of the classes; of all `known` is told.
        others: and about others.
    """
    panels = _by_source(classes, others)
    min_known = [*classes, *others][0].min_known
    rows = -(-len(panels) // 2)
    figure = report.new_figure(height=0.9 + rows)
    grid = list(figure.subplots(rows, 2, sharex=True, squeeze=False).flatten())
    texts = []
    for axes, (name, (ours, theirs)) in zip(grid, panels, strict=False):
        report.style(axes)
        for values, colour in ((ours, GOOD), (theirs, WORSE)):
            axes.hist(values, BINS, color=colour, alpha=0.65)
        axes.axvline(min_known, color=INK, linewidth=1, linestyle="--")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0)
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=8, pad=2)
        passing = ", ".join(
            f"{sum(value >= min_known for value in values)} of {len(values)} {what}"
            for values, what in ((ours, "pass"), (theirs, "others pass"))
            if values
        )
        axes.set_title(f"{name}\n{passing}", fontsize=8, loc="left", color=INK, pad=3)
        texts.append(f"{name}: {passing}")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel("known", fontsize=10, color=INK)
    return Chart(
        "Is it one of the classes at all?",
        report.figure_uri(figure),
        f"Histograms of known by source; needed is {min_known:g}. {'; '.join(texts)}.",
        "Blue are pictures of the classes, orange others, counted on a scale of powers of ten. What lies right of the "
        f"dashed line, at {min_known:g}, passes as one of the classes: that should be all of the blue and nothing of "
        "the orange.",
    )


def _by_source(
    classes: Sequence[Prediction], others: Sequence[Prediction]
) -> list[tuple[str, tuple[list[float], list[float]]]]:
    """`known` of pictures of the classes and of others, by source, or by what they show where no source is told."""
    named = [(one.source or one.label, 0, one.known or 0.0) for one in classes]
    named += [(one.source or NEITHER, 1, one.known or 0.0) for one in others]
    counts = Counter(name for name, *_ in named)
    shown = dict(counts.most_common(MOST_SOURCES if len(counts) <= MOST_SOURCES else MOST_SOURCES - 1))
    panels: dict[str, tuple[list[float], list[float]]] = {}
    for name, side, known in named:
        panels.setdefault(name if name in shown else REST, ([], []))[side].append(known)
    return sorted(panels.items(), key=lambda panel: (panel[0] == REST, not panel[1][0], panel[0]))
