"""What Chalice's own deployer makes of the app, up to the point where it would call AWS."""

import importlib
import json
import os
import sys
from typing import Any
from unittest.mock import patch

import pytest
from chalice.cli.factory import CLIFactory
from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
from chalice.deploy.models import (
    CloudWatchEvent,
    FileBasedIAMPolicy,
    LambdaFunction,
    LogGroup,
    ManagedIAMRole,
    Model,
    RestAPI,
    S3BucketNotification,
    ScheduledEvent,
)
from chalice.deploy.swagger import TemplatedSwaggerGenerator
from chalice.deploy.validate import validate_configuration

from infrastructure import chalice
from infrastructure.names import INBOX_PREFIX, REST, Names
from local import ACCOUNT, REGION, ROOT, resources
from local.stack import stage_config
from tests.calls import FUNCTIONS

SCHEDULES = {"reconcile": "rate(1 hour)", "measure": "rate(5 minutes)"}

EACH_STAGE = pytest.mark.parametrize("stage", ["dev", "prod"])


def plan(stage: str) -> list[Model]:
    with patch.dict(os.environ), patch.dict(sys.modules):
        sys.modules.pop("app", None)
        config = CLIFactory(str(ROOT), environ=os.environ).create_config_obj(stage)
        validate_configuration(config)
        graph = ApplicationGraphBuilder().build(config, stage)
        planned: list[Model] = DependencyBuilder().build_dependencies(graph)
        return planned


def app() -> Any:
    """The app, with the environment of the first stage."""
    with patch.dict(os.environ, stage_config().environment_variables):
        return importlib.import_module("app").app


def planned(stage: str, kind: type[Model]) -> list[Any]:
    """What is planned of a kind."""
    return [one for one in plan(stage) if isinstance(one, kind)]


def names(stage: str) -> Names:
    return Names(stage, ACCOUNT, REGION)


@EACH_STAGE
def test_chalice_plans_each_function_with_a_role_and_a_policy_file_of_its_own(stage: str) -> None:
    functions = planned(stage, LambdaFunction)
    assert {one.resource_name for one in functions} == set(FUNCTIONS)
    roles = [one.role for one in functions]
    assert all(isinstance(role, ManagedIAMRole) for role in roles)
    assert len({role.role_name for role in roles}) == len(FUNCTIONS)
    for one in functions:
        assert isinstance(one.role.policy, FileBasedIAMPolicy)
        assert one.role.policy.filename.endswith(f"policy-{stage}-{one.resource_name}.json")


@EACH_STAGE
def test_chalice_plans_the_trigger_on_the_inbox_of_the_stage(stage: str) -> None:
    (trigger,) = planned(stage, S3BucketNotification)
    assert (trigger.bucket, trigger.prefix) == (names(stage).inbox_bucket, INBOX_PREFIX)
    assert trigger.events == ["s3:ObjectCreated:*"]
    assert trigger.lambda_function.resource_name == "on_picture"


@EACH_STAGE
def test_chalice_plans_a_rule_for_executions_of_the_stages_own_workflow_that_end_badly(stage: str) -> None:
    (rule,) = planned(stage, CloudWatchEvent)
    assert rule.lambda_function.resource_name == "on_stopped"
    assert rule.rule_name == f"{names(stage).function('on_stopped')}-event"
    assert json.loads(rule.event_pattern) == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
            "stateMachineArn": [names(stage).state_machine_arn],
        },
    }


@EACH_STAGE
def test_chalice_plans_the_schedules(stage: str) -> None:
    rules = planned(stage, ScheduledEvent)
    assert {one.lambda_function.resource_name: one.schedule_expression for one in rules} == SCHEDULES
    assert {one.rule_name for one in rules} == {f"{names(stage).function(name)}-event" for name in SCHEDULES}


@EACH_STAGE
def test_the_functions_have_the_names_that_are_known_beforehand(stage: str) -> None:
    made = {one.resource_name: one.function_name for one in planned(stage, LambdaFunction)}
    assert made == {name: names(stage).function(name) for name in FUNCTIONS}


@EACH_STAGE
def test_the_rest_api_has_its_own_stage_and_takes_signed_requests_alone(stage: str) -> None:
    (api,) = planned(stage, RestAPI)
    assert (api.api_gateway_stage, api.lambda_function.resource_name) == ("api", REST)
    paths = TemplatedSwaggerGenerator().generate_swagger(app(), api)["paths"]
    assert {path: set(methods) for path, methods in paths.items()} == {
        "/classifications": {"post"},
        "/classifications/{identity}": {"get"},
    }
    assert all(method["security"] == [{"sigv4": []}] for methods in paths.values() for method in methods.values())


@EACH_STAGE
def test_log_groups_are_left_to_the_template(stage: str) -> None:
    assert planned(stage, LogGroup) == []


def test_events_that_a_function_gives_up_are_kept_the_same_here_and_on_aws() -> None:
    assert chalice.ASYNCHRONOUS == resources.ASYNCHRONOUS


@EACH_STAGE
def test_every_function_that_is_told_of_events_has_those_kept_that_it_gives_up_unless_the_next_says_the_same(
    stage: str,
) -> None:
    told = [*planned(stage, S3BucketNotification), *planned(stage, CloudWatchEvent), *planned(stage, ScheduledEvent)]
    assert {one.lambda_function.resource_name for one in told} - {"measure"} == set(chalice.ASYNCHRONOUS)
