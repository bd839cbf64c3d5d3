"""Places in S3, and what training knows its own by; and the clients that all commands share."""

import re
from dataclasses import dataclass

from botocore.exceptions import ClientError

from commandline.aws import DENIED, account, client, error_code, plain_errors, region
from training.errors import InputError
from training.layout import APP

__all__ = [
    "DENIED",
    "Place",
    "account",
    "client",
    "error_code",
    "is_missing",
    "is_ours",
    "plain_errors",
    "region",
    "tags",
]

MISSING = ("ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException")
NOT_THERE = re.compile(r"could not find|does not exist|not found|cannot find", re.IGNORECASE)


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
