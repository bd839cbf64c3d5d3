"""`compare`: two models on the same pictures, and whether the second may take the place of the first."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from commandline import console
from training import (
    capture,
    compare,
    comparison_report,
    contestants,
    disk,
    further,
    material,
    options,
    paired,
    predict,
    reviews,
)
from training.capture import Rules, Span
from training.compare import COMPARISON, FIGURES, JSON_FILE, Verdict
from training.errors import InputError, ModelError, Worse
from training.layout import MANIFEST_FILE, REPORT_FILE, Manifest
from training.material import SPLITS, Kind
from training.paired import Json

MOST_MOVES = 12
"""Kinds of changed decisions that the terminal names; the report has them all."""


@click.command(name="compare", short_help="Judge two models on the same pictures.")
@click.argument("a")
@click.argument("b")
@options.data
@click.option(
    "--split",
    type=click.Choice([str(one) for one in SPLITS]),
    show_default=str(Kind.TEST),
    help="The pictures, of the data set. `register` goes by the test split.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Pictures of a folder instead, with a manifest.csv or a subfolder for each class.",
)
@click.option(
    "--captured",
    help="Pictures that an endpoint has captured instead: a folder or s3://bucket/prefix with the capture files.",
)
@options.since
@options.until
@options.decided
@click.option("--out", type=options.FOLDER, default=COMPARISON, help=f"Folder for {JSON_FILE} and {REPORT_FILE}.")
@options.as_json
def command(
    a: str,
    b: str,
    data: Path,
    split: str | None,
    pictures: Path | None,
    captured: str | None,
    since: str,
    until: str | None,
    table: str | None,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Judge two models on the same pictures: A runs now, B is to take its place.

    Each is a model's folder, a model.tar.gz, registry:approved, registry:NUMBER, or endpoint:NAME.

    Both are asked about every picture. What they decide otherwise is shown, and whether that is more than chance
    explains. Exit code 1 says that B is worse; `register --approve` does not take it then.
    """
    if sum(one is not None for one in (split, pictures, captured)) > 1:
        raise InputError("Say one of --split, --pictures and --captured: both models see the same pictures.")
    if table and not captured:
        raise InputError("--reviews tells what captured pictures show: say with --captured where they are.")
    is_elsewhere = pictures is not None or captured is not None
    manifest = None if is_elsewhere and not (data / MANIFEST_FILE).is_file() else Manifest.read(data)
    first, second = (contestants.find(name, manifest.labels if manifest else ()) for name in (a, b))
    contestants.check(first, second)
    labels = first.labels or second.labels or (tuple(manifest.labels) if manifest else ())
    if not labels:
        raise ModelError(f"Nobody tells which classes {a} and {b} know. Name their data set with --data.")
    with TemporaryDirectory() as name, console.progress() as bar:
        folder = Path(name)
        if manifest and not is_elsewhere:
            found = material.of_split(data, manifest, Kind(split or Kind.TEST))
        elif pictures is not None:
            rows = further.listed(pictures, labels)
            found = material.of_folder(pictures, rows, labels, folder, _task(bar, "Reading", len(rows)))
        else:
            source = str(captured)
            rules = Rules(Span.parse(since, until, datetime.now(UTC)), labels)
            files = capture.files_at(source, rules.span, "--captured")
            said = _reviewed(table, manifest) if table else {}
            advance = _task(bar, "Reading", len(files))
            found = material.of_capture(source, files, rules, said, folder, advance)
        answers = [
            predict.predict(
                found.folder,
                found.pictures,
                found.labels,
                one.predictor,
                _task(bar, f"Asking {one.subject.name}", len(found.pictures)),
            )
            for one in (first, second)
        ]
        content = compare.judge(found, first.subject, second.subject, *answers)
        comparison_report.write(out / REPORT_FILE, content, found)
    disk.write_text(out / JSON_FILE, compare.to_json(content))
    if as_json:
        console.print_json(content)
    else:
        _print(content, out)
    if content["verdict"]["verdict"] == Verdict.WORSE:
        raise Worse(f"{b} is worse than {a}. Look at what it decides otherwise, in {out / REPORT_FILE}.")


def _reviewed(table: str, manifest: Manifest | None) -> dict[str, str]:
    """What people have decided, by the id of the record; without what the data set trains on, which B may remember."""
    said = reviews.decided(table)
    if manifest is None:
        return said
    used = [one for split in ("train", "validation") for one in manifest.reviewed(split)]
    ids = {manifest.reviews[one.path].id for one in used}
    return {record: label for record, label in said.items() if record not in ids}


def _task(bar: Progress, what: str, total: int) -> predict.Advance:
    return partial(bar.advance, bar.add_task(escape(what), total=total))


def _print(content: Json, out: Path) -> None:
    console.results.print(_figures(content))
    if content["moves"]:
        console.results.print(_moves(content["moves"]))
    else:
        console.results.print("Both decide alike about every picture.")
    if content["data"]["with_truth"]:
        console.results.print(paired.could_show(content["could_show"]), markup=False)
    for reason in content["verdict"]["reasons"]:
        console.results.print(reason, markup=False)
    console.results.print(Text.assemble("B, compared with A: ", (content["verdict"]["verdict"], "bold"), "."))
    if content["data"]["left_out"]:
        console.messages.print(f"Left out, since they cannot be read: {content['data']['left_out']} of the pictures.")
    console.messages.print(f"The report is {out / REPORT_FILE}, the figures are {out / JSON_FILE}.", markup=False)


def _figures(content: Json) -> Table:
    data = content["data"]
    names = {one: content[one]["version"] or content[one]["name"] for one in ("a", "b")}
    title = Text(f"A {names['a']}, B {names['b']}\n{data['pictures']} pictures, {data['kind']}")
    table = Table("", "A", "B", "of", "B - A (95 %)", "alone", "p", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, words in FIGURES.items():
        figure = content["figures"][name]
        if figure["total"]:
            counts = [str(figure[key]) for key in ("a", "b", "total")]
            alone = f"{figure['only_a']} : {figure['only_b']}"
            table.add_row(words, *counts, paired.difference(figure), alone, paired.chance(figure["p_value"]))
    return table


def _moves(moves: list[Json]) -> Table:
    table = Table("A", "B", "count", title="What changes")
    table.columns[2].justify = "right"
    for move in moves[:MOST_MOVES]:
        table.add_row(Text(move["was"]), Text(move["now"]), str(move["count"]))
    rest = moves[MOST_MOVES:]
    if rest:
        table.add_row("something else", "", str(sum(move["count"] for move in rest)))
    return table
