"""The tables of an evaluation in Markdown, for a model card: all of them come from `metrics.json`."""

from collections.abc import Iterator

from training.breakdown import SMALL, Json
from training.report import interval, value

FILE = "tables.md"
"""Lies beside `metrics.json`."""

SIZES = {"all": "every size", "small": f"up to {SMALL} px", "larger": "larger"}
"""Of the short side, in words."""

BY_SOURCE = ("class", "source", "pictures", "right", "known", "accepted", "right among accepted")
APART = (
    "short side, or source of others",
    "of classes",
    "of none",
    "AUROC",
    "classes that pass",
    "others let through",
    "let through at 95 %",
)
SURENESS = ("pictures", "ECE", "accepted", "right among accepted", "from the threshold on", "right of these")


def to_markdown(metrics: Json) -> str:
    """The text of the file.

    Args:
        metrics: the content of `metrics.json`.
    """
    model, data = metrics["model"], metrics["data"]
    coverage = metrics["coverage"]
    size = f"; {model['bytes']:,} bytes on disk" if model["bytes"] else ""
    lines = [
        f"Model {model['version'] or model['endpoint'] or 'without a name'}: threshold {coverage['threshold']:g}, "
        f"min_known {coverage['min_known']:g}{size}. In brackets 95 % Wilson intervals.",
        *_group(f"{data['split']} split".capitalize(), metrics, data["pictures"]),
    ]
    for one in metrics["further"]:
        lines += [*_group(one["name"], one, one["pictures"]), "", agreement_of(one["agreement"])]
    if metrics["together"] and metrics["together"]["apart"]:
        lines += ["", "## All together", "", *_table(APART, _apart(metrics["together"]))]
    return "\n".join(lines) + "\n"


def _group(name: str, figures: Json, pictures: int) -> list[str]:
    """The tables of a split or of a folder."""
    lines = ["", f"## {name}", "", *_table(BY_SOURCE, map(_source_row, figures["by_source"]))]
    if figures["accuracy"]:
        lines += ["", *_table(SURENESS, [_sureness(figures, pictures)])]
    neither = figures["neither"]
    if neither and neither["apart"]:
        lines += ["", *_table(APART, _apart(neither))]
    elif neither:
        lines += ["", "The model does not tell how surely a picture shows one of the classes (`known`)."]
    return lines


def _table(head: tuple[str, ...], rows: Iterator[list[str]] | list[list[str]]) -> list[str]:
    return [_line(list(head)), "|" + "---|" * len(head), *map(_line, rows)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _source_row(row: Json) -> list[str]:
    shares = (row[name] for name in ("right", "known", "accepted", "accepted_right"))
    return [row["label"] or "any", source_of(row), str(row["pictures"]), *map(share, shares)]


def _sureness(figures: Json, pictures: int) -> list[str]:
    coverage = figures["coverage"]
    shares = (coverage[name] for name in ("kept", "kept_accuracy", "sure", "sure_accuracy"))
    return [str(pictures), f"{figures['calibration']['ece']:.3f}", *map(share, shares)]


def _apart(neither: Json) -> list[list[str]]:
    named = [(SIZES[one["size"]], one) for one in neither["apart"]]
    if len(neither["sources"]) > 1:
        named += [(one["source"] or "not told", one) for one in neither["sources"]]
    return [
        [
            name,
            str(one["classes"]),
            str(one["others"]),
            auroc(one),
            share(one["at_min_known"]["passed"]),
            share(one["at_min_known"]["let_through"]),
            share(one["at_cut"] and one["at_cut"]["let_through"]),
        ]
        for name, one in named
    ]


def agreement_of(agreement: Json) -> str:
    """Whether it matters how a picture comes to the model, in a sentence.

    Args:
        agreement: of further pictures, as in `metrics.json`.
    """
    if not agreement["compared"]:
        return "The model takes none of these files as they are."
    reworked = agreement["same_of_reworked"]
    on_reworked = (
        f"; of the {reworked['total']} that it changes on the way {share(reworked)}" if reworked["total"] else ""
    )
    return (
        f"As they are or as the workflow sends them, {share(agreement['same'])} of {agreement['compared']} files are "
        f"decided alike{on_reworked}. Largest change of a probability or of known: {agreement['largest_change']:.4f}."
    )


def source_of(row: Json) -> str:
    """Where the pictures of a row of `by_source` come from, in words."""
    return row["source"] or ("all" if row["source"] is None else "not told")


def auroc(apart: Json) -> str:
    """How well others are told apart; a dash where there is nothing to tell apart."""
    return "–" if apart["auroc"] is None else f"{apart['auroc']:.4f}"


def share(found: Json | None) -> str:
    """A share in percent with its interval; a dash where there is nothing to share.

    Args:
        found: as in `metrics.json`.
    """
    if found is None or found["value"] is None:
        return "–"
    return f"{value(found)} ({interval(found)})"
