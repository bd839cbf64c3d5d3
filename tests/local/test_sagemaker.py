"""SageMaker's control plane beside endpoints: models, the registry, names, lists and tags."""

from typing import Any
from uuid import uuid4

import boto3
import pytest

from tests.local.deployments import IMAGE, INSTANCES, PLACE, SERVERLESS, VARIANT, Deployments, refused

INVALID = "ValidationException"
TAGS = [{"Key": "made-by", "Value": "training"}, {"Key": "stage", "Value": "dev"}]
METRICS = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://bucket/metrics.json"}}}


def package(deployments: Deployments, group: str, url: str, **more: Any) -> str:
    specification = {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": url, "Environment": PLACE}],
        "SupportedContentTypes": ["image/png"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    answer = deployments.sagemaker.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification, **more
    )
    return str(answer["ModelPackageArn"])


@pytest.fixture
def group(deployments: Deployments) -> Any:
    sagemaker, name = deployments.sagemaker, f"group-{uuid4().hex[:8]}"
    sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=TAGS)
    yield name
    for one in sagemaker.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]:
        sagemaker.delete_model_package(ModelPackageName=one["ModelPackageArn"])
    sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    assert refused(sagemaker.describe_model_package_group, ModelPackageGroupName=name)[0] == INVALID


class TestRegistry:
    def test_a_package_keeps_what_it_was_registered_with_and_is_approved_later(
        self, deployments: Deployments, group: str, old_model: str
    ) -> None:
        sagemaker = deployments.sagemaker
        arn = package(deployments, group, old_model, ModelMetrics=METRICS, CustomerMetadataProperties={"sha256": "a"})
        described = sagemaker.describe_model_package(ModelPackageName=arn)
        assert described["ModelPackageVersion"] == 1
        assert described["ModelPackageStatus"] == "Completed"
        assert described["ModelApprovalStatus"] == "PendingManualApproval"
        assert described["ModelMetrics"] == METRICS
        assert described["CustomerMetadataProperties"] == {"sha256": "a"}
        assert described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == old_model
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
        sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"stage": "dev"})
        described = sagemaker.describe_model_package(ModelPackageName=arn)
        assert described["CustomerMetadataProperties"] == {"sha256": "a", "stage": "dev"}
        listed = sagemaker.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
        assert [one["ModelPackageArn"] for one in listed["ModelPackageSummaryList"]] == [arn]

    def test_the_number_of_a_version_is_never_given_twice(
        self, deployments: Deployments, group: str, old_model: str
    ) -> None:
        first, second = (package(deployments, group, old_model) for _ in range(2))
        deployments.sagemaker.delete_model_package(ModelPackageName=first)
        assert refused(deployments.sagemaker.describe_model_package, ModelPackageName=first)[0] == INVALID
        assert package(deployments, group, old_model).endswith("/3")
        deployments.sagemaker.describe_model_package(ModelPackageName=second)

    def test_a_group_is_not_deleted_while_it_has_packages(
        self, deployments: Deployments, group: str, old_model: str
    ) -> None:
        package(deployments, group, old_model)
        delete = deployments.sagemaker.delete_model_package_group
        assert refused(delete, ModelPackageGroupName=group)[0] == "ConflictException"

    def test_a_package_of_a_group_takes_no_tags_of_its_own(
        self, deployments: Deployments, group: str, old_model: str
    ) -> None:
        code, message = refused(package, deployments=deployments, group=group, url=old_model, Tags=TAGS)
        assert (code, "group" in message) == (INVALID, True)
        arn = package(deployments, group, old_model)
        assert deployments.sagemaker.list_tags(ResourceArn=arn)["Tags"] == []

    def test_a_model_is_not_made_of_a_package_that_is_not_there(self, deployments: Deployments) -> None:
        arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/nobody/1"
        assert refused(deployments.model_of, container={"ModelPackageName": arn})[0] == INVALID


class TestNames:
    @pytest.mark.parametrize(
        ("operation", "parameter"),
        [
            ("describe_endpoint", "EndpointName"),
            ("delete_endpoint", "EndpointName"),
            ("describe_endpoint_config", "EndpointConfigName"),
            ("delete_endpoint_config", "EndpointConfigName"),
            ("describe_model", "ModelName"),
            ("delete_model", "ModelName"),
            ("describe_training_job", "TrainingJobName"),
            ("stop_training_job", "TrainingJobName"),
        ],
    )
    def test_a_name_that_nothing_has_is_said_so(self, deployments: Deployments, operation: str, parameter: str) -> None:
        code, message = refused(getattr(deployments.sagemaker, operation), **{parameter: "nobody"})
        assert (code, message.startswith("Could not find")) == (INVALID, True)

    def test_a_package_or_group_that_is_not_there_is_said_so(self, deployments: Deployments) -> None:
        arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/nobody/1"
        sagemaker = deployments.sagemaker
        assert refused(sagemaker.delete_model_package, ModelPackageName=arn)[0] == INVALID
        assert refused(sagemaker.delete_model_package_group, ModelPackageGroupName="nobody")[0] == INVALID
        assert refused(package, deployments=deployments, group="nobody", url="s3://bucket/model")[0] == INVALID
        assert refused(sagemaker.list_tags, ResourceArn=arn)[0] == INVALID
        assert refused(sagemaker.list_tags, ResourceArn=arn.replace("model-package/nobody/1", "model/x"))[0] == INVALID

    def test_a_name_that_is_taken_is_refused(self, deployments: Deployments, group: str, old_model: str) -> None:
        sagemaker, model = deployments.sagemaker, deployments.model(old_model)
        config = deployments.config(model)
        name = deployments.in_service(config)
        variants = [{"VariantName": VARIANT, "ModelName": model, **INSTANCES}]
        for call, params in (
            (sagemaker.create_model, {"ModelName": model, "ExecutionRoleArn": deployments.stack.training_role}),
            (sagemaker.create_endpoint_config, {"EndpointConfigName": config, "ProductionVariants": variants}),
            (sagemaker.create_endpoint, {"EndpointName": name, "EndpointConfigName": config}),
            (sagemaker.create_model_package_group, {"ModelPackageGroupName": group}),
        ):
            code, message = refused(call, **params)
            assert (code, "already exist" in message) == (INVALID, True)

    def test_a_configuration_that_aws_would_not_take_is_refused(self, deployments: Deployments, old_model: str) -> None:
        model = deployments.model(old_model)
        for words, params in (
            ("not supported for serverless", {"capture": deployments.capture("x"), **SERVERLESS}),
            ("instanceType", {"InstanceType": "ml.nothing.large", "InitialInstanceCount": 1}),
            ("Could not find model", {"model": "nobody"}),
        ):
            code, message = refused(deployments.config, **{"model": model, **params})
            assert (code, words in message) == (INVALID, True), message
        deployments.config(model, InstanceType="ml.m7i.large", InitialInstanceCount=1)


class TestDescriptions:
    def test_what_was_not_asked_for_is_left_out(self, deployments: Deployments, old_model: str) -> None:
        """The SageMaker SDK cannot read structures that are there but empty."""
        model = deployments.model(old_model)
        described = deployments.sagemaker.describe_model(ModelName=model)
        assert described["PrimaryContainer"]["Environment"] == PLACE
        assert not described.keys() & {"VpcConfig", "Containers"}
        config = deployments.config(model)
        described = deployments.sagemaker.describe_endpoint_config(EndpointConfigName=config)
        assert described["ProductionVariants"][0]["ModelName"] == model
        assert "DataCaptureConfig" not in described

    def test_models_are_listed_by_part_of_their_name_the_newest_first_in_pages(
        self, deployments: Deployments, old_model: str
    ) -> None:
        first, second = (deployments.model(old_model) for _ in range(2))
        pages = deployments.sagemaker.get_paginator("list_models").paginate(
            NameContains="model-", PaginationConfig={"PageSize": 1}
        )
        names = [one["ModelName"] for page in pages for one in page["Models"]]
        assert names[:2] == [second, first]
        listed = deployments.sagemaker.list_models(NameContains=first)["Models"]
        assert [one["ModelName"] for one in listed] == [first]


class TestTags:
    def test_everything_has_the_tags_that_it_was_made_with(
        self, deployments: Deployments, group: str, old_model: str
    ) -> None:
        sagemaker, made = deployments.sagemaker, uuid4().hex[:8]
        container = {"Image": IMAGE, "ModelDataUrl": old_model, "Environment": PLACE}
        arns = [
            sagemaker.create_model(
                ModelName=made,
                ExecutionRoleArn=deployments.stack.training_role,
                PrimaryContainer=container,
                Tags=TAGS,
            )["ModelArn"],
            sagemaker.create_endpoint_config(
                EndpointConfigName=made,
                ProductionVariants=[{"VariantName": VARIANT, "ModelName": made, **INSTANCES}],
                Tags=TAGS,
            )["EndpointConfigArn"],
            sagemaker.create_endpoint(EndpointName=made, EndpointConfigName=made, Tags=TAGS)["EndpointArn"],
            sagemaker.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupArn"],
        ]
        deployments.models.append(made)
        deployments.configs.append(made)
        deployments.endpoints.append(made)
        for arn in arns:
            assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == TAGS
        found = boto3.client("resourcegroupstaggingapi").get_resources(
            TagFilters=[{"Key": "made-by", "Values": ["training"]}], ResourceTypeFilters=["sagemaker:endpoint-config"]
        )
        assert arns[1] in [one["ResourceARN"] for one in found["ResourceTagMappingList"]]

    def test_a_tag_is_overwritten_and_removed(self, deployments: Deployments, old_model: str) -> None:
        sagemaker = deployments.sagemaker
        arn = sagemaker.describe_model(ModelName=deployments.model(old_model))["ModelArn"]
        sagemaker.add_tags(ResourceArn=arn, Tags=TAGS)
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "prod"}])
        tags = sagemaker.list_tags(ResourceArn=arn)["Tags"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"made-by": "training", "stage": "prod"}
        sagemaker.delete_tags(ResourceArn=arn, TagKeys=["stage"])
        assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == TAGS[:1]
