"""What Chalice's own deployer makes of the app, up to the point where it would call AWS."""

import os
import sys
from unittest.mock import patch

import pytest
from chalice.cli.factory import CLIFactory
from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
from chalice.deploy.models import FileBasedIAMPolicy, LambdaFunction, ManagedIAMRole, Model, S3BucketNotification
from chalice.deploy.validate import validate_configuration

from local.stack import ROOT

FUNCTIONS = {"serialize", "classify", "filter", "on_picture", "api_handler"}


def plan(stage: str) -> list[Model]:
    with patch.dict(os.environ), patch.dict(sys.modules):
        sys.modules.pop("app", None)
        config = CLIFactory(str(ROOT), environ=os.environ).create_config_obj(stage)
        validate_configuration(config)
        graph = ApplicationGraphBuilder().build(config, stage)
        planned: list[Model] = DependencyBuilder().build_dependencies(graph)
        return planned


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_chalice_plans_each_function_with_a_role_and_a_policy_file_of_its_own(stage: str) -> None:
    functions = [one for one in plan(stage) if isinstance(one, LambdaFunction)]
    assert {one.resource_name for one in functions} == FUNCTIONS
    roles = [one.role for one in functions]
    assert all(isinstance(role, ManagedIAMRole) for role in roles)
    assert len({role.role_name for role in roles if isinstance(role, ManagedIAMRole)}) == len(FUNCTIONS)
    for one in functions:
        assert isinstance(one.role, ManagedIAMRole)
        assert isinstance(one.role.policy, FileBasedIAMPolicy)
        assert one.role.policy.filename.endswith(f"policy-{stage}-{one.resource_name}.json")


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_chalice_plans_the_trigger_on_the_inbox_of_the_stage(stage: str) -> None:
    (trigger,) = [one for one in plan(stage) if isinstance(one, S3BucketNotification)]
    assert (trigger.bucket, trigger.prefix) == (f"scones-unlimited-{stage}-inbox", "inbox/")
    assert trigger.events == ["s3:ObjectCreated:*"]


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_functions_have_the_names_that_are_known_beforehand(stage: str) -> None:
    names = {one.function_name for one in plan(stage) if isinstance(one, LambdaFunction)}
    steps = {f"scones-unlimited-{stage}-{name}" for name in FUNCTIONS - {"api_handler"}}
    assert names == steps | {f"scones-unlimited-{stage}"}
