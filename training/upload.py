"""Copies files to S3, several at once, and leaves what is there unchanged.

Whether an object is the file is told without a request for each: a listing gives size and entity tag, and the tag is
the MD5 of what was put in one piece, unless the bucket encrypts with KMS or with a customer's key:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html . There the SHA-256 decides that every object carries
in its metadata, at the price of a `HeadObject`.

Every request names the account that the bucket has to belong to, so that nothing is written into, or deleted from, a
bucket of somebody else's.
"""

import base64
import hashlib
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from training import aws, parallel
from training.aws import Place
from training.errors import AccountError, InputError, TrainingError
from training.layout import MANIFEST_FILE

WORKERS = 10
"""Requests at once: as many connections as a client keeps open,
https://docs.aws.amazon.com/botocore/latest/reference/config.html (`max_pool_connections`)."""

BATCH = 1000
"""Objects that S3 deletes in one request: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""

MAX_BYTES = 5 * 2**30
"""Largest file that S3 takes in one piece, in bytes:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html"""

CACHES = ("__pycache__", "Thumbs.db")

_TYPES = mimetypes.MimeTypes()  # the table inside the standard library, which is the same on every machine
_TYPES.add_type("text/tab-separated-values", ".lst")

Advance = Callable[[int, int], None]
"""Told of progress: files done so far, and files in all."""


@dataclass(frozen=True)
class Counts:
    """What became of the objects at a place.

    Attributes:
        uploaded: files that were not there, or as something else.
        unchanged: files that were there.
        deleted: objects that the folder does not have.
    """

    uploaded: int
    unchanged: int
    deleted: int


@dataclass(frozen=True)
class Stored:
    """What a listing tells of an object.

    Attributes:
        size: in bytes.
        etag: its entity tag.
    """

    size: int
    etag: str


def upload(folder: Path, place: Place, advance: Advance, *, delete: bool = False) -> Counts:
    """Make a place in S3 hold what a folder holds, apart from hidden files and caches.

    The manifest goes last: as long as it is missing or the old one, the upload is not done.

    Args:
        folder: what is uploaded.
        place: where to; `FOLDER/a/b` becomes `PREFIX/a/b`.
        advance: told of progress.
        delete: whether objects below the prefix that the folder does not have are deleted.

    Raises:
        InputError: the folder holds nothing, a file is too large or cannot be read, or a whole bucket would be emptied.
        AccountError: there is no such bucket, or it is not this account's.
        TrainingError: S3 refused.
    """
    if delete and not place.prefix:
        raise InputError(f"--delete would empty the whole bucket {place.bucket}. Name a prefix: {place}/PREFIX.")
    files = _files(folder)
    there = listed(place.bucket, f"{place.prefix}/" if place.prefix else "")
    by_key = {(place / name).prefix: path for name, path in files.items()}
    last = (place / MANIFEST_FILE).prefix

    def put(key: str) -> bool:
        return _put(by_key[key], Place(place.bucket, key), there)

    pictures = [key for key in by_key if key != last]
    uploaded = 0
    with closing(parallel.each(put, pictures, WORKERS)) as results:
        for done, was_put in enumerate(results, start=1):
            uploaded += was_put
            advance(done, len(by_key))
    strangers = sorted(there.keys() - by_key.keys()) if delete else []
    delete_objects(place.bucket, [{"Key": key} for key in strangers])
    if last in by_key:
        uploaded += put(last)
        advance(len(by_key), len(by_key))
    return Counts(uploaded, len(by_key) - uploaded, len(strangers))


def put_unless_there(path: Path, place: Place) -> bool:
    """Upload a file, unless it is there already.

    Args:
        path: the file.
        place: the bucket, and the object's whole key as the prefix.

    Returns:
        Whether it had to be uploaded.

    Raises:
        InputError: the file is too large or cannot be read.
        AccountError: there is no such bucket, or it is not this account's.
    """
    return _put(path, place, listed(place.bucket, place.prefix))


def listed(bucket: str, beginning: str) -> dict[str, Stored]:
    """The objects of a bucket whose keys begin with something, by their keys.

    Raises:
        AccountError: there is no such bucket, or it is not this account's.
    """
    s3 = aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=beginning, ExpectedBucketOwner=aws.account()
    )
    found: dict[str, Stored] = {}
    try:
        for page in pages:
            found |= {
                one["Key"]: Stored(one["Size"], one.get("ETag", "").strip('"')) for one in page.get("Contents", [])
            }
    except s3.exceptions.NoSuchBucket as error:
        raise AccountError(f"There is no bucket {bucket}. Make it, or name another.") from error
    except ClientError as error:
        if aws.error_code(error) not in aws.DENIED:
            raise
        raise AccountError(
            f"The bucket {bucket} belongs to another account than {aws.account()}, or these credentials may not list "
            "it. Nothing was uploaded. Name a bucket of this account, or ask for the permission s3:ListBucket."
        ) from error
    return found


def delete_objects(bucket: str, objects: Sequence[Mapping[str, str]]) -> None:
    """Delete objects, or versions of objects.

    Args:
        bucket: that they lie in.
        objects: each has a `Key`, and a `VersionId` where one version is meant.

    Raises:
        TrainingError: S3 refused.
    """
    for start in range(0, len(objects), BATCH):
        answer = aws.client("s3").delete_objects(
            Bucket=bucket,
            Delete={"Objects": list(objects[start : start + BATCH]), "Quiet": True},
            ExpectedBucketOwner=aws.account(),
        )
        for error in answer.get("Errors", []):
            raise TrainingError(f"S3 did not delete {error['Key']}: {error['Message']} Run this again.")


def _files(folder: Path) -> dict[str, Path]:
    """The files below a folder by their names with slashes, sorted."""
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(map(_is_passed_over, path.relative_to(folder).parts))
    }
    if not found:
        raise InputError(f"{folder} holds no files. Name a folder that does.")
    return found


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in CACHES


def _put(path: Path, place: Place, there: Mapping[str, Stored]) -> bool:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path} has {size / 2**30:.1f} GiB; S3 takes at most {MAX_BYTES // 2**30} in one piece.")
        stored = there.get(place.prefix)
        digest = _digest(path, "sha256")
        if stored and stored.size == size and _is_same(path, digest, place, stored):
            return False
        _send(path, digest, place)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    return True


def _send(path: Path, digest: bytes, place: Place) -> None:
    content_type, packed = _TYPES.guess_type(path.name)
    with path.open("rb") as body:
        aws.client("s3").put_object(
            Bucket=place.bucket,
            Key=place.prefix,
            Body=body,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=base64.b64encode(digest).decode(),
            ContentType=f"application/{packed}" if packed else content_type or "application/octet-stream",
            Metadata={"sha256": digest.hex()},
            ExpectedBucketOwner=aws.account(),
        )


def _is_same(path: Path, digest: bytes, place: Place, stored: Stored) -> bool:
    if stored.etag == _digest(path, partial(hashlib.md5, usedforsecurity=False)).hex():
        return True
    head = aws.client("s3").head_object(Bucket=place.bucket, Key=place.prefix, ExpectedBucketOwner=aws.account())
    return bool(head["Metadata"].get("sha256") == digest.hex())


def _digest(path: Path, kind: Any) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).digest()
