"""`deploy`: the whole stage, made or updated, and examined in the end."""

from pathlib import Path
from typing import Any

import click

from commandline import console
from infrastructure import chalice, chalice_config, doctor, options
from infrastructure.commands import up
from infrastructure.commands.up import Wish
from infrastructure.errors import Unhealthy


@click.command(name="deploy", short_help="up, then `chalice deploy`, then doctor.")
@options.stage
@up.wishing
@options.chalice
@options.as_json
def command(stage: str, folder: Path, *, as_json: bool, **wished: Any) -> None:
    """Make or update a stage: `up`, then `chalice deploy`, then `doctor`.

    Between the last two, the functions are told where to put events that they could not deal with. The endpoint is
    made by `python -m training deploy`, before or after. Exit code 1 says that something failed, or that the doctor
    found what has to be mended. It can be run again at any time.
    """
    chalice_config.read(folder, stage)
    chalice.check_python()
    chalice.check(folder)
    names = options.names(stage, folder)
    done = up.bring_up(names, folder, Wish(**wished, quiet=as_json))
    chalice.deploy(names, folder)
    findings = doctor.examine(names, folder, live=False, before=False)
    if as_json:
        made = [
            one["lambda_arn"] for one in chalice.deployed(names, folder) if one["resource_type"] == "lambda_function"
        ]
        functions = sorted(arn.rpartition(":")[2] for arn in made)
        console.print_json({"up": done, "functions": functions, **doctor.as_json(findings)})
    else:
        doctor.show(findings)
    if not doctor.is_well(findings):
        raise Unhealthy(
            f"{names.prefix} is deployed. {doctor.summary(findings)} Mend what is marked, then run `doctor`."
        )
