"""Scores to a decision: accept, or hold back for a person."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.decision import SUM_TOLERANCE, Decision, Reason, decide, is_enough, likeliest, reason, sureness
from chalicelib.errors import InvalidInference, ThresholdConfidenceNotMet

LABELS = ("bicycle", "motorcycle")

ANY_NUMBER = st.floats() | st.floats(0, 1)


def pair(confidence: float) -> tuple[float, float]:
    return confidence, 1 - confidence


@pytest.mark.parametrize("confidence", [0.93, math.nextafter(0.93, 1), 1.0])
def test_a_class_is_accepted_from_the_threshold_on(confidence: float) -> None:
    assert decide(LABELS, pair(confidence), threshold=0.93) == Decision("bicycle", confidence)


@pytest.mark.parametrize("confidence", [math.nextafter(0.93, 0), 0.92, 0.5])
def test_a_class_just_under_the_threshold_is_held_back(confidence: float) -> None:
    with pytest.raises(ThresholdConfidenceNotMet):
        decide(LABELS, pair(confidence), threshold=0.93)


def test_a_threshold_that_is_no_number_holds_everything_back() -> None:
    with pytest.raises(ThresholdConfidenceNotMet):
        decide(LABELS, (1.0, 0.0), threshold=math.nan)


def test_the_second_class_can_be_the_likeliest() -> None:
    assert decide(LABELS, (0.04, 0.96), threshold=0.9) == Decision("motorcycle", 0.96)


@pytest.mark.parametrize("known", [None, 0.5, math.nextafter(0.5, 1), 1.0])
def test_a_picture_that_is_known_enough_is_accepted_and_so_is_one_whose_model_does_not_tell(
    known: float | None,
) -> None:
    assert decide(LABELS, (0.99, 0.01), 0.93, known, min_known=0.5).label == "bicycle"


@pytest.mark.parametrize("known", [math.nextafter(0.5, 0), 0.0, math.nan])
def test_a_picture_that_is_not_known_enough_is_held_back_however_sure_the_model_is(known: float) -> None:
    with pytest.raises(ThresholdConfidenceNotMet, match="may be neither bicycle nor motorcycle"):
        decide(LABELS, (1.0, 0.0), 0.0, known, min_known=0.5)


def test_of_equals_the_first_is_taken() -> None:
    assert likeliest(("a", "b", "c"), (0.2, 0.4, 0.4)) == Decision("b", 0.4)


@pytest.mark.parametrize("sum_off", [0.0, SUM_TOLERANCE * 0.99, -SUM_TOLERANCE * 0.99])
def test_probabilities_may_be_rounded(sum_off: float) -> None:
    assert likeliest(LABELS, (0.6, 0.4 + sum_off)).label == "bicycle"


@pytest.mark.parametrize(
    "inferences",
    [
        (math.nan, 1.0),
        (math.inf, 0.0),
        (-math.inf, 1.0),
        (-0.1, 1.1),
        (1.2, -0.2),
        (0.6, 0.6),
        (0.0, 0.0),
        (0.5, 0.5 - SUM_TOLERANCE * 1.01),
        (0.5, 0.5 + SUM_TOLERANCE * 1.01),
        (1.0,),
        (0.5, 0.3, 0.2),
        (),
    ],
)
def test_what_are_not_as_many_probabilities_as_classes_is_refused(inferences: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInference):
        decide(LABELS, inferences, threshold=0.0)


def test_no_classes_are_refused_even_with_no_probabilities() -> None:
    with pytest.raises(InvalidInference, match="0 probabilities for 0 classes"):
        likeliest((), ())


MANY = ("bicycle", "motorcycle", "van")


@pytest.mark.parametrize(
    ("labels", "inferences", "known", "words"),
    [
        (LABELS, (0.87, 0.13), 0.9, "Not sure whether bicycle or motorcycle: 87 % sure of bicycle, 93 % needed."),
        (LABELS, (0.1, 0.9), None, "Not sure whether motorcycle or bicycle: 90 % sure of motorcycle, 93 % needed."),
        (MANY, (0.1, 0.2, 0.7), 0.5, "Not sure whether van or motorcycle: 70 % sure of van, 93 % needed."),
        (
            LABELS,
            (0.99, 0.01),
            0.0032,
            "This may be neither bicycle nor motorcycle: 0.3 % sure that it is one of them, 50 % needed.",
        ),
        (
            MANY,
            (0.1, 0.2, 0.7),
            0.125,
            "This may be none of bicycle, motorcycle, van: 12.5 % sure that it is one of them, 50 % needed.",
        ),
    ],
)
def test_why_a_picture_is_held_back_is_told_in_words_for_whoever_reviews(
    labels: tuple[str, ...], inferences: tuple[float, ...], known: float | None, words: str
) -> None:
    with pytest.raises(ThresholdConfidenceNotMet) as held_back:
        decide(labels, inferences, 0.93, known, min_known=0.5)
    assert str(held_back.value) == words


@pytest.mark.parametrize(
    ("confidence", "threshold", "words"),
    [(0.92996, 0.93, "92.996 % sure of bicycle, 93 %"), (0.9344, 0.93449, "93.44 % sure of bicycle, 93.45 %")],
)
def test_what_just_falls_short_does_not_read_as_if_it_sufficed(confidence: float, threshold: float, words: str) -> None:
    with pytest.raises(ThresholdConfidenceNotMet, match=words):
        decide(LABELS, pair(confidence), threshold)


@pytest.mark.parametrize(
    ("confidence", "known", "expected"),
    [
        (0.93, 0.5, None),
        (0.93, None, None),
        (0.92, 0.5, Reason.LOW_CONFIDENCE),
        (0.92, None, Reason.LOW_CONFIDENCE),
        (math.nan, 0.5, Reason.LOW_CONFIDENCE),
        (0.93, 0.49, Reason.UNKNOWN_OBJECT),
        (0.93, math.nan, Reason.UNKNOWN_OBJECT),
        (0.92, 0.49, Reason.UNKNOWN_OBJECT),
    ],
)
def test_each_threshold_has_a_reason_of_its_own_and_that_it_is_something_else_goes_first(
    confidence: float, known: float | None, expected: Reason | None
) -> None:
    assert reason(confidence, 0.93, known, min_known=0.5) is expected


@given(share=st.floats(0.1, 0.9), known=st.floats(0, 1))
def test_the_words_are_those_of_the_reason(share: float, known: float) -> None:
    why = reason(max(pair(share)), 1.0, known, 0.5)
    with pytest.raises(ThresholdConfidenceNotMet) as held_back:
        decide(LABELS, pair(share), 1.0, known, 0.5)
    assert str(held_back.value).startswith({"UNKNOWN_OBJECT": "This may be", "LOW_CONFIDENCE": "Not sure"}[str(why)])


@given(confidence=ANY_NUMBER, threshold=ANY_NUMBER, known=st.none() | ANY_NUMBER, min_known=ANY_NUMBER)
def test_a_picture_is_accepted_where_there_is_no_reason_not_to(
    confidence: float, threshold: float, known: float | None, min_known: float
) -> None:
    held_back = reason(confidence, threshold, known, min_known)
    assert is_enough(confidence, threshold, known, min_known) is (held_back is None)
    assert (held_back is Reason.UNKNOWN_OBJECT) is (known is not None and not known >= min_known)


@given(share=st.floats(0, 1), threshold=ANY_NUMBER, known=st.none() | ANY_NUMBER, min_known=ANY_NUMBER)
def test_whatever_is_accepted_reached_both_thresholds(
    share: float, threshold: float, known: float | None, min_known: float
) -> None:
    inferences = pair(share)
    try:
        accepted = decide(LABELS, inferences, threshold, known, min_known)
    except ThresholdConfidenceNotMet:
        assert not (max(inferences) >= threshold and (known is None or known >= min_known))
    else:
        assert accepted.confidence == max(inferences) >= threshold
        assert known is None or known >= min_known


@given(labels=st.lists(st.text(), max_size=4), inferences=st.lists(st.floats(), max_size=4))
def test_any_numbers_give_a_class_of_the_list_or_our_own_error(labels: list[str], inferences: list[float]) -> None:
    try:
        found = likeliest(labels, inferences)
    except InvalidInference:
        return
    assert (found.label, found.confidence) in zip(labels, inferences, strict=True)
    assert 0 <= found.confidence <= 1
    assert found.confidence == max(inferences)


@given(confidence=st.floats(0, 1), known=st.none() | st.floats(0, 1))
def test_nobody_is_surer_than_the_model_of_either(confidence: float, known: float | None) -> None:
    least = sureness(confidence, known)
    assert least <= confidence
    assert least == confidence if known is None else least in (confidence, known)
    assert known is None or least <= known
