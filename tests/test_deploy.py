"""What Chalice's own deployer makes of the app, up to the point where it would call AWS."""

import importlib
import json
import os
import sys
from collections.abc import Mapping
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

from chalicelib.errors import SettingsError
from infrastructure import chalice
from infrastructure.names import INBOX_PREFIX, OPEN_ROUTES, REST, Names
from local import ACCOUNT, REGION, ROOT, resources
from tests.calls import FUNCTIONS
from tests.rest import PICTURES, POOL, ROUTES

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


def app(stage: str, variables: Mapping[str, str]) -> Any:
    """The app as it is imported in a stage with some variables more."""
    own = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"][stage]["environment_variables"]
    with patch.dict(os.environ, {**own, **variables}), patch.dict(sys.modules):
        sys.modules.pop("app", None)
        return importlib.import_module("app").app


def described(stage: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """What Chalice tells API Gateway of the REST API."""
    (api,) = planned(stage, RestAPI)
    swagger: dict[str, Any] = TemplatedSwaggerGenerator().generate_swagger(app(stage, variables), api)
    return swagger


def guards(swagger: Mapping[str, Any]) -> dict[str, str]:
    """By method and path, what API Gateway asks for before it lets a request in; "" where it asks for nothing."""
    known = swagger.get("securityDefinitions", {})
    return {
        f"{method.upper()} {path}": " ".join(
            known[name]["x-amazon-apigateway-authtype"] for one in operation.get("security", []) for name in one
        )
        for path, methods in swagger["paths"].items()
        for method, operation in methods.items()
    }


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
def test_the_rest_api_has_its_own_stage_and_asks_its_function(stage: str) -> None:
    (api,) = planned(stage, RestAPI)
    assert (api.api_gateway_stage, api.lambda_function.resource_name) == ("api", REST)


@EACH_STAGE
def test_every_route_takes_signed_requests_alone(stage: str) -> None:
    found = guards(described(stage, {}))
    assert found.keys() == ROUTES
    assert set(found.values()) == {"awsSigv4"}


@EACH_STAGE
def test_where_people_sign_in_every_route_wants_them_to_have_but_for_the_files_of_the_page(stage: str) -> None:
    swagger = described(stage, POOL)
    found = guards(swagger)
    assert found.keys() == ROUTES
    assert {route for route, guard in found.items() if not guard} == OPEN_ROUTES
    assert {guard for guard in found.values() if guard} == {"cognito_user_pools"}
    (pool,) = swagger["securityDefinitions"].values()
    assert pool["x-amazon-apigateway-authorizer"]["providerARNs"] == [POOL["USER_POOL_ARN"]]
    assert (pool["in"], pool["name"]) == ("header", "Authorization")


@EACH_STAGE
@pytest.mark.parametrize("lacking", POOL)
def test_a_pool_that_is_only_half_configured_opens_nothing(stage: str, lacking: str) -> None:
    with pytest.raises(SettingsError, match=lacking):
        app(stage, {name: value for name, value in POOL.items() if name != lacking})


@EACH_STAGE
def test_a_route_without_an_authorizer_would_be_seen(stage: str) -> None:
    made = app(stage, {})
    made.route("/open", methods=["GET"])(dict)
    swagger = TemplatedSwaggerGenerator().generate_swagger(made, planned(stage, RestAPI)[0])
    assert {route for route, guard in guards(swagger).items() if not guard} == {"GET /open"}


@EACH_STAGE
def test_pictures_come_through_api_gateway_as_they_are(stage: str) -> None:
    """What is not of these kinds is taken for text, and broken on the way."""
    kinds = described(stage, {})["x-amazon-apigateway-binary-media-types"]
    assert set(kinds) >= PICTURES
    assert not [kind for kind in kinds if kind.startswith(("application/json", "text/", "*"))]


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
