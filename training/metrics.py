"""Figures of how good probabilities are: pure arithmetic on arrays, for any number of classes from two on.

Throughout, N is the number of pictures and K that of classes; the confidence is the probability of the likeliest class.
What scikit-learn and SciPy have is taken from them where it is needed: this holds the rest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

LEVEL = 0.95
"""How often an interval covers the true share."""

BINS = 15
"""Bins of the calibration error, as in C. Guo et al., On calibration of modern neural networks (2017), section 2:
https://arxiv.org/abs/1706.04599"""

SMALLEST = 5e-7
"""A probability of 0 counts as this, since the logarithm of 0 is infinite and models round theirs to six digits."""

QUANTILES = 10
"""Bins of a baseline, each of which holds about as many pictures. Ten is usual for the population stability index:
B. Yurdakul and J. Naranjo (2020), https://econpapers.repec.org/article/rskjourn5/7725371.htm"""

SUREST = (0.7, 0.8, 0.9, 1.0)
"""Shares of the pictures, the surest ones, of which is told how many are right."""

PASSING = 0.95
"""The share of the classes' pictures that passes the cut at which others are counted."""

STEP = 1e-4
"""Edges of a baseline's bins are multiples of this."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """A share with its interval.

    Attributes:
        value: count / total, 0 to 1; None of nothing.
        low: lower end of Wilson's 95 % interval.
        high: upper end of it.
        count: how many.
        total: of how many.
    """

    value: float | None
    low: float
    high: float
    count: int
    total: int


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others.

    Attributes:
        label: the class.
        support: pictures of this class.
        predicted: pictures that were taken for this class.
        precision: share of those taken for this class that are of it.
        recall: share of those of this class that were taken for it.
    """

    label: str
    support: int
    predicted: int
    precision: Share
    recall: Share


@dataclass(frozen=True)
class Bin:
    """The pictures whose confidence lies above `low` and not above `high`.

    Attributes:
        low: a confidence.
        high: a confidence.
        count: how many pictures.
        confidence: their mean confidence; None of nothing.
        accuracy: the share of them that is right; None of nothing.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Point:
    """What a threshold would do.

    Attributes:
        threshold: a confidence.
        kept: number of pictures that would be accepted, at least one.
        right: how many of them are right.
    """

    threshold: float
    kept: int
    right: int


@dataclass(frozen=True)
class Wish:
    """The smallest threshold at which those kept are right as often as wished.

    Attributes:
        precision: the wish, 0 to 1.
        threshold: a confidence; None if none fulfils it.
        kept: of all pictures.
        accuracy: of the kept.
    """

    precision: float
    threshold: float | None
    kept: Share
    accuracy: Share


@dataclass(frozen=True)
class Surest:
    """How many of the surest pictures are right.

    Attributes:
        share: of all pictures, 0 to 1; those that are as sure as the last of them count, too.
        threshold: the confidence from which on they are taken.
        accuracy: of those taken.
    """

    share: float
    threshold: float
    accuracy: Share


@dataclass(frozen=True)
class Cut:
    """What passes from one value of `known` on.

    Attributes:
        known: the value, 0 to 1.
        passed: of the classes' pictures.
        let_through: of the others.
    """

    known: float
    passed: Share
    let_through: Share


@dataclass(frozen=True)
class Histogram:
    """Counts of values in bins.

    Attributes:
        edges: n + 1 edges, ascending. A bin holds its lower edge, the last one both of its edges.
        counts: n counts.
    """

    edges: list[float]
    counts: list[int]


def wilson(count: int, total: int) -> tuple[float, float]:
    """The ends of Wilson's 95 % interval of a share.

    E. Wilson, Probable inference, the law of succession, and statistical inference (1927):
    https://doi.org/10.1080/01621459.1927.10502953

    Args:
        count: successes.
        total: trials.

    Returns:
        Two shares, 0 to 1; of no trials 0 and 1.
    """
    if not total:
        return 0.0, 1.0
    interval = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def share(flags: ArrayLike) -> Share:
    """The share of N flags that are true."""
    array = np.asarray(flags, dtype=np.bool_)
    return share_of(int(array.sum()), array.size)


def share_of(count: int, total: int) -> Share:
    """A share of so many."""
    low, high = wilson(count, total)
    return Share(count / total if total else None, low, high, count, total)


def by_class(matrix: Indices, labels: Sequence[str]) -> list[ClassFigures]:
    """Precision and recall of each class.

    Args:
        matrix: (K, K), how often each class, by row, was taken for which, by column.
        labels: K names.
    """
    right, support, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    return [
        ClassFigures(
            label=label,
            support=int(support[index]),
            predicted=int(predicted[index]),
            precision=share_of(int(right[index]), int(predicted[index])),
            recall=share_of(int(right[index]), int(support[index])),
        )
        for index, label in enumerate(labels)
    ]


def reliability(confidence: Floats, right: Flags, bins: int = BINS) -> list[Bin]:
    """Confidence against accuracy in bins of equal width.

    Args:
        confidence: (N,), 0 to 1.
        right: (N,), whether the likeliest class is the true one.
        bins: how many.
    """
    edges = [number / bins for number in range(bins + 1)]
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    found = []
    for number, (low, high) in enumerate(pairwise(edges)):
        here = places == number
        count = int(here.sum())
        mean = (float(confidence[here].mean()), float(right[here].mean())) if count else (None, None)
        found.append(Bin(low, high, count, *mean))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: |confidence - accuracy| of each bin, weighted with its share of the pictures.

    C. Guo et al., On calibration of modern neural networks (2017), equation 3: https://arxiv.org/abs/1706.04599

    Returns:
        0, calibrated, to 1.
    """
    total = sum(one.count for one in bins)
    return sum(
        one.count / total * abs(one.confidence - one.accuracy)
        for one in bins
        if one.confidence is not None and one.accuracy is not None
    )


def proper(probabilities: Floats) -> Floats:
    """Probabilities that are above 0 and sum to 1, of such as were rounded.

    Args:
        probabilities: (N, K).

    Returns:
        (N, K).
    """
    positive = np.maximum(probabilities, SMALLEST)
    summed: Floats = positive / positive.sum(axis=1, keepdims=True)
    return summed


def curve(confidence: Floats, right: Flags, known: Flags) -> list[Point]:
    """What each threshold would do that tells pictures apart: those at their confidences, ascending.

    Args:
        confidence: (N,), 0 to 1.
        right: (N,), whether the likeliest class is the true one.
        known: (N,), whether the picture shows one of the classes at all as far as the model can tell; others are never
            kept.
    """
    thresholds = np.unique(confidence[known])
    kept, kept_right = (_from_each(thresholds, confidence[which]) for which in (known, known & right))
    return [Point(float(one), int(kept[place]), int(kept_right[place])) for place, one in enumerate(thresholds)]


def _from_each(thresholds: Floats, values: Floats) -> Indices:
    """How many values reach each threshold."""
    reached: Indices = len(values) - np.searchsorted(np.sort(values), thresholds)
    return reached


def wish(points: Sequence[Point], total: int, precision: float) -> Wish:
    """The smallest threshold at which those kept are right as often as wished.

    A threshold that is chosen on the very pictures it is measured on looks better than it is: this is a hint, not a
    setting.

    Args:
        points: as `curve` gives them.
        total: pictures in all.
        precision: the wish, 0 to 1.
    """
    for point in points:
        if point.right / point.kept >= precision:
            return Wish(precision, point.threshold, share_of(point.kept, total), share_of(point.right, point.kept))
    return Wish(precision, None, share_of(0, total), share_of(0, 0))


def surest(confidence: Floats, right: Flags, shares: Sequence[float] = SUREST) -> list[Surest]:
    """Selective accuracy: how many are right of the pictures that the model is surest of.

    R. El-Yaniv and Y. Wiener, On the foundations of noise-free selective classification (2010):
    https://www.jmlr.org/papers/v11/el-yaniv10a.html

    Args:
        confidence: (N,), 0 to 1; at least one.
        right: (N,), whether the likeliest class is the true one.
        shares: of the N pictures, each above 0 and up to 1.
    """
    thresholds = [reached_by(one, confidence) for one in shares]
    return [
        Surest(one, threshold, share(right[confidence >= threshold]))
        for one, threshold in zip(shares, thresholds, strict=True)
    ]


def reached_by(share_of_all: float, values: Floats) -> float:
    """The largest value that at least so large a share of all values reaches.

    Args:
        share_of_all: above 0 and up to 1.
        values: (N,), at least one.
    """
    needed = math.ceil(round(share_of_all * len(values), 9))
    return float(np.sort(values)[len(values) - needed])


def auroc(classes: Floats, others: Floats) -> float | None:
    """How well `known` tells the classes' pictures from others: the area under the curve of receiver operation.

    That is how often a picture of the classes has the larger one of the two, if one of each is drawn; ties count half.
    T. Fawcett, An introduction to ROC analysis (2006), section 7: https://doi.org/10.1016/j.patrec.2005.10.010

    Args:
        classes: (N,), `known` of pictures of the classes.
        others: (M,), `known` of pictures of none of them.

    Returns:
        0 to 1, by chance 0.5; None where there are none of the one or of the other.
    """
    if not len(classes) or not len(others):
        return None
    truth = np.concatenate([np.ones(len(classes)), np.zeros(len(others))])
    return float(roc_auc_score(truth, np.concatenate([classes, others])))


def cut(known: float, classes: Floats, others: Floats) -> Cut:
    """What passes from a value of `known` on.

    Args:
        known: the value, 0 to 1.
        classes: (N,), `known` of pictures of the classes.
        others: (M,), `known` of pictures of none of them.
    """
    return Cut(known, share(classes >= known), share(others >= known))


def quantile_histogram(values: Floats) -> Histogram:
    """Values from 0 to 1 in bins that hold about as many each; fewer than `QUANTILES` where values are the same.

    Args:
        values: (N,), at least one.
    """
    inner = np.quantile(values, np.arange(1, QUANTILES) / QUANTILES)
    steps = np.unique(np.clip(np.rint(inner / STEP), 1, round(1 / STEP) - 1))
    return histogram(values, [0.0, *(round(float(step) * STEP, 4) for step in steps), 1.0])


def histogram(values: ArrayLike, edges: Sequence[float]) -> Histogram:
    """Values in given bins; what lies outside of all of them goes into the nearest.

    Args:
        values: (N,).
        edges: of the bins, ascending.
    """
    clipped = np.clip(np.asarray(values, dtype=np.float64), edges[0], edges[-1])
    return Histogram(list(edges), [int(count) for count in np.histogram(clipped, edges)[0]])
