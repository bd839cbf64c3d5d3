"""What the tests of infrastructure share: an account with nothing in it, and a project to deploy into it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
import pytest

from commandline import aws
from infrastructure import chalice as deployment
from infrastructure import options, stack
from infrastructure import template as rendering
from infrastructure.names import Names
from local import ROOT
from tests.infrastructure.commands import run_well
from tests.infrastructure.templates import QUEUE, TABLE, write
from tests.runtime.account import DEPLOY
from tests.training.validation import checking_session

SERVE = """
import json, sys
from chalicelib import reconcile
from local.stack import running
reconcile.GRACE = 1
with running(empty=True) as stack:
    print(json.dumps(stack.environment()), flush=True)
    sys.stdin.read()
"""

PROJECT = ("app.py", "requirements.txt", "chalicelib", ".chalice")


def forget_clients() -> None:
    """Clients of one test are not those of the next: each may talk to another AWS."""
    aws.client.cache_clear()
    aws.account.cache_clear()


@pytest.fixture(scope="session")
def empty_account() -> Iterator[dict[str, str]]:
    """Another process's AWS with nothing in it, as environment variables. Use `account`, which empties it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_ENDPOINT_URL")}
    with subprocess.Popen(  # noqa: S603 - this Python, our own code
        [sys.executable, "-c", SERVE],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(30)


@pytest.fixture
def account(empty_account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The empty account, with commands set up to use it, and requests held against AWS's own description."""
    with urlopen(Request(f"{empty_account['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")):  # noqa: S310
        pass
    for name, value in empty_account.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", checking_session())
    monkeypatch.setattr(stack, "POLL_INTERVAL", 0.02)
    forget_clients()
    yield empty_account
    forget_clients()


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small template in place of the large one, to be changed."""
    path = tmp_path / "template.yaml"
    monkeypatch.setattr(rendering, "TEMPLATE", path)
    write(path, QUEUE, TABLE)
    return path


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Chalice has packed for Lambda: it takes seconds, and is the same for every test."""
    return tmp_path_factory.mktemp("packages") / "deployments"


@pytest.fixture
def project(tmp_path: Path, packages: Path) -> Iterator[Path]:
    """A copy of what Chalice deploys, to be written into."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in PROJECT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "deploy*"))
        else:
            shutil.copy(ROOT / name, folder / name)
    packed = folder / ".chalice" / "deployments"
    if packages.exists():
        shutil.copytree(packages, packed)
    yield folder
    if packed.exists() and not packages.exists():
        shutil.copytree(packed, packages)


@pytest.fixture
def chalice(project: Path) -> Path:
    """The project's `.chalice`."""
    return project / ".chalice"


@pytest.fixture
def deploying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chalice is run by a Python that Lambda has, if this machine has one."""
    if not (DEPLOY / "ready").exists():
        pytest.skip(f"There is no {DEPLOY.name}, which takes Python 3.12: `make deploying`.")
    monkeypatch.setattr(deployment, "PROGRAM", DEPLOY / "bin" / "chalice")
    monkeypatch.setattr(deployment, "PYTHON", deployment.AMAZON_LINUX_2023)


@pytest.fixture
def deployed(account: dict[str, str], chalice: Path, deploying: None) -> Names:
    """A stage with all that `up` and Chalice make."""
    run_well("up", "--yes", "--chalice", chalice)
    names = options.names("dev", chalice)
    deployment.deploy(names, chalice)
    return names
