"""Checks of what tells that something is wrong, and of what it tells."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from commandline import aws
from infrastructure.checks.common import Finding, NotThere, Site, enumerated, found, pages, problem, warning
from infrastructure.names import INDEX

STUCK = timedelta(hours=2)
"""After which a picture counts as stuck: an execution may take an hour, and what was lost is started again every
hour."""

SHOWN = 100
"""Records that are read, at most, to tell how many are stuck."""


def topics(site: Site) -> Iterator[Finding]:
    """Whether the topics are there, and alarms reach somebody."""
    for name in (site.names.alarms_topic, site.names.held_back_topic):
        arn = site.names.arn("sns", name)
        if found(aws.client("sns").get_topic_attributes, TopicArn=arn) is None:
            yield problem(f"There is no topic {name}.", site.up)
            continue
        subscriptions = list(pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=arn))
        pending = [one["Endpoint"] for one in subscriptions if not one["SubscriptionArn"].startswith("arn:")]
        if pending:
            yield warning(
                f"{enumerated(pending)} has not agreed to hear of {name} yet.",
                "Follow the link in the e-mail from AWS; look among the junk, too. It holds for three days.",
            )
        elif not subscriptions and name == site.names.alarms_topic:
            yield warning(
                "Nobody hears of alarms.",
                f"Run `python -m infrastructure up --stage {site.names.stage} --alarm-email ADDRESS`.",
            )


def alarms(site: Site) -> Iterator[Finding]:
    """Whether an alarm rings."""
    there = list(pages("cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=f"{site.names.prefix}-"))
    if not there:
        yield warning("There are no alarms: nobody is told when something fails.", site.up)
    for alarm in there:
        if alarm["StateValue"] == "ALARM":
            yield problem(
                f"The alarm {alarm['AlarmName']} rings: {alarm.get('AlarmDescription') or alarm.get('StateReason')}",
                "docs/operations.md says what each alarm means and what to do.",
            )


def queue(site: Site) -> Iterator[Finding]:
    """Whether the queue of lost events is there, and empty."""
    name, sqs = site.names.lost_events, aws.client("sqs")
    url = (found(sqs.get_queue_url, QueueName=name) or {}).get("QueueUrl")
    if url is None:
        yield problem(f"There is no queue {name}: events that fail are lost.", site.up)
        return
    counted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counted)["Attributes"]
    count = sum(int(counts[one]) for one in counted)
    if count:
        yield problem(
            f"Lost events are in {name}: {count}. Functions failed for them each time that they were tried.",
            f"Look at one: `aws sqs receive-message --queue-url {url}`; responsePayload says why. Mend that, run "
            f"`python -m infrastructure reconcile --stage {site.names.stage}`, then `aws sqs purge-queue --queue-url "
            f"{url}`.",
        )


def unfinished(site: Site) -> Iterator[Finding]:
    """Whether a picture is stuck."""
    until = (datetime.now(UTC) - STUCK).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    page = found(
        aws.client("dynamodb").query,
        TableName=site.names.records_table,
        IndexName=INDEX,
        KeyConditionExpression="#status = :status AND updated_at < :until",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":status": {"S": "PENDING"}, ":until": {"S": until}},
        Limit=SHOWN,
    )
    if page is None:
        raise NotThere
    stuck = page["Items"]
    if stuck:
        count = f"{len(stuck)} or more" if "LastEvaluatedKey" in page else str(len(stuck))
        yield problem(
            f"Pictures that have been PENDING for more than {STUCK.seconds // 3600} hours: {count}, like "
            f"{stuck[0]['id']['S']}.",
            f"Run `python -m infrastructure reconcile --stage {site.names.stage}`, and look at the executions of these "
            "ids if it does not help.",
        )
