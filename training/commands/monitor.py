"""`monitor`: what the endpoint has seen and said, and whether that has drifted."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from chalicelib.settings import DEFAULT_THRESHOLD
from commandline import console
from training import capture, disk, drift, monitor, monitor_report, options
from training.aws import Place
from training.errors import DriftFound, InputError
from training.layout import APP, EVALUATION, METRICS_FILE, MONITORING, REPORT_FILE
from training.metrics import share_of


@click.command(name="monitor", short_help="Judge what the endpoint has seen and said.")
@click.option("--stage", default="dev", help=f"Whose endpoint it is: {APP}-STAGE.")
@click.option("--endpoint", help="Another endpoint's name.")
@click.option(
    "--capture",
    "source",
    help="Capture files: a folder or s3://bucket/prefix, all of it. Default: where the endpoint's data capture goes.",
)
@click.option(
    "--evaluation",
    type=options.FOLDER,
    default=EVALUATION,
    help="What to compare with, as `evaluate` made it.",
)
@options.since
@options.until
@click.option(
    "--threshold",
    type=console.Number(0, 1),
    default=DEFAULT_THRESHOLD,
    help="The stage's CONFIDENCE_THRESHOLD; for answers alone that do not name their own.",
)
@click.option(
    "--out",
    type=options.FOLDER,
    default=MONITORING,
    help=f"Folder for {REPORT_FILE} and {monitor.JSON_FILE}.",
)
@click.option("--cloudwatch", is_flag=True, help=f"Send the numbers to CloudWatch, namespace {monitor.NAMESPACE}.")
@click.option("--fail-on-drift", is_flag=True, help="Exit with 1 if a feature has drifted, after all else is done.")
@options.as_json
def command(
    stage: str,
    endpoint: str | None,
    source: str | None,
    evaluation: Path,
    since: str,
    until: str | None,
    threshold: float,
    out: Path,
    cloudwatch: bool,  # noqa: FBT001 - click passes options by name
    fail_on_drift: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Judge what the endpoint has seen and said, from its data capture.

    Shows how sure the model was, what it held back and which classes it saw, over time, and compares that and the
    pictures themselves with those that the model was evaluated on. A feature has drifted if its population stability
    index is 0.2 or more and beyond what chance makes of so many records.

    What is captured just now takes some minutes to get there. Exit code 2 says that nothing could be judged, for
    example because there is no record; 1, with --fail-on-drift, that there is drift.
    """
    endpoint = endpoint or f"{APP}-{stage}"
    span = capture.Span.parse(since, until, datetime.now(UTC))
    baseline = monitor.read_baseline(evaluation)
    if baseline is None and fail_on_drift:
        raise InputError(
            f"There is no {evaluation / METRICS_FILE} to see drift against. Make it with `python -m training "
            "evaluate`, or leave out --fail-on-drift."
        )
    place, files = _files(endpoint, source, span)
    rules = capture.Rules(span, baseline.classes if baseline else (), threshold, monitor.LEAST_SURE)
    with console.progress() as bar:
        task = bar.add_task("Reading", total=len(files))
        reading = capture.read(files, rules, partial(bar.advance, task))
    findings = monitor.find_out(endpoint, place, span, reading, baseline)
    content = monitor.summary(findings)
    disk.write_text(out / monitor.JSON_FILE, json.dumps(content, indent=1) + "\n")
    monitor_report.write(out / REPORT_FILE, findings)
    if cloudwatch:
        console.messages.print(f"Sent {monitor.put_metrics(findings)} metrics to CloudWatch, {monitor.NAMESPACE}.")
    if as_json:
        console.print_json(content)
    else:
        _print(findings, out)
    if fail_on_drift and findings.drifted:
        raise DriftFound(
            f"Drifted: {', '.join(findings.drifted)}. Look at {out / REPORT_FILE}; if the pictures have changed, train "
            "on such pictures, too."
        )


def _files(endpoint: str, source: str | None, span: capture.Span) -> tuple[str, list[capture.File]]:
    """Where capture files are, and those that may hold records of a range."""
    if source and not source.startswith("s3://"):
        return source, capture.files_in_folder(Path(source), span)
    place = Place.parse(source) if source else monitor.capture_place(endpoint)
    return str(place), capture.files_in_s3(place, span)


def _print(findings: monitor.Findings, out: Path) -> None:
    console.results.print(_overview(findings))
    if findings.drifts:
        console.results.print(_drifts(findings))
    for remark in findings.remarks:
        console.messages.print(remark, markup=False)
    console.messages.print(f"The report is {out / REPORT_FILE}.", markup=False)


def _overview(findings: monitor.Findings) -> Table:
    total = len(findings.records)
    low, middle, _ = monitor.quantiles(findings.records)
    held_back = share_of(findings.held_back, total)
    rows = {
        "records": str(total),
        "files": str(findings.reading.files),
        "from": f"{findings.records[0].time:%Y-%m-%d %H:%M} UTC",
        "until": f"{findings.records[-1].time:%Y-%m-%d %H:%M} UTC",
        "models": ", ".join(findings.models),
        "labels": ", ".join(f"{label} {count / total:.1%}" for label, count in findings.labels.items()),
        "held back": f"{held_back.count / total:.1%} ({held_back.low:.1%}–{held_back.high:.1%})",
        "confidence": f"median {middle:.3f}, lowest tenth up to {low:.3f}",
    }
    table = Table(title=Text(findings.endpoint), show_header=False)
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _drifts(findings: monitor.Findings) -> Table:
    table = Table("feature", "PSI", "by chance up to", "p", "verdict", title="Drift from the evaluation")
    for one in findings.drifts:
        table.add_row(
            drift.NAMES[one.feature], f"{one.psi:.3f}", f"{one.chance:.3f}", f"{one.p_value:.4f}", one.verdict
        )
    return table
