"""The figures of a group of pictures by class and by source, and how well others are told from the classes.

Others are pictures that show none of the classes. They count in no accuracy: a model does well on them if it says so,
by a `known` below `min_known`, or at least is not sure enough of a class for the app to accept it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from chalicelib.store import NEITHER
from training import metrics
from training.metrics import Floats
from training.predict import Prediction

SMALL = 64
"""Short side, in px, up to which a picture is small: a thumbnail, which shows a network little."""

SIZES: dict[str, Callable[[Prediction], bool]] = {
    "all": lambda _: True,
    "small": lambda one: one.short_side <= SMALL,
    "larger": lambda one: one.short_side > SMALL,
}
"""Pictures that are judged together and apart, by name."""

Json = dict[str, Any]


def by_source(classes: Sequence[Prediction], others: Sequence[Prediction], labels: Sequence[str]) -> list[Json]:
    """Figures of each class by source, of each class, of all classes, and of the others likewise.

    Args:
        classes: what a model said about pictures of the classes.
        others: and about others.
        labels: K classes.

    Returns:
        Rows of `label` (None for all classes), `source` (None for all of them), `pictures` (their number), and the
        shares `right`, `known`, `accepted` and `accepted_right`; None instead of the ones that cannot be told.
    """
    rows = []
    for label in labels:
        rows += _rows(label, [one for one in classes if one.label == label])
    if classes:
        rows.append(_row(None, None, classes))
    return rows + _rows(NEITHER, others, are_others=True)


def _rows(label: str, predictions: Sequence[Prediction], *, are_others: bool = False) -> list[Json]:
    """Of one class, or of the others: a row for each source; one for all where there are several, or none is told."""
    sources = sorted({one.source for one in predictions})
    rows = [
        _row(label, source, [one for one in predictions if one.source == source], are_others=are_others)
        for source in sources
        if sources != [""]
    ]
    if len(sources) > 1 or sources == [""]:
        rows.append(_row(label, None, predictions, are_others=are_others))
    return rows


def _row(label: str | None, source: str | None, predictions: Sequence[Prediction], *, are_others: bool = False) -> Json:
    right = np.array([one.is_right for one in predictions])
    kept = np.array([one.is_kept for one in predictions])
    shares = {
        "right": None if are_others else metrics.share(right),
        "known": metrics.share([one.is_known for one in predictions]) if tells_known(predictions) else None,
        "accepted": metrics.share(kept),
        "accepted_right": None if are_others else metrics.share(right[kept]),
    }
    return {"label": label, "source": source, "pictures": len(predictions)} | {
        name: asdict(one) if one else None for name, one in shares.items()
    }


def without_sources(rows: Sequence[Json]) -> list[Json]:
    """Of rows as `by_source` gives them, those that sum up; a class of one source keeps its only row."""
    summed = {row["label"] for row in rows if row["source"] is None}
    return [row for row in rows if row["source"] is None or row["label"] not in summed]


def tells_known(predictions: Sequence[Prediction]) -> bool:
    """Whether the model tells of every picture how surely it shows one of the classes at all."""
    return all(one.known is not None for one in predictions)


def neither(classes: Sequence[Prediction], others: Sequence[Prediction]) -> Json | None:
    """How well others are told from the classes; None without others.

    Args:
        classes: what a model said about pictures of the classes.
        others: and about others.

    Returns:
        `pictures`, the number of others; `accepted`, the share of them that the app would accept as a class, which
        takes both thresholds; `apart` and `sources`: how well `known` tells them apart, by size and by the others'
        source, both empty where the model tells no `known`; and `mistakes`: each that is accepted, the surest first.
    """
    if not others:
        return None
    tells = tells_known([*classes, *others])
    return {
        "pictures": len(others),
        "accepted": asdict(metrics.share([one.is_kept for one in others])),
        "apart": _by_size(classes, others) if tells else [],
        "sources": _by_source_of_others(classes, others) if tells else [],
        "mistakes": [
            {"path": one.path, "source": one.source, "predicted": one.predicted, "confidence": one.confidence}
            | {"known": one.known}
            for one in accepted(others)
        ],
    }


def accepted(others: Sequence[Prediction]) -> list[Prediction]:
    """The others that are accepted as a class, the surest first."""
    return sorted((one for one in others if one.is_kept), key=lambda one: (-one.confidence, one.path))


def _by_size(classes: Sequence[Prediction], others: Sequence[Prediction]) -> list[Json]:
    """For each size that others have: `size`, and what `_apart` says with a cut of its own."""
    found = []
    for size, fits in SIZES.items():
        ours, theirs = ([one for one in some if fits(one)] for some in (classes, others))
        if theirs:
            found.append({"size": size} | _apart(ours, theirs, _cut(ours)))
    return found


def _by_source_of_others(classes: Sequence[Prediction], others: Sequence[Prediction]) -> list[Json]:
    """For each source of others: `source`, and what `_apart` says with the cut of all pictures of the classes."""
    at = _cut(classes)
    return [
        {"source": source} | _apart(classes, [one for one in others if one.source == source], at)
        for source in sorted({one.source for one in others})
    ]


def _cut(classes: Sequence[Prediction]) -> float | None:
    """The `known` that 95 % of the classes' pictures reach; None of nothing."""
    return metrics.reached_by(metrics.PASSING, _known(classes)) if classes else None


def _apart(classes: Sequence[Prediction], others: Sequence[Prediction], at: float | None) -> Json:
    """How well `known` tells others from pictures of the classes.

    Returns:
        `classes` and `others`, their numbers; `auroc`; `at_min_known` and `at_cut`: what passes from the model's own
        `min_known` on and from `at` on.
    """
    ours, theirs = _known(classes), _known(others)
    return {
        "classes": len(ours),
        "others": len(theirs),
        "auroc": metrics.auroc(ours, theirs),
        "at_min_known": asdict(metrics.cut(others[0].min_known, ours, theirs)),
        "at_cut": None if at is None else asdict(metrics.cut(at, ours, theirs)),
    }


def _known(predictions: Sequence[Prediction]) -> Floats:
    return np.array([one.known for one in predictions], dtype=np.float64)
