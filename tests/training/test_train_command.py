import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.training.jobs import DONE, ROLE, RUNNING, S3, Jobs, recording
from training import job, model_archive
from training.cli import main
from training.layout import COMMITTED_MODEL, TrainingRecord

NAME = "scones-unlimited-0123456789ab-20260101000000"
ON_SAGEMAKER = ("--sagemaker", "--s3", S3, "--role", ROLE)


@pytest.fixture
def jobs(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    for name in ("TRAINING_S3", "TRAINING_ROLE"):
        monkeypatch.delenv(name, raising=False)
    with recording(monkeypatch) as jobs:
        jobs.answer(data)
        yield jobs


@pytest.fixture
def made(jobs: Jobs, archive: bytes) -> Jobs:
    """Jobs that make a model."""
    jobs.archive = archive
    return jobs


def train(data: Path, model: Path, *options: str, **more: Any) -> Result:
    return CliRunner().invoke(main, ["train", "--data", str(data), "--model", str(model), *options], **more)


def test_training_here_prints_one_json_object_and_nothing_else(data: Path, tmp_path: Path) -> None:
    result = train(data, tmp_path / "model", "--json", "--date", "2001-02-03")
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert content["metrics"]["train_pictures"] == 12
    assert content["archive"] == str(tmp_path / "model.tar.gz")
    assert content["head_sha256"] == model_archive.head_sha256(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "head.json").read_text())["provenance"]["date"] == "2001-02-03"


def test_table_of_metrics_fits_a_terminal(made: Jobs, data: Path, tmp_path: Path) -> None:
    made.more = {"FinalMetricDataList": [{"MetricName": "cross_validation_kept_accuracy", "Value": 0.991576}]}
    result = train(data, tmp_path / "model", "--job", NAME)
    assert result.exit_code == 0
    assert re.search(r"cross_validation_kept_accuracy +│ 0\.991576 ", result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert f"The model for bicycle, motorcycle is in {tmp_path / 'model'}" in result.stderr


def test_job_is_started_waited_for_and_its_model_fetched(made: Jobs, data: Path, tmp_path: Path) -> None:
    made.states = [RUNNING, RUNNING, DONE]  # the SDK looks once, too
    made.more = {"BillableTimeInSeconds": 77}
    result = train(data, tmp_path / "model", *ON_SAGEMAKER, "--yes", "--json", "--max-minutes", "30")
    assert result.exit_code == 0, result.output
    (request,) = made.recorder.of("CreateTrainingJob")
    record = TrainingRecord.read(tmp_path / "training.json")
    assert json.loads(result.stdout)["job"] == record.job == request["TrainingJobName"]
    assert f"ml.m5.xlarge (spot) in us-east-1, for at most 30 minutes: at most {0.115:.2f} USD" in result.stderr
    assert f"Started {record.job}" in result.stderr
    assert "InProgress: Training" in result.stderr
    assert "bills 77 s" in result.stderr
    assert model_archive.head_sha256(tmp_path / "model") == model_archive.head_sha256(COMMITTED_MODEL)


def test_options_reach_the_job_of_the_built_in_algorithm(made: Jobs, data: Path, tmp_path: Path) -> None:
    made.algorithm = job.BUILT_IN
    made.archive = None
    options = ("--algorithm", "image-classification", "--on-demand", "--instance-type", "ml.g5.xlarge")
    train(data, tmp_path / "model", *ON_SAGEMAKER, *options, "--max-cost", "0.115", "--stage", "prod", "--yes")
    (request,) = made.recorder.of("CreateTrainingJob")
    assert request["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 1800}
    assert {"Key": "stage", "Value": "prod"} in request["Tags"]
    assert not [put for put in made.recorder.of("PutObject") if put["Key"].endswith("backbone.onnx")]


@pytest.mark.parametrize("status", ["Completed", "InProgress"])
def test_job_that_does_the_same_is_not_paid_for_twice(
    status: str, made: Jobs, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_S3", S3)
    monkeypatch.setenv("TRAINING_ROLE", ROLE)
    assert train(data, tmp_path / "first", "--sagemaker", "--yes").exit_code == 0
    (request,) = made.recorder.of("CreateTrainingJob")
    made.listed = [(request["TrainingJobName"], status)]
    made.states = [DONE]
    result = train(data, tmp_path / "second", "--sagemaker")
    assert result.exit_code == 0, result.output
    assert f"{request['TrainingJobName']} does the same and is {status}" in result.stderr
    assert len(made.recorder.of("CreateTrainingJob")) == 1
    assert (tmp_path / "second.tar.gz").read_bytes() == (tmp_path / "first.tar.gz").read_bytes()


def test_job_that_was_started_before_is_waited_for_without_data_place_or_role(made: Jobs, tmp_path: Path) -> None:
    made.states = [RUNNING, RUNNING, DONE]
    result = train(tmp_path / "none", tmp_path / "model", "--job", NAME)
    assert result.exit_code == 0, result.output
    assert {one["TrainingJobName"] for one in made.recorder.of("DescribeTrainingJob")} == {NAME}
    assert not made.recorder.of("CreateTrainingJob")


def test_nothing_is_started_or_uploaded_without_a_yes(made: Jobs, data: Path, tmp_path: Path) -> None:
    for answer in ("n\n", ""):
        result = train(data, tmp_path / "model", *ON_SAGEMAKER, input=answer)
        assert result.exit_code == 1
        assert "Start it?" in result.stderr
    assert not made.recorder.of("CreateTrainingJob")
    assert not made.recorder.of("PutObject")


def test_failed_job_is_an_error_with_its_reason(jobs: Jobs, data: Path, tmp_path: Path) -> None:
    jobs.states = [RUNNING, ("Failed", "Failed")]
    jobs.more = {"FailureReason": "ClientError: no pictures"}
    result = train(data, tmp_path / "model", *ON_SAGEMAKER, "--yes")
    assert result.exit_code == 1
    assert "ClientError: no pictures" in result.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sagemaker", "--role", ROLE), "--s3 s3://bucket/prefix, or TRAINING_S3"),
        (("--sagemaker", "--s3", "bucket", "--role", ROLE), "no place in S3"),
        (("--sagemaker", "--s3", S3), "--role ARN, or TRAINING_ROLE"),
        (("--sagemaker", "--s3", S3, "--role", "worker"), "--role ARN"),
        (("--algorithm", "image-classification"), "Say --sagemaker"),
        ((*ON_SAGEMAKER, "--max-cost", "0.0001"), "at least 120 s"),
        (("--max-minutes", "-1"), "--max-minutes"),
        (("--algorithm", "forest"), "--algorithm"),
    ],
)
def test_what_has_to_change_is_told_with_exit_code_2(
    options: tuple[str, ...], message: str, jobs: Jobs, data: Path, tmp_path: Path
) -> None:
    result = train(data, tmp_path / "model", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not jobs.recorder.of("CreateTrainingJob")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("options", [ON_SAGEMAKER, ("--job", NAME)])
def test_missing_region_is_told_with_exit_code_2(
    options: tuple[str, ...], jobs: Jobs, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    result = train(data, tmp_path / "model", *options)
    assert result.exit_code == 2
    assert "Set AWS_DEFAULT_REGION" in result.stderr


@pytest.mark.parametrize("options", [(), ON_SAGEMAKER])
def test_missing_data_set_is_told_with_exit_code_2(options: tuple[str, ...], jobs: Jobs, tmp_path: Path) -> None:
    result = train(tmp_path / "none", tmp_path / "model", *options)
    assert result.exit_code == 2
    assert "python -m training stage" in result.stderr


def test_data_that_was_not_uploaded_is_told_with_exit_code_2(jobs: Jobs, data: Path, tmp_path: Path) -> None:
    jobs.answer(None)
    result = train(data, tmp_path / "model", *ON_SAGEMAKER, "--yes")
    assert result.exit_code == 2
    assert f"python -m training upload {data} {S3}/data" in result.stderr
    assert not jobs.recorder.of("CreateTrainingJob")


@pytest.mark.parametrize("options", [(), (*ON_SAGEMAKER, "--yes")])
def test_model_is_not_written_over_something_else(
    options: tuple[str, ...], jobs: Jobs, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = train(data, tmp_path, *options)
    assert result.exit_code == 2
    assert "thesis.txt" in result.stderr
    assert not jobs.recorder.of("CreateTrainingJob")
