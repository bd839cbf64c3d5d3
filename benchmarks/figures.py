"""What the parts share: the arithmetic, pure, and the shape of a finding."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Step = Callable[[str, float], None]
"""Told what is being measured and which part of it is done, 0 to 1."""


@dataclass(frozen=True)
class Spread:
    """A median and the middle half around it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Finding:
    """A line of the closing table.

    Attributes:
        question: what was asked.
        figure: what came out, in words.
        goal: what it should be, in words; empty where there is none.
        met: whether it is; None where there is no goal or no figure.
    """

    question: str
    figure: str
    goal: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """`met`, `not met`, or a dash."""
        return "–" if self.met is None else "met" if self.met else "not met"


def spread(values: Sequence[float]) -> Spread:
    """The quartiles of at least two values."""
    low, median, high = statistics.quantiles(values, n=4)
    return Spread(median=median, low=low, high=high)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The ratio within each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of all values are at most, between two neighbours on the straight line.

    Args:
        values: at least one, in any order.
        percent: 0 to 100.
    """
    return float(np.percentile(values, percent))


def shares(total: float, parts: Mapping[str, float], rest: str) -> dict[str, float]:
    """What each part is of the total, 0 to 1.

    Args:
        total: more than 0.
        parts: none of them counts what another one counts.
        rest: the name of what is left; it is below 0 if the parts exceed the total.
    """
    named = {name: part / total for name, part in parts.items()}
    return {**named, rest: 1 - math.fsum(named.values())}
