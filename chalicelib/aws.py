"""The clients that the functions share: made when first needed, kept while the Lambda environment lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib.errors import StorageBusy

CONNECT_TIMEOUT = 2
"""Seconds to wait for a connection inside AWS's own network."""

READ_TIMEOUT = 10
"""Seconds to wait for bytes; under the timeout of every function, so that the error is ours and typed."""

UNREACHABLE = (exceptions.ConnectionError, exceptions.HTTPClientError)
"""What botocore raises where there was no answer."""

THROTTLED = frozenset(
    {
        "500",
        "502",
        "503",
        "504",
        "ExecutionLimitExceeded",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""The error codes of S3, DynamoDB and Step Functions that pass by themselves; the status where there is no code, as in
an answer to HEAD."""


LINKS: dict[str, Any] = {"signature_version": "s3v4", "s3": {"addressing_style": "virtual"}}
"""How S3 is asked, so that links to objects are signed as all regions take it, and lead to the bucket's own region:
else they lead to us-east-1, which sends browsers on to where the page may not load from.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html"""


@cache
def client(service: str, attempts: int = 3, read_timeout: float = READ_TIMEOUT) -> Any:
    """A boto3 client.

    Args:
        service: boto3's name of the service.
        attempts: how often botocore itself tries a call, the first included.
        read_timeout: seconds to wait for bytes.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        **(LINKS if service == "s3" else {}),
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def code(error: ClientError) -> str:
    """The error code that AWS answered with."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def storage(what: str) -> Iterator[None]:
    """Calls to S3, DynamoDB or Step Functions: what can pass becomes `StorageBusy`, the rest goes through.

    Args:
        what: what was being tried, for the message, like "read the picture".
    """
    try:
        yield
    except UNREACHABLE as error:
        raise StorageBusy(f"Could not {what}: {error}") from error
    except ClientError as error:
        if code(error) in THROTTLED:
            raise StorageBusy(f"Could not {what}: AWS answered {code(error)}.") from error
        raise
