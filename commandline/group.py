"""A group of commands, and how errors reach a person."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import click

from commandline.aws import plain_errors
from commandline.errors import CommandError

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}
"""What all commands have in common."""


class Failure(click.ClickException):
    """An error on its way to the terminal."""

    def __init__(self, error: CommandError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]


class Commands(click.Group):
    """Loads a command when it is asked for, and tells errors in plain words.

    Attributes:
        package: where the commands are, a module for each, which calls it `command`.
        lines: what each does, by its name, in the order in which they are used.
    """

    package: ClassVar[str]
    lines: ClassVar[Mapping[str, str]]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in the order in which they are used."""
        return list(self.lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in self.lines:
            return None
        command: click.Command = import_module(f"{self.package}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lines.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of ours becomes a message and an exit code."""
        try:
            with plain_errors():
                return super().invoke(ctx)
        except CommandError as error:
            raise Failure(error) from error
