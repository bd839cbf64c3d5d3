"""Options that several commands share, and the names that follow from them."""

from pathlib import Path

import click

from commandline import aws
from infrastructure import chalice_config
from infrastructure.names import Names

stage = click.option("--stage", default="dev", help="A stage of .chalice/config.json.")
chalice = click.option(
    "--chalice",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".chalice"),
    help="The folder that holds config.json and the policies.",
)
yes = click.option("--yes", is_flag=True, help="Do not ask.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


def names(stage: str, folder: Path) -> Names:
    """The names of a stage in the account that the credentials belong to.

    Args:
        stage: its name.
        folder: usually `.chalice`.

    Raises:
        InputError: there is no such stage in the folder.
    """
    chalice_config.read(folder, stage)
    region = aws.region()
    return Names(stage, aws.account(), region)
