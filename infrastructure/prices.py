"""What AWS charges: list prices in USD, without tax, discounts and the free tier.

They were collected by hand for one region, on the day that `AS_OF` names, and stand nowhere else in this project. They
tell an amount that can be expected; the bill and AWS's own pages are right where they differ. Where a price falls with
the amount, the first step is here, which the largest part of any bill of ours is on.

How sure they are: those of Lambda, X-Ray, a state transition and an Express execution were read in AWS's own words,
that of an Express GB-second on pages of third parties. Those of DynamoDB follow from AWS's announcement that they were
halved on 2024-11-01; pages that name twice as much are older or copy older ones. The others were read on pages of third
parties of 2025 and 2026, most of which agree, because AWS's own pages fill their tables in only while they are shown.
Those of instances are the least sure: compare yours.
"""

import math
from dataclasses import dataclass
from datetime import date
from typing import Literal

from infrastructure.errors import InputError

AS_OF = date(2026, 11, 25)
REGION = "us-east-1"

HOURS = 730
"""In a month, as AWS's own calculator takes it."""

MILLION = 1_000_000

MB_IN_GB = 1024

SAGEMAKER = "https://aws.amazon.com/sagemaker/ai/pricing/"
LAMBDA = "https://aws.amazon.com/lambda/pricing/"
STEP_FUNCTIONS = "https://aws.amazon.com/step-functions/pricing/"
DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
S3 = "https://aws.amazon.com/s3/pricing/"
SNS = "https://aws.amazon.com/sns/pricing/"
EVENTBRIDGE = "https://aws.amazon.com/eventbridge/pricing/"
CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
XRAY = "https://aws.amazon.com/xray/pricing/"
API_GATEWAY = "https://aws.amazon.com/api-gateway/pricing/"


Purpose = Literal["hosting", "job"]
"""Of an instance: an endpoint, or a job of training or batch transform, which takes fewer types."""


@dataclass(frozen=True)
class Price:
    """A price of AWS.

    Attributes:
        usd: how much.
        per: for how many units.
        unit: of what.
        source: the page of AWS that has it.
    """

    usd: float
    per: int
    unit: str
    source: str

    def of(self, amount: float) -> float:
        """What an amount costs, in USD.

        Args:
            amount: in units.
        """
        return amount * self.usd / self.per


LAMBDA_REQUEST = Price(0.20, MILLION, "request", LAMBDA)

LAMBDA_GB_SECOND = Price(0.0000166667, 1, "GB-second", LAMBDA)
"""Of memory while a function runs, on x86, the first 6 billion a month. One that starts cold pays for its start too."""

STANDARD_TRANSITION = Price(0.025, 1_000, "state transition", STEP_FUNCTIONS)
"""Each state that an execution enters counts, and each retry."""

EXPRESS_REQUEST = Price(1.00, MILLION, "execution", STEP_FUNCTIONS)

EXPRESS_GB_SECOND = Price(0.00001667, 1, "GB-second", STEP_FUNCTIONS)
"""The first 3.6 million a month; half as much afterwards."""

DYNAMODB_WRITE = Price(0.625, MILLION, "write request unit", DYNAMODB)
"""One for each KB or part of it that is written, in the table and again in an index; so is a condition that fails."""

DYNAMODB_READ = Price(0.125, MILLION, "read request unit", DYNAMODB)
"""One for each 4 KB or part of them that are read as of now; half of one where the reader can bear older ones."""

DYNAMODB_STORAGE = Price(0.25, 1, "GB-month", DYNAMODB)
DYNAMODB_BACKUP = Price(0.20, 1, "GB-month", DYNAMODB)
"""Point-in-time recovery, of all that the table holds."""

S3_PUT = Price(0.005, 1_000, "PUT, COPY, POST or LIST request", S3)
S3_LIST = S3_PUT
S3_GET = Price(0.0004, 1_000, "GET, HEAD or SELECT request", S3)
S3_STORAGE = Price(0.023, 1, "GB-month", S3)
"""Standard, the first 50 TB."""

SNS_PUBLISH = Price(0.50, MILLION, "publish of up to 64 KB", SNS)
SNS_EMAIL = Price(2.00, 100_000, "e-mail", SNS)

EVENTBRIDGE_EVENT = Price(0.0, MILLION, "event of an AWS service, or of a schedule that is a rule", EVENTBRIDGE)
"""Nothing: AWS charges for events that others put in. The rules of this project hear AWS's own."""

ALARM_MONTH = Price(0.10, 1, "metric of an alarm, a month", CLOUDWATCH)
DASHBOARD_MONTH = Price(3.00, 1, "dashboard, a month", CLOUDWATCH)
METRIC_MONTH = Price(0.30, 1, "metric of one's own, a month", CLOUDWATCH)
LOGS_GB = Price(0.50, 1, "GB of logs taken in", CLOUDWATCH)

XRAY_TRACE = Price(5.00, MILLION, "trace recorded", XRAY)

REST_REQUEST = Price(3.50, MILLION, "request to a REST API", API_GATEWAY)
"""The first 333 million a month."""

SERVERLESS_GB_SECOND = Price(0.00002, 1, "GB-second", SAGEMAKER)
"""Of memory while a serverless endpoint works on a request."""

ENDPOINT_GB = Price(0.016, 1, "GB into or out of an endpoint", SAGEMAKER)

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
"""Of an instance of SageMaker, on demand; the same for training, for hosting and for batch transform."""

HOSTING_ONLY = ("ml.t2.",)
"""Beginnings of the types that jobs do not take."""

PICTURE_SECONDS = 0.06
"""Of a serverless endpoint for a picture: 12 ms on a whole processor, of which 2 GB of memory come with a fraction."""

PICTURE_GB = 60e-6
"""A phone's photo that the workflow has shrunk: 58 kB, measured on one of 16 megapixels. Smaller pictures are less."""

CAPTURED = 4 / 3
"""How much a captured picture grows by being written as base64."""

EXPRESS_CHUNK_MB = 64
EXPRESS_STEP_SECONDS = 0.1
"""What the memory and the time of an Express execution are rounded up to:
https://aws.amazon.com/step-functions/pricing/"""


def instance_types(purpose: Purpose) -> list[str]:
    """The types of instances whose price is known.

    Args:
        purpose: what they are for.
    """
    return [name for name in BY_HOUR if purpose == "hosting" or not name.startswith(HOSTING_ONLY)]


def instance_hour(instance_type: str, purpose: Purpose = "hosting") -> Price:
    """The price of an instance of SageMaker on demand.

    Args:
        instance_type: like "ml.m5.xlarge".
        purpose: what it is for.

    Raises:
        InputError: the table does not have it.
    """
    known = instance_types(purpose)
    if instance_type not in known:
        raise InputError(f"The price of {instance_type} is not known. It is of: {', '.join(known)}.")
    return Price(BY_HOUR[instance_type], 1, "hour", SAGEMAKER)


def serverless_usd(memory_gb: float) -> float:
    """What a serverless endpoint costs for one picture, without what goes in and out.

    Args:
        memory_gb: of the endpoint.
    """
    return SERVERLESS_GB_SECOND.of(PICTURE_SECONDS * memory_gb)


def lambda_usd(requests: float, seconds: float, memory_mb: int) -> float:
    """What a function costs: its requests, and its memory for as long as it runs.

    Args:
        requests: how often it is called.
        seconds: that a call takes; AWS bills whole milliseconds.
        memory_mb: of `lambda_memory_size`.
    """
    billed = math.ceil(round(seconds * 1000, 6)) / 1000
    gb_seconds = requests * billed * memory_mb / MB_IN_GB
    return LAMBDA_REQUEST.of(requests) + LAMBDA_GB_SECOND.of(gb_seconds)


def express_usd(executions: float, seconds: float, memory_mb: float) -> float:
    """What Express executions cost: their number, and their memory for as long as they run.

    Args:
        executions: how many.
        seconds: that one takes; AWS bills each 100 ms that it began.
        memory_mb: that one uses; AWS bills each 64 MB that it began.
    """
    billed = math.ceil(round(seconds / EXPRESS_STEP_SECONDS, 6)) * EXPRESS_STEP_SECONDS
    chunks = math.ceil(memory_mb / EXPRESS_CHUNK_MB)
    return EXPRESS_REQUEST.of(executions) + EXPRESS_GB_SECOND.of(
        executions * billed * chunks * EXPRESS_CHUNK_MB / MB_IN_GB
    )
