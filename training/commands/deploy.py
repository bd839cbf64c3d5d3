"""`deploy`: the endpoint of a stage, made or updated, and asked about a picture."""

from pathlib import Path

import click
from rich.table import Column, Table

from commandline import console
from training import aws, chalice_config, deploy, endpoint, options, predict, prices, registry, trial
from training.deploy import Capture, Instances, Plan, Serverless
from training.errors import InputError
from training.layout import DATA, S3_CAPTURE
from training.prices import Cost
from training.registry import APPROVED, Package
from training.trial import Answer


@click.command(name="deploy", short_help="Make or update the endpoint, and ask it about a picture.")
@click.option("--stage", default="dev", help="Whose endpoint it is: scones-unlimited-STAGE.")
@click.option("--package", "arn", help="ARN of a registered model. Default: the approved one that was registered last.")
@click.option("--unapproved", is_flag=True, help="Take a model that is not approved, for a trial.")
@options.role
@options.s3("what is captured goes to capture/ there.")
@click.option("--instance-type", default="ml.m5.large", help="What the endpoint runs on.")
@click.option(
    "--instances",
    type=click.IntRange(1),
    default=2,
    help="How many there are at least. An update can only be tried on one of them where there are two.",
)
@click.option(
    "--max-instances", type=click.IntRange(1), help="How many there may be under load. Default: twice as many."
)
@click.option("--serverless", is_flag=True, help="Pay by the picture instead, and wait for a cold start now and then.")
@click.option(
    "--memory",
    type=click.Choice(["1024", "2048", "3072", "4096", "5120", "6144"]),
    default="2048",
    help="MB of a serverless endpoint.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 200), default=8, help="Pictures at the same time, of a serverless endpoint."
)
@click.option(
    "--capture/--no-capture",
    default=None,
    help="Whether pictures and answers are kept for `monitor`. Default: yes, but not with --serverless.",
)
@click.option("--capture-percent", type=click.IntRange(1, 100), default=100, help="Of the pictures that are kept.")
@click.option(
    "--picture",
    "pictures",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Ask the endpoint about it in the end; may be repeated. Default: a test picture of each class.",
)
@click.option(
    "--data",
    type=options.FOLDER,
    default=DATA,
    help="The data set that the test pictures are taken from, if it is there.",
)
@click.option(
    "--chalice",
    type=options.FOLDER,
    default=Path(".chalice"),
    help="The folder whose config.json learns the endpoint's name and labels.",
)
@click.option("--max-wait", type=console.Number(min=0), default=60.0, help="Minutes to wait for the endpoint.")
@options.yes
@options.as_json
def command(
    stage: str,
    arn: str | None,
    unapproved: bool,  # noqa: FBT001 - click passes options by name
    role: str | None,
    s3: str | None,
    instance_type: str,
    instances: int,
    max_instances: int | None,
    serverless: bool,  # noqa: FBT001
    memory: str,
    concurrency: int,
    capture: bool | None,  # noqa: FBT001
    capture_percent: int,
    pictures: tuple[Path, ...],
    data: Path,
    chalice: Path,
    max_wait: float,
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make the endpoint of a stage, or update it, with a model from the registry.

    What it costs is shown first. An update gives one instance of the new model a part of the traffic, and all of it if
    no alarm goes off within minutes; otherwise everything stays as it was. Then the endpoint is asked about pictures,
    and its name is written into the stage of .chalice/config.json. It can be run again: what is so already stays.
    """
    chalice_config.check(chalice, stage)
    role = options.role_arn(role)
    captures = not serverless if capture is None else capture
    captured = Capture(options.place(s3) / S3_CAPTURE, capture_percent) if captures else None
    capacity = (
        Serverless(int(memory), concurrency)
        if serverless
        else Instances(instance_type, instances, max_instances or 2 * instances)
    )
    asked = trial.choose(pictures, data)
    package = _package(arn, unapproved=unapproved)
    plan = Plan(stage, package, role, capacity, captured)
    deploy.check(plan)
    costs = _costs(plan)
    if not as_json:
        _show(plan, costs)
    console.confirm("Go ahead?", yes=yes)
    with console.messages.status("Working"):
        changed = endpoint.bring_about(plan, console.messages.print, max_wait * 60)
        answers = trial.ask(asked, predict.from_endpoint(plan.endpoint, package.labels))
    written = chalice_config.write(chalice, stage, plan.endpoint, package.labels)
    if as_json:
        console.print_json(
            {
                "endpoint": plan.endpoint,
                "changed": changed,
                "package": package.arn,
                "model": package.version,
                "config": plan.config,
                "costs": [vars(cost) for cost in costs],
                "answers": [vars(answer) for answer in answers],
            }
        )
        return
    state = "now serves" if changed else "serves already"
    console.messages.print(f"{plan.endpoint} {state} {package.version}. Asked about pictures, it answers:")
    _print(answers)
    if written:
        console.messages.print(
            f"Its name is in {chalice / chalice_config.CONFIG}. Tell the functions with `chalice deploy --stage "
            f"{stage}`."
        )


def _package(arn: str | None, *, unapproved: bool) -> Package:
    package = registry.describe(arn) if arn else registry.newest(approved=not unapproved)
    if package.approval != APPROVED and not unapproved:
        raise InputError(
            f"The model {package.version} is not approved. Approve it with `python -m training register --approve`, or "
            "try it out with --unapproved."
        )
    return package


def _costs(plan: Plan) -> list[Cost]:
    """What it costs; nothing where the price is not known, which is said."""
    try:
        return deploy.costs(plan)
    except InputError as error:
        console.messages.print(f"{error} What this costs you have to look up.")
        return []


def _show(plan: Plan, costs: list[Cost]) -> None:
    accuracy = plan.package.properties.get("accuracy")
    right = f", right on {float(accuracy):.1%} of the test pictures" if accuracy else ", not evaluated"
    console.messages.print(f"{plan.endpoint} in {aws.region()}: {plan.package.version}{right}.")
    if not costs:
        return
    table = Table("part", "USD", "for each", title=f"What it will cost: list prices of {prices.REGION}, {prices.AS_OF}")
    table.columns[1].justify = "right"
    for cost in costs:
        table.add_row(cost.part, f"{cost.usd:.2f}", cost.per)
    console.results.print(table)
    if aws.region() != prices.REGION:
        console.messages.print(f"Prices in {aws.region()} differ.")


def _print(answers: list[Answer]) -> None:
    table = Table(Column("picture", overflow="fold"), "shows", "taken for", "confidence", "known", "ms")
    for column in table.columns[3:]:
        column.justify = "right"
    for one in answers:
        known = "–" if one.known is None else f"{one.known:.3f}"
        table.add_row(
            one.picture, one.shows or "–", one.label, f"{one.confidence:.1%}", known, f"{one.milliseconds:.0f}"
        )
    console.results.print(table)
