"""SageMaker's hosting, embedded: endpoints that are made, updated, rolled back and deleted in the background.

A model comes from its `model.tar.gz` in the embedded S3, with its own `code/inference.py`, which is imported here as a
module of its own: the archive is run, so it has to be trusted as much as the rest of the project. `requirements.txt` of
the archive is not installed: this Python has what it names. Only models for the scikit-learn image run.
"""

import importlib.util
import logging
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.exceptions import ServiceException
from moto.core.utils import utcnow

from chalicelib import aws
from local import ACCOUNT, REGION, scaling
from local.endpoint import MAX_BODY, MAX_SERVERLESS_BODY, Capture, Captured, Endpoint, Variant

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

SERVED_IMAGE = "sagemaker-scikit-learn"
"""The repository of the one image whose models can be served on this machine."""

FUNCTIONS = ("model_fn", "input_fn", "predict_fn", "output_fn")
"""What `inference.py` has to define: https://sagemaker.readthedocs.io/en/v2/frameworks/sklearn/using_sklearn.html"""

CODE_FOLDERS = ("/opt/ml/model/code", "")
"""What `SAGEMAKER_SUBMIT_DIRECTORY` may say; where it says nothing, the container looks there, too."""

MAX_MODEL = 1_000_000_000
"""Bytes that an archive may unpack to on this machine; AWS takes as much as the instance's volume."""

MAX_BAKING = 1.0
"""Seconds that an update is watched for alarms, however long it asks for. AWS waits as long as it asks for, at most an
hour: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html"""

INTERNAL = "Request to service failed. If failure persists after retry, contact customer support."
"""What AWS says where it will not say why; here the log does."""

POLL_INTERVAL = 0.05
"""Seconds between two looks at the alarms."""


class NotServed(Exception):
    """A model that cannot be served; its text is the endpoint's `FailureReason`."""


class Hosting:
    """Brings endpoints of the control plane into service, and out of it.

    Args:
        runtime: what serves them.
    """

    def __init__(self, runtime: Endpoint) -> None:
        self._runtime = runtime
        self._background = ThreadPoolExecutor(4, thread_name_prefix="hosting")

    def create(self, backend: Any, endpoint: Any) -> None:
        """Bring a new endpoint into service.

        Args:
            backend: moto's SageMaker, which knows configurations and models.
            endpoint: moto's record of the endpoint, which is kept up to date.
        """
        config = backend.endpoint_configs[endpoint.endpoint_config_name]
        endpoint.endpoint_status = "Creating"
        endpoint.config_in_force = config
        endpoint.data_capture_config = capture_summary(config)
        self._do(endpoint, partial(self._create, backend, endpoint, config))

    def update(self, backend: Any, endpoint: Any, config: Any, deployment: Json | None, *, keep_counts: bool) -> None:
        """Put another configuration in force, or none of it if its model does not come up or an alarm goes off.

        Args:
            backend: moto's SageMaker.
            endpoint: moto's record of the endpoint.
            config: moto's record of the new configuration.
            deployment: the `DeploymentConfig` of the request.
            keep_counts: whether the endpoint keeps the number of its instances.
        """
        endpoint.endpoint_status = "Updating"
        endpoint.pending_deployment_summary = {"EndpointConfigName": config.endpoint_config_name, "StartTime": utcnow()}
        self._do(endpoint, partial(self._update, backend, endpoint, config, deployment or {}, keep_counts=keep_counts))

    def delete(self, backend: Any, endpoint: Any) -> None:
        """Take an endpoint out of service; it is gone from the control plane a moment later."""
        endpoint.endpoint_status = "Deleting"
        self._do(endpoint, partial(self._delete, backend, endpoint))

    def stop(self) -> None:
        """Take everything out of service and wait until it is."""
        self._background.shutdown(cancel_futures=True)
        self._runtime.close()

    def _do(self, endpoint: Any, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception:
                logger.exception("%s is left as it is", endpoint.endpoint_name)
                endpoint.failure_reason = INTERNAL
                _settle(endpoint, "Failed")

        self._background.submit(run)

    def _create(self, backend: Any, endpoint: Any, config: Any) -> None:
        try:
            self._runtime.deploy(endpoint.endpoint_name, load(backend, endpoint.endpoint_name, config))
        except NotServed as error:
            endpoint.failure_reason = str(error)
            _settle(endpoint, "Failed")
        else:
            _settle(endpoint, "InService")

    def _update(self, backend: Any, endpoint: Any, config: Any, deployment: Json, *, keep_counts: bool) -> None:
        name = endpoint.endpoint_name
        try:
            with ExitStack() as undo:
                variant = load(backend, name, config)
                undo.callback(variant.close)
                with self._runtime.trying(name, variant, first_share(deployment, config)):
                    _watch(endpoint, deployment)
                    self._runtime.deploy(name, variant)
                undo.pop_all()
        except NotServed as error:
            endpoint.failure_reason = f"{error} The endpoint was rolled back to {endpoint.endpoint_config_name}."
        else:
            _put_in_force(endpoint, config, deployment, keep_counts=keep_counts)
        endpoint.pending_deployment_summary = None
        _settle(endpoint, "InService")

    def _delete(self, backend: Any, endpoint: Any) -> None:
        scaling.forget(endpoint.endpoint_name)
        self._runtime.remove(endpoint.endpoint_name)
        backend.endpoints.pop(endpoint.endpoint_name, None)


def first_share(deployment: Json, config: Any) -> float:
    """The share of the traffic that a new model gets while it is watched, 0 to 1.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html

    Args:
        deployment: a `DeploymentConfig`.
        config: moto's record of the new configuration.
    """
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    size = {"CANARY": routing.get("CanarySize"), "LINEAR": routing.get("LinearStepSize")}.get(routing.get("Type"))
    if not size:
        return 1.0
    instances = sum(variant.get("InitialInstanceCount", 1) for variant in config.production_variants)
    share = size["Value"] / (instances if size["Type"] == "INSTANCE_COUNT" else 100)
    return float(share)


def alarm(name: str) -> Any:
    """The record that moto has of an alarm; None if there is none."""
    return cloudwatch_backends[ACCOUNT][REGION].alarms.get(name)


def capture_summary(config: Any) -> dict[str, Any] | None:
    """What `DescribeEndpoint` says of an endpoint's data capture; None if it has none."""
    asked = config.data_capture_config
    if not asked:
        return None
    return {
        "EnableCapture": asked.get("EnableCapture", False),
        "CaptureStatus": "Started" if asked.get("EnableCapture") else "Stopped",
        "CurrentSamplingPercentage": asked["InitialSamplingPercentage"],
        "DestinationS3Uri": asked["DestinationS3Uri"],
        "KmsKeyId": asked.get("KmsKeyId", ""),
    }


def load(backend: Any, endpoint_name: str, config: Any) -> Variant:
    """Load the model that an endpoint configuration names.

    Args:
        backend: moto's SageMaker.
        endpoint_name: the endpoint that it is for.
        config: moto's record of the configuration.

    Raises:
        NotServed: there is no such model, or it does not come up.
    """
    asked, *more = config.production_variants
    if more:
        raise NotServed("The embedded stack serves one production variant; several run on AWS only.")
    container = _container(backend, asked["ModelName"])
    with ExitStack() as undo:
        folder = Path(undo.enter_context(TemporaryDirectory(prefix="model-")))
        _unpack(container["ModelDataUrl"], folder)
        with _explained(asked["VariantName"]):
            functions = _import(folder / "code" / container["Environment"]["SAGEMAKER_PROGRAM"])
            model = functions.model_fn(str(folder))
        return Variant(
            name=asked["VariantName"],
            functions=functions,
            model=model,
            capture=_capture(endpoint_name, asked["VariantName"], config.data_capture_config),
            max_body=MAX_SERVERLESS_BODY if "ServerlessConfig" in asked else MAX_BODY,
            files=undo.pop_all(),
        )


def _put_in_force(endpoint: Any, config: Any, deployment: Json, *, keep_counts: bool) -> None:
    counts = {variant["VariantName"]: variant for variant in endpoint.production_variants}
    variants = endpoint._process_production_variants(config.production_variants)  # noqa: SLF001 - moto's
    for variant in variants if keep_counts else []:
        kept = counts.get(variant["VariantName"], {})
        variant |= {name: kept[name] for name in kept if name.endswith("InstanceCount")}
    endpoint.production_variants = variants
    endpoint.endpoint_config_name = config.endpoint_config_name
    endpoint.config_in_force = config
    endpoint.data_capture_config = capture_summary(config)
    endpoint.last_deployment_config = deployment or None
    endpoint.failure_reason = None


def _settle(endpoint: Any, status: str) -> None:
    endpoint.last_modified_time = utcnow()
    endpoint.endpoint_status = status


def _container(backend: Any, model_name: str) -> dict[str, Any]:
    """The image, archive and environment of a model, from its registered package if it names one."""
    model = backend._models.get(model_name)  # noqa: SLF001 - moto's
    if model is None:
        raise NotServed(f"Could not find model {model_name}.")
    containers = [model.primary_container] if model.primary_container else model.containers
    if len(containers) != 1:
        raise NotServed(f"Model {model_name} has {len(containers)} containers; the embedded stack runs one.")
    asked: dict[str, Any] = containers[0]
    if "ModelPackageName" in asked:
        try:
            package = backend.describe_model_package(asked["ModelPackageName"])
        except ServiceException as error:
            raise NotServed(error.message) from error
        asked = _over(package.inference_specification["Containers"][0], asked)
    image = asked.get("Image", "A model without an image")
    if SERVED_IMAGE not in image:
        raise NotServed(f"{image} runs on AWS only: the embedded stack runs the image of scikit-learn.")
    if "ModelDataUrl" not in asked:
        raise NotServed(f"Model {model_name} names no ModelDataUrl.")
    environment = asked.get("Environment", {})
    if "SAGEMAKER_PROGRAM" not in environment or environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "") not in CODE_FOLDERS:
        raise NotServed(
            f"The environment of model {model_name} does not say where its code is: set SAGEMAKER_PROGRAM to the "
            f"script's name and SAGEMAKER_SUBMIT_DIRECTORY to {CODE_FOLDERS[0]}."
        )
    return asked


def _over(package: Json, asked: Json) -> dict[str, Any]:
    return {**package, "Environment": {**package.get("Environment", {}), **asked.get("Environment", {})}}


def _unpack(url: str, folder: Path) -> None:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    try:
        body = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
        with tarfile.open(fileobj=body, mode="r|gz") as archive:
            size = 0
            for member in archive:
                size += member.size
                if size > MAX_MODEL:
                    raise NotServed(f"{url} unpacks to more than {MAX_MODEL} bytes.")
                archive.extract(member, folder, filter="data")
    except ClientError as error:
        raise NotServed(f"Failed to download model data from {url}: {aws.code(error)}.") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise NotServed(f"Failed to extract model data from {url}: {error}") from error


def _import(path: Path) -> Any:
    """Import a file as a module that no other import can meet."""
    name = f"deployed_{uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise FileNotFoundError(f"The archive holds no code/{path.name}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    missing = [function for function in FUNCTIONS if not hasattr(module, function)]
    if missing:
        raise AttributeError(f"code/{path.name} does not define {', '.join(missing)}.")
    return module


@contextmanager
def _explained(variant: str) -> Iterator[None]:
    """What a model's own code raises becomes the reason that AWS gives, and what AWS leaves to the logs."""
    try:
        yield
    except Exception as error:
        logger.debug("the model does not come up", exc_info=True)
        raise NotServed(
            f"The primary container for production variant {variant} did not pass the ping health check. "
            f"{type(error).__name__}: {error}"
        ) from error


def _capture(endpoint_name: str, variant: str, asked: Json | None) -> Capture | None:
    if not asked or not asked.get("EnableCapture"):
        return None
    bucket, _, prefix = asked["DestinationS3Uri"].removeprefix("s3://").partition("/")
    types = asked.get("CaptureContentTypeHeader", {})

    def write(key: str, data: bytes) -> None:
        place = f"{prefix.strip('/')}/{key}".lstrip("/")
        aws.client("s3").put_object(Bucket=bucket, Key=place, Body=data)

    captured = Captured(
        modes=frozenset(option["CaptureMode"] for option in asked["CaptureOptions"]),
        json_types=frozenset(types.get("JsonContentTypes", [])),
        csv_types=frozenset(types.get("CsvContentTypes", [])),
        share=asked["InitialSamplingPercentage"] / 100,
    )
    return Capture(endpoint_name, variant, write, captured)


def _watch(endpoint: Any, deployment: Json) -> None:
    """Watch the alarms that roll an update back.

    Raises:
        NotServed: one of them is, or goes, into ALARM.
    """
    names = [one["AlarmName"] for one in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
    policy = deployment.get("BlueGreenUpdatePolicy", {})
    asked = max(
        policy.get("TrafficRoutingConfiguration", {}).get("WaitIntervalInSeconds", 0),
        policy.get("TerminationWaitInSeconds", 0),
    )
    deadline = time.monotonic() + min(MAX_BAKING, asked)
    while True:
        loud = [name for name in names if (found := alarm(name)) and found.state_value == "ALARM"]
        if loud:
            endpoint.endpoint_status = "RollingBack"
            raise NotServed(f"These alarms went off while the update was watched: {', '.join(loud)}.")
        if time.monotonic() >= deadline:
            return
        time.sleep(POLL_INTERVAL)
