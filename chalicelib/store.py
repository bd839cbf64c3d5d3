"""The classification records, in DynamoDB.

    PENDING ──► ACCEPTED              sure enough
            ├─► REVIEW ◄─► REVIEWED   not sure enough: a person decides, and may undo it
            ├─► REJECTED              the picture's fault
            └─► FAILED ──► PENDING    our fault: starting it again counts an attempt

This module opens a record, reads it, and keeps what a person decides. The endings are written by the state machine
itself, straight into the table and on the condition that the record is still PENDING at the same attempt, so that the
first ending stands. Only where an execution could not write one, `fail` does, on the same condition.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.decision import Reason
from chalicelib.errors import RecordChanged, RecordNotFound, StorageBusy

MAX_ID_BYTES = 2048
"""UTF-8 bytes of a partition key:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

CONDITION_FAILED = "ConditionalCheckFailedException"
"""DynamoDB's code for a write whose condition does not hold."""

STEP_TIMEOUT = 1.0
"""Seconds that a step waits to be noted."""

NEITHER = "neither"
"""What a person says of a picture that shows none of the classes."""

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
class Step:
    """A step of the workflow that a picture came to.

    Attributes:
        step: the state's name in `statemachine.json`.
        at: when, ISO 8601, UTC.
    """

    step: str
    at: str


@dataclass(frozen=True)
class Review:
    """What a person decided about a picture that was held back.

    Attributes:
        label: one of the record's labels, or `NEITHER`.
        note: what else they had to say.
        by: who, as AWS or the user pool knows them.
        at: when, ISO 8601, UTC.
    """

    label: str
    note: str | None
    by: str
    at: str


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
        reason_code: why it was held back, for programs; None for what was not, and for records from before there were
            codes.
        ended_at: when the workflow came to its end with it; None while PENDING.
        steps: what it came to on its way; a step that was tried again is there again.
        review: what a person decided; None unless REVIEWED.
        reviews: how often a person decided or took that back.
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
    reason_code: Reason | None = None
    ended_at: str | None = None
    steps: tuple[Step, ...] = ()
    review: Review | None = None
    reviews: int = 0

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
        record: as it was read, at whatever end, or PENDING with an execution that is gone.

    Returns:
        The record that stands afterwards.

    Raises:
        RecordNotFound: it was deleted meanwhile.
        StorageBusy: DynamoDB is throttling or failing.
    """
    again = Record(
        id=record.id,
        status=Status.PENDING,
        s3_bucket=record.s3_bucket,
        s3_key=record.s3_key,
        version_id=record.version_id,
        etag=record.etag,
        attempt=record.attempt + 1,
        created_at=record.created_at,
        updated_at=now(),
    )
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
    return parse(response["Item"])


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
    return _update(
        "end the record",
        aws.client("dynamodb"),
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


def enter(table: str, identity: str, attempt: int, step: str) -> bool:
    """Note that an attempt has come to a step; quickly or not at all, since nothing depends on it.

    Args:
        table: the table's name.
        identity: the record's id.
        attempt: the attempt.
        step: the state's name in `statemachine.json`.

    Returns:
        Whether it was noted: not where the record is at another attempt, or not there.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    return _update(
        "note the step",
        aws.client("dynamodb", attempts=1, read_timeout=STEP_TIMEOUT),
        TableName=table,
        Key={"id": {"S": identity}},
        UpdateExpression="SET steps = list_append(if_not_exists(steps, :none), :this)",
        ConditionExpression="attempt = :attempt",
        ExpressionAttributeValues={
            ":none": {"L": []},
            ":this": {"L": [{"M": {"step": {"S": step}, "at": {"S": now()}}}]},
            ":attempt": {"N": str(attempt)},
        },
    )


def decide(table: str, record: Record, label: str, by: str, note: str | None = None) -> Record:
    """Keep what a person decides about a picture that was held back.

    Args:
        table: the table's name.
        record: as the person saw it; REVIEW, or REVIEWED to decide again.
        label: one of the record's labels, or `NEITHER`.
        by: who decides.
        note: what else they have to say.

    Returns:
        The record, REVIEWED.

    Raises:
        RecordChanged: it is not as the person saw it any more.
        StorageBusy: DynamoDB is throttling or failing.
    """
    review = Review(label, note, by, now())
    return _set_review(
        table,
        record,
        "SET #status = :status, updated_at = :now, ended_at = if_not_exists(ended_at, updated_at), review = :review",
        {":status": {"S": Status.REVIEWED}, ":review": {"S": json.dumps(asdict(review))}},
    )


def undecide(table: str, record: Record) -> Record:
    """Take back what a person decided.

    Args:
        table: the table's name.
        record: as the person saw it, REVIEWED.

    Returns:
        The record, REVIEW again.

    Raises:
        RecordChanged: it is not as the person saw it any more.
        StorageBusy: DynamoDB is throttling or failing.
    """
    return _set_review(
        table, record, "SET #status = :status, updated_at = :now REMOVE review", {":status": {"S": Status.REVIEW}}
    )


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


def _set_review(table: str, record: Record, update: str, values: dict[str, Any]) -> Record:
    unchanged = "#status = :seen AND attempt = :attempt AND "
    try:
        with aws.storage("keep the review"):
            answer = aws.client("dynamodb").update_item(
                TableName=table,
                Key={"id": {"S": record.id}},
                UpdateExpression=f"{update} ADD reviews :one",
                ConditionExpression=unchanged
                + ("reviews = :reviews" if record.reviews else "attribute_not_exists(reviews)"),
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    **values,
                    **({":reviews": {"N": str(record.reviews)}} if record.reviews else {}),
                    ":seen": {"S": record.status},
                    ":attempt": {"N": str(record.attempt)},
                    ":now": {"S": now()},
                    ":one": {"N": "1"},
                },
                ReturnValues="ALL_NEW",
            )
    except ClientError as error:
        if aws.code(error) != CONDITION_FAILED:
            raise
        raise RecordChanged("Somebody else has decided since you looked: read it again, then decide.") from error
    return parse(answer["Attributes"])


def _update(what: str, client: Any, **update: Any) -> bool:
    """Change a record if a condition holds; whether it did."""
    try:
        with aws.storage(what):
            client.update_item(**update)
    except ClientError as error:
        if aws.code(error) != CONDITION_FAILED:
            raise
        return False
    return True


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
        if aws.code(error) != CONDITION_FAILED:
            raise
        standing = error.response.get("Item")
        if standing is None:
            raise RecordNotFound(f"There is no classification {record.id}.") from error
        return parse(standing)  # type: ignore[arg-type]
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


def parse(item: Mapping[str, Any]) -> Record:
    """The record that an item of the table holds."""

    def text(name: str) -> str | None:
        return item[name]["S"] if name in item else None

    def number(name: str) -> float | None:
        return float(item[name]["N"]) if name in item else None

    def parsed(name: str) -> Any:
        return json.loads(item[name]["S"]) if name in item else None

    status, labels, inferences = Status(item["status"]["S"]), parsed("labels"), parsed("inferences")
    error, code = text("error"), parsed("reason_code")
    review = parsed("review")
    return Record(
        id=item["id"]["S"],
        status=status,
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
        reason_code=Reason(code) if code else None,
        ended_at=None if status is Status.PENDING else text("ended_at") or item["updated_at"]["S"],
        steps=tuple(Step(one["M"]["step"]["S"], one["M"]["at"]["S"]) for one in item.get("steps", {}).get("L", [])),
        review=Review(**review) if review else None,
        reviews=int(item["reviews"]["N"]) if "reviews" in item else 0,
    )
