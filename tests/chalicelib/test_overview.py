"""What became of the pictures of the last hours, in figures."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import overview
from chalicelib.decision import Reason
from chalicelib.store import NEITHER, Record, Review, Status

LABELS = ("bicycle", "motorcycle")


def record(
    status: Status,
    label: str | None = None,
    confidence: float | None = None,
    decided: str | None = None,
    reason: Reason | None = None,
) -> Record:
    review = Review(decided, None, "jo", "now") if decided else None
    opened = Record("0", status, "b", "k", None, None, 1, "then", "now")
    return replace(opened, label=label, confidence=confidence, review=review, reason_code=reason)


CLASSIFIED = st.builds(
    record,
    st.sampled_from([Status.ACCEPTED, Status.REVIEW]),
    st.sampled_from(LABELS),
    st.floats(0, 1),
) | st.builds(
    record, st.just(Status.REVIEWED), st.sampled_from(LABELS), st.floats(0, 1), st.sampled_from([*LABELS, NEITHER])
)
UNCLASSIFIED = st.builds(record, st.sampled_from([Status.PENDING, Status.REJECTED, Status.FAILED]))
RECORDS = st.lists(CLASSIFIED | UNCLASSIFIED, max_size=30)


def test_nothing_is_all_zeros() -> None:
    assert overview.summarize([]) == {
        "counts": dict.fromkeys(Status, 0),
        "labels": {},
        "reviewed": {},
        "reasons": {"UNKNOWN_OBJECT": 0, "LOW_CONFIDENCE": 0},
        "histogram": {"bins": 20, "accepted": [0] * 20, "held_back": [0] * 20},
    }


def test_labels_are_of_what_the_model_accepted_and_reviews_of_what_people_decided() -> None:
    told = overview.summarize(
        [
            record(Status.ACCEPTED, "bicycle", 0.99),
            record(Status.REVIEW, "bicycle", 0.5),
            record(Status.REVIEWED, "bicycle", 0.6, "motorcycle"),
            record(Status.REVIEWED, "bicycle", 0.6, NEITHER),
            record(Status.PENDING),
        ]
    )
    assert told["labels"] == {"bicycle": 1}
    assert told["reviewed"] == {"motorcycle": 1, "neither": 1}
    assert {status: number for status, number in told["counts"].items() if number} == {
        "ACCEPTED": 1,
        "REVIEW": 1,
        "REVIEWED": 2,
        "PENDING": 1,
    }


def test_reasons_are_of_what_was_held_back_whether_or_not_a_person_has_decided() -> None:
    told = overview.summarize(
        [
            record(Status.ACCEPTED, "bicycle", 0.99),
            record(Status.REVIEW, "bicycle", 0.99, reason=Reason.UNKNOWN_OBJECT),
            record(Status.REVIEWED, "bicycle", 0.6, NEITHER, Reason.UNKNOWN_OBJECT),
            record(Status.REVIEW, "bicycle", 0.6, reason=Reason.LOW_CONFIDENCE),
            record(Status.REVIEW, "bicycle", 0.6),  # from before there were codes
        ]
    )
    assert told["reasons"] == {"UNKNOWN_OBJECT": 2, "LOW_CONFIDENCE": 1}


@pytest.mark.parametrize(
    ("confidence", "place"),
    [(0.0, 0), (0.049, 0), (0.05, 1), (0.5, 10), (0.93, 18), (0.95, 19), (0.999, 19), (1.0, 19)],
)
def test_a_bin_holds_its_lower_bound_and_the_last_one_also_1(confidence: float, place: int) -> None:
    told = overview.summarize([record(Status.ACCEPTED, "bicycle", confidence)])
    assert [at for at, number in enumerate(told["histogram"]["accepted"]) if number] == [place]


@given(records=RECORDS)
def test_every_record_is_counted_once_and_every_classified_one_is_in_one_bin(records: list[Record]) -> None:
    told = overview.summarize(iter(records))
    by_status = Counter(one.status for one in records)
    assert told["counts"] == dict.fromkeys(Status, 0) | by_status
    assert sum(told["histogram"]["accepted"]) == by_status[Status.ACCEPTED] == sum(told["labels"].values())
    assert sum(told["histogram"]["held_back"]) == by_status[Status.REVIEW] + by_status[Status.REVIEWED]
    assert sum(told["reviewed"].values()) == by_status[Status.REVIEWED]
    json.dumps(told, allow_nan=False)


@given(records=RECORDS, cut=st.integers(0, 30))
def test_a_part_never_has_more_than_the_whole(records: list[Record], cut: int) -> None:
    part, whole = overview.summarize(records[:cut]), overview.summarize(records)
    assert all(part["counts"][status] <= whole["counts"][status] for status in Status)
