"""`python -m training`: the group of commands."""

import click

from commandline import group

COMMANDS = {
    "stage": "Make a data set of pictures: from CIFAR-100 or from a folder.",
    "upload": "Copy a folder to S3; what is there unchanged is left.",
    "train": "Train a model, here or on SageMaker.",
    "evaluate": "Judge a model on the test split, with a report.",
    "threshold": "Recommend a threshold by what mistakes and reviews cost.",
    "compare": "Judge two models on the same pictures.",
    "register": "Put an evaluated model into the model registry.",
    "deploy": "Make or update the endpoint, and ask it about a picture.",
    "monitor": "Judge what the endpoint has seen and said.",
    "teardown": "Remove what deploy made.",
}
"""In the order in which they are used. Each is imported when it is asked for, since some need seconds to import."""


class Commands(group.Commands):
    """Those of `training/commands/`."""

    package, lines = "training.commands", COMMANDS


@click.group(cls=Commands, context_settings=group.SETTINGS)
def main() -> None:
    """From pictures to a SageMaker endpoint, and back to a judgement of it.

    Every step can be run again. Folders are below build/ unless told otherwise, so that each step finds what the one
    before it made. Exit code 2 says that what was given has to change, 1 that something failed.
    """
