"""Figures by class and source, and of others, against figures made by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.training.predictions import LABELS, other, prediction
from training import breakdown
from training.breakdown import Json
from training.metrics import wilson

CLASSES = [
    prediction("bicycle", "bicycle", 0.99, known=0.95, source="shop"),
    prediction("bicycle", "bicycle", 0.7, known=0.9, source="shop"),
    prediction("bicycle", "motorcycle", 0.9, known=0.8, source="street", short_side=300),
    prediction("motorcycle", "motorcycle", 0.95, known=0.4, source="street", short_side=300),
]
OTHERS = [
    other("bicycle", 0.9, known=0.3, source="cats"),
    other("bicycle", 0.85, known=0.9, source="cars", short_side=300, path="a"),
    other("motorcycle", 0.95, known=0.85, source="cars", short_side=300, path="b"),
    other("motorcycle", 0.6, known=0.6, source="cars", short_side=300),
]


def share(count: int, total: int) -> Json:
    low, high = wilson(count, total)
    return {"value": count / total if total else None, "low": low, "high": high, "count": count, "total": total}


def rows(classes: Sequence[Any], others: Sequence[Any]) -> dict[tuple[str | None, str | None], Json]:
    return {(row["label"], row["source"]): row for row in breakdown.by_source(classes, others, LABELS)}


def test_each_source_of_a_class_has_a_row_and_several_sources_one_more() -> None:
    assert list(rows(CLASSES, OTHERS)) == [
        ("bicycle", "shop"), ("bicycle", "street"), ("bicycle", None), ("motorcycle", "street"), (None, None),
        ("neither", "cars"), ("neither", "cats"), ("neither", None),
    ]  # fmt: skip


def test_rows_count_what_is_right_known_and_accepted() -> None:
    found = rows(CLASSES, OTHERS)
    assert found["bicycle", "shop"] == {
        "label": "bicycle", "source": "shop", "pictures": 2,
        "right": share(2, 2), "known": share(2, 2), "accepted": share(1, 2), "accepted_right": share(1, 1),
    }  # fmt: skip
    everything = found[None, None]
    assert (everything["right"], everything["known"]) == (share(3, 4), share(3, 4))
    assert (everything["accepted"], everything["accepted_right"]) == (share(2, 4), share(1, 2))


def test_others_are_never_right_and_never_counted_among_the_classes() -> None:
    row = rows(CLASSES, OTHERS)["neither", "cars"]
    assert (row["right"], row["accepted_right"]) == (None, None)
    assert (row["known"], row["accepted"]) == (share(3, 3), share(2, 3))
    assert rows(CLASSES, OTHERS)[None, None]["pictures"] == len(CLASSES)


def test_without_its_sources_each_class_keeps_one_row() -> None:
    found = breakdown.without_sources(breakdown.by_source(CLASSES, OTHERS, LABELS))
    assert [(row["label"], row["source"]) for row in found] == [
        ("bicycle", None), ("motorcycle", "street"), (None, None), ("neither", None)
    ]  # fmt: skip


def test_without_sources_there_is_a_row_for_each_class() -> None:
    plain = [prediction("bicycle", "bicycle", 0.9), prediction("motorcycle", "motorcycle", 0.9)]
    assert list(rows(plain, [])) == [("bicycle", None), ("motorcycle", None), (None, None)]


def test_without_a_picture_of_a_class_there_are_rows_of_others_alone() -> None:
    assert list(rows([], OTHERS[:1])) == [("neither", "cats")]


def test_known_tells_others_from_classes_by_size_and_by_source() -> None:
    found = breakdown.neither(CLASSES, OTHERS)
    assert found
    assert [(one["size"], one["classes"], one["others"]) for one in found["apart"]] == [
        ("all", 4, 4), ("small", 2, 1), ("larger", 2, 3)
    ]  # fmt: skip
    # of 16 pairs: .95 beats 4, .9 beats 3 and ties with 1, .8 beats 2, .4 beats 1; so 10.5
    assert [one["auroc"] for one in found["apart"]] == [pytest.approx(10.5 / 16), 1.0, pytest.approx(1 / 6)]
    assert [(one["source"], one["others"]) for one in found["sources"]] == [("cars", 3), ("cats", 1)]
    assert found["sources"][1]["auroc"] == 1.0


def test_what_passes_is_counted_at_the_models_threshold_and_at_the_cut_that_nearly_all_classes_pass() -> None:
    found = breakdown.neither(CLASSES, OTHERS)
    assert found
    everything = found["apart"][0]
    assert everything["at_min_known"] == {"known": 0.5, "passed": share(3, 4), "let_through": share(3, 4)}
    assert everything["at_cut"] == {"known": 0.4, "passed": share(4, 4), "let_through": share(3, 4)}
    many = [prediction("bicycle", "bicycle", 0.9, known=0.5 + number / 100) for number in range(20)]
    (at_cut,) = (one["at_cut"] for one in (breakdown.neither(many, OTHERS) or {})["apart"] if one["size"] == "all")
    assert at_cut == {"known": 0.51, "passed": share(19, 20), "let_through": share(3, 4)}


def test_others_that_both_thresholds_let_through_are_accepted_and_the_surest_comes_first() -> None:
    found = breakdown.neither(CLASSES, OTHERS)
    assert found
    assert (found["pictures"], found["accepted"]) == (4, share(2, 4))
    assert found["mistakes"] == [
        {"path": "b", "source": "cars", "predicted": "motorcycle", "confidence": 0.95, "known": 0.85},
        {"path": "a", "source": "cars", "predicted": "bicycle", "confidence": 0.85, "known": 0.9},
    ]


def test_without_others_nothing_is_said_of_them() -> None:
    assert breakdown.neither(CLASSES, []) is None


def test_others_alone_have_no_cut_and_no_auroc() -> None:
    found = breakdown.neither([], OTHERS)
    assert found
    assert (found["apart"][0]["auroc"], found["apart"][0]["at_cut"]) == (None, None)
    assert found["apart"][0]["at_min_known"]["let_through"] == share(3, 4)


def test_a_model_that_tells_no_known_is_judged_by_what_it_accepts_alone() -> None:
    classes, others = [prediction("bicycle", "bicycle", 0.9, known=None)], [other("bicycle", 0.9, known=None)]
    found = breakdown.neither(classes, others)
    assert found
    assert (found["accepted"], found["apart"], found["sources"]) == (share(1, 1), [], [])
    assert rows(classes, others)["neither", None]["known"] is None
