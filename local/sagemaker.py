"""SageMaker's control plane, embedded: moto's, with what it lacks and without what it lets pass.

moto keeps the records of models, packages, configurations, endpoints and jobs, and reads and writes the protocol. Here,
endpoints and training jobs really are: `local/hosting.py` and `local/jobs.py` bring them about, in the background. What
moto lacks is added: UpdateEndpoint, StopTrainingJob, DeleteModelPackage, DeleteModelPackageGroup. And what it lets pass
is not: names that are taken or unknown, lists that are not filtered or sorted, tags that are
overwritten, and what an UpdateModelPackage leaves out, which moto forgets.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Operations_Amazon_SageMaker_Service.html
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ConflictException, ResourceInUseException, ValidationError
from moto.sagemaker.models import ModelPackage
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter

from chalicelib import aws
from local import ACCOUNT, REGION
from local.hosting import Hosting, alarm, first_share
from local.jobs import Jobs
from local.scaling import scaled

PAGE = 100
"""Entries of a list at most: the largest `MaxResults`."""

MAX_CANARY = 0.5
"""Share of the new instances that a canary may be, or a step of linear shifting:
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html"""

STEADY = ("InService", "Failed")
"""Of an endpoint that nothing is being done to."""

PACKAGE_FIELDS = {
    "model_package_description": "ModelPackageDescription",
    "inference_specification": "InferenceSpecification",
    "source_algorithm_specification": "SourceAlgorithmSpecification",
    "validation_specification": "ValidationSpecification",
    "metadata_properties": "MetadataProperties",
    "model_metrics": "ModelMetrics",
    "customer_metadata_properties": "CustomerMetadataProperties",
    "drift_check_baselines": "DriftCheckBaselines",
    "domain": "Domain",
    "task": "Task",
    "sample_payload_url": "SamplePayloadUrl",
    "additional_inference_specifications": "AdditionalInferenceSpecifications",
    "client_token": "ClientToken",
}
"""What moto calls the parameters of CreateModelPackage."""


def control_plane(hosting: Hosting, jobs: Jobs) -> type[SageMakerResponse]:
    """The class that answers requests to SageMaker; moto makes an object of it for each.

    Args:
        hosting: brings endpoints about.
        jobs: brings training jobs about.
    """
    return type("ControlPlane", (_ControlPlane,), {"hosting": hosting, "jobs": jobs})


class _ControlPlane(SageMakerResponse):  # type: ignore[misc] # moto is not typed
    """Each public method is an operation, found by its name."""

    hosting: Hosting
    jobs: Jobs

    # Models

    def create_model(self) -> ActionResult:
        self._refuse_taken("model", self.sagemaker_backend._models)  # noqa: SLF001 - moto's
        primary = self._get_param("PrimaryContainer")
        for container in [primary] if primary else self._get_param("Containers", []):
            if "ModelPackageName" in container:
                self.sagemaker_backend.describe_model_package(container["ModelPackageName"])
            elif "ModelDataUrl" in container:
                _check_data(container["ModelDataUrl"])
        return super().create_model()

    def describe_model(self) -> ActionResult:
        return _filled(super().describe_model())

    def list_models(self) -> ActionResult:
        models = self.sagemaker_backend.list_models()
        keys = {"Name": lambda model: model.model_name, "CreationTime": lambda model: model.creation_time}
        found, token = self._page(models, keys, "Descending")
        return ActionResult({"Models": [model.response_object for model in found], "NextToken": token})

    # The registry of models

    def create_model_package_group(self) -> ActionResult:
        name = self._get_param("ModelPackageGroupName")
        taken = self.sagemaker_backend.model_package_groups.get(name)
        if taken:
            raise ValidationError(f"Model Package Group already exists: {taken.arn}")
        return super().create_model_package_group()

    def create_model_package(self) -> ActionResult:
        group_name = self._get_param("ModelPackageGroupName")
        if not group_name:
            return super().create_model_package()
        if self._get_param("Tags"):
            raise ValidationError("Tags are those of the model package group: a model package in a group takes none.")
        backend = self.sagemaker_backend
        group = backend.describe_model_package_group(_last(group_name))
        group.versions = getattr(group, "versions", 0) + 1
        package = ModelPackage(
            model_package_name=group.model_package_group_name,
            model_package_group_name=group.model_package_group_name,
            model_package_version=group.versions,
            model_package_type="Versioned",
            model_approval_status=self._get_param("ModelApprovalStatus", "PendingManualApproval"),
            approval_description=None,
            certify_for_marketplace=bool(self._get_param("CertifyForMarketplace")),
            region_name=REGION,
            account_id=ACCOUNT,
            tags=[],
            **{name: self._get_param(parameter) for name, parameter in PACKAGE_FIELDS.items()},
        )
        backend.model_packages[package.arn] = package
        backend.model_package_name_mapping[package.arn] = package.arn
        return ActionResult({"ModelPackageArn": package.arn})

    def update_model_package(self) -> ActionResult:
        package = self.sagemaker_backend.describe_model_package(self._get_param("ModelPackageArn"))
        before = package.model_approval_status, package.customer_metadata_properties
        response = super().update_model_package()
        package.model_approval_status = package.model_approval_status or before[0]
        package.customer_metadata_properties = {**(before[1] or {}), **(package.customer_metadata_properties or {})}
        return response

    def delete_model_package(self) -> ActionResult:
        backend = self.sagemaker_backend
        package = backend.describe_model_package(self._get_param("ModelPackageName"))
        del backend.model_packages[package.arn]
        names = backend.model_package_name_mapping
        for name in [name for name, arn in names.items() if arn == package.arn]:
            del names[name]
        return EmptyResult()

    def delete_model_package_group(self) -> ActionResult:
        backend = self.sagemaker_backend
        group = backend.describe_model_package_group(_last(self._get_param("ModelPackageGroupName")))
        name = group.model_package_group_name
        if any(package.model_package_group_name == name for package in backend.model_packages.values()):
            raise ConflictException(f"Model Package Group {group.arn} cannot be deleted: it has Model Packages.")
        del backend.model_package_groups[name]
        return EmptyResult()

    # Endpoints

    def create_endpoint_config(self) -> ActionResult:
        self._refuse_taken("endpoint-config", self.sagemaker_backend.endpoint_configs, "endpoint configuration")
        capture = self._get_param("DataCaptureConfig") or {}
        variants = self._get_param("ProductionVariants")
        if capture.get("EnableCapture") and any("ServerlessConfig" in variant for variant in variants):
            raise ValidationError("Data capture is not supported for serverless endpoints.")
        response = super().create_endpoint_config()
        config = self.sagemaker_backend.endpoint_configs[self._get_param("EndpointConfigName")]
        config.arn = config.endpoint_config_arn
        return response

    def describe_endpoint_config(self) -> ActionResult:
        return _filled(super().describe_endpoint_config())

    def create_endpoint(self) -> ActionResult:
        backend = self.sagemaker_backend
        self._refuse_taken("endpoint", backend.endpoints)
        response = super().create_endpoint()
        self.hosting.create(backend, backend.endpoints[self._get_param("EndpointName")])
        return response

    def update_endpoint(self) -> ActionResult:
        backend = self.sagemaker_backend
        endpoint = self._steady_endpoint()
        if endpoint.endpoint_status == "Failed":
            raise ValidationError(f'Cannot update endpoint "{endpoint.arn}": it has failed, and can only be deleted.')
        config_name = self._get_param("EndpointConfigName")
        backend.describe_endpoint_config(config_name)
        config = backend.endpoint_configs[config_name]
        deployment = self._get_param("DeploymentConfig")
        if deployment:
            _check_deployment(deployment, endpoint.production_variants, config)
        _check_scaling(endpoint, config)
        keep_counts = bool(self._get_param("RetainAllVariantProperties"))
        self.hosting.update(backend, endpoint, config, deployment, keep_counts=keep_counts)
        return ActionResult({"EndpointArn": endpoint.arn})

    def delete_endpoint(self) -> ActionResult:
        self.hosting.delete(self.sagemaker_backend, self._steady_endpoint())
        return EmptyResult()

    def _steady_endpoint(self) -> Any:
        name = self._get_param("EndpointName")
        self.sagemaker_backend.describe_endpoint(name)
        endpoint = self.sagemaker_backend.endpoints[name]
        if endpoint.endpoint_status not in STEADY:
            raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        return endpoint

    # Training jobs

    def create_training_job(self) -> ActionResult:
        backend, name = self.sagemaker_backend, self._get_param("TrainingJobName")
        if name in backend.training_jobs:
            arn = backend.training_jobs[name].arn
            raise ResourceInUseException(
                f"Job name must be unique within an AWS account and region, and a job with this name exists ({arn})"
            )
        asked = deepcopy(dict(self.params))
        response = super().create_training_job()
        self.jobs.start(backend.training_jobs[name], asked)
        return response

    def stop_training_job(self) -> ActionResult:
        name = self._get_param("TrainingJobName")
        self.sagemaker_backend.describe_training_job(name)
        job = self.sagemaker_backend.training_jobs[name]
        if job.training_job_status != "InProgress":
            status = job.training_job_status
            raise ValidationError(f"The request was rejected because the training job is in status {status}.")
        self.jobs.stop(job)
        return EmptyResult()

    def list_training_jobs(self) -> ActionResult:
        keys = {
            "Name": lambda job: job.training_job_name,
            "CreationTime": lambda job: job.creation_time,
            "Status": lambda job: job.training_job_status,
        }
        wanted = self._get_param("StatusEquals")
        jobs = [
            job
            for job in list(self.sagemaker_backend.training_jobs.values())
            if wanted in (None, job.training_job_status)
        ]
        found, token = self._page(jobs, keys, "Ascending")
        return ActionResult({"TrainingJobSummaries": [job.response_object for job in found], "NextToken": token})

    # Tags

    def list_tags(self) -> ActionResult:
        return ActionResult({"Tags": self._tagged().tags or []})

    def add_tags(self) -> ActionResult:
        resource = self._tagged()
        resource.tags = _as_list({**_as_dict(resource.tags or []), **_as_dict(self._get_param("Tags"))})
        return ActionResult({"Tags": resource.tags})

    def delete_tags(self) -> ActionResult:
        resource, keys = self._tagged(), self._get_param("TagKeys")
        resource.tags = [tag for tag in resource.tags or [] if tag["Key"] not in keys]
        return EmptyResult()

    def _tagged(self) -> Any:
        arn, backend = self._get_param("ResourceArn"), self.sagemaker_backend
        if ":model-package/" in arn:
            return backend.describe_model_package(arn)
        resource = backend._get_resource_from_arn(arn)  # noqa: SLF001 - moto's
        if resource is None:
            raise ValidationError(f'Could not find "{arn}".')
        return resource

    # What they share

    def _refuse_taken(self, kind: str, taken: Mapping[str, Any], words: str | None = None) -> None:
        parameter = "".join(word.title() for word in kind.split("-")) + "Name"
        name = self._get_param(parameter)
        if name in taken:
            arn = arn_formatter(kind, name, ACCOUNT, REGION)
            raise ValidationError(f'Cannot create already existing {words or kind} "{arn}".')

    def _page(self, everything: Iterable[Any], keys: Mapping[str, Any], order: str) -> tuple[list[Any], str | None]:
        """What a list operation was asked for: filtered by name and time, sorted, and one page of it."""
        part, after, before = (
            self._get_param(parameter) for parameter in ("NameContains", "CreationTimeAfter", "CreationTimeBefore")
        )
        found = [
            one
            for one in everything
            if (not part or part in keys["Name"](one))
            and (not after or one.creation_time > after)
            and (not before or one.creation_time < before)
        ]
        found.sort(
            key=keys[self._get_param("SortBy", "CreationTime")],
            reverse=self._get_param("SortOrder", order) == "Descending",
        )
        start = int(self._get_param("NextToken", 0))
        end = start + int(self._get_param("MaxResults", PAGE))
        return found[start:end], str(end) if end < len(found) else None


def check_instance_type(_config: Any, instance_type: str) -> None:
    """Refuse an instance type that boto3 does not know.

    Args:
        _config: moto's record of the configuration, which calls this as its own.
        instance_type: of a production variant.
    """
    if instance_type not in _instance_types():
        raise ValidationError(f"Value '{instance_type}' at 'instanceType' failed to satisfy constraint: there is none.")


@cache
def _instance_types() -> frozenset[str]:
    service: Any = botocore.session.get_session().get_service_model("sagemaker")
    return frozenset(service.shape_for("ProductionVariantInstanceType").enum)


def _check_data(url: str) -> None:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    try:
        aws.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        raise ValidationError(f"Could not find model data at {url}.") from error


def _check_deployment(deployment: Mapping[str, Any], old: list[Any], config: Any) -> None:
    """Refuse what cannot be rolled out as asked.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    """
    new = config.production_variants
    if any("ServerlessConfig" in variant for variant in new):
        raise ValidationError("A deployment configuration is not supported for serverless endpoints.")
    if {variant["VariantName"] for variant in old} != {variant["VariantName"] for variant in new}:
        raise ValidationError("The new endpoint configuration must have the variant names of the old one.")
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    if routing.get("Type") in ("CANARY", "LINEAR") and first_share(deployment, config) > MAX_CANARY:
        raise ValidationError("The size of a step must be at most 50% of the variant's total instance count.")
    for one in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", []):
        if alarm(one["AlarmName"]) is None:
            raise ValidationError(f"Could not find alarm {one['AlarmName']}.")


def _check_scaling(endpoint: Any, config: Any) -> None:
    """Refuse another instance type for what is scaled.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
    """
    old, new = (
        {variant["VariantName"]: variant.get("InstanceType") for variant in one.production_variants}
        for one in (endpoint.config_in_force, config)
    )
    changed = [name for name in sorted(scaled(endpoint.endpoint_name)) if old.get(name) != new.get(name)]
    if changed:
        raise ValidationError(
            f"The variant(s) {', '.join(changed)} must be deregistered from automatic scaling before the instance type "
            "is changed."
        )


def _filled(response: ActionResult) -> ActionResult:
    """Without the empty structures that AWS leaves out."""
    return ActionResult({name: value for name, value in response.result.items() if value not in ({}, [])})


def _last(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]


def _as_dict(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
