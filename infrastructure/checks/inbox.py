"""Checks of the way in: what tells of a picture, what stands in its way, and what must never come in there."""

import json
from collections.abc import Iterator
from typing import Any

from commandline import aws
from infrastructure.checks.common import Finding, Json, NotThere, Site, enumerated, found, problem, warning
from infrastructure.checks.functions import allows, condition, policy_of
from infrastructure.names import INBOX_PREFIX, TRIGGER

CREATED = "s3:ObjectCreated:"
KINDS = {
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
}
"""Where a bucket's configuration has its rules, and who is told by each."""


def clashes(site: Site) -> Iterator[Finding]:
    """Whether rules of others stand in the way of the trigger: S3 refuses two that cover the same picture.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    for told, rule in _rules(site):
        if told != site.names.function_arn(TRIGGER) and _covers_inbox(rule):
            yield problem(
                f"A rule of {site.names.inbox_bucket} tells {told} of pictures below {prefix(rule)!r}, too; S3 takes "
                f"no two rules for the same picture.",
                f"Remove the rule {rule.get('Id', '')} in the bucket's event notifications, or give it a prefix that "
                f"does not overlap {INBOX_PREFIX}; or send the bucket's events to EventBridge and listen there.",
            )


def trigger(site: Site) -> Iterator[Finding]:
    """Whether pictures that are dropped reach the function, and reach it once."""
    bucket = site.names.inbox_bucket
    if found(aws.client("s3").head_bucket, Bucket=bucket) is None:
        raise NotThere
    site.made([TRIGGER])
    ours = [rule for told, rule in _rules(site) if told == site.names.function_arn(TRIGGER)]
    if not ours:
        yield problem(f"{bucket} tells nobody of pictures: {TRIGGER} is not called.", site.deploy)
    if len(ours) > 1:
        ids = ", ".join(str(rule.get("Id")) for rule in ours)
        yield problem(
            f"{bucket} has {len(ours)} rules that call {TRIGGER}: {ids}.",
            f"Remove all but one in the bucket's event notifications, then: {site.deploy}",
        )
    for rule in ours:
        if prefix(rule) != INBOX_PREFIX or _suffix(rule):
            yield problem(
                f"{TRIGGER} is called for {prefix(rule)!r}{' … ' + repr(_suffix(rule)) if _suffix(rule) else ''}, not "
                f"for {INBOX_PREFIX!r}.",
                f"Remove this rule in the bucket's event notifications, then: {site.deploy}",
            )
        if f"{CREATED}*" not in rule["Events"]:
            yield problem(f"{TRIGGER} is called for {', '.join(rule['Events'])}, not for {CREATED}*.", site.deploy)
    yield from _may_call(site, f"arn:aws:s3:::{bucket}")


def _may_call(site: Site, bucket: str) -> Iterator[Finding]:
    statement = allows(policy_of(site, TRIGGER), "s3", bucket)
    if statement is None:
        yield problem(f"{TRIGGER} does not let {bucket} call it.", site.deploy)
    elif condition(statement, "AWS:SourceAccount") != [site.names.account]:
        yield warning(
            f"{TRIGGER} lets a bucket of this name call it, whosever it is.",
            f"Run `aws lambda remove-permission --function-name {site.names.function(TRIGGER)} --statement-id "
            f"{statement.get('Sid')}`, then: {site.deploy}",
        )


def _rules(site: Site) -> Iterator[tuple[str, Json]]:
    """Who is told of new objects in the inbox bucket, and by which rule; nothing where there is no bucket."""
    config = found(aws.client("s3").get_bucket_notification_configuration, Bucket=site.names.inbox_bucket)
    for kind, told in KINDS.items():
        for rule in (config or {}).get(kind, []):
            if any(event.startswith(CREATED) for event in rule["Events"]):
                yield rule[told], rule


def _covers_inbox(rule: Json) -> bool:
    return overlaps(prefix(rule), INBOX_PREFIX)


def overlaps(one: str, other: str) -> bool:
    """Whether a key can begin with both."""
    return one.startswith(other) or other.startswith(one)


def prefix(rule: Json) -> str:
    """What the keys begin with that a rule is for."""
    return _filter(rule, "prefix")


def _suffix(rule: Json) -> str:
    return _filter(rule, "suffix")


def _filter(rule: Json, name: str) -> str:
    rules = rule.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return next((str(one["Value"]) for one in rules if one["Name"].lower() == name), "")


def recursion(site: Site) -> Iterator[Finding]:
    """Whether something writes below the inbox what would be classified again, and again."""
    inbox = site.names.inbox_bucket
    if found(aws.client("s3").head_bucket, Bucket=inbox) is None:
        raise NotThere
    writers = [
        *((f"the capture of {site.endpoint_name}", place) for place in _capture(site)),
        *(_logs_and_copies(inbox)),
        *(_logs_and_copies(site.names.training_bucket)),
        *((f"the results of {name}", place) for name in site.names.machines for place in _results(site, name)),
    ]
    inside = [who for who, (bucket, key) in writers if bucket == inbox and overlaps(key, INBOX_PREFIX)]
    if inside:
        yield problem(
            f"Below {INBOX_PREFIX} of {inbox} lies what the system itself writes: {enumerated(inside)}. Each of these "
            "objects is taken for a picture.",
            f"Send it to {site.names.training_bucket}.",
        )


Place = tuple[str, str]
"""A bucket, and the beginning of keys."""


def _capture(site: Site) -> Iterator[Place]:
    place = (site.endpoint_config or {}).get("DataCaptureConfig", {}).get("DestinationS3Uri")
    if place:
        bucket, _, key = str(place).removeprefix("s3://").partition("/")
        yield bucket, key


def _logs_and_copies(bucket: str) -> Iterator[tuple[str, Place]]:
    """Where S3 itself writes what happens in a bucket, and copies of what lies in it."""
    s3 = aws.client("s3")
    target = (found(s3.get_bucket_logging, Bucket=bucket) or {}).get("LoggingEnabled")
    if target:
        yield f"the access log of {bucket}", (target["TargetBucket"], target.get("TargetPrefix", ""))
    copies = (found(s3.get_bucket_replication, Bucket=bucket) or {}).get("ReplicationConfiguration", {})
    for rule in copies.get("Rules", []):
        kept = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
        yield f"copies of {bucket}", (rule["Destination"]["Bucket"].rpartition(":")[2], kept)


def _results(site: Site, machine: str) -> Iterator[Place]:
    """Where the maps of a state machine write their results, as far as that stands in its definition."""
    there = site.machine(machine)
    for writer in _writers(json.loads(there["definition"])) if there else ():
        parameters = writer.get("Parameters", {})
        yield str(parameters.get("Bucket", "")), str(parameters.get("Prefix", ""))


def _writers(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        if isinstance(value.get("ResultWriter"), dict):
            yield value["ResultWriter"]
        for one in value.values():
            yield from _writers(one)
