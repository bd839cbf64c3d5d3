import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure import prices
from infrastructure.errors import InputError
from infrastructure.prices import Price

PRICES = {name: value for name, value in vars(prices).items() if isinstance(value, Price)}


def test_each_price_names_its_unit_and_the_page_of_aws_that_has_it() -> None:
    assert len(PRICES) > 20
    for name, price in PRICES.items():
        assert re.fullmatch(r"https://aws\.amazon\.com/[\w/-]+/pricing/([\w-]+/)?", price.source), name
        assert price.unit, name
        assert price.usd >= 0, name
        assert price.per in {1, 1_000, 100_000, 1_000_000}, name


def test_a_price_is_for_so_many_units() -> None:
    assert Price(2.0, 1_000, "x", "").of(250) == pytest.approx(0.5)


def test_a_million_of_each_costs_what_the_pages_say_it_does() -> None:
    assert prices.STANDARD_TRANSITION.of(1e6) == pytest.approx(25)
    assert prices.DYNAMODB_WRITE.of(1e6) == pytest.approx(1.25 / 2)
    assert prices.S3_PUT.of(1e6) == pytest.approx(5)
    assert prices.S3_GET.of(1e6) == pytest.approx(0.4)
    assert prices.SNS_EMAIL.of(1e6) == pytest.approx(20)


def test_a_function_costs_what_aws_works_out_in_its_own_example() -> None:
    """https://aws.amazon.com/blogs/aws/new-for-aws-lambda-1ms-billing-granularity-adds-cost-savings/"""
    assert prices.lambda_usd(60e6, 0.028, 1024) == pytest.approx(28 + 12, rel=1e-4)


def test_a_function_is_billed_by_whole_milliseconds() -> None:
    assert prices.lambda_usd(1, 0.0273, 512) == prices.lambda_usd(1, 0.028, 512)
    assert prices.lambda_usd(1, 0.0281, 512) > prices.lambda_usd(1, 0.028, 512)
    assert prices.lambda_usd(1, 0.057, 512) == pytest.approx(0.0000002 + 0.057 * 0.5 * 0.0000166667)


def test_express_executions_are_billed_by_64_mb_and_100_ms() -> None:
    # 0.3 s of 1/16 GB: 18,750 GB-seconds for a million
    assert prices.express_usd(1e6, 0.25, 50) == pytest.approx(1 + 18_750 * 0.00001667)
    assert prices.express_usd(1e6, 0.3, 64) == pytest.approx(1 + 18_750 * 0.00001667)
    # 0.4 s of 1/8 GB: 50,000 GB-seconds for a million
    assert prices.express_usd(1e6, 0.301, 65) == pytest.approx(1 + 50_000 * 0.00001667)


@given(
    st.floats(0, 1e9),
    st.floats(0, 900),
    st.floats(0, 900),
    st.integers(128, 10240),
    st.integers(128, 10240),
)
def test_more_time_and_more_memory_never_cost_less(
    many: float, seconds: float, longer: float, memory_mb: int, more: int
) -> None:
    seconds, longer = sorted((seconds, longer))
    memory_mb, more = sorted((memory_mb, more))
    for usd in (prices.lambda_usd, prices.express_usd):
        assert usd(many, seconds, memory_mb) <= usd(many, longer, memory_mb) <= usd(many, longer, more)


def test_an_instance_costs_the_same_for_an_endpoint_and_for_a_job() -> None:
    assert prices.instance_hour("ml.m5.xlarge").of(730) == pytest.approx(167.9)
    assert prices.instance_hour("ml.m5.xlarge", "job").of(2) == pytest.approx(0.46)


@pytest.mark.parametrize(("kind", "purpose"), [("ml.x9.huge", "hosting"), ("ml.t2.medium", "job")])
def test_what_the_table_does_not_hold_is_not_guessed(kind: str, purpose: prices.Purpose) -> None:
    with pytest.raises(InputError, match=f"The price of {re.escape(kind)} is not known. It is of: .*ml.m5.large"):
        prices.instance_hour(kind, purpose)


def test_a_serverless_endpoint_costs_its_memory_for_as_long_as_a_picture_takes() -> None:
    assert prices.serverless_usd(2) * 1e6 == pytest.approx(60_000 * 2 * 0.00002)
