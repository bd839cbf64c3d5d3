"""What a backfill costs, how long it takes, and how many pictures at once the live path can spare."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from botocore.exceptions import ClientError

from commandline import aws
from infrastructure import deployed, prices, traffic
from infrastructure.errors import InputError

PICTURE_SECONDS = 0.5
"""That a picture takes from the listing to its record: an estimate, of a tenth of a second in functions as measured in
the embedded stack, and nine states at 45 ms each."""

PASSED_OVER_SECONDS = 0.2
"""The same for one that has ended before, which comes to one function and five states."""

SPARED_PER_INSTANCE = 20.0
"""Pictures a second that an instance of the endpoint is shown beside those that come in: half of the 40 at which
`python -m training deploy` has SageMaker add an instance, so that the other half is left to them."""

SPARED_SHARE = 0.5
"""Of what a serverless endpoint answers at once, and of the functions that the account may run at once."""

WAITING_PER_SECOND = 200.0
"""Pictures a second that can come to be PENDING, go through three steps and leave it again: each is five writes to one
key of an index, and such a key takes 1,000:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"""

EXPRESS_MB = 64
"""Of an execution: AWS bills whole 64 MB, and a picture in the state is a tenth of one MB."""

MAP_TRANSITIONS = 1
"""Of the outer execution for each picture: starting the inner one counts as one, whatever that does:
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-transitions.html"""

HELD_BACK_OR_REJECTED = 0.28
"""Share of the pictures whose records say why; see the defaults of `cost`."""

FUNCTIONS = ("open_record", "serialize", "classify", "filter")
"""What each picture calls."""

STAND_INS = {"open_record": "on_picture"}
"""Whose measured duration stands for that of a function that has not been measured: it opens the record, too."""


@dataclass(frozen=True)
class Capacity:
    """What the stage can spare.

    Attributes:
        concurrency: pictures at once.
        why: what that follows from, in words.
        serverless_mb: memory of a serverless endpoint; None for instances, which cost the same whatever they do.
        captured: share of the requests that the endpoint captures, 0 to 1.
    """

    concurrency: int
    why: str
    serverless_mb: int | None = None
    captured: float = 0.0


def capacity(name: str) -> Capacity:
    """What the stage's endpoint, and the account's functions, can spare.

    Args:
        name: of the endpoint.

    Raises:
        InputError: there is no such endpoint, or it does not answer.
    """
    spared = _of_endpoint(name)
    bounds = [(int(WAITING_PER_SECOND * PICTURE_SECONDS), "more records at once the index by status does not take")]
    room = _functions_at_once()
    if room is not None:
        bounds.append((int(room * SPARED_SHARE), f"half of the {room:,} functions that this account may run at once"))
    least, why = min(bounds)
    return spared if spared.concurrency <= least else replace(spared, concurrency=max(1, least), why=why)


def hours(pictures: int, concurrency: int) -> float:
    """How long it takes, estimated.

    Args:
        pictures: how many.
        concurrency: how many at once.
    """
    return pictures * PICTURE_SECONDS / concurrency / 3600


def usd(pictures: int, memory_mb: Mapping[str, int], spared: Capacity) -> dict[str, float]:
    """What it costs, by part, if nothing has ended before and nothing fails.

    Args:
        pictures: how many.
        memory_mb: of the stage's functions.
        spared: what the endpoint is.
    """
    calls = sum(_call(name, memory_mb[name]) for name in FUNCTIONS)
    sent_gb = pictures * prices.PICTURE_GB
    logs_gb = pictures * len(FUNCTIONS) * traffic.CALL_LOG_KB / traffic.KB_IN_GB
    serverless = prices.serverless_usd(spared.serverless_mb / 1024) if spared.serverless_mb else 0.0
    return {
        "Step Functions, a transition each": prices.STANDARD_TRANSITION.of(pictures * MAP_TRANSITIONS),
        "Step Functions, Express": prices.express_usd(pictures, PICTURE_SECONDS, EXPRESS_MB),
        "Lambda": pictures * calls,
        "DynamoDB, requests": prices.DYNAMODB_WRITE.of(pictures * write_units()),
        "S3, requests": prices.S3_GET.of(pictures) + prices.S3_LIST.of(2 * pictures / traffic.LIST_PAGE),
        "endpoint": serverless * pictures,
        "endpoint, data": prices.ENDPOINT_GB.of(sent_gb),
        "CloudWatch, logs": prices.LOGS_GB.of(logs_gb),
        "data captured, each month": prices.S3_STORAGE.of(sent_gb * spared.captured * prices.CAPTURED),
    }


def passed_over_usd(pictures: int, memory_mb: Mapping[str, int]) -> float:
    """What it costs where all have ended before: each is looked up, and nothing else.

    Args:
        pictures: how many.
        memory_mb: of the stage's functions.
    """
    refused = math.ceil(traffic.RECORD_KB["ACCEPTED"])  # DynamoDB charges for a condition that does not hold
    return (
        prices.STANDARD_TRANSITION.of(pictures * MAP_TRANSITIONS)
        + prices.express_usd(pictures, PASSED_OVER_SECONDS, EXPRESS_MB)
        + pictures * _call("open_record", memory_mb["open_record"])
        + prices.DYNAMODB_WRITE.of(pictures * refused)
        + prices.S3_LIST.of(2 * pictures / traffic.LIST_PAGE)
        + prices.LOGS_GB.of(pictures * traffic.CALL_LOG_KB / traffic.KB_IN_GB)
    )


def write_units() -> float:
    """Write request units for a picture: its record is opened, tells of each step, and is ended.

    Each time it is written in the table and in its index. A new status moves it within the index, which deletes it in
    one place and writes it in another.
    """
    short, long = (traffic.recorded_units(ending, len(deployed.STEPS)) for ending in ("ACCEPTED", "REVIEW"))
    return (1 - HELD_BACK_OR_REJECTED) * short + HELD_BACK_OR_REJECTED * long


def _call(function: str, memory_mb: int) -> float:
    seconds = deployed.work(STAND_INS.get(function, function)).seconds(memory_mb)
    return prices.lambda_usd(1, seconds, memory_mb)


def _of_endpoint(name: str) -> Capacity:
    try:
        endpoint = aws.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if aws.error_code(error) != "ValidationException":
            raise
        raise InputError(
            f"There is no endpoint {name}, so every picture would fail. Make it first: `python -m training deploy`."
        ) from error
    variants = endpoint.get("ProductionVariants", [])
    if not variants:
        raise InputError(
            f"The endpoint {name} is {endpoint['EndpointStatus']} and answers nobody. Wait for it, or mend it, first."
        )
    capture = endpoint.get("DataCaptureConfig", {})
    captured = capture.get("CurrentSamplingPercentage", 0) / 100 if capture.get("EnableCapture") else 0.0
    serverless = variants[0].get("CurrentServerlessConfig")
    if serverless:
        at_once = serverless["MaxConcurrency"]
        return Capacity(
            max(1, int(at_once * SPARED_SHARE)),
            f"half of the {at_once} that the serverless endpoint answers at once",
            serverless["MemorySizeInMB"],
            captured,
        )
    count = variants[0].get("CurrentInstanceCount", 1)
    rate = SPARED_PER_INSTANCE * count
    return Capacity(
        max(1, round(rate * PICTURE_SECONDS)),
        f"{rate:.0f} pictures a second for {count} instance{'s' * (count != 1)} of the endpoint, which leaves as many "
        "to those that come in before another instance is added",
        captured=captured,
    )


def _functions_at_once() -> int | None:
    """How many functions the account may run at once; None where AWS does not tell."""
    try:
        limit = aws.client("lambda").get_account_settings()["AccountLimit"]
    except ClientError:
        return None
    return int(limit["UnreservedConcurrentExecutions"])
