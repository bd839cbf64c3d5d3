import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from rich.console import Console

from infrastructure import stack
from infrastructure.errors import StackFailed
from infrastructure.names import Names
from infrastructure.stack import Change, Plan
from tests.infrastructure.conftest import forget_clients
from tests.infrastructure.templates import QUEUE, TABLE, write
from tests.training.recorder import Recorder

NAMES = Names("dev", "123456789012", "us-east-1")
STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/scones-unlimited-dev/1"
CHANGE_SET = "arn:aws:cloudformation:us-east-1:123456789012:changeSet/up/1"
PARAMETERS = {"Stage": "dev"}


@pytest.fixture
def told() -> list[str]:
    return []


def up(told: list[str]) -> Plan | None:
    planned = stack.plan(NAMES, PARAMETERS, told.append)
    if planned:
        stack.apply(planned, told.append)
    return planned


@pytest.fixture
def recorder(template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """AWS in this process, for what the embedded one does not do: fail half-way."""
    recorder = Recorder()
    recorder.answers |= {
        "GetTemplateSummary": lambda _: {"Parameters": [{"ParameterKey": "Stage"}]},
        "CreateChangeSet": lambda _: {"Id": CHANGE_SET, "StackId": STACK},
        "DescribeChangeSet": lambda _: {"Status": "CREATE_COMPLETE", "Changes": []},
        "ListStackResources": lambda _: {"StackResourceSummaries": []},
        "DescribeTable": lambda _: {"Table": {"TableStatus": "ACTIVE", "DeletionProtectionEnabled": True}},
    }
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", recorder.session())
    monkeypatch.setattr(stack, "POLL_INTERVAL", 0.0)
    forget_clients()
    yield recorder
    forget_clients()


def is_there(recorder: Recorder, *statuses: str) -> None:
    """The stack is in one status after the other, then gone."""
    left = list(statuses)

    def answer(_: dict[str, Any]) -> dict[str, Any]:
        if not left:
            return {"Error": {"Code": "ValidationError", "Message": "Stack with id x does not exist"}}
        return {"Stacks": [{"StackId": STACK, "StackName": "x", "StackStatus": left.pop(0)}]}

    recorder.answers["DescribeStacks"] = answer


def happens(recorder: Recorder, *events: tuple[str, str, str]) -> None:
    """Resource, status and reason of events, oldest first; they come once the stack is being changed."""
    changing = ("ExecuteChangeSet", "DeleteStack")

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        begun = any(name in changing for name, _ in recorder.sent)
        found = [
            {
                "StackId": STACK,
                "StackName": "x",
                "EventId": str(number),
                "Timestamp": datetime(2026, 1, 1, tzinfo=UTC),
                "LogicalResourceId": resource,
                "PhysicalResourceId": STACK if resource == NAMES.prefix else resource,
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
            }
            for number, (resource, status, reason) in enumerate(events)
        ]
        page = int(params.get("NextToken", "0"))
        newest_first = found[::-1][page * 2 : page * 2 + 2] if begun else []
        more = {"NextToken": str(page + 1)} if begun and len(found) > page * 2 + 2 else {}
        return {"StackEvents": newest_first, **more}

    recorder.answers["DescribeStackEvents"] = answer


def test_a_first_plan_adds_everything_and_a_second_finds_nothing(
    account: dict[str, str], template: Path, told: list[str]
) -> None:
    planned = up(told)
    assert planned
    assert planned.is_new
    assert {(one.action, one.kind) for one in planned.changes} == {
        ("Add", "AWS::SQS::Queue"),
        ("Add", "AWS::DynamoDB::Table"),
    }
    assert "CREATE_COMPLETE" in told[-1]
    assert boto3.client("sqs").get_queue_url(QueueName=NAMES.lost_events)
    assert stack.plan(NAMES, PARAMETERS, told.append) is None


def test_what_the_stack_makes_bears_our_tags(account: dict[str, str], template: Path, told: list[str]) -> None:
    up(told)
    found = stack.describe(NAMES)
    assert found
    assert {one["Key"]: one["Value"] for one in found["Tags"]} == {
        "project": "scones-unlimited",
        "stage": "dev",
        "made-by": "infrastructure",
    }


def test_a_parameter_that_is_not_given_keeps_its_value(
    account: dict[str, str], template: Path, told: list[str]
) -> None:
    planned = stack.plan(NAMES, {**PARAMETERS, "Days": "7"}, told.append)
    assert planned
    stack.apply(planned, told.append)
    write(template, QUEUE)
    up(told)
    found = stack.describe(NAMES)
    assert found
    assert {"ParameterKey": "Days", "ParameterValue": "7"} in found["Parameters"]


def test_a_resource_whose_content_would_go_is_shouted_and_comes_first(
    account: dict[str, str], template: Path, told: list[str]
) -> None:
    up(told)
    write(template, QUEUE.replace("Lost:", "ALost:").replace("lost-events", "other"), QUEUE)
    planned = stack.plan(NAMES, PARAMETERS, told.append)
    assert planned
    assert [one.resource for one in planned.losses] == ["Records"]
    shown = as_text(planned)
    assert shown.index("Records") < shown.index("ALost")
    assert "LOSES ITS CONTENT" in shown


@pytest.mark.parametrize(
    ("change", "loses"),
    [
        (Change("Modify", "Inbox", "AWS::S3::Bucket", "False"), False),
        (Change("Modify", "Inbox", "AWS::S3::Bucket", "True"), True),
        (Change("Modify", "Inbox", "AWS::S3::Bucket", "Conditional"), True),
        (Change("Remove", "Log", "AWS::Logs::LogGroup", ""), True),
        (Change("Add", "Log", "AWS::Logs::LogGroup", ""), False),
        (Change("Modify", "Role", "AWS::IAM::Role", "True"), False),
    ],
)
def test_only_what_holds_something_can_lose_it(change: Change, loses: bool) -> None:  # noqa: FBT001
    assert change.loses_content is loses
    shown = as_text(Plan(NAMES, "x", "y", is_new=False, changes=(change,)))
    assert ("LOSES ITS CONTENT" in shown) is loses


def as_text(planned: Plan) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(stack.show(planned))
    return captured.get()


def test_a_plan_that_is_discarded_leaves_nothing(account: dict[str, str], template: Path, told: list[str]) -> None:
    planned = stack.plan(NAMES, PARAMETERS, told.append)
    assert planned
    stack.discard(planned)
    assert stack.describe(NAMES) is None


def test_an_update_that_is_discarded_leaves_the_stack_as_it_was(
    account: dict[str, str], template: Path, told: list[str]
) -> None:
    up(told)
    write(template, QUEUE)
    planned = stack.plan(NAMES, PARAMETERS, told.append)
    assert planned
    stack.discard(planned)
    assert len(list(stack.resources(NAMES))) == 2
    left = boto3.client("cloudformation").list_change_sets(StackName=NAMES.prefix)["Summaries"]
    assert not [one for one in left if one["ExecutionStatus"] == "AVAILABLE"]


def test_a_plan_that_nobody_finished_is_deleted_and_made_again(
    account: dict[str, str], template: Path, told: list[str]
) -> None:
    assert stack.plan(NAMES, PARAMETERS, told.append)
    assert stack.describe(NAMES)
    assert up(told)
    assert "was planned once and never made" in told[0]
    found = stack.describe(NAMES)
    assert found
    assert found["StackStatus"] == "CREATE_COMPLETE"


def test_a_stack_is_deleted_once_and_the_second_time_there_is_none(
    account: dict[str, str], template: Path, told: list[str]
) -> None:
    up(told)
    assert stack.delete(NAMES, told.append)
    assert "DELETE_COMPLETE" in told[-1]
    assert stack.describe(NAMES) is None
    assert not stack.delete(NAMES, told.append)
    assert not list(stack.resources(NAMES))


def test_the_protection_of_the_table_is_taken_away_once(
    account: dict[str, str], template: Path, told: list[str]
) -> None:
    assert not stack.unprotect(NAMES)
    write(template, TABLE.replace("BillingMode", "DeletionProtectionEnabled: true\n      BillingMode"))
    up(told)
    assert stack.unprotect(NAMES)
    assert not stack.unprotect(NAMES)


def test_a_template_that_cloudformation_refuses_is_told_and_leaves_nothing(recorder: Recorder, told: list[str]) -> None:
    is_there(recorder)
    recorder.answers["DescribeChangeSet"] = lambda _: {"Status": "FAILED", "StatusReason": "Unresolved resource [X]."}
    with pytest.raises(StackFailed, match=r"cannot plan scones-unlimited-dev: Unresolved resource \[X\]"):
        stack.plan(NAMES, PARAMETERS, told.append)
    assert recorder.of("DeleteStack") == [{"StackName": STACK}]


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        "No updates are to be performed.",
    ],
)
def test_nothing_to_change_is_no_failure(recorder: Recorder, told: list[str], reason: str) -> None:
    is_there(recorder, "UPDATE_COMPLETE")
    recorder.answers["DescribeChangeSet"] = lambda _: {"Status": "FAILED", "StatusReason": reason}
    assert stack.plan(NAMES, PARAMETERS, told.append) is None
    assert recorder.of("DeleteChangeSet") == [{"ChangeSetName": CHANGE_SET}]


def test_all_pages_of_a_plan_are_read_once_it_is_thought_through(recorder: Recorder, told: list[str]) -> None:
    is_there(recorder)
    seen = []

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        seen.append(params)
        if len(seen) == 1:
            return {"Status": "CREATE_IN_PROGRESS"}
        name = "B" if "NextToken" in params else "A"
        change = {"Action": "Add", "LogicalResourceId": name, "ResourceType": "AWS::SQS::Queue"}
        more = {} if "NextToken" in params else {"NextToken": "more"}
        return {"Status": "CREATE_COMPLETE", "Changes": [{"ResourceChange": change}], **more}

    recorder.answers["DescribeChangeSet"] = answer
    planned = stack.plan(NAMES, PARAMETERS, told.append)
    assert planned
    assert [one.resource for one in planned.changes] == ["A", "B"]


PLAN = Plan(NAMES, CHANGE_SET, STACK, is_new=True, changes=(Change("Add", "Topic", "AWS::SNS::Topic", ""),))


def test_events_are_told_once_and_in_order_however_many_pages_they_fill(recorder: Recorder, told: list[str]) -> None:
    happens(
        recorder,
        (NAMES.prefix, "CREATE_IN_PROGRESS", "User Initiated"),
        ("Topic", "CREATE_IN_PROGRESS", ""),
        ("Topic", "CREATE_COMPLETE", ""),
        ("Queue", "CREATE_COMPLETE", "[it] is there"),
        (NAMES.prefix, "CREATE_COMPLETE", ""),
    )
    stack.apply(PLAN, told.append)
    assert len(told) == 5
    assert [re.sub(r"\[/?[a-z]*\]", "", one).split()[1:3] for one in told[1:]] == [
        ["CREATE_IN_PROGRESS", "Topic"],
        ["CREATE_COMPLETE", "Topic"],
        ["CREATE_COMPLETE", "Queue"],
        ["CREATE_COMPLETE", NAMES.prefix],
    ]
    assert r"\[it] is there" in told[3]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("ROLLBACK_COMPLETE", "What had been made is removed again"),
        ("ROLLBACK_FAILED", "Mend this, and run `up` again"),
        ("UPDATE_ROLLBACK_COMPLETE", "Everything is as it was before"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name scones-unlimited-dev"),
    ],
)
def test_a_failure_names_the_first_resource_that_failed_by_itself_and_what_to_do(
    recorder: Recorder, told: list[str], status: str, advice: str
) -> None:
    happens(
        recorder,
        (NAMES.prefix, "CREATE_IN_PROGRESS", ""),
        ("Queue", "CREATE_FAILED", "Resource creation cancelled"),
        ("Topic", "CREATE_FAILED", "No permission to call SNS."),
        ("Table", "DELETE_FAILED", "Later"),
        (NAMES.prefix, status, ""),
    )
    with pytest.raises(StackFailed, match=rf"ended as {status}\. Topic failed: No permission to call SNS\. .*{advice}"):
        stack.apply(PLAN, told.append)


def test_a_name_that_is_taken_is_explained(recorder: Recorder, told: list[str]) -> None:
    happens(recorder, ("Log", "CREATE_FAILED", "/aws/x already exists"), (NAMES.prefix, "ROLLBACK_COMPLETE", ""))
    with pytest.raises(StackFailed, match="Something of this name is there that does not belong to the stack"):
        stack.apply(PLAN, told.append)


def test_a_deletion_that_fails_says_so(recorder: Recorder, told: list[str]) -> None:
    is_there(recorder, "CREATE_COMPLETE")
    happens(recorder, ("Inbox", "DELETE_FAILED", "The bucket is not empty"), (NAMES.prefix, "DELETE_FAILED", ""))
    with pytest.raises(StackFailed, match=r"Inbox failed: The bucket is not empty\. .*run `down` again"):
        stack.delete(NAMES, told.append)


@pytest.mark.parametrize("status", sorted(stack.HALF_MADE))
def test_a_first_creation_that_failed_is_deleted_with_its_table_and_made_again(
    recorder: Recorder, told: list[str], status: str
) -> None:
    is_there(recorder, status, status)
    happens(recorder, (NAMES.prefix, "DELETE_COMPLETE", ""))
    planned = stack.plan(NAMES, PARAMETERS, told.append)
    assert planned
    assert planned.is_new
    assert f"failed ({status})" in told[0]
    done = [name for name, _ in recorder.sent if name in ("UpdateTable", "DeleteStack", "CreateChangeSet")]
    assert done == ["UpdateTable", "DeleteStack", "CreateChangeSet"]
    assert recorder.of("CreateChangeSet")[0]["ChangeSetType"] == "CREATE"


@pytest.mark.parametrize(
    ("status", "advice"), [("DELETE_FAILED", "Run `down --stage dev`"), ("UPDATE_ROLLBACK_FAILED", "continue-update")]
)
def test_where_nothing_leads_on_it_is_said_what_does(
    recorder: Recorder, told: list[str], status: str, advice: str
) -> None:
    is_there(recorder, status)
    with pytest.raises(StackFailed, match=advice):
        stack.plan(NAMES, PARAMETERS, told.append)
    assert not recorder.of("CreateChangeSet")


def test_somebody_elses_change_is_waited_for(recorder: Recorder, told: list[str]) -> None:
    is_there(recorder, "UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE")
    assert stack.plan(NAMES, PARAMETERS, told.append)
    assert told == ["scones-unlimited-dev is UPDATE_IN_PROGRESS already. Waiting for the end of it."]
    assert recorder.of("CreateChangeSet")[0]["ChangeSetType"] == "UPDATE"


def test_only_parameters_that_the_template_still_has_are_kept(recorder: Recorder, told: list[str]) -> None:
    known = [{"ParameterKey": key} for key in ("Stage", "Days", "New")]
    recorder.answers["GetTemplateSummary"] = lambda _: {"Parameters": known}
    old = [{"ParameterKey": key, "ParameterValue": "1"} for key in ("Stage", "Days", "Gone")]
    found = {"StackId": STACK, "StackName": "x", "StackStatus": "CREATE_COMPLETE", "Parameters": old}
    recorder.answers["DescribeStacks"] = lambda _: {"Stacks": [found]}
    stack.plan(NAMES, PARAMETERS, told.append)
    assert recorder.of("CreateChangeSet")[0]["Parameters"] == [
        {"ParameterKey": "Stage", "ParameterValue": "dev"},
        {"ParameterKey": "Days", "UsePreviousValue": True},
    ]


def test_a_change_that_never_ends_is_given_up(
    recorder: Recorder, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "MAX_WAIT", -1.0)
    happens(recorder, (NAMES.prefix, "CREATE_IN_PROGRESS", ""))
    with pytest.raises(StackFailed, match="has not come to an end for hours"):
        stack.apply(PLAN, told.append)
    is_there(recorder, "UPDATE_IN_PROGRESS")
    with pytest.raises(StackFailed, match="has been UPDATE_IN_PROGRESS for hours"):
        stack.plan(NAMES, PARAMETERS, told.append)
