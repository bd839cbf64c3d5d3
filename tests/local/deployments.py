"""Models, configurations and endpoints on the embedded SageMaker, and all of them gone again."""

import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from local import ROOT, samples
from local.stack import Stack
from training.model_archive import pack

Json = dict[str, Any]

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
PLACE = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
BICYCLE = samples.encode(samples.render(samples.draw_bicycle), "PNG")
VARIANT = "AllTraffic"
INSTANCES: Json = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
SERVERLESS: Json = {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2}}
BOTH = ({"CaptureMode": "Input"}, {"CaptureMode": "Output"})
PATIENCE = 20.0
"""Seconds after which an endpoint counts as stuck."""


def version(folder: Path) -> str:
    """What a model calls itself."""
    return str(json.loads((folder / "head.json").read_text())["version"])


def other_model(folder: Path, name: str) -> Path:
    """The repository's model under another version."""
    shutil.copytree(ROOT / "model", folder)
    head = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps(head | {"version": name}))
    return folder


def packed(folder: Path) -> bytes:
    """A model folder as `model.tar.gz`, with the code that serves it."""
    archive = folder.with_name(f"{folder.name}-{uuid4().hex[:8]}.tar.gz")
    pack(folder, archive)
    return archive.read_bytes()


def tar(files: dict[str, bytes]) -> bytes:
    """An archive of these files, whatever they are called."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    """The code and the message of the error that a call ends with."""
    with pytest.raises(ClientError) as raised:
        call(**params)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


@dataclass
class Deployments:
    """What a test makes; `clear` takes all of it away.

    Attributes:
        stack: the running system.
        folder: for models.
    """

    stack: Stack
    folder: Path
    endpoints: list[str] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sagemaker = boto3.client("sagemaker")
        self.runtime = boto3.client("sagemaker-runtime")
        self.s3 = boto3.client("s3")

    def upload(self, archive: bytes) -> str:
        key = f"models/{uuid4()}/model.tar.gz"
        self.s3.put_object(Bucket=self.stack.training_bucket, Key=key, Body=archive)
        return f"s3://{self.stack.training_bucket}/{key}"

    def model(self, url: str, image: str = IMAGE, environment: dict[str, str] | None = None) -> str:
        place = PLACE if environment is None else environment
        return self.model_of({"Image": image, "ModelDataUrl": url, "Environment": place})

    def model_of(self, container: Json) -> str:
        name = f"model-{uuid4().hex[:8]}"
        self.sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=self.stack.training_role, PrimaryContainer=container
        )
        self.models.append(name)
        return name

    def config(self, model: str, capture: Json | None = None, variant: str = VARIANT, **more: Any) -> str:
        name = f"config-{uuid4().hex[:8]}"
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[{"VariantName": variant, "ModelName": model, **(more or INSTANCES)}],
            **({"DataCaptureConfig": capture} if capture else {}),
        )
        self.configs.append(name)
        return name

    def capture(self, place: str, share: int = 100, options: tuple[Json, ...] = BOTH, **more: Any) -> Json:
        return {
            "EnableCapture": True,
            "InitialSamplingPercentage": share,
            "DestinationS3Uri": f"s3://{self.stack.training_bucket}/{place}",
            "CaptureOptions": list(options),
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            **more,
        }

    def endpoint(self, config: str, name: str | None = None) -> str:
        name = name or f"endpoint-{uuid4().hex[:8]}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.endpoints.append(name)
        return name

    def describe(self, name: str) -> Json:
        described: Json = self.sagemaker.describe_endpoint(EndpointName=name)
        return described

    def settled(self, name: str) -> Json:
        """What is said about an endpoint once nothing is being done to it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            described = self.describe(name)
            if described["EndpointStatus"] in ("InService", "Failed"):
                return described
            time.sleep(0.02)
        pytest.fail(f"{name} is still {described['EndpointStatus']}")

    def in_service(self, config: str, name: str | None = None) -> str:
        name = self.endpoint(config, name)
        described = self.settled(name)
        assert described["EndpointStatus"] == "InService", described
        return name

    def gone(self, name: str) -> None:
        """Wait until an endpoint that is being deleted is."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.describe(name)
            except ClientError:
                return
            time.sleep(0.02)
        pytest.fail(f"{name} is still there")

    def ask(self, name: str, body: bytes = BICYCLE, content_type: str = "image/png", **more: Any) -> Json:
        answer = self.runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType=content_type, **more)
        content: Json = json.loads(answer["Body"].read())
        return content

    def objects(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.stack.training_bucket, Prefix=prefix)
        return [one["Key"] for one in listed.get("Contents", [])]

    def captured(self, place: str, count: int = 1) -> list[Json]:
        """The lines below a place in S3, once there are so many."""
        deadline = time.monotonic() + PATIENCE
        lines: list[Json] = []
        while time.monotonic() < deadline and len(lines) < count:
            lines = []
            for key in self.objects(f"{place}/"):
                body = self.s3.get_object(Bucket=self.stack.training_bucket, Key=key)["Body"].read()
                lines += map(json.loads, body.splitlines())
            time.sleep(0.05)
        return lines

    def clear(self) -> None:
        for name in self.endpoints:
            try:
                self.settled(name)
                self.sagemaker.delete_endpoint(EndpointName=name)
            except ClientError:
                continue
            self.gone(name)
        for name in self.configs:
            self.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        for name in self.models:
            self.sagemaker.delete_model(ModelName=name)
