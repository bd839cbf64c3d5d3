"""`train`: a model, here or on SageMaker."""

from dataclasses import asdict
from pathlib import Path

import click
from rich.progress import Progress, TaskID
from rich.table import Table

from commandline import console
from training import job, model_archive, options, outcome
from training.aws import region
from training.errors import InputError
from training.fit import Advance, Files, check_pictures, fit
from training.layout import MODEL, Manifest, TrainingRecord


@click.command(name="train", short_help="Train a model, here or on SageMaker.")
@options.data
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=MODEL,
    help="Folder for the model. The archive for SageMaker and training.json go beside it.",
)
@click.option("--sagemaker", is_flag=True, help="Train on SageMaker instead of on this machine.")
@click.option(
    "--algorithm",
    type=click.Choice(job.ALGORITHMS),
    default=job.HEAD,
    help="Our own head on a frozen backbone, or SageMaker's built-in algorithm, which trains on SageMaker alone.",
)
@options.s3("`upload` has put data/ there.")
@options.role
@click.option("--stage", default="dev", help="For the job's tags.")
@click.option("--instance-type", help=f"Default: {', '.join(f'{t} for {a}' for a, t in job.INSTANCE_TYPES.items())}.")
@click.option("--spot/--on-demand", default=True, help="Whether to take a spot instance: cheaper, may have to wait.")
@click.option("--max-minutes", type=console.Number(min=0), default=60.0, help="How long the job may run.")
@click.option("--max-cost", type=console.Number(min=0), help="USD that the job may cost at the price on demand.")
@click.option("--job", "job_name", help="Wait for this job, which was started before, and fetch its model.")
@click.option("--date", help="Written into the model as it is given; without it the same data give the same model.")
@options.yes
@options.as_json
def command(
    data: Path,
    model: Path,
    sagemaker: bool,  # noqa: FBT001 - click passes options by name
    algorithm: str,
    s3: str | None,
    role: str | None,
    stage: str,
    instance_type: str | None,
    spot: bool,  # noqa: FBT001
    max_minutes: float,
    max_cost: float | None,
    job_name: str | None,
    date: str | None,
    yes: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Train a model on a data set.

    On this machine it takes about 15 ms a picture. The same data set gives the same model, to the byte.

    With --sagemaker a training job does it, on the data that `upload` has put below s3://bucket/prefix/data. What the
    job may cost at most is shown before it starts. A job of the same data, code and hyperparameters is not paid for
    twice: the model of an earlier one is fetched, and one that still runs is waited for.
    """
    files = Files(model)
    if not sagemaker and job_name is None:
        if algorithm != job.HEAD:
            raise InputError(f"The algorithm {algorithm} trains on SageMaker alone. Say --sagemaker, too.")
        with console.progress() as bar:
            record = fit(data, files, _advance(bar), date)
    else:
        model_archive.check_replaceable(model)
        if job_name is None:
            place, role = options.place(s3), options.role_arn(role)
            manifest = Manifest.read(data)
            check_pictures(data, manifest)
            limits = job.Limits(instance_type, spot, max_minutes, max_cost)
            plan = job.make_plan(algorithm, manifest, place, role, stage, limits, date)
            job_name = _started(plan, data, manifest, yes=yes)
        description = outcome.wait(job_name, console.messages.print)
        record = outcome.collect(description, files, data)
        console.messages.print(f"AWS bills {outcome.seconds_billed(description)} s for {job_name}.")
    _print(record, files, as_json=as_json)


def _started(plan: job.Plan, data: Path, manifest: Manifest, *, yes: bool) -> str:
    """The name of a job that does what the plan says: one that is there already, or a new one."""
    found = outcome.earlier(plan.base_name)
    if found:
        console.messages.print(f"{found.name} does the same and is {found.status}. No other job is started.")
        return found.name
    job.check_uploaded(data, manifest, plan.place, plan.algorithm)
    cost, kind = job.max_cost(plan), "spot" if plan.spot else "on demand"
    price = "an unknown price" if cost is None else f"at most {cost:.2f} USD"
    minutes = f"{plan.max_seconds / 60:.0f} minutes"
    console.messages.print(f"A job on {plan.instance_type} ({kind}) in {region()}, for at most {minutes}: {price}.")
    console.confirm("Start it?", yes=yes)
    if plan.algorithm == job.HEAD:
        job.upload_backbone(plan.place)
    name = job.create(plan)
    console.messages.print(f"Started {name}.")
    return name


def _advance(bar: Progress) -> Advance:
    tasks: dict[tuple[str, int], TaskID] = {}

    def advance(step: str, done: int, total: int) -> None:
        if (step, total) not in tasks:
            tasks[step, total] = bar.add_task(step, total=total)
        bar.update(tasks[step, total], completed=done)

    return advance


def _print(record: TrainingRecord, files: Files, *, as_json: bool) -> None:
    if as_json:
        console.print_json(asdict(record) | {"model": str(files.model), "archive": str(files.archive)})
        return
    table = Table("metric", "value", title="Metrics")
    for name, value in sorted(record.metrics.items()):
        table.add_row(name, f"{value:g}")
    console.results.print(table)
    labels = ", ".join(record.labels)
    console.messages.print(f"The model for {labels} is in {files.model}, packed as {files.archive}.")
