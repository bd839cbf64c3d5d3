import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.validation import is_valid
from training import job, model_archive, registry
from training.aws import Place
from training.errors import FloorMissed, ModelError, Worse
from training.layout import TrainingRecord
from training.registry import APPROVED, PENDING, Comparison, Evaluation, Package

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
HEAD, ARCHIVE = "a" * 64, "b" * 64
RECORD = TrainingRecord("head", None, ["bicycle", "motorcycle"], ARCHIVE, HEAD, {})
BUILT_IN = TrainingRecord(job.BUILT_IN, "scones-unlimited-1", ["bicycle", "motorcycle"], ARCHIVE, None, {})
TARGET = Place("bucket", f"training/models/{ARCHIVE[:16]}")


def metrics(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "model": {"version": "lite0-ridge-1", "head_sha256": HEAD, "endpoint": None},
        "data": {"split": "test", "pictures": 200, "sha256": "c" * 64},
        "accuracy": {"value": 0.965, "low": 0.93, "high": 0.983, "count": 193, "total": 200},
        "floor": {"min_accuracy": 0.9, "passed": True},
        **changes,
    }


def evaluation(folder: Path, **changes: Any) -> Evaluation:
    (folder / "metrics.json").write_text(json.dumps(metrics(**changes)))
    (folder / "report.html").write_text("<!doctype html>")
    found = Evaluation.read(folder)
    assert found is not None
    return found


def test_request_for_our_own_model_carries_its_evaluation(tmp_path: Path) -> None:
    judged = evaluation(tmp_path)
    request = registry.request(RECORD, judged, TARGET, APPROVED, IMAGE)
    is_valid("sagemaker", "CreateModelPackage", request)
    assert request == {
        "ModelPackageGroupName": "scones-unlimited",
        "ModelPackageDescription": "bicycle, motorcycle; right on 193 of 200 test pictures (93.0% to 98.3%).",
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": IMAGE,
                    "ModelDataUrl": f"s3://bucket/training/models/{ARCHIVE[:16]}/model.tar.gz",
                    "Environment": {
                        "SAGEMAKER_PROGRAM": "inference.py",
                        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
                    },
                }
            ],
            "SupportedContentTypes": ["image/jpeg", "image/png", "application/x-image"],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedRealtimeInferenceInstanceTypes": list(registry.INSTANCE_TYPES),
        },
        "Domain": "COMPUTER_VISION",
        "Task": "IMAGE_CLASSIFICATION",
        "CustomerMetadataProperties": {
            "algorithm": "head",
            "labels": "bicycle/motorcycle",
            "archive_sha256": ARCHIVE,
            "head_sha256": HEAD,
            "version": "lite0-ridge-1",
            "accuracy": "0.9650",
            "accuracy_low": "0.9300",
            "pictures": "200",
            "data_sha256": "c" * 64,
        },
        "ModelMetrics": {
            "ModelQuality": {
                "Statistics": {
                    "ContentType": "application/json",
                    "ContentDigest": f"sha256:{model_archive.sha256(tmp_path / 'metrics.json')}",
                    "S3Uri": f"s3://bucket/training/models/{ARCHIVE[:16]}/metrics.json",
                }
            }
        },
    }


def test_request_for_a_model_of_the_built_in_algorithm_for_a_trial() -> None:
    request = registry.request(BUILT_IN, None, TARGET, PENDING, "image-classification:1")
    is_valid("sagemaker", "CreateModelPackage", request)
    assert request["InferenceSpecification"]["Containers"][0]["Environment"] == {}
    assert request["ModelPackageDescription"] == "bicycle, motorcycle; not evaluated."
    assert "ModelMetrics" not in request
    assert request["CustomerMetadataProperties"]["job"] == "scones-unlimited-1"
    assert "head_sha256" not in request["CustomerMetadataProperties"]


def test_an_evaluation_of_this_model_that_is_good_enough_is_taken(tmp_path: Path) -> None:
    registry.check_evaluation(evaluation(tmp_path), RECORD)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"data": {"split": "validation"}}, "of the validation split", id="another split"),
        pytest.param({"model": {"head_sha256": "d" * 64, "endpoint": None}}, "of another model", id="another model"),
    ],
)
def test_an_evaluation_of_something_else_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        registry.check_evaluation(evaluation(tmp_path, **changes), RECORD)


def test_a_model_below_its_floor_is_not_registered(tmp_path: Path) -> None:
    missed = {"floor": {"min_accuracy": 0.98, "passed": False}}
    with pytest.raises(FloorMissed, match=r"193 of 200 test pictures are right, less than the 98% that"):
        registry.check_evaluation(evaluation(tmp_path, **missed), RECORD)


def test_a_model_that_was_not_evaluated_is_refused() -> None:
    with pytest.raises(ModelError, match="has not been evaluated"):
        registry.check_evaluation(None, RECORD)


def test_an_evaluation_in_a_folder_never_counts_for_the_built_in_algorithm(tmp_path: Path) -> None:
    subject = {"model": {"version": None, "head_sha256": None, "endpoint": None}}
    with pytest.raises(ModelError, match="of another model"):
        registry.check_evaluation(evaluation(tmp_path, **subject), BUILT_IN)


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}'])
def test_a_damaged_evaluation_is_told_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ModelError, match="Make it again with `python -m training evaluate`"):
        Evaluation.read(tmp_path)


def test_labels_come_back_as_they_were_unless_there_are_more_than_aws_takes() -> None:
    few, many = ["cargo bike", "Motorrad_2", "tram-7"], [f"class {number}" for number in range(100)]
    for labels, found in ((few, few), (many, [])):
        record = replace(RECORD, labels=labels)
        is_valid("sagemaker", "CreateModelPackage", registry.request(record, None, TARGET, PENDING, IMAGE))
        assert Package("arn", PENDING, registry.properties(record, None)).labels == found


def test_models_of_other_bytes_lie_in_other_places() -> None:
    place = Place("bucket", "training")
    assert registry.place_of(RECORD, place) == TARGET
    assert registry.place_of(replace(RECORD, archive_sha256="e" * 64), place) != TARGET


def test_a_version_is_called_by_what_is_known_of_it() -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/scones-unlimited/7"
    assert Package(arn, APPROVED, {"version": "lite0-ridge-1", "job": "job-1"}).version == "lite0-ridge-1"
    assert Package(arn, APPROVED, {"job": "job-1"}).version == "job-1"
    assert Package(arn, APPROVED, {}).version == Package(arn, APPROVED, {}).number == "7"
    assert Package(arn, APPROVED, {}).labels == []


OTHER = Package(
    "arn:aws:sagemaker:us-east-1:123456789012:model-package/scones-unlimited/3",
    APPROVED,
    {"version": "lite0-ridge-0", "head_sha256": "e" * 64, "archive_sha256": "f" * 64},
)
COMMAND = "python -m training compare registry:approved build/model"


def comparison(**changes: Any) -> Comparison:
    content = {
        "version": 1,
        "a": {"version": "lite0-ridge-0", "head_sha256": "e" * 64, "archive_sha256": "f" * 64, "endpoint": None},
        "b": {"version": "lite0-ridge-1", "head_sha256": HEAD, "archive_sha256": None, "endpoint": None},
        "data": {"kind": "test", "sha256": "c" * 64},
        "verdict": {"verdict": "better", "reasons": []},
    }
    return Comparison(Path("build/comparison"), content | changes)


def check(tmp_path: Path, found: Comparison | None, record: TrainingRecord = RECORD) -> None:
    registry.check_comparison(found, record, OTHER, evaluation(tmp_path), COMMAND)


@pytest.mark.parametrize("verdict", ["better", "mixed", "no difference shown"])
def test_a_comparison_with_the_approved_model_that_does_not_end_badly_is_taken(tmp_path: Path, verdict: str) -> None:
    check(tmp_path, comparison(verdict={"verdict": verdict}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"b": {"head_sha256": "d" * 64}}, "of another model than this one as B", id="another B"),
        pytest.param({"a": {"head_sha256": HEAD}}, "with another model than version 3, lite0-ridge-0", id="another A"),
        pytest.param({"data": {"kind": "validation", "sha256": "c" * 64}}, "on other pictures", id="another split"),
        pytest.param({"data": {"kind": "test", "sha256": "d" * 64}}, "on other pictures", id="other data"),
    ],
)
def test_a_comparison_of_something_else_is_refused_with_what_to_run(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=f"{message}.* Run `{COMMAND}`"):
        check(tmp_path, comparison(**changes))
    with pytest.raises(ModelError, match=r"has not been compared with version 3.* or approve it without"):
        check(tmp_path, None)


def test_a_model_that_is_worse_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(Worse, match=r"is worse than version 3, lite0-ridge-0, .* Look at build/comparison/report.html"):
        check(tmp_path, comparison(verdict={"verdict": "worse"}))


def test_models_of_the_built_in_algorithm_are_known_by_their_archives(tmp_path: Path) -> None:
    behind = {"version": None, "head_sha256": None, "endpoint": "scones-unlimited-trial"}
    check(tmp_path, comparison(b=behind | {"archive_sha256": ARCHIVE}), BUILT_IN)
    for another in ("d" * 64, None):
        with pytest.raises(ModelError, match="of another model"):
            check(tmp_path, comparison(b=behind | {"archive_sha256": another}), BUILT_IN)


def test_a_comparison_is_among_what_is_known_of_a_version(tmp_path: Path) -> None:
    judged = evaluation(tmp_path)
    for a, name in (({"version": None, "endpoint": "shop"}, "shop"), ({"version": "m1", "endpoint": None}, "m1")):
        request = registry.request(RECORD, judged, TARGET, APPROVED, IMAGE, comparison(a=a))
        is_valid("sagemaker", "CreateModelPackage", request)
        assert request["CustomerMetadataProperties"]["compared_with"] == name
        assert request["CustomerMetadataProperties"]["verdict"] == "better"


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}'])
def test_a_damaged_comparison_is_told_with_what_to_do(tmp_path: Path, text: str) -> None:
    assert Comparison.read(tmp_path) is None
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(ModelError, match="Make it again with `python -m training compare`"):
        Comparison.read(tmp_path)
