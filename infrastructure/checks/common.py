"""What all checks share: what they find, what they look at, and what AWS says when something is not there."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from commandline import aws
from infrastructure.errors import InputError
from infrastructure.names import Names

Json = dict[str, Any]
T = TypeVar("T")

MISSING = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchBucketPolicy",
        "NoSuchCORSConfiguration",
        "NoSuchEntity",
        "NoSuchPublicAccessBlockConfiguration",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ReplicationConfigurationNotFoundError",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ServerSideEncryptionConfigurationNotFoundError",
        "StateMachineDoesNotExist",
    }
)
"""What the services call it when something is not there."""

NOT_THERE = re.compile(
    r"could not find|does not exist|not found|cannot find|does not have the specified index", re.IGNORECASE
)
"""How SageMaker, and DynamoDB of an index, say it: in a message alone."""

MEMORY, TIMEOUT = 128, 60
"""MB and seconds of a function for which `.chalice/config.json` says nothing:
https://aws.github.io/chalice/topics/configfile.html"""


INSTALL = "Run `make deploying`, and use `.venv-deploy/bin/python -m infrastructure`."
"""What makes a Python with all that deploying needs."""


class NotThere(Exception):
    """What a check looks at is not there, which another check tells."""


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: the check's name.
        severity: how bad it is.
        what: what is there, or what is wrong, in plain words.
        fix: what to do about it; empty where nothing has to be done.
    """

    check: str
    severity: Severity
    what: str
    fix: str = ""


@dataclass(frozen=True)
class Site:
    """What is looked at: a stage, as the files say it should be, and as AWS says it is.

    Attributes:
        names: of the stage.
        folder: `.chalice`.
        before: whether nothing has been deployed yet.
    """

    names: Names
    folder: Path
    before: bool = False
    _known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def up(self) -> str:
        """The fix for what the template makes."""
        return f"Run `python -m infrastructure up --stage {self.names.stage}`."

    @property
    def deploy(self) -> str:
        """The fix for what Chalice makes."""
        return f"Run `python -m infrastructure deploy --stage {self.names.stage}`."

    @cached_property
    def config(self) -> Json:
        """`.chalice/config.json`.

        Raises:
            InputError: it cannot be read.
        """
        return read_json(self.folder / "config.json")

    @cached_property
    def stage(self) -> Json:
        """The stage's part of it.

        Raises:
            InputError: there is no such stage.
        """
        stages: Json = self.config.get("stages", {})
        if self.names.stage not in stages:
            raise InputError(
                f"{self.folder / 'config.json'} has no stage {self.names.stage}; it has {', '.join(stages) or 'none'}. "
                "Name one of these, or copy one of them and its policy files under a new name."
            )
        found: Json = stages[self.names.stage]
        return found

    @property
    def functions(self) -> list[str]:
        """The short names of the stage's functions."""
        return list(self.stage.get("lambda_functions", {}))

    @property
    def environment(self) -> dict[str, str]:
        """The variables that all functions of the stage get."""
        return {**self.config.get("environment_variables", {}), **self.stage.get("environment_variables", {})}

    @property
    def endpoint_name(self) -> str:
        """The endpoint that the functions ask."""
        return str(self.environment.get("ENDPOINT_NAME", self.names.prefix))

    def setting(self, function: str, key: str, default: Any) -> Any:
        """What `.chalice/config.json` says of a function: in its own part, or in the stage's, or for all stages."""
        own = self.stage["lambda_functions"][function]
        return own.get(key, self.stage.get(key, self.config.get(key, default)))

    def policy_file(self, function: str) -> Path:
        """The file with what a function may do."""
        return self.folder / str(self.setting(function, "iam_policy_file", f"policy-{self.names.stage}.json"))

    def function(self, name: str) -> Json | None:
        """What Lambda says of a function, asked once; None if there is none."""
        full = self.names.function(name)
        return self.once(f"function {full}", lambda: found(aws.client("lambda").get_function, FunctionName=full))

    def made(self, names: Iterable[str]) -> list[str]:
        """Those of some functions that are there.

        Args:
            names: short names.

        Raises:
            NotThere: none of them is.
        """
        there = [name for name in names if self.function(name) is not None]
        if not there:
            raise NotThere
        return there

    def machine(self, name: str) -> Json | None:
        """What Step Functions says of a state machine, asked once; None if there is none."""
        describe, arn = aws.client("stepfunctions").describe_state_machine, self.names.machine_arn(name)
        return self.once(f"machine {name}", lambda: found(describe, stateMachineArn=arn))

    @property
    def endpoint(self) -> Json | None:
        """What SageMaker says of the endpoint, asked once; None if there is none."""
        describe, name = aws.client("sagemaker").describe_endpoint, self.endpoint_name
        return self.once("endpoint", lambda: found(describe, EndpointName=name))

    @property
    def endpoint_config(self) -> Json | None:
        """What the endpoint runs on, asked once; None if there is none."""
        name = (self.endpoint or {}).get("EndpointConfigName")
        describe = aws.client("sagemaker").describe_endpoint_config
        return self.once("endpoint config", lambda: found(describe, EndpointConfigName=name)) if name else None

    def role(self, name: str) -> Json | None:
        """What IAM says of a role, asked once; None if there is none.

        Args:
            name: its full name.
        """
        answer = self.once(f"role {name}", lambda: found(aws.client("iam").get_role, RoleName=name))
        return answer["Role"] if answer else None

    def once(self, key: str, ask: Callable[[], T]) -> T:
        """What was asked before under this key, or else is asked now.

        Args:
            key: what is asked, in words.
            ask: asks.
        """
        if key not in self._known:
            self._known[key] = ask()
        answer: T = self._known[key]
        return answer


Look = Callable[[Site], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """A check.

    Attributes:
        name: in a word or two.
        about: what holds where it finds nothing.
        look: does it.
        before: whether it can be done before anything is deployed.
        offline: whether it can be done without AWS.
    """

    name: str
    about: str
    look: Look
    before: bool = False
    offline: bool = False


def problem(what: str, fix: str) -> Finding:
    """Something that has to be mended."""
    return Finding("", Severity.PROBLEM, what, fix)


def warning(what: str, fix: str) -> Finding:
    """Something that one should know, and perhaps mend."""
    return Finding("", Severity.WARNING, what, fix)


def fine(what: str) -> Finding:
    """Something that is well."""
    return Finding("", Severity.OK, what)


def found(call: Callable[..., Any], **request: Any) -> Json | None:
    """What AWS answers; None where it says that this is not there.

    Args:
        call: an operation of a client.
        request: its parameters.
    """
    try:
        answer: Json = call(**request)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return answer


def pages(service: str, operation: str, key: str, **request: Any) -> Iterator[Any]:
    """What a listing of AWS holds, page after page."""
    for page in aws.client(service).get_paginator(operation).paginate(**request):
        yield from page.get(key, [])


def is_missing(error: ClientError) -> bool:
    """Whether AWS says that what was asked for is not there."""
    code, message = aws.error_code(error), str(error.response.get("Error", {}).get("Message", ""))
    return code in MISSING or (code == "ValidationException" and bool(NOT_THERE.search(message)))


def read_json(path: Path) -> Json:
    """A JSON object in a file.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Run this in the repository's folder.") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}. Mend it, or take it from the repository again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object. Take it from the repository again.")
    return content


def as_list(value: Any) -> list[Any]:
    """A value, or the values of a list: policies have either."""
    return value if isinstance(value, list) else [value]


def enumerated(names: list[str], most: int = 3) -> str:
    """A few of many, in words."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def differing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """The keys whose values are not the same, or that only one of them has."""
    return sorted(key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key))
