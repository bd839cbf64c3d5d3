"""Figures of two models on the same pictures: how they differ, whether by chance, and what could be shown at all."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from scipy.stats import beta, binomtest

from training.metrics import wilson

Json = dict[str, Any]

SIGNIFICANCE = 0.05
"""Chance alone makes two models that decide equally well differ significantly in so many comparisons at most."""

SMALLEST = 0.001
"""A smaller p-value is not told to the digit: it is about as sure."""

POWER = 0.8
"""How often a difference that is there should be found, as is usual: four of five times."""


@dataclass(frozen=True)
class Paired:
    """How often something is so with A and with B, of the same pictures.

    Attributes:
        a: number of pictures of which it is so with A.
        b: with B.
        total: of so many.
        only_a: with A and not with B; only these and `only_b` tell the two apart.
        only_b: with B and not with A.
        difference: share with B less share with A, -1 to 1; None of nothing.
        low: lower end of the difference's 95 % interval, by `interval`.
        high: upper end of it.
        p_value: of `mcnemar`.
    """

    a: int
    b: int
    total: int
    only_a: int
    only_b: int
    difference: float | None
    low: float
    high: float
    p_value: float

    @property
    def rises(self) -> bool:
        """Whether it is so significantly more often with B."""
        return self.p_value <= SIGNIFICANCE and self.only_b > self.only_a

    @property
    def falls(self) -> bool:
        """Whether it is so significantly less often with B."""
        return self.p_value <= SIGNIFICANCE and self.only_b < self.only_a


@dataclass(frozen=True)
class Reach:
    """How small a difference in accuracy so many pictures could show at all.

    Attributes:
        total: number of pictures that show one of the classes.
        least: pictures that one model alone has to be right on, where the other is alone right on none.
        discordant: pictures that one of the two alone is right on.
        margin: by how many of these one has to lead, as many as there are; None if they are too few.
        likely: true difference in accuracy, 0 to 1, that would be found with a probability of `POWER`, if the one
            model is right wherever the other is; None if no difference would.
    """

    total: int
    least: int
    discordant: int
    margin: int | None
    likely: float | None


def mcnemar(only_a: int, only_b: int) -> float:
    """The p-value of McNemar's exact test, two-sided: do both differ by more than chance explains?

    If both were equally good, each picture that one alone is right on would be A's or B's as a coin falls. Q. McNemar,
    Note on the sampling error of the difference between correlated proportions or percentages (1947),
    https://doi.org/10.1007/BF02295996; exact by the binomial distribution. Pictures of one scene are no independent
    tosses: with such the p-value is too small.

    Args:
        only_a: number of pictures on which A alone is right.
        only_b: and B alone.
    """
    discordant = only_a + only_b
    return float(binomtest(only_b, discordant).pvalue) if discordant else 1.0


def interval(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """The ends of the 95 % interval of the difference of two shares of the same pictures, B's less A's.

    Wilson's intervals of both shares, put together with their correlation: method 10 of R. Newcombe, Improved
    confidence intervals for the difference between binomial proportions based on paired data (1998),
    https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C. It comes from another
    approximation than `mcnemar`, so next to the border one may see a difference where the other sees none.

    Args:
        both: number of pictures of which it is so with both.
        only_a: with A alone.
        only_b: with B alone.
        neither: with neither.

    Returns:
        Two differences, -1 to 1; of no pictures -1 and 1.
    """
    total = both + only_a + only_b + neither
    if not total:
        return -1.0, 1.0
    with_a, with_b = both + only_a, both + only_b
    a, b = with_a / total, with_b / total
    (low_a, high_a), (low_b, high_b) = wilson(with_a, total), wilson(with_b, total)
    product: float = both * neither - only_a * only_b
    if product > 0:
        product = max(0, product - total / 2)
    margins = with_a * (total - with_a) * with_b * (total - with_b)
    correlation = product / math.sqrt(margins) if margins else 0.0

    def distance(of_b: float, of_a: float) -> float:
        return math.sqrt(max(0.0, of_b**2 - 2 * correlation * of_b * of_a + of_a**2))

    return b - a - distance(b - low_b, high_a - a), b - a + distance(high_b - b, a - low_a)


def paired(flags: Sequence[tuple[bool, bool]]) -> Paired:
    """Count something that is so, or not, with A and with B.

    Args:
        flags: of each picture, with A and with B.
    """
    counts = Counter(flags)
    both, only_a, only_b, neither = (
        counts[pair] for pair in ((True, True), (True, False), (False, True), (False, False))
    )
    low, high = interval(both, only_a, only_b, neither)
    return Paired(
        a=both + only_a,
        b=both + only_b,
        total=len(flags),
        only_a=only_a,
        only_b=only_b,
        difference=(only_b - only_a) / len(flags) if flags else None,
        low=low,
        high=high,
        p_value=mcnemar(only_a, only_b),
    )


def reach(right: Paired) -> Reach:
    """How small a difference so many pictures could show.

    With B alone right on all discordant pictures, their number is binomial, and the true difference at which it
    reaches `least` with probability `POWER` is a quantile of the beta distribution: C. Clopper and E. Pearson, The use
    of confidence or fiducial limits illustrated in the case of the binomial (1934),
    https://doi.org/10.1093/biomet/26.4.404.

    Args:
        right: how often each model is right.
    """
    least = next(lead for lead in count(1) if _is_shown(lead, lead))
    total, discordant = right.total, right.only_a + right.only_b
    leads = [lead for lead in range(discordant % 2, discordant + 1, 2) if _is_shown(discordant, lead)]
    likely = float(beta.ppf(POWER, least, total - least + 1)) if total >= least else None
    return Reach(total, least, discordant, min(leads, default=None), likely)


def _is_shown(discordant: int, lead: int) -> bool:
    return mcnemar((discordant - lead) // 2, (discordant + lead) // 2) <= SIGNIFICANCE


def difference(figure: Json) -> str:
    """The difference of a figure with its interval, in words, in percentage points."""
    value, low, high = (100 * figure[name] for name in ("difference", "low", "high"))
    return f"{value:+.1f} ({low:+.1f}, {high:+.1f})"


def chance(p_value: float) -> str:
    """A p-value in words."""
    return f"{p_value:.2g}" if p_value >= SMALLEST else f"<{SMALLEST:g}"


def could_show(found: Json) -> str:
    """What `Reach` says, in words."""
    total, least, discordant, margin, likely = (
        found[name] for name in ("total", "least", "discordant", "margin", "likely")
    )
    if likely is None:
        return (
            f"With {total} pictures of the classes no difference could be shown: it takes {least} on which one model "
            "alone is right."
        )
    one_alone = f"One of the two alone is right on {discordant}"
    now = f"{one_alone}: there one has to lead by {margin} at least." if margin else f"{one_alone}: too few."
    return (
        f"The least difference in accuracy that {total} pictures could show is {least} of them, {least / total:.1%}. "
        f"One of {likely:.1%} would be found in four of five comparisons. {now}"
    )
