"""`python -m infrastructure`: the group of commands, and how errors reach a person."""

from importlib import import_module
from typing import Any

import click

from infrastructure.aws import plain_errors
from infrastructure.errors import InfrastructureError

COMMANDS = {
    "up": "Make or update everything that Chalice does not, and write its names into .chalice/.",
    "deploy": "up, then `chalice deploy`, then doctor.",
    "doctor": "Check everything, and say how to mend what is wrong.",
    "status": "Show what is there, and how it does.",
    "reconcile": "Find pictures that were lost on the way in, and start them again.",
    "backfill": "Classify the pictures that are in a bucket already.",
    "cost": "Tell what it costs.",
    "down": "Remove everything again.",
}
"""In the order in which they are used. Each is imported when it is asked for, since some need a while to import."""


class Failure(click.ClickException):
    """An error on its way to the terminal."""

    def __init__(self, error: InfrastructureError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]


class Commands(click.Group):
    """Loads a command when it is asked for, and tells errors in plain words."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"infrastructure.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of ours becomes a message and an exit code."""
        try:
            with plain_errors():
                return super().invoke(ctx)
        except InfrastructureError as error:
            raise Failure(error) from error


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
def main() -> None:
    """The stage of an AWS account: made, checked, filled and removed.

    Every command can be run again. Exit code 2 says that what was given has to change, 1 that something failed or is
    not well.
    """
