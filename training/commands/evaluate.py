"""`evaluate`: a model judged on pictures that it has not seen."""

from pathlib import Path
from statistics import median

import click
from rich.markup import escape
from rich.table import Table

from commandline import console
from training import agreement, disk, evaluation_report, model_archive, options, predict, report
from training.errors import FloorMissed, InputError, PicturesError
from training.evaluate import Json, Subject, Wishes, judge, to_json
from training.layout import EVALUATION, METRICS_FILE, MODEL, REPORT_FILE, REVIEWED, Manifest
from training.predict import Prediction, Predictor

SPLITS = ("test", "validation")

MIXED_UP = 5
"""Pairs of classes that the terminal names; the report has them all."""


@click.command(name="evaluate", short_help="Judge a model on the test split, with a report.")
@options.data
@click.option(
    "--model",
    type=options.FOLDER,
    show_default=str(MODEL),
    help="The model's folder; it is asked on this machine.",
)
@click.option("--endpoint", help="Ask the model behind this endpoint instead.")
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="test",
    help="The pictures. Choose by validation pictures: whatever is chosen by the test split looks better than it is.",
)
@click.option(
    "--min-accuracy",
    type=console.Number(0, 1),
    default=0.9,
    help="The share that must be right. With less the exit code is 1, and `register` does not take the model.",
)
@click.option(
    "--precision",
    type=console.Number(0, 1),
    default=0.99,
    help="The report tells the smallest threshold at which so large a share of the accepted pictures is right.",
)
@click.option(
    "--out",
    type=options.FOLDER,
    default=EVALUATION,
    help="Folder for metrics.json and report.html.",
)
@options.as_json
def command(
    data: Path,
    model: Path | None,
    endpoint: str | None,
    split: str,
    min_accuracy: float,
    precision: float,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Judge a model on pictures that it was not trained on.

    Every picture of the split goes through the code that serves an endpoint, or to an endpoint, from its bytes. The
    same answers give the same metrics.json. An endpoint with data capture writes these pictures down, too.

    Where the data set holds reviewed pictures, the model is asked about those that were kept out of training, too: what
    it says is compared with what people said, and with what the model had said that had held them back. Neither the
    accuracy nor the floor counts them.
    """
    manifest = Manifest.read(data)
    pictures, reviewed = manifest.split(split), manifest.split(REVIEWED)
    if not pictures:
        raise PicturesError(
            f"{data} has no {split} pictures. Choose another split, or make the data set again with "
            "`python -m training stage`."
        )
    predictor, subject = _predictor(model, endpoint, manifest)
    with console.progress() as bar:
        task = bar.add_task("Asking the model", total=len(pictures) + len(reviewed))
        predictions, on_reviewed = (
            predict.predict(data, some, manifest.labels, predictor, lambda: bar.advance(task))
            for some in (pictures, reviewed)
        )
    metrics = judge(manifest, split, predictions, subject, Wishes(min_accuracy, precision), on_reviewed)
    evaluation_report.write(out / REPORT_FILE, metrics, predictions, data, manifest)
    disk.write_text(out / METRICS_FILE, to_json(metrics))
    _print(metrics, predictions, out, as_json=as_json)
    if not metrics["floor"]["passed"]:
        accuracy = metrics["accuracy"]
        raise FloorMissed(
            f"{accuracy['count']} of {accuracy['total']} {split} pictures are right, less than "
            f"{report.exact_percent(min_accuracy)}. Look at the mistakes in {out / REPORT_FILE}, and train on more or "
            "better pictures, or ask for less with --min-accuracy."
        )


def _predictor(model: Path | None, endpoint: str | None, manifest: Manifest) -> tuple[Predictor, Subject]:
    if endpoint is None:
        folder = model or MODEL
        return predict.from_folder(folder), Subject(model_archive.head_sha256(folder), None)
    if model:
        raise InputError("Say either --model or --endpoint: one of the two is judged.")
    return predict.from_endpoint(endpoint, manifest.labels), Subject(None, endpoint)


def _print(metrics: Json, predictions: list[Prediction], out: Path, *, as_json: bool) -> None:
    milliseconds = median(one.milliseconds for one in predictions)
    if as_json:
        paths = {"metrics": str(out / METRICS_FILE), "report": str(out / REPORT_FILE)}
        console.print_json(metrics | {"timing": {"median_ms": milliseconds}, "files": paths})
        return
    name = metrics["model"]["version"] or metrics["model"]["endpoint"] or "The model"
    console.results.print(_shares(metrics, title=escape(f"{name}, {metrics['data']['split']} split")))
    console.results.print(_classes(metrics))
    for line in (_confusion(metrics), _calibration(metrics), _kept(metrics), _wished(metrics)):
        console.results.print(line, markup=False)
    if metrics["reviewed"]:
        console.results.print(_reviewed(metrics["reviewed"]))
    console.messages.print(f"Asking took {milliseconds:.0f} ms a picture.", markup=False)
    console.messages.print(f"The report is {out / REPORT_FILE}, the figures are {out / METRICS_FILE}.", markup=False)


def _shares(metrics: Json, title: str) -> Table:
    table = Table("", "share", "95 % interval", "pictures", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {"accuracy": metrics["accuracy"]}
    if metrics["data"]["near_duplicates"]:
        rows["accuracy without near-duplicates"] = metrics["accuracy_without_near_duplicates"]
    rows |= {"accepted": metrics["coverage"]["kept"], "right, of the accepted": metrics["coverage"]["kept_accuracy"]}
    for name, share in rows.items():
        table.add_row(name, _value(share), _interval(share), f"{share['count']} of {share['total']}")
    return table


def _reviewed(reviewed: Json) -> Table:
    table = Table("", "before", "now", title="Reviewed pictures that were kept out of training")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, key in agreement.ROWS:
        table.add_row(name, *(_counted(reviewed[when][key]) for when in ("before", "now")))
    return table


def _counted(share: Json) -> str:
    return f"{_value(share)} ({share['count']} of {share['total']})" if share["total"] else "–"


def _classes(metrics: Json) -> Table:
    table = Table("class", "pictures", "precision", "recall")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in metrics["classes"]:
        precision, recall = (f"{_value(one[name])} ({_interval(one[name])})" for name in ("precision", "recall"))
        table.add_row(escape(one["label"]), str(one["support"]), precision, recall)
    return table


def _value(share: Json) -> str:
    return "–" if share["value"] is None else report.percent(share["value"])


def _interval(share: Json) -> str:
    return f"{report.percent(share['low'])}–{report.percent(share['high'])}"


def _confusion(metrics: Json) -> str:
    labels = metrics["data"]["labels"]
    mixed_up = [
        (count, f"{count} {labels[row]} for {labels[column]}")
        for row, counts in enumerate(metrics["confusion"])
        for column, count in enumerate(counts)
        if count and row != column
    ]
    if not mixed_up:
        return "No picture was taken for another class."
    mixed_up.sort(key=lambda pair: -pair[0])
    shown = ", ".join(text for _, text in mixed_up[:MIXED_UP])
    more = sum(count for count, _ in mixed_up[MIXED_UP:])
    return f"Taken for another class: {shown}{f', and {more} more' if more else ''}."


def _calibration(metrics: Json) -> str:
    ece = report.percent(metrics["calibration"]["ece"])
    return f"Calibration error (ECE) {ece}: how far apart confidence and accuracy are."


def _kept(metrics: Json) -> str:
    coverage = metrics["coverage"]
    kept, right = coverage["kept"], coverage["kept_accuracy"]
    return (
        f"From {evaluation_report.needed(metrics)} on, {kept['count']} of {kept['total']} are accepted, of which "
        f"{right['count']} are right. A person is asked about {coverage['held_back']}."
    )


def _wished(metrics: Json) -> str:
    wished = metrics["wished"]
    precision, kept, right = report.exact_percent(wished["precision"]), wished["kept"], wished["accuracy"]
    if wished["threshold"] is None:
        return f"No threshold reaches {precision} right of the accepted."
    return (
        f"The smallest threshold that reaches {precision} right of the accepted is {wished['threshold']:.6g}: "
        f"{kept['count']} of {kept['total']} would be accepted, of which {right['count']} are right."
    )
