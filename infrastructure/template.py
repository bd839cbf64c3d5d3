"""The template as CloudFormation gets it: with the state machines in it, and handed over whatever its size."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from commandline import aws
from infrastructure import backfill
from infrastructure.errors import InfrastructureError
from infrastructure.names import Names

TEMPLATE = Path(__file__).with_name("template.yaml")

MAX_BODY_BYTES = 51_200
"""UTF-8 bytes of a template that is sent along with a request:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""

MAX_TEMPLATE_BYTES = 1_000_000
"""UTF-8 bytes of a template that CloudFormation reads in S3; the same page says 1 MB."""

DEFINITION_FILE = re.compile(r"^( *)DefinitionS3Location: *(\S+) *$", re.MULTILINE)
"""The notation of `aws cloudformation package` for a file that belongs into a template."""

COMMENT = re.compile(r"^ *(#.*)?\n", re.MULTILINE)
"""Lines that say nothing to CloudFormation. The template has no text of several lines that one could stand in."""

HOME = "us-east-1"
"""The region whose name S3 does not take as a place for buckets."""


def render() -> str:
    """The template as it is sent: without comments, and with the definitions of the state machines in it.

    It is the same for all stages, which differ in their parameters.

    Raises:
        InfrastructureError: it is larger than CloudFormation takes.
    """
    body = DEFINITION_FILE.sub(_definition, COMMENT.sub("", TEMPLATE.read_text(encoding="utf-8")))
    if (size := len(body.encode())) > MAX_TEMPLATE_BYTES:
        raise InfrastructureError(
            f"{TEMPLATE.name} has {size:,} bytes with the state machines in it, and CloudFormation takes "
            f"{MAX_TEMPLATE_BYTES:,}. Split it."
        )
    return body


@contextmanager
def handed_over(names: Names, body: str) -> Iterator[dict[str, str]]:
    """A template as a parameter of CloudFormation's operations, until it has been read.

    One that is too large for a request lies in a bucket of its own meanwhile, which nobody else can read, and which is
    gone afterwards.

    Args:
        names: of the stage.
        body: the template.
    """
    if len(body.encode()) <= MAX_BODY_BYTES:
        yield {"TemplateBody": body}
        return
    s3, bucket = aws.client("s3"), f"{names.prefix}-template-{uuid4().hex[:12]}"
    place = {} if names.region == HOME else {"CreateBucketConfiguration": {"LocationConstraint": names.region}}
    s3.create_bucket(Bucket=bucket, **place)
    try:
        s3.put_object(Bucket=bucket, Key=TEMPLATE.name, Body=body.encode(), ExpectedBucketOwner=names.account)
        yield {"TemplateURL": f"https://{bucket}.s3.{names.region}.amazonaws.com/{TEMPLATE.name}"}
    finally:
        s3.delete_object(Bucket=bucket, Key=TEMPLATE.name, ExpectedBucketOwner=names.account)
        s3.delete_bucket(Bucket=bucket, ExpectedBucketOwner=names.account)


def _definition(line: re.Match[str]) -> str:
    """A line that names a file, with the file's text in its place."""
    path = TEMPLATE.parent / line[2]
    text = backfill.definition() if path.name == backfill.OUTER.name else path.read_text("utf-8")
    minified = json.dumps(json.loads(text), separators=(",", ":"))
    return f"{line[1]}DefinitionString: {json.dumps(minified)}"
