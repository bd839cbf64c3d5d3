import pytest

from infrastructure import prices as table
from training import prices
from training.errors import InputError


def test_the_prices_are_those_of_the_one_table() -> None:
    assert (prices.AS_OF, prices.REGION, prices.BY_HOUR) == (table.AS_OF, table.REGION, table.BY_HOUR)
    assert not [name for name, value in vars(prices).items() if isinstance(value, float)]


def test_each_line_comes_to_what_was_worked_out_by_hand() -> None:
    # 60 ms of 2 GB at 0.00002 USD; 60 kB at 0.016 USD a GB; a third more of them at 0.023 USD
    assert [cost.usd for cost in prices.serverless(2)] == pytest.approx([2.40, 0.96])
    assert prices.captured(1).usd == pytest.approx(1.84)
    assert prices.alarms(2).usd == pytest.approx(0.20)


def test_an_instance_costs_the_same_for_training_and_for_hosting() -> None:
    assert prices.hourly("training", "ml.m5.xlarge", "us-east-1") == 0.23
    assert prices.hourly("hosting", "ml.m5.xlarge", "us-east-1") == 0.23


@pytest.mark.parametrize(
    ("purpose", "kind", "region"),
    [
        ("hosting", "ml.m5.xlarge", "eu-west-3"),
        ("hosting", "ml.x9.huge", "us-east-1"),
        ("training", "ml.t2.medium", "us-east-1"),
    ],
)
def test_what_the_table_does_not_hold_is_not_guessed(purpose: prices.Purpose, kind: str, region: str) -> None:
    with pytest.raises(InputError, match=kind.replace(".", r"\.")):
        prices.hourly(purpose, kind, region)


def test_a_month_has_730_hours_and_growth_is_told_where_there_can_be_any() -> None:
    two, four, data = prices.instances("ml.m5.large", 2, 4)
    assert two.usd == pytest.approx(2 * 0.115 * 730)
    assert four.usd == pytest.approx(2 * two.usd)
    assert data.per == "million pictures"
    assert len(prices.instances("ml.m5.large", 2, 2)) == 2


def test_a_serverless_endpoint_costs_nothing_while_nothing_is_asked() -> None:
    assert {cost.per for cost in prices.serverless(2)} == {"million pictures"}
    assert prices.serverless(4)[0].usd == pytest.approx(2 * prices.serverless(2)[0].usd)


def test_what_is_captured_in_part_costs_in_part() -> None:
    assert prices.captured(0.1).usd == pytest.approx(prices.captured(1).usd / 10)
