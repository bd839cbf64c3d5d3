"""The bucket that pictures are dropped into."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_plus, urlsplit
from uuid import uuid4

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.errors import IdempotencyKeyReused, ImageNotFound, ImageTooLarge, InvalidRequest, StorageBusy
from chalicelib.limits import MAX_BYTES

PREFIX = "inbox/"
"""What lies under this prefix is classified. Results never go here: they would trigger the workflow again."""

UPLOADS = f"{PREFIX}uploads/"
"""Where pictures go that come through the API."""

LINK_SECONDS = 900
"""How long a link to a picture holds, and leave to upload one."""

MAX_KEY_BYTES = 1024
"""UTF-8 bytes of a key: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
"""S3's codes for an object that is not there; reading a delete marker is answered with MethodNotAllowed."""


@dataclass(frozen=True)
class Source:
    """One version of one picture.

    Attributes:
        bucket: the bucket's name.
        key: the object's key, decoded.
        version_id: the version; None where the bucket keeps none.
        etag: the entity tag without quotes, which stands for the version where the bucket keeps none.
    """

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None


@dataclass(frozen=True)
class Listed:
    """A picture in a listing.

    Attributes:
        source: which it is.
        at: when it came in.
    """

    source: Source
    at: datetime


@dataclass(frozen=True)
class Link:
    """A link to a picture, for whoever has it.

    Attributes:
        url: the link.
        expires_at: until when it holds, ISO 8601, UTC.
    """

    url: str
    expires_at: str


@dataclass(frozen=True)
class Upload:
    """Leave to upload one picture, by a form that is posted to S3.

    Attributes:
        url: where the form goes.
        fields: what it has to hold before its last field, `file`.
        key: what the picture will be called.
        expires_at: until when, ISO 8601, UTC.
        max_bytes: the largest file that S3 takes.
    """

    url: str
    fields: dict[str, str]
    key: str
    expires_at: str
    max_bytes: int


Marker = tuple[str, str]
"""Where a listing stopped: a key and a version."""


def sources(event: Mapping[str, Any]) -> Iterator[Source]:
    """The pictures that an S3 event tells of: each of its records, not only the first.

    Passes over S3's test event and the empty objects that consoles make to show a folder. Looks at names rather than
    at the event's version, which AWS raises from time to time:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html

    Args:
        event: the notification as Lambda gets it, keys still percent-encoded.

    Raises:
        InvalidRequest: a record is not one of S3's.
    """
    if event.get("Event") == "s3:TestEvent":
        return
    try:
        for record in event["Records"]:
            item = record["s3"]["object"]
            key = unquote_plus(item["key"])
            if _is_folder(key, item.get("size")):
                continue
            yield Source(record["s3"]["bucket"]["name"], key, _version(item.get("versionId")), item.get("eTag"))
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"This is not an event of S3: {error!r} is missing or wrong.") from error


def find(bucket: str, key: str, version_id: str | None = None) -> Source:
    """Look a picture up by its name.

    Args:
        bucket: the bucket's name.
        key: the object's key, under `PREFIX`.
        version_id: the version; the newest if None.

    Raises:
        InvalidRequest: the key is not one of the inbox.
        ImageNotFound: there is no such object.
        StorageBusy: S3 is throttling or failing.
    """
    try:
        length, _ = len(key.encode()), (version_id or "").encode()
    except UnicodeEncodeError as error:  # half a surrogate pair, which JSON can hold
        raise InvalidRequest("The key and the version must be text that UTF-8 can hold.") from error
    if not key.startswith(PREFIX) or key == PREFIX or length > MAX_KEY_BYTES:
        raise InvalidRequest(f"The key must begin with {PREFIX} and have at most {MAX_KEY_BYTES} bytes.")
    try:
        with aws.storage("look for the picture"):
            head = aws.client("s3").head_object(Bucket=bucket, Key=key, **_named(version_id))
    except ClientError as error:
        if aws.code(error) in MISSING | {"405", "400"}:
            raise ImageNotFound(f"There is no picture {key} in the inbox: drop it there first.") from error
        raise
    return _source(bucket, key, head)


def add(bucket: str, data: bytes, content_type: str, once: str | None = None) -> Source:
    """Put a picture into the inbox, as one that came through the API.

    Args:
        bucket: the bucket's name.
        data: the picture's bytes.
        content_type: its media type.
        once: what stands for this upload and no other, if it may be tried several times: the picture is put there
            once, and found there again. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

    Raises:
        IdempotencyKeyReused: another picture was put there for the same `once`.
        StorageBusy: S3 is throttling or failing, or the same upload is under way.
    """
    key = f"{UPLOADS}once/{sha256(once.encode()).hexdigest()}" if once else _fresh_key()
    digest = sha256(data).hexdigest()
    only_new = {"IfNoneMatch": "*"} if once else {}
    try:
        with aws.storage("keep the picture"):
            put = aws.client("s3").put_object(
                Bucket=bucket, Key=key, Body=data, ContentType=content_type, Metadata={"sha256": digest}, **only_new
            )
    except ClientError as error:
        if aws.code(error) == "ConditionalRequestConflict":
            raise StorageBusy("The same picture is being uploaded right now: ask again in a moment.") from error
        if aws.code(error) != "PreconditionFailed":
            raise
        return _added_before(bucket, key, digest)
    return _source(bucket, key, put)


def link(source: Source, media_type: str | None = None) -> Link:
    """A link by which a browser gets a picture from S3.

    Args:
        source: the picture.
        media_type: what S3 shall call it; what it was called when it came in if None.
    """
    named = {"Bucket": source.bucket, "Key": source.key} | ({"ResponseContentType": media_type} if media_type else {})
    url = aws.client("s3").generate_presigned_url(
        "get_object", Params=named | _named(source.version_id), ExpiresIn=LINK_SECONDS
    )
    return Link(url, _expiry())


def allow_upload(bucket: str, content_type: str) -> Upload:
    """Leave to upload one picture straight to S3, under a name that no other has.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html

    Args:
        bucket: the bucket's name.
        content_type: the picture's media type.
    """
    key = _fresh_key()
    post = aws.client("s3").generate_presigned_post(
        bucket,
        key,
        Fields={"Content-Type": content_type},
        Conditions=[{"Content-Type": content_type}, ["content-length-range", 1, MAX_BYTES]],
        ExpiresIn=LINK_SECONDS,
    )
    return Upload(post["url"], post["fields"], key, _expiry(), MAX_BYTES)


def origin(bucket: str) -> str:
    """Where S3 serves a bucket, as browsers name it in a Content-Security-Policy."""
    place = urlsplit(aws.client("s3").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": PREFIX}))
    return f"{place.scheme}://{place.netloc}"


def versions(bucket: str, after: Marker | None = None) -> Iterator[tuple[list[Listed], Marker | None]]:
    """Everything that ever came in and is still there, older versions too, page by page.

    Args:
        bucket: the bucket's name.
        after: where an earlier listing stopped; from the beginning if None.

    Yields:
        The pictures of a page, and where the next page begins, None after the last.

    Raises:
        StorageBusy: S3 is throttling or failing.
    """
    while True:
        begin = {"KeyMarker": after[0], "VersionIdMarker": after[1]} if after else {}
        with aws.storage("list the inbox"):
            page = aws.client("s3").list_object_versions(Bucket=bucket, Prefix=PREFIX, **begin)
        after = (page["NextKeyMarker"], page["NextVersionIdMarker"]) if page.get("IsTruncated") else None
        yield (
            [
                Listed(_source(bucket, one["Key"], one), one["LastModified"])
                for one in page.get("Versions", [])
                if not _is_folder(one["Key"], one["Size"])
            ],
            after,
        )
        if after is None:
            return


def read(source: Source) -> bytes:
    """The picture's bytes, of exactly the version that is named.

    Raises:
        ImageNotFound: it was deleted or replaced since.
        ImageTooLarge: more than `MAX_BYTES`; it is not downloaded then.
        StorageBusy: S3 is throttling or failing.
    """
    named = _named(source.version_id) or ({"IfMatch": source.etag} if source.etag else {})
    try:
        with aws.storage("read the picture"):
            response = aws.client("s3").get_object(Bucket=source.bucket, Key=source.key, **named)
            if response["ContentLength"] > MAX_BYTES:
                raise ImageTooLarge(
                    f"The picture has {response['ContentLength'] / 1e6:.1f} MB, {MAX_BYTES / 1e6:.1f} MB are taken: "
                    "save it smaller."
                )
            data: bytes = response["Body"].read()
            return data
    except ClientError as error:
        if aws.code(error) in MISSING:
            raise ImageNotFound("The picture was deleted before it was read: drop it again.") from error
        if aws.code(error) == "PreconditionFailed":
            raise ImageNotFound(
                "The picture was replaced before it was read: the newer one is classified in its stead."
            ) from error
        raise


def _fresh_key() -> str:
    return f"{UPLOADS}{datetime.now(UTC):%Y-%m-%d}/{uuid4()}"


def _expiry() -> str:
    at = datetime.now(UTC) + timedelta(seconds=LINK_SECONDS)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _added_before(bucket: str, key: str, digest: str) -> Source:
    with aws.storage("look for the picture"):
        head = aws.client("s3").head_object(Bucket=bucket, Key=key)
    if head["Metadata"].get("sha256") != digest:
        raise IdempotencyKeyReused("Send another Idempotency-Key: this one belongs to a picture that came before.")
    return _source(bucket, key, head)


def _source(bucket: str, key: str, told: Mapping[str, Any]) -> Source:
    """A picture by what S3 tells of it."""
    return Source(bucket, key, _version(told.get("VersionId")), told["ETag"].strip('"'))


def _is_folder(key: str, size: int | None) -> bool:
    """Whether this is an empty object that consoles make to show a folder."""
    return key.endswith("/") and not size


def _version(version_id: str | None) -> str | None:
    return None if version_id == "null" else version_id


def _named(version_id: str | None) -> dict[str, str]:
    return {"VersionId": version_id} if version_id else {}
