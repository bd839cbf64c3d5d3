"""Reviewed pictures: what people decided about pictures that were held back, joined with the pictures in S3.

Each record bears the exact version of its picture, so what is trained on is what the person saw. Reviews that were
undone are none: their records are not REVIEWED any more.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from botocore.exceptions import ClientError

from chalicelib import inbox
from chalicelib.errors import ImageNotFound, PictureError, StorageBusy
from chalicelib.listing import OLDEST_FIRST, waiting
from chalicelib.store import NEITHER, Record, Status
from training import aws, pictures
from training.errors import AccountError, InputError, TrainingError
from training.layout import Review, Said, Skipped
from training.pictures import Found, Pixels, Source, Unreadable

GONE = "It is gone from S3: deleted, replaced or expired."
UNREADABLE = {
    "InvalidObjectState": "It is archived in S3. Restore it, and run this again.",
    "NoSuchBucket": "Its bucket is gone.",
}
"""Reasons to leave a picture out, by S3's error code."""


def add(source: Source, table: str) -> Source:
    """Add the reviewed pictures of a table to what a data set is made of.

    Args:
        source: where the other pictures come from.
        table: name of the table with the classification records.

    Returns:
        Both together; what cannot be used is among the skipped.

    Raises:
        InputError: there is no such table, or it has no reviewed picture of these classes.
        PicturesError: a class is called as what shows none of them.
        TrainingError: DynamoDB does not answer.
    """
    pictures.check_has_room_for_others(source.labels)
    reviewed = records(table)
    if not reviewed:
        raise InputError(f"{table} has no reviewed pictures yet. Review some first, or leave out --reviews.")
    usable, skipped = _usable(reviewed, source.labels)
    if not usable:
        raise InputError(
            f"None of the {len(reviewed)} reviewed pictures of {table} can be used, {skipped[0].path} among them: "
            f"{skipped[0].reason} Is it the right table?"
        )
    return replace(
        source,
        about=source.about | {"reviews": table},
        pictures=[*usable, *source.pictures],
        skipped=[*source.skipped, *skipped],
    )


def records(table: str) -> list[Record]:
    """The reviewed records of a table, those reviewed last foremost.

    Args:
        table: its name.

    Raises:
        InputError: there is no such table.
        TrainingError: DynamoDB does not answer.
    """
    try:
        found = list(waiting(table, Status.REVIEWED))
    except StorageBusy as error:
        raise TrainingError(f"{error} Is the region right, and the network up? Run this again.") from error
    except ClientError as error:
        raise _refused(table, error) from error
    return sorted(found, key=lambda record: (record.review.at if record.review else "", record.id), reverse=True)


def decided(table: str) -> dict[str, str]:
    """What people say that reviewed pictures show, by the id of the record, which data capture names, too.

    Args:
        table: name of the table with the classification records.

    Raises:
        InputError: there is no such table.
        TrainingError: DynamoDB does not answer.
    """
    return {record.id: record.review.label for record in records(table) if record.review}


def _refused(table: str, error: ClientError) -> Exception:
    """The error to raise; one about permissions stays as it is and is told elsewhere."""
    code, message = aws.error_code(error), error.response.get("Error", {}).get("Message", "")
    if code == "ResourceNotFoundException" and "index" not in message.lower():
        return InputError(
            f"There is no table {table} in {aws.region()}. `RECORDS_TABLE` of the stage in .chalice/config.json names "
            "it, AWS_DEFAULT_REGION the region."
        )
    if code in ("ResourceNotFoundException", "ValidationException"):
        return InputError(
            f"{table} cannot be asked for reviewed pictures by its index {OLDEST_FIRST.index}: {message} Is it the "
            "table of the classification records? `RECORDS_TABLE` of the stage in .chalice/config.json names it."
        )
    return error


def _usable(records: Sequence[Record], labels: Sequence[str]) -> tuple[list[Found], list[Skipped]]:
    usable: list[Found] = []
    skipped: list[Skipped] = []
    for record in records:
        name = f"{record.id}/{record.s3_key}"
        if record.review is None:
            skipped.append(Skipped(name, "It does not say what the reviewer decided."))
        elif record.review.label not in (*labels, NEITHER):
            skipped.append(Skipped(name, f"{record.review.label} is none of the classes {', '.join(labels)}."))
        else:
            usable.append(Found(name, record.review.label, None, partial(_read, _where(record)), _review(record)))
    return usable, skipped


def _where(record: Record) -> inbox.Source:
    return inbox.Source(record.s3_bucket, record.s3_key, record.version_id, record.etag)


def _review(record: Record) -> Review | None:
    if record.review is None:
        return None
    return Review(
        id=record.id,
        by=record.review.by,
        at=record.review.at,
        note=record.review.note,
        said=Said(
            label=record.label,
            confidence=record.confidence,
            known=record.known,
            threshold=record.threshold,
            min_known=record.min_known,
            model=record.model,
        ),
    )


def _read(source: inbox.Source) -> Pixels:
    """The pixels of exactly the version that was reviewed.

    Raises:
        Unreadable: it is not there any more, or no picture.
        AccountError: it may not be read.
        TrainingError: S3 does not answer.
    """
    try:
        return pictures.decode(inbox.read(source))
    except ImageNotFound as error:
        raise Unreadable(GONE) from error
    except PictureError as error:
        raise Unreadable(str(error)) from error
    except StorageBusy as error:
        raise TrainingError(f"{error} Nothing was changed. Run this again.") from error
    except ClientError as error:
        code = aws.error_code(error)
        if code in UNREADABLE:
            raise Unreadable(UNREADABLE[code]) from error
        if code in aws.DENIED:
            raise AccountError(
                f"AWS does not allow reading s3://{source.bucket}/{source.key}. Ask for s3:GetObject, "
                "s3:GetObjectVersion and s3:ListBucket on this bucket, or use other credentials."
            ) from error
        raise
