"""Checks of what Chalice makes: the functions, what they may do, what calls them, and where they log."""

import json
from collections.abc import Iterator
from typing import Any

from commandline import aws
from infrastructure.chalice import AMAZON_LINUX_2023, ASYNCHRONOUS
from infrastructure.chalice_config import POOL
from infrastructure.checks.common import (
    INSTALL,
    MEMORY,
    TIMEOUT,
    Finding,
    Json,
    Site,
    as_list,
    differing,
    enumerated,
    fine,
    found,
    pages,
    problem,
    warning,
)
from infrastructure.names import OPEN_ROUTES, REST, RULES

RETRIES = 2
"""How often Lambda tries an asynchronous event again unless told otherwise:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html"""

ENDINGS = {"FAILED", "TIMED_OUT", "ABORTED"}
"""The ends of an execution that `on_stopped` has to hear of."""


def functions(site: Site) -> Iterator[Finding]:
    """Whether each function is there, can run, and is as `.chalice/config.json` says."""
    missing = [name for name in site.functions if site.function(name) is None]
    if missing:
        yield problem(f"Not there: {enumerated(missing, most=len(missing))}.", site.deploy)
    for name in site.functions:
        function = site.function(name)
        if function is not None:
            yield from _state(site, name, function)
            yield from _differences(site, name, function["Configuration"])


def _state(site: Site, name: str, function: Json) -> Iterator[Finding]:
    there = function["Configuration"]
    if there.get("State", "Active") not in ("Active", "Inactive"):  # an inactive one was idle for weeks, and wakes up
        yield problem(
            f"{name} is {there['State']}: {there.get('StateReason', 'no reason given')}",
            f"Wait a minute and look again; if it stays so: {site.deploy}",
        )
    if there.get("LastUpdateStatus", "Successful") != "Successful":
        reason = there.get("LastUpdateStatusReason", "no reason given")
        yield problem(
            f"The last change of {name} is {there['LastUpdateStatus']}: {reason}",
            f"Wait a minute and look again; if it stays so: {site.deploy}",
        )
    if function.get("Concurrency", {}).get("ReservedConcurrentExecutions") == 0:
        yield problem(
            f"{name} is stopped: no concurrency is left to it.",
            f"Run `aws lambda delete-function-concurrency --function-name {site.names.function(name)}`.",
        )


def _differences(site: Site, name: str, there: Json) -> Iterator[Finding]:
    own = site.stage["lambda_functions"][name].get("environment_variables", {})
    wrong = differing({**site.environment, **own}, there.get("Environment", {}).get("Variables", {}))
    if wrong:
        yield problem(f"{name} has other variables than config.json: {', '.join(wrong)}.", site.deploy)
    for key, setting, default, unit in (
        ("MemorySize", "lambda_memory_size", MEMORY, "MB"),
        ("Timeout", "lambda_timeout", TIMEOUT, "s"),
    ):
        wanted = site.setting(name, setting, default)
        if there[key] != wanted:
            yield problem(
                f"{name} has {there[key]} {unit} ({key}), and config.json says {wanted}.",
                f"{site.deploy} Where {there[key]} is right, write it into config.json first.",
            )


def runtimes(site: Site) -> Iterator[Finding]:
    """Whether all functions run on one Python, and one that Pillow can be loaded on."""
    there = {name: (site.function(name) or {})["Configuration"]["Runtime"] for name in site.made(site.functions)}
    if len(set(there.values())) > 1:
        listed = ", ".join(f"{name} on {runtime}" for name, runtime in there.items())
        yield problem(f"The functions run on different versions: {listed}.", site.deploy)
        return
    for runtime in sorted(set(there.values())):
        if tuple(map(int, runtime.removeprefix("python").split("."))) < AMAZON_LINUX_2023:
            yield problem(
                f"All functions run on {runtime}, on which Pillow cannot be loaded.", f"{INSTALL} {site.deploy}"
            )
        else:
            yield fine(f"All functions run on {runtime}.")


def callers(site: Site) -> Iterator[Finding]:
    """Whether the rules of EventBridge are there, on, and call the functions that they are for."""
    for name in site.made(RULES):
        rule = found(aws.client("events").describe_rule, Name=site.names.rule(name))
        if rule is None:
            yield problem(f"No rule of EventBridge calls {name}.", site.deploy)
            continue
        if rule["State"] != "ENABLED":
            yield problem(f"The rule that calls {name} is off.", f"Run `aws events enable-rule --name {rule['Name']}`.")
        yield from _called_by(site, name, rule)


def _called_by(site: Site, name: str, rule: Json) -> Iterator[Finding]:
    if name == "on_stopped":
        yield from _pattern(site, json.loads(rule.get("EventPattern") or "{}"))
    elif not rule.get("ScheduleExpression"):
        yield problem(f"The rule that calls {name} has no schedule.", site.deploy)
    targets = [one["Arn"] for one in pages("events", "list_targets_by_rule", "Targets", Rule=rule["Name"])]
    arn = site.names.function_arn(name)
    if targets != [arn]:
        yield problem(f"The rule of {name} calls {', '.join(targets) or 'nothing'}.", site.deploy)
    if not allows(policy_of(site, name), "events", rule["Arn"]):
        yield problem(f"{name} does not let its rule call it.", site.deploy)


def _pattern(site: Site, pattern: Json) -> Iterator[Finding]:
    detail = pattern.get("detail", {})
    if detail.get("stateMachineArn") != [site.names.state_machine_arn]:
        yield problem(
            f"on_stopped hears of {detail.get('stateMachineArn')}, not of {site.names.state_machine_arn}.", site.deploy
        )
    if pattern.get("source") != ["aws.states"] or ENDINGS - set(detail.get("status", [])):
        yield problem("on_stopped does not hear of each bad end of an execution.", site.deploy)


def lost_events(site: Site) -> Iterator[Finding]:
    """Whether events that a function cannot deal with go to the queue."""
    for name in site.made(ASYNCHRONOUS):
        retries = ASYNCHRONOUS[name]
        config = found(aws.client("lambda").get_function_event_invoke_config, FunctionName=site.names.function(name))
        destination = (config or {}).get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if destination != site.names.lost_events_arn:
            yield problem(
                f"Events that {name} cannot deal with go to {destination or 'nowhere'}, and are lost.", site.deploy
            )
        elif (config or {}).get("MaximumRetryAttempts", RETRIES) != retries:
            yield problem(
                f"{name} is tried again {(config or {}).get('MaximumRetryAttempts', RETRIES)} times, not {retries}.",
                site.deploy,
            )


def logs(site: Site) -> Iterator[Finding]:
    """Whether each function has a log group, and old logs are deleted some time."""
    prefix = f"/aws/lambda/{site.names.prefix}"
    groups = {
        one["logGroupName"]: one for one in pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    }
    wanted = [site.names.function_log_group(name) for name in site.functions]
    missing = [name for name in wanted if name not in groups]
    endless = [name for name in wanted if name in groups and not groups[name].get("retentionInDays")]
    if missing:
        yield problem(f"No log group, so what they log is lost: {enumerated(missing)}.", site.up)
    if endless:
        yield warning(f"Kept for ever, and paid for: the logs in {enumerated(endless)}.", site.up)


def policy_of(site: Site, name: str) -> list[Json]:
    """The statements of who may call a function."""
    answer = found(aws.client("lambda").get_policy, FunctionName=site.names.function(name))
    statements: list[Json] = json.loads(answer["Policy"])["Statement"] if answer else []
    return statements


def allows(statements: list[Json], service: str, source: str) -> Json | None:
    """The statement that lets a service call a function for a source; None if there is none.

    Args:
        statements: of the function's policy.
        service: like "s3".
        source: the ARN of what the service calls for.
    """
    for statement in statements:
        principal = statement.get("Principal", {})
        services = as_list(principal.get("Service", [])) if isinstance(principal, dict) else []
        sources = condition(statement, "AWS:SourceArn")
        if statement["Effect"] == "Allow" and f"{service}.amazonaws.com" in services and source in sources:
            return statement
    return None


def condition(statement: Json, key: str) -> list[Any]:
    """The values that a statement asks of a key, whatever the operator and the case of the key."""
    return [
        value
        for tests in statement.get("Condition", {}).values()
        for name, values in tests.items()
        if name.lower() == key.lower()
        for value in as_list(values)
    ]


def rest(site: Site) -> Iterator[Finding]:
    """Whether the REST API is there, and open to nobody who has not signed, or signed in where people do."""
    site.made([REST])
    apis = {
        api["id"]: methods for api in pages("apigateway", "get_rest_apis", "items") if (methods := _ours(site, api))
    }
    if not apis:
        yield problem("No REST API leads to the functions.", site.deploy)
    if len(apis) > 1:
        yield warning(
            f"{len(apis)} REST APIs lead to the functions: {', '.join(apis)}. One is left over.",
            f"Keep the one that `chalice url --stage {site.names.stage}` tells; `aws apigateway delete-rest-api` "
            "removes the other.",
        )
    for identity, methods in apis.items():
        for where, method in methods.items():
            yield from _closed(site, where, method)
        yield from _published(site, identity)


def _ours(site: Site, api: Json) -> dict[str, Json]:
    """The methods of an API that lead to the stage's function, by method and path."""
    function = f"{site.names.function_arn(REST)}/"
    return {
        f"{verb} {resource['path']}": method
        for resource in pages("apigateway", "get_resources", "items", restApiId=api["id"], embed=["methods"])
        for verb, method in resource.get("resourceMethods", {}).items()
        if function in method.get("methodIntegration", {}).get("uri", "")
    }


def _closed(site: Site, where: str, method: Json) -> Iterator[Finding]:
    kind, signs_in = method.get("authorizationType") or "NONE", bool(site.environment.get(POOL))
    guard = "COGNITO_USER_POOLS" if signs_in else "AWS_IAM"
    if signs_in and where in OPEN_ROUTES:
        if kind != "NONE":
            yield problem(f"{where} is guarded by {kind}: no browser can open the page.", site.deploy)
    elif kind == "NONE":
        yield problem(f"Anybody in the world may {where}.", f"Give the route its authorizer in app.py. {site.deploy}")
    elif kind != guard:
        yield problem(f"{where} is guarded by {kind}, not by {guard}.", site.deploy)


def _published(site: Site, identity: str) -> Iterator[Finding]:
    wanted = site.stage.get("api_gateway_stage", "api")
    stages = [one["stageName"] for one in aws.client("apigateway").get_stages(restApiId=identity)["item"]]
    if wanted not in stages:
        yield problem(f"The REST API {identity} is not published as {wanted}.", site.deploy)
    if not allows_api(policy_of(site, REST), identity):
        yield problem(f"{REST} does not let the REST API call it.", site.deploy)


def allows_api(statements: list[Json], identity: str) -> bool:
    """Whether a function lets a REST API call it."""
    return any(
        f":{identity}/" in source
        for statement in statements
        if statement["Effect"] == "Allow" and "apigateway.amazonaws.com" in str(statement.get("Principal"))
        for source in condition(statement, "AWS:SourceArn")
    )
