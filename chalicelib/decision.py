"""Scores to a decision: accept, or hold back for a person."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import nlargest
from operator import itemgetter

from chalicelib.errors import InvalidInference, ThresholdConfidenceNotMet

SUM_TOLERANCE = 1e-3
"""How far the probabilities may be from a sum of 1: room for answers rounded to four digits."""

MAX_DECIMALS = 15
"""Of a share in percent, in words: it has no more that mean anything."""


class Reason(StrEnum):
    """Why a picture is held back."""

    UNKNOWN_OBJECT = "UNKNOWN_OBJECT"
    """It shows none of the classes, as far as the model can tell. This one is given where both hold."""
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    """It shows one of the classes, and the model is not sure enough which."""


@dataclass(frozen=True)
class Decision:
    """What a picture shows.

    Attributes:
        label: the likeliest class.
        confidence: its probability, 0 to 1.
    """

    label: str
    confidence: float


def likeliest(labels: Sequence[str], inferences: Sequence[float]) -> Decision:
    """The class with the highest probability; of equals, the first.

    Args:
        labels: n names of classes.
        inferences: n probabilities in the order of the labels.

    Raises:
        InvalidInference: these are not n probabilities that sum to 1.
    """
    if len(labels) != len(inferences) or not labels:
        raise InvalidInference(f"Got {len(inferences)} probabilities for {len(labels)} classes.")
    if not all(math.isfinite(inference) and 0 <= inference <= 1 for inference in inferences):
        raise InvalidInference(f"These are not probabilities: {list(inferences)}.")
    if abs(math.fsum(inferences) - 1) > SUM_TOLERANCE:
        raise InvalidInference(f"The probabilities sum to {math.fsum(inferences):.4f}, not to 1.")
    confidence, label = max(zip(inferences, labels, strict=True), key=lambda pair: pair[0])
    return Decision(label, confidence)


def decide(
    labels: Sequence[str],
    inferences: Sequence[float],
    threshold: float,
    known: float | None = None,
    min_known: float = 0.0,
) -> Decision:
    """Accept the likeliest class, or hold the picture back.

    Args:
        labels: n names of classes.
        inferences: n probabilities in the order of the labels.
        threshold: the confidence, 0 to 1, from which on a class is accepted.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model does not tell.
        min_known: the `known`, 0 to 1, from which on a class is accepted.

    Raises:
        ThresholdConfidenceNotMet: there is a `reason` to hold it back; the message says which, in words for whoever
            reviews.
        InvalidInference: these are not n probabilities that sum to 1.
    """
    decision = likeliest(labels, inferences)
    if is_enough(decision.confidence, threshold, known, min_known):
        return decision
    if known is not None and not is_known(known, min_known):
        sure, needed = _percents(known, min_known)
        raise ThresholdConfidenceNotMet(
            f"This may be {_none_of(labels)}: {sure} sure that it is one of them, {needed} needed."
        )
    sure, needed = _percents(decision.confidence, threshold)
    likely = [label for _, label in nlargest(2, zip(inferences, labels, strict=True), key=itemgetter(0))]
    raise ThresholdConfidenceNotMet(
        f"Not sure whether {' or '.join(likely)}: {sure} sure of {decision.label}, {needed} needed."
    )


def reason(confidence: float, threshold: float, known: float | None = None, min_known: float = 0.0) -> Reason | None:
    """Why a picture is held back; None for one whose class is accepted.

    Args:
        confidence: the probability of its likeliest class, 0 to 1.
        threshold: as for `decide`.
        known: as for `decide`.
        min_known: as for `decide`.
    """
    if not is_known(known, min_known):
        return Reason.UNKNOWN_OBJECT
    return None if confidence >= threshold else Reason.LOW_CONFIDENCE


def is_enough(confidence: float, threshold: float, known: float | None = None, min_known: float = 0.0) -> bool:
    """Whether a class is accepted: there is no `reason` to hold the picture back.

    Args:
        confidence: its probability, 0 to 1.
        threshold: as for `decide`.
        known: as for `decide`.
        min_known: as for `decide`.
    """
    return reason(confidence, threshold, known, min_known) is None


def is_known(known: float | None, min_known: float) -> bool:
    """Whether a picture shows one of the classes at all, as far as the model can tell; NaN is not enough."""
    return known is None or known >= min_known


def sureness(confidence: float, known: float | None) -> float:
    """How sure the model is of a picture, all in all: whoever reviews begins with the least.

    Args:
        confidence: of the likeliest class, 0 to 1.
        known: as for `decide`.

    Returns:
        The lesser of the two, 0 to 1.
    """
    return confidence if known is None else min(confidence, known)


def _none_of(labels: Sequence[str]) -> str:
    return f"neither {labels[0]} nor {labels[1]}" if len(labels) == 2 else f"none of {', '.join(labels)}"


def _percents(sure: float, needed: float) -> tuple[str, str]:
    """Two shares in percent, with as many decimals, one or more, as it takes to tell them apart."""
    for decimals in range(1, MAX_DECIMALS + 1):
        texts = [f"{100 * share:.{decimals}f}".rstrip("0").rstrip(".") for share in (sure, needed)]
        if texts[0] != texts[1]:
            break
    return f"{texts[0]} %", f"{texts[1]} %"
