"""Figures of probabilities: by hand, against scikit-learn, and by what must hold of any."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training import metrics
from training.metrics import Bin, Point

SHARES = st.integers(1, 400).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
CONFIDENCES = st.integers(0, 40).map(lambda number: number / 40)
"""Few enough that equal ones are drawn."""

PICTURES = st.lists(st.tuples(CONFIDENCES, st.booleans(), st.booleans()), min_size=1, max_size=60)


def columns(pictures: Sequence[tuple[float, bool, bool]]) -> tuple[metrics.Floats, metrics.Flags, metrics.Flags]:
    """Confidence, right and known."""
    confidence, right, known = zip(*pictures, strict=True)
    return np.array(confidence), np.array(right), np.array(known)


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(193, 200, 0.9295, 0.9829), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_wilson_interval_has_the_published_values(count: int, total: int, low: float, high: float) -> None:
    assert metrics.wilson(count, total) == pytest.approx((low, high), abs=1e-4)


@given(SHARES)
def test_wilson_interval_lies_within_0_and_1_around_the_share_and_solves_its_equation(pair: tuple[int, int]) -> None:
    count, total = pair
    low, high = metrics.wilson(count, total)
    assert 0 <= low <= count / total <= high <= 1
    for end in {low, high} - {0.0, 1.0}:  # where the share lies 1.96 standard deviations away
        assert abs(count / total - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / total), rel=1e-6)


def test_nothing_is_known_about_a_share_of_nothing() -> None:
    assert metrics.share([]) == metrics.Share(None, 0.0, 1.0, 0, 0)


def test_precision_and_recall_of_a_matrix_counted_by_hand() -> None:
    bicycle, motorcycle, nothing = metrics.by_class(np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]]), ["b", "m", "n"])
    assert (bicycle.support, bicycle.predicted, bicycle.precision.value, bicycle.recall.value) == (10, 9, 8 / 9, 0.8)
    assert (motorcycle.support, motorcycle.predicted) == (10, 11)
    assert (motorcycle.precision.value, motorcycle.recall.value) == (9 / 11, 0.9)
    assert (nothing.label, nothing.precision.value, nothing.recall.value) == ("n", None, None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_precision_and_recall_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    targets, predicted = zip(*pairs, strict=True)
    figures = metrics.by_class(confusion_matrix(targets, predicted, labels=range(4)), list("abcd"))
    expected = precision_recall_fscore_support(targets, predicted, labels=range(4), zero_division=np.nan)
    nan = [
        [math.nan if one is None else one for one in row]
        for row in zip(*((one.precision.value, one.recall.value) for one in figures), strict=True)
    ]
    np.testing.assert_allclose(nan, expected[:2])
    assert [one.support for one in figures] == list(expected[3])


def test_a_bin_holds_its_upper_edge_and_the_first_one_0() -> None:
    bins = metrics.reliability(np.array([0.0, 0.25, 0.26, 0.5, 1.0]), np.array([1, 0, 1, 1, 0], dtype=bool), bins=4)
    assert bins == [
        Bin(0.0, 0.25, 2, 0.125, 0.5),
        Bin(0.25, 0.5, 2, 0.38, 1.0),
        Bin(0.5, 0.75, 0, None, None),
        Bin(0.75, 1.0, 1, 1.0, 0.0),
    ]


def test_calibration_error_of_two_bins_by_hand() -> None:
    bins = metrics.reliability(np.array([0.4, 0.4, 0.9, 0.8]), np.array([1, 0, 1, 1], dtype=bool), bins=2)
    assert metrics.calibration_error(bins) == pytest.approx(0.5 * abs(0.4 - 0.5) + 0.5 * abs(0.85 - 1.0))


@given(st.lists(SHARES, min_size=1, max_size=20))
def test_calibration_error_is_0_if_every_confidence_is_the_accuracy(groups: list[tuple[int, int]]) -> None:
    confidence = np.concatenate([np.full(total, count / total) for count, total in groups])
    right = np.concatenate([np.arange(total) < count for count, total in groups])
    assert metrics.calibration_error(metrics.reliability(confidence, right)) == pytest.approx(0, abs=1e-12)


@given(PICTURES)
def test_calibration_error_lies_within_0_and_1_and_no_picture_is_lost(pictures: list[tuple[float, bool, bool]]) -> None:
    confidence, right, _ = columns(pictures)
    bins = metrics.reliability(confidence, right)
    assert sum(one.count for one in bins) == len(pictures)
    assert 0 <= metrics.calibration_error(bins) <= 1


def test_sure_and_always_wrong_is_the_worst_calibration() -> None:
    bins = metrics.reliability(np.ones(7), np.zeros(7, dtype=bool))
    assert metrics.calibration_error(bins) == 1


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), min_size=1))
def test_rounded_probabilities_become_proper_ones(rows: list[list[int]]) -> None:
    assume(all(sum(row) > 0 for row in rows))
    rounded = np.array([[round(one / sum(row), 6) for one in row] for row in rows])
    proper = metrics.proper(rounded)
    assert (proper > 0).all()
    np.testing.assert_allclose(proper.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(proper, rounded, atol=2e-6)


def test_curve_of_five_pictures_by_hand() -> None:
    pictures = [(0.9, True, True), (0.9, False, True), (0.6, True, True), (0.7, False, True), (0.95, True, False)]
    assert metrics.curve(*columns(pictures)) == [Point(0.6, 4, 2), Point(0.7, 3, 1), Point(0.9, 2, 1)]


@given(PICTURES)
def test_a_higher_threshold_keeps_fewer_and_each_point_is_what_its_threshold_keeps(
    pictures: list[tuple[float, bool, bool]],
) -> None:
    points = metrics.curve(*columns(pictures))
    for point in points:
        kept = [right for confidence, right, known in pictures if known and confidence >= point.threshold]
        assert (point.kept, point.right) == (len(kept), sum(kept))
    kept_by_each = [point.kept for point in points]
    assert kept_by_each == sorted(set(kept_by_each), reverse=True)
    assert max(kept_by_each, default=0) == sum(known for *_, known in pictures)


@given(PICTURES, st.floats(0, 1))
def test_wished_threshold_reaches_the_precision_and_no_smaller_one_does(
    pictures: list[tuple[float, bool, bool]], precision: float
) -> None:
    wish = metrics.wish(metrics.curve(*columns(pictures)), len(pictures), precision)

    def reaches(threshold: float) -> bool:
        kept = [right for confidence, right, known in pictures if known and confidence >= threshold]
        return bool(kept) and sum(kept) / len(kept) >= precision

    candidates = sorted({confidence for confidence, _, known in pictures if known})
    assert wish.threshold == next(filter(reaches, candidates), None)
    assert wish.kept.total == len(pictures)
    if wish.threshold is not None:
        assert wish.accuracy.total == wish.kept.count > 0
        assert wish.accuracy.value is not None
        assert wish.accuracy.value >= precision


@given(SHARES)
def test_exactly_the_wished_share_is_enough(pair: tuple[int, int]) -> None:
    right, kept = pair
    assert metrics.wish([Point(0.5, kept, right)], kept, right / kept).threshold == 0.5


def test_a_wish_that_nothing_fulfils_keeps_nothing() -> None:
    wish = metrics.wish([Point(0.5, 10, 9), Point(0.8, 4, 3)], 12, 0.95)
    assert wish == metrics.Wish(0.95, None, metrics.share_of(0, 12), metrics.share_of(0, 0))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_quantile_bins_reach_from_0_to_1_and_hold_every_value(values: list[float]) -> None:
    found = metrics.quantile_histogram(np.array(values))
    assert (found.edges[0], found.edges[-1]) == (0.0, 1.0)
    assert found.edges == sorted(set(found.edges))
    assert sum(found.counts) == len(values)
    assert 2 <= len(found.counts) == len(found.edges) - 1 <= metrics.QUANTILES


def test_quantile_bins_hold_about_as_many_values_each() -> None:
    values = np.linspace(0, 1, 1001) ** 4
    assert all(99 <= count <= 102 for count in metrics.quantile_histogram(values).counts)


def test_what_lies_outside_all_bins_goes_into_the_nearest() -> None:
    assert metrics.histogram([-5, 0, 9.9, 10, 20, 99], [0, 10, 20]) == metrics.Histogram([0, 10, 20], [3, 3])


def test_the_surest_are_taken_with_those_that_are_as_sure_as_the_last() -> None:
    confidence = np.array([0.9, 0.8, 0.8, 0.7, 0.6])
    right = np.array([True, True, False, True, False])
    found = metrics.surest(confidence, right, (0.2, 0.4, 1.0))
    assert [(one.threshold, one.accuracy.count, one.accuracy.total) for one in found] == [
        (0.9, 1, 1), (0.8, 2, 3), (0.6, 3, 5)
    ]  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.sampled_from([0.05, 0.5, 0.95, 1.0]))
def test_so_large_a_share_reaches_the_value_and_no_larger_value_is_reached_by_it(
    values: list[float], share: float
) -> None:
    array = np.array(values)
    found = metrics.reached_by(share, array)
    assert (array >= found).mean() >= share - 1e-9
    larger = array[array > found]
    assert not len(larger) or (array >= larger.min()).mean() < share


@given(st.lists(st.integers(0, 9), max_size=12), st.lists(st.integers(0, 9), max_size=12))
def test_auroc_is_how_often_a_picture_of_the_classes_has_the_larger_known(ours: list[int], theirs: list[int]) -> None:
    found = metrics.auroc(np.array(ours) / 10, np.array(theirs) / 10)
    pairs = [(one > other) + (one == other) / 2 for one in ours for other in theirs]
    assert found == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)
