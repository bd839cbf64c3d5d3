"""What is left of a stage where `chalice` or CloudFormation have forgotten it: found by its name, and removed."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from commandline import aws
from commandline.removal import Found
from infrastructure.chalice_config import Stage
from infrastructure.names import REST, RULES, Names

MISSING = (
    "ResourceNotFoundException",
    "NotFoundException",
    "NoSuchEntity",
    "NoSuchEntityException",
    "StateMachineDoesNotExist",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
)
"""What the services call it when something is not there."""


def find_functions(names: Names, stage: Stage) -> list[Found]:
    """What `chalice deploy` makes, as far as it is there: in the order in which it is removed.

    Args:
        names: of the stage.
        stage: its functions.
    """
    return [
        *_apis(names),
        *_rules(names),
        *(one for name in stage.functions for one in _function(names.function(name))),
        *(one for name in stage.functions for one in _role(f"{names.prefix}-{name}")),
    ]


def find_log_groups(names: Names, stage: Stage) -> list[Found]:
    """The log groups of functions and state machines: those that came after the stack had gone, too.

    Args:
        names: of the stage.
        stage: its functions.
    """
    wanted = {names.function_log_group(name) for name in stage.functions}
    wanted |= {names.machine_log_group(name) for name in names.machines}
    logs = aws.client("logs")
    pages = logs.get_paginator("describe_log_groups")
    found = {
        one["logGroupName"]
        for beginning in ("/aws/lambda/", "/aws/vendedlogs/states/")
        for page in pages.paginate(logGroupNamePrefix=f"{beginning}{names.prefix}")
        for one in page["logGroups"]
    }
    return [
        Found("log group", name, partial(logs.delete_log_group, logGroupName=name)) for name in sorted(wanted & found)
    ]


def apis(names: Names) -> Iterator[str]:
    """The ids of REST APIs that may call the function behind the routes: their name does not tell the stage.

    Args:
        names: of the stage.
    """
    policy = asked(aws.client("lambda").get_policy, FunctionName=names.function(REST))
    for statement in json.loads(policy["Policy"])["Statement"] if policy else ():
        for source in statement.get("Condition", {}).get("ArnLike", {}).values():
            identity = source.split(":")[5].split("/")[0]
            if ":execute-api:" in source and asked(aws.client("apigateway").get_rest_api, restApiId=identity):
                yield identity


def asked(call: Callable[..., Any], **parameters: str) -> Any:
    """The answer to a question about one thing; None if it is not there.

    Args:
        call: an operation of a client.
        parameters: of it.
    """
    try:
        return call(**parameters)
    except ClientError as error:
        if aws.error_code(error) in MISSING:
            return None
        raise


def _apis(names: Names) -> Iterator[Found]:
    for identity in apis(names):
        yield Found("REST API", identity, partial(aws.client("apigateway").delete_rest_api, restApiId=identity))


def _rules(names: Names) -> Iterator[Found]:
    events = aws.client("events")
    for name in map(names.rule, RULES):
        if asked(events.describe_rule, Name=name):
            yield Found("rule", name, partial(_remove_rule, name))


def _remove_rule(name: str) -> None:
    events = aws.client("events")
    targets = [one["Id"] for one in events.list_targets_by_rule(Rule=name)["Targets"]]
    if targets:
        events.remove_targets(Rule=name, Ids=targets)
    events.delete_rule(Name=name)


def _function(name: str) -> Iterator[Found]:
    client = aws.client("lambda")
    if asked(client.get_function_configuration, FunctionName=name):
        yield Found("function", name, partial(client.delete_function, FunctionName=name))


def _role(name: str) -> Iterator[Found]:
    if asked(aws.client("iam").get_role, RoleName=name):
        yield Found("role", name, partial(_remove_role, name))


def _remove_role(name: str) -> None:
    iam = aws.client("iam")
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=name)
