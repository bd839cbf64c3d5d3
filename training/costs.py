"""What a threshold costs, and which one to recommend: pure arithmetic on arrays.

A picture is accepted if its confidence reaches the threshold and its `known` reaches `min_known`; any other costs a
review. An accepted one that is wrong costs a mistake, and a picture of none of the classes is wrong whenever it is
accepted. Throughout, N is the number of pictures, and costs are in USD.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit
from scipy.stats import chi2

from training.metrics import SMALLEST, Flags, Floats

PER = 1000
"""Costs are told of so many pictures."""

SIGNIFICANCE = 0.05
"""A setting gives way where pictures like these would come up more rarely than this if it were the right one."""

RESAMPLES, SEED = 1000, 0
"""How often, and from which seed, the pictures are drawn anew for an interval."""

INTERVAL = (0.025, 0.975)
"""The quantiles between which 95 % lie."""

SLOPES, LEVELS = (0.05, 20.0), (-20.0, 20.0)
"""Where the fitted curve is looked for: pictures that are all right, or told apart entirely, want it infinite."""

DIGITS = 6
"""Of a threshold that is recommended: as many as probabilities have."""


@dataclass(frozen=True)
class Costs:
    """What a decision costs.

    Attributes:
        wrong: USD of a wrong class that was accepted, above 0.
        review: USD of a person's look at a picture, from 0.
    """

    wrong: float
    review: float

    @property
    def chow(self) -> float:
        """The threshold that costs least where probabilities are what they say.

        Accepting costs (1 - confidence) · wrong on average, and holding back costs one review; so the confidence has to
        be at least 1 - review / wrong. That is Chow's rule with a right answer at no cost: C. K. Chow, On optimum
        recognition error and reject tradeoff (1970), https://doi.org/10.1109/TIT.1970.1054406

        Returns:
            A confidence; 0, which accepts everything, where a review costs as much as a mistake or more.
        """
        return max(0.0, 1 - self.review / self.wrong)


@dataclass(frozen=True)
class Answers:
    """What a model said about N pictures, and whether that is right.

    Attributes:
        confidence: (N,), 0 to 1.
        known: (N,), 0 to 1; infinite where the model does not tell.
        right: (N,), whether the likeliest class is what the picture shows.
        other: (N,), whether it shows none of the classes; then it is not right.
        weight: (N,), how many pictures of the traffic each stands for.
    """

    confidence: Floats
    known: Floats
    right: Flags
    other: Flags
    weight: Floats


@dataclass(frozen=True)
class Outcome:
    """What a pair of thresholds does.

    Attributes:
        threshold: the confidence that is needed; None holds everything back.
        min_known: the `known` that is needed.
        accepted: number of pictures.
        wrong: how many of the accepted are wrong.
        held_back: number of pictures.
        cost: USD per `PER` pictures, each counted with its weight.
    """

    threshold: float | None
    min_known: float
    accepted: int
    wrong: int
    held_back: int
    cost: float


@dataclass(frozen=True)
class Curve:
    """The costs of all cuts that tell pictures apart: at each value that one of them has, and above all of them.

    Attributes:
        cuts: (C,), ascending; the last one is infinite.
        accepted: (C,), share of the pictures that reach it, each counted with its weight, 0 to 1.
        wrong: (C,), share of the pictures that reach it and are wrong.
        cost: (C,), USD per `PER` pictures.
    """

    cuts: Floats
    accepted: Floats
    wrong: Floats
    cost: Floats

    @property
    def cheapest(self) -> float:
        """The cut that costs least; of equals the one that accepts least."""
        return float(self.cuts[len(self.cuts) - 1 - np.argmin(self.cost[::-1])])


@dataclass(frozen=True)
class Check:
    """Whether pictures speak against a setting, as `check` judges.

    Attributes:
        setting: the threshold as it is.
        fitted: where the pictures would have it, 0 to 1.
        p_value: how often pictures would speak against it as loudly if it were the right one.
    """

    setting: float
    fitted: float
    p_value: float

    @property
    def stands(self) -> bool:
        """Whether the setting stays as it is."""
        return self.p_value >= SIGNIFICANCE

    @property
    def recommended(self) -> float:
        """The setting if it stands, or else where the pictures would have it, as two digits from 0 or 1."""
        if self.stands:
            return round(self.setting, DIGITS)
        distance = max(min(self.fitted, 1 - self.fitted), 10.0**-DIGITS)
        return round(self.fitted, min(DIGITS, 1 - math.floor(math.log10(distance))))


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval.

    Attributes:
        value: on the pictures as they are.
        low: the lower end.
        high: the upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Between:
    """The pictures that one threshold accepts and another one does not.

    Attributes:
        pictures: how many.
        wrong: how many of them are wrong.
        expected: how many would be if probabilities are what they say: Σ(1 - confidence).
    """

    pictures: int
    wrong: int
    expected: float


@dataclass(frozen=True)
class Recommendation:
    """Which thresholds to set, and what speaks for them.

    Attributes:
        check: of Chow's threshold.
        known_check: of the model's own `min_known`; None where nothing can be said of it.
        curve: by the threshold, at the recommended `min_known`.
        known_curve: by `min_known`, at the recommended threshold; None where the model does not tell `known`.
        accept_all: what accepting everything costs.
        own: what the model's own thresholds cost.
        by_chow: Chow's threshold, at the recommended `min_known`.
        recommended: the recommended ones.
        cheapest: the threshold that costs least on these very pictures, at the recommended `min_known`.
        review_all: what holding everything back costs.
        cheapest_cut: the cheapest threshold, at most 1.
        between: the pictures between the cheapest threshold and the recommended one.
        saved: USD per `PER` pictures that the recommended thresholds save beside the model's own.
        missed: USD per `PER` pictures that the recommended ones cost beside the cheapest ones.
    """

    check: Check
    known_check: Check | None
    curve: Curve
    known_curve: Curve | None
    accept_all: Outcome
    own: Outcome
    by_chow: Outcome
    recommended: Outcome
    cheapest: Outcome
    review_all: Outcome
    cheapest_cut: Interval
    between: Between
    saved: Interval
    missed: Interval


def outcome(answers: Answers, costs: Costs, threshold: float | None, min_known: float) -> Outcome:
    """What a pair of thresholds does.

    Args:
        answers: at least one.
        costs: of decisions.
        threshold: a confidence; None holds everything back.
        min_known: a `known`.
    """
    accepted = _accepted(answers, threshold, min_known)
    wrong = accepted & ~answers.right
    return Outcome(
        threshold=threshold,
        min_known=min_known,
        accepted=int(accepted.sum()),
        wrong=int(wrong.sum()),
        held_back=int((~accepted).sum()),
        cost=_cost(answers.weight, accepted, wrong, costs),
    )


def by_threshold(answers: Answers, costs: Costs, min_known: float, weight: Floats | None = None) -> Curve:
    """The costs of all thresholds, with one `min_known`.

    Args:
        answers: at least one.
        costs: of decisions.
        min_known: a `known`.
        weight: (N,), to count the pictures otherwise.
    """
    return _curve(answers, costs, answers.confidence, answers.known >= min_known, weight)


def by_min_known(answers: Answers, costs: Costs, threshold: float, weight: Floats | None = None) -> Curve:
    """The costs of all `min_known`, with one threshold.

    Args:
        answers: at least one.
        costs: of decisions.
        threshold: a confidence.
        weight: (N,), to count the pictures otherwise.
    """
    return _curve(answers, costs, answers.known, answers.confidence >= threshold, weight)


def check(values: Floats, right: Flags, weight: Floats, setting: float, needed: float) -> Check:
    """Whether pictures speak against a threshold.

    The right threshold is where pictures begin to be right often enough: P(right | value) = `needed`. That
    probability is taken for a logistic function of the value's logit, which is how D. R. Cox judges probabilities: Two
    further applications of a model for binary regression (1958), https://doi.org/10.1093/biomet/45.3-4.562. It is
    fitted twice, freely and so that it passes through `needed` at `setting`. Twice the difference of the two
    log-likelihoods follows a chi-square distribution of one degree of freedom if the setting is right: S. Wilks (1938),
    https://doi.org/10.1214/aoms/1177732360. Two numbers are fitted, so a hundred pictures are enough to say something,
    and few pictures, or few mistakes among them, leave the setting as it is. No setting is fitted below the values that
    pictures have.

    Args:
        values: (N,), 0 to 1: confidences, or `known`.
        right: (N,), whether the class is right, or there is one at all.
        weight: (N,), how many pictures each stands for.
        setting: the threshold, 0 to 1.
        needed: how often the picture at the threshold has to be right, 0 to 1.
    """
    if not weight.any() or not 0 < needed < 1:
        return Check(setting, setting, 1.0)
    places = _logit(values) - _logit(setting)
    signs, level = np.where(right, -1, 1), float(logit(needed))

    def loss(slope: float, height: float) -> float:
        return float(weight @ np.logaddexp(0, signs * (slope * places + height)))

    free = minimize(lambda both: loss(*both), (1.0, level), bounds=(SLOPES, LEVELS), method="L-BFGS-B")
    bound = minimize_scalar(lambda slope: loss(slope, level), bounds=SLOPES, method="bounded")
    slope, height = free.x
    fitted = max(expit(_logit(setting) + (level - height) / slope), values[weight > 0].min())
    return Check(setting, float(fitted), float(chi2.sf(max(0.0, 2 * (bound.fun - free.fun)), 1)))


def recommend(answers: Answers, costs: Costs, threshold: float, min_known: float) -> Recommendation:
    """Recommend thresholds.

    `min_known` stays the model's own, and the threshold is Chow's, unless pictures speak against them: first against
    `min_known` among those that Chow's threshold accepts, if some show none of the classes; then against Chow's
    threshold among those that reach `min_known`. What is cheapest on these very pictures is told beside it and not
    recommended: with few mistakes among them it is a matter of chance.

    Args:
        answers: at least one.
        costs: of decisions.
        threshold: the model's own.
        min_known: the model's own.
    """
    chow = costs.chow
    is_told = bool(np.isfinite(answers.known).all())
    known_check = _check_known(answers, chow, min_known) if chow and is_told else None
    best_known = known_check.recommended if known_check else min_known if chow else 0.0
    here = answers.known >= best_known
    confidence_check = check(answers.confidence[here], answers.right[here], answers.weight[here], chow, chow)
    best = confidence_check.recommended
    curve = by_threshold(answers, costs, best_known)
    cheapest = curve.cheapest if np.isfinite(curve.cheapest) else None

    def compared(weight: Floats) -> tuple[float, float, float]:
        own, recommended, cheap = (
            _cost_at(answers, costs, *pair, weight)
            for pair in ((threshold, min_known), (best, best_known), (cheapest, best_known))
        )
        cut = by_threshold(answers, costs, best_known, weight).cheapest
        return min(1.0, cut), own - recommended, recommended - cheap

    cut, saved, missed = bootstrap(compared, answers.weight)
    return Recommendation(
        check=confidence_check,
        known_check=known_check,
        curve=curve,
        known_curve=by_min_known(answers, costs, best) if is_told else None,
        accept_all=outcome(answers, costs, 0.0, 0.0),
        own=outcome(answers, costs, threshold, min_known),
        by_chow=outcome(answers, costs, round(chow, DIGITS), best_known),
        recommended=outcome(answers, costs, best, best_known),
        cheapest=outcome(answers, costs, cheapest, best_known),
        review_all=outcome(answers, costs, None, best_known),
        cheapest_cut=cut,
        between=_between(answers, best_known, *sorted((best, curve.cheapest))),
        saved=saved,
        missed=missed,
    )


def bootstrap(statistic: Callable[[Floats], ArrayLike], weight: Floats) -> list[Interval]:
    """95 % intervals of numbers that depend on which pictures there happen to be, by the percentile bootstrap.

    B. Efron, Bootstrap methods: another look at the jackknife (1979): https://doi.org/10.1214/aos/1176344552

    Args:
        statistic: gives the numbers, K of them, from weights (N,).
        weight: (N,), of the pictures as they are.

    Returns:
        K intervals.
    """
    values = np.atleast_1d(statistic(weight))
    found = np.array([np.atleast_1d(statistic(drawn)) for drawn in _drawn(weight)])
    low, high = np.quantile(found, INTERVAL, axis=0)
    return [Interval(*map(float, one)) for one in zip(values, low, high, strict=True)]


def weights(other: Flags, share: float | None) -> Floats:
    """How many pictures of the traffic each picture stands for.

    Args:
        other: (N,), whether it shows none of the classes; some do.
        share: of the pictures of the traffic that show none of the classes, 0 to less than 1; None: as here.

    Returns:
        (N,), 1 for pictures of the classes.
    """
    if share is None:
        return np.ones(len(other))
    each = share / (1 - share) * (~other).sum() / other.sum()
    return np.where(other, each, 1.0)


def _between(answers: Answers, min_known: float, low: float, high: float) -> Between:
    here = _accepted(answers, low, min_known) & (answers.confidence < high)
    return Between(int(here.sum()), int((here & ~answers.right).sum()), float((1 - answers.confidence[here]).sum()))


def _accepted(answers: Answers, threshold: float | None, min_known: float) -> Flags:
    if threshold is None:
        return np.zeros(len(answers.confidence), np.bool_)
    accepted: Flags = (answers.confidence >= threshold) & (answers.known >= min_known)
    return accepted


def _cost(weight: Floats, accepted: Flags, wrong: Flags, costs: Costs) -> float:
    spent = weight @ np.where(accepted, wrong * costs.wrong, costs.review)
    return float(PER * spent / weight.sum())


def _cost_at(answers: Answers, costs: Costs, threshold: float | None, min_known: float, weight: Floats) -> float:
    accepted = _accepted(answers, threshold, min_known)
    return _cost(weight, accepted, accepted & ~answers.right, costs)


def _curve(answers: Answers, costs: Costs, values: Floats, eligible: Flags, weight: Floats | None) -> Curve:
    """The costs of cuts on values, where only those that are eligible can be accepted at all."""
    weight = answers.weight if weight is None else weight
    order = np.argsort(values[eligible])
    ascending, each = values[eligible][order], weight[eligible][order]
    cuts = np.append(np.unique(ascending), np.inf)
    places = np.searchsorted(ascending, cuts)
    total = weight.sum()
    accepted, wrong = (_from(one)[places] / total for one in (each, each * ~answers.right[eligible][order]))
    return Curve(cuts, accepted, wrong, PER * (wrong * costs.wrong + (1 - accepted) * costs.review))


def _from(values: Floats) -> Floats:
    """The sums from each place to the end; one more, of nothing."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _check_known(answers: Answers, chow: float, min_known: float) -> Check | None:
    """Whether the pictures speak against `min_known`; None where none of them shows none of the classes.

    A picture that Chow's threshold accepts is right with the probability that it shows one of the classes, by how well
    it is known, times its confidence, for which the mean stands. That has to be Chow's threshold or more.
    """
    here = answers.confidence >= chow
    known, other, weight = answers.known[here], answers.other[here], answers.weight[here]
    if not weight[other].any() or not weight[~other].any():
        return None
    confidence = np.average(answers.confidence[here & ~answers.other])
    return check(known, ~other, weight, min_known, chow / confidence)


def _drawn(weight: Floats) -> Iterator[Floats]:
    """Weights of as many pictures drawn from these, with some of them more than once and others not at all."""
    generator, count = np.random.default_rng(SEED), len(weight)
    for _ in range(RESAMPLES):
        drawn = weight * np.bincount(generator.integers(count, size=count), minlength=count)
        if drawn.any():
            yield drawn


def _logit(values: ArrayLike) -> Floats:
    """The logit of probabilities, of which 0 and 1 count as a little more and a little less."""
    found: Floats = logit(np.clip(values, SMALLEST, 1 - SMALLEST))
    return found
