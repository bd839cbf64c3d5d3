"""`python -m training`: the group of commands, and how errors reach a person."""

from importlib import import_module
from typing import Any

import click

from training.aws import plain_errors
from training.errors import TrainingError

COMMANDS = {
    "stage": "Make a data set of pictures: from CIFAR-100 or from a folder.",
    "upload": "Copy a folder to S3; what is there unchanged is left.",
    "train": "Train a model, here or on SageMaker.",
    "evaluate": "Judge a model on the test split, with a report.",
    "register": "Put an evaluated model into the model registry.",
    "deploy": "Make or update the endpoint, and ask it about a picture.",
    "monitor": "Judge what the endpoint has seen and said.",
    "teardown": "Remove what deploy made.",
}
"""In the order in which they are used. Each is imported when it is asked for, since some need seconds to import."""


class Failure(click.ClickException):
    """An error on its way to the terminal."""

    def __init__(self, error: TrainingError) -> None:
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
        command: click.Command = import_module(f"training.commands.{cmd_name}").command
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
        except TrainingError as error:
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
    """From pictures to a SageMaker endpoint, and back to a judgement of it.

    Every step can be run again. Folders are below build/ unless told otherwise, so that each step finds what the one
    before it made. Exit code 2 says that what was given has to change, 1 that something failed.
    """
