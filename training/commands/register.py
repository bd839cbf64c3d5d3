"""`register`: an evaluated model into the model registry."""

from pathlib import Path

import click

from commandline import console
from training import aws, job, model_archive, options, registry
from training.errors import InputError, ModelError
from training.fit import Files
from training.layout import EVALUATION, MODEL, TrainingRecord
from training.registry import APPROVED, PENDING, Evaluation


@click.command(name="register", short_help="Put an evaluated model into the model registry.")
@click.option(
    "--model",
    type=options.FOLDER,
    default=MODEL,
    help="The model's folder, as `train` made it; its archive and training.json lie beside it.",
)
@click.option(
    "--evaluation",
    type=options.FOLDER,
    default=EVALUATION,
    help="Its evaluation, as `evaluate` made it.",
)
@options.s3("archive and evaluation go to models/ there.")
@click.option("--approve", is_flag=True, help="Approve it at once: `deploy` takes approved models alone.")
@click.option("--unevaluated", is_flag=True, help="Register it without an evaluation, for a trial; it is not approved.")
@options.as_json
def command(
    model: Path,
    evaluation: Path,
    s3: str | None,
    approve: bool,  # noqa: FBT001 - click passes options by name
    unevaluated: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Put a model into SageMaker's model registry, with its evaluation.

    Only a model that was evaluated on the test split, and is as good as `evaluate` was told to ask for, is taken. The
    same model is registered once; registering it again can approve it.
    """
    if approve and unevaluated:
        raise InputError("A model that was not evaluated cannot be approved. Leave out --approve or --unevaluated.")
    place = options.place(s3)
    files = Files(model)
    record = TrainingRecord.read(files.record)
    if not files.archive.is_file() or model_archive.sha256(files.archive) != record.archive_sha256:
        raise ModelError(
            f"{files.archive} is not the archive of the model that was trained. Train again with `python -m training "
            "train`."
        )
    judged = None if unevaluated else Evaluation.read(evaluation)
    if not unevaluated:
        registry.check_evaluation(judged, record)
    approval = APPROVED if approve else PENDING
    package = registry.find(record.archive_sha256)
    if package is None:
        target = registry.place_of(record, place)
        with console.messages.status("Putting the model into S3"):
            registry.store(files.archive, judged, target)
        image = job.image_uri(record.algorithm, registry.INSTANCE_TYPE)
        package = registry.create(registry.request(record, judged, target, approval, image))
        what = "Registered"
    else:
        package = registry.bring_up_to_date(package, registry.properties(record, judged), approval)
        what = "Registered before"
    if as_json:
        console.print_json({"arn": package.arn, "approval": package.approval, "properties": dict(package.properties)})
        return
    state = "approved" if package.approval == APPROVED else "not approved; `register --approve` approves it"
    console.messages.print(
        f"{what} as version {package.number} of {registry.GROUP} in {aws.region()}: {package.version}, {state}."
    )
