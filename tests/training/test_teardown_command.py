import json
from typing import Any

import boto3
import pytest

from local.stack import Stack
from tests.training.lifecycle import Project, run, run_well
from training import aws

ENDPOINT = "scones-unlimited-dev"


@pytest.fixture
def deployed(project: Project) -> Project:
    project.evaluate()
    project.register("model", "--approve")
    assert project.deploy().exit_code == 0
    return project


def everything() -> dict[str, list[Any]]:
    """All that AWS has of what training makes."""
    sagemaker = boto3.client("sagemaker")
    return {
        "endpoints": sagemaker.list_endpoints()["Endpoints"],
        "configs": sagemaker.list_endpoint_configs()["EndpointConfigs"],
        "models": sagemaker.list_models()["Models"],
        "groups": sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"],
        "targets": boto3.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")[
            "ScalableTargets"
        ],
        "policies": boto3.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")[
            "ScalingPolicies"
        ],
        "alarms": boto3.client("cloudwatch").describe_alarms()["MetricAlarms"],
    }


def test_all_that_deploy_made_is_listed_and_removed_and_the_registry_stays(deployed: Project) -> None:
    assert all(everything().values())
    done = run_well("teardown", "--yes")
    assert done.output.index("To be removed") < done.output.index("Removed the endpoint scones-unlimited-dev.")
    left = everything()
    assert left.pop("groups")
    assert not any(left.values()), left


def test_a_second_run_finds_nothing_and_ends_well(deployed: Project) -> None:
    run_well("teardown", "--registry", "--data", "--yes")
    again = run_well("teardown", "--registry", "--data", "--yes")
    assert "There is nothing of stage dev to remove." in again.output
    assert json.loads(run_well("teardown", "--json").stdout) == {"removed": []}


def test_registry_and_data_go_where_they_are_asked_to_and_strangers_stay(deployed: Project, stack: Stack) -> None:
    s3, bucket = boto3.client("s3"), stack.training_bucket
    s3.put_object(Bucket=bucket, Key="training/notes.txt", Body=b"mine")
    s3.put_object(Bucket=bucket, Key="training-2/data/a.png", Body=b"mine")
    run_well("teardown", "--registry", "--data", "--yes")
    assert not any(everything().values())
    keys = {one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="training").get("Contents", [])}
    assert keys == {"training/notes.txt", "training-2/data/a.png"}
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)


def test_every_version_of_every_object_goes(deployed: Project, stack: Stack) -> None:
    s3, bucket = boto3.client("s3"), stack.training_bucket
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="training/data/a.png", Body=body)
    s3.delete_object(Bucket=bucket, Key="training/data/a.png")
    run_well("teardown", "--data", "--yes")
    found = s3.list_object_versions(Bucket=bucket, Prefix="training/data/")
    assert not found.get("Versions")
    assert not found.get("DeleteMarkers")


def test_what_bears_our_names_but_not_our_tags_stays(deployed: Project) -> None:
    sagemaker = boto3.client("sagemaker")
    arn = sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointArn"]
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["made-by"])
    container = sagemaker.describe_model(ModelName=sagemaker.list_models()["Models"][0]["ModelName"])[
        "PrimaryContainer"
    ]
    role = "arn:aws:iam::123456789012:role/other"
    sagemaker.create_model(ModelName=f"{ENDPOINT}-mine", PrimaryContainer=container, ExecutionRoleArn=role)
    run_well("teardown", "--yes")
    assert [one["EndpointName"] for one in everything()["endpoints"]] == [ENDPOINT]
    assert [one["ModelName"] for one in everything()["models"]] == [f"{ENDPOINT}-mine"]
    sagemaker.delete_model(ModelName=f"{ENDPOINT}-mine")
    sagemaker.add_tags(ResourceArn=arn, Tags=aws.tags("dev"))


def test_no_is_an_answer_and_everything_stays(deployed: Project) -> None:
    before = everything()
    done = run("teardown")
    assert done.exit_code == 1
    assert "nothing was done" in done.output
    assert everything() == before


def test_another_stage_is_not_touched(deployed: Project) -> None:
    before = everything()
    assert "nothing of stage prod" in run_well("teardown", "--stage", "prod", "--yes").output
    assert everything() == before


def test_data_needs_a_place(deployed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRAINING_S3")
    done = run("teardown", "--data", "--yes")
    assert done.exit_code == 2
    assert "TRAINING_S3" in done.output


def test_a_bucket_that_is_not_there_is_told(deployed: Project) -> None:
    done = run("teardown", "--data", "--s3", "s3://nowhere-at-all/x", "--yes")
    assert done.exit_code == 2
    assert "There is no bucket nowhere-at-all" in done.output


def test_a_group_of_models_that_is_not_ours_stays(embedded: Stack) -> None:
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="scones-unlimited")
    assert "nothing of stage dev" in run_well("teardown", "--registry", "--yes").output
    sagemaker.delete_model_package_group(ModelPackageGroupName="scones-unlimited")
