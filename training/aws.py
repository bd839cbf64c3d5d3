"""Clients for AWS, places in S3, and what AWS says when it refuses, in plain words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from training.errors import AccountError, InputError, TrainingError
from training.layout import APP

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5})
DENIED = ("AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation")
MISSING = ("ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException")
NOT_THERE = re.compile(r"could not find|does not exist|not found|cannot find", re.IGNORECASE)
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch")


@dataclass(frozen=True)
class Place:
    """A place in S3: a bucket, and the beginning of keys without a slash at its end, perhaps empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def __truediv__(self, name: str) -> "Place":
        return Place(self.bucket, f"{self.prefix}/{name}".lstrip("/"))

    @classmethod
    def parse(cls, url: str) -> "Place":
        """Read `s3://bucket/prefix`.

        Raises:
            InputError: it is none.
        """
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not bucket:
            raise InputError(f"{url!r} is no place in S3; write it as s3://bucket/prefix.")
        return cls(bucket, prefix.strip("/"))


@cache
def client(service: str) -> Any:
    """A client, made once for each service; safe to share between threads."""
    return boto3.client(service, config=CONFIG)  # type: ignore[call-overload]


@cache
def account() -> str:
    """The number of the account that the credentials belong to: the owner that every bucket is expected to have."""
    return str(client("sts").get_caller_identity()["Account"])


def region() -> str:
    """The region that clients talk to."""
    return str(client("sagemaker").meta.region_name)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what botocore raises into errors that say what to do.

    Raises:
        AccountError: no credentials, no region or no permission.
        TrainingError: anything else that AWS refused.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccountError(
            "There are no AWS credentials. Run `aws configure`, or set AWS_PROFILE to a profile that has some."
        ) from error
    except (NoRegionError, InvalidRegionError) as error:
        raise AccountError("There is no AWS region. Set AWS_DEFAULT_REGION, for example to us-east-1.") from error
    except (ProfileNotFound, TokenRetrievalError, UnauthorizedSSOTokenError) as error:
        raise AccountError(f"{error} Sign in again, or set AWS_PROFILE to a profile that is there.") from error
    except EndpointConnectionError as error:
        raise AccountError(f"AWS cannot be reached: {error} Is the region right, and the network up?") from error
    except HTTPClientError as error:
        raise TrainingError(f"The connection to AWS broke off: {error} Run this again.") from error
    except ClientError as error:
        raise _refused(error) from error


def error_code(error: ClientError) -> str:
    """The name that AWS gives the error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: ClientError) -> bool:
    """Whether AWS says that what was asked for is not there; SageMaker says so in its message alone."""
    message = str(error.response.get("Error", {}).get("Message", ""))
    return error_code(error) in MISSING or (
        error_code(error) == "ValidationException" and bool(NOT_THERE.search(message))
    )


def tags(stage: str | None = None) -> list[dict[str, str]]:
    """The tags of everything that training makes on AWS, by which `teardown` knows it again.

    Args:
        stage: which stage's it is; None for what all share.
    """
    found = {"project": APP, **({"stage": stage} if stage else {}), "made-by": "training"}
    return [{"Key": key, "Value": value} for key, value in found.items()]


def is_ours(arn: str, stage: str | None = None) -> bool:
    """Whether something of SageMaker's bears our tags.

    Args:
        arn: its name for AWS.
        stage: whose it has to be; None where all share it.
    """
    found = client("sagemaker").get_paginator("list_tags").paginate(ResourceArn=arn).build_full_result()["Tags"]
    return all(tag in found for tag in tags(stage))


def _refused(error: ClientError) -> TrainingError:
    code, message = error_code(error), error.response.get("Error", {}).get("Message", "")
    if code in DENIED:
        return AccountError(
            f"AWS does not allow {error.operation_name}: {message} Ask for this permission, or use other credentials."
        )
    if code in EXPIRED:
        return AccountError(f"AWS does not take these credentials: {message} Sign in again.")
    return TrainingError(f"AWS refused {error.operation_name}: {code}: {message}")
