"""Automatic scaling of endpoints: what may be registered, and that it ends with the endpoint."""

from typing import Any

import boto3
import pytest

from tests.local.deployments import VARIANT, Deployments, refused

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
POLICY = {
    "PolicyName": "invocations",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 100.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    },
}


def target(endpoint: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }


def left(scaling: Any, endpoint: str) -> tuple[int, int]:
    """How many targets and policies an endpoint has."""
    where = target(endpoint)
    resource = where["ResourceId"]
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource])
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)
    return len(targets["ScalableTargets"]), len(policies["ScalingPolicies"])


@pytest.fixture
def endpoint(deployments: Deployments, old_model: str) -> str:
    return deployments.in_service(deployments.config(deployments.model(old_model)))


@pytest.fixture
def scaling(endpoint: str) -> Any:
    client = boto3.client("application-autoscaling")
    client.register_scalable_target(**target(endpoint), MinCapacity=1, MaxCapacity=3)
    client.put_scaling_policy(**target(endpoint), **POLICY)
    return client


def test_a_registered_variant_is_described_with_its_policy(scaling: Any, endpoint: str) -> None:
    (found,) = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[target(endpoint)["ResourceId"]]
    )["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 3)
    assert left(scaling, endpoint) == (1, 1)


def test_a_policy_ends_with_its_target(scaling: Any, endpoint: str) -> None:
    scaling.deregister_scalable_target(**target(endpoint))
    assert left(scaling, endpoint) == (0, 0)


def test_a_policy_can_be_deleted_alone(scaling: Any, endpoint: str) -> None:
    scaling.delete_scaling_policy(**target(endpoint), PolicyName=POLICY["PolicyName"])
    assert left(scaling, endpoint) == (1, 0)


def test_a_target_ends_with_its_endpoint_and_others_do_not(
    scaling: Any, endpoint: str, deployments: Deployments, old_model: str
) -> None:
    other = deployments.in_service(deployments.config(deployments.model(old_model)), f"{endpoint}-2")
    scaling.register_scalable_target(**target(other), MinCapacity=1, MaxCapacity=2)
    deployments.sagemaker.delete_endpoint(EndpointName=endpoint)
    deployments.gone(endpoint)
    assert (left(scaling, endpoint), left(scaling, other)) == ((0, 0), (1, 0))


def test_another_instance_type_is_refused_while_the_variant_is_scaled(
    scaling: Any, endpoint: str, deployments: Deployments, old_model: str
) -> None:
    model = deployments.model(old_model)
    update = deployments.sagemaker.update_endpoint
    larger = deployments.config(model, InstanceType="ml.m5.xlarge", InitialInstanceCount=2)
    code, message = refused(update, EndpointName=endpoint, EndpointConfigName=larger)
    assert (code, "deregistered" in message) == ("ValidationException", True)
    update(EndpointName=endpoint, EndpointConfigName=deployments.config(model))
    assert deployments.settled(endpoint)["EndpointStatus"] == "InService"
    scaling.deregister_scalable_target(**target(endpoint))
    update(EndpointName=endpoint, EndpointConfigName=larger)
    assert deployments.settled(endpoint)["EndpointConfigName"] == larger


def test_what_is_not_there_is_said_so(endpoint: str) -> None:
    client = boto3.client("application-autoscaling")
    nobody, missing = target("nobody"), "ObjectNotFoundException"
    assert refused(client.register_scalable_target, **nobody, MinCapacity=1, MaxCapacity=2)[0] == "ValidationException"
    assert refused(client.put_scaling_policy, **target(endpoint), **POLICY)[0] == missing
    assert refused(client.deregister_scalable_target, **target(endpoint))[0] == missing
    assert refused(client.delete_scaling_policy, **target(endpoint), PolicyName="nobody")[0] == missing
