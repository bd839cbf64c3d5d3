"""The template with all that it refers to filled in, as CloudFormation does: for what no emulator makes of it."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cfnlint.decode import decode_str

from infrastructure import template
from infrastructure.names import Names

Json = dict[str, Any]

NAMES = Names("dev", "123456789012", "us-east-1")
PARAMETERS = {
    "Stage": "dev",
    "EndpointName": "the-endpoint",
    "AlarmEmail": "somebody@example.org",
    "PageUrl": "https://page.example.org/api/",
    "SignIn": "yes",
}
"""With all that there is only where it is asked for."""

NAME = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Cognito::UserPool": "UserPoolName",
    "AWS::Cognito::UserPoolClient": "ClientName",
    "AWS::Cognito::UserPoolDomain": "Domain",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::Logs::MetricFilter": "FilterName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
"""The property that names a resource."""

ARN = {
    "AWS::Cognito::UserPool": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/{}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:us-east-1:123456789012:table/{}",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:123456789012:log-group:{}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:123456789012:{}",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:123456789012:{}",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:us-east-1:123456789012:stateMachine:{}",
}

REF_IS_ARN = ("AWS::SNS::Topic", "AWS::StepFunctions::StateMachine")
"""Where `Ref` is the ARN; elsewhere it is the name, which for a queue is its address."""


@cache
def source() -> Json:
    """The template as it is sent, with its short forms written out."""
    found, problems = decode_str(template.render())
    assert found, problems
    return dict(found)


@cache
def resources() -> Json:
    """All resources, by their names in the template, with everything filled in."""
    return {name: _filled(one) for name, one in source()["Resources"].items()}


@cache
def outputs() -> dict[str, str]:
    """All outputs, filled in."""
    return {name: str(_filled(one["Value"])) for name, one in source()["Outputs"].items()}


def of_type(kind: str) -> dict[str, Json]:
    """The properties of all resources of a type, like "AWS::S3::Bucket", by their names in the template."""
    return {name: one["Properties"] for name, one in resources().items() if one["Type"] == kind}


def named(kind: str) -> dict[str, Json]:
    """The properties of all resources of a type, by the names that AWS knows them by."""
    return {properties[NAME[kind]]: properties for properties in of_type(kind).values()}


def statements(document: Json) -> Iterator[Json]:
    """The statements of a policy, with lists where there may be one."""
    for one in document["Statement"]:
        yield {**one, "Action": _listed(one["Action"]), "Resource": _listed(one.get("Resource", []))}


def grants(role: str) -> set[tuple[str, str]]:
    """What a role may do: actions, each with one resource."""
    return {
        (action, resource)
        for policy in named("AWS::IAM::Role")[role]["Policies"]
        for one in statements(policy["PolicyDocument"])
        for action in one["Action"]
        for resource in one["Resource"]
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _filled(value: Any) -> Any:
    if isinstance(value, Mapping):
        if len(value) == 1:
            ((key, inner),) = value.items()
            if key == "Ref":
                return _ref(inner)
            if key == "Fn::GetAtt":
                return _attribute(*(inner if isinstance(inner, list) else inner.split(".")))
            if key == "Fn::If":
                return _filled(inner[1])  # all is asked for
            if key == "Fn::Select":
                return _filled(inner[1])[inner[0]]
            if key == "Fn::Split":
                return _filled(inner[1]).split(inner[0])
            if key == "Fn::Sub":
                text, more = inner if isinstance(inner, list) else (inner, {})
                return re.sub(r"\$\{([\w.:]+)\}", lambda found: _named_in_text(found[1], more), text)
        return {key: _filled(one) for key, one in value.items()}
    return [_filled(one) for one in value] if isinstance(value, list) else value


def _named_in_text(name: str, more: Mapping[str, Any]) -> str:
    if name in more:
        return str(_filled(more[name]))
    return str(_attribute(*name.split(".")) if "." in name else _ref(name))


def _ref(name: str) -> Any:
    pseudo = {"AWS::AccountId": NAMES.account, "AWS::Region": NAMES.region, "AWS::Partition": "aws"}
    if name in pseudo:
        return pseudo[name]
    if name in source()["Parameters"]:
        return PARAMETERS.get(name, source()["Parameters"][name].get("Default"))
    kind = source()["Resources"][name]["Type"]
    return _attribute(name, "Arn") if kind in REF_IS_ARN else _name(name)


def _attribute(name: str, attribute: str) -> str:
    return ARN[source()["Resources"][name]["Type"]].format(_name(name)) if attribute == "Arn" else _name(name)


def _name(name: str) -> str:
    resource = source()["Resources"][name]
    return str(_filled(resource["Properties"][NAME[resource["Type"]]]))
