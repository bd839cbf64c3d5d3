"""Options that several commands share, and what has to be made of them before they are of use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from training.aws import Place
from training.errors import InputError
from training.layout import DATA, MODEL

FOLDER = click.Path(path_type=Path, file_okay=False)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data = click.option("--data", type=FOLDER, default=DATA, help="The data set, as `stage` made it.")
model = click.option(
    "--model", type=FOLDER, show_default=str(MODEL), help="The model's folder; it is asked on this machine."
)
endpoint = click.option("--endpoint", help="Ask the model behind this endpoint instead.")
since = click.option(
    "--since",
    default="7d",
    help="Beginning of the range of what was captured: 2026-01-31T08:00 in UTC, or 90m, 24h, 7d ago.",
)
until = click.option("--until", help="End of the range, written likewise. Default: now.")
decided = click.option("--reviews", "table", help="Table of records: what people have decided about captured pictures.")
role = click.option("--role", envvar="TRAINING_ROLE", show_envvar=True, help="ARN of the role that SageMaker works as.")
yes = click.option("--yes", is_flag=True, help="Do not ask.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


def s3(what: str) -> Decorator:
    """The option that names a place in S3.

    Args:
        what: what lies there, to follow a semicolon.
    """
    return click.option("--s3", envvar="TRAINING_S3", show_envvar=True, help=f"s3://bucket/prefix; {what}")


def place(given: str | None) -> Place:
    """The place in S3 that was given.

    Raises:
        InputError: none was, or it is none.
    """
    if not given:
        raise InputError("A place in S3 is needed: --s3 s3://bucket/prefix, or TRAINING_S3.")
    return Place.parse(given)


def role_arn(given: str | None) -> str:
    """The role that was given.

    Raises:
        InputError: none was, or it is no ARN.
    """
    if not given or not given.startswith("arn:"):
        raise InputError("The role that SageMaker works as is needed: --role ARN, or TRAINING_ROLE.")
    return given
