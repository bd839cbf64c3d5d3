"""Checks of what roles may do: what they need, nothing more, and nothing else in the way."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from commandline import aws
from infrastructure.backfill import RESULTS
from infrastructure.checks.common import (
    Finding,
    Json,
    Site,
    as_list,
    enumerated,
    pages,
    problem,
    read_json,
)
from infrastructure.checks.workflow import definition, tasks
from infrastructure.template import TEMPLATE

TRAINING = TEMPLATE.parent.parent / "training"
TRAINING_PREFIX = "training"
"""Where everything of training lies in its bucket."""

NEEDS = {
    "lambda:invoke": ("lambda:InvokeFunction", "FunctionName", "{}"),
    "dynamodb:putItem": ("dynamodb:PutItem", "TableName", "table/{}"),
    "dynamodb:updateItem": ("dynamodb:UpdateItem", "TableName", "table/{}"),
    "sns:publish": ("sns:Publish", "TopicArn", "{}"),
}
"""What a task of the workflow takes: the permission, the parameter that names the resource, and how an ARN is made of
it."""

WRITES = ("AbortMultipartUpload", "GetObject", "ListMultipartUploadParts", "PutObject")
"""What a distributed map needs in order to write its results:
https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html"""

FREE = re.compile(r"(logs|xray):")
"""What the role of a state machine may do beside its tasks: tell how they went."""


@dataclass(frozen=True, order=True)
class Grant:
    """One permission out of a policy: policies that say the same in other words have the same grants."""

    effect: str
    action: str
    resource: str
    condition: str = ""

    def __str__(self) -> str:
        denied = "" if self.effect == "Allow" else f"{self.effect} "
        return f"{denied}{self.action} on {self.resource}{' if ' + self.condition if self.condition else ''}"


def grants(document: Json) -> set[Grant]:
    """What a policy says, taken apart.

    Args:
        document: the policy.
    """
    return {
        Grant(
            statement["Effect"],
            action if "Action" in statement else f"everything but {action}",
            resource if "Resource" in statement else f"everything but {resource}",
            json.dumps(statement["Condition"], sort_keys=True) if "Condition" in statement else "",
        )
        for statement in as_list(document.get("Statement", []))
        for action in as_list(statement.get("Action", statement.get("NotAction", [])))
        for resource in as_list(statement.get("Resource", statement.get("NotResource", [])))
    }


def written(site: Site, role: str) -> set[Grant]:
    """What the policies say that are written into a role, asked once.

    Args:
        site: whose it is.
        role: its name.
    """
    return site.once(f"policies of {role}", lambda: _written(role))


def _written(role: str) -> set[Grant]:
    iam = aws.client("iam")
    names = list(pages("iam", "list_role_policies", "PolicyNames", RoleName=role))
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    return set().union(*map(grants, documents))


def policies(site: Site) -> Iterator[Finding]:
    """Whether each function's role says what the policy file says, and nothing else."""
    for name, role in _roles(site).items():
        if site.role(role) is None:
            yield problem(f"{name} has no role: {role} is not there.", site.deploy)
            continue
        path = site.policy_file(name)
        file = f"{path.name} is right: {site.deploy} The role is right: write it into the file, then deploy."
        yield from _compared(name, grants(read_json(path)), written(site, role), f"Where {file}")
        yield from _attached(name, role)
        yield from _trusted(site, name, role, "lambda", site.deploy)


def _roles(site: Site) -> dict[str, str]:
    """The names of the functions' roles."""
    return {
        name: (site.function(name) or {})["Configuration"]["Role"].rpartition("/")[2]
        for name in site.made(site.functions)
    }


def _compared(who: str, wanted: set[Grant], there: set[Grant], fix: str) -> Iterator[Finding]:
    if lacking := sorted(wanted - there):
        yield problem(f"{who} lacks a permission: {enumerated([str(one) for one in lacking])}.", fix)
    if more := sorted(there - wanted):
        yield problem(f"{who} may do more than it needs: {enumerated([str(one) for one in more])}.", fix)


def _attached(who: str, role: str) -> Iterator[Finding]:
    for one in pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role):
        yield problem(
            f"{who} may do more than it needs: {one['PolicyName']} is attached to its role.",
            f"Run `aws iam detach-role-policy --role-name {role} --policy-arn {one['PolicyArn']}`.",
        )


def _trusted(site: Site, who: str, role: str, service: str, fix: str) -> Iterator[Finding]:
    """Whether a service, and nobody else, may work as a role."""
    document = (site.role(role) or {})["AssumeRolePolicyDocument"]
    trusted = [
        principal
        for statement in as_list(document.get("Statement", []))
        if statement["Effect"] == "Allow"
        for principal in _principals(statement)
    ]
    if set(trusted) != {f"{service}.amazonaws.com"}:
        yield problem(f"{who}: its role is lent to {', '.join(trusted) or 'nobody'}, not to {service} alone.", fix)


def _principals(statement: Json) -> list[str]:
    named = statement.get("Principal", {})
    return [one for kind in named.values() for one in as_list(kind)] if isinstance(named, dict) else [str(named)]


def permissions(site: Site) -> Iterator[Finding]:
    """Whether IAM itself says that each function may do what its policy file says.

    What the role's own policies do not say is told by `policies`. What is denied here is so by something above them: a
    boundary, or a policy of the organisation.
    """
    for name, role in _roles(site).items():
        if site.role(role) is None:
            continue
        wanted = {one for one in grants(read_json(site.policy_file(name))) if one.effect == "Allow"}
        yield from _denied(name, (site.function(name) or {})["Configuration"]["Role"], wanted & written(site, role))


def _denied(who: str, role: str, wanted: Iterable[Grant]) -> Iterator[Finding]:
    denied = simulated(role, wanted)
    if denied:
        yield problem(
            f"{who} may not do what its role says: {enumerated(denied)}. A boundary of the role or a policy of the "
            "organisation forbids it.",
            "Ask whoever runs the account to allow it to this role.",
        )


def simulated(role: str, wanted: Iterable[Grant]) -> list[str]:
    """The permissions that IAM says a role does not have, in words.

    Args:
        role: its ARN.
        wanted: the permissions.
    """
    alike = defaultdict(list)
    for one in sorted(wanted):
        alike[example(one.resource), one.condition].append(one.action)
    return [
        f"{result['EvalActionName']} on {resource} ({result['EvalDecision']})"
        for (resource, condition), actions in alike.items()
        for result in pages(
            "iam",
            "simulate_principal_policy",
            "EvaluationResults",
            PolicySourceArn=role,
            ActionNames=actions,
            ResourceArns=[resource],
            ContextEntries=meeting(condition),
        )
        if result["EvalDecision"] != "allowed"
    ]


def meeting(condition: str) -> list[Json]:
    """What a simulation has to be told of a request, so that it meets the condition of a permission.

    Args:
        condition: as `Grant` has it.
    """
    return [
        {"ContextKeyName": key, "ContextKeyValues": as_list(values), "ContextKeyType": "stringList"}
        if operator.startswith("ForAllValues:")
        else {"ContextKeyName": key, "ContextKeyValues": as_list(values)[:1], "ContextKeyType": "string"}
        for operator, tests in json.loads(condition or "{}").items()
        for key, values in tests.items()
    ]


@cache
def example(resource: str) -> str:
    """A resource that a pattern of a policy fits, since a permission is simulated for a resource, not for a pattern."""
    if ":log-group:" in resource:
        resource = re.sub(r":\*$", ":log-stream:doctor", resource)
    return resource if resource == "*" else resource.replace("*", "doctor")


def workflow_role(site: Site) -> Iterator[Finding]:
    """Whether the workflow may do what its tasks do, and nothing else."""
    yield from _machine_role(site, "The workflow", site.names.prefix, site.names.workflow_role, set())


def backfill_role(site: Site) -> Iterator[Finding]:
    """Whether the backfill may do what its tasks do, run its parts, write what came of them, and nothing else."""
    name = site.names.backfill
    results = f"arn:aws:s3:::{site.names.training_bucket}/{RESULTS}/*"
    parts = {
        ("states:StartExecution", site.names.arn("states", f"stateMachine:{name}")),
        ("states:DescribeExecution", site.names.arn("states", f"execution:{name}:*")),
        ("states:StopExecution", site.names.arn("states", f"execution:{name}:*")),
        *((f"s3:{action}", results) for action in WRITES),
    }
    yield from _machine_role(site, "The backfill", name, name, {Grant("Allow", *part) for part in parts})


def _machine_role(site: Site, who: str, machine: str, role: str, more: set[Grant]) -> Iterator[Finding]:
    there = site.role(role)
    if there is None:
        yield problem(f"{who} has no role: {role} is not there.", site.up)
        return
    needs = set(needed(site, json.loads(definition(site, machine)))) | more
    has = {one for one in written(site, role) if not FREE.match(one.action)}
    yield from _compared(who, needs, has, site.up)
    yield from _attached(who, role)
    yield from _trusted(site, who, role, "states", site.up)
    yield from _denied(who, there["Arn"], needs & has)


def needed(site: Site, machine: Json) -> Iterator[Grant]:
    """What the tasks of a state machine take.

    Args:
        site: whose it is.
        machine: its definition, with its placeholders filled in.
    """
    for action, parameters in tasks(machine):
        if action not in NEEDS:
            continue  # a test says that there is none
        permission, parameter, resource = NEEDS[action]
        named = resource.format(parameters[parameter])
        arn = named if named.startswith("arn:") else site.names.arn("dynamodb", named)
        yield Grant("Allow", permission, arn)


def training_role(site: Site) -> Iterator[Finding]:
    """Whether SageMaker may do what training takes, and nothing else."""
    role = site.names.training_role
    if site.role(role) is None:
        yield problem(f"SageMaker has no role: {role} is not there.", site.up)
        return
    text = (TRAINING / "role-policy.json").read_text(encoding="utf-8")
    text = text.replace("BUCKET", site.names.training_bucket).replace("PREFIX", TRAINING_PREFIX)
    yield from _compared("SageMaker", grants(json.loads(text)), written(site, role), site.up)
    yield from _attached("SageMaker", role)
    yield from _trusted(site, "SageMaker", role, "sagemaker", site.up)
