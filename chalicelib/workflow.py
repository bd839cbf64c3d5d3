"""The identity of a picture, and the start of its execution: what the trigger and the REST routes share."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws, inbox, store
from chalicelib.errors import ImageNotFound, InvalidRequest, NotNow
from chalicelib.inbox import Source
from chalicelib.settings import Settings
from chalicelib.store import Record, Status

ID_LENGTH = 32
"""Hexadecimal digits of an id: 128 bits. It is an execution's name (80 characters at most, with the attempt behind it:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html) and an InferenceId (64:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html)."""

WAIT_PAUSE, MAX_WAIT_PAUSE = 0.1, 1.0
"""Seconds between the first two looks at a record that is waited for, and between two looks at most."""


def identity(source: Source) -> str:
    """The id of one version of one picture: the same for the same picture, whoever tells of it and how often.

    Returns:
        The first `ID_LENGTH` digits of the SHA-256 over bucket, key and version as a JSON array, which keeps apart
        where one ends and the next begins.
    """
    parts = json.dumps([source.bucket, source.key, source.version_id or source.etag])
    return hashlib.sha256(parts.encode()).hexdigest()[:ID_LENGTH]


def start(settings: Settings, source: Source) -> Record:
    """Have a picture classified, once.

    Whatever told of it before, the first result stands. A picture whose record is FAILED is started again, and so is
    one that is still PENDING though its execution has ended (aborted, say, before it could write an ending).

    Returns:
        The record as it stands.

    Raises:
        StorageBusy: DynamoDB or Step Functions is throttling or failing; calling again does no harm.
    """
    record = _open(settings, source)
    if record.status is Status.PENDING and not _launch(settings, record):
        latest = store.get(settings.records_table, record.id)
        # The attempt whose execution has ended, not the latest: another caller may have started that one just now.
        record = _again(settings, record) if latest.status is Status.PENDING else latest
    elif record.status is Status.FAILED:
        record = _again(settings, record)
    return record


def take(settings: Settings, source: Source) -> Record | None:
    """Open the record of a picture for a caller who then classifies it by other means than `start`.

    Returns:
        The record, PENDING; None if the picture has come to an end before that is not FAILED.

    Raises:
        StorageBusy: DynamoDB is throttling or failing; calling again does no harm.
    """
    record = _open(settings, source)
    if record.status is Status.FAILED:
        record = store.restart(settings.records_table, record)
    return record if record.status is Status.PENDING else None


def run_again(settings: Settings, record: Record) -> Record:
    """Have a picture classified once more, because a person asks for it.

    Args:
        settings: the table and the state machine.
        record: as it stands.

    Returns:
        The record, PENDING at a new attempt; as it stands if it is still on its way.

    Raises:
        NotNow: a person has decided about it.
        ImageNotFound: it is gone, or lies in another bucket.
        InvalidRequest: it does not lie in the inbox.
        StorageBusy: AWS is throttling or failing; calling again does no harm.
    """
    if record.status not in (Status.PENDING, Status.REVIEWED):
        picture(settings, record)
        record = _again(settings, record)
    if record.status is Status.REVIEWED:
        raise NotNow("A person has decided about this picture: take that back first, then run it again.")
    return record


def picture(settings: Settings, record: Record) -> Source:
    """The picture of a record, which is still there.

    Raises:
        ImageNotFound: it is gone, or lies in another bucket.
        InvalidRequest: it does not lie in the inbox.
        StorageBusy: S3 is throttling or failing.
    """
    if record.s3_bucket != settings.inbox_bucket:
        raise ImageNotFound("The picture lies in another bucket, which is not read from here.")
    return inbox.find(record.s3_bucket, record.s3_key, record.version_id)


def wait(settings: Settings, record: Record, seconds: float) -> Record:
    """Wait for the end of a record.

    Args:
        settings: the table.
        record: as it stands.
        seconds: how long at most.

    Returns:
        The record as it stands then.

    Raises:
        StorageBusy: DynamoDB is throttling or failing.
    """
    deadline, pause = time.monotonic() + seconds, WAIT_PAUSE
    while record.status is Status.PENDING and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, MAX_WAIT_PAUSE)
        record = store.get(settings.records_table, record.id)
    return record


def ended_badly(settings: Settings) -> dict[str, Any]:
    """The pattern of the events that tell of an execution's end other than by success.

    Those whose record tells why are among them: which they are is known to the record alone.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    return {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
            "stateMachineArn": [settings.state_machine_arn],
        },
    }


def give_up(settings: Settings, execution: Mapping[str, Any]) -> bool:
    """End the record of an execution that has ended without writing one: stopped, out of time, over a limit.

    Args:
        settings: the table.
        execution: what Step Functions tells of it, the `detail` of its event:
            https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html

    Returns:
        Whether the record was still to be ended.

    Raises:
        InvalidRequest: this is not such an event.
        StorageBusy: DynamoDB is throttling or failing; calling again does no harm.
    """
    try:
        name, status = str(execution["name"]), str(execution["status"])
        given = json.loads(execution.get("input") or "{}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(f"This is not an event of an execution: {error!r} is missing or wrong.") from error
    if not isinstance(given, dict) or not {"id", "attempt"} <= given.keys():
        given = {"id": name, "attempt": 1}  # as the workflow itself opens the record of one that was started by hand
    cause = execution.get("cause") or f"The execution {name} ended as {status} without writing down why."
    return store.fail(
        settings.records_table,
        str(given["id"]),
        int(given["attempt"]),
        error=str(execution.get("error") or status),
        cause=str(cause),
    )


def execution_name(record: Record) -> str:
    """The name of the execution of a record's attempt: its id, and from the second attempt on its number."""
    return record.id if record.attempt == 1 else f"{record.id}-{record.attempt}"


def execution_arn(settings: Settings, record: Record) -> str:
    """The ARN of the execution of a record's attempt."""
    return f"{settings.state_machine_arn.replace(':stateMachine:', ':execution:')}:{execution_name(record)}"


def execution_input(record: Record) -> str:
    """What `statemachine.json` begins with, as JSON.

    It is the same for the same attempt, which makes a second start of a running execution harmless.
    """
    fields = {
        "id": record.id,
        "attempt": record.attempt,
        "s3_bucket": record.s3_bucket,
        "s3_key": record.s3_key,
        "version_id": record.version_id,
        "etag": record.etag,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def _open(settings: Settings, source: Source) -> Record:
    """Open the record of a picture; the one that stands, if there is one."""
    at = store.now()
    return store.create(
        settings.records_table,
        Record(
            id=identity(source),
            status=Status.PENDING,
            s3_bucket=source.bucket,
            s3_key=source.key,
            version_id=source.version_id,
            etag=source.etag,
            attempt=1,
            created_at=at,
            updated_at=at,
        ),
    )


def _again(settings: Settings, record: Record) -> Record:
    record = store.restart(settings.records_table, record)
    if record.status is Status.PENDING:
        _launch(settings, record)
    return record


def _launch(settings: Settings, record: Record) -> bool:
    """Start the execution of a record's attempt.

    Returns:
        Whether it is running now: False if one of this name has ended before.
    """
    try:
        with aws.storage("start the workflow"):
            aws.client("stepfunctions").start_execution(
                stateMachineArn=settings.state_machine_arn,
                name=execution_name(record),
                input=execution_input(record),
            )
    except ClientError as error:
        if aws.code(error) != "ExecutionAlreadyExists":
            raise
        return False
    return True
