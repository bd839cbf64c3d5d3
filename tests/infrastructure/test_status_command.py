import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from infrastructure.commands import status
from infrastructure.names import Names
from tests.infrastructure.commands import run_well

NAMES = Names("dev", "123456789012", "us-east-1")


def look(chalice: Path) -> dict[str, Any]:
    """By what it is called, value and text of each line, and whether it is well."""
    lines = json.loads(run_well("status", "--json", "--chalice", chalice).stdout)["status"]
    return {one["what"]: (one["value"], one["text"], one["is_well"]) for one in lines}


def add_record(status: str, hours: float) -> None:
    at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    item: dict[str, Any] = {"id": {"S": f"{status}-{hours}"}, "status": {"S": status}, "updated_at": {"S": at}}
    boto3.client("dynamodb").put_item(TableName=NAMES.records_table, Item=item)


def test_where_nothing_is_there_everything_says_so(account: dict[str, str], chalice: Path) -> None:
    seen = look(chalice)
    for what in ("stack", "functions", "endpoint", "records", "lost events"):
        assert seen[what][1:] == ("not there", False)


def test_after_up_the_functions_and_the_endpoint_are_missing(account: dict[str, str], chalice: Path) -> None:
    run_well("up", "--yes", "--chalice", chalice)
    seen = look(chalice)
    assert seen["stack"] == ("CREATE_COMPLETE", "CREATE_COMPLETE", True)
    assert seen["functions"][1] == "not there"
    assert seen["endpoint"][1] == "not there"
    assert seen["records"] == (0, "about 0", True)
    assert seen["oldest unfinished"] == (None, "none", True)
    assert seen["lost events"] == (0, "none", True)
    assert seen["alarms that are on"] == ([], "none", True)


def test_what_waits_is_counted_and_the_oldest_is_told(account: dict[str, str], chalice: Path) -> None:
    run_well("up", "--yes", "--chalice", chalice)
    for hours in (0.0, 5.0, 1.0):
        add_record("PENDING", hours)
    add_record("REVIEW", 30.0)
    add_record("ACCEPTED", 1.0)
    seen = look(chalice)
    assert seen["records"] == (5, "about 5", True)
    assert seen["pictures unfinished"][0] == 3
    assert seen["pictures for a person"][0] == 1
    assert seen["oldest unfinished"][1:] == ("for 5 h", False)
    assert 5 * 3600 <= seen["oldest unfinished"][0] < 5 * 3600 + 60


def test_counting_ends_somewhere(account: dict[str, str], chalice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_well("up", "--yes", "--chalice", chalice)
    add_record("PENDING", 0.1)
    add_record("PENDING", 0.0)
    monkeypatch.setattr(status, "ENOUGH", 1)
    assert look(chalice)["pictures unfinished"][1] == "more than 1"


def test_lost_events_and_alarms_are_told(account: dict[str, str], chalice: Path) -> None:
    run_well("up", "--yes", "--chalice", chalice)
    sqs, cloudwatch = boto3.client("sqs"), boto3.client("cloudwatch")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=NAMES.lost_events)["QueueUrl"], MessageBody="{}")
    for name in ("scones-unlimited-dev-mine", "scones-unlimited-prod-theirs"):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            MetricName="x",
            Namespace="x",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    seen = look(chalice)
    assert seen["lost events"] == (1, "1; `reconcile` starts their pictures", False)
    assert seen["alarms that are on"] == (["scones-unlimited-dev-mine"], "scones-unlimited-dev-mine", False)


def test_all_functions_are_there_once_they_are_deployed_and_one_that_is_missing_is_named(
    deployed: Names, chalice: Path
) -> None:
    assert look(chalice)["functions"][1:] == ("9 of 9", True)
    boto3.client("lambda").delete_function(FunctionName=deployed.function("classify"))
    assert look(chalice)["functions"][1:] == ("8 of 9; not there: classify", False)


def test_the_table_fits_a_terminal(account: dict[str, str], chalice: Path) -> None:
    run_well("up", "--yes", "--chalice", chalice)
    shown = run_well("status", "--chalice", chalice).output
    assert "stack" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (86400 * 3, "3 d")]
)
def test_a_time_is_told_in_one_unit(seconds: int, text: str) -> None:
    assert status._duration(seconds) == text
