"""An account of its own for what deploys: the embedded AWS in another process, with what `chalice deploy` needs there.

`chalice` is the real one, in a process of its own, on a copy of the project.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest

from chalicelib import store, workflow
from chalicelib.inbox import Source
from infrastructure.names import Names
from local import ACCOUNT, REGION, ROOT
from local.stack import STAGE

Json = dict[str, Any]
T = TypeVar("T")

NAMES = Names(STAGE, ACCOUNT, REGION)

DEPLOY = ROOT / ".venv-deploy"
"""Where `chalice` is: the Python that runs it is the one that the functions get."""

deploying = pytest.mark.skipif(
    not (DEPLOY / "ready").exists(), reason=f"There is no {DEPLOY.name}, which takes Python 3.12: `make deploying`."
)
"""What needs it is not tested without, since not every machine has such a Python."""

PACKAGED = ("app.py", "chalicelib", "requirements.txt", ".chalice")
"""What of the project `chalice` needs; nothing else is there to be packaged by mistake but what `decoys` adds."""

DECOYS = ("commandline", "infrastructure", "local", "model", "tests", "training")
"""Folders beside `chalicelib/` that have no business in a function."""

PATIENCE = 30.0
"""Seconds after which something counts as never happening."""

HOLD = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"
"""Run beside the embedded AWS: tells its environment, and stays until standard input is closed."""


@dataclass(frozen=True)
class Account:
    """The embedded AWS in another process.

    Attributes:
        environment: the environment variables by which a process finds it, and nothing but it.
    """

    environment: dict[str, str] = field(repr=False)

    def client(self, service: str) -> Any:
        """A client for it, whatever this process has in its own environment."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )

    def item(self, identity: str) -> Json:
        """The item of a record in the table; empty if there is none."""
        got = self.client("dynamodb").get_item(TableName=NAMES.records_table, Key={"id": {"S": identity}})
        item: Json = got.get("Item", {})
        return item

    def status(self, identity: str) -> str:
        """The status that a record has come to."""
        return until(lambda: self.ended(identity), f"{identity} has an ending")

    def ended(self, identity: str) -> str:
        """The status of a record; empty while there is none but PENDING."""
        status = self.item(identity).get("status", {}).get("S", "")
        return "" if status == store.Status.PENDING else status

    def drop(self, key: str, data: bytes) -> Source:
        """Put a picture into the inbox."""
        put = self.client("s3").put_object(Bucket=NAMES.inbox_bucket, Key=key, Body=data)
        return Source(NAMES.inbox_bucket, key, put["VersionId"], put["ETag"].strip('"'))


@contextmanager
def empty_account() -> Iterator[Account]:
    """An embedded AWS with nothing in it, until the block ends."""
    command = [sys.executable, "-m", "local", "run", "--empty", sys.executable, "-c", HOLD]
    with subprocess.Popen(  # noqa: S603 - one of our own commands
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Account(json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


@dataclass(frozen=True)
class Project:
    """A copy of what `chalice` needs of the project.

    Attributes:
        folder: where it is.
        account: where it is deployed to.
    """

    folder: Path
    account: Account

    def chalice(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the real `chalice` to its end."""
        return subprocess.run(  # noqa: S603
            [DEPLOY / "bin" / "chalice", *arguments, "--stage", STAGE],
            cwd=self.folder,
            env=self.account.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    def up(self) -> None:
        """Run `python -m infrastructure up`: the template is applied, and its names come into the copy."""
        command: list[str | Path] = [DEPLOY / "bin" / "python", "-m", "infrastructure", "up", "--stage", STAGE, "--yes"]
        done = subprocess.run(  # noqa: S603 - one of our own commands
            [*command, "--chalice", self.folder / ".chalice"],
            cwd=ROOT,
            env=self.account.environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def deploy(self) -> str:
        """Run `chalice deploy`; what it says."""
        done = self.chalice("deploy")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @cached_property
    def package(self) -> Path:
        """The zip that `chalice deploy` made and sent."""
        (package,) = (self.folder / ".chalice" / "deployments").glob("*.zip")
        return package

    @property
    def digest(self) -> str:
        """The zip's SHA-256, as Lambda writes it."""
        return base64.b64encode(hashlib.sha256(self.package.read_bytes()).digest()).decode()


def copy_project(folder: Path, account: Account) -> Project:
    """Copy what `chalice` needs, and a file in each folder that it must not take.

    Args:
        folder: where to.
        account: where it will be deployed to.
    """
    for name in PACKAGED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "deployed", "deployments"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for name in DECOYS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text('"""Not for Lambda."""\n')
    return Project(folder, account)


def python_of(environment: Path) -> tuple[int, int]:
    """The version of the Python of an environment."""
    (found,) = re.findall(r"^version = (\d+)\.(\d+)", (environment / "pyvenv.cfg").read_text(), re.MULTILINE)
    return int(found[0]), int(found[1])


def identity(source: Source) -> str:
    """The id of a picture's record."""
    return workflow.identity(source)


def until(look: Callable[[], T], what: str) -> T:
    """What looking gives, once it gives something.

    Args:
        look: called again and again.
        what: in words, for when it never happens.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"In {PATIENCE:.0f} seconds it has not come to this: {what}.")
