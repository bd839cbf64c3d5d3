"""`status`: what is there of a stage, and how it does."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import ClientError
from rich.table import Column, Table

from commandline import aws, console
from infrastructure import chalice_config, options, stack
from infrastructure.chalice_config import Stage
from infrastructure.leftovers import asked
from infrastructure.names import INDEX, Names

WIDTH = 80
"""Columns of a terminal that the table fits into."""

WAITING = {"PENDING": "pictures unfinished", "REVIEW": "pictures for a person"}
"""What is counted by reading the index, and how it is called."""

ENOUGH = 10_000
"""As far as is counted: records of 1 KB cost 1,250 read request units then, a small part of a cent."""

LATE = 900
"""Seconds from which on an unfinished picture is lost rather than on its way, as `reconcile` sees it."""

NOTHING = "not there"


@dataclass(frozen=True)
class Line:
    """One thing of a stage.

    Attributes:
        what: in words.
        value: how it is, as JSON takes it; None if it is not there.
        text: the same for people.
        is_well: whether nobody has to look after it.
    """

    what: str
    value: Any
    text: str
    is_well: bool


@click.command(name="status", short_help="Show what is there, and how it does.")
@options.stage
@options.chalice
@options.as_json
def command(stage: str, folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Show what is there of a stage, and how it does.

    How many records there are in all is what DynamoDB counted within the last six hours; what waits is counted now.
    `doctor` checks more, and says how to mend it.
    """
    names = options.names(stage, folder)
    lines = look(names, chalice_config.read(folder, stage))
    if as_json:
        console.print_json({"stage": stage, "status": [asdict(one) for one in lines]})
    else:
        console.results.print(_table(names, lines))


def look(names: Names, known: Stage) -> list[Line]:
    """How everything of a stage is.

    Args:
        names: of the stage.
        known: its functions and variables.
    """
    return [
        _stack(names),
        _functions(names, known.functions),
        _endpoint(known.variables.get(chalice_config.ENDPOINT, names.prefix)),
        *_records(names),
        _lost(names),
        _alarms(names),
    ]


def _table(names: Names, lines: Sequence[Line]) -> Table:
    table = Table(
        Column("what", no_wrap=True),
        Column("how it is", overflow="fold", ratio=1),
        title=f"{names.prefix} in account {names.account}, {names.region}",
        width=WIDTH,
    )
    for one in lines:
        table.add_row(one.what, one.text, style=None if one.is_well else "bold yellow")
    return table


def _stack(names: Names) -> Line:
    status = (stack.describe(names) or {}).get("StackStatus")
    return Line("stack", status, status or NOTHING, status in stack.WELL or status == "UPDATE_ROLLBACK_COMPLETE")


def _functions(names: Names, functions: Sequence[str]) -> Line:
    client = aws.client("lambda")
    there = [one for one in functions if asked(client.get_function_configuration, FunctionName=names.function(one))]
    missing = [one for one in functions if one not in there]
    text = f"{len(there)} of {len(functions)}" + (f"; not there: {', '.join(missing)}" if there and missing else "")
    return Line("functions", {"there": there, "missing": missing}, text if there else NOTHING, not missing)


def _endpoint(name: str) -> Line:
    try:
        status = aws.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"]
    except ClientError as error:
        if aws.error_code(error) != "ValidationException":
            raise
        status = None
    return Line("endpoint", status, status or NOTHING, status == "InService")


def _records(names: Names) -> list[Line]:
    found = asked(aws.client("dynamodb").describe_table, TableName=names.records_table)
    if found is None:
        return [Line("records", None, NOTHING, is_well=False)]
    count = found["Table"]["ItemCount"]
    counts = {status: _count(names, status) for status in WAITING}
    return [
        Line("records", count, f"about {count:,}", is_well=True),
        *(Line(WAITING[one], counts[one], _at_least(counts[one]), is_well=True) for one in WAITING),
        _oldest(names),
    ]


def _at_least(count: int) -> str:
    return f"more than {ENOUGH:,}" if count > ENOUGH else f"{count:,}"


def _count(names: Names, status: str) -> int:
    count = 0
    for page in aws.client("dynamodb").get_paginator("query").paginate(Select="COUNT", **_query(names, status)):
        count += page["Count"]
        if count > ENOUGH:
            break
    return count


def _oldest(names: Names) -> Line:
    items = aws.client("dynamodb").query(Limit=1, **_query(names, "PENDING"))["Items"]
    if not items:
        return Line("oldest unfinished", None, "none", is_well=True)
    since = datetime.fromisoformat(items[0]["updated_at"]["S"])
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    return Line("oldest unfinished", seconds, f"for {_duration(seconds)}", seconds < LATE)


def _query(names: Names, status: str) -> dict[str, Any]:
    return {
        "TableName": names.records_table,
        "IndexName": INDEX,
        "KeyConditionExpression": "#status = :status",
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {":status": {"S": status}},
    }


def _duration(seconds: int) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _lost(names: Names) -> Line:
    sqs = aws.client("sqs")
    found = asked(sqs.get_queue_url, QueueName=names.lost_events)
    if found is None:
        return Line("lost events", None, NOTHING, is_well=False)
    attribute = "ApproximateNumberOfMessages"
    told = sqs.get_queue_attributes(QueueUrl=found["QueueUrl"], AttributeNames=[attribute])
    count = int(told["Attributes"][attribute])
    return Line("lost events", count, f"{count:,}; `reconcile` starts their pictures" if count else "none", not count)


def _alarms(names: Names) -> Line:
    pages = aws.client("cloudwatch").get_paginator("describe_alarms")
    on = [
        one["AlarmName"]
        for page in pages.paginate(AlarmNamePrefix=f"{names.prefix}-")
        for one in page["MetricAlarms"]
        if one["StateValue"] == "ALARM"
    ]
    return Line("alarms that are on", on, ", ".join(on) or "none", not on)
