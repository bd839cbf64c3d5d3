"""From a model to an endpoint that the workflow asks, and back to nothing, on the embedded stack."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from chalicelib import workflow
from chalicelib.store import Record, Status
from local.stack import Stack
from tests.training import drawings
from tests.training.lifecycle import Project, run, run_well
from training import deploy
from training.layout import COMMITTED_MODEL

ENDPOINT = "scones-unlimited-dev"
GROUP_ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/scones-unlimited"
NO_MODEL = "arn:aws:sagemaker:us-east-1:123456789012:model-package/scones-unlimited/99"
BICYCLE = drawings.encode(drawings.bicycle())


@pytest.fixture
def registered(project: Project) -> Project:
    assert project.evaluate().exit_code == 0
    assert project.register("model", "--approve").exit_code == 0
    return project


def sagemaker() -> Any:
    return boto3.client("sagemaker")


def config_name() -> str:
    return str(sagemaker().describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"])


def parsed(output: str) -> dict[str, Any]:
    """The JSON object that a command has printed."""
    content: dict[str, Any] = json.loads(output)
    return content


def test_the_workflow_asks_the_endpoint_that_was_deployed(
    stack: Stack, ended: Callable[[str], Record], registered: Project
) -> None:
    done = registered.deploy()
    assert done.exit_code == 0, done.output
    assert "2 × ml.m5.large" in done.output
    assert f"{ENDPOINT} now serves drawn-1. Asked about pictures, it answers:" in done.output
    record = ended(workflow.identity(stack.drop("deployed.png", BICYCLE)))
    assert (record.status, record.label, record.model) == (Status.ACCEPTED, "bicycle", "drawn-1")


def test_running_it_again_changes_nothing_and_asks_again(registered: Project) -> None:
    assert registered.deploy().exit_code == 0
    before = sagemaker().describe_endpoint(EndpointName=ENDPOINT)
    again = registered.deploy()
    assert "serves already drawn-1" in again.output
    after = sagemaker().describe_endpoint(EndpointName=ENDPOINT)
    assert after["LastModifiedTime"] == before["LastModifiedTime"]
    assert len(sagemaker().list_endpoint_configs(NameContains=ENDPOINT)["EndpointConfigs"]) == 1


def test_another_model_takes_its_place_by_canary(
    stack: Stack, ended: Callable[[str], Record], registered: Project
) -> None:
    registered.deploy()
    registered.write_model("second", version="drawn-2")
    registered.evaluate("second")
    registered.compare("second")
    registered.register("second", "--approve")
    done = registered.deploy()
    assert done.exit_code == 0, done.output
    assert "now serves drawn-2" in done.output
    policy = sagemaker().describe_endpoint(EndpointName=ENDPOINT)["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "CANARY"
    assert ended(workflow.identity(stack.drop("second.png", BICYCLE))).model == "drawn-2"


def test_an_alarm_rolls_an_update_back_and_the_first_model_serves_on(
    stack: Stack, ended: Callable[[str], Record], registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered.deploy()
    before = config_name()
    registered.write_model("second", version="drawn-2")
    registered.evaluate("second")
    registered.compare("second")
    registered.register("second", "--approve")
    cloudwatch = boto3.client("cloudwatch")
    monkeypatch.setattr(deploy, "alarm_requests", lambda _: [])  # they are there, and must not become quiet again
    for name in deploy.alarm_names("dev"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    done = registered.deploy()
    assert done.exit_code == 1
    assert "was rolled back; it serves what it served before" in done.output
    assert config_name() == before
    assert ended(workflow.identity(stack.drop("rolled-back.png", BICYCLE))).model == "drawn-1"


def test_a_model_that_does_not_come_up_is_told_and_can_be_replaced(registered: Project) -> None:
    record = registered.write_model("broken", version="drawn-3", provenance={"backbone_sha256": "0" * 64})
    assert registered.register("broken", "--unevaluated").exit_code == 0
    failed = registered.deploy("--unapproved")
    assert failed.exit_code == 1
    assert f"{ENDPOINT} is Failed: " in failed.output
    assert "/aws/sagemaker/Endpoints/" in failed.output
    assert "teardown --stage dev" in failed.output
    mended = registered.deploy()
    assert mended.exit_code == 0, mended.output
    assert "It is made anew." in mended.output
    assert record.head_sha256 is not None


def test_serverless_and_capture_are_refused_together_before_anything_is_made(registered: Project) -> None:
    done = registered.deploy("--serverless", "--capture")
    assert done.exit_code == 2
    assert "A serverless endpoint captures no data" in done.output
    assert sagemaker().list_endpoints()["Endpoints"] == []
    assert sagemaker().list_models()["Models"] == []


def test_a_serverless_endpoint_answers_and_captures_nothing(registered: Project) -> None:
    content = parsed(registered.deploy("--serverless", "--json").stdout)
    assert {cost["per"] for cost in content["costs"]} == {"million pictures", "month"}
    found = sagemaker().describe_endpoint(EndpointName=ENDPOINT)
    assert "DataCaptureConfig" not in found
    assert [answer["shows"] for answer in content["answers"]] == ["bicycle", "motorcycle"]
    assert {answer["model"] for answer in content["answers"]} == {"drawn-1"}


def test_json_is_one_object_that_names_what_was_made(registered: Project) -> None:
    content = parsed(registered.deploy("--json").stdout)
    assert content["endpoint"] == ENDPOINT
    assert content["changed"] is True
    assert content["config"] == config_name()
    assert content["package"].endswith("model-package/scones-unlimited/1")
    assert [answer["shows"] for answer in content["answers"]] == ["bicycle", "motorcycle"]
    assert {answer["model"] for answer in content["answers"]} == {"drawn-1"}


def test_the_stage_learns_the_endpoints_name_and_labels(registered: Project) -> None:
    config = registered.chalice / "config.json"
    content = json.loads(config.read_text())
    content["stages"]["dev"]["environment_variables"] |= {"ENDPOINT_NAME": "another", "LABELS": "one,two"}
    config.write_text(json.dumps(content))
    done = registered.deploy()
    assert "chalice deploy --stage dev" in done.output
    variables = json.loads(config.read_text())["stages"]["dev"]["environment_variables"]
    assert variables["ENDPOINT_NAME"] == ENDPOINT
    assert variables["LABELS"] == "bicycle,motorcycle"


def test_instances_follow_the_traffic_between_what_was_asked_for(registered: Project) -> None:
    registered.deploy("--instances", "2", "--max-instances", "6")
    (target,) = boto3.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 6)


def test_no_is_an_answer_and_nothing_is_made(registered: Project) -> None:
    options = ("--data", registered.data, "--chalice", registered.chalice)
    done = run("deploy", *options)
    assert done.exit_code == 1
    assert "nothing was done" in done.output
    assert sagemaker().list_endpoints()["Endpoints"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--stage", "live"], "has no stage live", id="no such stage"),
        pytest.param(["--role", "admin"], "TRAINING_ROLE", id="no role"),
        pytest.param(["--s3", "bucket"], "write it as s3://bucket/prefix", id="no place"),
        pytest.param(["--package", f"{GROUP_ARN}/99"], "Is the ARN right", id="no model"),
        pytest.param(["--picture", str(COMMITTED_MODEL / "head.json")], "no picture that can be read", id="no picture"),
    ],
)
def test_what_the_caller_has_to_change_ends_with_2_before_anything_is_made(
    project: Project, options: list[str], message: str
) -> None:
    done = project.deploy(*options)
    assert done.exit_code == 2
    assert message in done.output
    assert sagemaker().list_endpoints()["Endpoints"] == []


def test_only_an_approved_model_is_deployed_unless_told_otherwise(project: Project) -> None:
    none = project.deploy()
    assert none.exit_code == 2
    assert "There is no approved model in the registry of us-east-1" in none.output
    project.evaluate()
    project.register()
    assert project.deploy().exit_code == 2
    done = project.deploy("--unapproved")
    assert done.exit_code == 0, done.output
    assert "now serves drawn-1" in done.output


def test_a_model_that_is_not_approved_is_refused_by_its_arn_as_well(project: Project) -> None:
    project.evaluate()
    project.register()
    done = project.deploy("--package", f"{GROUP_ARN}/1")
    assert done.exit_code == 2
    assert "The model drawn-1 is not approved. Approve it with `python -m training register --approve`" in done.output


def test_what_is_not_in_the_table_of_prices_is_said_and_can_be_deployed_all_the_same(registered: Project) -> None:
    done = registered.deploy("--instance-type", "ml.r5.large")
    assert done.exit_code == 0, done.output
    assert "The price of ml.r5.large for hosting is not known" in done.output
    assert "USD" not in done.output


def test_a_model_judged_behind_its_endpoint_can_be_approved_and_no_other_by_that(project: Project) -> None:
    project.register("model", "--unevaluated")
    assert project.deploy("--unapproved").exit_code == 0
    out = ("--out", project.evaluation(), "--min-accuracy", "0.5")
    run_well("evaluate", "--endpoint", ENDPOINT, "--data", project.data, *out)
    project.write_model("other", version="drawn-2")
    (project.folder / "other" / "evaluation").symlink_to(project.evaluation())
    assert "is of another model" in project.register("other", "--approve").output
    assert (
        "version 1 of scones-unlimited in us-east-1: drawn-1, approved" in project.register("model", "--approve").output
    )
    run_well("teardown", "--yes")
    assert "is of another model" in project.register("model").output
