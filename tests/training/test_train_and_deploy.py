"""The script of the docs, run as a user would, on the embedded stack."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import ROOT
from local.stack import Stack
from tests.training.archives import write_archive
from tests.training.datasets import write_folder

pytestmark = pytest.mark.timeout(400)

SCRIPT = ROOT / "docs" / "train-and-deploy.sh"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def output(stack: Stack, folder: Path) -> str:
    shutil.copytree(ROOT / ".chalice", folder / "chalice", ignore=shutil.ignore_patterns("deploy*"))
    archive = write_archive(folder / "archive.tar.gz", train=40, test=12)
    pictures = write_folder(folder / "pictures", each=40)
    environment = os.environ | stack.environment()
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SHA256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "CHALICE": "chalice",
    }
    command = ["bash", str(SCRIPT), str(archive), str(pictures)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def seen(folder: Path, output: str) -> dict[str, Any]:
    """What the monitor saw."""
    content: dict[str, Any] = json.loads((folder / "build/monitoring/monitor.json").read_text())
    return content


def test_the_first_model_comes_from_the_archive_and_the_second_from_the_folder(folder: Path, output: str) -> None:
    manifest = json.loads((folder / "build/data/manifest.json").read_text())
    assert manifest["source"]["kind"] == "folder"
    assert "version 1 of scones-unlimited" in output
    assert "version 2 of scones-unlimited" in output


def test_pictures_went_through_the_workflow_by_the_model_that_was_deployed_then(
    stack: Stack, seen: dict[str, Any]
) -> None:
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=stack.settings.records_table)
    models = Counter(json.loads(item["model"]["S"]) for page in pages for item in page["Items"] if "model" in item)
    assert [models[model] for model in seen["models"]] == [8, 8]


def test_the_monitor_saw_every_picture_that_the_endpoint_was_asked_about(folder: Path, seen: dict[str, Any]) -> None:
    assert list(seen["models"].values()) == [8 + 2, 8 + 2]  # from the workflow, and what `deploy` asks in the end
    second = json.loads((folder / "build/evaluation/metrics.json").read_text())["model"]["version"]
    assert second in seen["models"]
    assert (folder / "build/monitoring/report.html").is_file()


def test_the_numbers_are_in_cloudwatch(output: str) -> None:
    found = boto3.client("cloudwatch").list_metrics(Namespace="SconesUnlimited/Model")["Metrics"]
    assert {"Records", "HeldBackShare", "MedianConfidence"} <= {one["MetricName"] for one in found}


def test_nothing_is_left_behind(stack: Stack, output: str) -> None:
    sagemaker, scaling = boto3.client("sagemaker"), boto3.client("application-autoscaling")
    left = [
        *sagemaker.list_endpoints()["Endpoints"],
        *sagemaker.list_endpoint_configs()["EndpointConfigs"],
        *sagemaker.list_models()["Models"],
        *sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"],
        *scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
        *boto3.client("cloudwatch").describe_alarms()["MetricAlarms"],
        *boto3.client("s3").list_objects_v2(Bucket=stack.training_bucket, Prefix="training/").get("Contents", []),
    ]
    assert left == []


def test_the_stage_that_was_right_already_was_left_as_it_was(folder: Path, output: str) -> None:
    assert (folder / "chalice/config.json").read_bytes() == (ROOT / ".chalice/config.json").read_bytes()
