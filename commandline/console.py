"""What people see: progress and tables for them on standard error or output, JSON for machines on standard output."""

import json
import math
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from commandline.errors import Declined


class Number(click.FloatRange):
    """A number in a range; NaN, which click takes for one in every range, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is no number.", param, ctx)
        return number


messages = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress and remarks go here, so that standard output holds results alone."""

results = Console(highlight=False)
"""Tables of results go here, unless JSON was asked for."""


def progress() -> Progress:
    """What shows how far something is; nothing where standard error is no terminal.

    Use it as `with progress() as bar: task = bar.add_task("Hashing", total=n)`, then `bar.advance(task)`.
    """
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        disable=not messages.is_terminal,
    )


def print_json(content: Mapping[str, Any]) -> None:
    """One JSON object on standard output, and nothing else."""
    click.echo(json.dumps(content, indent=2))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that costs or removes.

    Args:
        question: what is asked, without a question mark's hint.
        yes: the caller has said yes beforehand.

    Raises:
        Declined: the answer is no, or nobody is there to answer.
    """
    if yes:
        return
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort as error:
        raise Declined("Nobody answered, so nothing was done. Say --yes to agree beforehand.") from error
    if not agreed:
        raise Declined("Nothing was done.")
