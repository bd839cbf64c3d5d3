"""The real `chalice`, run for a stage, and what has to be set once its functions are there."""

import json
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from commandline import aws, console
from infrastructure import chalice_config, leftovers
from infrastructure.chalice_config import Stage
from infrastructure.errors import ChaliceFailed, InputError
from infrastructure.names import RULES, TRIGGER, Names

ASYNCHRONOUS = {"on_picture": 2, "on_stopped": 2, "reconcile": 0}
"""The functions that are told of events, and how often Lambda tries an event again: 0 to 2 times:
https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html"""

FOLDER = ".chalice"
"""Chalice takes no other name."""

PROGRAM = Path(sys.executable).with_name("chalice")
"""The one that is installed with this Python, which is the one that the functions get."""

PYTHON = sys.version_info[:2]
"""The version of it."""

AMAZON_LINUX_2023 = (3, 12)
"""The oldest Python whose runtime is new enough for Pillow's wheels:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html"""

PATIENCE = 60.0
"""Seconds that a new role may need until Lambda knows what it allows."""

PAUSE = 3.0
"""Seconds between two tries."""

NOT_YET = ("InvalidParameterValueException", "ResourceConflictException")
"""What Lambda says while a function or its role is new."""

TAIL = 30
"""Lines of the output in which the reason is looked for."""

REASONS = {
    "AccessDenied": "A permission is missing: ask for it, see docs/operations.md for the list.",
    "NoSuchBucket": "The inbox is not there: run `up` first.",
    "Unable to validate the following destination": "S3 may not call the function yet. Run this again.",
    "Configurations overlap": "Another notification of the bucket covers the same pictures: remove that one.",
    "Could not install dependencies": "A package of requirements.txt cannot be had for Lambda's Python: see above.",
    "RequestEntityTooLarge": "The package is larger than Lambda takes: take something out of requirements.txt.",
    "The role defined for the function cannot be assumed": "The new role was not known yet. Run this again.",
}
"""What the output of a failed run may have in it, and what is to be done then."""


def deploy(names: Names, folder: Path) -> None:
    """Run `chalice deploy`, then have events kept that a function could not deal with.

    Args:
        names: of the stage.
        folder: usually `.chalice`.

    Raises:
        InputError: Chalice is not installed, the folder has another name than it takes, or this Python is too old.
        ChaliceFailed: it ended with an error.
    """
    check_python()
    check(folder)
    if recall(names, chalice_config.read(folder, names.stage)):
        console.messages.print("What was deployed from elsewhere is known here now, and is updated.")
    _run(names, folder, "deploy")
    keep_lost_events(names)


def check(folder: Path) -> None:
    """Make sure that Chalice can be run.

    Args:
        folder: usually `.chalice`.

    Raises:
        InputError: it is not installed, or the folder has another name than it takes.
    """
    if not PROGRAM.exists():
        raise InputError(f"There is no {PROGRAM}. Run `make deploying`, and use .venv-deploy/bin/python.")
    if folder.resolve().name != FOLDER:
        raise InputError(f"Chalice takes its configuration from a folder {FOLDER} alone, not from {folder}.")


def check_python() -> None:
    """Make sure that what is packed by this Python runs on Lambda.

    Raises:
        InputError: it would not.
    """
    if PYTHON < AMAZON_LINUX_2023:
        version = ".".join(map(str, PYTHON))
        raise InputError(
            f"This is Python {version}, and functions get the Python that deploys them: Pillow cannot be loaded on "
            f"Lambda's {version}. Run `make deploying`, then `.venv-deploy/bin/python -m infrastructure deploy`."
        )


def delete(names: Names, folder: Path) -> None:
    """Run `chalice delete`.

    Args:
        names: of the stage.
        folder: usually `.chalice`.

    Raises:
        InputError: Chalice is not installed, or the folder has another name than Chalice takes.
        ChaliceFailed: it ended with an error.
    """
    _run(names, folder, "delete")


def record(names: Names, folder: Path) -> Path:
    """The file in which Chalice remembers what it has made of a stage."""
    return folder / "deployed" / f"{names.stage}.json"


def deployed(names: Names, folder: Path) -> list[dict[str, str]]:
    """What Chalice remembers to have made of a stage; nothing if it has made nothing.

    Args:
        names: of the stage.
        folder: usually `.chalice`.

    Raises:
        InputError: the file in which it does cannot be read.
    """
    path = record(names, folder)
    try:
        found: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))["resources"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}. Mend it, or remove it.") from error
    return found


def recall(names: Names, stage: Stage) -> bool:
    """Write down for Chalice what AWS has of a stage, where Chalice remembers nothing: it was deployed from elsewhere.

    Otherwise it would make a second REST API, and delete nothing.

    Args:
        names: of the stage.
        stage: its functions.

    Returns:
        Whether there was something to write down.

    Raises:
        InputError: it cannot be written.
    """
    if deployed(names, stage.folder):
        return False
    found = {(one.kind, one.name) for one in leftovers.find_functions(names, stage)}
    resources: list[dict[str, str]] = []
    for name in stage.functions:
        role, function = f"{names.prefix}-{name}", {"lambda_arn": names.function_arn(name)}
        if ("role", role) in found:
            arn = f"arn:aws:iam::{names.account}:role/{role}"
            resources.append({"name": f"{name}_role", "resource_type": "iam_role", "role_arn": arn, "role_name": role})
        if ("function", names.function(name)) not in found:
            continue
        resources.append({"name": name, "resource_type": "lambda_function", **function})
        if name == TRIGGER:
            event = {"name": f"{name}-s3event", "resource_type": "s3_event", "bucket": names.inbox_bucket}
            resources.append({**event, **function})
    resources += [
        {"name": f"{name}-event", "resource_type": "cloudwatch_event", "rule_name": names.rule(name)}
        for name in RULES
        if ("rule", names.rule(name)) in found
    ]
    resources += [
        {
            "name": "rest_api",
            "resource_type": "rest_api",
            "rest_api_id": one,
            "rest_api_url": names.api_url(one, stage.path),
        }
        for one in list(leftovers.apis(names))[:1]
    ]
    if resources:
        path = record(names, stage.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        chalice_config.write_json(path, {"resources": resources, "schema_version": "2.0", "backend": "api"})
    return bool(resources)


def keep_lost_events(names: Names) -> None:
    """Have events that a function could not deal with put into the queue.

    Args:
        names: of the stage.

    Raises:
        ChaliceFailed: a function is not there.
    """
    client = aws.client("lambda")
    for name, retries in ASYNCHRONOUS.items():
        try:
            _insist(
                client.put_function_event_invoke_config,
                FunctionName=names.function(name),
                MaximumRetryAttempts=retries,
                DestinationConfig={"OnFailure": {"Destination": names.lost_events_arn}},
            )
        except client.exceptions.ResourceNotFoundException as error:
            raise ChaliceFailed(f"There is no function {names.function(name)}: run `deploy` again.") from error


def _insist(call: Any, **parameters: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            call(**parameters)
        except ClientError as error:
            if aws.error_code(error) not in NOT_YET or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
        else:
            return


def _run(names: Names, folder: Path, what: str) -> None:
    check(folder)
    command = [str(PROGRAM), "--project-dir", str(folder.resolve().parent), what, "--stage", names.stage]
    console.messages.print(f"Running chalice {what} --stage {names.stage}:", markup=False)
    tail: deque[str] = deque(maxlen=TAIL)
    with subprocess.Popen(  # noqa: S603 - our own program, and a stage that config.json has
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        for line in process.stdout or ():
            console.messages.print(f"  {line.rstrip()}", markup=False)
            tail.append(line)
    if process.returncode:
        output = "".join(tail)
        reason = next((then for seen, then in REASONS.items() if seen in output), "Mend what it says above.")
        raise ChaliceFailed(
            f"chalice {what} ended with {process.returncode}. {reason} Then run this again: it goes on from there."
        )
