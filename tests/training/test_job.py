import ast
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.training.jobs import ACCOUNT, ROLE, Jobs, objects, recording
from tests.training.recorder import Json, Recorder
from tests.training.validation import is_valid
from training import fit, job, model_archive, prices
from training.aws import Place
from training.errors import AccountError, InputError, PicturesError
from training.layout import COMMITTED_MODEL, ROOT, Manifest

PLACE = Place("bucket", "training")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    with recording(monkeypatch) as jobs:
        yield jobs


@pytest.fixture
def recorder(jobs: Jobs) -> Recorder:
    return jobs.recorder


@pytest.fixture(scope="module")
def manifest(data: Path) -> Manifest:
    return Manifest.read(data)


def plan(manifest: Manifest, algorithm: str = job.HEAD, **limits: Any) -> job.Plan:
    return job.make_plan(algorithm, manifest, PLACE, ROLE, "dev", job.Limits(**limits))


def channel(name: str, uri: str, **more: str) -> Json:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more, "InputMode": "File"}


TAGS = [
    {"Key": "project", "Value": "scones-unlimited"},
    {"Key": "stage", "Value": "dev"},
    {"Key": "made-by", "Value": "training"},
]


def test_request_for_our_own_head(recorder: Recorder, manifest: Manifest) -> None:
    planned = plan(manifest, max_minutes=30)
    name = job.create(planned)
    (request,) = recorder.of("CreateTrainingJob")
    is_valid("sagemaker", "CreateTrainingJob", request)
    assert re.fullmatch(r"scones-unlimited-[0-9a-f]{12}-\d{14}", name)
    inputs = f"s3://bucket/training/jobs/{planned.base_name}/{name}/input"
    assert request == {
        "TrainingJobName": name,
        "HyperParameters": {"labels": "bicycle,motorcycle"},
        "AlgorithmSpecification": {
            "TrainingInputMode": "File",
            "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
            "MetricDefinitions": [{"Name": name, "Regex": rf"\b{name}=([0-9.]+);"} for name in fit.METRICS],
            "ContainerEntrypoint": ["/bin/bash"],
            "ContainerArguments": [
                "-c",
                "chmod +x /opt/ml/input/data/sm_drivers/sm_train.sh && /opt/ml/input/data/sm_drivers/sm_train.sh",
            ],
        },
        "RoleArn": ROLE,
        "InputDataConfig": [
            channel("train", "s3://bucket/training/data/train/"),
            channel("validation", "s3://bucket/training/data/validation/"),
            channel("backbone", "s3://bucket/training/backbone/"),
            channel("code", f"{inputs}/code"),
            channel("sm_drivers", f"{inputs}/sm_drivers"),
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/training/jobs", "CompressionType": "GZIP"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 1800, "MaxWaitTimeInSeconds": 5400},
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {
            "S3Uri": f"s3://bucket/training/checkpoints/{planned.base_name}",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "Tags": TAGS,
    }


def test_request_for_the_built_in_algorithm(recorder: Recorder, manifest: Manifest) -> None:
    planned = plan(manifest, job.BUILT_IN, spot=False)
    name = job.create(planned)
    (request,) = recorder.of("CreateTrainingJob")
    is_valid("sagemaker", "CreateTrainingJob", request)
    kind = {"ContentType": "application/x-image"}
    assert request == {
        "TrainingJobName": name,
        "HyperParameters": {
            "num_classes": "2",
            "num_training_samples": "12",
            "num_layers": "18",
            "use_pretrained_model": "1",
            "image_shape": "3,224,224",
            "resize": "256",
            "augmentation_type": "crop",
            "epochs": "30",
            "learning_rate": "0.001",
            "optimizer": "adam",
            "mini_batch_size": "12",
            "precision_dtype": "float32",
            "early_stopping": "True",
        },
        "AlgorithmSpecification": {
            "TrainingInputMode": "File",
            "TrainingImage": "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1",
        },
        "RoleArn": ROLE,
        "InputDataConfig": [
            channel(name, f"s3://bucket/training/data/{name}/", **kind)
            for name in ("train", "validation", "train_lst", "validation_lst")
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/training/jobs", "CompressionType": "GZIP"},
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "EnableManagedSpotTraining": False,
        "CheckpointConfig": {
            "S3Uri": f"s3://bucket/training/checkpoints/{planned.base_name}",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "Tags": TAGS,
    }


def test_code_is_uploaded_and_every_request_to_s3_names_the_owner(recorder: Recorder, manifest: Manifest) -> None:
    name = job.create(plan(manifest))
    keys = [params["Key"].partition(f"{name}/input/")[2] for params in recorder.of("PutObject")]
    assert {key for key in keys if key.startswith("code/")} == {
        f"code/{file}" for file in ("__init__.py", "checkpoints.py", "inference.py", "requirements.txt", "train.py")
    }
    assert {"sm_drivers/sm_train.sh", "sm_drivers/sourcecode.json"} <= set(keys)
    assert all(params["ExpectedBucketOwner"] == ACCOUNT for params in recorder.of("PutObject"))
    assert {operation for operation, _ in recorder.sent} <= {
        "GetCallerIdentity",
        "ListBuckets",
        "SimulatePrincipalPolicy",
        "PutObject",
        "CreateTrainingJob",
        "DescribeTrainingJob",
    }


def test_sdk_sends_no_telemetry(recorder: Recorder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        called.append(arguments)
        raise OSError("nothing is reached from here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    job.create(plan(manifest))
    for thread in threading.enumerate():
        if thread.name == "sagemaker-telemetry":
            thread.join()
    assert called == []


def test_job_and_its_container_are_in_the_region_of_the_caller(
    recorder: Recorder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    planned = plan(manifest)
    job.create(planned)
    assert ".dkr.ecr.eu-west-1." in planned.image
    assert {urlsplit(url).hostname for url in recorder.urls} == {
        "api.sagemaker.eu-west-1.amazonaws.com",
        "bucket.s3.eu-west-1.amazonaws.com",
        "iam.amazonaws.com",
        "s3.eu-west-1.amazonaws.com",
        "sts.eu-west-1.amazonaws.com",
    }


def test_environment_is_left_as_it_was(recorder: Recorder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGEMAKER_VALIDATE_ROLE", raising=False)
    plan(manifest)
    assert "SAGEMAKER_VALIDATE_ROLE" not in os.environ
    monkeypatch.setenv("SAGEMAKER_VALIDATE_ROLE", "true")
    plan(manifest)
    assert os.environ["SAGEMAKER_VALIDATE_ROLE"] == "true"


def test_sdk_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, training.job, training.commands.train; sys.exit('sagemaker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0  # noqa: S603


def test_sdk_is_imported_by_one_module_alone() -> None:
    folders = ("chalicelib", "commandline", "infrastructure", "local", "training")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")] + [ROOT / "app.py"]
    assert [path for path in paths if "sagemaker" in imported(path)] == [ROOT / "training" / "job.py"]


def imported(path: Path) -> set[str]:
    """The packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def test_base_name_tells_what_makes_another_model(recorder: Recorder, manifest: Manifest) -> None:
    same = plan(manifest, instance_type="ml.c5.xlarge", spot=False, max_minutes=5)
    assert same.base_name == plan(manifest).base_name
    dated = job.make_plan(job.HEAD, manifest, PLACE, ROLE, "dev", job.Limits(), date="2026-01-01")
    others = [
        dated,
        plan(manifest, job.BUILT_IN),
        plan(replace(manifest, pictures=manifest.pictures[1:])),
        plan(replace(manifest, labels=manifest.labels[::-1])),
    ]
    assert len({one.base_name for one in [same, *others]}) == 5


def test_changed_code_makes_another_model(
    recorder: Recorder, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan(manifest).base_name
    for path in model_archive.SOURCE.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes() + (b"# changed\n" if path.name == "train.py" else b""))
    monkeypatch.setattr(model_archive, "SOURCE", tmp_path)
    assert plan(manifest).base_name != before


@pytest.mark.parametrize(
    ("limits", "seconds", "cost"),
    [
        ({}, 3600, 0.23),
        ({"max_minutes": 10.0}, 600, 0.23 / 6),
        ({"max_cost": 0.115}, 1800, 0.115),
        ({"max_cost": 100.0}, 3600, 0.23),
        ({"max_minutes": 2.0, "max_cost": 0.1}, 120, 0.23 / 30),
    ],
)
def test_time_is_the_smaller_of_what_time_and_money_allow(
    limits: dict[str, Any], seconds: int, cost: float, recorder: Recorder, manifest: Manifest
) -> None:
    planned = plan(manifest, **limits)
    assert planned.max_seconds == seconds
    assert job.max_cost(planned) == pytest.approx(cost)


@pytest.mark.parametrize("limits", [{"max_cost": 0.001}, {"max_minutes": 1.0}, {"max_cost": 0.0}])
def test_too_little_time_or_money_is_refused(limits: dict[str, Any], recorder: Recorder, manifest: Manifest) -> None:
    with pytest.raises(InputError, match=r"at least 120 s.*--max-cost"):
        plan(manifest, **limits)


def test_unknown_price_is_no_cost_and_no_limit(
    recorder: Recorder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: str) -> float:
        raise InputError("no price")

    monkeypatch.setattr(job, "_price", unknown)
    assert job.max_cost(plan(manifest)) is None
    with pytest.raises(InputError, match="no price"):
        plan(manifest, max_cost=1.0)


def test_built_in_algorithm_needs_validation_pictures(recorder: Recorder, manifest: Manifest) -> None:
    without = replace(manifest, pictures=manifest.split("train"))
    with pytest.raises(PicturesError, match="--validation-share"):
        plan(without, job.BUILT_IN)
    assert list(plan(without).channels) == ["train", "backbone"]


@pytest.mark.parametrize("instance_type", ["ml.m5.xlarge", "ml.p4d.24xlarge", "g4dn.xlarge"])
def test_built_in_algorithm_is_not_sent_where_it_does_not_run(
    instance_type: str, recorder: Recorder, manifest: Manifest
) -> None:
    with pytest.raises(InputError, match=rf"GPUs alone, and {instance_type} .*ml\.g4dn\.\*.*--instance-type"):
        plan(manifest, job.BUILT_IN, instance_type=instance_type)


def test_region_without_a_container_is_refused(
    recorder: Recorder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "mars-north-1")
    with pytest.raises(InputError, match="no container for head in mars-north-1"):
        plan(manifest)


BOTH = ("train", "validation")
LISTS = ("train_lst", "validation_lst")


@pytest.mark.parametrize(("algorithm", "channels"), [(job.HEAD, BOTH), (job.BUILT_IN, BOTH + LISTS)])
def test_data_that_was_uploaded_is_found(
    algorithm: str, channels: tuple[str, ...], jobs: Jobs, data: Path, manifest: Manifest
) -> None:
    jobs.answer(data)
    job.check_uploaded(data, manifest, PLACE, algorithm)
    listed, got = jobs.recorder.of("ListObjectsV2"), jobs.recorder.of("GetObject")
    assert [one["Prefix"] for one in listed] == [f"training/data/{name}/" for name in channels]
    assert [one["Key"] for one in got] == ["training/data/manifest.json"]
    assert {one["ExpectedBucketOwner"] for one in listed + got} == {ACCOUNT}


@pytest.mark.parametrize("there", [None, b"of another data set"])
def test_data_whose_manifest_is_missing_or_another_was_not_uploaded(
    there: bytes | None, jobs: Jobs, data: Path, manifest: Manifest
) -> None:
    jobs.answer(data)
    jobs.manifest = there
    with pytest.raises(InputError, match=r"of another data set.*not uploaded to the end.*training upload"):
        job.check_uploaded(data, manifest, PLACE, job.HEAD)


@pytest.mark.parametrize(
    ("algorithm", "channels", "missing"),
    [(job.HEAD, (), "train"), (job.HEAD, ("train",), "validation"), (job.BUILT_IN, BOTH, "train_lst")],
)
def test_data_that_was_not_uploaded_is_asked_for(
    algorithm: str, channels: tuple[str, ...], missing: str, recorder: Recorder, data: Path, manifest: Manifest
) -> None:
    recorder.answers["ListObjectsV2"] = objects(data, channels)
    with pytest.raises(InputError, match=rf"data/{missing} does not hold .* upload .*/data s3://bucket/training/data"):
        job.check_uploaded(data, manifest, PLACE, algorithm)


def test_picture_that_is_not_of_the_data_set_is_found(recorder: Recorder, data: Path, manifest: Manifest) -> None:
    def answer(params: Json) -> Json:
        found = objects(data, BOTH)(params)
        return {"Contents": [*found["Contents"], {"Key": f"{params['Prefix']}bicycle/old.png", "Size": 1}]}

    recorder.answers["ListObjectsV2"] = answer
    with pytest.raises(InputError, match=r"1 of 12 files .*bicycle/old\.png.*--delete"):
        job.check_uploaded(data, manifest, PLACE, job.HEAD)


def test_bucket_that_is_not_there_is_named(recorder: Recorder, data: Path, manifest: Manifest) -> None:
    recorder.answers["ListObjectsV2"] = lambda _: {"Error": {"Code": "NoSuchBucket", "Message": "no"}}
    with pytest.raises(AccountError, match="no bucket bucket"):
        job.check_uploaded(data, manifest, PLACE, job.HEAD)


def test_backbone_is_uploaded_once(recorder: Recorder) -> None:
    body = (COMMITTED_MODEL / "backbone.onnx").read_bytes()
    assert job.upload_backbone(PLACE)
    (put,) = recorder.of("PutObject")
    assert (put["Bucket"], put["Key"]) == ("bucket", "training/backbone/backbone.onnx")
    assert put["ExpectedBucketOwner"] == ACCOUNT

    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    recorder.answers["ListObjectsV2"] = lambda _: {"Contents": [{"Key": put["Key"], "Size": len(body), "ETag": etag}]}
    assert not job.upload_backbone(PLACE)
    assert len(recorder.of("PutObject")) == 1


def test_prices_of_what_is_used_by_default_are_known() -> None:
    for instance_type in job.INSTANCE_TYPES.values():
        assert prices.hourly("training", instance_type, prices.REGION) > 0
