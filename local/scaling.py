"""Application Auto Scaling, embedded: moto's, with what SageMaker's endpoints need of it.

moto keeps targets and policies. Here, a target has to exist before it is registered, and to be registered before it
gets a policy; policies end with their target, and targets with their endpoint. Nothing is scaled.

https://docs.aws.amazon.com/autoscaling/application/APIReference/Welcome.html
"""

from collections.abc import Iterator
from typing import Any

from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import JsonRESTError
from moto.sagemaker.models import sagemaker_backends

from local import ACCOUNT, REGION

SAGEMAKER = "sagemaker"


class Scaling(ApplicationAutoScalingResponse):  # type: ignore[misc] # moto is not typed
    """Answers requests to Application Auto Scaling. Each public method is an operation, found by its name."""

    def register_scalable_target(self) -> str:
        """Registers what exists."""
        namespace, resource, _ = self._target()
        if namespace == SAGEMAKER and resource not in _variants():
            raise JsonRESTError("ValidationException", f"There is no {resource}.")
        return str(super().register_scalable_target())

    def deregister_scalable_target(self) -> str:
        """Deregisters a target and deletes its policies."""
        _deregister(*self._registered("found"))
        return "{}"

    def put_scaling_policy(self) -> str:
        """Gives a policy to what is registered."""
        self._registered("registered")
        return str(super().put_scaling_policy())

    def delete_scaling_policy(self) -> str:
        """Deletes a policy that is there."""
        target, name = self._target(), self._get_param("PolicyName")
        if all(policy.policy_name != name for policy in _policies(*target)):
            raise _not_found(f"No scaling policy found for {_words(*target)}, policy name: {name}")
        return str(super().delete_scaling_policy())

    def _target(self) -> tuple[str, str, str]:
        namespace, resource, dimension = (
            self._get_param(name) for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")
        )
        return namespace, resource, dimension

    def _registered(self, verb: str) -> tuple[str, str, str]:
        target = self._target()
        _, resource, dimension = target
        if resource not in _backend().targets.get(dimension, {}):
            raise _not_found(f"No scalable target {verb} for {_words(*target)}")
        return target


def scaled(endpoint_name: str) -> set[str]:
    """The names of an endpoint's variants that are scaled."""
    return {target.resource_id.rpartition("/")[2] for target in _targets(endpoint_name)}


def forget(endpoint_name: str) -> None:
    """Deregister an endpoint's variants, as SageMaker does when it deletes the endpoint.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-delete.html
    """
    for target in _targets(endpoint_name):
        _deregister(SAGEMAKER, target.resource_id, target.scalable_dimension)


def _backend() -> Any:
    return applicationautoscaling_backends[ACCOUNT][REGION]


def _variants() -> Iterator[str]:
    for name, endpoint in list(sagemaker_backends[ACCOUNT][REGION].endpoints.items()):
        yield from (f"endpoint/{name}/variant/{variant['VariantName']}" for variant in endpoint.production_variants)


def _targets(endpoint_name: str) -> list[Any]:
    return [
        target
        for target in _backend().describe_scalable_targets(SAGEMAKER, None, None)
        if target.resource_id.startswith(f"endpoint/{endpoint_name}/")
    ]


def _policies(namespace: str, resource: str, dimension: str) -> list[Any]:
    return [
        policy
        for policy in _backend().policies.values()
        if (policy.service_namespace, policy.resource_id, policy.scalable_dimension) == (namespace, resource, dimension)
    ]


def _deregister(namespace: str, resource: str, dimension: str) -> None:
    for policy in _policies(namespace, resource, dimension):
        _backend().delete_scaling_policy(policy.policy_name, namespace, resource, dimension)
    _backend().deregister_scalable_target(namespace, resource, dimension)


def _not_found(message: str) -> JsonRESTError:
    return JsonRESTError("ObjectNotFoundException", message)


def _words(namespace: str, resource: str, dimension: str) -> str:
    return f"service namespace: {namespace}, resource ID: {resource}, scalable dimension: {dimension}"
