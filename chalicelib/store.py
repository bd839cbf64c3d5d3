"""The classification records, in DynamoDB.

    PENDING ──► ACCEPTED              sure enough
            ├─► REVIEW ──► REVIEWED   not sure enough: a person decides
            ├─► REJECTED              the picture's fault
            └─► FAILED ──► PENDING    our fault: starting it again counts an attempt

This module opens a record and reads it. The endings are written by the state machine itself, straight into the table
and on the condition that the record is still PENDING at the same attempt, so that the first ending stands. Only where
an execution could not write one, `fail` does, on the same condition.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.errors import RecordNotFound, StorageBusy

MAX_ID_BYTES = 2048
"""UTF-8 bytes of a partition key:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

INDEX = "by_status"
"""The index of the records by status and `updated_at`: who waits, and since when."""

BOOKMARK = "#reconcile"
"""The key of the one item that is no record, and that no execution could be named."""

MAX_BATCH = 100
"""Records that are read at once:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""


class Status(StrEnum):
    """Where a picture stands."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REVIEW = "REVIEW"
    REVIEWED = "REVIEWED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Record:
    """One picture's classification.

    Attributes:
        id: the picture's identity.
        status: where it stands.
        s3_bucket: the bucket that the picture was dropped into.
        s3_key: the object's key.
        version_id: the object's version; None where the bucket keeps none.
        etag: the object's entity tag, which stands for the version where the bucket keeps none.
        attempt: how often it was started, from 1.
        created_at: when it came in, ISO 8601, UTC.
        updated_at: when it came to where it stands.
        label: the likeliest class, once classified.
        confidence: its probability, 0 to 1.
        labels: the n classes.
        inferences: their n probabilities.
        known: how surely the picture shows one of the classes at all, 0 to 1; None where the model does not tell.
        threshold: the confidence that was asked for.
        min_known: the `known` that was asked for.
        model: the model's version; None where it does not tell.
        reason: why it was held back, rejected, or failed, in words.
    """

    id: str
    status: Status
    s3_bucket: str
    s3_key: str
    version_id: str | None
    etag: str | None
    attempt: int
    created_at: str
    updated_at: str
    label: str | None = None
    confidence: float | None = None
    labels: tuple[str, ...] | None = None
    inferences: tuple[float, ...] | None = None
    known: float | None = None
    threshold: float | None = None
    min_known: float | None = None
    model: str | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON takes it."""
        return asdict(self)


def create(table: str, record: Record) -> Record:
    """Open a record, unless it exists.

    Returns:
        The record that stands afterwards: the given one, or the one that was there before.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    return _put(table, record, "open the record", ConditionExpression="attribute_not_exists(id)")


def restart(table: str, record: Record) -> Record:
    """Set a record back to PENDING with one attempt more, unless someone else did so meanwhile.

    Args:
        table: the table's name.
        record: as it was read; FAILED, or PENDING with an execution that is gone.

    Returns:
        The record that stands afterwards.

    Raises:
        RecordNotFound: it was deleted meanwhile.
        StorageBusy: DynamoDB is throttling or failing.
    """
    again = replace(record, status=Status.PENDING, attempt=record.attempt + 1, updated_at=now(), reason=None)
    return _put(
        table,
        again,
        "start the picture again",
        ConditionExpression="#status = :status AND attempt = :attempt",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":status": {"S": record.status}, ":attempt": {"N": str(record.attempt)}},
    )


def get(table: str, identity: str) -> Record:
    """Read a record, as of now (a strongly consistent read).

    Raises:
        RecordNotFound: there is none with this id.
        StorageBusy: DynamoDB is throttling or failing.
    """
    if len(identity.encode("utf-8", "replace")) > MAX_ID_BYTES:
        raise RecordNotFound("There is no classification with an id this long.")
    with aws.storage("read the record"):
        response = aws.client("dynamodb").get_item(TableName=table, Key={"id": {"S": identity}}, ConsistentRead=True)
    if "status" not in response.get("Item", {}):
        raise RecordNotFound(f"There is no classification {identity}.")
    return _record(response["Item"])


def bookmark(table: str) -> tuple[str, str]:
    """Where the listing of the inbox goes on, key and version; both empty for its beginning.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    with aws.storage("read the bookmark"):
        response = aws.client("dynamodb").get_item(TableName=table, Key={"id": {"S": BOOKMARK}}, ConsistentRead=True)
    item = response.get("Item", {"s3_key": {"S": ""}, "version_id": {"S": ""}})
    return item["s3_key"]["S"], item["version_id"]["S"]


def set_bookmark(table: str, key: str, version_id: str) -> None:
    """Keep where the listing of the inbox goes on.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    item = {"id": BOOKMARK, "s3_key": key, "version_id": version_id, "updated_at": now()}
    with aws.storage("keep the bookmark"):
        aws.client("dynamodb").put_item(TableName=table, Item={name: {"S": text} for name, text in item.items()})


def fail(table: str, identity: str, attempt: int, error: str, cause: str) -> bool:
    """End a record as FAILED, unless it has ended or was started again.

    Args:
        table: the table's name.
        identity: the record's id.
        attempt: the attempt that came to nothing.
        error: the name of what went wrong.
        cause: the same in words.

    Returns:
        Whether it was still to be ended.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    try:
        with aws.storage("end the record"):
            aws.client("dynamodb").update_item(
                TableName=table,
                Key={"id": {"S": identity}},
                UpdateExpression="SET #status = :failed, updated_at = :now, #error = :error",
                ConditionExpression="#status = :pending AND attempt = :attempt",
                ExpressionAttributeNames={"#status": "status", "#error": "error"},
                ExpressionAttributeValues={
                    ":failed": {"S": Status.FAILED},
                    ":pending": {"S": Status.PENDING},
                    ":attempt": {"N": str(attempt)},
                    ":now": {"S": now()},
                    ":error": {"S": json.dumps({"Error": error, "Cause": cause})},
                },
            )
    except ClientError as failure:
        if aws.code(failure) != "ConditionalCheckFailedException":
            raise
        return False
    return True


def waiting(table: str, status: Status, until: str | None = None) -> Iterator[Record]:
    """The records of a status, those that came to it first foremost.

    The index that is read lags behind the table by moments.

    Args:
        table: the table's name.
        status: the status.
        until: only what came to it before this time, as `now` writes it.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    query: dict[str, Any] = {
        "TableName": table,
        "IndexName": INDEX,
        "KeyConditionExpression": "#status = :status" + (" AND updated_at < :until" if until else ""),
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {":status": {"S": status}} | ({":until": {"S": until}} if until else {}),
    }
    while True:
        with aws.storage("look for records"):
            page = aws.client("dynamodb").query(**query)
        yield from map(_record, page["Items"])
        if "LastEvaluatedKey" not in page:
            return
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def missing(table: str, identities: Sequence[str]) -> set[str]:
    """Which of these ids have no record, as of a moment ago.

    Args:
        table: the table's name.
        identities: as many as you like.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    found: set[str] = set()
    keys = [{"id": {"S": identity}} for identity in dict.fromkeys(identities)]
    while keys:
        batch, keys = keys[:MAX_BATCH], keys[MAX_BATCH:]
        asked = {table: {"Keys": batch, "ProjectionExpression": "id"}}
        with aws.storage("look for records"):
            answer = aws.client("dynamodb").batch_get_item(RequestItems=asked)
        found |= {item["id"]["S"] for item in answer["Responses"][table]}
        unread = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
        if len(unread) == len(batch):
            raise StorageBusy("Could not look for records: DynamoDB has no room for a single one of them.")
        keys += unread
    return set(identities) - found


def now(*, ago: float = 0.0) -> str:
    """The time, ISO 8601 with milliseconds, UTC, as Step Functions writes it.

    Args:
        ago: seconds before now.
    """
    at = datetime.now(UTC) - timedelta(seconds=ago)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def explain(error: str) -> str:
    """What went wrong, in words.

    Args:
        error: the error as Step Functions catches it, JSON: `{"Error": name, "Cause": text}`. The cause of an error
            raised in a Lambda function is JSON again, with the message of the exception in it.
    """
    caught = json.loads(error)
    cause = caught.get("Cause") or ""
    try:
        message = json.loads(cause)["errorMessage"]
    except (ValueError, TypeError, KeyError):
        message = cause
    return message or f"The step ended with {caught.get('Error')}."


def _put(table: str, record: Record, what: str, **condition: Any) -> Record:
    """Write a record if a condition holds; the record that stands afterwards."""
    try:
        with aws.storage(what):
            aws.client("dynamodb").put_item(
                TableName=table,
                Item=_item(record),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **condition,
            )
    except ClientError as error:
        if aws.code(error) != "ConditionalCheckFailedException":
            raise
        standing = error.response.get("Item")
        if standing is None:
            raise RecordNotFound(f"There is no classification {record.id}.") from error
        return _record(standing)  # type: ignore[arg-type]
    return record


def _item(record: Record) -> dict[str, dict[str, str]]:
    """What stands in the table while nothing is decided yet."""
    texts = {
        "id": record.id,
        "status": record.status,
        "s3_bucket": record.s3_bucket,
        "s3_key": record.s3_key,
        "version_id": record.version_id,
        "etag": record.etag,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
    return {name: {"S": text} for name, text in texts.items() if text is not None} | {
        "attempt": {"N": str(record.attempt)}
    }


def _record(item: Mapping[str, Mapping[str, str]]) -> Record:
    def text(name: str) -> str | None:
        return item[name]["S"] if name in item else None

    def number(name: str) -> float | None:
        return float(item[name]["N"]) if name in item else None

    def parsed(name: str) -> Any:
        return json.loads(item[name]["S"]) if name in item else None

    labels, inferences, error = parsed("labels"), parsed("inferences"), text("error")
    return Record(
        id=item["id"]["S"],
        status=Status(item["status"]["S"]),
        s3_bucket=item["s3_bucket"]["S"],
        s3_key=item["s3_key"]["S"],
        version_id=text("version_id"),
        etag=text("etag"),
        attempt=int(item["attempt"]["N"]),
        created_at=item["created_at"]["S"],
        updated_at=item["updated_at"]["S"],
        label=text("label"),
        confidence=number("confidence"),
        labels=tuple(labels) if labels else None,
        inferences=tuple(inferences) if inferences else None,
        known=parsed("known"),
        threshold=number("threshold"),
        min_known=number("min_known"),
        model=parsed("model"),
        reason=explain(error) if error else None,
    )
