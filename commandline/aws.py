"""Clients for AWS, and what AWS says when it refuses, in plain words."""

from collections.abc import Iterator
from contextlib import contextmanager
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

from commandline.errors import AccountError, CommandError

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5})
DENIED = ("AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation")
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch")


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
    return str(client("cloudformation").meta.region_name)  # STS alone does without one


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what botocore raises into errors that say what to do.

    Raises:
        AccountError: no credentials, no region or no permission.
        CommandError: anything else that AWS refused.
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
        raise CommandError(f"The connection to AWS broke off: {error} Run this again.") from error
    except ClientError as error:
        raise _refused(error) from error


def error_code(error: ClientError) -> str:
    """The name that AWS gives the error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _refused(error: ClientError) -> CommandError:
    code, message = error_code(error), error.response.get("Error", {}).get("Message", "")
    if code in DENIED:
        return AccountError(
            f"AWS does not allow {error.operation_name}: {message} Ask for this permission, or use other credentials."
        )
    if code in EXPIRED:
        return AccountError(f"AWS does not take these credentials: {message} Sign in again.")
    return CommandError(f"AWS refused {error.operation_name}: {code}: {message}")
