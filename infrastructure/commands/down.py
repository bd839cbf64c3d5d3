"""`down`: everything of a stage removed again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import ClientError
from rich.table import Column, Table

from commandline import aws, console, removal
from commandline.removal import Found
from infrastructure import chalice, chalice_config, content, leftovers, options, stack
from infrastructure.chalice_config import Stage
from infrastructure.content import Holder
from infrastructure.errors import ChaliceFailed, NotEmpty
from infrastructure.names import Names


@dataclass(frozen=True)
class There:
    """What there is of a stage.

    Attributes:
        stack: its status; empty if there is none.
        deployed: whether Chalice remembers to have deployed it.
        holders: buckets, table and user pool.
        functions: what Chalice has made.
        log_groups: of functions and state machines.
        endpoint: the name of the endpoint that is still there; empty if none is.
    """

    stack: str
    deployed: bool
    holders: Sequence[Holder]
    functions: Sequence[Found]
    log_groups: Sequence[Found]
    endpoint: str

    @property
    def full(self) -> list[Holder]:
        """Buckets, table and user pool that hold something."""
        return [one for one in self.holders if one.count]

    def rows(self, names: Names) -> list[tuple[str, str, str]]:
        """Kind, name and content of everything that goes."""
        return [
            *([("stack", names.prefix, self.stack)] if self.stack else []),
            *((one.kind, one.name, str(one)) for one in self.holders),
            *((one.kind, one.name, "") for one in [*self.functions, *self.log_groups]),
        ]


@click.command(name="down", short_help="Remove everything again.")
@options.stage
@click.option(
    "--delete-content", is_flag=True, help="Remove pictures, training data, models, captures and records as well."
)
@options.chalice
@options.yes
@options.as_json
def command(
    stage: str,
    delete_content: bool,  # noqa: FBT001 - click passes options by name
    folder: Path,
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Remove everything of a stage: functions, trigger and REST API, then the stack, then what is left.

    What will go is listed first. Buckets, table and user pool with content are refused, unless --delete-content
    says otherwise.
    The endpoint belongs to `python -m training teardown`, which has to come before. It can be run again at any time,
    also where only a part is left.
    """
    names = options.names(stage, folder)
    known = chalice_config.read(folder, stage)
    there = _look(names, known)
    rows = there.rows(names)
    if there.endpoint:
        console.messages.print(
            f"[yellow]The endpoint {there.endpoint} is still there, and costs.[/] Remove it by "
            f"`python -m training teardown --stage {stage}`."
        )
    if rows:
        if not as_json:
            console.results.print(_table(names, rows))
        _refuse_content(there, delete_content=delete_content)
        console.confirm(f"Remove all this from account {names.account}, {names.region}?", yes=yes)
        _remove(names, known, there)
    else:
        chalice.record(names, folder).unlink(missing_ok=True)
    if as_json:
        removed: list[dict[str, Any]] = [{"kind": kind, "name": name} for kind, name, _ in rows]
        console.print_json({"removed": removed, "endpoint": there.endpoint or None})
    elif rows:
        console.messages.print(f"Nothing of stage {stage} is left.")
    else:
        console.messages.print(f"There is nothing of stage {stage} to remove.")


def _look(names: Names, known: Stage) -> There:
    found = stack.describe(names) or {}
    return There(
        stack=found.get("StackStatus", ""),
        deployed=bool(chalice.deployed(names, known.folder)),
        holders=content.find(names),
        functions=leftovers.find_functions(names, known),
        log_groups=leftovers.find_log_groups(names, known),
        endpoint=_endpoint(known.variables.get(chalice_config.ENDPOINT, names.prefix)),
    )


def _endpoint(name: str) -> str:
    """The endpoint's name, if it is there."""
    try:
        aws.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if aws.error_code(error) == "ValidationException":
            return ""
        raise
    return name


def _table(names: Names, rows: Sequence[tuple[str, str, str]]) -> Table:
    table = Table("what", Column("name", overflow="fold"), "content", title=f"To be removed of stage {names.stage}")
    for kind, name, held in rows:
        table.add_row(kind, name, held)
    return table


def _refuse_content(there: There, *, delete_content: bool) -> None:
    if there.full and not delete_content:
        full = ", ".join(f"{one.kind} {one.name} with {one}" for one in there.full)
        raise NotEmpty(f"There is content: {full}. Save what is worth it, then say --delete-content. Nothing was done.")


def _remove(names: Names, known: Stage, there: There) -> None:
    """All of it, in the order in which nothing makes anew what has gone."""
    if there.functions and there.deployed:
        try:
            chalice.delete(names, known.folder)
        except ChaliceFailed as error:
            console.messages.print(f"{error} Here, what it left is removed by name.", markup=False)
    removal.remove(leftovers.find_functions(names, known))
    chalice.record(names, known.folder).unlink(missing_ok=True)
    stack.unprotect(names)
    for one in there.holders:
        if one.kind == "bucket":
            _empty(names, one)
    stack.delete(names, console.messages.print)
    for one in content.find(names):  # what the stack did not own, or was told to leave
        if one.kind == "bucket":
            _empty(names, one)
            content.delete_bucket(names, one.name)
        elif one.kind == "table":
            content.delete_table(one.name)
        console.messages.print(f"Removed the {one.kind} {one.name}.", markup=False)
    removal.remove(leftovers.find_log_groups(names, known))


def _empty(names: Names, bucket: Holder) -> None:
    with console.progress() as bar:
        task = bar.add_task(f"Emptying {bucket.name}", total=None if bucket.count > content.ENOUGH else bucket.count)
        content.empty(names, bucket.name, lambda count: bar.advance(task, count))
