"""`doctor`: what is wrong with a stage, and how to mend it."""

from pathlib import Path

import click

from commandline import console
from infrastructure import doctor, options
from infrastructure.errors import Unhealthy


@click.command(name="doctor", short_help="Check everything, and say how to mend what is wrong.")
@options.stage
@options.chalice
@click.option("--before", is_flag=True, help="Check only what can be known before anything is deployed.")
@click.option("--live", is_flag=True, help="Put a picture into the inbox, too, and see it come out.")
@options.as_json
def command(
    stage: str,
    folder: Path,
    before: bool,  # noqa: FBT001 - click passes options by name
    live: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Check a stage from end to end.

    It changes nothing, except that --live puts a small picture into the inbox, waits for its record, and takes both
    away again. What cannot be looked at for lack of a permission is said, and the rest is looked at all the same.

    Exits with 1 if something has to be mended.
    """
    if before and live:
        raise click.UsageError("--live needs what --before says is not there yet.")
    findings = doctor.examine(options.names(stage, folder), folder, live=live, before=before)
    if as_json:
        console.print_json(doctor.as_json(findings))
    else:
        doctor.show(findings)
    if not doctor.is_well(findings):
        raise Unhealthy(f"{doctor.summary(findings)} Mend what is marked, and run this again.")
