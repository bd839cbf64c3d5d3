"""`.chalice/`: what a stage's functions are told and allowed, read, and written to fit an account."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infrastructure.errors import InputError
from infrastructure.names import Names

Json = dict[str, Any]

CONFIG = "config.json"

BUCKET, TABLE, MACHINE, ENDPOINT = "INBOX_BUCKET", "RECORDS_TABLE", "STATE_MACHINE_ARN", "ENDPOINT_NAME"
"""The variables of a stage that name something on AWS."""

POOL, CLIENT, DOMAIN = "USER_POOL_ARN", "USER_POOL_CLIENT_ID", "USER_POOL_DOMAIN"
"""The variables of a stage where people sign in: all three or none."""

SIGN_IN = {POOL: "UserPoolArn", CLIENT: "UserPoolClientId", DOMAIN: "UserPoolDomain"}
"""Which output of the stack tells which of them; there are none where nobody signs in."""

OUTPUTS = {BUCKET: "InboxBucket", TABLE: "RecordsTable", MACHINE: "StateMachineArn"}
"""Which output of the stack tells which variable; one that is not there is known by its name."""

ARN = re.compile(r"^arn:(aws[\w-]*):([\w-]+):([\w-]*):(\d*):(.+)$", re.DOTALL)


@dataclass(frozen=True)
class Stage:
    """A stage of `config.json`.

    Attributes:
        name: like "dev".
        folder: usually `.chalice`.
        variables: what all functions are told.
        policies: by the function's short name, like "serialize", the file with its policy.
        path: the first part of the REST API's path.
    """

    name: str
    folder: Path
    variables: Mapping[str, str]
    policies: Mapping[str, Path]
    path: str

    @property
    def functions(self) -> list[str]:
        """The short names of all functions, in the order of the file."""
        return list(self.policies)


def read(folder: Path, stage: str) -> Stage:
    """Read a stage.

    Args:
        folder: usually `.chalice`.
        stage: its name.

    Raises:
        InputError: there is no such stage, or the file cannot be understood.
    """
    found = described(folder, stage)
    policies = {
        name: folder / one.get("iam_policy_file", f"policy-{stage}.json")
        for name, one in found.get("lambda_functions", {}).items()
    }
    variables = dict(found.get("environment_variables", {}))
    return Stage(stage, folder, variables, policies, found.get("api_gateway_stage", "api"))


def described(folder: Path, stage: str) -> Json:
    """A stage as the file has it.

    Args:
        folder: usually `.chalice`.
        stage: its name.

    Raises:
        InputError: there is no such stage, or the file cannot be understood.
    """
    return _stage(_read(folder / CONFIG), folder, stage)


def write(folder: Path, names: Names, outputs: Mapping[str, str]) -> list[str]:
    """Make a stage fit its account: its variables, and its policies beside them. Others are left as they are.

    Args:
        folder: usually `.chalice`.
        names: of the stage.
        outputs: of the stack.

    Returns:
        What was changed, a line for each; empty if all was so already.

    Raises:
        InputError: there is no such stage, or a file cannot be read or written.
    """
    content = _read(folder / CONFIG)
    variables: dict[str, str] = _stage(content, folder, names.stage).setdefault("environment_variables", {})
    own = {BUCKET: names.inbox_bucket, TABLE: names.records_table, MACHINE: names.state_machine_arn}
    wanted = own | {name: outputs[key] for name, key in (OUTPUTS | SIGN_IN).items() if key in outputs}
    left = SIGN_IN.keys() & variables.keys() - wanted.keys() if variables.get(DOMAIN) == names.sign_in else set()
    renamed = {variables[name]: wanted[name] for name in (BUCKET, TABLE) if name in variables}
    changes = [f"{CONFIG}: {name} is {value}" for name, value in wanted.items() if variables.get(name) != value]
    changes += [f"{CONFIG}: {name} is taken out" for name in sorted(left)]
    files = {}
    for path in read(folder, names.stage).policies.values():
        policy = _read(path)
        mended = _mended(policy, names, renamed)
        if mended != policy:
            files[path] = mended
            changes.append(f"{path.name}: names account {names.account} and region {names.region}")
    for path, policy in files.items():
        write_json(path, policy)
    if variables.items() >= wanted.items() and not left:
        return changes
    variables |= wanted
    for name in left:
        del variables[name]
    write_json(folder / CONFIG, content)  # last: the old names in it are how a run that broke off finds what to mend
    return changes


def arns(policy: Any) -> Iterator[str]:
    """Every ARN that a policy names.

    Args:
        policy: as JSON.
    """
    if isinstance(policy, str):
        if ARN.match(policy):
            yield policy
    elif isinstance(policy, dict | list):
        for one in policy.values() if isinstance(policy, dict) else policy:
            yield from arns(one)


def _mended(policy: Any, names: Names, renamed: Mapping[str, str]) -> Any:
    """A policy whose ARNs name this account."""
    if isinstance(policy, dict):
        return {key: _mended(value, names, renamed) for key, value in policy.items()}
    if isinstance(policy, list):
        return [_mended(one, names, renamed) for one in policy]
    found = ARN.match(policy) if isinstance(policy, str) else None
    if found is None:
        return policy
    partition, service, region, account, resource = found.groups()
    for old, new in renamed.items():
        resource = re.sub(rf"(?<![\w.-]){re.escape(old)}(?![\w.-])", new, resource)
    if service == "s3":  # a bucket that another run of this named
        resource = re.sub(rf"^{re.escape(names.prefix)}-inbox-\d{{12}}(?![\w.-])", names.inbox_bucket, resource)
    return ":".join(["arn", partition, service, region and names.region, account and names.account, resource])


def _stage(content: Any, folder: Path, stage: str) -> Json:
    stages = content.get("stages", {}) if isinstance(content, dict) else {}
    if stage not in stages:
        known = ", ".join(stages) or "none"
        raise InputError(
            f"{folder / CONFIG} has no stage {stage}; it has: {known}. Choose one with --stage, or copy a stage there, "
            f"and the files policy-…-*.json beside it, with {stage} in the place of the name."
        )
    found: Json = stages[stage]
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Name the folder that holds it with --chalice.") from error


def write_json(path: Path, content: Any) -> None:
    """Write a file as a whole, or leave the one that is there.

    Args:
        path: where.
        content: what.

    Raises:
        InputError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}. Make it writable.") from error
