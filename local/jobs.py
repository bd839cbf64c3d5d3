"""SageMaker's training jobs, embedded: what a job was asked to run really runs, as a process on this machine.

A folder takes the place of the container's `/opt/ml`: channels come from the embedded S3, what the entry point leaves
in the model's folder goes back there as `model.tar.gz`, and what it prints to the embedded CloudWatch.
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html

The process is not held in by a container: what a job runs has to be trusted as much as the rest of the project. Jobs
are those of the SageMaker SDK's `ModelTrainer` for the image of scikit-learn, which bring their entry point along: the
SDK's drivers, which start the script that they are told of. Two things are changed in the job's copy of the drivers.
They name `/opt/ml` outright; and they would install `requirements.txt`, where this Python has what it names.
"""

import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Timer
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import ClientError
from moto.core.utils import utcnow

from chalicelib import aws
from local import CREDENTIALS

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

TRAINED_IMAGE = "sagemaker-scikit-learn"
"""The repository of the one image whose jobs can run on this machine."""

CONTAINER_FOLDER = "/opt/ml"
DRIVERS = "sm_drivers"
"""The channel that the SDK's own scripts come in."""

INSTALLER = "scripts/install_requirements.py"
"""The one of them that calls pip."""

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
"""https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html"""

LOG_INTERVAL = 1.0
"""Seconds between two writes to the log."""

HOST_NAME = "algo-1"
"""What SageMaker calls the first instance of a job."""

AT_ONCE = 2
"""Jobs that run at the same time; others wait."""

DOWNLOADS = 8
"""Objects that are fetched at the same time."""

GRACE = 2.0
"""Seconds that a process has between SIGTERM and SIGKILL. SageMaker gives 120:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html"""

MAX_REASON = 1024
"""Characters of a failure's reason: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html"""

LAST_LINES = 8
"""Lines of the output that a failure's reason ends with."""

DRIVER_FAILED = re.compile(r"^(Command failed with exit code|\++ handle_error)")
"""What the SDK's drivers say when the script has failed, or they themselves; all that follows is their own."""

TRACE = "+"
"""What bash begins a line with in which it tells of a command."""


class Broken(Exception):
    """A job that cannot go on; its text is the job's `FailureReason`."""


class Jobs:
    """Runs training jobs of the control plane in the background."""

    def __init__(self) -> None:
        self._background = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="job")
        self._processes: dict[str, _Process] = {}

    def start(self, job: Any, asked: Json) -> None:
        """Run a job.

        Args:
            job: moto's record of it, which is kept up to date.
            asked: the parameters of `CreateTrainingJob`.
        """
        job.algorithm_specification = asked["AlgorithmSpecification"]
        job.environment = asked.get("Environment")
        job.secondary_status_transitions = []
        job.final_metric_data_list = []
        job.training_start_time = job.training_end_time = None
        _enter(job, "Starting", "Preparing the instances for training", "InProgress")
        process = self._processes[job.training_job_name] = _Process()
        self._background.submit(self._run, job, asked, process)

    def stop(self, job: Any) -> None:
        """Stop a job, if it still runs."""
        process = self._processes.get(job.training_job_name)
        if process:
            _enter(job, "Stopping", "Stopping the training job", "Stopping")
            process.end("Stopped")

    def close(self) -> None:
        """End all jobs and wait until they have."""
        for process in list(self._processes.values()):
            process.end("Stopped", at_once=True)
        self._background.shutdown(cancel_futures=True)

    def _run(self, job: Any, asked: Json, process: "_Process") -> None:
        name = job.training_job_name
        try:
            with TemporaryDirectory(prefix="job-", ignore_cleanup_errors=True) as folder:
                self._train(job, asked, process, Path(folder))
        except Broken as error:
            job.failure_reason = str(error)[:MAX_REASON]
            _enter(job, "Failed", "Training job failed", "Failed")
        except Exception:
            logger.exception("%s is left as it is", name)
            job.failure_reason = "InternalServerError: We encountered an internal error. Please try again."
            _enter(job, "Failed", "Training job failed", "Failed")
        finally:
            del self._processes[name]

    def _train(self, job: Any, asked: Json, process: "_Process", base: Path) -> None:
        command = _command(asked, base)
        _enter(job, "Downloading", "Downloading input data")
        _lay_out(base, asked)
        environment = _environment(job, asked, base)
        job.training_start_time = utcnow()
        _enter(job, "Training", "Training image download completed. Training in progress.")
        log = _Log(f"{job.training_job_name}/{HOST_NAME}-{time.time_ns() // 10**9}")
        lines: list[str] = []
        try:
            for line in process.run(command, environment, base, asked["StoppingCondition"]["MaxRuntimeInSeconds"]):
                lines.append(line)
                log.add(line)
        finally:
            log.flush()
        job.final_metric_data_list = _metrics(asked["AlgorithmSpecification"].get("MetricDefinitions", []), lines)
        if process.code and process.ended_as is None:
            _close(job)
            raise Broken(f"AlgorithmError: {_last_words(lines)}, exit code: {process.code}")
        _enter(job, "Uploading", "Uploading generated training model")
        _upload(job, asked["OutputDataConfig"]["S3OutputPath"], base)
        _close(job)
        if process.ended_as:
            _enter(job, process.ended_as, "Training job stopped", "Stopped")
        else:
            _enter(job, "Completed", "Training job completed", "Completed")


class _Process:
    """The process of a job, which others may end, before it has begun as well.

    Attributes:
        ended_as: the `SecondaryStatus` that somebody ended it for; None if nobody did.
        code: what it exited with.
    """

    def __init__(self) -> None:
        self.ended_as: str | None = None
        self.code = 0
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def run(self, command: Sequence[str], environment: dict[str, str], folder: Path, seconds: float) -> Iterator[str]:
        """Run it to its end, at most so many seconds; yields the lines that it prints."""
        with self._lock:
            if self.ended_as:
                return
            self._process = subprocess.Popen(  # noqa: S603 - to run it is what is asked for
                command,
                env=environment,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        out_of_time = Timer(seconds, self.end, ["MaxRuntimeExceeded"])
        out_of_time.daemon = True
        out_of_time.start()
        try:
            with self._process:
                yield from (line.rstrip() for line in self._process.stdout or ())
            self.code = self._process.returncode
        finally:
            out_of_time.cancel()
            self._signal(signal.SIGKILL)
            self._process.wait()

    def end(self, how: str, *, at_once: bool = False) -> None:
        """End it, and all that it has started; they are one process group."""
        with self._lock:
            self.ended_as = self.ended_as or how
        self._signal(signal.SIGKILL if at_once else signal.SIGTERM)
        killed = Timer(GRACE, self._signal, [signal.SIGKILL])
        killed.daemon = True
        killed.start()

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class _Log:
    """A stream of the embedded CloudWatch, written every now and then."""

    def __init__(self, stream: str) -> None:
        self._place = {"logGroupName": LOG_GROUP, "logStreamName": stream}
        self._events: list[dict[str, Any]] = []
        self._written = time.monotonic()
        logs = aws.client("logs")
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=LOG_GROUP)
        logs.create_log_stream(**self._place)

    def add(self, line: str) -> None:
        if line:
            self._events.append({"timestamp": time.time_ns() // 10**6, "message": line})
        if time.monotonic() - self._written > LOG_INTERVAL:
            self.flush()

    def flush(self) -> None:
        events, self._events = self._events, []
        self._written = time.monotonic()
        if events:
            aws.client("logs").put_log_events(**self._place, logEvents=events)


def _enter(job: Any, secondary: str, message: str, status: str | None = None) -> None:
    now = utcnow()
    for transition in job.secondary_status_transitions[-1:]:
        transition["EndTime"] = now
    job.secondary_status_transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
    job.last_modified_time = now
    job.secondary_status = secondary
    job.training_job_status = status or job.training_job_status


def _close(job: Any) -> None:
    job.training_end_time = utcnow()
    seconds = math.ceil((job.training_end_time - job.training_start_time).total_seconds())
    job.training_time_in_seconds = job.billable_time_in_seconds = seconds


def _command(asked: Json, base: Path) -> list[str]:
    """What the container is told to run.

    Raises:
        Broken: it cannot run here.
    """
    algorithm = asked["AlgorithmSpecification"]
    image = algorithm.get("TrainingImage", "An algorithm without an image")
    if TRAINED_IMAGE not in image:
        raise Broken(f"{image} runs on AWS only: the embedded stack runs the image of scikit-learn.")
    command = [*algorithm.get("ContainerEntrypoint", []), *algorithm.get("ContainerArguments", [])]
    if not command:
        raise Broken("The image's own entry point runs on AWS only: the embedded stack runs a ContainerEntrypoint.")
    return [part.replace(CONTAINER_FOLDER, str(base)) for part in command]


def _environment(job: Any, asked: Json, base: Path) -> dict[str, str]:
    """What the process finds; nothing of this process's own but where programs lie."""
    scratch = base / "tmp"
    scratch.mkdir()
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        **(asked.get("Environment") or {}),
        "TRAINING_JOB_NAME": job.training_job_name,
        "TRAINING_JOB_ARN": job.arn,
        "SAGEMAKER_BASE_DIR": str(base),
    }


def _lay_out(base: Path, asked: Json) -> None:
    """Write what SageMaker writes before it starts a job."""
    for folder in ("input/config", "input/data", "model", "output/data"):
        (base / folder).mkdir(parents=True)
    channels = {one["ChannelName"]: one for one in asked.get("InputDataConfig") or []}
    for name, channel in channels.items():
        _fetch(channel["DataSource"], base / "input" / "data" / name)
    _adapt(base / "input" / "data" / DRIVERS, base)
    machine = {
        "current_host": HOST_NAME,
        "current_instance_type": asked["ResourceConfig"].get("InstanceType", ""),
        "hosts": [HOST_NAME],
        "network_interface_name": "lo",
    }
    for name, content in {
        "hyperparameters": asked.get("HyperParameters") or {},
        "inputdataconfig": {
            name: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for name, channel in channels.items()
        },
        "resourceconfig": machine,
    }.items():
        (base / "input" / "config" / f"{name}.json").write_text(json.dumps(content))


def _adapt(drivers: Path, base: Path) -> None:
    for path in drivers.rglob("*"):
        if path.suffix in (".py", ".sh"):
            path.write_text(path.read_text().replace(CONTAINER_FOLDER, str(base)))
    installer = drivers / INSTALLER
    if installer.exists():
        installer.write_text("print('Nothing is installed: this Python has what is needed.')\n")


def _fetch(source: Json, folder: Path) -> None:
    """Fetch the objects of a channel.

    Raises:
        Broken: there are none, or they lie where no channel does.
    """
    where = source.get("S3DataSource", {})
    if where.get("S3DataType") != "S3Prefix":
        raise Broken("The embedded stack reads channels of the type S3Prefix; others run on AWS only.")
    url = where["S3Uri"]
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    folder.mkdir()
    s3 = aws.client("s3")
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [one["Key"] for page in pages for one in page.get("Contents", []) if not one["Key"].endswith("/")]
    except ClientError as error:
        raise Broken(f"ClientError: Data download failed: {aws.code(error)} for {url}.") from error
    if not keys:
        raise Broken(
            f'ClientError: Data download failed:No S3 objects found under S3 URL "{url}" given in input data source. '
            "Please ensure that the bucket exists and that objects exist under that S3 prefix."
        )

    def get(key: str) -> None:
        path = folder / (key.removeprefix(prefix).lstrip("/") or Path(key).name)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise Broken(f"ClientError: Data download failed: {key} would leave the channel's folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    with ThreadPoolExecutor(DOWNLOADS) as pool:
        list(pool.map(get, keys))


def _upload(job: Any, output: str, base: Path) -> None:
    bucket, _, prefix = output.removeprefix("s3://").partition("/")
    for folder, name in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
        files = sorted((base / folder).iterdir())
        if not files and folder != "model":
            continue
        archive = base / name
        with tarfile.open(archive, "w:gz") as tar:
            for file in files:
                tar.add(file, file.name)
        key = f"{prefix.rstrip('/')}/{job.training_job_name}/output/{name}".lstrip("/")
        try:
            aws.client("s3").upload_file(str(archive), bucket, key)
        except (ClientError, Boto3Error) as error:
            raise Broken(f"ClientError: Failed to upload {name} to s3://{bucket}/{key}: {error}") from error


def _metrics(definitions: Sequence[Json], lines: Sequence[str]) -> list[dict[str, Any]]:
    """The last value of each metric that the job printed."""
    now = utcnow()
    found = []
    for definition in definitions:
        values = [value[1] for line in lines if (value := re.search(definition["Regex"], line))]
        if values:
            found.append({"MetricName": definition["Name"], "Value": float(values[-1]), "Timestamp": now})
    return found


def _last_words(lines: Sequence[str]) -> str:
    """What the script said last, or the entry point, if it never came to the script."""
    end = next((place for place, line in enumerate(lines) if DRIVER_FAILED.match(line)), len(lines))
    said = [line for line in lines[:end] if line and not line.startswith(TRACE)]
    return "\n".join(said[-LAST_LINES:])[-(MAX_REASON - 100) :]
