"""Whether what the endpoint sees and says still looks like what the model was evaluated on.

Every feature is counted in the bins of the evaluation's baseline, and the two rows of counts are compared by the
population stability index:

    PSI = sum over bins of (seen - baseline) * ln(seen / baseline)          shares of all, 0 to 1

A feature has drifted if its PSI is both large (`CUT`) and larger than chance makes it (`SIGNIFICANCE`). The first alone
will not do: of few records chance alone makes large ones, about (bins - 1) * (1 / baseline records + 1 / seen records)
on average. The second alone will not do either: of many records the slightest difference is beyond chance. And as
several features are judged, each has to be the further beyond chance, by Bonferroni's rule.

B. Yurdakul and J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation,
2020: https://econpapers.repec.org/article/rskjourn5/7725371.htm
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.capture import Record
from training.metrics import Histogram, histogram

CUT = 0.2
"""The PSI that counts as large. A convention, no law: D. Wu and D. Olson, Journal of the Operational Research Society
61 (2010), pages 179 to 190, speak of a significant change from 0.2 on; N. Siddiqi, Credit Risk Scorecards (Wiley 2006),
from 0.25 on."""

SIGNIFICANCE = 0.01
"""How often, at most, chance alone makes any feature drift. It is shared out evenly among the features."""

MIN_RECORDS = 100
"""Fewer are not judged, on either side: with 10 bins chance alone then makes a PSI of 0.1 and more out of nothing."""

RELABELLINGS = 9_999
"""Random divisions that the effect of chance is measured on; the smallest p-value is one in so many and one."""

PSEUDOCOUNT = 0.5
"""So many records a bin are added to either side, as by Jeffreys' prior for counts, so that a bin that is empty on one
side has a share there, too. They are divided among the bins like both sides together: equal shares stay equal."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Baseline:
    """What the evaluation saw, from `metrics.json`.

    Attributes:
        model: the version that was evaluated; None if it tells none.
        classes: the data set's labels, in the order of the probabilities.
        labels: pictures by predicted label.
        held_back: pictures that were held back.
        total: pictures in all.
        histograms: of confidence, known, brightness and short side, by name; what the model does not tell is missing.
    """

    model: str | None
    classes: list[str]
    labels: dict[str, int]
    held_back: int
    total: int
    histograms: dict[str, Histogram]

    @classmethod
    def parse(cls, metrics: Mapping[str, Any]) -> "Baseline":
        """Read it from the content of `metrics.json`.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: that is of another shape.
        """
        content = metrics["baseline"]
        histograms = {
            name: Histogram(list(map(float, content[name]["edges"])), list(map(int, content[name]["counts"])))
            for name in FEATURES
            if content.get(name) is not None
        }
        if any(len(one.edges) != len(one.counts) + 1 or len(one.counts) < 2 for one in histograms.values()):
            raise ValueError("bins and edges do not agree")
        held_back, total = int(content["held_back"]["count"]), int(content["held_back"]["total"])
        if not 0 <= held_back <= total or not total:
            raise ValueError(f"{held_back} of {total} pictures held back")
        return cls(
            model=metrics["model"]["version"],
            classes=list(map(str, metrics["data"]["labels"])),
            labels={str(label): int(count) for label, count in content["labels"].items()},
            held_back=held_back,
            total=total,
            histograms=histograms,
        )


FEATURES = ("confidence", "known", "brightness", "short_side")
"""What is compared as histograms; each is an attribute of `Record`."""

NAMES = {
    "class_mix": "class mix",
    "held_back": "held back",
    "confidence": "confidence",
    "known": "known",
    "brightness": "brightness",
    "short_side": "short side",
}
"""Every feature that is compared, and its name for people."""


@dataclass(frozen=True)
class Drift:
    """How far one feature has drifted.

    Attributes:
        feature: one of `NAMES`.
        psi: its population stability index, 0 or more.
        chance: the PSI that chance alone reaches as rarely as `level` says.
        p_value: how often chance alone makes a PSI at least as large, 0 to 1.
        level: the largest p-value that counts as beyond chance.
        cut: the PSI that counts as large.
        records: how many records have the feature.
        judged: whether both sides have `MIN_RECORDS`.
        drifted: whether it is judged, large and more than chance.
    """

    feature: str
    psi: float
    chance: float
    p_value: float
    level: float
    cut: float
    records: int
    judged: bool
    drifted: bool

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if not self.judged:
            return "too few to judge"
        return "drifted" if self.drifted else "no drift"


def psi(baseline: ArrayLike, seen: ArrayLike) -> NDArray[np.float64]:
    """The population stability index between counts; symmetric, 0 for equal shares, never negative.

    Args:
        baseline: counts (..., bins).
        seen: counts (..., bins).

    Returns:
        The index (...).
    """
    one, other = np.asarray(baseline, dtype=np.float64), np.asarray(seen, dtype=np.float64)
    both = (_shares(one) + _shares(other)) / 2
    added = PSEUDOCOUNT * (both > 0).sum(axis=-1, keepdims=True) * both
    expected, actual = _shares(one + added), _shares(other + added)
    ratio = np.divide(actual, expected, out=np.ones_like(both), where=both > 0)
    index: NDArray[np.float64] = ((actual - expected) * np.log(ratio)).sum(axis=-1)
    return index


def by_chance(baseline: Counts, seen: Counts) -> NDArray[np.float64]:
    """PSIs that chance alone makes: of all pictures thrown together and divided anew, at random, into as many each.

    A permutation test, so exact for bins of any size: B. Phipson and G. Smyth, Permutation p-values should never be
    zero (2010), https://doi.org/10.2202/1544-6115.1585. It takes records for independent of each other; a series of
    pictures of the same scene is not, and then looks further from chance than it is.

    Args:
        baseline: counts (bins,).
        seen: counts (bins,).

    Returns:
        `RELABELLINGS` indices, the same for the same counts.
    """
    together = baseline + seen
    generator = np.random.default_rng(0)
    drawn = generator.multivariate_hypergeometric(together, int(seen.sum()), size=RELABELLINGS, method="marginals")
    return psi(together - drawn, drawn)


def judge(feature: str, baseline: Counts, seen: Counts, level: float) -> Drift:
    """Compare the counts of one feature.

    Args:
        feature: its name.
        baseline: counts (bins,) of the evaluation.
        seen: counts (bins,) of the captured records.
        level: the largest p-value that counts as beyond chance.
    """
    index, chance = float(psi(baseline, seen)), by_chance(baseline, seen)
    p_value = (1 + int((chance >= index).sum())) / (1 + RELABELLINGS)
    judged = min(int(baseline.sum()), int(seen.sum())) >= MIN_RECORDS
    return Drift(
        feature=feature,
        psi=index,
        chance=float(np.quantile(chance, 1 - level)),
        p_value=p_value,
        level=level,
        cut=CUT,
        records=int(seen.sum()),
        judged=judged,
        drifted=judged and index >= CUT and p_value <= level,
    )


def compare(baseline: Baseline, records: Sequence[Record]) -> list[Drift]:
    """Compare every feature that both sides have.

    Args:
        baseline: what the evaluation saw.
        records: what was captured, at least one.
    """
    labels = [record.label for record in records]
    kinds = sorted({*baseline.labels, *labels})
    held_back = sum(record.held_back for record in records)
    pairs: dict[str, tuple[Sequence[int], Sequence[int]]] = {
        "class_mix": ([baseline.labels.get(kind, 0) for kind in kinds], [labels.count(kind) for kind in kinds]),
        "held_back": ([baseline.held_back, baseline.total - baseline.held_back], [held_back, len(records) - held_back]),
    }
    for name, before in baseline.histograms.items():
        values = feature_values(records, name)
        if values:
            pairs[name] = (before.counts, histogram(values, before.edges).counts)
    level = SIGNIFICANCE / len(pairs)
    return [
        judge(name, np.asarray(before, dtype=np.int64), np.asarray(seen, dtype=np.int64), level)
        for name, (before, seen) in pairs.items()
    ]


def feature_values(records: Sequence[Record], name: str) -> list[float]:
    """The values of one of `FEATURES`, of the records that have it."""
    return [float(value) for value in (getattr(record, name) for record in records) if value is not None]


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return shares
