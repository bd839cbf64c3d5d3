"""`register`: an evaluated model into the model registry."""

from pathlib import Path

import click

from commandline import console
from training import aws, job, model_archive, options, registry
from training.compare import COMPARISON
from training.errors import InputError, ModelError
from training.fit import Files
from training.layout import APP, EVALUATION, MODEL, TrainingRecord
from training.registry import APPROVED, PENDING, Comparison, Evaluation, Package


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
@click.option(
    "--comparison",
    type=options.FOLDER,
    default=COMPARISON,
    help="Its comparison with the approved model, as `compare` made it; needed for --approve where there is one.",
)
@options.s3("archive, evaluation and comparison go to models/ there.")
@click.option("--approve", is_flag=True, help="Approve it at once: `deploy` takes approved models alone.")
@click.option("--unevaluated", is_flag=True, help="Register it without an evaluation, for a trial; it is not approved.")
@click.option(
    "--uncompared",
    is_flag=True,
    help="Approve it without a comparison with the approved model: for emergencies, and models of other classes.",
)
@options.as_json
def command(
    model: Path,
    evaluation: Path,
    comparison: Path,
    s3: str | None,
    approve: bool,  # noqa: FBT001 - click passes options by name
    unevaluated: bool,  # noqa: FBT001
    uncompared: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Put a model into SageMaker's model registry, with its evaluation.

    Only a model that was evaluated on the test split, and is as good as `evaluate` was told to ask for, is taken. Where
    another one is approved, it is approved only if `compare` has not found it worse than that. The same model is
    registered once; registering it again can approve it.
    """
    if approve and unevaluated:
        raise InputError("A model that was not evaluated cannot be approved. Leave out --approve or --unevaluated.")
    if uncompared and not approve:
        raise InputError("A model is compared before it is approved. Leave out --uncompared, or add --approve.")
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
    target = registry.place_of(record, place)
    compared = None
    if approve and (package is None or package.approval != APPROVED) and judged is not None:
        compared = _compared(model, record, judged, comparison, uncompared=uncompared)
    with console.messages.status("Putting the model into S3"):
        if package is None:
            registry.store(files.archive, judged, target)
        if compared is not None:
            registry.store_comparison(compared, target)
    if package is None:
        image = job.image_uri(record.algorithm, registry.INSTANCE_TYPE)
        package = registry.create(registry.request(record, judged, target, approval, image, compared))
        what = "Registered"
    else:
        package = registry.bring_up_to_date(package, registry.properties(record, judged, compared), approval)
        what = "Registered before"
    if as_json:
        console.print_json({"arn": package.arn, "approval": package.approval, "properties": dict(package.properties)})
        return
    state = "approved" if package.approval == APPROVED else "not approved; `register --approve` approves it"
    console.messages.print(
        f"{what} as version {package.number} of {registry.GROUP} in {aws.region()}: {package.version}, {state}."
    )


def _compared(
    model: Path, record: TrainingRecord, evaluation: Evaluation, folder: Path, *, uncompared: bool
) -> Comparison | None:
    """The comparison with the approved model; None where there is none, or where it is to be done without."""
    approved = registry.newest_approved()
    if approved is None:
        return None
    if uncompared:
        console.messages.print(
            f"Nobody has compared it with version {approved.number}, {approved.version}, which is approved: it may be "
            "worse.",
            markup=False,
        )
        return None
    comparison = Comparison.read(folder)
    registry.check_comparison(comparison, record, approved, evaluation, _command(model, approved, evaluation, folder))
    return comparison


def _command(model: Path, approved: Package, evaluation: Evaluation, folder: Path) -> str:
    """What compares a model with the approved one; those of the built-in algorithm run behind endpoints alone."""
    is_built_in = approved.properties.get("algorithm") == job.BUILT_IN
    endpoint = evaluation.metrics["model"]["endpoint"]
    a = f"endpoint:{APP}-STAGE" if is_built_in else "registry:approved"
    b = f"endpoint:{endpoint}" if endpoint else str(model)
    out = "" if folder == COMPARISON else f" --out {folder}"
    return f"python -m training compare {a} {b}{out}"
