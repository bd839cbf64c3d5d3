"""The real `chalice deploy`, in a process of its own, against the embedded AWS with nothing in it.

A test that changes what is deployed leaves it deployed; the last class takes it away, and stands last for that.
"""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest

from infrastructure.names import OPEN_ROUTES, REST
from local import ROOT, samples
from local.resources import ASYNCHRONOUS
from local.stack import Stack, stage_config
from tests.calls import FUNCTIONS
from tests.rest import PICTURES, POOL, ROUTES
from tests.runtime.account import (
    DEPLOY,
    NAMES,
    Account,
    Project,
    copy_project,
    deploying,
    empty_account,
    identity,
    python_of,
)

pytestmark = deploying

Json = dict[str, Any]

RULES = ("on_stopped", "reconcile", "measure")

TAGS = {"stage": "dev", "project": "scones-unlimited"}

EXTRA = """

@app.schedule("rate(1 day)", name="extra")
def extra(event):
    pass
"""
"""A function more for the app."""

SURE = {"id": "1", "attempt": 1, "labels": ["bicycle", "motorcycle"], "inferences": [0.99, 0.01], "known": 1.0}
"""What `classify` gives, as far as `filter` looks at it."""


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with empty_account() as made:
        yield made


@pytest.fixture(scope="module")
def copied(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project, whose template is applied, and nothing deployed yet."""
    made = copy_project(tmp_path_factory.mktemp("project"), account)
    made.up()
    return made


@pytest.fixture(scope="module")
def bare(account: Account, copied: Project) -> Json:
    """What the template alone makes of the kinds of things that `chalice deploy` makes."""
    return everything(account)


@pytest.fixture(scope="module")
def project(copied: Project, bare: Json) -> Project:
    copied.deploy()
    return copied


def functions(client: Any) -> dict[str, Json]:
    """What Lambda has, by name, without what changes from one deployment to the next."""
    kept = ("Handler", "Runtime", "MemorySize", "Timeout", "Environment")
    return {
        one["FunctionName"]: {name: one[name] for name in kept}
        for page in client.get_paginator("list_functions").paginate()
        for one in page["Functions"]
    }


def rules(client: Any) -> dict[str, Json]:
    """What EventBridge has, by name: when, and who is told."""
    return {
        one["Name"]: {
            "pattern": json.loads(one.get("EventPattern", "null")),
            "schedule": one.get("ScheduleExpression"),
            "state": one["State"],
            "targets": [
                (target["Id"], target["Arn"]) for target in client.list_targets_by_rule(Rule=one["Name"])["Targets"]
            ],
        }
        for one in client.list_rules()["Rules"]
    }


def notifications(client: Any, bucket: str) -> list[Json]:
    """Whom S3 tells of what, without the names that it makes up itself."""
    got = client.get_bucket_notification_configuration(Bucket=bucket)
    return [
        {name: value for name, value in one.items() if name != "Id"}
        for one in got.get("LambdaFunctionConfigurations", [])
    ]


def permissions(client: Any, function: str) -> list[Json]:
    """Who may invoke a function."""
    try:
        policy = client.get_policy(FunctionName=function)["Policy"]
    except client.exceptions.ResourceNotFoundException:
        return []
    statements: list[Json] = json.loads(policy)["Statement"]
    return statements


def policies(client: Any) -> dict[str, dict[str, Json]]:
    """The inline policies of each role."""
    return {
        role["RoleName"]: {
            name: client.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
            for name in client.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        }
        for role in client.list_roles()["Roles"]
    }


def apis(client: Any) -> dict[str, Json]:
    """The REST APIs: the stages, what is no text, and, for each path and method, who is let in and who is asked."""
    return {
        api["id"]: {
            "stages": [one["stageName"] for one in client.get_stages(restApiId=api["id"])["item"]],
            "binary": sorted(api["binaryMediaTypes"]),
            "guards": {
                f"{method} {resource['path']}": described["authorizationType"]
                for resource in client.get_resources(restApiId=api["id"])["items"]
                for method, described in (resource.get("resourceMethods") or {}).items()
            },
            "routes": {
                (resource["path"], method): described["methodIntegration"]["uri"]
                for resource in client.get_resources(restApiId=api["id"])["items"]
                for method, described in (resource.get("resourceMethods") or {}).items()
            },
        }
        for api in client.get_rest_apis()["items"]
    }


def log_groups(client: Any) -> dict[str, int | None]:
    """The log groups, and the days that each keeps what is in it."""
    pages = client.get_paginator("describe_log_groups").paginate()
    return {one["logGroupName"]: one.get("retentionInDays") for page in pages for one in page["logGroups"]}


def everything(account: Account) -> Json:
    """All that there is of the kinds of things that `chalice deploy` makes."""
    lambdas = account.client("lambda")
    names = functions(lambdas)
    return {
        "functions": names,
        "code": {name: lambdas.get_function(FunctionName=name)["Configuration"]["CodeSha256"] for name in names},
        "permissions": {name: permissions(lambdas, name) for name in names},
        "rules": rules(account.client("events")),
        "notifications": notifications(account.client("s3"), NAMES.inbox_bucket),
        "policies": policies(account.client("iam")),
        "apis": apis(account.client("apigateway")),
        "log groups": log_groups(account.client("logs")),
    }


class TestDeployed:
    def test_it_makes_every_function_under_the_name_that_is_known_beforehand(
        self, project: Project, account: Account
    ) -> None:
        assert set(functions(account.client("lambda"))) == {NAMES.function(name) for name in FUNCTIONS}

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_a_function_gets_what_the_stage_says(self, name: str, project: Project, account: Account) -> None:
        made = functions(account.client("lambda"))[NAMES.function(name)]
        asked = stage_config().scope("dev", name)
        assert made["MemorySize"] == asked.lambda_memory_size
        assert made["Timeout"] == asked.lambda_timeout
        assert made["Environment"] == {"Variables": asked.environment_variables}
        assert made["Runtime"] == "python{}.{}".format(*python_of(DEPLOY))

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_a_function_can_be_told_by_its_tags(self, name: str, project: Project, account: Account) -> None:
        tags = account.client("lambda").list_tags(Resource=NAMES.function_arn(name))["Tags"]
        assert TAGS.items() <= tags.items()

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_a_function_works_as_a_role_of_its_own_that_may_do_what_its_file_says(
        self, name: str, project: Project, account: Account
    ) -> None:
        described = account.client("lambda").get_function_configuration(FunctionName=NAMES.function(name))
        role = described["Role"].rpartition("/")[2]
        assert role == f"{NAMES.prefix}-{name}"
        (document,) = policies(account.client("iam"))[role].values()
        assert document == json.loads((ROOT / ".chalice" / f"policy-dev-{name}.json").read_text())
        trusted = account.client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        assert [one["Principal"] for one in trusted] == [{"Service": "lambda.amazonaws.com"}]
        assert not account.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"]

    def test_only_those_who_call_a_function_may(self, project: Project, account: Account) -> None:
        lambdas = account.client("lambda")
        (api,) = apis(account.client("apigateway"))
        expected = {
            **{
                f"{name}": ("events.amazonaws.com", NAMES.arn("events", f"rule/{NAMES.prefix}-{name}-event"))
                for name in RULES
            },
            "on_picture": ("s3.amazonaws.com", f"arn:aws:s3:::{NAMES.inbox_bucket}"),
            REST: ("apigateway.amazonaws.com", NAMES.arn("execute-api", f"{api}/*")),
        }
        for name in FUNCTIONS:
            allowed = [
                (one["Principal"]["Service"], one["Condition"]["ArnLike"]["AWS:SourceArn"])
                for one in permissions(lambdas, NAMES.function(name))
            ]
            assert allowed == ([expected[name]] if name in expected else []), name

    def test_the_trigger_of_a_bucket_holds_for_this_account_alone(self, project: Project, account: Account) -> None:
        (statement,) = permissions(account.client("lambda"), NAMES.function("on_picture"))
        assert statement["Condition"]["StringEquals"] == {"AWS:SourceAccount": NAMES.account}

    def test_the_rest_api_has_the_routes_and_asks_the_function(self, project: Project, account: Account) -> None:
        (api,) = apis(account.client("apigateway")).values()
        assert api["stages"] == [stage_config().api_gateway_stage]
        assert set(api["guards"]) == ROUTES
        assert all(NAMES.function_arn(REST) in uri for uri in api["routes"].values())

    def test_every_route_of_the_rest_api_asks_for_the_signature_of_iam(
        self, project: Project, account: Account
    ) -> None:
        (api,) = apis(account.client("apigateway")).values()
        assert set(api["guards"].values()) == {"AWS_IAM"}

    def test_pictures_come_through_the_rest_api_as_they_are(self, project: Project, account: Account) -> None:
        (api,) = apis(account.client("apigateway")).values()
        assert set(api["binary"]) >= PICTURES

    def test_every_function_logs_where_the_template_has_made_room_and_nobody_else_made_any(
        self, project: Project, account: Account, bare: Json
    ) -> None:
        groups = log_groups(account.client("logs"))
        assert groups == bare["log groups"]
        functions = {NAMES.function_log_group(name) for name in FUNCTIONS}
        assert functions == {name for name in groups if name.startswith("/aws/lambda/")}
        assert all(groups[name] for name in functions)

    def test_where_lost_events_go_can_be_said_afterwards_and_a_deployment_leaves_it(
        self, project: Project, account: Account
    ) -> None:
        lambdas = account.client("lambda")
        destination = {"OnFailure": {"Destination": NAMES.lost_events_arn}}
        for name, retries in ASYNCHRONOUS.items():
            lambdas.put_function_event_invoke_config(
                FunctionName=NAMES.function(name), MaximumRetryAttempts=retries, DestinationConfig=destination
            )
        project.deploy()
        for name, retries in ASYNCHRONOUS.items():
            kept = lambdas.get_function_event_invoke_config(FunctionName=NAMES.function(name))
            assert (kept["DestinationConfig"]["OnFailure"], kept["MaximumRetryAttempts"]) == (
                destination["OnFailure"],
                retries,
            )


class TestSameAsLocal:
    """What `python -m local` registers by itself, without a deployment."""

    def test_the_functions_are_the_same_but_for_the_rest_api_which_a_server_answers_there_and_the_python(
        self, stack: Stack, project: Project, account: Account
    ) -> None:
        here = functions(boto3.client("lambda", endpoint_url=stack.aws_url))
        deployed = functions(account.client("lambda"))
        deployed.pop(NAMES.function(REST))
        for one in (*here.values(), *deployed.values()):
            one.pop("Runtime")
        assert here == deployed

    def test_the_rules_are_the_same(self, stack: Stack, project: Project, account: Account) -> None:
        deployed = rules(account.client("events"))
        assert set(deployed) == {f"{NAMES.function(name)}-event" for name in RULES}
        assert rules(boto3.client("events", endpoint_url=stack.aws_url)) == deployed

    def test_the_trigger_is_the_same(self, stack: Stack, project: Project, account: Account) -> None:
        deployed = notifications(account.client("s3"), NAMES.inbox_bucket)
        assert len(deployed) == 1
        here = boto3.client("s3", endpoint_url=stack.aws_url)
        assert notifications(here, stack.settings.inbox_bucket) == deployed


class TestAgain:
    def test_a_second_deployment_changes_nothing_and_makes_nothing_twice(
        self, project: Project, account: Account
    ) -> None:
        before = everything(account)
        assert "Reusing existing deployment package" in project.deploy()
        assert everything(account) == before

    def test_it_sends_one_package_for_all_functions(self, project: Project, account: Account) -> None:
        assert set(everything(account)["code"].values()) == {project.digest}

    def test_a_changed_setting_reaches_every_function_and_changes_back(
        self, project: Project, account: Account
    ) -> None:
        path = project.folder / ".chalice" / "config.json"
        text, before = path.read_text(), everything(account)
        config = json.loads(text)
        config["stages"]["dev"]["environment_variables"]["CONFIDENCE_THRESHOLD"] = "0.5"
        path.write_text(json.dumps(config))
        project.deploy()
        changed = functions(account.client("lambda")).values()
        assert {one["Environment"]["Variables"]["CONFIDENCE_THRESHOLD"] for one in changed} == {"0.5"}
        path.write_text(text)
        project.deploy()
        assert everything(account) == before

    def test_a_function_that_is_taken_out_again_goes_with_all_that_belongs_to_it(
        self, project: Project, account: Account
    ) -> None:
        code, path = project.folder / "app.py", project.folder / ".chalice" / "config.json"
        text, configured, before = code.read_text(), path.read_text(), everything(account)
        config = json.loads(configured)
        config["stages"]["dev"]["lambda_functions"]["extra"] = {"iam_policy_file": "policy-dev-filter.json"}
        path.write_text(json.dumps(config))
        code.write_text(f"{text}{EXTRA}")
        project.deploy()
        more = everything(account)
        for kind, name in (("functions", "extra"), ("policies", "extra"), ("rules", "extra-event")):
            assert set(more[kind]) - set(before[kind]) == {f"{NAMES.prefix}-{name}"}, kind
        code.write_text(text)
        path.write_text(configured)
        project.deploy()
        assert everything(account) == before


class TestUsed:
    def test_chalice_invoke_gets_a_functions_answer(self, project: Project) -> None:
        done = project.chalice("invoke", "--name", "filter", given=json.dumps(SURE))
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert (answer["label"], answer["confidence"]) == ("bicycle", 0.99)

    def test_chalice_invoke_tells_of_a_functions_error(self, project: Project) -> None:
        unsure = json.dumps(SURE | {"inferences": [0.6, 0.4]})
        done = project.chalice("invoke", "--name", "filter", given=unsure)
        assert done.returncode != 0
        assert "ThresholdConfidenceNotMet" in done.stdout + done.stderr

    def test_chalice_url_tells_where_the_rest_api_is(self, project: Project, account: Account) -> None:
        (api,) = apis(account.client("apigateway"))
        done = project.chalice("url")
        assert done.stdout.strip() == f"https://{api}.execute-api.{NAMES.region}.amazonaws.com/api/"

    def test_a_picture_that_is_dropped_comes_out_with_a_record(self, project: Project, account: Account) -> None:
        picture = samples.encode(samples.render(samples.draw_bicycle), "PNG")
        source = account.drop(f"inbox/{uuid4()}.png", picture)
        assert account.status(identity(source)) == "ACCEPTED"

    def test_what_is_dropped_beside_the_inbox_is_left_alone(self, project: Project, account: Account) -> None:
        beside = account.drop("elsewhere/photo.png", b"")
        later = account.drop(f"inbox/{uuid4()}.txt", b"no picture")
        assert account.status(identity(later)) == "REJECTED"
        assert not account.item(identity(beside))

    def test_an_execution_that_ends_without_a_record_is_written_down(self, project: Project, account: Account) -> None:
        name = uuid4().hex
        texts = {"id": name, "status": "PENDING", "s3_bucket": "b", "s3_key": "k", "created_at": "0", "updated_at": "0"}
        item = {key: {"S": text} for key, text in texts.items()} | {"attempt": {"N": "1"}}
        account.client("dynamodb").put_item(TableName=NAMES.records_table, Item=item)
        account.client("stepfunctions").start_execution(stateMachineArn=NAMES.state_machine_arn, name=name, input="{}")
        assert account.status(name) == "FAILED"
        assert json.loads(account.item(name)["error"]["S"])["Error"] == "INVALID_INPUT"


class TestSignIn:
    def test_where_people_sign_in_the_files_of_the_page_alone_are_open_and_it_can_be_taken_back(
        self, project: Project, account: Account
    ) -> None:
        path = project.folder / ".chalice" / "config.json"
        text, before = path.read_text(), everything(account)
        config = json.loads(text)
        config["stages"]["dev"]["environment_variables"] |= POOL
        path.write_text(json.dumps(config))
        project.deploy()
        (api,) = apis(account.client("apigateway")).values()
        assert {route for route, guard in api["guards"].items() if guard == "NONE"} == OPEN_ROUTES
        assert {api["guards"][route] for route in ROUTES - OPEN_ROUTES} == {"COGNITO_USER_POOLS"}
        path.write_text(text)
        project.deploy()
        assert everything(account) == before


class TestDeleted:
    def test_chalice_delete_leaves_nothing_of_it_and_all_that_is_not_its_own(
        self, project: Project, account: Account, bare: Json
    ) -> None:
        done = project.chalice("delete")
        assert done.returncode == 0, done.stdout + done.stderr
        assert everything(account) == bare
        assert [bare[kind] for kind in ("functions", "rules", "notifications", "apis")] == [{}, {}, [], {}]
        assert account.client("s3").list_object_versions(Bucket=NAMES.inbox_bucket)["Versions"]
        assert account.client("dynamodb").describe_table(TableName=NAMES.records_table)["Table"]
        assert account.client("stepfunctions").describe_state_machine(stateMachineArn=NAMES.state_machine_arn)

    def test_it_can_be_deployed_once_more_and_what_came_in_between_is_for_reconcile(
        self, project: Project, account: Account
    ) -> None:
        assert not everything(account)["functions"]
        between = account.drop(f"inbox/{uuid4()}.txt", b"no picture")
        project.deploy()
        assert len(everything(account)["functions"]) == len(FUNCTIONS)
        later = account.drop(f"inbox/{uuid4()}.txt", b"no picture")
        assert account.status(identity(later)) == "REJECTED"
        assert not account.item(identity(between))
