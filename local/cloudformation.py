"""CloudFormation, embedded: moto's, which leaves out some of a template (`local/declared.py` makes that).

- State machines that it makes are run like others.
- What a change set makes has outputs, and the parameters that it was made with, defaults among them.
- Resources come and go with their conditions, also where the template stays the same.
- The policies of roles are text, as IAM gives them back.
- Buckets, tables, policies, alarms and metric filters become what the template says.
- Policies of buckets are kept and not enforced, like all others: they refuse requests without encryption, as these are.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from moto.cloudformation import parsing
from moto.cloudformation.models import ChangeSet
from moto.dynamodb.models.table import Table
from moto.iam.access_control import PermissionResult
from moto.iam.models import Role
from moto.s3.models import FakeBucket
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local import declared

Json = dict[str, Any]


def seams(stack: ExitStack) -> None:
    """Put them in place.

    Args:
        stack: takes them out again when it ends.
    """
    plain_apply, plain_parse, plain_policy = ChangeSet.apply, ChangeSet._parse_template, Role.put_policy  # noqa: SLF001
    plain_class, plain_table = parsing.resource_class_from_type, Table.create_from_cloudformation_json
    plain_bucket = FakeBucket.create_from_cloudformation_json
    plain_bucket_update = FakeBucket.update_from_cloudformation_json

    def apply(change_set: Any) -> None:
        plain_apply(change_set)
        made = change_set.stack
        made.template = change_set.template
        made._parse_template()  # noqa: SLF001 - a seam
        made.parameters = _with_defaults(made.template_dict, change_set.parameters)
        made.output_map = made._create_output_map()  # noqa: SLF001 - a seam

    def parse_template(change_set: Any) -> None:
        plain_parse(change_set)
        document = change_set.template_dict
        parameters = _with_defaults(document, change_set.parameters)
        known = document.get("Conditions", {})
        document["Resources"] = {
            name: one
            for name, one in document["Resources"].items()
            if "Condition" not in one or _holds(known[one["Condition"]], parameters)
        }

    def put_policy(role: Any, name: str, policy: Any) -> None:
        plain_policy(role, name, policy if isinstance(policy, str) else json.dumps(policy))

    def class_of(kind: str) -> Any:
        return _Kind(declared.KINDS[kind]) if kind in declared.KINDS else plain_class(kind)

    def create_bucket(resource_name: str, cloudformation_json: Json, *rest: Any, **more: Any) -> Any:
        bucket = plain_bucket(resource_name, cloudformation_json, *rest, **more)
        declared.finish_bucket(resource_name, cloudformation_json["Properties"])
        return bucket

    def update_bucket(cloudformation_json: Json, **more: Any) -> Any:
        bucket = plain_bucket_update(cloudformation_json=cloudformation_json, **more)
        declared.finish_bucket(bucket.name, cloudformation_json["Properties"])
        return bucket

    def create_table(resource_name: str, cloudformation_json: Json, *rest: Any, **more: Any) -> Any:
        table = plain_table(resource_name, cloudformation_json, *rest, **more)
        declared.finish_table(cloudformation_json["Properties"])
        return table

    stack.enter_context(patch.object(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL))
    stack.enter_context(patch.object(ChangeSet, "apply", apply))
    stack.enter_context(patch.object(ChangeSet, "_parse_template", parse_template))
    stack.enter_context(patch.object(Role, "put_policy", put_policy))
    stack.enter_context(patch.object(parsing, "resource_class_from_type", class_of))
    stack.enter_context(patch.object(FakeBucket, "create_from_cloudformation_json", staticmethod(create_bucket)))
    stack.enter_context(patch.object(FakeBucket, "update_from_cloudformation_json", staticmethod(update_bucket)))
    stack.enter_context(patch.object(Table, "create_from_cloudformation_json", staticmethod(create_table)))
    for method in (_create, _update, _delete):
        name = f"{method.__name__.strip('_')}_from_cloudformation_json"
        stack.enter_context(patch.object(StateMachine, name, staticmethod(method)))


def _with_defaults(document: Json, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Parameters, with those that the template has for whoever leaves them out."""
    known = document.get("Parameters", {})
    return {name: one["Default"] for name, one in known.items() if "Default" in one} | dict(parameters)


def _holds(condition: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether a condition of a template holds, of those that the template has.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-conditions.html
    """
    ((function, given),) = condition.items()
    if function == "Fn::Equals":
        one, other = (parameters[side["Ref"]] if isinstance(side, dict) else side for side in given)
        return str(one) == str(other)
    found = [_holds(one, parameters) for one in given]
    return {"Fn::Not": not found[0], "Fn::And": all(found)}[function]


@dataclass(frozen=True)
class _Kind:
    """What stands in for moto's class of a kind of resources."""

    make: Callable[[Json], declared.Declared]

    def create_from_cloudformation_json(
        self, _name: str, cloudformation_json: Json, _account: str, _region: str, **_: Any
    ) -> declared.Declared:
        return self.make(cloudformation_json["Properties"])

    def update_from_cloudformation_json(self, cloudformation_json: Json, **_: Any) -> declared.Declared:
        return self.make(cloudformation_json["Properties"])


def _create(resource_name: str, cloudformation_json: Json, account_id: str, region_name: str, **_: Any) -> StateMachine:
    properties = cloudformation_json["Properties"]
    return stepfunctions_parser_backends[account_id][region_name].create_state_machine(
        name=properties.get("StateMachineName", resource_name),
        definition=_definition(properties),
        roleArn=properties["RoleArn"],
        tags=[_camel(tag) for tag in properties.get("Tags", [])],
        loggingConfiguration=_camel(properties.get("LoggingConfiguration")),
        tracingConfiguration=_camel(properties.get("TracingConfiguration")),
        sm_type=properties.get("StateMachineType"),
    )


def _update(
    original_resource: StateMachine, cloudformation_json: Json, account_id: str, region_name: str, **_: Any
) -> StateMachine:
    """Change a state machine; its name stays, as the template's does."""
    properties = cloudformation_json["Properties"]
    return stepfunctions_parser_backends[account_id][region_name].update_state_machine(
        original_resource.arn,
        definition=_definition(properties),
        role_arn=properties["RoleArn"],
        logging_configuration=_camel(properties.get("LoggingConfiguration")),
        tracing_configuration=_camel(properties.get("TracingConfiguration")),
    )


def _delete(resource_name: str, _cloudformation_json: Json, account_id: str, region_name: str) -> None:
    stepfunctions_parser_backends[account_id][region_name].delete_state_machine(resource_name)


def _definition(properties: Mapping[str, Any]) -> str:
    substitutions = properties.get("DefinitionSubstitutions", {})
    return re.sub(
        r"\$\{(\w+)\}", lambda found: str(substitutions.get(found[1], found[0])), properties["DefinitionString"]
    )


def _camel(value: Any) -> Any:
    """CloudFormation's names of properties as the API has them."""
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: _camel(one) for name, one in value.items()}
    return [_camel(one) for one in value] if isinstance(value, list) else value
