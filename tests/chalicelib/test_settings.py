"""The environment, read and checked once."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import SettingsError
from chalicelib.settings import DEFAULT_THRESHOLD, Settings
from tests.rest import POOL

ENVIRONMENT = {
    "INBOX_BUCKET": "inbox",
    "RECORDS_TABLE": "records",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:machine",
    "ENDPOINT_NAME": "endpoint",
    "LABELS": "bicycle,motorcycle",
}

FRACTIONS = {"CONFIDENCE_THRESHOLD": "threshold", "MIN_KNOWN": "min_known"}


def read(**changes: str) -> Settings:
    return Settings.from_environment(ENVIRONMENT | changes)


def test_each_setting_comes_from_its_variable() -> None:
    assert read(CONFIDENCE_THRESHOLD="0.8", MIN_KNOWN="0.25") == Settings(
        inbox_bucket="inbox",
        records_table="records",
        state_machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:machine",
        endpoint_name="endpoint",
        labels=("bicycle", "motorcycle"),
        threshold=0.8,
        min_known=0.25,
    )


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_variable_that_is_missing_is_named(name: str) -> None:
    without = {other: value for other, value in ENVIRONMENT.items() if other != name}
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment(without)


@pytest.mark.parametrize("name", ENVIRONMENT)
@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_variable_that_is_blank_is_named(name: str, blank: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read(**{name: blank})


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_space_around_a_value_is_dropped(name: str) -> None:
    assert read(**{name: f" {ENVIRONMENT[name]}\n"}) == read()


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a,b", ("a", "b")),
        (" a , b ", ("a", "b")),
        ("c,a,b", ("c", "a", "b")),
        ("été,☂ umbrella", ("été", "☂ umbrella")),
    ],
)
def test_labels_keep_their_order_and_lose_their_space(text: str, labels: tuple[str, ...]) -> None:
    assert read(LABELS=text).labels == labels


@pytest.mark.parametrize("text", ["bicycle", "a,", ",a", "a,,b", ",", "a,a", "a, a"])
def test_labels_that_are_not_two_different_names_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="LABELS"):
        read(LABELS=text)


@pytest.mark.parametrize(("name", "field"), FRACTIONS.items())
@pytest.mark.parametrize("text", ["", " "])
def test_a_threshold_that_is_not_set_leaves_it_to_the_model(name: str, field: str, text: str) -> None:
    assert getattr(read(), field) is None
    assert getattr(read(**{name: text}), field) is None


@pytest.mark.parametrize(("name", "field"), FRACTIONS.items())
@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1", 1.0), (" 0.93 ", 0.93), ("5e-1", 0.5)])
def test_a_threshold_goes_from_0_to_1_both_included(name: str, field: str, text: str, value: float) -> None:
    assert getattr(read(**{name: text}), field) == value


@pytest.mark.parametrize("name", FRACTIONS)
@pytest.mark.parametrize("text", ["1.0001", "-0.1", "93", "93%", "0,93", "nan", "inf", "-inf", "high", "None"])
def test_a_threshold_that_makes_no_sense_is_named_with_its_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name} .*'{text}'"):
        read(**{name: text})


@given(text=st.text(max_size=8))
def test_whatever_a_threshold_is_set_to_gives_a_fraction_or_our_own_error(text: str) -> None:
    try:
        value = read(CONFIDENCE_THRESHOLD=text).threshold
    except SettingsError:
        return
    assert value is None or (math.isfinite(value) and 0 <= value <= 1)


def test_what_holds_without_any_threshold_is_a_probability() -> None:
    assert 0.5 < DEFAULT_THRESHOLD < 1


class TestUserPool:
    def test_its_arn_client_and_domain_are_told_together(self) -> None:
        settings = read(**POOL)
        assert (settings.user_pool_arn, settings.user_pool_client_id, settings.user_pool_domain) == tuple(POOL.values())

    @pytest.mark.parametrize("blank", [{}, dict.fromkeys(POOL, ""), dict.fromkeys(POOL, " ")])
    def test_there_need_not_be_one(self, blank: dict[str, str]) -> None:
        settings = read(**blank)
        assert (settings.user_pool_arn, settings.user_pool_client_id, settings.user_pool_domain) == (None,) * 3

    @pytest.mark.parametrize("given", [names for size in (1, 2) for names in combinations(POOL, size)], ids="+".join)
    def test_a_part_of_it_is_refused_and_what_is_missing_is_named(self, given: tuple[str, ...]) -> None:
        missing = ", ".join(name for name in POOL if name not in given)
        with pytest.raises(SettingsError, match=f"Set {missing} too, or none of"):
            read(**{name: POOL[name] for name in given})

    @pytest.mark.parametrize(
        "domain",
        [
            "scones.auth.us-east-1.amazoncognito.com",
            "http://scones.example.org",
            "https://scones.example.org/",
            "https://scones.example.org/login",
            "https://scones.example.org; script-src *",
            "https://scones.example.org 'unsafe-inline'",
            "https://",
            "javascript:alert(1)",
        ],
    )
    def test_a_domain_that_would_not_do_in_a_security_policy_is_refused(self, domain: str) -> None:
        with pytest.raises(SettingsError, match="USER_POOL_DOMAIN takes an address like"):
            read(**POOL | {"USER_POOL_DOMAIN": domain})
