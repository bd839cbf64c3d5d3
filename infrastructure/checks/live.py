"""The check that a picture which is put into the inbox comes out."""

import hashlib
import json
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from commandline import aws
from infrastructure.checks.common import Finding, Json, Site, fine, found, problem
from infrastructure.names import INBOX_PREFIX

PREFIX = f"{INBOX_PREFIX}doctor/"
"""Where the doctor puts its pictures."""

SIDE = 96
"""Px of the picture's sides."""

RECORD_PATIENCE = 60.0
"""Seconds that the trigger has to open a record: S3 tells of a picture within seconds, and a function that starts cold
takes one more."""

PATIENCE = 300.0
"""Seconds until the record has to come to its end; a serverless endpoint that starts cold takes the most of it."""

POLL_INTERVAL = 1.0
"""Seconds between two looks at the record."""

UNVERSIONED = "null"
"""The version of everything in a bucket that keeps no versions any more."""

ID_LENGTH = 32
"""Hexadecimal digits of a record's id."""


@dataclass(frozen=True)
class Dropped:
    """A picture in the inbox.

    Attributes:
        bucket: the inbox.
        key: the object's key.
        version: the object's version; its entity tag where the bucket keeps none.
        at: when it was put there, in seconds of a clock that only goes forward.
    """

    bucket: str
    key: str
    version: str
    at: float

    @property
    def seconds(self) -> float:
        """How long it has been there."""
        return time.monotonic() - self.at


def live(site: Site) -> Iterator[Finding]:
    """Put a picture into the inbox, wait until its record has ended, and take both away again.

    What is held back is told to the subscribers of the topic for that, this picture too. Where the trigger only comes
    round later, it finds no picture any more, and a record is left that says so.
    """
    if found(aws.client("s3").head_bucket, Bucket=site.names.inbox_bucket) is None:
        yield problem(f"There is no bucket {site.names.inbox_bucket} to put a picture into.", site.up)
        return
    dropped = _drop(site.names.inbox_bucket)
    try:
        yield _judged(site, dropped, _wait(site.names.records_table, dropped))
    finally:
        _clean(site.names.records_table, dropped)


def identity(bucket: str, key: str, version: str) -> str:
    """The id of a version's record, as `chalicelib.workflow.identity` makes it; a test says that they are the same.

    It is the first digits of the SHA-256 over bucket, key and version as a JSON array.

    Args:
        bucket: the bucket's name.
        key: the object's key.
        version: the object's version; its entity tag where the bucket keeps none.
    """
    return hashlib.sha256(json.dumps([bucket, key, version]).encode()).hexdigest()[:ID_LENGTH]


def picture(side: int = SIDE) -> bytes:
    """A PNG of a shaded square, which shows neither class.

    Args:
        side: in px.
    """
    rows = b"".join(
        b"\0" + bytes(value for x in range(side) for value in (x * 255 // side, y * 255 // side, 128))
        for y in range(side)
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)  # 8 bits of each of red, green and blue
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _drop(bucket: str) -> Dropped:
    key = f"{PREFIX}{uuid4()}.png"
    put = aws.client("s3").put_object(Bucket=bucket, Key=key, Body=picture(), ContentType="image/png")
    version = put.get("VersionId", UNVERSIONED)
    return Dropped(bucket, key, put["ETag"].strip('"') if version == UNVERSIONED else version, time.monotonic())


def _wait(table: str, dropped: Dropped) -> Json | None:
    """The picture's record as it stands when it has ended, or when patience has; None if there is none."""
    while True:
        record = _record(table, dropped)
        patience = RECORD_PATIENCE if record is None else PATIENCE
        if (record and record["status"]["S"] != "PENDING") or dropped.seconds > patience:
            return record
        time.sleep(POLL_INTERVAL)


def _record(table: str, dropped: Dropped) -> Json | None:
    key = {"id": {"S": identity(dropped.bucket, dropped.key, dropped.version)}}
    answer = aws.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
    item: Json | None = answer.get("Item")
    return item


def _judged(site: Site, dropped: Dropped, record: Json | None) -> Finding:
    """What became of the picture, in words."""
    seconds = dropped.seconds
    if record is None:
        return problem(
            f"A picture was put into the inbox, and after {seconds:.0f} s it has no record: the trigger does not work.",
            f"Look at the log group {site.names.function_log_group('on_picture')}: if nothing is in it, nobody called "
            f"the function: {site.deploy}",
        )
    status, identifier = record["status"]["S"], record["id"]["S"]
    if status == "PENDING":
        return problem(
            f"A picture was put into the inbox, and after {seconds:.0f} s it is still PENDING: the workflow does not "
            "come to an end.",
            f"Look at the execution {identifier} of {site.names.prefix} in the console of Step Functions.",
        )
    if status == "FAILED":
        return problem(
            f"A picture was put into the inbox, and FAILED after {seconds:.0f} s: {_reason(record)}",
            f"Mend what it says; the execution {identifier} of {site.names.prefix} shows which step it was.",
        )
    label = f" as {record['label']['S']} ({float(record['confidence']['N']):.0%})" if "confidence" in record else ""
    return fine(f"A picture that was put into the inbox came out {status}{label} after {seconds:.1f} s.")


def _reason(record: Json) -> str:
    """Why a record failed: the message of the error that Step Functions caught."""
    caught = json.loads(record.get("error", {}).get("S", "{}"))
    cause = caught.get("Cause") or f"{caught.get('Error', 'nobody knows why')}."
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, TypeError, KeyError):
        return str(cause)


def _clean(table: str, dropped: Dropped) -> None:
    """Take the picture away, with every version of it, and its record."""
    s3 = aws.client("s3")
    listed = s3.list_object_versions(Bucket=dropped.bucket, Prefix=dropped.key)
    for one in (*listed.get("Versions", []), *listed.get("DeleteMarkers", [])):
        s3.delete_object(Bucket=dropped.bucket, Key=one["Key"], VersionId=one["VersionId"])
    key = {"id": {"S": identity(dropped.bucket, dropped.key, dropped.version)}}
    aws.client("dynamodb").delete_item(TableName=table, Key=key)
