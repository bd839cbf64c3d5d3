"""`threshold`: which thresholds to set by what mistakes and reviews cost, and what others would make of traffic."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import numpy as np
from rich.markup import escape
from rich.table import Table

from commandline import console
from training import capture, costs, disk, options, predict, replay, report, reviews, threshold_report
from training.costs import Answers, Costs, Outcome
from training.errors import InputError
from training.layout import REPORT_FILE, Manifest, StagedPicture
from training.predict import Prediction, Predictor
from training.replay import OWN, Replayed, Setting
from training.report import MOST_PICTURES
from training.threshold_report import JSON_FILE, Findings, Pictures, Traffic

OUT = Path("build/threshold")
SPLITS = ("validation", "test")

MOST = 1e9
"""USD that something may cost."""


@click.command(name="threshold", short_help="Recommend a threshold by what mistakes and reviews cost.")
@click.option(
    "--cost-wrong",
    type=console.Number(0, MOST, min_open=True),
    required=True,
    help="USD that a wrong class costs which was accepted.",
)
@click.option("--cost-review", type=console.Number(0, MOST), required=True, help="USD of a person's look at a picture.")
@options.data
@options.model
@options.endpoint
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="validation",
    help="The pictures. A threshold that is chosen by test pictures looks better than it is.",
)
@click.option(
    "--others-share",
    type=console.Number(0, 1, max_open=True),
    help="Share of the traffic that shows none of the classes. Default: as among the pictures.",
)
@click.option(
    "--what-if",
    "thresholds",
    type=console.Number(0, 1),
    multiple=True,
    help="Another threshold to look at; may be repeated.",
)
@click.option(
    "--what-if-known",
    "min_knowns",
    type=console.Number(0, 1),
    multiple=True,
    help="Another known to ask for; may be repeated.",
)
@click.option("--captured", help="Replay captured traffic, too: a folder or s3://bucket/prefix, all of it.")
@options.since
@options.until
@options.decided
@click.option("--out", type=options.FOLDER, default=OUT, help=f"Folder for {REPORT_FILE} and {JSON_FILE}.")
@options.as_json
def command(
    cost_wrong: float,
    cost_review: float,
    data: Path,
    model: Path | None,
    endpoint: str | None,
    split: str,
    others_share: float | None,
    thresholds: tuple[float, ...],
    min_knowns: tuple[float, ...],
    captured: str | None,
    since: str,
    until: str | None,
    table: str | None,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Recommend the thresholds that cost least, and replay traffic under others.

    The model is asked about the pictures of a split. From the costs follows the confidence from which on a picture is
    worth accepting if probabilities are what they say; unless the pictures speak against it, it is recommended. What
    each threshold would cost on them is in the report.

    With --captured, what an endpoint has answered is decided once more, by the recommended thresholds and by each
    --what-if. The model is not asked again.
    """
    if table and not captured:
        raise InputError("--reviews tells what captured pictures show: say with --captured where they are.")
    price, what_ifs = Costs(cost_wrong, cost_review), replay.what_ifs(thresholds, min_knowns)
    span = capture.Span.parse(since, until, datetime.now(UTC))
    manifest = Manifest.read(data)
    pictures = predict.of_split(data, manifest, split) + manifest.others(split)
    if others_share is not None and not manifest.others(split):
        raise InputError(
            f"The {split} split has no pictures of none of the classes, so nothing stands for that share of the "
            "traffic. Leave out --others-share, or make the data set with such pictures."
        )
    predictions = _ask(data, pictures, manifest.labels, predict.chosen(model, endpoint, manifest.labels))
    answers = _answers(predictions, manifest.labels, others_share)
    version, threshold, min_known = predict.one_model(predictions)
    recommendation = costs.recommend(answers, price, threshold, min_known)
    best = recommendation.recommended
    settings = [OWN, Setting("recommended", best.threshold, best.min_known), *what_ifs]
    others = int(answers.other.sum())
    name = version or endpoint or "the model"
    findings = Findings(
        pictures=Pictures(name, split, len(predictions) - others, others, others_share),
        costs=price,
        recommendation=recommendation,
        what_ifs=[(one, _outcome(answers, price, one, recommendation.own)) for one in what_ifs],
        traffic=_traffic(captured, span, manifest.labels, settings, price, table) if captured else None,
    )
    content = threshold_report.summary(findings)
    disk.write_text(out / JSON_FILE, json.dumps(content, indent=1) + "\n")
    threshold_report.write(out / REPORT_FILE, findings)
    if as_json:
        console.print_json(content)
    else:
        _print(findings, out)


def _ask(
    data: Path, pictures: Sequence[StagedPicture], labels: Sequence[str], predictor: Predictor
) -> list[Prediction]:
    with console.progress() as bar:
        task = bar.add_task("Asking the model", total=len(pictures))
        return predict.predict(data, pictures, labels, predictor, partial(bar.advance, task))


def _answers(predictions: Sequence[Prediction], labels: Sequence[str], others_share: float | None) -> Answers:
    other = np.array([one.label not in labels for one in predictions])
    return Answers(
        confidence=np.array([one.confidence for one in predictions]),
        known=np.array([np.inf if one.known is None else one.known for one in predictions]),
        right=np.array([one.is_right for one in predictions]),
        other=other,
        weight=costs.weights(other, others_share),
    )


def _outcome(answers: Answers, price: Costs, setting: Setting, own: Outcome) -> Outcome:
    threshold = own.threshold if setting.threshold is None else setting.threshold
    min_known = own.min_known if setting.min_known is None else setting.min_known
    return costs.outcome(answers, price, threshold, min_known)


def _traffic(
    source: str,
    span: capture.Span,
    labels: Sequence[str],
    settings: Sequence[Setting],
    price: Costs,
    table: str | None,
) -> Traffic:
    said = reviews.decided(table) if table else {}
    files = capture.files_at(source, span, "--captured")
    rules = capture.Rules(
        span, labels, keep=MOST_PICTURES, may_keep=lambda one: any(each.reason(one) is None for each in settings)
    )
    with console.progress() as bar:
        task = bar.add_task("Reading", total=len(files))
        reading = capture.read(files, rules, partial(bar.advance, task))
    if not reading.records:
        raise InputError(
            f"{source} has no record {span}. Give another range with --since and --until. What was captured just now "
            "takes some minutes to get there."
        )
    records = replay.last_answers(reading.records)
    models = {name: replay.replay(ours, settings, price, said) for name, ours in replay.by_model(records).items()}
    known = sum(one.inference_id in said for one in records) if table else None
    return Traffic(source, span, reading, records, models, known)


def _print(findings: Findings, out: Path) -> None:
    results = console.results
    results.print(_outcomes(findings))
    for reason in findings.reasons:
        results.print(reason, markup=False)
    if findings.traffic:
        for name, rows in findings.traffic.models.items():
            results.print(_replayed(f"{name}: {findings.traffic.counts[name]} captured pictures", rows))
        if findings.traffic.reviews:
            results.print(_reviewed(findings.traffic))
    if findings.lines:
        results.print(
            "To set it, put this into environment_variables of the stage in .chalice/config.json, and run `chalice "
            "deploy --stage STAGE`:",
            markup=False,
        )
        results.print(f"    {findings.lines}", markup=False)
    else:
        results.print(
            "Nothing has to be set: the model's own thresholds are the recommended ones. Leave CONFIDENCE_THRESHOLD "
            "and MIN_KNOWN out of .chalice/config.json.",
            markup=False,
        )
    for remark in findings.remarks:
        console.messages.print(remark, markup=False)
    console.messages.print(f"The report is {out / REPORT_FILE}.", markup=False)


def _outcomes(findings: Findings) -> Table:
    pictures = findings.pictures
    table = _table(
        f"{pictures.model}, {pictures.split} split: {pictures.classes + pictures.others} pictures",
        ("", "from", "known", "accepted", "wrong", "held back", f"USD/{costs.PER}"),
    )
    for name, one in findings.rows.items():
        threshold = "–" if one.threshold is None else f"{one.threshold:.6g}"
        counts = (str(count) for count in (one.accepted, one.wrong, one.held_back))
        table.add_row(name, threshold, f"{one.min_known:.6g}", *counts, report.usd(one.cost))
    return table


def _replayed(title: str, rows: Sequence[Replayed]) -> Table:
    table = _table(title, ("", "accepted", "unsure", "unknown", "reviews", "wrong", "USD"))
    table.caption = "reviews: beside the model's own; wrong: expected, by the probabilities"
    for row in rows:
        table.add_row(
            row.setting.name,
            *(str(count) for count in (row.accepted, row.low_confidence, row.unknown_object)),
            f"{row.more_reviews:+}",
            f"{row.expected_wrong:.1f}",
            report.usd(row.expected_cost),
        )
    return table


def _reviewed(traffic: Traffic) -> Table:
    table = _table(f"Of the {traffic.reviews} that people have reviewed", ("", "accepted", "right", "wrong"))
    for name, rows in traffic.models.items():
        for row in rows:
            title = row.setting.name if len(traffic.models) == 1 else f"{row.setting.name}, {name}"
            counts = (row.reviewed, row.reviewed_right, row.reviewed - row.reviewed_right)
            table.add_row(escape(title), *map(str, counts))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(*columns, title=escape(title))
    for column in table.columns[1:]:
        column.justify = "right"
    return table
