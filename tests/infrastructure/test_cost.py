from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure import cost, prices
from infrastructure.cost import Instances, Part, Serverless
from infrastructure.deployed import Stage
from infrastructure.traffic import Traffic
from tests.infrastructure.stages import (
    MEASURED_STAGE,
    ONE,
    SERVERLESS,
    STAGE,
    TRAFFIC,
    by_name,
    ending,
)

MONTH = 730 / 24
"""In days."""

CALL = 0.0000002 + 0.1 * 0.0000166667
"""Of a function with 1 GB that takes 0.1 s."""

ROUNDS = 730 / 6
"""Of `reconcile` in a month: with 1 GB, 1,000 pages of 0.0650 s x 1769/1024 and 0.15 s, which is 262.3 s, and 230,137
records of 7 days, each thousand in 0.0350 s x 1769/1024 and 0.15 s, which is 48.4 s: 6 runs of a minute."""

WORKED_OUT = {
    "endpoint": (0.23 * 730, 0.0),
    "endpoint, data": (0.0, 60 * 0.016),
    "Lambda": ((730 + 8760) * CALL, (4 + 0.25 + 1) * CALL * 1e6),  # 4 a picture, on_stopped, REST
    "Step Functions": (0.0, (0.75 * 6 + 0.25 * 7) * 25),
    # 2 units to open, 2 for each of 3 steps; ACCEPTED 1 and in the index 1 + 1; REVIEW 2, in the index 1 + 2, in that
    # of what was held back 2, and 2 refused; 1 REST
    "DynamoDB, requests": (
        # what is PENDING, the bookmark, 7 days of pictures in each round, read as of a moment ago; the bookmark, twice
        (9490 * 0.5 + 730 + ROUNDS * 1e6 * 7 / MONTH * 0.5) * 0.000000125 + 2 * 730 * 0.000000625,
        (8 + 0.75 * 3 + 0.25 * 9) * 0.625 + 0.125,
    ),
    # 0.75 x 0.6 KB + 0.25 x 1.7 KB, the latter held back; 12 months of them; table, indexes and backup
    "DynamoDB, records": (0.0, 12e6 / 1024**2 * (0.875 * (0.25 + 0.25 + 0.20) + 0.425 * 0.25)),
    "S3, requests": (ROUNDS * 1000 * 0.000005, 5 + 0.4),
    "S3, pictures kept": (0.0, 2e6 / 1024 * 0.023),
    "SNS, held back": (0.0, 0.25 * 0.5 + 250_000 * 0.00002),
    "EventBridge": (0.0, 0.0),
    "CloudWatch, alarms": (5 * 0.10 + 3.00 + 7 * 0.30, 0.0),
    "CloudWatch, logs": (9490 * 0.6 / 1024**2 * 0.5, (5.25 * 0.6 + 0.25 * 1.5) * 1e6 / 1024**2 * 0.5),
    "X-Ray, at most": (0.0, 5.0),
    "data captured": (0.0, 80 * 0.023 * 120 / MONTH),
    "API Gateway": (0.0, 3.5),
}
"""By part, USD a month by the clock, and USD for each million pictures."""


def test_each_part_comes_to_what_was_worked_out_by_hand() -> None:
    parts = by_name(cost.ours(TRAFFIC, ONE, STAGE))
    assert parts.keys() == WORKED_OUT.keys()
    for name, (fixed, million) in WORKED_OUT.items():
        assert parts[name].fixed == pytest.approx(fixed), name
        assert parts[name].million == pytest.approx(million), name


def test_the_original_comes_to_what_was_worked_out_by_hand() -> None:
    traffic = replace(TRAFFIC, rejected=0.5)
    parts = by_name(cost.original(traffic, STAGE))
    assert parts["endpoint"] == Part("endpoint", 0.23 * 730, 0.0)
    assert parts["Step Functions"].million == pytest.approx((1 + 0.5 + 0.5) * 25)
    assert parts["Lambda"].million == pytest.approx(2 * CALL * 1e6)
    assert parts["data captured"].million == pytest.approx(40 * 0.023 * 120 / MONTH)
    assert parts["S3, pictures kept"].million == pytest.approx(2e6 / 1024 * 0.023 * (MONTH - 30) / MONTH)
    assert not {"DynamoDB, requests", "SNS, held back", "CloudWatch, alarms"} & parts.keys()


def test_in_the_original_a_rejected_picture_comes_no_further_than_the_first_step() -> None:
    parts = by_name(cost.original(ending("REJECTED"), MEASURED_STAGE))
    assert parts["Lambda"].each == pytest.approx(MEASURED_STAGE.call("serialize", records=False))
    assert parts["Step Functions"].million == pytest.approx(25)
    assert parts["endpoint, data"].each == parts["data captured"].each == 0


def test_the_total_is_what_is_paid_anyway_and_what_each_picture_adds() -> None:
    parts = [Part("a", 10.0, 0.5), Part("b", 1.0, 0.25)]
    assert cost.total(parts, 8) == pytest.approx(17.0)
    assert parts[0].million == pytest.approx(500_000)


def test_reconcile_pays_for_the_time_that_it_lists_unless_its_duration_is_known() -> None:
    """Of 310.73 s for each round, with 1 GB."""
    measured, known = (
        by_name(cost.ours(TRAFFIC, ONE, stage))["Lambda"].fixed
        - 730 * stage.call("reconcile")
        - 8760 * stage.call("measure")
        for stage in (MEASURED_STAGE, STAGE)
    )
    assert measured == pytest.approx(ROUNDS * 310.73 * 0.0000166667, rel=1e-4)
    assert known == pytest.approx(0, abs=1e-12)


def test_a_month_without_pictures_costs_what_goes_by_the_clock() -> None:
    alarms_and_metrics, logs = 5.6, 9490 * 0.6 / 1024**2 * 0.5
    requests = (9490 * 0.5 + 730) * 0.000000125 + 2 * 730 * 0.000000625 + 730 * 0.000005
    clock = 9490 * CALL + alarms_and_metrics + logs + requests
    assert cost.idle(TRAFFIC, SERVERLESS, STAGE) == pytest.approx(clock)
    assert cost.idle(TRAFFIC, ONE, STAGE) == pytest.approx(clock + 0.23 * 730)


def test_a_serverless_endpoint_captures_nothing_and_costs_nothing_without_pictures() -> None:
    parts = by_name(cost.ours(TRAFFIC, SERVERLESS, STAGE))
    assert "data captured" not in parts
    assert parts["endpoint"].fixed == 0
    assert parts["endpoint"].million == pytest.approx(2.4)


SHARES = st.floats(0, 0.5)
TRAFFICS = st.builds(
    Traffic, st.integers(1, 10**9), SHARES, SHARES, st.floats(0, 25), st.floats(0, 3650), st.floats(0, 10)
)
STAGES = st.sampled_from([STAGE, MEASURED_STAGE])
ENDPOINTS = st.one_of(
    st.builds(Instances, st.sampled_from(list(prices.BY_HOUR)), st.integers(1, 20), st.floats(0, 1)),
    st.builds(Serverless, st.sampled_from([1024, 2048, 6144])),
)


@given(TRAFFICS, ENDPOINTS, STAGES, st.sampled_from(["pictures", "picture_mb", "rest"]))
def test_more_of_anything_never_costs_less(
    traffic: Traffic, endpoint: Instances | Serverless, stage: Stage, what: str
) -> None:
    more = replace(traffic, **{what: getattr(traffic, what) * 2})
    less = cost.total(cost.ours(traffic, endpoint, stage), traffic.pictures)
    assert less <= cost.total(cost.ours(more, endpoint, stage), more.pictures) * (1 + 1e-12)


@given(TRAFFICS, ENDPOINTS, STAGES)
def test_what_goes_by_the_clock_costs_little_however_many_come_in(
    traffic: Traffic, endpoint: Instances | Serverless, stage: Stage
) -> None:
    """An hour of `reconcile` is a minute of 1 GB, some 230 pages, and at most 285,000 records: 20 USD a month."""
    fixed = sum(part.fixed for part in cost.ours(traffic, endpoint, stage))
    assert fixed <= cost.idle(traffic, endpoint, stage) + 20


@given(TRAFFICS, ENDPOINTS, SHARES)
def test_more_pictures_for_a_person_never_cost_less(
    traffic: Traffic, endpoint: Instances | Serverless, other: float
) -> None:
    few, many = sorted((traffic.held_back, other))
    bills = [
        cost.total(cost.ours(replace(traffic, held_back=share), endpoint, STAGE), traffic.pictures)
        for share in (few, many)
    ]
    assert bills[0] <= bills[1] * (1 + 1e-12)


# What is advised


@given(TRAFFICS, st.sampled_from(list(prices.BY_HOUR)), st.integers(1, 20), st.sampled_from([1024, 2048, 6144]))
def test_at_the_break_even_both_kinds_of_endpoint_cost_the_same(
    traffic: Traffic, kind: str, count: int, memory: int
) -> None:
    instances, serverless = Instances(kind, count, 0.0), Serverless(memory)
    limit = round(cost.break_even(instances, serverless) / (1 - traffic.rejected))
    usual = by_name(cost.ours(traffic, instances, STAGE))["endpoint"].month(limit)
    other = by_name(cost.ours(traffic, serverless, STAGE))["endpoint"].month(limit)
    assert usual == pytest.approx(other, rel=1e-5)


def advised(traffic: Traffic, endpoint: Instances | Serverless) -> str:
    return cost.advice(cost.ours(traffic, endpoint, STAGE), traffic, endpoint, SERVERLESS)


@pytest.mark.parametrize(("pictures", "instead"), [(1_000, "less than a cent a month"), (100_000, "0.24 USD a month")])
def test_few_pictures_on_instances_are_told_from_when_on_these_are_worth_it(pictures: int, instead: str) -> None:
    told = advised(replace(TRAFFIC, pictures=pictures), ONE)
    # 167.90 USD a month, 2.40 USD for each million pictures on a serverless endpoint
    assert told.startswith("Most is for endpoint, ")
    assert f"would cost {instead} in its place. Below about 70,000,000 pictures a month it is the cheaper one" in told


@pytest.mark.parametrize(
    ("traffic", "part", "lever"),
    [
        (replace(TRAFFIC, picture_mb=0.1), "Step Functions", "25.00 USD a million"),
        (
            replace(TRAFFIC, picture_mb=20.0),
            "S3, pictures kept",
            f"saves {20e6 / 1024 * 0.023 / MONTH:,.2f} USD a month",
        ),
        (replace(TRAFFIC, pictures=100), "CloudWatch, alarms", "does not grow"),
        (replace(TRAFFIC, picture_mb=0.01, rest=100.0), "API Gateway", "grows with the pictures"),
    ],
)
def test_the_largest_part_and_what_lowers_it_are_told(traffic: Traffic, part: str, lever: str) -> None:
    parts = cost.ours(traffic, SERVERLESS, MEASURED_STAGE)
    told = cost.advice(parts, traffic, SERVERLESS, SERVERLESS)
    most = max(parts, key=lambda one: one.month(traffic.pictures))
    share = most.month(traffic.pictures) / cost.total(parts, traffic.pictures)
    assert told.startswith(f"Most is for {part}, {share:.0%}.")
    assert lever in told


A_YEAR = replace(TRAFFIC, pictures=5_000_000, kept_days=365)
"""164,384 a day, of which 395 days are kept."""


def test_nobody_is_warned_while_reconcile_gets_through_the_inbox_in_its_window() -> None:
    # 310.73 s for a million: 10,080 s, which is a minute of each hour of a week, for 32,440,000
    assert not cost.warnings(replace(TRAFFIC, pictures=32_400_000), MEASURED_STAGE)
    assert cost.warnings(replace(TRAFFIC, pictures=32_500_000), MEASURED_STAGE)


def test_an_inbox_that_reconcile_does_not_get_through_in_time_is_warned_of() -> None:
    # 64,931 pages in 0.2623 s, and 1,151 thousands of records in 0.2105 s: 17,273 s
    (warning,) = cost.warnings(A_YEAR, STAGE)
    assert "takes about 12 days to look through the 64,931,507 pictures" in warning
    assert "those of the last 7 days: it could miss some" in warning
    assert "reconcile --since 8` once a week, which takes about 5 hours." in warning
    # a day's pictures have 10,080 / 164.384 s = 61.32 s, of which 7 x 0.2105 s are for records; 0.2623 s a day kept
    assert "keep pictures for 198 days at most" in warning


def test_pictures_are_not_said_to_be_kept_for_less_than_lost_ones_are_looked_for() -> None:
    (warning,) = cost.warnings(replace(A_YEAR, pictures=30_000_000), STAGE)  # 3 days would do
    assert "at most" not in warning
    assert "To be sure, run `python -m infrastructure reconcile" in warning


def test_an_inbox_that_nobody_can_look_through_in_a_week_has_to_be_smaller() -> None:
    (warning,) = cost.warnings(replace(A_YEAR, pictures=500_000_000), STAGE)
    assert warning.endswith("To be sure, keep pictures for much less time.")
