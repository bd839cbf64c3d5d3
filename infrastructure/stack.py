"""The CloudFormation stack of a stage: planned as a change set, shown, applied and removed, with progress."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError
from rich.markup import escape
from rich.table import Column, Table

from commandline import aws, console
from infrastructure import template
from infrastructure.errors import StackFailed
from infrastructure.names import APP, Names

Tell = Callable[[str], object]
Json = dict[str, Any]

POLL_INTERVAL = 3.0
"""Seconds between two looks at a stack that changes."""

MAX_WAIT = 7200.0
"""Seconds that a change may take: a table with an index is the slowest part, minutes."""

CAPABILITY = "CAPABILITY_NAMED_IAM"
"""What CloudFormation wants to be told where a template makes roles that have names."""

STATEFUL = frozenset(
    {
        "AWS::Cognito::UserPool",
        "AWS::DynamoDB::Table",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
    }
)
"""Kinds of resources whose content goes with them."""

USER_POOL = "UserPoolId"
"""The output that tells of the user pool, where people sign in."""

HALF_MADE = frozenset({"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"})
"""What a first creation that failed leaves: CloudFormation can only delete such a stack, never update it:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html"""

WELL = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "DELETE_COMPLETE"})

NO_CHANGES = re.compile(r"didn't contain changes|No updates are to be performed")
"""How CloudFormation says that a change set would change nothing."""


@dataclass(frozen=True)
class Change:
    """What becomes of one resource.

    Attributes:
        action: "Add", "Modify", "Remove", and rarer ones of CloudFormation's.
        resource: its name in the template.
        kind: its type, like "AWS::S3::Bucket".
        replacement: whether it is made anew and the old one removed: "True", "False", "Conditional", or "" where that
            is no question.
    """

    action: str
    resource: str
    kind: str
    replacement: str

    @property
    def loses_content(self) -> bool:
        """Whether what it holds is, or may be, gone afterwards."""
        return self.kind in STATEFUL and (self.action == "Remove" or self.replacement in ("True", "Conditional"))


@dataclass(frozen=True)
class Plan:
    """A change set that can be applied.

    Attributes:
        names: of the stage.
        change_set: its ARN.
        stack: the stack's ARN.
        is_new: whether the stack is made by it.
        changes: what it changes; empty if nothing but outputs or tags.
    """

    names: Names
    change_set: str
    stack: str
    is_new: bool
    changes: tuple[Change, ...]

    @property
    def losses(self) -> list[Change]:
        """The changes by which content is, or may be, lost."""
        return [one for one in self.changes if one.loses_content]


@dataclass(frozen=True)
class Event:
    """What CloudFormation tells of a resource.

    Attributes:
        id: the event's own.
        at: when it happened.
        resource: its name in the template; the stack's name for the stack itself.
        physical: the name that AWS knows it by.
        status: like "CREATE_IN_PROGRESS".
        reason: why, mostly empty.
    """

    id: str
    at: datetime
    resource: str
    physical: str
    status: str
    reason: str

    @property
    def is_failure(self) -> bool:
        """Whether it failed by itself, and was not called off because another had."""
        return self.status.endswith("_FAILED") and "cancelled" not in self.reason.lower()


def describe(names: Names) -> Json | None:
    """What CloudFormation knows of the stack; None if there is none."""
    return _described(names.prefix)


def outputs(names: Names) -> dict[str, str]:
    """The outputs of the stack, empty if there is none."""
    found = describe(names) or {}
    return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}


def plan(names: Names, parameters: Mapping[str, str], tell: Tell) -> Plan | None:
    """Ask CloudFormation what would change.

    A stack that cannot be updated, since its first creation failed, is deleted first.

    Args:
        names: of the stage.
        parameters: of the template; one that is left out keeps its value, or gets its default.
        tell: told of what is done on the way.

    Returns:
        What would change; None if nothing would.

    Raises:
        StackFailed: the stack is in a state from which nothing leads on, or the template is wrong.
    """
    standing = _usable(names, tell)
    with template.handed_over(names, template.render()) as body:
        known = {one["ParameterKey"] for one in _client().get_template_summary(**body).get("Parameters", [])}
        old = {one["ParameterKey"] for one in (standing or {}).get("Parameters", [])}
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        kept = [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted((old & known) - parameters.keys())]
        try:
            made = _client().create_change_set(
                StackName=names.prefix,
                ChangeSetName=f"up-{uuid4()}",
                ChangeSetType="UPDATE" if standing else "CREATE",
                Parameters=[*given, *kept],
                Capabilities=[CAPABILITY],
                Tags=tags(names.stage),
                **body,
            )
        except ClientError as error:
            if NO_CHANGES.search(str(error)):
                return None
            raise
        return _planned(names, made["Id"], made["StackId"], is_new=not standing)


def tags(stage: str) -> list[dict[str, str]]:
    """The tags of the stack, which CloudFormation hands on to what it makes.

    Args:
        stage: whose it is.
    """
    return [
        {"Key": key, "Value": value}
        for key, value in {"project": APP, "stage": stage, "made-by": "infrastructure"}.items()
    ]


def show(plan: Plan) -> Table:
    """A plan as a table, with what loses its content at the top.

    Args:
        plan: what would change.
    """
    table = Table(
        "action",
        Column("resource", overflow="fold"),
        Column("type", overflow="fold"),
        Column("replacement", overflow="fold"),
        title=f"What changes in {plan.names.prefix}",
    )
    for one in sorted(plan.changes, key=lambda change: (not change.loses_content, change.action, change.resource)):
        lost = {"True": "YES, LOSES ITS CONTENT", "Conditional": "PERHAPS, LOSES ITS CONTENT"}
        replacement = lost.get(one.replacement, "LOSES ITS CONTENT") if one.loses_content else one.replacement.lower()
        table.add_row(
            one.action,
            one.resource,
            one.kind.removeprefix("AWS::"),
            replacement,
            style="bold red" if one.loses_content else None,
        )
    return table


def discard(plan: Plan) -> None:
    """Take back a plan that is not applied, so that nothing is left of it.

    Args:
        plan: what would have changed.
    """
    if plan.is_new:
        _client().delete_stack(StackName=plan.stack)
    else:
        _client().delete_change_set(ChangeSetName=plan.change_set)


def apply(plan: Plan, tell: Tell) -> None:
    """Apply a plan, and tell what happens until it has ended.

    Args:
        plan: what changes.
        tell: told of each event.

    Raises:
        StackFailed: it did not work out; the message has the first reason and what to do.
    """
    before = {one.id for one in _events(plan.stack, set())}
    _client().execute_change_set(ChangeSetName=plan.change_set)
    _follow(plan.names.prefix, plan.stack, before, len(plan.changes), tell)


def delete(names: Names, tell: Tell) -> bool:
    """Delete the stack, and tell what happens until it is gone.

    Args:
        names: of the stage.
        tell: told of each event.

    Returns:
        Whether there was one.

    Raises:
        StackFailed: something could not be deleted; the message has the first reason and what to do.
    """
    found = _settled(names, tell)
    if found is None:
        return False
    stack = found["StackId"]
    before = {one.id for one in _events(stack, set())}
    total = len(list(resources(names)))
    _client().delete_stack(StackName=stack)
    if found["StackStatus"] == "REVIEW_IN_PROGRESS":  # it has nothing, and nothing is told of its end
        _client().get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 2})
    else:
        _follow(names.prefix, stack, before, total, tell)
    return True


def resources(names: Names) -> Iterator[Json]:
    """What the stack consists of, as CloudFormation lists it; nothing if there is none.

    Args:
        names: of the stage.
    """
    try:
        for page in _client().get_paginator("list_stack_resources").paginate(StackName=names.prefix):
            yield from page["StackResourceSummaries"]
    except ClientError as error:
        if not _is_missing(error):
            raise


def _client() -> Any:
    return aws.client("cloudformation")


def _described(stack: str) -> Json | None:
    try:
        found: Json = _client().describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if _is_missing(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def _is_missing(error: ClientError) -> bool:
    return aws.error_code(error) == "ValidationError" and "does not exist" in str(error)


def _settled(names: Names, tell: Tell) -> Json | None:
    """The stack, once nobody is changing it."""
    deadline, told = time.monotonic() + MAX_WAIT, ""
    while found := describe(names):
        status = found["StackStatus"]
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            break
        if time.monotonic() > deadline:
            raise StackFailed(f"{names.prefix} has been {status} for hours. Look at it in CloudFormation's console.")
        if status != told:
            tell(f"{names.prefix} is {status} already. Waiting for the end of it.")
            told = status
        time.sleep(POLL_INTERVAL)
    return found


def _usable(names: Names, tell: Tell) -> Json | None:
    """The stack as it can be updated; None if it has to be made."""
    found = _settled(names, tell)
    status = found["StackStatus"] if found else ""
    if status == "REVIEW_IN_PROGRESS":
        tell(f"{names.prefix} was planned once and never made. The old plan is deleted first.")
        delete(names, tell)
        return None
    if status in HALF_MADE:
        tell(f"The first creation of {names.prefix} failed ({status}), so that it has to be deleted and made again.")
        unprotect(names)
        delete(names, tell)
        return None
    if status == "DELETE_FAILED":
        raise StackFailed(f"{names.prefix} is half deleted. Run `down --stage {names.stage}` first, to the end.")
    if status == "UPDATE_ROLLBACK_FAILED":
        raise StackFailed(f"{names.prefix} is stuck between two states. {_advice(status, names.prefix)}")
    return found


def unprotect(names: Names) -> bool:
    """Let the table be deleted.

    Args:
        names: of the stage.

    Returns:
        Whether that changed anything.
    """
    dynamodb = aws.client("dynamodb")
    try:
        table = dynamodb.describe_table(TableName=names.records_table)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return False
    if not table.get("DeletionProtectionEnabled"):
        return False
    dynamodb.update_table(TableName=names.records_table, DeletionProtectionEnabled=False)
    dynamodb.get_waiter("table_exists").wait(TableName=names.records_table, WaiterConfig={"Delay": 2})
    return True


def _planned(names: Names, change_set: str, stack: str, *, is_new: bool) -> Plan | None:
    """A change set, once CloudFormation has thought it through."""
    pages = _client().get_paginator("describe_change_set").paginate(ChangeSetName=change_set)
    deadline = time.monotonic() + MAX_WAIT
    while (found := pages.build_full_result())["Status"] not in ("CREATE_COMPLETE", "FAILED"):
        if time.monotonic() > deadline:
            raise StackFailed(f"CloudFormation does not come to an end with the change set {change_set}.")
        time.sleep(POLL_INTERVAL)
    planned = Plan(names, change_set, stack, is_new, tuple(map(_change, found.get("Changes", []))))
    if found["Status"] == "CREATE_COMPLETE":
        return planned
    discard(planned)
    reason = found.get("StatusReason", "")
    if NO_CHANGES.search(reason):
        return None
    raise StackFailed(f"CloudFormation cannot plan {names.prefix}: {reason} Mend this, and run `up` again.")


def _change(found: Json) -> Change:
    one = found["ResourceChange"]
    return Change(one["Action"], one["LogicalResourceId"], one.get("ResourceType", ""), one.get("Replacement", ""))


def _events(stack: str, known: set[str]) -> list[Event]:
    """What has happened since the events that are known, oldest first."""
    found: list[Event] = []
    for page in _client().get_paginator("describe_stack_events").paginate(StackName=stack):
        for one in page["StackEvents"]:
            if one["EventId"] in known:
                return found[::-1]
            found.append(
                Event(
                    one["EventId"],
                    one["Timestamp"],
                    one["LogicalResourceId"],
                    one.get("PhysicalResourceId", ""),
                    one["ResourceStatus"],
                    one.get("ResourceStatusReason", ""),
                )
            )
    return found[::-1]


def _follow(name: str, stack: str, known: set[str], total: int, tell: Tell) -> None:
    """Tell what happens to a stack until it has come to an end.

    Raises:
        StackFailed: the end is not a good one.
    """
    deadline, events, done = time.monotonic() + MAX_WAIT, list[Event](), set[str]()
    with console.progress() as bar:
        task = bar.add_task(name, total=total)
        while True:
            for event in _events(stack, known):
                known.add(event.id)
                events.append(event)
                tell(_line(event))
                if event.physical == stack and not event.status.endswith("_IN_PROGRESS"):
                    bar.update(task, completed=total)
                    return _judge(name, event.status, events)
                if event.status.endswith("_COMPLETE") and event.physical != stack:
                    done.add(event.resource)
            bar.update(task, completed=min(len(done), total))
            if time.monotonic() > deadline:
                raise StackFailed(f"{name} has not come to an end for hours. Look at it in CloudFormation's console.")
            time.sleep(POLL_INTERVAL)


def _line(event: Event) -> str:
    color = "red" if event.status.endswith("_FAILED") or "ROLLBACK" in event.status else ""
    color = color or ("green" if event.status.endswith("_COMPLETE") else "default")
    reason = f"  {escape(event.reason)}" if event.reason else ""
    return f"{event.at.astimezone():%H:%M:%S}  [{color}]{event.status:<20}[/]  {escape(event.resource)}{reason}"


def _judge(name: str, status: str, events: list[Event]) -> None:
    if status in WELL:
        return
    first = next((one for one in events if one.is_failure), None)
    why = f"{first.resource} failed: {first.reason}" if first else "CloudFormation does not say why."
    exists = first is not None and "already exists" in first.reason
    hint = " Something of this name is there that does not belong to the stack: remove it, or what it holds." * exists
    raise StackFailed(f"{name} ended as {status}. {why.rstrip('.')}.{hint} {_advice(status, name)}")


def _advice(status: str, name: str) -> str:
    return {
        "ROLLBACK_COMPLETE": "What had been made is removed again. Mend this, and run `up` again: it begins anew.",
        "UPDATE_ROLLBACK_COMPLETE": "Everything is as it was before. Mend this, and run `up` again.",
        "UPDATE_ROLLBACK_FAILED": "Neither the change nor the way back worked. Mend this, run `aws cloudformation "
        f"continue-update-rollback --stack-name {name}`, and then `up` again.",
        "DELETE_FAILED": "The rest is deleted. Mend this, and run `down` again.",
    }.get(status, "Mend this, and run `up` again.")
