"""The environment, read and checked once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.errors import SettingsError

DEFAULT_THRESHOLD = 0.93
"""The confidence (0 to 1) to accept at, where neither the stage nor the model names one."""

ORIGIN = re.compile(r"https://[a-z0-9.-]+", re.IGNORECASE)
"""An address without a path."""


@dataclass(frozen=True)
class Settings:
    """What a stage of `.chalice/config.json` tells the functions.

    Attributes:
        inbox_bucket: `INBOX_BUCKET`, the bucket that pictures are dropped into.
        records_table: `RECORDS_TABLE`, the DynamoDB table of the classification records.
        state_machine_arn: `STATE_MACHINE_ARN`, the workflow that classifies a picture.
        endpoint_name: `ENDPOINT_NAME`, the SageMaker endpoint that is asked.
        labels: `LABELS`, comma-separated, the classes in the order of the probabilities, for models that do not name
            their classes, such as SageMaker's built-in image classification.
        threshold: `CONFIDENCE_THRESHOLD`, 0 to 1: accept from this confidence on. Unset, the model's own holds.
        min_known: `MIN_KNOWN`, 0 to 1: accept only what shows one of the classes at least this surely. Unset, the
            model's own holds.
        user_pool_arn: `USER_POOL_ARN`, the Cognito user pool whose people may use the API. Unset, AWS credentials may.
        user_pool_client_id: `USER_POOL_CLIENT_ID`, the app client of the pool that the page signs in with.
        user_pool_domain: `USER_POOL_DOMAIN`, where the pool's sign-in is, like
            `https://scones.auth.us-east-1.amazoncognito.com`.
    """

    inbox_bucket: str
    records_table: str
    state_machine_arn: str
    endpoint_name: str
    labels: tuple[str, ...]
    threshold: float | None
    min_known: float | None
    user_pool_arn: str | None = None
    user_pool_client_id: str | None = None
    user_pool_domain: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Args:
            environment: names and values, usually `os.environ`.

        Raises:
            SettingsError: a variable is missing or has a value that makes no sense; the message names it.
        """
        return cls(
            inbox_bucket=_text(environment, "INBOX_BUCKET"),
            records_table=_text(environment, "RECORDS_TABLE"),
            state_machine_arn=_text(environment, "STATE_MACHINE_ARN"),
            endpoint_name=_text(environment, "ENDPOINT_NAME"),
            labels=_labels(environment),
            threshold=_fraction(environment, "CONFIDENCE_THRESHOLD"),
            min_known=_fraction(environment, "MIN_KNOWN"),
            **_user_pool(environment),
        )


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"Set {name} in environment_variables of the stage in .chalice/config.json: it is empty.")
    return value


def _user_pool(environment: Mapping[str, str]) -> dict[str, str | None]:
    names = ("USER_POOL_ARN", "USER_POOL_CLIENT_ID", "USER_POOL_DOMAIN")
    values = {name: environment.get(name, "").strip() or None for name in names}
    if any(values.values()) and not all(values.values()):
        missing = ", ".join(name for name, value in values.items() if not value)
        raise SettingsError(f"Set {missing} too, or none of {', '.join(names)}: people sign in with all three.")
    domain = values["USER_POOL_DOMAIN"]
    if domain and not ORIGIN.fullmatch(domain):
        raise SettingsError(
            f"USER_POOL_DOMAIN takes an address like https://NAME.auth.REGION.amazoncognito.com, not {domain!r}."
        )
    return {name.lower(): value for name, value in values.items()}


def _labels(environment: Mapping[str, str]) -> tuple[str, ...]:
    labels = tuple(label.strip() for label in _text(environment, "LABELS").split(","))
    if len(labels) < 2 or "" in labels or len(set(labels)) < len(labels):
        raise SettingsError("LABELS takes two or more different names with commas between, like bicycle,motorcycle.")
    return labels


def _fraction(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise SettingsError(f"{name} takes a number from 0 to 1, not {text!r}.")
    return value
