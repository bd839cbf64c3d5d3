"""`evaluate`: a model judged on pictures that it has not seen."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from commandline import console
from training import (
    agreement,
    breakdown,
    disk,
    evaluation_report,
    further,
    model_archive,
    options,
    predict,
    report,
    tables,
)
from training.breakdown import Json
from training.errors import FloorMissed
from training.evaluate import Beside, Subject, Wishes, judge, timing, to_json
from training.further import Further
from training.layout import EVALUATION, METRICS_FILE, MODEL, REPORT_FILE, REVIEWED, Manifest, StagedPicture
from training.predict import Prediction, Predictor

SPLITS = ("test", "validation")

MIXED_UP = 5
"""Pairs of classes that the terminal names; the report has them all."""

MOST_ROWS = 24
"""Rows by source that the terminal shows; of more, it shows those of all sources alone."""


@click.command(name="evaluate", short_help="Judge a model on the test split, with a report.")
@options.data
@options.model
@options.endpoint
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
    "--pictures",
    "folders",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="A folder of further pictures that nothing was trained on; may be repeated.",
)
@click.option(
    "--out",
    type=options.FOLDER,
    default=EVALUATION,
    help="Folder for metrics.json, report.html and tables.md.",
)
@options.as_json
def command(
    data: Path,
    model: Path | None,
    endpoint: str | None,
    split: str,
    min_accuracy: float,
    precision: float,
    folders: tuple[Path, ...],
    out: Path,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Judge a model on pictures that it was not trained on.

    Every picture of the split goes through the code that serves an endpoint, or to an endpoint, from its bytes. The
    same answers give the same metrics.json. An endpoint with data capture writes these pictures down, too.

    Where the data set holds reviewed pictures, the model is asked about those that were kept out of training, too: what
    it says is compared with what people said, and with what the model had said that had held them back. Others of the
    split, which show none of the classes, tell how well the model says so. Further pictures are judged beside the
    split, by class and source. Neither the accuracy nor the floor counts any of these.
    """
    manifest = Manifest.read(data)
    pictures = predict.of_split(data, manifest, split)
    predictor = predict.chosen(model, endpoint, manifest.labels)
    groups = (pictures, manifest.others(split), manifest.split(REVIEWED))
    predictions, beside = _ask(data, manifest, groups, folders, predictor)
    metrics = judge(manifest, split, predictions, _subject(model, endpoint), Wishes(min_accuracy, precision), beside)
    evaluation_report.write(out / REPORT_FILE, metrics, predictions, data, manifest, beside)
    disk.write_text(out / tables.FILE, tables.to_markdown(metrics))
    disk.write_text(out / METRICS_FILE, to_json(metrics))
    _print(metrics, timing(predictions, beside), out, as_json=as_json)
    if not metrics["floor"]["passed"]:
        accuracy = metrics["accuracy"]
        raise FloorMissed(
            f"{accuracy['count']} of {accuracy['total']} {split} pictures are right, less than "
            f"{report.exact_percent(min_accuracy)}. Look at the mistakes in {out / REPORT_FILE}, and train on more or "
            "better pictures, or ask for less with --min-accuracy."
        )


def _subject(model: Path | None, endpoint: str | None) -> Subject:
    if endpoint:
        return Subject(None, endpoint)
    folder = model or MODEL
    return Subject(model_archive.head_sha256(folder), None, predict.bytes_on_disk(folder))


def _ask(
    data: Path,
    manifest: Manifest,
    groups: Sequence[Sequence[StagedPicture]],
    folders: Sequence[Path],
    predictor: Predictor,
) -> tuple[list[Prediction], Beside]:
    """What the model says about a split: its classes, its others, and the reviewed; and about further folders."""
    rows = [further.listed(folder, manifest.labels) for folder in folders]
    found: list[Further] = []
    with console.progress() as bar:
        task = bar.add_task("Asking the model", total=sum(map(len, groups)) + sum(map(len, rows)))

        def advance() -> None:
            bar.advance(task)

        predictions, others, reviewed = (
            predict.predict(data, some, manifest.labels, predictor, advance) for some in groups
        )
        trained = further.trained_on(data, manifest) if folders else further.NOTHING
        for folder, some in zip(folders, rows, strict=True):
            found.append(further.ask(folder, some, manifest.labels, predictor, trained, advance))
    return predictions, Beside(others, reviewed, found)


def _print(metrics: Json, timing: Json, out: Path, *, as_json: bool) -> None:
    if as_json:
        paths = {"metrics": METRICS_FILE, "report": REPORT_FILE, "tables": tables.FILE}
        console.print_json(metrics | {"timing": timing, "files": {name: str(out / one) for name, one in paths.items()}})
        return
    name = metrics["model"]["version"] or metrics["model"]["endpoint"] or "The model"
    console.results.print(_shares(metrics, title=escape(f"{name}, {metrics['data']['split']} split")))
    console.results.print(_classes(metrics))
    for line in (_confusion(metrics), _calibration(metrics), _kept(metrics), _wished(metrics)):
        console.results.print(line, markup=False)
    if metrics["neither"] or any(row["source"] for row in metrics["by_source"]):
        console.results.print(_by_source(metrics, f"{metrics['data']['split']} split"))
    _print_neither(metrics["neither"])
    if metrics["reviewed"]:
        console.results.print(_reviewed(metrics["reviewed"]))
    for one in metrics["further"]:
        _print_further(one)
    if metrics["together"]:
        console.results.print("All of these together:")
        _print_neither(metrics["together"])
    console.messages.print(_cost(metrics["model"], timing), markup=False)
    console.messages.print(
        f"The report is {out / REPORT_FILE}, the figures are {out / METRICS_FILE}, tables are {out / tables.FILE}.",
        markup=False,
    )


def _cost(model: Json, timing: Json) -> str:
    """What an answer costs."""
    size = f" The model has {model['bytes'] / 1e6:.1f} MB on disk." if model["bytes"] else ""
    thread = "" if model["endpoint"] else " on one thread"
    return (
        f"A picture took {timing['median_ms']:.1f} ms from its bytes to the answer{thread} (median); 95 % took at most "
        f"{timing['p95_ms']:.1f} ms.{size}"
    )


def _print_further(one: Json) -> None:
    """What was found out about a folder."""
    console.results.print(_by_source(one, one["name"]))
    if one["accuracy"]:
        for line in (_calibration(one), _kept(one), _wished(one)):
            console.results.print(line, markup=False)
    _print_neither(one["neither"])
    console.results.print(tables.agreement_of(one["agreement"]), markup=False)
    if one["near_duplicates"]:
        console.messages.print(
            f"{one['near_duplicates']} pictures of {one['name']} look like one that is trained on, which flatters.",
            markup=False,
        )
    if one["skipped"]:
        first = one["skipped"][0]
        console.messages.print(
            f"Left out of {one['name']}: {len(one['skipped'])}. {first['path']}: {first['reason']}", markup=False
        )


def _by_source(figures: Json, title: str) -> Table:
    table = Table("shows", "source", "number", "right", "known", "accepted", "of these\nright", title=escape(title))
    table.columns[1].overflow = "fold"
    for column in table.columns[2:]:
        column.justify = "right"
    rows = figures["by_source"]
    if len(rows) > MOST_ROWS:
        rows = breakdown.without_sources(rows)
    for row in rows:
        shares = (row[name] for name in ("right", "known", "accepted", "accepted_right"))
        shown = (report.value(share) if share else "–" for share in shares)
        table.add_row(escape(row["label"] or "any class"), escape(tables.source_of(row)), str(row["pictures"]), *shown)
    return table


def _print_neither(neither: Json | None) -> None:
    """How well others are told from the classes."""
    if neither is None:
        return
    accepted = neither["accepted"]
    console.results.print(
        f"Pictures of none of the classes: {accepted['count']} of {accepted['total']} are accepted as one, "
        f"{tables.share(accepted)}.",
        markup=False,
    )
    if not neither["apart"]:
        console.results.print('The model tells no "known": it is not made to tell them from the classes.', markup=False)
        return
    table = Table("known", "of classes", "others", "AUROC", "classes pass", "others pass", "if 95 % pass")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for one in neither["apart"]:
        at, cut = one["at_min_known"], one["at_cut"]
        table.add_row(
            tables.SIZES[one["size"]],
            str(one["classes"]),
            str(one["others"]),
            tables.auroc(one),
            report.value(at["passed"]),
            report.value(at["let_through"]),
            report.value(cut["let_through"]) if cut else "–",
        )
    console.results.print(table)


def _shares(metrics: Json, title: str) -> Table:
    table = Table("", "share", "95 % interval", "pictures", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {"accuracy": metrics["accuracy"]}
    if metrics["data"]["near_duplicates"]:
        rows["accuracy without near-duplicates"] = metrics["accuracy_without_near_duplicates"]
    rows |= {"accepted": metrics["coverage"]["kept"], "right, of the accepted": metrics["coverage"]["kept_accuracy"]}
    for name, share in rows.items():
        table.add_row(name, report.value(share), report.interval(share), f"{share['count']} of {share['total']}")
    return table


def _reviewed(reviewed: Json) -> Table:
    table = Table("", "before", "now", title="Reviewed pictures that were kept out of training")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, key in agreement.ROWS:
        table.add_row(name, *(_counted(reviewed[when][key]) for when in ("before", "now")))
    return table


def _counted(share: Json) -> str:
    return f"{report.value(share)} ({share['count']} of {share['total']})" if share["total"] else "–"


def _classes(metrics: Json) -> Table:
    table = Table("class", "pictures", "precision", "recall")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in metrics["classes"]:
        precision, recall = (tables.share(one[name]) for name in ("precision", "recall"))
        table.add_row(escape(one["label"]), str(one["support"]), precision, recall)
    return table


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
