"""SageMaker's side of training jobs, on a recorder: a bucket with a data set, and jobs that go through states."""

import io
import re
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.training.recorder import Json, Recorder
from training import aws, job, outcome
from training.layout import MANIFEST_FILE

ACCOUNT = "123456789012"
ROLE = "arn:aws:iam::123456789012:role/scones-unlimited-sagemaker"
S3 = "s3://bucket/training"
IMAGES = {
    job.HEAD: "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
    job.BUILT_IN: "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1",
}
NO_KEY = {"Error": {"Code": "NoSuchKey", "Message": "The specified key does not exist."}}
NOT_FOUND = {"Error": {"Code": "404", "Message": "Not Found"}}
PRICE = 0.23


def description(name: str, status: str, secondary: str, algorithm: str = job.HEAD, **more: Any) -> Json:
    """What `DescribeTrainingJob` answers."""
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/{name}",
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "AlgorithmSpecification": {"TrainingImage": IMAGES[algorithm], "TrainingInputMode": "File"},
        "ModelArtifacts": {"S3ModelArtifacts": f"{S3}/jobs/{name}/output/model.tar.gz"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **more,
    }


RUNNING = ("InProgress", "Training")
DONE = ("Completed", "Completed")


@dataclass
class Jobs:
    """A SageMaker whose jobs go through given states, one at each look; the last one stays.

    Attributes:
        recorder: what was asked.
        states: status and secondary status.
        algorithm: of every job.
        more: added to what is told of them.
        listed: names and statuses of the jobs that are there, the newest first.
        archive: the model that they have made; None for none.
        manifest: of the data set in the bucket; None for none.
    """

    recorder: Recorder
    states: list[tuple[str, str]] = field(default_factory=lambda: [RUNNING, DONE])
    algorithm: str = job.HEAD
    more: Json = field(default_factory=dict)
    listed: list[tuple[str, str]] = field(default_factory=list)
    archive: bytes | None = None
    manifest: bytes | None = None

    def answer(self, data: Path | None = None) -> None:
        """Answer like this, with a data set in the bucket."""
        self.manifest = (data / MANIFEST_FILE).read_bytes() if data else None
        self.recorder.answers |= {
            "GetCallerIdentity": lambda _: {"Account": ACCOUNT},
            "ListBuckets": lambda _: {"Buckets": [{"Name": "bucket", "CreationDate": "2026-01-01"}]},
            "CreateTrainingJob": lambda params: {"TrainingJobArn": f"arn:{params['TrainingJobName']}"},
            "DescribeTrainingJob": self.describe,
            "ListTrainingJobs": self.list,
            "ListObjectsV2": objects(data, ("train", "validation", "train_lst", "validation_lst")),
            "HeadObject": lambda _: NOT_FOUND if self.archive is None else self.head(self.archive),
            "GetObject": self.get,
        }

    def head(self, content: bytes) -> Json:
        return {"ContentLength": len(content), "ETag": '"1"', "Metadata": {}}

    def get(self, params: Json) -> Json:
        if params["Key"] == f"training/data/{MANIFEST_FILE}":
            return NO_KEY if self.manifest is None else {"Body": io.BytesIO(self.manifest)}
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", params.get("Range", "bytes=0-")).groups()  # type: ignore[union-attr]
        content = (self.archive or b"")[int(first) : int(last) + 1 if last else None]
        return self.head(content) | {"Body": io.BytesIO(content)}

    def describe(self, params: Json) -> Json:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return description(params["TrainingJobName"], *state, self.algorithm, **self.more)

    def list(self, params: Json) -> Json:
        return {
            "TrainingJobSummaries": [
                {"TrainingJobName": name, "TrainingJobStatus": status}
                for name, status in self.listed
                if params["NameContains"] in name
            ]
        }


def objects(data: Path | None, channels: Sequence[str]) -> Any:
    """Answers a listing as if some channels of a data set were uploaded."""

    def files() -> Iterable[Path]:
        return (path for name in channels for path in sorted((data / name).rglob("*.*"))) if data else ()

    def answer(params: Json) -> Json:
        found = [
            {"Key": f"training/data/{path.relative_to(data or path).as_posix()}", "Size": path.stat().st_size}
            for path in files()
        ]
        return {"Contents": [one for one in found if str(one["Key"]).startswith(params["Prefix"])]}

    return answer


@contextmanager
def recording(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a recorder in AWS's place, with prices that do not change and waits that take no time."""
    recorder = Recorder()
    monkeypatch.setattr(boto3, "Session", recorder.session)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(job, "_price", lambda _: PRICE)
    monkeypatch.setattr(outcome, "POLL_INTERVAL", 0)
    aws.client.cache_clear()
    aws.account.cache_clear()
    jobs = Jobs(recorder)
    jobs.answer()
    yield jobs
    aws.client.cache_clear()
    aws.account.cache_clear()
