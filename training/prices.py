"""What AWS charges for what training makes: list prices in USD, without tax and without the free tier.

They were collected by hand, on the day that `AS_OF` names, for one region. They tell an amount that can be expected;
the bill and AWS's own page are right where they differ: https://aws.amazon.com/sagemaker/ai/pricing/
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from training.errors import InputError

AS_OF = date(2026, 11, 25)
REGION = "us-east-1"

HOURS = 730
"""In a month, as AWS's own calculator takes it."""

BY_HOUR = {
    "ml.t2.medium": 0.056,
    "ml.t2.large": 0.111,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.g4dn.xlarge": 0.7364,
    "ml.g5.xlarge": 1.408,
    "ml.p3.2xlarge": 3.825,
}
"""Of an instance, on demand; the same for training and for hosting."""

HOSTING_ONLY = ("ml.t2.",)
"""Beginnings of the types that training jobs do not take."""

SERVERLESS_GB_SECOND = 0.00002
"""Of memory while a serverless endpoint works on a request."""

ENDPOINT_GB = 0.016
"""Of data into or out of an endpoint."""

S3_GB_MONTH = 0.023
ALARM_MONTH = 0.10

PICTURE_SECONDS = 0.06
"""Of a serverless endpoint for a picture: 12 ms on a whole processor, of which 2 GB of memory come with a fraction."""

PICTURE_GB = 20e-6
"""A picture that the workflow has shrunk, on average; captured, it takes a third more."""

MILLION = 1_000_000

Purpose = Literal["training", "hosting"]


@dataclass(frozen=True)
class Cost:
    """A line of a bill.

    Attributes:
        part: what is paid for.
        usd: how much.
        per: what that much is paid for, "month" or "million pictures".
    """

    part: str
    usd: float
    per: Literal["month", "million pictures"]


def hourly(purpose: Purpose, instance_type: str, region: str) -> float:
    """The price of an instance on demand, in USD an hour.

    Raises:
        InputError: the table does not have it.
    """
    if region != REGION:
        raise InputError(f"The price of {instance_type} in {region} is not known: the table has those of {REGION}.")
    if instance_type not in BY_HOUR or (purpose == "training" and instance_type.startswith(HOSTING_ONLY)):
        known = [name for name in BY_HOUR if purpose == "hosting" or not name.startswith(HOSTING_ONLY)]
        raise InputError(f"The price of {instance_type} for {purpose} is not known. It is of: {', '.join(known)}.")
    return BY_HOUR[instance_type]


def instances(instance_type: str, count: int, most: int) -> list[Cost]:
    """What instances cost that answer requests day and night.

    Args:
        instance_type: known to the table.
        count: of instances that are always there.
        most: that there are while there is much to do.

    Raises:
        InputError: the table does not have the type.
    """
    month = hourly("hosting", instance_type, REGION) * HOURS
    costs = [Cost(f"{count} × {instance_type}", count * month, "month")]
    if most > count:
        costs.append(Cost(f"up to {most} under load, if all month", most * month, "month"))
    return [*costs, Cost("data in and out", MILLION * PICTURE_GB * ENDPOINT_GB, "million pictures")]


def serverless(memory_gb: float) -> list[Cost]:
    """What a serverless endpoint costs: nothing while nothing is asked."""
    seconds = MILLION * PICTURE_SECONDS
    return [
        Cost(f"serverless, {memory_gb:g} GB", seconds * memory_gb * SERVERLESS_GB_SECOND, "million pictures"),
        Cost("data in and out", MILLION * PICTURE_GB * ENDPOINT_GB, "million pictures"),
    ]


def captured(share: float) -> Cost:
    """What keeping captured pictures costs, in each month that they are kept."""
    return Cost(
        "captured pictures kept, each month", share * MILLION * PICTURE_GB * 4 / 3 * S3_GB_MONTH, "million pictures"
    )


def alarms(count: int) -> Cost:
    """What CloudWatch alarms cost."""
    return Cost(f"{count} alarms", count * ALARM_MONTH, "month")
