"""The whole system, started and stopped: buckets, table, functions, workflow, endpoint and REST API."""

import importlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import uvicorn
from botocore.exceptions import BotoCoreError, ClientError
from chalice.config import Config

from chalicelib import aws, inbox, store, workflow
from chalicelib.errors import InvalidRequest
from chalicelib.inbox import Source
from chalicelib.settings import Settings
from chalicelib.store import Record
from local import CREDENTIALS, HIDDEN, HOST, ROOT, resources, rest
from local.emulator import emulator
from local.endpoint import CAPTURE_INTERVAL, Endpoint
from local.functions import Functions
from local.hosting import Hosting
from local.jobs import Jobs
from local.resources import TRAINING_PREFIX
from local.sagemaker import control_plane

STAGE = "dev"

LOCAL_STACK = "LOCAL_STACK"
"""The environment variable that tells a process that it runs beside a system, and at which URL its AWS is."""


class PortTaken(Exception):
    """A port that was asked for by name is in use."""


class NothingThere(Exception):
    """No system runs where one is said to run."""


@dataclass(frozen=True)
class Ports:
    """Where to listen; 0 for any port that is free."""

    aws: int = 0
    api: int = 0
    endpoint: int = 0


@dataclass(frozen=True)
class Client:
    """What drops pictures into a running system, and reads what became of them.

    Attributes:
        aws_url: what stands for AWS: give it to any client as its endpoint URL.
        settings: the names of what runs.
    """

    aws_url: str
    settings: Settings

    def drop(self, key: str, data: bytes) -> Source:
        """Put a picture into the inbox.

        Args:
            key: where, below the inbox's prefix.
            data: the picture's bytes.

        Raises:
            InvalidRequest: the name is longer than S3 takes, which the emulator does not check.
        """
        key = inbox.PREFIX + key
        if len(key.encode()) > inbox.MAX_KEY_BYTES:
            raise InvalidRequest(f"S3 takes names of up to {inbox.MAX_KEY_BYTES} bytes, this has {len(key.encode())}.")
        put = aws.client("s3").put_object(Bucket=self.settings.inbox_bucket, Key=key, Body=data)
        return Source(self.settings.inbox_bucket, key, put.get("VersionId"), put["ETag"].strip('"'))

    def record(self, source: Source) -> Record:
        """The record of a picture.

        Raises:
            RecordNotFound: the trigger has not opened one yet.
        """
        return store.get(self.settings.records_table, workflow.identity(source))

    def lost(self, source: Source) -> bool:  # noqa: ARG002 - only the one who runs the system can tell
        """Whether the trigger is known to have failed for a picture each time that it was tried."""
        return False


@dataclass(frozen=True)
class Stack(Client):
    """The running system.

    Attributes:
        aws_url: what stands for AWS: give it to any client as its endpoint URL.
        settings: the names of what runs.
        api_url: the REST API.
        endpoint_url: the SageMaker runtime.
        capture_bucket: where the data capture of the stage's own endpoint goes.
        training_bucket: for what `python -m training` puts into S3.
        training_role: ARN of a role that SageMaker may work as.
        functions: the Lambda functions.
        endpoint: the endpoints.
    """

    api_url: str
    endpoint_url: str
    capture_bucket: str
    training_bucket: str
    training_role: str
    functions: Functions
    endpoint: Endpoint

    def lost(self, source: Source) -> bool:
        """Whether the trigger failed for a picture each time that it was tried."""
        return any(str(source.version_id) in one.event for one in self.functions.lost)

    def environment(self) -> dict[str, str]:
        """The environment variables by which another process finds this system, and nothing but this."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.endpoint_url,
            "TRAINING_S3": f"s3://{self.training_bucket}/{TRAINING_PREFIX}",
            "TRAINING_ROLE": self.training_role,
            LOCAL_STACK: self.aws_url,
        }


@contextmanager
def running(ports: Ports | None = None, model_dir: Path = ROOT / "model", *, empty: bool = False) -> Iterator[Stack]:
    """Run the system on this machine, on the loopback interface alone.

    Credentials and profiles of this machine are hidden while it runs, so that nothing can reach a real account.

    Args:
        ports: where to listen.
        model_dir: the folder with the model.
        empty: whether nothing is there yet, no bucket, no table, no function: an account before the first deployment.

    Raises:
        PortTaken: a port that was asked for by name is in use.
    """
    ports = ports or Ports()
    config = stage_config()
    with ExitStack() as stack:
        for noisy in ("werkzeug", "moto"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        endpoint_socket, api_port, aws_port = _listen(ports)
        stack.callback(endpoint_socket.close)
        endpoint_url = f"http://{HOST}:{endpoint_socket.getsockname()[1]}"
        stack.enter_context(_environment(config.environment_variables))
        stack.callback(aws.client.cache_clear)
        stack.enter_context(patch.dict(os.environ, AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=endpoint_url))
        chalice_app = importlib.import_module("app")
        functions = Functions(chalice_app.app, config)
        stack.callback(functions.stop)
        settings = chalice_app.settings
        capture_bucket = settings.inbox_bucket.replace("inbox", "capture")

        def write_capture(key: str, data: bytes) -> None:
            if not empty:  # the bucket for it is one of this machine alone
                aws.client("s3").put_object(Bucket=capture_bucket, Key=key, Body=data)

        endpoint = Endpoint(settings.endpoint_name, model_dir, write_capture)
        hosting, jobs = Hosting(endpoint), Jobs()
        aws_url = stack.enter_context(emulator(aws_port, functions, control_plane(hosting, jobs)))
        stack.enter_context(patch.dict(os.environ, AWS_ENDPOINT_URL=aws_url))
        stack.callback(hosting.stop)
        stack.callback(jobs.close)
        training_bucket = settings.inbox_bucket.replace("inbox", "training")
        if not empty:
            resources.create(settings, capture_bucket, training_bucket, functions)
        stack.enter_context(_serve_endpoint(endpoint, endpoint_socket))
        api_url = stack.enter_context(rest.serving(chalice_app.app, config, api_port))
        yield Stack(
            aws_url=aws_url,
            settings=settings,
            api_url=api_url,
            endpoint_url=endpoint_url,
            capture_bucket=capture_bucket,
            training_bucket=training_bucket,
            training_role=resources.training_role(functions),
            functions=functions,
            endpoint=endpoint,
        )


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables without those that would lead to another AWS."""
    return {
        name: value
        for name, value in environment.items()
        if name not in HIDDEN and not name.startswith("AWS_ENDPOINT_URL")
    }


@contextmanager
def attached(aws_url: str) -> Iterator[Client]:
    """Use a system that runs in another process.

    Args:
        aws_url: what stands for AWS there.

    Raises:
        NothingThere: it does not run.
    """
    config = stage_config()
    settings = Settings.from_environment(config.environment_variables)
    with _environment(config.environment_variables), patch.dict(os.environ, AWS_ENDPOINT_URL=aws_url):
        aws.client.cache_clear()
        try:  # botocore raises a ValueError for what is no URL
            aws.client("s3").head_bucket(Bucket=settings.inbox_bucket)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise NothingThere(
                f"{LOCAL_STACK} says that a system runs at {aws_url}, but none does: {error}. Run the command by "
                f"`python -m local run`, or unset {LOCAL_STACK}."
            ) from error
        try:
            yield Client(aws_url, settings)
        finally:
            aws.client.cache_clear()


def stage_config() -> Config:
    """The stage that is embedded, from `.chalice/config.json`, as Chalice itself reads it."""
    from_disk = json.loads((ROOT / ".chalice" / "config.json").read_text())
    return Config(chalice_stage=STAGE, config_from_disk=from_disk, default_params={"project_dir": str(ROOT)})


def _listen(ports: Ports) -> tuple[socket.socket, int, int]:
    named = {"--aws-port": ports.aws, "--api-port": ports.api, "--endpoint-port": ports.endpoint}
    sockets = {}
    try:
        for option, port in named.items():
            sockets[option] = _bind(option, port)
        return sockets["--endpoint-port"].dup(), *(
            sockets[option].getsockname()[1] for option in ("--api-port", "--aws-port")
        )
    finally:
        for held in sockets.values():
            held.close()


def _bind(option: str, port: int) -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((HOST, port))
    except OSError as error:
        held.close()
        raise PortTaken(
            f"Port {port} is not to be had ({error.strerror}): give {option} another, or leave it out."
        ) from error
    return held


@contextmanager
def _environment(stage: dict[str, str]) -> Iterator[None]:
    """What Lambda sets for a function, with credentials that are none."""
    with patch.dict(os.environ, without_aws(os.environ) | stage | CREDENTIALS, clear=True):
        yield


@contextmanager
def _serve_endpoint(endpoint: Endpoint, listening: socket.socket) -> Iterator[None]:
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(endpoint.app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="endpoint", daemon=True)
    stopped = threading.Event()

    def capture() -> None:
        while not stopped.wait(CAPTURE_INTERVAL):
            endpoint.flush_capture()

    capturing = threading.Thread(target=capture, name="capture", daemon=True)
    thread.start()
    capturing.start()
    try:
        yield
    finally:
        stopped.set()
        capturing.join()
        server.should_exit = True
        thread.join()
        endpoint.flush_capture()
