"""The policy of a bucket that is not the stage's own: our roles let in and shut out again, all else left as it is."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from commandline import aws
from infrastructure.names import Names

Json = dict[str, Any]

SID = "SconesUnlimitedBackfill"
"""What the names of our statements begin with; only letters and digits are allowed in them."""

VERSION = "2012-10-17"


@dataclass(frozen=True)
class Access:
    """What two roles need in order to classify what lies below a prefix.

    Attributes:
        bucket: the bucket.
        prefix: what the keys begin with.
        lister: ARN of the role that lists, the state machine's.
        reader: ARN of the role that reads, a function's.
        stage: the prefix of the stage's names.
    """

    bucket: str
    prefix: str
    lister: str
    reader: str
    stage: str

    @property
    def statements(self) -> list[Json]:
        """What the bucket's policy has to say.

        The reader may list, too: without that, S3 calls an object that is gone forbidden rather than missing.
        """
        bucket = f"arn:aws:s3:::{self.bucket}"
        lists, reads = sids(self.stage, self.prefix)
        return [
            {
                "Sid": lists,
                "Effect": "Allow",
                "Principal": {"AWS": [self.lister, self.reader]},
                "Action": "s3:ListBucket",
                "Resource": bucket,
            },
            {
                "Sid": reads,
                "Effect": "Allow",
                "Principal": {"AWS": self.reader},
                "Action": "s3:GetObject",
                "Resource": f"{bucket}/{_literally(self.prefix)}*",
            },
        ]


def sids(stage: str, prefix: str) -> tuple[str, str]:
    """The names of our statements for a prefix: the one to list, and the one to read.

    Args:
        stage: the prefix of the stage's names.
        prefix: what the keys begin with.
    """
    place = hashlib.sha256(json.dumps([stage, prefix]).encode()).hexdigest()[:12]
    return f"{SID}Lists{place}", f"{SID}Reads{place}"


def read(bucket: str) -> Json:
    """The policy of a bucket; one without statements if it has none."""
    try:
        policy: Json = json.loads(aws.client("s3").get_bucket_policy(Bucket=bucket)["Policy"])
    except ClientError as error:
        if aws.error_code(error) != "NoSuchBucketPolicy":
            raise
        policy = {"Version": VERSION, "Statement": []}
    return policy


def missing(policy: Json, wanted: Sequence[Json]) -> list[Json]:
    """The statements that a policy lacks, or has in another wording.

    Args:
        policy: of the bucket.
        wanted: statements.
    """
    there = [_plain(one) for one in _listed(policy["Statement"])]
    return [one for one in wanted if _plain(one) not in there]


def merged(policy: Json, statements: Sequence[Json]) -> Json:
    """A policy with our statements, in the place of older ones of the same name, and with all others.

    Args:
        policy: of the bucket.
        statements: ours.
    """
    ours = {one["Sid"] for one in statements}
    others = [one for one in _listed(policy["Statement"]) if one.get("Sid") not in ours]
    return {**policy, "Statement": [*others, *statements]}


def write(bucket: str, policy: Json) -> None:
    """Put a policy in the place of the bucket's; one without statements deletes it.

    Args:
        bucket: the bucket.
        policy: all of it.
    """
    if policy["Statement"]:
        aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    else:
        aws.client("s3").delete_bucket_policy(Bucket=bucket)


def withdraw(names: Names, bucket: str, prefix: str) -> bool:
    """Take our statements for a prefix out of the bucket's policy again.

    Args:
        names: of the stage.
        bucket: the bucket.
        prefix: what the keys begin with.

    Returns:
        Whether there were any.
    """
    policy, ours = read(bucket), sids(names.prefix, prefix)
    statements = _listed(policy["Statement"])
    others = [one for one in statements if one.get("Sid") not in ours]
    if len(others) == len(statements):
        return False
    write(bucket, {**policy, "Statement": others})
    return True


def _literally(prefix: str) -> str:
    """A prefix as a policy has it, where these characters stand for others."""
    return re.sub(r"[*?$]", lambda found: f"${{{found[0]}}}", prefix)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(statement: Mapping[str, Any]) -> Json:
    """A statement whose single values are lists, and whose lists are in order: AWS may give it back in either form."""
    return {
        key: _plain(value) if isinstance(value, Mapping) else sorted(map(str, _listed(value)))
        for key, value in statement.items()
    }
