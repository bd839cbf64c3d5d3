"""What a month and each million pictures cost, part by part, here and as the project's original was arranged.

A part costs something each month by the clock (`fixed`), and something for each picture (`each`). All is at the prices
of `prices.py`. What pictures cause is counted in `traffic.py`, what is deployed in `deployed.py`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from infrastructure import prices, traffic
from infrastructure.deployed import STEPS, Stage
from infrastructure.traffic import DAYS, KB_IN_GB, MB_IN_GB, MEASURES, RECONCILES, Round, Traffic

ORIGINAL_INSTANCE = "ml.m5.xlarge"
"""The original: one instance day and night that captures all, and a standard workflow of three Lambda steps."""


@dataclass(frozen=True)
class Instances:
    """Instances that are there day and night.

    Attributes:
        instance_type: like "ml.m5.large".
        count: how many.
        capture: share of the pictures that is captured, 0 to 1.
    """

    instance_type: str
    count: int
    capture: float

    @property
    def month(self) -> float:
        """What they cost a month, in USD."""
        return prices.instance_hour(self.instance_type).of(prices.HOURS * self.count)


@dataclass(frozen=True)
class Serverless:
    """A serverless endpoint, which captures nothing.

    Attributes:
        memory_mb: of it.
    """

    memory_mb: int

    @property
    def each(self) -> float:
        """What a picture costs, in USD."""
        return prices.serverless_usd(self.memory_mb / MB_IN_GB)


@dataclass(frozen=True)
class Part:
    """A line of the bill, in USD.

    Attributes:
        name: what is paid for.
        fixed: a month, by the clock.
        each: for each picture.
    """

    name: str
    fixed: float
    each: float

    def month(self, pictures: int) -> float:
        """What it costs in a month of so many pictures."""
        return self.fixed + self.each * pictures

    @property
    def million(self) -> float:
        """What each million pictures adds."""
        return self.each * prices.MILLION


def total(parts: Iterable[Part], pictures: int) -> float:
    """What all parts cost in a month of so many pictures, in USD."""
    return math.fsum(part.month(pictures) for part in parts)


def ours(arriving: Traffic, endpoint: Instances | Serverless, stage: Stage) -> list[Part]:
    """What this project costs, part by part.

    What `reconcile` does is counted as fixed: it has so long each hour, whatever the inbox holds.

    Args:
        arriving: what comes in.
        endpoint: what answers.
        stage: what else is deployed.

    Raises:
        InputError: a price is not known.
    """
    asked, rounds = traffic.entered(arriving, stage, "classify"), traffic.reconciled(arriving, stage)
    rows = [
        _endpoint(endpoint, asked),
        _endpoint_data(asked),
        _functions(arriving, stage, rounds),
        Part("Step Functions", 0, prices.STANDARD_TRANSITION.of(traffic.transitions(arriving, stage))),
        _requests(arriving, rounds, stage),
        _records(
            *(kb(arriving) * traffic.RECORD_MONTHS / KB_IN_GB for kb in (traffic.record_kb, traffic.held_back_kb))
        ),
        Part("S3, requests", prices.S3_LIST.of(rounds.lists), prices.S3_PUT.of(1) + prices.S3_GET.of(1)),
        Part("S3, pictures kept", 0, _stored(arriving, arriving.kept_months)),
        _told(traffic.published(arriving, stage)),
        Part("EventBridge", 0, prices.EVENTBRIDGE_EVENT.of(arriving.ended_badly)),
        _watched(stage),
        _logs((RECONCILES + MEASURES) * traffic.CALL_LOG_KB, traffic.log_kb(arriving, stage)),
        Part("X-Ray, at most", 0, prices.XRAY_TRACE.of(1)),
    ]
    if isinstance(endpoint, Instances) and endpoint.capture:
        rows.append(_captured(endpoint.capture * asked))
    if arriving.rest:
        rows.append(Part("API Gateway", 0, prices.REST_REQUEST.of(arriving.rest)))
    return rows


def idle(arriving: Traffic, endpoint: Instances | Serverless, stage: Stage) -> float:
    """What a month costs in which nothing comes in and nothing is kept, in USD.

    Args:
        arriving: what comes in otherwise.
        endpoint: what would answer.
        stage: what else is deployed.
    """
    return total(ours(replace(arriving, pictures=0), endpoint, stage), 0)


def original(arriving: Traffic, stage: Stage) -> list[Part]:
    """What the same traffic costs as the original was arranged, with functions of ours in place of its own.

    It has no table, no trigger, no alarms and no versions in its bucket: only what it has is counted. A picture that
    one of its steps does not take ends the execution there.

    Args:
        arriving: what comes in; nobody asks over REST.
        stage: whose functions are counted.
    """
    steps = {name: 1.0 - (arriving.rejected if name != "serialize" else 0.0) for name in STEPS}
    asked, calls = steps["classify"], math.fsum(steps.values())
    return [
        _endpoint(Instances(ORIGINAL_INSTANCE, 1, 1.0), asked),
        _endpoint_data(asked),
        Part("Lambda", 0, math.fsum(stage.call(name, records=False) * often for name, often in steps.items())),
        Part("Step Functions", 0, prices.STANDARD_TRANSITION.of(calls)),
        Part("S3, requests", 0, prices.S3_PUT.of(1) + prices.S3_GET.of(1)),
        Part("S3, pictures kept", 0, _stored(arriving, arriving.kept_days / DAYS)),
        _logs(0, calls * traffic.CALL_LOG_KB),
        _captured(asked),
    ]


def break_even(instances: Instances, serverless: Serverless) -> float:
    """Below how many pictures a month, of those that the endpoint is shown, a serverless one is cheaper than instances.

    Args:
        instances: those, without what capturing costs.
        serverless: this.
    """
    return instances.month / serverless.each


def advice(parts: list[Part], arriving: Traffic, endpoint: Instances | Serverless, serverless: Serverless) -> str:
    """Which part costs most, and what lowers it, in a sentence or two.

    Args:
        parts: of the bill.
        arriving: what comes in.
        endpoint: what answers.
        serverless: what could answer in place of instances.
    """
    most = max(parts, key=lambda part: part.month(arriving.pictures))
    share = most.month(arriving.pictures) / total(parts, arriving.pictures)
    return f"Most is for {most.name}, {share:.0%}. {_lever(most.name, arriving, endpoint, serverless)}"


def warnings(arriving: Traffic, stage: Stage) -> list[str]:
    """What will not go well with so much traffic.

    Args:
        arriving: what comes in.
        stage: what is deployed.
    """
    rounds, window = traffic.reconciled(arriving, stage), traffic.WINDOW_DAYS
    if rounds.in_time:
        return []
    needed, by_hand = math.ceil(rounds.hours / 24), math.ceil(rounds.seconds / 3600)
    days = math.floor(traffic.kept_in_time(arriving, stage))
    ways = []
    if days >= window:
        ways.append(f"keep pictures for {days} days at most (`up --picture-days`)")
    if by_hand <= window * 24:
        ways.append(
            f"run `python -m infrastructure reconcile --since {window + 1}` once a week, which takes about {by_hand} "
            "hours"
        )
    return [
        f"The hourly `reconcile` takes about {needed:,} days to look through the {rounds.listed:,.0f} pictures of the "
        f"inbox, and looks for lost ones among those of the last {window} days: it could miss some. To be sure, "
        f"{', or '.join(ways) or 'keep pictures for much less time'}."
    ]


def _lever(part: str, arriving: Traffic, endpoint: Instances | Serverless, serverless: Serverless) -> str:
    if part == "endpoint" and isinstance(endpoint, Instances):
        return _against(endpoint, serverless, arriving.pictures * (1 - arriving.rejected))
    levers = {
        "endpoint": "Less memory is cheaper, if the model is still quick enough with it.",
        "Step Functions": (
            f"Each state that an execution enters costs {prices.STANDARD_TRANSITION.of(prices.MILLION):.2f} USD a "
            "million. Pictures that can wait are cheaper by `python -m infrastructure backfill`."
        ),
        "S3, pictures kept": (
            "Each day that they are kept for less (`up --picture-days`) saves "
            f"{_stored(arriving, arriving.pictures / DAYS):,.2f} USD a month; smaller pictures save in proportion."
        ),
        "CloudWatch, alarms": "That is what being told costs; it does not grow with the pictures.",
    }
    return levers.get(part, "It grows with the pictures.")


def _against(instances: Instances, serverless: Serverless, asked: float) -> str:
    limit, usd = break_even(instances, serverless), asked * serverless.each
    instead = f"{usd:,.2f} USD a month" if usd >= 0.01 else "less than a cent a month"
    return (
        f"A serverless endpoint of {serverless.memory_mb} MB would cost {instead} in its place. Below about "
        f"{float(f'{limit:.2g}'):,.0f} pictures a month it is the cheaper one, but it captures nothing and is slow "
        "after a pause."
    )


def _endpoint(endpoint: Instances | Serverless, asked: float) -> Part:
    if isinstance(endpoint, Instances):
        return Part("endpoint", endpoint.month, 0)
    return Part("endpoint", 0, endpoint.each * asked)


def _endpoint_data(asked: float) -> Part:
    return Part("endpoint, data", 0, prices.ENDPOINT_GB.of(prices.PICTURE_GB) * asked)


def _functions(arriving: Traffic, stage: Stage, rounds: Round) -> Part:
    gb = stage.memory_mb["reconcile"] / MB_IN_GB
    listing = 0.0 if "reconcile" in stage.seconds else prices.LAMBDA_GB_SECOND.of(rounds.a_month * rounds.seconds * gb)
    return Part(
        "Lambda",
        RECONCILES * stage.call("reconcile") + listing + MEASURES * stage.call("measure"),
        math.fsum(stage.call(name) * often for name, often in traffic.calls(arriving, stage).items()),
    )


def _requests(arriving: Traffic, rounds: Round, stage: Stage) -> Part:
    pending = (RECONCILES + MEASURES) * traffic.EVENTUALLY  # each looks for records that are PENDING
    return Part(
        "DynamoDB, requests",
        prices.DYNAMODB_READ.of(pending + RECONCILES * traffic.BOOKMARK_READS + rounds.reads)
        + prices.DYNAMODB_WRITE.of(RECONCILES * traffic.BOOKMARK_WRITES),
        prices.DYNAMODB_WRITE.of(traffic.write_units(arriving, stage)) + prices.DYNAMODB_READ.of(arriving.rest),
    )


def _records(gb: float, held_back_gb: float) -> Part:
    """The table, its index by status, which holds all of it again, the one of what was held back, and its backup."""
    stored = prices.DYNAMODB_STORAGE.of(2 * gb + held_back_gb)
    return Part("DynamoDB, records", 0, stored + prices.DYNAMODB_BACKUP.of(gb))


def _stored(arriving: Traffic, months: float) -> float:
    """What it costs to keep a picture for so many months, or as many pictures for one."""
    return prices.S3_STORAGE.of(arriving.picture_mb / MB_IN_GB * months)


def _told(messages: float) -> Part:
    return Part("SNS, held back", 0, prices.SNS_PUBLISH.of(messages) + prices.SNS_EMAIL.of(traffic.EMAILS * messages))


def _watched(stage: Stage) -> Part:
    usd = (
        prices.ALARM_MONTH.of(stage.alarm_metrics),
        prices.DASHBOARD_MONTH.of(stage.dashboards),
        prices.METRIC_MONTH.of(stage.own_metrics),
    )
    return Part("CloudWatch, alarms", math.fsum(usd), 0)


def _logs(scheduled_kb: float, each_kb: float) -> Part:
    return Part("CloudWatch, logs", prices.LOGS_GB.of(scheduled_kb / KB_IN_GB), prices.LOGS_GB.of(each_kb / KB_IN_GB))


def _captured(share: float) -> Part:
    gb = share * prices.PICTURE_GB * prices.CAPTURED * (traffic.CAPTURE_DAYS + traffic.OLD_VERSION_DAYS) / DAYS
    return Part("data captured", 0, prices.S3_STORAGE.of(gb))
