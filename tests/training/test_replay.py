from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.decision import Reason
from tests.training.captured import line, read_lines, record, said
from training.costs import Costs
from training.replay import OWN, Setting, by_model, last_answers, replay, what_ifs

PRICE = Costs(wrong=5, review=0.1)
STEPS = st.integers(0, 20).map(lambda step: step / 20)
RECORDS = st.lists(
    st.builds(
        record,
        st.integers(0, 10**6),
        confidence=STEPS,
        known=st.none() | STEPS,
        threshold=STEPS,
        min_known=STEPS,
        inference_id=st.none() | st.sampled_from("abcdef"),
        label=st.sampled_from(["bicycle", "motorcycle"]),
    ),
    min_size=1,
    max_size=30,
)
REVIEWS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["bicycle", "motorcycle", "neither"]))


def settings_of(threshold: float | None, min_known: float | None) -> Setting:
    return Setting("one", threshold, min_known)


@given(RECORDS, st.builds(settings_of, st.none() | STEPS, st.none() | STEPS), REVIEWS)
def test_replay_counts_what_deciding_picture_by_picture_gives(
    records: list[Any], setting: Setting, reviews: dict[str, str]
) -> None:
    (found,) = replay(records, [setting], PRICE, reviews)
    accepted, low, unknown, before = [], 0, 0, 0
    for one in records:
        threshold = one.threshold if setting.threshold is None else setting.threshold
        min_known = one.min_known if setting.min_known is None else setting.min_known
        before += one.held_back
        if one.known is not None and one.known < min_known:
            unknown += 1
        elif one.confidence < threshold:
            low += 1
        else:
            accepted.append(one)
    assert (found.accepted, found.low_confidence, found.unknown_object) == (len(accepted), low, unknown)
    assert found.more_reviews == found.held_back - before
    assert found.expected_wrong == pytest.approx(sum(1 - one.confidence for one in accepted))
    assert found.expected_cost == pytest.approx(5 * found.expected_wrong + 0.1 * (low + unknown))
    reviewed = [one for one in accepted if one.inference_id in reviews]
    assert found.reviewed == len(reviewed)
    assert found.reviewed_right == sum(reviews[one.inference_id] == one.label for one in reviewed)


@given(RECORDS)
def test_the_models_own_setting_needs_no_more_reviews_than_there_were(records: list[Any]) -> None:
    (own,) = replay(records, [OWN], PRICE, {})
    assert own.more_reviews == 0
    assert own.held_back == sum(one.held_back for one in records)


@given(RECORDS, STEPS, STEPS)
def test_a_higher_threshold_never_asks_people_less(records: list[Any], one: float, other: float) -> None:
    low, high = replay(records, [Setting("", cut) for cut in sorted((one, other))], PRICE, {})
    assert high.more_reviews >= low.more_reviews
    assert high.unknown_object == low.unknown_object
    assert high.expected_wrong <= low.expected_wrong


def test_setting_gives_the_reason_that_the_app_would_give() -> None:
    doubtful = record(confidence=0.85, known=0.4)
    assert Setting("", 0.8, 0.3).reason(doubtful) is None
    assert Setting("", 0.9, 0.3).reason(doubtful) is Reason.LOW_CONFIDENCE
    assert Setting("", 0.9, 0.5).reason(doubtful) is Reason.UNKNOWN_OBJECT
    assert OWN.reason(doubtful) is Reason.UNKNOWN_OBJECT


def test_each_pair_of_what_is_asked_for_is_a_setting() -> None:
    assert what_ifs((), ()) == []
    assert what_ifs((0.9, 0.8), ()) == [Setting("what if 0.9", 0.9), Setting("what if 0.8", 0.8)]
    assert what_ifs((), (0.3,)) == [Setting("what if known 0.3", None, 0.3)]
    both = what_ifs((0.9, 0.8), (0.3,))
    assert [(one.threshold, one.min_known) for one in both] == [(0.9, 0.3), (0.8, 0.3)]
    assert both[0].name == "what if 0.9, known 0.3"


def test_event_that_was_captured_twice_and_picture_that_was_asked_about_twice_count_once() -> None:
    lines = (
        line("a", said(0.6), "2026-03-04T12:00:00Z", inference_id="one"),
        line("a", said(0.6), "2026-03-04T12:00:00Z", inference_id="one"),
        line("b", said(0.99), "2026-03-04T12:00:05Z", inference_id="one"),
        line("c", said(0.7), "2026-03-04T12:00:01Z"),
        line("d", said(0.7), "2026-03-04T12:00:01Z"),
    )
    assert sorted(one.event for one in last_answers(read_lines(*lines).records)) == ["b", "c", "d"]


def test_answers_of_each_model_are_kept_apart_the_most_frequent_first() -> None:
    records = [record(0, model="old"), record(1, model="new"), record(2, model="new"), record(3, model=None)]
    found = by_model(records)
    assert list(found) == ["new", "old", "not named"]
    assert [one.event for one in found["new"]] == ["e1", "e2"]


def test_reviewed_pictures_of_none_of_the_classes_are_wrong_if_they_are_accepted() -> None:
    records = [record(0, confidence=0.85, threshold=0.9, inference_id=name) for name in ("one", "two", "three")]
    reviews = {"one": "bicycle", "two": "neither"}
    own, other = replay(records, [OWN, Setting("", 0.8)], PRICE, reviews)
    assert (own.reviewed, own.reviewed_right) == (0, 0)
    assert (other.reviewed, other.reviewed_right) == (2, 1)
