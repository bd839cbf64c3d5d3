import json
from typing import Any

import boto3
import pytest

from tests.training.lifecycle import Project
from training import model_archive


def versions() -> list[dict[str, Any]]:
    sagemaker = boto3.client("sagemaker")
    found = sagemaker.list_model_packages(ModelPackageGroupName="scones-unlimited")["ModelPackageSummaryList"]
    return [sagemaker.describe_model_package(ModelPackageName=one["ModelPackageArn"]) for one in found]


def body(url: str) -> bytes:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    content: bytes = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def test_a_registered_model_lies_in_s3_with_its_evaluation(project: Project) -> None:
    project.evaluate()
    done = project.register()
    assert done.exit_code == 0, done.output
    assert "Registered as version 1 of scones-unlimited in us-east-1: drawn-1, not approved" in done.output
    (version,) = versions()
    (container,) = version["InferenceSpecification"]["Containers"]
    assert body(container["ModelDataUrl"]) == (project.model().with_name("model.tar.gz")).read_bytes()
    statistics = version["ModelMetrics"]["ModelQuality"]["Statistics"]
    metrics = body(statistics["S3Uri"])
    assert metrics == (project.evaluation() / "metrics.json").read_bytes()
    digest = model_archive.sha256(project.evaluation() / "metrics.json")
    assert statistics["ContentDigest"] == f"sha256:{digest}"
    assert body(statistics["S3Uri"].replace("metrics.json", "report.html")).startswith(b"<!doctype html>")


def test_the_same_model_is_registered_once_and_can_be_approved_later(project: Project) -> None:
    project.evaluate()
    project.register()
    approved = project.register("model", "--approve")
    assert "Registered before as version 1 of scones-unlimited in us-east-1: drawn-1, approved" in approved.output
    assert [version["ModelApprovalStatus"] for version in versions()] == ["Approved"]
    project.register()
    assert [version["ModelApprovalStatus"] for version in versions()] == ["Approved"]


def test_a_model_for_a_trial_learns_its_accuracy_when_it_has_been_evaluated(project: Project) -> None:
    project.register("model", "--unevaluated")
    (before,) = versions()
    assert "accuracy" not in before["CustomerMetadataProperties"]
    project.evaluate()
    project.register("model", "--approve")
    (after,) = versions()
    assert after["CustomerMetadataProperties"]["accuracy"] == "0.5000"
    assert after["ModelApprovalStatus"] == "Approved"


def test_json_is_one_object(project: Project) -> None:
    project.evaluate()
    content = json.loads(project.register("model", "--json").stdout)
    assert content["approval"] == "PendingManualApproval"
    assert content["properties"]["labels"] == "bicycle/motorcycle"


def test_a_model_that_was_not_evaluated_or_not_well_is_not_taken(project: Project) -> None:
    done = project.register("model", "--approve")
    assert done.exit_code == 2
    assert "has not been evaluated" in done.output
    project.write_model("other", version="drawn-2")
    project.evaluate("other")
    (project.folder / "model" / "evaluation").symlink_to(project.evaluation("other"))
    done = project.register()
    assert done.exit_code == 2
    assert "is of another model" in done.output


def test_a_model_below_the_floor_is_not_taken(project: Project) -> None:
    assert project.evaluate(min_accuracy=0.9).exit_code == 1
    done = project.register("model", "--approve")
    assert done.exit_code == 1
    assert "It is not registered" in done.output


def test_an_archive_that_has_changed_since_training_is_refused(project: Project) -> None:
    project.evaluate()
    project.model().with_name("model.tar.gz").write_bytes(b"another")
    done = project.register()
    assert done.exit_code == 2
    assert "is not the archive of the model that was trained" in done.output


def test_a_model_that_was_never_trained_is_told(project: Project) -> None:
    done = project.register("nothing")
    assert done.exit_code == 2
    assert "Train a model first" in done.output


def test_approval_without_evaluation_and_a_missing_place_are_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project.register("model", "--approve", "--unevaluated").exit_code == 2
    monkeypatch.delenv("TRAINING_S3")
    done = project.register()
    assert done.exit_code == 2
    assert "TRAINING_S3" in done.output
