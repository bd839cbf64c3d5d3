import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.jobs import ACCOUNT, DONE, RUNNING, Jobs, description, recording
from tests.training.staged import write_data
from training import job, model_archive, outcome
from training.errors import InputError, JobFailed, ModelError, PicturesError, TrainingError
from training.fit import Files
from training.layout import COMMITTED_MODEL, TrainingRecord

NAME = "scones-unlimited-0123456789ab-20260101000000"
BASE = "scones-unlimited-0123456789ab"


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    with recording(monkeypatch) as jobs:
        yield jobs


def test_states_are_told_as_they_change(jobs: Jobs) -> None:
    jobs.states = [("InProgress", "Starting"), ("InProgress", "Starting"), RUNNING, DONE]
    told: list[str] = []
    assert outcome.wait(NAME, told.append)["TrainingJobName"] == NAME
    assert told == ["InProgress: Starting", "InProgress: Training", "Completed: Completed"]


def test_message_of_a_state_is_told_with_it(jobs: Jobs) -> None:
    jobs.states = [DONE]
    jobs.more = {
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StatusMessage": "Preparing"},
            {"Status": "Completed", "StatusMessage": "Training job completed"},
        ]
    }
    told: list[str] = []
    outcome.wait(NAME, told.append)
    assert told == ["Completed: Completed. Training job completed"]


@pytest.mark.parametrize(
    ("state", "more", "message"),
    [
        (
            ("Failed", "Failed"),
            {"FailureReason": "AlgorithmError: no pictures."},
            r"failed: AlgorithmError: no pictures\. .*/aws/sagemaker/TrainingJobs",
        ),
        (("Failed", "Failed"), {}, "no reason given"),
        (("Stopped", "MaxRuntimeExceeded"), {}, r"time was up \(3600 s of running\).*--max-minutes or --max-cost"),
        (("Stopped", "MaxWaitTimeExceeded"), {}, "waited too long for a spot instance.*--on-demand"),
        (("Stopped", "Stopped"), {}, "was stopped by somebody"),
    ],
)
def test_job_that_ends_badly_says_why_and_what_to_do(
    state: tuple[str, str], more: dict[str, Any], message: str, jobs: Jobs
) -> None:
    jobs.states, jobs.more = [RUNNING, state], more
    with pytest.raises(JobFailed, match=message):
        outcome.wait(NAME, lambda _: None)


def test_who_waits_no_longer_is_told_how_to_go_on(jobs: Jobs) -> None:
    jobs.states = [RUNNING]

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(TrainingError, match=rf"{NAME} goes on.*train --job {NAME}.*stop-training-job") as caught:
        outcome.wait(NAME, interrupt)
    assert not isinstance(caught.value, JobFailed)
    assert not jobs.recorder.of("StopTrainingJob")


def test_job_that_is_not_there_is_named(jobs: Jobs) -> None:
    error = {"Code": "ValidationException", "Message": "Requested resource not found."}
    jobs.recorder.answers["DescribeTrainingJob"] = lambda _: {"Error": error}
    with pytest.raises(InputError, match=f"no training job {NAME} in us-east-1"):
        outcome.wait(NAME, lambda _: None)


def test_model_and_record_of_our_own_head_are_fetched(jobs: Jobs, archive: bytes, tmp_path: Path) -> None:
    jobs.archive = archive
    files = Files(tmp_path / "build" / "model")
    metrics = [{"MetricName": "validation_accuracy", "Value": 0.5, "Timestamp": 0}]
    ended = description(NAME, *DONE, FinalMetricDataList=metrics)
    record = outcome.collect(ended, files, tmp_path / "no data set")
    assert record == TrainingRecord.read(files.record)
    assert record == TrainingRecord(
        algorithm="head",
        job=NAME,
        labels=["bicycle", "motorcycle"],
        archive_sha256=hashlib.sha256(archive).hexdigest(),
        head_sha256=model_archive.head_sha256(COMMITTED_MODEL),
        metrics={"validation_accuracy": 0.5},
    )
    assert files.archive.read_bytes() == archive
    assert (files.model / "code" / "inference.py").is_file()
    asked = {(get["Bucket"], get["Key"], get["ExpectedBucketOwner"]) for get in jobs.recorder.of("GetObject")}
    assert asked == {("bucket", f"training/jobs/{NAME}/output/model.tar.gz", ACCOUNT)}
    assert sorted(path.name for path in files.model.parent.iterdir()) == ["model", "model.tar.gz", "training.json"]


def test_model_that_is_gone_is_named(jobs: Jobs, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"no longer at s3://bucket/training/jobs/{NAME}/output/model\.tar\.gz"):
        outcome.collect(description(NAME, *DONE), Files(tmp_path / "model"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def packed(**files: bytes) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, body in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return content.getvalue()


def test_model_of_the_built_in_algorithm_has_the_labels_of_the_data_set(jobs: Jobs, tmp_path: Path) -> None:
    write_data(tmp_path / "data", ("house", "bicycle"), {"train": 1})
    jobs.archive = packed(weights__params=b"1", symbol__json=b"{}")
    ended = description(NAME, *DONE, job.BUILT_IN)
    record = outcome.collect(ended, Files(tmp_path / "model"), tmp_path / "data")
    assert (record.algorithm, record.labels, record.head_sha256) == (job.BUILT_IN, ["house", "bicycle"], None)
    with pytest.raises(PicturesError, match="no data set"):
        outcome.collect(ended, Files(tmp_path / "model"), tmp_path)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"no archive", "damaged"),
        (packed(evil__py=b"1"), "no file of a model"),
        (packed(weights__params=b"1"), r"holds no head\.json"),
        (packed(head__json=b"no JSON"), "names no labels"),
        (packed(head__json=b"[]"), "names no labels"),
        (packed(head__json=b"{}"), "names no labels"),
    ],
)
def test_archive_that_is_no_model_leaves_the_old_one(archive: bytes, message: str, jobs: Jobs, tmp_path: Path) -> None:
    jobs.archive = archive
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "head.json").write_text("old")
    with pytest.raises(ModelError, match=message):
        outcome.collect(description(NAME, *DONE), Files(tmp_path / "model"), tmp_path)
    assert (tmp_path / "model" / "head.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("listed", "has_model", "expected"),
    [
        ([], True, None),
        ([(NAME, "Completed")], True, (NAME, "Completed")),
        ([(NAME, "Completed")], False, None),
        ([(NAME, "InProgress")], False, (NAME, "InProgress")),
        ([(f"{NAME}9", "Failed"), (f"{NAME}8", "Stopped"), (NAME, "Completed")], True, (NAME, "Completed")),
        ([(f"other-{NAME}", "Completed")], True, None),
    ],
)
def test_earlier_job_counts_while_it_runs_or_as_long_as_its_model_is_there(
    listed: list[tuple[str, str]], has_model: object, expected: tuple[str, str] | None, jobs: Jobs
) -> None:
    jobs.listed, jobs.states, jobs.archive = listed, [DONE], b"model" if has_model else None
    found = outcome.earlier(BASE)
    assert found == (outcome.Found(*expected) if expected else None)


@pytest.mark.parametrize("algorithm", job.ALGORITHMS)
def test_algorithm_is_told_by_the_container(algorithm: str) -> None:
    assert outcome.algorithm_of(description(NAME, *DONE, algorithm)) == algorithm


def test_labels_are_those_of_the_model_that_came(jobs: Jobs, tmp_path: Path) -> None:
    head = json.dumps({"labels": ["a", "b", "c"]}).encode()
    jobs.archive = packed(head__json=head)
    record = outcome.collect(description(NAME, *DONE), Files(tmp_path / "model"), tmp_path)
    assert record.labels == ["a", "b", "c"]
