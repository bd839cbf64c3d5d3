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
    metrics = json.loads((project.evaluation() / "metrics.json").read_text())
    assert after["CustomerMetadataProperties"]["accuracy"] == f"{metrics['accuracy']['value']:.4f}"
    assert after["ModelApprovalStatus"] == "Approved"


def approve_first(project: Project) -> None:
    """Approve the first model, and evaluate a second one that decides as it does."""
    project.evaluate()
    assert project.register("model", "--approve").exit_code == 0
    project.write_model("second", version="drawn-2")
    project.evaluate("second")


def approved() -> list[str]:
    """The numbers of the versions that are."""
    return [one["ModelPackageArn"][-1] for one in versions() if one["ModelApprovalStatus"] == "Approved"]


def test_a_model_follows_an_approved_one_only_after_it_was_compared_with_it(project: Project) -> None:
    approve_first(project)
    refused = project.register("second", "--approve")
    assert refused.exit_code == 2
    words = " ".join(refused.output.split())
    assert "has not been compared with version 1, drawn-1, which is approved" in words
    command = f"python -m training compare registry:approved {project.model('second')} --out"
    assert f"Run `{command} {project.comparison('second')}`" in words
    assert project.register("second").exit_code == 0  # without --approve there is nothing to wait for
    compared = project.compare("second")
    assert compared.exit_code == 0, compared.output
    assert "no difference shown" in compared.stdout
    done = project.register("second", "--approve")
    assert done.exit_code == 0, done.output
    assert approved() == ["1", "2"]
    found = versions()[1]
    assert found["CustomerMetadataProperties"]["compared_with"] == "drawn-1"
    assert found["CustomerMetadataProperties"]["verdict"] == "no difference shown"
    url = found["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    comparison = body(url.replace("model.tar.gz", "comparison.json"))
    assert comparison == (project.comparison("second") / "comparison.json").read_bytes()
    assert body(url.replace("model.tar.gz", "comparison.html")).startswith(b"<!doctype html>")
    assert project.register("second").exit_code == 0
    assert versions()[1]["CustomerMetadataProperties"] == found["CustomerMetadataProperties"]


def test_a_comparison_with_another_model_or_of_another_model_is_none(project: Project) -> None:
    approve_first(project)
    project.compare("second", str(project.model("second")))
    other_a = project.register("second", "--approve")
    assert other_a.exit_code == 2
    assert "is with another model than version 1, drawn-1" in " ".join(other_a.output.split())
    project.compare("second")
    project.write_model("third", version="drawn-3")
    project.evaluate("third")
    (project.folder / "third" / "comparison").symlink_to(project.comparison("second"))
    other_b = project.register("third", "--approve")
    assert other_b.exit_code == 2
    assert "is of another model than this one as B" in " ".join(other_b.output.split())
    assert approved() == ["1"]


def test_a_model_that_is_worse_is_not_approved_unless_somebody_takes_it_on_himself(project: Project) -> None:
    approve_first(project)
    project.compare("second")
    path = project.comparison("second") / "comparison.json"
    path.write_text(path.read_text().replace("no difference shown", "worse"))
    refused = project.register("second", "--approve")
    assert refused.exit_code == 1
    assert "is worse than version 1, drawn-1, which is approved. It is not approved." in " ".join(
        refused.output.split()
    )
    assert approved() == ["1"]
    done = project.register("second", "--approve", "--uncompared")
    assert done.exit_code == 0, done.output
    assert "Nobody has compared it with version 1, drawn-1" in " ".join(done.output.split())
    assert approved() == ["1", "2"]
    assert "verdict" not in versions()[1]["CustomerMetadataProperties"]


def test_the_approved_model_is_approved_again_without_a_comparison_with_itself(project: Project) -> None:
    approve_first(project)
    assert project.register("model", "--approve").exit_code == 0
    assert project.register("model", "--uncompared").exit_code == 2


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
    project.write_model("bad", labels=["motorcycle", "bicycle"])
    assert project.evaluate("bad", min_accuracy=0.9).exit_code == 1
    done = project.register("bad", "--approve")
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
