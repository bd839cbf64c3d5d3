from typing import Any

import pytest

from benchmarks.figures import Finding, Spread, percentile, ratios, shares, spread


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 10.0), (50, 30.0), (75, 40.0), (99, 49.6), (100, 50.0), (10, 14.0)]
)
def test_a_percentile_lies_on_the_line_between_its_neighbours(percent: float, expected: float) -> None:
    assert percentile([50.0, 10.0, 40.0, 20.0, 30.0], percent) == pytest.approx(expected)


def test_every_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], percent) for percent in (0, 50, 99, 100)] == [7.0] * 4


def test_the_99th_of_200_lies_between_the_second_and_the_third_slowest() -> None:
    assert 198 < percentile([float(number) for number in range(1, 201)], 99) < 199


def test_shares_and_the_rest_are_the_whole() -> None:
    found = shares(8.0, {"handlers": 1.0, "model": 2.0}, "rest")

    assert found == {"handlers": 0.125, "model": 0.25, "rest": 0.625}


def test_parts_that_exceed_the_total_are_not_hidden() -> None:
    assert shares(2.0, {"handlers": 3.0}, "rest")["rest"] == pytest.approx(-0.5)


def test_ratios_are_taken_within_rounds() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_ratios_need_as_many_of_either() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_a_spread_is_the_median_and_the_middle_half() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0, 7.0, 6.0]) == Spread(median=4.0, low=2.0, high=6.0)


@pytest.mark.parametrize(("met", "verdict"), [(True, "met"), (False, "not met"), (None, "–")])
def test_a_finding_without_a_goal_has_no_verdict(met: Any, verdict: str) -> None:
    assert Finding("how quick", "5 x", met=met).verdict == verdict
