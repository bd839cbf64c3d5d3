"""What the buckets, the table and the user pool of a stage hold: counted, and emptied."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from commandline import aws
from infrastructure import stack
from infrastructure.errors import InfrastructureError
from infrastructure.names import Names

ENOUGH = 10_000
"""As far as is counted: beyond, "more than" says enough."""

MISSING = ("NoSuchBucket", "404", "NoSuchKey")


@dataclass(frozen=True)
class Holder:
    """A bucket, the table or the user pool, as it is there.

    Attributes:
        kind: "bucket", "table" or "user pool".
        name: its name.
        count: objects (every version, and what marks one as deleted) or records, as far as `ENOUGH`; or people.
    """

    kind: str
    name: str
    count: int

    def __str__(self) -> str:
        what = {"bucket": "version", "table": "record", "user pool": "user"}[self.kind]
        if self.count > ENOUGH:
            return f"more than {ENOUGH:,} {what}s"
        return f"{self.count:,} {what}{'s' * (self.count != 1)}"


def find(names: Names) -> list[Holder]:
    """The buckets, the table and the stack's user pool that are there, with what they hold.

    Args:
        names: of the stage.
    """
    buckets = [
        Holder("bucket", name, count)
        for name in (names.inbox_bucket, names.training_bucket)
        if (count := _count_objects(names, name)) is not None
    ]
    records, users = _count_records(names), _count_users(names)
    return [
        *buckets,
        *([] if records is None else [Holder("table", names.records_table, records)]),
        *([] if users is None else [Holder("user pool", names.user_pool, users)]),
    ]


def empty(names: Names, bucket: str, advance: Callable[[int], object]) -> None:
    """Delete every version of every object of a bucket, and what marks deleted ones.

    Args:
        names: of the stage.
        bucket: its name.
        advance: told how many more are gone.

    Raises:
        InfrastructureError: S3 refuses to delete one.
    """
    for page in _versions(names, bucket):
        if not page:
            continue
        done = aws.client("s3").delete_objects(
            Bucket=bucket, Delete={"Objects": page, "Quiet": True}, ExpectedBucketOwner=names.account
        )
        if errors := done.get("Errors"):
            first = errors[0]
            raise InfrastructureError(
                f"{len(errors)} objects of {bucket} cannot be deleted, such as {first['Key']}: {first.get('Message')}. "
                "Mend this, and run `down` again."
            )
        advance(len(page))


def delete_bucket(names: Names, bucket: str) -> None:
    """Delete a bucket that is empty.

    Args:
        names: of the stage.
        bucket: its name.
    """
    aws.client("s3").delete_bucket(Bucket=bucket, ExpectedBucketOwner=names.account)


def delete_table(name: str) -> None:
    """Delete a table with all its records, and wait until it is gone.

    Args:
        name: its name.
    """
    aws.client("dynamodb").delete_table(TableName=name)
    aws.client("dynamodb").get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 5})


def _versions(names: Names, bucket: str) -> Iterator[list[dict[str, str]]]:
    pages = aws.client("s3").get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=bucket, ExpectedBucketOwner=names.account):
        found: list[dict[str, Any]] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]


def _count_objects(names: Names, bucket: str) -> int | None:
    count = 0
    try:
        for page in _versions(names, bucket):
            count += len(page)
            if count > ENOUGH:
                break
    except ClientError as error:
        if aws.error_code(error) in MISSING:
            return None
        raise
    return count


def _count_records(names: Names) -> int | None:
    count, dynamodb = 0, aws.client("dynamodb")
    try:
        for page in dynamodb.get_paginator("scan").paginate(TableName=names.records_table, Select="COUNT"):
            count += page["Count"]
            if count > ENOUGH:
                break
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    return count


def _count_users(names: Names) -> int | None:
    """How many may sign in, about; None where nobody does. A user pool goes with its stack, and is found by it."""
    identity = stack.outputs(names).get(stack.USER_POOL)
    if identity is None:
        return None
    pool = aws.client("cognito-idp").describe_user_pool(UserPoolId=identity)["UserPool"]
    return int(pool.get("EstimatedNumberOfUsers", 0))
