"""What AWS charges for what training makes, out of the table in `infrastructure/prices.py`."""

from dataclasses import dataclass
from typing import Literal

from infrastructure import prices
from training.errors import InputError

AS_OF, REGION, BY_HOUR = prices.AS_OF, prices.REGION, prices.BY_HOUR

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
    known = prices.instance_types("job" if purpose == "training" else "hosting")
    if instance_type not in known:
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
    month = hourly("hosting", instance_type, REGION) * prices.HOURS
    costs = [Cost(f"{count} × {instance_type}", count * month, "month")]
    if most > count:
        costs.append(Cost(f"up to {most} under load, if all month", most * month, "month"))
    return [*costs, _data()]


def serverless(memory_gb: float) -> list[Cost]:
    """What a serverless endpoint costs: nothing while nothing is asked."""
    usd = prices.MILLION * prices.serverless_usd(memory_gb)
    return [Cost(f"serverless, {memory_gb:g} GB", usd, "million pictures"), _data()]


def captured(share: float) -> Cost:
    """What keeping captured pictures costs, in each month that they are kept."""
    gb = share * prices.MILLION * prices.PICTURE_GB * prices.CAPTURED
    return Cost("captured pictures kept, each month", prices.S3_STORAGE.of(gb), "million pictures")


def alarms(count: int) -> Cost:
    """What CloudWatch alarms cost."""
    return Cost(f"{count} alarms", prices.ALARM_MONTH.of(count), "month")


def _data() -> Cost:
    return Cost("data in and out", prices.ENDPOINT_GB.of(prices.MILLION * prices.PICTURE_GB), "million pictures")
