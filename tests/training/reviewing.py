"""A table of records and a bucket of pictures, with a model and reviewers that say what a test wants."""

import json
from dataclasses import dataclass
from typing import Any

from chalicelib import aws, store, workflow
from chalicelib.inbox import Source
from chalicelib.store import Record, Status
from local.resources import create_table
from training.layout import Review, Said

LABELS = ("bicycle", "motorcycle")

SAID: dict[str, Any] = {
    "label": "bicycle", "confidence": 0.61, "known": 0.9, "threshold": 0.8, "min_known": 0.5, "model": "old-1"
}  # fmt: skip
"""What the model says of a picture where nothing else is asked for."""


def review(by: str = "ann", at: str = "2026-01-01T00:00:00.000Z", note: str | None = None, **said: Any) -> Review:
    """A review as the manifest holds it."""
    return Review(id=f"id-{by}-{at}", by=by, at=at, note=note, said=Said(**SAID | said))


@dataclass(frozen=True)
class Desk:
    """Where pictures are held back and reviewed.

    Attributes:
        table: name of the table of records.
        bucket: name of the bucket, which keeps versions.
    """

    table: str
    bucket: str

    @classmethod
    def open(cls, name: str) -> "Desk":
        """An empty one; its table and its bucket bear the same name."""
        s3 = aws.client("s3")
        s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        create_table(aws.client("dynamodb"), name)
        return cls(name, name)

    def hold_back(self, key: str, picture: bytes, **said: Any) -> Record:
        """Keep a picture, and what the model said when it held it back."""
        put = aws.client("s3").put_object(Bucket=self.bucket, Key=f"inbox/{key}", Body=picture)
        source = Source(self.bucket, f"inbox/{key}", put["VersionId"], put["ETag"].strip('"'))
        words = SAID | said
        texts = {
            "id": workflow.identity(source),
            "status": Status.REVIEW,
            "s3_bucket": source.bucket,
            "s3_key": source.key,
            "version_id": source.version_id,
            "etag": source.etag,
            "created_at": store.now(),
            "updated_at": store.now(),
            "label": words["label"],
            "labels": json.dumps(LABELS),
            "known": json.dumps(words["known"]),
            "model": json.dumps(words["model"]),
        }
        numbers = {"attempt": 1} | {name: words[name] for name in ("confidence", "threshold", "min_known")}
        item = {name: {"S": text} for name, text in texts.items()} | {
            name: {"N": str(number)} for name, number in numbers.items()
        }
        aws.client("dynamodb").put_item(TableName=self.table, Item=item)
        return store.get(self.table, workflow.identity(source))

    def review(self, key: str, picture: bytes, label: str, by: str = "ann", note: str | None = None) -> Record:
        """The same, and what a person decides then."""
        return store.decide(self.table, self.hold_back(key, picture), label, by, note)
