"""Scores to a decision: accept, or hold back for a person."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.errors import InvalidInference, ThresholdConfidenceNotMet

SUM_TOLERANCE = 1e-3
"""How far the probabilities may be from a sum of 1: room for answers rounded to four digits."""


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
        ThresholdConfidenceNotMet: not sure enough; the message says of what, in words.
        InvalidInference: these are not n probabilities that sum to 1.
    """
    decision = likeliest(labels, inferences)
    if is_enough(decision.confidence, threshold, known, min_known):
        return decision
    if not is_known(known, min_known):
        raise ThresholdConfidenceNotMet(
            f"This may be none of {', '.join(labels)}: known {known:.3f}, needs {min_known:.3f}."
        )
    raise ThresholdConfidenceNotMet(
        f"Not sure enough: {decision.label} {decision.confidence:.3f}, needs {threshold:.3f}."
    )


def is_enough(confidence: float, threshold: float, known: float | None = None, min_known: float = 0.0) -> bool:
    """Whether a class is accepted.

    Args:
        confidence: its probability, 0 to 1.
        threshold: as for `decide`.
        known: as for `decide`.
        min_known: as for `decide`.
    """
    return is_known(known, min_known) and confidence >= threshold


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
