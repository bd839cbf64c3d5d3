import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.captured import LABELS, metrics_of, record, sample
from training import drift
from training.capture import Record
from training.drift import Baseline, Drift
from training.metrics import Histogram

COUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=12).filter(any)
PAIRS = st.integers(2, 12).flatmap(
    lambda bins: st.tuples(*[st.lists(st.integers(0, 5_000), min_size=bins, max_size=bins).filter(any)] * 2)
)


def baseline(records: Sequence[Record]) -> Baseline:
    return Baseline.parse(metrics_of(records))


def by_feature(drifts: Sequence[Drift]) -> dict[str, Drift]:
    return {one.feature: one for one in drifts}


def test_psi_is_the_one_worked_out_by_hand() -> None:
    of_many = 0.3 * math.log(0.8 / 0.5) + (0.2 - 0.5) * math.log(0.2 / 0.5)
    assert drift.psi([500_000, 500_000], [800_000, 200_000]) == pytest.approx(of_many, abs=1e-5)
    # one record is added to each side, divided as 0.65 to 0.35: 50.65 and 50.35 against 80.65 and 20.35, of 101
    of_few = (80.65 - 50.65) / 101 * math.log(80.65 / 50.65) + (20.35 - 50.35) / 101 * math.log(20.35 / 50.35)
    assert drift.psi([50, 50], [80, 20]) == pytest.approx(of_few, abs=1e-12)


def test_psi_of_a_bin_that_is_empty_on_one_side_is_finite() -> None:
    # 1.5 records are added to each side, divided as 0.45, 0.45 and 0.1
    expected = (50 + 0.675) / 101.5, (50 + 0.675) / 101.5, 0.15 / 101.5
    seen = (40 + 0.675) / 101.5, (40 + 0.675) / 101.5, 20.15 / 101.5
    by_hand = sum((other - one) * math.log(other / one) for one, other in zip(expected, seen, strict=True))
    assert drift.psi([50, 50, 0], [40, 40, 20]) == pytest.approx(by_hand, abs=1e-12)


@given(PAIRS)
def test_psi_is_symmetric_and_never_negative(pair: tuple[list[int], list[int]]) -> None:
    one, other = pair
    assert drift.psi(one, other) >= 0
    assert drift.psi(one, other) == pytest.approx(drift.psi(other, one), rel=1e-9, abs=1e-12)


@given(COUNTS, st.integers(1, 50))
def test_psi_of_equal_shares_is_zero_however_many_there_are(counts: list[int], times: int) -> None:
    assert drift.psi(counts, [times * count for count in counts]) == pytest.approx(0, abs=1e-9)


@given(PAIRS, st.integers(1, 9))
def test_bins_that_are_empty_on_both_sides_count_for_nothing(pair: tuple[list[int], list[int]], empty: int) -> None:
    one, other = pair
    assert drift.psi(one + [0] * empty, other + [0] * empty) == pytest.approx(drift.psi(one, other), rel=1e-9)


def test_psi_of_many_divisions_is_that_of_each() -> None:
    one, many = [30, 50, 20], [[1, 2, 3], [30, 50, 20], [0, 0, 9]]
    assert drift.psi(one, many) == pytest.approx([float(drift.psi(one, other)) for other in many])


def test_p_value_is_as_small_as_chance_says() -> None:
    generator = np.random.default_rng(1)
    shares = np.full(10, 0.1)
    values = [
        drift.judge("known", generator.multinomial(250, shares), generator.multinomial(150, shares), 0.01).p_value
        for _ in range(300)
    ]
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.array(values) <= level)
        assert abs(share - level) < 3 * math.sqrt(level * (1 - level) / len(values))


@pytest.mark.parametrize(("before", "now"), [(120, 100), (1000, 200)])
def test_alarms_without_a_cause_are_as_rare_as_stated(before: int, now: int) -> None:
    generator = np.random.default_rng(2)
    runs = 80
    alarms = large = 0
    for _ in range(runs):
        drifts = drift.compare(baseline(sample(generator, before)), sample(generator, now))
        assert all(one.judged for one in drifts)
        alarms += any(one.drifted for one in drifts)
        large += any(one.psi >= drift.CUT for one in drifts)
    assert alarms <= 4  # 0.8 are expected at most; 5 would come once in a thousand such tests
    if before == 120:
        assert large > runs / 4  # the cut alone would cry wolf


@pytest.mark.parametrize(("changes", "feature"), [({"light": 0.75}, "brightness"), ({"motorcycles": 0.8}, "class_mix")])
def test_real_shift_is_found_with_200_records(changes: dict[str, float], feature: str) -> None:
    generator = np.random.default_rng(3)
    found, others = 0, 0
    for _ in range(40):
        drifts = drift.compare(baseline(sample(generator, 200)), sample(generator, 200, **changes))
        drifted = [one.feature for one in drifts if one.drifted]
        found += feature in drifted
        others += len(set(drifted) - {feature})
    assert found >= 36
    assert others <= 2


def test_slight_shift_of_many_records_is_no_drift() -> None:
    generator = np.random.default_rng(4)
    drifts = drift.compare(baseline(sample(generator, 20_000)), sample(generator, 20_000, motorcycles=0.55))
    mix = by_feature(drifts)["class_mix"]
    assert mix.p_value == 1 / (drift.RELABELLINGS + 1)
    assert mix.psi < drift.CUT
    assert not mix.drifted
    assert mix.verdict == "no drift"


@pytest.mark.parametrize(("before", "now"), [(99, 500), (500, 99)])
def test_few_records_are_not_judged_on_either_side(before: int, now: int) -> None:
    generator = np.random.default_rng(5)
    drifts = drift.compare(baseline(sample(generator, before)), sample(generator, now, light=0.1))
    assert by_feature(drifts)["brightness"].psi > 1
    assert {one.verdict for one in drifts} == {"too few to judge"}
    assert not any(one.drifted for one in drifts)


def test_a_hundred_on_either_side_are_judged() -> None:
    generator = np.random.default_rng(5)
    drifts = drift.compare(baseline(sample(generator, 100)), sample(generator, 100, light=0.1))
    assert by_feature(drifts)["brightness"].verdict == "drifted"


def test_significance_is_shared_out_among_the_features() -> None:
    generator = np.random.default_rng(6)
    records = sample(generator, 120)
    before = baseline(records)
    assert {one.level for one in drift.compare(before, records)} == {drift.SIGNIFICANCE / 6}
    silent = [record(number, known=None) for number in range(120)]
    assert {one.level for one in drift.compare(before, silent)} == {drift.SIGNIFICANCE / 5}


def test_same_records_have_not_drifted_and_get_the_same_numbers_each_time() -> None:
    records = sample(np.random.default_rng(7), 300)
    before = baseline(records)
    drifts = drift.compare(before, records)
    assert [one.psi for one in drifts] == pytest.approx([0] * 6, abs=1e-12)
    assert [one.p_value for one in drifts] == [1] * 6
    assert drift.compare(before, records) == drifts


def test_class_that_the_evaluation_does_not_know_is_a_drift_of_the_class_mix() -> None:
    records = sample(np.random.default_rng(8), 200)
    strangers = [record(number, label="unicycle") for number in range(100)]
    mix = by_feature(drift.compare(baseline(records), records[:100] + strangers))["class_mix"]
    assert mix.drifted


def test_feature_counts_the_records_that_have_it() -> None:
    records = sample(np.random.default_rng(9), 200)
    blind = [record(number, brightness=None, short_side=None) for number in range(150)]
    drifts = by_feature(drift.compare(baseline(records), records[:120] + blind))
    assert drifts["brightness"].records == drifts["short_side"].records == 120
    assert drifts["confidence"].records == drifts["class_mix"].records == 270
    only_blind = by_feature(drift.compare(baseline(records), blind))
    assert set(only_blind) == {"class_mix", "held_back", "confidence", "known"}


def test_every_feature_has_a_name_for_people() -> None:
    records = sample(np.random.default_rng(10), 120)
    assert [one.feature for one in drift.compare(baseline(records), records)] == list(drift.NAMES)


def test_baseline_is_what_the_evaluation_wrote() -> None:
    records = [record(0, confidence=0.7), record(1, label="motorcycle"), record(2, known=0.1)]
    read = baseline(records)
    assert (read.model, read.classes, read.total, read.held_back) == ("m1", list(LABELS), 3, 2)
    assert read.labels == {"bicycle": 2, "motorcycle": 1}
    assert set(read.histograms) == {"confidence", "known", "brightness", "short_side"}
    assert sum(read.histograms["short_side"].counts) == 3


def test_baseline_of_a_model_that_does_not_tell_known_has_none() -> None:
    assert "known" not in baseline([record(0, known=None)]).histograms


@pytest.mark.parametrize(
    "damage",
    [
        {"baseline": None},
        {"baseline": {}},
        {"model": {}},
        {"data": []},
        {
            "baseline": {
                "labels": {},
                "held_back": {"count": 1, "total": 2},
                "known": {"edges": [0, 1], "counts": [1, 2]},
            }
        },
        {"baseline": {"labels": {}, "held_back": {"count": 1, "total": 2}, "known": {"edges": [0, 1], "counts": [2]}}},
        {"baseline": {"labels": {}, "held_back": {"count": 0, "total": 0}}},
        {"baseline": {"labels": {}, "held_back": {"count": 3, "total": 2}}},
        {"baseline": {"labels": {"a": "many"}, "held_back": {"count": 1, "total": 2}}},
    ],
)
def test_baseline_of_another_shape_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        Baseline.parse(metrics_of([record(0)]) | damage)


def test_values_outside_of_the_baseline_count_in_its_outer_bins() -> None:
    before = Baseline("m1", list(LABELS), {}, 0, 0, {"brightness": Histogram([0.2, 0.4, 0.6], [100, 100])})
    records = [record(0, brightness=0.0), record(1, brightness=1.0)]
    seen = by_feature(drift.compare(before, records))["brightness"]
    assert seen.psi == pytest.approx(0)
    assert seen.records == 2
