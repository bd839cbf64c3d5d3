"""What the embedded IAM says of a role: the one that docs/training.md tells people to make."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.stack import Stack


def decisions(role: str, action: str, *resources: str) -> list[str]:
    found = boto3.client("iam").simulate_principal_policy(
        PolicySourceArn=role, ActionNames=[action], ResourceArns=list(resources)
    )
    assert [one["EvalResourceName"] for one in found["EvaluationResults"]] == list(resources)
    return [one["EvalDecision"] for one in found["EvaluationResults"]]


def test_the_training_role_may_write_results_below_its_prefix_and_nowhere_else(stack: Stack) -> None:
    bucket = f"arn:aws:s3:::{stack.training_bucket}"
    assert decisions(
        stack.training_role,
        "s3:PutObject",
        f"{bucket}/training/jobs/model.tar.gz",
        f"{bucket}/training/data/a.png",
        f"{bucket}/else",
        f"arn:aws:s3:::{stack.settings.inbox_bucket}/training/jobs/model.tar.gz",
    ) == ["allowed", "implicitDeny", "implicitDeny", "implicitDeny"]


def test_the_training_role_may_read_what_it_trains_on_and_delete_nothing(stack: Stack) -> None:
    picture = f"arn:aws:s3:::{stack.training_bucket}/training/data/train/bicycle/a.png"
    assert decisions(stack.training_role, "s3:GetObject", picture) == ["allowed"]
    assert decisions(stack.training_role, "s3:DeleteObject", picture) == ["implicitDeny"]


@pytest.fixture
def denied(stack: Stack) -> Any:
    """A role that may read everything but one bucket."""
    iam = boto3.client("iam")
    role = iam.create_role(RoleName="denied", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    policy = """{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::secret/*"}]}"""
    arn = iam.create_policy(PolicyName="denied", PolicyDocument=policy)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="denied", PolicyArn=arn)
    yield role
    iam.detach_role_policy(RoleName="denied", PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    iam.delete_role(RoleName="denied")


def test_a_denial_in_an_attached_policy_outweighs_what_is_allowed(denied: str) -> None:
    found = decisions(denied, "s3:GetObject", "arn:aws:s3:::secret/a", "arn:aws:s3:::open/a")
    assert found == ["explicitDeny", "allowed"]


def test_an_unknown_role_is_told(stack: Stack) -> None:
    with pytest.raises(ClientError, match="NoSuchEntity"):
        decisions("arn:aws:iam::123456789012:role/nobody", "s3:GetObject", "*")


STEPS = {
    "ForAllValues:StringEquals": {"dynamodb:Attributes": ["attempt", "id", "steps"]},
    "StringEqualsIfExists": {"dynamodb:ReturnValues": ["NONE"]},
}


def only_if(condition: dict[str, Any]) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "dynamodb:UpdateItem", "Resource": "*", "Condition": condition}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.fixture
def conditional(stack: Stack, request: pytest.FixtureRequest) -> Any:
    """A role that may update items if a condition is met."""
    iam = boto3.client("iam")
    role = iam.create_role(RoleName="conditional", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    policy = json.dumps(only_if(request.param))
    iam.put_role_policy(RoleName="conditional", PolicyName="conditional", PolicyDocument=policy)
    yield role
    iam.delete_role_policy(RoleName="conditional", PolicyName="conditional")
    iam.delete_role(RoleName="conditional")


def decided(role: str, **told: list[str]) -> str:
    entries: list[Any] = [
        {"ContextKeyName": f"dynamodb:{key}", "ContextKeyValues": values, "ContextKeyType": "stringList"}
        for key, values in told.items()
    ]
    (found,) = boto3.client("iam").simulate_principal_policy(
        PolicySourceArn=role, ActionNames=["dynamodb:UpdateItem"], ContextEntries=entries
    )["EvaluationResults"]
    decision: str = found["EvalDecision"]
    return decision


@pytest.mark.parametrize("conditional", [STEPS], indirect=True)
def test_a_condition_is_met_by_what_the_question_tells_of_the_request(conditional: str) -> None:
    assert decided(conditional, Attributes=["id", "steps"]) == "allowed"
    assert decided(conditional, Attributes=["id", "steps", "status"]) == "implicitDeny"
    assert decided(conditional, Attributes=["id"], ReturnValues=["NONE"]) == "allowed"
    assert decided(conditional, Attributes=["id"], ReturnValues=["ALL_OLD"]) == "implicitDeny"


@pytest.mark.parametrize("conditional", [{"Bool": {"aws:SecureTransport": "true"}}], indirect=True)
def test_a_condition_that_is_not_known_is_not_met(conditional: str) -> None:
    assert decided(conditional) == "implicitDeny"


@pytest.mark.parametrize("conditional", [{"StringEquals": {"dynamodb:Select": "COUNT"}}], indirect=True)
def test_what_has_to_be_told_is_not_met_by_silence(conditional: str) -> None:
    assert decided(conditional) == "implicitDeny"
    assert decided(conditional, Select=["COUNT"]) == "allowed"
