"""What is asked of AWS for an endpoint, to the letter; botocore checks it against AWS's own description."""

import json
from dataclasses import replace

import pytest

from tests.training.validation import is_valid
from training import deploy, prices
from training.aws import Place
from training.deploy import Capture, Instances, Plan, Serverless
from training.errors import InputError
from training.registry import Package

ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/scones-unlimited/7"
ROLE = "arn:aws:iam::123456789012:role/scones-unlimited-sagemaker"
PLAN = Plan(
    stage="dev",
    package=Package(ARN, "Approved", {}),
    role=ROLE,
    capacity=Instances("ml.m5.large", 2, 4),
    capture=Capture(Place("bucket", "training/capture"), 100),
)
SERVERLESS = replace(PLAN, capacity=Serverless(2048, 8), capture=None)
TAGS = [
    {"Key": "project", "Value": "scones-unlimited"},
    {"Key": "stage", "Value": "dev"},
    {"Key": "made-by", "Value": "training"},
]
MODEL = "scones-unlimited-dev-b97c5c558fb7"
CONFIG = "scones-unlimited-dev-a881c423eccc"


def test_request_for_a_model_names_its_registered_version() -> None:
    request = deploy.model_request(PLAN)
    is_valid("sagemaker", "CreateModel", request)
    assert request == {
        "ModelName": MODEL,
        "PrimaryContainer": {"ModelPackageName": ARN},
        "ExecutionRoleArn": ROLE,
        "Tags": TAGS,
    }


def test_request_for_a_configuration_on_instances_with_capture() -> None:
    request = deploy.config_request(PLAN)
    is_valid("sagemaker", "CreateEndpointConfig", request)
    assert request == {
        "EndpointConfigName": CONFIG,
        "ProductionVariants": [
            {
                "VariantName": "AllTraffic",
                "ModelName": MODEL,
                "InitialVariantWeight": 1.0,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 2,
                "ContainerStartupHealthCheckTimeoutInSeconds": 600,
            }
        ],
        "DataCaptureConfig": {
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://bucket/training/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        },
        "Tags": TAGS,
    }


def test_request_for_a_serverless_configuration_has_neither_instances_nor_capture() -> None:
    request = deploy.config_request(SERVERLESS)
    is_valid("sagemaker", "CreateEndpointConfig", request)
    (variant,) = request.pop("ProductionVariants")
    assert request == {"EndpointConfigName": SERVERLESS.config, "Tags": TAGS}
    assert variant == {
        "VariantName": "AllTraffic",
        "ModelName": MODEL,
        "InitialVariantWeight": 1.0,
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 8},
    }


def test_request_for_an_update_tries_one_instance_and_rolls_back_on_an_alarm() -> None:
    request = deploy.update_request(PLAN, keep_count=True)
    is_valid("sagemaker", "UpdateEndpoint", request)
    assert request == {
        "EndpointName": "scones-unlimited-dev",
        "EndpointConfigName": CONFIG,
        "RetainAllVariantProperties": True,
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "WaitIntervalInSeconds": 300,
                    "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
                },
                "TerminationWaitInSeconds": 300,
                "MaximumExecutionTimeoutInSeconds": 3600,
            },
            "AutoRollbackConfiguration": {
                "Alarms": [
                    {"AlarmName": "scones-unlimited-dev-errors"},
                    {"AlarmName": "scones-unlimited-dev-latency"},
                ]
            },
        },
    }


def test_one_instance_is_replaced_at_once_and_watched_all_the_same() -> None:
    request = deploy.update_request(replace(PLAN, capacity=Instances("ml.m5.large", 1, 4)), keep_count=False)
    is_valid("sagemaker", "UpdateEndpoint", request)
    policy = request["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    assert policy["TerminationWaitInSeconds"] == 300
    assert request["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]


def test_a_serverless_endpoint_is_updated_without_a_policy_since_it_takes_none() -> None:
    request = deploy.update_request(SERVERLESS, keep_count=False)
    is_valid("sagemaker", "UpdateEndpoint", request)
    assert set(request) == {"EndpointName", "EndpointConfigName", "RetainAllVariantProperties"}


def test_requests_for_alarms() -> None:
    errors, latency = deploy.alarm_requests("dev")
    for request in (errors, latency):
        is_valid("cloudwatch", "PutMetricAlarm", request)
        assert request["TreatMissingData"] == "notBreaching"
    assert [one["AlarmName"] for one in (errors, latency)] == deploy.alarm_names("dev")
    assert (errors["MetricName"], errors["Statistic"], errors["Threshold"]) == ("Invocation5XXErrors", "Average", 0.05)
    assert (latency["MetricName"], latency["ExtendedStatistic"]) == ("ModelLatency", "p99")


def test_the_alarms_see_a_bad_fleet_before_the_old_one_is_gone() -> None:
    for request in deploy.alarm_requests("dev"):
        assert request["Period"] * request["EvaluationPeriods"] <= deploy.BAKING


def test_requests_for_scaling() -> None:
    target, policy = deploy.scaling_requests("scones-unlimited-dev", Instances("ml.m5.large", 2, 4))
    is_valid("application-autoscaling", "RegisterScalableTarget", target)
    is_valid("application-autoscaling", "PutScalingPolicy", policy)
    assert target["ResourceId"] == policy["ResourceId"] == "endpoint/scones-unlimited-dev/variant/AllTraffic"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)


def test_a_model_of_the_built_in_algorithm_is_asked_for_in_the_same_way() -> None:
    built_in = replace(PLAN, package=Package(ARN[:-1] + "8", "Approved", {"algorithm": "image-classification"}))
    ours, theirs = (
        json.dumps([deploy.model_request(one), deploy.config_request(one), deploy.update_request(one, keep_count=True)])
        for one in (PLAN, built_in)
    )
    names = {PLAN.model: built_in.model, PLAN.config: built_in.config, ARN: built_in.package.arn}
    for name, other in names.items():
        ours = ours.replace(name, other)
    assert ours == theirs


OTHERS = {
    "capacity": replace(PLAN, capacity=Instances("ml.m5.xlarge", 2, 4)),
    "capture": replace(PLAN, capture=None),
    "package": replace(PLAN, package=Package(ARN[:-1] + "8", "Approved", {})),
    "role": replace(PLAN, role=ROLE + "-2"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_whatever_changes_what_a_configuration_says_changes_its_name(other: Plan) -> None:
    assert other.config != PLAN.config
    assert other.endpoint == PLAN.endpoint


def test_names_follow_from_what_they_name_and_fit_into_63_characters() -> None:
    assert replace(PLAN, capacity=Instances("ml.m5.large", 2, 9)).config == PLAN.config
    assert max(len(name) for name in (PLAN.model, PLAN.config, *deploy.alarm_names("dev"))) <= 63


def test_a_serverless_endpoint_with_capture_is_refused_as_aws_refuses_it() -> None:
    with pytest.raises(InputError, match="A serverless endpoint captures no data"):
        deploy.check(replace(SERVERLESS, capture=PLAN.capture))
    deploy.check(SERVERLESS)


def test_fewer_instances_at_most_than_at_least_are_refused() -> None:
    with pytest.raises(InputError, match="--max-instances"):
        deploy.check(replace(PLAN, capacity=Instances("ml.m5.large", 3, 2)))


def test_costs_name_each_part_and_what_it_is_paid_for() -> None:
    found = {cost.part: cost for cost in deploy.costs(PLAN)}
    assert found["2 × ml.m5.large"].usd == pytest.approx(167.9)
    assert found["captured pictures kept, each month"].per == "million pictures"
    assert found["2 alarms"].usd == pytest.approx(0.2)
    assert all(cost.usd > 0 for cost in found.values())


def test_the_price_of_an_unknown_instance_is_not_made_up() -> None:
    with pytest.raises(InputError, match=r"ml\.p4d\.24xlarge"):
        deploy.costs(replace(PLAN, capacity=Instances("ml.p4d.24xlarge", 2, 4)))
    assert "ml.p4d.24xlarge" not in prices.BY_HOUR
