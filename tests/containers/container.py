"""A container without Docker: folders laid out as SageMaker lays them out below /opt/ml, and AWS's toolkits on them.

`SAGEMAKER_BASE_DIR` tells the toolkits of another folder than /opt/ml. pip, which they call for `requirements.txt`, is
given no index, so that it can only find that all is there; what it builds goes into a folder beside.
"""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "training" / "source"
ENVIRONMENT = ROOT / ".venv-container"
PYTHON = ENVIRONMENT / "bin" / "python"

PATIENCE = 60.0
"""Seconds after which a server counts as never coming up, or a training as stuck."""

PORTS = range(20_000, 32_768)
"""Where servers may listen; multi-model-server takes no port above 32767."""


@dataclass(frozen=True)
class Answer:
    """What a server says to a request."""

    status: int
    content_type: str
    body: bytes


def variables(base: Path, **more: str) -> dict[str, str]:
    """The environment variables of a container whose /opt/ml is `base`; nothing of this process's own but PATH."""
    packages = base / "packages"
    found = packages / "lib" / "python3.11" / "site-packages"
    scratch = base / "tmp"
    for folder in (found, scratch):
        folder.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{found}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "AWS_REGION": "us-east-1",
        "PIP_PREFIX": str(packages),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "SAGEMAKER_BASE_DIR": str(base),
    } | more


def free_port() -> int:
    """A port on which nothing listens."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0", port))  # noqa: S104 - where the toolkits listen
            return port
    raise AssertionError(f"No port of {PORTS} is free.")


def ask(port: int, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Send one request: POST where there is a body, else GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    return Answer(response.status, response.headers.get("Content-Type", ""), content)


@contextmanager
def serving(command: str, base: Path, ping: int = HTTPStatus.OK) -> Iterator[int]:
    """A model server on the model in `base`/model, until the block ends.

    Args:
        command: of `image.py`.
        base: stands for /opt/ml.
        ping: the status of /ping that is waited for.

    Yields:
        The port that it listens on.
    """
    port = free_port()
    log = base / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - one of our own commands
            [PYTHON, "-m", "image", command],
            env=variables(
                base,
                SAGEMAKER_PROGRAM="inference.py",
                SAGEMAKER_SUBMIT_DIRECTORY=str(base / "model" / "code"),
                SAGEMAKER_SERVING_MODULE="image:main",
                SAGEMAKER_USE_NGINX="false",
                SAGEMAKER_BIND_TO_PORT=str(port),
                SAGEMAKER_MODEL_SERVER_WORKERS="1",
            ),
            cwd=base,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, port, ping, log)
        yield port
    finally:
        stop(process)


def _wait(process: subprocess.Popen[bytes], port: int, ping: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if ask(port, "/ping").status == ping:
                return
        time.sleep(0.1)
    raise AssertionError(f"The server did not come up:\n{log.read_text(errors='replace')[-3000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and all that it has started: they are one process group."""
    for end in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)


def unpack(archive: Path, base: Path) -> None:
    """Unpack `model.tar.gz` where SageMaker does."""
    shutil.unpack_archive(archive, base / "model", filter="data")


def lay_out_job(base: Path, channels: Mapping[str, Path], hyperparameters: Mapping[str, str]) -> None:
    """Write what SageMaker writes before it starts a training job on one instance.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html

    Args:
        base: stands for /opt/ml.
        channels: for each name the folder whose files it holds.
        hyperparameters: as in `CreateTrainingJob`: text.
    """
    config = base / "input" / "config"
    config.mkdir(parents=True)
    for folder in ("model", "output/data"):
        (base / folder).mkdir(parents=True)
    for name, channel in channels.items():
        shutil.copytree(channel, base / "input" / "data" / name)
    described = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    machine = {
        "current_host": "localhost",
        "current_instance_type": "ml.m5.large",
        "hosts": ["localhost"],
        "network_interface_name": "lo",
    }
    for name, content in {
        "hyperparameters": dict(hyperparameters),
        "inputdataconfig": dict.fromkeys(channels, described),
        "resourceconfig": machine,
    }.items():
        (config / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def run(command: list[str | Path], base: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the container to its end."""
    return subprocess.run(  # noqa: S603 - one of our own commands
        command, env=variables(base, **more), cwd=base, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
