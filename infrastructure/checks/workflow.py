"""Checks of the state machines: there, the same as in the repository, and telling what goes wrong."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure import backfill, stack
from infrastructure.checks.common import Finding, Json, Site, pages, problem, warning
from infrastructure.machine import parts

ACTION = re.compile(r"arn:aws:states:::([\w-]+:\w+)")
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def definition(site: Site, machine: str) -> str:
    """The definition of a state machine with its placeholders filled in.

    Args:
        site: whose it is.
        machine: the state machine's name.
    """
    names = site.names
    own = machine == names.prefix
    text = backfill.WORKFLOW.read_text(encoding="utf-8") if own else backfill.definition()
    values = {
        "SerializeArn": names.function_arn("serialize"),
        "ClassifyArn": names.function_arn("classify"),
        "FilterArn": names.function_arn("filter"),
        "OpenRecordArn": names.function_arn("open_record"),
        "RecordsTable": names.records_table,
        "ResultsBucket": names.training_bucket,
        "HeldBackTopic": names.arn("sns", names.held_back_topic),
    }
    return PLACEHOLDER.sub(lambda placeholder: values.get(placeholder[1], placeholder[0]), text)


def machines(site: Site) -> Iterator[Finding]:
    """Whether the state machines are there, and are what the repository says."""
    roles = {site.names.prefix: site.names.workflow_role, site.names.backfill: site.names.backfill}
    for name in site.names.machines:
        there = site.machine(name)
        if there is None:
            yield problem(f"The state machine {name} is not there.", site.up)
            continue
        yield from _described(site, name, there)
        if there["roleArn"].rpartition("/")[2] != roles[name]:
            yield problem(f"{name} works as {there['roleArn']}, not as {roles[name]}.", site.up)


def _described(site: Site, name: str, there: Json) -> Iterator[Finding]:
    if there.get("status", "ACTIVE") != "ACTIVE":
        yield problem(f"{name} is {there['status']}.", f"Wait until it is gone, then: {site.up}")
    wanted, found_there = json.loads(definition(site, name)), json.loads(there["definition"])
    if wanted != found_there:
        states = _changed(wanted, found_there)
        yield problem(f"{name} is another one than the repository's: {states}.", site.up)
    logging = there.get("loggingConfiguration", {})
    if logging.get("level", "OFF") == "OFF" or not logging.get("destinations"):
        yield problem(f"{name} logs nothing, so nobody can tell why it fails.", site.up)
    elif logging.get("includeExecutionData"):
        yield problem(f"{name} logs pictures: what the executions hold is written into its log.", site.up)
    if not there.get("tracingConfiguration", {}).get("enabled") and name == site.names.prefix:
        yield problem(f"{name} is not traced by X-Ray.", site.up)


def _changed(wanted: Json, there: Json) -> str:
    """Where two definitions differ, in words."""
    ours, theirs = wanted.get("States", {}), there.get("States", {})
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return f"see {', '.join(names[:3])}" if names else "see what stands beside its states"


def log_groups(site: Site) -> Iterator[Finding]:
    """Whether the state machines have log groups whose logs are deleted some time."""
    wanted = list(map(site.names.machine_log_group, site.names.machines))
    groups = {
        one["logGroupName"]: one
        for one in pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=wanted[0])
    }
    for name in wanted:
        if name not in groups:
            yield problem(f"There is no log group {name}.", site.up)
        elif not groups[name].get("retentionInDays"):
            yield warning(f"The logs in {name} are kept for ever, and paid for.", site.up)


def tasks(machine: Json) -> Iterator[tuple[str, Json]]:
    """What the tasks of a state machine call, like "lambda:invoke", and with which parameters."""
    for state in _states(machine):
        called = ACTION.match(str(state.get("Resource", "")))
        if state.get("Type") == "Task" and called:
            yield called[1], state.get("Parameters", {})


def _states(machine: Mapping[str, Any]) -> Iterator[Json]:
    for state in machine["States"].values():
        yield state
        for part in parts(state):
            yield from _states(part)


def stack_state(site: Site) -> Iterator[Finding]:
    """Whether CloudFormation has come to where it should."""
    there = stack.describe(site.names)
    if there is None:
        yield problem(f"There is no stack {site.names.prefix}.", site.up)
    elif there["StackStatus"].endswith("_IN_PROGRESS"):
        yield problem(f"The stack {site.names.prefix} is changing: {there['StackStatus']}.", f"Wait, then: {site.up}")
    elif there["StackStatus"] not in stack.WELL:
        reason = there.get("StackStatusReason", "CloudFormation does not say why")
        yield problem(f"The stack {site.names.prefix} is {there['StackStatus']}: {reason}.", site.up)
