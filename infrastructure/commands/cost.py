"""`cost`: what a month and each million pictures cost."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from commandline import console
from infrastructure import cost, deployed, options, prices, traffic
from infrastructure.cost import Instances, Part, Serverless
from infrastructure.errors import InputError
from infrastructure.template import TEMPLATE
from infrastructure.traffic import Traffic

DEFINITION = Path(__file__).resolve().parent.parent.parent / "statemachine.json"

SHARES_AND_SIZES = ("held_back", "rejected", "picture_mb", "kept_days", "rest")

ORIGINAL = (
    f"The original: one {cost.ORIGINAL_INSTANCE} that captures all, and a workflow of three Lambda steps; no trigger, "
    "no records, no alarms."
)

Share = click.FloatRange(0, 1)


@click.command(name="cost", short_help="Tell what it costs.")
@click.option("--pictures", type=click.IntRange(1), default=100_000, help="How many come in a month.")
@click.option("--held-back", type=Share, default=0.27, help="Share of them that waits for a person.")
@click.option("--rejected", type=Share, default=0.01, help="Share of them that is broken, or no picture.")
@click.option("--picture-mb", type=click.FloatRange(0, 25), default=3.0, help="MB of a picture as it comes in.")
@click.option(
    "--kept-days", type=click.FloatRange(0), help="How long pictures stay in the inbox. Default: as template.yaml says."
)
@click.option("--rest", type=click.FloatRange(0), default=0.0, help="Requests to the REST API for each picture.")
@click.option("--instance-type", default="ml.m5.large", help="What the endpoint runs on.")
@click.option("--instances", type=click.IntRange(1), default=2, help="How many, day and night.")
@click.option("--capture", type=Share, default=1.0, help="Share of the pictures that instances capture.")
@click.option("--serverless", is_flag=True, help="A serverless endpoint in place of instances.")
@click.option(
    "--memory",
    type=click.Choice(["1024", "2048", "3072", "4096", "5120", "6144"]),
    default="2048",
    help="MB of a serverless endpoint.",
)
@click.option(
    "--durations",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help='JSON of seconds that a call of a function takes on AWS, like {"serialize": 0.12}.',
)
@options.stage
@options.chalice
@options.as_json
def command(
    stage: str,
    folder: Path,
    durations: Path | None,
    as_json: bool,  # noqa: FBT001
    **given: Any,
) -> None:
    """Tell what a month and each million pictures cost, by part, beside the original's arrangement.

    At list prices of one region and one day, which stand in infrastructure/prices.py: without the free tier, tax and
    discounts, and as if nothing failed. What is measured and what is estimated stands in
    infrastructure/deployed.py and traffic.py.
    """
    template = TEMPLATE.read_text(encoding="utf-8")
    if given["kept_days"] is None:
        given["kept_days"] = deployed.picture_days(template)
    arriving = _traffic(given)
    serverless = Serverless(int(given["memory"]))
    instances = Instances(given["instance_type"], given["instances"], given["capture"])
    endpoint = serverless if given["serverless"] else instances
    found = deployed.stage(
        json.loads(DEFINITION.read_text(encoding="utf-8")),
        template,
        deployed.memory_mb(folder, stage),
        _seconds(durations),
    )
    here, there = cost.ours(arriving, endpoint, found), cost.original(arriving, found)
    idle = cost.idle(arriving, endpoint, found)
    advice, warnings = cost.advice(here, arriving, endpoint, serverless), cost.warnings(arriving, found)
    if as_json:
        console.print_json(
            {
                "region": prices.REGION,
                "as_of": prices.AS_OF.isoformat(),
                "traffic": asdict(arriving),
                "endpoint": asdict(endpoint),
                "ours": {**_bill(here, arriving.pictures), "idle_month": idle},
                "original": _bill(there, arriving.pictures),
                "serverless_is_cheaper_below": round(cost.break_even(instances, serverless)),
                "reconcile_hours": traffic.reconciled(arriving, found).hours,
                "advice": advice,
                "warnings": warnings,
            }
        )
        return
    _show(here, there, arriving.pictures)
    console.results.print(f"{advice}\n")
    for warning in warnings:
        console.results.print(f"[bold]Look out:[/] {warning}\n")
    console.results.print(f"A month in which nothing comes in, and nothing is kept, is {idle:,.2f} USD.")
    console.results.print(ORIGINAL)
    console.results.print("No free tier, no tax, no discounts, no retries. The bill is right where it differs.")


def _traffic(given: dict[str, Any]) -> Traffic:
    if not all(math.isfinite(given[name]) for name in (*SHARES_AND_SIZES, "capture")):
        raise InputError("nan and inf are no numbers to reckon with. Give others.")
    if given["held_back"] + given["rejected"] > 1:
        raise InputError("--held-back and --rejected are more than all pictures. Give shares that add up to 1 at most.")
    return Traffic(given["pictures"], **{name: given[name] for name in SHARES_AND_SIZES})


def _seconds(path: Path | None) -> dict[str, float]:
    if path is None:
        return {}
    wrong = InputError(f'{path} should be JSON of names and seconds above 0, like {{"serialize": 0.12}}.')
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise wrong from error
    if not isinstance(read, dict) or not all(
        type(value) in {int, float} and 0 < value < 900 for value in read.values()
    ):
        raise wrong
    return {name: float(value) for name, value in read.items()}


def _bill(parts: list[Part], pictures: int) -> dict[str, Any]:
    return {
        "month": cost.total(parts, pictures),
        "each_million": sum(part.million for part in parts),
        "parts": [{"part": part.name, "month": part.month(pictures), "each_million": part.million} for part in parts],
    }


def _show(here: list[Part], there: list[Part], pictures: int) -> None:
    title = f"{pictures:,} pictures a month, USD: list prices of {prices.REGION}, {prices.AS_OF}"
    table = Table(title=title, box=box.SIMPLE, show_footer=True)
    all_here, all_there = cost.total(here, pictures), cost.total(there, pictures)
    millions = sum(part.million for part in here), sum(part.million for part in there)
    table.add_column("part", "all")
    for header, footer in (
        ("a month", f"{all_here:,.2f}"),
        ("share", "100%"),
        ("each million", f"{millions[0]:,.2f}"),
        ("original:\na month", f"{all_there:,.2f}"),
        ("each\nmillion", f"{millions[1]:,.2f}"),
    ):
        table.add_column(header, footer, justify="right")
    originals = {part.name: part for part in there}
    names = list(dict.fromkeys([part.name for part in here] + list(originals)))
    ours = {part.name: part for part in here}
    for name in names:
        mine, other = ours.get(name), originals.get(name)
        table.add_row(
            name,
            f"{mine.month(pictures):,.2f}" if mine else "–",
            f"{mine.month(pictures) / all_here:.0%}" if mine else "–",
            f"{mine.million:,.2f}" if mine else "–",
            f"{other.month(pictures):,.2f}" if other else "–",
            f"{other.million:,.2f}" if other else "–",
        )
    console.results.print(table)
