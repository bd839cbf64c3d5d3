"""AWS's own runtime without Docker: its runtime client under its Runtime Interface Emulator, one process a function.

Both come from `.venv-runtime`, which has nothing else but the SDK that Lambda's runtime has, so that what a function
imports beyond comes out of its package.
"""

import http.client
import json
import os
import platform
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import HOST, ROOT

ENVIRONMENT = ROOT / ".venv-runtime"
PYTHON = ENVIRONMENT / "bin" / "python"

ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""What AWS calls the architecture of this machine: its emulator comes for x86_64 and arm64."""

DEFAULT_ARCHITECTURE = "x86_64"
"""What Chalice deploys for unless told otherwise."""

PORTS = range(20_000, 32_768)
"""Below what the kernel gives out by itself, so that nobody takes one between its choice and its use."""

PATIENCE = 60.0
"""Seconds after which a runtime counts as stuck."""

INVOCATIONS = "/2015-03-31/functions/function/invocations"

INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
"""What the emulator tells of a cold start; what it calls `Init Duration` elsewhere is something else."""

EVENT = re.compile(r"INVOKE RTDONE\(.*duration: ([\d.]+)ms\)")
"""What the emulator tells of an event."""

PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def emulator() -> Path:
    """AWS's Runtime Interface Emulator for this machine."""
    (samcli,) = ENVIRONMENT.glob("lib/python*/site-packages/samcli")
    return samcli / "local" / "rapid" / f"aws-lambda-rie-{ARCHITECTURE}"


@dataclass(frozen=True)
class Function:
    """A function as it was deployed.

    Attributes:
        name: the full name.
        handler: the handler's name.
        memory: MB.
        timeout: seconds.
        variables: its environment variables.
        task: the folder with its package, unpacked.
    """

    name: str
    handler: str
    memory: int
    timeout: int
    variables: Mapping[str, str]
    task: Path

    def environment(self, aws: Mapping[str, str]) -> dict[str, str]:
        """What Lambda sets for it; nothing of this process's own.

        https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html

        Args:
            aws: by what the function finds AWS, and its credentials.
        """
        return {
            "PATH": f"{PYTHON.parent}{os.pathsep}{os.defpath}",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": str(self.task),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self.timeout),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "_HANDLER": self.handler,
            "PYTHONDONTWRITEBYTECODE": "1",  # /var/task cannot be written to
            **{name: value for name, value in aws.items() if name.startswith("AWS_")},
            **self.variables,
        }


@dataclass(frozen=True)
class Runtime:
    """A function that runs. One event at a time: the emulator takes no two.

    Attributes:
        port: where it is invoked.
        process: the emulator.
        log: what it and the function print.
    """

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def invoke(self, event: Any) -> Any:
        """What the function answers, or the error as Lambda describes it."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            connection.request("POST", INVOCATIONS, json.dumps(event))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    @property
    def printed(self) -> str:
        """What was printed so far, by the emulator and by the function."""
        return self.log.read_text(errors="replace")

    @property
    def started_in(self) -> float:
        """Seconds that the runtime needed until the function could take its first event."""
        return float(INIT.findall(self.printed)[0]) / 1000

    @property
    def took(self) -> list[float]:
        """Seconds that each event needed; the first one connects to AWS."""
        return [float(one) / 1000 for one in EVENT.findall(self.printed)]

    @property
    def peak_memory(self) -> float:
        """MB that the function's process had at most."""
        children = (Path("/proc") / str(self.process.pid) / "task").glob("*/children")
        (child,) = (pid for one in children for pid in one.read_text().split())
        return int(PEAK.findall((Path("/proc") / child / "status").read_text())[0]) / 1000


@contextmanager
def running(function: Function, aws: Mapping[str, str], log: Path) -> Iterator[Runtime]:
    """A function under the emulator, until the block ends.

    Args:
        function: which.
        aws: by what it finds AWS, and its credentials.
        log: where to keep what is printed.
    """
    port, api = (free_port() for _ in range(2))
    command: list[str | Path] = [
        emulator(),
        "--runtime-interface-emulator-address",
        f"{HOST}:{port}",
        "--runtime-api-address",
        f"{HOST}:{api}",
        PYTHON,
        "-m",
        "awslambdaric",
        function.handler,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - AWS's own emulator
            command,
            env=function.environment(aws),
            cwd=function.task,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, port, log)
        yield Runtime(port, process, log)
    finally:
        for end in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, end)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)


def free_port() -> int:
    """A port on which nothing listens."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise AssertionError(f"No port of {PORTS} is free.")


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"The emulator did not come up:\n{log.read_text(errors='replace')[-3000:]}")
