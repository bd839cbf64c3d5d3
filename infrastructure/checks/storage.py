"""Checks of what holds pictures and records: there, kept safe, and closed."""

import json
from collections.abc import Iterator

from commandline import aws
from infrastructure.checks.common import Finding, Json, Site, as_list, found, problem, warning
from infrastructure.names import INDEX, SURENESS_INDEX

KEY = [("id", "HASH")]
INDEXES = {
    INDEX: ([("status", "HASH"), ("updated_at", "RANGE")], "nobody finds the pictures that wait"),
    SURENESS_INDEX: ([("status", "HASH"), ("sureness", "RANGE")], "nobody can review the pictures that were held back"),
}
"""What the records are found by, and what happens where they are not."""

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def buckets(site: Site) -> Iterator[Finding]:
    """Whether the buckets are there, keep what is overwritten, and are closed to all others."""
    for bucket in (site.names.inbox_bucket, site.names.training_bucket):
        if found(aws.client("s3").head_bucket, Bucket=bucket) is None:
            yield problem(f"There is no bucket {bucket}.", site.up)
        else:
            yield from _bucket(site, bucket)


def _bucket(site: Site, bucket: str) -> Iterator[Finding]:
    s3 = aws.client("s3")
    if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        yield problem(f"{bucket} keeps no versions: a picture that is replaced while it waits is lost.", site.up)
    if found(s3.get_bucket_encryption, Bucket=bucket) is None:
        yield problem(f"{bucket} is not encrypted.", site.up)
    block = (found(s3.get_public_access_block, Bucket=bucket) or {}).get("PublicAccessBlockConfiguration", {})
    if not all(block.get(name) for name in BLOCKS):
        yield problem(f"{bucket} can be opened to the world.", site.up)
    policy = found(s3.get_bucket_policy, Bucket=bucket)
    if policy is None or not any(map(_refuses_plain_http, json.loads(policy["Policy"])["Statement"])):
        yield problem(f"{bucket} may be read and written without TLS.", site.up)


def _refuses_plain_http(statement: Json) -> bool:
    secure = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    everybody = statement.get("Principal") in ("*", {"AWS": "*"})
    everything = "s3:*" in as_list(statement.get("Action"))
    return statement["Effect"] == "Deny" and everybody and everything and str(secure).lower() == "false"


def table(site: Site) -> Iterator[Finding]:
    """Whether the table of records is there, can be searched, and cannot be lost by one mistake."""
    name = site.names.records_table
    there = (found(aws.client("dynamodb").describe_table, TableName=name) or {}).get("Table")
    if there is None:
        yield problem(f"There is no table {name}.", site.up)
        return
    if there["TableStatus"] not in ("ACTIVE", "UPDATING"):
        yield problem(f"The table {name} is {there['TableStatus']}.", "Wait a minute and look again.")
    if _key(there) != KEY:
        yield problem(
            f"The table {name} has another key than id.", f"It is another one: rename or remove it, then: {site.up}"
        )
    if not there.get("DeletionProtectionEnabled"):
        yield problem(f"One call deletes the table {name}: it is not protected.", site.up)
    if there.get("BillingModeSummary", {}).get("BillingMode") != "PAY_PER_REQUEST":
        yield warning(f"{name} has a fixed capacity, which many pictures at once exceed.", site.up)
    for index in INDEXES:
        yield from _index(site, there, index)
    yield from _backups(site, name)


def _key(there: Json) -> list[tuple[str, str]]:
    return [(one["AttributeName"], one["KeyType"]) for one in there["KeySchema"]]


def _index(site: Site, there: Json, name: str) -> Iterator[Finding]:
    index = next((one for one in there.get("GlobalSecondaryIndexes", []) if one["IndexName"] == name), None)
    key, without = INDEXES[name]
    if index is None or _key(index) != key or index["Projection"]["ProjectionType"] != "ALL":
        yield problem(f"The table lacks the index {name}: {without}.", site.up)
    elif index.get("IndexStatus", "ACTIVE") != "ACTIVE":
        yield problem(
            f"The index {name} is {index['IndexStatus']}.", "Wait until it is ACTIVE: minutes, hours if there is much."
        )


def _backups(site: Site, name: str) -> Iterator[Finding]:
    kept = aws.client("dynamodb").describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = kept.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    if recovery != "ENABLED":
        yield problem(f"What is deleted from {name} by mistake cannot be had back.", site.up)
