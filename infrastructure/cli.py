"""`python -m infrastructure`: the group of commands."""

import click

from commandline import group

COMMANDS = {
    "up": "Make or update everything that Chalice does not, and write its names into .chalice/.",
    "deploy": "up, then `chalice deploy`, then doctor.",
    "doctor": "Check everything, and say how to mend what is wrong.",
    "status": "Show what is there, and how it does.",
    "page": "Show the page of a stage in the browser, by your AWS credentials.",
    "reconcile": "Find pictures that were lost on the way in, and start them again.",
    "backfill": "Classify the pictures that are in a bucket already.",
    "cost": "Tell what it costs.",
    "down": "Remove everything again.",
}
"""In the order in which they are used. Each is imported when it is asked for, since some need a while to import."""


class Commands(group.Commands):
    """Those of `infrastructure/commands/`."""

    package, lines = "infrastructure.commands", COMMANDS


@click.group(cls=Commands, context_settings=group.SETTINGS)
def main() -> None:
    """The stage of an AWS account: made, checked, filled and removed.

    Every command can be run again. Exit code 2 says that what was given has to change, 1 that something failed or is
    not well.
    """
