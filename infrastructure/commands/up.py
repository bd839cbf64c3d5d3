"""`up`: the stack of a stage, made or updated, and its names written into `.chalice/`."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from commandline import console
from infrastructure import chalice_config, options, rest, stack
from infrastructure.chalice_config import Stage
from infrastructure.errors import Declined, InputError, NotEmpty
from infrastructure.names import Names
from infrastructure.stack import Plan

WISHES = (
    click.option(
        "--alarm-email",
        help="Who is told of alarms; AWS asks them to agree by mail. Default: who is told now, at first nobody.",
    ),
    click.option("--endpoint-name", help="The endpoint that is watched. Default: ENDPOINT_NAME of the stage."),
    click.option(
        "--picture-days",
        type=click.IntRange(4, 36500),
        help="Days that pictures stay in the inbox. Default: as many as now, at first 365.",
    ),
    click.option(
        "--sign-in/--no-sign-in",
        default=None,
        help="Whether people sign in to the page, at a user pool that is made for it, in place of AWS credentials. "
        "Default: as now, at first not.",
    ),
    click.option(
        "--delete-content",
        is_flag=True,
        help="Agree to changes that remove or replace a bucket, a table, a queue, a log group or a user pool with what "
        "is in it.",
    ),
    options.yes,
)
"""The options that say what is wanted of a stack."""


@dataclass(frozen=True)
class Wish:
    """What the caller wants of a stack.

    Attributes:
        alarm_email: who is told of alarms; None for who is told now.
        endpoint_name: the endpoint that is watched; None for the one that the stage names.
        picture_days: how long pictures are kept; None for as long as now.
        sign_in: whether people sign in at a user pool; None for as now.
        delete_content: whether content may be lost.
        yes: whether all the rest is agreed to.
        quiet: whether no table is printed.
    """

    alarm_email: str | None
    endpoint_name: str | None
    picture_days: int | None
    sign_in: bool | None
    delete_content: bool
    yes: bool
    quiet: bool


def wishing(command: Callable[..., None]) -> Callable[..., None]:
    """A command with these options.

    Args:
        command: what takes them, by the names of `Wish`.
    """
    for option in reversed(WISHES):
        command = option(command)
    return command


@click.command(name="up", short_help="Make or update everything that Chalice does not.")
@options.stage
@wishing
@options.chalice
@options.as_json
def command(stage: str, folder: Path, *, as_json: bool, **wished: Any) -> None:
    """Make or update everything of a stage that Chalice does not, and write its names into .chalice/.

    That is buckets, table, state machines, roles, log groups, queue, topics, alarms and dashboard. What would change is
    shown first. If it fails, CloudFormation puts everything back as it was. It can be run again: what is so already
    stays.
    """
    names = options.names(stage, folder)
    done = bring_up(names, folder, Wish(**wished, quiet=as_json))
    if as_json:
        console.print_json(done)


def bring_up(names: Names, folder: Path, wish: Wish) -> dict[str, Any]:
    """Make or update the stack, and write its names into the folder of Chalice.

    Args:
        names: of the stage.
        folder: usually `.chalice`.
        wish: what the caller wants.

    Returns:
        What was done, as JSON takes it.

    Raises:
        InputError: people are to sign in to a page that is not there yet.
        Declined: the change was not agreed to.
        NotEmpty: it would remove content, which was not agreed to.
        StackFailed: it did not work out.
    """
    known = chalice_config.read(folder, names.stage)
    watched = wish.endpoint_name or known.variables.get(chalice_config.ENDPOINT)
    parameters = {"Stage": names.stage, "EndpointName": watched, "AlarmEmail": wish.alarm_email}
    if wish.picture_days is not None:
        parameters["PictureDays"] = str(wish.picture_days)
    parameters |= _signing_in(names, known, wish.sign_in)
    planned = stack.plan(
        names, {key: value for key, value in parameters.items() if value is not None}, console.messages.print
    )
    if planned is None:
        console.messages.print(f"{names.prefix} is as it should be: nothing is to be changed.")
    else:
        _agree(planned, wish)
        stack.apply(planned, console.messages.print)
        console.messages.print(f"{names.prefix} is {'there' if planned.is_new else 'changed'}.")
    outputs = stack.outputs(names)
    written = chalice_config.write(folder, names, outputs)
    for line in written:
        console.messages.print(f"Wrote {folder}/{line}.", markup=False)
    return {
        "stack": names.prefix,
        "outcome": "unchanged" if planned is None else "created" if planned.is_new else "updated",
        "changes": [
            {"action": one.action, "resource": one.resource, "type": one.kind, "replacement": one.replacement}
            for one in (planned.changes if planned else ())
        ],
        "outputs": outputs,
        "written": written,
    }


def _signing_in(names: Names, known: Stage, wished: bool | None) -> dict[str, str]:  # noqa: FBT001
    """The parameters that follow from whether people sign in, be it at the stack's user pool or at another."""
    if wished is False:
        return {"SignIn": "no", "PageUrl": ""}
    if wished:
        return {"SignIn": "yes", "PageUrl": rest.page_url(names, known)}
    if known.variables.get(chalice_config.POOL):
        with suppress(InputError):  # where nothing is deployed, the page is nowhere yet
            return {"PageUrl": rest.page_url(names, known)}
    return {}


def _agree(planned: Plan, wish: Wish) -> None:
    """Show what would change, and ask; whatever is not agreed to is taken back."""
    if not planned.changes:
        console.messages.print(f"No resource of {planned.names.prefix} changes: only parameters, outputs or tags do.")
    elif not wish.quiet:
        console.results.print(stack.show(planned))
    try:
        if planned.losses and not wish.delete_content:
            names = ", ".join(one.resource for one in planned.losses)
            raise NotEmpty(
                f"This change removes or replaces {names}, with what is in it. Save that first, then say "
                "--delete-content. Nothing was done."
            )
        question = f"Make {planned.names.prefix}" if planned.is_new else f"Change {planned.names.prefix}"
        console.confirm(f"{question} in account {planned.names.account}, {planned.names.region}?", yes=wish.yes)
    except (Declined, NotEmpty):
        stack.discard(planned)
        raise
