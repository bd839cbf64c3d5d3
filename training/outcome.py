"""What becomes of a training job: found again, waited for, and its model fetched."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import ClientError

from training import aws, disk, model_archive
from training.aws import Place
from training.errors import InputError, JobFailed, ModelError, TrainingError
from training.fit import Files
from training.job import BUILT_IN, HEAD, IMAGES
from training.layout import Manifest, TrainingRecord

Description = Mapping[str, Any]
"""What `DescribeTrainingJob` answers:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html"""

COMPLETED, FAILED, STOPPED = ENDED = ("Completed", "Failed", "Stopped")
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
"""Log group of all training jobs: https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html"""

POLL_INTERVAL = 3.0
"""Seconds between two looks at a job."""

Tell = Callable[[str], None]
"""Told of a job's state in words, as often as it changes."""


@dataclass(frozen=True)
class Found:
    """A job of the same data, code and hyperparameters.

    Attributes:
        name: of the job.
        status: its `TrainingJobStatus`.
    """

    name: str
    status: str


def earlier(base_name: str) -> Found | None:
    """The newest job of this name that runs, or has ended well and whose model is still there.

    Args:
        base_name: the name without the time.
    """
    pages = (
        aws.client("sagemaker")
        .get_paginator("list_training_jobs")
        .paginate(NameContains=base_name, SortBy="CreationTime", SortOrder="Descending")
    )
    for page in pages:
        for job in page["TrainingJobSummaries"]:
            name, status = job["TrainingJobName"], job["TrainingJobStatus"]
            if not name.startswith(base_name):
                continue
            if status == "InProgress" or (status == COMPLETED and _has_model(_describe(name))):
                return Found(name, status)
    return None


def wait(name: str, tell: Tell) -> Description:
    """Wait until a job has ended well.

    Args:
        name: of the job.
        tell: told of its state.

    Returns:
        What SageMaker says about it.

    Raises:
        InputError: there is no such job.
        JobFailed: it failed, or was stopped.
        TrainingError: nobody wants to wait any longer; the job goes on.
    """
    last = ""
    try:
        while True:
            description = _describe(name)
            state = _state(description)
            if state != last:
                tell(state)
                last = state
            if description["TrainingJobStatus"] in ENDED:
                return _ended_well(description)
            time.sleep(POLL_INTERVAL)
    except KeyboardInterrupt as error:
        raise TrainingError(
            f"The job {name} goes on without you. Wait for it again with `python -m training train --job {name}`, or "
            f"stop it with `aws sagemaker stop-training-job --training-job-name {name}`."
        ) from error


def collect(description: Description, files: Files, data: Path) -> TrainingRecord:
    """Fetch the model of a job that has ended well.

    Args:
        description: of the job.
        files: where the model goes; it takes the place of one that is there.
        data: the data set, whose labels a model of the built-in algorithm has; ours names them itself.

    Raises:
        PicturesError: there is no such data set, and it is needed.
        ModelError: the archive is gone or not what a model's should be, or would take the place of something else.
    """
    model_archive.check_replaceable(files.model)
    algorithm = algorithm_of(description)
    labels = Manifest.read(data).labels if algorithm == BUILT_IN else []
    if not _has_model(description):
        raise ModelError(
            f"The model of {description['TrainingJobName']} is no longer at {_artifact(description)}. Train it again "
            "with `python -m training train --sagemaker`."
        )
    files.model.parent.mkdir(parents=True, exist_ok=True)
    artifact = _artifact(description)
    with TemporaryDirectory(dir=files.model.parent, prefix=f".{files.model.name}-") as folder:
        archive, made = Path(folder) / "model.tar.gz", Path(folder) / "model"
        aws.client("s3").download_file(
            artifact.bucket, artifact.prefix, str(archive), ExtraArgs={"ExpectedBucketOwner": aws.account()}
        )
        model_archive.unpack(archive, made)
        if algorithm == HEAD:
            labels = _labels(made)
        digest = model_archive.sha256(archive)
        archive.replace(files.archive)
        disk.replace(made, files.model)
    record = TrainingRecord(
        algorithm=algorithm,
        job=description["TrainingJobName"],
        labels=labels,
        archive_sha256=digest,
        head_sha256=model_archive.head_sha256(files.model) if algorithm == HEAD else None,
        metrics={one["MetricName"]: float(one["Value"]) for one in description.get("FinalMetricDataList", [])},
    )
    record.write(files.record)
    return record


def algorithm_of(description: Description) -> str:
    """Which of our algorithms a job ran, by its container."""
    image = description["AlgorithmSpecification"].get("TrainingImage", "")
    return BUILT_IN if f"/{IMAGES[BUILT_IN][0]}:" in image else HEAD


def seconds_billed(description: Description) -> int:
    """Seconds that AWS bills for a job."""
    return int(description.get("BillableTimeInSeconds", 0))


def _artifact(description: Description) -> Place:
    return Place.parse(description["ModelArtifacts"]["S3ModelArtifacts"])


def _has_model(description: Description) -> bool:
    artifact = _artifact(description)
    try:
        aws.client("s3").head_object(Bucket=artifact.bucket, Key=artifact.prefix, ExpectedBucketOwner=aws.account())
    except ClientError as error:
        if aws.error_code(error) in ("404", "NoSuchKey", "NoSuchBucket"):
            return False
        raise
    return True


def _labels(model: Path) -> list[str]:
    model_archive.head_sha256(model)
    try:
        return [str(label) for label in json.loads((model / model_archive.HEAD).read_bytes())["labels"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"The {model_archive.HEAD} of the job's model names no labels. Train it again with "
            "`python -m training train --sagemaker`."
        ) from error


def _describe(name: str) -> Description:
    try:
        description: Description = aws.client("sagemaker").describe_training_job(TrainingJobName=name)
    except ClientError as error:
        if aws.error_code(error) in ("ValidationException", "ResourceNotFound"):
            raise InputError(f"There is no training job {name} in {aws.region()}. Is the name right?") from error
        raise
    return description


def _state(description: Description) -> str:
    steps = description.get("SecondaryStatusTransitions") or [{}]
    message = steps[-1].get("StatusMessage") or ""
    state = f"{description['TrainingJobStatus']}: {description['SecondaryStatus']}"
    return f"{state}. {message}" if message else state


def _ended_well(description: Description) -> Description:
    name, status = description["TrainingJobName"], description["TrainingJobStatus"]
    if status == COMPLETED:
        return description
    if status == FAILED:
        what = f"failed: {description.get('FailureReason', 'no reason given')}"
    elif description["SecondaryStatus"] == "MaxRuntimeExceeded":
        seconds = description["StoppingCondition"]["MaxRuntimeInSeconds"]
        what = (
            f"was stopped since its time was up ({seconds} s of running). Allow more with --max-minutes or --max-cost."
        )
    elif description["SecondaryStatus"] == "MaxWaitTimeExceeded":
        what = "waited too long for a spot instance. Try again later, or pay for one with --on-demand."
    else:
        what = "was stopped by somebody. Run the same command again to start another."
    raise JobFailed(
        f"The job {name} {what} Its log is in the log group {LOG_GROUP}, in the streams that begin with the job's name."
    )
