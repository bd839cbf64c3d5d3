"""Training jobs on the embedded SageMaker: they run what they are told to run, and end as AWS's do."""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from local import CREDENTIALS, ROOT, jobs
from local.stack import Stack
from tests.local.deployments import IMAGE, refused
from tests.training.staged import write_data
from training import fit
from training.layout import COMMITTED_MODEL

Json = dict[str, Any]

ENTRY = ["python3", "/opt/ml/input/data/code/script.py"]
SAVE = "from pathlib import Path\nmodel = Path('model')\n(model / 'weights.txt').write_text('1 2 3')\n"
STAY = SAVE + "import time\nprint('saved', flush=True)\ntime.sleep(60)\n"
PATIENCE = 60.0
"""Seconds after which a job counts as stuck."""


@dataclass
class Trainer:
    """Starts jobs.

    Attributes:
        stack: the running system.
        place: a prefix in its bucket that no other test has.
    """

    stack: Stack
    place: str = field(default_factory=lambda: f"jobs-{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.sagemaker = boto3.client("sagemaker")
        self.s3 = boto3.client("s3")

    @property
    def url(self) -> str:
        return f"s3://{self.stack.training_bucket}/{self.place}"

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.stack.training_bucket, Key=f"{self.place}/{key}", Body=body)

    def channel(self, name: str, prefix: str) -> Json:
        return {
            "ChannelName": name,
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{self.url}/{prefix}"}},
        }

    def start(self, script: str = SAVE, seconds: int = 60, channels: tuple[Json, ...] = (), **changes: Any) -> str:
        name = f"{self.place}-{uuid4().hex[:8]}"
        self.put(f"{name}/code/script.py", script.encode())
        algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ENTRY}
        self.sagemaker.create_training_job(
            **{
                "TrainingJobName": name,
                "AlgorithmSpecification": algorithm | changes.pop("algorithm", {}),
                "RoleArn": self.stack.training_role,
                "InputDataConfig": [self.channel("code", f"{name}/code/"), *channels],
                "OutputDataConfig": {"S3OutputPath": f"{self.url}/output"},
                "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
                "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
                **changes,
            }
        )
        return name

    def describe(self, name: str) -> Json:
        described: Json = self.sagemaker.describe_training_job(TrainingJobName=name)
        return described

    def until(self, name: str, *states: str) -> Json:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            described = self.describe(name)
            if described["TrainingJobStatus"] in states or described["SecondaryStatus"] in states:
                return described
            time.sleep(0.05)
        pytest.fail(f"{name} is still {described['SecondaryStatus']}")

    def ended(self, name: str) -> Json:
        return self.until(name, "Completed", "Failed", "Stopped")

    def log(self, name: str) -> list[str]:
        logs = boto3.client("logs")
        (stream,) = logs.describe_log_streams(logGroupName=jobs.LOG_GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
        events = logs.get_log_events(logGroupName=jobs.LOG_GROUP, logStreamName=stream["logStreamName"])["events"]
        return [event["message"] for event in events]

    def artifact(self, described: Json) -> dict[str, bytes]:
        """The files of the model that a job has made."""
        bucket, _, key = described["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
        return self.unpacked(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def unpacked(self, archive: bytes) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


@pytest.fixture
def trainer(stack: Stack) -> Trainer:
    return Trainer(stack)


def test_the_sdks_job_makes_the_model_that_training_here_makes(trainer: Trainer, tmp_path: Path) -> None:
    data = tmp_path / "build" / "data"
    write_data(data)
    environment = os.environ | trainer.stack.environment() | {"TRAINING_S3": trainer.url, "PYTHONPATH": str(ROOT)}
    for arguments in (["upload", "build/data", f"{trainer.url}/data"], ["train", "--sagemaker", "--yes", "--json"]):
        command = [sys.executable, "-m", "training", *arguments]
        done = subprocess.run(  # noqa: S603
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["metrics"]["train_pictures"] == 12
    described = trainer.describe(record["job"])
    assert [one["Status"] for one in described["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert described["BillableTimeInSeconds"] > 0
    assert any("Running Basic Script driver" in line for line in trainer.log(record["job"]))
    fit.fit(data, fit.Files(tmp_path / "here" / "model"), lambda *_: None)
    assert (tmp_path / "here" / "model" / "head.json").read_bytes() == trainer.artifact(described)["head.json"]
    assert trainer.artifact(described)["backbone.onnx"] == (COMMITTED_MODEL / "backbone.onnx").read_bytes()


def test_a_job_finds_its_channels_and_configuration_where_a_container_does(trainer: Trainer) -> None:
    for key in ("train/a/1.txt", "train/b/2.txt", "train_lst/list.txt", "one/file.bin"):
        trainer.put(f"in/{key}", key.encode())
    script = (
        "import json, pathlib, sys\n"
        "files = {p.as_posix(): p.read_text() for p in pathlib.Path('input/data').rglob('*') if p.suffix != '.py'"
        " and p.is_file()}\n"
        "told = {p.stem: json.loads(p.read_text()) for p in pathlib.Path('input/config').glob('*.json')}\n"
        "pathlib.Path('model/seen.json').write_text(json.dumps([files, told, sys.argv[1:]]))\n"
        "pathlib.Path('output/data/notes.txt').write_text('notes')\n"
    )
    name = trainer.start(
        script,
        channels=(
            trainer.channel("train", "in/train/"),
            trainer.channel("lists", "in/train_lst"),
            trainer.channel("one", "in/one/file.bin"),
        ),
        algorithm={"ContainerArguments": ["--where", "/opt/ml/model"]},
        HyperParameters={"alpha": "10.0"},
    )
    described = trainer.ended(name)
    assert described["TrainingJobStatus"] == "Completed", described
    files, told, arguments = json.loads(trainer.artifact(described)["seen.json"])
    assert files == {
        "input/data/train/a/1.txt": "train/a/1.txt",
        "input/data/train/b/2.txt": "train/b/2.txt",
        "input/data/lists/list.txt": "train_lst/list.txt",
        "input/data/one/file.bin": "one/file.bin",
    }
    assert told["hyperparameters"] == {"alpha": "10.0"}
    assert set(told["inputdataconfig"]) == {"code", "train", "lists", "one"}
    assert told["resourceconfig"]["current_instance_type"] == "ml.m5.xlarge"
    assert (arguments[0], arguments[1].endswith("/model")) == ("--where", True)
    output = trainer.s3.get_object(
        Bucket=trainer.stack.training_bucket, Key=f"{trainer.place}/output/{name}/output/output.tar.gz"
    )
    assert trainer.unpacked(output["Body"].read()) == {"notes.txt": b"notes"}


def test_the_last_value_of_each_metric_that_is_printed_is_told(trainer: Trainer) -> None:
    definitions = [{"Name": name, "Regex": rf"\b{name}=([0-9.]+);"} for name in ("accuracy", "loss")]
    name = trainer.start(
        "print('accuracy=0.5;')\nprint('accuracy=0.75;')\nprint('val_accuracy=0.1;')\n",
        algorithm={"MetricDefinitions": definitions},
    )
    described = trainer.ended(name)
    assert [(one["MetricName"], one["Value"]) for one in described["FinalMetricDataList"]] == [("accuracy", 0.75)]
    assert described["AlgorithmSpecification"]["MetricDefinitions"] == definitions
    assert trainer.log(name)[:2] == ["accuracy=0.5;", "accuracy=0.75;"]


def test_a_job_sees_the_embedded_credentials_and_no_others(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_THIS_MACHINE", "hush")
    script = (
        "import boto3, json, os, pathlib\n"
        "account = boto3.client('sts').get_caller_identity()['Account']\n"
        "pathlib.Path('model/seen.json').write_text(json.dumps([account, dict(os.environ)]))\n"
    )
    name = trainer.start(script, Environment={"ASKED_FOR": "yes"})
    account, environment = json.loads(trainer.artifact(trainer.ended(name))["seen.json"])
    assert account == "123456789012"
    assert environment.items() >= CREDENTIALS.items()
    assert environment["ASKED_FOR"] == "yes"
    assert environment["TRAINING_JOB_NAME"] == name
    assert "A_SECRET_OF_THIS_MACHINE" not in environment


class TestFailure:
    def test_a_script_that_fails_is_quoted_and_its_log_kept(self, trainer: Trainer) -> None:
        name = trainer.start("import sys\nprint('looking')\nsys.exit('error: no picture of: bicycle.')\n")
        described = trainer.ended(name)
        assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Failed", "Failed")
        assert described["FailureReason"] == "AlgorithmError: looking\nerror: no picture of: bicycle., exit code: 1"
        assert trainer.log(name) == ["looking", "error: no picture of: bicycle."]

    def test_what_the_sdks_driver_adds_is_left_out_of_the_reason(self) -> None:
        lines = ["+ python train.py", "error: no picture.", "Command failed with exit code 1. Traceback: …", "  File …"]
        assert jobs._last_words(lines) == "error: no picture."

    def test_a_reason_is_no_longer_than_aws_makes_it(self, trainer: Trainer) -> None:
        described = trainer.ended(trainer.start("import sys\nsys.exit('x' * 5000)\n"))
        assert len(described["FailureReason"]) <= jobs.MAX_REASON
        assert described["FailureReason"].endswith("xxx, exit code: 1")

    @pytest.mark.parametrize(
        ("words", "changes"),
        [
            (
                "image-classification:1 runs on AWS only",
                {"TrainingImage": "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"},
            ),
            ("own entry point runs on AWS only", {"ContainerEntrypoint": None}),
        ],
    )
    def test_what_cannot_run_here_says_so(self, trainer: Trainer, words: str, changes: Json) -> None:
        algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ENTRY} | changes
        kept = {name: value for name, value in algorithm.items() if value}
        described = trainer.ended(trainer.start(AlgorithmSpecification=kept))
        assert (described["TrainingJobStatus"], words in described["FailureReason"]) == ("Failed", True)

    def test_a_channel_without_objects_or_bucket_fails_the_job(self, trainer: Trainer) -> None:
        described = trainer.ended(trainer.start(channels=(trainer.channel("train", "nowhere/"),)))
        assert f'No S3 objects found under S3 URL "{trainer.url}/nowhere/"' in described["FailureReason"]
        channel = trainer.channel("train", "")
        channel["DataSource"]["S3DataSource"]["S3Uri"] = "s3://nobody-made-this-bucket/x"
        described = trainer.ended(trainer.start(channels=(channel,)))
        assert "NoSuchBucket" in described["FailureReason"]

    def test_an_object_does_not_leave_its_channel(self, trainer: Trainer, tmp_path: Path) -> None:
        trainer.put("in/../../../outside.txt", b"hostile")
        described = trainer.ended(trainer.start(channels=(trainer.channel("train", "in/"),)))
        assert "would leave the channel's folder" in described["FailureReason"]

    def test_a_model_that_cannot_be_uploaded_fails_the_job(self, trainer: Trainer) -> None:
        name = trainer.start(OutputDataConfig={"S3OutputPath": "s3://nobody-made-this-bucket/x"})
        described = trainer.ended(name)
        assert (described["TrainingJobStatus"], "NoSuchBucket" in described["FailureReason"]) == ("Failed", True)


class TestStop:
    def test_a_job_that_is_stopped_keeps_what_it_has_saved(self, trainer: Trainer) -> None:
        name = trainer.start(STAY)
        trainer.until(name, "Training")
        while not trainer.describe(name).get("TrainingStartTime"):
            time.sleep(0.05)
        time.sleep(1)
        trainer.sagemaker.stop_training_job(TrainingJobName=name)
        described = trainer.ended(name)
        assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
        assert trainer.artifact(described) == {"weights.txt": b"1 2 3"}
        code, message = refused(trainer.sagemaker.stop_training_job, TrainingJobName=name)
        assert (code, "Stopped" in message) == ("ValidationException", True)

    def test_a_job_that_is_stopped_while_it_waits_for_others_never_begins(self, trainer: Trainer) -> None:
        running = [trainer.start(STAY) for _ in range(jobs.AT_ONCE)]
        waiting = trainer.start("print('begun')\n")
        assert trainer.describe(waiting)["SecondaryStatus"] == "Starting"
        trainer.sagemaker.stop_training_job(TrainingJobName=waiting)
        assert trainer.describe(waiting)["TrainingJobStatus"] == "Stopping"
        for name in running:
            trainer.sagemaker.stop_training_job(TrainingJobName=name)
        described = trainer.ended(waiting)
        assert (described["TrainingJobStatus"], trainer.log(waiting)) == ("Stopped", [])
        for name in running:
            assert trainer.ended(name)["TrainingJobStatus"] == "Stopped"

    def test_a_job_whose_time_is_up_is_stopped(self, trainer: Trainer) -> None:
        described = trainer.ended(trainer.start(STAY, seconds=2))
        assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
        assert 2 <= described["BillableTimeInSeconds"] <= 20
        assert trainer.artifact(described) == {"weights.txt": b"1 2 3"}

    def test_a_job_that_does_not_listen_is_killed_with_all_that_it_has_started(
        self, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "GRACE", 0.2)
        script = (
            "import signal, subprocess, sys\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "child.wait()\n"
        )
        described = trainer.ended(trainer.start(script, seconds=2))
        assert described["SecondaryStatus"] == "MaxRuntimeExceeded"
        assert described["BillableTimeInSeconds"] < 30, "as long as one of them lives, the pipe is open"


class TestList:
    def test_jobs_are_found_by_part_of_their_name_sorted_and_in_pages(self, trainer: Trainer) -> None:
        names = [trainer.start("print('done')\n") for _ in range(3)]
        for name in names:
            trainer.ended(name)
        failed = trainer.start("raise SystemExit(1)\n")
        trainer.ended(failed)
        pages = trainer.sagemaker.get_paginator("list_training_jobs").paginate(
            NameContains=trainer.place,
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"PageSize": 2},
        )
        found = [one["TrainingJobName"] for page in pages for one in page["TrainingJobSummaries"]]
        assert found == [failed, *reversed(names)]
        listed = trainer.sagemaker.list_training_jobs(NameContains=trainer.place, StatusEquals="Failed")
        (summary,) = listed["TrainingJobSummaries"]
        assert (summary["TrainingJobName"], summary["TrainingJobStatus"]) == (failed, "Failed")

    def test_a_name_that_is_taken_is_refused(self, trainer: Trainer) -> None:
        name = trainer.start("print('done')\n")
        assert refused(trainer.start, TrainingJobName=name)[0] == "ResourceInUse"
        trainer.ended(name)
