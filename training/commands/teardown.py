"""`teardown`: nothing left of what training has made on AWS."""

import click
from rich.table import Column, Table

from commandline import console, removal
from training import options, teardown
from training.layout import S3_FOLDERS


@click.command(name="teardown", short_help="Remove what deploy made.")
@click.option("--stage", default="dev", help="Whose endpoint is removed, with all that belongs to it.")
@click.option("--registry", is_flag=True, help="Remove the models in the registry, too. They are of all stages.")
@click.option(
    "--data",
    is_flag=True,
    help=f"Remove what training put below --s3, too, of all stages: {', '.join(S3_FOLDERS)}.",
)
@options.s3("for --data.")
@click.option("--max-wait", type=console.Number(min=0), default=30.0, help="Minutes to wait for the endpoint to go.")
@options.yes
@options.as_json
def command(
    stage: str,
    registry: bool,  # noqa: FBT001 - click passes options by name
    data: bool,  # noqa: FBT001
    s3: str | None,
    max_wait: float,
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Remove what `deploy` made for a stage: the endpoint and all that belongs to it.

    What will be removed is listed first. Anything that was not made by these commands is left alone. Pictures that
    come in while there is no endpoint end as FAILED, and can be started again. It can be run again at any time; where
    nothing is left it says so.
    """
    place = options.place(s3) if data else None
    found = teardown.find(stage, console.messages.print, max_wait * 60)
    is_captured = any(one.kind == "endpoint" for one in found)
    if registry:
        found += teardown.find_registry()
    if place:
        found += teardown.find_data(place, is_captured=is_captured)
    if found and not as_json:
        table = Table("what", Column("name", overflow="fold"), title="To be removed")
        for one in found:
            table.add_row(one.kind, one.name)
        console.results.print(table)
    if found:
        console.confirm(f"Remove these {len(found)}?", yes=yes)
    removal.remove(found)
    if as_json:
        console.print_json({"removed": [{"kind": one.kind, "name": one.name} for one in found]})
    elif not found:
        console.messages.print(f"There is nothing of stage {stage} to remove.")
